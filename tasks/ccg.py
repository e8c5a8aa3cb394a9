"""CCG supertagging (CCGbank, Hockenmaier and Steedman 2007): the combinatory category of every word.

Not on the hub: CCGbank is licensed by the LDC (LDC2005T13). Official files: the AUTO files of your own copy, sections 00-18 for
training, 19-21 for validation, 22-24 for test. Files of the same form named *-train.auto, *-dev.auto and *-test.auto are read
as well, e.g. the free ones that Tran and Miyao made from Universal Dependencies treebanks (github.com/mynlp/ud2ccg): a
substitute with other, fewer categories. Keep one collection in the folder at a time; run.json names the files that were read.

The paper's data had 1,363 categories (the authors' jiant). No sizes are declared: the ones known are not from a source.
"""

from datasets import Features, Sequence, Value

from xstilts import metrics, tagging
from xstilts.readers import auto
from xstilts.sources import Source
from xstilts.task import Task


def to_example(row):
    """{"tokens": ["She", "sings", "."], "tags": ["NP", "S[dcl]\\\\NP", "."]} -> the same; words as the file has them (-LRB-)"""
    return {"tokens": row["tokens"], "tags": row["tags"]}


TASK = Task(
    name="ccg",
    type=tagging.TYPE,
    source=Source(
        features=Features(tokens=Sequence(Value("string")), tags=Sequence(Value("string"))),
        splits={"train": "train", "validation": "validation", "test": "test"},
        files={
            "train": ("ccg/*/data/AUTO/0[0-9]/*.auto", "ccg/*/data/AUTO/1[0-8]/*.auto", "ccg/*/*-train.auto"),
            "validation": ("ccg/*/data/AUTO/19/*.auto", "ccg/*/data/AUTO/2[01]/*.auto", "ccg/*/*-dev.auto"),
            "test": ("ccg/*/data/AUTO/2[2-4]/*.auto", "ccg/*/*-test.auto"),
        },
        read=auto,
    ),
    to_example=to_example,
    open_labels=True,
    metric=metrics.TagAccuracy,
)
