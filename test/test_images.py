"""What images are taken."""

import numpy as np
import pytest

from activesam_ros.errors import ImageError
from activesam_ros.images.checks import check_image, check_size


@pytest.mark.parametrize("size", [(1, 1), (1, 1000), (25, 40)])
def test_good_ones(size):
    check_image(np.zeros((*size, 3), np.uint8), 1000)


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (None, "is a NoneType; expected a numpy array"),
        ([[[0, 0, 0]]], "is a list; expected a numpy array"),
        (np.zeros((4, 4), np.uint8), r"uint8 \[4, 4\]; expected uint8"),
        (np.zeros((4, 4, 4), np.uint8), r"uint8 \[4, 4, 4\]"),
        (np.zeros((4, 4, 3), np.float32), r"float32 \[4, 4, 3\]"),
        (np.zeros((0, 4, 3), np.uint8), r"empty \(4x0 pixels\): expected at least one pixel"),
        (np.zeros((40, 30, 3), np.uint8), "30x40 = 1200 pixels; at most 1000"),
    ],
)
def test_bad_ones(image, words):
    with pytest.raises(ImageError, match=words):
        check_image(image, 1000)


def test_a_size_is_checked_without_an_image():
    check_size(30, 40, 1200)
    check_size(60_000, 60_000, None)
    with pytest.raises(ImageError, match="30x40 = 1200 pixels; at most 1199 are taken"):
        check_size(30, 40, 1199)
    for size in ((0, 3), (3, 0)):
        with pytest.raises(ImageError, match="empty"):
            check_size(*size, None)
