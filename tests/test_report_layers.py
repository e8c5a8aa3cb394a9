"""What a report makes of runs of all kinds: rows, columns, gains, and the plots of how far each layer moved."""

import csv
import math
import xml.etree.ElementTree as ElementTree
from itertools import pairwise

import pytest

import run_report
from xstilts.base import UserError, write_json
from xstilts.layer_plots import plot_cka, plot_weight_changes
from xstilts.report import collect, scored, scores_by_layer, vectors_moved, weights_moved

BASE = {"base_model": "encoder", "fingerprint": "0123456789abcdef"}
SHOWN = "encoder (012345)"
MOVED = {"embeddings": 0.1, "0": 0.2, "1": 0.4}


def step(phase, task, *factors):
    """A record of the lineage."""
    return {"phase": phase, "task": task, "factors": list(factors), "fingerprint": task}


HELLASWAG, FROZEN = step("intermediate", "hellaswag"), step("intermediate", "hellaswag", "freeze-1")
XNLI, LORA = step("target", "xnli"), step("target", "xnli", "lora")
SOME, SOME_LORA = step("target", "xnli", "transfer-0-11"), step("target", "xnli", "transfer-0-11", "lora")


@pytest.fixture
def runs(tmp_path):
    """write(phase, task, [records], score, ...) puts a run.json below the folder `write.folder`."""
    folder, written = tmp_path / "runs", []

    def write(phase, task, records, score=50.0, seed=1, **more):
        run = {"phase": phase, "task": task, "lineage": [BASE, *records], "seed": seed, **more}
        if phase in ("eval", "retrieval"):
            scores = {code: {"accuracy": score + place, "examples": 9} for place, code in enumerate(("en", "de"))}
            run = {"split": "test", "metric": "accuracy", "missing_languages": {}, "scores": scores, **run}
            run["averages"] = {"all": score + 0.5, "zero_shot": score + 1}
        written.append(run)
        write_json(folder / f"{len(written):03}" / "run.json", run)

    write.folder = folder
    return write


def cells(runs, tmp_path):
    """{(row, column): (score, gain)} of the overview that the script writes."""
    run_report.main([str(runs.folder), "--output_dir", str(tmp_path / "report")])
    with open(tmp_path / "report" / "overview.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    cell = {
        (row["intermediate"], row["target"]): [float(row[name] or "nan") for name in ("score", "gain")] for row in rows
    }
    return {key: (score, None if math.isnan(gain) else gain) for key, (score, gain) in cell.items()}


def test_a_target_trained_in_another_way_is_another_column(runs, tmp_path):
    runs("eval", "xnli", [XNLI], 50.0)
    runs("eval", "xnli", [HELLASWAG, XNLI], 52.0)
    runs("eval", "xnli", [LORA], 40.0)
    runs("eval", "xnli", [HELLASWAG, LORA], 47.0)
    runs("eval", "xnli", [HELLASWAG, LORA], 9.0, split="dev")
    assert cells(runs, tmp_path) == {
        ("none", "xnli"): (50.5, 0),
        ("hellaswag", "xnli"): (52.5, 2),
        ("none", "xnli (lora)"): (40.5, 0),
        ("hellaswag", "xnli (lora)"): (47.5, 7),
    }  # and nothing of the dev set, which is no test set


def test_transferred_layers_are_another_encoder_and_not_another_target(runs, tmp_path):
    runs("eval", "xnli", [XNLI], 50.0)
    runs("eval", "xnli", [LORA], 40.0)
    runs("eval", "xnli", [HELLASWAG, SOME], 53.0)
    runs("eval", "xnli", [HELLASWAG, SOME_LORA], 44.0)
    runs("eval", "xnli", [step("intermediate", "mnli"), FROZEN, SOME], 51.0)
    runs("retrieval", "tatoeba", [], 20.0, layer=2)
    runs("retrieval", "tatoeba", [HELLASWAG], 30.0, layer=2)
    runs("retrieval", "tatoeba", [HELLASWAG], 29.0, layer=2, factors=["transfer-0-11"])
    found = cells(runs, tmp_path)
    assert found["hellaswag (transfer-0-11)", "xnli"] == (53.5, 3)
    assert found["hellaswag (transfer-0-11)", "xnli (lora)"] == (44.5, 4)
    assert found["mnli > hellaswag (freeze-1, transfer-0-11)", "xnli"] == (51.5, 1)
    assert found["hellaswag", "tatoeba (layer 2)"] == (30.5, 10)
    assert found["hellaswag (transfer-0-11)", "tatoeba (layer 2)"] == (29.5, 9)
    assert len(found) == 8


def test_what_was_not_trained_for_the_target_says_so(runs):
    runs("eval", "xnli", [HELLASWAG])
    runs("eval", "xnli", [])
    found = scored(collect([runs.folder]))
    assert {key[1] for key in found} == {"hellaswag (no target training)", "none (no target training)"}


def test_two_runs_of_one_kind_are_refused(runs):
    for _ in range(2):
        runs("eval", "xnli", [XNLI])
        runs("intermediate", "hellaswag", [HELLASWAG], weight_change=MOVED)
    found = collect([runs.folder, runs.folder / "001"])
    with pytest.raises(UserError, match=r"003/run.json and .*001/run.json are both encoder .* > none > xnli > 1"):
        scored(found)
    with pytest.raises(UserError, match=r"both encoder .* > intermediate training > hellaswag > 1"):
        weights_moved(found)


def test_weights_stand_by_training_and_row(runs):
    for seed in (1, 2):
        runs("intermediate", "hellaswag", [HELLASWAG], seed=seed, weight_change={**MOVED, "0": seed})
    runs("intermediate", "hellaswag", [FROZEN], weight_change=MOVED)
    runs("target", "xnli", [XNLI], weight_change=MOVED)
    runs("target", "xnli", [HELLASWAG, SOME_LORA], weight_change=MOVED)
    runs("target", "xnli", [HELLASWAG, XNLI])
    assert weights_moved(collect([runs.folder])) == {
        SHOWN: {
            "intermediate training": {
                "hellaswag": [{**MOVED, "0": 1}, {**MOVED, "0": 2}],
                "hellaswag (freeze-1)": [MOVED],
            },
            "xnli target training": {"none": [MOVED]},
            "xnli (lora) target training": {"hellaswag (transfer-0-11)": [MOVED]},
        }
    }


def test_vectors_stand_by_comparison_and_row(runs):
    base = {"model": "encoder", "fingerprint": BASE["fingerprint"]}
    other = {"model": "encoder > mnli", "fingerprint": "fedcba9876543210"}
    for seed, value in ((1, 0.5), (2, 0.7)):
        for layer in (1, 2):
            more = {"layer": layer, "compared_with": base, "cka": {"en": [1, value], "de": [1, 0.6]}}
            runs("retrieval", "tatoeba", [HELLASWAG], seed=seed, **more)
    runs("retrieval", "tatoeba", [HELLASWAG], layer=0, compared_with=other, cka={"en": [1, 0.9]})
    runs("retrieval", "tatoeba", [FROZEN], layer=1)
    assert vectors_moved(collect([runs.folder])) == {
        f"tatoeba, compared with {SHOWN}": {"hellaswag": {"en": [[1, 0.5], [1, 0.7]], "de": [[1, 0.6], [1, 0.6]]}},
        f"tatoeba, {SHOWN} compared with encoder > mnli (fedcba)": {"hellaswag": {"en": [[1, 0.9]]}},
    }


def test_one_encoder_may_be_compared_with_several(runs, tmp_path):
    base, other = ({"model": name, "fingerprint": BASE["fingerprint"]} for name in ("encoder", "other"))
    runs("retrieval", "tatoeba", [HELLASWAG], layer=1)
    for compared_with in (base, other):
        runs("retrieval", "tatoeba", [HELLASWAG], layer=1, compared_with=compared_with, cka={"en": [1, 0.5]})
    assert cells(runs, tmp_path)["hellaswag", "tatoeba (layer 1)"] == (50.5, None)
    assert len(vectors_moved(collect([runs.folder]))) == 2
    runs("retrieval", "tatoeba", [HELLASWAG], layer=1, factors=["transfer-1"])  # finds the same
    assert cells(runs, tmp_path)["hellaswag (transfer-1)", "tatoeba (layer 1)"] == (50.5, None)
    runs("retrieval", "tatoeba", [HELLASWAG], 51.0, layer=1)  # which found something else
    with pytest.raises(UserError, match=r"are both encoder .* > hellaswag > tatoeba \(layer 1\) > 1"):
        scored(collect([runs.folder]))


@pytest.mark.parametrize("cka", [{"de": [1, 0.5]}, {"en": [1, 0.6]}, {"en": [1, 0.5], "de": [1, 0.5]}])
def test_comparisons_that_differ_are_refused(cka, runs):
    """Other languages, or other sentences of one."""
    base = {"model": "encoder", "fingerprint": BASE["fingerprint"]}
    for layer, found in ((1, {"en": [1, 0.5]}), (2, {"en": [1, 0.5 + 1e-7]}), (3, cka)):
        runs("retrieval", "tatoeba", [HELLASWAG], layer=layer, compared_with=base, cka=found)
    with pytest.raises(UserError, match=r"003/run.json and .*001/run.json are both tatoeba, compared with .* > 1"):
        vectors_moved(collect([runs.folder]))


# ---- retrieval by layer ---------------------------------------------------------------------------------------------

CURVES = {"en": {"accuracy": [1.0, 2.0, 3.0], "mrr": [5.0, 6.0, 7.0]}, "de": {"accuracy": [0.0, 1.0, 0.5]}}


def test_every_layer_of_a_retrieval_is_collected(runs, tmp_path):
    for seed in (1, 2):
        runs("retrieval", "tatoeba", [HELLASWAG], seed=seed, layer=1, layers=[0, 1, 2], by_layer=CURVES)
    runs("retrieval", "tatoeba", [HELLASWAG], 40.0, layer=1, layers=[0, 1, 2], by_layer=CURVES, factors=["max"])
    runs("retrieval", "tatoeba", [], layer=1)
    found = scores_by_layer(collect([runs.folder]))
    assert list(found) == [(SHOWN, "hellaswag", "tatoeba"), (SHOWN, "hellaswag", "tatoeba (max)")]
    own = found[SHOWN, "hellaswag", "tatoeba"]["en"]
    assert [run["seed"] for run in own] == [1, 2]
    assert own[0]["accuracy"] == [1.0, 2.0, 3.0]
    run_report.main([str(runs.folder), "--output_dir", str(tmp_path / "report")])
    with open(tmp_path / "report" / "layers-retrieval.csv", encoding="utf-8") as file:
        rows = [*csv.DictReader(file)]
    assert len(rows) == 3 * 2 * 3
    row = {
        "intermediate": "hellaswag",
        "task": "tatoeba",
        "language": "en",
        "seed": "1",
        "layer": "1",
        "accuracy": "2.0",
    }
    assert rows[1] == {"base_model": SHOWN, **row, "mrr": "6.0"}
    assert {row["mrr"] for row in rows if row["language"] == "de"} == {""}
    said = texts(tmp_path / "report" / "layers-retrieval.svg")
    assert said[-3:] == ["score", "en", "de"]
    assert "](layers-retrieval.svg)" in (tmp_path / "report" / "report.md").read_text("utf-8")


def test_answers_have_a_table_by_language(runs, tmp_path):
    for seed, value in ((1, 10.0), (2, 20.0)):
        scores = {
            code: {
                "map@20": value,
                "examples": 9,
                "by_answer_language": {"en": value, "de": 1.0},
                "same_language_at_1": 50.0,
            }
            for code in ("de", "en")
        }
        runs("retrieval", "lareqa", [HELLASWAG], seed=seed, layer=4, scores=scores, metric="map@20")
    runs("retrieval", "tatoeba", [HELLASWAG], layer=2)
    run_report.main([str(runs.folder), "--output_dir", str(tmp_path / "report")])
    text = (tmp_path / "report" / "report.md").read_text("utf-8")
    assert text.count("map by language of question") == 1
    assert "|  | en | de | own language first |\n| --- | ---: | ---: | ---: |\n| en | 15.0 | 1.0 | 50.0 |" in text


def test_layers_that_a_retrieval_took_over_are_another_encoder(runs, tmp_path):
    trained, some = step("target", "lareqa"), step("target", "lareqa", "transfer-0-5")
    runs("retrieval", "lareqa", [trained], 30.0, layer=4)
    runs("retrieval", "lareqa", [trained], 20.0, layer=4, factors=["transfer-0-11"])
    runs("retrieval", "lareqa", [some], 25.0, layer=4, factors=["threshold1.2"])
    assert cells(runs, tmp_path).keys() == {
        ("none", "lareqa (layer 4)"),
        ("none (transfer-0-11)", "lareqa (layer 4)"),
        ("none (transfer-0-5)", "lareqa (layer 4, threshold1.2)"),
    }


def test_a_retrieval_of_an_encoder_trained_for_it_belongs_to_that_training(runs, tmp_path):
    trained, lora = step("target", "lareqa"), step("target", "lareqa", "lora")
    runs("retrieval", "lareqa", [HELLASWAG, trained], 30.0, layer=4)
    runs("retrieval", "lareqa", [trained], 20.0, layer=4)
    runs("retrieval", "lareqa", [lora], 25.0, layer=4, factors=["mean"])
    runs("retrieval", "tatoeba", [step("target", "squad")], 10.0, layer=2)
    assert cells(runs, tmp_path) == {
        ("hellaswag", "lareqa (layer 4)"): (30.5, 10),
        ("none", "lareqa (layer 4)"): (20.5, 0),
        ("none", "lareqa (layer 4, lora, mean)"): (25.5, 0),
        ("squad", "tatoeba (layer 2)"): (10.5, None),
    }


# ---- plots ----------------------------------------------------------------------------------------------------------


def texts(path):
    """What an SVG says; text is drawn as outlines, with its words in comments."""
    parser = ElementTree.XMLParser(target=ElementTree.TreeBuilder(insert_comments=True))
    root = ElementTree.parse(path, parser=parser).getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    return [node.text.strip() for node in root.iter() if callable(node.tag)]


def test_the_report_shows_both_plots_the_same_each_time(runs, tmp_path):
    compared_with = {"model": "encoder", "fingerprint": BASE["fingerprint"]}
    for row, drop in ((HELLASWAG, 0.4), (FROZEN, 0.1)):
        cka = {"en": [1, 1 - drop], "de": [1, 1 - drop / 2], "sw": [1, 1 - drop / 3]}
        runs("retrieval", "tatoeba", [row], layer=1, compared_with=compared_with, cka=cka)
        runs("intermediate", "hellaswag", [row], weight_change=MOVED)
    runs("target", "xnli", [XNLI], weight_change=MOVED | {"top": 0.3})
    for name in ("one", "two"):
        run_report.main([str(runs.folder), "--output_dir", str(tmp_path / name)])
    for name in ("layers-weights.svg", "layers-cka.svg"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
        assert f"]({name})\n\n" in (tmp_path / "one" / "report.md").read_text("utf-8")
    said = texts(tmp_path / "one" / "layers-weights.svg")
    assert {"intermediate training", "xnli target training", "none", "hellaswag", "hellaswag (freeze-1)"} < set(said)
    assert {"relative change of weights", "emb.", "top"} < set(said)
    said = texts(tmp_path / "one" / "layers-cka.svg")
    assert said[-4:] == ["linear CKA", "en", "sw", "de"], "English first, then by the mean"


def check_layout(figure):
    """Nothing overlaps and nothing is cut off."""
    boxes = [ax.get_tightbbox() for ax in figure.axes] + [legend.get_window_extent() for legend in figure.legends]
    boxes += [figure._supxlabel.get_window_extent(), figure._supylabel.get_window_extent()]
    for place, box in enumerate(boxes):
        assert min(box.x0, box.y0, figure.bbox.x1 - box.x1, figure.bbox.y1 - box.y1) > -1, "cut off"
        assert not any(box.overlaps(other) for other in boxes[:place])
    for ax in figure.axes:
        names = [label.get_window_extent() for label in ax.get_xticklabels() if label.get_text()]
        assert all(left.x1 < right.x0 for left, right in pairwise(names))


LARGE = "xlm-roberta-large (012345)"


@pytest.mark.parametrize("count", [1, 4, 10])
def test_large_encoders_and_many_languages_have_room(count, saved_figures, tmp_path):
    lines = [f"task{i} (freeze-embeddings+0-{i})" for i in range(count)]
    change = {"embeddings": 0.01, **{str(i): 0.1 + i / 100 for i in range(24)}, "top": 0.5}
    titles = [f"{name} target training\n{LARGE}" for name in lines]
    plot_weight_changes({title: {line: [change] for line in lines} for title in titles}, lines, tmp_path / "w.svg")
    languages = ["en", *(f"l{i:02}" for i in range(41))]
    cka = {code: [[math.exp(-i * layer / 500) for layer in range(25)]] for i, code in enumerate(languages)}
    plot_cka({f"{name}\ntatoeba, compared with {LARGE}": cka for name in lines}, tmp_path / "c.svg")
    for figure in saved_figures:
        assert len(figure.axes) == count
        check_layout(figure)


def test_the_mean_over_seeds_and_their_range_are_drawn(saved_figures, tmp_path):
    seeds = [{**MOVED, "1": value} for value in (0.3, 0.4, 0.8)]
    plot_weight_changes({"a": {"line": seeds}}, ["line"], tmp_path / "w.svg")
    embeddings, layers, top = saved_figures[0].axes[0].lines
    assert layers.get_ydata() == pytest.approx([0.2, 0.5])
    assert (list(embeddings.get_ydata()), list(top.get_ydata())) == ([0.1], [])
    band = saved_figures[0].axes[0].collections[1].get_paths()[0].vertices
    assert {(round(x), round(y, 3)) for x, y in band if x == 1} == {(1, 0.3), (1, 0.8)}
    cka = {"en": [[1, 0.4], [1, 0.8]], "de": [[1, 0.1], [1, 0.2]]}
    plot_cka({"a": cka, "b": {"de": [[1, 0.5]]}}, tmp_path / "c.svg")
    found = [{line.get_label(): list(line.get_ydata()) for line in ax.lines} for ax in saved_figures[1].axes]
    assert found == [
        {"en": pytest.approx([1, 0.6]), "de": pytest.approx([1, 0.15])},
        {"de": pytest.approx([1, 0.5])},
    ]
    assert [line.get_linestyle() for line in saved_figures[1].axes[0].lines] == ["--", "-"]
