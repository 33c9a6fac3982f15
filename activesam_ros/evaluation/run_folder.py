"""The folder of an evaluation: what was asked, what is known of each frame, and what was predicted."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import cv2

from activesam_ros.errors import EvaluationError
from activesam_ros.evaluation.records import FrameRecord, RecordFile, read_records
from activesam_ros.evaluation.results import read_results
from activesam_ros.system.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np

DESCRIPTION = "run.json"
RECORDS = "records.jsonl"
PREDICTIONS = "predictions"
PICTURES = "pictures"
MEMORIES = "memories"
RESULTS = "results.json"
FRAMES = "frames.csv"
PAGE = "report.html"

# What may differ between a run and the one that goes on with it: it says nothing about the labels.
_INCIDENTAL = frozenset({"command", "made", "machine", "versions"})


class RunFolder:
    """One evaluation on disk. A run that was interrupted is gone on with by one that asks for the same."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def records_path(self) -> Path:
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
        """Changes nothing.

        Raises:
            EvaluationError: the folder is a file, or holds something else than an evaluation.
        """
        if self.foreign:
            raise EvaluationError(f"{self.path} {self.foreign}; give another folder with --out")

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
        """What the run was asked for.

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

    def notes(self) -> list[str]:
        """What the reader of an earlier report of the run was told; empty if there is none."""
        try:
            return list(read_results(self.path / RESULTS)["run"]["notes"])
        except (EvaluationError, KeyError, TypeError):  # none, or another version's: then it is made anew
            return []

    def append_to(self) -> RecordFile:
        """The file that takes further records; a context manager."""
        return RecordFile(self.records_path)

    def save_prediction(self, method: str, corruption: str, index: int, labels: np.ndarray) -> None:
        """Keep the labels of a frame, uint8 or uint16 [H, W], as PNG."""
        path = self.prediction_path(method, corruption, index)
        path.parent.mkdir(parents=True, exist_ok=True)
        # Fast: label images compress well at any level.
        if not cv2.imwrite(str(path), labels, [cv2.IMWRITE_PNG_COMPRESSION, 1]):
            raise EvaluationError(f"{path} cannot be written; see that the disk has room")

    def prediction(self, method: str, corruption: str, index: int) -> np.ndarray | None:
        """The labels of a frame; None if they are not kept."""
        path = self.prediction_path(method, corruption, index)
        return cv2.imread(str(path), cv2.IMREAD_UNCHANGED) if path.exists() else None

    def save_memory(self, method: str, corruption: str, index: int, state: dict[str, Any] | None) -> None:
        """Keep what a stream remembers after a frame (`StreamMemory.state`), instead of what was kept before."""
        path = self._memory_path(method, corruption)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps({"index": index, "state": state}).encode())

    def memory(self, method: str, corruption: str) -> tuple[int, dict[str, Any] | None] | None:
        """The frame after which a memory was kept last, and its state; None if none is kept that can be read."""
        try:
            kept = json.loads(self._memory_path(method, corruption).read_bytes())
            return int(kept["index"]), kept["state"]
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _memory_path(self, method: str, corruption: str) -> Path:
        return self.path / MEMORIES / f"{_job(method, corruption)}.json"

    def prediction_path(self, method: str, corruption: str, index: int) -> Path:
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


def _job(method: str, corruption: str) -> str:
    return f"{method}+{corruption.replace(':', '-')}" if corruption else method
