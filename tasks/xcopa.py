"""XCOPA (Ponti et al. 2020, arXiv 2005.00333): COPA's validation and test sets in 11 languages; trains on English COPA.

Hub: cambridgeltl/xcopa. Official files: data/<language>/{val,test}.<language>.jsonl of github.com/cambridgeltl/xcopa, or with
XTREME-R's names {val,test}.<language>.jsonl. English, which selects the checkpoint, is COPA itself.

XTREME-R trains on Social IQa first and goes on with its head: `run_target.py --task siqa`, then `--task xcopa --keep_head` on
that run. The question is worded as there, in English in every language.
"""

from datasets import Features, Value

from tasks import copa
from xstilts import metrics, multiple_choice
from xstilts.readers import label_index, numbered_json_lines
from xstilts.sources import FirstOf, Source
from xstilts.task import Task


def read(path, features):
    """{"premise": ..., "choice1": ..., "choice2": ..., "question": "cause", "label": 0, "idx": 0, "changed": false}"""
    for number, row in numbered_json_lines(path, features):
        yield {**row, "label": label_index(row["label"], (0, 1), path, number)}


def forms(split):
    """Names of the files of a split."""
    names = ("data/{language}/", "{language}/", "")
    return FirstOf(tuple(f"xcopa/{folder}{split}.{{language}}.jsonl" for folder in names))


TASK = Task(
    name="xcopa",
    type=multiple_choice.TYPE,
    source=Source(
        hub="cambridgeltl/xcopa",
        config="{language}",
        features=Features(
            premise=copa.TEXT, choice1=copa.TEXT, choice2=copa.TEXT, question=copa.TEXT, label=Value("int32"),
            idx=Value("int32"),
        ),
        splits={"validation": "validation", "test": "test"},
        files={"validation": forms("val"), "test": forms("test")},
        read=read,
    ),
    to_example=copa.to_example,
    labels=copa.TASK.labels,
    metric=metrics.Accuracy,
    languages=tuple("et ht id it qu sw ta th tr vi zh".split()),
    train_on=copa.TASK,
    after="siqa",
    sizes={"validation": 100, "test": 500},
)  # fmt: skip
