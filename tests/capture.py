"""Runs phase scripts in one or several processes and keeps what the Trainer computed, for tests/test_training.py.

    python tests/capture.py OUTPUT.pt COMMAND.json ...
    torchrun --nproc_per_node 2 tests/capture.py OUTPUT.pt COMMAND.json ...

Each COMMAND.json is a list of arguments of run_intermediate.py. OUTPUT.pt gets, per command: the gradients before the first
optimizer step, the logged losses, the dev predictions and the final weights; and, also in OUTPUT.pt.1 of a second process, the
task of every micro-batch.
"""

import json
import os
import sys
from pathlib import Path

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import torch

import run_intermediate
from xstilts import callbacks, multitask, training
from xstilts.base.processes import leave_together


def capture(command):
    """Everything of one run that must not depend on how its batch is dealt out."""
    kept = {"gradients": {}, "losses": [], "eval_losses": [], "tasks": []}

    def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs):
        if state.global_step == 0:
            kept["gradients"] = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}

    def on_log(self, args, state, control, logs=None, **kwargs):
        kept["losses"] += [logs["loss"]] if "loss" in logs else []
        kept["eval_losses"] += [logs["eval_loss"]] if "eval_loss" in logs else []

    def forward(self, model, inputs):
        kept["tasks"] += [self.task.name] if model.training else []
        return stock_forward(self, model, inputs)

    def decode(self, examples, features, logits):
        kept["predictions"] = self.task.type.decode(logits, features, examples.rows, self.task.labels)
        return kept["predictions"]

    def dev_scores(self):
        kept["weights"] = self.model.state_dict()
        return {self.task.metric.headline: 0.0, "average": 0.0}

    callbacks.StopOnNonFiniteLoss.on_pre_optimizer_step = on_pre_optimizer_step
    callbacks.StopOnNonFiniteLoss.on_log = on_log
    trainer = multitask.MultitaskTrainer if "+" in command[command.index("--task") + 1] else training.StiltsTrainer
    stock_forward, trainer.forward = trainer.forward, forward
    training.StiltsTrainer.decode = decode
    training.StiltsTrainer.dev_scores = multitask.MultitaskTrainer.dev_scores = dev_scores
    run_intermediate.main(command)
    trainer.forward = stock_forward
    kept["gradients"] = {name.removeprefix("module."): gradient for name, gradient in kept["gradients"].items()}
    return kept


if __name__ == "__main__":
    torch.set_num_threads(1)
    output, *commands = sys.argv[1:]
    results = [capture(json.loads(Path(command).read_text("utf-8"))) for command in commands]
    rank = os.environ.get("RANK", "0")
    torch.save(
        results if rank == "0" else [kept["tasks"] for kept in results], output if rank == "0" else f"{output}.{rank}"
    )
    leave_together()
