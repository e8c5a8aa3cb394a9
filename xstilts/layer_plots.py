"""How far each layer moved, drawn: small panels on common axes, one legend beside them, SVG that is the same bytes each time."""

import math
import textwrap
from itertools import cycle, product
from statistics import mean

import matplotlib

SETTINGS = {
    "svg.hashsalt": "xstilts",  # otherwise the names of elements are drawn at random
    "text.parse_math": False, "text.usetex": False,  # names are text, not formulas, whatever signs they have
    "font.size": 8, "axes.titlesize": 7.5, "legend.fontsize": 7, "axes.spines.top": False, "axes.spines.right": False,
    "axes.grid": True, "grid.linewidth": 0.4, "grid.alpha": 0.5, "lines.linewidth": 1.2, "lines.markersize": 2.5,
}  # fmt: skip
WIDTH, HEIGHT, ACROSS = 2.9, 2.3, 3  # of a panel in inches, and how many stand in a row
TITLE, ENTRY = 50, 24  # characters in a line of a title, and of a legend
ROW = 0.16  # height of a line of a legend, in inches

# Okabe and Ito's colours, which colour-blind readers can tell apart, without the yellow that is pale on white.
COLOURS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
MARKS = ({"linestyle": "-", "marker": "o"}, {"linestyle": "--", "marker": "s"}, {"linestyle": ":", "marker": "^"})
STYLES = [{**mark, "color": colour} for mark, colour in product(MARKS, COLOURS)]
ENGLISH = {"linestyle": "--", "color": "black", "zorder": 3}


def plot_weight_changes(panels, lines, path):
    """Draw relative changes of weights by part of the encoder: the mean over seeds, and a band from the smallest to the largest.

    panels  {title: {line: [{part: change}, one a seed]}}, parts as `similarity.weight_changes` has them
    lines   names of the lines, in the order of the legend
    path    of the SVG file
    """
    with matplotlib.rc_context(SETTINGS):
        figure, axes = grid(len(panels), lines)
        styles = dict(zip(lines, cycle(STYLES)))
        for ax, (title, own) in zip(axes, panels.items(), strict=True):
            parts = {part for seeds in own.values() for seed in seeds for part in seed}
            depth = sum(map(str.isdigit, parts))
            for line in filter(own.get, lines):
                _draw_parts(ax, own[line], depth, label=line, **styles[line])
            _name_parts(ax, parts, depth)
            ax.set_title(filled(title, TITLE))
        axes[0].set_ylim(bottom=-0.03 * axes[0].get_ylim()[1])  # frozen parts stand above the axis
        finish(figure, axes, ("part of the encoder (layers from 0)", "relative change of weights"), lines, path)


def _draw_parts(ax, seeds, depth, **style):
    """A line over the layers; embeddings and top stand apart."""
    for parts in (["embeddings"], [*map(str, range(depth))], ["top"]):
        values = {part: [seed[part] for seed in seeds if part in seed] for part in parts}
        places = [_place(part, depth) for part in parts if values[part]]
        low, middle, high = ([value(found) for found in values.values() if found] for value in (min, mean, max))
        ax.plot(places, middle, **style)
        ax.fill_between(places, low, high, color=style["color"], alpha=0.2, linewidth=1)


def _place(part, depth):
    """Where a part stands on the axis: layers at their index, the rest with a gap that leaves room for its name."""
    gap = max(1, depth / 8)
    return {"embeddings": -gap, "top": depth - 1 + gap}[part] if part in ("embeddings", "top") else int(part)


def _name_parts(ax, parts, depth):
    """Names on the axis; of many layers every other one or fewer has one."""
    layers = range(0, depth, math.ceil(depth / 8))
    names = {"embeddings": "emb.", **{str(layer): layer for layer in layers}, "top": "top"}
    named = [part for part in names if part in parts]
    ax.set_xticks([_place(part, depth) for part in named], [names[part] for part in named])


def plot_cka(panels, path):
    """Draw CKA by layer, a line per language: the mean over seeds; colours go by the mean over everything, English is dashed.

    panels  {title: {language: [[CKA at hidden_states[0], [1], ...], one a seed]}}
    path    of the SVG file
    """
    curves = {
        title: {language: [dict(enumerate(values)) for values in seeds] for language, seeds in own.items()}
        for title, own in panels.items()
    }
    plot_curves(curves, "linear CKA", path, top=1.02)


def plot_curves(panels, name, path, top=None):
    """Draw something by layer, a line per language: the mean over seeds; colours go by the mean over all, English is dashed.

    panels  {title: {language: [{index into hidden_states: value}, one a seed]}}
    name    what the values are
    """
    means = {}
    for own in panels.values():
        for language, seeds in own.items():
            means.setdefault(language, []).append(mean(mean(seed.values()) for seed in seeds))
    lines = sorted(means, key=lambda language: (language != "en", -mean(means[language])))
    with matplotlib.rc_context(SETTINGS):
        figure, axes = grid(len(panels), lines)
        styles = _by_rank(lines)
        for ax, (title, own) in zip(axes, panels.items(), strict=True):
            for line in filter(own.get, lines):
                layers = sorted({layer for seed in own[line] for layer in seed})
                values = [mean(seed[layer] for seed in own[line] if layer in seed) for layer in layers]
                ax.plot(layers, values, label=line, **styles[line])
            ax.set_title(filled(title, TITLE))
            ax.xaxis.get_major_locator().set_params(integer=True)
        axes[0].set_ylim(top=top)
        finish(figure, axes, ("layers passed (0: embeddings)", name), lines, path)


def _by_rank(lines):
    """{line: its style}: from light to dark down the legend, but for English."""
    others = [line for line in lines if line != "en"]
    shades = [0.85 * (1 - rank / max(1, len(others) - 1)) for rank in range(len(others))]
    colours = matplotlib.colormaps["viridis"](shades)
    return {"en": ENGLISH, **{line: {"color": colour} for line, colour in zip(others, colours, strict=True)}}


# ---- frame ----------------------------------------------------------------------------------------------------------


def grid(count, lines, size=(WIDTH, HEIGHT), sharey=True):
    """(figure, its `count` panels of `size` in inches), with room for the legend of `lines` on the right."""
    from matplotlib.figure import Figure  # here, because it looks for the machine's fonts

    down = math.ceil(count / ACROSS)
    across, height = math.ceil(count / down), size[1] * down
    width = size[0] * across + _columns(lines, height) * (0.5 + 0.06 * min(ENTRY, max(map(len, lines))))
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(down, across, sharey=sharey, squeeze=False).flatten()
    for ax in axes[count:]:
        ax.remove()
    return figure, axes[:count]


def _columns(lines, height):
    """Columns of a legend that is not higher than the figure."""
    rows = sum(len(textwrap.wrap(line, ENTRY)) for line in lines)
    return math.ceil(rows / (height / ROW - 1))


def filled(text, width):
    return "\n".join(textwrap.fill(line, width) for line in text.split("\n"))


def finish(figure, axes, names, lines, path):
    """Name both axes, put one legend for all panels on the right, and write the file."""
    explain(figure, axes, names, lines)
    save(figure, path)


def explain(figure, axes, names, lines):
    """Name both axes, and put one legend for all panels on the right."""
    figure.supxlabel(names[0], fontsize="medium")
    figure.supylabel(names[1], fontsize="medium")
    drawn = {label: handle for ax in axes for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    figure.legend(
        [drawn[line] for line in lines], [filled(line, ENTRY) for line in lines],
        loc="outside right upper", ncols=_columns(lines, figure.get_figheight()), frameon=False,
    )  # fmt: skip


def save(figure, path):
    """Write an SVG of the same bytes each time."""
    figure.savefig(path, metadata={"Date": None})
