"""The presence preview: resolutions and the active set."""

import pytest
import torch

from activesam_ros.errors import SettingsError
from activesam_ros.settings import SegmenterSettings
from activesam_ros.stages.preview import resolutions, select_active


def select(presence, keep_fraction=1.0, max_active=3, presence_floor=0.0):
    settings = SegmenterSettings(
        keep_fraction=keep_fraction, max_active=max_active, presence_floor=presence_floor
    )
    return select_active(torch.as_tensor(presence), settings)


def test_keeps_the_top_share_in_ascending_order():
    presence = torch.linspace(1, 0, 10)
    assert select(presence, 0.2) == (0, 1)
    assert select(presence.flip(0), 0.2) == (8, 9)


def test_interpolated_quantile():
    # The 0.8 quantile of five values lies at index 3.2: 0.2 of the way from the second best to the best.
    assert select([0.0, 0.1, 0.2, 0.3, 0.8], 0.2) == (4,)
    assert select([0.0, 0.1, 0.2, 0.8, 0.8], 0.2) == (3, 4)


def test_a_vocabulary_within_the_cap_is_kept_whole():
    assert select([0.0, 0.1, 0.2], 0.2) == (0, 1, 2)


def test_the_cap_keeps_the_highest_presence():
    assert select([0.9, 0.1, 0.95, 0.2, 0.99, 0.97]) == (2, 4, 5)


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_equal_presence_keeps_all_up_to_the_cap(value):
    assert select(torch.full((50,), value), 0.2, 40) == tuple(range(40))


def test_never_none():
    generator = torch.Generator().manual_seed(0)
    for _ in range(200):
        presence = torch.rand(50, generator=generator) * 1e-6 + 0.3
        assert len(select(presence, 0.0001, 1)) == 1


@pytest.mark.parametrize(
    ("keep_fraction", "max_active", "floor", "selected"),
    [
        (1.0, 4, 0.3, (0, 2)),
        (1.0, 40, 0.3, (0, 2)),
        (1.0, 40, 0.0, (0, 1, 2, 3, 4)),
        (0.2, 4, 0.3, (0,)),
        (1.0, 40, 0.95, (0,)),  # nobody reaches it: the most present one
        (1.0, 1, 0.3, (0,)),  # a floor never lets in what the cap kept out
    ],
)
def test_a_floor_takes_what_is_below_it_but_for_the_last(keep_fraction, max_active, floor, selected):
    assert select([0.9, 0.1, 0.3, 0.29, 0.05], keep_fraction, max_active, floor) == selected


def test_published_resolutions():
    assert resolutions(1008, 14, SegmenterSettings()) == (1008, 672)


def test_a_small_model_is_previewed_at_two_thirds():
    for asked in (SegmenterSettings().preview_resolution, 400):
        assert resolutions(192, 8, SegmenterSettings(preview_resolution=asked)) == (192, 128)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"full_resolution": 1000}, "full_resolution is 1000.* such as 994"),
        ({"preview_resolution": 670}, "preview_resolution is 670.* such as 672"),
        ({"preview_resolution": 16}, "patch size 14, at least twice it, such as 28"),
    ],
)
def test_resolutions_are_whole_numbers_of_patches(settings, words):
    with pytest.raises(SettingsError, match=words):
        resolutions(1008, 14, SegmenterSettings(**settings))
