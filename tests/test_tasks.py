"""Every file of tasks/ is tested on arrival, with invented rows in tests/fixtures/<task>.jsonl.

A line there is {"row": the hub's columns, "example": what the row becomes (null: it is left out), "file": the same row in the
official file}; "file-train" is the file of a split that has a form of its own, "file-train-0" of several the first. It is
text for lines of a text file, of which the first has the header, a pair [foreign, English] for aligned files, an article for
SQuAD JSON, an object for JSON lines.
A retrieval task has no `to_example`: its example is the row. A task made of others has no fixture: theirs are tested.
"""

import copy
import hashlib
import importlib
import json
import re
import sys
from itertools import chain
from pathlib import Path

import pytest
from datasets import Dataset

import tasks
from tasks import anli, anli_plus, load_task, load_tasks, mlqa, mnli, snli, task_names, tatoeba, udpos
from xstilts import qa
from xstilts.base import UserError
from xstilts.examples import load_examples
from xstilts.languages import load_languages, load_sentences
from xstilts.metrics import score
from xstilts.official_files import FirstOf, patterns
from xstilts.readers import Dropped
from xstilts.sources import load_raw, load_rows
from xstilts.task import RetrievalTask, Task, of_benchmark
from xstilts.xtreme import BENCHMARKS, tasks_of

FIXTURES = Path(__file__).parent / "fixtures"


@pytest.fixture(params=task_names())
def task(request):
    """The declaration of every file of tasks/ that has a fixture, and so rows of its own."""
    if getattr(declaration(request.param), "parts", ()):
        pytest.skip("its parts are tested")
    if not (FIXTURES / f"{request.param}.jsonl").exists():
        pytest.skip(f"tests/fixtures/{request.param}.jsonl is missing: with lines {{row, example, file}} it is tested")
    return declaration(request.param)


@pytest.fixture
def lines(task):
    """The lines of the task's fixture."""
    return [json.loads(line) for line in (FIXTURES / f"{task.name}.jsonl").read_text("utf-8").splitlines()]


def declaration(name):
    """The task of a file, of whatever kind."""
    return load_task(name, kind=(Task, RetrievalTask))


def example_of(task, row):
    """What a raw row becomes."""
    return task.to_example(row) if isinstance(task, Task) else row


def official_files(task, lines):
    """(split, path below the data folder, entries of the file) of every form a fixture shows."""
    for key in (key for key in lines[0] if key.startswith("file")):
        _, split, form, *_ = [*key.split("-"), "", ""]
        split = split or next(iter(task.source.files))
        found = patterns(task.source, split, task.languages[0])
        for pattern in found if form == "" else [found[int(form)]]:
            path = re.sub(r"\[(.)[^]]*\]", r"\1", pattern).replace("*", "x")
            yield split, path, [line[key] for line in lines]


def as_tuple(files):
    """One pattern or several, as several."""
    return files.templates if isinstance(files, FirstOf) else (files,) if isinstance(files, str) else files


def kept(lines):
    """The examples of a fixture."""
    return [line["example"] for line in lines if line["example"] is not None]


def no_reason(example):
    """An example; None where there is none, as fixtures have it."""
    return None if isinstance(example, Dropped) else example


def write_official(path, lines):
    """Write the "file" entries of a fixture into one official file."""
    path.parent.mkdir(parents=True)
    if isinstance(lines[0], list):
        for side, where in enumerate((path, path.with_suffix(".eng"))):
            where.write_text("".join(f"{line[side]}\n" for line in lines), encoding="utf-8")
    elif isinstance(lines[0], str):
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="")
    elif "paragraphs" in lines[0]:
        path.write_text(json.dumps({"version": "1.1", "data": lines}), encoding="utf-8")
    else:
        path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def test_rows_of_the_hub_become_the_expected_examples(task, lines):
    rows = Dataset.from_list([line["row"] for line in lines], features=task.source.features)
    for row, line in zip(rows, lines, strict=True):
        before = copy.deepcopy(row)
        assert no_reason(example_of(task, row)) == line["example"]
        assert row == before, "to_example must not change its row"


def test_the_official_file_gives_the_same_rows_as_the_hub(task, lines, tmp_path):
    forms = list(official_files(task, lines))
    if not forms:
        pytest.skip(f"tests/fixtures/{task.name}.jsonl shows no official file")
    for number, (split, path, content) in enumerate(forms):
        folder = tmp_path / str(number)
        write_official(folder / path, content)
        rows, files = load_rows(task.source, split, task.languages[0], str(folder))
        assert files == [path]
        assert rows.features == task.source.features
        assert list(rows) == list(Dataset.from_list([line["row"] for line in lines], features=task.source.features))
        assert [no_reason(example_of(task, row)) for row in rows] == [line["example"] for line in lines]


def test_examples_have_the_columns_and_labels_that_are_declared(task, lines):
    columns = task.type.columns if isinstance(task, Task) else ("source_sentence", "target_sentence")
    for example in kept(lines):
        assert set(example) == set(columns)
        labels = {*example.get("tags", ()), example.get("label")} - {None}
        assert not labels or labels <= {*task.labels} or task.open_labels


def test_a_declaration_is_complete(task):
    source = task.source
    searched = {"test"} if getattr(task, "retrieval", None) else set()
    assert set(source.splits) == set(source.files) >= {split.split("-")[0] for split in task.sizes} - searched
    for template in [*chain.from_iterable(map(as_tuple, source.files.values())), source.config or ""]:
        assert "{" not in template.format(language="xx", name="Xish", context="xx", question="yy")
    assert len(set(task.languages)) == len(task.languages)
    assert set(task.languages) <= set(source.names or task.languages)
    assert len(set(source.names.values())) == len(source.names), "two languages with one name"


def test_a_perfect_prediction_scores_100(task, lines):
    gold = [task.type.gold(example) if isinstance(task, Task) else "0" for example in kept(lines)]
    predictions = [perfect(task, reference) for reference in gold]
    assert score(task.metric, predictions, gold, task.languages[0])[task.metric.headline] == 100


def perfect(task, reference):
    """The prediction that equals a reference."""
    if isinstance(task, Task) and task.type is qa.TYPE_WITH_NULL:
        return {"text": reference[0] if reference else "wrong", "null_odds": 0.0 if reference else 1.0}
    return reference[0] if isinstance(task, Task) and task.type is qa.TYPE else reference


def test_a_task_can_be_trained_and_selected(task):
    if isinstance(task, RetrievalTask):
        pytest.skip("nothing is trained")
    teacher = task.train_on or task
    assert "train" in teacher.splits
    assert "validation" in {*teacher.splits, *task.splits}
    assert teacher.held_out_by is None or teacher.held_out_by in teacher.source.features
    assert (task.type, task.labels) == (teacher.type, teacher.labels)
    assert len(set(task.labels)) == len(task.labels)
    assert '{"' in (task.to_example.__doc__ or ""), "the docstring of to_example shows a row"


def test_anli_plus_is_its_parts():
    task, parts = anli_plus.TASK, (mnli.TASK, snli.TASK, anli.TASK)
    assert task.parts == parts
    assert task.source is None
    assert task.to_example is None
    assert {(part.type, part.labels, part.metric) for part in parts} == {(task.type, task.labels, task.metric)}
    without_gold = {"train": 785, "validation": 158}
    found = {split: sum(part.sizes[split] for part in parts) - lost for split, lost in without_gold.items()}
    assert found == task.sizes == {"train": 1_104_934, "validation": 22_857}


XNLI = "ar bg de el en es fr hi ru sw th tr ur vi zh"
UDPOS = "af ar bg de el en es et eu fa fi fr he hi hu id it ja kk ko mr nl pt ru ta te th tl tr ur vi yo zh"
XQUAD = "en es de el ru tr ar vi th zh hi"
PAWSX = "de en es fr ja ko zh"
PANX = """ar he vi id jv ms tl eu ml ta te af nl en de el bn hi mr ur fa fr it pt es bg ru ja ka ko th sw yo my zh kk tr et fi
    hu"""
MLQA = "en es de ar hi vi zh"
TYDIQA = "en ar bn fi id ko ru sw te"
XCOPA = "et ht id it qu sw ta th tr vi zh"
TATOEBA = "ar he vi id jv tl eu ml ta te af nl de el bn hi mr ur fa fr it pt es bg ru ja ka ko th sw zh kk tr et fi hu"


@pytest.mark.parametrize(
    ("name", "xtreme", "added_by_xtreme_r"),
    [
        ("xnli", XNLI, ""),
        ("udpos", UDPOS, "lt pl ro uk wo"),
        ("xquad", XQUAD, "ro"),
        ("pawsx", PAWSX, ""),
        ("panx", PANX, "qu pl uk az lt pa gu ro"),
        ("mlqa", MLQA, ""),
        ("tydiqa", TYDIQA, ""),
        ("xcopa", "", XCOPA),
        ("lareqa", "", "ar de el en es hi ru th tr vi zh"),
        ("mewslix", "", "ar de en es fa ja pl ro ta tr uk"),
        ("tatoeba", TATOEBA, "az lt pl ro uk"),
    ],
)
def test_languages_are_those_of_the_benchmarks(name, xtreme, added_by_xtreme_r):
    assert sorted(declaration(name).languages) == sorted([*xtreme.split(), *added_by_xtreme_r.split()])


@pytest.mark.parametrize("benchmark", BENCHMARKS)
def test_a_benchmark_has_its_own_languages_english_first(benchmark):
    for name in {*tasks_of(benchmark)} & {*task_names()}:
        languages = of_benchmark(declaration(name), benchmark).languages
        assert sorted(languages) == sorted(tasks_of(benchmark)[name].languages)
        assert languages[0] == "en" or "en" not in languages


def test_the_benchmarks_have_their_own_release_of_universal_dependencies():
    earlier, later = (of_benchmark(udpos.TASK, benchmark) for benchmark in ("xtreme", "xtreme-r"))
    assert earlier.source.files == udpos.TASK.source.files
    assert earlier.sizes == udpos.TASK.sizes
    assert patterns(later.source, "test", "wo") == ["ud-2.7/UD_*/wo_*-ud-test.conllu"]
    assert (later.source.hub, later.source.config, later.sizes) == ("izhx/xtreme-r-udpos", "{language}", {})
    assert (later.labels, later.source.features) == (earlier.labels, earlier.source.features)


def test_what_is_the_same_in_both_benchmarks_has_no_variant():
    assert of_benchmark(mlqa.TASK, "xtreme").source is of_benchmark(mlqa.TASK, "xtreme-r").source
    assert "az" in of_benchmark(tatoeba.TASK, "xtreme-r").languages
    with pytest.raises(UserError, match="xtreme has no task 'mnli'"):
        of_benchmark(mnli.TASK, "xtreme")
    with pytest.raises(UserError, match="'xtreme_r' is not one of xtreme, xtreme-r"):
        of_benchmark(mlqa.TASK, "xtreme_r")


# ---- names ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["hellswag", "", "../tasks/xnli", "__init__", "xnli.py"])
def test_an_unknown_task_lists_the_folder(name):
    with pytest.raises(UserError, match="is not one of") as error:
        load_task(name)
    assert all(known in str(error.value) for known in task_names())


def test_a_retrieval_task_has_another_script():
    with pytest.raises(UserError, match=r"tatoeba is a RetrievalTask; it runs with run_retrieval\.py"):
        load_task("tatoeba")
    with pytest.raises(UserError, match=r"xnli is a Task; it runs with run_intermediate\.py or run_target\.py"):
        load_task("xnli", RetrievalTask)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("TASK = 1 +", r"cannot be imported: SyntaxError"),
        ("import nothing_of_this_name", r"cannot be imported: ModuleNotFoundError"),
        ("task = None", r"cannot be imported: AttributeError"),
        ("from tasks.mnli import TASK", r"calls its task 'mnli'; name and file must agree"),
    ],
)
def test_a_task_file_that_is_none(text, message, tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(text)
    monkeypatch.setattr(tasks, "__file__", str(tmp_path / "__init__.py"))
    monkeypatch.setattr(tasks, "__path__", [str(tmp_path), *tasks.__path__])
    importlib.invalidate_caches()
    monkeypatch.delitem(sys.modules, "tasks.mine", raising=False)
    with pytest.raises(UserError, match=rf"tasks/mine\.py {message}"):
        load_task("mine")


def test_the_tables_name_tasks_that_exist():
    assert set(tasks.INTERMEDIATE + tasks.TARGET + tasks.RETRIEVAL) <= set(task_names())
    assert len(set(tasks.INTERMEDIATE)) == 9


NINE = "anli_plus mnli qqp squad_v2 squad hellaswag ccg cosmosqa commonsenseqa"


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("mnli", "mnli"),
        ("copa", "copa"),
        ("squad+mnli+xnli", "squad mnli xnli"),
        ("all", NINE),
        ("all-ccg", NINE.replace("ccg ", "")),
        ("all-squad-anli_plus", "mnli qqp squad_v2 hellaswag ccg cosmosqa commonsenseqa"),
    ],
)
def test_several_tasks_by_name(text, names):
    found = load_tasks(text)
    assert isinstance(found, tuple)
    assert [task.name for task in found] == names.split()
    assert found[0] is load_task(found[0].name)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mnli+squad+mnli", "mnli.squad.mnli names 'mnli' twice"),
        (
            "mnli+hellswag",
            "'hellswag' is not one of anli, anli_plus, .* xquad.* .the files of tasks/., nor is it `all`",
        ),
        ("mnli+", "'' is not one of anli"),
        ("mnli+all", "'all' is not one of anli"),
        ("all+mnli", "`all` stands for anli_plus, .*, commonsenseqa; .* nothing is added"),
        ("all-xnli", "'xnli' cannot be left out; `all` stands for anli_plus, mnli"),
        ("all-ccg-ccg", "'ccg' cannot be left out"),
        ("all-ccg+xnli", r"'ccg\+xnli' cannot be left out"),
        ("all-" + NINE.replace(" ", "-"), "leaves no task"),
        ("mnli+tatoeba", "tatoeba is a RetrievalTask"),
    ],
)
def test_tasks_that_cannot_be_joined(text, message):
    with pytest.raises(UserError, match=message):
        load_tasks(text)


# ---- real slices ----------------------------------------------------------------------------------------------------

UD_TEST = {"mr": 47, "tl": 55, "yo": 100}
COUNTS = {
    ("hellaswag", "train"): {"en": 2500},
    ("hellaswag", "validation"): {"en": 250},
    ("mnli", "train"): {"en": 1000 + 900},
    ("mnli", "validation"): {"en": 100},
    ("snli", "train"): {"en": 1666},
    ("snli", "validation"): {"en": 200},
    ("snli", "test"): {"en": 10},
    ("anli", "train"): {"en": 60},
    ("anli", "validation"): {"en": 60},
    ("anli", "test"): {"en": 60},
    ("anli_plus", "train"): {"en": 1900 + 1666 + 60},
    ("anli_plus", "validation"): {"en": 100 + 200 + 60},
    ("qqp", "train"): {"en": 60},
    ("qqp", "validation"): {"en": 40},
    ("ccg", "train"): {"en": 2000},
    ("ccg", "validation"): {"en": 400},
    ("cosmosqa", "train"): {"en": 1400},
    ("cosmosqa", "validation"): {"en": 200},
    ("commonsenseqa", "train"): {"en": 3000},
    ("commonsenseqa", "validation"): {"en": 800},
    ("siqa", "train"): {"en": 1600},
    ("siqa", "validation"): {"en": 1300},
    ("copa", "train"): {"en": 400},
    ("copa", "validation"): {"en": 60},
    ("xnli", "validation"): {"en": 100},
    ("xnli", "test"): dict.fromkeys(XNLI.split(), 400),
    ("udpos", "train"): {"en": 12543},
    ("udpos", "validation"): {"en": 400},
    ("udpos", "test"): {
        code: UD_TEST.get(code, 120)
        for code in "af ar de et eu fi hi hu id ja kk ko mr ru ta te th tl tr ur vi wo yo zh".split()
    },
    ("xquad", "test"): dict.fromkeys([*XQUAD.split(), "ro"], 225),
    ("pawsx", "train"): {"en": 700},
    ("pawsx", "validation"): {"en": 250},
    ("pawsx", "test"): dict.fromkeys(PAWSX.split(), 450),
    ("xcopa", "validation"): dict.fromkeys(XCOPA.split(), 100),
    ("xcopa", "test"): dict.fromkeys(XCOPA.split(), 500),
    ("panx", "train"): {"en": 1600},
    ("panx", "validation"): {"en": 401},
    ("panx", "test"): {"tl": 128, "zh": 300},
    ("mlqa", "validation"): {"en": 18},
    ("mlqa", "test"): {"en": 63, "ar": 80, "de": 80, "es": 84, "hi": 80, "vi": 81, "zh": 80},
    ("tydiqa", "test"): {"ar": 50, "bn": 73, "en": 90, "fi": 90, "id": 90, "ko": 90, "ru": 50, "sw": 90, "te": 50},
    ("tatoeba", "test"): dict.fromkeys(TATOEBA.split(), 1000)
    | {"jv": 205, "ka": 746, "kk": 575, "ml": 687, "sw": 390, "ta": 307, "te": 234, "th": 548},
}


def splits_to_load(task):
    """Splits of a task as they are used; the selection rows of some tasks are carved out of the training rows."""
    carved = ("train", "validation") if isinstance(task, Task) and task.held_out_by else ()
    return [split for split in task.splits if split not in carved]


@pytest.mark.parametrize("name", task_names())
def test_real_rows_load_in_every_language_that_is_there(name, official):
    task, counts = declaration(name), {}
    load = load_languages if isinstance(task, Task) else load_sentences
    for split in splits_to_load(task):
        try:
            found, missing = load(task, split, data_dir=official)
        except UserError as error:
            if "no file" not in str(error):
                raise
            continue
        assert {*found, *missing} >= {*task.languages}
        counts[task.name, split] = {language: len(examples) for language, examples in found.items()}
    expected = {key: languages for key, languages in COUNTS.items() if key[0] == task.name}
    assert counts == expected or task.name not in {name for name, _ in COUNTS}


@pytest.mark.parametrize(
    ("name", "questions", "share"),
    [("squad", 3286, 0.05), ("squad_v2", 4470, 0.05), ("tydiqa", 800, 0.1), ("lareqa", 3286, 0.05)],
)
def test_selection_articles_are_not_trained_on(name, questions, share, official):
    task = declaration(name)
    train, held_out = (load_examples(task, split, "en", official).rows for split in ("train", "validation"))
    assert len(train) + len(held_out) == questions
    raw, _ = load_rows(task.source, "train", "en", official)
    groups = {row["context"].replace("\n", ""): row[task.held_out_by] for row in raw}
    texts = "document" if "document" in train.column_names else "context"  # of LAReQA it ends with the context

    def groups_of(rows):
        found = {text.replace("\n", "") for text in rows[texts]}
        return {group for context, group in groups.items() if any(text.endswith(context) for text in found)}

    assert not groups_of(train) & groups_of(held_out)
    assert len(groups_of(held_out)) == max(1, round(share * len({*groups.values()})))
    assert held_out[:] == load_examples(task, "validation", "en", official).rows[:]


def test_real_questions_without_an_answer(official):
    rows, _ = load_rows(declaration("squad_v2").source, "validation", "en", official)
    assert sum(not answers["text"] for answers in rows["answers"]) == 1202
    assert len(rows) == 2164


def test_real_categories_are_the_words_of_the_derivations(official):
    rows = load_examples(declaration("ccg"), "validation", "en", official).rows
    assert sum(map(len, rows["tags"])) == 5955
    assert len({tag for tags in rows["tags"] for tag in tags}) == 127
    assert (rows[0]["tokens"][:4], rows[0]["tags"][3]) == (["From", "the", "AP", "comes"], "S/NP")


def test_real_ids_of_tydiqa_are_renumbered_in_training_and_unique_where_they_are_scored(official, capsys):
    task = declaration("tydiqa")
    examples = load_examples(task, "train", "en", official)
    ids = examples.rows["id"]
    assert len({*ids}) == len(ids)
    (count,) = examples.records[0]["irregular"].values()
    assert count == sum("#" in id for id in ids) > 600
    assert f"tydiqa train 'en': {count} repeated ids in training, renumbered" in capsys.readouterr().out
    assert load_examples(task, "test", "en", official).records[0]["irregular"] == {}


def test_real_words_without_a_form_are_counted(official):
    """Marathi writes the parts of its multiword tokens as lemmas only."""
    examples = load_examples(declaration("udpos"), "test", "mr", official)
    words = [word for tokens in examples.rows["tokens"] for word in tokens]
    assert examples.records[0]["irregular"] == {"words without a form": 72}
    assert "_" not in words


# (words, digest of words and tags) as XTREME's own tool and script wrote them from the same files, with networkx 1.11.
XTREME_WORDS = {
    "dev-en": (6713, "ad2626c7b62a"), "train-en": (204_585, "0d6d2bb5e4d9"), "test-af": (2206, "8f1c44ef77e0"),
    "test-ar": (2800, "10b307ddcc05"), "test-de": (1698, "1206edbd7df4"), "test-et": (2095, "1b5a3598116a"),
    "test-eu": (1414, "4d7406106b1f"), "test-fi": (1681, "e02a75063617"), "test-hi": (3206, "08ef888a4b73"),
    "test-hu": (2313, "bf30343d42c4"), "test-id": (2600, "4c8044fbb210"), "test-ja": (2380, "7856abd0cff3"),
    "test-kk": (1024, "7ea00eae08cd"), "test-ko": (1571, "a6a46b991638"), "test-mr": (376, "88629331709e"),
    "test-ru": (2331, "b8b1e820cbbe"), "test-ta": (1772, "724c252d7078"), "test-te": (600, "5780354e58fc"),
    "test-th": (2958, "1e1ba521f108"), "test-tl": (292, "c9bae6e8288b"), "test-tr": (1112, "abbae3919413"),
    "test-ur": (3298, "b656285ed16b"), "test-vi": (1711, "2d9335b0a3eb"), "test-wo": (2525, "c2d7fa82ecc3"),
    "test-yo": (2664, "f1f427171220"), "test-zh": (2800, "7e4e7c4db8ba"),
}  # fmt: skip


def test_real_words_and_tags_are_xtremes_with_its_benchmark(official):
    task, found = of_benchmark(udpos.TASK, "xtreme"), {}
    splits = {"train": "train", "dev": "validation", "test": "test"}
    for name in XTREME_WORDS:
        split, language = name.split("-")
        rows = load_raw(task.source, splits[split], language, official).rows
        sentences = [zip(row["tokens"], (udpos.TAGS[tag] for tag in row["pos_tags"]), strict=True) for row in rows]
        text = "".join("".join(f"{word}\t{tag}\n" for word, tag in sentence) + "\n" for sentence in sentences)
        found[name] = sum(map(len, rows["tokens"])), hashlib.sha256(text.encode()).hexdigest()[:12]
    assert found == XTREME_WORDS


def test_pairs_without_a_gold_label_are_left_out_and_counted(official):
    (record,) = load_examples(declaration("snli"), "train", "en", official).records
    assert (record["rows"], record["left_out"]) == (1666, 4)
