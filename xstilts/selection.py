"""Which checkpoint of a target run is kept, `--selection`, and on which rows it is chosen.

english_dev  the best on the source language's selection set, which no reported set overlaps with: the default
last         the last step, nothing is chosen
benchmark    the best on what the benchmark's own scripts select on, although it is reported: SQuAD's dev articles, which are
             XQuAD's, and TyDiQA's English test set; nothing is held out of the training rows
oracle       the best on the target languages' own dev sets: an upper bound, no zero-shot result
"""

from dataclasses import replace

from xstilts.examples import joined, load_examples
from xstilts.languages import load_languages, load_selection

LEAKY = ("benchmark", "oracle")  # marked wherever their results are shown


def apply_selection(args, training_args):
    """With `--selection last` the Trainer chooses no checkpoint."""
    if args.selection == "last":
        training_args.load_best_model_at_end = False
        training_args.metric_for_best_model = None  # the Trainer would keep the best checkpoint in place of a late one


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
    return [] if selection == "last" else dev.languages
