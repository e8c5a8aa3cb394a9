"""How the rows of an optimizer step are dealt into micro-batches, so that little of what is computed is padding.

The loss is summed over a step whatever its micro-batches, so rows may be dealt by length without any effect on what is learned:
the same rows make up a step, only dropout draws other masks. (Rows of dual encoders stay where they are: there the others of a
micro-batch are what a row is compared with.)
"""

import math

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from xstilts.base import UserError, options_given

# What one more micro-batch has to save, as a share of --max_tokens_per_batch in tokens. On a CPU a pass through 6 layers of 384
# costs what 20 to 40 tokens cost, and 512 tokens keep it busy; a GPU needs more of both.
PASS = 1 / 16


def set_batch_size(args, training_args, argv, *tasks):
    """Divide `--total_train_batch_size`, the examples of an optimizer step, into processes, accumulation steps and micro-batches.

    What the command line says of the latter two stays as it is; a config's --per_device_train_batch_size is the most that a
    device takes at once, for a task with in-batch negatives exactly as many. Without a total, or where the command line says
    both, their product is the total. Raises UserError for what does not divide.
    """
    given, processes, total = options_given(argv), training_args.world_size, args.total_train_batch_size
    size, steps = training_args.per_device_train_batch_size, training_args.gradient_accumulation_steps
    on_line = [name in given for name in ("per_device_train_batch_size", "gradient_accumulation_steps")]
    if total is None or (all(on_line) and "total_train_batch_size" not in given):
        args.total_train_batch_size = size * steps * processes
        return
    is_sized = on_line[0] or (len(tasks) == 1 and tasks[0].type.in_batch_negatives)
    is_cut = on_line[1] or steps > 1  # above 1 without the command line: in a config
    fixed = {"process" if processes == 1 else "processes": processes} | ({"per device": size} if is_sized else {})
    fixed |= {"accumulation step" if steps == 1 else "accumulation steps": steps} if is_cut else {}
    if total % math.prod(fixed.values()) or (is_sized and is_cut and total != math.prod(fixed.values())):
        raise UserError(_does_not_divide(total, fixed, "+".join(task.name for task in tasks) or "mlm"))
    share = total // processes
    if not is_sized:
        size = share // steps if is_cut else max(n for n in range(1, min(size, share) + 1) if share % n == 0)
    training_args.per_device_train_batch_size, training_args.gradient_accumulation_steps = size, share // size


def _does_not_divide(total, fixed, name):
    unit = math.prod(fixed.values())
    nearest = [total // unit * unit, (total // unit + 1) * unit] if len(fixed) < 3 else [unit]
    factors = " x ".join(f"{count} {what}" for what, count in fixed.items())
    return (
        f"{name}: an optimizer step of {total} examples (--total_train_batch_size) cannot be divided into {factors}; give "
        f"--total_train_batch_size {' or '.join(map(str, filter(None, nearest)))}, which is another recipe, or other numbers of "
        "these"
    )


def check_micro_batches(args, training_args, tasks, several=False, default=None):
    """Make an optimizer step one batch of the Trainer's where `--max_tokens_per_batch` says how to cut it.

    default     tokens where it is not given (`default_tokens`)
    several     whether the run is of several tasks
    Raises UserError for a limit that is none, and for options and tasks that exclude it or sorting across steps.
    """
    limit, grouped = args.max_tokens_per_batch, training_args.train_sampling_strategy == "group_by_length"
    for task in tasks:
        if task.type.in_batch_negatives and (limit or grouped):
            option = "--max_tokens_per_batch" if limit else "--train_sampling_strategy group_by_length"
            raise UserError(
                f"{option} is not offered for {task.name}: which documents share a micro-batch decides what is learned"
            )
    if several and grouped:
        raise UserError(
            "--train_sampling_strategy group_by_length is for one task; of several --max_tokens_per_batch saves as much padding"
        )
    args.max_tokens_per_batch = limit or default
    if args.max_tokens_per_batch is not None:
        training_args.per_device_train_batch_size *= training_args.gradient_accumulation_steps
        training_args.gradient_accumulation_steps = 1


def dealing_lengths(task, features):
    """Tokens of every row, by which those of a step are dealt out; None for a task whose rows stay where they are drawn."""
    return None if task.type.in_batch_negatives else input_lengths(features)


def input_lengths(rows):
    """(rows,) tokens of every row of features; of several inputs in a row (choices) those of the longest."""
    ids = rows.with_format("arrow")["input_ids"]
    if isinstance(ids, pa.ChunkedArray):
        return np.concatenate([np.empty(0, np.int32), *map(_lengths, ids.chunks)])
    return _lengths(ids)


def _lengths(ids):
    if not pa.types.is_list(ids.type.value_type):
        return pc.list_value_length(ids).to_numpy(zero_copy_only=False)
    inputs, each = pc.list_value_length(ids).to_numpy(zero_copy_only=False), _lengths(ids.flatten())
    return np.maximum.reduceat(each, np.cumsum(inputs) - inputs) if len(each) else each


def longest_first(rows, lengths):
    """Row numbers sorted by length; equal lengths keep their order. Numbers behind the last row, which fill up a batch
    (`order.TrainingRows`), come last."""
    own = np.where(rows < len(lengths), lengths[np.minimum(rows, len(lengths) - 1)], 0)
    return rows[np.argsort(-own, kind="stable")]


def cut(rows, limit, multiple=1):
    """Places of feature rows in micro-batches of at most `limit` tokens, padding to a `multiple` included, the longest first; a
    row that has more is alone.

    Of all ways to cut the sorted rows that with the fewest tokens, where each micro-batch counts `PASS` x `limit` more.
    """
    tokens = [padded_tokens(row, multiple) for row in rows]
    order = sorted(range(len(rows)), key=tokens.__getitem__, reverse=True)
    best, starts = [0], []  # of the first n rows: the fewest tokens, and where the last micro-batch begins
    for end in range(1, len(order) + 1):
        fitting = (n for n in range(end) if (end - n) * tokens[order[n]] <= limit or n == end - 1)
        cost, start = min((best[n] + (end - n) * tokens[order[n]] + PASS * limit, n) for n in fitting)
        best.append(cost)
        starts.append(start)
    ends = [len(order)]
    while ends[-1]:
        ends.append(starts[ends[-1] - 1])
    return [order[start:end] for end, start in zip(ends[-2::-1], ends[:0:-1], strict=True)]


def padded_tokens(row, multiple=1):
    """What a feature row takes in a batch by itself: of several inputs (choices) each takes as much as the longest."""
    ids = row["input_ids"]
    several = ids if isinstance(ids[0], list) else [ids]
    return rounded_up(max(map(len, several)), multiple) * len(several)


def rounded_up(lengths, multiple):
    """The next multiple of a length, or of each in an array."""
    return -(-lengths // multiple) * multiple


def inputs_of(row):
    """Inputs of a feature row: one, or one for each choice."""
    ids = row["input_ids"]
    return len(ids) if isinstance(ids[0], list) else 1
