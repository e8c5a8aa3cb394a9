"""How time and memory grow: with the number of rows in loading, tokenising and evaluating, with their length in a training step.

Rows are those of MultiNLI in `--data_dir` again and again, each with a word of its own, so that no two are the same. They lie in
the publisher's file, and every size is loaded, tokenised and evaluated in a process of its own, after a warm-up with few rows.
"""

import contextlib
import io
import json
import tempfile
from functools import partial
from pathlib import Path

import datasets
import numpy as np
import torch
from transformers import TrainingArguments, set_seed

from benchmarks.measuring import (
    KINDS,
    encoder_config,
    forward_operations,
    in_turns,
    medians,
    peak_mb_of,
    process,
    steadier,
    table,
    used,
)
from benchmarks.turns import listen, start
from tasks import load_task
from xstilts.checkpoint import load_tokenizer
from xstilts.examples import featurize
from xstilts.languages import load_training
from xstilts.training import StiltsTrainer

TITLE = "Growth with data and with length"
TASK = "mnli"
PHASES = ("load", "tokenise", "evaluate")
TIMES = (1, 4, 16)
ROWS, LONG_ROWS, ROUNDS, LONG_ROUNDS, WARM_UP = 6_000, 24_000, 2, 3, 500
TINY = "1x64"  # what evaluates: what is done beside the encoder has to show
LENGTHS = (32, 128, 512)
TOKENS, GPU_TOKENS, FEW_TOKENS = 2_048, 65_536, 512  # of a training step
VOCABULARY = 1_000  # of its encoder: embeddings do not grow with the length
TOLERANCE, CONSTANT = 0.05, 1.1


def measure(args):
    """All figures."""
    with tempfile.TemporaryDirectory() as folder:
        data = of_data(args, Path(folder))
    return {"cuda": args.cuda, "encoder": args.encoder, "data": data, "length": of_length(args)}


def exponent(sizes, values):
    """That of the power law through some points, by least squares of the logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


# ---- data -----------------------------------------------------------------------------------------------------------


def of_data(args, folder):
    """{"rows": sizes, "phases": {phase: {"time", "processor_time": {"seconds", "exponent"}, "memory_mb": peaks}}}. Each is a list
    over the sizes, of the smallest in all rounds: other programs only add to them."""
    sizes = [times * (LONG_ROWS if args.long else ROWS) for times in TIMES]
    rounds = LONG_ROUNDS if args.long else ROUNDS
    base = load_training(load_task(TASK), "en", args.data_dir).rows[:]
    for size in (WARM_UP, *sizes):
        write_rows(folder / str(size), base, size)
    found = np.array([[of_size(args, folder, size) for size in sizes] for _ in range(rounds)])
    least, phases = found.min(axis=0).transpose(1, 2, 0).tolist(), {}
    for name, (*spent, peaks) in zip(PHASES, least, strict=True):
        powers = [{"seconds": each, "exponent": exponent(sizes, each)} for each in spent]
        phases[name] = {**dict(zip(KINDS, powers, strict=True)), "memory_mb": peaks}
    return {"rows": sizes, "phases": phases}


def write_rows(folder, base, count):
    """MultiNLI's training file with `count` rows made of the columns `base`."""
    path = folder / "mnli" / "multinli_1.0_train.jsonl"
    path.parent.mkdir(parents=True)
    with open(path, "w", encoding="utf-8") as file:
        for number in range(count):
            text_a, text_b, label = (
                base[column][number % len(base["label"])] for column in ("text_a", "text_b", "label")
            )
            row = {"gold_label": label, "sentence1": f"{text_a} {made_up(number)}", "sentence2": text_b}
            file.write(json.dumps(row) + "\n")


def made_up(number):
    """A word of four syllables that belongs to a number below 12,960,000."""
    syllables = [consonant + vowel for consonant in "bdfgklmnprstvz"[:12] for vowel in "aeiou"]
    return "".join(syllables[number // 60**place % 60] for place in range(4))


def of_size(args, folder, size):
    """(phases, 3): seconds, processor seconds and MB at the peak, beyond what the process had after the imports."""
    method = "spawn" if args.cuda else "forkserver"
    with (
        tempfile.TemporaryDirectory(dir=folder) as own,
        process("growth", phases, args, folder, size, own, method=method) as pipe,
    ):
        imported, found = start(pipe, "growth"), []
        for _ in PHASES:
            pipe.send("go on")
            spent, peak = listen(pipe, "growth")
            found.append([*spent, peak - imported])
        return found


def phases(pipe, args, folder, size, own):
    """Load, tokenise and evaluate `size` rows, each when told to; tells seconds and processor seconds."""
    datasets.disable_progress_bars()
    datasets.config.HF_DATASETS_CACHE = own  # no features of an earlier round
    pipe.send("imported")
    pipe.recv()
    task, tokenizer = load_task(TASK), load_tokenizer(args.tokenizer)
    set_seed(0)
    config = encoder_config(TINY, len(tokenizer), num_labels=len(task.labels))
    options = TrainingArguments(
        own, per_device_eval_batch_size=64, use_cpu=not args.cuda, report_to="none", disable_tqdm=True
    )
    trainer = StiltsTrainer(task, task.type.auto_model.from_config(config), options, tokenizer)
    steps = {
        "load": lambda folder: load_training(task, "en", str(folder)),
        "tokenise": lambda examples: (examples, featurize(task, examples, tokenizer, {"max_seq_length": 128})),
        "evaluate": lambda both: trainer.score(*both, trainer.outputs({"en": both[1]})["en"]),
    }

    def take(result, wait, tell):
        for phase in PHASES:
            wait()
            before = used()
            result = steps[phase](result)
            tell((used() - before).tolist())

    with contextlib.redirect_stdout(io.StringIO()):
        take(folder / str(WARM_UP), lambda: None, lambda spent: None)
        pipe.send("ready")
        take(folder / str(size), pipe.recv, pipe.send)


# ---- length ---------------------------------------------------------------------------------------------------------


def of_length(args):
    """Of a training step over as many tokens in rows of each of LENGTHS: {"lengths", "tokens", "time", "processor_time":
    microseconds for a token, "predicted": operations for a token, "memory_kb" for a token}, and of each the exponent."""
    tokens = GPU_TOKENS if args.cuda else TOKENS
    steps = {str(length): training_step(args.encoder, length, tokens, args.cuda) for length in LENGTHS}
    spent = medians(in_turns(steps, 5 if args.long else 2))
    del steps
    found = {kind: [spent[str(length)][kind] / tokens * 1e6 for length in LENGTHS] for kind in KINDS}
    config = encoder_config(args.encoder, VOCABULARY)
    found["predicted"] = [3 * forward_operations(config, [length]) / length for length in LENGTHS]
    peak = partial(peak_mb_of, two_steps, args.encoder)
    pairs = [[peak(length, count, args.cuda) for count in (FEW_TOKENS, tokens)] for length in LENGTHS]
    found["memory_kb"] = [(most - least) * 1e3 / (tokens - FEW_TOKENS) for least, most in pairs]
    exponents = {name: exponent(LENGTHS, values) for name, values in found.items()}
    grown = (found["memory_kb"][-1] - found["memory_kb"][0]) * 1e3 / (LENGTHS[-1] - LENGTHS[0])
    grown /= config.num_hidden_layers * config.num_attention_heads
    return {"lengths": LENGTHS, "tokens": tokens, **found, "exponents": exponents, "bytes_of_a_pair": grown}


def training_step(encoder, length, tokens, cuda):
    """A function that takes one optimizer step over `tokens` tokens in rows of `length`, nothing of them padding."""
    set_seed(0)
    device, task = torch.device("cuda" if cuda else "cpu"), load_task(TASK)
    config = encoder_config(encoder, VOCABULARY, num_labels=len(task.labels))
    model = task.type.auto_model.from_config(config).to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)
    ids = torch.randint(5, VOCABULARY, (tokens // length, length), device=device)
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": torch.zeros_like(ids[:, 0])}

    def step():
        with torch.autocast(device.type, torch.bfloat16, enabled=cuda):
            loss = model(**inputs).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def two_steps(encoder, length, tokens, cuda):
    """The second step finds the state of the optimizer."""
    for step in [training_step(encoder, length, tokens, cuda)] * 2:
        step()


# ---- report ---------------------------------------------------------------------------------------------------------


def targets(figures):
    """(what, wanted, measured, met) of everything that has a target."""
    kind, phases = steadier(figures["cuda"]), figures["data"]["phases"]
    exponents = [phases[phase][kind]["exponent"] for phase in PHASES]
    shares = [phases[phase]["memory_mb"][-1] / phases[phase]["memory_mb"][0] for phase in PHASES]
    linear, constant = all(abs(each - 1) <= TOLERANCE for each in exponents), max(shares) <= CONSTANT
    measured = [" / ".join(f"{each:.2f}" for each in values) for values in (exponents, shares)]
    whats = (f"exponent of {kind.replace('_', ' ')} with rows", f"peak memory with {TIMES[-1]} times the rows")
    wanted = (f"1.0 within {TOLERANCE}", f"constant: at most {CONSTANT} times")
    names = [f"{' / '.join(PHASES)}, {what}" for what in whats]
    return [*zip(names, wanted, measured, (linear, constant), strict=True)]


def render(figures):
    """The figures as Markdown."""
    data, length, kind = figures["data"], figures["length"], steadier(figures["cuda"])
    each_size = [[f"{rows:,} rows, {unit}" for rows in data["rows"]] for unit in ("s", "MB")]
    rows = [of_phase(name, phase, kind, data["rows"][-1]) for name, phase in data["phases"].items()]
    lines = [
        [name, *(f"{value / scale:,.1f}" for value in length[key]), f"{length['exponents'][key]:+.3f}"]
        for key, (name, scale) in MEASURES.items()
    ]
    peaks = data["phases"][PHASES[-1]]["memory_mb"]
    grown = (peaks[-1] - peaks[0]) * 1e3 / (data["rows"][-1] - data["rows"][0])
    return "\n\n".join([
        DATA.format(kind=kind.replace("_", " "), grown=grown),
        table(["phase", *each_size[0], "rows/s", "exponent", *each_size[1]], rows),
        STEP.format(encoder=figures["encoder"], **length),
        table(["for a token", *(f"{each} tokens" for each in length["lengths"]), "exponent"], lines),
    ])  # fmt: skip


def of_phase(name, phase, kind, most):
    """A row of the table of data; rates are those of the largest size, `most`."""
    seconds, memory = phase[kind]["seconds"], phase["memory_mb"]
    cells = [name, *(f"{each:.2f}" for each in seconds), f"{most / seconds[-1]:,.0f}", f"{phase[kind]['exponent']:.3f}"]
    return [*cells, *(f"{each:.0f}" for each in memory)]


MEASURES = {"time": ("time, µs", 1), "processor_time": ("processor time, µs", 1)}
MEASURES |= {"predicted": ("million operations", 1e6), "memory_kb": ("memory, kB", 1)}
DATA = (
    f"Seconds ({{kind}}) and peak memory beyond the imports, with tokenizer and encoder ({TINY}) in it; the smallest of all "
    "rounds. An evaluation keeps what predictions and scores are made of, {grown:.1f} kB for each row."
)
STEP = (
    "A training step of {encoder} over {tokens:,} tokens in rows of another length each. An exponent of 0 is a cost that does "
    "not depend on the length; that of the operations is what attention, quadratic in the length, predicts. Memory grows by "
    "{bytes_of_a_pair:.0f} bytes for each layer, head and pair of tokens: with dropout, attention on a CPU keeps its weights."
)
