"""Match label images with the depth of the same moment, and with what else is known of their pixels."""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection

LABELS = "labels"
OPTIONAL = ("confidence", "instances")
"""What a label image may come with, each on a topic of its own and under the same stamp."""

PENDING = 5
"""Maximum number of label images that wait for what belongs to them."""

MOST_BYTES = 512_000_000
"""Maximum size of the depth images that are kept, together."""


class Lack(StrEnum):
    """Why a label image became no points."""

    DEPTH = "no depth"
    CONFIDENCE = "no confidence"
    INSTANCES = "no instances"
    CAMERA_INFO = "no camera info"
    SUPERSEDED = "superseded"
    REFUSED = "refused"
    NOBODY = "nobody listens"


@dataclass(eq=False)
class LabelledFrame:
    """What has come under one stamp.

    Attributes:
        stamp: nanoseconds.
        parts: messages by `LABELS` and `OPTIONAL`.
        depth: message; None until the frame is complete.
    """

    stamp: int
    parts: dict[str, Any] = field(default_factory=dict)
    depth: Any = None


class _Depth(NamedTuple):
    stamp: int
    message: Any
    size: int


class PointMatcher:
    """Pairs label images with depth, in the order in which they come; what waits is bounded.

    Labels come later than their depth, by the time that labelling takes. So depth is kept until labels of a later
    moment have had theirs, or `queue_size` newer ones have come. Stamps may jump back, as those of a recording do that
    starts anew: nothing depends on their rising.

    Attributes:
        slop: maximum difference between the stamps of labels and depth, in nanoseconds; 0: they have to be equal.
        queue_size: maximum number of depth images that are kept.
        expected: which of `OPTIONAL` a frame waits for.
        has_camera_info: whether there is a camera info, which frames wait for too.
        received: number of label images that have come.
        dropped: number of those that were dropped, by what they lacked; received is dropped, taken and waiting.
        last_lack: what the last one lacked.
        late: whether the depth of the last one that lacked it had to make way for newer ones.
        apart: nanoseconds from the last one that lacked depth to the nearest one; None: there is no depth at all.
    """

    def __init__(self) -> None:
        self.slop = 0
        self.queue_size = 1
        self.expected: Collection[str] = ()
        self.has_camera_info = False
        self.received = 0
        self.dropped: Counter[Lack] = Counter()
        self.last_lack: Lack | None = None
        self.late = False
        self.apart: int | None = None
        self._frames: OrderedDict[int, LabelledFrame] = OrderedDict()
        self._depths: deque[_Depth] = deque()
        self._bytes = 0
        # Stamp of the newest depth that had to make way.
        self._gone: int | None = None

    @property
    def waiting(self) -> int:
        """Number of label images that wait."""
        return sum(LABELS in one.parts for one in self._frames.values())

    @property
    def depths(self) -> int:
        """Number of depth images that are kept."""
        return len(self._depths)

    def add_depth(self, stamp: int, message: Any, size: int) -> None:
        """Add the next depth image, of `size` bytes."""
        self._depths.append(_Depth(stamp, message, size))
        self._bytes += size
        while len(self._depths) > self.queue_size or self._bytes > MOST_BYTES:
            self._gone = self._forget().stamp

    def add(self, part: str, stamp: int, message: Any) -> None:
        """Add labels, or what belongs to labels of the same stamp."""
        frame = self._frames.setdefault(stamp, LabelledFrame(stamp))
        if part == LABELS:
            self.received += 1
            if LABELS in frame.parts:
                self._drop(frame)
        frame.parts[part] = message
        while len(self._frames) > PENDING:
            self._drop(self._frames.popitem(last=False)[1])

    def take(self) -> LabelledFrame | None:
        """Return the oldest frame that is complete, with its depth, and drop those before it; None: there is none."""
        for frame in self._frames.values():
            found = self._depth_of(frame.stamp)
            if found is None or LABELS not in frame.parts or self._lack(frame) is not None:
                continue
            while self._frames:
                _, earlier = self._frames.popitem(last=False)
                if earlier is frame:
                    break
                self._drop(earlier)
            while self._depths[0] is not found:
                self._forget()
            frame.depth = found.message
            return frame
        return None

    def clear(self) -> None:
        """Drop everything that waits, since nobody listens any more."""
        self.dropped[Lack.NOBODY] += self.waiting
        self._frames.clear()
        self._depths.clear()
        self._bytes, self._gone = 0, None

    def _lack(self, frame: LabelledFrame) -> Lack | None:
        """Return what a frame lacks beside depth."""
        for part, lack in zip(OPTIONAL, (Lack.CONFIDENCE, Lack.INSTANCES), strict=True):
            if part in self.expected and part not in frame.parts:
                return lack
        return None if self.has_camera_info else Lack.CAMERA_INFO

    def _depth_of(self, stamp: int) -> _Depth | None:
        for one in reversed(self._depths):
            if one.stamp == stamp:
                return one
        # A nearer one may come as long as none is later.
        if not self.slop or not self._depths or self._depths[-1].stamp < stamp:
            return None
        nearest = min(self._depths, key=lambda one: abs(one.stamp - stamp))
        return nearest if abs(nearest.stamp - stamp) <= self.slop else None

    def _drop(self, frame: LabelledFrame) -> None:
        if LABELS not in frame.parts:
            return
        lack = self._lack(frame)
        if self._depth_of(frame.stamp) is None:
            lack = Lack.DEPTH
            self.late = self._gone is not None and frame.stamp <= self._gone
            self.apart = min((abs(one.stamp - frame.stamp) for one in self._depths), default=None)
        self.last_lack = lack or Lack.SUPERSEDED
        self.dropped[self.last_lack] += 1

    def _forget(self) -> _Depth:
        oldest = self._depths.popleft()
        self._bytes -= oldest.size
        return oldest
