"""Convert between messages and the library's types; images are read with cv_bridge where it can convert them."""

from __future__ import annotations

import array
import functools
import logging
import math
import sys
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from builtin_interfaces.msg import Time
from sensor_msgs.msg import CompressedImage, Image, PointCloud2, PointField
from std_msgs.msg import ColorRGBA, Header
from vision_msgs.msg import (
    BoundingBox2D,
    Detection2D,
    Detection2DArray,
    LabelInfo,
    ObjectHypothesis,
    ObjectHypothesisWithPose,
    Point2D,
    Pose2D,
    VisionClass,
)

import activesam_ros.msg as msg
from activesam_ros.images.compressed import compressed_to_rgb
from activesam_ros.images.raw import check_size, image_to_rgb
from activesam_ros.points import POINT
from activesam_ros.results import ActiveClass, SegmentationResult
from activesam_ros.vocabulary import Vocabulary, VocabularyClass

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from activesam_ros.instances import Instance
    from activesam_ros.results import PreviewResult

_NANOSECONDS = 1_000_000_000
_FIRST_STAMP = -(2**31) * _NANOSECONDS
_LAST_STAMP = 2**31 * _NANOSECONDS - 1
_MOST_MILLIMETRES = 65_535

_POINT_TYPES = {"f": PointField.FLOAT32, "u": PointField.UINT32}

# Bytes per pixel of the encodings that every cv_bridge reads as the library does. Of 16 bits it rounds where the
# library, as the PNG and JPEG decoders do, keeps the upper byte; plain 8UC1 and 8UC3 it does not read as colours.
BRIDGED_ENCODINGS = {
    "rgb8": 3,
    "bgr8": 3,
    "rgba8": 4,
    "bgra8": 4,
    "mono8": 1,
    "bayer_rggb8": 1,
    "bayer_bggr8": 1,
    "bayer_gbrg8": 1,
    "bayer_grbg8": 1,
    "yuv422": 2,
    "yuv422_yuy2": 2,
}


def to_nanoseconds(stamp: Time) -> int:
    """Convert a stamp to nanoseconds."""
    return int(stamp.sec * _NANOSECONDS + stamp.nanosec)


def to_stamp(nanoseconds: int) -> Time:
    """Convert nanoseconds to a stamp, or to the nearest one that there is."""
    seconds, rest = divmod(min(max(nanoseconds, _FIRST_STAMP), _LAST_STAMP), _NANOSECONDS)
    return Time(sec=seconds, nanosec=rest)


def image_from_msg(message: Image | CompressedImage, max_pixels: int | None = None) -> np.ndarray:
    """Convert an image message to RGB.

    Args:
        message: a picture; see `image_to_rgb` and `compressed_to_rgb`.
        max_pixels: refuse larger images before anything is converted; None: take any size.

    Returns:
        uint8 [height, width, 3], contiguous. It may share memory with the message.

    Raises:
        ImageError: the image has no pixels or too many, is damaged, or its encoding cannot be read as a picture.
    """
    if isinstance(message, CompressedImage):
        return compressed_to_rgb(message, max_pixels)
    check_size(message.width, message.height, max_pixels)
    rgb = _from_bridge(message)
    return image_to_rgb(message, max_pixels) if rgb is None else rgb


def labels_to_msg(labels: np.ndarray, header: Header) -> Image:
    """Convert labels [H, W], uint8 to mono8 and uint16 to mono16, tightly packed."""
    encodings = {"uint8": "mono8", "uint16": "mono16"}
    if labels.dtype.name not in encodings:
        raise TypeError(f"labels are uint8 or uint16, got {labels.dtype}")
    return _image_to_msg(labels, encodings[labels.dtype.name], header)


def confidence_to_msg(confidence: np.ndarray, labels: np.ndarray, unlabeled_id: int, header: Header) -> Image:
    """Convert float32 [H, W] in 0..1 to mono8 in 0..255; 0 where `labels` is `unlabeled_id`."""
    scaled = cv2.convertScaleAbs(confidence, alpha=255.0)
    scaled[labels == unlabeled_id] = 0
    return _image_to_msg(scaled, "mono8", header)


def detections_to_msg(instances: Sequence[Instance], header: Header) -> Detection2DArray:
    """Convert instances; `class_id` is the name of the class, and `id` that of the id image."""
    return Detection2DArray(header=header, detections=[_detection(one, header) for one in instances])


def _detection(instance: Instance, header: Header) -> Detection2D:
    left, top, right, bottom = instance.box
    hypothesis = ObjectHypothesis(class_id=instance.name, score=instance.score)
    centre = Pose2D(position=Point2D(x=(left + right) / 2, y=(top + bottom) / 2))
    return Detection2D(
        header=header,
        results=[ObjectHypothesisWithPose(hypothesis=hypothesis)],
        bbox=BoundingBox2D(center=centre, size_x=right - left, size_y=bottom - top),
        id=str(instance.id),
    )


def ids_to_msg(ids: np.ndarray, header: Header) -> Image:
    """Convert an id image, uint16 [H, W], to 16UC1."""
    return _image_to_msg(ids, "16UC1", header)


def panoptic_to_msg(labels: np.ndarray, ids: np.ndarray, header: Header) -> Image:
    """Convert labels and ids of instances, both [H, W], to 32SC1: class id << 16 | instance id.

    Read as signed, class ids above 32767 are negative.
    """
    return _image_to_msg((labels.astype(np.uint32) << 16 | ids).view(np.int32), "32SC1", header)


def rgb_to_msg(rgb: np.ndarray, header: Header) -> Image:
    """Convert uint8 [H, W, 3] to rgb8, tightly packed."""
    return _image_to_msg(rgb, "rgb8", header)


def depth_to_msg(depth: np.ndarray, header: Header) -> Image:
    """Convert float32 [H, W] in metres to 16UC1 in millimetres; 0 where there is none, or it exceeds 65.535 m."""
    with np.errstate(invalid="ignore"):
        millimetres = np.rint(depth * np.float32(1000))
    known = (millimetres > 0) & (millimetres <= _MOST_MILLIMETRES)
    return _image_to_msg(np.where(known, millimetres, 0).astype(np.uint16), "16UC1", header)


def points_to_msg(points: np.ndarray, header: Header) -> PointCloud2:
    """Convert points, as `labelled_points` returns them: organised if they have rows and columns, else dense."""
    rows, columns = points.shape if points.ndim == 2 else (1, len(points))
    message = PointCloud2(
        header=header,
        height=rows,
        width=columns,
        fields=_point_fields(),
        is_bigendian=False,
        point_step=points.dtype.itemsize,
        row_step=points.dtype.itemsize * columns,
        is_dense=points.ndim == 1,
    )
    # The setter checks every element of anything but an array of bytes.
    data = array.array("B")
    data.frombytes(points.reshape(-1).view(np.uint8).data)
    message.data = data
    return message


def _point_fields() -> list[PointField]:
    # Colours are the bits of a float for PCL and RViz.
    return [
        PointField(
            name=name,
            offset=offset,
            datatype=PointField.FLOAT32 if name == "rgb" else _POINT_TYPES[kind.kind],
            count=1,
        )
        for name, (kind, offset, *_) in (POINT.fields or {}).items()
    ]


def active_classes_to_msg(
    result: SegmentationResult | PreviewResult, revision: int, header: Header
) -> msg.ActiveClasses:
    """Convert the active classes of an image; their area is NaN if they were not decoded."""
    pixels = result.labels.size if isinstance(result, SegmentationResult) else None
    return msg.ActiveClasses(
        header=header,
        vocabulary_revision=revision,
        vocabulary_size=len(result.vocabulary),
        stage=msg.ActiveClasses.DECODED if pixels else msg.ActiveClasses.PREVIEW,
        classes=[
            msg.ActiveClass(
                class_id=int(one.class_id),
                name=one.name,
                presence=float(one.presence),
                area=one.pixels / pixels if pixels and one.pixels is not None else math.nan,
            )
            for one in result.active
        ],
    )


def label_info_to_msg(vocabulary: Vocabulary, threshold: float, header: Header) -> LabelInfo:
    """Convert the names of the ids.

    Args:
        vocabulary: the one in force.
        threshold: confidence threshold of the instances, 0 to 1.
        header: of the first image that is labelled with it; later labels have these names until the next LabelInfo.
    """
    names = [VisionClass(class_id=one.class_id, class_name=one.name) for one in vocabulary.classes]
    return LabelInfo(header=header, class_map=names, threshold=float(threshold))


def vocabulary_to_msg(vocabulary: Vocabulary, revision: int, header: Header) -> msg.Vocabulary:
    """Convert a vocabulary; `header` is that of the first image that is labelled with it."""
    background = vocabulary.background_id
    return msg.Vocabulary(
        header=header,
        revision=revision,
        unlabeled_id=vocabulary.unlabeled_id,
        background_id=-1 if background is None else background,
        classes=[
            msg.VocabularyClass(
                class_id=one.class_id,
                name=one.name,
                color=_color(*one.colour),
                prompts=list(one.prompts),
                members=list(one.members),
            )
            for one in vocabulary.classes
        ],
    )


def vocabulary_from_msg(message: msg.Vocabulary) -> Vocabulary:
    """Convert the vocabulary that a node announces, with its ids and colours."""
    classes = tuple(
        VocabularyClass(
            one.class_id,
            one.name,
            tuple(one.prompts),
            (round(255 * one.color.r), round(255 * one.color.g), round(255 * one.color.b)),
            tuple(one.members),
        )
        for one in message.classes
    )
    background = None if message.background_id < 0 else message.background_id
    return Vocabulary(classes, background, max((one.class_id for one in classes), default=-1) + 1)


def active_classes_from_msg(message: msg.ActiveClasses) -> tuple[ActiveClass, ...]:
    """Convert the decoded classes of an image, in vocabulary order; the message does not count their pixels."""
    return tuple(ActiveClass(one.class_id, one.name, one.presence, None, None) for one in message.classes)


def class_names_from_msg(message: LabelInfo) -> dict[int, str]:
    """Convert what the ids of label images mean."""
    return {one.class_id: one.class_name for one in message.class_map}


def class_names_to_msg(names: Mapping[int, str], header: Header | None = None) -> LabelInfo:
    """Convert what the ids of a ground truth mean."""
    classes = [VisionClass(class_id=number, class_name=name) for number, name in names.items()]
    return LabelInfo(header=header or Header(), class_map=classes)


def recorded_image_to_msg(recorded: Any) -> Image | CompressedImage:
    """Convert an image or a compressed image as a recording's reader gives it, field by field.

    Args:
        recorded: with the fields of sensor_msgs/Image or sensor_msgs/CompressedImage, the data as an array of bytes.
    """
    stamp = Time(sec=int(recorded.header.stamp.sec), nanosec=int(recorded.header.stamp.nanosec))
    header = Header(stamp=stamp, frame_id=recorded.header.frame_id)
    if hasattr(recorded, "format"):
        made = CompressedImage(header=header, format=recorded.format)
    else:
        made = Image(
            header=header,
            height=int(recorded.height),
            width=int(recorded.width),
            encoding=recorded.encoding,
            is_bigendian=int(recorded.is_bigendian),
            step=int(recorded.step),
        )
    # The setter checks every element of anything but an array of bytes.
    data = array.array("B")
    data.frombytes(memoryview(recorded.data).cast("B"))
    made.data = data
    return made


def _color(red: int, green: int, blue: int) -> ColorRGBA:
    return ColorRGBA(r=red / 255, g=green / 255, b=blue / 255, a=1.0)


@functools.cache
def _bridge() -> Any:
    """Return a CvBridge, or None where it cannot be imported."""
    try:
        from cv_bridge import CvBridge

        return CvBridge()
    except Exception as error:  # one that was built for another numpy raises more than ImportError
        logging.getLogger(__name__).info(
            "images are converted without cv_bridge, which cannot be imported: %s", error
        )
        return None


def _from_bridge(message: Image) -> np.ndarray | None:
    """Convert to RGB with cv_bridge; None if it cannot, or if rows are padded, which some versions ignore."""
    bridge = _bridge()
    row = message.width * BRIDGED_ENCODINGS.get(message.encoding, 0)
    packed = message.step == row and len(message.data) == row * message.height
    # Some versions make up the colours of a mosaic without whole cells.
    if not row or bridge is None or not packed or min(message.height, message.width) < 2:
        return None
    try:
        return np.ascontiguousarray(bridge.imgmsg_to_cv2(message, "rgb8"))
    except Exception:  # versions differ in what they convert, and in what they raise
        return None


def _image_to_msg(pixels: np.ndarray, encoding: str, header: Header) -> Image:
    # Without cv_bridge: PyPI's calls ndarray.tostring, which numpy 2.3 removed.
    pixels = np.ascontiguousarray(pixels)
    message = Image(header=header, height=pixels.shape[0], width=pixels.shape[1], encoding=encoding)
    message.is_bigendian = int(pixels.dtype.itemsize > 1 and sys.byteorder == "big")
    message.step = pixels.nbytes // pixels.shape[0]
    # The setter checks every element of anything but an array of bytes.
    data = array.array("B")
    data.frombytes(pixels.data.cast("B"))
    message.data = data
    return message
