"""Scores by hand, and on the benchmark's own mock submission to the last digit."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, SHARED
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st

from xstilts import classification, qa, tagging
from xstilts.errors import UserError
from xstilts.metrics import (
    Accuracy,
    AccuracyF1,
    PartOfSpeech,
    SquadAnswers,
    SquadV2Answers,
    TagAccuracy,
    averages,
    best_threshold,
    score,
)

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
        (TagAccuracy, [["X"]], [["X"], ["X"]]),
        (TagAccuracy, [["X", "X"], ["X"]], [["X"], ["X", "X"]]),
        (AccuracyF1, ["duplicate"], ["duplicate"] * 2),
        (SquadV2Answers, [{"text": "a", "null_odds": 0.0}], [["a"], ["b"]]),
        (SquadAnswers, ["a"], [["a"], ["b"]]),
    ],
)
def test_unequal_lengths_are_an_error(metric, predictions, references):
    with pytest.raises(ValueError, match=r"predictions for \d examples|is shorter"):
        score(metric, predictions, references)


@pytest.mark.parametrize(
    ("predictions", "references", "accuracy", "f1"),
    [
        ("11100", "11010", 60, 200 / 3),  # 2 of 3 predicted and 2 of 3 real duplicates
        ("0000", "0011", 50, 0),
        ("00", "00", 100, 0),  # no duplicate at all: F1 is 0, as scikit-learn says
        ("10", "01", 0, 0),
        ("11", "11", 100, 100),
    ],
)
def test_accuracy_and_f1_of_duplicates(predictions, references, accuracy, f1):
    named = [[("not_duplicate", "duplicate")[int(digit)] for digit in each] for each in (predictions, references)]
    expected = {"accuracy": accuracy, "f1": f1, "accuracy_f1_mean": (accuracy + f1) / 2}
    assert score(AccuracyF1, *named) == pytest.approx(expected)


def test_tag_accuracy_is_over_words_and_an_unseen_tag_is_wrong():
    assert score(TagAccuracy, [["NP", "S", "S"], ["NP"]], [["NP", "S", "S/NP"], ["N"]]) == {"accuracy": 50}


# ---- questions without an answer ------------------------------------------------------------------------------------


def with_odds(*pairs):
    """Predictions of (text, null odds) pairs."""
    return [{"text": text, "null_odds": odds} for text, odds in pairs]


def test_squad_v2_by_hand():
    """Answering the first three is best; the last two are then null, of which one is right and the other lost its answer."""
    predictions = with_odds(("the cat", -3.0), ("black dog", -1.0), ("x", -2.0), ("no", 0.5), ("y", 4.0))
    scores = score(SquadV2Answers, predictions, [["cat"], ["dog", "a dog"], ["x"], [], ["y"]])
    assert scores == pytest.approx(
        {
            "f1": 100 * (1 + 2 / 3 + 1 + 1 + 0) / 5,
            "exact_match": 100 * 3 / 5,
            "f1_em_mean": 100 * (3 + 2 / 3 + 3) / 10,
            "has_answer_f1": 100 * (1 + 2 / 3 + 1) / 4,
            "has_answer_exact_match": 50,
            "no_answer_accuracy": 100,
            "threshold": -1.0,
        }
    )


@pytest.mark.parametrize(
    ("predictions", "references", "headline", "threshold"),
    [
        (with_odds(("x", 1.0), ("y", 2.0)), [["x"], ["y"]], 100, 2.0),  # always answered
        (with_odds(("x", 1.0), ("y", 2.0)), [[], []], 100, np.nextafter(1.0, 0)),  # never
        (with_odds(("x", 1.0), ("y", 1.0)), [["x"], []], 50, np.nextafter(1.0, 0)),  # tied odds have one fate
        (with_odds(("x", 1.0), ("y", 2.0), ("z", 3.0)), [["x"], [], ["z"]], 200 / 3, 1.0),  # ties: the lowest
        (with_odds(("", 1.0)), [["x"]], 0, np.nextafter(1.0, 0)),
        (with_odds(("the", 1.0)), [[]], 100, np.nextafter(1.0, 0)),  # nothing but an article is no answer
        (with_odds(("x", 1.0)), [["the ...", "x"]], 100, 1.0),
    ],
)
def test_the_threshold(predictions, references, headline, threshold):
    scores = score(SquadV2Answers, predictions, references)
    assert (scores["f1_em_mean"], scores["threshold"]) == (pytest.approx(headline), threshold)


def test_scores_of_questions_that_are_not_there_are_left_out():
    assert "no_answer_accuracy" not in score(SquadV2Answers, with_odds(("x", 0.0)), [["x"]])
    assert set(score(SquadV2Answers, with_odds(("a", 0.0)), [[]])) == {
        "f1", "exact_match", "f1_em_mean", "no_answer_accuracy", "threshold",
    }  # fmt: skip


TENTHS = st.integers(0, 10).map(lambda value: value / 10)
ROWS = st.lists(st.tuples(st.integers(-4, 4).map(float), TENTHS, st.booleans()), min_size=1, max_size=12)


@given(ROWS)
@settings(max_examples=300, deadline=None)
def test_the_threshold_equals_a_plain_search(rows):
    def total(threshold):
        return sum(round(10 * (null if odds > threshold else kept)) for odds, kept, null in rows)

    odds, kept, nulled = map(np.array, zip(*rows, strict=True))
    found = best_threshold(odds, kept, nulled.astype(float))
    candidates = [np.nextafter(odds.min(), -np.inf), *sorted(set(odds))]
    best = max(map(total, [-99, *candidates, 99]))
    assert found == next(candidate for candidate in candidates if total(candidate) == best)


TEXTS = st.sampled_from(["cat", "the cat", "a dog", "black dog", "", "the", "cat dog"])
QUESTIONS = st.lists(
    st.tuples(TEXTS, st.integers(-3, 3).map(float), st.lists(TEXTS, max_size=2)), min_size=1, max_size=8
)


@given(QUESTIONS)
@settings(max_examples=100, deadline=None)
def test_scores_are_those_of_the_thresholded_answers(questions):
    """At the threshold found, a row counts as its answer or as none; and no other threshold has a higher score."""
    references = [answers for _, _, answers in questions]
    scores = score(SquadV2Answers, with_odds(*((text, odds) for text, odds, _ in questions)), references)

    def headline(threshold):
        return sum(map(sum, plain_scores(questions, threshold))) * 50 / len(questions)

    assert scores["f1_em_mean"] == pytest.approx(headline(scores["threshold"]))
    assert scores["f1_em_mean"] == pytest.approx(max(map(headline, (-4, -3, -2, -1, 0, 1, 2, 3))))
    f1, exact = (
        100 * sum(column) / len(questions) for column in zip(*plain_scores(questions, scores["threshold"]), strict=True)
    )
    assert (scores["f1"], scores["exact_match"]) == pytest.approx((f1, exact))


def plain_scores(questions, threshold):
    """(F1, exact match) of each question at a threshold, after the rules of evaluate-v2.0.py."""
    for text, odds, answers in questions:
        if odds > threshold:
            yield (float(not answers), float(not answers))
        else:
            bags = [words(answer) for answer in answers if words(answer)] or [[]]
            yield max(overlap(words(text), bag) for bag in bags), float(words(text) in bags)


def words(text):
    """The words of these tests' texts, without articles."""
    return [word for word in text.split() if word not in ("a", "the")]


def overlap(prediction, answer):
    """F1 of two lists of different words."""
    if not prediction or not answer:
        return float(prediction == answer)
    return 2 * len({*prediction} & {*answer}) / (len(prediction) + len(answer))


def test_a_hundred_thousand_questions_are_scored_in_seconds():
    random = np.random.default_rng(0)
    odds, kept = random.normal(size=(2, 100_000))
    assert best_threshold(odds, kept, np.zeros(100_000)) in odds


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
