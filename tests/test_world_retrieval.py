"""The retrieval tasks of the demo's world beside Tatoeba: official forms, nothing that gives answers away, all new."""

import collections
import hashlib
import json
import random
import re
from itertools import pairwise
from pathlib import Path

import pytest

from demo import make_world, retrieval
from demo.entities import draw_account, draw_entity, shuffled_names
from demo.languages import ENGLISH, NAMES, make_languages, say
from demo.make_world import scaled
from demo.retrieval import BUCC, NEWS, OTHERS, WIKIPEDIA, draw_bitext, draw_entities
from tasks import bucc2018, lareqa, mewslix
from xstilts.bucc_files import corpora
from xstilts.examples import load_examples

SCALE = 0.04
LANGUAGES = ["en", *NAMES]
FOLDERS = {"bucc2018", "lareqa", "mewslix"}
GROUPS = ("wikipedia_pairs-train", "wikipedia_pairs-dev", "wikinews_mentions-dev", "wikinews_mentions-test")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    out = tmp_path_factory.mktemp("world")
    make_world.main(["--output_dir", str(out), "--scale", str(SCALE)])
    return out


def lines_of(path):
    return path.read_text(encoding="utf-8").removesuffix("\n").split("\n")


def table(path):
    return [line.split("\t") for line in lines_of(path)]


def rows_of(path):
    return [json.loads(line) for line in lines_of(path)]


def articles_of(world, code):
    return json.loads((world / f"lareqa/xquad-r/{code}.json").read_text(encoding="utf-8"))["data"]


def paragraphs_of(articles):
    return [paragraph for article in articles for paragraph in article["paragraphs"]]


def mentions_of(world, group):
    """(context, mention) of all mentions of a file of Mewsli-X."""
    for row in rows_of(world / f"mewslix/{group}.jsonl"):
        if "context" in row:
            yield from ((row["context"], mention) for mention in row["mentions"])
        else:
            yield row["contextual_mention"]["context"], row["contextual_mention"]["mention"]


def candidates_of(world):
    return rows_of(world / "mewslix/candidate_set_entities.jsonl")


def test_what_was_there_before_is_unchanged(world):
    digest = hashlib.sha256()
    for path in sorted(world.rglob("*")):
        name = path.relative_to(world)
        if path.is_file() and name.parts[0] not in FOLDERS | {"languages.csv"}:
            digest.update(str(name).encode() + path.read_bytes())
    assert digest.hexdigest() == "18f6f826ae7fdc0501e2c8877cd48667d2ded62729d2c538b96d529acb24dfa6"


def test_mewslix_is_another_one_with_another_seed_only(tmp_path):
    def files(name, seed):
        retrieval.write_mewslix(tmp_path / name, seed, make_languages(0), lambda count: 12, set(), set())
        return {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}

    first, same, other = files("first", 0), files("same", 0), files("other", 1)
    assert first == same
    assert len(first) == 5
    assert all(first[name] != other[name] for name in first)


def test_bitexts_of_other_streams_are_others():
    def draw(stream):
        return draw_bitext(random.Random(stream), 60, 20, set(), set())

    assert draw("0 qna") == draw("0 qna")
    assert len({tuple(draw(stream).gold) for stream in ("0 qna", "1 qna", "0 qnb")}) == 3


# ---- BUCC -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", NAMES)
@pytest.mark.parametrize("split", BUCC)
def test_bucc_has_numbered_sentences_and_pairs_of_them(world, code, split):
    stem, sides = world / f"bucc2018/{code}-en.{split}", {}
    for language in (code, "en"):
        rows = table(Path(f"{stem}.{language}"))
        assert [name for name, _ in rows] == [
            f"{language}-{i:09d}" for i in range(1, scaled(BUCC[split][0], SCALE) + 1)
        ]
        sides[language] = dict(rows)
        copies = [count for count in collections.Counter(sides[language].values()).values() if count > 1]
        assert copies == [2, 2]
    gold = table(Path(f"{stem}.gold"))
    assert len(gold) == 3
    for column, language in enumerate((code, "en")):
        names = [pair[column] for pair in gold]
        assert len(set(names)) == len(names)
        assert set(names) <= set(sides[language])
        copied = collections.Counter(sides[language].values())
        assert [copied[sides[language][name]] for name in names].count(2) == 1


def test_gold_pairs_say_the_same(world):
    anchors = re.compile(
        r"\b(?:[A-Z][a-z]+|\d{4})\b"
    )  # names and years, which a language without its own days has alike
    for code in ("qna", "qma", "qfa"):
        own, days = make_languages(0)[code].words, "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
        foreign, english = (dict(table(world / f"bucc2018/{code}-en.test.{end}")) for end in (code, "en"))
        for i, j in table(world / f"bucc2018/{code}-en.test.gold"):
            words = [own[word] if word in days else word for word in anchors.findall(english[j])]
            assert sorted(words) == sorted(anchors.findall(foreign[i]))


def test_bucc_has_few_pairs_at_places_that_say_nothing():
    for split, (count, rarity) in BUCC.items():
        bitext = draw_bitext(random.Random(split), count, rarity, set(), set())
        assert len(bitext.foreign) == len(bitext.english) == count
        assert len(bitext.gold) == {"dev": 20, "test": 60}[split]
        assert 0.03 <= len(bitext.gold) / count <= 0.05
        gold, (foreign, english) = set(bitext.gold), bitext[:2]
        assert all(foreign[i] == english[j] for i, j in gold)
        lines = collections.defaultdict(list)
        for j, sentence in enumerate(english):
            lines[say(sentence, ENGLISH)].append(j)
        others = {(i, j) for i, one in enumerate(foreign) for j in lines[say(one, ENGLISH)]} - gold
        assert {foreign[i] for i, _ in others} <= {foreign[i] for i, _ in gold}  # by copies of members only
        assert len(others) >= 2
        assert sum(i == j for i, j in gold) <= 2
        behind = sum(i < other_i and j > other_j for i, j in gold for other_i, other_j in gold)
        assert 0.3 < behind / (len(gold) * (len(gold) - 1) / 2) < 0.7


def test_dev_and_test_of_bucc_are_disjoint(world):
    said = collections.Counter()
    for code in NAMES:
        for split in BUCC:
            said.update({sentence for _, sentence in table(world / f"bucc2018/{code}-en.{split}.en")})
    assert max(said.values()) == 1


def test_the_reader_of_bucc_accepts_the_files(world):
    for code in NAMES:
        found = corpora(str(world / f"bucc2018/{code}-en.dev.{code}"))
        assert [len(side) for side in found.ids] == [scaled(400, SCALE)] * 2
        assert len(found.gold) == 3
    assert bucc2018.TASK.source.files["dev"].templates[0].format(language="qna") == "bucc2018/qna-en.dev.qna"


# ---- LAReQA ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", LANGUAGES)
def test_lareqa_is_xquad_with_its_sentences(world, code):
    articles = articles_of(world, code)
    xquad = json.loads((world / f"xquad/xquad.{code}.json").read_text(encoding="utf-8"))["data"]
    for article, original in zip(articles, xquad, strict=True):
        assert list(article) == ["paragraphs", "title"]
        assert article["title"] == original["title"]
        for paragraph, source in zip(article["paragraphs"], original["paragraphs"], strict=True):
            assert list(paragraph) == ["context", "qas", "sentence_breaks", "sentences"]
            assert {key: paragraph[key] for key in source} == source
            context, breaks = paragraph["context"], paragraph["sentence_breaks"]
            assert [context[start:end] for start, end in breaks] == paragraph["sentences"]
            assert " ".join(paragraph["sentences"]) == context
            assert len(breaks) == 3
            assert all(sentence.endswith(".") for sentence in paragraph["sentences"])
            for question in paragraph["qas"]:
                (answer,) = question["answers"]
                start, end = answer["answer_start"], answer["answer_start"] + len(answer["text"])
                assert sum(first <= start and end <= last for first, last in breaks) == 1


def test_lareqa_is_parallel(world):
    def ids(code):
        return [[question["id"] for question in each["qas"]] for each in paragraphs_of(articles_of(world, code))]

    def answered(code):
        """Which sentence of its paragraph answers each question."""
        return [
            [first <= question["answers"][0]["answer_start"] < last for first, last in each["sentence_breaks"]].index(True)
            for each in paragraphs_of(articles_of(world, code)) for question in each["qas"]
        ]  # fmt: skip

    assert sorted(path.stem for path in (world / "lareqa/xquad-r").iterdir()) == sorted(LANGUAGES)
    for code in NAMES:
        assert ids(code) == ids("en")
        assert answered(code) == answered("en")
    assert set(answered("en")) == {0, 1, 2}


def test_the_reader_of_lareqa_accepts_the_files(world):
    task, right = lareqa.TASK, collections.Counter()
    for code in LANGUAGES:
        path = str(world / f"lareqa/xquad-r/{code}.json")
        rows = list(task.retrieval.queries.read(path, task.retrieval.queries.features))
        queries = [query["key"] for row in rows for query in task.retrieval.to_queries(row)]
        candidates = [each for row in rows for each in task.retrieval.to_candidates(row)]
        assert len(candidates) == 3 * len(rows) == 3 * 12
        assert {each["text"].count(".") for each in candidates} == {1 + 3}
        found = collections.Counter(key for each in candidates for key in each["keys"])
        assert found == dict.fromkeys(queries, 1)
        right += found
    assert set(right.values()) == {len(LANGUAGES)}
    assert len(load_examples(task, "train", "en", str(world))) > 200


# ---- Mewsli-X -------------------------------------------------------------------------------------------------------


def check_spans(text, spans, separators, headline=False):
    """One of `separators` is between sentences, which end with a mark; the headline, the first of them, without."""
    end = 0
    for i, span in enumerate(spans):
        assert list(span) == ["start", "end"]
        assert text[end : span["start"]] in (separators if i else ("",))
        end = span["end"]
        mark = "" if headline and i == 0 else r"\."
        assert re.fullmatch(rf"[^\s.?][^.?]*[^\s.?]{mark}", text[span["start"] : end])
    assert end == len(text)


def test_candidates_have_the_official_keys(world):
    rows = candidates_of(world)
    assert len({row["entity_id"] for row in rows}) == len({row["description"] for row in rows}) == len(rows)
    keys = "entity_id title description sentence_spans description_language description_url"
    for row in rows:
        assert list(row) == keys.split()
        assert re.fullmatch(r"Q[1-9]\d*", row["entity_id"])
        assert row["description_language"] in LANGUAGES
        assert len(row["sentence_spans"]) == 3
        assert row["title"] in row["description"]
        check_spans(row["description"], row["sentence_spans"], (" ",))
    assert len({row["description_language"] for row in rows}) > 8


@pytest.mark.parametrize("group", GROUPS)
def test_mentions_have_the_official_keys_and_stand_where_they_say(world, group):
    news, names = group.startswith("wikinews"), set()
    keys = "document_title document_url document_id language text sentence_spans".split()
    for context, mention in mentions_of(world, group):
        assert list(context) == (keys if news else [*keys, "section_title"])
        assert list(mention) == ["example_id", "mention_span", "entity_id", *(["metadata"] if news else [])]
        span, text = mention["mention_span"], context["text"]
        assert list(span) == ["start", "end", "text"]
        assert text[span["start"] : span["end"]] == span["text"]
        assert re.fullmatch(r"\w+(?: \w+)?", span["text"])
        assert sum(s["start"] <= span["start"] and span["end"] <= s["end"] for s in context["sentence_spans"]) == 1
        check_spans(text, context["sentence_spans"], ("\n\n", " ") if news else (" ",), headline=news)
        assert len(context["sentence_spans"]) <= (9 if news else 5)
        assert not news or text.startswith(context["document_title"] + "\n\n")
        assert re.fullmatch("[0-9a-f]{32}", mention["example_id"])
        names.add(mention["example_id"])
    assert len(names) == len(list(mentions_of(world, group)))


def test_entities_are_in_one_part_only_and_all_but_those_of_training_are_candidates(world):
    found = [{mention["entity_id"] for _, mention in mentions_of(world, group)} for group in GROUPS]
    candidates = {row["entity_id"] for row in candidates_of(world)}
    assert sum(map(len, found)) == len(set().union(*found))
    assert not found[0] & candidates
    assert set().union(*found[1:]) < candidates
    sizes = [OTHERS, WIKIPEDIA["dev"][0], *(count for count, _ in NEWS.values())]
    assert len(candidates) == sum(scaled(size, SCALE) for size in sizes)


def test_no_name_is_in_two_parts():
    groups = draw_entities(random.Random(0), lambda count: count, set(), set())
    entities = [entity for group in groups.values() for entity in group]
    assert len(entities) == len({entity.name for entity in entities}) == len({entity.number for entity in entities})
    roles = collections.Counter(entity.role for entity in entities)
    assert roles["subject"] == roles["place"]


def test_every_language_has_as_many_mentions_of_whom_the_candidates_describe(world):
    titles = {row["entity_id"]: set(row["title"].split()) for row in candidates_of(world)}
    for group in GROUPS[2:]:
        languages, short = collections.Counter(), 0
        for context, mention in mentions_of(world, group):
            languages[context["language"]] += 1
            words = set(mention["mention_span"]["text"].split())
            short += len(words) == 1
            assert words & titles[mention["entity_id"]]  # one of a place's two words is translated
        assert languages == dict.fromkeys(LANGUAGES, 12)
        assert 0 < short < sum(languages.values()) / 2
    articles = rows_of(world / "mewslix/wikinews_mentions-test.jsonl")
    assert {len(row["mentions"]) for row in articles} == {1, 2}
    spoken = [row["context"]["language"] for row in articles]
    assert sum(one != two for one, two in pairwise(spoken)) > 2 * len(LANGUAGES)


def test_an_account_without_the_first_name_tells_what_the_description_does():
    names, shorter = shuffled_names(random.Random(0)), 0
    for seed in range(200):
        rng = random.Random(seed)
        entity = draw_entity(rng, seed + 1, names[seed])
        account = draw_account(rng, entity)
        mention = account.sentences[account.index].first
        if getattr(mention, entity.role).adjective is None:
            shorter += 1
            assert entity.role == "subject"
            assert (mention.verb, mention.object.noun) in {(fact.verb, fact.object.noun) for fact in entity.facts}
        assert getattr(mention, entity.role).noun == entity.name.noun
    assert 15 < shorter < 55


def test_the_reader_of_mewslix_accepts_the_files(world):
    task = mewslix.TASK
    assert len(load_examples(task, "train", "en", str(world))) == 2 * scaled(WIKIPEDIA["train"][0], SCALE)
    for source, to_rows, file, count in (
        (task.retrieval.queries, task.retrieval.to_queries, "wikinews_mentions-test", 12 * len(LANGUAGES)),
        (task.retrieval.candidates, task.retrieval.to_candidates, "candidate_set_entities", len(candidates_of(world))),
    ):
        rows = source.read(str(world / f"mewslix/{file}.jsonl"), source.features)
        assert len([each for row in rows for each in to_rows(row)]) == count


# ---- all ------------------------------------------------------------------------------------------------------------


def test_mewslix_trains_on_no_sentence_of_its_test_set(tmp_path):
    retrieval.write_mewslix(tmp_path / "mewslix", 0, {"en": ENGLISH}, lambda count: count, set(), set())
    trained, held_out = set(), set()
    for row in rows_of(tmp_path / "mewslix/wikipedia_pairs-train.jsonl"):
        for text in (row["contextual_mention"]["context"]["text"], row["entity"]["description"]):
            trained.update(sentences_of(text))
    for group in GROUPS[1:]:
        for context, _ in mentions_of(tmp_path, group):
            held_out.update(*map(sentences_of, context["text"].split("\n")))
    held_out.update(*(sentences_of(row["description"]) for row in candidates_of(tmp_path)))
    assert len(held_out) > 1000
    assert not held_out & trained


def test_sentences_of_dev_and_test_sets_occur_nowhere_else(world):
    held_out, seen = set(), set()
    for path in world.glob("bucc2018/*.en"):
        held_out.update(sentence for _, sentence in table(path))
    for row in candidates_of(world):
        held_out.update(sentences_of(row["description"] if row["description_language"] == "en" else ""))
    for group in GROUPS[1:]:
        contexts = [context for context, _ in mentions_of(world, group) if context["language"] == "en"]
        held_out.update(sentence for context in contexts for sentence in sentences_of(context["text"].split("\n")[-1]))
    for row in rows_of(world / f"mewslix/{GROUPS[0]}.jsonl"):
        seen.update(sentences_of(row["contextual_mention"]["context"]["text"] + " " + row["entity"]["description"]))
    for path in sorted(world.rglob("*")):
        if path.is_file() and path.relative_to(world).parts[0] not in FOLDERS and is_english_training_text(path):
            seen.update(sentences_of(plain_text(path)))
    assert len(seen) > 5000
    assert len(held_out) > 1000
    assert not held_out & seen


def sentences_of(text):
    return {part.strip() for part in re.findall(r"[^.?\n\t\"]+[.?]", text)}


def is_english_training_text(path):
    foreign = re.search("(?<![a-z])q[nmf][abcd](?![a-z])", str(path)) and path.suffix != ".en"
    return not foreign and (path.parent.name in ("text", "parallel") or re.search("train|_trn", path.name))


def plain_text(path):
    text = path.read_text(encoding="utf-8")
    if path.parent.name == "panx":
        return re.sub(r"\n(?=\S)", " ", re.sub(r"\t.*", "", text)).replace(" .", ".")
    return text.replace("# text = ", "")
