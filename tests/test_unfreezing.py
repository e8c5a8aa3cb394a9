"""Gradual unfreezing really trains what it unfreezes, leaves alone what it has not yet, and goes on in the middle (A14)."""

import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from conftest import ROOT, save_tiny_encoder
from faults import training
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from test_layers import CONFIGS, LAYERS, build, loss_of
from test_multitask import intermediate
from test_resume import check_goes_on
from transformers import TrainerCallback, TrainingArguments

from tasks import load_task
from xstilts.adapters import add_lora
from xstilts.base import UserError, read_json
from xstilts.checkpoint import load_model, load_tokenizer
from xstilts.examples import featurize, load_examples
from xstilts.freezing import check_frozen, freeze, thaw
from xstilts.layers import NOTHING, Selection, parse_layers
from xstilts.training import StiltsTrainer
from xstilts.unfreezing import GradualUnfreezing, always_frozen, parse_schedule, spell

# ---- the schedule ---------------------------------------------------------------------------------------------------


def test_what_a_schedule_says():
    stages = parse_schedule(" 0: embeddings,0-9 ;500:embeddings , 2-5; 1000:none", 12)
    assert stages == (
        (0, Selection(True, frozenset(range(10)))),
        (500, Selection(True, frozenset(range(2, 6)))),
        (1000, NOTHING),
    )
    assert spell(stages) == "0:10;500:embeddings,2-5;1000:none"
    assert always_frozen(stages) == NOTHING
    assert always_frozen(stages[:2]) == Selection(True, frozenset(range(2, 6)))


@given(st.lists(st.integers(1, 999), unique=True, max_size=4), st.data())
def test_what_is_written_is_read_back(steps, data):
    layers = st.builds(Selection, st.booleans(), st.frozensets(st.integers(0, 5)))
    stages = tuple((step, data.draw(layers)) for step in [0, *sorted(steps)])
    assert parse_schedule(spell(stages), 6) == stages


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("5:none", "begins at step 5; say from step 0 on"),
        ("0:2;9:1;4:none", "step 4 is out of order"),
        ("0:2;0:1", "step 0 is out of order"),
        ("0:2;", "'' is not a step and layers"),
        ("embeddings,0-1", "'embeddings,0-1' is not a step and layers"),
        ("0:2;-5:1", "'-5:1' is not a step and layers"),
        ("0:7", "--unfreeze_schedule 7 is more layers than the encoder has, which are 6"),
        ("0:", "is none of embeddings"),
    ],
)
def test_what_no_schedule_is(text, said):
    with pytest.raises(UserError, match=said):
        parse_schedule(text, 6)


# ---- thawing --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", CONFIGS)
def test_thawing_undoes_freezing(family):
    frozen, plain = build(family), build(family)
    trainable = [*frozen.parameters()]
    freeze(frozen, parse_layers("2", LAYERS))
    thaw(frozen, trainable)
    check_frozen(frozen, NOTHING)
    for model in (frozen, plain):
        torch.manual_seed(1)
        model.train()
        loss_of(model).backward()
    gradients = [{name: p.grad for name, p in model.named_parameters()} for model in (frozen, plain)]
    for name, gradient in gradients[1].items():
        assert torch.equal(gradients[0][name], gradient), name


# ---- in training ----------------------------------------------------------------------------------------------------


class Recorder(TrainerCallback):
    """Keeps the weights before training and after every step, and which of them require a gradient in it."""

    def on_train_begin(self, args, state, control, model=None, **kwargs):
        self.weights, self.trained = [{name: p.detach().clone() for name, p in model.named_parameters()}], []

    def on_step_end(self, args, state, control, model=None, **kwargs):
        self.weights.append({name: p.detach().clone() for name, p in model.named_parameters()})
        self.trained.append({name for name, p in model.named_parameters() if p.requires_grad})

    def moved(self, step):
        """Names of the weights that a step changed."""
        before, after = self.weights[step : step + 2]
        return {name for name in after if not torch.equal(before[name], after[name])}


@pytest.fixture(scope="module")
def rows(world):
    """A few NLI examples."""
    return load_examples(load_task("mnli"), "train", "en", world, 16)


def train(encoder, rows, folder, schedule, model=None, **options):
    """Eight steps under a schedule, as the Recorder saw them."""
    task, tokenizer, recorder = load_task("mnli"), load_tokenizer(encoder), Recorder()
    model = model or load_model(encoder, task)
    features = featurize(task, rows, tokenizer, {"max_seq_length": 64})
    options = {"max_steps": 8, "learning_rate": 1e-2, "weight_decay": 0.1, "warmup_steps": 0, **options}
    args = TrainingArguments(str(folder), use_cpu=True, report_to=[], disable_tqdm=True, save_strategy="no", **options)
    unfreezing = GradualUnfreezing(model, parse_schedule(schedule, 2))
    StiltsTrainer(task, model, args, tokenizer, features, callbacks=[unfreezing, recorder]).train()
    return recorder


def part_of(name):
    """Part of the tiny encoder that a weight belongs to."""
    if ".layer." in name:
        return int(name.split(".layer.")[1].split(".")[0])
    return "embeddings" if "embeddings" in name else "head"


def test_what_is_unfrozen_is_trained_and_nothing_before(encoder, rows, tmp_path):
    found = train(encoder, rows, tmp_path, "0:all;2:1;5:embeddings")
    expected = [{"head"}] * 2 + [{"head", 1}] * 3 + [{"head", 0, 1}] * 3
    assert [{*map(part_of, found.moved(step))} for step in range(8)] == expected
    for step, parts in enumerate(expected):
        of_parts = {name for name in found.weights[0] if part_of(name) in parts}
        assert found.trained[step] == of_parts
        assert found.moved(step) >= {name for name in of_parts if name.endswith("weight")}, step


def test_a_stage_may_freeze_again(encoder, rows, tmp_path):
    """The momentum of what is frozen moves nothing."""
    found = train(encoder, rows, tmp_path, "0:none;3:1;5:none", optim="adamw_torch")
    moved = [{*map(part_of, found.moved(step))} for step in range(8)]
    assert moved == [{"head", 0, 1, "embeddings"}] * 3 + [{"head", 1}] * 2 + [{"head", 0, 1, "embeddings"}] * 3


def test_adapters_are_unfrozen_too(encoder, rows, tmp_path):
    lora = {"lora_r": 2, "lora_alpha": 4, "lora_dropout": 0.0, "lora_layers": None, "lora_target_modules": None}
    model = add_lora(load_model(encoder, load_task("mnli")), SimpleNamespace(**lora), NOTHING)
    found = train(encoder, rows, tmp_path, "0:all;2:1;5:none", model)
    assert [{*map(part_of, found.moved(step))} for step in range(8)] == (
        [{"head"}] * 2 + [{"head", 1}] * 3 + [{"head", 0, 1}] * 3
    )
    assert all("lora_" in name for name in found.moved(7) if part_of(name) != "head")


def test_a_schedule_of_one_stage_is_freezing(world, encoder, tmp_path):
    for name, line in (("frozen", "--freeze_layers 1"), ("schedule", "--unfreeze_schedule 0:1")):
        intermediate(tmp_path / name, world, encoder, f"--task mnli --learning_rate 1e-2 {line}")
    files = [load_file(tmp_path / name / "model.safetensors") for name in ("frozen", "schedule")]
    assert all(tensor.equal(files[1][name]) for name, tensor in files[0].items())


def test_a_killed_run_goes_on_in_its_stage(server, encoder, world, tmp_path):
    schedule = ["--unfreeze_schedule", "0:all; 6:1; 14:none", "--layerwise_lr_decay", "0.8"]
    schedule += ["--load_best_model_at_end", "false"]  # the last weights, which all stages have gone into
    check_goes_on(training(server, encoder, world), 8, tmp_path, schedule)
    ours, theirs = (read_json(tmp_path / name / "run.json") for name in ("whole", "killed"))
    assert ours["loss_curve"] == theirs["loss_curve"]
    assert ours["frozen"] == "0:all;6:1;14:none"
    assert min(ours["weight_change"].values()) > 0
    assert ours["lineage"][-1]["factors"] == ["unfreeze-0=all_6=1_14=none", "lr-decay-0.8"]


def test_two_processes_unfreeze_together(world, tmp_path):
    """Processes exchange gradients of what was trainable when they met; what is frozen must not be waited for."""
    encoder = save_tiny_encoder(tmp_path / "encoder", hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    files = []
    for processes, batch in ((1, 8), (2, 4)):
        folder = tmp_path / str(processes)
        options = f"""--task mnli --model_name_or_path {encoder} --data_dir {world} --output_dir {folder} --use_cpu --seed 1
            --max_train_samples 48 --max_eval_samples 4 --per_device_train_batch_size {batch} --max_seq_length 64 --optim sgd
            --gradient_accumulation_steps 1 --num_train_epochs 1 --learning_rate 0.1 --unfreeze_schedule 0:all;2:1;4:none"""
        launcher = ["-m", "torch.distributed.run", "--nproc_per_node", "2"] if processes > 1 else []
        line = [sys.executable, *launcher, str(ROOT / "run_intermediate.py"), *options.split()]
        subprocess.run(line, check=True, timeout=120)
        files.append(load_file(folder / "model.safetensors"))
    before = load_file(f"{encoder}/model.safetensors")
    for name, tensor in files[0].items():
        torch.testing.assert_close(files[1][name], tensor, rtol=1e-5, atol=1e-6, msg=name)
        if name in before and name.endswith("weight") and "pooler" not in name:
            assert not torch.equal(before[name], tensor), name


def test_a_stage_beyond_the_end_is_said(world, encoder, tmp_path):
    with pytest.raises(UserError, match="step 500 is never reached, training has 2 steps"):
        intermediate(tmp_path, world, encoder, "--task mnli --unfreeze_schedule 0:1;500:none")


def test_a_checkpoint_from_before_a_stage_is_said(world, encoder, tmp_path, capsys):
    """A learning rate of 0 never gets better: the first of three checkpoints is kept."""
    line = "--task mnli --learning_rate 0 --unfreeze_schedule 0:all;1:1;2:none --max_steps 6 --load_best_model_at_end"
    line += " --eval_strategy steps --eval_steps 2 --save_strategy steps --save_steps 2"
    done = intermediate(tmp_path / "best", world, encoder, line)
    assert done["selected_step"] == 2
    said = "the weights of step 2 are kept, from before its stage 2:none"
    assert said in capsys.readouterr().out
    intermediate(tmp_path / "last", world, encoder, line.replace("at_end", "at_end false"))
    assert "are kept, from before" not in capsys.readouterr().out
