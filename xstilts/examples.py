"""Raw rows -> examples: converted by the task, checked, counted and fingerprinted; and examples -> features.

This is where a row that does not fit its task is named, and where the selection set is kept apart from the training set.
"""

import hashlib
import json
from collections import Counter
from dataclasses import dataclass, replace
from itertools import chain, islice

import pyarrow
from datasets import Dataset, concatenate_datasets

from xstilts.arrow_files import BATCH, batches_of, passing, rows_of, write
from xstilts.base import UserError, print_main
from xstilts.feature_cache import kept_features
from xstilts.offsets import MISPLACED, RENUMBERED, check_misplaced, in_place
from xstilts.progress import Progress
from xstilts.readers import Dropped
from xstilts.sources import load_raw
from xstilts.task import published_rows

NO_EXAMPLE = "rows that the task leaves out"  # where its `to_example` does not say why


@dataclass(frozen=True)
class Examples:
    """Examples of one split, and what run.json says about them.

    rows         datasets.Dataset with the columns of the task's type
    records      per task, split and language: {"task", "split", "language", "rows", "left_out", "irregular", "published_rows",
                 "files", "fingerprint", "hub", "remarks", "in_no_average"}; rows are in the order of the records. `left_out`
                 counts the rows that made no example, `irregular` by reason these rows, what was left out of the files, and what
                 was set right; `hub` is there for rows of the hub, `remarks` and `in_no_average` (True) where there are any: see
                 `Raw`
    """

    rows: Dataset
    records: tuple[dict, ...]

    def __len__(self):
        return len(self.rows)

    @property
    def languages(self):
        """Languages of the rows, each once, in their order."""
        return list(dict.fromkeys(record["language"] for record in self.records))


def load_examples(task, split, language="en", data_dir=None, max_samples=None):
    """The (first `max_samples`) examples of one split of a task in one language. Of a task with parts, each part gives the share
    of them that its size is of the whole.

    A task with `held_out_by` has no use for the publisher's validation split: its `validation` is a fixed part of the training
    rows, and `train` is the rest.

    Raises UserError for an empty split, a row without the expected columns and a label that the task does not declare.
    """
    check_samples(split, max_samples)
    parts = task.parts or (task,)
    raw = [_raw_rows(part, split, language, data_dir) for part in parts]
    shares = _shares(max_samples, [len(each.rows) for each, _ in raw])
    each = zip(parts, raw, shares, strict=True)
    found = joined(
        [_examples(part, split, language, *of, share) for part, of, share in each if share or len(parts) == 1]
    )
    if task.parts and max_samples is None:
        _check_size(task, split, language, len(found), task.sizes.get(split))
    return found


def check_samples(split, max_samples):
    """Raise UserError for a number of samples that leaves none."""
    if max_samples is not None and max_samples < 1:
        raise UserError(f"--max_{'train' if split == 'train' else 'eval'}_samples {max_samples} must be 1 or more")


def joined(parts):
    """Examples one after another, with all of their records."""
    if len(parts) == 1:
        return parts[0]
    return Examples(
        concatenate_datasets([part.rows for part in parts]), tuple(r for part in parts for r in part.records)
    )


def _raw_rows(task, split, language, data_dir):
    """(`Raw` rows, published number of rows) before any conversion."""
    carved = task.held_out_by and split in ("train", "validation")
    stored = "train" if carved else split
    raw = load_raw(task.source, stored, language, data_dir)
    published = published_rows(task, stored, language)
    _check_size(task, stored, language, len(raw.rows), published)
    if carved:
        return raw._replace(rows=_part(raw.rows, task, split == "validation")), None
    return raw, published


def _check_size(task, split, language, rows, published):
    if published not in (None, rows):
        print_main(f"note: {task.name} {split} '{language}' has {rows:,} rows here; {published:,} are published")


def _shares(total, sizes):
    """`total` divided in proportion to `sizes`, largest remainders first, none above its size; everything without a total."""
    if total is None or total >= sum(sizes):
        return sizes
    exact = [total * size / sum(sizes) for size in sizes]
    shares = [int(share) for share in exact]
    for index in sorted(range(len(sizes)), key=lambda i: shares[i] - exact[i])[: total - sum(shares)]:
        shares[index] += 1
    return shares


def _examples(task, split, language, raw, published, wanted):
    """The first `wanted` examples of raw rows; those that the task leaves out are counted, and what was set right."""
    where = f"{task.name}, {split} in '{language}' ({', '.join(raw.files)})"
    irregular, counts, digest = Counter(), Counter(), None

    def tables():
        nonlocal digest
        digest = hashlib.sha256()
        counts.clear()
        irregular.clear()
        irregular.update(raw.dropped)
        examples = islice(_converted(task, split, raw, where, irregular, counts), wanted)
        return _tables(examples, task.type.columns, digest)

    def compute(path):
        rows = write(path, tables)
        check_misplaced(irregular, counts["seen"], where)
        if not len(rows):
            raise UserError(f"{task.name}: the {split} set in '{language}' is empty ({', '.join(raw.files)})")
        return rows

    rows = passing(f"{task.name}-{split}-{language}", compute)
    record = _record(task.name, len(rows), _short(digest), split, language, published, raw.files, raw.hub)
    irregular[RENUMBERED] = counts[RENUMBERED]
    record |= {"left_out": counts["left out"], "irregular": _reported(irregular, task.name, split, language)}
    record |= {"remarks": [*raw.remarks]} if raw.remarks else {}
    record |= {} if raw.counts else {"in_no_average": True}
    return Examples(rows, (record,))


def _converted(task, split, raw, where, irregular, counts):
    """The examples of raw rows, one after another; counts rows that are `seen`, and by reason what is irregular in them."""
    training, ids = split == "train" or bool(task.held_out_by and split == "validation"), Counter()
    for row in watched_rows(raw.rows, f"reading {task.name} {split}"):
        counts["seen"] += 1
        example, wrong = _example(task, row, counts["seen"], split, raw.files)
        irregular[wrong] += 1
        if example is None:
            counts["left out"] += 1
            continue
        if "id" in example:
            example, renumbered = _with_own_id(example, ids, training, where)
            counts[RENUMBERED] += renumbered
        yield example


def watched_rows(rows, what):
    """The rows of a dataset, with a `Progress`."""
    with Progress(len(rows), what) as progress:
        for number, row in enumerate(rows_of(rows), start=1):
            yield row
            if number % BATCH == 0:
                progress.update(BATCH)


def _with_own_id(example, ids, training, where):
    """(the example, whether it is renumbered: the n-th of an id, which `ids` counts, becomes `id#n`).

    Raises UserError for a repeated id outside of training: predictions are written and scored by id.
    """
    name = example["id"]
    ids[name] += 1
    if ids[name] > 1 and not training:
        raise UserError(f"{where}: two questions have the id '{name}', but predictions are scored by id")
    return ({**example, "id": f"{name}#{ids[name]}"}, True) if ids[name] > 1 else (example, False)


def _tables(examples, columns, digest):
    """Arrow tables of examples, BATCH at a time; adds their content to the digest."""
    for batch in batches_of(examples):
        digest.update(b"".join(map(_bytes, batch)))
        yield pyarrow.table({column: [example[column] for example in batch] for column in columns})


def _reported(irregular, name, split, language):
    """What is not as it should be, {reason: count}, said in one line."""
    found = {reason: count for reason, count in irregular.items() if reason and count}
    if found:
        reasons = "; ".join(f"{count:,} {reason}" for reason, count in found.items())
        print_main(f"{name} {split} '{language}': {reasons}")
    return found


def remarks_of(records):
    """What is to be said of the rows that some records are of: a line for each remark, with the languages that it is about."""
    found = {}
    for record in records:
        for remark in record.get("remarks", ()):
            found.setdefault(f"{record['task']}: {remark}", {})[record["language"]] = None
    return [f"{remark} ({' '.join(languages)})" for remark, languages in found.items()]


def languages_apart(records):
    """Languages of the records whose rows are not the benchmark's, so that scores on them count in no average."""
    return {record["language"] for record in records if record.get("in_no_average")}


def with_labels(task, train):
    """The task with the labels of its training examples, for one that declares none of its own (`open_labels`)."""
    if not task.open_labels:
        return task
    return replace(task, labels=tuple(sorted({tag for tags in train.rows["tags"] for tag in tags})))


def unseen_labels(task, examples):
    """{tag: how often} of tags that a task with `open_labels` did not see in training; words with them count as wrong."""
    tags = chain.from_iterable(examples.rows["tags"]) if task.open_labels else ()
    known = set(task.labels)
    return dict(Counter(tag for tag in tags if tag not in known).most_common())


def record_of(name, rows, split, language, published, files, dropped=None, hub=None):
    """What run.json says of the rows of one split of a task in one language; `dropped` are those left out, {reason: count}, and
    `hub` is where on the hub they are from (`Raw`)."""
    found = _reported(dropped or {}, name, split, language)
    record = _record(name, len(rows), fingerprint(rows), split, language, published, files, hub)
    return {**record, "irregular": found} if found else record


def _record(name, rows, content, split, language, published, files, hub=None):
    record = {"task": name, "split": split, "language": language, "rows": rows, "published_rows": published}
    return {**record, "files": files, "fingerprint": content, **({"hub": dict(hub)} if hub else {})}


def _part(raw, task, held_out):
    """The rows of those groups (rows of one value of `held_out_by`, say an article) whose value hashes lowest, `held_out_share`
    of them, or all others. One group at least is held out, so that a small sample has a selection set too; held-out rows come
    in the order of a hash, so that the first 500 of them are not three articles."""
    column = task.held_out_by
    hashes = [hash_of(value) for batch in raw.select_columns([column]).iter(BATCH) for value in batch[column]]
    groups = sorted({*hashes})
    if len(groups) < 2:
        raise UserError(
            f"the training rows have a single {column}, so none can be held out for selection; give more rows"
        )
    chosen = {*groups[: max(1, round(len(groups) * task.held_out_share))]}
    part = [index for index, group in enumerate(hashes) if (group in chosen) == held_out]
    return raw.select(sorted(part, key=hash_of) if held_out else part)


def hash_of(value):
    """What held-out rows are chosen and ordered by."""
    return hashlib.sha256(str(value).encode("utf-8", "surrogatepass")).hexdigest()


def _example(task, row, number, split, files):
    """(the example of a raw row, None where it makes none; what was wrong with it, if anything). A question whose answer is not
    at its offset teaches something wrong, so it makes no training example; it can be evaluated, by the text."""
    try:
        example = task.to_example(row)
        if example is None or isinstance(example, Dropped):
            return None, example.reason if example else NO_EXAMPLE
        labels = example["tags"] if "tags" in example else [example["label"]] if "label" in example else []
        kept = {column: example[column] for column in task.type.columns}
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        columns, reason = ", ".join(task.type.columns), " ".join(f"{type(error).__name__}: {error}"[:200].split())
        where = _row(task, split, number, files)
        raise UserError(f"{where}: to_example makes no example ({columns}) of it ({reason})") from error
    if wrong := _misfit(task, kept, labels):
        raise UserError(f"{_row(task, split, number, files)}: {wrong}")
    if "answers" not in kept:
        return kept, None
    kept, wrong = in_place(kept)
    return (None if wrong == MISPLACED and split == "train" else kept), wrong


def _misfit(task, example, labels):
    """What of an example's labels and choices its task does not declare, in words; "" where all is."""
    for label in labels:
        if label not in task.labels and not task.open_labels:
            hint = "; a ClassLabel column gives to_example its number" if isinstance(label, int) else ""
            return f"label {label!r:.40} is not one of {', '.join(task.labels)}{hint}"
    choices = len(example.get("choices", task.labels))
    return "" if choices == len(task.labels) else f"{choices} choices instead of {len(task.labels)}"


def _row(task, split, number, files):
    return f"{task.name}, {split} row {number} ({', '.join(files)})"


def fingerprint(rows):
    """16 hexadecimal digits of the examples' content and order, the same whatever source and cache they came from."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(_bytes(row))
    return _short(digest)


# Columns of the hub that no task reads may hold times or bytes; they count as Python writes them.
_json = json.JSONEncoder(sort_keys=True, ensure_ascii=False, default=str).encode


def _bytes(row):
    """What a row adds to a fingerprint."""
    return _json(row).encode("utf-8", "surrogatepass")


def _short(digest):
    return digest.hexdigest()[:16]


def featurize(task, examples, tokenizer, lengths):
    """Examples -> features of the task's type, a Dataset that is read from a file; the same features are made once, see
    `feature_cache.py`. `lengths` are `max_seq_length` and what else the type needs."""
    wanted = {name: lengths[name] for name in ("max_seq_length", *task.type.lengths)}
    options = {"tokenizer": tokenizer, "labels": list(task.labels), **wanted}
    languages = examples.languages
    several = languages[0] if len(languages) == 1 else f"{len(languages)}-languages"
    name = f"{task.name}-{examples.records[0]['split']}-{several}"
    return kept_features(examples.rows, _content(examples), name, task.type.features, options)


def untaught(task, examples, features):
    """{why: number} of training examples whose features teach something else than their answer (`TaskType.untaught`), which is
    said too."""
    found = task.type.untaught(features, examples.rows) if task.type.untaught else {}
    if found:
        reasons = "; ".join(f"{count:,} {why}" for why, count in found.items())
        print_main(f"warning: {task.name} is trained as if these had no answer: {reasons}")
    return found


def _content(examples):
    """What names the rows and their order: the fingerprints of the records, unless the records are of other rows."""
    prints = [record.get("fingerprint") for record in examples.records]
    if all(prints) and sum(record["rows"] for record in examples.records) == len(examples):
        return prints
    return [fingerprint(rows_of(examples.rows))]
