"""SIGTERM, as a cluster sends it before it takes a machine away: a checkpoint is written, and the exit code asks to be requeued.

SLURM's `--signal=USR1@120` is heard too. Outside of training there is nothing to write, and the process ends at once: what it was
about to do is done again.
"""

import contextlib
import os
import signal

REQUEUE = 75  # EX_TEMPFAIL of sysexits.h: "the user is invited to retry"
SIGNALS = (signal.SIGTERM, signal.SIGUSR1)


class Preempted(BaseException):
    """The process was told to stop; the message says what is left of its work. No Exception: nobody may swallow it."""


class _Heard:
    """The signal that this process was sent, and whether somebody looks at it between two steps."""

    name, process, waits = None, None, False


def listen():
    """Hear the signals from now on. Called once, in the main thread of a script."""
    _Heard.process = os.getpid()
    for number in SIGNALS:
        signal.signal(number, _hear)


def _hear(number, frame):
    if os.getpid() != _Heard.process:  # a copy of the process, as loaders of data are
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    _Heard.name = signal.Signals(number).name
    if not _Heard.waits:
        raise Preempted(f"{_Heard.name}: stopped; give the same command again")


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
