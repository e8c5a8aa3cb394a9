"""XNLI (Conneau et al. 2018, arXiv 1809.05053): MultiNLI's question in 15 languages; trains on English MultiNLI.

Hub: facebook/xnli. Official files: xnli.dev.tsv and xnli.test.tsv of XNLI-1.0.zip, with a header, all languages in one. Where
they are not there, and for other languages, dev-<language>.tsv and test-<language>.tsv as XTREME's download script writes them:
two sentences and the label, without a header. (The script leaves the labels out of the test files.)

The training rows of its own are MultiNLI's, machine-translated (XNLI-MT 1.0: multinli.train.<language>.tsv, with a header), for
`run_intermediate.py --task xnli --languages de,sw`; English ones always come from MultiNLI.
"""

from pathlib import Path

from datasets import ClassLabel, Features, Value

from tasks import mnli
from xstilts import classification, metrics
from xstilts.readers import headed_tsv, label_index, tab_separated
from xstilts.sources import FirstOf, Source
from xstilts.task import Task

LANGUAGES = tuple("en ar bg de el es fr hi ru sw th tr ur vi zh".split())
XNLI, TRANSLATED = "XNLI-1.0", "multinli"  # folders of files with a header, in which quotation marks are text


def read(path, features):
    """premise TAB hypothesis TAB neutral -> {"premise": ..., "hypothesis": ..., "label": 1}, and of rows of XNLI 1.0's own files
    the "language"."""
    for number, row in _rows(path):
        premise, hypothesis, label, *language = row.values()
        label = label.replace("contradictory", "contradiction")  # XNLI's own spelling in some of its files
        label = label_index(label, mnli.LABELS, path, number)
        own = {"language": language[0]} if language else {}
        yield {"premise": premise, "hypothesis": hypothesis, "label": label, **own}


def _rows(path):
    folder = Path(path).parent.name
    if folder == XNLI:
        return headed_tsv(path, ("sentence1", "sentence2", "gold_label", "language"))
    return (headed_tsv if folder == TRANSLATED else tab_separated)(path, ("premise", "hypo", "label"))


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
            "validation": FirstOf((f"xnli/{XNLI}/xnli.dev.tsv", "xnli/dev-{language}.tsv")),
            "test": FirstOf((f"xnli/{XNLI}/xnli.test.tsv", "xnli/test-{language}.tsv")),
        },
        read=read,
        names={language: language for language in LANGUAGES},
        language_of=lambda row: row.get("language"),
    ),
    to_example=mnli.to_example,
    labels=mnli.LABELS,
    metric=metrics.Accuracy,
    languages=LANGUAGES,
    train_on=mnli.TASK,
    sizes={"train": 392_702, "validation": 2_490, "test": 5_010},
)
