"""The service `~/segment`: labels one image beside the stream. Its calls wait in a queue for the model worker."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.task import Future

from activesam_ros.errors import ActiveSamError, ImageError, SettingsError, VocabularyError, describe
from activesam_ros.ros.conversions import (
    active_classes_to_msg,
    confidence_to_msg,
    detections_to_msg,
    ids_to_msg,
    labels_to_msg,
    panoptic_to_msg,
    vocabulary_to_msg,
)
from activesam_ros.srv import Segment
from activesam_ros.system.machine import start_thread
from activesam_ros.system.memory import trim_heap
from activesam_ros.vocabulary import Vocabulary, check_size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from activesam_ros.prompts.prompt_set import PromptSet
    from activesam_ros.results import SegmentationResult
    from activesam_ros.ros.logs import ErrorLog
    from activesam_ros.ros.node import ActiveSamNode
    from activesam_ros.ros.worker import Worker
    from activesam_ros.settings import SegmenterSettings

MAX_WAITING = 4
"""Number of calls that may wait for their turn; each holds an image."""

MAX_ENCODING = 2
"""Number of further calls whose own classes may wait to be encoded, which can take long and must not block others."""

_THRESHOLDS = ("confidence_threshold", "background_threshold")


class Outcome(IntEnum):
    """How a call ended; the numbers are those of `srv/Segment.srv`."""

    LABELLED = 0
    REFUSED = 1
    BUSY = 2
    TIMED_OUT = 3
    NOT_SERVING = 4
    FAILED = 5


@dataclass(frozen=True)
class CallRequest:
    """What a call asks for.

    Attributes:
        image: a sensor_msgs/Image.
        vocabulary: its own; None: that of the stream.
        thresholds: settings of its own, by name; the others are the stream's.
        timeout: seconds that it may wait for its turn.
        instances: whether it wants instances, too.
    """

    image: Any
    vocabulary: Vocabulary | None
    thresholds: Mapping[str, float]
    timeout: float
    instances: bool = False


@dataclass(frozen=True)
class CallAnswer:
    """How a call ended: why it was not labelled, or its result and the vocabulary's revision (0: the call's own)."""

    outcome: Outcome
    sentence: str = ""
    result: SegmentationResult | None = None
    revision: int = 0


@dataclass(eq=False)
class Call:
    """A call that was accepted; the queue's lock guards what changes.

    Attributes:
        request: what it asks for.
        deadline: `time.monotonic()` seconds when it has waited for too long.
        done: takes the answer, once, in any thread.
        to_encode: whether it brings classes that nobody has begun to encode.
        prompts: the encoded classes of its own; None: there are none, or not yet.
    """

    request: CallRequest
    deadline: float
    done: Callable[[CallAnswer], None]
    to_encode: bool
    prompts: PromptSet | None = None

    @property
    def is_ready(self) -> bool:
        """Whether its turn can come."""
        return self.request.vocabulary is None or self.prompts is not None


@dataclass(frozen=True)
class CallCounts:
    """Where every call went: received = answered + refused + failed + waiting + in_work.

    Refused are those that were not labelled for a reason that their callers can mend: bad input, busy, timeout, no
    model; failed are those that were not by a fault.
    """

    received: int = 0
    answered: int = 0
    refused: int = 0
    failed: int = 0
    waiting: int = 0
    in_work: int = 0


class CallQueue:
    """Keeps the waiting calls in order, and ends each of them exactly once; any thread may call any method.

    A call with classes of its own waits until they are encoded; others overtake it meanwhile. The queue starts shut.
    """

    def __init__(self, errors: ErrorLog, clock: Callable[[], float] = time.monotonic) -> None:
        self._errors = errors
        self._clock = clock
        self._changed = threading.Condition()
        self._waiting: list[Call] = []
        self._working: list[Call] = []
        self._received = 0
        self._ended: Counter[Outcome] = Counter()
        self._shut: str | None = "the node is not active"
        self._hanging: str | None = None

    def put(self, request: CallRequest, done: Callable[[CallAnswer], None]) -> None:
        """Add a call; `done` is called at once if it is not accepted."""
        self.expire()  # What has waited for too long keeps nobody out.
        with self._ending() as ended:
            self._received += 1
            call = Call(request, self._clock() + request.timeout, done, request.vocabulary is not None)
            busy = self._busy(request)
            if self._shut is not None:
                ended.append((call, CallAnswer(Outcome.NOT_SERVING, self._shut)))
            elif self._hanging is not None:
                ended.append((call, CallAnswer(Outcome.FAILED, self._hanging)))
            elif busy is not None:
                ended.append((call, CallAnswer(Outcome.BUSY, busy)))
            else:
                self._waiting.append(call)

    def refuse(self, outcome: Outcome) -> None:
        """Count a call that was refused on arrival."""
        with self._changed:
            self._received += 1
            self._ended[outcome] += 1

    def take_to_encode(self) -> Call | None:
        """Return the oldest call whose own classes nobody has begun to encode; the caller has to."""
        with self._changed:
            call = next((one for one in self._waiting if one.to_encode), None)
            if call is not None:
                call.to_encode = False
            return call

    def encoded(self, call: Call, prompts: PromptSet) -> None:
        """Make a call ready; without effect if it has ended."""
        with self._changed:
            call.prompts = prompts

    def take(self) -> Call | None:
        """Take the oldest ready call; None without one."""
        self.expire()
        with self._changed:
            call = next((one for one in self._waiting if one.is_ready), None)
            if call is not None:
                self._waiting.remove(call)
                self._working.append(call)
            return call

    def put_back(self, call: Call) -> None:
        """Make a call in work wait again, ahead of the others, for its classes to be encoded anew."""
        with self._ending() as ended:
            if call not in self._working:
                return
            self._working.remove(call)
            if self._shut is not None:
                ended.append((call, CallAnswer(Outcome.NOT_SERVING, self._shut)))
            else:
                call.to_encode, call.prompts = True, None
                self._waiting.insert(0, call)

    @property
    def has_ready(self) -> bool:
        """Whether a ready call waits."""
        with self._changed:
            return any(call.is_ready for call in self._waiting)

    def end(self, call: Call, answer: CallAnswer) -> None:
        """End a call, in work or waiting; without effect if it has ended."""
        with self._ending() as ended:
            for calls in (self._working, self._waiting):
                if call in calls:
                    calls.remove(call)
                    ended.append((call, answer))

    def fail(self, call: Call, error: Exception) -> None:
        """End a call that raised: as refused if its input is to blame, else as failed, which is logged too."""
        if isinstance(error, ImageError | VocabularyError):
            self.end(call, CallAnswer(Outcome.REFUSED, describe(error)))
        else:
            self._errors.failed(f"a call failed: {describe(error)}")
            self.end(call, CallAnswer(Outcome.FAILED, describe(error)))

    def expire(self) -> None:
        """End the calls that have waited for too long."""
        with self._ending() as ended:
            now = self._clock()
            late = [call for call in self._waiting if now >= call.deadline]
            self._waiting = [call for call in self._waiting if call not in late]
            ended += [(call, CallAnswer(Outcome.TIMED_OUT, _late(call))) for call in late]

    def open(self) -> None:
        """Accept calls."""
        with self._changed:
            self._shut = None

    def shut(self, sentence: str) -> None:
        """Refuse the calls that wait, and those that arrive from now on; what is in work stays so."""
        with self._ending() as ended:
            self._shut = sentence
            ended += [(call, CallAnswer(Outcome.NOT_SERVING, sentence)) for call in self._waiting]
            self._waiting = []

    def give_up(self, sentence: str) -> None:
        """End the calls in work as failed: their worker hangs or has died."""
        with self._ending() as ended:
            ended += [(call, CallAnswer(Outcome.FAILED, sentence)) for call in self._working]
            self._working = []

    def hang(self, sentence: str) -> None:
        """End all calls as failed, and those that arrive until `recover`, since their worker hangs."""
        with self._ending() as ended:
            self._hanging = sentence
            calls = [*self._working, *self._waiting]
            ended += [(call, CallAnswer(Outcome.FAILED, sentence)) for call in calls]
            self._working, self._waiting = [], []

    def recover(self) -> None:
        """Accept calls again: the worker does not hang any more, or another one takes its place."""
        with self._changed:
            self._hanging = None

    def wait_idle(self, timeout: float) -> bool:
        """Wait at most `timeout` seconds until no call is in work; return whether that is so."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._working, timeout)

    def counts(self) -> CallCounts:
        """Return a consistent snapshot."""
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

    def _busy(self, request: CallRequest) -> str | None:
        ready = sum(call.is_ready for call in self._waiting)
        if ready >= MAX_WAITING:
            return f"{ready} calls are waiting already; call again when one has been answered"
        encoding = len(self._waiting) - ready
        if request.vocabulary is not None and encoding >= MAX_ENCODING:
            return f"the classes of {encoding} calls are waiting to be encoded already; call again in a while"
        return None

    @contextmanager
    def _ending(self) -> Iterator[list[tuple[Call, CallAnswer]]]:
        """Hold the lock; answer the calls in the list once it is free, since their callers may call again at once."""
        ended: list[tuple[Call, CallAnswer]] = []
        with self._changed:
            yield ended
            self._ended.update(answer.outcome for _, answer in ended)
            self._changed.notify_all()
        for call, answer in ended:
            call.done(answer)


def _late(call: Call) -> str:
    what = "the turn did not come" if call.is_ready else "the classes were not encoded"
    return f"{what} within {call.request.timeout:g} s; call again, or with a longer timeout"


class CallEncoder:
    """Encodes the classes that calls bring along, beside the stream, in a thread that ends when no call needs it."""

    def __init__(self, calls: CallQueue, worker: Worker) -> None:
        self._calls = calls
        self._worker = worker
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False

    def start(self) -> None:
        """Have the calls that wait for it encoded; returns at once."""
        with self._changed:
            if self._closed or self._thread is not None:
                return  # A running thread looks again before it ends.
            # A daemon: encoding cannot be interrupted, and the process must be able to end meanwhile.
            thread = threading.Thread(target=self._run, name="activesam-encode-calls", daemon=True)
            try:
                start_thread(thread)
            except ActiveSamError as raised:
                error = raised
            else:
                self._thread = thread
                return
        # Without the lock, as whoever is told may ask for more.
        while (call := self._calls.take_to_encode()) is not None:
            self._calls.fail(call, error)

    def close(self) -> None:
        """Encode no more; an encoding under way ends by itself, without effect."""
        with self._changed:
            self._closed = True

    def join(self, timeout: float) -> bool:
        """Wait at most `timeout` seconds for the thread; return whether none runs."""
        with self._changed:
            return self._changed.wait_for(lambda: self._thread is None, timeout)

    def _run(self) -> None:
        self._encode()
        trim_heap()

    def _encode(self) -> None:
        while True:
            # Classes of a call that has waited for too long are not worth encoding.
            self._calls.expire()
            with self._changed:
                # Asked anew for each call, since settings may change meanwhile.
                served = None if self._closed else self._worker.served
                call = None if served is None else self._calls.take_to_encode()
                if served is None or call is None:
                    # Under the lock, so that no call slips in between the last look and the end.
                    self._thread = None
                    self._changed.notify_all()
                    return
            try:
                if call.request.vocabulary is not None:
                    self._calls.encoded(call, served.segmenter.encode(call.request.vocabulary))
            except Exception as error:  # whatever the model raises is the caller's to know
                self._calls.fail(call, error)
            self._worker.wake()
            del served  # Its memory must be free as soon as another one takes its place.


class SegmentService:
    """Hands calls over to the worker, and its answers back; executor's thread, except `drain`."""

    def __init__(self, node: ActiveSamNode) -> None:
        self._node = node
        self._open = 0
        self._all_answered = threading.Event()
        self._all_answered.set()
        # A coroutine that waits for a future goes on when the executor looks again, which this makes it do.
        self._woken = node.create_guard_condition(lambda: None)
        # Reentrant, since a call that waits would hold up every other callback of its group.
        node.create_service(Segment, "~/segment", self._serve, callback_group=ReentrantCallbackGroup())

    def drain(self, timeout: float) -> None:
        """Give the executor at most `timeout` seconds to send the answers that there are."""
        self._all_answered.wait(timeout)

    async def _serve(self, message: Segment.Request, response: Segment.Response) -> Segment.Response:
        sentence = self._node.not_serving()
        if sentence is not None:
            return self._refused(response, Outcome.NOT_SERVING, sentence)
        worker = self._node.worker
        served = worker.served if worker is not None else None
        if worker is None or served is None:
            return self._refused(response, Outcome.NOT_SERVING, "there is no model")
        try:
            request = request_from_msg(message, served.segmenter.settings)
            if request.vocabulary is not None:
                served.segmenter.check(request.vocabulary)
        except ActiveSamError as error:
            return self._refused(response, Outcome.REFUSED, describe(error))
        except Exception as error:  # a call can hold anything; it must not take the node down
            self._node.errors.failed(f"a call failed: {describe(error)}")
            return self._refused(response, Outcome.FAILED, f"unexpected: {describe(error)}")
        future: Future = Future()

        def done(answer: CallAnswer) -> None:
            # The response is made here, by the worker, since large images take their time.
            try:
                future.set_result(answer_to_msg(answer, message, response))
            except Exception as error:  # one answer must not take the worker down
                future.set_result(Segment.Response(outcome=int(Outcome.FAILED), message=describe(error)))
            self._woken.trigger()

        self._open += 1
        self._all_answered.clear()
        try:
            self._node.calls.put(request, done)
            worker.see_to_calls()
            return await future
        finally:
            self._open -= 1
            if not self._open:
                self._all_answered.set()

    def _refused(self, response: Segment.Response, outcome: Outcome, sentence: str) -> Segment.Response:
        self._node.calls.refuse(outcome)
        response.outcome, response.message = int(outcome), sentence
        return response


def request_from_msg(message: Segment.Request, settings: SegmenterSettings) -> CallRequest:
    """Convert a request, and check it as far as that is quick.

    Args:
        message: see `srv/Segment.srv`.
        settings: those of the stream.

    Raises:
        ActiveSamError: what cannot be used, and what is expected (SettingsError, VocabularyError).
    """
    given = {name: getattr(message, name) for name in _THRESHOLDS}
    # Single precision would make 0.3 a bit more than 0.3. NaN is neither negative nor a threshold.
    thresholds = {name: round(value, 6) for name, value in given.items() if not value < 0}
    replace(settings, **thresholds)
    if not 0 < message.timeout < math.inf:
        raise SettingsError(f"timeout is {message.timeout:g}; expected seconds above 0")
    vocabulary = None
    if message.vocabulary:
        vocabulary = Vocabulary.from_names(list(message.vocabulary), message.background_class or None)
        check_size(vocabulary)
    elif message.background_class:
        raise VocabularyError(
            f"background_class is {message.background_class!r}, but the call has no vocabulary of its own; give both "
            "or neither"
        )
    return CallRequest(message.image, vocabulary, thresholds, message.timeout, message.instances)


def answer_to_msg(
    answer: CallAnswer, message: Segment.Request, response: Segment.Response
) -> Segment.Response:
    """Fill a response; its images and messages have the header of the request's image."""
    response.outcome, response.message = int(answer.outcome), answer.sentence
    result, header = answer.result, message.image.header
    if result is None:
        return response
    response.labels = labels_to_msg(result.labels, header)
    response.confidence = confidence_to_msg(result.confidence, result.labels, result.unlabeled_id, header)
    response.vocabulary = vocabulary_to_msg(result.vocabulary, answer.revision, header)
    response.active_classes = active_classes_to_msg(result, answer.revision, header)
    if result.instances is not None:
        ids = result.instance_ids
        response.detections = detections_to_msg(result.instances, header)
        response.instances = ids_to_msg(ids, header)
        response.panoptic = panoptic_to_msg(result.labels, ids, header)
    response.success = True
    return response
