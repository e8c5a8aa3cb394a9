"""XLM-R Large on a GPU in bf16: training in full, with the lower half frozen, with LoRA, and evaluation, on rows of one length.

Weights are random, of the real shape. Without a GPU nothing is measured: absolute times of that encoder count there only.
"""

import contextlib
import io
import tempfile

import numpy as np
import torch
from datasets import Dataset
from transformers import AutoModelForSequenceClassification, PrinterCallback, TrainerCallback, TrainingArguments

from benchmarks.measuring import encoder_config, forward_operations, gemm_peak, table, used
from run_target import TargetArguments
from tasks import load_task
from xstilts.checkpoint import load_tokenizer
from xstilts.layerwise import select_trained
from xstilts.training import StiltsTrainer

TITLE = "XLM-R Large on a GPU"
SHAPE, VOCABULARY = "24x1024", 250_002
LENGTHS, BATCH, STEPS, WARM_UP = (128, 256, 384), 32, 20, 5
# way: (options of run_target.py, passes there and back that it needs: frozen layers have no way back, and LoRA no gradients of
# the weights it adapts)
WAYS = {"full": ({}, 3.0), "lower half frozen": ({"freeze_layers": "half"}, 2.0), "LoRA": ({"peft": "lora"}, 2.0)}
EVALUATION = ("evaluation", 1.0)
WANTED = (256, "full", 0.5)  # of the measured peak


class Clock(TrainerCallback):
    """Keeps when each step ended."""

    def __init__(self):
        self.ends = []

    def on_step_end(self, args, state, control, **kwargs):
        """The weights are updated."""
        self.ends.append(used()[0])


def measure(args):
    """{"rows": [figures of a length and a way]} on a GPU, else {"rows": []}."""
    if not args.cuda:
        return {"rows": []}
    peak = gemm_peak("cuda", torch.bfloat16)
    config = encoder_config(SHAPE, VOCABULARY, num_labels=3)
    rows = [row for length in LENGTHS for row in of_length(config, length, args.tokenizer, peak, BATCH, STEPS)]
    return {"peak": peak, "rows": rows}


def of_length(config, length, tokenizer, peak, batch, steps):
    """Figures of all ways of training, and of evaluation, of rows of one length."""
    found = []
    for way, (options, passes) in WAYS.items():
        spent, memory, evaluated = seconds(config, length, tokenizer, options, batch, steps)
        found.append(figures(config, length, way, passes, spent, memory, peak, batch))
    found.append(figures(config, length, *EVALUATION, evaluated, None, peak, batch))
    return found


def figures(config, length, way, passes, spent, memory, peak, batch):
    """What a batch took, and the share of the peak at which the encoder's operations were done."""
    operations = passes * forward_operations(config, [length] * batch)
    row = {"length": length, "way": way, "ms": 1e3 * spent, "tokens_per_second": batch * length / spent}
    return row | {"peak_share": operations / spent / peak, "memory_mb": memory}


def seconds(config, length, tokenizer, options, batch, steps):
    """(seconds of a training step, MB at its peak on a GPU, seconds of a batch of evaluation), as run_target.py has them."""
    options = {
        name: str(config.num_hidden_layers // 2) if value == "half" else value for name, value in options.items()
    }
    gpu, tokenizer, clock = torch.cuda.is_available(), load_tokenizer(tokenizer), Clock()
    rng = np.random.default_rng(0)
    rows = [[0, *rng.integers(5, config.vocab_size, length - 2).tolist(), 2] for _ in range(batch * (steps + WARM_UP))]
    columns = {"input_ids": rows, "attention_mask": [[1] * length] * len(rows), "labels": [0] * len(rows)}
    features = Dataset.from_dict({**columns, "example": list(range(len(rows)))})
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        arguments = TrainingArguments(
            folder, max_steps=steps + WARM_UP, per_device_train_batch_size=batch, per_device_eval_batch_size=batch, bf16=gpu,
            use_cpu=not gpu, learning_rate=1e-5, logging_steps=1000, save_strategy="no", report_to="none", disable_tqdm=True,
        )  # fmt: skip
        model, _ = select_trained(
            AutoModelForSequenceClassification.from_config(config), TargetArguments(task="xnli", **options)
        )
        trainer = StiltsTrainer(load_task("xnli"), model, arguments, tokenizer, features, None, [clock])
        trainer.remove_callback(PrinterCallback)
        if gpu:
            torch.cuda.reset_peak_memory_stats()
        trainer.train()
        memory = torch.cuda.max_memory_allocated() / 1e6 if gpu else None
        trainer.predict(features.select(range(batch)))
        before = used()[0]
        trainer.predict(features)
        evaluated = (used()[0] - before) * batch / len(features)
    return float(np.median(np.diff(clock.ends[WARM_UP:]))), memory, evaluated


def render(found):
    """A row for each length and way."""
    if not found["rows"]:
        return "No GPU was at hand (`--cuda`): these figures are owed."
    header = ["length", "way", "ms per batch", "tokens/s", "of the measured peak", "MB"]
    rows = [
        [
            each["length"], each["way"], f"{each['ms']:.1f}", f"{each['tokens_per_second']:,.0f}", f"{each['peak_share']:.0%}",
            "" if each["memory_mb"] is None else f"{each['memory_mb']:,.0f}",
        ]
        for each in found["rows"]
    ]  # fmt: skip
    note = (
        f"{SHAPE}, {VOCABULARY:,} pieces, {BATCH} rows a step, bf16; the peak is {found['peak'] / 1e12:,.0f} TFLOP/s."
    )
    return f"{note}\n\n{table(header, rows)}"


def targets(found):
    """Half of the peak in full training at length 256."""
    length, way, wanted = WANTED
    what, wanted_text = f"XLM-R Large, {way} training at length {length}", f"at least {wanted:.0%} of the measured peak"
    for row in found["rows"]:
        if (row["length"], row["way"]) == (length, way):
            return [(what, wanted_text, f"{row['peak_share']:.0%}", row["peak_share"] >= wanted)]
    return [(what, wanted_text, "no GPU", None)]
