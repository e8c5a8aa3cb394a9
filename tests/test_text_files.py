"""Text, JSON in it and the shapes of values: what is wrong is named in one line, where it is."""

import json

import pytest
from datasets import ClassLabel, Features, Sequence, Value

from tasks import copa, hellaswag, panx, udpos
from xstilts.base import UserError
from xstilts.examples import load_examples
from xstilts.offsets import MISPLACED, in_place
from xstilts.readers import label_index, whole_number
from xstilts.shapes import Each, IfThere, Maybe, misfit, shape_of
from xstilts.text_files import decoded, numbered_lines, parse_json, text_of


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_the_byte_that_is_not_utf_8_is_counted_from_the_beginning_of_the_file(end, write):
    content = f"\ufeffone{end}two{end}thr".encode()
    path = write(content + b"\xffee\n")
    for read in (text_of, lambda path: list(numbered_lines(path))):
        with pytest.raises(UserError, match=rf"{path}, line 3: not UTF-8 \(byte {len(content)}\)"):
            read(path)


def test_text_without_its_mark(write):
    assert text_of(write("\ufeffa\r\nb\ufeff")) == "a\r\nb\ufeff"
    assert decoded(b"", "nothing") == ""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": "\\ud800"}', r"half of a surrogate pair, '\\ud800'"),
        ('{"\\udc00": 1}', r"half of a surrogate pair, '\\udc00'"),
        ('{"a": 1, "b": {"c": 1, "c": 2}}', "the key 'c' stands there twice"),
        ('{"a": ' + "9" * 5_000 + "}", "Exceeds the limit"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a": ' * 100_000, "nested too deeply"),
        ('{"a": 1', "Expecting"),
    ],
)
def test_what_is_no_json_is_named(text, message):
    with pytest.raises(UserError, match=rf"^file, line 7: not valid JSON \({message}") as error:
        parse_json(text, "file", 7)
    assert "\n" not in str(error.value)


def test_what_is_unusual_json_is_read():
    assert parse_json('{"a": "\\ud83d\\ude00 \\u0000 \\\\ud800"}', "file") == {"a": "\U0001f600 \0 \\ud800"}


@pytest.mark.parametrize(
    ("value", "shape", "message"),
    [
        (1, str, "the content is 1, not text"),
        (True, int, "the content is True, not a whole number"),
        (None, str, "the content is null, not text"),
        (9, range(-5, 5), "the content is 9, not a whole number from -5 to 4"),
        ({"a": [{"b": []}, {"b": {}}]}, {"a": [{"b": [str]}]}, "'a[1].b' is an object, not a list"),
        ({"a": [{}]}, {"a": [{"b": str}]}, "'a[0]' has no 'b'"),
        ({}, {"b": str}, "no 'b'"),
        ({"a": None}, {"a": IfThere(str)}, "'a' is null, not text"),
        ({"x": {"y": "z"}}, Each(Each(float)), "'x.y' is text, not a number"),
    ],
)  # fmt: skip
def test_the_first_thing_that_does_not_fit_is_named(value, shape, message):
    assert misfit(value, shape) == message


def test_what_fits():
    shape = {"a": [Maybe(float)], "b": Maybe(str), "c": IfThere(dict), "d": object}
    assert misfit({"a": [1, None, 2.5], "d": [], "e": 3}, shape) == ""
    assert misfit({"a": [], "b": None, "c": {}, "d": None}, shape) == ""


def test_shapes_of_columns():
    columns = Features(
        text=Value("string"), label=ClassLabel(names=["a", "b"]), tags=Sequence(ClassLabel(names=["a"])),
        answers=Sequence({"text": Value("string"), "answer_start": Value("int32")}), pairs=[[Value("int64")]],
    )  # fmt: skip
    expected = {"text": str, "label": range(-1, 2), "tags": [range(-1, 1)], "pairs": [[range(-(2**63), 2**63)]]}
    assert shape_of(columns) == {**expected, "answers": {"text": [str], "answer_start": [range(-(2**31), 2**31)]}}


@pytest.mark.parametrize("label", [True, 1.0, "1", None, [1], 2])
def test_a_label_of_another_type_is_none(label):
    assert label_index(1, (0, 1), "file", 3) == 1
    with pytest.raises(UserError, match=r"file, line 3: label .* is not one of 0, 1"):
        label_index(label, (0, 1), "file", 3)


@pytest.mark.parametrize("text", ["", "x", "1.0", "١", "1_000", "9" * 5_000, " 1"])
def test_what_is_no_whole_number(text):
    assert whole_number("-12", "id", "file", 3) == -12
    with pytest.raises(UserError, match=r"file, line 3: 'id' is '.*', not a whole number"):
        whole_number(text, "id", "file", 3)


# ---- words that are lost --------------------------------------------------------------------------------------------


def tree(*numbers):
    """A sentence of CoNLL-U, of words with these numbers."""
    return "".join(f"{number}\tw\t_\tX" + "\t_" * 6 + "\n" for number in numbers) + "\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (tree(1, 3), "line 2: word 3 of a sentence follows 1 words; lines are missing"),
        (tree(1, 2).strip("\n") + "\n" + tree(1), "line 3: word 1 of a sentence follows 2 words"),
        (tree(1) + tree(2), "line 3: word 2 of a sentence follows 0 words"),
        (tree(1).strip("\n") + "\n#\tw\n", "line 2: a comment inside a sentence"),
    ],
)
def test_lost_lines_of_a_treebank_are_noticed(text, message, write):
    path = write(text)
    with pytest.raises(UserError, match=f"{path}, {message}"):
        list(udpos.SOURCE.read(path, udpos.SOURCE.features))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1\ta\tO\n3\tb\tO\n", "line 2: word 3 of a sentence follows 1 words"),
        ("a\tO\n#O\nb\tO\n", "line 2: '#O' has no tag"),
    ],
)
def test_lost_words_of_named_entities_are_noticed(text, message, write):
    path = write(text)
    with pytest.raises(UserError, match=f"{path}, {message}"):
        list(panx.TASK.source.read(path, panx.TASK.source.features))


# ---- examples -------------------------------------------------------------------------------------------------------


def test_a_choice_too_few_names_the_row(write, tmp_path):
    row = {"ctx_a": "A man", "ctx_b": "he", "endings": ["a", "b", "c", "d"], "label": 1}
    write(
        "".join(json.dumps({**row, "endings": row["endings"][:n]}) + "\n" for n in (4, 3)),
        "hellaswag/hellaswag_train.jsonl",
    )
    with pytest.raises(UserError, match=r"hellaswag, train row 2 \(.*hellaswag_train.jsonl\): 3 choices instead of 4"):
        load_examples(hellaswag.TASK, "train", "en", str(tmp_path))


@pytest.mark.parametrize("value", [3, None, True, ["x"], {"a": "b"}, 10**30])
def test_text_is_text(value, write, tmp_path):
    """A number was read as its digits, and `true` as `true`."""
    row = {"premise": "x", "choice1": "y", "choice2": value, "question": "cause", "label": 0, "idx": 0}
    path = write(json.dumps(row), "copa/train.jsonl")
    with pytest.raises(UserError, match=f"{path}(: row 1: .*'choice2' is .*, not text|, line 1: no 'choice2')"):
        load_examples(copa.TASK, "train", "en", str(tmp_path))


def test_an_answer_before_the_beginning_is_misplaced():
    answers = {"text": ["end"], "answer_start": [-3]}
    assert in_place({"context": "the end", "answers": answers})[1] == MISPLACED
