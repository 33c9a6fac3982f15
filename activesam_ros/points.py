"""Labelled points in space: from depth and the calibration of a camera, with what is known of each pixel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import cv2
import numpy as np

from activesam_ros.errors import CalibrationError, ImageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

POINT = np.dtype(
    [
        ("x", "<f4"),
        ("y", "<f4"),
        ("z", "<f4"),
        ("rgb", "<u4"),
        # As PCL has it in PointXYZRGBL.
        ("label", "<u4"),
        ("confidence", "<f4"),
        ("instance", "<u4"),
    ]
)
"""One point: metres in the camera's optical frame (x right, y down, z forward); 0x00RRGGBB; confidence 0..1."""

_COEFFICIENTS = {
    "": (0, 4, 5),
    "plumb_bob": (0, 4, 5),
    "rational_polynomial": (8, 12, 14),
    "equidistant": (4,),
}
# A pixel whose ray does not lead back to it within so many pixels lies where the distortion cannot be undone.
_TOLERANCE = 0.1
_ITERATIONS = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 100, 1e-9)


class CameraInfoMessage(Protocol):
    """A sensor_msgs/CameraInfo, or anything with its fields."""

    width: int
    height: int
    distortion_model: str
    d: Sequence[float]
    k: Sequence[float]
    p: Sequence[float]
    binning_x: int
    binning_y: int
    roi: Any


@dataclass(frozen=True)
class Calibration:
    """How a camera projects: pixels of its full image, before binning and region of interest.

    Attributes:
        width, height: of the images that it sends, in pixels: of the region of interest, binned.
        k: focal lengths and centre (fx, fy, cx, cy), in pixels of the full image.
        d: coefficients of the distortion; empty: none.
        is_fisheye: whether they are those of the model equidistant.
        offset: first column and row of the region of interest.
        binning: how many columns and rows make one pixel.
    """

    width: int
    height: int
    k: tuple[float, float, float, float]
    d: tuple[float, ...] = ()
    is_fisheye: bool = False
    offset: tuple[int, int] = (0, 0)
    binning: tuple[int, int] = (1, 1)

    @classmethod
    def from_camera_info(cls, info: CameraInfoMessage, rectified: bool = False) -> Calibration:
        """Read a camera info.

        Args:
            info: distortion by plumb_bob, rational_polynomial or equidistant, or none.
            rectified: whether the images are rectified: they have no distortion, and P instead of K.

        Raises:
            CalibrationError: the camera is not calibrated, its size is zero, or its distortion is of another model.
        """
        matrix, name, stride = (info.p, "P", 4) if rectified else (info.k, "K", 3)
        k = (float(matrix[0]), float(matrix[stride + 1]), float(matrix[2]), float(matrix[stride + 2]))
        if not np.isfinite(k).all() or k[0] <= 0 or k[1] <= 0:
            raise CalibrationError(
                f"the camera info has fx {k[0]:g} and fy {k[1]:g} in {name}: expected focal lengths above 0; calibrate "
                "the camera, or give the driver its calibration"
            )
        x, y, binning = info.roi.x_offset, info.roi.y_offset, (max(info.binning_x, 1), max(info.binning_y, 1))
        size = (info.roi.width or info.width, info.roi.height or info.height)
        width, height = size[0] // binning[0], size[1] // binning[1]
        if not width or not height:
            raise CalibrationError(
                f"the camera info is of an image of {width}x{height} pixels: expected its size in width and height"
            )
        d = () if rectified else _distortion(info)
        return cls(width, height, k, d, info.distortion_model == "equidistant", (x, y), binning)

    def rays(self) -> np.ndarray:
        """Return where the ray of each pixel meets the plane one metre in front of the camera.

        Returns:
            float32 [height, width, 2], x and y in metres; not finite where the distortion cannot be undone.
        """
        # A calibration can hold any number.
        with np.errstate(over="ignore", invalid="ignore"):
            return self._rays()

    def _rays(self) -> np.ndarray:
        columns = np.arange(self.width) * self.binning[0] + self.offset[0]
        rows = np.arange(self.height) * self.binning[1] + self.offset[1]
        pixels = np.stack(np.meshgrid(columns, rows), axis=-1).astype(np.float64)
        fx, fy, cx, cy = self.k
        if not self.d:
            return ((pixels - (cx, cy)) / (fx, fy)).astype(np.float32)
        k, d = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]]), np.array(self.d)
        flat = pixels.reshape(-1, 1, 2)
        if self.is_fisheye:
            rays = cv2.fisheye.undistortPoints(flat, k, d, criteria=_ITERATIONS)
            back, _ = cv2.fisheye.projectPoints(_homogeneous(rays), np.zeros(3), np.zeros(3), k, d)
        else:
            rays = cv2.undistortPointsIter(flat, k, d, None, None, _ITERATIONS)
            back, _ = cv2.projectPoints(_homogeneous(rays), np.zeros(3), np.zeros(3), k, d)
        # Also where the result is no number.
        rays[~(np.abs(back.reshape(-1, 1, 2) - flat).max(axis=2) <= _TOLERANCE)] = np.nan
        return rays.reshape(pixels.shape).astype(np.float32)


def _homogeneous(rays: np.ndarray) -> np.ndarray:
    return np.concatenate([rays, np.ones_like(rays[..., :1])], axis=-1)


def _distortion(info: CameraInfoMessage) -> tuple[float, ...]:
    d = tuple(float(one) for one in info.d)
    if info.distortion_model not in _COEFFICIENTS:
        raise CalibrationError(
            f"the distortion model {info.distortion_model!r} is not known: expected plumb_bob, rational_polynomial or "
            "equidistant; rectify the images, and set rectified"
        )
    if not np.isfinite(d).all():
        raise CalibrationError("the distortion of the camera info holds values that are no numbers")
    if not any(d) and info.distortion_model != "equidistant":
        return ()
    if len(d) not in _COEFFICIENTS[info.distortion_model]:
        expected = " or ".join(str(one) for one in _COEFFICIENTS[info.distortion_model] if one)
        raise CalibrationError(
            f"the camera info has {len(d)} coefficients of the distortion {info.distortion_model or 'plumb_bob'}: "
            f"expected {expected}"
        )
    return d


def resized_depth(depth: np.ndarray, width: int, height: int) -> np.ndarray:
    """Return depth [h, w] in the size of the image: each pixel gets the nearest value, none is made up.

    Raises:
        ImageError: the aspects differ, so that the depth shows another part of the world.
    """
    rows, columns = depth.shape
    if (columns, rows) == (width, height):
        return depth
    if columns * height != rows * width:
        raise ImageError(
            f"the depth image is {columns}x{rows} and the label image {width}x{height} pixels: expected the same size, "
            "or at least the same aspect; register the depth to the image that is labelled"
        )
    return cv2.resize(depth, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)


def labelled_points(
    rays: np.ndarray,
    depth: np.ndarray,
    labels: np.ndarray,
    colours: np.ndarray,
    confidence: np.ndarray | None = None,
    instances: np.ndarray | None = None,
    *,
    kept: np.ndarray | None = None,
    stride: int = 1,
    min_range: float = 0.0,
    max_range: float = np.inf,
    organized: bool = False,
) -> np.ndarray:
    """Return the points of an image.

    Args:
        rays: float32 [H, W, 2], as `Calibration.rays` gives them.
        depth: float32 [H, W], z in metres; what is not finite or not above 0 is missing.
        labels: uint8 or uint16 [H, W].
        colours: uint8 [N, 3], red, green and blue of each id; ids beyond have the last one.
        confidence: uint8 [H, W], 255 is certain; None: 0 everywhere.
        instances: uint16 [H, W], 0: none; None: 0 everywhere.
        kept: bool [N], whether the pixels of each id have points; ids beyond are like the last one; None: all.
        stride: of every so many columns and rows one is taken.
        min_range: least distance from the camera in metres; what is nearer is left out.
        max_range: the same for what is farther.
        organized: one point per pixel that is taken, with NaN where there is none.

    Returns:
        `POINT` [ceil(H / stride), ceil(W / stride)] if organized, else [n].
    """
    taken = np.s_[::stride, ::stride]
    x, y = rays[taken][..., 0], rays[taken][..., 1]
    z = depth[taken]
    with np.errstate(invalid="ignore", over="ignore"):
        distance = z * np.sqrt(x * x + y * y + 1)
        valid = (z > 0) & np.isfinite(distance) & (distance >= min_range) & (distance <= max_range)
    if kept is not None:
        valid &= kept[np.minimum(labels[taken], len(kept) - 1)]
    chosen: Callable[[np.ndarray], np.ndarray]
    if organized:
        points, chosen = np.zeros(z.shape, POINT), np.asarray
    else:
        points, chosen = np.zeros(np.count_nonzero(valid), POINT), lambda values: values[valid]
    with np.errstate(invalid="ignore", over="ignore"):
        points["x"], points["y"], points["z"] = chosen(x * z), chosen(y * z), chosen(z)
    if organized:
        for name in ("x", "y", "z"):
            points[name][~valid] = np.nan
    points["label"] = chosen(labels[taken])
    red, green, blue = colours.astype(np.uint32).T
    packed = red << 16 | green << 8 | blue
    points["rgb"] = packed[np.minimum(points["label"], len(packed) - 1)]
    if confidence is not None:
        points["confidence"] = chosen(confidence[taken]) / np.float32(255)
    if instances is not None:
        points["instance"] = chosen(instances[taken])
    return points
