"""MultiNLI (Williams et al. 2018, arXiv 1704.05426): does the hypothesis follow from the premise?

Hub: nyu-mll/glue, mnli. Official files: multinli_1.0_train.jsonl and multinli_1.0_dev_matched.jsonl of MultiNLI 1.0.
"""

from datasets import ClassLabel, Features, Value

from xstilts import classification, metrics
from xstilts.readers import NO_LABEL, Dropped, label_index, numbered_json_lines
from xstilts.sources import Source
from xstilts.task import Task

LABELS = ("entailment", "neutral", "contradiction")


def read(path, features):
    """{"gold_label": "neutral", "sentence1": ..., "sentence2": ..., "pairID": ...} -> the hub's columns. Pairs without a
    majority label (`-`) are `Dropped`, as GLUE does; the hub numbers what is left."""
    idx = 0
    for number, row in numbered_json_lines(path, ("gold_label", "sentence1", "sentence2")):
        if row["gold_label"] == "-":
            yield Dropped(NO_LABEL)
            continue
        label = label_index(row["gold_label"], LABELS, path, number)
        yield {"premise": row["sentence1"], "hypothesis": row["sentence2"], "label": label, "idx": idx}
        idx += 1


def to_example(row):
    """{"premise": "A man sits.", "hypothesis": "Someone sits.", "label": 0}
    -> {"text_a": "A man sits.", "text_b": "Someone sits.", "label": "entailment"}"""
    return {"text_a": row["premise"], "text_b": row["hypothesis"], "label": LABELS[row["label"]]}


TASK = Task(
    name="mnli",
    type=classification.TYPE,
    source=Source(
        hub="nyu-mll/glue",
        config="mnli",
        features=Features(
            premise=Value("string"),
            hypothesis=Value("string"),
            label=ClassLabel(names=list(LABELS)),
            idx=Value("int32"),
        ),
        splits={"train": "train", "validation": "validation_matched"},
        files={"train": "mnli/multinli_1.0_train.jsonl", "validation": "mnli/multinli_1.0_dev_matched.jsonl"},
        read=read,
    ),
    to_example=to_example,
    labels=LABELS,
    metric=metrics.Accuracy,
    sizes={"train": 392_702, "validation": 9_815},
)
