"""SAM 3's vision encoder: from images to the features that all prompts share."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch.nn import functional as F
from torchvision.transforms.v2 import functional as tv

from activesam_ros.model.fused.class_token import FusedClassToken
from activesam_ros.model.fused.vision import FusedBackbone

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from activesam_ros.model.checkpoint import Checkpoint
    from activesam_ros.model.compiling import Compiler

Levels = Literal["all", "masks", "coarse"]


@dataclass(frozen=True)
class ImageFeatures:
    """Features of N images at one resolution.

    Attributes:
        levels: feature maps [N, D, Hᵢ, Wᵢ], fine to coarse.
        position: sine position encoding of the coarsest level, float32 [N, D, H, W].
        class_token: the geometry encoder's output for zero boxes, [N, 1, D]; the last token of every prompt.
    """

    levels: tuple[torch.Tensor, ...]
    position: torch.Tensor
    class_token: torch.Tensor

    def split(self) -> list[ImageFeatures]:
        """Split the batch into batches of one, which share its memory."""
        return [
            ImageFeatures(
                tuple(level[one : one + 1] for level in self.levels),
                self.position[one : one + 1],
                self.class_token[one : one + 1],
            )
            for one in range(len(self.class_token))
        ]


class VisionEncoder:
    """Encode images at one square resolution.

    Encoders of several resolutions share the weights of one checkpoint.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        resolution: int,
        levels: Levels = "all",
        compiler: Compiler | None = None,
    ) -> None:
        """Make an encoder over the weights of `checkpoint`.

        Args:
            checkpoint: the model.
            resolution: side in pixels, a multiple of the patch size.
            levels: feature maps to compute: "all" as transformers does, those that "masks" need, or only the "coarse"
                one that presence needs.
            compiler: makes a faster function of the backbone, unless levels is "all"; None: none does.
        """
        self.resolution = resolution
        self._checkpoint = checkpoint
        self._encoder = at_resolution(checkpoint.model.vision_encoder, resolution)
        # The coarsest map of the neck belongs to the tracker.
        layers = list(self._encoder.neck.fpn_layers)[:-1]
        self._neck = None if levels == "all" else layers[-1:] if levels == "coarse" else layers
        backbone = self._encoder.backbone
        if compiler and not compiler.complex_numbers:
            self._backbone = _compiled(backbone, compiler)
        else:
            fused = FusedBackbone(backbone)
            self._backbone = compiler(fused) if compiler else fused
        self._one_by_one = compiler is not None
        self._geometry_encoder = checkpoint.model.geometry_encoder
        self._fused_class_token = None if levels == "all" else FusedClassToken(self._geometry_encoder)
        self._mean = torch.tensor(checkpoint.mean, device=checkpoint.device).view(1, 3, 1, 1)
        self._std = torch.tensor(checkpoint.std, device=checkpoint.device).view(1, 3, 1, 1)

    def prepare(self, rgb: np.ndarray) -> torch.Tensor:
        """Resize uint8 [H, W, 3] to the square and normalise it: float32 [1, 3, S, S] on the model's device.

        The resize works on uint8 with antialiasing, as the published preparation does: in float arithmetic
        presence moves by up to 0.035, and without antialiasing active sets change.
        """
        # torch wants contiguous memory that it may write to; np.require copies only where that is not so.
        pixels = torch.from_numpy(np.require(rgb, requirements=["C", "W"])).permute(2, 0, 1).unsqueeze(0)
        size = [self.resolution, self.resolution]
        pixels = tv.resize(pixels, size, interpolation=tv.InterpolationMode.BILINEAR, antialias=True)
        pixels = pixels.to(self._checkpoint.device, non_blocking=True)
        return (pixels.float() / 255 - self._mean) / self._std

    def prepare_all(self, images: Sequence[np.ndarray]) -> torch.Tensor:
        """Prepare images of any sizes as one batch: float32 [N, 3, S, S]."""
        return torch.cat([self.prepare(rgb) for rgb in images])

    def encode(self, pixels: torch.Tensor) -> ImageFeatures:
        """Run the vision encoder and the geometry encoder on float32 [N, 3, S, S]."""
        with self._checkpoint.precision():
            levels = self._levels(pixels)
            coarse = levels[-1]
            # Computed in float32, since the neck would round the encoding to the precision of the features.
            position = self._encoder.neck.position_encoding(coarse.shape, coarse.device, torch.float32)
        return ImageFeatures(tuple(levels), position, self._class_token(coarse.float(), position))

    def pooled(self, image: ImageFeatures, side: int) -> ImageFeatures:
        """Average the coarsest features of encoded images over a grid of `side` × `side` cells.

        The class token stays that of the whole image.
        """
        coarse = F.adaptive_avg_pool2d(image.levels[-1].float(), side).to(image.levels[-1].dtype)
        position = self._encoder.neck.position_encoding(coarse.shape, coarse.device, torch.float32)
        return ImageFeatures((coarse,), position, image.class_token)

    def _levels(self, pixels: torch.Tensor) -> tuple[torch.Tensor, ...]:
        if self._neck is None:
            return self._encoder(pixels).fpn_hidden_states[:-1]
        # Compiled functions get one image at a time, so that the number of cameras is no other shape.
        parts = pixels.split(1) if self._one_by_one else (pixels,)
        tokens = torch.cat([self._backbone(part) for part in parts])
        grid = [side // self._checkpoint.patch_size for side in pixels.shape[-2:]]
        places = tokens.transpose(1, 2).unflatten(2, grid)
        return tuple(layer(places) for layer in self._neck)

    def _class_token(self, coarse: torch.Tensor, position: torch.Tensor) -> torch.Tensor:
        if self._fused_class_token is not None:
            return self._fused_class_token(coarse, position)
        images = coarse.shape[0]
        device = coarse.device
        # `Sam3Model.forward` skips the geometry encoder when there are no boxes, where SAM 3 itself runs it.
        return self._geometry_encoder(
            box_embeddings=torch.zeros(images, 0, 4, device=device),
            box_mask=torch.zeros(images, 0, dtype=torch.bool, device=device),
            box_labels=torch.zeros(images, 0, dtype=torch.long, device=device),
            img_feats=(coarse,),
            img_pos_embeds=(position,),
        ).last_hidden_state


def _compiled(backbone: Any, compiler: Compiler) -> Callable[[torch.Tensor], torch.Tensor]:
    """Compile transformers' backbone for a compiler that knows no complex numbers, and fuses its steps."""
    compiled = compiler(backbone)
    return lambda pixels: compiled(pixels).last_hidden_state


def at_resolution(encoder: Any, resolution: int) -> Any:
    """Make a view of a `Sam3VisionModel` for square images of `resolution` pixels: same weights, other positions.

    Layers with global attention hold rotary positions for one image size, scaled so that the grid spans the
    window that the model was pretrained with; the view gets them recomputed and shares every parameter.
    """
    shared = {id(parameter): parameter for parameter in encoder.parameters()}
    view = copy.deepcopy(encoder, memo=shared)
    backbone = view.backbone
    config = copy.deepcopy(backbone.config)
    config.image_size = resolution
    for layer in backbone.layers:
        if layer.window_size == 0:
            positions = layer.precompute_positions(config, layer.window_size)
            layer.position_ids = positions.to(layer.position_ids.device)
    return view
