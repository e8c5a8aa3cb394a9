"""Test rows that were trained on: what counts as the same row, the file beside a checkpoint, and counts through the scripts."""

import csv
import io
import json
import os
import shutil
import unicodedata
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import read_tsv, write_tsv
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st

import run_intermediate
import run_report
import run_retrieval
import run_target
import run_zeroshot_eval
from tasks import load_task
from xstilts.base import read_json
from xstilts.checkpoint import model_fingerprint
from xstilts.examples import Examples
from xstilts.language_codes import language_of
from xstilts.lineage import TRAINING_ROWS, zero_shot_languages
from xstilts.mlm import text_task
from xstilts.report import remarks
from xstilts.seen_rows import (
    BETWEEN,
    DEV,
    TEXTS,
    count_seen,
    count_seen_texts,
    hash_of_input,
    load_seen,
    normalized,
    save_training_rows,
    seen_in_collection,
)
from xstilts.task import Collection, Side

# ---- texts ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("The  cat\tsat. ", "the cat sat."),
        ("Straße", "STRASSE"),
        ("caf\u00e9", "CAFE\u0301"),
        ("\uff21\uff22\uff23 \u00a0\u3000x", "abc x"),  # full width, spaces that do not break
        ("ΐ", unicodedata.normalize("NFD", "ΐ").upper()),  # folding takes it apart
        ("\ufb01n", "FIN"),
        ("\u210d", "h"),  # a capital only once it is taken apart
    ],
)
def test_texts_that_are_the_same(text, same):
    assert normalized(text) == normalized(same)


@pytest.mark.parametrize(("text", "other"), [("a b", "ab"), ("a.", "a"), ("resume", "résumé"), ("1", "2"), ("", "x")])
def test_texts_that_are_not(text, other):
    assert normalized(text) != normalized(other)


@given(st.text())
def test_normalising_twice_changes_nothing_and_leaves_no_separator(text):
    found = normalized(text)
    assert normalized(found) == found
    assert BETWEEN not in found
    assert all(normalized(unicodedata.normalize(form, text)) == found for form in ("NFC", "NFD", "NFKC", "NFKD"))


def test_texts_of_an_input_do_not_run_together():
    assert len({hash_of_input(texts) for texts in [("a b",), ("a", "b"), ("b", "a"), ("a", "b", ""), (" a B",)]}) == 4


def test_hashes_stay_what_they_are():
    """They are read years later, on another machine."""
    assert hash_of_input(("The cat sat.", "It sat.")) == HASH
    assert hash_of_input(("half a \ud800 pair",))


HASH = 1875456736531765950

# ---- rows -----------------------------------------------------------------------------------------------------------


def examples(rows):
    return Examples(Dataset.from_list(rows), ())


def saved(folder, *parts, start="", fingerprint="aaaa", **more):
    """`load_seen` of a checkpoint that was trained on some rows."""
    folder.mkdir(exist_ok=True)
    save_training_rows(folder, start, fingerprint, parts, **{"dev": (), **more})
    return load_seen(folder, [{"base_model": "x"}, {"fingerprint": fingerprint}])


def trained_on(task, rows, seen):
    """How many rows are among the training rows."""
    return count_seen(task, rows, seen)["seen_in_training"]


def pair(a, b, label="neutral"):
    return {"text_a": a, "text_b": b, "label": label}


def test_a_pair_is_matched_whole_and_without_its_label(tmp_path):
    mnli = load_task("mnli")
    seen = saved(tmp_path, (mnli, examples([pair("A cat sat.", "It sat."), pair("A dog.", "")])))
    rows = [pair("a CAT  sat.", "It sat.", "entailment"), pair("A cat sat.", "It ran."), pair("It sat.", "A cat sat.")]
    assert trained_on(mnli, examples(rows), seen) == 1
    assert trained_on(mnli, examples([pair("A dog.", ""), pair("A cat sat.", "")]), seen) == 1, "premise of a pair only"
    assert trained_on(mnli, examples(rows * 2), seen) == 2, "rows, not texts"


def test_a_question_counts_with_its_context_and_a_context_with_all_of_its_choices(tmp_path):
    squad, copa = load_task("squad"), load_task("copa")
    one = {"id": "1", "question": "Who?", "context": "Ada did.", "answers": {"text": ["Ada"], "answer_start": [0]}}
    two = {"context": "It rained.", "choices": ["I got wet.", "I stayed dry."], "label": "0"}
    seen = saved(tmp_path, (squad, examples([one])), (copa, examples([two])))
    assert trained_on(squad, examples([{**one, "id": "2"}, {**one, "question": "What?"}]), seen) == 1
    turned = {**two, "choices": two["choices"][::-1], "label": "1"}
    other = {**two, "choices": ["I got wet.", "I ran."]}
    assert trained_on(copa, examples([other, turned, two, other]), seen) == 2


def test_words_of_a_sentence_are_one_text_also_where_it_was_a_line(tmp_path):
    udpos = load_task("udpos")
    sentence = {"tokens": ["She", "sings", "."], "tags": ["PRON", "VERB", "PUNCT"]}
    rows = examples([sentence, {"tokens": ["She"], "tags": ["PRON"]}])
    assert trained_on(udpos, rows, saved(tmp_path / "a", (udpos, examples([sentence])))) == 1
    assert trained_on(udpos, rows, saved(tmp_path / "b", (text_task(0.15), examples([{"text": "she sings ."}])))) == 1
    assert trained_on(udpos, rows, saved(tmp_path / "c", (text_task(0.15), examples([{"text": "she sings."}])))) == 0


def test_sentences_of_retrieval_are_looked_for_among_the_texts_of_pairs_too(tmp_path):
    lareqa = {"id": "1", "query": "Who?", "document": "Ada did.Ada did. So."}
    parts = [(load_task("mnli"), examples([pair("A cat.", "It.")])), (load_task("lareqa"), examples([lareqa]))]
    seen = saved(tmp_path, *parts)
    sides = {"en": Side(["a cat.", "Nobody.", "who?"], "query"), "de": Side(["Eine Katze.", "Niemand.", "it."])}
    collection = Collection(sides, ("de",), None, ())
    assert seen_in_collection(collection, seen) == ({"de": 3}, None)
    assert seen_in_collection(collection, None) == ({"de": None}, None)
    bucc = {**{f"dev {name}": side for name, side in sides.items()}, "test de": sides["de"], "test en": Side(["No."])}
    assert seen_in_collection(Collection(bucc, ("de",), None, ()), seen) == ({"de": 1}, None), "not dev"
    pool = Side(["Ada did.Ada did. So.", "Ada did.Another.", "Ada did."])
    ranked = Collection({"candidates": pool, "en": sides["en"], "de": sides["de"]}, ("en", "de"), None, ())
    assert seen_in_collection(ranked, seen) == ({"en": 2, "de": 1}, 1)
    assert count_seen_texts(Side(["Who?"]), {}) == 0


def test_text_that_is_only_watched_is_not_trained_on(tmp_path):
    mnli, text = load_task("mnli"), text_task(0.15)
    parts = [(mnli, examples([pair("a", "b")])), (text, examples([{"text": "c"}]))]
    mixture = {"mnli": {"steps": 3}, "mlm": {"steps": 0}}
    assert trained_on(text, parts[1][1], saved(tmp_path / "watched", *parts, mixture=mixture)) == 0
    mixture["mlm"]["steps"] = 1
    assert trained_on(text, parts[1][1], saved(tmp_path / "trained", *parts, mixture=mixture)) == 1


# ---- the file -------------------------------------------------------------------------------------------------------


def test_the_same_rows_give_the_same_bytes_and_sorted_unique_hashes(tmp_path):
    mnli, rows = load_task("mnli"), [pair(f"{n}", f"{n % 7}") for n in range(50)]
    for name, own in (("a", rows), ("b", rows), ("c", rows[::-1] + rows)):
        saved(tmp_path / name, (mnli, examples(own)))
    files = [(tmp_path / name / TRAINING_ROWS).read_bytes() for name in "abc"]
    assert files[0] == files[1] == files[2]
    with np.load(io.BytesIO(files[0]), allow_pickle=False) as arrays:
        assert {name: (len(arrays[name]), arrays[name].dtype) for name in arrays} == {
            "aaaa": (50, np.uint64),
            f"aaaa{TEXTS}": (50, np.uint64),
            f"aaaa{DEV}": (0, np.uint64),
        }
        assert all((np.diff(arrays[name].astype(object)) > 0).all() for name in arrays)
    assert os.listdir(tmp_path / "a") == [TRAINING_ROWS]


def test_rows_of_the_phases_before_are_carried_over(tmp_path):
    mnli, first, second = load_task("mnli"), pair("a", "b"), pair("c", "d")
    saved(tmp_path / "one", (mnli, examples([first])))
    (tmp_path / "two").mkdir()
    save_training_rows(tmp_path / "two", tmp_path / "one", "bbbb", [(mnli, examples([second]))], [])
    shutil.rmtree(tmp_path / "one")
    lineage = [{"base_model": "x"}, {"fingerprint": "aaaa"}, {"fingerprint": "bbbb"}]
    assert trained_on(mnli, examples([first, second, pair("e", "f")]), load_seen(tmp_path / "two", lineage)) == 2


def test_what_nobody_recorded_is_not_known(tmp_path, capsys):
    base, trained, mnli = {"base_model": "x"}, {"fingerprint": "bbbb"}, load_task("mnli")
    rows = examples([pair("a", "b")])
    assert load_seen(tmp_path, [base]) == {}, "an encoder that was trained on no task"
    assert trained_on(mnli, rows, {}) == 0
    assert load_seen(tmp_path, [{**base, "has_head": True}]) is None
    assert trained_on(mnli, rows, None) is None
    assert load_seen(tmp_path, [base, trained]) is None, "no file"
    save_training_rows(tmp_path, "", "bbbb", [(mnli, rows)], [])
    assert load_seen(tmp_path, [base, trained]) is not None
    assert load_seen(tmp_path, [base, {"fingerprint": "aaaa"}, trained]) is None, "a training before it left none"
    assert load_seen(tmp_path, [{**base, "has_head": True}, trained]) is None, "nor did somebody else's"
    whole = (tmp_path / TRAINING_ROWS).read_bytes()
    for damaged in (whole[:-40], b"", b"PK" + whole[2:90], b"\x80\x04N."):
        (tmp_path / TRAINING_ROWS).write_bytes(damaged)
        assert load_seen(tmp_path, [base, trained]) is None
        assert "training_rows.npz cannot be read" in capsys.readouterr().out


# ---- which languages are zero-shot ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("codes", "language"),
    [
        ("zh zh-CN zh_hans zho ZH cmn", "zh"),
        ("pt pt-br pt_BR por", "pt"),
        ("he iw heb", "he"),
        ("de deu de-en", "de"),
        ("no nb nn nob", "no"),
        ("qu quy quy_Latn", "qu"),
        ("qna", "qna"),
        ("yue", "yue"),
    ],
)
def test_codes_of_one_language(codes, language):
    assert {language_of(code) for code in codes.split()} == {language}


def record(*languages, **more):
    return {"task": "xnli", "languages": languages, **more}


@pytest.mark.parametrize(
    ("records", "zero_shot"),
    [
        ([], "en zh pt-br deu"),
        ([record("en")], "zh pt-br deu"),
        ([record("zh-CN"), record("en")], "pt-br deu"),
        ([record("zho", "pt"), record("en")], "deu"),
        ([record("de"), record("en")], "zh pt-br"),
        ([record("en", selected_in=["en", "de", "zh_hant"])], "pt-br"),  # an oracle's dev sets
        ([record("zh", selected_in=["en"])], "pt-br deu"),  # no selection rows in Chinese
    ],
)
def test_no_code_of_a_seen_language_is_zero_shot(records, zero_shot):
    codes = "en zh pt-br deu".split()
    assert zero_shot_languages(codes, [{"base_model": "x"}, *records]) == zero_shot.split()
    assert zero_shot_languages(codes, [{"base_model": "x", "has_head": True}, *records]) == []


def test_an_oracle_anywhere_in_a_lineage_is_marked():
    records = [
        {"phase": "target", "task": "siqa", "factors": ["selection-oracle"], "selection": "oracle"},
        {"phase": "target", "task": "xcopa", "factors": [], "selection": "english_dev"},
    ]
    base = {"base_model": "x", "fingerprint": "f"}
    run = {"phase": "eval", "task": "xcopa", "lineage": [base, *records], "split": "test"}
    (found,) = remarks([run])
    assert found.startswith(
        "siqa (selection-oracle), xcopa: the checkpoint was chosen on the target languages' own dev"
    )
    assert remarks([{**run, "lineage": [base, records[1]]}]) == []


# ---- through the scripts --------------------------------------------------------------------------------------------

SMALL = "--max_eval_samples 12 --num_train_epochs 1 --max_seq_length 96 --use_cpu --seed 5"
LINES = [f"Nobody read line {number} aloud." for number in range(40)]


@pytest.fixture(scope="module")
def chain(encoder, world, tmp_path_factory):
    """Folder of runs: MNLI with text beside it, XNLI behind it on fewer rows, and both evaluated on `planted` files; the
    intermediate run is deleted before."""
    runs = tmp_path_factory.mktemp("runs")
    text, line = runs / "text.txt", f"--data_dir {world} {SMALL}"
    text.write_text("".join(f"{each}\n" for each in LINES), encoding="utf-8")
    start = (
        f"--model_name_or_path {encoder} --output_dir {runs / 'mnli'} --max_train_samples 24 --mlm_text_files {text}"
    )
    run_intermediate.main(f"--task mnli {start} {line}".split())
    target = f"--model_name_or_path {runs / 'mnli'} --output_dir {runs / 'xnli'} --max_train_samples 14"
    run_target.main(f"--task xnli {target} {line}".split())
    shutil.rmtree(runs / "mnli")
    data = planted(Path(world), tmp_path_factory.mktemp("planted"))
    evaluate(run_zeroshot_eval.main, "xnli", runs / "xnli", data, runs / "eval", "en,qna,qfd")
    evaluate(run_retrieval.main, "tatoeba", runs / "xnli", data, runs / "tatoeba", "qna,qfd")
    run_report.main([str(runs), "--output_dir", str(runs / "report"), "--questions", "layers"])
    return runs


def evaluate(main, task, checkpoint, data, folder, languages):
    line = f"--task {task} --model_name_or_path {checkpoint} --data_dir {data} --output_dir {folder} --use_cpu"
    main(f"{line} --max_seq_length 96 --max_eval_samples 40 --languages {languages}".split())


def planted(world, folder):
    """A copy of the world in which rows of the trainings are test rows: of XNLI in `qna` four (one of the 14 of the target
    training, three of the 24 before it) and one that is in the dev set, of Tatoeba in `qfd` three sentences."""
    for path in world.iterdir():
        if path.name not in ("xnli", "tatoeba"):
            (folder / path.name).symlink_to(path)
    for name in ("xnli", "tatoeba"):
        shutil.copytree(world / name, folder / name)
    with open(world / "mnli" / "multinli_1.0_train.jsonl", encoding="utf-8") as file:
        train = [json.loads(line) for line in file]
    pairs = [(row["sentence1"], row["sentence2"], row["gold_label"]) for row in train]
    rows = read_tsv(folder / "xnli" / "test-qna.tsv")
    premise, hypothesis, label = pairs[20]
    rows[3] = [premise.upper(), hypothesis, label]
    rows[7] = [f"  {premise.replace(' ', '  ')}", hypothesis.replace("e", "\uff45"), "neutral"]
    rows[8] = list(pairs[23])
    rows[30] = list(pairs[2])
    rows[31] = list(pairs[24])  # the first row that was not used
    dev = read_tsv(folder / "xnli" / "dev-en.tsv")
    rows[34], rows[35] = [dev[0][0].upper(), dev[0][1], "neutral"], dev[13]  # the second is behind those that are read
    rows[32] = [premise, f"{hypothesis} {hypothesis}", label]
    rows[33] = [hypothesis, premise, label]
    write_tsv(folder / "xnli" / "test-qna.tsv", rows)
    for side, changes in (("qfd", {0: "NOBODY read line 7 aloud.", 5: pairs[1][0]}), ("eng", {0: pairs[0][1].lower()})):
        path = folder / "tatoeba" / f"tatoeba.qfd-eng.{side}"
        lines = path.read_text("utf-8").splitlines()
        lines = [changes.get(number, line) for number, line in enumerate(lines)]
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return folder


def test_exactly_the_planted_rows_are_counted(chain):
    found = {code: own["seen_in_training"] for code, own in read_json(chain / "eval" / "run.json")["scores"].items()}
    assert found == {"en": 0, "qna": 4, "qfd": 0}
    found = {code: own["seen_in_dev"] for code, own in read_json(chain / "eval" / "run.json")["scores"].items()}
    assert found == {"en": 0, "qna": 1, "qfd": 0}
    found = {code: own["seen_in_training"] for code, own in read_json(chain / "tatoeba" / "run.json")["scores"].items()}
    assert found == {"qna": 0, "qfd": 3}


def test_the_report_shows_them(chain):
    text = (chain / "report" / "report.md").read_text("utf-8")
    assert "| mnli (mlm1) | xnli | qna 4 of 40 | qna 1 of 40 |" in text
    assert "| mnli (mlm1) > xnli | tatoeba (layer 1) | qfd 3 |" in text
    assert "is not known" not in text
    with open(chain / "report" / "scores.csv", encoding="utf-8") as file:
        seen = {(row["target"], row["language"]): row["seen"] for row in csv.DictReader(file)}
    assert {place: float(value) for place, value in seen.items() if float(value)} == {
        ("xnli", "qna"): 4,
        ("tatoeba", "qfd"): 3,
    }


def test_a_checkpoint_is_the_same_with_and_without_the_file(chain, tmp_path, capsys):
    """Its fingerprint, and its scores; what it has seen is no longer known, and the report says so."""
    shutil.copytree(chain / "xnli", tmp_path / "xnli")
    (tmp_path / "xnli" / TRAINING_ROWS).unlink()
    assert model_fingerprint(tmp_path / "xnli") == model_fingerprint(chain / "xnli")
    data = read_json(chain / "eval" / "run.json")["arguments"]["data_dir"]
    evaluate(run_zeroshot_eval.main, "xnli", chain / "xnli", data, tmp_path / "with", "en,qna,qfd")
    printed = capsys.readouterr().out
    assert "warning: xnli: test rows that occur in the training rows behind the checkpoint: qna 4" in printed
    assert "warning: xnli: test rows that occur in the dev sets that chose the checkpoint: qna 1" in printed
    evaluate(run_zeroshot_eval.main, "xnli", tmp_path / "xnli", data, tmp_path / "eval", "en,qna,qfd")
    assert "training rows behind" not in capsys.readouterr().out
    ours, theirs = (read_json(folder / "run.json")["scores"] for folder in (tmp_path / "eval", chain / "eval"))
    assert {own.pop(name) for own in ours.values() for name in ("seen_in_training", "seen_in_dev")} == {None}
    assert ours == {code: {k: v for k, v in own.items() if "seen_in_" not in k} for code, own in theirs.items()}
    shutil.rmtree(tmp_path / "with")
    run_report.main([str(tmp_path), "--output_dir", str(tmp_path / "report"), "--questions", "layers"])
    text = (tmp_path / "report" / "report.md").read_text("utf-8")
    assert "Whether test rows were trained on is not known of all runs of xnli" in text
    assert "no test row" not in text.lower()


def test_the_file_holds_the_rows_that_were_used(chain):
    """24 pairs and the lines that were not held out; 14 pairs (the 12 rows of the dev set apart). Single texts apart."""
    lineage = read_json(chain / "xnli" / "run.json")["lineage"]
    with np.load(chain / "xnli" / TRAINING_ROWS, allow_pickle=False) as arrays:
        sizes = {name: len(arrays[name]) for name in arrays}
    first, second = (each["fingerprint"] for each in lineage[1:])
    assert sizes[first] == 24 + 38
    assert sizes[second] == 14
    assert sizes.keys() == {f"{name}{kind}" for name in (first, second) for kind in ("", TEXTS, DEV)}
    assert sizes[f"{second}{DEV}"] == 12


def test_an_untrained_encoder_has_seen_nothing(encoder, world, tmp_path):
    evaluate(run_retrieval.main, "tatoeba", encoder, world, tmp_path / "run", "qna")
    done = read_json(tmp_path / "run" / "run.json")
    assert done["scores"]["qna"]["seen_in_training"] == 0
    assert done["seen_candidates"] is None
    run_report.main([str(tmp_path), "--output_dir", str(tmp_path / "report"), "--questions", "layers"])
    text = (tmp_path / "report" / "report.md").read_text("utf-8")
    assert "No test row occurs in the training rows or the dev sets behind its checkpoint." in text


def test_an_oracle_has_no_zero_shot_languages(world, encoder, tmp_path):
    line = f"--data_dir {world} {SMALL} --max_train_samples 8 --max_eval_samples 4 --selection oracle"
    start = f"--model_name_or_path {encoder} --output_dir {tmp_path / 'run'}"
    run_target.main(f"--task xnli {start} {line}".split())
    evaluate(run_zeroshot_eval.main, "xnli", tmp_path / "run", world, tmp_path / "eval", "en,qna")
    done = read_json(tmp_path / "eval" / "run.json")
    assert done["zero_shot_languages"] == []
    assert done["averages"]["zero_shot"] is None
    assert SimpleNamespace(**done["lineage"][-1]).selected_in[:1] == ["en"]
