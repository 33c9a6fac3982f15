"""Attention with the weights of transformers' `Sam3Attention`, in steps whose results can be shared."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from itertools import pairwise
from typing import Any

import torch
from torch.nn import functional as F

from activesam_ros.model.fused import cpu

SLICE_BYTES = 2**27
"""Most memory of a step beside its inputs and outputs; larger steps are not faster on a CPU."""

GPU_BYTES = 3 * 2**29
"""The same on a GPU, where every step costs a launch of each of its kernels."""


def project(attention: Any, linear: Any, tokens: torch.Tensor) -> torch.Tensor:
    """Project tokens [N, L, D] to queries, keys or values by head: [N, heads, L, d]."""
    count, length, _ = tokens.shape
    split = cpu.linear(linear, tokens).view(count, length, attention.num_attention_heads, attention.head_dim)
    return split.transpose(1, 2)


def attend(
    attention: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None = None,
) -> torch.Tensor:
    """Compute the output of an attention, [N, L, D].

    Args:
        attention: whose scale and output projection are used.
        query: [N, heads, L, d], as `project` gives it.
        key: [N, heads, keys, d].
        value: [N, heads, keys, d].
        mask: broadcastable to [N, heads, L, keys]: bool, False is not attended to, or float, added to the scores.
    """
    mixed = cpu.attention(query, key, value, mask, attention.scaling)
    return cpu.linear(attention.o_proj, mixed.transpose(1, 2).flatten(2))


def mlp(layers: Any, tokens: torch.Tensor) -> torch.Tensor:
    """Run transformers' `Sam3MLP` on tokens [..., D], overwriting its wide hidden layer where possible."""
    wide = cpu.activated(layers.fc1, layers.activation_fn, layers.config.hidden_act, tokens)
    return cpu.linear(layers.fc2, wide)


def attend_to_tokens(
    attention: Any, query: torch.Tensor, tokens: torch.Tensor, valid: torch.Tensor
) -> torch.Tensor:
    """Attend to the valid tokens of a prompt, [N, L, D].

    Args:
        attention: cross-attention.
        query: [N, heads, L, d].
        tokens: [N, T, D].
        valid: bool [N, T].
    """
    key = project(attention, attention.k_proj, tokens)
    value = project(attention, attention.v_proj, tokens)
    return attend(attention, query, key, value, valid[:, None, None, :])


def attend_with_one(
    attention: Any, query: torch.Tensor, tokens: torch.Tensor, position: torch.Tensor
) -> torch.Tensor:
    """Attend from a single query to many tokens without projecting each to a key and a value: [N, 1, D].

    The product of a query with a projected token is the product of the projected query with the token, and the mean
    of projected values is the projected mean of the tokens. The keys' bias adds the same to every score, which softmax
    removes.

    Args:
        attention: cross-attention whose keys are tokens + position, and whose values are the tokens.
        query: [N, 1, D].
        tokens: [N, L, D].
        position: [1, L, D].
    """
    heads, width = attention.num_attention_heads, attention.head_dim
    # In half precision, rounded scores would move presence.
    with in_float32(tokens):
        tokens = tokens.float()
        split = F.linear(query.float(), attention.q_proj.weight.float(), attention.q_proj.bias.float())
        asked = torch.einsum("nhd,hdc->nhc", split.view(-1, heads, width), _by_head(attention.k_proj, heads))
        scores = attention.scaling * (asked @ tokens.transpose(1, 2) + asked @ position.transpose(1, 2))
        mean = scores.softmax(dim=-1) @ tokens
        mixed = torch.einsum("nhc,hdc->nhd", mean, _by_head(attention.v_proj, heads)).flatten(1)
        mixed = mixed + attention.v_proj.bias.float()
    return attention.o_proj(mixed)[:, None]


def in_float32(like: torch.Tensor) -> AbstractContextManager[object]:
    """Make a context without autocast on the device of `like`."""
    if like.is_meta:
        return nullcontext()
    return torch.autocast(like.device.type, enabled=False)


def _by_head(linear: Any, heads: int) -> torch.Tensor:
    """Return the weights of a projection, float32 [heads, d, D]."""
    return linear.weight.float().view(heads, -1, linear.in_features)


def slices(count: int, bytes_each: int, most: int) -> list[slice]:
    """Cut `count` items into equal parts of at most `most` bytes."""
    size = max(1, most // max(bytes_each, 1))
    parts = -(-count // size)
    bounds = [round(count * part / parts) for part in range(parts + 1)]
    return [slice(*pair) for pair in pairwise(bounds)]


def step_bytes(like: torch.Tensor) -> int:
    """Return how much memory a step may take on the device of `like`."""
    return SLICE_BYTES if like.device.type == "cpu" else GPU_BYTES
