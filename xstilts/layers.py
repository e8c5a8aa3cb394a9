"""Parts of an encoder, said in one grammar and found by structure.

An encoder is its *embeddings*, its *layers* from 0 up, and its *top*: all that comes after the last layer (a final norm, a
pooler). A model's *head* is no part of it. The layers are the one ModuleList of `num_hidden_layers` modules; whatever else an
output of the layers depends on belongs to the embeddings, so also ELECTRA's and RemBERT's projections, and DeBERTa's relative
positions and convolution, which stand beside the layers. So with the lowest N layers frozen nothing up to `hidden_states[N]`
moves. (N all of them: where a final norm follows, as in ModernBERT, `hidden_states[N]` lies behind it; `all` freezes that too.)
"""

import re
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby

import torch

from xstilts.base import UserError


@dataclass(frozen=True)
class Selection:
    """Some parts of an encoder; `layers` counts from 0, `top` comes with everything else. `str` is one spelling of each."""

    embeddings: bool = False
    layers: frozenset = frozenset()
    top: bool = False

    def __str__(self):
        if self.top or not (self.embeddings or self.layers):
            return "all" if self.top else "none"
        if self.embeddings and self.layers == frozenset(range(len(self.layers))):
            return str(len(self.layers)) if self.layers else "embeddings"
        runs = groupby(enumerate(sorted(self.layers)), lambda pair: pair[1] - pair[0])  # of consecutive layers
        ranges = [[index for _, index in run] for _, run in runs]
        return ",".join(["embeddings"] * self.embeddings + [f"{run[0]}-{run[-1]}" for run in ranges])

    def both(self, other):
        """What is in this selection and in the other."""
        return Selection(self.embeddings and other.embeddings, self.layers & other.layers, self.top and other.top)


NOTHING = Selection()


def parse_layers(text, count, option="--freeze_layers"):
    """What `text` selects of an encoder of `count` layers, as a Selection.

    `N` alone: the embeddings and the lowest N layers (0: the embeddings). Else `none`, `all`, or a list of `embeddings` and
    ranges `a-b`, from 0 and inclusive; `-1` is the last layer. On a command line `--option=-2--1` keeps a leading minus.
    Raises UserError for a layer that is not there, an empty range, what is named twice, and unknown words.
    """
    text, selected = text.strip(), set()
    where, words = f"{option} {text}", {"none": NOTHING, "all": Selection(True, frozenset(range(count)), True)}
    if text in words:
        return words[text]
    if re.fullmatch("[0-9]+", text):
        if int(text) > count:
            raise UserError(f"{where} is more layers than the encoder has, which are {count}")
        return Selection(True, frozenset(range(int(text))))
    for item in map(str.strip, text.split(",")):
        named = {item} if item == "embeddings" else _range(item, count, where)
        if selected & named:
            raise UserError(f"{where}: '{item}' overlaps with what stands before it; name each part once")
        selected |= named
    return Selection("embeddings" in selected, frozenset(selected - {"embeddings"}))


def _range(item, count, where):
    """The indices of `a-b`."""
    if item in ("none", "all"):
        raise UserError(f"{where}: '{item}' stands alone, without other parts")
    if re.fullmatch("-?[0-9]+", item):
        raise UserError(f"{where}: a single layer is written {item}-{item} (a number alone, 0 or above, is how many)")
    if not (ends := re.fullmatch(r"(-?[0-9]+)\s*-\s*(-?[0-9]+)", item)):
        raise UserError(f"{where}: '{item}' is none of embeddings, a-b (layers a to b), none, all, or a number alone")
    first, last = (int(end) + count * end.startswith("-") for end in ends.groups())
    if not (0 <= first < count and 0 <= last < count):
        raise UserError(f"{where}: '{item}' is beyond the encoder, which has {count} layers, 0 to {count - 1}")
    if first > last:
        raise UserError(f"{where}: '{item}' is an empty range, layer {first} lies above layer {last}")
    return set(range(first, last + 1))


def encoder_of(model):
    """The encoder of a model, whether or not adapters were added to it."""
    return (model.get_base_model() if hasattr(model, "get_base_model") else model).base_model


def layers_of(model):
    """The layers of a model's encoder, a ModuleList. Raises UserError where they are not one list (ALBERT shares one layer)."""
    encoder = encoder_of(model)
    count = encoder.config.num_hidden_layers
    found = [m for m in encoder.modules() if isinstance(m, torch.nn.ModuleList) and len(m) == count]
    if len(found) != 1:
        raise UserError(f"{type(encoder).__name__} has {len(found)} lists of {count} layers; one is expected")
    return found[0]


def parts_of(model):
    """{part: its modules} of a model's encoder: "embeddings", each layer by its index, "top".

    The encoder runs once on two tokens, in evaluation mode: only its graph tells a relative position table from a final norm.
    Raises UserError as `layers_of` does, and for a parameter that stands in no module beside the layers.
    """
    encoder, layers = encoder_of(model), layers_of(model)
    used = _used_by_layers(encoder, layers)
    around = [module for module in encoder.modules() if layers in module.modules()]  # the last is `layers`
    beside = [child for module in around[:-1] for child in module.children() if child not in around]
    below = [m for m in beside if any(id(p) in used for p in m.parameters()) or not list(m.parameters())]
    top = [module for module in beside if module not in below]
    parts = {"embeddings": below, **{i: [layer] for i, layer in enumerate(layers)}, "top": top}
    assigned = {id(p) for modules in parts.values() for module in modules for p in module.parameters()}
    if lost := [name for name, p in encoder.named_parameters() if id(p) not in assigned]:
        raise UserError(f"{type(encoder).__name__}: {lost[0]} is in no layer and no module beside the layers")
    return parts


def modules_of(model, selection):
    """The modules of the selected parts of a model's encoder."""
    parts = parts_of(model)
    names = ["embeddings"] * selection.embeddings + sorted(selection.layers) + ["top"] * selection.top
    return [module for name in names for module in parts[name]]


def _used_by_layers(encoder, layers):
    """Ids of the parameters that the output of the last layer depends on."""
    outputs, used, seen = [], set(), set()
    with _all_in_graph(encoder), layers[-1].register_forward_hook(lambda *call: outputs.append(call[-1])):
        tokens = torch.ones(1, 2, dtype=torch.long, device=next(encoder.parameters()).device)
        encoder(input_ids=tokens, attention_mask=tokens)
    nodes = [(outputs[0][0] if isinstance(outputs[0], tuple) else outputs[0]).grad_fn]
    while nodes:
        if (node := nodes.pop()) is not None and node not in seen:
            seen.add(node)
            used.add(id(getattr(node, "variable", None)))
            nodes += [following for following, _ in node.next_functions]
    return used


@contextmanager
def _all_in_graph(encoder):
    """Every parameter requires a gradient, and nothing draws from the random generator; afterwards all is as it was."""
    before = [(module, "training", module.training) for module in encoder.modules()]
    before += [(parameter, "requires_grad", parameter.requires_grad) for parameter in encoder.parameters()]
    try:
        encoder.requires_grad_(True).eval()
        with torch.enable_grad():
            yield
    finally:
        for owner, name, value in before:
            setattr(owner, name, value)
