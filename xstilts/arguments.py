"""Command lines. A config is nothing but default arguments: they are put before the user's own, and the later one wins."""

import argparse
import difflib
import json
import os
from pathlib import Path
from typing import ClassVar

from transformers import HfArgumentParser

from xstilts.commands import at_home, words_given
from xstilts.errors import UserError
from xstilts.help_text import help_page
from xstilts.hub import local_copy
from xstilts.option_values import check_values
from xstilts.progress import calm_libraries
from xstilts.run_files import read_run
from xstilts.shapes import Each, Maybe, misfit
from xstilts.tracking import as_one_word, check_reports, split_reports
from xstilts.yaml_files import read_yaml

ROOT = Path(__file__).resolve().parent.parent
CONFIGS = ROOT / "configs"


class _Parser(HfArgumentParser):
    """argparse that answers with one line instead of the usage of a hundred options; `defaults` are those of the config."""

    defaults: ClassVar = {}

    def error(self, message):
        raise UserError(message) from None  # argparse's own error would show values that are secrets

    def format_help(self):
        """The page of `--help`."""
        return help_page(self, self.dataclass_types[0], self.defaults, REFUSED)


SEVERAL = "multitask"  # the section of a config for runs of several tasks
TEXT = "mlm"  # and that of masked language modelling beside them
BESIDE = (
    f"+{TEXT}"  # behind the name of a section: its options where there is masked language modelling beside the task
)
TEXT_SOURCES = ("mlm_text_files", "mlm_dataset_name")  # options that ask for it


def parse(dataclasses, config, argv=None, sections=(), fetch=True, check=None):
    """Parse a command line into instances of `dataclasses`, with the defaults of configs/<config>.yaml.

    The file has `defaults:`, a section per task (`sections`, if they are not that of --task; `multitask` for several tasks), and
    under `recipes:` the same again for every `--recipe`; they apply in this order. `<section>+mlm` applies after a section where
    there is masked language modelling beside the task. Without --seed anywhere it is that of the checkpoint's own run: one seed
    serves a whole chain. Raises UserError for unknown options (with the nearest known one), wrong values, and a recipe that is
    unknown or not for the task, all before a checkpoint is fetched; without `fetch` it need not be there. So does `check`, which
    is given the first instance, for what is wrong with the task.
    """
    parser, given = _Parser(dataclasses, allow_abbrev=False), words_given(argv)
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    for option in ("--task", "--config", "--recipe", "--model_name_or_path", "--hub_token"):
        first.add_argument(*dict.fromkeys([option, option.replace("_", "-")]))
    for option in TEXT_SOURCES:
        first.add_argument(f"--{option}", f"--{option.replace('_', '-')}", nargs="*")
    try:
        chosen, _ = first.parse_known_args(given)
    except argparse.ArgumentError as error:
        raise UserError(str(error)) from error
    several = [SEVERAL] if config == "intermediate" else []
    sections = sections or ([chosen.task] if chosen.task in task_files() else several)
    text = any(getattr(chosen, option) for option in TEXT_SOURCES)
    parser.defaults = config_options(chosen.config or CONFIGS / f"{config}.yaml", sections, chosen.recipe, parser, text)
    line = as_one_word([*words_given(words_of(parser.defaults)), *given])
    try:
        *parsed, unknown = parser.parse_args_into_dataclasses(
            line, look_for_args_file=False, return_remaining_strings=True
        )
    except ValueError as error:  # combinations that TrainingArguments refuses
        raise UserError(
            f"{' '.join(str(error).split())} (defaults come from {chosen.config or f'configs/{config}.yaml'})"
        ) from error
    if unknown:
        raise UserError(f"unknown option {unknown[0]}{_nearest(unknown[0].lstrip('-'), parser)}")
    for part in parsed:
        check_values(part)
    calm_libraries()
    if check:
        check(parsed[0])
    # Only now: a line that is wrong, or asks for --help, fetches nothing.
    hide_token(chosen)  # a private checkpoint is asked for
    start = chosen.model_name_or_path or at_home(parser.defaults.get("model_name_or_path"))
    start = local_copy(start) if fetch else start
    seed = None if any(word.split("=")[0] == "--seed" for word in line) else inherited_seed(start)
    for part in parsed:
        if seed is not None and hasattr(part, "seed"):
            part.seed = seed
        if getattr(part, "output_dir", None) == "trainer_output":  # what TrainingArguments makes of no --output_dir
            part.output_dir = None
        hide_token(part)
        if hasattr(part, "report_to"):
            split_reports(part)
        if start is not None and hasattr(part, "model_name_or_path"):
            part.model_name_or_path = start
    return parsed


def hide_token(args):
    """Move `--hub_token` to where the hub's own library looks for it: the Trainer would write it into every checkpoint
    (training_args.bin)."""
    if getattr(args, "hub_token", None):
        os.environ["HF_TOKEN"], args.hub_token = args.hub_token, None


def inherited_seed(checkpoint):
    """The seed of the run that wrote a checkpoint, None for a base model."""
    run = read_run(Path(checkpoint or "") / "run.json")
    return run["seed"] if run else None


def config_options(path, chosen, recipe, parser, text=False):
    """The lines of a config file that apply to the `chosen` sections, {option: value}; `text` for masked language modelling
    beside the task, which the file itself can ask for too."""
    tables = read_config(path)
    recipes = tables.pop("recipes", {})
    if recipe is not None and recipe not in recipes:
        raise UserError(f"--recipe {recipe} is not one of {', '.join(recipes) or 'none'} ({path})")
    for own in (tables, *recipes.values()):
        _check_sections(path, own)
    layers = [tables, recipes.get(recipe, {})]
    _check_recipe(path, recipe, layers[1], chosen)
    options = _of_sections(layers, ("defaults", *chosen))
    if text or any(options.get(option) for option in TEXT_SOURCES):
        options = _of_sections(layers, [f"{name}{end}" for name in ("defaults", *chosen) for end in ("", BESIDE)])
    for name in options:
        if f"--{name}" not in parser._option_string_actions:
            raise UserError(f"{path}: unknown key '{name}'{_nearest(name, parser)}")
    return {name: value for name, value in options.items() if value is not None}


def _of_sections(layers, names):
    """{option: value} of the sections called `names`, of the file first, then of the recipe; the later one wins."""
    return {name: value for tables in layers for each in names for name, value in tables.get(each, {}).items()}


def _check_sections(path, tables):
    """Raise UserError for a section of a file or of a recipe that is none."""
    known = {"defaults", SEVERAL, TEXT, *task_files()}
    if unknown := [name for name in tables if name.removesuffix(BESIDE) not in known]:
        raise UserError(
            f"{path}: section '{min(unknown)}' is neither `defaults`, `recipes`, `{SEVERAL}`, `{TEXT}` nor a file of tasks/"
        )


def _check_recipe(path, recipe, tables, chosen):
    """Raise UserError where a recipe has sections of tasks, and none of one that is chosen: it would be half a recipe."""
    covered, tasks = [name for name in tables if name in task_files()], task_files()
    if covered and (lost := [name for name in chosen if name in tasks and name not in covered]):
        raise UserError(
            f"--recipe {recipe} says nothing about {lost[0]}; it is for {', '.join(covered)}. Leave it out, or give {lost[0]} a "
            f"section below recipes.{recipe} ({path})"
        )


def task_files():
    """Names of the files in tasks/, which are the sections of a config."""
    return {file.stem for file in (ROOT / "tasks").glob("[!_]*.py")}


def read_config(path):
    """A config file as a dictionary of dictionaries. Raises UserError where it is none."""
    try:
        tables = read_yaml(path)
    except OSError as error:
        raise UserError(f"--config {path} cannot be read ({error.strerror})") from error
    tables = {} if tables is None else tables
    if wrong := misfit(tables, Each(dict)) or misfit(tables, {"recipes": Maybe(Each(Each(dict)))}):
        raise UserError(f"{path}: expected `defaults:` and a section of `option: value` lines per task; {wrong}")
    return tables


def words_of(options):
    """Options of a config as words of a command line."""
    return [text for name, value in options.items() for text in (f"--{name}", *_texts(value))]


def _texts(value):
    """A YAML value as it is written on a command line."""
    return [
        json.dumps(each) if isinstance(each, dict) else str(each)
        for each in (value if isinstance(value, list) else [value])
    ]


def _nearest(name, parser):
    known = [option.lstrip("-") for option in parser._option_string_actions]
    close = difflib.get_close_matches(name.split("=")[0], known, n=1)
    return f"; did you mean --{close[0]}?" if close else ""


REFUSED = {
    "label_smoothing_factor": (0, "the loss is counted over the whole step, without smoothing"),
    "dataloader_drop_last": (False, "every row is seen"),
    "average_tokens_across_devices": (True, "the loss is counted over all processes"),
    "auto_find_batch_size": (False, "the number of examples a step would depend on the machine"),
    "batch_eval_metrics": (False, "scores are those of whole sets"),
    "prediction_loss_only": (False, "scores are made of predictions"),
    "use_liger_kernel": (False, "it is for decoders"),
    "save_only_model": (False, "an interrupted run could not go on"),
    "save_on_each_node": (False, "all machines of a run see its directory"),
    "enable_jit_checkpoint": (False, "SIGTERM leads to a checkpoint anyway"),
    "resume_from_checkpoint": (None, "the same command goes on where the run in --output_dir stopped"),
}


def check_training_arguments(training_args):
    """Raise UserError for arguments of the Trainer that are not offered, where the launcher and the Trainer disagree about the
    number of processes, and where the Trainer would slip into DataParallel."""
    for name, (only, reason) in REFUSED.items():
        if getattr(training_args, name) != only:
            raise UserError(f"--{name} {getattr(training_args, name)} is not offered: {reason}")
    if training_args.train_sampling_strategy not in ("random", "group_by_length"):
        raise UserError(
            f"--train_sampling_strategy {training_args.train_sampling_strategy} is not offered: an interrupted run could not go "
            "on in that order"
        )
    launched = int(os.environ.get("WORLD_SIZE", 1))
    if launched != training_args.world_size:
        raise UserError(
            f"{launched} processes were launched but each trains for itself (world size {training_args.world_size}); on CPU "
            "use `torchrun --nproc_per_node N script.py --use_cpu ...`"
        )
    if training_args.n_gpu > 1:
        raise UserError(
            f"{training_args.n_gpu} GPUs are visible to one process, which would copy the model to each of them (DataParallel); "
            "use `accelerate launch --config_file configs/accelerate/several_gpus.yaml` for all of them, or "
            "CUDA_VISIBLE_DEVICES=0 for one"
        )
    check_reports(training_args)
