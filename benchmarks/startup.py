"""How long a script takes before it does anything: its imports, over those of the Trainer, which every peer has too."""

import re
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from benchmarks.measuring import KINDS, steadier, table

TITLE = "Cold start"
ROOT = Path(__file__).resolve().parents[1]
STOCK = "from transformers import AutoModel, Trainer, TrainingArguments; import datasets"
WAYS = {
    "stock": STOCK,
    "run_intermediate": "import run_intermediate",
    "run_target": "import run_target",
    "run_retrieval": "import run_retrieval",
    "run_report": "import run_report",
    "score_predictions": "import score_predictions",
}
TRAINED = ("run_intermediate", "run_target", "run_retrieval")  # those that need the Trainer
SHOWN = 8  # of the imports of run_target.py


def measure(args):
    """Medians of {way: {"time", "processor_time"}} in seconds, and the packages whose own files take longest in run_target.py."""
    rounds, spent = 7 if args.long else 2, {way: [] for way in WAYS}
    for _ in range(rounds):
        for way, code in WAYS.items():
            spent[way].append(seconds_of_process([sys.executable, "-c", code]))
    medians = {way: dict(zip(KINDS, np.median(each, axis=0).tolist(), strict=True)) for way, each in spent.items()}
    return {"rounds": rounds, "kind": steadier(False), "seconds": medians, "packages": packages(WAYS["run_target"])}


def seconds_of_process(command):
    """(seconds, processor seconds) of a process from start to end."""
    started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.perf_counter() - started, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def packages(code):
    """[(package, seconds)] that running the files of each package's modules takes, the longest first."""
    done = subprocess.run([sys.executable, "-X", "importtime", "-c", code], check=True, capture_output=True, cwd=ROOT)
    total = {}
    for micros, name in re.findall(r"import time:\s+(\d+) \|\s+\d+ \|\s+(\S+)", done.stderr.decode()):
        package = name.split(".")[0]
        total[package] = total.get(package, 0) + int(micros) / 1e6
    return sorted(total.items(), key=lambda pair: -pair[1])[:SHOWN]


def render(found):
    """Seconds of each script, and what takes them."""
    floor = found["seconds"]["stock"][found["kind"]]
    rows = [
        [way, *(f"{each[kind]:.2f}" for kind in KINDS), f"{each[found['kind']] / floor:.2f}"]
        for way, each in found["seconds"].items()
    ]
    longest = ", ".join(f"{name} {seconds:.2f}" for name, seconds in found["packages"])
    return (
        table(["imports", "seconds", "processor seconds", "over stock"], rows)
        + f"\n\n*stock* is `{STOCK}`. Seconds that the packages' own files take within run_target.py: {longest}."
    )


def targets(found):
    """Scripts take what the Trainer takes."""
    floor = found["seconds"]["stock"][found["kind"]]
    worst = max(found["seconds"][name][found["kind"]] / floor for name in TRAINED)
    return [("cold start over that of the Trainer", "at most 1.2 times", f"{worst:.2f}", worst <= 1.2)]
