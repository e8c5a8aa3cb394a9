"""Files of tagged words -> rows in the columns of the hub: CoNLL-U for parts of speech, IOB2 for named entities."""

import re
from itertools import chain

from xstilts.errors import UserError, shown
from xstilts.readers import Dropped
from xstilts.text_files import numbered_lines

NUMBER = re.compile(r"[0-9]+([-.][0-9]+)?")  # 5, the range 5-6 of a multiword token, the empty node 5.1


def conllu(path, features):
    """CoNLL-U -> one row per sentence: `tokens` and `pos_tags` (UPOS, as indices of the hub's ClassLabel).

    Multiword-token ranges (3-4) and empty nodes (5.1) are not words. Words without a form (`_`: parts of a Marathi multiword
    token, treebanks whose texts are not free) are `Dropped`, as in the hub's rows; so is a sentence without any other word, or
    whose tags are all `_`.
    """
    words, tags = [], _numbered(features["pos_tags"])
    for number, line in chain(numbered_lines(path), [(0, "")]):
        if not line.strip():
            yield from _annotated(path, words, tags)
            words = []
        elif not line.startswith("#"):
            fields = line.split("\t")
            if len(fields) != 10:
                raise UserError(f"{path}, line {number}: {len(fields)} columns instead of CoNLL-U's 10")
            if not NUMBER.fullmatch(fields[0]):
                raise UserError(
                    f"{path}, line {number}: {shown(fields[0])} is not the number of a word (5, 5-6 or 5.1)"
                )
            if fields[0].isdigit():
                _check_number(path, number, fields[0], words)
                words.append((number, fields[1], fields[3]))
        elif words:
            raise UserError(f"{path}, line {number}: a comment inside a sentence: {shown(line)}")


def _check_number(path, line, number, words):
    """Raise UserError for a word that does not follow those before it: a line is lost, or an empty line between sentences."""
    if number != str(len(words) + 1):
        raise UserError(
            f"{path}, line {line}: word {number:.40} of a sentence follows {len(words)} words; lines are missing"
        )


def _annotated(path, words, tags):
    """The row of a sentence's words, if there is anything to learn from it, and what is left out of it."""
    if words and all(tag == "_" for *_, tag in words):
        yield Dropped("sentences without tags")
        return
    written = [word for word in words if word[1] != "_"]
    yield from [Dropped("words without a form")] * (len(words) - len(written))
    if written:
        yield {"tokens": [word for _, word, _ in written], "pos_tags": _numbers(path, written, tags)}
    elif words:
        yield Dropped("sentences without words")


def iob2(path, features):
    """Named entities -> one row per sentence: `tokens` and `ner_tags` (as indices of the hub's ClassLabel).

    Lines are `token TAB tag`, as XTREME writes PAN-X; `de:token TAB tag`, with the same prefix on every line, as its authors do;
    or `number TAB token TAB tag TAB ...`, as Universal NER does, with comments. One or more empty lines end a sentence. Words
    stay as they are (no-break spaces, `_`, `#`), and so do entities that begin with I-.
    """
    prefix, words, tags, place = _prefix(path), [], _numbered(features["ner_tags"]), None
    for number, line in chain(numbered_lines(path), [(0, "")]):
        found = _word_and_tag(path, number, line)
        if found:
            word, tag, place = found
            if place:
                _check_number(path, number, place, words)
            words.append((number, word.removeprefix(prefix), tag))
        elif found is None and words:
            yield {"tokens": [word for _, word, _ in words], "ner_tags": _numbers(path, words, tags)}
            words = []
        elif words and not place:
            raise UserError(
                f"{path}, line {number}: {shown(line)} has no tag, in a sentence whose words have no numbers"
            )


def _prefix(path):
    """`de:` where all words of a file begin with it; nothing where two of them, of which the first lines tell, do not."""
    starts = set()
    for number, line in numbered_lines(path):
        if found := _word_and_tag(path, number, line):
            starts.add(found[0].partition(":")[:2])
        if len(starts) > 1 or any("" in start for start in starts):
            return ""
    return "".join(*starts) if starts else ""


def _word_and_tag(path, number, line):
    """(word, tag, its number in the sentence or None) of a line of named entities; None for an empty line, () for a comment and a
    multiword token's range."""
    fields = line.split("\t")
    if not line.strip():
        return None
    if len(fields) == 1 and line.startswith("#"):
        return ()
    if len(fields) == 1:
        raise UserError(
            f"{path}, line {number}: {shown(line)} has no tag; XTREME's own download leaves those of tests out"
        )
    if len(fields) == 2:
        return fields[0], fields[1].strip(), None
    if not NUMBER.fullmatch(fields[0]):
        raise UserError(
            f"{path}, line {number}: {len(fields)} columns, but {shown(fields[0])} is not the number of a word"
        )
    return (fields[1], fields[2], fields[0]) if fields[0].isdigit() else ()


def _numbered(column):
    """{tag: its number} of a column of lists of tags."""
    return {tag: number for number, tag in enumerate(column.feature.names)}


def _numbers(path, words, tags):
    for number, _, tag in words:
        if tag not in tags:
            raise UserError(f"{path}, line {number}: tag {shown(tag)} is not one of {', '.join(tags)}")
    return [tags[tag] for *_, tag in words]
