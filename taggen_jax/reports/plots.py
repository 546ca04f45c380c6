"""The plots of a report, as SVG in data URIs: no request leaves the page, and no font has to be there.

Colours are of middle lightness on no background, to be read on a light and on a dark page alike.
"""

import base64
import contextlib
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from taggen_jax.errors import UserError
from taggen_jax.reports.markup import Html, element

COLOURS = ("#4a90d9", "#e08a3c", "#3fa37c", "#b877c9", "#d2605e", "#8d9440")
_INK, _GRID = "#7d838c", "#7d838c40"
_STYLE = {
    "svg.fonttype": "path",
    "svg.hashsalt": "taggen",  # the same data give the same bytes
    "font.size": 10,
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "axes.titlecolor": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": _GRID,
    "grid.linewidth": 0.6,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "text.color": _INK,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
}

Lines = Mapping[str, np.ndarray]
"""Name of a run to float64[points, 2]."""


class Plot:
    """One pair of axes and, afterwards, the <img> that shows it."""

    def __init__(self) -> None:
        self.image = Html()
        self.axes: Any = None


@contextlib.contextmanager
def plot(title: str, x: str, y: str, width: float = 5.2, height: float = 3.4) -> Iterator[Plot]:
    """Opens axes to draw into; when the block ends, `.image` holds the picture. Sizes are in inches.

    Raises:
      UserError: matplotlib is not installed.
    """
    try:
        import matplotlib
        from matplotlib.figure import Figure
        from matplotlib.rcsetup import cycler
    except ImportError as error:
        raise UserError(
            "taggen report: matplotlib is missing; run `pip install 'taggen-jax[report]'`"
        ) from error
    style: Any = {**_STYLE, "axes.prop_cycle": cycler(color=COLOURS)}
    with matplotlib.rc_context(style):
        drawn, figure = Plot(), Figure(figsize=(width, height), layout="constrained")
        drawn.axes = figure.add_subplot(xlabel=x, ylabel=y)
        yield drawn
        file = io.BytesIO()
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    source = f"data:image/svg+xml;base64,{base64.b64encode(file.getvalue()).decode()}"
    picture = element("img", src=source, alt=title, class_="plot")
    drawn.image = element("figure", element("figcaption", title), picture)


def lines(title: str, x: str, y: str, curves: Lines, **limits: float) -> Html:
    """A line a run, few points marked; `limits` are matplotlib's left, right, bottom and top."""
    with plot(title, x, y) as drawn:
        for name, points in curves.items():
            drawn.axes.plot(*points.T, label=name, marker="o" if len(points) < 12 else "", markersize=4)
        drawn.axes.set_xlim(limits.get("left"), limits.get("right"))
        drawn.axes.set_ylim(limits.get("bottom"), limits.get("top"))
        _legend(drawn.axes, curves)
    return drawn.image


def reliability(curves: Lines) -> Html:
    """Share of right candidates against mean score, bin by bin; the diagonal is perfect calibration."""
    with plot("Calibration of the five best candidates", "mean score", "share right") as drawn:
        drawn.axes.plot([0, 1], [0, 1], color=_INK, linewidth=0.9, linestyle="--")
        for name, points in curves.items():
            drawn.axes.plot(*points.T, label=name, marker="o", markersize=4)
        drawn.axes.set(xlim=(0, 1), ylim=(0, 1.02))
        _legend(drawn.axes, curves)
    return drawn.image


def bars(title: str, x: str, y: str, groups: Sequence[str], heights: Mapping[str, Sequence[float]]) -> Html:
    """Groups of bars, one bar a run in each; NaN leaves a gap."""
    with plot(title, x, y) as drawn:
        places, width = np.arange(len(groups)), 0.8 / max(len(heights), 1)
        for i, (name, values) in enumerate(heights.items()):
            drawn.axes.bar(places + (i - (len(heights) - 1) / 2) * width, values, width, label=name)
        drawn.axes.set_xticks(places, groups)
        drawn.axes.grid(False, axis="x")
        drawn.axes.set(xlim=(-0.6, len(groups) - 0.4), ylim=(0, 1))
        _legend(drawn.axes, heights)
    return drawn.image


def _legend(axes: Any, names: Mapping[str, object]) -> None:
    if len(names) > 1:
        axes.legend(fontsize=8.5)
