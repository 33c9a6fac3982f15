"""Counted work of the lean path."""

from __future__ import annotations

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from activesam_ros.model.fused.decoder import LeanDecoder
from activesam_ros.model.fused.encoder import EncoderStart, LeanEncoder
from activesam_ros.model.fused.heads import TOKEN_STEP
from activesam_ros.model.fused.masks import LeanMasks
from activesam_ros.model.vision import at_resolution
from activesam_ros.model.work import ModelWork, counted


class LeanWork(ModelWork):
    """Counts the work of the parts of a SAM 3 as `LeanHeads` and lean `VisionEncoder`s run them.

    Prompts count with the padding that `LeanHeads` gives them. What depends on the resolution alone is worked out once
    in a program's life and is left out.
    """

    def __init__(self, config: object) -> None:
        """Args:
        config: the model's `Sam3Config`, such as that of a `Checkpoint`.
        """
        super().__init__(config)
        self._encoder = LeanEncoder(self._model.detr_encoder)
        self._decoder = LeanDecoder(self._model.detr_decoder)
        self._masks = LeanMasks(self._model.mask_decoder)

    def image(self, resolution: int, masks: bool) -> int:
        """What is done once for an image; see `ModelWork.image`."""
        own = self.vision(resolution) if masks else self.coarse_vision(resolution)
        own += self.class_token(resolution) + self.shared_encoder(resolution)
        return own + (self.shared_masks(resolution) if masks else 0)

    def presence(self, resolution: int, tokens: int) -> int:
        """What each prompt adds that is asked for its presence alone."""
        return self.encoder(resolution, tokens) + self.presence_decoder(resolution, tokens)

    def coarse_vision(self, resolution: int) -> int:
        """The vision encoder with the one map of its neck that prompts are asked of."""
        return self._remembered(
            ("coarse vision", resolution), lambda: self._count_vision(resolution, coarse_only=True)
        )

    def shared_encoder(self, resolution: int) -> int:
        """The share of the DETR encoder's first layer that is the same for all prompts of an image."""
        return self._remembered(
            ("shared encoder", resolution),
            lambda: _counted(lambda: self._encoder.start(*self._coarse(resolution))),
        )

    def shared_masks(self, resolution: int) -> int:
        """The share of the mask head's convolutions that is the same for all prompts of an image."""
        return self._remembered(
            ("shared masks", resolution),
            lambda: _counted(lambda: self._masks.share(self._levels(resolution))),
        )

    def encoder(self, resolution: int, tokens: int) -> int:
        """The DETR encoder without what is shared, for one prompt."""
        return super().encoder(resolution, _padded(tokens))

    def decoder(self, resolution: int, tokens: int) -> int:
        """The DETR decoder, for one prompt that is decoded: presence, instances and boxes."""
        return super().decoder(resolution, _padded(tokens))

    def presence_decoder(self, resolution: int, tokens: int) -> int:
        """The DETR decoder, for one prompt that is asked for its presence alone."""
        return self._line(
            ("presence decoder", resolution),
            _padded(tokens),
            lambda n: self._count_decoder(resolution, n, presence_only=True),
        )

    def scoring(self, tokens: int) -> int:
        """The scores of the instances, for one prompt."""
        return super().scoring(_padded(tokens))

    def masks(self, resolution: int, tokens: int, kept: int) -> int:
        """The mask head without what is shared, for one prompt of which `kept` instances get a mask."""
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

        return _counted(encode)

    def _count_encoder(self, resolution: int, tokens: int) -> int:
        start = self._start(resolution)
        return _counted(lambda: self._encoder.encode(start, *self._prompt(tokens)))

    def _count_decoder(self, resolution: int, tokens: int, presence_only: bool = False) -> int:
        grid = self._grid(resolution)
        start = self._start(resolution)
        with torch.inference_mode():
            begin = self._decoder.start(grid)
        run = self._decoder.presence if presence_only else self._decoder.decode
        return _counted(lambda: run(begin, start.hidden, start.position, grid, *self._prompt(tokens)))

    def _count_masks(self, resolution: int, tokens: int, kept: int) -> int:
        with torch.inference_mode():
            skips = self._masks.share(self._levels(resolution))
        encoded = self._start(resolution).hidden

        def decode() -> None:
            grid = self._grid(resolution)
            pixels = self._masks.pixels(skips, encoded, grid, *self._prompt(tokens))
            self._masks.masks(pixels[0], self._tokens(kept)[0])

        return _counted(decode)

    def _start(self, resolution: int) -> EncoderStart:
        with torch.inference_mode():
            return self._encoder.start(*self._coarse(resolution))

    def _coarse(self, resolution: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The map that prompts are asked of and its encoding."""
        coarse = self._levels(resolution)[-1]
        return coarse, torch.empty_like(coarse)

    def _prompt(self, tokens: int) -> tuple[torch.Tensor, torch.Tensor]:
        return self._tokens(tokens), torch.ones(1, tokens, dtype=torch.bool, device="meta")


def _padded(tokens: int) -> int:
    return -(-tokens // TOKEN_STEP) * TOKEN_STEP


def _counted(work) -> int:
    # Fused attention is one operation, which the counter does not know on every device.
    with sdpa_kernel(SDPBackend.MATH):
        return counted(work)
