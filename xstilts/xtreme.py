"""XTREME and XTREME-R as data: their tasks, groups and languages, and how scores are averaged to the benchmark's.

Sources: evaluate.py of google-research/xtreme @ 838c13b (lists, their order, averages); the languages agree with nlu-evals
(izhx/nlu-evals, tools/gather_xtreme.py) and with the configurations of google/xtreme on the hub. Where code and papers differ:

- XQuAD has 12 languages in XTREME-R's code, XTREME's 11 and Romanian. A table that counts 11 averages over others.
- LAReQA's list is empty in the code, which leaves it to a script of its own that prints one number for all questions; here it has
  XQuAD-R's 11 languages. With the empty list the code never gives an overall score of XTREME-R, and its retrieval group does
  without LAReQA; here both count it, as the paper does.
- The code calls the papers' structured prediction `tagging`.
"""

from dataclasses import dataclass, replace
from statistics import fmean

from xstilts.base import UserError

GROUPS = ("classification", "tagging", "qa", "retrieval")


@dataclass(frozen=True, kw_only=True)
class BenchmarkTask:
    """One task of a benchmark.

    group      one of GROUPS
    metrics    the scores whose means over the languages, averaged, are the task's score: two for question answering
    languages  in the order of the benchmark; of BUCC and Tatoeba the other language than English
    """

    group: str
    metrics: tuple[str, ...]
    languages: tuple[str, ...]


def _task(group, metrics, languages):
    return BenchmarkTask(group=group, metrics=tuple(metrics.split()), languages=tuple(languages.split()))


def _with(task, languages):
    return replace(task, languages=(*task.languages, *languages.split()))


XTREME = {
    "pawsx": _task("classification", "accuracy", "de en es fr ja ko zh"),
    "xnli": _task("classification", "accuracy", "ar bg de el en es fr hi ru sw th tr ur vi zh"),
    "panx": _task(
        "tagging",
        "f1",
        "ar he vi id jv ms tl eu ml ta te af nl en de el bn hi mr ur fa fr it pt es bg ru ja ka ko th sw yo my zh kk tr et fi hu",
    ),
    "udpos": _task(
        "tagging",
        "f1",
        "af ar bg de el en es et eu fa fi fr he hi hu id it ja kk ko mr nl pt ru ta te th tl tr ur vi yo zh",
    ),
    "bucc2018": _task("retrieval", "f1", "de fr ru zh"),
    "tatoeba": _task(
        "retrieval",
        "accuracy",
        "ar he vi id jv tl eu ml ta te af nl de el bn hi mr ur fa fr it pt es bg ru ja ka ko th sw zh kk tr et fi hu",
    ),
    "xquad": _task("qa", "exact_match f1", "en es de el ru tr ar vi th zh hi"),
    "mlqa": _task("qa", "exact_match f1", "en es de ar hi vi zh"),
    "tydiqa": _task("qa", "exact_match f1", "en ar bn fi id ko ru sw te"),
}

XTREME_R = {
    "xnli": XTREME["xnli"],
    "panx": _with(XTREME["panx"], "qu pl uk az lt pa gu ro"),
    "udpos": _with(XTREME["udpos"], "lt pl uk wo ro"),
    "tatoeba": _with(XTREME["tatoeba"], "az lt pl uk ro"),
    "xcopa": _task("classification", "accuracy", "et ht id it qu sw ta th tr vi zh"),
    "lareqa": _task("retrieval", "map@20", "ar de el en es hi ru th tr vi zh"),
    "mewslix": _task("retrieval", "map@20", "ar de en es fa ja pl ro ta tr uk"),
    "xquad": _with(XTREME["xquad"], "ro"),
    "mlqa": XTREME["mlqa"],
    "tydiqa": XTREME["tydiqa"],
}

BENCHMARKS = {"xtreme": XTREME, "xtreme-r": XTREME_R}


def tasks_of(benchmark):
    """{name: BenchmarkTask} of `xtreme` or `xtreme-r`. Raises UserError for another name."""
    if benchmark not in BENCHMARKS:
        raise UserError(f"benchmark '{benchmark}' is not one of {', '.join(BENCHMARKS)}")
    return BENCHMARKS[benchmark]


def languages_of(benchmark, task):
    """Languages of a task, in the benchmark's order. Raises UserError for a task that the benchmark lacks."""
    tasks = tasks_of(benchmark)
    if task not in tasks:
        raise UserError(f"{benchmark} has no task '{task}'; it has {', '.join(tasks)}")
    return tasks[task].languages


def averages(benchmark, scores):
    """The benchmark's averages of {task: {language: {metric: score}}}; tasks and languages that it lacks do not count.

    tasks              {task: see `task_averages`}, all of the benchmark's
    groups             {group: mean over the scores of its tasks}
    all_task           mean over the scores of all tasks, whatever their group: the benchmark's headline
    mean_of_available  the same over the tasks that have any language, and those languages only: comparable with nothing but a
                       submission that lacks the same
    missing_tasks      tasks without a score, because a language is missing or all are
    Where one is missing, `groups` and `all_task` hold None.
    """
    tasks = {task: task_averages(benchmark, task, scores.get(task, {})) for task in tasks_of(benchmark)}
    found = {task: each["avg_metric"] for task, each in tasks.items()}
    available = [each["mean_of_available"]["metric"] for each in tasks.values() if each["mean_of_available"]]
    members = {
        group: [found[task] for task, each in tasks_of(benchmark).items() if each.group == group] for group in GROUPS
    }
    return {
        "all_task": _mean(found.values()),
        "groups": {group: _mean(values) for group, values in members.items()},
        "mean_of_available": _mean(available),
        "missing_tasks": [task for task, score in found.items() if score is None],
        "tasks": tasks,
    }


def task_averages(benchmark, task, scores):
    """Averages over the languages of one task of {language: {metric: score}}.

    avg_<metric>       plain mean over all of the benchmark's languages; None where one is missing
    avg_metric         the task's score: that of its metric, for question answering (mean exact match + mean F1) / 2
    mean_of_available  {metric: mean over the languages that are there}, with the task's score as `metric`; {} without any
    missing_languages  the languages that are not there
    """
    here = [language for language in languages_of(benchmark, task) if language in scores]
    missing = [language for language in languages_of(benchmark, task) if language not in scores]
    headline = tasks_of(benchmark)[task].metrics
    means = {
        name: _mean(scores[language][name] for language in here) for name in (scores[here[0]] if here else headline)
    }
    means["metric"] = _mean(means[name] for name in headline)
    return {
        **{f"avg_{name}": None if missing else value for name, value in means.items()},
        "mean_of_available": means if here else {},
        "missing_languages": missing,
    }


def benchmark_averages(task, scores):
    """{benchmark: the task's score in it} of {language: {metric: score, ...}}; None where it lacks the task or a language."""
    found = dict.fromkeys(BENCHMARKS)
    for name in (name for name, tasks in BENCHMARKS.items() if task in tasks):
        metrics = BENCHMARKS[name][task].metrics
        own = {language: {metric: each[metric] for metric in metrics} for language, each in scores.items()}
        found[name] = task_averages(name, task, own)["avg_metric"]
    return found


def _mean(values):
    """Mean, or None where there is no value or one of them is None."""
    values = list(values)
    return fmean(values) if values and None not in values else None
