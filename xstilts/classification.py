"""Classification of a sentence or a sentence pair: example = `text_a`, `text_b` (may be empty), `label` (a string)."""

from collections import Counter

import numpy as np
import torch
from transformers import AutoModelForSequenceClassification

from xstilts.micro_batches import rounded_up
from xstilts.task import TaskType


def features(batch, indices, tokenizer, labels, max_seq_length):
    """<s> text_a </s></s> text_b </s> in one row per example; the longer text is cut first (HF's longest_first)."""
    rows = _tokenized(batch["text_a"], batch["text_b"], tokenizer, max_seq_length)
    return {**rows, "labels": [labels.index(label) for label in batch["label"]], "example": indices}


def _tokenized(first, second, tokenizer, max_length):
    """{name: a list per row}. A row whose second text is empty is a single text, whatever the other rows of the batch are."""
    found = {}
    for is_pair in (False, True):
        places = [place for place, text in enumerate(second) if bool(text) == is_pair]
        if places:
            texts = [[side[place] for place in places] for side in (first, second)[: 1 + is_pair]]
            for name, values in tokenizer(*texts, truncation=True, max_length=max_length).items():
                found.setdefault(name, {}).update(zip(places, values, strict=True))
    return {name: [values[place] for place in range(len(first))] for name, values in found.items()}


def collate(rows, tokenizer, multiple=1):
    """(batch, tokens) token ids, padded to the longest row; (batch,) label ids."""
    return {**padded(rows, tokenizer, multiple), "labels": torch.tensor([row["labels"] for row in rows])}


def padded(rows, tokenizer, multiple=1):
    """{name: (batch, tokens)} of what the model reads, padded at the right to a `multiple` of tokens: what `tokenizer.pad`
    returns, in a tenth of its time, which counts where a GPU waits for it."""
    fill = {"input_ids": tokenizer.pad_token_id, "token_type_ids": tokenizer.pad_token_type_id}
    longest = max(len(row["input_ids"]) for row in rows)
    shape, tables = (len(rows), rounded_up(longest, multiple)), {}
    for name in tokenizer.model_input_names:
        tables[name] = np.full(shape, fill.get(name, 0))
        for line, row in zip(tables[name], rows, strict=True):
            line[: len(row[name])] = row[name]
    return {name: torch.from_numpy(table) for name, table in tables.items()}


def logits(outputs, batch):
    """(batch, labels) logits."""
    return outputs["logits"]


def keep(outputs, labels, batch):
    """(labels,) logits of every row, float32."""
    return [*outputs["logits"].float().cpu().numpy()]


def decode(outputs, features, examples, labels):
    """Logits of every row -> the label with the highest one."""
    return [labels[row.argmax()] for row in outputs]


def confidence(outputs, features, examples):
    """The probability of every predicted label."""
    return [float(1 / np.exp(row - row.max()).sum()) for row in outputs]


def gold(example):
    """The example's label."""
    return example["label"]


def texts(example):
    """One input of one or two texts."""
    return [tuple(filter(None, (example["text_a"], example["text_b"])))]


def constant(train, examples):
    """The most frequent label of the training examples, for every example."""
    return [Counter(train["label"]).most_common(1)[0][0]] * len(examples)


def write(path, predictions, examples):
    """XTREME's file: one label a line."""
    path.with_suffix(".tsv").write_text("".join(f"{label}\n" for label in predictions), encoding="utf-8")


TYPE = TaskType(
    name="classification",
    columns=("text_a", "text_b", "label"),
    auto_model=AutoModelForSequenceClassification,
    features=features,
    collate=collate,
    logits=logits,
    keep=keep,
    decode=decode,
    confidence=confidence,
    gold=gold,
    texts=texts,
    constant=constant,
    write=write,
)
