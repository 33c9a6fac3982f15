"""What benchmarks run on: a model of the published size, class names, and images of unseen streets."""

from __future__ import annotations

import logging
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from activesam_ros.system.files import cache_folder
from activesam_ros.vocabulary.files import load_vocabulary_file

if TYPE_CHECKING:
    import numpy as np

logger = logging.getLogger(__name__)

SEED = 1
_SECONDS_BETWEEN_IMAGES = 0.5


def full_size_folder() -> Path:
    """Return the folder that keeps the model of `ensure_random_model` between runs; 1.7 GB."""
    return cache_folder() / "bench" / "sam3-random"


def ensure_random_model(folder: Path, config: object | None = None) -> Path:
    """Make a SAM 3 with random weights (as slow and large as the real one) unless the folder has it.

    Args:
        folder: appears whole or not at all.
        config: a `Sam3Config`; None: the published size.

    Returns:
        The folder.

    Raises:
        OSError: the disk is full or cannot be written to.
    """
    if (folder / "config.json").is_file():
        return folder
    import torch
    from transformers import Sam3Config, Sam3Model

    from activesam_ros.model.folder import BUNDLED

    logger.info("making a SAM 3 with random weights in %s", folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as temporary:
        made = Path(temporary) / "model"
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(SEED)
            model = Sam3Model(config or Sam3Config())
        model.to(torch.bfloat16).save_pretrained(made, max_shard_size="1GB")
        # The demo model's few tokens are ids of the large table, too.
        for name in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(BUNDLED["toytown"] / name, made / name)
        made.rename(folder)
    return folder


def coco_stuff_names(classes: int | None = None) -> list[str]:
    """Return the 171 class names of COCO-Stuff, or the first `classes`."""
    return list(load_vocabulary_file("coco_stuff").vocabulary().names)[:classes]


def street_images(seed: int, count: int, size: tuple[int, int], title: str) -> list[np.ndarray]:
    """Render images of a Toy Town street that training never saw, half a second apart: uint8 [height, width, 3] each.

    Args:
        seed: which street.
        count: number of images.
        size: width and height in pixels.
        title: shown beside the progress bar.
    """
    from activesam_ros.toytown.world import HELD_OUT_SEED, World

    world = World(HELD_OUT_SEED + seed, *size)
    bar = tqdm(range(count), desc=f"rendering {title}", unit="image", leave=False)
    return [world.render(number * _SECONDS_BETWEEN_IMAGES).rgb for number in bar]
