"""The order in which rows are trained on: a function of (seed, epoch) alone, so that an interrupted run goes on exactly."""

import math

import torch
from torch.utils.data import Dataset, Sampler

LANGUAGE_MIXING = ("proportional", "equal")


class TrainingRows(Dataset):
    """Features for training: row i, and behind the last one copies of row 0 without labels, to fill up the last batch."""

    def __init__(self, features):
        self.features = features

    def __len__(self):
        return len(self.features)

    def __getitem__(self, index):
        if index < len(self.features):
            return self.features[index]
        return {**self.features[0], "labels": _unlabelled(self.features[0]["labels"])}


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
    """The rows of an epoch in their order, then fillers up to a multiple of `batch`."""

    def __init__(self, groups, batch, seed):
        self.groups, self.batch, self.seed, self.epoch = groups, batch, seed, 0
        self.rows = sum(quota for _, _, quota in groups)

    def set_epoch(self, epoch):
        """Draw another order; called by the Trainer at the start of every epoch, also of one that is resumed."""
        self.epoch = epoch

    def __len__(self):
        return math.ceil(self.rows / self.batch) * self.batch

    def __iter__(self):
        yield from epoch_order(self.groups, self.seed, self.epoch)
        yield from range(self.rows, len(self))


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
