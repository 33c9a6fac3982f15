"""Read recordings: rosbag2 folders, MCAP and SQLite files, also incomplete and damaged ones."""

from __future__ import annotations

import re
import struct
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Self

import zstandard
from rosbags.rosbag2 import Reader

from activesam_ros.datasets.damaged_mcap import DamagedMcap
from activesam_ros.datasets.message_types import known_message_types, message_types_of
from activesam_ros.errors import EvaluationError, reason

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping
    from types import TracebackType

    from rosbags.interfaces import Connection
    from rosbags.typesys.store import Typestore

_SUFFIXES = (".mcap", ".db3", ".mcap.zstd", ".db3.zstd")
_SQLITE_MAGIC = b"SQLite format 3\0"
# Messages that were compressed one by one begin with this; serialised ones begin with a zero.
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


@dataclass(frozen=True)
class Topic:
    """A topic of a recording: its type, such as `sensor_msgs/msg/Image`, and how many messages it has."""

    type: str
    count: int


@dataclass(frozen=True, eq=False)
class RecordedMessage:
    """One message of a recording.

    Attributes:
        topic: its name.
        time_ns: when it was recorded; not the stamp of its header.
        message: with the fields of its type, arrays as numpy arrays; None if it could not be deserialised.
        error: why not, in one sentence.
    """

    topic: str
    time_ns: int
    message: Any | None
    error: str | None = None


class Recording:
    """A recording that is open for reading; a context manager. Several readings may go on at the same time.

    Attributes:
        path: as given.
        topics: by name, sorted.
        start: when the first message was recorded, nanoseconds; None without any message.
        end: the same of the last one.
    """

    def __init__(self, path: str | Path) -> None:
        """Open a rosbag2 folder (MCAP or SQLite, with metadata.yaml or without), or one of its storage files.

        Raises:
            EvaluationError: there is no recording, or none of it can be read.
        """
        self.path = Path(path)
        self._missing: list[str] = []
        with ExitStack() as opening:
            self._scratch = Path(opening.enter_context(TemporaryDirectory(prefix="activesam-bag-")))
            try:
                self._storages = self._open_storages(self.path)
            except OSError as error:  # of a disk, or a lack of permission
                raise EvaluationError(f"{self.path} cannot be read: {error}") from error
            self._open = opening.pop_all()
        self.topics: Mapping[str, Topic] = _topics(self._storages)
        self.start = min((one.start for one in self._storages if one.start is not None), default=None)
        self.end = max((one.end for one in self._storages if one.end is not None), default=None)
        self._known_types: Typestore | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop reading and remove what was unpacked for it; messages that were read stay valid."""
        self._open.close()

    @property
    def cut(self) -> str | None:
        """One sentence if the recording is incomplete; damage in the middle shows only while messages are read."""
        if not self._missing:
            return None
        return f"the recording is incomplete, and what is there is used: {'; '.join(self._missing)}"

    def topics_of(self, *types: str) -> tuple[str, ...]:
        """Return the names of the topics of any of these types, sorted."""
        return tuple(name for name, topic in self.topics.items() if topic.type in types)

    def require(self, topic: str) -> Topic:
        """Return the topic of that name.

        Raises:
            EvaluationError: there is none; the message lists those that there are.
        """
        if topic in self.topics:
            return self.topics[topic]
        raise EvaluationError(f"{self.path} has no topic {topic}; it has {self.describe_topics()}")

    def describe_topics(self) -> str:
        """List the topics with their types, for a message."""
        listed = ", ".join(f"{name} ({topic.type})" for name, topic in self.topics.items())
        return listed or "no topics at all"

    def messages(
        self, topics: Iterable[str], start_s: float | None = None, end_s: float | None = None
    ) -> Iterator[RecordedMessage]:
        """Read the messages of some topics in recorded order, holding one at a time, or one chunk of an MCAP.

        Args:
            topics: their names.
            start_s: skip what was recorded sooner, in seconds after the recording's start.
            end_s: skip what was recorded then or later.

        Raises:
            EvaluationError: a topic is missing; at once, not with the first message.
        """
        wanted = set(topics)
        for topic in wanted:
            self.require(topic)
        begin = self.start or 0
        first, last = (None if one is None else begin + round(one * 1e9) for one in (start_s, end_s))
        return self._messages(wanted, first, last)

    def _messages(self, topics: set[str], first: int | None, last: int | None) -> Iterator[RecordedMessage]:
        if self._known_types is None:
            self._known_types = known_message_types()
        for storage in self._storages:
            connections = [one for one in storage.connections if one.topic in topics]
            readers = {one.id: _Deserialiser(one, self._known_types) for one in connections}
            try:
                for connection, time_ns, raw in storage.messages(connections, first, last):
                    yield readers[connection.id].read(time_ns, raw)
            except Exception as error:  # rosbags lets what a damaged file raises through
                damage = f"it is damaged in the middle ({reason(error)})"
                if damage not in self._missing:
                    self._missing.append(damage)

    def _open_storages(self, path: Path) -> list[Storage]:
        if not path.exists():
            raise EvaluationError(
                f"there is no recording {path}; give a rosbag2 folder, or an .mcap or .db3 file"
            )
        if path.is_dir() or path.name == "metadata.yaml":
            return self._open_folder(path if path.is_dir() else path.parent)
        if path.suffix == ".bag":
            raise EvaluationError(
                f"{path} is a ROS 1 bag; convert it first: rosbags-convert --src {path} --dst FOLDER"
            )
        if not path.name.endswith(_SUFFIXES):
            raise EvaluationError(
                f"{path} is no recording: expected a rosbag2 folder, or an .mcap or .db3 file"
            )
        return [self._open_file(path)]

    def _open_folder(self, folder: Path) -> list[Storage]:
        """Open a folder as a whole where rosbags takes it, else its storage files one by one."""
        files = sorted((one for one in folder.iterdir() if one.name.endswith(_SUFFIXES)), key=_natural_order)
        described = (folder / "metadata.yaml").is_file()
        if not described and not files:
            raise EvaluationError(
                f"{folder} is no recording: expected metadata.yaml, and files that end in "
                f"{' or '.join(_SUFFIXES[:2])}"
            )
        if described:
            for file in files:
                _refuse_short_database(file)
            try:
                return [_IndexedStorage(folder)]
            except EvaluationError as error:
                if not files:
                    raise
                cause = error.__cause__ or error
                self._missing.append(f"{folder} cannot be read as metadata.yaml describes it ({cause})")
        else:
            self._missing.append(f"{folder} has no metadata.yaml, as when a recorder was killed")
        storages: list[Storage] = []
        for file in files:
            try:
                storages.append(self._open_file(file))
            except EvaluationError as error:
                if len(files) == 1:
                    raise
                self._missing.append(str(error))
        if not storages:
            raise EvaluationError(f"nothing in {folder} can be read: {'; '.join(self._missing[1:])}")
        return storages

    def _open_file(self, path: Path) -> Storage:
        unpacked = _unpacked(path, self._scratch) if path.suffix == ".zstd" else path
        _refuse_short_database(unpacked)
        storage: Storage
        try:
            storage = _IndexedStorage(unpacked)
        except EvaluationError:
            if unpacked.suffix != ".mcap":
                raise
            storage = DamagedMcap(unpacked)
        if storage.cut is not None:
            self._missing.append(f"{path.name} is incomplete ({storage.cut})")
        if _has_log(path):
            self._missing.append(f"{path.name} lacks what is in its log; {_how_to_merge(path)}")
        return storage


class _IndexedStorage:
    """A storage file, or a whole folder, that rosbags reads."""

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
        """Read messages of `connections` recorded from `start` until before `stop`, nanoseconds, in order."""
        ids = {connection.id for connection in connections}
        if not ids:  # which rosbags would take for all
            return
        # A reader of its own: two readings of one would move each other's place in the file.
        with Reader(self._path) as reader:
            yield from reader.messages([one for one in reader.connections if one.id in ids], start, stop)


Storage = _IndexedStorage | DamagedMcap
"""Where the messages of a recording come from."""


class _Deserialiser:
    """Deserialises the messages of one connection."""

    def __init__(self, connection: Connection, known: Typestore) -> None:
        self._topic, self._type = connection.topic, connection.msgtype
        self._refusal = ""
        encoding = connection.ext.serialization_format
        if encoding != "cdr":
            self._refusal = f"the messages are serialised as {encoding!r}; expected cdr"
            return
        try:
            self._types = message_types_of(connection, known)
        except EvaluationError as error:
            self._refusal = str(error)

    def read(self, time_ns: int, raw: bytes) -> RecordedMessage:
        if self._refusal:
            return RecordedMessage(self._topic, time_ns, None, self._refusal)
        try:
            if raw[:4] == _ZSTD_MAGIC:
                raw = zstandard.decompress(raw)
            message = self._types.deserialize_cdr(raw, self._type)
        except Exception as error:  # bytes from outside make the deserialiser raise nearly anything
            sentence = f"the message ({len(raw)} bytes) is no {self._type}: {reason(error)}"
            return RecordedMessage(self._topic, time_ns, None, sentence)
        return RecordedMessage(self._topic, time_ns, message)


def _topics(storages: Iterable[Storage]) -> dict[str, Topic]:
    connections = [one for storage in storages for one in storage.connections]
    topics = {}
    for name in sorted({one.topic for one in connections}):
        own = [one for one in connections if one.topic == name]
        types = " or ".join(dict.fromkeys(one.msgtype for one in own))
        topics[name] = Topic(types, sum(one.msgcount for one in own))
    return topics


def _refusal(path: Path, error: Exception) -> str:
    if path.suffix == ".db3":
        if _has_log(path):
            return f"{path} cannot be read without its log; {_how_to_merge(path)}"
        if set("?#%") & set(str(path)):  # rosbags gives SQLite the path as a URI
            return f"{path} cannot be opened under a path with ?, # or %; rename it"
        return f"{path} is damaged ({reason(error)}); {_how_to_recover(path)}"
    return f"{path} cannot be read: {reason(error)}"


def _refuse_short_database(path: Path) -> None:
    """Raise EvaluationError for an SQLite file that is shorter than its header says; leave other files alone."""
    if path.suffix != ".db3":
        return
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(100)
    if not head:
        raise EvaluationError(f"{path} is empty: the recorder stopped before it wrote anything")
    if not head.startswith(_SQLITE_MAGIC[: len(head)]):
        raise EvaluationError(f"{path} is no SQLite file: its first bytes are those of something else")
    expected = _stated_size(head)
    if expected > size:
        raise EvaluationError(
            f"{path} is truncated: {size} bytes of {expected} are there; {_how_to_recover(path)}"
        )


def _stated_size(head: bytes) -> int:
    """Return how many bytes an SQLite file has by its header; 0 if the header does not tell."""
    if len(head) < 100:
        return 100
    (page,) = struct.unpack_from(">H", head, 16)
    changes, pages = struct.unpack_from(">II", head, 24)
    (valid_for,) = struct.unpack_from(">I", head, 92)
    # Old libraries do not keep the size; then the two counters differ.
    return pages * (65536 if page == 1 else page) if changes == valid_for else 0


def _has_log(path: Path) -> bool:
    """Whether SQLite had written a log beside a database, and not yet into it, when the recorder was killed."""
    log = path.with_name(f"{path.name}-wal")
    return path.suffix == ".db3" and log.exists() and log.stat().st_size > 0


def _how_to_merge(path: Path) -> str:
    return f"merge the two: sqlite3 {path} 'PRAGMA wal_checkpoint(TRUNCATE)'"


def _how_to_recover(path: Path) -> str:
    return f"save what is left with: sqlite3 {path} .recover | sqlite3 {path.stem}_recovered.db3"


def _unpacked(path: Path, scratch: Path) -> Path:
    """Unpack a file that was compressed as a whole, as much of it as there is."""
    unpacked = scratch / path.stem
    try:
        with path.open("rb") as packed, unpacked.open("wb") as out:
            zstandard.ZstdDecompressor().copy_stream(packed, out)
    except zstandard.ZstdError as error:
        if unpacked.stat().st_size == 0:
            raise EvaluationError(f"{path} cannot be unpacked: {reason(error)}") from error
    return unpacked


def _natural_order(path: Path) -> list[tuple[int, str]]:
    """Sort `bag_10.mcap` behind `bag_9.mcap`."""
    return [(int(part) if part.isdecimal() else -1, part) for part in re.split(r"(\d+)", path.name)]
