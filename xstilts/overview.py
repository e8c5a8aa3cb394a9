"""The report's first figures: intermediate tasks by targets, what selection would have chosen, the benchmarks' averages.

Everything is made of the table of `score_table.py`, one base model at a time.
"""

from pathlib import Path
from statistics import mean

import numpy as np
import pandas as pd

from xstilts.answer import gain_of, in_common, run_means
from xstilts.base import UserError, read_json
from xstilts.report import column_of
from xstilts.score_table import NONE
from xstilts.sealed import arrays_of, damage
from xstilts.statistics import BOOTSTRAP_FROM, holm, summary
from xstilts.xtreme import BENCHMARKS, averages

LEVEL = 0.05  # of significance, after Holm's correction over the cells of an overview


def cells(table):
    """A DataFrame with a row per row and column of the overview:

    score, deviation, seeds, languages   mean over languages and seeds, standard deviation over seeds, and how many there are
    gain, low, high, p, method           over no intermediate training, paired by seed, see `statistics.gain`
    p_holm, significant                  the same p corrected over all cells but those of `none`
    flagged                              how many runs are degenerate
    alone                                whether the column's runs have no language in common, so that nothing is compared
    Means and gains are over the `comparable` languages.
    """
    table, _ = comparable(table)
    own = pd.DataFrame([_cell(*place, runs) for place, runs in table.groupby(["row", "column"], sort=False)])
    treated = own["row"] != NONE
    own.loc[treated, "p_holm"] = holm(own.loc[treated, "p"].tolist())
    own["p_holm"] = own["p_holm"].astype(float)
    own["significant"] = own["p_holm"] < LEVEL
    return own


def comparable(table):
    """(a score table in the languages that all runs of a column have, a sentence on each column where some lack one).

    A column whose runs have no language in common keeps all of them, and has no gains: its rows are `alone`.
    """
    shared, sentences = in_common(table, "column")
    alone = ~table["column"].isin(shared["column"])
    kept = table.assign(alone=alone)[alone | table.index.isin(shared.index)].copy()
    kept.loc[kept["alone"], ["baseline", "baseline_path", "gain"]] = np.nan
    return kept, sentences


def _cell(row, column, runs):
    own, many = run_means(runs), runs.loc[runs["baseline"].notna(), "seed"].nunique() >= BOOTSTRAP_FROM
    found, spread = gain_of(own, _examples(runs) if many else None), summary(own["score"].tolist())
    return {
        "row": row, "column": column, "target": runs["target"].iloc[0], "score": spread.mean, "deviation": spread.deviation,
        "seeds": spread.n, "languages": runs["language"].nunique(), "gain": found.mean, "low": found.low, "high": found.high,
        "p": found.p, "method": found.method, "paired_seeds": found.seeds, "p_holm": None,
        "flagged": runs.loc[runs["flag"] != "", "path"].nunique(), "alone": bool(runs["alone"].any()),
    }  # fmt: skip


def _examples(runs):
    """(ours, theirs): {language: (seeds, examples, 2)} from the ratios.npz beside the runs; None where one has none, or lacks a
    language of theirs."""
    pairs = runs[runs["baseline"].notna()].drop_duplicates("path").sort_values("seed")
    files = [[Path(path).with_name("ratios.npz") for path in pairs[name]] for name in ("path", "baseline_path")]
    if not all(file.exists() for side in files for file in side):
        return None
    ours, theirs = ([_ratios(file) for file in side] for side in files)
    codes = sorted(set(runs.loc[runs["baseline"].notna(), "language"]))
    if not all(code in each for each in [*ours, *theirs] for code in codes):
        return None
    return tuple({code: np.stack([each[code] for each in side]) for code in codes} for side in (ours, theirs))


def _ratios(path):
    """{language: (examples, 2) array} of a file of ratios. Raises UserError for anything else, which may be anybody's pickle."""
    run = read_json(path.parent / "run.json") or {}
    if reason := damage(path.parent, {name: each for name, each in run.get("files", {}).items() if name == path.name}):
        raise UserError(f"{path} is damaged ({reason}); delete it, or evaluate again")
    try:
        return arrays_of(path)
    except ValueError as error:
        raise UserError(f"{path} holds no arrays of numbers ({error}); delete it, or evaluate again") from error


# ---- what selection chooses -----------------------------------------------------------------------------------------


def chosen(table):
    """{name: {column: (row, score, gain, dev, rows tied with it)}}: the intermediate training that would have been chosen for a
    target, its score and gain in the `comparable` languages, and the mean score that it was chosen by.

    best by English dev     highest mean dev score of the target training, as a user without target-language data would choose
    oracle                  highest mean over the target languages' own dev sets, in those that all trainings were evaluated on
                            (`--split validation`)
    """
    tests, _ = comparable(table[table["split"] == "test"])
    dev = tests.drop_duplicates("path").groupby(["column", "row"])["english_dev"].mean()
    validation = table[(table["split"] == "validation") & table["zero_shot"]].copy()
    validation["column"] = [_without_split(column) for column in validation["column"]]
    oracle = in_common(validation, "column")[0].groupby(["column", "row"])["score"].mean()
    return {
        "best by English dev": _picked(tests, dev),
        "oracle": _picked(tests, oracle),
    }


def _without_split(column):
    return column.replace(" (validation)", "").replace(", validation)", ")")


def _picked(tests, by):
    picked = {}
    for column, own in tests.groupby("column", sort=False):
        choices = by[column].dropna() if column in by.index.get_level_values(0) else ()
        if len(choices):
            row = choices.idxmax()
            runs = own[own["row"] == row]
            gained = None if row == NONE or runs["gain"].isna().all() else runs["gain"].mean()
            tied = ", ".join(other for other in choices.index[choices == choices[row]] if other != row)
            picked[column] = row, run_means(runs)["score"].mean(), gained, choices[row], tied
    return picked


# ---- benchmarks -----------------------------------------------------------------------------------------------------


def benchmark_averages(runs, row_of):
    """{benchmark: {row: averages of `xtreme.averages`}}, the mean over seeds of each score first; runs of one base model.
    `mean_of_available` is over the tasks and languages that all rows have, None where there are none.

    Of several columns of a task (a layer more, another recipe) the one with the most rows counts, of two the first by name.
    """
    found = {}
    for name, tasks in BENCHMARKS.items():
        by_row = _scores_by_row(runs, row_of, tasks)
        for row, scores in by_row.items():
            shared = averages(name, _shared(scores, by_row.values()))["mean_of_available"]
            found.setdefault(name, {})[row] = averages(name, scores) | {"mean_of_available": shared}
    return found


def _shared(scores, rows):
    """The part of {task: {language: scores}} that all `rows` have."""
    return {
        task: {code: each for code, each in own.items() if all(code in other.get(task, {}) for other in rows)}
        for task, own in scores.items()
    }


def _scores_by_row(runs, row_of, tasks):
    """{row: {task: {language: {metric: mean over seeds}}}}."""
    tests = [run for run in runs if run["task"] in tasks and run.get("split", "test") == "test"]
    kept, seeds = [run for run in tests if _has_metrics(run, tasks[run["task"]].metrics)], {}
    counted = _fullest_columns(kept, row_of)
    for run in kept:
        if column_of(run) in counted:
            for language, own in counted_scores(run).items():
                seeds.setdefault(row_of(run), {}).setdefault(run["task"], {}).setdefault(language, []).append(own)
    return {
        row: {
            task: {code: _means(each, tasks[task].metrics) for code, each in by_language.items()}
            for task, by_language in by_task.items()
        }
        for row, by_task in seeds.items()
    }


def counted_scores(run):
    """The scores of a run without those that count in no average."""
    return {language: own for language, own in run["scores"].items() if language not in run.get("in_no_average", ())}


def _fullest_columns(runs, row_of):
    """Of each task the column with the most rows."""
    rows = {}
    for run in runs:
        rows.setdefault(run["task"], {}).setdefault(column_of(run), set()).add(row_of(run))
    return {max(sorted(own), key=lambda column: len(own[column])) for own in rows.values()}


def _has_metrics(run, names):
    """Whether a run has the benchmark's scores, and not only others (a sample of BUCC has none of mining)."""
    return all(set(names) <= own.keys() for own in run["scores"].values())


def _means(scores, names):
    return {name: mean(each[name] for each in scores) for name in names}
