"""Sentence embeddings from layers of an encoder, and search with them. No training, no head."""

from functools import partial

import torch
from accelerate import PartialState
from accelerate.utils import gather_object
from tqdm import tqdm

from xstilts.errors import UserError, is_main_process, say
from xstilts.layers import layers_of


def default_layer(encoder):
    """The authors' hidden_states[14] of 24 (jiant, tasks/lib/tatoeba.py), at the same relative depth in other encoders."""
    return round(14 / 24 * encoder.config.num_hidden_layers)


def choose_layer(encoder, layer):
    """`layer`, or the default where it is None. Raises UserError for one that the encoder lacks."""
    depth = len(layers_of(encoder))
    layer = default_layer(encoder) if layer is None else layer
    if not 0 <= layer <= depth:
        raise UserError(f"--layer {layer}: this encoder has hidden_states[0] to [{depth}]")
    say(f"mean over the tokens of hidden_states[{layer}] of {depth} layers")
    return layer


class _Reached(Exception):
    """The highest layer asked for has its input; the layers from here on need not run."""


def hidden_states(encoder, layers, inputs):
    """{layer: `hidden_states[layer]`} of an encoder, each (batch, tokens, width), in the order of `layers`; index 0 is the
    embeddings, the last one the model's output. No layer above the highest of `layers` is run."""
    modules, seen = layers_of(encoder), {}

    def keep(layer, module, args, kwargs):
        seen[layer] = args[0] if args else kwargs["hidden_states"]
        if layer == max(layers):
            raise _Reached

    inner = [layer for layer in layers if layer < len(modules)]
    hooks = [modules[layer].register_forward_pre_hook(partial(keep, layer), with_kwargs=True) for layer in inner]
    try:
        seen[len(modules)] = encoder(**inputs).last_hidden_state
    except _Reached:
        pass
    finally:
        for hook in hooks:
            hook.remove()
    return {layer: seen[layer] for layer in layers}


def embed(sentences, encoder, tokenizer, layers, max_seq_length, batch_size):
    """Mean over all attended tokens, specials included, of some layers: {layer: (sentences, width) float32 on the CPU, in order}.

    Every sentence goes through the encoder once. Batches hold sentences of similar length; several processes share the batches,
    and each gets all vectors.
    """
    device = next(encoder.parameters()).device
    ids = tokenizer(sentences, truncation=True, max_length=max_seq_length)["input_ids"]
    by_length = sorted(range(len(sentences)), key=lambda index: len(ids[index]))
    batches = [by_length[start : start + batch_size] for start in range(0, len(by_length), batch_size)]
    pooled = []
    state = PartialState()
    mine = batches[state.process_index :: state.num_processes]
    with torch.inference_mode():
        for batch in tqdm(mine, desc="embed", leave=False, disable=None if is_main_process() else True):
            inputs = tokenizer.pad({"input_ids": [ids[index] for index in batch]}, return_tensors="pt").to(device)
            mask = inputs["attention_mask"][..., None].float()
            states = hidden_states(encoder, layers, inputs)
            vectors = {layer: ((each.float() * mask).sum(1) / mask.sum(1)).cpu() for layer, each in states.items()}
            pooled.append((batch, vectors))
    pooled = gather_object(pooled)
    order = torch.tensor([index for batch, _ in pooled for index in batch]).argsort()
    assert len(order) == len(sentences)
    return {layer: torch.cat([vectors[layer] for _, vectors in pooled])[order] for layer in layers}


def nearest(queries, index):
    """Position in `index` of the nearest vector by cosine, for each of `queries`; the first of equals."""
    queries, index = (torch.nn.functional.normalize(vectors, dim=-1) for vectors in (queries, index))
    return (queries @ index.T).argmax(-1).tolist()


def sorted_english(sentences):
    """Order of the English side in the benchmark's files: alphabetical, so that positions give no translation away."""
    return sorted(range(len(sentences)), key=lambda position: sentences[position].strip())


def write(path, positions):
    """XTREME's file: one position a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{position}\n" for position in positions), encoding="utf-8")
