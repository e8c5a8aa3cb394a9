"""How far something is and how long it will take: a bar on a terminal, a line a minute in a log.

A bar shows after DELAY seconds and leaves nothing behind, so that what ends sooner is not seen. In a log, where bars would be
thousands of lines, what takes longer than EVERY seconds says so.
"""

import sys
import time

import datasets
import huggingface_hub.constants
import huggingface_hub.utils
from tqdm import tqdm
from transformers import TrainerCallback
from transformers.utils import logging as transformers_logging

from xstilts.base import is_main_process, print_main

DELAY = 2  # seconds
EVERY = 60  # seconds


def on_terminal():
    """Whether somebody watches: bars are for terminals."""
    return sys.stderr.isatty()


def calm_libraries():
    """Without a terminal none of the libraries draws bars either; on one those of downloads stay. That of loading weights looks
    like a training begun anew."""
    transformers_logging.disable_progress_bar()  # the hub's with it
    if not on_terminal():
        datasets.disable_progress_bars()
        huggingface_hub.utils.disable_progress_bars()
    elif not huggingface_hub.constants.HF_HUB_DISABLE_PROGRESS_BARS:
        huggingface_hub.utils.enable_progress_bars()


class Progress:
    """`with Progress(total, what, unit) as progress: ... progress.update(n)`; shown by the first process only."""

    def __init__(self, total, what, unit="rows"):
        self.total, self.what, self.unit, self.done = total, what, unit, 0
        self.started = self.told = time.monotonic()
        hidden = not (is_main_process() and on_terminal())
        self.bar = tqdm(
            total=total, desc=what, unit=f" {unit}", leave=False, delay=DELAY, disable=hidden, dynamic_ncols=True
        )

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.bar.close()

    def update(self, count=1):
        """`count` more are done."""
        self.done += count
        self.bar.update(count)
        now = time.monotonic()
        if self.bar.disable and now - self.told > EVERY:
            self.told = now
            left = duration(remaining(self.done, self.total, now - self.started))
            print_main(f"{self.what}: {self.done:,} of {self.total:,} {self.unit}, {left} left")


def watched(items, what, unit="batches"):
    """The items of a sequence one after another, with a `Progress`."""
    with Progress(len(items), what, unit) as progress:
        for item in items:
            yield item
            progress.update()


def remaining(done, total, seconds):
    """Seconds that the rest will take if it goes on as it did."""
    return seconds / max(1, done) * max(0, total - done)


def duration(seconds):
    """`45 s`, `12 min`, `3 h 05 min`."""
    seconds = round(seconds)
    if seconds < 90:
        return f"{seconds} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


class TellProgress(TrainerCallback):
    """What a training says: at its start what it will do, then its losses and scores with the time that is left.

    In the place of the Trainer's own callbacks, which print dictionaries, and in a log a line for every redrawn bar.
    """

    def __init__(self):
        self.bar, self.began, self.first = None, None, 0

    def on_train_begin(self, args, state, control, **kwargs):
        """What is done, and from where on."""
        self.began, self.first = time.monotonic(), state.global_step
        print_main(_plan_of(args, state, kwargs.get("train_dataloader")))
        hidden = args.disable_tqdm or not (is_main_process() and on_terminal())
        self.bar = tqdm(total=state.max_steps, initial=self.first, unit=" steps", disable=hidden, dynamic_ncols=True)

    def on_step_end(self, args, state, control, **kwargs):
        """Move the bar."""
        self.bar.update(state.global_step - self.bar.n)

    def on_log(self, args, state, control, logs=None, **kwargs):
        """A line of a loss, or of scores on the selection set."""
        if self.bar is None or not logs:
            return
        chosen = f"eval_{(args.metric_for_best_model or '').removeprefix('eval_')}"
        names = {
            "loss": "loss",
            chosen: chosen.removeprefix("eval_"),
            "eval_loss": "loss",
            "learning_rate": "learning rate",
        }
        found = [f"{word} {float(logs[name]):.4g}" for name, word in names.items() if name in logs]
        if found:
            of = "selection set, " if any(name.startswith("eval_") for name in logs) else ""
            line = f"step {state.global_step:,} of {state.max_steps:,}: {of}{', '.join(found)}{self._left(state)}"
            say_above(self.bar, line)

    def on_train_end(self, args, state, control, **kwargs):
        """No bar is left."""
        self.close()

    def close(self):
        """End the bar, if there is one: what is said next, of an error too, has a line of its own."""
        if self.bar is not None:
            self.bar.close()
        self.bar = None

    def _left(self, state):
        """How long the rest takes, where there is one."""
        done, total = state.global_step - self.first, state.max_steps - self.first
        if done <= 0 or done >= total:
            return ""
        return f"; {duration(remaining(done, total, time.monotonic() - self.began))} left"


def inputs_of_step(args, loader=None):
    """How many inputs an optimizer step has, in words; of several tasks each has its own number."""
    mixture = getattr(getattr(loader, "batch_sampler", None), "mixture", None)
    inputs = (
        mixture.step_inputs if mixture else [args.train_batch_size * args.gradient_accumulation_steps * args.world_size]
    )
    return " to ".join(map(str, sorted({min(inputs), max(inputs)})))


def _plan_of(args, state, loader=None):
    """What a training is about to do, in one line."""
    processes = f"{args.world_size} process{'es' if args.world_size > 1 else ''}"
    inputs = inputs_of_step(args, loader)
    epochs = f"{args.num_train_epochs:g} epoch{'s' * (args.num_train_epochs != 1)}, " if args.max_steps <= 0 else ""
    precision = "fp32" if args.mixed_precision == "no" else args.mixed_precision
    begins = f", from step {state.global_step:,} on" if state.global_step else ""
    what = f"training: {state.max_steps:,} steps of {inputs} inputs, {epochs}"
    return f"{what}{processes} on {args.device.type}, {precision}{begins}"


def say_above(bar, message):
    """`say` without tearing a bar."""
    if bar.disable:
        print_main(message)
    else:
        with bar.external_write_mode():
            print_main(message)
