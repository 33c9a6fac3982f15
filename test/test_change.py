"""When a camera looks at something else."""

import numpy as np
import pytest

from activesam_ros.settings import SegmenterSettings
from activesam_ros.stages.scene_change import change, thumbnail
from activesam_ros.toytown.world import World

THRESHOLD = SegmenterSettings().change_threshold


@pytest.fixture(scope="module")
def drives():
    """The beginnings of four drives, at 4 frames a second."""
    return [[World(10_100_000 + seed).render(index / 4).rgb for index in range(8)] for seed in (1, 2, 5, 8)]


def changes(images, others):
    return [change(thumbnail(one), thumbnail(other)) for one, other in zip(images, others, strict=True)]


def test_driving_on_is_no_change_and_a_cut_is(drives):
    on = [each for drive in drives for each in changes(drive, drive[1:] + drive[-1:])]
    cuts = [each for one in drives for other in drives if one is not other for each in changes(one, other)]
    # A bus that passes close by fills the image.
    assert np.mean(np.array(on) < THRESHOLD) > 0.9
    assert np.mean(np.array(cuts) > THRESHOLD) > 0.8


def test_a_camera_that_turned_has_changed(drives):
    for drive in drives:
        for rgb in drive[::3]:
            assert change(thumbnail(rgb), thumbnail(rgb[:, ::-1])) > change(thumbnail(rgb), thumbnail(rgb))
    turned = [each for drive in drives for each in changes(drive, [np.roll(rgb, 160, 1) for rgb in drive])]
    assert np.median(turned) > THRESHOLD


@pytest.mark.parametrize("factor", [0.5, 1.2])
def test_brightness_is_no_change(drives, factor):
    for drive in drives:
        brighter = [np.clip(rgb * factor, 0, 255).astype(np.uint8) for rgb in drive]
        assert max(changes(drive, brighter)) < 0.1


def test_any_size_makes_the_same_thumbnail(drives):
    rgb = drives[0][0]
    large = np.repeat(np.repeat(rgb, 4, 0), 4, 1)
    assert thumbnail(rgb).shape == thumbnail(large).shape == thumbnail(rgb[:2, :1]).shape == (6, 8, 3)
    assert change(thumbnail(rgb), thumbnail(large)) < 0.01


def test_images_of_one_grey():
    dark, bright = (thumbnail(np.full((40, 60, 3), value, np.uint8)) for value in (0, 255))
    assert change(dark, dark) == 0 and change(bright, bright) == 0
    red = np.zeros((40, 60, 3), np.uint8)
    red[..., 0] = 255
    assert change(thumbnail(red), thumbnail(red)) == pytest.approx(0, abs=1e-6)
    red[:20] = 128
    assert change(bright, thumbnail(red)) == pytest.approx(1)


@pytest.mark.parametrize("level", [0, 10, 30, 128, 240, "fog"])
@pytest.mark.parametrize("shape", [(480, 640, 3), (192, 192, 3)])
def test_the_noise_of_a_camera_that_sees_next_to_nothing_is_no_change(level, shape):
    random = np.random.default_rng(7)
    even = np.linspace(180, 205, shape[0])[:, None, None] if level == "fog" else level
    frames = [np.clip(np.rint(even + random.normal(0, 3, shape)), 0, 255).astype(np.uint8) for _ in range(6)]
    assert max(changes(frames, frames[1:] + frames[:1])) < THRESHOLD / 2


def test_a_cap_that_is_taken_off_is_a_change(drives):
    for drive in drives:
        capped = [np.full_like(rgb, 3) for rgb in drive]
        assert min(changes(capped, drive) + changes(drive, capped)) > THRESHOLD
