"""COPA (Roemmele et al. 2011, in SuperGLUE: Wang et al. 2019, arXiv 1905.00537): the likelier cause or effect of a sentence.

Hub: aps/super_glue, copa. Official files: train.jsonl and val.jsonl of SuperGLUE's COPA.
The question is worded as XTREME-R does for COPA and XCOPA (its run_xcopa.py); the authors' jiant asks SuperGLUE's COPA "What was
the cause of this?" and "What happened as a result?" instead.
"""

from datasets import ClassLabel, Features, Value

from xstilts import metrics, multiple_choice
from xstilts.readers import label_index, numbered_json_lines
from xstilts.sources import Source
from xstilts.task import Task

TEXT = Value("string")


def read(path, features):
    """{"premise": ..., "choice1": ..., "choice2": ..., "question": "cause", "label": 0, "idx": 0}, as on the hub."""
    for number, row in numbered_json_lines(path, features):
        yield {**row, "label": label_index(row["label"], (0, 1), path, number)}


def to_example(row):
    """{"premise": "It rained.", "choice1": "I slept.", "choice2": "I got wet.", "question": "effect", "label": 1, "idx": 0}
    -> {"context": "It rained. What was the effect?", "choices": ["I slept.", "I got wet."], "label": "1"}"""
    context = f"{row['premise']} What was the {row['question']}?"
    return {"context": context, "choices": [row["choice1"], row["choice2"]], "label": str(row["label"])}


TASK = Task(
    name="copa",
    type=multiple_choice.TYPE,
    source=Source(
        hub="aps/super_glue",
        config="copa",
        features=Features(
            premise=TEXT, choice1=TEXT, choice2=TEXT, question=TEXT, idx=Value("int32"),
            label=ClassLabel(names=["choice1", "choice2"]),
        ),
        splits={"train": "train", "validation": "validation"},
        files={"train": "copa/train.jsonl", "validation": "copa/val.jsonl"},
        read=read,
    ),
    to_example=to_example,
    labels=("0", "1"),
    metric=metrics.Accuracy,
    sizes={"train": 400, "validation": 100},
)  # fmt: skip
