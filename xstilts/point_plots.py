"""Languages by their distance and tasks by their complexity, drawn as points with labels: SVG of the same bytes each time."""

import math
from statistics import linear_regression

import matplotlib

from xstilts.label_places import place_labels
from xstilts.layer_plots import SETTINGS, TITLE, explain, filled, grid, save
from xstilts.study_plots import BASELINE, NONE, check

LETTERS = 5.5  # size of labels
LANGUAGES = {
    "before": {"color": "#000000", "markerfacecolor": "none", "linestyle": "-", "marker": "o", "markersize": 3.5},
    "after": {"color": "#D55E00", "markerfacecolor": "#D55E00", "linestyle": "--", "marker": "^", "markersize": 3.5},
}
TASKS = {"color": "#0072B2", "marker": "o", "markersize": 4, "linestyle": "none"}
POINT, TREND = "intermediate task", "least-squares line"


def plot_distance(panels, path, *, labels, notes=None):
    """Draw the transfer gap by distance from English, before and after intermediate training, with least-squares lines.

    panels  {target: {"before": [(language, distance, score of English minus that of the language)], "after": the same}}
    path    of the SVG file
    labels  what the two are, such as ("none", "mnli")
    notes   {target: text in the corner of its panel}
    """
    check(path, {target: any(map(own.get, LANGUAGES)) for target, own in panels.items()})
    names = dict(zip(LANGUAGES, labels, strict=True))
    names = {key: name for key, name in names.items() if any(own.get(key) for own in panels.values())}
    shown = [*names.values()]
    with matplotlib.rc_context(SETTINGS):
        figure, axes = grid(len(panels), shown, size=(3.8, 3.2), sharey=False)
        wanted = []
        for ax, (target, own) in zip(axes, panels.items(), strict=True):
            lines = [_draw_losses(ax, own.get(key, ()), name, LANGUAGES[key]) for key, name in names.items()]
            wanted.append(_join(ax, own, lines))
            ax.margins(0.08)
            if notes and notes.get(target):
                _write_note(ax, notes[target])
            ax.set_title(filled(target, TITLE))
        explain(figure, axes, ("distance from English", "transfer gap: English minus the language, points"), shown)
        place_labels(figure, wanted, LETTERS)
        save(figure, path)


def _draw_losses(ax, losses, name, style):
    """Points and their line, which is returned; the legend has one entry for both."""
    points = [point for _, *point in losses]
    ax.plot([], [], label=name, **style)
    if points:
        ax.plot(*zip(*points, strict=True), **{**style, "linestyle": "none"}, markeredgewidth=0.8)
    return _draw_trend(ax, points, color=style["color"], linestyle=style["linestyle"])


def _draw_trend(ax, points, scale=float, **style):
    """The least-squares line over `scale` of x, where points do not all stand above each other; its ends."""
    places, values = zip(*points, strict=True)
    if len({*places}) < 2:
        return []
    slope, start = linear_regression([scale(x) for x in places], values)
    ends = [(x, start + slope * scale(x)) for x in (min(places), max(places))]
    ax.plot(*zip(*ends, strict=True), zorder=1.5, **{"linewidth": 1, **style})
    return ends


def _join(ax, own, lines):
    """Join both points of a language; (axes, labels at the second of them, lines and points that labels should not cover)."""
    ends = {}
    for key in LANGUAGES:
        for language, *point in own.get(key, ()):
            ends.setdefault(language, []).append(point)
    for points in ends.values():
        ax.plot(*zip(*points, strict=True), color="#AAAAAA", linewidth=0.5, zorder=1)
    return ax, [(language, points[-1]) for language, points in ends.items()], [*filter(None, lines), *ends.values()]


def _write_note(ax, text):
    """A note in the upper left corner, above everything that is drawn."""
    low, high = ax.get_ylim()
    ax.set_ylim(low, high + 0.07 * (high - low) * (text.count("\n") + 1))
    ax.text(0.02, 0.98, text, transform=ax.transAxes, va="top", fontsize=6.5)


def plot_complexity(panels, path, *, name, none=None):
    """Draw the gap between the source language and others by the complexity of the intermediate task on a logarithmic axis, and
    a least-squares line.

    panels  {title: [(task, complexity above 0, gap in points, lowest, highest)]}, without whiskers where lowest is None
    path    of the SVG file
    name    what complexity is measured in
    none    {title: gap without intermediate training}
    """
    check(path, panels)
    levels = {title: value for title, value in (none or {}).items() if title in panels}
    sloping = any(len({x for _, x, *_ in tasks}) > 1 for tasks in panels.values())
    shown = [POINT] + [TREND] * sloping + [NONE] * bool(levels)
    with matplotlib.rc_context(SETTINGS):
        figure, axes = grid(len(panels), shown, size=(3.6, 2.9), sharey=False)
        wanted = []
        for ax, (title, tasks) in zip(axes, panels.items(), strict=True):
            wanted.append(_draw_gaps(ax, tasks, levels.get(title)))
            ax.set_title(filled(title, TITLE))
        explain(figure, axes, (f"{name} (logarithmic)", "gap: source language minus others, points"), shown)
        place_labels(figure, wanted, LETTERS + 0.5)
        save(figure, path)


def _draw_gaps(ax, tasks, level):
    """Points with whiskers and lines; (axes, labels, lines and points that labels should not cover)."""
    points = [(x, gap) for _, x, gap, *_ in tasks]
    lines = [[point] for point in points] + [
        _draw_trend(ax, points, math.log, color="black", linewidth=0.8, label=TREND)
    ]
    for place, (_, x, gap, low, high) in enumerate(tasks):
        around = None if low is None else [[gap - low], [high - gap]]
        ax.errorbar([x], [gap], yerr=around, label=None if place else POINT, capsize=1.5, elinewidth=0.8, **TASKS)
        lines += [[(x, low), (x, high)]] if around else []
    ax.set_xscale("log")  # a tagger's example has many labels: bits differ by orders of magnitude
    ax.xaxis.set_major_formatter("{x:g}")
    ax.xaxis.set_minor_formatter("")
    ax.margins(0.1)
    if level is not None:
        ax.axhline(level, label=NONE, **BASELINE)
        lines.append([(x, level) for x in ax.get_xlim()])
    labels = [(filled(task, 16), point) for (task, *_), point in zip(tasks, points, strict=True)]
    return ax, labels, [*filter(None, lines)]
