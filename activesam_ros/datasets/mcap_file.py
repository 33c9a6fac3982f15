"""Read MCAP files by their index, and those without one from the beginning, as far as they make sense."""

from __future__ import annotations

import struct
from collections import Counter
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from typing import TYPE_CHECKING, BinaryIO

import lz4.frame
import zstandard
from mcap.data_stream import ReadDataStream
from mcap.exceptions import EndOfFile, McapError, RecordLengthLimitExceeded
from mcap.opcode import Opcode
from mcap.reader import SeekingReader
from mcap.records import Channel, Chunk, DataEnd, Footer, McapRecord, Message, Schema
from mcap.stream_reader import StreamReader, breakup_chunk

from activesam_ros.datasets.storage import Connection, RawMessage, UnpackedCache, in_order
from activesam_ros.errors import EvaluationError, reason

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path

    from mcap.summary import Summary

MCAP_MAGIC = b"\x89MCAP"

# What mcap and the decompressors raise for bytes that are not what they should be; lz4 raises RuntimeError, and
# reading a chunk that refers to what is not there KeyError.
_DAMAGE = (
    McapError,
    zstandard.ZstdError,
    struct.error,
    ValueError,
    RuntimeError,
    OverflowError,
    MemoryError,
    KeyError,
)
_MAGIC_BYTES = 8
_FOOTER_BYTES = 37
_RECORD_HEAD = struct.Struct("<BQ")
# Opcode and length of the record, start, end, size and checksum of the messages, length of the compression's name.
_CHUNK_HEAD = struct.Struct("<BQQQQII")
# Messages outside of chunks are read together, about so many bytes at a time.
_RUN_BYTES = 2**20


@dataclass(frozen=True)
class _Stretch:
    """A part of the file that is read at a time: a chunk, or neighbouring messages outside of chunks.

    Attributes:
        begin, end: bytes of the file.
        first, last: times of its messages, nanoseconds.
        channels: that it has messages of; None: not known.
        size: bytes of its messages, unpacked.
        torn: whether it is the beginning of a chunk at which the file ends.
    """

    begin: int
    end: int
    first: int
    last: int
    channels: frozenset[int] | None
    size: int
    torn: bool = False

    def overlaps(self, start: int | None, stop: int | None) -> bool:
        return (start is None or self.last >= start) and (stop is None or self.first < stop)


class McapFile:
    """An MCAP that is read by its index; without a usable one from its beginning, up to where it stops making sense.

    Attributes:
        connections: with counts of the messages that are whole.
        start, end: nanoseconds, of the earliest and the latest message; None without any.
        cut: where and why reading stopped, in a few words; None if the file is whole.
    """

    def __init__(self, path: Path, cache: UnpackedCache | None = None) -> None:
        """Read the index, or the whole file once, to know what there is.

        Raises:
            EvaluationError: it is empty, or no MCAP.
        """
        self._path = path
        self._cache = cache or UnpackedCache()
        self._size = path.stat().st_size
        if self._size == 0:
            raise EvaluationError(f"{path} is empty: the recorder stopped before it wrote anything")
        self.cut: str | None = None
        self._stretches: list[_Stretch] = []
        summary = self._summary()
        if summary is None:
            channels, schemas, counts = self._scan()
        else:
            channels, schemas, statistics = summary.channels, summary.schemas, summary.statistics
            assert statistics is not None
            counts = Counter(statistics.channel_message_counts)
            self._stretches = [
                _Stretch(
                    one.chunk_start_offset,
                    one.chunk_start_offset + one.chunk_length,
                    one.message_start_time,
                    one.message_end_time,
                    frozenset(one.message_index_offsets) or None,
                    one.uncompressed_size,
                )
                for one in summary.chunk_indexes
                if one.message_index_offsets or one.message_end_time
            ]
        self.start = min((one.first for one in self._stretches), default=None)
        self.end = max((one.last for one in self._stretches), default=None)
        self.connections = [
            _connection(channel, schemas.get(channel.schema_id), counts[channel.id])
            for channel in channels.values()
        ]

    def messages(
        self, connections: Collection[Connection], start: int | None, stop: int | None
    ) -> Iterator[RawMessage]:
        """Read messages of `connections` recorded from `start` until before `stop`, nanoseconds, in order."""
        wanted = {connection.id: connection for connection in connections}
        with self._path.open("rb") as file:

            def read(stretch: _Stretch) -> Iterator[RawMessage]:
                unpack = partial(_unpacked, file, stretch)
                for time, channel, data in self._cache.get((self._path, stretch.begin), stretch.size, unpack):
                    if channel not in wanted or (start is not None and time < start):
                        continue
                    if stop is None or time < stop:
                        yield time, wanted[channel], data

            yield from in_order(
                (one.first, partial(read, one))
                for one in self._stretches
                if one.overlaps(start, stop) and (one.channels is None or not one.channels.isdisjoint(wanted))
            )

    def _summary(self) -> Summary | None:
        """Return the summary at the file's end; None if there is none, or if it contradicts itself."""
        if self._size < _MAGIC_BYTES + _FOOTER_BYTES:
            return None
        try:
            with self._path.open("rb") as file:
                summary = SeekingReader(_Strict(file), record_size_limit=self._size).get_summary()
        except _DAMAGE:
            return None
        return summary if summary is not None and _is_consistent(summary, self._size) else None

    def _scan(self) -> tuple[Mapping[int, Channel], Mapping[int, Schema], Counter[int]]:
        """Read the whole file: note its stretches, and return channels, schemas and counts of messages."""
        schemas: dict[int, Schema] = {}
        channels: dict[int, Channel] = {}
        counts: Counter[int] = Counter()

        def note(begin: int, end: int, records: list[McapRecord], torn: bool = False) -> None:
            times = []
            held = set()
            for record in records:
                if isinstance(record, Schema):
                    schemas[record.id] = record
                elif isinstance(record, Channel):
                    channels[record.id] = record
                elif isinstance(record, Message):
                    counts[record.channel_id] += 1
                    held.add(record.channel_id)
                    times.append(record.log_time)
            if times:
                size = sum(len(one.data) for one in records if isinstance(one, Message))
                stretch = _Stretch(begin, end, min(times), max(times), frozenset(held), size, torn)
                self._stretches.append(stretch)

        with self._path.open("rb") as file:
            reader = StreamReader(_Strict(file), emit_chunks=True, record_size_limit=self._size)
            run: list[McapRecord] = []
            begin = position = 0
            ended = False
            try:
                for record in reader.records:
                    before, position = position or _MAGIC_BYTES, file.tell()
                    if isinstance(record, Chunk):
                        note(begin, before, run)
                        run, begin = [], position
                        note(before, position, _records(record))
                        continue
                    ended = ended or isinstance(record, DataEnd | Footer)
                    begin = begin if run else before
                    run.append(record)
                    if position - begin > _RUN_BYTES:
                        note(begin, position, run)
                        run = []
                note(begin, position, run)
            except _DAMAGE as error:
                if position == 0 and file.seek(0) == 0 and not file.read(_MAGIC_BYTES).startswith(MCAP_MAGIC):
                    raise EvaluationError(
                        f"{self._path} is no MCAP file: its first bytes are those of something else"
                    ) from error
                self.cut = (
                    "its index is missing or damaged"
                    if ended
                    else f"byte {position} of {self._size}: {_reason(error)}"
                )
                note(begin, position, run)
                torn = position or _MAGIC_BYTES
                note(torn, self._size, _beginning_of_chunk(file, torn, self._size), torn=True)
        return channels, schemas, counts


class _Strict:
    """A file that gives as much as it is asked for or fails: mcap would take a part of a record for the whole."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.seek = file.seek

    def read(self, length: int) -> bytes:
        data = self._file.read(length)
        if len(data) < length:
            raise EndOfFile
        return data


def _is_consistent(summary: Summary, size: int) -> bool:
    """Whether statistics, channels and index of a summary agree, and what is indexed can be in the file."""
    statistics, chunks = summary.statistics, summary.chunk_indexes
    if statistics is None:
        return False
    counted = {channel for channel, count in statistics.channel_message_counts.items() if count}
    indexed = {channel for chunk in chunks for channel in chunk.message_index_offsets}
    return (
        counted | indexed <= summary.channels.keys()
        and all(one.schema_id in (0, *summary.schemas) for one in summary.channels.values())
        and sum(statistics.channel_message_counts.values()) == statistics.message_count
        and all(one.chunk_start_offset + one.chunk_length <= size for one in chunks)
        # What is not indexed is found by reading the file.
        and counted == indexed
    )


def _unpacked(file: BinaryIO, stretch: _Stretch) -> list[tuple[int, int, bytes]]:
    """Read time, channel and bytes of the messages of a stretch, in order of time."""
    file.seek(stretch.begin)
    if stretch.torn:
        records = _beginning_of_chunk(file, stretch.begin, stretch.end)
    else:
        data = _Strict(file).read(stretch.end - stretch.begin)
        if data[0] == Opcode.CHUNK:
            records = _records(Chunk.read(ReadDataStream(_Strict(BytesIO(data[_RECORD_HEAD.size :])))))
        else:  # records as in a chunk
            records = _records(Chunk("", data, stretch.last, stretch.first, 0, len(data)))
    found = [
        (record.log_time, record.channel_id, record.data) for record in records if isinstance(record, Message)
    ]
    return sorted(found, key=lambda one: one[0])


def _records(chunk: Chunk) -> list[McapRecord]:
    if chunk.compression not in ("", "zstd", "lz4"):
        raise ValueError(f"its chunks are compressed as {chunk.compression!r}; expected zstd or lz4")
    return breakup_chunk(chunk, validate_crc=True)


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


def _connection(channel: Channel, schema: Schema | None, count: int) -> Connection:
    return Connection(
        id=channel.id,
        topic=channel.topic,
        type=schema.name if schema else "",
        encoding=channel.message_encoding,
        definition_encoding=schema.encoding if schema else "",
        definition=schema.data.decode(errors="replace") if schema else "",
        count=count,
        qos=channel.metadata.get("offered_qos_profiles", ""),
        hash=channel.metadata.get("topic_type_hash", ""),
    )
