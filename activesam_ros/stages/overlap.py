"""How many cells masks have in common, for many pairs at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

_BAND_ROWS = 16
"""Rows of cells that are compared together: few enough that a mask is laid out only over columns near it."""


class Masks:
    """Masks of one grid of cells, each kept within its rectangle.

    Attributes:
        areas: number of cells of each, float64 [N].
    """

    def __init__(self, masks: Sequence[np.ndarray], corners: Sequence[tuple[int, int]]) -> None:
        """Take masks, bool [h, w], and row and column of the first cell of each."""
        self._masks = masks
        self.areas = np.array([np.count_nonzero(mask) for mask in masks], np.float64)
        self._begin = np.array(corners, np.intp).reshape(-1, 2)
        self._end = self._begin + np.array([mask.shape for mask in masks], np.intp).reshape(-1, 2)

    def __len__(self) -> int:
        return len(self._masks)

    def __getitem__(self, indices: Sequence[int] | np.ndarray) -> Masks:
        """Return some of them."""
        return Masks(
            [self._masks[index] for index in indices], [tuple(self._begin[index]) for index in indices]
        )

    def common(self, others: Masks) -> np.ndarray:
        """Count the cells that each has in common with each of the others, float64 [N, M].

        A product of matrices for each band of rows, over the masks and columns that reach into it: exact, since sums of
        ones in float32 are, below 2²⁴ cells.
        """
        common = np.zeros((len(self), len(others)))
        if not common.size:
            return common
        first = max(self._begin[:, 0].min(), others._begin[:, 0].min())
        last = min(self._end[:, 0].max(), others._end[:, 0].max())
        for top in range(first, last, _BAND_ROWS):
            ours, theirs = self._reaching(top), others._reaching(top)
            if not len(ours) or not len(theirs):
                continue
            left = max(self._begin[ours, 1].min(), others._begin[theirs, 1].min())
            right = min(self._end[ours, 1].max(), others._end[theirs, 1].max())
            if left < right:
                product = (
                    self._laid_out(ours, top, left, right) @ others._laid_out(theirs, top, left, right).T
                )
                common[np.ix_(ours, theirs)] += product
        return common

    def overlaps(self, others: Masks) -> np.ndarray:
        """Return the intersection over union of each with each of the others, float64 [N, M]."""
        common = self.common(others)
        return common / np.maximum(self.areas[:, None] + others.areas - common, 1)

    def _reaching(self, top: int) -> np.ndarray:
        """Return the indices of the masks that reach into the band from row `top` on."""
        return np.flatnonzero((self._begin[:, 0] < top + _BAND_ROWS) & (self._end[:, 0] > top))

    def _laid_out(self, indices: np.ndarray, top: int, left: int, right: int) -> np.ndarray:
        """Return masks within a band and some columns, float32 [len(indices), cells]."""
        cells = np.zeros((len(indices), _BAND_ROWS, right - left), np.float32)
        for place, index in enumerate(indices):
            (row, column), (bottom, end) = self._begin[index], self._end[index]
            low, high = max(row, top), min(bottom, top + _BAND_ROWS)
            begin, stop = max(column, left), min(end, right)
            if begin < stop:
                part = self._masks[index][low - row : high - row, begin - column : stop - column]
                cells[place, low - top : high - top, begin - left : stop - left] = part
        return cells.reshape(len(indices), -1)
