"""SIGTERM, as a cluster sends it before it takes a machine away: a checkpoint is written, and the exit code asks to be requeued.

The same holds for SLURM's `--signal=USR1@120` and for Ctrl-C; a second Ctrl-C does not wait for the checkpoint. Signals often
reach a whole process group: processes that load data ignore them, since the last step needs their batches.
"""

import atexit
import contextlib
import multiprocessing
import os
import signal
import sys

REQUEUE = 75  # EX_TEMPFAIL of sysexits.h: "the user is invited to retry"
SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)


class Preempted(BaseException):
    """The process was told to stop. Not an Exception: nobody may swallow it."""


class _State:
    """The signal that this process received, and whether somebody asks for it between two steps."""

    name, process, waits, ends = None, None, False, False


def listen():
    """Handle the signals from now on. Called once, in the main thread of a script."""
    _State.process = os.getpid()
    atexit.register(_end_by_ctrl_c)  # registered first, called last
    for number in SIGNALS:
        signal.signal(number, _receive)


def _receive(number, frame):
    if os.getpid() != _State.process:  # a copy of the process, which is about to load data
        return
    again, _State.name = _State.name and number == signal.SIGINT, signal.Signals(number).name
    if again or not _State.waits:
        raise Preempted(f"{_State.name}: stopped; give the same command again")


def received_signal():
    """Name of the signal that told this process to stop, or None."""
    return _State.name


@contextlib.contextmanager
def between_steps():
    """While training, a signal waits for the end of the step, where `received_signal` is asked; one in the last step stops what
    follows."""
    _State.waits = True
    try:
        yield
    finally:
        _State.waits = False
    if _State.name:
        raise Preempted(f"{_State.name}: stopped after the last step; give the same command again")


def exit_after_signal():
    """End the process as whoever stopped it expects: with REQUEUE, or after Ctrl-C as any program does, so that a loop of a shell
    around it ends too; in either case after everything registered with `atexit`."""
    _State.ends = True
    end_loaders()  # torch would wait for each of them for seconds
    sys.exit(REQUEUE)


def _end_by_ctrl_c():
    if _State.ends and _State.name == "SIGINT":
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)


# ---- processes that load data ---------------------------------------------------------------------------------------


def end_loaders():
    """Kill the processes that load data. Everything they hold is on disk."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch would raise an error for each of them
    for child in multiprocessing.active_children():
        child.kill()
