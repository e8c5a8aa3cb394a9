"""SNLI (Bowman et al. 2015, arXiv 1508.05326): MultiNLI's question about captions of photographs.

Hub: stanfordnlp/snli. Official files: snli_1.0_train.jsonl, snli_1.0_dev.jsonl, snli_1.0_test.jsonl of SNLI 1.0.
"""

from datasets import ClassLabel, Features, Value

from tasks import mnli
from xstilts import classification, metrics
from xstilts.readers import NO_LABEL, Dropped, label_index, numbered_json_lines
from xstilts.sources import Source
from xstilts.task import Task

NO_GOLD = -1  # the hub's number for pairs that the annotators did not agree on: `-` in the files


def read(path, features):
    """{"gold_label": "neutral", "sentence1": ..., "sentence2": ..., "pairID": ...} -> the hub's columns."""
    for number, row in numbered_json_lines(path, ("gold_label", "sentence1", "sentence2")):
        label = NO_GOLD if row["gold_label"] == "-" else label_index(row["gold_label"], mnli.LABELS, path, number)
        yield {"premise": row["sentence1"], "hypothesis": row["sentence2"], "label": label}


def to_example(row):
    """{"premise": "A man sits.", "hypothesis": "Someone sits.", "label": 0}
    -> {"text_a": "A man sits.", "text_b": "Someone sits.", "label": "entailment"}; `Dropped` for a pair without a gold label"""
    return Dropped(NO_LABEL) if row["label"] == NO_GOLD else mnli.to_example(row)


TASK = Task(
    name="snli",
    type=classification.TYPE,
    source=Source(
        hub="stanfordnlp/snli",
        features=Features(
            premise=Value("string"), hypothesis=Value("string"), label=ClassLabel(names=list(mnli.LABELS))
        ),
        splits={"train": "train", "validation": "validation", "test": "test"},
        files={
            "train": "snli/snli_1.0_train.jsonl",
            "validation": "snli/snli_1.0_dev.jsonl",
            "test": "snli/snli_1.0_test.jsonl",
        },
        read=read,
    ),
    to_example=to_example,
    labels=mnli.LABELS,
    metric=metrics.Accuracy,
    sizes={"train": 550_152, "validation": 10_000, "test": 10_000},
)
