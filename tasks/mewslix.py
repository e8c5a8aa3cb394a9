"""Mewsli-X (Ruder et al. 2021, arXiv 2104.07412): find the entity that is mentioned in news among descriptions in 50 languages.

Trains on English Wikipedia: a mention in its sentence, and the first sentences of the page of the entity. Evaluated by
run_retrieval.py on mentions in WikiNews, 11 languages, against 1,003,893 candidates.

Official files: wikipedia_pairs-{train,dev}.jsonl, wikinews_mentions-test.jsonl and candidate_set_entities.jsonl, as they come
out of get-mewsli-x.sh of google-research/google-research (dense_representations_for_entity_retrieval/mel): those that are
released lack the text of the news. The hub's izhx/mewsli-x is not read: its rows lie in archives, in a schema nobody declares.
"""

from datasets import Features, Value

from xstilts import dual_encoder, metrics
from xstilts.mewsli_x import entities, mentions, pairs, query_of, to_candidates, to_queries
from xstilts.sources import Source
from xstilts.task import Ranking, Task

LANGUAGES = tuple("en ar de es fa ja pl ro ta tr uk".split())
TEXT = Value("string")
MENTION = dict.fromkeys(("example_id", "entity_id", "language", "before", "mention", "after"), TEXT)

MENTIONS = Source(
    features=Features(MENTION),
    splits={"test": "test"},
    files={"test": "mewslix/wikinews_mentions-test.jsonl"},
    read=mentions,
    language_of=lambda row: row["language"],
)

ENTITIES = Source(
    features=Features(entity_id=TEXT, description=TEXT),
    splits={"test": "test"},
    files={"test": "mewslix/candidate_set_entities.jsonl"},
    read=entities,
)


def to_example(row):
    """{"example_id": "c79", "entity_id": "Q1757", "language": "en", "before": "In ", "mention": "Helsinki", "after": ", rain.",
    "description": "Helsinki is a city."}
    -> {"id": "c79", "query": "Helsinki: In { Helsinki } , rain.", "document": "Helsinki is a city."}"""
    return {"id": row["example_id"], "query": query_of(row), "document": row["description"]}


TASK = Task(
    name="mewslix",
    type=dual_encoder.TYPE,
    source=Source(
        features=Features(**MENTION, description=TEXT),
        splits={"train": "train", "validation": "validation"},
        files={"train": "mewslix/wikipedia_pairs-train.jsonl", "validation": "mewslix/wikipedia_pairs-dev.jsonl"},
        read=pairs,
    ),
    to_example=to_example,
    metric=metrics.Ranking,
    languages=LANGUAGES,
    sizes={"train": 167_719, "validation": 14_051}
    | dict(zip(
        [f"test-{language}" for language in LANGUAGES],
        [1490, 1501, 1551, 1552, 458, 1519, 1562, 672, 1567, 1215, 1537],
        strict=True,
    )),
    retrieval=Ranking(queries=MENTIONS, to_queries=to_queries, candidates=ENTITIES, to_candidates=to_candidates),
)  # fmt: skip
