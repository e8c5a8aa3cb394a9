"""SQuAD v1.1 (Rajpurkar et al. 2016, arXiv 1606.05250): find the answer to a question in a Wikipedia paragraph.

Hub: rajpurkar/squad. Official files: train-v1.1.json, dev-v1.1.json. All 48 articles of its dev set are also XQuAD's and
LAReQA's, so selection uses a fixed twentieth of the *training* articles and never sees the dev set.
"""

from datasets import Features, Sequence, Value

from xstilts import metrics, qa
from xstilts.readers import squad_json
from xstilts.sources import Source
from xstilts.task import Task

TEXT = Value("string")
ANSWERS = Sequence({"text": TEXT, "answer_start": Value("int32")})


def to_example(row):
    """{"id": "1", "title": "Warsaw", "context": "Chopin moved to Warsaw.", "question": "Where to?",
    "answers": {"text": ["Warsaw"], "answer_start": [16]}}  -> the same without the title"""
    return {column: row[column] for column in qa.TYPE.columns}


TASK = Task(
    name="squad",
    type=qa.TYPE,
    source=Source(
        hub="rajpurkar/squad",
        features=Features(id=TEXT, title=TEXT, context=TEXT, question=TEXT, answers=ANSWERS),
        splits={"train": "train", "validation": "validation"},
        files={"train": "squad/train-v1.1.json", "validation": "squad/dev-v1.1.json"},
        read=squad_json,
    ),
    to_example=to_example,
    metric=metrics.SquadAnswers,
    held_out_by="title",
    sizes={"train": 87_599, "validation": 10_570},
)
