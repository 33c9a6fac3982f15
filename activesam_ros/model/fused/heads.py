"""SAM 3's prompt side at less work, with the answers of the plain one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from activesam_ros.model.fused.decoder import DecoderStart, FusedDecoder
from activesam_ros.model.fused.encoder import EncoderStart, FusedEncoder
from activesam_ros.model.fused.masks import FusedMaskHead
from activesam_ros.model.prompt_heads import DecodedPrompt, PromptTokens

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch

    from activesam_ros.model.checkpoint import Checkpoint
    from activesam_ros.model.compiling import Compiler
    from activesam_ros.model.vision_encoder import ImageFeatures

TOKEN_STEP = 8
"""Prompts are padded to multiples of so many tokens, so that few shapes of tensors occur."""

BUCKET_STEP = 8
"""Where functions are compiled, buckets are filled up to multiples of so many prompts."""


@dataclass(frozen=True)
class PreparedImage:
    """What all prompts share of an image at one resolution, worked out once.

    Attributes:
        grid: rows and columns of the coarsest feature map.
        encoder: where the DETR encoder begins.
        class_token: last token of every prompt, [1, 1, D].
        skips: the image's share of the mask head's convolutions, coarse to fine; empty if it was not asked for.
    """

    grid: tuple[int, int]
    encoder: EncoderStart
    class_token: torch.Tensor
    skips: tuple[torch.Tensor, ...]


class FusedPromptHeads:
    """Asks buckets of prompts of an encoded image; the same as `PromptHeads`, but for the order of sums."""

    def __init__(self, checkpoint: Checkpoint, compiler: Compiler | None = None) -> None:
        """Args:
        checkpoint: the model.
        compiler: what makes a faster function of one of tensors, such as `torch.compile`; None: none does.
            Buckets are then filled up to few sizes, since each size is compiled anew.
        """
        self._checkpoint = checkpoint
        self._filled = compiler is not None
        self._scoring = checkpoint.model.dot_product_scoring
        self._encoder = FusedEncoder(checkpoint.model.detr_encoder)
        self._decoder = FusedDecoder(checkpoint.model.detr_decoder)
        self._masks = FusedMaskHead(checkpoint.model.mask_decoder)
        self._starts: dict[tuple[int, int], DecoderStart] = {}
        made = compiler or (lambda function: function)
        self._ask_presence = made(self._presence_logits)
        self._transform = made(self._queries)

    def prepare(self, image: ImageFeatures, masks: bool) -> PreparedImage:
        """What prompts share of an image: a batch of one; `masks`: `decode` will be called."""
        coarse = image.levels[-1]
        with self._checkpoint.precision():
            return PreparedImage(
                tuple(coarse.shape[-2:]),
                self._encoder.start(coarse, image.position),
                image.class_token,
                self._masks.prepare(image.levels) if masks else (),
            )

    def presence(self, image: PreparedImage, prompts: PromptTokens) -> torch.Tensor:
        """Presence probabilities, float32 [N], without masks."""
        count = len(prompts.tokens)
        prompts = self._shaped(image, prompts)
        with self._checkpoint.precision():
            start = self._start(image.grid)
            logits = self._ask_presence(image.encoder, start, image.grid, prompts.tokens, prompts.valid)
        return logits[:count].float().sigmoid()

    def decode(
        self, image: PreparedImage, prompts: PromptTokens, confidence_threshold: float
    ) -> Iterator[DecodedPrompt]:
        """Decodes a bucket and yields its queries in order, as `PromptHeads.decode` does."""
        count = len(prompts.tokens)
        prompts = self._shaped(image, prompts)
        with self._checkpoint.precision():
            start = self._start(image.grid)
            encoded, last, presence, logits = self._transform(
                image.encoder, start, image.grid, prompts.tokens, prompts.valid
            )
        presence = presence.float().sigmoid()
        scores = logits.float().sigmoid() * presence[:, None]
        for query in range(count):
            kept = scores[query] > confidence_threshold
            one = slice(query, query + 1)
            with self._checkpoint.precision():
                pixels = self._masks.pixels(
                    image.skips, encoded[one], image.grid, prompts.tokens[one], prompts.valid[one]
                )
                instances, semantic = self._masks.masks(pixels[0], last[query, kept])
            yield DecodedPrompt(presence[query], scores[query, kept], instances, semantic)

    def _shaped(self, image: PreparedImage, prompts: PromptTokens) -> PromptTokens:
        prompts = prompts.with_class_token(image.class_token).padded(TOKEN_STEP)
        return prompts.filled(BUCKET_STEP) if self._filled else prompts

    def _presence_logits(self, begin, start, grid, tokens, valid) -> torch.Tensor:
        encoded = self._encoder.encode(begin, tokens, valid)
        return self._decoder.presence(start, encoded, begin.position, grid, tokens, valid)

    def _queries(self, begin, start, grid, tokens, valid) -> tuple[torch.Tensor, ...]:
        """The image as each prompt changes it, the object queries, and the logits of presence and of each query."""
        encoded = self._encoder.encode(begin, tokens, valid)
        last, presence = self._decoder.decode(start, encoded, begin.position, grid, tokens, valid)
        return encoded, last, presence, self._scoring(last[None], tokens, valid)[0, :, :, 0]

    def _start(self, grid: tuple[int, int]) -> DecoderStart:
        if grid not in self._starts:
            # The full resolution and that of the preview; what older settings had is let go.
            while len(self._starts) > 1:
                del self._starts[next(iter(self._starts))]
            self._starts[grid] = self._decoder.start(grid)
        return self._starts[grid]
