"""The thread that owns the model: takes frames, swaps words between two of them, survives bad ones."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from activesam_ros.errors import ActiveSamError, ImageError
from activesam_ros.ros.changes import ChangeDesk
from activesam_ros.ros.frame_slot import FrameSlot
from activesam_ros.ros.parameters import Wanted
from activesam_ros.ros.preparation import Prepared, Preparer, Served, swap

if TYPE_CHECKING:
    from activesam_ros.segmenter import ActiveSegmenter

F = TypeVar("F")


class WorkerEvents(Protocol):
    """What the worker tells its owner; every method is called in the worker's thread."""

    def loaded(self, segmenter: ActiveSegmenter, preparer: Preparer, seconds: float) -> None:
        """The model is there; words come next."""

    def in_force(self, served: Served, prepared: Prepared) -> None:
        """From the next frame on, `served` labels."""

    def frame_answered(self) -> None:
        """One frame was answered and counted."""

    def frame_failed(self, sentence: str) -> None:
        """One frame could not be answered; the next one is tried."""

    def fatal(self, sentence: str) -> None:
        """Nothing can be served any more, for lack of a model or by a bug; the thread ends."""


class Worker(Generic[F]):
    """Loads the model, then answers the frames of one slot until the slot is closed."""

    def __init__(
        self,
        slot: FrameSlot[F],
        desk: ChangeDesk[Wanted, Prepared],
        load: Callable[[], ActiveSegmenter],
        answer: Callable[[F, Served], None],
        events: WorkerEvents,
    ) -> None:
        """
        Args:
            slot: where frames come from.
            desk: where words and settings come from; the worker opens it once the model is loaded.
            load: makes the segmenter; may raise ActiveSamError.
            answer: segments one frame and publishes the outcome; whatever it raises fails that frame only.
            events: is told what happens.
        """
        self._slot = slot
        self._desk = desk
        self._load = load
        self._answer = answer
        self._events = events
        # A daemon: neither a load nor a forward pass can be interrupted, and the process must be able to end.
        self._thread = threading.Thread(target=self._run, name="activesam-worker", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def join(self, timeout: float) -> bool:
        """Wait at most `timeout` seconds for the end of the thread; whether it has ended."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._serve()
        except Exception as error:  # a bug beside the frames: the process would live on, deaf
            self._events.fatal(f"the worker failed: {describe(error)}")

    def _serve(self) -> None:
        started = time.monotonic()
        try:
            segmenter = self._load()
        except ActiveSamError as error:
            self._events.fatal(str(error))
            return
        except Exception as error:  # the process has nothing to do without a model, whatever the reason
            self._events.fatal(f"loading the model failed unexpectedly: {describe(error)}")
            return
        preparer = Preparer(segmenter, time.monotonic)
        self._events.loaded(segmenter, preparer, time.monotonic() - started)
        self._desk.open(preparer)
        prepared = self._desk.wait()
        served: Served | None = None
        frame: F | None = None
        while True:
            if prepared is not None:
                served = swap(prepared)
                self._events.in_force(served, prepared)
            if frame is not None:
                self._one(frame, served)
            frame = self._slot.take()
            if frame is None:
                return
            prepared = self._desk.collect()

    def _one(self, frame: F, served: Served) -> None:
        try:
            self._answer(frame, served)
        except ImageError as error:
            self._slot.failed("bad image")
            self._events.frame_failed(f"frame refused: {error}")
        except Exception as error:  # one frame must not take the node down
            self._slot.failed(type(error).__name__)
            self._events.frame_failed(f"frame failed: {describe(error)}")
        else:
            self._slot.answered()
            self._events.frame_answered()


def describe(error: Exception) -> str:
    """An exception as one line: its text if it is one of ours, else its type too."""
    text = " ".join(str(error).split())
    return text if isinstance(error, ActiveSamError) else f"{type(error).__name__}: {text}"
