"""Fusion of decoded prompts into class scores, and calibrated labels from those."""

from __future__ import annotations

import math
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional as F

if TYPE_CHECKING:
    from collections.abc import Iterator

    from activesam_ros.model.prompt_heads import DecodedPrompt
    from activesam_ros.settings import SegmenterSettings
    from activesam_ros.vocabulary import Vocabulary


_TILE = 64
"""Side of the tiles for which the scores are bounded, in pixels."""

_SLACK = 1e-4
"""Bounds of scores are widened by this share, which is more than the rounding of a resized logit."""

_BATCH_PIXELS = 2**26
"""Number of pixels of instance masks that are in memory at once where an image is fused as a whole."""

_SMALL_PIXELS = 2**17
"""An image of at most so many pixels is fused as a whole on a CPU too: bounding its tiles would take longer."""


@dataclass(frozen=True)
class _Region:
    """A part of the image in which a prompt may matter, in pixels.

    Attributes:
        rows, columns: of the image.
        masks: the instances that may matter, some at a time, and in which columns.
        may_win: whether the class may be the best one of a pixel.
    """

    rows: slice
    columns: slice
    masks: tuple[tuple[slice, slice], ...]
    may_win: bool = True


@contextmanager
def _one_thread() -> Iterator[None]:
    """Run torch on one thread: on a busy machine, threads would wait for each other at each of many small steps."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class ClassFusion:
    """Reduces decoded prompts to the best two class scores of every pixel.

    The score of a prompt is the maximum over its instances of mask × (object score × presence), and over the semantic
    head's probability, times presence; masks are resized as logits, before the sigmoid. The prompts of one class are
    aliases, of which the maximum counts; classes without a decoded prompt score 0.

    On a GPU all instances are resized together, within a memory budget, and nothing waits for the host; a small image
    is fused like that on a CPU, too. A larger one is fused in bands of rows, which fit into its cache. A resized logit
    lies between the extremes of the cells around it, so that the cells under a tile of a band bound the scores in it:
    an instance that another one exceeds there is not resized, nor is a prompt that nowhere reaches the second best
    score so far. What is left out changes
    no score.
    """

    def __init__(self, size: tuple[int, int], device: torch.device, second: bool = True) -> None:
        """Create the fusion of an image in which all classes score 0.

        Args:
            size: height and width.
            device: of the prompts.
            second: whether the second best score is needed, too; it stays 0 otherwise.
        """
        self._size = size
        self._device = device
        self._banded = device.type == "cpu" and size[0] * size[1] > _SMALL_PIXELS
        self._best = torch.zeros(size, device=device)
        self._second = torch.zeros(size, device=device) if second else None
        self._index = torch.zeros(size, device=device)
        self._last = -1
        self._resize: _Resize | None = None
        # The lowest scores of each tile that a prompt has to reach in order to be the best, or the second.
        tiles = [-(-pixels // _TILE) for pixels in size]
        self._lowest_best = np.zeros(tiles, np.float32)
        self._lowest_second = np.zeros(tiles, np.float32) if second else self._lowest_best

    def add(self, class_index: int, prompt: DecodedPrompt) -> None:
        """Take in a decoded prompt; class indices ascend."""
        cells = tuple(prompt.semantic_logits.shape)
        if self._resize is None or self._resize.cells != cells:
            self._resize = _Resize(cells, self._size, self._device)
        resize = self._resize
        scores = prompt.instance_scores.float()[:, None, None]
        semantic, instances = prompt.semantic_logits[None], prompt.instance_logits
        with _one_thread() if self._banded else nullcontext():
            for region in self._needed(resize, prompt) if self._banded else self._whole(prompt):
                fused = resize(semantic, region.rows, region.columns).sigmoid_()[0]
                left = region.columns.start
                for some, columns in region.masks:
                    masks = resize(instances[some], region.rows, columns).sigmoid_().mul_(scores[some])
                    part = fused[:, columns.start - left : columns.stop - left]
                    torch.maximum(part, masks[0] if len(masks) == 1 else masks.amax(0), out=part)
                self._add(class_index, fused.mul_(prompt.presence), region)
                if self._banded:
                    self._note_lowest(region)
        self._last = class_index

    def add_scores(self, class_index: int, scores: torch.Tensor) -> None:
        """Take in the scores of one prompt, float32 [H, W] in [0, 1]; class indices ascend."""
        height, width = self._size
        self._add(class_index, scores, _Region(slice(0, height), slice(0, width), ()))
        self._last = class_index

    def finish(self) -> TopClasses:
        """Return the best two class scores of every pixel."""
        second = torch.zeros_like(self._best) if self._second is None else self._second
        return TopClasses(self._best, second, self._index.int())

    def _whole(self, prompt: DecodedPrompt) -> Iterator[_Region]:
        """Yield the image, with all instances in batches."""
        height, width = self._size
        together = max(1, _BATCH_PIXELS // (height * width))
        columns = slice(0, width)
        begins = range(0, len(prompt.instance_logits), together)
        masks = tuple((slice(begin, begin + together), columns) for begin in begins)
        yield _Region(slice(0, height), columns, masks)

    def _needed(self, resize: _Resize, prompt: DecodedPrompt) -> Iterator[_Region]:
        """Yield the bands in which a prompt may matter, with single instances."""
        presence = prompt.presence.float().numpy()
        scores = torch.cat([torch.ones(1), prompt.instance_scores.float()]).numpy()[:, None, None]
        maps = [prompt.semantic_logits[None], *prompt.instance_logits.split(1)]
        low, high = (
            torch.cat(ends).sigmoid().numpy() for ends in zip(*map(resize.bounds, maps), strict=True)
        )
        least = (low * scores).max(0) * (1 - _SLACK)
        most = high * scores * (1 + _SLACK)
        # Negated, so that what is not a number is kept, and is found in the result.
        reach = ~(most * presence <= self._lowest_second)
        may_win = (~(most * presence <= self._lowest_best)).any((0, 2))
        needed = reach & ~(most < least)
        needed[0] = reach.any(0)
        height, width = self._size
        first = needed.argmax(2) * _TILE
        last = np.minimum((needed.shape[2] - needed[:, :, ::-1].argmax(2)) * _TILE, width)
        bands = needed.any(2)
        for band in map(int, np.flatnonzero(bands[0])):
            semantic, *masks = (
                (slice(index - 1, index), slice(int(first[index, band]), int(last[index, band])))
                for index in map(int, np.flatnonzero(bands[:, band]))
            )
            rows = slice(band * _TILE, min((band + 1) * _TILE, height))
            yield _Region(rows, semantic[1], tuple(masks), bool(may_win[band]))

    def _add(self, class_index: int, scores: torch.Tensor, region: _Region) -> None:
        best, index = self._best[region.rows, region.columns], self._index[region.rows, region.columns]
        if self._second is not None:
            others = torch.minimum(best, scores)
            if class_index == self._last:
                # An alias that exceeds another one of its class leaves the second class as it is.
                others.masked_fill_(index == class_index, 0)
            second = self._second[region.rows, region.columns]
            torch.maximum(second, others, out=second)
        if region.may_win:
            # As class indices ascend, the winner's is the greater one; on a CPU a mask would take much longer.
            wins = torch.gt(scores, best, out=torch.empty_like(scores)).mul_(class_index)
            torch.maximum(index, wins, out=index)
            torch.maximum(best, scores, out=best)

    def _note_lowest(self, region: _Region) -> None:
        """Raise the bounds of the tiles of a band, whose scores have risen."""
        row, left = region.rows.start // _TILE, region.columns.start // _TILE
        for lowest, scores in ((self._lowest_best, self._best), (self._lowest_second, self._second)):
            if scores is None or (scores is self._best and not region.may_win):
                continue
            columns = scores[region.rows, region.columns].amin(0)
            columns = F.pad(columns, (0, -len(columns) % _TILE), value=math.inf)
            tiles = columns.view(-1, _TILE).amin(1).numpy()
            lowest[row, left : left + len(tiles)] = tiles


@dataclass(frozen=True, eq=False)
class TopClasses:
    """The best two classes of every pixel.

    Attributes:
        best, second: scores, float32 [H, W]; `second` is 0 in a vocabulary of one class.
        index: int32 [H, W], index of the best class; the first one if several are equal.
    """

    best: torch.Tensor
    second: torch.Tensor
    index: torch.Tensor


class _Resize:
    """Bilinear resize of maps to a part of an image, as `interpolate` does with `align_corners=False`.

    It is a product of three matrices: the weights of the rows, the cells, the weights of the columns.
    """

    def __init__(self, cells: tuple[int, ...], size: tuple[int, int], device: torch.device) -> None:
        self.cells = cells
        self._rows, self._columns = (
            _Axis.of(*lengths, device=device) for lengths in zip(cells, size, strict=True)
        )

    def __call__(self, maps: torch.Tensor, rows: slice, columns: slice) -> torch.Tensor:
        """Resize maps [K, h, w] to these rows and columns of the image, float32."""
        (down, row_weights), (across, column_weights) = self._rows.part(rows), self._columns.part(columns)
        # Backwards, since the products add up in the order of torch's resize then, and give the same bits.
        cells = maps[:, down, across].float().flip(1, 2)
        return row_weights @ (cells @ column_weights.mT)

    def bounds(self, maps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the least and the greatest cell of maps [K, h, w] under every tile, float32 [K, rows, columns]."""
        rows = maps.float()[:, self._rows.under]
        return (
            rows.amin(2)[:, :, self._columns.under].amin(3),
            rows.amax(2)[:, :, self._columns.under].amax(3),
        )


@dataclass(frozen=True, eq=False)
class _Axis:
    """One axis of a resize.

    Attributes:
        low, high: the two cells that each pixel lies between.
        weights: of the cells in each pixel, float32 [pixels, cells].
        under: the cells under each tile, int64 [tiles, S].
    """

    low: list[int]
    high: list[int]
    weights: torch.Tensor
    under: torch.Tensor

    @classmethod
    def of(cls, cells: int, pixels: int, device: torch.device) -> _Axis:
        """Resize `cells` to `pixels`."""
        # With the rounding of torch, which multiplies and subtracts in one step.
        scale = (torch.tensor(cells, dtype=torch.float32) / pixels).double()
        at = ((torch.arange(pixels, dtype=torch.float64) + 0.5) * scale - 0.5).float().clamp_(min=0)
        low = at.long()
        high = (low + 1).clamp_(max=cells - 1)
        weights = torch.zeros(pixels, cells)
        weights.scatter_add_(1, low[:, None], (1 - (at - low))[:, None])
        weights.scatter_add_(1, high[:, None], (at - low)[:, None])
        first, last = low[::_TILE], high[_TILE - 1 :: _TILE]
        last = torch.cat([last, high[-1:]])[: len(first)]
        under = torch.minimum(first[:, None] + torch.arange(int((last - first).max()) + 1), last[:, None])
        return cls(low.tolist(), high.tolist(), weights.flip(1).to(device), under.to(device))

    def part(self, pixels: slice) -> tuple[slice, torch.Tensor]:
        """Return the cells that some pixels lie between, and their weights, the last cell first."""
        begin, end = self.low[pixels.start], self.high[pixels.stop - 1] + 1
        count = self.weights.shape[1]
        return slice(begin, end), self.weights[pixels, count - end : count - begin]


def background_mask(
    best: torch.Tensor, second: torch.Tensor, threshold: float, exponent: float
) -> torch.Tensor:
    """Return the pixels whose best score is too low or too close to the second (ActiveSAM, arXiv 2606.16996).

    A pixel is background if best · √(best − second) < threshold ^ exponent.

    Args:
        best: highest class score, float32 [H, W].
        second: second highest class score, float32 [H, W].
        threshold: 0 selects no pixel.
        exponent: above 0.

    Returns:
        bool [H, W].
    """
    if threshold <= 0:
        return torch.zeros_like(best, dtype=torch.bool)
    return (best - second).clamp_(min=0).sqrt_().mul_(best) < threshold**exponent


def label_pixels(
    fused: TopClasses, vocabulary: Vocabulary, settings: SegmenterSettings
) -> tuple[np.ndarray, np.ndarray]:
    """Return class ids in the vocabulary's label type, and confidence float32, both [H, W].

    Pixels of `background_mask` get the background class, or the unlabelled id if there is none, and confidence 0.

    Args:
        fused: the best two classes of every pixel; overwritten.
        vocabulary: the classes that were decoded.
        settings: `background_threshold` and `margin_exponent`.
    """
    background = background_mask(
        fused.best, fused.second, settings.background_threshold, settings.margin_exponent
    )
    ids = torch.tensor(vocabulary.class_ids, dtype=torch.int32, device=background.device)
    if vocabulary.label_dtype == np.uint8:
        ids = ids.to(torch.uint8)
    fallback = vocabulary.unlabeled_id if vocabulary.background_id is None else vocabulary.background_id
    labels = (
        ids.index_select(0, fused.index.flatten()).view_as(fused.index).masked_fill_(background, fallback)
    )
    confidence = fused.best.masked_fill_(background, 0)
    return labels.cpu().numpy().astype(vocabulary.label_dtype, copy=False), confidence.cpu().numpy()
