"""Pictures of the demonstration: input, truth, labels and confidence; and an animation of the whole drive."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL import Image

from activesam_ros import visualization as drawing
from activesam_ros.toytown import CLASSES, SYNONYMS
from activesam_ros.vocabulary import palette
from activesam_ros.vocabulary.canonical import match_key

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from activesam_ros.benchmarks.demo_client import FrameOutput, Replay
    from activesam_ros.datasets.samples import Sample

UNKNOWN = len(CLASSES)
# Of the animation; about 15 kB an image.
_MOST_IMAGES, _WIDTH = 48, 480


def true_class(name: str) -> int:
    """Return the class of Toy Town that a name or synonym stands for; UNKNOWN if there is none."""
    owner = {match_key(prompt): index for index, group in enumerate(CLASSES) for prompt in SYNONYMS[group]}
    return owner.get(match_key(name), UNKNOWN)


def to_truth(labels: np.ndarray, names: Mapping[int, str]) -> np.ndarray:
    """Translate class ids into Toy Town's, uint8 [H, W]; other classes and unlabelled pixels become UNKNOWN."""
    table = np.full(max(int(labels.max(initial=0)), *names, 0) + 1, UNKNOWN, np.uint8)
    for class_id, name in names.items():
        table[class_id] = true_class(name)
    return table[labels]


def spread(replay: Replay, count: int) -> list[int]:
    """Return the stamps of `count` labelled frames, evenly spread over the replay."""
    stamps = sorted(replay.outputs)
    return [stamps[round(at)] for at in np.linspace(0, len(stamps) - 1, min(count, len(stamps)))]


def write_pictures(folder: Path, frames: Mapping[int, Sample], replay: Replay, count: int) -> int:
    """Write pictures of `count` labelled frames, evenly spread over the replay; return how many were written."""
    for old in folder.glob("frame_*.png"):
        old.unlink()
    stamps = spread(replay, count)
    for stamp in stamps:
        output = replay.outputs[stamp]
        path = folder / f"frame_{replay.published.index(stamp):04d}_revision_{output.revision}.png"
        picture = draw_picture(frames[stamp], output, replay.class_names[output.revision])
        if not cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)):
            raise OSError(f"{path} could not be written; is the disk full?")
    return len(stamps)


def write_animation(path: Path, frames: Mapping[int, Sample], replay: Replay) -> Path:
    """Write the labelled frames, at most 48 of them, with their names as an animated WebP; return its path."""
    stamps = spread(replay, _MOST_IMAGES)
    images = []
    for stamp in stamps:
        output = replay.outputs[stamp]
        names = replay.class_names[output.revision]
        picture = drawing.overlay(
            frames[stamp].rgb, output.labels, _table(output, names), _unlabelled(output)
        )
        height = round(_WIDTH * picture.shape[0] / picture.shape[1])
        picture = cv2.resize(picture, (_WIDTH, height), interpolation=cv2.INTER_AREA)
        labels = cv2.resize(output.labels, (_WIDTH, height), interpolation=cv2.INTER_NEAREST)
        drawing.name_regions(picture, labels, names)
        text = f"{len(names)} words, {len(output.active)} active: {', '.join(output.active)}"
        images.append(Image.fromarray(drawing.stack(picture, drawing.caption(text, _WIDTH))))
    pauses = [max(40, (after - stamp) // 1_000_000) for stamp, after in pairwise(stamps)]
    images[0].save(
        path, save_all=True, append_images=images[1:], duration=[*pauses, 1000], loop=0, quality=60, method=4
    )
    return path


def draw_picture(frame: Sample, output: FrameOutput, names: Mapping[int, str]) -> np.ndarray:
    """Draw input, ground truth, labels and confidence over a legend of the classes that are shown."""
    unlabeled, table = _unlabelled(output), _table(output, names)
    truth_table = _truth_table()
    images = [
        frame.rgb,
        drawing.colourise(frame.truth, truth_table),
        drawing.colourise(output.labels, table),
        output.confidence,
    ]
    titles = ["input", "ground truth", f"labels ({len(names)} classes)", "confidence"]
    sheet = drawing.panels(images, titles, columns=2)
    colours: dict[str, np.ndarray] = {}
    for class_id in np.unique(output.labels):
        colours["unlabelled" if class_id == unlabeled else names[int(class_id)]] = table[class_id]
    shown = {true_class(name) for name in colours}
    for index in np.unique(frame.truth):
        if index < len(CLASSES) and index not in shown:
            colours[f"{CLASSES[index]} (truth only)"] = truth_table[index]
    legend = drawing.legend(list(colours), np.array(list(colours.values()), np.uint8), sheet.shape[1])
    return drawing.stack(sheet, legend)


def _unlabelled(output: FrameOutput) -> int:
    return int(np.iinfo(output.labels.dtype).max)


def _truth_table() -> np.ndarray:
    return palette.colour_table(range(len(CLASSES)), palette.class_colours(CLASSES), 255)


def _table(output: FrameOutput, names: Mapping[int, str]) -> np.ndarray:
    """Return the colours of labels; a synonym has that of the class it stands for, so that the truth compares."""
    table = palette.colour_table(
        list(names), palette.class_colours(list(names.values())), _unlabelled(output)
    )
    truth_table = _truth_table()
    for class_id, name in names.items():
        if (owner := true_class(name)) != UNKNOWN:
            table[class_id] = truth_table[owner]
    return table
