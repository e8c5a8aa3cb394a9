"""SIGTERM, as a cluster sends it before it takes a machine away: a checkpoint is written, and the exit code asks to be requeued.

SLURM's `--signal=USR1@120` is heard too, and Ctrl-C, of which a second one does not wait for the checkpoint. Outside of training
there is nothing to write, and the process ends at once: what it was about to do is done again.

Signals often go to a whole process group. Processes that load data ignore them, since the checkpoint is written at the end of a
step, which needs their batches; they end with the process that started them.
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
    """The process was told to stop; the message says what is left of its work. No Exception: nobody may swallow it."""


class _Heard:
    """The signal that this process was sent, and whether somebody looks at it between two steps."""

    name, process, waits, ends = None, None, False, False


def listen():
    """Hear the signals from now on. Called once, in the main thread of a script."""
    _Heard.process = os.getpid()
    atexit.register(_end_by_ctrl_c)  # the first to be registered is the last to be called
    for number in SIGNALS:
        signal.signal(number, _hear)


def _hear(number, frame):
    if os.getpid() != _Heard.process:  # a copy of the process, which is about to load data
        return
    again, _Heard.name = _Heard.name and number == signal.SIGINT, signal.Signals(number).name
    if again or not _Heard.waits:
        raise Preempted(f"{_Heard.name}: stopped; give the same command again")


def ignore_signals(number=None):
    """For processes that load data, which call it with their `number` when they start."""
    for each in SIGNALS:
        signal.signal(each, signal.SIG_IGN)


def shield_loaders(method):
    """Before processes that load data are started in this way (`fork`, `spawn` or `forkserver`). What Python would end them with
    is SIGTERM, which they ignore, so they are killed instead, and the server that they may come from is born without an ear for
    signals."""
    atexit.unregister(end_loaders)
    atexit.register(end_loaders)  # before what Python registered, which would wait for them for ever
    if method == "forkserver":
        from multiprocessing import forkserver, resource_tracker

        before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            resource_tracker.ensure_running()
            signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # which that undid
            forkserver.ensure_running()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def end_loaders():
    """Kill the processes that load data. They hold nothing that is not on the disk."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch would raise an error for each of them
    for child in multiprocessing.active_children():
        child.kill()


def end_as_told():
    """End the process as whoever stopped it expects: with REQUEUE, or after Ctrl-C as any program does, so that a loop of a shell
    around it ends too; in either case after all that waits for the end (claims are given back)."""
    _Heard.ends = True
    end_loaders()  # torch would first wait for each of them for seconds
    sys.exit(REQUEUE)


def _end_by_ctrl_c():
    if _Heard.ends and _Heard.name == "SIGINT":
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)


def heard():
    """Name of the signal that told this process to stop, or None."""
    return _Heard.name


@contextlib.contextmanager
def between_steps():
    """While training, a signal waits for the end of the step, where `heard` is asked; one in the last step stops what follows."""
    _Heard.waits = True
    try:
        yield
    finally:
        _Heard.waits = False
    if _Heard.name:
        raise Preempted(f"{_Heard.name}: stopped after the last step; give the same command again")
