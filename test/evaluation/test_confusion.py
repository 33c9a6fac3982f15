"""Figures of the confusion matrix against hand-computed cases."""

import math

import numpy as np
import pytest

from activesam_ros.evaluation.confusion import ConfusionMatrix


def test_hand_computed_case():
    matrix = ConfusionMatrix(3)
    matrix.add(np.array([[0, 0, 1], [1, 255, 1]], np.uint8), np.array([[0, 1, 1], [255, 0, 1]], np.uint8))
    assert matrix.counts.tolist() == [[1, 1, 0, 0], [0, 2, 0, 1], [0, 0, 0, 0]]
    # Class 0: 1 of {2 true or 1 predicted} = 1/2; class 1: 2 of {3 true, 1 more predicted} = 2/4; class 2 is absent.
    assert matrix.iou[:2].tolist() == [0.5, 0.5]
    assert math.isnan(matrix.iou[2])
    assert matrix.mean_iou == 0.5
    assert matrix.pixel_accuracy == pytest.approx(3 / 5)


def test_images_add_up():
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


def test_another_hand_computed_case_from_given_counts():
    given = np.array([[3, 1, 0, 0], [1, 2, 0, 1], [0, 0, 0, 0]])
    matrix = ConfusionMatrix(3, given)
    assert matrix.iou[:2] == pytest.approx([3 / 5, 2 / 5])
    assert math.isnan(matrix.iou[2])
    assert matrix.mean_iou == pytest.approx(0.5)
    matrix.add(np.array([2]), np.array([2]))
    assert given.sum() == 8 and matrix.counts.sum() == 9


def test_negative_values_are_no_class():
    matrix = ConfusionMatrix(3)
    matrix.add(np.array([1, 2, -1]), np.array([-1, -1, 0]))
    assert matrix.counts.tolist() == [[0, 0, 0, 0], [0, 0, 0, 1], [0, 0, 0, 1]]


def test_nothing_known():
    matrix = ConfusionMatrix(2)
    matrix.add(np.full((2, 2), 255), np.zeros((2, 2), int))
    assert math.isnan(matrix.mean_iou) and math.isnan(matrix.pixel_accuracy)


def test_sizes_must_agree():
    with pytest.raises(ValueError, match="one size"):
        ConfusionMatrix(2).add(np.zeros((2, 2), int), np.zeros((2, 3), int))


def test_accuracies_by_hand():
    matrix = ConfusionMatrix(3, np.array([[3, 1, 0, 0], [1, 2, 0, 3], [0, 0, 0, 0]]))
    assert matrix.accuracy[:2] == pytest.approx([3 / 4, 2 / 6])
    assert math.isnan(matrix.accuracy[2])
    assert matrix.mean_accuracy == pytest.approx((3 / 4 + 2 / 6) / 2)
    assert matrix.pixel_accuracy == pytest.approx(5 / 10)
    # IoU 3/5 and 2/7, weighted by 4 and 6 of the 10 true pixels.
    assert matrix.frequency_weighted_iou == pytest.approx(0.4 * 3 / 5 + 0.6 * 2 / 7)


def test_figures_as_computed_on_label_images():
    generator = np.random.default_rng(2)
    truth, predicted = generator.integers(0, 7, (2, 50, 60))
    truth[truth == 6] = 255
    predicted[:, :20] = truth[:, :20]
    matrix = ConfusionMatrix(7)
    matrix.add(truth, predicted)
    known = truth != 255
    shares, accuracies, ious = [], [], []
    for index in range(6):
        true, guess = truth == index, (predicted == index) & known
        shares.append(true.sum() / known.sum())
        accuracies.append((true & guess).sum() / true.sum())
        ious.append((true & guess).sum() / (true | guess).sum())
    assert matrix.pixel_accuracy == pytest.approx((truth == predicted)[known].mean())
    assert matrix.mean_accuracy == pytest.approx(np.mean(accuracies))
    assert matrix.frequency_weighted_iou == pytest.approx(np.dot(shares, ious))
    # Class 6 is predicted but not in the truth: it counts with 0.
    assert matrix.mean_iou == pytest.approx(np.mean([*ious, 0]))


def test_no_figures_without_truth():
    matrix = ConfusionMatrix(2)
    assert math.isnan(matrix.mean_accuracy) and math.isnan(matrix.frequency_weighted_iou)


def test_sparse_and_back():
    matrix = ConfusionMatrix.from_triples(2, [(0, 2, 5), (1, 0, 1), (0, 2, 2)])
    assert matrix.counts.tolist() == [[0, 0, 7], [1, 0, 0]]
    assert matrix.triples() == ((0, 2, 7), (1, 0, 1))
    assert ConfusionMatrix.from_triples(2, ()).triples() == ()
