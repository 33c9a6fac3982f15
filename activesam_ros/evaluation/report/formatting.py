"""Format numbers with their units, and tables as Markdown; "–" stands for an unknown value."""

from __future__ import annotations

from math import floor, log10
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

UNKNOWN = "–"
_MINUS = "−"


def percent(share: float | None, digits: int = 1) -> str:
    """Format a share in 0..1: "71.2 %"."""
    return UNKNOWN if share is None else f"{100 * share:.{digits}f} %".replace("-", _MINUS)


def share(value: float) -> str:
    """Format a share in 0..1 for a legend: "8 %", "<1 %", "0 %"."""
    return "<1 %" if 0 < value < 0.005 else percent(value, 0)


def points(difference: float | None) -> str:
    """Format a difference of two shares in percentage points: "+1.9", "−0.3", "±0.0"."""
    if difference is None:
        return UNKNOWN
    rounded = f"{abs(100 * difference):.1f}"
    sign = "±" if float(rounded) == 0 else "+" if difference > 0 else _MINUS
    return sign + rounded


def better(difference: float) -> str:
    """Format a difference of two shares in words: "1.9 points better", "0.3 points worse", "no difference"."""
    rounded = f"{abs(100 * difference):.1f}"
    if float(rounded) == 0:
        return "no difference"
    return f"{rounded} points {'better' if difference > 0 else 'worse'}"


def factor(value: float | None) -> str:
    """Format a ratio: "2.6 ×"."""
    return UNKNOWN if value is None else f"{_three(value)} ×"


def rate(per_second: float | None) -> str:
    """Format frames per second without the unit, which is in the column header."""
    return UNKNOWN if per_second is None else _three(per_second)


def seconds(value: float) -> str:
    """Format seconds without the unit: "0.123", "12.3"."""
    return f"{value:.3f}" if value < 10 else f"{value:.1f}"


def milliseconds(value: float | None) -> str:
    """Format a short duration: "312 ms"."""
    return UNKNOWN if value is None else f"{_three(1000 * value)} ms"


def duration(value: float) -> str:
    """Format a long duration: "20.0 s", "3 min 20 s", "1 h 05 min"."""
    if value < 120:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def work(operations: float | None) -> str:
    """Format a number of floating-point operations: "33.3 TFLOP"."""
    if operations is None:
        return UNKNOWN
    for scale, unit in ((1e12, "TFLOP"), (1e9, "GFLOP"), (1e6, "MFLOP")):
        if operations >= scale:
            return f"{_three(operations / scale)} {unit}"
    return f"{operations:.0f} FLOP"


def memory(size: int | None) -> str:
    """Format bytes: "1.62 GB" (10⁹ bytes)."""
    if size is None:
        return UNKNOWN
    return f"{_three(size / 1e9)} GB" if size >= 1e9 else f"{_three(size / 1e6)} MB"


def count(number: float | None) -> str:
    """Format a mean count: "7.4"."""
    return UNKNOWN if number is None else f"{number:.1f}"


def listed(names: Sequence[str], most: int = 12) -> str:
    """Join names: "a, b and c", or "a, b and 7 more"."""
    if len(names) > most:
        return f"{', '.join(names[: most - 1])} and {len(names) - most + 1} more"
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def corruption(name: str) -> str:
    """Format the name of a corruption: "fog:3" as "fog, severity 3"."""
    kind, _, severity = name.partition(":")
    kind = kind.replace("_", " ")
    return f"{kind}, severity {severity}" if severity else kind or "clean"


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Format a Markdown table; all columns but the first are aligned to the right."""
    rule = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, rule, *rows])


def _three(value: float) -> str:
    """Format with three significant digits, but with all digits before the decimal point."""
    if value == 0:
        return "0"
    # The magnitude of the rounded value: 9.999 becomes 10.0, not 10.00.
    magnitude = floor(log10(abs(float(f"{value:.3g}"))))
    return f"{value:,.{min(max(2 - magnitude, 0), 6)}f}".replace(",", " ")
