"""TyDiQA-GoldP (Clark et al. 2020, arXiv 2003.05002): questions that people asked and passages that answer them, 9 languages.

Hub: google-research-datasets/tydiqa, secondary_task. Official files: tydiqa-goldp-v1.1-train.json, all languages in one, and
tydiqa-goldp-v1.1-dev/tydiqa-goldp-dev-<name>.json or tydiqa-goldp-v1.1-dev.json; or, as XTREME's download script names them,
tydiqa.goldp.<language>.{train,dev}.json. (The script leaves the answers of the dev files out, and makes training ids ambiguous.)

The benchmarks test on the dev set, as the test set is not public. So validation rows are a fixed tenth of the *training*
passages. The other languages' training rows are read with --languages only: the benchmarks train on English alone.
"""

from tasks import squad
from xstilts import metrics, qa
from xstilts.readers import squad_json
from xstilts.sources import FirstOf, Source
from xstilts.task import Task

NAMES = dict(
    pair.split(":")
    for pair in (
        "en:english ar:arabic bn:bengali fi:finnish id:indonesian ko:korean ru:russian sw:swahili te:telugu".split()
    )
)


DEV = FirstOf(
    (
        "tydiqa/tydiqa-goldp-v1.1-dev/tydiqa-goldp-dev-{name}.json",
        "tydiqa/tydiqa-goldp-v1.1-dev/tydiqa.goldp.{language}.dev.json",
        "tydiqa/tydiqa-goldp-v1.1-dev.json",
    )
)


def language_of(row):
    """english of the id english--3215621880858840488-2; None for XTREME's training ids, which are numbers."""
    name = row["id"].split("-")[0]
    return name if name in NAMES.values() else None


TASK = Task(
    name="tydiqa",
    type=qa.TYPE,
    source=Source(
        hub="google-research-datasets/tydiqa",
        config="secondary_task",
        features=squad.TASK.source.features,
        splits={"train": "train", "validation": "validation", "test": "validation"},
        files={
            "train": FirstOf((
                "tydiqa/tydiqa-goldp-v1.1-train/tydiqa.goldp.{language}.train.json",
                "tydiqa/tydiqa-goldp-v1.1-train.json",
            )),
            "validation": DEV,
            "test": DEV,
        },
        read=squad_json,
        names=NAMES,
        language_of=language_of,
    ),
    to_example=squad.to_example,
    metric=metrics.SquadAnswers,
    languages=tuple(NAMES),
    held_out_by="context",
    held_out_share=1 / 10,
    sizes=dict(zip(
        [f"{split}-{language}" for split in ("train", "test") for language in NAMES],
        [3696, 14_805, 2390, 6855, 5702, 1625, 6490, 2755, 5563, 440, 921, 113, 782, 565, 276, 812, 499, 669],
        strict=True,
    )),
)  # fmt: skip
