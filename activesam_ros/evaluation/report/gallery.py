"""Keep pictures of the worst frames of a run, and of some spread over it, while the run goes on."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import cv2

from activesam_ros.errors import EvaluationError
from activesam_ros.evaluation.report.panels import ClassColours, LegendEntry, reference_panels, truth_panels
from activesam_ros.system.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy as np

    from activesam_ros.datasets.class_map import ClassMatching
    from activesam_ros.evaluation.records import FrameRecord
    from activesam_ros.vocabulary import Vocabulary

INDEX = "frames.json"
VERSION = 1
WORST = 12
SPREAD = 8

# Neighbours in a video look alike: of two within a second the better one counts half.
_NEIGHBOUR_S = 1.0
_NEIGHBOUR_WEIGHT = 0.5


@dataclass(frozen=True)
class GalleryFrame:
    """A frame that has pictures, with scores of its own as in its FrameRecord.

    Attributes:
        badness: 0 (perfect) to 1; None if there is nothing to compare with.
        kept_as: "worst", "spread" or "worst spread".
        panels: (title, file relative to the folder of pictures) from left to right.
        classes, errors: as in `Panels`.
        missed: names of the classes in the truth that were not decoded (see `TruthScores.missed`).
    """

    index: int
    stamp: int
    badness: float | None
    kept_as: str
    panels: tuple[tuple[str, str], ...] = ()
    classes: tuple[LegendEntry, ...] = ()
    errors: tuple[LegendEntry, ...] = ()
    mean_iou: float | None = None
    pixel_accuracy: float | None = None
    agreement: float | None = None
    missed: tuple[str, ...] = ()


class Gallery:
    """Pictures of frames of one method on clean images, in a folder.

    The folder holds the whole state, so a resumed run continues with it; a new run has to empty the folder first.
    """

    def __init__(
        self,
        folder: Path,
        vocabulary: Vocabulary,
        matching: ClassMatching | None = None,
        worst: int = WORST,
        spread: int = SPREAD,
    ) -> None:
        """Open the gallery of a folder, which is made if it is missing.

        Args:
            folder: of the pictures.
            vocabulary: gives names and colours.
            matching: between its classes and those of the ground truth; None: there is no truth.
            worst: number of worst frames to keep.
            spread: maximum number of frames to keep that are spread evenly over the run.

        Raises:
            EvaluationError: the folder has an index that this version cannot read.
        """
        self._folder = folder
        self._colours = ClassColours.of(vocabulary, matching)
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
        """Keep pictures of a frame if it is among the worst so far or next in the spread; tell whether it is kept.

        Args:
            record: of the frame.
            rgb: uint8 [H, W, 3].
            labels: class ids, integers [H, W].
            truth: indices of evaluated classes, integers [H, W], negative where the truth does not count; None: none.
            reference: without truth, the labels of a reference method, integers [H, W]; None: there is none.
            reference_name: name of that method.

        Raises:
            OSError: the folder cannot be written to.
            ValueError: the images differ in size.
        """
        frame = GalleryFrame(record.index, record.stamp, frame_badness(record), "")
        worst, spread = self._kept("worst"), self._kept("spread")
        roles = []
        if frame.badness is not None and (
            len(worst) < self._worst or _least_bad([*worst, frame]).index != frame.index
        ):
            roles.append("worst")
        if self._spread > 0 and (not spread or record.index >= spread[-1].index + self._stride):
            roles.append("spread")
        if not roles:
            return False
        frame = replace(frame, kept_as=" ".join(roles))
        self._frames[record.index] = self._drawn(frame, record, rgb, labels, truth, reference, reference_name)
        self._thin_out()
        index = {
            "version": VERSION,
            "stride": self._stride,
            "frames": [asdict(self._frames[number]) for number in sorted(self._frames)],
        }
        write_atomically(self._folder / INDEX, json.dumps(index, allow_nan=False, indent=1).encode() + b"\n")
        return True

    def _kept(self, role: str) -> list[GalleryFrame]:
        frames = (self._frames[index] for index in sorted(self._frames))
        return [frame for frame in frames if role in frame.kept_as.split()]

    def _thin_out(self) -> None:
        while len(worst := self._kept("worst")) > self._worst:
            self._release(_least_bad(worst), "worst")
        spread = self._kept("spread")
        if len(spread) > self._spread:
            for frame in spread[1::2]:
                self._release(frame, "spread")
            self._stride = spread[2].index - spread[0].index

    def _release(self, frame: GalleryFrame, role: str) -> None:
        roles = [other for other in frame.kept_as.split() if other != role]
        if roles:
            self._frames[frame.index] = replace(frame, kept_as=" ".join(roles))
        else:
            del self._frames[frame.index]
            shutil.rmtree(self._folder / _frame_folder(frame.index), ignore_errors=True)

    def _drawn(
        self,
        frame: GalleryFrame,
        record: FrameRecord,
        rgb: np.ndarray,
        labels: np.ndarray,
        truth: np.ndarray | None,
        reference: np.ndarray | None,
        reference_name: str,
    ) -> GalleryFrame:
        scores = record.truth
        missed = scores.missed if scores is not None else ()
        if truth is not None:
            panels = truth_panels(rgb, truth, labels, self._colours, missed)
        else:
            panels = reference_panels(rgb, labels, self._colours, reference, reference_name)
        files = []
        for number, (title, picture) in enumerate(panels.pictures):
            name = f"{_frame_folder(record.index)}/{number}_{title.replace(' ', '_')}.png"
            write_png(self._folder / name, picture)
            files.append((title, name))
        matrix = scores.matrix if scores is not None and scores.counted else None
        return replace(
            frame,
            panels=tuple(files),
            classes=panels.classes,
            errors=panels.errors,
            mean_iou=matrix.mean_iou if matrix is not None else None,
            pixel_accuracy=matrix.pixel_accuracy if matrix is not None else None,
            agreement=record.agreement,
            missed=tuple(self._colours.classes[index] for index in missed),
        )


def read_gallery(folder: Path) -> tuple[GalleryFrame, ...]:
    """Read the frames that have pictures, by index; none if the folder has no index.

    Raises:
        EvaluationError: this version cannot read the index.
    """
    return _frames(_read_index(folder))


def worst_frames(frames: Sequence[GalleryFrame]) -> tuple[GalleryFrame, ...]:
    """Select the frames kept as the worst, worst first."""
    worst = [(frame.badness, frame) for frame in frames if "worst" in frame.kept_as.split()]
    known = [(badness, frame) for badness, frame in worst if badness is not None]
    return tuple(frame for _, frame in sorted(known, key=lambda one: -one[0]))


def typical_frame(frames: Sequence[GalleryFrame], median_badness: float | None) -> GalleryFrame | None:
    """Select the frame of the spread nearest to the median, or the middle one; None without frames."""
    spread = [frame for frame in frames if "spread" in frame.kept_as.split()] or list(frames)
    scored = [(frame.badness, frame) for frame in spread if frame.badness is not None]
    if scored and median_badness is not None:
        return min(scored, key=lambda one: abs(one[0] - median_badness))[1]
    return spread[len(spread) // 2] if spread else None


def frame_badness(record: FrameRecord) -> float | None:
    """Return 1 − the frame's own mIoU, without truth 1 − its agreement with the reference; None without either."""
    if record.truth is not None:
        return 1.0 - record.truth.matrix.mean_iou if record.truth.counted else None
    return None if record.agreement is None else 1.0 - record.agreement


def write_png(path: Path, rgb: np.ndarray) -> None:
    """Write uint8 [H, W, 3] as a PNG; its folder is made if it is missing.

    Raises:
        OSError: the file cannot be written.
    """
    done, encoded = cv2.imencode(".png", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
    if not done:
        raise OSError(f"{path} could not be encoded as PNG")
    write_atomically(path, encoded.tobytes())


def _least_bad(frames: Sequence[GalleryFrame]) -> GalleryFrame:
    """Select the frame that is missed least: a good one, or the neighbour of a worse one."""

    def rank(frame: GalleryFrame) -> tuple[float, int]:
        return frame.badness or 0.0, -frame.index

    def weight(frame: GalleryFrame) -> float:
        shadowed = any(
            rank(other) > rank(frame) and abs(other.stamp - frame.stamp) < _NEIGHBOUR_S * 1e9
            for other in frames
        )
        return rank(frame)[0] * (_NEIGHBOUR_WEIGHT if shadowed else 1.0)

    return min(frames, key=weight)


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


def _frames(index: Mapping[str, Any]) -> tuple[GalleryFrame, ...]:
    def legend(plain: Sequence[Mapping[str, Any]]) -> tuple[LegendEntry, ...]:
        return tuple(LegendEntry(**{**each, "colour": tuple(each["colour"])}) for each in plain)

    return tuple(
        GalleryFrame(
            **{
                **plain,
                "panels": tuple((title, name) for title, name in plain["panels"]),
                "classes": legend(plain["classes"]),
                "errors": legend(plain["errors"]),
                "missed": tuple(plain["missed"]),
            }
        )
        for plain in index.get("frames", ())
    )
