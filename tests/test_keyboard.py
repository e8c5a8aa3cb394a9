"""What a user sees: --help, --dry_run, progress on a terminal and in a log, what a training says."""

import json
import os
import pty
import re
import select
import sys
import termios
import time
from contextlib import nullcontext
from dataclasses import fields
from types import SimpleNamespace

import datasets
import huggingface_hub.utils as hub_utils
import pytest
import torch
from transformers import TrainerControl, TrainerState
from transformers.utils import logging as transformers_logging

import run_intermediate
import run_retrieval
import run_target
import run_zeroshot_eval
from xstilts import progress
from xstilts.base import UserError
from xstilts.resuming import fit
from xstilts.runs.command_line import REFUSED

SCRIPTS = (run_intermediate, run_target, run_zeroshot_eval, run_retrieval)
SMALL = (
    "--max_train_samples 40 --max_eval_samples 12 --num_train_epochs 3 --max_seq_length 64 --use_cpu --seed 5".split()
)
TITLES = ("options:", "options of the Trainer:")

# ---- --help ---------------------------------------------------------------------------------------------------------


def page(script, capsys, *options):
    with pytest.raises(SystemExit) as left:
        script.main([*options, "--help"])
    assert left.value.code == 0
    return capsys.readouterr().out


def groups(text):
    """{title: options} of a page, in the order they stand in."""
    found = {}
    for line in text.split("\n"):
        if title := next((title for title in TITLES if line.startswith(title)), None):
            options = found[title] = []
        elif option := re.match(r"  --(\w+)", line):
            options.append(option[1])
    return found


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.__name__)
def test_help_has_our_options_first_and_nothing_that_is_refused(script, capsys):
    text = page(script, capsys)
    own = next(
        value for name, value in vars(script).items() if name.endswith("Arguments") and name != "TrainingArguments"
    )
    found = groups(text)
    assert list(found) == list(TITLES)
    assert sorted(found["options:"]) == sorted(field.name for field in fields(own))
    assert {"output_dir", "max_steps", "per_device_eval_batch_size"} <= {*found["options of the Trainer:"]}
    assert {option for options in found.values() for option in options}.isdisjoint(REFUSED)
    assert text.count("\n") < 160
    assert "main_classes/trainer#transformers.TrainingArguments" in text
    assert "  --no_" not in text
    assert script.__doc__.split("\n")[0] in text


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.__name__)
def test_every_option_of_ours_says_what_it_is(script):
    own = next(
        value for name, value in vars(script).items() if name.endswith("Arguments") and name != "TrainingArguments"
    )
    assert all(len(field.metadata["help"]) > 10 for field in fields(own))


def test_help_shows_the_defaults_of_the_task(capsys):
    of = {}
    for task in ("udpos", "xquad"):
        text = " ".join(page(run_target, capsys, "--task", task).split())
        of[task] = [
            re.search(rf"--{name} .*?\(default: (\S+)\)", text)[1] for name in ("max_seq_length", "num_train_epochs")
        ]
    assert of == {"udpos": ["256", "10"], "xquad": ["384", "2"]}


# ---- --dry_run ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def target(encoder, world, tmp_path_factory):
    """Directory of a trained tagger."""
    folder = str(tmp_path_factory.mktemp("target") / "udpos")
    run_target.main(command("udpos", encoder, world, folder))
    return folder


def command(task, model, world, folder, *more):
    given = f"--task {task} --model_name_or_path {model} --data_dir {world} --output_dir {folder}"
    return [*given.split(), *SMALL, *more]


def evaluation(task, model, world, folder, *more):
    given = f"--task {task} --model_name_or_path {model} --data_dir {world} --output_dir {folder} --languages qna,qfd"
    return [*given.split(), *"--max_eval_samples 12 --max_seq_length 64 --use_cpu --dry_run".split(), *more]


def number(text, before):
    return int(re.search(rf"{before}\s+([\d,]+)", text)[1].replace(",", ""))


def test_a_dry_run_says_what_the_run_then_does_and_writes_nothing(encoder, world, tmp_path, capsys):
    folder = tmp_path / "runs" / "xnli"
    options = command("xnli", encoder, world, folder, "--freeze_layers", "1", "--logging_steps", "1")
    run_target.main([*options, "--dry_run"])
    text = capsys.readouterr().out
    assert "dry run: target xnli from " in text
    assert "(not started yet)" in text
    assert not (tmp_path / "runs").exists()
    assert re.search(r"freeze_layers +1 +command line", text)
    assert re.search(r"learning_rate +1e-05 +config", text)
    assert "hub_token" not in text
    run_target.main(options)
    run = json.loads((folder / "run.json").read_text("utf-8"))
    assert number(text, "\nsteps ") == run["steps"] == 6
    for record in run["data"]:
        assert re.search(rf"{record['task']} +{record['split']} +en +{record['rows']} ", text)
    total, trained = (sum(column) for column in zip(*run["parameters"].values(), strict=True))
    assert f"{total:,}" in text
    assert f"{trained:,}" in text


def test_a_dry_run_says_what_is_there(target, encoder, world, capsys):
    run_target.main([*command("udpos", encoder, world, target), "--dry_run"])
    assert "finished: the same command would do nothing" in capsys.readouterr().out
    assert "checkpoint-" not in " ".join(os.listdir(target))
    run_target.main([*command("udpos", encoder, world, target, "--learning_rate", "1e-3"), "--dry_run"])
    said = capsys.readouterr().out
    assert "without --dry_run this would be refused" in said
    assert "learning_rate: 1e-05 -> 0.001" in said


def test_a_dry_run_finds_a_stage_that_is_never_reached(encoder, world, tmp_path):
    options = command("xnli", encoder, world, tmp_path / "out", "--unfreeze_schedule", "0:0;6:none")
    with pytest.raises(UserError, match="step 6 is never reached, training has 6 steps"):
        run_target.main([*options, "--dry_run"])


def test_a_dry_run_of_several_tasks(encoder, world, tmp_path, capsys):
    run_intermediate.main([*command("mnli+squad", encoder, world, tmp_path / "out"), "--dry_run", "--doc_stride", "4"])
    text = capsys.readouterr().out
    for name in ("mnli train", "squad train", "mnli validation", "squad validation"):
        assert number(text, f"\n{name}") > 0
    assert "MultitaskModel" in text
    assert " of 16 to 32 inputs, " in text
    assert not (tmp_path / "out").exists()


def test_a_dry_run_of_an_evaluation_and_of_a_retrieval(target, world, tmp_path, capsys):
    run_zeroshot_eval.main(evaluation("udpos", target, world, tmp_path / "eval"))
    text = capsys.readouterr().out
    assert number(text, "udpos +test +qna") == 12
    run_retrieval.main(evaluation("tatoeba", target, world, tmp_path / "retrieval"))
    text = capsys.readouterr().out
    assert "texts   48 to embed" in text
    assert re.search(r"\nall +[\d,]+ +0\b", text), "nothing of it is trained"
    assert [*tmp_path.iterdir()] == []


# ---- progress -------------------------------------------------------------------------------------------------------


def test_durations_are_words():
    assert [progress.duration(seconds) for seconds in (0.4, 89, 90, 3000, 5400, 11100, 90000)] == [
        "0 s", "89 s", "2 min", "50 min", "1 h 30 min", "3 h 05 min", "25 h 00 min",
    ]  # fmt: skip


def test_a_log_gets_a_line_a_minute_and_no_bar(monkeypatch, capsys):
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock.now)
    for _ in progress.watched(range(10), "embedding", "texts"):
        clock.now += 50
    shown = capsys.readouterr()
    assert shown.err == ""
    assert shown.out.split("\n") == [
        "embedding: 2 of 10 texts, 7 min left", "embedding: 4 of 10 texts, 5 min left", "embedding: 6 of 10 texts, 3 min left",
        "embedding: 8 of 10 texts, 2 min left", "embedding: 10 of 10 texts, 0 s left", "",
    ]  # fmt: skip


def test_a_terminal_gets_a_bar_that_goes_away(monkeypatch):
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    monkeypatch.setattr(progress, "DELAY", 0)
    with os.fdopen(theirs, "w") as terminal, monkeypatch.context() as patched:
        patched.setattr(sys, "stderr", terminal)
        for _ in progress.watched(range(3), "embedding", "texts"):
            time.sleep(0.15)
        shown = ""
        while not shown.endswith(" \r") and select.select([ours], [], [], 10)[0]:  # a terminal passes on when it likes
            shown += os.read(ours, 100_000).decode(errors="replace")
    assert "embedding:  33%" in shown
    assert "texts/s" in shown
    assert shown.endswith(" \r")
    assert not shown.split("\r")[-2].strip()


def told(callback, logs, step, monkeypatch, capsys, **more):
    """What a training of 100 steps says at one of them, a second a step."""
    given = {
        "max_steps": -1,
        "num_train_epochs": 2.0,
        "train_batch_size": 8,
        "gradient_accumulation_steps": 4,
        "world_size": 1,
    }
    given |= {"device": torch.device("cpu"), "mixed_precision": "no", "disable_tqdm": True}
    args = SimpleNamespace(**given | {"metric_for_best_model": "accuracy", **more})
    state, control = TrainerState(max_steps=100, num_train_epochs=2), TrainerControl()
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(state.global_step))
    callback.on_train_begin(args, state, control)
    state.global_step = step
    callback.on_log(args, state, control, logs)
    return capsys.readouterr().out.split("\n")


def test_a_training_says_what_it_will_do_and_how_long_is_left(monkeypatch, capsys):
    first, line, _ = told(
        progress.TellProgress(), {"loss": 0.51234, "learning_rate": 1e-5, "epoch": 0.5}, 25, monkeypatch, capsys
    )
    assert first == "training: 100 steps of 32 inputs, 2 epochs, 1 process on cpu, fp32"
    assert line == "step 25 of 100: loss 0.5123, learning rate 1e-05; 75 s left"


def test_scores_of_the_selection_set_are_told(monkeypatch, capsys):
    logs = {"eval_accuracy": 81.25, "eval_loss": 0.25, "eval_runtime": 3.0, "epoch": 2}
    *_, line, _ = told(progress.TellProgress(), logs, 100, monkeypatch, capsys)
    assert line == "step 100 of 100: selection set, accuracy 81.25, loss 0.25"
    logs = {"eval_mnli_loss": 0.25, "eval_average": 50.0}
    *_, line, _ = told(progress.TellProgress(), logs, 100, monkeypatch, capsys, metric_for_best_model="average")
    assert line == "step 100 of 100: selection set, average 50"


@pytest.mark.parametrize("error", [None, UserError("x"), KeyboardInterrupt()])
def test_no_bar_is_left_of_a_training_that_broke_off(error):
    teller = progress.TellProgress()

    def train(resume_from_checkpoint):
        teller.bar = bar
        if error:
            raise error

    bar, closed = SimpleNamespace(close=lambda: closed.append(True)), []
    handler = SimpleNamespace(callbacks=[teller])
    trainer = SimpleNamespace(
        args=SimpleNamespace(output_dir="gone", world_size=1), train=train, callback_handler=handler
    )
    with pytest.raises(type(error)) if error else nullcontext():
        fit(trainer)
    assert closed == [True]
    assert teller.bar is None


def test_what_is_no_loss_is_not_told(monkeypatch, capsys):
    assert told(progress.TellProgress(), {"train_runtime": 3.0}, 100, monkeypatch, capsys)[1:] == [""]


@pytest.mark.parametrize("watched", [True, False])
def test_downloads_have_bars_on_a_terminal_only(watched, monkeypatch):
    monkeypatch.setattr(progress, "on_terminal", lambda: watched)
    datasets.enable_progress_bars()
    hub_utils.enable_progress_bars()
    progress.calm_libraries()
    assert hub_utils.are_progress_bars_disabled() is datasets.are_progress_bars_disabled() is not watched
    assert not transformers_logging.is_progress_bar_enabled()


def test_a_log_of_a_run_has_no_bars_and_no_dictionaries(encoder, world, tmp_path, capfd):
    transformers_logging.enable_progress_bar()
    run_target.main(command("xnli", encoder, world, tmp_path / "out", "--logging_steps", "1"))
    shown = capfd.readouterr()
    assert shown.err == ""
    assert "{" not in shown.out
    assert "tensors of the encoder carried over; fresh: classifier" in shown.out
    assert "training: 6 steps of 32 inputs, 3 epochs, 1 process on cpu, fp32" in shown.out
    assert re.search(r"step 3 of 6: loss \S+, learning rate \S+; \d+ s left", shown.out)
    assert re.search(r"step 6 of 6: selection set, accuracy \S+, loss \S+\n", shown.out)
