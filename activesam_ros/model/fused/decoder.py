"""The DETR decoder: from a prompt's features to its presence and its instances."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from activesam_ros.model.fused.attention import (
    attend,
    attend_to_tokens,
    attend_with_one,
    in_float32,
    project,
    slices,
)


@dataclass(frozen=True)
class DecoderStart:
    """What the first layer knows before it has seen a prompt or an image: the same for all of one grid.

    The presence token comes first, then the Q object queries.

    Attributes:
        boxes: where the queries look, as sigmoids of centre and size, float32 [1, Q, 4].
        position: encoding of those, [1, 1 + Q, D]; 0 for the presence token.
        hidden: after the self-attention, [1, 1 + Q, D].
        bias: added to the attention to the places of the feature map, [1, heads, 1 + Q, L].
    """

    boxes: torch.Tensor
    position: torch.Tensor
    hidden: torch.Tensor
    bias: torch.Tensor


class FusedDecoder:
    """transformers' `Sam3DetrDecoder`, without what nobody asks of it."""

    def __init__(self, decoder: nn.Module) -> None:
        self._decoder = decoder
        self._layers = list(decoder.layers)

    def start(self, grid: tuple[int, int]) -> DecoderStart:
        """The part of a feature map of `grid` rows and columns."""
        decoder = self._decoder
        boxes = decoder.reference_points.weight[None].sigmoid()
        position = self._position(boxes)
        hidden = torch.cat([decoder.presence_token.weight, decoder.query_embed.weight])[None]
        hidden = _self_attention(self._layers[0], hidden, hidden, position)
        return DecoderStart(boxes, position, hidden, self._bias(boxes, grid))

    def decode(
        self,
        start: DecoderStart,
        encoded: torch.Tensor,
        places: torch.Tensor,
        grid: tuple[int, int],
        tokens: torch.Tensor,
        valid: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The object queries after the last layer, [N, Q, D], and the logits of presence, [N].

        Args:
            start: of the grid.
            encoded: what the encoder made of the image for each prompt, [N, L, D].
            places: encoding of the L places, float32 [1, L, D].
            grid: their rows and columns.
            tokens, valid: of the prompts, [N, T, D] and bool [N, T].
        """
        hidden = self._run(start, encoded, places, grid, tokens, valid, presence_only=False)
        return self._decoder.output_layer_norm(hidden[:, 1:]), self._presence(hidden[:, 0])

    def presence(
        self,
        start: DecoderStart,
        encoded: torch.Tensor,
        places: torch.Tensor,
        grid: tuple[int, int],
        tokens: torch.Tensor,
        valid: torch.Tensor,
    ) -> torch.Tensor:
        """The logits of presence alone, [N]: the last layer asks for nothing but its presence token."""
        hidden = self._run(start, encoded, places, grid, tokens, valid, presence_only=True)
        return self._presence(hidden[:, 0])

    def _run(self, start, encoded, places, grid, tokens, valid, presence_only: bool) -> torch.Tensor:
        boxes, position = start.boxes, start.position
        hidden = start.hidden.expand(len(tokens), -1, -1)
        last = len(self._layers) - 1
        for number, layer in enumerate(self._layers):
            alone = presence_only and number == last
            if number:
                position = self._position(boxes)
                hidden = _self_attention(layer, hidden[:, :1] if alone else hidden, hidden, position)
            elif alone:
                hidden = hidden[:, :1]
            hidden = self._ask_prompt(layer, hidden, position, tokens, valid)
            if alone:
                # Its position and its bias are 0.
                seen = attend_with_one(layer.vision_cross_attn, hidden, encoded, places)
            else:
                seen = self._look(
                    layer, hidden + position, encoded, places, grid, boxes, None if number else start.bias
                )
            hidden = layer.vision_cross_attn_layer_norm(hidden + seen)
            hidden = layer.mlp_layer_norm(hidden + layer.mlp(hidden))
            if number < last:
                boxes = self._refined(boxes, hidden[:, 1:])
        return hidden

    @staticmethod
    def _ask_prompt(layer, hidden, position, tokens, valid) -> torch.Tensor:
        attention = layer.text_cross_attn
        query = project(attention, attention.q_proj, hidden + position[:, : hidden.shape[1]])
        return layer.text_cross_attn_layer_norm(hidden + attend_to_tokens(attention, query, tokens, valid))

    def _look(self, layer, queries, encoded, places, grid, boxes, bias) -> torch.Tensor:
        """The attention to the feature map, a few prompts at a time: the bias of a bucket would fill gigabytes."""
        attention = layer.vision_cross_attn
        query = project(attention, attention.q_proj, queries)
        each = attention.num_attention_heads * queries.shape[1] * encoded.shape[1] * 4
        seen = []
        for part in slices(len(encoded), each):
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
        return torch.cat(seen)

    def _position(self, boxes: torch.Tensor) -> torch.Tensor:
        decoder = self._decoder
        position = decoder.ref_point_head(decoder.position_encoding.encode_boxes(boxes))
        return F.pad(position, (0, 0, 1, 0))

    def _bias(self, boxes: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
        """How much each query looks at each place: a part of the row and a part of the column, [N, heads, 1 + Q, L]."""
        height, width = grid
        cx, cy, w, h = boxes.unbind(-1)
        x = torch.stack([cx - w / 2, cx + w / 2], dim=-1)
        y = torch.stack([cy - h / 2, cy + h / 2], dim=-1)
        columns = self._decoder.box_rpb_embed_x(_distances(x, width)).permute(0, 3, 1, 2)
        rows = self._decoder.box_rpb_embed_y(_distances(y, height)).permute(0, 3, 1, 2)
        # The presence token looks everywhere alike.
        columns, rows = F.pad(columns, (0, 0, 1, 0)), F.pad(rows, (0, 0, 1, 0))
        return (rows[..., None] + columns[..., None, :]).flatten(3)

    def _refined(self, boxes: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
        decoder = self._decoder
        least = 1e-3
        before = torch.log(boxes.clamp(min=least) / (1 - boxes).clamp(min=least))
        with in_float32(hidden):
            return (decoder.box_head(decoder.output_layer_norm(hidden.float())) + before).sigmoid()

    def _presence(self, token: torch.Tensor) -> torch.Tensor:
        decoder = self._decoder
        most = decoder.clamp_presence_logit_max_val
        # Half precision here would move the active set.
        with in_float32(token):
            logits = decoder.presence_head(decoder.presence_layer_norm(token.float()))
        return logits[:, 0].clamp(-most, most)


def _self_attention(
    layer: nn.Module, asking: torch.Tensor, hidden: torch.Tensor, position: torch.Tensor
) -> torch.Tensor:
    """The first tokens of `hidden`, as many as `asking` has, after the self-attention among all."""
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
    """Signed distances from each cell to both edges of each box on a logarithmic scale, [N, Q, length, 2]."""
    cells = torch.arange(length, dtype=edges.dtype, device=edges.device) / length
    distance = 8 * (cells[:, None] - edges[:, :, None, :])
    return distance.sign() * torch.log2(distance.abs() + 1) / math.log2(8)
