"""A submission in the benchmark's layout, `<task>/test-<language>.<suffix>`: its files read strictly and scored one by one.

What XTREME's scorer takes without a word (a question without an answer) is scored as it does and noted; what it stumbles over, or
would pair wrongly, is a UserError with the file and the line. Label files have the same layout and formats.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from xstilts import answers, scoring
from xstilts.errors import UserError
from xstilts.placeholders import ADVICE, Placeholders
from xstilts.readers import squad_paragraphs
from xstilts.shapes import misfit
from xstilts.text_files import parse_json, text_of

WORD, TAG, ENTITY = (
    r"\S+",
    "ADJ|ADP|ADV|AUX|CCONJ|DET|INTJ|NOUN|NUM|PART|PRON|PROPN|PUNCT|SCONJ|SYM|VERB|X|_",
    r"O|[BI]-\w+",
)


@dataclass(frozen=True, kw_only=True)
class Format:
    """How a task's files are read and scored.

    suffixes     of its files, the benchmark's first
    read, gold   path -> predictions, path -> labels
    score        (predictions, labels, language) -> ({metric: 0 to 100}, [notes])
    """

    suffixes: tuple[str, ...]
    read: Callable
    gold: Callable
    score: Callable


def file_of(task, language, folder):
    """Path of a language's file in a task's folder, or None."""
    paths = (folder / f"test-{language}{suffix}" for suffix in FORMATS[task].suffixes)
    return next((path for path in paths if path.is_file()), None)


def score_files(task, language, predictions, labels):
    """({metric: score}, [notes]) of the files of one language of a task.

    Raises UserError if a file is malformed or the two do not pair, and Placeholders if the labels are none.
    """
    form = FORMATS[task]
    found, gold = form.read(predictions), form.gold(labels)
    if not gold:
        raise Placeholders(f"{labels} holds no labels; {ADVICE}")
    return form.score(found, gold, language)


# ---- text -----------------------------------------------------------------------------------------------------------


def read_lines(path):
    """Lines without white space around them, and without empty ones at the end."""
    lines = [line.strip() for line in text_of(path).split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def check_line(path, number, text, pattern, gold):
    """Raise UserError for a line that is not a label; Placeholders, where it should be a gold label."""
    if not re.fullmatch(pattern, text):
        wrong = f"{path}, line {number}: {text[:40]!r} is not a label"
        raise Placeholders(f"{wrong}; {ADVICE}") if gold else UserError(wrong)


def json_object(path, text, line=None):
    """Content of a JSON object that is a file's, or that stands in a line of it."""
    content = parse_json(text, path, line)
    if not isinstance(content, dict):
        raise UserError(f"{path}, line {line or 1}: not a JSON object")
    return content


# ---- labels and tags ------------------------------------------------------------------------------------------------


def read_labels(path, pattern=WORD, gold=False):
    """One label a line, or in XCOPA's .jsonl files one object with a `label`."""
    labels = read_lines(path)
    if path.suffix == ".jsonl":
        rows = [json_object(path, line, number) for number, line in enumerate(labels, start=1)]
        labels = [_label_in(path, number, row) for number, row in enumerate(rows, start=1)]
    for number, label in enumerate(labels, start=1):
        check_line(path, number, label, pattern, gold)
    return labels


def _label_in(path, number, row):
    """The label in a line of JSON, "" where there is none."""
    label = row.get("label", "")
    if type(label) not in (str, int):
        raise UserError(f"{path}, line {number}: 'label' is {label!r:.40}, neither text nor a whole number")
    return str(label)


def score_labels(predictions, labels, language):
    """Accuracy, with a note on predictions that are labels of another kind (numbers for names)."""
    _check_count(predictions, labels, "labels")
    kinds = [sorted({*each})[:3] for each in (predictions, labels)]
    apart = {*predictions}.isdisjoint(labels)
    notes = (
        [f"no prediction is among the labels ({', '.join(kinds[0])} against {', '.join(kinds[1])})"] if apart else []
    )
    return scoring.accuracy(predictions, labels), notes


def read_sentences(path, pattern=WORD, gold=False):
    """One tag a line and empty lines between sentences -> [(line of its first tag, tags)], one a sentence."""
    sentences, tags = [], []
    for number, tag in enumerate([*read_lines(path), ""], start=1):
        if tag:
            check_line(path, number, tag, pattern, gold)
            tags.append(tag)
        elif tags:
            sentences.append((number - len(tags), tags))
            tags = []
    return sentences


def score_sentences(predictions, labels, language, metric, remark=lambda references: ""):
    """Scores of tags, with the `remark` on the gold ones as a note. Raises UserError for the first sentence that has more or
    fewer than words."""
    _check_count(predictions, labels, "sentences")
    for number, ((line, tags), (_, gold)) in enumerate(zip(predictions, labels, strict=True), start=1):
        if len(tags) != len(gold):
            raise UserError(
                f"sentence {number} (line {line} of the predictions): {len(tags)} tags for {len(gold)} words"
            )
    found, gold = ([tags for _, tags in each] for each in (predictions, labels))
    return metric(found, gold), [remark(gold)] if remark(gold) else []


def _check_count(predictions, labels, things):
    if len(predictions) != len(labels):
        raise UserError(f"{len(predictions)} predictions for {len(labels)} {things}")


# ---- answers, pairs, rankings ---------------------------------------------------------------------------------------


def read_answers(path):
    """JSON: {question id: answer}."""
    return _values_of(path, str, "an answer as text")


def read_questions(path):
    """SQuAD's JSON -> [(question id, [reference answers])]."""
    shape = {"data": [{"paragraphs": [{"qas": [{"id": str, "answers": [{"text": str}]}]}]}]}
    paragraphs = squad_paragraphs(path, shape)
    questions = [question for _, paragraph in paragraphs for question in paragraph["qas"]]
    return [(question["id"], [answer["text"] for answer in question["answers"]]) for question in questions]


def score_answers(predictions, questions, language, metric):
    """Scores of answers; a question without one scores 0, as in the benchmark, and is noted."""
    ids = [id for id, _ in questions]
    found = [predictions.get(id) for id in ids]
    return metric(found, [gold for _, gold in questions], language), _id_notes(predictions, ids)


def read_pairs(path, gold=False):
    """Lines of two ids with a tab between them -> tuples."""
    lines = read_lines(path)
    for number, line in enumerate(lines, start=1):
        check_line(path, number, line, r"[^\t]+\t[^\t]+", gold)
    return [tuple(line.split("\t")) for line in lines]


def read_rankings(path):
    """JSON: {query id: [ids, the best first]}; labels: {query id: [right ids]}."""
    return _values_of(path, [str], "a list of ids")


def read_entities(path):
    """Mewsli-X's labels: the scorer takes the first id of each list for the right one, without white space around it."""
    return {id: [right.strip() for right in ids[:1]] for id, ids in read_rankings(path).items()}


def score_rankings(predictions, labels, language):
    """mAP@20; a query without a ranking scores 0, as in the benchmark, and is noted."""
    if none := [id for id, right in labels.items() if not right]:
        raise Placeholders(f"query {none[0]} has no right id; {ADVICE}")
    found = [predictions.get(id, []) for id in labels]
    return scoring.ranking(found, list(labels.values())), _id_notes(predictions, list(labels))


def _values_of(path, shape, named):
    content = json_object(path, text_of(path))
    for id, value in content.items():
        if misfit(value, shape):
            raise UserError(f"{path}: '{id}' has {value!r:.40}, not {named}")
    return content


def _id_notes(predictions, ids):
    """What to say of ids that only one side has."""
    missing, extra = [id for id in ids if id not in predictions], [*predictions.keys() - {*ids}]
    notes = [f"{len(missing)} of {len(ids)} have no prediction and score 0, e.g. {missing[0]}"] if missing else []
    return notes + ([f"{len(extra)} predictions are for unknown ids, e.g. {min(extra)}"] if extra else [])


# ---- which task has which -------------------------------------------------------------------------------------------


def _labels(pattern=WORD, suffixes=(".tsv",)):
    gold = partial(read_labels, pattern=pattern, gold=True)
    return Format(suffixes=suffixes, read=read_labels, gold=gold, score=score_labels)


def _sentences(pattern, **options):
    gold = partial(read_sentences, pattern=pattern, gold=True)
    return Format(suffixes=(".tsv",), read=read_sentences, gold=gold, score=partial(score_sentences, **options))


def _answers(metric):
    score = partial(score_answers, metric=metric)
    return Format(suffixes=(".json",), read=read_answers, gold=read_questions, score=score)


SQUAD = _answers(lambda predictions, references, language: answers.squad_scores(predictions, references))
FORMATS = {
    "xnli": _labels(),
    "pawsx": _labels(),
    "xcopa": _labels("[01]", (".jsonl", ".tsv")),  # the second is what run_zeroshot_eval.py writes
    "tatoeba": _labels(r"\d+"),
    "udpos": _sentences(TAG, metric=scoring.part_of_speech),
    "panx": _sentences(ENTITY, metric=scoring.entities, remark=scoring.entities_remark),
    "xquad": SQUAD,
    "tydiqa": SQUAD,
    "mlqa": _answers(answers.mlqa_scores),
    "bucc2018": Format(
        suffixes=(".tsv",),
        read=read_pairs,
        gold=partial(read_pairs, gold=True),
        score=lambda predictions, labels, language: (scoring.mined_pairs(predictions, labels), []),
    ),
    "mewslix": Format(suffixes=(".json",), read=read_rankings, gold=read_entities, score=score_rankings),
    "lareqa": Format(
        suffixes=(".json",), read=read_rankings, gold=read_rankings, score=score_rankings
    ),  # a layout of ours
}
