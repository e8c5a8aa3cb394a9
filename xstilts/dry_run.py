"""`--dry_run`: everything of a run but the run: its arguments, its data, its model, and what it would take.

The data are read, checked and tokenized (features are kept for the run itself), the model is loaded, a few steps are taken and
thrown away. Nothing is written to `--output_dir`.
"""

import math
import os
import re
import shutil
import sys
import tempfile
import time
from collections import Counter
from contextlib import nullcontext
from dataclasses import MISSING, fields, replace
from itertools import chain

import torch
from accelerate import PartialState
from transformers import TrainerState

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

SECONDS = 20  # for the steps that are tried
STEPS = 10  # of them at most
SAMPLE = 64  # inputs of an evaluation that are tried
FORWARD = (
    1 / 3
)  # what an evaluation takes of a training step on as many tokens: a forward pass is half of a backward pass
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
    activations, seconds, tried = (None, None, 0) if sharding_of(args) else _try_steps(trainer, loader)
    evaluations, saves = (
        _times(strategy, every, steps, epoch)
        for strategy, every in ((args.eval_strategy, args.eval_steps), (args.save_strategy, args.save_steps))
    )
    if args.load_best_model_at_end:  # each may be the best so far, which is saved
        saves = max(saves, evaluations)
    say(f"\nsteps   {steps:,} of {inputs_of_step(args, loader)} inputs, {epoch:,} an epoch")
    say(f"memory  {_memory(model, activations, args)}")
    say(f"time    {_training_time(sets, seconds, tried, steps, epoch, evaluations, args)}")
    say(f"disk    {_training_disk(model, args, saves)}")
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
    say(f"\nmemory  {_gb(_bytes(model))} of weights a process, and what a batch of --per_device_eval_batch_size takes")
    say(
        f"time    about {duration(seconds)} for {sum(tokens.values()):,} tokens on {trainer.args.device.type}, and decoding"
    )
    _say_end(run.output_dir)


def plan_retrieval(run, encoder, collections, layers, embed, argv=None):
    """Say what a retrieval would do; `embed` is the `retrieval.Embedder` of the run."""
    sides = [(name, side) for collection in collections for name, side in collection.sides.items()]
    size = sum(embed.size(name, side, layers, run.args.embeddings_dir) for name, side in sides)
    _say_beginning(run, {}, argv)
    say(f"\nencoder ({type(encoder).__name__})\n{render(table(encoder))}")
    texts = sum(len(side.texts) for _, side in sides)
    say(f"\ntexts   {texts:,} to embed, {len(layers)} of their layers; {len(collections)} searches")
    say(f"memory  {_gb(_bytes(encoder))} of weights a process")
    seconds = sum(_embedding_seconds(embed, side, layers) for _, side in sides)
    say(f"time    about {duration(seconds)} to embed them on {run.training_args.device.type}, and the searches")
    say(f"disk    {_gb(size)} of vectors to be made; without --embeddings_dir those of one search at a time")
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
    say(_columns([("argument", "value", "from"), *_arguments(run, sys.argv[1:] if argv is None else argv)]))
    rows = [("rows of", "split", "language", "rows", "published")]
    rows += [(r["task"], r["split"], r["language"], _number(r["rows"]), _number(r["published_rows"])) for r in run.data]
    say(f"\n{_columns(rows)}")
    if sets:
        lines = [("inputs of", "inputs", "tokens, mean", "longest")]
        for name, features in sets.items():
            lengths = input_lengths(features)
            lines.append((name, _number(len(features)), f"{lengths.mean():.0f}", _number(int(lengths.max()))))
        say(f"\n{_columns(lines)}")


def _arguments(run, argv):
    """(name, value, where it comes from) of all arguments that are not the library's or the script's own defaults."""
    given = {word.split("=")[0].lstrip("-").replace("-", "_") for word in argv if word.startswith("--")}
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


# ---- what it would take ---------------------------------------------------------------------------------------------


def _try_steps(trainer, loader):
    """(bytes that the largest micro-batch keeps for the way back, seconds of a step, how many were tried)."""
    args, model = trainer.args, trainer.accelerator.prepare(trainer.model)
    if args.gradient_checkpointing:
        trainer.model.gradient_checkpointing_enable(args.gradient_checkpointing_kwargs)
    optimizer, batches = trainer.accelerator.prepare(trainer.create_optimizer()), iter(loader)
    trainer.state.epoch, kept, times = 0, Kept(model), []
    # Clocks differ: processes that took different numbers of steps would wait for each other for ever.
    while by_main(lambda: len(times) <= STEPS and sum(times) < SECONDS):
        micro, labels = trainer.get_batch_samples(batches, args.gradient_accumulation_steps, args.device)
        if not micro:
            break
        began = time.perf_counter()
        with kept.watching(enabled=not times):
            for inputs in micro:
                trainer.training_step(model, inputs, labels)
        optimizer.step()
        optimizer.zero_grad()
        if args.device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    return kept.most, sum(times[1:]) / max(1, len(times) - 1) or times[0], max(1, len(times) - 1)


class Kept:
    """Counts the bytes that forward passes keep for the way back, weights not counted, until the way back lets go of them."""

    def __init__(self, model):
        self.weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
        self.held, self.now, self.most = Counter(), 0, 0

    def watching(self, enabled):
        """A context in which it counts."""
        if not enabled:
            return nullcontext()
        return torch.autograd.graph.saved_tensors_hooks(self._pack, lambda packed: getattr(packed, "tensor", packed))

    def _pack(self, tensor):
        return tensor if tensor.untyped_storage().data_ptr() in self.weights else _Held(self, tensor)


class _Held:
    """A tensor that a graph keeps; tensors that share their memory count once."""

    def __init__(self, kept, tensor):
        storage = tensor.untyped_storage()
        self.kept, self.tensor, self.place, self.size = kept, tensor, storage.data_ptr(), storage.nbytes()
        kept.held[self.place] += 1
        kept.now += self.size * (kept.held[self.place] == 1)
        kept.most = max(kept.most, kept.now)

    def __del__(self):
        self.kept.held[self.place] -= 1
        self.kept.now -= self.size * (self.kept.held[self.place] == 0)


def _bytes(model, trained=False):
    return sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad or not trained)


def _memory(model, activations, args):
    """Weights, gradients and AdamW's two averages of what is trained, and what the largest micro-batch keeps."""
    weights, trained = _bytes(model), _bytes(model, trained=True)
    parts = f"weights {_gb(weights)}, gradients {_gb(trained)}, optimizer {_gb(2 * trained)} (AdamW)"
    if activations is None:
        return f"{_gb(weights + 3 * trained)} over all processes: {parts}; activations are not measured with FSDP and DeepSpeed"
    peak = f"; {_gb(torch.cuda.max_memory_allocated())} was the peak" if args.device.type == "cuda" else ""
    text = f"about {_gb(weights + 3 * trained + activations)} a process: {parts}, activations {_gb(activations)}"
    return f"{text} (largest of the micro-batches that were tried){peak}"


def _training_time(sets, seconds, tried, steps, epoch, evaluations, args):
    if seconds is None:
        return "not measured with FSDP and DeepSpeed; try a few steps, --max_steps 20"
    tokens = [
        sum(int(input_lengths(f).sum()) for name, f in sets.items() if split in name)
        for split in ("train", "validation")
    ]
    each = seconds * epoch / max(1, tokens[0]) * tokens[1] * FORWARD
    return (
        f"about {duration(seconds * steps + each * evaluations)} on {args.device.type}: {tried} steps took {seconds:.2f} s each, "
        f"{evaluations} evaluations about {duration(each)} each"
    )


def _training_disk(model, args, saves):
    """The model at the end, and beside it on the way the most checkpoints: those that are kept, and one that is written. Of a
    model with adapters (peft's, of one task) they hold what is trained."""
    weights, trained = _bytes(model), _bytes(model, trained=True)
    limit = max(args.save_total_limit or saves, 1 + args.load_best_model_at_end)  # the best and the last one stay
    kept = min(saves, limit + 1)
    most = weights + kept * ((trained if hasattr(model, "merge_and_unload") else weights) + 2 * trained)
    return (
        f"{_gb(weights)} in the end; on the way up to {_gb(most)}, with {kept} checkpoints that hold the optimizer too"
    )


def _times(strategy, every, steps, epoch):
    """How often a strategy of the Trainer acts in so many steps, with the last one, whatever its number."""
    strategy = getattr(strategy, "value", strategy)
    if strategy == "steps":
        return math.ceil(steps / math.ceil(every if every >= 1 else every * steps))
    return {"epoch": math.ceil(steps / epoch), "best": math.ceil(steps / epoch)}.get(strategy, 0)


def _say_end(output_dir):
    """What is free where the run would be written."""
    path = os.path.abspath(output_dir)
    while not os.path.exists(path):
        path = os.path.dirname(path)
    say(f"        {_gb(shutil.disk_usage(path).free)} are free there")


def _gb(size):
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"


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
