"""That results are the same whatever is on or off: the weights after some steps of each way, and dev scores over seeds.

Padding, micro-batches, the backend of attention and the fused optimizer change in which order numbers are added up, no more. So
in float32 and without dropout, whose masks depend on the shapes of batches, all ways end with the same weights but for rounding.
With dropout, and with rows put into steps by length, other weights are found that have to be as good.
"""

import contextlib
import io
import math
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from datasets import load_from_disk
from transformers import PrinterCallback, TrainingArguments, set_seed

from benchmarks.measuring import table
from benchmarks.peers import DYNAMIC, GROUPED, LIMITED, OURS, PADDED, WAYS
from benchmarks.preparing import ROOT, make_world
from tasks import load_task
from xstilts import qa
from xstilts.checkpoint import load_model, load_tokenizer
from xstilts.examples import featurize
from xstilts.languages import load_selection, load_training
from xstilts.training import StiltsTrainer

STEPS, BATCH, ENCODER = 12, 8, "2x64"
SEEDS, DEV_TASKS, DEV_STEPS = (1, 2, 3), ("mnli", "udpos"), 500
DEMO = str(ROOT / "demo" / "encoder")
ROUNDING = 1e-3  # of how far training moved the weights
T_VALUE = 2.78  # 95 % of Student's distribution with 4 degrees of freedom: two means over three seeds each


def measure(args, works):
    """{"weights": {task: {way: differences}}} of all `works` with a stock peer; with --long {"dev": {task: {way: a score per
    seed}}} beside it."""
    found = {"weights": {work.task: differences(work) for work in works}}
    return found | ({"dev": dev_scores(Path(works[0].folder))} if args.long else {})


# ---- weights --------------------------------------------------------------------------------------------------------


def differences(work):
    """{way: how far its losses and weights are from those with everything off after STEPS steps}: "loss" as a share of the loss,
    "weights" as a share of the way that training moved them (both vectors' lengths).

    Everything off is stock and padded to the maximum; in question answering, where stock counts padding among the possible
    answers, it is ours in one batch a step.
    """
    task = load_task(work.task)
    epochs = math.ceil(STEPS * BATCH / len(load_from_disk(work.rows)))
    work = replace(work, encoder=ENCODER, batch=BATCH, micro=2, epochs=epochs, dropout=0.0, cuda=False, logging_steps=1)
    off = replace(work, micro=BATCH, attention="eager", optim="adamw_torch")
    start = weights(work.model(task, load_tokenizer(work.tokenizer)))
    losses, end = trained(off, OURS if task.type is qa.TYPE else PADDED)
    found = {}
    for way in (PADDED, DYNAMIC, OURS, LIMITED):
        own_losses, own_end = trained(work, way)
        loss = max(abs(a - b) / a for a, b in zip(losses, own_losses, strict=True))
        found[way] = {"loss": loss, "weights": float((own_end - end).norm() / (end - start).norm())}
    return found


def trained(work, way):
    """(the loss of every step, all weights after the last)."""
    trainer = WAYS[way].trainer(work)
    with contextlib.redirect_stdout(io.StringIO()):
        trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry], weights(trainer.model)


def weights(model):
    """All weights in one vector, but for those that make no difference to any loss: biases of keys, of answers' starts and ends,
    and of the scores of choices. Their gradients are nothing but rounding, which Adam makes as large as any other."""
    idle = (".key.bias", "qa_outputs.bias", *["classifier.bias"] * ("MultipleChoice" in type(model).__name__))
    return torch.cat([each.detach().flatten() for name, each in model.named_parameters() if not name.endswith(idle)])


# ---- dev scores -----------------------------------------------------------------------------------------------------


def dev_scores(folder):
    """{task: {way: a dev score for each of SEEDS}} of the demo's encoder on the generated world, with XLM-R's dropout."""
    world, tokenizer, found = make_world(folder / "world of dev scores"), load_tokenizer(DEMO), {}
    for task in map(load_task, DEV_TASKS):
        rows = load_training(task, "en", world), load_selection(task, "en", world)
        train, dev = (featurize(task, each, tokenizer, {"max_seq_length": 128}) for each in rows)
        score = partial(dev_score, task, tokenizer, train, (rows[1], dev), folder)
        found[task.name] = {way: [score(WAYS[way].options, seed) for seed in SEEDS] for way in (OURS, LIMITED, GROUPED)}
    return found


def dev_score(task, tokenizer, train, dev, folder, options, seed):
    """The task's headline score after DEV_STEPS steps of one way, by its `options`, and seed."""
    limit, strategy = options.get("limit"), options.get("strategy", "random")
    set_seed(seed)
    model = load_model(DEMO, task, report=lambda line: None)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.1  # the demo's encoder has none
    arguments = TrainingArguments(
        str(folder), max_steps=DEV_STEPS, learning_rate=5e-4, warmup_steps=0.1, seed=seed, use_cpu=True, disable_tqdm=True,
        per_device_train_batch_size=32 if limit else 8, gradient_accumulation_steps=1 if limit else 4, save_strategy="no",
        report_to="none", train_sampling_strategy=strategy, per_device_eval_batch_size=64,
    )  # fmt: skip
    trainer = StiltsTrainer(task, model, arguments, tokenizer, train, dev, max_tokens_per_batch=limit)
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    return trainer.dev_scores()[task.metric.headline]


# ---- report ---------------------------------------------------------------------------------------------------------


def targets(figures):
    """(what, wanted, measured, met) of everything that has a target."""
    largest = [max(ways[way]["weights"] for way in (OURS, LIMITED)) for ways in figures["weights"].values()]
    what = f"weights with everything on and off, {' / '.join(figures['weights'])}"
    wanted, measured = f"below {ROUNDING} of what training moved", " / ".join(f"{value:.0e}" for value in largest)
    found = [(what, wanted, measured, max(largest) < ROUNDING)]
    for task, ways in figures.get("dev", {}).items():
        for way in (LIMITED, GROUPED):
            error, difference = standard_error(ways[way], ways[OURS]), np.mean(ways[way]) - np.mean(ways[OURS])
            wanted, measured = f"below {T_VALUE} standard errors", f"{difference:+.1f}, standard error {error:.1f}"
            met = bool(abs(difference) < T_VALUE * error)
            found.append((f"{task}, dev score of {way} less that of {OURS}", wanted, measured, met))
    return found


def standard_error(*scores):
    """That of the difference of two means over as many seeds."""
    return math.sqrt(sum(np.var(each, ddof=1) for each in scores) / len(scores[0]))


def render(figures):
    """The figures as Markdown."""
    rows = [
        [task, way, f"{each['loss']:.1e}", f"{each['weights']:.1e}"]
        for task, ways in figures["weights"].items()
        for way, each in ways.items()
    ]
    blocks = [WEIGHTS, table(["task", "way", "loss of a step, at most", "weights"], rows)]
    if "dev" in figures:
        rows = [
            [task, way, f"{np.mean(scores):.1f}", ", ".join(f"{score:.1f}" for score in scores)]
            for task, ways in figures["dev"].items()
            for way, scores in ways.items()
        ]
        blocks += [DEV, table(["task", "way", "mean", "each seed"], rows)]
    return "\n\n".join(blocks)


WEIGHTS = (
    f"The same results: {ENCODER}, float32 without dropout, at least {STEPS} steps of {BATCH} rows. Differences from everything "
    "off (padded to the maximum, plain attention, an optimizer that is not fused), of losses as a share of the loss, of weights "
    "as a share of the way that training moved them. Stock question answering counts padding among the possible answers, so that "
    "what it learns depends on the padding; there everything off is ours, in one batch a step."
)
DEV = f"Dev scores of the demo's encoder after {DEV_STEPS} steps with dropout on the generated world, seeds {SEEDS}:"
