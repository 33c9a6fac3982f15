"""The YAML format of vocabulary files, and what a file of any format says; `docs/vocabularies.md` describes both."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import yaml

from activesam_ros.errors import SettingsError, VocabularyError
from activesam_ros.settings import BOUNDS
from activesam_ros.vocabulary.canonical import canonical_name, control_character, display_name, match_key
from activesam_ros.vocabulary.vocabulary import ClassSpec, parse_class

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from activesam_ros.vocabulary.palette import Colour

_FILE_KEYS = ("description", "source", "background", "background_threshold", "classes", "groups")
_CLASS_KEYS = ("name", "prompts", "colour")
_GROUP_KEYS = ("classes", "colour")

_READ_AS = {"bool": "a truth value", "int": "a number", "float": "a number", "timestamp": "a date"}


class FormatError(VocabularyError):
    """The text of a vocabulary file is wrong; `line` counts from 1, None: the text as a whole."""

    def __init__(self, line: int | None, reason: str) -> None:
        super().__init__(reason)
        self.line = line

    def located_in(self, source: str) -> VocabularyError:
        """Make the error to show, which names the file."""
        where = "" if self.line is None else f", line {self.line}:"
        return VocabularyError(f"{source}{where} {self}")


@dataclass(frozen=True)
class Content:
    """What a vocabulary file says; see `VocabularyFile` for the attributes."""

    classes: tuple[ClassSpec, ...]
    background: str | None = None
    background_threshold: float | None = None
    description: str = ""
    origin: str = ""


@dataclass(frozen=True)
class Located:
    """A class and the line of the file that states it."""

    spec: ClassSpec
    line: int

    def __str__(self) -> str:
        return f"{self.spec.name!r} (line {self.line})"


def content_of(classes: Sequence[Located]) -> Content:
    """Make the content of a list of classes; raise FormatError for two of one name or prompt."""
    _refuse_same_names(classes)
    _refuse_same_prompts(classes, {})
    return Content(tuple(one.spec for one in classes))


def load_yaml(text: str) -> Any:
    """Load YAML; raise yaml.YAMLError for keys that stand twice, of which YAML would silently drop one."""
    return yaml.load(text, Loader=_UniqueKeyLoader)


class _UniqueKeyLoader(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        lines: dict[object, int] = {}
        for key, _ in node.value:
            name = (key.tag, key.value) if isinstance(key, yaml.ScalarNode) else None
            if name in lines:
                problem = f"the key {key.value!r} stands twice (first in line {lines[name]})"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            if name is not None:
                lines[name] = _line(key)
        return super().construct_mapping(node, deep)


def parse_yaml(text: str) -> Content:
    """Parse the YAML format.

    Raises:
        FormatError: the text is not YAML, or not a vocabulary.
    """
    root = _compose(text)
    fields = _fields(root, "a vocabulary file", _FILE_KEYS)
    if "classes" not in fields:
        _refuse(root, "the key classes is missing; expected a list of class names")
    classes = [_class(item) for item in _list(fields["classes"], "classes", "class names")]
    if not classes:
        _refuse(fields["classes"], "classes is empty; give at least one class name")
    # Before grouping, so that the members of a group are unambiguous.
    _refuse_same_names(classes)
    groups = _groups(classes, fields.get("groups"))
    _refuse_same_prompts(classes, groups)
    # A group stands in the place of its first member.
    grouped = (groups.get(match_key(one.spec.name), one) for one in classes)
    published = list({id(one): one for one in grouped}.values())
    _refuse_same_names(published)
    return Content(
        classes=tuple(one.spec for one in published),
        background=_background(fields.get("background"), published),
        background_threshold=_threshold(fields.get("background_threshold")),
        description=_prose(fields.get("description"), "description"),
        origin=_prose(fields.get("source"), "source"),
    )


def _compose(text: str) -> yaml.Node:
    try:
        # Only composed: nodes know their lines, and no tag creates an object.
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        reason = " ".join(part for part in (error.problem, error.context) if part)
        raise FormatError(mark.line + 1 if mark else 1, f"this is not YAML ({reason})") from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise FormatError(line, f"this is not YAML ({error.reason}: #x{error.character:04x})") from error
    except RecursionError as error:
        raise FormatError(1, "this is nested too deeply; expected the key classes with a list") from error
    if root is None or _kind(root) == "null":
        raise FormatError(None, "is empty; expected the key classes with a list of names")
    return root


def _class(node: yaml.Node) -> Located:
    if isinstance(node, yaml.ScalarNode):
        return parse_located(_string(node, "the class"), _line(node))
    fields = _fields(node, "a class", _CLASS_KEYS)
    if "name" not in fields:
        _refuse(node, "the class has no name; expected {name: ..., prompts: [...]}")
    prompt = _single(fields["name"], "name")
    name = display_name(prompt)
    prompts = _prompts(fields["prompts"]) if "prompts" in fields else (prompt,)
    colour = _colour(fields["colour"]) if "colour" in fields else None
    return Located(ClassSpec(name, prompts, colour), _line(node))


def _prompts(node: yaml.Node) -> tuple[str, ...]:
    if isinstance(node, yaml.ScalarNode):
        return parse_located(_string(node, "prompts"), _line(node)).spec.prompts
    prompts = tuple(_single(item, "the prompt") for item in _list(node, "prompts", "phrases"))
    if not prompts:
        _refuse(node, "prompts is empty; leave the key out to ask for the name itself")
    return prompts


def _groups(classes: Sequence[Located], node: yaml.Node | None) -> Mapping[str, Located]:
    """Map the match key of each grouped class's name to its group."""
    if node is None:
        return {}
    known = {match_key(one.spec.name): one.spec for one in classes}
    owners: dict[str, Located] = {}
    for key, value in _pairs(node, "groups"):
        name, colour = _single(key, "the group's name"), None
        if isinstance(value, yaml.MappingNode):
            fields = _fields(value, f"the group {name!r}", _GROUP_KEYS)
            if "classes" not in fields:
                _refuse(key, f"the group {name!r} lacks the key classes; expected a list")
            colour = _colour(fields["colour"]) if "colour" in fields else None
            value = fields["classes"]
        members = _members(name, value, known, owners)
        prompts = dict.fromkeys(prompt for member in members for prompt in member.prompts)
        united = tuple(member.name for member in members)
        group = Located(ClassSpec(name, tuple(prompts), colour, united), _line(key))
        owners.update({match_key(member): group for member in united})
    return owners


def _members(
    group: str, node: yaml.Node, known: Mapping[str, ClassSpec], owners: Mapping[str, Located]
) -> list[ClassSpec]:
    members: list[ClassSpec] = []
    for item in _list(node, f"the group {group!r}", "class names"):
        name = _single(item, "the group's member")
        key = match_key(name)
        if key not in known:
            _refuse(
                item,
                f"the group {group!r} has the member {name!r}, which is not in classes"
                f"{_suggestion(name, [spec.name for spec in known.values()])}",
            )
        if key in owners:
            _refuse(item, f"{name!r} is in the group {owners[key]} too; expected one")
        if known[key] in members:
            _refuse(item, f"the group {group!r} has the member {name!r} twice; remove one")
        members.append(known[key])
    if not members:
        _refuse(node, f"the group {group!r} is empty; name its classes or remove it")
    return members


def _background(node: yaml.Node | None, published: Sequence[Located]) -> str | None:
    if node is None:
        return None
    wanted = _single(node, "background")
    key = match_key(wanted)
    for one in published:
        if match_key(one.spec.name) == key:
            return one.spec.name
    for one in published:
        if key in map(match_key, one.spec.members):
            _refuse(node, f"the background {wanted!r} is a member of the group {one}; name the group instead")
    hint = _suggestion(wanted, [one.spec.name for one in published])
    raise FormatError(_line(node), f"the background {wanted!r} is not the name of a class{hint}")


def _threshold(node: yaml.Node | None) -> float | None:
    if node is None:
        return None
    bounds = BOUNDS["background_threshold"]
    value: Any = yaml.safe_load(node.value) if _kind(node) in ("int", "float") else None
    try:
        bounds.check("background_threshold", value)
    except SettingsError as error:
        shown = repr(node.value) if isinstance(node, yaml.ScalarNode) else "no number"
        raise FormatError(_line(node), f"background_threshold is {shown}; expected {bounds}") from error
    return float(value)


def _colour(node: yaml.Node) -> Colour:
    parts = node.value if isinstance(node, yaml.SequenceNode) else []
    values = [int(part.value) for part in parts if _kind(part) == "int" and part.value.isdecimal()]
    if len(parts) != 3 or len(values) != 3 or max(values) > 255:
        _refuse(node, "the colour is not [red, green, blue]; expected three whole numbers from 0 to 255")
    return (values[0], values[1], values[2])


def _prose(node: yaml.Node | None, what: str) -> str:
    return "" if node is None else " ".join(_string(node, what).split())


def _single(node: yaml.Node, what: str) -> str:
    """Read one name or prompt with tidy spaces."""
    single = _prose(node, what)
    _refuse_control(_string(node, what), _line(node))
    if not single:
        _refuse(node, f"{what} is blank; expected a word or a short phrase")
    if "," in single:
        _refuse(node, f"{what} is {single!r}; expected one phrase, so list prompts one by one")
    _check_prompt(single, _line(node))
    return single


def _string(node: yaml.Node, what: str) -> str:
    if not isinstance(node, yaml.ScalarNode):
        shape = "a list" if isinstance(node, yaml.SequenceNode) else "a mapping"
        _refuse(node, f"{what} is {shape}; expected text")
    kind = _kind(node)
    if kind == "null":
        _refuse(node, f"{what} is missing; expected text")
    if kind != "str":
        shown = f"{node.value!r}, which YAML reads as {_READ_AS.get(kind, kind)}"
        _refuse(node, f"{what} is {shown}; put it in quotes")
    return node.value


def _list(node: yaml.Node, what: str, items: str) -> list[yaml.Node]:
    if not isinstance(node, yaml.SequenceNode):
        _refuse(node, f"{what} is not a list; expected a list of {items}")
    return node.value


def _fields(node: yaml.Node, what: str, allowed: Sequence[str]) -> dict[str, yaml.Node]:
    fields = {}
    for key, value in _pairs(node, what):
        if key.value not in allowed:
            hint = _suggestion(key.value, allowed)
            _refuse(key, f"{what} has the unknown key {key.value!r}{hint}; expected {', '.join(allowed)}")
        fields[key.value] = value
    return fields


def _pairs(node: yaml.Node, what: str) -> list[tuple[yaml.ScalarNode, yaml.Node]]:
    if not isinstance(node, yaml.MappingNode):
        _refuse(node, f"{what} is not a mapping; expected keys with values")
    first: dict[str, int] = {}
    for key, _ in node.value:
        name = _string(key, f"a key of {what}")
        if name in first:
            _refuse(key, f"{what} has the key {name!r} twice (first in line {first[name]})")
        first[name] = _line(key)
    return node.value


def _refuse(node: yaml.Node, reason: str) -> NoReturn:
    raise FormatError(_line(node), reason)


def parse_located(text: str, line: int) -> Located:
    """Parse `"car, automobile"`; raise FormatError if a name or alias is blank or has no letter or digit."""
    if not text.strip(" \t\r\n,"):
        raise FormatError(line, "the class has a blank name; give it a name or remove it")
    _refuse_control(text, line)
    spec = parse_class(text)
    for prompt in spec.prompts:
        if not prompt:
            raise FormatError(line, f"{text.strip()!r} has a blank alias; remove the stray comma")
        _check_prompt(prompt, line)
    return Located(spec, line)


def _check_prompt(prompt: str, line: int) -> None:
    """Raise FormatError for a prompt without a letter or digit."""
    if not match_key(prompt):
        raise FormatError(line, f"{prompt!r} has no letter or digit; expected a word or a short phrase")


def _refuse_control(text: str, line: int) -> None:
    """Raise FormatError for a control character, some of which would count for spaces."""
    control = control_character(text)
    if control:
        raise FormatError(line, f"{text!r} has the control character {control}; remove it")


def _refuse_same_names(classes: Sequence[Located]) -> None:
    """Raise FormatError for two classes of one name (case, spaces and punctuation aside)."""
    owners: dict[str, Located] = {}
    for one in classes:
        owner = owners.setdefault(match_key(one.spec.name), one)
        if owner is not one:
            first, second = sorted((owner, one), key=lambda each: each.line)
            raise FormatError(
                second.line,
                f"{second.spec.name!r} has the same name as {first}; merge the two or rename one",
            )


def _refuse_same_prompts(classes: Sequence[Located], groups: Mapping[str, Located]) -> None:
    """Raise FormatError for two classes with the same canonical prompt, unless `groups` unites them."""
    owners: dict[str, Located] = {}
    for one in classes:
        for prompt in one.spec.prompts:
            canonical = canonical_name(prompt)
            owner = owners.setdefault(match_key(canonical), one)
            united = groups.get(match_key(owner.spec.name)), groups.get(match_key(one.spec.name))
            if owner is not one and (united[0] is None or united[0] is not united[1]):
                first, second = sorted((owner, one), key=lambda each: each.line)
                raise FormatError(
                    second.line,
                    f"{second.spec.name!r} and {first} both ask for {canonical!r}; merge the two or remove "
                    "one of the prompts",
                )


def _line(node: yaml.Node) -> int:
    return node.start_mark.line + 1


def _kind(node: yaml.Node) -> str:
    """Return YAML's own tag without its prefix: "str", "int", "float", "bool", "null", "seq"."""
    return node.tag.removeprefix("tag:yaml.org,2002:")


def _suggestion(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""
