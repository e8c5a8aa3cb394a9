"""Scripts in processes of their own that something happens to: for the tests of interruption, full disks and concurrency.

Processes are forked from a server that has imported the scripts already, so that one costs no start-up. What happens is a Fault.
File operations below the server's folder are counted, from 1, so that a fault at the n-th one comes at the same place each time.
"""

import errno
import importlib
import multiprocessing
import os
import resource
import signal
import socket
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
CHANGES = ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "shutil.rmtree")
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


@dataclass(frozen=True)
class Fault:
    """What happens to a process.

    kind    "kill" or "full" (no space left, from then on) at file operation `at`; "SIGKILL", "SIGTERM" or "SIGUSR1" after `at`
            seconds; "told", SIGTERM while the checkpoint of step `at` is written; "rotated", killed when the third checkpoint is
            there and the first one is gone; "limit", files of `at` bytes at most; "count", nothing, but the number of operations
            is written to the log
    rank    of several processes the one that it happens to; a SIGTERM is sent to all of them
    """

    kind: str
    at: float = 0
    rank: int = 0


class Server:
    """Starts scripts; `folder` is where their file operations count, and where their caches are."""

    def __init__(self, folder):
        self.folder = Path(folder)
        os.environ["PYTHONPATH"] = os.pathsep.join([str(HERE.parent), str(HERE), os.environ.get("PYTHONPATH", "")])
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(["faults_preload"])

    def start(self, script, arguments, fault=None, cache="cache", ranks=1):
        """The processes of a run. `log` of each is the path of all that it prints."""
        started, port = [], free_port()
        for rank in range(ranks):
            log = self.folder / f"log-{time.monotonic_ns()}.txt"
            environment = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": ranks, "LOCAL_WORLD_SIZE": ranks}
            environment |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
            own = fault if fault and (rank == fault.rank or fault.kind == "SIGTERM") else None
            options = (script, [*map(str, arguments)], str(log), str(self.folder), own, str(self.folder / cache))
            process = self.context.Process(target=child, args=(*options, environment if ranks > 1 else {}))
            process.start()
            process.log = log
            started.append(process)
        return started

    def run(self, script, arguments, fault=None, **options):
        """(exit code of the first process, negative for a signal; what was printed)."""
        return finished(self.start(script, arguments, fault, **options))


def free_port():
    """A port that nobody listens on."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


def finished(processes, timeout=120):
    """(exit code, what was printed) of the first process, when it has ended; as a launcher does, the others end with it."""
    first, *others = processes
    first.join(timeout)
    printed = first.log.read_text("utf-8")
    for other in others:
        other.join(timeout if first.exitcode in (0, 75) else 1)
        if other.is_alive():
            other.kill()
            other.join()
    assert not first.is_alive(), f"hangs: {printed}"
    return first.exitcode, printed


def child(script, arguments, log, folder, fault, cache, environment):
    """What a process does: the script as from the command line, its output in a file."""
    output = os.open(log, os.O_WRONLY | os.O_CREAT)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.environ.update({name: str(value) for name, value in environment.items()})
    sys.argv = [f"{script}.py", *arguments]
    datasets = importlib.import_module("datasets")
    datasets.config.HF_DATASETS_CACHE = cache
    counter = Counter(folder, log, fault)
    if fault:
        counter.begin()
    try:
        importlib.import_module("xstilts.base").run_script(importlib.import_module(script).main)
    finally:
        if fault and fault.kind == "count":
            print(f"\noperations: {counter.count}", flush=True)


class Counter:
    """Counts file operations below a folder, and brings about a fault."""

    def __init__(self, folder, log, fault):
        self.folder, self.log, self.fault, self.count = folder, log, fault, 0
        self.happened = False

    def begin(self):
        """From now on."""
        kind, at = self.fault.kind, self.fault.at
        if kind == "limit":
            resource.setrlimit(resource.RLIMIT_FSIZE, (int(at), resource.RLIM_INFINITY))
        elif kind.startswith("SIG"):
            number, process = getattr(signal, kind), os.getpid()
            timer = threading.Timer(at, lambda: os.kill(process, number))
            timer.daemon = True
            timer.start()
        else:
            sys.addaudithook(self.hook)

    def hook(self, event, args):
        """Called by Python before every audited operation."""
        if not (event == "open" or event in CHANGES) or not self.is_counted(event, args):
            return
        self.count += 1
        if (self.fault.kind == "kill" and self.count == self.fault.at) or (
            self.fault.kind == "rotated" and is_rotated()
        ):
            os.kill(os.getpid(), signal.SIGKILL)
        growing = f"_checkpoint.partial/checkpoint-{self.fault.at}/"
        if self.fault.kind == "told" and event == "open" and growing in args[0] and not self.happened:
            self.happened = True
            os.kill(os.getpid(), signal.SIGTERM)
        if self.fault.kind == "full" and self.count >= self.fault.at and event in ("open", "os.mkdir"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), args[0])

    def is_counted(self, event, args):
        """Whether it changes something below the folder."""
        writes = event != "open" or (isinstance(args[2], int) and args[2] & WRITES)
        path = os.fspath(args[0]) if isinstance(args[0], str | os.PathLike) else ""
        return writes and isinstance(path, str) and path.startswith(self.folder) and path != self.log


def is_rotated():
    """Whether the run has its checkpoint of step 12, and that of step 4 is deleted."""
    folder = Path(sys.argv[sys.argv.index("--output_dir") + 1])
    return {path.name for path in folder.glob("checkpoint-*")} == {"checkpoint-8", "checkpoint-12"}


# ---- one training, again and again --------------------------------------------------------------------------------------

STEPS = 24


def training(server, encoder, world):
    """train(output_dir, further options) runs run_intermediate.py to its end, and returns what it printed.

    With dropout, several epochs, and a checkpoint and an evaluation every four of its STEPS. `kill_after=N` kills it as soon as
    the checkpoint of that step is there.
    """

    def train(output_dir, extra=(), kill_after=None):
        options = f"""--task mnli --model_name_or_path {encoder} --data_dir {world} --output_dir {output_dir} --use_cpu --seed 3
            --max_train_samples 60 --max_eval_samples 16 --per_device_train_batch_size 4 --gradient_accumulation_steps 2
            --max_steps {STEPS} --save_strategy steps --save_steps 4 --eval_strategy steps --eval_steps 4 --learning_rate 1e-3
            --save_total_limit 2 --max_seq_length 64"""
        processes = server.start("run_intermediate", [*options.split(), *extra])
        if kill_after:
            kill(processes, output_dir / f"checkpoint-{kill_after}")
            assert not (output_dir / "run.json").exists()
            return None
        code, printed = finished(processes)
        assert code == 0, printed
        return printed

    return train


def kill(processes, checkpoint):
    """Kill a run as soon as a checkpoint is there."""
    while not checkpoint.exists():
        assert processes[0].is_alive(), "the run ended before it could be killed"
        time.sleep(0.002)
    processes[0].kill()
    processes[0].join()
