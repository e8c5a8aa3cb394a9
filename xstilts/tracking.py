"""Where the logs of a training go: `--report_to wandb,tensorboard,trackio`, and the name that the run has there."""

import os
import re
from pathlib import Path

from transformers.integrations import TensorBoardCallback

from xstilts.base import print_main

OPTION = "--report_to"
LOGS = "_logs"  # below the run's directory; what begins with _ is not pushed to the hub
ELSEWHERE = {  # who keeps files outside of the run's directory, and where one says where
    "wandb": "./wandb, or $WANDB_DIR", "trackio": "~/.cache/huggingface/trackio, or $TRACKIO_DIR",
    "mlflow": "./mlruns, or $MLFLOW_TRACKING_URI", "swanlab": "./swanlog, or $SWANLAB_LOG_DIR", "dvclive": "./dvclive",
}  # fmt: skip


def name_of(output_dir):
    """What a run is called where it is reported and on the hub, unless that is said: `target-hellaswag-xnli-seed42` of
    runs/target/hellaswag/xnli/seed42; of a directory that is not below `runs` its own name."""
    parts = Path(output_dir).absolute().parts
    places = [place for place, part in enumerate(parts) if part == "runs"]
    own = "-".join(parts[places[-1] + 1 :] if places else parts[-1:])
    return re.sub(r"[-.]*-[-.]*|\.{2,}", "-", re.sub(r"[^\w.-]+", "-", own, flags=re.ASCII)).strip("-.") or "x-stilts"


def keep_logs_inside(trainer):
    """Have TensorBoard's files below the run's directory, and say where others are kept."""
    for callback in trainer.callback_handler.callbacks:
        if isinstance(callback, TensorBoardCallback) and callback.logging_dir is None:  # not $TENSORBOARD_LOGGING_DIR
            callback.logging_dir = os.path.join(trainer.args.output_dir, LOGS)
    for name in ELSEWHERE.keys() & set(trainer.args.report_to if trainer.train_dataset is not None else ()):
        print_main(f"{OPTION} {name} keeps its files outside of --output_dir: in {ELSEWHERE[name]}")
