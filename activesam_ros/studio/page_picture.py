"""The part of the page with the picture: its layers, and what is at the place that is pointed at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nicegui import ui

from activesam_ros.studio import pictures
from activesam_ros.studio.editor import PLACE, place, set_source
from activesam_ros.studio.findings import at_pixel

if TYPE_CHECKING:
    from activesam_ros.studio.editor import Editor
    from activesam_ros.studio.session import View

_LAYERS = {"labels": "Classes", "confidence": "Confidence", "score": "Score", "none": "Picture"}


class PicturePanel:
    """The picture under one layer.

    Attributes:
        class_id: of the class whose score is shown, if that is the layer; None: none is chosen.
        probing: whether the answer to a phrase that was tried is shown, once it is there.
    """

    def __init__(self, editor: Editor) -> None:
        """Build it where the page is being built."""
        self.class_id: int | None = None
        self.probing = False
        self._editor = editor
        self._session = editor.session
        self._layer = "labels"
        self._opacity = 0.6
        self._drawn: tuple[Any, ...] = ()
        self._view: View | None = None
        """That is shown."""
        self._held: tuple[View, object] | None = None
        """The view that stands still, and the parameters when it was told to."""
        self._pointed: tuple[float, float] | None = None
        with ui.element("div").classes("st-row"):
            self._layers = ui.toggle(_LAYERS, value="labels", on_change=lambda e: self._show_layer(e.value))
            self._layers.props("dense no-caps unelevated color=white text-color=primary").classes("st-layers")
            with ui.element("div").classes("st-pair"):
                ui.label("opacity").classes("st-soft")
                slider = ui.slider(min=0, max=1, step=0.05, value=self._opacity, on_change=self._set_opacity)
                slider.classes("st-slider").props("aria-label=opacity color=primary")
            self._hold = ui.button("Hold", icon="pause", on_click=self._hold_or_go_on)
            self._hold.props("dense outline no-caps color=primary").classes("st-hold").set_visibility(
                self._session.live
            )
        with ui.element("div").classes("st-picture").props('data-testid="picture"') as self._stack:
            self._image = ui.element("img").props('alt="the picture"')
            self._overlay = ui.element("img").classes("st-layer").props('alt="" data-testid="overlay"')
            self._busy = ui.label("labelling …").classes("st-busy")
        self._stack.on("mousemove", self._hover, throttle=0.05, js_handler=PLACE)
        self._stack.on("click", self._pick, js_handler=PLACE)
        self._at = ui.label("").classes("st-hover").props('data-testid="hover" aria-live="off"')
        self._message = ui.label("").classes("st-message").props('role="alert" data-testid="message"')

    def choose(self, class_id: int) -> None:
        """Show the score of a class; of the one that is shown already, all classes."""
        self.class_id = None if self.class_id == class_id and self._layer == "score" else class_id
        self._show_layer("labels" if self.class_id is None else "score")

    def _show_layer(self, layer: str) -> None:
        self._layer = layer
        self.probing = False
        self._layers.set_value(layer)
        self._editor.stale = True

    def _set_opacity(self, event: Any) -> None:
        self._opacity = float(event.value)
        self._overlay.style(f"opacity: {self._opacity}")

    @property
    def held(self) -> View | None:
        """The view that stands still although newer ones come; None: the newest one is shown."""
        return self._held[0] if self._held else None

    def _hold_or_go_on(self) -> None:
        values = self._session.document.configuration.values
        still = self._held or self._tried() is not None
        self._held = None if still or self._view is None else (self._view, values)
        self.probing = False
        self._editor.stale = True

    def view_to_show(self, newest: View) -> View:
        """Return the view that is held, that of a tried phrase, or the newest one.

        What somebody changes is to be seen, so that then no view is held any more.
        """
        if self._held and self._held[1] != self._session.document.configuration.values:
            self._held = None
        tried = self._tried()
        held = self._held is not None or tried is not None
        self._hold.set_text("Go on" if held else "Hold")
        self._hold.props(
            f"icon={'play_arrow' if held else 'pause'} aria-pressed={'true' if held else 'false'}"
        )
        if tried is not None:
            return tried
        return self._held[0] if self._held else newest

    def _tried(self) -> View | None:
        """Return the view that a phrase was tried in, if its answer is shown."""
        probe = self._session.probe
        return probe.view if self.probing and probe is not None and not probe.refused else None

    def _hover(self, event: Any) -> None:
        self._pointed = place(event.args)
        self._show_place()

    def _show_place(self) -> None:
        """Say what is at the place that is pointed at; what comes second is found out for a held view only."""
        view, at = self._view, self._pointed
        if view is None or at is None:
            return
        session = self._session
        label = at_pixel(view.document, view.result, *at).label
        held = self.held is view
        rivals = session.rivals(view, label, ask=held and self._editor.mine)
        found = at_pixel(view.document, view.result, *at, rivals)
        name = found.name or "no class"
        text = f"{name} {found.score:.2f}" if found.name else name
        if found.runner_up and found.runner_up_score >= 0.005:
            text += f"   then {found.runner_up} {found.runner_up_score:.2f}"
        elif rivals is not None:
            why = f"what comes second is not known: {rivals.refused}"
            text += f"   {why if rivals.refused else 'no other class'}"
        elif session.live:
            asking = (
                "asking what comes second …" if self._editor.mine else "(take over to ask what comes second)"
            )
            text += f"   {asking if held else '(Hold tells what comes second)'}"
        self._at.set_text(text)

    def _pick(self, event: Any) -> None:
        self._hover(event)
        view, at = self._view, self._pointed
        if view is None or at is None:
            return
        label = at_pixel(view.document, view.result, *at).label
        self.class_id = label if label in view.document.vocabulary.class_ids else None
        self._editor.stale = True

    def show_state(self) -> None:
        """Show whether the picture is being labelled, and what went wrong."""
        session = self._session
        self._busy.set_visibility(session.busy and not session.message)
        self._message.set_text(session.message)
        self._message.set_visibility(bool(session.message))

    def show(self, view: View, base: str) -> None:
        """Show a view, whose pictures lie at an address, unless it is shown already."""
        probe = self._session.probe
        probing = self.probing and probe is not None and not probe.refused
        layer = self._layer
        if probing:
            layer = "probe"
        elif layer == "score":
            layer = f"score {self.class_id}"
            self._want_map(view)
        self._view = view
        self._show_place()
        drawn = (view.number, layer, probe.phrase if probing and probe else "", len(self._session.maps))
        if drawn == self._drawn:
            return
        self._drawn = drawn
        width, height = pictures.shown_size(view.rgb.shape)
        self._image.style(f"aspect-ratio: {width} / {height}")
        # A tall picture gets narrower, so that it fits the window.
        self._stack.style(f"max-width: calc({width / height:.4f} * 70vh)")
        set_source(self._image, f"{base}/image.jpg")
        self._overlay.set_visibility(layer != "none")
        self._overlay.style(f"opacity: {self._opacity}")
        self._overlay.props(f'data-view="{view.number}"')
        if layer == "probe":
            set_source(self._overlay, f"pictures/probe.png?v={self._session.change}")
        elif layer.startswith("score"):
            chosen = -1 if self.class_id is None else self.class_id
            made = len(self._session.maps)
            set_source(self._overlay, f"{base}/score.png?class_id={chosen}&v={made}")
        elif layer != "none":
            set_source(self._overlay, f"{base}/{layer}.png")

    def _want_map(self, view: View) -> None:
        """Have the map of the chosen class made if it was not decoded; the largest class is chosen if none is."""
        vocabulary = view.document.vocabulary
        if self.class_id not in vocabulary.class_ids:
            largest = max(view.findings, key=lambda one: one.share)
            self.class_id = largest.class_id
        if self.class_id is not None and self._session.score_map(view, self.class_id) is None:
            self._session.ask_map(self.class_id)
