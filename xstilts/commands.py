"""Command lines: what is given on one, and what run.json keeps of it."""

import os
import re
import sys

from xstilts.secrecy import without_secrets

SCRIPTS = {
    "intermediate": "run_intermediate.py", "target": "run_target.py", "dev": "run_intermediate.py",
    "eval": "run_zeroshot_eval.py", "retrieval": "run_retrieval.py",
}  # fmt: skip
OVERWRITE = "--overwrite_output_dir"
TEXTS = re.compile(r"--(query|document)[_-]prefix\b")  # options that are read as they are; any other may name a file


def words_given(argv=None):
    """The words of a command line, `argv` or that of the process, with `~` written out: a shell does so for `--option ~/x` alone,
    not for `--option=~/x`, for a word in quotes or for a line of a config."""
    words, before = [], ""
    for word in map(str, sys.argv[1:] if argv is None else argv):
        option, value = re.fullmatch(r"(--[\w-]+=)?(.*)", word, flags=re.DOTALL).groups(default="")
        words.append(word if TEXTS.match(option or before) else option + at_home(value))
        before = word
    return words


def options_given(argv=None):
    """Names of the options on a command line, spelt with underscores."""
    words = (word for word in words_given(argv) if word.startswith("--"))
    return {word.split("=")[0].lstrip("-").replace("-", "_") for word in words}


def at_home(value):
    """A value of a config or a command line, or a list of some, with `~` and `~user` at its beginning written out."""
    if isinstance(value, list):
        return [at_home(each) for each in value]
    return os.path.expanduser(value) if isinstance(value, str) else value


def command_of(argv, seed, output_dir):
    """The words of a command line behind the script: as they were given, with seed and directory where these were left to
    defaults, and without secrets and what deletes an older run."""
    given = [*_without_overwriting(argv)]
    names = {word.split("=")[0] for word in given}
    added = [(name, value) for name, value in (("--seed", seed), ("--output_dir", output_dir)) if name not in names]
    return [*without_secrets(given), *(str(word) for pair in added for word in pair)]


def _without_overwriting(words):
    words = iter(map(str, words))
    for word in words:
        if word.split("=")[0] != OVERWRITE:
            yield word
        elif "=" not in word and (value := next(words, None)) is not None and value.startswith("--"):
            yield value
