"""One loaded model at work: its worker, its vocabulary loader, and what is in force."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from activesam_ros.errors import describe
from activesam_ros.ros.call_answering import CallAnswering
from activesam_ros.ros.vocabulary_loader import VocabularyLoader
from activesam_ros.ros.worker import Task, Worker

if TYPE_CHECKING:
    from collections.abc import Callable

    from activesam_ros.configuration import Configuration, ModelChoice
    from activesam_ros.prompts.prompt_set import PromptSet
    from activesam_ros.ros.calls import Call, CallQueue
    from activesam_ros.ros.frame import Frame
    from activesam_ros.ros.inbox import Inbox
    from activesam_ros.ros.vocabulary_loader import LoadedVocabulary
    from activesam_ros.segmenter import ActiveSegmenter
    from activesam_ros.vocabulary import Vocabulary

NO_CACHE = "off"


class EngineEvents(Protocol):
    """What an engine tells its owner, from its threads."""

    def loaded(self, segmenter: ActiveSegmenter, seconds: float) -> None:
        """The model is there."""

    def in_force(self, served: LoadedVocabulary) -> None:
        """From the next frame on, `served` labels."""

    def change_failed(
        self, request: Configuration, sentence: str, standing: Configuration, again: bool
    ) -> None:
        """A change could not be prepared; see `LiveParameters.failed`."""

    def call_failed(self, sentence: str) -> None:
        """A call failed by a fault."""

    def engine_settled(self, engine: Engine) -> None:
        """It serves, or it failed: at the start or, by a bug, later."""


class Engine:
    """Loads a model and serves it until `end`; neither is done twice.

    It is *settled* once the first words are in force, or once it has failed.
    """

    def __init__(
        self,
        choice: ModelChoice,
        first: Configuration,
        inbox: Inbox[Frame],
        calls: CallQueue,
        answer: Callable[[list[tuple[str, Frame]], LoadedVocabulary, Callable[[], bool]], None],
        idle: Callable[[LoadedVocabulary], None],
        events: EngineEvents,
        load: Callable[[ModelChoice, Configuration], ActiveSegmenter] | None = None,
    ) -> None:
        """Args:
        choice: which model.
        first: words and settings that come first.
        inbox: where frames come from.
        calls: where calls come from.
        answer: answers frames, see `Answering`; worker's thread.
        idle: there is no frame to answer; worker's thread.
        events: told what happens.
        load: makes the segmenter; None: `load_segmenter`.
        """
        self.choice = choice
        self._first = first
        self._answer = answer
        self._idle = idle
        self._events = events
        self._wake = inbox.wake
        self._settled = threading.Event()
        self._loaded = False
        self._served: LoadedVocabulary | None = None
        self._error: str | None = None
        self._abandoned = False
        self._prompt_cache: str | None = None
        self._loader = VocabularyLoader(self._change_failed, inbox.wake)
        loads = load or load_segmenter
        self._call_answering = CallAnswering(calls, self._segmenter, inbox.wake, events.call_failed)
        self._worker: Worker[Frame] = Worker(inbox, calls, self._loader, lambda: loads(choice, first), self)

    def start(self) -> None:
        """Begin to load; returns at once."""
        self._loader.submit(self._first)
        self._worker.start()

    def wait(self, timeout: float) -> bool:
        """Wait at most `timeout` seconds until it is settled; whether it is."""
        return self._settled.wait(timeout)

    @property
    def serves(self) -> bool:
        """Whether words are in force, nothing has failed, and it is not being closed."""
        return self._served is not None and self._error is None and not self.closing

    @property
    def closing(self) -> bool:
        """Whether it was told to end."""
        return self._worker.ending

    @property
    def preparing_since(self) -> float | None:
        """When the preparation of words that runs began, `time.monotonic()` seconds; None if none does."""
        return self._loader.since

    @property
    def error(self) -> str | None:
        """Why it cannot serve; None if it can, or may yet."""
        return self._error

    @property
    def served(self) -> LoadedVocabulary | None:
        """What frames are labelled with; None before the first words."""
        return self._served

    @property
    def is_loaded(self) -> bool:
        """Whether the model is there."""
        return self._loaded

    @property
    def prompt_cache(self) -> str | None:
        """Folder where known prompts are kept, or "off"; None before the model is there."""
        return self._prompt_cache

    @property
    def task(self) -> Task | None:
        """What the worker is doing; None while it waits."""
        return self._worker.task

    def submit(self, request: Configuration) -> None:
        """Ask for words and settings; returns at once."""
        self._loader.submit(request)

    def check(self, request: Configuration) -> None:
        """Raises ActiveSamError if the model cannot serve `request`, as far as that is known without encoding."""
        self._loader.check(request)

    def check_words(self, vocabulary: Vocabulary) -> None:
        """Raises VocabularyError if the model cannot read the words of a call; quick."""
        served = self._served
        if served is not None:
            served.segmenter.check(vocabulary)

    def see_to_calls(self) -> None:
        """There may be new calls: have the words encoded that they brought along, and wake the worker."""
        self._call_answering.prepare()
        self._wake()

    def end(self) -> None:
        """Let it end after what it is doing; returns at once."""
        # In this order: a worker that the loader lets go finds that it is to end.
        self._worker.end()
        self._loader.close()
        self._call_answering.close()

    def join(self, timeout: float) -> bool:
        """Wait at most `timeout` seconds for its threads; whether they have ended.

        Then it has let go of the model, whose memory is free once the engine itself is gone.
        """
        deadline = time.monotonic() + timeout
        ended = self._worker.join(timeout) and all(
            one.join(max(0.0, deadline - time.monotonic())) for one in (self._loader, self._call_answering)
        )
        if ended:
            self._loaded, self._served = False, None
        return ended

    def abandon(self) -> None:
        """Leave threads that do not end to themselves: what they still answer is not published."""
        self._abandoned = True
        self._loaded, self._served = False, None

    # The worker's events.

    def loaded(self, segmenter: ActiveSegmenter, seconds: float) -> None:
        self._loaded = True
        self._prompt_cache = str(prompt_cache_folder(self.choice) or NO_CACHE)
        self._events.loaded(segmenter, seconds)

    def in_force(self, served: LoadedVocabulary) -> None:
        self._served = served
        self._events.in_force(served)
        if not self._settled.is_set():
            self._settled.set()
            self._events.engine_settled(self)

    def answer(self, batch: list[tuple[str, Frame]], served: LoadedVocabulary) -> None:
        self._answer(batch, served, lambda: self._abandoned)

    def idle(self, served: LoadedVocabulary) -> None:
        self._idle(served)

    def answer_call(self, call: Call, prompts: PromptSet | None, served: LoadedVocabulary) -> None:
        self._call_answering(call, prompts, served)

    def failed(self, sentence: str) -> None:
        if self._worker.ending:
            return  # It is being ended anyway; what fails meanwhile is no reason to call that a failure.
        self._error = sentence
        self._settled.set()
        self._events.engine_settled(self)

    def _segmenter(self) -> ActiveSegmenter | None:
        served = self._served
        return None if served is None else served.segmenter

    def _change_failed(self, request: Configuration, error: Exception, last: Configuration | None) -> None:
        if self._worker.ending:
            return  # as above
        sentence = describe(error)
        if last is None and request is self._first:
            self.failed(f"the parameters do not fit the model: {sentence}")
            self.end()
            return
        self._events.change_failed(request, sentence, last or self._first, last is None)


def prompt_cache_folder(choice: ModelChoice) -> Path | None:
    """Where known prompts are kept; None: nowhere."""
    from activesam_ros.prompts.cache import prompt_folder

    if choice.prompt_cache == NO_CACHE:
        return None
    return prompt_folder(Path(choice.prompt_cache).expanduser() if choice.prompt_cache else "default")


def load_segmenter(choice: ModelChoice, first: Configuration) -> ActiveSegmenter:
    """Loads the model of the parameters with the settings of `first`; raises ActiveSamError."""
    # torch takes seconds to import; in the worker that delays neither the end of the process nor the services.
    from activesam_ros.model.compiling import keep_compiled, torch_compiler
    from activesam_ros.segmenter import ActiveSegmenter

    if choice.compile:
        keep_compiled()
    return ActiveSegmenter.from_pretrained(
        choice.model,
        device=choice.device,
        dtype=choice.dtype,
        settings=first.settings,
        text_encoder=choice.text_encoder,
        prompt_cache=prompt_cache_folder(choice),
        compiler=torch_compiler() if choice.compile else None,
    )
