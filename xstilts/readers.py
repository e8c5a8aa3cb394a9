"""Official files -> rows in the columns of the hub: one reader per file format, each naming the line it stumbles over."""

import contextlib
import csv
import io
import os
import re
from typing import NamedTuple

from xstilts.base import UserError, print_main, quoted
from xstilts.shapes import Id, Maybe, misfit
from xstilts.text_files import numbered_lines, parse_json, text_of


class Dropped(NamedTuple):
    """What a reader gives in the place of something it leaves out, or beside what it has set right, and a task's `to_example` in
    the place of an example; `reason` is a plural noun, as "words without a form"."""

    reason: str


BROKEN, NO_LABEL = "lines that are broken off", "pairs without a gold label"


def label_index(label, labels, path, number):
    """Position of a label among `labels`. Raises UserError, naming file and line, for one that is none of them."""
    if label not in labels or type(label) is not type(labels[0]):  # True and 1.0 are equal to 1
        raise UserError(f"{path}, line {number}: label {quoted(label)} is not one of {', '.join(map(str, labels))}")
    return labels.index(label)


def whole_number(text, column, path, number):
    """The whole number that stands in a column. Raises UserError, naming file and line, for another text."""
    if not re.fullmatch(r"-?[0-9]{1,18}", text):
        raise UserError(f"{path}, line {number}: '{column}' is {quoted(text)}, not a whole number")
    return int(text)


def id_of(value):
    """An id as text, which some tools write as a number; what is neither stays what it is, and fits no column."""
    return str(value) if type(value) is int else value


def json_lines(path, columns, optional=()):
    """One JSON object a line, of which `columns` are kept. Columns in `optional` are None where a line lacks them."""
    return (row for _, row in numbered_json_lines(path, columns, optional))


def numbered_json_lines(path, columns, optional=()):
    """The same with line numbers, for readers that check more."""
    for number, line in numbered_lines(path):
        if not line.strip():
            continue
        row = parse_json(line, path, number)
        if not isinstance(row, dict):
            raise UserError(f"{path}, line {number}: not a JSON object")
        lacking = [column for column in columns if row.get(column) is None and column not in optional]
        if lacking:
            raise UserError(f"{path}, line {number}: no '{lacking[0]}'")
        yield number, {column: row.get(column) for column in columns}


def tab_separated(path, columns):
    """(line number, row) of a headerless TSV, whose publishers quote it (XTREME's XNLI and PAWS-X files) or do not.

    A file is quoted if every line with a quotation mark is what csv.writer would write; otherwise quotation marks are text. Where
    only some are, that is said. A quoted field ends in its line.
    """
    written, other = _quoting(path)
    if written and other:
        print_main(
            f"note: quotation marks are text in {path}: csv.writer could have written {written:,} of the lines that hold "
            f"some, but not line {other}"
        )
    for number, line in numbered_lines(path):
        if not line.strip():
            continue
        fields = line.split("\t") if other else _csv_fields(line)
        if len(fields) != len(columns):
            reason = f" (without quoting, because of line {other})" if other and '"' in line else ""
            raise UserError(
                f"{path}, line {number}: {len(fields)} tab-separated fields instead of {len(columns)}{reason}"
            )
        yield number, dict(zip(columns, fields, strict=True))


def _quoting(path):
    """(how many lines of a TSV hold quotation marks as csv.writer writes them, number of the first whose are others or 0)."""
    marked = ((number, line) for number, line in numbered_lines(path) if '"' in line)
    others = [number if _csv_fields(line) is None else 0 for number, line in marked]
    return others.count(0), next(filter(None, others), 0)


def _csv_fields(line):
    """The fields of a line of tab-separated ones that csv.writer wrote, quoted where they need it; None where it did not."""
    if '"' not in line:
        return line.split("\t")
    written = io.StringIO(newline="")
    with contextlib.suppress(csv.Error):
        fields = next(csv.reader([line], delimiter="\t", strict=True))
        csv.writer(written, delimiter="\t", lineterminator="\r\n").writerow(fields)
        if written.getvalue() == f"{line}\r\n":
            return fields
    return None


def headed_tsv(path, columns, drop_short=False):
    """(line number, row) of a TSV with a header and without any quoting, of which `columns` are kept. With `drop_short` lines
    that end too early are `Dropped`, as the hub's builder of GLUE does."""
    header = None
    for number, line in numbered_lines(path):
        fields = line.split("\t")
        if header is None:
            header = _header(path, fields, columns)
        elif line and drop_short and len(fields) < len(header):
            yield number, Dropped(BROKEN)
        elif line:
            yield number, _row(path, number, header, fields, columns)


def headed_csv(path, columns):
    """(number of its first line, row) of a CSV file with a header, whose quoted fields may contain line breaks."""
    header, start = None, 1
    records = csv.reader(io.StringIO(text_of(path), newline=None), strict=True)
    try:
        for fields in records:
            first, start = start, records.line_num + 1
            if header is None:
                header = _header(path, fields, columns)
            elif fields:
                yield first, _row(path, first, header, fields, columns)
    except csv.Error as error:
        raise UserError(f"{path}, line {start}: not valid CSV ({error})") from error


def _header(path, fields, columns):
    if lacking := [column for column in columns if column not in fields]:
        raise UserError(f"{path}, line 1: the header has no '{lacking[0]}'")
    return fields


def _row(path, number, header, fields, columns):
    if len(fields) != len(header):
        raise UserError(f"{path}, line {number}: {len(fields)} fields instead of the header's {len(header)}")
    row = dict(zip(header, fields, strict=True))
    return {column: row[column] for column in columns}


QUESTION = {"id": Id(), "question": str, "answers": [{"text": str, "answer_start": int}]}
SQUAD = {"data": [{"title": Maybe(str), "paragraphs": [{"context": str, "qas": [QUESTION]}]}]}


def squad_json(path, features):
    """SQuAD v1.1 or v2.0 JSON -> one row per question, with the columns of the hub's squad datasets. A question that cannot be
    answered has no `answers`; v2.0's `plausible_answers` are not read."""
    for article, paragraph in squad_paragraphs(path, SQUAD):
        for question in paragraph["qas"]:
            yield _squad_row(article, paragraph, question, features)


def squad_paragraphs(path, shape):
    """(article, paragraph) of every paragraph of a file in SQuAD's form. Raises UserError, with the file and where in it, for
    what is no JSON or of another shape."""
    content = parse_json(text_of(path), path)
    if wrong := misfit(content, shape):
        raise UserError(f"{path}: not SQuAD JSON ({wrong})")
    return ((article, paragraph) for article in content["data"] for paragraph in article["paragraphs"])


def _squad_row(article, paragraph, question, features):
    answers = question["answers"]
    row = {
        "id": str(question["id"]),
        "title": article.get("title") or "",
        "context": paragraph["context"],
        "question": question["question"],
        "answers": {"text": [a["text"] for a in answers], "answer_start": [a["answer_start"] for a in answers]},
    }
    return {column: row[column] for column in features}


# A node opens, a leaf (category, two parts of speech, word, category), a node closes; words may be brackets themselves.
NODE = re.compile(r"(?:\(<T [^ ]+ [0-9]+ [0-9]+>|\(<L ([^ ]+) [^ ]+ [^ ]+ ([^ ]+) [^ ]+>\)|\)) *")


def auto(path, features):
    """CCGbank's AUTO form, an `ID=` line and a line with the derivation -> `tokens` and `tags` (categories) of each sentence."""
    lines = ((number, line) for number, line in numbered_lines(path) if line.strip())
    for number, line in lines:
        if not line.startswith("ID="):
            raise UserError(f"{path}, line {number}: 'ID=...' is expected here, not {quoted(line)}")
        number, derivation = next(lines, (number, ""))
        if not derivation.startswith("("):
            raise UserError(f"{path}, line {number}: there is no derivation below {line.split()[0]:.80}")
        leaves = list(_leaves(path, number, derivation))
        if not leaves:
            raise UserError(f"{path}, line {number}: the derivation has no words")
        yield {"tokens": [word for _, word in leaves], "tags": [category for category, _ in leaves]}


def _leaves(path, number, derivation):
    """(category, word) of the leaves of a derivation, which is one tree."""
    depth, position = 0, 0
    while position < len(derivation):
        node = NODE.match(derivation, position)
        if node is None:
            raise UserError(f"{path}, line {number}: no node of a derivation: {quoted(derivation[position:])}")
        if node[1]:
            yield node.groups()
        depth += {"(<T": 1, "(<L": 0}.get(node[0][:3], -1)
        position = node.end()
        if depth < 0 or (depth == 0) != (position == len(derivation)):
            raise UserError(f"{path}, line {number}: the brackets of the derivation are not balanced")


def aligned_lines(path, features):
    """A text file and its English side (same name, ending `.eng`) -> one row per line pair, in the order of the files."""
    foreign = [line for _, line in numbered_lines(path)]
    english_path = path.rsplit(".", 1)[0] + ".eng"
    if not os.path.exists(english_path):
        raise UserError(f"{path} has no English side {english_path}")
    english = [line for _, line in numbered_lines(english_path)]
    if len(foreign) != len(english):
        raise UserError(f"{path} has {len(foreign)} lines but {english_path} has {len(english)}; they must be aligned")
    for number, pair in enumerate(zip(foreign, english, strict=True), start=1):
        if not all(side.strip() for side in pair):
            raise UserError(f"{path if not pair[0].strip() else english_path}, line {number}: the sentence is empty")
        yield dict(zip(("source_sentence", "target_sentence"), pair, strict=True))
