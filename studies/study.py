"""A study's file: intermediate tasks x targets x seeds, in YAML.

    model_name_or_path: FacebookAI/xlm-roberta-large
    data_dir: data
    runs_dir: runs                   # studies with one folder share their runs
    report_dir: reports/layers
    seeds: [1, 2, 3]
    intermediate:                    # the rows: options of run_intermediate.py; a list is a factor, all combinations are run
      - none
      - {task: mnli, freeze_layers: [6, 12, all]}
    target:                          # the columns: options of run_target.py
      - {task: [xnli, udpos]}
      - {task: xnli, transfer_layers: [0-5, 0-11], after: mnli}      # `after`: only behind these rows
    evaluation:                      # options of run_zeroshot_eval.py
      - {split: test}
    retrieval:                       # options of run_retrieval.py; tasks with training (lareqa, mewslix) stand under target
      - {task: tatoeba}

Gains are over the row `none`, which is added where it is missing; `baseline: false` leaves it out.

`sets: {some: [rows], more: [rows]}` holds further rows by name. All of them are rows of the study; `<file>:some`, instead of the
file, is the study with the rows of that set alone, and a report in a folder below its own.

studies/grid.py makes the list of its runs.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path

from xstilts.base import UserError, print_main, read_yaml
from xstilts.shapes import Each, Maybe, misfit

NONE = "none"
SEEDS = 2**32  # numpy's limit
BLOCKS = ("intermediate", "target", "evaluation", "retrieval")
OURS = ("name", "after", "through")  # keys of a block that are no options of its script
FORMS = dict.fromkeys(("seeds", *BLOCKS, "questions"), list) | dict.fromkeys(
    ("arguments", "low_resource", "sets"), dict
)
TYPES = dict.fromkeys(("model_name_or_path", "runs_dir", "report_dir"), str)
TYPES |= dict.fromkeys(("data_dir", "config", "language_facts"), Maybe(str)) | {"questions": Maybe([str])}
TYPES |= {"baseline": Maybe(bool)}
TYPES |= {"arguments": Maybe(dict.fromkeys(("intermediate", "target", "eval", "retrieval"), Maybe(dict)))}
TYPES |= {"low_resource": Maybe(Each(Maybe(float))), "sets": Maybe(Each([object]))}
MEANT = {  # which of them, where
    "intermediate": ("task", "name"),
    "target": ("task", *OURS),
    "evaluation": (),
    "retrieval": ("task", "name", "after"),
}
GIVEN = ("model_name_or_path", "output_dir", "seed")  # options that the study itself gives every run


@dataclass(frozen=True, kw_only=True)
class Study:
    """What a study's file says; folders and files as they stand there, relative to the repository.

    config         defaults of all scripts instead of configs/<phase>.yaml, as --config
    arguments      options that every script gets, as use_cpu; below the name of a phase those of its script: target: {bf16: true}
    language_facts what the report knows about languages (language_facts.py)
    baseline       whether the row `none`, without intermediate training, is added where it is missing
    questions      sections of the report; empty: all that the runs can answer
    low_resource   below which amounts a language is low-resource (language_facts.low_resource), instead of its defaults
    """

    path: str
    model_name_or_path: str
    runs_dir: str
    report_dir: str
    seeds: list
    intermediate: list
    target: list = field(default_factory=list)
    evaluation: list = field(default_factory=lambda: [{}])
    retrieval: list = field(default_factory=list)
    baseline: bool = True
    data_dir: str | None = None
    config: str | None = None
    arguments: dict = field(default_factory=dict)
    language_facts: str = "configs/languages.csv"
    questions: list = field(default_factory=list)
    low_resource: dict = field(default_factory=dict)


def read_study(path):
    """The Study in a YAML file, or in one of its `sets`, with the row `none`, which is said where it is added.

    Raises UserError for what it does not know, and a study without runs.
    """
    file, _, chosen = str(path).partition(":") if not Path(path).exists() else (path, "", "")
    try:
        content = read_yaml(file)
    except OSError as error:
        raise UserError(f"study {file} cannot be read ({error.strerror})") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: expected lines of `key: value`; studies/study.py shows an example")
    known = (Study.__dataclass_fields__.keys() | {"sets"}) - {"path"}
    if unknown := sorted(content.keys() - known, key=str):
        raise UserError(f"{path}: unknown key '{unknown[0]}'; a study has {', '.join(sorted(known))}")
    content = {key: _expanded(value) for key, value in content.items() if value is not None}
    if wrong := [key for key, form in FORMS.items() if not isinstance(content.get(key, form()), form)]:
        form = "a list: `[...]`, or lines that begin with `- `" if FORMS[wrong[0]] is list else "lines of `key: value`"
        raise UserError(f"{path}: `{wrong[0]}` must be {form}")
    needed = ("model_name_or_path", "runs_dir", "report_dir", "seeds", "intermediate")
    if missing := [key for key in needed if not content.get(key)]:
        raise UserError(f"{path}: `{missing[0]}` is missing or empty")
    if wrong := misfit(content, TYPES):
        raise UserError(f"{path}: {wrong}")
    if given := [name for name in GIVEN if name in content.get("arguments", {})]:
        raise UserError(f"{path}: arguments: `{given[0]}` is the study's to give; take it away")
    content = _with_baseline(path, _with_sets(path, content, chosen))
    for key in ("runs_dir", "report_dir"):
        _check_folder(path, key, content[key])
    study = Study(path=str(path), **content)
    if not all(type(seed) is int and 0 <= seed < SEEDS for seed in study.seeds) or len(set(study.seeds)) < len(
        study.seeds
    ):
        raise UserError(f"{path}: seeds must be different whole numbers from 0 to {SEEDS - 1}, not {study.seeds}")
    return study


def _expanded(value):
    """A value, or a list of some, with `~` expanded."""
    if isinstance(value, list):
        return [_expanded(each) for each in value]
    return os.path.expanduser(value) if isinstance(value, str) else value


def _with_sets(path, content, chosen):
    """The content with the rows of its chosen set, or of all sets, among the others; what several sets have in common once."""
    sets = content.pop("sets", {})
    if chosen and chosen not in sets:
        raise UserError(f"{path}: there is no set '{chosen}' in it; it has {', '.join(sets) or 'none'}")
    rows = sets[chosen] if chosen else [row for own in sets.values() for row in own]
    once = [row for place, row in enumerate(rows) if row not in rows[:place]]
    folder = f"{content['report_dir']}/{chosen}" if chosen else content["report_dir"]
    return {**content, "intermediate": [*content["intermediate"], *once], "report_dir": folder}


def _with_baseline(path, content):
    """The content with the row that gains are over. Raises UserError where `baseline: false` speaks against it."""
    there = any(row in (NONE, {"task": NONE}) for row in content["intermediate"])
    if there and not content.get("baseline", True):
        raise UserError(
            f"{path}: `baseline: false`, but `{NONE}` is among the intermediate tasks; take one of them away"
        )
    if there or not content.get("baseline", True):
        return content
    print_main(f"{path}: the row `{NONE}` is added, which gains are over; `baseline: false` leaves it out")
    return {**content, "intermediate": [NONE, *content["intermediate"]]}


def _check_folder(path, key, folder):
    """Raise UserError for what Snakemake does not take for a folder, or whose copies would lie outside of its own."""
    if not isinstance(folder, str) or not folder.isprintable() or set(folder) & {*"{}"}:
        raise UserError(f"{path}: {key}: {folder!r} is no name of a folder (a text without braces and line ends)")
    if ".." in Path(folder).parts:
        raise UserError(
            f"{path}: {key}: {folder} goes up with `..`; write it from the root, as {Path(folder).resolve()}"
        )


def check_block(study, key, block):
    """Raise UserError for what is no set of options, keys that the study gives itself, and those that mean nothing here."""
    if key == "intermediate" and block == NONE:
        return
    if not isinstance(block, dict) or ("task" not in block and key != "evaluation"):
        raise UserError(f"{study.path}: {key}: '{block!s:.200}' is no set of options with a `task:`")
    for name, value in block.items():
        if name in ("task", *OURS) and not _is_text(value, several=name != "name"):
            raise UserError(f"{study.path}: {key}: `{name}` must be text, not {value!r:.100}; put it in quotes")
    if given := [name for name in GIVEN if name in block]:
        raise UserError(f"{study.path}: {key}: `{given[0]}` is the study's to give, not a block's; take it away")
    if lost := [name for name in (*OURS, "task") if name in block and name not in MEANT[key]]:
        raise UserError(f"{study.path}: {key}: `{lost[0]}` means nothing here; take it away")


def _is_text(value, several):
    """Whether a value is text (or null, as if it were not there), or a list of such."""
    return all(isinstance(each, str | None) for each in (value if several and isinstance(value, list) else [value]))
