"""What freezing layers saves: time of a step and peak memory by the number of frozen layers, and with their output cached.

    OMP_NUM_THREADS=1 python benchmarks/freezing.py [--output benchmarks/results-freezing.md] [--steps 10] [--pairs 3] [--cuda]

An encoder shaped as XLM-R, with random weights, classifies rows of random pieces; neither changes what a step costs. Every
configuration is trained beside full training: two processes that take turns after each step, on the same rows, so that both steps
of a pair meet the machine in the same state. A step lasts from the end of the one before to its own end: reading and collating
rows, the passes, clipping, the optimizer, logging. Processor time leaves out what other programs take. Full training beside
itself shows what the measurement is worth; without dropout, and with the embeddings alone frozen, it explains the rest.

Writes a Markdown report and the same figures as JSON beside it.
"""

import argparse
import contextlib
import io
import multiprocessing
import os
import platform
import re
import resource
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
from datasets import Dataset
from transformers import PrinterCallback, TrainerCallback, TrainingArguments, set_seed
from transformers.models import xlm_roberta

from tasks import load_task
from xstilts.checkpoint import load_tokenizer
from xstilts.errors import UserError, run_script, say
from xstilts.freezing import freeze
from xstilts.json_files import write_json
from xstilts.layers import parse_layers
from xstilts.prefix_cache import cache_prefix
from xstilts.training import StiltsTrainer

ROOT = Path(__file__).resolve().parents[1]
SHAPE = {"vocab_size": 30_000, "num_hidden_layers": 12, "max_position_embeddings": 514, "type_vocab_size": 1}
ON_CPU = {"hidden_size": 256, "num_attention_heads": 4, "intermediate_size": 1024}
ON_GPU = {"hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072}
BATCH, LENGTHS, WARM_UP = 16, (24, 72), 2  # rows of a step; tokens of a row, from and to; steps that are not timed
# What is in a row: (--freeze_layers, dropout, whether the output of the frozen layers is cached). FULL stands on both sides.
FULL, LIVE, CACHED, ALL = "none", "9", "9, cached", "12"
LOWEST, NO_DROPOUT = "embeddings alone", "none, without dropout"
RUNS = {FULL: ("none", 0.1, False), **{count: (count, 0.1, False) for count in ("3", "6", LIVE, ALL)}}
RUNS |= {CACHED: ("9", 0.1, True), LOWEST: ("0", 0.1, False), NO_DROPOUT: ("none", 0.0, False)}
OPTIONS = {"eval_strategy": "no", "save_strategy": "no", "logging_steps": 10, "disable_tqdm": True, "report_to": "none"}
OPTIONS |= {"per_device_train_batch_size": BATCH, "per_device_eval_batch_size": BATCH, "learning_rate": 1e-5}
PRELOAD = "transformers.trainer transformers.models.xlm_roberta.modeling_xlm_roberta datasets evaluate peft".split()
PACKAGES = "torch transformers datasets accelerate numpy".split()
NOTE = """Rows that are more than 10 percent from the model: {far}. It counts passes through the layers, a way back as two ways
there: (3L - 2k) / 3L, and cached (L - k) / L. It leaves out what these runs show, by {by}: the gradients of the embeddings take
{embeddings:.1%} of a step of full training; dropout, which frozen layers do not have, takes {dropout:.1%}; the optimizer
{optimizer:.1%}. A way back through all layers takes {backward:.1f} times as long as a way there.

With 9 layers frozen and no cache, an epoch is {live:.2f} times as fast as full training; with a cache the first one, which fills
it, {first:.2f} times, and every later one **{later:.2f} times**."""


class Turns(TrainerCallback):
    """Takes a step when it hears of it from `pipe`; tells seconds, processor seconds, those of the optimizer, MB at the peak."""

    def __init__(self, pipe):
        self.pipe, self.optimizer = pipe, 0.0

    def wait(self):
        """Until it is this process's turn; EOFError when there is none any more."""
        self.pipe.recv()
        self.before = used()

    def on_pre_optimizer_step(self, args, state, control, **kwargs):
        self.optimizer = -used()[0]

    def on_optimizer_step(self, args, state, control, **kwargs):
        self.optimizer += used()[0]

    def on_step_end(self, args, state, control, **kwargs):
        """The step is over."""
        self.pipe.send([*(used() - self.before), self.optimizer, peak_mb()])
        self.wait()


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


def train(pipe, name, steps, cuda):
    """Train as RUNS say, in `Turns`; the first turn computes what is cached."""
    selection, dropout, is_cached = RUNS[name]
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.suppress(EOFError),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        set_seed(0)
        rates = {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
        config = xlm_roberta.XLMRobertaConfig(**SHAPE, **(ON_GPU if cuda else ON_CPU), **rates, num_labels=3)
        model, task = xlm_roberta.XLMRobertaForSequenceClassification(config), load_task("mnli")
        freeze(model, parse_layers(selection, SHAPE["num_hidden_layers"]))
        tokenizer = load_tokenizer(ROOT / "demo" / "encoder")
        arguments = TrainingArguments(folder, max_steps=steps, use_cpu=not cuda, **OPTIONS)
        trainer = StiltsTrainer(task, model, arguments, tokenizer, rows(steps))
        trainer.remove_callback(PrinterCallback)
        trainer.add_callback(turns := Turns(pipe))
        turns.wait()
        cache_prefix(trainer, f"{folder}/cache" if is_cached else None)
        turns.on_step_end(None, None, None)
        trainer.train()


def rows(steps):
    """Features of random pieces, an epoch of `steps` steps."""
    rng = np.random.default_rng(0)
    ids = [rng.integers(5, 400, length).tolist() for length in rng.integers(*LENGTHS, steps * BATCH, endpoint=True)]
    columns = {"input_ids": ids, "attention_mask": [[1] * len(row) for row in ids], "labels": [0] * len(ids)}
    return Dataset.from_dict(columns)


def run_pair(name, steps, cuda):
    """Train as `name` says beside full training: (steps + 1, 2, 4) figures of `Turns`, full training first; before the first step
    stands what the cache took."""
    with contextlib.ExitStack() as stack:
        pipes = [stack.enter_context(process(run, steps, cuda)) for run in (FULL, name)]
        told = np.zeros((steps + 1, 2, 4))
        for number in range(steps + 1):
            for turn in (number % 2, 1 - number % 2):
                pipes[turn].send("your turn")
                told[number, turn] = pipes[turn].recv()
    return told


@contextlib.contextmanager
def process(name, steps, cuda):
    """A process that trains, as the pipe to it: forked from one that has the imports and nothing else, or for a GPU, which forks
    may not use, started anew."""
    context = multiprocessing.get_context("spawn" if cuda else "forkserver")
    multiprocessing.set_forkserver_preload(PRELOAD)
    here, there = context.Pipe()
    trainer = context.Process(target=train, args=(there, name, steps, cuda), daemon=True)
    trainer.start()
    there.close()
    try:
        yield here
    except EOFError as error:
        raise UserError(f"the process that trains '{name}' died; what it said stands above") from error
    finally:
        here.close()
        trainer.join()


def figures(told):
    """Of the (pairs, steps + 1, 2, 4) figures of a configuration: medians over steps, then over pairs."""
    full, own = np.moveaxis(told[:, 1 + WARM_UP :], 2, 0)
    milliseconds, filled = 1e3 * np.median(own, axis=(0, 1)), np.median(told[:, 0, 1, 0]) / (told.shape[1] - 1)
    found = {"ms": milliseconds[0], "processor_ms": milliseconds[1], "peak_mb": np.median(told[:, -1, 1, 3])}
    found |= {"optimizer": np.median(own[..., 2] / own[..., 0]), "filling": filled / np.median(full[..., 0])}
    ratios = np.median(own[..., :2] / full[..., :2], axis=1)  # of each pair
    found |= {"time": np.median(ratios[:, 0]), "time_min": ratios[:, 0].min(), "time_max": ratios[:, 0].max()}
    found["processor_time"] = np.median(ratios[:, 1])
    return {key: float(value) for key, value in found.items()}


def machine(cuda):
    """What it ran on."""
    cpu = Path("/proc/cpuinfo")
    names = re.findall(r"^model name\s*: (.*)$", cpu.read_text(), re.MULTILINE) if cpu.exists() else []
    found = {"processor": names[0] if names else platform.processor(), "cores": os.cpu_count()}
    found |= {"threads": torch.get_num_threads(), "gpu": torch.cuda.get_device_name() if cuda else None}
    return found | {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}


def expected(name):
    """The model of a row: (3L - 2k) / 3L, and cached (L - k) / L; None for those that it is not about."""
    depth, counts = SHAPE["num_hidden_layers"], {FULL: 0, **{count: int(count) for count in RUNS if count.isdigit()}}
    return 1 - int(LIVE) / depth if name == CACHED else 1 - 2 * counts[name] / (3 * depth) if name in counts else None


def render(results):
    """The figures as Markdown."""
    where, found, sizes = results["machine"], results["runs"], results["encoder"]
    layers, width, pieces = (sizes[name] for name in ("num_hidden_layers", "hidden_size", "vocab_size"))
    versions = ", ".join(f"{name} {where[name]}" for name in ("python", *PACKAGES))
    lines = [
        "# What freezing layers saves",
        f"{where['gpu'] or where['processor']}, {where['cores']} cores, {where['threads']} threads; {versions}.",
        f"{layers} layers of {width}, {pieces:,} pieces; {BATCH} rows of {LENGTHS[0]} to {LENGTHS[1]} tokens a step; "
        f"{results['pairs']} pairs of runs of {results['steps']} steps. Times are medians; ratios to full training too, with the "
        "lowest and the highest pair's. What is compared: [README.md](README.md).",
        table(found), explanation(found, "time" if where["gpu"] else "processor_time"),
    ]  # fmt: skip
    return "\n\n".join(lines) + "\n"


def table(found):
    """A row for each configuration."""
    lines = ["| frozen layers | ms per step | ratio | model | ratio of processor time | peak memory, MB |"]
    lines += ["|---|---|---|---|---|---|"]
    for name, row in found.items():
        model = "" if expected(name) is None else f"{expected(name):.3f}"
        ratio = f"{row['time']:.3f} ({row['time_min']:.3f} to {row['time_max']:.3f}) | {model}"
        lines += [f"| {name} | {row['ms']:.1f} | {ratio} | {row['processor_time']:.3f} | {row['peak_mb']:.0f} |"]
    return "\n".join(lines)


def explanation(found, kind):
    """Which rows are far from the model, what it leaves out by one `kind` of ratio, and what a cache makes of an epoch."""
    gaps = {name: row["time"] / expected(name) - 1 for name, row in found.items() if expected(name)}
    live, later = found[LIVE]["time"], found[CACHED]["time"]
    return NOTE.format(
        far=", ".join(f"{name} ({gap:+.0%})" for name, gap in gaps.items() if abs(gap) > 0.1) or "none",
        by=kind.replace("_", " "),
        embeddings=1 - found[LOWEST][kind],
        dropout=1 - found[NO_DROPOUT][kind],
        optimizer=found[FULL]["optimizer"],
        backward=found[LOWEST][kind] * (1 - found[LOWEST]["optimizer"]) / found[ALL][kind] - 1,
        live=1 / live,
        first=1 / (later + found[CACHED]["filling"]),
        later=1 / later,
    )


def main(argv=None):
    """Measure, print and write; `argv` is the command line without the program's name."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results-freezing.md", help="the report")
    parser.add_argument("--steps", type=int, default=10, help="steps of a run, warm-up included")
    parser.add_argument("--pairs", type=int, default=3, help="how often every pair of runs is repeated")
    parser.add_argument("--cuda", action="store_true", help="on the GPU, of which CUDA_VISIBLE_DEVICES leaves one")
    args = parser.parse_args(argv)
    if args.cuda and not torch.cuda.is_available():
        raise UserError("--cuda: torch finds no GPU here; leave it out")
    told = {name: [] for name in RUNS}
    for number in range(args.pairs):
        for name in RUNS:
            told[name].append(run_pair(name, args.steps, args.cuda))
        say(f"{number + 1} of {args.pairs} rounds")
    results = {"machine": machine(args.cuda), "steps": args.steps, "pairs": args.pairs, "warm_up": WARM_UP}
    results |= {"batch": BATCH, "lengths": LENGTHS, "encoder": {**SHAPE, **(ON_GPU if args.cuda else ON_CPU)}}
    results["runs"] = {name: figures(np.array(pairs)) for name, pairs in told.items()}
    write_json(args.output.with_suffix(".json"), results)
    args.output.write_text(render(results), encoding="utf-8")
    print(render(results))


if __name__ == "__main__":
    run_script(main)
