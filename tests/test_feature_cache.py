"""Features are made once and read from a file afterwards: under the same name only if they would be the same."""

import gc
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import datasets
import pyarrow
import pytest
from conftest import ROOT, tiny_tokenizer
from datasets import Dataset
from transformers import AutoTokenizer

from tasks import load_task
from xstilts import arrow_files, feature_cache, tagging
from xstilts.base import UserError
from xstilts.examples import Examples, featurize, fingerprint, joined, load_examples, record_of
from xstilts.readers import numbered_lines

made = []  # sentences that `counted_features` was called with
UDPOS = load_task("udpos")
LENGTHS = {"max_seq_length": 16}
WORDS = [["the", "man", "."], ["on", "the", "stone"], ["a" * 40, "b"]]


def counted_features(batch, indices, **options):
    """Features of tagging; keeps what they were made of."""
    made.extend(batch["tokens"])
    return tagging.features(batch, indices, **options)


def refused(batch, indices, tokenizer, labels, max_seq_length):
    """No features."""
    raise UserError(f"--max_seq_length {max_seq_length} is too small")


COUNTED = replace(UDPOS, type=replace(UDPOS.type, features=counted_features))


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """The folder that files are kept in."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    made.clear()
    return tmp_path / "cache" / "xstilts"


def examples(sentences=WORDS, language="en", task=UDPOS):
    rows = [{"tokens": words, "tags": ["X"] * len(words)} for words in sentences]
    return Examples(Dataset.from_list(rows), (record_of(task.name, rows, "train", language, None, []),))


def digest(tokenizer, function=tagging.features, content=("0",), **options):
    wanted = {"tokenizer": tokenizer, "labels": ["X", "NOUN"], "max_seq_length": 16, **options}
    return feature_cache.digest_of(list(content), function, wanted)


# ---- made once ------------------------------------------------------------------------------------------------------


def test_the_second_time_features_are_read(tokenizer, folder):
    first = featurize(COUNTED, examples(), tokenizer, LENGTHS)
    assert made == WORDS
    again = featurize(COUNTED, examples(), tiny_tokenizer(), LENGTHS)
    assert made == WORDS
    assert first[:] == again[:]
    assert first.features == again.features
    assert again.cache_files == [{"filename": str(folder / f"{only(folder)}")}]


def only(folder):
    (name,) = os.listdir(folder)
    return name


def test_the_file_says_what_it_holds(tokenizer, folder):
    featurize(UDPOS, examples(), tokenizer, LENGTHS)
    assert only(folder).startswith("udpos-train-en-")
    several = joined([examples(), examples(language="de")])
    featurize(UDPOS, several, tokenizer, LENGTHS)
    assert sorted(os.listdir(folder))[0].startswith("udpos-train-2-languages-")


def test_they_are_what_the_type_makes(tokenizer):
    wanted = tagging.features(examples().rows[:], [0, 1, 2], tokenizer, list(UDPOS.labels), 16)
    for _ in range(2):
        assert featurize(UDPOS, examples(), tokenizer, LENGTHS)[:] == wanted


@pytest.mark.parametrize(
    "other",
    [
        lambda: joined([examples(WORDS[:1]), examples(WORDS[1:][::-1])]),
        lambda: examples(WORDS[::-1]),
        lambda: examples(WORDS[:2]),
        lambda: replace(examples(WORDS[:2]), records=examples().records),
    ],
    ids=["other parts", "other order", "fewer", "the records of others"],
)
def test_other_rows_have_other_features(other, tokenizer):
    featurize(COUNTED, examples(), tokenizer, LENGTHS)
    made.clear()
    found = featurize(COUNTED, other(), tokenizer, LENGTHS)
    assert made == other().rows["tokens"][:]
    assert found[:] == tagging.features(other().rows[:], [*range(len(other()))], tokenizer, list(UDPOS.labels), 16)


def test_rows_without_a_fingerprint_are_told_apart(tokenizer):
    record = {"split": "train", "language": "en", "rows": 3}
    for sentences in (WORDS, WORDS[::-1], WORDS):
        featurize(COUNTED, replace(examples(sentences), records=(record,)), tokenizer, LENGTHS)
    assert made == WORDS + WORDS[::-1]


def no_pieces(batch, indices, tokenizer, labels, max_seq_length):
    """Features of no example."""
    return {"input_ids": [], "example": []}


def every_other(batch, indices, tokenizer, labels, max_seq_length):
    """Features of every second batch of examples; keeps the first index of each."""
    made.append(indices[0])
    few = range(0) if indices[0] // arrow_files.BATCH % 2 == 0 else range(len(indices))
    return {"input_ids": [[i, 300_000] for i in few], "attention_mask": [[1, 0] for _ in few], "example": [*few]}


def with_features(function):
    return replace(UDPOS, type=replace(UDPOS.type, features=function))


def test_batches_without_features_are_passed_over(tokenizer):
    many = examples([["a"]] * (3 * arrow_files.BATCH))
    found = featurize(with_features(every_other), many, tokenizer, LENGTHS)
    assert found["example"][:] == [*range(arrow_files.BATCH)]
    assert made == [0, arrow_files.BATCH, 2 * arrow_files.BATCH], "nothing is made twice"
    assert found["input_ids"][7] == [7, 300_000]
    assert str(found.features["attention_mask"].feature.dtype) == "int8"
    with pytest.raises(UserError, match="udpos-train-en: the tokenizer knows no piece of its 3 examples"):
        featurize(with_features(no_pieces), examples(), tokenizer, LENGTHS)


@pytest.mark.parametrize("before", [True, False])
def test_the_garbage_collector_is_left_as_it_was(before, tokenizer):
    seen = []

    def looking(batch, indices, **options):
        seen.append(gc.isenabled())
        return tagging.features(batch, indices, **options)

    (gc.enable if before else gc.disable)()
    try:
        featurize(with_features(looking), examples(), tokenizer, LENGTHS)
        with pytest.raises(UserError):
            featurize(with_features(refused), examples(), tokenizer, LENGTHS)
        assert (seen, gc.isenabled()) == ([False], before)
    finally:
        gc.enable()


def test_errors_come_through_and_leave_nothing_behind(tokenizer, folder):
    task = with_features(refused)
    with pytest.raises(UserError, match="--max_seq_length 16 is too small"):
        featurize(task, examples(), tokenizer, LENGTHS)
    assert os.listdir(folder) == []


# ---- the name -------------------------------------------------------------------------------------------------------


def test_the_name_does_not_depend_on_where_a_tokenizer_is_from_and_what_it_did(tmp_path):
    new = digest(tiny_tokenizer())
    used = tiny_tokenizer()
    used(["the man", "on"], truncation=True, max_length=3, padding=True)
    assert digest(used) == new
    used.save_pretrained(tmp_path / "saved")
    assert digest(AutoTokenizer.from_pretrained(tmp_path / "saved")) == new


def test_another_process_finds_the_same_name():
    code = "from test_feature_cache import digest, tiny_tokenizer; print(digest(tiny_tokenizer()))"
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == digest(tiny_tokenizer())


def changed(**attributes):
    tokenizer = tiny_tokenizer()
    for name, value in attributes.items():
        setattr(tokenizer, name, value)
    return tokenizer


def with_token():
    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens(["stone"])
    return tokenizer


@pytest.mark.parametrize(
    "other",
    [
        lambda: digest(with_token()),
        lambda: digest(changed(truncation_side="left")),
        lambda: digest(changed(split_special_tokens=True)),
        lambda: digest(changed(unk_token="<pad>")),
        lambda: digest(changed(model_input_names=["input_ids"])),
        lambda: digest(tiny_tokenizer(), labels=["NOUN", "X"]),
        lambda: digest(tiny_tokenizer(), max_seq_length=17),
        lambda: digest(tiny_tokenizer(), doc_stride=1),
        lambda: digest(tiny_tokenizer(), content=("1",)),
        lambda: digest(tiny_tokenizer(), content=("0", "0")),
        lambda: digest(tiny_tokenizer(), function=tagging.windows),
    ],
)
def test_the_name_depends_on_all_that_features_depend_on(other):
    assert other() != digest(tiny_tokenizer())


def test_the_name_depends_on_the_versions_of_libraries(monkeypatch):
    before = digest(tiny_tokenizer())
    monkeypatch.setattr(feature_cache, "version", {"tokenizers": "0.0"}.get)
    assert digest(tiny_tokenizer()) != before


@pytest.fixture
def package(write, tmp_path, monkeypatch):
    """A user's package: a type of its own that uses a module of its own and one of ours."""
    monkeypatch.syspath_prepend(tmp_path)
    write("", "mine/__init__.py")
    write("ROOM = 8\n", "mine/sizes.py")
    write("from mine.sizes import ROOM\nfrom xstilts import offsets\n\ndef features():\n    pass\n", "mine/kind.py")
    yield tmp_path / "mine"
    for name in ("mine", "mine.sizes", "mine.kind"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("file", ["kind.py", "sizes.py"])
def test_the_name_depends_on_the_code_and_on_what_it_imports(file, package):
    from mine.kind import features

    before = digest(tiny_tokenizer(), features)
    (package / file).write_text((package / file).read_text() + "# changed\n")
    feature_cache.code_of.cache_clear()
    assert digest(tiny_tokenizer(), features) != before
    files = [os.path.basename(path) for path, *_ in feature_cache.code_of("mine.kind")]
    assert {"kind.py", "sizes.py", "offsets.py", "messages.py"} <= {*files}
    assert "feature_cache.py" not in files


def test_features_of_code_that_was_changed_while_it_ran_are_not_kept(package, tokenizer, folder, capsys, monkeypatch):
    from mine.kind import features

    monkeypatch.setattr(feature_cache, "STARTED", time.time() + 3600)
    assert feature_cache.changed_code(features.__module__) is None
    os.utime(package / "sizes.py", (0, time.time() + 7200))
    feature_cache.code_of.cache_clear()
    assert feature_cache.changed_code(features.__module__) == str(package / "sizes.py")
    monkeypatch.setattr(feature_cache, "changed_code", lambda module: "sizes.py")
    for _ in range(2):
        featurize(COUNTED, examples(), tokenizer, LENGTHS)
    assert made == WORDS * 2
    assert not folder.exists()
    assert "sizes.py was changed while it ran: features are not kept" in capsys.readouterr().out


# ---- files ----------------------------------------------------------------------------------------------------------


def numbers(path):
    """Five numbers in batches of two, in a file if there is a path."""
    return arrow_files.write(path, lambda: (pyarrow.table({"number": each}) for each in ([0, 1], [2, 3], [4])))


def test_a_data_file_that_cannot_be_read_is_not_blamed_on_the_folder(folder, tmp_path, capsys):
    def compute(path):
        (tmp_path / "data.tsv").read_text("utf-8")

    for keep in (arrow_files.kept, arrow_files.passing):
        with pytest.raises(FileNotFoundError, match=r"data\.tsv"):
            keep("numbers", compute)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("cut", [1, 4, 8, 9, 100, 300, 500, 10**6])
def test_a_file_that_breaks_off_is_named_and_made_anew(cut, folder, capsys):
    whole = arrow_files.kept("numbers", numbers)[:]
    path = folder / "numbers.arrow"
    content = path.read_bytes()
    path.write_bytes(content[:-cut] if cut < len(content) else b"")
    assert arrow_files.kept("numbers", numbers)[:] == whole
    assert f"{path} cannot be read (" in capsys.readouterr().out
    assert path.read_bytes() == content
    assert arrow_files.kept("numbers", None)[:] == whole


def test_a_file_that_ends_between_two_batches_is_not_taken_for_whole(folder, capsys):
    """Arrow reads such a file without a word: it takes the end of the file for the end of the rows."""
    arrow_files.kept("numbers", numbers)
    path = folder / "numbers.arrow"
    path.write_bytes(path.read_bytes()[: -len(arrow_files.END) - arrow_files.SEAL])
    assert len(Dataset.from_file(str(path))) == 5
    assert arrow_files.whole(str(path)) is None
    assert "it breaks off" in capsys.readouterr().out


def test_what_is_no_arrow_file_is_made_anew(folder):
    folder.mkdir(parents=True)
    (folder / "numbers.arrow").write_bytes(b"not Arrow, but ends as if" + arrow_files.END + bytes(arrow_files.SEAL))
    assert len(arrow_files.kept("numbers", numbers)) == 5


def test_where_nothing_can_be_written_features_are_in_memory(tokenizer, folder, capsys):
    folder.parent.write_text("a file in the place of the folder")
    found = featurize(COUNTED, examples(), tokenizer, LENGTHS)
    assert found.cache_files == []
    assert len(found) == 4
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"{folder} keeps no file (")
    assert line.endswith("HF_DATASETS_CACHE names another folder")


def test_a_full_disk_leaves_features_in_memory(folder, capsys):
    def compute(path):
        if path:
            raise OSError(28, "No space left on device")
        return numbers(None)

    assert len(arrow_files.kept("numbers", compute)) == 5
    assert "No space left on device" in capsys.readouterr().out
    assert os.listdir(folder) == []


def test_jobs_at_once_read_the_file_of_the_first(folder):
    inodes = []

    def compute(path):
        time.sleep(0.05)  # so that all have begun before the first is done
        return numbers(path)

    def job(number):
        found = arrow_files.kept("numbers", compute)
        inodes.append(os.stat(folder / "numbers.arrow").st_ino)
        return found[:]

    with ThreadPoolExecutor(8) as pool:
        found = [*pool.map(job, range(8))]
    assert found == [numbers(None)[:]] * 8
    assert len({*inodes}) == 1
    assert os.listdir(folder) == ["numbers.arrow"]


def test_without_links_files_are_replaced(folder, monkeypatch):
    monkeypatch.setattr(os, "link", lambda *paths: (_ for _ in ()).throw(PermissionError(1, "no links")))
    assert len(arrow_files.kept("numbers", numbers)) == 5
    assert os.listdir(folder) == ["numbers.arrow"]


# ---- rows -----------------------------------------------------------------------------------------------------------


def test_a_type_that_the_first_batches_do_not_tell():
    batches = [[{"text": [], "start": []}], [{"text": ["x"], "start": [3]}], [{"text": [], "start": []}]]
    tables = [pyarrow.table({"answers": each, "name": ["a"]}) for each in batches]
    found = arrow_files.write(None, lambda: iter(tables))
    assert found["answers"][:] == [each for (each,) in batches]
    assert len(arrow_files.write(None, lambda: iter(()))) == 0
    with pytest.raises(TypeError, match="incompatible types"):
        arrow_files.write(None, lambda: iter([tables[0], pyarrow.table({"answers": [1], "name": ["a"]})]))


def test_rows_come_in_batches_as_they_come_one_by_one():
    rows = [{"text": f"{i}", "tags": ["a"] * (i % 3), "answers": {"text": [], "at": [i]}} for i in range(2_500)]
    found = Dataset.from_list(rows)
    assert [*arrow_files.rows_of(found)] == [*found] == rows
    assert [*arrow_files.rows_of(found.select([7, 3, 2_400]))] == [rows[7], rows[3], rows[2_400]]


def squad_file(write, count):
    """`count` questions, of which only the last has an answer; the second has the first one's id, in training."""
    last = {"id": "last", "question": "who", "answers": [{"text": "Chopin", "answer_start": 0}]}
    ids = ["0", "0", *map(str, range(2, count - 1))]
    questions = [*({"id": name, "question": "who", "answers": []} for name in ids), last]
    articles = [
        {"title": f"{i % 40}", "paragraphs": [{"context": "Chopin", "qas": [question]}]}
        for i, question in enumerate(questions)
    ]
    write(json.dumps({"data": articles}), "squad/train-v1.1.json")


@pytest.mark.parametrize("writable", [True, False])
def test_examples_that_are_written_again_are_counted_once(writable, write, tmp_path, folder, capsys):
    if not writable:
        folder.parent.write_text("a file in the place of the folder")
    squad_file(write, 2_500)
    task = replace(load_task("squad"), held_out_by=None)
    found = load_examples(task, "train", "en", str(tmp_path))
    assert len(found) == 2_500
    assert [found.rows["id"][i] for i in (0, 1, 2, 2_499)] == ["0", "0#2", "2", "last"]
    assert found.rows["answers"][2_498:] == [
        {"text": [], "answer_start": []},
        {"text": ["Chopin"], "answer_start": [0]},
    ]
    (record,) = found.records
    assert record["irregular"] == {"repeated ids in training, renumbered": 1}
    assert record["fingerprint"] == fingerprint(found.rows)
    assert (record["rows"], record["left_out"]) == (2_500, 0)
    assert ("keeps no file" in capsys.readouterr().out) != writable


def test_rows_of_a_full_disk_are_read_again_into_memory_and_counted_once(write, tmp_path, folder, monkeypatch, capsys):
    write(word_line(1) + word_line(2).replace("NOUN", "_") + word_line(3), "ud/UD_English-X/en_x-ud-train.conllu")
    whole = load_examples(UDPOS, "train", "en", str(tmp_path))
    monkeypatch.setattr(
        Dataset, "from_file", lambda path: (_ for _ in ()).throw(OSError(28, "No space left on device"))
    )
    found = load_examples(UDPOS, "train", "en", str(tmp_path))
    assert found.records == whole.records
    assert found.records[0]["irregular"] == {"sentences without tags": 1}
    assert found.rows[:] == whole.rows[:]
    assert capsys.readouterr().out.count("No space left on device") <= 1
    assert os.listdir(folder) == []


def test_files_of_rows_and_examples_pass_with_the_process(write, tmp_path, folder):
    squad_file(write, 60)
    both = [load_examples(load_task("squad"), split, "en", str(tmp_path)) for split in ("train", "validation")]
    assert sum(map(len, both)) == 60
    assert os.listdir(folder) == []


def test_the_first_examples_are_those_of_all_and_the_rest_is_not_converted(write, tmp_path):
    write("".join(word_line(i) for i in range(3_000)), "ud/UD_English-X/en_x-ud-train.conllu")
    converted = []

    def to_example(row):
        converted.append(row)
        return UDPOS.to_example(row)

    few = load_examples(replace(UDPOS, to_example=to_example), "train", "en", str(tmp_path), 1_500)
    assert few.rows["tokens"][:] == [[f"w{i}"] for i in range(1_500)]
    assert (len(converted), few.records[0]["left_out"]) == (1_500, 0)


def word_line(number):
    return f"1\tw{number}\t_\tNOUN\t_\t_\t_\t_\t_\t_\n\n"


def test_lines_are_read_one_by_one(write):
    lines = numbered_lines(write(b"\xef\xbb\xbfone\ntwo\r\nthr\xffee\n", "late.txt"))
    assert [next(lines), next(lines)] == [(1, "one"), (2, "two")]
    with pytest.raises(UserError, match=r"late\.txt, line 3: not UTF-8 \(byte 15\)"):
        next(lines)
