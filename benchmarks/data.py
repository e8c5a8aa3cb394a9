"""From official files to features: rows are read and converted, then tokenised; the next run reads features from a file.

The peer is what the published example scripts do with `datasets` and the same tokenizer: `load_dataset` of files that it reads,
and `map` of a function that pads to the maximum. Both write into folders that are emptied before every turn.
"""

import contextlib
import io
import os
import shutil
import tempfile
from functools import partial
from itertools import chain, cycle, islice

import datasets
from datasets import load_dataset

from benchmarks.measuring import KINDS, in_turns, medians, ratio, steadier, table
from benchmarks.preparing import prepared
from tasks import load_task
from xstilts.arrow_files import folder
from xstilts.checkpoint import load_tokenizer
from xstilts.examples import featurize, load_examples
from xstilts.official_files import find_files

TITLE = "Preparing data"
LENGTHS = {
    "mnli": {"max_seq_length": 128},
    "udpos": {"max_seq_length": 128},
    "hellaswag": {"max_seq_length": 128},
    "squad": {"max_seq_length": 384, "doc_stride": 128},
}
JSON_LINES = ("mnli", "hellaswag")  # what `load_dataset` reads, too
LINES, LONG_LINES = 20_000, 200_000  # of these files: the same ones again and again
EXAMPLES, LONG_EXAMPLES = 2_000, 10_000  # that are tokenised
ROUNDS, LONG_ROUNDS = 3, 5
STOCK, OURS, AGAIN = "stock", "ours", "ours, the second time"
PHASES = ("read", "tokenise")


def measure(args):
    """{task: {"rows", "examples", "read": compared, "tokenise": compared}}: the numbers that are read and tokenised, see
    `compared`."""
    with prepared(args) as args, tempfile.TemporaryDirectory() as place:
        datasets.config.HF_DATASETS_CACHE = os.path.join(place, "cache")
        tokenizer = load_tokenizer(args.tokenizer)
        return {"tasks": {name: of_task(name, args, tokenizer, place) for name in LENGTHS}}


def of_task(name, args, tokenizer, place):
    """The figures of a task."""
    task, rounds = load_task(name), LONG_ROUNDS if args.long else ROUNDS
    data_dir = args.data_dir
    if name in JSON_LINES:
        data_dir = enlarged(task, data_dir, os.path.join(place, "data"), LONG_LINES if args.long else LINES)
    examples = read(task, data_dir, LONG_EXAMPLES if args.long else EXAMPLES)
    stock = os.path.join(place, "stock")
    reading = {OURS: partial(read, task, data_dir)}
    if name in JSON_LINES:
        reading[STOCK] = partial(loaded, task, data_dir, stock)
    again = partial(featurize, task, examples, tokenizer, LENGTHS[name])
    tokenising = {OURS: partial(anew, again), AGAIN: again}
    tokenising[STOCK] = partial(mapped, examples.rows, PADDED[name], task, tokenizer, stock)
    found = {"rows": len(read(task, data_dir)), "examples": len(examples)}
    return found | {"read": compared(reading, rounds), "tokenise": compared(tokenising, rounds)}


def compared(ways, rounds):
    """{"seconds": medians of each way, "faster": stock over ours, "again": the second time over the first}, of those ways."""
    figures = in_turns(ways, rounds)
    found = {"seconds": medians(figures)}
    if STOCK in ways:
        found["faster"] = ratio(figures, STOCK, OURS)
    if AGAIN in ways:
        found["again"] = ratio(figures, AGAIN, OURS)
    return found


# ---- ours -----------------------------------------------------------------------------------------------------------


def enlarged(task, data_dir, target, count):
    """A folder in which the task's training file has `count` lines, those of the one in `data_dir` again and again."""
    (path,) = find_files(task.source, "train", "en", data_dir)
    place = os.path.join(target, os.path.relpath(path, data_dir))
    os.makedirs(os.path.dirname(place), exist_ok=True)
    with open(path, "rb") as file, open(place, "wb") as larger:
        larger.writelines(islice(cycle([line.rstrip(b"\n") + b"\n" for line in file if line.strip()]), count))
    return target


def read(task, data_dir, count=None):
    """The first examples, or all; what is said of them is no news here."""
    with contextlib.redirect_stdout(io.StringIO()):
        return load_examples(task, "train", "en", data_dir, count)


def anew(make):
    """Make features as if for the first time."""
    shutil.rmtree(folder(), ignore_errors=True)
    return make()


# ---- stock ----------------------------------------------------------------------------------------------------------


def loaded(task, data_dir, stock):
    """The rows of a file as `load_dataset` reads it."""
    shutil.rmtree(stock, ignore_errors=True)
    return load_dataset(
        "json", data_files=find_files(task.source, "train", "en", data_dir), split="train", cache_dir=stock
    )


def mapped(rows, function, task, tokenizer, stock):
    """The features of an example script."""
    shutil.rmtree(stock, ignore_errors=True)
    os.makedirs(stock)
    options = {"tokenizer": tokenizer, "labels": list(task.labels), **LENGTHS[task.name]}
    return rows.map(
        function, batched=True, remove_columns=rows.column_names, fn_kwargs=options, load_from_cache_file=False,
        cache_file_name=os.path.join(stock, "features.arrow"),
    )  # fmt: skip


def padded_pairs(batch, tokenizer, labels, max_seq_length):
    """As in run_glue."""
    rows = tokenizer(batch["text_a"], batch["text_b"], truncation=True, padding="max_length", max_length=max_seq_length)
    return {**rows, "label": [labels.index(label) for label in batch["label"]]}


def padded_tags(batch, tokenizer, labels, max_seq_length):
    """As in run_ner: what is too long is cut off, and words without pieces have no label."""
    rows = tokenizer(
        batch["tokens"], is_split_into_words=True, truncation=True, padding="max_length", max_length=max_seq_length
    )
    numbers = {label: number for number, label in enumerate(labels)}
    targets = []
    for row, tags in enumerate(batch["tags"]):
        words = rows.word_ids(row)
        firsts = [word is not None and word != before for before, word in zip([None, *words], words, strict=False)]
        targets.append([numbers[tags[word]] if first else -100 for word, first in zip(words, firsts, strict=True)])
    return {**rows, "labels": targets}


def padded_choices(batch, tokenizer, labels, max_seq_length):
    """As in run_swag."""
    contexts = [context for context in batch["context"] for _ in labels]
    choices = [*chain.from_iterable(batch["choices"])]
    flat = tokenizer(contexts, choices, truncation=True, padding="max_length", max_length=max_seq_length)
    size = len(labels)
    grouped = {name: [all_[at : at + size] for at in range(0, len(all_), size)] for name, all_ in flat.items()}
    return {**grouped, "label": [labels.index(label) for label in batch["label"]]}


def padded_windows(batch, tokenizer, labels, max_seq_length, doc_stride):
    """As in run_qa: where the answer lies in each window, the first token where it does not."""
    rows = tokenizer(
        batch["question"], batch["context"], truncation="only_second", padding="max_length", max_length=max_seq_length,
        stride=doc_stride, return_overflowing_tokens=True, return_offsets_mapping=True,
    )  # fmt: skip
    owners, offsets = rows.pop("overflow_to_sample_mapping"), rows.pop("offset_mapping")
    spans = [
        span_of(batch["answers"][owner], each, rows.sequence_ids(row))
        for row, (owner, each) in enumerate(zip(owners, offsets, strict=True))
    ]
    return {**rows, "start_positions": [start for start, _ in spans], "end_positions": [end for _, end in spans]}


def span_of(answers, offsets, parts):
    """The first and last token of the first answer, by going through the window from both ends."""
    if not answers["answer_start"]:
        return 0, 0
    begin = answers["answer_start"][0]
    end = begin + len(answers["text"][0])
    first, last = parts.index(1), len(parts) - 1 - parts[::-1].index(1)
    if offsets[first][0] > begin or offsets[last][1] < end:
        return 0, 0
    while first <= last and offsets[first][0] <= begin:
        first += 1
    while offsets[last][1] >= end:
        last -= 1
    return first - 1, last + 1


PADDED = {"mnli": padded_pairs, "udpos": padded_tags, "hellaswag": padded_choices, "squad": padded_windows}


# ---- the report -----------------------------------------------------------------------------------------------------


def targets(figures):
    """The next run does not tokenise."""
    kind, found = steadier(False), figures["tasks"]
    shares = {name: each["tokenise"]["again"][kind]["median"] for name, each in found.items()}
    most = max(shares, key=shares.get)
    return [
        [f"features of the next run, {most}", "at most 0.2 of the first", f"{shares[most]:.2f}", shares[most] <= 0.2]
    ]


def render(figures):
    """The section in Markdown."""
    kind = steadier(False)
    rows = [row_of(name, phase, each, kind) for name, each in figures["tasks"].items() for phase in PHASES]
    return f"{table(COLUMNS, rows)}\n\n{NOTE}"


COLUMNS = ["task", "phase", "rows", "ours, rows/s", "stock, rows/s", "x stock, time", "processor time", "next run, ms"]
NOTE = (
    "Rates are by processor time. *read*: from official files to examples that are checked, counted and fingerprinted; stock is "
    "`load_dataset` of the same lines, which does nothing else than read. *tokenise*: stock pads to the maximum; ours looks "
    "whether choices and questions leave room, and keeps offsets. *next run*: the same features again, most of it the digest of "
    "the tokenizer, which is in the name of their file."
)


def row_of(name, phase, found, kind):
    """A row of the table."""
    part = found[phase]
    count = found["rows" if phase == "read" else "examples"]
    rates = [f"{count / part['seconds'][way][kind]:,.0f}" if way in part["seconds"] else "" for way in (OURS, STOCK)]
    times = [f"{part['faster'][each]['median']:.2f}" if "faster" in part else "" for each in KINDS]
    again = f"{1000 * part['seconds'][AGAIN][kind]:.0f}" if AGAIN in part["seconds"] else ""
    return [name, phase, f"{count:,}", *rates, *times, again]
