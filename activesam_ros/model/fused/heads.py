"""The prompt heads of the fused path, and their mask head."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional as F

from activesam_ros.model.fused.attention import attend_to_tokens, project, slices
from activesam_ros.model.fused.detr import DecoderStart, EncoderStart, FusedDecoder, FusedEncoder
from activesam_ros.model.prompt_heads import DecodedPrompts, PromptTokens, corners
from activesam_ros.system.device_copies import HostCopies, upload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from activesam_ros.model.checkpoint import Checkpoint
    from activesam_ros.model.compiling import Compiler
    from activesam_ros.model.vision_encoder import ImageFeatures

TOKEN_STEP = 8
"""Prompts are padded to multiples of this many tokens, so that few tensor shapes occur."""

BUCKET_STEP = 8
"""With compiled functions, buckets are filled up to multiples of this many prompts."""


HELD_BYTES = 2**28
"""Most memory of conditioned image features that wait on a GPU until the host knows which instances are kept."""

PIXEL_BYTES = 2**29
"""Most memory of maps of pixels that are computed together on a GPU, unless one takes more."""

CHANNEL_BYTES = 2**24
"""Most memory on a CPU of the channels of a map of pixels that are convolved and normalised together."""

_KEPT_STARTS = 5
"""Number of grids whose start is kept: the full one, the preview's, and pooled ones for many and for few prompts."""


@dataclass(frozen=True)
class PreparedImage:
    """What all prompts of an image share at one resolution.

    Attributes:
        grid: rows and columns of the coarsest feature map.
        encoder: the shared start of the DETR encoder.
        class_token: last token of every prompt, [1, 1, D].
        skips: the image's part of the mask head's convolutions, coarse to fine; empty without masks.
    """

    grid: tuple[int, int]
    encoder: EncoderStart
    class_token: torch.Tensor
    skips: tuple[torch.Tensor, ...]


@dataclass(frozen=True)
class _Asked:
    """A bucket of N prompts up to its Q object queries.

    Attributes:
        prompts: with the class token, padded.
        encoded: image features conditioned on each prompt, [N, L, D].
        queries: object queries after the last layer, [N, Q, D].
        before: their boxes of the last layer but one, [N, Q, 4].
        presence: probability, float32 [N].
        scores: presence × object score, float32 [N, Q].
    """

    prompts: PromptTokens
    encoded: torch.Tensor
    queries: torch.Tensor
    before: torch.Tensor
    presence: torch.Tensor
    scores: torch.Tensor


class FusedPromptHeads:
    """Run buckets of prompts on an encoded image; equal to `PromptHeads` but for the order of sums."""

    def __init__(self, checkpoint: Checkpoint, compiler: Compiler | None = None) -> None:
        """Wrap the heads of a model.

        Args:
            checkpoint: the model.
            compiler: makes faster functions of tensors, see `torch_compiler`; None: none does. With one, buckets are
                filled up to few sizes, since each size is compiled anew.
        """
        self._checkpoint = checkpoint
        self._filled = compiler is not None
        self._scoring = checkpoint.model.dot_product_scoring
        self._encoder = FusedEncoder(checkpoint.model.detr_encoder)
        self._decoder = FusedDecoder(checkpoint.model.detr_decoder)
        self._mask_head = FusedMaskHead(checkpoint.model.mask_decoder)
        self._starts: dict[tuple[int, int], DecoderStart] = {}
        made: Callable[[Any], Any] = compiler or (lambda function: function)
        self._presence = made(self._presence_logits)
        self._transform = made(self._object_queries)

    def prepare(self, image: ImageFeatures, masks: bool) -> PreparedImage:
        """Compute what the prompts of an image (a batch of one) share; `masks`: for `decode` too."""
        coarse = image.levels[-1]
        with self._checkpoint.precision():
            return PreparedImage(
                tuple(coarse.shape[-2:]),
                self._encoder.start(coarse, image.position),
                image.class_token,
                self._mask_head.prepare(image.levels) if masks else (),
            )

    def cells(self, image: PreparedImage) -> int:
        """Return the number of cells of the coarsest feature map."""
        return image.grid[0] * image.grid[1]

    def presence(self, image: PreparedImage, prompts: PromptTokens) -> torch.Tensor:
        """Score presence probabilities, float32 [N], without masks."""
        count = len(prompts.tokens)
        prompts = self._shaped(image, prompts)
        with self._checkpoint.precision():
            start = self._start(image.grid)
            logits = self._presence(image.encoder, start, image.grid, prompts.tokens, prompts.valid)
        return logits[:count].float().sigmoid()

    def decode(
        self,
        image: PreparedImage,
        buckets: Iterable[PromptTokens],
        confidence_threshold: float,
        boxes: bool = False,
    ) -> Iterator[DecodedPrompts]:
        """Decode buckets and yield their prompts in order, as many at a time as their maps of pixels fit into memory.

        On a GPU the host learns of many buckets at once which instances are kept.
        """
        for asked in self._together(image, buckets):
            yield from self._masks(image, asked, confidence_threshold, boxes)

    def _together(self, image: PreparedImage, buckets: Iterable[PromptTokens]) -> Iterator[list[_Asked]]:
        """Run the buckets up to their object queries: on a CPU one by one, on a GPU as many as memory may hold."""
        asked: list[_Asked] = []
        held = 0
        for prompts in buckets:
            asked.append(self._ask(image, prompts))
            held += asked[-1].encoded.nbytes
            if asked[-1].encoded.device.type == "cpu" or held > HELD_BYTES:
                yield asked
                asked, held = [], 0
        if asked:
            yield asked

    def _ask(self, image: PreparedImage, prompts: PromptTokens) -> _Asked:
        count = len(prompts.tokens)
        prompts = self._shaped(image, prompts)
        with self._checkpoint.precision():
            start = self._start(image.grid)
            encoded, last, presence, logits, before = self._transform(
                image.encoder, start, image.grid, prompts.tokens, prompts.valid
            )
        presence = presence.float().sigmoid()
        scores = logits.float().sigmoid() * presence[:, None]
        return _Asked(
            PromptTokens(prompts.tokens[:count], prompts.valid[:count]),
            *(part[:count] for part in (encoded, last, before, presence, scores)),
        )

    def _masks(
        self, image: PreparedImage, asked: list[_Asked], confidence_threshold: float, boxes: bool
    ) -> Iterator[DecodedPrompts]:
        """Compute the masks of the kept instances of some buckets."""
        presence = _joined([one.presence for one in asked])
        scores = _joined([one.scores for one in asked])
        kept = (scores > confidence_threshold).to(presence.dtype)
        copies = HostCopies(torch.cat([presence[:, None], kept], dim=1))
        groups = [(one, part) for one in asked for part in self._groups(image, one)]
        # The device has the first of these to do while the host waits.
        pixels = self._pixels(image, *groups[0])
        (known,) = copies.wait()
        prompt, query = known[:, 1:].nonzero()
        counts = np.bincount(prompt, minlength=len(known))
        # Where the mask of each kept instance, and of each prompt's semantic head, takes its weights from.
        ends = np.cumsum(counts)
        rows = np.insert(np.arange(len(prompt)), ends, len(prompt))
        chosen = upload(np.concatenate([prompt * scores.shape[1] + query, rows]), scores.device)
        chosen, rows = chosen[: len(prompt)], chosen[len(prompt) :]
        queries = _joined([one.queries for one in asked]).flatten(0, 1).index_select(0, chosen)
        with self._checkpoint.precision():
            mask_weights, constants = (
                part.index_select(0, rows) for part in self._mask_head.weights(queries)
            )
            places = None
            if boxes:
                before = _joined([one.before for one in asked]).flatten(0, 1).index_select(0, chosen)
                places = corners(self._decoder.boxes(before, queries))
        weights = scores.flatten().index_select(0, chosen)
        weights = torch.cat([weights, weights.new_ones(1)]).index_select(0, rows)
        done = 0
        for group in groups:
            if done:
                pixels = self._pixels(image, *group)
            some = slice(done, done + len(pixels))
            first, last = (int(counts[:end].sum()) for end in (some.start, some.stop))
            masks = slice(first + some.start, last + some.stop)
            sizes = (counts[some] + 1).tolist()
            logits = self._mask_head.masks(pixels, mask_weights[masks], constants[masks], sizes)
            yield DecodedPrompts(
                presence[some],
                tuple(map(float, known[some, 0])),
                tuple(map(int, counts[some])),
                weights[masks],
                logits,
                None if places is None else places[first:last],
            )
            done = some.stop
            del pixels, logits

    def _groups(self, image: PreparedImage, asked: _Asked) -> list[slice]:
        """Cut a bucket into parts whose maps of pixels are computed together.

        On a CPU each part is one prompt: several are hardly faster there, and rounded otherwise.
        """
        finest = image.skips[-1] if image.skips else asked.encoded
        each = finest[0].numel() * asked.encoded.element_size()
        return slices(len(asked.presence), each, 1 if finest.device.type == "cpu" else PIXEL_BYTES)

    def _pixels(self, image: PreparedImage, asked: _Asked, part: slice) -> torch.Tensor:
        with self._checkpoint.precision():
            return self._mask_head.pixels(
                image.skips,
                asked.encoded[part],
                image.grid,
                asked.prompts.tokens[part],
                asked.prompts.valid[part],
            )

    def _shaped(self, image: PreparedImage, prompts: PromptTokens) -> PromptTokens:
        prompts = prompts.with_class_token(image.class_token).padded(TOKEN_STEP)
        return prompts.filled(BUCKET_STEP) if self._filled else prompts

    def _presence_logits(
        self,
        begin: EncoderStart,
        start: DecoderStart,
        grid: tuple[int, int],
        tokens: torch.Tensor,
        valid: torch.Tensor,
    ) -> torch.Tensor:
        encoded = self._encoder.encode(begin, tokens, valid)
        return self._decoder.presence(start, encoded, begin.position, grid, tokens, valid)

    def _object_queries(
        self,
        begin: EncoderStart,
        start: DecoderStart,
        grid: tuple[int, int],
        tokens: torch.Tensor,
        valid: torch.Tensor,
    ) -> tuple[torch.Tensor, ...]:
        """Compute conditioned features, object queries, presence and object logits of each prompt, and boxes."""
        encoded = self._encoder.encode(begin, tokens, valid)
        last, presence, before = self._decoder.decode(start, encoded, begin.position, grid, tokens, valid)
        return encoded, last, presence, self._scoring(last[None], tokens, valid)[0, :, :, 0], before

    def _start(self, grid: tuple[int, int]) -> DecoderStart:
        if grid not in self._starts:
            # Drop those of older settings.
            while len(self._starts) >= _KEPT_STARTS:
                del self._starts[next(iter(self._starts))]
            self._starts[grid] = self._decoder.start(grid)
        return self._starts[grid]


class FusedMaskHead:
    """transformers' `Sam3MaskDecoder`, with the image's part of its convolutions computed once per image.

    A convolution of (upsampled features + skip) is the sum of two convolutions, and that of the skip does not depend
    on the prompt. A 3×3 convolution after nearest-neighbour doubling adds the same cell up to four times: it equals a
    transposed 4×4 convolution of the small map with the sums of those weights, at 4/9 of the work.
    """

    def __init__(self, decoder: Any) -> None:
        self._decoder = decoder
        self._pixels = decoder.pixel_decoder
        # Summed before they are rounded, where the weights are in half precision.
        self._folded = [
            folded(conv.weight.float()).to(conv.weight.dtype) for conv in self._pixels.conv_layers
        ]

    def prepare(self, levels: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """Compute the image's part of the convolutions, coarse to fine.

        Args:
            levels: feature maps [1, D, Hᵢ, Wᵢ], fine to coarse, each twice the size of the next.

        Raises:
            ValueError: a level is not twice the size of the next.
        """
        for fine, coarse in pairwise(levels):
            if any(a != 2 * b for a, b in zip(fine.shape[-2:], coarse.shape[-2:], strict=True)):
                raise ValueError(
                    f"feature maps of {tuple(fine.shape)} and {tuple(coarse.shape)}; expected doubles"
                )
        skips = list(reversed(levels[:-1]))
        return tuple(conv(skip) for conv, skip in zip(self._pixels.conv_layers, skips, strict=False))

    def pixels(
        self,
        skips: Sequence[torch.Tensor],
        encoded: torch.Tensor,
        grid: tuple[int, int],
        tokens: torch.Tensor,
        valid: torch.Tensor,
    ) -> torch.Tensor:
        """Embed the pixels for each prompt, [N, D, H₀, W₀].

        Args:
            skips: from `prepare`.
            encoded: image features conditioned on each prompt, [N, L, D].
            grid: rows and columns of the L cells.
            tokens: of the prompts, [N, T, D].
            valid: bool [N, T], False at padding.
        """
        attention = self._decoder.prompt_cross_attn
        query = project(attention, attention.q_proj, self._decoder.prompt_cross_attn_norm(encoded))
        hidden = encoded + attend_to_tokens(attention, query, tokens, valid)
        hidden = hidden.transpose(1, 2).unflatten(2, grid)
        for weight, norm, skip in zip(self._folded, self._pixels.norms, skips, strict=False):
            hidden = _doubled(hidden, weight, norm, skip)
        return hidden

    def weights(self, queries: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Compute the weights and constants of masks from maps of pixels: [K + 1, D] and [K + 1].

        The 1×1 convolution before the product with the queries moves to the queries, of which there are fewer. The
        last mask is that of the semantic head.

        Args:
            queries: object queries that get a mask, [K, D].
        """
        instance, semantic = self._decoder.instance_projection, self._decoder.semantic_projection
        asked = self._decoder.mask_embedder(queries)
        weights = torch.cat([asked @ instance.weight.flatten(1).to(asked.dtype), semantic.weight.flatten(1)])
        constants = torch.cat([asked @ instance.bias.to(asked.dtype), semantic.bias])
        return weights, constants

    def masks(
        self, pixels: torch.Tensor, weights: torch.Tensor, constants: torch.Tensor, counts: Sequence[int]
    ) -> torch.Tensor:
        """Compute mask logits, [R, H₀, W₀], in the precision of the weights.

        Args:
            pixels: pixel embeddings of N prompts, [N, D, H₀, W₀].
            weights: of the R masks of all prompts, prompt by prompt, [R, D].
            constants: of those, [R].
            counts: number of masks of each prompt.
        """
        maps = pixels.flatten(2).to(weights.dtype)
        logits = weights.new_empty(len(weights), maps.shape[2])
        ends = list(accumulate(counts))
        for number, (begin, end) in enumerate(pairwise([0, *ends])):
            torch.addmm(constants[begin:end, None], weights[begin:end], maps[number], out=logits[begin:end])
        return logits.unflatten(1, pixels.shape[2:])


def _doubled(hidden: torch.Tensor, weight: torch.Tensor, norm: Any, skip: torch.Tensor) -> torch.Tensor:
    """Run one step of the mask head's convolutions, [N, O, 2H, 2W].

    On a CPU a large map is made a few groups of channels at a time, since groups are normalised apart: copies of the
    whole map, of which convolution and normalisation make three, are the most memory of an image.

    Args:
        hidden: [N, I, H, W].
        weight: as `folded` gives it.
        norm: the `nn.GroupNorm` after it.
        skip: the image's part, [1, O, 2H, 2W].
    """
    groups = norm.num_groups
    each = len(hidden) * skip[0].numel() // groups * hidden.element_size()
    parts = slices(groups, each, CHANNEL_BYTES) if hidden.device.type == "cpu" else [slice(0, groups)]
    if len(parts) == 1:
        doubled = F.conv_transpose2d(hidden, weight, stride=2, padding=1)
        return F.relu(norm(doubled.add_(skip)), inplace=True)
    wide = weight.shape[1] // groups
    made = None
    for part in parts:
        channels = slice(part.start * wide, part.stop * wide)
        doubled = F.conv_transpose2d(hidden, weight[:, channels].contiguous(), stride=2, padding=1)
        doubled.add_(skip[:, channels])
        scaled = F.group_norm(
            doubled, part.stop - part.start, norm.weight[channels], norm.bias[channels], norm.eps
        )
        if made is None:
            made = scaled.new_empty(len(hidden), *skip.shape[1:])
        made[:, channels] = scaled.relu_()
    assert made is not None
    return made


def _joined(parts: Sequence[torch.Tensor]) -> torch.Tensor:
    """Join parts; a single one is not copied."""
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))


def folded(weight: torch.Tensor) -> torch.Tensor:
    """Fold a 3×3 convolution [O, I, 3, 3] of a doubled map into a transposed one [I, O, 4, 4] of the small map.

    With stride 2 and padding 1, row k of the 4 adds the cell of row i to output row 2i + k − 1. The 3×3 convolution
    adds it there through its rows r with (2i + k − 1 + r − 1) div 2 = i.
    """
    rows = _merged(weight, 2)
    return _merged(rows, 3).transpose(0, 1).contiguous()


def _merged(weight: torch.Tensor, dim: int) -> torch.Tensor:
    first, middle, last = weight.unbind(dim)
    return torch.stack([last, middle + last, first + middle, first], dim)
