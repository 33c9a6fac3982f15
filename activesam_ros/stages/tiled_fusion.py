"""Fusion on a CPU: only those maps are resized in a tile of the image that can change its labels or confidence."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional as F

from activesam_ros.stages.calibration import SERIAL_PIXELS, TopClasses, lowest_confidence

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from activesam_ros.model.prompt_heads import DecodedPrompts
    from activesam_ros.settings import SegmenterSettings

_TILE = 24
"""A tile has at least so many rows and columns of pixels, unless the image is smaller."""

_SLACK = 1e-4
"""Bounds of scores are widened by this share, which is more than the rounding of a resized logit."""

_GAP = 2
"""Number of tiles up to which two runs of tiles are joined: resizing them costs less than another step."""

_WAITING_CELLS = 2**25
"""Number of cells of maps that wait to be fused together; what comes beyond is fused with the next class."""


@dataclass(frozen=True, eq=False)
class _Map:
    """A map of logits [h, w] of a class, whose score is the sigmoid times each of the factors, scalars."""

    class_index: int
    logits: torch.Tensor
    factors: tuple[torch.Tensor, ...]


class TiledFusion:
    """Reduces decoded prompts to the best two class scores, as `ClassFusion` does, as far as labels depend on them.

    A resized logit lies between the extremes of the cells around it, so that the cells under a tile bound the scores
    of each map in it, and all maps together the scores of the best two classes. A map is resized in a tile only

    - where it can be the best of its class, and its class the best of the tile; or
    - where it can be the best of its class, its class the second, and the second decides about the background.

    No map is resized where all scores are too low not to be background. The best score and its class are the same as
    without tiles wherever a pixel is not background; `second` may be less than the second best score where either
    makes the pixel background, or neither.

    Maps wait until the last one is known, within a limit of memory. All steps are so small that torch takes them on
    the calling thread: on a busy machine, threads would wait for each other at each of them.
    """

    def __init__(self, size: tuple[int, int], settings: SegmenterSettings) -> None:
        """Create the fusion of an image in which all classes score 0.

        Args:
            size: height and width.
            settings: `background_threshold` and `margin_exponent`.
        """
        self._size = size
        self._least = lowest_confidence(settings)
        self._axes: tuple[_Axis, _Axis] | None = None
        self._best, self._second, self._index = (torch.zeros(size) for _ in range(3))
        # The maps that wait, the first ones of the lowest class, and the least and the greatest score of each in each
        # tile, float32 [maps of a prompt, rows, columns].
        self._maps: list[_Map] = []
        self._low: list[np.ndarray] = []
        self._high: list[np.ndarray] = []
        self._fused_before = False
        self._buffers = torch.empty(2, SERIAL_PIXELS)

    def add(self, class_indices: Sequence[int], prompts: DecodedPrompts) -> None:
        """Take in decoded prompts with the class of each; class indices ascend, and all maps have the same size."""
        if self._axes is None:
            cells = prompts.logits.shape[1:]
            self._axes = _Axis(cells[0], self._size[0]), _Axis(cells[1], self._size[1])
        for number, (class_index, rows) in enumerate(zip(class_indices, prompts.rows(), strict=True)):
            self._add(class_index, prompts.logits[rows], prompts.weights[rows], prompts.presence[number])

    def _add(
        self, class_index: int, logits: torch.Tensor, weights: torch.Tensor, presence: torch.Tensor
    ) -> None:
        """Take in the masks of a prompt, the last one that of its semantic head."""
        waiting = len(self._maps) * logits[0].numel()
        if waiting > _WAITING_CELLS and class_index != self._maps[-1].class_index:
            self._fuse(last=False)
        self._maps += [
            _Map(class_index, one, (weight, presence))
            for one, weight in zip(logits[:-1], weights[:-1], strict=True)
        ]
        self._maps.append(_Map(class_index, logits[-1], (presence,)))
        cells = logits.float().numpy()
        scaled = (weights * presence)[:, None, None].numpy()
        assert self._axes is not None
        rows, columns = self._axes
        low, high = (
            torch.from_numpy(columns.reduce(rows.reduce(cells, 1, extreme), 2, extreme)).sigmoid_().numpy()
            for extreme in (np.minimum, np.maximum)
        )
        self._low.append(low * scaled * np.float32(1 - _SLACK))
        self._high.append(high * scaled * np.float32(1 + _SLACK))

    def finish(self) -> TopClasses:
        """Return the best two class scores of every pixel, as far as labels depend on them."""
        if self._maps:
            self._fuse(last=True)
        return TopClasses(self._best, self._second, self._index.int())

    def _fuse(self, last: bool) -> None:
        """Fuse the maps that wait; unless they are the last ones, scores must be right for those that come."""
        assert self._axes is not None
        rows, _ = self._axes
        low, high = np.concatenate(self._low), np.concatenate(self._high)
        owners = np.array([one.class_index for one in self._maps])
        begins = np.flatnonzero(np.diff(owners, prepend=-1))
        needed, second = self._needed(low, high, begins, last)
        members = [range(begin, end) for begin, end in pairwise([*map(int, begins), len(owners)])]
        for bands in rows.strips(self._size[1]):
            for maps in members:
                if needed[maps.start : maps.stop, bands.start : bands.stop].any():
                    self._fuse_class(maps, bands, needed, second)
        self._maps, self._low, self._high = [], [], []
        self._fused_before = True

    def _needed(
        self, low: np.ndarray, high: np.ndarray, begins: np.ndarray, last: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """Find out what has to be resized.

        Args:
            low: the least score of each map in each tile, float32 [M, rows, columns].
            high: the greatest, likewise.
            begins: index of the first map of each class.
            last: whether no maps follow.

        Returns:
            Which maps are needed in which tiles, bool [M, rows, columns], and where the second best class is, bool
            [rows, columns].
        """
        class_low, class_high = (np.maximum.reduceat(bounds, begins) for bounds in (low, high))
        # What was fused before counts as two classes.
        before_low, before_high = self._bounds_before(low.shape[1:])
        lowest, best_low = np.partition(np.concatenate([before_low, class_low]), -2, axis=0)[-2:]
        second_high, best_high = np.partition(np.concatenate([before_high, class_high]), -2, axis=0)[-2:]
        # Conditions are negated, so that what is not a number is resized, and is found in the result.
        needed = ~(high < best_low)
        second = np.full(low.shape[1:], self._least > 0)
        if self._least > 0:
            if last:
                clear = best_low * np.sqrt(np.maximum(best_low - second_high, 0)) > self._least * (1 + _SLACK)
                lost = best_high**1.5 < self._least * (1 - _SLACK)
                needed &= ~lost
                second = ~(clear | lost)
            needed |= ~(high < lowest) & second
        sizes = np.diff(begins, append=len(low))
        needed &= ~(high < np.repeat(class_low, sizes, axis=0))
        return needed, second

    def _bounds_before(self, tiles: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        """Return the least and the greatest scores so far, of the best two classes, float32 [2, rows, columns]."""
        if not self._fused_before:
            nothing = np.zeros((2, *tiles), np.float32)
            return nothing, nothing
        assert self._axes is not None
        rows, columns = (axis.begins[:-1] for axis in self._axes)
        planes = (self._best.numpy(), self._second.numpy())
        low, high = (
            np.stack([extreme.reduceat(extreme.reduceat(plane, rows, 0), columns, 1) for plane in planes])
            for extreme in (np.minimum, np.maximum)
        )
        return low, high

    def _fuse_class(self, maps: range, bands: range, needed: np.ndarray, second: np.ndarray) -> None:
        """Fuse the maps of a class in some bands, which are rows of tiles."""
        strips = {}
        for one in maps:
            some = needed[one, bands.start : bands.stop].any(1).nonzero()[0]
            if len(some):
                strips[one] = self._resize_rows(
                    self._maps[one], bands.start + some[0], bands.start + some[-1]
                )
        class_index = self._maps[maps.start].class_index
        for band in bands:
            need = needed[maps.start : maps.stop, band]
            for run in self._runs(need.any(0), band):
                plane = self._class_scores(maps.start, need, band, run, strips)
                self._add_scores(class_index, plane, band, run, second[band, run])

    def _resize_rows(self, one: _Map, first: int, last: int) -> tuple[int, torch.Tensor]:
        """Resize the rows of cells under some bands to the width of the image.

        Returns:
            Index of the first row of cells, and float32 [cells, width].
        """
        assert self._axes is not None
        rows, _ = self._axes
        begin, end = rows.steps[first].first, rows.steps[last].last + 1
        cells = one.logits[None, None, begin:end].float()
        return begin, F.interpolate(cells, (end - begin, self._size[1]), mode="bilinear")[0, 0]

    def _runs(self, need: np.ndarray, band: int) -> Iterator[slice]:
        """Yield the runs of tiles in which a class is needed, of fewer than `SERIAL_PIXELS` each."""
        assert self._axes is not None
        rows, columns = self._axes
        most = max(1, (SERIAL_PIXELS - 1) // ((rows.begins[band + 1] - rows.begins[band]) * columns.widest))
        begin = end = -1
        for tile in need.nonzero()[0].tolist():
            if end >= 0 and (tile - end > _GAP or tile - begin >= most):
                yield slice(begin, end)
                end = -1
            if end < 0:
                begin = tile
            end = tile + 1
        if end >= 0:
            yield slice(begin, end)

    def _class_scores(
        self, first: int, need: np.ndarray, band: int, run: slice, strips: dict[int, tuple[int, torch.Tensor]]
    ) -> torch.Tensor:
        """Return the scores of a class in a run of tiles, float32 [rows, columns]: the maximum of its maps'."""
        assert self._axes is not None
        rows, columns = self._axes
        height = rows.begins[band + 1] - rows.begins[band]
        whole = columns.pixels(run)
        plane: torch.Tensor | None = None
        need = need[:, run]
        for one in need.any(1).nonzero()[0].tolist():
            tiles = need[one].nonzero()[0]
            part = columns.pixels(slice(run.start + int(tiles[0]), run.start + int(tiles[-1]) + 1))
            if plane is None:
                plane = self._buffer(0, height, whole)
                if part == whole:
                    self._scores(first + one, band, part, strips, plane)
                    continue
                plane.zero_()
            scores = self._buffer(1, height, part)
            self._scores(first + one, band, part, strips, scores)
            target = plane[:, part.start - whole.start : part.stop - whole.start]
            torch.maximum(target, scores, out=target)
        assert plane is not None
        return plane

    def _scores(
        self,
        index: int,
        band: int,
        columns: slice,
        strips: dict[int, tuple[int, torch.Tensor]],
        out: torch.Tensor,
    ) -> None:
        """Write the scores of a map in some columns of a band."""
        assert self._axes is not None
        first, cells = strips[index]
        step = self._axes[0].steps[band]
        cells = cells[step.first - first :, columns]
        # In the order of torch's resize, which gives the same bits where the processor adds products in one step.
        torch.mul(cells.index_select(0, step.high), step.high_weight, out=out)
        out.addcmul_(cells.index_select(0, step.low), step.low_weight).sigmoid_()
        for factor in self._maps[index].factors:
            out.mul_(factor)

    def _add_scores(
        self, class_index: int, scores: torch.Tensor, band: int, run: slice, second: np.ndarray
    ) -> None:
        """Add the scores of a class in a run of tiles to the best two so far."""
        assert self._axes is not None
        rows, columns = self._axes[0].steps[band].pixels, self._axes[1].pixels(run)
        best, index = self._best[rows, columns], self._index[rows, columns]
        other = self._buffer(1, scores.shape[0], columns)
        if second.any():
            torch.minimum(best, scores, out=other)
            part = self._second[rows, columns]
            torch.maximum(part, other, out=part)
        if class_index > 0:
            # As class indices ascend, the winner's is the greater one; a mask would take much longer.
            torch.gt(scores, best, out=other).mul_(class_index)
            torch.maximum(index, other, out=index)
        torch.maximum(best, scores, out=best)

    def _buffer(self, which: int, height: int, columns: slice) -> torch.Tensor:
        width = columns.stop - columns.start
        if height * width > self._buffers.shape[1]:
            self._buffers = torch.empty(2, height * width)
        return self._buffers[which, : height * width].view(height, width)


@dataclass(frozen=True, eq=False)
class _Step:
    """The resize of one tile along an axis.

    Attributes:
        pixels: of the tile.
        first, last: the cells under it.
        low, high: the two cells that each pixel lies between, counted from the first one, int64 [pixels].
        low_weight, high_weight: of these, float32 [pixels, 1].
    """

    pixels: slice
    first: int
    last: int
    low: torch.Tensor
    high: torch.Tensor
    low_weight: torch.Tensor
    high_weight: torch.Tensor


class _Axis:
    """One axis of a bilinear resize, as `interpolate` does it with `align_corners=False`, and its tiles.

    Attributes:
        begins: first pixel of each tile, and the number of pixels at last.
        widest: pixels of the largest tile.
        steps: of each tile.
    """

    def __init__(self, cells: int, pixels: int) -> None:
        # With the rounding of torch, which multiplies and subtracts in one step.
        scale = (torch.tensor(cells, dtype=torch.float32) / pixels).double()
        at = ((torch.arange(pixels, dtype=torch.float64) + 0.5) * scale - 0.5).float().clamp_(min=0)
        low = at.long()
        high = (low + 1).clamp_(max=cells - 1)
        weight = (at - low)[:, None]
        # Tiles end with cells, since the bounds of a cell under two tiles would be wide in both.
        together = min(cells, -(-_TILE * cells // pixels))
        begins = np.flatnonzero(np.diff((low // together).numpy(), prepend=-1)).tolist()
        self.begins = [*begins, pixels]
        self.widest = max(end - begin for begin, end in pairwise(self.begins))
        self.steps = []
        for tile in (slice(*ends) for ends in pairwise(self.begins)):
            first, last = int(low[tile.start]), int(high[tile.stop - 1])
            step = _Step(
                tile, first, last, low[tile] - first, high[tile] - first, 1 - weight[tile], weight[tile]
            )
            self.steps.append(step)

    def pixels(self, tiles: slice) -> slice:
        """Return the pixels of some tiles."""
        return slice(self.begins[tiles.start], self.begins[tiles.stop])

    def reduce(self, maps: np.ndarray, axis: int, extreme: np.ufunc) -> np.ndarray:
        """Return the least or the greatest of the cells under each tile."""
        first, last = (np.array([getattr(step, end) for step in self.steps]) for end in ("first", "last"))
        found: np.ndarray = maps.take(first, axis)
        for more in range(1, int((last - first).max()) + 1):
            extreme(found, maps.take(np.minimum(first + more, last), axis), out=found)
        return found

    def strips(self, across: int) -> Iterator[range]:
        """Yield successive tiles, as many at a time as have fewer than `SERIAL_PIXELS` cells × `across`."""
        most = max(1, (SERIAL_PIXELS - 1) // across)
        begin = 0
        for tile, step in enumerate(self.steps):
            if tile > begin and step.last + 1 - self.steps[begin].first > most:
                yield range(begin, tile)
                begin = tile
        yield range(begin, len(self.steps))
