"""A made-up run: a street of blocks, labelled by two methods that go wrong in known ways."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from activesam_ros.evaluation.metrics import ConfusionMatrix
from activesam_ros.evaluation.records import FrameRecord, TruthScores
from activesam_ros.evaluation.report.gallery import Gallery
from activesam_ros.evaluation.report.panels import ClassColours
from activesam_ros.evaluation.summary import Results, summarise
from activesam_ros.vocabulary import Vocabulary

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

VOCABULARY = Vocabulary.from_names(["sky", "road", "car, automobile", "person", "<b>dragon</b>"])
CLASSES = ("sky", "road", "car", "person")
MATCHING = SimpleNamespace(classes=CLASSES, label_index={index: index for index in range(4)})
COLOURS = ClassColours.of(VOCABULARY, MATCHING)
METHODS = ("active", "full-vocabulary")
CORRUPTIONS = ("", "fog:1", "fog:3", "jpeg_compression:3")
HEIGHT, WIDTH = 24, 32


class MadeUpRun:
    """A run in a folder.

    Attributes:
        folder: with the pictures of the frames.
        records, results, run: what the page is made of.
    """

    def __init__(self, folder: Path, with_truth: bool, frames: int) -> None:
        self.folder = folder
        gallery = Gallery(folder / "pictures", VOCABULARY, MATCHING if with_truth else None)
        self.records: list[FrameRecord] = []
        for index in range(frames):
            if index == 3:
                self.records += [
                    FrameRecord(index, index * 10**8, method, corruption, error="the image cannot be read")
                    for method in METHODS
                    for corruption in _corruptions(method)
                ]
                continue
            truth = _truth(index)
            for method in METHODS:
                for corruption in _corruptions(method):
                    labels = _labels(truth, index, method, corruption)
                    record = _record(index, method, corruption, truth, labels, with_truth)
                    self.records.append(record)
                    if method == "active" and not corruption:
                        rgb = np.repeat((60 + 40 * truth[..., None]).astype(np.uint8), 3, axis=2)
                        gallery.offer(
                            record, rgb, labels, truth if with_truth else None, truth.astype(np.uint8)
                        )
        self.results: Results = summarise(self.records, CLASSES if with_truth else (), METHODS, CORRUPTIONS)
        self.run: dict[str, Any] = {
            "recording": {
                "path": "bags/street <1>",
                "image_topic": "/camera/image",
                "every": 1,
                "start": None,
            },
            "model": {"name": "toytown", "device": "cpu"},
            "vocabulary": [
                {
                    "id": one.class_id,
                    "name": one.name,
                    "prompts": list(one.prompts),
                    "colour": list(one.colour),
                }
                for one in VOCABULARY.classes
            ],
            "matching": {
                "classes": list(CLASSES),
                "unmatched_truth": ["tram"],
                "unmatched_vocabulary": ["<b>dragon</b>"],
            }
            if with_truth
            else None,
            "methods": [
                {"name": "active", "description": "the settings given", "settings": {"max_active": 40}},
                {"name": "full-vocabulary", "description": "every class", "settings": {"max_active": 65535}},
            ],
            "corruptions": list(CORRUPTIONS[1:]),
            "seed": 7,
            "versions": {"activesam_ros": "1.2.3"},
            "machine": "a machine",
            "made": "2026-01-02T03:04:05+00:00",
            "command": "activesam-evaluate bags/street --compare full-vocabulary",
        }


@pytest.fixture(scope="session")
def made_up_run(tmp_path_factory) -> Callable[..., MadeUpRun]:
    """Makes a run: with ground truth or without, of as many frames as are asked for."""

    def make(with_truth: bool = True, frames: int = 30) -> MadeUpRun:
        return MadeUpRun(tmp_path_factory.mktemp("run"), with_truth, frames)

    return make


def _corruptions(method: str) -> tuple[str, ...]:
    return CORRUPTIONS if method == "active" else ("",)


def _truth(index: int) -> np.ndarray:
    truth = np.zeros((HEIGHT, WIDTH), np.int32)
    truth[12:] = 1
    left = index % 20
    truth[10:16, left : left + 10] = 2
    truth[8:16, 28:31] = 3
    truth[:, :1] = -1
    return truth


def _labels(truth: np.ndarray, index: int, method: str, corruption: str) -> np.ndarray:
    """The person is never found by `active`; more of the car is lost with every level; some sky has no label."""
    labels = np.where(truth < 0, 0, truth).astype(np.uint8)
    if method == "active":
        labels[truth == 3] = 1
        labels[:3, : 2 + index % 12] = 255
    severity = int(corruption.partition(":")[2] or 0)
    car = np.argwhere(truth == 2)
    for row, column in car[: len(car) * severity // 4]:
        labels[row, column] = 4
    return labels


def _record(
    index: int, method: str, corruption: str, truth: np.ndarray, labels: np.ndarray, with_truth: bool
) -> FrameRecord:
    whole = method == "full-vocabulary"
    active = (0, 1, 2, 3, 4) if whole else (0, 1, 2)
    matrix = ConfusionMatrix(len(CLASSES))
    matrix.add(truth, COLOURS.evaluated(labels))
    scores = TruthScores(
        len(CLASSES),
        tuple(one for one in active if one < 4),
        matrix.triples(),
        changed=index % 5,
        compared=700,
    )
    pace = 3.0 if whole else 1.0
    timings = {"prepare": 0.001, "encode": 0.02, "decode": 0.03 * pace + 0.0005 * (index % 7), "fuse": 0.002}
    if not whole:
        timings["preview"] = 0.01
    timings["total"] = sum(timings.values())
    return FrameRecord(
        index,
        index * 10**8,
        method,
        corruption,
        width=WIDTH,
        height=HEIGHT,
        active=active,
        presence=(0.9,) * len(active),
        pixels=tuple(int((labels == one).sum()) for one in active),
        unlabeled=int((labels == 255).sum()),
        truth=scores if with_truth else None,
        agreement=None if whole else float((labels == np.maximum(truth, 0)).mean()),
        timings=timings,
        work=3.33e13 if not whole else 6.84e13,
        peak_memory=1_620_000_000,
    )
