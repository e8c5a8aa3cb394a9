"""Raw rows from the Hugging Face hub or from the publisher's own files, in both cases with the hub's columns.

`Source.features` is the hub's exact schema. The readers below turn an official file into dictionaries of those columns, so
that a task needs one `to_example` for both. With `--data_dir` nothing touches the network.
"""

import csv
import glob
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from datasets import Dataset, Features, load_dataset

from xstilts.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where the rows of a task lie.

    hub       namespaced id on the Hugging Face hub, None for rows that are in files only
    config    its configuration; `{language}` and `{name}` are filled in
    revision  a commit or branch; None is the hub's default branch
    features  the hub's schema, which rows from files are cast to
    splits    our split -> the hub's split
    files     our split -> official file below `--data_dir`, a glob pattern in which `{language}` and `{name}` are filled in
    read      (path, features) -> dictionaries with the columns of `features`
    names     language code -> how the publisher writes it, where that is not the code itself
    """

    hub: str | None = None
    config: str | None = None
    revision: str | None = None
    features: Features
    splits: Mapping[str, str]
    files: Mapping[str, str]
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
            f"the rows are not on the hub; give --data_dir DIR with DIR/{_fill(source.files[split], source, language)}"
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
    pattern = _fill(source.files[split], source, language)
    paths = sorted(glob.glob(os.path.join(glob.escape(data_dir), pattern)))
    if not paths:
        expected = os.path.join(data_dir, pattern)
        raise MissingData(f"no file {expected} ({split} rows in '{language}'); put it there or check --data_dir")
    return paths


def languages_in(source, split, data_dir):
    """Codes of the languages that `data_dir` holds files of: published ones by their code, others as they are spelt."""
    pattern = source.files[split]
    anywhere = os.path.join(glob.escape(data_dir), pattern.format(language="*", name="*"))
    spelling = re.escape(pattern).replace(r"\*", "[^/]*").replace(r"\{language\}", "(?P<language>[^/_]+)", 1)
    spelling = spelling.replace(r"\{name\}", "(?P<name>[^/_]+)", 1).replace(r"\{name\}", "(?P=name)")
    codes = {name: code for code, name in source.names.items()}
    found = (re.fullmatch(spelling, os.path.relpath(path, data_dir)) for path in glob.glob(anywhere))
    return sorted({codes.get(match[1], match[1]) for match in found if match and match.groups()})


def _fill(template, source, language):
    return template.format(language=language, name=source.names.get(language, language))


def _hub_rows(source, split, language):
    config = _fill(source.config, source, language) if source.config else None
    where = f"{source.hub}{f'/{config}' if config else ''} ({source.splits[split]})"
    try:
        rows = load_dataset(source.hub, config, split=source.splits[split], revision=source.revision)
    except (ConnectionError, OSError) as error:
        raise UserError(
            f"the hub cannot be reached for {where}: {_first_line(error)}; either run where there is internet, or give "
            f"--data_dir DIR with the official file DIR/{_fill(source.files[split], source, language)}"
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


# ---- readers: official file -> rows in the hub's columns -------------------------------------------------------------


def numbered_lines(path):
    """(line number from 1, line without its end) of a UTF-8 text file; a byte-order mark is dropped.

    Only \\n and \\r\\n end a line: str.splitlines would also cut at U+2028 and friends, which occur inside sentences.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            text = file.read()
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: byte {error.start} is not UTF-8") from error
    for number, line in enumerate(text.removesuffix("\n").split("\n"), start=1):
        yield number, line.removesuffix("\r")


def json_lines(path, columns, optional=()):
    """One JSON object a line, of which `columns` are kept. Columns in `optional` are None where a line lacks them."""
    return (row for _, row in numbered_json_lines(path, columns, optional))


def numbered_json_lines(path, columns, optional=()):
    """The same with line numbers, for readers that check more."""
    for number, line in numbered_lines(path):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise UserError(f"{path}, line {number}: not valid JSON ({error.msg})") from error
        if not isinstance(row, dict):
            raise UserError(f"{path}, line {number}: not a JSON object")
        lacking = [column for column in columns if row.get(column) is None and column not in optional]
        if lacking:
            raise UserError(f"{path}, line {number}: no '{lacking[0]}'")
        yield number, {column: row.get(column) for column in columns}


def tab_separated(path, columns):
    """(line number, row) of a headerless TSV whose fields may be quoted the CSV way (XTREME's XNLI and PAWS-X files)."""
    for number, line in numbered_lines(path):
        if not line.strip():
            continue
        try:
            fields = next(csv.reader([line], delimiter="\t", strict=True))
        except csv.Error as error:
            raise UserError(
                f"{path}, line {number}: a quoted field is not closed or not at an end ({error})"
            ) from error
        if len(fields) != len(columns):
            raise UserError(f"{path}, line {number}: {len(fields)} tab-separated fields instead of {len(columns)}")
        yield number, dict(zip(columns, fields, strict=True))


def squad_json(path, features):
    """SQuAD v1.1 JSON -> one row per question, with the columns of the hub's squad datasets."""
    try:
        with open(path, encoding="utf-8-sig") as file:
            articles = json.load(file)["data"]
        for article in articles:
            for paragraph in article["paragraphs"]:
                for question in paragraph["qas"]:
                    yield _squad_row(article, paragraph, question, features)
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UserError(f"{path}: not valid JSON ({error})") from error
    except (KeyError, TypeError) as error:
        raise UserError(f"{path}: not SQuAD JSON (missing {error})") from error


def _squad_row(article, paragraph, question, features):
    if "answers" not in question:
        raise KeyError(f"'answers' of question {question.get('id')}")
    answers = question["answers"]
    row = {
        "id": question["id"],
        "title": article.get("title", ""),
        "context": paragraph["context"],
        "question": question["question"],
        "answers": {"text": [a["text"] for a in answers], "answer_start": [a["answer_start"] for a in answers]},
    }
    return {column: row[column] for column in features}


def conllu(path, features):
    """CoNLL-U -> one row per sentence: `tokens` and `pos_tags` (UPOS, as indices of the hub's ClassLabel).

    Multiword-token ranges (3-4) and empty nodes (5.1) are not words and are left out; a sentence whose tags are all `_` has
    no annotation and is left out too, as the benchmark does.
    """
    tags = features["pos_tags"].feature
    words = []
    for number, line in [*numbered_lines(path), (0, "")]:
        if not line.strip():
            if any(tag != "_" for _, _, tag in words):
                yield _tagged_row(path, words, tags)
            words = []
        elif not line.startswith("#"):
            fields = line.split("\t")
            if len(fields) != 10:
                raise UserError(f"{path}, line {number}: {len(fields)} columns instead of CoNLL-U's 10")
            if not re.fullmatch(r"[0-9]+([-.][0-9]+)?", fields[0]):
                raise UserError(f"{path}, line {number}: '{fields[0]}' is not the number of a word (5, 5-6 or 5.1)")
            if fields[0].isdigit():
                words.append((number, fields[1], fields[3]))


def _tagged_row(path, words, tags):
    for number, _, tag in words:
        if tag not in tags.names:
            raise UserError(f"{path}, line {number}: tag '{tag}' is not one of {', '.join(tags.names)}")
    return {"tokens": [word for _, word, _ in words], "pos_tags": [tags.str2int(tag) for _, _, tag in words]}


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
