"""The report's tables as it shows them: figures rounded, marks added, unrounded values beside for the CSV files."""

import hashlib
import math

import pandas as pd

from xstilts.gain_plots import plot_gains
from xstilts.language_facts import DISTANCES, OWN_DISTANCE
from xstilts.overview import benchmark_averages, cells, chosen, comparable
from xstilts.page import Figure, Table
from xstilts.report import data_remarks, in_order, row_of
from xstilts.score_table import NONE
from xstilts.wording import p_text, plain, signed
from xstilts.xtreme import GROUPS

CORRELATIONS = ("pearson", "spearman", "smallest_significant_r", "partial_cc100", "partial_fertility")
SHARES = (
    "bits",
    "cc100_gib",
    "subwords_per_word",
    "subwords_per_character",
    "unknown_share",
    "too_long_share",
)  # three digits
LONGEST = 80  # bytes of a name; two stand in some names of files
STAR, DAGGER = "*", "†"
ON_ORACLE = "The oracle chooses by the target languages' own dev sets, which a zero-shot user does not have."
MARKS = {
    STAR: "a gain or loss over no intermediate training that is significant at 0.05 after Holm's correction over the table",
    DAGGER: "some of the runs are degenerate, see their list",
}
COLOURED = (
    "Scores, and below them gains over no intermediate training in points. The colour is the end of the gain's 95 percent "
    "interval that is nearest to 0; pale where the interval includes 0, or where there is only one seed. Flagged where some "
    "of the runs are degenerate"
)
METHODS = {
    "t over seeds": "Student's t over seed-paired gains",
    "bootstrap over examples and seeds": "bootstrap over examples and seeds",
    "one seed": "none where there is one seed",
    "no seed in common": "none where no seed is without intermediate training too",
}


def shown(value, digits=1):
    """A cell: floats with `digits` decimals and a real minus, nothing where there is nothing."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return plain(value, digits) if isinstance(value, float) else str(value)


def frame_table(name, caption, frame, notes=()):
    """A DataFrame as a Table: p values in words, shares with three digits, correlations and distances with two, all other floats
    with one."""
    columns = list(frame.columns)
    return Table(
        name, caption, [column.replace("_", " ") for column in columns],
        [[_cell(column, value) for column, value in zip(columns, line, strict=True)] for line in _rows(frame)],
        columns, _rows(frame), tuple(notes),
    )  # fmt: skip


def _rows(frame):
    """Rows as lists of plain values, None for what is missing."""
    return frame.astype(object).where(frame.notna(), None).values.tolist()


def _cell(column, value):
    if value is not None and (column in ("p", "p_holm") or column.endswith("_p")):
        return p_text(value).removeprefix("p = ").removeprefix("p ")
    precise = column in (*CORRELATIONS, *DISTANCES, OWN_DISTANCE)
    return shown(value, 3 if column in SHARES else 2 if precise else 1)


# ---- intermediate tasks by targets ----------------------------------------------------------------------------------


def overview_blocks(table, name, order, folder, remarks=()):
    """Table and heat map of one base model's runs on test sets; `order` is (rows, columns), `remarks` are on the rows scored."""
    found = cells(table)
    rows, columns = in_order(set(found["row"]), order[0]), in_order(set(found["column"]), order[1])
    places = {(each.row, each.column): each for each in found.itertuples()}
    lines = [[row, *(_gain_cell(places.get((row, column))) for column in columns)] for row in rows]
    csv_columns = [
        "row", "column", "score", "deviation", "seeds", "languages", "gain", "low", "high", "p", "p_holm", "significant",
        "method", "paired_seeds", "flagged",
    ]  # fmt: skip
    ordered = [places[row, column] for row in rows for column in columns if (row, column) in places]
    csv_rows = _rows(pd.DataFrame(ordered)[csv_columns]) if ordered else []
    csv_header = ["intermediate", "target", *csv_columns[2:]]
    methods = _methods(found)
    shown_marks = "".join(cell for _, *cells in lines for cell in cells)
    notes = [*(f"{mark} {meaning}" for mark, meaning in MARKS.items() if mark in shown_marks)]
    notes += [*comparable(table)[1], *remarks]
    header = ["intermediate task", *columns]
    caption = "Mean over the languages that all runs of a column have, and over seeds"
    gained = [each for each in ordered if each.row != NONE and not _missing(each.gain)]
    if gained:
        caption += "; in brackets the gain over no intermediate training, paired by seed"
    elif any(row != NONE for row in rows):
        notes.append("No gain is known: no run without intermediate training has the same target and seed.")
    blocks = [Table(name, caption, header, lines, csv_header, csv_rows, tuple(notes))]
    if gained:
        drawn = {place: _drawn(each) for place, each in places.items()}
        plot_gains(rows, columns, drawn, folder / f"{name}.svg")
        blocks.append(Figure(name, COLOURED, f"{name}.csv"))
        blocks.append(_intervals_table(f"{name}-gains", gained, methods, remarks))
    return blocks


def _methods(found):
    """How the intervals of gains came about, in words; "" where there are no gains."""
    names = sorted(set(found.loc[found["row"] != NONE, "method"]))
    return "; ".join(METHODS.get(name, name) for name in names)


def _gain_cell(each):
    if each is None:
        return ""
    gain = (
        "" if each.row == NONE or _missing(each.gain) else f" ({signed(each.gain)}{STAR if each.significant else ''})"
    )
    return f"{shown(each.score)}{DAGGER if each.flagged else ''}{gain}{f' {_over(each)}' if each.alone else ''}"


def _over(each):
    """How many languages a mean is over, where others of its column are over others."""
    return f"over {each.languages} language{'s' * (each.languages > 1)}"


def _missing(value):
    return value is None or math.isnan(value)


def _drawn(each):
    """A cell as plot_gains reads it."""
    gain = None if each.row == NONE or _missing(each.gain) else each.gain
    ends = [each.low, each.high] if gain is not None and not _missing(each.low) else [0, 0]
    sure = min(ends, key=abs) if ends[0] * ends[1] > 0 else 0
    own = {"score": each.score, "gain": gain, "sure": sure, "over": _over(each) if each.alone else None}
    return {**own, "significant": bool(each.significant), "flagged": bool(each.flagged)}


def _intervals_table(name, gained, methods, remarks):
    rows = [
        {"intermediate": each.row, "target": each.column, "gain": each.gain, "low": each.low, "high": each.high, "p": each.p,
         "p_holm": each.p_holm, "seeds": each.paired_seeds}
        for each in gained
    ]  # fmt: skip
    columns = ["intermediate", "target", "gain", "low", "high", "p", "p_holm", "seeds"]
    caption = "Gains in points with 95 percent intervals, p against no gain, and p corrected over this table by Holm"
    return frame_table(name, caption, pd.DataFrame(rows, columns=columns), [f"Intervals and p: {methods}.", *remarks])


def chosen_table(table, name, order, remarks=()):
    """Which intermediate training selection would have chosen for each target, or None where nothing can be chosen from."""
    found = {by: own for by, own in chosen(table).items() if own}
    columns = in_order({column for own in found.values() for column in own}, order)
    if not found or table["row"].nunique() < 2:
        return None
    lines = [[by, *(_chosen_cell(own.get(column)) for column in columns)] for by, own in found.items()]
    rows = [[by, column, *values] for by, own in found.items() for column, values in own.items()]
    notes = (*([ON_ORACLE] if "oracle" in found else ()), *comparable(table[table["split"] == "test"])[1], *remarks)
    caption = (
        "The best intermediate training for each target, by what it is chosen by: its score on the test sets, and as dev the "
        "mean score that chose it"
    )
    csv_header = ["chosen_by", "target", "row", "score", "gain", "dev", "tied_with"]
    return Table(name, caption, ["chosen by", *columns], lines, csv_header, rows, notes)


def _chosen_cell(found):
    if found is None:
        return ""
    row, score, gained, dev, tied = found
    row = f"{row}, tied with {tied}" if tied else row
    return f"{row}: {shown(score)}{'' if gained is None else f' ({signed(gained)})'}, dev {shown(dev)}"


def benchmark_table(runs, name, order):
    """XTREME's and XTREME-R's averages by row; a cell whose tasks or languages are incomplete is empty. None without rows."""
    rows, lines = [], []
    for benchmark, own in benchmark_averages(runs, row_of).items():
        for row in in_order(own, order):
            found, missing = own[row], own[row]["missing_tasks"]
            values = [found["all_task"], *(found["groups"][group] for group in GROUPS), found["mean_of_available"]]
            rows.append([benchmark, row, *values, " ".join(missing)])
            lines.append([benchmark, row, *map(shown, values), " ".join(missing)])
    header = ["benchmark", "row", "all tasks", *GROUPS, "mean of available", "incomplete tasks"]
    if not rows:
        return None
    caption = (
        "The benchmarks' own averages, of means over seeds. The mean of what is available is over the tasks and languages that "
        "all rows have, and compares with nothing but the same"
    )
    return Table(name, caption, header, lines, header, rows, tuple(data_remarks(runs)))


def slug(label):
    """A label without what file names should not hold, and not longer than they may be."""
    text = "".join(character if character.isalnum() else "-" for character in label).strip("-") or "unnamed" * bool(
        label
    )
    if len(text.encode()) <= LONGEST:
        return text
    digest = hashlib.sha256(label.encode(errors="backslashreplace")).hexdigest()[:8]
    return f"{text.encode()[: LONGEST - 9].decode(errors='ignore')}-{digest}"
