"""Masked language modelling on text beside a task: example = `text`, a line.

Keeps an encoder's alignment between languages alive while it learns a task in one (the continued-MLM variant of Phang et al.
2020). Masks are drawn anew each time a row is seen, from the row and the number of the time alone, so that an interrupted run
goes on exactly; selection rows always have the same masks. The LM head runs on the masked positions only: with a vocabulary of
250,000 pieces it is the costliest layer.
"""

import math
import os
import zlib
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from datasets import Dataset, Features, Value
from transformers import AutoModelForMaskedLM

from xstilts import metrics
from xstilts.base import UserError
from xstilts.examples import Examples, hash_of, record_of
from xstilts.sources import Source, load_rows
from xstilts.tagging import special_tokens
from xstilts.task import Task, TaskType
from xstilts.text_files import numbered_lines

NAME = "mlm"
HELD_OUT_LINES = 1_000  # of the selection set, and a twentieth of the text at most
REPEATED = "repetitions of lines of the selection set, kept from training"
MANY_LANGUAGES = "mul"  # ISO 639-2 for text in several languages


def features(batch, indices, tokenizer, labels, max_seq_length):
    """One row per line, unmasked; a line that is too long is cut into consecutive rows."""
    lines = tokenizer(batch["text"], add_special_tokens=False, verbose=False)["input_ids"]
    before, after = special_tokens(tokenizer)
    room = max_seq_length - len(before) - len(after)
    rows = [
        (index, ids[at : at + room])
        for index, ids in zip(indices, lines, strict=True)
        for at in range(0, len(ids), room)
    ]
    special = {*tokenizer.all_special_ids}
    rows = [(index, ids) for index, ids in rows if not special.issuperset(ids)]  # unknown pieces only: nothing to guess
    return {"input_ids": [before + ids + after for _, ids in rows], "example": [index for index, _ in rows]}


def collate(rows, tokenizer, multiple=1, *, probability):
    """(batch, tokens) masked token ids; (batch, masked) `positions` and `labels`, the positions that were chosen in each row and
    the pieces that stood there, -100 behind the last one."""
    masked = [mask(row["input_ids"], tokenizer, probability, row.get("draw", "")) for row in rows]
    ids = {"input_ids": [ids for ids, _, _ in masked]}
    batch = tokenizer.pad(ids, padding_side="right", return_tensors="pt", pad_to_multiple_of=multiple)
    most = max(len(positions) for _, positions, _ in masked)
    padded = [
        (positions + [0] * (most - len(positions)), labels + [-100] * (most - len(labels)))
        for _, positions, labels in masked
    ]
    positions, labels = (torch.tensor(side) for side in zip(*padded, strict=True))
    return {**batch, "positions": positions, "labels": labels}


def mask(ids, tokenizer, probability, draw):
    """(masked ids, chosen positions, the pieces there): of the chosen, one at least, 80 % become the mask, 10 % any piece, 10 %
    stay (Devlin et al. 2019). Drawn from the ids and `draw`, a string."""
    rng = np.random.default_rng([zlib.crc32(np.array(ids, np.int64).tobytes()), zlib.crc32(draw.encode())])
    plain = np.flatnonzero(~np.isin(ids, tokenizer.all_special_ids))
    luck = rng.random(len(plain))
    chosen = plain[(luck < probability) | (luck == luck.min())]
    masked = np.array(ids)
    fate, others = rng.random(len(chosen)), rng.integers(len(tokenizer), size=len(chosen))
    masked[chosen] = np.where(fate < 0.8, tokenizer.mask_token_id, np.where(fate < 0.9, others, masked[chosen]))
    return masked.tolist(), chosen.tolist(), [ids[position] for position in chosen]


def forward(model, batch):
    """Outputs with (batch, masked, vocabulary) logits: the head sees the chosen positions only, of any family of encoders."""
    batch = dict(batch)
    positions = batch.pop("positions")

    def chosen_only(module, args, outputs):
        hidden = outputs.last_hidden_state
        index = positions[..., None].expand(-1, -1, hidden.shape[-1])
        return type(outputs)(last_hidden_state=hidden.gather(1, index))

    hook = model.base_model.register_forward_hook(chosen_only)
    try:
        return model(**batch)
    finally:
        hook.remove()


def logits(outputs, batch):
    """(batch, masked, vocabulary) logits."""
    return outputs["logits"]


def keep(outputs, labels, batch):
    """(masked, 2) of every row: the loss in nats of each chosen piece, and whether the best guess is right."""
    guesses = outputs["logits"]
    loss = torch.nn.functional.cross_entropy(guesses.flatten(0, 1).float(), labels.flatten(), reduction="none")
    both = torch.stack([loss.view(labels.shape), (guesses.argmax(-1) == labels).float()], dim=-1).cpu().numpy()
    return [row[chosen] for row, chosen in zip(both, (labels != -100).cpu().numpy(), strict=True)]


def decode(outputs, features, examples, labels):
    """What `keep` kept -> a list of [loss, right] for the chosen pieces of every example."""
    predictions = [[] for _ in range(len(examples))]
    for row, example in zip(outputs, features["example"], strict=True):
        predictions[example] += row.tolist()
    return predictions


def confidence(outputs, features, examples):
    """The probability of the right piece at every chosen position."""
    return [[math.exp(-loss) for loss, _ in row] for row in decode(outputs, features, examples, ())]


def gold(example):
    """The line."""
    return example["text"]


def texts(example):
    """One input."""
    return [(example["text"],)]


def constant(train, examples):
    """Nothing is known without a model."""
    return [[] for _ in range(len(examples))]


def write(path, predictions, examples):
    """Predictions of masked pieces are not kept."""


TYPE = TaskType(
    name="masked_language_modelling",
    columns=("text",),
    auto_model=AutoModelForMaskedLM,
    features=features,
    collate=partial(collate, probability=0.15),
    forward=forward,
    logits=logits,
    keep=keep,
    decode=decode,
    confidence=confidence,
    gold=gold,
    texts=texts,
    constant=constant,
    write=write,
)


def text_task(probability):
    """Masked language modelling as one more task, in which each piece is masked with `probability`."""
    if not 0 < probability < 1:
        raise UserError(f"--mlm_probability {probability} must be above 0 and below 1")
    collate_rows = partial(collate, probability=probability)
    return Task(name=NAME, type=replace(TYPE, collate=collate_rows), metric=metrics.MaskedPieces)


def load_text(files, dataset_name, dataset_config_name, max_eval_samples=None):
    """(training, selection) Examples: the lines of text files, or the `text` column of a dataset on the hub.

    A twentieth of the lines (at most 1,000, or `max_eval_samples`), chosen by a hash of the line, is kept for selection. Raises
    UserError for an empty file and where no line is left for one of both.
    """
    if files and dataset_name:
        raise UserError("--mlm_text_files and --mlm_dataset_name are both given; text comes from one of them")
    if dataset_name:
        columns = Features(text=Value("string"))
        hub = {"hub": dataset_name, "config": dataset_config_name, "features": columns, "splits": {"train": "train"}}
        rows, names = load_rows(Source(**hub, files={}, read=None), "train", "en")
        lines = [line for line in rows["text"] if line.strip()]
    else:
        lines, names = [line for path in files for line in lines_of(path)], [os.path.basename(path) for path in files]
    held_out = set(
        sorted(set(lines), key=hash_of)[: min(HELD_OUT_LINES, max_eval_samples or HELD_OUT_LINES, len(lines) // 20)]
    )
    parts = [line for line in lines if line not in held_out], sorted(held_out, key=hash_of)
    if not all(parts):
        raise UserError(
            f"{len(lines)} lines of text are too few for masked language modelling; give 20 or more ({names[0]})"
        )
    again = sum(map(held_out.__contains__, lines)) - len(held_out)
    return _examples(parts[0], "train", names, {REPEATED: again}), _examples(parts[1], "validation", names)


def lines_of(path):
    """The lines of a UTF-8 text file that are not blank. Raises UserError for a file that is not there or has none."""
    try:
        lines = [line for _, line in numbered_lines(path) if line.strip()]
    except OSError as error:
        raise UserError(f"--mlm_text_files {path} cannot be read ({error.strerror})") from error
    if not lines:
        raise UserError(f"--mlm_text_files {path} has no text; leave it out or fill it")
    return lines


def _examples(lines, split, names, dropped=None):
    rows = [{"text": line} for line in lines]
    record = record_of(NAME, rows, split, MANY_LANGUAGES, None, names, dropped)
    return Examples(Dataset.from_list(rows), (record,))
