"""Image files that no library writes."""

from __future__ import annotations

import struct
import zlib


def png_row(width: int, bits: int, row: bytes, palette: bytes = b"") -> bytes:
    """Return a PNG of one row of packed pixels: grey, or with a palette."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, 1, bits, 3 if palette else 0, 0, 0, 0)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(b"\0" + row)), chunk(b"IEND", b"")]
    parts[1:1] = [chunk(b"PLTE", palette)] if palette else []
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)
