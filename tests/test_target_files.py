"""Files of the target tasks: named entities, forms of which one is read, several languages in a file, answers out of place."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks import load_task, mlqa, panx, pawsx, squad, tydiqa, xquad
from xstilts.base import UserError
from xstilts.examples import load_examples
from xstilts.official_files import patterns
from xstilts.raw_rows import MissingData
from xstilts.readers import Dropped
from xstilts.sources import languages_in, load_raw, load_rows
from xstilts.submission import read_questions
from xstilts.tagged_files import iob2
from xstilts.templates import pair_of

FIELD = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\r\t\x00"), max_size=12)
TOKEN = FIELD.filter(lambda form: form.strip() != "")

# ---- IOB2 -----------------------------------------------------------------------------------------------------------


def entities(path):
    """Tokens with the names of their tags; the reason where something is left out."""
    found = []
    for row in iob2(path, panx.TASK.source.features):
        tags = [] if isinstance(row, Dropped) else [panx.TAGS[tag] for tag in row["ner_tags"]]
        found.append(row.reason if isinstance(row, Dropped) else list(zip(row["tokens"], tags, strict=True)))
    return found


@pytest.mark.parametrize(
    "text",
    [
        "Ulm\tI-LOC\n\u00a0\tO\n\n\n \n_\tO\n#\tO\n",
        "\ufeffde:Ulm\tI-LOC\r\nde:\u00a0\tO\r\n\r\n\r\nde:_\tO\r\nde:#\tO\r\n\r\n",
        "# text = Ulm\n1\tUlm\tI-LOC\t-\tx\n# inside\n2\t\u00a0\tO\t-\t-\n\n"
        "# a\n# b\n1-2\t_#\tO\t-\t-\n1\t_\tO\t-\t-\n2\t#\tO\t-\t-",
    ],
    ids=["XTREME", "the authors", "Universal NER"],
)
def test_named_entities_in_three_forms(text, write):
    """Words that are no words, and an entity that begins with I-, stay as they are."""
    assert entities(write(text)) == [[("Ulm", "I-LOC"), ("\u00a0", "O")], [("_", "O"), ("#", "O")]]


def test_document_marks_and_tabs_at_the_end_are_no_words(write):
    mark = "document marks"
    for end in ("\n", "\r\n"):
        text = "-DOCSTART-\tO\n\nde:Ada\tB-PER\t\nde:in\tO\t\t\n-DOCSTART- -X- -X- O\n\n-DOCSTART-\nde:-DOCSTART-X\tO\n"
        found = entities(write(text.replace("\n", end)))
        assert found == [mark, [("Ada", "B-PER"), ("in", "O")], mark, mark, [("-DOCSTART-X", "O")]]
    shared = Path(__file__).parents[2] / "shared" / "cases" / "06-spaces-for-tabs"
    if shared.is_dir():
        assert entities(shared / "docstart-de.tsv") == [
            mark, [("Ada", "B-PER"), ("lebt", "O"), ("in", "O"), ("Ulm", "B-LOC")]
        ]  # fmt: skip
        with pytest.raises(UserError, match=r"test-yo\.tsv, line 1: no tab in the line 'Ada B-PER'"):
            entities(shared / "test-yo.tsv")


def test_a_prefix_is_one_only_if_every_line_has_it(write):
    assert entities(write("de:a\tO\nfr:b\tO\n")) == [[("de:a", "O"), ("fr:b", "O")]]
    assert entities(write("de:a\tO\n\nb\tO\n")) == [[("de:a", "O")], [("b", "O")]]
    assert entities(write(":\tO\n:)\tO\n")) == [[(":", "O"), (":)", "O")]]
    assert entities(write("en::\tO\nen:en:b\tO\n")) == [[(":", "O"), ("en:b", "O")]]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("Ulm\tB-MISC", "line 3: tag 'B-MISC' is not one of O, B-PER"),
        ("Ulm\t_", "line 3: tag '_' is not one of"),
        ("Ulm\tB-LOC\t-", "line 3: 3 columns, but 'Ulm' is not the number of a word"),
        ("Ulm", "line 3: no tab in the line 'Ulm'; XTREME's own download leaves the tags of tests out"),
        ("Ulm B-LOC", "line 3: no tab in the line 'Ulm B-LOC'; columns are set apart by tabs, not by spaces"),
        ("Ulm\tB-LOC O", "line 3: tag 'B-LOC O' is not one of"),
        ("Ulm\t", "line 3: tag '' is not one of"),
    ],
)
def test_a_malformed_line_of_named_entities_is_named(line, message, write):
    path = write(f"# text\nAda\tB-PER\n{line}\n")
    with pytest.raises(UserError, match=f"^{path}, {message}"):
        entities(path)


NAMED = st.lists(st.tuples(TOKEN, st.sampled_from(panx.TAGS)), min_size=1)


@given(st.lists(NAMED, min_size=1), st.sampled_from(["", "zh-yue:"]), st.sampled_from(["\n", "\r\n"]))
@settings(max_examples=40, deadline=None)
def test_named_entities_come_back_as_they_were_written(scratch, found, prefix, end):
    blocks = ("".join(f"{prefix}{token}\t{tag}\n" for token, tag in sentence) + "\n\n" for sentence in found)
    scratch.write_bytes(("\ufeff" + "".join(blocks)).replace("\n", end).encode())
    starts = {token.partition(":")[:2] for sentence in found for token, _ in sentence}
    if prefix or len(starts) > 1 or ":" not in next(iter(starts)):
        assert entities(scratch) == found


# ---- forms and pairs --------------------------------------------------------------------------------------------------


def test_of_several_forms_the_first_that_is_there_is_read(write, tmp_path):
    """Never rows of two collections, nor the same rows twice; in whatever language the first one lies."""
    write("a\tB-LOC\n", "panx/de/test")
    for language in ("de", "zh"):
        write("1\tb\tO\t-\t-\n", f"uner/UNER_X/{language}_x-ud-test.iob2")
    source, folder = panx.TASK.source, str(tmp_path)
    assert load_rows(source, "test", "de", folder)[1] == ["panx/de/test"]
    assert languages_in(source, "test", folder) == ["de"]
    with pytest.raises(MissingData, match=rf"no file {tmp_path}/panx/zh/test \(test rows in 'zh'\)"):
        load_rows(source, "test", "zh", folder)
    write("a\tB-LOC\n", "panx/test-af.tsv")
    assert languages_in(source, "test", folder) == ["af"]
    with pytest.raises(MissingData, match=r"no file .*/train-en.tsv or .*/panx/en/train or .*/uner/UNER_"):
        load_rows(source, "train", "en", folder)


@pytest.mark.parametrize(("language", "pair"), [("de", ("de", "de")), ("de-en", ("de", "en"))])
def test_a_pair_of_languages(language, pair):
    assert pair_of(language) == pair


def test_mlqa_has_pairs_of_languages(write, tmp_path):
    for pair in ("de-question-de", "de-question-en", "en-question-de"):
        write("", f"mlqa/MLQA_V1/test/test-context-{pair}.json")
    source = mlqa.TASK.source
    assert languages_in(source, "test", str(tmp_path)) == ["de", "de-en", "en-de"]
    assert patterns(source, "validation", "de-en") == ["mlqa/MLQA_V1/dev/dev-context-de-question-en.json"]
    assert len(mlqa.TASK.on_request) == 42
    assert "de-en" in mlqa.TASK.on_request


# ---- rows in several languages --------------------------------------------------------------------------------------


def goldp(*ids):
    """SQuAD JSON with a question of each id."""
    answer = {"text": "Ulm", "answer_start": 3}
    return json.dumps(
        {
            "data": [
                {"paragraphs": [{"context": f"In Ulm, {i}.", "qas": [{"id": i, "question": "?", "answers": [answer]}]}]}
                for i in ids
            ]
        }
    )


def ids_in(language, folder, split="train"):
    """Ids of the rows in a language, and what was left out."""
    raw = load_raw(tydiqa.TASK.source, split, language, str(folder))
    return [*raw.rows["id"]], dict(raw.dropped)


def test_languages_of_one_file_are_told_apart_by_their_ids(write, tmp_path):
    write(goldp("english-1-0", "finnish-2-0", "english-3-0"), "tydiqa/tydiqa-goldp-v1.1-train.json")
    assert ids_in("en", tmp_path) == (["english-1-0", "english-3-0"], {})
    assert ids_in("fi", tmp_path) == (["finnish-2-0"], {})
    assert languages_in(tydiqa.TASK.source, "train", str(tmp_path)) == sorted(tydiqa.NAMES)
    with pytest.raises(MissingData, match=r"no rows in 'sw' in .*-train\.json"):
        ids_in("sw", tmp_path)
    write(goldp("english-1-0", "17"), "tydiqa/tydiqa-goldp-v1.1-train.json")
    with pytest.raises(UserError, match=r"-train\.json: row 2 does not say its language"):
        ids_in("en", tmp_path)


def test_a_file_name_says_the_language_of_rows_that_do_not(write, tmp_path):
    """Some downloads write the training rows of all languages under every language's name."""
    name = "tydiqa/tydiqa-goldp-v1.1-train/tydiqa.goldp.en.train.json"
    write(goldp("17", "finnish-2-0", "17", "english-3-0"), name)
    assert ids_in("en", tmp_path) == (["17", "17", "english-3-0"], {"rows in another language than the file's": 1})
    write(goldp("finnish-2-0"), name)
    with pytest.raises(MissingData, match="no rows in 'en'"):
        ids_in("en", tmp_path)
    write(goldp("telugu-1-0"), "tydiqa/tydiqa-goldp-v1.1-dev/tydiqa-goldp-dev-telugu.json")
    assert ids_in("te", tmp_path, "test") == (["telugu-1-0"], {})
    assert languages_in(tydiqa.TASK.source, "test", str(tmp_path)) == ["te"]


# ---- answers and ids ------------------------------------------------------------------------------------------------


def questions(*answers, ids=None):
    """SQuAD JSON; every answer is a (text, offset) in the same context of three-byte letters."""
    qas = [
        {"id": ids[i] if ids else str(i), "question": "?", "answers": [{"text": text, "answer_start": start}]}
        for i, (text, start) in enumerate(answers)
    ]
    articles = [
        {"title": str(i), "paragraphs": [{"context": "月町は1950年に北山さん", "qas": [q]}]} for i, q in enumerate(qas)
    ]
    return json.dumps({"data": articles})


def test_offsets_in_bytes_become_offsets_in_characters(write, tmp_path, capsys):
    write(questions(("北山", 9), ("北山", 19), ("北山さん", 19)), "xquad/xquad.zh.json")
    examples = load_examples(xquad.TASK, "test", "zh", str(tmp_path))
    assert [answer["answer_start"] for answer in examples.rows["answers"]] == [[9], [9], [9]]
    assert examples.records[0]["irregular"] == {"questions with offsets in bytes, not in characters": 2}
    assert "xquad test 'zh': 2 questions with offsets in bytes" in capsys.readouterr().out


EMOJI = "😀😀 The ferry 🚢 leaves Rhodes, and Rhodes leaves it."


def emoji(starts, ids=None):
    """SQuAD JSON with a question for each list of offsets, at which "Rhodes" should be."""
    qas = [
        {
            "id": ids[i] if ids else str(i),
            "question": "?",
            "answers": [{"text": "Rhodes", "answer_start": n} for n in each],
        }
        for i, each in enumerate(starts)
    ]
    return json.dumps({"data": [{"paragraphs": [{"context": EMOJI, "qas": qas}]}]})


def test_offsets_in_utf_16_become_offsets_in_characters(write, tmp_path):
    """As JavaScript counts them, an emoji is two. All answers of a question are counted in one unit."""
    first, second = (i for i in range(len(EMOJI)) if EMOJI.startswith("Rhodes", i))
    units = [len(EMOJI[:i].encode("utf-16-le")) // 2 for i in (first, second)]
    in_bytes = [len(EMOJI[:i].encode()) for i in (first, second)]
    write(emoji([[first, second], units, [units[1]], in_bytes]), "xquad/xquad.zh.json")
    examples = load_examples(xquad.TASK, "test", "zh", str(tmp_path))
    found = [answers["answer_start"] for answers in examples.rows["answers"]]
    assert found == [[first, second], [first, second], [second], [first, second]]
    assert examples.records[0]["irregular"] == {
        "questions with offsets in UTF-16 units, not in characters": 2,
        "questions with offsets in bytes, not in characters": 1,
    }


def test_ids_that_are_numbers_are_read_as_text(write, tmp_path):
    write(emoji([[22], [22]], ids=[100, "x"]), "xquad/xquad.zh.json")
    assert [*load_examples(xquad.TASK, "test", "zh", str(tmp_path)).rows["id"]] == ["100", "x"]
    assert [id for id, _ in read_questions(tmp_path / "xquad/xquad.zh.json")] == ["100", "x"]
    write(emoji([[22], [22]], ids=[1, "1"]), "xquad/xquad.zh.json")
    with pytest.raises(UserError, match="two questions have the id '1'"):
        load_examples(xquad.TASK, "test", "zh", str(tmp_path))
    for wrong, shown in ((1.0, "1.0"), (True, "True"), (None, "null")):
        write(emoji([[22]], ids=[wrong]), "xquad/xquad.zh.json")
        with pytest.raises(UserError, match=rf"id' is {shown}, not text"):
            load_rows(xquad.TASK.source, "test", "zh", str(tmp_path))


def test_ids_of_other_json_files_may_be_numbers_too(write):
    """XQuAD-R's, Mewsli-X's and those of the tasks in JSON lines."""
    rows = {
        "lareqa": {"context": "It is old.", "sentence_breaks": [[0, 10]],
            "qas": [{"id": 7, "question": "?", "answers": [{"answer_start": 6, "text": "old"}]}]},
        "mewslix": {"entity_id": 7, "description": "A city.", "sentence_spans": [{"start": 0, "end": 7}]},
        "anli": {"uid": 7, "context": "a", "hypothesis": "b", "label": "e"},
        "commonsenseqa": {"id": 7, "answerKey": "A", "question": {"stem": "?", "question_concept": "x",
            "choices": [{"label": letter, "text": "y"} for letter in "ABCDE"]}},
    }  # fmt: skip
    rows["lareqa"] = {"data": [{"paragraphs": [rows["lareqa"]]}]}
    lareqa, mewslix = (load_task(name).retrieval for name in ("lareqa", "mewslix"))
    sources = [lareqa.queries, mewslix.candidates, load_task("anli").source, load_task("commonsenseqa").source]
    for content, source in zip(rows.values(), sources, strict=True):
        (row,) = source.read(write(json.dumps(content)), source.features)
        found = row["questions"][0] if "questions" in row else row
        assert found.get("id", found.get("uid", found.get("entity_id"))) == "7"


@pytest.mark.parametrize(("count", "wrong", "fine"), [(5, 1, True), (5, 2, False), (300, 3, True), (300, 4, False)])
def test_answers_that_are_not_there_are_counted_and_not_learnt_from(count, wrong, fine, write, tmp_path, capsys):
    text = questions(*[("北山", 8)] * wrong, *[("北山", 9)] * (count - wrong))
    write(text, "xquad/xquad.zh.json")
    write(questions(*[("北山", 8)] * wrong, *[("北山", 9)] * 2 * count), "squad/train-v1.1.json")
    if not fine:
        with pytest.raises(
            UserError, match=f"zh.json.: {wrong} of {count} questions whose answer is not at its offset"
        ):
            load_examples(xquad.TASK, "test", "zh", str(tmp_path))
        return
    test = load_examples(xquad.TASK, "test", "zh", str(tmp_path))
    train, dev = (load_examples(squad.TASK, split, "en", str(tmp_path)) for split in ("train", "validation"))
    assert len(test) == count, "a prediction is scored by its text"
    assert test.records[0]["irregular"] == {"questions whose answer is not at its offset": wrong}
    assert len(train) + len(dev) + train.records[0]["left_out"] == 2 * count + wrong
    assert {answers["answer_start"][0] for answers in train.rows["answers"]} == {9}
    assert f"xquad test 'zh': {wrong} questions whose answer is not at its offset" in capsys.readouterr().out


def test_repeated_ids_are_renumbered_in_training_and_refused_where_they_are_scored(write, tmp_path):
    text = questions(*[("北山", 9)] * 60, ids=["a", "b", "a", "a", *map(str, range(56))])
    write(text, "squad/train-v1.1.json")
    write(text, "xquad/xquad.zh.json")
    both = [load_examples(squad.TASK, split, "en", str(tmp_path)) for split in ("train", "validation")]
    assert all(len({*examples.rows["id"]}) == len(examples) for examples in both)
    with pytest.raises(
        UserError, match=r"xquad\.zh\.json.: two questions have the id 'a', but predictions are scored by id"
    ):
        load_examples(xquad.TASK, "test", "zh", str(tmp_path))


# ---- PAWS-X ---------------------------------------------------------------------------------------------------------


def test_pairs_of_pawsx_without_a_label_are_left_out(write, tmp_path):
    head = "id\tsentence1\tsentence2\tlabel\n"
    write(head + '1\t"a\tb"\t1\n2\tc\td\t\n3\te\tNS\t0\n', "pawsx/x-final/de/translated_train.tsv")
    rows, files = load_rows(pawsx.TASK.source, "train", "de", str(tmp_path))
    assert (rows["label"], files) == ([1, -1, 0], ["pawsx/x-final/de/translated_train.tsv"])
    examples = load_examples(pawsx.TASK, "train", "de", str(tmp_path))
    assert [tuple(row.values()) for row in examples.rows] == [('"a', 'b"', "1"), ("e", "NS", "0")]
    assert examples.records[0]["left_out"] == 1


def test_labels_of_pawsx_in_xtreme_files(write, tmp_path):
    write("a\tb\t1\nc\td\t2\n", "pawsx/test-de.tsv")
    with pytest.raises(UserError, match="line 2: label '2' is not one of 0, 1"):
        load_rows(pawsx.TASK.source, "test", "de", str(tmp_path))
    write("a\tb\nc\td\n", "pawsx/test-de.tsv")
    with pytest.raises(UserError, match="line 1: 2 tab-separated fields instead of 3"):
        load_rows(pawsx.TASK.source, "test", "de", str(tmp_path))
