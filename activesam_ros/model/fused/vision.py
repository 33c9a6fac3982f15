"""The backbone of the vision encoder, with what depends on the resolution alone computed once."""

from __future__ import annotations

from typing import Any

import torch

from activesam_ros.model.fused.attention import attend, mlp, project
from activesam_ros.model.fused.cpu import linear


class FusedBackbone:
    """transformers' `Sam3ViTModel` for square images of one resolution.

    Rotary positions are complex numbers, computed once: one product in place of seven steps that copy. Places stay in
    windows from one layer to the next, since all but attention computes each place alone.
    """

    def __init__(self, backbone: Any) -> None:
        self._backbone = backbone
        self._rotations = {layer.window_size: _rotations(layer) for layer in backbone.layers}

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        """Encode float32 [N, 3, S, S] as one token a patch, [N, L, D], row by row."""
        backbone = self._backbone
        side = pixels.shape[-1] // backbone.config.patch_size
        hidden = backbone.layer_norm(backbone.embeddings(pixels).unflatten(1, (side, side)))
        window = side
        for layer in backbone.layers:
            size = layer.window_size or side
            # Windows that do not fit into the image are filled up within each layer.
            wanted = size if side % size == 0 else side
            if wanted != window:
                hidden = _in_windows(_in_image(hidden, window, side), wanted)
                window = wanted
            mixed = self._mixed if window == size else self._mixed_in_filled_windows
            hidden = hidden + mixed(layer, layer.layer_norm1(hidden))
            hidden = hidden + mlp(layer.mlp, layer.layer_norm2(hidden))
        return _in_image(hidden, window, side).flatten(1, 2)

    def _mixed(self, layer: Any, parts: torch.Tensor) -> torch.Tensor:
        """Run the attention of a layer, which mixes the places of each window or image, [N, H, W, D]."""
        tokens, rotations = parts.flatten(1, 2), self._rotations[layer.window_size]
        attention = layer.attention
        return attend(
            attention,
            _rotated(linear(attention.q_proj, tokens), rotations, attention.num_attention_heads),
            _rotated(linear(attention.k_proj, tokens), rotations, attention.num_attention_heads),
            project(attention, attention.v_proj, tokens),
        ).view(parts.shape)

    def _mixed_in_filled_windows(self, layer: Any, places: torch.Tensor) -> torch.Tensor:
        """Run the attention of a layer on images [N, H, W, D] whose sides are no multiple of its windows."""
        # It loads all of transformers' SAM 3, which programs without a model do not need.
        from transformers.models.sam3.modeling_sam3 import window_partition, window_unpartition

        parts, padded = window_partition(places, layer.window_size)
        mixed = self._mixed(layer, parts)
        return window_unpartition(mixed, layer.window_size, padded, places.shape[1:3])


def _in_windows(images: torch.Tensor, size: int) -> torch.Tensor:
    """Cut images [N, S, S, D] into windows of `size`, [N · (S / size)², size, size, D], row by row."""
    if images.shape[1] == size:
        return images
    return images.unflatten(2, (-1, size)).unflatten(1, (-1, size)).transpose(2, 3).flatten(0, 2)


def _in_image(windows: torch.Tensor, size: int, side: int) -> torch.Tensor:
    """Put windows of `_in_windows` together again, [N, side, side, D]."""
    if size == side:
        return windows
    count = side // size
    return windows.unflatten(0, (-1, count, count)).transpose(2, 3).flatten(3, 4).flatten(1, 2)


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
