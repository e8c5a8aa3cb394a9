"""Scores by hand, and on the benchmark's own mock submission to the last digit."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from conftest import ROOT, SHARED
from datasets import Dataset

from xstilts import classification, qa, tagging
from xstilts.errors import UserError
from xstilts.metrics import Accuracy, PartOfSpeech, SquadAnswers, averages, score

# ---- by hand --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("predictions", "references", "accuracy"),
    [(["a"], ["a"], 100), (["a", "b", "c"], ["a", "c", "c"], 200 / 3), (["a", "A"], ["b", "a"], 0), (["10"], ["1"], 0)],
)
def test_accuracy(predictions, references, accuracy):
    assert score(Accuracy, predictions, references) == {"accuracy": pytest.approx(accuracy, abs=1e-12)}


@pytest.mark.parametrize(
    ("predictions", "references", "f1", "accuracy"),
    [
        # runs: DET, NOUN NOUN, VERB against DET, NOUN, X, VERB: of 3 and 4 spans 2 agree
        ("DET NOUN NOUN VERB", "DET NOUN X VERB", 200 * (2 / 3) * (2 / 4) / (2 / 3 + 2 / 4), 75),
        ("NOUN NOUN", "NOUN NOUN", 100, 100),
        ("NOUN VERB", "VERB NOUN", 0, 0),
        # the two conjunctions are two classes, though seqeval 1.x would cut both to CONJ
        ("CCONJ", "SCONJ", 0, 0),
        # SCONJ and SYM begin with S, so that their runs stay single: 1 of 2 spans each
        ("SCONJ SCONJ", "SCONJ X", 50, 50),
        ("SYM SYM", "SYM SYM", 100, 100),
    ],
)
def test_part_of_speech(predictions, references, f1, accuracy):
    scores = score(PartOfSpeech, [predictions.split()], [references.split()])
    assert set(scores) == {"f1", "precision", "recall", "accuracy"}
    assert (scores["f1"], scores["accuracy"]) == pytest.approx((f1, accuracy))


def test_runs_of_tags_end_with_the_sentence():
    together, apart = [["NOUN", "NOUN"]], [["NOUN"], ["NOUN"]]
    assert score(PartOfSpeech, [["X", "NOUN"]], together)["recall"] == 0
    assert score(PartOfSpeech, [["X"], ["NOUN"]], apart)["recall"] == 50


@pytest.mark.parametrize(
    ("prediction", "answers", "exact_match", "f1"),
    [
        ("the Cat!", ["cat"], 100, 100),
        ("a black cat", ["cat", "the black dog"], 0, 200 / 3),
        ("cat cat", ["cat"], 0, 200 / 3),
        ("", ["cat"], 0, 0),
        ("...", ["cat"], 0, 0),
        ("anthem", ["them"], 0, 0),
        ("北山さん", ["北山さん"], 100, 100),
        ("北山 さん", ["北山さん"], 0, 0),
        ("«der Hund»", ["der Hund"], 0, 0),
        ("Ä b", ["ä  B"], 100, 100),
    ],
)
def test_squad_answers(prediction, answers, exact_match, f1):
    scores = score(SquadAnswers, [prediction], [answers])
    expected = {"f1": f1, "exact_match": exact_match, "f1_em_mean": (f1 + exact_match) / 2}
    assert scores == pytest.approx(expected)


def test_an_answer_is_counted_once_per_question():
    assert score(SquadAnswers, ["a b", "x"], [["b"], ["x", "x x"]])["f1"] == 100
    assert score(SquadAnswers, ["c b", "x"], [["b"], ["x", "x x"]])["f1"] == pytest.approx(100 * (2 / 3 + 1) / 2)


@pytest.mark.parametrize("answers", [[], [""], [" ", ""]])
def test_a_question_without_a_reference_cannot_be_scored(answers):
    with pytest.raises(UserError, match="question 2 has no reference answer"):
        score(SquadAnswers, ["a", "b"], [["a"], answers])


@pytest.mark.parametrize(
    ("metric", "predictions", "references"),
    [
        (Accuracy, ["a"], ["a", "b"]),
        (Accuracy, ["a", "b"], ["a"]),
        (PartOfSpeech, [["X"]], [["X"], ["X"]]),
        (PartOfSpeech, [["X", "X"]], [["X"]]),
        (SquadAnswers, ["a"], [["a"], ["b"]]),
    ],
)
def test_unequal_lengths_are_an_error(metric, predictions, references):
    with pytest.raises(ValueError, match=r"predictions for \d examples|is shorter"):
        score(metric, predictions, references)


def test_averages():
    scores = {"en": {"f1": 90.0}, "de": {"f1": 60.0}, "sw": {"f1": 30.0}}
    assert averages(scores, "f1", ["de", "sw"]) == {"all": 60, "zero_shot": 45}
    assert averages({"en": {"f1": 90.0}}, "f1", []) == {"all": 90, "zero_shot": None}


# ---- the benchmark's mock submission --------------------------------------------------------------------------------


def mock(task):
    """(predictions, labels) paths per language of a task in the mock submission."""
    folder = SHARED / "xtreme_mock"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there (XTREME's mock submission)")
    return [(path, folder / "labels" / task / path.name) for path in sorted((folder / "predictions" / task).iterdir())]


def expected(task):
    """The averages that the benchmark's own test expects."""
    return json.loads((SHARED / "xtreme_mock" / "expected.json").read_text())["xtreme"][task]


def read_lines(path):
    """One label a line."""
    return path.read_text("utf-8").splitlines()


def read_tags(path):
    """One tag a line, an empty line between sentences; a last empty line is none, as in XTREME's reader."""
    return [block.split("\n") for block in path.read_text("utf-8").strip().split("\n\n")]


def mean(scores, name):
    """The average over languages."""
    return sum(each[name] for each in scores) / len(scores)


@pytest.mark.parametrize("task", ["xnli", "pawsx", "tatoeba"])
def test_mock_accuracy(task, tmp_path):
    scores = []
    for path, labels in mock(task):
        classification.TYPE.write(tmp_path / path.stem, read_lines(path), None)
        scores.append(score(Accuracy, read_lines(tmp_path / path.name), read_lines(labels)))
    assert mean(scores, "accuracy") == pytest.approx(expected(task)["avg_accuracy"], abs=1e-9)


def test_mock_part_of_speech(tmp_path):
    scores = []
    for path, labels in mock("udpos"):
        tagging.TYPE.write(tmp_path / path.stem, read_tags(path), None)
        scores.append(score(PartOfSpeech, read_tags(tmp_path / path.name), read_tags(labels)))
    found = {f"avg_{name}": mean(scores, name) for name in ("f1", "precision", "recall")}
    assert found == pytest.approx(expected("udpos"), abs=1e-9)


@pytest.mark.parametrize("task", ["xquad", "tydiqa"])
def test_mock_answers(task, tmp_path):
    scores = []
    for path, labels in mock(task):
        answers = json.loads(path.read_text("utf-8"))
        examples = Dataset.from_dict({"id": list(answers)})
        qa.TYPE.write(tmp_path / path.stem, list(answers.values()), examples)
        written = json.loads((tmp_path / path.name).read_text("utf-8"))
        assert written == answers
        gold = references(labels)
        scores.append(score(SquadAnswers, [written[id] for id in gold], list(gold.values())))
    found = {f"avg_{name}": mean(scores, name) for name in ("f1", "exact_match")}
    assert found == pytest.approx(expected(task), abs=1e-9)


def references(path):
    """{question id: reference answers} of a SQuAD file."""
    articles = json.loads(path.read_text("utf-8"))["data"]
    questions = [q for article in articles for paragraph in article["paragraphs"] for q in paragraph["qas"]]
    return {q["id"]: [answer["text"] for answer in q["answers"]] for q in questions}


# ---- where it runs --------------------------------------------------------------------------------------------------


def test_two_scores_at_once_do_not_collide():
    def accuracy(right):
        references = ["1"] * 50
        return score(Accuracy, ["1"] * right + ["0"] * (50 - right), references)["accuracy"]

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(accuracy, range(50))) == [2 * right for right in range(50)]


OFFLINE = """
import socket, sys
def refuse(*args, **kwargs):
    raise RuntimeError("network")
socket.socket.connect = socket.getaddrinfo = refuse
from xstilts.metrics import Accuracy, PartOfSpeech, SquadAnswers, score
print(score(Accuracy, ["a"], ["a"]), score(PartOfSpeech, [["X"]], [["X"]]), score(SquadAnswers, ["a b"], [["b"]]))
"""


def test_scores_need_no_network_and_no_writable_home():
    nowhere = dict.fromkeys(("HOME", "HF_HOME", "HF_MODULES_CACHE", "XDG_CACHE_HOME"), "/dev/null/nowhere")
    environment = {**os.environ, **nowhere, "HF_HUB_OFFLINE": "0", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", OFFLINE]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=Path(ROOT).parent, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("100.0") >= 5
