"""Which tokens hold an answer, what text they are of, and which answers no window has as its target.

A tokenizer's offsets do not end where a reader sees the end of a character. XLM-R's normalizer composes an accent with its letter
and drops U+200B, U+200D, U+200E and U+200F, so no token has them. An answer that ends in one is therefore the tokens that cover
the rest of it, and a predicted answer keeps the marks behind its last token.
"""

import unicodedata
from collections import Counter

import numpy as np

EMPTY, NO_TOKEN, NO_WINDOW = (
    "questions whose answer is empty",
    "questions whose answer has no token",
    "questions whose answer is whole in no window",
)


def without_blanks(context, tokens):
    """Offsets of tokens without the white space and the format characters (U+200B and the like) that they begin with: in many
    vocabularies what stands before a word belongs to its first token, and is no part of an answer."""
    if context.isascii():  # has no format characters, and answers are stripped of white space
        return tokens
    found = []
    for start, end in tokens:
        first = start
        while first < end and (context[first].isspace() or _is_format(context[first])):
            first += 1
        found.append((first if first < end else start, end))
    return found


def token_texts(context, tokens):
    """Offsets of the text of each token if it is the last one of an answer: with the marks behind it that no token has.

    Format characters are left out where a letter follows: they stand between two words (U+200B in Thai, U+200C in Persian).
    """
    if context.isascii():
        return tokens
    has_token = bytearray(len(context))
    for start, end in tokens:
        has_token[start:end] = b"\1" * (end - start)
    return [(start, _end_of_marks(context, end, has_token)) for start, end in tokens]


def _end_of_marks(context, end, has_token):
    last = end
    while last < len(context) and not has_token[last] and _is_mark(context[last]):
        last += 1
    if last < len(context) and context[last].isalnum():
        while last > end and _is_format(context[last - 1]):
            last -= 1
    return last


def _is_mark(character):
    """Whether a character belongs to the one before: accents and vowel signs, joiners and other format characters, and the
    letters of a decomposed Korean syllable after its first."""
    return unicodedata.category(character)[0] == "M" or _is_format(character) or "\u1160" <= character <= "\u11ff"


def _is_format(character):
    return unicodedata.category(character) == "Cf"


def token_span(answers, tokens):
    """(first, last) of the tokens, with their offsets in the whole context, that cover the first answer; None where there is no
    answer, and where no token has any of it."""
    start, end = edges(answers)
    inside = [place for place, (first, last) in enumerate(tokens) if first < end and last > start]
    return (inside[0], inside[-1]) if start < end and inside else None


def edges(answers):
    """Where the first answer starts and ends in the context, without white space around it; (0, 0) where there is none."""
    if not answers["text"]:
        return 0, 0
    text = answers["text"][0]
    start = answers["answer_start"][0] + len(text) - len(text.lstrip())
    return start, start + len(text.strip())


def untaught(features, examples):
    """{why: number} of examples with an answer that is the target of none of their windows."""
    columns = features.select_columns(["labels", "example"]).with_format("numpy")[:]
    owners, has_target = columns["example"], columns["labels"].any(1)
    taught, counts = {*owners[has_target].tolist()}, Counter()
    for number, answers in enumerate(examples["answers"]):
        if answers["text"] and number not in taught:
            rows = range(*np.searchsorted(owners, [number, number + 1]))
            counts[_why_untaught(answers, [features[row]["offsets"] for row in rows])] += 1
    return dict(counts)


def _why_untaught(answers, windows):
    start, end = edges(answers)
    if start >= end:
        return EMPTY
    begins_inside = any(start <= first < end for offsets in windows for first, _ in offsets)
    return NO_WINDOW if begins_inside else NO_TOKEN
