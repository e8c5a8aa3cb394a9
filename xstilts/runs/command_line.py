"""Command lines: the options of a script and of the Trainer, with the defaults of a file of configs/.

A config is nothing but default arguments: its lines are put before the user's own words, and the later one wins.
"""

import argparse
import difflib
import inspect
import os
import re
import sys
from pathlib import Path
from typing import ClassVar

from transformers import HfArgumentParser

from xstilts.base import UserError, is_secret, masked, options_given, words_given
from xstilts.runs.config_files import CONFIGS, SEVERAL, TEXT_SOURCES, config_options, task_files, words_of

OVERWRITE = "--overwrite_output_dir"
ASSIGNED = re.compile(r"-*\w[\w-]*")
PACKAGES = {"azure_ml": "azureml-core", "comet_ml": "comet-ml", "flyte": "flytekit"}  # whose pip name is another one

# What --help shows of the Trainer's options, beside those that the config sets.
ASKED_FOR = """
    output_dir seed use_cpu num_train_epochs max_steps learning_rate per_device_train_batch_size gradient_accumulation_steps
    per_device_eval_batch_size gradient_checkpointing report_to push_to_hub hub_model_id
""".split()
TRAINER = "https://huggingface.co/docs/transformers/main_classes/trainer#transformers.TrainingArguments"
HELP = {  # where the Trainer's own words are wrong here
    "output_dir": "Where the run is written; default: made of the tasks behind it and the seed.",
    "seed": "Of everything random; default: that of the checkpoint's own run, 42 for a base model.",
    "report_to": "none, or any of tensorboard, wandb, trackio, with commas.",
}

# Options of the Trainer that are not offered: {name: (the only value, why)}.
REFUSED = {
    "label_smoothing_factor": (0, "the loss is counted over the whole step, without smoothing"),
    "dataloader_drop_last": (False, "every row is seen"),
    "average_tokens_across_devices": (True, "the loss is counted over all processes"),
    "auto_find_batch_size": (False, "the number of examples a step would depend on the machine"),
    "batch_eval_metrics": (False, "scores are those of whole sets"),
    "prediction_loss_only": (False, "scores are made of predictions"),
    "use_liger_kernel": (False, "it is for decoders"),
    "save_only_model": (False, "an interrupted run could not resume"),
    "save_on_each_node": (False, "all machines of a run see its directory"),
    "enable_jit_checkpoint": (False, "SIGTERM leads to a checkpoint anyway"),
    "resume_from_checkpoint": (None, "the same command resumes the run in --output_dir"),
}

# Values that would end in a library's traceback, or in a run that does nothing: (names, what holds, in words).
SEEDS = 2**32  # numpy's limit
NUMBERS = (
    (("seed", "data_seed"), lambda value: 0 <= value < SEEDS, f"from 0 to {SEEDS - 1}"),
    (("max_steps",), lambda value: value == -1 or value >= 1, "1 or more (-1: --num_train_epochs says when training ends)"),
    (("warmup_steps",), lambda value: 0 <= value < 1 or value == value // 1 < float("inf"),
     "0 or above: a share of all steps below 1, otherwise a whole number of steps"),
    (("num_train_epochs", "logging_steps", "eval_steps", "save_steps", "ddp_timeout"),
     lambda value: 0 < value < float("inf"), "a number above 0"),
    (("learning_rate", "weight_decay", "adam_epsilon", "max_grad_norm", "dataloader_num_workers"),
     lambda value: 0 <= value < float("inf"), "a number from 0 on"),
    (("adam_beta1", "adam_beta2"), lambda value: 0 <= value < 1, "0 or above and below 1"),
    (("per_device_train_batch_size", "per_device_eval_batch_size", "gradient_accumulation_steps"),
     lambda value: value >= 1, "1 or more"),
)  # fmt: skip


def parse_args(dataclasses, config=None, argv=None, sections=(), fetch=True, check=None):
    """Parse a command line (`argv`, or that of the process) into instances of `dataclasses`, and check them.

    config      defaults are those of configs/<config>.yaml, or of --config FILE; None for a script that has none
    sections    of the config, where they are not those of --task
    check       called with the first instance, for what is wrong with the task
    fetch       fetch a checkpoint of --model_name_or_path that the hub has with a run.json; without, it need not be there

    Without --seed anywhere it is that of the checkpoint's own run: one seed serves a whole chain. Raises UserError for unknown
    options (with the nearest known one), wrong values, and a recipe that is unknown or not for the task, before it fetches.
    """
    parser, words = _Parser(dataclasses, allow_abbrev=False), words_given(argv)
    if config is not None:
        parser.defaults = _defaults(parser, words, config, sections)
    if hasattr(dataclasses, "positional"):  # not the values of switches before them
        words = [each for word in words for each in ([word, "true"] if parser.is_switch(word) else [word])]
    line = as_one_word([*words_given(words_of(parser.defaults)), *words])
    try:
        *parsed, unknown = parser.parse_args_into_dataclasses(
            line, look_for_args_file=False, return_remaining_strings=True
        )
    except (ValueError, ImportError) as error:  # combinations that TrainingArguments refuses
        raise UserError(f"{' '.join(str(error).split())} (defaults come from configs/{config}.yaml)") from error
    if name := getattr(parsed[0], "positional", None):  # words without an option
        given = [word for word in unknown if not word.startswith("--")]
        setattr(parsed[0], name, [*getattr(parsed[0], name), *map(Path, given)])
        unknown = [word for word in unknown if word.startswith("--")]
    if unknown:
        raise UserError(f"unknown option {unknown[0]}{_nearest(unknown[0].lstrip('-'), parser)}")
    args, training_args = parsed[0], parsed[1] if len(parsed) > 1 else None
    if training_args is not None:
        _check_trainer(training_args)
    for group in type(args).__mro__:
        if callable(vars(group).get("check")):
            group.check(args, training_args)
    if check:
        check(args)
    if training_args is not None:
        _start_from(args, training_args, options_given(line), fetch)
    return parsed


def _start_from(args, training_args, told, fetch):
    """Find the checkpoint that a command line names, and take over the seed of its run."""
    from xstilts.hub import local_copy  # here, so that scripts without a model start without these libraries
    from xstilts.progress import calm_libraries
    from xstilts.run_files import read_run

    calm_libraries()
    if "model_name_or_path" in told:
        if fetch:
            args.model_name_or_path = local_copy(args.model_name_or_path)
        if "seed" not in told and (run := read_run(Path(args.model_name_or_path, "run.json"))):
            training_args.seed = run["seed"]


def _defaults(parser, words, config, sections):
    """{option: default} of a config, for the task, the recipe and the file that the command line names."""
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    for option in ("--task", "--config", "--recipe"):
        first.add_argument(option)
    for option in TEXT_SOURCES:
        first.add_argument(f"--{option}", f"--{option.replace('_', '-')}", nargs="*")
    try:
        chosen, _ = first.parse_known_args(words)
    except argparse.ArgumentError as error:
        raise UserError(str(error)) from error
    path, text = chosen.config or CONFIGS / f"{config}.yaml", any(getattr(chosen, option) for option in TEXT_SOURCES)
    if not sections and chosen.task:
        sections = [chosen.task] if chosen.task in task_files() else [SEVERAL] * (config == "intermediate")
    options = config_options(path, sections, chosen.recipe, text)
    for name in options:
        if f"--{name}" not in parser._option_string_actions:
            raise UserError(f"{path}: unknown key '{name}'{_nearest(name, parser)}")
    return options


def _nearest(name, parser):
    known = [option.lstrip("-") for option in parser._option_string_actions]
    close = difflib.get_close_matches(name.split("=")[0], known, n=1)
    return f"; did you mean --{close[0]}?" if close else ""


def _check_trainer(training_args):
    """Raise UserError for options and values of the Trainer that are not offered, where the launcher and the Trainer disagree
    about the number of processes, and where the Trainer would use DataParallel. Leave --hub_token to the hub's own library: the
    Trainer would write it into every checkpoint."""
    from transformers.integrations import INTEGRATION_TO_CALLBACK, get_available_reporting_integrations

    for name, (only, reason) in REFUSED.items():
        if getattr(training_args, name) != only:
            raise UserError(f"--{name} {getattr(training_args, name)} is not offered: {reason}")
    for names, holds, words in NUMBERS:
        for name in names:
            if (value := getattr(training_args, name)) is not None and not holds(value):
                raise UserError(f"--{name} {value} must be {words}")
    if training_args.train_sampling_strategy not in ("random", "group_by_length"):
        raise UserError(
            f"--train_sampling_strategy {training_args.train_sampling_strategy} is not offered: an interrupted run could not "
            "resume in that order"
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
    names = [name.strip() for each in training_args.report_to for name in each.split(",")]
    training_args.report_to = list(dict.fromkeys(filter(None, names)))
    for name in training_args.report_to:
        if name not in INTEGRATION_TO_CALLBACK:
            raise UserError(f"--report_to {name} is not one of none, all, {', '.join(sorted(INTEGRATION_TO_CALLBACK))}")
        if name not in {"flyte", *get_available_reporting_integrations()}:
            raise UserError(
                f"--report_to {name} needs a package that is not installed: pip install {PACKAGES.get(name, name)}"
            )
    if training_args.output_dir == "trainer_output":  # what TrainingArguments makes of no --output_dir
        training_args.output_dir = None
    if training_args.hub_token:
        os.environ["HF_TOKEN"], training_args.hub_token = training_args.hub_token, None


# ---- words ----------------------------------------------------------------------------------------------------------


def as_one_word(line):
    """A command line with the words behind --report_to, of which the Trainer's parser takes one, joined by commas."""
    words, joined = list(map(str, line)), []
    while words:
        joined.append(words.pop(0))
        if joined[-1].replace("-", "_") == "__report_to":
            values = []
            while words and not words[0].startswith("--"):
                values.append(words.pop(0))
            joined += [",".join(values)] if values else []
    return joined


def command_of(argv, seed, output_dir):
    """The words of a command line that make a run again: as they were given, with seed and directory where these were left to
    defaults, without secrets and --overwrite_output_dir."""
    given = [*_without_overwriting(words_given(argv))]
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


def without_secrets(words):
    """The words of a command line with `***` in place of secrets: values of options that hold one by their name, and what looks
    like one. ["--hub_token", "abc", "--seed=1"] -> ["--hub_token", "***", "--seed=1"]"""
    found, follows = [], False
    for word in map(str, words):
        is_option, (name, assigned, _) = word.startswith("--"), word.partition("=")
        if follows and not is_option:
            found.append("***")
        elif assigned and ASSIGNED.fullmatch(name) and is_secret(name):  # --hub_token=abc, HF_TOKEN=abc
            found.append(f"{name}=***")
        else:
            found.append(masked(word))
        follows = is_secret(name) and not assigned if is_option else follows
    return found


# ---- --help ---------------------------------------------------------------------------------------------------------


class _Parser(HfArgumentParser):
    """Answers with one line instead of the usage of a hundred options; `defaults` are those of the config."""

    defaults: ClassVar = {}

    def error(self, message):
        raise UserError(message) from None  # argparse's own error would show values that are secrets

    def is_switch(self, word):
        """Whether a word is an option that may stand alone."""
        return word in self._option_string_actions and self._option_string_actions[word].nargs == "?"

    def format_help(self):
        """The script's docstring, its own options, and those of the Trainer that the config sets or that people ask for."""
        ours, actions = self.dataclass_types[0], {}
        for action in self._actions:  # a switch that is on by default has a second one, --no_...
            actions.setdefault(action.dest, action)
        own = list(dict.fromkeys(name for group in ours.__mro__ for name in vars(group).get("__annotations__", ())))
        own = [name for name in own if name in actions]
        of_trainer = [name for name in actions if name in {*ASKED_FOR, *self.defaults} - {*own}]
        page = argparse.RawDescriptionHelpFormatter(self.prog, max_help_position=36, width=120)
        page.add_text(f"usage: {self.prog} [options]")
        page.add_text(inspect.getdoc(sys.modules[ours.__module__]))
        for title, names in (("options", own), ("options of the Trainer", of_trainer)):
            page.start_section(title)
            page.add_arguments([_shown(actions[name], self.defaults.get(name)) for name in names])
            page.end_section()
        if of_trainer:
            page.add_text(f"All others of the Trainer: {TRAINER}")
        return page.format_help()


def _shown(action, default):
    """An option as --help shows it: with underscores, its kind of value short, its default last."""
    metavar = "VALUE" if action.choices and len(action.choices) > 6 else None
    metavar = metavar or {int: "N", float: "X", str: "TEXT"}.get(action.type)
    is_switch, value = action.nargs == "?", action.default if default is None else default
    known = (
        "" if value in (None, "", [], argparse.SUPPRESS) or (is_switch and value is False) else f" (default: {value})"
    )
    return argparse.Action(
        [action.option_strings[0]], action.dest, nargs=0 if is_switch else action.nargs, choices=action.choices,
        help=HELP.get(action.dest, action.help or "").strip() + " Required." * action.required + known.replace("%", "%%"),
        metavar=metavar,
    )  # fmt: skip
