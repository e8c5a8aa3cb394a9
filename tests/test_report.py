"""The report on runs that are made up: the table of scores, degenerate runs, the overview, bad input, whether figures hold."""

import csv
import hashlib
import json
import re
from math import nan
from pathlib import Path
from statistics import mean

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import run_report
from xstilts.base import UserError
from xstilts.overview import benchmark_averages, cells, chosen
from xstilts.report import collect, column_of, in_order, row_of, scored, scores_by_layer, set_apart, vectors_moved
from xstilts.score_table import check_data, mixed_columns, score_table, without_degenerate
from xstilts.statistics import gain, holm, paired_bootstrap
from xstilts.xtreme import XTREME, averages

BASE = {"base_model": "encoder", "fingerprint": "0123456789abcdef"}
OTHER = {"base_model": "encoder", "fingerprint": "fedcba9876543210"}
LANGUAGES = ("en", "de", "sw", "zh")


def step(phase, task, seed=1, *factors, **more):
    """A record of the lineage; its fingerprint is that of what it holds."""
    own = {"phase": phase, "task": task, "seed": seed, "factors": list(factors), "languages": ["en"], **more}
    own |= {} if phase == "target" else {"tasks": task.split("+"), "frozen": more.get("frozen", "none")}
    return {"fingerprint": digest(own), **own}


def digest(content):
    """What identifies a content."""
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]


def trained(records, base=BASE, dev=80.0, chance=33.3, losses=(1.1, 0.8, 0.5), arguments=(), **more):
    """run.json of the training that the last of the records is of."""
    last, arguments = records[-1], dict(arguments)
    known = (
        {"chance": chance}
        if last["phase"] == "target"
        else {"complexity": {last["task"]: {"chance": chance, "rows": 64}}}
    )
    return {
        "format": 1, "phase": last["phase"], "task": last["task"], "lineage": [base, *records], "seed": last["seed"],
        "metric": "accuracy", "dev_scores": {"loss": 0.5, "accuracy": dev}, "steps": 60,
        "loss_curve": [[20 * place, loss] for place, loss in enumerate(losses, start=1)], "arguments": arguments,
        "identity": {"arguments": {**arguments, "seed": last["seed"]}},
        "data": [{"split": "train", "rows": 999, "language": "en"}, {"split": "validation", "rows": 100, "language": "en"}],
        "weight_change": {"embeddings": 0.1, "0": 0.1, "1": 0.2, "top": 0.3}, **known, **more,
    }  # fmt: skip


def evaluated(task, records, scores, seed=1, base=BASE, phase="eval", **more):
    """run.json of an evaluation or a retrieval with {language: accuracy}."""
    others = [value for code, value in scores.items() if code != "en"]
    return {
        "format": 1, "phase": phase, "task": task, "lineage": [base, *records], "seed": seed, "split": "test",
        "metric": "accuracy", "source_language": "en" if phase == "eval" else None, "missing_languages": {},
        "scores": {code: {"accuracy": value, "examples": 100} for code, value in scores.items()},
        "averages": {"all": mean(scores.values()), "zero_shot": mean(others)},
        "zero_shot_languages": [code for code in scores if code != "en"],
        "data": [{"language": code, "split": "test", "fingerprint": f"{task}-{code}"} for code in scores], **more,
    }  # fmt: skip


def chain(target, scores, before=(), seed=1, factors=(), base=BASE, evaluation=(), **training):
    """{path: run.json} of a target training behind the records `before`, and of its evaluation."""
    records = [*before, step("target", target, seed, *factors, behind=[base, *before])]
    path = f"{'-'.join(each['task'] for each in records)}-{digest([base, records])}"
    own = evaluated(target, records, scores, seed, base, **dict(evaluation))
    name = f"eval-{own['split']}"
    return {f"target/{path}": trained(records, base, **training), f"{name}/{path}": own}


def taught(task, seed=1, *factors, base=BASE, of_lineage=(), **training):
    """(the lineage's record of an intermediate training, {path: its run.json})."""
    record = step("intermediate", task, seed, *factors, base=base["fingerprint"], **dict(of_lineage))
    return record, {
        f"intermediate/{task}-{base['fingerprint'][:3]}-{seed}-{'-'.join(factors)}": trained([record], base, **training)
    }


def values(level, seed=1, tilt=1.0, languages=LANGUAGES):
    """{language: score}: lower from language to language; a seed moves it a little."""
    return {code: level - tilt * place + 0.3 * (seed * seed % 5) for place, code in enumerate(languages)}


def small(seeds=(1, 2, 3), gains=(2.0, -1.0), base=BASE, level=60):
    """Runs of two targets without and with intermediate training, whose gain varies over seeds."""
    runs = {}
    for seed in seeds:
        record, own = taught("mnli", seed, base=base)
        runs |= own
        for target, gained in zip(("xnli", "pawsx"), gains, strict=True):
            runs |= chain(target, values(level, seed), seed=seed, base=base)
            runs |= chain(target, values(level + gained + 0.2 * seed, seed, 1.5), [record], seed, base=base)
    return runs


def lay_out(runs, folder):
    """Write {path: run.json} below a folder."""
    for path, run in runs.items():
        file = folder / path / "run.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(run))
    return folder


def table_of(runs):
    """The score table of {path: run.json}."""
    found = set_apart({Path(path): run for path, run in runs.items()})
    paths = {id(run): path for path, run in found.items()}
    return score_table({paths[id(run)]: run for run in scored(found).values()}, found)


def report(folder, *options):
    """Write the report on a folder; the folder that it is in."""
    output_dir = folder.parent / "report"
    run_report.main([str(folder), "--output_dir", str(output_dir), *options])
    return output_dir


def text_of(output_dir):
    return (output_dir / "report.md").read_text("utf-8")


def told(**arguments):
    """A run of xnli on one base model, and the names of the columns that it and others stand in."""
    runs = {}
    for place, own in enumerate((arguments, {"learning_rate": 1e-5}), start=1):
        runs |= chain("xnli", values(50), seed=place, arguments={"learning_rate": 1e-5} | own)
    return {column_of(run) for run in set_apart(runs, DEFAULTS).values() if run["phase"] == "eval"}


DEFAULTS = {"learning_rate": 5e-5, "new_of_the_trainer": True, "new_of_ours": 3}


def test_an_option_that_older_runs_do_not_know_sets_apart_only_where_it_was_used():
    assert told(new_of_the_trainer=True, new_of_ours=3, gone=False) == {"xnli"}
    assert told(new_of_ours=4) == {"xnli", "xnli (new_of_ours 4)"}
    assert told(gone="linear") == {"xnli", "xnli (gone linear)"}
    assert told(learning_rate=5e-5) == {"xnli (learning_rate 5e-05)", "xnli (learning_rate 1e-05)"}


def test_what_changes_no_result_sets_nothing_apart():
    """When checkpoints are saved; when a training is evaluated whose last step is taken; a training behind no score."""
    idle = {"save_strategy": "steps", "save_steps": 7, "eval_strategy": "steps", "eval_steps": 7}
    assert told(**idle) == {"xnli"}
    assert told(**idle, load_best_model_at_end=True) == {
        "xnli (eval_steps 7, eval_strategy steps, load_best_model_at_end True)",
        "xnli",
    }
    runs = chain("xnli", values(50), seed=1, arguments={"learning_rate": 1e-5})
    unused = chain("xnli", values(50), seed=2, arguments={"learning_rate": 3e-5})
    runs |= {path: run for path, run in unused.items() if run["phase"] == "target"}
    assert {column_of(run) for run in set_apart(runs, DEFAULTS).values() if run["phase"] == "eval"} == {"xnli"}


# ---- the table of scores --------------------------------------------------------------------------------------------


def test_gains_are_over_the_run_of_the_same_seed_and_language():
    table = table_of(small())
    assert len(table) == 2 * 2 * 3 * len(LANGUAGES)
    own = table[(table["column"] == "xnli") & (table["row"] == "mnli")].set_index(["seed", "language"])
    for seed in (1, 2, 3):
        for place, language in enumerate(LANGUAGES):
            one = own.loc[(seed, language)]
            assert one["baseline"] == values(60, seed)[language]
            assert one["gain"] == pytest.approx(2 + 0.2 * seed - 0.5 * place)
            assert "mnli" not in str(one["baseline_path"])
    assert (table.loc[table["row"] == "none", "gain"] == 0).all()


def test_a_seed_or_language_without_baseline_has_no_gain():
    record, runs = taught("mnli", 2)
    runs |= chain("xnli", values(50), seed=1)
    runs |= chain("xnli", values(50, 2), [record], 2)
    one, more = taught("mnli", 1)
    runs |= more | chain("xnli", values(50, languages=(*LANGUAGES, "ur")), [one], 1)
    table = table_of(runs)
    missing = table[table["gain"].isna()]
    assert {(row.seed, row.language) for row in missing.itertuples()} == {*((2, code) for code in LANGUAGES), (1, "ur")}
    found = cells(table).set_index("row").loc["mnli"]
    assert (found["gain"], found["paired_seeds"]) == (pytest.approx(0), 1)
    own = table[(table["row"] == "mnli") & (table["language"] != "ur")]
    assert found["score"] == pytest.approx(own.groupby("path")["score"].mean().mean()), "ur counts in no mean"


def test_an_untrained_encoder_is_the_baseline_of_all_seeds():
    runs = {"retrieval/none": evaluated("tatoeba", [], {"de": 20.0, "sw": 10.0}, seed=42, phase="retrieval", layer=1)}
    for seed in (1, 2):
        record, own = taught("mnli", seed)
        found = {"de": 25.0 + seed, "sw": 10.0}
        runs |= own | {f"retrieval/{seed}": evaluated("tatoeba", [record], found, seed, phase="retrieval", layer=1)}
    table = table_of(runs)
    assert table.loc[table["row"] == "none", "seed"].isna().all()
    own = table[table["row"] == "mnli"].set_index(["seed", "language"])["gain"]
    assert own.to_dict() == {(1, "de"): 6, (1, "sw"): 0, (2, "de"): 7, (2, "sw"): 0}
    assert table[["loss", "loss_from"]].isna().all(axis=None), "a retrieval loses nothing"


def test_two_seeds_of_an_untrained_encoder_are_one_retrieval(tmp_path):
    def again(seed, **scores):
        more = {"layer": 1, "layers": [0, 1], "by_layer": {"de": {"accuracy": [1.0, 20.0]}}, "cka": {"de": [1.0, 0.5]}}
        more["compared_with"] = {"model": "other", "fingerprint": None}
        return evaluated("tatoeba", [], {"de": 20.0, "sw": 10.0, **scores}, seed=seed, phase="retrieval", **more)

    runs = {f"retrieval/{seed}": again(seed) for seed in (1, 2)}
    found = cells(table_of(runs)).iloc[0]
    assert (found["seeds"], found["deviation"]) == (1, None)
    assert len(vectors_moved(runs)["tatoeba, encoder (012345) compared with other"]["none"]["de"]) == 1
    assert len(scores_by_layer(runs)["encoder (012345)", "none", "tatoeba"]["de"]) == 1
    with pytest.raises(UserError, match=r"are both encoder .* > none > tatoeba .layer 1.; give"):
        table_of(runs | {"retrieval/other": again(3, de=30.0)})


def test_several_or_unknown_source_languages_are_not_english():
    """Of a model that learnt from de and zh nothing is known to be lost in English."""
    several = step("target", "xnli", languages=["de", "zh"])
    runs = {
        "target/a": trained([several]),
        "eval/a": evaluated("xnli", [several], {"en": 70.0, "de": 75.0, "sw": 60.0}, source_language=None),
    }
    runs |= {"eval/b": evaluated("pawsx", [], {"en": 70.0, "de": 75.0}, source_language=None)}
    table = table_of(runs)
    assert table[["loss", "loss_from"]].isna().all(axis=None)
    assert set(table["source"]) == {""}


def test_losses_are_against_the_source_language_and_without_its_test_set_against_its_dev_set():
    runs = chain("xnli", {"en": 80.0, "de": 70.0})
    runs |= chain("xcopa", {"sw": 55.0, "zh": 60.0}, dev=75.0)
    runs |= chain("udpos", {"en": 40.0, "de": 70.0, "sw": 65.0}, evaluation={"source_language": "de"})
    table = table_of(runs).set_index(["target", "language"])
    losses = table["loss"].to_dict()
    assert losses["xnli", "de"] == 10
    assert losses["xnli", "en"] == 0
    assert losses["xcopa", "sw"] == 20
    assert losses["xcopa", "zh"] == 15
    assert losses["udpos", "sw"] == 5
    assert losses["udpos", "en"] == 30
    assert table["loss_from"].to_dict() == {place: "dev" if place[0] == "xcopa" else "test" for place in losses}
    alone = table_of({path: run for path, run in runs.items() if run["phase"] == "eval"}).set_index("target")
    assert alone.loc["xcopa", "loss"].isna().all()
    assert alone.loc["xcopa", "loss_from"].isna().all()


def test_what_only_trainings_know_is_looked_up_and_otherwise_missing():
    complexity = {"mnli": {"chance": 33.0, "rows": 500, "prequential_bits_per_example": 1.25}}
    record, runs = taught(
        "mnli", 1, "freeze-1", of_lineage={"frozen": "1"}, complexity=complexity, arguments={"max_steps": 120}
    )
    runs |= chain("xnli", values(50), [record], factors=["transfer-2"], dev=71.0)
    drawn = {"arguments": {"task_subset_size": 2, "task_subset_seed": 7, "max_steps_per_task": 30}}
    other, more = taught("squad+qqp", 1, of_lineage={"languages": ["de", "en"]}, steps=90, **drawn)
    runs |= more | chain("xnli", values(51), [other])
    rows = "tasks number draw budget steps rows taught frozen transferred bits english_dev layers".split()
    table = table_of(runs).drop_duplicates("path").set_index("tasks", drop=False)[rows]
    assert table.loc["mnli"].fillna("").tolist() == [
        "mnli", 1, "", "120 steps", 60, 500, "en", "1", "2", 1.25, 71.0, 2,
    ]  # fmt: skip
    assert table.loc["squad+qqp", ["number", "draw", "budget", "steps", "taught", "transferred"]].tolist() == [
        2, 7, "30 steps a task", 90, "de,en", "all",
    ]  # fmt: skip
    alone = table_of({path: run for path, run in runs.items() if run["phase"] == "eval"})
    own = alone.drop_duplicates("path").set_index("tasks")
    assert own.loc["mnli", ["number", "taught", "frozen", "transferred"]].tolist() == [1, "en", "1", "2"], (
        "in the lineage"
    )
    assert own[["draw", "steps", "rows", "bits", "english_dev", "layers"]].isna().all(axis=None)
    assert (own["budget"] == "").all()
    assert (own["flag"] == "").all()


def test_of_two_trainings_one_of_which_is_not_known_nothing_is_said():
    first, runs = taught("mnli", 1)
    second, _ = taught("squad", 1)
    table = table_of(runs | chain("xnli", values(50), [first, second]))
    assert table["number"].unique() == [2]
    assert table[["steps", "rows", "bits"]].isna().all(axis=None)


def test_trainings_without_a_fingerprint_are_nobodys():
    record, runs = taught("mnli", 1, dev=33.0)
    lost = {**record, "fingerprint": None}
    runs = {path: {**run, "lineage": [BASE, lost]} for path, run in runs.items()}
    own = {**step("target", "xnli"), "fingerprint": None}
    table = table_of(runs | {"eval": evaluated("xnli", [own], values(50))})
    assert table["flag"].unique() == [""]
    assert table["english_dev"].isna().all()


# ---- degenerate runs ------------------------------------------------------------------------------------------------

# Two standard errors of 100 rows at a chance of 33.3 are 9.43 points.


@pytest.mark.parametrize(
    ("training", "flag"),
    [
        ({"dev": 42.7}, "xnli at chance"),
        ({"dev": 42.8}, ""),
        ({"dev": 0.9, "chance": 0.0}, "xnli at chance"),
        ({"dev": 1.1, "chance": 0.0}, ""),
        ({"dev": 80.0, "losses": (1.1, 0.5, nan)}, "xnli diverged"),
        ({"dev": 80.0, "losses": (1.1, 0.5, 1.2)}, "xnli diverged"),
        ({"dev": 80.0, "losses": (1.1, 1.3, 1.0)}, ""),
        ({"dev": 80.0, "losses": (1.1, 1.2)}, ""),
        ({"dev": 80.0, "loss_curve": [[50, 2.0], [100, 1.0], [150, 0.9], [151, 4.0]]}, ""),  # one hard batch
        ({"dev": 80.0, "loss_curve": [[50, 1.0], [100, 0.5], [150, 1.1], [151, 0.2]]}, "xnli diverged"),
    ],
)
def test_degenerate_trainings_are_flagged(training, flag):
    assert table_of(chain("xnli", values(50), **training))["flag"].unique() == [flag]


def test_flags_of_the_training_before_count_and_stand_first():
    record, runs = taught("squad", 1, dev=0.5, chance=0.2)
    table = table_of(runs | chain("xnli", values(50), [record], losses=(1, 2, 3)))
    assert table["flag"].unique() == ["squad at chance; xnli diverged"]
    assert len(without_degenerate(table)) == 0


def test_without_degenerate_runs_nothing_is_compared_with_one():
    runs = small()
    bad = next(
        path for path, run in runs.items() if run["phase"] == "target" and run["seed"] == 1 and len(run["lineage"]) == 2
    )
    runs[bad] = {**runs[bad], "dev_scores": {"accuracy": 33.0}}
    table = table_of(runs)
    assert table["gain"].notna().all()
    sound = without_degenerate(table)
    lost = sound[sound["gain"].isna()]
    assert {(each.row, each.column, each.seed) for each in lost.itertuples()} == {("mnli", runs[bad]["task"], 1)}
    assert table["gain"].notna().all(), "the table itself stays as it is"


# ---- trainings of one name ------------------------------------------------------------------------------------------


def test_trainings_with_different_settings_stand_apart_and_seeds_do_not():
    runs = {}
    for seed in (1, 2):
        for options in ({"max_steps": 120, "max_steps_per_task": None}, {"max_steps": -1, "max_steps_per_task": 30}):
            record = step("intermediate", "all", seed, told=options)
            runs[f"i{seed}{options['max_steps']}"] = trained([record], arguments=options)
            runs |= chain("xnli", values(50, seed), [record], seed, arguments={"learning_rate": 3e-5})
    assert set(table_of(runs)["row"]) == {"all (max_steps 120)", "all (max_steps_per_task 30)"}
    assert table_of(runs).groupby(["row", "column"])["path"].nunique().tolist() == [2, 2]


def test_targets_with_different_learning_rates_are_different_columns():
    rated = {
        f"{rate}": chain("xnli", values(50), arguments={"learning_rate": rate, "x": 1}, factors=())
        for rate in (1e-5, 3e-5)
    }
    runs = {}
    for rate, own in rated.items():
        for path, run in own.items():
            last = {**run["lineage"][-1], "fingerprint": rate}
            runs[f"{path}-{rate}"] = {**run, "lineage": [BASE, last]}
    assert set(table_of(runs)["column"]) == {"xnli (learning_rate 1e-05)", "xnli (learning_rate 3e-05)"}


def test_runs_that_are_told_the_same_are_refused():
    runs = chain("xnli", values(50))
    again = {f"{path}-again": run for path, run in chain("xnli", values(51)).items()}
    with pytest.raises(UserError, match=r"again and .* are both encoder \(012345\) > none > xnli > 1; give folders"):
        table_of(runs | again)


def test_of_an_evaluation_and_a_part_of_it_the_whole_counts(tmp_path, capsys):
    """Of what covers no other, two of one place are refused as ever."""
    record = step("target", "xnli")

    def of(codes, rows=100, **arguments):
        data = [{"task": "xnli", "split": "test", "language": code, "rows": rows} for code in codes]
        identity = {"lineage": [BASE, record], "arguments": {"max_seq_length": 256, **arguments}}
        return evaluated("xnli", [record], dict.fromkeys(codes, 50.0), data=data, identity=identity)

    runs = {
        "whole": of(["en", "de", "sw"], save_examples=False),
        "a/de": of(["de"], languages="de", save_examples=True),
        "a/few": of(["en", "de"], 12, languages="en,de", max_eval_samples=12),
    }
    found = collect([lay_out(runs, tmp_path)])
    assert [path.parent.name for path in found] == ["whole"]
    assert f"a/de/run.json is left out: {tmp_path}/whole/run.json has its languages" in capsys.readouterr().out
    for other in (of(["de"], max_seq_length=9), of(["de"], 101), of(["zh"])):
        lay_out({"other": other}, tmp_path)
        with pytest.raises(UserError, match="are both encoder"):
            scored(collect([tmp_path]))


def test_depths_are_in_order_of_their_size():
    names = ["mnli (freeze-12)", "mnli (freeze-6)", "none", "mnli", "mytask", "mnli (freeze-all)"]
    ordered = ["none", "mnli", "mnli (freeze-6)", "mnli (freeze-12)", "mnli (freeze-all)", "mytask"]
    assert in_order(names, run_report.ROWS) == ordered


# ---- the overview ---------------------------------------------------------------------------------------------------


def test_a_gain_is_the_mean_of_seed_paired_differences_and_holm_counts_the_cells_of_trainings():
    table = table_of(small())
    found = cells(table).set_index(["row", "column"])
    for column, level in (("xnli", 2.0), ("pawsx", -1.0)):
        differences = [level + 0.2 * seed - 0.75 for seed in (1, 2, 3)]
        own = found.loc[("mnli", column)]
        assert own["gain"] == pytest.approx(mean(differences))
        tested = stats.ttest_1samp(differences, 0)
        assert (own["low"], own["high"]) == pytest.approx(tuple(tested.confidence_interval()))
        assert own["p"] == pytest.approx(tested.pvalue)
        assert own["method"] == "t over seeds"
    treated = found.loc["mnli"]
    assert treated["p_holm"].tolist() == pytest.approx(holm(treated["p"].tolist()))
    assert found.loc["none", "p_holm"].isna().all()
    assert not found.loc["none", "significant"].any()
    assert treated["significant"].tolist() == (treated["p_holm"] < 0.05).tolist() == [True, True]


def ten_seeds(folder, languages=("en", "de"), size=40):
    """Runs of ten seeds on disk with what every example adds to their scores; {row: {language: (10, size, 2)}}."""
    rng, figures, runs = np.random.default_rng(0), {"none": {}, "mnli": {}}, {}
    for row, share in (("none", 0.5), ("mnli", 0.65)):
        for language in languages:
            hits = 100.0 * (rng.random((10, size)) < share)
            figures[row][language] = np.stack([hits, np.ones_like(hits)], 2)
    for seed in range(10):
        record, own = taught("mnli", seed)
        for row, before in (("none", []), ("mnli", [record])):
            scores = {code: figures[row][code][seed, :, 0].mean() for code in languages}
            made = chain("xnli", scores, before, seed)
            runs |= made
            path = folder / next(path for path in made if path.startswith("eval"))
            path.mkdir(parents=True)
            np.savez(path / "ratios.npz", **{code: figures[row][code][seed] for code in languages})
        runs |= own
    lay_out(runs, folder)
    return figures


def test_ten_seeds_use_the_examples_where_they_lie_beside_the_runs(tmp_path):
    figures = ten_seeds(tmp_path)
    found = collect([tmp_path])
    paths = {id(run): path for path, run in found.items()}
    table = score_table({paths[id(run)]: run for run in scored(found).values()}, found)
    own = cells(table).set_index("row").loc["mnli"]
    assert own["method"] == "bootstrap over examples and seeds"
    interval, p = paired_bootstrap(figures["mnli"], figures["none"])
    assert (own["low"], own["high"], own["p"]) == pytest.approx((*interval, p))
    next(tmp_path.rglob("ratios.npz")).unlink()
    without = cells(table).set_index("row").loc["mnli"]
    assert without["method"].startswith("t over seeds")
    assert without["gain"] == own["gain"]
    assert (without["low"], without["high"]) != (own["low"], own["high"])


def test_what_selection_would_have_chosen():
    """By English dev squad, by the target languages' own dev sets mnli."""
    runs = {}
    for seed in (1, 2):
        for task, dev, valid, test in ((None, 70, 40, 50), ("mnli", 75, 60, 58), ("squad", 80, 50, 52)):
            record, own = taught(task, seed) if task else (None, {})
            before = [record] if record else []
            runs |= own | chain("xnli", {"en": 90.0, "de": float(test)}, before, seed, dev=dev)
            own = {"en": 139.0 - 2 * valid, "de": float(valid)}
            runs |= chain("xnli", own, before, seed, evaluation={"split": "validation"}, dev=dev)
    found = chosen(table_of(runs))
    assert found["best by English dev"] == {
        "xnli": ("squad", pytest.approx(71), pytest.approx(1), pytest.approx(80), "")
    }
    assert found["oracle"] == {"xnli": ("mnli", pytest.approx(74), pytest.approx(4), pytest.approx(60), "")}
    tests = {path: run for path, run in runs.items() if run.get("split") == "test"}
    assert chosen(table_of(tests)) == {"best by English dev": {}, "oracle": {}}, "no trainings, no dev scores"


def complete(shift, seed, without=()):
    """Evaluations of all of XTREME's languages and tasks; `without` are (task, language)."""
    runs, before = {}, [taught("mnli", seed)[0]] if shift else []
    for place, (task, declared) in enumerate(XTREME.items()):
        names = ("f1", "precision", "recall") if task == "bucc2018" else declared.metrics
        scores = {
            code: {name: 20.0 + shift + seed + place + number / 7 + len(name) for name in names}
            for number, code in enumerate(declared.languages) if (task, code) not in without
        }  # fmt: skip
        phase = "retrieval" if declared.group == "retrieval" else "eval"
        records = [*before, step("target", task, seed)] if phase == "eval" else before
        more = {
            "scores": scores,
            "metric": declared.metrics[-1],
            "averages": {"all": 1.0, "zero_shot": 1.0},
            "layer": 1,
        }
        made = evaluated(task, records, dict.fromkeys(declared.languages, 1.0), seed, phase=phase) | more
        if before or phase == "eval" or seed == 1:  # an untrained encoder is run once
            runs[f"{task}-{shift}-{seed}"] = made
    return runs


def test_means_beside_each_other_are_over_the_same_languages(tmp_path):
    """mnli was evaluated in three of the languages, none in all, squad in others; pawsx has no language that both have."""
    mnli, runs = taught("mnli")
    squad, own = taught("squad")
    runs |= own | chain("xnli", values(60), dev=70) | chain("xnli", values(64, languages=LANGUAGES[:3]), [mnli], dev=75)
    runs |= chain("xnli", {**values(61, languages=LANGUAGES[:3]), "ur": 5.0}, [squad], dev=72)
    runs |= chain("pawsx", {"en": 50.0, "de": 40.0}) | chain("pawsx", {"fr": 60.0}, [mnli])
    output_dir = report(lay_out(runs, tmp_path / "runs"))
    text, found = text_of(output_dir), rows_of(output_dir / "overview.csv")
    assert "| none | 59.3 | 45.0 over 2 languages |" in text
    assert "| mnli | 63.3 (+4.0) | 60.0 over 1 language |" in text
    assert "| squad | 60.3 (+1.0) | – |" in text
    assert {each["languages"] for each in found if each["target"] == "xnli"} == {"3"}
    assert [each["gain"] for each in found if each["target"] == "pawsx"] == ["", ""]
    assert "**xnli** is compared in the languages that all runs have, without ur and zh." in text
    assert "**pawsx**: its runs have no language in common, and are not compared." in text
    assert "| best by English dev | mnli: 63.3 (+4.0), dev 75.0 | mnli, tied with none: 60.0, dev 80.0 |" in text
    assert "| mean (all, 3 of 5) | 59.3 | 63.3 | 60.3 |" in text
    assert "| mean (zero-shot, 2 of 4) | 58.8 | 62.8 | 59.8 |" in text
    assert "In no mean, because not all runs have them: ur, zh." in text
    assert "mean (all, 0 of 3) | – | – |" in text
    check_plain(output_dir)


def test_what_is_available_of_a_benchmark_is_what_all_rows_have():
    runs = complete(0, 1, without=[("panx", "yo")]) | complete(5, 1, without=[("xnli", "ur")])
    found = benchmark_averages(list(runs.values()), row_of)["xtreme"]
    assert found["mnli"]["mean_of_available"] == pytest.approx(found["none"]["mean_of_available"] + 5)
    assert [found[row]["missing_tasks"] for row in ("none", "mnli")] == [["panx"], ["xnli"]]


def test_the_benchmarks_averages_are_those_of_the_means_over_seeds():
    runs = complete(0, 1) | complete(0, 2) | complete(5, 1) | complete(5, 2)
    lora = step("target", "xnli", 1, "lora")
    runs["lora"] = evaluated("xnli", [lora], dict.fromkeys(XTREME["xnli"].languages, 1.0))
    own = {path: run for path, run in runs.items() if row_of(run) == "mnli"}
    means = {
        task: {
            code: {
                name: mean([own[f"{task}-5-{seed}"]["scores"][code][name] for seed in (1, 2)])
                for name in declared.metrics
            }
            for code in declared.languages
        }
        for task, declared in XTREME.items()
    }
    found = benchmark_averages(list(runs.values()), row_of)["xtreme"]
    assert found["mnli"] == averages("xtreme", means)
    assert found["mnli"]["all_task"] is not None
    assert found["none"]["all_task"] < found["mnli"]["all_task"]
    del runs["lora"]
    assert found == benchmark_averages(list(runs.values()), row_of)["xtreme"], (
        "the column with fewer rows does not count"
    )


def test_incomplete_benchmarks_have_no_averages():
    found = benchmark_averages(list(complete(0, 1, without=[("panx", "yo")]).values()), row_of)["xtreme"]["none"]
    assert found["all_task"] is None
    assert found["missing_tasks"] == ["panx"]
    assert [group for group, value in found["groups"].items() if value is None] == ["tagging"]
    assert found["mean_of_available"] > 20


# ---- bad input ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": 0}, r"another layout \(format 0, an older or newer one\) than this version reads \(1\); evaluate"),
        ({"lineage": None}, "no `lineage`"),
        ({"seed": None}, "no `seed`"),
        ({"scores": None}, "no `scores`"),
        ({"averages": None}, "no `averages`"),
        ({"lineage": [{"base_model": "x"}]}, "no `fingerprint` in its lineage"),
        ({"lineage": [BASE, {"phase": "target", "task": "xnli"}]}, "no `factors` in its lineage"),
    ],
)
def test_older_layouts_are_named_in_one_line(change, said, tmp_path):
    run = {**evaluated("xnli", [step("target", "xnli")], values(50)), **change}
    lay_out({"old": {key: value for key, value in run.items() if value is not None}}, tmp_path)
    with pytest.raises(UserError, match=f"^{re.escape(str(tmp_path))}/old/run.json has .*{said}") as raised:
        collect([tmp_path])
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("text", ["[]", "3", "{", ""])
def test_what_is_no_run_json_is_named(text, write, tmp_path):
    write(text, "a/run.json")
    with pytest.raises(UserError, match=r"a/run\.json"):
        collect([tmp_path])


def test_scores_of_different_test_sets_are_refused_and_marked_if_asked_for(tmp_path):
    runs = small(seeds=(1,))
    path = next(path for path, run in runs.items() if run["phase"] == "eval" and run["task"] == "xnli")
    runs[path] = {**runs[path], "data": [{"language": "de", "split": "test", "fingerprint": "fewer"}]}
    table = table_of(runs)
    assert mixed_columns(table) == ["xnli"]
    assert mixed_columns(table_of(small())) == []
    check_data(table_of(small()))
    with pytest.raises(UserError, match=r"eval.* and .*eval.* score xnli in 'de' on different rows; .*--mixed_data"):
        check_data(table)
    folder = lay_out(runs, tmp_path / "runs")
    with pytest.raises(UserError, match="on different rows"):
        report(folder)
    text = text_of(report(folder, "--mixed_data", "--questions", "layers"))
    assert "**Scores of different test sets** stand in the columns xnli: they do not compare." in text


def test_nothing_to_report_on_is_said(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"no run.json of an evaluation or a retrieval below .*empty"):
        report(tmp_path / "empty")
    lay_out(taught("mnli")[1], tmp_path / "trainings")
    with pytest.raises(UserError, match=r"no run.json of an evaluation or a retrieval below .*trainings"):
        report(tmp_path / "trainings")
    with pytest.raises(UserError, match=r"there is no folder .*misspelt"):
        report(tmp_path / "misspelt")
    with pytest.raises(
        UserError, match=r"question 'depth' is not one of layers, languages, number_of_tasks, distance, compl"
    ):
        report(tmp_path / "empty", "--questions", "layers,depth")


# ---- the whole page -------------------------------------------------------------------------------------------------

STUDY = """
model_name_or_path: encoder
runs_dir: {folder}/runs
report_dir: {folder}/report
seeds: [1, 2]
intermediate: [none, {{task: mnli}}]
target: [{{task: [xnli, pawsx]}}]
"""


def test_one_seed_of_a_study_that_is_partly_there(tmp_path, write, capsys):
    """Missing runs are named, missing cells are shown as such, and nothing claims an interval or prints a NaN."""
    study = write(STUDY.format(folder=tmp_path), "study.yaml")
    record, own = taught("mnli")
    runs = {"intermediate/mnli/seed1": next(iter(own.values()))}
    for target, before, row in (("xnli", [], "none"), ("xnli", [record], "mnli"), ("pawsx", [], "none")):
        training, evaluation = chain(target, values(50 + len(before)), before).values()
        runs |= {f"target/{row}/{target}/seed1": training, f"eval/{row}/{target}/seed1": evaluation}
    lay_out(runs, tmp_path / "runs")
    (tmp_path / "link").symlink_to(tmp_path / "runs")
    run_report.main([str(tmp_path / "link"), "--study", study])  # the same runs by another name
    assert capsys.readouterr().out.startswith("3 evaluations and retrievals, ")
    text = text_of(tmp_path / "report")
    missing = re.search(r"\*\*11 of 18 runs of the study are missing\*\*: (.*)\.", text)[1]
    assert "mnli/pawsx/seed1" in missing
    assert missing.endswith(", ...")
    assert "One seed: differences between rows are not yet evidence, and gains have no intervals." in text
    assert "| none | 48.8 | 48.8 |" in text
    assert "| mnli | 49.8 (+1.0) | – |" in text
    assert "Intervals and p: none where there is one seed." in text
    assert "### Question 4" in text
    check_plain(tmp_path / "report")


def test_a_study_has_its_own_order_and_says_where_its_baseline_is_from(tmp_path, write, capsys):
    """Rows stand as in its file, whose `none` is added; without any there are no gains, and nothing is drawn of them."""
    text = STUDY.format(folder=tmp_path).replace(
        "[none, {{task: mnli}}]", "[{{task: squad}}, {{task: mnli, name: mine}}]"
    )
    text = text.replace("[none, {task: mnli}]", "[{task: squad}, {task: mnli, name: mine}]").replace("[1, 2]", "[1]")
    runs = {}
    for name, task in (("mine", "mnli"), ("squad", "squad")):
        record, own = taught(task)
        runs[f"intermediate/{name}/seed1"] = next(iter(own.values()))
        training, evaluation = chain("xnli", {"en": 50.0, "de": 40.0, "sw": 20.0}, [record]).values()
        runs |= {f"target/{name}/xnli/seed1": training, f"eval/{name}/xnli/seed1": evaluation}
    lay_out(runs, tmp_path / "runs")
    run_report.main(["--study", write(text, "study.yaml")])
    assert (
        "study.yaml: the row `none` is added, which gains are over; `baseline: false` leaves it out"
        in capsys.readouterr().out
    )
    page = text_of(tmp_path / "report")
    assert "eval/none/xnli/seed1" in page, "missing"
    assert re.findall(r"^\| (squad|mnli) \| 36\.7", page, re.MULTILINE) == ["squad", "mnli"]
    assert re.search(r"^\| language \| squad \| mnli \|", page, re.MULTILINE)
    assert page.index("\n| squad |") < page.index("\n| mnli |"), "of the first table, too"
    assert "No gain is known: no run without intermediate training has the same target and seed." in page
    assert not {path.stem for path in (tmp_path / "report").iterdir()} & {"overview-gains", "benchmarks-gains"}
    assert not (tmp_path / "report" / "overview.svg").exists()
    assert "### Question" not in page, "two languages answer none"
    run_report.main(["--study", write(text + "\nbaseline: false", "without.yaml")])
    assert "row `none` is added" not in capsys.readouterr().out
    assert "eval/none" not in text_of(tmp_path / "report")
    for asked in (["--questions", "distance"], []):
        study = write(f"{text}\nquestions: [{'layers' if asked else 'distance'}]", "study.yaml")
        run_report.main(["--study", study, *asked])
        page = text_of(tmp_path / "report")
        assert re.findall(r"### Question (\d)", page) == ["4"], "asked, so that it says why not"
        assert "do not allow a slope" in page or "an unknown r" in page
    run_report.main(["--study", study, "--questions", "complexity"])
    assert "### Question 5: task complexity\n\nThese runs do not answer it." in text_of(tmp_path / "report")


def test_a_gain_is_coloured_by_what_its_interval_allows(tmp_path):
    """Of ten points more and less nothing is left; two points with little to either side are a little less than two."""
    runs = {}
    for seed, gained in ((1, -8.0), (2, 12.0), (3, 2.0)):
        record, own = taught("mnli", seed)
        runs |= own | chain("xnli", values(50, seed), seed=seed) | chain("pawsx", values(50, seed), seed=seed)
        runs |= chain("xnli", values(50 + gained, seed), [record], seed)
        runs |= chain("pawsx", values(52 + gained / 100, seed), [record], seed)
    output_dir = report(lay_out(runs, tmp_path / "runs"), "--questions", "layers")
    found = {row["target"]: row for row in rows_of(output_dir / "overview.csv") if row["intermediate"] == "mnli"}
    assert float(found["xnli"]["low"]) < 0 < float(found["xnli"]["gain"])
    assert "pale where the interval includes 0, or where there is only one seed" in text_of(output_dir)
    fills = re.findall(r'style="fill: (#\w{6}); stroke: #bbbbbb', (output_dir / "overview.svg").read_text())
    assert len(fills) == 4
    assert min(fills[2][1::2]) >= "f" > min(fills[3][1::2])


def check_plain(output_dir):
    """Nothing that Python would print where there is nothing."""
    for file in [
        *output_dir.glob("*.md"),
        *output_dir.glob("*.csv"),
        *output_dir.glob("latex/*.tex"),
        *output_dir.glob("*.svg"),
    ]:
        assert not re.search(r"\b(nan|None|NaT|inf|NaN)\b", file.read_text("utf-8")), file
    page = (output_dir / "report.html").read_text("utf-8")
    assert not re.search(r">[^<]*\b(nan|None|NaN)\b", re.sub(r"<(svg|style).*?</\1>", "", page, flags=re.DOTALL))


def rows_of(path):
    with open(path, encoding="utf-8", newline="") as file:
        return [*csv.DictReader(file)]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The folder of a report on two base models, of one of which a run is degenerate; beside it the same once more."""
    folder = tmp_path_factory.mktemp("two")
    runs = small() | small(gains=(4.0, 1.0), base=OTHER, level=40)
    bad = [path for path, run in runs.items() if run["phase"] == "target" and run["lineage"][0] == BASE]
    bad = [
        path
        for path in bad
        if runs[path]["seed"] == 3 and runs[path]["task"] == "xnli" and len(runs[path]["lineage"]) == 3
    ]
    runs[bad[0]] = {**runs[bad[0]], "dev_scores": {"accuracy": 30.0}}
    lay_out(runs, folder / "runs")
    for name in ("report", "again"):
        run_report.main([str(folder / "runs"), "--output_dir", str(folder / name), "--questions", "distance"])
    return folder / "report"


def test_the_same_runs_make_the_same_bytes(written):
    files = {path.relative_to(written): path.read_bytes() for path in written.rglob("*") if path.is_file()}
    again = written.parent / "again"
    assert files == {path.relative_to(again): path.read_bytes() for path in again.rglob("*") if path.is_file()}
    assert {path.suffix for path in files} == {".html", ".md", ".csv", ".svg", ".tex"}


def test_two_base_models_have_sections_and_files_of_their_own(written):
    text = text_of(written)
    assert text.count("\n## encoder (012345)\n") == text.count("\n## encoder (fedcba)\n") == 1
    names = {path.name for path in written.iterdir()}
    for own in ("encoder--012345-", "encoder--fedcba-"):
        assert {
            f"{own}{name}" for name in ("overview.csv", "overview.svg", "xnli.csv", "lineage.csv", "distance.svg")
        } <= names
    gains = [
        float(rows_of(written / f"encoder--{base}-overview-gains.csv")[1]["gain"]) for base in ("012345", "fedcba")
    ]
    assert gains[1] - gains[0] == pytest.approx(2), "each over its own baseline"
    check_plain(written)


def test_degenerate_runs_are_named_and_left_out_once_more(written):
    text = text_of(written)
    assert "| encoder (012345) | mnli | xnli | 3 | xnli at chance |" in text
    assert text.count("### Without degenerate runs") == 1, "of the base model that has one"
    everything, sound = (rows_of(written / f"encoder--012345-overview{end}.csv") for end in ("", "-sound"))
    assert [(row["seeds"], row["flagged"]) for row in everything if row["intermediate"] == "mnli"] == [
        ("3", "1"),
        ("3", "0"),
    ]
    assert [(row["seeds"], row["paired_seeds"]) for row in sound if row["intermediate"] == "mnli"] == [
        ("2", "2"),
        ("3", "3"),
    ]
    first = {row["intermediate"]: row for row in sound if row["target"] == "xnli"}
    assert float(first["mnli"]["gain"]) == pytest.approx(2 + 0.3 - 0.75)
    assert "†" in text
    assert "without degenerate runs" in text


def test_every_figure_of_the_overview_can_be_computed_from_scores_csv(written):
    scores = pd.read_csv(written / "scores.csv")
    for base, own in scores.groupby("base"):
        stem = "encoder--" + base.split("(")[1][:6]
        for row in rows_of(written / f"{stem}-overview.csv"):
            runs = own[(own["row"].fillna("none") == row["intermediate"]) & (own["column"] == row["target"])]
            means = runs.groupby("seed")[["score", "baseline"]].mean()
            assert float(row["score"]) == pytest.approx(means["score"].mean())
            assert float(row["deviation"]) == pytest.approx(means["score"].std())
            found = gain(means["score"].to_dict(), means["baseline"].to_dict())
            assert float(row["gain"]) == pytest.approx(found.mean)
            if row["intermediate"] != "none":
                assert [float(row[name]) for name in ("low", "high", "p")] == pytest.approx(
                    [found.low, found.high, found.p]
                )
                line = re.search(
                    rf"\| {row['intermediate']} \|.*", text_of(written).split(f"## {base}")[1].split("Mean over")[1]
                )
                assert f"{float(row['score']):.1f}" in line[0]
        for row in rows_of(written / f"{stem}-distance-correlations.csv"):
            runs = own[(own["row"].fillna("none") == row["intermediate"]) & (own["column"] == row["target"])]
            losses = runs[runs["language"] != "en"].groupby("language")["loss"].mean()
            facts = run_report.read_facts()["syntactic"].reindex(losses.index)
            assert float(row["spearman"]) == pytest.approx(stats.spearmanr(facts, losses).statistic)
            assert int(row["languages"]) == len(losses)


def test_how_much_was_trained_and_the_intervals_of_an_evaluation_are_in_every_form(tmp_path):
    """Of mnli's steps two seeds differ, of squad's training there is no run.json; pawsx was evaluated as it was published."""
    runs = {}
    for seed, steps in ((1, 30), (2, 1200)):
        record, own = taught("mnli", seed, steps=steps, complexity={"mnli": {"chance": 1, "rows": 1500}})
        runs |= own | chain("xnli", values(60, seed), [record], seed)
    runs |= chain("xnli", values(50), [taught("squad")[0]])
    (evaluation,) = (run for run in runs.values() if run["phase"] == "eval" and run["lineage"][1]["task"] == "squad")
    evaluation["scores"]["de"]["interval"] = [13.3333, 60.0]
    runs["pawsx"] = evaluated("pawsx", [], values(50))
    output_dir = report(lay_out(runs, tmp_path / "runs"))
    page, text = (output_dir / "report.html").read_text("utf-8"), text_of(output_dir)
    latex = (output_dir / "latex" / "lineage.tex").read_text() + (output_dir / "latex" / "xnli.tex").read_text()
    sentence = (
        "How much was trained: intermediate trainings 30 to 1,200 steps, 1,500 rows (some not known); target trainings 60 steps, "
        "999 rows."
    )
    assert sentence in page
    assert sentence in text.split("## encoder")[0]
    assert "| mnli | 30 to 1,200 steps, 1,500 rows | 2 | 1 2 | xnli: 60 steps, 999 rows |" in text
    assert "| squad | not known | 1 | 1 | xnli: 60 steps, 999 rows |" in text
    assert "| none (no target training) | – | 1 | – | pawsx |" in text
    assert "| de | 59.8 | 49.3 (13.3–60.0) | 100 |" in text, "of one seed"
    for form in (page, latex):
        assert "30 to 1,200 steps, 1,500 rows" in form
        assert "49.3 (13.3–60.0)" in form
    trained = {(each["intermediate"], each["seed"]): each for each in rows_of(output_dir / "lineage.csv")}
    assert [trained["mnli", seed]["steps"] for seed in "12"] == ["30", "1200"]
    (own,) = (each for each in rows_of(output_dir / "xnli.csv") if each["language"] == "de")
    assert (own["squad low"], own["squad high"], own["mnli low"]) == ("13.3333", "60.0", "")
    scores = pd.read_csv(output_dir / "scores.csv").set_index(["row", "language"])
    assert scores.loc[("squad", "de"), ["low", "high", "target_rows"]].tolist() == [13.3333, 60.0, 999]
    check_plain(output_dir)


def test_somebody_elses_evaluations_alone_are_reported(tmp_path):
    runs = {path: run for path, run in small().items() if run["phase"] == "eval"}
    output_dir = report(lay_out(runs, tmp_path / "runs"))
    text = text_of(output_dir)
    assert "12 evaluations and retrievals, seeds 1, 2, 3." in text
    assert "Degenerate" not in text
    assert "chosen by" not in text
    assert "### Question 4" in text
    assert "### Question 5" not in text
    check_plain(output_dir)


def test_rows_that_are_not_the_benchmarks_are_named_and_count_in_no_average(tmp_path):
    """Of the hub's POS rows el, fr, ru and zh: their scores are shown, and are in no mean, no gain and no benchmark's average."""
    apart, remark = ("el", "fr", "ru", "zh"), "udpos: UD words, not XTREME's (de el)"
    codes, runs = XTREME["udpos"].languages, {}
    kept = [code for code in codes if code not in apart]
    for gained, before in ((0, []), (2, [taught("mnli")[0]])):
        own = chain("udpos", dict.fromkeys(codes, 0.0), before)
        (evaluation,) = (run for run in own.values() if run["phase"] == "eval")
        scores = {code: {"f1": 9.0 if code in apart else 60.0 + gained, "examples": 9} for code in codes}
        averages_ = {"all": 60.0 + gained, "zero_shot": 60.0 + gained, "gap": 0.0}
        evaluation |= {
            "metric": "f1",
            "scores": scores,
            "averages": averages_,
            "in_no_average": [*apart],
            "remarks": [remark],
        }
        runs |= own
    lay_out(runs, tmp_path / "runs")
    run_report.main([str(tmp_path / "runs"), "--output_dir", str(tmp_path / "report")])
    (overview, gained) = csv.DictReader((tmp_path / "report" / "overview.csv").open())
    assert [float(each["score"]) for each in (overview, gained)] == [60, 62]
    assert [each["languages"] for each in (overview, gained)] == [str(len(kept))] * 2 == ["29"] * 2
    assert float(gained["gain"]) == 2
    (benchmark, *_) = csv.DictReader((tmp_path / "report" / "benchmarks.csv").open())
    assert "udpos" in benchmark["incomplete tasks"].split()
    assert float(benchmark["mean of available"]) == 60
    tables = {path.stem: path.read_text() for path in (tmp_path / "report" / "latex").glob("*.tex")}
    assert tables.keys() >= {"overview", "overview-gains", "chosen", "benchmarks", "udpos", "published"}
    for name in tables.keys() - {"lineage", "seen"}:
        assert "UD words, not XTREME's (de el)" in tables[name], name
    assert "mean (all, 29 of 33)" in tables["udpos"]
    assert "In no average: el, fr, ru, zh." in tables["udpos"]
    assert {row["language"] for row in csv.DictReader((tmp_path / "report" / "udpos.csv").open())} >= {*codes}


def test_a_report_of_languages_that_count_in_no_average(tmp_path):
    more = {"in_no_average": ["en", "el"], "averages": {"all": None, "zero_shot": None, "gap": None}}
    lay_out(chain("udpos", {"en": 5.0, "el": 6.0}, evaluation=more), tmp_path / "runs")
    run_report.main([str(tmp_path / "runs"), "--output_dir", str(tmp_path / "report")])
    report = (tmp_path / "report" / "report.md").read_text()
    assert "No language counts in an average." in report
    assert "| el | 6.0 |" in report


def test_a_report_of_runs_that_all_failed_or_are_all_untrained(tmp_path):
    runs = {}
    for seed in (1, 2):
        record, own = taught("mnli", seed)
        runs |= own | chain("xnli", values(34, seed), seed=seed, dev=33.0)
        runs |= chain("xnli", values(35, seed), [record], seed, dev=33.0)
    text = text_of(report(lay_out(runs, tmp_path / "runs"), "--questions", "layers"))
    assert text.count("xnli at chance") == 4
    assert "### Without degenerate runs" not in text
    only = {path: run for path, run in runs.items() if "mnli" not in path}
    text = text_of(report(lay_out(only, tmp_path / "only" / "runs"), "--questions", "layers"))
    assert "| none | 33.2† |" in text
    assert "significant" not in text
