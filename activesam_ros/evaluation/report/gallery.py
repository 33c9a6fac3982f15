"""Keeps pictures of the worst frames of a run, and of some spread over all of it, while the run goes on."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import cv2

from activesam_ros.errors import EvaluationError
from activesam_ros.evaluation.report.panels import Entry, Panels, reference_panels, truth_panels
from activesam_ros.system.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy as np

    from activesam_ros.evaluation.records import FrameRecord
    from activesam_ros.evaluation.report.class_key import ClassKey

INDEX = "frames.json"
VERSION = 1
WORST = 12
SPREAD = 8

_NEIGHBOUR_S = 1.0
# Neighbours in a video look alike: of two within a second the better one counts half.
_NEIGHBOUR_WEIGHT = 0.5


@dataclass(frozen=True)
class KeptFrame:
    """A frame that has pictures.

    Attributes:
        index, stamp: as of its FrameRecord.
        badness: 0 (all right) to 1; None if there is nothing to compare with.
        kept_as: "worst", "spread" or "worst spread".
        panels: title and file of each picture, relative to the folder of pictures, from left to right.
        classes, errors: as of `Panels`.
        mean_iou, pixel_accuracy: of the frame alone, in 0..1; None without truth.
        agreement: as of its FrameRecord.
        missed: names of the classes that the truth shows and that were not decoded (see `TruthScores.missed`).
    """

    index: int
    stamp: int
    badness: float | None
    kept_as: str
    panels: tuple[tuple[str, str], ...]
    classes: tuple[Entry, ...]
    errors: tuple[Entry, ...]
    mean_iou: float | None = None
    pixel_accuracy: float | None = None
    agreement: float | None = None
    missed: tuple[str, ...] = ()


class Gallery:
    """Pictures of frames of one method on clean images, in a folder.

    Nothing but what the folder has is kept, so a run that goes on later goes on with it. A run that starts anew has
    to empty the folder before.
    """

    def __init__(self, folder: Path, key: ClassKey, worst: int = WORST, spread: int = SPREAD) -> None:
        """Args:
            folder: for the pictures; it is made if it is missing.
            key: names and colours.
            worst: how many of the worst frames are kept.
            spread: at most so many are kept that are spread evenly over the run, whatever their quality.

        Raises:
            EvaluationError: the folder has an index that this version cannot read.
        """
        self._folder = folder
        self._key = key
        self._worst = worst
        self._spread = spread
        index = _read_index(folder)
        self._frames = {frame.index: frame for frame in _frames(index)}
        self._stride = int(index.get("stride", 0))

    def offer(
        self,
        record: FrameRecord,
        rgb: np.ndarray,
        labels: np.ndarray,
        truth: np.ndarray | None = None,
        reference: np.ndarray | None = None,
        reference_name: str = "full-vocabulary",
    ) -> bool:
        """Keeps pictures of a frame if it is among the worst so far, or its turn in the spread.

        Args:
            record: of the frame.
            rgb: uint8 [H, W, 3].
            labels: class ids, integers [H, W].
            truth: indices of evaluated classes, integers [H, W], negative where the truth does not count; None: there
                is none.
            reference: without truth, the labels of another method to compare with; None: there is none.
            reference_name: name of that method.

        Returns:
            Whether it was kept.

        Raises:
            OSError: the folder cannot be written to.
            ValueError: the images differ in size.
        """
        spread = self._kept("spread")
        turn = self._spread > 0 and (not spread or record.index >= spread[-1].index + self._stride)
        badness = frame_badness(record)
        trial = KeptFrame(record.index, record.stamp, badness, "", (), (), ())
        is_worst = self._among_the_worst(trial)
        kept_as = " ".join(name for name, keep in (("worst", is_worst), ("spread", turn)) if keep)
        if not kept_as:
            return False
        if truth is not None:
            missed = () if record.truth is None else record.truth.missed
            panels = truth_panels(rgb, truth, labels, self._key, missed)
        else:
            panels = reference_panels(rgb, labels, self._key, reference, reference_name)
        self._frames[record.index] = self._written(replace(trial, kept_as=kept_as), record, panels)
        self._thin_out()
        self._write_index()
        return True

    def _among_the_worst(self, trial: KeptFrame) -> bool:
        if trial.badness is None:
            return False
        held = [*self._kept("worst"), trial]
        return len(held) <= self._worst or _least_bad(held).index != trial.index

    def _kept(self, role: str) -> list[KeptFrame]:
        return [
            self._frames[index]
            for index in sorted(self._frames)
            if role in self._frames[index].kept_as.split()
        ]

    def _thin_out(self) -> None:
        while len(worst := self._kept("worst")) > self._worst:
            self._release(_least_bad(worst), "worst")
        spread = self._kept("spread")
        if len(spread) > self._spread:
            for frame in spread[1::2]:
                self._release(frame, "spread")
            self._stride = spread[2].index - spread[0].index

    def _release(self, frame: KeptFrame, role: str) -> None:
        roles = [other for other in frame.kept_as.split() if other != role]
        if roles:
            self._frames[frame.index] = replace(frame, kept_as=" ".join(roles))
        else:
            del self._frames[frame.index]
            shutil.rmtree(self._folder / _frame_folder(frame.index), ignore_errors=True)

    def _written(self, trial: KeptFrame, record: FrameRecord, panels: Panels) -> KeptFrame:
        files = []
        for number, (title, picture) in enumerate(panels.pictures):
            name = f"{_frame_folder(record.index)}/{number}_{title.replace(' ', '_')}.png"
            write_picture(self._folder / name, picture)
            files.append((title, name))
        scores = record.truth
        matrix = scores.matrix if scores is not None and scores.counted else None
        missed = () if scores is None else scores.missed
        return replace(
            trial,
            panels=tuple(files),
            classes=panels.classes,
            errors=panels.errors,
            mean_iou=None if matrix is None else matrix.mean_iou,
            pixel_accuracy=None if matrix is None else matrix.pixel_accuracy,
            agreement=record.agreement,
            missed=tuple(self._key.classes[index] for index in missed),
        )

    def _write_index(self) -> None:
        index = {
            "version": VERSION,
            "stride": self._stride,
            "frames": [asdict(self._frames[number]) for number in sorted(self._frames)],
        }
        write_atomically(self._folder / INDEX, json.dumps(index, allow_nan=False, indent=1).encode() + b"\n")


def read_gallery(folder: Path) -> tuple[KeptFrame, ...]:
    """The frames that have pictures in a folder, by index; none if the folder has no index.

    Raises:
        EvaluationError: the index cannot be read by this version.
    """
    return _frames(_read_index(folder))


def worst_frames(frames: Sequence[KeptFrame]) -> tuple[KeptFrame, ...]:
    """Those kept as the worst, the worst first."""
    worst = [frame for frame in frames if "worst" in frame.kept_as.split() and frame.badness is not None]
    return tuple(sorted(worst, key=lambda frame: -frame.badness))


def typical_frame(frames: Sequence[KeptFrame], median_badness: float | None) -> KeptFrame | None:
    """Of the frames spread over the run the one nearest to its median, or the middle one; None without frames."""
    spread = [frame for frame in frames if "spread" in frame.kept_as.split()] or list(frames)
    scored = [frame for frame in spread if frame.badness is not None]
    if scored and median_badness is not None:
        return min(scored, key=lambda frame: abs(frame.badness - median_badness))
    return spread[len(spread) // 2] if spread else None


def frame_badness(record: FrameRecord) -> float | None:
    """1 − the frame's own mIoU; without truth 1 − its agreement with the other method; None without either."""
    if record.truth is not None:
        return 1.0 - record.truth.matrix.mean_iou if record.truth.counted else None
    return None if record.agreement is None else 1.0 - record.agreement


def write_picture(path: Path, rgb: np.ndarray) -> None:
    """Writes a PNG.

    Args:
        path: of the file; its folder is made if it is missing.
        rgb: uint8 [H, W, 3].

    Raises:
        OSError: the file cannot be written.
    """
    done, encoded = cv2.imencode(".png", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
    if not done:
        raise OSError(f"{path} could not be encoded as PNG")
    write_atomically(path, encoded.tobytes())


def _least_bad(frames: Sequence[KeptFrame]) -> KeptFrame:
    """The frame that is missed least: good, or a neighbour of a worse one."""

    def worth(frame: KeptFrame) -> float:
        shadowed = any(
            (other.badness, -other.index) > (frame.badness, -frame.index)
            and abs(other.stamp - frame.stamp) < _NEIGHBOUR_S * 1e9
            for other in frames
        )
        return frame.badness * (_NEIGHBOUR_WEIGHT if shadowed else 1.0)

    return min(frames, key=worth)


def _frame_folder(index: int) -> str:
    return f"frames/{index:06d}"


def _read_index(folder: Path) -> Mapping[str, Any]:
    path = folder / INDEX
    if not path.is_file():
        return {}
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
        version = index.get("version")
    except (ValueError, AttributeError) as error:
        raise EvaluationError(
            f"{path} is no index of pictures: {error}; remove the folder of pictures"
        ) from error
    if version != VERSION:
        raise EvaluationError(
            f"{path} has version {version!r}, but this program reads version {VERSION}; remove the folder of pictures"
        )
    return index


def _frames(index: Mapping[str, Any]) -> tuple[KeptFrame, ...]:
    return tuple(
        KeptFrame(
            **{
                **plain,
                "panels": tuple((title, name) for title, name in plain["panels"]),
                "classes": _entries(plain["classes"]),
                "errors": _entries(plain["errors"]),
                "missed": tuple(plain["missed"]),
            }
        )
        for plain in index.get("frames", ())
    )


def _entries(plain: Sequence[Mapping[str, Any]]) -> tuple[Entry, ...]:
    return tuple(Entry(**{**each, "colour": tuple(each["colour"])}) for each in plain)
