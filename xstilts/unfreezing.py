"""Gradual unfreezing (Howard and Ruder 2018): what is frozen changes at given optimizer steps.

The optimizer knows only what requires a gradient when it is made, and so does the exchange of gradients between processes. So all
that is ever trained is handed to both, and what a step freezes is taken out of the graph at the step's beginning: it has no
gradient, and an optimizer leaves alone what has none. An interrupted run goes on in the stage that its step belongs to.
"""

import re
from functools import reduce
from itertools import pairwise

from transformers import TrainerCallback

from xstilts.base import UserError, print_main
from xstilts.freezing import freeze, render, table, thaw
from xstilts.layers import Selection, parse_layers

OPTION = "--unfreeze_schedule"


def parse_schedule(text, count):
    """`0:embeddings,0-9; 500:5; 1000:none` -> ((0, Selection), (500, Selection), ...): from a step on, what is frozen.

    Raises UserError where the steps do not begin at 0 or do not rise, and for what `parse_layers` refuses.
    """
    stages = []
    for item in text.split(";"):
        if not (pair := re.fullmatch(r"\s*([0-9]+)\s*:(.*)", item, re.DOTALL)):
            raise UserError(f"{OPTION} {text}: '{item.strip()}' is not a step and layers, as 500:embeddings,0-5")
        stages.append((int(pair[1]), parse_layers(pair[2], count, OPTION)))
    steps = [step for step, _ in stages]
    if steps[0] != 0:
        raise UserError(f"{OPTION} {text} begins at step {steps[0]}; say from step 0 on what is frozen")
    if late := [step for before, step in pairwise(steps) if step <= before]:
        raise UserError(f"{OPTION} {text}: step {late[0]} is out of order, steps have to rise")
    return tuple(stages)


def spell(stages):
    """One spelling of a schedule, which `parse_schedule` reads."""
    return ";".join(f"{step}:{selection}" for step, selection in stages)


def always_frozen(stages):
    """What every stage freezes, a Selection."""
    return reduce(Selection.both, (selection for _, selection in stages))


def stages_after(schedule, step):
    """Lines, for run.json, on the stages of a schedule (as `spell` writes it, or None) that the weights of a step never saw."""
    later = [stage for stage in (schedule or "").split(";") if stage and int(stage.split(":")[0]) >= step]
    return [f"{OPTION}: the weights of step {step} are kept, from before its stage {stage}" for stage in later]


class GradualUnfreezing(TrainerCallback):
    """Freezes at the beginning of every stage what `stages` say, of what requires a gradient now."""

    def __init__(self, model, stages):
        self.model, self.stages, self.current = model, stages, None
        self.trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]

    def on_train_begin(self, args, state, control, **kwargs):
        """Raise UserError for a stage that training does not reach."""
        if self.stages[-1][0] >= state.max_steps:
            raise UserError(
                f"{OPTION}: step {self.stages[-1][0]} is never reached, training has {state.max_steps} steps; nothing was trained"
            )

    def on_step_begin(self, args, state, control, **kwargs):
        """Enter the stage of this step, if it is another one."""
        stage = [selection for step, selection in self.stages if step <= state.global_step][-1]
        if stage != self.current:
            thaw(self.model, self.trainable)
            freeze(self.model, stage)
            self.current = stage
            print_main(f"from step {state.global_step} on, frozen: {stage}\n{render(table(self.model))}")
