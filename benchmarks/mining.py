"""What one pass over all products saves in bitext mining, against faiss searched in both directions.

    python benchmarks/mining.py [--long] [--rounds 7] [--output benchmarks/results-mining.md]
    CUDA_VISIBLE_DEVICES=0 python benchmarks/mining.py --cuda --output benchmarks/results-mining-cuda.md

Two sets of 20,000 vectors of width 1,024 (`--long`: 100,000, `--cuda`: 400,000), the 4 nearest of each in the other set, ratio
margins of all of these, and the pairs that are each other's best, in processes of their own:

ours        `search.top_k_both`, then `mining.mined`
faiss       `IndexFlatIP` filled with the one set and searched with the other, and the other way round, then `mining.mined`; not
            with `--cuda`
products    no search: the fastest multiplication of float32 matrices of this width that oneDNN, torch and numpy have here. What
            all products of the two sets, each computed once, would take at that speed is the floor

They take turns, round after round, after a warm-up, and who goes first rotates. Making vectors is in none of the times. Threads
are those of OMP_NUM_THREADS, without it one for each core, for all ways. Needs faiss: `pip install faiss-cpu`.

Writes a Markdown report and the same figures as JSON beside it. Half of the vectors have a translation in the other set, and all
have a direction in common, as sentence embeddings do; what exact search in float32 costs does not depend on much else.
"""

import argparse
import contextlib
import importlib.util
import multiprocessing
import os
import platform
import re
import resource
import sys
import time
from functools import partial
from importlib.metadata import version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch

from xstilts import search
from xstilts.errors import UserError, run_script, say
from xstilts.json_files import write_json
from xstilts.mining import mined

ROOT = Path(__file__).resolve().parents[1]
WIDTH, NEIGHBOURS, SIZES = 1024, 4, {"default": 20_000, "long": 100_000, "cuda": 400_000}
SAME = 1e-6  # neighbours whose scores are no further apart are equal: float32 products round that much
RETRIEVAL = "intersect"


# ---- what is compared -----------------------------------------------------------------------------------------------


def make_vectors(size):
    """Two (size, WIDTH) sets at length 1, of which the first halves are translations; made in place, so that nothing else takes
    memory."""
    rng, sets = torch.Generator().manual_seed(0), [torch.empty(size, WIDTH) for _ in range(2)]
    common = torch.randn(WIDTH, generator=rng)
    for start in range(0, size, search.ROWS):
        first, second = (vectors[start : start + search.ROWS].normal_(generator=rng) for vectors in sets)
        second[: max(0, size // 2 - start)].add_(first[: max(0, size // 2 - start)])
        for rows in (first, second):
            rows.add_(common).div_(rows.norm(dim=1, keepdim=True))
    return sets


def ours(x, y, device):
    """((cosines, positions) of the nearest ys of every x, those of every y), and the pairs."""
    nearest = search.top_k_both(x, y, NEIGHBOURS, device)
    return nearest, mined(*nearest, RETRIEVAL)


def with_faiss(x, y, device):
    """The same."""
    import faiss  # only its own process has it, and the users who want to compare

    nearest = []
    for queries, vectors in ((x, y), (y, x)):
        index = faiss.IndexFlatIP(WIDTH)
        index.add(vectors.numpy())
        nearest.append(index.search(queries.numpy(), NEIGHBOURS))
    return nearest, mined(*nearest, RETRIEVAL)


def products(x, y, device):
    """Operations per second of the fastest of 9 multiplications each way, after one that is not counted."""
    a, b = (vectors[: search.block_side(device)].to(device) for vectors in (x, y))
    ways, seconds = [partial(torch.mm, a, b.T, out=a.new_empty(len(a), len(b)))], []
    if device == "cpu":
        ways.append(partial(np.matmul, a.numpy(), b.numpy().T, out=np.empty((len(a), len(b)), np.float32)))
        ways += [partial(torch.nn.functional.linear, a.to_mkldnn(), b)] * torch.backends.mkldnn.is_available()
    with search.full_precision(device):
        for multiply in ways * 10:
            before = used()[0]
            multiply()
            seconds.append(used()[0] - before)
    return 2 * len(a) * len(b) * WIDTH / min(seconds[len(ways) :])


WAYS = {"ours": ours, "faiss": with_faiss, "products": products}


# ---- measuring ------------------------------------------------------------------------------------------------------


def used():
    """Seconds and processor seconds so far, after a GPU has done what it was told."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return np.array([time.perf_counter(), time.process_time()])


def peak_mb():
    """Peak of this process's memory so far in MB, of that on the GPU if it computes there."""
    if torch.cuda.is_initialized():
        return torch.cuda.max_memory_allocated() / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6


def take_turns(pipe, way, size, device):
    """Search whenever told to, and tell seconds, processor seconds, MB at the peak beyond the vectors, and what is found."""
    x, y = make_vectors(size)
    if device == "cuda":
        torch.cuda.init()
    before = peak_mb()
    with contextlib.suppress(EOFError):
        while pipe.recv():
            start = used()
            found = WAYS[way](x, y, device)
            pipe.send(([*(used() - start), peak_mb() - before], found))


@contextlib.contextmanager
def process(way, size, device):
    """A process that takes turns, as the pipe to it."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    searcher = context.Process(target=take_turns, args=(there, way, size, device), daemon=True)
    searcher.start()
    there.close()
    try:
        yield here
    except EOFError as error:
        raise UserError(f"the process of '{way}' died; what it said stands above") from error
    finally:
        here.close()
        searcher.join()


def measure(ways, size, device, rounds):
    """({way: (rounds, 3) seconds, processor seconds and MB}, {way: what it found}, load of the machine before each round)."""
    told, found, loads = {way: [] for way in ways}, {}, []
    with contextlib.ExitStack() as stack:
        pipes = {way: stack.enter_context(process(way, size, device)) for way in ways}
        for number in range(rounds + 1):
            loads.append(os.getloadavg()[0])
            for turn in range(len(ways)):
                way = ways[(number + turn) % len(ways)]
                pipes[way].send("your turn")
                spent, result = pipes[way].recv()
                told[way].append(spent)
                found.setdefault(way, []).append(result)
            say(f"{number} of {rounds} rounds" if number else "warm-up done")
    return {way: np.array(rows[1:]) for way, rows in told.items()}, found, loads[1:]


# ---- figures --------------------------------------------------------------------------------------------------------


def figures(told, found, size):
    """Medians over the rounds, the floor, and of every round how much faster ours is than faiss."""
    peak = max(found["products"])
    floor, searches = 2 * size**2 * WIDTH / peak, {}
    for way in told:
        if way != "products":
            seconds, processor, _ = np.median(told[way], axis=0)
            searches[way] = {"seconds": seconds, "processor_seconds": processor, "floor_share": floor / seconds}
            searches[way]["mb_beyond_vectors"] = told[way][-1, 2]
    results = {"peak_flops": peak, "floor_seconds": floor, "searches": searches}
    if "faiss" in told:
        ratios = (told["faiss"] / told["ours"])[:, :2].T.tolist()
        results["faster"] = dict(zip(("time", "processor_time"), ratios, strict=True))
        results["agreement"] = agreement(found["ours"][-1], found["faiss"][-1])
    return results


def agreement(one, other):
    """How the neighbours, of both directions together, and the pairs of two ways differ."""
    (nearest, pairs), (others, other_pairs) = one, other
    apart, moved = [], []
    for (scores, positions), (other_scores, other_positions) in zip(nearest, others, strict=True):
        apart.append(np.abs(np.asarray(scores) - np.asarray(other_scores)))
        moved.append(np.asarray(positions) != np.asarray(other_positions))
    apart, moved = np.concatenate(apart), np.concatenate(moved)
    first, second = ({*zip(*map(np.ndarray.tolist, each[:2]), strict=True)} for each in (pairs, other_pairs))
    return {
        "neighbours": moved.size,
        "at_other_places": int(moved.sum()),
        "of_them_not_equal": int((moved & (apart > SAME)).sum()),
        "largest_difference": float(apart.max()),
        "pairs": len(first),
        "pairs_of_one_alone": len(first ^ second),
    }


def machine(cuda):
    """What it ran on."""
    cpu = Path("/proc/cpuinfo")
    names = re.findall(r"^model name\s*: (.*)$", cpu.read_text(), re.MULTILINE) if cpu.exists() else []
    found = {"processor": names[0] if names else platform.processor(), "cores": os.cpu_count()}
    found |= {"threads": torch.get_num_threads(), "gpu": torch.cuda.get_device_name() if cuda else None}
    packages = ("torch", "numpy") if cuda else ("torch", "numpy", "faiss-cpu")
    return {**found, "versions": {"python": platform.python_version(), **{name: version(name) for name in packages}}}


# ---- the report -----------------------------------------------------------------------------------------------------


def render(results):
    """The figures as Markdown."""
    where, found, loads = results["machine"], results["figures"], results["load"]
    versions = ", ".join(f"{name} {number}" for name, number in where["versions"].items())
    size = f"{results['size']:,} x {results['size']:,} vectors of width {WIDTH:,}, {NEIGHBOURS} neighbours each way"
    lines = [
        "# What one pass over all products saves in bitext mining",
        f"{where['gpu'] or where['processor']}, {where['cores']} cores, {where['threads']} threads; {versions}.",
        f"{size}. Medians of {results['rounds']} rounds, before which the load of the machine was {min(loads):.1f} to "
        f"{max(loads):.1f}. What is compared: [README.md](README.md).",
        table(found["searches"]),
        f"The floor, each product computed once at the fastest multiplication measured in between, "
        f"{found['peak_flops'] / 1e9:,.0f} GFLOP/s: {found['floor_seconds']:.2f} s.",
        *(against_faiss(found["faster"], found["agreement"]) if "faster" in found else []),
    ]  # fmt: skip
    return "\n\n".join(lines) + "\n"


def table(searches):
    """A row for each way."""
    lines = ["| way | seconds | processor seconds | floor over seconds | MB at the peak beyond the vectors |"]
    lines += ["|---|---|---|---|---|"]
    for way, own in searches.items():
        times = f"{own['seconds']:.2f} | {own['processor_seconds']:.2f} | {own['floor_share']:.0%}"
        lines.append(f"| {way} | {times} | {own['mb_beyond_vectors']:,.0f} |")
    return "\n".join(lines)


def against_faiss(faster, same):
    """Two paragraphs: how much faster, and whether the same is found."""
    time, processor = (f"{np.median(each):.2f} ({min(each):.2f} to {max(each):.2f})" for each in faster.values())
    yield f"**{time} times as fast as faiss**, by processor time {processor} times."
    yield (
        f"Of {same['neighbours']:,} neighbours {same['at_other_places']:,} are at other places than faiss has them, "
        f"{same['of_them_not_equal']:,} of these with scores further apart than {SAME:g}; scores differ by "
        f"{same['largest_difference']:.1e} at most. {same['pairs']:,} pairs are found, and {same['pairs_of_one_alone']:,} by one "
        "of the two alone."
    )


def main(argv=None):
    """Measure, print and write; `argv` is the command line without the program's name."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results-mining.md", help="the report")
    parser.add_argument("--rounds", type=int, default=7, help="how often every way is repeated")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--long", action="store_true", help=f"{SIZES['long']:,} vectors: half an hour on two cores")
    size.add_argument("--cuda", action="store_true", help=f"{SIZES['cuda']:,} vectors on the GPU, without faiss")
    args = parser.parse_args(argv)
    if args.cuda and not torch.cuda.is_available():
        raise UserError("--cuda: torch finds no GPU here; leave it out")
    if not args.cuda and importlib.util.find_spec("faiss") is None:
        raise UserError("faiss, which is compared with, is not installed: pip install faiss-cpu")
    size = SIZES["cuda" if args.cuda else "long" if args.long else "default"]
    ways = ("ours", "products") if args.cuda else tuple(WAYS)
    told, found, loads = measure(ways, size, "cuda" if args.cuda else "cpu", args.rounds)
    results = {"machine": machine(args.cuda), "size": size, "width": WIDTH, "neighbours": NEIGHBOURS}
    results |= {"rounds": args.rounds, "load": loads, "figures": figures(told, found, size)}
    write_json(args.output.with_suffix(".json"), results)
    args.output.write_text(render(results), encoding="utf-8")
    print(render(results))


if __name__ == "__main__":
    run_script(main)
