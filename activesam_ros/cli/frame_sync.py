"""Match the messages of topics of their own: images, their labels and active classes, and their ground truth."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

from activesam_ros.datasets.samples import match_stamps

MOST_KEPT = 64
"""Maximum number of answers, and of truths, that are kept for images that have not come."""

MOST_LATER = 32
"""An image waits for its truth until this many later ones have come."""


@dataclass(eq=False)
class MatchedFrame:
    """What belongs to one image; what never came is None.

    Attributes:
        index: number among the images, from 0.
        stamp: of its header, in nanoseconds.
        image, labels, active, truth: as they were given.
    """

    index: int
    stamp: int
    image: Any
    labels: Any = None
    active: Any = None
    truth: Any = None


class FrameSync:
    """Returns images in their order, each once, with what belongs to it by its stamp.

    Labels and active classes come in the order of the images and with the image's own stamp, but perhaps before it,
    since each is a topic of its own. An image is passed over if a later one has its answer. Truth has the nearest stamp
    within the tolerance, and is waited for until a later one has come.
    """

    def __init__(self, tolerance: int, truth_expected: bool) -> None:
        """Create an empty one.

        Args:
            tolerance: maximum difference between the stamps of an image and of its truth, in nanoseconds.
            truth_expected: whether images wait for truth at all.
        """
        self._tolerance = tolerance
        self._truth_expected = truth_expected
        self._waiting: deque[MatchedFrame] = deque()
        self._early: dict[str, deque[tuple[int, Any]]] = {
            name: deque(maxlen=MOST_KEPT) for name in ("labels", "active")
        }
        self._truths: deque[tuple[int, Any]] = deque(maxlen=MOST_KEPT)
        self._newest_truth: int | None = None
        self._count = 0

    @property
    def images(self) -> int:
        """Number of images that have come."""
        return self._count

    @property
    def unanswered(self) -> int:
        """Number of images that wait for labels or active classes."""
        return sum(1 for place in range(len(self._waiting)) if not self._is_answered(place))

    def add_image(self, stamp: int, image: Any) -> None:
        """Add the next image."""
        frame = MatchedFrame(self._count, stamp, image)
        self._count += 1
        self._waiting.append(frame)
        for name, early in self._early.items():
            found = next((one for one in early if one[0] == stamp), None)
            if found is not None:
                early.remove(found)
                setattr(frame, name, found[1])

    def add_labels(self, stamp: int, labels: Any) -> None:
        """Add the labels of the image with that stamp."""
        self._add_answer("labels", stamp, labels)

    def add_active(self, stamp: int, active: Any) -> None:
        """Add the active classes of the image with that stamp."""
        self._add_answer("active", stamp, active)

    def add_truth(self, stamp: int, truth: Any) -> None:
        """Add the next truth."""
        self._truths.append((stamp, truth))
        self._newest_truth = stamp

    def ready(self) -> list[MatchedFrame]:
        """Return the images for which nothing more has to be waited for, in order."""
        done = []
        while self._waiting and self._is_answered(0) and self._knows_truth():
            done.append(self._release())
        return done

    def rest(self) -> list[MatchedFrame]:
        """Return all the other images, with what there is: nothing more will come."""
        return [self._release() for _ in range(len(self._waiting))]

    def answered_rest(self) -> list[MatchedFrame]:
        """Return the other images that have their answers or were passed over, up to the first that has not."""
        done = []
        while self._waiting and self._is_answered(0):
            done.append(self._release())
        return done

    def _add_answer(self, name: str, stamp: int, answer: Any) -> None:
        # Images may share a stamp: then answers are for the first that has none.
        for frame in self._waiting:
            if frame.stamp == stamp and getattr(frame, name) is None:
                setattr(frame, name, answer)
                return
        self._early[name].append((stamp, answer))

    def _is_answered(self, place: int) -> bool:
        later = [self._waiting[other] for other in range(place, len(self._waiting))]
        if later[0].labels is None:
            return any(frame.labels is not None for frame in later)
        return any(frame.active is not None for frame in later)

    def _knows_truth(self) -> bool:
        """Whether the truth of the first image is there, or none will come."""
        first = self._waiting[0]
        if not self._truth_expected or len(self._waiting) > MOST_LATER:
            return True
        if any(stamp == first.stamp for stamp, _ in self._truths):
            return True
        return self._newest_truth is not None and self._newest_truth >= first.stamp + self._tolerance

    def _release(self) -> MatchedFrame:
        stamps = [frame.stamp for frame in self._waiting]
        place = match_stamps(stamps, [stamp for stamp, _ in self._truths], self._tolerance).get(0)
        frame = self._waiting.popleft()
        if place is not None:
            frame.truth = self._truths[place][1]
            del self._truths[place]
        return frame
