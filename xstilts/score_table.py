"""The table behind every figure of a report: a row per run and language, with all that is known of the run.

Which encoder (`row`), trained how (`tasks`, `number`, `draw`, `steps`, `rows`, `taught`, `frozen`, `transferred`,
`bits`), on which target (`column`, `target`), how (`target_steps`, `target_rows`), from which language (`source`),
and what came out (`score`, with its interval over test examples, `low` to `high`, beside that of no intermediate
training).
"""

import math

import pandas as pd

from xstilts.base import UserError
from xstilts.degenerate import has_failed, reasons
from xstilts.lineage import source_language
from xstilts.report import UNTRAINED, base_of, column_of, row_of, seed_of, target_record, training_key
from xstilts.xtreme import XTREME, XTREME_R

NONE = "none"
GROUP = {name: task.group for name, task in {**XTREME, **XTREME_R}.items()}
PLACE = ["base", "column", "seed", "language"]

COLUMNS = (
    "base row column phase target group split seed language score low high metric source zero_shot counts examples data "
    "english_dev flag constant seen seen_in_dev tasks number draw budget steps rows target_trained target_steps target_rows "
    "taught frozen transferred bits subwords_per_word layers path"
).split()


def score_table(runs, found):
    """A DataFrame with a row per language of every run in `runs` ({path: evaluation or retrieval}), columns COLUMNS and:

    baseline, gain    the score of the same column, seed and language without intermediate training, and what was gained over it;
                      baseline_path is that run's
    loss, loss_from   how far a score lies below that of the source language, and which of its scores that is;
                      neither is known where `source` is "": several languages, or nobody knows which
    counts            whether the score counts in averages
    flag              why the run is degenerate, a training behind it is included; `constant`: its predictions in the language are
                      one label; `seen`, `seen_in_dev`: test rows of the language that the encoder was trained on, or selected by,
                      missing where nobody knows

    found    all run.json, {path: content}: what only the trainings know (steps, complexity) is looked up there by `training_key`,
             and missing where they are not among them
    """
    trainings = {
        training_key(run["lineage"][-1]): run
        for run in found.values()
        if run["phase"] in ("intermediate", "target") and run["lineage"][-1].get("fingerprint")
    }
    rows = [row for path, run in runs.items() for row in _rows(path, run, trainings)]
    table = pd.DataFrame(rows, columns=COLUMNS)
    return _with_losses(_with_gains(table))


def _rows(path, run, trainings):
    scores, headline, seed = run["scores"], run["metric"], seed_of(run)
    source = run["source_language"] if "source_language" in run else source_language(run["lineage"])
    data = {record["language"]: record.get("fingerprint") for record in run.get("data", ())}
    one = {
        "base": base_of(run), "row": row_of(run), "column": column_of(run), "phase": run["phase"], "target": run["task"],
        "group": GROUP.get(run["task"], "other"), "split": run.get("split", "test"), "metric": headline,
        "seed": math.nan if seed == UNTRAINED else seed, "source": source or "",
        "path": str(path), **_before(run, trainings), **_of_target(run, trainings),
    }  # fmt: skip
    own_flags = reasons(run) if has_failed(run) else []
    one["flag"] = "; ".join([*one.pop("flags_before"), *one["flag"], *own_flags])
    zero_shot = run.get("zero_shot_languages", list(scores))
    for language, own in scores.items():
        yield {
            **one, "language": language, "score": own[headline], **_interval(own), "zero_shot": language in zero_shot,
            "counts": language not in run.get("in_no_average", ()), "examples": own.get("examples"), "data": data.get(language),
            "subwords_per_word": own.get("subwords_per_word"), "seen": own.get("seen_in_training"),
            "seen_in_dev": own.get("seen_in_dev"),
            "constant": own.get("constant_predictions"),
        }  # fmt: skip


def _interval(scores):
    """Of the headline score of a language, as an evaluation found it; retrieval and single examples have none."""
    found = scores.get("interval")
    return dict(
        zip(("low", "high"), found if isinstance(found, list) and len(found) == 2 else (None, None), strict=True)
    )


# ---- what happened to the encoder -----------------------------------------------------------------------------------


def _before(run, trainings):
    """What the intermediate training was, as columns; several one after another count as one, of which all have to be known."""
    target = target_record(run)
    records = [record for record in run["lineage"][1:] if record is not target]
    taken = [*(target or {}).get("factors", ()), *run.get("factors", ())]
    transferred = next((each.removeprefix("transfer-") for each in taken if each.startswith("transfer-")), "all")
    tasks = [name for record in records for name in record.get("tasks") or [record["task"]]]
    known = [trainings[training_key(record)] for record in records if training_key(record) in trainings]
    last = known[-1] if known and len(known) == len(records) else {}
    arguments = last.get("arguments", {})
    return {
        "tasks": "+".join(tasks), "number": len(tasks),
        "draw": arguments.get("task_subset_seed") if arguments.get("task_subset_size") else None,
        "budget": _budget(arguments), "steps": sum(each["steps"] for each in known if "steps" in each) or None if last else None,
        "rows": sum(map(_rows_of, known)) or None if last else None,
        "taught": ",".join(sorted({code for record in records for code in record.get("languages", ())})),
        "frozen": records[-1].get("frozen", NONE) if records else NONE, "transferred": transferred if records else NONE,
        "bits": _bits(last), "layers": sum(map(str.isdigit, last.get("weight_change", {}))) or None,
        "flags_before": [reason for training in known for reason in reasons(training)],
    }  # fmt: skip


def _rows_of(training):
    """How many different rows a training had; 0 where it does not say."""
    if measured := training.get("complexity"):
        return sum(part["rows"] for part in measured.values())
    return sum(each.get("rows") or 0 for each in training.get("data", ()) if each.get("split") == "train")


def _budget(arguments):
    """How the number of steps was set, in words; '' where epochs did."""
    if arguments.get("max_steps_per_task"):
        return f"{arguments['max_steps_per_task']} steps a task"
    return f"{arguments['max_steps']} steps" if (arguments.get("max_steps") or -1) > 0 else ""


def _bits(training):
    """Prequential bits an example of a training on one task; None where there were several, or it was not measured."""
    measured = training.get("complexity", {})
    return next(iter(measured.values())).get("prequential_bits_per_example") if len(measured) == 1 else None


def _of_target(run, trainings):
    """What the target training was, as columns."""
    record = target_record(run)
    training = trainings.get(training_key(record or {}), {})
    return {
        "target_trained": record is not None,
        "english_dev": training.get("dev_scores", {}).get(training.get("metric")), "flag": reasons(training),
        "target_steps": training.get("steps"), "target_rows": _rows_of(training) or None,
    }  # fmt: skip


# ---- beside each other ----------------------------------------------------------------------------------------------


def _with_gains(table):
    """Columns `baseline`, `baseline_path` and `gain`. An untrained encoder's retrieval has no seed and serves all."""
    none = table[table["row"] == NONE]
    known = dict(zip(_places(none), zip(none["score"], none["path"], strict=True), strict=True))
    places = _places(table)
    found = [known.get(place) or known.get((*place[:2], UNTRAINED, place[3])) or (math.nan, None) for place in places]
    table["baseline"], table["baseline_path"] = ([each[side] for each in found] for side in (0, 1))
    table["baseline"] = table["baseline"].astype(float)
    table["gain"] = table["score"] - table["baseline"]
    return table


def without_degenerate(table):
    """The rows of runs that are not degenerate, with their gains over such runs alone."""
    return _with_gains(table[table["flag"] == ""].copy())


def _places(table):
    """Where each row stands, as tuples."""
    return list(table[PLACE].fillna({"seed": UNTRAINED}).itertuples(index=False, name=None))


def _with_losses(table):
    """Columns `loss`, of evaluations, and `loss_from`: the source language's `test` score, or where there is no test set in it
    (XCOPA) the `dev` score."""
    sources = table[(table["language"] == table["source"]) & (table["phase"] == "eval")]
    source = dict(zip(sources["path"], sources["score"], strict=True))
    tested = table["path"].map(source).astype(float)
    dev = table["english_dev"].astype(float).where((table["phase"] == "eval") & (table["source"] != ""))
    table["loss"] = tested.fillna(dev) - table["score"]
    table["loss_from"] = tested.notna().map({True: "test", False: "dev"}).where(table["loss"].notna(), None)
    return table


def check_data(table):
    """Raise UserError where scores of one column and language are of different test sets, with two of the runs."""
    for (column, language), own in table[table["data"].notna()].groupby(["column", "language"]):
        if own["data"].nunique() > 1:
            first, other = own.drop_duplicates("data")["path"].iloc[:2]
            raise UserError(
                f"{first} and {other} score {column} in '{language}' on different rows; give folders of one kind, or "
                "--mixed_data to see them in one table, marked"
            )


def mixed_columns(table):
    """Columns whose scores are of different test sets."""
    counts = table[table["data"].notna()].groupby(["column", "language"])["data"].nunique()
    return sorted({column for (column, _), count in counts.items() if count > 1})
