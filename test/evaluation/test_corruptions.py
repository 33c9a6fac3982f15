"""Pictures made worse: the published definitions, of any size, the same again for the same seed."""

import cv2
import numpy as np
import pytest

from activesam_ros.errors import EvaluationError
from activesam_ros.evaluation.corruptions import (
    CORRUPTIONS,
    SEVERITIES,
    Corrupted,
    blur_along,
    corrupt,
    corruptions_of,
    disk,
    plasma,
)

CHANCELESS = ("defocus_blur", "brightness", "contrast", "pixelate", "jpeg_compression")

NAMES = [
    "gaussian_noise",
    "shot_noise",
    "impulse_noise",
    "defocus_blur",
    "motion_blur",
    "fog",
    "brightness",
    "contrast",
    "pixelate",
    "jpeg_compression",
]


@pytest.fixture(scope="module")
def grey():
    return np.full((200, 300, 3), 100, np.uint8)


def test_the_ten():
    assert list(CORRUPTIONS) == NAMES
    for name, corruption in CORRUPTIONS.items():
        assert corruption.name == name and len(corruption.constants) == len(SEVERITIES)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (37, 21), (240, 320)])
def test_any_size(name, size):
    rgb = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    before = rgb.copy()
    for severity in (1, 5):
        changed = corrupt(rgb, name, severity)
        assert changed.shape == rgb.shape and changed.dtype == np.uint8
    np.testing.assert_array_equal(rgb, before)


@pytest.mark.parametrize("name", NAMES)
def test_severity_grows(name, street_image):
    away = [
        np.abs(corrupt(street_image, name, severity, seed=3).astype(float) - street_image).mean()
        for severity in SEVERITIES
    ]
    assert away[0] > 0.5
    if name in ("fog", "motion_blur"):
        # Each severity lies elsewhere, or moves another way.
        assert away[-1] > 1.3 * away[0]
    else:
        assert away == sorted(away)


@pytest.mark.parametrize("name", NAMES)
def test_the_same_again_for_the_same_seed_and_frame(name, street_image):
    first = corrupt(street_image, name, 3, seed=1, frame=7)
    np.testing.assert_array_equal(first, corrupt(street_image, name, 3, seed=1, frame=7))
    for other in ({"seed": 2, "frame": 7}, {"seed": 1, "frame": 8}):
        same = np.array_equal(first, corrupt(street_image, name, 3, **other))
        assert same == (name in CHANCELESS)


@pytest.mark.parametrize("severity", SEVERITIES)
def test_noise_has_its_published_strength(grey, severity):
    sigma = (0.08, 0.12, 0.18, 0.26, 0.38)[severity - 1]
    noisy = corrupt(grey, "gaussian_noise", severity).astype(float)
    # What is cut off at black and white takes nothing from the quartiles within.
    low, median = np.quantile(noisy, [0.5 - 0.3413 / 2, 0.5])
    assert median == pytest.approx(100, abs=2)
    assert (median - low) / 255 == pytest.approx(sigma * 0.4444, rel=0.08)

    photons = (60, 25, 12, 5, 3)[severity - 1]
    shot = corrupt(grey, "shot_noise", severity)
    levels = np.floor(np.arange(0, 12 * photons) / photons * 255).clip(0, 255)
    assert set(np.unique(shot)) <= set(levels.astype(int))
    expected = np.exp(-photons * 100 / 255)
    assert (shot == 0).mean() == pytest.approx(expected, abs=0.01)

    amount = (0.03, 0.06, 0.09, 0.17, 0.27)[severity - 1]
    impulses = corrupt(grey, "impulse_noise", severity)
    assert set(np.unique(impulses)) == {0, 100, 255}
    for value in (0, 255):
        assert (impulses == value).mean() == pytest.approx(amount / 2, abs=0.005)
    # Channels are hit one by one.
    hit = impulses != 100
    assert hit.any(axis=2).mean() == pytest.approx(1 - (1 - amount) ** 3, abs=0.01)


def test_a_point_out_of_focus_is_a_disk():
    for radius, softness in CORRUPTIONS["defocus_blur"].constants:
        weights = disk(radius, softness)
        half = len(weights) // 2
        y, x = np.mgrid[-half : half + 1, -half : half + 1]
        # Where the disk touches the border of its kernel, blurring its edge adds a little; so it was published.
        assert half == max(8, radius) and weights.sum() == pytest.approx(
            1, abs=0.014 if radius >= 8 else 1e-5
        )
        inside = np.hypot(x, y) <= radius
        assert weights[np.hypot(x, y) <= radius - 3] == pytest.approx(1 / inside.sum(), rel=1e-4)
        assert weights[np.hypot(x, y) > radius + 4].max(initial=0) == 0
    point = np.zeros((41, 41, 3), np.uint8)
    point[20, 20] = 255
    blurred = corrupt(point, "defocus_blur", 1)
    assert np.flatnonzero(blurred[20, :, 0]).tolist() == list(range(17, 24))


def slow_motion_blur(picture, radius, sigma, angle):
    """Pixel by pixel, by ImageMagick's definition."""
    weights = [np.exp(-(step**2) / (2 * sigma**2)) for step in range(2 * radius + 1)]
    towards = np.deg2rad(angle)
    height, width = picture.shape[:2]
    blurred = np.zeros_like(picture)
    for y in range(height):
        for x in range(width):
            for step, weight in enumerate(weights):
                row = min(max(y + int(np.ceil(step * np.sin(towards) - 0.5)), 0), height - 1)
                column = min(max(x + int(np.ceil(step * np.cos(towards) - 0.5)), 0), width - 1)
                blurred[y, x] += weight / sum(weights) * picture[row, column]
    return blurred


@pytest.mark.parametrize("angle", [-45, -17, 0, 30])
def test_motion_blur_is_imagemagicks(angle):
    picture = np.random.default_rng(1).uniform(0, 255, (15, 19, 3)).astype(np.float32)
    expected = slow_motion_blur(picture, 4, 3, angle)
    np.testing.assert_allclose(blur_along(picture, 4, 3, angle), expected, atol=0.01)


def slow_plasma(side, decay, chance):
    """The diamond-square algorithm point by point."""
    cloud = np.zeros((side, side))
    reach, step = 100.0, side
    while step >= 2:
        half = step // 2
        centres = [(y, x) for y in range(half, side, step) for x in range(half, side, step)]
        across = [(y, x) for y in range(0, side, step) for x in range(half, side, step)]
        down = [(y, x) for y in range(half, side, step) for x in range(0, side, step)]
        for points, around in (
            (centres, ((-half, -half), (-half, half), (half, -half), (half, half))),
            (across + down, ((-half, 0), (half, 0), (0, -half), (0, half))),
        ):
            for y, x in points:
                near = sum(cloud[(y + dy) % side, (x + dx) % side] for dy, dx in around)
                cloud[y, x] = near / 4 + chance.uniform(-(reach**2), reach**2)
        step, reach = half, reach / decay
    cloud -= cloud.min()
    return cloud / cloud.max()


@pytest.mark.parametrize("decay", [1.4, 2.0])
def test_the_cloud_of_the_fog(decay):
    expected = slow_plasma(32, decay, np.random.default_rng(5))
    np.testing.assert_allclose(plasma(17, decay, np.random.default_rng(5)), expected, atol=1e-5)
    smooth, rough = (plasma(256, one, np.random.default_rng(0)) for one in (2.0, 1.4))
    assert np.abs(np.diff(rough)).mean() > 2 * np.abs(np.diff(smooth)).mean()


def test_fog_keeps_the_brightest_light():
    rgb = np.zeros((64, 80, 3), np.uint8)
    rgb[:32] = 200
    foggy = corrupt(rgb, "fog", 1, seed=4)
    assert foggy.max() <= 200
    cloud = foggy[32:, :, 0].astype(float)
    # Over black the fog alone is seen: 200 · 1.5 · cloud / (200/255 + 1.5).
    assert cloud.max() <= 200 * 1.5 / (200 / 255 + 1.5)
    assert (foggy[32:] == foggy[32:, :, :1]).all()
    assert np.array_equal(corrupt(np.zeros((9, 9, 3), np.uint8), "fog", 5), np.zeros((9, 9, 3), np.uint8))


def test_brightness_and_contrast(grey):
    assert corrupt(grey, "brightness", 2)[0, 0, 0] == pytest.approx(100 + 0.2 * 255, abs=1)
    assert (corrupt(grey + 100, "brightness", 5) == 255).all()
    red = np.full((4, 4, 3), (100, 50, 0), np.uint8)
    assert corrupt(red, "brightness", 4)[0, 0] == pytest.approx([202, 101, 0], abs=1)
    halves = np.concatenate([grey[:, :100] + 100, grey[:, :100]], axis=1)
    # The mean is 150; at severity 2 three tenths of the distance to it are left.
    assert corrupt(halves, "contrast", 2)[0, 0, 0] == pytest.approx(150 + 0.3 * 50, abs=1)
    assert corrupt(halves, "contrast", 2)[0, -1, 0] == pytest.approx(150 - 0.3 * 50, abs=1)


def test_pixelate_and_jpeg(street_image):
    small = corrupt(street_image, "pixelate", 5)
    blocks = small.reshape(60, 4, 80, 4, 3)
    assert (blocks == blocks[:, :1, :, :1]).all()
    means = street_image.reshape(60, 4, 80, 4, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(blocks[:, 0, :, 0], means, atol=1)
    assert corrupt(street_image, "pixelate", 1).shape == street_image.shape

    for severity, quality in zip(SEVERITIES, (25, 18, 15, 10, 7), strict=True):
        options = [cv2.IMWRITE_JPEG_QUALITY, quality]
        _, data = cv2.imencode(".jpg", cv2.cvtColor(street_image, cv2.COLOR_RGB2BGR), options)
        expected = cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
        found = corrupt(street_image, "jpeg_compression", severity)
        # Another encoder with the same tables of the same quality.
        assert np.abs(found.astype(int) - expected).mean() < 1


def test_views_are_taken_too(street_image):
    view = street_image[::-2, ::-3]
    for name in NAMES:
        expected = corrupt(np.ascontiguousarray(view), name, 2)
        np.testing.assert_array_equal(corrupt(view, name, 2), expected)


def test_names_and_severities(grey):
    assert str(Corrupted("fog", 3)) == "fog:3"
    assert [str(one) for one in corruptions_of(["fog", "contrast", "fog"], [1, 5, 1])] == [
        "fog:1",
        "fog:5",
        "contrast:1",
        "contrast:5",
    ]
    with pytest.raises(EvaluationError, match="no corruption 'rain'; expected one of gaussian_noise, shot_"):
        corrupt(grey, "rain", 1)
    for severity in (0, 6, 2.5):
        with pytest.raises(EvaluationError, match="from 1 to 5"):
            corrupt(grey, "fog", severity)
