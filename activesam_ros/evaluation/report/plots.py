"""The plots of the page. Each takes plain numbers and returns a PNG; NaN and None stand for what is not known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from activesam_ros.evaluation.report import wording
from activesam_ros.evaluation.report.style import (
    FIRST,
    INK,
    MARKERS,
    OTHER,
    SERIES,
    WARN,
    figure,
    styled,
)
from activesam_ros.evaluation.spread import Spread

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Number = float | None

_ROW = 0.21
_NAME_LENGTH = 24


@dataclass(frozen=True)
class Bars:
    """One figure of every method.

    Attributes:
        title: with the unit.
        values: one a method.
        texts: how each is written.
    """

    title: str
    values: Sequence[Number]
    texts: Sequence[str]


@styled
def methods(names: Sequence[str], groups: Sequence[Bars]) -> Figure:
    """Bars of every method, one group of bars below the other; the first method stands out."""
    made, axes = figure(
        sum(0.42 + _ROW * len(names) for _ in groups), len(groups), gridspec_kw={"hspace": 0.02}
    )
    colours = [FIRST] + [OTHER] * (len(names) - 1)
    for ax, group in zip(axes, groups, strict=True):
        values = _array(group.values)
        ax.barh(range(len(names)), np.nan_to_num(values), color=colours, height=0.66)
        top = max(1e-12, float(np.nanmax(values, initial=0.0)))
        for row, (value, text) in enumerate(zip(values, group.texts, strict=True)):
            ax.text(np.nan_to_num(value) + 0.015 * top, row, text, va="center", fontsize=8.5)
        ax.set_xlim(0, top * 1.3)
        ax.set_title(group.title)
        _rows(ax, names)
        ax.xaxis.set_major_locator(NullLocator())
        ax.spines["bottom"].set_visible(False)
    return made


@styled
def class_bars(
    names: Sequence[str],
    iou: Sequence[Number],
    method: str,
    other: Sequence[Number] | None = None,
    other_method: str = "",
) -> Figure:
    """IoU of each class as bars, and of another method as marks on them."""
    made, (ax,) = figure(0.75 + _ROW * len(names))
    values = _array(iou)
    ax.barh(range(len(names)), 100 * np.nan_to_num(values), color=FIRST, height=0.66, label=method)
    if other is not None:
        ax.scatter(
            100 * _array(other), range(len(names)), marker="D", s=20, color="white", edgecolor=INK, zorder=3,
            clip_on=False, label=other_method,
        )  # fmt: skip
        made.legend(loc="outside upper left", ncols=2, handletextpad=0.4, columnspacing=1.2)
    ax.set_xlim(0, 103)
    ax.set_xlabel("IoU, %")
    ax.xaxis.grid(True)
    _rows(ax, names)
    return made


@styled
def confusion(names: Sequence[str], shares: np.ndarray, columns: Sequence[str]) -> Figure:
    """What became of the pixels of each class, in shares of them.

    Args:
        names: of the true classes.
        shares: [true, column] in 0..1; a row of NaN: the class has no pixels.
        columns: names of what was predicted.
    """
    size = len(names)
    made, (ax,) = figure(1.75 + 2.65 * min(1.6, max(0.75, size / max(1, len(columns)))))
    ax.imshow(100 * shares, cmap="Blues", vmin=0, vmax=100, aspect="auto", interpolation="nearest")
    small = 8.5 if size <= 12 else 8 if size <= 20 else 7
    ax.set_yticks(range(size), [_short(name) for name in names], fontsize=small)
    ax.set_xticks(range(len(columns)), [_short(name) for name in columns], fontsize=small, rotation=90)
    ax.set_ylabel("truth")
    ax.set_xlabel("prediction")
    ax.set_title("% of the pixels of each true class")
    ax.tick_params(length=0)
    ax.set_xticks(np.arange(len(columns) + 1) - 0.5, minor=True)
    ax.set_yticks(np.arange(size + 1) - 0.5, minor=True)
    ax.grid(which="minor", color="white", linewidth=0.8)
    ax.tick_params(which="minor", length=0)
    if len(columns) <= 21:
        letters = 7.5 if len(columns) <= 12 else 6
        for row, column in np.argwhere(np.nan_to_num(shares) >= 0.01):
            share = shares[row, column]
            ax.text(
                column, row, f"{100 * share:.0f}", ha="center", va="center", fontsize=letters,
                color="white" if share > 0.55 else INK,
            )  # fmt: skip
    return made


@styled
def activity(
    seconds: Sequence[float],
    active: Sequence[Number],
    present: Sequence[Number] | None,
    recall: Sequence[Number] | None,
) -> Figure:
    """How many classes were decoded, how many the truth shows, and which share of these was decoded; over time."""
    rows = 1 if recall is None else 2
    made, axes = figure(1.95 * rows + 0.35, rows, sharex=True)
    times = _array(seconds)
    _trace(axes[0], times, _array(active), FIRST, "decoded")
    if present is not None:
        _trace(axes[0], times, _array(present), WARN, "in the truth")
        axes[0].legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=2, borderaxespad=0, handlelength=1.2)
    else:
        axes[0].set_title("classes decoded")
    axes[0].set_ylabel("classes")
    axes[0].set_ylim(0, 1.08 * max(1.0, axes[0].dataLim.ymax))
    axes[0].yaxis.set_major_locator(MaxNLocator(5, integer=True))
    if recall is not None:
        _trace(axes[1], times, 100 * _array(recall), FIRST, "")
        axes[1].set_title("classes in the truth that were decoded (recall), %")
        axes[1].set_ylabel("recall, %")
        axes[1].set_ylim(-3, 103)
    for ax in axes:
        ax.yaxis.grid(True)
    axes[-1].set_xlabel("seconds since the first image")
    return made


@styled
def latency(seconds: Sequence[float], milliseconds: Sequence[Number], label: str) -> Figure:
    """How long each frame took, over time and as a distribution, with the median and the 95th percentile."""
    made, axes = figure(4.1, 2)
    times, values = _array(seconds), _array(milliseconds)
    known = values[np.isfinite(values)]
    spread = Spread.of(known.tolist())
    median, high = spread.p50, spread.p95
    limit = _top(known)
    axes[0].plot(
        times, np.minimum(values, 0.99 * limit), ".", color=FIRST, markersize=3, alpha=_fade(len(values))
    )
    axes[0].axhline(median, color=INK, linewidth=1)
    axes[0].axhline(high, color=WARN, linewidth=1, linestyle="--")
    axes[0].set_ylim(0, limit)
    axes[0].set_ylabel("ms a frame")
    axes[0].set_xlabel("seconds since the first image")
    beyond = int((known > limit).sum())
    axes[0].set_title(f"{label} ({beyond} slower, at the edge)" if beyond else label)
    axes[0].yaxis.grid(True)
    axes[1].hist(np.minimum(known, limit), bins=min(40, max(5, len(known) // 4)), color=FIRST)
    axes[1].axvline(median, color=INK, linewidth=1.2, label=f"median {wording.milliseconds(median / 1000)}")
    axes[1].axvline(
        high, color=WARN, linewidth=1.2, linestyle="--", label=f"95 %: {wording.milliseconds(high / 1000)}"
    )
    axes[1].set_xlabel("ms a frame")
    axes[1].set_ylabel("frames")
    axes[1].yaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes[1].legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=2, borderaxespad=0, handlelength=1.2)
    return made


@styled
def stages(names: Sequence[str], parts: Mapping[str, Sequence[Number]]) -> Figure:
    """Where the time of each method goes: mean milliseconds of each stage, one after the other."""
    made, (ax,) = figure(1.05 + _ROW * len(names))
    left = np.zeros(len(names))
    hatches = ("", "", "////", "", "....", "")
    fills = ("#3d3d3d", "#56b4e9", "#cfe3f5", "#0b5cad", "#f0c27a", "#9aa5b1")
    for number, (stage, values) in enumerate(parts.items()):
        width = np.nan_to_num(_array(values))
        ax.barh(
            range(len(names)), width, left=left, height=0.66, label=stage, color=fills[number % len(fills)],
            hatch=hatches[number % len(hatches)], edgecolor="white", linewidth=0.4,
        )  # fmt: skip
        left += width
    _rows(ax, names)
    ax.set_xlabel("ms a frame, mean")
    ax.xaxis.grid(True)
    made.legend(loc="outside upper left", ncols=3, handlelength=1.2, columnspacing=1.2, handletextpad=0.5)
    return made


@dataclass(frozen=True)
class Degradation:
    """One method under corruptions.

    Attributes:
        method: its name.
        clean: its score on clean images, in %.
        scores: score in % of each corruption and severity.
    """

    method: str
    clean: Number
    scores: Mapping[tuple[str, int], Number]


@styled
def robustness(lines: Sequence[Degradation], quantity: str) -> Figure:
    """Scores under each corruption: over its severity, or as marks in a row where there is one severity only."""
    corruptions = list(dict.fromkeys(name for line in lines for name, _ in line.scores))
    severities = sorted({severity for line in lines for _, severity in line.scores})
    if len(severities) == 1:
        return _single_severity(lines, corruptions, severities[0], quantity)
    made, axes = figure(0.75 + 1.55 * len(corruptions), len(corruptions), sharex=True, sharey=True)
    for ax, corruption in zip(axes, corruptions, strict=True):
        for number, line in enumerate(lines):
            points = {0: line.clean} | {level: line.scores.get((corruption, level)) for level in severities}
            shown = {level: value for level, value in points.items() if value is not None}
            ax.plot(
                list(shown), list(shown.values()), color=SERIES[number % len(SERIES)],
                marker=MARKERS[number % len(MARKERS)], markersize=4.5, linewidth=1.3, label=line.method,
            )  # fmt: skip
        ax.set_title(corruption.replace("_", " "))
        ax.set_ylabel(quantity)
        ax.set_ylim(0, None)
        ax.yaxis.grid(True)
    axes[-1].xaxis.set_major_locator(FixedLocator([0, *severities]))
    axes[-1].xaxis.set_major_formatter(
        FuncFormatter(lambda level, _: "clean" if level == 0 else f"{level:g}")
    )
    axes[-1].set_xlabel("severity")
    made.legend(*axes[0].get_legend_handles_labels(), loc="outside upper left", ncols=2)
    return made


def _single_severity(
    lines: Sequence[Degradation], corruptions: Sequence[str], severity: int, quantity: str
) -> Figure:
    rows = ["clean", *corruptions]
    made, (ax,) = figure(1.0 + 0.3 * len(rows) + 0.2 * ((len(lines) + 1) // 2))
    for number, line in enumerate(lines):
        values = [line.clean, *(line.scores.get((corruption, severity)) for corruption in corruptions)]
        offset = 0.14 * (number - (len(lines) - 1) / 2)
        ax.scatter(
            _array(values), np.arange(len(rows)) + offset, s=26, color=SERIES[number % len(SERIES)],
            marker=MARKERS[number % len(MARKERS)], label=line.method, zorder=3,
        )  # fmt: skip
    _rows(ax, [name.replace("_", " ") for name in rows])
    ax.yaxis.grid(True, linewidth=0.5)
    ax.xaxis.grid(True)
    ax.set_xlim(0, 100)
    ax.set_xlabel(f"{quantity}, at severity {severity} of 5")
    made.legend(loc="outside upper left", ncols=2, handletextpad=0.3, columnspacing=1.2)
    return made


def _rows(ax: Axes, names: Sequence[str]) -> None:
    ax.set_yticks(range(len(names)), [_short(name) for name in names])
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)


def _trace(ax: Axes, times: np.ndarray, values: np.ndarray, colour: str, label: str) -> None:
    """Each frame as a dot and a running mean over them, or a line through the dots where they are few."""
    known = np.isfinite(values)
    times, values = times[known], values[known]
    order = np.argsort(times, kind="stable")
    times, values = times[order], values[order]
    if len(values) <= 60:
        ax.plot(times, values, ".-", color=colour, markersize=4, linewidth=1, label=label)
        return
    ax.plot(times, values, ".", color=colour, markersize=2.5, alpha=_fade(len(values)) / 2)
    window = max(5, len(values) // 60)
    kernel = np.ones(window)
    # Divided by the number of frames under the window, which is less at the ends.
    smooth = np.convolve(values, kernel, "same") / np.convolve(np.ones(len(values)), kernel, "same")
    ax.plot(times, smooth, color=colour, linewidth=1.6, label=label)


def _top(values: np.ndarray) -> float:
    """The end of an axis: a single frame that took a hundred times as long must not flatten the others."""
    return float(min(1.05 * values.max(), 3 * np.percentile(values, 95))) or 1.0


def _fade(count: int) -> float:
    return float(np.clip(300 / max(1, count), 0.15, 0.9))


def _array(values: Sequence[Number]) -> np.ndarray:
    return np.array([np.nan if value is None else value for value in values], np.float64)


def _short(name: str) -> str:
    return name if len(name) <= _NAME_LENGTH else name[: _NAME_LENGTH - 1] + "…"
