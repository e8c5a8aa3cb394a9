"""The paper's table beside our runs: which of them have a cell in it, gains beside gains, and where a difference is shown."""

import csv

import pytest
from test_report import chain, evaluated, lay_out, report, step, taught, text_of

from xstilts.paper_table import NOTES, beside_paper
from xstilts.report import column_of, row_of
from xstilts.xtreme import XTREME

LARGE = {"base_model": "xlm-roberta-large", "fingerprint": "0123456789abcdef"}
NO_DEV = ("kk", "th", "tl", "yo")  # in UD-POS
SEVERAL = "anli_plus+qqp+hellaswag+ccg+cosmosqa+commonsenseqa"
ROWS = ("none", "anli_plus", "qqp", "mnli", SEVERAL)


def languages(task):
    return [code for code in XTREME[task].languages if task != "udpos" or code not in NO_DEV]


def scores(task, level, codes=()):
    """run.json's scores of a task, all of a level; exact match 20 below F1, BUCC's dev F1 5 above its test score."""
    names = {"exact_match": level - 20, "f1": level, "dev_f1": level + 5, "accuracy": level}
    named = {"qa": ("f1", "exact_match"), "retrieval": ("f1", "dev_f1", "accuracy")}
    kept = named.get(XTREME[task].group, XTREME[task].metrics)
    return {code: {**{name: names[name] for name in kept}, "examples": 100} for code in codes or languages(task)}


def eval_runs(task, level, before=(), seed=1, split=None, base=LARGE, factors=(), codes=(), **more):
    """{path: run.json} of an evaluation of a target, or of a retrieval, in the paper's split."""
    found = scores(task, level, codes)
    metric = {"qa": "f1", "retrieval": "accuracy"}.get(XTREME[task].group, XTREME[task].metrics[0])
    own = {"scores": found, "metric": metric, "averages": {"all": level, "zero_shot": level}} | more
    if XTREME[task].group == "retrieval":
        run = evaluated(task, list(before), dict.fromkeys(found, level), seed, base, phase="retrieval", layer=14)
        return {f"retrieval/{task}-{level}-{seed}-{'-'.join(each['task'] for each in before)}": run | own}
    split = split or ("test" if task in ("xquad", "tydiqa") else "validation")
    made = chain(task, dict.fromkeys(found, level), before, seed, factors, base, {"split": split})
    return {path: run | own if run["phase"] == "eval" else run for path, run in made.items()}


def table_of(runs, order=ROWS):
    """The Table of {path: run.json} of one base model."""
    some = [run for run in runs.values() if run["phase"] in ("eval", "retrieval")]
    return beside_paper({(row_of(run), column_of(run), run["seed"]): run for run in some}, "paper", order)


def lines_of(table):
    return {tuple(line[:2]): dict(zip(table.header[2:], line[2:], strict=True)) for line in table.lines}


def test_scores_stand_beside_scores_and_gains_beside_gains():
    runs = {}
    for seed, gained in ((1, 0.0), (2, 1.0)):
        record, _ = taught("anli_plus", seed, base=LARGE)
        for task, level in (("xnli", 80.5), ("udpos", 70), ("tydiqa", 75.7), ("tatoeba", 31), ("bucc2018", 60)):
            if seed == 1 or task not in ("tatoeba", "bucc2018"):  # of an untrained encoder one serves all seeds
                runs |= eval_runs(task, level, seed=seed)
            runs |= eval_runs(task, level + gained, [record], seed)
    table = table_of(runs)
    assert table.header == ["intermediate task", "whose", "xnli", "udpos", "tydiqa", "bucc2018", "tatoeba"]
    found = lines_of(table)
    assert [*found] == [
        (row, whose) for row in ("none", "anli_plus") for whose in ("ours", "the paper's", "difference")
    ]
    assert found["none", "ours"] == {
        "xnli": "80.5", "udpos": "70.0", "tydiqa": "75.7 / 55.7", "bucc2018": "65.0", "tatoeba": "31.0",
    }  # fmt: skip
    assert found["none", "the paper's"]["tydiqa"] == "75.7 / 61.0"
    assert found["none", "difference"]["bucc2018"] == "−6.5", "the paper's BUCC is dev"
    assert found["anli_plus", "ours"] == dict.fromkeys(found["anli_plus", "ours"], "+0.5") | {"tydiqa": "+0.5 / +0.5"}
    assert found["anli_plus", "the paper's"] == {
        "xnli": "−0.8", "udpos": "−0.9", "tydiqa": "+2.2 / +3.1", "bucc2018": "+20.1", "tatoeba": "+49.8",
    }  # fmt: skip
    assert found["anli_plus", "difference"]["xnli"] == "+1.3"
    assert found["anli_plus", "difference"]["tydiqa"] == "−1.7 / −2.6"
    assert table.notes[-len(NOTES) :] == NOTES
    assert not any("No difference" in note for note in table.notes)


XTREME_R = {"benchmark": "xtreme-r"}


@pytest.mark.parametrize(
    ("task", "changes", "reason"),
    [
        ("xnli", {"split": "test"}, "ours is test, the paper's dev"),
        ("xnli", {"codes": ("en", "de")}, "2 of 15 languages"),
        ("xnli", {"base": {**LARGE, "base_model": "xlm-roberta-base"}}, "the encoder is xlm-roberta-base, not xlm-roberta-large"),
        ("udpos", {"codes": XTREME["udpos"].languages}, "33 of 29 languages"),
        ("udpos", {"factors": ["xtreme-r"]}, "XTREME-R's release of the data, the paper's is XTREME's"),
        ("panx", {"data": [{"language": "en", "rows": 9, "published_rows": 10}]}, "not the published number of rows"),
        ("tatoeba", {"layer": 8}, "layer 8, not 14"),
        ("bucc2018", {"scores": {code: {"f1": 60.0} for code in XTREME["bucc2018"].languages}}, "another metric"),
    ],
)  # fmt: skip
def test_what_is_not_about_the_same_has_no_difference(task, changes, reason):
    table = table_of(eval_runs(task, 60, **changes))
    assert [line[:2] for line in table.lines] == [["none", "ours"], ["none", "the paper's"]]
    assert f"No difference for {task}: {reason}." in table.notes
    assert {row[-2:][0] for row in table.csv_rows} == {None}
    assert {row[-1] for row in table.csv_rows} == {reason}


def test_the_column_most_like_the_papers_is_taken():
    """Other languages than XTREME's do not count, and a baseline of another column is none."""
    runs = eval_runs("xnli", 60, split="test") | eval_runs("xnli", 70, codes=[*XTREME["xnli"].languages, "qu"])
    record, _ = taught("qqp", base=LARGE)
    runs |= eval_runs("xnli", 61, [record], split="test")
    table = table_of(runs)
    assert lines_of(table)["none", "ours"] == {"xnli": "70.0"}
    assert lines_of(table)["none", "difference"] == {"xnli": "−10.1"}
    assert ("qqp", "ours") not in lines_of(table)
    assert "Our columns are xnli (validation)." in table.notes


def test_which_runs_are_rows_of_the_paper():
    """Several tasks in any order, with text beside, differing in what they were told; nothing frozen, adapted, or of two."""
    runs = eval_runs("xnli", 60)
    mixed = step("intermediate", "all-mnli-squad_v2-squad", 1, "steps-proportional", "K131072", "mlm0.349")
    mixed["tasks"] = sorted(SEVERAL.split("+"))
    told = step("intermediate", "ccg", 1, "learning_rate 3e-05")
    others = [step("intermediate", "ccg", 1, factor) for factor in ("freeze-6", "lora")]
    others += [step("intermediate", task) for task in ("mnli", "squad_v2")]
    others += [step("intermediate", "qqp", 1, "all-languages", languages=["en", "de"])]
    for record in (mixed, told, *others):
        runs |= eval_runs("xnli", 61, [record])
    runs |= eval_runs("xnli", 61, [step("intermediate", "ccg"), step("intermediate", "qqp")])
    runs |= eval_runs("xnli", 62, factors=["de"])
    found = lines_of(table_of(runs))
    rows = {row for row, _ in found} - {"none"}
    assert rows == {"all-mnli-squad_v2-squad (steps-proportional, K131072, mlm0.349)", "ccg (learning_rate 3e-05)"}
    (row,) = (row for row in rows if "mlm" in row)
    assert found[row, "the paper's"] == {"xnli": "+0.4"}
    assert found["none", "ours"] == {"xnli": "60.0"}
    own = {key: run for key, run in runs.items() if "mnli" in key and run["phase"] == "eval" and "all" not in key}
    assert table_of(own) is None


def test_without_a_baseline_there_is_no_gain():
    record, _ = taught("qqp", base=LARGE)
    table = table_of(eval_runs("xquad", 61, [record]))
    assert [line[1:] for line in table.lines] == [["ours", ""], ["the paper's", "−3.8 / −3.8"]]


def paper_study(seeds=(1, 2)):
    """Made-up runs of the paper's grid: nine targets behind none, six intermediate tasks and several of them."""
    runs, records = {}, {}
    for seed in seeds:
        for place, task in enumerate(("none", "anli_plus", "qqp", "squad", "hellaswag", "mnli", SEVERAL)):
            own = {}
            if task != "none":
                record, own = taught(task, seed, base=LARGE)
                records[task] = [record]
            runs |= own
            for number, target in enumerate(XTREME):
                level = 60 + number + (place * (number + seed) % 7) / 2
                before = records.get(task, ())
                if before or seed == 1 or XTREME[target].group != "retrieval":
                    runs |= eval_runs(target, level, before, seed)
                if XTREME[target].group != "retrieval" and target not in ("xquad", "tydiqa"):
                    codes = XTREME[target].languages
                    test = eval_runs(target, level + 1, before, seed, "test", codes=codes)
                    runs |= {path: run for path, run in test.items() if run["phase"] == "eval"}
    return runs


def test_a_report_has_the_papers_cells_beside_ours_with_the_notes(tmp_path):
    output_dir = report(lay_out(paper_study(), tmp_path / "runs"), "--questions", "layers")
    text = text_of(output_dir)
    assert "| qqp | the paper's | −1.4 | −2.1 | −5.6 | −6.9 | −3.8 / −3.8 |" in text
    assert text.index("Ours beside the paper's") < text.index("Published numbers, as their sources have them")
    for words in ("29 languages", "how many runs a cell", "selection benchmark", "printed is"):
        assert words in text
    with open(output_dir / "paper.csv", encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["target"] == "tydiqa" and row["intermediate"] == "squad"]
    assert [(row["metric"], row["paper"]) for row in rows] == [("f1", "5.6"), ("exact_match", "7.4")]
    assert all(float(row["difference"]) == pytest.approx(float(row["ours"]) - float(row["paper"])) for row in rows)
