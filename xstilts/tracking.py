"""Where the logs of a training go: `--report_to wandb,tensorboard,trackio`, and the name that the run has there."""

import os
import re
from pathlib import Path

from transformers.integrations import INTEGRATION_TO_CALLBACK, TensorBoardCallback, get_available_reporting_integrations

from xstilts.errors import UserError, say

OPTION = "--report_to"
LOGS = "_logs"  # below the run's directory; what begins with _ is not pushed to the hub
PACKAGES = {"azure_ml": "azureml-core", "comet_ml": "comet-ml", "flyte": "flytekit"}  # where pip's name is another one
ELSEWHERE = {  # who keeps files outside of the run's directory, and where one says where
    "wandb": "./wandb, or $WANDB_DIR", "trackio": "~/.cache/huggingface/trackio, or $TRACKIO_DIR",
    "mlflow": "./mlruns, or $MLFLOW_TRACKING_URI", "swanlab": "./swanlog, or $SWANLAB_LOG_DIR", "dvclive": "./dvclive",
}  # fmt: skip


def as_one_word(line):
    """The words of a command line with those behind --report_to, of which the Trainer's parser takes one, joined by commas."""
    words, joined = list(map(str, line)), []
    while words:
        joined.append(words.pop(0))
        if joined[-1].replace("-", "_") == "__report_to":
            values = []
            while words and not words[0].startswith("--"):
                values.append(words.pop(0))
            joined += [",".join(values)] if values else []
    return joined


def split_reports(args):
    """Make a list of the names in `args.report_to`, each once."""
    names = [name.strip() for each in args.report_to for name in each.split(",")]
    args.report_to = list(dict.fromkeys(filter(None, names)))


def check_reports(training_args):
    """Raise UserError for a name that the Trainer does not know, and for a package that is not installed."""
    for name in training_args.report_to:
        if name not in INTEGRATION_TO_CALLBACK:
            raise UserError(f"{OPTION} {name} is not one of none, all, {', '.join(sorted(INTEGRATION_TO_CALLBACK))}")
        if name not in {"flyte", *get_available_reporting_integrations()}:
            raise UserError(
                f"{OPTION} {name} needs a package that is not installed: pip install {PACKAGES.get(name, name)}"
            )


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
        say(f"{OPTION} {name} keeps its files outside of --output_dir: in {ELSEWHERE[name]}")
