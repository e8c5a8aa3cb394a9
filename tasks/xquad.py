"""XQuAD (Artetxe et al. 2020, arXiv 1910.11856): 240 paragraphs of SQuAD v1.1's dev set, translated; trains on SQuAD v1.1.

Hub: google/xquad. Official files: xquad.<language>.json. Romanian is in XTREME-R only.
"""

from datasets import Features

from tasks import squad
from xstilts import metrics, qa
from xstilts.readers import squad_json
from xstilts.sources import Source
from xstilts.task import Task

TASK = Task(
    name="xquad",
    type=qa.TYPE,
    source=Source(
        hub="google/xquad",
        config="xquad.{language}",
        features=Features(id=squad.TEXT, context=squad.TEXT, question=squad.TEXT, answers=squad.ANSWERS),
        splits={"test": "validation"},
        files={"test": "xquad/xquad.{language}.json"},
        read=squad_json,
    ),
    to_example=squad.to_example,
    metric=metrics.SquadAnswers,
    languages=tuple("en ar de el es hi ro ru th tr vi zh".split()),
    train_on=squad.TASK,
    sizes={"test": 1_190},
)
