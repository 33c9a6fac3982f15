"""The part of the page with files and the changes since: presets, saving, and the same as `ros2 param set`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nicegui import ui

from activesam_ros.studio.document import difference, param_commands
from activesam_ros.studio.editor import enable

if TYPE_CHECKING:
    from activesam_ros.studio.editor import Editor
    from activesam_ros.studio.sharing import VocabularyFiles


class FilesPanel:
    """Loading, saving, and what differs from what was loaded or saved last."""

    def __init__(self, editor: Editor, files: VocabularyFiles) -> None:
        """Build it where the page is being built."""
        self._editor = editor
        self._session = editor.session
        self._files = files
        with ui.element("div").classes("st-card"):
            self._build_files()
            self._diff_title = ui.label("").classes("st-soft").style("margin-top: 10px")
            self._diff = ui.label("").classes("st-code").props('data-testid="diff"')
            with ui.element("div").classes("st-row").style("margin-top: 8px"):
                ui.label("the same for a running node").classes("st-soft")
                ui.button("Copy", icon="content_copy", on_click=self._copy).props("dense flat no-caps")
            self._commands = ui.label("").classes("st-code").props('data-testid="commands"')

    def _build_files(self) -> None:
        with ui.element("div").classes("st-row"):
            self._choice = ui.select(self._files.names(), label="preset or file").classes("st-slider")
            self._choice.props("dense outlined options-dense use-input")
            self._load_button = ui.button("Load", on_click=self._load)
            self._load_button.props("no-caps outline color=primary")
        with ui.element("div").classes("st-row").style("margin-top: 8px"):
            self._file_name = ui.input(value="vocabulary.yaml").classes("st-slider")
            self._file_name.props('dense outlined maxlength=120 aria-label="file name"')
            self._save_button = ui.button("Save", on_click=self._save)
            self._save_button.props("no-caps outline color=primary")
            ui.button("Download", on_click=self._download).props("no-caps flat color=primary")
        if not self._files.writable:
            ui.label("to save here, start the studio with --folder DIR").classes("st-soft")

    def _load(self) -> None:
        name = self._choice.value
        if name:
            self._editor.edit(lambda now: now.with_values({"vocabulary_file": self._files.source(str(name))}))

    def _save(self) -> None:
        def save() -> None:
            path = self._files.save(str(self._file_name.value or ""), self._session.document.as_yaml())
            self._session.settle()
            self._choice.set_options(self._files.names())
            ui.notify(f"saved as {path}", type="positive")

        self._editor.act(save)

    def _download(self) -> None:
        ui.download.content(self._session.document.as_yaml(), "vocabulary.yaml")

    def _copy(self) -> None:
        ui.clipboard.write("\n".join(param_commands(self._session.in_force, self._session.document)))
        ui.notify("copied")

    def show(self, mine: bool) -> None:
        """Show what differs."""
        enable(self._load_button, mine)
        enable(self._save_button, mine and self._files.writable)
        now, before = self._session.document, self._session.in_force
        lines = difference(before, now)
        self._diff_title.set_text(
            "changes to what was loaded or saved"
            if lines
            else "nothing differs from what was loaded or saved"
        )
        self._diff.set_text("\n".join(lines))
        self._diff.set_visibility(bool(lines))
        self._commands.set_text("\n".join(param_commands(before, now)) or "# nothing to set")
