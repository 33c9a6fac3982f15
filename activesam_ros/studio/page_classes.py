"""The part of the page with the classes: the list, fields to add one or to try a phrase, and what was found of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nicegui import ui

from activesam_ros.studio.document import Document, as_hex, from_hex
from activesam_ros.studio.editor import enable
from activesam_ros.studio.findings import selection_limits

if TYPE_CHECKING:
    from collections.abc import Callable

    from activesam_ros.studio.editor import Editor
    from activesam_ros.studio.page_picture import PicturePanel
    from activesam_ros.studio.session import View


class ClassList(ui.element, component="class_list.js"):  # type: ignore[call-arg]
    """The list of classes; emits `named`, `asking`, `colour` and `moved` with an id and a value, the others an id."""

    def show(
        self, rows: list[dict[str, Any]], edit: bool, limit: float, refused: int, chosen: int | None
    ) -> None:
        """Show classes.

        Args:
            rows: of the list, in order.
            edit: whether they may be changed.
            limit: presence that a class has to reach, for a line in the bars; 0: none.
            refused: another number has fields that were changed show what is so.
            chosen: id of the class whose score is shown.
        """
        shown = {
            "rows": rows,
            "edit": edit,
            "limit": limit,
            "refused": refused,
            "chosen": -1 if chosen is None else chosen,
        }
        # Hundreds of rows are not sent again with every picture of a scan.
        if all(self._props.get(name) == value for name, value in shown.items()):
            return
        self._props.update(shown)
        self.update()


class ClassesPanel:
    """Fields for a new class and for a phrase to try, and the list of classes."""

    def __init__(self, editor: Editor, picture: PicturePanel) -> None:
        """Build it where the page is being built; the picture shows the scores that are asked for here."""
        self._editor = editor
        self._session = editor.session
        self._picture = picture
        with ui.element("div").classes("st-card"):
            self._build_fields()
        with ui.element("div").classes("st-card").style("padding: 4px 6px"):
            self._list = ClassList()
            self._list.on("named", lambda e: self._edit_row(e.args, Document.renamed))
            self._list.on("asking", lambda e: self._edit_row(e.args, Document.asking))
            self._list.on("moved", lambda e: self._edit_row(e.args, Document.moved))
            self._list.on("colour", lambda e: self._edit_row(e.args, _recolour))
            self._list.on("removed", lambda e: editor.edit(lambda now: now.removed(_number(e.args))))
            self._list.on("chosen", lambda e: picture.choose(_number(e.args)))
        self._summary = ui.label("").classes("st-soft").props('data-testid="summary"')

    def _build_fields(self) -> None:
        with ui.element("div").classes("st-row"):
            self._new = ui.input(placeholder="Add a class: traffic cone, pylon").classes("st-slider")
            self._new.props('dense outlined maxlength=4000 aria-label="new class" autocomplete=off')
            self._new.on("keydown.enter", self._add)
            self._add_button = ui.button("Add", on_click=self._add)
            self._add_button.props("no-caps unelevated color=primary")
        with ui.element("div").classes("st-row").style("margin-top: 8px"):
            self._phrase = ui.input(placeholder="Try a phrase without adding it").classes("st-slider")
            self._phrase.props('dense outlined maxlength=1000 aria-label="phrase to try" autocomplete=off')
            self._phrase.on("keydown.enter", self._try)
            ui.button("Try", on_click=self._try).props("no-caps outline color=primary")
        with ui.element("div").classes("st-row"):
            self._probe_text = ui.label("").classes("st-soft").props('data-testid="probe"')
            self._probe_add = ui.button("Add it", on_click=self._add_probe).props("dense flat no-caps")

    def _edit_row(self, args: Any, step: Callable[[Document, int, Any], Document]) -> None:
        if isinstance(args, list) and len(args) == 2:
            self._editor.edit(lambda now: step(now, _number(args[0]), args[1]))

    def _add(self) -> None:
        text = str(self._new.value or "")
        if text.strip() and self._editor.edit(lambda now: now.added(text)):
            self._new.set_value("")

    def _try(self) -> None:
        phrase = str(self._phrase.value or "")[:1000]
        self._picture.probing = self._editor.act(lambda: self._session.ask_phrase(phrase, self._picture.held))

    def _add_probe(self) -> None:
        probe = self._session.probe
        if probe and self._editor.edit(lambda now: now.added(probe.phrase)):
            self._phrase.set_value("")
            self._picture.probing = False

    def show_state(self, mine: bool) -> None:
        """Show the answer to the phrase that was tried."""
        enable(self._add_button, mine)
        probe = self._session.probe
        if probe is None:
            self._probe_text.set_text("")
        elif probe.refused:
            self._probe_text.set_text(probe.refused)
        else:
            preview = "" if probe.preview is None else f", in the preview {probe.preview:.2f}"
            self._probe_text.set_text(
                f"{probe.phrase}: presence {probe.presence:.2f}{preview} ({1000 * probe.seconds:.0f} ms)"
            )
        self._probe_add.set_visibility(probe is not None and not probe.refused)

    def show(self, view: View, mine: bool) -> None:
        """Show the classes that are asked for, with what a view found of them."""
        document = self._session.document
        found = {one.class_id: one for one in view.findings}
        limits = selection_limits(view.result, view.document.configuration.settings)
        rows = []
        for one in document.vocabulary.classes:
            about = found.get(one.class_id)
            presence = about.presence if about else None
            rows.append(
                {
                    "id": one.class_id,
                    "name": one.name,
                    "prompts": "" if one.prompts == (one.name,) else ", ".join(one.prompts),
                    "colour": as_hex(one.colour),
                    "presence": presence,
                    "said": "not known" if presence is None else f"{presence:.2f}",
                    "share": about.share if about else 0.0,
                    "active": bool(about and about.active),
                    "reason": about.reason if about else "",
                }
            )
        limit = max(limits.floor, limits.cap)
        self._list.show(rows, mine, limit, self._editor.refused, self._picture.class_id)
        active = sum(row["active"] is True for row in rows)
        prompts_count = len(document.vocabulary.prompts)
        unlabelled = float((view.result.labels == view.result.unlabeled_id).mean())
        self._summary.set_text(
            f"{len(rows)} classes, {prompts_count} prompts; {active} classes decoded; {unlabelled:.1%} without a class"
        )


def _recolour(now: Document, class_id: int, value: Any) -> Document:
    return now.recoloured(class_id, from_hex(str(value)))


def _number(value: Any) -> int:
    return value if isinstance(value, int) else -1
