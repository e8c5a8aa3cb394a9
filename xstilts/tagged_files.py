"""Files of tagged words -> rows in the columns of the hub: CoNLL-U for parts of speech, IOB2 for named entities."""

import os
import re
from itertools import chain
from typing import NamedTuple

from xstilts.base import UserError, quoted
from xstilts.readers import Dropped
from xstilts.text_files import numbered_lines

NUMBER = re.compile(r"[0-9]+([-.][0-9]+)?")  # 5, the range 5-6 of a multiword token, the empty node 5.1
DOCUMENT = re.compile(r"-DOCSTART-(\s|$)")  # begins a document in CoNLL-2003's files and what was made in their manner
MARKS = Dropped("document marks")

# Which part of a multiword token gives it its tag, where several are equally high in the tree: XTREME's preference, by language.
PREFERRED = "VERB NOUN PROPN PRON ADJ NUM ADV INTJ AUX ADP DET PART CCONJ SCONJ X PUNCT".split()
PREFERRED_IN = {
    "es": "VERB AUX PRON ADP DET".split(),
    "fr": "VERB AUX PRON NOUN ADJ ADV ADP DET PART SCONJ CONJ".split(),
    "it": "VERB AUX ADV PRON ADP DET INTJ".split(),
}


class Word(NamedTuple):
    """A word of a treebank; `heads` are the numbers of the words it depends on, as text, enhanced dependencies included."""

    line: int
    form: str
    tag: str
    heads: tuple[str, ...] = ()


# ---- parts of speech ------------------------------------------------------------------------------------------------


def conllu(path, features):
    """CoNLL-U -> one row per sentence: `tokens`, its syntactic words, and `pos_tags` (UPOS, as indices of the hub's ClassLabel).

    Multiword-token ranges (3-4) and empty nodes (5.1) are not words. Words without a form (`_`: parts of a Marathi multiword
    token, treebanks whose texts are not free) are `Dropped`, as in the hub's rows; so are sentences whose tags are all `_`, and,
    as in XTREME, those with at most one form among words without one.
    """
    for each in _sentences(path):
        if isinstance(each, Dropped):
            yield each
        else:
            yield from _annotated(path, each[0], [word for word in each[0] if word.form != "_"], features["pos_tags"])


def conllu_as_xtreme(path, features):
    """The same with XTREME's words: the written form of a multiword token in the place of its parts, with the tag of one of them.

    Source: google-research/xtreme @ 838c13b, scripts/download_data.sh (`--replace_subtokens_with_fused_forms`),
    third_party/ud-conversion-tools and `udpos_preprocess`. The tag is that of the part that the fewest words are above of in the
    graph of basic and enhanced dependencies, of several the one that `PREFERRED` names first (the tool stops at a tag that
    is not in its list; here it comes last). Spaces and U+200C are taken out of forms, words without a form (`_`) stay.
    """
    preferred = PREFERRED_IN.get(os.path.basename(path).split("_")[0], PREFERRED)
    for each in _sentences(path):
        if isinstance(each, Dropped):
            yield each
            continue
        words = [word._replace(form=word.form.strip()) for word in _written(path, *each, preferred)]
        clean = [word._replace(form=word.form.replace("\u200c", "").replace(" ", "")) for word in words]
        yield from _annotated(path, words, clean, features["pos_tags"])


def _sentences(path):
    """(words, multiword tokens as (line, number of the first word, of the last, form)) of every sentence of a CoNLL-U file, and
    `Dropped` for every document mark."""
    words, ranges = [], []
    for number, line in chain(numbered_lines(path), [(0, "")]):
        if not line.strip() or DOCUMENT.match(line):
            if words:
                yield words, ranges
            if line.strip():
                yield MARKS
            words, ranges = [], []
        elif not line.startswith("#"):
            fields = _fields_of_conllu(path, number, line)
            if fields[0].isdigit():
                _check_number(path, number, fields[0], words)
                above = [pair.split(":")[0] for pair in fields[8].split("|")]
                words.append(Word(number, fields[1], fields[3], (fields[6], *filter(str.isdigit, above))))
            elif "-" in fields[0]:
                ranges.append((number, *map(int, fields[0].split("-")), fields[1]))
        elif words:
            raise UserError(f"{path}, line {number}: a comment inside a sentence: {quoted(line)}")


def _fields_of_conllu(path, number, line):
    fields = line.split("\t")
    if len(fields) == 1:
        raise UserError(_without_tab(path, number, line))
    if len(fields) != 10:
        raise UserError(f"{path}, line {number}: {len(fields)} columns instead of CoNLL-U's 10")
    if not NUMBER.fullmatch(fields[0]):
        raise UserError(f"{path}, line {number}: {quoted(fields[0])} is not the number of a word (5, 5-6 or 5.1)")
    return fields


def _annotated(path, words, kept, column):
    """The row of a sentence's `kept` words, if there is anything to learn from it, and what is left out of it."""
    forms = [word.form for word in words if word.form != "_"]
    if all(word.tag == "_" for word in words):
        yield Dropped("sentences without tags")
    elif len(forms) < min(2, len(words)):
        yield Dropped("sentences with at most one form")
    else:
        yield from [Dropped("words without a form")] * (len(words) - len(kept))
        yield {"tokens": [word.form for word in kept], "pos_tags": _numbers(path, kept, column)}


def _written(path, words, ranges, preferred):
    """The words of a sentence with multiword tokens in the places of their parts."""
    found, end, heads = [], 0, {str(number): word.heads for number, word in enumerate(words, start=1)}
    for line, first, last, form in ranges:
        if not end < first <= last <= len(words):
            where = f"in a sentence of {len(words)} words, {end} of which belong to those before"
            raise UserError(f"{path}, line {line}: {first}-{last} cannot be a multiword token {where}")
        above = {number: _number_above(heads, str(number)) for number in range(first, last + 1)}
        highest = [words[number - 1].tag for number, count in above.items() if count == min(above.values())]
        tag = min(highest, key=lambda tag: preferred.index(tag) if tag in preferred else len(preferred))
        found += [*words[end : first - 1], Word(line, form, tag)]
        end = last
    return found + words[end:]


def _number_above(heads, number):
    """How many words, the root (0) among them, a word depends on, directly or not."""
    found, new = set(), {number}
    while new:
        found |= new
        new = {head for each in new for head in heads.get(each, ())} - found
    return len(found) - 1


# ---- named entities -------------------------------------------------------------------------------------------------


def iob2(path, features):
    """Named entities -> one row per sentence: `tokens` and `ner_tags` (as indices of the hub's ClassLabel).

    Lines are `token TAB tag`, as XTREME writes PAN-X; `de:token TAB tag`, with the same prefix on every line, as its authors do;
    or `number TAB token TAB tag TAB ...`, as Universal NER does, with comments. One or more empty lines end a sentence, and so do
    document marks (-DOCSTART-), which are `Dropped`. Words stay as they are (no-break spaces, `_`, `#`), and so do entities that
    begin with I-.
    """
    prefix, words, place = _prefix(path), [], None
    for number, line in chain(numbered_lines(path), [(0, "")]):
        found = _word_and_tag(path, number, line)
        if found:
            word, tag, place = found
            if place:
                _check_number(path, number, place, words)
            words.append(Word(number, word.removeprefix(prefix), tag))
        elif found is None:
            if words:
                tags = _numbers(path, words, features["ner_tags"])
                yield {"tokens": [word.form for word in words], "ner_tags": tags}
            if line.strip():
                yield MARKS
            words = []
        elif words and not place:
            raise UserError(
                f"{path}, line {number}: {quoted(line)} has no tag, in a sentence whose words have no numbers"
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
    """(word, tag, its number in the sentence or None) of a line of named entities; None where a sentence ends (an empty line, a
    document mark); () for a comment and a multiword token's range."""
    fields = line.split("\t")
    if not line.strip() or DOCUMENT.match(line):
        return None
    if len(fields) == 1 and line.startswith("#"):
        return ()
    if len(fields) == 1:
        raise UserError(_without_tab(path, number, line))
    if len(fields) == 2 or not any(fields[2:]):  # tabs at the end of a line say nothing
        return fields[0], fields[1].strip(), None
    if not NUMBER.fullmatch(fields[0]):
        raise UserError(
            f"{path}, line {number}: {len(fields)} columns, but {quoted(fields[0])} is not the number of a word"
        )
    return (fields[1], fields[2], fields[0]) if fields[0].isdigit() else ()


# ---- both -----------------------------------------------------------------------------------------------------------


def _without_tab(path, number, line):
    """What to say of a line that should have a tab: spaces, or a word alone."""
    if " " in line.strip():
        return f"{path}, line {number}: no tab in the line {quoted(line)}; columns are set apart by tabs, not by spaces"
    return (
        f"{path}, line {number}: no tab in the line {quoted(line)}; XTREME's own download leaves the tags of tests out"
    )


def _check_number(path, line, number, words):
    """Raise UserError for a word that does not follow those before it: a line is lost, or an empty line between sentences."""
    if number != str(len(words) + 1):
        raise UserError(
            f"{path}, line {line}: word {number:.40} of a sentence follows {len(words)} words; lines are missing"
        )


def _numbers(path, words, column):
    """Numbers of the words' tags in a column of lists of tags. Raises UserError for a tag that it does not have."""
    tags = {tag: number for number, tag in enumerate(column.feature.names)}
    for word in words:
        if word.tag not in tags:
            raise UserError(f"{path}, line {word.line}: tag {quoted(word.tag)} is not one of {', '.join(tags)}")
    return [tags[word.tag] for word in words]
