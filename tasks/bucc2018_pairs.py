"""The gold pairs of BUCC 2018 as plain retrieval: find the translation of a sentence among those of all others.

This is not BUCC's measure. Every sentence has a translation here, so that nothing need be rejected and no threshold is needed;
the score is accuracy, not F1, and far higher. Several tools and leaderboards (mteb's BUCC.v2, for one) call this BUCC; the
benchmark's task is `bucc2018`.

Hub: google/xtreme, bucc18.<language>, which holds the gold pairs only (its `source_lang` and `target_lang` are the ids of the
sentences). Official files: the gold pairs of `bucc2018`'s.
"""

from datasets import Features, Value

from tasks import bucc2018
from xstilts import aligned, metrics
from xstilts.bucc_files import pairs
from xstilts.sources import Source
from xstilts.task import RetrievalTask

TASK = RetrievalTask(
    name="bucc2018_pairs",
    type=aligned.TYPE,
    source=Source(
        hub="google/xtreme",
        config="bucc18.{language}",
        features=Features(source_sentence=Value("string"), target_sentence=Value("string")),
        splits={"validation": "validation", "test": "test"},
        files={"validation": bucc2018.DEV, "test": bucc2018.TEST},
        read=pairs,
    ),
    languages=bucc2018.TASK.languages,
    metric=metrics.Accuracy,
)
