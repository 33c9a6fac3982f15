"""The labels of one image as they are kept until all are there: one file, whole or absent."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import zstandard

from activesam_ros.errors import DatasetError
from activesam_ros.instances import Instance
from activesam_ros.labelling.sources import SourceFrame
from activesam_ros.system.files import write_atomically

if TYPE_CHECKING:
    from pathlib import Path

    from activesam_ros.datasets.image_files import EncodedImage
    from activesam_ros.results import SegmentationResult

_META, _MEMORY = "frame.json", "memory.json"
_LABELS, _CONFIDENCE, _INSTANCES = "labels.zst", "confidence.zst", "instances.zst"
_CELLS = "cells.bin"
# The same bytes whenever a part is written.
_DATE = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class FoundClass:
    """A decoded class of an image; presence in [0, 1], and the number of its pixels."""

    class_id: int
    name: str
    presence: float
    pixels: int


@dataclass(frozen=True)
class FoundInstance:
    """A thing.

    Attributes:
        number: in its image, from 1: its value in `PartFile.instance_numbers`.
        id: what is written: its number or, of a stream, the id that it keeps; 0: the stream's ids are used up.
        class_id, name, score, box, corner: as of its `Instance`.
        cells: rows and columns of the logits that the `Instance` keeps.
    """

    number: int
    id: int
    class_id: int
    name: str
    score: float
    box: tuple[float, float, float, float]
    corner: tuple[int, int]
    cells: tuple[int, int]


@dataclass(frozen=True)
class LabelledFrame(SourceFrame):
    """What is known of an image after it was labelled, without pixels.

    Attributes:
        source: number of the recording or folder.
        error: why it was not labelled, in one sentence; None: it was.
        width, height: in pixels; 0 if it was not labelled.
        active: the decoded classes, in vocabulary order.
        instances: the things that were found, if they were asked for, by number.
        grid: rows and columns of their mask logits.
        confidence: mean over all pixels, 0 where no class won or none clearly, in [0, 1].
    """

    source: int
    error: str | None = None
    width: int = 0
    height: int = 0
    active: tuple[FoundClass, ...] = ()
    instances: tuple[FoundInstance, ...] = ()
    grid: tuple[int, int] = (0, 0)
    confidence: float = 0.0


@dataclass(frozen=True, eq=False)
class LabelPart:
    """A frame with its pixels.

    Attributes:
        frame: without them.
        labels: class ids, uint8 or uint16 [H, W]; None if it was not labelled.
        confidence: uint8 [H, W], 255 is certain, 0 where no class won, as the node publishes it; None: not kept.
        instance_numbers: uint16 [H, W], 0 for none; None: not asked for.
        masks: bool [h, w] for each instance, the positive ones of the logits that are kept.
        image: the image as JPEG or PNG; None: not kept.
        memory: what its stream remembers after it, `StreamMemory.state`; None: nothing.
    """

    frame: LabelledFrame
    labels: np.ndarray | None = None
    confidence: np.ndarray | None = None
    instance_numbers: np.ndarray | None = None
    masks: tuple[np.ndarray, ...] = ()
    image: EncodedImage | None = None
    memory: dict[str, Any] | None = field(default=None, repr=False)


def labelled_part(frame: LabelledFrame, result: SegmentationResult, confidence: bool) -> LabelPart:
    """Return the part of a frame that was labelled, and whether with the confidence of every pixel."""
    height, width = result.labels.shape
    scaled = cv2.convertScaleAbs(result.confidence, alpha=255.0)
    scaled[result.labels == result.unlabeled_id] = 0
    # Without a stream that keeps ids, which are given when all images are there, they are 1, 2, 3 …
    found = result.instances or ()
    frame = replace(
        frame,
        width=width,
        height=height,
        active=tuple(
            FoundClass(int(one.class_id), one.name, float(one.presence), int(one.pixels or 0))
            for one in result.active
        ),
        instances=tuple(
            FoundInstance(
                one.id,
                one.id,
                int(one.class_id),
                one.name,
                float(one.score),
                one.box,
                (int(one.corner[0]), int(one.corner[1])),
                (one.logits.shape[0], one.logits.shape[1]),
            )
            for one in found
        ),
        grid=found[0].grid if found else (0, 0),
        confidence=round(float(scaled.mean()) / 255, 6),
    )
    return LabelPart(
        frame,
        result.labels,
        scaled if confidence else None,
        None if result.instances is None else result.instance_ids,
        tuple(one.logits > 0 for one in found),
    )


def write_part(path: Path, part: LabelPart) -> None:
    """Write a part as a whole or not at all.

    Raises:
        OSError: it cannot be written, as on a full disk.
    """
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        if part.labels is not None:
            _add(archive, _LABELS, _packed(part.labels))
        if part.confidence is not None:
            _add(archive, _CONFIDENCE, _packed(part.confidence))
        if part.instance_numbers is not None:
            _add(archive, _INSTANCES, _packed(part.instance_numbers))
        if part.masks:
            cells = np.packbits(np.concatenate([one.ravel() for one in part.masks]))
            _add(archive, _CELLS, cells.tobytes(), zipfile.ZIP_DEFLATED)
        if part.image is not None:
            _add(archive, f"image.{part.image.format}", part.image.data)
        if part.memory is not None:
            _add(archive, _MEMORY, json.dumps(part.memory).encode(), zipfile.ZIP_DEFLATED)
        _add(archive, _META, json.dumps(part.frame, default=vars).encode())
    write_atomically(path, content.getvalue())


class PartFile:
    """A part that was written; a context manager."""

    def __init__(self, path: Path) -> None:
        """Open it.

        Raises:
            DatasetError: it is damaged.
        """
        self._path = path
        try:
            self._archive = zipfile.ZipFile(path)
        except (OSError, ValueError, zipfile.BadZipFile) as error:
            raise self._damaged(error) from error

    def __enter__(self) -> PartFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._archive.close()

    @property
    def whole(self) -> bool:
        """Whether every byte is as it was written."""
        try:
            return self._archive.testzip() is None and _META in self._archive.namelist()
        except Exception:  # a damaged file makes the reader raise nearly anything
            return False

    @cached_property
    def frame(self) -> LabelledFrame:
        """What is known of the image."""
        plain = json.loads(self._read(_META))
        plain["active"] = tuple(FoundClass(**one) for one in plain["active"])
        plain["instances"] = tuple(
            FoundInstance(**{**one, **{name: tuple(one[name]) for name in ("box", "corner", "cells")}})
            for one in plain["instances"]
        )
        plain["grid"] = tuple(plain["grid"])
        return LabelledFrame(**plain)

    @property
    def labels(self) -> np.ndarray:
        """Class ids, uint8 or uint16 [H, W]."""
        return self._pixels(_LABELS)

    @property
    def confidence(self) -> np.ndarray:
        """uint8 [H, W], 255 is certain."""
        return self._pixels(_CONFIDENCE)

    @property
    def instance_numbers(self) -> np.ndarray:
        """uint16 [H, W], 0 for none."""
        return self._pixels(_INSTANCES)

    def instances(self, frame: LabelledFrame) -> tuple[Instance, ...]:
        """Return the instances of the part's frame; of their logits no more than the sign is known."""
        if not frame.instances:
            return ()
        ends = np.cumsum([rows * columns for rows, columns in (one.cells for one in frame.instances)])
        bits = np.unpackbits(np.frombuffer(self._read(_CELLS), np.uint8), count=int(ends[-1]))
        signs = np.split(bits.astype(np.float32) * 2 - 1, ends[:-1])
        return tuple(
            Instance(
                class_id=one.class_id,
                name=one.name,
                score=one.score,
                box=one.box,
                prompt=-1,
                id=one.number,
                size=(frame.height, frame.width),
                grid=frame.grid,
                corner=one.corner,
                logits=logits.reshape(one.cells),
            )
            for one, logits in zip(frame.instances, signs, strict=True)
        )

    @property
    def image(self) -> tuple[str, bytes]:
        """The ending of the image's file, and its content."""
        name = next(one for one in self._archive.namelist() if one.startswith("image."))
        return {"jpeg": ".jpg"}.get(name.removeprefix("image."), ".png"), self._read(name)

    @property
    def memory(self) -> dict[str, Any] | None:
        """What the stream remembers after it; None: it is not kept."""
        return json.loads(self._read(_MEMORY)) if _MEMORY in self._archive.namelist() else None

    def _pixels(self, name: str) -> np.ndarray:
        frame = self.frame
        data = zstandard.ZstdDecompressor().decompress(self._read(name))
        wide = len(data) > frame.height * frame.width
        return np.frombuffer(data, np.uint16 if wide else np.uint8).reshape(frame.height, frame.width)

    def _read(self, name: str) -> bytes:
        try:
            return self._archive.read(name)
        except (KeyError, OSError, ValueError, zipfile.BadZipFile) as error:
            raise self._damaged(error) from error

    def _damaged(self, error: Exception) -> DatasetError:
        return DatasetError(
            f"{self._path} is damaged ({error}); run the command again, which labels that image anew"
        )


def _packed(pixels: np.ndarray) -> bytes:
    # Level 1: label images compress well at any.
    return zstandard.ZstdCompressor(level=1).compress(np.ascontiguousarray(pixels).data)


def _add(archive: zipfile.ZipFile, name: str, data: bytes, compression: int = zipfile.ZIP_STORED) -> None:
    archive.writestr(zipfile.ZipInfo(name, _DATE), data, compression)
