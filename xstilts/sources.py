"""Raw rows from the Hugging Face hub or from the publisher's own files, in both cases with the hub's columns.

`Source.features` is the hub's exact schema. What reads an official file (see `readers.py`) gives dictionaries of those columns,
so that a task needs one `to_example` for both. With `--data_dir` nothing touches the network: the official files that lie there
are read (`official_files.py`), and where there are none, the hub's rows that prepare_data.py has put there (`hub_rows.py`).
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from datasets import Features

from xstilts.base import UserError
from xstilts.hub_rows import hub_rows, kept_languages, kept_rows, piece_of
from xstilts.official_files import FirstOf, expected_files, file_rows, files_there, languages_in_files, patterns
from xstilts.raw_rows import MissingData


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where the rows of a task lie.

    hub       namespaced id on the Hugging Face hub, None for rows that are in files only
    config    its configuration; what `files` may hold in braces is filled in
    revision  a commit or branch; None is the hub's default branch. In refs/convert/parquet, which the hub makes, configurations
              are folders and have no names: only a dataset with a single one is read from there, without `config`
    features  the hub's schema, which rows from files are cast to
    splits    our split -> the hub's split
    files     our split -> official file below `--data_dir`, a glob pattern in which `{language}` and `{name}` are filled in, or
              several of them, of which every file is read, or `FirstOf` several. `{context}` and `{question}` are the two
              languages of a pair such as de-en, the same one where the language is not a pair. Translated rows of an English
              file DATASET/FILE are looked for in DATASET/translated/<language>/FILE
    read      (path, features) -> dictionaries with the columns of `features`, and a `Dropped` for each row that is left out
    names     language code -> how the publisher writes it, where that is not the code itself; with a file that holds several
              languages all of those that it holds
    remarks   {"hub": ..., "files": ...}: how the rows from there differ from the benchmark's, for every table of their scores
    foreign   {language: (percent of its test rows on the hub that are in another, which one)}, of the hub's own mistakes; from
              `hub_rows.FOREIGN` percent on, scores on such rows count in no average
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
    remarks: Mapping[str, str] = field(default_factory=dict)
    foreign: Mapping[str, tuple[float, str]] = field(default_factory=dict)
    language_of: Callable[[dict], str | None] | None = None


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
    return hub_rows(source, split, language) if data_dir is None else _rows_below(source, split, language, data_dir)


def _rows_below(source, split, language, data_dir):
    """Rows of the official files; where there are none, those that were fetched from the hub."""
    if files_there(source, split, language, data_dir):
        return file_rows(source, split, language, data_dir)
    piece = piece_of(source, split, language)
    if piece and piece.is_kept(data_dir):
        return kept_rows(source, split, language, data_dir)
    expected = " or ".join(expected_files(source, split, language, data_dir)) or "is declared"
    if piece is None:
        raise MissingData(f"no file {expected} ({split} rows in '{language}'); put it there or check --data_dir")
    raise MissingData(
        f"no file {expected} ({split} rows in '{language}'), nor the hub's rows in {piece.path(data_dir)}; put the file there, "
        "have prepare_data.py fetch the rows, or check --data_dir"
    )


def languages_in(source, split, data_dir):
    """Codes of the languages that `data_dir` holds rows of: published ones by their code, others as they are spelt."""
    return sorted({*languages_in_files(source, split, data_dir), *kept_languages(source, split, data_dir)})
