"""What the page says of how a run was made, from the description in `run.json`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

Lines = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class MethodFacts:
    """A method: its name, one line on it, and what it does otherwise than the first, a sentence each."""

    name: str
    description: str = ""
    differences: tuple[str, ...] = ()


@dataclass(frozen=True)
class RunFacts:
    """What was asked for.

    Attributes:
        title: name of the recording.
        head: lines of (what, value) for the head of the page.
        machine: that it was measured on.
        command: that repeats the run; empty: not known.
        names: of the ids of the vocabulary.
        methods: in order.
        unmatched_truth: names in the truth that were not evaluated.
        unmatched_vocabulary: names in the vocabulary that were not evaluated.
        details: everything that is needed to repeat the run, as (group, lines of (what, value)).
    """

    title: str
    head: Lines = ()
    machine: str = ""
    command: str = ""
    names: Mapping[int, str] = field(default_factory=dict)
    methods: tuple[MethodFacts, ...] = ()
    unmatched_truth: tuple[str, ...] = ()
    unmatched_vocabulary: tuple[str, ...] = ()
    details: tuple[tuple[str, Lines], ...] = ()


_GROUPS = ("recording", "model", "versions")


def run_facts(run: Mapping[str, Any]) -> RunFacts:
    """The facts of a description, as `described_run` makes it; what it lacks is left out of the page."""
    recording, model = run.get("recording") or {}, run.get("model") or {}
    vocabulary, matching = run.get("vocabulary") or [], run.get("matching") or {}
    head = [
        ("model", _text(model.get("name"))),
        ("vocabulary", f"{len(vocabulary)} classes"),
        ("made", _text(run.get("made")).replace("T", " ").replace("+00:00", " UTC")),
    ]
    return RunFacts(
        title=PurePath(recording.get("path") or "").name or "a recording",
        head=tuple(head),
        machine=run.get("machine") or "",
        command=run.get("command") or "",
        names={int(one["id"]): str(one["name"]) for one in vocabulary},
        methods=tuple(
            MethodFacts(one["name"], one.get("description", ""), tuple(one.get("differences", ())))
            for one in run.get("methods") or ()
        ),
        unmatched_truth=tuple(matching.get("unmatched_truth", ())),
        unmatched_vocabulary=tuple(matching.get("unmatched_vocabulary", ())),
        details=_details(run, vocabulary),
    )


def _details(
    run: Mapping[str, Any], vocabulary: Sequence[Mapping[str, Any]]
) -> tuple[tuple[str, Lines], ...]:
    groups = [(name, _lines(run[name])) for name in _GROUPS if run.get(name)]
    methods = run.get("methods") or ()
    if methods:
        groups.insert(2, (f"settings of {methods[0]['name']}", _lines(methods[0].get("settings") or {})))
    for other in methods[1:]:
        first, own = methods[0].get("settings") or {}, other.get("settings") or {}
        changed = {name: value for name, value in own.items() if first.get(name) != value}
        groups.insert(
            -1, (f"other settings of {other['name']}", _lines(changed) or (("settings", "the same"),))
        )
    words = [", ".join([one["name"], *(f"“{each}”" for each in one.get("prompts", ()) if each != one["name"])])
             for one in vocabulary]  # fmt: skip
    more = {
        "corruptions": run.get("corruptions"),
        "seed of the corruptions": run.get("seed"),
        "vocabulary": "; ".join(words),
        "machine": run.get("machine"),
    }
    return (*groups, ("other", _lines(more)))


def _lines(values: Mapping[str, Any]) -> Lines:
    return tuple((str(name).replace("_", " "), _text(value)) for name, value in values.items())


def _text(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        return "; ".join(f"{key}: {_text(each)}" for key, each in value.items())
    if isinstance(value, Sequence):
        return ", ".join(_text(each) or "none" for each in value) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)
