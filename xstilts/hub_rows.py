"""Rows of the Hugging Face hub, asked for now or kept below `--data_dir` since prepare_data.py fetched them.

A split of a configuration is kept as DIR/_hub/<id>/<configuration or default>/<split>.parquet, with all of its columns, and
<split>.json beside it says what it is; that file is written last, so without it the rows are not there. Both ways go through
the same checks, so that the same rows give the same examples.
"""

import re
from pathlib import Path
from typing import NamedTuple

import pyarrow
from datasets import Features, load_dataset
from datasets.table import table_cast
from pyarrow import compute, parquet

from xstilts.arrow_files import BATCH, passing, rows_of, write
from xstilts.base import UserError, check_pointer, first_line, read_json
from xstilts.names import check_name
from xstilts.official_files import patterns
from xstilts.raw_rows import MissingData, Raw, in_language
from xstilts.sealed import damage
from xstilts.shapes import Maybe, check_shape
from xstilts.templates import ENGLISH, filled, languages_of, names_language

HUB = "_hub"  # below --data_dir
FOREIGN = 1.0  # percent of rows in another language from which on scores count in no average
WHOLE = re.compile(r"u?int(8|16|32|64)")
DEFAULT = "default"  # the folder of a dataset without configurations
RECORD = {
    "id": str, "config": Maybe(str), "split": str, "asked_revision": Maybe(str), "revision": Maybe(str), "rows": int,
    "columns": [str], "fingerprint": str, "bytes": int, "digest": str,
}  # fmt: skip


class Piece(NamedTuple):
    """What the hub is asked for at once: a split of a configuration of a dataset, at a revision (None: its main branch)."""

    id: str
    config: str | None
    split: str
    revision: str | None

    def __str__(self):
        return f"{self.id}{f'/{self.config}' if self.config else ''} ({self.split})"

    def path(self, data_dir):
        """Where its rows are kept."""
        names = [*self.id.split("/"), self.config or DEFAULT, self.split]
        return Path(data_dir, HUB, *(check_name(name, f"{self}: a folder for it") for name in names[:-1])) / (
            f"{check_name(self.split, f'{self}: a file for it')}.parquet"
        )

    def is_kept(self, data_dir):
        """Whether its rows are there, by their record."""
        return record_path(self.path(data_dir)).is_file()


def record_path(path):
    """The file that says what the rows at a path are."""
    return path.with_suffix(".json")


def piece_of(source, split, language):
    """The Piece that has the rows of a split in a language; None where the hub has no such language, or nothing at all."""
    if source.hub is None or (language != ENGLISH and not _has_languages(source)):
        return None
    config = filled(source.config, language, source.names) if source.config else None
    return Piece(source.hub, config, source.splits[split], source.revision)


def _has_languages(source):
    return source.language_of is not None or names_language(source.config or "")


# ---- from the hub ---------------------------------------------------------------------------------------------------


def hub_rows(source, split, language):
    """`Raw` rows of the hub. Raises MissingData for a language or a split that it lacks, UserError where it cannot be reached or
    where the rows are not what is declared."""
    piece = piece_of(source, split, language)
    if piece is None:
        place = next(iter(patterns(source, split, language)), None)  # none for rows that are on the hub only
        way = f"; translated rows go to DIR/{place} and are found with --data_dir DIR" if place else ""
        raise MissingData(f"the hub has {source.hub} in English only{way}")
    try:
        rows = fetch(piece)
    except (ConnectionError, OSError) as error:
        places = [f"--data_dir DIR with the official file DIR/{each}" for each in patterns(source, split, language)]
        files = f"{places[0]}, or as prepare_data.py fills it" if places else "files"
        raise UserError(
            f"the hub cannot be reached for {piece}: {first_line(error)}; either run where there is internet, or give {files}"
        ) from error
    except (ValueError, RuntimeError) as error:
        raise (MissingData if is_unknown(error) else UserError)(
            f"the hub gives no {piece}: {first_line(error)}"
        ) from error
    found = rows.features
    return _of_language(declared_columns(rows, source, piece), source, language, piece, commit_of(rows), found)


def fetch(piece):
    """All rows and columns of a piece, a Dataset. Raises what `datasets` raises."""
    return load_dataset(piece.id, piece.config, split=piece.split, revision=piece.revision)


def commit_of(rows):
    """The commit that rows of the hub are of: `datasets` names the folder of its cache after it. None where it does not."""
    folders = {Path(file["filename"]).parent.name for file in rows.cache_files}
    found = [name for name in folders if re.fullmatch(r"[0-9a-f]{40}", name)]
    return found[0] if len(found) == 1 else None


def is_unknown(error):
    """Whether an error of `datasets` says that a dataset has no such configuration or split."""
    return any(word in str(error) for word in ("BuilderConfig", "Unknown split"))


def declared_columns(rows, source, piece):
    """Rows with the declared columns, labels numbered as declared. Raises UserError where that cannot be."""
    wanted = _features(rows.features, source, piece)
    rows = rows.select_columns(list(wanted))
    other = [column for column, feature in wanted.items() if feature != rows.features[column]]
    _check_numbers({column: rows.data.column(column) for column in other}, wanted, piece)
    for column, feature in wanted.items():
        if column in other:
            try:
                rows = rows.cast_column(column, feature)
            except ValueError as error:
                raise _undeclared([column], piece, error) from error
    return rows


def holds_several(source):
    """Whether only the rows of a piece say their languages."""
    return source.language_of is not None and not names_language(source.config or "")


def _of_language(rows, source, language, piece, revision, found):
    """`Raw` of rows with the declared columns, of which the hub has the features `found`."""
    if holds_several(source):
        kept = [index for index, _ in in_language(rows_of(rows), source, language, piece)]
        if not kept:
            raise MissingData(f"no rows in '{language}' in {piece}")
        rows = rows.select(kept)
    asked = {"id": piece.id, "config": piece.config, "split": piece.split, "revision": revision or piece.revision}
    percent, other = source.foreign.get(language, (0, ""))
    remarks = [source.remarks.get("hub", ""), *_remarks_on_numbers(found, source)]
    if other:
        fate = "counts in no average" if percent >= FOREIGN else "counts all the same"
        remarks.append(f"{percent:g} percent of the hub's test rows are {other}; {fate}")
    return Raw(rows, [str(piece)], hub=asked, remarks=tuple(filter(None, remarks)), counts=percent < FOREIGN)


# ---- from a folder --------------------------------------------------------------------------------------------------


def kept_rows(source, split, language, data_dir):
    """`Raw` rows that were fetched into `data_dir`, the same as those of the hub.

    Raises MissingData where they have none in the language, UserError for a file that is not what was written, and for one that
    was fetched at another revision than the task declares.
    """
    piece = piece_of(source, split, language)
    path, record = piece.path(data_dir), kept_record(piece, data_dir)
    if record["asked_revision"] != piece.revision:
        raise UserError(
            f"{path} was fetched at revision {record['asked_revision']}, the task's file asks for {piece.revision}; run "
            "prepare_data.py again where there is internet"
        )
    if path.exists():
        check_pointer(path)
    if reason := damage_of(piece, data_dir):
        raise UserError(f"{path.parent}: {reason}; run prepare_data.py again where there is internet")
    found = Features.from_arrow_schema(parquet.read_schema(path))
    rows = passing(f"{split}-{language}", lambda own: write(own, *_tables(path, source, piece)))
    return _of_language(rows, source, language, piece, record["revision"], found)


def kept_record(piece, data_dir):
    """What is known of the rows that were fetched. Raises UserError for a record that is none."""
    where = record_path(piece.path(data_dir))
    record = read_json(where)
    check_shape(record, RECORD, where)
    return record


def damage_of(piece, data_dir):
    """In words, where the file of a piece is not what was written, "" where it is."""
    path, record = piece.path(data_dir), kept_record(piece, data_dir)
    return damage(path.parent, {path.name: [record["bytes"], record["digest"]]})


def _tables(path, source, piece):
    """(what yields the declared columns of a parquet file, BATCH rows at a time; their schema)."""
    schema = parquet.read_schema(path)
    found = Features.from_arrow_schema(schema)
    wanted = _features(found, source, piece)
    numbered = [column for column, feature in wanted.items() if feature != found[column]]

    def tables():
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(BATCH, columns=list(wanted)):
                table = pyarrow.Table.from_batches([batch]).select(list(wanted))
                _check_numbers({column: table[column] for column in numbered}, wanted, piece)
                try:
                    yield table_cast(table, wanted.arrow_schema)
                except ValueError as error:
                    raise _undeclared(numbered, piece, error) from error

    return tables, wanted.arrow_schema


def kept_languages(source, split, data_dir):
    """Codes of the languages that rows of a split were fetched in."""
    if source.hub is None:
        return set()
    if names_language(source.config or ""):
        own = Path(data_dir, HUB, source.hub)
        found = [path.parent.name for path in own.glob("*/*.json") if path.stem == source.splits[split]]
        return {*languages_of(source.config, found, source.names)}
    if not piece_of(source, split, ENGLISH).is_kept(data_dir):
        return set()
    return _spoken(source, split, data_dir) if holds_several(source) else {ENGLISH}


def _spoken(source, split, data_dir):
    """The languages of rows in several; those that the source has names of, without a look at the rows."""
    if source.names:
        return {*source.names}
    path = piece_of(source, split, ENGLISH).path(data_dir)
    rows = parquet.read_table(path, columns=list(source.features)).to_pylist()
    return {check_name(language, path) for language in {source.language_of(row) for row in rows} - {None}}


# ---- columns --------------------------------------------------------------------------------------------------------


def _features(found, source, piece):
    """The declared columns with the features that their values get: those of the hub, and for labels as text or plain numbers the
    declared ones. Raises UserError for a column that is not there, and for labels whose names stand in another order."""
    if missing := set(source.features) - set(found):
        raise UserError(
            f"{piece} lacks the columns {', '.join(sorted(missing))}; pin an older revision in the task's file"
        )
    return Features({column: _numbered(column, found[column], each, piece) for column, each in source.features.items()})


def _numbered(column, found, declared, piece):
    names, there = _single(declared), _single(found)
    if names == there or not isinstance(names, list):
        return found
    if there in ("string", "large_string") or WHOLE.fullmatch(str(there)):
        return declared
    raise UserError(
        f"{piece} numbers the labels of '{column}' as {there}, not as {names}; declare its own in the task's file, or give "
        "--data_dir DIR with official files"
    )


def _remarks_on_numbers(found, source):
    """A remark on each column whose labels the hub has as plain numbers."""
    for column, declared in source.features.items():
        if isinstance(_single(declared), list) and WHOLE.fullmatch(str(_single(found[column]))):
            yield f"the hub has '{column}' as plain numbers, read in the order that the task declares"


def _check_numbers(columns, wanted, piece):
    """Raise UserError for a plain number that is no label; a cast lets those below 0 pass, which Python reads from the end.

    columns    {name: Arrow array} of those that get other features than they have
    """
    for column, values in columns.items():
        names = _single(wanted[column])
        while isinstance(values.type, pyarrow.ListType | pyarrow.LargeListType | pyarrow.FixedSizeListType):
            values = compute.list_flatten(values)
        if pyarrow.types.is_integer(values.type):
            found = compute.min_max(values).as_py()
            for number in filter(lambda number: number is not None and number not in range(len(names)), found.values()):
                declared = f"the task declares {len(names)} labels, 0 to {len(names) - 1}"
                raise UserError(f"{piece}: '{column}' has the number {number}, but {declared}")


def _single(feature):
    """Names of a ClassLabel column or of a column of lists of them; the type of any other."""
    each = getattr(feature, "feature", feature)
    return getattr(each, "names", None) or getattr(each, "dtype", None)


def _undeclared(columns, piece, error):
    names = ", ".join(f"'{column}'" for column in columns)
    return UserError(f"{piece}: a label of {names} is not declared: {first_line(error)}")
