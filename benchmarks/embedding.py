"""How fast sentences become vectors: against sentence-transformers, and every layer against one.

Tatoeba sentences of all languages that there are official files of, both sides, with the same weights, mean pooling over all
tokens, batches of 64 and 128 tokens at most, three ways:

one       `embeddings.vectors_of` with the last layer: a whole forward pass, one layer pooled
all       the same with every layer, in one pass
st        `SentenceTransformer.encode`, left out where the package is not installed

Tokenisation is in all of them. The encoder has XLM-R's shape and random weights, since the cost does not depend on what was
learned. The vectors have to agree.
"""

import contextlib
import io
import tempfile
from functools import partial

import numpy as np
import torch
from transformers import AutoConfig, XLMRobertaModel, set_seed

from benchmarks.measuring import (
    copy_bandwidth,
    encoder_config,
    forward_operations,
    gemm_peak,
    in_turns,
    installed,
    medians,
    peak_mb_of,
    ratio,
    steadier,
    table,
)
from tasks import load_task
from xstilts.base import UserError
from xstilts.checkpoint import load_encoder, load_tokenizer, save_tokenizer
from xstilts.embeddings import token_rows, vectors_of
from xstilts.evaluation import batches_by_length
from xstilts.languages import load_sentences
from xstilts.task import RetrievalTask, Side

TITLE = "Sentences to vectors against sentence-transformers"
LENGTH, BATCH, WEIGHED = 128, 64, 512  # tokens at most; sentences of a batch, and of the runs whose memory is measured
SETTINGS = {
    "pooling": "mean",
    "max_length": LENGTH,
    "prefix": "",
    "precision": "fp32",
    "batch_size": BATCH,
}
PEER = "sentence-transformers"
HEADER = "way | sentences per second | floor | time over one layer's | by processor time | peak memory, MB"


# ---- what is compared -----------------------------------------------------------------------------------------------


def sentences(args):
    """Sentences of both sides of all languages: all of them, or of equal distance about 1,000 in the order of the files."""
    with contextlib.redirect_stdout(io.StringIO()):  # which languages there are no files of is no news here
        pairs, _ = load_sentences(load_task("tatoeba", RetrievalTask), "test", None, args.data_dir)
    columns = ("target_sentence", "source_sentence")
    texts = [text for examples in pairs.values() for column in columns for text in examples.rows[column]]
    return texts if args.long or args.cuda else texts[:: max(1, len(texts) // 1000)]


def save_encoder(folder, args):
    """Write a checkpoint of XLM-R's shape with random weights."""
    tokenizer = load_tokenizer(args.tokenizer)
    set_seed(0)
    XLMRobertaModel(encoder_config(args.encoder, len(tokenizer)), add_pooling_layer=False).save_pretrained(folder)
    save_tokenizer(tokenizer, folder)


def way_of(name, folder, cuda):
    """A function of texts that returns the (texts, width) vectors of the last layer."""
    device = "cuda" if cuda else "cpu"
    if name == "st":
        return partial(with_peer, peer(folder, device))
    encoder = load_encoder(folder).to(device)
    depth = encoder.config.num_hidden_layers
    layers = [depth] if name == "one" else [*range(depth + 1)]
    return partial(ours, encoder, load_tokenizer(folder), layers, folder)


def ours(encoder, tokenizer, layers, folder, texts):
    """The vectors of the last of some layers."""
    return vectors_of("side", Side(texts), encoder, tokenizer, layers, SETTINGS, folder)[layers[-1]]


def peer(folder, device):
    """sentence-transformers' model of a checkpoint."""
    from sentence_transformers import SentenceTransformer, models  # only users who want to compare have it

    reader = models.Transformer(str(folder), max_seq_length=LENGTH)
    pooling = models.Pooling(AutoConfig.from_pretrained(folder).hidden_size, pooling_mode="mean")
    return SentenceTransformer(modules=[reader, pooling], device=device)


def with_peer(model, texts):
    """The same by sentence-transformers."""
    return model.encode(texts, batch_size=BATCH, show_progress_bar=False)


# ---- measuring ------------------------------------------------------------------------------------------------------


def measure(args):
    """All figures."""
    texts, names = sentences(args), ["one", "all", *(["st"] if installed(PEER) else [])]
    with tempfile.TemporaryDirectory() as folder:
        save_encoder(folder, args)
        memory = {
            name: peak_mb_of(weigh, name, folder, texts[:WEIGHED], args.cuda, imports=imports(name)) for name in names
        }
        ways = {name: way_of(name, folder, args.cuda) for name in names}
        check_equal({name: way(texts[:256]) for name, way in ways.items()})
        rounds = 5 if args.long else 2
        spent = in_turns({name: partial(way, texts) for name, way in ways.items()}, rounds)
        floors = floors_of(texts, load_encoder(folder).config, load_tokenizer(folder), args.cuda)
    return {
        "settings": {"encoder": args.encoder, "rounds": rounds},
        "kind": steadier(args.cuda),
        "sentences": len(texts),
        "floor_seconds": {name: floors["one" if name == "st" else name] for name in names},
        "seconds": medians(spent),
        "over_one": {name: ratio(spent, name, "one") for name in names},
        "memory_mb": memory,
    }


def imports(name):
    """Modules that a way needs beside ours."""
    return ["sentence_transformers"] if name == "st" else []


def weigh(name, folder, texts, cuda):
    """Load the encoder and use it once, for its memory."""
    way_of(name, folder, cuda)(texts)


def check_equal(vectors):
    """Raise UserError where the ways find different vectors."""
    for name, found in vectors.items():
        if not np.allclose(found, vectors["one"], atol=1e-4):
            raise UserError(f"{name} and one give different vectors: {np.abs(found - vectors['one']).max()}")


def floors_of(texts, config, tokenizer, cuda):
    """Seconds that the layers' operations take at the speed of the fastest multiplication, in batches sorted by length; of all
    layers, also reading their states once at the speed of a copy."""
    device, lengths = (
        "cuda" if cuda else "cpu",
        np.array([len(row["input_ids"]) for row in token_rows(texts, tokenizer, SETTINGS)]),
    )
    padded = np.concatenate([[lengths[batch].max()] * len(batch) for batch in batches_by_length(lengths, BATCH)])
    one = forward_operations(config, padded) / gemm_peak(device, torch.float32)
    states = 4 * config.num_hidden_layers * int(padded.sum()) * config.hidden_size
    return {"one": one, "all": one + states / copy_bandwidth(device)}


# ---- report ---------------------------------------------------------------------------------------------------------


def targets(figures):
    """All layers cost little more than one; no slower than the peer."""
    every = figures["over_one"]["all"][figures["kind"]]["median"]
    yield "vectors of all layers over a whole pass with one", "at most 1.15 times", f"{every:.2f}", every <= 1.15
    if "st" not in figures["over_one"]:
        yield f"one layer against {PEER}", "at least as fast", "not installed", None
        return
    faster = figures["over_one"]["st"][figures["kind"]]["median"]
    yield f"one layer against {PEER}", "at least as fast", f"{faster:.2f} times", faster >= 1


def render(figures):
    """The figures as Markdown."""
    chosen = figures["settings"]
    return "\n\n".join([
        f"Encoder {chosen['encoder']}, float32; {figures['sentences']:,} sentences of Tatoeba, {BATCH} a batch, at most {LENGTH} "
        f"tokens; medians of {chosen['rounds']} rounds. The floor, here a ceiling, is what the layers' operations allow at the "
        "speed of the fastest multiplication; with all layers their states are read once more, at the speed of a copy. Memory "
        f"has the weights in it, and is that of {WEIGHED} sentences.",
        table(HEADER.split(" | "), rows(figures)),
    ])  # fmt: skip


def rows(figures):
    """A row for each way."""
    layers = int(figures["settings"]["encoder"].split("x")[0])
    found = []
    for name, title in {"one": "one layer", "all": f"all {layers + 1} layers", "st": PEER}.items():
        if name not in figures["seconds"]:
            found.append([title, "not installed", "", "", "", ""])
            continue
        speeds = (
            figures["sentences"] / each for each in (figures["seconds"][name]["time"], figures["floor_seconds"][name])
        )
        over = (f"{each['median']:.2f}" for each in figures["over_one"][name].values())
        found.append([title, *(f"{speed:,.0f}" for speed in speeds), *over, f"{figures['memory_mb'][name]:,.0f}"])
    return found
