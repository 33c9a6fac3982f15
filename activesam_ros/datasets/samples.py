"""Frames of a recording with their ground truth."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from activesam_ros.errors import EvaluationError, ImageError
from activesam_ros.images.compressed import compressed_to_ids, compressed_to_rgb
from activesam_ros.images.raw import image_to_ids, image_to_rgb, refuse_measurements

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from activesam_ros.datasets.recordings import RecordedMessage, Recording

IMAGE = "sensor_msgs/msg/Image"
COMPRESSED = "sensor_msgs/msg/CompressedImage"

_TRANSPORTS = ("/compressed", "/compressedDepth", "/theora", "/zstd", "/ffmpeg")
# Truth on each side of an image that is considered for it.
_NEIGHBOURS = 8
# Label images that were recorded before their turn and are kept for it.
_MOST_KEPT = 32


@dataclass(frozen=True, eq=False)
class Sample:
    """One frame of a recording.

    Attributes:
        index: its number among the images of the part that is read, from 0; those that `every` leaves out count.
        stamp: of its header, nanoseconds; when it was recorded, if the header cannot be read.
        rgb: uint8 [H, W, 3], contiguous; None if it cannot be read.
        truth: ids, uint8 or uint16 [H, W]; None if there is none for this frame, or none that fits.
        error: what is wrong with the image or with its truth, in one sentence.
    """

    index: int
    stamp: int
    rgb: np.ndarray | None
    truth: np.ndarray | None = None
    error: str | None = None


def default_image_topic(source: Recording, labels_topic: str | None = None) -> str:
    """The only topic of pictures; of one that is there raw and compressed, the raw one.

    Args:
        source: the recording.
        labels_topic: of the ground truth, which is none.

    Raises:
        EvaluationError: there are several, or none.
    """
    topics = [topic for topic in source.topics_of(IMAGE, COMPRESSED) if topic != labels_topic]
    twins = {f"{topic}{transport}" for topic in topics for transport in _TRANSPORTS}
    pictures = [topic for topic in topics if topic not in twins and not _holds_measurements(source, topic)]
    if len(pictures) == 1:
        return pictures[0]
    if pictures:
        raise EvaluationError(
            f"{source.path} has several topics with images, name one: {', '.join(pictures)}"
        )
    raise EvaluationError(f"{source.path} has no topic with pictures; it has {source.describe_topics()}")


def count_samples(
    source: Recording,
    image_topic: str,
    every: int = 1,
    start_s: float | None = None,
    end_s: float | None = None,
) -> int:
    """How many samples `samples` gives.

    Raises:
        EvaluationError: the topic is missing.
    """
    images = source.require(image_topic).count
    if images is None or start_s is not None or end_s is not None:
        images = sum(1 for _ in source.messages([image_topic], start_s, end_s))
    return -(-images // every)


def read_samples(
    source: Recording,
    image_topic: str,
    labels_topic: str | None = None,
    tolerance_s: float = 0.02,
    every: int = 1,
    start_s: float | None = None,
    end_s: float | None = None,
    max_pixels: int | None = None,
) -> Iterator[Sample]:
    """The frames of a recording in recorded order.

    Truth belongs to the image whose stamp is nearest to its own, each to one at most. What is wrong with one frame
    is said in its sample. A few label images are held at a time, however long the recording is.

    Args:
        source: the recording.
        image_topic: of images, raw or compressed.
        labels_topic: of label images: mono8, mono16, 8UC1, 16UC1, or PNG; None: there is no truth.
        tolerance_s: the most that the stamps of an image and of its truth may differ by, in seconds.
        every: take the first of so many images.
        start_s, end_s: take images recorded from `start_s` until before `end_s`, seconds after the recording's start.
        max_pixels: images with more are not read; None: of any size.

    Raises:
        EvaluationError: a topic is missing or of another type, no truth is near any image in time, or most images
            have the same stamp; at once, not with the first sample.
    """
    _require_images(source, image_topic)
    part = (start_s, end_s)
    if labels_topic is None:
        return _frames(source, image_topic, every, part, max_pixels)
    _require_images(source, labels_topic)
    images = _stamps(source.messages([image_topic], *part))
    _require_clock(image_topic, images)
    truths = _stamps(source.messages([labels_topic]))
    pairs = match_stamps(images, truths, round(tolerance_s * 1e9))
    if images and not pairs:
        raise EvaluationError(_apart(image_topic, labels_topic, images, truths, tolerance_s))
    wanted = {index: position for index, position in pairs.items() if index % every == 0}
    frames = _frames(source, image_topic, every, part, max_pixels)
    return _with_truth(frames, _Truths(source, labels_topic, wanted, max_pixels))


def match_stamps(
    images: Sequence[int | None], truths: Sequence[int | None], tolerance: int
) -> dict[int, int]:
    """Gives truth to images, the nearest pairs first, each at most once.

    Args:
        images, truths: stamps in nanoseconds; None is never paired.
        tolerance: the most that the two of a pair may differ by, nanoseconds.

    Returns:
        Position in `images` → position in `truths`.
    """
    order = sorted((stamp, place) for place, stamp in enumerate(truths) if stamp is not None)
    near = []
    for place, stamp in enumerate(images):
        if stamp is None:
            continue
        middle = bisect_left(order, (stamp, -1))
        for other, position in order[max(0, middle - _NEIGHBOURS) : middle + _NEIGHBOURS]:
            if abs(other - stamp) <= tolerance:
                near.append((abs(other - stamp), place, position))
    pairs: dict[int, int] = {}
    taken: set[int] = set()
    for _, place, position in sorted(near):
        if place not in pairs and position not in taken:
            pairs[place] = position
            taken.add(position)
    return pairs


class _Truths:
    """Label images by the index of their image; reads the recording alongside the images."""

    def __init__(self, source: Recording, topic: str, pairs: dict[int, int], max_pixels: int | None) -> None:
        self._pairs = pairs
        self._wanted = set(pairs.values())
        self._messages = enumerate(source.messages([topic]))
        self._max_pixels = max_pixels
        self._kept: dict[int, RecordedMessage] = {}
        self._reached = -1

    def of(self, index: int) -> np.ndarray | None:
        """None: there is none for this image.

        Raises:
            ImageError: there is one that cannot be read.
        """
        position = self._pairs.get(index)
        if position is None:
            return None
        message = self._message(position)
        if message.message is None:
            raise ImageError(message.error)
        read = compressed_to_ids if hasattr(message.message, "format") else image_to_ids
        return read(message.message, self._max_pixels)

    def _message(self, position: int) -> RecordedMessage:
        while self._reached < position:
            self._reached, message = next(self._messages, (position, None))
            if message is not None and self._reached in self._wanted:
                self._kept[self._reached] = message
            while len(self._kept) > _MOST_KEPT:
                # The oldest: that of an image which cannot be read is never asked for.
                self._kept.pop(next(iter(self._kept)))
        if position in self._kept:
            return self._kept.pop(position)
        raise ImageError("it was recorded too far out of order")


def _frames(
    source: Recording, topic: str, every: int, part: tuple[float | None, float | None], max_pixels: int | None
) -> Iterator[Sample]:
    for index, one in enumerate(source.messages([topic], *part)):
        if index % every:
            continue
        if one.message is None:
            yield Sample(index, one.time_ns, None, error=one.error)
            continue
        stamp = _stamp(one)
        read = compressed_to_rgb if hasattr(one.message, "format") else image_to_rgb
        try:
            # Writable, as the segmenter's tensors have to be.
            rgb = np.require(read(one.message, max_pixels), requirements=["C", "W"])
        except ImageError as error:
            yield Sample(index, stamp, None, error=str(error))
        except Exception as error:  # a message can hold anything
            yield Sample(
                index, stamp, None, error=f"the image cannot be read: {type(error).__name__}: {error}"
            )
        else:
            yield Sample(index, stamp, rgb)


def _with_truth(frames: Iterator[Sample], truths: _Truths) -> Iterator[Sample]:
    for frame in frames:
        if frame.rgb is None:
            yield frame
            continue
        try:
            truth = truths.of(frame.index)
        except Exception as error:  # a message can hold anything
            yield replace(frame, error=f"the ground truth cannot be read: {error}")
            continue
        if truth is not None and truth.shape != frame.rgb.shape[:2]:
            yield replace(frame, error=f"the ground truth is {_size(truth)}, the image {_size(frame.rgb)}")
        else:
            yield replace(frame, truth=truth)


def _require_images(source: Recording, topic: str) -> None:
    found = source.require(topic).type
    if found not in (IMAGE, COMPRESSED):
        listed = ", ".join(source.topics_of(IMAGE, COMPRESSED)) or "none"
        raise EvaluationError(f"{topic} holds {found}, not images; the topics with images are: {listed}")


def _require_clock(topic: str, stamps: Sequence[int | None]) -> None:
    """Some drivers leave the stamps 0; then nothing tells which truth is whose."""
    ((stamp, equal),) = Counter(one for one in stamps if one is not None).most_common(1) or [(0, 0)]
    if equal > 1 and 2 * equal > len(stamps):
        raise EvaluationError(
            f"{equal} of {len(stamps)} images of {topic} have the same stamp, {stamp / 1e9:.9g} s, so their ground "
            "truth cannot be told apart; give no topic of ground truth, or record it with stamps"
        )


def _holds_measurements(source: Recording, topic: str) -> bool:
    """By its first message."""
    first = next((one.message for one in source.messages([topic])), None)
    try:
        if hasattr(first, "encoding"):
            refuse_measurements(first.encoding)
    except ImageError:
        return True
    return "compressedDepth" in getattr(first, "format", "")


def _stamps(messages: Iterator[RecordedMessage]) -> list[int | None]:
    return [None if one.message is None else _stamp(one) for one in messages]


def _stamp(one: RecordedMessage) -> int:
    stamp = one.message.header.stamp
    return stamp.sec * 1_000_000_000 + stamp.nanosec


def _apart(
    image_topic: str,
    labels_topic: str,
    images: Sequence[int | None],
    truths: Sequence[int | None],
    tolerance_s: float,
) -> str:
    said = f"no label image of {labels_topic} is within {tolerance_s:g} s of an image of {image_topic} by its stamp"
    pairs = match_stamps(images, truths, 2**63)
    if not pairs:
        return f"{said}; {labels_topic} has no message that can be read"
    nearest = min(abs(images[place] - truths[position]) for place, position in pairs.items())
    return f"{said}; the nearest are {nearest / 1e9:.3g} s apart, so check the stamps or raise the tolerance"


def _size(pixels: np.ndarray) -> str:
    return f"{pixels.shape[1]}x{pixels.shape[0]}"
