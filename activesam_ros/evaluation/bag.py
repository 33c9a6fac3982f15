"""Recordings as sequences of messages: rosbag2 folders, MCAP and SQLite files, also those that were cut off."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import zstandard

from activesam_ros.errors import EvaluationError
from activesam_ros.evaluation.message_types import message_types, types_of
from activesam_ros.evaluation.storage import Storage, open_files

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from types import TracebackType

    from rosbags.interfaces import Connection
    from rosbags.typesys.store import Typestore

# Messages that were compressed one by one begin with this; serialised ones begin with a zero.
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


@dataclass(frozen=True)
class Topic:
    """A topic of a recording.

    Attributes:
        type: such as `sensor_msgs/msg/Image`.
        count: of its messages; None: not known.
    """

    type: str
    count: int | None


@dataclass(frozen=True, eq=False)
class BagMessage:
    """One message of a recording.

    Attributes:
        topic: its name.
        time_ns: when it was recorded; not the stamp of its header.
        message: with the fields of its type, arrays as numpy's; None if it could not be deserialised.
        error: why not, in one sentence.
    """

    topic: str
    time_ns: int
    message: Any | None
    error: str | None = None


class BagSource:
    """A recording, open for reading.

    Attributes:
        path: as given.
        topics: by name, sorted.
        start: nanoseconds, when the first message was recorded; None without any.
        end: the same of the last one.
        cut: one sentence if the recording is incomplete, and what to do about it; else None. It may turn up only
            while messages are read, where damage lies in the middle.
    """

    def __init__(self, path: str | Path) -> None:
        """Args:
            path: a rosbag2 folder (MCAP or SQLite, with metadata.yaml or without), or one of its storage files.

        Raises:
            EvaluationError: there is no recording, or none of it can be read.
        """
        self.path = Path(path)
        with ExitStack() as opening:
            # For what has to be unpacked.
            scratch = opening.enter_context(TemporaryDirectory(prefix="activesam-bag-"))
            files = open_files(self.path, Path(scratch))
            self._open = opening.pop_all()
        self._storages = files.storages
        self.topics: Mapping[str, Topic] = _topics(files.storages)
        self.start = min((one.start for one in files.storages if one.start is not None), default=None)
        self.end = max((one.end for one in files.storages if one.end is not None), default=None)
        self._missing = list(files.missing)
        self.cut = _sentence(self._missing)
        self._known: Typestore | None = None

    def __enter__(self) -> BagSource:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the reading, and removes what was unpacked for it; messages that were read stay valid."""
        self._open.close()

    def topics_of(self, *types: str) -> tuple[str, ...]:
        """Names of the topics of any of these types, sorted."""
        return tuple(name for name, topic in self.topics.items() if topic.type in types)

    def require(self, topic: str) -> Topic:
        """The topic of that name.

        Raises:
            EvaluationError: there is none; the message lists those that there are.
        """
        if topic in self.topics:
            return self.topics[topic]
        raise EvaluationError(f"{self.path} has no topic {topic}; it has {self.listed()}")

    def listed(self) -> str:
        """The topics with their types, for people."""
        return (
            ", ".join(f"{name} ({topic.type})" for name, topic in self.topics.items()) or "no topics at all"
        )

    def messages(
        self, topics: Iterable[str], start_s: float | None = None, end_s: float | None = None
    ) -> Iterator[BagMessage]:
        """The messages of some topics in recorded order; only one at a time is held, or one chunk of an MCAP.

        Several readings may go on at the same time.

        Args:
            topics: their names.
            start_s: leaves out what was recorded sooner, in seconds after the recording's start.
            end_s: leaves out what was recorded then or later.

        Raises:
            EvaluationError: a topic is missing; at once, not with the first message.
        """
        wanted = list(dict.fromkeys(topics))
        for topic in wanted:
            self.require(topic)
        begin = self.start or 0
        first = None if start_s is None else begin + round(start_s * 1e9)
        last = None if end_s is None else begin + round(end_s * 1e9)
        return self._messages(set(wanted), first, last)

    def _messages(self, topics: set[str], first: int | None, last: int | None) -> Iterator[BagMessage]:
        for storage in self._storages:
            connections = [one for one in storage.connections if one.topic in topics]
            readers = {one.id: self._reader(one) for one in connections}
            try:
                for connection, time_ns, raw in storage.messages(connections, first, last):
                    yield readers[connection.id](time_ns, raw)
            except Exception as error:  # rosbags lets what a damaged file raises through
                self._found_damage(_reason(error))

    def _found_damage(self, reason: str) -> None:
        part = f"it is damaged in the middle ({reason})"
        if part not in self._missing:
            self._missing.append(part)
            self.cut = _sentence(self._missing)

    def _reader(self, connection: Connection) -> _Reader:
        if self._known is None:
            self._known = message_types()
        return _Reader(connection, self._known)


class _Reader:
    """Deserialises the messages of one connection."""

    def __init__(self, connection: Connection, known: Typestore) -> None:
        self._topic = connection.topic
        self._type = connection.msgtype
        self._refusal = ""
        encoding = connection.ext.serialization_format
        if encoding != "cdr":
            self._refusal = f"the messages are serialised as {encoding!r}; expected cdr"
            return
        try:
            self._types = types_of(connection, known)
        except EvaluationError as error:
            self._refusal = str(error)

    def __call__(self, time_ns: int, raw: bytes) -> BagMessage:
        if self._refusal:
            return BagMessage(self._topic, time_ns, None, self._refusal)
        try:
            if raw[:4] == _ZSTD_MAGIC:
                raw = zstandard.decompress(raw)
            message = self._types.deserialize_cdr(raw, self._type)
        except Exception as error:  # bytes from outside make the deserialiser raise nearly anything
            sentence = f"the message ({len(raw)} bytes) is no {self._type}: {_reason(error)}"
            return BagMessage(self._topic, time_ns, None, sentence)
        return BagMessage(self._topic, time_ns, message)


def _topics(storages: Iterable[Storage]) -> dict[str, Topic]:
    found: dict[str, list[Connection]] = {}
    for storage in storages:
        for connection in storage.connections:
            found.setdefault(connection.topic, []).append(connection)
    return {
        name: Topic(
            " or ".join(dict.fromkeys(one.msgtype for one in connections)),
            sum(one.msgcount for one in connections),
        )
        for name, connections in sorted(found.items())
    }


def _sentence(missing: list[str]) -> str | None:
    return (
        f"the recording is incomplete, and what is there is used: {'; '.join(missing)}" if missing else None
    )


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
