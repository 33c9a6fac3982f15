"""Vocabulary and settings from parameters, read in the same way by the node and by the evaluation."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

import yaml

from activesam_ros.errors import SettingsError, VocabularyError
from activesam_ros.settings import BOUNDS, CHOICES, DESCRIPTIONS, GOVERNED, PROFILES, SegmenterSettings
from activesam_ros.vocabulary import (
    MAX_CLASSES,
    MAX_PROMPTS,
    ClassSpec,
    Vocabulary,
    check_size,
    parse_class,
)
from activesam_ros.vocabulary.canonical import display_name, match_key
from activesam_ros.vocabulary.files import VocabularyFile, load_vocabulary_file

Value = bool | int | float | str | tuple[str, ...]
Load = Callable[[str], VocabularyFile]
G = TypeVar("G")


@dataclass(frozen=True)
class ParameterSpec:
    """Declaration of one parameter; its type is that of its default.

    Attributes:
        name, default, description: as users see them.
        choices: allowed texts; empty: any.
        limits: lowest and highest value of a number, inclusive.
        pattern: of allowed texts, and what it stands for in words; None: any.
        means: values that stand for others, such as what YAML makes of a word.
    """

    name: str
    default: Value
    description: str
    choices: tuple[str, ...] = ()
    limits: tuple[float, float] | None = None
    pattern: tuple[str, str] | None = None
    means: tuple[tuple[Value, Value], ...] = ()

    def read(self, value: Any) -> Any:
        """Return a value as rclpy or YAML gives it, in the type of the default.

        A whole number is also a number, as is the text that YAML makes of 1e-3.

        Raises:
            ActiveSamError: wrong type, none of the choices or out of range (SettingsError, VocabularyError).
        """
        if isinstance(self.default, tuple):
            return self._texts(value)
        meant = self._meant(value)
        if not self._is_typed(meant):
            raise SettingsError(f"{self.name} is {meant!r}; expected {self._expected()}")
        if (self.choices and meant not in self.choices) or (
            self.pattern and not re.fullmatch(self.pattern[0], meant)
        ):
            raise SettingsError(f"{self.name} is {meant!r}; expected {self.constraint()}")
        if self.limits:
            low, high = self.limits
            if not low <= meant <= high:
                raise SettingsError(f"{self.name} is {meant!r}; expected {low:.12g} to {high:.12g}")
        return meant

    def _is_typed(self, value: Any) -> bool:
        # bool is an int in Python but not in ROS.
        return type(value) is type(self.default)

    def constraint(self) -> str:
        """Say what is allowed beside type and limits; empty: anything."""
        if self.pattern:
            return self.pattern[1]
        return (
            f"one of {', '.join(choice or 'an empty text' for choice in self.choices)}"
            if self.choices
            else ""
        )

    def _meant(self, value: Any) -> Any:
        for written, meant in self.means:
            if type(value) is type(written) and value == written:
                return meant
        if type(self.default) is float and type(value) in (int, str):
            try:
                number = float(value)
            except (ValueError, OverflowError):
                return value
            return number if math.isfinite(number) else value
        return value

    def _expected(self) -> str:
        kinds = {bool: "true or false", int: "a whole number", float: "a number"}
        text = f"{self.constraint() or 'a text'}; put words such as no, off or 7 into quotes"
        return kinds.get(type(self.default), text)

    def _texts(self, value: Any) -> tuple[str, ...]:
        # An empty list on the command line arrives as no value at all, in a service call as bytes.
        if value is None:
            return ()
        if isinstance(value, str) and value.lstrip().startswith("["):
            # What tools make of a list such as [road, no], whose elements are of several types for YAML.
            value = _yaml_list(value)
        if isinstance(value, (str, bool, int, float, Mapping)):
            raise VocabularyError(
                f'{self.name} is {value!r}; expected a list of texts such as [road, "car, automobile", sky], with '
                "words such as no, off or 7 in quotes"
            )
        # YAML reads a list such as [no, 7] as booleans and numbers.
        texts = tuple(value)
        strange = [text for text in texts if not isinstance(text, str)]
        if strange:
            raise VocabularyError(f"{self.name} holds {strange[0]!r}, which is not text; put it into quotes")
        return texts


def _yaml_list(text: str) -> Any:
    try:
        read = yaml.safe_load(text)
    except yaml.YAMLError:
        return text
    return read if isinstance(read, list) else text


def _fields(group: Any) -> tuple[Any, ...]:
    return fields(group)


def parameter(
    default: Value,
    description: str,
    choices: tuple[str, ...] = (),
    limits: tuple[float, float] | None = None,
    **more: Any,
) -> Any:
    """Declare a parameter as a field of a dataclass; see `ParameterSpec` for the arguments."""
    metadata = {"description": description, "choices": choices, "limits": limits, **more}
    return field(default=default, metadata=metadata)


def specs_of(group: type) -> tuple[ParameterSpec, ...]:
    """Return the parameters that a dataclass declares with `parameter`."""
    return tuple(ParameterSpec(one.name, one.default, **one.metadata) for one in _fields(group))


def group_of(group: type[G], values: Mapping[str, Any]) -> G:
    """Return a group of parameters with its values out of those of all parameters."""
    return group(**{one.name: values[one.name] for one in _fields(group)})


NO_CACHE = "memory"
"""The `prompt_cache` that keeps nothing on the disk; off, the word of earlier versions, is false in YAML."""


@dataclass(frozen=True)
class ModelChoice:
    """What a model is loaded with; each field is a parameter."""

    model: str = parameter(
        "facebook/sam3",
        "Model folder or hub id in the transformers format, or 'toytown' for the small demo model.",
    )
    device: str = parameter(
        "auto",
        "Device the model runs on: auto, cpu, cuda or cuda:N.",
        pattern=(r"auto|cpu|cuda(:\d{1,4})?", "auto, cpu, cuda or cuda:N"),
    )
    dtype: str = parameter(
        "auto", "Number format of the weights.", choices=("auto", "float32", "bfloat16", "float16")
    )
    compile: bool = parameter(
        False,
        "Whether large parts of the model are compiled with torch.compile: a first start of minutes for frames that "
        "may be faster on a GPU; measure it.",
    )
    cuda_graphs: bool = parameter(
        False,
        "Whether large parts of the model are replayed as CUDA graphs on a GPU, so that it waits less for the host: "
        "takes more of its memory. Not run on a GPU so far; measure it.",
    )
    text_encoder: str = parameter(
        "release",
        "What happens to the text encoder once it has encoded prompts that the prompt cache lacks: release "
        "frees its memory, offload moves it to host memory, keep leaves it on the device.",
        choices=("release", "offload", "keep"),
    )
    prompt_cache: str = parameter(
        "",
        "Folder that keeps the embeddings of known prompts; empty: the program's own in the user's cache "
        "folder; memory: prompts are remembered only while the node runs.",
        means=(("off", NO_CACHE), (False, NO_CACHE)),
    )


# Classes for a street camera; every robot has its own.
DEFAULT_VOCABULARY: tuple[str, ...] = (
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


def _setting(name: str, default: Any) -> ParameterSpec:
    limits = None
    if name in BOUNDS:
        # In the type of the parameter; 0 stands for None.
        number, low = type(default), 0 if name == "full_resolution" else BOUNDS[name].low
        limits = (number(low), number(BOUNDS[name].high))
    description = DESCRIPTIONS[name].replace("None:", "0:")
    return ParameterSpec(name, default, description, CHOICES.get(name, ()), limits)


# Parameters have no None, and an unlabelled remainder is what a robot expects.
_OTHER_DEFAULTS: Mapping[str, Value] = {"full_resolution": 0, "background_threshold": 0.4}

SPECS: tuple[ParameterSpec, ...] = (
    ParameterSpec(
        "vocabulary",
        DEFAULT_VOCABULARY,
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
        "gives. Setting it again reads the file again, emptying it leaves what vocabulary shows.",
    ),
    ParameterSpec(
        "background_class",
        "",
        "Name of the class that pixels without a clear winner become; empty: they stay unlabelled.",
    ),
    ParameterSpec(
        "profile",
        "paper",
        "paper: every frame by itself, as published; fast: likewise, for half the work; realtime: a stream, which "
        f"reuses what is known from the frames before. Sets {', '.join(GOVERNED)}, except those that were given a "
        "value themselves, at the start or later. Empty: the values in force stay, and the next profile sets them all.",
        choices=(*PROFILES, ""),
    ),
    *(
        _setting(one.name, _OTHER_DEFAULTS.get(one.name, getattr(SegmenterSettings(), one.name)))
        for one in fields(SegmenterSettings)
    ),
)
"""The parameters that vocabulary and settings are made of."""

NODE_ONLY: tuple[str, ...] = (
    "autostart",
    "cameras",
    "image_transport",
    "queue",
    "queue_size",
    "allowed_folders",
    "max_age",
    "max_rate",
    "image_timeout",
    "worker_timeout",
)
"""The node's other parameters (`ros.parameters`), which mean nothing to a recording."""

CONFIGURABLE: tuple[str, ...] = tuple(spec.name for spec in SPECS)

DEFAULTS: Mapping[str, Value] = {spec.name: spec.default for spec in SPECS}

_SPECS = {spec.name: spec for spec in SPECS}


@dataclass(frozen=True)
class Configuration:
    """What is segmented and how; never changed, only replaced by the next one.

    Attributes:
        values: of all parameters in `SPECS`, by name and in their order.
        given: the settings of a profile that were given a value themselves, which no profile changes.
        vocabulary: the classes with their ids and colours; more than `values` can show.
        settings: of the segmenter.
        revision: of the vocabulary, from 1; a change of other settings keeps it.
        number: of the accepted configuration, rising; the order in which a node accepted them.
    """

    values: tuple[tuple[str, Value], ...]
    given: frozenset[str]
    vocabulary: Vocabulary
    settings: SegmenterSettings
    revision: int
    number: int = field(default=0, compare=False)


def settings_of(values: Mapping[str, Any]) -> SegmenterSettings:
    """Return the settings in the values of all parameters.

    Raises:
        SettingsError: a number is out of its range.
    """
    given = {one.name: values[one.name] for one in fields(SegmenterSettings)}
    return SegmenterSettings(**{**given, "full_resolution": given["full_resolution"] or None})


def first_configuration(given: Mapping[str, object], load: Load = load_vocabulary_file) -> Configuration:
    """Return the configuration at the start; its revision is 1.

    Every given value counts, also one that equals its default. The one exception is `vocabulary` beside
    `vocabulary_file`: one that is empty, equals the default, or holds the file's own names counts as not given, so that
    a dump of a running node and a file of all parameters can be used as they are.

    Args:
        given: the given parameters as rclpy or YAML gives them; other names are ignored.
        load: reads a vocabulary file.

    Raises:
        ActiveSamError: what is wrong with which value (SettingsError, VocabularyError).
    """
    changes = {name: _SPECS[name].read(value) for name, value in given.items() if name in _SPECS}
    if not changes.get("vocabulary_file"):
        changes.setdefault("vocabulary", DEFAULT_VOCABULARY)
    elif changes.get("vocabulary") in ((), DEFAULT_VOCABULARY):
        del changes["vocabulary"]
    nothing = Configuration(
        tuple(DEFAULTS.items()), frozenset(), Vocabulary(()), settings_of(DEFAULTS), revision=0
    )
    return next_configuration(nothing, changes, 1, load)


def next_configuration(
    last: Configuration, changes: Mapping[str, object], revision: int, load: Load = load_vocabulary_file
) -> Configuration:
    """Return the configuration after one call that sets parameters.

    - `vocabulary_file` brings the classes, the background class and, if the file names one, the background threshold,
      except what `changes` gives. `vocabulary` empties `vocabulary_file`, unless it holds the file's own names, as in a
      dump. Emptying `vocabulary_file` leaves the classes as `vocabulary` shows them.
    - `profile` brings the settings in `GOVERNED`, except those that are given, by `changes` or before. An empty one
      forgets which were given.

    Args:
        last: the configuration before.
        changes: parameters that are set in one call, as rclpy or YAML gives them; other names are ignored.
        revision: of the new vocabulary, unless it equals that of `last`.
        load: reads a vocabulary file.

    Raises:
        ActiveSamError: what is wrong with which value (SettingsError, VocabularyError).
    """
    changed: dict[str, Any] = {
        name: _SPECS[name].read(value) for name, value in changes.items() if name in _SPECS
    }
    values: dict[str, Any] = dict(last.values)
    given = _given(last, changed)
    if profile := changed.get("profile"):
        values |= {name: value for name, value in PROFILES[profile].items() if name not in given}
    values |= changed
    classes: Sequence[str] | Sequence[ClassSpec] | None = None
    if changed.get("vocabulary_file"):
        file = load(values["vocabulary_file"])
        if changed.get("vocabulary") not in (None, _texts_of(file)):
            raise SettingsError(
                "vocabulary and vocabulary_file are both given; give one of them, since a file brings its "
                "own classes"
            )
        values |= {name: value for name, value in _values_of(file).items() if name not in changed}
        classes = file.classes
    elif "vocabulary" in changed:
        classes = changed["vocabulary"]
        if "background_class" not in changed:
            _require_background(values, changed["vocabulary"])
        values["vocabulary_file"] = ""
    elif "vocabulary_file" in changed and dict(last.values)["vocabulary_file"]:
        classes = values["vocabulary"]
    elif "background_class" in changed:
        classes = [
            ClassSpec(one.name, one.prompts, one.colour, one.members) for one in last.vocabulary.classes
        ]
    settings = settings_of(values)
    vocabulary = last.vocabulary
    if classes is not None:
        vocabulary = vocabulary.updated(classes, values["background_class"] or None)
        check_size(vocabulary)
    if vocabulary == last.vocabulary:
        vocabulary, revision = last.vocabulary, last.revision
    return Configuration(tuple(values.items()), given, vocabulary, settings, revision)


def _given(last: Configuration, changed: Mapping[str, Value]) -> frozenset[str]:
    """Return which settings of a profile count as given after `changed`."""
    stated = frozenset(changed) & frozenset(GOVERNED)
    if "profile" in changed and len(stated) == len(GOVERNED):
        # All of them beside their profile, as `ros2 param dump` writes: what the profile would set too is not given.
        profile = PROFILES.get(str(changed["profile"]), changed)
        return frozenset(name for name in stated if changed[name] != profile[name])
    return stated if changed.get("profile") == "" else last.given | stated


def _require_background(values: Mapping[str, Any], texts: Sequence[str]) -> None:
    """Refuse a vocabulary that lacks the background class of before, and say where that came from."""
    background, file = values["background_class"], values["vocabulary_file"]
    if background and match_key(background) not in {match_key(parse_class(text).name) for text in texts}:
        origin = f", as vocabulary_file {file!r} set it" if file else ""
        raise VocabularyError(
            f"background_class is {background!r}{origin}, and the new vocabulary has no such class; set "
            "background_class to '' or to one of the new names, before or in the same call"
        )


def _values_of(file: VocabularyFile) -> dict[str, Value]:
    """Return the parameters that a vocabulary file sets."""
    values: dict[str, Value] = {"vocabulary": _texts_of(file), "background_class": file.background or ""}
    if file.background_threshold is not None:
        values["background_threshold"] = float(file.background_threshold)
    return values


def _texts_of(file: VocabularyFile) -> tuple[str, ...]:
    """Return the classes as `vocabulary` shows them: with their aliases if the first of them is the name."""
    return tuple(
        ", ".join(entry.prompts) if [*map(display_name, entry.prompts[:1])] == [entry.name] else entry.name
        for entry in file.classes
    )
