"""Several processes, as `accelerate launch` starts them with the files of configs/accelerate: what they compute is what one does.

Models are sharded on two processes of the CPU that pass for GPUs (tests/as_gpus.py). Tolerances: float32 sums in another order.
"""

import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import launch_command_parser
from accelerate.utils import DistributedType
from as_gpus import environment_of
from conftest import ROOT, save_tiny_encoder, tiny_tokenizer
from faults import Fault
from safetensors.torch import load_file
from transformers import AutoModel, TrainingArguments, XLMRobertaXLConfig, XLMRobertaXLForMaskedLM

import run_intermediate
import run_retrieval
import run_target
import run_zeroshot_eval
from xstilts.base import UserError, read_json
from xstilts.sharding import check_sharding, sharding_of

CONFIGS = ROOT / "configs" / "accelerate"
FILES = sorted(path.name for path in CONFIGS.glob("*.yaml"))
FSDP = CONFIGS / "fsdp.yaml"


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """An XLM-R XL of three layers: the class and the code of the large ones, without dropout."""
    folder, tokenizer = tmp_path_factory.mktemp("large"), tiny_tokenizer()
    sizes = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 32}
    sizes |= {"vocab_size": len(tokenizer), "max_position_embeddings": 514, "type_vocab_size": 1, "pad_token_id": 1}
    torch.manual_seed(0)
    config = XLMRobertaXLConfig(**sizes, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    XLMRobertaXLForMaskedLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.fixture
def train(server, world, large, tmp_path):
    """train(folder, script, task, further options): exit code, run.json and weights of a run: two epochs of four steps of 16
    pairs, with gradients that are clipped, and at the end the checkpoint of the highest loss. `config`: on two processes."""

    def train(folder, script, task, *more, config=None, fault=None):
        processes = 2 if config else 1
        place = server.folder / tmp_path.name / folder
        line = f"""--task {task} --model_name_or_path {large} --data_dir {world} --output_dir {place} --seed 3
            --max_train_samples 64 --max_eval_samples 30 --per_device_train_batch_size {8 // processes}
            --gradient_accumulation_steps 2 --per_device_eval_batch_size 4 --num_train_epochs 2 --max_seq_length 64
            --learning_rate 1e-2 --max_grad_norm 0.1 --save_strategy steps --save_steps 2 --eval_strategy steps --eval_steps 2
            --metric_for_best_model loss --greater_is_better true --logging_steps 1"""
        options = [*line.split(), *more]
        if config:
            script, options = "as_gpus", [config, script, *options]
        code, printed = server.run(script, options, fault, ranks=processes)
        if code:
            return code, printed, place
        return read_json(place / "run.json"), load_file(place / "model.safetensors"), place

    return train


def check_same(found, expected, loss=1e-4, atol=1e-5):
    """Losses, scores and weights of two runs; `atol` is for the weights."""
    (run, weights, _), (other, others, _) = found, expected
    assert [step for step, _ in run["loss_curve"]] == [*range(1, 9)]
    assert [each for _, each in run["loss_curve"]] == pytest.approx([each for _, each in other["loss_curve"]], abs=loss)
    assert run["dev_scores"] == pytest.approx(other["dev_scores"], abs=loss)
    assert run["selected_step"] == other["selected_step"]
    assert run["identity"] == other["identity"]
    assert weights.keys() == others.keys()
    for name, weight in others.items():
        torch.testing.assert_close(weights[name], weight, rtol=1e-4, atol=atol, msg=name)


# ---- FSDP -----------------------------------------------------------------------------------------------------------


def test_fsdp_trains_a_large_encoder_as_one_process_does(train, world, tmp_path):
    """With clipped gradients and accumulation; stopped on its way, it goes on; the best checkpoint is not the last one. What it
    leaves is a plain model, which one ordinary process evaluates to the same score."""
    code, printed, place = train("two", "run_target", "xnli", "--use_cpu", config=FSDP, fault=Fault("told", 2))
    assert code == 75, printed
    assert "checkpoint-3 is written" in printed
    pieces = {path.name for path in (place / "checkpoint-3" / "pytorch_model_fsdp_0").glob("*.distcp")}
    assert pieces == {"__0_0.distcp", "__1_0.distcp"}  # each process wrote its own
    found = train("two", "run_target", "xnli", "--use_cpu", config=FSDP)
    check_same(found, train("one", "run_target", "xnli", "--use_cpu"))
    assert found[0]["selected_step"] < 8
    assert found[0]["hardware"]["processes"] == 2

    encoder, info = AutoModel.from_pretrained(place, output_loading_info=True)
    assert not [name for name in info["missing_keys"] if "pooler" not in name]
    assert {parameter.dtype for parameter in encoder.parameters()} == {torch.float32}
    options = f"""--task xnli --model_name_or_path {place} --data_dir {world} --output_dir {tmp_path / "eval"} --use_cpu
        --split validation --languages en --max_eval_samples 30 --max_seq_length 64"""
    run_zeroshot_eval.main(options.split())
    scores = read_json(tmp_path / "eval" / "run.json")["scores"]["en"]
    assert scores["accuracy"] == pytest.approx(found[0]["dev_scores"]["accuracy"])


def test_fsdp_with_frozen_layers_and_rates_by_layer_in_bf16(train, large):
    """Autocast as in one process, weights and sums in float32. The signal comes behind the last step: what is left is to evaluate
    and to save."""
    line = "--use_cpu --freeze_layers 1 --layerwise_lr_decay 0.5 --precision bf16 --optim sgd --learning_rate 1"
    options = ["run_intermediate", "mnli", *line.split()]
    code, printed, _ = train("two", *options, config=FSDP, fault=Fault("told", 8))
    assert code == 75, printed
    (seen,) = re.findall(r"linear layers: (.*)", printed)
    assert "('torch.float32', 'torch.bfloat16')" in seen
    assert "('torch.bfloat16'" not in seen  # weights
    found = train("two", *options, config=FSDP)
    check_same(found, train("one", *options), loss=1e-3, atol=1e-3)
    before = load_file(f"{large}/model.safetensors")
    for name, weight in before.items():
        if "embeddings" in name or ".layer.0." in name:
            torch.testing.assert_close(found[1][name], weight, rtol=0, atol=0, msg=name)
        elif ".layer.1." in name and "key.bias" not in name:
            assert not torch.equal(found[1][name], weight), name


# ---- the files ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FILES)
def test_accelerate_knows_every_key_of_a_config(name):
    """accelerate refuses an unknown key at the top, and takes any below."""
    config = load_config_from_file(str(CONFIGS / name))
    options = vars(launch_command_parser().parse_args(["script.py"]))
    for key in config.fsdp_config:
        assert key in options, key
    lines = (CONFIGS / name).read_text("utf-8").splitlines()
    comments = [line for line in lines if line.startswith("#")]
    assert 2 <= len(comments) <= 5
    assert config.num_processes >= 1
    assert "main_process_ip" in yaml.safe_load("\n".join(lines)) if name == "several_nodes.yaml" else True


def test_the_config_reaches_the_processes(monkeypatch):
    found = environment_of(FSDP, "--main_process_port", "0")
    for key, value in found.items():
        monkeypatch.setenv(key, value)
    assert sharding_of(SimpleNamespace(fsdp=None)) == "FSDP"
    assert (found["FSDP_VERSION"], found["FSDP_STATE_DICT_TYPE"]) == ("2", "SHARDED_STATE_DICT")
    assert found["FSDP_TRANSFORMER_CLS_TO_WRAP"] == "XLMRobertaXLLayer"


def test_accelerate_launch_trains_with_several_processes(world, tmp_path):
    """The file as it is typed, with the number of processes from the command line."""
    encoder = save_tiny_encoder(tmp_path / "encoder")
    command = f"""{Path(sys.executable).parent / "accelerate"} launch --config_file {CONFIGS / "several_gpus.yaml"}
        --num_processes 2 --main_process_port 0 {ROOT / "run_target.py"} --task xnli --model_name_or_path {encoder}
        --data_dir {world} --output_dir {tmp_path / "run"} --max_steps 2 --max_train_samples 32 --max_eval_samples 8
        --max_seq_length 64 --use_cpu"""
    done = subprocess.run(command.split(), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert read_json(tmp_path / "run" / "run.json")["hardware"]["processes"] == 2


# ---- what is refused ------------------------------------------------------------------------------------------------


def launched(kind=None, gpus=True, **settings):
    """The Trainer's arguments as far as they are looked at."""
    devices = DistributedType.MULTI_GPU if gpus else DistributedType.MULTI_CPU
    known = {"fsdp": kind == "FSDP", "deepspeed": None}
    known["fsdp_plugin_args"] = {"fsdp_version": 2} if kind == "FSDP" else None
    return SimpleNamespace(distributed_state=SimpleNamespace(distributed_type=devices), **{**known, **settings})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_tokens_per_batch": 512}, "--max_tokens_per_batch is not offered with FSDP: processes would have"),
        ({"unfreeze_schedule": "0:1;5:none"}, "--freeze_layers works"),
        ({"peft": "lora"}, "--peft is not offered with FSDP"),
    ],
)
def test_what_a_sharded_model_cannot_do_is_refused(options, message):
    with pytest.raises(UserError, match=message):
        check_sharding(run_target.TargetArguments(task="xnli", **options), launched("FSDP"))
    check_sharding(run_target.TargetArguments(task="xnli", **options), launched())


def test_what_else_is_refused_with_a_sharded_model():
    args = run_target.TargetArguments(task="xnli")
    check_sharding(args, launched("FSDP"))
    check_sharding(run_target.TargetArguments(task="xnli", freeze_layers="2", selection="last"), launched("FSDP"))
    for version in ({"fsdp_version": 1}, {}):
        with pytest.raises(UserError, match="FSDP 1 is not offered; set fsdp_version: 2"):
            check_sharding(args, launched("FSDP", fsdp_plugin_args=version))
    sparing = {"fsdp_version": 2, "cpu_ram_efficient_loading": True}
    with pytest.raises(UserError, match="fsdp_cpu_ram_efficient_loading: true is not offered"):
        check_sharding(args, launched("FSDP", fsdp_plugin_args=sparing))
    with pytest.raises(UserError, match="several tasks are not offered with FSDP"):
        check_sharding(args, launched("FSDP"), several=True)
    with pytest.raises(UserError, match="FSDP is for training"):
        check_sharding(args, launched("FSDP"), trains=False)
    with pytest.raises(UserError, match="--eval_only is not offered"):
        check_sharding(run_intermediate.IntermediateArguments(task="mnli", eval_only=True), launched("FSDP"))


@pytest.mark.parametrize("trains", [True, False])
def test_deepspeed_is_refused_however_it_is_asked_for(trains, monkeypatch):
    """The Trainer has an option for it, and `accelerate config` writes files with it."""
    args, refused = run_target.TargetArguments(task="xnli"), "DeepSpeed is not offered; .*fsdp.yaml"
    with pytest.raises(UserError, match=refused):
        check_sharding(args, launched(deepspeed="zero3.json"), trains=trains)
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    with pytest.raises(UserError, match=refused):
        check_sharding(args, launched(), trains=trains)


def test_sharding_that_accelerate_would_leave_out_is_refused_before_data_are_read(encoder, monkeypatch):
    """On a CPU it trains with DDP, and says nothing."""
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    options = f"--task xnli --model_name_or_path {encoder} --data_dir nowhere --use_cpu --output_dir nowhere"
    with pytest.raises(UserError, match="FSDP needs GPUs"):
        run_target.main(options.split())
    assert not os.path.exists("nowhere")


SCRIPTS = {run_intermediate: "mnli", run_target: "xnli", run_zeroshot_eval: "xnli", run_retrieval: "tatoeba"}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.__name__)
def test_several_gpus_of_one_process_are_refused(script, encoder, monkeypatch):
    """The Trainer would slip into DataParallel."""
    monkeypatch.setattr(TrainingArguments, "n_gpu", property(lambda self: 4))
    options = (
        f"--task {SCRIPTS[script]} --model_name_or_path {encoder} --data_dir nowhere --output_dir nowhere --use_cpu"
    )
    with pytest.raises(
        UserError, match=r"4 GPUs are visible to one process.*accelerate launch.*CUDA_VISIBLE_DEVICES=0"
    ):
        script.main(options.split())
