"""A script under a config of `accelerate launch`, on processes of the CPU that pass for GPUs.

accelerate shards models on GPUs only: on CPUs it drops FSDP without a word and trains with DDP (accelerate 1.15,
`AcceleratorState.__init__`), though torch's own FSDP runs there. So the processes say that they have GPUs, where accelerate asks
for the kind of the processes; devices stay what they are, and all else is the code that runs on GPUs.

    torchrun --nproc_per_node 2 tests/as_gpus.py configs/accelerate/fsdp.yaml run_target --task xnli ... --use_cpu
"""

import importlib
import os
import sys

import torch
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.state import DistributedType, PartialState
from accelerate.utils.launch import prepare_multi_gpu_env


def environment_of(config, *options):
    """What `accelerate launch --config_file config` sets in the environment of its processes."""
    args = launch_command_parser().parse_args(["--config_file", str(config), *options, "script.py"])
    args, *_ = _validate_launch_command(args)
    before = dict(os.environ)
    return {name: value for name, value in prepare_multi_gpu_env(args).items() if before.get(name) != value}


def pass_for_gpus():
    """From now on, for this process."""
    init = PartialState.__init__

    def patched(self, *args, **kwargs):
        init(self, *args, **kwargs)
        if self.distributed_type == DistributedType.MULTI_CPU:
            self.distributed_type = DistributedType.MULTI_GPU

    PartialState.__init__ = patched


def watch_precision():
    """Returns what will hold (dtype of the weights, dtype of the outputs) of all linear layers."""
    seen = set()

    def look(module, inputs, output):
        if isinstance(module, torch.nn.Linear):
            seen.add((str(module.weight.dtype), str(output.dtype)))

    torch.nn.modules.module.register_module_forward_hook(look)
    return seen


def main():
    """The script named on the command line."""
    config, script, *arguments = sys.argv[1:]
    os.environ.update(environment_of(config))
    pass_for_gpus()
    sys.argv, seen = [f"{script}.py", *arguments], watch_precision()
    try:
        importlib.import_module(script).main()
    finally:
        print("linear layers:", *sorted(seen), flush=True)


if __name__ == "__main__":
    sys.path.insert(0, os.getcwd())
    from xstilts.base import run_script

    run_script(main)
