"""Decoding of sensor_msgs/CompressedImage: JPEG and PNG to arrays."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import simplejpeg
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from activesam_ros.errors import ImageError, reason
from activesam_ros.images.raw import BAYER_ENCODINGS, check_size, demosaic, refuse_measurements

if TYPE_CHECKING:
    from collections.abc import Callable

    from PIL import Image as Pillow

_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
_END_OF_IMAGE = b"\xff\xd9"
_SOS, _DHT, _DRI, _RST0 = 0xDA, 0xC4, 0xDD, 0xD0
_OTHER_SOFS = (*range(0xC2, 0xC4), *range(0xC5, 0xD0))
_END_OF_BLOCK = 0
# A Huffman table begins with its class and number and how many codes of each of 16 lengths there are.
_COUNTS = 17
# More zeros than two blocks have whose coefficients are all -1, which is what zeros mean in the usual tables.
_LONG_ZEROS = 64
# What libjpeg says of headers of which it needs nothing.
_HARMLESS = ("Warning: unknown JFIF", "Invalid SOS parameters", "Unknown Adobe color transform")
_EXTRANEOUS = re.compile("([0-9]+) extraneous bytes before marker")
# Common webcams (Logitech C270, C910) put a few bytes too many before markers, which libjpeg adds up, and lose none.
_MOST_EXTRANEOUS, _MOST_BEFORE_A_RESTART = 16, 4
_JPEG_COLOURS = {"L": "GRAY", "RGB": "RGB"}
_SIXTEEN_BITS = 65_535
# Width and height of what the entropy-coded data is divided into.
_MCU = {"444": (8, 8), "422": (16, 8), "420": (16, 16), "440": (8, 16), "411": (32, 8), "Gray": (8, 8)}


class CompressedMessage(Protocol):
    """A sensor_msgs/CompressedImage, or anything with its fields."""

    format: str
    data: Any  # of bytes, with the buffer protocol


def compressed_to_rgb(message: CompressedMessage, max_pixels: int | None = None) -> np.ndarray:
    """Decode a JPEG or PNG image.

    Altered data is detected in a PNG, which has checksums, and in a JPEG where the decoder notices it: practically
    always, if a kilobyte is missing or altered. A JPEG without an end marker is whole if its data is.

    Args:
        message: what the data begins with decides between JPEG and PNG, whatever `format` says; the latter is usually
            as image_transport writes it ("rgb8; jpeg compressed bgr8") or short ("jpeg"). Grey, colour and palettes,
            8 or 16 bit (65535 becomes 255); alpha is dropped; a Bayer mosaic is demosaiced if `format` begins with
            its encoding.
        max_pixels: larger images are refused by their header, before they are decoded; None: no limit.

    Returns:
        uint8 [height, width, 3], contiguous.

    Raises:
        ImageError: the data is neither, `format` says that it holds measurements, or it is truncated, damaged or too
            large.
    """
    encoding = _original_encoding(message.format)
    refuse_measurements(encoding)
    pixels = _decoded(message, max_pixels, _pixels)
    if pixels.ndim == 2:
        if encoding in BAYER_ENCODINGS:
            return demosaic(pixels, encoding)
        return np.repeat(pixels[:, :, np.newaxis], 3, axis=2)
    return pixels


def compressed_to_ids(message: CompressedMessage, max_pixels: int | None = None) -> np.ndarray:
    """Decode a label image: a PNG, grey with 1 to 16 bit, or with a palette, whose indices are the ids.

    Args:
        message: as in `compressed_to_rgb`.
        max_pixels: as in `compressed_to_rgb`.

    Returns:
        uint8 or, from 16 bit, uint16 [height, width], contiguous.

    Raises:
        ImageError: it has another format or colours, or the data is truncated, damaged or too large.
    """
    _original_encoding(message.format)
    return _decoded(message, max_pixels, _ids)


def with_end(data: bytes) -> bytes:
    """Append the end marker to a JPEG that lacks it, without which decoders refuse one whose data is complete."""
    return data + _END_OF_IMAGE if data.startswith(_JPEG) and not data.endswith(_END_OF_IMAGE) else data


def refuse_damage(data: bytes, picture: Pillow.Image) -> None:
    """Raise ImageError or an error of the decoder if the file `data`, opened as `picture`, is not whole.

    Decoders stop at the last row, and do not miss the end of a PNG, or make up what is missing in a JPEG. The data of
    a JPEG is one that `with_end` has returned.
    """
    if isinstance(picture, PngImageFile):
        PngImageFile(io.BytesIO(data)).verify()
    elif isinstance(picture, JpegImageFile):
        _jpeg_pixels(data, picture)


def picture_ids(picture: Pillow.Image) -> np.ndarray:
    """Return the class ids in a picture of one channel as they are in the file, neither scaled nor looked up.

    Returns:
        integers [height, width]; uint8 from up to 8 bit.

    Raises:
        ImageError: the picture has colours.
    """
    if picture.mode not in ("1", "L", "P") and not picture.mode.startswith("I"):
        raise ImageError(
            f"the label image has the pixels {picture.mode}: expected one grey value or index a pixel"
        )
    largest, inverted = _stored_values(picture)
    ids = np.array(picture)
    if picture.mode == "1":
        return (ids ^ inverted).astype(np.uint8)
    if picture.mode == "P":
        return ids
    white = 255 if picture.mode == "L" else _SIXTEEN_BITS
    if inverted:
        ids = (white - ids).astype(ids.dtype)
    # Pillow spreads the values of fewer bits over 0 to 255, or to 65535.
    return ids if largest in (None, white) else np.rint(ids * (largest / white)).astype(ids.dtype)


def _stored_values(picture: Pillow.Image) -> tuple[int | None, bool]:
    """Return the largest value that the file can hold, if Pillow would scale it, and whether Pillow inverts values."""
    tiles = getattr(picture, "tile", [])
    if not tiles:
        return None, False
    codec, arguments = tiles[0].codec_name, tiles[0].args
    if codec in ("ppm", "ppm_plain"):
        return int(arguments[-1] if isinstance(arguments, tuple) else arguments), False
    raw = arguments if isinstance(arguments, str) else str(arguments[0] if arguments else "")
    kind, _, packing = raw.partition(";")
    bits = packing[:1] if kind == "L" else ""
    return (2 ** int(bits) - 1 if bits in ("2", "4") else None), kind in ("1", "L") and packing.endswith("I")


def _decoded(
    message: CompressedMessage, max_pixels: int | None, pixels: Callable[[bytes, Pillow.Image], np.ndarray]
) -> np.ndarray:
    data = with_end(bytes(message.data))
    try:
        picture = _open(data, message.format)
        width, height = picture.size
        check_size(width, height, max_pixels)
        return pixels(data, picture)
    except (ImageError, MemoryError):
        raise
    except Exception as error:  # damaged files make the decoders raise nearly anything
        raise ImageError(
            f"the compressed image ({message.format!r}, {len(message.data)} bytes) is truncated or damaged: "
            f"{reason(error)}"
        ) from error


def _original_encoding(format: str) -> str:
    """Return the encoding before compression; empty if `format` does not state it.

    Raises:
        ImageError: `format` names depth.
    """
    if "compressedDepth" in format:
        raise ImageError(
            f"the format {format!r} holds depth, not a picture: give the colour image's compressed topic"
        )
    return format.partition(";")[0].strip()


def _open(data: bytes, format: str) -> Pillow.Image:
    # Not Image.open, which would try every format that Pillow knows on data from outside.
    if data.startswith(_JPEG):
        return JpegImageFile(io.BytesIO(data))
    if data.startswith(_PNG):
        return PngImageFile(io.BytesIO(data))
    what = f"{len(data)} bytes that are neither JPEG nor PNG" if data else "empty"
    raise ImageError(
        f"the compressed image ({format!r}) is {what}: expected a whole file of either kind, as image_transport's "
        "compressed topics have it"
    )


def _pixels(data: bytes, picture: Pillow.Image) -> np.ndarray:
    """Decode to uint8 [H, W] or [H, W, 3]."""
    if isinstance(picture, JpegImageFile) and picture.mode in _JPEG_COLOURS:
        return _jpeg_pixels(data, picture)
    refuse_damage(data, picture)
    if picture.mode.startswith("I"):
        return (np.asarray(picture) >> 8).astype(np.uint8)
    if picture.mode in ("1", "LA"):
        picture = picture.convert("L")
    elif picture.mode not in ("L", "RGB"):
        picture = picture.convert("RGB")
    return np.array(picture)


def _ids(data: bytes, picture: Pillow.Image) -> np.ndarray:
    """Decode to uint8 or uint16 [H, W] without any conversion of values."""
    if isinstance(picture, JpegImageFile):
        raise ImageError("the label image is a JPEG, which alters ids: expected a PNG")
    refuse_damage(data, picture)
    ids = picture_ids(picture)
    return ids if ids.dtype == np.uint8 else ids.astype(np.uint16)


def _jpeg_pixels(data: bytes, picture: Pillow.Image) -> np.ndarray:
    """Decode a JPEG, opened as `picture`, to uint8 [H, W] or [H, W, channels]; refuse it if it is not whole.

    Raises:
        ValueError: libjpeg cannot decode it, or notices damage.
    """
    try:
        pixels = simplejpeg.decode_jpeg(data, _JPEG_COLOURS.get(picture.mode, "CMYK"))
    except ValueError as error:
        if not _is_harmless(str(error), data):
            raise
        pixels = np.array(picture)  # by the same library, which warns nobody there
    if bytes(_LONG_ZEROS) in data and _Scan.of(data).has_lost_zeros():
        raise ValueError("a part of the data was replaced by zeros")
    return pixels[:, :, 0] if picture.mode == "L" and pixels.ndim == 3 else pixels


def _is_harmless(warning: str, data: bytes) -> bool:
    """Whether an image is whole of which libjpeg says `warning`, which is one of its warnings."""
    if warning.startswith(_HARMLESS):
        return True
    found = _EXTRANEOUS.search(warning)
    if found is None:
        return False
    scan = _Scan.of(data)
    most = _MOST_EXTRANEOUS + _MOST_BEFORE_A_RESTART * len(scan.restart_markers)
    if int(found[1]) <= most and not scan.is_progressive:
        return _has_all_restart_markers(data, scan)
    # Zeros that fill a buffer up are harmless if all of the image lies before them; its data may end in two of its own.
    filled = data.removesuffix(_END_OF_IMAGE)
    cut = filled.rstrip(b"\0")
    return len(cut) < len(filled) and any(_is_whole(cut + bytes(own) + _END_OF_IMAGE) for own in range(3))


def _is_whole(data: bytes) -> bool:
    try:
        simplejpeg.decode_jpeg(data, "GRAY")
    except ValueError:
        return False
    return True


def _has_all_restart_markers(data: bytes, scan: _Scan) -> bool:
    """Whether the restart markers of a JPEG are all there and in order, as a second warning may be left unsaid."""
    height, width, _, sampling = simplejpeg.decode_jpeg_header(data, strict=False)
    if not scan.restart_interval or sampling not in _MCU:
        return True
    columns, rows = (-(-size // unit) for size, unit in zip((width, height), _MCU[sampling], strict=True))
    expected = -(-columns * rows // scan.restart_interval) - 1
    return scan.restart_markers == [bytes([_RST0 + number % 8]) for number in range(expected)]


@dataclass(frozen=True)
class _Scan:
    """What the markers of a JPEG (ITU-T T.81, B.1.1.3) say of its first scan.

    Attributes:
        entropy_coded: the data after the scan's header, up to the end of the image.
        is_progressive: there are more scans, or other codes than the baseline's.
        restart_interval: MCUs between two restart markers; 0: there are none.
        zeros_end_blocks: whether zeros can stand for empty blocks in every Huffman table: plain areas are zeros then.
    """

    entropy_coded: bytes
    is_progressive: bool
    restart_interval: int
    zeros_end_blocks: bool

    @classmethod
    def of(cls, data: bytes) -> _Scan:
        """Read the headers of a JPEG that can be decoded."""
        place, interval, progressive, first_codes = 2, 0, False, set()
        while 0 <= (place := data.find(b"\xff", place)) < len(data) - 4:
            marker = data[place + 1]
            if marker in (0x00, 0xFF):
                place += 1
                continue
            size = int.from_bytes(data[place + 2 : place + 4], "big")
            content = data[place + 4 : place + 2 + size]
            place += 2 + size
            if marker == _SOS:
                break
            if marker == _DRI:
                interval = int.from_bytes(content, "big")
            progressive |= marker in _OTHER_SOFS
            while marker == _DHT and len(content) > _COUNTS:
                # Of the coefficients; the shortest code, which is all zeros, is that of the first value.
                if content[0] >> 4:
                    first_codes.add(content[_COUNTS])
                content = content[_COUNTS + sum(content[1:_COUNTS]) :]
        end = data.find(_END_OF_IMAGE, place)
        return cls(data[place:end], progressive, interval, first_codes == {_END_OF_BLOCK})

    @cached_property
    def restart_markers(self) -> list[bytes]:
        """The second bytes of the restart markers, in order."""
        return re.findall(rb"\xff([\xd0-\xd7])", self.entropy_coded)

    def has_lost_zeros(self) -> bool:
        """Whether there are zeros that no encoder writes, but for those at the end that fill a buffer up."""
        if self.is_progressive or self.zeros_end_blocks:
            return False
        return bytes(_LONG_ZEROS) in self.entropy_coded.rstrip(b"\0")
