"""Tiny data sets on disk, and recordings read back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from activesam_ros.datasets.message_types import known_message_types

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

WIDTH, HEIGHT = 6, 4


class Tree:
    """Makes files below a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def picture(self, path: str, seed: int = 0, size: tuple[int, int] = (WIDTH, HEIGHT)) -> Path:
        """Saves a random RGB picture of a width and height."""
        pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
        Image.fromarray(pixels).save(self._made(path))
        return self.root / path

    def labels(self, path: str, *values: int, palette: bool = False) -> Path:
        """Saves a label picture that repeats the values."""
        image = Image.fromarray(self.filled(*values))
        if palette:
            image.putpalette(
                [channel for index in range(256) for channel in (index, 255 - index, index // 2)]
            )
        image.save(self._made(path))
        return self.root / path

    def text(self, path: str, content: str) -> Path:
        self._made(path).write_text(content)
        return self.root / path

    @staticmethod
    def filled(*values: int) -> np.ndarray:
        """uint8 or uint16 [HEIGHT, WIDTH] that repeats the values."""
        return np.resize(np.array(values, np.uint8 if max(values) < 256 else np.uint16), (HEIGHT, WIDTH))

    def _made(self, path: str) -> Path:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        return self.root / path


@dataclass(frozen=True)
class Recorded:
    """A recording: topic → stamps in ns and messages, and topic → durability that it was offered with."""

    messages: dict[str, list[tuple[int, object]]]
    durability: dict[str, str]

    def truths(self) -> list[np.ndarray]:
        kinds = {"mono8": np.uint8, "mono16": np.dtype("<u2")}
        return [
            message.data.view(kinds[message.encoding]).reshape(message.height, message.width)
            for _, message in self.messages["/ground_truth/labels"]
        ]

    def names(self) -> dict[int, str]:
        ((_, info),) = self.messages["/ground_truth/label_info"]
        return {entry.class_id: entry.class_name for entry in info.class_map}


@pytest.fixture
def tree(tmp_path) -> Tree:
    return Tree(tmp_path / "data")


@pytest.fixture
def recorded() -> Callable[[Path], Recorded]:
    """Reads a recording whole."""
    from rosbags.highlevel import AnyReader

    def read(path: Path) -> Recorded:
        messages: dict[str, list] = {}
        durability = {}
        with AnyReader([path], default_typestore=known_message_types()) as bag:
            for connection in bag.connections:
                messages[connection.topic] = []
                (qos,) = connection.ext.offered_qos_profiles
                durability[connection.topic] = qos.durability.name
            for connection, time, raw in bag.messages():
                messages[connection.topic].append((time, bag.deserialize(raw, connection.msgtype)))
        return Recorded(messages, durability)

    return read
