"""The class token of the fused path: what SAM 3's geometry encoder gives without boxes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from activesam_ros.model.fused.attention import attend, mlp, project

if TYPE_CHECKING:
    import torch


class FusedClassToken:
    """transformers' `Sam3GeometryEncoder` for an image without boxes, of whose masks the host would read numbers."""

    def __init__(self, encoder: Any) -> None:
        self._encoder = encoder

    def __call__(self, coarse: torch.Tensor, position: torch.Tensor) -> torch.Tensor:
        """Encode the class token of N images, [N, 1, D].

        Args:
            coarse: the coarsest feature map, float32 [N, D, H, W].
            position: its position encoding, of the same shape.
        """
        encoder = self._encoder
        cells = coarse.flatten(2).transpose(1, 2).contiguous()
        placed = cells + position.flatten(2).transpose(1, 2)
        token = encoder.prompt_layer_norm(encoder.final_proj(encoder.cls_embed.weight))
        token = token.expand(len(coarse), 1, -1)
        for layer in encoder.layers:
            # A token alone attends to itself.
            own = layer.self_attn.v_proj(layer.layer_norm1(token))
            token = token + layer.self_attn.o_proj(own)
            attention = layer.cross_attn
            token = token + attend(
                attention,
                project(attention, attention.q_proj, layer.layer_norm2(token)),
                project(attention, attention.k_proj, placed),
                project(attention, attention.v_proj, cells),
            )
            token = token + mlp(layer.mlp, layer.layer_norm3(token))
        return encoder.output_layer_norm(token)
