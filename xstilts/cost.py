"""What a training would take, for `--dry_run`: memory, time and disk, by its model, its settings and a few of its steps."""

import math
import time
from collections import Counter
from contextlib import nullcontext

import torch

from xstilts.micro_batches import input_lengths
from xstilts.processes import by_main
from xstilts.progress import duration

SECONDS = 20  # for the steps that are tried
STEPS = 10  # of them at most
FORWARD = 1 / 3  # of a training step on as many tokens: a forward pass is half of a backward pass


def try_steps(trainer, loader):
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


def bytes_of(model, trained=False):
    """Bytes of a model's parameters, or of those that are trained."""
    return sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad or not trained)


def memory(model, activations, args):
    """Weights, gradients and AdamW's two averages of what is trained, and what the largest micro-batch keeps."""
    weights, trained = bytes_of(model), bytes_of(model, trained=True)
    parts = f"weights {in_gb(weights)}, gradients {in_gb(trained)}, optimizer {in_gb(2 * trained)} (AdamW)"
    if activations is None:
        whole = in_gb(weights + 3 * trained)
        return f"{whole} over all processes: {parts}; activations are not measured with FSDP"
    peak = f"; {in_gb(torch.cuda.max_memory_allocated())} was the peak" if args.device.type == "cuda" else ""
    text = f"about {in_gb(weights + 3 * trained + activations)} a process: {parts}, activations {in_gb(activations)}"
    return f"{text} (largest of the micro-batches that were tried){peak}"


def training_time(sets, seconds, tried, steps, epoch, evaluations, args):
    """In words, from the seconds of the steps that were tried (None: none were); `epoch` is the number of steps of one."""
    if seconds is None:
        return "not measured with FSDP; try a few steps, --max_steps 20"
    tokens = [
        sum(int(input_lengths(f).sum()) for name, f in sets.items() if split in name)
        for split in ("train", "validation")
    ]
    each = seconds * epoch / max(1, tokens[0]) * tokens[1] * FORWARD
    return (
        f"about {duration(seconds * steps + each * evaluations)} on {args.device.type}: {tried} steps took {seconds:.2f} s each, "
        f"{evaluations} evaluations about {duration(each)} each"
    )


def training_disk(model, args, saves):
    """The model at the end, and beside it on the way the most checkpoints: those that are kept, and one that is written. Of a
    model with adapters (peft's, of one task) they hold what is trained."""
    weights, trained = bytes_of(model), bytes_of(model, trained=True)
    limit = max(args.save_total_limit or saves, 1 + args.load_best_model_at_end)  # the best and the last one stay
    kept = min(saves, limit + 1)
    most = weights + kept * ((trained if hasattr(model, "merge_and_unload") else weights) + 2 * trained)
    return f"{in_gb(weights)} in the end; on the way up to {in_gb(most)}, with {kept} checkpoints that hold the optimizer too"


def times_of(strategy, every, steps, epoch):
    """How often a strategy of the Trainer acts in so many steps, with the last one, whatever its number."""
    strategy = getattr(strategy, "value", strategy)
    if strategy == "steps":
        return math.ceil(steps / math.ceil(every if every >= 1 else every * steps))
    return {"epoch": math.ceil(steps / epoch), "best": math.ceil(steps / epoch)}.get(strategy, 0)


def in_gb(count):
    """Bytes in words: `2.2 GB`, `35.0 MB`."""
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"
