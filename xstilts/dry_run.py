"""`--dry_run`: what a run would be, without the run: its arguments, its data, and what of its model is trained.

The data are read, checked and tokenized (features are kept for the run itself), and the model is loaded. Nothing is written to
`--output_dir`.
"""

import math
import re
from dataclasses import MISSING, fields
from itertools import chain

from transformers import TrainerState

from xstilts.base import options_given, print_main
from xstilts.freezing import render, table
from xstilts.identity import plain
from xstilts.lineage import lineage_text
from xstilts.micro_batches import input_lengths
from xstilts.progress import inputs_of_step
from xstilts.unfreezing import GradualUnfreezing

# Arguments that follow from others, or that the library fills in.
DERIVED = (
    "accelerator_config dataloader_pin_memory debug do_eval greater_is_better hub_model_id hub_token mixed_precision output_dir "
    "run_name"
).split()


def plan_training(run, trainer, sets, argv=None):
    """Say what a training would be.

    trainer   with all that it needs to train
    sets      {what it is: features} of the training and selection rows
    """
    args = trainer.args
    _say_beginning(run, sets, argv)
    _say_model(trainer.model)
    loader = trainer.get_train_dataloader()
    epoch = max(1, math.ceil(len(loader) / args.gradient_accumulation_steps))
    steps = args.max_steps if args.max_steps > 0 else math.ceil(args.num_train_epochs * epoch)
    for callback in trainer.callback_handler.callbacks:
        if isinstance(callback, GradualUnfreezing):  # whether all of its stages are reached
            callback.on_train_begin(args, TrainerState(max_steps=steps), trainer.control)
    print_main(f"\nsteps   {steps:,} of {inputs_of_step(args, loader)} inputs, {epoch:,} an epoch")


def plan_evaluation(run, trainer, sets, argv=None):
    """Say what an evaluation of the feature `sets` ({language: features}) would be."""
    _say_beginning(run, sets, argv)
    _say_model(trainer.model)


def plan_retrieval(run, encoder, collections, layers, argv=None):
    """Say what a retrieval would be."""
    _say_beginning(run, {}, argv)
    encoder.requires_grad_(False)  # the table says what is trained
    _say_model(encoder)
    texts = sum(len(side.texts) for collection in collections for side in collection.sides.values())
    print_main(f"\ntexts   {texts:,} to embed, {len(layers)} of their layers; {len(collections)} searches")


def _say_model(model):
    print_main(f"\nmodel ({type(model).__name__})\n{render(table(model))}")


def _say_beginning(run, sets, argv):
    print_main(
        f"dry run: {run.phase} {run.task} from {lineage_text(run.lineage)}, in {run.output_dir} ({run.state()})\n"
    )
    print_main(_columns([("argument", "value", "from"), *_arguments(run, options_given(argv))]))
    rows = [("rows of", "split", "language", "rows", "published")]
    rows += [(r["task"], r["split"], r["language"], _number(r["rows"]), _number(r["published_rows"])) for r in run.data]
    print_main(f"\n{_columns(rows)}")
    if sets:
        lines = [("inputs of", "inputs", "tokens, mean", "longest")]
        for name, features in sets.items():
            lengths = input_lengths(features)
            lines.append((name, _number(len(features)), f"{lengths.mean():.0f}", _number(int(lengths.max()))))
        print_main(f"\n{_columns(lines)}")


def _arguments(run, given):
    """(name, value, where it comes from) of all arguments that are not the library's or the script's own defaults."""
    for field in chain(fields(run.args), fields(run.training_args)):
        value = run.arguments.get(field.name)
        if field.name in given:
            yield field.name, _value(value), "command line"
        elif field.name not in DERIVED and _is_set(value, field):
            yield field.name, _value(value), "checkpoint" if field.name == "seed" else "config"


def _is_set(value, field):
    """Whether a value is another than the option's default."""
    default = plain(field.default_factory() if field.default_factory is not MISSING else field.default)
    return value not in (None, "", [], default) and not (default is None and value is False)


def _value(value):
    text = " ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _number(value):
    return "-" if value is None else f"{value:,}"


def _columns(rows):
    """Rows of texts, the first of them titles, as aligned lines; columns of numbers to the right."""
    aligned = []
    for title, *cells in zip(*rows, strict=True):
        width = max(map(len, (title, *cells)))
        numbers = all(re.fullmatch(r"[\d,]+|-", cell) for cell in cells)
        aligned.append([f"{cell:>{width}}" if numbers else f"{cell:{width}}" for cell in (title, *cells)])
    return "\n".join("  ".join(line).rstrip() for line in zip(*aligned, strict=True))
