"""The pictures of the studio: image files of a folder, images of a recording, or a rendered street."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Protocol

from activesam_ros.datasets.samples import decode_sample, default_image_topic, require_images
from activesam_ros.errors import DatasetError, ImageError
from activesam_ros.images.load import to_rgb
from activesam_ros.labelling.sources import IMAGE_SUFFIXES, image_files
from activesam_ros.toytown.world import World

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from activesam_ros.datasets.recordings import Recording

DEMO_SEED = 10_000_007
"""The street of `make demo`, which training never saw."""

DEMO_FRAMES = 40
DEMO_STEP = 0.5
"""Seconds between two pictures of the rendered drive."""


class Frames(Protocol):
    """Pictures in order; read by one thread."""

    title: str

    def __len__(self) -> int:
        """Return how many there are, at least one."""
        ...

    def name(self, index: int) -> str:
        """Return what a picture is called."""
        ...

    def read(self, index: int) -> np.ndarray:
        """Read a picture, uint8 [H, W, 3]; raise ImageError if it cannot be read."""
        ...


class FolderFrames:
    """The image files in a folder and below it, in natural order; what is a link to elsewhere is left out."""

    def __init__(self, folder: Path, max_pixels: int) -> None:
        """List the files of a folder.

        Raises:
            DatasetError: there are none.
        """
        root = folder.resolve()
        self.title = root.name
        self._root = root
        self._max_pixels = max_pixels
        self._files = [one for one in image_files(root) if one.resolve().is_relative_to(root)]
        if not self._files:
            raise DatasetError(
                f"{folder} has no images; expected files that end in {', '.join(IMAGE_SUFFIXES)}"
            )

    def __len__(self) -> int:
        return len(self._files)

    def name(self, index: int) -> str:
        """Return the path of the file within the folder."""
        return str(self._files[index].relative_to(self._root))

    def read(self, index: int) -> np.ndarray:
        """Read the file."""
        return to_rgb(self._files[index], self._max_pixels)


class BagFrames:
    """The images of one topic of a recording, in recorded order."""

    def __init__(self, recording: Recording, topic: str | None, max_pixels: int) -> None:
        """List the images of an open recording.

        Args:
            recording: open for reading.
            topic: of the images; None: the only one with images.
            max_pixels: images with more are refused.

        Raises:
            EvaluationError: there is no such topic, or several and none is named.
            DatasetError: the topic has no images.
        """
        self._topic = topic or default_image_topic(recording)
        require_images(recording, self._topic)
        self.title = f"{recording.path.name} {self._topic}"
        self._recording = recording
        self._max_pixels = max_pixels
        self._times = [time for _, time, _ in recording.stamps([self._topic])]
        if not self._times:
            raise DatasetError(f"{recording.path} has no images on {self._topic}; name another topic")

    def __len__(self) -> int:
        return len(self._times)

    def name(self, index: int) -> str:
        """Return the seconds since the recording's beginning."""
        return f"{(self._times[index] - (self._recording.start or 0)) / 1e9:.2f} s"

    def read(self, index: int) -> np.ndarray:
        """Read the message that was recorded then."""
        time = self._times[index]
        begin = (time - (self._recording.start or 0)) / 1e9
        twins = index - self._times.index(time)
        messages = self._recording.messages([self._topic], start_s=begin)
        message = next(islice(messages, twins, None), None)
        if message is None or message.message is None:
            why = message.error if message else "it is not there any more"
            raise ImageError(f"the image at {self.name(index)} cannot be read: {why}")
        sample = decode_sample(index, time, message.message, max_pixels=self._max_pixels)
        if sample.rgb is None:
            raise ImageError(f"the image at {self.name(index)} cannot be read: {sample.error}")
        return sample.rgb


class DemoFrames:
    """A drive through Toy Town, rendered when it is looked at."""

    title = "Toy Town"

    def __init__(self, seed: int = DEMO_SEED, width: int = 640, height: int = 480) -> None:
        self._world = World(seed, width, height)

    def __len__(self) -> int:
        return DEMO_FRAMES

    def name(self, index: int) -> str:
        """Return the seconds since the beginning of the drive."""
        return f"{index * DEMO_STEP:.1f} s"

    def read(self, index: int) -> np.ndarray:
        """Render the street at that time."""
        return self._world.render(index * DEMO_STEP).rgb


class LiveFrames:
    """The one picture of a node's camera."""

    def __init__(self, title: str) -> None:
        self.title = title

    def __len__(self) -> int:
        return 1

    def name(self, index: int) -> str:
        """Return that it is live."""
        return "live"

    def read(self, index: int) -> np.ndarray:
        """Raise ImageError: pictures come by themselves."""
        raise ImageError("a live picture is not read; it comes from the node")
