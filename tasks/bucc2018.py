"""BUCC 2018 (Zweigenbaum, Sharoff and Rapp 2018): mine the pairs of translations in two comparable corpora, F1.

Official files: the shared task's archives, opened or not, or XTREME's download (see `xstilts/bucc_files.py`). Its sample is the
dev set, on which the threshold is chosen, its training set the test set; the shared task's own test set has no public gold.

Hub: mteb/BUCC, the training sets in one row a language, without any dev set: `--threshold X` is needed. mteb's code
(BUCCBitextMining) counts its gold from 1; by its statistics (BUCC.json) `sentence1` is as long as Chinese, `sentence2` as
English, and there are as many gold pairs as below. Not verified: the order of the sentences, hence whether the ids made of it
are the shared task's.
"""

from datasets import Features, Sequence, Value

from xstilts import metrics, mining
from xstilts.bucc_files import rows
from xstilts.sources import FirstOf, Source
from xstilts.task import RetrievalTask

DEV, TEST = (
    FirstOf(
        (
            f"bucc2018/{{language}}-en.{ours}.{{language}}",
            f"bucc2018/{{language}}-en/{{language}}-en.{theirs}.{{language}}",
            f"bucc2018/bucc2018-{{language}}-en.{theirs}-gold.tar.bz2",
        )
    )
    for ours, theirs in (("dev", "sample"), ("test", "training"))
)

TASK = RetrievalTask(
    name="bucc2018",
    type=mining.TYPE,
    source=Source(
        hub="mteb/BUCC",
        config="{language}-en",
        revision="414572247440f0ccacf7eb0bb70a31533a0e5443",
        features=Features(
            sentence1=Sequence(Value("string")),
            sentence2=Sequence(Value("string")),
            gold=Sequence(Sequence(Value("int32"))),
        ),
        splits={"dev": "dev", "test": "test"},  # there is no `dev` on the hub; `mining.load` says so
        files={"dev": DEV, "test": TEST},
        read=rows,
    ),
    languages=("de", "fr", "ru", "zh"),
    metric=metrics.MinedPairs,
    # Gold pairs, as in google/xtreme's bucc18.*, which has a row for each.
    sizes={
        "dev-de": 1_038,
        "dev-fr": 929,
        "dev-ru": 2_374,
        "dev-zh": 257,
        "test-de": 9_580,
        "test-fr": 9_086,
        "test-ru": 14_435,
        "test-zh": 1_899,
    },
)
