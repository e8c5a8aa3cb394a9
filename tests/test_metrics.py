"""Scores by hand, and on the benchmark's own mock submission to the last digit."""

import json
import os
import subprocess
import sys
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, SHARED
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st

from xstilts import classification, qa, tagging
from xstilts.answers import ARTICLES, mlqa_scores, mlqa_words, squad_scores
from xstilts.metrics import (
    Accuracy,
    AccuracyF1,
    Entities,
    MinedPairs,
    MlqaAnswers,
    PartOfSpeech,
    Ranking,
    SquadAnswers,
    SquadV2Answers,
    TagAccuracy,
    averages,
    best_threshold,
    score,
)
from xstilts.placeholders import Placeholders, check_labels, is_stripped_set

# ---- by hand --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("predictions", "references", "accuracy"),
    [(["a"], ["a"], 100), (["a", "b", "c"], ["a", "c", "c"], 200 / 3), (["a", "A"], ["b", "a"], 0), (["10"], ["1"], 0)],
)
def test_accuracy(predictions, references, accuracy):
    assert score(Accuracy, predictions, references) == {"accuracy": pytest.approx(accuracy, abs=1e-12)}


@pytest.mark.parametrize(
    ("predictions", "references", "f1", "accuracy", "raw"),
    [
        # runs: DET, NOUN NOUN, VERB against DET, NOUN, X, VERB: of 3 and 4 spans 2 agree
        ("DET NOUN NOUN VERB", "DET NOUN X VERB", 200 * (2 / 3) * (2 / 4) / (2 / 3 + 2 / 4), 75, None),
        ("NOUN NOUN", "NOUN NOUN", 100, 100, 100),
        ("NOUN VERB", "VERB NOUN", 0, 0, 0),
        # the two conjunctions are two classes, though seqeval 1.x cuts both to CONJ
        ("CCONJ", "SCONJ", 0, 0, 100),
        # SCONJ and SYM begin with S, so that their runs stay single: 1 of 2 spans each
        # (X ends no span in seqeval 1.x, which leaves the gold with one)
        ("SCONJ SCONJ", "SCONJ X", 50, 50, 200 / 3),
        ("SYM SYM", "SYM SYM", 100, 100, 100),
    ],
)
def test_part_of_speech(predictions, references, f1, accuracy, raw):
    scores = score(PartOfSpeech, [predictions.split()], [references.split()])
    assert set(scores) == {"f1", "precision", "recall", "accuracy", "f1_seqeval_raw"}
    assert (scores["f1"], scores["accuracy"]) == pytest.approx((f1, accuracy))
    assert scores["f1_seqeval_raw"] == pytest.approx(f1 if raw is None else raw)


@pytest.mark.parametrize(
    ("predictions", "references", "precision", "recall"),
    [
        ("B-PER I-PER O B-LOC", "B-PER I-PER O B-LOC", 100, 100),
        ("B-PER O O B-LOC", "B-PER I-PER O B-LOC", 50, 50),  # a part of an entity is not it
        ("B-PER I-PER O O", "B-PER I-PER O B-LOC", 100, 50),
        ("B-ORG I-ORG O O", "B-PER I-PER O O", 0, 0),  # nor is another type
        ("O I-LOC", "O B-LOC", 100, 100),  # I- after O begins an entity
        ("B-LOC I-PER", "B-LOC B-PER", 100, 100),  # and after another type
        ("B-LOC B-LOC", "B-LOC I-LOC", 0, 0),  # B- always begins one
        ("O O", "B-LOC O", 0, 0),
        ("O O", "O O", 0, 0),  # no entity anywhere: 0, as seqeval has it
    ],
)
def test_entities(predictions, references, precision, recall):
    f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0
    found = score(Entities, [predictions.split()], [references.split()])
    assert found == pytest.approx({"f1": f1, "precision": precision, "recall": recall})


def test_entities_are_counted_over_sentences_and_end_with_them():
    gold = [["B-PER"], ["I-PER"], ["O", "B-LOC"]]
    assert score(Entities, [["B-PER"], ["B-PER"], ["B-LOC", "O"]], gold)["recall"] == pytest.approx(200 / 3)


@pytest.mark.parametrize(
    ("found", "gold", "precision", "recall"),
    [
        ("a1 b2 c3 d9", "a1 b2 x7", 50, 200 / 3),
        ("a1 a1 a1", "a1 b2", 100, 50),  # mined three times, counted once
        ("1a", "a1", 0, 0),
        ("", "a1", 0, 0),
    ],
)
def test_mined_pairs(found, gold, precision, recall):
    f1 = 2 * precision * recall / (precision + recall) if precision else 0
    scores = score(MinedPairs, [found.split()], [gold.split()])
    assert scores == pytest.approx({"f1": f1, "precision": precision, "recall": recall})


def test_pairs_of_two_corpora_are_kept_apart():
    assert score(MinedPairs, [["a1"], ["b2"]], [["b2"], ["a1"]])["f1"] == 0


RANKED = [f"q{number}" for number in range(30)]


@pytest.mark.parametrize(
    ("right", "average_precision"),
    [
        (["q0"], 1),
        (["q3"], 1 / 4),
        (["q19"], 1 / 20),
        (["q20"], 0),  # one too late
        (["q0", "q3"], (1 + 2 / 4) / 2),
        (["q1", "nowhere"], (1 / 2) / 2),
        (RANKED, 1),  # 20 of 30 is all one can find
    ],
)
def test_ranking(right, average_precision):
    assert score(Ranking, [RANKED], [right])["map@20"] == pytest.approx(100 * average_precision)


def test_ranking_is_a_mean_over_queries_and_counts_an_id_once():
    assert score(Ranking, [["a"], []], [["a"], ["b"]])["map@20"] == 50
    assert score(Ranking, [["a", "a", "b"]], [["a", "b"]])["map@20"] == pytest.approx(100 * (1 + 2 / 3) / 2)


def test_runs_of_tags_end_with_the_sentence():
    together, apart = [["NOUN", "NOUN"]], [["NOUN"], ["NOUN"]]
    assert score(PartOfSpeech, [["X", "NOUN"]], together)["recall"] == 0
    assert score(PartOfSpeech, [["X"], ["NOUN"]], apart)["recall"] == 50


@pytest.mark.parametrize(
    ("prediction", "answers", "exact_match", "f1", "f1_char"),
    [
        ("the Cat!", ["cat"], 100, 100, 200 * 3 / (6 + 3)),
        ("a black cat", ["cat", "the black dog"], 0, 200 / 3, 200 * 6 / (9 + 11)),  # black a; cat: 3 of 9 and 3
        ("cat cat", ["cat"], 0, 200 / 3, 200 / 3),
        ("", ["cat"], 0, 0, 0),
        ("...", ["cat"], 0, 0, 0),
        ("...", ["!"], 100, 0, 0),  # both are nothing: an exact match that shares no word
        ("anthem", ["them"], 0, 0, 80),
        ("北山さん", ["北山さん"], 100, 100, 100),
        ("北山 さん", ["北山さん"], 0, 0, 100),
        ("北山", ["北山さん。"], 0, 0, 200 / 3),
        ("«der Hund»", ["der Hund"], 0, 0, 100),
        ("Ä b", ["ä  B"], 100, 100, 100),
    ],
)
def test_squad_answers(prediction, answers, exact_match, f1, f1_char):
    scores = score(SquadAnswers, [prediction], [answers], language="zh")  # which it ignores
    expected = {"f1": f1, "exact_match": exact_match, "f1_em_mean": (f1 + exact_match) / 2, "f1_char": f1_char}
    assert scores == pytest.approx(expected)


@pytest.mark.parametrize(
    ("language", "text", "words"),
    [
        ("en", "The «Cat», an A-team", "cat ateam"),
        ("en", "der Hund", "der hund"),  # articles of other languages stay
        ("de", "Der „Hund“ des Nachbarn", "hund nachbarn"),
        ("de", "the Derby", "the derby"),
        ("es", "¿La casa? ¡unos años!", "casa años"),
        ("vi", "những cái cây của tôi", "cây tôi"),
        ("hi", "एक घर।", "एक घर"),  # no articles in Hindi; the danda is punctuation
        ("ar", "الكتاب، والقلم", "كتاب و قلم"),  # the article goes inside of a word, too
        ("zh", "在1998年的 iPhone手机。", "在 1998 年 的 iphone 手 机"),
        ("zh", "a 龥龦", "a 龥 龦"),  # U+9FA5 is the last that stands alone
        ("zh", "㐀龦x", "㐀龦x"),  # others are parts of words
        ("en", "$5 + 10%", "5 10"),  # ASCII symbols are punctuation here, ...
        ("en", "€5", "€5"),  # ... others not
        ("en", "a\u00a0\u3000b\u2028c", "b c"),
    ],
)
def test_words_of_mlqa(language, text, words):
    assert mlqa_words(text, language) == words.split()


def test_the_article_patterns_are_composed():
    """A decomposed pattern would match none of the data."""
    assert all(unicodedata.is_normalized("NFC", pattern) for pattern in ARTICLES.values() if pattern)


@pytest.mark.parametrize(
    ("language", "prediction", "answers", "exact_match", "f1"),
    [
        ("zh", "一九九八年", ["一九九九年", "是"], 0, 80),
        ("en", "一九九八年", ["一九九九年"], 0, 0),
        ("de", "ein Hund", ["der Hund", "Hunde"], 100, 100),
        ("en", "ein Hund", ["der Hund", "Hunde"], 0, 50),
        ("es", "«la casa azul»", ["casa"], 0, 200 / 3),
        ("en", "...", ["!"], 100, 0),
    ],
)
def test_mlqa_answers(language, prediction, answers, exact_match, f1):
    scores = score(MlqaAnswers, [prediction], [answers], language=language)
    assert scores == pytest.approx({"f1": f1, "exact_match": exact_match, "f1_em_mean": (f1 + exact_match) / 2})


def test_mlqa_needs_a_language():
    with pytest.raises(ValueError, match="language of the answers"):
        score(MlqaAnswers, ["a"], [["a"]])
    for language in ("hi", "fr"):  # without rules for articles
        assert score(MlqaAnswers, ["la mer!"], [["La mer"]], language)["exact_match"] == 100
        assert score(MlqaAnswers, ["la mer"], [["mer"]], language)["exact_match"] == 0


ANSWER = st.one_of(
    st.text(max_size=12),
    st.lists(st.sampled_from([*"a the der ال của 的 文 字 . 、 “ $ 12".split(), " ", "\u00a0"]), max_size=6).map(
        "".join
    ),
)


@given(ANSWER, ANSWER.filter(str.strip), st.sampled_from(sorted(ARTICLES)))
@settings(max_examples=150, deadline=None)
def test_any_text_has_scores_within_bounds(prediction, answer, language):
    """Whatever the text: an exact match that has words has F1 100, F1 is 0 to 100, and symmetric where both can be references."""
    scores = mlqa_scores([prediction], [[answer]], language)
    words = mlqa_words(answer, language)
    assert scores["exact_match"] == 100 * (mlqa_words(prediction, language) == words)
    assert 0 <= scores["f1"] <= 100.0001
    if scores["exact_match"]:
        assert scores["f1"] == pytest.approx(100 if words else 0)
    if prediction.strip():
        assert scores["f1"] == pytest.approx(mlqa_scores([answer], [[prediction]], language)["f1"])
    squad = squad_scores([prediction], [[answer]])
    assert all(0 <= value <= 100.0001 for value in squad.values())
    assert squad["exact_match"] == 0 or squad["f1"] in (0, pytest.approx(100))


# ---- placeholders ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("split", "task", "language", "suspected"),
    [
        ("test", "xnli", "sw", True),
        ("test", "udpos", "wo", True),
        ("validation", "xnli", "sw", False),
        ("test", "xnli", "qu", False),
        ("test", "sentiment", "en", False),
    ],
)
def test_only_a_benchmark_s_own_test_sets_are_suspected(split, task, language, suspected):
    assert is_stripped_set(task, split, language) == suspected


@pytest.mark.parametrize(
    ("metric", "gold"),
    [
        (Accuracy, ["entailment"] * 100),
        (TagAccuracy, [["O"] * 10] * 10),
        (PartOfSpeech, [["X"] * 10] * 10),
        (Entities, [["O"] * 10] * 10),
    ],
)
def test_one_label_for_a_hundred_rows_is_a_placeholder(metric, gold):
    with pytest.raises(
        Placeholders, match=r"all 100 gold labels are '\w+': they are placeholders; XTREME's own download"
    ):
        check_labels(gold)
    assert score(metric, gold, gold)  # a dev set, or rows of one's own, may have one class
    check_labels(gold[:-1])
    check_labels([*gold[:-1], "neutral"] if metric is Accuracy else [[*gold[0][:-1], "B-X"], *gold[1:]])


def test_predictions_may_all_be_the_same():
    assert score(Accuracy, ["a"] * 200, ["a", "b"] * 100) == {"accuracy": 50}


def test_an_answer_is_counted_once_per_question():
    assert score(SquadAnswers, ["a b", "x"], [["b"], ["x", "x x"]])["f1"] == 100
    assert score(SquadAnswers, ["c b", "x"], [["b"], ["x", "x x"]])["f1"] == pytest.approx(100 * (2 / 3 + 1) / 2)


@pytest.mark.parametrize("answers", [[], [""], [" ", ""]])
def test_a_question_without_a_reference_cannot_be_scored(answers):
    for metric in (SquadAnswers, MlqaAnswers):
        with pytest.raises(Placeholders, match="question 2 has no reference answer"):
            score(metric, ["a", "b"], [["a"], answers], language="en")


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
        (MlqaAnswers, ["a"], [["a"], ["b"]]),
        (Entities, [["O"]], [["O"], ["O"]]),
        (Entities, [["O", "O"]], [["O"]]),
        (Entities, [["O", "O"], ["O"]], [["O"], ["O", "O"]]),
        (Ranking, [["a"]], [["a"], ["b"]]),
    ],
)
def test_unequal_lengths_are_an_error(metric, predictions, references):
    with pytest.raises(ValueError, match=r"predictions for \d examples|is shorter|inconsistent numbers"):
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
    means, alone = averages(scores, "f1", ["de", "sw"]), averages({"en": {"f1": 90.0}}, "f1", [])
    assert [(each["all"], each["zero_shot"]) for each in (means, alone)] == [(60, 45), (90, None)]


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
