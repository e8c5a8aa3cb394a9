"""Models in pieces: under FSDP every process of a training holds a part of each tensor (of its gradients, and of what the
optimizer keeps of it), and sees a tensor whole for a moment only. Models too large for one GPU are trained so.

Losses, norms and steps are those of one process (tests/test_launchers.py). What looks at whole tensors between two steps, or
gives processes different work, is not offered; all of that stands here. It is asked for by `accelerate launch --config_file
configs/accelerate/fsdp.yaml`, which tells its processes in the environment, or by the Trainer's own --fsdp.
"""

import copy
import os
from dataclasses import fields

import torch
from accelerate.utils import DistributedType

from xstilts.base import UserError

WHOLE = "looks at whole tensors, and each process has a part of them"
REFUSED = {
    "max_tokens_per_batch": "processes would have different numbers of micro-batches; use --per_device_train_batch_size and "
    "--gradient_accumulation_steps",
    "unfreeze_schedule": f"it {WHOLE}; --freeze_layers works",
    "peft": f"a merge of adapters {WHOLE}; adapters need little memory: use configs/accelerate/several_gpus.yaml",
    "eval_only": "nothing is trained; use configs/accelerate/several_gpus.yaml",
}


def sharding_of(training_args):
    """What shards the model, as it was asked for: "FSDP" or None."""
    return "FSDP" if training_args.fsdp or _is_on("ACCELERATE_USE_FSDP") else None


def _is_on(variable):
    return os.environ.get(variable, "false").lower() == "true"


def check_sharding(args, training_args, several=False, trains=True):
    """Raise UserError where a sharded model was asked for and cannot be had, and for what is not offered with one; before data
    are read. `several`: the run is of several tasks; `trains`: the script trains anything."""
    if training_args.deepspeed or _is_on("ACCELERATE_USE_DEEPSPEED"):
        raise UserError("DeepSpeed is not offered; FSDP shards models, with configs/accelerate/fsdp.yaml")
    if not sharding_of(training_args):
        return
    if not trains:
        raise UserError(
            "FSDP is for training; each GPU holds a whole model here: use configs/accelerate/several_gpus.yaml, or one GPU"
        )
    _check_fsdp(training_args)
    defaults = {option.name: option.default for option in fields(args)}
    for name, reason in REFUSED.items():
        if getattr(args, name, None) != defaults.get(name):
            raise UserError(f"--{name} is not offered with FSDP: {reason}")
    if several:
        raise UserError(
            "several tasks are not offered with FSDP: not all heads are used in every step; give one --task"
        )


def _check_fsdp(training_args):
    # accelerate would train without sharding where it finds no GPUs, and not say so.
    if training_args.distributed_state.distributed_type in (DistributedType.NO, DistributedType.MULTI_CPU):
        raise UserError(
            "FSDP needs GPUs and a process for each, as accelerate launch starts them; leave it out on a CPU"
        )
    own = training_args.fsdp_plugin_args or {}
    version = own.get("fsdp_version", os.environ.get("FSDP_VERSION", 1))
    if int(version) != 2:
        raise UserError(f"FSDP {version} is not offered; set fsdp_version: 2 in the config of accelerate")
    sparing = own.get("cpu_ram_efficient_loading", os.environ.get("FSDP_CPU_RAM_EFFICIENT_LOADING", "false"))
    if str(sparing).lower() == "true":
        raise UserError(
            "fsdp_cpu_ram_efficient_loading: true is not offered, the encoder would be carried over in one process only; set it "
            "to false in the config of accelerate"
        )


def skeleton(model):
    """A copy of a model without memory for its parameters, for `whole`."""
    empty = {id(each): torch.nn.Parameter(torch.empty_like(each, device="meta")) for each in model.parameters()}
    return copy.deepcopy(model, empty)


def precision_of_passes(accelerator):
    """The context in which a sharded model is called: autocast, as everywhere else. accelerate would have FSDP turn all weights
    and what passes between layers into bf16, sums and norms too, and add up the gradients of processes in it."""
    accelerator.state.fsdp_plugin.mixed_precision_policy = None
    return accelerator.autocast


def whole(trainer, model, empty):
    """The sharded `model` of a Trainer put together on the CPU in `empty`, its `skeleton`: in the first process, None in the
    others. All processes call it."""
    weights = trainer.accelerator.get_state_dict(model)
    if not trainer.is_world_process_zero():
        return None
    empty.load_state_dict(weights, assign=True)
    if hasattr(empty, "tie_weights"):
        empty.tie_weights()
    return empty
