"""The part of the page with the settings, and the time of each stage beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nicegui import ui

from activesam_ros.settings import BOUNDS, DESCRIPTIONS, PROFILES
from activesam_ros.studio.editor import enable

if TYPE_CHECKING:
    from activesam_ros.studio.editor import Editor
    from activesam_ros.studio.session import View

_STAGES = {
    "prompts": "words",
    "prepare": "prepare",
    "preview": "preview",
    "encode": "encode",
    "decode": "decode",
    "fuse": "fuse",
}
_SLIDERS = {"background_threshold": 0.0, "keep_fraction": 0.01, "presence_floor": 0.0}
"""Settings from 0 to 1 that have a slider, with the least value that it gives."""


class SettingsPanel:
    """Profile, sliders, and times."""

    def __init__(self, editor: Editor) -> None:
        """Build it where the page is being built."""
        self._editor = editor
        self._session = editor.session
        self._sliders: dict[str, tuple[Any, Any]] = {}
        self._stages: dict[str, tuple[Any, Any]] = {}
        self._set_to: dict[str, tuple[object, int]] = {}
        """What controls were set to, and after how many refusals; none while somebody's wish is on its way."""
        with ui.element("div").classes("st-card"):
            with ui.element("div").classes("st-row"):
                self._build_choices()
            for name, low in _SLIDERS.items():
                with ui.element("div").classes("st-row"):
                    self._build_slider(name, low)
            with ui.element("div").style("margin-top: 6px; display: grid; gap: 3px") as stages:
                stages.set_visibility(not self._session.live)
                for stage, shown_name in _STAGES.items():
                    with ui.element("div").classes("st-stage"):
                        ui.label(shown_name).classes("st-soft")
                        with ui.element("div"):
                            bar = ui.element("i")
                        self._stages[stage] = (bar, ui.label("").classes("st-num"))
            self._total = ui.label("").classes("st-soft").props('data-testid="total"')

    def _build_choices(self) -> None:
        document = self._session.document
        ui.label("profile").classes("st-label")
        self._profile = ui.select([*PROFILES, ""], value=document.value("profile"))
        self._profile.props("dense outlined options-dense aria-label=profile")
        self._profile.on_value_change(lambda e: self._set("profile", e.value))
        ui.label("max_active").classes("st-soft")
        self._most = ui.number(value=document.value("max_active"), min=1, step=1, precision=0)
        self._most.props("dense outlined aria-label=max_active").style("width: 90px")
        self._most.on("change", lambda: self._set("max_active", self._most.value))

    def _build_slider(self, name: str, low: float) -> None:
        ui.label(name).classes("st-label").tooltip(_about(name))
        slider = ui.slider(min=low, max=1, step=0.01, value=self._session.document.value(name))
        slider.classes("st-slider").props(f'aria-label={name} color=primary data-testid="{name}"')
        # Only where it is let go, and with the arrow keys.
        slider.on("change", lambda e: self._set(name, e.args), args=None)
        shown = ui.label("").classes("st-num")
        slider.on_value_change(lambda e: shown.set_text(f"{e.value:.2f}"))
        self._sliders[name] = (slider, shown)

    def _set(self, name: str, value: Any) -> None:
        if self._editor.quiet:
            return
        if value is None:
            # A field that was emptied shows again what is in force.
            self._set_to.pop(name, None)
            self._editor.stale = True
            return
        now = self._session.document.value(name)
        if isinstance(value, int | float | str) and value != now:
            self._set_to.pop(name, None)
            self._editor.edit(lambda document: document.with_values({name: type(now)(value)}))

    def show(self, view: View, mine: bool) -> None:
        """Show the settings that are asked for, and how long the stages of a view took."""
        self._show_value("profile", self._profile, mine)
        self._show_value("max_active", self._most, mine)
        for name, (slider, shown) in self._sliders.items():
            if self._show_value(name, slider, mine):
                shown.set_text(f"{slider.value:.2f}")
        longest = max((view.timings.get(stage, 0.0) for stage in _STAGES), default=0.0) or 1.0
        for stage, (bar, shown) in self._stages.items():
            seconds = view.timings.get(stage)
            kept = stage in view.reused
            bar.style(f"width: {100 * (seconds or 0.0) / longest:.1f}%; opacity: {0.3 if kept else 1}")
            shown.set_text("–" if seconds is None else f"{'kept' if kept else f'{1000 * seconds:.0f} ms'}")
        total = view.timings.get("total")
        self._total.set_text("" if total is None else f"this time {1000 * total:.0f} ms")

    def _show_value(self, name: str, control: Any, mine: bool) -> bool:
        """Set a control if the value has changed, or was refused; not while it is moved, whatever views come."""
        enable(control, mine)
        value = self._session.document.value(name)
        wanted = (value, self._editor.refused)
        if self._set_to.get(name) == wanted:
            return False
        self._set_to[name] = wanted
        control.set_value(float(value) if name in _SLIDERS else value)
        return True


def _about(name: str) -> str:
    return f"{DESCRIPTIONS[name]} {BOUNDS[name].low:g} to {BOUNDS[name].high:g}."
