"""Questions to a running node about one picture, beside its stream, by its service `~/segment`."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Any

from std_msgs.msg import Header

from activesam_ros.errors import describe
from activesam_ros.images.raw import image_to_ids
from activesam_ros.ros.conversions import rgb_to_msg
from activesam_ros.srv import Segment
from activesam_ros.studio.findings import Rivals

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np

    from activesam_ros.studio.session import View

_TURN_SECONDS = 10.0
"""That a call may wait for its turn in the node; as long again for its answer, or it counts as lost."""

_KEPT, _KEPT_BYTES = 32, 64_000_000
"""Answers that are kept: at most so many, of so many bytes together, but one."""

_REFUSED_SECONDS = 3.0
"""How long a refusal holds: a node that is busy, or is starting, may answer then."""


def segment_request(rgb: np.ndarray, words: Sequence[str], timeout: float) -> Segment.Request:
    """Ask for the labels of an image uint8 [H, W, 3] by some words, none of whose pixels becomes background."""
    image = rgb_to_msg(rgb, Header())
    return Segment.Request(image=image, vocabulary=list(words), background_threshold=0.0, timeout=timeout)


class RivalsCalls:
    """What the classes would be where one class won, had it not been asked for: one call for a class of a picture.

    At most one call is with the node; of those that are wished for meanwhile the newest is next. Any thread may call.
    """

    def __init__(self, client: Any, changed: Callable[[], None]) -> None:
        """Ask by a client of the service; `changed` is called when there is an answer."""
        self._client = client
        self._changed = changed
        self._lock = Lock()
        self._answers: OrderedDict[tuple[int, int], tuple[Rivals, float]] = OrderedDict()
        """Answers, and until when each holds: what was refused may be answered a moment later."""
        self._asked: tuple[Any, tuple[int, int], float] | None = None
        """The call that is with the node: its future (None: being made), view and class, and when it counts as lost."""
        self._next: tuple[View, int] | None = None
        self._sending = False

    def known(self, view: View, class_id: int) -> Rivals | None:
        """Return the answer, if it is there."""
        kept = self._answers.get((view.number, class_id))
        return kept[0] if kept else None

    def wish(self, view: View, class_id: int) -> bool:
        """Have it asked by the next `send`; return whether that is of use now: it is not known, nor on its way."""
        key = (view.number, class_id)
        with self._lock:
            if self._holds(key):
                return False
            away = self._asked is not None and time.monotonic() < self._asked[2]
            if not (away and self._asked is not None and self._asked[1] == key):
                self._next = (view, class_id)
            useful = not (away or self._sending)
            self._sending = self._sending or useful
        return useful

    def send(self) -> None:
        """Send the call that is wished for, unless one is with the node; does not wait for the answer."""
        with self._lock:
            if self._asked is not None and time.monotonic() >= self._asked[2]:
                if self._asked[0] is not None:
                    self._client.remove_pending_request(self._asked[0])
                self._asked = None
            if self._next is not None and self._holds((self._next[0].number, self._next[1])):
                self._next = None
            self._sending = False
            if self._asked is not None or self._next is None:
                return
            (view, class_id), self._next = self._next, None
            key = (view.number, class_id)
            # From here on, so that nobody else sends meanwhile.
            self._asked = (None, key, time.monotonic() + 2 * _TURN_SECONDS)
        others = [one for one in view.document.vocabulary.classes if one.prompts and one.class_id != class_id]
        if not others or not self._client.service_is_ready():
            self._keep(key, Rivals(refused="" if not others else "the node does not answer"))
            return
        try:
            request = segment_request(view.rgb, [", ".join(one.prompts) for one in others], _TURN_SECONDS)
            future = self._client.call_async(request)
        except Exception as error:  # the node may have gone
            self._keep(key, Rivals(refused=describe(error)))
            return
        with self._lock:
            self._asked = (future, key, time.monotonic() + 2 * _TURN_SECONDS)
        future.add_done_callback(partial(self._answered, key, tuple(one.name for one in others)))

    def _answered(self, key: tuple[int, int], names: tuple[str, ...], future: Any) -> None:
        try:
            rivals = _rivals(future.result(), names)
        except Exception as error:  # an answer of another kind must not end the executor
            rivals = Rivals(refused=describe(error))
        self._keep(key, rivals)
        self.send()

    def _keep(self, key: tuple[int, int], rivals: Rivals) -> None:
        """Take an answer, so that the next call may be sent."""
        until = time.monotonic() + _REFUSED_SECONDS if rivals.refused else math.inf
        with self._lock:
            if self._asked is not None and self._asked[1] == key:
                self._asked = None
            self._answers[key] = rivals, until
            self._answers.move_to_end(key)
            sizes = [one.labels.nbytes + one.scores.nbytes for one, _ in self._answers.values()]
            while len(self._answers) > 1 and (len(sizes) > _KEPT or sum(sizes) > _KEPT_BYTES):
                self._answers.popitem(last=False)
                del sizes[0]
        self._changed()

    def _holds(self, key: tuple[int, int]) -> bool:
        kept = self._answers.get(key)
        return kept is not None and time.monotonic() < kept[1]


def _rivals(answer: Segment.Response, names: tuple[str, ...]) -> Rivals:
    if not answer.success:
        return Rivals(refused=answer.message)
    return Rivals(names, image_to_ids(answer.labels), image_to_ids(answer.confidence))
