"""Trainings in processes of their own that take turns after every optimizer step: steps that are compared are taken one after the
other, and meet the machine in the same state."""

from transformers import TrainerCallback, XLMRobertaModel

from benchmarks.measuring import forward_operations, peak_mb, used

SECONDS, PROCESSOR_SECONDS, OPTIMIZER, PEAK_MB, OPERATIONS = range(5)  # what is told of a step


class StepTurns(TrainerCallback):
    """Takes a step when it hears of it from `pipe`, and tells what it took: seconds and processor seconds, seconds of the
    optimizer in them, MB at the peak so far, and operations of the encoder's passes forward (`measuring.forward_operations`)."""

    def __init__(self, pipe, model):
        self.pipe, self.optimizer, self.operations = pipe, 0.0, 0.0
        for module in model.modules():
            if isinstance(module, XLMRobertaModel):
                module.register_forward_pre_hook(self.count, with_kwargs=True)

    def count(self, encoder, args, kwargs):
        """Add the operations of a pass over token ids."""
        ids = args[0] if args else kwargs.get("input_ids")
        if ids is not None:
            self.operations += forward_operations(encoder.config, [ids.shape[1]] * len(ids))

    def wait(self):
        """Until it is this process's turn; EOFError when there is none any more."""
        self.pipe.recv()
        self.operations, self.before = 0.0, used()

    def tell(self):
        """The turn is over."""
        self.pipe.send([*(used() - self.before), self.optimizer, peak_mb(), self.operations])
        self.wait()

    def on_pre_optimizer_step(self, args, state, control, **kwargs):
        """The gradients are there."""
        self.optimizer = -used()[0]

    def on_optimizer_step(self, args, state, control, **kwargs):
        """The weights are updated."""
        self.optimizer += used()[0]

    def on_step_end(self, args, state, control, **kwargs):
        """A turn is an optimizer step."""
        self.tell()


def take_turn(pipe):
    """What the process at the other end of a pipe tells of a turn."""
    pipe.send("your turn")
    return pipe.recv()
