"""BUCC's files -> two corpora of sentences, and which pairs of them are translations.

Three layouts of the same rows, `de` standing for the foreign language (https://comparable.limsi.fr/bucc2018/bucc2018-task.html):

    de-en.dev.de                         and .en, .gold: as XTREME's download_data.sh renames them (dev is sample, test training)
    de-en/de-en.sample.de                the same as the shared task's archives unpack
    bucc2018-de-en.sample-gold.tar.bz2   the archive itself, which is read as it is; nothing is unpacked

Sentence files have lines `id TAB sentence`, gold files `id TAB id`, the foreign one first. The corpora are comparable, not
parallel: about 2 to 3 percent of their sentences have a translation on the other side.
"""

import os
import tarfile
from typing import NamedTuple

from xstilts.base import UserError, check_pointer, quoted
from xstilts.raw_rows import MissingData
from xstilts.templates import ENGLISH
from xstilts.text_files import MARK, decoded


class Corpora(NamedTuple):
    """A foreign and an English corpus.

    ids        two lists, foreign and English, in the order of the files
    sentences  two lists, without white space around the sentences
    gold       pairs of positions (foreign, English), from 0, that are translations
    """

    ids: tuple[list[str], list[str]]
    sentences: tuple[list[str], list[str]]
    gold: list[tuple[int, int]]


def rows(path, features):
    """One row with the columns of the hub's mteb/BUCC, `gold` counting from 1. The ids are not among them: see `corpora`."""
    _, (foreign, english), gold = corpora(path)
    row = {"sentence1": foreign, "sentence2": english, "gold": [[i + 1, j + 1] for i, j in gold]}
    yield {column: row[column] for column in features}


def pairs(path, features):
    """One row per gold pair, with the columns of the hub's google/xtreme, bucc18.*; no sentence without a translation."""
    _, (foreign, english), gold = corpora(path)
    for i, j in gold:
        row = {"source_sentence": foreign[i], "target_sentence": english[j]}
        yield {column: row[column] for column in features}


def corpora(path):
    """`Corpora` of a foreign file and its two companions, or of an archive of the three.

    Raises MissingData where one of the three is not there; UserError, naming file and line, for what is not UTF-8, a line without
    a tab, an empty sentence, an id or a gold pair that is there twice, and a gold pair of an id that has no sentence.
    """
    foreign, english, gold = (_archived if path.endswith(".tar.bz2") else _plain)(path)
    ids, sentences = zip(_sentences(*foreign), _sentences(*english), strict=True)
    return Corpora(ids, sentences, _gold(*gold, ids, (foreign[0], english[0])))


def corpora_of_row(row, language, where):
    """`Corpora` of a row with the columns of the hub's mteb/BUCC. It has no ids: they are made of the positions, in the form of
    the shared task's (`de-000000001` is the first sentence), whose own are not known to be the same.

    Raises UserError, naming `where`, for an empty sentence and a gold pair that is there twice or that has no sentences.
    """
    sentences = tuple([sentence.strip() for sentence in row[column]] for column in ("sentence1", "sentence2"))
    for code, texts in zip((language, ENGLISH), sentences, strict=True):
        if "" in texts:
            raise UserError(f"{where}: sentence {texts.index('') + 1} in '{code}' is empty")
    ids = tuple(
        [f"{code}-{n:09}" for n in range(1, len(texts) + 1)]
        for code, texts in zip((language, ENGLISH), sentences, strict=True)
    )
    gold = dict.fromkeys(tuple(pair) for pair in row["gold"])
    for pair in gold:
        if len(pair) != 2 or not all(1 <= n <= len(texts) for n, texts in zip(pair, sentences, strict=True)):
            raise UserError(f"{where}: the gold pair {[*pair]} has no sentences; positions count from 1")
    if len(gold) < len(row["gold"]):
        raise UserError(f"{where}: a gold pair is there twice")
    return Corpora(ids, sentences, [(i - 1, j - 1) for i, j in gold])


# ---- which files ----------------------------------------------------------------------------------------------------


def _plain(path):
    """(path, bytes) of the foreign, the English and the gold file."""
    stem, language = path.rsplit(".", 1)
    for name in (f"{stem}.{suffix}" for suffix in (language, ENGLISH, "gold")):
        if not os.path.exists(name):
            restored = (
                f"; XTREME's download removes test.gold: it is the {language}-en.training.gold in the shared task's "
                f"bucc2018-{language}-en.training-gold.tar.bz2"
            )
            raise MissingData(f"{path} has no companion {name}{restored if name.endswith('test.gold') else ''}")
        check_pointer(name)
        with open(name, "rb") as file:
            yield name, file.read()


def _archived(path):
    """The same from an archive, which is read once from its beginning to its end."""
    stem = os.path.basename(path).removeprefix("bucc2018-").removesuffix("-gold.tar.bz2")
    names = [f"{stem}.{suffix}" for suffix in (stem.split("-")[0], ENGLISH, "gold")]
    contents = {}
    check_pointer(path)
    try:
        with tarfile.open(path, "r|bz2") as archive:
            for member in archive:
                name = os.path.basename(member.name)
                if name in names and member.isfile():
                    contents[name] = archive.extractfile(member).read()
    except (tarfile.TarError, EOFError, ValueError, OverflowError) as error:
        raise UserError(f"{path} cannot be read as a .tar.bz2 archive ({error}); is it whole?") from error
    if lacking := [name for name in names if name not in contents]:
        raise MissingData(f"{path} has no member {lacking[0]}")
    return [(f"{path}, {name}", contents[name]) for name in names]


# ---- what is in them ------------------------------------------------------------------------------------------------


def _sentences(where, content):
    """(ids, sentences) of a file."""
    ids, sentences = {}, []
    for number, id, sentence in _fields(where, content):
        sentence = sentence.strip()
        if not sentence:
            raise UserError(f"{where}, line {number}: the sentence is empty")
        if id in ids:
            raise UserError(f"{where}, line {number}: the id {quoted(id)} is there twice")
        ids[id] = None
        sentences.append(sentence)
    return [*ids], sentences


def _gold(where, content, ids, files):
    """Pairs of positions of a gold file; `files` are what the ids must be in."""
    places = [{id: position for position, id in enumerate(side)} for side in ids]
    gold = {}
    for number, *pair in _fields(where, content):
        for id, known, file in zip(pair, places, files, strict=True):
            if id not in known:
                raise UserError(f"{where}, line {number}: {quoted(id)} is the id of no sentence in {file}")
        positions = tuple(known[id] for id, known in zip(pair, places, strict=True))
        if positions in gold:
            raise UserError(f"{where}, line {number}: the pair {quoted(' '.join(pair))} is there twice")
        gold[positions] = None
    return [*gold]


def _fields(where, content):
    """(line number, what is before its first tab, what is behind it) of every line."""
    text = decoded(content, where).removeprefix(MARK)
    if not text:
        raise UserError(f"{where} is empty")
    for number, line in enumerate(text.removesuffix("\n").split("\n"), start=1):
        first, tab, second = line.removesuffix("\r").partition("\t")
        if not tab or not first:
            raise UserError(f"{where}, line {number}: no id and tab at its beginning: {quoted(line)}")
        yield number, first, second
