"""One file per task, named as on the command line: `cp hellaswag.py mytask.py`, edit, `--task mytask`."""

import importlib
import re
from pathlib import Path

from xstilts.errors import UserError
from xstilts.task import Task

# The order of the paper's tables. The tuples gate nothing: any file of this folder is a task.
INTERMEDIATE = ("mnli", "squad", "hellaswag")
TARGET = ("xnli", "udpos", "xquad")
RETRIEVAL = ("tatoeba",)


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
