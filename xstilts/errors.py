"""What a user is told: messages, and errors as one clear line with exit code 2 (a traceback only with `--debug`)."""

import os
import sys
import traceback
from itertools import pairwise

from xstilts.preemption import Preempted, end_as_told, heard, listen
from xstilts.secrecy import masked


class UserError(Exception):
    """Something outside the program is wrong; the message says what, where, and what to do about it, and no secret."""

    def __init__(self, message):
        super().__init__(masked(str(message)))


def shown(value):
    """The beginning of something from a file, in quotes and in one line, as messages show it."""
    return repr(str(value)[:40])


def first_line(error):
    """What an error of a library says first; the rest is seldom for users."""
    return str(error).strip().split("\n")[0]


def is_main_process():
    """Whether this is the first process of a distributed run, or the only one."""
    return os.environ.get("RANK", "0") == "0"


def say(message):
    """Print one line without secrets, once however many processes there are."""
    if is_main_process():
        print(masked(str(message)), flush=True)


def leave_together():
    """Wait for the other processes of a distributed run and close the connections: a process that exits while others still work
    may be aborted, and its whole run with it."""
    distributed = sys.modules.get("torch.distributed")
    if distributed and distributed.is_available() and distributed.is_initialized():
        distributed.barrier()
        distributed.destroy_process_group()


def use_utf8():
    """Paths and files are UTF-8 whatever the locale (libraries take paths as nothing else), which Python knows from its start
    only: in another locale the script starts itself again. What a terminal cannot show becomes `?`, also in names of files that
    are not UTF-8."""
    if sys.getfilesystemencoding() != "utf-8" and not sys.flags.utf8_mode:
        os.environ["PYTHONUTF8"] = "1"
        os.environ.setdefault("PYTHONIOENCODING", sys.stdout.encoding)
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 (the same command, no shell)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # consoles of some editors have none, and show everything
            stream.reconfigure(errors="replace")


def run_script(main):
    """Run a script's `main()` from the command line.

    A `UserError`, and what the operating system refuses, becomes one line on stderr and exit code 2; of a distributed run every
    process exits, and the first one on each machine speaks. After SIGTERM the exit code is 75: the same command goes on.
    A bare `--debug` shows the traceback instead (with a value, `--debug underflow_overflow`, it is the Trainer's).
    """
    debug = sys.argv[-1] == "--debug" or any(a == "--debug" and b.startswith("--") for a, b in pairwise(sys.argv))
    if debug:
        sys.argv.remove("--debug")
    use_utf8()
    listen()
    try:
        main()
        leave_together()
    except Preempted as told:
        _speak(told)
        end_as_told()
    except (UserError, OSError, RuntimeError) as error:
        if heard() and isinstance(error, RuntimeError) and "WORLD_SIZE" in os.environ:
            _speak(
                f"{heard()}: stopped; give the same command again"
            )  # another process was quicker, and this one missed it
            end_as_told()
        if debug:
            print(masked(traceback.format_exc()), file=sys.stderr)
            sys.exit(1)
        if isinstance(error, RuntimeError):
            raise
        _speak(error)
        sys.exit(2)


def _speak(error):
    if os.environ.get("LOCAL_RANK", "0") == "0":
        print(f"{os.path.basename(sys.argv[0])}: {masked(str(error))}", file=sys.stderr, flush=True)
