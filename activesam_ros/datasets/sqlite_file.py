"""Read the SQLite files of rosbag2, of every version of its tables."""

from __future__ import annotations

import sqlite3
import struct
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from activesam_ros.datasets.storage import Connection, RawMessage
from activesam_ros.errors import EvaluationError, reason

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

SQLITE_MAGIC = b"SQLite format 3\0"

_CORRUPT = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class SqliteFile:
    """A database with the tables of rosbag2.

    Attributes:
        connections: with counts of their messages.
        start, end: nanoseconds, of the earliest and the latest message; None without any.
        cut: what the file lacks, in a few words; None if it is whole.
    """

    def __init__(self, path: Path) -> None:
        """Read the topics and count their messages.

        Raises:
            EvaluationError: it is truncated, damaged, or no recording.
        """
        self._path = path
        _refuse_short_file(path)
        self.cut = f"it lacks what is in its log; {_how_to_merge(path)}" if _has_log(path) else None
        with self._database() as database:
            columns = {row[1] for row in database.execute("PRAGMA table_info(topics)")}
            if not columns or not list(database.execute("PRAGMA table_info(messages)")):
                raise EvaluationError(
                    f"{path} is a database, but no recording: it has no tables topics and messages"
                )
            query = (
                "SELECT topic_id, COUNT(*), MIN(timestamp), MAX(timestamp) FROM messages GROUP BY topic_id"
            )
            counted = {topic: rest for topic, *rest in database.execute(query)}
            definitions = _definitions(database)
            kept = [
                name if name in columns else "''"
                for name in ("serialization_format", "offered_qos_profiles", "type_description_hash")
            ]
            topics = database.execute(f"SELECT id, name, type, {', '.join(kept)} FROM topics ORDER BY id")
            self.connections = [
                Connection(
                    number,
                    topic,
                    kind,
                    encoding or "",
                    *definitions.get(kind, ("", "")),
                    count=counted[number][0] if number in counted else 0,
                    qos=qos or "",
                    hash=type_hash or "",
                )
                for number, topic, kind, encoding, qos, type_hash in topics
            ]
        known = [counted[one.id] for one in self.connections if one.id in counted]
        self.start: int | None = min((first for _, first, _ in known), default=None)
        self.end: int | None = max((last for *_, last in known), default=None)
        lost = sum(count for count, *_ in counted.values()) - sum(count for count, *_ in known)
        if lost and self.cut is None:
            self.cut = f"{lost} of its messages belong to no topic"

    def messages(
        self, connections: Collection[Connection], start: int | None, stop: int | None
    ) -> Iterator[RawMessage]:
        """Read messages of `connections` recorded from `start` until before `stop`, nanoseconds, in order."""
        wanted = {connection.id: connection for connection in connections}
        query = (
            "SELECT timestamp, topic_id, CAST(data AS BLOB) FROM messages "
            f"WHERE topic_id IN ({', '.join(map(str, wanted))}) AND timestamp >= ? AND timestamp < ? "
            "ORDER BY timestamp, id"
        )
        lowest, highest = -(2**63), 2**63 - 1
        part = (lowest if start is None else start, highest if stop is None else stop)
        with self._database() as database:
            for time, topic, data in database.execute(query, part):
                yield time, wanted[topic], data or b""

    @contextmanager
    def _database(self) -> Iterator[sqlite3.Connection]:
        try:
            # Immutable: nothing is written beside it, not even on a medium that could be.
            address = f"{self._path.resolve().as_uri()}?immutable=1"
            with closing(sqlite3.connect(address, uri=True)) as database:
                database.text_factory = lambda text: text.decode(errors="replace")
                yield database
        except (sqlite3.Error, UnicodeDecodeError, TypeError) as error:  # the latter two of damaged columns
            raise EvaluationError(self._refusal(error)) from error

    def _refusal(self, error: Exception) -> str:
        code = (
            getattr(error, "sqlite_errorcode", 0)
            if isinstance(error, sqlite3.Error)
            else sqlite3.SQLITE_CORRUPT
        )
        if code & 0xFF not in _CORRUPT:
            return f"{self._path} cannot be read: {reason(error)}"
        if _has_log(self._path):
            return f"{self._path} cannot be read without its log; {_how_to_merge(self._path)}"
        return f"{self._path} is damaged ({reason(error)}); {_how_to_recover(self._path)}"


def _definitions(database: sqlite3.Connection) -> dict[str, tuple[str, str]]:
    """Return encoding and definition by type; old versions have none."""
    if not list(database.execute("PRAGMA table_info(message_definitions)")):
        return {}
    rows: Any = database.execute(
        "SELECT topic_type, encoding, encoded_message_definition FROM message_definitions"
    )
    return {kind: (encoding or "", text) for kind, encoding, text in rows if text}


def _refuse_short_file(path: Path) -> None:
    """Raise EvaluationError for a file that is shorter than its header says."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(100)
    if not head:
        raise EvaluationError(f"{path} is empty: the recorder stopped before it wrote anything")
    if not head.startswith(SQLITE_MAGIC[: len(head)]):
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
    return log.exists() and log.stat().st_size > 0


def _how_to_merge(path: Path) -> str:
    return f"merge the two: sqlite3 {path} 'PRAGMA wal_checkpoint(TRUNCATE)'"


def _how_to_recover(path: Path) -> str:
    return f"save what is left with: sqlite3 {path} .recover | sqlite3 {path.stem}_recovered.db3"
