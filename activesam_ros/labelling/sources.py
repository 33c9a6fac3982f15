"""What is labelled: the images of recordings and of folders, in order, with their headers and names."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from activesam_ros.datasets.image_files import EncodedImage, has_exif_rotation
from activesam_ros.datasets.recordings import Recording
from activesam_ros.datasets.samples import decode_sample, default_image_topic, require_images
from activesam_ros.errors import DatasetError, ImageError
from activesam_ros.images.load import to_rgb

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import ExitStack
    from pathlib import Path

    import numpy as np

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
"""Endings of the files that are taken from a folder of images."""

START = 1_700_000_000_000_000_000
"""Stamp of the first image of a folder, nanoseconds since 1970; the others follow at `RATE`."""

RATE = 10.0
_SIGNATURES = {b"\xff\xd8\xff": "jpeg", b"\x89PNG\r\n\x1a\n": "png"}


@dataclass(frozen=True)
class SourceFrame:
    """What is known of an image of a source, without pixels.

    Attributes:
        position: its number among all images that are taken of the source, from 0.
        stream: name of its camera; empty: the only one.
        index: its number among the images of its camera, from 0; those that `every` leaves out count.
        time: when it was recorded, nanoseconds.
        stamp, frame_id: of its header; the stamp in nanoseconds, that of recording if the header cannot be read.
        name: of files about it, without an ending; unique within the source.
    """

    position: int
    stream: str
    index: int
    time: int
    stamp: int
    frame_id: str
    name: str


@dataclass(frozen=True, eq=False)
class SourceImage:
    """One image of a source.

    Attributes:
        frame: what else is known of it.
        rgb: uint8 [H, W, 3]; None if it cannot be read.
        error: why not, in one sentence.
        encoded: the JPEG or PNG that `rgb` was decoded from, if the source has it so.
    """

    frame: SourceFrame
    rgb: np.ndarray | None
    error: str | None = None
    encoded: EncodedImage | None = None


class Source(Protocol):
    """A recording or a folder that is open for reading."""

    name: str
    streams: Mapping[str, str | None]

    def __len__(self) -> int:
        """Return how many images are taken; a damaged recording may have fewer that can be read."""
        ...

    def images(self, wanted: Callable[[str, int], bool]) -> Iterator[SourceImage | None]:
        """Read the images whose camera and position are wanted, in order; None for each of the others."""
        ...

    def describe(self) -> dict[str, Any]:
        """Return what is read, as plain data; it differs if something else took its place."""
        ...

    def shortage(self) -> str | None:
        """Say that fewer images were read than there should be; after all were."""
        ...


@dataclass(frozen=True)
class Part:
    """Which part of a source is taken: each so many-th image; seconds from the recording's beginning."""

    every: int = 1
    start: float | None = None
    end: float | None = None


class RecordingSource:
    """Some image topics of a recording."""

    def __init__(
        self,
        recording: Recording,
        name: str,
        topics: Sequence[tuple[str, str]],
        part: Part,
        max_pixels: int | None,
    ) -> None:
        """Take images of an open recording.

        Args:
            recording: open for reading.
            name: of files about it.
            topics: name of the camera, which may be empty if it is the only one, and topic of its images; empty: the
                only topic there is.
            part: of the recording.
            max_pixels: images with more are not read; None: of any size.

        Raises:
            EvaluationError: a topic is missing or of another type; or none is given, and there is none or several.
        """
        self.recording = recording
        self.name = name
        self.part = part
        self.streams: Mapping[str, str | None] = dict(topics) or {"": default_image_topic(recording)}
        self._names = {str(topic): stream for stream, topic in self.streams.items()}
        self._max_pixels = max_pixels
        for topic in self._names:
            require_images(recording, topic)

    def __len__(self) -> int:
        counts = [self.recording.topics[topic].count for topic in self._names]
        if (self.part.start, self.part.end) != (None, None):
            messages = self.recording.serialised(self._names, self.part.start, self.part.end)
            read = Counter(connection.topic for _, connection, _ in messages)
            counts = [read[topic] for topic in self._names]
        return sum(-(-count // self.part.every) for count in counts)

    def images(self, wanted: Callable[[str, int], bool]) -> Iterator[SourceImage | None]:
        """Read the images whose camera and position are wanted, in recorded order; None for each of the others."""
        seen = dict.fromkeys(self._names, 0)
        position = 0
        for message in self.recording.messages(self._names, self.part.start, self.part.end):
            index, seen[message.topic] = seen[message.topic], seen[message.topic] + 1
            if index % self.part.every:
                continue
            yield (
                self._image(position, index, message)
                if wanted(self._names[message.topic], position)
                else None
            )
            position += 1

    def describe(self) -> dict[str, Any]:
        """Return path, size and topics."""
        path = self.recording.path
        files = [one for one in path.iterdir() if one.is_file()] if path.is_dir() else [path]
        return {
            "kind": "recording",
            "path": str(path),
            "bytes": sum(one.stat().st_size for one in files),
            "topics": dict(self.streams),
        }

    def shortage(self) -> str | None:
        """Say that fewer images were read than the recording states."""
        return self.recording.shortage(*self._names)

    def _image(self, position: int, index: int, message: Any) -> SourceImage:
        stream = self._names[message.topic]
        name = f"{self.name}_{stream}_{index:06d}" if stream else f"{self.name}_{index:06d}"
        if message.message is None:
            time = message.time_ns
            return SourceImage(
                SourceFrame(position, stream, index, time, time, "", name), None, message.error
            )
        header = message.message.header
        stamp = int(header.stamp.sec) * 1_000_000_000 + int(header.stamp.nanosec)
        sample = decode_sample(index, stamp, message.message, max_pixels=self._max_pixels)
        encoded = None
        # A mosaic is not what is labelled.
        if sample.rgb is not None and "bayer" not in getattr(message.message, "format", "bayer"):
            encoded = _as_it_is(bytes(message.message.data))
        frame = SourceFrame(position, stream, index, message.time_ns, stamp, str(header.frame_id), name)
        return SourceImage(frame, sample.rgb, sample.error, encoded)


class FolderSource:
    """The image files of a folder and those below it, in natural order; they get stamps at `RATE`."""

    def __init__(
        self, path: Path, name: str, part: Part, max_pixels: int | None, prefixed: bool = False
    ) -> None:
        """Take the images of a folder; `prefixed`: their names begin with that of the source.

        Raises:
            DatasetError: there are none, or a part in seconds is asked for.
        """
        self.path = path
        self.name = name
        self.streams: Mapping[str, str | None] = {"": None}
        self._part = part
        self._max_pixels = max_pixels
        if (part.start, part.end) != (None, None):
            raise DatasetError(
                f"{path} is a folder of images, which have no times; leave out --start and --end"
            )
        self._files = image_files(path)
        if not self._files:
            raise DatasetError(
                f"{path} is neither a recording nor a folder of images; expected metadata.yaml, files that end in "
                f".mcap or .db3, or images that end in {', '.join(IMAGE_SUFFIXES)}"
            )
        prefix = f"{name}_" if prefixed else ""
        self._names = _distinct(
            [prefix + _plain_name(one.relative_to(path).with_suffix("")) for one in self._files]
        )

    def __len__(self) -> int:
        return -(-len(self._files) // self._part.every)

    def images(self, wanted: Callable[[str, int], bool]) -> Iterator[SourceImage | None]:
        """Read the images whose positions are wanted; None for each of the others."""
        for position, index in enumerate(range(0, len(self._files), self._part.every)):
            yield self._image(position, index) if wanted("", position) else None

    def describe(self) -> dict[str, Any]:
        """Return path, number and size of the files."""
        size = sum(one.stat().st_size for one in self._files)
        return {"kind": "folder", "path": str(self.path), "bytes": size, "images": len(self._files)}

    def shortage(self) -> str | None:
        """Say nothing: each file is there, or its image has an error."""
        return None

    def _image(self, position: int, index: int) -> SourceImage:
        path, name = self._files[index], self._names[index]
        time = START + round(index / RATE * 1e9)
        frame = SourceFrame(position, "", index, time, time, "", name)
        try:
            rgb = to_rgb(path, self._max_pixels)
            encoded = None if has_exif_rotation(path) else _as_it_is(path.read_bytes())
        except (ImageError, OSError) as error:
            return SourceImage(frame, None, str(error))
        return SourceImage(frame, rgb, None, encoded)


def open_sources(
    paths: Sequence[Path],
    topics: Sequence[tuple[str, str]],
    part: Part,
    max_pixels: int | None,
    opening: ExitStack,
) -> list[Source]:
    """Open recordings and folders of images.

    Args:
        paths: of them.
        topics: names of cameras and the topics of their images; empty: the only topic of each recording.
        part: of each of them.
        max_pixels: images with more are not read; None: of any size.
        opening: closes them.

    Raises:
        EvaluationError, DatasetError: one of them cannot be read, or has no such images.
    """
    sources: list[Source] = []
    names = _distinct([_plain_name(path.resolve().with_suffix("").name) for path in paths])
    for path, name in zip(paths, names, strict=True):
        if path.is_dir() and not _is_recording(path) and not topics:
            sources.append(FolderSource(path, name, part, max_pixels, prefixed=len(paths) > 1))
        else:
            recording = opening.enter_context(Recording(path))
            sources.append(RecordingSource(recording, name, topics, part, max_pixels))
    return sources


def image_files(folder: Path) -> list[Path]:
    """Return the image files in a folder and below it, in natural order; hidden ones are left out."""
    found = [path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()]
    shown = [path for path in found if not any(one.startswith(".") for one in path.relative_to(folder).parts)]
    return sorted(shown, key=lambda path: _natural_order(str(path.relative_to(folder))))


def _is_recording(folder: Path) -> bool:
    return (folder / "metadata.yaml").exists() or any(
        {".mcap", ".db3"} & set(path.suffixes) for path in folder.iterdir()
    )


def _as_it_is(data: bytes) -> EncodedImage | None:
    kind = next((kind for begin, kind in _SIGNATURES.items() if data.startswith(begin)), None)
    return None if kind is None else EncodedImage(data, kind)


def _plain_name(text: object) -> str:
    """Return a name that is safe in file names on every system, and in lists separated by spaces."""
    return re.sub(r"[^\w.-]+", "_", str(text)).strip("_.") or "images"


def _distinct(names: Sequence[str]) -> list[str]:
    """Add numbers to names that are there already."""
    taken: set[str] = set()
    distinct = []
    for name in names:
        number, free = 1, name
        while free.lower() in taken:
            number += 1
            free = f"{name}-{number}"
        taken.add(free.lower())
        distinct.append(free)
    return distinct


def _natural_order(text: str) -> list[tuple[int, str]]:
    return [(int(part) if part.isdecimal() else -1, part) for part in re.split(r"(\d+)", text)]
