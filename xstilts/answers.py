"""Answers to questions against reference answers: SQuAD's normalisation, MLQA's by language, and bags of characters.

Both are those of the official scorers (evaluate-v1.1.py of SQuAD, mlqa_evaluation_v1.py of MLQA), which XTREME's evaluate.py
calls, with their oddities: a bag without words shares nothing, so that two answers of nothing but punctuation match exactly and
have F1 0. Where a prediction is None, the question was not answered and scores 0.
"""

import collections
import re
import string
import unicodedata

from xstilts.placeholders import check_answers

# What MLQA's scorer takes for articles and replaces with a space. The Arabic one goes wherever its letters stand, inside words
# too: the scorer's pattern means the start of a word but does not say it.
ARTICLES = {
    "ar": "ال",
    "de": r"\b(ein|eine|einen|einem|eines|einer|der|die|das|den|dem|des)\b",
    "en": r"\b(a|an|the)\b",
    "es": r"\b(un|una|unos|unas|el|la|los|las)\b",
    "hi": None,
    "vi": r"\b(của|là|cái|chiếc|những)\b",
    "zh": None,
}
HAN = re.compile("([\u4e00-\u9fa5])")


def squad_scores(predictions, references):
    """{name: 0 to 100} of answers normalised as English, whatever their language, as XTREME does for XQuAD and TyDiQA.

    A question's score is the best over its reference answers (a list of strings). `exact_match` and `f1` (of words) are the
    published ones, `f1_em_mean` their mean. `f1_char` is the F1 of bags of characters, in lower case and without white space and
    punctuation: the readable figure for languages without spaces (zh, th, ja), where a word is a whole answer and `f1` little
    more than exact match. Every language has it, so that tables have no holes; elsewhere it is kinder than `f1` and no more.
    Raises Placeholders for a question without a reference answer.
    """
    check_answers(references)
    normal = {text: squad_words(text) for text in _texts(predictions, references)}
    bags = {text: characters(text) for text in normal}
    return {
        **_exact_and_f1(normal, predictions, references),
        "f1_char": _mean_best(bag_f1, bags, predictions, references),
    }


def mlqa_scores(predictions, references, language):
    """`exact_match`, `f1` and `f1_em_mean` by MLQA's rules for answers in `language` (a context's, not a question's). A language
    that MLQA does not have is treated as its scorer treats Hindi, as one without articles.

    Raises ValueError without a language, and Placeholders for a question without a reference answer.
    """
    if language is None:
        raise ValueError("MLQA's scores depend on the language of the answers")
    check_answers(references)
    normal = {text: mlqa_words(text, language) for text in _texts(predictions, references)}
    return _exact_and_f1(normal, predictions, references)


def squad_words(text):
    """Words in lower case, without ASCII punctuation and English articles."""
    text = "".join(character for character in text.lower() if character not in string.punctuation)
    return re.sub(r"\b(a|an|the)\b", " ", text).split()


def mlqa_words(text, language):
    """Words in lower case, without any script's punctuation and the language's articles; in Chinese a Han character is one."""
    text = "".join(character for character in text.lower() if not _is_punctuation(character))
    text = re.sub(ARTICLES[language], " ", text) if ARTICLES.get(language) else text
    return (HAN.sub(r" \1 ", text) if language == "zh" else text).split()


def characters(text):
    """Characters in lower case, without white space and any script's punctuation."""
    return [character for character in text.lower() if not character.isspace() and not _is_punctuation(character)]


def _is_punctuation(character):
    """Whether it is of Unicode's P categories, or an ASCII symbol such as `$` or `+`, which is of another."""
    return unicodedata.category(character).startswith("P") or character in string.punctuation


def bag_f1(prediction, answer):
    """F1 of two bags (lists of words or characters), 0 to 1; 0 when they share nothing, also when both are empty."""
    shared = sum((collections.Counter(prediction) & collections.Counter(answer)).values())
    if shared == 0:
        return 0.0
    precision, recall = shared / len(prediction), shared / len(answer)
    return 2 * precision * recall / (precision + recall)


def _texts(predictions, references):
    """All texts that are compared, each once."""
    return {text for text in predictions if text is not None}.union(*references)


def _exact_and_f1(normal, predictions, references):
    exact = _mean_best(lambda prediction, answer: prediction == answer, normal, predictions, references)
    f1 = _mean_best(bag_f1, normal, predictions, references)
    return {"f1": f1, "exact_match": exact, "f1_em_mean": (f1 + exact) / 2}


def _mean_best(compare, normal, predictions, references):
    """100 times the mean over questions of the best comparison of the prediction with a reference answer."""
    pairs = zip(predictions, references, strict=True)
    best = [0 if text is None else max(compare(normal[text], normal[a]) for a in answers) for text, answers in pairs]
    return 100.0 * sum(best) / len(best)
