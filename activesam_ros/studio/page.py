"""The page of a studio, built for each browser: controls that change the session, and what it found.

Names and sentences go to the browser as text, never as markup: through Vue's interpolation, attributes, and labels.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from nicegui import context, ui

from activesam_ros.errors import ActiveSamError
from activesam_ros.settings import BOUNDS, PROFILES
from activesam_ros.studio import pictures
from activesam_ros.studio.document import Document, as_hex, difference, from_hex, param_commands
from activesam_ros.studio.findings import at_pixel, selection_limits

if TYPE_CHECKING:
    from collections.abc import Callable

    from activesam_ros.studio.session import Session, View
    from activesam_ros.studio.sharing import Control, VocabularyFiles

_REFRESH = 0.05
"""Seconds between two looks at whether the session has changed."""

_ACCENT = "#0f6b66"
_LAYERS = {"labels": "Classes", "confidence": "Confidence", "score": "Score", "none": "Picture"}
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

_PLACE = """(event) => {
  const box = event.currentTarget.getBoundingClientRect();
  emit((event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height);
}"""


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
        self._props.update(
            rows=rows, edit=edit, limit=limit, refused=refused, chosen=-1 if chosen is None else chosen
        )
        self.update()


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
        self._control = control
        self._files = files
        self._remember = remember
        self._id = context.client.id
        self._seen: tuple[Any, ...] = ()
        self._drawn: tuple[Any, ...] = ()
        self._layer = "labels"
        self._opacity = 0.6
        self._class_id: int | None = None
        self._probing = False
        self._refused = 0
        self._quiet = False
        context.client.on_disconnect(lambda: control.release(self._id))
        ui.add_css(Path(__file__).with_name("studio.css").read_text(encoding="utf-8"))
        ui.colors(primary=_ACCENT)
        self._head(about)
        with ui.element("main").classes("st-main"):
            with ui.element("section").classes("st-left"):
                self._picture()
                self._timeline().set_visibility(not session.live)
            with ui.element("section").classes("st-right"):
                self._words()
                self._settings()
                self._changes()
        ui.keyboard(on_key=self._on_key)
        self._refresh()
        ui.timer(_REFRESH, self._refresh)

    # Building.

    def _head(self, about: str) -> None:
        with ui.element("header").classes("st-head"):
            ui.label("activesam studio").classes("st-title")
            ui.label(about).classes("st-about")
            ui.element("div").classes("st-grow")
            self._watching = ui.label("somebody else is changing; you are looking").classes("st-about")
            self._take = ui.button("Take over", on_click=self._take_over).props(
                "dense outline no-caps color=white"
            )
            self._undo = ui.button("Undo", icon="undo", on_click=lambda: self._act(self._session.undo))
            self._redo = ui.button("Redo", icon="redo", on_click=lambda: self._act(self._session.redo))
            for button in (self._undo, self._redo):
                button.props("dense flat no-caps color=white")

    def _picture(self) -> None:
        with ui.element("div").classes("st-row"):
            self._layers = ui.toggle(_LAYERS, value="labels", on_change=lambda e: self._show_layer(e.value))
            self._layers.props("dense no-caps unelevated color=white text-color=primary").classes("st-layers")
            ui.label("opacity").classes("st-soft")
            ui.slider(min=0, max=1, step=0.05, value=self._opacity, on_change=self._set_opacity).classes(
                "st-slider"
            ).props("aria-label=opacity color=primary")
        with ui.element("div").classes("st-picture").props('data-testid="picture"') as self._stack:
            self._image = ui.element("img").props('alt="the picture"')
            self._overlay = ui.element("img").classes("st-layer").props('alt="" data-testid="overlay"')
            self._busy = ui.label("labelling …").classes("st-busy")
        self._stack.on("mousemove", self._hover, throttle=0.05, js_handler=_PLACE)
        self._stack.on("click", self._pick, js_handler=_PLACE)
        self._at = ui.label("").classes("st-hover").props('data-testid="hover" aria-live="off"')
        self._message = ui.label("").classes("st-message").props('role="alert" data-testid="message"')

    def _timeline(self) -> Any:
        frames = self._session.frames
        with ui.element("div").classes("st-card") as card:
            with ui.element("div").classes("st-row"):
                ui.button(icon="chevron_left", on_click=lambda: self._step(-1)).props(
                    "dense flat round aria-label='previous picture'"
                )
                self._slider = ui.slider(
                    min=0, max=max(1, len(frames) - 1), value=0, on_change=self._slide
                ).classes("st-slider")
                self._slider.props("aria-label='picture' color=primary")
                ui.button(icon="chevron_right", on_click=lambda: self._step(1)).props(
                    "dense flat round aria-label='next picture'"
                )
                self._frame_name = ui.label("").classes("st-num")
                self._scan_button = ui.button("Scan all", on_click=self._scan).props("dense flat no-caps")
            with ui.element("div").classes("st-strip") as self._strip:
                self._strip_names = ui.element("div").classes("st-names")
                with ui.element("div").classes("st-chart") as chart:
                    self._strip_image = ui.element("img").props('alt="which classes are in which picture"')
                    self._strip_now = ui.element("div").classes("st-now")
            chart.on("click", self._click_strip, js_handler=_PLACE)
        return card

    def _words(self) -> None:
        with ui.element("div").classes("st-card"):
            with ui.element("div").classes("st-row"):
                self._new = ui.input(placeholder="Add a class: traffic cone, pylon").classes("st-slider")
                self._new.props('dense outlined maxlength=4000 aria-label="new class" autocomplete=off')
                self._new.on("keydown.enter", self._add)
                self._add_button = ui.button("Add", on_click=self._add).props(
                    "no-caps unelevated color=primary"
                )
            with ui.element("div").classes("st-row").style("margin-top: 8px"):
                self._phrase = ui.input(placeholder="Try a phrase without adding it").classes("st-slider")
                self._phrase.props(
                    'dense outlined maxlength=1000 aria-label="phrase to try" autocomplete=off'
                )
                self._phrase.on("keydown.enter", self._try)
                ui.button("Try", on_click=self._try).props("no-caps outline color=primary")
            with ui.element("div").classes("st-row"):
                self._probe_text = ui.label("").classes("st-soft").props('data-testid="probe"')
                self._probe_add = ui.button("Add it", on_click=self._add_probe).props("dense flat no-caps")
        with ui.element("div").classes("st-card").style("padding: 4px 6px"):
            self._list = ClassList()
            self._list.on("named", lambda e: self._edit_row(e.args, Document.renamed))
            self._list.on("asking", lambda e: self._edit_row(e.args, Document.asking))
            self._list.on("moved", lambda e: self._edit_row(e.args, Document.moved))
            self._list.on("colour", lambda e: self._edit_row(e.args, _recolour))
            self._list.on("removed", lambda e: self._edit(lambda now: now.removed(_number(e.args))))
            self._list.on("chosen", lambda e: self._choose(_number(e.args)))
        self._summary = ui.label("").classes("st-soft").props('data-testid="summary"')

    def _settings(self) -> None:
        session = self._session
        with ui.element("div").classes("st-card"):
            with ui.element("div").classes("st-row"):
                ui.label("profile").classes("st-label")
                self._profile = ui.select([*PROFILES, ""], value=session.document.value("profile"))
                self._profile.props("dense outlined options-dense aria-label=profile").on_value_change(
                    lambda e: self._set("profile", e.value)
                )
                ui.label("max_active").classes("st-soft")
                self._most = ui.number(value=session.document.value("max_active"), min=1, step=1, precision=0)
                self._most.props("dense outlined aria-label=max_active").style("width: 90px")
                self._most.on("change", lambda: self._set("max_active", self._most.value))
            self._sliders: dict[str, tuple[Any, Any]] = {}
            for name, low in _SLIDERS.items():
                with ui.element("div").classes("st-row"):
                    ui.label(name).classes("st-label").tooltip(_about(name))
                    slider = ui.slider(min=low, max=1, step=0.01, value=session.document.value(name))
                    slider.classes("st-slider").props(f'aria-label={name} color=primary data-testid="{name}"')
                    # Only where it is let go, and with the arrow keys.
                    slider.on("change", lambda e, name=name: self._set(name, e.args), args=None)
                    shown = ui.label("").classes("st-num")
                    slider.on_value_change(lambda e, shown=shown: shown.set_text(f"{e.value:.2f}"))
                    self._sliders[name] = (slider, shown)
            self._stages: dict[str, tuple[Any, Any]] = {}
            with ui.element("div").style("margin-top: 6px; display: grid; gap: 3px") as stages:
                stages.set_visibility(not session.live)
                for stage, shown_name in _STAGES.items():
                    with ui.element("div").classes("st-stage"):
                        ui.label(shown_name).classes("st-soft")
                        with ui.element("div"):
                            bar = ui.element("i")
                        self._stages[stage] = (bar, ui.label("").classes("st-num"))
            self._total = ui.label("").classes("st-soft").props('data-testid="total"')

    def _changes(self) -> None:
        with ui.element("div").classes("st-card"):
            with ui.element("div").classes("st-row"):
                self._choice = ui.select(self._files.names(), label="preset or file").classes("st-slider")
                self._choice.props("dense outlined options-dense use-input")
                self._load_button = ui.button("Load", on_click=self._load)
                self._load_button.props("no-caps outline color=primary")
            with ui.element("div").classes("st-row").style("margin-top: 8px"):
                self._file_name = ui.input(value="vocabulary.yaml").classes("st-slider")
                self._file_name.props('dense outlined maxlength=120 aria-label="file name"')
                self._save_button = ui.button("Save", on_click=self._save).props(
                    "no-caps outline color=primary"
                )
                ui.button("Download", on_click=self._download).props("no-caps flat color=primary")
            self._diff_title = ui.label("").classes("st-soft").style("margin-top: 10px")
            self._diff = ui.label("").classes("st-code").props('data-testid="diff"')
            with ui.element("div").classes("st-row").style("margin-top: 8px"):
                ui.label("the same for a running node").classes("st-soft")
                ui.button("Copy", icon="content_copy", on_click=self._copy).props("dense flat no-caps")
            self._commands = ui.label("").classes("st-code").props('data-testid="commands"')

    # What the person does.

    def _act(self, work: Callable[[], None]) -> bool:
        """Do what changes the session, if this page may; say what is refused."""
        if not self._control.claim(self._id):
            ui.notify("somebody else is changing; take over first", type="warning")
            return False
        try:
            work()
        except ActiveSamError as error:
            ui.notify(str(error), type="negative", multi_line=True, timeout=8000, close_button="Close")
            self._refused += 1
            self._seen = ()
            return False
        return True

    def _edit(self, step: Callable[[Document], Document]) -> bool:
        return self._act(lambda: self._session.edit(step))

    def _edit_row(self, args: Any, step: Callable[[Document, int, Any], Document]) -> None:
        if isinstance(args, list) and len(args) == 2:
            self._edit(lambda now: step(now, _number(args[0]), args[1]))

    def _set(self, name: str, value: Any) -> None:
        if self._quiet or value is None:
            return
        kind = type(self._session.document.value(name))
        if isinstance(value, int | float | str) and value != self._session.document.value(name):
            self._edit(lambda now: now.with_values({name: kind(value)}))

    def _add(self) -> None:
        text = str(self._new.value or "")
        if text.strip() and self._edit(lambda now: now.added(text)):
            self._new.set_value("")

    def _try(self) -> None:
        phrase = str(self._phrase.value or "")[:1000]
        self._probing = self._act(lambda: self._session.ask_phrase(phrase))

    def _add_probe(self) -> None:
        probe = self._session.probe
        if probe and self._edit(lambda now: now.added(probe.phrase)):
            self._phrase.set_value("")
            self._probing = False

    def _choose(self, class_id: int) -> None:
        self._probing = False
        self._class_id = None if self._class_id == class_id and self._layer == "score" else class_id
        self._show_layer("labels" if self._class_id is None else "score")

    def _show_layer(self, layer: str) -> None:
        self._layer = layer
        self._probing = False
        self._layers.set_value(layer)
        self._seen = ()

    def _set_opacity(self, event: Any) -> None:
        self._opacity = float(event.value)
        self._overlay.style(f"opacity: {self._opacity}")

    def _hover(self, event: Any) -> None:
        view = self._session.view
        place = _place(event.args)
        if view is None or place is None:
            return
        found = at_pixel(view.document, view.result, *place)
        name = found.name or "no class"
        text = f"{name} {found.score:.2f}" if found.name else name
        if found.runner_up and found.runner_up_score >= 0.005:
            text += f"   then {found.runner_up} {found.runner_up_score:.2f}"
        self._at.set_text(text)

    def _pick(self, event: Any) -> None:
        self._hover(event)
        view = self._session.view
        place = _place(event.args)
        if view is None or place is None:
            return
        name = at_pixel(view.document, view.result, *place).name
        self._class_id = next(
            (one.class_id for one in view.document.vocabulary.classes if one.name == name), None
        )
        self._seen = ()

    def _slide(self, event: Any) -> None:
        if not self._quiet and event.value is not None and int(event.value) != self._session.frame:
            self._act(lambda: self._session.show_frame(int(event.value)))

    def _step(self, by: int) -> None:
        self._act(lambda: self._session.show_frame(self._session.frame + by))

    def _click_strip(self, event: Any) -> None:
        place = _place(event.args)
        if place is not None:
            count = len(self._session.frames)
            self._act(lambda: self._session.show_frame(min(count - 1, int(place[0] * count))))

    def _scan(self) -> None:
        self._act(self._session.stop_scan if self._session.scanning else self._session.start_scan)

    def _take_over(self) -> None:
        self._control.take(self._id)
        self._seen = ()

    def _on_key(self, event: Any) -> None:
        if not event.action.keydown:
            return
        if event.key == "z" and (event.modifiers.ctrl or event.modifiers.meta):
            self._act(self._session.redo if event.modifiers.shift else self._session.undo)
        elif event.key.arrow_left or event.key.arrow_right:
            self._step(1 if event.key.arrow_right else -1)

    def _load(self) -> None:
        name = self._choice.value
        if name:
            self._edit(lambda now: now.with_values({"vocabulary_file": self._files.source(str(name))}))

    def _save(self) -> None:
        def save() -> None:
            path = self._files.save(str(self._file_name.value or ""), self._session.document.as_yaml())
            self._session.settle()
            self._choice.set_options(self._files.names())
            ui.notify(f"saved as {path}", type="positive")

        self._act(save)

    def _download(self) -> None:
        ui.download.content(self._session.document.as_yaml(), "vocabulary.yaml")

    def _copy(self) -> None:
        ui.clipboard.write("\n".join(param_commands(self._session.in_force, self._session.document)))
        ui.notify("copied")

    # Showing.

    def _refresh(self) -> None:
        session = self._session
        mine = self._control.holds(self._id)
        state = (session.change, mine, self._refused)
        if state == self._seen:
            return
        self._seen = state
        view = session.view
        self._quiet = True
        try:
            self._show_state(mine)
            if view is not None:
                self._show_picture(view, self._remember(view))
                self._show_classes(view, mine)
                self._show_settings(view, mine)
        finally:
            self._quiet = False

    def _show_state(self, mine: bool) -> None:
        session = self._session
        self._watching.set_visibility(not mine)
        self._take.set_visibility(not mine)
        _enable(self._undo, mine and bool(session.history.before))
        _enable(self._redo, mine and bool(session.history.after))
        for one in (self._add_button, self._load_button):
            _enable(one, mine)
        _enable(self._save_button, mine and self._files.writable)
        self._busy.set_visibility(session.busy and not session.message)
        self._message.set_text(session.message)
        self._message.set_visibility(bool(session.message))
        self._slider.set_value(session.frame)
        count = len(session.frames)
        self._frame_name.set_text(f"{session.frames.name(session.frame)}  ·  {session.frame + 1} of {count}")
        scan = session.scan
        known = len(scan.presence)
        self._scan_button.set_text(
            f"Stop ({known} of {scan.total})" if session.scanning else "Scanned" if scan.done else "Scan all"
        )
        _enable(self._scan_button, mine and not scan.done and count > 1)
        self._strip.set_visibility(known > 0)
        if known:
            self._show_scan()
        self._show_probe()
        now, before = session.document, session.in_force
        lines = difference(before, now)
        self._diff_title.set_text(
            "changes to what was loaded or saved"
            if lines
            else "nothing differs from what was loaded or saved"
        )
        self._diff.set_text("\n".join(lines))
        self._diff.set_visibility(bool(lines))
        self._commands.set_text("\n".join(param_commands(before, now)) or "# nothing to set")

    def _show_scan(self) -> None:
        session = self._session
        scan, view = session.scan, session.view
        rows = pictures.scan_rows(scan)
        names = {one.class_id: one.name for one in view.document.vocabulary.classes} if view else {}
        key = (id(scan), tuple(names.get(number, "") for number in rows))
        share = 100 * (session.frame + 0.5) / scan.total
        self._strip_now.style(f"left: {share:.2f}%")
        if key == getattr(self, "_scan_key", None):
            return
        self._scan_key = key
        self._strip_image.style(f"height: {16 * max(1, len(rows))}px")
        _source(self._strip_image, f"pictures/scan.png?v={session.change}")
        self._strip_names.clear()
        with self._strip_names:
            for number in rows:
                ui.label(names.get(number, ""))

    def _show_probe(self) -> None:
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

    def _show_picture(self, view: View, base: str) -> None:
        probe = self._session.probe
        probing = self._probing and probe is not None and not probe.refused
        layer = self._layer
        if probing:
            layer = "probe"
        elif layer == "score":
            layer = f"score {self._class_id}"
            self._want_map(view)
        # A live picture stands still while a phrase is looked at.
        number = -1 if probing and self._session.live else view.number
        drawn = (number, layer, probe.phrase if probing and probe else "", len(self._session.maps))
        if drawn == self._drawn:
            return
        self._drawn = drawn
        width, height = pictures.shown_size(view.rgb.shape)
        self._image.style(f"aspect-ratio: {width} / {height}")
        # A tall picture gets narrower, so that it fits the window.
        self._stack.style(f"max-width: calc({width / height:.4f} * 70vh)")
        _source(self._image, f"{base}/image.jpg")
        self._overlay.set_visibility(layer != "none")
        self._overlay.style(f"opacity: {self._opacity}")
        self._overlay.props(f'data-view="{view.number}"')
        if layer == "probe":
            _source(self._overlay, f"pictures/probe.png?v={self._session.change}")
        elif layer.startswith("score"):
            chosen = -1 if self._class_id is None else self._class_id
            made = len(self._session.maps)
            _source(self._overlay, f"{base}/score.png?class_id={chosen}&v={made}")
        elif layer != "none":
            _source(self._overlay, f"{base}/{layer}.png")

    def _want_map(self, view: View) -> None:
        """Have the map of the chosen class made if it was not decoded; the largest class is chosen if none is."""
        vocabulary = view.document.vocabulary
        if self._class_id not in vocabulary.class_ids:
            largest = max(view.findings, key=lambda one: one.share)
            self._class_id = largest.class_id
        if self._class_id is not None and self._session.score_map(view, self._class_id) is None:
            self._session.ask_map(self._class_id)

    def _show_classes(self, view: View, mine: bool) -> None:
        session = self._session
        document = session.document
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
        self._list.show(rows, mine, max(limits.floor, limits.cap), self._refused, self._class_id)
        active = sum(row["active"] is True for row in rows)
        prompts_count = len(document.vocabulary.prompts)
        unlabelled = float((view.result.labels == view.result.unlabeled_id).mean())
        self._summary.set_text(
            f"{len(rows)} classes, {prompts_count} prompts; {active} classes decoded; {unlabelled:.1%} without a class"
        )

    def _show_settings(self, view: View, mine: bool) -> None:
        document = self._session.document
        self._profile.set_value(document.value("profile"))
        self._most.set_value(document.value("max_active"))
        for name, (slider, shown) in self._sliders.items():
            value = float(document.value(name))
            slider.set_value(value)
            shown.set_text(f"{value:.2f}")
            _enable(slider, mine)
        for one in (self._profile, self._most):
            _enable(one, mine)
        longest = max((view.timings.get(stage, 0.0) for stage in _STAGES), default=0.0) or 1.0
        for stage, (bar, shown) in self._stages.items():
            seconds = view.timings.get(stage)
            kept = stage in view.reused
            bar.style(f"width: {100 * (seconds or 0.0) / longest:.1f}%; opacity: {0.3 if kept else 1}")
            shown.set_text("–" if seconds is None else f"{'kept' if kept else f'{1000 * seconds:.0f} ms'}")
        total = view.timings.get("total")
        self._total.set_text("" if total is None else f"this time {1000 * total:.0f} ms")


def _about(name: str) -> str:
    from activesam_ros.settings import DESCRIPTIONS

    return f"{DESCRIPTIONS[name]} {BOUNDS[name].low:g} to {BOUNDS[name].high:g}."


def _enable(element: Any, enabled: bool) -> None:
    element.enable() if enabled else element.disable()


def _source(image: Any, address: str) -> None:
    image.props(f'src="{address}"')


def _recolour(now: Document, class_id: int, value: Any) -> Document:
    return now.recoloured(class_id, from_hex(str(value)))


def _number(value: Any) -> int:
    return value if isinstance(value, int) else -1


def _place(args: Any) -> tuple[float, float] | None:
    if isinstance(args, list) and len(args) == 2 and all(isinstance(one, int | float) for one in args):
        return float(args[0]), float(args[1])
    return None
