"""The YAML form of a vocabulary file; `docs/vocabularies.md` describes it."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from activesam_ros.errors import SettingsError, VocabularyError
from activesam_ros.settings import BOUNDS
from activesam_ros.vocabulary.canonical import match_key
from activesam_ros.vocabulary.stated_classes import (
    Complaints,
    StatedClass,
    check_phrase,
    refuse_same_names,
    refuse_same_prompts,
    state,
)
from activesam_ros.vocabulary.vocabulary import ClassSpec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from activesam_ros.vocabulary.palette import Colour

_FILE_KEYS = ("description", "source", "background", "background_threshold", "classes", "groups")
_CLASS_KEYS = ("name", "prompts", "colour")
_GROUP_KEYS = ("classes", "colour")

_READ_AS = {"bool": "a truth value", "int": "a number", "float": "a number", "timestamp": "a date"}


@dataclass(frozen=True)
class YamlVocabulary:
    """What the keys say; see `VocabularyFile` for the attributes."""

    entries: tuple[ClassSpec, ...]
    background: str | None
    background_threshold: float | None
    description: str
    origin: str


def parse_yaml(text: str, complaints: Complaints) -> YamlVocabulary:
    """Reads the text of a vocabulary file in YAML.

    Raises:
        VocabularyError: it is not YAML, or not a vocabulary.
    """
    return _Document(complaints).read(_compose(text, complaints))


def _compose(text: str, complaints: Complaints) -> yaml.Node:
    try:
        # Only composed: the nodes know their lines, and no tag makes an object of anything.
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        reason = " ".join(part for part in (error.problem, error.context) if part)
        raise complaints.at(mark.line + 1 if mark else 1, f"this is not YAML ({reason})") from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise complaints.at(line, f"this is not YAML ({error.reason}: #x{error.character:04x})") from error
    except RecursionError as error:
        raise complaints.at(1, "this is nested too deeply; expected the key classes with a list") from error
    if root is None or _kind(root) == "null":
        raise VocabularyError(f"{complaints.source} is empty; expected the key classes with a list of names")
    return root


class _Document:
    """Turns the nodes of a YAML file into a vocabulary."""

    def __init__(self, complaints: Complaints) -> None:
        self._complaints = complaints

    def read(self, root: yaml.Node) -> YamlVocabulary:
        fields = self._fields(root, "a vocabulary file", _FILE_KEYS)
        if "classes" not in fields:
            raise self._refuse(root, "the key classes is missing; expected a list of class names")
        classes = self._classes(fields["classes"])
        groups = self._groups(classes, fields.get("groups"))
        refuse_same_prompts(classes, self._complaints, groups)
        published = _publish(classes, groups)
        refuse_same_names(published, self._complaints)
        return YamlVocabulary(
            entries=tuple(one.entry for one in published),
            background=self._background(fields.get("background"), published),
            background_threshold=self._threshold(fields.get("background_threshold")),
            description=self._prose(fields.get("description"), "description"),
            origin=self._prose(fields.get("source"), "source"),
        )

    def _classes(self, node: yaml.Node) -> list[StatedClass]:
        classes = [self._class(item) for item in self._list(node, "classes", "class names")]
        if not classes:
            raise self._refuse(node, "classes is empty; give at least one class name")
        # Before grouping, so that a group's members are unambiguous.
        refuse_same_names(classes, self._complaints)
        return classes

    def _class(self, node: yaml.Node) -> StatedClass:
        if isinstance(node, yaml.ScalarNode):
            return state(self._string(node, "the class"), _line(node), self._complaints)
        fields = self._fields(node, "a class", _CLASS_KEYS)
        if "name" not in fields:
            raise self._refuse(node, "the class has no name; expected {name: ..., prompts: [...]}")
        name = self._phrase(fields["name"], "name")
        prompts = self._prompts(fields["prompts"]) if "prompts" in fields else (name,)
        colour = self._colour(fields["colour"]) if "colour" in fields else None
        return StatedClass(ClassSpec(name, prompts, colour), _line(node))

    def _prompts(self, node: yaml.Node) -> tuple[str, ...]:
        if isinstance(node, yaml.ScalarNode):
            return state(self._string(node, "prompts"), _line(node), self._complaints).entry.prompts
        prompts = tuple(self._phrase(item, "the prompt") for item in self._list(node, "prompts", "phrases"))
        if not prompts:
            raise self._refuse(node, "prompts is empty; leave the key out to ask for the name itself")
        return prompts

    def _groups(self, classes: Sequence[StatedClass], node: yaml.Node | None) -> Mapping[str, StatedClass]:
        """The group of each grouped class, by the match key of the class's name."""
        if node is None:
            return {}
        known = {match_key(one.entry.name): one.entry for one in classes}
        owners: dict[str, StatedClass] = {}
        for key, value in self._pairs(node, "groups"):
            name, colour = self._phrase(key, "the group's name"), None
            if isinstance(value, yaml.MappingNode):
                fields = self._fields(value, f"the group {name!r}", _GROUP_KEYS)
                if "classes" not in fields:
                    raise self._refuse(key, f"the group {name!r} lacks the key classes; expected a list")
                colour = self._colour(fields["colour"]) if "colour" in fields else None
                value = fields["classes"]
            members = self._members(name, value, known, owners)
            prompts = dict.fromkeys(prompt for member in members for prompt in member.prompts)
            united = tuple(member.name for member in members)
            group = StatedClass(ClassSpec(name, tuple(prompts), colour, united), _line(key))
            owners.update({match_key(member): group for member in united})
        return owners

    def _members(
        self, group: str, node: yaml.Node, known: Mapping[str, ClassSpec], owners: Mapping[str, StatedClass]
    ) -> list[ClassSpec]:
        members: list[ClassSpec] = []
        for item in self._list(node, f"the group {group!r}", "class names"):
            name = self._phrase(item, "the group's member")
            key = match_key(name)
            if key not in known:
                raise self._refuse(
                    item,
                    f"the group {group!r} has the member {name!r}, which is not in classes"
                    f"{_suggestion(name, [entry.name for entry in known.values()])}",
                )
            if key in owners:
                raise self._refuse(item, f"{name!r} is in the group {owners[key]} too; expected one")
            if known[key] in members:
                raise self._refuse(item, f"the group {group!r} has the member {name!r} twice; remove one")
            members.append(known[key])
        if not members:
            raise self._refuse(node, f"the group {group!r} is empty; name its classes or remove it")
        return members

    def _background(self, node: yaml.Node | None, published: Sequence[StatedClass]) -> str | None:
        if node is None:
            return None
        wanted = self._phrase(node, "background")
        key = match_key(wanted)
        for one in published:
            if match_key(one.entry.name) == key:
                return one.entry.name
        for one in published:
            if key in map(match_key, one.entry.members):
                raise self._refuse(
                    node, f"the background {wanted!r} is a member of the group {one}; name the group instead"
                )
        raise self._refuse(
            node,
            f"the background {wanted!r} is not the name of a class"
            f"{_suggestion(wanted, [one.entry.name for one in published])}",
        )

    def _threshold(self, node: yaml.Node | None) -> float | None:
        if node is None:
            return None
        bounds = BOUNDS["background_threshold"]
        value: Any = yaml.safe_load(node.value) if _kind(node) in ("int", "float") else None
        try:
            bounds.check("background_threshold", value)
        except SettingsError as error:
            shown = repr(node.value) if isinstance(node, yaml.ScalarNode) else "no number"
            raise self._refuse(node, f"background_threshold is {shown}; expected {bounds}") from error
        return float(value)

    def _colour(self, node: yaml.Node) -> Colour:
        parts = node.value if isinstance(node, yaml.SequenceNode) else []
        values = [int(part.value) for part in parts if _kind(part) == "int" and part.value.isdecimal()]
        if len(parts) != 3 or len(values) != 3 or max(values) > 255:
            raise self._refuse(
                node, "the colour is not [red, green, blue]; expected three whole numbers from 0 to 255"
            )
        return (values[0], values[1], values[2])

    def _prose(self, node: yaml.Node | None, what: str) -> str:
        return "" if node is None else " ".join(self._string(node, what).split())

    def _phrase(self, node: yaml.Node, what: str) -> str:
        """A name or a prompt: one phrase with tidy spaces."""
        phrase = self._prose(node, what)
        if not phrase:
            raise self._refuse(node, f"{what} is blank; expected a word or a short phrase")
        if "," in phrase:
            raise self._refuse(node, f"{what} is {phrase!r}; expected one phrase, so list prompts one by one")
        check_phrase(phrase, _line(node), self._complaints)
        return phrase

    def _string(self, node: yaml.Node, what: str) -> str:
        if not isinstance(node, yaml.ScalarNode):
            shape = "a list" if isinstance(node, yaml.SequenceNode) else "a mapping"
            raise self._refuse(node, f"{what} is {shape}; expected text")
        kind = _kind(node)
        if kind == "null":
            raise self._refuse(node, f"{what} is missing; expected text")
        if kind != "str":
            shown = f"{node.value!r}, which YAML reads as {_READ_AS.get(kind, kind)}"
            raise self._refuse(node, f"{what} is {shown}; put it in quotes")
        return node.value

    def _list(self, node: yaml.Node, what: str, items: str) -> list[yaml.Node]:
        if not isinstance(node, yaml.SequenceNode):
            raise self._refuse(node, f"{what} is not a list; expected a list of {items}")
        return node.value

    def _fields(self, node: yaml.Node, what: str, allowed: Sequence[str]) -> dict[str, yaml.Node]:
        fields = {}
        for key, value in self._pairs(node, what):
            if key.value not in allowed:
                hint = _suggestion(key.value, allowed)
                raise self._refuse(
                    key, f"{what} has the unknown key {key.value!r}{hint}; expected {', '.join(allowed)}"
                )
            fields[key.value] = value
        return fields

    def _pairs(self, node: yaml.Node, what: str) -> list[tuple[yaml.ScalarNode, yaml.Node]]:
        if not isinstance(node, yaml.MappingNode):
            raise self._refuse(node, f"{what} is not a mapping; expected keys with values")
        first: dict[str, int] = {}
        for key, _ in node.value:
            name = self._string(key, f"a key of {what}")
            if name in first:
                raise self._refuse(key, f"{what} has the key {name!r} twice (first in line {first[name]})")
            first[name] = _line(key)
        return node.value

    def _refuse(self, node: yaml.Node, reason: str) -> VocabularyError:
        return self._complaints.at(_line(node), reason)


def _publish(classes: Sequence[StatedClass], groups: Mapping[str, StatedClass]) -> list[StatedClass]:
    """The classes, with each group in the place of its first member."""
    published = (groups.get(match_key(one.entry.name), one) for one in classes)
    return list({id(one): one for one in published}.values())


def _line(node: yaml.Node) -> int:
    return node.start_mark.line + 1


def _kind(node: yaml.Node) -> str:
    """ "str", "int", "float", "bool", "null", "seq", …: YAML's own tags without their prefix."""
    return node.tag.removeprefix("tag:yaml.org,2002:")


def _suggestion(word: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(word, known, n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""
