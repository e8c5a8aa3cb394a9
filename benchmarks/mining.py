"""What one pass over all products saves in bitext mining, against faiss searched in both directions.

Two sets of 20,000 vectors of width 1,024 (`--long`: 100,000, `--cuda`: 400,000), the 4 nearest of each in the other set, ratio
margins of all of these, and the best pairs of both directions, in processes of their own:

ours        `search.top_k_both`, then `mining.mined`
faiss       `IndexFlatIP` filled with the one set and searched with the other, and the other way round, then `mining.mined`; not
            with `--cuda`, and left out where it is not installed
products    no search: the fastest multiplication of float32 matrices of this width that oneDNN, torch and numpy have here. What
            all products of the two sets, each computed once, would take at that speed is the floor

They take turns, round after round, after a warm-up, and who goes first rotates, with as many threads as there are cores. Making
vectors is in none of the times. Half of the vectors have a translation in the other set, and all have a direction in common, as
sentence embeddings do; what exact search in float32 costs does not depend on much else.
"""

import contextlib
import os

import numpy as np
import torch

from benchmarks.measuring import (
    cores,
    installed,
    multiplications,
    peak_mb,
    process,
    seconds_of,
    spread,
    steadier,
    table,
    used,
)
from xstilts import search
from xstilts.base import print_main
from xstilts.mining import mined

TITLE = "Bitext mining against faiss"
WIDTH, NEIGHBOURS, SIZES = 1024, 4, {"default": 20_000, "long": 100_000, "cuda": 400_000}
SAME = 1e-6  # neighbours whose scores are no further apart are equal: float32 products round that much
HEADER = "way | seconds | processor seconds | floor | floor over seconds | peak memory beyond the vectors, MB"


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
    return nearest, mined(*nearest)


def with_faiss(x, y, device):
    """The same."""
    import faiss  # only its own process has it, and the users who want to compare

    nearest = []
    for queries, vectors in ((x, y), (y, x)):
        index = faiss.IndexFlatIP(WIDTH)
        index.add(vectors.numpy())
        nearest.append(index.search(queries.numpy(), NEIGHBOURS))
    return nearest, mined(*nearest)


def products(x, y, device):
    """Operations per second of the fastest of 4 multiplications each way, after one that is not counted."""
    a, b = (vectors[: search.block_side(device)].to(device) for vectors in (x, y))
    with search.full_precision(device):
        ways = multiplications(a, b.T)
        seconds = [seconds_of(multiply) for multiply in ways * 5]
    return 2 * len(a) * len(b) * WIDTH / min(seconds[len(ways) :])


WAYS = {"ours": ours, "faiss": with_faiss, "products": products}


# ---- measuring ------------------------------------------------------------------------------------------------------


def measure(args):
    """All figures."""
    os.environ["OMP_NUM_THREADS"] = str(cores())  # of the processes that search
    size = SIZES["cuda" if args.cuda else "long" if args.long else "default"]
    ways = [way for way in WAYS if way != "faiss" or (not args.cuda and installed("faiss-cpu"))]
    told, found, loads = in_processes(ways, size, "cuda" if args.cuda else "cpu", 5 if args.long else 3)
    return {"size": size, "threads": cores(), "kind": steadier(args.cuda), "load": loads, **compare(told, found, size)}


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


def in_processes(ways, size, device, rounds):
    """({way: (rounds, 3) seconds, processor seconds and MB}, {way: what it found}, load of the machine before each round)."""
    told, found, loads = {way: [] for way in ways}, {way: [] for way in ways}, []
    with contextlib.ExitStack() as stack:
        pipes = {way: stack.enter_context(process(way, take_turns, way, size, device)) for way in ways}
        for number in range(rounds + 1):
            loads.append(os.getloadavg()[0])
            for turn in range(len(ways)):
                way = ways[(number + turn) % len(ways)]
                pipes[way].send("your turn")
                spent, result = pipes[way].recv()
                told[way].append(spent)
                found[way].append(result)
            print_main(f"  {number} of {rounds} rounds" if number else "  warm-up done")
    return {way: np.array(rows[1:]) for way, rows in told.items()}, found, loads[1:]


# ---- figures --------------------------------------------------------------------------------------------------------


def compare(told, found, size):
    """Medians over the rounds, the floor, and of every round how much faster ours is than faiss."""
    peak = max(found["products"])
    floor, searches = 2 * size**2 * WIDTH / peak, {}
    for way in told:
        if way != "products":
            seconds, processor, _ = np.median(told[way], axis=0)
            searches[way] = {"seconds": seconds, "processor_seconds": processor, "floor_share": floor / seconds}
            searches[way]["mb_beyond_vectors"] = told[way][-1, 2]
    results = {"rounds": len(told["ours"]), "gemm_peak": peak, "floor_seconds": floor, "searches": searches}
    if "faiss" in told:
        time, processor = (spread(each) for each in (told["faiss"] / told["ours"])[:, :2].T)
        results["faster"] = {"time": time, "processor_time": processor}
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


# ---- the report -----------------------------------------------------------------------------------------------------


def targets(figures):
    """Faster than faiss by what one pass saves, the same found, little memory."""
    what, wanted = "bitext mining against faiss", "at least 1.6 times as fast"
    if "faster" in figures:
        faster, differ = figures["faster"][figures["kind"]]["median"], figures["agreement"]["of_them_not_equal"]
        yield what, wanted, f"{faster:.2f}", faster >= 1.6
        yield "neighbours that differ from faiss'", "none", f"{differ:,}", differ == 0
    else:
        yield what, wanted, "not installed", None
    memory = figures["searches"]["ours"]["mb_beyond_vectors"]
    yield "memory of mining beyond the vectors", "below 2,000 MB", f"{memory:,.0f}", memory < 2000


def render(figures):
    """The figures as Markdown."""
    loads = figures["load"]
    return "\n\n".join([
        f"{figures['size']:,} x {figures['size']:,} vectors of width {WIDTH:,}, {NEIGHBOURS} neighbours each way, "
        f"{figures['threads']} threads. Medians of {figures['rounds']} rounds, before which the load of the machine was "
        f"{min(loads):.1f} to {max(loads):.1f}. The floor is each product once, at the speed of the fastest multiplication in "
        f"between, {figures['gemm_peak'] / 1e9:,.0f} GFLOP/s.",
        table(HEADER.split(" | "), rows(figures)),
        *(against_faiss(figures["faster"], figures["agreement"]) if "faster" in figures else []),
    ])  # fmt: skip


def rows(figures):
    """A row for each way."""
    found = []
    for way, own in figures["searches"].items():
        times = [f"{own['seconds']:.2f}", f"{own['processor_seconds']:.2f}", f"{figures['floor_seconds']:.2f}"]
        found.append([way, *times, f"{own['floor_share']:.0%}", f"{own['mb_beyond_vectors']:,.0f}"])
    return found if "faiss" in figures["searches"] else [*found, ["faiss", "not measured", "", "", "", ""]]


def against_faiss(faster, same):
    """Two paragraphs: how much faster, and whether the same is found."""
    time, processor = (f"{each['median']:.2f} ({each['min']:.2f} to {each['max']:.2f})" for each in faster.values())
    yield f"**{time} times as fast as faiss**, by processor time {processor} times."
    yield (
        f"Of {same['neighbours']:,} neighbours {same['at_other_places']:,} are at other places than faiss has them, "
        f"{same['of_them_not_equal']:,} of these with scores further apart than {SAME:g}; scores differ by "
        f"{same['largest_difference']:.1e} at most. {same['pairs']:,} pairs are found, and {same['pairs_of_one_alone']:,} by one "
        "of the two alone."
    )
