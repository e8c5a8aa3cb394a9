"""Our runs beside Table 2 of the paper's first version, cell by cell: scores without intermediate training, gains with it.

The paper's figures are lines of configs/published_results.csv (`published_results.PAPER`). A difference is shown where ours and
theirs are about the same: encoder, split, languages, metric, layer, and release of the task's data. What is trained otherwise (a
recipe, a selection) is no reason against one: that is what a difference may show, and row and column of our table name it.
"""

from dataclasses import dataclass
from functools import cache
from statistics import mean

from xstilts.overview import counted_scores
from xstilts.page import Table
from xstilts.published_results import PAPER, read_published
from xstilts.report import COMPARED, in_order, target_record
from xstilts.score_table import NONE
from xstilts.wording import listed, plain, signed
from xstilts.xtreme import XTREME

ENCODER, LAYER = "xlm-roberta-large", 14
BESIDE = " with MLM"  # behind the name of an intermediate task: masked language modelling beside it
SPLITS = {"dev": "validation", "test": "test"}  # what the paper calls a split, and what our runs do
DEV_ALONG = {"bucc2018": "dev_f1"}  # of tasks whose dev score a run has beside that of the test set
OWN_FACTORS = ("mlm", "K", "steps-proportional")  # how the paper's several tasks and its text are said in a lineage
TARGET_FACTORS = (
    "selection-benchmark",
    "xtreme",
)  # with these a target is still the paper's, or the reason why not is named
TASKS = ("xnli", "pawsx", "udpos", "panx", "xquad", "mlqa", "tydiqa", "bucc2018", "tatoeba")  # in the paper's order
CAPTION = (
    "Ours beside the paper's (Phang et al. 2020, first version, Table 2, XLM-R Large): the score without intermediate "
    "training, and below it gains over that, in points. Question answering is F1 / exact match"
)
NOTES = (
    "The paper's cells are dev scores, which need our `run_zeroshot_eval.py --split validation`; those of XQuAD, TyDiQA and "
    "Tatoeba are test scores. English is in the means, except of BUCC and Tatoeba.",
    "POS has dev sets in 29 languages, though the paper prints 33; BUCC has 4 pairs (5 are printed), Tatoeba 36 languages (37).",
    "The paper does not say how many runs a cell is the mean of, and gives no intervals. Its choice of checkpoints needs "
    "`--selection benchmark`, its recipe `--recipe paper`.",
    "The paper's SQuAD is version 1.1, and the first version has no cell for MNLI alone. Its CCG is CCGbank: a substitute is "
    "another task.",
    "The paper's TyDiQA baseline, F1 75.5, is 10 points above XTREME's 65.1, and does not compare with later figures.",
    "Averages over the paper's cells are those that it prints, but for QQP with MLM (cells give +7.1, printed is +5.1). Its "
    "abstract's 8.4 for SQuAD is 8.3 in its table.",
)


def beside_paper(runs, name, order):
    """A `page.Table` of the {(row, column, seed): run.json} of one base model that Table 2 has cells for, rows in an `order`;
    None without any."""
    columns = best_columns(runs)
    cells = {}
    for task, (_, rows) in columns.items():
        baselines = next((by_seed for (_, place), by_seed in rows.items() if place == NONE), {})
        for (row, place), by_seed in rows.items():
            if theirs := paper_cells().get((place, task)):
                cells[row, task] = cell_of(theirs, by_seed, None if place == NONE else baselines)
    if not cells:
        return None
    rows, lines = in_order({row for row, _ in cells}, order), []
    for row in rows:
        for whose in ("ours", "the paper's", "difference"):
            line = [cells[row, task].text(whose) if (row, task) in cells else "" for task in columns]
            lines += [[row, whose, *line]] if any(line) or whose != "difference" else []
    details = [
        [row, task, *each]
        for row in rows
        for task in columns
        if (row, task) in cells
        for each in cells[row, task].rows()
    ]
    header = ["intermediate task", "whose", *columns]
    csv_header = ["intermediate", "target", "metric", "kind", "ours", "paper", "difference", "no_difference"]
    return Table(name, CAPTION, header, lines, csv_header, details, (*_of_ours(columns, cells), *NOTES))


def _of_ours(columns, cells):
    """Sentences: which of our columns are in the table, and why there is no difference."""
    named = [column for task, (column, _) in columns.items() if column != task]
    yield from [f"Our columns are {listed(named)}."] if named else []
    reasons = {}
    for (_, task), cell in cells.items():
        for reason in cell.reasons:
            reasons.setdefault(reason, {})[task] = True
    for reason, tasks in reasons.items():
        yield f"No difference for {'any target' if len(tasks) == len(columns) > 1 else listed(tasks)}: {reason}."


@cache
def paper_cells():
    """{(intermediate, task): {metric: line of the file}} of Table 2. An intermediate is `none`, or its tasks by name with a + in
    between, and BESIDE."""
    cells = {}
    for row in read_published():
        if row["source"] == PAPER:
            names = row["intermediate"].removesuffix(BESIDE)
            place = _joined(names.split("+")) + row["intermediate"].removeprefix(names)
            cells.setdefault((place, row["task"]), {})[row["metric"]] = row
    return cells


def _joined(tasks):
    return "+".join(sorted(tasks))


# ---- our runs -------------------------------------------------------------------------------------------------------


def best_columns(runs):
    """{task: (our column, {(our row, the paper's row): {seed: run.json}})}; of several columns of a task that which is most like
    the paper's, then that of the most rows.

    What the paper did not do (frozen layers, adapters, other languages, two trainings one after another) is no row of its.
    """
    places = {}
    for (row, column, _), run in runs.items():
        place = paper_row(run)
        if place and run["task"] in TASKS and _is_plain_target(run):
            own = places.setdefault(run["task"], {}).setdefault(column, {})
            own.setdefault((row, place), {})[_seed(run)] = run
    return {
        task: min(places[task].items(), key=lambda item: (_misfits(item[1]), -len(item[1]), item[0]))
        for task in TASKS if task in places
    }  # fmt: skip


def _misfits(rows):
    return min(len(misfits(run)) for by_seed in rows.values() for run in by_seed.values())


def paper_row(run):
    """Which row of the paper's table a run is, as the file calls it; None where it is none."""
    target = target_record(run)
    records = [record for record in run["lineage"][1:] if record is not target]
    if len(records) > 1 or (run["phase"] == "eval" and target is None):
        return None
    if not records:
        return NONE
    record = records[0]
    factors = [factor for factor in record["factors"] if " " not in factor]  # others are `results.set_apart`'s
    plain_training = record["phase"] == "intermediate" and record.get("languages", ["en"]) == ["en"]
    if not plain_training or not all(factor.startswith(OWN_FACTORS) for factor in factors):
        return None
    return _joined(record.get("tasks") or [record["task"]]) + (
        BESIDE if any(factor.startswith("mlm") for factor in factors) else ""
    )


def _is_plain_target(run):
    """Whether a run's target was trained, and evaluated, as the paper's: with no other choices than of a checkpoint."""
    known = (COMPARED, f"layer{run.get('layer')}", *TARGET_FACTORS)
    return all(factor.startswith(known) or " " in factor for factor in _target_factors(run))


def _target_factors(run):
    """What was not the default in a run's target training and evaluation."""
    return [*(target_record(run) or {}).get("factors", ()), *run.get("factors", ())]


def _seed(run):
    """None of an encoder as it is published: it serves all seeds."""
    return run["seed"] if len(run["lineage"]) > 1 else None


def misfits(run):
    """Why a run's score is of something else than the paper's, in words; [] where it is of the same."""
    task, found = run["task"], []
    line = next(iter(paper_cells()[NONE, task].values()))
    if (base := run["lineage"][0]["base_model"]) != ENCODER:
        found.append(f"the encoder is {base}, not {ENCODER}")
    if run.get("split", "test") != SPLITS[line["split"]] and task not in DEV_ALONG:
        found.append(f"ours is {run.get('split', 'test')}, the paper's {line['split']}")
    if (count := len(languages_of(run, task))) != line["languages"]:
        found.append(f"{count} of {line['languages']} languages")
    if not all(metric in scores for scores in run["scores"].values() for metric in metrics_of(task)):
        found.append("another metric")
    if run["phase"] == "retrieval" and run["layer"] != LAYER:
        found.append(f"layer {run['layer']}, not {LAYER}")
    if "xtreme-r" in _target_factors(run):
        found.append("XTREME-R's release of the data, the paper's is XTREME's")
    if any(each.get("published_rows") not in (None, each.get("rows")) for each in run.get("data", ())):
        found.append("not the published number of rows")
    return found


def languages_of(run, task):
    """The languages of a run that XTREME has of a task and that count in averages."""
    return [language for language in XTREME[task].languages if language in counted_scores(run)]


def metrics_of(task):
    """{the name of a score in run.json: the paper's}, F1 before exact match."""
    if task in DEV_ALONG:
        return {DEV_ALONG[task]: "f1"}
    return {name: name for name in reversed(XTREME[task].metrics)}


# ---- cells ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One place of the table.

    kind     score or gain
    ours     {metric: figure}, None where there is none
    theirs   {metric: figure} of the paper
    reasons  why the two do not compare, in words
    """

    kind: str
    ours: dict
    theirs: dict
    reasons: tuple

    @property
    def difference(self):
        """{metric: ours minus theirs}, None where the two do not compare."""
        known = {name: None if self.reasons else self.ours[name] for name in self.theirs}
        return {name: None if own is None else own - self.theirs[name] for name, own in known.items()}

    def text(self, whose):
        """What the table shows of one side, or of the difference; "" for nothing."""
        values = {"ours": self.ours, "the paper's": self.theirs, "difference": self.difference}[whose].values()
        form = plain if self.kind == "score" and whose != "difference" else signed
        return "" if None in values else " / ".join(map(form, values))

    def rows(self):
        """Lines of the CSV file, unrounded."""
        difference = self.difference
        return [
            [name, self.kind, self.ours[name], value, difference[name], "; ".join(self.reasons)]
            for name, value in self.theirs.items()
        ]


def cell_of(theirs, by_seed, baselines):
    """The Cell of runs by seed and the paper's lines by metric; `baselines` by seed, None where the runs are these themselves."""
    runs = [*by_seed.values(), *(baselines or {}).values()]
    names = {name: metric for name, metric in metrics_of(runs[0]["task"]).items() if metric in theirs}
    return Cell(
        kind="score" if baselines is None else "gain",
        ours={metric: _figure(by_seed, baselines, name) for name, metric in names.items()},
        theirs={metric: theirs[metric]["value"] for metric in names.values()},
        reasons=tuple(dict.fromkeys(reason for run in runs for reason in misfits(run))),
    )


def _figure(by_seed, baselines, metric):
    """The mean over seeds of means over languages, or of gains over the baseline of the same seed in the languages of both; None
    where there is none."""
    values = []
    for seed, run in by_seed.items():
        own = _of_languages(run, metric)
        if baselines is not None:
            base = baselines.get(seed) or baselines.get(None)
            theirs = _of_languages(base, metric) if base else {}
            own = {code: own[code] - theirs[code] for code in own if code in theirs}
        values += [mean(own.values())] if own else []
    return mean(values) if values else None


def _of_languages(run, metric):
    scores = run["scores"]
    return {code: scores[code][metric] for code in languages_of(run, run["task"]) if metric in scores[code]}
