"""Going on with an interrupted run: from its last whole checkpoint, and not beyond its end."""

import glob
import json
import os
import shutil

from transformers.trainer_callback import TrainerState

from xstilts.errors import is_main_process, say


def fit(trainer):
    """Train, or go on where an interrupted run of the same output_dir stopped; leaves the selected weights in the model.

    A run whose last checkpoint is its end is not trained again: the Trainer would take one more step.
    """
    checkpoint = last_checkpoint(trainer.args.output_dir, trainer.args.world_size)
    state = TrainerState.load_from_json(os.path.join(checkpoint, "trainer_state.json")) if checkpoint else None
    if state and is_over(state):
        say(f"{checkpoint} is the end of training; nothing left to train")
        trainer.state = state
        best = state.best_model_checkpoint if trainer.args.load_best_model_at_end else None
        trainer._load_from_checkpoint(best or checkpoint)
        return
    if checkpoint:
        say(f"going on from {checkpoint}")
    # Early stopping counts on where it stood.
    trainer.args.restore_callback_states_from_checkpoint = bool(checkpoint)
    trainer.train(resume_from_checkpoint=checkpoint)


def is_over(state):
    """Whether a saved trainer state is that of a run that has ended, by its steps or by early stopping."""
    control = state.stateful_callbacks.get("TrainerControl", {}).get("args", {})
    return state.global_step >= state.max_steps or control.get("should_training_stop", False)


def last_checkpoint(output_dir, world_size=1):
    """The latest complete checkpoint of a run, or None. What a kill left half-written is removed.

    One of another number of processes is complete too; going on from it draws other dropout masks than an uninterrupted run.
    """
    folders = sorted(
        glob.glob(os.path.join(glob.escape(output_dir), "checkpoint-*")), key=lambda f: int(f.split("-")[-1])
    )
    while folders:
        states = len(glob.glob(os.path.join(glob.escape(folders[-1]), "rng_state*.pth")))
        if _is_complete(folders[-1]) and states:
            if states != world_size:
                say(f"{folders[-1]} was written by {states} processes, now there are {world_size}: not the same bits")
            return folders[-1]
        broken = folders.pop()
        say(f"{broken} was not written to its end and is removed")
        if is_main_process():
            shutil.rmtree(broken, ignore_errors=True)
    return None


def _is_complete(folder):
    """Whether the file that is written last is there, and what it belongs to."""
    if not all(os.path.isfile(os.path.join(folder, name)) for name in ("optimizer.pt", "scheduler.pt")):
        return False
    try:
        with open(os.path.join(folder, "trainer_state.json"), encoding="utf-8") as file:
            return "global_step" in json.load(file)
    except (OSError, json.JSONDecodeError):
        return False
