"""Which task each optimizer step of a multi-task run is of, and which rows go into it: a function of (seed, step) alone.

All processes and accumulation steps of an optimizer step work on one task: with different ones, processes would wait for each
other for ever, and heads would get a share of a step that depends on the machine.
"""

import math
from dataclasses import dataclass

import numpy as np
from torch.utils.data import Dataset, Sampler

from xstilts.base import UserError, options_given

CLOSE = 0.05  # of a ratio, for rows that are held out or left out


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """How tasks are mixed.

    names         of the tasks; that of masked language modelling comes last, if it is there
    sizes         training inputs of each
    step_inputs   inputs of one optimizer step of each, over all accumulation steps and processes
    mixing        as in T5 (Raffel et al. 2020, arXiv 1910.10683, section 3.5.2): examples are drawn in proportion
                  to min(n, limit), to its 1/temperature-th power, or equally; `steps-proportional`, as in the authors' code
                  (nlprunners and jiant, task_sampler.py): the task of a step is drawn in proportion to min(n, limit), however
                  many examples its steps have
    limit         K of T5, None for no limit
    temperature   T of T5
    mlm_ratio     steps of masked language modelling per step of a task, None without
    """

    names: tuple[str, ...]
    sizes: tuple[int, ...]
    step_inputs: tuple[int, ...]
    mixing: str = "examples-proportional"
    limit: int | None = None
    temperature: float = 1.0
    mlm_ratio: float | None = None
    seed: int

    @property
    def rates(self):
        """Share of the examples (steps-proportional: of the steps) that each task has, without masked language modelling; they
        add up to 1."""
        sizes = np.array(self.sizes[: self._tasks], dtype=np.float64)
        if self.mixing != "uniform":
            sizes = np.minimum(sizes, self.limit or np.inf)
        power = {"temperature": 1 / self.temperature, "uniform": 0.0}.get(self.mixing, 1.0)
        return sizes**power / (sizes**power).sum()

    @property
    def probabilities(self):
        """Chance of an optimizer step to be of each task. A task of larger steps needs fewer of them for its share."""
        shares = self.rates.copy()
        if self.mixing != "steps-proportional":
            shares /= np.array(self.step_inputs[: self._tasks])
        shares /= shares.sum()
        ratio = self.mlm_ratio or 0
        return np.array([*shares / (1 + ratio), *([ratio / (1 + ratio)] if self.mlm_ratio is not None else [])])

    @property
    def steps_per_epoch(self):
        """Sum of min(n, limit) / inputs of a step over the tasks, and the steps of masked language modelling beside them."""
        sizes = (min(size, self.limit or size) for size in self.sizes[: self._tasks])
        steps = math.fsum(size / inputs for size, inputs in zip(sizes, self.step_inputs, strict=False))
        return max(1, math.ceil(steps * (1 + (self.mlm_ratio or 0))))

    @property
    def _tasks(self):
        return len(self.names) - (self.mlm_ratio is not None)

    def sequence(self, steps):
        """Index of the task of each of the first `steps` optimizer steps; a longer sequence begins with a shorter one."""
        luck = np.random.default_rng([self.seed, 20200526]).random(steps)
        return np.searchsorted(np.cumsum(self.probabilities)[:-1], luck, side="right")

    def record(self, steps):
        """What run.json says of the mixing after `steps` steps: {task: declared and realised proportions}."""
        taken = np.bincount(self.sequence(steps), minlength=len(self.names))
        inputs = taken * np.array(self.step_inputs)
        columns = zip(self.names, self.sizes, self.step_inputs, self.probabilities, taken, inputs, strict=True)
        return {
            name: {
                "inputs": size, "step_inputs": step, "steps": int(count), "epochs": int(seen) / size,
                "share_of_steps": int(count) / max(1, steps), "declared_share_of_steps": float(chance),
                "share_of_inputs": int(seen) / max(1, int(inputs.sum())),
            }
            for name, size, step, chance, count, seen in columns
        }  # fmt: skip


def other_ratio(args, argv, sizes):
    """A line for run.json and the report where a config's --mlm_ratio is for other tasks than those of `sizes` training rows.

    In the paper's first version text is one more task of K examples in the same sampling. So its steps per step of a task are K /
    the sum of min(n, K), a number for one set of tasks, which a recipe cannot have for all.
    """
    limit = args.mixing_limit if args.has_text and args.mixing == "steps-proportional" else None
    if limit is None or "mlm_ratio" in options_given(argv):
        return []
    ratio = limit / sum(min(size, limit) for size in sizes)
    if abs(args.mlm_ratio - ratio) <= CLOSE * ratio:
        return []
    return [
        f"--mlm_ratio {args.mlm_ratio:g}, of the config, is for other tasks; masked language modelling as one more task of "
        f"{limit:,} examples beside these has --mlm_ratio {ratio:.3f}"
    ]


def set_steps(args, training_args, tasks, text):
    """Let `--max_steps_per_task` say how many steps there are; those on text come on top."""
    if args.max_steps_per_task:
        training_args.max_steps = round(args.max_steps_per_task * tasks * (1 + (args.mlm_ratio if text else 0)))


def step_inputs(training_args, accumulation):
    """Model inputs of one optimizer step with a task's own batch sizes. Raises UserError where they are fewer than the run's
    micro-batches."""
    inputs = training_args.per_device_train_batch_size * training_args.gradient_accumulation_steps
    if inputs < accumulation:
        raise UserError(
            f"{inputs} examples a step and process cannot be divided into --gradient_accumulation_steps {accumulation}; "
            "raise --per_device_train_batch_size"
        )
    return inputs * training_args.world_size


class MixedRows(Dataset):
    """Features of all tasks; an index is (task, row, epoch), and a row says which task's it is and which time it is seen."""

    def __init__(self, names, features, seed):
        self.names, self.features, self.seed = names, features, seed

    def __len__(self):
        return sum(map(len, self.features))

    def __getitem__(self, index):
        task, row, epoch = index
        return {**self.features[task][row], "task": self.names[task], "draw": f"{self.seed} {epoch}", "epoch": epoch}


class StepBatches(Sampler):
    """The micro-batches of one process: lists of (task, row, epoch), `accumulation` of them for every optimizer step.

    streams   an `order.RowStream` per task
    lengths   per task the tokens of every row, by which the rows of a step are dealt out, or None where they stay as drawn
    """

    def __init__(self, mixture, streams, lengths, accumulation, rank=0, processes=1):
        self.mixture, self.streams, self.lengths, self.accumulation = mixture, streams, lengths, accumulation
        self.rank, self.processes, self.epoch = rank, processes, 0

    def set_epoch(self, epoch):
        """Go to the steps of an epoch."""
        self.epoch = epoch

    def __len__(self):
        return self.mixture.steps_per_epoch * self.accumulation

    def __iter__(self):
        steps = self.mixture.steps_per_epoch
        tasks = self.mixture.sequence((self.epoch + 1) * steps)
        taken = np.bincount(tasks[: self.epoch * steps], minlength=len(self.streams))
        for task in tasks[self.epoch * steps :].tolist():
            inputs = self.mixture.step_inputs[task]
            rows = self.streams[task].take(taken[task] * inputs, (taken[task] + 1) * inputs)
            taken[task] += 1
            for micro in range(self.accumulation):
                yield [(task, *row) for row in self._share(rows, self.lengths[task], micro)]

    def _share(self, rows, lengths, micro):
        """The rows (number, epoch) of a step in one micro-batch of this process: neighbours by length, or every so many."""
        if lengths is None:
            return rows[micro * self.processes + self.rank :: self.accumulation * self.processes]
        rows = sorted(rows, key=lambda row: (row[1], -lengths[row[0]]))  # epochs one after the other
        start, end = (len(rows) * bound // self.accumulation for bound in (micro, micro + 1))
        return rows[start + self.rank : end : self.processes]
