"""CommonsenseQA (Talmor et al. 2019, arXiv 1811.00937): a question about everyday things and five answers.

Hub: tau/commonsense_qa. Official files: train_rand_split.jsonl and dev_rand_split.jsonl of version 1.11, the random split.
"""

from datasets import Features, Sequence, Value

from xstilts import metrics, multiple_choice
from xstilts.base import UserError
from xstilts.readers import id_of, label_index, numbered_json_lines
from xstilts.shapes import misfit
from xstilts.sources import Source
from xstilts.task import Task

TEXT = Value("string")
LABELS = ("A", "B", "C", "D", "E")
QUESTION = {"stem": str, "question_concept": str, "choices": [{"label": str, "text": str}]}


def read(path, features):
    """{"id": "1", "question": {"stem": ..., "question_concept": ..., "choices": [{"label": "A", "text": ...}, ...]},
    "answerKey": "B"} -> the hub's columns."""
    for number, row in numbered_json_lines(path, ("id", "question", "answerKey")):
        label_index(row["answerKey"], LABELS, path, number)
        if wrong := misfit(row["question"], QUESTION):
            raise UserError(f"{path}, line {number}: not a question of CommonsenseQA ({wrong})")
        yield {**row, "id": id_of(row["id"]), **_question(row["question"])}


def _question(found):
    choices = {key: [choice[key] for choice in found["choices"]] for key in ("label", "text")}
    return {"question": found["stem"], "question_concept": found["question_concept"], "choices": choices}


def to_example(row):
    """{"id": "1", "question": "Where is milk kept?", "choices": {"label": ["A", ...], "text": ["fridge", ...]}, "answerKey": "A"}
    -> {"context": "Where is milk kept?", "choices": ["fridge", ...], "label": "A"}"""
    texts = dict(zip(row["choices"]["label"], row["choices"]["text"], strict=True))
    return {"context": row["question"], "choices": [texts[label] for label in LABELS], "label": row["answerKey"]}


TASK = Task(
    name="commonsenseqa",
    type=multiple_choice.TYPE,
    source=Source(
        hub="tau/commonsense_qa",
        features=Features(
            id=TEXT,
            question=TEXT,
            question_concept=TEXT,
            choices=Sequence({"label": TEXT, "text": TEXT}),
            answerKey=TEXT,
        ),
        splits={"train": "train", "validation": "validation"},
        files={
            "train": "commonsenseqa/train_rand_split.jsonl",
            "validation": "commonsenseqa/dev_rand_split.jsonl",
        },
        read=read,
    ),
    to_example=to_example,
    labels=LABELS,
    metric=metrics.Accuracy,
    sizes={"train": 9_741, "validation": 1_221},
)
