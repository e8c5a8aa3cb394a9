"""How a script starts and ends on the command line: its words, UTF-8, signals, one line for an error."""

import os
import re
import sys
import traceback
from itertools import pairwise

from xstilts.base.messages import UserError, masked
from xstilts.base.processes import leave_together
from xstilts.base.signals import Preempted, exit_after_signal, listen, received_signal

TEXTS = re.compile(r"--(query|document)[_-]prefix\b")  # options that are read as they are; any other may name a file


def words_given(argv=None):
    """The words of a command line, `argv` or that of the process, with `~` expanded: a shell does so for `--option ~/x`, not for
    `--option=~/x`, a word in quotes or a line of a config."""
    words, before = [], ""
    for word in map(str, sys.argv[1:] if argv is None else argv):
        option, value = re.fullmatch(r"(--[\w-]+=)?(.*)", word, flags=re.DOTALL).groups(default="")
        words.append(word if TEXTS.match(option or before) else option + os.path.expanduser(value))
        before = word
    return words


def options_given(argv=None):
    """Names of the options on a command line, spelt with underscores."""
    words = (word for word in words_given(argv) if word.startswith("--"))
    return {word.split("=")[0].lstrip("-").replace("-", "_") for word in words}


def run_script(main):
    """Run a script's `main()` from the command line.

    A UserError, or what the operating system refuses, becomes one line on stderr and exit code 2. In a distributed run every
    process exits, and the first one on each machine prints the line. After SIGTERM the exit code is 75: the same command resumes.
    A bare `--debug` shows the traceback instead (`--debug underflow_overflow` is the Trainer's option).
    """
    debug = sys.argv[-1] == "--debug" or any(a == "--debug" and b.startswith("--") for a, b in pairwise(sys.argv))
    if debug:
        sys.argv.remove("--debug")
    _use_utf8()
    listen()
    try:
        main()
        leave_together()
    except Preempted as error:
        _print_error(error)
        exit_after_signal()
    except (UserError, OSError, RuntimeError) as error:
        if received_signal() and isinstance(error, RuntimeError) and "WORLD_SIZE" in os.environ:
            _print_error(f"{received_signal()}: stopped; give the same command again")  # another process left first
            exit_after_signal()
        if debug:
            print(masked(traceback.format_exc()), file=sys.stderr)
            sys.exit(1)
        if isinstance(error, RuntimeError):
            raise
        _print_error(error)
        sys.exit(2)


def _print_error(error):
    if os.environ.get("LOCAL_RANK", "0") == "0":
        print(f"{os.path.basename(sys.argv[0])}: {masked(str(error))}", file=sys.stderr, flush=True)


def _use_utf8():
    """Paths and files are UTF-8 whatever the locale: elsewhere the script restarts itself, since Python decides this when it
    starts. What a terminal cannot show is printed as `?`."""
    if sys.getfilesystemencoding() != "utf-8" and not sys.flags.utf8_mode:
        os.environ["PYTHONUTF8"] = "1"
        os.environ.setdefault("PYTHONIOENCODING", sys.stdout.encoding)
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 (the same command, no shell)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # consoles of some editors do not have it, and show everything
            stream.reconfigure(errors="replace")
