"""The frozen lowest layers of a model: how many there are, what they make of inputs, and a model that is entered above them.

Entered above them it computes what it computes by itself where its upper layers read nothing of the lower ones but the output of
the last (`check_enterable` tries it out). The embeddings still run: masks and relative positions are made beside them. Names of
parameters and state dicts stay as they are.
"""

import hashlib
import json
from functools import partial
from itertools import chain

import torch

from xstilts.errors import UserError
from xstilts.examples import hash_of
from xstilts.layers import encoder_of, layers_of, parts_of

OPTION = "--cache_frozen_prefix"
NOT_ENCODER = "_name_or_path architectures id2label label2id problem_type transformers_version dtype".split()


def frozen_layers(model):
    """How many of the lowest layers are frozen, with the embeddings and without dropout. Raises UserError for none."""
    parts, was_training = parts_of(model), model.training
    model.train()
    varying = {name for name, modules in parts.items() if any(map(_varies, modules))}
    model.train(was_training)
    count = min(varying & {*range(len(layers_of(model)))}, default=len(layers_of(model)))
    if "embeddings" in varying or count == 0:
        raise UserError(f"{OPTION} needs embeddings and lowest layers that stay frozen, as with --freeze_layers 6")
    return count


def _varies(module):
    """Whether what a module computes may change in training."""
    return any(part.training for part in module.modules()) or any(p.requires_grad for p in module.parameters())


class _Reached(Exception):
    """The prefix is through; the layers above need not run."""


class FrozenPrefix:
    """The lowest `count` layers of a model. From now on, where the model is called with `states`, (..., tokens, width), these
    layers return them instead of working."""

    def __init__(self, model, count):
        self.model, self.count, self.states, self.is_asked = model, count, None, False
        for number, layer in enumerate(layers_of(model)[:count]):
            layer.forward = partial(self._forward, number, layer.forward)  # on the instance: no name changes
        model.register_forward_pre_hook(self._take, with_kwargs=True)
        model.register_forward_hook(self._drop, always_call=True)

    def _take(self, model, args, inputs):
        states = inputs.pop("states", None)  # the model itself knows nothing of them
        self.states = None if states is None else states.flatten(0, -3).to(self.dtype)
        return args, inputs

    def _drop(self, model, args, outputs):
        self.states = None

    def _forward(self, number, live, *args, **inputs):
        """The forward pass of a layer; of the last one, also the end of `states_of`."""
        if self.states is not None:
            return self.states if self.others is None else (self.states, *self.others)
        output = live(*args, **inputs)
        if self.is_asked and number == self.count - 1:
            raise _Reached(output)
        return output

    def states_of(self, inputs):
        """(inputs, tokens) token ids and what goes with them -> (inputs, tokens, width) float32, the output of the last layer.

        Also notes its type, and its form: the states, or a tuple that begins with them.
        """
        self.is_asked = True
        try:
            encoder_of(self.model)(**inputs)
        except _Reached as reached:
            output = reached.args[0]
        finally:
            self.is_asked = False
        self.others = (None,) * (len(output) - 1) if isinstance(output, tuple) else None
        states = output if self.others is None else output[0]
        self.dtype = states.dtype
        return states.float()

    def record(self):
        """What its output depends on beside the inputs, as JSON types."""
        parts, config = parts_of(self.model), encoder_of(self.model).config
        read = {name: value for name, value in config.to_dict().items() if name not in NOT_ENCODER}
        modules = chain(*(parts[name] for name in ("embeddings", *range(self.count))))
        return {
            "encoder": config.model_type,
            "config": short_hash(read),
            "attention": config._attn_implementation,
            "width": config.hidden_size,
            "layers": self.count,
            "weights": _weights_hash(modules),
        }


def check_enterable(prefix, inputs):
    """Raise UserError unless an encoder that gets the states of its prefix computes what it computes by itself."""
    model, encoder, was_training = prefix.model, encoder_of(prefix.model), prefix.model.training
    model.eval()
    with torch.inference_mode():
        expected = encoder(**inputs).last_hidden_state
        prefix.states = prefix.states_of(inputs).to(prefix.dtype)
        found, prefix.states = encoder(**inputs).last_hidden_state, None
    model.train(was_training)
    if not torch.allclose(found, expected, rtol=1e-5, atol=1e-5):
        name = type(encoder).__name__
        raise UserError(f"{OPTION}: layers of {name} read more than the output of the layer below; leave it out")


def _weights_hash(modules):
    """16 hexadecimal digits of the names and values of the tensors of modules."""
    digest = hashlib.sha256()
    for number, module in enumerate(modules):
        for name, tensor in module.state_dict().items():
            digest.update(f"{number} {name} {tuple(tensor.shape)} {tensor.dtype}".encode())
            digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()[:16]


def short_hash(content):
    """16 hexadecimal digits of JSON types."""
    return hash_of(json.dumps(content, sort_keys=True, default=str))[:16]
