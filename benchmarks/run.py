"""What the code costs, against what users would take instead: the one command of the benchmark.

    python benchmarks/run.py                                  # some 12 minutes on two cores, no GPU, no network
    python benchmarks/run.py --only training evaluation       # these parts again; the others stay as they were measured
    python benchmarks/run.py --only                           # none again: the same figures, written anew
    CUDA_VISIBLE_DEVICES=0 python benchmarks/run.py --cuda --long

Every part (`benchmarks/<name>.py`) runs in a process of its own, with one thread unless OMP_NUM_THREADS says otherwise. Writes
`benchmarks/results-<machine>.md`, and all figures beside it as JSON. A part that fails is named there, the others go on, and the
exit code is 1. Without `--data_dir` and `--tokenizer` the rows are those of the demo's generated world.
"""

import argparse
import contextlib
import importlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import traceback
from datetime import datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from datasets import disable_progress_bars
from transformers.utils import logging as transformers_logging

from benchmarks.measuring import copy_bandwidth, gemm_peak, machine, shape_of, table
from benchmarks.preparing import prepared
from xstilts.base import UserError, print_main, read_json, run_script, words_given, write_json

HERE = Path(__file__).resolve().parent
# In the order of the report.
PARTS = ("training", "evaluation", "embedding", "mining")
LIMITS = "machine"  # not a part: what the machine is and can do
VENDORS = r"\((r|tm)\)|\b(amd|intel|nvidia|apple|cpu|processor|gpu|\d+-core)\b|@.*"


def parsed(argv):
    """The options. Raises UserError for what cannot be had here."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cuda", action="store_true", help="on the GPU, of which CUDA_VISIBLE_DEVICES leaves one")
    parser.add_argument("--long", action="store_true", help="more rounds and larger sizes: hours")
    parser.add_argument("--data_dir", help="folder with the official files; without it the demo's world is generated")
    parser.add_argument("--tokenizer", help="a checkpoint's; without it one is made of the texts of the tasks")
    parser.add_argument("--encoder", default="6x384", help="layers x width, a multiple of 64")
    parser.add_argument("--only", nargs="*", choices=PARTS, metavar="PART", help=f"some of {', '.join(PARTS)}")
    parser.add_argument("--machine", help="its name in the files; without it made of processor and cores, or GPU")
    parser.add_argument("--part", choices=[LIMITS, *PARTS], help=argparse.SUPPRESS)  # what run_part() runs
    parser.add_argument("--json", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args(words_given(argv))
    if args.cuda and not torch.cuda.is_available():
        raise UserError("--cuda: torch finds no GPU here; leave it out")
    try:
        shape_of(args.encoder)
    except ValueError as error:
        raise UserError(f"--encoder {args.encoder}: give layers x width, a multiple of 64, as 6x384") from error
    return args


# ---- a part ---------------------------------------------------------------------------------------------------------


def measure_part(name, args):
    """The figures of a part, or those of the machine."""
    disable_progress_bars()
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    return limits(args) if name == LIMITS else part_of(name).measure(args)


def part_of(name):
    """The module of a part."""
    return importlib.import_module(f"benchmarks.{name}")


def limits(args):
    """What the machine is, and how fast it multiplies and copies."""
    device, types = ("cuda", (torch.bfloat16, torch.float32)) if args.cuda else ("cpu", (torch.float32,))
    peaks = {str(dtype).removeprefix("torch."): gemm_peak(device, dtype) for dtype in types}
    return {**machine(args.cuda), "gemm_peak": peaks, "copy_bandwidth": copy_bandwidth(device)}


def write_part(name, args, path):
    """Measure in this process and write {"figures", "error"}, what failed or None; returns the exit code."""
    found = {"error": None}
    try:
        found["figures"] = json.loads(json.dumps(measure_part(name, args)))
        if name != LIMITS:
            texts_of(part_of(name), found["figures"])
    except Exception as error:
        traceback.print_exc()
        found["error"] = f"{type(error).__name__}: {error}"
    write_json(path, found)
    return 1 if found["error"] else 0


def run_part(name, args):
    """Measure in a process of its own: {"measured", "seconds", "settings", "error"}, and "figures" if there is no error."""
    paths = [(key, getattr(args, key)) for key in ("data_dir", "tokenizer", "encoder")]
    options = [text for key, value in paths if value for text in (f"--{key}", value)]
    options += [f"--{key}" for key in ("cuda", "long") if getattr(args, key)]
    started, told = time.perf_counter(), datetime.now().isoformat(sep=" ", timespec="minutes")
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "part.json"
        command = [sys.executable, __file__, "--part", name, "--json", result, *options]
        # One thread is steadier than two where others compute, too; no part finds what an earlier one has kept.
        ours = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", **os.environ, "HF_DATASETS_CACHE": f"{folder}/cache"}
        done = subprocess.run(command, check=False, env=ours)
        found = read_json(result) or {"error": f"its process ended with code {done.returncode}, without a word"}
    seconds = round(time.perf_counter() - started, 1)
    print_main(f"{name}: {found['error'] or 'measured'} ({seconds:.0f} s)")
    settings = {key: getattr(args, key) for key in ("cuda", "long", "encoder")}
    return {"measured": told, "seconds": seconds, "settings": settings, **found}


# ---- the report -----------------------------------------------------------------------------------------------------


def slug(where):
    """A machine's name in files: epyc-9654-2-cores, h200."""
    words = re.sub(VENDORS, " ", (where["gpu"] or where["processor"]).lower())
    name = "-".join(re.findall(r"[a-z0-9.]+", words)) or "unknown"
    return name if where["gpu"] else f"{name}-{where['cores']}-cores"


def report(results):
    """All results as Markdown."""
    sections = [section(name, results["parts"][name]) for name in PARTS if name in results["parts"]]
    blocks = ["# What the code costs", about(results["machine"]), summary(results["parts"]), *sections]
    return "\n\n".join(block for block in blocks if block) + "\n"


def about(where):
    """What the machine is, in two paragraphs."""
    versions = ", ".join(f"{name} {number or 'not installed'}" for name, number in where["versions"].items())
    peaks = ", ".join(f"{peak / 1e9:,.0f} GFLOP/s in {dtype}" for dtype, peak in where["gemm_peak"].items())
    gpu = f"{where['gpu']}; " if where["gpu"] else ""
    return (
        f"{gpu}{where['processor']}, {where['cores']} cores, {where['threads']} threads, {where['memory_gb']} GB; {versions}.\n\n"
        f"Matrices are multiplied at {peaks} at best, memory is copied at {where['copy_bandwidth'] / 1e9:,.1f} GB/s: the floors "
        "stand on such measurements. What is compared, and how to read it: [README.md](README.md)."
    )


def summary(parts):
    """A row for each target, of all parts that have some; empty where there is none."""
    rows = []
    for name in PARTS:
        if name in parts and parts[name]["error"]:
            rows.append([name, "", "failed", verdict(False)])
        elif name in parts:
            targets, _ = texts_of(part_of(name), parts[name]["figures"])
            rows += [[what, wanted, measured, verdict(met)] for what, wanted, measured, met in targets]
    return rows and table(["target", "wanted", "measured", "met"], rows)


def texts_of(part, figures):
    """(the rows of a part's targets, if it has some; the text of its section)."""
    return getattr(part, "targets", lambda figures: [])(figures), part.render(figures).strip()


def verdict(met):
    """Yes or no; None is neither, where a peer to compare with is not there."""
    return "not measured" if met is None else "yes" if met else "**no**"


def section(name, found):
    """A part's heading, its text or its error, and how it was measured."""
    if found["error"]:
        return f"## {name}\n\nFailed: {found['error']}"
    part, flags = part_of(name), "".join(f" --{key}" for key in ("cuda", "long") if found["settings"][key])
    note = f"`{name}.py{flags}`, {found['seconds']:.0f} s on {found['measured']}."
    return f"## {part.TITLE}\n\n{note}\n\n{texts_of(part, found['figures'])[1]}"


# ---- all of it ------------------------------------------------------------------------------------------------------


def earlier(path, where):
    """The results of parts that are not measured again. Raises UserError where another machine measured them."""
    before = read_json(path) or {"parts": {}, "machine": where}
    changed = [key for key in ("processor", "cores", "gpu", "versions") if before["machine"][key] != where[key]]
    if changed:
        raise UserError(
            f"{path} was measured with other {', '.join(changed)}: leave out --only, or give --machine NAME"
        )
    return before["parts"]


def write_results(path, results):
    """The report and all figures, whole after every part."""
    write_json(path, results)
    path.with_suffix(".md").write_text(report(results), encoding="utf-8")


def main(argv=None):
    """Measure, print and write; `argv` is the command line without the program's name."""
    args = parsed(argv)
    if args.part:
        sys.exit(write_part(args.part, args, args.json))
    wanted = PARTS if args.only is None else [name for name in PARTS if name in args.only]
    limits_found = run_part(LIMITS, args)
    if limits_found["error"]:
        raise UserError(f"the machine itself could not be measured: {limits_found['error']}")
    where = limits_found["figures"]
    path = HERE / f"results-{args.machine or slug(where)}.json"
    results = {"machine": where, "parts": earlier(path, where) if args.only is not None else {}}
    with prepared(args) if wanted else contextlib.nullcontext(args) as ready:
        for name in wanted:
            results["parts"][name] = run_part(name, ready)
            write_results(path, results)
    write_results(path, results)
    print(report(results))
    sys.exit(any(found["error"] for found in results["parts"].values()))


if __name__ == "__main__":
    run_script(main)
