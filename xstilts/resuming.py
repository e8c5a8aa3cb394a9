"""Going on with an interrupted run: from its last whole checkpoint, and not beyond its end."""

import json
import math
import os
from functools import partial
from pickle import UnpicklingError

import torch
from transformers.trainer_callback import TrainerState

from xstilts.base import UserError, between_steps, on_main_process, print_main
from xstilts.progress import TellProgress
from xstilts.step_checkpoints import PREFIX, STATE, damage_of, last_checkpoint


def fit(trainer, claim=None):
    """Train, or go on where an interrupted run of the same output_dir stopped; leaves the selected weights in the model.

    A run whose last checkpoint is its end is not trained again: the Trainer would take one more step.
    `claim` is that of the run on its directory.
    """
    trainer.claim = claim
    checkpoint = checkpoint_to_go_on_from(trainer)
    state = TrainerState.load_from_json(os.path.join(checkpoint, STATE)) if checkpoint else None
    if state and is_over(state):
        print_main(f"{checkpoint} is the end of training; nothing left to train")
        trainer.state = state
        best = best_of(trainer) if trainer.args.load_best_model_at_end and state.best_global_step else None
        trainer.load_weights(best or checkpoint)
        return
    if checkpoint:
        print_main(f"going on from {checkpoint}")
    # Early stopping counts on where it stood.
    trainer.args.restore_callback_states_from_checkpoint = bool(checkpoint)
    try:
        with between_steps():
            trainer.train(resume_from_checkpoint=checkpoint)
    except UnpicklingError as error:
        raise UserError(f"{checkpoint} holds something else than states of the Trainer, which is not loaded") from error
    finally:
        for callback in trainer.callback_handler.callbacks:
            if isinstance(callback, TellProgress):
                callback.close()


def checkpoint_to_go_on_from(trainer):
    """What the first process finds, for all of them."""
    checkpoint, states = on_main_process(partial(_last_with_states, trainer.args.output_dir))
    if states not in (0, trainer.args.world_size):
        print_main(
            f"{checkpoint} was written by {states} processes, now there are {trainer.args.world_size}: not the same bits"
        )
    return checkpoint


def _last_with_states(output_dir):
    """(the last checkpoint or None, how many processes wrote their states into it)."""
    checkpoint = last_checkpoint(output_dir)
    return checkpoint, sum(name.startswith("rng_state") for name in os.listdir(checkpoint)) if checkpoint else 0


def best_of(trainer):
    """The best checkpoint, wherever the run's directory lies now. Raises UserError where it is damaged: weights of another step
    must not take its place."""
    folder = os.path.join(trainer.args.output_dir, f"{PREFIX}{trainer.state.best_global_step}")
    if reason := damage_of(folder):
        raise UserError(
            f"{folder}, the best checkpoint, is damaged ({reason}); give the same command again: it goes on from an earlier one"
        )
    return folder


def is_over(state):
    """Whether a saved trainer state is that of a run that has ended, by its steps or by early stopping."""
    control = state.stateful_callbacks.get("TrainerControl", {}).get("args", {})
    return state.global_step >= state.max_steps or control.get("should_training_stop", False)


# ---- what the Trainer's checkpoints leave out -----------------------------------------------------------------------


def save_progress(trainer, folder):
    """Write what a process has counted since the last log: the loss and the code length of the steps in between."""
    progress = {
        "loss": trainer._tr_loss.item(),
        "total_loss": trainer._total_loss_scalar,
        "logged": trainer._globalstep_last_logged,
        "code": {task: pair.tolist() for task, pair in trainer.code.recent.items()},
    }
    if not math.isfinite(progress["loss"]):
        raise UserError(
            f"training loss is {progress['loss']} before step {trainer.state.global_step}: nothing was saved"
        )
    with open(_progress_file(trainer, folder), "w", encoding="utf-8") as file:
        json.dump(progress, file)


def load_progress(trainer, folder):
    """Count on from there. Sums are of float32 numbers, which JSON keeps exactly."""
    state, path = trainer.state, _progress_file(trainer, folder)
    if state.best_global_step:  # the Trainer forgets it where the run's directory was moved
        state.best_model_checkpoint = os.path.join(trainer.args.output_dir, f"{PREFIX}{state.best_global_step}")
    if not os.path.exists(path):  # of another number of processes
        return
    with open(path, encoding="utf-8") as file:
        progress = json.load(file)
    device = trainer.args.device
    trainer._tr_loss = torch.tensor(progress["loss"], device=device)
    trainer._total_loss_scalar, trainer._globalstep_last_logged = progress["total_loss"], progress["logged"]
    trainer.code.recent = {task: torch.tensor(pair, device=device) for task, pair in progress["code"].items()}


def _progress_file(trainer, folder):
    return os.path.join(folder, f"progress_{trainer.args.process_index}.json")
