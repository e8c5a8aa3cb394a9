"""One file per task, named as on the command line: `cp hellaswag.py mytask.py`, edit, `--task mytask`."""

import importlib
import random
import re
from pathlib import Path

from xstilts.base import UserError
from xstilts.task import Task

# The order of the paper's tables. The tuples gate nothing: any file of this folder is a task.
INTERMEDIATE = (
    "anli_plus", "mnli", "qqp", "squad_v2", "squad", "hellaswag", "ccg", "cosmosqa", "commonsenseqa",
)  # fmt: skip
TARGET = ("xnli", "pawsx", "xcopa", "udpos", "panx", "xquad", "mlqa", "tydiqa")
RETRIEVAL = ("tatoeba", "bucc2018", "lareqa", "mewslix")


def task_names():
    """Names of the files in this folder."""
    return sorted(path.stem for path in Path(__file__).parent.glob("[!_]*.py"))


def load_task(name, kind=Task):
    """The declaration `TASK` of tasks/<name>.py. Raises UserError for an unknown name, a file that does not import and a task
    of another kind than `kind` (Task or RetrievalTask)."""
    if not re.fullmatch(r"\w+", name) or name not in task_names():
        raise UserError(f"--task {name} is not one of {', '.join(task_names())} (the files of tasks/)")
    try:
        task = importlib.import_module(f"tasks.{name}").TASK
    except (ImportError, SyntaxError, NameError, TypeError, AttributeError) as error:
        raise UserError(f"tasks/{name}.py cannot be imported: {type(error).__name__}: {error}") from error
    if not isinstance(task, kind):
        script = "run_intermediate.py or run_target.py" if isinstance(task, Task) else "run_retrieval.py"
        raise UserError(f"--task {name} is a {type(task).__name__}; it runs with {script}")
    if task.name != name:
        raise UserError(f"tasks/{name}.py calls its task '{task.name}'; name and file must agree")
    return task


def load_tasks(text):
    """`mnli+squad`, `all` or `all-ccg-qqp` (the nine intermediate tasks without two) -> tuple of declarations, in that order.

    Raises UserError for an unknown task, one that is named twice, one that is left out but not among the nine, and what
    `load_task` refuses.
    """
    names = _all_but(text) if re.match(r"all\b", text) else text.split("+")
    if unknown := [name for name in names if name not in task_names()]:
        known = ", ".join(task_names())
        raise UserError(f"--task {text}: '{unknown[0]}' is not one of {known} (the files of tasks/), nor is it `all`")
    if twice := [name for name in names if names.count(name) > 1]:
        raise UserError(f"--task {text} names '{twice[0]}' twice")
    return tuple(load_task(name) for name in names)


def draw_subset(tasks, size, seed):
    """`size` of the tasks (all without a size), in their order. Raises UserError where there are not as many."""
    if size is None:
        return tasks
    if not 1 <= size <= len(tasks):
        raise UserError(f"--task_subset_size {size} is not between 1 and {len(tasks)}, the number of tasks")
    drawn = random.Random(seed).sample(range(len(tasks)), size)  # noqa: S311 (a draw that is repeatable, no key)
    return tuple(tasks[number] for number in sorted(drawn))


def _all_but(text):
    everything, *left_out = text.split("-")
    nine = ", ".join(INTERMEDIATE)
    if everything != "all":
        raise UserError(
            f"--task {text}: `all` stands for {nine}; it can be made smaller (all-ccg), but nothing is added to it"
        )
    if wrong := [name for name in left_out if name not in INTERMEDIATE or left_out.count(name) > 1]:
        raise UserError(f"--task {text}: '{wrong[0]}' cannot be left out; `all` stands for {nine}, each once")
    if len(left_out) == len(INTERMEDIATE):
        raise UserError(f"--task {text} leaves no task")
    return [name for name in INTERMEDIATE if name not in left_out]
