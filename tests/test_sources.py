"""Readers of official files name what is wrong and where; the hub's rows are held against the declared columns."""

import csv
import io
import json
import re
from functools import partial
from types import SimpleNamespace

import pytest
from datasets import ClassLabel, Dataset, Features, Sequence, Value, load_dataset
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks import (
    anli,
    ccg,
    commonsenseqa,
    copa,
    cosmosqa,
    hellaswag,
    mlqa,
    mnli,
    panx,
    pawsx,
    qqp,
    siqa,
    snli,
    squad,
    squad_v2,
    tatoeba,
    tydiqa,
    udpos,
    xcopa,
    xnli,
    xquad,
)
from xstilts import hub_rows
from xstilts.base import UserError
from xstilts.examples import load_examples
from xstilts.official_files import files_there
from xstilts.raw_rows import MissingData
from xstilts.readers import (
    Dropped,
    aligned_lines,
    auto,
    headed_csv,
    headed_tsv,
    json_lines,
    numbered_lines,
    squad_json,
    tab_separated,
)
from xstilts.sources import languages_in, load_rows
from xstilts.tagged_files import conllu, conllu_as_xtreme
from xstilts.task import of_benchmark

COLUMNS = ("premise", "hypothesis", "label")
CONVERTED = "refs/convert/parquet"  # the branch that the hub makes of a dataset
ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
LINE = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\r"), max_size=12)
FIELD = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\r\t\x00"), max_size=12)


def word(number, form, tag):
    """A line of CoNLL-U."""
    return f"{number}\t{form}\t_\t{tag}\t_\t_\t_\t_\t_\t_\n"


# ---- lines ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        ("a\nb\n", ["a", "b"]),
        ("a\r\nb", ["a", "b"]),
        ("\ufeffa\n", ["a"]),
        ("a\n\n\nb\n", ["a", "", "", "b"]),
        ("one\u2028sentence\x85still\x0bit\x0cand\x1con\n", ["one\u2028sentence\x85still\x0bit\x0cand\x1con"]),
    ],
)
def test_only_line_feeds_end_a_line(content, lines, write):
    assert list(numbered_lines(write(content))) == list(enumerate(lines, start=1))


@given(st.lists(LINE, min_size=1), st.sampled_from(["\n", "\r\n"]), st.booleans())
@settings(max_examples=60, deadline=None)
def test_lines_come_back_as_they_were_written(scratch, lines, end, mark):
    lines[0] = lines[0].removeprefix("\ufeff")
    scratch.write_bytes((("\ufeff" if mark else "") + "".join(line + end for line in lines)).encode())
    assert [line for _, line in numbered_lines(scratch)] == lines


@pytest.mark.parametrize(
    "read",
    [numbered_lines, lambda path: squad_json(path, squad.TASK.source.features), lambda path: headed_csv(path, "ab")],
    ids=["lines", "squad", "csv"],
)
def test_invalid_utf_8_names_the_file(read, write):
    path = write(b"fine\n\xff\xfe\n", "broken.txt")
    with pytest.raises(UserError, match=r"broken\.txt"):
        list(read(path))


# ---- JSON lines -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"a": 1', "line 3: not valid JSON"),
        ("[1]", "line 3: not a JSON object"),
        ('{"b": 2}', "line 3: no 'a'"),
        ('{"a": null}', "line 3: no 'a'"),
    ],
)
def test_a_malformed_json_line_is_named(line, message, write):
    path = write(f'{{"a": 0}}\n\n{line}\n')
    with pytest.raises(UserError, match=f"^{path}, {message}"):
        list(json_lines(path, ("a",)))


def test_columns_of_the_hub_that_a_file_lacks_are_none_where_that_is_allowed(write):
    path = write('{"a": 0, "c": 5}\n')
    assert list(json_lines(path, ("a", "b"), optional=("b",))) == [{"a": 0, "b": None}]


@given(st.lists(ANY_TEXT, min_size=1), st.booleans())
@settings(max_examples=60, deadline=None)
def test_json_lines_come_back_as_they_were_written(scratch, texts, ascii_only):
    lines = (json.dumps({"text": text}, ensure_ascii=ascii_only) + "\n" for text in texts)
    scratch.write_bytes("".join(lines).encode())
    assert [row["text"] for row in json_lines(scratch, ("text",))] == texts


def test_a_hellaswag_line_without_its_context_is_not_read_as_none(write, tmp_path):
    write('{"ctx_a": "A man", "endings": ["a", "b", "c", "d"], "label": 1}\n', hellaswag.TASK.source.files["train"])
    with pytest.raises(UserError, match="line 1: no 'ctx_b'"):
        load_rows(hellaswag.TASK.source, "train", "en", str(tmp_path))


def test_a_value_of_another_type_names_the_file(write, tmp_path):
    row = {"ctx_a": "A man", "ctx_b": "he", "endings": 3, "label": 1}
    path = write(json.dumps(row) + "\n", hellaswag.TASK.source.files["train"])
    with pytest.raises(UserError, match=f"^{path}: row 1: a value does not fit its column: 'endings' is 3, not a list"):
        load_rows(hellaswag.TASK.source, "train", "en", str(tmp_path))


def test_mnli_leaves_out_pairs_without_a_majority_and_names_other_labels(write):
    def pair(label):
        return json.dumps({"gold_label": label, "sentence1": "a", "sentence2": "b"}) + "\n"

    rows = list(mnli.read(write(pair("neutral") + pair("-") + pair("contradiction")), None))
    assert rows.pop(1) == Dropped("pairs without a gold label")
    assert [(row["label"], row["idx"]) for row in rows] == [(1, 0), (2, 1)]
    with pytest.raises(
        UserError, match="line 3: label 'contradictory' is not one of entailment, neutral, contradiction"
    ):
        list(mnli.read(write(pair("neutral") + pair("-") + pair("contradictory")), None))


LINES = [
    (snli, {"gold_label": "neutral", "sentence1": "x", "sentence2": "y"}, "gold_label", "neither"),
    (anli, {"uid": "1", "context": "x", "hypothesis": "y", "label": "e"}, "label", "entailment"),
    (
        siqa,
        {"context": "x", "question": "y", "answerA": "", "answerB": "", "answerC": "", "correct": "C"},
        "correct",
        "1",
    ),
    (copa, {"premise": "x", "choice1": "y", "choice2": "z", "question": "cause", "idx": 3, "label": 0}, "label", 2),
    (
        commonsenseqa,
        {"id": "1", "question": {"stem": "x", "question_concept": "y", "choices": []}, "answerKey": "A"},
        "answerKey",
        "F",
    ),
]


@pytest.mark.parametrize(("module", "line", "key", "label"), LINES, ids=[module.TASK.name for module, *_ in LINES])
def test_a_line_with_an_unknown_label_or_a_missing_key_is_named(module, line, key, label, write):
    good, features = json.dumps(line) + "\n", module.TASK.source.features
    (row,) = module.read(write(good), features)
    assert set(row) == set(features)
    with pytest.raises(UserError, match=f"line 2: label '{label}' is not one of"):
        list(module.read(write(good + json.dumps({**line, key: label})), features))
    for missing in line:
        lacking = {name: value for name, value in line.items() if name != missing}
        with pytest.raises(UserError, match=f"line 3: no '{missing}'"):
            list(module.read(write(good * 2 + json.dumps(lacking)), features))


@pytest.mark.parametrize(
    "found",
    ["a text", {"stem": "x", "choices": []}, {"stem": "x", "question_concept": "y", "choices": [{"text": "z"}]}],
)
def test_a_damaged_commonsenseqa_question_is_named(found, write):
    path = write("\n" + json.dumps({"id": "1", "question": found, "answerKey": "A"}))
    with pytest.raises(UserError, match="line 2: not a question of CommonsenseQA"):
        list(commonsenseqa.read(path, commonsenseqa.TASK.source.features))


def test_an_empty_line_between_json_lines_is_counted_and_one_at_the_end_is_not(write, tmp_path, capsys):
    pair = json.dumps({"gold_label": "neutral", "sentence1": "x", "sentence2": "y"})
    for split, content in (("train", f"{pair}\n\n \n{pair}\n\n"), ("validation", f"{pair}\n\n\r\n")):
        write(content, mnli.TASK.source.files[split])
    records = [load_examples(mnli.TASK, split, "en", str(tmp_path)).records[0] for split in ("train", "validation")]
    assert [(record["rows"], record["irregular"]) for record in records] == [(2, {"empty lines": 2}), (1, {})]
    assert "mnli train 'en': 2 empty lines" in capsys.readouterr().out


def test_snli_keeps_pairs_without_a_gold_label_and_its_examples_do_not(write, tmp_path):
    lines = [{"gold_label": label, "sentence1": "x", "sentence2": "y"} for label in ("-", "contradiction", "-")]
    write("".join(json.dumps(line) + "\n" for line in lines), snli.TASK.source.files["test"])
    rows, _ = load_rows(snli.TASK.source, "test", "en", str(tmp_path))
    assert rows["label"] == [-1, 2, -1]
    assert [isinstance(snli.to_example(row), Dropped) for row in rows] == [True, False, True]


def test_rounds_of_anli_are_read_in_order(write, tmp_path):
    for number in (3, 1, 2):
        line = {"uid": f"r{number}", "context": "x", "hypothesis": "y", "label": "c"}
        write(json.dumps(line), f"anli/R{number}/dev.jsonl")
    rows, files = load_rows(anli.TASK.source, "validation", "en", str(tmp_path))
    assert rows["uid"] == ["r1", "r2", "r3"]
    assert files == [f"anli/R{number}/dev.jsonl" for number in (1, 2, 3)]


# ---- TSV ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        ("a\tb\tneutral\r", ["a", "b", "neutral"]),
        ('"he said ""hi"""\tb\tneutral', ['he said "hi"', "b", "neutral"]),
        ('he said "hi\tb 5" long\tneutral', ['he said "hi', 'b 5" long', "neutral"]),
        ('"Hi" he said\t"b"\tneutral', ['"Hi" he said', '"b"', "neutral"]),
        ('"a lone quote\tb\tneutral', ['"a lone quote', "b", "neutral"]),
        ("a\rb\tc\tneutral", ["a\rb", "c", "neutral"]),
        ('"a\tb"\tc\tneutral', ["a\tb", "c", "neutral"]),
        ("\tNA\tneutral", ["", "NA", "neutral"]),
        ("a\u2028b\tnull\tneutral", ["a\u2028b", "null", "neutral"]),
    ],
)
def test_tsv_fields(line, fields, write):
    ((number, row),) = tab_separated(write(f"\ufeff{line}\n\n"), COLUMNS)
    assert (number, list(row.values())) == (1, fields)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a\tneutral", "line 3: 2 tab-separated fields instead of 3"),
        ("a\tb\tneutral\tmore", "line 3: 4 tab-separated fields instead of 3"),
        (
            '"a ""break""\nin a field"\tb\tneutral',
            "line 3: 1 tab-separated fields instead of 3 .without quoting, because of line 3",
        ),
    ],
)
def test_a_malformed_tsv_line_is_named(line, message, write):
    path = write(f"a\tb\tneutral\n\n{line}\n")
    with pytest.raises(UserError, match=f"^{path}, {message}"):
        list(tab_separated(path, COLUMNS))


QUOTES = st.text('"" ,a\u2028', max_size=8)  # fields that begin with, end with and are full of quotation marks
ROWS = st.lists(st.tuples(QUOTES | FIELD, QUOTES | FIELD, FIELD.filter(str.strip)), min_size=1)


@given(ROWS, st.sampled_from(["\n", "\r\n"]))
@settings(max_examples=100, deadline=None)
def test_tsv_comes_back_as_the_csv_module_writes_it(scratch, rows, end):
    text = io.StringIO(newline="")
    csv.writer(text, delimiter="\t", lineterminator=end).writerows([*rows, ("a\tb", '"c"', 'd"')])
    scratch.write_bytes(b"\xef\xbb\xbf" + text.getvalue().encode())
    found = [tuple(row.values()) for _, row in tab_separated(scratch, COLUMNS)]
    assert found == [*rows, ("a\tb", '"c"', 'd"')]


@given(ROWS, st.sampled_from(["\n", "\r\n"]))
@settings(max_examples=100, deadline=None)
def test_tsv_without_quoting_comes_back_as_it_is(scratch, rows, end):
    """A single line that csv.writer cannot have written is enough, in whatever place."""
    rows = [*rows, ('Das "alte" Haus', '"b"', "c")]
    scratch.write_bytes("".join("\t".join(row) + end for row in rows).encode())
    assert [tuple(row.values()) for _, row in tab_separated(scratch, COLUMNS)] == rows


@pytest.mark.parametrize("kind", ["csv", "raw"])
def test_both_kinds_of_official_files_give_the_same_rows(kind, write, tmp_path):
    """XTREME's script writes them with csv.writer, XNLI's authors without quoting; lines end with CR LF or LF."""
    rows = [
        ('"Oh!" he said.', "He spoke.", "neutral"),
        ('"Oh!"', 'Full of ""quotes""', "entailment"),
        ("a", "b", "contradiction"),
    ]
    text = io.StringIO(newline="")
    csv.writer(text, delimiter="\t").writerows(rows)
    write(text.getvalue() if kind == "csv" else "".join("\t".join(row) + "\n" for row in rows), "xnli/test-de.tsv")
    found = load_rows(xnli.TASK.source, "test", "de", str(tmp_path))[0]
    assert [(*list(row.values())[:2], mnli.LABELS[row["label"]]) for row in found] == rows
    paraphrases = text.getvalue() if kind == "csv" else "".join("\t".join(row) + "\n" for row in rows)
    for label, number in (("neutral", "1"), ("entailment", "0"), ("contradiction", "1")):
        paraphrases = paraphrases.replace(label, number)
    write(paraphrases, "pawsx/test-de.tsv")
    found = load_rows(pawsx.TASK.source, "test", "de", str(tmp_path))[0]
    assert [(row["sentence1"], row["sentence2"]) for row in found] == [row[:2] for row in rows]


XNLI_HEADER = (
    "language gold_label sentence1_binary_parse sentence2_binary_parse sentence1_parse sentence2_parse sentence1 sentence2 "
    "promptID pairID genre label1 label2 label3 label4 label5 sentence1_tokenized sentence2_tokenized match"
).split()


def test_xnli_s_own_files_hold_all_languages(write, tmp_path):
    """They go before files by language, which have the languages that XNLI lacks; quotation marks are text."""
    rows = [("en", '"Oh!"', 'a ""b""', "neutral"), ("de", '"Oh!" sagte er.', "Er sprach.", "contradictory")]
    lines = [["x"] * len(XNLI_HEADER) for _ in rows]
    for line, (language, premise, hypothesis, label) in zip(lines, rows, strict=True):
        line[0], line[1], line[6], line[7] = language, label, premise, hypothesis
    text = "".join("\t".join(line) + "\n" for line in [XNLI_HEADER, *lines])
    source, folder = xnli.TASK.source, str(tmp_path)
    for name, split in (("dev", "validation"), ("test", "test")):
        write("a\tb\n", f"xnli/{name}-de.tsv")  # as XTREME's script leaves the test files: without labels
        write("a\tb\tneutral\n", f"xnli/{name}-qu.tsv")
        write(text, f"xnli/XNLI-1.0/xnli.{name}.tsv")
        for language, *texts, label in rows:
            found, files = load_rows(source, split, language, folder)
            number = mnli.LABELS.index(label.replace("ory", "ion"))
            assert ([*found], files) == (
                [dict(zip(COLUMNS, (*texts, number), strict=True))],
                [f"xnli/XNLI-1.0/xnli.{name}.tsv"],
            )
        assert found.features == source.features
        assert load_rows(source, split, "qu", folder)[1] == [f"xnli/{name}-qu.tsv"]
        assert languages_in(source, split, folder) == sorted([*xnli.LANGUAGES, "qu"])
        with pytest.raises(MissingData, match=r"no rows in 'sw' in .*xnli\.(dev|test)\.tsv"):
            load_rows(source, split, "sw", folder)
        with pytest.raises(MissingData, match=rf"no file {tmp_path}/xnli/{name}-yo\.tsv \("):
            load_rows(source, split, "yo", folder)


def test_a_file_of_both_kinds_of_lines_says_how_it_is_read(write, capsys):
    rows = list(tab_separated(write('"a ""b"""\tc\tneutral\n"d" e\tf\tneutral\n'), COLUMNS))
    assert [row["premise"] for _, row in rows] == ['"a ""b"""', '"d" e']
    assert "could have written 1 of the lines that hold some, but not line 2" in capsys.readouterr().out


def test_an_unknown_xnli_label_is_named(write):
    path = write("a\tb\tneutral\na\tb\tentails\n")
    with pytest.raises(UserError, match="line 2: label 'entails' is not one of"):
        list(xnli.read(path, None))


# ---- files with a header --------------------------------------------------------------------------------------------


def test_headed_tsv_knows_no_quotes(write):
    path = write('\ufeffb\ta\tc\r\n"x\ty"\t\tz\r\n\n1\t"2"\t3\u2028\n'.replace("\t\tz", "\tz"))
    assert list(headed_tsv(path, ("a", "b"))) == [(2, {"a": 'y"', "b": '"x'}), (4, {"a": '"2"', "b": "1"})]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\tc\n1\t2\n", "line 1: the header has no 'b'"),
        ("", "line 1: the header has no 'a'"),
        ("a\tb\n1\t2\n1\n", "line 3: 1 fields instead of the header's 2"),
        ("a\tb\n\n1\t2\t3\n", "line 3: 3 fields instead of the header's 2"),
    ],
)
def test_a_malformed_line_of_a_headed_tsv_is_named(text, message, write):
    path = write(text)
    with pytest.raises(UserError, match=f"^{path}, {message}"):
        list(headed_tsv(path, ("a", "b")))


QQP = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n"


def test_broken_lines_of_qqp_are_left_out_as_on_the_hub_but_not_what_else_is_wrong(write):
    path = write(QQP + "1\t2\t3\tx\ty\t1\n4\t5\t6\tbroken\n7\t8\t9\tx\ty\t\n10\t11\t12\tz\t\t0\n")
    rows = list(qqp.read(path, qqp.TASK.source.features))
    assert rows == [
        {"question1": "x", "question2": "y", "label": 1, "idx": 0},
        Dropped("lines that are broken off"),
        Dropped("lines that are broken off"),
        {"question1": "z", "question2": "", "label": 0, "idx": 3},
    ]
    with pytest.raises(UserError, match=r"line 2: label '2' is not one of 0, 1"):
        list(qqp.read(write(QQP + "1\t2\t3\tx\ty\t2\n"), None))
    with pytest.raises(UserError, match=r"line 2: 7 fields instead of the header's 6"):
        list(qqp.read(write(QQP + "1\t2\t3\tx\ty\tz\t1\n"), None))


def test_translated_xnli_rows_have_a_header_and_no_quotes(write):
    name = xnli.TASK.source.files["train"].format(language="de")
    text = 'premise\thypo\tlabel\n"So\tso"\tcontradictory\n'
    assert list(xnli.read(write(text, name), None)) == [{"premise": '"So', "hypothesis": 'so"', "label": 2}]
    with pytest.raises(UserError, match="line 3: label 'label' is not one of"):
        list(xnli.read(write(f"{text}premise\thypo\tlabel\n", name), None))
    with pytest.raises(UserError, match="line 1: the header has no 'hypo'"):
        list(xnli.read(write(text.replace("hypo", "hypothesis"), name), None))


def test_csv_fields_may_hold_line_breaks(write):
    path = write('\ufeffa,b,c\r\n"x\r\ny, ""z""",2,3\r\n\r\n4,,"6"\r\n')
    assert list(headed_csv(path, ("b", "a"))) == [(2, {"b": "2", "a": 'x\ny, "z"'}), (5, {"b": "", "a": "4"})]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,c\n", "line 1: the header has no 'b'"),
        ('a,b\n"1\n1",2\n3\n', "line 4: 1 fields instead of the header's 2"),
        ('a,b\n"1\n1",2\n3,4,5\n', "line 4: 3 fields instead of the header's 2"),
        ('a,b\n1,"2\n3\n4', "line 2: not valid CSV"),
        ('a,b\n"1\n1",2\n"3" 4,5\n', "line 4: not valid CSV"),
    ],
)
def test_a_malformed_csv_record_is_named_by_its_first_line(text, message, write):
    path = write(text)
    with pytest.raises(UserError, match=f"^{path}, {message}"):
        list(headed_csv(path, ("a", "b")))


CELL = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\x00"), max_size=12)


@given(st.lists(st.tuples(CELL, CELL), min_size=1), st.sampled_from(["\n", "\r\n"]))
@settings(max_examples=60, deadline=None)
def test_csv_comes_back_as_the_csv_module_writes_it(scratch, rows, end):
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator=end).writerows([("a", "b"), *rows])
    scratch.write_bytes(text.getvalue().encode())
    assert [(row["a"], row["b"]) for _, row in headed_csv(scratch, ("a", "b"))] == rows


@pytest.mark.parametrize("label", ["4", "", "-1", "x"])
def test_a_cosmosqa_label_that_is_none_is_named(label, write):
    text = 'id,context,question,answer0,answer1,answer2,answer3,label\n1,"x\ny",q,r,s,t,u,3\n2,x,q,r,s,t,u,'
    with pytest.raises(UserError, match=f"line 4: label '{label}' is not one of 0, 1, 2, 3"):
        list(cosmosqa.read(write(f"{text}{label}\n"), cosmosqa.TASK.source.features))


# ---- SQuAD JSON -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        '{"data": [',
        "",
        "[]",
        '{"version": "1.1"}',
        '{"data": [{"title": "t"}]}',
        '{"data": ["t"]}',
        '{"data": [{"paragraphs": [{"context": "c", "qas": [{"id": "1", "question": "q"}]}]}]}',
        '{"data": [{"paragraphs": [{"context": "c", "qas": [{"id": "1", "question": "q", "answers": [{"text": "c"}]}]}]}]}',
    ],
)
def test_damaged_squad_json_names_the_file(content, write):
    path = write(content, "damaged.json")
    with pytest.raises(UserError, match=f"^{path}(: |, line 1: )not "):
        list(squad_json(path, squad.TASK.source.features))


def test_plausible_answers_are_not_read(write):
    plausible = [{"text": "c", "answer_start": 0}]
    question = {"id": "1", "question": "q", "answers": [], "plausible_answers": plausible, "is_impossible": True}
    content = {"data": [{"title": "t", "paragraphs": [{"context": "c", "qas": [question]}]}]}
    (row,) = squad_json(write(json.dumps(content)), squad_v2.TASK.source.features)
    assert row["answers"] == {"text": [], "answer_start": []}


# ---- CoNLL-U --------------------------------------------------------------------------------------------------------


def sentences(path, read=conllu):
    """Tokens with the names of their tags; the reason where something is left out."""
    for row in read(path, udpos.TASK.source.features):
        named = () if isinstance(row, Dropped) else (udpos.TAGS[tag] for tag in row["pos_tags"])
        yield row.reason if isinstance(row, Dropped) else list(zip(row["tokens"], named, strict=True))


def test_conllu_words_and_what_is_none(write):
    text = (
        "\ufeff# newpar\n" + word("1-2", "zum", "_") + word(1, "zu", "ADP") + word(2, "dem", "DET")
        + word("2.1", "left out", "NOUN") + "\n\n  \n# only a comment\n\n"
        + word(1, "unannotated", "_") + word(2, ".", "_") + "\n" + word(1, "a b", "X") + word(2, "\u2028", "SYM")
    )  # fmt: skip
    expected = [[("zu", "ADP"), ("dem", "DET")], "sentences without tags", [("a b", "X"), ("\u2028", "SYM")]]
    assert [*sentences(write(text))] == expected
    assert [*sentences(write(text.replace("\n", "\r\n")))] == expected


def test_words_without_a_form_are_left_out_and_counted(write, tmp_path, capsys):
    """The hub's rows lack them, too; a treebank whose text is not free has no others."""
    text = word(1, "_", "ADP") + word(2, "\u00a0", "SYM") + word(3, "\u200b", "X") + "\n"
    text += word(1, "_", "NOUN") + word(2, "_", "NOUN") + "\n" + word(1, "_", "NOUN") + word(2, ".", "PUNCT") + "\n"
    text += word(1, "Merci", "INTJ")
    one = "sentences with at most one form"
    expected = ["words without a form", [("\u00a0", "SYM"), ("\u200b", "X")], one, one, [("Merci", "INTJ")]]
    assert [*sentences(write(text))] == expected, "a sentence of one word is one"
    write(text, "ud/UD_French-FTB/fr_ftb-ud-test.conllu")
    (record,) = load_examples(udpos.TASK, "test", "fr", str(tmp_path)).records
    assert (record["rows"], record["irregular"]) == (2, {"words without a form": 1, one: 2})
    assert f"udpos test 'fr': 1 words without a form; 2 {one}" in capsys.readouterr().out
    write(word(1, "_", "NOUN"), "ud/UD_French-FTB/fr_ftb-ud-test.conllu")
    with pytest.raises(UserError, match=f"is empty; left out: 1 {one}"):
        load_rows(udpos.TASK.source, "test", "fr", str(tmp_path))


def tree(*rows):
    """A sentence of CoNLL-U of (number, form, tag, head, enhanced dependencies)."""
    return "".join(f"{n}\t{form}\t_\t{tag}\t_\t_\t{head}\t_\t{deps}\t_\n" for n, form, tag, head, deps in rows) + "\n"


@pytest.mark.parametrize(
    ("language", "parts", "tag"),
    [
        ("de", [("ADP", 3, "_"), ("DET", 1, "_")], "ADP"),  # the higher part, whatever its tag
        ("de", [("ADP", 2, "_"), ("DET", 3, "_")], "DET"),
        ("de", [("ADP", 3, "_"), ("DET", 3, "_")], "ADP"),  # both as high: by tag
        ("de", [("DET", 3, "_"), ("ADP", 3, "_")], "ADP"),
        (
            "de",
            [("DET", 3, "3:x|2:y|5.1:z"), ("ADP", 3, "_")],
            "ADP",
        ),  # an enhanced dependency puts the first below the second
        ("de", [("PRON", 3, "2:y"), ("ADP", 3, "1:x")], "PRON"),  # and a circle leaves both as high
        ("de", [("DET", 3, "_"), ("SYM", 3, "_")], "DET"),  # a tag that has no rank comes last
        ("de", [("PRON", 3, "_"), ("ADV", 3, "_")], "PRON"),
        ("it", [("PRON", 3, "_"), ("ADV", 3, "_")], "ADV"),  # three languages have ranks of their own
        ("fr", [("NOUN", 3, "_"), ("PRON", 3, "_")], "PRON"),
        ("es", [("DET", 3, "_"), ("PRON", 3, "_")], "PRON"),
    ],
)
def test_a_multiword_token_has_its_written_form_and_the_tag_of_a_part(language, parts, tag, write):
    """What XTREME's tool makes of these sentences."""
    lines = [("1-2", "zum\u200c x", "_", "_", "_"), *((n, f"part{n}", *part) for n, part in enumerate(parts, start=1))]
    lines += [("2.1", "empty", "NOUN", "_", "_"), (3, "Haus", "NOUN", 0, "_"), (4, "_", "PUNCT", 3, "_")]
    path = write(tree(*lines), f"ud/UD_X-Y/{language}_y-ud-test.conllu")
    assert [*sentences(path, conllu_as_xtreme)] == [[("zumx", tag), ("Haus", "NOUN"), ("_", "PUNCT")]]
    expected = [(f"part{n}", part[0]) for n, part in enumerate(parts, start=1)]
    assert [*sentences(path)] == ["words without a form", [*expected, ("Haus", "NOUN")]]


def test_written_words_that_do_not_fit_their_sentence_are_named(write):
    for range_, where in (("2-3", "line 2: 2-3"), ("1-1", None), ("2-1", "line 2: 2-1")):
        path = write(tree((1, "a", "X", 0, "_"), (range_, "b", "_", "_", "_"), (2, "b", "X", 1, "_")))
        if where:
            with pytest.raises(UserError, match=f"{where} cannot be a multiword token in a sentence of 2 words"):
                [*sentences(path, conllu_as_xtreme)]
    path = write(tree(("1-2", "ab", "_", "_", "_"), (1, "_", "X", 0, "_"), (2, "_", "X", 1, "_")))
    assert [*sentences(path, conllu_as_xtreme)] == [[("ab", "X")]], "its only word is written"


def test_document_marks_are_no_words_and_are_counted(write):
    text = "-DOCSTART-\n\n" + word(1, "a", "X") + word(2, "-DOCSTART-", "X") + "-DOCSTART- -X- O\n" + word(1, "b", "X")
    mark = "document marks"
    for read in (conllu, conllu_as_xtreme):
        assert [*sentences(write(text), read)] == [mark, [("a", "X"), ("-DOCSTART-", "X")], mark, [("b", "X")]]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("2\tfew\t_\tNOUN\n", "line 4: 4 columns instead of CoNLL-U's 10"),
        (
            "2 few _ NOUN _ _ 1 _ _ _\n",
            "line 4: no tab in the line '2 few .*'; columns are set apart by tabs, not by spaces",
        ),
        (word(2, "x", "NOMEN"), "line 4: tag 'NOMEN' is not one of ADJ, ADP"),
        (word(2, "x", "_"), "line 4: tag '_' is not one of"),
        (word("2x", "x", "NOUN"), "line 4: '2x' is not the number of a word"),
    ],
)
def test_a_malformed_conllu_line_is_named(line, message, write):
    path = write("# text\n" + word(1, "one", "NUM") + word("1.1", "e", "_") + line)
    with pytest.raises(UserError, match=f"^{path}, {message}"):
        list(sentences(path))


TOKEN = FIELD.filter(lambda form: form.strip() not in ("", "_"))
SENTENCE = st.lists(st.tuples(TOKEN, st.sampled_from(udpos.TAGS)), min_size=1)


@given(st.lists(SENTENCE, min_size=1), st.sampled_from(["\n", "\r\n"]), st.integers(1, 3))
@settings(max_examples=60, deadline=None)
def test_conllu_comes_back_as_it_was_written(scratch, treebank, end, blank_lines):
    blocks = ("".join(word(i, *pair) for i, pair in enumerate(words, 1)) + "\n" * blank_lines for words in treebank)
    scratch.write_bytes("".join(blocks).replace("\n", end).encode())
    assert [*sentences(scratch)] == treebank


def test_treebanks_of_a_language_are_joined_in_sorted_order(write, tmp_path):
    """The order of the files' names, as XTREME joins them: ParTUT before PUD."""
    for treebank in ("PUD", "GSD", "ParTUT"):
        write(word(1, treebank, "PROPN"), f"ud/UD_German-{treebank}/de_{treebank.lower()}-ud-test.conllu")
    write(word(1, "not German", "X"), "ud/UD_Danish-DDT/da_ddt-ud-test.conllu")
    rows, files = load_rows(udpos.TASK.source, "test", "de", str(tmp_path))
    assert [row["tokens"] for row in rows] == [["GSD"], ["ParTUT"], ["PUD"]]
    assert files == [f"ud/UD_German-{t}/de_{t.lower()}-ud-test.conllu" for t in ("GSD", "ParTUT", "PUD")]
    for part in ("a-1", "b-2"):  # HDT's training rows are in several files
        write(word(1, part, "X"), f"ud/UD_German-HDT/de_hdt-ud-train-{part}.conllu")
    assert [row["tokens"] for row in load_rows(udpos.TASK.source, "train", "de", str(tmp_path))[0]] == [
        ["a-1"],
        ["b-2"],
    ]


# ---- CCGbank AUTO ---------------------------------------------------------------------------------------------------

AUTO_ID = "ID=wsj_0001.1 PARSER=GOLD NUMPARSE=1\n"


def leaf(word, category="NP"):
    """A leaf of a derivation."""
    return f"(<L {category} NN NN {word} {category}>)"


PAIR_OF_LEAVES = f"(<T S 0 2> {leaf('x')} {leaf('y', 'S')} )"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (AUTO_ID, "line 3: there is no derivation below ID=wsj_0001.1"),
        (AUTO_ID + AUTO_ID + leaf("x") + "\n", "line 4: there is no derivation below ID=wsj_0001.1"),
        (leaf("x") + "\n", r"line 3: 'ID=...' is expected here, not '\(<L NP NN NN x NP>\)'"),
        (AUTO_ID + leaf("x") + "\n" + leaf("x") + "\n", "line 5: 'ID=...' is expected"),
        (AUTO_ID + "# a text\n", "line 4: there is no derivation"),
        (AUTO_ID + PAIR_OF_LEAVES[:-2], "line 4: the brackets of the derivation are not balanced"),
        (AUTO_ID + PAIR_OF_LEAVES + " )", "line 4: the brackets"),
        (AUTO_ID + leaf("x") + " " + leaf("y"), "line 4: the brackets"),
        (AUTO_ID + PAIR_OF_LEAVES + " " + PAIR_OF_LEAVES, "line 4: the brackets"),
        (AUTO_ID + PAIR_OF_LEAVES.replace(" y", ""), r"line 4: no node of a derivation: '\(<L S NN NN S>\) \)'"),
        (AUTO_ID + PAIR_OF_LEAVES.replace(" y", " y z"), "line 4: no node of a derivation"),
        (AUTO_ID + PAIR_OF_LEAVES.replace("0 2>", "0>"), "line 4: no node of a derivation"),
        (AUTO_ID + PAIR_OF_LEAVES.replace("NP>)", "NP)", 1), "line 4: no node of a derivation"),
        (AUTO_ID + "(<T S 0 0> )", "line 4: the derivation has no words"),
    ],
)
def test_a_malformed_derivation_is_named(text, message, write):
    path = write(AUTO_ID + PAIR_OF_LEAVES + "\n" + text)
    with pytest.raises(UserError, match=f"^{path}, {message}"):
        list(auto(path, ccg.TASK.source.features))


PIECE = st.text(st.characters(exclude_categories=["Cs"], exclude_characters=" \n\r"), min_size=1, max_size=5)
BRACKETS = st.sampled_from(["(", ")", "<", ">", ">)", "(<L", "<>", "\u00a0", "\u3000", "-LRB-", "ID=1"])
LEAF = st.tuples(
    st.one_of(BRACKETS, PIECE), st.sampled_from(["NP", "S[dcl]\\NP", "((S\\NP)/(S|NP))/NP", ".", ":", "<>"])
)
TREE = st.recursive(LEAF.map(lambda pair: [pair]), lambda trees: st.lists(trees, min_size=1, max_size=3), max_leaves=12)


def derivation(tree):
    """(text, [(word, category), ...]) of a random tree; a leaf is a list with one pair."""
    if isinstance(tree[0], tuple):
        return leaf(*tree[0]), tree
    texts, leaves = zip(*map(derivation, tree), strict=True)
    return f"(<T S/NP 0 {len(tree)}> {' '.join(texts)} ) ", [pair for each in leaves for pair in each]


@given(st.lists(TREE, min_size=1, max_size=4), st.sampled_from(["\n", "\r\n", "\n\n"]))
@settings(max_examples=150, deadline=None)
def test_words_and_categories_come_back_from_random_derivations(scratch, trees, end):
    texts, leaves = zip(*map(derivation, trees), strict=True)
    scratch.write_bytes("".join(f"ID={i} NUMPARSE=1{end}{text}{end}" for i, text in enumerate(texts)).encode())
    rows = auto(scratch, ccg.TASK.source.features)
    assert [list(zip(row["tokens"], row["tags"], strict=True)) for row in rows] == list(leaves)


def test_sections_of_ccgbank_fall_into_its_splits(write, tmp_path):
    for section in range(25):
        write(f"{AUTO_ID}{leaf(section)}\n", f"ccg/ccgbank_1_1/data/AUTO/{section:02}/wsj_{section:02}01.auto")
    expected = {"train": range(19), "validation": range(19, 22), "test": range(22, 25)}
    for split, sections in expected.items():
        rows, _ = load_rows(ccg.TASK.source, split, "en", str(tmp_path))
        assert [tokens for (tokens,) in rows["tokens"]] == [str(section) for section in sections]
    assert set(expected) == set(ccg.TASK.splits)


# ---- aligned files --------------------------------------------------------------------------------------------------


def aligned(write, foreign, english):
    """Write both sides and read them."""
    write(english, "tatoeba.deu-eng.eng")
    path = write(foreign, "tatoeba.deu-eng.deu")
    return [tuple(row.values()) for row in aligned_lines(path, tatoeba.TASK.source.features)]


def test_aligned_lines(write):
    pairs = aligned(write, "\ufeffEins\u2028zwei\r\nDrei\r\n", "One two\nThree")
    assert pairs == [("Eins\u2028zwei", "One two"), ("Drei", "Three")]


@pytest.mark.parametrize(
    ("foreign", "english", "message"),
    [
        ("a\nb\nc\n", "a\nb\n", r"\.deu has 3 lines but .*\.eng has 2; they must be aligned"),
        ("a\n\n", "a\nb\n", r"\.deu, line 2: the sentence is empty"),
        ("a\nb\n", "a\n \u3000\n", r"\.eng, line 2: the sentence is empty"),
    ],
)
def test_sides_that_do_not_fit_are_named(foreign, english, message, write):
    with pytest.raises(UserError, match=message):
        aligned(write, foreign, english)


def test_a_missing_english_side_is_named(write):
    path = write("a\n", "tatoeba.deu-eng.deu")
    with pytest.raises(UserError, match=r"has no English side .*tatoeba\.deu-eng\.eng"):
        list(aligned_lines(path, None))


# ---- folders --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "files", "languages"),
    [
        (xnli.TASK, ["xnli/test-de.tsv", "xnli/test-qna.tsv", "xnli/dev-fr.tsv", "xnli/test-sw.txt"], ["de", "qna"]),
        (xquad.TASK, ["xquad/xquad.ar.json", "xquad/xquad.qnb.json", "xquad/.ar.json"], ["ar", "qnb"]),
        (
            udpos.TASK,
            [
                "ud/UD_Qna-W/qna_w-ud-test.conllu",
                "ud/UD_Wolof-WTB/wo_wtb-ud-test.conllu",
                "ud/UD_X-Y/de_y-ud-dev.conllu",
            ],
            ["qna", "wo"],
        ),
        (
            tatoeba.TASK,
            [*(f"tatoeba/tatoeba.{name}-eng.{name}" for name in ("swh", "qna", "eng")), "tatoeba/tatoeba.fra-eng.eng"],
            ["eng", "qna", "sw"],
        ),
        (squad.TASK, ["squad/dev-v1.1.json"], []),
        (xnli.TASK, [], []),
    ],
    ids=["xnli", "xquad", "udpos", "tatoeba", "no language", "empty"],
)
@pytest.mark.parametrize("folder", ["data", "da[t]a*"])
def test_languages_in_a_folder(task, files, languages, folder, write, tmp_path):
    for file in files:
        write("", f"{folder}/{file}")
    split = "test" if "test" in task.source.splits else "train"
    assert languages_in(task.source, split, str(tmp_path / folder)) == languages


@pytest.mark.parametrize(
    ("task", "split", "files", "languages"),
    [
        (xnli.TASK, "test", ["xnli/test-quy_Latn.tsv", "xnli/test-pt_BR.tsv"], ["pt_BR", "quy_Latn"]),
        (mnli.TASK, "train", ["mnli/translated/quy_Latn/multinli_1.0_train.jsonl"], ["quy_Latn"]),
        (panx.TASK, "test", ["panx/zho_Hans/test", "panx/zho_Hant/test"], ["zho_Hans", "zho_Hant"]),
        (xcopa.TASK, "test", ["xcopa/data/quy_Latn/test.quy_Latn.jsonl"], ["quy_Latn"]),
        (
            udpos.TASK,
            "test",
            ["ud/UD_A/quy_Latn_x-ud-test.conllu", "ud/UD_A/de_gsd-ud-test.conllu"],
            ["de", "quy_Latn"],
        ),
        (mlqa.TASK, "test", ["mlqa/MLQA_V1/test/test-context-zho_Hans-question-deu_Latn.json"], ["zho_Hans-deu_Latn"]),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_languages_that_are_spelt_with_their_script(task, split, files, languages, write, tmp_path):
    """As FLORES and NLLB name them; they were skipped without a word. `--languages` finds the files that are listed."""
    paths = sorted(write("", file) for file in files)
    assert languages_in(task.source, split, str(tmp_path)) == languages
    assert sorted(path for code in languages for path in files_there(task.source, split, code, str(tmp_path))) == paths


def test_a_missing_file_is_named_with_its_path(tmp_path):
    with pytest.raises(MissingData, match=f"no file {tmp_path}/xnli/XNLI-1.0/xnli.test.tsv or .*/xnli/test-de.tsv"):
        load_rows(xnli.TASK.source, "test", "de", str(tmp_path))
    with pytest.raises(MissingData, match="declares no train split"):
        load_rows(xquad.TASK.source, "train", "de", str(tmp_path))


def test_a_folder_with_glob_characters_in_its_name(write, tmp_path):
    write("a\tb\tneutral\n", "runs[1]*/xnli/test-de.tsv")
    rows, files = load_rows(xnli.TASK.source, "test", "de", str(tmp_path / "runs[1]*"))
    assert (len(rows), files) == (1, ["xnli/test-de.tsv"])


# ---- hub ------------------------------------------------------------------------------------------------------------

PAIR = {"premise": "a", "hypothesis": "b", "label": 1}


@pytest.fixture
def hub(monkeypatch):
    """A stand-in for the hub: `hub.answer` is a Dataset or an exception, `hub.asked` what was asked for."""
    hub = SimpleNamespace(asked=[], answer=None)

    def load_dataset(*names, **options):
        hub.asked.append((*names, options))
        assert names[1] is None or options["revision"] != CONVERTED, "that branch has no named configurations"
        if isinstance(hub.answer, Exception):
            raise hub.answer
        return hub.answer

    monkeypatch.setattr(hub_rows, "load_dataset", load_dataset)
    return hub


def test_hub_rows_keep_the_declared_columns(hub):
    features = Features({"source": Value("string"), **xnli.TASK.source.features})
    hub.answer = Dataset.from_list([{"source": "x", **PAIR}], features=features)
    rows, files = load_rows(xnli.TASK.source, "test", "de")
    assert rows.features == xnli.TASK.source.features
    assert list(rows) == [PAIR]
    assert files == ["facebook/xnli/de (test)"]
    assert hub.asked == [("facebook/xnli", "de", {"split": "test", "revision": None})]


@pytest.mark.parametrize(
    ("task", "language", "asked"),
    [
        (udpos.TASK, "de", ("google/xtreme", "udpos.German")),
        (tatoeba.TASK, "sw", ("google/xtreme", "tatoeba.swh")),
        (xquad.TASK, "el", ("google/xquad", "xquad.el")),
        (mnli.TASK, "en", ("nyu-mll/glue", "mnli")),
        (squad.TASK, "en", ("rajpurkar/squad", None)),
        (squad_v2.TASK, "en", ("rajpurkar/squad_v2", None)),
        (snli.TASK, "en", ("stanfordnlp/snli", None)),
        (anli.TASK, "en", ("facebook/anli", None)),
        (qqp.TASK, "en", ("nyu-mll/glue", "qqp")),
        (cosmosqa.TASK, "en", ("allenai/cosmos_qa", None)),
        (commonsenseqa.TASK, "en", ("tau/commonsense_qa", None)),
        (siqa.TASK, "en", ("lighteval/siqa", None)),
        (copa.TASK, "en", ("aps/super_glue", "copa")),
        (pawsx.TASK, "de", ("google-research-datasets/paws-x", "de")),
        (xcopa.TASK, "qu", ("cambridgeltl/xcopa", "qu")),
        (panx.TASK, "gu", ("unimelb-nlp/wikiann", "gu")),
        (mlqa.TASK, "de", ("google/xtreme", "MLQA.de.de")),
        (mlqa.TASK, "de-en", ("google/xtreme", "MLQA.de.en")),
        (of_benchmark(udpos.TASK, "xtreme"), "de", ("google/xtreme", "udpos.German")),
        (of_benchmark(udpos.TASK, "xtreme-r"), "wo", ("izhx/xtreme-r-udpos", "wo")),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_the_hub_is_asked_for_its_own_names(task, language, asked, hub):
    hub.answer = Dataset.from_dict({column: [] for column in task.source.features}, features=task.source.features)
    load_rows(task.source, next(iter(task.source.splits)), language)
    assert hub.asked[0][:2] == asked


@pytest.mark.parametrize(
    ("task", "split", "options"),
    [
        (anli.TASK, "validation", {"split": "dev_r1+dev_r2+dev_r3", "revision": None}),
        (cosmosqa.TASK, "train", {"split": "train", "revision": "refs/convert/parquet"}),
        (copa.TASK, "validation", {"split": "validation", "revision": None}),
        (xnli.TASK, "train", {"split": "train", "revision": None}),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_splits_and_revisions_of_the_hub(task, split, options, hub):
    hub.answer = Dataset.from_dict({column: [] for column in task.source.features}, features=task.source.features)
    load_rows(task.source, split, "en")
    assert hub.asked[0][2] == options


@pytest.mark.parametrize("task", [copa.TASK, cosmosqa.TASK, mnli.TASK, xcopa.TASK], ids=lambda task: task.name)
def test_configurations_are_found_where_the_hub_has_them(task, monkeypatch, tmp_path):
    """`datasets` itself reads a folder laid out as the repository: a main branch names its configurations in the card; the branch
    that the hub converts to parquet has a folder for each and no card, so that no name is known there."""
    source, split = task.source, next(iter(task.source.splits))
    row = {
        column: 0 if hasattr(each, "names") or "int" in each.dtype else "a" for column, each in source.features.items()
    }
    piece = hub_rows.piece_of(source, split, task.languages[0])
    config, file = piece.config or "default", tmp_path / (piece.config or "default") / piece.split / "0000.parquet"
    file.parent.mkdir(parents=True)
    Dataset.from_list([row], features=source.features).to_parquet(file)
    if piece.revision != CONVERTED:
        files = [{"split": piece.split, "path": f"{config}/{piece.split}/*"}]
        card = json.dumps({"configs": [{"config_name": config, "data_files": files}]})
        (tmp_path / "README.md").write_text(f"---\n{card}\n---\n", "utf-8")
    local = partial(load_dataset, str(tmp_path), cache_dir=str(tmp_path / "cache"))
    monkeypatch.setattr(hub_rows, "load_dataset", lambda name, config, split, revision: local(config, split=split))
    assert [*load_rows(source, split, task.languages[0])[0]] == [row]


def test_languages_of_one_configuration_are_told_apart_by_their_ids(hub):
    row = {"title": "", "context": "In Ulm.", "question": "?", "answers": {"text": ["Ulm"], "answer_start": [3]}}
    rows = [{"id": f"{name}-1-0", **row} for name in ("english", "finnish", "english")]
    hub.answer = Dataset.from_list(rows, features=tydiqa.TASK.source.features)
    assert [*load_rows(tydiqa.TASK.source, "test", "fi")[0]["id"]] == ["finnish-1-0"]
    assert len(load_rows(tydiqa.TASK.source, "train", "en")[0]) == 2
    assert [asked[:2] for asked in hub.asked] == [("google-research-datasets/tydiqa", "secondary_task")] * 2
    assert [asked[2]["split"] for asked in hub.asked] == ["validation", "train"]
    with pytest.raises(
        MissingData, match=r"no rows in 'sw' in google-research-datasets/tydiqa/secondary_task \(train\)"
    ):
        load_rows(tydiqa.TASK.source, "train", "sw")


def test_rows_that_are_not_on_the_hub_name_the_files(hub):
    with pytest.raises(UserError, match=r"not on the hub; give --data_dir DIR with DIR/ccg/\*/data/AUTO"):
        load_rows(ccg.TASK.source, "train", "en")
    assert hub.asked == []


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (
            {"premise": Value("string"), "hypothesis": Value("string")},
            r"facebook/xnli/de \(test\) lacks the columns label",
        ),
        (
            {**xnli.TASK.source.features, "label": ClassLabel(names=["contradiction", "entailment", "neutral"])},
            "numbers the labels of 'label' as .'contradiction', 'entailment', 'neutral'",
        ),
        ({**xnli.TASK.source.features, "label": Value("float64")}, "numbers the labels of 'label' as float64"),
    ],
    ids=["column missing", "other order", "no names and no whole numbers"],
)
def test_a_hub_that_changed_its_columns_is_an_error(features, message, hub):
    row = {column: PAIR[column] for column in features}
    hub.answer = Dataset.from_list([row], features=Features(features))
    with pytest.raises(UserError, match=message):
        load_rows(xnli.TASK.source, "test", "de")


def test_the_order_of_tags_is_checked_too(hub):
    features = Features(tokens=Sequence(Value("string")), pos_tags=Sequence(ClassLabel(names=["NOUN", "VERB"])))
    hub.answer = Dataset.from_list([{"tokens": ["a"], "pos_tags": [0]}], features=features)
    with pytest.raises(UserError, match="numbers the labels of 'pos_tags'"):
        load_rows(udpos.TASK.source, "test", "de")


def test_tags_as_text_get_their_numbers(hub):
    hub.answer = Dataset.from_dict({"tokens": [["a", "b"]], "pos_tags": [["X", "ADJ"]]})
    source = of_benchmark(udpos.TASK, "xtreme-r").source
    rows, _ = load_rows(source, "test", "de")
    assert rows.features == source.features
    assert rows["pos_tags"] == [[16, 0]]
    hub.answer = Dataset.from_dict({"tokens": [["a"]], "pos_tags": [["NOMEN"]]})
    with pytest.raises(UserError, match=r"xtreme-r-udpos/de \(test\): a label of 'pos_tags' is not declared: .*NOMEN"):
        load_rows(source, "test", "de")


ROW = {"tokens": ["a", "b", "c"], "langs": ["de"] * 3, "spans": [], **PAIR, "idx": 0}


@pytest.mark.parametrize("kind", ["int64", "int8", "uint16"])
@pytest.mark.parametrize(
    ("task", "column", "numbers"),
    [
        (xnli.TASK, "label", 2),
        (mnli.TASK, "label", 0),
        (udpos.TASK, "pos_tags", [16, 0, 7]),
        (panx.TASK, "ner_tags", [6, 0, 1]),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_plain_numbers_are_labels_in_the_declared_order(task, column, numbers, kind, hub):
    """A scalar or a list; no number that is no label passes, nor one below 0, which Python would read from the end."""
    features, is_list = task.source.features, isinstance(numbers, list)
    plain = Features({**features, column: Sequence(Value(kind)) if is_list else Value(kind)})

    def answer(*values):
        hub.answer = Dataset.from_list(
            [{name: ROW.get(name) for name in features} | {column: value} for value in values], plain
        )
        return load_examples(task, "test" if "test" in task.splits else "validation", "en")

    examples, count = answer(numbers), len(getattr(features[column], "feature", features[column]).names)
    expected = task.to_example({**ROW, column: numbers})
    assert examples.rows[0] == {name: expected[name] for name in task.type.columns}
    remark = f"the hub has '{column}' as plain numbers, read in the order that the task declares"
    assert remark in examples.records[0]["remarks"]
    for wrong in [count] if kind == "uint16" else [count, -1, -100]:
        with pytest.raises(
            UserError, match=f"'{column}' has the number {wrong}, but the task declares {count} labels, 0 to"
        ):
            answer(numbers, [0, wrong] if is_list else wrong)


@pytest.mark.parametrize(
    ("language", "counts"), [("el", False), ("fr", False), ("zh", False), ("ru", False), ("de", True)]
)
def test_rows_of_the_hub_in_other_languages_count_in_no_average(language, counts, hub, write, tmp_path):
    """German has few of them, and official files have none."""
    hub.answer = Dataset.from_list([{"tokens": ["a"], "pos_tags": [0]}] * 3, features=udpos.TASK.source.features)
    for task in (udpos.TASK, of_benchmark(udpos.TASK, "xtreme")):
        (record,) = load_examples(task, "test", language).records
        assert record.get("in_no_average", False) is not counts
        assert record["published_rows"] == udpos.TASK.sizes[f"test-{language}"]
        assert record["remarks"][0] == "UD words, not XTREME's"
        assert re.match(r"[0-9.]+ percent of the hub's test rows are \w+ \w+", record["remarks"][1])
    (record,) = load_examples(udpos.TASK, "test", "nl").records
    assert (record["remarks"], "in_no_average" in record) == (["UD words, not XTREME's"], False)
    write(word(1, "a", "X"), f"ud/UD_X-Y/{language}_y-ud-test.conllu")
    (record,) = load_examples(udpos.TASK, "test", language, str(tmp_path)).records
    assert (record["remarks"], "in_no_average" in record) == (["UD words, not XTREME's"], False)
    (record,) = load_examples(of_benchmark(udpos.TASK, "xtreme"), "test", language, str(tmp_path)).records
    assert "remarks" not in record
    assert "in_no_average" not in record


@pytest.mark.parametrize("error", [ConnectionError("offline\nmode"), OSError("no route"), FileNotFoundError("gone")])
def test_an_unreachable_hub_says_both_ways_out(error, hub):
    hub.answer = error
    with pytest.raises(UserError, match="where there is internet, or give --data_dir") as caught:
        load_rows(udpos.TASK.source, "test", "de")
    assert not isinstance(caught.value, MissingData)
    assert "DIR/ud/UD_*/de_*-ud-test.conllu" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_language_that_the_hub_lacks_is_missing_data(hub):
    hub.answer = ValueError("BuilderConfig 'udpos.Wolof' not found.")
    with pytest.raises(MissingData, match=r"the hub gives no google/xtreme/udpos\.Wolof \(test\)"):
        load_rows(udpos.TASK.source, "test", "wo")
