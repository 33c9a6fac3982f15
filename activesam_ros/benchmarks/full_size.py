"""A SAM 3 of the published size with random weights: as slow and as large as the real one, but ignorant."""

from __future__ import annotations

import logging
import shutil
import tempfile
from pathlib import Path

from activesam_ros.system.files import cache_folder

logger = logging.getLogger(__name__)

SEED = 1


def full_size_folder() -> Path:
    """Where the model is kept between runs; 1.7 GB."""
    return cache_folder() / "bench" / "sam3-random"


def ensure_random_model(folder: Path, config: object | None = None) -> Path:
    """Makes the model unless the folder has it; returns the folder.

    Args:
        folder: appears whole or not at all.
        config: a `Sam3Config`; None: the published size.

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
