"""`--dry_run`: everything of a run but the run: its arguments, its data, its model, and what it would take.

The data are read, checked and tokenized (features are kept for the run itself), the model is loaded, a few steps are taken and
thrown away. Nothing is written to `--output_dir`.
"""

import math
import os
import re
import shutil
import tempfile
import time
from dataclasses import MISSING, fields, replace
from itertools import chain

from accelerate import PartialState
from transformers import TrainerState

from xstilts.commands import options_given
from xstilts.cost import bytes_of, in_gb, memory, times_of, training_disk, training_time, try_steps
from xstilts.errors import say
from xstilts.evaluation import kept_outputs
from xstilts.freezing import render, table
from xstilts.identity import plain
from xstilts.lineage import lineage_text
from xstilts.micro_batches import input_lengths
from xstilts.processes import by_main
from xstilts.progress import duration, inputs_of_step
from xstilts.sharding import sharding_of
from xstilts.unfreezing import GradualUnfreezing

SAMPLE = 64  # inputs that are tried, of an evaluation or a retrieval

# Arguments that follow from others, or that the library fills in.
DERIVED = (
    "accelerator_config dataloader_pin_memory debug do_eval greater_is_better hub_model_id hub_token mixed_precision output_dir "
    "run_name"
).split()


def plan_training(run, trainer, sets, argv=None):
    """Say what a training would do. Every process has to call it.

    trainer   with all that it needs to train; it has taken a few steps afterwards
    sets      {what it is: features} of the training and selection rows
    """
    args, model = trainer.args, trainer.model
    _say_beginning(run, sets, argv)
    say(f"\nmodel ({type(model).__name__})\n{render(table(model))}")
    loader = trainer.get_train_dataloader()
    epoch = max(1, math.ceil(len(loader) / args.gradient_accumulation_steps))
    steps = args.max_steps if args.max_steps > 0 else math.ceil(args.num_train_epochs * epoch)
    for callback in trainer.callback_handler.callbacks:
        if isinstance(callback, GradualUnfreezing):  # whether all of its stages are reached
            callback.on_train_begin(args, TrainerState(max_steps=steps), trainer.control)
    activations, seconds, tried = (None, None, 0) if sharding_of(args) else try_steps(trainer, loader)
    evaluations, saves = (
        times_of(strategy, every, steps, epoch)
        for strategy, every in ((args.eval_strategy, args.eval_steps), (args.save_strategy, args.save_steps))
    )
    if args.load_best_model_at_end:  # each may be the best so far, which is saved
        saves = max(saves, evaluations)
    say(f"\nsteps   {steps:,} of {inputs_of_step(args, loader)} inputs, {epoch:,} an epoch")
    say(f"memory  {memory(model, activations, args)}")
    say(f"time    {training_time(sets, seconds, tried, steps, epoch, evaluations, args)}")
    say(f"disk    {training_disk(model, args, saves)}")
    _say_end(run.output_dir)


def plan_evaluation(run, trainer, sets, argv=None):
    """Say what an evaluation of the feature `sets` ({language: features}) would do."""
    _say_beginning(run, sets, argv)
    say(f"\nmodel ({type(trainer.model).__name__})\n{render(table(trainer.model))}")
    tokens = {name: int(input_lengths(features).sum()) for name, features in sets.items()}
    largest = max(sets, key=tokens.get)
    step = max(1, len(sets[largest]) // SAMPLE)
    sample = sets[largest].select(range(0, len(sets[largest]), step))
    model = trainer.accelerator.prepare_model(trainer.model, evaluation_mode=True).eval()
    began = time.perf_counter()
    kept_outputs(trainer, model, sample)
    seconds = (time.perf_counter() - began) * sum(tokens.values()) / max(1, int(input_lengths(sample).sum()))
    say(
        f"\nmemory  {in_gb(bytes_of(model))} of weights a process, and what a batch of --per_device_eval_batch_size takes"
    )
    say(
        f"time    about {duration(seconds)} for {sum(tokens.values()):,} tokens on {trainer.args.device.type}, and decoding"
    )
    _say_end(run.output_dir)


def plan_retrieval(run, encoder, collections, layers, embed, argv=None):
    """Say what a retrieval would do; `embed` is the `retrieval.Embedder` of the run."""
    sides = [(name, side) for collection in collections for name, side in collection.sides.items()]
    vectors = sum(embed.size(side, layers) for _, side in sides)
    _say_beginning(run, {}, argv)
    encoder.requires_grad_(False)  # the table says what is trained
    say(f"\nencoder ({type(encoder).__name__})\n{render(table(encoder))}")
    texts = sum(len(side.texts) for _, side in sides)
    say(f"\ntexts   {texts:,} to embed, {len(layers)} of their layers; {len(collections)} searches")
    say(f"memory  {in_gb(bytes_of(encoder))} of weights a process")
    seconds = sum(_embedding_seconds(embed, side, layers) for _, side in sides)
    say(f"time    about {duration(seconds)} to embed them on {run.training_args.device.type}, and the searches")
    say(f"disk    {in_gb(vectors)} of vectors; those of one search at a time, in memory where they fit")
    _say_end(run.output_dir)


def _embedding_seconds(embed, side, layers):
    """How long all texts of a `task.Side` would take, by some of them."""
    some = replace(side, texts=[*side.texts[:: max(1, len(side.texts) // SAMPLE)]])
    with tempfile.TemporaryDirectory() as own:
        folder = by_main(lambda: own)  # the processes write into the same files
        began = time.perf_counter()
        embed("sample", some, layers, folder)
        seconds = time.perf_counter() - began
        PartialState().wait_for_everyone()
    return seconds * len(side.texts) / len(some.texts)


def _say_beginning(run, sets, argv):
    say(f"dry run: {run.phase} {run.task} from {lineage_text(run.lineage)}, in {run.output_dir} ({run.state()})\n")
    say(_columns([("argument", "value", "from"), *_arguments(run, options_given(argv))]))
    rows = [("rows of", "split", "language", "rows", "published")]
    rows += [(r["task"], r["split"], r["language"], _number(r["rows"]), _number(r["published_rows"])) for r in run.data]
    say(f"\n{_columns(rows)}")
    if sets:
        lines = [("inputs of", "inputs", "tokens, mean", "longest")]
        for name, features in sets.items():
            lengths = input_lengths(features)
            lines.append((name, _number(len(features)), f"{lengths.mean():.0f}", _number(int(lengths.max()))))
        say(f"\n{_columns(lines)}")


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


def _say_end(output_dir):
    """What is free where the run would be written."""
    path = os.path.abspath(output_dir)
    while not os.path.exists(path):
        path = os.path.dirname(path)
    say(f"        {in_gb(shutil.disk_usage(path).free)} are free there")


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
