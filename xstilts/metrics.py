"""Scores as the benchmarks compute them, 0 to 100, as `evaluate.Metric` classes that are used in process.

`score()` is the one way to compute one. Nothing is fetched (the evaluate package ships no metrics and would ask the hub).
"""

import collections
import re
import string
import tempfile
import warnings
from itertools import chain

import datasets
import evaluate
import numpy as np
from seqeval.metrics import f1_score, precision_score, recall_score

from xstilts.errors import UserError

CITATION = "Hu et al. 2020, XTREME (arXiv 2003.11080), evaluate.py and third_party/evaluate_squad.py"


def score(metric, predictions, references):
    """Scores of a list of predictions: {name: 0 to 100}, and the `threshold` of SQuAD v2.0. Both lists are in the order
    of the examples.

    Raises ValueError when the lists differ in length: a score over fewer rows than there are would be a wrong score.
    """
    if len(predictions) != len(references):
        raise ValueError(f"{len(predictions)} predictions for {len(references)} examples")
    with tempfile.TemporaryDirectory() as cache:  # evaluate wants a folder even for metrics kept in memory
        return metric(cache_dir=cache, keep_in_memory=True).compute(predictions=predictions, references=references)


def averages(scores, headline, zero_shot):
    """Mean of the headline score over all languages (the benchmark's average, English included) and over the zero-shot ones;
    None where there is none."""
    groups = {"all": list(scores), "zero_shot": zero_shot}
    return {name: _mean([scores[language][headline] for language in group]) for name, group in groups.items()}


def _mean(values):
    return sum(values) / len(values) if values else None


class _Metric(evaluate.Metric):
    """What every metric here shares: one schema for predictions, one for references."""

    prediction = reference = datasets.Value("string")
    headline: str

    def _info(self):
        features = datasets.Features({"predictions": self.prediction, "references": self.reference})
        return evaluate.MetricInfo(description=self.__doc__, citation=CITATION, features=features)


class Accuracy(_Metric):
    """Share of predictions that equal their reference."""

    headline = "accuracy"

    def _compute(self, predictions, references):
        return {"accuracy": _share_right(predictions, references)}


def _share_right(predictions, references):
    right = sum(p == r for p, r in zip(predictions, references, strict=True))
    return 100 * right / len(references)


class AccuracyF1(_Metric):
    """Accuracy, and F1 of the class `positive`; their mean is GLUE's score of QQP and what jiant selects by."""

    headline = "accuracy_f1_mean"
    positive = "duplicate"  # QQP's; a subclass names another

    def _compute(self, predictions, references):
        both = sum(p == r == self.positive for p, r in zip(predictions, references, strict=True))
        either = sum(label == self.positive for label in chain(predictions, references))
        accuracy, f1 = _share_right(predictions, references), 100 * 2 * both / either if either else 0.0
        return {"accuracy": accuracy, "f1": f1, "accuracy_f1_mean": (accuracy + f1) / 2}


class TagAccuracy(_Metric):
    """Share of all words whose tag is right. Raises ValueError for a sentence with more or fewer tags than words."""

    prediction = reference = datasets.Sequence(datasets.Value("string"))
    headline = "accuracy"

    def _compute(self, predictions, references):
        pairs = [pair for p, r in zip(predictions, references, strict=True) for pair in zip(p, r, strict=True)]
        return {"accuracy": 100 * sum(p == r for p, r in pairs) / len(pairs)}


class PartOfSpeech(_Metric):
    """F1 over runs of equal tags, as XTREME computes it for POS, and plain accuracy over words.

    The published numbers come from seqeval 0.0.12 on raw tags, which takes a run of equal tags for one span. seqeval 1.x cuts
    the first letter of a raw tag, so that CCONJ and SCONJ become one; written as `N-NOUN`, tags keep their whole names.
    """

    prediction = reference = datasets.Sequence(datasets.Value("string"))
    headline = "f1"

    def _compute(self, predictions, references):
        accuracy = _share_right([*chain.from_iterable(predictions)], [*chain.from_iterable(references)])
        return {**_spans(_as_spans(predictions), _as_spans(references)), "accuracy": accuracy}


def _as_spans(sentences):
    return [[f"{tag[0]}-{tag}" for tag in sentence] for sentence in sentences]


def _spans(predictions, references):
    with warnings.catch_warnings():  # seqeval warns of every tag that is not IOB
        warnings.simplefilter("ignore")
        scores = {"f1": f1_score, "precision": precision_score, "recall": recall_score}
        return {name: 100 * float(of(references, predictions)) for name, of in scores.items()}


class SquadAnswers(_Metric):
    """Exact match and F1 with the normalisation of SQuAD v1.1, in every language, as XTREME does for XQuAD and TyDiQA.

    An example's score is the best over its reference answers. The headline is (F1 + EM) / 2, XTREME's score of a QA task.
    Raises UserError for an example without a reference answer.
    """

    reference = datasets.Sequence(datasets.Value("string"))
    headline = "f1_em_mean"

    def _compute(self, predictions, references):
        for number, answers in enumerate(references, start=1):
            if not any(answer.strip() for answer in answers):
                raise UserError(
                    f"question {number} has no reference answer, so nothing can be scored; XTREME's own download leaves the "
                    "answers out, take the dataset's official file"
                )
        exact = [
            max(_normal(p) == _normal(answer) for answer in r) for p, r in zip(predictions, references, strict=True)
        ]
        f1 = [max(_word_f1(p, answer) for answer in r) for p, r in zip(predictions, references, strict=True)]
        exact, f1 = 100 * sum(exact) / len(exact), 100 * sum(f1) / len(f1)
        return {"f1": f1, "exact_match": exact, "f1_em_mean": (f1 + exact) / 2}


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


def _best_over_answers(text, answers):
    """(F1, exact match), each 0 to 1; answers of nothing but articles and punctuation do not count, as in evaluate-v2.0.py."""
    answers = [answer for answer in answers if _normal(answer)]
    if not answers:
        return (float(not _normal(text)),) * 2
    return max(_word_f1(text, answer) for answer in answers), max(_normal(text) == _normal(a) for a in answers)


def _squad_v2_scores(scores, answered):
    """Means of a (rows, 2) array of F1 and exact match over all rows, those with and those without an answer."""
    f1, exact = map(float, scores.mean(0))
    named = {"f1": f1, "exact_match": exact, "f1_em_mean": (f1 + exact) / 2}
    if answered.any():
        has_f1, has_exact = map(float, scores[answered].mean(0))
        named |= {"has_answer_f1": has_f1, "has_answer_exact_match": has_exact}
    return named if answered.all() else {**named, "no_answer_accuracy": float(scores[~answered].mean())}


def _normal(answer):
    """Lower case, without ASCII punctuation, English articles and extra white space."""
    answer = "".join(character for character in answer.lower() if character not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", answer).split())


def _word_f1(prediction, answer):
    """F1 of the two bags of words, 0 to 1; 0 when they share none."""
    prediction, answer = _normal(prediction).split(), _normal(answer).split()
    shared = sum((collections.Counter(prediction) & collections.Counter(answer)).values())
    if shared == 0:
        return 0.0
    precision, recall = shared / len(prediction), shared / len(answer)
    return 2 * precision * recall / (precision + recall)


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
