"""The page and the text about a tuned vocabulary."""

from __future__ import annotations

import math
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING

from jinja2 import Environment, StrictUndefined

from activesam_ros.tuning.doubts import SILENT

if TYPE_CHECKING:
    from activesam_ros.tuning.tune import Tuned

# A change of the IoU below this is drawn without colour.
_NOTABLE = 0.005


@dataclass(frozen=True)
class _ClassRow:
    name: str
    kept: tuple[str, ...]
    added: tuple[str, ...]
    dropped: tuple[str, ...]
    before: str
    after: str
    tone: str


@dataclass(frozen=True)
class _TriedRow:
    phrase: str
    auc: str
    class_gain: float
    gain: float
    loser: str


def as_html(tuned: Tuned, about: str) -> str:
    """Return the page; ``about`` says what it was made of."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    template = resources.files("activesam_ros.tuning").joinpath("tune.html").read_text(encoding="utf-8")
    return environment.from_string(template).render(
        tuned=tuned, about=about, classes=_class_rows(tuned), tried=_tried_rows(tuned), silent=SILENT
    )


def as_text(tuned: Tuned) -> str:
    """Return what a person at a terminal wants to know first."""
    lines = []
    if verdict := tuned.verdict:
        gain = verdict.gain
        lines += [
            f"{row.name}: {', '.join(row.kept + row.added)}"
            + (f" instead of {', '.join(row.dropped)}" if row.dropped else "")
            for row in _class_rows(tuned)
            if row.added or row.dropped
        ] or ["no phrase is better than those that the vocabulary has"]
        lines += [
            f"background threshold {tuned.threshold:g}",
            f"on {verdict.frames} frames that had no part in the choice: mIoU {verdict.before.value:.3f} before, "
            f"{verdict.after.value:.3f} after; gain {gain.value:+.3f} ({gain.low:+.3f} to {gain.high:+.3f})",
        ]
    if silent := tuned.doubts.silent:
        lines.append(f"never fire: {', '.join(name for name, _ in silent)}")
    if fights := tuned.doubts.fights:
        lines.append("fight over pixels: " + "; ".join(f"{one.one} and {one.other}" for one in fights))
    return "\n".join(lines) + "\n"


def _class_rows(tuned: Tuned) -> list[_ClassRow]:
    ious = {name: (before, after) for name, before, after in tuned.verdict.classes} if tuned.verdict else {}
    rows = []
    for old, new in zip(tuned.given.classes, tuned.vocabulary.classes, strict=True):
        before, after = ious.get(old.name, (math.nan, math.nan))
        change = after - before
        rows.append(
            _ClassRow(
                old.name,
                tuple(one for one in new.prompts if one in old.prompts),
                tuple(one for one in new.prompts if one not in old.prompts),
                tuple(one for one in old.prompts if one not in new.prompts),
                _figure(before),
                _figure(after),
                "up" if change > _NOTABLE else "down" if change < -_NOTABLE else "",
            )
        )
    return rows


def _tried_rows(tuned: Tuned) -> list[tuple[str, list[_TriedRow]]]:
    names = tuned.given.names
    by_class: dict[str, list[_TriedRow]] = {}
    for one in tuned.choice.tried if tuned.choice else ():
        loser = "" if one.loser is None else f"{names[one.loser]} ({-one.loss:+.3f})"
        row = _TriedRow(tuned.phrases.texts[one.phrase], _figure(one.auc), one.class_gain, one.gain, loser)
        by_class.setdefault(names[one.class_index], []).append(row)
    return list(by_class.items())


def _figure(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3f}"
