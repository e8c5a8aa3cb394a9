"""Retrieval among translations: scores of planted vectors, prediction files, and the script with all of its layers."""

import argparse
import os
import re
from pathlib import Path

import numpy as np
import pytest
from conftest import SHARED

import run_retrieval
from tasks import load_task
from xstilts import embeddings, precision
from xstilts.aligned import nearest_by_margin, search, sorted_english, write
from xstilts.base import UserError, read_json
from xstilts.submission import FORMATS, score_files
from xstilts.task import Collection, Side

TATOEBA = load_task("tatoeba", object)


def collection(english, language="de"):
    """A Collection of some English sentences."""
    return Collection({"en": Side(english, "query"), language: Side(english)}, (language,), None, ())


def found_in(english, foreign, k=4):
    """(scores, predictions) of planted vectors."""
    args = argparse.Namespace(neighborhood=k)
    vectors = {"en": np.asarray(english, np.float32), "de": np.asarray(foreign, np.float32)}
    return search(TATOEBA, collection(["text"] * len(english)), vectors, args, "cpu")["de"]


def test_planted_translations_are_found_in_both_directions():
    generator = np.random.default_rng(0)
    english = generator.normal(size=(200, 16))
    lengths = generator.uniform(0.01, 100, size=(200, 1))
    scores, found = found_in(english, (english + 0.05 * generator.normal(size=(200, 16))) * lengths)
    assert found == [*range(200)]
    assert {scores[name] for name in scores if name.startswith("accuracy")} == {100}
    assert (scores["mrr"], scores["rank_median"], scores["rank_90"]) == (100, 1, 1)


def test_directions_and_margins_differ_where_a_hub_is():
    """The first foreign vector lies near every English one; all other translations are a little further off."""
    angles = np.radians([0, 40, 80, 120])
    english = np.c_[np.cos(angles), np.sin(angles), np.zeros(4)]
    foreign = english * 0.6 + np.c_[np.zeros((4, 2)), np.full(4, 0.8)]
    foreign[0] = english.mean(0)
    scores, found = found_in(english, foreign, k=2)
    cosines = (english @ (foreign / np.linalg.norm(foreign, axis=1, keepdims=True)).T).round(12)
    assert found == cosines.argmax(1).tolist()
    assert scores["accuracy"] == 100 * np.mean(cosines.argmax(1) == range(4)) < 100
    assert scores["accuracy_to_english"] == 100 * np.mean(cosines.T.argmax(1) == range(4))
    means = [np.sort(each, 1)[:, -2:].mean(1) for each in (cosines, cosines.T)]
    margins = cosines / ((means[0][:, None] + means[1][None]) / 2)
    among = np.where(cosines >= np.sort(cosines, 1)[:, -2:-1], margins, -1)
    assert scores["accuracy_margin"] == 100 * np.mean(among.argmax(1) == range(4)) != scores["accuracy"]
    ranks = 1 + (cosines > np.diag(cosines)[:, None]).sum(1)
    assert scores["mrr"] == pytest.approx(100 * (1 / ranks).mean())
    assert scores["hubness"] == 0, "with 4 vectors each is among everybody's 10 nearest"


def test_a_margin_chooses_among_the_nearest():
    forward = np.array([[0.9, 0.8], [0.5, 0.4]]), np.array([[0, 1], [1, 0]])
    backward = np.array([[0.9, 0.9], [0.2, 0.2]]), None
    assert nearest_by_margin(forward, backward, 2).tolist() == [1, 1]
    assert nearest_by_margin(forward, backward, 1).tolist() == [0, 1]


def test_a_side_score_that_does_not_exist_is_left_out():
    scores, _ = found_in([[1.0, 0.0]], [[1.0, 0.5]])
    assert (scores["accuracy"], scores["anisotropy"]) == (100, None)


def test_vectors_that_are_not_finite_are_named():
    vectors = np.ones((3, 2))
    broken = vectors.copy()
    broken[1, 0] = np.nan
    with pytest.raises(UserError, match=r"de.*row 1|de.*row 2"):
        found_in(vectors, broken)


def test_the_english_side_is_sorted():
    sentences = ["b", " a\n", "Z", "a", "é", "c"]
    order = sorted_english(sentences)
    assert [sentences[i] for i in order] == ["Z", " a\n", "a", "b", "c", "é"]
    assert sorted(order) == list(range(len(sentences)))


def test_positions_are_written_as_the_benchmark_reads_them(tmp_path):
    write(tmp_path, "sw", [0, 10, 20], collection(["dog", "cat", "bird"], "sw"))
    path = tmp_path / "test-sw.tsv"
    assert path.read_bytes() == b"20\n10\n0\n"
    mock = SHARED / "xtreme_mock" / "predictions" / "tatoeba" / path.name
    if not mock.exists():
        pytest.skip(f"{mock} is not there (XTREME's mock submission)")
    assert all(re.fullmatch(r"(\d+\n)+", each.read_text()) for each in (path, mock))


# ---- the script -----------------------------------------------------------------------------------------------------


def retrieve(encoder, world, output_dir, *options):
    """Run the script on one language; returns its run.json."""
    line = ["--task", "tatoeba", "--model_name_or_path", encoder, "--data_dir", world, "--languages", "qna"]
    run_retrieval.main([*line, "--output_dir", str(output_dir), "--use_cpu", *options])
    return read_json(output_dir / "run.json")


def test_all_layers_come_from_one_run(encoder, world, tmp_path):
    run = retrieve(encoder, world, tmp_path / "all", "--layers", "all")
    assert (run["layer"], run["layers"], run["factors"]) == (1, [0, 1, 2], [])
    curves = run["by_layer"]["qna"]
    for layer in range(3):
        alone = retrieve(encoder, world, tmp_path / str(layer), "--layers", str(layer))
        assert "by_layer" not in alone
        assert alone["factors"] == ([] if layer == 1 else [f"layer{layer}"])
        own = {name: value for name, value in alone["scores"]["qna"].items() if name in curves}
        assert own == {name: values[layer] for name, values in curves.items()}
        assert {"accuracy", "accuracy_to_english_margin", "mrr", "hubness", "anisotropy_english"} <= own.keys()
    assert {name: run["scores"]["qna"][name] for name in curves} == {n: v[1] for n, v in curves.items()}
    assert not (tmp_path / "all" / ".embeddings").exists()


def test_the_runs_layer_is_the_protocols_or_the_highest(encoder, world, tmp_path):
    assert retrieve(encoder, world, tmp_path / "a", "--layers", "0-1")["layer"] == 1
    assert retrieve(encoder, world, tmp_path / "b", "--layers", "0,2")["layer"] == 2


def test_vectors_that_memory_cannot_hold_lie_in_a_folder_that_is_gone_afterwards(encoder, world, tmp_path, monkeypatch):
    """After an interruption, too."""
    plain, folder = retrieve(encoder, world, tmp_path / "plain", "--layers", "all"), tmp_path / "run" / ".embeddings"
    monkeypatch.setattr(embeddings, "fits_memory", lambda size: False)
    token_rows, files = embeddings.token_rows, []

    def interrupted(*arguments):
        files.append(len(os.listdir(folder)))
        if len(files) == 2:
            raise KeyboardInterrupt
        return token_rows(*arguments)

    monkeypatch.setattr(embeddings, "token_rows", interrupted)
    with pytest.raises(KeyboardInterrupt):
        retrieve(encoder, world, tmp_path / "run", "--layers", "all")
    assert not folder.exists()
    run = retrieve(encoder, world, tmp_path / "run", "--layers", "all")
    assert (files, folder.exists()) == ([1, 2, 1, 2], False)
    assert (run["scores"], run["by_layer"]) == (plain["scores"], plain["by_layer"])


def test_pooling_and_prefixes_are_other_runs(encoder, world, tmp_path):
    plain = retrieve(encoder, world, tmp_path / "plain")
    other = retrieve(encoder, world, tmp_path / "max", "--pooling", "max")
    prefixed = retrieve(encoder, world, tmp_path / "e5", "--query_prefix", "in ", "--document_prefix", "the ")
    assert [run["pooling"] for run in (plain, other, prefixed)] == ["mean", "max", "mean"]
    assert [run["factors"] for run in (plain, other, prefixed)] == [[], ["max-pooling"], ["prefix-in-the"]]
    assert len({run["scores"]["qna"]["anisotropy"] for run in (plain, other, prefixed)}) == 3
    swapped = retrieve(encoder, world, tmp_path / "swapped", "--query_prefix", "the ", "--document_prefix", "in ")
    assert swapped["scores"]["qna"]["anisotropy"] != prefixed["scores"]["qna"]["anisotropy"]


def test_the_prediction_file_scores_as_the_run_does(encoder, world, tmp_path):
    run = retrieve(encoder, world, tmp_path / "run")
    texts = Path(world, "tatoeba", "tatoeba.qna-eng.eng").read_text("utf-8").splitlines()
    (tmp_path / "gold" / "tatoeba").mkdir(parents=True)
    gold = "".join(f"{position}\n" for position in sorted_english(texts))
    (tmp_path / "gold" / "tatoeba" / "test-qna.tsv").write_text(gold)
    files = [tmp_path / folder / "tatoeba" / "test-qna.tsv" for folder in ("run/predictions", "gold")]
    scores, _ = score_files(FORMATS["tatoeba"], "qna", *files)
    assert scores["accuracy"] > 0
    assert scores["accuracy"] == pytest.approx(run["scores"]["qna"]["accuracy"])


@pytest.mark.parametrize("option", ["--bf16_full_eval", "--fp16_full_eval"])
def test_half_precision_takes_effect(encoder, world, tmp_path, option):
    half = retrieve(encoder, world, tmp_path / "half", option)["scores"]["qna"]
    full = retrieve(encoder, world, tmp_path / "full")["scores"]["qna"]
    assert 0 < abs(half["anisotropy"] - full["anisotropy"]) < 0.01


def test_precision_takes_effect_and_is_told(encoder, world, tmp_path):
    """The weights stay as they are: only what a layer computes is rounded, and nothing below the first one."""
    layers = ["--layers", "0-1"]
    runs = {name: retrieve(encoder, world, tmp_path / name, *layers, "--precision", name) for name in ("fp32", "bf16")}
    assert [run["arguments"]["mixed_precision"] for run in runs.values()] == ["no", "bf16"]
    (embeddings, half), (_, full) = (runs[name]["by_layer"]["qna"]["anisotropy"] for name in ("bf16", "fp32"))
    assert embeddings == runs["fp32"]["by_layer"]["qna"]["anisotropy"][0]
    assert 0 < abs(half - full) < 0.01


def test_what_auto_chooses_by_device_makes_no_other_run(encoder, world, tmp_path, monkeypatch, capsys):
    finished = retrieve(encoder, world, tmp_path / "run")
    assert finished["arguments"]["mixed_precision"] == "no"
    monkeypatch.setattr(precision, "best_precision", lambda device, model_type: "bf16")
    assert retrieve(encoder, world, tmp_path / "run") == finished
    assert "is finished with the same arguments and data" in capsys.readouterr().out
    half = retrieve(encoder, world, tmp_path / "half")
    assert half["arguments"]["mixed_precision"] == "bf16"
    with pytest.raises(UserError, match='mixed_precision: "no" -> "fp32"'):
        retrieve(encoder, world, tmp_path / "half", "--precision", "fp32")


BAD = [
    ("--layers 3", r"has hidden_states\[0\] to \[2\], not \[3\]"),
    ("--pooling middle", "--pooling middle is not one of"),
    ("--pooling pooler", "has no pooler that was trained"),
    ("--threshold 1.1", "--threshold has no effect with --task tatoeba, which is aligned"),
    ("--bf16", "here --precision says in which numbers the encoder computes"),
    ("--precision fp16", "--precision fp16 needs a GPU"),
    ("--max_query_length 0", "--max_query_length 0 leaves no room for text"),
    ("--max_seq_length 600", "more than the 512 positions"),
    ("--max_query_length 600", "more than the 512 positions"),
    ("--task xnli", "--task xnli is a Task; it runs with run_intermediate.py or run_target.py"),
    ("--neighborhood 0", "--neighborhood 0 must be 1 or more"),
]


@pytest.mark.parametrize(("options", "message"), BAD)
def test_bad_options_are_one_clear_line(encoder, world, tmp_path, options, message):
    with pytest.raises(UserError, match=message) as error:
        retrieve(encoder, world, tmp_path / "run", *options.format(encoder=encoder).split())
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()
