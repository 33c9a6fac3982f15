"""The spread of durations and sizes over the frames of a run."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True)
class Spread:
    """How values are spread.

    A percentile is the least of the values that at least this share of them does not exceed, so it is always one that
    occurred.

    Attributes:
        count: number of values.
        mean: their mean.
        least, p50, p90, p95, p99, most: percentiles, and the ends.
    """

    count: int
    mean: float
    least: float
    p50: float
    p90: float
    p95: float
    p99: float
    most: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread | None:
        """The spread of some values; None if there are none."""
        ascending = sorted(values)
        if not ascending:
            return None
        low, half, ninety, most_of, nearly_all, high = (
            ascending[max(math.ceil(percent * len(ascending) / 100), 1) - 1]
            for percent in (0, 50, 90, 95, 99, 100)
        )
        mean = math.fsum(ascending) / len(ascending)
        return cls(len(ascending), mean, low, half, ninety, most_of, nearly_all, high)
