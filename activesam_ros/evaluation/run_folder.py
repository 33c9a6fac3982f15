"""The folder of an evaluation: its description, the records of its frames, and the labels that were predicted."""

from __future__ import annotations

import json
import platform
import shutil
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import cv2

from activesam_ros import __version__
from activesam_ros.errors import EvaluationError
from activesam_ros.evaluation.records import FrameRecord, RecordFile, read_records
from activesam_ros.system.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy as np

    from activesam_ros.datasets.class_map import ClassMatching
    from activesam_ros.vocabulary import Vocabulary

DESCRIPTION = "run.json"
RECORDS = "records.jsonl"
PREDICTIONS = "predictions"
PICTURES = "pictures"
MEMORIES = "memories"
RESULTS = "results.json"
FRAMES = "frames.csv"
PAGE = "report.html"

_LIBRARIES = ("torch", "torchvision", "transformers", "numpy", "opencv-python-headless", "rosbags")
# What may differ between a run and the one that resumes it: labels do not depend on it.
_INCIDENTAL = frozenset({"command", "made", "machine", "versions"})


class RunFolder:
    """One evaluation on disk; an interrupted run is resumed by one that asks for the same."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def records_path(self) -> Path:
        """The file of its records."""
        return self.path / RECORDS

    @property
    def foreign(self) -> str | None:
        """What is there that is no evaluation, and is never removed; None: nothing."""
        if self.path.exists() and not self.path.is_dir():
            return "is a file"
        if self.path.exists() and not (self.path / DESCRIPTION).exists() and any(self.path.iterdir()):
            return "holds files that are no evaluation"
        return None

    def require_own(self) -> None:
        """Refuse a folder of something else; change nothing.

        Raises:
            EvaluationError: the folder is a file, or holds something else than an evaluation.
        """
        if self.foreign:
            raise EvaluationError(f"{self.path} {self.foreign}; give another folder with --out")

    def require_free(self, overwrite: bool) -> None:
        """Refuse a folder that holds a run with any frame; change nothing.

        Raises:
            EvaluationError: it does, and it may not be overwritten; or it is a file, or holds something else.
        """
        self.require_own()
        if not overwrite and self.records_path.exists() and self.records_path.stat().st_size:
            raise EvaluationError(
                f"{self.path} holds an evaluation already; give another folder as out, or set overwrite to true"
            )

    def begin(self, description: Mapping[str, Any], overwrite: bool = False) -> list[FrameRecord]:
        """Make the folder, or take up the run that it holds.

        Args:
            description: what is asked for, as plain data.
            overwrite: remove what an earlier run left.

        Returns:
            the records of the frames that are done.

        Raises:
            EvaluationError: the folder holds another run, or something else.
        """
        self.require_own()
        described = self.path / DESCRIPTION
        if described.exists():
            # A run without a frame is no loss, whatever it was asked for.
            done = [] if overwrite else read_records(self.records_path)
            if done:
                self._require_same(self.description(), description)
                return done
            self._clear()
        self.path.mkdir(parents=True, exist_ok=True)
        write_atomically(described, (json.dumps(description, indent=1, ensure_ascii=False) + "\n").encode())
        return []

    def description(self) -> dict[str, Any]:
        """Read what the run was asked for.

        Raises:
            EvaluationError: the folder holds no run.
        """
        path = self.path / DESCRIPTION
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise EvaluationError(
                f"{self.path} is no folder of an evaluation: {DESCRIPTION} is missing or damaged ({error})"
            ) from error

    def append_to(self) -> RecordFile:
        """Return the file that takes further records; a context manager."""
        return RecordFile(self.records_path)

    def save_prediction(self, method: str, corruption: str, index: int, labels: np.ndarray) -> None:
        """Keep the labels of a frame, uint8 or uint16 [H, W], as PNG."""
        path = self._prediction_path(method, corruption, index)
        path.parent.mkdir(parents=True, exist_ok=True)
        # Fast: label images compress well at any level.
        if not cv2.imwrite(str(path), labels, [cv2.IMWRITE_PNG_COMPRESSION, 1]):
            raise EvaluationError(f"{path} cannot be written; see that the disk has room")

    def prediction(self, method: str, corruption: str, index: int) -> np.ndarray | None:
        """Read the labels of a frame; None if they are not kept."""
        path = self._prediction_path(method, corruption, index)
        return cv2.imread(str(path), cv2.IMREAD_UNCHANGED) if path.exists() else None

    def save_memory(self, method: str, corruption: str, index: int, state: dict[str, Any] | None) -> None:
        """Keep what a stream remembers after a frame (`StreamMemory.state`), instead of what was kept before."""
        path = self._memory_path(method, corruption)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps({"index": index, "state": state}).encode())

    def memory(self, method: str, corruption: str) -> tuple[int, dict[str, Any] | None] | None:
        """Read the index of the last frame that a memory was kept after, and its state; None without a readable one."""
        try:
            kept = json.loads(self._memory_path(method, corruption).read_bytes())
            return int(kept["index"]), kept["state"]
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _memory_path(self, method: str, corruption: str) -> Path:
        return self.path / MEMORIES / f"{_job(method, corruption)}.json"

    def _prediction_path(self, method: str, corruption: str, index: int) -> Path:
        """Where the labels of a frame are kept."""
        return self.path / PREDICTIONS / _job(method, corruption) / f"{index:06d}.png"

    def _clear(self) -> None:
        for name in (RECORDS, DESCRIPTION, PREDICTIONS, PICTURES, MEMORIES, PAGE, RESULTS, FRAMES):
            left = self.path / name
            shutil.rmtree(left) if left.is_dir() else left.unlink(missing_ok=True)

    def _require_same(self, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
        now = json.loads(json.dumps(now))
        for name in [*before, *now]:
            if name not in _INCIDENTAL and before.get(name) != now.get(name):
                raise EvaluationError(
                    f"{self.path} holds a run with another {name}; give another folder with --out, or begin anew with "
                    "--overwrite"
                )


def describe_run(
    recording: Mapping[str, Any],
    model: Mapping[str, Any],
    vocabulary: Vocabulary,
    matching: ClassMatching | None,
    settings: Mapping[str, Mapping[str, Any]],
    methods: Sequence[Mapping[str, Any]],
    corruptions: Sequence[str],
    seed: int,
    machine: str,
    command: str,
) -> dict[str, Any]:
    """Return the content of `run.json` as plain data, as docs/evaluation-results.md describes it.

    `settings` are those of each method by its name, empty where they are not known; `matching` is None without truth.
    """
    return {
        "recording": dict(recording),
        "model": dict(model),
        "vocabulary": [
            {
                "id": one.class_id,
                "name": one.name,
                "prompts": list(one.prompts),
                "colour": list(one.colour),
                "members": list(one.members),
            }
            for one in vocabulary.classes
        ],
        "unlabeled_id": vocabulary.unlabeled_id,
        "background_id": vocabulary.background_id,
        "matching": _describe_matching(matching),
        "methods": [{**method, "settings": dict(settings[method["name"]])} for method in methods],
        "corruptions": list(corruptions),
        "seed": seed,
        "versions": _versions(),
        "machine": machine,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command,
    }


def _describe_matching(matching: ClassMatching | None) -> dict[str, Any] | None:
    if matching is None:
        return None
    return {
        "classes": list(matching.classes),
        "truth_index": {str(number): index for number, index in matching.truth_index.items()},
        "label_index": {str(number): index for number, index in matching.label_index.items()},
        "unmatched_truth": list(matching.unmatched_truth),
        "unmatched_vocabulary": list(matching.unmatched_vocabulary),
    }


def _versions() -> dict[str, str]:
    """Return the versions of this package, of Python and of the libraries that labels depend on."""
    found = {"activesam_ros": __version__, "Python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # a distribution may install it under another name
            continue
    return found


def _job(method: str, corruption: str) -> str:
    return f"{method}+{corruption.replace(':', '-')}" if corruption else method
