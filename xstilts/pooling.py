"""One vector per text from the hidden states of any layers of an encoder, pooled inside a single forward pass.

mean              over all attended tokens, specials included: the authors' (nyu-mll/jiant, `{"pooler_type": "mean"}`)
mean_no_special   over the tokens of the text alone (google-research/xtreme, `--pool_skip_special_token`)
cls               the first token
max               the largest value of every dimension over all attended tokens
pooler            what the encoder's own pooler makes of the last layer, where its training used it (LaBSE)
"""

from functools import partial

import torch

from xstilts.base import UserError
from xstilts.layers import layers_of

POOLINGS = ("mean", "mean_no_special", "cls", "max", "pooler")
POOLER = "pooler"


class _Reached(Exception):
    """The highest layer asked for has its input; the layers from here on need not run."""


def hidden_states(encoder, layers, inputs, pool=lambda states: states):
    """{layer: `pool(hidden_states[layer])`} in the order of `layers`; index 0 is the embeddings, the last one the model's output.

    Each state, (batch, tokens, width), is pooled where it arises, so that only one lives at a time. No layer above the highest
    of `layers` is run.
    """
    modules, seen = layers_of(encoder), {}

    def keep(layer, module, args, kwargs):
        seen[layer] = pool(args[0] if args else kwargs["hidden_states"])
        if layer == max(layers):
            raise _Reached

    inner = [layer for layer in layers if layer < len(modules)]
    hooks = [modules[layer].register_forward_pre_hook(partial(keep, layer), with_kwargs=True) for layer in inner]
    try:
        seen[len(modules)] = pool(encoder(**inputs).last_hidden_state)
    except _Reached:
        pass
    finally:
        for hook in hooks:
            hook.remove()
    return {layer: seen[layer] for layer in layers}


def pooled_states(encoder, layers, pooling, inputs, counted):
    """{layer: (batch, width) float32 vectors}, pooled in float32 whatever the encoder computes in.

    inputs    what the encoder reads, as tensors padded at the right
    counted   (batch, tokens) 1 for the tokens that are pooled over, 0 for others; every row needs one
    """
    if pooling == POOLER:
        (last,) = layers
        return {last: encoder(**inputs).pooler_output.float()}
    return hidden_states(encoder, layers, inputs, partial(POOL[pooling], counted=counted))


def _checked(states, counted):
    if states.shape[1] != counted.shape[1]:
        raise UserError("this encoder pads its inputs itself, so that its states cannot be pooled")
    return states.float()


def _mean(states, counted):
    weights = counted.float() / counted.sum(1, keepdim=True)
    with torch.autocast(states.device.type, enabled=False):
        return torch.bmm(weights[:, None], _checked(states, counted))[:, 0]


def _first(states, counted):
    return states[:, 0].float()


def _largest(states, counted):
    return _checked(states, counted).masked_fill(counted[..., None] == 0, -torch.inf).amax(1)


POOL = {"mean": _mean, "mean_no_special": _mean, "cls": _first, "max": _largest}


def check_pooling(pooling, layers, encoder, stored):
    """Raise UserError for an unknown `--pooling`, and for a pooler that is not there or asked for below the last layer.

    stored    names of the encoder's tensors that its checkpoint has: a pooler that is drawn at random is none
    """
    if pooling not in POOLINGS:
        raise UserError(f"--pooling {pooling} is not one of {', '.join(POOLINGS)}")
    if pooling != POOLER:
        return
    depth = len(layers_of(encoder))
    own = {name for name in encoder.state_dict() if name.startswith("pooler.")}
    if not own or own - stored:
        raise UserError("--pooling pooler: the checkpoint has no pooler that was trained")
    if layers != [depth]:
        raise UserError(f"--pooling pooler reads the last layer only; give --layers {depth}")


def default_layer(depth):
    """The authors' hidden_states[14] of 24 (jiant, tasks/lib/tatoeba.py), at the same relative depth in other encoders."""
    return round(14 / 24 * depth)


def last_layer(depth):
    """The encoder's output."""
    return depth


def parse_states(text, depth, default):
    """`--layers` as a list of indices into hidden_states, ascending: `14`, `10-16`, `0,7,14`, `all`; None gives [default].

    A bare 14 is one state here, what the 14 lowest layers make of the embeddings. Raises UserError for what is no such list, and
    for a state that an encoder of `depth` layers lacks.
    """
    if text is None:
        return [default]
    if text == "all":
        return list(range(depth + 1))
    found = set()
    for part in text.split(","):
        ends = [int(end) for end in part.split("-") if end.isascii() and end.isdecimal()]
        if len(ends) != part.count("-") + 1 or len(ends) > 2 or ends[0] > ends[-1]:
            raise UserError(f"--layers {text}: '{part}' is not an index (14), a range (10-16) or `all`")
        found |= set(range(ends[0], ends[-1] + 1))
    if wrong := sorted(layer for layer in found if layer > depth):
        raise UserError(f"--layers {text}: this encoder has hidden_states[0] to [{depth}], not [{wrong[0]}]")
    return sorted(found)
