"""Floating-point operations of SAM 3's matrix products and convolutions, two for each multiply-add.

Counted with torch's `FlopCounterMode` while a model on the meta device runs: no weights and little time are needed.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from activesam_ros.model.fused.detr import EncoderStart, FusedDecoder, FusedEncoder
from activesam_ros.model.fused.heads import TOKEN_STEP, FusedMaskHead
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
    """

    full_resolution: int
    preview_resolution: int
    previewed: int
    preview_tokens: int
    decoded: tuple[tuple[int, int], ...]
    encodings: int = 1
    presence_only: int = 0


@dataclass(frozen=True)
class FrameFlops:
    """Floating-point operations of one image, by stage.

    Attributes:
        preview: the preview's image encoding, and every presence-only prompt at either resolution.
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


class ModelFlops:
    """Count the reference path, where every prompt runs every part.

    The cost of a prompt is linear in its tokens and in its kept masks: a few counts, which are cached, give the line.
    """

    def __init__(self, config: Any) -> None:
        # transformers takes seconds to import, and only counting needs it here.
        from transformers.models.sam3.modeling_sam3 import Sam3GeometryEncoder

        from activesam_ros.model.parts import Sam3WithoutText

        self._config = copy.deepcopy(config)
        # Fused attention is one operation, which the counter does not know on every device.
        self._config._attn_implementation = "eager"
        with torch.device("meta"):
            self._model = Sam3WithoutText(self._config).eval()
        # It looks at the values of its mask, so it needs memory; it is small.
        with torch.random.fork_rng(devices=[]):
            self._geometry = Sam3GeometryEncoder(self._config.geometry_encoder_config).eval()
        self._known: dict[tuple[object, ...], int] = {}

    def vision(self, resolution: int) -> int:
        """Count the vision encoder with its neck for one image."""
        return self._remembered(("vision", resolution), lambda: self._count_vision(resolution))

    def class_token(self, resolution: int) -> int:
        """Count the geometry encoder, which makes the class token of an image."""
        return self._remembered(("class token", resolution), lambda: self._count_class_token(resolution))

    def encoder(self, resolution: int, tokens: int) -> int:
        """Count the DETR encoder for one prompt."""
        return self._line(("encoder", resolution), tokens, lambda n: self._count_encoder(resolution, n))

    def decoder(self, resolution: int, tokens: int) -> int:
        """Count the DETR decoder for one prompt: presence, instances and boxes."""
        return self._line(("decoder", resolution), tokens, lambda n: self._count_decoder(resolution, n))

    def scoring(self, tokens: int) -> int:
        """Count the scores of the instances of one prompt."""
        return self._line(("scoring",), tokens, self._count_scoring)

    def masks(self, resolution: int, tokens: int, kept: int) -> int:
        """Count the mask head for one prompt: `kept` instance masks and the semantic mask."""
        part = ("masks", resolution)
        first = self._line(part, tokens, lambda n: self._count_masks(resolution, n, 1))
        each = self._remembered((*part, "each"), lambda: self._count_masks(resolution, 1, 2)) - self._line(
            part, 1, lambda n: self._count_masks(resolution, n, 1)
        )
        return first + (kept - 1) * each

    def image(self, resolution: int, masks: bool) -> int:
        """Count what runs once per image; `masks`: prompts are decoded, not just scored for presence."""
        return self.vision(resolution) + self.class_token(resolution)

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

    def frame(self, asked: Workload) -> FrameFlops:
        """Count the operations of one image."""
        full, small = asked.full_resolution, asked.preview_resolution
        preview = asked.presence_only and asked.presence_only * self.presence(full, asked.preview_tokens)
        if asked.previewed:
            each = self.presence(small, asked.preview_tokens)
            preview += self.image(small, masks=False) + asked.previewed * each
        return FrameFlops(
            preview=preview,
            encode=asked.encodings * self.image(full, masks=True),
            decode=sum(self.decoded(full, tokens, kept) for tokens, kept in asked.decoded),
        )

    def _remembered(self, key: tuple[object, ...], count: Callable[[], int]) -> int:
        if key not in self._known:
            self._known[key] = count()
        return self._known[key]

    def _line(self, part: tuple[object, ...], tokens: int, count: Callable[[int], int]) -> int:
        one = self._remembered((*part, 1), lambda: count(1))
        two = self._remembered((*part, 2), lambda: count(2))
        return one + (tokens - 1) * (two - one)

    def _count_vision(self, resolution: int) -> int:
        encoder = at_resolution(self._model.vision_encoder, resolution)
        return counted(lambda: encoder(self._pixels(resolution)))

    def _count_class_token(self, resolution: int) -> int:
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

    def _count_encoder(self, resolution: int, tokens: int) -> int:
        coarse = self._levels(resolution)[-1]
        return counted(
            lambda: self._model.detr_encoder(
                vision_features=[coarse],
                text_features=self._tokens(tokens),
                vision_pos_embeds=[torch.empty_like(coarse)],
            )
        )

    def _count_decoder(self, resolution: int, tokens: int) -> int:
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

    def _count_scoring(self, tokens: int) -> int:
        queries = self._tokens(self._config.detr_decoder_config.num_queries)
        text = self._tokens(tokens)
        valid = torch.ones(1, tokens, dtype=torch.bool, device="meta")
        return counted(lambda: self._model.dot_product_scoring(queries[None], text, valid))

    def _count_masks(self, resolution: int, tokens: int, kept: int) -> int:
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

    @staticmethod
    def _pixels(resolution: int) -> torch.Tensor:
        return _meta(1, 3, resolution, resolution)

    def _tokens(self, count: int) -> torch.Tensor:
        return _meta(1, count, self._config.detr_encoder_config.hidden_size)


class FusedModelFlops(ModelFlops):
    """Count the fused path: `FusedPromptHeads`, with their padding, and a `VisionEncoder` of only the needed levels.

    What depends on the resolution alone is computed once per process and not counted.
    """

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self._encoder = FusedEncoder(self._model.detr_encoder)
        self._decoder = FusedDecoder(self._model.detr_decoder)
        self._masks = FusedMaskHead(self._model.mask_decoder)

    def image(self, resolution: int, masks: bool) -> int:
        """Count what runs once per image."""
        own = self.vision(resolution) if masks else self.coarse_vision(resolution)
        own += self.class_token(resolution) + self.shared_encoder(resolution)
        return own + (self.shared_masks(resolution) if masks else 0)

    def presence(self, resolution: int, tokens: int) -> int:
        """Count what each presence-only prompt adds."""
        return self.encoder(resolution, tokens) + self.presence_decoder(resolution, tokens)

    def coarse_vision(self, resolution: int) -> int:
        """Count the vision encoder with only the coarsest map of its neck."""
        return self._remembered(
            ("coarse vision", resolution), lambda: self._count_vision(resolution, coarse_only=True)
        )

    def shared_encoder(self, resolution: int) -> int:
        """Count the part of the DETR encoder's first layer that all prompts of an image share."""
        return self._remembered(
            ("shared encoder", resolution),
            lambda: counted(lambda: self._encoder.start(*self._coarse(resolution))),
        )

    def shared_masks(self, resolution: int) -> int:
        """Count the part of the mask head's convolutions that all prompts of an image share."""
        return self._remembered(
            ("shared masks", resolution),
            lambda: counted(lambda: self._masks.prepare(self._levels(resolution))),
        )

    def encoder(self, resolution: int, tokens: int) -> int:
        """Count the DETR encoder without its shared part, for one prompt."""
        return super().encoder(resolution, _padded(tokens))

    def decoder(self, resolution: int, tokens: int) -> int:
        """Count the DETR decoder for one decoded prompt."""
        return super().decoder(resolution, _padded(tokens))

    def presence_decoder(self, resolution: int, tokens: int) -> int:
        """Count the DETR decoder for one presence-only prompt."""
        return self._line(
            ("presence decoder", resolution),
            _padded(tokens),
            lambda n: self._count_decoder(resolution, n, presence_only=True),
        )

    def scoring(self, tokens: int) -> int:
        """Count the scores of the instances of one prompt."""
        return super().scoring(_padded(tokens))

    def masks(self, resolution: int, tokens: int, kept: int) -> int:
        """Count the mask head without its shared part, for one prompt."""
        return super().masks(resolution, _padded(tokens), kept)

    def _count_vision(self, resolution: int, coarse_only: bool = False) -> int:
        encoder = at_resolution(self._model.vision_encoder, resolution)
        grid = self._grid(resolution)
        # The last map of the neck belongs to the tracker.
        layers = list(encoder.neck.fpn_layers)[:-1]

        def encode() -> None:
            tokens = encoder.backbone(self._pixels(resolution)).last_hidden_state
            places = tokens.transpose(1, 2).unflatten(2, grid)
            for layer in layers[-1:] if coarse_only else layers:
                layer(places)

        return counted(encode)

    def _count_encoder(self, resolution: int, tokens: int) -> int:
        start = self._start(resolution)
        return counted(lambda: self._encoder.encode(start, *self._prompt(tokens)))

    def _count_decoder(self, resolution: int, tokens: int, presence_only: bool = False) -> int:
        grid = self._grid(resolution)
        start = self._start(resolution)
        with torch.inference_mode():
            begin = self._decoder.start(grid)
        run = self._decoder.presence if presence_only else self._decoder.decode
        return counted(lambda: run(begin, start.hidden, start.position, grid, *self._prompt(tokens)))

    def _count_masks(self, resolution: int, tokens: int, kept: int) -> int:
        with torch.inference_mode():
            skips = self._masks.prepare(self._levels(resolution))
        encoded = self._start(resolution).hidden

        def decode() -> None:
            grid = self._grid(resolution)
            pixels = self._masks.pixels(skips, encoded, grid, *self._prompt(tokens))
            self._masks.masks(pixels[0], self._tokens(kept)[0])

        return counted(decode)

    def _start(self, resolution: int) -> EncoderStart:
        with torch.inference_mode():
            return self._encoder.start(*self._coarse(resolution))

    def _coarse(self, resolution: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Make the coarsest feature map and its position encoding."""
        coarse = self._levels(resolution)[-1]
        return coarse, torch.empty_like(coarse)

    def _prompt(self, tokens: int) -> tuple[torch.Tensor, torch.Tensor]:
        return self._tokens(tokens), torch.ones(1, tokens, dtype=torch.bool, device="meta")


def counted(run: Callable[[], object]) -> int:
    """Count the floating-point operations of everything that runs within `run`."""
    # The counter does not know fused attention on every device.
    with torch.inference_mode(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


def _padded(tokens: int) -> int:
    return -(-tokens // TOKEN_STEP) * TOKEN_STEP


def _meta(*shape: int) -> torch.Tensor:
    return torch.empty(*shape, device="meta")
