"""PAWS-X (Yang et al. 2019, arXiv 1908.11828): do two sentences of the same words say the same? In 7 languages, from PAWS-Wiki.

Hub: google-research-datasets/paws-x. Official files: x-final/<language>/{train,translated_train,dev_2k,test_2k}.tsv, with a
header, or {train,dev,test}-<language>.tsv as XTREME's download script writes them, without one. (The script leaves the labels out
of the test files.) Pairs without a label (-1 on the hub) are left out; those of which a translator made nothing ("NS") are not.

Training rows in other languages than English are machine-translated.
"""

from pathlib import Path

from datasets import ClassLabel, Features, Value

from xstilts import classification, metrics
from xstilts.readers import NO_LABEL, Dropped, headed_tsv, label_index, tab_separated, whole_number
from xstilts.sources import FirstOf, Source
from xstilts.task import Task

LABELS = ("0", "1")  # as XTREME's scorer has them: 1 is a paraphrase
NO_GOLD = -1


def read(path, features):
    """id TAB sentence1 TAB sentence2 TAB 1, or without the id -> {"id": 1, "sentence1": ..., "sentence2": ..., "label": 1}"""
    if "x-final" in Path(path).parts:
        for number, row in headed_tsv(path, features):
            label = LABELS.index(row["label"]) if row["label"] in LABELS else NO_GOLD
            yield {**row, "id": whole_number(row["id"], "id", path, number), "label": label}
        return
    for number, row in tab_separated(path, ("sentence1", "sentence2", "label")):
        yield {**row, "id": number, "label": label_index(row["label"], LABELS, path, number)}


def to_example(row):
    """{"id": 1, "sentence1": "Ada met Ben.", "sentence2": "Ben met Ada.", "label": 1}
    -> {"text_a": "Ada met Ben.", "text_b": "Ben met Ada.", "label": "1"}; `Dropped` for a pair without a label"""
    if row["label"] == NO_GOLD:
        return Dropped(NO_LABEL)
    return {"text_a": row["sentence1"], "text_b": row["sentence2"], "label": LABELS[row["label"]]}


TASK = Task(
    name="pawsx",
    type=classification.TYPE,
    source=Source(
        hub="google-research-datasets/paws-x",
        config="{language}",
        features=Features(
            id=Value("int32"),
            sentence1=Value("string"),
            sentence2=Value("string"),
            label=ClassLabel(names=list(LABELS)),
        ),
        splits={"train": "train", "validation": "validation", "test": "test"},
        files={
            "train": FirstOf(("pawsx/x-final/{language}/*train.tsv", "pawsx/train-{language}.tsv")),
            "validation": FirstOf(("pawsx/x-final/{language}/dev_2k.tsv", "pawsx/dev-{language}.tsv")),
            "test": FirstOf(("pawsx/x-final/{language}/test_2k.tsv", "pawsx/test-{language}.tsv")),
        },
        read=read,
    ),
    to_example=to_example,
    labels=LABELS,
    metric=metrics.Accuracy,
    languages=tuple("en de es fr ja ko zh".split()),
    sizes={"train": 49_401, "validation": 2_000, "test": 2_000},
)
