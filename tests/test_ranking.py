"""Ranking of candidates in all languages: planted vectors against literal definitions, and how pools are put together."""

import argparse
import json
import re
from itertools import product

import numpy as np
import pytest
import torch
from datasets import Features, Sequence, Value
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch.utils._python_dispatch import TorchDispatchMode

import run_retrieval
from xstilts import dual_encoder, metrics, ranking
from xstilts.base import UserError, read_json
from xstilts.ranking import by_language, load, mean_average_precision, pairs_of, ranks_of_right, search, write
from xstilts.readers import json_lines
from xstilts.sources import Source
from xstilts.submission import FORMATS, score_files
from xstilts.task import Ranking, Task

TEXT, TEXTS = Value("string"), Sequence(Value("string"))
LANGUAGES = ("en", "de", "sw")


def source(**columns):
    """A source of JSON lines, in a file per language."""
    return Source(
        features=Features(columns), splits={"test": "test"}, files={"test": "toy/{language}.jsonl"}, read=json_lines
    )


def to_queries(row):
    """The question of a row."""
    return [{"id": row["id"], "text": row["question"], "key": row["id"]}] if row["question"] else []


def to_candidates(row):
    """Every sentence of a row; the first one answers its question."""
    keys = [[row["id"]], *[[] for _ in row["sentences"][1:]]]
    return [
        {"id": f"{row['id']}_{place}", "text": text, "keys": keys[place]} for place, text in enumerate(row["sentences"])
    ]


ROWS = source(id=TEXT, question=TEXT, sentences=TEXTS)
TOY = Task(
    name="toy",
    type=dual_encoder.TYPE,
    metric=metrics.Ranking,
    languages=LANGUAGES,
    retrieval=Ranking(queries=ROWS, to_queries=to_queries, candidates=ROWS, to_candidates=to_candidates),
)


@pytest.fixture
def folder(write):
    """A folder with two paragraphs in each of three languages."""
    for language in LANGUAGES:
        rows = [
            {"id": id, "question": f"{id} in {language}?", "sentences": [f"{language} {id} {i}" for i in range(size)]}
            for id, size in (("a", 2), ("b", 3))
        ]
        path = write("".join(f"{json.dumps(row)}\n" for row in rows), f"data/toy/{language}.jsonl")
    return path.rsplit("/", 2)[0]


def loaded(folder, task=TOY, **options):
    """What `load` gives: (collection, missing)."""
    args = argparse.Namespace(**{"data_dir": folder, "languages": None, "max_eval_samples": None, **options})
    (collection,), missing = load(task, args)
    return collection, missing


def test_the_pool_has_all_languages_and_their_right_answers(folder):
    collection, missing = loaded(folder)
    assert list(collection.sides) == ["candidates", *LANGUAGES]
    pool = collection.sides["candidates"]
    assert pool.role == "document"
    assert pool.texts[0] == "en a 0"
    assert collection.gold.ids[:6] == ["en_a_0", "en_a_1", "en_b_0", "en_b_1", "en_b_2", "de_a_0"]
    assert collection.sides["de"].texts == ["a in de?", "b in de?"]
    assert collection.gold.right == {language: [[0, 5, 10], [2, 7, 12]] for language in LANGUAGES}
    assert [(r["split"], r["language"], r["rows"]) for r in collection.records] == [
        *(("candidates", language, 5) for language in LANGUAGES),
        *(("test", language, 2) for language in LANGUAGES),
    ]
    assert missing == {}


def test_fewer_queries_leave_the_pool_whole(folder):
    collection, _ = loaded(folder, languages="sw", max_eval_samples=1)
    assert collection.languages == ("sw",)
    assert collection.gold.queries == {"sw": ["a"]}
    assert len(collection.gold.ids) == 15


def test_another_language_in_the_folder_joins_the_pool(folder, write, capsys):
    write('{"id": "a", "question": "a?", "sentences": ["x"]}\n', "data/toy/xx.jsonl")
    collection, _ = loaded(folder)
    assert collection.gold.ids[-1] == "xx_a_0"
    assert collection.gold.right["en"] == [[0, 5, 10, 15], [2, 7, 12]]
    assert "toy: candidates in xx too, so scores are not the benchmark's" in capsys.readouterr().out


def test_a_language_without_files_is_said(folder, tmp_path, capsys):
    (tmp_path / "data" / "toy" / "de.jsonl").unlink()
    collection, missing = loaded(folder)
    assert list(missing) == ["de"]
    assert len(collection.gold.ids) == 10
    assert "toy: no candidates in 'de', so scores are not the benchmark's" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"id": "a", "question": "", "sentences": ["x"]}, r"candidate 'en_a_0' occurs twice \(toy/en.jsonl\)"),
        ({"id": "a", "question": "?", "sentences": ["x"]}, r"toy 'en': query 'a' occurs twice \(toy/en.jsonl\)"),
        ({"id": "z", "question": "?", "sentences": []}, r"toy 'en': 1 queries have no right candidate, the first is z"),
    ],
)
def test_pools_that_cannot_be(folder, tmp_path, row, message):
    file = tmp_path / "data" / "toy" / "en.jsonl"
    file.write_text(f"{file.read_text()}{json.dumps(row)}\n")
    with pytest.raises(UserError, match=message):
        loaded(folder)


def test_a_language_without_queries_is_an_error(folder, tmp_path):
    (tmp_path / "data" / "toy" / "en.jsonl").write_text('{"id": "a", "question": "", "sentences": ["x"]}\n')
    with pytest.raises(UserError, match=r"toy: no queries in 'en' \(toy/en.jsonl\)"):
        loaded(folder)


# ---- search ---------------------------------------------------------------------------------------------------------


def literal_average_precision(products, right):
    """Of one query's products with all candidates, equal ones in the order of their positions."""
    order = sorted(range(len(products)), key=lambda position: (-products[position], position))
    hits, found = 0, []
    for rank, position in enumerate(order, start=1):
        if position in right:
            hits += 1
            found.append(hits / rank)
    return sum(found) / len(right)


SMALL = st.integers(-2, 2).map(float)


@given(arrays(np.float32, (5, 3), elements=SMALL), arrays(np.float32, (11, 3), elements=SMALL), st.data())
def test_ranks_are_those_of_a_sorted_list(queries, pool, data):
    right = [sorted(data.draw(st.sets(st.integers(0, 10), min_size=1, max_size=4))) for _ in queries]
    owners, places = pairs_of(right)
    ranks = ranks_of_right(queries, pool, owners, places)
    products = queries @ pool.T
    expected = []
    for row, positions in zip(products, right, strict=True):
        order = sorted(range(11), key=lambda position: (-row[position], position))
        expected += [1 + order.index(position) for position in positions]
    assert ranks.tolist() == expected
    literal = [literal_average_precision(row, own) for row, own in zip(products, right, strict=True)]
    assert mean_average_precision(owners, ranks) == pytest.approx(100 * np.mean(literal))


def test_blocks_change_nothing(monkeypatch):
    generator = np.random.default_rng(0)
    queries, pool = (generator.normal(size=(size, 8)).astype(np.float32) for size in (30, 40))
    pairs = pairs_of([[place, 39 - place] for place in range(15)] * 2)
    whole = ranks_of_right(queries, pool, *pairs)
    for held, compared in ((100, 2**20), (2**20, 100), (400, 100)):
        monkeypatch.setattr(ranking, "BLOCK", held)
        monkeypatch.setattr(ranking, "COMPARED", {"cpu": compared})
        assert np.array_equal(whole, ranks_of_right(queries, pool, *pairs))


def test_more_queries_take_no_more_operations():
    """On a GPU each operation is a launch, which takes longer than what it does for one query."""

    class Counting(TorchDispatchMode):
        count = 0

        def __torch_dispatch__(self, function, types, arguments=(), options=None):
            self.count += 1
            return function(*arguments, **(options or {}))

    pool, counts = torch.randn(50, 8, generator=torch.Generator().manual_seed(0)), []
    for size in (5, 50):
        with Counting() as counting:
            ranks_of_right(pool[:size], pool, *pairs_of([[place, 49 - place] for place in range(size)]))
        counts.append(counting.count)
    assert counts[0] == counts[1] < 50


def test_a_table_by_answer_language_leaves_out_the_other_right_ones():
    languages = ["en", "en", "de", "de", "sw"]
    ranks, pairs = np.array([2, 3, 1, 5, 4]), pairs_of([[0, 2, 4], [1, 3]])
    found = by_language("en", [4, 0], *pairs, ranks, languages)
    # First query: en at 2 behind sw's right one -> 1; de at 3 behind two -> 1; sw -> 1. Second: en at 5 behind de's -> 4; de 4.
    assert found["by_answer_language"] == {"de": 100 * (1 + 1 / 4) / 2, "en": 100 * (1 + 1 / 4) / 2, "sw": 100}
    assert found["same_language_at_1"] == 50


def test_planted_answers_are_found(folder):
    """English and German agree; Swahili questions find Swahili sentences, right or wrong, before all others."""
    collection, _ = loaded(folder)
    meaning = {("a", 0): 0, ("a", 1): 1, ("b", 0): 2, ("b", 1): 3, ("b", 2): 4}
    pool = np.zeros((15, 8), np.float32)
    for position, (language, place) in enumerate(product(LANGUAGES, meaning)):
        pool[position, meaning[place]] = 1
        pool[position, 5] = 2 if language == "sw" else 0
    questions = np.zeros((2, 8), np.float32)
    questions[0, 0] = questions[1, 2] = 1
    vectors = {"candidates": pool, "en": questions, "de": questions, "sw": questions.copy()}
    vectors["sw"][:, 5] = 2
    found = search(TOY, collection, vectors, argparse.Namespace(), "cpu")
    english, predictions = found["en"]
    assert predictions["a"][:2] == ["en_a_0", "de_a_0"]
    assert len(predictions["a"]) == 15
    assert (english["map@20"], english["map"], english["mrr"], english["same_language_at_1"]) == (100, 100, 100, 100)
    swahili, predictions = found["sw"]
    assert predictions["b"][0] == "sw_b_0"
    products = vectors["sw"] @ (pool / np.linalg.norm(pool, axis=1, keepdims=True)).T
    rights = collection.gold.right["sw"]
    literal = [literal_average_precision(row, right) for row, right in zip(products, rights, strict=True)]
    for number, language in enumerate(LANGUAGES):
        without = [
            literal_average_precision(
                [-9 if p in right and p != right[number] else x for p, x in enumerate(row)], right[number : number + 1]
            )
            for row, right in zip(products, rights, strict=True)
        ]
        assert swahili["by_answer_language"][language] == pytest.approx(100 * np.mean(without))
    assert swahili["by_answer_language"]["sw"] == 100 > swahili["by_answer_language"]["en"]
    assert swahili["map"] == swahili["map@20"] == pytest.approx(100 * np.mean(literal)) != 100
    assert swahili["hubness"] != 0


# ---- the script -----------------------------------------------------------------------------------------------------


def retrieve(task, encoder, world, output_dir, *options):
    """Run the script on the generated world; returns its run.json."""
    line = ["--task", task, "--model_name_or_path", encoder, "--data_dir", world, "--output_dir", str(output_dir)]
    run_retrieval.main([*line, "--use_cpu", *options])
    return read_json(output_dir / "run.json")


@pytest.mark.parametrize("task", ["lareqa", "mewslix"])
def test_candidates_are_ranked_by_the_script(task, encoder, world, tmp_path):
    run = retrieve(task, encoder, world, tmp_path / "run", "--layers", "1-2", "--languages", "en,qna")
    assert (run["layer"], run["pooling"], run["metric"]) == (2, "cls", "map@20")
    assert run["warnings"] == [f"{task} with an encoder that was not trained for it (run_target.py --task {task})"]
    assert list(run["scores"]) == ["en", "qna"]
    scores = run["scores"]["qna"]
    assert ("by_answer_language" in scores) == (task == "lareqa")
    assert run["by_layer"]["qna"]["map"][1] == scores["map"] > 0
    predictions = json.loads((tmp_path / "run" / "predictions" / task / "test-qna.json").read_text())
    assert len(predictions) == scores["examples"]
    assert {len(ids) for ids in predictions.values()} == {20}


def test_bitext_is_mined_by_the_script(encoder, world, tmp_path):
    run = retrieve("bucc2018", encoder, world, tmp_path / "run", "--layers", "all", "--languages", "qna")
    assert (run["layer"], run["layers"], run["metric"], run["warnings"]) == (1, [0, 1, 2], "f1", [])
    scores = run["scores"]["qna"]
    assert {"precision", "recall", "threshold", "dev_f1", "hubness", "anisotropy"} <= scores.keys()
    lines = (tmp_path / "run" / "predictions" / "bucc2018" / "test-qna.tsv").read_text().splitlines()
    assert len(lines) == scores["pairs"]
    given = ["--threshold", str(scores["threshold"]), "--neighborhood", "3", "--languages", "qna"]
    other = retrieve("bucc2018", encoder, world, tmp_path / "other", *given)
    assert other["factors"] == ["neighborhood3", f"threshold{scores['threshold']}"]
    assert "dev_f1" not in other["scores"]["qna"]


@pytest.mark.parametrize(
    ("task", "prefixes", "warning"),
    [
        ("tatoeba", ["--query_prefix", "q: "], "--query_prefix is put before the English .*give --document_prefix too"),
        (
            "bucc2018_pairs",
            ["--document_prefix", "q: "],
            "--document_prefix is put before the foreign .*--query_prefix",
        ),
        ("bucc2018", ["--query_prefix", "q: "], "--query_prefix is put before the English sentences alone"),
        ("tatoeba", ["--query_prefix", "q: ", "--document_prefix", "q: "], None),
        ("lareqa", ["--query_prefix", "q: "], None),
    ],
)
def test_one_prefix_for_translations_is_said(task, prefixes, warning, encoder, world, tmp_path, capsys):
    run = retrieve(task, encoder, world, tmp_path / "run", *prefixes, "--languages", "qna")
    found = [each for each in run["warnings"] if "prefix" in each]
    assert len(found) == (warning is not None)
    assert warning is None or re.search(f"warning: {warning}", capsys.readouterr().out.split("tatoeba qna")[0])
    assert warning is None or re.match(warning, found[0])


def test_files_are_the_benchmarks(tmp_path, shared):
    """XTREME-R's scorer reads them, and gives what the run says."""
    predictions = {"q1": ["Q3", "Q1"], "q2": ["Q2"]}
    write(tmp_path, "de", predictions, None)
    (tmp_path / "gold.json").write_text(json.dumps({"q1": ["Q1"], "q2": ["Q2"]}))
    scores, _ = score_files(FORMATS["mewslix"], "de", tmp_path / "test-de.json", tmp_path / "gold.json")
    assert scores["map@20"] == 75
    mock = json.loads((shared / "xtreme_mock" / "predictions" / "mewslix" / "test-de.json").read_text())
    assert {type(ids) for ids in mock.values()} == {list}
