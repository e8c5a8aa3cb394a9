"""The commands behind runs: what run.json keeps of a command line, and what one has to type to get the same runs again."""

import os
import shlex
from pathlib import Path

from xstilts.secrecy import without_secrets

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = {
    "intermediate": "run_intermediate.py", "target": "run_target.py", "dev": "run_intermediate.py",
    "eval": "run_zeroshot_eval.py", "retrieval": "run_retrieval.py",
}  # fmt: skip
OVERWRITE = "--overwrite_output_dir"


def command_of(phase, argv, seed, output_dir):
    """The words of a command line, script first: as it was given, with seed and directory where these were left to defaults, and
    without secrets and what deletes an older run."""
    script = os.path.relpath(ROOT / SCRIPTS[phase])
    given = [*_without_overwriting(argv)]
    names = {word.split("=")[0] for word in given}
    added = {"--seed": seed, "--output_dir": output_dir}
    return [
        script,
        *without_secrets(given),
        *(str(w) for name, value in added.items() if name not in names for w in (name, value)),
    ]


def _without_overwriting(words):
    words = iter(map(str, words))
    for word in words:
        if word.split("=")[0] != OVERWRITE:
            yield word
        elif "=" not in word and (value := next(words, None)) is not None and value.startswith("--"):
            yield value


def printed_commands(runs):
    """Lines of a shell script that makes `runs`, {path: run.json}, again, each after those that it starts from. Comments say in
    which versions the bits were made."""
    before, lines = None, []
    for path, run in sorted(runs.items(), key=_place):
        if "command" not in run:
            lines.append(f"# {path} does not say its command: it was made by an older version")
            continue
        if (here := _surroundings(run)) != before:
            lines += [f"# {here[0]}", f"cd {shlex.quote(here[1])}"]
        lines.append(_line(run))
        before = here
    return lines


def _place(item):
    path, run = item
    return list(SCRIPTS).index(run["phase"]), len(run["lineage"]), path


def _surroundings(run):
    versions = ", ".join(f"{name} {run['versions'][name]}" for name in ("python", "torch", "transformers"))
    return f"{versions}; commit {run['git_commit'] or 'unknown'}; on {run['hardware']['device']}", run["directory"]


def _line(run):
    hardware = run["hardware"]
    launcher = ["torchrun", "--nproc_per_node", str(hardware["processes"])] if hardware["processes"] > 1 else ["python"]
    return f"OMP_NUM_THREADS={hardware['threads']} {shlex.join([*launcher, *run['command']])}"
