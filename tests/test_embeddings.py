"""Vectors of texts: right whatever the batch, in memory or in a file, from one process or several."""

import random
import subprocess
import sys

import numpy as np
import pytest
import torch
from conftest import CHARACTERS, ROOT
from transformers import AutoModel

from xstilts import embeddings
from xstilts.base import UserError
from xstilts.checkpoint import load_encoder
from xstilts.embeddings import check_memory, vectors_of
from xstilts.task import Side

random_text = random.Random(3)
SENTENCES = ["the man is on the inner stone", "", "a", "the " * 40] + [
    "".join(random_text.choices(CHARACTERS[:52] + "   ", k=random_text.randint(1, 60))) for _ in range(12)
]
SETTINGS = {"pooling": "mean", "max_length": 64, "prefix": "", "precision": "torch.float32"}


@pytest.fixture(scope="module")
def model(encoder):
    """The tiny encoder."""
    return load_encoder(encoder)


@pytest.fixture
def embedded(model, tokenizer, tmp_path):
    """embedded(texts, layers, **settings) with the tiny encoder and tokenizer -> {layer: array}."""

    def embedded(texts, layers=(1,), **settings):
        settings = {**SETTINGS, "batch_size": 5, **settings}
        return vectors_of("side", Side(texts), model, tokenizer, list(layers), settings, tmp_path / "vectors")

    return embedded


@pytest.mark.parametrize("layer", [0, 1, 2])
@pytest.mark.parametrize("chunk", [4, 2**15])
def test_vectors_do_not_depend_on_the_batch(layer, chunk, embedded, monkeypatch):
    monkeypatch.setattr(embeddings, "CHUNK", chunk)
    together = embedded(SENTENCES, [layer])[layer]
    assert together.shape == (len(SENTENCES), 16)
    assert together.dtype == np.float32
    alone = [embedded([sentence], [layer])[layer][0] for sentence in SENTENCES]
    np.testing.assert_allclose(together, alone, atol=1e-5)
    again = embedded(SENTENCES[::-1], [layer], batch_size=3)[layer]
    np.testing.assert_allclose(together[::-1], again, atol=1e-5)


def test_batches_are_cut_by_tokens_and_by_texts(embedded, model, monkeypatch):
    shapes, budget = [], 100
    hook = model.register_forward_pre_hook(
        lambda module, args, inputs: shapes.append(tuple(inputs["input_ids"].shape)), with_kwargs=True
    )
    whole = embedded(SENTENCES, batch_size=16)[1]
    assert [count for count, _ in shapes] == [16]
    shapes.clear()
    monkeypatch.setitem(embeddings.TOKENS, "cpu", budget)
    cut = embedded(SENTENCES, batch_size=3)[1]
    hook.remove()
    counts, widths = zip(*shapes, strict=True)
    assert list(widths) == sorted(widths, reverse=True)
    assert all(count * width <= budget for count, width in shapes)
    assert (max(counts), sum(counts)) == (3, len(SENTENCES))
    np.testing.assert_allclose(cut, whole, atol=1e-6)


def test_layers_leave_the_device_together(embedded, monkeypatch):
    """One copy a batch, not one for every layer."""
    copies = []
    to_cpu = torch.Tensor.cpu
    monkeypatch.setattr(torch.Tensor, "cpu", lambda self: copies.append(tuple(self.shape)) or to_cpu(self))
    embedded(SENTENCES, range(3))
    assert [shape[::2] for shape in copies] == [(3, 16)] * 4


def test_vectors_are_pooled_in_float32_under_autocast(embedded):
    """Layer 0 is computed in float32 under autocast; means of it must not be rounded."""
    full, half = (embedded(SENTENCES, [0, 1], precision=precision) for precision in ("torch.float32", "bf16"))
    assert np.array_equal(full[0], half[0])
    assert 1e-5 < np.abs(full[1] - half[1]).max() < 0.05


def test_layers_together_are_each_layer_alone(embedded):
    together = embedded(SENTENCES, range(3))
    assert list(together) == [0, 1, 2]
    for layer, vectors in together.items():
        assert np.array_equal(vectors, embedded(SENTENCES, [layer])[layer])


def test_a_vector_is_the_mean_over_all_tokens_or_those_of_the_text(embedded, encoder, tokenizer):
    inputs = tokenizer([SENTENCES[0]], return_tensors="pt")
    with torch.inference_mode():
        states = AutoModel.from_pretrained(encoder)(**inputs, output_hidden_states=True).hidden_states[1][0]
    texts = [text for text in SENTENCES if text]
    np.testing.assert_allclose(embedded(texts)[1][0], states.mean(0), atol=1e-5)
    np.testing.assert_allclose(embedded(texts, pooling="mean_no_special")[1][0], states[1:-1].mean(0), atol=1e-5)


def test_a_prefix_is_put_before_every_text(embedded):
    prefixed = embedded(["on", "in"], prefix="the ")[1]
    assert np.array_equal(prefixed, embedded(["the on", "the in"])[1])


def test_a_text_without_tokens_is_named(embedded):
    with pytest.raises(UserError, match=r"text 2 has no token to pool over: ''; --pooling mean counts specials"):
        embedded(SENTENCES, pooling="mean_no_special")


# ---- memory, and files where it does not suffice --------------------------------------------------------------------


@pytest.fixture
def available(monkeypatch):
    """available(bytes): so much memory is."""

    def available(size):
        monkeypatch.setattr(embeddings.psutil, "virtual_memory", lambda: type("Memory", (), {"available": size}))

    return available


def test_vectors_are_in_memory_where_twice_their_size_is_available(embedded, available, tmp_path):
    size = 3 * len(SENTENCES) * 16 * 4
    available(2 * size)
    inside = embedded(SENTENCES, range(3))
    assert not (tmp_path / "vectors").exists()
    available(2 * size - 1)
    outside = embedded(SENTENCES, range(3))
    (path,) = (tmp_path / "vectors").iterdir()
    assert path.stat().st_size == size
    assert [*inside] == [*outside] == [0, 1, 2]
    for layer, vectors in outside.items():
        assert isinstance(vectors, np.memmap)
        assert np.array_equal(vectors, inside[layer])
        torch.from_numpy(np.asarray(vectors)).add_(1)  # torch wants arrays that it may write to


def test_a_full_disk_is_told_beforehand(embedded, available, monkeypatch, tmp_path):
    usage = type("Usage", (), {"free": 16 * 4 * len(SENTENCES) * 3 - 1})
    monkeypatch.setattr(embeddings.shutil, "disk_usage", lambda folder: usage)
    available(0)
    with pytest.raises(
        UserError, match=r"the vectors take 0\.0 GiB and the disk has 0\.0 GiB left; ask for fewer --lay"
    ):
        embedded(SENTENCES, range(3))
    assert not (tmp_path / "vectors").exists()
    embedded(SENTENCES, range(2))


def test_too_little_memory_is_told(available):
    available(3072)
    check_memory(3072)
    with pytest.raises(UserError, match=r"searched at once take 0\.0 GiB of memory, and 0\.0 GiB are available"):
        check_memory(3073)


SCRIPT = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from accelerate import PartialState
from xstilts import embeddings
from xstilts.checkpoint import load_encoder, load_tokenizer
from xstilts.base import UserError
from xstilts.task import Side
import numpy as np
state, read = PartialState(cpu=True), []
assert state.num_processes == int(sys.argv[4])
token_rows = embeddings.token_rows
embeddings.token_rows = lambda texts, *others: read.extend(texts) or token_rows(texts, *others)
settings = {SETTINGS!r} | {{"batch_size": 5}}
encoder, tokenizer = load_encoder(sys.argv[1]), load_tokenizer(sys.argv[1])
texts = {SENTENCES!r}
found = embeddings.vectors_of("side", Side(texts), encoder, tokenizer, [0, 1, 2], settings, sys.argv[2])
assert read == texts[state.process_index :: 2], read
assert all(isinstance(each, np.memmap) for each in found.values())
found = np.stack([*found.values()])
np.save(f"{{sys.argv[3]}}-{{state.process_index}}.npy", found)
try:
    embeddings.vectors_of("side", Side(texts), encoder, tokenizer, [1], settings | {{"pooling": "mean_no_special"}}, sys.argv[2])
except UserError as error:
    assert str(error).startswith("text 2 has no token"), error
else:
    raise AssertionError("a text that only one process reads is not told in all")
state.destroy_process_group()
"""


def test_two_processes_find_what_one_finds(embedded, encoder, tmp_path):
    """Each reads its own share of the texts, and both have all vectors, from one file; an error in one is that of both."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    launcher = [sys.executable, *"-m torch.distributed.run --nproc_per_node 2".split(), script]
    subprocess.run([*launcher, encoder, tmp_path / "two", tmp_path / "found", "2"], check=True, timeout=240)
    alone = np.stack([*embedded(SENTENCES, range(3)).values()])
    for process in range(2):
        np.testing.assert_allclose(np.load(tmp_path / f"found-{process}.npy"), alone, atol=1e-6)
