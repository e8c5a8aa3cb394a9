"""What the parts of the benchmark share: the machine and its limits, time in turns, memory of a process, models, tables.

A part measures the ways of doing the same work in turns, one after the other and again, so that all of them meet the machine in
the same state, and compares them within each round. Processor time leaves out what other programs take; on a GPU it says nothing.
"""

import contextlib
import importlib
import multiprocessing
import os
import platform
import re
import resource
import sys
import time
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import torch
from transformers import XLMRobertaConfig

from xstilts.base import UserError, print_main

PACKAGES = "torch transformers datasets accelerate numpy sentence-transformers faiss-cpu".split()
KINDS = ("time", "processor_time")
# Libraries that a forked process is not to import again.
PRELOAD = "transformers.trainer transformers.models.xlm_roberta.modeling_xlm_roberta datasets evaluate peft".split()


# ---- the machine ----------------------------------------------------------------------------------------------------


def machine(cuda):
    """What it runs on: processor, cores, threads, memory_gb, gpu (None without `cuda`), versions (None: not installed)."""
    cpu = Path("/proc/cpuinfo")
    name = re.search(r"^model name\s*: (.*)$", cpu.read_text(), re.MULTILINE) if cpu.exists() else None
    return {
        "processor": name[1] if name else platform.processor(),
        "cores": cores(),
        "threads": torch.get_num_threads(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9),
        "gpu": torch.cuda.get_device_name() if cuda else None,
        "versions": {"python": platform.python_version(), **{name: installed(name) for name in PACKAGES}},
    }


def cores():
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def installed(package):
    """The version of a package, None where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def gemm_peak(device, dtype=torch.float32):
    """Operations per second of the fastest of some multiplications of square matrices, two for each product that is added up.

    On a CPU every library that multiplies here has its try: torch's BLAS, oneDNN and numpy's.
    """
    sides, seconds = (4096, 8192) if device == "cuda" else (512, 1024, 1536), {}
    for side in sides:
        a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
        for multiply in multiplications(a, b) * 6:
            seconds.setdefault(side, []).append(seconds_of(multiply))
    return float(max(2 * side**3 / min(each) for side, each in seconds.items()))


def multiplications(a, b):
    """Ways to multiply two matrices, each into the same place again."""
    shape = (len(a), b.shape[1])
    ways = [partial(torch.mm, a, b, out=a.new_empty(shape))]
    if a.device.type == "cpu" and a.dtype == torch.float32:
        ways.append(partial(np.matmul, a.numpy(), b.numpy(), out=np.empty(shape, np.float32)))
        ways += [partial(torch.nn.functional.linear, a.to_mkldnn(), b.T)] * torch.backends.mkldnn.is_available()
    return ways


def copy_bandwidth(device):
    """Bytes per second, read and written ones together, of the fastest of some copies that no cache holds."""
    source = torch.ones(2**30 if device == "cuda" else 2**26, device=device)  # 4 GB on a GPU, 256 MB elsewhere
    target = torch.empty_like(source)
    return 2 * source.nbytes / min(seconds_of(partial(target.copy_, source)) for _ in range(6))


def seconds_of(function):
    """What one call takes."""
    before = used()
    function()
    return float((used() - before)[0])


# ---- time -----------------------------------------------------------------------------------------------------------


def used():
    """[seconds, processor seconds] so far, after a GPU has done what it was told."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return np.array([time.perf_counter(), time.process_time()])


def in_turns(ways, rounds):
    """Seconds and processor seconds of {way: function} in each round, as {way: (rounds, 2) array}.

    All ways take their turn in a round, and who goes first rotates. The caller has warmed them up.
    """
    names, spent = [*ways], {way: [] for way in ways}
    for number in range(rounds):
        for turn in range(len(names)):
            way = names[(number + turn) % len(names)]
            before = used()
            ways[way]()
            spent[way].append(used() - before)
        latest = ", ".join(f"{way} {each[-1][0]:.2f} s" for way, each in spent.items())
        print_main(f"  {number + 1} of {rounds} rounds: {latest}")
    return {way: np.array(each) for way, each in spent.items()}


def medians(figures):
    """{way: {"time", "processor_time"}} in seconds, medians over the rounds of `in_turns`."""
    return {way: dict(zip(KINDS, np.median(each, axis=0).tolist(), strict=True)) for way, each in figures.items()}


def ratio(figures, of, over):
    """Seconds of one way over those of another: {"time", "processor_time"} of median, min and max over the rounds."""
    each = figures[of][:, :2] / figures[over][:, :2]
    return {kind: spread(column) for kind, column in zip(KINDS, each.T, strict=True)}


def spread(values):
    """Median, smallest and largest of some numbers."""
    return {"median": float(np.median(values)), "min": float(np.min(values)), "max": float(np.max(values))}


def steadier(cuda):
    """The kind of time that targets are compared with: processor time on a CPU, whatever else runs there."""
    return KINDS[0] if cuda else KINDS[1]


# ---- processes and memory -------------------------------------------------------------------------------------------


def peak_mb():
    """Peak of this process's memory so far in MB, of that on the GPU if it computes there."""
    if torch.cuda.is_initialized():
        return torch.cuda.max_memory_allocated() / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6


@contextlib.contextmanager
def process(name, function, *args, method="spawn"):
    """A process that runs `function(pipe, *args)`, as the other end of its pipe. With `method` "forkserver" it is forked from one
    that has the libraries and nothing else, which GPUs do not allow. Raises UserError, with its `name`, where it dies."""
    context = multiprocessing.get_context(method)
    multiprocessing.set_forkserver_preload(PRELOAD)
    here, there = context.Pipe()
    worker = context.Process(target=function, args=(there, *args), daemon=True)
    worker.start()
    there.close()
    here.pid = worker.pid
    try:
        yield here
    except EOFError as error:
        raise UserError(f"the process of '{name}' died; what it said stands above") from error
    finally:
        here.close()
        worker.join()


def peak_mb_of(function, *args, imports=()):
    """MB at the peak that `function(*args)` takes in a fresh process, beyond what the process had before: of anonymous memory,
    sampled every 2 ms (files that are mapped are not in it), or of the GPU's if it computes there. Function and arguments are
    pickled; what its module imports, and the modules of `imports`, are there before. Needs Linux.
    """
    with process(getattr(function, "__name__", "memory"), alone, function, args, imports) as pipe:
        pipe.recv()
        before = peak = anonymous_mb(pipe.pid)
        pipe.send("now")
        while not pipe.poll(0.002):
            peak = max(peak, anonymous_mb(pipe.pid))
        peak, on_gpu = max(peak, anonymous_mb(pipe.pid)), pipe.recv()
    return peak - before if on_gpu is None else on_gpu


def alone(pipe, function, args, imports):
    """Call a function when told to; tell the MB that it took of a GPU, or None."""
    for module in imports:
        importlib.import_module(module)
    pipe.send("ready")
    pipe.recv()
    function(*args)
    pipe.send(peak_mb() if torch.cuda.is_initialized() else None)
    with contextlib.suppress(EOFError):  # memory is looked at once more
        pipe.recv()


def anonymous_mb(pid):
    """Memory of a process in MB that is not a file's; 0 when it has ended."""
    if not Path("/proc/self/status").exists():
        raise UserError("memory is read from /proc, which only Linux has: run the benchmark there")
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        found = re.search(r"RssAnon:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
        return int(found[1]) * 1024 / 1e6 if found else 0.0
    return 0.0


# ---- models and tables ----------------------------------------------------------------------------------------------


def shape_of(text):
    """4x256 -> (4, 256), layers and width. Raises ValueError for something else, and for a width without whole heads of 64."""
    layers, width = map(int, text.split("x"))
    if layers < 1 or width < 1 or width % 64:
        raise ValueError(text)
    return layers, width


def encoder_config(shape, vocabulary, **others):
    """XLM-R's configuration in another size: `shape` is layers x width ("6x384") with heads of 64, `vocabulary` counts pieces."""
    layers, width = shape_of(shape)
    sizes = {"num_hidden_layers": layers, "hidden_size": width, "num_attention_heads": width // 64}
    sizes |= {"intermediate_size": 4 * width, "max_position_embeddings": 514, "type_vocab_size": 1}
    return XLMRobertaConfig(**sizes, vocab_size=vocabulary, **others)


def forward_operations(config, lengths):
    """Operations of a pass forward through the layers over rows of these lengths, padding included: two for every weight and
    token, and for attention four times the width for every pair of tokens of a row. Training takes three times as many.

    Embeddings, heads, activations and normalisation are left out, so that this is a lower bound.
    """
    lengths, width = np.asarray(lengths, dtype=float), config.hidden_size
    weights = 4 * width**2 + 2 * width * config.intermediate_size
    return float(config.num_hidden_layers * (2 * weights * lengths.sum() + 4 * width * (lengths**2).sum()))


def table(header, rows):
    """A Markdown table of texts and numbers."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)
