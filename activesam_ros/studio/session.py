"""The session of a studio: what is shown, and the one thread that labels it; of several requests the newest counts."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from activesam_ros.errors import ActiveSamError, describe
from activesam_ros.studio.document import Document, History
from activesam_ros.studio.findings import ClassFindings, class_findings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from activesam_ros.prompts.prompt_set import PromptSet
    from activesam_ros.results import SegmentationResult
    from activesam_ros.segmenter import ActiveSegmenter, KeptImage
    from activesam_ros.studio.frames import Frames

logger = logging.getLogger(__name__)

_KEPT_IMAGES = 2
"""Number of pictures whose features stay in memory."""

_MOST_MAPS = 8
"""Number of score maps of classes that are not decoded otherwise."""


@dataclass(frozen=True, eq=False)
class View:
    """A picture as it was labelled last.

    Attributes:
        number: rises with every view.
        document: the classes and settings that it was labelled with.
        frame: index of the picture.
        rgb: uint8 [H, W, 3].
        result: labels, confidence and score maps.
        findings: what there is to say about each class, in the order of the vocabulary.
        timings: seconds of each stage when it last ran, "prompts" the embedding of words; and "total" of this time.
        reused: stages whose results were kept from before.
    """

    number: int
    document: Document
    frame: int
    rgb: np.ndarray
    result: SegmentationResult
    findings: tuple[ClassFindings, ...]
    timings: Mapping[str, float]
    reused: frozenset[str]


@dataclass(frozen=True, eq=False)
class Probe:
    """The answer to one phrase that is not in the vocabulary.

    Attributes:
        phrase: what was asked.
        frame: index of the picture.
        presence: probability that the picture shows it, at full resolution.
        preview: the same at the preview's resolution.
        scores: float16 [h, w], at the masks' resolution.
        seconds: that it took.
        refused: why there is no answer; the rest is empty.
    """

    phrase: str
    frame: int
    presence: float = 0.0
    preview: float = 0.0
    scores: np.ndarray = field(default_factory=lambda: np.zeros((1, 1), np.float16))
    seconds: float = 0.0
    refused: str = ""


@dataclass(frozen=True, eq=False)
class Scan:
    """The active classes of many pictures: for each picture the presence of the classes that were decoded.

    Attributes:
        total: number of pictures.
        presence: index of the picture → class id → presence; what is not there yet is not known.
        shares: the same, share of the pixels.
    """

    total: int
    presence: Mapping[int, Mapping[int, float]] = field(default_factory=dict)
    shares: Mapping[int, Mapping[int, float]] = field(default_factory=dict)

    @property
    def done(self) -> bool:
        """Whether all pictures are known."""
        return len(self.presence) >= self.total


class Session:
    """What all pages of one studio show and change.

    Its methods return at once; one thread labels. `change` counts what pages have to look at again.
    """

    def __init__(self, segmenter: ActiveSegmenter, frames: Frames, document: Document) -> None:
        """Begin with the first picture.

        Args:
            segmenter: of the model; used by this session alone from now on.
            frames: the pictures.
            document: the classes and settings at the beginning.
        """
        segmenter.check(document.vocabulary)
        self.frames = frames
        self.change = 0
        self.message = ""
        self.view: View | None = None
        self.probe: Probe | None = None
        self.scan = Scan(len(frames))
        self.in_force = document
        self.maps: Mapping[tuple[int, int], np.ndarray] = {}
        self._history = History(document)
        self._frame = 0
        self._segmenter = segmenter
        self._lock = threading.Condition()
        self._wanted: dict[str, Callable[[], None]] = {}
        self._scanning: list[int] = []
        self._closing = False
        self._good: tuple[History, int] | None = None
        self._kept: OrderedDict[int, KeptImage] = OrderedDict()
        self._prompts: PromptSet | None = None
        self._stages: dict[str, float] = {}
        self._ran: set[str] = set()
        self._thread = threading.Thread(target=self._work, name="studio", daemon=True)
        self._thread.start()
        self._ask("label", self._label)

    # For pages, from any thread.

    @property
    def document(self) -> Document:
        """The classes and settings as they are asked for."""
        return self._history.now

    @property
    def history(self) -> History:
        """What can be undone and done again."""
        return self._history

    @property
    def frame(self) -> int:
        """Index of the picture that is asked for."""
        return self._frame

    @property
    def busy(self) -> bool:
        """Whether the view is not yet of the document and picture that are asked for."""
        view = self.view
        return view is None or view.document is not self.document or view.frame != self._frame

    def edit(self, step: Callable[[Document], Document]) -> None:
        """Change the document.

        Raises:
            ActiveSamError: why it is refused; nothing changes.
        """
        with self._lock:
            document = step(self._history.now)
            if document.vocabulary != self._history.now.vocabulary:
                self._segmenter.check(document.vocabulary)
            if document.configuration.settings != self._history.now.configuration.settings:
                self._segmenter.check_settings(document.configuration.settings)
            self._go(self._history.then(document))

    def undo(self) -> None:
        """Go one step back."""
        with self._lock:
            self._go(self._history.undone())

    def redo(self) -> None:
        """Take an undo back."""
        with self._lock:
            self._go(self._history.redone())

    def show_frame(self, index: int) -> None:
        """Show another picture; an index beyond the ends is the first or last."""
        with self._lock:
            self._frame = max(0, min(len(self.frames) - 1, index))
            self.probe = None
        self._ask("label", self._label)

    def ask_phrase(self, phrase: str) -> None:
        """Ask the picture for a phrase that is not in the vocabulary; the answer is `probe`."""
        phrase = " ".join(phrase.split())
        if phrase:
            self._ask("probe", lambda: self._probe(phrase))
        else:
            self.probe = None
            self._changed()

    def ask_map(self, class_id: int) -> None:
        """Have the score map of a class made that is not decoded."""
        self._ask("map", lambda: self._map(class_id))

    def start_scan(self) -> None:
        """Label all pictures that the scan lacks, whenever there is nothing else to do."""
        with self._lock:
            self._scanning = [index for index in range(len(self.frames)) if index not in self.scan.presence]
            self._lock.notify()

    def stop_scan(self) -> None:
        """Leave the scan as it is."""
        with self._lock:
            self._scanning = []
        self._changed()

    @property
    def scanning(self) -> bool:
        """Whether a scan goes on."""
        return bool(self._scanning)

    def settle(self) -> None:
        """Take the document as what is in force: `difference` begins there."""
        self.in_force = self.document
        self._changed()

    def close(self) -> None:
        """Stop labelling, after what is at work."""
        with self._lock:
            self._closing = True
            self._lock.notify()
        self._thread.join()

    # In the thread that labels, or with the lock.

    def _go(self, history: History) -> None:
        if history.now is not self._history.now:
            self.message = ""
            self.probe = None
            self._history = history
            self._wanted["label"] = self._label
            self._lock.notify()
            self.change += 1

    def _ask(self, kind: str, work: Callable[[], None]) -> None:
        with self._lock:
            self._wanted[kind] = work
            self._lock.notify()
            self.change += 1

    def _changed(self) -> None:
        with self._lock:
            self.change += 1

    def _next(self) -> tuple[str, Callable[[], None]] | None:
        with self._lock:
            while not (self._closing or self._wanted or self._scanning):
                self._lock.wait()
            if self._closing:
                return None
            for kind in ("label", "map", "probe"):
                if kind in self._wanted:
                    return kind, self._wanted.pop(kind)
            return "scan", self._scan_one

    def _work(self) -> None:
        while (job := self._next()) is not None:
            kind, work = job
            try:
                work()
            except Exception as error:
                logger.debug("the studio's %s failed", kind, exc_info=True)
                self._failed(kind, describe(error))
            self._changed()

    def _failed(self, kind: str, sentence: str) -> None:
        """Say what went wrong, and return to what could be labelled last."""
        with self._lock:
            self.message = sentence
            if kind == "scan":
                self._scanning = []
            # A newer request is on its way, which may be right.
            if kind == "label" and self._good and "label" not in self._wanted:
                self._history, self._frame = self._good

    def _label(self) -> None:
        with self._lock:
            history, frame, before = self._history, self._frame, self.view
        document = history.now
        started = time.perf_counter()
        self._ran = set()
        if before and before.frame == frame and _asks_the_same(before.document, document):
            # Colours, or the order in which classes are listed.
            result = replace(before.result, vocabulary=document.vocabulary)
            spent: Mapping[str, float] = {}
        else:
            segmenter = self._prepared(document)
            kept = self._kept_image(frame)
            encoded = segmenter.encode_kept(kept)
            result = segmenter.decode(encoded, instances=False, score_maps=True)
            spent = result.timings
        self._stages.update((name, seconds) for name, seconds in spent.items() if name != "total")
        rgb = self._kept[frame].image if frame in self._kept else before.rgb if before else None
        assert rgb is not None
        self._ran.update(spent)
        view = View(
            number=(before.number if before else 0) + 1,
            document=document,
            frame=frame,
            rgb=rgb,
            result=result,
            findings=class_findings(document, result),
            timings={**self._stages, "total": time.perf_counter() - started},
            reused=frozenset(self._stages) - self._ran,
        )
        with self._lock:
            if before is None or not _asks_the_same(before.document, document):
                self.scan = Scan(len(self.frames))
                self._scanning = []
            self.maps = {}
            self.view = view
            self._good = (history, frame)

    def _prepared(self, document: Document) -> ActiveSegmenter:
        """Return the segmenter with the settings and the prompts of a document."""
        settings = document.configuration.settings
        if settings != self._segmenter.settings:
            self._segmenter = self._segmenter.with_settings(settings, follow=False)
        prompts = self._prompts
        if prompts is None or prompts.vocabulary != document.vocabulary or not self._segmenter.fits(prompts):
            started = time.perf_counter()
            prompts = self._segmenter.encode(document.vocabulary)
            self._stages["prompts"] = time.perf_counter() - started
            self._ran.add("prompts")
            self._prompts = prompts
        self._segmenter.use(prompts)
        return self._segmenter

    def _kept_image(self, frame: int) -> KeptImage:
        kept = self._kept.pop(frame, None) or self._segmenter.keep(self.frames.read(frame))
        self._kept[frame] = kept
        while len(self._kept) > _KEPT_IMAGES:
            self._kept.popitem(last=False)
        return kept

    def _map(self, class_id: int) -> None:
        """Decode the prompts of one class of the view."""
        view = self.view
        if view is None or self._prompts is None or (view.number, class_id) in self.maps:
            return
        vocabulary = self._prompts.vocabulary
        owner = vocabulary.prompt_classes
        only = [prompt for prompt, index in enumerate(owner) if vocabulary.class_ids[index] == class_id]
        if not only or view.document is not self.document:
            return
        result = self._decode_only(view.frame, self._prompts, only)
        assert result.score_maps is not None
        known = dict(list(self.maps.items())[1 - _MOST_MAPS :])
        self.maps = {**known, (view.number, class_id): result.score_maps[0]}

    def _probe(self, phrase: str) -> None:
        """Ask the picture for one phrase beside the vocabulary."""
        view = self.view
        if view is None:
            return
        started = time.perf_counter()
        try:
            document = view.document.added(phrase)
            self._segmenter.check(document.vocabulary)
            prompts = self._segmenter.encode(document.vocabulary)
            only = list(range(len(view.document.vocabulary.prompts), len(prompts)))
            result = self._decode_only(view.frame, prompts, only)
        except ActiveSamError as error:
            self.probe = Probe(phrase, view.frame, refused=str(error))
            return
        assert result.score_maps is not None and result.preview_presence is not None
        self.probe = Probe(
            phrase,
            view.frame,
            presence=max(result.prompt_presence or (0.0,)),
            preview=float(np.nanmax(result.preview_presence)),
            scores=result.score_maps.max(axis=0),
            seconds=time.perf_counter() - started,
        )

    def _decode_only(self, frame: int, prompts: PromptSet, only: list[int]) -> SegmentationResult:
        encoded = self._segmenter.encode_kept(self._kept_image(frame), prompts, only)
        return self._segmenter.decode(encoded, instances=False, score_maps=True)

    def _scan_one(self) -> None:
        """Label one picture for the scan."""
        with self._lock:
            if not self._scanning:
                return
            index = self._scanning[0]
            scan, document = self.scan, self.document
        segmenter = self._prepared(document)
        presence: dict[int, float] = {}
        shares: dict[int, float] = {}
        try:
            kept = self._kept.get(index) or segmenter.keep(self.frames.read(index))
            result = segmenter.decode(segmenter.encode_kept(kept), instances=False)
        except ActiveSamError:
            logger.debug("picture %d is left out of the scan", index, exc_info=True)
        else:
            presence = {one.class_id: one.presence for one in result.active}
            shares = {one.class_id: (one.pixels or 0) / result.labels.size for one in result.active}
        with self._lock:
            if scan is self.scan and self._scanning[:1] == [index]:
                self._scanning = self._scanning[1:]
                self.scan = Scan(
                    scan.total, {**scan.presence, index: presence}, {**scan.shares, index: shares}
                )


def _asks_the_same(one: Document, other: Document) -> bool:
    """Return whether two documents give the same labels: they differ in colours at most."""
    first, second = one.vocabulary, other.vocabulary
    return (
        one.configuration.settings == other.configuration.settings
        and first.prompts == second.prompts
        and first.prompt_classes == second.prompt_classes
        and first.class_ids == second.class_ids
        and first.background_id == second.background_id
    )
