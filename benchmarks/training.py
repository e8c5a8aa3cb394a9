"""What fine-tuning takes, against the stock Trainer padded to the maximum and dynamically.

The same weights, rows, order of rows, optimizer and rows per step; XLM-R's dropout. Each way trains in a process of its own, and
they take turns, an epoch over the same few rows each, which are by their lengths like all rows of the task.
"""

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from datasets import load_from_disk

from benchmarks.measuring import (
    KINDS,
    encoder_config,
    forward_operations,
    gemm_peak,
    ratio,
    steadier,
    table,
)
from benchmarks.peers import (
    BARE,
    DYNAMIC,
    GROUPED,
    LIMIT,
    LIMITED,
    LIMITS,
    OURS,
    PADDED,
    SMALL,
    Work,
    epoch_tokens,
    own_lengths,
    typical_rows,
)
from benchmarks.turns import run
from tasks import load_task
from xstilts.base import print_main
from xstilts.checkpoint import load_tokenizer
from xstilts.examples import featurize
from xstilts.languages import load_training

TITLE = "Fine-tuning"
# task: rows of an optimizer step, rows of a micro-batch of ours, maximum length, steps of a turn, turns
PLAN = {
    "xnli": (32, 8, 128, 2, 2),
    "udpos": (32, 8, 128, 2, 2),
    "hellaswag": (32, 8, 128, 1, 2),
    "squad": (16, 8, 384, 1, 2),
    "lareqa": (16, 4, 256, 1, 2),
}
LENGTHS = {"doc_stride": 128, "max_query_length": 96}
NO_PEER = ("lareqa",)
SHORT = ("xnli", "udpos")  # whose steps are the shortest: what the Trainer costs weighs most there
SMALL_ENCODER = "2x128"
# task: how many times as fast as stock padded, and as stock dynamic
TARGETS = {"xnli": (2.2, 1.6), "udpos": (3.3, 2.2), "hellaswag": (1.6, 1.5), "squad": (1.3, 1.25)}
# peak memory at most so many times that of a peer: at equal micro-batches, and at equal steps
MEMORY = {
    "defaults, equal steps": (OURS, DYNAMIC, 1.0),
    "defaults, equal micro-batches": (OURS, SMALL, 1.0),
    "--max_tokens_per_batch 512, equal steps": (LIMITED, DYNAMIC, 0.7),
}
OVERHEAD, OVERHEAD_STEPS, OVERHEAD_TURNS = 0.1, 4, 3  # of a step of a small encoder, over a bare loop


# ---- the work -------------------------------------------------------------------------------------------------------


def prepare(name, args, folder):
    """(Work of a task, features of all of its English training rows)."""
    batch, micro, maximum, steps, turns = PLAN[name]
    if args.long:
        steps, turns = 4 * steps, turns + 2
    task, tokenizer = load_task(name), load_tokenizer(args.tokenizer)
    examples, rows = load_training(task, "en", args.data_dir), Path(folder) / name
    features = featurize(task, examples, tokenizer, {"max_seq_length": maximum, **LENGTHS})
    typical_rows(features, batch, batch * steps).save_to_disk(rows)
    work = Work(
        task=name, rows=str(rows), tokenizer=args.tokenizer, folder=str(folder), encoder=args.encoder, maximum=maximum,
        batch=batch, micro=micro, epochs=turns, cuda=args.cuda,
    )  # fmt: skip
    return work, features


# ---- measuring ------------------------------------------------------------------------------------------------------


def measure(args):
    """All figures: of each task, and of what the Trainer adds to the steps of a small encoder."""
    peak = gemm_peak("cuda" if args.cuda else "cpu", torch.bfloat16 if args.cuda else torch.float32)
    figures = {"cuda": args.cuda, "encoder": args.encoder, "gemm_peak": peak, "tasks": {}, "overhead": {}}
    with tempfile.TemporaryDirectory() as folder:
        for name in PLAN:
            work, features = prepare(name, args, folder)
            ways = ways_of(work, len(load_from_disk(work.rows)) // work.batch, args.long)
            print_main(f"{name}: {', '.join(ways)}")
            figures["tasks"][name] = about(work, features, run(work, ways), peak)
            if args.long or name in SHORT:
                figures["overhead"][name] = overhead(work, features)
    return figures


def ways_of(work, steps, long):
    """Those that are measured of a task. Rows of a single step cannot be grouped."""
    if work.task in NO_PEER:
        return [OURS]
    more = [SMALL, *[GROUPED] * (steps > 1)] if long else []
    return [PADDED, DYNAMIC, OURS, *(LIMITS if long else [LIMITED]), *more]


def overhead(work, features):
    """Milliseconds of a step of a small encoder, and what it takes over one of a bare loop."""
    rows = f"{work.rows} of a small encoder"
    typical_rows(features, work.batch, work.batch * OVERHEAD_STEPS).save_to_disk(rows)
    work = replace(work, rows=rows, encoder=SMALL_ENCODER, epochs=OVERHEAD_TURNS)
    spent = {way: each["spent"] for way, each in run(work, [OURS, BARE]).items()}
    return {"step_ms": float(np.median(spent[OURS][:, 0]) * 1e3 / OVERHEAD_STEPS), **ratio(spent, OURS, BARE)}


# ---- figures --------------------------------------------------------------------------------------------------------


def about(work, features, found, peak):
    """Figures of a task: of its rows, of each way, and of the stock ways over ours."""
    own = own_lengths(load_from_disk(work.rows))
    figures = {"examples": len(load_from_disk(work.rows)), "inputs": len(own), "tokens": int(own.sum())}
    figures |= {"turns": work.epochs, "batch": work.batch}
    passes = 3 * forward_operations(encoder_config(work.encoder, 1), own)  # backward takes twice as many
    figures["floor"] = passes / peak
    figures["ways"] = {way: of_way(each, figures["tokens"]) for way, each in found.items()}
    if work.task in NO_PEER:
        return figures
    everything = own_lengths(features).sum()
    for way, each in figures["ways"].items():
        each["padded_epoch"] = float(epoch_tokens(work, features, way) / everything)
        each["faster_than"] = {
            peer: against(found, peer, way) for peer in (PADDED, DYNAMIC) if way not in (peer, SMALL)
        }
    return figures


def of_way(found, tokens):
    """Medians over the turns of one way; `padded` are tokens that it computes for each that is none of padding."""
    seconds = dict(zip(KINDS, np.median(found["spent"], axis=0).tolist(), strict=True))
    padded = found["tokens"] / len(found["spent"]) / tokens
    return {"seconds": seconds, "padded": padded, "memory_mb": found["memory_mb"]}


def against(found, peer, way):
    """How many times as fast as a peer a way is, and what the tokens that both compute promise."""
    spent = {name: found[name]["spent"] for name in (peer, way)}
    return ratio(spent, peer, way) | {"bound": found[peer]["tokens"] / found[way]["tokens"]}


# ---- report ---------------------------------------------------------------------------------------------------------


def targets(figures):
    """(what, wanted, measured, met) of everything that has a target."""
    kind, found = steadier(figures["cuda"]), []
    for name, wanted in TARGETS.items():
        ways = figures["tasks"][name]["ways"]
        faster = {way: [ways[way]["faster_than"][peer] for peer in (PADDED, DYNAMIC)] for way in (LIMITED, OURS)}
        values, defaults = ([each[kind]["median"] for each in faster[way]] for way in (LIMITED, OURS))
        bounds = [each["bound"] for each in faster[LIMITED]]
        said = f"{slashes(values)} (defaults {slashes(defaults)}; tokens allow {slashes(bounds)})"
        what = f"fine-tuning, {name}, --max_tokens_per_batch {LIMIT}, times as fast as stock padded / dynamic"
        found.append((what, f"at least {slashes(wanted)}", said, all(np.array(values) >= wanted)))
    for what, (way, peer, wanted) in MEMORY.items():
        ways = [figures["tasks"][name]["ways"] for name in TARGETS]
        if not all(peer in each for each in ways):
            continue  # with --long only
        shares = [each[way]["memory_mb"] / each[peer]["memory_mb"] for each in ways]
        what = f"peak memory over stock dynamic, {what}, {' / '.join(TARGETS)}"
        found.append((what, f"at most {wanted:.2f}", slashes(shares), max(shares) <= wanted))
    costs = [each[kind]["median"] - 1 for each in figures["overhead"].values()]
    what = f"the Trainer over a bare loop, {SMALL_ENCODER}, {' / '.join(figures['overhead'])}"
    measured = " / ".join(f"{cost:.1%}" for cost in costs)
    found.append((what, f"below {OVERHEAD:.0%} of a step", measured, max(costs) < OVERHEAD))
    return found


def slashes(values):
    """2.53 / 1.71"""
    return " / ".join(f"{value:.2f}" for value in values)


def render(figures):
    """The figures as Markdown."""
    kind = steadier(figures["cuda"])
    rows = [row_of(task, way, found, kind) for task, found in figures["tasks"].items() for way in found["ways"]]
    work = "; ".join(
        f"{task} {found['inputs']} inputs, {found['tokens']:,} tokens, {found['batch']} examples a step, {found['turns']} turns"
        for task, found in figures["tasks"].items()
    )
    cost = [
        [task, f"{each['step_ms']:.0f}", *map(as_text, (each[kind] for kind in KINDS))]
        for task, each in figures["overhead"].items()
    ]
    return "\n\n".join([
        f"{figures['encoder']}, a turn: {work}.", table(COLUMNS, rows),
        NOTE.format(peak=figures["gemm_peak"] / 1e9, by="" if figures["cuda"] else " by processor time"),
        f"What the Trainer costs, {SMALL_ENCODER}, {OURS} over a bare loop of the same micro-batches:",
        table(["task", "ms per step", "time", "processor time"], cost),
    ])  # fmt: skip


COLUMNS = ["task", "way", "padded", "of an epoch", "MB", "examples/s", "tokens/s", "of the floor"]
COLUMNS += [f"x {peer}, {what}" for peer in ("padded", "dynamic") for what in ("time", "processor time", "bound")]
NOTE = (
    "*Padded*: tokens that are computed for each token of text, in these rows and in an epoch of all. *MB*: the peak beyond the "
    "imports. Rates count examples and tokens of text{by}. *The floor* is what the operations of the encoder take at the "
    "measured peak, {peak:,.0f} GFLOP/s, without padding. *x padded*, *x dynamic*: how many times as fast as stock; the *bound* "
    "is what the tokens of both promise. Few steps leave little to group by length, so that there the epoch's figure counts."
)


def row_of(task, way, found, kind):
    """A row of the table."""
    each = found["ways"][way]
    seconds = each["seconds"][kind]
    cells = [task, way, f"{each['padded']:.2f}", f"{each['padded_epoch']:.2f}" if "padded_epoch" in each else ""]
    cells += [f"{each['memory_mb']:,.0f}", f"{found['examples'] / seconds:.1f}", f"{found['tokens'] / seconds:,.0f}"]
    cells.append(f"{found['floor'] / seconds:.0%}")
    for peer in (PADDED, DYNAMIC):
        faster = each.get("faster_than", {}).get(peer)
        cells += [*map(as_text, (faster[kind] for kind in KINDS)), f"{faster['bound']:.2f}"] if faster else [""] * 3
    return cells


def as_text(spread):
    """1.52 (1.50 to 1.57)"""
    return f"{spread['median']:.2f} ({spread['min']:.2f} to {spread['max']:.2f})"
