"""Training examples: rendered scenes, preprocessed as the segmenter does, with prompts and their targets."""

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as transforms
from tqdm import tqdm
from transformers import CLIPTokenizer

from activesam_ros.toytown import (
    CLASS_ID,
    CLASSES,
    FOREIGN,
    HYPERNYMS,
    OTHER_HYPERNYMS,
    SUPERCLASSES,
    SYNONYMS,
    THINGS,
)
from activesam_ros.toytown.network import tokenize
from activesam_ros.toytown.world import HELD_OUT_SEED, RenderedFrame, scene

_THIN_NAMES = "pole traffic_light traffic_sign person rider motorcycle bicycle wall fence"
THIN = tuple(CLASS_ID[name.replace("_", " ")] for name in _THIN_NAMES.split())
"""Classes of small or thin things, which get more weight."""
_SCENES_PER_TASK = 40
_MOST_INSTANCES = 10
_FOREIGN_IN_VOCABULARY = 8
_JUNK_IN_VOCABULARY = 5


@dataclass(frozen=True)
class SceneStore:
    """Arrays of n scenes: ``rgb`` uint8 [n, H, W, 3], ``labels`` uint8 [n, H, W], ``instances`` uint16 [n, H, W]."""

    rgb: np.ndarray
    labels: np.ndarray
    instances: np.ndarray

    def __len__(self) -> int:
        return len(self.rgb)


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
    shapes: dict[str, tuple[tuple[int, ...], type]] = {
        "rgb": ((count, 240, 320, 3), np.uint8),
        "labels": ((count, 240, 320), np.uint8),
        "instances": ((count, 240, 320), np.uint16),
    }
    files = {part: folder / f"scenes-{seed}-{count}-{part}.npy" for part in shapes}
    done = folder / f"scenes-{seed}-{count}.done"
    if not done.exists():
        arrays = {
            part: np.lib.format.open_memmap(files[part], "w+", dtype, shape)
            for part, (shape, dtype) in shapes.items()
        }
        starts = range(0, count, _SCENES_PER_TASK)
        with (
            ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool,
            tqdm(total=count, desc="rendering", unit="scene", disable=not progress) as bar,
        ):
            chunks = pool.map(_render_chunk, [first + start for start in starts], repeat(first + count))
            for start, frames in zip(starts, chunks, strict=True):
                for index, frame in enumerate(frames, start):
                    for part, array in arrays.items():
                        array[index] = getattr(frame, part)
                bar.update(len(frames))
        for array in arrays.values():
            array.flush()
        done.touch()
    return SceneStore(**{part: np.load(file, mmap_mode="r") for part, file in files.items()})


def _render_chunk(start: int, end: int) -> list[RenderedFrame]:
    cv2.setNumThreads(1)
    return [scene(seed) for seed in range(start, min(start + _SCENES_PER_TASK, end))]


@dataclass(frozen=True)
class Target:
    """Ground truth of a prompt that is present: masks of the image's size.

    ``semantic`` bool [H, W]; ``boxes`` float [instances, 4] (centre, size in 0..1); ``masks`` bool [instances, H, W].
    """

    semantic: Tensor
    boxes: Tensor
    masks: Tensor


@dataclass(frozen=True)
class Batch:
    """Images float [images, 3, size, size] with soft class maps float [images, 19, size / 4, size / 4].

    ``vocabulary`` holds the token ids of the 19 classes, then of prompts that name nothing here. ``prompts`` (token
    ids), ``image_index`` and ``targets`` (None: absent) are per prompt; ``hypernyms`` holds up to two token id lists
    per prompt. They are empty in batches for dense pre-training.
    """

    size: int
    pixels: Tensor
    dense: Tensor
    vocabulary: list[list[int]]
    prompts: list[list[int]]
    hypernyms: list[list[list[int]]]
    image_index: Tensor
    targets: list[Target | None]


def preprocess(rgb: np.ndarray, size: int) -> Tensor:
    """Resize an image uint8 [H, W, 3] as the segmenter does (antialiased bilinear); float [3, size, size] in -1..1."""
    pixels = torch.from_numpy(np.array(rgb, order="C")).permute(2, 0, 1)
    resized = transforms.resize(pixels, [size, size], antialias=True)
    return resized.float() / 127.5 - 1


def prompt_for(r: np.random.Generator, name: str) -> str:
    """Draw a prompt for a class: its name or a synonym, now and then in the plural or with an article."""
    prompt = name if r.random() < 0.5 else str(r.choice(SYNONYMS.get(name, (name,))))
    u = r.random()
    if u < 0.06:
        return prompt if prompt.endswith("s") else prompt + "s"
    if u < 0.12:
        return "a " + prompt
    return "the " + prompt if u < 0.17 else prompt


def junk(r: np.random.Generator, tokens: int) -> list[int]:
    """Draw token ids that mean nothing."""
    count = int(r.choice([1, 1, 1, 2, 2, 3, 4]))
    return [0, *(int(i) for i in r.integers(2, tokens, count)), 1]


class Sampler:
    """Draws batches from a store of scenes; a batch depends on the generator alone.

    Args:
        store: the scenes.
        tokenizer: the network's tokenizer.
        positives: present prompts per image.
        negatives: absent prompts per image.
    """

    def __init__(
        self, store: SceneStore, tokenizer: CLIPTokenizer, positives: int = 4, negatives: int = 3
    ) -> None:
        self._store, self._tokenizer = store, tokenizer
        self._positives, self._negatives = positives, negatives
        self._rarity = np.where(np.isin(np.arange(len(CLASSES)), THIN), 1.6, 1.0)
        self._rarity[[CLASS_ID["road"], CLASS_ID["sky"], CLASS_ID["building"]]] = 0.6

    def dense(self, r: np.random.Generator, images: int, size: int) -> Batch:
        """Draw a batch for dense pre-training: images, class maps and a vocabulary."""
        drawn = [self._image(r, size) for _ in range(images)]
        pixels = torch.stack([one[0] for one in drawn])
        dense = torch.stack([_class_map(one[1]) for one in drawn])
        return Batch(size, pixels, dense, self._vocabulary(r), [], [], torch.zeros(0, dtype=torch.long), [])

    def prompted(self, r: np.random.Generator, images: int, size: int) -> Batch:
        """Draw a batch for the whole network: also prompts with their targets."""
        pixels, dense, ids, hypernyms, targets = [], [], [], [], []
        for _ in range(images):
            image, labels, instances = self._image(r, size)
            pixels.append(image)
            dense.append(_class_map(labels))
            for prompt, classes in self._prompts(r, labels, size):
                ids.append(
                    junk(r, len(self._tokenizer))
                    if prompt is None
                    else tokenize(self._tokenizer, [prompt])[0]
                )
                targets.append(_target(labels, instances, classes, size) if classes else None)
                hypernyms.append(tokenize(self._tokenizer, self._hypernyms(r, prompt)) if prompt else [])
        index = torch.arange(images).repeat_interleave(len(ids) // images)
        return Batch(
            size, torch.stack(pixels), torch.stack(dense), self._vocabulary(r), ids, hypernyms, index, targets
        )

    def _vocabulary(self, r: np.random.Generator) -> list[list[int]]:
        prompts = [prompt_for(r, name) for name in CLASSES]
        prompts += [str(name) for name in r.choice(FOREIGN, _FOREIGN_IN_VOCABULARY)]
        nonsense = [junk(r, len(self._tokenizer)) for _ in range(_JUNK_IN_VOCABULARY)]
        return tokenize(self._tokenizer, prompts) + nonsense

    @staticmethod
    def _hypernyms(r: np.random.Generator, prompt: str) -> list[str]:
        u = r.random()
        if u < 0.25:
            return []
        bare = prompt.removeprefix("a ").removeprefix("the ").removesuffix("s")
        for name, synonyms in SYNONYMS.items():
            if u < 0.85 and (bare in synonyms or prompt in synonyms):
                return list(HYPERNYMS[name])
        return [str(name) for name in r.choice(OTHER_HYPERNYMS, int(r.integers(1, 3)), replace=False)]

    def _image(self, r: np.random.Generator, size: int) -> tuple[Tensor, np.ndarray, np.ndarray]:
        index = int(r.integers(len(self._store)))
        rgb, labels, instances = (
            array[index] for array in (self._store.rgb, self._store.labels, self._store.instances)
        )
        height, width = labels.shape
        if r.random() < 0.4:
            keep = r.uniform(0.65, 1)
            h, w = int(height * keep), int(width * keep)
            y, x = int(r.integers(height - h + 1)), int(r.integers(width - w + 1))
            rgb, labels, instances = (a[y : y + h, x : x + w] for a in (rgb, labels, instances))
        if r.random() < 0.5:
            rgb, labels, instances = (a[:, ::-1] for a in (rgb, labels, instances))
        pixels = preprocess(rgb, size)
        gain = torch.tensor(r.uniform(0.9, 1.1) * r.uniform(0.96, 1.04, 3), dtype=torch.float32)[
            :, None, None
        ]
        pixels = (pixels + 1) * gain - 1 + float(r.uniform(-0.05, 0.05))
        labels, instances = (
            cv2.resize(np.ascontiguousarray(a), (size, size), interpolation=cv2.INTER_NEAREST)
            for a in (labels, instances)
        )
        return pixels, labels, instances

    def _prompts(
        self, r: np.random.Generator, labels: np.ndarray, size: int
    ) -> list[tuple[str | None, list[int]]]:
        """Draw prompts (None: junk) with the present classes that each one names."""
        count = np.bincount(labels.ravel(), minlength=256)[: len(CLASSES)]
        enough = _enough(size)
        present, absent = np.flatnonzero(count >= enough), np.flatnonzero(count == 0)
        weight = self._rarity[present]
        chosen = r.choice(present, min(self._positives, len(present)), replace=False, p=weight / weight.sum())
        prompts: list[tuple[str | None, list[int]]] = [(prompt_for(r, CLASSES[c]), [int(c)]) for c in chosen]
        while len(prompts) < self._positives + self._negatives:
            u = r.random()
            if u < 0.62 and len(absent):
                prompts.append((prompt_for(r, CLASSES[int(r.choice(absent))]), []))
            elif u < 0.84:
                prompts.append((prompt_for(r, str(r.choice(FOREIGN))), []))
            elif u < 0.94:
                prompts.append((None, []))
            else:
                name = str(r.choice(list(SUPERCLASSES)))
                classes = [CLASS_ID[member] for member in SUPERCLASSES[name]]
                total = count[classes].sum()
                if total == 0 or total >= enough:
                    prompts.append((name, classes if total else []))
        return prompts


def _enough(size: int) -> float:
    """Return the fewest pixels of a ``size`` x ``size`` image that count as something to find."""
    return 20 * (size / 192) ** 2


def _class_map(labels: np.ndarray) -> Tensor:
    size = labels.shape[0] // 4
    one_hot = np.zeros((256, len(CLASSES)), np.float32)
    one_hot[: len(CLASSES)] = np.eye(len(CLASSES))
    soft = one_hot[labels].reshape(size, 4, size, 4, -1).mean((1, 3))
    return torch.from_numpy(soft).permute(2, 0, 1).contiguous()


def _target(labels: np.ndarray, instances: np.ndarray, classes: list[int], size: int) -> Target:
    """Build the target of a prompt: one instance per thing, a single one for what is not made of things."""
    mask = np.isin(labels, classes) if len(classes) > 1 else labels == classes[0]
    found = [mask]
    if classes[0] in THINGS:
        found = [mask & (instances == number) for number in np.unique(instances[mask]) if number]
        found = sorted((m for m in found if m.sum() >= _enough(size) / 2), key=lambda m: -int(m.sum()))
        found = found[:_MOST_INSTANCES]
    boxes = []
    for one in found:
        rows, columns = np.flatnonzero(one.any(1)), np.flatnonzero(one.any(0))
        y0, y1, x0, x1 = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
        boxes.append([(x0 + x1) / 2 / size, (y0 + y1) / 2 / size, (x1 - x0) / size, (y1 - y0) / size])
    masks = np.stack(found) if found else np.zeros((0, size, size), bool)
    return Target(
        torch.from_numpy(mask),
        torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        torch.from_numpy(masks),
    )
