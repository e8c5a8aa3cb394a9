"""The Trainer counts right: the same numbers however a batch is dealt out, rows in order, and no way past a loss of nan.

Tolerances: float32 sums in another order. Gradients and losses agree to 2e-5 relative, weights after an epoch of SGD to 1e-6.
"""

import itertools
import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from accelerate.data_loader import BatchSamplerShard
from conftest import ROOT, save_tiny_encoder
from datasets import Dataset
from safetensors.torch import load_file
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import BatchSampler
from transformers import (
    DataCollatorForMultipleChoice,
    DataCollatorForTokenClassification,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
    set_seed,
)
from transformers.trainer_callback import TrainerControl, TrainerState

import run_intermediate
import run_target
from tasks import load_task
from xstilts.base import UserError, read_json
from xstilts.callbacks import StopOnNonFiniteLoss
from xstilts.checkpoint import load_model, load_tokenizer
from xstilts.examples import featurize, load_examples
from xstilts.loaders import Collator
from xstilts.order import EpochSampler, TrainingRows, without_fillers
from xstilts.resuming import is_over
from xstilts.training import StiltsTrainer

TASKS = ("mnli", "hellaswag", "udpos", "squad", "squad+mnli+hellaswag+udpos")
# processes, batch per device, accumulation steps: 8 examples a step in each; 19 rows, so that the last step has 3 (tagging, QA:
# windows)
LAYOUTS = {"one process": (1, 8, 1), "accumulation": (1, 2, 4), "two processes": (2, 4, 1), "both": (2, 2, 2)}
BOUNDED = {"bounded": (1, 2, 4), "two bounded processes": (2, 4, 1)}  # the same with --max_tokens_per_batch


@pytest.fixture(scope="module")
def captured(world, tmp_path_factory):
    """{layout: {task: what tests/capture.py kept}}."""
    folder = tmp_path_factory.mktemp("layouts")
    encoder = save_tiny_encoder(folder / "encoder", hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    layouts = LAYOUTS | BOUNDED
    commands = {layout: write_commands(folder, layout, encoder, world) for layout in layouts}
    kept = {}
    for processes in (1, 2):
        own = [layout for layout, (count, *_) in layouts.items() if count == processes]
        output = folder / f"{processes}.pt"
        launcher = ["-m", "torch.distributed.run", "--nproc_per_node", str(processes)] if processes > 1 else []
        files = [file for layout in own for file in commands[layout]]
        subprocess.run(
            [sys.executable, *launcher, ROOT / "tests" / "capture.py", output, *files], check=True, timeout=300
        )
        results = iter(torch.load(output, weights_only=True))
        kept |= {layout: {task: next(results) for task in TASKS} for layout in own}
        if processes > 1:
            others = iter(torch.load(f"{output}.1", weights_only=True))
            for layout, task in itertools.product(own, TASKS):
                kept[layout][task]["tasks of the other process"] = next(others)
    return kept


def write_commands(folder, layout, encoder, world):
    """One file per task with the arguments of run_intermediate.py."""
    _, batch, accumulation = (LAYOUTS | BOUNDED)[layout]
    files = []
    for task in TASKS:
        name = f"{task}-{layout}".replace(" ", "-")
        arguments = f"""--task {task} --model_name_or_path {encoder} --data_dir {world} --output_dir {folder / name} --use_cpu
            --max_train_samples 19 --max_eval_samples 8 --num_train_epochs 1 --per_device_train_batch_size {batch} --seed 7
            --gradient_accumulation_steps {accumulation} --per_device_eval_batch_size 4 --optim sgd --learning_rate 0.1
            --warmup_steps 0 --logging_steps 1 --max_seq_length 64 --doc_stride 16 --max_grad_norm 1.0 --save_strategy no
            --load_best_model_at_end false --mixing uniform {"--max_tokens_per_batch 64" if layout in BOUNDED else ""}"""
        files.append(folder / f"{name}.json")
        files[-1].write_text(json.dumps(arguments.split()))
    return files


@pytest.mark.parametrize("layout", [layout for layout in LAYOUTS | BOUNDED if layout != "one process"])
@pytest.mark.parametrize("task", TASKS)
def test_a_step_is_the_same_however_it_is_dealt_out(captured, task, layout):
    """A1, A2: accumulation steps, processes and bounds on tokens neither scale nor reweigh loss and gradient, in full and in
    short last steps."""
    expected, found = captured["one process"][task], captured[layout][task]
    assert len(expected["losses"]) >= 3  # two full steps and a short one at least
    assert found["losses"] == pytest.approx(expected["losses"], rel=2e-5)
    assert found["gradients"].keys() == expected["gradients"].keys()
    for name, gradient in expected["gradients"].items():
        torch.testing.assert_close(found["gradients"][name], gradient, rtol=2e-5, atol=1e-7, msg=f"gradient of {name}")
    for name, weight in expected["weights"].items():
        torch.testing.assert_close(found["weights"][name], weight, rtol=1e-5, atol=1e-6, msg=f"final {name}")
    assert found["predictions"] == expected["predictions"]
    assert found["eval_losses"] == pytest.approx(expected["eval_losses"], rel=0.02)  # a mean of means over batches


@pytest.mark.parametrize("layout", LAYOUTS)
def test_all_processes_and_micro_batches_of_a_step_are_of_one_task(captured, layout):
    """A process with another task would wait for the others for ever (models of several heads; DDP)."""
    accumulation, several = LAYOUTS[layout][2], TASKS[-1]
    found = captured[layout][several]
    steps = found["tasks"][::accumulation]
    assert found["tasks"] == [task for task in steps for _ in range(accumulation)]
    assert steps == captured["one process"][several]["tasks"]
    assert len({*steps}) >= 3
    assert found.get("tasks of the other process", found["tasks"]) == found["tasks"]


def test_processes_agree_on_what_they_add_up(encoder, world, tmp_path):
    """One process has a row for the first time, the other one again: both must log the same tasks, or one waits for ever."""
    options = f"""--task mnli+copa --model_name_or_path {encoder} --data_dir {world} --output_dir {tmp_path} --use_cpu --seed 1
        --max_train_samples 3 --max_eval_samples 2 --per_device_train_batch_size 1 --gradient_accumulation_steps 1
        --max_steps 12 --logging_steps 1 --max_seq_length 64"""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", ROOT / "run_intermediate.py"]
    subprocess.run([*launcher, *options.split()], check=True, timeout=60)
    found = read_json(tmp_path / "run.json")["complexity"]
    assert 2 <= found["mnli"]["prequential_inputs"] <= 3


@pytest.mark.parametrize("layout", BOUNDED)
@pytest.mark.parametrize("task", TASKS)
def test_bounds_on_tokens_make_more_micro_batches_of_a_step(captured, task, layout):
    whole, found = captured["one process"][task]["tasks"], captured[layout][task]["tasks"]
    assert len(found) > len(whole)
    assert [name for name, _ in itertools.groupby(found)] == [name for name, _ in itertools.groupby(whole)]


class InOurOrder(Trainer):
    """The stock Trainer, which draws as random an order from another generator."""

    def _get_train_sampler(self, train_dataset=None):
        return EpochSampler([(0, len(self.train_dataset), len(self.train_dataset))], self.args.seed, 8)


def weights_after(task, encoder, world, folder, micro, maximum=None, **options):
    """(losses, weights before, weights after) of 12 steps of 8 rows. With a `maximum` of tokens everything is off: the stock
    Trainer, rows padded to it, plain attention, an optimizer that is not fused. For questions ours is in its place, in one batch
    a step: stock counts padding among the possible answers."""
    set_seed(7)
    args = TrainingArguments(
        output_dir=str(folder), use_cpu=True, seed=7, num_train_epochs=2, per_device_train_batch_size=micro, logging_steps=1,
        gradient_accumulation_steps=8 // micro, learning_rate=1e-2, save_strategy="no", report_to="none", disable_tqdm=True,
        optim="adamw_torch" if maximum else "adamw_torch_fused",
    )  # fmt: skip
    tokenizer, model = load_tokenizer(encoder), load_model(encoder, task)
    examples = load_examples(task, "train", "en", world, 48)
    rows = featurize(task, examples, tokenizer, {"max_seq_length": 96, "doc_stride": 16}).select(range(48))
    if maximum:
        model.set_attn_implementation("eager")
    if maximum and task.name != "squad":
        padding = {"padding": "max_length", "max_length": maximum}
        trainer = InOurOrder(model, args, STOCK[task.name](tokenizer, **padding), rows)
    else:
        trainer = StiltsTrainer(task, model, args, tokenizer, rows, **options)
    before = learnt(model)
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return np.array(losses), before, learnt(model)


STOCK = {
    "mnli": DataCollatorWithPadding,
    "hellaswag": DataCollatorForMultipleChoice,
    "udpos": DataCollatorForTokenClassification,
}


def learnt(model):
    """All weights in one vector, but for those that make no difference to any loss: biases of keys, of answers' starts and ends,
    and of the scores of choices. Their gradients are rounding alone, which Adam makes as large as any other."""
    idle = (".key.bias", "qa_outputs.bias", *["classifier.bias"] * ("MultipleChoice" in type(model).__name__))
    return torch.cat([each.detach().flatten() for name, each in model.named_parameters() if not name.endswith(idle)])


@pytest.mark.parametrize("name", ["mnli", "hellaswag", "udpos", "squad"])
def test_what_makes_training_fast_leaves_the_weights_as_stock_finds_them(name, world, tmp_path, capsys):
    """Padding, micro-batches by length, the backend of attention and the fused optimizer change in which order numbers are added
    up, no more: below 0.001 of the way that training moved the weights, without dropout, whose masks depend on shapes."""
    task = load_task(name)
    encoder = save_tiny_encoder(tmp_path / "encoder", hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    losses, before, after = weights_after(task, encoder, world, tmp_path, 8, maximum=96)
    assert len(losses) == 12
    for micro, options in ((2, {}), (8, {"max_tokens_per_batch": 128})):
        own_losses, _, own = weights_after(task, encoder, world, tmp_path, micro, **options)
        assert own_losses == pytest.approx(losses, rel=1e-4)
        assert (own - after).norm() < 1e-3 * (after - before).norm()


def test_every_row_is_seen_once_per_epoch_and_fillers_come_last():
    sampler = EpochSampler([(0, 19, 19)], seed=1, micro=8)
    order = list(sampler)
    assert sorted(order[:19]) == list(range(19))
    assert order[19:] == [19, 20, 21, 22, 23]
    assert list(sampler) == order  # the same epoch again, as after an interruption
    sampler.set_epoch(1)
    assert sorted(sampler) == sorted(order)
    assert list(sampler) != order


@pytest.mark.parametrize("labels", [1, [3, 5], [0, -100, 2]])
def test_fillers_weigh_nothing(labels):
    rows = TrainingRows([{"input_ids": [0], "labels": labels}])
    assert rows[0]["labels"] == labels
    assert set(np.atleast_1d(rows[1]["labels"])) == {-100}


@pytest.mark.parametrize("lengths", [None, np.arange(70) % 7 + 1])
@pytest.mark.parametrize(
    ("rows", "micro", "accumulation", "processes"), [(64, 512, 1, 1), (65, 512, 4, 2), (70, 16, 4, 2)]
)
def test_fillers_do_not_go_through_the_model(rows, micro, accumulation, processes, lengths):
    """Memory and time are those of the rows that there are, filled up to a multiple of the processes."""
    lengths = None if lengths is None else lengths[:rows]
    sampler = EpochSampler([(0, rows, rows)], 1, micro, accumulation, processes, lengths)
    batches, dataset = BatchSampler(sampler, micro, drop_last=False), TrainingRows([{"labels": 0}] * rows)
    dealt = [[*BatchSamplerShard(batches, processes, rank)] for rank in range(processes)]
    sizes = [[len(without_fillers([dataset[row] for row in batch])) for batch in each] for each in dealt]
    assert all(min(each) >= 1 for each in sizes), "every process takes part in every step"
    assert rows <= sum(map(sum, sizes)) < rows + processes
    if lengths is not None:
        assert max(max(each) - min(each) for each in zip(*sizes, strict=True)) <= 1


@pytest.mark.parametrize("option", ["bf16_full_eval", "fp16_full_eval"])
def test_half_precision_of_evaluation_leaves_the_weights_alone(option, encoder, world, tmp_path, monkeypatch):
    seen, outputs = [], StiltsTrainer.batch_outputs
    passes = lambda self, model, batch: seen.append(torch.is_autocast_enabled("cpu")) or outputs(self, model, batch)  # noqa: E731
    monkeypatch.setattr(StiltsTrainer, "batch_outputs", passes)
    line = f"""--task mnli --model_name_or_path {encoder} --data_dir {world} --use_cpu --seed 1 --max_train_samples 20
        --max_eval_samples 4 --max_steps 2 --max_seq_length 64 --output_dir"""
    run_target.main([*line.split(), str(tmp_path / "fp32")])
    assert not any(seen)
    run_target.main([*line.split(), str(tmp_path / "half"), f"--{option}", "true"])
    assert seen[-1], "it has an effect"
    expected, found = (load_file(tmp_path / name / "model.safetensors") for name in ("fp32", "half"))
    for name, weight in expected.items():
        assert found[name].dtype == torch.float32
        assert torch.equal(found[name], weight), name


def test_a_batch_larger_than_the_data_is_the_data(encoder, world, tmp_path, monkeypatch):
    sizes, collate = [], Collator.__call__
    monkeypatch.setattr(Collator, "__call__", lambda self, rows: sizes.append(len(rows)) or collate(self, rows))
    line = f"""--task mnli --model_name_or_path {encoder} --data_dir {world} --output_dir {tmp_path} --use_cpu --seed 1
        --max_train_samples 20 --max_eval_samples 4 --per_device_train_batch_size 512 --gradient_accumulation_steps 1
        --max_steps 2 --max_seq_length 64"""
    run_intermediate.main(line.split())
    assert max(sizes) == 20


class Waits(TorchDispatchMode):
    """Counts the operations for which a program waits until a GPU has done all it was told."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        self.count += operation.name() in ("aten::_local_scalar_dense", "aten::nonzero", "aten::equal")
        return operation(*args, **(kwargs or {}))


def waits_and_passes(task, encoder, world, folder, steps, **options):
    """(waits, forward passes) of a training run of so many steps that logs nothing on its way."""
    args = TrainingArguments(
        output_dir=str(folder), use_cpu=True, max_steps=steps, per_device_train_batch_size=8, report_to="none",
        gradient_accumulation_steps=1, logging_steps=1000, save_strategy="no", disable_tqdm=True,
    )  # fmt: skip
    examples, passes = load_examples(task, "train", "en", world, 80), []
    tokenizer, model = load_tokenizer(encoder), load_model(encoder, task)
    features = featurize(task, examples, tokenizer, {"max_seq_length": 128, "doc_stride": 16})
    model.register_forward_pre_hook(lambda *_: passes.append(1))
    trainer = StiltsTrainer(task, model, args, tokenizer, features, (examples, features), **options)
    with Waits() as waits:
        trainer.train()
    return np.array([waits.count, len(passes)])


@pytest.mark.parametrize("options", [{}, {"max_tokens_per_batch": 100}])
@pytest.mark.parametrize("name", ["mnli", "udpos", "squad"])
def test_nothing_waits_for_the_device_within_a_step(encoder, world, tmp_path, name, options):
    """But transformers itself, once per pass, when it looks whether there is any padding."""
    task, run = load_task(name), (encoder, world, tmp_path)
    more, fewer = (waits_and_passes(task, *run, steps, **options) for steps in (6, 2))
    waits, passes = more - fewer
    assert passes >= 4
    assert waits <= passes


def trainer_for(task, encoder, folder, **options):
    """A Trainer that only predicts."""
    args = TrainingArguments(output_dir=str(folder), use_cpu=True, per_device_eval_batch_size=3, **options)
    return StiltsTrainer(task, load_model(encoder, task), args, load_tokenizer(encoder))


@pytest.mark.parametrize("strategy", ["random", "group_by_length"])
def test_predictions_keep_the_order_of_the_rows(encoder, world, tmp_path, strategy):
    """A3: the Trainer's length grouping reorders what it predicts."""
    task = load_task("mnli")
    trainer = trainer_for(task, encoder, tmp_path, train_sampling_strategy=strategy)
    examples = load_examples(task, "validation", "en", world, 20)
    features = featurize(task, examples, trainer.processing_class, {"max_seq_length": 256})
    found = trainer.predict(features).predictions
    assert len({len(ids) for ids in features["input_ids"]}) > 5
    for row, logits in zip(features, found, strict=True):
        alone = trainer.model.eval()(
            **trainer.processing_class.pad([{"input_ids": row["input_ids"]}], return_tensors="pt")
        )
        np.testing.assert_allclose(logits, alone.logits[0].detach(), atol=1e-6)


@pytest.mark.parametrize(("options", "dtype"), [({}, torch.float32), ({"bf16_full_eval": True}, torch.bfloat16)])
def test_whole_models_in_bfloat16_are_evaluated_so(encoder, world, tmp_path, options, dtype):
    task = load_task("mnli")
    trainer = trainer_for(task, encoder, tmp_path, **options)
    examples = load_examples(task, "validation", "en", world, 4)
    trainer.predict(featurize(task, examples, trainer.processing_class, {"max_seq_length": 64}))
    assert {parameter.dtype for parameter in trainer.model.parameters()} == {dtype}


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path):
    """A8: the Trainer shows nan as 0.0 and goes on."""
    args, state = TrainingArguments(output_dir=str(tmp_path)), TrainerState(global_step=3)
    for loss in (float("nan"), float("inf")):
        with pytest.raises(UserError, match=r"step 3.*learning_rate"):
            StopOnNonFiniteLoss().on_log(args, state, TrainerControl(), logs={"loss": loss})
    StopOnNonFiniteLoss().on_log(args, state, TrainerControl(), logs={"loss": 1.0, "grad_norm": 2.0})


@pytest.mark.parametrize("strategy", ["epoch", "steps", "no"])
def test_a_diverged_run_is_not_saved(encoder, world, tmp_path, strategy):
    """A8, whatever saves the checkpoint, and if nothing does: no run.json, no checkpoint, one clear line."""
    options = f"""--task mnli --model_name_or_path {encoder} --data_dir {world} --output_dir {tmp_path} --use_cpu
        --max_seq_length 64 --max_train_samples 24 --max_eval_samples 8 --num_train_epochs 3 --learning_rate 1e30
        --max_grad_norm 0 --per_device_train_batch_size 4
        --gradient_accumulation_steps 1 --save_strategy {strategy} --save_steps 4 --eval_steps 4
        --eval_strategy {strategy} --load_best_model_at_end {strategy != "no"}"""
    with pytest.raises(UserError, match="is nan at step"):
        run_intermediate.main(options.split())
    assert not list(tmp_path.glob("checkpoint-*"))
    assert not (tmp_path / "run.json").exists()


def test_the_end_of_training_is_recognised():
    """A4: resuming a finished run takes another step; an early-stopped one goes on to its last step."""
    stopped = {"TrainerControl": {"args": {"should_training_stop": True}}}
    assert is_over(TrainerState(global_step=20, max_steps=20))
    assert is_over(TrainerState(global_step=6, max_steps=20, stateful_callbacks=stopped))
    assert not is_over(TrainerState(global_step=6, max_steps=20))


def test_no_task_is_trained_in_half_precision(encoder, tmp_path):
    """A5: transformers 5 loads a bfloat16 checkpoint in bfloat16."""
    task = load_task("mnli")
    load_model(encoder, task).to(torch.bfloat16).save_pretrained(tmp_path)
    load_tokenizer(encoder).save_pretrained(tmp_path)
    model = load_model(str(tmp_path), task)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_padding_does_not_change_a_span_loss(encoder, world):
    """QA: end positions are chosen among real tokens, so a row's loss is the same beside a longer one."""
    task = load_task("squad")
    examples = load_examples(task, "train", "en", world, 6)
    tokenizer = load_tokenizer(encoder)
    features = featurize(task, examples, tokenizer, {"max_seq_length": 128, "doc_stride": 16})
    rows = sorted(features, key=lambda row: len(row["input_ids"]))
    model = load_model(encoder, task).eval()

    def logits(*rows):
        batch = task.type.collate(list(rows), tokenizer)
        batch.pop("labels")
        return task.type.logits(model(**batch), batch)[0].log_softmax(-1)

    assert len(rows[0]["input_ids"]) < len(rows[-1]["input_ids"])
    alone, together = logits(rows[0]), logits(rows[0], rows[-1])
    torch.testing.assert_close(together[:, : alone.shape[1]], alone, rtol=1e-5, atol=1e-6)


def test_training_rows_are_a_dataset():
    assert len(TrainingRows(Dataset.from_dict({"labels": [1, 2]}))) == 2
