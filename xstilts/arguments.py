"""Command lines. A config is nothing but default arguments: they are put before the user's own, and the later one wins."""

import argparse
import difflib
import json
import os
import sys
from pathlib import Path

import yaml
from transformers import HfArgumentParser

from xstilts.errors import UserError

CONFIGS = Path(__file__).resolve().parent.parent / "configs"


class _Parser(HfArgumentParser):
    """argparse that answers with one line instead of the usage of a hundred options."""

    def error(self, message):
        raise UserError(message)


def parse(dataclasses, config, argv=None):
    """Parse a command line into instances of `dataclasses`, with the defaults of configs/<config>.yaml.

    The file has `defaults:`, a section per task, and under `recipes:` sets of arguments for `--recipe`; they apply in
    this order. Raises UserError for unknown options (with the nearest known one), wrong values and an unknown recipe.
    """
    parser = _Parser(dataclasses, allow_abbrev=False)
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    for option in ("--task", "--config", "--recipe"):
        first.add_argument(option)
    try:
        chosen, _ = first.parse_known_args(argv)
    except argparse.ArgumentError as error:
        raise UserError(str(error)) from error
    defaults = config_arguments(chosen.config or CONFIGS / f"{config}.yaml", chosen.task, chosen.recipe, parser)
    line = [*defaults, *(sys.argv[1:] if argv is None else argv)]
    try:
        *parsed, unknown = parser.parse_args_into_dataclasses(
            line, look_for_args_file=False, return_remaining_strings=True
        )
    except ValueError as error:  # combinations that TrainingArguments refuses
        raise UserError(" ".join(str(error).split())) from error
    if unknown:
        raise UserError(f"unknown option {unknown[0]}{_nearest(unknown[0].lstrip('-'), parser)}")
    for part in parsed:
        if getattr(part, "output_dir", None) == "trainer_output":  # what TrainingArguments makes of no --output_dir
            part.output_dir = None
    return parsed


def config_arguments(path, task, recipe, parser):
    """The lines of a config file that apply to a task, as a list of command-line arguments."""
    tables = read_config(path)
    recipes = tables.pop("recipes", {})
    if recipe is not None and recipe not in recipes:
        raise UserError(f"--recipe {recipe} is not one of {', '.join(recipes) or 'none'} ({path})")
    options = {**tables.get("defaults", {}), **tables.get(task, {}), **recipes.get(recipe, {})}
    arguments = []
    for name, value in options.items():
        if f"--{name}" not in parser._option_string_actions:
            raise UserError(f"{path}: unknown key '{name}'{_nearest(name, parser)}")
        if value is not None:
            arguments += [f"--{name}", *(map(_text, value) if isinstance(value, list) else [_text(value)])]
    return arguments


def read_config(path):
    """A config file as a dictionary of dictionaries. Raises UserError where it is none."""
    try:
        tables = yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {}
    except OSError as error:
        raise UserError(f"--config {path} cannot be read ({error.strerror})") from error
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not valid YAML ({' '.join(str(error).split())})") from error
    if not isinstance(tables, dict) or not all(isinstance(table, dict) for table in tables.values()):
        raise UserError(f"{path}: expected `defaults:` and a section of `option: value` lines per task")
    return tables


def _text(value):
    return json.dumps(value) if isinstance(value, dict) else str(value)


def _nearest(name, parser):
    known = [option.lstrip("-") for option in parser._option_string_actions]
    close = difflib.get_close_matches(name.split("=")[0], known, n=1)
    return f"; did you mean --{close[0]}?" if close else ""


def check_processes(training_args):
    """Raise UserError where the launcher and the Trainer disagree about the number of processes, or where the Trainer would
    slip into DataParallel."""
    launched = int(os.environ.get("WORLD_SIZE", 1))
    if launched != training_args.world_size:
        raise UserError(
            f"{launched} processes were launched but each trains for itself (world size {training_args.world_size}); on CPU "
            "use `torchrun --nproc_per_node N script.py --use_cpu ...`"
        )
    if training_args.n_gpu > 1:
        raise UserError(
            f"{training_args.n_gpu} GPUs are visible to one process; use `accelerate launch --multi_gpu` for all of them, or "
            "CUDA_VISIBLE_DEVICES=0 for one"
        )
    if training_args.train_sampling_strategy != "random":
        raise UserError(
            "--train_sampling_strategy: only 'random' is offered; others reorder rows in ways that cannot resume"
        )
    if training_args.label_smoothing_factor:
        raise UserError(
            "--label_smoothing_factor is not offered: the loss is counted over the whole step, without smoothing"
        )
