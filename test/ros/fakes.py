"""Stand-ins for tests in which the model itself is irrelevant."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from activesam_ros.errors import SettingsError, VocabularyError
from activesam_ros.instances import Instance
from activesam_ros.results import ActiveClass, PreviewResult, SegmentationResult
from activesam_ros.settings import SegmenterSettings

if TYPE_CHECKING:
    import threading

    from activesam_ros.vocabulary import Vocabulary

# Long enough for a loaded machine; reached only by a failure.
PATIENCE = 30


def eventually(condition, meanwhile=lambda: time.sleep(0.005)):
    """Ask again and again until `condition` holds; fails after a long while."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        meanwhile()


def no_thread(_):
    """Stands in for `Thread.start` where the limit of processes is reached."""
    raise RuntimeError("can't start new thread")


def fake_instance(encoded):
    """The whole of an image is one thing of the first class."""
    height, width = encoded.rgb.shape[:2]
    logits = np.full((2, 2), 5, np.float32)
    name = encoded.vocabulary.names[0]
    return Instance(0, name, 0.75, (0.0, 0.0, width, height), 0, 1, (height, width), (2, 2), (0, 0), logits)


@dataclass(frozen=True)
class FakeReport:
    hits: int
    misses: int
    seconds: float


@dataclass(frozen=True)
class FakePrompts:
    vocabulary: Vocabulary
    context: tuple[int, int]
    report: FakeReport


@dataclass(frozen=True, eq=False)
class FakeEncoded:
    rgb: np.ndarray
    vocabulary: Vocabulary


@dataclass
class FakeSegmenter:
    """Has the segmenter's interface, labels the left half of every image with class 0, remembers what it was asked.

    Attributes:
        made: the settings of the segmenters that were made of it.
        encoded, checked, asked: the vocabularies that were encoded, checked, and about to be encoded.
        done: what was done with images: such as "encode 3 4" for two images whose first values are 3 and 4.
        gate: words are encoded once it is set.
        decoding: images are decoded once it is set.
        memories: what came with each batch of images to encode.
        troubles: what is raised for an image, by what is done and its first value, such as ("decode", 3).
    """

    settings: SegmenterSettings = field(default_factory=SegmenterSettings)
    made: list[SegmenterSettings] = field(default_factory=list)
    encoded: list[tuple[str, ...]] = field(default_factory=list)
    checked: list[tuple[str, ...]] = field(default_factory=list)
    asked: list[tuple[str, ...]] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    prompts: FakePrompts | None = None
    gate: threading.Event | None = None
    decoding: threading.Event | None = None
    troubles: dict[tuple[str, int], Exception] = field(default_factory=dict)
    memories: list = field(default_factory=list)
    full_resolution: int = 192
    preview_resolution: int = 128
    preview_description: str = "128 px"
    text_encoder_loaded: bool = False
    device: str = "cpu"
    dtype: str = "float32"
    compiled: bool = False
    batching_pays: bool = True

    @property
    def bucket_size(self):
        return self.settings.bucket_size

    def warm_up(self, prompts):
        self.done.append(f"warm up for {', '.join(prompts.vocabulary.names)}")

    def device_memory(self):
        return None

    def check_settings(self, settings):
        if settings.preview_resolution % 8:
            raise SettingsError(
                f"preview_resolution is {settings.preview_resolution}; expected a multiple of 8"
            )

    def with_settings(self, settings, follow=True):
        self.check_settings(settings)
        self.made.append(settings)
        other = replace(self, settings=settings, prompts=None)
        if follow and self.prompts is not None:
            other.prompts = (
                self.prompts if other.fits(self.prompts) else other.encode(self.prompts.vocabulary)
            )
        return other

    def fits(self, prompts):
        return prompts.context == (self.settings.neighbor_tokens, self.settings.hypernym_tokens)

    def check(self, vocabulary):
        self.checked.append(vocabulary.names)
        for prompt in vocabulary.prompts:
            if len(prompt) > 100:
                raise VocabularyError(f"the prompt {prompt!r} is too long")

    def encode(self, vocabulary):
        self.asked.append(vocabulary.names)
        if self.gate is not None:
            assert self.gate.wait(PATIENCE)
        self.encoded.append(vocabulary.names)
        if "unspeakable" in vocabulary.names:
            raise VocabularyError("'unspeakable' has no tokens")
        context = (self.settings.neighbor_tokens, self.settings.hypernym_tokens)
        return FakePrompts(vocabulary, context, FakeReport(0, len(vocabulary.prompts), 0.25))

    def use(self, prompts):
        assert self.fits(prompts)
        self.prompts = prompts

    def encode_images(self, images, memories=None):
        self._do("encode", images)
        self.memories.append(memories)
        return [FakeEncoded(rgb, self.prompts.vocabulary) for rgb in images]

    def decode(self, encoded, instances=True):
        if self.decoding is not None:
            assert self.decoding.wait(PATIENCE)
        self._do("decode", [encoded.rgb])
        labels = np.full(encoded.rgb.shape[:2], 255, np.uint8)
        labels[:, : labels.shape[1] // 2] = 0
        return SegmentationResult(
            labels=labels,
            unlabeled_id=255,
            confidence=np.full(labels.shape, 0.8, np.float32),
            active=(self._active(encoded.vocabulary, int((labels == 0).sum())),),
            preview_presence=None,
            active_prompts=(0,),
            timings={"decode": 0.01, "total": 0.02},
            vocabulary=encoded.vocabulary,
            instances=(fake_instance(encoded),) if instances else None,
        )

    def segment(self, rgb, memory=None, instances=True):
        return self.decode(self.encode_images([rgb], [memory])[0], instances)

    def preview(self, images):
        self._do("preview", images)
        vocabulary = self.prompts.vocabulary
        presence = np.full(len(vocabulary.prompts), 0.5, np.float32)
        active = (self._active(vocabulary, None),)
        return [PreviewResult(presence, (0,), active, {"preview": 0.01}, vocabulary) for _ in images]

    def _active(self, vocabulary, pixels):
        return ActiveClass(0, vocabulary.names[0], 0.9, None, pixels)

    def _do(self, what, images):
        values = [int(rgb[0, 0, 0]) for rgb in images]
        self.done.append(" ".join(map(str, [what, *values])))
        for value in values:
            if (what, value) in self.troubles:
                raise self.troubles[what, value]


def request(*names, **parameters):
    """The configuration of a node that is started with these classes and parameters."""
    from activesam_ros.configuration.configuration import first_configuration

    return first_configuration({"vocabulary": names, **parameters})


def in_force(segmenter, configuration):
    """A vocabulary loaded with `segmenter` and in force."""
    from activesam_ros.ros.configuration_loader import load_configuration

    loaded = load_configuration(configuration, segmenter, None)
    loaded.put_in_force()
    return loaded
