"""Scores and gains of intermediate tasks by targets, drawn as a heat map: SVG of the same bytes each time.

Colours are what an interval leaves no doubt of, not gains: a gain of 1.5 points with 20 to either side is no finding.
"""

from itertools import product

import matplotlib
import numpy as np

from xstilts.layer_plots import SETTINGS, filled, save
from xstilts.study_plots import check
from xstilts.wording import signed

CELL, LINE = (0.68, 0.36), 0.13  # width and height of a cell, and height of a line of a row's name, in inches
HEADING, ROW_NAME = 11, 24  # characters in a line above a column, and before a row
COLOURS = "PuOr"  # colour-blind readers see both ends of it; in grey the printed sign tells them apart
EVEN = 2  # points up to which colours grow evenly, and logarithmically from there: retrieval gains tens of points
LEAST = 5  # points at the ends of the scale where all are smaller, so that next to nothing looks like it
SURE = "least gain or loss in the interval, points"
TICKS = (0, 1, 2, 5, 10, 20, 50)
MARKS = {"significant": ("*", "significant gain or loss"), "flagged": ("†", "flagged")}
EDGE = {"edgecolor": "#BBBBBB", "linewidth": 0.5}


def plot_gains(rows, columns, cells, path):
    """Draw a heat map of intermediate tasks by targets: the score, and below it the gain.

    rows, columns  names in order; the row `none` has scores only
    cells          {(row, column): {"score": points, "gain": points or None, "significant": bool or None, "flagged": bool,
                   "sure": the colour: the end of the gain's interval that is nearest to 0, 0 where it has both signs or is not
                   known, "over": what the score is the mean of, None where all of its column are of the same}};
                   what is missing is hatched
    path           of the SVG file
    """
    shown = {key: cells[key] for key in product(rows, columns) if key in cells}
    check(path, {"any cell": shown})
    with matplotlib.rc_context({**SETTINGS, "axes.grid": False, "hatch.linewidth": 0.4}):
        figure, ax = _sheet(rows, columns)
        sure = [abs(cell["sure"]) for cell in shown.values()]
        colours = _scale(sure)
        for y, row in enumerate(rows):
            for x, column in enumerate(columns):
                _draw_cell(ax, x, y, shown.get((row, column)), colours if row != "none" else None)
        if "none" in rows:
            ax.axhline(rows.index("none") + 0.5, color="black", linewidth=0.8)
        if any(sure):
            _draw_colour_bar(figure, ax, colours)
        _explain_marks(figure, shown, len(shown) < len(rows) * len(columns))
        save(figure, path)


def _sheet(rows, columns):
    """(figure, axes with a cell for each row and column, and their names at the left and on top)."""
    from matplotlib.figure import Figure  # here, because it looks for the machine's fonts

    names = [filled(name, ROW_NAME) for name in rows]
    height = max(CELL[1], LINE * max(name.count("\n") + 1 for name in names))
    figure = Figure(figsize=(CELL[0] * len(columns) + 2.7, max(2.8, height * len(rows) + 1)), layout="constrained")
    ax = figure.subplots()
    ax.set(xlim=(-0.5, len(columns) - 0.5), ylim=(len(rows) - 0.5, -0.5))
    ax.set_xticks(range(len(columns)), [filled(name, HEADING) for name in columns], fontsize=6.5)
    ax.set_yticks(range(len(rows)), names, fontsize=7)
    ax.tick_params(length=0, top=True, labeltop=True, bottom=False, labelbottom=False)
    ax.spines[:].set_visible(False)
    return figure, ax


def _scale(sizes):
    """From gains to colours, as far to both sides as the largest of `sizes`."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import SymLogNorm

    limit = max([*sizes, LEAST])
    return ScalarMappable(SymLogNorm(EVEN, vmin=-limit, vmax=limit), COLOURS)


def _draw_cell(ax, x, y, cell, colours):
    """One cell; without `colours`, white and with its score only."""
    from matplotlib.patches import Rectangle

    gain = cell["gain"] if cell and colours else None
    fill = "white" if gain is None else colours.to_rgba(cell["sure"])
    ax.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor=fill, hatch=None if cell else "////", **EDGE))
    dark = np.dot(matplotlib.colors.to_rgb(fill), (0.299, 0.587, 0.114)) < 0.46
    style = {"ha": "center", "va": "center", "color": "white" if dark else "black"}
    if not cell:
        ax.text(x, y, "–", **style, bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5})
        return
    score = f"{cell['score']:.1f}" + MARKS["flagged"][0] * bool(cell["flagged"])
    ax.text(x, y if gain is None and not cell["over"] else y - 0.2, score, fontsize=7, **style)
    if cell["over"]:
        ax.text(x, y + 0.22, cell["over"], fontsize=5, **style)
    elif gain is not None:
        star, weight = (MARKS["significant"][0], "bold") if cell["significant"] else ("", "normal")
        ax.text(x, y + 0.22, signed(gain, 1) + star, fontsize=6.5, weight=weight, **style)


def _draw_colour_bar(figure, ax, colours):
    ticks = [tick for tick in TICKS if tick <= colours.norm.vmax]
    ticks = [-tick for tick in ticks[:0:-1]] + ticks
    bar = figure.colorbar(colours, ax=ax, pad=0.015, aspect=30)
    bar.set_ticks(ticks, labels=[signed(tick, 0) if tick else "0" for tick in ticks], fontsize=7)
    bar.minorticks_off()
    bar.solids.set_edgecolor("face")  # otherwise some viewers show seams
    bar.set_label(filled(SURE, 26))


def _explain_marks(figure, cells, missing):
    """A legend below, of the marks that occur."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    occurring = [(mark, name) for key, (mark, name) in MARKS.items() if any(cell[key] for cell in cells.values())]
    marks = [Line2D([], [], linestyle="none", label=f"{mark} {name}") for mark, name in occurring]  # as in the cells
    marks += [Patch(facecolor="white", hatch="////", label="no runs", **EDGE)] * missing
    if marks:
        figure.legend(handles=marks, loc="outside lower center", ncols=len(marks), frameon=False)
