"""The session of a studio: what its pages show and change, and the thread behind it, which takes the newest request."""

from __future__ import annotations

import logging
import threading
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from activesam_ros.errors import describe
from activesam_ros.studio.document import Document, History

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from activesam_ros.results import SegmentationResult
    from activesam_ros.studio.findings import ClassFindings, Rivals
    from activesam_ros.studio.frames import Frames

logger = logging.getLogger(__name__)


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
        preview: the same at the preview's resolution; None: not known.
        scores: float16 [h, w], at the masks' resolution.
        seconds: that it took.
        refused: why there is no answer; the rest is empty.
        view: of the picture, where pictures come by themselves; None: the one of the session.
    """

    phrase: str
    frame: int
    presence: float = 0.0
    preview: float | None = None
    scores: np.ndarray = field(default_factory=lambda: np.zeros((1, 1), np.float16))
    seconds: float = 0.0
    refused: str = ""
    view: View | None = None


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


class Session(ABC):
    """What all pages of one studio show and change.

    Its methods return at once; one thread labels. `change` counts what pages have to look at again.
    """

    live = False
    """Whether the picture changes by itself."""

    def __init__(self, frames: Frames, document: Document) -> None:
        """Begin with the first picture, once `start` is called.

        Args:
            frames: the pictures.
            document: the classes and settings at the beginning.
        """
        self.frames = frames
        self.change = 0
        self.message = ""
        self.view: View | None = None
        self.probe: Probe | None = None
        self.scan = Scan(len(frames))
        self.in_force = document
        self.refused = 0
        """Number of changes that were taken back since they cannot be labelled, or the node refused them."""
        self.maps: Mapping[tuple[int, int], np.ndarray] = {}
        self._unmade: frozenset[tuple[int, int]] = frozenset()
        """Views' numbers and classes whose map is at work, or cannot be made."""
        self._history = History(document)
        self._frame = 0
        self._lock = threading.Condition()
        self._wanted: dict[str, Callable[[], None]] = {}
        self._scanning: list[int] = []
        self._closing = False
        self._good: tuple[History, int] | None = None
        self._thread = threading.Thread(target=self._work, name="studio", daemon=True)

    def start(self) -> None:
        """Begin to work."""
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
            self._check(document)
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
            self.message = ""
        self._ask("label", self._label)

    def ask_phrase(self, phrase: str, view: View | None = None) -> None:
        """Ask the picture, or that of a view, for a phrase that is not in the vocabulary; the answer is `probe`."""
        phrase = " ".join(phrase.split())
        if phrase:
            self._ask("probe", lambda: self._probe(phrase, view or self.view))
        else:
            self.probe = None
            self._changed()

    def ask_map(self, class_id: int) -> None:
        """Have the score map of a class made that is not decoded; what failed is tried again for another view only."""
        view = self.view
        if view is not None and (view.number, class_id) not in self._unmade:
            self._ask("map", lambda: self._map(class_id))

    def rivals(self, view: View, label: int, ask: bool) -> Rivals | None:
        """Return what comes second where a label is, if that is known and the view itself does not tell.

        Args:
            view: that is shown.
            label: of a class, or of pixels without one.
            ask: whether to have it found out.
        """
        return None

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

    def score_map(self, view: View, class_id: int) -> np.ndarray | None:
        """Return the scores of a class, [h, w]; None: it was not decoded, and has not been asked for by `ask_map`."""
        maps = view.result.score_maps
        if maps is None:
            return np.where(view.result.labels == class_id, view.result.confidence, np.float32(0))
        for index, one in enumerate(view.result.active):
            if one.class_id == class_id:
                return maps[index]
        return self.maps.get((view.number, class_id))

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
            for kind in ("label", "read", "map", "rivals", "probe"):
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
            if kind == "scan":
                self._scanning = []
            # A newer request is on its way, which may be right.
            if kind == "label" and self._good and "label" not in self._wanted:
                self._history, self._frame = self._good
                self.refused += 1
            # Last, since a page that reads it shows what the words are now.
            self.message = sentence

    @abstractmethod
    def _check(self, document: Document) -> None:
        """Raise ActiveSamError for a document that cannot be asked for."""

    @abstractmethod
    def _label(self) -> None:
        """Make the view that is asked for."""

    @abstractmethod
    def _map(self, class_id: int) -> None:
        """Make the score map of a class of the view."""

    @abstractmethod
    def _probe(self, phrase: str, view: View | None) -> None:
        """Ask the picture of a view for one phrase beside the vocabulary."""

    @abstractmethod
    def _scan_one(self) -> None:
        """Label one picture for the scan."""
