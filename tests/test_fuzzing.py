"""Damaged data files of every form: the answer is right or names the file and the place, and no row is lost without a word."""

import contextlib
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
from damage import damaged
from small_files import FORMS, TASKS, answer_of

from xstilts.base import UserError
from xstilts.examples import load_examples
from xstilts.raw_rows import MissingData
from xstilts.sources import load_raw
from xstilts.task import Task

PLACE = r"line \d+|byte \d+|row \d+|paragraph \d+"
NAMES = [form.name for form in FORMS]


def lay_out(form, folder):
    """Write the files of a form; gives their paths."""
    for name, content in form.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return [folder / name for name in form.files]


# ---- readers --------------------------------------------------------------------------------------------------------


def holds_for(form, path, content):
    """Whether the reader's answer has as many rows as the file by an independent count."""
    (rows, dropped), expected = answer_of(form, path), form.count(content)
    found = form.found(rows, dropped)
    if isinstance(expected, tuple) and isinstance(found, tuple) and None in found:
        found, expected = found[:1], expected[:1]
    assert found == expected, f"{found} instead of {expected} rows"


@pytest.mark.parametrize("form", FORMS, ids=NAMES)
def test_the_files_are_valid(form, tmp_path):
    path, *_ = lay_out(form, tmp_path)
    holds_for(form, path, path.read_bytes())
    assert answer_of(form, path)[0]


@pytest.mark.parametrize("form", FORMS, ids=NAMES)
def test_a_damaged_file_is_read_whole_or_refused(form, fuzz, tmp_path):
    paths, (first, whole) = lay_out(form, tmp_path), next(iter(form.files.items()))

    def attempt(content):
        (tmp_path / first).write_bytes(content)
        holds_for(form, tmp_path / first, content)

    whole_file = form.values == "json" or first.endswith(".bz2") or len(form.files) > 1 or form.task is None
    fuzz(damaged(whole, values=form.values), attempt, paths, place="" if whole_file else PLACE, ordinary=20)


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"ab" * 32 + b"\nsize 1112204208\n"


@pytest.mark.parametrize("form", FORMS, ids=NAMES)
def test_a_git_lfs_pointer_in_the_place_of_a_file_is_named(form, tmp_path):
    for path in lay_out(form, tmp_path):
        whole = path.read_bytes()
        path.write_bytes(POINTER)
        with pytest.raises(
            UserError, match="is a Git LFS pointer, not the file itself; run `git lfs pull` in that folder"
        ):
            answer_of(form, tmp_path / next(iter(form.files)))
        path.write_bytes(whole)


PARTS = [b"[", b"(", b")", b"(<T S 0 2> ", b"(<L N N N w N>) ", b'"', b"x\t", b'{"a":', b"\\ud800", b"1\tx\n"]


@pytest.mark.parametrize(
    "form", [form for form in FORMS if not next(iter(form.files)).endswith("bz2")], ids=lambda f: f.name
)
def test_half_a_megabyte_of_one_thing_takes_no_longer_than_it_has_to(form, tmp_path):
    """Twice in the middle of a valid file, in a line of its own and in one that is there."""
    path, whole = lay_out(form, tmp_path)[0], next(iter(form.files.values()))
    begin, slowest = len(whole) // 2, (0, b"")
    for part in PARTS:
        path.write_bytes(whole[:begin] + part * (500_000 // len(part)) + whole[begin:])
        start = time.process_time()
        with contextlib.suppress(UserError):
            answer_of(form, path)
        slowest = max(slowest, (time.process_time() - start, part))
    assert slowest[0] < 3, slowest


# ---- rows and examples ----------------------------------------------------------------------------------------------

TRAINED = [form for form in FORMS if isinstance(form.task, Task)]
OTHERS = ("the training rows have a single", "--max_seq_length 64 ")  # messages without a file
LENGTHS = {"max_seq_length": 64, "doc_stride": 8, "max_query_length": 16, "max_answer_length": 8}


def of_rows(form, tokenizer, folder):
    """Everything between a file and a prediction file. Rows that were read are examples, or left out and counted by reason."""
    examples = load_examples(form.task, form.split, form.language, str(folder))
    raw, (record,) = load_raw(form.task.source, form.split, form.language, str(folder)), examples.records
    counted = sum(record["irregular"].values()) - sum(raw.dropped.values())
    assert 0 <= record["left_out"] <= counted
    if not form.task.held_out_by:
        assert len(raw.rows) == record["rows"] + record["left_out"]
    kind, batch = form.task.type, examples.rows[:]
    lengths = {name: LENGTHS[name] for name in ("max_seq_length", *kind.lengths)}
    labels = list(form.task.labels) or sorted({tag for tags in batch.get("tags", ()) for tag in tags})
    kind.features(batch, list(range(len(examples))), tokenizer, labels, **lengths)
    kind.write(folder / "predictions", kind.constant(examples.rows, examples.rows), examples.rows)


@pytest.mark.parametrize("form", TRAINED, ids=lambda form: form.name)
def test_examples_of_a_damaged_file_are_all_there_or_refused(form, fuzz, tokenizer, tmp_path):
    """Named by the file, or by the task and the split where it is the task that finds a row wrong."""
    paths, (first, whole) = lay_out(form, tmp_path), next(iter(form.files.items()))
    of_rows(form, tokenizer, tmp_path)

    def attempt(content):
        (tmp_path / first).write_bytes(content)
        of_rows(form, tokenizer, tmp_path)

    fuzz(
        damaged(whole, times=2, values=form.values),
        attempt,
        [*paths, *form.files, *OTHERS],
    )


LEFT_OUT = {  # of the small files: what makes no example, by reason
    "mnli": {"pairs without a gold label": 2},
    "snli": {"pairs without a gold label": 2},
    "pawsx x-final": {"pairs without a gold label": 1},
    "qqp": {"lines that are broken off": 2},
    "udpos": {"words without a form": 1, "sentences without tags": 1, "sentences with at most one form": 1},
    "lareqa train": {
        "questions whose answer is not at its offset": 1,
        "questions whose answer begins in no sentence": 1,
    },
    "mewslix pairs": {"mentions that lie in no single sentence": 1},
}


@pytest.mark.parametrize("form", TRAINED, ids=lambda form: form.name)
def test_rows_of_a_file_are_examples_or_left_out_for_a_reason_that_is_recorded(form, tmp_path):
    (path, *_), expected = lay_out(form, tmp_path), LEFT_OUT.get(form.name, {})
    task = replace(form.task, held_out_by=None)
    (record,) = load_examples(task, form.split, form.language, str(tmp_path)).records
    others = record["irregular"].get("rows in another language than the file's", 0)
    assert record["irregular"] == expected | ({"rows in another language than the file's": 1} if others else {})
    if form.name == "udpos":
        assert record["rows"] + 2 == form.count(path.read_bytes())[0]
    elif form.values == "json lines" or form.name in LEFT_OUT:
        assert record["rows"] + sum(record["irregular"].values()) == form.count(path.read_bytes())


def test_a_task_of_a_users_own_that_leaves_rows_out_without_a_reason_counts_them(tmp_path):
    lay_out(FORMS[0], tmp_path)
    task = replace(FORMS[0].task, to_example=lambda row: FORMS[0].task.to_example(row) if row["label"] else None)
    (record,) = load_examples(task, "train", "en", str(tmp_path)).records
    assert record["irregular"] == {"pairs without a gold label": 2, "rows that the task leaves out": 1}
    assert (record["rows"], record["left_out"]) == (2, 1)


SEARCHED = [
    form for form in FORMS if form.name in ("tatoeba", "bucc2018", "bucc2018 archive", "lareqa", "mewslix mentions")
]
OPTIONS = {
    "languages": None,
    "max_eval_samples": None,
    "threshold": 1.0,
    "neighborhood": 4,
}


@pytest.mark.parametrize("form", SEARCHED, ids=lambda form: form.name)
def test_what_is_searched_in_is_all_there_or_refused(form, fuzz, tmp_path):
    from xstilts.retrieval import type_of

    task = TASKS[form.name.split()[0]]
    first, whole = next(iter(form.files.items()))
    for each in FORMS:
        if each.name in (form.name, "mewslix entities"):
            lay_out(each, tmp_path)
    options = SimpleNamespace(**OPTIONS, task=task.name, data_dir=str(tmp_path))
    assert type_of(task).load(task, options)[0]

    def attempt(content):
        (tmp_path / first).write_bytes(content)
        type_of(task).load(task, options)

    fuzz(damaged(whole, times=2, values=form.values), attempt, [tmp_path, *form.files])


def test_a_file_of_nothing_but_what_is_left_out_says_so(tmp_path):
    path = lay_out(FORMS[0], tmp_path)[0]
    path.write_bytes(b'{"gold_label": "-", "sentence1": "a", "sentence2": "b"}\n')
    with pytest.raises(UserError, match=rf"{path}: the file is empty; left out: 1 pairs without a gold label"):
        load_raw(FORMS[0].task.source, "train", "en", str(tmp_path))
    path.unlink()
    with pytest.raises(MissingData):
        load_raw(FORMS[0].task.source, "train", "en", str(tmp_path))
