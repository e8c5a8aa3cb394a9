"""Raw rows -> examples: converted by the task, checked, counted and fingerprinted; and examples -> features.

This is where a row that does not fit its task is named, and where the selection set is kept apart from the training set.
"""

import hashlib
import json
from dataclasses import dataclass
from functools import partial

from datasets import Dataset

from xstilts.errors import UserError, say
from xstilts.sources import MissingData, languages_in, load_rows

HELD_OUT_SHARE = 1 / 20


@dataclass(frozen=True)
class Examples:
    """Examples of one split in one language, and what run.json says about them.

    rows         datasets.Dataset with the columns of the task's type
    record       {"split", "language", "rows", "published_rows", "files", "fingerprint"}
    """

    rows: Dataset
    record: dict

    def __len__(self):
        return len(self.rows)


def load_examples(task, split, language="en", data_dir=None, max_samples=None):
    """The (first `max_samples`) examples of one split of a task in one language.

    A task with `held_out_by` has no use for the publisher's validation split: its `validation` is a fixed part of the training
    rows, and `train` is the rest.

    Raises UserError for an empty split, a row without the expected columns and a label that the task does not declare.
    """
    carved = task.held_out_by and split in ("train", "validation")
    stored = "train" if carved else split
    raw, files = load_rows(task.source, stored, language, data_dir)
    published = task.sizes.get(f"{stored}-{language}", task.sizes.get(stored))
    if published not in (None, len(raw)):
        say(f"{task.name} {stored} '{language}': {len(raw):,} rows, {published:,} are published")
    if carved:
        raw = _part(raw, task.held_out_by, held_out=split == "validation")
    raw = _first(raw, max_samples)
    if len(raw) == 0:
        raise UserError(f"{task.name}: the {split} set in '{language}' is empty ({', '.join(files)})")
    examples = [_example(task, row, number, split, files) for number, row in enumerate(raw, start=1)]
    published = None if carved else published
    return Examples(Dataset.from_list(examples), _record(examples, split, language, published, files))


def _first(raw, max_samples):
    return raw if max_samples is None else raw.select(range(min(max_samples, len(raw))))


def load_languages(task, split, languages=None, data_dir=None, max_samples=None):
    """Examples of every language: ({language: Examples}, {language without data: reason}).

    `languages` (comma-separated) must all be there; without it every language of the benchmark is tried, and what else lies in
    `data_dir`. Raises UserError for a code that neither knows, and if no language has data.
    """
    load = partial(load_examples, task, split, data_dir=data_dir, max_samples=max_samples)
    return _each_language(task, split, languages, data_dir, load)


def load_sentences(task, split, languages=None, data_dir=None, max_samples=None):
    """The same for a retrieval task, whose rows are aligned sentences and have no labels."""

    def load(language):
        raw, files = load_rows(task.source, split, language, data_dir)
        rows = [{side: text.strip() for side, text in row.items()} for row in _first(raw, max_samples)]
        if not rows:
            raise UserError(f"{task.name}: no sentences in '{language}' ({', '.join(files)})")
        return Examples(Dataset.from_list(rows), _record(rows, split, language, task.sizes.get(split), files))

    return _each_language(task, split, languages, data_dir, load)


def _each_language(task, split, languages, data_dir, load):
    if split not in task.source.splits:
        raise UserError(f"{task.name} has no {split} split; give --split {' or '.join(task.source.splits)}")
    known = dict.fromkeys([*task.languages, *(languages_in(task.source, split, data_dir) if data_dir else ())])
    asked = languages.split(",") if languages else []
    for language in asked:
        if language not in known:
            raise UserError(f"--languages: {task.name} has no '{language}'; it has {', '.join(known)}")
    found, missing = {}, {}
    for language in asked or known:
        try:
            found[language] = load(language=language)
        except MissingData as error:
            if asked:
                raise
            missing[language] = str(error)
    if not found:
        raise UserError(next(iter(missing.values())))
    if missing:
        say(f"{task.name}: left out for want of data, e.g. {next(iter(missing.values()))}: {' '.join(missing)}")
    return found, missing


def _record(rows, split, language, published, files):
    record = {"split": split, "language": language, "rows": len(rows), "published_rows": published, "files": files}
    return {**record, "fingerprint": fingerprint(rows)}


def _part(raw, column, held_out):
    """The rows of the twentieth of the groups (rows of one value of `column`, say an article) whose value hashes lowest, or all
    others. One group at least is held out, so that a small sample has a selection set too; held-out rows come in the order of
    a hash, so that the first 500 of them are not three articles."""
    groups = sorted(set(raw[column]), key=_hash)
    if len(groups) < 2:
        raise UserError(
            f"the training rows have a single {column}, so none can be held out for selection; give more rows"
        )
    chosen = set(groups[: max(1, round(len(groups) * HELD_OUT_SHARE))])
    part = [index for index, value in enumerate(raw[column]) if (value in chosen) == held_out]
    return raw.select(sorted(part, key=_hash) if held_out else part)


def _hash(value):
    return hashlib.sha256(str(value).encode("utf-8", "surrogatepass")).hexdigest()


def _example(task, row, number, split, files):
    where = f"{task.name}, {split} row {number} ({', '.join(files)})"
    try:
        example = task.to_example(row)
        labels = example["tags"] if "tags" in example else [example["label"]] if "label" in example else []
        kept = {column: example[column] for column in task.type.columns}
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        columns = ", ".join(task.type.columns)
        reason = f"{type(error).__name__}: {error}"
        raise UserError(f"{where}: to_example makes no example ({columns}) of it ({reason})") from error
    for label in labels:
        if label not in task.labels:
            hint = "; a ClassLabel column gives to_example its number" if isinstance(label, int) else ""
            raise UserError(f"{where}: label {label!r} is not one of {', '.join(task.labels)}{hint}")
    return kept


def fingerprint(rows):
    """16 hexadecimal digits of the examples' content and order, the same whatever source and cache they came from."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(json.dumps(row, sort_keys=True, ensure_ascii=False).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()[:16]


def featurize(task, examples, tokenizer, lengths):
    """Examples -> features of the task's type. `lengths` are `max_seq_length` and what else the type needs."""
    wanted = {name: lengths[name] for name in ("max_seq_length", *task.type.lengths)}
    return examples.rows.map(
        task.type.features,
        batched=True,
        with_indices=True,
        remove_columns=examples.rows.column_names,
        fn_kwargs={"tokenizer": tokenizer, "labels": list(task.labels), **wanted},
        desc=f"{task.name} {examples.record['split']} {examples.record['language']}",
    )


def inputs_of(task, examples):
    """Every input of a task's examples as a tuple of texts, for `coverage`."""
    return [each for example in examples.rows for each in task.type.texts(example)]


def coverage(inputs, tokenizer, max_seq_length):
    """How well the vocabulary and the length fit a language, the strongest confounds of transfer.

    `inputs` are tuples of texts: a sentence, a pair, or the words of a sentence. Returns sub-words per word (words as white space
    or the treebank divides them; for Thai, Chinese and Japanese compare `subwords_per_character`), the share of unknown
    pieces, and the share of inputs that do not fit into `max_seq_length` and are therefore cut, or for tagging and QA read in
    windows.
    """
    flat = [text for each in inputs for text in each]
    pieces = tokenizer(flat, add_special_tokens=False)["input_ids"]
    lengths = iter(pieces)
    needed = [sum(len(next(lengths)) for _ in each) + special_tokens_of(each, tokenizer) for each in inputs]
    total = max(1, sum(map(len, pieces)))
    return {
        "subwords_per_word": round(total / max(1, sum(len(text.split()) for text in flat)), 4),
        "subwords_per_character": round(total / max(1, sum(map(len, flat))), 4),
        "unknown_share": round(sum(ids.count(tokenizer.unk_token_id) for ids in pieces) / total, 6),
        "too_long_share": round(sum(length > max_seq_length for length in needed) / len(inputs), 6),
    }


def special_tokens_of(texts, tokenizer):
    """How many special tokens an input gets: a pair of texts has separators between them."""
    return tokenizer.num_special_tokens_to_add(pair=len(texts) == 2)
