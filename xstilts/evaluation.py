"""One pass over rows of any origin: sorted by length, padded to the longest of a batch only, and put back in order."""

import torch
from accelerate.utils import gather_object
from datasets import Dataset
from torch.utils.data import DataLoader

from xstilts.micro_batches import input_lengths, inputs_of
from xstilts.progress import watched


def kept_outputs(trainer, model, rows):
    """(what the task's type keeps of the logits of every feature row, in the order of the rows; the mean loss per label).

    Batches of `eval_batch_size` rows per device, and of `--max_tokens_per_batch`, the longest first, so that too little memory
    shows at once. Processes share the batches and each gets all outputs; an equal number of batches each, as sharded models want
    it, so the last may be done twice.
    """
    args, kept, loss, count = trainer.args, {}, 0.0, 0
    first = args.process_index
    if isinstance(rows, Dataset):
        # Character offsets, which only decoding reads, take longer to fetch than all that the model reads.
        read = {*trainer.processing_class.model_input_names, "labels"}
        rows = rows.select_columns([name for name in rows.column_names if name in read])
    limit = trainer.max_tokens_per_batch and trainer.max_tokens_per_batch // inputs_of(rows[0])
    batches = batches_by_length(input_lengths(rows), args.eval_batch_size, limit)
    rounds = -(-len(batches) // args.world_size)
    own = [batches[min(i * args.world_size + first, len(batches) - 1)] for i in range(rounds)]
    loader = DataLoader(
        rows,
        batch_sampler=own,
        collate_fn=trainer.collate,
        num_workers=args.dataloader_num_workers,
        pin_memory=args.dataloader_pin_memory and args.device.type == "cuda",
    )
    with torch.inference_mode():
        for i, batch in enumerate(watched(loader, "evaluating")):
            outputs, total, labels = trainer.batch_outputs(model, batch)
            kept |= zip(own[i], outputs, strict=True)
            counts = i * args.world_size + first < len(batches)
            loss, count = loss + counts * total, count + counts * labels
    if args.world_size > 1:
        kept = dict(gather_object([*kept.items()]))
        sums = gather_object([(loss, count)])
        loss, count = (sum(part) for part in zip(*sums, strict=True))
    assert len(kept) == len(rows)  # noqa: S101 (ours to keep, no check of what somebody gives)
    return [kept[index] for index in range(len(rows))], float(loss) / max(1, int(count))


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
