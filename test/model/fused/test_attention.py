"""Attention in steps against transformers' own."""

import pytest
import torch

from activesam_ros.model.fused import attention
from activesam_ros.model.fused.attention import attend, attend_to_tokens, attend_with_one, project, slices

CLOSE = {"atol": 2e-5, "rtol": 2e-5}


@pytest.fixture
def cross(network):
    return network.detr_decoder.layers[0].vision_cross_attn


def test_in_steps(cross, noise):
    width = cross.hidden_size
    query, key, value = noise(2, 5, width), noise(2, 7, width), noise(2, 7, width)
    bias = noise(2, cross.num_attention_heads, 5, 7)
    expected, _ = cross(query, key, value, attention_mask=bias)
    found = attend(
        cross,
        project(cross, cross.q_proj, query),
        project(cross, cross.k_proj, key),
        project(cross, cross.v_proj, value),
        bias,
    )
    torch.testing.assert_close(found, expected, **CLOSE)


def test_to_the_valid_tokens_of_a_prompt(cross, noise, prompts):
    tokens, valid = prompts
    query = noise(3, 5, cross.hidden_size)
    found = attend_to_tokens(cross, project(cross, cross.q_proj, query), tokens, valid)
    for one in range(3):
        some = tokens[one : one + 1, valid[one]]
        expected, _ = cross(query[one : one + 1], some, some)
        torch.testing.assert_close(found[one : one + 1], expected, **CLOSE)


def test_with_a_single_query(cross, noise):
    width = cross.hidden_size
    query, tokens, position = noise(3, 1, width), noise(3, 20, width), noise(1, 20, width)
    expected, _ = cross(query, tokens + position, tokens)
    torch.testing.assert_close(attend_with_one(cross, query, tokens, position), expected, **CLOSE)


def test_with_a_single_query_nothing_is_rounded(cross, noise):
    """Large scores in half precision: as exact as the inputs are."""
    width = cross.hidden_size
    query, tokens, position = 6 * noise(3, 1, width), noise(3, 200, width).bfloat16(), noise(1, 200, width)
    exact = attend_with_one(cross, query, tokens.float(), position)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = attend_with_one(cross, query, tokens, position)
    # Only the projection of the output is in half precision.
    assert (found.float() - exact).norm() < 0.006 * exact.norm()


@pytest.mark.parametrize(
    ("count", "each", "sizes"), [(5, 1, [5]), (5, 60, [1] * 5), (7, 30, [2, 3, 2]), (2, 999, [1, 1])]
)
def test_slices_are_equal_and_fit(monkeypatch, count, each, sizes):
    monkeypatch.setattr(attention, "SLICE_BYTES", 100)
    parts = slices(count, each)
    numbers = list(range(count))
    assert sum((numbers[part] for part in parts), []) == numbers
    assert sorted(len(numbers[part]) for part in parts) == sorted(sizes)
