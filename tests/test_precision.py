"""`--precision`: what `auto` chooses on which device, and what wins over it."""

import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from conftest import ROOT

from xstilts.base import UserError, read_json
from xstilts.precision import set_precision


@pytest.fixture
def device(monkeypatch):
    """device(kind, bf16): a device with or without bf16."""

    def device(kind, bf16=False):
        monkeypatch.setattr(
            torch.cuda, "is_bf16_supported", lambda including_emulation: bf16 and not including_emulation
        )
        return SimpleNamespace(type=kind)

    return device


def mixed(device, precision="auto", family="xlm-roberta", trained_in=None, launcher="no", **given):
    options = dict.fromkeys(("bf16", "fp16", "bf16_full_eval", "fp16_full_eval"), False)
    training_args = SimpleNamespace(device=device, mixed_precision=launcher, **{**options, **given})
    set_precision(training_args, precision, family, trained_in)
    assert [training_args.bf16, training_args.fp16].count(True) <= 1
    if not given and launcher == "no":
        assert (
            training_args.mixed_precision
            == {(1, 0): "bf16", (0, 1): "fp16", (0, 0): "no"}[training_args.bf16, training_args.fp16]
        )
    return training_args.mixed_precision


@pytest.mark.parametrize(
    ("kind", "bf16", "family", "expected"),
    [
        ("cuda", True, "xlm-roberta", "bf16"),
        ("cuda", False, "xlm-roberta", "fp16"),
        ("cuda", True, "deberta-v2", "bf16"),
        ("cuda", False, "deberta-v2", "no"),  # mDeBERTa overflows
        ("cpu", True, "xlm-roberta", "no"),
        ("mps", False, "xlm-roberta", "no"),
    ],
)
def test_auto_is_the_best_that_the_device_has(device, kind, bf16, family, expected):
    assert mixed(device(kind, bf16), family=family) == expected


def test_evaluation_is_in_the_precision_of_training(device, capsys):
    assert mixed(device("cuda", bf16=True), trained_in="fp32") == "no"
    assert mixed(device("cuda", bf16=True), trained_in="fp16") == "fp16"
    assert mixed(device("cuda", bf16=True), trained_in="bf16") == "bf16"
    assert not capsys.readouterr().out
    assert mixed(device("cpu"), trained_in="bf16") == "no"
    assert "trained in bf16, which this device lacks; it is evaluated in fp32" in capsys.readouterr().out


def test_what_is_asked_for_wins(device):
    gpu = device("cuda", bf16=True)
    assert mixed(gpu, "fp32") == "no"
    assert mixed(gpu, "fp16") == "fp16"
    assert mixed(gpu, launcher="fp16") == "fp16"  # of `accelerate config`
    assert mixed(gpu, launcher="fp16", fp16=True) == "fp16"
    assert mixed(gpu, bf16_full_eval=True) == "no"
    assert mixed(device("cpu"), "bf16") == "bf16"


@pytest.mark.parametrize(
    ("kind", "precision", "given", "message"),
    [
        ("cuda", "half", {}, "--precision half is not one of auto, fp32, bf16, fp16"),
        ("cuda", "fp32", {"bf16": True}, "--precision fp32 and --bf16 are both given"),
        ("cuda", "bf16", {}, "this GPU has none"),
        ("cpu", "fp16", {}, "--precision fp16 needs a GPU"),
    ],
)
def test_what_cannot_be_is_named(device, kind, precision, given, message):
    with pytest.raises(UserError, match=message):
        mixed(device(kind), precision, **given)


def test_a_run_trains_in_what_it_says_and_is_evaluated_so(encoder, world, tmp_path):
    common = (
        f"--task xnli --data_dir {world} --use_cpu --max_eval_samples 4 --max_seq_length 64 --output_dir {tmp_path}"
    )
    lines = [
        f"run_target.py {common}/target --model_name_or_path {encoder} --precision bf16 --max_train_samples 8 --max_steps 1",
        f"run_zeroshot_eval.py {common}/eval --model_name_or_path {tmp_path}/target --precision bf16 --languages en",
    ]
    for line in lines:
        subprocess.run([sys.executable, *line.split()], check=True, cwd=ROOT, timeout=120)
    for phase in ("target", "eval"):
        assert read_json(tmp_path / phase / "run.json")["arguments"]["mixed_precision"] == "bf16"
    again = f"run_target.py {common}/target --model_name_or_path {encoder} --max_train_samples 8 --max_steps 1".split()
    found = subprocess.run([sys.executable, *again], capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert found.returncode == 2
    assert 'mixed_precision: "bf16" -> "no"' in found.stderr
