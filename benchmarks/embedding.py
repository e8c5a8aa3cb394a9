"""How fast sentences become vectors: against sentence-transformers, and every layer against one.

    OMP_NUM_THREADS=1 python benchmarks/embedding.py --data_dir DIR --tokenizer DIR [--encoder 6x384] [--rounds 3] [--cuda]

The Tatoeba sentences of all languages that `--data_dir` has official files of, both sides, with the same weights, mean pooling
over all tokens, batches of 64 and 128 tokens at most, three ways:

one       `embeddings.vectors_of` with the last layer: a whole forward pass, one layer pooled, written to disk
all       the same with every layer, in one pass
st        `SentenceTransformer.encode`, its vectors kept in memory (needs `pip install sentence-transformers`)

They take turns, round after round, after a warm-up; tokenisation is in all of them. Writes a Markdown report and the same figures
as JSON beside it. The encoder has XLM-R's shape and random weights, since the cost does not depend on what was learned.
"""

import argparse
import os
import platform
import re
import sys
import tempfile
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
from transformers import XLMRobertaConfig, XLMRobertaModel, set_seed

from tasks import load_task
from xstilts.checkpoint import load_tokenizer, save_tokenizer
from xstilts.embeddings import vectors_of
from xstilts.errors import UserError, run_script, say
from xstilts.json_files import write_json
from xstilts.languages import load_sentences
from xstilts.task import RetrievalTask, Side

ROOT = Path(__file__).resolve().parents[1]
LENGTH, BATCH = 128, 64
PACKAGES = "torch transformers sentence-transformers numpy".split()


def sentences(data_dir, max_samples):
    """All sentences of both sides, in the order of the files."""
    pairs, _ = load_sentences(load_task("tatoeba", RetrievalTask), "test", None, data_dir, max_samples)
    columns = ("target_sentence", "source_sentence")
    return [text for examples in pairs.values() for column in columns for text in examples.rows[column]]


def make_encoder(folder, tokenizer, size, cuda):
    """A checkpoint of XLM-R's shape with random weights in `folder`; returns the encoder."""
    layers, width = size
    sizes = {"num_hidden_layers": layers, "hidden_size": width, "intermediate_size": 4 * width}
    sizes |= {"num_attention_heads": width // 64, "max_position_embeddings": 514, "type_vocab_size": 1}
    set_seed(0)
    encoder = XLMRobertaModel(XLMRobertaConfig(**sizes, vocab_size=len(tokenizer)), add_pooling_layer=False).eval()
    encoder.save_pretrained(folder)
    save_tokenizer(tokenizer, folder)
    return encoder.to("cuda" if cuda else "cpu")


def peer(folder, cuda):
    """text list -> (texts, width) vectors by sentence-transformers."""
    try:
        from sentence_transformers import SentenceTransformer, models
    except ImportError as error:
        raise UserError(f"pip install sentence-transformers, which is compared with ({error})") from error
    reader = models.Transformer(str(folder), max_seq_length=LENGTH)
    pooling = models.Pooling(reader.get_word_embedding_dimension(), pooling_mode="mean")
    model = SentenceTransformer(modules=[reader, pooling], device="cuda" if cuda else "cpu")
    return lambda texts: model.encode(texts, batch_size=BATCH, show_progress_bar=False)


def ours(encoder, tokenizer, layers, folder):
    """text list -> (texts, width) vectors of the last of some layers, none of which lie on disk yet."""
    settings = {"checkpoint": "random", "pooling": "mean", "max_length": LENGTH, "prefix": "", "precision": "fp32"}

    def run(texts):
        with tempfile.TemporaryDirectory(dir=folder) as place:
            found = vectors_of(
                "side", Side(texts), encoder, tokenizer, layers, {**settings, "batch_size": BATCH}, place
            )
            return np.array(found[layers[-1]])

    return run


def used():
    """(seconds, processor seconds) so far, after a GPU has done what it was told."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return np.array([time.perf_counter(), time.process_time()])


def measure(ways, texts, rounds):
    """{way: [(seconds, processor seconds) of each round]}. Raises UserError where the ways find different vectors."""
    first = {name: run(texts[:256]) for name, run in ways.items()}
    for name, vectors in first.items():
        if not np.allclose(vectors, first["one"], atol=1e-4):
            raise UserError(f"{name} and one give different vectors: {np.abs(vectors - first['one']).max()}")
    seconds = {name: [] for name in ways}
    for number in range(rounds):
        for name, run in ways.items():
            before = used()
            run(texts)
            seconds[name].append((used() - before).tolist())
        say(f"{number + 1} of {rounds} rounds: {', '.join(f'{n} {s[-1][0]:.1f} s' for n, s in seconds.items())}")
    return seconds


def machine(cuda):
    """What it ran on."""
    cpu = Path("/proc/cpuinfo")
    names = re.findall(r"^model name\s*: (.*)$", cpu.read_text(), re.MULTILINE) if cpu.exists() else []
    found = {"processor": names[0] if names else platform.processor(), "cores": os.cpu_count()}
    found |= {"threads": torch.get_num_threads(), "gpu": torch.cuda.get_device_name() if cuda else None}
    return found | {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}}


def _version(package):
    try:
        return version(package)
    except PackageNotFoundError:
        return "?"


def render(results):
    """The figures as Markdown."""
    where, layers, width = results["machine"], *results["encoder"]
    versions = ", ".join(f"{name} {where[name]}" for name in ("python", *PACKAGES))
    names = {"one": "one layer", "all": f"all {layers + 1} layers", "st": "sentence-transformers"}
    lines = [
        "| way | sentences per second | time over one layer's | processor time over one layer's |",
        "|---|---|---|---|",
    ]
    for name, title in names.items():
        own = results["seconds"][name]
        ratios = [
            median(a[kind] / b[kind] for a, b in zip(own, results["seconds"]["one"], strict=True)) for kind in (0, 1)
        ]
        rate = results["sentences"] / median(each[0] for each in own)
        lines.append(f"| {title} | {rate:,.0f} | {ratios[0]:.2f} | {ratios[1]:.2f} |")
    return "\n\n".join([
        "# Sentences to vectors",
        f"{where['gpu'] or where['processor']}, {where['cores']} cores, {where['threads']} threads; {versions}.",
        f"{layers} layers of {width}, fp32, {results['pieces']:,} pieces; {results['sentences']:,} sentences of Tatoeba, "
        f"{BATCH} a batch, at most {LENGTH} tokens; {results['rounds']} rounds. What is compared: [README.md](README.md).",
        "\n".join(lines),
    ]) + "\n"  # fmt: skip


def main(argv=None):
    """Measure, print and write; `argv` is the command line without the program's name."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results-embedding.md", help="the report")
    parser.add_argument("--data_dir", required=True, help="folder with the official files of Tatoeba")
    parser.add_argument("--tokenizer", required=True, help="a checkpoint, whose vocabulary is taken")
    parser.add_argument("--encoder", default="6x384", help="layers x width, a multiple of 64")
    parser.add_argument("--max_eval_samples", type=int, help="the first N pairs of each language only")
    parser.add_argument("--rounds", type=int, default=3, help="how often every way is repeated")
    parser.add_argument("--cuda", action="store_true", help="on the GPU, of which CUDA_VISIBLE_DEVICES leaves one")
    args = parser.parse_args(argv)
    if args.cuda and not torch.cuda.is_available():
        raise UserError("--cuda: torch finds no GPU here; leave it out")
    size = [*map(int, args.encoder.split("x"))]
    tokenizer, texts = load_tokenizer(args.tokenizer), sentences(args.data_dir, args.max_eval_samples)
    results = {"machine": machine(args.cuda), "encoder": size, "pieces": len(tokenizer), "sentences": len(texts)}
    with tempfile.TemporaryDirectory() as folder:
        encoder = make_encoder(folder, tokenizer, size, args.cuda)
        layers = {"one": [size[0]], "all": list(range(size[0] + 1))}
        ways = {name: ours(encoder, tokenizer, own, folder) for name, own in layers.items()}
        seconds = measure({**ways, "st": peer(folder, args.cuda)}, texts, args.rounds)
    results |= {"rounds": args.rounds, "seconds": seconds}
    write_json(args.output.with_suffix(".json"), results)
    args.output.write_text(render(results), encoding="utf-8")
    print(render(results))


if __name__ == "__main__":
    run_script(main)
