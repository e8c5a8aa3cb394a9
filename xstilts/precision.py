"""`--precision`: in which numbers a model is trained and evaluated. Weights and their updates are fp32 in all of them."""

from pathlib import Path

import torch

from xstilts.base import UserError, print_main
from xstilts.run_files import read_run

PRECISIONS = ("auto", "fp32", "bf16", "fp16")
GIVEN = ("bf16", "fp16", "bf16_full_eval", "fp16_full_eval")  # the Trainer's own options, which win over auto
MIXED = {"fp32": "no", "bf16": "bf16", "fp16": "fp16"}  # as accelerate calls them
BREAKS_IN_FP16 = ("deberta-v2",)  # its authors on mDeBERTa: fp32 is needed (microsoft/DeBERTa#77)


def set_precision(training_args, precision, model_type, trained_in=None):
    """Put `--precision` into the Trainer's arguments; `model_type` is that of the encoder's configuration.

    `auto`: what the Trainer's own options or `accelerate config` say; without them `trained_in`, the precision of the checkpoint
    that is evaluated, where this device has it; else the device's best (`best_precision`). Raises UserError for a precision that
    is none, that contradicts the Trainer's options, or that the device lacks.
    """
    if precision not in PRECISIONS:
        raise UserError(f"--precision {precision} is not one of {', '.join(PRECISIONS)}")
    given = [name for name in GIVEN if getattr(training_args, name)]
    if precision == "auto" and (given or training_args.mixed_precision != "no"):
        return
    if precision != "auto" and given:
        raise UserError(f"--precision {precision} and --{given[0]} are both given; leave one of them out")
    device = training_args.device
    if precision == "auto":
        precision = _automatic(device, model_type, trained_in)
    elif precision == "bf16" and device.type == "cuda" and not is_there("bf16", device):
        raise UserError("--precision bf16: this GPU has none; give fp16 or fp32")
    elif precision == "fp16" and device.type == "cpu":
        raise UserError("--precision fp16 needs a GPU; on a CPU give fp32 or bf16")
    training_args.bf16, training_args.fp16 = precision == "bf16", precision == "fp16"
    training_args.mixed_precision = MIXED[precision]


def _automatic(device, model_type, trained_in):
    if trained_in and is_there(trained_in, device):
        return trained_in
    best = best_precision(device, model_type)
    if trained_in:
        print_main(f"the checkpoint was trained in {trained_in}, which this device lacks; it is evaluated in {best}")
    return best


def best_precision(device, model_type):
    """bf16 where the hardware multiplies in it, fp16 with a loss scaler on older GPUs unless the family is known to break there,
    fp32 otherwise and on a CPU."""
    if is_there("bf16", device):
        return "bf16"
    return "fp16" if device.type == "cuda" and model_type not in BREAKS_IN_FP16 else "fp32"


def is_there(precision, device):
    """Whether a device computes in a precision faster than in fp32."""
    if device.type == "cuda" and precision == "bf16":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return precision == "fp32" or device.type in {"bf16": ("xpu", "npu", "hpu"), "fp16": ("cuda",)}[precision]


def trained_precision(checkpoint):
    """The precision of the run that wrote a checkpoint, None for a checkpoint of another origin."""
    run = read_run(Path(checkpoint) / "run.json") or {}
    mixed = (run.get("arguments") or {}).get("mixed_precision")
    return next((name for name, theirs in MIXED.items() if theirs == mixed), None)


def asked_for(precision, training_args):
    """The precision in the identity of a retrieval, which the same command finds finished on another device too: "no" where
    `set_precision` chose it, otherwise what the user or `accelerate config` asked for."""
    chosen = training_args.bf16 or training_args.fp16  # retrieval.py refuses these two as options
    return precision if precision != "auto" else "no" if chosen else training_args.mixed_precision
