"""XNLI (Conneau et al. 2018, arXiv 1809.05053): MultiNLI's question in 15 languages; trains on English MultiNLI.

Hub: facebook/xnli. Official files, as XTREME's download script writes them: dev-<language>.tsv and test-<language>.tsv, two
sentences and the label, without a header. (The script leaves the labels out of the test files; take XNLI 1.0's own.)

The training rows of its own are MultiNLI's, machine-translated (XNLI-MT 1.0: multinli.train.<language>.tsv, with a header), for
`run_intermediate.py --task xnli --languages de,sw`; English ones always come from MultiNLI.
"""

import os

from datasets import ClassLabel, Features, Value

from tasks import mnli
from xstilts import classification, metrics
from xstilts.readers import headed_tsv, label_index, tab_separated
from xstilts.sources import Source
from xstilts.task import Task


def read(path, features):
    """premise TAB hypothesis TAB neutral -> {"premise": ..., "hypothesis": ..., "label": 1}"""
    translated = os.path.basename(path).startswith("multinli.train.")
    for number, row in (headed_tsv if translated else tab_separated)(path, ("premise", "hypo", "label")):
        label = row["label"].replace("contradictory", "contradiction")  # XNLI's own spelling in some of its files
        label = label_index(label, mnli.LABELS, path, number)
        yield {"premise": row["premise"], "hypothesis": row["hypo"], "label": label}


TASK = Task(
    name="xnli",
    type=classification.TYPE,
    source=Source(
        hub="facebook/xnli",
        config="{language}",
        features=Features(
            premise=Value("string"), hypothesis=Value("string"), label=ClassLabel(names=list(mnli.LABELS))
        ),
        splits={"train": "train", "validation": "validation", "test": "test"},
        files={
            "train": "xnli/XNLI-MT-1.0/multinli/multinli.train.{language}.tsv",
            "validation": "xnli/dev-{language}.tsv",
            "test": "xnli/test-{language}.tsv",
        },
        read=read,
    ),
    to_example=mnli.to_example,
    labels=mnli.LABELS,
    metric=metrics.Accuracy,
    languages=tuple("en ar bg de el es fr hi ru sw th tr ur vi zh".split()),
    train_on=mnli.TASK,
    sizes={"train": 392_702, "validation": 2_490, "test": 5_010},
)
