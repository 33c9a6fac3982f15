"""Scenes rendered once and kept on disk, to be read many times while training."""

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from activesam_ros.toytown.scene import Frame, World

HELD_OUT_SEED = 10_000_000
"""Training uses seeds below this one, evaluation seeds from it on."""
_CHUNK = 40


@dataclass(frozen=True)
class SceneStore:
    """Arrays of n scenes: ``rgb`` uint8 [n, H, W, 3], ``labels`` uint8 [n, H, W], ``instances`` uint16 [n, H,
    W].
    """

    rgb: np.ndarray
    labels: np.ndarray
    instances: np.ndarray

    def __len__(self) -> int:
        return len(self.rgb)


def scene(seed: int) -> Frame:
    """The one picture that stands for a seed in training and evaluation: a moment of the first 20 s of its
    drive.
    """
    return World(seed).render(float(np.random.default_rng([seed, 3]).uniform(0, 20)))


def held_out_scene(index: int) -> Frame:
    """The scene of the given number (0 and up) of those that training never sees."""
    return scene(HELD_OUT_SEED + index)


def load_or_render(folder: Path, count: int, seed: int, processes: int, progress: bool = True) -> SceneStore:
    """Open the scenes kept in ``folder``, rendering them first if they are not there.

    Args:
        folder: where the arrays are kept; one folder may hold several sets.
        count: number of scenes.
        seed: the set's number; set k uses the world seeds k * 100000 ... k * 100000 + count - 1.
        processes: number of rendering processes.
        progress: show a progress bar.

    Raises:
        ValueError: the set would leave the seeds reserved for training.
    """
    first = seed * 100_000
    if not 0 < count <= 100_000 or first + count > HELD_OUT_SEED:
        raise ValueError(
            f"at most 100000 scenes and seeds 0 to 99 are for training, got {count} scenes of seed {seed}"
        )
    folder.mkdir(parents=True, exist_ok=True)
    names = {part: folder / f"scenes-{seed}-{count}-{part}.npy" for part in ("rgb", "labels", "instances")}
    done = folder / f"scenes-{seed}-{count}.done"
    if not done.exists():
        shapes = {
            "rgb": ((count, 240, 320, 3), np.uint8),
            "labels": ((count, 240, 320), np.uint8),
            "instances": ((count, 240, 320), np.uint16),
        }
        arrays = {
            part: np.lib.format.open_memmap(names[part], "w+", dtype, shape)
            for part, (shape, dtype) in shapes.items()
        }
        starts = range(0, count, _CHUNK)
        with (
            ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool,
            tqdm(total=count, desc="rendering", unit="scene", disable=not progress) as bar,
        ):
            chunks = pool.map(_render_chunk, [first + start for start in starts], repeat(first + count))
            for start, frames in zip(starts, chunks, strict=True):
                for offset, frame in enumerate(frames):
                    arrays["rgb"][start + offset] = frame.rgb
                    arrays["labels"][start + offset] = frame.labels
                    arrays["instances"][start + offset] = frame.instances
                bar.update(len(frames))
        for array in arrays.values():
            array.flush()
        done.touch()
    return SceneStore(*(np.load(names[part], mmap_mode="r") for part in ("rgb", "labels", "instances")))


def _render_chunk(start: int, end: int) -> list[Frame]:
    cv2.setNumThreads(1)
    return [scene(seed) for seed in range(start, min(start + _CHUNK, end))]
