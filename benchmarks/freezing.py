"""What freezing layers saves: time of a step and peak memory by the number of frozen layers, and with their output cached.

An encoder shaped as XLM-R, with random weights, classifies rows of random pieces; neither changes what a step costs. Every
configuration is trained beside full training: two processes that take turns after each step, on the same rows, so that both steps
of a pair meet the machine in the same state. A step lasts from the end of the one before to its own end: reading and collating
rows, the passes, clipping, the optimizer, logging. Full training beside itself shows what the measurement is worth; without
dropout, and with the embeddings alone frozen, it explains the rest.
"""

import contextlib
import io
import tempfile
from pathlib import Path

import numpy as np
from datasets import Dataset
from transformers import PrinterCallback, TrainingArguments, XLMRobertaForSequenceClassification, set_seed

from benchmarks.measuring import encoder_config, gemm_peak, process, spread, steadier, table
from benchmarks.steps import OPERATIONS, OPTIMIZER, PEAK_MB, PROCESSOR_SECONDS, SECONDS, StepTurns, take_turn
from tasks import load_task
from xstilts.checkpoint import load_tokenizer
from xstilts.errors import say
from xstilts.freezing import freeze
from xstilts.layers import parse_layers
from xstilts.prefix_cache import cache_prefix
from xstilts.training import StiltsTrainer

TITLE = "Frozen layers against full training"
DEMO_ENCODER = Path(__file__).resolve().parents[1] / "demo" / "encoder"
DEPTH, PIECES = 12, 30_000
BATCH, LENGTHS, WARM_UP = 8, (24, 72), 2  # rows of a step; tokens of a row, from and to; steps that are not timed
# What is in a row: (--freeze_layers, dropout, whether the output of the frozen layers is cached). FULL stands on both sides.
FULL, LIVE, CACHED, ALL = "none", "9", "9, cached", "12"
LOWEST, NO_DROPOUT = "embeddings alone", "none, without dropout"
RUNS = {FULL: ("none", 0.1, False), **{count: (count, 0.1, False) for count in ("3", "6", LIVE, ALL)}}
RUNS |= {CACHED: ("9", 0.1, True), LOWEST: ("0", 0.1, False), NO_DROPOUT: ("none", 0.0, False)}
OPTIONS = {"eval_strategy": "no", "save_strategy": "no", "logging_steps": 10, "disable_tqdm": True, "report_to": "none"}
OPTIONS |= {"per_device_train_batch_size": BATCH, "per_device_eval_batch_size": BATCH, "learning_rate": 1e-5}
HEADER = "frozen layers | ms per step | floor | ratio | model | ratio of processor time | peak memory, MB"
NOTE = """Rows that are more than 10 percent from the model: {far}. It counts passes through the layers, a way back as two ways
there: (3L - 2k) / 3L, and cached (L - k) / L. It leaves out what these runs show, by {by}: the gradients of the embeddings take
{embeddings:.1%} of a step of full training; dropout, which frozen layers do not have, takes {dropout:.1%}; the optimizer
{optimizer:.1%}. A way back through all layers takes {backward:.1f} times as long as a way there.

With 9 layers frozen and no cache, an epoch is {live:.2f} times as fast as full training; with a cache the first one, which fills
it, {first:.2f} times, and every later one **{later:.2f} times**, all by {by}."""


# ---- the process of a run -------------------------------------------------------------------------------------------


def train(pipe, name, steps, shape, cuda):
    """Train as RUNS say, in turns; the first turn computes what is cached."""
    selection, dropout, is_cached = RUNS[name]
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.suppress(EOFError),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        set_seed(0)
        rates = {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
        model = XLMRobertaForSequenceClassification(encoder_config(shape, PIECES, **rates, num_labels=3))
        freeze(model, parse_layers(selection, DEPTH))
        arguments = TrainingArguments(folder, max_steps=steps, use_cpu=not cuda, **OPTIONS)
        trainer = StiltsTrainer(load_task("mnli"), model, arguments, load_tokenizer(DEMO_ENCODER), rows(steps))
        trainer.remove_callback(PrinterCallback)
        trainer.add_callback(turns := StepTurns(pipe, model))
        turns.wait()
        cache_prefix(trainer, f"{folder}/cache" if is_cached else None)
        turns.tell()
        trainer.train()


def rows(steps):
    """Features of random pieces, an epoch of `steps` steps."""
    rng = np.random.default_rng(0)
    ids = [rng.integers(5, 400, length).tolist() for length in rng.integers(*LENGTHS, steps * BATCH, endpoint=True)]
    columns = {"input_ids": ids, "attention_mask": [[1] * len(row) for row in ids], "labels": [0] * len(ids)}
    return Dataset.from_dict(columns)


# ---- measuring ------------------------------------------------------------------------------------------------------


def measure(args):
    """All figures."""
    steps, pairs, shape = 8, 6 if args.long else 2, f"{DEPTH}x{768 if args.cuda else 256}"
    told = {name: [] for name in RUNS}
    for number in range(pairs):
        for name in RUNS:
            told[name].append(run_pair(name, steps, shape, args.cuda))
        say(f"  {number + 1} of {pairs} pairs of runs")
    told, peak = {name: np.array(each) for name, each in told.items()}, gemm_peak("cuda" if args.cuda else "cpu")
    return {
        "settings": {
            "encoder": shape,
            "pieces": PIECES,
            "batch": BATCH,
            "lengths": LENGTHS,
            "steps": steps,
            "pairs": pairs,
        },
        "kind": steadier(args.cuda),
        "gemm_peak": peak,
        "floor_ms": 3e3 * float(told[FULL][:, 1 + WARM_UP :, 0, OPERATIONS].mean()) / peak,
        "runs": {name: compare(each) for name, each in told.items()},
    }


def run_pair(name, steps, shape, cuda):
    """Train as `name` says beside full training: (steps + 1, 2, 5) figures of `steps`, full training first; before the first step
    stands what the cache took."""
    with contextlib.ExitStack() as stack:
        settings, method = (steps, shape, cuda), "spawn" if cuda else "forkserver"
        pipes = [stack.enter_context(process(run, train, run, *settings, method=method)) for run in (FULL, name)]
        told = np.zeros((steps + 1, 2, 5))
        for number in range(steps + 1):
            for turn in (number % 2, 1 - number % 2):
                told[number, turn] = take_turn(pipes[turn])
    return told


def compare(told):
    """Of the (pairs, steps + 1, 2, 5) figures of a configuration: medians over steps, then over pairs."""
    full, own = np.moveaxis(told[:, 1 + WARM_UP :], 2, 0)
    ratios = np.median(own / full, axis=1)  # of each pair
    filling = np.median(told[:, 0, 1], axis=0) / (told.shape[1] - 1) / np.median(full, axis=(0, 1))
    return {
        "ms": 1e3 * float(np.median(own[..., SECONDS])),
        "peak_mb": float(np.median(told[:, -1, 1, PEAK_MB])),
        "optimizer": float(np.median(own[..., OPTIMIZER] / own[..., SECONDS])),
        "time": spread(ratios[:, SECONDS]),
        "processor_time": spread(ratios[:, PROCESSOR_SECONDS]),
        "filling": {"time": filling[SECONDS], "processor_time": filling[PROCESSOR_SECONDS]},
    }


def expected(name):
    """The model of a row: (3L - 2k) / 3L, and cached (L - k) / L; None for those that it is not about."""
    counts = {FULL: 0, **{count: int(count) for count in RUNS if count.isdigit()}}
    return 1 - int(LIVE) / DEPTH if name == CACHED else 1 - 2 * counts[name] / (3 * DEPTH) if name in counts else None


# ---- report ---------------------------------------------------------------------------------------------------------


def targets(figures):
    """A cached epoch is 2.5 times as fast."""
    faster = 1 / figures["runs"][CACHED][figures["kind"]]["median"]
    yield (
        "an epoch with 9 of 12 layers frozen and cached, against full training",
        "at least 2.5 times",
        f"{faster:.2f}",
        faster >= 2.5,
    )


def render(figures):
    """The figures as Markdown."""
    chosen, found = figures["settings"], figures["runs"]
    about = (
        f"Encoder {chosen['encoder']}, {chosen['pieces']:,} pieces; {chosen['batch']} rows of {LENGTHS[0]} to {LENGTHS[1]} "
        f"tokens a step; {chosen['pairs']} pairs of runs of {chosen['steps']} steps. Ratios are medians to full training, with "
        "the lowest and the highest pair's. The floor is a pass forward and twice that back, where there is one, at the speed of "
        f"the fastest multiplication, {figures['gemm_peak'] / 1e9:,.0f} GFLOP/s."
    )
    lines = [row(name, own, figures["floor_ms"]) for name, own in found.items()]
    return "\n\n".join([about, table(HEADER.split(" | "), lines), explanation(found, figures["kind"])])


def row(name, own, floor):
    """A configuration."""
    model, time = expected(name), own["time"]
    ratio = f"{time['median']:.3f} ({time['min']:.3f} to {time['max']:.3f})"
    cells = [f"{own['ms']:.1f}", f"{floor * model:.1f}" if model else "", ratio, f"{model:.3f}" if model else ""]
    return [name, *cells, f"{own['processor_time']['median']:.3f}", f"{own['peak_mb']:.0f}"]


def explanation(found, kind):
    """Which rows are far from the model, what it leaves out by one `kind` of ratio, and what a cache makes of an epoch."""
    own = {name: row[kind]["median"] for name, row in found.items()}
    gaps = {name: own[name] / expected(name) - 1 for name in own if expected(name)}
    return NOTE.format(
        far=", ".join(f"{name} ({gap:+.0%})" for name, gap in gaps.items() if abs(gap) > 0.1) or "none",
        by=kind.replace("_", " "),
        embeddings=1 - own[LOWEST],
        dropout=1 - own[NO_DROPOUT],
        optimizer=found[FULL]["optimizer"],
        backward=own[LOWEST] * (1 - found[LOWEST]["optimizer"]) / own[ALL] - 1,
        live=1 / own[LIVE],
        first=1 / (own[CACHED] + found[CACHED]["filling"][kind]),
        later=1 / own[CACHED],
    )
