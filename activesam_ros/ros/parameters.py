"""The node's parameters: each is stated once here; descriptors, validation and settings follow from that."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from enum import Enum
from typing import TYPE_CHECKING, TypeVar

from activesam_ros.errors import SettingsError, VocabularyError
from activesam_ros.settings import BOUNDS, CHOICES, PROFILES, SegmenterSettings
from activesam_ros.vocabulary import MAX_CLASSES, MAX_PROMPTS, Vocabulary

if TYPE_CHECKING:
    from collections.abc import Mapping

Value = bool | int | float | str | tuple[str, ...]

G = TypeVar("G")

_CAMERA_NAME = re.compile(r"[A-Za-z_](?!.*__)[A-Za-z0-9_]*")


class Takes(Enum):
    """When a new value of a parameter takes effect."""

    PREPARED = "between two frames, once it is prepared"
    AT_ONCE = "at once"
    INACTIVE = "at the next activation, so that it is refused while the node is active"
    NEVER = "never: it is given at the start"


@dataclass(frozen=True)
class ParameterSpec:
    """One parameter: its type is that of its default; the segmenter's numbers take their range from its settings.

    Attributes:
        name, default, description: what users see.
        takes: when a new value takes effect.
        choices: the texts that are allowed; empty: any.
        limits: lowest and highest value of a number of the node's own, inclusive.
    """

    name: str
    default: Value
    description: str
    takes: Takes = Takes.PREPARED
    choices: tuple[str, ...] = ()
    limits: tuple[float, float] | None = None

    @property
    def range(self) -> tuple[float, float] | None:
        """Lowest and highest value in the parameter's type, inclusive; None for what is not a number."""
        if self.name not in BOUNDS:
            return self.limits
        bounds, number = BOUNDS[self.name], type(self.default)
        return number(0 if self.name == "full_resolution" else bounds.low), number(bounds.high)


# A list that suits a camera on a street; every robot has its own.
_DEFAULT_VOCABULARY = (
    "road",
    "sidewalk",
    "building",
    "wall",
    "fence",
    "pole",
    "traffic light",
    "traffic sign",
    "vegetation",
    "terrain",
    "sky",
    "person",
    "rider",
    "car",
    "truck",
    "bus",
    "train",
    "motorcycle",
    "bicycle",
)

_PAPER = SegmenterSettings()

PARAMETERS: tuple[ParameterSpec, ...] = (
    ParameterSpec(
        "autostart",
        True,
        "Whether the node configures and activates itself; otherwise a lifecycle manager does.",
        Takes.NEVER,
    ),
    ParameterSpec(
        "model",
        "facebook/sam3",
        "Model folder or hub id in the transformers format, or 'toytown' for the small demo model.",
        Takes.INACTIVE,
    ),
    ParameterSpec("device", "auto", "Device the model runs on: auto, cpu, cuda or cuda:N.", Takes.INACTIVE),
    ParameterSpec(
        "dtype", "auto", "Number format of the weights: auto, float32, bfloat16, float16.", Takes.INACTIVE
    ),
    ParameterSpec(
        "compile",
        False,
        "Whether large parts of the model are compiled with torch.compile: a first start of minutes for frames that "
        "may be faster on a GPU; measure it.",
        Takes.INACTIVE,
    ),
    ParameterSpec(
        "text_encoder",
        "release",
        "What happens to the text encoder once it has encoded words that the prompt cache lacks: release "
        "frees its memory, offload moves it to host memory, keep leaves it on the device.",
        Takes.INACTIVE,
        choices=("release", "offload", "keep"),
    ),
    ParameterSpec(
        "prompt_cache",
        "",
        "Folder that keeps the embeddings of known words; empty: the program's own in the user's cache "
        "folder; off: words are remembered only while the node runs.",
        Takes.INACTIVE,
    ),
    ParameterSpec(
        "cameras",
        (),
        "Names of the cameras: NAME/image is subscribed, ~/NAME/labels published. Empty: one camera, "
        "image and ~/labels.",
        Takes.NEVER,
    ),
    ParameterSpec(
        "image_transport",
        "raw",
        "raw (sensor_msgs/Image), or compressed (sensor_msgs/CompressedImage on the image topic + /compressed).",
        Takes.NEVER,
        choices=("raw", "compressed"),
    ),
    ParameterSpec(
        "queue",
        "newest",
        "newest: the newest frame of each camera is labelled, older ones that wait are dropped; all: every "
        "frame is, in order, for replay, and the images are subscribed reliably.",
        Takes.NEVER,
        choices=("newest", "all"),
    ),
    ParameterSpec(
        "queue_size",
        20,
        "With queue all: so many frames of each camera may wait; what comes beyond is lost, an error.",
        Takes.NEVER,
        limits=(1, 10_000),
    ),
    ParameterSpec(
        "max_age",
        0.0,
        "Frames that are older, in seconds by their stamp, when their turn comes are dropped; 0: none is.",
        Takes.AT_ONCE,
        limits=(0.0, 3600.0),
    ),
    ParameterSpec(
        "max_rate",
        0.0,
        "At most so many frames a second of each camera are taken, the others dropped on arrival; 0: all are.",
        Takes.AT_ONCE,
        limits=(0.0, 1000.0),
    ),
    ParameterSpec(
        "image_timeout",
        5.0,
        "After so many seconds without an image, while somebody wants labels, the node warns and says why.",
        Takes.AT_ONCE,
        limits=(0.1, 3600.0),
    ),
    ParameterSpec(
        "worker_timeout",
        30.0,
        "A frame that is in work for longer, in seconds, counts as hanging: an error in the diagnostics, and "
        "the heartbeat stops.",
        Takes.AT_ONCE,
        limits=(0.1, 3600.0),
    ),
    ParameterSpec(
        "vocabulary",
        _DEFAULT_VOCABULARY,
        "The classes to look for; commas separate aliases of one class, the first names it. At the start ids "
        "are 0, 1, 2 ... in this order; later a name that stays keeps its id and a new one gets the next. "
        f"At most {MAX_CLASSES} classes and {MAX_PROMPTS} prompts. Setting it empties vocabulary_file.",
    ),
    ParameterSpec(
        "vocabulary_file",
        "",
        "A preset's name, or the path of a vocabulary in YAML or text; empty: none. Setting it reads the "
        "file and sets vocabulary (shown there without prompts that differ from the name), "
        "background_class and, if the file names one, background_threshold, except what the same call "
        "gives. Setting it again reads the file again.",
    ),
    ParameterSpec(
        "background_class",
        "",
        "Name of the class that pixels without a clear winner become; empty: they stay unlabelled.",
    ),
    ParameterSpec(
        "profile",
        "paper",
        "paper: every frame for itself, as published; realtime: a stream, of which the last frame tells most of the "
        f"next. Setting it sets {', '.join(PROFILES['paper'])}, except what the same call gives (at the start a "
        "value that equals its default counts as not given). Empty: these are not those of a profile.",
        choices=(*PROFILES, ""),
    ),
    ParameterSpec(
        "full_resolution", 0, "Side in pixels of the square image of the decoding pass; 0: the model's own."
    ),
    ParameterSpec(
        "preview_resolution",
        _PAPER.preview_resolution,
        "Side in pixels of the square image of the presence preview.",
    ),
    ParameterSpec("keep_fraction", _PAPER.keep_fraction, "Share of the prompts that the preview keeps."),
    ParameterSpec(
        "max_active",
        _PAPER.max_active,
        "At most this many prompts are decoded; a vocabulary with no more skips the preview.",
    ),
    ParameterSpec(
        "bucket_size",
        _PAPER.bucket_size,
        "Prompts that are decoded at once: a matter of memory and speed only.",
    ),
    ParameterSpec(
        "confidence_threshold",
        _PAPER.confidence_threshold,
        "Instance masks count if their score is above this.",
    ),
    ParameterSpec(
        "background_threshold",
        0.4,
        "Pixels whose margin-aware score is below this (to the power margin_exponent) become "
        "background; 0 switches that off.",
    ),
    ParameterSpec("margin_exponent", _PAPER.margin_exponent, "Exponent of background_threshold."),
    ParameterSpec(
        "neighbor_tokens",
        _PAPER.neighbor_tokens,
        "Context tokens from the most similar other words of the vocabulary.",
    ),
    ParameterSpec("hypernym_tokens", _PAPER.hypernym_tokens, "Context tokens from the hypernyms of a word."),
    ParameterSpec(
        "presence_floor",
        _PAPER.presence_floor,
        "Prompts whose presence, when last asked, is below this are not decoded, but for the most present one.",
    ),
    ParameterSpec(
        "preview_period",
        _PAPER.preview_period,
        "Every prompt is asked or decoded at least once in so many frames of a camera; 1: the preview asks all in "
        "every frame.",
    ),
    ParameterSpec(
        "preview_way",
        _PAPER.preview_way,
        "How, with a preview_period above 1: share asks a few prompts in every frame, at full resolution; sweep asks "
        "all in one preview now and then.",
        choices=CHOICES["preview_way"],
    ),
    ParameterSpec(
        "preview_likely",
        _PAPER.preview_likely,
        "With preview_way share, so many of the prompts that are likeliest to come up are asked beside in every frame.",
    ),
    ParameterSpec(
        "leave_after",
        _PAPER.leave_after,
        "With a preview_period above 1, a prompt is decoded no more once it was not wanted in so many frames in a row.",
    ),
    ParameterSpec(
        "change_threshold",
        _PAPER.change_threshold,
        "With a preview_period above 1, all prompts are asked anew if an image differs from the one before by more "
        "than this; 1: never.",
    ),
    ParameterSpec("max_pixels", _PAPER.max_pixels, "Images with more pixels are refused."),
)

DEFAULTS: dict[str, Value] = {spec.name: spec.default for spec in PARAMETERS}

_SPECS = {spec.name: spec for spec in PARAMETERS}

CHANGEABLE: tuple[str, ...] = tuple(spec.name for spec in PARAMETERS if spec.takes is Takes.PREPARED)
"""Names of the parameters that words and the segmenter's settings are made of."""


@dataclass(frozen=True)
class Setup:
    """What the node is built with; the fields are parameters of these names."""

    autostart: bool
    cameras: tuple[str, ...]
    image_transport: str
    queue: str
    queue_size: int


@dataclass(frozen=True)
class ModelChoice:
    """What a model is loaded with; the fields are parameters of these names."""

    model: str
    device: str
    dtype: str
    compile: bool
    text_encoder: str
    prompt_cache: str


@dataclass(frozen=True)
class Policy:
    """Which frames are taken, and when to complain; the fields are parameters of these names, in seconds and Hz."""

    max_age: float
    max_rate: float
    image_timeout: float
    worker_timeout: float


@dataclass(frozen=True)
class Wanted:
    """A set of changeable parameters that fits together, and what it means to the segmenter.

    Attributes:
        values: what the changeable parameters show, by name, in the order of `CHANGEABLE`.
        vocabulary: the classes with their ids and colours; more than `values` can show.
        settings: of the segmenter.
        revision: counts the vocabularies that were accepted, from 1; a change of other settings keeps it.
    """

    values: tuple[tuple[str, Value], ...]
    vocabulary: Vocabulary
    settings: SegmenterSettings
    revision: int


def settings_of(values: Mapping[str, Value]) -> SegmenterSettings:
    """The segmenter's settings in the values of the changeable parameters.

    Raises:
        SettingsError: a number is out of its range.
    """
    given = {field.name: values[field.name] for field in fields(SegmenterSettings)}
    given["full_resolution"] = given["full_resolution"] or None
    return SegmenterSettings(**given)


def profile_of(values: Mapping[str, Value]) -> str:
    """The profile whose numbers the values of the changeable parameters are; empty: of none."""
    for profile, governed in PROFILES.items():
        if all(values[name] == value for name, value in governed.items()):
            return profile
    return ""


def group_of(kind: type[G], values: Mapping[str, Value]) -> G:
    """`Setup`, `ModelChoice` or `Policy` from the values of all parameters."""
    return kind(**{field.name: values[field.name] for field in fields(kind)})


def typed(name: str, value: object) -> Value:
    """The value of a parameter as rclpy gives it, in the type of its default.

    Raises:
        ActiveSamError: it has another type or is none of the choices (SettingsError, VocabularyError).
    """
    spec = _SPECS[name]
    if name == "cameras":
        return _camera_names(value)
    if isinstance(spec.default, tuple):
        return _string_list(name, value)
    # bool is an int in Python but not in ROS.
    if type(value) is not type(spec.default):
        raise SettingsError(f"{name} is {value!r}; expected a value like {spec.default!r}")
    if spec.choices and value not in spec.choices:
        raise SettingsError(
            f"{name} is {value!r}; expected one of {', '.join(choice or 'an empty text' for choice in spec.choices)}"
        )
    if spec.limits and not spec.limits[0] <= value <= spec.limits[1]:
        raise SettingsError(f"{name} is {value!r}; expected {spec.limits[0]:g} to {spec.limits[1]:g}")
    return value


def _camera_names(value: object) -> tuple[str, ...]:
    # An empty list on the command line arrives as no value at all, in a service call as bytes.
    names = () if value is None else value
    if isinstance(names, (str, bool, int, float)) or not all(isinstance(name, str) for name in names):
        raise SettingsError(f"cameras is {value!r}; expected a list of names such as [front, rear]")
    for name in names:
        if not _CAMERA_NAME.fullmatch(name):
            raise SettingsError(
                f"cameras holds {name!r}; expected letters, digits and underscores, not beginning with a digit, "
                "since the name becomes part of topics"
            )
    doubled = [name for name in names if list(names).count(name) > 1]
    if doubled:
        raise SettingsError(f"cameras holds {doubled[0]!r} twice; every camera needs a name of its own")
    return tuple(names)


def _string_list(name: str, value: object) -> tuple[str, ...]:
    # An empty list on the command line arrives as no value at all, in a service call as bytes.
    if value is None:
        return ()
    if isinstance(value, (str, bool, int, float)):
        raise VocabularyError(
            f'{name} is {value!r}; expected a list of words such as [road, "car, automobile", sky]'
        )
    # An array of numbers or booleans means that YAML read the words so.
    entries = tuple(value)
    strange = [entry for entry in entries if not isinstance(entry, str)]
    if strange:
        raise VocabularyError(f"{name} holds {strange[0]!r}, which is not text; put the word into quotes")
    return entries
