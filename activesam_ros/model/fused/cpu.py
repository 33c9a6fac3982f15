"""Linear layers and attention by oneDNN on a CPU, in float32.

torch gives them to MKL, which takes twice as long on a CPU that Intel did not make. torch.compile, too, calls the
operation that is used here. Elsewhere these functions are torch's own. Sums are in another order.
"""

from __future__ import annotations

from math import prod
from typing import Any

import torch
from torch.nn import functional as F

_LINEAR = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
# Smaller products are faster, or as fast, in one call of torch's.
_FEWEST_QUERIES, _FEWEST_KEYS = 64, 256
# Scores of a step: they stay in a core's cache.
_SCORES = 2**19


def _operations(tokens: Any, weight: Any, *others: Any, out_shape: Any = None, **named: Any) -> int:
    return 2 * prod(tokens) * weight[0]


COUNTED: dict[Any, Any] = {_LINEAR: _operations} if _LINEAR is not None else {}
"""What torch's `FlopCounterMode` needs to count these functions, too."""


def linear(layer: Any, tokens: torch.Tensor) -> torch.Tensor:
    """Apply an `nn.Linear` to tokens [..., D]."""
    if _serves(tokens, layer.weight):
        return _product(tokens, layer.weight, layer.bias)
    return layer(tokens)


def activated(layer: Any, activation: Any, name: str, tokens: torch.Tensor) -> torch.Tensor:
    """Apply an `nn.Linear` and the activation that transformers calls `name` to tokens [..., D]."""
    if name in ("gelu", "relu") and _serves(tokens, layer.weight):
        # For GELU: not the approximation by tanh.
        return _product(tokens, layer.weight, layer.bias, name, "none")
    wide = layer(tokens)
    return F.relu(wide, inplace=True) if name == "relu" else activation(wide)


def attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None, scale: float
) -> torch.Tensor:
    """Compute attention by head, [N, heads, L, d].

    Args:
        query: [N, heads, L, d].
        key: [N, heads, keys, d].
        value: [N, heads, keys, d].
        mask: broadcastable to [N, heads, L, keys]: bool, False is not attended to, or float, added to the scores.
        scale: factor of the scores before that.
    """
    count, heads, length, width = query.shape
    keys = key.shape[2]
    small = length < _FEWEST_QUERIES or keys < _FEWEST_KEYS
    if small or not _serves(query, value) or (mask is not None and mask.dtype is not query.dtype):
        return F.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scale)
    rows = max(1, _SCORES // keys)
    added = None if mask is None else mask.expand(count, heads, length, keys)
    mixed = query.new_empty(count, length, heads, width).transpose(1, 2)
    for image in range(count):
        for head in range(heads):
            asked, known = query[image, head] * scale, key[image, head].contiguous()
            told = value[image, head].t().contiguous()
            for begin in range(0, length, rows):
                part = slice(begin, begin + rows)
                scores = _product(asked[part], known)
                if added is not None:
                    scores += added[image, head, part]
                mixed[image, head, part] = _product(torch.softmax(scores, -1, out=scores), told)
    return mixed


def _serves(tokens: torch.Tensor, other: torch.Tensor) -> bool:
    return (
        _LINEAR is not None
        and tokens.device.type == "cpu"
        and tokens.dtype is other.dtype is torch.float32
        and tokens.numel() > 0
        and torch.backends.mkldnn.is_available()
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
    )


def _product(
    tokens: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    activation: str = "none",
    algorithm: str = "",
) -> torch.Tensor:
    """Compute activation(tokens @ weightᵀ + bias)."""
    assert _LINEAR is not None
    return _LINEAR(tokens, weight, bias, activation, [], algorithm)
