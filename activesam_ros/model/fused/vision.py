"""The backbone of the vision encoder, with what depends on the resolution alone computed once."""

from __future__ import annotations

from typing import Any

import torch

from activesam_ros.model.fused.attention import attend, mlp, project
from activesam_ros.model.fused.cpu import linear


class FusedBackbone:
    """transformers' `Sam3ViTModel` for square images of one resolution.

    Rotary positions are complex numbers, computed once: one product in place of seven steps that copy.
    """

    def __init__(self, backbone: Any) -> None:
        self._backbone = backbone
        self._rotations = {layer.window_size: _rotations(layer) for layer in backbone.layers}

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        """Encode float32 [N, 3, S, S] as one token a patch, [N, L, D], row by row."""
        backbone = self._backbone
        side = pixels.shape[-1] // backbone.config.patch_size
        hidden = backbone.layer_norm(backbone.embeddings(pixels).unflatten(1, (side, side)))
        for layer in backbone.layers:
            hidden = hidden + self._mixed(layer, layer.layer_norm1(hidden))
            hidden = hidden + mlp(layer.mlp, layer.layer_norm2(hidden))
        return hidden.flatten(1, 2)

    def _mixed(self, layer: Any, places: torch.Tensor) -> torch.Tensor:
        """Run the attention of a layer, which mixes places [N, H, W, D] in windows or in the whole image."""
        # It loads all of transformers' SAM 3, which programs without a model do not need.
        from transformers.models.sam3.modeling_sam3 import window_partition, window_unpartition

        size = layer.window_size
        parts, padded = window_partition(places, size) if size else (places, None)
        tokens, rotations = parts.flatten(1, 2), self._rotations[size]
        attention = layer.attention
        mixed = attend(
            attention,
            _rotated(linear(attention.q_proj, tokens), rotations, attention.num_attention_heads),
            _rotated(linear(attention.k_proj, tokens), rotations, attention.num_attention_heads),
            project(attention, attention.v_proj, tokens),
        ).view(parts.shape)
        return window_unpartition(mixed, size, padded, places.shape[1:3]) if size else mixed


def _rotations(layer: Any) -> torch.Tensor:
    """Return by how much a layer turns each pair of numbers at each place, complex64 [L, 1, d / 2]."""
    rotary = layer.rotary_emb
    # Of row and column, each for half of the pairs.
    angles = layer.position_ids[..., None].float() * rotary.inv_freq.float()
    return torch.polar(torch.full_like(angles, rotary.attention_scaling), angles).flatten(1)[:, None]


def _rotated(tokens: torch.Tensor, rotations: torch.Tensor, heads: int) -> torch.Tensor:
    """Turn projected tokens [N, L, D] by their positions, and split them by head: [N, heads, L, d]."""
    pairs = torch.view_as_complex(tokens.float().unflatten(-1, (heads, -1, 2)))
    return torch.view_as_real(pairs * rotations).flatten(-2).to(tokens.dtype).transpose(1, 2)
