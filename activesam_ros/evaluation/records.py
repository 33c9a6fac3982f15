"""The record of one frame labelled by one method, and the file that collects records."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any, BinaryIO, Self

from activesam_ros.errors import EvaluationError
from activesam_ros.evaluation.identities import FrameIdentities
from activesam_ros.evaluation.metrics import ConfusionMatrix

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import TracebackType

PROMINENT_SHARE = 0.01
"""A class is prominent in a frame if it covers at least this share of the pixels whose truth counts."""


@dataclass(frozen=True)
class TruthScores:
    """The labels of a frame against its ground truth; classes are indices of the evaluated classes.

    Attributes:
        classes: number of evaluated classes, C.
        active: evaluated classes that were decoded, ascending; None: not known.
        confusion: (true class, predicted class, pixels), ascending, each pair with pixels once; the predicted class C
            stands for pixels without a label or with a class that the truth does not know.
        boundary: (class, intersection, union) of the boundary regions in pixels, ascending, for each class that the
            truth or the prediction has; empty: not measured.
        changed: pixels whose label differs from that of the frame before although their truth does not; None without
            a frame before.
        compared: pixels whose truth is that of the frame before; None likewise.
        unknown: (id, pixels), ascending, of ids in the truth that it neither names nor ignores; they do not count.
    """

    classes: int
    active: tuple[int, ...] | None
    confusion: tuple[tuple[int, int, int], ...]
    boundary: tuple[tuple[int, int, int], ...] = ()
    changed: int | None = None
    compared: int | None = None
    unknown: tuple[tuple[int, int], ...] = ()

    @property
    def truth_pixels(self) -> dict[int, int]:
        """Pixels of each class that the truth shows, ascending."""
        pixels: dict[int, int] = {}
        for true, _, count in self.confusion:
            pixels[true] = pixels.get(true, 0) + count
        return dict(sorted(pixels.items()))

    @property
    def counted(self) -> int:
        """Pixels whose truth counts."""
        return sum(count for *_, count in self.confusion)

    @property
    def present(self) -> tuple[int, ...]:
        """Classes with at least one pixel in the truth, ascending."""
        return tuple(self.truth_pixels)

    @property
    def prominent(self) -> tuple[int, ...]:
        """Classes with at least `PROMINENT_SHARE` of the counted pixels in the truth, ascending."""
        least = PROMINENT_SHARE * self.counted
        return tuple(index for index, pixels in self.truth_pixels.items() if pixels >= least)

    @property
    def missed(self) -> tuple[int, ...]:
        """Classes that are present, were not decoded, and that no counted pixel is labelled with, ascending.

        The last, because pixels without a clear winner become the background whether it was decoded or not. Empty if
        it is not known what was decoded.
        """
        if self.active is None:
            return ()
        reached = {*self.active, *(predicted for _, predicted, _ in self.confusion)}
        return tuple(index for index in self.present if index not in reached)

    @property
    def lost_pixels(self) -> dict[int, int]:
        """Pixels of each missed class in the truth: none of them is labelled right."""
        pixels = self.truth_pixels
        return {index: pixels[index] for index in self.missed}

    @property
    def matrix(self) -> ConfusionMatrix:
        """The confusion as a matrix."""
        return ConfusionMatrix.from_triples(self.classes, self.confusion)

    @property
    def flicker(self) -> float | None:
        """Share of the compared pixels whose label changed; None if none were compared."""
        return self.changed / self.compared if self.compared and self.changed is not None else None


@dataclass(frozen=True)
class FrameRecord:
    """One frame, one method, one corruption.

    Attributes:
        index: as of its sample.
        stamp: of the image's header, nanoseconds.
        method: name of the method.
        corruption: what was done to the image: "" or a corruption and its severity, such as "fog:3".
        error: why the frame could not be labelled or scored, in one sentence; None: it was. A frame that was labelled
            but not scored has labels and an error.
        width, height: of the image in pixels; None if there is none.
        active: ids of the decoded classes, in vocabulary order; None if the frame was not labelled, or if it is not
            known what was decoded.
        presence: of each of them, in [0, 1].
        pixels: labelled with each of them.
        unlabeled: pixels without a label; None if the frame was not labelled.
        truth: scores against ground truth; None without it.
        identities: its things and the true ones; None if their ids are not known.
        agreement: share of the pixels that have the label that another method gave; None if there is no other.
        timings: seconds per stage, as of a `SegmentationResult`.
        latency: seconds from the image to its labels, whatever was between; None if it was not measured.
        work: floating-point operations; None if they were not counted.
        work_split: the same per stage; empty if they were not split.
        peak_memory: most bytes that the process (or the GPU, where there is one) held so far; None: not measured.
    """

    index: int
    stamp: int
    method: str
    corruption: str = ""
    error: str | None = None
    width: int | None = None
    height: int | None = None
    active: tuple[int, ...] | None = None
    presence: tuple[float, ...] = ()
    pixels: tuple[int, ...] = ()
    unlabeled: int | None = None
    truth: TruthScores | None = None
    identities: FrameIdentities | None = None
    agreement: float | None = None
    timings: Mapping[str, float] = field(default_factory=dict)
    latency: float | None = None
    work: float | None = None
    work_split: Mapping[str, float] = field(default_factory=dict)
    peak_memory: int | None = None

    @property
    def key(self) -> tuple[str, str, int]:
        """Method, corruption and index: there is one record of each."""
        return self.method, self.corruption, self.index

    def to_json(self) -> dict[str, Any]:
        """Return plain data for `json.dumps`; fields without a value are left out."""
        empty: dict[str, Any] = {"timings": {}, "work_split": {}}
        plain = {}
        for each in fields(self):
            value = getattr(self, each.name)
            if value != empty.get(each.name, each.default):
                plain[each.name] = value
        if self.truth is not None:
            plain["truth"] = asdict(self.truth)
        if self.identities is not None:
            plain["identities"] = asdict(self.identities)
        return plain

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> FrameRecord:
        """Return the record that `to_json` made `plain` of.

        Raises:
            EvaluationError: a field is missing, unknown or of the wrong kind.
        """
        try:
            values = dict(plain)
            truth = values.get("truth")
            if truth is not None:
                truth = dict(truth)
                truth["active"] = None if truth["active"] is None else tuple(truth["active"])
                for name in ("confusion", "boundary"):
                    truth[name] = tuple((int(a), int(b), int(c)) for a, b, c in truth.get(name, ()))
                truth["unknown"] = tuple((int(a), int(b)) for a, b in truth.get("unknown", ()))
                values["truth"] = TruthScores(**truth)
            if values.get("identities") is not None:
                values["identities"] = FrameIdentities.from_json(values["identities"])
            for name in ("active", "presence", "pixels"):
                if values.get(name) is not None:
                    values[name] = tuple(values[name])
            return cls(**values)
        except (TypeError, ValueError, KeyError) as error:
            known = ", ".join(each.name for each in fields(cls))
            raise EvaluationError(
                f"this is no record of a frame ({error}); expected the fields {known}, as this version writes them"
            ) from error


class RecordFile:
    """A file of records, one JSON object a line, that grows while frames are done; a context manager.

    What a killed run left of its last line is removed when the file is opened again, so that the frame is done again.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None

    def __enter__(self) -> Self:
        self._file = self._path.open("ab+")
        self._file.seek(0)
        content = self._file.read()
        self._file.truncate(content.rfind(b"\n") + 1)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def append(self, record: FrameRecord) -> None:
        """Add a record and flush it to the system, so that a killed process does not lose it.

        Raises:
            ValueError: the file is not open.
            OSError: it cannot be written to.
        """
        if self._file is None:
            raise ValueError("the record file is not open; use it in a with statement")
        self._file.write(
            json.dumps(record.to_json(), allow_nan=False, separators=(",", ":")).encode() + b"\n"
        )
        self._file.flush()


def read_records(path: Path) -> list[FrameRecord]:
    """Read the records of a file in order; of several with one key the last stands, at the place of the first.

    An unfinished last line, as a killed run leaves it, is left out; a missing file has no records.

    Raises:
        EvaluationError: another line is no record.
    """
    if not path.exists():
        return []
    *lines, _ = path.read_bytes().split(b"\n")
    records: dict[tuple[str, str, int], FrameRecord] = {}
    for number, line in enumerate(lines, start=1):
        try:
            record = FrameRecord.from_json(json.loads(line))
        except (ValueError, EvaluationError) as error:
            raise EvaluationError(
                f"line {number} of {path} is no record: {error}; remove the line to have its frame done again"
            ) from error
        records[record.key] = record
    return list(records.values())
