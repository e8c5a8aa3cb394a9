"""Sentence embeddings from one layer of an encoder, and search with them. No training, no head."""

import torch
from accelerate import PartialState
from accelerate.utils import gather_object
from tqdm import tqdm

from xstilts.errors import UserError, is_main_process, say


def layers_of(encoder):
    """The encoder's stack of layers: its only ModuleList as long as the configuration says."""
    depth = encoder.config.num_hidden_layers
    return next(m for m in encoder.modules() if isinstance(m, torch.nn.ModuleList) and len(m) == depth)


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
    """The layer asked for has its input; the layers from here on need not run."""


def hidden_states(encoder, layer, inputs):
    """`hidden_states[layer]` of an encoder, (batch, tokens, width); index 0 is the embeddings. No higher layer is run."""
    layers = layers_of(encoder)
    if layer == len(layers):
        return encoder(**inputs).last_hidden_state
    seen = []

    def stop(module, args, kwargs):
        seen.append(args[0] if args else kwargs["hidden_states"])
        raise _Reached

    handle = layers[layer].register_forward_pre_hook(stop, with_kwargs=True)
    try:
        encoder(**inputs)
    except _Reached:
        pass
    finally:
        handle.remove()
    return seen[0]


def embed(sentences, encoder, tokenizer, layer, max_seq_length, batch_size):
    """Mean over all attended tokens, specials included, of one layer: (sentences, width) float32 on the CPU, in order.

    Batches hold sentences of similar length; several processes share the batches, and each gets all vectors.
    """
    device = next(encoder.parameters()).device
    ids = tokenizer(sentences, truncation=True, max_length=max_seq_length)["input_ids"]
    by_length = sorted(range(len(sentences)), key=lambda index: len(ids[index]))
    batches = [by_length[start : start + batch_size] for start in range(0, len(by_length), batch_size)]
    vectors = []
    state = PartialState()
    mine = batches[state.process_index :: state.num_processes]
    with torch.inference_mode():
        for batch in tqdm(mine, desc="embed", leave=False, disable=None if is_main_process() else True):
            inputs = tokenizer.pad({"input_ids": [ids[index] for index in batch]}, return_tensors="pt").to(device)
            states = hidden_states(encoder, layer, inputs).float()
            mask = inputs["attention_mask"][..., None].float()
            pooled = (states * mask).sum(1) / mask.sum(1)
            vectors += zip(batch, pooled.cpu(), strict=True)
    ordered = sorted(gather_object(vectors), key=lambda pair: pair[0])
    assert len(ordered) == len(sentences)
    return torch.stack([vector for _, vector in ordered])


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
