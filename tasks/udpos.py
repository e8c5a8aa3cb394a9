"""Part-of-speech tagging on Universal Dependencies: XTREME has release 2.5 and 33 languages, XTREME-R 2.7 and lt, pl, ro, uk, wo.

Hub: google/xtreme, udpos.<Language>, or izhx/xtreme-r-udpos, <language>. Official files: the treebanks' CoNLL-U files below `ud/`
or `ud-2.7/`; all treebanks of a language (the code that the names of their files begin with) are joined in sorted order. The
releases differ in English training rows, too, so that a model of one is not evaluated on the other (`variants`). Thai, Tagalog,
Yoruba and Kazakh have no validation set.

Words are syntactic words, as on the hub. XTREME and XTREME-R score the written forms of multiword tokens: with --benchmark,
official files give these.
"""

from dataclasses import replace

from datasets import ClassLabel, Features, Sequence, Value

from xstilts import metrics, tagging
from xstilts.sources import Source
from xstilts.tagged_files import conllu, conllu_as_xtreme
from xstilts.task import Task

TAGS = tuple("ADJ ADP ADV AUX CCONJ DET INTJ NOUN NUM PART PRON PROPN PUNCT SCONJ SYM VERB X".split())
NAMES = dict(
    pair.split(":")
    for pair in (
        "af:Afrikaans ar:Arabic bg:Bulgarian de:German el:Greek en:English es:Spanish et:Estonian eu:Basque fa:Persian "
        "fi:Finnish fr:French he:Hebrew hi:Hindi hu:Hungarian id:Indonesian it:Italian ja:Japanese kk:Kazakh ko:Korean "
        "lt:Lithuanian mr:Marathi nl:Dutch pl:Polish pt:Portuguese ro:Romanian ru:Russian ta:Tamil te:Telugu th:Thai "
        "tl:Tagalog tr:Turkish uk:Ukrainian ur:Urdu vi:Vietnamese wo:Wolof yo:Yoruba zh:Chinese"
    ).split()
)
# Sentences of release 2.5 by XTREME's rules; the hub has others in el, fr, zh, ru and de.
SIZES = {
    f"{split}-{language}": size
    for language, sizes in {
        "en": (21_253, 3_974),
        "el": (1_662, 403, 456),
        "de": (166_849, 19_233, 22_358),
        "zh": (7_994, 1_000, 3_455),
        "fr": (18_640, 2_902, 4_997),
        "ru": (54_099, 8_108, 8_976),
    }.items()
    for split, size in zip(("train", "validation", "test"), sizes, strict=False)
}


def to_example(row):
    """{"tokens": ["She", "sings", "."], "pos_tags": [10, 15, 12]} -> {"tokens": [...], "tags": ["PRON", "VERB", "PUNCT"]}"""
    return {"tokens": row["tokens"], "tags": [TAGS[tag] for tag in row["pos_tags"]]}


SOURCE = Source(
    hub="google/xtreme",
    config="udpos.{name}",
    features=Features(tokens=Sequence(Value("string")), pos_tags=Sequence(ClassLabel(names=list(TAGS)))),
    splits={"train": "train", "validation": "validation", "test": "test"},
    files={
        "train": "ud/UD_*/{language}_*-ud-train*.conllu",  # a large treebank's is in several files
        "validation": "ud/UD_*/{language}_*-ud-dev.conllu",
        "test": "ud/UD_*/{language}_*-ud-test.conllu",
    },
    read=conllu,
    names=NAMES,
    remarks=dict.fromkeys(("hub", "files"), "UD words, not XTREME's"),
    # The hub's loader took every treebank whose path has `_<Language>` in it: Ancient_Greek as well as Greek.
    foreign={
        "el": (83.8, "Ancient Greek"),
        "fr": (47.2, "Old French, or FTB's, whose words are taken out"),
        "zh": (37.5, "Classical Chinese"),
        "ru": (20.8, "Old Russian"),
        "de": (0.4, "Swiss German"),
    },
)
WRITTEN = replace(SOURCE, read=conllu_as_xtreme, remarks={"hub": SOURCE.remarks["hub"]})
LATER = replace(
    WRITTEN,
    hub="izhx/xtreme-r-udpos",
    config="{language}",
    foreign={},
    files={split: f"ud-2.7/{template.removeprefix('ud/')}" for split, template in SOURCE.files.items()},
)

TASK = Task(
    name="udpos",
    type=tagging.TYPE,
    source=SOURCE,
    to_example=to_example,
    labels=TAGS,
    metric=metrics.PartOfSpeech,
    languages=("en", *(language for language in NAMES if language != "en")),
    sizes=SIZES,
    variants={"xtreme": {"source": WRITTEN}, "xtreme-r": {"source": LATER, "sizes": {}}},
)
