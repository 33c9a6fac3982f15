"""Evaluate labels that a running node publishes, frame by frame, into the folder of a run."""

from __future__ import annotations

import os
import platform
from typing import TYPE_CHECKING, Any, Self

from activesam_ros.errors import EvaluationError
from activesam_ros.evaluation.metrics import ConfusionMatrix
from activesam_ros.evaluation.report.findings import LIVE_METHOD
from activesam_ros.evaluation.report.gallery import Gallery
from activesam_ros.evaluation.results import finalize
from activesam_ros.evaluation.run_folder import PICTURES, RECORDS, RunFolder, describe_run
from activesam_ros.evaluation.scoring import PreviousFrame, failed_frame, score_frame

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    from activesam_ros.datasets.class_map import ClassMatching
    from activesam_ros.datasets.samples import Sample
    from activesam_ros.evaluation.records import FrameRecord
    from activesam_ros.evaluation.scoring import FrameCost, FrameLabels
    from activesam_ros.settings import SegmenterSettings
    from activesam_ros.vocabulary import Vocabulary


def require_free(folder: Path, overwrite: bool) -> None:
    """Refuse a folder that holds a run with any frame: what was played to a node cannot be resumed.

    Raises:
        EvaluationError: it does, and it may not be overwritten; or it is a file, or holds something else.
    """
    records = folder / RECORDS
    if not overwrite and records.exists() and records.stat().st_size:
        raise EvaluationError(
            f"{folder} holds an evaluation already; give another folder as out, or set overwrite to true"
        )
    foreign = RunFolder(folder).foreign
    if foreign:
        raise EvaluationError(f"{folder} {foreign}; give another folder as out")


def describe_live_run(
    recording: Mapping[str, Any],
    model: Mapping[str, Any],
    vocabulary: Vocabulary,
    matching: ClassMatching | None,
    settings: SegmenterSettings,
    command: str,
) -> dict[str, Any]:
    """Return the content of `run.json`; see `describe_run`."""
    method = {
        "name": LIVE_METHOD,
        "description": "the running node; its times hold everything between the image and its labels",
        "differences": [],
    }
    return describe_run(
        recording=recording,
        model=model,
        vocabulary=vocabulary,
        matching=matching,
        settings={LIVE_METHOD: settings},
        methods=[method],
        corruptions=[],
        seed=0,
        machine=f"of the evaluator: {platform.machine()}, {len(os.sched_getaffinity(0))} cores",
        command=command,
    )


class LiveRun:
    """Score one frame after another, keep records, labels and pictures; a context manager."""

    def __init__(self, folder: RunFolder, vocabulary: Vocabulary, matching: ClassMatching | None) -> None:
        """Continue a run that was begun.

        Args:
            folder: of the run.
            vocabulary: that the frames are labelled with.
            matching: between its classes and those of the truth; None: there is no truth.
        """
        self._folder = folder
        self._matching = matching
        self._gallery = Gallery(folder.path / PICTURES, vocabulary, matching)
        self._file = folder.append_to()
        self._before: PreviousFrame | None = None
        self._confusion = None if matching is None else ConfusionMatrix(len(matching.classes))
        self._scored = 0
        self.frames = 0
        self.failed = 0

    def __enter__(self) -> Self:
        self._file.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.__exit__(kind, error, trace)

    @property
    def mean_iou(self) -> float | None:
        """The mIoU over the frames so far; None if none of them has truth."""
        return self._confusion.mean_iou if self._confusion is not None and self._scored else None

    def add(self, sample: Sample, result: FrameLabels, cost: FrameCost | None = None) -> FrameRecord:
        """Add the next frame and its labels."""
        height, width = result.labels.shape
        if sample.rgb is None:
            return self.add_failed(sample, f"the labels are {width}x{height}, but {sample.error}")
        if sample.rgb.shape[:2] != (height, width):
            size = sample.error or f"the image is {sample.rgb.shape[1]}x{sample.rgb.shape[0]}"
            return self.add_failed(sample, f"the labels are {width}x{height}, but {size}")
        record = score_frame(sample, result, self._matching, self._before, method=LIVE_METHOD, cost=cost)
        self._folder.save_prediction(LIVE_METHOD, "", sample.index, result.labels)
        truth = None
        if sample.truth is not None and self._matching is not None:
            truth = self._matching.truth_of(sample.truth)
        self._gallery.offer(record, sample.rgb, result.labels, truth)
        self._before = PreviousFrame(sample.truth, result.labels)
        self._keep(record)
        return record

    def add_failed(self, sample: Sample, error: str) -> FrameRecord:
        """Add the next frame, which has no labels, and why."""
        self._before = None
        record = failed_frame(sample, error, method=LIVE_METHOD)
        self._keep(record)
        return record

    def finalize(self, notes: Sequence[str] = ()) -> tuple[Path, str]:
        """Write figures and page; see `results.finalize`."""
        return finalize(self._folder, notes)

    def _keep(self, record: FrameRecord) -> None:
        self._file.append(record)
        self.frames += 1
        self.failed += record.error is not None
        if record.truth is not None and self._confusion is not None:
            self._scored += 1
            self._confusion.counts += record.truth.matrix.counts
