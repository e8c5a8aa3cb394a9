"""One pass over rows of any origin: sorted by length, padded to the longest of a batch only, and put back in order."""

import torch
from accelerate.utils import gather_object
from torch.utils.data import DataLoader

from xstilts.base import gather_on_main
from xstilts.loaders import loader_options, read_columns
from xstilts.micro_batches import input_lengths, inputs_of, rounded_up
from xstilts.progress import watched


def kept_outputs(trainer, model, rows):
    """(what the task's type keeps of the logits of every feature row, in the order of the rows; the mean loss per label).

    The longest rows come first, so that too little memory shows at once. Processes share the batches; the first one gets all
    outputs and the others None, each gets the loss. An equal number of batches each, as sharded models want it, so the last may
    be done twice.
    """
    args, kept, loss, count = trainer.args, {}, 0.0, 0
    rows = read_columns(rows, trainer.processing_class)
    batches = batches_of(trainer, rows)
    rounds = -(-len(batches) // args.world_size)
    own = [batches[min(i * args.world_size + args.process_index, len(batches) - 1)] for i in range(rounds)]
    loader = DataLoader(rows, batch_sampler=own, collate_fn=trainer.collate, **loader_options(args))
    with torch.inference_mode():
        for i, batch in enumerate(watched(loader, "evaluating")):
            outputs, total, labels = trainer.batch_outputs(model, batch)
            kept |= zip(own[i], outputs, strict=True)
            counts = i * args.world_size + args.process_index < len(batches)
            loss, count = loss + counts * total, count + counts * labels
    loss, count = float(loss), int(count)  # tensors would arrive on the GPU that they were sent from
    if args.world_size > 1:
        kept = gather_on_main(kept)
        loss, count = (sum(part) for part in zip(*gather_object([(loss, count)]), strict=True))
    return kept and [kept[index] for index in range(len(rows))], loss / max(1, count)


def batches_of(trainer, rows):
    """Indices of rows in batches of `eval_batch_size`, and of at most `--max_tokens_per_batch`.

    A GPU takes as long for a few short rows as for many, so there a batch is filled up to the tokens of `eval_batch_size` of the
    longest rows, unless its rows are compared with each other.
    """
    lengths, size = rounded_up(input_lengths(rows), trainer.multiple), trainer.args.eval_batch_size
    limit = trainer.max_tokens_per_batch and trainer.max_tokens_per_batch // inputs_of(rows[0])
    if trainer.args.device.type == "cuda" and not trainer.task.type.in_batch_negatives:
        most = size * int(max(lengths))
        size, limit = len(lengths), min(most, limit or most)
    return batches_by_length(lengths, size, limit)


def batches_by_length(lengths, size, limit=None):
    """Indices of rows in batches of at most `size`, and of at most `limit` tokens with padding if there is more than one row in
    them, from the longest to the shortest; equal lengths keep their order."""
    order, start = sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True), 0
    batches = []
    while start < len(order):
        longest = int(lengths[order[start]])
        count = size if limit is None else max(1, min(size, limit // max(1, longest)))
        batches.append(order[start : start + count])
        start += count
    return batches
