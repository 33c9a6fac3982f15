"""Lists of class names as people and data sets write them: text, tables and JSON; `docs/vocabularies.md` lists them."""

from __future__ import annotations

import csv
import json
import re
from typing import TYPE_CHECKING, Any

from activesam_ros.vocabulary.canonical import canonical_name, match_key
from activesam_ros.vocabulary.formats import Content, FormatError, Located, content_of, parse_located
from activesam_ros.vocabulary.vocabulary import ClassSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

# What the column or key of the names is called, without case, spaces and punctuation; the one to prefer first.
_NAME_KEYS = (
    "readable",
    "name",
    "classname",
    "labelname",
    "categoryname",
    "displayname",
    "class",
    "label",
    "category",
)
_NUMBER_KEYS = (
    "id",
    "idx",
    "index",
    "number",
    "value",
    "pixelvalue",
    "classid",
    "labelid",
    "categoryid",
    "trainid",
)
# Keys of JSON below which the classes stand.
_LIST_KEYS = ("classes", "names", "labels", "categories", "id2label", "label2id")
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")
_LETTER = r"[^\W\d_]"
_RGB = r"[0-9]+[\s,]+[0-9]+[\s,]+[0-9]+"
# Lines that hold more than a name; a list has one kind throughout.
_LINES = (
    re.compile(r"(?P<name>[^:]+):[0-9]+,[0-9]+,[0-9]+(:[^:]*:[^:]*)?"),  # CVAT: road:128,64,128::
    re.compile(rf"{_RGB}[\s,]+(?P<name>{_LETTER}.*)"),
    re.compile(rf"(?P<number>[0-9]+)[\s,:;]+(?P<name>.*{_LETTER}.*?)[\s,:;]+{_RGB}"),
    re.compile(rf"(?P<name>.*{_LETTER}.*?)[\s,:;]+{_RGB}"),
    re.compile(r"[\[(]?(?P<number>[0-9]+)(\s*[:.)\],;=|]\s*|\s+-\s+|(?P<loose>\s+))(?P<name>[^\s\d].*)"),
    re.compile(rf"(?P<name>.*{_LETTER}.*?)(\s*[:,;=|\t]\s*|(?P<loose>\s+))(?P<number>[0-9]+)"),
    re.compile(r"([*+•·–—]|n[0-9]{8})\s+(?P<name>.+)"),  # bullets; WordNet's numbers, as ImageNet has them
)
_QUOTED = re.compile(r"""(?P<quote>["'])(?P<name>((?!(?P=quote)).)+)(?P=quote),?""")
# What is in no class name, but in code and data.
_DATA = re.compile(r"""[{}\[\]<>|"\t]|:\s|://|.=""")
# More are no phrase, if they are all that a file has.
_MOST_WORDS = 8


def parse_text(text: str) -> Content:
    """Parse text with one class a line, commas between aliases, `#` before a comment; or a numbered list or table.

    Raises:
        FormatError: the text is no list of class names.
    """
    if text.lstrip()[:1] in ("[", "{") and not re.match(r"\s*\[[0-9]+\]\s*[^\s,]", text):
        return parse_json(text)
    lines = [
        (number, stated)
        for number, content in enumerate(re.split(r"\r\n|\r|\n", text), start=1)
        if (stated := re.sub(r"(^|\s)#.*", "", content).strip(" \t"))
    ]
    if not lines:
        raise FormatError(None, "has no classes; write one a line")
    found = _read_lines(lines)
    if found is not None:
        return _content(found)
    for delimiter in ("\t", ",", ";"):
        rows = [(line, [cell.strip() for cell in stated.split(delimiter)]) for line, stated in lines]
        if _has_numbers(rows) or (delimiter == "\t" and "\t" in text):
            return _parse_table(rows)
    if len(lines) == 1:
        lines = _in_one_line(*lines[0])
    for line, stated in lines:
        _refuse_data(line, stated)
    if all(_NUMBER.fullmatch(stated) for _, stated in lines) and len(lines) > 1:
        raise FormatError(lines[0][0], "this is a list of numbers; expected class names, one a line")
    return content_of([parse_located(stated, line) for line, stated in lines])


def parse_table(text: str) -> Content:
    """Parse CSV with commas, semicolons, tabs or bars; names in the column that is called so, or the only one of words.

    Raises:
        FormatError: it is not clear which column has the names.
    """
    first = next((line for line in text.splitlines() if line.strip()), "")
    delimiter = max("\t;,|", key=first.count)
    if delimiter not in first and first.count('"') < 2 and match_key(first) not in _NAME_KEYS:
        return parse_text(text)
    try:
        reader = csv.reader(text.splitlines(), delimiter=delimiter, skipinitialspace=True)
        rows = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader if any(cells)]
    except csv.Error as error:
        raise FormatError(None, f"is no table ({error}); expected CSV") from error
    return _parse_table([(line, cells) for line, cells in rows if not cells[0].startswith("#")])


def parse_json(text: str) -> Content:
    """Parse JSON: a list of names or of objects with a name, numbers and names either way, or a key with one of these.

    Raises:
        FormatError: it is not JSON, or something else.
    """
    try:
        content = json.loads(text, object_pairs_hook=_unique)
    except json.JSONDecodeError as error:
        raise FormatError(error.lineno, f"this is not JSON ({error.msg})") from error
    except RecursionError as error:
        raise FormatError(1, "this is nested too deeply; expected a list of names") from error
    names = _names_in(content)
    if not names:
        raise FormatError(
            None,
            'is JSON without class names; expected ["road", "car"], {"0": "road"}, or objects with a name',
        )
    return _content([(1, name) for name in names])


def _read_lines(lines: Sequence[tuple[int, str]]) -> list[tuple[int, str]] | None:
    """Return the line and name of every class of a list that has numbers, colours or quotes too; None: it has not."""
    quoted = [_QUOTED.fullmatch(stated) for _, stated in lines]
    if all(quoted):
        return [(line, one["name"]) for (line, _), one in zip(lines, quoted, strict=True) if one]
    for pattern in _LINES:
        found = [one for _, stated in lines if (one := pattern.fullmatch(stated))]
        if len(found) < len(lines):
            continue
        parts = [one.groupdict() for one in found]
        names = [(line, one["name"]) for (line, _), one in zip(lines, parts, strict=True)]
        if "number" not in parts[0]:
            return names
        numbers = [int(one["number"]) for one in parts]
        # "2 door car" and "terminal 2" are numbered only if the others are other names with the next numbers.
        loose = any(one.get("loose") for one in parts)
        counted = numbers == list(range(numbers[0], numbers[0] + len(lines))) and numbers[0] < 2
        counted = counted and len({one["name"] for one in parts}) == len(lines) > 1
        if len(set(numbers)) == len(lines) and (counted or not loose):
            return [name for _, name in sorted(zip(numbers, names, strict=True))]
    return None


def _in_one_line(line: int, stated: str) -> list[tuple[int, str]]:
    if ";" in stated:
        return [(line, name.strip()) for name in stated.rstrip("; ").split(";")]
    count = max(stated.count(",") + 1, len(stated.split()) if len(stated.split()) > _MOST_WORDS else 1)
    if count > 1:
        raise FormatError(
            line,
            f"all {count} names are on one line, where commas separate the aliases of one class; write one class a "
            "line, or put semicolons between classes, or one at the end",
        )
    return [(line, stated)]


def _refuse_data(line: int, stated: str) -> None:
    if stated.startswith("- ") or stated.endswith(":"):
        raise FormatError(
            line, f"{stated!r} looks like YAML, but the file is read as text; let its name end in .yaml"
        )
    shown = stated if len(stated) <= 60 else f"{stated[:60]}…"
    numbers = [cell for cell in stated.split(",")[1:] if _NUMBER.fullmatch(cell.strip())]
    if _DATA.search(stated) or numbers or re.match(r"[0-9]+\s*[:,;\t]", stated):
        raise FormatError(
            line,
            f"{shown!r} is no class name and not written like the other lines; expected one class a line",
        )
    if ";" in stated:
        raise FormatError(
            line, f"{shown!r} has semicolons; write one class a line, with commas between aliases"
        )


def _has_numbers(rows: Sequence[tuple[int, list[str]]]) -> bool:
    """Whether rows below the first are equally long and have a column of numbers throughout."""
    cells = [cells for _, cells in rows[1:]]
    if not cells or len({len(one) for one in cells}) > 1 or len(cells[0]) < 2:
        return False
    return any(all(_NUMBER.fullmatch(cell) for cell in column) for column in zip(*cells, strict=True))


def _parse_table(rows: Sequence[tuple[int, list[str]]]) -> Content:
    if not rows:
        raise FormatError(None, "has no classes; write one a line")
    line, header = rows[0]
    for row, cells in rows:
        if len(cells) != len(header):
            raise FormatError(row, f"this row has {len(cells)} columns, and line {line} has {len(header)}")
    keys = [match_key(cell) for cell in header]
    named = [keys.index(key) for key in _NAME_KEYS if key in keys]
    body = rows[1:]
    columns = list(zip(*(cells for _, cells in body), strict=True)) if body else []
    of_numbers = [all(_NUMBER.fullmatch(cell) for cell in column) for column in columns]
    stated = any(
        number and not _NUMBER.fullmatch(cell) for number, cell in zip(of_numbers, header, strict=False)
    )
    if not named and not stated:
        body = rows
        columns = list(zip(*(cells for _, cells in body), strict=True))
        of_numbers = [all(_NUMBER.fullmatch(cell) for cell in column) for column in columns]
    words = named or [place for place, number in enumerate(of_numbers) if not number]
    if not body or not words or (len(words) > 1 and not named):
        raise FormatError(
            line,
            "it is not clear which column has the class names; call it name in the first line, or give only it",
        )
    names = [(row, cells[words[0]].replace(";", ",")) for row, cells in body]
    numbers = [place for place, key in enumerate(keys) if key in _NUMBER_KEYS and body is not rows]
    if not numbers and sum(of_numbers) == 1:
        numbers = [of_numbers.index(True)]
    if numbers and all(re.fullmatch("-?[0-9]+", cell) for cell in columns[numbers[0]]):
        order = [int(cell) for cell in columns[numbers[0]]]
        if len(set(order)) == len(order):
            names = [name for _, name in sorted(zip(order, names, strict=True))]
    return _content(names)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for key, value in pairs:
        if key in content:
            raise FormatError(None, f"has the key {key!r} twice; remove one")
        content[key] = value
    return content


def _names_in(content: Any) -> list[str]:
    """Return the names in JSON, ordered by their numbers if they have some; empty: it is something else."""
    if isinstance(content, dict):
        if content and all(key.isdecimal() for key in content):
            ordered = [content[key] for key in sorted(content, key=int)]
            return ordered if all(isinstance(name, str) for name in ordered) else _names_in(ordered)
        if content and all(type(number) is int for number in content.values()):
            return sorted(content, key=content.__getitem__)
        return next((names for key in _LIST_KEYS if (names := _names_in(content.get(key)))), [])
    if not isinstance(content, list) or not content:
        return []
    if all(isinstance(name, str) for name in content):
        return content
    if not all(isinstance(one, dict) for one in content):
        return []
    plain = [{match_key(key): value for key, value in one.items()} for one in content]
    key = next((key for key in _NAME_KEYS if all(isinstance(one.get(key), str) for one in plain)), None)
    if key is None:
        return []
    number = next((key for key in _NUMBER_KEYS if all(type(one.get(key)) is int for one in plain)), None)
    if number and len({one[number] for one in plain}) == len(plain):
        plain = sorted(plain, key=lambda one: one[number])
    return [one[key] for one in plain]


def _content(names: Sequence[tuple[int, str]]) -> Content:
    """Make the content of a data set's list, in which classes may share synonyms: those stay with the first class."""
    classes = [parse_located(name.strip(), line) for line, name in names]
    owners: dict[str, int] = {}
    for place, one in enumerate(classes):
        owners.setdefault(match_key(canonical_name(one.spec.prompts[0])), place)
    kept = []
    for place, one in enumerate(classes):
        first, *others = one.spec.prompts
        own = [
            prompt
            for prompt in others
            if owners.setdefault(match_key(canonical_name(prompt)), place) == place
        ]
        kept.append(Located(ClassSpec(one.spec.name, (first, *dict.fromkeys(own))), one.line))
    return content_of(kept)
