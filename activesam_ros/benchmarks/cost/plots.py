"""The picture of the counted work."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from activesam_ros.evaluation.report.plots import FIRST, MARKERS, OTHER, SERIES, WARN, figure, styled

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from activesam_ros.benchmarks.cost.work import Counted, WorkBenchmark

TERA = 1e12
_STAGES = {"preview": OTHER, "encode": FIRST, "decode": WARN}
_SHOWN_WORDS = 150


@styled
def work_plot(found: WorkBenchmark) -> Figure:
    """The stages at 150 words, and growth with the vocabulary and the image: a PNG."""
    made, (bars, words, sizes) = figure(8.4, 3, gridspec_kw={"height_ratios": (1.0, 1.7, 1.7)})
    _stages(bars, [one for one in found.vocabularies if one.scale.words == _SHOWN_WORDS])
    _growth(words, found.growing_words, lambda one: one.scale.words, "words in the vocabulary", log=True)
    words.set_title("Work grows with the vocabulary")
    _growth(sizes, found.growing_sizes, lambda one: one.scale.image_size, "side of the image, pixels")
    sizes.set_title(f"and with the image, {_SHOWN_WORDS} words")
    handles, labels = words.get_legend_handles_labels()
    made.legend(handles, labels, loc="outside lower center", ncols=3)
    return made


def _stages(ax: Axes, rows: Sequence[Counted]) -> None:
    # The image encoded anew for every class is ten times the next one, and would flatten all others.
    rows = [one for one in rows if one.way != "per-class"]
    for row, one in enumerate(rows):
        left = 0.0
        for stage, colour in _STAGES.items():
            width = getattr(one.work, stage) / TERA
            ax.barh(row, width, left=left, color=colour, height=0.66, label=None if row else stage)
            left += width
        ax.text(left + 0.8, row, f"{left:.1f}", va="center", fontsize=8.5)
    ax.set_yticks(range(len(rows)), [one.way for one in rows])
    ax.invert_yaxis()
    ax.set_xlim(0, 1.12 * max(one.total for one in rows) / TERA)
    ax.xaxis.set_major_locator(NullLocator())
    ax.spines["bottom"].set_visible(False)
    ax.tick_params(left=False)
    ax.legend(loc="lower right")
    ax.set_title(f"10¹² operations an image, {_SHOWN_WORDS} words")


def _growth(
    ax: Axes, counted: Sequence[Counted], where: Callable[[Counted], int], label: str, log: bool = False
) -> None:
    ways = list(dict.fromkeys(one.way for one in counted))
    for way, colour, marker in zip(ways, SERIES, MARKERS, strict=False):
        points = [one for one in counted if one.way == way]
        ax.plot(
            [where(one) for one in points],
            [one.total / TERA for one in points],
            color=colour,
            marker=marker,
            markersize=4,
            label=way,
        )
    ax.set_yscale("log")
    if log:
        ax.set_xscale("log")
    ticks = sorted({where(one) for one in counted})
    ax.xaxis.set_major_locator(FixedLocator(ticks if not log else [tick for tick in ticks if tick != 60]))
    ax.xaxis.set_minor_locator(NullLocator())
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.grid(axis="y")
    ax.set_xlabel(label)
    ax.set_ylabel("10¹² operations")
