"""Read recordings: rosbag2 folders, MCAP and SQLite files, also compressed, incomplete and damaged ones."""

from __future__ import annotations

import re
import shutil
import struct
import tempfile
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import zstandard

from activesam_ros.datasets.bag_metadata import BagMetadata, StatedTopic, read_metadata
from activesam_ros.datasets.mcap_file import MCAP_MAGIC, McapFile
from activesam_ros.datasets.message_types import known_message_types, message_types_of
from activesam_ros.datasets.sqlite_file import SQLITE_MAGIC, SqliteFile
from activesam_ros.datasets.storage import (
    Connection,
    RawMessage,
    UnpackedCache,
    in_order,
    open_unpacked,
    unpacked,
)
from activesam_ros.errors import EvaluationError, reason
from activesam_ros.system.files import remove_abandoned_scratch, scratch_folder

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping
    from types import TracebackType
    from typing import BinaryIO

    from rosbags.typesys.store import Typestore

_SUFFIXES = (".mcap", ".db3")
_PACKED = (".zstd", ".zst", ".lz4")
_ROS1_MAGIC = b"#ROSBAG V"
_OTHER_ARCHIVES = (".gz", ".bz2", ".xz", ".zip", ".7z")
_COPY_BYTES = 2**20
# Encapsulation, then the stamp with which every message with a header begins.
_STAMP_AT = 4
_STAMP_BYTES = 12


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


Storage = McapFile | SqliteFile
"""Where the messages of a recording come from."""


class Recording:
    """A recording that is open for reading; a context manager. Several readings may go on at the same time.

    Its files say what there is. `metadata.yaml` adds what they do not say; where it contradicts them, a note tells.

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
        self._remarks: list[str] = []
        self._scratch: Path | None = None
        self._cache = UnpackedCache()
        self._metadata = BagMetadata()
        remove_abandoned_scratch()
        with ExitStack() as opening:
            self._open = opening
            try:
                self._storages = self._open_storages(self.path)
            except OSError as error:  # of a disk, or a lack of permission
                raise EvaluationError(f"{self.path} cannot be read: {error}") from error
            self._open = opening.pop_all()
        for storage in self._storages:
            storage.connections = [self._completed(one) for one in storage.connections]
        connections = [one for storage in self._storages for one in storage.connections]
        self.topics: Mapping[str, Topic] = _topics(connections)
        self.start = min((one.start for one in self._storages if one.start is not None), default=None)
        self.end = max((one.end for one in self._storages if one.end is not None), default=None)
        self._stated = {
            name: max(topic.count, self._stated_count(name)) for name, topic in self.topics.items()
        }
        self._read: dict[str, int] = {name: topic.count for name, topic in self.topics.items()}
        self._known_types: Typestore | None = None
        self._deserialisers: dict[Connection, _Deserialiser] = {}

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
        lacking = [*self._missing, *filter(None, [self.shortage(*self.topics)])]
        if not lacking:
            return None
        return f"the recording is incomplete, and what is there is used: {'; '.join(lacking)}"

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences that a reader of figures must not miss: what is incomplete, and what `metadata.yaml` has wrong."""
        return (*([self.cut] if self.cut else []), *self._remarks)

    @property
    def custom_data(self) -> Mapping[str, str]:
        """What the recorder was told to keep in `metadata.yaml`, by key."""
        return self._metadata.custom_data

    def shortage(self, *topics: str) -> str | None:
        """Say that fewer messages of some topics are there, or could be read so far, than the recording states."""
        short = [
            f"{topic} has {self._read[topic]} of {self._stated[topic]} messages"
            for topic in topics
            if self._read[topic] < self._stated[topic]
        ]
        return ", ".join(short) or None

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

    def part(self, start_s: float | None, end_s: float | None) -> tuple[int | None, int | None]:
        """Convert seconds after the recording's start to times, in nanoseconds."""
        begin = self.start or 0
        first, last = (None if one is None else begin + round(one * 1e9) for one in (start_s, end_s))
        return first, last

    def messages(
        self, topics: Iterable[str], start_s: float | None = None, end_s: float | None = None
    ) -> Iterator[RecordedMessage]:
        """Read the messages of some topics in recorded order, holding one at a time, or a few chunks of an MCAP.

        Args:
            topics: their names.
            start_s: skip what was recorded sooner, in seconds after the recording's start.
            end_s: skip what was recorded then or later.

        Raises:
            EvaluationError: a topic is missing; at once, not with the first message.
        """
        raw = self._raw(set(map(self._required, topics)), *self.part(start_s, end_s))
        return map(self.deserialised, raw)

    def serialised(
        self, topics: Iterable[str], start_s: float | None = None, end_s: float | None = None
    ) -> Iterator[RawMessage]:
        """Read the messages of some topics as `messages`, but as the bytes that they are serialised to."""
        raw = self._raw(set(map(self._required, topics)), *self.part(start_s, end_s))
        return ((time_ns, connection, unpacked(data)) for time_ns, connection, data in raw)

    def deserialised(self, message: RawMessage) -> RecordedMessage:
        """Deserialise one that `serialised` has read."""
        time_ns, connection, data = message
        return self._deserialiser(connection).read(time_ns, data)

    def connections(self, topics: Collection[str]) -> list[Connection]:
        """Return what describes the messages of some topics; of one in several files that of each."""
        return [one for storage in self._storages for one in storage.connections if one.topic in topics]

    def stamps(self, topics: Iterable[str]) -> Iterator[tuple[str, int, int | None]]:
        """Read topic, time of recording and the header's stamp of all messages of topics with headers, in order.

        Times are in nanoseconds; a stamp is None if the message has none that can be read.
        """
        for time_ns, connection, data in self._raw(set(map(self._required, topics))):
            yield connection.topic, time_ns, _stamp_of(data) if connection.encoding == "cdr" else None

    def _required(self, topic: str) -> str:
        self.require(topic)
        return topic

    def _raw(
        self, topics: set[str], first: int | None = None, last: int | None = None
    ) -> Iterator[RawMessage]:
        read: Counter[str] = Counter()
        for message in in_order(
            (storage.start, partial(self._raw_of, storage, topics, first, last))
            for storage in self._storages
            if storage.start is not None
        ):
            read[message[1].topic] += 1
            yield message
        if first is last is None:
            self._read.update((name, read[name]) for name in topics)

    def _raw_of(
        self, storage: Storage, topics: set[str], first: int | None, last: int | None
    ) -> Iterator[RawMessage]:
        connections = [one for one in storage.connections if one.topic in topics]
        try:
            yield from storage.messages(connections, first, last)
        except Exception as error:  # a damaged file makes what reads it raise nearly anything
            damage = f"it is damaged in the middle ({reason(error)})"
            if damage not in self._missing:
                self._missing.append(damage)

    def _deserialiser(self, connection: Connection) -> _Deserialiser:
        if connection not in self._deserialisers:
            self._known_types = self._known_types or known_message_types()
            expected = self.topics[connection.topic].type
            self._deserialisers[connection] = _Deserialiser(connection, expected, self._known_types)
        return self._deserialisers[connection]

    def _stated_count(self, topic: str) -> int:
        return self._metadata.topics[topic].count if topic in self._metadata.topics else 0

    def _open_storages(self, path: Path) -> list[Storage]:
        if not path.exists():
            raise EvaluationError(
                f"there is no recording {path}; give a rosbag2 folder, or an .mcap or .db3 file"
            )
        if path.is_dir() or path.name == "metadata.yaml":
            return self._open_folder(path if path.is_dir() else path.parent)
        return [self._open_file(path)]

    def _open_folder(self, folder: Path) -> list[Storage]:
        """Open all storage files of a folder, whether they are listed or not."""
        try:
            self._metadata = read_metadata(folder)
            unread = ""
        except EvaluationError as error:
            unread = f"{error}; the recording was read from its files alone"
            self._remarks.append(unread)
        files = _storage_files(folder, self._metadata.paths)
        if not files:
            raise EvaluationError(_nothing_in(folder, self._metadata.files))
        opened: dict[str, Storage] = {}
        problems = []
        for file in files:
            try:
                opened[file.name] = self._open_file(file)
            except EvaluationError as error:
                if len(files) == 1 or isinstance(
                    error.__cause__, OSError
                ):  # the machine's fault, not the file's
                    raise
                problems.append(str(error))
        if not opened:
            raise EvaluationError(f"nothing in {folder} can be read: {'; '.join(problems)}")
        self._missing += problems
        for name, other in _copies(opened, self._metadata.files):
            del opened[name]
            self._remarks.append(f"{name} is a copy of {other}, and was left out")
        storages = list(opened.values())
        if not unread:
            connections = [one for storage in storages for one in storage.connections]
            wrong = self._metadata.disagreements([file.name for file in files], connections)
            if wrong:
                self._remarks.append(
                    f"{folder / 'metadata.yaml'} does not describe the files, which were followed: {'; '.join(wrong)}"
                )
        return storages

    def _completed(self, connection: Connection) -> Connection:
        """Return a connection with its type's full name, and with what its file does not say."""
        stated = self._metadata.topics.get(connection.topic, StatedTopic())
        encoding = connection.encoding or stated.encoding or "cdr"
        kind = connection.type or stated.type or "unknown"
        return replace(connection, encoding=encoding, type=_full_name(kind) if encoding == "cdr" else kind)

    def _open_file(self, path: Path) -> Storage:
        with path.open("rb") as file:
            head = file.read(16)
            file.seek(0)
            packed = open_unpacked(file)
            if packed is not None:
                return self._open_packed(path, packed)
        if head.startswith(_ROS1_MAGIC) or path.suffix == ".bag":
            raise EvaluationError(_ros1(path))
        storage: Storage
        if head.startswith(SQLITE_MAGIC) or (path.suffix == ".db3" and not head.startswith(MCAP_MAGIC)):
            storage = SqliteFile(path)
        elif head.startswith(MCAP_MAGIC) or path.suffix == ".mcap":
            storage = McapFile(path, self._cache)
        else:
            hint = "; unpack it first" if path.suffix in _OTHER_ARCHIVES else ""
            raise EvaluationError(
                f"{path} is no recording: expected a rosbag2 folder, or an .mcap or .db3 file{hint}"
            )
        if storage.cut is not None:
            self._missing.append(f"{path.name} is incomplete ({storage.cut})")
        return storage

    def _open_packed(self, path: Path, content: BinaryIO) -> Storage:
        """Unpack a file that was compressed as a whole, once and as much of it as there is, and open that."""
        try:
            if self._scratch is None:
                self._scratch = self._open.enter_context(scratch_folder())
            target = self._scratch / f"{len(list(self._scratch.iterdir()))}-{path.stem}"
            with target.open("wb") as out:
                _unpack(path, content, out)
        except OSError as error:
            raise EvaluationError(
                f"{path} cannot be unpacked to the temporary folder {tempfile.gettempdir()} "
                f"({error.strerror or error}); free some space there, or name another folder with TMPDIR"
            ) from error
        missing = len(self._missing)
        try:
            return self._open_file(target)
        except EvaluationError as error:
            raise EvaluationError(f"{path}: {str(error).replace(str(target), path.stem)}") from error
        finally:
            for place in range(missing, len(self._missing)):
                self._missing[place] = self._missing[place].replace(target.name, path.name)


class _Deserialiser:
    """Deserialises the messages of one connection of a topic, whose type may be another connection's."""

    def __init__(self, connection: Connection, topic_type: str, known: Typestore) -> None:
        self._topic, self._type = connection.topic, connection.type
        self._refusal = ""
        if connection.type != topic_type:
            self._refusal = f"the message is of type {connection.type}, the topic's others {topic_type}"
            return
        if connection.encoding != "cdr":
            self._refusal = f"the messages are serialised as {connection.encoding!r}; expected cdr"
            return
        try:
            self._types = message_types_of(connection, known)
        except EvaluationError as error:
            self._refusal = str(error)

    def read(self, time_ns: int, raw: bytes) -> RecordedMessage:
        if self._refusal:
            return RecordedMessage(self._topic, time_ns, None, self._refusal)
        try:
            message = self._types.deserialize_cdr(unpacked(raw), self._type)
        except Exception as error:  # bytes from outside make the deserialiser raise nearly anything
            sentence = f"the message ({len(raw)} bytes) is no {self._type}: {reason(error)}"
            return RecordedMessage(self._topic, time_ns, None, sentence)
        return RecordedMessage(self._topic, time_ns, message)


def _stamp_of(raw: bytes) -> int | None:
    """Read the stamp of a serialised message that begins with a header."""
    try:
        head = unpacked(raw, _STAMP_BYTES)
        seconds, nanoseconds = struct.unpack_from("<iI" if head[1] & 1 else ">iI", head, _STAMP_AT)
    except Exception:  # bytes from outside make the decompressors raise nearly anything
        return None
    return int(seconds * 1_000_000_000 + nanoseconds)


def _topics(connections: list[Connection]) -> dict[str, Topic]:
    """Return the topics by name, sorted; one that has several types has that of most of its messages."""
    topics = {}
    for name in sorted({one.topic for one in connections}):
        own = [one for one in connections if one.topic == name]
        counts: Counter[str] = Counter()
        for one in own:
            counts[one.type] += one.count
        topics[name] = Topic(counts.most_common(1)[0][0], counts.total())
    return topics


def _full_name(kind: str) -> str:
    """Return the name of a type as ROS 2 has it, such as `sensor_msgs/msg/Image`, also if it is named otherwise."""
    parts = [part for part in re.split(r"/|::", kind) if part != "dds_"]
    if len(parts) == 2:
        parts.insert(1, "msg")
    return "/".join(parts).removesuffix("_")


def _storage_files(folder: Path, listed: Collection[str]) -> list[Path]:
    """Return a folder's storage files, in natural order; of one that is there packed and unpacked the listed one."""
    found: dict[str, Path] = {}
    below = [folder / one for one in listed if "/" in one]
    listed = [Path(one).name for one in listed]
    for path in sorted({*folder.iterdir(), *below}, key=_natural_order):
        bare = path.name.removesuffix(path.suffix) if path.suffix in _PACKED else path.name
        if not path.is_file() or path.name.startswith("."):
            continue
        if path.name in listed or (bare.endswith(_SUFFIXES) and bare not in found):
            found[bare] = path
        elif bare.endswith(_SUFFIXES) and found[bare].name not in listed and path.name != bare:
            found[bare] = path  # packed, as it was recorded
    return list(found.values())


def _copies(opened: Mapping[str, Storage], listed: Collection[str]) -> list[tuple[str, str]]:
    """Return the names of files that hold the same messages as others, with the names of these."""
    copies = []
    first: dict[object, str] = {}
    for name in sorted(opened, key=lambda name: name not in listed):
        one = opened[name]
        counts = tuple(sorted((connection.topic, connection.count) for connection in one.connections))
        other = first.setdefault((one.start, one.end, counts), name)
        if other != name and one.start is not None:
            copies.append((name, other))
    return copies


def _unpack(path: Path, content: BinaryIO, out: BinaryIO) -> None:
    try:
        shutil.copyfileobj(content, out, _COPY_BYTES)
    except (zstandard.ZstdError, EOFError, RuntimeError) as error:
        if out.tell() == 0:
            raise EvaluationError(f"{path} cannot be unpacked: {reason(error)}") from error
        # What came before is read, and what is missing there is told.


def _nothing_in(folder: Path, listed: Collection[str]) -> str:
    ros1 = next(folder.glob("*.bag"), None)
    if ros1 is not None:
        return _ros1(ros1)
    if listed:
        return f"{folder} has none of the files that its metadata.yaml lists: {', '.join(listed)}"
    inner = sorted(path.parent.name for path in folder.glob("*/metadata.yaml"))
    hint = f"; give one of the folders in it: {', '.join(inner)}" if inner else ""
    expected = f"metadata.yaml, and files that end in {' or '.join(_SUFFIXES)}"
    return f"{folder} is no recording: expected {expected}{hint}"


def _ros1(path: Path) -> str:
    return f"{path} is a ROS 1 bag; convert it first: rosbags-convert --src {path} --dst FOLDER"


def _natural_order(path: Path) -> list[tuple[int, str]]:
    """Sort `bag_10.mcap` behind `bag_9.mcap`."""
    return [(int(part) if part.isdecimal() else -1, part) for part in re.split(r"(\d+)", path.name)]
