"""A run killed in the middle and started again ends with the weights of an uninterrupted one, bit for bit."""

import os
import signal
import subprocess
import sys
import time

import pytest
from conftest import ROOT

from xstilts.json_files import read_json
from xstilts.resuming import last_checkpoint

STEPS = 24
MIXTURE = "--task squad+hellaswag+udpos --mixing uniform --doc_stride 8 --mlm_ratio 0.3 --mlm_text_files".split()


def command(encoder, world, output_dir, extra=()):
    """run_intermediate.py with dropout, several epochs, and a checkpoint and an evaluation every four steps."""
    options = f"""--task mnli --model_name_or_path {encoder} --data_dir {world} --output_dir {output_dir} --use_cpu --seed 3
        --max_train_samples 60 --max_eval_samples 16 --per_device_train_batch_size 4 --gradient_accumulation_steps 2
        --max_steps {STEPS} --save_strategy steps --save_steps 4 --eval_strategy steps --eval_steps 4 --learning_rate 1e-3
        --save_total_limit 2 --max_seq_length 64"""
    return [sys.executable, str(ROOT / "run_intermediate.py"), *options.split(), *extra]


@pytest.fixture(scope="module")
def uninterrupted(encoder, world, tmp_path_factory):
    """Folder of a run that nothing happened to."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    subprocess.run(command(encoder, world, folder), check=True, timeout=300)
    return folder


def killed_after(step, line, folder):
    """Start the run and kill it as soon as the checkpoint of a step is there."""
    process = subprocess.Popen(line)
    while not (folder / f"checkpoint-{step}" / "trainer_state.json").exists():
        assert process.poll() is None, "the run ended before it could be killed"
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (folder / "run.json").exists()


@pytest.mark.parametrize("step", [4, 12, STEPS])
def test_a_killed_run_ends_as_if_nothing_had_happened(encoder, world, uninterrupted, tmp_path, step):
    """Step 4 lies within the first epoch, step 12 in the second; after the last one there is nothing left to train (A4)."""
    killed_after(step, command(encoder, world, tmp_path), tmp_path)
    reached = last_checkpoint(str(tmp_path))
    again = subprocess.run(command(encoder, world, tmp_path), check=True, timeout=300, capture_output=True, text=True)
    assert ("nothing left to train" if step == STEPS else f"going on from {reached}") in again.stdout
    assert (tmp_path / "model.safetensors").read_bytes() == (uninterrupted / "model.safetensors").read_bytes()
    ours, theirs = read_json(tmp_path / "run.json"), read_json(uninterrupted / "run.json")
    for name in ("dev_scores", "steps", "selected_step", "loss_curve"):
        assert ours[name] == theirs[name], name


def test_a_killed_run_of_several_tasks_ends_as_if_nothing_had_happened(encoder, world, tmp_path):
    """The sequence of tasks, the rows of each and their masks go on in the middle of an epoch; so does the code length."""
    text = [*MIXTURE, f"{world}/text/qna.txt", f"{world}/text/qfc.txt"]
    whole, killed = (command(encoder, world, tmp_path / name, text) for name in ("whole", "killed"))
    subprocess.run(whole, check=True, timeout=300)
    killed_after(8, killed, tmp_path / "killed")
    subprocess.run(killed, check=True, timeout=300)
    files = [*(tmp_path / "whole" / "heads").iterdir(), tmp_path / "whole" / "model.safetensors"]
    assert len(files) == 5
    for path in files:
        assert path.read_bytes() == (tmp_path / "killed" / path.relative_to(tmp_path / "whole")).read_bytes(), path.name
    ours, theirs = read_json(tmp_path / "killed" / "run.json"), read_json(tmp_path / "whole" / "run.json")
    for name in ("dev_scores", "steps", "selected_step", "loss_curve", "mixture", "complexity"):
        assert ours[name] == theirs[name], name


def check_goes_on(step, encoder, world, folder, extra):
    """A run that is killed after a step and started again in folder/killed ends with the weights of folder/whole."""
    whole, killed = (command(encoder, world, folder / name, extra) for name in ("whole", "killed"))
    subprocess.run(whole, check=True, timeout=300)
    killed_after(step, killed, folder / "killed")
    subprocess.run(killed, check=True, timeout=300)
    files = [(folder / name / "model.safetensors").read_bytes() for name in ("whole", "killed")]
    assert files[0] == files[1]


def test_rows_sorted_by_length_go_on_in_their_order(encoder, world, tmp_path):
    """In the middle of the second epoch, with micro-batches of as many rows as their lengths allow."""
    extra = "--train_sampling_strategy group_by_length --max_tokens_per_batch 96".split()
    check_goes_on(12, encoder, world, tmp_path, extra)


def test_a_run_may_go_on_in_smaller_micro_batches(encoder, world, tmp_path):
    """As after one that ran out of memory: steps and their rows are the same."""
    killed_after(4, command(encoder, world, tmp_path), tmp_path)
    line = command(encoder, world, tmp_path, ["--max_tokens_per_batch", "64"])
    again = subprocess.run(line, check=True, timeout=300, capture_output=True, text=True)
    assert "going on from" in again.stdout
    found = read_json(tmp_path / "run.json")
    assert found["steps"] == STEPS
    assert found["arguments"]["per_device_train_batch_size"] == 8


def test_early_stopping_counts_on_where_it_stood(encoder, world, tmp_path):
    """A learning rate of 0 never gets better: the run stops after the second evaluation without improvement, at step 12."""
    line = command(
        encoder, world, tmp_path, "--learning_rate 0 --early_stopping_patience 2 --save_total_limit 9".split()
    )
    killed_after(8, line, tmp_path)
    subprocess.run(line, check=True, timeout=300)
    assert read_json(tmp_path / "run.json")["steps"] == 12


@pytest.mark.parametrize("extra", [[], ["--max_tokens_per_batch", "64"]], ids=["the same", "in other micro-batches"])
def test_a_finished_run_changes_nothing(encoder, world, uninterrupted, extra):
    before = {path: path.read_bytes() for path in uninterrupted.rglob("*") if path.is_file()}
    again = subprocess.run(command(encoder, world, uninterrupted, extra), check=True, capture_output=True, text=True)
    assert "nothing to do" in again.stdout
    assert {path: path.read_bytes() for path in uninterrupted.rglob("*") if path.is_file()} == before
    assert not any(name.startswith("checkpoint-") for name in os.listdir(uninterrupted))


def test_a_run_that_keeps_its_last_step_keeps_it_after_a_kill(encoder, world, tmp_path):
    """Killed after its last checkpoint, where an earlier one was better: `--load_best_model_at_end false` wants the last."""
    extra = "--load_best_model_at_end false --learning_rate 1e-2".split()
    whole, killed = (command(encoder, world, tmp_path / name, extra) for name in ("whole", "killed"))
    subprocess.run(whole, check=True, timeout=300)
    killed_after(STEPS, killed, tmp_path / "killed")
    state = read_json(tmp_path / "killed" / f"checkpoint-{STEPS}" / "trainer_state.json")
    assert state["best_global_step"] < STEPS
    subprocess.run(killed, check=True, timeout=300)
    files = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "killed")]
    assert files[0] == files[1]
