"""Metrics against cases counted by hand and computations pixel by pixel."""

import math

import cv2
import numpy as np
import pytest

from activesam_ros.evaluation.metrics import (
    ClassRecall,
    ConfusionMatrix,
    Percentiles,
    active_set_scores,
    boundary_counts,
    boundary_iou,
    boundary_width,
    flicker_counts,
)
from activesam_ros.evaluation.records import TruthScores


def test_confusion_hand_computed_case():
    matrix = ConfusionMatrix(3)
    matrix.add(np.array([[0, 0, 1], [1, 255, 1]], np.uint8), np.array([[0, 1, 1], [255, 0, 1]], np.uint8))
    assert matrix.counts.tolist() == [[1, 1, 0, 0], [0, 2, 0, 1], [0, 0, 0, 0]]
    # Class 0: 1 of {2 true or 1 predicted} = 1/2; class 1: 2 of {3 true, 1 more predicted} = 2/4; class 2 is absent.
    assert matrix.iou[:2].tolist() == [0.5, 0.5]
    assert math.isnan(matrix.iou[2])
    assert matrix.mean_iou == 0.5
    assert matrix.pixel_accuracy == pytest.approx(3 / 5)


def test_confusion_images_add_up():
    generator = np.random.default_rng(0)
    truth, predicted = generator.integers(0, 5, (2, 4, 30, 40))
    whole, parts = ConfusionMatrix(5), ConfusionMatrix(5)
    whole.add(truth.reshape(-1, 40), predicted.reshape(-1, 40))
    for one, other in zip(truth, predicted, strict=True):
        parts.add(one, other)
    assert np.array_equal(whole.counts, parts.counts)
    for index in range(5):
        hit = np.sum((truth == index) & (predicted == index))
        assert whole.iou[index] == pytest.approx(hit / np.sum((truth == index) | (predicted == index)))


def test_confusion_negative_values_are_no_class():
    matrix = ConfusionMatrix(3)
    matrix.add(np.array([1, 2, -1]), np.array([-1, -1, 0]))
    assert matrix.counts.tolist() == [[0, 0, 0, 0], [0, 0, 0, 1], [0, 0, 0, 1]]


def test_confusion_nothing_known():
    matrix = ConfusionMatrix(2)
    matrix.add(np.full((2, 2), 255), np.zeros((2, 2), int))
    assert math.isnan(matrix.mean_iou) and math.isnan(matrix.pixel_accuracy)
    assert math.isnan(matrix.mean_accuracy) and math.isnan(matrix.frequency_weighted_iou)


def test_confusion_accuracies_by_hand():
    matrix = ConfusionMatrix(3, np.array([[3, 1, 0, 0], [1, 2, 0, 3], [0, 0, 0, 0]]))
    assert matrix.accuracy[:2] == pytest.approx([3 / 4, 2 / 6])
    assert math.isnan(matrix.accuracy[2])
    assert matrix.mean_accuracy == pytest.approx((3 / 4 + 2 / 6) / 2)
    assert matrix.pixel_accuracy == pytest.approx(5 / 10)
    # IoU 3/5 and 2/7, weighted by 4 and 6 of the 10 true pixels.
    assert matrix.frequency_weighted_iou == pytest.approx(0.4 * 3 / 5 + 0.6 * 2 / 7)


def test_confusion_sparse_and_back():
    matrix = ConfusionMatrix.from_triples(2, [(0, 2, 5), (1, 0, 1), (0, 2, 2)])
    assert matrix.counts.tolist() == [[0, 0, 7], [1, 0, 0]]
    assert matrix.triples() == ((0, 2, 7), (1, 0, 1))
    assert ConfusionMatrix.from_triples(2, ()).triples() == ()


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
def test_boundary_width(size, width):
    assert boundary_width(*size) == width  # 2 % of the diagonals 5, 800 and 2290


def test_boundary_hand_counted():
    # A square of 5 × 5 in 9 × 9, predicted one column further right. Each outline of width 1 has 16 pixels; they share
    # the four columns that both squares have of the upper and of the lower row.
    truth = np.zeros((9, 9), np.uint8)
    predicted = truth.copy()
    truth[2:7, 2:7] = 1
    predicted[2:7, 3:8] = 1
    counts = {index: (both, union) for index, both, union in boundary_counts(truth, predicted, 2)}
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
def test_boundary_mask_by_mask(classes):
    generator = np.random.default_rng(classes)
    coarse = generator.integers(-1, classes + 1, (2, 9, 12))
    truth, predicted = (cv2.resize(each.astype(np.float32), (160, 120), interpolation=0) for each in coarse)
    truth, predicted = truth.astype(np.int32), predicted.astype(np.int32)
    predicted[:60] = truth[:60]
    predicted[20:30, 50:70] = 2
    found = boundary_counts(truth, predicted, classes)
    assert {index: (both, union) for index, both, union in found} == by_masks(truth, predicted, classes, 4)
    assert [index for index, *_ in found] == sorted(index for index, *_ in found)


def test_boundary_more_classes_than_a_byte_holds():
    truth = np.repeat([[0, 256]], 50, axis=0).repeat(50, axis=1)
    found = boundary_counts(truth, truth, 300)
    assert {index: (both, union) for index, both, union in found} == by_masks(truth, truth, 300, 2)


def test_boundary_a_right_prediction_scores_one_beside_pixels_that_do_not_count():
    truth = np.random.default_rng(0).integers(-1, 3, (40, 50))
    predicted = np.where(truth < 0, 1, truth)
    counts = boundary_counts(truth, predicted, 3)
    assert [index for index, *_ in counts] == [0, 1, 2]
    assert all(both == union for _, both, union in counts)


def test_boundary_classes_that_nobody_has_are_left_out():
    assert boundary_counts(np.full((5, 5), -1), np.zeros((5, 5), int), 3) == ()
    assert [index for index, *_ in boundary_counts(np.zeros((5, 5), int), np.full((5, 5), 3), 3)] == [0]


def test_boundary_iou_of_sums():
    iou = boundary_iou(np.array([3, 0, 0]), np.array([4, 2, 0]))
    assert iou[:2].tolist() == [0.75, 0]
    assert np.isnan(iou[2])


def test_flicker_hand_counted():
    truth_before = np.array([[0, 0, 1, 1], [-1, 2, 2, 2]])
    truth = np.array(
        [[0, 0, 0, 1], [-1, 2, -1, 2]]
    )  # steady: all but columns 2, and the one that never counts
    before = np.array([[0, 0, 1, 1], [0, 2, 2, 255]], np.uint8)
    labels = np.array([[0, 1, 0, 1], [5, 2, 0, 2]], np.uint8)
    assert flicker_counts(truth_before, truth, before, labels) == (2, 5)


# Two frames over three classes. The first misses class 2, whose 2 pixels became class 1; in the second everything is
# decoded, class 1 for nothing.
FRAMES = (
    TruthScores(3, (0, 1), ((0, 0, 300), (1, 1, 96), (2, 1, 2))),
    TruthScores(3, (0, 1, 2), ((0, 0, 60), (0, 3, 20), (2, 2, 20))),
)


def test_active_set_hand_counted():
    scores = active_set_scores(FRAMES)
    assert scores.recall == pytest.approx(4 / 5)  # 0, 1, 2 and 0, 2 are there; 2 was missed once
    assert scores.prominent_recall == 1  # the 2 pixels are less than 1 % of 398
    assert scores.precision == pytest.approx(4 / 5)  # 0, 1 and 0, 2 of five decoded
    assert scores.lost_share == pytest.approx(2 / 498)
    assert scores.classes == (ClassRecall(2, 2, 1, 2), ClassRecall(0, 2, 0, 0), ClassRecall(1, 1, 0, 0))
    assert scores.classes[0].recall == 0.5
    # With the missed pixels: 360/380, 96/98, 20/22; without: 360/380, 96/96, 20/20.
    assert scores.lost_iou == pytest.approx(((1 - 96 / 98) + (1 - 20 / 22)) / 3)


def test_active_set_a_few_pixels_make_a_decoded_class_right():
    assert active_set_scores(
        [TruthScores(3, (0, 1, 2), ((0, 0, 999), (1, 1, 1)))]
    ).precision == pytest.approx(2 / 3)


def test_active_set_a_class_that_is_missed_everywhere_leaves_the_mean_without_misses():
    scores = active_set_scores([TruthScores(2, (0,), ((0, 0, 50), (1, 0, 50)))])
    assert scores.recall == 0.5
    assert scores.lost_iou == pytest.approx(1 - (50 / 100 + 0) / 2)


@pytest.mark.parametrize("frames", [(), (TruthScores(2, (), ()),), (TruthScores(2, None, ((0, 1, 9),)),)])
def test_active_set_nothing_known(frames):
    scores = active_set_scores(frames)
    assert (scores.recall, scores.prominent_recall, scores.precision) == (None, None, None)
    assert (scores.lost_share, scores.lost_iou, scores.classes) == (None, None, ())


def test_active_set_everything_missed():
    scores = active_set_scores([TruthScores(2, (), ((0, 2, 4), (1, 2, 4)))])
    assert (scores.recall, scores.precision, scores.lost_share, scores.lost_iou) == (0, None, 1, None)


def test_percentiles_hand_counted():
    # Of 20 values 18 are at most 18 (90 %), 19 at most 19 (95 %), and only all 20 are 99 % or more.
    spread = Percentiles.of(range(20, 0, -1))
    assert spread == Percentiles(count=20, mean=10.5, least=1, p50=10, p90=18, p95=19, p99=20, most=20)


def test_percentiles_nothing():
    assert Percentiles.of([]) is None


@pytest.mark.parametrize("count", [1, 2, 3, 99, 100, 101, 1000])
def test_percentiles_as_numpy(count):
    values = np.random.default_rng(count).gamma(2.0, size=count)
    spread = Percentiles.of(values)
    expected = np.percentile(values, [0, 50, 90, 95, 99, 100], method="inverted_cdf")
    assert [spread.least, spread.p50, spread.p90, spread.p95, spread.p99, spread.most] == expected.tolist()
    assert spread.mean == pytest.approx(values.mean())


@pytest.mark.parametrize(
    "measure",
    [
        lambda one, other: ConfusionMatrix(2).add(one, other),
        lambda one, other: boundary_counts(one, other, 2),
        lambda one, other: flicker_counts(one, one, other, other),
    ],
)
def test_sizes_must_agree(measure):
    with pytest.raises(ValueError, match="one size"):
        measure(np.zeros((2, 2), int), np.zeros((2, 3), int))
