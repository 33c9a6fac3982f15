"""Pictures for the node's cameras."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tqdm import tqdm

from activesam_ros.toytown.world import HELD_OUT_SEED, World

if TYPE_CHECKING:
    import numpy as np

_SECONDS_BETWEEN = 0.5


def drive(seed: int, count: int, size: tuple[int, int], of: str = "a drive") -> list[np.ndarray]:
    """Pictures of one of Toy Town's streets that training never saw.

    Args:
        seed: which street.
        count: how many, half a second apart.
        size: width and height in pixels.
        of: said beside the progress bar.

    Returns:
        uint8 [height, width, 3] each.
    """
    world = World(HELD_OUT_SEED + seed, *size)
    bar = tqdm(range(count), desc=f"rendering {of}", unit="picture", leave=False)
    return [world.render(number * _SECONDS_BETWEEN).rgb for number in bar]
