"""PAN-X, the named entities of WikiANN (Pan et al. 2017; splits of Rahimi et al. 2019, arXiv 1902.00193): persons, organisations
and locations, in 40 languages in XTREME and 48 in XTREME-R.

Hub: unimelb-nlp/wikiann. Official files: {train,dev,test}-<language>.tsv as XTREME's download script writes them, or the authors'
own <language>/{train,dev,test}. (The script leaves the tags out of the test files.) Where there are none of these,
files of the same form in the manner of Universal NER are read: another collection, with other sentences, and run.json names its
files. Its own tags for other entities are not among the seven: UserError.
"""

from datasets import ClassLabel, Features, Sequence, Value

from xstilts import metrics, tagging
from xstilts.sources import FirstOf, Source
from xstilts.tagged_files import iob2
from xstilts.task import Task

TAGS = ("O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC")


def to_example(row):
    """{"tokens": ["Ada", "left", "Ulm"], "ner_tags": [1, 0, 5]} -> {"tokens": [...], "tags": ["B-PER", "O", "B-LOC"]}"""
    return {"tokens": row["tokens"], "tags": [TAGS[tag] for tag in row["ner_tags"]]}


def forms(split):
    """Names of the files of a split."""
    own = (f"panx/{split}-{{language}}.tsv", f"panx/{{language}}/{split}")
    return FirstOf((*own, f"uner/UNER_*/{{language}}_*-ud-{split}.iob2"))


TASK = Task(
    name="panx",
    type=tagging.TYPE,
    source=Source(
        hub="unimelb-nlp/wikiann",
        config="{language}",
        features=Features(tokens=Sequence(Value("string")), ner_tags=Sequence(ClassLabel(names=list(TAGS)))),
        splits={"train": "train", "validation": "validation", "test": "test"},
        files={"train": forms("train"), "validation": forms("dev"), "test": forms("test")},
        read=iob2,
    ),
    to_example=to_example,
    labels=TAGS,
    metric=metrics.Entities,
    languages=tuple(
        "en af ar az bg bn de el es et eu fa fi fr gu he hi hu id it ja jv ka kk ko lt ml mr ms my nl pa pl pt qu ro ru sw ta te "
        "th tl tr uk ur vi yo zh".split()
    ),
    sizes={"train-en": 20_000, "validation-en": 10_000, "test-en": 10_000},
)
