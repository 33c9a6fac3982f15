"""Levels of diagnostics by stated rules: the first one that applies decides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from activesam_ros.ros.diagnostics import Level, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

V = TypeVar("V")


@dataclass(frozen=True)
class Rule(Generic[V]):
    """One rule about what is known of a part.

    Attributes:
        level: of the status if the rule applies.
        when: the rule in words, as the documentation has it.
        says: the sentence of the status; None if the rule does not apply.
    """

    level: Level
    when: str
    says: Callable[[V], str | None]


def judged(name: str, view: V, rules: Sequence[Rule[V]], values: Mapping[str, object]) -> Status:
    """The status of a part by the first rule that applies to `view`; the last rule applies always."""
    for rule in rules:
        message = rule.says(view)
        if message is not None:
            return Status(name, rule.level, message, values)
    raise ValueError(f"no rule applies to the {name}; the last one has to, always")


def known(values: Mapping[str, object]) -> dict[str, object]:
    """Without the values that are None."""
    return {key: value for key, value in values.items() if value is not None}
