"""XNLI (Conneau et al. 2018, arXiv 1809.05053): MultiNLI's question in 15 languages; trains on English MultiNLI.

Hub: facebook/xnli. Official files, as XTREME's download script writes them: dev-<language>.tsv and test-<language>.tsv, two
sentences and the label, without a header. (The script leaves the labels out of the test files; take XNLI 1.0's own.)
"""

from datasets import ClassLabel, Features, Value

from tasks import mnli
from xstilts import classification, metrics
from xstilts.errors import UserError
from xstilts.readers import tab_separated
from xstilts.sources import Source
from xstilts.task import Task


def read(path, features):
    """premise TAB hypothesis TAB neutral -> {"premise": ..., "hypothesis": ..., "label": 1}"""
    for number, row in tab_separated(path, ("premise", "hypothesis", "label")):
        label = row["label"].replace("contradictory", "contradiction")  # XNLI's own spelling in some of its files
        if label not in mnli.LABELS:
            raise UserError(f"{path}, line {number}: label '{label}' is not one of {', '.join(mnli.LABELS)}")
        yield {**row, "label": mnli.LABELS.index(label)}


TASK = Task(
    name="xnli",
    type=classification.TYPE,
    source=Source(
        hub="facebook/xnli",
        config="{language}",
        features=Features(
            premise=Value("string"), hypothesis=Value("string"), label=ClassLabel(names=list(mnli.LABELS))
        ),
        splits={"validation": "validation", "test": "test"},
        files={"validation": "xnli/dev-{language}.tsv", "test": "xnli/test-{language}.tsv"},
        read=read,
    ),
    to_example=mnli.to_example,
    labels=mnli.LABELS,
    metric=metrics.Accuracy,
    languages=tuple("en ar bg de el es fr hi ru sw th tr ur vi zh".split()),
    train_on=mnli.TASK,
    sizes={"validation": 2_490, "test": 5_010},
)
