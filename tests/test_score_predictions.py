"""XTREME and XTREME-R as data, and submission folders: whole, with gaps, and damaged."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, SHARED

import score_predictions
from tasks import load_task, task_names
from xstilts.base import UserError
from xstilts.submission import FORMATS
from xstilts.task import RetrievalTask, Task
from xstilts.xtreme import BENCHMARKS, averages, languages_of, task_averages, tasks_of

# ---- the benchmarks -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("benchmark", "sizes"),
    [
        (
            "xtreme",
            {"xnli": 15, "pawsx": 7, "udpos": 33, "panx": 40, "xquad": 11, "mlqa": 7, "tydiqa": 9, "bucc2018": 4, "tatoeba": 36},
        ),
        (
            "xtreme-r",
            {
                "xnli": 15, "xcopa": 11, "udpos": 38, "panx": 48, "xquad": 12, "mlqa": 7, "tydiqa": 9, "tatoeba": 41,
                "mewslix": 11, "lareqa": 11,
            },
        ),
    ],
)  # fmt: skip
def test_numbers_of_languages(benchmark, sizes):
    assert {task: len({*languages_of(benchmark, task)}) for task in tasks_of(benchmark)} == sizes
    assert all(len(each.languages) == sizes[task] for task, each in tasks_of(benchmark).items())


def test_what_xtreme_r_adds():
    added = {
        task: {*each.languages} - {*languages_of("xtreme", task)}
        for task, each in tasks_of("xtreme-r").items()
        if task in tasks_of("xtreme")
    }
    udpos, panx = "lt pl uk wo ro", "qu pl uk az lt pa gu ro"
    expected = {"udpos": udpos, "panx": panx, "tatoeba": "az lt pl uk ro", "xquad": "ro"}
    assert {task: codes for task, codes in added.items() if codes} == {
        task: {*codes.split()} for task, codes in expected.items()
    }


@pytest.mark.parametrize("benchmark", BENCHMARKS)
def test_a_declared_task_has_the_languages_of_the_benchmarks(benchmark):
    """A task file may have more (English for BUCC), never fewer."""
    for name in {*tasks_of(benchmark)} & {*task_names()}:
        declared = {*load_task(name, (Task, RetrievalTask)).languages}
        assert {*languages_of(benchmark, name)} - declared == set(), name


def test_unknown_names():
    with pytest.raises(UserError, match="benchmark 'glue' is not one of xtreme, xtreme-r"):
        tasks_of("glue")
    with pytest.raises(UserError, match="xtreme has no task 'xcopa'; it has pawsx, xnli"):
        languages_of("xtreme", "xcopa")


def complete(benchmark, value=lambda task, number: 50.0):
    """Scores of every language of every task."""
    return {
        task: {
            code: dict.fromkeys((*each.metrics, "another"), value(task, number))
            for number, code in enumerate(each.languages)
        }
        for task, each in tasks_of(benchmark).items()
    }


def test_the_overall_score_is_over_tasks_and_not_over_groups():
    scores = complete("xtreme", lambda task, number: 100.0 if task == "tatoeba" else 10.0)
    for code, own in scores["mlqa"].items():
        own["f1"] = 40.0 if code == "en" else 20.0
    found = averages("xtreme", scores)
    mlqa = (10 + (40 + 6 * 20) / 7) / 2  # mean over the languages first, of exact match and of F1
    assert found["tasks"]["mlqa"]["avg_metric"] == pytest.approx(mlqa)
    groups = {"classification": 10, "tagging": 10, "qa": (20 + mlqa) / 3, "retrieval": 55}
    assert found["groups"] == pytest.approx(groups)
    assert found["all_task"] == pytest.approx((7 * 10 + mlqa + 100) / 9)
    assert found["missing_tasks"] == []
    assert found["mean_of_available"] == found["all_task"]


def test_a_missing_language_leaves_no_average_under_the_benchmarks_name():
    scores = complete("xtreme", lambda task, number: float(number))
    del scores["xnli"]["zh"], scores["bucc2018"]
    found = averages("xtreme", scores)
    xnli = found["tasks"]["xnli"]
    assert (xnli["avg_accuracy"], xnli["avg_another"], xnli["avg_metric"]) == (None, None, None)
    assert xnli["missing_languages"] == ["zh"]
    assert xnli["mean_of_available"] == {"accuracy": 6.5, "another": 6.5, "metric": 6.5}
    bucc = {"avg_f1": None, "avg_metric": None, "mean_of_available": {}, "missing_languages": ["de", "fr", "ru", "zh"]}
    assert found["tasks"]["bucc2018"] == bucc
    assert found["all_task"] is None
    assert found["missing_tasks"] == ["xnli", "bucc2018"]
    assert {group for group, mean in found["groups"].items() if mean is None} == {"classification", "retrieval"}
    tasks = [each["mean_of_available"]["metric"] for each in found["tasks"].values() if each["mean_of_available"]]
    assert found["mean_of_available"] == pytest.approx(sum(tasks) / 8)


def test_languages_that_the_benchmark_lacks_do_not_count():
    scores = complete("xtreme")["xquad"]
    scores["ro"] = dict.fromkeys(scores["en"], 0.0)
    assert task_averages("xtreme", "xquad", scores)["avg_metric"] == 50
    assert task_averages("xtreme-r", "xquad", scores)["avg_metric"] == pytest.approx(50 * 11 / 12)


def test_nothing_at_all_has_no_average():
    found = averages("xtreme-r", {})
    assert (found["all_task"], found["mean_of_available"]) == (None, None)
    assert set(found["groups"].values()) == {None}


# ---- the benchmark's mock submission --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mock():
    """The benchmark's own mock submission."""
    folder = SHARED / "xtreme_mock"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there (XTREME's mock submission)")
    return folder


def scored(folder, tmp_path, benchmark="xtreme"):
    """What the script writes for the submission in a folder."""
    path = tmp_path / "out" / "scores.json"
    path.unlink(missing_ok=True)
    arguments = ["--predictions", str(folder / "predictions"), "--labels", str(folder / "labels")]
    try:
        score_predictions.main([*arguments, "--benchmark", benchmark, "--output_file", str(path)])
    except UserError as error:  # a file is damaged: said last, after the rest is scored
        if not path.exists():
            raise
        return {**json.loads(path.read_text("utf-8")), "error": str(error)}
    return json.loads(path.read_text("utf-8"))


@pytest.mark.parametrize("benchmark", BENCHMARKS)
def test_every_value_of_the_benchmarks_own_test(benchmark, mock, tmp_path, capsys):
    expected = json.loads((mock / "expected.json").read_text("utf-8"))[benchmark]
    found = scored(mock, tmp_path, benchmark)
    values = {task: {name: found["tasks"][task][name] for name in names} for task, names in expected.items()}
    for task, names in expected.items():
        assert values[task] == pytest.approx(names, abs=1e-9), task
    printed = capsys.readouterr().out
    if benchmark == "xtreme-r":
        assert (found["all_task"], found["groups"]["qa"]) == (None, None)
        assert found["tasks"]["xquad"]["missing_languages"] == ["ro"]
        assert {"xcopa", "lareqa", "udpos", "panx", "tatoeba", "xquad"} == {*found["missing_tasks"]}
        assert "xcopa: there are no predictions" in found["notes"]
        assert "* a mean over what is there" in printed
        return
    assert found["tasks"]["udpos"]["avg_f1_seqeval_raw"] == pytest.approx(70.398058107, abs=1e-8)
    scores = {task: sum(names.values()) / len(names) for task, names in expected.items()}  # QA: (EM + F1) / 2
    scores |= {task: expected[task]["avg_f1"] for task in ("panx", "udpos", "bucc2018")}
    assert found["all_task"] == pytest.approx(sum(scores.values()) / 9, abs=1e-9)
    assert found["groups"]["qa"] == pytest.approx(
        sum(scores[task] for task in ("xquad", "mlqa", "tydiqa")) / 3, abs=1e-9
    )
    assert (found["notes"], [*found["other_tasks"]]) == ([], ["mewslix"])  # XTREME-R's: scored, in no average
    assert ["all", "tasks", f"{found['all_task']:.1f}"] in [line.split() for line in printed.split("\n")]
    assert "*" not in printed


# ---- a submission of ours -------------------------------------------------------------------------------------------


def squad_file(questions):
    """{id: answers} in SQuAD's JSON."""
    rows = [
        {"id": id, "question": "?", "answers": [{"text": text, "answer_start": 0} for text in answers]}
        for id, answers in questions.items()
    ]
    return json.dumps({"data": [{"title": "", "paragraphs": [{"context": "", "qas": rows}]}]})


PREDICTIONS = {
    "xnli/test-de.tsv": "neutral\nneutral\nentailment\n",
    "xnli/test-en.tsv": "neutral\nneutral\nneutral\n",
    "udpos/test-de.tsv": "DET\nNOUN\n",
    "tatoeba/test-de.tsv": "1\n1\n",
    "panx/test-de.tsv": "B-PER\nO\n\nB-LOC\n",
    "xquad/test-de.json": json.dumps({"1": "Hund", "2": "Katze"}),
    "mlqa/test-zh.json": json.dumps({"1": "北山"}),
    "bucc2018/test-de.tsv": "de-1\ten-1\nde-2\ten-3\n",
    "xcopa/test-et.jsonl": '{"label": 0}\n{"label": 1}\n',
    "xcopa/test-th.tsv": "0\n1\n",
    "mewslix/test-de.json": json.dumps({"m1": ["Q2", "Q1"], "m2": ["Q3"]}),
    "lareqa/test-de.json": json.dumps({"q1": ["a", "x", "b"]}),
}
LABELS = {
    "xnli/test-de.tsv": "neutral\ncontradiction\nentailment\n",
    "xnli/test-en.tsv": "neutral\ncontradiction\nentailment\n",
    "udpos/test-de.tsv": "DET\nX\n",
    "tatoeba/test-de.tsv": "0\n1\n",
    "panx/test-de.tsv": "B-PER\nO\n\nB-ORG\n",
    "xquad/test-de.json": squad_file({"1": ["der Hund", "Hund"], "2": ["die Maus"]}),
    "mlqa/test-zh.json": squad_file({"1": ["北山。"]}),
    "bucc2018/test-de.tsv": "de-1\ten-1\nde-2\ten-2\n",
    "xcopa/test-et.jsonl": '{"premise": "Miks?", "label": 0}\n{"label": 1}\n',
    "xcopa/test-th.jsonl": '{"label": 1}\n{"label": 1}\n',
    "mewslix/test-de.json": json.dumps({"m1": [" Q1 ", "Q2"], "m2": ["Q4"]}),  # the first is the right one
    "lareqa/test-de.json": json.dumps({"q1": ["a", "b"]}),
}
SCORES = {
    "xtreme": {
        "xnli": {"de": {"accuracy": 200 / 3}, "en": {"accuracy": 100 / 3}},
        "panx": {"de": {"f1": 50, "precision": 50, "recall": 50}},
        "udpos": {"de": {"f1": 50, "precision": 50, "recall": 50, "f1_seqeval_raw": 200 / 3, "accuracy": 50}},
        "tatoeba": {"de": {"accuracy": 50}},
        "xquad": {"de": {"f1": 50, "exact_match": 50, "f1_em_mean": 50, "f1_char": 100 * (1 + 2 * 2 / (5 + 7)) / 2}},
        "mlqa": {"zh": {"f1": 100, "exact_match": 100, "f1_em_mean": 100}},
        "bucc2018": {"de": {"f1": 50, "precision": 50, "recall": 50}},
    },
    "xtreme-r": {
        "xcopa": {"et": {"accuracy": 100}, "th": {"accuracy": 50}},
        "mewslix": {"de": {"map@20": 25}},
        "lareqa": {"de": {"map@20": 100 * (1 + 2 / 3) / 2}},
    },
}


@pytest.fixture
def submission(tmp_path):
    """A small submission with its labels."""
    for side, files in (("predictions", PREDICTIONS), ("labels", LABELS)):
        for name, content in files.items():
            write(tmp_path / side / name, content)
    return tmp_path


def write(path, content):
    """A file of exactly these bytes, or of this text."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def scores_of(found):
    """The scores in a scores.json, tasks without any left out."""
    return {task: each["scores"] for task, each in found["tasks"].items() if each["scores"]}


@pytest.mark.parametrize("benchmark", BENCHMARKS)
def test_scores_by_hand(benchmark, submission, tmp_path):
    found = scores_of(scored(submission, tmp_path, benchmark))
    expected = {task: codes for each in SCORES.values() for task, codes in each.items() if task in tasks_of(benchmark)}
    flat = {(task, code): own for task, codes in expected.items() for code, own in codes.items()}
    for (task, code), own in flat.items():
        assert found[task][code] == pytest.approx(own), (task, code)
    assert {task: set(codes) for task, codes in found.items()} == {task: set(codes) for task, codes in expected.items()}


def test_gold_labels_without_an_entity_are_noted():
    scores, notes = FORMATS["panx"].score([(1, ["O"]), (3, ["O"])], [(1, ["O"]), (3, ["O"])], "sw")
    assert (scores["f1"], notes) == (0, ["no entities in the gold: F1 is 0 whatever is predicted"])
    assert FORMATS["panx"].score([(1, ["O"])], [(1, ["B-LOC"])], "sw")[1] == []
    assert FORMATS["udpos"].score([(1, ["X"])], [(1, ["X"])], "sw")[1] == []


SAME = {
    "CR LF": (lambda content: content.replace("\n", "\r\n")),
    "byte-order mark": (lambda content: "\ufeff" + content),
    "empty lines at the end": (lambda content: content + "\n\n"),
    "no newline at the end": (lambda content: content.rstrip("\n")),
}


@pytest.mark.parametrize("change", SAME)
@pytest.mark.parametrize("side", ["predictions", "labels"])
def test_the_same_in_other_words(change, side, submission, tmp_path):
    """Line ends, byte-order marks and empty lines at the end change no score, on either side."""
    before = scored(submission, tmp_path)
    for name, content in {"predictions": PREDICTIONS, "labels": LABELS}[side].items():
        write(submission / side / name, SAME[change](content))
    after = scored(submission, tmp_path)
    assert {**after, "notes": []} == {**before, "notes": []}
    assert len(after["notes"]) == len(before["notes"])


def test_sentences_may_be_far_apart(submission, tmp_path):
    write(submission / "predictions" / "panx/test-de.tsv", "\nB-PER\nO\n\n \n\nB-LOC")
    assert scored(submission, tmp_path)["tasks"]["panx"]["scores"]["de"]["f1"] == 50


P, L = "predictions/", "labels/"
STRIPPED = "XTREME's own download leaves test labels out, take the dataset's official file"
XNLI, PANX, XQUAD = "xnli/test-de.tsv", "panx/test-de.tsv", "xquad/test-de.json"
NOT_SCORED = [  # file, content, what is said of the language; {} is the path of the file, ~ what is said of stripped labels
    (P + XNLI, "neutral\nneutral\n", "2 predictions for 3 labels"),
    (P + XNLI, "", "0 predictions for 3 labels"),
    (P + XNLI, "neutral\n\nentailment\n", "{}, line 2: '' is not a label^contradiction, entailment, neutral)"),
    (P + XNLI, "neutral\nhapy\nentailment\n", "{}, line 2: 'hapy' is not a label^contradiction, entailment, neutral)"),
    (P + XNLI, "0\n1\n2\n", "{}, line 1: '0' is not a label^contradiction, entailment, neutral)"),
    (P + "tatoeba/test-de.tsv", "1\none\n", "{}, line 2: 'one' is not a label"),
    (P + "xcopa/test-th.tsv", "1\n2\n", "{}, line 2: '2' is not a label^0, 1)"),
    (P + PANX, "B-PER\nB-MISC\n", "{}, line 2: 'B-MISC' is not a label^B-LOC, B-ORG, B-PER, I-LOC, I-ORG, I-PER, O)"),
    (P + XNLI, b"neutral\nneut\xff\n", "{}, line 2: not UTF-8 (byte 12)"),
    (P + XNLI, b"\xef\xbb\xbfneutral\nneut\xff\n", "{}, line 2: not UTF-8 (byte 15)"),
    (P + XNLI, "0\tneutral\n", "{}, line 1: '0\\tneutral' is not a label^contradiction, entailment, neutral)"),
    (L + XNLI, "Ein Hund\n", "{}, line 1: 'Ein Hund' is not a label~"),
    (
        L + XNLI,
        "Ein Hund\tSo\tneutral\n",
        "{}, line 1: 'Ein Hund\\tSo\\tneutral' is not a label but a row of 3 columns|",
    ),
    (L + PANX, "Ein\tO\nHund\tO\n", "{}, line 1: 'Ein\\tO' is not a label but a row of 2 columns|"),
    (L + XNLI, "\n", "{} holds no labels~"),
    (P + "xcopa/test-et.jsonl", '{"label": 0}\n{"label": \n', "{}, line 2: not valid JSON (Expecting value)"),
    (L + "xcopa/test-et.jsonl", '{"label": 0}\n{"x": 1}\n', "{}, line 2: '' is not a label~"),
    (P + PANX, "B-PER\nO\n\nB-LOC\nO\n", "sentence 2 (line 4 of the predictions): 2 tags for 1 words"),
    (P + PANX, "B-PER\nO\nB-LOC\n", "1 predictions for 2 sentences"),
    (P + PANX, "B-PER\nO O\n", "{}, line 2: 'O O' is not a label^B-LOC, B-ORG, B-PER, I-LOC, I-ORG, I-PER, O)"),
    (L + PANX, "O\nHund\n", "{}, line 2: 'Hund' is not a label~"),
    (L + "udpos/test-de.tsv", "DET\nHund\n", "{}, line 2: 'Hund' is not a label~"),
    (L + "tatoeba/test-de.tsv", "0\nHund\n", "{}, line 2: 'Hund' is not a label~"),
    (P + XQUAD, '{\n "1": "Hund",\n "2" "x"}', "{}, line 3: not valid JSON (Expecting ':' delimiter)"),
    (P + XQUAD, b'{"1":\n "\xe4"}', "{}, line 2: not UTF-8 (byte 8)"),
    (P + XQUAD, "[]", "{}, line 1: not a JSON object"),
    (P + XQUAD, '{"1": ["Hund"]}', "{}: '1' has ['Hund'], not an answer as text"),
    (
        L + XQUAD,
        squad_file({"1": ["Hund"], "2": [""]}),
        "question 2 has no reference answer, so nothing can be scored~",
    ),
    (L + XQUAD, '{"data": [{}]}', "{}: not SQuAD JSON ('data[0]' has no 'paragraphs')"),
    (L + XQUAD, '{"data": []}', "{} holds no labels~"),
    (P + "bucc2018/test-de.tsv", "de-1\ten-1\nde-2 en-2\n", "{}, line 2: 'de-2 en-2' is not a label"),
    (P + "mewslix/test-de.json", '{"m1": "Q1"}', "{}: 'm1' has 'Q1', not a list of ids"),
    (L + "mewslix/test-de.json", '{"m1": []}', "query m1 has no right id~"),
]


def change(submission, path, content):
    """(scores.json before a file has this content, or is gone; scores.json after; the new notes)."""
    path = submission / path
    benchmark = "xtreme-r" if path.parent.name in tasks_of("xtreme-r") else "xtreme"
    before = scored(submission, submission, benchmark)
    path.unlink(missing_ok=True)
    if content is not None:
        write(path, content)
    after = scored(submission, submission, benchmark)
    return before, after, [note for note in after["notes"] if note not in before["notes"]]


@pytest.mark.parametrize(("path", "content", "note"), NOT_SCORED)
def test_damage_is_named_and_the_rest_scored(path, content, note, submission):
    before, after, new = change(submission, path, content)
    stripped = "~" in note
    note = note.replace("{}", str(submission / path)).replace("~", f"; {STRIPPED}").replace("^", " of this task (")
    note = note.replace("|", "; --labels takes the gold labels alone, one a line")
    task, language = Path(path).parent.name, Path(path).stem[-2:]
    assert new == [f"{task} {language}: not scored: {note}"]
    assert after.get("error") == (None if stripped else new[0])  # labels that nobody has are no damage
    assert language in after["tasks"][task]["missing_languages"]
    del before["tasks"][task]["scores"][language]
    assert scores_of(after) == scores_of(before)


@pytest.mark.parametrize("side", ["predictions", "labels"])
def test_a_gap_is_named_and_the_rest_scored(side, submission):
    before, after, new = change(submission, f"{side}/{XNLI}", None)
    path = f"{submission / side}/xnli"
    gap = f"xnli: {path} has no file for ar bg de el es "
    assert len([note for note in new if note.startswith(gap)]) == 1
    del before["tasks"]["xnli"]["scores"]["de"]
    assert scores_of(after) == scores_of(before)
    shutil.rmtree(path)
    assert f"xnli: there are no {side}" in scored(submission, submission)["notes"]


@pytest.mark.parametrize(
    ("path", "content", "note"),
    [
        (P + XQUAD, '{"1": "Hund"}', "xquad de: 1 of 2 have no prediction and score 0, e.g. 2"),
        (P + XQUAD, '{"1": "", "2": "", "9": "", "8": ""}', "xquad de: 2 predictions are for unknown ids, e.g. 8"),
        (P + "mewslix/test-de.json", '{"m1": ["Q1"]}', "mewslix de: 1 of 2 have no prediction and score 0, e.g. m2"),
        (P + "xnli/test_fr.tsv", "0\n", "xnli: not read: test_fr.tsv in {}"),
    ],
)
def test_what_is_odd_is_scored_and_noted(path, content, note, submission):
    before, after, new = change(submission, path, content)
    assert new == [note.replace("{}", str(submission / "predictions" / "xnli"))]
    assert {task: {*codes} for task, codes in scores_of(after).items()} == {
        task: {*codes} for task, codes in scores_of(before).items()
    }


def test_a_folder_that_is_no_task_is_noted(submission):
    write(submission / "labels" / "nli/test-de.tsv", "0\n")
    *_, new = change(submission, P + "nli/test-de.tsv", "0\n")
    assert new == ["nli: not scored, as there is no tasks/nli.py"]


def test_what_the_benchmark_lacks_is_scored_outside_of_its_averages(submission, capsys):
    before = scored(submission, submission)
    for side, labels in (("predictions", "neutral\nneutral\n"), ("labels", "neutral\nentailment\n")):
        write(submission / side / "xnli/test-quy_Latn.tsv", labels)
        write(submission / side / "snli/test-en.tsv", labels)  # a task of ours, and of no benchmark
        write(submission / side / "anli/test-en.tsv", "entailment\nhapy\n" if side == "predictions" else labels)
    capsys.readouterr()
    after = scored(submission, submission)
    lines = [line.split() for line in capsys.readouterr().out.split("\n")]
    assert after["tasks"]["xnli"]["scores"]["quy_Latn"] == {"accuracy": 50}
    assert (after["other_tasks"]["snli"], after["other_tasks"]["anli"]) == ({"en": {"accuracy": 50}}, {})
    assert "anli/test-en.tsv, line 2: 'hapy' is not a label of this task" in after["error"]
    del after["tasks"]["xnli"]["scores"]["quy_Latn"]
    assert after["tasks"] == before["tasks"]
    assert ["xnli", "quy_Latn", "50.0"] in lines[lines.index(["outside", "of", "xtreme:"]) :]
    assert ["snli", "en", "accuracy", "50.0"] in lines


def test_the_last_line_gives_the_reason_that_held(submission):
    for side in ("predictions", "labels"):
        for folder in (submission / side).iterdir():
            if folder.name != "xnli":
                shutil.rmtree(folder)
        (submission / side / "xnli/test-en.tsv").unlink()
    write(submission / P / XNLI, "neutral\n" * 398)
    write(submission / L / XNLI, "neutral\nentailment\nneutral\n" * 133)
    with pytest.raises(UserError, match="nothing could be scored; xnli de: not scored: 398 predictions for 399 labels"):
        scored(submission, submission)


def test_a_question_without_a_prediction_scores_0(submission, tmp_path):
    write(submission / "labels" / "xquad/test-de.json", squad_file({"1": ["Hund"], "2": ["..."]}))
    write(submission / "predictions" / "xquad/test-de.json", '{"1": "Hund"}')
    assert scored(submission, tmp_path)["tasks"]["xquad"]["scores"]["de"]["exact_match"] == 50


def test_an_empty_set_of_pairs_is_a_submission(submission, tmp_path):
    write(submission / "predictions" / "bucc2018/test-de.tsv", "")
    found = scored(submission, tmp_path)["tasks"]["bucc2018"]["scores"]["de"]
    assert found == {"f1": 0, "precision": 0, "recall": 0}


def test_placeholders_are_not_scored(submission, tmp_path):
    """XTREME's stripped tests: one label, over and over."""
    for side, label in (("predictions", "neutral\nentailment\n"), ("labels", "neutral\nneutral\n")):
        write(submission / side / "xnli/test-de.tsv", label * 60)
    found = scored(submission, tmp_path)
    assert (
        f"xnli de: not scored: all 120 gold labels are 'neutral': they are placeholders; {STRIPPED}" in found["notes"]
    )
    assert set(found["tasks"]["xnli"]["scores"]) == {"en"}


def test_several_folders_of_predictions(submission, tmp_path):
    """Every run of run_zeroshot_eval.py has a folder of its own."""
    for task in ("xnli", "panx"):
        (submission / task).mkdir()
        shutil.move(submission / "predictions" / task, submission / task / task)
    folders = [str(submission / name) for name in ("predictions", "xnli", "panx")]
    arguments = ["--labels", str(submission / "labels"), "--output_file", str(tmp_path / "scores.json")]
    score_predictions.main(["--predictions", *folders, *arguments])
    found = json.loads((tmp_path / "scores.json").read_text("utf-8"))
    assert {*scores_of(found)} == {*SCORES["xtreme"]}
    shutil.copytree(submission / "xnli" / "xnli", submission / "panx" / "xnli")
    with pytest.raises(UserError, match=r"xnli/xnli and .*panx/xnli both have xnli"):
        score_predictions.main(["--predictions", *folders, *arguments])


def test_without_anything_to_score_the_exit_code_is_2(submission):
    (submission / "nothing").mkdir()
    path = submission / "scores.json"
    command = [sys.executable, str(ROOT / "score_predictions.py"), "--output_file", str(path), "--predictions"]
    done = subprocess.run(
        [*command, str(submission / "nothing"), "--labels", str(submission / "labels")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, path.exists()) == (2, False)
    assert done.stderr == "score_predictions.py: nothing could be scored; pawsx: there are no predictions\n"
    with pytest.raises(UserError, match=r"there is no folder .*nowhere"):
        score_predictions.main(["--predictions", str(submission / "nowhere"), "--labels", str(submission)])


def test_it_starts_without_the_machinery_of_training():
    code = "import sys, score_predictions; print({'torch', 'datasets', 'evaluate'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


C_LOCALE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.mark.parametrize(("settings", "sign"), [({"PYTHONIOENCODING": "ascii"}, "?"), (C_LOCALE, "?"), ({}, "é")])
def test_whatever_a_terminal_can_show(settings, sign, tmp_path):
    """Names that it cannot are printed with `?`; files are UTF-8 and have them whole. All scripts begin the same way."""
    folder, inherited = tmp_path / "é", {key: value for key, value in os.environ.items() if not key.startswith("LC_")}
    for name, lines in (("predictions", "entailment\n"), ("labels", "entailment\n")):
        write(folder / name / "xnli" / "test-en.tsv", lines)
        write(folder / name / "xnli" / "unknown.tsv", "")
    line = ["--predictions", folder / "predictions", "--labels", folder / "labels", "--output_file", folder / "é.json"]
    done = subprocess.run(
        [sys.executable, ROOT / "score_predictions.py", *line], capture_output=True, cwd=ROOT, check=False,
        env={**inherited, "LANG": "C.UTF-8", **settings},
    )  # fmt: skip
    printed = done.stdout.decode()
    assert (done.returncode, done.stderr) == (0, b"")
    assert f"{tmp_path}/é/é.json".replace("é", sign) in printed
    assert f"{folder}/predictions" in (folder / "é.json").read_text("utf-8")
