"""Multiple choice: example = `context`, `choices` (a list), `label` (the index of the right one, as a string)."""

import contextlib
from itertools import chain

import torch
from transformers import AutoModelForMultipleChoice

from xstilts import classification
from xstilts.base import UserError
from xstilts.task import TaskType


def features(batch, indices, tokenizer, labels, max_seq_length):
    """One row per example with a list of inputs, one per choice: <s> context </s></s> choice </s>.

    What is too long loses the *start* of its context, as in the authors' code (jiant, `truncate_end=False`): the end of a
    context is what a continuation has to fit.
    """
    for choices in batch["choices"]:
        if len(choices) != len(labels):
            raise UserError(f"an example has {len(choices)} choices instead of {len(labels)}: {choices}")
    contexts = [context for context, choices in zip(batch["context"], batch["choices"], strict=True) for _ in choices]
    choices = [*chain.from_iterable(batch["choices"])]
    _check_room(choices, tokenizer, max_seq_length)
    with _cut_at_the_start(tokenizer):
        flat = tokenizer(contexts, choices, truncation="only_first", max_length=max_seq_length)
    grouped = {
        name: [values[start : start + len(labels)] for start in range(0, len(values), len(labels))]
        for name, values in flat.items()
    }
    return {**grouped, "labels": [labels.index(label) for label in batch["label"]], "example": indices}


@contextlib.contextmanager
def _cut_at_the_start(tokenizer):
    side, tokenizer.truncation_side = tokenizer.truncation_side, "left"
    try:
        yield
    finally:
        tokenizer.truncation_side = side


def _check_room(choices, tokenizer, max_seq_length):
    room = max_seq_length - tokenizer.num_special_tokens_to_add(pair=True) - 1  # one piece of the context has to stay
    for choice, pieces in zip(choices, tokenizer(choices, add_special_tokens=False)["input_ids"], strict=True):
        if len(pieces) > room:
            raise UserError(
                f"--max_seq_length {max_seq_length} has no room for a choice of {len(pieces)} pieces: {choice[:60]!r}"
            )


def collate(rows, tokenizer, multiple=1):
    """(batch, choices, tokens) token ids, padded to the longest input of the batch; (batch,) indices of the right choice."""
    names = tokenizer.model_input_names
    flat = [
        dict(zip(names, values, strict=True)) for row in rows for values in zip(*(row[n] for n in names), strict=True)
    ]
    padded = classification.padded(flat, tokenizer, multiple)
    shaped = {name: tensor.view(len(rows), -1, tensor.shape[-1]) for name, tensor in padded.items()}
    return {**shaped, "labels": torch.tensor([row["labels"] for row in rows])}


def texts(example):
    """One input per choice."""
    return [(example["context"], choice) for choice in example["choices"]]


TYPE = TaskType(
    name="multiple_choice",
    columns=("context", "choices", "label"),
    auto_model=AutoModelForMultipleChoice,
    features=features,
    collate=collate,
    logits=classification.logits,
    keep=classification.keep,
    decode=classification.decode,
    confidence=classification.confidence,
    gold=classification.gold,
    texts=texts,
    constant=classification.constant,
    write=classification.write,
)
