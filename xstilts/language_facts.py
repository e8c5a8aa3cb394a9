"""What is known about each language: its codes, family and script, its distances from English and how much data there is in it.

configs/languages.csv has one row for every language of XTREME and XTREME-R; a generated world has a file of the same columns.
A cell is empty where the number is not known. Sources:

- the five distances from English: recomputed from URIEL's features (Littell et al. 2017) by studies/make_languages.py, which
  says how. They are not lang2vec's precomputed distances (URIEL, below)
- cc100_gib, cc100_tokens_m: CC-100, the text XLM-R was pretrained on (Conneau et al. 2020, arXiv 1911.02116, appendix A: size in
  GiB, tokens in millions), as transcribed in mayhewsw/multilingual-data-stats @ 7397902, cc-100/cc-100.csv. Chinese is the sum of
  simplified and traditional, Burmese of both its encodings; romanised text, which has rows of its own, does not count. The 100
  rows are the 100 languages that XLM-R's authors list (facebookresearch/fairseq, examples/xlmr), so a language without one has
  0: ht, qu, wo, yo. Tokens say little about languages written without spaces (Japanese: 69.3 GiB, 530 million); bytes favour
  scripts whose letters take two or three of them.
- udpos_train: training sentences of XTREME's part-of-speech task (Universal Dependencies 2.5, by the language code that a file's
  name begins with: google/xtreme on the hub has more of el, fr, ru and zh, in other languages); 0 where a language has test
  sentences only. Of the languages that XTREME-R adds, Wolof's is known (its one treebank in release 2.7, as
  the hub's universal_dependencies 2.7.0 counts it); lt, pl, ro and uk are empty.
- families: Glottolog's highest node, as URIEL has it. Codes: ISO 639-3; `macro` where text is often labelled with the
  macrolanguage (zh: cmn, zho). Indonesian, a member of Malay's macrolanguage in ISO 639-3, has none here: msa is `ms`.
"""

import csv
import io
import math
from pathlib import Path

import pandas

from xstilts.base import UserError
from xstilts.text_files import text_of

FACTS = Path(__file__).resolve().parent.parent / "configs" / "languages.csv"
NAMES = ("code", "iso639_3", "macro", "name", "family", "script")
DISTANCES = ("syntactic", "phonological", "inventory", "geographic", "genetic")
OWN_DISTANCE = "own"  # the column of --distance_file
URIEL = (
    "The syntactic, phonological and inventory distances are cosine distances of URIEL's kNN features, lang2vec 1.1.2, "
    "CC BY-SA 4.0, as in Lauscher et al. 2020. lang2vec's precomputed distances are other numbers (English-French is 0.4569 "
    "there and 0.19 here); Toossi et al. 2024 (arXiv 2405.11125) show how URIEL's own calculation is ambiguous."
)
AMOUNTS = ("cc100_gib", "cc100_tokens_m", "udpos_train")
COLUMNS = (*NAMES, *DISTANCES, *AMOUNTS)
WANTED = {**dict.fromkeys(DISTANCES, "a distance from 0 to 1"), **dict.fromkeys(AMOUNTS, "an amount, 0 or more")}
WANTED["udpos_train"] = "a number of sentences"


def read_facts(path=FACTS):
    """A file like configs/languages.csv as a DataFrame indexed by `code`, in the file's order.

    Text columns are strings, "" where empty; DISTANCES (0 to 1) and AMOUNTS (0 or more) float64, NaN where not known; so are
    further columns in which every cell is a number or empty. Raises UserError, with file, line and column, for a missing or
    repeated column, a line of another length, a code or name that is empty or belongs to two languages, and a wrong number.
    """
    columns, rows = _read(path)
    _check_codes(path, rows)
    table = pandas.DataFrame([row for _, row in rows], columns=columns)
    for name in columns:
        if name in WANTED:
            values = [_checked(path, line, name, row[name]) for line, row in rows]
        else:
            values = [None if name in NAMES else _number(row[name]) for _, row in rows]
        if None not in values:
            table[name] = pandas.Series(values, dtype="float64")
    return table.set_index("code")


def _read(path, needed=COLUMNS, described="; xstilts/language_facts.py says what they hold"):
    """(columns, [(line number, {column: text}), ...]) of a CSV file with at least the `needed` columns."""
    try:
        reader = csv.reader(io.StringIO(text_of(path), newline=""), strict=True)
        lines = [(reader.line_num, cells) for cells in reader if cells]
    except csv.Error as error:
        raise UserError(f"{path}: not CSV ({error})") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror})") from error
    if len(lines) < 2:
        raise UserError(f"{path}: no languages; it should have a header and a line for each language")
    (first, columns), *rest = lines
    if missing := [name for name in needed if name not in columns]:
        raise UserError(f"{path}, line {first}: no column {', '.join(missing)}{described}")
    if twice := [name for name in columns if columns.count(name) > 1]:
        raise UserError(f"{path}, line {first}: column '{twice[0]:.40}' stands there twice")
    for line, cells in rest:
        if len(cells) != len(columns):
            raise UserError(f"{path}, line {line}: {len(cells)} cells instead of {len(columns)}")
    return columns, [(line, dict(zip(columns, cells, strict=True))) for line, cells in rest]


def read_distances(path, facts):
    """{code: distance from English} of a user's CSV file with the columns `language` and `distance`, for `facts[OWN_DISTANCE]`.

    A language is named by its code in `facts` or a three-letter code; one that `facts` lack is of no use here and passed
    over. A distance is a number from 0 on, in any unit, or empty where it is not known. Raises UserError, with file and line,
    for a missing column, a line of another length, another distance, a language that is there twice, and a file with no
    language of `facts`.
    """
    codes, found, lines = {**two_letter(facts), **{code: code for code in facts.index}}, {}, {}
    for line, row in _read(path, ("language", "distance"), "; it needs `language` and `distance`")[1]:
        code, number = codes.get(row["language"]), _number(row["distance"])
        if number is None or number < 0:
            raise UserError(f"{path}, line {line}: distance '{row['distance']:.40}' is not a number from 0 on")
        if code in lines:
            raise UserError(
                f"{path}, line {line}: '{row['language']:.40}' is the language of line {lines[code]} already"
            )
        if code is not None:
            found[code], lines[code] = number, line
    if not found:
        raise UserError(f"{path}: none of its languages is in the language facts, which have {', '.join(facts.index)}")
    return found


def _check_codes(path, rows):
    """Every language has a code, a three-letter code and a name, and no code stands for two languages."""
    owners = {}
    for line, row in rows:
        for column in ("code", "iso639_3", "name"):
            if not row[column]:
                raise UserError(f"{path}, line {line}: column {column} is empty")
        for column in ("code", "iso639_3", "macro"):
            owner, before = owners.setdefault(row[column], (line, row["code"]))
            if row[column] and owner != line:
                raise UserError(
                    f"{path}, line {line}: {column} '{row[column]:.40}' is that of line {owner} ({before:.40}) already"
                )


def _checked(path, line, column, text):
    """The number in a cell of DISTANCES or AMOUNTS; NaN for an empty one."""
    number = _number(text)
    above = number is not None and column in DISTANCES and number > 1
    if number is None or number < 0 or above or (column == "udpos_train" and number % 1 > 0):
        raise UserError(
            f"{path}, line {line}, column {column}: '{text:.40}' is not {WANTED[column]}; leave it empty if it is not known"
        )
    return number


def _number(text):
    """float of a cell, NaN for an empty one; None for what is no finite number."""
    if not text:
        return math.nan
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def two_letter(facts):
    """{three-letter code: the benchmarks' code}, of individual languages and macrolanguages: cmn and zho are both zh."""
    pairs = zip((*facts["iso639_3"], *facts["macro"]), (*facts.index, *facts.index), strict=True)
    return {three: code for three, code in pairs if three}


def three_letter(facts):
    """{the benchmarks' code: the three-letter code of the individual language}: zh is cmn."""
    return facts["iso639_3"].to_dict()


def low_resource(facts, cc100_gib=10, udpos_train=10_000):
    """(low, unknown): sets of codes of the languages with less than *both* amounts, and of those that cannot be told.

    A language that reaches one of the amounts is not low-resource, whatever the other is; None leaves an amount out. One that
    reaches none, but of which a number is not known, is in `unknown`, and neither low nor high.

    10 GiB of text, 3 percent of English's: XLM-R's authors name Swahili (1.6) and Urdu (5.7) when they speak of low-resource
    languages, and no benchmark language lies between Georgian (9.1) and Tamil (12.2). 10,000 sentences are less than half of
    English's 21,253, and none lies between Bulgarian (8,907) and Hindi (13,304). Both, because a small treebank alone makes no
    low-resource language for an encoder (Vietnamese: 1,400 sentences, 137 GiB), nor does little text where a large treebank could
    be trained on (Estonian: 6.1 GiB, 25,749 sentences). They are round numbers in gaps, no measurement: vary them.
    """
    limits = {
        name: limit for name, limit in (("cc100_gib", cc100_gib), ("udpos_train", udpos_train)) if limit is not None
    }
    if not limits:
        raise UserError("low-resource by which number? Give cc100_gib, udpos_train or both")
    amounts = facts[list(limits)]
    reached = (amounts >= pandas.Series(limits)).any(axis=1)
    unknown = ~reached & amounts.isna().any(axis=1)
    return {*facts.index[~reached & ~unknown]}, {*facts.index[unknown]}
