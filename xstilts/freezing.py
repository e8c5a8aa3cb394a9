"""Frozen parts of an encoder: out of training, out of dropout, out of the backward pass.

A tied decoder is embeddings: freezing these freezes both, and of an LM head its bias and transform are left to train.
"""

from functools import partial
from itertools import groupby

from xstilts.base import UserError
from xstilts.layers import encoder_of, modules_of, parts_of


def freeze(model, selection):
    """Take the selected parts of a model's encoder out of training; they also stay in evaluation mode, without dropout, whatever
    `model.train()` says. Before the optimizer is made.

    Frozen embeddings also take no part in gradient checkpointing: the library would make their output require gradients
    (`enable_input_require_grads`, for adapters), and every frozen layer would keep its activations for a way back. Reentrant
    checkpointing needs that gradient: without it the layers train nothing, and torch only warns.
    Raises UserError if nothing would be left to train.
    """
    modules, frozen = modules_of(model, selection), _ids(model, selection)
    if all(id(parameter) in frozen for parameter in model.parameters()):
        raise UserError(f"freezing {selection} leaves nothing to train: {type(model).__name__} has no head")
    for module in modules:
        module.requires_grad_(False)
        module.eval()
        module.train = partial(_unchanged, module)  # on the instance: copied and pickled, in no state dict
    if selection.embeddings:
        for owner in (model, encoder_of(model)):
            owner.enable_input_require_grads = partial(_unchanged, owner)


def thaw(model, parameters):
    """Undo `freeze`: these parameters require gradients, and all modules follow `model.train()` again."""
    for module in model.modules():
        for name in ("train", "enable_input_require_grads"):
            vars(module).pop(name, None)
    for parameter in parameters:
        parameter.requires_grad_(True)
    model.train(model.training)


def _unchanged(module, mode=True):
    """A method of a module that does nothing."""
    return module


def check_frozen(model, selection):
    """Raise RuntimeError unless exactly the parameters of the selected parts are frozen, and the rest of the model is trained."""
    frozen = _ids(model, selection)
    if wrong := [name for name, p in model.named_parameters() if p.requires_grad == (id(p) in frozen)]:
        raise RuntimeError(f"{len(wrong)} tensors are not as freezing {selection} wants them, e.g. {wrong[0]}")


def _ids(model, selection):
    """Of the parameters of the selected parts."""
    return {id(parameter) for module in modules_of(model, selection) for parameter in module.parameters()}


def table(model):
    """Rows (part, its parameters, how many of them are trained), layers of one kind in one row; what is empty is left out."""
    unused = {id(p) for name, p in model.named_parameters() if ".original_module." in name}  # peft trains a copy
    parts, encoder = parts_of(model), {id(parameter) for parameter in encoder_of(model).parameters()}
    owned = {part: [p for module in modules for p in module.parameters()] for part, modules in parts.items()}
    owned["head"], rows = [p for p in model.parameters() if id(p) not in encoder], []
    sizes = {part: _sizes(p for p in parameters if id(p) not in unused) for part, parameters in owned.items()}
    for _, run in groupby(sizes, lambda part: sizes[part][1] / sizes[part][0] if isinstance(part, int) else part):
        run = list(run)
        name = f"layers {run[0]}-{run[-1]}" if isinstance(run[0], int) else run[0]
        rows.append((name, sum(sizes[part][0] for part in run), sum(sizes[part][1] for part in run)))
    return [row for row in rows if row[1]]


def _sizes(parameters):
    """How many numbers, and how many that are trained."""
    pairs = [(p.numel(), p.numel() * p.requires_grad) for p in parameters]
    return tuple(map(sum, zip(*pairs, strict=True))) or (0, 0)


def render(rows):
    """The rows of `table`, and their sum, as aligned lines."""
    rows = [*rows, ("all", sum(row[1] for row in rows), sum(row[2] for row in rows))]
    lines = [("part", "parameters", "trained"), *((part, f"{size:,}", f"{trained:,}") for part, size, trained in rows)]
    first, second, third = (max(map(len, column)) for column in zip(*lines, strict=True))
    return "\n".join(f"{part:{first}}  {size:>{second}}  {trained:>{third}}" for part, size, trained in lines)
