"""Which checkpoint of a target run is kept, `--selection`, and on which rows it is chosen.

english_dev       the best on the source language's selection set, which no reported set overlaps with: the default
last              the last step, nothing is chosen
average_last_k    the mean of the weights of the last `--average_last_k` checkpoints
benchmark         the best on what the benchmark's own scripts select on, although it is reported: SQuAD's dev articles, which are
                  XQuAD's, and TyDiQA's English test set; nothing is held out of the training rows
oracle            the best on the target languages' own dev sets: an upper bound, no zero-shot result
"""

import os
from dataclasses import replace

import torch
from safetensors.torch import load_file

from xstilts.errors import UserError, say
from xstilts.examples import joined, load_examples
from xstilts.languages import load_languages, load_selection
from xstilts.step_checkpoints import damage_of, planned

SELECTIONS = ("english_dev", "last", "average_last_k", "benchmark", "oracle")
LEAKY = ("benchmark", "oracle")  # marked wherever their results are shown


def check_selection(args, training_args):
    """Raise UserError for an unknown `--selection` and options that do not go with it; makes the Trainer keep what it needs."""
    if args.selection not in SELECTIONS:
        raise UserError(f"--selection {args.selection} is not one of {', '.join(SELECTIONS)}")
    if args.selection in ("last", "average_last_k"):
        if args.early_stopping_patience:
            raise UserError(f"--selection {args.selection} and --early_stopping_patience exclude each other")
        training_args.load_best_model_at_end = False
        training_args.metric_for_best_model = None  # the Trainer would keep the best checkpoint in place of a late one
    if args.selection == "average_last_k":
        _check_average(args, training_args)


def _check_average(args, training_args):
    if args.average_last_k < 2:
        raise UserError(f"--average_last_k {args.average_last_k} must be 2 or more")
    if training_args.save_strategy == "no":
        raise UserError("--selection average_last_k averages checkpoints, and --save_strategy no keeps none")
    if args.peft:
        raise UserError("--selection average_last_k and --peft exclude each other: averages of factors are no average")
    if training_args.save_total_limit is not None:
        training_args.save_total_limit = max(training_args.save_total_limit, args.average_last_k)


def training_task(task, selection):
    """The task whose training rows are read: of `benchmark` nothing is held out of them."""
    if selection != "benchmark":
        return task
    return replace(task, held_out_by=None, train_on=task.train_on and replace(task.train_on, held_out_by=None))


def load_dev(task, args):
    """The rows that `args.selection` chooses on, as Examples."""
    common = {"data_dir": args.data_dir, "max_samples": args.max_eval_samples}
    if args.selection == "oracle":
        found, _ = load_languages(task, "validation", **common)
        return joined([*found.values()])
    teacher = task.train_on or task
    if args.selection == "benchmark" and teacher.held_out_by:
        split = "validation" if "validation" in teacher.splits else "test"
        return load_examples(replace(teacher, held_out_by=None), split, args.train_language, **common)
    return load_selection(task, args.train_language, **common)


def chosen_in(dev, selection):
    """Languages of the selection rows that choose the checkpoint, [] where none is chosen."""
    return [] if selection in ("last", "average_last_k") else dev.languages


def average_last(trainer, count):
    """Put the mean of the last `count` checkpoints of a run into its model. Raises UserError where there are fewer."""
    last = planned(trainer.args.output_dir)[-count:]
    if len(last) < count:
        raise UserError(
            f"--average_last_k {count}: the run has {len(last)} checkpoints; save more often or train longer"
        )
    model, total = trainer.model, {}
    for folder in last:
        if reason := damage_of(folder):
            raise UserError(
                f"{folder} is damaged ({reason}); give the same command again: it goes on from an earlier checkpoint"
            )
        for name, tensor in load_file(os.path.join(folder, "model.safetensors")).items():
            total[name] = total[name] + tensor.double() if name in total else tensor.double()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name in total:
                parameter.copy_(total[name] / count)
    say(f"the mean of {', '.join(map(os.path.basename, last))}")
