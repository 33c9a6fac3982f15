"""The thread that owns the model: takes frames, and calls between them, swaps words, survives bad ones."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from activesam_ros.errors import ActiveSamError, describe

if TYPE_CHECKING:
    from collections.abc import Callable

    from activesam_ros.prompts.prompt_set import PromptSet
    from activesam_ros.ros.calls import Call, CallQueue
    from activesam_ros.ros.inbox import Inbox
    from activesam_ros.ros.vocabulary_loader import LoadedVocabulary, VocabularyLoader
    from activesam_ros.segmenter import ActiveSegmenter

F = TypeVar("F")


@dataclass(frozen=True)
class Task:
    """What the worker is doing.

    Attributes:
        name: "loading the model", "labelling frames", or another few words.
        since: when it began, `time.monotonic()` seconds.
        bounded: whether it should be done soon, so that it counts as hanging if it is not.
    """

    name: str
    since: float
    bounded: bool


class WorkerEvents(Protocol, Generic[F]):
    """What the worker tells its owner; every method is called in the worker's thread."""

    def loaded(self, segmenter: ActiveSegmenter, seconds: float) -> None:
        """The model is there; words come next."""

    def in_force(self, served: LoadedVocabulary) -> None:
        """From the next frame on, `served` labels."""

    def answer(self, batch: list[tuple[str, F]], served: LoadedVocabulary) -> None:
        """Answer frames, one of a camera at most, and tell the inbox what became of each."""

    def idle(self, served: LoadedVocabulary) -> None:
        """There is no frame to answer right now."""

    def answer_call(self, call: Call, prompts: PromptSet | None, served: LoadedVocabulary) -> None:
        """Answer a call, and end it."""

    def failed(self, sentence: str) -> None:
        """Nothing can be served any more, for lack of a model or by a bug; the thread ends."""


class Worker(Generic[F]):
    """Loads the model, then answers the frames of an inbox until it is told to end."""

    def __init__(
        self,
        inbox: Inbox[F],
        calls: CallQueue,
        loader: VocabularyLoader,
        load: Callable[[], ActiveSegmenter],
        events: WorkerEvents[F],
    ) -> None:
        """Args:
        inbox: where frames come from; who puts a call that is ready into `calls` has to wake it.
        calls: where calls come from; between two batches of frames at most one is answered.
        loader: where words and settings come from; the worker opens it once the model is loaded.
        load: makes the segmenter; may raise ActiveSamError.
        events: is told what happens, and answers the frames.
        """
        self._inbox = inbox
        self._calls = calls
        self._loader = loader
        self._load = load
        self._events = events
        self._ending = threading.Event()
        self._task: Task | None = None
        # A daemon: neither a load nor a forward pass can be interrupted, and the process must be able to end.
        self._thread = threading.Thread(target=self._run, name="activesam-worker", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        """Let the thread end after what it is doing; returns at once."""
        self._ending.set()
        self._inbox.wake()

    def join(self, timeout: float) -> bool:
        """Wait at most `timeout` seconds for the end of the thread; whether it has ended."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    @property
    def ending(self) -> bool:
        """Whether it was told to end: what it still answers is nobody's any more."""
        return self._ending.is_set()

    @property
    def task(self) -> Task | None:
        """What it is doing; None while it waits."""
        return self._task

    def _run(self) -> None:
        try:
            self._serve()
        except Exception as error:  # a bug beside the frames: the process would live on, deaf
            self._inbox.give_up()
            self._calls.give_up("the worker failed while the call was in work; the log says why")
            self._events.failed(f"the worker failed: {describe(error)}")
        finally:
            self._task = None

    def _serve(self) -> None:
        started = time.monotonic()
        self._task = Task("loading the model", started, bounded=False)
        try:
            segmenter = self._load()
        except ActiveSamError as error:
            self._events.failed(str(error))
            return
        except Exception as error:  # there is nothing to do without a model, whatever the reason
            self._events.failed(f"loading the model failed unexpectedly: {describe(error)}")
            return
        if self._ending.is_set():
            return
        self._events.loaded(segmenter, time.monotonic() - started)
        self._task = Task("encoding the first vocabulary", time.monotonic(), bounded=False)
        self._loader.open(segmenter)
        ready = self._loader.wait()
        del segmenter
        served: LoadedVocabulary | None = None
        batch: list[tuple[str, F]] = []
        while not self._ending.is_set():
            if ready is not None:
                served = ready
                served.put_in_force()
                self._events.in_force(served)
            if batch:
                self._task = Task("labelling frames", time.monotonic(), bounded=True)
                self._events.answer(batch, served)
            else:
                self._events.idle(served)
            self._task = None
            if not self._ending.is_set():
                self._answer_call(served)
            if self._ending.is_set():
                return  # What waits is left to whoever follows.
            batch = self._inbox.take()
            ready = self._loader.collect()

    def _answer_call(self, served: LoadedVocabulary) -> None:
        """Answer one call, if one is ready; a further one has its turn after the frames that wait."""
        ready = self._calls.take()
        if ready is not None:
            self._task = Task("answering a call", time.monotonic(), bounded=True)
            self._events.answer_call(*ready, served)
            self._task = None
        if self._calls.has_ready:
            self._inbox.wake()
