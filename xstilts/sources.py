"""Raw rows from the Hugging Face hub or from the publisher's own files, in both cases with the hub's columns.

`Source.features` is the hub's exact schema. What reads an official file (see `readers.py`) gives dictionaries of those columns,
so that a task needs one `to_example` for both. With `--data_dir` nothing touches the network.
"""

import glob
import os
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import pyarrow
from datasets import Dataset, Features, load_dataset
from datasets.table import table_cast

from xstilts.arrow_files import batches_of, passing, rows_of, write
from xstilts.errors import UserError, first_line
from xstilts.names import check_name
from xstilts.readers import Dropped
from xstilts.shapes import Maybe, misfit, shape_of

ENGLISH = "en"  # the language of rows whose files name none


@dataclass(frozen=True)
class FirstOf:
    """Official files in several forms: of these templates the first that `data_dir` has a file of, in whatever language, is read.
    So rows of two collections are never mixed, and a copy of the same rows in another form does not double them."""

    templates: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where the rows of a task lie.

    hub       namespaced id on the Hugging Face hub, None for rows that are in files only
    config    its configuration; what `files` may hold in braces is filled in
    revision  a commit or branch; None is the hub's default branch
    features  the hub's schema, which rows from files are cast to
    splits    our split -> the hub's split
    files     our split -> official file below `--data_dir`, a glob pattern in which `{language}` and `{name}` are filled in, or
              several of them, of which every file is read, or `FirstOf` several. `{context}` and `{question}` are the two
              languages of a pair such as de-en, the same one where the language is not a pair. Translated rows of an English
              file DATASET/FILE are looked for in DATASET/translated/<language>/FILE
    read      (path, features) -> dictionaries with the columns of `features`, and a `Dropped` for each row that is left out
    names     language code -> how the publisher writes it, where that is not the code itself
    language_of  row -> its language as `names` writes it, or None where the row does not say: for configurations and files
              that hold all languages. In a file whose name has a language, rows that do not say theirs are in that one
    """

    hub: str | None = None
    config: str | None = None
    revision: str | None = None
    features: Features
    splits: Mapping[str, str]
    files: Mapping[str, str | tuple[str, ...] | FirstOf]
    read: Callable
    names: Mapping[str, str] = field(default_factory=dict)
    language_of: Callable[[dict], str | None] | None = None


class Raw(NamedTuple):
    """Raw rows: a Dataset with `source.features`, where they came from, and {reason: how many were left out}."""

    rows: Dataset
    files: list[str]
    dropped: Mapping[str, int] = {}


class MissingData(UserError):
    """There are no rows for this language or split; the message says where they were looked for."""


def load_rows(source, split, language, data_dir=None):
    """Rows of one split in one language, and where they came from: `load_raw` without what was left out."""
    return load_raw(source, split, language, data_dir)[:2]


def load_raw(source, split, language, data_dir=None):
    """`Raw` rows of one split in one language.

    Raises MissingData when the split or the language has no rows there, UserError when a file cannot be read.
    """
    if split not in source.splits:
        raise MissingData(f"the task declares no {split} split, only {', '.join(source.splits)}")
    if data_dir is not None and not os.path.isdir(data_dir):
        raise UserError(f"--data_dir {data_dir} is not a folder")
    if data_dir is None and source.hub is None:
        raise UserError(
            f"the rows are not on the hub; give --data_dir DIR with DIR/{patterns(source, split, language)[0]}"
        )
    return _hub_rows(source, split, language) if data_dir is None else _file_rows(source, split, language, data_dir)


def _file_rows(source, split, language, data_dir):
    paths = find_files(source, split, language, data_dir)
    where, counts, dropped = ", ".join(paths), Counter(), Counter()
    named = bool(source.language_of) and any(map(_names_language, _templates(source, split, data_dir)))

    def tables():
        counts.clear()
        dropped.clear()
        rows = _read(source, paths, counts, dropped)
        if source.language_of:
            rows = (row for _, row in _in_language(rows, source, language, where, named))
        return _tables(rows, source.features, where)

    found = passing(f"{split}-{language}", lambda path: write(path, tables, source.features.arrow_schema))
    if not counts["read"]:
        reasons = "".join(f"; left out: {count:,} {reason}" for reason, count in dropped.items())
        raise UserError(f"{where}: the file is empty{reasons}")
    if not len(found):
        raise MissingData(f"no rows in '{language}' in {where}")
    if named:
        dropped += Counter({"rows in another language than the file's": counts["read"] - len(found)})
    return Raw(found, [os.path.relpath(path, data_dir) for path in paths], dropped)


def _read(source, paths, counts, dropped):
    """Rows of some files; counts those that are `read`, and by reason those that are left out."""
    for row in _checked(source, paths):
        if isinstance(row, Dropped):
            dropped[row.reason] += 1
        else:
            counts["read"] += 1
            yield row


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
    """Arrow tables of rows, BATCH at a time, with the columns of `features`. Raises UserError for a value that does not fit."""
    for batch in batches_of(rows):
        columns = {name: [row.get(name) for row in batch] for name in batch[0]}
        try:
            table = table_cast(pyarrow.table(features.encode_batch(columns)), features.arrow_schema)
        except (TypeError, ValueError) as error:
            raise UserError(f"{where}: a value does not fit its column: {first_line(error)}") from error
        yield table


def _in_language(rows, source, language, where, named=False):
    """(index, row) of the rows in a language, among rows in several; where `named`, those that do not say theirs count."""
    wanted = source.names.get(language, language)
    for index, row in enumerate(rows):
        spoken = source.language_of(row)
        if spoken is None and not named:
            raise UserError(f"{where}: row {index + 1} does not say its language")
        if spoken in (wanted, None):
            yield index, row


def find_files(source, split, language, data_dir):
    """Official files of one split and language, sorted by path. Raises MissingData with the expected path."""
    relative = patterns(source, split, language, data_dir)
    places = (os.path.join(glob.escape(data_dir), pattern) for pattern in relative)
    paths = sorted({path for place in places for path in glob.glob(place)})
    if not paths:
        expected = " or ".join(os.path.join(data_dir, pattern) for pattern in relative)
        raise MissingData(f"no file {expected} ({split} rows in '{language}'); put it there or check --data_dir")
    return paths


def patterns(source, split, language, data_dir=None):
    """The glob patterns of a split in one language, below `--data_dir`; of `FirstOf` the one that is read, if any is there."""
    found = _templates(source, split, data_dir)
    if language != ENGLISH:
        found = [template if _template_has_languages(template, source) else _translated(template) for template in found]
    return [_fill(template, source, language) for template in found]


def _templates(source, split, data_dir=None):
    files = source.files[split]
    if isinstance(files, str):
        return [files]
    if isinstance(files, FirstOf):
        first = next((template for template in files.templates if data_dir and _files_of(template, data_dir)), None)
        return [first] if first else [*files.templates]
    return [*files]


def _files_of(template, data_dir):
    """Files of a template in any language."""
    return glob.glob(os.path.join(glob.escape(data_dir), template.format(**dict.fromkeys(FIELDS, "*"))))


def holds_languages(source, split):
    """Whether the files of a split are of one language each, or all have rows in several."""
    return any(_template_has_languages(template, source) for template in _templates(source, split))


def _template_has_languages(template, source):
    return source.language_of is not None or _names_language(template)


FIELDS = ("language", "name", "context", "question")  # what templates may hold in braces


def _names_language(template):
    return any(f"{{{part}}}" in template for part in FIELDS)


def _translated(template):
    dataset, file = template.split("/", 1)
    return f"{dataset}/translated/{{language}}/{file}"


def languages_in(source, split, data_dir):
    """Codes of the languages that `data_dir` holds files of: published ones by their code, others as they are spelt."""
    found = set()
    for template in _templates(source, split, data_dir):
        if _names_language(template):
            found |= set(_codes(template, source, data_dir))
        elif source.language_of:
            files = _files_of(template, data_dir)
            found |= set(source.names or _spoken(source, files)) if files else set()
        else:
            found |= {ENGLISH} if _files_of(template, data_dir) else set()
            found |= set(_codes(_translated(template), source, data_dir))
    return sorted(found)


def _spoken(source, paths):
    """Languages that occur in the rows of some files. Raises UserError for one that cannot be part of the name of a file."""
    found = set()
    for path in paths:
        rows = (row for row in _checked(source, [path]) if not isinstance(row, Dropped))
        found |= {check_name(language, path) for language in {source.language_of(row) for row in rows} - {None}}
    return found


def _codes(template, source, data_dir):
    """Languages of the files that a template with a language in it matches."""
    spelling = re.escape(template).replace(r"\*", "[^/]*").replace(r"\[", "[").replace(r"\]", "]").replace(r"\-", "-")
    for part in FIELDS:
        spelling = spelling.replace(rf"\{{{part}\}}", f"(?P<{part}>[^/_]+)", 1)
        spelling = spelling.replace(rf"\{{{part}\}}", f"(?P={part})")
    codes = {name: code for code, name in source.names.items()}
    for path in _files_of(template, data_dir):
        if match := re.fullmatch(spelling, os.path.relpath(path, data_dir)):
            parts = dict.fromkeys(match.groups())
            yield "-".join(codes.get(part, part) for part in parts)


def pair_of(language):
    """The languages of context and question: ("de", "en") of `de-en`, ("de", "de") of `de`."""
    context, _, question = language.partition("-")
    return context, question or context


def _fill(template, source, language):
    check_name(language, "a language that was asked for, or found in the data")
    context, question = pair_of(language)
    name = source.names.get(language, language)
    return template.format(language=language, name=name, context=context, question=question)


def _hub_rows(source, split, language):
    if language != ENGLISH and not _template_has_languages(source.config or "", source):
        raise MissingData(
            f"the hub has {source.hub} in English only; translated rows go to DIR/{patterns(source, split, language)[0]} and "
            "are found with --data_dir DIR"
        )
    config = _fill(source.config, source, language) if source.config else None
    where = f"{source.hub}{f'/{config}' if config else ''} ({source.splits[split]})"
    try:
        rows = load_dataset(source.hub, config, split=source.splits[split], revision=source.revision)
    except (ConnectionError, OSError) as error:
        files = (
            f"--data_dir DIR with the official file DIR/{patterns(source, split, language)[0]}"
            if source.files
            else "files"
        )
        raise UserError(
            f"the hub cannot be reached for {where}: {first_line(error)}; either run where there is internet, or give {files}"
        ) from error
    except (ValueError, RuntimeError) as error:
        unknown = any(word in str(error) for word in ("BuilderConfig", "Unknown split"))
        raise (MissingData if unknown else UserError)(f"the hub gives no {where}: {first_line(error)}") from error
    missing = set(source.features) - set(rows.column_names)
    if missing:
        raise UserError(
            f"{where} lacks the columns {', '.join(sorted(missing))}; pin an older revision in the task's file"
        )
    rows = rows.select_columns(list(source.features))
    for column, feature in source.features.items():
        rows = _with_numbers(rows, column, feature, where)
    if source.language_of:
        kept = [index for index, _ in _in_language(rows_of(rows), source, language, where)]
        if not kept:
            raise MissingData(f"no rows in '{language}' in {where}")
        rows = rows.select(kept)
    return Raw(rows, [where])


def _with_numbers(rows, column, declared, where):
    """Rows whose labels are numbered as the column is declared; labels as text get their numbers. Raises UserError otherwise."""
    names, found = _single(declared), _single(rows.features[column])
    if names == found or not isinstance(names, list):
        return rows
    if found == "string":
        try:
            return rows.cast_column(column, declared)
        except ValueError as error:
            raise UserError(f"{where}: a label of '{column}' is not declared: {first_line(error)}") from error
    raise UserError(
        f"{where} numbers the labels of '{column}' as {found}, not as {names}; pin an older revision in the task's file"
    )


def _single(feature):
    """Names of a ClassLabel column or of a column of lists of them; the type of any other."""
    each = getattr(feature, "feature", feature)
    return getattr(each, "names", None) or getattr(each, "dtype", None)
