"""A small valid file in every form that is read, made up here."""

import io
import json
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, field

from independent_counts import (
    count_below_header,
    count_entities,
    count_lines,
    count_mentions,
    count_questions,
    count_records,
    count_sentences,
    found_sentences,
    lines_of,
)

from tasks import load_task, task_names
from xstilts import mlm
from xstilts.offsets import UNITS
from xstilts.readers import Dropped
from xstilts.task import RetrievalTask, Task

TASKS = {name: load_task(name, (Task, RetrievalTask)) for name in task_names()}


@dataclass(frozen=True, kw_only=True)
class Form:
    """One form of file.

    task     the declaration whose reader it is, and `split` and `language` whose rows the file has
    files    {path below the data folder: bytes}; readers are given the first one
    values   which values a damaged file may have others of: "json", "json lines" or None
    count    bytes of the first file -> what `found` makes of the reader's answer
    found    (rows, {reason: number left out}) -> the same
    """

    name: str
    task: object
    split: str
    language: str = "en"
    files: dict
    read: Callable
    values: str | None = None
    count: Callable
    found: Callable = field(default=lambda rows, dropped: len(rows) + sum(dropped.values()))


def json_lines(*rows):
    """A file with a JSON object in each line."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def questions(*ids, **more):
    """SQuAD's JSON with an article and a question for each id; the second one's context is not ASCII."""
    articles = []
    for number, id in enumerate(ids):
        context = "Ada was born in Ulm." if number % 2 == 0 else "Адa родилась в Ульме. Да."
        text = "Ulm" if number % 2 == 0 else "Ульме"
        answers = [{"text": text, "answer_start": context.index(text)}]
        question = {"id": id, "question": f"Where was she born, no. {number}?", "answers": answers, **more}
        articles.append({"title": f"Ada {number}", "paragraphs": [{"context": context, "qas": [question]}]})
    return json.dumps({"version": "1.1", "data": articles}, ensure_ascii=False).encode()


def words(*tagged, rest="\t_" * 6):
    """A sentence of CoNLL-U."""
    return "".join(f"{number}\t{word}\t_\t{tag}{rest}\n" for number, (word, tag) in enumerate(tagged, start=1)) + "\n"


def packed(**members):
    """A .tar.bz2 archive of BUCC."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:bz2") as archive:
        for suffix, content in members.items():
            member = tarfile.TarInfo(f"bucc2018/de-en/de-en.training.{suffix}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


PAIR = {
    "gold_label": "neutral",
    "sentence1": "A man sits.",
    "sentence2": "Ein Mann schläft \u2028 nicht.",
    "pairID": "1",
}
PAIRS = [{**PAIR, "gold_label": label} for label in ("neutral", "-", "entailment", "contradiction", "-")]
COPA = {"premise": "It rained.", "choice1": "I slept.", "choice2": "I got wet.", "question": "effect", "label": 1}
HELLASWAG = {"ind": 4, "activity_label": "Sitting", "ctx_a": "A man sits.", "ctx_b": "he", "label": 1}
HELLASWAG |= {"endings": ["runs.", "sleeps.", "eats.", "sings."], "split": "train", "source_id": "x"}
CHOICES = [{"label": letter, "text": f"text {letter}"} for letter in "ABCDE"]
QUESTION = {"stem": "Where is milk kept?", "question_concept": "milk", "choices": CHOICES}
SIQA = {
    "context": "Kim ran.",
    "question": "Why?",
    "answerA": "to win",
    "answerB": "to lose",
    "answerC": "no",
    "correct": "B",
}
TSV = 'A man sits.\tHe does.\tneutral\r\n"He said ""no""\t."\tЧто?\tcontradiction\r\n\r\na\t"""b"""\tentailment\r\n'.encode()
XNLI = "language\tgold_label\tsentence1\tsentence2\tmatch\n"
XNLI += 'de\tneutral\t"So\tso"\tTrue\nen\tentailment\ta\tb\tTrue\nde\tcontradictory\tx\ty\tTrue\n'
COSMOS = (
    "id,context,question,answer0,answer1,answer2,answer3,label\n"
    '1,"It rained.\nWe ""left"".",Why?,wet,dry,no,yes,0\n2,Nothing.,What?,a,b,c,"d, e",3\n3,x,y,a,b,c,d,1\n'
)
PLACES = [("old", 6), ("old", 3), (" It", 10), ("It", 11)]  # right, not there, between two sentences, right
OLD = [
    {"id": str(n), "question": "?", "answers": [{"text": t, "answer_start": at}]} for n, (t, at) in enumerate(PLACES)
]
SQUAD = [
    {"title": title, "paragraphs": [{"context": "It is old. It stands.", "qas": qas}]}
    for title, qas in (("t", OLD[:2]), ("u", OLD[2:]))
]
QQP = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n"
QQP += "1\t2\t3\tIs it?\tIt is?\t1\n4\t5\t6\tbroken\n7\t8\t9\tx\ty\t\n10\t11\t12\tWho?\tWhat?\t0\n"
TREES = "# sent_id = 1\n1-2\tzum\t_\t_" + "\t_" * 6 + "\n" + words(("zu", "ADP"), ("dem", "DET"), ("Haus", "NOUN"))
TREES += words(("_", "NOUN"), ("\u200f.", "PUNCT"), (")", "PUNCT"))
TREES += "# not annotated\n" + words(("a", "_"), ("b", "_"))
TREES += words(("_", "NOUN")) + words(("Sie", "PRON"), ("singt", "VERB"))
PANX = "de:Ulm\tB-LOC\nde:ist\tO\nde:\u00a0\tO\n\nde:#\tO\nde:Ada\tI-PER\n\n"
UNER = "# text = Ulm\n1\tUlm\tB-LOC\t-\tx\n2\tist\tO\t-\t-\n\n# a\n1-2\tzum\tO\t-\t-\n1\tzu\tO\t-\t-\n2\tdem\tO\t-\t-\n"
LEAF = "(<L {0} NN NN {1} {0}>)"
TREE = (
    f"(<T S[dcl] 0 2> {LEAF.format('NP', 'She')} (<T S 1 2> {LEAF.format('S', 'sings')} {LEAF.format('.', '-LRB-')} ) )"
)
AUTO = "".join(f"ID=wsj_0001.{number} PARSER=GOLD NUMPARSE=1\n{TREE}\n" for number in (1, 2, 3))
TEXT = "It is old. It stands. It is old."
PARAGRAPH = {
    "context": TEXT,
    "sentences": ["It is old.", "It stands.", "It is old."],
    "sentence_breaks": [[0, 10], [11, 21], [22, 32]],
    "qas": [
        {"id": id, "question": f"What, {id}?", "answers": [{"text": text, "answer_start": start}]}
        for id, text, start in (("a", "old", 6), ("b", "stands", 14), ("c", " It", 21))  # between sentences
    ],
}
XQUAD_R = json.dumps({"data": [{"title": "t", "paragraphs": [PARAGRAPH]}]}).encode()
NEWS = "Strike in Lindow\n\nIn {old} Lindow it rains. It stops in  Ulm."
SPANS = [{"start": 0, "end": 16}, {"start": 18, "end": 43}, {"start": 44, "end": 61}]
CONTEXT = {"document_id": "1", "language": "en", "text": NEWS, "sentence_spans": SPANS}
ENTITY = {
    "entity_id": "Q1",
    "description": "One. Two.",
    "sentence_spans": [{"start": 0, "end": 4}, {"start": 5, "end": 9}],
}


def mention(id, text, start):
    """A mention of Mewsli-X."""
    span = {"start": start, "end": start + len(text), "text": text}
    return {"example_id": id, "entity_id": "Q1", "mention_span": span}


MENTIONS = [mention("m1", "Lindow", 10), mention("m2", "rains. It", 37), mention("m3", "Lindow", 27)]
WIKIPEDIA = [{"contextual_mention": {"context": CONTEXT, "mention": each}, "entity": ENTITY} for each in MENTIONS]
BUCC = {
    "de": b"de-1\tDie Katze.\nde-2\t Ein\tSatz.\r\nde-3\tAlt.\n",
    "en": b"en-1\tOld.\nen-2\tThe cat.\nen-3\tA lamp.\n",
    "gold": b"de-1\ten-2\nde-3\ten-1\n",
}
BUCC_FILES = {f"bucc2018/de-en.test.{suffix}": content for suffix, content in BUCC.items()}


def reader_of(declared):
    """path -> what the reader of a task, or of a Source, gives."""
    source = getattr(declared, "source", declared)
    return lambda path: source.read(path, source.features)


def form(name, task, split, path, content, language="en", read=None, **more):
    """A Form of one file, or of several whose first is `path`."""
    files = {path: content} if isinstance(content, bytes) else content
    return Form(name=name, task=task, split=split, language=language, files=files, read=read or reader_of(task), **more)


def in_lines(name, task, split, path, *rows, **more):
    """A Form of JSON lines."""
    return form(name, task, split, path, json_lines(*rows), values="json lines", **{"count": count_lines, **more})


def in_json(name, task, split, path, content, **more):
    """A Form of SQuAD's JSON."""
    return form(name, task, split, path, content, values="json", **{"count": count_questions, **more})


FORMS = (
    in_lines("mnli", TASKS["mnli"], "train", "mnli/multinli_1.0_train.jsonl", *PAIRS),
    in_lines("snli", TASKS["snli"], "test", "snli/snli_1.0_test.jsonl", *PAIRS),
    in_lines("anli", TASKS["anli"], "test", "anli/R1/test.jsonl",
        *({"uid": str(n), "context": "x y", "hypothesis": "z", "label": label} for n, label in enumerate("enc"))),
    in_lines("copa", TASKS["copa"], "train", "copa/train.jsonl", *({**COPA, "idx": n} for n in range(3))),
    in_lines("xcopa", TASKS["xcopa"], "test", "xcopa/test.et.jsonl", *({**COPA, "idx": n} for n in range(3)), language="et"),
    in_lines("hellaswag", TASKS["hellaswag"], "train", "hellaswag/hellaswag_train.jsonl", *[HELLASWAG] * 3),
    in_lines("commonsenseqa", TASKS["commonsenseqa"], "train", "commonsenseqa/train_rand_split.jsonl",
        *({"id": str(n), "question": QUESTION, "answerKey": letter} for n, letter in enumerate("AEC"))),
    in_lines("siqa", TASKS["siqa"], "train", "socialiqa/socialIQa_v1.4_trn.jsonl", *[SIQA] * 3),
    form("xnli", TASKS["xnli"], "test", "xnli/test-de.tsv", TSV, "de", count=count_lines),
    form("xnli 1.0", TASKS["xnli"], "test", "xnli/XNLI-1.0/xnli.test.tsv", XNLI.encode(), "de", count=count_below_header),
    form("xnli translated", TASKS["xnli"], "train", "xnli/XNLI-MT-1.0/multinli/multinli.train.de.tsv",
        b'premise\thypo\tlabel\n"So\tso"\tcontradictory\nx\ty\tneutral\n', "de", count=count_below_header),
    form("pawsx", TASKS["pawsx"], "test", "pawsx/test-de.tsv", b"a\tb\t1\n\"c\td\"\te\t0\n", "de", count=count_lines),
    form("pawsx x-final", TASKS["pawsx"], "test", "pawsx/x-final/de/test_2k.tsv",
        b"id\tsentence1\tsentence2\tlabel\n1\ta\tb\t1\n2\tNS\tb\t0\n3\tx\ty\tNS\n", "de", count=count_below_header),
    form("qqp", TASKS["qqp"], "train", "qqp/train.tsv", QQP.encode(), count=count_below_header),
    form("cosmosqa", TASKS["cosmosqa"], "train", "cosmosqa/train.csv", COSMOS.encode(), count=count_records),
    in_json("squad", TASKS["squad"], "train", "squad/train-v1.1.json", questions("1", "2", "3")),
    in_json("squad_v2", TASKS["squad_v2"], "train", "squad_v2/train-v2.0.json", questions("1", "2", "3", is_impossible=False)),
    in_json("xquad", TASKS["xquad"], "test", "xquad/xquad.ru.json", questions("1", "2", "3"), language="ru"),
    in_json("mlqa", TASKS["mlqa"], "test", "mlqa/MLQA_V1/test/test-context-de-question-de.json", questions("1", "2"),
        language="de"),
    in_json("lareqa train", TASKS["lareqa"], "train", "squad/train-v1.1.json",
        json.dumps({"data": SQUAD}).encode()),
    in_json("tydiqa", TASKS["tydiqa"], "train", "tydiqa/tydiqa-goldp-v1.1-train.json",
        questions("english--1", "russian--2", "english--3", "english--4")),
    form("udpos", TASKS["udpos"], "test", "ud/UD_German-X/de_x-ud-test.conllu", TREES.encode(), "de",
        count=count_sentences, found=found_sentences),
    form("panx", TASKS["panx"], "test", "panx/test-de.tsv", PANX.encode(), "de", count=count_entities, found=found_sentences),
    form("uner", TASKS["panx"], "test", "uner/UNER_German/de_x-ud-test.iob2", UNER.encode(), "de", count=count_entities,
        found=found_sentences),
    form("ccg", TASKS["ccg"], "train", "ccg/x/a-train.auto", AUTO.encode(),
        count=lambda content: sum(line.startswith("ID=") for line in lines_of(content))),
    form("tatoeba", TASKS["tatoeba"], "test", "tatoeba/tatoeba.deu-eng.deu",
        {"tatoeba/tatoeba.deu-eng.deu": "Ja.\r\nÄh\u2028nein.\r\n".encode(), "tatoeba/tatoeba.deu-eng.eng": b"Yes.\nNo.\n"}, "de",
        count=lambda content: len(content.decode("utf-8-sig").removesuffix("\n").split("\n"))),
    form("bucc2018", TASKS["bucc2018"], "test", "bucc2018/de-en.test.de", BUCC_FILES, "de", count=count_lines,
        found=lambda rows, dropped: len(rows[0]["sentence1"])),
    form("bucc2018 gold", TASKS["bucc2018_pairs"], "test", "bucc2018/de-en.test.de", BUCC_FILES, "de", count=lambda content: 2,
        found=lambda rows, dropped: 2),
    form("bucc2018 archive", TASKS["bucc2018"], "test", "bucc2018/bucc2018-de-en.training-gold.tar.bz2", packed(**BUCC), "de",
        count=lambda content: (3, 3, 2), found=lambda rows, dropped: tuple(map(len, rows[0].values()))),
    in_json("lareqa", TASKS["lareqa"].retrieval.queries, "test", "lareqa/xquad-r/de.json", XQUAD_R, language="de",
        found=lambda rows, dropped: sum(len(row["questions"]) for row in rows)
        + sum(count for reason, count in dropped.items() if reason not in UNITS)),
    in_lines("mewslix pairs", TASKS["mewslix"], "train", "mewslix/wikipedia_pairs-train.jsonl", *WIKIPEDIA),
    in_lines("mewslix mentions", TASKS["mewslix"].retrieval.queries, "test", "mewslix/wikinews_mentions-test.jsonl",
        *({"context": CONTEXT, "mentions": each} for each in (MENTIONS, [mention("m4", "Lindow", 10)])), count=count_mentions),
    in_lines("mewslix entities", TASKS["mewslix"].retrieval.candidates, "test", "mewslix/candidate_set_entities.jsonl",
        *({**ENTITY, "entity_id": id} for id in ("Q1", "Q2"))),
    form("mlm", None, "train", "text.txt", "One.\n\nДва.\r\n three \n".encode(), read=lambda path: mlm.lines_of(path),
        count=count_lines),
)  # fmt: skip


def answer_of(form, path):
    """(rows, {reason: how many are left out}) of the reader of a form."""
    rows, dropped = [], {}
    for row in form.read(str(path)):
        if isinstance(row, Dropped):
            dropped[row.reason] = dropped.get(row.reason, 0) + 1
        else:
            rows.append(row)
    return rows, dropped
