"""Question 1: what freezing the lowest layers during intermediate training, or transferring only them, does to the targets."""

import re

import numpy as np
import pandas as pd

from xstilts.answer import ALL, Answer, baselines, gain_of, in_common, pooled, run_means, scored
from xstilts.regressions import slope
from xstilts.score_table import NONE
from xstilts.study_plots import plot_depth
from xstilts.wording import estimate_text, interval_text, signed

UNKNOWN = (
    "How many layers the encoder has is not known without the run.json of a training: everything is drawn beside the highest "
    "depth that is named, and does not count in what a further part changes."
)
EQUAL = 0.005  # points: what is shown as the same with two decimals


def layers(table, facts, options):
    """Scores by how many of the lowest layers intermediate training left frozen, and how many of them were taken over from it."""
    own = table[(table["number"] > 0) & ((table["frozen"] == NONE) | (table["transferred"] == ALL))].copy()  # not both
    is_known, depth = table["layers"].notna().any(), _layers_of(table)
    own["kind"] = np.where(own["transferred"] == ALL, "frozen", "transferred")
    own["place"] = [_place(row.frozen if row.kind == "frozen" else row.transferred, depth) for row in own.itertuples()]
    own = own[own["place"].notna()]
    own["depth"] = own["kind"] + own["place"].astype(str)
    own = own[own.groupby(["column", "tasks"])["depth"].transform("nunique") > 1]
    if own.empty:
        return None
    shared, apart = in_common(own, "column", "tasks")
    if shared.empty:
        return Answer(sentences=apart)
    names = {0: "none", 1: "emb.", **{layer + 1: str(layer) for layer in range(1, depth + 1)}, depth + 2: ALL}
    answer, panels, rows = Answer(), {}, []
    runs = run_means(shared, "column", "tasks", "kind", "place")
    for (column, tasks), both in runs.groupby(["column", "tasks"], sort=False):
        panel = panels[f"{column}, {tasks}"] = {"none": baselines(table, column, _languages(shared, column, tasks))}
        for (kind, place), seeds in both.groupby(["kind", "place"]):
            panel.setdefault(kind, {})[place] = seeds["score"].tolist()
            rows.append({"target": column, "tasks": tasks, "layers": kind, "depth": names[place], **scored(seeds)})
        if "transferred" in panel:
            panel["transferred"] |= {0: panel["none"], depth + 2: panel.get("frozen", {}).get(0, [])}
        answer.sentences.append(_depth_sentence(column, tasks, both[both["kind"] == "frozen"], names, is_known))
    answer.sentences = [*filter(None, answer.sentences), *apart, *_all_frozen(own, depth + 2)]
    answer.sentences += pooled(own, "column", "tasks", "depth")
    if not is_known and depth + 2 in set(shared["place"]):
        answer.sentences.append(UNKNOWN)
    used = {place for panel in panels.values() for kind in ("frozen", "transferred") for place in panel.get(kind, ())}
    arguments = {"panels": panels, "names": {place: name for place, name in names.items() if place in used}}
    caption = (
        "Score by how many of the lowest layers were frozen in intermediate training, and by how many were taken over from it, "
        "the rest being the base model's (all: everything was): means over seeds, and bands of one standard deviation. A depth "
        "that is chosen here was chosen on test data."
    )
    answer.plots["depth"] = plot_depth, arguments, caption, "depth"
    answer.tables["depth"] = "Scores by depth, and gains over no intermediate training", pd.DataFrame(rows)
    return answer


def _layers_of(table):
    """How many layers the encoder has, by its trainings; without them as many as a run names."""
    named = [_place(text, 0) for text in {*table["frozen"], *table["transferred"]} - {ALL}]
    return int(np.nanmax([table["layers"].max(), 0, *(place - 1 for place in named)]))


def _languages(runs, column, tasks):
    return runs.loc[(runs["column"] == column) & (runs["tasks"] == tasks), "language"].unique()


def _place(text, depth):
    """How many parts of an encoder a selection holds: 0 none, 1 the embeddings, N + 1 the lowest N layers too, and one more for
    all that there is; NaN for selections that do not start at the bottom."""
    special = {NONE: 0, "embeddings": 1, ALL: depth + 2}
    if spelt_out := re.fullmatch(r"embeddings[,+]0(?:-(\d+))?", text):
        return int(spelt_out[1] or 0) + 2
    return special.get(text, int(text) + 1 if text.isdigit() else np.nan)


def _depth_sentence(column, tasks, runs, names, is_known):
    if runs["place"].nunique() < 2:
        return ""
    counted = runs if is_known else runs[runs["place"] < max(names)]
    found = slope(counted["place"].tolist(), counted["score"].tolist(), counted["seed"].tolist()).per_task
    means = runs.groupby("place")["score"].mean()
    best, gained = means.idxmax(), gain_of(runs[runs["place"] == means.idxmax()])
    over = (
        f", {signed(gained.mean)} points from no intermediate training{interval_text(gained)}; as the best of {len(means)} it "
        "flatters"
        if gained.seeds
        else ""
    )
    return (
        f"**{column}** after {tasks}: each further part that is frozen (embeddings, then layers from below) changes the score by "
        f"{estimate_text(found)}. It is highest, {means[best]:.1f}, with {_in_words(names[best])} frozen{over}."
    )


def _in_words(name):
    """What a place on the axis is called, in a sentence."""
    parts = {"none": "nothing", "emb.": "the embeddings", ALL: "everything", "1": "the embeddings and the lowest layer"}
    return parts.get(name, f"the embeddings and the lowest {name} layers")


def _all_frozen(own, place):
    frozen = own[(own["kind"] == "frozen") & (own["place"] == place) & own["gain"].notna()]
    if frozen.empty:
        return []
    most = frozen["gain"].abs().max()
    over = f"in {len(frozen)} pairs, of all targets, languages and seeds, scores differ by at most {most:.2f} points"
    if most < EQUAL:
        return [f"With everything frozen the encoder is that of no intermediate training: {over}."]
    return [
        f"With everything frozen the scores are **not** those of no intermediate training: {over}. One encoder, seed and device "
        "give one score, so something else differs, or the device's sums do not repeat."
    ]
