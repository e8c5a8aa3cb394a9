"""A submission in the benchmark's layout, `<task>/test-<language>.<suffix>`: its files read strictly and scored one by one.

What XTREME's scorer takes without a word (a question without an answer) is scored as it does and noted; what it stumbles over, or
would pair wrongly, is a UserError with the file and the line. Label files have the same layout and formats.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from xstilts import answers, scoring
from xstilts.base import UserError
from xstilts.placeholders import ADVICE, Placeholders, check_labels
from xstilts.readers import squad_paragraphs
from xstilts.shapes import Id, misfit
from xstilts.text_files import parse_json, text_of

WORD, NUMBER = r"\S+", r"\d+"
TAGS = tuple("ADJ ADP ADV AUX CCONJ DET INTJ NOUN NUM PART PRON PROPN PUNCT SCONJ SYM VERB X _".split())
ENTITIES = tuple("O B-PER I-PER B-ORG I-ORG B-LOC I-LOC".split())


@dataclass(frozen=True, kw_only=True)
class Format:
    """How a task's files are read and scored.

    suffixes     of its files, the benchmark's first
    read, gold   path -> predictions, path -> labels
    score        (predictions, labels, language) -> ({metric: 0 to 100}, [notes])
    labels       what `gold` gives -> labels, or lists of tags, of which all may not be one; None for answers and ids
    """

    suffixes: tuple[str, ...]
    read: Callable
    gold: Callable
    score: Callable
    labels: Callable | None = None


def file_of(form, language, folder):
    """Path of a language's file in the folder of a task whose `Format` is `form`, or None."""
    paths = (folder / f"test-{language}{suffix}" for suffix in form.suffixes)
    return next((path for path in paths if path.is_file()), None)


def languages_there(form, folder):
    """Codes of the languages that the folder of a task has files of, sorted."""
    suffixes = "|".join(map(re.escape, form.suffixes))
    found = (re.fullmatch(rf"test-(.+)({suffixes})", path.name) for path in folder.iterdir())
    return sorted({match[1] for match in found if match})


def score_files(form, language, predictions, labels, may_be_stripped=True):
    """({metric: score}, [notes]) of the files of one language of a task, whose labels `may_be_stripped` (`placeholders`).

    Raises UserError if a file is malformed or the two do not pair, and Placeholders if the labels are none.
    """
    found, gold = form.read(predictions), form.gold(labels)
    if not gold:
        raise Placeholders(f"{labels} holds no labels; {ADVICE}")
    if may_be_stripped and form.labels:
        check_labels(form.labels(gold))
    return form.score(found, gold, language)


# ---- text -----------------------------------------------------------------------------------------------------------


def read_lines(path):
    """Lines without white space around them, and without empty ones at the end."""
    lines = [line.strip() for line in text_of(path).split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def check_line(path, number, text, allowed, gold):
    """Raise UserError for a line that is not among the `allowed` labels, a tuple of them or a regular expression; Placeholders,
    where it should be a gold label and may be a text of a test set without labels."""
    if text in allowed if isinstance(allowed, tuple) else re.fullmatch(allowed, text):
        return
    wrong = f"{path}, line {number}: {text[:40]!r} is not a label"
    if gold and "\t" in text:
        raise UserError(
            f"{wrong} but a row of {text.count(chr(9)) + 1} columns; --labels takes the gold labels alone, one a line"
        )
    if gold:
        raise Placeholders(f"{wrong}; {ADVICE}")
    raise UserError(f"{wrong} of this task ({', '.join(sorted(allowed))})" if isinstance(allowed, tuple) else wrong)


def json_object(path, text, line=None):
    """Content of a JSON object that is a file's, or that stands in a line of it."""
    content = parse_json(text, path, line)
    if not isinstance(content, dict):
        raise UserError(f"{path}, line {line or 1}: not a JSON object")
    return content


# ---- labels and tags ------------------------------------------------------------------------------------------------


def read_labels(path, allowed=WORD, gold=False):
    """One label a line, or in XCOPA's .jsonl files one object with a `label`."""
    labels = read_lines(path)
    if path.suffix == ".jsonl":
        rows = [json_object(path, line, number) for number, line in enumerate(labels, start=1)]
        labels = [_label_in(path, number, row) for number, row in enumerate(rows, start=1)]
    for number, label in enumerate(labels, start=1):
        check_line(path, number, label, allowed, gold)
    return labels


def _label_in(path, number, row):
    """The label in a line of JSON, "" where there is none."""
    label = row.get("label", "")
    if type(label) not in (str, int):
        raise UserError(f"{path}, line {number}: 'label' is {label!r:.40}, neither text nor a whole number")
    return str(label)


def score_labels(predictions, labels, language, metric):
    """Scores of labels."""
    _check_count(predictions, labels, "labels")
    return metric(predictions, labels, language), []


def read_sentences(path, allowed=WORD, gold=False):
    """One tag a line and empty lines between sentences -> [(line of its first tag, tags)], one a sentence."""
    sentences, tags = [], []
    for number, tag in enumerate([*read_lines(path), ""], start=1):
        if tag:
            check_line(path, number, tag, allowed, gold)
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
    return metric(found, gold, language), [remark(gold)] if remark(gold) else []


def _check_count(predictions, labels, things):
    if len(predictions) != len(labels):
        raise UserError(f"{len(predictions)} predictions for {len(labels)} {things}")


# ---- answers, pairs, rankings ---------------------------------------------------------------------------------------


def read_answers(path):
    """JSON: {question id: answer}."""
    return _values_of(path, str, "an answer as text")


def read_questions(path):
    """SQuAD's JSON -> [(question id, [reference answers])]."""
    shape = {"data": [{"paragraphs": [{"qas": [{"id": Id(), "answers": [{"text": str}]}]}]}]}
    paragraphs = squad_paragraphs(path, shape)
    questions = [question for _, paragraph in paragraphs for question in paragraph["qas"]]
    return [(str(question["id"]), [answer["text"] for answer in question["answers"]]) for question in questions]


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


def score_rankings(predictions, labels, language, metric):
    """Scores of rankings; a query without a ranking scores 0, as in the benchmark, and is noted."""
    if none := [id for id, right in labels.items() if not right]:
        raise Placeholders(f"query {none[0]} has no right id; {ADVICE}")
    found = [predictions.get(id, []) for id in labels]
    return metric(found, list(labels.values()), language), _id_notes(predictions, list(labels))


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


def _without_language(metric):
    """A metric that is the same in every language."""
    return lambda predictions, labels, language: metric(predictions, labels)


def _labels(allowed, metric, suffixes=(".tsv",)):
    read, gold = (partial(read_labels, allowed=allowed, gold=gold) for gold in (False, True))
    score = partial(score_labels, metric=metric)
    return Format(suffixes=suffixes, read=read, gold=gold, score=score, labels=lambda gold: gold)


def _sentences(allowed, **options):
    read, gold = (partial(read_sentences, allowed=allowed, gold=gold) for gold in (False, True))
    score, labels = partial(score_sentences, **options), lambda gold: [tags for _, tags in gold]
    return Format(suffixes=(".tsv",), read=read, gold=gold, score=score, labels=labels)


def _answers(metric):
    score = partial(score_answers, metric=metric)
    return Format(suffixes=(".json",), read=read_answers, gold=read_questions, score=score)


def _rankings(metric, gold=read_rankings):
    return Format(suffixes=(".json",), read=read_rankings, gold=gold, score=partial(score_rankings, metric=metric))


SQUAD = _answers(_without_language(answers.squad_scores))
RANKING, ACCURACY = _without_language(scoring.ranking), _without_language(scoring.accuracy)
FORMATS = {
    "xnli": _labels(("contradiction", "entailment", "neutral"), ACCURACY),
    "pawsx": _labels(("0", "1"), ACCURACY),
    "xcopa": _labels(("0", "1"), ACCURACY, (".jsonl", ".tsv")),  # the second is what run_zeroshot_eval.py writes
    "tatoeba": _labels(NUMBER, ACCURACY),
    "udpos": _sentences(TAGS, metric=_without_language(scoring.part_of_speech)),
    "panx": _sentences(ENTITIES, metric=_without_language(scoring.entities), remark=scoring.entities_remark),
    "xquad": SQUAD,
    "tydiqa": SQUAD,
    "mlqa": _answers(answers.mlqa_scores),
    "bucc2018": Format(
        suffixes=(".tsv",),
        read=read_pairs,
        gold=partial(read_pairs, gold=True),
        score=lambda predictions, labels, language: (scoring.mined_pairs(predictions, labels), []),
    ),
    "mewslix": _rankings(RANKING, read_entities),
    "lareqa": _rankings(RANKING),  # a layout of ours
}


def format_by_type(declared, score):
    """The `Format` of the files of a task that no benchmark has, by its declaration; `score` is that of `metrics.py`.

    Raises UserError for a type whose predictions cannot be read back.
    """
    metric = partial(score, declared.metric)
    made = {
        "classification": lambda: _labels(declared.labels, metric),
        "multiple_choice": lambda: _labels(declared.labels, metric),
        "tagging": lambda: _sentences(declared.labels or WORD, metric=metric, remark=declared.metric.remark),
        "question_answering": lambda: _answers(metric),
        "aligned": lambda: _labels(NUMBER, metric),
        "dual_encoder": lambda: _rankings(metric),
    }.get(declared.type.name)
    if made is None:
        raise UserError(f"predictions of {declared.name} ({declared.type.name}) cannot be scored from files")
    return made()
