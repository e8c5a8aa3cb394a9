"""The runs of a study: {directory: Job}, each run once, in the order in which they can be run.

Data in, data out; studies/Snakefile runs it. Directories are named by the options, so what two studies, or two cells, have in
common is one run.
"""

import re
from dataclasses import dataclass
from itertools import product
from math import prod
from pathlib import Path

from studies.study import BLOCKS, NONE, OURS, check_block
from tasks import draw_subset, load_task, load_tasks
from xstilts.base import UserError
from xstilts.names import check_name
from xstilts.task import RetrievalTask, Task

MOST = 10_000  # combinations of a block
SCRIPTS = {
    "intermediate": "run_intermediate.py",
    "target": "run_target.py",
    "eval": "run_zeroshot_eval.py",
    "retrieval": "run_retrieval.py",
}


@dataclass(frozen=True, kw_only=True)
class Job:
    """One run: the script of a phase with its options, in a directory of its own.

    path   the directory
    after  the directory of the run whose checkpoint it starts from; None for the base model
    """

    phase: str
    task: str
    path: str
    after: str | None
    options: dict

    @property
    def command(self):
        """The command line as a list."""
        given = {name: value for name, value in self.options.items() if value is not None}
        return ["python", SCRIPTS[self.phase], *(text for name, value in given.items() for text in _words(name, value))]


def _words(name, value):
    return [f"--{name}", *map(str, value if isinstance(value, list) else [value])]


def jobs_of(study):
    """{directory: Job} of all runs, in the order in which they can be run."""
    for part in BLOCKS:
        for block in getattr(study, part):
            check_block(study, part, block)
    rows, jobs = rows_of(study), {}
    _check_after(study, rows)
    _check_splits(study)
    for seed in study.seeds:
        for row, options in rows.items():
            encoder = _add_row(study, jobs, row, options, seed)
            for target in _blocks(study, "target", row):
                _add_target(study, jobs, row, target, encoder, seed)
            for search in _blocks(study, "retrieval", row):
                _add(study, jobs, "retrieval", f"{row}/{slug(search)}", search, encoder, seed)
    if not any(job.phase in ("eval", "retrieval") for job in jobs.values()):
        raise UserError(f"{study.path}: a grid of no runs; give targets or retrieval tasks that the rows lead to")
    return jobs


def rows_of(study):
    """{row: options of run_intermediate.py, None for no intermediate training}. Raises UserError for two of one name."""
    rows = {}
    for block in study.intermediate:
        for options in [None] if block in (NONE, {"task": NONE}) else expanded(study, "intermediate", block):
            name = slug(options) if options else NONE
            if name in rows:
                raise UserError(f"{study.path}: intermediate: '{name}' stands there twice")
            rows[name] = options
    _check_draws(study, rows)
    return rows


def labels_in_order(study, labels):
    """What a report calls the rows of a study, in the order of its file; `labels`: {folder of a run: what its row is called}."""
    rows, labels, places = [*rows_of(study)], {path.resolve(): label for path, label in labels.items()}, {}
    for path in jobs_of(study):
        if label := labels.get(Path(path).resolve()):
            places.setdefault(label, rows.index(path.removeprefix(f"{study.runs_dir}/").split("/")[1]))
    return sorted(places, key=places.get)


def _add_row(study, jobs, row, options, seed):
    """Path of the encoder behind a row, with its job; None for the base model."""
    return None if options is None else _add(study, jobs, "intermediate", row, options, None, seed)


def _add_target(study, jobs, row, options, encoder, seed):
    """The training of a target, with what it goes through first, and its evaluations."""
    task = load_task(options["task"])
    through = options.get("through", task.after)
    if through and through != NONE:
        before = {**options, "task": through, "name": None, "through": NONE}
        encoder = _add(study, jobs, "target", f"{row}/{slug(before)}", before, encoder, seed)
    trained = {**options, "task": _trained_as(study, task)} if "name" not in options else options
    name = slug({key: value for key, value in trained.items() if key != "after"})
    checkpoint = _add(study, jobs, "target", f"{row}/{name}", trained, encoder, seed)
    evaluated = slug(options)
    if task.retrieval:
        _add(study, jobs, "retrieval", f"{row}/{evaluated}", {"task": task.name}, checkpoint, seed)
        return
    for block in study.evaluation:
        for own in expanded(study, "evaluation", block, task=task.name):
            kept = {key: value for key, value in own.items() if key != "task" and (key, value) != ("split", "test")}
            if own.get("split", "test") in task.splits:
                _add(study, jobs, "eval", f"{row}/{'--'.join([evaluated, *_named(kept)])}", own, checkpoint, seed)


def _trained_as(study, task):
    """The first target of the study whose training is the same: SQuAD serves xquad and mlqa."""
    for name in dict.fromkeys(each for block in study.target for each in _listed(block.get("task"))):
        other = load_task(name)
        if (other.type, other.trained_on) == (task.type, task.trained_on):
            return name
    return task.name


def _add(study, jobs, phase, name, options, after, seed):
    """Add a job, once; returns its directory. Raises UserError where another one has it.

    What is found with the base model as it is depends on no seed, so there is one run for all of them.
    """
    training = phase in ("intermediate", "target")
    path = f"{study.runs_dir}/{phase}/{name}/{f'seed{seed}' if training or after else 'untrained'}"
    job = Job(
        phase=phase, task=options["task"], path=path, after=after,
        options={
            "data_dir": study.data_dir, "config": study.config, **_arguments(study, phase),
            **{key: value for key, value in options.items() if key not in OURS},
            "model_name_or_path": after or study.model_name_or_path, "output_dir": path, **({"seed": seed} if training else {}),
        },
    )  # fmt: skip
    if jobs.setdefault(path, job) != job:
        raise UserError(f"{study.path}: two different runs would share {path}; give one of them a `name:`")
    return path


def _arguments(study, phase):
    """Options that all runs of a phase get."""
    return {k: v for k, v in study.arguments.items() if k not in SCRIPTS} | study.arguments.get(phase, {})


def _blocks(study, key, row):
    """Option sets of a part of the study that stand behind a row."""
    blocks = [block for block in getattr(study, key) if row in _listed(block.get("after", row))]
    return [options for block in blocks for options in expanded(study, key, block)]


def expanded(study, key, block, **more):
    """A block's combinations: an option with a list has each of its values (a list of lists: each inner list)."""
    factors = {name: _listed(value) if name != "after" else [value] for name, value in {**more, **block}.items()}
    if empty := [name for name, values in factors.items() if not values]:
        raise UserError(f"{study.path}: {key}: `{empty[0]}` is an empty list, which makes a grid of no runs")
    if (number := prod(map(len, factors.values()))) > MOST:
        raise UserError(
            f"{study.path}: {key}: the lists of a block have {number:,} combinations; more than {MOST:,} are no grid"
        )
    combinations = [dict(zip(factors, values, strict=True)) for values in product(*factors.values())]
    for options in combinations:
        for name in {options["task"], options.get("through") or NONE} - {NONE}:
            _check_task(study, key, name)
        check_name(slug(options), f"{study.path}: {key}")
    return [{name: value for name, value in options.items() if value is not None} for options in combinations]


def _listed(value):
    return value if isinstance(value, list) else [value]


def _check_task(study, key, name):
    try:
        if key == "intermediate":
            load_tasks(str(name))
        else:
            task = load_task(str(name), (Task, RetrievalTask) if key == "retrieval" else Task)
            if key == "retrieval" and isinstance(task, Task) and not task.retrieval:
                raise UserError(f"task {name} is no retrieval; it belongs to the targets")
    except UserError as error:
        raise UserError(f"{study.path}: {key}: {str(error).removeprefix('--')}") from error


def _check_draws(study, rows):
    """Raise UserError for rows that differ only in the seed of their draw of tasks, and draw the same ones."""
    drawn = {}
    for options in rows.values():
        seed, size = ((options or {}).get(f"task_subset_{name}") for name in ("seed", "size"))
        if isinstance(seed, int) and isinstance(size, int):
            try:
                tasks = "+".join(task.name for task in draw_subset(load_tasks(options["task"]), size, seed))
            except UserError as error:
                raise UserError(f"{study.path}: intermediate: {str(error).removeprefix('--')}") from error
            others = {name: value for name, value in options.items() if name not in ("name", "task_subset_seed")}
            other = drawn.setdefault(f"{tasks} {sorted(others.items())}", seed)
            if other != seed:
                count = f"{size} task{'s' * (size > 1)}"
                raise UserError(f"{study.path}: draws {other} and {seed} of {count} are both {tasks}; give other seeds")


def _check_splits(study):
    """Raise UserError for a split that no target has rows of. (What only some have is evaluated on these.)"""
    targets = [load_task(options["task"]) for block in study.target for options in expanded(study, "target", block)]
    splits = sorted({split for task in targets if not task.retrieval for split in task.splits})
    wanted = [split for block in study.evaluation for split in _listed(block.get("split")) if split]
    if splits and (lost := [split for split in wanted if split not in splits]):
        raise UserError(f"{study.path}: evaluation: no target has a split '{lost[0]}'; they have {', '.join(splits)}")


def _check_after(study, rows):
    for block in [*study.target, *study.retrieval]:
        if lost := [row for row in _listed(block.get("after", [])) if row not in rows]:
            raise UserError(f"{study.path}: after: '{lost[0]}' is not one of the rows {', '.join(rows)}")


def slug(options):
    """The name of a directory: the task and its options, or the block's own `name`."""
    if options.get("name"):
        return str(options["name"])
    return "--".join([options["task"], *_named({key: options[key] for key in options if key not in ("task", *OURS)})])


def _named(options):
    return [f"{key}-{_in_a_name(value)}" for key, value in options.items() if value is not None]


def _in_a_name(value):
    return re.sub(r"[^\w.+-]+", "+", "+".join(map(str, _listed(value)))).strip("+")
