"""Published numbers to stand beside ours in a report: configs/published_results.csv, one score a line, each with its source.

None of them was made with this code, so every one says how it differs; a number whose source could not be read is not there.
"""

import csv
import io
from pathlib import Path

from xstilts.base import UserError
from xstilts.page import MISSING, Table
from xstilts.text_files import text_of
from xstilts.wording import plain, signed
from xstilts.xtreme import BENCHMARKS

PATH = Path(__file__).parent.parent / "configs" / "published_results.csv"
COLUMNS = (
    "system", "base_model", "intermediate", "benchmark", "task", "metric", "languages", "kind", "value", "split", "protocol",
    "source",
)  # fmt: skip
KINDS = {
    "score": (0, 100),
    "gain": (-100, 100),
}  # what a value is, and its range; a gain is over the same without training
PAPER = "Phang et al. 2020, first version (arXiv 2005.13013v1), Table 2"  # the source that paper_table.py puts beside our runs
SPLITS = ("dev", "test")
ONE_LINE = ("system", "base_model", "intermediate", "benchmark", "split", "protocol", "source", "kind")
ONE_CELL = (*ONE_LINE, "task", "metric")


def read_published(path=PATH):
    """Lines of the file as dicts: strings, but `value` (a score or a gain) as float and `languages` (how many) as int.

    Raises UserError for other columns, an empty cell, a benchmark, task, metric, split or kind that is unknown, a number out of
    range, and a value that stands there twice.
    """
    try:
        reader = csv.DictReader(io.StringIO(text_of(path), newline=""), strict=True)
        rows = [(f"{path}:{reader.line_num}", row) for row in reader]
    except OSError as error:
        raise UserError(f"published results {path} cannot be read ({error.strerror})") from error
    except csv.Error as error:
        raise UserError(f"{path} is not CSV ({error})") from error
    if tuple(reader.fieldnames or ()) != COLUMNS:
        raise UserError(f"{path}: the columns must be {','.join(COLUMNS)}")
    found = {}
    for place, row in rows:
        checked = _checked(row, place)
        cell = tuple(checked[name] for name in ONE_CELL)
        if cell in found:
            raise UserError(f"{place}: {row['metric']} of {row['system']:.40} on {row['task']} stands there twice")
        found[cell] = checked
    return list(found.values())


def _checked(row, place):
    """A line with its numbers as numbers."""
    if None in row or None in row.values():
        raise UserError(f"{place}: expected {len(COLUMNS)} columns; cells with a comma stand in quotes")
    for name, value in row.items():
        if not value.strip():
            raise UserError(f"{place}: `{name}` is empty; a number without it has no place in the file")
    tasks = BENCHMARKS.get(row["benchmark"], {})
    metrics = tasks[row["task"]].metrics if row["task"] in tasks else ()
    for name, known in (
        ("benchmark", BENCHMARKS), ("task", tasks), ("metric", metrics), ("split", SPLITS), ("kind", KINDS)
    ):  # fmt: skip
        if row[name] not in known:
            raise UserError(f"{place}: {name} '{row[name]:.40}' is not one of {', '.join(known)}")
    languages = _number(row, "languages", int, 1, 1000, place)
    return {**row, "languages": languages, "value": _number(row, "value", float, *KINDS[row["kind"]], place)}


def _number(row, name, kind, low, high, place):
    try:
        value = kind(row[name])
    except ValueError as error:
        raise UserError(f"{place}: {name} '{row[name]:.40}' is not a number") from error
    if not low <= value <= high:
        raise UserError(f"{place}: {name} {row[name]:.40} is not between {low} and {high}")
    return value


def published_for(targets, path=PATH):
    """A `page.Table` of what is published on `targets`, names of tasks: a line per system, benchmark, protocol and source, with a
    column per target; None where nothing is. Its notes say of every line how it differs from ours, and where it was read.
    Table 2 of the paper is left to `paper_table.py`."""
    rows = [row for row in read_published(path) if row["task"] in targets and row["source"] != PAPER]
    if not rows:
        return None
    columns = [target for target in dict.fromkeys(targets) if any(row["task"] == target for row in rows)]
    lines = {}
    for row in rows:
        lines.setdefault(tuple(row[name] for name in ONE_LINE), []).append(row)
    shown = [
        [system, base, intermediate, f"{benchmark} {split}", *(_cell(own, column) for column in columns), str(number)]
        for number, ((system, base, intermediate, benchmark, split, *_), own) in enumerate(lines.items(), start=1)
    ]
    return Table(
        name="published",
        caption="Published numbers, as their sources have them: none was made with this code. The last column counts the notes.",
        header=["system", "base model", "intermediate", "benchmark", *columns, "note"],
        lines=shown,
        csv_header=list(COLUMNS),
        csv_rows=[[row[name] for name in COLUMNS] for row in rows],
        notes=_notes(lines),
    )


def _cell(rows, target):
    """Scores of a line on a target as published, marked where they are over other languages than the benchmark's; "" for none."""
    own = {row["metric"]: row for row in rows if row["task"] == target}
    if not own:
        return ""
    some = next(iter(own.values()))
    metrics = reversed(BENCHMARKS[some["benchmark"]][target].metrics)  # F1 before exact match
    form = plain if some["kind"] == "score" else signed
    scores = [form(own[name]["value"]) if name in own else MISSING for name in metrics]
    return " / ".join(scores) + ("*" if _benchmark_has(some) != some["languages"] else "")


def _benchmark_has(row):
    """How many languages the benchmark has of a line's task."""
    return len(BENCHMARKS[row["benchmark"]][row["task"]].languages)


def _notes(lines):
    """What is to be known of all lines, then a note on each."""
    notes = []
    if any(row["metric"] == "exact_match" for rows in lines.values() for row in rows):
        notes.append("Two numbers are F1 / exact match.")
    for number, (key, rows) in enumerate(lines.items(), start=1):
        others = {row["task"]: row for row in rows if row["languages"] != _benchmark_has(row)}
        counts = ", ".join(
            f"{task} {row['languages']} instead of {_benchmark_has(row)}" for task, row in others.items()
        )
        marked = f" * Not the benchmark's languages: {counts}." if others else ""
        notes.append(f"{number}: {key[5]}.{marked} Source: {key[6]}.")
    return tuple(notes)
