"""Where a run was made: versions, commit, hardware."""

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

import torch

PACKAGES = "torch transformers datasets evaluate accelerate peft seqeval sentencepiece tokenizers numpy".split()


def provenance(device):
    """What run.json says of it."""
    versions = {"python": platform.python_version(), **{package: version(package) for package in PACKAGES}}
    return {"versions": versions, "git_commit": git_commit(), "hardware": hardware(device)}


def hardware(device):
    """Device, number of processes and threads."""
    device = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    return {"device": device, "processes": int(os.environ.get("WORLD_SIZE", 1)), "threads": torch.get_num_threads()}


def git_commit():
    """Commit of this checkout, with `+` when files differ from it; None outside of git."""
    try:
        git = ["git", "-C", str(Path(__file__).parent)]
        commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603 (words of ours)
        changed = subprocess.run(  # noqa: S603 (words of ours)
            [*git, "status", "--porcelain", "-uno"], capture_output=True, text=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit + ("+" if changed.strip() else "")
