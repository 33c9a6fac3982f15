"""The service `~/segment`: one image in, its labels out, beside the stream."""

from __future__ import annotations

import math
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.task import Future

from activesam_ros.errors import ActiveSamError, SettingsError, VocabularyError, describe
from activesam_ros.ros.calls import Answer, Asked, CallQueue, Outcome
from activesam_ros.ros.conversions import (
    active_classes_to_msg,
    confidence_to_msg,
    labels_to_msg,
    vocabulary_to_msg,
)
from activesam_ros.srv import Segment
from activesam_ros.vocabulary import Vocabulary, check_size

if TYPE_CHECKING:
    from collections.abc import Callable

    from rclpy.lifecycle import LifecycleNode

    from activesam_ros.ros.engine import Engine
    from activesam_ros.settings import SegmenterSettings

_THRESHOLDS = ("confidence_threshold", "background_threshold")


class SegmentService:
    """Hands calls over to the worker, and its answers back; executor's thread, but for `drain`."""

    def __init__(
        self,
        node: LifecycleNode,
        calls: CallQueue,
        not_serving: Callable[[], str | None],
        engine: Callable[[], Engine | None],
        failed: Callable[[str], None],
    ) -> None:
        """Args:
        node: that offers the service.
        calls: takes the calls.
        not_serving: why none can be answered right now, in one sentence; None if they can.
        engine: gives the one there is now.
        failed: told, in one sentence, of a call that could not even be read, by a fault.
        """
        self._failed = failed
        self._calls = calls
        self._not_serving = not_serving
        self._engine = engine
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

    async def _serve(self, request: Segment.Request, response: Segment.Response) -> Segment.Response:
        sentence = self._not_serving()
        if sentence is not None:
            return self._refused(response, Outcome.NOT_SERVING, sentence)
        engine = self._engine()
        try:
            asked = asked_of(request, engine.served.segmenter.settings)
            if asked.vocabulary is not None:
                engine.check_words(asked.vocabulary)
        except ActiveSamError as error:
            return self._refused(response, Outcome.REFUSED, str(error))
        except Exception as error:  # a call can hold anything; it must not take the node down
            self._failed(f"a call failed: {describe(error)}")
            return self._refused(response, Outcome.FAILED, f"unexpected: {describe(error)}")
        future: Future = Future()

        def done(answer: Answer) -> None:
            # The response is made here, by the worker, since large images take their time.
            try:
                future.set_result(response_of(answer, request, response))
            except Exception as error:  # one answer must not take the worker down
                future.set_result(_failed(describe(error)))
            self._woken.trigger()

        self._open += 1
        self._all_answered.clear()
        try:
            self._calls.put(asked, done)
            engine.see_to_calls()
            return await future
        finally:
            self._open -= 1
            if not self._open:
                self._all_answered.set()

    def _refused(self, response: Segment.Response, outcome: Outcome, sentence: str) -> Segment.Response:
        self._calls.refuse(outcome)
        response.outcome, response.message = int(outcome), sentence
        return response


def asked_of(request: Segment.Request, settings: SegmenterSettings) -> Asked:
    """What a request asks for, checked as far as that is quick.

    Args:
        request: see `srv/Segment.srv`.
        settings: those of the stream.

    Raises:
        ActiveSamError: what cannot be used, and what is expected (SettingsError, VocabularyError).
    """
    given = {name: getattr(request, name) for name in _THRESHOLDS}
    # Single precision would make 0.3 a bit more than 0.3. NaN is neither negative nor a threshold.
    thresholds = {name: round(value, 6) for name, value in given.items() if not value < 0}
    replace(settings, **thresholds)
    if not 0 < request.timeout < math.inf:
        raise SettingsError(f"timeout is {request.timeout:g}; expected seconds above 0")
    return Asked(request.image, _own_words(request), thresholds, request.timeout)


def _own_words(request: Segment.Request) -> Vocabulary | None:
    if not request.vocabulary:
        if request.background_class:
            raise VocabularyError(
                f"background_class is {request.background_class!r}, but the call has no words of its own; give both or "
                "neither"
            )
        return None
    vocabulary = Vocabulary.from_names(list(request.vocabulary), request.background_class or None)
    check_size(vocabulary)
    return vocabulary


def response_of(answer: Answer, request: Segment.Request, response: Segment.Response) -> Segment.Response:
    """Fills a response; the images and messages have the header of the request's image."""
    response.outcome, response.message = int(answer.outcome), answer.sentence
    result, header = answer.result, request.image.header
    if result is None:
        return response
    response.labels = labels_to_msg(result.labels, header)
    response.confidence = confidence_to_msg(result.confidence, result.labels, result.unlabeled_id, header)
    response.vocabulary = vocabulary_to_msg(result.vocabulary, answer.revision, header)
    response.active_classes = active_classes_to_msg(result, answer.revision, header)
    response.success = True
    return response


def _failed(sentence: str) -> Segment.Response:
    return Segment.Response(outcome=int(Outcome.FAILED), message=sentence)
