"""What a study will run and cost, before it does: `python studies/plan.py configs/studies/paper.yaml`

Checks every option as the scripts would, so that a study does not fail in the night for a misspelt name. Hours and disk are
estimated from studies/seconds.csv; `--measure runs` puts what the finished runs below a folder took in there.
"""

import argparse
import csv
import json
import re
import sys
from collections import Counter, defaultdict
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from studies.grid import SCRIPTS, jobs_of
from studies.study import read_study
from tasks import load_task, load_tasks
from xstilts.base import UserError, print_main, read_json, run_script, words_given
from xstilts.language_facts import read_facts

SECONDS = Path(__file__).with_name("seconds.csv")
COLUMNS = ["model", "device", "phase", "task", "examples", "seconds_per_thousand", "gib", "source"]
PLACES = ("model_name_or_path", "output_dir", "data_dir", "seed")  # options that differ between runs of one kind
TRAINING = ("intermediate", "target")


def main(argv=None):
    """Print the plan, or measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", nargs="?")
    parser.add_argument("--measure", type=Path, metavar="RUNS", help="read what the runs below this folder took")
    args = parser.parse_args(words_given(argv))
    if args.measure:
        return write_table(measured(args.measure), SECONDS)
    if not args.study:
        parser.error("give a study, or --measure RUNS")
    study = read_study(args.study)
    jobs = jobs_of(study)
    check_languages(study, jobs)
    check_options(study, jobs)
    print_main(plan(study, jobs, read_table(SECONDS)))


def plan(study, jobs, table):
    """The plan in words: runs by phase, how many are finished, and what the others cost."""
    left = [job for job in jobs.values() if not Path(job.path, "run.json").exists()]
    counts = Counter(job.phase for job in jobs.values())
    lines = [
        f"{study.path}: {len(jobs)} runs ({', '.join(f'{n} {phase}' for phase, n in counts.items())}), {len(left)} left"
    ]
    model = Path(study.model_name_or_path).name
    known = {(row["phase"], row["task"]): row for row in table if row["model"] == model}
    costs = [(job, cost(job, known)) for job in left]
    unknown = sorted({f"{job.phase} {job.task}" for job, found in costs if found is None})
    found = [each for _, each in costs if each]
    if found:
        devices = {row["device"] for row in known.values()}
        sources = {re.split("[:,]", row["source"])[0] for row in known.values()}  # measured, or estimated
        lines.append(
            f"about {sum(seconds for seconds, _ in found) / 3600:,.1f} hours on one {' or '.join(sorted(devices))} and "
            f"{sum(gib for _, gib in found):,.1f} GiB of disk ({' and '.join(sorted(sources))} rates)"
        )
    if unknown:
        lines.append(f"not in {SECONDS.name}, so not counted: {', '.join(unknown)} (see --measure)")
    return "\n".join(lines)


# ---- cost -----------------------------------------------------------------------------------------------------------


def cost(job, known):
    """(seconds, GiB) of a run; None where nobody measured its kind. A mixture costs what the mean of its tasks does."""
    rows = [known[job.phase, name] for name in _tasks(job) if (job.phase, name) in known]
    if not rows:
        return None
    examples = _examples(job, rows)
    rate = sum(float(row["seconds_per_thousand"]) for row in rows) / len(rows)
    return examples / 1000 * rate, max(float(row["gib"]) for row in rows)


def _tasks(job):
    return [task.name for task in load_tasks(job.task)] if job.phase == "intermediate" else [job.task]


def _examples(job, rows):
    """How many examples a run sees: what its options say, otherwise as many as the table's runs did."""
    options, usual = job.options, sum(float(row["examples"]) for row in rows)
    count = options.get("task_subset_size") or len(_tasks(job))
    if job.phase in TRAINING and (
        steps := options.get("max_steps") or (options.get("max_steps_per_task") or 0) * count
    ):
        return steps * 32
    if job.phase in TRAINING and options.get("max_train_samples"):
        languages = len(str(options.get("languages", "en")).split(","))
        return min(usual, options["max_train_samples"] * languages * float(options.get("num_train_epochs", 2)))
    return usual * count / len(rows)


def read_table(path):
    """Rows of studies/seconds.csv."""
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def measured(folder):
    """Rows of the table from the run.json below a folder: medians over the runs of one model, device, phase and task. A mixture's
    cost is made of its tasks', so its own does not count."""
    found = defaultdict(list)
    for path in sorted(folder.rglob("run.json")):
        run = read_json(path)
        mixture = run["phase"] == "intermediate" and len(run["lineage"][-1].get("tasks", ())) > 1
        if run["phase"] in SCRIPTS and not mixture and (seen := _seen(run)):
            size = sum(file.stat().st_size for file in path.parent.glob("**/*") if file.is_file()) / 2**30
            kind = run["lineage"][0]["base_model"], run["hardware"]["device"], run["phase"], run["task"]
            found[kind].append((seen, 1000 * run["wall_time_s"] / seen, size))
    return [
        dict(zip(COLUMNS, [*kind, *_medians(runs), f"measured, {len(runs)} runs"], strict=True))
        for kind, runs in sorted(found.items())
    ]


def _medians(runs):
    return [f"{median(values):.4g}" for values in zip(*runs, strict=True)]


def _seen(run):
    """Examples that a run trained on (repeats count), or evaluated."""
    if run["phase"] in TRAINING:
        return run["steps"] * run["identity"]["arguments"]["total_train_batch_size"]
    return sum(record["rows"] for record in run["data"])


def write_table(rows, path):
    """Put rows into the table, in place of those of the same model and device."""
    here = {(row["model"], row["device"]) for row in rows}
    kept = [row for row in read_table(path) if (row["model"], row["device"]) not in here] if path.exists() else []
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows([*kept, *rows])
    print_main(f"{len(rows)} kinds of runs measured, {path}")


# ---- checks ---------------------------------------------------------------------------------------------------------


def check_languages(study, jobs):
    """Raise UserError for a language that neither its task nor the study's language facts know."""
    facts = set(read_facts(study.language_facts).index)
    for job in jobs.values():
        for option in ("languages", "train_language"):
            for code in str(job.options.get(option) or "").split(","):
                if code and code != "all" and code not in facts | _languages(job):
                    where = f"{job.task}, nor is it in {study.language_facts}"
                    raise UserError(f"{study.path}: {option}: '{code}' is no language of {where}")


def _languages(job):
    tasks = load_tasks(job.task) if job.phase == "intermediate" else [load_task(job.task, object)]
    return {code for task in tasks for code in task.languages}


def check_options(study, jobs):
    """Raise UserError for options and values that a script would refuse; one run of each kind is parsed."""
    kinds = {}
    for job in jobs.values():
        kinds.setdefault(json.dumps([job.phase, {k: v for k, v in job.options.items() if k not in PLACES}]), job)
    for job in kinds.values():
        try:
            parsed(job)
        except UserError as error:
            raise UserError(f"{study.path}: {job.phase} {job.task}: {error}") from error


def parsed(job):
    """A run's command line as its script reads it."""
    from transformers import TrainingArguments

    import run_intermediate
    import run_retrieval
    import run_target
    import run_zeroshot_eval
    from xstilts.runs import parse_args

    ours = {
        "intermediate": run_intermediate.IntermediateArguments, "target": run_target.TargetArguments,
        "eval": run_zeroshot_eval.EvalArguments, "retrieval": run_retrieval.RetrievalArguments,
    }  # fmt: skip
    line = [*job.command[2:], "--use_cpu", "true"]  # the plan is made where no GPU may be: bf16 would be refused
    return parse_args(
        (ours[job.phase], TrainingArguments), job.phase, line, fetch=False
    )  # runs to come have no checkpoints yet


if __name__ == "__main__":
    run_script(main)
