"""XQuAD-R, the files of LAReQA: XQuAD's articles with the sentences of every paragraph -> rows, queries and candidates."""

from collections import Counter

from xstilts.base import UserError
from xstilts.offsets import MISPLACED, check_misplaced, in_place
from xstilts.readers import Dropped, squad_paragraphs
from xstilts.shapes import Id, Maybe

NO_SENTENCE = "questions whose answer begins in no sentence"


QUESTION = {"id": Id(), "question": str, "answers": [{"text": str, "answer_start": int}]}
PARAGRAPH = {"context": str, "sentence_breaks": Maybe([[int]]), "sentences": Maybe([str]), "qas": [QUESTION]}
SHAPE = {"data": [{"paragraphs": [PARAGRAPH]}]}


def xquad_r(path, features):
    """One row per paragraph, `number` counting from 1 through all articles: its `context`, the `sentence_breaks` as [start, end]
    in characters, and its `questions`; one whose answer begins in no sentence is left out, as in the benchmark's code, and one
    whose answer is not at its offset. Offsets in other units than characters are set right (`in_place`), and counted too.

    Raises UserError for files without sentence breaks (XQuAD's own, and the hub's), for breaks that do not fit the text, and for
    too many answers that are not at their offsets.
    """
    wrong, seen = Counter(), 0
    for number, (_, paragraph) in enumerate(squad_paragraphs(path, SHAPE), start=1):
        where = f"{path}, paragraph {number}"
        breaks = _breaks(paragraph, where)
        found = [_question(question, paragraph["context"], breaks, where) for question in paragraph["qas"]]
        reasons = [reason for _, reason in found if reason]
        yield from map(Dropped, reasons)
        wrong.update(reasons)
        seen += len(found)
        yield {
            "number": number,
            "context": paragraph["context"],
            "sentence_breaks": breaks,
            "questions": [question for question, _ in found if question],
        }
    check_misplaced(wrong, seen, path)


def _breaks(paragraph, where):
    if paragraph.get("sentence_breaks") is None:
        raise UserError(
            f"{where} has no 'sentence_breaks'; the files of github.com/google-research-datasets/lareqa (xquad-r) have them"
        )
    context, breaks = paragraph["context"], paragraph["sentence_breaks"]
    for pair in breaks:
        if len(pair) != 2 or not 0 <= pair[0] < pair[1] <= len(context):
            raise UserError(f"{where}: the sentence break {pair!s:.100} is not within its {len(context)} characters")
    sentences = [context[start:end] for start, end in breaks]
    if sentences != (paragraph.get("sentences") or sentences):
        raise UserError(f"{where}: 'sentences' are not those at 'sentence_breaks'; the file is damaged")
    return breaks


def _question(question, context, breaks, where):
    """(the question with the offset of its first answer, None without a place for that; what was wrong with it or None)."""
    if not question["answers"]:
        raise UserError(f"{where}: question {question['id']!s:.40} has no answer")
    first = {name: [question["answers"][0][name]] for name in ("text", "answer_start")}
    example, wrong = in_place({"context": context, "answers": first})
    (start,) = example["answers"]["answer_start"]
    if wrong != MISPLACED and sentence_at(start, breaks) is None:
        wrong = NO_SENTENCE
    found = {"id": str(question["id"]), "question": question["question"], "answer_start": start}
    return None if wrong in (MISPLACED, NO_SENTENCE) else found, wrong


def sentence_at(place, spans):
    """Number of the first of some [start, end) spans that a character is in; None where it is in none."""
    return next((number for number, (start, end) in enumerate(spans) if start <= place < end), None)


def to_queries(row):
    """{"number": 3, "context": "It is old. It stands.", "sentence_breaks": [[0, 10], [11, 21]],
    "questions": [{"id": "q1", "question": "What is it?", "answer_start": 6}]}
    -> [{"id": "q1", "text": "What is it?", "key": "q1"}]"""
    return [{"id": each["id"], "text": each["question"].strip(), "key": each["id"]} for each in row["questions"]]


def to_candidates(row):
    """The same row -> [{"id": "3_0", "text": "It is old.It is old. It stands.", "keys": ["q1"]}, ...]

    Every sentence, with the questions whose answer begins in it or, as in the benchmark's code, in another one of the same words
    in its paragraph."""
    context, breaks = row["context"], row["sentence_breaks"]
    sentences, keys = [context[start:end] for start, end in breaks], {}
    for each in row["questions"]:
        keys.setdefault(sentences[sentence_at(each["answer_start"], breaks)], []).append(each["id"])
    return [
        {"id": f"{row['number']}_{number}", "text": document_of(sentence, context), "keys": keys.get(sentence, [])}
        for number, sentence in enumerate(sentences)
    ]


def document_of(sentence, paragraph):
    """What an encoder reads of a sentence: itself and its paragraph, with nothing between them and without line breaks.

    As in the benchmark's training and evaluation (google-research/xtreme, third_party/processors/lareqa.py,
    third_party/evaluate_retrieval.py)."""
    return (sentence + paragraph).replace("\n", "")
