"""The part of the page below the picture: the pictures of a folder or recording, and which classes are active when."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nicegui import ui

from activesam_ros.studio import pictures
from activesam_ros.studio.editor import PLACE, enable, place, set_source

if TYPE_CHECKING:
    from activesam_ros.studio.editor import Editor


class Timeline:
    """A slider over the pictures, and the chart of a scan."""

    def __init__(self, editor: Editor) -> None:
        """Build it where the page is being built."""
        self._editor = editor
        self._session = editor.session
        self._scan_key: tuple[Any, ...] = ()
        with ui.element("div").classes("st-card") as card:
            with ui.element("div").classes("st-row"):
                self._build_slider()
            with ui.element("div").classes("st-strip") as self._strip:
                self._strip_names = ui.element("div").classes("st-names")
                with ui.element("div").classes("st-chart") as chart:
                    self._strip_image = ui.element("img").props('alt="which classes are in which picture"')
                    self._strip_now = ui.element("div").classes("st-now")
            chart.on("click", self._click_strip, js_handler=PLACE)
        card.set_visibility(not self._session.live)

    def _build_slider(self) -> None:
        ui.button(icon="chevron_left", on_click=lambda: self.step(-1)).props(
            "dense flat round aria-label='previous picture'"
        )
        count = len(self._session.frames)
        self._slider = ui.slider(min=0, max=max(1, count - 1), value=0, on_change=self._slide)
        self._slider.classes("st-slider").props("aria-label='picture' color=primary")
        ui.button(icon="chevron_right", on_click=lambda: self.step(1)).props(
            "dense flat round aria-label='next picture'"
        )
        self._frame_name = ui.label("").classes("st-num")
        self._scan_button = ui.button("Scan all", on_click=self._scan).props("dense flat no-caps")

    def step(self, by: int) -> None:
        """Go to a picture before or after this one."""
        self._editor.act(lambda: self._session.show_frame(self._session.frame + by))

    def _slide(self, event: Any) -> None:
        if not self._editor.quiet and event.value is not None and int(event.value) != self._session.frame:
            self._editor.act(lambda: self._session.show_frame(int(event.value)))

    def _click_strip(self, event: Any) -> None:
        at = place(event.args)
        if at is not None:
            count = len(self._session.frames)
            self._editor.act(lambda: self._session.show_frame(min(count - 1, int(at[0] * count))))

    def _scan(self) -> None:
        self._editor.act(self._session.stop_scan if self._session.scanning else self._session.start_scan)

    def show(self, mine: bool) -> None:
        """Show which picture it is, and the scan as far as it is known."""
        session = self._session
        self._slider.set_value(session.frame)
        count = len(session.frames)
        self._frame_name.set_text(f"{session.frames.name(session.frame)}  ·  {session.frame + 1} of {count}")
        scan = session.scan
        known = len(scan.presence)
        self._scan_button.set_text(
            f"Stop ({known} of {scan.total})" if session.scanning else "Scanned" if scan.done else "Scan all"
        )
        enable(self._scan_button, mine and not scan.done and count > 1)
        self._strip.set_visibility(known > 0)
        if known:
            self._show_scan()

    def _show_scan(self) -> None:
        session = self._session
        scan, view = session.scan, session.view
        rows = pictures.scan_rows(scan)
        names = {one.class_id: one.name for one in view.document.vocabulary.classes} if view else {}
        key = (id(scan), tuple(names.get(number, "") for number in rows))
        share = 100 * (session.frame + 0.5) / scan.total
        self._strip_now.style(f"left: {share:.2f}%")
        if key == self._scan_key:
            return
        self._scan_key = key
        self._strip_image.style(f"height: {16 * max(1, len(rows))}px")
        set_source(self._strip_image, f"pictures/scan.png?v={session.change}")
        self._strip_names.clear()
        with self._strip_names:
            for number in rows:
                ui.label(names.get(number, ""))
