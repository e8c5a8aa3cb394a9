"""How much was trained: steps and rows of the trainings behind a report's runs, in its table of runs and in a sentence."""

import pandas as pd

from xstilts.page import Table
from xstilts.report import in_order

INTERMEDIATE, TARGET = ("steps", "rows"), ("target_steps", "target_rows")  # columns of score_table.py
UNKNOWN = "not known"


def lineage_table(table, name, order):
    """What lies behind each row of a score table, of one base model: how much it was trained, its runs, seeds and targets."""
    runs, lines = table.drop_duplicates("path"), []
    for row in in_order(set(runs["row"]), order):
        own = runs[runs["row"] == row]
        seeds = " ".join(f"{seed:.0f}" for seed in sorted(set(own["seed"].dropna())))
        trained = amount(own[own["number"] > 0], INTERMEDIATE)
        targets = [_target(column, own[own["column"] == column]) for column in in_order(set(own["column"]), ())]
        lines.append([row, trained, str(len(own)), seeds, "; ".join(targets)])
    caption = (
        "What was run: base model, intermediate training, target. Steps are the optimizer's, rows the different "
        "training rows"
    )
    header = ["intermediate training", "trained", "runs", "seeds", "targets, and what they were trained"]
    columns = ["row", "column", "seed", *INTERMEDIATE, *TARGET]
    numbers = runs[columns[2:]].astype(float).astype("Int64")
    values = runs[columns[:2]].join(numbers).astype(object).replace({pd.NA: None}).values.tolist()
    return Table(name, caption, header, lines, ["intermediate", "target", *columns[2:]], values)


def _target(column, runs):
    found = amount(runs[runs["target_trained"]], TARGET)
    return f"{column}: {found}" if found else column


def amount(runs, columns):
    """`30 steps, 1,500 rows` of a score table's runs, ranges where they differ; "" of no runs."""
    if runs.empty:
        return ""
    parts = [_span(runs[column], column.removeprefix("target_")) for column in columns]
    known = ", ".join(filter(None, parts)) or UNKNOWN
    some = known != UNKNOWN and runs[[*columns]].isna().any(axis=None)
    return f"{known} (some {UNKNOWN})" if some else known


def _span(values, unit):
    """`1,500 to 3,000 rows`; "" where none is known."""
    known = values.dropna().astype(float)
    if known.empty:
        return ""
    low, high = f"{known.min():,.0f}", f"{known.max():,.0f}"
    return f"{low if low == high else f'{low} to {high}'} {unit if high != '1' else unit.removesuffix('s')}"


def amounts(table):
    """A sentence on how much the runs of a score table were trained, in a list; an empty one where nothing was."""
    runs = table.drop_duplicates("path")
    kinds = {
        "intermediate trainings": amount(runs[runs["number"] > 0], INTERMEDIATE),
        "target trainings": amount(runs[runs["target_trained"]], TARGET),
    }
    parts = [f"{kind} {found}" for kind, found in kinds.items() if found]
    return [f"How much was trained: {'; '.join(parts)}."] if parts else []
