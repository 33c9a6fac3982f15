"""Figures and pictures of one replay."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from statistics import mean, median
from typing import TYPE_CHECKING

import cv2
import numpy as np

from activesam_ros import visualization as drawing
from activesam_ros.evaluation.confusion import ConfusionMatrix
from activesam_ros.toytown import CLASSES, SYNONYMS
from activesam_ros.vocabulary import palette
from activesam_ros.vocabulary.canonical import match_key

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from activesam_ros.demo.drive import RecordedFrame
    from activesam_ros.demo.replay import Answer, Recording

UNKNOWN = len(CLASSES)
STAGES = ("prepare", "preview", "encode", "decode", "fuse", "total")


@dataclass(frozen=True)
class VocabularyFigures:
    """What the node did with one vocabulary.

    Attributes:
        revision: of the vocabulary.
        classes: its size.
        frames: answered frames.
        active: mean number of active classes a frame.
        mean_iou: against the bag's ground truth, over the 19 classes of Toy Town.
        latency_median, latency_p95: seconds from publishing an image to receiving its labels.
    """

    revision: int
    classes: int
    frames: int
    active: float
    mean_iou: float
    latency_median: float
    latency_p95: float


@dataclass(frozen=True)
class PreviewFigures:
    """The library on the same frames, with or without the preview.

    Attributes:
        preview: whether it was on.
        frames: how many.
        mean_iou: as in VocabularyFigures.
        agreement: share of the pixels labelled as the node did.
        stages: median seconds per stage.
    """

    preview: bool
    frames: int
    mean_iou: float
    agreement: float
    stages: Mapping[str, float]


@dataclass(frozen=True)
class DemoFigures:
    """All figures of one demonstration.

    Attributes:
        published: frames sent.
        answered: frames with labels.
        superseded: frames that a newer one replaced before the node took them.
        rate: frames a second that were sent.
        change_seconds: from asking for new words to the first labels with them.
        vocabularies: one entry a revision.
        comparison: with the preview, and without it.
        node_summary: what the node itself counted, the frames that woke it included.
    """

    published: int
    answered: int
    superseded: int
    rate: float
    change_seconds: float
    vocabularies: tuple[VocabularyFigures, ...]
    comparison: tuple[PreviewFigures, ...]
    node_summary: str


def to_truth(labels: np.ndarray, names: Mapping[int, str]) -> np.ndarray:
    """Translates class ids into Toy Town's: uint8 [H, W]; UNKNOWN for words of no class and unlabelled pixels."""
    table = np.full(max(int(labels.max(initial=0)), *names, 0) + 1, UNKNOWN, np.uint8)
    for class_id, name in names.items():
        table[class_id] = true_class(name)
    return table[labels]


def true_class(name: str) -> int:
    """The class of Toy Town that a word stands for; UNKNOWN if there is none."""
    owner = {match_key(word): index for index, group in enumerate(CLASSES) for word in SYNONYMS[group]}
    return owner.get(match_key(name), UNKNOWN)


def vocabulary_figures(
    revision: int, frames: Mapping[int, RecordedFrame], recording: Recording
) -> VocabularyFigures:
    """Figures of the frames that were labelled with one revision."""
    names = recording.class_names[revision]
    answers = {stamp: answer for stamp, answer in recording.answers.items() if answer.revision == revision}
    matrix = ConfusionMatrix(len(CLASSES))
    for stamp, answer in answers.items():
        matrix.add(frames[stamp].truth, to_truth(answer.labels, names))
    seconds = [answer.seconds for answer in answers.values()]
    return VocabularyFigures(
        revision=revision,
        classes=len(names),
        frames=len(answers),
        active=mean(len(answer.active) for answer in answers.values()),
        mean_iou=matrix.mean_iou,
        latency_median=median(seconds),
        latency_p95=float(np.percentile(seconds, 95)),
    )


def as_text(figures: DemoFigures) -> str:
    """The figures as a table for a terminal."""
    lines = [
        "",
        f"frames      {figures.published} in at {figures.rate:g} a second = {figures.answered} out "
        f"+ {figures.superseded} superseded by a newer one",
        f"new words   in force {figures.change_seconds:.2f} s after the request, without a pause in the stream",
        "",
        "vocabulary     words  frames  active/frame   mIoU   latency ms p50   p95",
    ]
    for entry in figures.vocabularies:
        lines.append(
            f"revision {entry.revision:<6}{entry.classes:>5}{entry.frames:>8}{entry.active:>14.1f}"
            f"{entry.mean_iou:>7.3f}{1000 * entry.latency_median:>17.0f}{1000 * entry.latency_p95:>6.0f}"
        )
    lines += [
        "",
        "same frames     frames   mIoU   as the node   ms: " + "".join(f"{name:>9}" for name in STAGES),
    ]
    for entry in figures.comparison:
        stages = "".join(f"{1000 * entry.stages.get(name, 0):>9.0f}" for name in STAGES)
        lines.append(
            f"preview {'on' if entry.preview else 'off':<8}{entry.frames:>6}{entry.mean_iou:>7.3f}"
            f"{entry.agreement:>13.2%}       {stages}"
        )
    lines += ["", f"the node    {figures.node_summary}", ""]
    return "\n".join(lines)


def write_figures(figures: DemoFigures, folder: Path) -> None:
    """Writes `figures.json` and `table.txt`."""
    (folder / "figures.json").write_text(json.dumps(asdict(figures), indent=1) + "\n", encoding="utf-8")
    (folder / "table.txt").write_text(as_text(figures), encoding="utf-8")


def write_picture(path: Path, frame: RecordedFrame, answer: Answer, names: Mapping[int, str]) -> None:
    """Draws input | ground truth | labels | confidence over a legend of the classes that are shown."""
    ids, words = list(names), list(names.values())
    unlabeled = int(np.iinfo(answer.labels.dtype).max)
    table = palette.colour_table(ids, palette.class_colours(words), unlabeled)
    truth_table = palette.colour_table(range(len(CLASSES)), palette.class_colours(CLASSES), 255)
    # A synonym is drawn in the colour of the class it stands for, so that truth and labels can be compared.
    for class_id, name in names.items():
        owner = true_class(name)
        if owner != UNKNOWN:
            table[class_id] = truth_table[owner]
    sheet = drawing.panels(
        [
            frame.rgb,
            drawing.colourise(frame.truth, truth_table),
            drawing.colourise(answer.labels, table),
            answer.confidence,
        ],
        ["input", "ground truth", f"labels ({len(names)} words)", "confidence"],
        columns=2,
    )
    legend = _legend(frame, answer, names, table, truth_table, unlabeled, sheet.shape[1])
    if not cv2.imwrite(str(path), cv2.cvtColor(drawing.stack(sheet, legend), cv2.COLOR_RGB2BGR)):
        raise OSError(f"{path} could not be written; is the disk full?")


def write_pictures(
    folder: Path, frames: Mapping[int, RecordedFrame], recording: Recording, count: int
) -> Sequence[Path]:
    """Pictures of `count` answered frames, evenly spread over the replay."""
    for old in folder.glob("frame_*.png"):
        old.unlink()
    stamps = sorted(recording.answers)
    chosen = [stamps[round(index)] for index in np.linspace(0, len(stamps) - 1, min(count, len(stamps)))]
    paths = []
    for stamp in chosen:
        answer = recording.answers[stamp]
        path = folder / f"frame_{recording.published.index(stamp):04d}_revision_{answer.revision}.png"
        write_picture(path, frames[stamp], answer, recording.class_names[answer.revision])
        paths.append(path)
    return paths


def _legend(
    frame: RecordedFrame,
    answer: Answer,
    names: Mapping[int, str],
    table: np.ndarray,
    truth_table: np.ndarray,
    unlabeled: int,
    width: int,
) -> np.ndarray:
    entries: dict[str, np.ndarray] = {}
    for class_id in np.unique(answer.labels):
        name = "unlabelled" if class_id == unlabeled else names[int(class_id)]
        entries[name] = table[class_id]
    shown = {true_class(name) for name in entries}
    for index in np.unique(frame.truth):
        if index < len(CLASSES) and index not in shown:
            entries[f"{CLASSES[index]} (truth only)"] = truth_table[index]
    return drawing.legend(list(entries), np.array(list(entries.values()), np.uint8), width)
