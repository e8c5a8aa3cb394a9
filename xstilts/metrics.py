"""Scores as the benchmarks compute them, 0 to 100, as `evaluate.Metric` classes that are used in process.

`score()` is the one way to compute one. Nothing is fetched (the evaluate package ships no metrics and would ask the hub).
"""

import collections
import tempfile
from itertools import chain

import datasets
import evaluate
import numpy as np

from xstilts import scoring
from xstilts.answers import bag_f1, mlqa_scores, squad_scores, squad_words

CITATION = "Hu et al. 2020, XTREME (arXiv 2003.11080), evaluate.py and third_party/evaluate_squad.py"


def score(metric, predictions, references, language=None):
    """Scores of a list of predictions: {name: 0 to 100}, and the `threshold` of SQuAD v2.0. Both lists are in the order
    of the examples. `language`, that of the examples, is read by metrics with `by_language` (MLQA's) and ignored by all others.

    Raises ValueError when the lists differ in length: a score over fewer rows than there are would be a wrong score; and
    Placeholders, a UserError, for a question without a reference answer.
    """
    if len(predictions) != len(references):
        raise ValueError(f"{len(predictions)} predictions for {len(references)} examples")
    rows = {"predictions": predictions, "references": references}
    extra = {"language": language} if metric.by_language else {}
    with tempfile.TemporaryDirectory() as cache:  # evaluate wants a folder even for metrics kept in memory
        return metric(cache_dir=cache, keep_in_memory=True).compute(**rows, **extra)


def score_by_language(metric, predictions, references, records):
    """Scores of examples one after another, of which `records` say the language and the number of rows. For metrics with
    `by_language` they are those of each language, weighted by rows; for all others the rows count as one set."""
    if not metric.by_language:
        return score(metric, predictions, references)
    begin, total = 0, collections.Counter()
    for record in records:
        part = slice(begin, begin := begin + record["rows"])
        for name, value in score(metric, predictions[part], references[part], record["language"]).items():
            total[name] += value * record["rows"] / len(references)
    return dict(total)


def averages(scores, headline, zero_shot, gaps=()):
    """Mean of the headline score over all languages (the benchmark's average, English included) and over the zero-shot ones, and
    of the gaps to the source language; None where there is none."""
    groups = {"all": list(scores), "zero_shot": zero_shot}
    means = {name: _mean([scores[language][headline] for language in group]) for name, group in groups.items()}
    return {**means, "gap": _mean([*gaps.values()]) if gaps else None}


def _mean(values):
    return sum(values) / len(values) if values else None


def gaps_to_source(scores, headline, source):
    """{language: how far its score lies below the source language's}; empty where that one has none."""
    if source not in scores:
        return {}
    return {code: scores[source][headline] - own[headline] for code, own in scores.items() if code != source}


class _Metric(evaluate.Metric):
    """What every metric here shares: one schema for predictions, one for references.

    ratio    (prediction, reference, language) -> what an example adds to the numerator and the denominator of the headline, 0 to
             100; None where that is no ratio of sums
    remark   references -> what a reader of their score has to know, "" for nothing
    """

    prediction = reference = datasets.Value("string")
    headline: str
    by_language = False
    ratio = None

    @staticmethod
    def remark(references):
        """Nothing in general."""
        return ""

    def _info(self):
        features = datasets.Features({"predictions": self.prediction, "references": self.reference})
        return evaluate.MetricInfo(description=self.__doc__, citation=CITATION, features=features)


class Accuracy(_Metric):
    """Share of predictions that equal their reference."""

    headline = "accuracy"

    @staticmethod
    def ratio(prediction, reference, language):
        """Right or wrong."""
        return 100 * (prediction == reference), 1

    def _compute(self, predictions, references):
        return scoring.accuracy(predictions, references)


class AccuracyF1(_Metric):
    """Accuracy, and F1 of the class `positive`; their mean is GLUE's score of QQP and what jiant selects by."""

    headline = "accuracy_f1_mean"
    positive = "duplicate"  # QQP's; a subclass names another

    def _compute(self, predictions, references):
        both = sum(p == r == self.positive for p, r in zip(predictions, references, strict=True))
        either = sum(label == self.positive for label in chain(predictions, references))
        accuracy, f1 = scoring.share_right(predictions, references), 100 * 2 * both / either if either else 0.0
        return {"accuracy": accuracy, "f1": f1, "accuracy_f1_mean": (accuracy + f1) / 2}


class TagAccuracy(_Metric):
    """Share of all words whose tag is right. Raises ValueError for a sentence with more or fewer tags than words."""

    prediction = reference = datasets.Sequence(datasets.Value("string"))
    headline = "accuracy"

    def _compute(self, predictions, references):
        return scoring.tag_accuracy(predictions, references)


class PartOfSpeech(_Metric):
    """F1 over runs of equal tags, as XTREME computes it for POS, and plain accuracy over words; `scoring.part_of_speech`."""

    prediction = reference = datasets.Sequence(datasets.Value("string"))
    headline = "f1"

    @staticmethod
    def ratio(prediction, reference, language):
        """Spans of a sentence: 2 x those found, over all."""
        return scoring.span_ratio(*scoring.as_spans([prediction, reference]))

    def _compute(self, predictions, references):
        return scoring.part_of_speech(predictions, references)


class Entities(_Metric):
    """F1 over entities in IOB tags, as XTREME computes it for PAN-X; `scoring.entities`."""

    prediction = reference = datasets.Sequence(datasets.Value("string"))
    headline = "f1"

    @staticmethod
    def ratio(prediction, reference, language):
        """Entities of a sentence: 2 x those found, over all."""
        return scoring.span_ratio(prediction, reference)

    remark = staticmethod(scoring.entities_remark)

    def _compute(self, predictions, references):
        return scoring.entities(predictions, references)


class MinedPairs(_Metric):
    """F1 over sets of pairs, as XTREME computes it for BUCC; one row holds all pairs of a language, `id TAB id` each."""

    prediction = reference = datasets.Sequence(datasets.Value("string"))
    headline = "f1"

    def _compute(self, predictions, references):
        found, gold = (
            [(row, pair) for row, pairs in enumerate(rows) for pair in pairs] for rows in (predictions, references)
        )
        return scoring.mined_pairs(found, gold)


class Ranking(_Metric):
    """mAP@20 of ranked ids against the right ones, as XTREME-R computes it for Mewsli-X and LAReQA; `scoring.ranking`."""

    prediction = reference = datasets.Sequence(datasets.Value("string"))
    headline = "map@20"

    def _compute(self, predictions, references):
        return scoring.ranking(predictions, references)


class SquadAnswers(_Metric):
    """Exact match and F1 with the normalisation of SQuAD v1.1, in every language, as XTREME does for XQuAD and TyDiQA, and F1
    over characters; `answers.squad_scores`. The headline is (F1 + EM) / 2, XTREME's score of a QA task."""

    reference = datasets.Sequence(datasets.Value("string"))
    headline = "f1_em_mean"

    @staticmethod
    def ratio(prediction, reference, language):
        """A question's own score."""
        return squad_scores([prediction], [reference])["f1_em_mean"], 1

    def _compute(self, predictions, references):
        return squad_scores(predictions, references)


class MlqaAnswers(_Metric):
    """Exact match and F1 by MLQA's rules for the language of the answers, as XTREME does for MLQA; `answers.mlqa_scores`."""

    reference = datasets.Sequence(datasets.Value("string"))
    headline = "f1_em_mean"
    by_language = True

    @staticmethod
    def ratio(prediction, reference, language):
        """A question's own score."""
        return mlqa_scores([prediction], [reference], language)["f1_em_mean"], 1

    def _compute(self, predictions, references, language):
        return mlqa_scores(predictions, references, language)


class SquadV2Answers(_Metric):
    """SQuAD v2.0's scores of predictions {"text", "null_odds"}; a question without reference answers has none.

    `threshold` is the one above whose null odds no answer is predicted that makes the headline (F1 + EM) / 2 highest on these
    very rows, the lowest such one: below all odds no question is answered, at the highest every one. The official
    evaluate-v2.0.py tunes its best_f1 and best_exact on the scored rows in the same way, hence scores are for dev sets only.
    The scores of questions with and without answers are left out where there are no such questions.
    """

    prediction = {"text": datasets.Value("string"), "null_odds": datasets.Value("float64")}  # noqa: RUF012
    reference = datasets.Sequence(datasets.Value("string"))
    headline = "f1_em_mean"

    def _compute(self, predictions, references):
        answered = np.array([len(answers) > 0 for answers in references])
        pairs = [(p["text"], answers) for p, answers in zip(predictions, references, strict=True)]
        raw = np.array([_best_over_answers(text, answers) for text, answers in pairs])
        odds = np.array([p["null_odds"] for p in predictions])
        threshold = best_threshold(odds, raw.mean(1), ~answered)
        scores = 100 * np.where((odds > threshold)[:, None], ~answered[:, None], raw)
        return {**_squad_v2_scores(scores, answered), "threshold": threshold}


def best_threshold(odds, kept, nulled):
    """The lowest threshold with the highest sum of scores, where a row counts `nulled` if its odds are above the threshold and
    `kept` otherwise (float arrays of one length). It is one of the odds, or just below the lowest one. O(n log n)."""
    order = np.argsort(odds, kind="stable")
    candidates, last = odds[order], np.append(np.diff(odds[order]) > 0, True)
    gains = np.cumsum(kept[order] - nulled[order])[last].round(9)  # sums in another order differ in their last digits
    below = np.nextafter(candidates[0], -np.inf)
    best = gains.argmax()
    return float(candidates[last][best] if gains[best] > 0 else below)


def _best_over_answers(text, gold):
    """(F1, exact match), each 0 to 1; answers of nothing but articles and punctuation do not count, as in evaluate-v2.0.py."""
    words, gold = squad_words(text), [words for words in map(squad_words, gold) if words]
    if not gold:
        return (float(not words),) * 2
    return max(bag_f1(words, answer) for answer in gold), float(words in gold)


def _squad_v2_scores(scores, answered):
    """Means of a (rows, 2) array of F1 and exact match over all rows, those with and those without an answer."""
    f1, exact = map(float, scores.mean(0))
    named = {"f1": f1, "exact_match": exact, "f1_em_mean": (f1 + exact) / 2}
    if answered.any():
        has_f1, has_exact = map(float, scores[answered].mean(0))
        named |= {"has_answer_f1": has_f1, "has_answer_exact_match": has_exact}
    return named if answered.all() else {**named, "no_answer_accuracy": float(scores[~answered].mean())}


class MaskedPieces(_Metric):
    """Masked language modelling: share of masked pieces that are guessed, and their mean loss in nats (not 0 to 100)."""

    prediction = datasets.Sequence(
        datasets.Sequence(datasets.Value("float32"))
    )  # per example, [loss, right] of its pieces
    headline = "accuracy"

    def _compute(self, predictions, references):
        pieces = [*chain.from_iterable(predictions)]
        losses, right = zip(*pieces, strict=True) if pieces else ((0.0,), (0.0,))
        return {"accuracy": 100 * sum(right) / len(right), "loss": sum(losses) / len(losses)}
