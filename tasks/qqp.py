"""Quora Question Pairs (Iyer et al. 2017, in GLUE: Wang et al. 2019, arXiv 1804.07461): do two questions ask the same?

Hub: nyu-mll/glue, qqp. Official files: QQP/train.tsv and QQP/dev.tsv of GLUE. A few of their lines are broken off; they are left
out as in the hub's dataset, so that the number of rows is the published one.
"""

from datasets import ClassLabel, Features, Value

from xstilts import classification, metrics
from xstilts.readers import BROKEN, Dropped, headed_tsv, label_index
from xstilts.sources import Source
from xstilts.task import Task

LABELS = ("not_duplicate", "duplicate")


def read(path, features):
    """id TAB qid1 TAB qid2 TAB question1 TAB question2 TAB is_duplicate -> the hub's columns. `idx` counts the broken lines, too;
    a line without a label is one of them."""
    for number, row in headed_tsv(path, ("question1", "question2", "is_duplicate"), drop_short=True):
        if isinstance(row, Dropped) or not row["is_duplicate"]:
            yield Dropped(BROKEN)
        else:
            label = label_index(row.pop("is_duplicate"), ("0", "1"), path, number)
            yield {**row, "label": label, "idx": number - 2}


def to_example(row):
    """{"question1": "Why is it hot?", "question2": "How hot is it?", "label": 0, "idx": 7}
    -> {"text_a": "Why is it hot?", "text_b": "How hot is it?", "label": "not_duplicate"}"""
    return {"text_a": row["question1"], "text_b": row["question2"], "label": LABELS[row["label"]]}


TASK = Task(
    name="qqp",
    type=classification.TYPE,
    source=Source(
        hub="nyu-mll/glue",
        config="qqp",
        features=Features(
            question1=Value("string"),
            question2=Value("string"),
            label=ClassLabel(names=list(LABELS)),
            idx=Value("int32"),
        ),
        splits={"train": "train", "validation": "validation"},
        files={"train": "qqp/train.tsv", "validation": "qqp/dev.tsv"},
        read=read,
    ),
    to_example=to_example,
    labels=LABELS,
    metric=metrics.AccuracyF1,
    sizes={"train": 363_846, "validation": 40_430},
)
