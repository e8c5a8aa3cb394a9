"""When a run that was told to stop writes its checkpoint, and how it leaves."""

import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
import torch
from conftest import ROOT
from transformers import TrainerControl, TrainerState, TrainingArguments, get_linear_schedule_with_warmup

from xstilts import callbacks
from xstilts.base import Preempted
from xstilts.callbacks import StopWhenTold, WarnOfFewSteps

ARGS = SimpleNamespace(world_size=1)


@pytest.fixture
def told(monkeypatch):
    """A StopWhenTold that was told."""
    monkeypatch.setattr(callbacks, "received_signal", lambda: "SIGTERM")
    return StopWhenTold(SimpleNamespace(interrupting=False))


def at(step, epoch, **control):
    """Arguments of a callback."""
    return ARGS, TrainerState(global_step=step, epoch=epoch), TrainerControl(**control)


def test_a_checkpoint_is_asked_for_at_the_end_of_a_step(told):
    told.on_step_end(*(now := at(7, 1.4)))
    assert now[2].should_save
    assert told.trainer.interrupting
    with pytest.raises(Preempted, match=r"SIGTERM: stopped, checkpoint-7 is written"):
        told.on_save(*now)


@pytest.mark.parametrize("control", [{}, {"should_training_stop": True}])
def test_the_last_step_of_an_epoch_waits_for_what_comes_at_its_end(told, control):
    """A run that goes on at the beginning of the next epoch would leave the evaluation out."""
    told.on_step_end(*(now := at(5, 1.5 if control else 2.0, **control)))
    assert not now[2].should_save
    told.on_epoch_end(*now)
    assert now[2].should_save
    assert told.trainer.interrupting


def test_a_checkpoint_that_was_planned_is_not_called_an_interruption(told):
    told.on_step_end(*(now := at(8, 1.6, should_save=True)))
    assert now[2].should_save
    assert not told.trainer.interrupting
    told.told = None
    told.on_save(*now)
    told.on_epoch_end(*at(8, 2.0))  # the same step again
    assert not told.trainer.interrupting


def test_nothing_happens_to_a_run_that_was_not_told():
    watch = StopWhenTold(SimpleNamespace(interrupting=False))
    for call in (watch.on_step_end, watch.on_epoch_end, watch.on_save):
        call(*(now := at(7, 1.4)))
        assert not now[2].should_save


@pytest.mark.parametrize(
    ("number", "code_of_exit"), [(signal.SIGTERM, 75), (signal.SIGUSR1, 75), (signal.SIGINT, -signal.SIGINT)]
)
def test_outside_of_training_a_script_leaves_at_once(number, code_of_exit):
    code = f"""
import os, sys
sys.path.insert(0, {str(ROOT)!r})
from xstilts.base import run_script
def main():
    try:
        os.kill(os.getpid(), {int(number)})
    except Exception:
        print("swallowed")
run_script(main)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (code_of_exit, "")
    assert done.stderr.strip().endswith(f"{number.name}: stopped; give the same command again")


def test_a_second_ctrl_c_does_not_wait_for_the_end_of_the_step():
    code = f"""
import os, signal, sys
sys.path.insert(0, {str(ROOT)!r})
from xstilts.base import run_script
from xstilts.base import between_steps, received_signal
def main():
    with between_steps():
        os.kill(os.getpid(), signal.SIGINT)
        print(received_signal(), flush=True)
        os.kill(os.getpid(), signal.SIGINT)
        print("waits on", flush=True)
run_script(main)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (-signal.SIGINT, "SIGINT\n")
    assert "Traceback" not in done.stderr


def test_a_copy_of_the_process_leaves_signals_to_it():
    """A loader of data, say, that has only just been forked."""
    code = f"""
import os, signal, sys, time
sys.path.insert(0, {str(ROOT)!r})
from xstilts.base.signals import SIGNALS, listen
listen()
if (child := os.fork()) == 0:
    time.sleep(60)
    os._exit(0)
time.sleep(0.2)
for number in SIGNALS:
    os.kill(child, number)
time.sleep(0.2)
print(os.waitpid(child, os.WNOHANG)[0])
os.kill(child, signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "0", done.stderr


def begun(encoder, rows, folder, method="fork"):
    """A training with two loaders in a process group of its own, some steps after its start."""
    line = f"""run_target.py --task xnli --model_name_or_path {encoder} --data_dir {rows} --output_dir {folder} --use_cpu
        --max_seq_length 32 --max_steps 3000 --per_device_train_batch_size 1 --gradient_accumulation_steps 1
        --logging_steps 1 --eval_strategy no --save_strategy no --load_best_model_at_end false --dataloader_num_workers 2
        --dataloader_multiprocessing_context {method}"""
    with open(log := folder / "log", "w") as file:
        words = [sys.executable, "-u", *line.split()]
        process = subprocess.Popen(words, start_new_session=True, stdout=file, stderr=file, cwd=ROOT)
    while process.poll() is None and "\nstep 3 of" not in log.read_text():
        time.sleep(0.05)
    return process, log


def is_gone(group, seconds):
    """Whether all processes of a group end within so many seconds."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    os.killpg(group, signal.SIGKILL)
    return False


@pytest.mark.parametrize(
    ("number", "code_of_exit", "method"),
    [
        (signal.SIGTERM, 75, "fork"),
        (signal.SIGUSR1, 75, "forkserver"),
        (signal.SIGINT, -signal.SIGINT, "fork"),
    ],
)
def test_a_signal_to_the_whole_group_leads_to_a_checkpoint(number, code_of_exit, method, encoder, few_rows, tmp_path):
    """Loaders of data get it too, and the step that is under way needs their batches."""
    process, log = begun(encoder, few_rows, tmp_path, method)
    os.killpg(process.pid, number)
    assert process.wait(120) == code_of_exit, log.read_text()
    assert f"{number.name}: stopped, checkpoint-" in (printed := log.read_text())
    assert [path for path in tmp_path.glob("checkpoint-*") if (path / "model.safetensors").exists()]
    assert "Traceback" not in printed
    assert is_gone(process.pid, 20)


def test_loaders_end_with_a_run_that_is_killed(encoder, few_rows, tmp_path):
    process, _ = begun(encoder, few_rows, tmp_path)
    process.kill()
    process.wait()
    assert is_gone(process.pid, 30)


def test_loaders_end_with_a_run_that_still_holds_them():
    """Python would end them with a signal that they ignore, and wait for ever."""
    code = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from types import SimpleNamespace
from torch.utils.data import DataLoader
from xstilts.loaders import loader_options
args = {{"num_workers": 1, "pin_memory": False, "multiprocessing_context": "fork"}}
args = SimpleNamespace(**{{f"dataloader_{{name}}": value for name, value in args.items()}})
sys.held = iter(DataLoader([1, 2, 3], **loader_options(args)))
print(next(sys.held))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "tensor([1])\n"), done.stderr


# ---- few steps ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("steps", "warmup", "said"),
    [
        (2, 1, "warning: 2 optimizer steps, 1 of them at more than half of --learning_rate 1e-05"),
        (15, 2, "warning: 15 optimizer steps, 7 of them"),
        (40, 4, ""),
    ],
)
def test_hardly_a_step_that_trains_is_said(steps, warmup, said, capsys):
    """21 rows in batches of 16 are two steps, the first of which has a learning rate of 0."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1e-5)
    schedule = get_linear_schedule_with_warmup(optimizer, warmup, steps)
    args = TrainingArguments(warmup_steps=warmup, learning_rate=1e-5, use_cpu=True)
    WarnOfFewSteps().on_train_begin(args, TrainerState(max_steps=steps), None, lr_scheduler=schedule)
    printed = capsys.readouterr().out
    assert said in printed
    assert bool(printed) == bool(said)
