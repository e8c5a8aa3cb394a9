"""How far an encoder moved, part by part: in its weights, and in what it makes of the same sentences.

The two need not agree: weights that move along directions which no input uses change no vector, and a small change below grows on
its way up.
"""

import math
from typing import NamedTuple

import torch

from xstilts.base import UserError
from xstilts.checkpoint import check_length, depth_of, load_encoder, load_tokenizer, stored_encoder
from xstilts.layers import encoder_of, layers_of, parts_of
from xstilts.lineage import lineage_of, lineage_text
from xstilts.pooling import POOLER
from xstilts.templates import ENGLISH

OPTION = "--compare_with"
CHUNK = 2**20  # numbers that are held in double precision at a time
MINIMAL_SENTENCES = 4  # below, the unbiased estimate of dependence does not exist
ROUNDING = 1e-12  # what is left of 0 in float64, as a share of the squared sum of squares


def encoder_changes(before, after):
    """`weight_changes` from an encoder and the names of its tensors that its checkpoint has (as `checkpoint.stored_encoder` gives
    them) to a checkpoint. What either of them lacks does not count: XLM-R's pretraining trained no pooler, and heads for tagging
    and QA need none."""
    (old, known), (new, stored) = before, stored_encoder(after)
    return weight_changes(old, new, known & stored)


def weight_changes(before, after, counted=None):
    """{part: ||W_after - W_before|| / ||W_before||} over all parameters of a part of two encoders, Frobenius norms in float64.

    before, after   models on encoders of one shape, on any device; heads do not count
    counted         names, within the encoder, of the parameters that count; None for all
    Parts are "embeddings", "0" for the lowest layer and so on up, "top"; one without a parameter that counts is left out.
    Raises UserError where the encoders have not the same parameters.
    """
    old, new = (
        {name: p.detach() for name, p in encoder_of(model).named_parameters() if counted is None or name in counted}
        for model in (before, after)
    )
    if other := [name for name in [*old, *new] if _shape(old, name) != _shape(new, name)]:
        shapes = f"{_shape(old, other[0])} before and {_shape(new, other[0])} after"
        raise UserError(f"weights of encoders of different shapes cannot be compared: {other[0]} is {shapes}")
    changes, names = {}, {id(p): name for name, p in encoder_of(after).named_parameters()}
    for part, modules in parts_of(after).items():
        owned = dict.fromkeys(names[id(p)] for module in modules for p in module.parameters())
        if pairs := [(old[name], new[name]) for name in owned if name in new]:
            changes[str(part)] = _relative_change(pairs)
    return changes


def _shape(weights, name):
    return tuple(weights[name].shape) if name in weights else "absent"


def _relative_change(pairs):
    """||b - a|| / ||a|| over all tensors of (a, b), a chunk at a time: XLM-R's embeddings alone would be 2 GB in float64."""
    moved = size = 0.0
    for tensors in pairs:
        for chunk in zip(*(tensor.flatten().split(CHUNK) for tensor in tensors), strict=True):
            old, new = (part.to("cpu", torch.float64) for part in chunk)
            moved += (new - old).square().sum().item()
            size += old.square().sum().item()
    return math.sqrt(moved / size)


def linear_cka(x, y):
    """Linear centred kernel alignment (Kornblith et al. 2019) of two sets of vectors for the same sentences, a float up to 1.

    x, y    (sentences, width) arrays or tensors; widths may differ
    Each of the three dependences in it is the unbiased estimate of HSIC (Song et al. 2012, as in Nguyen et al. 2021). The usual
    plug-in is inflated where there are fewer sentences than dimensions, towards 1 even for unrelated vectors, and so grows as a
    language's number of sentences shrinks: with it Tatoeba's languages, with 200 to 1,000 sentences, could not be compared.
    Unrelated vectors give about 0 here, a little below it as often as above.
    Raises UserError for fewer than 4 sentences, for sets of different size, and for vectors that do not vary.
    """
    x, y = (torch.as_tensor(vectors, dtype=torch.float64) for vectors in (x, y))
    if len(x) != len(y):
        raise UserError(f"vectors of {len(x)} sentences cannot be compared with vectors of {len(y)}")
    if len(x) < MINIMAL_SENTENCES:
        raise UserError(f"CKA needs {MINIMAL_SENTENCES} sentences or more, and there are {len(x)}")
    x, y = (vectors - vectors.mean(0) for vectors in (x, y))
    own = [_hsic(vectors, vectors) for vectors in (x, y)]
    if any(value <= ROUNDING * vectors.square().sum() ** 2 for value, vectors in zip(own, (x, y), strict=True)):
        raise UserError(
            f"CKA of {len(x)} sentences does not exist: their vectors lie all at the same distance, or at none"
        )
    return _hsic(x, y) / math.sqrt(own[0] * own[1])


def cka_by_layer(ours, theirs):
    """`linear_cka` of {layer: vectors} of two encoders with the same layers, as a list from layer 0 up."""
    return [linear_cka(ours[layer], theirs[layer]) for layer in sorted(ours)]


def _hsic(x, y):
    """The unbiased estimate of HSIC under linear kernels, times n (n - 3), which cancels in CKA.

    Song et al. (2012), equation 5: with K and L the Gram matrices whose diagonals are set to 0,
    tr(KL) + sum(K) sum(L) / (n - 1)(n - 2) - 2 sum(KL) / (n - 2). For centred vectors the rows of K sum to minus the squared
    lengths, so that n x n matrices are not needed: time O(n d^2), memory O(d^2).
    """
    n, a, b = len(x), x.square().sum(1), y.square().sum(1)
    return ((x.T @ y).square().sum() + a.sum() * b.sum() / ((n - 1) * (n - 2)) - n / (n - 2) * (a @ b)).item()


class Compared(NamedTuple):
    """The encoder of `--compare_with`, its tokenizer, and what run.json says of it."""

    encoder: object
    tokenizer: object
    about: dict


def load_compared(args, encoder, collections):
    """What `encoder` is compared with on the sentences of all collections.

    Raises UserError where it cannot be loaded, has another number of layers or too few positions, and for too few sentences.
    """
    path = args.compare_with
    if args.pooling == POOLER:
        raise UserError(f"{OPTION} compares all layers, and --pooling pooler has the last one only")
    sizes = {each.languages[0]: len(each.sides[ENGLISH].texts) for each in collections}
    if few := [language for language, size in sizes.items() if size < MINIMAL_SENTENCES]:
        raise UserError(f"{OPTION} needs {MINIMAL_SENTENCES} sentences or more; '{few[0]}' has {sizes[few[0]]}")
    try:
        theirs, ours = depth_of(path), len(layers_of(encoder))
        if theirs != ours:
            raise UserError(f"{OPTION} {path} has {theirs} layers and the encoder {ours}; they are compared one by one")
        base, tokenizer, lineage = load_encoder(path), load_tokenizer(path), lineage_of(path)
        check_length(base, tokenizer, args.max_seq_length)
        check_length(base, tokenizer, args.max_query_length, "--max_query_length")
    except UserError as error:
        raise UserError(str(error).replace("--model_name_or_path", OPTION)) from error
    return Compared(base, tokenizer, {"model": lineage_text(lineage), "fingerprint": lineage[-1]["fingerprint"]})


def sides_compared(collection, collections):
    """Names of the sides whose vectors are compared: of every pair the foreign one, of the largest also the English one."""
    largest = max(collections, key=lambda each: len(each.sides[ENGLISH].texts))
    return list(collection.sides) if collection is largest else list(collection.languages)
