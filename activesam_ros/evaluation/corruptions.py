"""Corrupt images: ten corruptions of ImageNet-C at five severities.

Definitions and constants are those of D. Hendrycks and T. Dietterich, "Benchmarking Neural Network Robustness to Common
Corruptions and Perturbations", ICLR 2019 (arXiv 1903.12261), and of the programs that made ImageNet-C; motion blur is
that of ImageMagick, which they call. The constants are meant for pictures of 224 pixels and are taken in pixels here as
there, whatever the size, as is usual where larger pictures are corrupted; the cloud of the fog spans the whole picture.
"""

from __future__ import annotations

import io
import math
import zlib
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from PIL import Image

from activesam_ros.errors import EvaluationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

SEVERITIES = range(1, 6)


@dataclass(frozen=True)
class Corruption:
    """A corruption.

    Attributes:
        name: what it is asked for by.
        description: one line, for tables.
        constants: what `work` takes at severity 1 to 5.
        work: from uint8 [H, W, 3], one of the constants and a source of chance to values of 0 to 255, which are
            rounded down as ImageNet-C does; it leaves its argument as it is.
    """

    name: str
    description: str
    constants: Sequence[Any]
    work: Callable[[np.ndarray, Any, np.random.Generator], np.ndarray]


@dataclass(frozen=True)
class Corrupted:
    """A corruption at a severity; its text is such as "fog:3"."""

    name: str
    severity: int

    def __post_init__(self) -> None:
        if self.name not in CORRUPTIONS:
            raise EvaluationError(
                f"there is no corruption {self.name!r}; expected one of {', '.join(CORRUPTIONS)}"
            )
        if self.severity not in SEVERITIES:
            raise EvaluationError(f"the severity is {self.severity!r}; expected a whole number from 1 to 5")

    def __str__(self) -> str:
        return f"{self.name}:{self.severity}"


def corruptions_of(names: Iterable[str], severities: Iterable[int]) -> list[Corrupted]:
    """Every named corruption at every severity, each once, in order.

    Raises:
        EvaluationError: there is no such corruption or severity.
    """
    severities = list(severities)
    return list(dict.fromkeys(Corrupted(name, severity) for name in names for severity in severities))


def corrupt(rgb: np.ndarray, name: str, severity: int, seed: int = 0, frame: int = 0) -> np.ndarray:
    """Return a corrupted copy of an image, uint8 [H, W, 3]; the same one for the same arguments.

    Args:
        rgb: uint8 [H, W, 3], of any size.
        name: a key of `CORRUPTIONS`.
        severity: 1 (mild) to 5.
        seed: of the random numbers, 0 or more.
        frame: number of the image in its recording, 0 or more: every one gets random numbers of its own.

    Raises:
        EvaluationError: there is no such corruption or severity.
    """
    Corrupted(name, severity)
    corruption = CORRUPTIONS[name]
    chance = np.random.default_rng([seed, frame, severity, zlib.crc32(name.encode())])
    changed = corruption.work(rgb, corruption.constants[severity - 1], chance)
    return np.clip(changed, 0, 255).astype(np.uint8)


def _gaussian_noise(rgb: np.ndarray, sigma: float, chance: np.random.Generator) -> np.ndarray:
    return rgb + chance.standard_normal(rgb.shape, np.float32) * np.float32(255 * sigma)


def _shot_noise(rgb: np.ndarray, photons: float, chance: np.random.Generator) -> np.ndarray:
    return chance.poisson(rgb / 255 * photons) / photons * 255


def _impulse_noise(rgb: np.ndarray, amount: float, chance: np.random.Generator) -> np.ndarray:
    # Each channel of each pixel for itself, as many black as white ones.
    drawn = chance.random(rgb.shape, np.float32)
    return np.where(drawn < amount / 2, 0, np.where(drawn < amount, 255, rgb))


def _defocus_blur(rgb: np.ndarray, lens: tuple[int, float], _: np.random.Generator) -> np.ndarray:
    return cv2.filter2D(rgb.astype(np.float32), -1, disk(*lens), borderType=cv2.BORDER_REFLECT_101)


def disk(radius: int, softness: float) -> np.ndarray:
    """Return a disk with a blurred edge, float32 [N, N]: what a point becomes out of focus.

    Its weights sum to 1, or up to 1.3 % more from radius 8 on, as in ImageNet-C.
    """
    half = max(8, radius)
    y, x = np.mgrid[-half : half + 1, -half : half + 1]
    inside = (x**2 + y**2 <= radius**2).astype(np.float32)
    side = 3 if radius <= 8 else 5
    return cv2.GaussianBlur(inside / inside.sum(), (side, side), softness)


def _motion_blur(rgb: np.ndarray, motion: tuple[int, float], chance: np.random.Generator) -> np.ndarray:
    return blur_along(rgb.astype(np.float32), *motion, chance.uniform(-45, 45))


def blur_along(picture: np.ndarray, radius: int, sigma: float, angle: float) -> np.ndarray:
    """Blur as ImageMagick's motion blur: each pixel is the weighted mean of those ahead of it.

    Args:
        picture: float32 [H, W, 3]; beyond its border are the pixels of the border.
        radius: of the Gaussian in pixels; 2 · radius + 1 pixels ahead count.
        sigma: its standard deviation in pixels.
        angle: of the motion in degrees, clockwise from the x axis.
    """
    steps = np.arange(2 * radius + 1)
    weights = np.exp(-(steps**2) / (2 * sigma**2))
    weights = (weights / weights.sum()).astype(np.float32)
    towards = math.radians(angle)
    blurred = np.zeros_like(picture)
    height, width = picture.shape[:2]
    rows, columns = np.arange(height), np.arange(width)
    for step, weight in zip(steps, weights, strict=True):
        down = math.ceil(step * math.sin(towards) - 0.5)
        right = math.ceil(step * math.cos(towards) - 0.5)
        shifted = picture[(rows + down).clip(0, height - 1)][:, (columns + right).clip(0, width - 1)]
        blurred += weight * shifted
    return blurred


def _fog(rgb: np.ndarray, fog: tuple[float, float], chance: np.random.Generator) -> np.ndarray:
    density, decay = fog
    height, width = rgb.shape[:2]
    cloud = plasma(max(height, width), decay, chance)[:height, :width, None]
    picture = rgb.astype(np.float32) / 255
    brightest = picture.max()
    # The fog adds light; what is brightest stays as bright as it is.
    return (picture + density * cloud) * brightest / (brightest + density) * 255


def plasma(size: int, decay: float, chance: np.random.Generator) -> np.ndarray:
    """Return a cloud by the diamond-square algorithm on a torus, float32 [S, S] from 0 to 1.

    Args:
        size: at least this many pixels a side; S is the next power of two.
        decay: chance shifts the new points of each halving of the grid by ± 10⁴ / decay ^ (2 · halvings).
        chance: where the shifts come from.
    """
    side = 1 << max(1, math.ceil(math.log2(size)))
    cloud = np.zeros((side, side))
    reach = 100.0
    step = side

    def shifted(sums: np.ndarray) -> np.ndarray:
        return sums / 4 + chance.uniform(-(reach**2), reach**2, sums.shape)

    while step > 1:
        half = step // 2
        corners = cloud[::step, ::step]
        across = corners + np.roll(corners, -1, axis=1)
        centres = cloud[half::step, half::step]
        centres[:] = shifted(across + np.roll(across, -1, axis=0))
        # The points between two corners have those, and the centres on either side, as neighbours.
        cloud[::step, half::step] = shifted(across + centres + np.roll(centres, 1, axis=0))
        down = corners + np.roll(corners, -1, axis=0)
        cloud[half::step, ::step] = shifted(down + centres + np.roll(centres, 1, axis=1))
        step = half
        reach /= decay
    cloud -= cloud.min()
    return (cloud / cloud.max()).astype(np.float32)


def _brightness(rgb: np.ndarray, more: float, _: np.random.Generator) -> np.ndarray:
    hsv = cv2.cvtColor(rgb.astype(np.float32) / 255, cv2.COLOR_RGB2HSV)
    hsv[..., 2] = (hsv[..., 2] + more).clip(0, 1)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB) * 255


def _contrast(rgb: np.ndarray, share: float, _: np.random.Generator) -> np.ndarray:
    mean = rgb.mean(axis=(0, 1), keepdims=True)
    return (rgb - mean) * share + mean


def _pixelate(rgb: np.ndarray, share: float, _: np.random.Generator) -> np.ndarray:
    height, width = rgb.shape[:2]
    small = (max(1, int(width * share)), max(1, int(height * share)))
    picture = Image.fromarray(np.ascontiguousarray(rgb))
    return np.asarray(
        picture.resize(small, Image.Resampling.BOX).resize((width, height), Image.Resampling.BOX)
    )


def _jpeg_compression(rgb: np.ndarray, quality: float, _: np.random.Generator) -> np.ndarray:
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(rgb)).save(stream, "JPEG", quality=int(quality))
    return np.asarray(Image.open(stream))


CORRUPTIONS: Mapping[str, Corruption] = MappingProxyType(
    {
        one.name: one
        for one in (
            Corruption(
                "gaussian_noise",
                "noise of a sensor in low light: standard deviation in parts of white",
                (0.08, 0.12, 0.18, 0.26, 0.38),
                _gaussian_noise,
            ),
            Corruption(
                "shot_noise",
                "noise of counted light: photons of a white pixel",
                (60, 25, 12, 5, 3),
                _shot_noise,
            ),
            Corruption(
                "impulse_noise",
                "dead and stuck pixels: share of the values",
                (0.03, 0.06, 0.09, 0.17, 0.27),
                _impulse_noise,
            ),
            Corruption(
                "defocus_blur",
                "a lens out of focus: radius in pixels, and softness of its edge",
                ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
                _defocus_blur,
            ),
            Corruption(
                "motion_blur",
                "a camera that moves: radius and standard deviation in pixels",
                ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
                _motion_blur,
            ),
            Corruption(
                "fog",
                "fog of uneven density: its light in parts of white, and decay of its detail",
                ((1.5, 2), (2.0, 2), (2.5, 1.7), (2.5, 1.5), (3.0, 1.4)),
                _fog,
            ),
            Corruption(
                "brightness",
                "too much light: added to the HSV value, in parts of white",
                (0.1, 0.2, 0.3, 0.4, 0.5),
                _brightness,
            ),
            Corruption(
                "contrast", "too little contrast: what is left of it", (0.4, 0.3, 0.2, 0.1, 0.05), _contrast
            ),
            Corruption(
                "pixelate",
                "too few pixels: what is left of them, along each side",
                (0.6, 0.5, 0.4, 0.3, 0.25),
                _pixelate,
            ),
            Corruption(
                "jpeg_compression", "lossy compression: JPEG quality", (25, 18, 15, 10, 7), _jpeg_compression
            ),
        )
    }
)
"""Every corruption by its name."""
