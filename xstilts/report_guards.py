"""What a reader has to know before he believes scores: which runs are degenerate, and which test rows were trained on."""

from xstilts.degenerate import reasons, tasks_at_chance
from xstilts.report import row_of
from xstilts.report_tables import frame_table
from xstilts.wording import listed

DEGENERATE = (
    "Degenerate runs: a training behind them ended within two standard errors of chance on its selection set, with a higher loss "
    "than it began with, with that of knowing nothing (flat), or with a score that is not finite; or the predictions in a "
    "language are one label. Where that is so in some languages only, not the source, the run stays in all tables"
)
SEEN = (
    "Test rows that the encoder had been trained on: the same text, whole inputs without their labels, after NFKC, case folding "
    "and collapsing of white space; for retrieval, sentences or queries that are a text of a training row; and test rows that "
    "are in the dev set that chose the checkpoint. Of several seeds the most"
)
NAMES = {"base": "base_model", "row": "intermediate_training", "column": "target", "flag": "why"}


def degenerate_table(table):
    """The degenerate runs of a score table, and those with a language of one label; None where there are none."""
    constant = table[table["constant"].eq(True)].groupby("path")["language"].agg(", ".join)
    runs = table.drop_duplicates("path").set_index("path", drop=False)
    some = {path: f"constant predictions in {found}" for path, found in constant.items()}
    why = [flag or some.get(path, "") for path, flag in runs["flag"].items()]
    flagged = runs.assign(flag=why)[[reason != "" for reason in why]]
    if flagged.empty:
        return None
    shown = flagged[["base", "row", "column", "seed", "flag"]].astype({"seed": "Int64"})
    return frame_table("degenerate", DEGENERATE, shown.rename(columns=NAMES).reset_index(drop=True))


def partly_learned(found):
    """Sentences on trainings in several tasks of which some ended at chance, of {path: run.json}."""
    lines = {}
    for run in found.values():
        low = tasks_at_chance(run)
        if low and not reasons(run):
            lines.setdefault(row_of(run), []).append(f"{listed(low)} (seed {run['seed']})")
    return [
        f"{row}: some of its tasks ended at chance on their selection sets, {'; '.join(sorted(each))}. The encoder has learned "
        "from the others, and the runs stay in all tables."
        for row, each in sorted(lines.items())
    ]


def seen_blocks(table):
    """A table of the test rows that were trained on, and sentences on where there are none and where that is not known."""
    known = table[table["seen"].notna()]
    unknown = [name for name in table["column"].unique() if name in {*table.loc[table["seen"].isna(), "column"]}]
    blocks, found = [], known[(known["seen"] > 0) | (known["seen_in_dev"] > 0)]
    if len(found):
        keys, counts = ["base", "row", "column"], ["seen", "seen_in_dev"]
        most = found.groupby([*keys, "phase", "language"], sort=False)[[*counts, "examples"]].max().reset_index()
        for name in counts:
            most[name] = [_of_language(*each) for each in most[["phase", "language", name, "examples"]].to_numpy()]
        lines = most.groupby(keys, sort=False)[counts].agg(lambda cells: ", ".join(filter(None, cells))).reset_index()
        names = NAMES | {"seen": "in_training_rows", "seen_in_dev": "in_dev_rows"}
        blocks.append(frame_table("seen", SEEN, lines.rename(columns=names)))
    elif len(known):
        blocks.append("No test row occurs in the training rows or the dev sets behind its checkpoint.")
    if unknown:
        blocks.append(
            f"Whether test rows were trained on is not known of all runs of {listed(unknown)}: they are older than the count, or "
            "a checkpoint behind them has no record of its training rows."
        )
    return blocks


def _of_language(phase, language, seen, examples):
    """ "qna 4 of 40", or nothing. Of retrieval both sides of a pair count, or queries, so that `examples` is not what
    they are among."""
    if not seen > 0:
        return ""
    return f"{language} {seen:,.0f}" + (f" of {examples:,.0f}" if phase == "eval" else "")
