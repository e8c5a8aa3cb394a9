"""Degenerate runs: at chance, flat, diverged or not finite, task by task; evaluations that give a language one label."""

import json
import math
from math import inf, nan

import pytest
import test_report
from test_multitask import intermediate
from test_report import chain, evaluated, lay_out, report, rows_of, step, table_of, text_of, values
from transformers import TrainerControl, TrainerState, TrainingArguments

import run_intermediate
from xstilts import callbacks, training
from xstilts.base import UserError, read_json
from xstilts.degenerate import has_failed, is_constant, of_evaluation, reasons, tasks_at_chance
from xstilts.metrics import Accuracy
from xstilts.report_guards import partly_learned
from xstilts.score_table import without_degenerate

KNOWING_NOTHING = math.log(3)  # nats, three equally frequent labels


def trained(dev=36.0, losses=(1.3, 1.1, 0.9), phase="target", **more):
    """run.json of a training on XNLI, 2,000 selection rows: two standard errors are 2.1 points."""
    curve = [[50 * place, loss] for place, loss in enumerate(losses, start=1)]
    run = {"phase": phase, "task": "xnli", "metric": "accuracy", "dev_scores": {"loss": 1.0, "accuracy": dev}}
    run |= {"loss_curve": curve, "data": [{"task": "xnli", "split": "validation", "rows": 2000}]}
    return {**run, "chance": 33.3, "label_entropy_bits": math.log2(3), "dev_curve": [], **more}


# ---- one task -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("run", "found"),
    [
        (trained(), []),
        (trained(dev=35.3), ["xnli at chance"]),
        (trained(dev=33.3, losses=(1.3, 1.1, 1.098)), ["xnli at chance", "xnli loss flat"]),
        (trained(dev=38.0, losses=(1.3, 1.1, 1.098)), ["xnli loss flat"]),
        (trained(dev=38.0, losses=(1.3, 1.1, 0.994 * KNOWING_NOTHING)), []),
        (trained(dev=38.0, losses=(1.3, 1.1, 0.996 * KNOWING_NOTHING)), ["xnli loss flat"]),
        (trained(dev=44.0, losses=(1.3, 1.1, 1.098)), []),  # unsure, but it knows something
        (trained(dev=38.0, losses=(0.41, 0.40, 0.405)), []),  # a kept head that begins low
        (trained(dev=38.0, losses=(1.099, 1.3, 1.2)), ["xnli diverged"]),
        (trained(dev=80.0, losses=(1.1, inf, 0.3)), ["xnli diverged"]),
        (trained(dev=38.0, losses=(1.098, 1.098)), []),  # too few entries to say
        (trained(dev=nan), ["xnli dev accuracy not finite"]),
        (trained(dev_curve=[{"step": 50, "loss": nan, "accuracy": 36.0}]), ["xnli dev loss not finite"]),
        (trained(dev_curve=[{"step": s, "loss": inf, "accuracy": nan} for s in (50, 100)]),
         ["xnli dev loss not finite", "xnli dev accuracy not finite"]),
        ({**trained(dev=33.0), "degenerate": []}, []),  # taken at its word
        ({**trained(dev=33.0), "phase": "eval"}, []),
        ({}, []),
    ],
)  # fmt: skip
def test_what_is_degenerate(run, found):
    assert reasons(run) == found
    assert reasons(json.loads(json.dumps(run))) == found


@pytest.mark.parametrize(
    ("dev", "losses", "found"),
    [
        (6.5, (5.9, 5.8, 5.7), ["squad loss flat"]),  # places of answers drawn at random
        (6.5, (5.9, 5.0, 4.0), []),
        (70.0, (0.62, 0.61, 0.60), []),  # learned within the first entry, or before
        (0.4, (5.9, 5.8, 5.7), ["squad at chance", "squad loss flat"]),
    ],
)
def test_without_labels_the_loss_is_measured_against_its_beginning(dev, losses, found):
    run = trained(dev, losses, task="squad", chance=0.0, label_entropy_bits=None)
    assert reasons(run) == found


def test_a_fresh_head_that_only_learns_how_frequent_labels_are_is_flat():
    """17 tags: the loss falls from 2.83 to an entropy of 2.4 nats, and nothing is known of any word."""
    run = trained(9.0, (2.83, 2.5, 2.41), chance=4.0, label_entropy_bits=2.4 / math.log(2))
    assert reasons(run) == ["xnli loss flat"]


# ---- several --------------------------------------------------------------------------------------------------------

MIXED = {
    "mnli": {"metric": "accuracy", "chance": 33.3, "dev_rows": 2000, "label_entropy_bits": 1.58},
    "squad": {"metric": "f1_em_mean", "chance": 0.0, "dev_rows": 500, "label_entropy_bits": None},
}


def mixed(mnli, squad, losses=(3.0, 2.0, 1.0), **more):
    """run.json of a training on two tasks and text."""
    scores = {"mnli": {"accuracy": mnli}, "squad": {"f1_em_mean": squad}, "mlm": {"loss": 3.0}}
    found = {"dev_scores": {"average": (mnli + squad) / 2, **scores}, "metric": "average", "mixture": {}}
    return {**trained(losses=losses, phase="intermediate"), "task": "mnli+squad", "complexity": MIXED, **found, **more}


@pytest.mark.parametrize(
    ("run", "found"),
    [
        (mixed(60.0, 40.0), []),
        (mixed(34.0, 40.0), []),
        (mixed(34.0, 0.5), ["mnli at chance", "squad at chance"]),
        (mixed(60.0, 0.5, losses=(3.0, 2.9, 2.95)), []),  # one of them has learned
        (mixed(34.0, 3.0, losses=(3.0, 2.9, 2.95)), ["mnli+squad loss flat"]),
        (mixed(60.0, nan), ["mnli+squad dev average not finite", "squad dev f1_em_mean not finite"]),
        (mixed(60.0, 40.0, dev_curve=[{"step": 5, "squad_f1_em_mean": nan, "average": nan}]),
         ["squad dev f1_em_mean not finite", "mnli+squad dev average not finite"]),
        (mixed(34.0, 40.0, complexity={"mnli": {"chance": 33.3}, "squad": {"chance": 0.0}}), []),  # an older file
    ],
)  # fmt: skip
def test_tasks_of_a_mixture_stand_by_their_names(run, found):
    assert sorted(reasons(run)) == sorted(found)


def test_text_beside_a_task_does_not_count_among_its_selection_rows():
    """Of 100,000 rows 35 percent would be clearly above chance."""
    rows = [
        {"task": "xnli", "split": "validation", "rows": 2000},
        {"task": "mlm", "split": "validation", "rows": 98_000},
    ]
    assert reasons(trained(35.0, data=rows)) == ["xnli at chance"]


# ---- predictions ----------------------------------------------------------------------------------------------------

TEN = ["a"] * 5 + ["b"] * 5


@pytest.mark.parametrize(
    ("predictions", "gold", "found"),
    [
        (["a"] * 10, TEN, True),
        (["a"] * 9 + ["b"], TEN, False),
        (["a"] * 9, TEN[:9], False),  # too few
        (["a"] * 10, ["a"] * 10, False),  # that is right
        ([["O", "O"]] * 5, [["O", "LOC"]] * 5, True),
        ([["O", "O"]] * 4 + [["LOC", "O"]], [["O", "LOC"]] * 5, False),
    ],
)
def test_constant_predictions(predictions, gold, found):
    assert is_constant(predictions, gold) == found


@pytest.mark.parametrize(
    ("constant", "source", "failed"),
    [
        (["sw"], "en", False),
        (["en", "sw"], "en", True),
        (["en", "de", "sw"], None, True),
        (["sw"], None, False),
        ([], "en", False),
    ],
)
def test_an_evaluation_fails_where_its_source_language_does(constant, source, failed):
    scores = {code: {"constant_predictions": code in constant} for code in ("en", "de", "sw")}
    assert has_failed({"scores": scores, "source_language": source}) == failed
    assert of_evaluation(scores) == ([f"constant predictions in {', '.join(constant)}"] if constant else [])


# ---- the report -----------------------------------------------------------------------------------------------------


def constant(scores, languages, seed):
    """A chain of runs whose predictions are constant in some languages, {path: run.json}."""
    runs = chain("xnli", scores, seed=seed)
    path = next(path for path in runs if path.startswith("eval"))
    own = {code: {**each, "constant_predictions": code in languages} for code, each in runs[path]["scores"].items()}
    return {**runs, path: {**runs[path], "scores": own, "degenerate": of_evaluation(own)}}


def test_the_report_names_constant_languages_and_leaves_out_what_failed(tmp_path):
    runs = constant(values(50), ["sw", "zh"], 1) | constant(values(34, 2), ["en", "de", "sw", "zh"], 2)
    runs |= chain("xnli", values(50, 3), seed=3, losses=(1.2, 1.2, 1.19), dev=43.0, label_entropy_bits=math.log2(3))
    table = table_of(runs)
    assert set(without_degenerate(table)["seed"]) == {1}
    output_dir = report(lay_out(runs, tmp_path / "runs"), "--questions", "layers")
    why = {row["seed"]: row["why"] for row in rows_of(output_dir / "degenerate.csv")}
    assert why == {
        "1": "constant predictions in sw, zh",
        "2": "constant predictions in en, de, sw, zh",
        "3": "xnli loss flat",
    }
    assert "| 2 | constant predictions in en, de, sw, zh |" in text_of(output_dir)
    scores = {(row["seed"], row["language"]): row for row in rows_of(output_dir / "scores.csv")}
    assert (scores["1", "sw"]["constant"], scores["1", "en"]["constant"]) == ("True", "False")
    assert (scores["1", "sw"]["flag"], scores["2", "de"]["flag"]) == ("", "constant predictions in en, de, sw, zh")


def test_flags_of_older_runs_are_found_out_and_new_ones_read():
    record = step("target", "xnli")
    runs = {"eval": evaluated("xnli", [record], values(50))}
    old = chain("xnli", values(50), dev=34.0)
    assert table_of(old)["flag"].unique() == ["xnli at chance"]
    told = {path: {**run, "degenerate": ["xnli is odd"]} if "dev_scores" in run else run for path, run in old.items()}
    assert table_of(told)["flag"].unique() == ["xnli is odd"]
    assert table_of(runs)["flag"].unique() == [""]


def test_trainings_that_end_at_the_same_weights_are_two_trainings():
    """XNLI without intermediate training is MNLI's training: same rows, seed and steps."""
    before, alone = step("intermediate", "mnli", fingerprint="same"), step("target", "xnli", fingerprint="same")
    runs = chain("xnli", values(50), before=[before])
    runs |= {"mnli": test_report.trained([before], dev=33.3), "xnli": test_report.trained([alone], dev=60.0)}
    found = table_of(runs)
    assert set(found.loc[found["row"] == "mnli", "flag"]) == {"mnli at chance"}


def test_some_tasks_at_chance_are_named_and_the_run_counts():
    run = {**mixed(34.0, 40.0), "lineage": [{"base_model": "b"}, {"task": "mnli+squad", "factors": ["K9"]}], "seed": 3}
    assert tasks_at_chance(run) == ["mnli"]
    assert tasks_at_chance({**run, "phase": "eval"}) == []
    (line,) = partly_learned({"a": run, "b": {**run, "seed": 4}, "c": {**run, **mixed(60.0, 40.0)}})
    assert line.startswith("mnli+squad (K9): some of its tasks ended at chance")
    assert "mnli (seed 3); mnli (seed 4). The encoder has learned" in line


# ---- the scripts ----------------------------------------------------------------------------------------------------


def test_a_training_says_that_it_is_degenerate(world, encoder, tmp_path, capsys):
    """Nothing is learned at a rate of 0; per task in a run of two."""
    done = intermediate(tmp_path / "one", world, encoder, "--task mnli --learning_rate 0 --logging_steps 1")
    assert "mnli at chance" in done["degenerate"]
    assert "warning: degenerate: mnli at chance" in capsys.readouterr().out
    two = intermediate(tmp_path / "two", world, encoder, "--task mnli+copa --learning_rate 0 --max_eval_samples 60")
    assert {"mnli at chance", "copa at chance"} <= {*two["degenerate"]}
    assert {name: (own["metric"], own["dev_rows"]) for name, own in two["complexity"].items()} == {
        name: ("accuracy", sum(r["rows"] for r in two["data"] if r["split"] == "validation" and r["task"] == name))
        for name in ("mnli", "copa")
    }


def test_a_score_of_nan_chooses_no_checkpoint(world, encoder, tmp_path, monkeypatch):
    """The Trainer would keep the last weights: nothing is better than nan, nor nan than anything."""
    monkeypatch.setattr(Accuracy, "_compute", lambda self, predictions, references: {"accuracy": nan})
    with pytest.raises(UserError, match=r"eval_accuracy is nan at step \d+, so it cannot choose a checkpoint") as error:
        intermediate(tmp_path / "run", world, encoder, "--task mnli")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run" / "run.json").exists()


def test_a_dev_loss_of_nan_that_chooses_nothing_is_flagged(world, encoder, tmp_path, monkeypatch):
    """As fp16 may give in evaluation alone."""
    kept = training.kept_outputs
    monkeypatch.setattr(training, "kept_outputs", lambda *args: (kept(*args)[0], nan))
    done = intermediate(tmp_path / "run", world, encoder, "--task mnli")
    assert "mnli dev loss not finite" in done["degenerate"]
    assert "mnli dev loss not finite" in read_json(tmp_path / "run" / "run.json")["degenerate"]


def test_only_the_score_that_chooses_stops_a_run(tmp_path):
    args = TrainingArguments(output_dir=str(tmp_path), metric_for_best_model="accuracy")
    stop, state = callbacks.StopOnNonFiniteLoss(), TrainerState(global_step=3)
    stop.on_evaluate(args, state, TrainerControl(), {"eval_accuracy": nan})  # the last weights are what is asked for
    args.load_best_model_at_end = True
    stop.on_evaluate(args, state, TrainerControl(), {"eval_accuracy": 50.0, "eval_loss": nan})
    with pytest.raises(UserError, match="eval_accuracy is inf at step 3"):
        stop.on_evaluate(args, state, TrainerControl(), {"eval_accuracy": inf})


def test_the_first_dev_score_stops_a_mixture_too(world, encoder, tmp_path, monkeypatch):
    monkeypatch.setattr(Accuracy, "_compute", lambda self, predictions, references: {"accuracy": nan})
    line = f"--task mnli+copa --model_name_or_path {encoder} --data_dir {world} --output_dir {tmp_path} --use_cpu"
    small = "--max_train_samples 8 --max_eval_samples 4 --max_seq_length 96 --num_train_epochs 1"
    with pytest.raises(UserError, match="eval_average is nan"):
        run_intermediate.main(f"{line} {small}".split())
