"""Raw rows from the Hugging Face hub or from the publisher's own files, in both cases with the hub's columns.

`Source.features` is the hub's exact schema. What reads an official file (see `readers.py`) gives dictionaries of those columns,
so that a task needs one `to_example` for both. With `--data_dir` nothing touches the network.
"""

import glob
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from datasets import Dataset, Features, load_dataset

from xstilts.errors import UserError

ENGLISH = "en"  # the language of rows whose files name none


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where the rows of a task lie.

    hub       namespaced id on the Hugging Face hub, None for rows that are in files only
    config    its configuration; `{language}` and `{name}` are filled in
    revision  a commit or branch; None is the hub's default branch
    features  the hub's schema, which rows from files are cast to
    splits    our split -> the hub's split
    files     our split -> official file below `--data_dir`, a glob pattern in which `{language}` and `{name}` are filled in, or
              several of them, of which every file is read. Translated rows of an English file DATASET/FILE are looked for in
              DATASET/translated/<language>/FILE
    read      (path, features) -> dictionaries with the columns of `features`
    names     language code -> how the publisher writes it, where that is not the code itself
    """

    hub: str | None = None
    config: str | None = None
    revision: str | None = None
    features: Features
    splits: Mapping[str, str]
    files: Mapping[str, str | tuple[str, ...]]
    read: Callable
    names: Mapping[str, str] = field(default_factory=dict)


class MissingData(UserError):
    """There are no rows for this language or split; the message says where they were looked for."""


def load_rows(source, split, language, data_dir=None):
    """Rows of one split in one language: (Dataset with `source.features`, where they came from).

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
    if data_dir is None:
        return _hub_rows(source, split, language)
    paths = find_files(source, split, language, data_dir)
    rows = [row for path in paths for row in source.read(path, source.features)]
    if not rows:
        raise UserError(f"{', '.join(paths)}: the file is empty")
    try:
        return Dataset.from_list(rows, features=source.features), [os.path.relpath(path, data_dir) for path in paths]
    except (TypeError, ValueError) as error:
        raise UserError(f"{', '.join(paths)}: a value does not fit its column: {_first_line(error)}") from error


def find_files(source, split, language, data_dir):
    """Official files of one split and language, sorted by path. Raises MissingData with the expected path."""
    expected = [os.path.join(data_dir, pattern) for pattern in patterns(source, split, language)]
    places = (os.path.join(glob.escape(data_dir), pattern) for pattern in patterns(source, split, language))
    paths = sorted({path for place in places for path in glob.glob(place)})
    if not paths:
        raise MissingData(
            f"no file {' or '.join(expected)} ({split} rows in '{language}'); put it there or check --data_dir"
        )
    return paths


def patterns(source, split, language):
    """The glob patterns of a split in one language, below `--data_dir`."""
    found = _templates(source, split)
    if language != ENGLISH:
        found = [template if _names_language(template) else _translated(template) for template in found]
    return [_fill(template, source, language) for template in found]


def _templates(source, split):
    return [source.files[split]] if isinstance(source.files[split], str) else list(source.files[split])


def _names_language(template):
    return "{language}" in template or "{name}" in template


def _translated(template):
    dataset, file = template.split("/", 1)
    return f"{dataset}/translated/{{language}}/{file}"


def languages_in(source, split, data_dir):
    """Codes of the languages that `data_dir` holds files of: published ones by their code, others as they are spelt."""
    here, found = glob.escape(data_dir), set()
    for template in _templates(source, split):
        found |= {ENGLISH} if glob.glob(os.path.join(here, template)) else set()
        found |= set(_codes(template if _names_language(template) else _translated(template), source, data_dir))
    return sorted(found)


def _codes(template, source, data_dir):
    """Languages of the files that a template with a language in it matches."""
    spelling = re.escape(template).replace(r"\*", "[^/]*").replace(r"\[", "[").replace(r"\]", "]").replace(r"\-", "-")
    spelling = spelling.replace(r"\{language\}", "(?P<language>[^/_]+)", 1)
    spelling = spelling.replace(r"\{name\}", "(?P<name>[^/_]+)", 1).replace(r"\{name\}", "(?P=name)")
    codes = {name: code for code, name in source.names.items()}
    anywhere = os.path.join(glob.escape(data_dir), template.format(language="*", name="*"))
    for path in glob.glob(anywhere):
        if match := re.fullmatch(spelling, os.path.relpath(path, data_dir)):
            yield codes.get(match[1], match[1])


def _fill(template, source, language):
    return template.format(language=language, name=source.names.get(language, language))


def _hub_rows(source, split, language):
    if language != ENGLISH and not _names_language(source.config or ""):
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
            f"the hub cannot be reached for {where}: {_first_line(error)}; either run where there is internet, or give {files}"
        ) from error
    except (ValueError, RuntimeError) as error:
        unknown = any(word in str(error) for word in ("BuilderConfig", "Unknown split"))
        raise (MissingData if unknown else UserError)(f"the hub gives no {where}: {_first_line(error)}") from error
    missing = set(source.features) - set(rows.column_names)
    if missing:
        raise UserError(
            f"{where} lacks the columns {', '.join(sorted(missing))}; pin an older revision in the task's file"
        )
    for column, feature in source.features.items():
        if _label_names(feature) != _label_names(rows.features[column]):
            raise UserError(
                f"{where} numbers the labels of '{column}' as {_label_names(rows.features[column])}, not as "
                f"{_label_names(feature)}; pin an older revision in the task's file"
            )
    return rows.select_columns(list(source.features)), [where]


def _label_names(feature):
    """Names of a ClassLabel column or a column of lists of them; None for any other."""
    return getattr(getattr(feature, "feature", feature), "names", None)


def _first_line(error):
    return str(error).strip().split("\n")[0]
