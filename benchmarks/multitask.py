"""What several tasks in one run cost beyond the steps of each task alone: time of an optimizer step, and peak memory.

    OMP_NUM_THREADS=1 python benchmarks/multitask.py [--output benchmarks/results-multitask.md] [--steps 8] [--pairs 4] [--cuda]

Mixtures of tasks of all types, without and with masked language modelling, are compared with runs of their tasks alone, all as
run_intermediate.py trains them. The k-th step of a task has the same rows in both. Every run is a process of its own, and they
take turns after each step, so that both steps of a pair meet the machine in the same state; who goes first rotates. A second copy
of the mixture shows what the measurement itself is worth; new processes for every pair of runs average over what distinguishes
processes. A step lasts from the end of the one before to its own end: drawing, reading and collating rows, the passes, clipping,
the optimizer, logging. Processor time leaves out what other programs take. Peak memory is that of each process; all of them hold
the data of all tasks.

Writes a Markdown report and the same figures as JSON beside it. Rows are those of the generated world; the encoder has random
weights, since what a step costs does not depend on what was learned.
"""

import argparse
import contextlib
import io
import multiprocessing
import os
import platform
import re
import resource
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
from datasets import disable_progress_bars
from transformers import PrinterCallback, TrainerCallback, XLMRobertaConfig, XLMRobertaForMaskedLM, set_seed
from transformers.utils import logging as transformers_logging

from run_intermediate import ARGUMENTS
from tasks import load_tasks
from xstilts.arguments import TEXT, check_training_arguments, parse
from xstilts.checkpoint import load_tokenizer
from xstilts.errors import UserError, run_script, say
from xstilts.examples import featurize
from xstilts.json_files import write_json
from xstilts.languages import load_training
from xstilts.mixing import step_inputs
from xstilts.mlm import load_text, text_task
from xstilts.multitask import Part, load_parts, trainer_for

ROOT = Path(__file__).resolve().parents[1]
TASKS = ("mnli", "squad", "hellaswag", "udpos")  # one of each type
MIXTURES = {"mixture": TASKS, "mixture with MLM": (*TASKS, TEXT)}
WARM_UP = 2  # steps of each task: the first ones allocate memory, and the optimizer's state of a head
SIZES = {"num_hidden_layers": 6, "hidden_size": 256, "num_attention_heads": 4, "intermediate_size": 1024}
SIZES |= {"hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1}  # XLM-R's
OPTIONS = """--max_seq_length 128 --doc_stride 32 --per_device_train_batch_size 8 --gradient_accumulation_steps 1
    --mixing uniform --mlm_ratio 0.25 --data_seed 204 --eval_strategy no --save_strategy no --load_best_model_at_end false
    --logging_steps 10 --disable_tqdm true --report_to none"""  # with this ratio and seed all are drawn about equally often
PRELOAD = "transformers.trainer transformers.models.xlm_roberta.modeling_xlm_roberta datasets evaluate peft".split()
PACKAGES = "torch transformers datasets accelerate numpy".split()


# ---- the process of a run -------------------------------------------------------------------------------------------


class Turns(TrainerCallback):
    """Tells `pipe` the tasks of the steps, then takes a step whenever it hears of it, and tells `used` at its end."""

    def __init__(self, pipe, tasks):
        self.pipe, self.tasks = pipe, tasks

    def on_train_begin(self, args, state, control, **kwargs):
        """The first step waits for its turn."""
        self.pipe.send(self.tasks)
        self.wait()

    def on_step_end(self, args, state, control, **kwargs):
        """The weights are updated."""
        self.pipe.send([*(used() - self.before), peak_mb()])
        self.wait()

    def wait(self):
        """Until it is this process's turn; EOFError when there is none any more."""
        self.pipe.recv()
        self.before = used()


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


def train(pipe, line, names):
    """Train the tasks called `names` in `Turns`, as run_intermediate.py does with the arguments `line`."""
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    disable_progress_bars()
    with contextlib.suppress(EOFError), contextlib.redirect_stdout(io.StringIO()):
        args, training_args = parse(ARGUMENTS, "intermediate", line)
        check_training_arguments(training_args)
        tokenizer = load_tokenizer(args.model_name_or_path)
        every = load_tasks_with_rows(args, training_args, tokenizer)
        parts = [every[name] for name in names]
        set_seed(training_args.seed)
        trainer = trainer_for(parts, load_parts(parts, tokenizer, args), args, training_args, tokenizer)
        steps = training_args.max_steps
        drawn = trainer.mixture.sequence(steps) if len(parts) > 1 else [0] * steps
        trainer.add_callback(Turns(pipe, [names[task] for task in drawn]))
        trainer.remove_callback(PrinterCallback)
        trainer.train()


def load_tasks_with_rows(args, training_args, tokenizer):
    """{task: its Part, without a selection set} of all tasks and masked language modelling."""
    rows = [(task, load_training(task, "en", args.data_dir)) for task in load_tasks(args.task)]
    rows.append((text_task(args.mlm_probability), load_text(args.mlm_text_files, None, None)[0]))
    size, parts = step_inputs(training_args, training_args.gradient_accumulation_steps), {}
    for task, train in rows:
        parts[task.name] = Part(task=task, args=args, step_inputs=size, train=train, dev=None)
        parts[task.name].train_features = featurize(task, train, tokenizer, vars(args))
    return parts


# ---- measuring ------------------------------------------------------------------------------------------------------


def prepare(folder, data_dir, cuda):
    """Write the encoder, and without `data_dir` the world, into `folder`; returns arguments of run_intermediate.py."""
    if data_dir is None:
        data_dir = folder / "world"
        script = [sys.executable, ROOT / "demo" / "make_world.py", "--output_dir", data_dir, "--scale", "0.1"]
        subprocess.run(script, check=True)
    set_seed(0)
    demo, encoder = ROOT / "demo" / "encoder", folder / "encoder"
    XLMRobertaForMaskedLM(XLMRobertaConfig.from_pretrained(demo, **SIZES)).save_pretrained(encoder)
    load_tokenizer(demo).save_pretrained(encoder)
    paths = {"model_name_or_path": encoder, "output_dir": folder / "runs", "data_dir": data_dir}
    paths["mlm_text_files"] = Path(data_dir) / "text" / "en.txt"
    line = f"--task {'+'.join(TASKS)} {OPTIONS} {'' if cuda else '--use_cpu'}".split()
    return [*line, *(text for name, path in paths.items() for text in (f"--{name}", str(path)))]


def run_pair(line, names, steps):
    """Train the mixture of `names`, its twin, and each of its tasks alone, step by step: {task: (steps, 3 runs, 3) seconds,
    processor seconds and MB at the peak so far}; the runs are the mixture, its twin and the task alone.

    Raises UserError where the mixture draws a task too rarely.
    """
    line = [*line, "--max_steps", str(steps * len(names))]
    with contextlib.ExitStack() as stack:
        pipes = [stack.enter_context(process(line, run)) for run in (names, names, *((name,) for name in names))]
        drawn, *_ = [pipe.recv() for pipe in pipes]
        if min(map(drawn.count, names)) <= WARM_UP:
            raise UserError(
                f"--steps {steps} leaves a task of {'+'.join(names)} without a step after {WARM_UP} of warm-up"
            )
        told = {task: [] for task in names}
        for number, task in enumerate(drawn):
            row, runs = [None] * 3, (pipes[0], pipes[1], pipes[2 + names.index(task)])
            for turn in range(number, number + 3):
                runs[turn % 3].send("your turn")
                row[turn % 3] = runs[turn % 3].recv()
            told[task].append(row)
    return {task: np.array(rows) for task, rows in told.items()}


@contextlib.contextmanager
def process(line, names):
    """A process that trains, as the pipe to it: forked from one that has the imports and nothing else, or for a GPU, which forks
    may not use, started anew."""
    context = multiprocessing.get_context("forkserver" if "--use_cpu" in line else "spawn")
    multiprocessing.set_forkserver_preload(PRELOAD)
    here, there = context.Pipe()
    trainer = context.Process(target=train, args=(there, line, names), daemon=True)
    trainer.start()
    there.close()
    try:
        yield here
    except EOFError as error:
        raise UserError(f"the process that trains {'+'.join(names)} died; what it said stands above") from error
    finally:
        here.close()
        trainer.join()


def measure(args, folder):
    """All figures."""
    line, pairs = prepare(folder, args.data_dir, args.cuda), {mixture: [] for mixture in MIXTURES}
    for number in range(args.pairs):
        for mixture, names in MIXTURES.items():
            pairs[mixture].append(run_pair(line, names, args.steps))
        say(f"{number + 1} of {args.pairs} pairs of runs")
    return {mixture: compare(told) for mixture, told in pairs.items()}


# ---- figures --------------------------------------------------------------------------------------------------------


def compare(pairs):
    """Figures of a mixture: per task, over all of its steps, of its twin against it, and peak memory."""
    tasks, peaks = {}, {}
    for task in pairs[0]:
        middle = np.median([np.median(told[task][WARM_UP:, :, 0], axis=0) for told in pairs], axis=0) * 1e3
        milliseconds = {"mixture_ms": middle[0], "alone_ms": middle[2]}
        tasks[task] = {"steps": len(pairs[0][task]) - WARM_UP, **milliseconds, **ratios(pairs, [task], 0, 2)}
        peaks[task] = float(np.median([told[task][-1, 2, 2] for told in pairs]))
    peaks["mixture"] = float(np.median([max(rows[-1, 0, 2] for rows in told.values()) for told in pairs]))
    return {
        "tasks": tasks,
        "all": ratios(pairs, tasks, 0, 2),
        "twin": ratios(pairs, tasks, 1, 0),
        "peak_mb": peaks,
        "peak_ratio": peaks["mixture"] / max(peaks[task] for task in tasks),
    }


def ratios(pairs, tasks, run, other):
    """Seconds of one run over those of the other, and processor seconds: the median over the pairs of runs, and the range."""
    found = {}
    for column, name in enumerate(("time", "processor_time")):
        values = [ratio(told, tasks, run, other, column) for told in pairs]
        found[name] = {"median": float(np.median(values)), "min": min(values), "max": max(values)}
    return found


def ratio(told, tasks, run, other, column):
    """That of one pair of runs: the median over the pairs of steps of a task, weighted by the time that its steps take."""
    total = weights = 0
    for task in tasks:
        first, second = (told[task][WARM_UP:, each, column] for each in (run, other))
        weight = len(second) * np.median(second)
        total, weights = total + weight * np.median(first / second), weights + weight
    return float(total / weights)


def machine(cuda):
    """What it ran on."""
    cpu = Path("/proc/cpuinfo")
    names = re.findall(r"^model name\s*: (.*)$", cpu.read_text(), re.MULTILINE) if cpu.exists() else []
    found = {"processor": names[0] if names else platform.processor(), "cores": os.cpu_count()}
    found |= {"threads": torch.get_num_threads(), "gpu": torch.cuda.get_device_name() if cuda else None}
    return {**found, "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}}


# ---- report ---------------------------------------------------------------------------------------------------------


def render(results):
    """The figures as Markdown."""
    where = results["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in where["versions"].items())
    lines = [
        "# What several tasks in one run cost",
        f"{where['gpu'] or where['processor']}, {where['cores']} cores, {where['threads']} threads; {versions}.",
        f"{results['pairs']} pairs of runs. Times are medians; ratios too, with those of the lowest and the highest pair. What "
        "is compared: [README.md](README.md).",
        *(table(mixture, found) for mixture, found in results["mixtures"].items()),
    ]
    return "\n\n".join(lines) + "\n"


def table(mixture, found):
    """A mixture against its tasks alone."""
    lines = [
        f"| task | steps timed | ms per step, {mixture} | alone | ratio | ratio of processor time | peak memory alone, MB |"
    ]
    lines += ["|---|---|---|---|---|---|---|"]
    for task, row in found["tasks"].items():
        times = f"{row['mixture_ms']:.1f} | {row['alone_ms']:.1f}"
        lines += [f"| {task} | {row['steps']} | {times} | {as_text(row)} | {found['peak_mb'][task]:.0f} |"]
    lines += [f"| **all steps** | | | | {as_text(found['all'])} | |"]
    lines += [f"| the same mixture again, over the mixture | | | | {as_text(found['twin'])} | |"]
    memory = f"{found['peak_mb']['mixture']:.0f} MB, {found['peak_ratio']:.3f} times the largest of its tasks alone"
    return "\n".join(lines) + f"\n\nPeak memory of the {mixture}: {memory}."


def as_text(found):
    """Two ratios."""
    spreads = (found["time"], found["processor_time"])
    return " | ".join(f"{each['median']:.3f} ({each['min']:.3f} to {each['max']:.3f})" for each in spreads)


def main(argv=None):
    """Measure, print and write; `argv` is the command line without the program's name."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results-multitask.md", help="the report")
    parser.add_argument("--steps", type=int, default=8, help="steps per task of a mixture, warm-up included")
    parser.add_argument("--pairs", type=int, default=4, help="how often every run is repeated")
    parser.add_argument("--data_dir", type=Path, help="the generated world; without it one is made and thrown away")
    parser.add_argument("--cuda", action="store_true", help="on the GPU, of which CUDA_VISIBLE_DEVICES leaves one")
    args = parser.parse_args(argv)
    if args.cuda and not torch.cuda.is_available():
        raise UserError("--cuda: torch finds no GPU here; leave it out")
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(args, Path(folder))
    settings = {"steps": args.steps, "pairs": args.pairs, "warm_up": WARM_UP, "options": OPTIONS.split()}
    results = {"machine": machine(args.cuda), **settings, "encoder": SIZES, "mixtures": figures}
    write_json(args.output.with_suffix(".json"), results)
    args.output.write_text(render(results), encoding="utf-8")
    print(render(results))


if __name__ == "__main__":
    run_script(main)
