"""Run one job of a study: `python studies/job.py RUN_DIRECTORY [--after RUN_DIRECTORY] -- COMMAND...`

One at a time in a directory: a job that survived a killed study finishes before it is looked at again. A GPU of its own, where
the machine has several and nobody (SLURM, the user) has said which: Snakemake counts jobs, but hands out no devices. Both are
locks on open files (flock), which end with the process that holds them, however it ends.
The output goes to RUN_DIRECTORY/log.txt; its last lines are shown when the command fails.
"""

import argparse
import fcntl
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from xstilts.base import REQUEUE, UserError, read_json

WAIT = 1.0  # seconds between looks for a free GPU
OUT_OF_MEMORY = "; if nobody did it, memory ran out"


def main(argv=None):
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--after", type=Path, help="the run whose checkpoint the command starts from")
    parser.add_argument("command", nargs="+")
    args = parser.parse_args(argv)
    args.directory.mkdir(parents=True, exist_ok=True)
    with open(args.directory / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        command = args.command
        if outdated(args.directory, args.after):
            command = [*command, "--overwrite_output_dir", "true"]
            kept(args.directory).unlink(missing_ok=True)
        gpu = free_gpu(gpus())
        environment = os.environ | ({"CUDA_VISIBLE_DEVICES": str(gpu.number)} if gpu else {})
        with open(args.directory / "log.txt", "a") as log:
            held = [file.fileno() for file in (lock, gpu and gpu.lock) if file]  # the command outlives a killed job
            code = subprocess.run(  # noqa: S603 (a list of words, no shell; running it is what this script is for)
                command, stdout=log, stderr=log, env=environment, pass_fds=held
            ).returncode
    if code == REQUEUE:
        print(f"{args.directory}/log.txt: told to stop; the next try goes on", file=sys.stderr)
    elif code:
        tail = (args.directory / "log.txt").read_text("utf-8", "replace").splitlines()[-15:]
        how = (
            f"exit code {code}" if code > 0 else f"killed by signal {-code}" + OUT_OF_MEMORY * (code == -signal.SIGKILL)
        )
        print("\n".join([*tail, f"{args.directory}/log.txt: {how}"]), file=sys.stderr)
    return code if code >= 0 else 128 - code


def outdated(directory, after):
    """Whether a run, finished or not, started from another checkpoint than `after` holds now: then it is done again."""
    begun = read_json(directory / "run.json") or read_json(directory / "started.json")
    behind = read_json(after / "run.json") if after else None
    return bool(begun and behind) and begun["identity"]["lineage"] != behind["lineage"]


def kept(directory):
    """The copy of run.json that Snakemake brings back when the command fails: what is outdated would look finished and new."""
    return Path(".snakemake", "backups", directory.relative_to(directory.anchor), "run.json")


class Gpu:
    """A GPU that this process holds by a lock on a file."""

    def __init__(self, number, lock):
        self.number, self.lock = number, lock


def gpus():
    """Numbers (or names) of the GPUs to choose from: of those in CUDA_VISIBLE_DEVICES, where it is set, otherwise of all; none
    where there is at most one, as in a job of a cluster."""
    if "CUDA_VISIBLE_DEVICES" in os.environ:
        given = os.environ["CUDA_VISIBLE_DEVICES"].split(",")
        return given if len(given) > 1 else []
    try:
        command = ["nvidia-smi", "-L"]  # where it lies is another place on every cluster
        listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        return []
    count = sum(line.startswith("GPU") for line in listed.splitlines())
    return range(count) if count > 1 else []


def free_gpu(numbers, folder=None):
    """Wait for one of `numbers` that no other job on this machine holds; None where there are none."""
    while numbers:
        for number in numbers:
            path = Path(folder or tempfile.gettempdir()) / f"xstilts-gpu{number}.lock"
            if not path.exists():
                path.touch()
            lock = open(path)  # noqa: SIM115, held until the process ends; to read: it may be another user's
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return Gpu(number, lock)
            except BlockingIOError:
                lock.close()
        time.sleep(WAIT)
    return None


if __name__ == "__main__":
    try:
        sys.exit(main())
    except UserError as error:
        sys.exit(f"studies/job.py: {error}")
