"""Which languages a phase reads: English from the task's teacher, others from its own files or translated ones."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from datasets import Dataset

from tasks import load_task, load_tasks
from xstilts import hub_rows
from xstilts.base import UserError
from xstilts.examples import load_examples, unseen_labels, with_labels
from xstilts.languages import (
    asked_languages,
    check_available,
    load_languages,
    load_selection,
    load_training,
    training_languages,
)
from xstilts.official_files import patterns


def of(examples, split=None):
    """[(task, language, rows)] of some examples."""
    return [(r["task"], r["language"], r["rows"]) for r in examples.records if split in (None, r["split"])]


# ---- files ----------------------------------------------------------------------------------------------------------


def test_translated_rows_lie_beside_the_official_ones():
    mnli, udpos, ccg = (load_task(name).source for name in ("mnli", "udpos", "ccg"))
    assert patterns(mnli, "train", "en") == ["mnli/multinli_1.0_train.jsonl"]
    assert patterns(mnli, "train", "sw") == ["mnli/translated/sw/multinli_1.0_train.jsonl"]
    assert patterns(udpos, "train", "sw") == ["ud/UD_*/sw_*-ud-train*.conllu"]
    assert patterns(ccg, "train", "sw")[-1] == "ccg/translated/sw/*/*-train.auto"


def test_languages_with_training_rows(world):
    derived = ["qfa", "qfb", "qfc", "qfd", "qma", "qmb", "qmc", "qmd", "qna", "qnb", "qnc", "qnd"]
    assert training_languages(load_task("mnli"), world) == ["en", *derived]
    assert training_languages(load_task("udpos"), world) == ["en", "qfa", "qfb", "qma", "qmb", "qna", "qnb"]
    assert training_languages(load_task("copa"), world) == ["en"]
    assert training_languages(load_task("anli_plus"), world) == ["en"], "mnli is translated, its other parts are not"
    assert training_languages(load_task("xnli"), None) == ["en", *sorted({*load_task("xnli").languages} - {"en"})]
    assert training_languages(load_task("mnli"), None) == ["en"]


def test_english_rows_come_from_the_teacher_and_others_from_the_task(world, tmp_path):
    """XNLI's machine-translated training sets; without them, translated files of MultiNLI."""
    xnli = load_task("xnli")
    assert of(load_training(xnli, "en,qna", world, 5)) == [("mnli", "en", 5), ("mnli", "qna", 5)]
    shutil.copytree(Path(world, "mnli"), tmp_path / "mnli")
    folder = tmp_path / "xnli" / "XNLI-MT-1.0" / "multinli"
    folder.mkdir(parents=True)
    lines = ["premise\thypo\tlabel", "Er sitzt .\tJemand sitzt .\tentailment", "Er sitzt .\tEr rennt .\tcontradictory"]
    (folder / "multinli.train.de.tsv").write_text("".join(f"{line}\n" for line in lines))
    examples = load_training(xnli, "en,de", str(tmp_path), 5)
    assert of(examples) == [("mnli", "en", 5), ("xnli", "de", 2)]
    assert examples.languages == ["en", "de"]
    assert examples.rows["label"][-2:] == ["entailment", "contradiction"]


def test_selection_follows_the_languages_and_says_what_is_missing(world, capsys):
    udpos = load_task("udpos")
    assert of(load_selection(udpos, "en,qna", world, 7)) == [("udpos", "en", 7), ("udpos", "qna", 7)]
    assert of(load_selection(load_task("mnli"), "qna,qnb", world, 7)) == [("mnli", "en", 7)]
    said = capsys.readouterr().out
    assert "mnli: no selection rows in qna, qnb; the checkpoint is selected in English" in said
    assert of(load_selection(load_task("xnli"), "qna", world, 7)) == [("xnli", "qna", 7)]


def with_splits(name, *splits, **fields):
    """A task that declares no other splits than these."""
    task = load_task(name)
    declared = {split: place for split, place in task.source.splits.items() if split in splits}
    return replace(task, source=replace(task.source, splits=declared), **fields)


PAIRS = [
    {"gold_label": "neutral", "sentence1": text, "sentence2": "x", "pairID": text} for text in "a b c d e f g h".split()
]


@pytest.fixture
def pairs(write, tmp_path):
    """A folder with eight training rows of MultiNLI, and a test row of XNLI."""
    for split in ("train", "dev_matched"):
        write("".join(json.dumps(row) + "\n" for row in PAIRS), f"mnli/multinli_1.0_{split}.jsonl")
    write("a\tb\tneutral\n", "xnli/test-sw.tsv")
    return str(tmp_path)


def test_a_task_without_selection_rows_says_what_to_declare(pairs):
    task = with_splits("mnli", "train")
    assert of(load_training(task, "en", pairs)) == [("mnli", "en", 8)]
    for languages in ("en", "sw", "all"):
        with pytest.raises(UserError, match=r"mnli has no rows to select .*split in tasks/mnli\.py, or `held_out_by`"):
            load_selection(task, languages, pairs)
    assert of(load_selection(replace(task, held_out_by="premise"), "en", pairs)) == [("mnli", "en", 1)]
    xnli = with_splits("xnli", "test")
    assert of(load_selection(xnli, "en", pairs)) == [("mnli", "en", 8)]
    with pytest.raises(UserError, match="xnli has no rows to select"):
        load_selection(replace(xnli, train_on=task), "en", pairs)


@pytest.mark.parametrize("languages", ["en", "sw", "all"])
def test_a_task_without_training_rows_says_that_it_can_only_be_evaluated(languages, pairs):
    task = with_splits("xnli", "test", train_on=None)
    with pytest.raises(UserError, match=r"xnli can only be evaluated: tasks/xnli\.py declares no train split, and no"):
        load_training(task, languages, pairs)
    with pytest.raises(UserError, match="xnli has no rows to select"):
        load_selection(task, languages, pairs)
    assert "sw" in load_languages(task, "test", "sw", pairs)[0]


def test_translated_files_are_found_whatever_their_pattern(world, tmp_path):
    """ANLI's rounds are R[123], CCGbank's sections 0[0-9]."""
    for round_ in ("R1", "R2"):
        shutil.copytree(Path(world, "anli", round_), tmp_path / "anli" / round_)
        shutil.copytree(Path(world, "anli", round_), tmp_path / "anli" / "translated" / "qna" / round_)
    assert training_languages(load_task("anli"), str(tmp_path)) == ["en", "qna"]


def test_samples_are_counted_per_language(world):
    examples = load_training(load_task("mnli"), "en,qfa", world, 9)
    assert of(examples) == [("mnli", "en", 9), ("mnli", "qfa", 9)]
    assert len(examples) == 18


def test_a_language_is_named_once():
    with pytest.raises(UserError, match="names 'de' twice"):
        asked_languages(load_task("mnli"), "de,sw,de", None)


def test_a_missing_language_lists_those_that_are_there(world):
    with pytest.raises(UserError, match=r"udpos has no training rows in 'de'; it has en, qfa, qfb, qma"):
        load_training(load_task("udpos"), "en,de", world)


def test_an_empty_folder_has_no_languages(tmp_path):
    with pytest.raises(UserError, match="--languages all: mnli has no training rows in any language"):
        load_training(load_task("mnli"), "all", str(tmp_path))


# ---- the hub --------------------------------------------------------------------------------------------------------


@pytest.fixture
def hub(monkeypatch):
    """Calls to the hub, which has three rows of everything but Thai."""
    calls = []

    def load_dataset(name, config, split, revision):
        calls.append((name, config, split))
        if config in ("th", "udpos.Thai"):
            raise ValueError(f'Unknown split "{split}". Should be one of ["test"].')
        if name == "google/xtreme":
            features = load_task("udpos").source.features
            return Dataset.from_list([{"tokens": ["a"], "pos_tags": [7]}] * 3, features=features)
        features = load_task("xnli").source.features if name == "facebook/xnli" else load_task("mnli").source.features
        row = {"premise": "a", "hypothesis": "b", "label": 0} | ({"idx": 1} if "idx" in features else {})
        return Dataset.from_list([row] * 3, features=features)

    monkeypatch.setattr(hub_rows, "load_dataset", load_dataset)
    return calls


def test_the_hub_is_asked_for_the_languages_it_has(hub, capsys):
    examples = load_training(load_task("xnli"), "en,de", max_samples=2)
    assert of(examples) == [("mnli", "en", 2), ("xnli", "de", 2)]
    assert hub == [("nyu-mll/glue", "mnli", "train"), ("facebook/xnli", "de", "train")]
    assert load_training(load_task("xnli"), "all", max_samples=1).languages == [
        code for code in training_languages(load_task("xnli"), None) if code != "th"
    ]
    assert "no training rows in 'th'" in capsys.readouterr().out


def test_what_is_not_on_the_hub_is_said_before_anything_is_fetched(hub):
    with pytest.raises(UserError, match=r"ccg is not on the hub: give --data_dir .*AUTO.*--task all-ccg"):
        check_available(load_tasks("all"), None)
    with pytest.raises(UserError, match=r"ccg is not on the hub: .*\.auto$"):
        check_available(load_tasks("ccg"), None)
    check_available(load_tasks("all-ccg"), None)
    check_available(load_tasks("all"), "DIR")
    assert hub == []


def test_what_the_hub_has_in_english_only(hub):
    with pytest.raises(UserError, match=r"mnli has no training rows in 'de'; it has en"):
        load_training(load_task("mnli"), "de")
    assert hub == []


# ---- unions, rows that are left out, labels that are found ----------------------------------------------------------


def test_parts_give_their_shares(official):
    """Of ANLI+, --max_train_samples takes from every part what its size is of the whole."""
    whole = load_examples(load_task("anli_plus"), "train", "en", official)
    some = load_examples(load_task("anli_plus"), "train", "en", official, 100)
    assert len(some) == 100
    sizes = {record["task"]: record["rows"] + record["left_out"] for record in whole.records}
    for record in some.records:
        assert record["rows"] == pytest.approx(100 * sizes[record["task"]] / sum(sizes.values()), abs=1)
    left_out = {record["task"]: record["left_out"] for record in whole.records}
    assert left_out == {"mnli": 0, "snli": 4, "anli": 0}


def test_the_published_size_is_checked_without_what_is_left_out(official, capsys):
    load_examples(load_task("anli_plus"), "validation", "en", official)
    assert "rows here; 22,857 are published" in capsys.readouterr().out


def test_a_union_is_evaluated_in_the_languages_of_all_parts(official):
    found, _ = load_languages(load_task("anli_plus"), "validation", data_dir=official, max_samples=9)
    assert {language: len(examples) for language, examples in found.items()} == {"en": 9}


def test_labels_come_from_the_training_rows(official):
    ccg = load_task("ccg")
    train, dev = (load_examples(ccg, split, "en", official) for split in ("train", "validation"))
    labelled = with_labels(ccg, train)
    assert len(labelled.labels) == 275
    assert labelled.labels == tuple(sorted(labelled.labels))
    unseen = unseen_labels(labelled, dev)
    assert unseen
    assert not {*unseen} & {*labelled.labels}
    assert sum(unseen.values()) == sum(tag in unseen for tags in dev.rows["tags"] for tag in tags)
    assert with_labels(load_task("mnli"), train) is load_task("mnli")
