"""Read MCAP files that rosbags refuses: without their end, as a killed recorder or a full disk leaves them."""

from __future__ import annotations

import struct
from collections import Counter
from io import BytesIO
from typing import TYPE_CHECKING, BinaryIO

import lz4.frame
import zstandard
from mcap.exceptions import EndOfFile, McapError, RecordLengthLimitExceeded
from mcap.opcode import Opcode
from mcap.records import Channel, Chunk, DataEnd, Footer, McapRecord, Message, Schema
from mcap.stream_reader import StreamReader, breakup_chunk
from rosbags.interfaces import Connection, ConnectionExtRosbag2, MessageDefinition, MessageDefinitionFormat

from activesam_ros.errors import EvaluationError, reason

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

# What mcap and the decompressors raise for bytes that are not what they should be; lz4 raises RuntimeError.
_DAMAGE = (McapError, zstandard.ZstdError, struct.error, ValueError, RuntimeError, OverflowError, MemoryError)
_FORMATS = {
    "ros2msg": MessageDefinitionFormat.MSG,
    "ros2idl": MessageDefinitionFormat.IDL,
    "omgidl": MessageDefinitionFormat.IDL,
}
_MAGIC_BYTES = 8
_RECORD_HEAD = struct.Struct("<BQ")
# Opcode and length of the record, start, end, size and checksum of the messages, length of the compression's name.
_CHUNK_HEAD = struct.Struct("<BQQQQII")


class DamagedMcap:
    """Read an MCAP from its beginning, without its index, to its end or to where it stops making sense.

    Attributes:
        connections: rosbags' own, with counts of the messages that are whole.
        start, end: nanoseconds, of the earliest and the latest of them; None without any.
        cut: where and why reading stopped, in a few words; None if the file is whole.
    """

    def __init__(self, path: Path) -> None:
        """Read the whole file once, to know what there is.

        Raises:
            EvaluationError: it is empty, or no MCAP.
        """
        self._path = path
        self.cut: str | None = None
        self.start: int | None = None
        self.end: int | None = None
        schemas: dict[int, Schema] = {}
        channels: dict[int, Channel] = {}
        counts: Counter[int] = Counter()
        for records in self._groups():
            for record in records:
                if isinstance(record, Schema):
                    schemas[record.id] = record
                elif isinstance(record, Channel):
                    channels[record.id] = record
                elif isinstance(record, Message):
                    counts[record.channel_id] += 1
                    self.start = record.log_time if self.start is None else min(self.start, record.log_time)
                    self.end = record.log_time if self.end is None else max(self.end, record.log_time)
        self.connections = [
            _connection(channel, schemas.get(channel.schema_id), counts[channel.id], self)
            for channel in channels.values()
        ]

    def messages(
        self, connections: Collection[Connection], start: int | None, stop: int | None
    ) -> Iterator[tuple[Connection, int, bytes]]:
        """Read messages of `connections` recorded from `start` until before `stop`, in order within each chunk."""
        wanted = {connection.id: connection for connection in connections}
        for records in self._groups(start, stop):
            found = [
                record
                for record in records
                if isinstance(record, Message)
                and record.channel_id in wanted
                and (start is None or record.log_time >= start)
                and (stop is None or record.log_time < stop)
            ]
            for record in sorted(found, key=lambda record: record.log_time):
                yield wanted[record.channel_id], record.log_time, record.data

    def _groups(self, start: int | None = None, stop: int | None = None) -> Iterator[list[McapRecord]]:
        """Yield the records of each chunk, and of what lies between chunks one by one."""
        size = self._path.stat().st_size
        if size == 0:
            raise EvaluationError(f"{self._path} is empty: the recorder stopped before it wrote anything")
        with self._path.open("rb") as file:
            reader = StreamReader(_Strict(file), emit_chunks=True, record_size_limit=size)
            records = reader.records
            position = 0
            ended = False
            try:
                for record in records:
                    position = file.tell()
                    if isinstance(record, Chunk):
                        if _overlaps(record, start, stop):
                            yield breakup_chunk(record, validate_crc=True)
                    else:
                        ended = ended or isinstance(record, DataEnd | Footer)
                        yield [record]
            except _DAMAGE as error:
                if position == 0 and file.seek(0) == 0 and file.read(_MAGIC_BYTES)[1:5] != b"MCAP":
                    raise EvaluationError(
                        f"{self._path} is no MCAP file: its first bytes are those of something else"
                    ) from error
                self.cut = (
                    "its index is missing or damaged"
                    if ended
                    else f"byte {position} of {size}: {_reason(error)}"
                )
                yield _beginning_of_chunk(file, position or _MAGIC_BYTES, size)


class _Strict:
    """A file that gives as much as it is asked for or fails: mcap would take a part of a record for the whole."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def read(self, length: int) -> bytes:
        data = self._file.read(length)
        if len(data) < length:
            raise EndOfFile
        return data


def _overlaps(chunk: Chunk, start: int | None, stop: int | None) -> bool:
    return (start is None or chunk.message_end_time >= start) and (
        stop is None or chunk.message_start_time < stop
    )


def _beginning_of_chunk(file: BinaryIO, position: int, size: int) -> list[McapRecord]:
    """Read what there is of a chunk that begins at `position` and has no end; nothing if it is no chunk."""
    file.seek(position)
    head = file.read(_CHUNK_HEAD.size)
    if len(head) < _CHUNK_HEAD.size or head[0] != Opcode.CHUNK:
        return []
    length = _CHUNK_HEAD.unpack(head)[1]
    name_length = _CHUNK_HEAD.unpack(head)[-1]
    if name_length > len("zstd") or position + _RECORD_HEAD.size + length <= size:
        return []  # damaged rather than cut
    compression = file.read(name_length)
    file.read(8)  # the length of what follows
    rest = file.read()
    records: list[McapRecord] = []
    try:
        if compression == b"zstd":
            rest = zstandard.ZstdDecompressor().decompressobj().decompress(rest)
        elif compression == b"lz4":
            rest = lz4.frame.LZ4FrameDecompressor().decompress(rest)
        reader = StreamReader(_Strict(BytesIO(rest)), skip_magic=True, record_size_limit=len(rest))
        for record in reader.records:  # not extend, which would lose what came before the cut
            records.append(record)  # noqa: PERF402
    except _DAMAGE:
        return records
    return records


def _reason(error: Exception) -> str:
    if isinstance(error, EndOfFile | RecordLengthLimitExceeded):  # the limit is the file
        return "the file ends"
    return reason(error)


def _connection(channel: Channel, schema: Schema | None, count: int, owner: DamagedMcap) -> Connection:
    none = MessageDefinitionFormat.NONE
    kind = _FORMATS.get(schema.encoding, none) if schema else none
    text = schema.data.decode(errors="replace") if schema and kind != none else ""
    return Connection(
        id=channel.id,
        topic=channel.topic,
        msgtype=schema.name if schema else "unknown",
        msgdef=MessageDefinition(kind, text),
        digest="",
        msgcount=count,
        ext=ConnectionExtRosbag2(channel.message_encoding, []),
        owner=owner,
    )
