"""The publishers' own files below `--data_dir`: which ones a split in a language is in, and their rows with the hub's columns."""

import glob
import os
import re
from collections import Counter
from dataclasses import dataclass

import pyarrow
from datasets.table import table_cast

from xstilts.arrow_files import batches_of, passing, write
from xstilts.base import UserError, first_line
from xstilts.names import check_name
from xstilts.raw_rows import MissingData, Raw, in_language
from xstilts.readers import Dropped
from xstilts.shapes import Maybe, misfit, shape_of
from xstilts.templates import ENGLISH, filled, languages_of, names_language, of_any_language
from xstilts.text_files import empty_lines

JSON_LINES, EMPTY = ".jsonl", "empty lines"


@dataclass(frozen=True)
class FirstOf:
    """Official files in several forms: of these templates the first that `data_dir` has a file of, in whatever language, is read.
    So rows of two collections are never mixed, and a copy of the same rows in another form does not double them. A file that
    holds several languages is for those that the source has names of; rows in others are looked for in the next form."""

    templates: tuple[str, ...]


def file_rows(source, split, language, data_dir):
    """`Raw` rows of the official files. Raises MissingData where they have none in the language, UserError for empty ones and for
    values that do not fit."""
    paths = find_files(source, split, language, data_dir)
    where, counts, dropped = ", ".join(paths), Counter(), Counter()
    named = bool(source.language_of) and any(map(names_language, _templates(source, split, data_dir, language)))

    def tables():
        counts.clear()
        dropped.clear()
        rows = _read(source, paths, counts, dropped)
        if source.language_of:
            rows = (row for _, row in in_language(rows, source, language, where, named))
        return _tables(rows, source.features, where)

    found = passing(f"{split}-{language}", lambda path: write(path, tables, source.features.arrow_schema))
    if not counts["read"]:
        reasons = "".join(f"; left out: {count:,} {reason}" for reason, count in dropped.items())
        raise UserError(f"{where}: the file is empty{reasons}")
    if not len(found):
        raise MissingData(f"no rows in '{language}' in {where}")
    if named:
        dropped += Counter({"rows in another language than the file's": counts["read"] - len(found)})
    remarks = tuple(filter(None, [source.remarks.get("files")]))
    return Raw(found, [os.path.relpath(path, data_dir) for path in paths], dropped, remarks=remarks)


def _read(source, paths, counts, dropped):
    """Rows of some files; counts those that are `read`, and by reason those that are left out: by the reader, and in JSON lines
    the empty ones, which no reader gives."""
    for row in _checked(source, paths):
        if isinstance(row, Dropped):
            dropped[row.reason] += 1
        else:
            counts["read"] += 1
            yield row
    for path in paths:
        if path.endswith(JSON_LINES) and (count := empty_lines(path)):
            dropped[EMPTY] += count


def _checked(source, paths):
    """What the reader gives of some files. Raises UserError for a value of another type than its column: what a file has in the
    place of text would become text, and what is too large a number an error of another library."""
    shape = {name: Maybe(each) for name, each in shape_of(source.features).items()}
    flat = [(name, each.shape) for name, each in shape.items() if each.shape is str or isinstance(each.shape, range)]
    others = {name: each for name, each in shape.items() if name not in dict(flat)}
    for path in paths:
        for number, row in enumerate(source.read(path, source.features), start=1):
            if not isinstance(row, Dropped) and (wrong := misfit(row, others if _fits(row, flat) else shape)):
                raise UserError(f"{path}: row {number}: a value does not fit its column: {wrong}")
            yield row


def _fits(row, flat):
    """What `misfit` says of texts and whole numbers, several times faster; `flat` are (name, str or range) of such columns."""
    for name, kind in flat:
        value = row.get(name)
        if value is not None and (
            type(value) is not str if kind is str else type(value) is not int or value not in kind
        ):
            return False
    return True


def _tables(rows, features, where):
    """Arrow tables of rows, BATCH at a time, with the columns of `features`; the language of a row may be one more. Raises
    UserError for a value that does not fit."""
    for batch in batches_of(rows):
        columns = {name: [row.get(name) for row in batch] for name in batch[0] if name in features}
        try:
            table = table_cast(pyarrow.table(features.encode_batch(columns)), features.arrow_schema)
        except (TypeError, ValueError) as error:
            raise UserError(f"{where}: a value does not fit its column: {first_line(error)}") from error
        yield table


def find_files(source, split, language, data_dir):
    """Official files of one split and language, sorted by their own names. Raises MissingData with the expected path."""
    paths = files_there(source, split, language, data_dir)
    if not paths:
        expected = " or ".join(expected_files(source, split, language, data_dir))
        raise MissingData(f"no file {expected} ({split} rows in '{language}'); put it there or check --data_dir")
    return paths


def files_there(source, split, language, data_dir):
    """The same, [] where there are none."""
    places = (os.path.join(glob.escape(data_dir), pattern) for pattern in patterns(source, split, language, data_dir))
    found = {path for place in places for path in glob.glob(place)}
    if "_" not in language:  # zh_Hans_*, where zh_* is asked for, is of another language
        found = {
            path for path in found if not re.match(rf"{re.escape(language)}_[A-Z][a-z]{{3}}_", os.path.basename(path))
        }
    return sorted(found, key=lambda path: (os.path.basename(path), path))  # XTREME's order of treebanks


def expected_files(source, split, language, data_dir):
    """Paths, with wildcards, of which one at least should be there."""
    return [os.path.join(data_dir, pattern) for pattern in patterns(source, split, language, data_dir)]


def patterns(source, split, language, data_dir=None):
    """The glob patterns of a split in one language, below `--data_dir`; of `FirstOf` the one that is read, if any is there."""
    found = _templates(source, split, data_dir, language)
    if language != ENGLISH:
        found = [template if _template_has_languages(template, source) else _translated(template) for template in found]
    return [filled(template, language, source.names) for template in found]


def _templates(source, split, data_dir=None, language=None):
    """Templates of the files that are read for a language, or for any."""
    files = source.files.get(split, ())  # none for rows that are on the hub only
    if isinstance(files, str):
        return [files]
    if isinstance(files, FirstOf):
        found = [each for each in files.templates if _may_hold(each, source, language)]
        first = next((template for template in found if data_dir and _files_of(template, data_dir)), None)
        return [first] if first else found
    return [*files]


def _may_hold(template, source, language):
    """Whether a file may have rows in a language, by its name or by the names of languages in its rows."""
    return language is None or names_language(template) or not source.names or language in source.names


def _files_of(template, data_dir):
    """Files of a template in any language."""
    return glob.glob(os.path.join(glob.escape(data_dir), of_any_language(template)))


def holds_languages(source, split):
    """Whether the files of a split are of one language each, or all have rows in several."""
    return any(_template_has_languages(template, source) for template in _templates(source, split))


def _template_has_languages(template, source):
    return source.language_of is not None or names_language(template)


def _translated(template):
    dataset, file = template.split("/", 1)
    return f"{dataset}/translated/{{language}}/{file}"


def languages_in_files(source, split, data_dir):
    """Codes of the languages that `data_dir` holds files of: published ones by their code, others as they are spelt."""
    files = source.files.get(split, ())
    every = files.templates if isinstance(files, FirstOf) else _templates(source, split)
    found = {code for template in every for code in _languages_of(template, source, data_dir)}
    return sorted(code for code in found if files_there(source, split, code, data_dir))


def _languages_of(template, source, data_dir):
    files = _files_of(template, data_dir)
    if names_language(template):
        return {*_codes(template, source, data_dir)}
    if source.language_of:
        return {*(source.names or _spoken(source, files))} if files else set()
    return {*([ENGLISH] if files else []), *_codes(_translated(template), source, data_dir)}


def _spoken(source, paths):
    """Languages that occur in the rows of some files. Raises UserError for one that cannot be part of the name of a file."""
    found = set()
    for path in paths:
        rows = (row for row in _checked(source, [path]) if not isinstance(row, Dropped))
        found |= {check_name(language, path) for language in {source.language_of(row) for row in rows} - {None}}
    return found


def _codes(template, source, data_dir):
    """Languages of the files that a template with a language in it matches."""
    files = [os.path.relpath(path, data_dir) for path in _files_of(template, data_dir)]
    return languages_of(template, files, source.names)
