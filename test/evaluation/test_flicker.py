"""Flicker counts label changes only where the truth stays."""

import numpy as np
import pytest

from activesam_ros.evaluation.flicker import flicker_counts


def test_hand_counted():
    truth_before = np.array([[0, 0, 1, 1], [-1, 2, 2, 2]])
    truth = np.array(
        [[0, 0, 0, 1], [-1, 2, -1, 2]]
    )  # steady: all but columns 2, and the one that never counts
    before = np.array([[0, 0, 1, 1], [0, 2, 2, 255]], np.uint8)
    labels = np.array([[0, 1, 0, 1], [5, 2, 0, 2]], np.uint8)
    assert flicker_counts(truth_before, truth, before, labels) == (2, 5)


def test_pixel_by_pixel():
    generator = np.random.default_rng(0)
    truth_before, truth, before, labels = generator.integers(-1, 3, (4, 17, 23))
    changed = compared = 0
    for row in range(17):
        for column in range(23):
            at = row, column
            if truth[at] >= 0 and truth[at] == truth_before[at]:
                compared += 1
                changed += labels[at] != before[at]
    assert flicker_counts(truth_before, truth, before, labels) == (changed, compared)


def test_sizes_must_agree():
    small, large = np.zeros((2, 2), int), np.zeros((2, 3), int)
    with pytest.raises(ValueError, match="one size"):
        flicker_counts(small, small, large, large)
