"""The active set: quantile, cap, never none."""

import pytest
import torch

from activesam_ros.stages.preview import select_active


def test_keeps_the_top_share_in_ascending_order():
    presence = torch.linspace(1, 0, 10)
    assert select_active(presence, 0.2, 40) == (0, 1)
    assert select_active(presence.flip(0), 0.2, 40) == (8, 9)


def test_interpolated_quantile():
    # The 0.8 quantile of five values lies at index 3.2: 0.2 of the way from the second best to the best.
    assert select_active(torch.tensor([0.0, 0.1, 0.2, 0.3, 0.8]), 0.2, 40) == (4,)
    assert select_active(torch.tensor([0.0, 0.1, 0.2, 0.8, 0.8]), 0.2, 40) == (3, 4)


def test_the_cap_keeps_the_highest_presence():
    presence = torch.tensor([0.9, 0.1, 0.95, 0.2, 0.99, 0.97])
    assert select_active(presence, 1.0, 3) == (2, 4, 5)


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_equal_presence_keeps_all_up_to_the_cap(value):
    assert select_active(torch.full((50,), value), 0.2, 40) == tuple(range(40))


def test_never_none():
    generator = torch.Generator().manual_seed(0)
    for _ in range(200):
        presence = torch.rand(50, generator=generator) * 1e-6 + 0.3
        assert len(select_active(presence, 1e-9, 1)) == 1


def test_a_floor_takes_what_is_below_it_but_for_the_last():
    presence = torch.tensor([0.9, 0.1, 0.3, 0.29, 0.05])
    assert select_active(presence, 1.0, 40, 0.3) == (0, 2)
    assert select_active(presence, 1.0, 40, 0.0) == (0, 1, 2, 3, 4)
    assert select_active(presence, 0.2, 40, 0.3) == (0,)
    assert select_active(presence, 1.0, 40, 0.95) == (0,)
    # The cap comes first, so that a floor never lets in what it would have kept out.
    assert select_active(presence, 1.0, 1, 0.3) == (0,)
