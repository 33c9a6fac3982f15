"""The files of a rosbag2, whole or not."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import zstandard
from rosbags.rosbag2 import Reader

from activesam_ros.errors import EvaluationError
from activesam_ros.evaluation.cut_mcap import StreamedMcap

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from rosbags.interfaces import Connection

SUFFIXES = (".mcap", ".db3", ".mcap.zstd", ".db3.zstd")

_SQLITE_MAGIC = b"SQLite format 3\0"


class Storage(Protocol):
    """Where messages come from: a file, or a folder that is all right.

    Several readings may go on at the same time.
    """

    connections: list[Connection]
    start: int | None
    end: int | None
    cut: str | None

    def messages(
        self, connections: Collection[Connection], start: int | None, stop: int | None
    ) -> Iterator[tuple[Connection, int, bytes]]:
        """Messages of `connections` recorded from `start` until before `stop`, nanoseconds, in recorded order."""
        ...


@dataclass(frozen=True)
class Files:
    """The storages of a recording in order, and what is known to be missing, a few words each."""

    storages: tuple[Storage, ...]
    missing: tuple[str, ...] = ()


def open_files(path: Path, scratch: Path) -> Files:
    """Opens a recording: its folder as a whole where rosbags takes it, else its storage files one by one.

    Args:
        path: a folder, or a file with one of `SUFFIXES`.
        scratch: an empty folder for what has to be unpacked.

    Raises:
        EvaluationError: there is no recording, or none of it can be read.
    """
    try:
        return _opened(path, scratch)
    except OSError as error:  # of a disk, or a lack of permission
        raise EvaluationError(f"{path} cannot be read: {error}") from error


def _opened(path: Path, scratch: Path) -> Files:
    if not path.exists():
        raise EvaluationError(
            f"there is no recording {path}; give a rosbag2 folder, or an .mcap or .db3 file"
        )
    if path.is_dir():
        return _open_folder(path, scratch)
    if path.name == "metadata.yaml":
        return _open_folder(path.parent, scratch)
    if path.suffix == ".bag":
        raise EvaluationError(
            f"{path} is a ROS 1 bag; convert it first: rosbags-convert --src {path} --dst FOLDER"
        )
    if not path.name.endswith(SUFFIXES):
        raise EvaluationError(f"{path} is no recording: expected a rosbag2 folder, or an .mcap or .db3 file")
    storage = _open_file(path, scratch)
    return Files((storage,), _told(path, storage))


def _open_folder(folder: Path, scratch: Path) -> Files:
    files = sorted((file for file in folder.iterdir() if file.name.endswith(SUFFIXES)), key=_natural)
    described = (folder / "metadata.yaml").is_file()
    if not described and not files:
        raise EvaluationError(
            f"{folder} is no recording: expected metadata.yaml, and files that end in {' or '.join(SUFFIXES[:2])}"
        )
    if described:
        for file in files:
            _refuse_short_database(file)
        try:
            return Files((_Indexed(folder),))
        except EvaluationError as error:
            if not files:
                raise
            missing = [f"{folder} cannot be read as metadata.yaml describes it ({error.__cause__ or error})"]
    else:
        missing = [f"{folder} has no metadata.yaml, as when a recorder was killed"]
    storages: list[Storage] = []
    for file in files:
        try:
            storage = _open_file(file, scratch)
        except EvaluationError as error:
            if len(files) == 1:
                raise
            missing.append(str(error))
            continue
        storages.append(storage)
        missing.extend(_told(file, storage))
    if not storages:
        raise EvaluationError(f"nothing in {folder} can be read: {'; '.join(missing[1:])}")
    return Files(tuple(storages), tuple(missing))


def _told(path: Path, storage: Storage) -> tuple[str, ...]:
    told = [] if storage.cut is None else [f"{path.name} is incomplete ({storage.cut})"]
    if _log(path):
        told.append(f"{path.name} lacks what is in its log; {_merging(path)}")
    return tuple(told)


def _open_file(path: Path, scratch: Path) -> Storage:
    if path.suffix == ".zstd":
        path = _unpacked(path, scratch)
    _refuse_short_database(path)
    try:
        return _Indexed(path)
    except EvaluationError:
        if path.suffix != ".mcap":
            raise
    return StreamedMcap(path)


class _Indexed:
    """What rosbags reads."""

    cut = None

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            with Reader(path) as reader:
                self.connections = list(reader.connections)
                some = reader.message_count > 0
                self.start = reader.start_time if some else None
                self.end = reader.end_time - 1 if some else None
        except Exception as error:  # rosbags lets what a damaged file raises through
            raise EvaluationError(_refusal(path, error)) from error

    def messages(
        self, connections: Collection[Connection], start: int | None, stop: int | None
    ) -> Iterator[tuple[Connection, int, bytes]]:
        ids = {connection.id for connection in connections}
        if not ids:  # which rosbags would take for all
            return
        # A reader of its own: two readings of one would move each other's place in the file.
        with Reader(self._path) as reader:
            yield from reader.messages([one for one in reader.connections if one.id in ids], start, stop)


def _refusal(path: Path, error: Exception) -> str:
    reason = " ".join(str(error).split()) or type(error).__name__
    if path.suffix == ".db3":
        if _log(path):
            return f"{path} cannot be read without its log; {_merging(path)}"
        if set("?#%") & set(str(path)):  # rosbags gives SQLite the path as a URI
            return f"{path} cannot be opened under a path with ?, # or %; rename it"
        return f"{path} is damaged ({reason}); {_recovery(path)}"
    return f"{path} cannot be read: {reason}"


def _refuse_short_database(path: Path) -> None:
    """Raises EvaluationError for an SQLite file that is shorter than its header says; leaves other files alone."""
    if path.suffix != ".db3":
        return
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(100)
    if not head:
        raise EvaluationError(f"{path} is empty: the recorder stopped before it wrote anything")
    if not head.startswith(_SQLITE_MAGIC[: len(head)]):
        raise EvaluationError(f"{path} is no SQLite file: its first bytes are those of something else")
    pages = _stated_size(head)
    if pages > size:
        raise EvaluationError(f"{path} is truncated: {size} bytes of {pages} are there; {_recovery(path)}")


def _stated_size(head: bytes) -> int:
    """Bytes that an SQLite file has by its header; 0 if the header does not tell."""
    if len(head) < 100:
        return 100
    (page,) = struct.unpack_from(">H", head, 16)
    changes, pages = struct.unpack_from(">II", head, 24)
    (valid_for,) = struct.unpack_from(">I", head, 92)
    # Old libraries do not keep the size; then the two counters differ.
    return pages * (65536 if page == 1 else page) if changes == valid_for else 0


def _log(path: Path) -> Path | None:
    """What SQLite had written beside a database and not yet into it, when the recorder was killed."""
    log = path.with_name(f"{path.name}-wal")
    return log if path.suffix == ".db3" and log.exists() and log.stat().st_size else None


def _merging(path: Path) -> str:
    return f"merge the two: sqlite3 {path} 'PRAGMA wal_checkpoint(TRUNCATE)'"


def _recovery(path: Path) -> str:
    return f"save what is left with: sqlite3 {path} .recover | sqlite3 {path.stem}_recovered.db3"


def _unpacked(path: Path, scratch: Path) -> Path:
    """The content of a file that was compressed as a whole; as much of it as there is."""
    unpacked = scratch / path.stem
    try:
        with path.open("rb") as packed, unpacked.open("wb") as out:
            zstandard.ZstdDecompressor().copy_stream(packed, out)
    except zstandard.ZstdError as error:
        if unpacked.stat().st_size == 0:
            raise EvaluationError(f"{path} cannot be unpacked: {' '.join(str(error).split())}") from error
    return unpacked


def _natural(path: Path) -> list[tuple[int, str]]:
    """Sorts `bag_10.mcap` behind `bag_9.mcap`."""
    return [(int(part) if part.isdecimal() else -1, part) for part in re.split(r"(\d+)", path.name)]
