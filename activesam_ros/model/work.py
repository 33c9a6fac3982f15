"""Counted work of SAM 3: floating-point operations, two for each multiply-add, of matrix products and convolutions.

Counted by torch's own counter while a model without memory (on the meta device) runs: no weights and little time are
needed, and any size can be asked for.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.utils.flop_counter import FlopCounterMode

from activesam_ros.model.vision import at_resolution

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class Asked:
    """What a model was asked about one image.

    The tokens of a prompt are those of its text and context, padding included, and the image's class token.

    Attributes:
        full_resolution, preview_resolution: sides in pixels of the square images.
        previewed: number of prompts that were asked for their presence in the preview; 0: there was no preview.
        preview_tokens: tokens of each of those.
        decoded: tokens and number of kept instance masks of each prompt that was decoded.
        encodings: how often the image was encoded at full resolution.
        looked: number of prompts that were asked for their presence alone at full resolution, with as many tokens as
            in the preview.
    """

    full_resolution: int
    preview_resolution: int
    previewed: int
    preview_tokens: int
    decoded: tuple[tuple[int, int], ...]
    encodings: int = 1
    looked: int = 0


@dataclass(frozen=True)
class FrameWork:
    """Floating-point operations of one image, by stage.

    Attributes:
        preview: its vision encoder and all prompts that were asked for their presence alone, at whichever resolution.
        encode: the vision encoder at full resolution, as often as it ran, and what all prompts share of an image.
        decode: the prompts at full resolution: DETR encoder and decoder, scores and mask head.
    """

    preview: int
    encode: int
    decode: int

    @property
    def total(self) -> int:
        """All stages."""
        return self.preview + self.encode + self.decode


class ModelWork:
    """Counts the work of the parts of a SAM 3 of one configuration, run part by part for each prompt, as published.

    What a prompt costs grows by the same amount with every token and with every kept mask: three counts give a line,
    and counts are remembered, so that any number of images can be asked for.
    """

    def __init__(self, config: object) -> None:
        """Args:
        config: the model's `Sam3Config`, such as that of a `Checkpoint`.
        """
        # They take seconds to import, so programs that count nothing do not pay for it.
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
        """The vision encoder with its neck, for one image."""
        return self._remembered(("vision", resolution), lambda: self._count_vision(resolution))

    def class_token(self, resolution: int) -> int:
        """The geometry encoder, which makes an image's class token."""
        return self._remembered(("class token", resolution), lambda: self._count_class_token(resolution))

    def encoder(self, resolution: int, tokens: int) -> int:
        """The DETR encoder, for one prompt of `tokens` tokens."""
        return self._line(("encoder", resolution), tokens, lambda n: self._count_encoder(resolution, n))

    def decoder(self, resolution: int, tokens: int) -> int:
        """The DETR decoder, for one prompt: presence, instances and boxes."""
        return self._line(("decoder", resolution), tokens, lambda n: self._count_decoder(resolution, n))

    def scoring(self, tokens: int) -> int:
        """The scores of the instances, for one prompt."""
        return self._line(("scoring",), tokens, self._count_scoring)

    def masks(self, resolution: int, tokens: int, kept: int) -> int:
        """The mask head, for one prompt of which `kept` instances get a mask: those and the semantic head."""
        part = ("masks", resolution)
        first = self._line(part, tokens, lambda n: self._count_masks(resolution, n, 1))
        each = self._remembered((*part, "each"), lambda: self._count_masks(resolution, 1, 2)) - self._line(
            part, 1, lambda n: self._count_masks(resolution, n, 1)
        )
        return first + (kept - 1) * each

    def image(self, resolution: int, masks: bool) -> int:
        """What is done once for an image.

        Args:
            resolution: side in pixels.
            masks: whether prompts are decoded; otherwise they are asked for their presence alone.
        """
        return self.vision(resolution) + self.class_token(resolution)

    def presence(self, resolution: int, tokens: int) -> int:
        """What each prompt adds that is asked for its presence alone."""
        return self.encoder(resolution, tokens) + self.decoder(resolution, tokens)

    def decoded(self, resolution: int, tokens: int, kept: int) -> int:
        """What each prompt adds that is decoded and of which `kept` instances get a mask."""
        return (
            self.encoder(resolution, tokens)
            + self.decoder(resolution, tokens)
            + self.scoring(tokens)
            + self.masks(resolution, tokens, kept)
        )

    def frame(self, asked: Asked) -> FrameWork:
        """The work of one image."""
        full, small = asked.full_resolution, asked.preview_resolution
        preview = asked.looked and asked.looked * self.presence(full, asked.preview_tokens)
        if asked.previewed:
            each = self.presence(small, asked.preview_tokens)
            preview += self.image(small, masks=False) + asked.previewed * each
        return FrameWork(
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
        """The feature maps that prompts are asked of, fine to coarse."""
        vision = self._config.vision_config
        rows, columns = self._grid(resolution)
        # The last map of the neck belongs to the tracker.
        return [
            _meta(1, vision.fpn_hidden_size, int(rows * scale), int(columns * scale))
            for scale in vision.scale_factors[:-1]
        ]

    def _grid(self, resolution: int) -> tuple[int, int]:
        """Rows and columns of patches."""
        side = resolution // self._config.vision_config.backbone_config.patch_size
        return side, side

    @staticmethod
    def _pixels(resolution: int) -> torch.Tensor:
        return _meta(1, 3, resolution, resolution)

    def _tokens(self, count: int) -> torch.Tensor:
        return _meta(1, count, self._config.detr_encoder_config.hidden_size)


def counted(work: Callable[[], object]) -> int:
    """Floating-point operations of whatever runs while `work` does.

    Fused attention is not counted on a CPU; there, work within `torch.nn.attention.sdpa_kernel(SDPBackend.MATH)`.
    """
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()


def _meta(*shape: int) -> torch.Tensor:
    return torch.empty(*shape, device="meta")
