"""The studies' plots: the same bytes each time, all named and nothing covered, what is missing shown, what is empty refused."""

import random
import xml.etree.ElementTree as ElementTree
from html import unescape
from itertools import combinations, product

import matplotlib
import pytest
from matplotlib.collections import FillBetweenPolyCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text

from xstilts.base import UserError
from xstilts.gain_plots import plot_gains
from xstilts.label_places import place_labels
from xstilts.layer_plots import SETTINGS
from xstilts.point_plots import plot_complexity, plot_distance
from xstilts.study_plots import NONE, plot_depth, plot_number, plot_resources

LONG = "all-ccg > hellaswag (freeze-embeddings+0-11)"
TASKS = [*"anli_plus mnli qqp squad_v2 squad hellaswag ccg cosmosqa commonsenseqa all".split(), LONG]
TARGETS = [*"xnli pawsx xcopa udpos panx xquad mlqa tydiqa".split(), "tatoeba (layer 14)", "bucc2018 (layer 14)"]
TARGETS.append("lareqa (layer 14, lora, benchmark selection)")
LANGUAGES = [f"{a}{b}" for a in "abcde" for b in "klmnopqr"]
DEPTHS = {0: "none", 1: "embeddings", **{layer + 2: f"emb.+0-{layer}" for layer in range(24)}}


# ---- invented results -----------------------------------------------------------------------------------------------


def cell(score, gain=None, significant=None, flagged=False, sure=None):
    own = {"score": score, "gain": gain, "sure": gain or 0 if sure is None else sure}
    return {**own, "significant": significant, "flagged": flagged, "over": None}


def seeds(draw, middle, count=3):
    return [middle + draw.gauss(0, 1) for _ in range(count)]


def gains(draw, targets):
    cells = {("none", target): cell(draw.uniform(20, 80), 0.0) for target in targets}
    for task in TASKS[: len(targets)]:
        cells |= {(task, target): cell(50, draw.gauss(0, 9), draw.random() > 0.5) for target in targets}
    return (["none", *TASKS[: len(targets)]], targets, cells), {}


def depth(draw, targets):
    curve = lambda: {place: seeds(draw, 50 + place) for place in DEPTHS}  # noqa: E731
    panels = {target: {"frozen": curve(), "transferred": curve(), "none": seeds(draw, 50)} for target in targets}
    return (panels,), {"names": DEPTHS}


def number(draw, targets):
    budgets = ("equal steps", "equal examples of each task")
    panels = {name: {budget: {n: seeds(draw, n, 9) for n in (1, 3, 9)} for budget in budgets} for name in targets}
    return (panels,), {"none": {name: seeds(draw, 0) for name in targets}}


def resources(draw, targets):
    rows = TASKS[-len(targets) :]
    panels = {name: {row: {"low": (1, 0, 2), "high": (3, -1, 4)} for row in rows} for name in targets}
    points = {(name, row, "low"): [("sw", 1.5), ("yo", 0.5)] for name in targets for row in rows}
    return (panels,), {"points": points}


def distance(draw, targets):
    """With languages at the same distance, and some that lie close to each other."""
    panels = {}
    for target in targets:
        places = [(code, round(draw.uniform(0.2, 0.6), 2)) for code in LANGUAGES]
        before = [(code, place, 40 * place + draw.gauss(0, 4)) for code, place in places]
        panels[target] = {"before": before, "after": [(code, x, y - draw.uniform(0, 5)) for code, x, y in before]}
    return (panels,), {
        "labels": ("none", "mnli"),
        "notes": dict.fromkeys(targets, "rho none 0.5\nrho mnli 0.4"),
    }


def complexity(draw, targets, tasks=TASKS):
    panels = {target: [(task, draw.uniform(0, 2), 5, 4, 6 + draw.random()) for task in tasks] for target in targets}
    return (panels,), {"name": "bits per example", "none": dict.fromkeys(targets, 4.5)}


PLOTS = {
    plot_gains: gains,
    plot_depth: depth,
    plot_number: number,
    plot_resources: resources,
    plot_distance: distance,
    plot_complexity: complexity,
}


@pytest.fixture
def drawn(saved_figures):
    """draw(function, place, ...) -> the figure that it saves."""

    def draw(function, path, *arguments, **options):
        function(*arguments, path, **options)
        return saved_figures[-1]

    return draw


def texts(path):
    """What an SVG says; text is drawn as outlines, with its words, escaped, in comments."""
    parser = ElementTree.XMLParser(target=ElementTree.TreeBuilder(insert_comments=True))
    root = ElementTree.parse(path, parser=parser).getroot()
    return [unescape(node.text).strip() for node in root.iter() if callable(node.tag)]


def without_spaces(text):
    """Long names are broken into lines, and may be at a hyphen."""
    return "".join(text.split())


def boxes_of(labels):
    """Of texts alone: an annotation's own box has its arrow, too."""
    return [Text.get_window_extent(label) for label in labels if label.get_text()]


def check_apart(boxes):
    assert not [pair for pair in combinations(boxes, 2) if pair[0].overlaps(pair[1])]


def check_layout(figure):
    """Panels, names of axes, and legends neither overlap nor are cut off, nor do the names at an axis, nor labels in panels."""
    figure.draw_without_rendering()
    around = [figure._supxlabel, figure._supylabel] if figure._supxlabel else []
    boxes = [ax.get_tightbbox() for ax in figure.axes] + boxes_of(around)
    boxes += [legend.get_window_extent() for legend in figure.legends]
    check_apart(boxes)
    for box in boxes:
        assert min(box.x0, box.y0, figure.bbox.x1 - box.x1, figure.bbox.y1 - box.y1) > -1, "cut off"
    for ax in figure.axes:
        for axis in (ax.xaxis, ax.yaxis):
            check_apart(boxes_of(axis.get_ticklabels()))
        inside = boxes_of(ax.texts)
        check_apart(inside)
        assert all(ax.bbox.x0 <= box.x0 and box.x1 <= ax.bbox.x1 for box in inside)
        assert all(ax.bbox.y0 <= box.y0 and box.y1 <= ax.bbox.y1 for box in inside)


# ---- all of them ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "count"),
    [*product(PLOTS, [2, 4]), *product([plot_gains, plot_number, plot_resources], [11])],
)
def test_there_is_room_for_everything(function, count, drawn, tmp_path):
    arguments, options = PLOTS[function](random.Random(1), TARGETS[-count:])
    check_layout(drawn(function, tmp_path / "a.svg", *arguments, **options))


@pytest.mark.parametrize("function", PLOTS)
def test_the_same_bytes_and_every_name(function, tmp_path):
    for name in ("one.svg", "two.svg"):
        arguments, options = PLOTS[function](random.Random(1), TARGETS[-2:])
        function(*arguments, tmp_path / name, **options)
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
    said = without_spaces("".join(texts(tmp_path / "one.svg")))
    names = {
        plot_gains: [*TASKS[:2], "least gain or loss in the interval, points"],
        plot_depth: [*DEPTHS.values(), NONE, "only lowest layers transferred", "score"],
        plot_number: ["equal steps", "equal examples of each task", "number of intermediate tasks"],
        plot_resources: [*TASKS[-2:], "low-resource languages", "high-resource languages", "a single language"],
        plot_distance: [*LANGUAGES, "none", "mnli", "rho none 0.5", "distance from English"],
        plot_complexity: [*TASKS, "bits per example", "least-squares line", NONE],
    }
    assert not [name for name in (*TARGETS[-2:], *names[function]) if without_spaces(name) not in said]


@pytest.mark.parametrize("function", PLOTS)
def test_nothing_to_draw_is_refused(function, tmp_path):
    arguments, options = PLOTS[function](random.Random(1), TARGETS[:2])
    with pytest.raises(UserError, match=r"a\.svg cannot be drawn: there are no results"):
        function(*arguments[:-1], {}, tmp_path / "a.svg", **options)
    if function is not plot_gains:
        for empty in ({}, {"frozen": {1: []}}) if function is not plot_complexity else ([],):
            with pytest.raises(UserError, match="there are no results for b;"):
                function({**arguments[0], "b": empty}, tmp_path / "a.svg", **options)
    assert not (tmp_path / "a.svg").exists()


# ---- gains ----------------------------------------------------------------------------------------------------------


def test_cells_say_score_gain_and_marks(drawn, tmp_path):
    cells = {
        ("none", "xnli"): cell(70.04, 0.0, flagged=True),
        ("mnli", "xnli"): cell(72.06, 2.0, significant=True),
        ("mnli", "panx"): cell(40, -2.04, significant=False, flagged=True),
        ("qqp", "panx"): cell(41, -0.01),
        ("qqp", "pawsx"): cell(10),
        ("squad", "xnli"): cell(99, 50.0),
    }
    figure = drawn(plot_gains, tmp_path / "a.svg", ["none", "mnli", "qqp"], ["xnli", "panx", "pawsx"], cells)
    found = {}
    for text in figure.axes[0].texts:
        x, y = text.get_position()
        found.setdefault((round(y), round(x)), []).append(text)
    said = {place: [text.get_text() for text in own] for place, own in found.items()}
    assert said == {
        (0, 0): ["70.0†"],
        (0, 1): ["–"],
        (0, 2): ["–"],
        (1, 0): ["72.1", "+2.0*"],
        (1, 1): ["40.0†", "−2.0"],
        (1, 2): ["–"],
        (2, 0): ["–"],
        (2, 1): ["41.0", "+0.0"],
        (2, 2): ["10.0"],
    }
    assert [text.get_weight() for text in found[1, 0]] == ["normal", "bold"]
    assert {text.get_weight() for text in found[1, 1]} == {"normal"}
    fills = [to_hex(patch.get_facecolor()) for patch in figure.axes[0].patches]
    hatched = [bool(patch.get_hatch()) for patch in figure.axes[0].patches]
    assert hatched == [False, True, True, False, False, True, True, False, False]
    assert [fill == "#ffffff" for fill in fills] == [True, True, True, False, False, True, True, False, True]
    assert figure.axes[1].get_ylim() == pytest.approx((-5, 5)), "at least, and cells that are not shown do not count"
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["* significant gain or loss", "† flagged", "no runs"]


def test_marks_that_do_not_occur_are_not_explained(drawn, tmp_path):
    cells = {("none", "xnli"): cell(70), ("mnli", "xnli"): cell(71, 30.0)}
    figure = drawn(plot_gains, tmp_path / "a.svg", ["none", "mnli"], ["xnli"], cells)
    assert not figure.legends
    assert figure.axes[1].get_ylim() == pytest.approx((-30, 30))


def test_colours_are_what_the_intervals_allow(drawn, tmp_path):
    """A gain of 9 points that may be a loss is as pale as none, and paler than a sure one of 1; a row without gains is white."""
    cells = {("none", "xnli"): cell(70)} | {
        (task, "xnli"): cell(70, gain, sure=sure)
        for task, gain, sure in (("mnli", 9.0, 0), ("qqp", 0.0, 0), ("squad", 3.0, 1.0), ("ccg", 3.0, 3.0))
    }
    figure = drawn(plot_gains, tmp_path / "a.svg", ["none", "mnli", "qqp", "squad", "ccg"], ["xnli"], cells)
    white, wide, no, less, more = (patch.get_facecolor() for patch in figure.axes[0].patches)
    assert to_hex(white) == "#ffffff"
    assert wide == no
    assert min(wide[:3]) > 0.95 > min(less[:3]) > min(more[:3])
    assert "least gain" in figure.axes[1].get_ylabel()
    only = {place: own for place, own in cells.items() if place[0] in ("none", "mnli")}
    assert len(drawn(plot_gains, tmp_path / "b.svg", ["none", "mnli"], ["xnli"], only).axes) == 1, (
        "no colour to explain"
    )


# ---- lines ----------------------------------------------------------------------------------------------------------


def bands(ax):
    return [band for band in ax.collections if isinstance(band, FillBetweenPolyCollection)]


def test_means_and_deviations_over_seeds(drawn, tmp_path):
    own = {"frozen": {2: [1, 3], 0: [5, 5, 8], 1: []}, "none": [4, 6]}
    figure = drawn(plot_depth, tmp_path / "a.svg", {"xnli": own}, names={0: "none", 1: "emb.", 2: "0-0"})
    ax = figure.axes[0]
    curve, level = ax.lines
    assert list(zip(*curve.get_data(), strict=True)) == [(0, 6), (2, 2)]
    assert [*level.get_ydata()] == [5, 5]
    corners = {(x, round(y, 3)) for x, y in bands(ax)[0].get_paths()[0].vertices}
    assert corners == {(x, round(y, 3)) for x, y, off in ((0, 6, 3), (2, 2, 2)) for y in (y - off**0.5, y + off**0.5)}
    box = ax.patches[0].get_extents().transformed(ax.transData.inverted())
    assert (round(box.y0, 3), round(box.y1, 3)) == (round(5 - 2**0.5, 3), round(5 + 2**0.5, 3))
    assert [label.get_text() for label in ax.get_xticklabels()] == ["none", "emb.", "0-0"]


def test_one_seed_has_no_band(drawn, tmp_path):
    own = {"frozen": {0: [5], 2: [1]}, "transferred": {0: [3], 2: [2]}, "none": [4]}
    figure = drawn(plot_depth, tmp_path / "a.svg", {"xnli": own}, names={0: "none", 2: "all"})
    assert not bands(figure.axes[0])
    assert not figure.axes[0].patches
    figure = drawn(plot_number, tmp_path / "a.svg", {"xnli": {"a": {1: [5], 3: [6]}}}, none={"xnli": [4]})
    assert not bands(figure.axes[0])
    figure = drawn(plot_number, tmp_path / "a.svg", {"xnli": {"a": {1: [5], 3: [6, 7], 5: [7, 9]}}}, none={})
    places = {x for path in bands(figure.axes[0])[0].get_paths() for x, _ in path.vertices}
    assert places == {3, 5}, "there is no band at the one score"


def test_only_numbers_that_were_used_are_on_the_axis(drawn, tmp_path):
    panels = {"xnli": {"a": {1: [5], 3: [6]}, "b": {9: [7]}}, "panx": {"b": {2: [7], 4: []}}}
    figure = drawn(plot_number, tmp_path / "a.svg", panels, none={"panx": [1]})
    assert [[*ax.get_xticks()] for ax in figure.axes] == [[1, 3, 9], [2]]
    styles = [{line.get_label(): (line.get_linestyle(), line.get_marker()) for line in ax.lines} for ax in figure.axes]
    assert styles[0]["b"] == styles[1]["b"] != styles[0]["a"]
    assert len({*styles[0].values(), *styles[1].values()}) == 3, "they differ without colours"


def test_names_of_very_many_layers_are_thinned(drawn, tmp_path):
    names = {place: f"emb.+0-{place}" for place in range(60)}
    own = {"frozen": {place: [place] for place in names}}
    figure = drawn(plot_depth, tmp_path / "a.svg", {"xnli": own}, names=names)
    check_layout(figure)
    ax = figure.axes[0]
    assert 10 < len(ax.get_xticks()) < 30
    assert {*ax.get_xticks(), *ax.get_xticks(minor=True)} == {*names}


# ---- intervals ------------------------------------------------------------------------------------------------------


def test_intervals_and_single_languages(drawn, tmp_path):
    panels = {"udpos": {"mnli": {"low": (1, 0, 3), "high": (2, None, None)}, "qqp": {"high": (4, 3, 5)}}}
    points = {("udpos", "mnli", "low"): [("sw", 0.5), ("yo", 1.5)]}
    figure = drawn(plot_resources, tmp_path / "a.svg", panels, points=points)
    ax = figure.axes[0]
    whiskers = [segment.tolist() for found in ax.containers for bar in found.lines[2] for segment in bar.get_segments()]
    assert [[x for x, _ in segment] for segment in whiskers] == [[0, 3], [3, 5]]
    marks = [found.lines[0] for found in ax.containers]
    assert [(mark.get_xdata()[0], mark.get_marker(), mark.get_markerfacecolor() == "white") for mark in marks] == [
        (1, "o", False),
        (2, "D", True),
        (4, "D", True),
    ]
    small = [line for line in ax.lines if line.get_markersize() == 2 and len(line.get_xdata())]
    assert [[*line.get_xdata()] for line in small] == [[0.5, 1.5]]
    assert {*small[0].get_ydata()} == {*marks[0].get_ydata()}
    assert [label.get_text() for label in ax.get_yticklabels()] == ["mnli", "qqp"]
    assert ax.get_ylim()[0] > ax.get_ylim()[1], "the first row is on top"


# ---- points with labels ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_labels_of_forty_languages_stand_apart(seed, drawn, tmp_path):
    arguments, options = distance(random.Random(seed), ["xnli"])
    figure = drawn(plot_distance, tmp_path / "a.svg", *arguments, **options)
    labels = [label for label in figure.axes[0].texts if isinstance(label, Annotation)]
    assert sorted(label.get_text() for label in labels) == LANGUAGES
    note = boxes_of(set(figure.axes[0].texts) - {*labels})[0]
    points = [point for line in figure.axes[0].lines for point in line.get_xydata()]
    assert figure.axes[0].transData.transform(points)[:, 1].max() < note.y0, "the note stands above all points"
    check_layout(figure)


def test_labels_of_forty_tasks_stand_apart(drawn, tmp_path):
    arguments, options = complexity(random.Random(1), ["xnli"], [f"task{i} (low)" for i in range(40)])
    figure = drawn(plot_complexity, tmp_path / "a.svg", *arguments, **options)
    assert len(figure.axes[0].texts) == 40
    check_layout(figure)


def test_labels_stand_beside_their_points_where_there_is_room():
    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(4, 3), layout="constrained")
        ax = figure.subplots()
        ax.set(xlim=(0, 1), ylim=(0, 1))
        ax.text(0.63, 0.9, "note", va="center")
        points = [("left", (0.2, 0.5)), ("right", (0.99, 0.5)), ("twin", (0.6, 0.9)), ("twins", (0.6, 0.9))]
        place_labels(figure, [(ax, points, [[point] for _, point in points])], 6)
        note, left, right, *twins = ax.texts
        assert left.xyann[0] > 0 > right.xyann[0], "on the right, but where that is outside"
        assert left.xyann[1] == right.xyann[1] == 0
        assert not any(label.arrow_patch for label in (left, right, *twins))
        figure.draw_without_rendering()
        check_apart(boxes_of([note, *twins]))


def test_lines_through_the_points_and_a_line_between_both_of_a_language(drawn, tmp_path):
    own = {"before": [("de", 1, 2), ("sw", 3, 6)], "after": [("de", 1, 1), ("sw", 3, 2), ("yo", 5, 3)]}
    figure = drawn(plot_distance, tmp_path / "a.svg", {"xnli": own}, labels=("none", "mnli"))
    lines = {tuple(zip(*line.get_data(), strict=True)): line.get_linestyle() for line in figure.axes[0].lines}
    assert lines[(1, 2), (3, 6)] == "-"
    assert lines[(1, 1), (5, 3)] == "--"
    assert {((1, 2), (1, 1)), ((3, 6), (3, 2))} < {*lines}
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["none", "mnli"]


def test_one_place_has_no_line(drawn, tmp_path):
    panels = {"xnli": {"before": [("de", 1, 2), ("nl", 1, 3)]}}
    figure = drawn(plot_distance, tmp_path / "a.svg", panels, labels=("none", "mnli"))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["none"]
    figure = drawn(plot_complexity, tmp_path / "b.svg", {"xnli": [("mnli", 1, 2, None, None)]}, name="bits")
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["intermediate task"]
    assert not figure.axes[0].containers[0].has_yerr


def test_gaps_have_whiskers_a_line_and_the_gap_of_none(drawn, tmp_path):
    tasks = [("mnli", 1, 4, 3, 6), ("squad", 3, 8, 7, 9)]
    figure = drawn(plot_complexity, tmp_path / "a.svg", {"xnli": tasks}, name="bits", none={"xnli": 5, "panx": 1})
    ax = figure.axes[0]
    whiskers = [segment.tolist() for found in ax.containers for bar in found.lines[2] for segment in bar.get_segments()]
    assert whiskers == [[[1, 3], [1, 6]], [[3, 7], [3, 9]]]
    lines = {line.get_label(): [*line.get_ydata()] for line in ax.lines}
    assert (lines["least-squares line"], lines[NONE]) == (pytest.approx([4, 8]), [5, 5])
    assert [(label.get_text(), label.xy) for label in ax.texts] == [("mnli", (1, 4)), ("squad", (3, 8))]
