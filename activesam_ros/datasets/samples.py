"""Frames of a recording with their ground truth, matched by stamp."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from activesam_ros.datasets.recordings import RecordedMessage
from activesam_ros.errors import EvaluationError, ImageError
from activesam_ros.images.compressed import compressed_to_ids, compressed_to_rgb
from activesam_ros.images.raw import image_to_ids, image_to_rgb, refuse_measurements

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from activesam_ros.datasets.recordings import Recording

IMAGE = "sensor_msgs/msg/Image"
COMPRESSED = "sensor_msgs/msg/CompressedImage"

TRUTH_TOPIC = "/ground_truth/labels"
"""Where recordings of `activesam-make-bag` have their label images."""

TRUE_INSTANCES_TOPIC = "/ground_truth/instances"
"""Where recordings of Toy Town have the id of the true thing of each pixel, 0: none, the same along the drive."""

# Packets of videos, and the image_transport plugin that makes images of them.
_VIDEOS = {
    "foxglove_msgs/msg/CompressedVideo": "foxglove",
    "ffmpeg_image_transport_msgs/msg/FFMPEGPacket": "ffmpeg",
    "theora_image_transport/msg/Packet": "theora",
}
_ROS1_IMAGES = ("sensor_msgs/Image", "sensor_msgs/CompressedImage")
_TRANSPORTS = ("/compressed", "/compressedDepth", "/theora", "/zstd", "/ffmpeg")
# Label images on each side of an image that are considered for it.
_NEIGHBOURS = 8
# Label images that were recorded before their turn and are kept for it.
_MOST_KEPT = 32


@dataclass(frozen=True, eq=False)
class RecordedLabels:
    """Labels of a frame that are in the recording.

    Attributes:
        time: when they were recorded, nanoseconds.
        labels: class ids, uint8 or uint16 [H, W]; None if they cannot be read.
        error: why not, in one sentence.
    """

    time: int
    labels: np.ndarray | None
    error: str | None = None


@dataclass(frozen=True, eq=False)
class Sample:
    """One frame of a recording.

    Attributes:
        index: its number among the images of the part that is read, from 0; those that `every` leaves out count.
        stamp: of its header, nanoseconds; when it was recorded, if the header cannot be read.
        rgb: uint8 [H, W, 3], contiguous; None if it cannot be read.
        truth: ids, uint8 or uint16 [H, W]; None if there is none for this frame, or none that fits.
        error: what is wrong with the image or with its ground truth, in one sentence.
        time: when the image was recorded, nanoseconds; None: it was not.
        predicted: its labels, if the reader was asked for them and there are any.
        true_ids: id of the true thing of each pixel, 0: none, uint8 or uint16 [H, W]; None likewise.
        predicted_ids: the same of the things that were found.
    """

    index: int
    stamp: int
    rgb: np.ndarray | None
    truth: np.ndarray | None = None
    error: str | None = None
    time: int | None = None
    predicted: RecordedLabels | None = None
    true_ids: np.ndarray | None = None
    predicted_ids: np.ndarray | None = None


class SampleReader:
    """The frames of a recording in recorded order; an iterable of `Sample`.

    A label image of the ground truth belongs to the image whose stamp is nearest to its own, each to one at most;
    one of the predictions to the image of the same stamp. What is wrong with one frame is said in its sample. A few
    label images are held at a time, however long the recording is.
    """

    def __init__(
        self,
        recording: Recording,
        image_topic: str,
        labels_topic: str | None = None,
        tolerance_s: float = 0.02,
        every: int = 1,
        start_s: float | None = None,
        end_s: float | None = None,
        max_pixels: int | None = None,
        predictions_topic: str | None = None,
        true_ids_topic: str | None = None,
        predicted_ids_topic: str | None = None,
    ) -> None:
        """Match the stamps of images and label images.

        Args:
            recording: open for reading.
            image_topic: of images, raw or compressed.
            labels_topic: of label images: mono8, mono16, 8UC1, 16UC1, or PNG; None: there is no ground truth.
            tolerance_s: maximum difference between the stamps of an image and its label image, seconds.
            every: read the first of so many images.
            start_s: read images recorded from then on, seconds after the recording's start.
            end_s: read images recorded until before then.
            max_pixels: images with more are not read; None: of any size.
            predictions_topic: of label images that are not the truth; None: there are none.
            true_ids_topic: of the ids of true things, as label images are; None: there are none.
            predicted_ids_topic: of the ids of things that were found; None: there are none.

        Raises:
            EvaluationError: a topic is missing or of another type, no label image is near any image in time, or most
                images have the same stamp.
        """
        self._recording = recording
        self._image_topic = image_topic
        self._every = every
        self._part = (start_s, end_s)
        self._max_pixels = max_pixels
        require_images(recording, image_topic)
        self._images: int | None = None
        self._only: frozenset[int] | None = None
        # By topic of label images: their positions by index of the image.
        self._truths = self._matched(labels_topic, tolerance_s) if labels_topic is not None else None
        self._predictions = self._matched(predictions_topic, 0.0) if predictions_topic is not None else None
        self._true_ids = self._matched(true_ids_topic, tolerance_s) if true_ids_topic is not None else None
        self._predicted_ids = (
            self._matched(predicted_ids_topic, 0.0) if predicted_ids_topic is not None else None
        )

    def _matched(self, labels_topic: str, tolerance_s: float) -> tuple[str, dict[int, int]]:
        """Return a topic of label images, and the position of the one of each image by the image's index."""
        recording, image_topic = self._recording, self._image_topic
        require_images(recording, labels_topic)
        first, last = recording.part(*self._part)
        images, labels = [], []
        for topic, time_ns, stamp in recording.stamps([image_topic, labels_topic]):
            if topic == labels_topic:
                labels.append(stamp)
            elif (first is None or time_ns >= first) and (last is None or time_ns < last):
                images.append(stamp)
        _require_distinct_stamps(image_topic, images)
        pairs = match_stamps(images, labels, round(tolerance_s * 1e9))
        if images and not pairs:
            raise EvaluationError(_too_far_apart(image_topic, labels_topic, images, labels, tolerance_s))
        self._images = len(images)
        return labels_topic, {index: place for index, place in pairs.items() if index % self._every == 0}

    @property
    def labelled(self) -> list[int]:
        """Indices of the images that have a label image of the ground truth, ascending."""
        return sorted(self._truths[1]) if self._truths else []

    def take_only(self, indices: Iterable[int]) -> None:
        """Read only the images with these indices, of those that would be read."""
        self._only = frozenset(indices)

    def __len__(self) -> int:
        if self._images is None:
            self._images = (
                self._recording.require(self._image_topic).count
                if self._part == (None, None)
                else sum(1 for _ in self._recording.messages([self._image_topic], *self._part))
            )
        return -(-self._images // self._every)

    def __iter__(self) -> Iterator[Sample]:
        truths, predictions, true_ids, predicted_ids = (
            None if matched is None else _LabelImages(self._recording, *matched)
            for matched in (self._truths, self._predictions, self._true_ids, self._predicted_ids)
        )
        for index, image in enumerate(self._recording.messages([self._image_topic], *self._part)):
            if index % self._every or (self._only is not None and index not in self._only):
                continue
            truth = truths.get(index) if truths else None
            stamp = _stamp(image)
            if stamp is None:
                yield Sample(index, image.time_ns, None, error=image.error, time=image.time_ns)
                continue
            said = (truth.message, truth.error) if truth else (None, None)
            sample = decode_sample(index, stamp, image.message, *said, self._max_pixels)
            found = predictions.get(index) if predictions else None
            predicted = None if found is None else self._decoded(found)
            sample = replace(sample, time=image.time_ns, predicted=predicted)
            true, wrong = self._ids(sample, true_ids.get(index) if true_ids else None)
            found, also_wrong = self._ids(sample, predicted_ids.get(index) if predicted_ids else None)
            error = sample.error or wrong or also_wrong
            yield replace(sample, true_ids=true, predicted_ids=found, error=error)

    def _ids(self, sample: Sample, message: RecordedMessage | None) -> tuple[np.ndarray | None, str | None]:
        """Return the id image of a sample, or what is wrong with it."""
        if message is None or sample.rgb is None:
            return None, None
        ids = self._decoded(message)
        if ids.labels is None:
            return None, f"the ids of its things cannot be read: {ids.error}"
        if ids.labels.shape != sample.rgb.shape[:2]:
            (height, width), (own_height, own_width) = ids.labels.shape, sample.rgb.shape[:2]
            return None, f"the ids of its things are {width}x{height}, the image {own_width}x{own_height}"
        return ids.labels, None

    def _decoded(self, labels: RecordedMessage) -> RecordedLabels:
        if labels.message is None:
            return RecordedLabels(labels.time_ns, None, labels.error)
        try:
            return RecordedLabels(labels.time_ns, ids_of(labels.message, self._max_pixels))
        except Exception as error:  # a message can hold anything
            return RecordedLabels(labels.time_ns, None, str(error))


class _LabelImages:
    """Messages of label images by the index of their image; reads on as far as needed, and keeps what is for later."""

    def __init__(self, recording: Recording, topic: str, positions: dict[int, int]) -> None:
        self._messages = enumerate(recording.messages([topic]))
        self._positions = positions
        self._wanted = set(positions.values())
        self._kept: dict[int, RecordedMessage] = {}
        self._reached = -1

    def get(self, index: int) -> RecordedMessage | None:
        position = self._positions.get(index)
        if position is None:
            return None
        while self._reached < position:
            self._reached, message = next(self._messages, (position, None))
            if message is not None and self._reached in self._wanted:
                self._kept[self._reached] = message
            if len(self._kept) > _MOST_KEPT:
                self._kept.pop(next(iter(self._kept)))
        missing = RecordedMessage("", 0, None, "it was recorded too far out of order")
        return self._kept.pop(position, missing)


def ids_of(labels: Any, max_pixels: int | None = None) -> np.ndarray:
    """Decode a label image with the fields of sensor_msgs/Image or CompressedImage to uint8 or uint16 [H, W].

    Raises:
        ImageError: it holds no ids, or more than `max_pixels`.
    """
    return (compressed_to_ids if hasattr(labels, "format") else image_to_ids)(labels, max_pixels)


def decode_sample(
    index: int,
    stamp: int,
    image: Any,
    truth: Any | None = None,
    truth_error: str | None = None,
    max_pixels: int | None = None,
) -> Sample:
    """Decode an image message and its label image; what is wrong with either is said in the sample.

    `image` and `truth` have the fields of sensor_msgs/Image or sensor_msgs/CompressedImage; `truth_error` says why
    `truth` is None although there is one. Images with more than `max_pixels` are refused.
    """
    compressed = hasattr(image, "format")
    try:
        rgb = (compressed_to_rgb if compressed else image_to_rgb)(image, max_pixels)
        # Writable, as the segmenter's tensors have to be.
        rgb = np.require(rgb, requirements=["C", "W"])
    except ImageError as error:
        return Sample(index, stamp, None, error=str(error))
    except MemoryError:  # no fault of the message
        raise
    except Exception as error:  # a message can hold anything
        return Sample(index, stamp, None, error=f"the image cannot be read: {type(error).__name__}: {error}")
    if truth is None:
        said = truth_error and f"the ground truth cannot be read: {truth_error}"
        return Sample(index, stamp, rgb, error=said)
    try:
        ids = ids_of(truth, max_pixels)
    except Exception as error:  # likewise
        return Sample(index, stamp, rgb, error=f"the ground truth cannot be read: {error}")
    if ids.shape != rgb.shape[:2]:
        (height, width), (ids_height, ids_width) = rgb.shape[:2], ids.shape
        said = f"the ground truth is {ids_width}x{ids_height}, the image {width}x{height}"
        return Sample(index, stamp, rgb, error=said)
    return Sample(index, stamp, rgb, ids)


def default_image_topic(recording: Recording, labels_topic: str | None = None) -> str:
    """Return the only topic of colour images except `labels_topic`; of one that is raw and compressed, the raw one.

    Raises:
        EvaluationError: there are several, or none.
    """
    labels = (labels_topic, TRUTH_TOPIC, TRUE_INSTANCES_TOPIC)
    topics = [topic for topic in recording.topics_of(IMAGE, COMPRESSED) if topic not in labels]
    topics = [topic for topic in topics if recording.topics[topic].count] or topics
    twins = {f"{topic}{transport}" for topic in topics for transport in _TRANSPORTS}
    found = [topic for topic in topics if topic not in twins and not _holds_measurements(recording, topic)]
    if len(found) == 1:
        return found[0]
    problem = f"no topic with pictures; it has {recording.describe_topics()}"
    hints = [hint for topic in recording.topics if (hint := _how_to_convert(recording, topic))]
    if hints:
        problem = f"no topic with pictures, and {hints[0]}"
    if found:
        problem = f"several topics with images, name one: {', '.join(found)}"
    raise EvaluationError(f"{recording.path} has {problem}")


def default_labels_topic(recording: Recording, asked: str | None) -> str | None:
    """Return the topic of label images that is asked for, or that a recording of `activesam-make-bag` has.

    Args:
        recording: open for reading.
        asked: the topic; `none`: no ground truth; None: nothing was asked.

    Raises:
        EvaluationError: there is no such topic.
    """
    if asked is None:
        held = TRUTH_TOPIC in recording.topics_of(IMAGE, COMPRESSED) and recording.topics[TRUTH_TOPIC].count
        return TRUTH_TOPIC if held else None
    if asked in ("", "none"):
        return None
    recording.require(asked)
    return asked


def require_ids(recording: Recording, topic: str) -> None:
    """Refuse a topic whose first readable message is no id image.

    Raises:
        EvaluationError: it is missing, or holds something else.
    """
    require_images(recording, topic)
    first = next((one.message for one in recording.messages([topic]) if one.message is not None), None)
    if first is None:
        raise EvaluationError(f"{topic} has no message that can be read, so there are no ids")
    try:
        ids_of(first)
    except ImageError as error:
        raise EvaluationError(f"{topic} holds no id images: {error}") from error


def match_stamps(
    images: Sequence[int | None], truths: Sequence[int | None], tolerance: int
) -> dict[int, int]:
    """Pair images with label images, the nearest first, each at most once.

    Args:
        images: stamps in nanoseconds; None is never paired.
        truths: likewise.
        tolerance: maximum difference between the two of a pair, nanoseconds.

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


def require_images(recording: Recording, topic: str) -> None:
    """Refuse a topic that holds no images, and say how to convert it.

    Raises:
        EvaluationError: it is missing, or of another type.
    """
    found = recording.require(topic).type
    if found not in (IMAGE, COMPRESSED):
        hint = _how_to_convert(recording, topic)
        if hint:
            raise EvaluationError(hint)
        listed = ", ".join(recording.topics_of(IMAGE, COMPRESSED)) or "none"
        raise EvaluationError(f"{topic} holds {found}, not images; the topics with images are: {listed}")


def _how_to_convert(recording: Recording, topic: str) -> str | None:
    """Name the way from a topic of videos, or of ROS 1 images, to one of images; None for other topics."""
    kind = recording.topics[topic].type
    if kind in _VIDEOS:
        plugin = _VIDEOS[kind]
        return (
            f"{topic} holds packets of a video ({kind}); play it to `ros2 run image_transport republish --ros-args "
            f"-p in_transport:={plugin} -p out_transport:=raw -r in/{plugin}:={topic} -r out:=/camera/image` "
            "and record /camera/image"
        )
    if kind in _ROS1_IMAGES:
        return (
            f"{topic} holds images of ROS 1 ({kind}); convert the bag that they are from: rosbags-convert "
            "--src FILE.bag --dst FOLDER"
        )
    return None


def _require_distinct_stamps(topic: str, stamps: Sequence[int | None]) -> None:
    """Refuse stamps that are mostly equal, as of drivers that leave them 0."""
    ((stamp, equal),) = Counter(one for one in stamps if one is not None).most_common(1) or [(0, 0)]
    if equal > 1 and 2 * equal > len(stamps):
        raise EvaluationError(
            f"{equal} of {len(stamps)} images of {topic} have the same stamp, {stamp / 1e9:.9g} s, so their ground "
            "truth cannot be told apart; give no topic of ground truth, or record it with stamps"
        )


def _holds_measurements(recording: Recording, topic: str) -> bool:
    """Whether the first message of a topic holds depth or the like instead of colours."""
    first = next((one.message for one in recording.messages([topic])), None)
    try:
        if first is not None and hasattr(first, "encoding"):
            refuse_measurements(first.encoding)
    except ImageError:
        return True
    return "compressedDepth" in getattr(first, "format", "")


def _stamp(one: RecordedMessage) -> int | None:
    if one.message is None:
        return None
    stamp = one.message.header.stamp
    return int(stamp.sec * 1_000_000_000 + stamp.nanosec)


def _too_far_apart(
    image_topic: str,
    labels_topic: str,
    images: Sequence[int | None],
    truths: Sequence[int | None],
    tolerance_s: float,
) -> str:
    said = f"no label image of {labels_topic} is within {tolerance_s:g} s of an image of {image_topic} by its stamp"
    distances = [
        abs(image - truth)
        for place, position in match_stamps(images, truths, 2**63).items()
        if (image := images[place]) is not None and (truth := truths[position]) is not None
    ]
    if not distances:
        return f"{said}; {labels_topic} has no message that can be read"
    nearest = min(distances) / 1e9
    return f"{said}; the nearest are {nearest:.3g} s apart, so check the stamps or raise the tolerance"
