"""When a run that was told to stop writes its checkpoint, and how it leaves."""

import os
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest
from conftest import ROOT
from transformers import TrainerControl, TrainerState

from xstilts import callbacks
from xstilts.callbacks import StopWhenTold
from xstilts.preemption import Preempted

ARGS = SimpleNamespace(world_size=1)


@pytest.fixture
def told(monkeypatch):
    """A StopWhenTold that was told."""
    monkeypatch.setattr(callbacks, "heard", lambda: "SIGTERM")
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
from xstilts.errors import run_script
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
from xstilts.errors import run_script
from xstilts.preemption import between_steps, heard
def main():
    with between_steps():
        os.kill(os.getpid(), signal.SIGINT)
        print(heard(), flush=True)
        os.kill(os.getpid(), signal.SIGINT)
        print("waits on", flush=True)
run_script(main)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (-signal.SIGINT, "SIGINT\n")
    assert "Traceback" not in done.stderr


def test_a_copy_of_the_process_ends_as_any_other():
    """A loader of data, say, which nobody waits for."""
    code = f"""
import os, signal, sys, time
sys.path.insert(0, {str(ROOT)!r})
from xstilts.preemption import listen
listen()
if (child := os.fork()) == 0:
    time.sleep(60)
time.sleep(0.2)
os.kill(child, signal.SIGTERM)
print(os.waitpid(child, 0)[1])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == str(int(signal.SIGTERM)), done.stderr
    assert os.WIFSIGNALED(int(done.stdout))
