"""The DETR encoder and decoder of the fused path: from image features and prompts to presence and instances."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional as F

from activesam_ros.model.fused.attention import (
    attend,
    attend_to_tokens,
    attend_with_one,
    in_float32,
    mlp,
    project,
    slices,
    step_bytes,
)
from activesam_ros.model.prompt_heads import refined_boxes


@dataclass(frozen=True)
class EncoderStart:
    """The encoder's first layer up to where the prompt comes in: the same for every prompt.

    Attributes:
        hidden: after self-attention, [1, L, D]; the L cells of the feature map, row by row.
        query: queries of the cross-attention to the prompt, [1, heads, L, d].
        position: position encoding of the cells, float32 [1, L, D].
    """

    hidden: torch.Tensor
    query: torch.Tensor
    position: torch.Tensor


class FusedEncoder:
    """transformers' `Sam3DetrEncoder` for features of one level."""

    def __init__(self, encoder: Any) -> None:
        self._layers = list(encoder.layers)

    def start(self, coarse: torch.Tensor, position: torch.Tensor) -> EncoderStart:
        """Compute what all prompts of an image share.

        Args:
            coarse: the coarsest feature map, [1, D, H, W].
            position: its position encoding, float32 of the same shape.
        """
        # Contiguous however the image came, so that compiled functions fit all.
        position = position.flatten(2).transpose(1, 2).contiguous()
        first = self._layers[0]
        hidden = coarse.flatten(2).transpose(1, 2).contiguous()
        hidden = hidden + _encoder_self_attention(first, hidden, position)
        return EncoderStart(hidden, _query(first, hidden), position)

    def encode(self, start: EncoderStart, tokens: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        """Condition the image features on each prompt, [N, L, D].

        Args:
            start: of the image.
            tokens: of the prompts, [N, T, D].
            valid: bool [N, T], False at padding.
        """
        count = len(tokens)
        hidden = start.hidden.expand(count, -1, -1).clone()
        for number, layer in enumerate(self._layers):
            for part in slices(count, self._bytes(layer, hidden), step_bytes(hidden)):
                some = hidden[part]
                if number == 0:
                    query = start.query.expand(len(some), -1, -1, -1)
                else:
                    some += _encoder_self_attention(layer, some, start.position)
                    query = _query(layer, some)
                some += attend_to_tokens(layer.cross_attn, query, tokens[part], valid[part])
                some += mlp(layer.mlp, layer.layer_norm3(some))
        return hidden

    @staticmethod
    def _bytes(layer: Any, hidden: torch.Tensor) -> int:
        """Return the memory of the widest step for one prompt."""
        return hidden.shape[1] * layer.mlp.fc1.out_features * hidden.element_size()


@dataclass(frozen=True)
class DecoderStart:
    """The decoder's first layer before any prompt or image: the same for all feature maps of one size.

    The presence token comes first, then the Q object queries.

    Attributes:
        boxes: reference boxes of the queries (centre and size, in [0, 1]), float32 [1, Q, 4].
        position: position encoding of those, [1, 1 + Q, D]; 0 for the presence token.
        hidden: after self-attention, [1, 1 + Q, D].
        bias: box position bias of the attention to the feature map, [1, heads, 1 + Q, L].
    """

    boxes: torch.Tensor
    position: torch.Tensor
    hidden: torch.Tensor
    bias: torch.Tensor


class FusedDecoder:
    """transformers' `Sam3DetrDecoder`, without outputs that are not used."""

    def __init__(self, decoder: Any) -> None:
        self._decoder = decoder
        self._layers = list(decoder.layers)
        encoding = decoder.position_encoding
        count, like = encoding.num_position_features, decoder.reference_points.weight
        number = torch.arange(count, dtype=torch.int64, device=like.device).to(torch.float32)
        self._periods = encoding.temperature ** (2 * torch.div(number, 2, rounding_mode="floor") / count)

    def start(self, grid: tuple[int, int]) -> DecoderStart:
        """Compute what all feature maps of `grid` rows and columns share."""
        decoder = self._decoder
        boxes = decoder.reference_points.weight[None].sigmoid()
        position = self._position(boxes)
        hidden = torch.cat([decoder.presence_token.weight, decoder.query_embed.weight])[None]
        hidden = _decoder_self_attention(self._layers[0], hidden, hidden, position)
        return DecoderStart(boxes, position, hidden, self._bias(boxes, grid))

    def decode(
        self,
        start: DecoderStart,
        encoded: torch.Tensor,
        places: torch.Tensor,
        grid: tuple[int, int],
        tokens: torch.Tensor,
        valid: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Compute the object queries after the last layer, [N, Q, D], presence logits, [N], and boxes, [N, Q, 4].

        The boxes are those of the last layer but one, by centre and size; `boxes` computes the last ones.

        Args:
            start: of the grid.
            encoded: image features conditioned on each prompt, [N, L, D].
            places: position encoding of the L cells, float32 [1, L, D].
            grid: their rows and columns.
            tokens: of the prompts, [N, T, D].
            valid: bool [N, T], False at padding.
        """
        hidden, boxes = self._run(start, encoded, places, grid, tokens, valid, presence_only=False)
        boxes = boxes.expand(len(hidden), -1, -1)
        return self._decoder.output_layer_norm(hidden[:, 1:]), self._presence(hidden[:, 0]), boxes

    def boxes(self, before: torch.Tensor, queries: torch.Tensor) -> torch.Tensor:
        """Compute the boxes of some object queries after the last layer, float32 [K, 4], by centre and size.

        Args:
            before: their boxes of the last layer but one, [K, 4].
            queries: as `decode` gives them, [K, D].
        """
        with in_float32(queries):
            return refined_boxes(before, self._decoder.box_head(queries.float()))

    def presence(
        self,
        start: DecoderStart,
        encoded: torch.Tensor,
        places: torch.Tensor,
        grid: tuple[int, int],
        tokens: torch.Tensor,
        valid: torch.Tensor,
    ) -> torch.Tensor:
        """Compute the presence logits alone, [N]: the last layer runs for the presence token only."""
        hidden, _ = self._run(start, encoded, places, grid, tokens, valid, presence_only=True)
        return self._presence(hidden[:, 0])

    def _run(
        self,
        start: DecoderStart,
        encoded: torch.Tensor,
        places: torch.Tensor,
        grid: tuple[int, int],
        tokens: torch.Tensor,
        valid: torch.Tensor,
        presence_only: bool,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Compute the tokens after the last layer, and the boxes with which it attends."""
        boxes, position = start.boxes, start.position
        hidden = start.hidden.expand(len(tokens), -1, -1)
        last = len(self._layers) - 1
        for number, layer in enumerate(self._layers):
            alone = presence_only and number == last
            if number:
                position = self._position(boxes)
                hidden = _decoder_self_attention(layer, hidden[:, :1] if alone else hidden, hidden, position)
            elif alone:
                hidden = hidden[:, :1]
            query = project(
                layer.text_cross_attn, layer.text_cross_attn.q_proj, hidden + position[:, : hidden.shape[1]]
            )
            hidden = layer.text_cross_attn_layer_norm(
                hidden + attend_to_tokens(layer.text_cross_attn, query, tokens, valid)
            )
            if alone:
                # The position and the bias of the presence token are 0.
                seen = attend_with_one(layer.vision_cross_attn, hidden, encoded, places)
            else:
                attention = layer.vision_cross_attn
                query = project(attention, attention.q_proj, hidden + position)
                shared = None if number else start.bias
                seen = self._attend_to_image(attention, query, encoded, places, grid, boxes, shared)
            hidden = layer.vision_cross_attn_layer_norm(hidden + seen)
            hidden = layer.mlp_layer_norm(hidden + mlp(layer.mlp, hidden))
            if number < last:
                boxes = self._refined(boxes, hidden[:, 1:])
        return hidden, boxes

    def _attend_to_image(
        self,
        attention: Any,
        query: torch.Tensor,
        encoded: torch.Tensor,
        places: torch.Tensor,
        grid: tuple[int, int],
        boxes: torch.Tensor,
        bias: torch.Tensor | None,
    ) -> torch.Tensor:
        """Attend to the feature map, a few prompts at a time: the bias of a whole bucket would fill gigabytes."""
        each = attention.num_attention_heads * query.shape[2] * encoded.shape[1] * 4
        seen = []
        for part in slices(len(encoded), each, step_bytes(encoded)):
            some = encoded[part]
            seen.append(
                attend(
                    attention,
                    query[part],
                    project(attention, attention.k_proj, some + places),
                    project(attention, attention.v_proj, some),
                    (self._bias(boxes[part], grid) if bias is None else bias).to(query.dtype),
                )
            )
        return seen[0] if len(seen) == 1 else torch.cat(seen)

    def _position(self, boxes: torch.Tensor) -> torch.Tensor:
        """Encode boxes [N, Q, 4] as transformers' `encode_boxes` does, all edges at once: [N, 1 + Q, D]."""
        decoder = self._decoder
        x, y, sizes = boxes.split([1, 1, 2], dim=-1)
        angles = torch.cat([y, x, sizes], dim=-1)[..., None] * decoder.position_encoding.scale / self._periods
        waves = torch.stack([angles[..., 0::2].sin(), angles[..., 1::2].cos()], dim=-1).flatten(2)
        return F.pad(decoder.ref_point_head(waves), (0, 0, 1, 0))

    def _bias(self, boxes: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
        """Compute the box position bias, a row part plus a column part, [N, heads, 1 + Q, L]."""
        centre, size = boxes.split(2, dim=-1)
        half = size / 2
        edges = torch.stack([centre - half, centre + half], dim=-1)
        height, width = grid
        if height == width:
            x, y = _distances(edges, width).unbind(2)
        else:
            x, y = (_distances(edges[:, :, one], length) for one, length in ((0, width), (1, height)))
        columns = self._decoder.box_rpb_embed_x(x).permute(0, 3, 1, 2)
        rows = self._decoder.box_rpb_embed_y(y).permute(0, 3, 1, 2)
        # The presence token has no box, so no bias.
        columns, rows = F.pad(columns, (0, 0, 1, 0)), F.pad(rows, (0, 0, 1, 0))
        return (rows[..., None] + columns[..., None, :]).flatten(3)

    def _refined(self, boxes: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
        decoder = self._decoder
        with in_float32(hidden):
            return refined_boxes(boxes, decoder.box_head(decoder.output_layer_norm(hidden.float())))

    def _presence(self, token: torch.Tensor) -> torch.Tensor:
        decoder = self._decoder
        most = decoder.clamp_presence_logit_max_val
        # Half precision here would move the active set.
        with in_float32(token):
            logits = decoder.presence_head(decoder.presence_layer_norm(token.float()))
        return logits[:, 0].clamp(-most, most)


def _encoder_self_attention(layer: Any, hidden: torch.Tensor, position: torch.Tensor) -> torch.Tensor:
    attention = layer.self_attn
    value = layer.layer_norm1(hidden)
    placed = value + position
    return attend(
        attention,
        project(attention, attention.q_proj, placed),
        project(attention, attention.k_proj, placed),
        project(attention, attention.v_proj, value),
    )


def _query(layer: Any, hidden: torch.Tensor) -> torch.Tensor:
    return project(layer.cross_attn, layer.cross_attn.q_proj, layer.layer_norm2(hidden))


def _decoder_self_attention(
    layer: Any, asking: torch.Tensor, hidden: torch.Tensor, position: torch.Tensor
) -> torch.Tensor:
    """Update the first tokens of `hidden`, as many as `asking` has, by self-attention among all."""
    attention = layer.self_attn
    placed = hidden + position
    mixed = attend(
        attention,
        project(attention, attention.q_proj, placed[:, : asking.shape[1]]),
        project(attention, attention.k_proj, placed),
        project(attention, attention.v_proj, hidden),
    )
    return layer.self_attn_layer_norm(asking + mixed)


def _distances(edges: torch.Tensor, length: int) -> torch.Tensor:
    """Compute signed logarithmic distances from each cell to both edges of each box, [..., 2] to [..., length, 2]."""
    cells = torch.arange(length, dtype=edges.dtype, device=edges.device) / length
    distance = 8 * (cells[:, None] - edges[..., None, :])
    return torch.log2(distance.abs() + 1).copysign(distance) / math.log2(8)
