"""MLQA (Lewis et al. 2020, arXiv 1910.07475): questions about Wikipedia paragraphs in 7 languages; trains on SQuAD v1.1.

Hub: google/xtreme, MLQA.<context>.<question>. Official files: {dev,test}-context-<language>-question-<language>.json of MLQA_V1.
(XTREME's download script leaves the answers out.)

A language is that of context and question. A pair as `de-en`, contexts in German and questions in English, is another one: its
answers are in the language of the context, by whose rules they are scored (`pair_of`).
"""

from itertools import permutations

from datasets import Features

from tasks import squad
from xstilts import metrics, qa
from xstilts.readers import squad_json
from xstilts.sources import Source
from xstilts.task import Task

LANGUAGES = ("en", "ar", "de", "es", "hi", "vi", "zh")

TASK = Task(
    name="mlqa",
    type=qa.TYPE,
    source=Source(
        hub="google/xtreme",
        config="MLQA.{context}.{question}",
        features=Features(id=squad.TEXT, context=squad.TEXT, question=squad.TEXT, answers=squad.ANSWERS),
        splits={"validation": "validation", "test": "test"},
        files={
            "validation": "mlqa/MLQA_V1/dev/dev-context-{context}-question-{question}.json",
            "test": "mlqa/MLQA_V1/test/test-context-{context}-question-{question}.json",
        },
        read=squad_json,
    ),
    to_example=squad.to_example,
    metric=metrics.MlqaAnswers,
    languages=LANGUAGES,
    on_request=tuple(f"{context}-{question}" for context, question in permutations(LANGUAGES, 2)),
    train_on=squad.TASK,
    sizes=dict(zip(
        [f"{split}-{language}" for split in ("validation", "test") for language in LANGUAGES],
        [1148, 517, 512, 500, 507, 511, 504, 11_590, 5335, 4517, 5253, 4918, 5495, 5137],
        strict=True,
    )),
)  # fmt: skip
