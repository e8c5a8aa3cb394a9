"""--freeze_layers in both fine-tuning scripts: what is frozen stays, what is recorded is true, and all frozen is no training."""

import pytest
from safetensors.torch import load_file
from test_multitask import SMALL, intermediate, run

import run_target
from xstilts.base import UserError, read_json


def encoder_of(folder):
    """{name: tensor} of a checkpoint's encoder."""
    weights = load_file(f"{folder}/model.safetensors")
    return {
        name.removeprefix("roberta."): tensor
        for name, tensor in weights.items()
        if "embeddings" in name or "layer." in name
    }


def moved(before, after):
    """Names of the tensors that differ."""
    return {name for name, tensor in encoder_of(before).items() if not tensor.equal(encoder_of(after)[name])}


@pytest.mark.parametrize("script", ["intermediate", "target"])
def test_frozen_layers_stay_and_others_move(script, world, encoder, tmp_path):
    line = "--task mnli --freeze_layers 1 --learning_rate 1e-2 --weight_decay 0.1"
    done = (
        intermediate(tmp_path, world, encoder, line)
        if script == "intermediate"
        else run(run_target.main, tmp_path, world, encoder, line)
    )
    assert moved(encoder, tmp_path)
    assert all(name.startswith("encoder.layer.1.") for name in moved(encoder, tmp_path))
    assert done["frozen"] == "1"
    change = done["weight_change"]
    assert change["embeddings"] == change["0"] == 0 < change["1"] < 1
    assert done["parameters"]["embeddings"][1] == 0 < done["parameters"]["layers 1-1"][1]
    assert (done["lineage"][-1]["frozen"], done["lineage"][-1]["factors"]) == ("1", ["freeze-1"])


def test_several_tasks_freeze_one_encoder(world, encoder, tmp_path):
    intermediate(tmp_path, world, encoder, "--task mnli+hellaswag --freeze_layers embeddings,1-1 --learning_rate 1e-2")
    assert all(name.startswith("encoder.layer.0.") for name in moved(encoder, tmp_path))
    assert moved(encoder, tmp_path)


@pytest.mark.parametrize("before", ["mnli", "hellaswag"])
def test_an_encoder_that_was_frozen_whole_is_none_that_was_trained(before, world, encoder, tmp_path):
    """Intermediate training of the head alone leaves the target task where it would have been, bit for bit."""
    line = f"--task {before} --freeze_layers all --learning_rate 1e-2"
    intermediate(tmp_path / "frozen", world, encoder, line)
    assert not moved(encoder, tmp_path / "frozen")
    scores = []
    for name, start in (("after", tmp_path / "frozen"), ("without", encoder)):
        scores.append(
            run(run_target.main, tmp_path / name, world, start, "--task xnli --max_seq_length 24")["dev_scores"]
        )
    assert scores[0] == scores[1]
    files = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("after", "without")]
    assert files[0] == files[1]
    assert read_json(tmp_path / "frozen" / "run.json")["parameters"].keys() - {"top"} == {
        "embeddings",
        "layers 0-1",
        "head",
    }


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--freeze_layers 3", "--freeze_layers 3 is more layers than the encoder has, which are 2"),
        ("--freeze_layers 0-1,1-1", "overlaps"),
        ("--freeze_layers lower", "is none of embeddings"),
        ("--freeze_layers 1 --unfreeze_schedule 0:none", "exclude each other"),
        ("--unfreeze_schedule=", "'' is not a step and layers"),
        ("--unfreeze_schedule 0:1 --ddp_find_unused_parameters false", "needs --ddp_find_unused_parameters true"),
        ("--eval_only --freeze_layers 1", "--freeze_layers has no effect with --eval_only, which trains nothing"),
        ("--eval_only --peft lora --lora_r 2", "--peft has no effect with --eval_only"),
        ("--layerwise_lr_decay 0", "must be above 0 and at most 1"),
        ("--layerwise_lr_decay 1.1", "must be above 0 and at most 1"),
        (
            '--freeze_layers 1 --gradient_checkpointing --gradient_checkpointing_kwargs {"use_reentrant":true}',
            "without use_reentrant",
        ),
    ],
)
def test_what_cannot_be_frozen_is_said(line, message, world, encoder, tmp_path):
    assert "--freeze" not in SMALL
    with pytest.raises(UserError, match=message):
        intermediate(tmp_path / "run", world, encoder, f"--task mnli {line}")
    assert not (tmp_path / "run").exists()
