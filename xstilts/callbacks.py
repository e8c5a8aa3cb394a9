"""What happens between the steps of a training, beside the steps themselves: callbacks of the Trainer."""

import itertools
import math

import torch
from transformers import EarlyStoppingCallback, TrainerCallback

from xstilts.base import Preempted, UserError, print_main, received_signal
from xstilts.step_checkpoints import PREFIX


def early_stopping(patience):
    """The callback for `--early_stopping_patience`, none without it."""
    return [EarlyStoppingCallback(early_stopping_patience=patience)] if patience else []


class StopOnNonFiniteLoss(TrainerCallback):
    """Stops a run whose loss, or the score that chooses its checkpoint, is no longer finite, before anything of it is saved."""

    def on_step_end(self, args, state, control, **kwargs):
        """Log before every save, so that on_log sees the loss first."""
        control.should_log |= control.should_save

    on_epoch_end = on_step_end

    def on_evaluate(self, args, state, control, metrics=None, **kwargs):
        """Raise UserError for a score of nan or inf where it is to choose the checkpoint: nothing is better than nan, so the last
        weights would be kept without a word."""
        name = f"eval_{(args.metric_for_best_model or '').removeprefix('eval_')}"
        if args.load_best_model_at_end and not math.isfinite((metrics or {}).get(name, 0)):
            raise UserError(
                f"{name} is {metrics[name]} at step {state.global_step}, so it cannot choose a checkpoint; try a lower "
                f"--learning_rate (now {args.learning_rate}), --precision fp32, or --metric_for_best_model another score"
            )

    def on_log(self, args, state, control, logs=None, **kwargs):
        """Raise UserError for a loss, or without a gradient scaler a gradient norm, of nan or inf."""
        watched = ("loss", "train_loss") if args.mixed_precision == "fp16" else ("loss", "train_loss", "grad_norm")
        for name in watched:
            if not math.isfinite((logs or {}).get(name, 0)):
                raise UserError(
                    f"training {name} is {logs[name]} at step {state.global_step}: nothing was saved since the last checkpoint; "
                    f"try a lower --learning_rate (now {args.learning_rate}), a longer warm-up, or no --fp16"
                )


class WarnOfFewSteps(TrainerCallback):
    """Warns of a training in which hardly a step has a learning rate that trains: tiny data, or a long warm-up."""

    FEWEST = 10  # steps at more than half the learning rate

    def on_train_begin(self, args, state, control, lr_scheduler=None, **kwargs):
        """The schedule is asked step by step, whatever its kind; one without a formula is not."""
        (share, *_) = getattr(lr_scheduler, "lr_lambdas", [None])
        if share is None:
            return
        high = itertools.islice((step for step in range(state.max_steps) if share(step) > 0.5), self.FEWEST)
        if (count := len([*high])) < self.FEWEST:
            print_main(
                f"warning: {state.max_steps} optimizer steps, {count} of them at more than half of --learning_rate "
                f"{args.learning_rate:g}, may be too few to learn from: give more --num_train_epochs or a higher --learning_rate"
            )


class TellEpoch(TrainerCallback):
    """Tells the order of the rows its epoch. The Trainer does too, but loses the way to it where several processes go on in the
    middle of an epoch, under one more layer of samplers: they would go through the rows of the first epoch again."""

    def __init__(self, trainer):
        self.trainer = trainer

    def on_epoch_begin(self, args, state, control, **kwargs):
        """`state.epoch` is the share of all epochs that is done."""
        if self.trainer.sampler is not None:
            self.trainer.sampler.set_epoch(int(state.epoch))


class StopWhenTold(TrainerCallback):
    """After SIGTERM: a checkpoint at the end of the step, on all processes the same one, and then `Preempted`.

    The last step of an epoch waits for what is done at its end (evaluation, say), which a run that goes on would leave out.
    """

    def __init__(self, trainer):
        self.trainer, self.told, self.planned = trainer, None, None

    def on_step_end(self, args, state, control, **kwargs):
        """Ask for a checkpoint."""
        if not (control.should_training_stop or state.epoch % 1 == 0):
            self._ask(args, state, control)

    def on_epoch_end(self, args, state, control, **kwargs):
        """The same behind the last step."""
        self._ask(args, state, control)

    def on_save(self, args, state, control, **kwargs):
        """Stop."""
        if not self.trainer.interrupting:
            self.planned = state.global_step
        if self.told:
            raise Preempted(
                f"{self.told}: stopped, {PREFIX}{state.global_step} is written; give the same command again to go on"
            )

    def _ask(self, args, state, control):
        """`trainer.interrupting` tells a checkpoint that an uninterrupted run would not have from one that was planned."""
        self.told = self.told or self._heard(args)
        planned = control.should_save or self.planned == state.global_step
        self.trainer.interrupting = bool(self.told) and not planned
        control.should_save |= bool(self.told)

    def _heard(self, args):
        """Whether any process was told; they are asked together, as a step of one is a step of all."""
        name = received_signal()
        if args.world_size == 1:
            return name
        told = torch.tensor([float(name is not None)], device=args.device)
        return (name or "stop") if self.trainer.accelerator.reduce(told, reduction="sum").item() else None
