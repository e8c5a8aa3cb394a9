"""Social IQa (Sap et al. 2019, arXiv 1904.09728): why people do something, and what they feel or do next.

Hub: lighteval/siqa (the publisher's allenai/social_i_qa is a loading script, which datasets >= 4 does not run). Official files:
socialIQa_v1.4_trn.jsonl, socialIQa_v1.4_dev.jsonl and socialIQa_v1.4_tst.jsonl.
"""

from datasets import Features, Value

from xstilts import metrics, multiple_choice
from xstilts.readers import label_index, numbered_json_lines
from xstilts.sources import Source
from xstilts.task import Task

LETTERS = ("A", "B", "C")


def read(path, features):
    """{"context": ..., "question": ..., "answerA": ..., "answerB": ..., "answerC": ..., "correct": "B"} -> the hub's columns."""
    columns = [*(column for column in features if column != "label"), "correct"]
    for number, row in numbered_json_lines(path, columns):
        label = 1 + label_index(row.pop("correct"), LETTERS, path, number)
        yield {**row, "label": str(label)}


def to_example(row):
    """{"context": "Kim ran.", "question": "Why?", "answerA": "to win", "answerB": ..., "answerC": ..., "label": "1"}
    -> {"context": "Kim ran. Why?", "choices": ["to win", ...], "label": "1"}"""
    choices = [row[f"answer{letter}"] for letter in LETTERS]
    return {"context": f"{row['context']} {row['question']}", "choices": choices, "label": row["label"].strip()}


TASK = Task(
    name="siqa",
    type=multiple_choice.TYPE,
    source=Source(
        hub="lighteval/siqa",
        features=Features(
            {column: Value("string") for column in "context question answerA answerB answerC label".split()}
        ),
        splits={"train": "train", "validation": "validation"},
        files={
            "train": "socialiqa/socialIQa_v1.4_trn.jsonl",
            "validation": "socialiqa/socialIQa_v1.4_dev.jsonl",
        },
        read=read,
    ),
    to_example=to_example,
    labels=("1", "2", "3"),
    metric=metrics.Accuracy,
    sizes={"train": 33_410, "validation": 1_954},
)
