"""Tatoeba (Artetxe and Schwenk 2019, arXiv 1812.10464): find the translation of a sentence among up to 1,000.

Hub: google/xtreme, tatoeba.<ISO 639-3>. Official files: LASER's tatoeba.<iso>-eng.<iso> and tatoeba.<iso>-eng.eng, line by line
translations. XTREME has 36 languages; XTREME-R adds az, lt, pl, ro, uk (LASER's files have them, the hub's dataset not).
"""

from datasets import Features, Value

from xstilts import aligned, metrics
from xstilts.readers import aligned_lines
from xstilts.sources import Source
from xstilts.task import RetrievalTask

NAMES = dict(
    pair.split(":")
    for pair in (
        "af:afr ar:ara bg:bul bn:ben de:deu el:ell es:spa et:est eu:eus fa:pes fi:fin fr:fra he:heb hi:hin hu:hun id:ind "
        "it:ita ja:jpn jv:jav ka:kat kk:kaz ko:kor ml:mal mr:mar nl:nld pt:por ru:rus sw:swh ta:tam te:tel th:tha tl:tgl "
        "tr:tur ur:urd vi:vie zh:cmn az:aze lt:lit pl:pol ro:ron uk:ukr"
    ).split()
)

TASK = RetrievalTask(
    name="tatoeba",
    type=aligned.TYPE,
    source=Source(
        hub="google/xtreme",
        config="tatoeba.{name}",
        features=Features(source_sentence=Value("string"), target_sentence=Value("string")),
        splits={"test": "validation"},
        files={"test": "tatoeba/tatoeba.{name}-eng.{name}"},
        read=aligned_lines,
        names=NAMES,
    ),
    languages=tuple(NAMES),
    metric=metrics.Accuracy,
)
