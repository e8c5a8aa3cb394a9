"""Adversarial NLI (Nie et al. 2020, arXiv 1910.14599): MultiNLI's question, written to mislead models; rounds 1 to 3 together.

Hub: facebook/anli. Official files: R1, R2 and R3/{train,dev,test}.jsonl of anli_v1.0.
"""

from datasets import ClassLabel, Features, Value

from tasks import mnli
from xstilts import classification, metrics
from xstilts.readers import id_of, label_index, numbered_json_lines
from xstilts.sources import Source
from xstilts.task import Task

TEXT = Value("string")
LETTERS = tuple(label[0] for label in mnli.LABELS)


def read(path, features):
    """{"uid": "1", "context": ..., "hypothesis": ..., "label": "n", "reason": ..., "model_label": ...} -> the hub's columns."""
    columns = ("uid", "context", "hypothesis", "label", "reason")
    for number, row in numbered_json_lines(path, columns, optional=("reason",)):
        label, premise = label_index(row.pop("label"), LETTERS, path, number), row.pop("context")
        yield {**row, "uid": id_of(row["uid"]), "premise": premise, "label": label, "reason": row["reason"] or ""}


TASK = Task(
    name="anli",
    type=classification.TYPE,
    source=Source(
        hub="facebook/anli",
        features=Features(
            uid=TEXT, premise=TEXT, hypothesis=TEXT, label=ClassLabel(names=list(mnli.LABELS)), reason=TEXT
        ),
        splits={
            "train": "train_r1+train_r2+train_r3",
            "validation": "dev_r1+dev_r2+dev_r3",
            "test": "test_r1+test_r2+test_r3",
        },
        files={
            "train": "anli/R[123]/train.jsonl",
            "validation": "anli/R[123]/dev.jsonl",
            "test": "anli/R[123]/test.jsonl",
        },
        read=read,
    ),
    to_example=mnli.to_example,
    labels=mnli.LABELS,
    metric=metrics.Accuracy,
    sizes={"train": 162_865, "validation": 3_200, "test": 3_200},
)
