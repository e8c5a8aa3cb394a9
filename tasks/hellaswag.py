"""HellaSwag (Zellers et al. 2019, arXiv 1905.07830): choose the continuation of a video caption or a how-to paragraph.

Hub: Rowan/hellaswag. Official files: hellaswag_train.jsonl and hellaswag_val.jsonl of github.com/rowanz/hellaswag.
"""

from datasets import Features, Sequence, Value

from xstilts import metrics, multiple_choice
from xstilts.readers import json_lines
from xstilts.sources import Source
from xstilts.task import Task

TEXT = Value("string")


def read(path, features):
    """The official file has the labels as numbers, the hub as strings."""
    used = ("ctx_a", "ctx_b", "endings", "label")
    for row in json_lines(path, features, optional=set(features) - set(used)):
        yield {**row, "label": str(row["label"]) if type(row["label"]) is int else row["label"]}


def to_example(row):
    """{"ctx_a": "A man sits.", "ctx_b": "he", "endings": ["runs.", "sleeps.", ...], "label": "1", ...}
    -> {"context": "A man sits.", "choices": ["he runs.", "he sleeps.", ...], "label": "1"}"""
    choices = [f"{row['ctx_b']} {ending}".strip() for ending in row["endings"]]
    return {"context": row["ctx_a"], "choices": choices, "label": row["label"]}


TASK = Task(
    name="hellaswag",
    type=multiple_choice.TYPE,
    source=Source(
        hub="Rowan/hellaswag",
        features=Features(
            ind=Value("int32"), activity_label=TEXT, ctx_a=TEXT, ctx_b=TEXT, ctx=TEXT, endings=Sequence(TEXT),
            source_id=TEXT, split=TEXT, split_type=TEXT, label=TEXT,
        ),
        splits={"train": "train", "validation": "validation"},
        files={"train": "hellaswag/hellaswag_train.jsonl", "validation": "hellaswag/hellaswag_val.jsonl"},
        read=read,
    ),
    to_example=to_example,
    labels=("0", "1", "2", "3"),
    metric=metrics.Accuracy,
    sizes={"train": 39_905, "validation": 10_042},
)  # fmt: skip
