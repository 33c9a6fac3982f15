"""The presence preview: resolutions and the active set."""

import numpy as np
import pytest
import torch

from activesam_ros.errors import SettingsError
from activesam_ros.model.vision_encoder import VisionEncoder
from activesam_ros.settings import SegmenterSettings
from activesam_ros.stages.preview import (
    map_sides,
    most_doubtful,
    resolutions,
    scored_ahead,
    select_active,
    uncertain_prompts,
)


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


@pytest.mark.parametrize(
    ("count", "scales", "sides"),
    [
        (150, (0.3333, 0.6667), (24, 48)),
        (400, (0.3333, 0.6667), (24, 48)),
        (1600, (0.3333, 0.6667), (12, 24)),
        (150, (0.5, 0.25), (36, 36)),
        (150, (0.01, 1.0), (1, 72)),
        (0, (0.3333, 1.0), (24, 72)),
    ],
)
def test_pooled_maps(count, scales, sides):
    settings = SegmenterSettings(preview_scale=scales[0], preview_fine_scale=scales[1])
    assert map_sides(72, count, settings) == sides


def test_only_doubtful_prompts_are_scored_again():
    presence = np.array([0.95, 0.5, np.nan, 0.0001, 0.3, 0.89, 0.2], np.float32)
    scored = (0, 1, 3, 4, 5, 6)
    settings = SegmenterSettings(keep_fraction=1.0, preview_floor=0.25, presence_floor=0.4)
    assert uncertain_prompts(presence, scored, settings) == (1, 4, 5)
    # Nothing that could be decoded is passed over.
    low = SegmenterSettings(keep_fraction=1.0, preview_floor=0.25, presence_floor=0.0001)
    assert uncertain_prompts(presence, scored, low) == (1, 3, 4, 5, 6)
    few = SegmenterSettings(max_active=1, preview_floor=0.25, presence_floor=0.0001)
    assert uncertain_prompts(presence, scored, few) == (1, 5)
    assert uncertain_prompts(presence, (), settings) == ()
    # What is not a number is kept, for the check of the result.
    assert 2 in uncertain_prompts(presence, (1, 2), settings)


@pytest.mark.parametrize(("floor", "number"), [(0.25, 3), (0.25, 1), (0.0001, 5)])
def test_the_device_chooses_the_same_doubtful_prompts(floor, number):
    presence = np.array([0.95, 0.5, 0.1, 0.0001, 0.3, 0.89, 0.2], np.float32)
    settings = SegmenterSettings(keep_fraction=1.0, max_active=40, preview_floor=floor, presence_floor=0.4)
    chosen = most_doubtful(torch.from_numpy(presence), number, settings).tolist()
    expected = uncertain_prompts(presence, range(7), settings)
    most_present = sorted(sorted(expected, key=lambda prompt: -presence[prompt])[:number])
    assert chosen == most_present
    # Too few are filled up, and what is not a number comes first, for the check of the result.
    assert len(most_doubtful(torch.full((4,), 0.99), 3, settings)) == 3
    assert most_doubtful(torch.tensor([0.5, float("nan"), 0.6]), 1, settings).tolist() == [1]


def test_prompts_are_scored_ahead_on_a_gpu_alone():
    settings, gpu = SegmenterSettings(), torch.device("meta")
    numbers = [scored_ahead(count, count, settings, gpu) for count in (16, 60, 150, 1000)]
    assert numbers == [0, 16, 30, 80]
    assert scored_ahead(150, 150, settings, torch.device("cpu")) == 0


def test_pooled_features_are_means_of_cells(toytown_checkpoint):
    encoder = VisionEncoder(toytown_checkpoint, 192, "masks")
    with torch.inference_mode():
        image = encoder.encode(torch.randn(2, 3, 192, 192))
        pooled = encoder.pooled(image, 8)
        whole = encoder.pooled(image, 24)
        small = VisionEncoder(toytown_checkpoint, 64, "coarse").encode(torch.randn(2, 3, 64, 64))
    coarse = image.levels[-1]
    torch.testing.assert_close(
        pooled.levels[0], coarse.unflatten(3, (8, 3)).unflatten(2, (8, 3)).mean((3, 5))
    )
    torch.testing.assert_close(whole.levels[0], coarse)
    assert torch.equal(whole.position, image.position) and pooled.class_token is image.class_token
    # The position encoding is that of any map of as many cells.
    assert torch.equal(pooled.position, small.position)
