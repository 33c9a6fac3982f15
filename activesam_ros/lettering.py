"""Text in pictures, in DejaVu Sans; letters that it lacks come from the fonts of the system."""

from __future__ import annotations

import shutil
import subprocess
from functools import lru_cache
from itertools import groupby
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

# Height of capital letters as a share of the size of DejaVu Sans.
_CAPITALS = 0.729
_SEARCH_SECONDS = 5.0
_UNPRINTABLE = "\N{REPLACEMENT CHARACTER}"


def text_width(text: str, height: int) -> int:
    """Return the width in pixels of a text whose capital letters are ``height`` pixels high."""
    return round(sum(font.getlength(part) for part, font in _runs(text, height)))


def fitting(text: str, height: int, width: int) -> str:
    """Return the text, cut with "…" where it is wider than ``width`` pixels."""
    if text_width(text, height) <= width:
        return text
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if text_width(text[:middle] + "…", height) <= width else (low, middle - 1)
    return text[:low] + "…"


def draw_text(
    picture: np.ndarray,
    text: str,
    left: int,
    baseline: int,
    height: int,
    ink: tuple[int, int, int],
    halo: tuple[int, int, int] | None = None,
) -> None:
    """Draw one line of text; what lies beyond the picture is cut off.

    Args:
        picture: uint8 [H, W, 3], changed.
        text: letters without a font and control characters become a sign that says so.
        left: of the text, in pixels.
        baseline: row on which the letters stand.
        height: of capital letters, in pixels.
        ink: red, green and blue.
        halo: colour of an edge around the letters, for busy pictures; None: none.
    """
    pad, edge = height, max(1, height // 5) if halo else 0
    size = (text_width(text, height) + 2 * pad, 3 * height)
    for colour, stroke in ((halo, edge), (ink, 0)):
        if colour is None:
            continue
        mask = Image.new("L", size)
        pen, at = ImageDraw.Draw(mask), float(pad)
        for part, font in _runs(text, height):
            pen.text((at, 2 * height), part, 255, font, anchor="ls", stroke_width=stroke)
            at += font.getlength(part)
        _blend(picture, np.asarray(mask), left - pad, baseline - 2 * height, colour)


def _blend(picture: np.ndarray, mask: np.ndarray, left: int, top: int, colour: tuple[int, int, int]) -> None:
    """Blend a colour into a picture where a mask uint8 [h, w] says so, its corner at ``left``, ``top``."""
    rows, columns = (
        slice(max(0, start), max(0, start, min(side, start + length)))
        for start, side, length in zip((top, left), picture.shape[:2], mask.shape, strict=True)
    )
    seen = mask[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    below = picture[rows, columns]
    if not below.size:
        return
    share = seen[..., None].astype(np.float32) / 255
    picture[rows, columns] = np.rint(below + share * (np.float32(colour) - below)).astype(np.uint8)


def _runs(text: str, height: int) -> list[tuple[str, ImageFont.FreeTypeFont]]:
    """Split a text into parts of one font each."""
    printable = "".join(one if one.isprintable() else _UNPRINTABLE for one in text)
    size = max(1, round(height / _CAPITALS))
    return [("".join(part), _font(file, size)) for file, part in groupby(printable, _file_with)]


@lru_cache(64)
def _font(file: Path, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(file), size)


@lru_cache(4096)
def _file_with(letter: str) -> Path:
    """Return a font file that has a letter: DejaVu Sans if it does or if no font of the system has it."""
    usual = _usual_file()
    return usual if _has(usual, letter) else _system_file(letter) or usual


@lru_cache(1)
def _usual_file() -> Path:
    import matplotlib as mpl

    return Path(mpl.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"


@lru_cache(32)
def _charmap(file: Path) -> frozenset[int]:
    from matplotlib.ft2font import FT2Font

    return frozenset(FT2Font(str(file)).get_charmap())


def _has(file: Path, letter: str) -> bool:
    return ord(letter) in _charmap(file)


def _system_file(letter: str) -> Path | None:
    """Ask fontconfig, where it is installed, for a scalable font with a letter."""
    if shutil.which("fc-match") is None:
        return None
    pattern = f":charset={ord(letter):x}:scalable=true"
    try:
        found = subprocess.run(
            ["fc-match", "-f", "%{file}", pattern], capture_output=True, timeout=_SEARCH_SECONDS, check=True
        )
        file = Path(found.stdout.decode())
        return file if file.is_file() and _has(file, letter) else None
    except (OSError, subprocess.SubprocessError, RuntimeError, UnicodeDecodeError):
        return None
