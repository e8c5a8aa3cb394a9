"""The scores in a model card: of the selection set, and of every language, with what is missing."""

import re

from xstilts.marks import markdown
from xstilts.page import Table, markdown_table
from xstilts.wording import plain
from xstilts.xtreme import BENCHMARKS, benchmark_averages

SELECTIONS = {
    "english_dev": "the best checkpoint on the selection set of the language that it was trained in",
    "last": "the last step; nothing was selected",
    "benchmark": "**the best checkpoint on rows that the benchmark reports**, as its own scripts do",
    "oracle": "**the best checkpoint on the target languages' own dev sets**: an upper bound, no zero-shot result",
}
HEADER = ("language", "95 percent interval", "examples", "zero-shot", "rows seen in training")
FOLDERS = re.compile(r"(?<![\w.:/~*-])~?/(?:[^\s/'\",;:()]+/)*([^\s/'\",;:()]+)")


def table(header, rows):
    """Rows of values as a Markdown table."""
    lines = [[str(cell) for cell in row] for row in rows]
    return markdown_table(Table("", "", list(header), lines, list(header), lines))


def without_folders(text):
    """A text in which of paths that begin at the root or at home the last name is left: they are those of one machine."""
    return FOLDERS.sub(r"\1", str(text))


def score_blocks(run, evaluations):
    """The section, from the run.json of a checkpoint and those of what was made of it later."""
    blocks = [block for each in evaluations for block in _of_evaluation(each)]
    return [*_of_selection(run), *(blocks or [_what_adds_them(run)])]


def _of_selection(run):
    scores, metric, arguments = run.get("dev_scores") or {}, run.get("metric"), run.get("arguments") or {}
    by_task = {name: own for name, own in scores.items() if isinstance(own, dict)} or {run["task"]: scores}
    rows = [[task, name, number(own[name])] for task, own in by_task.items() for name in own if name != "loss"]
    if metric == "average" and metric in scores:
        rows.append(["average of the tasks", "", number(scores[metric])])
    chosen = "english_dev" if arguments.get("load_best_model_at_end", True) else "last"
    rule = SELECTIONS.get(run["lineage"][-1].get("selection") or chosen, "unknown")
    about = f"On the selection set, 0 to 100. Kept is {rule}; it is step {run.get('selected_step')} of {run.get('steps')}, seed "
    about += f"{run.get('seed')}."
    if run.get("chance") is not None:
        about += f" The same answer for every example gives {number(run['chance'])}."
    return [about, table(["task", "score", "value"], rows)] if rows else []


def _what_adds_them(run):
    is_target = run["phase"] == "target"
    command = f"run_zeroshot_eval.py --task {run['task']}" if is_target else "run_retrieval.py --task TASK"
    others = "" if is_target else ", or `run_target.py` and then `run_zeroshot_eval.py`,"
    return (
        f"**Scores in other languages are missing.** `{command} --model_name_or_path CHECKPOINT`{others} makes them, and "
        "`run_report.py RUNS --model_cards` writes those of this checkpoint into this card."
    )


def _of_evaluation(run):
    """A table with a row per language, what is missing, the means, and what is odd about them."""
    about = [f"{run['task']}, {run.get('split', 'test')} rows, {run.get('metric')}", *map(str, run.get("factors", ()))]
    about += [f"layer {run['layer']}, pooling {run.get('pooling')}"] if "layer" in run else []
    scores = run.get("scores") or {}
    rows = [_row(run, language, own) for language, own in scores.items()]
    lost = {**(run.get("missing_languages") or {}), **(run.get("unscored_languages") or {})}
    blocks = [f"### {markdown('; '.join(about))}", table([HEADER[0], str(run.get("metric")), *HEADER[1:]], rows)]
    if absent := sorted(lost.keys() - scores.keys()):
        blocks.append(f"Missing, without rows or labels there: {markdown(' '.join(absent))}.")
    if lacking := _benchmark_languages(run) - scores.keys() - lost.keys():
        blocks.append(f"Missing, not evaluated: {' '.join(sorted(lacking))}.")
    odd = [*run.get("degenerate", ()), *run.get("warnings", ()), *run.get("remarks", ())]
    return [*blocks, _means(run), *(f"**{markdown(without_folders(each))}**" for each in odd)]


def _row(run, language, own):
    interval, seen = own.get("interval"), own.get("seen_in_training")
    between = " to ".join(map(number, interval)) if isinstance(interval, list) else ""
    count, whole = _read(run, language), _published(run, language)
    examples = "unknown" if count is None else f"{count:,}" if whole in (count, None) else f"{count:,} of {whole:,}"
    unknown = any(record.get("has_head") for record in run["lineage"])
    zero_shot = "yes" if language in run.get("zero_shot_languages", ()) else "unknown" if unknown else "no"
    zero_shot = "" if language in run.get("in_no_average", ()) else zero_shot  # pairs of languages
    return [
        language, number(own.get(run.get("metric"))), between, examples, zero_shot, "unknown" if seen is None else seen
    ]  # fmt: skip


def _benchmark_languages(run):
    """Those of the benchmark that was asked for, or of both."""
    asked = [run["benchmark"]] if run.get("benchmark") in BENCHMARKS else [*BENCHMARKS]
    return {
        code for name in asked if run["task"] in BENCHMARKS[name] for code in BENCHMARKS[name][run["task"]].languages
    }


def _means(run):
    """The means over what is there, and the benchmarks' averages, over complete sets alone."""
    averages, scores = run.get("averages") or {}, {*(run.get("scores") or {})} - {*run.get("in_no_average", ())}
    zero_shot = [code for code in run.get("zero_shot_languages", ()) if code in scores]
    parts = [f"Mean of these {len(scores)} languages: {number(averages.get('all'))}"] if scores else []
    if zero_shot:
        parts.append(f"of the {len(zero_shot)} zero-shot ones: {number(averages.get('zero_shot'))}")
    parts += [f"{name}'s average: {_average(name, run)}" for name in BENCHMARKS if run["task"] in BENCHMARKS[name]]
    return "; ".join(parts) + "."


def _average(name, run):
    """The task's score in a benchmark, or why there is none."""
    own, apart = BENCHMARKS[name][run["task"]], run.get("in_no_average", ())
    scores = {code: each for code, each in (run.get("scores") or {}).items() if code not in apart}
    if run.get("split", "test") != "test":
        return "missing, these are no test rows"
    if lost := set(own.languages) - {*scores}:
        return f"missing, as {len(lost)} of its languages are"
    kept = {code: scores[code] for code in own.languages}
    if any(not isinstance(each.get(metric), float | int) for each in kept.values() for metric in own.metrics):
        return "missing"
    if any(_published(run, code) not in (_read(run, code), None) for code in kept):
        return "missing, as not all of the published rows were read"
    return number(benchmark_averages(run["task"], kept)[name])


def _read(run, language):
    """How many examples of a language were scored: where the scores do not say, as in mining, the rows of its set."""
    own = run["scores"][language].get("examples")
    return _count(run, language, "rows") if own is None else own


def _published(run, language):
    """How many rows a language's set has by its publisher, None where that is not known."""
    return _count(run, language, "published_rows")


def _count(run, language, column):
    """What the records of a language in the split that was scored say; None where they say nothing."""
    split = run.get("split", "test")
    records = [each for each in run.get("data", ()) if (each["language"], each.get("split")) == (language, split)]
    return next((each[column] for each in records if isinstance(each.get(column), int)), None)


def number(value):
    """A score with one decimal."""
    return plain(value) if isinstance(value, float | int) else "missing"
