"""The studies' results by depth, by number of tasks and by resources, drawn as SVG of the same bytes each time.

Plain dictionaries and lists come in, scores and gains in points. Marks and kinds of lines differ, not colours only, so that all
of it can be read in grey. A band is one standard deviation over the values at one place, and left out where there is one value.
UserError is raised where there is nothing to draw. `gain_plots.py` and `point_plots.py` draw the rest.
"""

from itertools import cycle, pairwise
from statistics import mean, stdev

import matplotlib
import numpy as np

from xstilts.base import UserError
from xstilts.layer_plots import ACROSS, SETTINGS, TITLE, filled, finish, grid

NONE = "no intermediate training"
GAIN = f"gain over {NONE}, points"
BASELINE = {"color": "#666666", "linestyle": (0, (6, 3)), "linewidth": 1}
STYLES = [
    {"color": color, "markerfacecolor": fill or color, "linestyle": line, "marker": mark, "markersize": 4}
    for color, fill, line, mark in (
        ("#000000", None, "-", "o"),
        ("#D55E00", "white", "-.", "s"),
        ("#0072B2", None, ":", "^"),
        ("#009E73", "white", "-", "D"),
        ("#CC79A7", None, "-.", "v"),
        ("#E69F00", "white", ":", "P"),
    )
]


def check(path, panels):
    """Raise UserError unless there are panels, and every one of {title: what it shows} has something."""
    empty = [title for title, own in panels.items() if not own]
    if empty or not panels:
        where = f" for {', '.join(empty)}" if empty else ""
        raise UserError(f"{path} cannot be drawn: there are no results{where}; evaluate more runs, or leave it out")


# ---- lines over seeds -----------------------------------------------------------------------------------------------

DEPTHS = {"frozen": "lowest layers frozen in intermediate training", "transferred": "only lowest layers transferred"}
DEPTH_SIZE, AXIS = (3.6, 2.7), 185  # of a panel in inches; how long its axis is, in points
LETTER = 6.5  # size of the names on it, in points; one is about 0.6 of that wide


def plot_depth(panels, path, *, names):
    """Draw the score by frozen depth and by transferred layers: the mean over seeds and a band.

    panels  {target: {"frozen": {place: [score, one a seed]}, "transferred": the same or nothing, "none": [score, one a seed]}};
            a place is how many layers, with the embeddings as one of them, 0 for nothing
    path    of the SVG file
    names   {place: what it is called on the axis}
    """
    curves = {target: {key: _known(own.get(key) or {}) for key in DEPTHS} for target, own in panels.items()}
    check(path, {target: any(own.values()) for target, own in curves.items()})
    lines = {key: name for key, name in DEPTHS.items() if any(own[key] for own in curves.values())}
    shown = [*lines.values()] + [NONE] * any(own.get("none") for own in panels.values())
    with matplotlib.rc_context(SETTINGS):
        figure, axes = grid(len(panels), shown, size=DEPTH_SIZE, sharey=False)
        for ax, (target, own) in zip(axes, curves.items(), strict=True):
            for style, (key, name) in zip(STYLES, lines.items(), strict=False):
                _draw_curve(ax, own[key], label=name, **style)
            _draw_level(ax, panels[target].get("none"))
            _name_places(ax, names)
            ax.set_title(filled(target, TITLE))
        finish(figure, axes, ("layers from the bottom", "score"), shown, path)


def _name_places(ax, names):
    """Names on the axis, upright where they would touch; those that touch even so are left to a tick without a name."""
    places = sorted(names)
    scale = AXIS / ((places[-1] - places[0]) or 1)
    upright = any((b - a) * scale < 0.6 * LETTER * (len(names[a]) + len(names[b]) + 2) / 2 for a, b in pairwise(places))
    shown = []
    for place in places:
        if not shown or (place - shown[-1]) * scale >= 1.1 * LETTER or not upright:
            shown.append(place)
    ax.set_xticks(shown, [names[place] for place in shown], fontsize=LETTER, rotation=90 if upright else 0)
    ax.set_xticks([place for place in places if place not in shown], minor=True)
    ax.margins(x=0.03)


def plot_number(panels, path, *, none):
    """Draw the score by number of intermediate tasks: the mean over draws of tasks and seeds, and a band.

    panels  {target: {budget: {number of tasks: [score, one a draw and seed]}}}
    path    of the SVG file
    none    {target: [score without intermediate training, one a seed]}
    """
    curves = {target: {budget: _known(own[budget]) for budget in own} for target, own in panels.items()}
    check(path, {target: any(own.values()) for target, own in curves.items()})
    budgets = list(dict.fromkeys(budget for own in curves.values() for budget, values in own.items() if values))
    shown = budgets + [NONE] * any(map(none.get, panels))
    with matplotlib.rc_context(SETTINGS):
        figure, axes = grid(len(panels), shown, sharey=False)
        for ax, (target, own) in zip(axes, curves.items(), strict=True):
            for budget, style in zip(budgets, cycle(STYLES)):
                _draw_curve(ax, own.get(budget, {}), label=budget, **style)
            _draw_level(ax, none.get(target))
            ax.set_xticks(sorted({number for values in own.values() for number in values}))
            ax.set_title(filled(target, TITLE))
        finish(figure, axes, ("number of intermediate tasks", "score"), shown, path)


def _known(values):
    """{place: [score]} in order, without the places that have none."""
    return {place: values[place] for place in sorted(values) if values[place]}


def _draw_curve(ax, values, **style):
    """The mean of {place: [score]} over places, and a band where places have several scores."""
    if not values:
        return
    places = [*values]
    means = np.array([mean(values[place]) for place in places])
    spread = np.array([_spread(values[place]) for place in places])
    ax.plot(places, means, **style)
    if spread.any():
        several = [len(values[place]) > 1 for place in places]
        ax.fill_between(places, means - spread, means + spread, several, color=style["color"], alpha=0.15, linewidth=0)


def _draw_level(ax, scores):
    """What the scores without intermediate training are, as a line across."""
    if scores:
        level, spread = mean(scores), _spread(scores)
        ax.axhline(level, label=NONE, **BASELINE)
        if spread:
            ax.axhspan(level - spread, level + spread, color=BASELINE["color"], alpha=0.12, linewidth=0)


def _spread(scores):
    return stdev(scores) if len(scores) > 1 else 0


# ---- intervals ------------------------------------------------------------------------------------------------------

BLUE, RED = "#0072B2", "#B34700"
RESOURCES = {  # name, how far from the middle of its row, and marks
    "low": ("low-resource languages", -0.18, {"color": BLUE, "marker": "o", "markerfacecolor": BLUE}),
    "high": ("high-resource languages", 0.18, {"color": RED, "marker": "D", "markerfacecolor": "white"}),
}
SINGLE = "a single language"
SMALL = {"markersize": 2, "markeredgewidth": 0, "alpha": 0.45, "linestyle": "none"}
ROW, ROW_NAME, ROW_LINE = 0.25, 26, 0.125  # height of a row, characters in a line of its name, height of such a line


def plot_resources(panels, path, *, points=None):
    """Draw gains in low- and in high-resource languages, with their 95 percent intervals.

    panels  {target: {row: {"low": (mean, lowest, highest), "high": the same}}}, without whiskers where lowest is None
    path    of the SVG file
    points  {(target, row, "low" or "high"): [(language, gain)]}, drawn small
    """
    check(path, {target: any(any(map(cell.get, RESOURCES)) for cell in own.values()) for target, own in panels.items()})
    rows = {row: filled(row, ROW_NAME) for own in panels.values() for row in own}
    groups = [group for group in RESOURCES if any(cell.get(group) for own in panels.values() for cell in own.values())]
    shown = [RESOURCES[group][0] for group in groups] + [SINGLE] * bool(points)
    names = [name.split("\n") for name in rows.values()]
    height = max(ROW, ROW_LINE * max(map(len, names))) * len(rows)
    width = 2.2 + 0.065 * max(len(line) for name in names for line in name) / min(len(panels), ACROSS)
    with matplotlib.rc_context({**SETTINGS, "axes.grid.axis": "x"}):
        figure, axes = grid(len(panels), shown, size=(width, 0.7 + height))
        for ax, (target, own) in zip(axes, panels.items(), strict=True):
            _rule(ax, len(rows))
            for place, row in enumerate(rows):
                for group in filter(own.get(row, {}).get, groups):
                    single = [gain for _, gain in (points or {}).get((target, row, group), ())]
                    _draw_interval(ax, place, own[row][group], single, group)
            ax.set_title(filled(target, TITLE * 3 // 4))
        axes[0].set_yticks(range(len(rows)), rows.values(), fontsize=7)
        axes[0].set_ylim(len(rows) - 0.5, -0.5)
        axes[0].plot([], [], label=SINGLE, color="black", marker="o", **SMALL)
        finish(figure, axes, (GAIN, ""), shown, path)


def _rule(ax, rows):
    """A line at zero, and every other row shaded."""
    ax.axvline(0, color="black", linewidth=0.8)
    for row in range(1, rows, 2):
        ax.axhspan(row - 0.5, row + 0.5, color="black", alpha=0.05, linewidth=0)


def _draw_interval(ax, place, interval, single, group):
    """A mark with whiskers, and the single languages behind it."""
    name, aside, style = RESOURCES[group]
    middle, low, high = interval
    around = None if low is None else [[middle - low], [high - middle]]
    ax.plot(single, [place + aside] * len(single), **{**style, **SMALL, "markerfacecolor": style["color"]})
    marks = {"label": name, "linestyle": "none", "capsize": 1.5, "markersize": 4, **style}
    ax.errorbar([middle], [place + aside], xerr=around, **marks)
