"""Calls that ask for the labels of one image, on their way from the service to the thread that owns the model."""

from __future__ import annotations

import threading
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from activesam_ros.prompts.prompt_set import PromptSet
    from activesam_ros.results import SegmentationResult
    from activesam_ros.vocabulary import Vocabulary

ROOM = 4
"""So many calls may wait for their turn; each holds an image."""

ENCODING_ROOM = 2
"""So many more may wait for words of their own to be encoded, which can take long and must not turn others away."""


class Outcome(IntEnum):
    """How a call ended; the numbers are those of `srv/Segment.srv`."""

    LABELLED = 0
    REFUSED = 1
    BUSY = 2
    TIMED_OUT = 3
    NOT_SERVING = 4
    FAILED = 5


@dataclass(frozen=True)
class Asked:
    """What a call asks for.

    Attributes:
        image: a sensor_msgs/Image.
        vocabulary: words of its own; None: those of the stream.
        thresholds: settings of its own, by name; the others are the stream's.
        timeout: how long it may wait for its turn, in seconds.
    """

    image: Any
    vocabulary: Vocabulary | None
    thresholds: Mapping[str, float]
    timeout: float


@dataclass(frozen=True)
class Answer:
    """What came of a call.

    Attributes:
        outcome: how it ended.
        sentence: why it was not labelled; empty if it was.
        result: the labels; None without.
        revision: of the vocabulary that it was labelled with; 0: the call's own.
    """

    outcome: Outcome
    sentence: str = ""
    result: SegmentationResult | None = None
    revision: int = 0


@dataclass(frozen=True, eq=False)
class Call:
    """A call that was let in.

    Attributes:
        asked: what it asks for.
        deadline: when it has waited for too long, `time.monotonic()` seconds.
        done: takes the answer, once, in any thread.
    """

    asked: Asked
    deadline: float
    done: Callable[[Answer], None]


@dataclass(frozen=True)
class CallCounts:
    """Where every call went: received = answered + refused + failed + waiting + in_work.

    Attributes:
        received: calls that came.
        answered: those that were labelled.
        refused: those that were not, for a reason that their callers can mend: bad input, no room, no time, no model.
        failed: those that were not, by a fault.
        waiting, in_work: those that have not ended.
    """

    received: int = 0
    answered: int = 0
    refused: int = 0
    failed: int = 0
    waiting: int = 0
    in_work: int = 0


@dataclass
class _Entry:
    call: Call
    # Words of its own that nobody has begun to encode yet, and what came of that.
    untouched: bool
    prompts: PromptSet | None = None

    @property
    def is_ready(self) -> bool:
        return self.call.asked.vocabulary is None or self.prompts is not None


Ended = list[tuple[Call, Answer]]


class CallQueue:
    """Keeps the calls that wait, in order, and ends each of them exactly once.

    Any thread may call anything; one worker thread at a time calls `take`. A call with words of its own waits until
    somebody has taken it from `unprepared` and told of the prompts with `prepared`; others pass it meanwhile. The
    queue starts shut.
    """

    def __init__(self, clock: Callable[[], float], room: int = ROOM) -> None:
        """Args:
        clock: `time.monotonic`, or one that tests turn.
        room: so many calls may wait for their turn; `ENCODING_ROOM` more for their words.
        """
        self._clock = clock
        self._room = room
        self._changed = threading.Condition()
        self._waiting: list[_Entry] = []
        self._working: list[Call] = []
        self._received = 0
        self._ended: Counter[Outcome] = Counter()
        self._shut: str | None = "the node is not active"
        self._hanging: str | None = None

    def put(self, asked: Asked, done: Callable[[Answer], None]) -> None:
        """Hand over a call; `done` is called at once if it is not let in."""
        with self._ending() as ended:
            self._received += 1
            call = Call(asked, self._clock() + asked.timeout, done)
            if self._shut is not None:
                self._end(call, Answer(Outcome.NOT_SERVING, self._shut), ended)
                return
            if self._hanging is not None:
                self._end(call, Answer(Outcome.FAILED, self._hanging), ended)
                return
            sentence = self._busy(asked)
            if sentence is not None:
                self._end(call, Answer(Outcome.BUSY, sentence), ended)
                return
            self._waiting.append(_Entry(call, untouched=asked.vocabulary is not None))

    def refuse(self, outcome: Outcome) -> None:
        """Count a call that was refused as it came."""
        with self._changed:
            self._received += 1
            self._ended[outcome] += 1

    def unprepared(self) -> Call | None:
        """The oldest call whose own words nobody has begun to encode; who gets it has to."""
        with self._changed:
            for entry in self._waiting:
                if entry.untouched:
                    entry.untouched = False
                    return entry.call
            return None

    def prepared(self, call: Call, prompts: PromptSet) -> None:
        """The words of a call are encoded; ignored if it has ended."""
        with self._changed:
            for entry in self._waiting:
                if entry.call is call:
                    entry.prompts = prompts

    def take(self) -> tuple[Call, PromptSet | None] | None:
        """The oldest call whose turn can come, with the prompts of its own words; None: there is none."""
        self.expire()
        with self._changed:
            for entry in self._waiting:
                if entry.is_ready:
                    self._waiting.remove(entry)
                    self._working.append(entry.call)
                    return entry.call, entry.prompts
            return None

    def put_back(self, call: Call) -> None:
        """Have a call in work wait again, ahead of the others, for its words to be encoded anew."""
        with self._ending() as ended:
            if call not in self._working:
                return
            self._working.remove(call)
            if self._shut is not None:
                self._end(call, Answer(Outcome.NOT_SERVING, self._shut), ended)
            else:
                self._waiting.insert(0, _Entry(call, untouched=True))

    @property
    def has_ready(self) -> bool:
        """Whether the turn of a call can come."""
        with self._changed:
            return any(entry.is_ready for entry in self._waiting)

    def end(self, call: Call, answer: Answer) -> bool:
        """End a call, in work or waiting; whether it had not ended before."""
        with self._ending() as ended:
            if call in self._working:
                self._working.remove(call)
            elif not self._leave(call):
                return False
            self._end(call, answer, ended)
            return True

    def expire(self) -> None:
        """End the calls that have waited for too long."""
        with self._ending() as ended:
            now = self._clock()
            for entry in [one for one in self._waiting if now >= one.call.deadline]:
                self._leave(entry.call)
                self._end(entry.call, Answer(Outcome.TIMED_OUT, _late(entry)), ended)

    def open(self) -> None:
        """Let calls in."""
        with self._changed:
            self._shut = None

    def shut(self, sentence: str) -> None:
        """Refuse the calls that wait, and those that come from now on; what is in work stays so."""
        with self._ending() as ended:
            self._shut = sentence
            for entry in self._waiting:
                self._end(entry.call, Answer(Outcome.NOT_SERVING, sentence), ended)
            self._waiting.clear()

    def give_up(self, sentence: str) -> None:
        """End the calls in work as failed: their worker hangs or has died."""
        with self._ending() as ended:
            for call in self._working:
                self._end(call, Answer(Outcome.FAILED, sentence), ended)
            self._working.clear()

    def hang(self, sentence: str) -> None:
        """End all calls as failed, and those that come until `recover`, since their worker hangs."""
        with self._ending() as ended:
            self._hanging = sentence
            for call in [*self._working, *(entry.call for entry in self._waiting)]:
                self._end(call, Answer(Outcome.FAILED, sentence), ended)
            self._working.clear()
            self._waiting.clear()

    def recover(self) -> None:
        """The worker does not hang any more, or another one takes its place."""
        with self._changed:
            self._hanging = None

    def wait_idle(self, timeout: float) -> bool:
        """Wait at most `timeout` seconds until no call is in work; whether that is so."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._working, timeout)

    def counts(self) -> CallCounts:
        """A consistent snapshot."""
        with self._changed:
            answered, failed = self._ended[Outcome.LABELLED], self._ended[Outcome.FAILED]
            return CallCounts(
                received=self._received,
                answered=answered,
                refused=self._ended.total() - answered - failed,
                failed=failed,
                waiting=len(self._waiting),
                in_work=len(self._working),
            )

    def _busy(self, asked: Asked) -> str | None:
        """Why there is no room for a call; None if there is."""
        ready = sum(entry.is_ready for entry in self._waiting)
        if ready >= self._room:
            return f"{ready} calls are waiting already; call again when one has been answered"
        encoding = len(self._waiting) - ready
        if asked.vocabulary is not None and encoding >= ENCODING_ROOM:
            return f"the words of {encoding} calls are waiting to be encoded already; call again in a while"
        return None

    def _leave(self, call: Call) -> bool:
        for entry in self._waiting:
            if entry.call is call:
                self._waiting.remove(entry)
                return True
        return False

    def _end(self, call: Call, answer: Answer, ended: Ended) -> None:
        self._ended[answer.outcome] += 1
        ended.append((call, answer))

    @contextmanager
    def _ending(self) -> Iterator[Ended]:
        """Holds the lock; those that end meanwhile are told once it is free, since they may call again at once."""
        ended: Ended = []
        with self._changed:
            yield ended
            self._changed.notify_all()
        for call, answer in ended:
            call.done(answer)


def _late(entry: _Entry) -> str:
    timeout = entry.call.asked.timeout
    if entry.is_ready:
        return f"the turn did not come within {timeout:g} s; call again, or with a longer timeout"
    return f"the words were not encoded within {timeout:g} s; call again, or with a longer timeout"
