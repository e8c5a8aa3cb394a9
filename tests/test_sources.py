"""Readers of official files name what is wrong and where; the hub's rows are held against the declared columns."""

import csv
import io
import json
from types import SimpleNamespace

import pytest
from datasets import ClassLabel, Dataset, Features, Sequence, Value
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks import hellaswag, mnli, squad, tatoeba, udpos, xnli, xquad
from xstilts import sources
from xstilts.errors import UserError
from xstilts.readers import aligned_lines, conllu, json_lines, numbered_lines, squad_json, tab_separated
from xstilts.sources import MissingData, languages_in, load_rows

COLUMNS = ("premise", "hypothesis", "label")
ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
LINE = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\r"), max_size=12)
FIELD = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\r\t\x00"), max_size=12)


@pytest.fixture
def write(tmp_path):
    """write(text or bytes, name) -> the path of a file with just that."""

    def write(content, name="file"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    return write


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    """A file for property tests, written again and again."""
    return tmp_path_factory.mktemp("scratch") / "file"


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
    [numbered_lines, lambda path: squad_json(path, squad.TASK.source.features)],
    ids=["lines", "squad"],
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
    with pytest.raises(UserError, match=f"^{path}: a value does not fit its column"):
        load_rows(hellaswag.TASK.source, "train", "en", str(tmp_path))


def test_mnli_leaves_out_pairs_without_a_majority_and_names_other_labels(write):
    def pair(label):
        return json.dumps({"gold_label": label, "sentence1": "a", "sentence2": "b"}) + "\n"

    rows = list(mnli.read(write(pair("neutral") + pair("-") + pair("contradiction")), None))
    assert [(row["label"], row["idx"]) for row in rows] == [(1, 0), (2, 1)]
    with pytest.raises(
        UserError, match="line 3: label 'contradictory' is not one of entailment, neutral, contradiction"
    ):
        list(mnli.read(write(pair("neutral") + pair("-") + pair("contradictory")), None))


# ---- TSV ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        ("a\tb\tneutral\r", ["a", "b", "neutral"]),
        ('"he said ""hi"""\tb\tneutral', ['he said "hi"', "b", "neutral"]),
        ('he said "hi\tb 5" long\tneutral', ['he said "hi', 'b 5" long', "neutral"]),
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
        ('"a lone quote\tb\tneutral', "line 3: a quoted field is not closed"),
        ('"Hi" he said\tb\tneutral', "line 3: a quoted field is not closed or not at an end"),
        ("a\rb\tc\tneutral", "line 3: a quoted field"),
    ],
)
def test_a_malformed_tsv_line_is_named(line, message, write):
    path = write(f"a\tb\tneutral\n\n{line}\n")
    with pytest.raises(UserError, match=f"^{path}, {message}"):
        list(tab_separated(path, COLUMNS))


@given(st.lists(st.tuples(FIELD, FIELD, FIELD.filter(str.strip)), min_size=1), st.sampled_from(["\n", "\r\n"]))
@settings(max_examples=60, deadline=None)
def test_tsv_comes_back_as_the_csv_module_writes_it(scratch, rows, end):
    text = io.StringIO(newline="")
    csv.writer(text, delimiter="\t", lineterminator=end).writerows(rows)
    scratch.write_bytes(b"\xef\xbb\xbf" + text.getvalue().encode())
    assert [tuple(row.values()) for _, row in tab_separated(scratch, COLUMNS)] == rows


def test_an_unknown_xnli_label_is_named(write):
    path = write("a\tb\tneutral\na\tb\tentails\n")
    with pytest.raises(UserError, match="line 2: label 'entails' is not one of"):
        list(xnli.read(path, None))


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
    with pytest.raises(UserError, match=f"^{path}: not "):
        list(squad_json(path, squad.TASK.source.features))


# ---- CoNLL-U --------------------------------------------------------------------------------------------------------


def sentences(path):
    """Tokens with the names of their tags."""
    rows = conllu(path, udpos.TASK.source.features)
    return [list(zip(row["tokens"], (udpos.TAGS[tag] for tag in row["pos_tags"]), strict=True)) for row in rows]


def test_conllu_words_and_what_is_none(write):
    text = (
        "\ufeff# newpar\n" + word("1-2", "zum", "_") + word(1, "zu", "ADP") + word(2, "dem", "DET")
        + word("2.1", "left out", "NOUN") + "\n\n  \n# only a comment\n\n"
        + word(1, "unannotated", "_") + word(2, ".", "_") + "\n" + word(1, "a b", "X") + word(2, "\u2028", "SYM")
    )  # fmt: skip
    expected = [[("zu", "ADP"), ("dem", "DET")], [("a b", "X"), ("\u2028", "SYM")]]
    assert sentences(write(text)) == expected
    assert sentences(write(text.replace("\n", "\r\n"))) == expected


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("2\tfew\t_\tNOUN\n", "line 4: 4 columns instead of CoNLL-U's 10"),
        (word(2, "x", "NOMEN"), "line 4: tag 'NOMEN' is not one of ADJ, ADP"),
        (word(2, "x", "_"), "line 4: tag '_' is not one of"),
        (word("2x", "x", "NOUN"), "line 4: '2x' is not the number of a word"),
    ],
)
def test_a_malformed_conllu_line_is_named(line, message, write):
    path = write("# text\n" + word(1, "one", "NUM") + word("1.1", "e", "_") + line)
    with pytest.raises(UserError, match=f"^{path}, {message}"):
        sentences(path)


TOKEN = FIELD.filter(lambda form: form.strip() != "")
SENTENCE = st.lists(st.tuples(TOKEN, st.sampled_from(udpos.TAGS)), min_size=1)


@given(st.lists(SENTENCE, min_size=1), st.sampled_from(["\n", "\r\n"]), st.integers(1, 3))
@settings(max_examples=60, deadline=None)
def test_conllu_comes_back_as_it_was_written(scratch, treebank, end, blank_lines):
    blocks = ("".join(word(i, *pair) for i, pair in enumerate(words, 1)) + "\n" * blank_lines for words in treebank)
    scratch.write_bytes("".join(blocks).replace("\n", end).encode())
    assert sentences(scratch) == treebank


def test_treebanks_of_a_language_are_joined_in_sorted_order(write, tmp_path):
    for treebank in ("PUD", "GSD", "HDT"):
        write(word(1, treebank, "PROPN"), f"ud/UD_German-{treebank}/de_{treebank.lower()}-ud-test.conllu")
    write(word(1, "not German", "X"), "ud/UD_Danish-DDT/da_ddt-ud-test.conllu")
    rows, files = load_rows(udpos.TASK.source, "test", "de", str(tmp_path))
    assert [row["tokens"] for row in rows] == [["GSD"], ["HDT"], ["PUD"]]
    assert files == [f"ud/UD_German-{t}/de_{t.lower()}-ud-test.conllu" for t in ("GSD", "HDT", "PUD")]


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


def test_a_missing_file_is_named_with_its_path(tmp_path):
    with pytest.raises(MissingData, match=f"no file {tmp_path}/xnli/test-de.tsv"):
        load_rows(xnli.TASK.source, "test", "de", str(tmp_path))
    with pytest.raises(MissingData, match="declares no train split"):
        load_rows(xnli.TASK.source, "train", "de", str(tmp_path))


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
        if isinstance(hub.answer, Exception):
            raise hub.answer
        return hub.answer

    monkeypatch.setattr(sources, "load_dataset", load_dataset)
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
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_the_hub_is_asked_for_its_own_names(task, language, asked, hub):
    hub.answer = Dataset.from_dict({column: [] for column in task.source.features}, features=task.source.features)
    load_rows(task.source, next(iter(task.source.splits)), language)
    assert hub.asked[0][:2] == asked


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
        ({**xnli.TASK.source.features, "label": Value("int64")}, "numbers the labels of 'label' as None"),
    ],
    ids=["column missing", "other order", "no names"],
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
