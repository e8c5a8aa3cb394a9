"""The answers to the research questions: planted effects are found with the right sign, none is claimed where there is none, and
runs that cannot answer have no section."""

import re
from dataclasses import replace
from statistics import mean

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from test_report import chain, check_plain, lay_out, report, rows_of, table_of, taught, text_of, values

from xstilts.base import UserError
from xstilts.correlations import Correlation, partial_spearman
from xstilts.language_facts import DISTANCES, low_resource, read_facts
from xstilts.question_complexity import complexity
from xstilts.question_distance import distance
from xstilts.question_languages import languages
from xstilts.question_layers import layers
from xstilts.question_number import number_of_tasks
from xstilts.statistics import gain, holm
from xstilts.wording import correlation_text, estimate_text, interval_text, p_text, plain, signed

FACTS = read_facts()
XNLI = "en ar bg de el es fr hi ru sw th tr ur vi zh".split()
SEEDS = (1, 2, 3)


def noise(*place, size=0.5):
    """A number that is the same each time."""
    return float(np.random.default_rng([*map(abs, map(hash_of, place))]).normal(0, size))


def hash_of(text):
    return sum(ord(character) * (31**place) for place, character in enumerate(str(text))) % 2**32


def said(answer):
    """The sentences of an answer."""
    return "\n".join(answer.sentences)


# ---- question 1 -----------------------------------------------------------------------------------------------------


def frozen_runs(all_differs=0.0, slope=-1.0, seeds=SEEDS, target="xnli"):
    """Runs without, and after mnli with 0, 1, 2 and all parts frozen, and after which 1 layer was taken over."""
    runs = {}
    for seed in seeds:
        base = values(60, seed)
        runs |= chain(target, base, seed=seed)
        for place, depth in enumerate(("none", "1", "2", "all")):
            factors = [] if depth == "none" else [f"freeze-{depth}"]
            record, own = taught("mnli", seed, *factors, of_lineage={"frozen": depth})
            moved = all_differs if depth == "all" else 4 + slope * place + noise(depth, seed, size=0.2)
            runs |= own | chain(target, {code: score + moved for code, score in base.items()}, [record], seed)
            if depth == "none":
                runs |= chain(target, values(61, seed), [record], seed, factors=["transfer-1"])
    return runs


def test_what_is_all_frozen_is_no_intermediate_training():
    answer = layers(table_of(frozen_runs()), FACTS, {})
    assert "With everything frozen the encoder is that of no intermediate training: in 12 pairs" in said(answer)
    assert "differ by at most 0.00 points" in said(answer)
    other = said(layers(table_of(frozen_runs(all_differs=0.2)), FACTS, {}))
    assert "is that of no intermediate training" not in other
    assert "the scores are **not** those of no intermediate training" in other
    assert "at most 0.20 points" in other


def test_scores_by_depth():
    table = table_of(frozen_runs())
    answer = layers(table, FACTS, {})
    rows = answer.tables["depth"][1].set_index(["layers", "depth"])
    assert [*rows.index] == [
        ("frozen", "none"),
        ("frozen", "1"),
        ("frozen", "2"),
        ("frozen", "all"),
        ("transferred", "1"),
    ]
    for (kind, depth), row in rows.iterrows():
        own = table[table[kind] == depth] if (kind, depth) != ("frozen", "none") else table[table["row"] == "mnli"]
        by_seed = own.groupby("seed")[["score", "baseline"]].mean()
        found = gain(by_seed["score"].to_dict(), by_seed["baseline"].to_dict())
        assert row["score"] == pytest.approx(own["score"].mean())
        assert (row["gain"], row["seeds"]) == (pytest.approx(found.mean), 3)
        known = [np.nan if value is None else value for value in (found.low, found.high)]
        assert [row["low"], row["high"]] == pytest.approx(known, nan_ok=True)
    panel = answer.plots["depth"][1]["panels"]["xnli, mnli"]
    assert panel["transferred"][0] == panel["none"]
    assert panel["transferred"][4] == panel["frozen"][0]
    sentence = answer.sentences[0]
    per_part, low, high = _estimate(sentence)
    assert low < per_part < high < 0
    assert re.search(
        r"highest, 6\d\.\d, with nothing frozen, \+[34]\.\d points from no intermediate training \(95", sentence
    )
    assert "as the best of 4 it flatters" in sentence


def _estimate(sentence):
    value, low, high = re.search(r"by (\S+) points \(95 percent interval (\S+) to ([^\s;)]+)\)", sentence).groups()
    return tuple(float(text.replace("−", "-")) for text in (value, low, high))


def only_evaluations(runs):
    return {path: run for path, run in runs.items() if run["phase"] == "eval"}


def test_depths_are_known_without_the_trainings_but_how_many_layers_there_are_is_not():
    answer = layers(table_of(only_evaluations(frozen_runs())), FACTS, {})
    rows = answer.tables["depth"][1]
    assert [*zip(rows["layers"], rows["depth"], strict=True)] == [
        ("frozen", "none"), ("frozen", "1"), ("frozen", "2"), ("frozen", "all"), ("transferred", "1"),
    ]  # fmt: skip
    per_part, *_ = _estimate(answer.sentences[0])
    assert per_part == pytest.approx(-0.5, abs=0.3), "without all, which is a part more or twenty"
    assert "everything is drawn beside the highest depth" in said(answer)
    assert "is drawn beside" not in said(layers(table_of(frozen_runs()), FACTS, {}))


def test_depths_are_compared_in_the_languages_that_all_runs_have():
    runs = frozen_runs()
    for run in runs.values():
        if run["phase"] == "eval" and run["lineage"][1].get("frozen") == "all":
            run["scores"] = {"en": run["scores"]["en"]}
    answer = layers(table_of(runs), FACTS, {})
    table = table_of(runs)
    own = table[(table["frozen"] == "1") & (table["language"] == "en")]
    rows = answer.tables["depth"][1].set_index(["layers", "depth"])
    assert rows.loc[("frozen", "1"), "score"] == pytest.approx(own["score"].mean())
    assert "**xnli, mnli** is compared in the languages that all runs have, without de, sw and zh." in said(answer)


def test_depths_of_one_training_only_and_of_both_kinds_are_no_answer():
    runs = chain("xnli", values(60))
    plain_record, own = taught("mnli")
    german, more = taught("mnli", 1, "de", of_lineage={"languages": ["de"]})
    runs |= own | more | chain("xnli", values(61), [plain_record]) | chain("xnli", values(61), [german])
    assert layers(table_of(runs), FACTS, {}) is None, "two rows, but nothing of their layers differs"
    both, more = taught("mnli", 1, "freeze-1", of_lineage={"frozen": "1"})
    runs |= more | chain("xnli", values(62), [both], factors=["transfer-2"])
    assert layers(table_of(runs), FACTS, {}) is None
    assert layers(table_of(chain("xnli", values(60))), FACTS, {}) is None


def test_settings_that_share_a_depth_are_named():
    runs = frozen_runs(seeds=(1,))
    record, own = taught("mnli", 1, "lora")
    answer = layers(table_of(runs | own | chain("xnli", values(10), [record])), FACTS, {})
    assert "**Averaged**, though trained with different settings: mnli and mnli (lora)." in said(answer)
    assert "Averaged" not in said(layers(table_of(runs), FACTS, {}))


def test_one_seed_has_no_interval_of_depth():
    answer = layers(table_of(frozen_runs(seeds=(1,))), FACTS, {})
    assert "(no interval)" in answer.sentences[0]
    assert "(one seed, no interval)" in answer.sentences[0]


# ---- question 2 -----------------------------------------------------------------------------------------------------

LOW = low_resource(FACTS)[0]
UDPOS = ["en", *sorted(LOW)[:4], "de", "fr", "es", "ru"]


def taught_in(several, codes=UDPOS, seeds=SEEDS, rows=(600, 600), low_gain=5.0):
    """Runs on udpos without, after English panx, and after panx in several languages, which gains in low-resource languages."""
    runs = {}
    for seed in seeds:
        scores = {code: 50 + noise(code, seed) for code in codes}
        runs |= chain("udpos", scores, seed=seed)
        for taught_codes, size, more in ((["en"], rows[0], 0), (several, rows[1], low_gain)):
            factors = [] if taught_codes == ["en"] else ["-".join(taught_codes)]
            known = {"panx": {"chance": 0, "rows": size}}
            record, own = taught("panx", seed, *factors, of_lineage={"languages": taught_codes}, complexity=known)
            moved = {code: 1 + more * (code in LOW) + noise(code, seed, len(taught_codes)) for code in codes}
            runs |= own | chain("udpos", {code: scores[code] + moved[code] for code in codes}, [record], seed)
    return runs


def test_gains_of_several_languages_in_low_resource_ones():
    answer = languages(table_of(taught_in(["de", "en", "sw"])), FACTS, {})
    rows = answer.tables["resources"][1].set_index(["taught", "class"])
    own = rows.loc[("de,en,sw", "low")]
    assert own["gain"] == pytest.approx(6, abs=1)
    assert own["over_english_low"] > 0
    assert own["languages"] == " ".join(sorted(LOW)[:4]), "and not English, from which the target was learnt"
    assert rows.loc[("de,en,sw", "high"), "seen"] == "de"
    assert rows.loc[("de,en,sw", "high"), "over_english_low"] < 0 < rows.loc[("de,en,sw", "high"), "over_english_high"]
    sentence = next(each for each in answer.sentences if "low-resource" in each and "de, en, sw" in each)
    value, low, _ = _estimate(sentence.replace("points against no intermediate training", "points"))
    assert (value > 0, low > 0) == (True, True)
    assert re.search(r"and by \+\d\.\d against English alone \(95 percent interval \d", sentence)
    assert "The trainings on panx are matched in rows and steps (panx: 600 rows, 60 steps; panx (de-en-sw)" in said(
        answer
    )
    assert not re.search(" gains|improves|better|significant", said(answer)), "no more than the intervals say"


def test_trainings_in_several_languages_are_set_against_each_other():
    runs = taught_in(["de", "en", "sw"], low_gain=2.0) | taught_in(["en", "fr", "te", "tl"], low_gain=7.0)
    answer = languages(table_of(runs), FACTS, {})
    rows = answer.tables["contrasts"][1].set_index("class")
    assert (rows.loc["low", "taught"], rows.loc["low", "against"]) == ("en,fr,te,tl", "de,en,sw")
    assert rows.loc["low", "difference"] == pytest.approx(5, abs=1)
    assert 0 < rows.loc["low", "low"] < rows.loc["low", "difference"]
    assert rows.loc["high", "low"] < 0 < rows.loc["high", "high"]
    assert "low-resource languages: panx in en, fr, te, tl scores +" in said(answer)


def test_trainings_of_other_sizes_or_unknown_ones_are_said_to_be():
    text = said(languages(table_of(taught_in(["de", "en"], rows=(600, 1200))), FACTS, {}))
    assert "The trainings on panx are NOT matched in rows and steps" in text
    runs = taught_in(["de", "en"])
    lost = {
        path: run
        for path, run in runs.items()
        if run["phase"] != "intermediate" or len(run["lineage"][1]["languages"]) < 2
    }
    text = said(languages(table_of(lost), FACTS, {}))
    assert "How many rows and steps panx (de-en) had is not known" in text
    assert "matched" not in text


def test_languages_without_figures_are_named_and_frozen_encoders_left_out():
    runs = taught_in(["de", "en"], codes=[*UDPOS, "qna"])
    for seed in SEEDS:
        record, own = taught("panx", seed, "freeze-1", of_lineage={"frozen": "1"})
        runs |= own | chain("udpos", dict.fromkeys(UDPOS, 10.0), [record], seed)
    answer = languages(table_of(runs), FACTS, {})
    assert answer.sentences[-1] == "In neither class, for want of numbers: qna."
    assert answer.tables["resources"][1]["score"].min() > 40


def test_languages_cannot_be_asked_without_another_language_figures_or_a_baseline():
    runs = taught_in(["de", "en"])
    assert (
        languages(table_of({path: run for path, run in runs.items() if "de-en" not in str(run["lineage"])}), FACTS, {})
        is None
    )
    assert languages(table_of(runs), FACTS.drop(UDPOS), {}) is None
    trained = {path: run for path, run in runs.items() if len(run["lineage"]) > 2 or run["phase"] == "intermediate"}
    assert languages(table_of(trained), FACTS, {}) is None


def test_targets_learnt_in_several_or_unknown_languages_are_left_out():
    runs = taught_in(["de", "en"])
    for run in runs.values():
        if run["phase"] == "eval":
            run["source_language"] = None
    assert languages(table_of(runs), FACTS, {}) is None
    more = taught_in(["de", "en"], low_gain=4.0)
    mixed = {
        path: {**run, "task": "panx", "lineage": [*run["lineage"][:-1], {**run["lineage"][-1], "task": "panx"}]}
        for path, run in more.items()
        if run["phase"] == "eval"
    }
    answer = languages(
        table_of(runs | {f"other/{path}": {**run, "source_language": "en"} for path, run in mixed.items()}), FACTS, {}
    )
    assert "Left out, because the language that it was learnt in is not one, or not known: udpos." in answer.sentences


def test_a_language_that_the_baseline_lacks_takes_no_part_in_the_gain():
    runs = taught_in(["de", "en"])
    for path, run in runs.items():
        if run["phase"] == "eval" and len(run["lineage"]) == 2:
            runs[path] = {**run, "scores": {code: own for code, own in run["scores"].items() if code != "ru"}}
        elif run["phase"] == "eval":
            run["scores"]["ru"]["accuracy"] = 99.0
    rows = languages(table_of(runs), FACTS, {}).tables["resources"][1]
    assert rows.loc[rows["class"] == "high", "gain"].tolist() == pytest.approx([1, 1], abs=1)


# ---- question 3 -----------------------------------------------------------------------------------------------------

TASKS = "siqa copa anli cosmosqa commonsenseqa squad_v2 snli quail race".split()


def drawn_runs(per_doubling=2.0, seeds=SEEDS, draws=3, target="tydiqa"):
    """Runs after 1, 3 and 9 tasks, of three draws each but the last."""
    runs = {}
    for seed in seeds:
        runs |= chain(target, values(50, seed), seed=seed)
        for number in (1, 3, 9):
            for draw in range(draws if number < 9 else 1):
                tasks = TASKS[draw : draw + number]
                told = {"max_steps": 120, "task_subset_size": number, "task_subset_seed": draw}
                record, own = taught("+".join(tasks), seed, arguments=told)
                level = 50 + per_doubling * np.log2(number) + noise(draw, seed, number, size=0.6)
                runs |= own | chain(target, values(level), [record], seed)
    return {path: {**run, "identity": {}} for path, run in runs.items()}


def test_scores_that_grow_with_the_number_of_tasks():
    table = table_of(drawn_runs())
    answer = number_of_tasks(table, FACTS, {})
    _, low, high = _estimate(answer.sentences[0])
    assert 0 < low < 2.0 < high
    rows = answer.tables["number_of_tasks"][1].set_index("tasks")
    assert rows[["draws", "runs", "seeds"]].values.tolist() == [[3, 9, 3], [3, 9, 3], [1, 3, 3]]
    for number, row in rows.iterrows():
        own = table[table["number"] == number].groupby("path")["score"].mean()
        assert (row["score"], row["deviation"]) == pytest.approx((own.mean(), own.std()))
    assert "Standard deviations with 1: " in answer.sentences[0]
    assert "120 steps in all" in answer.sentences[0]


def test_scores_that_do_not_change_with_the_number_of_tasks():
    _, low, high = _estimate(number_of_tasks(table_of(drawn_runs(per_doubling=0.0)), FACTS, {}).sentences[0])
    assert low < 0 < high


def test_runs_that_lack_a_language_or_a_seed_do_not_stop_the_spread():
    runs = drawn_runs()
    own = [path for path, run in runs.items() if run["phase"] == "eval" and "+" in run["lineage"][1].get("task", "")]
    runs[own[0]] = {
        **runs[own[0]],
        "scores": {code: one for code, one in runs[own[0]]["scores"].items() if code != "zh"},
    }
    del runs[own[-1]]
    assert len(number_of_tasks(table_of(runs), FACTS, {}).tables["number_of_tasks"][1]) == 3


def in_languages_of(runs, languages_of):
    """Evaluations scored in `languages_of(run)` only."""
    for run in runs.values():
        if run["phase"] == "eval":
            run["scores"] = {code: own for code, own in run["scores"].items() if code in languages_of(run)}
    return runs


def test_numbers_of_tasks_are_compared_in_the_languages_that_all_runs_have():
    """A task that is scored in de, and more tasks in de and in an easy language too, are no gain."""
    runs = in_languages_of(
        drawn_runs(per_doubling=0.0), lambda run: ["sw", "en"] if "+" in str(run["lineage"]) else ["sw"]
    )
    answer = number_of_tasks(table_of(runs), FACTS, {})
    _, low, high = _estimate(answer.sentences[0])
    assert low < 0 < high
    assert "**tydiqa, 120 steps** is compared in the languages that all runs have, without en." in said(answer)
    (none,) = answer.plots["number_of_tasks"][1]["none"].values()
    assert max(none) < 50, "the line without training is of these languages too"


@pytest.mark.parametrize(
    "apart", [lambda run: ["de", "sw", "zh"][run["seed"] - 1], lambda run: "de" if "+" in str(run["lineage"]) else "sw"]
)
def test_numbers_of_tasks_that_share_no_language_are_not_compared(apart):
    answer = number_of_tasks(table_of(in_languages_of(drawn_runs(), apart)), FACTS, {})
    assert answer.sentences == ["**tydiqa, 120 steps**: its runs have no language in common, and are not compared."]
    assert answer.tables == answer.plots == {}


def test_two_numbers_of_tasks_are_no_curve():
    runs = {path: run for path, run in drawn_runs().items() if str(run["lineage"]).count("race") == 0}
    assert number_of_tasks(table_of(runs), FACTS, {}) is None


# ---- question 4 -----------------------------------------------------------------------------------------------------


def far_scores(slope):
    """{language: score} that falls with the distance from English."""
    return {code: 80 - slope * FACTS["syntactic"][code] for code in XNLI}


def far_runs(slopes=(40.0, 20.0), targets=("xnli", "pawsx"), codes=XNLI, size=1.0):
    """Runs without and after mnli whose losses grow with the syntactic distance from English, by another slope each."""
    far, runs = FACTS["syntactic"].reindex(codes).fillna(0.5), {}
    for seed in SEEDS:
        record, own = taught("mnli", seed)
        runs |= own
        for target in targets:
            for before, slope in zip(([], [record]), slopes, strict=True):
                scores = {
                    code: 80 - slope * far[code] + noise(code, target, seed, len(before), size=size) for code in codes
                }
                runs |= chain(target, {**scores, "en": 80.0}, before, seed)
    return runs


def test_distance_that_predicts_gaps_and_training_that_softens_it():
    table = table_of(far_runs())
    answer = distance(table, FACTS, {})
    rows = answer.tables["distance-correlations"][1].set_index(["target", "intermediate"])
    assert [*rows.index] == [(target, row) for target in ("xnli", "pawsx") for row in ("none", "mnli")]
    assert rows["p_holm"].max() < 0.05
    for (target, row), found in rows.iterrows():
        runs = table[(table["column"] == target) & (table["row"] == row) & (table["language"] != "en")]
        gaps = runs.groupby("language")[["loss", "subwords_per_word"]].mean()
        far = FACTS["syntactic"][gaps.index]
        assert (found["pearson"], found["p"]) == pytest.approx(tuple(stats.pearsonr(far, gaps["loss"])))
        assert found["spearman"] == pytest.approx(stats.spearmanr(far, gaps["loss"]).statistic)
        assert (found["languages"], found["families"]) == (14, 7)
        assert found["smallest_significant_r"] == pytest.approx(0.53, abs=0.005)
        assert np.isfinite(found["partial_cc100"])
        assert found["partial_fertility"] is None, "these runs do not say it"
    assert rows["p_holm"].tolist() == pytest.approx(holm(rows["p"].tolist()))
    text = said(answer)
    assert re.search(
        r"\*\*xnli\*\* \(14 languages of 7 families, \|r\| significant from 0\.53\): gap and syntactic ", text
    )
    assert "after mnli distance costs less." in text
    changes = answer.tables["distance-changes"][1].set_index(["target", "intermediate"])
    assert [*changes.index] == [("xnli", "mnli"), ("pawsx", "mnli")], "a target by itself"
    for (target, row), found in changes.iterrows():
        own = table[(table["column"] == target) & (table["row"] == row) & (table["language"] != "en")]
        gains = own.groupby("language")["gain"].mean()
        expected = stats.linregress(FACTS["syntactic"][gains.index], gains)
        assert (found["slope"], found["p"]) == pytest.approx((expected.slope, expected.pvalue))
        kept = [gains[(FACTS["family"][gains.index] != family).to_numpy()] for family in FACTS["family"][gains.index]]
        slopes = [stats.linregress(FACTS["syntactic"][own.index], own).slope for own in kept]
        ends = found["lowest_without_a_family"], found["highest_without_a_family"]
        assert ends == pytest.approx((min(slopes), max(slopes)))
    assert not {"p", "p_holm"} & {*answer.tables["distance-others"][1].columns}
    assert "syntactic" not in set(answer.tables["distance-others"][1]["distance"])


def test_fertility_is_of_the_languages_that_have_words(tmp_path):
    """Of th and zh, written without spaces, there is no such number: the partial correlation is over the others, and says so."""
    runs, pieces = far_runs(targets=["xnli"]), {code: 1.0 + hash_of(code) % 7 for code in XNLI}
    for run in runs.values():
        for code, own in run.get("scores", {}).items():
            own |= {"subwords_per_word": None if code in ("th", "zh") else pieces[code], "subwords_per_character": 0.4}
    table = table_of(runs)
    found = distance(table, FACTS, {}).tables["distance-correlations"][1].set_index("intermediate").loc["none"]
    own = (
        table[(table["row"] == "none") & ~table["language"].isin(["en", "th", "zh"])].groupby("language")["loss"].mean()
    )
    far, control = FACTS["syntactic"][own.index].tolist(), [pieces[code] for code in own.index]
    assert found["partial_fertility"] == pytest.approx(partial_spearman(far, own.tolist(), control))
    assert (found["languages"], found["languages_with_fertility"]) == (14, 12)
    text = text_of(report(lay_out(runs, tmp_path / "runs"), "--questions", "distance"))
    assert "over the languages that are written with spaces between words" in text
    assert "Of languages that are written without spaces between words" in text
    assert re.search(r"^\| zh \|.*\| 100 \| – \| 0\.400 \|$", text, re.MULTILINE)


def test_training_that_makes_distance_dearer_or_changes_nothing():
    assert "after mnli distance costs more" in said(distance(table_of(far_runs((10.0, 40.0))), FACTS, {}))
    text = said(distance(table_of(far_runs((20.0, 20.0))), FACTS, {}))
    assert "no evidence that mnli changes what distance costs" in text
    assert "costs less" not in text


def test_training_is_compared_in_the_languages_that_have_both():
    """In xnli nothing changes but in ur, which was scored after the training only; pawsx was scored without it only."""
    runs = far_runs((10.0, 10.0), targets=["xnli"], size=0.0) | chain("pawsx", {**far_scores(60.0), "en": 80.0})
    one = next(path for path, run in runs.items() if run["phase"] == "eval" and len(run["lineage"]) == 3)
    runs[one]["scores"]["ur"]["accuracy"] = 1.0
    for path, run in runs.items():
        if run["phase"] == "eval" and len(run["lineage"]) == 2 and run["task"] == "xnli":
            runs[path] = {**run, "scores": {code: own for code, own in run["scores"].items() if code != "ur"}}
    changes = distance(table_of(runs), FACTS, {}).tables["distance-changes"][1]
    assert changes[["target", "languages", "slope"]].values.tolist() == [["xnli", 13, pytest.approx(0)]]


def test_a_change_that_rests_on_one_family_is_said_to():
    """Far languages of one family gain; the others gain a little less with distance."""
    runs, codes, far = {}, [code for code in XNLI if code != "en"], ["sw", "tr", "hi", "ur"]
    for seed in SEEDS:
        record, own = taught("mnli", seed)
        base = {code: 60 + noise(code, seed) for code in codes}
        more = {code: 8.0 if code in far else noise(code) - 2 * FACTS["syntactic"][code] for code in codes}
        runs |= own | chain("xnli", {"en": 80.0, **base}, seed=seed)
        runs |= chain("xnli", {"en": 80.0} | {code: base[code] + more[code] for code in codes}, [record], seed)
    one = FACTS["family"].where(~FACTS.index.isin(far), "one")
    answer = distance(table_of(runs), FACTS.assign(family=one), {})
    found = answer.tables["distance-changes"][1].iloc[0]
    assert found["lowest_without_a_family"] < 0 < found["highest_without_a_family"]
    assert "after mnli distance costs less; the sign depends on one family." in said(answer)


def test_an_own_distance_is_tested_in_place_of_the_syntactic_one(tmp_path):
    table = table_of(far_runs(targets=["xnli"]))
    answer = distance(table, FACTS.assign(own=1000 * FACTS["genetic"]), {"distance_source": "It is mine."})
    assert "gap and own distance correlate with r = " in said(answer)
    assert answer.sentences[-1] == "It is mine."
    assert set(answer.tables["distance-others"][1]["distance"]) == {*DISTANCES}
    runs, mine = lay_out(far_runs(targets=["xnli"]), tmp_path / "runs"), tmp_path / "mine.csv"
    mine.write_text("language,distance\n" + "".join(f"{code},{1000 * FACTS['genetic'][code]}\n" for code in XNLI))
    text = text_of(report(runs, "--questions", "distance", "--distance_file", str(mine)))
    assert "The tested distance from English is that of mine.csv." in text
    assert "own distance from English" in text
    assert "lang2vec" in text_of(report(runs, "--questions", "distance"))


def test_gaps_that_do_not_go_with_distance():
    answer = distance(table_of(far_runs((0.0, 0.0), size=3.0)), FACTS, {})
    assert (answer.tables["distance-correlations"][1]["p_holm"] > 0.05).all()
    assert "no evidence" in said(answer)
    assert not re.search("costs less|costs more|predicts", said(answer))


def test_what_stands_out_of_a_question_of_distance_is_said():
    runs = far_runs(codes=[*XNLI, "qna"]) | chain("xcopa", {"sw": 55.0, "zh": 60.0, "it": 70.0, "vi": 61.0}, dev=75.0)
    text = said(distance(table_of(runs), FACTS, {}))
    assert "Left out, because the file of language facts lacks them: qna." in text
    assert "xcopa has no English test set: gaps are to the score on the English dev set." in text
    table = table_of(far_runs())
    with pytest.raises(UserError, match=r"--distance genetic is not known of ar, bg.*; known are syntactic"):
        distance(table, FACTS.assign(genetic=np.nan), {"distance": "genetic"})


def test_a_plot_shows_the_targets_that_its_training_was_followed_by():
    runs = {}
    for task, target in (("mnli", "xnli"), ("squad", "pawsx")):
        record, own = taught(task)
        runs |= own | chain(target, far_scores(20.0), [record])
    plots = distance(table_of(runs), FACTS, {}).plots
    assert {name: [*plot[1]["panels"]] for name, plot in plots.items()} == {
        "distance-mnli": ["xnli"],
        "distance-squad": ["pawsx"],
    }


def test_a_baseline_alone_is_drawn(tmp_path):
    """Somebody's first report, before any intermediate training."""
    ((name, (draw, options, *_)),) = distance(table_of(chain("xnli", far_scores(20.0))), FACTS, {}).plots.items()
    draw(**options, path=tmp_path / f"{name}.svg")
    assert [*options["panels"]["xnli"]] == ["before"]
    assert "none" in (tmp_path / f"{name}.svg").read_text("utf-8")


def test_too_few_languages_have_a_reason_in_place_of_a_figure():
    answer = distance(table_of(far_runs(codes=["en", "de", "sw"])), FACTS, {})
    assert "2 languages do not allow a slope of the gain on distance." in said(answer)
    assert "nan" not in said(answer).lower()
    assert [*answer.tables] == ["distance"], "tables without a figure are left out"
    alone = distance(table_of(chain("xnli", dict.fromkeys(XNLI[:8], 50.0))), FACTS, {})
    assert "an unknown r (too few languages, or no differences)" in said(alone)
    assert "distance-changes" not in alone.tables
    record, own = taught("mnli")
    trained = distance(table_of(own | chain("xnli", far_scores(20.0), [record])), FACTS, {})
    assert "**xnli** was not scored without mnli" in said(trained)
    unknown = distance(table_of(far_runs()), FACTS.assign(syntactic=np.nan), {})
    assert "The syntactic distance of these languages is not known" in said(unknown)
    assert len(unknown.tables["distance-others"][1])


def test_distance_cannot_be_asked_of_other_targets_or_languages():
    assert distance(table_of(chain("udpos", values(50))), FACTS, {}) is None
    assert distance(table_of(chain("xnli", {"en": 50.0, "qna": 40.0, "qnb": 30.0})), FACTS, {}) is None
    assert distance(table_of(chain("xnli", values(50), evaluation={"source_language": "de"})), FACTS, {}) is None


# ---- question 5 -----------------------------------------------------------------------------------------------------

BITS = {"mnli": 0.5, "qqp": 1.0, "squad": 2.0, "hellaswag": 4.0, "ccg": 6.0}


def hard_runs(slope=3.0, tasks=tuple(BITS), codes=("de", "sw", "zh"), target="panx"):
    """Runs after tasks of growing complexity, after which the gap between English and the others grows too."""
    runs = {}
    for seed in SEEDS:
        runs |= chain(target, values(70, seed, 2.0), seed=seed)
        for task in tasks:
            known = {task: {"chance": 1, "rows": 60, "prequential_bits_per_example": BITS[task]}}
            record, own = taught(task, seed, complexity=known)
            gap = 10 + slope * BITS[task] + noise(task, seed)
            runs |= own | chain(target, {"en": 80.0, **dict.fromkeys(codes, 80 - gap)}, [record], seed)
    return runs


def test_gaps_that_grow_with_complexity():
    table = table_of(hard_runs())
    answer = complexity(table, FACTS, {})
    rows = answer.tables["complexity"][1]
    own = table[(table["language"] != "en") & (table["row"] != "none")].groupby("tasks")["loss"].mean()
    assert dict(zip(rows["task"], rows["gap"], strict=True)) == pytest.approx(own.to_dict())
    assert (rows["low"] < rows["gap"]).all()
    assert rows["gap_without"].unique() == pytest.approx([4])
    sentence = answer.sentences[0]
    assert "over 5 intermediate tasks, Spearman's rho of gap and complexity is 1.00 (p = 0.0" in sentence
    assert re.search(
        r"smallest after mnli \(1\d\.\d points\) and largest after ccg \(2\d\.\d\); without .* it is 4\.0\.", sentence
    )


def test_gaps_that_do_not_grow_with_complexity_are_not_said_to():
    answer = complexity(table_of(hard_runs(slope=0.0)), FACTS, {})
    assert not re.search("goes with|grows|predicts", said(answer))
    assert "p = " in said(answer)


def test_gaps_are_compared_in_the_languages_that_all_runs_have():
    """Without zh, the farthest language, which runs after ccg lack, all gaps are what they are in the others."""
    runs = hard_runs()
    for run in runs.values():
        if run["phase"] == "eval":
            run["scores"]["zh"]["accuracy"] = 1.0
            if run["lineage"][1]["task"] == "ccg":
                del run["scores"]["zh"]
    answer, whole = (complexity(table_of(each), FACTS, {}) for each in (runs, hard_runs()))
    gaps, expected = (each.tables["complexity"][1].set_index("task")["gap"] for each in (answer, whole))
    assert gaps.to_dict() == pytest.approx(expected.to_dict())
    assert answer.tables["complexity"][1]["gap_without"].unique() == pytest.approx([3])
    assert "**panx, en** is compared in the languages that all runs have, without zh." in said(answer)


def test_two_tasks_or_unknown_complexity_are_no_answer():
    assert complexity(table_of(hard_runs(tasks=("mnli", "qqp"))), FACTS, {}) is None
    evaluations = {path: run for path, run in hard_runs().items() if run["phase"] != "intermediate"}
    assert complexity(table_of(evaluations), FACTS, {}) is None


# ---- words and pages ------------------------------------------------------------------------------------------------


def test_words_for_figures():
    assert [signed(-0.04), signed(0.0), signed(-1.25), plain(-0.04), plain(-3)] == [
        "+0.0",
        "+0.0",
        "−1.2",
        "0.0",
        "−3.0",
    ]
    assert [p_text(None), p_text(float("nan")), p_text(0.0004), p_text(0.5)] == ["p unknown"] * 2 + [
        "p < 0.001",
        "p = 0.500",
    ]
    one = gain({1: 2.0}, {1: 1.0})
    assert interval_text(one) == " (one seed, no interval)"
    assert estimate_text(None) == "an unknown number of points"
    assert (
        correlation_text(Correlation(None, None, None, None, 4, "all values of x are the same"))
        == "unknown (all values of x are the same)"
    )
    found = Correlation(-1.0, -1.0, -1.0, 0.016, 5)
    assert correlation_text(found) == "−1.00 (p = 0.016, n = 5)", "not with certainty"
    assert correlation_text(replace(found, high=-0.5)) == "−1.00 (−1.00 to −0.50, p = 0.016, n = 5)"


def test_all_questions_on_one_page(tmp_path):
    """Runs of all five studies beside each other, from one seed, and without no intermediate training."""
    runs = (
        frozen_runs(target="xquad") | taught_in(["de", "en"]) | drawn_runs() | far_runs(targets=["pawsx"]) | hard_runs()
    )
    for run in runs.values():
        if run["task"] != "mnli" or run["phase"] == "target":
            run.pop("weight_change", None)  # whose plots take long
    text = text_of(report(lay_out(runs, tmp_path / "runs")))
    assert [text.count(f"### Question {number}") for number in range(1, 6)] == [1] * 5
    check_plain(tmp_path / "report")
    depths = rows_of(tmp_path / "report" / "layers-depth.csv")
    scores = pd.read_csv(tmp_path / "report" / "scores.csv")
    own = scores[(scores["column"] == "xquad") & (scores["frozen"] == "all")]
    row = next(row for row in depths if (row["target"], row["depth"]) == ("xquad", "all"))
    assert float(row["score"]) == pytest.approx(own["score"].mean())
    assert f"| all | {mean(own['score']):.1f} |" in text.replace("−", "-")
    report(lay_out({path: run for path, run in runs.items() if run["seed"] == 1}, tmp_path / "one" / "runs"))
    check_plain(tmp_path / "one" / "report")
    runs = far_runs(targets=["pawsx"]) | hard_runs()
    trained = {path: run for path, run in runs.items() if len(run["lineage"]) > 2 or run["phase"] == "intermediate"}
    report(lay_out(trained, tmp_path / "trained" / "runs"), "--questions", "distance,complexity")
    check_plain(tmp_path / "trained" / "report")
