"""Once, where there is internet: everything that some tasks need, in one folder which every other script reads without any.

    python prepare_data.py --tasks hellaswag xnli --benchmark xtreme-r --output_dir DATA --models FacebookAI/xlm-roberta-large
    python prepare_data.py --benchmark xtreme --output_dir DATA
    python prepare_data.py --output_dir DATA --check
    accelerate launch run_target.py --task xnli --data_dir DATA --model_name_or_path DATA/_models/FacebookAI/xlm-roberta-large

A task's rows are those of every phase: its own splits in all languages, the tasks that it learns from or comes after, queries and
candidates. What the hub has is fetched; an official file that lies in the folder (docs/data.md) goes before the hub's rows. The
same command again fetches only what is not there or was damaged.

Reads   the hub, below its own cache (HF_HOME); with --check nothing but the folder.
Writes  --output_dir: _hub/<id>/<configuration>/<split>.parquet with a record beside each; _models/<id>/; _hub/contents.json, what
        was asked for and what became of it; LICENCES.md. Exit code 0 if everything is there, 1 if something is missing.
"""

import contextlib
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import datasets
from huggingface_hub import HfApi, snapshot_download
from transformers.hf_argparser import HfArg

from tasks import load_task, load_tasks
from xstilts.base import UserError, print_main, run_script
from xstilts.by_hand import advice
from xstilts.claims import Claim, claim, described
from xstilts.data_folder import (
    is_missing,
    model_record,
    problems_before,
    read_contents,
    states_of,
    table,
    write_contents,
)
from xstilts.fetched_models import fetch_model, folder_of, model_state
from xstilts.fetching import estimate, fetch_all, megabytes, plan_of
from xstilts.hub_errors import WAITS, patiently, reason_of
from xstilts.hub_rows import HUB
from xstilts.licences_page import write_licences
from xstilts.options import one_of
from xstilts.progress import calm_libraries
from xstilts.runs import parse_args
from xstilts.task import RetrievalTask, Task
from xstilts.templates import ENGLISH
from xstilts.wanted_rows import languages_of_tasks, wanted_rows
from xstilts.xtreme import BENCHMARKS, tasks_of

CLAIM = "_running.json"


@dataclass(kw_only=True)
class PrepareArguments:
    """The options of this script."""

    output_dir: str = HfArg(help="The folder; --data_dir of the other scripts.")
    tasks: list[str] = HfArg(default_factory=list, help="Files of tasks/, or as in --task: mnli+squad, all-ccg.")
    benchmark: str | None = HfArg(
        default=None, help="xtreme or xtreme-r: its languages and releases of data; without --tasks all of its tasks."
    )
    languages: str | None = HfArg(
        default=None, help="Comma-separated codes: test rows in these and English only; default: all."
    )
    train_languages: str | None = HfArg(
        default=None,
        help="Training rows in these and English only, not in all that have some (XNLI's translated ones are large): en.",
    )
    models: list[str] = HfArg(default_factory=list, help="Models of the hub, put in DIR/_models/.")
    check: bool = HfArg(default=False, help="Compare the folder with what was asked for; no network.")


def main(argv=None):
    """Prepare or check the folder; `argv` is the command line without the program's name. Returns the exit code."""
    # 1. Arguments: what is asked for now, or with --check alone what the folder was asked for before.
    (args,) = parse_args(PrepareArguments, argv=argv)
    one_of(args, "benchmark", BENCHMARKS)
    folder, request = args.output_dir, {"tasks": args.tasks, "benchmark": args.benchmark, "models": args.models}
    for name in ("languages", "train_languages"):
        request[name] = getattr(args, name).split(",") if getattr(args, name) else []
    requests = [request] if any(request.values()) else asked_before(folder, args.check)
    wanted, models = all_wanted(requests), all_models(requests, folder)

    # 2. The hub first, or the folder alone.
    if args.check:
        states, records = checked(wanted, models, folder)
    else:
        with alone_in(folder):
            write_contents(folder, request)  # so that --check knows of it, whatever happens
            states, records = fetched(wanted, models, folder)
            write_contents(folder, request, states, records)
            write_licences(folder, read_contents(folder))

    # 3. What is there and what is not.
    for line in table(states, records, advice, folder):
        print_main(line)
    missing = sum(map(is_missing, states)) + sum("reason" in record for record in records)
    asked = len(states) + len(records)
    print_main(f"{missing} of {asked} are missing" if missing else f"everything is there: --data_dir {folder}")
    return 1 if missing else 0


# ---- what is asked for ----------------------------------------------------------------------------------------------


def asked_before(folder, check):
    """The requests that were made of a folder. Raises UserError where there is none, and without `--check`."""
    if not check:
        raise UserError(
            "nothing is asked for: give --tasks, --benchmark or --models, or --check for what was fetched before"
        )
    found = read_contents(folder) if os.path.isdir(folder) else None
    if found is None:
        raise UserError(f"{folder} was not filled by prepare_data.py; give --tasks or --benchmark, without --check")
    return found["asked"]


def all_wanted(requests):
    """`Wanted` rows of some requests, each once."""
    return [*{each.key: each for request in requests for each in wanted_of(request)}.values()]


def all_models(requests, folder):
    """The models of some requests, each once. Raises UserError for what is no id of one."""
    names = [*dict.fromkeys(name for request in requests for name in request["models"])]
    for name in names:
        folder_of(name, folder)
    return names


def wanted_of(request):
    """`Wanted` rows of a request. Raises UserError for a language that none of its tasks has."""
    tasks, benchmark, languages = (
        tasks_asked(request["tasks"], request["benchmark"]),
        request["benchmark"],
        request["languages"],
    )
    known = languages_of_tasks(tasks, benchmark)
    asked = [code for code in (*languages, *request["train_languages"]) if code != ENGLISH]
    if unknown := [code for code in asked if code not in known]:
        there = ", ".join(sorted(known)) or "none"
        raise UserError(f"--languages, --train_languages: none of the tasks has '{unknown[0]}'; they have {there}")
    return wanted_rows(tasks, benchmark, languages, request["train_languages"])


def tasks_asked(names, benchmark):
    """Declarations of the tasks that are named, all of the benchmark's without names, and of those that come before them."""
    names = names or [*tasks_of(benchmark)] if benchmark else names
    tasks = [task for name in names for task in tasks_named(name)]
    before = [load_task(task.after) for task in tasks if getattr(task, "after", None)]
    return [*{task.name: task for task in [*tasks, *before]}.values()]


def tasks_named(name):
    """`all-ccg` and `mnli+squad` as in --task, and any single task."""
    is_group = "+" in name or name.split("-")[0] == "all"
    return load_tasks(name) if is_group else [load_task(name, (Task, RetrievalTask))]


# ---- getting it -----------------------------------------------------------------------------------------------------


def checked(wanted, models, folder):
    """(states of rows, of models) by what lies in the folder; why something is missing is known from the call that missed it."""
    plan, before = plan_of(wanted, folder), read_contents(folder) or {"models": ()}
    why = {each["id"]: each.get("reason") for each in before["models"]}
    records = [model_record(name, folder, model_state(name, folder), why.get(name)) for name in models]
    return states_of(wanted, folder, plan, problems_before(wanted, folder)), records


def fetched(wanted, models, folder):
    """The same after what is not there was fetched."""
    plan = plan_of(wanted, folder)
    calm_libraries()
    say_size(plan, folder)
    problems, why = fetch_all(plan, folder), fetch_models(models, folder)
    records = [model_record(name, folder, model_state(name, folder), why.get(name)) for name in models]
    return states_of(wanted, folder, plan, problems), records


@contextlib.contextmanager
def alone_in(folder):
    """While a folder is filled no other process fills it. Raises UserError where one does."""
    mine = claim(Path(folder, HUB, CLAIM))
    if not isinstance(mine, Claim):
        raise UserError(
            f"{folder} is being filled by {described(mine)}; wait for it, or stop it and give the same command again"
        )
    try:
        yield
    finally:
        mine.release()


def say_size(plan, folder):
    """One line on how much is to be fetched, and one where the disk does not have the room, as far as the hub says."""
    estimate(plan)
    absent = [*plan.absent]
    known, there = sum(plan.sizes.values()), len(plan.pieces) - len(absent)
    unknown = len(absent) - len(plan.sizes)
    of_unknown = f", and {unknown} of a size that the hub does not say" if unknown and known else ""
    size = f": {megabytes(known)} MB{of_unknown}" if known else ""
    print_main(f"{len(absent)} of {len(plan.pieces)} pieces are to be fetched, {there} are there{size}")
    needs, cache = {disk_of(folder): [folder, known]}, datasets.config.HF_DATASETS_CACHE
    needs.setdefault(disk_of(cache), [cache, 0])[1] += 2 * known  # what is downloaded, and what the library makes of it
    for place, need in needs.values():
        free = room_at(place)
        if need > free:
            print_main(
                f"warning: {place} has {megabytes(free)} MB left, about {megabytes(need)} MB are needed on that disk"
            )


def disk_of(place):
    """What tells one disk from another."""
    return existing(place).stat().st_dev


def room_at(place):
    """Bytes that are free on the disk of a folder, which need not be there yet."""
    return shutil.disk_usage(existing(place)).free


def existing(place):
    """A folder, or the nearest one above it that is there."""
    path = Path(place).resolve()
    return next(each for each in (path, *path.parents) if each.exists())


def fetch_models(names, folder):
    """Fetch the models that are not there; returns {id: why} of those that could not be had."""
    problems, waits = {}, WAITS
    for number, name in enumerate(names, start=1):
        place, state = f"[model {number}/{len(names)}] {name}", model_state(name, folder)
        if state == "whole":
            print_main(f"{place}: there already")
            continue
        print_main(f"{place}: {'fetching' if state == 'absent' else f'{state}; it is fetched again'}")
        try:
            record = patiently(lambda: fetch_model(name, folder, model_info, snapshot_download), name, waits)  # noqa: B023
        except Exception as error:  # whatever libraries make of a hub: the rest goes on
            kind, problems[name] = reason_of(error)
            waits = () if kind == "network" else WAITS
            print_main(f"{place}: could not be had: {problems[name]}")
        else:
            waits = WAITS
            print_main(f"{place}: {megabytes(sum(size for size, _ in record['files'].values()))} MB")
    return problems


def model_info(name):
    """What the hub says of a model, with the sizes of its files."""
    return HfApi().model_info(name, files_metadata=True)


if __name__ == "__main__":
    run_script(lambda: sys.exit(main()))
