"""Cosmos QA (Huang et al. 2019, arXiv 1909.00277): what a blog post leaves unsaid: causes, effects, motives.

Hub: allenai/cosmos_qa, in the hub's own conversion to parquet (its main branch is a loading script, which datasets >= 4 does not
run). Official files: train.csv and valid.csv of github.com/wilburOne/cosmosqa.
"""

from datasets import Features, Value

from xstilts import metrics, multiple_choice
from xstilts.readers import headed_csv, label_index
from xstilts.sources import Source
from xstilts.task import Task

TEXT = Value("string")
LABELS = ("0", "1", "2", "3")


def read(path, features):
    """id,context,question,answer0,answer1,answer2,answer3,label -> the hub's columns, which are the same."""
    for number, row in headed_csv(path, features):
        yield {**row, "label": label_index(row["label"], LABELS, path, number)}


def to_example(row):
    """{"id": "1", "context": "It rained. We left.", "question": "Why?", "answer0": "They got wet.", ..., "label": 0}
    -> {"context": "It rained. We left. Why?", "choices": ["They got wet.", ...], "label": "0"}"""
    choices = [row[f"answer{label}"] for label in LABELS]
    return {"context": f"{row['context']} {row['question']}", "choices": choices, "label": str(row["label"])}


TASK = Task(
    name="cosmosqa",
    type=multiple_choice.TYPE,
    source=Source(
        hub="allenai/cosmos_qa",
        revision="refs/convert/parquet",
        features=Features(
            id=TEXT, context=TEXT, question=TEXT, answer0=TEXT, answer1=TEXT, answer2=TEXT, answer3=TEXT,
            label=Value("int32"),
        ),
        splits={"train": "train", "validation": "validation"},
        files={"train": "cosmosqa/train.csv", "validation": "cosmosqa/valid.csv"},
        read=read,
    ),
    to_example=to_example,
    labels=LABELS,
    metric=metrics.Accuracy,
    sizes={"train": 25_262, "validation": 2_985},
)  # fmt: skip
