"""Tagging: example = `tokens` and `tags`, one tag per word.

Every word gets exactly one prediction: its first piece carries the tag (Phang et al. 2020 and XTREME), a word without pieces
becomes the unknown token, and a sentence that is too long is split into windows of whole words instead of being cut.
"""

from collections import Counter
from itertools import chain

import torch
from transformers import AutoModelForTokenClassification

from xstilts import classification
from xstilts.task import TaskType


def features(batch, indices, tokenizer, labels, max_seq_length):
    """One row per window: token ids, `labels` (-100 but on first pieces), `words` (index of each word) and `first` (the position
    of its first piece). A tag that `labels` lacks has the label -100: nothing is learned from it, but its word is predicted."""
    columns = {name: [] for name in (*tokenizer.model_input_names, "labels", "words", "first", "example")}
    before, after = special_tokens(tokenizer)
    room = max_seq_length - len(before) - len(after)
    numbers = {label: number for number, label in enumerate(labels)}
    sentences = zip(indices, batch["tags"], word_pieces(batch["tokens"], tokenizer), strict=True)
    for index, tags, words in sentences:
        for window in windows(words, room):
            ids, targets, first = [], [], []
            for word, pieces in window:
                first.append(len(before) + len(ids))
                ids += pieces
                targets += [numbers.get(tags[word], -100)] + [-100] * (len(pieces) - 1)
            row = {
                "input_ids": before + ids + after,
                "attention_mask": [1] * (len(before) + len(ids) + len(after)),
                "token_type_ids": [0] * (len(before) + len(ids) + len(after)),
                "labels": [-100] * len(before) + targets + [-100] * len(after),
                "words": [word for word, _ in window],
                "first": first,
                "example": index,
            }
            for name, column in columns.items():
                column.append(row[name])
    return columns


def word_pieces(sentences, tokenizer):
    """Token ids of each word of each sentence; a word that occurs again is tokenised once.

    All but the first of a sentence are tokenised with a space before them, so that vocabularies in which the space belongs to
    the piece (BPE of ModernBERT, Gemma) see the words as in running text. A word that has no pieces (empty, zero-width or
    no-break space) becomes one unknown token, or the mask in a vocabulary of bytes, which has none: it must be predicted like any
    other.
    """
    spaced = [[f" {word}" if place else word for place, word in enumerate(words)] for words in sentences]
    words = [*dict.fromkeys(chain.from_iterable(spaced))]
    ids = tokenizer(words, add_special_tokens=False)["input_ids"] if words else []
    unknown = tokenizer.mask_token_id if tokenizer.unk_token_id is None else tokenizer.unk_token_id
    known = {word: pieces or [unknown] for word, pieces in zip(words, ids, strict=True)}
    return [[known[word] for word in each] for each in spaced]


def windows(pieces, room):
    """Split words into runs of at most `room` pieces: lists of (word index, pieces). A single longer word is cut to `room`:
    its tag sits on the first piece."""
    runs, used = [[]], 0
    for word, ids in enumerate(pieces):
        ids = ids[:room]
        if used + len(ids) > room:
            runs.append([])
            used = 0
        runs[-1].append((word, ids))
        used += len(ids)
    return runs


def special_tokens(tokenizer):
    """Ids that the tokenizer puts before and after a single sequence, e.g. ([<s>], [</s>])."""
    with_specials = tokenizer("a")["input_ids"]
    plain = tokenizer("a", add_special_tokens=False)["input_ids"]
    start = next(i for i in range(len(with_specials)) if with_specials[i : i + len(plain)] == plain)
    return with_specials[:start], with_specials[start + len(plain) :]


def collate(rows, tokenizer, multiple=1):
    """(batch, tokens) token ids and tag ids, padded to the longest row."""
    batch = classification.padded(rows, tokenizer, multiple)
    longest = batch["input_ids"].shape[1]
    labels = [row["labels"] + [-100] * (longest - len(row["labels"])) for row in rows]
    return {**batch, "labels": torch.tensor(labels)}


def keep(outputs, labels, batch):
    """(number of the best tag, its probability) of every token of a row, each (tokens,): all logits of a test set would fill the
    memory."""
    probabilities, best = outputs["logits"].float().softmax(-1).max(-1)
    lengths = batch["attention_mask"].sum(-1).tolist()
    pairs = zip(best.cpu().numpy(), probabilities.cpu().numpy(), lengths, strict=True)
    return [(tags[:length].copy(), shares[:length].copy()) for tags, shares, length in pairs]


def decode(outputs, features, examples, labels):
    """What `keep` kept -> a list of tags per example, one for every word."""
    return of_words([[labels[tag] for tag in tags] for tags, _ in outputs], features, examples)


def confidence(outputs, features, examples):
    """The probability of the predicted tag of every word."""
    return of_words([shares.tolist() for _, shares in outputs], features, examples)


def of_words(rows, features, examples):
    """A value per token of every row -> a list per example of the values at the first pieces of its words.

    Raises ValueError if a word has no value or more than one.
    """
    found = [[None] * len(tokens) for tokens in examples["tokens"]]
    for row, first, words, example in zip(rows, features["first"], features["words"], features["example"], strict=True):
        for position, word in zip(first, words, strict=True):
            if found[example][word] is not None:
                raise ValueError(f"word {word} of sentence {example} is predicted twice")
            found[example][word] = row[position]
    if any(value is None for sentence in found for value in sentence):
        raise ValueError("a word has no prediction")
    return found


def gold(example):
    """The example's tags."""
    return example["tags"]


def texts(example):
    """One input, a text per word."""
    return [tuple(example["tokens"])]


def constant(train, examples):
    """The most frequent tag of the training examples, for every word."""
    tag = Counter(chain.from_iterable(train["tags"])).most_common(1)[0][0]
    return [[tag] * len(tokens) for tokens in examples["tokens"]]


def write(path, predictions, examples):
    """XTREME's file: one tag a line, an empty line after every sentence."""
    lines = ("".join(f"{tag}\n" for tag in sentence) + "\n" for sentence in predictions)
    path.with_suffix(".tsv").write_text("".join(lines), encoding="utf-8")


TYPE = TaskType(
    name="tagging",
    columns=("tokens", "tags"),
    auto_model=AutoModelForTokenClassification,
    features=features,
    collate=collate,
    logits=classification.logits,
    keep=keep,
    decode=decode,
    confidence=confidence,
    gold=gold,
    texts=texts,
    constant=constant,
    write=write,
)
