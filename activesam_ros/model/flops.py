"""Floating-point operations of SAM 3's matrix products and convolutions, two for each multiply-add.

Counted with torch's `FlopCounterMode` while a model on the meta device runs: no weights and little time are needed.
"""

from __future__ import annotations

import copy
import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from activesam_ros.model.fused.class_token import FusedClassToken
from activesam_ros.model.fused.cpu import COUNTED
from activesam_ros.model.fused.detr import EncoderStart, FusedDecoder, FusedEncoder
from activesam_ros.model.fused.heads import TOKEN_STEP, FusedMaskHead
from activesam_ros.model.fused.vision import FusedBackbone
from activesam_ros.model.vision_encoder import at_resolution

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class Workload:
    """How much one image asks of the model.

    A prompt's tokens are its text and context tokens, padding included, and the image's class token.

    Attributes:
        full_resolution, preview_resolution: side of the square images, pixels.
        previewed: number of prompts scored in the preview; 0: no preview.
        preview_tokens: tokens of each of those.
        decoded: (tokens, kept instance masks) of each decoded prompt.
        encodings: number of image encodings at full resolution.
        presence_only: number of prompts scored for presence at full resolution, `preview_tokens` long.
        pooled: side in cells of each pooled map, and number of prompts scored on it, likewise.
        instances: whether the instances are asked for, whose boxes the label path does without.
    """

    full_resolution: int
    preview_resolution: int
    previewed: int
    preview_tokens: int
    decoded: tuple[tuple[int, int], ...]
    encodings: int = 1
    presence_only: int = 0
    pooled: tuple[tuple[int, int], ...] = ()
    instances: bool = False


@dataclass(frozen=True)
class FrameFlops:
    """Floating-point operations of one image, by stage.

    Attributes:
        preview: the preview's image encoding, and every presence-only prompt at any resolution.
        encode: image encodings at full resolution with what all prompts share.
        decode: decoded prompts: DETR encoder and decoder, scores and mask head.
    """

    preview: int
    encode: int
    decode: int

    @property
    def total(self) -> int:
        """All stages."""
        return self.preview + self.encode + self.decode


def _remembered(count: Callable[..., int]) -> Callable[..., int]:
    """Count once for each set of arguments."""

    @functools.wraps(count)
    def known(self: ModelFlops, *arguments: int) -> int:
        key = (count.__name__, *arguments)
        if key not in self.known:
            self.known[key] = count(self, *arguments)
        return self.known[key]

    return known


def _linear(count: Callable[..., int]) -> Callable[..., int]:
    """Count with one and with two tokens (the last argument), which gives the line for any number of them."""
    once = _remembered(count)

    @functools.wraps(count)
    def line(self: ModelFlops, *arguments: int) -> int:
        *others, tokens = arguments
        padded = -(-tokens // self.token_step) * self.token_step
        one = once(self, *others, 1)
        return one + (padded - 1) * (once(self, *others, 2) - one)

    return line


class ModelFlops:
    """Count the reference path, where every prompt runs every part.

    The cost of a prompt is linear in its tokens and in its kept masks, so a few counts, which are remembered, serve
    for any image.

    Attributes:
        token_step: prompts are padded to multiples of this many tokens.
        known: counts by part and arguments.
    """

    token_step = 1

    def __init__(self, config: Any) -> None:
        """Make a model without memory from a `Sam3Config`."""
        # transformers takes seconds to import, and only counting needs it here.
        from transformers.models.sam3.modeling_sam3 import Sam3GeometryEncoder

        from activesam_ros.model.parts import Sam3WithoutText

        self.known: dict[tuple[object, ...], int] = {}
        self._config = copy.deepcopy(config)
        # Fused attention is one operation, which the counter does not know on every device.
        self._config._attn_implementation = "eager"
        with torch.device("meta"):
            self._model = Sam3WithoutText(self._config).eval().requires_grad_(False)
        # It reads the values of its mask, so it needs memory; it is small.
        with torch.random.fork_rng(devices=[]):
            self._geometry = Sam3GeometryEncoder(self._config.geometry_encoder_config).eval()

    def frame(self, workload: Workload) -> FrameFlops:
        """Count the operations of one image."""
        full, small = workload.full_resolution, workload.preview_resolution
        preview = workload.presence_only and workload.presence_only * self.presence(
            full, workload.preview_tokens
        )
        if workload.previewed:
            each = self.presence(small, workload.preview_tokens)
            preview += self.image(small, masks=False) + workload.previewed * each
        patch = self._config.vision_config.backbone_config.patch_size
        for side, count in workload.pooled:
            # Of the full resolution's own map, the shared part is counted with the image.
            shared = 0 if side * patch == full else self.pooled(side * patch)
            preview += shared + count * self.presence(side * patch, workload.preview_tokens)
        return FrameFlops(
            preview=preview,
            encode=workload.encodings * self.image(full, masks=True),
            decode=sum(
                self.decoded(full, tokens, kept) + (kept * self.box() if workload.instances else 0)
                for tokens, kept in workload.decoded
            ),
        )

    def image(self, resolution: int, masks: bool) -> int:
        """Count what runs once per image; `masks`: prompts are decoded, not just scored for presence."""
        return self.vision(resolution) + self.class_token(resolution)

    def pooled(self, resolution: int) -> int:
        """Count what runs once per pooled map, which is that of an image of this resolution."""
        return 0

    def presence(self, resolution: int, tokens: int) -> int:
        """Count what each presence-only prompt adds."""
        return self.encoder(resolution, tokens) + self.decoder(resolution, tokens)

    def decoded(self, resolution: int, tokens: int, kept: int) -> int:
        """Count what each decoded prompt with `kept` instance masks adds."""
        return (
            self.encoder(resolution, tokens)
            + self.decoder(resolution, tokens)
            + self.scoring(tokens)
            + self.masks(resolution, tokens, kept)
        )

    def masks(self, resolution: int, tokens: int, kept: int) -> int:
        """Count the mask head for one prompt: `kept` instance masks and the semantic mask."""
        each = self.mask_head(resolution, 2, 1) - self.mask_head(resolution, 1, 1)
        return self.mask_head(resolution, 1, tokens) + (kept - 1) * each

    @_remembered
    def box(self) -> int:
        """Count the box head for one instance."""
        return counted(lambda: self._model.detr_decoder.box_head(self._tokens(1)))

    @_remembered
    def vision(self, resolution: int) -> int:
        """Count the vision encoder with its neck for one image."""
        encoder = at_resolution(self._model.vision_encoder, resolution)
        return counted(lambda: encoder(self._pixels(resolution)))

    @_remembered
    def class_token(self, resolution: int) -> int:
        """Count the geometry encoder, which makes the class token of an image."""
        coarse = torch.zeros(self._levels(resolution)[-1].shape)
        return counted(
            lambda: self._geometry(
                box_embeddings=torch.zeros(1, 0, 4),
                box_mask=torch.zeros(1, 0, dtype=torch.bool),
                box_labels=torch.zeros(1, 0, dtype=torch.long),
                img_feats=(coarse,),
                img_pos_embeds=(coarse,),
            )
        )

    @_linear
    def encoder(self, resolution: int, tokens: int) -> int:
        """Count the DETR encoder for one prompt."""
        coarse = self._levels(resolution)[-1]
        return counted(
            lambda: self._model.detr_encoder(
                vision_features=[coarse],
                text_features=self._tokens(tokens),
                vision_pos_embeds=[torch.empty_like(coarse)],
            )
        )

    @_linear
    def decoder(self, resolution: int, tokens: int) -> int:
        """Count the DETR decoder for one prompt: presence, instances and boxes."""
        coarse = self._levels(resolution)[-1]
        flat = coarse.flatten(2).transpose(1, 2)
        return counted(
            lambda: self._model.detr_decoder(
                vision_features=flat,
                text_features=self._tokens(tokens),
                vision_pos_encoding=torch.empty_like(flat),
                # Its values are read.
                spatial_shapes=torch.tensor([coarse.shape[-2:]]),
            )
        )

    @_linear
    def scoring(self, tokens: int) -> int:
        """Count the scores of the instances of one prompt."""
        queries = self._tokens(self._config.detr_decoder_config.num_queries)
        text = self._tokens(tokens)
        valid = torch.ones(1, tokens, dtype=torch.bool, device="meta")
        return counted(lambda: self._model.dot_product_scoring(queries[None], text, valid))

    @_linear
    def mask_head(self, resolution: int, kept: int, tokens: int) -> int:
        """Count the mask head for one prompt, at least one of whose instances is kept; see `masks`."""
        levels = self._levels(resolution)
        return counted(
            lambda: self._model.mask_decoder(
                decoder_queries=self._tokens(kept),
                backbone_features=levels,
                encoder_hidden_states=levels[-1].flatten(2).transpose(1, 2),
                prompt_features=self._tokens(tokens),
            )
        )

    def _levels(self, resolution: int) -> list[torch.Tensor]:
        """Make the feature maps that the heads take, fine to coarse."""
        vision = self._config.vision_config
        rows, columns = self._grid(resolution)
        # The last map of the neck belongs to the tracker.
        return [
            _meta(1, vision.fpn_hidden_size, int(rows * scale), int(columns * scale))
            for scale in vision.scale_factors[:-1]
        ]

    def _grid(self, resolution: int) -> tuple[int, int]:
        """Return rows and columns of patches."""
        side = resolution // self._config.vision_config.backbone_config.patch_size
        return side, side

    def _pixels(self, resolution: int) -> torch.Tensor:
        return _meta(1, 3, resolution, resolution)

    def _tokens(self, count: int) -> torch.Tensor:
        return _meta(1, count, self._config.detr_encoder_config.hidden_size)


class FusedModelFlops(ModelFlops):
    """Count the fused path: `FusedPromptHeads`, with their padding, and a `VisionEncoder` of only the needed levels.

    What depends on the resolution alone is computed once per process and not counted.
    """

    token_step = TOKEN_STEP

    def __init__(self, config: Any) -> None:
        """Make a model without memory from a `Sam3Config`."""
        super().__init__(config)
        self._encoder = FusedEncoder(self._model.detr_encoder)
        self._decoder = FusedDecoder(self._model.detr_decoder)
        self._mask_head = FusedMaskHead(self._model.mask_decoder)
        self._fused_class_token = FusedClassToken(self._model.geometry_encoder)

    def image(self, resolution: int, masks: bool) -> int:
        """Count what runs once per image."""
        own = self.vision(resolution) if masks else self.coarse_vision(resolution)
        own += self.class_token(resolution) + self.shared_encoder(resolution)
        return own + (self.shared_masks(resolution) if masks else 0)

    @_remembered
    def class_token(self, resolution: int) -> int:
        """Count the class token of an image."""
        coarse = self._levels(resolution)[-1]
        return counted(lambda: self._fused_class_token(coarse, coarse))

    def pooled(self, resolution: int) -> int:
        """Count what runs once per pooled map, which is that of an image of this resolution."""
        return self.shared_encoder(resolution)

    def presence(self, resolution: int, tokens: int) -> int:
        """Count what each presence-only prompt adds."""
        return self.encoder(resolution, tokens) + self.presence_decoder(resolution, tokens)

    @_remembered
    def vision(self, resolution: int) -> int:
        """Count the vision encoder with the maps of its neck that the mask head takes."""
        return self._count_vision(resolution, slice(None))

    @_remembered
    def coarse_vision(self, resolution: int) -> int:
        """Count the vision encoder with only the coarsest map of its neck."""
        return self._count_vision(resolution, slice(-1, None))

    @_remembered
    def shared_encoder(self, resolution: int) -> int:
        """Count the part of the DETR encoder's first layer that all prompts of an image share."""
        return counted(lambda: self._start(resolution))

    @_remembered
    def shared_masks(self, resolution: int) -> int:
        """Count the part of the mask head's convolutions that all prompts of an image share."""
        return counted(lambda: self._mask_head.prepare(self._levels(resolution)))

    @_linear
    def encoder(self, resolution: int, tokens: int) -> int:
        """Count the DETR encoder without its shared part, for one prompt."""
        start = self._start(resolution)
        return counted(lambda: self._encoder.encode(start, *self._prompt(tokens)))

    @_linear
    def decoder(self, resolution: int, tokens: int) -> int:
        """Count the DETR decoder for one decoded prompt."""
        return self._count_decoder(self._decoder.decode, resolution, tokens)

    @_linear
    def presence_decoder(self, resolution: int, tokens: int) -> int:
        """Count the DETR decoder for one presence-only prompt."""
        return self._count_decoder(self._decoder.presence, resolution, tokens)

    @_linear
    def mask_head(self, resolution: int, kept: int, tokens: int) -> int:
        """Count the mask head without its shared part, for one prompt."""
        grid, encoded = self._grid(resolution), self._start(resolution).hidden
        with torch.inference_mode():
            skips = self._mask_head.prepare(self._levels(resolution))

        def decode() -> None:
            pixels = self._mask_head.pixels(skips, encoded, grid, *self._prompt(tokens))
            weights, constants = self._mask_head.weights(self._tokens(kept)[0])
            self._mask_head.masks(pixels, weights, constants, [kept + 1])

        return counted(decode)

    def _count_vision(self, resolution: int, levels: slice) -> int:
        encoder = at_resolution(self._model.vision_encoder, resolution)
        backbone = FusedBackbone(encoder.backbone)
        # The last map of the neck belongs to the tracker.
        layers = list(encoder.neck.fpn_layers)[:-1][levels]

        def encode() -> None:
            tokens = backbone(self._pixels(resolution))
            places = tokens.transpose(1, 2).unflatten(2, self._grid(resolution))
            for layer in layers:
                layer(places)

        return counted(encode)

    def _count_decoder(self, run: Callable[..., object], resolution: int, tokens: int) -> int:
        grid, start = self._grid(resolution), self._start(resolution)
        with torch.inference_mode():
            begin = self._decoder.start(grid)
        return counted(lambda: run(begin, start.hidden, start.position, grid, *self._prompt(tokens)))

    def _start(self, resolution: int) -> EncoderStart:
        coarse = self._levels(resolution)[-1]
        with torch.inference_mode():
            return self._encoder.start(coarse, torch.empty_like(coarse))

    def _prompt(self, tokens: int) -> tuple[torch.Tensor, torch.Tensor]:
        return self._tokens(tokens), torch.ones(1, tokens, dtype=torch.bool, device="meta")


def counted(run: Callable[[], object]) -> int:
    """Count the floating-point operations of everything that runs within `run`."""
    counter = FlopCounterMode(display=False, custom_mapping=COUNTED)
    # The counter does not know fused attention on every device.
    with torch.inference_mode(), sdpa_kernel(SDPBackend.MATH), counter:
        run()
    return counter.get_total_flops()


def _meta(*shape: int) -> torch.Tensor:
    return torch.empty(*shape, device="meta")
