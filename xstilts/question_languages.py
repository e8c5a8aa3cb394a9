"""Question 2: what intermediate training in several languages gains over English, in low-resource and other languages."""

from itertools import combinations
from types import SimpleNamespace

import numpy as np
import pandas as pd

from xstilts.answer import ENGLISH, Answer, gain_of, pooled, run_means, scored, whole
from xstilts.language_facts import low_resource
from xstilts.study_plots import plot_resources
from xstilts.wording import interval_text, listed, signed

NO_SOURCE = "Left out, because the language that it was learnt in is not one, or not known"
KINDS = {"low": "low-resource", "high": "other"}


def languages(table, facts, options):
    """Gains in low-resource and other languages after intermediate training in English, and in several languages."""
    own = whole(
        table[(table["taught"] != "") & (table["phase"] == "eval") & (table["language"] != table["source"])]
    ).copy()
    own = own[own.groupby(["column", "tasks"])["taught"].transform("nunique") > 1]
    apart, own = sorted(set(own.loc[own["source"] == "", "column"])), own[own["source"] != ""]
    if own.empty:
        return None
    low, unknown = low_resource(facts, **options.get("low_resource", {}))
    own["class"] = [_class(code, low, unknown, facts) for code in own["language"]]
    own["seen"] = [row.language in row.taught.split(",") for row in own.itertuples()]
    answer, panels, points, rows = Answer(), {}, {}, []
    for (column, tasks, taught), trained in own.groupby(["column", "tasks", "taught"], sort=False):
        for name, languages_of in trained.groupby("class"):
            found = gain_of(run_means(languages_of))
            over = gain_of(run_means(_against(ENGLISH, languages_of, own)))
            rows.append(
                {"target": column, "tasks": tasks, "taught": taught, "class": name, "steps": trained["steps"].max(),
                 "rows": trained["rows"].max(), "languages": _codes(languages_of),
                 "seen": _codes(languages_of[languages_of["seen"]]), **scored(run_means(languages_of)), "over_english": over.mean,
                 "over_english_low": over.low, "over_english_high": over.high, "over_english_p": over.p}
            )  # fmt: skip
            if name in ("low", "high") and found.mean is not None:
                row = f"{tasks} in {_spaced(taught)}"
                panels.setdefault(column, {}).setdefault(row, {})[name] = (found.mean, found.low, found.high)
                points[column, row, name] = [*languages_of.groupby("language")["gain"].mean().dropna().items()]
            answer.sentences.append(_resource_sentence(column, tasks, taught, name, found, over))
    if not panels:
        return None
    contrasts = list(_contrasts(own))
    answer.sentences = [*filter(None, answer.sentences), *map(_contrast_sentence, contrasts), *_matched(own)]
    answer.sentences += [*pooled(own, "column", "tasks", "taught")]
    if apart:
        answer.sentences.append(f"{NO_SOURCE}: {listed(apart)}.")
    if neither := sorted(set(own.loc[own["class"] == "unknown", "language"])):
        answer.sentences.append(f"In neither class, for want of numbers: {listed(neither)}.")
    caption = (
        "Gains over no intermediate training in low-resource and other languages, the target's own source language left out: "
        "means over languages and seeds with 95 percent intervals (Student's t over seeds), and as small dots single languages."
    )
    answer.plots["resources"] = plot_resources, {"panels": panels, "points": points}, caption, "resources"
    answer.tables["resources"] = (
        "Gains by resources, over no intermediate training and over English alone",
        pd.DataFrame(rows),
    )
    if contrasts:
        caption = "Differences between trainings in several languages, paired by seed and language"
        answer.tables["contrasts"] = caption, pd.DataFrame(contrasts)
    return answer


def _codes(runs):
    return " ".join(sorted(set(runs["language"])))


def _class(code, low, unknown, facts):
    return "low" if code in low else "high" if code in facts.index and code not in unknown else "unknown"


def _against(taught, trained, own):
    """The runs `trained`, of one column and intermediate task, with the score after training in `taught` as baseline."""
    column, tasks = trained[["column", "tasks"]].iloc[0]
    other = own[(own["column"] == column) & (own["tasks"] == tasks) & (own["taught"] == taught)]
    scores = other.groupby(["seed", "language"])["score"].mean()
    places = zip(trained["seed"], trained["language"], strict=True)
    return trained.assign(baseline=[scores.get(place, np.nan) for place in places])


def _contrasts(own):
    """Rows on the difference that other languages make: of trainings in several languages each against each."""
    several = own[own["taught"].str.contains(",") & own["class"].isin(["low", "high"])]
    for (column, tasks, name), runs in several.groupby(["column", "tasks", "class"], sort=False):
        for first, second in combinations(runs["taught"].unique(), 2):
            found = gain_of(run_means(_against(first, runs[runs["taught"] == second], own)))
            if found.mean is not None:
                yield {
                    "target": column, "tasks": tasks, "class": name, "taught": second, "against": first,
                    "difference": found.mean, "low": found.low, "high": found.high, "p": found.p, "seeds": found.seeds,
                }  # fmt: skip


def _contrast_sentence(each):
    kind, found = KINDS[each["class"]], SimpleNamespace(**each)
    return (
        f"**{found.target}**, {kind} languages: {found.tasks} in {_spaced(found.taught)} scores {signed(found.difference)} "
        f"points against {found.tasks} in {_spaced(found.against)}{interval_text(found)}."
    )


def _spaced(codes):
    return codes.replace(",", ", ")


def _resource_sentence(column, tasks, taught, name, found, over):
    if found.mean is None or name == "unknown":
        return ""
    against = (
        ""
        if taught == ENGLISH or over.mean is None
        else f", and by {signed(over.mean)} against English alone{interval_text(over)}"
    )
    return (
        f"**{column}**, {KINDS[name]} languages: {tasks} in {_spaced(taught)} changes the score by {signed(found.mean)} "
        f"points against no intermediate training{interval_text(found)}{against}."
    )


def _matched(own):
    """A sentence per intermediate task: whether its trainings had as many rows and steps, whatever their languages."""
    for tasks, same in own.groupby("tasks", sort=False):
        trainings = same.groupby("row", sort=False)[["steps", "rows"]].max().astype(float)
        known = trainings.dropna()
        if len(known) < len(trainings):
            lost = listed(row for row in trainings.index if row not in known.index)
            yield f"How many rows and steps {lost} had is not known: not all run.json of these trainings are among the runs."
            continue
        equal = all((known[name].max() - known[name].min()) <= 0.01 * known[name].max() for name in known)
        sizes = "; ".join(f"{row}: {each.rows:.0f} rows, {each.steps:.0f} steps" for row, each in known.iterrows())
        yield f"The trainings on {tasks} {'are' if equal else 'are NOT'} matched in rows and steps ({sizes})."
