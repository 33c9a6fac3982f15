"""How the plots look: dark on white, in colours that people with any common colour blindness tell apart."""

from __future__ import annotations

from functools import wraps
from io import BytesIO
from typing import TYPE_CHECKING, Any, ParamSpec

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.axes import Axes

P = ParamSpec("P")

INK = "#1d2733"
FAINT = "#5b6673"
GRID = "#d9dee3"
FIRST = "#0b5cad"
OTHER = "#9aa5b1"
WARN = "#d55e00"
SERIES = ("#0b5cad", "#d55e00", "#009e73", "#8a4f9e", "#7a5c00", "#3d3d3d", "#56b4e9")
"""Colours of methods, after Okabe and Ito, darkened until lines show on white; markers differ too."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X")

WIDTH = 4.4
"""Inches. On a telephone such a plot fills the width, and its letters come out as large as the text."""
_PIXELS_PER_INCH = 200

_RULES: dict[str, Any] = {
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
    # A class may be called "$ sign".
    "text.parse_math": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
}


def styled(draw: Callable[P, Figure]) -> Callable[P, bytes]:
    """Makes a function that draws a figure one that draws it in this style and returns it as a PNG."""

    @wraps(draw)
    def drawn(*arguments: P.args, **named: P.kwargs) -> bytes:
        with matplotlib.rc_context(_RULES):
            content = BytesIO()
            # Without the software's name and version: the same numbers give the same file.
            draw(*arguments, **named).savefig(
                content, format="png", dpi=_PIXELS_PER_INCH, metadata={"Software": None}
            )
        return content.getvalue()

    return drawn


def figure(height: float, rows: int = 1, **options: Any) -> tuple[Figure, list[Axes]]:
    """An empty figure and its axes, from top to bottom; without pyplot, which would keep every figure.

    Args:
        height: in inches.
        rows: of axes.
        options: for `Figure.subplots`.
    """
    made = Figure(figsize=(WIDTH, height), layout="constrained")
    FigureCanvasAgg(made)
    return made, list(made.subplots(rows, 1, squeeze=False, **options)[:, 0])
