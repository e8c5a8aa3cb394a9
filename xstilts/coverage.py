"""How well vocabulary and length fit a language, measured on the inputs of a task."""

import unicodedata
from collections import Counter
from itertools import chain

from xstilts.tagging import word_pieces

# Scripts of languages that are written without spaces between words, by what names of their letters begin with: the ideographic
# ones and those of South East Asia, whose lines break within what white space divides (classes ID and SA of Unicode's annex 14).
WITHOUT_SPACES = ("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR", "TAI ", "NEW TAI", "AHOM", "YI ")


def is_without_spaces(texts):
    """Whether most letters of texts are of scripts that have no spaces between words."""
    letters = Counter(character for character in chain.from_iterable(texts) if character.isalpha())
    without = sum(n for each, n in letters.items() if unicodedata.name(each, "").startswith(WITHOUT_SPACES))
    return without * 2 > letters.total()


def inputs_of(task, examples):
    """Every input of a task's examples as a tuple of texts, for `coverage`."""
    return [each for example in examples.rows for each in task.type.texts(example)]


def coverage(inputs, tokenizer, max_seq_length, are_words=False):
    """How well the vocabulary and the length fit a language, the strongest confounds of transfer.

    `inputs` are tuples of texts: a sentence, a pair, or with `are_words` the words of a sentence, which are tokenised as tagging
    does. Returns sub-words per word (words as white space or the treebank divides them; None of languages without spaces, whose
    words nobody has divided), and per character, which all have, the share of unknown pieces, and the share of inputs that do not
    fit into `max_seq_length` and are therefore cut, or for tagging and QA read in windows.
    """
    flat = [*chain.from_iterable(inputs)]
    if are_words:
        pieces, words = [*chain.from_iterable(word_pieces(inputs, tokenizer))], len(flat)
    else:
        pieces = tokenizer(flat, add_special_tokens=False)["input_ids"]
        words = None if is_without_spaces(flat) else sum(len(text.split()) for text in flat)
    lengths, total = iter(map(len, pieces)), max(1, sum(map(len, pieces)))
    needed = [
        sum(next(lengths) for _ in each) + tokenizer.num_special_tokens_to_add(pair=len(each) == 2 and not are_words)
        for each in inputs
    ]
    return {
        "subwords_per_word": None if words is None else round(total / max(1, words), 4),
        "subwords_per_character": round(total / max(1, sum(map(len, flat))), 4),
        "unknown_share": round(sum(ids.count(tokenizer.unk_token_id) for ids in pieces) / total, 6),
        "too_long_share": round(sum(length > max_seq_length for length in needed) / len(inputs), 6),
    }
