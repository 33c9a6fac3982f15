"""Class maps: what the ids of ground truth mean, and which classes of the vocabulary they match."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, field
from functools import cached_property
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from activesam_ros.errors import EvaluationError, reason
from activesam_ros.vocabulary.canonical import control_character, match_key
from activesam_ros.vocabulary.formats import load_yaml

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from activesam_ros.datasets.recordings import Recording
    from activesam_ros.vocabulary import Vocabulary

LABEL_INFO = "vision_msgs/msg/LabelInfo"

NOT_COUNTED = -1
"""In the image of `ClassMatching.truth_of`: a pixel whose truth is not known or not evaluated."""

_LARGEST_ID = 65_535
_IDS = _LARGEST_ID + 1
# What pixels without a class have by custom, in label images of 8 and of 16 bit.
_NO_CLASS = (255, _LARGEST_ID)


@dataclass(frozen=True)
class ClassMap:
    """The ids of a ground truth.

    Attributes:
        names: class name by id; several ids may have one name.
        ignore: ids of pixels that do not count, whether they have a name or not.
    """

    names: Mapping[int, str]
    ignore: frozenset[int] = frozenset()

    def ignoring(self, ids: Iterable[int]) -> ClassMap:
        """Return the same with more ids that do not count."""
        return ClassMap(self.names, self.ignore | frozenset(ids))


def read_class_map(path: Path) -> ClassMap:
    """Read YAML with `classes`, a mapping of ids to names or a list of names, and perhaps a list `ignore`.

    Raises:
        EvaluationError: the file cannot be read, or says something else.
    """
    content = _read_yaml(path)
    if not isinstance(content, dict) or not content.get("classes"):
        raise EvaluationError(
            f"{path} names no classes; expected classes: {{0: road, 1: car}} or a list of names"
        )
    unknown = sorted(map(str, content.keys() - {"classes", "ignore"}))
    if unknown:
        raise EvaluationError(f"{path} has the key {unknown[0]!r}; expected only classes and ignore")
    classes, ignore = content["classes"], content.get("ignore") or []
    if isinstance(classes, list):
        classes = dict(enumerate(classes))
    if not isinstance(classes, dict):
        raise EvaluationError(
            f"{path} has {classes!r} as classes; expected {{0: road, 1: car}} or a list of names"
        )
    if not isinstance(ignore, list):
        raise EvaluationError(f"{path} has {ignore!r} as ignore; expected a list of ids such as [255]")
    for number in (*classes, *ignore):
        if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= _LARGEST_ID:
            raise EvaluationError(f"{path} has the id {number!r}; expected a number from 0 to {_LARGEST_ID}")
    for number, name in classes.items():
        if not isinstance(name, str) or not match_key(name) or control_character(name):
            raise EvaluationError(
                f"{path} names the id {number} {name!r}; expected a name, in quotes if need be"
            )
    return ClassMap(classes, frozenset(ignore))


def recorded_class_map(source: Recording, labels_topic: str, topic: str | None = None) -> ClassMap:
    """Read a recording's own LabelInfo: the last one before the first label image, else the first one at all.

    `topic` is that of the LabelInfo; None: the one whose name is nearest to that of the label images.

    Raises:
        EvaluationError: a topic is missing or of another type, several or none are near the label images, or it has
            no message that can be read.
    """
    source.require(labels_topic)
    topic = _nearest_label_info(source, labels_topic) if topic is None else topic
    if source.require(topic).type != LABEL_INFO:
        raise EvaluationError(
            f"{topic} is of type {source.topics[topic].type}, not {LABEL_INFO}; give a topic of that type, or the "
            "classes as YAML"
        )
    info, refusal = None, "it has no message"
    for one in source.messages([labels_topic, topic]):
        if one.topic == labels_topic and info is not None:
            break
        if one.topic == topic and one.message is None:
            refusal = one.error or refusal
        elif one.topic == topic:
            info = one.message
    if info is None:
        raise EvaluationError(f"{topic} says nothing of the classes: {refusal}")
    return ClassMap({int(entry.class_id): str(entry.class_name) for entry in info.class_map})


def class_map_of(source: Recording, labels_topic: str, given: str | None = None) -> ClassMap:
    """Return what the ids of a recording's label images mean.

    Args:
        source: the recording.
        labels_topic: of the label images.
        given: a LabelInfo topic of it, or a YAML file; None: the LabelInfo beside the label images.

    Raises:
        EvaluationError: as `recorded_class_map` and `read_class_map`, or `given` is neither a topic nor a file.
    """
    if given is None or given in source.topics_of(LABEL_INFO):
        return recorded_class_map(source, labels_topic, given)
    if Path(given).expanduser().exists():
        return read_class_map(Path(given).expanduser())
    raise EvaluationError(
        f"{given!r} is neither a file nor a topic of the recording that names classes; it has "
        f"{source.describe_topics()}"
    )


@dataclass(frozen=True)
class ClassMatching:
    """Which classes of the truth are which of the vocabulary; those that are both are evaluated.

    Attributes:
        classes: display names of the evaluated classes, in vocabulary order.
        truth_index: id in the truth → index in `classes`.
        label_index: class id of the vocabulary → index in `classes`.
        unmatched_truth: names in the truth that are not evaluated.
        unmatched_vocabulary: display names in the vocabulary that are not evaluated.
        stated: every id that the truth gives a name or ignores.
    """

    classes: tuple[str, ...]
    truth_index: Mapping[int, int]
    label_index: Mapping[int, int]
    unmatched_truth: tuple[str, ...] = ()
    unmatched_vocabulary: tuple[str, ...] = ()
    stated: frozenset[int] = field(default=frozenset())

    def truth_of(self, image: np.ndarray) -> np.ndarray:
        """Convert ids of the truth, integers [H, W], to indices of evaluated classes, int32, or `NOT_COUNTED`."""
        return _look_up(self._truth_table, image, NOT_COUNTED)

    def labels_of(self, labels: np.ndarray, unlabeled_id: int) -> np.ndarray:
        """Convert class ids of the vocabulary, integers [H, W], to indices of evaluated classes, int32.

        Every other pixel, `unlabeled_id` among them, becomes `len(classes)`.
        """
        table = self._label_table
        if table[unlabeled_id] != len(self.classes):
            table = table.copy()
            table[unlabeled_id] = len(self.classes)
        return _look_up(table, labels, len(self.classes))

    def unknown_ids(self, image: np.ndarray) -> dict[int, int]:
        """Count pixels by id, of ids in uint8 or uint16 [H, W] that the truth neither names nor ignores.

        255, or 65535 in uint16, is no class by custom, and left out.
        """
        counts = np.bincount(image.ravel())
        custom = _NO_CLASS[image.dtype.itemsize > 1]
        return {
            int(number): int(counts[number])
            for number in np.flatnonzero(counts)
            if number not in self.stated and number != custom
        }

    @cached_property
    def _truth_table(self) -> np.ndarray:
        return _table(self.truth_index, NOT_COUNTED)

    @cached_property
    def _label_table(self) -> np.ndarray:
        return _table(self.label_index, len(self.classes))


def match_classes(
    vocabulary: Vocabulary, class_map: ClassMap, mapping: Mapping[str, str | None] | None = None
) -> ClassMatching:
    """Find each class of the truth in the vocabulary; case, spaces and punctuation aside.

    A name is looked for among the display names, then among the aliases and the members of groups; one that lists
    synonyms ("car; automobile") is looked for as a whole first, then synonym by synonym.

    Args:
        vocabulary: what the images are labelled with.
        class_map: the ids of the truth.
        mapping: name in the truth → name in the vocabulary, which goes before; None as a name: do not evaluate it.

    Raises:
        EvaluationError: nothing matches, or the mapping has a name that the truth or the vocabulary lacks.
    """
    index_of = _NameIndex(vocabulary)
    names = {match_key(name) for name in class_map.names.values()}
    chosen: dict[str, int | None] = {}
    for name, target in (mapping or {}).items():
        if match_key(name) not in names:
            hint = _suggestion(name, class_map.names.values())
            raise EvaluationError(f"the mapping has {name!r}, which is no class of the ground truth{hint}")
        position = None if target is None else index_of.find(target)
        if target is not None and position is None:
            hint = _suggestion(target, vocabulary.names)
            raise EvaluationError(f"the mapping has {name!r} as {target!r}, which the vocabulary lacks{hint}")
        chosen[match_key(name)] = position
    found: dict[int, int] = {}
    unmatched: dict[str, None] = {}
    for number, name in class_map.names.items():
        if number in class_map.ignore:
            continue
        key = match_key(name)
        position = chosen[key] if key in chosen else index_of.find(name)
        if position is None:
            unmatched[name] = None
        else:
            found[number] = position
    if not found:
        raise EvaluationError(
            f"no class of the ground truth ({_few(class_map.names.values())}) is in the vocabulary "
            f"({_few(vocabulary.names)}); give a vocabulary with these words, or a file that says which is which"
        )
    evaluated = sorted(set(found.values()))
    index = {position: place for place, position in enumerate(evaluated)}
    classes = vocabulary.classes
    return ClassMatching(
        classes=tuple(classes[position].name for position in evaluated),
        truth_index={number: index[position] for number, position in found.items()},
        label_index={classes[position].class_id: index[position] for position in evaluated},
        unmatched_truth=tuple(unmatched),
        unmatched_vocabulary=tuple(one.name for place, one in enumerate(classes) if place not in index),
        stated=frozenset(class_map.names) | class_map.ignore,
    )


def read_mapping(path: Path) -> dict[str, str | None]:
    """Read YAML that maps names in the truth to names in the vocabulary, or to nothing (null).

    Raises:
        EvaluationError: the file cannot be read, or says something else.
    """
    content = _read_yaml(path)
    if not isinstance(content, dict) or not content:
        raise EvaluationError(f"{path} maps nothing; expected lines such as 'automobile: car'")
    for name, target in content.items():
        if not isinstance(name, str) or not isinstance(target, str | None):
            raise EvaluationError(
                f"{path} maps {name!r} to {target!r}; expected two names, in quotes if need be"
            )
    return content


class _NameIndex:
    """Looks up positions in a vocabulary by name."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._names = {match_key(one.name): place for place, one in enumerate(vocabulary.classes)}
        self._aliases: dict[str, int] = {}
        for place, one in enumerate(vocabulary.classes):
            for alias in (*one.prompts, *one.members):
                self._aliases.setdefault(match_key(alias), place)

    def find(self, name: str) -> int | None:
        """Return the position of the class of that name; None without one."""
        synonyms = [match_key(part) for part in re.split("[,;]", name)]
        for key in (match_key(name), *filter(None, synonyms)):
            for known in (self._names, self._aliases):
                if key in known:
                    return known[key]
        return None


def _nearest_label_info(source: Recording, labels_topic: str) -> str:
    """Return the LabelInfo that shares most of its namespace with the label images."""
    candidates = source.topics_of(LABEL_INFO)
    if not candidates:
        raise EvaluationError(
            f"{source.path} has no {LABEL_INFO}, so the ids in {labels_topic} have no names; give the classes as YAML"
        )
    space = labels_topic.split("/")[:-1]
    shared = {topic: _common_length(space, topic.split("/")[:-1]) for topic in candidates}
    best = max(shared.values())
    nearest = [topic for topic, length in shared.items() if length == best]
    # All names begin with the empty part before the first slash, which says nothing.
    if len(nearest) == 1 and (best > 1 or best == len(space)):
        return nearest[0]
    raise EvaluationError(
        f"which LabelInfo belongs to {labels_topic} is not clear: there is {' and '.join(candidates)}; name one, or "
        "give the classes as YAML"
    )


def _common_length(one: list[str], other: list[str]) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def _table(index: Mapping[int, int], rest: int) -> np.ndarray:
    table = np.full(_IDS, rest, np.int32)
    for number, place in index.items():
        table[number] = place
    return table


def _look_up(table: np.ndarray, image: np.ndarray, rest: int) -> np.ndarray:
    if image.dtype in (np.uint8, np.uint16):
        return table[image]
    known = (image >= 0) & (image < _IDS)
    return np.where(known, table[np.where(known, image, 0)], np.int32(rest))


def _read_yaml(path: Path) -> Any:
    try:
        return load_yaml(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise EvaluationError(f"{path} cannot be read: {reason(error)}") from error


def _few(names: Iterable[str], most: int = 8) -> str:
    names = list(dict.fromkeys(names))
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _suggestion(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean {near[0]!r}?)" if near else f"; expected one of {_few(known)}"
