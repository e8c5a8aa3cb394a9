"""SQuAD v2.0 (Rajpurkar et al. 2018, arXiv 1806.03822): SQuAD with questions that their paragraph does not answer.

Hub: rajpurkar/squad_v2. Official files: train-v2.0.json, dev-v2.0.json. The articles of its dev set are those of SQuAD v1.1's
and so XQuAD's and LAReQA's too; selection uses a fixed twentieth of the *training* articles, as there.
"""

from datasets import Features

from tasks import squad
from xstilts import metrics, qa
from xstilts.readers import squad_json
from xstilts.sources import Source
from xstilts.task import Task


def to_example(row):
    """{"id": "1", "title": "Warsaw", "context": "Chopin moved to Warsaw.", "question": "Who moved to Paris?",
    "answers": {"text": [], "answer_start": []}}  -> the same without the title"""
    return {column: row[column] for column in qa.TYPE_WITH_NULL.columns}


TASK = Task(
    name="squad_v2",
    type=qa.TYPE_WITH_NULL,
    source=Source(
        hub="rajpurkar/squad_v2",
        features=Features(
            id=squad.TEXT, title=squad.TEXT, context=squad.TEXT, question=squad.TEXT, answers=squad.ANSWERS
        ),
        splits={"train": "train", "validation": "validation"},
        files={"train": "squad_v2/train-v2.0.json", "validation": "squad_v2/dev-v2.0.json"},
        read=squad_json,
    ),
    to_example=to_example,
    metric=metrics.SquadV2Answers,
    held_out_by="title",
    sizes={"train": 130_319, "validation": 11_873},
)
