"""Boundary IoU against a case counted by hand and a mask-by-mask computation."""

import cv2
import numpy as np
import pytest

from activesam_ros.evaluation.boundary import boundary_counts, boundary_iou, boundary_width


def by_masks(truth, predicted, classes, width):
    """As the method's authors describe it: each mask less its erosion by a 3 × 3 square, `width` times."""
    found = {}
    for index in range(classes):
        regions = []
        for labels in (truth, predicted):
            mask = ((labels == index) & (truth >= 0) & (truth < classes)).astype(np.uint8)
            padded = cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
            inner = cv2.erode(padded, np.ones((3, 3), np.uint8), iterations=width)[1:-1, 1:-1]
            regions.append((mask - inner).astype(bool))
        union = int(np.sum(regions[0] | regions[1]))
        if union:
            found[index] = (int(np.sum(regions[0] & regions[1])), union)
    return found


@pytest.mark.parametrize(("size", "width"), [((3, 4), 1), ((480, 640), 16), ((1024, 2048), 46)])
def test_width(size, width):
    assert boundary_width(*size) == width  # 2 % of the diagonals 5, 800 and 2290


def test_hand_counted():
    # A square of 5 × 5 in 9 × 9, predicted one column further right. Each outline of width 1 has 16 pixels; they share
    # the four columns that both squares have of the upper and of the lower row.
    truth = np.zeros((9, 9), np.uint8)
    predicted = truth.copy()
    truth[2:7, 2:7] = 1
    predicted[2:7, 3:8] = 1
    counts = dict((index, (both, union)) for index, both, union in boundary_counts(truth, predicted, 2))
    assert counts[1] == (8, 16 + 16 - 8)
    # The rest of the image, class 0, has an outline around the square and one along the edge of the image.
    around_truth = {(row, column) for row in range(1, 8) for column in range(1, 8)}
    around_truth -= {(row, column) for row in range(2, 7) for column in range(2, 7)}
    around_guess = {(row, column + 1) for row, column in around_truth}
    edge = {(row, column) for row in range(9) for column in range(9) if {row, column} & {0, 8}}
    both = (around_truth | edge) & (around_guess | edge)
    union = around_truth | around_guess | edge
    assert counts[0] == (len(both), len(union))


@pytest.mark.parametrize("classes", [4, 300])
def test_mask_by_mask(classes):
    generator = np.random.default_rng(classes)
    coarse = generator.integers(-1, classes + 1, (2, 9, 12))
    truth, predicted = (cv2.resize(each.astype(np.float32), (160, 120), interpolation=0) for each in coarse)
    truth, predicted = truth.astype(np.int32), predicted.astype(np.int32)
    predicted[:60] = truth[:60]
    predicted[20:30, 50:70] = 2
    found = boundary_counts(truth, predicted, classes)
    assert {index: (both, union) for index, both, union in found} == by_masks(truth, predicted, classes, 4)
    assert [index for index, *_ in found] == sorted(index for index, *_ in found)


def test_more_classes_than_a_byte_holds():
    truth = np.repeat([[0, 256]], 50, axis=0).repeat(50, axis=1)
    found = boundary_counts(truth, truth, 300)
    assert {index: (both, union) for index, both, union in found} == by_masks(truth, truth, 300, 2)


def test_a_right_prediction_scores_one_beside_pixels_that_do_not_count():
    truth = np.random.default_rng(0).integers(-1, 3, (40, 50))
    predicted = np.where(truth < 0, 1, truth)
    counts = boundary_counts(truth, predicted, 3)
    assert [index for index, *_ in counts] == [0, 1, 2]
    assert all(both == union for _, both, union in counts)


def test_classes_that_nobody_has_are_left_out():
    assert boundary_counts(np.full((5, 5), -1), np.zeros((5, 5), int), 3) == ()
    assert [index for index, *_ in boundary_counts(np.zeros((5, 5), int), np.full((5, 5), 3), 3)] == [0]


def test_iou_of_sums():
    iou = boundary_iou(np.array([3, 0, 0]), np.array([4, 2, 0]))
    assert iou[:2].tolist() == [0.75, 0]
    assert np.isnan(iou[2])


def test_sizes_must_agree():
    with pytest.raises(ValueError, match="one size"):
        boundary_counts(np.zeros((2, 2), int), np.zeros((2, 3), int), 2)
