"""Common cells of many masks at once, against one pair after the other."""

import numpy as np
import pytest

from activesam_ros.stages.overlap import Masks


def some(dice, count, side, grid=96):
    """Masks of up to `side` cells, anywhere in the grid, and where they lie."""
    shapes = dice.integers(1, side + 1, (count, 2))
    corners = [tuple(dice.integers(0, grid - shape + 1)) for shape in shapes]
    return [dice.random(tuple(shape)) < 0.7 for shape in shapes], corners


def whole(mask, corner, grid=96):
    cells = np.zeros((grid, grid), bool)
    cells[corner[0] : corner[0] + mask.shape[0], corner[1] : corner[1] + mask.shape[1]] = mask
    return cells


@pytest.mark.parametrize("side", [9, 20, 96])
def test_common_cells_are_those_of_each_pair(side):
    dice = np.random.default_rng(side)
    ours, theirs = some(dice, 30, side), some(dice, 20, side)
    one, other = ([whole(*pair) for pair in zip(*given, strict=True)] for given in (ours, theirs))
    common = np.array([[np.count_nonzero(a & b) for b in other] for a in one])
    union = np.array([[np.count_nonzero(a | b) for b in other] for a in one])
    first, second = Masks(*ours), Masks(*theirs)
    assert np.array_equal(first.common(second), common) and common.any()
    assert np.allclose(first.overlaps(second), common / np.maximum(union, 1))
    few = [7, 2]
    assert np.array_equal(first[few].common(second), common[few])


def test_nothing_has_nothing_in_common():
    dice = np.random.default_rng(0)
    assert Masks(*some(dice, 3, 9)).common(Masks([], [])).shape == (3, 0)
    apart = Masks([np.ones((4, 4), bool)], [(0, 0)]).common(Masks([np.ones((4, 4), bool)], [(0, 4)]))
    assert apart.tolist() == [[0]]


def test_empty_masks_overlap_with_nothing():
    empty = Masks([np.zeros((2, 2), bool)], [(0, 0)])
    assert empty.overlaps(empty).tolist() == [[0.0]]
