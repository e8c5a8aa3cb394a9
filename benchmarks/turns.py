"""Fine-tuning in turns: every way in a process of its own, an epoch over the same rows whenever it is its turn.

A turn lasts from the first row that is drawn to the last update: reading and collating rows, passes, clipping, the optimizer,
logging. The peak of memory is that of a process over all of its turns, beyond what it had after the imports: tokenizer, model,
gradients, state of the optimizer and what a pass keeps for the way back.
"""

import contextlib

import numpy as np
import torch
from transformers import TrainerCallback

from benchmarks.measuring import anonymous_mb, peak_mb, process, used
from benchmarks.peers import BARE, SMALL, WAYS
from xstilts.base import UserError
from xstilts.training import summed_loss

ONCE = (SMALL,)  # these take the first turn only, which is enough for their memory


def run(work, ways):
    """Train in turns, of which the first one rotates: {way: {"spent": (turns, 2) seconds and processor seconds, "tokens" with
    padding of all turns, "memory_mb" at the peak, beyond what the imports take}}."""
    found = {way: {"spent": [], "tokens": 0, "memory_mb": 0.0} for way in ways}
    method = "spawn" if work.cuda else "forkserver"
    with contextlib.ExitStack() as stack:
        pipes = {way: stack.enter_context(process(way, train, work, way, method=method)) for way in ways}
        imported = {way: start(pipe, way) for way, pipe in pipes.items()}
        for number in range(work.epochs):
            for turn in range(len(ways)):
                way = ways[(number + turn) % len(ways)]
                if way in ONCE and number:
                    continue
                pipes[way].send("your turn")
                (*spent, tokens, on_gpu), peak = listen(pipes[way], way)
                own = found[way]
                own["spent"].append(spent)
                own["tokens"] += tokens
                own["memory_mb"] = max(own["memory_mb"], peak - imported[way]) if on_gpu is None else on_gpu
    return {way: {**each, "spent": np.array(each["spent"])} for way, each in found.items()}


def start(pipe, way):
    """Let a process make its model and the state of its optimizer; returns the MB that it had before."""
    listen(pipe, way)
    imported = anonymous_mb(pipe.pid)
    pipe.send("begin")
    listen(pipe, way)
    return imported


def listen(pipe, way):
    """(what the process says next, the MB at its peak until then). Raises UserError where it says nothing any more."""
    peak = anonymous_mb(pipe.pid)
    while not pipe.poll(0.002):
        peak = max(peak, anonymous_mb(pipe.pid))
    try:
        return pipe.recv(), peak
    except EOFError as error:
        raise UserError(f"the process of '{way}' died; what it said stands above") from error


# ---- the process of a way -------------------------------------------------------------------------------------------


def train(pipe, work, way):
    """Fine-tune one `way` in turns: an epoch whenever the `pipe` says so, which then hears (seconds, processor seconds, tokens
    with padding, MB at the peak so far on a GPU)."""
    pipe.send("imported")
    pipe.recv()
    trainer = WAYS[way].trainer(work)
    turns = Turns(pipe, trainer)
    try:
        if way == BARE:
            loop(trainer, work.epochs, turns)
        else:
            trainer.add_callback(turns)
            trainer.train()
    except EOFError:  # there is no further turn
        return


class Turns(TrainerCallback):
    """Makes every epoch wait for its turn and counts what it takes."""

    def __init__(self, pipe, trainer):
        self.pipe, self.trainer, self.tokens, self.collate = pipe, trainer, 0, trainer.data_collator
        trainer.data_collator = self.counted

    def counted(self, rows):
        """A batch, of which the tokens are counted."""
        batch = self.collate(rows)
        self.tokens += tokens_of(batch)
        return batch

    def on_train_begin(self, args, state, control, model=None, optimizer=None, train_dataloader=None, **kwargs):
        """Go through a batch without any effect, so that the first turn finds the state of the optimizer, and memory that the
        process has had before: new memory made it take up to twice as long."""
        batch = next(iter(train_dataloader))
        for part in batch.get("parts", [batch]):
            inputs = self.trainer._prepare_inputs(part)
            self.trainer.compute_loss(model.train(), inputs, num_items_in_batch=torch.tensor(2)).backward()
        for parameter in model.parameters():
            parameter.grad = torch.zeros_like(parameter)
        optimizer.step()
        optimizer.zero_grad()
        self.pipe.send("ready")

    def on_epoch_begin(self, args, state, control, **kwargs):
        """Wait."""
        self.pipe.recv()
        self.tokens, self.before = 0, used()

    def on_epoch_end(self, args, state, control, **kwargs):
        """The weights are updated."""
        spent = (used() - self.before).tolist()
        self.pipe.send((*spent, self.tokens, peak_mb() if torch.cuda.is_initialized() else None))


def tokens_of(batch):
    """Tokens of a batch, padding included."""
    parts = batch.get("parts", [batch])
    return sum(each.numel() for part in parts for name, each in part.items() if name.endswith("input_ids"))


def loop(trainer, epochs, turns):
    """What is left of fine-tuning without a Trainer: forward, backward, clip and step, over micro-batches made beforehand."""
    loader, model, args = trainer.get_train_dataloader(), trainer.model.train(), trainer.args
    optimizer, size, trainer.state.epoch = trainer.create_optimizer(), args.gradient_accumulation_steps, 0
    turns.on_train_begin(args, None, None, model=model, optimizer=optimizer, train_dataloader=loader)
    for epoch in range(epochs):
        loader.set_epoch(epoch)
        batches = [*loader]
        turns.on_epoch_begin(args, None, None)
        turns.tokens = sum(map(tokens_of, batches))
        for start in range(0, len(batches), size):
            step(trainer, model, batches[start : start + size], optimizer)
        turns.on_epoch_end(args, None, None)


def step(trainer, model, parts, optimizer):
    """One optimizer step over micro-batches."""
    count = sum((part["labels"] != -100).sum() for part in parts)
    for part in parts:
        inputs = {name: each for name, each in part.items() if name != "labels"}
        with torch.autocast(trainer.args.device.type, torch.bfloat16, enabled=trainer.args.bf16):
            outputs = trainer.forward(model, inputs)
        (summed_loss(trainer.task.type.logits(outputs, inputs), part["labels"]) / count).backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()
