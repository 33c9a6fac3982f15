"""The mask head: from a prompt's features to the masks of its instances and of its class."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional as F

from activesam_ros.model.fused.attention import attend_to_tokens, project

if TYPE_CHECKING:
    from collections.abc import Sequence


class FusedMaskHead:
    """transformers' `Sam3MaskDecoder`, with the image's share of its convolutions done once per image.

    A convolution of (upsampled features + skip) is the convolution of the former plus that of the latter, and the
    latter knows no prompt. A 3×3 convolution of a map that was doubled in size by repeating its cells adds the same
    cell up to four times: it is a transposed 4×4 convolution of the small map with the sums of those weights, at 4/9
    of the work.
    """

    def __init__(self, decoder: nn.Module) -> None:
        self._decoder = decoder
        self._pixels = decoder.pixel_decoder
        # Summed before they are rounded, where the weights are in half precision.
        self._folded = [
            folded(conv.weight.float()).to(conv.weight.dtype) for conv in self._pixels.conv_layers
        ]

    def prepare(self, levels: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """The image's share of the convolutions, coarse to fine.

        Args:
            levels: feature maps [1, D, Hᵢ, Wᵢ], fine to coarse, each twice the size of the next.

        Raises:
            ValueError: a level is not.
        """
        for fine, coarse in zip(levels, levels[1:], strict=False):
            if any(a != 2 * b for a, b in zip(fine.shape[-2:], coarse.shape[-2:], strict=True)):
                raise ValueError(
                    f"feature maps of {tuple(fine.shape)} and {tuple(coarse.shape)}; expected doubles"
                )
        skips = list(reversed(levels[:-1]))
        return tuple(conv(skip) for conv, skip in zip(self._pixels.conv_layers, skips, strict=False))

    def pixels(
        self,
        skips: Sequence[torch.Tensor],
        encoded: torch.Tensor,
        grid: tuple[int, int],
        tokens: torch.Tensor,
        valid: torch.Tensor,
    ) -> torch.Tensor:
        """Embedding of the pixels for each prompt, [N, D, H₀, W₀].

        Args:
            skips: the image's share.
            encoded: what the encoder made of the image for each prompt, [N, L, D].
            grid: rows and columns of its L places.
            tokens, valid: of the prompts, [N, T, D] and bool [N, T].
        """
        attention = self._decoder.prompt_cross_attn
        query = project(attention, attention.q_proj, self._decoder.prompt_cross_attn_norm(encoded))
        hidden = encoded + attend_to_tokens(attention, query, tokens, valid)
        hidden = hidden.transpose(1, 2).unflatten(2, grid)
        for weight, norm, skip in zip(self._folded, self._pixels.norms, skips, strict=False):
            doubled = F.conv_transpose2d(hidden, weight, stride=2, padding=1)
            hidden = F.relu(norm(doubled.add_(skip)), inplace=True)
        return hidden

    def masks(self, pixels: torch.Tensor, queries: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits of the instances, [K, H₀, W₀], and of the class, [H₀, W₀].

        The 1×1 convolution before the product with the queries goes to their side: there are fewer of them.

        Args:
            pixels: embedding of the pixels for one prompt, [D, H₀, W₀].
            queries: its object queries that get a mask, [K, D].
        """
        instance, semantic = self._decoder.instance_projection, self._decoder.semantic_projection
        asked = self._decoder.mask_embedder(queries)
        weights = torch.cat([asked @ instance.weight.flatten(1).to(asked.dtype), semantic.weight.flatten(1)])
        constants = torch.cat([asked @ instance.bias.to(asked.dtype), semantic.bias])
        logits = torch.addmm(constants[:, None], weights.to(pixels.dtype), pixels.flatten(1))
        logits = logits.unflatten(1, pixels.shape[1:])
        return logits[:-1], logits[-1]


def folded(weight: torch.Tensor) -> torch.Tensor:
    """The weights [I, O, 4, 4] of the transposed convolution that equals a 3×3 one [O, I, 3, 3] of a doubled map.

    With stride 2 and padding 1, row k of the 4 adds the cell of row i to output row 2i + k − 1. The 3×3 convolution
    adds it there through its rows r with (2i + k − 1 + r − 1) div 2 = i.
    """
    rows = _merged(weight, 2)
    return _merged(rows, 3).transpose(0, 1).contiguous()


def _merged(weight: torch.Tensor, dim: int) -> torch.Tensor:
    first, middle, last = weight.unbind(dim)
    return torch.stack([last, middle + last, first + middle, first], dim)
