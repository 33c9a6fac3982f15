"""What the storage files of a recording have in common: connections, messages in order, compressed bytes."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import TYPE_CHECKING

import lz4.frame
import zstandard

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator
    from typing import BinaryIO

ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
LZ4_MAGIC = b"\x04\x22\x4d\x18"

_CACHED_BYTES = 64 * 2**20


@dataclass(frozen=True, eq=False)
class Connection:
    """The messages of one topic that share a type, as a storage file describes them.

    Attributes:
        id: its number in the file.
        topic, type: such as `/camera` and `sensor_msgs/msg/Image`; the type is empty if the file does not name it.
        encoding: of the messages, such as `cdr`; empty if the file does not name it.
        definition: of the type, in the language `definition_encoding`, such as `ros2msg`; empty without one.
        count: how many messages there are.
        qos, hash: offered quality of service and hash of the type, as text; empty if the file does not name them.
    """

    id: int
    topic: str
    type: str
    encoding: str
    definition_encoding: str
    definition: str
    count: int
    qos: str = ""
    hash: str = ""


RawMessage = tuple[int, Connection, bytes]
"""When a message was recorded, in nanoseconds, its connection, and its bytes."""


def in_order(stretches: Iterable[tuple[int, Callable[[], Iterator[RawMessage]]]]) -> Iterator[RawMessage]:
    """Merge stretches of messages by time; each is opened when its first message is due.

    Args:
        stretches: the time of the first message, and what opens the messages.
    """
    waiting = sorted(stretches, key=lambda one: one[0], reverse=True)
    heads: list[tuple[int, int, RawMessage, Iterator[RawMessage]]] = []
    opened = 0
    while waiting or heads:
        if waiting and (not heads or waiting[-1][0] <= heads[0][0]):
            messages = waiting.pop()[1]()
            number = opened = opened + 1
        else:
            _, number, message, messages = heappop(heads)
            yield message
        following = next(messages, None)
        if following is not None:
            heappush(heads, (following[0], number, following, messages))


def unpacked(raw: bytes, most: int = -1) -> bytes:
    """Decompress a message that was compressed on its own; serialised ones begin with a zero, and stay as they are.

    Args:
        raw: as recorded.
        most: return the first so many bytes only, and decompress no more than needed; -1: all.
    """
    if raw[:4] == ZSTD_MAGIC:
        reader = zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True)
        return reader.readall() if most < 0 else reader.read(most)
    if raw[:4] == LZ4_MAGIC:
        return lz4.frame.LZ4FrameDecompressor().decompress(raw, max_length=most)
    return raw if most < 0 else raw[:most]


def open_unpacked(packed: BinaryIO) -> BinaryIO | None:
    """Open what a compressed file holds; None if it is not compressed."""
    magic = packed.read(4)
    packed.seek(0)
    if magic == ZSTD_MAGIC:
        return zstandard.ZstdDecompressor().stream_reader(packed, read_across_frames=True)
    return lz4.frame.open(packed) if magic == LZ4_MAGIC else None


class UnpackedCache:
    """Keeps what was unpacked last, up to a number of bytes, so that several readings unpack it once."""

    def __init__(self, most: int = _CACHED_BYTES) -> None:
        self._most = most
        self._kept: OrderedDict[Hashable, tuple[int, list[tuple[int, int, bytes]]]] = OrderedDict()
        self._bytes = 0

    def get(
        self, key: Hashable, size: int, unpack: Callable[[], list[tuple[int, int, bytes]]]
    ) -> list[tuple[int, int, bytes]]:
        """Return what is kept for a key, or what `unpack` returns, which has about `size` bytes."""
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key][1]
        content = unpack()
        self._kept[key] = (size, content)
        self._bytes += size
        while self._bytes > self._most and len(self._kept) > 1:
            self._bytes -= self._kept.popitem(last=False)[1][0]
        return content
