"""Who works on what: a file that says so for as long as its process lives.

A claim is made by creating the file, which one process alone can do, on network file systems too. Its holder writes a new count
into it every BEAT seconds. A process of the same machine is asked whether it lives; of one on another machine the count has to
stand still for PATIENCE seconds, by the clock of who waits, before its claim is void. No result depends on claims alone: what is
made under one gets its name in one step when it is whole, so that two holders (one was asleep) do the work twice, and no more.
"""

import contextlib
import json
import os
import socket
import threading
import time
import uuid
from pathlib import Path

import psutil

from xstilts.base import UserError, print_main

FIELDS = {"process", "host", "user", "began", "place", "thread", "token"}
STEP = 60.0  # seconds that the clock of a machine may be set by while a process runs
BEAT, PATIENCE, LOOK = 5.0, 30.0, 0.2  # seconds


class Claim:
    """A claim of this process on the file `path`, from its making until `release`."""

    def __init__(self, path, holder):
        self.path, self.holder, self._stop = Path(path), holder, threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self._thread.start()

    def _beat(self):
        count = 0
        while not self._stop.wait(BEAT):
            count += 1
            with contextlib.suppress(OSError):
                if self.is_held():
                    _write(self.path, {**self.holder, "count": count})

    def is_held(self):
        """Whether nobody took it over, as they may when this process was asleep for long."""
        return (_read(self.path) or {"token": None})["token"] == self.holder["token"]

    def check(self):
        """Raise UserError where somebody took it over."""
        if not self.is_held():
            raise UserError(f"{self.path.parent} was taken over by {described(_read(self.path))}; this run stops")

    def release(self):
        """Give it back."""
        self._stop.set()
        self._thread.join()
        if self.is_held():
            for left in self.path.parent.glob(f".{self.path.name}.*"):  # by processes that were killed while they tried
                left.unlink(missing_ok=True)
            self.path.unlink(missing_ok=True)


def claim(path):
    """A Claim, or the holder of another one that lives: a dictionary. A void claim is taken over, and this process's own."""
    path, seen = Path(path), None
    while True:
        mine = _new_holder()
        if _create(path, mine):
            return Claim(path, mine)
        other = _read(path)
        alive = lives(other, mine) if other else None
        if alive or (seen and other and other != seen[0]):
            return other
        if alive is False:
            _remove(path, other)
        elif seen is None or other != seen[0]:
            if other and seen is None:
                print_main(
                    f"{path}: {described(other)}, which cannot be asked; waiting up to {PATIENCE:.0f} s for a sign of it"
                )
            seen = other, time.monotonic()
        elif time.monotonic() - seen[1] > PATIENCE:
            print_main(f"{path}: {described(other)} has not been heard of for {PATIENCE:.0f} s; its claim is void")
            _remove(path, other)
        time.sleep(LOOK if alive is None else 0)


@contextlib.contextmanager
def alone(path, is_there):
    """Let one process do what makes `is_there()` true, while others wait: gives True to it, and False to those for whom it is
    done. Where no claim can be made (the folder is full or read-only) each does it for itself."""
    while not is_there():
        try:
            mine = claim(path)
        except OSError:
            yield True
            return
        if isinstance(mine, Claim):
            try:
                yield not is_there()
            finally:
                mine.release()
            return
        time.sleep(LOOK)
    yield False


def lives(holder, mine):
    """Whether the process of a claim is at work: True, False, or None for one that cannot be asked: of another machine, or of
    another user where the system hides it. A claim of this very thread was left by something that failed: False."""
    if holder["place"] != mine["place"]:
        return None
    try:
        there = psutil.Process(holder["process"])
        is_own = (there.pid, holder["thread"]) == (mine["process"], mine["thread"])
        is_same = abs(there.create_time() - holder["began"]) < STEP
        return is_same and not is_own and there.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False if holder["user"] == mine["user"] else None


def described(holder):
    """A holder in words."""
    if not holder:
        return "an unknown process"
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(holder["began"]))
    return f"process {holder['process']} on {holder['host']}, at work since {since}"


def _new_holder():
    process = psutil.Process()
    return {
        "process": process.pid, "host": socket.gethostname(), "began": process.create_time(), "place": _place(),
        "user": os.getuid() if hasattr(os, "getuid") else None,
        "thread": threading.get_ident(), "token": uuid.uuid4().hex, "count": 0,
    }  # fmt: skip


def _place():
    """What processes have in common that can see each other: the machine as it was started, and the namespace of process ids."""
    names = ["/proc/sys/kernel/random/boot_id", "/proc/self/ns/pid"]
    boot = Path(names[0]).read_text("ascii").strip() if os.path.exists(names[0]) else str(psutil.boot_time())
    return f"{socket.gethostname()} {boot} {os.readlink(names[1]) if os.path.exists(names[1]) else ''}"


def _create(path, holder):
    """Make the file with its content at once; False where there is one."""
    own = path.with_name(f".{path.name}.{holder['token']}")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        own.write_text(json.dumps(holder), encoding="utf-8")
        os.link(own, path)
    except FileExistsError:
        return False
    except OSError:  # no links on this file system
        return _create_plainly(path, holder)
    finally:
        own.unlink(missing_ok=True)
    return True


def _create_plainly(path, holder):
    try:
        with open(path, "x", encoding="utf-8") as file:
            json.dump(holder, file)
    except FileExistsError:
        return False
    return True


def _write(path, holder):
    partial = path.with_name(f".{path.name}.{holder['token']}.partial")
    try:
        partial.write_text(json.dumps(holder), encoding="utf-8")
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _read(path):
    """The holder; None where there is none, or nothing legible (yet)."""
    try:
        found = json.loads(path.read_text("utf-8"))
        return found if found.keys() >= FIELDS else None
    except (FileNotFoundError, ValueError, AttributeError):
        return None


def _remove(path, holder):
    """Remove a void claim, once: of several that found it void, one moves it out of the way, if it is still the same."""
    away = path.with_name(f".{path.name}.{uuid.uuid4().hex}.void")
    with contextlib.suppress(FileNotFoundError):
        os.rename(path, away)
        if holder and (_read(away) or holder)["token"] != holder["token"]:  # somebody was quicker, and made a new one
            with contextlib.suppress(OSError):  # where there are no links its holder notices the loss (`Claim.check`)
                os.link(away, path)
        away.unlink()
