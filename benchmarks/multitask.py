"""What several tasks in one run cost beyond the steps of each task alone: time of an optimizer step, and peak memory.

Mixtures of tasks of all types, without and with masked language modelling, are compared with runs of their tasks alone, all as
run_intermediate.py trains them. The k-th step of a task has the same rows in both. Every run is a process of its own, and they
take turns after each step; who goes first rotates. A second copy of the mixture shows what the measurement itself is worth; new
processes for every pair of runs average over what distinguishes processes. A step lasts from the end of the one before to its own
end: drawing, reading and collating rows, the passes, clipping, the optimizer, logging. All processes hold the data of all tasks.

The encoder is small, since what a mixture adds to a step weighs less in a larger one; its weights are random.
"""

import contextlib
import io
import tempfile
from pathlib import Path

import numpy as np
from datasets import disable_progress_bars
from transformers import PrinterCallback, XLMRobertaForMaskedLM, set_seed
from transformers.utils import logging as transformers_logging

from benchmarks.measuring import encoder_config, gemm_peak, process, spread, steadier, table
from benchmarks.steps import OPERATIONS, PEAK_MB, SECONDS, StepTurns, take_turn
from run_intermediate import ARGUMENTS
from tasks import load_task, load_tasks
from xstilts.arguments import TEXT, check_training_arguments, parse
from xstilts.checkpoint import load_tokenizer, save_tokenizer
from xstilts.coverage import inputs_of
from xstilts.errors import UserError, say
from xstilts.examples import featurize
from xstilts.languages import load_training
from xstilts.mixing import step_inputs
from xstilts.mlm import load_text, text_task
from xstilts.multitask import Part, load_parts, trainer_for

TITLE = "Several tasks in one run against each alone"
TASKS = ("mnli", "squad", "hellaswag", "udpos")  # one of each type
MIXTURES = {"mixture with MLM": (*TASKS, TEXT), "mixture": TASKS}  # the first one alone unless --long
WARM_UP = 2  # steps of each task: the first ones allocate memory, and the optimizer's state of a head
SHAPE, ROWS = "6x256", 400  # of the encoder; training examples of each task
OPTIONS = """--max_seq_length 128 --doc_stride 32 --per_device_train_batch_size 8 --gradient_accumulation_steps 1
    --mixing uniform --mlm_ratio 0.25 --data_seed 204 --eval_strategy no --save_strategy no --load_best_model_at_end false
    --logging_steps 10 --disable_tqdm true --report_to none"""  # with this ratio and seed all are drawn about equally often
HEADER = (
    "task | steps timed | ms per step in the mixture | alone | floor | ratio | ratio of processor time | peak alone, MB"
)


# ---- the process of a run -------------------------------------------------------------------------------------------


def train(pipe, line, names):
    """Train the tasks called `names` as run_intermediate.py does with the arguments `line`; tells whose the steps are, and then
    takes turns."""
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
        trainer.add_callback(turns := StepTurns(pipe, trainer.model))
        trainer.remove_callback(PrinterCallback)
        pipe.send([names[task] for task in drawn])
        turns.wait()
        trainer.train()


def load_tasks_with_rows(args, training_args, tokenizer):
    """{task: its Part, without a selection set} of all tasks and masked language modelling."""
    rows = [(task, load_training(task, "en", args.data_dir, ROWS)) for task in load_tasks(args.task)]
    rows.append((text_task(args.mlm_probability), load_text(args.mlm_text_files, None, ROWS)[0]))
    size, parts = step_inputs(training_args, training_args.gradient_accumulation_steps), {}
    for task, train in rows:
        parts[task.name] = Part(task=task, args=args, step_inputs=size, train=train, dev=None)
        parts[task.name].train_features = featurize(task, train, tokenizer, vars(args))
    return parts


# ---- measuring ------------------------------------------------------------------------------------------------------


def measure(args):
    """All figures."""
    steps, count = (8, 6) if args.long else (7, 2)
    with tempfile.TemporaryDirectory() as folder:
        line, pairs = prepare(Path(folder), args), {mixture: [] for mixture in [*MIXTURES][: None if args.long else 1]}
        for number in range(count):
            for mixture, told in pairs.items():
                told.append(run_pair(line, MIXTURES[mixture], steps))
            say(f"  {number + 1} of {count} pairs of runs")
    peak = gemm_peak("cuda" if args.cuda else "cpu")
    return {
        "settings": {"steps": steps, "pairs": count, "warm_up": WARM_UP, "options": OPTIONS.split(), "encoder": SHAPE},
        "kind": steadier(args.cuda),
        "gemm_peak": peak,
        "mixtures": {mixture: compare(told, peak) for mixture, told in pairs.items()},
    }


def prepare(folder, args):
    """Write the encoder, and text for masked language modelling, into `folder`; returns arguments of run_intermediate.py."""
    set_seed(0)
    tokenizer, encoder, text = load_tokenizer(args.tokenizer), folder / "encoder", folder / "text.txt"
    XLMRobertaForMaskedLM(encoder_config(SHAPE, len(tokenizer))).save_pretrained(encoder)
    save_tokenizer(tokenizer, encoder)
    task = load_task(TASKS[0])
    lines = (
        " ".join(" ".join(each).split()) for each in inputs_of(task, load_training(task, "en", args.data_dir, ROWS))
    )
    text.write_text("\n".join(lines), encoding="utf-8")
    paths = {
        "model_name_or_path": encoder,
        "output_dir": folder / "runs",
        "data_dir": args.data_dir,
        "mlm_text_files": text,
    }
    line = f"--task {'+'.join(TASKS)} {OPTIONS} {'' if args.cuda else '--use_cpu'}".split()
    return [*line, *(text for name, path in paths.items() for text in (f"--{name}", str(path)))]


def run_pair(line, names, steps):
    """Train the mixture of `names`, its twin, and each of its tasks alone, step by step: {task: (steps, 3 runs, 5) figures of
    `steps`}; the runs are the mixture, its twin and the task alone.

    Raises UserError where the mixture draws a task too rarely.
    """
    line = [*line, "--max_steps", str(steps * len(names))]
    method = "forkserver" if "--use_cpu" in line else "spawn"
    with contextlib.ExitStack() as stack:
        pipes = []
        for run in (names, names, *((name,) for name in names)):
            pipes.append(stack.enter_context(process("+".join(run), train, line, run, method=method)))
        drawn, *_ = [pipe.recv() for pipe in pipes]
        if min(map(drawn.count, names)) <= WARM_UP:
            raise UserError(f"{steps} steps leave a task of {'+'.join(names)} without one after {WARM_UP} of warm-up")
        told = {task: [] for task in names}
        for number, task in enumerate(drawn):
            row, runs = [None] * 3, (pipes[0], pipes[1], pipes[2 + names.index(task)])
            for turn in range(number, number + 3):
                row[turn % 3] = take_turn(runs[turn % 3])
            told[task].append(row)
    return {task: np.array(rows) for task, rows in told.items()}


# ---- figures --------------------------------------------------------------------------------------------------------


def compare(pairs, peak):
    """Figures of a mixture: per task, over all of its steps, of its twin against it, and peak memory."""
    tasks, peaks = {}, {}
    for task in pairs[0]:
        timed = [told[task][WARM_UP:] for told in pairs]
        middle = 1e3 * np.median([np.median(each[..., SECONDS], axis=0) for each in timed], axis=0)
        floor = 3e3 * np.mean([each[:, 2, OPERATIONS].mean() for each in timed]) / peak
        tasks[task] = {"steps": len(timed[0]), "mixture_ms": middle[0], "alone_ms": middle[2], "floor_ms": floor}
        tasks[task] |= ratios(pairs, [task], 0, 2)
        peaks[task] = float(np.median([told[task][-1, 2, PEAK_MB] for told in pairs]))
    peaks["mixture"] = float(np.median([max(rows[-1, 0, PEAK_MB] for rows in told.values()) for told in pairs]))
    return {
        "tasks": tasks,
        "all": ratios(pairs, tasks, 0, 2),
        "twin": ratios(pairs, tasks, 1, 0),
        "peak_mb": peaks,
        "peak_ratio": peaks["mixture"] / max(peaks[task] for task in tasks),
    }


def ratios(pairs, tasks, run, other):
    """Seconds of one run over those of the other, and processor seconds: the median over the pairs of runs, and the range."""
    kinds = ("time", "processor_time")
    return {
        kind: spread([ratio(told, tasks, run, other, column) for told in pairs]) for column, kind in enumerate(kinds)
    }


def ratio(told, tasks, run, other, column):
    """That of one pair of runs: the median over the pairs of steps of a task, weighted by the time that its steps take."""
    total = weights = 0
    for task in tasks:
        first, second = (told[task][WARM_UP:, each, column] for each in (run, other))
        weight = len(second) * np.median(second)
        total, weights = total + weight * np.median(first / second), weights + weight
    return float(total / weights)


# ---- report ---------------------------------------------------------------------------------------------------------


def targets(figures):
    """Steps of a mixture cost less than 5 percent more."""
    for mixture, found in figures["mixtures"].items():
        over = found["all"][figures["kind"]]["median"] - 1
        yield f"{mixture}: its steps over those of its tasks alone", "below +5%", f"{over:+.1%}", over < 0.05


def render(figures):
    """The figures as Markdown."""
    chosen = figures["settings"]
    return "\n\n".join([
        f"Encoder {chosen['encoder']}, 8 rows a step; {chosen['pairs']} pairs of runs of {chosen['steps']} steps for each task. "
        "Ratios are medians, with those of the lowest and the highest pair. The floor is three passes forward at the speed of "
        f"the fastest multiplication, {figures['gemm_peak'] / 1e9:,.0f} GFLOP/s.",
        *(section(mixture, found) for mixture, found in figures["mixtures"].items()),
    ])  # fmt: skip


def section(mixture, found):
    """A mixture against its tasks alone."""
    rows = []
    for task, own in found["tasks"].items():
        times = (f"{own[name]:.1f}" for name in ("mixture_ms", "alone_ms", "floor_ms"))
        rows.append([task, own["steps"], *times, *as_text(own), f"{found['peak_mb'][task]:.0f}"])
    rows.append([f"**all steps, {mixture}**", "", "", "", "", *as_text(found["all"]), ""])
    rows.append(["the same mixture again, over the mixture", "", "", "", "", *as_text(found["twin"]), ""])
    memory = f"{found['peak_mb']['mixture']:.0f} MB, {found['peak_ratio']:.3f} times the largest of its tasks alone"
    return f"{table(HEADER.split(' | '), rows)}\n\nPeak memory of the {mixture}: {memory}."


def as_text(found):
    """Two ratios."""
    spreads = (found["time"], found["processor_time"])
    return [f"{each['median']:.3f} ({each['min']:.3f} to {each['max']:.3f})" for each in spreads]
