"""Boundary IoU: how well the outlines of labels fit (Cheng et al., Boundary IoU, CVPR 2021, arXiv 2103.16562)."""

from __future__ import annotations

import math

import cv2
import numpy as np

DILATION_RATIO = 0.02
"""Width of the boundary regions as a share of the image's diagonal: that of the paper for common images."""


def boundary_width(height: int, width: int, ratio: float = DILATION_RATIO) -> int:
    """Width in pixels of the boundary regions of an image: `ratio` of its diagonal, at least 1."""
    return max(1, round(ratio * math.hypot(height, width)))


def boundary_counts(
    truth: np.ndarray, predicted: np.ndarray, classes: int, ratio: float = DILATION_RATIO
) -> tuple[tuple[int, int, int], ...]:
    """Intersection and union of the boundary regions of each class of an image.

    The boundary region of a mask is its pixels at most `boundary_width` (in rows or columns, whichever is more) away
    from a pixel outside the mask; what is beyond the image's edge is outside. Pixels without a truth are outside every
    mask, of the truth and of the prediction, so that a right prediction scores 1 beside them too.

    Intersections and unions add up over images; `boundary_iou` divides them.

    Args:
        truth: integers [H, W], a class in 0 … classes - 1; anything else does not count.
        predicted: integers [H, W]; anything but a class is a prediction of none.
        classes: how many.
        ratio: see `boundary_width`.

    Returns:
        (class, intersection, union) of the classes with a union above 0, ascending.

    Raises:
        ValueError: the images differ in size.
    """
    if truth.shape != predicted.shape:
        raise ValueError(
            f"the truth is {truth.shape} and the prediction {predicted.shape}; expected one size"
        )
    none, uncounted = classes, classes + 1
    counted = _is_class(truth, classes)
    true = np.where(counted, truth, uncounted)
    guess = np.where(counted, np.where(_is_class(predicted, classes), predicted, none), uncounted)
    width = boundary_width(*truth.shape, ratio)
    true_edge, guess_edge = _is_boundary(true, width, classes), _is_boundary(guess, width, classes)

    def pixels(labels: np.ndarray, region: np.ndarray) -> np.ndarray:
        return np.bincount(labels[region], minlength=classes + 2)[:classes]

    both = pixels(true, true_edge & guess_edge & (true == guess))
    union = pixels(true, true_edge) + pixels(guess, guess_edge) - both
    return tuple((int(index), int(both[index]), int(union[index])) for index in np.flatnonzero(union))


def boundary_iou(intersection: np.ndarray, union: np.ndarray) -> np.ndarray:
    """Boundary IoU of each class, float64 [classes]; NaN where the union is 0.

    Args:
        intersection, union: pixels of each class, summed over images, int [classes].
    """
    return np.divide(intersection, union, out=np.full(len(union), np.nan), where=np.asarray(union) > 0)


def _is_class(labels: np.ndarray, classes: int) -> np.ndarray:
    return (labels >= 0) & (labels < classes)


def _is_boundary(labels: np.ndarray, width: int, classes: int) -> np.ndarray:
    """Where another value, or the image's edge, is at most `width` away, bool [H, W]; values 0 … classes + 1."""
    # One pass for all classes: within one mask the least and the greatest value around a pixel are the same.
    outside = classes + 2
    plane = labels.astype(np.uint8 if outside <= 255 else np.float32)
    plane = cv2.copyMakeBorder(plane, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=outside)
    kernel = np.ones((2 * width + 1, 2 * width + 1), np.uint8)
    least = cv2.erode(plane, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=outside)
    greatest = cv2.dilate(plane, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=outside)
    return (least != greatest)[1:-1, 1:-1]
