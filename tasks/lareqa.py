"""LAReQA (Roy et al. 2020, arXiv 2004.05484), XQuAD-R: find the sentences, in 11 languages, that answer a question.

Trains on SQuAD v1.1: a question, and the sentence in which its first answer begins with its paragraph behind it, as one text.
SQuAD comes without sentences: the benchmark's code breaks them by rules of its own, here `xstilts/sentences.py` does. Evaluated
by run_retrieval.py.

Training files: tasks/squad.py. Official test files: xquad-r/<language>.json of github.com/google-research-datasets/lareqa, 13,014
sentences and 11 x 1,190 questions with one right sentence in each language; the hub's google-research-datasets/xquad_r lacks the
sentence breaks. They are translations of SQuAD's dev articles, so a twentieth of the training articles selects.
"""

from dataclasses import replace

from datasets import Features, Sequence, Value

from tasks import squad
from xstilts import dual_encoder, metrics
from xstilts.offsets import MISPLACED, in_place
from xstilts.readers import Dropped
from xstilts.sentences import sentence_spans
from xstilts.sources import Source
from xstilts.task import Ranking
from xstilts.xquad_r import NO_SENTENCE, document_of, sentence_at, to_candidates, to_queries, xquad_r

NUMBER = Value("int32")
PARAGRAPHS = Source(
    features=Features(
        number=NUMBER,
        context=squad.TEXT,
        sentence_breaks=Sequence(Sequence(NUMBER)),
        questions=[{"id": squad.TEXT, "question": squad.TEXT, "answer_start": NUMBER}],
    ),
    splits={"test": "test"},
    files={"test": "lareqa/xquad-r/{language}.json"},
    read=xquad_r,
)


def to_example(row):
    """{"id": "1", "title": "Warsaw", "context": "He was born in 1810. Chopin moved to Warsaw.", "question": "Where to?",
    "answers": {"text": ["Warsaw"], "answer_start": [37]}}
    -> {"id": "1", "query": "Where to?", "document": "Chopin moved to Warsaw.He was born in 1810. Chopin moved to Warsaw."};
    `Dropped` where the answer is not at its offset or begins in no sentence"""
    row, wrong = in_place(row)
    if wrong == MISPLACED:
        return Dropped(MISPLACED)
    spans = sentence_spans(row["context"])
    number = sentence_at(row["answers"]["answer_start"][0], spans)
    if number is None:
        return Dropped(NO_SENTENCE)
    start, end = spans[number]
    return {
        "id": row["id"],
        "query": row["question"].strip(),
        "document": document_of(row["context"][start:end], row["context"]),
    }


TASK = replace(
    squad.TASK,
    name="lareqa",
    type=dual_encoder.TYPE,
    to_example=to_example,
    metric=metrics.Ranking,
    languages=tuple("en ar de el es hi ru th tr vi zh".split()),
    sizes={**squad.TASK.sizes, "test": 1_190},
    retrieval=Ranking(queries=PARAGRAPHS, to_queries=to_queries, candidates=PARAGRAPHS, to_candidates=to_candidates),
)
