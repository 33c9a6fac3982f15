"""The labels of one image as they are kept until all are there: one file, whole or absent."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from activesam_ros.errors import DatasetError
from activesam_ros.system.files import write_atomically

if TYPE_CHECKING:
    from pathlib import Path

    from activesam_ros.datasets.image_files import EncodedImage
    from activesam_ros.results import SegmentationResult

_META, _MEMORY = "frame.json", "memory.json"
_LABELS, _CONFIDENCE, _INSTANCES = "labels.png", "confidence.png", "instances.png"
# Fast: label images compress well at any level.
_PNG = (cv2.IMWRITE_PNG_COMPRESSION, 1)
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
    """A thing: its id in the id image, class, score in [0, 1], and box as of an `Instance`."""

    id: int
    class_id: int
    name: str
    score: float
    box: tuple[float, float, float, float]


@dataclass(frozen=True)
class LabelledFrame:
    """What is known of an image after it was labelled, without pixels.

    Attributes:
        source: number of the recording or folder.
        position, stream, index, time, stamp, frame_id, name: as of its `SourceImage`.
        error: why it was not labelled, in one sentence; None: it was.
        width, height: in pixels; 0 if it was not labelled.
        active: the decoded classes, in vocabulary order.
        instances: the things that were found, if they were asked for.
        confidence: mean over all pixels, 0 where no class won or none clearly, in [0, 1].
    """

    source: int
    position: int
    stream: str
    index: int
    time: int
    stamp: int
    frame_id: str
    name: str
    error: str | None = None
    width: int = 0
    height: int = 0
    active: tuple[FoundClass, ...] = ()
    instances: tuple[FoundInstance, ...] = ()
    confidence: float = 0.0


@dataclass(frozen=True, eq=False)
class LabelPart:
    """A frame with its pixels.

    Attributes:
        frame: without them.
        labels: class ids, uint8 or uint16 [H, W]; None if it was not labelled.
        confidence: uint8 [H, W], 255 is certain, 0 where no class won, as the node publishes it; None: not kept.
        instance_ids: uint16 [H, W], 0 for none; None: not asked for.
        image: the image as JPEG or PNG; None: not kept.
        memory: what its stream remembers after it, `StreamMemory.state`; None: nothing.
    """

    frame: LabelledFrame
    labels: np.ndarray | None = None
    confidence: np.ndarray | None = None
    instance_ids: np.ndarray | None = None
    image: EncodedImage | None = None
    memory: dict[str, Any] | None = field(default=None, repr=False)


def labelled_part(frame: LabelledFrame, result: SegmentationResult, confidence: bool) -> LabelPart:
    """Return the part of a frame that was labelled, and whether with the confidence of every pixel."""
    height, width = result.labels.shape
    scaled = cv2.convertScaleAbs(result.confidence, alpha=255.0)
    scaled[result.labels == result.unlabeled_id] = 0
    # Numbered in each image: the ids of a stream follow from more than its memory keeps between two runs.
    found = result.instances or ()
    numbers = np.zeros(max((one.id for one in found), default=0) + 1, np.uint16)
    for number, one in enumerate(found, start=1):
        numbers[one.id] = number
    frame = replace(
        frame,
        width=width,
        height=height,
        active=tuple(
            FoundClass(int(one.class_id), one.name, float(one.presence), int(one.pixels or 0))
            for one in result.active
        ),
        instances=tuple(
            FoundInstance(number, int(one.class_id), one.name, float(one.score), one.box)
            for number, one in enumerate(found, start=1)
        ),
        confidence=round(float(scaled.mean()) / 255, 6),
    )
    ids = None if result.instances is None else numbers[result.instance_ids]
    return LabelPart(frame, result.labels, scaled if confidence else None, ids)


def write_part(path: Path, part: LabelPart) -> None:
    """Write a part as a whole or not at all.

    Raises:
        OSError: it cannot be written, as on a full disk.
    """
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        if part.labels is not None:
            _add(archive, _LABELS, _png(part.labels))
        if part.confidence is not None:
            _add(archive, _CONFIDENCE, _png(part.confidence))
        if part.instance_ids is not None:
            _add(archive, _INSTANCES, _png(part.instance_ids))
        if part.image is not None:
            _add(archive, f"image.{part.image.format}", part.image.data)
        if part.memory is not None:
            _add(archive, _MEMORY, json.dumps(part.memory).encode(), zipfile.ZIP_DEFLATED)
        _add(archive, _META, json.dumps(asdict(part.frame)).encode())
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

    @property
    def frame(self) -> LabelledFrame:
        """What is known of the image."""
        plain = json.loads(self._read(_META))
        plain["active"] = tuple(FoundClass(**one) for one in plain["active"])
        plain["instances"] = tuple(
            FoundInstance(**{**one, "box": tuple(one["box"])}) for one in plain["instances"]
        )
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
    def instance_ids(self) -> np.ndarray:
        """uint16 [H, W], 0 for none."""
        return self._pixels(_INSTANCES)

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
        return cv2.imdecode(np.frombuffer(self._read(name), np.uint8), cv2.IMREAD_UNCHANGED)

    def _read(self, name: str) -> bytes:
        try:
            return self._archive.read(name)
        except (KeyError, OSError, ValueError, zipfile.BadZipFile) as error:
            raise self._damaged(error) from error

    def _damaged(self, error: Exception) -> DatasetError:
        return DatasetError(
            f"{self._path} is damaged ({error}); run the command again, which labels that image anew"
        )


def png(pixels: np.ndarray) -> bytes:
    """Encode an RGB image, uint8 [H, W, 3], as PNG."""
    return _png(cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))


def _png(pixels: np.ndarray) -> bytes:
    _, data = cv2.imencode(".png", pixels, _PNG)
    return data.tobytes()


def _add(archive: zipfile.ZipFile, name: str, data: bytes, compression: int = zipfile.ZIP_STORED) -> None:
    archive.writestr(zipfile.ZipInfo(name, _DATE), data, compression)
