"""The order in which rows are trained on: a function of (seed, epoch) alone, so that an interrupted run goes on exactly."""

import math
from functools import cached_property

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler

from xstilts.micro_batches import longest_first

# Steps whose rows are sorted together by --train_sampling_strategy group_by_length, as in transformers' sampler.
GROUP = 50


FILLER = "filler"  # a column that only rows have which fill up a batch


class TrainingRows(Dataset):
    """Features for training: row i, and behind the last one copies of row 0 without labels, to fill up the last batch."""

    def __init__(self, features):
        self.features = features

    @cached_property
    def _filler(self):
        first = self.features[0]
        return {**first, "labels": _unlabelled(first["labels"]), FILLER: True}

    def __len__(self):
        return len(self.features)

    def __getitem__(self, index):
        return self.features[index] if index < len(self.features) else self._filler


def without_fillers(rows):
    """The rows of a micro-batch that are no fillers, so that none goes through the model; one of them where there is nothing
    else, since every process takes part in every step."""
    return [row for row in rows if FILLER not in row] or rows[:1]


def _unlabelled(labels):
    return [-100] * len(labels) if isinstance(labels, list) else -100


def groups_of(features, examples, mixing="proportional"):
    """How the rows of several languages are mixed, as (first row, rows, rows drawn per epoch) of each group.

    `proportional`: every row once per epoch. `equal`: as many rows of each language; the larger ones take several epochs to be
    seen, the smaller ones are repeated. An epoch has the same number of rows in both.
    """
    if mixing == "proportional":
        return [(0, len(features), len(features))]
    sizes = _inputs_per_language(features, examples)
    quotas = [len(features) // len(sizes) + (number < len(features) % len(sizes)) for number in range(len(sizes))]
    return [(sum(sizes[:number]), sizes[number], quotas[number]) for number in range(len(sizes))]


def _inputs_per_language(features, examples):
    """Model inputs of each language; examples lie language after language."""
    ends, last = [], 0
    for language in examples.languages:
        last += sum(record["rows"] for record in examples.records if record["language"] == language)
        ends.append(last)
    owners = torch.tensor(features["example"][:])
    until = [int((owners < end).sum()) for end in ends]
    return [after - before for before, after in zip([0, *until], until, strict=False)]


def epoch_order(groups, seed, epoch):
    """Row numbers of one epoch: of every group the next rows of its own endless sequence of permutations, all mixed."""
    picked = []
    for number, (first, size, quota) in enumerate(groups):
        passes = range(epoch * quota // size, math.ceil((epoch + 1) * quota / size))
        rows = [first + row for each in passes for row in _permutation(size, seed, each, number)]
        start = epoch * quota - passes.start * size
        picked += rows[start : start + quota]
    return [picked[place] for place in _permutation(len(picked), seed, epoch, len(groups))]


def _permutation(size, seed, epoch, group):
    generator = torch.Generator().manual_seed((seed * 1_000_003 + epoch) * 1_009 + group)
    return torch.randperm(size, generator=generator).tolist()


class EpochSampler(Sampler):
    """The rows of an epoch in their order, then fillers up to a multiple of `micro` x `processes`.

    micro         rows of a micro-batch of one process
    accumulation  micro-batches of one process in an optimizer step
    lengths       tokens of every row: the rows of a step are dealt out by them, the longest first; None leaves rows as drawn
    by_length     whether rows are put into steps by length too, so that those of a step are about equally long
    """

    def __init__(self, groups, seed, micro, accumulation=1, processes=1, lengths=None, by_length=False):
        self.groups, self.seed, self.lengths, self.by_length, self.epoch = groups, seed, lengths, by_length, 0
        self.processes, self.batch = processes, micro * processes
        self.step = self.batch * accumulation
        self.rows = sum(quota for _, _, quota in groups)

    def set_epoch(self, epoch):
        """Draw another order; called by the Trainer at the start of every epoch, also of one that is resumed."""
        self.epoch = epoch

    def __len__(self):
        return math.ceil(self.rows / self.batch) * self.batch

    def __iter__(self):
        rows = np.array([*epoch_order(self.groups, self.seed, self.epoch), *range(self.rows, len(self))])
        if self.lengths is None:
            yield from rows.tolist()
            return
        if self.by_length:
            rows = self._by_length(rows)
        for start in range(0, len(rows), self.step):
            yield from self._dealt(rows[start : start + self.step])

    def _dealt(self, rows):
        """The rows of a step by length, and those of a micro-batch in turn to the processes, who get the same number of them."""
        rows = longest_first(rows, self.lengths).reshape(-1, self.batch // self.processes, self.processes)
        return rows.transpose(0, 2, 1).flatten().tolist()

    def _by_length(self, rows):
        """Steps in random order, each of rows that are neighbours when GROUP steps are sorted by length; the last step, where it
        is a short one, has the rows that were drawn last."""
        whole = self.rows // self.step * self.step
        parts = np.split(rows[:whole], range(GROUP * self.step, whole, GROUP * self.step))
        steps = np.concatenate([longest_first(part, self.lengths) for part in parts]).reshape(-1, self.step)
        order = _permutation(len(steps), self.seed, self.epoch, len(self.groups) + 1)
        return np.concatenate([steps[order].flatten(), rows[whole:]])


class RowStream:
    """The rows of a task epoch after epoch, without end."""

    def __init__(self, groups, seed):
        self.groups, self.seed = groups, seed
        self.rows = sum(quota for _, _, quota in groups)
        self._epoch, self._order = None, ()

    def take(self, start, stop):
        """(row number, epoch) of the rows from `start` up to `stop`, counted from the beginning of training."""
        return [(self._in(place // self.rows)[place % self.rows], place // self.rows) for place in range(start, stop)]

    def _in(self, epoch):
        if epoch != self._epoch:
            self._epoch, self._order = epoch, epoch_order(self.groups, self.seed, epoch)
        return self._order
