"""The page of a studio, built for each browser, of the parts in `page_*.py`, which show what the session found.

Names and sentences go to the browser as text, never as markup: through Vue's interpolation, attributes, and labels.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from nicegui import context, ui

from activesam_ros.studio.editor import Editor, enable
from activesam_ros.studio.page_classes import ClassesPanel
from activesam_ros.studio.page_files import FilesPanel
from activesam_ros.studio.page_picture import PicturePanel
from activesam_ros.studio.page_settings import SettingsPanel
from activesam_ros.studio.page_timeline import Timeline

if TYPE_CHECKING:
    from collections.abc import Callable

    from activesam_ros.studio.session import Session, View
    from activesam_ros.studio.sharing import Control, VocabularyFiles

_REFRESH = 0.05
"""Seconds between two looks at whether the session has changed."""

_ACCENT = "#0f6b66"


class Page:
    """One browser's page."""

    def __init__(
        self,
        session: Session,
        control: Control,
        files: VocabularyFiles,
        remember: Callable[[View], str],
        about: str,
    ) -> None:
        """Build the page of the browser that asks for it.

        Args:
            session: what is shown and changed.
            control: who may change it.
            files: what may be read and written.
            remember: told of each view before its pictures are asked for; returns where they are.
            about: a line for the head of the page.
        """
        self._session = session
        self._editor = Editor(session, control, context.client.id)
        self._remember = remember
        self._seen: tuple[Any, ...] = ()
        context.client.on_disconnect(self._editor.leave)
        ui.add_css(Path(__file__).with_name("studio.css").read_text(encoding="utf-8"))
        ui.colors(primary=_ACCENT)
        self._build_head(about)
        with ui.element("main").classes("st-main"):
            with ui.element("section").classes("st-left"):
                self._picture = PicturePanel(self._editor)
                self._timeline = Timeline(self._editor)
            with ui.element("section").classes("st-right"):
                self._classes = ClassesPanel(self._editor, self._picture)
                self._settings = SettingsPanel(self._editor)
                self._files = FilesPanel(self._editor, files)
        ui.keyboard(on_key=self._on_key)
        self._refresh()
        ui.timer(_REFRESH, self._refresh)

    def _build_head(self, about: str) -> None:
        with ui.element("header").classes("st-head"):
            ui.label("activesam studio").classes("st-title")
            ui.label(about).classes("st-about")
            ui.element("div").classes("st-grow")
            self._watching = ui.label("somebody else is changing; you are looking").classes("st-about")
            self._take = ui.button("Take over", on_click=self._editor.take_over)
            self._take.props("dense outline no-caps color=white")
            self._undo = ui.button("Undo", icon="undo", on_click=lambda: self._editor.act(self._session.undo))
            self._redo = ui.button("Redo", icon="redo", on_click=lambda: self._editor.act(self._session.redo))
            for button in (self._undo, self._redo):
                button.props("dense flat no-caps color=white")

    def _on_key(self, event: Any) -> None:
        if not event.action.keydown:
            return
        # By what is written on the key, which with shift is a capital letter.
        key = event.key.name.lower()
        if key in ("z", "y") and (event.modifiers.ctrl or event.modifiers.meta):
            again = key == "y" or event.modifiers.shift
            self._editor.act(self._session.redo if again else self._session.undo)
        elif event.key.arrow_left or event.key.arrow_right:
            self._timeline.step(1 if event.key.arrow_right else -1)

    def _refresh(self) -> None:
        editor, session = self._editor, self._session
        mine = editor.mine
        state = (session.change, mine)
        if state == self._seen and not editor.stale:
            return
        self._seen, editor.stale = state, False
        view = session.view
        editor.quiet = True
        try:
            self._show_head(mine)
            self._picture.show_state()
            self._timeline.show(mine)
            self._classes.show_state(mine)
            self._files.show(mine)
            if view is not None:
                view = self._picture.view_to_show(view)
                self._picture.show(view, self._remember(view))
                self._classes.show(view, mine)
                self._settings.show(view, mine)
        finally:
            editor.quiet = False

    def _show_head(self, mine: bool) -> None:
        history = self._session.history
        self._watching.set_visibility(not mine)
        self._take.set_visibility(not mine)
        enable(self._undo, mine and bool(history.before))
        enable(self._redo, mine and bool(history.after))
