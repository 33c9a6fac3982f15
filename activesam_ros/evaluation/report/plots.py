"""Draw the plots of the report as PNGs, dark on white, in colours that are safe for colour-blind readers."""

from __future__ import annotations

from functools import wraps
from io import BytesIO
from typing import TYPE_CHECKING, Any, ParamSpec

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from activesam_ros.evaluation.metrics import Percentiles
from activesam_ros.evaluation.report import formatting
from activesam_ros.evaluation.report.findings import EVERY_CLASS, NO_CLASS, score_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from matplotlib.axes import Axes

    from activesam_ros.evaluation.records import FrameRecord
    from activesam_ros.evaluation.summary import Results, Summary, TruthSummary

P = ParamSpec("P")
Number = float | None

INK = "#1d2733"
FAINT = "#5b6673"
GRID = "#d9dee3"
FIRST = "#0b5cad"
OTHER = "#9aa5b1"
WARN = "#d55e00"
SERIES = ("#0b5cad", "#d55e00", "#009e73", "#8a4f9e", "#7a5c00", "#3d3d3d", "#56b4e9")
"""Colours of methods, after Okabe and Ito, darkened until lines show on white; markers differ too."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
MAX_BARS = 40
MAX_CONFUSED = 24

_WIDTH_INCHES = 4.4  # Fills the width of a telephone, with letters as large as the text.
_PIXELS_PER_INCH = 200
_ROW = 0.21
_NAME_LENGTH = 24
_STAGES = ("prepare", "preview", "encode", "decode", "fuse")

_STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.labelsize": 9,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": False,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "text.color": INK,
    "text.parse_math": False,  # A class may be called "$ sign".
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
}


def styled(draw: Callable[P, Figure | None]) -> Callable[P, bytes]:
    """Decorate a function that draws a figure: draw it in the report's style and return a PNG, empty for None."""

    @wraps(draw)
    def drawn(*arguments: P.args, **named: P.kwargs) -> bytes:
        content = BytesIO()
        with matplotlib.rc_context(_STYLE):
            made = draw(*arguments, **named)
            if made is not None:
                # Without the software's name and version: the same numbers give the same file.
                made.savefig(content, format="png", dpi=_PIXELS_PER_INCH, metadata={"Software": None})
        return content.getvalue()

    return drawn


def figure(height: float, rows: int = 1, **options: Any) -> tuple[Figure, list[Axes]]:
    """Make a figure (height in inches) and its axes, without pyplot, which would keep every figure."""
    made = Figure(figsize=(_WIDTH_INCHES, height), layout="constrained")
    FigureCanvasAgg(made)
    return made, list(made.subplots(rows, 1, squeeze=False, **options)[:, 0])


@styled
def methods(summaries: Sequence[Summary]) -> Figure | None:
    """Draw mIoU (agreement without truth), speed and work of every method; None for a single method."""
    if len(summaries) < 2:
        return None
    score, title = [one.truth.mean_iou if one.truth else None for one in summaries], "mIoU, %"
    if all(value is None for value in score):
        score = [one.agreement for one in summaries]
        title = "same label as full-vocabulary, % of pixels"
    rates, works = [one.rate for one in summaries], [one.work for one in summaries]
    groups: list[tuple[str, list[Number], list[str]]] = [
        (title, [None if share is None else 100 * share for share in score],
         [formatting.percent(share) for share in score]),
        ("frames a second", rates, [formatting.rate(rate) for rate in rates]),
        ("work a frame", works, [formatting.work(work) for work in works]),
    ]  # fmt: skip
    groups = [group for group in groups if any(value is not None for value in group[1])]
    if not groups:
        return None
    names = [one.method for one in summaries]
    made, axes = figure(
        sum(0.42 + _ROW * len(names) for _ in groups), len(groups), gridspec_kw={"hspace": 0.02}
    )
    colours = [FIRST] + [OTHER] * (len(names) - 1)
    for ax, (title, numbers, texts) in zip(axes, groups, strict=True):
        values = _array(numbers)
        ax.barh(range(len(names)), np.nan_to_num(values), color=colours, height=0.66)
        top = max(1e-12, float(np.nanmax(values, initial=0.0)))
        for row, (value, text) in enumerate(zip(values, texts, strict=True)):
            ax.text(np.nan_to_num(value) + 0.015 * top, row, text, va="center", fontsize=8.5)
        ax.set_xlim(0, top * 1.3)
        ax.set_title(title)
        _name_rows(ax, names)
        ax.xaxis.set_major_locator(NullLocator())
        ax.spines["bottom"].set_visible(False)
    return made


@styled
def class_bars(summary: Summary, truth: TruthSummary, results: Results) -> Figure:
    """Draw the IoU of each class, weakest first, with marks for a method that decodes every class."""
    known = [(one.iou, index) for index, one in enumerate(truth.classes) if one.iou is not None]
    order = [index for _, index in sorted(known, key=lambda pair: pair[0])[:MAX_BARS]]
    names = [truth.classes[index].name for index in order]
    made, (ax,) = figure(0.75 + _ROW * len(names))
    values = _array([truth.classes[index].iou for index in order])
    ax.barh(range(len(names)), 100 * np.nan_to_num(values), color=FIRST, height=0.66, label=summary.method)
    other = next((found for name in EVERY_CLASS if (found := results.summary(name)) and found.truth), None)
    if other is not None and other.truth is not None and other is not summary:
        ax.scatter(
            100 * _array([other.truth.classes[index].iou for index in order]), range(len(names)), marker="D", s=20,
            color="white", edgecolor=INK, zorder=3, clip_on=False, label=other.method,
        )  # fmt: skip
        made.legend(loc="outside upper left", ncols=2, handletextpad=0.4, columnspacing=1.2)
    ax.set_xlim(0, 103)
    ax.set_xlabel("IoU, %")
    ax.xaxis.grid(True)
    _name_rows(ax, names)
    return made


@styled
def confusion(truth: TruthSummary, names: Sequence[str]) -> Figure:
    """Draw the confusion matrix in shares of each true class; of many classes those with the most wrong pixels."""
    rows, columns, shares = _confusion_shares(truth, names)
    size = len(rows)
    made, (ax,) = figure(1.75 + 2.65 * min(1.6, max(0.75, size / max(1, len(columns)))))
    ax.imshow(100 * shares, cmap="Blues", vmin=0, vmax=100, aspect="auto", interpolation="nearest")
    small = 8.5 if size <= 12 else 8 if size <= 20 else 7
    ax.set_yticks(range(size), [_short(name) for name in rows], fontsize=small)
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


def _confusion_shares(truth: TruthSummary, names: Sequence[str]) -> tuple[list[str], list[str], np.ndarray]:
    """Return names of rows and columns, and shares of each true class [row, column]; NaN for one without pixels."""
    size = len(names)
    counts = np.zeros((size, size + 1))
    for true, label, pixels in truth.confusion:
        counts[true, label] = pixels
    hit = np.diagonal(counts)
    wrong = counts.sum(axis=1) - hit + counts[:, :-1].sum(axis=0) - hit
    seen = [index for index in range(size) if counts[index].any() or counts[:, index].any()]
    chosen = sorted(sorted(seen, key=lambda index: -wrong[index])[:MAX_CONFUSED])
    rows = [names[index] for index in chosen]
    columns = list(rows)
    kept = counts[np.ix_(chosen, chosen)]
    if len(chosen) < len(seen):
        rest = counts[chosen][:, [index for index in seen if index not in chosen]].sum(axis=1, keepdims=True)
        kept = np.hstack([kept, rest])
        columns.append("other classes")
    kept = np.hstack([kept, counts[chosen, size:]])
    total = counts[chosen].sum(axis=1, keepdims=True)
    shares = np.divide(kept, total, out=np.full(kept.shape, np.nan), where=total > 0)
    return rows, [*columns, NO_CLASS], shares


@styled
def active_set(records: Sequence[FrameRecord]) -> Figure | None:
    """Draw size and recall of the active set over time; None if no record has an active set."""
    records = [record for record in records if record.active is not None]
    if not records:
        return None
    scored = any(record.truth is not None for record in records)
    rows = 2 if scored else 1
    made, axes = figure(1.95 * rows + 0.35, rows, sharex=True)
    times = _seconds(records)
    _trace(axes[0], times, [len(record.active or ()) for record in records], FIRST, "decoded")
    if scored:
        present = [len(record.truth.present) if record.truth else None for record in records]
        _trace(axes[0], times, present, WARN, "in the truth")
        axes[0].legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=2, borderaxespad=0, handlelength=1.2)
        recalls = [_recall(record) for record in records]
        _trace(axes[1], times, [None if one is None else 100 * one for one in recalls], FIRST, "")
        axes[1].set_title("classes in the truth that were decoded (recall), %")
        axes[1].set_ylabel("recall, %")
        axes[1].set_ylim(-3, 103)
    else:
        axes[0].set_title("classes decoded")
    axes[0].set_ylabel("classes")
    axes[0].set_ylim(0, 1.08 * max(1.0, axes[0].dataLim.ymax))
    axes[0].yaxis.set_major_locator(MaxNLocator(5, integer=True))
    for ax in axes:
        ax.yaxis.grid(True)
    axes[-1].set_xlabel("seconds since the first image")
    return made


@styled
def latency(records: Sequence[FrameRecord]) -> Figure | None:
    """Draw the time per frame, over time and as a histogram with median and 95th percentile; None if not timed."""
    timed = [record for record in records if "total" in record.timings]
    values = np.array([1000 * record.timings["total"] for record in timed])
    spread = Percentiles.of(values.tolist())
    if spread is None:
        return None
    median, high = spread.p50, spread.p95
    # A single frame that took a hundred times as long must not flatten the others.
    limit = float(min(1.05 * values.max(), 3 * np.percentile(values, 95))) or 1.0
    made, axes = figure(4.1, 2)
    axes[0].plot(
        _seconds(timed), np.minimum(values, 0.99 * limit), ".", color=FIRST, markersize=3, alpha=_fade(len(values))
    )  # fmt: skip
    axes[0].axhline(median, color=INK, linewidth=1)
    axes[0].axhline(high, color=WARN, linewidth=1, linestyle="--")
    axes[0].set_ylim(0, limit)
    axes[0].set_ylabel("ms a frame")
    axes[0].set_xlabel("seconds since the first image")
    beyond = int((values > limit).sum())
    label = f"{timed[0].method}, time a frame"
    axes[0].set_title(f"{label} ({beyond} slower, at the edge)" if beyond else label)
    axes[0].yaxis.grid(True)
    axes[1].hist(np.minimum(values, limit), bins=min(40, max(5, len(values) // 4)), color=FIRST)
    for value, name, colour, line in ((median, "median", INK, "-"), (high, "95 %:", WARN, "--")):
        text = f"{name} {formatting.milliseconds(value / 1000)}"
        axes[1].axvline(value, color=colour, linewidth=1.2, linestyle=line, label=text)
    axes[1].set_xlabel("ms a frame")
    axes[1].set_ylabel("frames")
    axes[1].yaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes[1].legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=2, borderaxespad=0, handlelength=1.2)
    return made


@styled
def stages(summaries: Sequence[Summary]) -> Figure | None:
    """Draw the mean time of each stage of every method as stacked bars; None if no stage was timed."""
    known = [stage for stage in _STAGES if any(stage in one.timings for one in summaries)]
    if not known:
        return None
    names = [one.method for one in summaries]
    made, (ax,) = figure(1.05 + _ROW * len(names))
    left = np.zeros(len(names))
    hatches = ("", "", "////", "", "....", "")
    fills = ("#3d3d3d", "#56b4e9", "#cfe3f5", "#0b5cad", "#f0c27a", "#9aa5b1")
    for number, stage in enumerate(known):
        width = np.array(
            [1000 * one.timings[stage].mean if stage in one.timings else 0.0 for one in summaries]
        )
        ax.barh(
            range(len(names)), width, left=left, height=0.66, label=stage, color=fills[number % len(fills)],
            hatch=hatches[number % len(hatches)], edgecolor="white", linewidth=0.4,
        )  # fmt: skip
        left += width
    _name_rows(ax, names)
    ax.set_xlabel("ms a frame, mean")
    ax.xaxis.grid(True)
    made.legend(loc="outside upper left", ncols=3, handlelength=1.2, columnspacing=1.2, handletextpad=0.5)
    return made


@styled
def robustness(results: Results, methods: Sequence[str]) -> Figure | None:
    """Draw mIoU (agreement without truth) under every corruption, over its severity; None if there is none."""
    corrupted = [(name, *name.partition(":")[::2]) for name in results.corruptions if name]
    lines: list[tuple[str, Number, dict[tuple[str, int], Number]]] = []
    for method in methods:
        scores = {(kind, int(level or 0)): score_of(results, method, name) for name, kind, level in corrupted}
        if any(value is not None for value in scores.values()):
            lines.append((method, score_of(results, method, ""), scores))
    if not lines:
        return None
    quantity = "mIoU, %" if any(one.truth for one in results.summaries) else "agreement, %"
    kinds = list(dict.fromkeys(kind for _, _, scores in lines for kind, _ in scores))
    levels = sorted({level for _, _, scores in lines for _, level in scores})
    if len(levels) == 1:
        return _single_severity(lines, kinds, levels[0], quantity)
    made, axes = figure(0.75 + 1.55 * len(kinds), len(kinds), sharex=True, sharey=True)
    for ax, kind in zip(axes, kinds, strict=True):
        for number, (method, clean, scores) in enumerate(lines):
            points = {0: clean} | {level: scores.get((kind, level)) for level in levels}
            shown = {level: 100 * value for level, value in points.items() if value is not None}
            ax.plot(
                list(shown), list(shown.values()), color=SERIES[number % len(SERIES)],
                marker=MARKERS[number % len(MARKERS)], markersize=4.5, linewidth=1.3, label=method,
            )  # fmt: skip
        ax.set_title(kind.replace("_", " "))
        ax.set_ylabel(quantity)
        ax.set_ylim(0, None)
        ax.yaxis.grid(True)
    axes[-1].xaxis.set_major_locator(FixedLocator([0, *levels]))
    axes[-1].xaxis.set_major_formatter(
        FuncFormatter(lambda level, _: "clean" if level == 0 else f"{level:g}")
    )
    axes[-1].set_xlabel("severity")
    made.legend(*axes[0].get_legend_handles_labels(), loc="outside upper left", ncols=2)
    return made


def _single_severity(
    lines: Sequence[tuple[str, Number, Mapping[tuple[str, int], Number]]],
    kinds: Sequence[str],
    severity: int,
    quantity: str,
) -> Figure:
    """Draw (method, clean score, scores by corruption and severity) as marks in a row for each corruption."""
    rows = ["clean", *kinds]
    made, (ax,) = figure(1.0 + 0.3 * len(rows) + 0.2 * ((len(lines) + 1) // 2))
    for number, (method, clean, scores) in enumerate(lines):
        values = [clean, *(scores.get((kind, severity)) for kind in kinds)]
        offset = 0.14 * (number - (len(lines) - 1) / 2)
        ax.scatter(
            100 * _array(values), np.arange(len(rows)) + offset, s=26, color=SERIES[number % len(SERIES)],
            marker=MARKERS[number % len(MARKERS)], label=method, zorder=3,
        )  # fmt: skip
    _name_rows(ax, [name.replace("_", " ") for name in rows])
    ax.yaxis.grid(True, linewidth=0.5)
    ax.xaxis.grid(True)
    ax.set_xlim(0, 100)
    ax.set_xlabel(f"{quantity}, at severity {severity} of 5")
    made.legend(loc="outside upper left", ncols=2, handletextpad=0.3, columnspacing=1.2)
    return made


def _name_rows(ax: Axes, names: Sequence[str]) -> None:
    ax.set_yticks(range(len(names)), [_short(name) for name in names])
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)


def _trace(ax: Axes, times: np.ndarray, numbers: Sequence[Number], colour: str, label: str) -> None:
    """Draw each frame as a dot with a running mean over them, or a line through the dots where they are few."""
    values = _array(numbers)
    known = np.isfinite(values)
    times, values = times[known], values[known]
    order = np.argsort(times, kind="stable")
    times, values = times[order], values[order]
    if len(values) <= 60:
        ax.plot(times, values, ".-", color=colour, markersize=4, linewidth=1, label=label)
        return
    ax.plot(times, values, ".", color=colour, markersize=2.5, alpha=_fade(len(values)) / 2)
    kernel = np.ones(max(5, len(values) // 60))
    # Divided by the number of frames under the window, which is less at the ends.
    smooth = np.convolve(values, kernel, "same") / np.convolve(np.ones(len(values)), kernel, "same")
    ax.plot(times, smooth, color=colour, linewidth=1.6, label=label)


def _recall(record: FrameRecord) -> Number:
    truth = record.truth
    if truth is None or truth.active is None or not truth.present:
        return None
    return 1 - len(truth.missed) / len(truth.present)


def _seconds(records: Sequence[FrameRecord]) -> np.ndarray:
    first = min(record.stamp for record in records)
    return np.array([(record.stamp - first) / 1e9 for record in records])


def _fade(count: int) -> float:
    return float(np.clip(300 / max(1, count), 0.15, 0.9))


def _array(values: Sequence[Number]) -> np.ndarray:
    return np.array([np.nan if value is None else value for value in values], np.float64)


def _short(name: str) -> str:
    return name if len(name) <= _NAME_LENGTH else name[: _NAME_LENGTH - 1] + "…"
