"""Target training and evaluation: source language, selection, the benchmarks' releases, XCOPA's head, examples that are kept."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from test_multitask import run

import run_report
import run_target
import run_zeroshot_eval
from tasks import load_task
from xstilts.base import UserError, read_json
from xstilts.lineage import source_language, task_of_benchmark
from xstilts.results import Run
from xstilts.task import of_benchmark


def target(folder, data, start, line):
    return run(run_target.main, folder, data, start, line)


def evaluate(folder, data, checkpoint, line):
    options = (
        f"--model_name_or_path {checkpoint} --data_dir {data} --output_dir {folder} --use_cpu --max_eval_samples 6"
    )
    run_zeroshot_eval.main(f"{options} --max_seq_length 256 {line}".split())
    return read_json(folder / "run.json")


# ---- source language ------------------------------------------------------------------------------------------------


def test_another_source_language(world, encoder, tmp_path):
    done = target(tmp_path / "run", world, encoder, "--task udpos --train_language qna")
    assert {(each["split"], each["language"]) for each in done["data"]} == {("train", "qna"), ("validation", "qna")}
    record = done["lineage"][-1]
    assert (record["languages"], record["factors"]) == (["qna"], ["qna"])
    assert source_language(done["lineage"]) == "qna"
    found = evaluate(tmp_path / "eval", world, tmp_path / "run", "--task udpos --languages en,qna,qfd")
    assert found["source_language"] == "qna"
    assert found["remarks"] == ["udpos: UD words, not XTREME's (en qna qfd)"]
    assert found["zero_shot_languages"] == ["en", "qfd"]
    f1 = {language: scores["f1"] for language, scores in found["scores"].items()}
    assert found["gaps"] == pytest.approx({"en": f1["qna"] - f1["en"], "qfd": f1["qna"] - f1["qfd"]})
    assert found["averages"]["gap"] == pytest.approx(sum(found["gaps"].values()) / 2)
    for scores in found["scores"].values():
        low, high = scores["interval"]
        assert low <= scores["f1"] <= high


def test_a_language_without_training_rows_is_said(world, encoder, tmp_path):
    with pytest.raises(UserError, match="has no training rows in 'xx'"):
        target(tmp_path / "run", world, encoder, "--task udpos --train_language xx")


# ---- selection ------------------------------------------------------------------------------------------------------


def test_the_last_step_is_kept(world, encoder, tmp_path, monkeypatch):
    """Its weights, although earlier ones may be better on dev; and no language has chosen it."""
    kept, close = {}, Run.close

    def watched(run, *args):
        kept.update(load_file(run.output_dir / "checkpoint-6" / "model.safetensors"))
        return close(run, *args)

    monkeypatch.setattr(Run, "close", watched)
    line = "--task mnli --num_train_epochs 3 --learning_rate 1e-2 --seed 3 --selection last"
    last = target(tmp_path / "last", world, encoder, line)
    assert last["selected_step"] == last["steps"] == 6
    assert (last["lineage"][-1]["factors"], last["lineage"][-1]["selected_in"]) == (["selection-last"], [])
    saved = load_file(tmp_path / "last" / "model.safetensors")
    assert kept.keys() == saved.keys()
    assert all(torch.equal(tensor, kept[name]) for name, tensor in saved.items())


def test_selection_on_what_is_reported_is_marked(world, encoder, tmp_path):
    """SQuAD's dev set for XQuAD; then nothing is held out of the training rows."""
    done = target(tmp_path / "squad", world, encoder, "--task xquad --selection benchmark")
    train, dev = done["data"]
    assert (dev["split"], dev["files"]) == ("validation", ["squad/dev-v1.1.json"])
    honest = target(tmp_path / "honest", world, encoder, "--task xquad")
    assert honest["data"][1]["files"] == ["squad/train-v1.1.json"]
    assert train["fingerprint"] != honest["data"][0]["fingerprint"] or train["rows"] == 16
    assert (done["lineage"][-1]["selection"], done["lineage"][-1]["factors"]) == ("benchmark", ["selection-benchmark"])


def test_an_oracle_looks_at_every_language(world, encoder, tmp_path):
    done = target(tmp_path / "run", world, encoder, "--task xnli --selection oracle")
    assert {each["language"] for each in done["data"] if each["split"] == "validation"} > {"en", "qna", "qfd"}
    assert {each["language"] for each in done["data"] if each["split"] == "train"} == {"en"}
    assert done["lineage"][-1]["factors"] == ["selection-oracle"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--selection best", "--selection best is not one of english_dev, last,"),
        ("--selection last --early_stopping_patience 2", "exclude each other"),
        ("--benchmark xtreme2", "'xtreme2' is not one of xtreme, xtreme-r"),
    ],
)
def test_what_cannot_be_selected_is_said(line, message, world, encoder, tmp_path):
    with pytest.raises(UserError, match=message):
        target(tmp_path / "run", world, encoder, f"--task udpos {line}")
    assert not (tmp_path / "run").exists()


# ---- benchmarks -----------------------------------------------------------------------------------------------------


def test_a_benchmark_has_its_languages_and_its_release(world, encoder, tmp_path):
    shutil.copytree(Path(world) / "ud", tmp_path / "data" / "ud-2.7")
    later = target(tmp_path / "later", tmp_path / "data", encoder, "--task udpos --benchmark xtreme-r")
    assert later["lineage"][-1]["benchmark"] == "xtreme-r"
    assert later["lineage"][-1]["factors"] == ["xtreme-r"]
    found = evaluate(tmp_path / "eval", tmp_path / "data", tmp_path / "later", "--task udpos --benchmark xtreme-r")
    assert [*found["scores"]] == ["en"]
    assert len(found["missing_languages"]) == 37
    assert "wo" in found["missing_languages"]
    assert found["remarks"] == [], "XTREME's words, by XTREME's rules"
    again = evaluate(tmp_path / "again", tmp_path / "data", tmp_path / "later", "--task udpos --languages en")
    assert again["scores"]["en"]["f1"] == found["scores"]["en"]["f1"]
    with pytest.raises(UserError, match=r"learnt udpos from xtreme-r's release .* than --benchmark xtreme has"):
        evaluate(tmp_path / "mix", tmp_path / "data", tmp_path / "later", "--task udpos --benchmark xtreme")


def test_a_release_is_asked_of_the_checkpoint():
    task = load_task("udpos")
    lineage = [{"base_model": "b"}, {"phase": "target", "task": "udpos", "benchmark": None}]
    assert len(task_of_benchmark(task, "xtreme", lineage).languages) == 33
    with pytest.raises(UserError, match="learnt udpos from xtreme's release"):
        task_of_benchmark(task, "xtreme-r", lineage)
    assert task_of_benchmark(task, None, lineage) == task
    written = [lineage[0], {**lineage[1], "benchmark": "xtreme"}]
    assert (
        task_of_benchmark(task, None, written)
        == of_benchmark(task, "xtreme")
        == task_of_benchmark(task, "xtreme", written)
    )
    with pytest.raises(UserError, match="learnt udpos from xtreme's release"):
        task_of_benchmark(task, "xtreme-r", written)
    xnli = load_task("xnli")
    other = [{"base_model": "b"}, {"phase": "target", "task": "xnli", "benchmark": None}]
    assert task_of_benchmark(xnli, "xtreme-r", other).languages == xnli.languages  # the same data in both
    with pytest.raises(UserError, match="xtreme has no task 'xcopa'"):
        task_of_benchmark(load_task("xcopa"), "xtreme")


# ---- XCOPA after Social IQa -----------------------------------------------------------------------------------------


def test_xcopa_goes_on_with_the_head_of_social_iqa(world, encoder, tmp_path):
    siqa = target(tmp_path / "siqa", world, encoder, "--task siqa --max_seq_length 96")
    kept = target(tmp_path / "kept", world, tmp_path / "siqa", "--task xcopa --max_seq_length 96 --learning_rate 0")
    before, after = (load_file(tmp_path / name / "model.safetensors") for name in ("siqa", "kept"))
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())
    assert kept["lineage_text"] == f"{siqa['lineage_text']} > xcopa"
    assert (kept["lineage"][-1]["head"], kept["warnings"]) == ("kept", [])
    assert read_json(tmp_path / "kept" / "config.json")["id2label"] == {"0": "0", "1": "1"}
    assert evaluate(tmp_path / "eval", world, tmp_path / "kept", "--task xcopa")["warnings"] == []


def test_xcopa_without_social_iqa_is_a_warning(world, encoder, tmp_path, capsys):
    with pytest.raises(UserError, match=r"needs XLMRobertaForMultipleChoice; --keep_head false gives it a fresh one"):
        target(tmp_path / "run", world, encoder, "--task xcopa --max_seq_length 96")
    done = target(tmp_path / "run", world, encoder, "--task xcopa --max_seq_length 96 --keep_head false")
    assert done["warnings"] == ["xcopa without siqa before it, on which the benchmark trains first"]
    assert "warning: xcopa without siqa" in capsys.readouterr().out


# ---- examples and placeholders --------------------------------------------------------------------------------------


def test_examples_are_kept(world, encoder, tmp_path):
    for task in ("xnli", "udpos", "xquad"):
        target(tmp_path / task, world, encoder, f"--task {task} --max_eval_samples 4")
        line = f"--task {task} --languages en,qna --save_examples --doc_stride 16"
        found = evaluate(tmp_path / f"{task}-eval", world, tmp_path / task, line)
        for language in ("en", "qna"):
            path = tmp_path / f"{task}-eval" / "examples" / task / f"test-{language}.jsonl"
            rows = [json.loads(each) for each in path.read_text("utf-8").splitlines()]
            assert len(rows) == found["scores"][language]["examples"] == 6
            for row in rows:
                own = load_task(task).type.columns
                assert [*row] == [*dict.fromkeys([*own, "gold", "prediction", "confidence"])]
                confidence = row["confidence"] if task == "udpos" else [row["confidence"]]
                assert all(0 <= value <= 1 for value in confidence)
                assert task != "udpos" or len(row["prediction"]) == len(confidence) == len(row["tokens"])


def test_placeholders_are_not_scored(world, encoder, tmp_path):
    """XTREME's stripped test files: one label for all rows of a language."""
    target(tmp_path / "run", world, encoder, "--task xnli")
    shutil.copytree(Path(world) / "xnli", tmp_path / "data" / "xnli")
    path = tmp_path / "data" / "xnli" / "test-qna.tsv"
    lines = [line.rsplit("\t", 1)[0] + "\tneutral" for line in path.read_text("utf-8").splitlines()]
    for name in ("test-qna.tsv", "test-sw.tsv"):
        path.with_name(name).write_text("".join(f"{line}\n" for line in lines * 2), encoding="utf-8")
    line = f"--task xnli --model_name_or_path {tmp_path / 'run'} --data_dir {tmp_path / 'data'} --use_cpu --max_seq_length 64"
    run_zeroshot_eval.main(
        f"{line} --languages en,qna,sw --output_dir {tmp_path / 'eval'} --max_eval_samples 150".split()
    )
    found = read_json(tmp_path / "eval" / "run.json")
    assert [*found["scores"]] == ["en", "qna"], "rows of one's own may have one class"
    assert "placeholders" in found["unscored_languages"]["sw"]
    assert (tmp_path / "eval" / "predictions" / "xnli" / "test-sw.tsv").exists()


def test_pairs_of_languages_are_evaluated_when_asked_for(official, encoder, tmp_path):
    """MLQA: a question in one language about a context in another, scored as the context's; no part of any average."""
    target(tmp_path / "run", official, encoder, "--task xquad")
    found = evaluate(
        tmp_path / "eval", official, tmp_path / "run", "--task mlqa --doc_stride 16 --languages en,de,de-en"
    )
    assert [*found["scores"]] == ["en", "de", "de-en"]
    scores = found["scores"]
    assert found["averages"]["all"] == pytest.approx((scores["en"]["f1_em_mean"] + scores["de"]["f1_em_mean"]) / 2)
    assert [*found["gaps"]] == ["de"]


def test_a_report_says_what_was_chosen_on_what_it_shows(world, encoder, tmp_path):
    target(tmp_path / "oracle", world, encoder, "--task xnli --selection oracle")
    target(tmp_path / "plain", world, encoder, "--task xnli")
    for name in ("oracle", "plain"):
        evaluate(tmp_path / f"{name}-eval", world, tmp_path / name, "--task xnli --languages en,qna")
    run_report.main([str(tmp_path), "--output_dir", str(tmp_path / "report")])
    report = (tmp_path / "report" / "report.md").read_text("utf-8")
    assert "| intermediate task | xnli | xnli (selection-oracle) |" in report
    assert "xnli (selection-oracle): the checkpoint was chosen on the target languages' own dev sets" in report
    means = read_json(tmp_path / "plain-eval" / "run.json")["averages"]
    assert means["xtreme"] is means["xtreme-r"] is None  # two languages are no benchmark
