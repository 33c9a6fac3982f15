"""Turn label images, depth and what belongs to them into a PointCloud2, or say why they do not fit together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from activesam_ros.errors import CalibrationError, ImageError, VocabularyError
from activesam_ros.images.raw import image_to_depth, image_to_ids
from activesam_ros.points import Calibration, labelled_points, resized_depth
from activesam_ros.ros.conversions import points_to_msg
from activesam_ros.ros.point_matcher import LABELS, OPTIONAL
from activesam_ros.vocabulary.canonical import match_key
from activesam_ros.vocabulary.palette import UNLABELED, colour_table

if TYPE_CHECKING:
    from collections.abc import Callable

    from sensor_msgs.msg import CameraInfo, Image, PointCloud2

    from activesam_ros.ros.point_matcher import LabelledFrame
    from activesam_ros.ros.point_parameters import PointParameters
    from activesam_ros.vocabulary import Vocabulary

MOST_PIXELS = 34_000_000
"""Maximum size of the images, that of 8K."""

MOST_BYTES = 4 * MOST_PIXELS
"""Maximum size of one image message."""

# Without a vocabulary, all are like pixels without a class.
_NO_COLOURS = np.array([UNLABELED], np.uint8)


class CloudMaker:
    """Makes clouds; it keeps the rays of the last calibration, and the colours of the last vocabulary."""

    def __init__(self, warn: Callable[[str], object]) -> None:
        """Create one without a vocabulary.

        Args:
            warn: takes a sentence about a class that the vocabulary does not have.
        """
        self._warn = warn
        self._vocabulary: Vocabulary | None = None
        self._colours = _NO_COLOURS
        self._rays: tuple[Calibration, np.ndarray] | None = None
        # What was chosen of which vocabulary by which names.
        self._choice: tuple[object, np.ndarray] | None = None

    @property
    def vocabulary(self) -> Vocabulary | None:
        """That of the labels; None: it is not known yet."""
        return self._vocabulary

    @vocabulary.setter
    def vocabulary(self, new: Vocabulary) -> None:
        self._colours = colour_table(new.class_ids, new.colours, new.unlabeled_id)
        self._vocabulary, self._choice = new, None

    def cloud(self, frame: LabelledFrame, info: CameraInfo, given: PointParameters) -> PointCloud2:
        """Return the points of a frame, under the header of its labels.

        Args:
            frame: with labels and depth.
            info: of the labelled image.
            given: how points are made.

        Raises:
            ActiveSamError: they do not belong together, or one of them cannot be read.
        """
        header = frame.parts[LABELS].header
        for name, one in {**frame.parts, "depth": frame.depth, "camera info": info}.items():
            _check_frame(name, one.header.frame_id, header.frame_id)
        labels = image_to_ids(frame.parts[LABELS], MOST_PIXELS)
        height, width = labels.shape
        optional = {
            name: _like_labels(name, image_to_ids(frame.parts[name], MOST_PIXELS), labels)
            for name in OPTIONAL
            if name in frame.parts
        }
        points = labelled_points(
            self._rays_of(Calibration.from_camera_info(info, given.rectified), width, height),
            resized_depth(image_to_depth(frame.depth, MOST_PIXELS), width, height),
            labels,
            self._colours,
            **optional,
            kept=self._kept(given.classes, given.leave_out),
            stride=given.stride,
            min_range=given.min_range,
            max_range=given.max_range or np.inf,
            organized=given.organized,
        )
        return points_to_msg(points, header)

    def _kept(self, classes: tuple[str, ...], leave_out: tuple[str, ...]) -> np.ndarray | None:
        """Return which ids have points, bool [unlabeled_id + 1]; None: all."""
        vocabulary, names = self._vocabulary, (classes, leave_out)
        if not any(names):
            return None
        if vocabulary is None:
            raise VocabularyError(
                "no vocabulary has come, so classes cannot be told apart: remap activesam/vocabulary to that of the "
                "labels, or empty classes and leave_out"
            )
        if self._choice is None or self._choice[0] != names:
            ids = {match_key(one.name): one.class_id for one in vocabulary.classes}
            kept = np.full(vocabulary.unlabeled_id + 1, not classes)
            for some, value in ((classes, True), (leave_out, False)):
                for name in some:
                    if match_key(name) in ids:
                        kept[ids[match_key(name)]] = value
                    else:
                        self._warn(
                            f"the vocabulary has no class {name!r}, so none of its points can be chosen"
                        )
            self._choice = names, kept
        return self._choice[1]

    def _rays_of(self, calibration: Calibration, width: int, height: int) -> np.ndarray:
        if (calibration.width, calibration.height) != (width, height):
            raise CalibrationError(
                f"the camera info is of images of {calibration.width}x{calibration.height} pixels, but the labels have "
                f"{width}x{height}: expected that of the labelled image; remap camera_info"
            )
        if self._rays is None or self._rays[0] != calibration:
            self._rays = calibration, calibration.rays()
        return self._rays[1]


def check_bytes(message: Image) -> None:
    """Raise ImageError for an image that is too large to be kept."""
    if len(message.data) > MOST_BYTES:
        raise ImageError(
            f"an image of {len(message.data)} bytes is not kept: expected at most {MOST_BYTES}, those of a depth "
            "image of 8K"
        )


def _check_frame(name: str, frame: str, expected: str) -> None:
    # Some drivers still write the slash of ROS 1.
    if frame.lstrip("/") != expected.lstrip("/"):
        raise ImageError(
            f"the {name} is in the frame {frame!r}, but the labels are in {expected!r}: expected the same; take depth "
            "that is registered to the labelled image"
        )


def _like_labels(name: str, ids: np.ndarray, labels: np.ndarray) -> np.ndarray:
    if ids.shape != labels.shape:
        raise ImageError(
            f"the {name} image is {ids.shape[1]}x{ids.shape[0]} and the label image {labels.shape[1]}x"
            f"{labels.shape[0]} pixels: expected the same size; take both from one node"
        )
    if name == "confidence" and ids.dtype != np.uint8:
        raise ImageError("the confidence image has 16 bits or more: expected mono8, where 255 is certain")
    return ids
