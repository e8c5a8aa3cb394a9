"""What batches are made with: objects that a loader process gets a copy of by pickle, so that they hold no more than that takes,
and processes that leave signals to the one that started them.
"""

import atexit
import multiprocessing
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from xstilts.base.signals import SIGNALS, end_loaders
from xstilts.micro_batches import cut
from xstilts.order import without_fillers


@dataclass
class Collator:
    """Feature rows of a task -> a batch.

    collate    that of the task's type
    multiple   what lengths are padded to a multiple of
    """

    collate: Callable
    tokenizer: PreTrainedTokenizerBase
    multiple: int = 1

    def __call__(self, rows):
        return self.collate(rows, self.tokenizer, self.multiple)


@dataclass
class MixedCollator:
    """Feature rows of one of several tasks -> a batch that names it, and says whether its rows are seen for the first time.

    collators   {task: Collator}
    """

    collators: Mapping[str, Collator]

    def __call__(self, rows):
        task, first = rows[0]["task"], all(row.get("epoch") == 0 for row in rows)
        return {**self.collators[task](rows), "task": task, "first": first}


@dataclass
class StepCollator:
    """Feature rows -> a batch for training; with a `limit` in tokens its micro-batches as `parts`, and all labels, which the
    Trainer counts."""

    collate: Callable
    limit: int | None = None
    multiple: int = 1

    def __call__(self, rows):
        rows = without_fillers(rows)
        if self.limit is None:
            return self.collate(rows)
        parts = [self.collate([rows[place] for place in places]) for places in cut(rows, self.limit, self.multiple)]
        return {"parts": parts, "labels": torch.cat([part["labels"].flatten() for part in parts])}


def read_columns(features, tokenizer):
    """Features with the columns that batches are made of: character offsets, which only decoding reads, take ten times as long to
    fetch as all that the model reads. What is no Dataset stays as it is."""
    if not isinstance(features, Dataset):
        return features
    read = {*tokenizer.model_input_names, "labels"}
    return features.select_columns([name for name in features.column_names if name in read])


def loader_options(args):
    """Keyword arguments of a DataLoader beside the Trainer's own; `args` are the Trainer's."""
    options = {"num_workers": args.dataloader_num_workers, "pin_memory": args.dataloader_pin_memory}
    if not args.dataloader_num_workers:
        return options
    method = args.dataloader_multiprocessing_context or multiprocessing.get_start_method()
    shield_loaders(method)
    return {**options, "multiprocessing_context": method, "worker_init_fn": ignore_signals}


def ignore_signals(number=None):
    """Called by processes that load data, with their `number`, when they start."""
    for each in SIGNALS:
        signal.signal(each, signal.SIG_IGN)


def shield_loaders(method):
    """Call before processes that load data are started in this way (`fork`, `spawn` or `forkserver`).

    Python ends them with SIGTERM, which they ignore, so they are killed instead; a fork server is started with signals blocked.
    """
    atexit.unregister(end_loaders)
    atexit.register(end_loaders)  # before what Python registered, which would wait for them for ever
    if method == "forkserver":
        from multiprocessing import forkserver, resource_tracker

        before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            resource_tracker.ensure_running()
            signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # the line above unblocks them
            forkserver.ensure_running()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
