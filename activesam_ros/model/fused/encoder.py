"""The DETR encoder: an image's features, changed by a prompt."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from activesam_ros.model.fused.attention import attend, attend_to_tokens, project, slices


@dataclass(frozen=True)
class EncoderStart:
    """The first layer up to where the prompt comes in: the same for every prompt.

    Attributes:
        hidden: after the self-attention, [1, L, D]; L places of the feature map, row by row.
        query: the queries that the prompt will answer, [1, heads, L, d].
        position: encoding of the places, float32 [1, L, D].
    """

    hidden: torch.Tensor
    query: torch.Tensor
    position: torch.Tensor


class FusedEncoder:
    """transformers' `Sam3DetrEncoder` for features of one level."""

    def __init__(self, encoder: nn.Module) -> None:
        self._layers = list(encoder.layers)

    def start(self, coarse: torch.Tensor, position: torch.Tensor) -> EncoderStart:
        """The part of an image.

        Args:
            coarse: the coarsest feature map, [1, D, H, W].
            position: its encoding, float32 of the same shape.
        """
        # Laid out alike however the image came, so that what is compiled fits all.
        position = position.flatten(2).transpose(1, 2).contiguous()
        first = self._layers[0]
        hidden = coarse.flatten(2).transpose(1, 2).contiguous()
        hidden = hidden + _self_attention(first, hidden, position)
        return EncoderStart(hidden, _query(first, hidden), position)

    def encode(self, start: EncoderStart, tokens: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        """The features as each prompt changes them, [N, L, D].

        Args:
            start: of the image.
            tokens: of the prompts, [N, T, D].
            valid: bool [N, T], False at padding.
        """
        count = len(tokens)
        hidden = start.hidden.expand(count, -1, -1).clone()
        for number, layer in enumerate(self._layers):
            for part in slices(count, self._bytes(layer, hidden)):
                some = hidden[part]
                if number == 0:
                    query = start.query.expand(len(some), -1, -1, -1)
                else:
                    some += _self_attention(layer, some, start.position)
                    query = _query(layer, some)
                some += attend_to_tokens(layer.cross_attn, query, tokens[part], valid[part])
                some += mixed_channels(layer.mlp, layer.layer_norm3(some))
        return hidden

    @staticmethod
    def _bytes(layer: nn.Module, hidden: torch.Tensor) -> int:
        """What the widest step takes for one prompt."""
        return hidden.shape[1] * layer.mlp.fc1.out_features * hidden.element_size()


def _self_attention(layer: nn.Module, hidden: torch.Tensor, position: torch.Tensor) -> torch.Tensor:
    attention = layer.self_attn
    value = layer.layer_norm1(hidden)
    placed = value + position
    return attend(
        attention,
        project(attention, attention.q_proj, placed),
        project(attention, attention.k_proj, placed),
        project(attention, attention.v_proj, value),
    )


def mixed_channels(mlp: nn.Module, hidden: torch.Tensor) -> torch.Tensor:
    """Transformers' `Sam3MLP`, whose wide middle is overwritten where its activation allows it."""
    wide = mlp.fc1(hidden)
    wide = F.relu(wide, inplace=True) if isinstance(mlp.activation_fn, nn.ReLU) else mlp.activation_fn(wide)
    return mlp.fc2(wide)


def _query(layer: nn.Module, hidden: torch.Tensor) -> torch.Tensor:
    return project(layer.cross_attn, layer.cross_attn.q_proj, layer.layer_norm2(hidden))
