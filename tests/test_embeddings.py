"""Vectors of texts: right whatever the batch, kept on disk and found again, never those of something else."""

import random
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from conftest import CHARACTERS, ROOT
from transformers import AutoModel

from xstilts import embeddings
from xstilts.checkpoint import load_encoder
from xstilts.embeddings import check_memory, vectors_of
from xstilts.errors import UserError
from xstilts.json_files import read_json, write_json
from xstilts.task import Side

random_text = random.Random(3)
SENTENCES = ["the man is on the inner stone", "", "a", "the " * 40] + [
    "".join(random_text.choices(CHARACTERS[:52] + "   ", k=random_text.randint(1, 60))) for _ in range(12)
]
SETTINGS = {"checkpoint": "this", "pooling": "mean", "max_length": 64, "prefix": "", "precision": "torch.float32"}


@pytest.fixture(scope="module")
def model(encoder):
    """The tiny encoder."""
    return load_encoder(encoder)


@pytest.fixture
def embedded(model, tokenizer, tmp_path):
    """embedded(texts, layers, a folder's name, **settings) with the tiny encoder and tokenizer -> {layer: array}."""

    def embedded(texts, layers=(1,), folder="vectors", **settings):
        settings = {**SETTINGS, "batch_size": 5, **settings}
        return vectors_of("side", Side(texts), model, tokenizer, list(layers), settings, tmp_path / folder)

    return embedded


@pytest.mark.parametrize("layer", [0, 1, 2])
@pytest.mark.parametrize("chunk", [4, 2**15])
def test_vectors_do_not_depend_on_the_batch(layer, chunk, embedded, monkeypatch):
    monkeypatch.setattr(embeddings, "CHUNK", chunk)
    together = embedded(SENTENCES, [layer])[layer]
    assert together.shape == (len(SENTENCES), 16)
    assert together.dtype == np.float32
    alone = [embedded([sentence], [layer], str(number))[layer][0] for number, sentence in enumerate(SENTENCES)]
    np.testing.assert_allclose(together, alone, atol=1e-5)
    again = embedded(SENTENCES[::-1], [layer], "reversed", batch_size=3)[layer]
    np.testing.assert_allclose(together[::-1], again, atol=1e-5)


def test_batches_are_cut_by_tokens_and_by_texts(embedded, model, monkeypatch):
    shapes, budget = [], 100
    hook = model.register_forward_pre_hook(
        lambda module, args, inputs: shapes.append(tuple(inputs["input_ids"].shape)), with_kwargs=True
    )
    whole = embedded(SENTENCES, folder="whole", batch_size=16)[1]
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
        assert np.array_equal(vectors, embedded(SENTENCES, [layer], f"alone{layer}")[layer])


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


# ---- files ----------------------------------------------------------------------------------------------------------


def test_vectors_are_found_again_and_only_missing_layers_computed(embedded, model, tmp_path, capsys):
    ran = []
    hook = model.register_forward_pre_hook(lambda *_: ran.append(1))
    first = embedded(SENTENCES, [1])
    batches = len(ran)
    assert batches == 4
    again = embedded(SENTENCES, [1])
    assert len(ran) == batches
    assert np.array_equal(first[1], again[1])
    assert "vectors of layer 1 are those in" in capsys.readouterr().out
    more = embedded(SENTENCES, [0, 1, 2])
    assert len(ran) == 2 * batches
    assert np.array_equal(first[1], more[1])
    (place,) = (tmp_path / "vectors").iterdir()
    assert sorted(path.name for path in place.iterdir()) == ["about.json", *(f"layer-{i}.npy" for i in range(3))]
    assert read_json(place / "about.json")["layers"] == [0, 1, 2]
    hook.remove()


@pytest.mark.parametrize(
    "change",
    [{"checkpoint": "other"}, {"pooling": "max"}, {"max_length": 32}, {"prefix": "a"}, {"precision": "torch.bfloat16"}],
)
def test_vectors_of_something_else_are_kept_apart(embedded, tmp_path, change):
    embedded(SENTENCES[:1])
    embedded(SENTENCES[:1], **change)
    embedded(SENTENCES[4:5], **change)
    assert len([*(tmp_path / "vectors").iterdir()]) == 3


def test_a_file_is_no_folder(embedded, tmp_path):
    (tmp_path / "vectors").touch()
    with pytest.raises(UserError, match=r"--embeddings_dir .*vectors is not a folder"):
        embedded(SENTENCES)


def test_a_directory_that_says_it_is_of_something_else_is_an_error(embedded, tmp_path):
    embedded(SENTENCES)
    (place,) = (tmp_path / "vectors").iterdir()
    about = read_json(place / "about.json")
    write_json(place / "about.json", {**about, "checkpoint": "another"})
    with pytest.raises(UserError, match=r"holds vectors of another checkpoint \(another, not this\); delete it"):
        embedded(SENTENCES)


@pytest.mark.parametrize("damage", ["cut", "gone", "smaller", "text", "a bit", "about"])
def test_damaged_vectors_are_named_and_made_anew(embedded, tmp_path, capsys, damage):
    before = embedded(SENTENCES)[1].copy()
    (file,) = (tmp_path / "vectors").glob("*/layer-1.npy")
    content = file.read_bytes()
    if damage == "cut":
        file.write_bytes(content[:-4])
    elif damage == "gone":
        file.unlink()
    elif damage == "text":
        file.write_text("nothing")
    elif damage == "a bit":
        file.write_bytes(content[:-3] + bytes([content[-3] ^ 1]) + content[-2:])
    elif damage == "about":
        file = file.with_name("about.json")
        file.write_bytes(file.read_bytes()[:-20])
    else:
        np.save(file, np.zeros((3, 16), np.float32))
    capsys.readouterr()
    assert np.array_equal(embedded(SENTENCES)[1], before)
    said = capsys.readouterr().out
    assert damage == "gone" or re.search(rf"{file} is (damaged; it|not valid JSON.*) is made anew", said)
    (file,) = (tmp_path / "vectors").glob("*/layer-1.npy")
    assert file.read_bytes() == content


def test_what_breaks_leaves_nothing(embedded, tmp_path):
    with pytest.raises(UserError):
        embedded(SENTENCES, pooling="mean_no_special")
    (place,) = (tmp_path / "vectors").iterdir()
    assert not [*place.iterdir()]


def test_a_full_disk_is_told_beforehand(embedded, monkeypatch, tmp_path):
    usage = type("Usage", (), {"free": 16 * 4 * len(SENTENCES) * 3 - 1})
    monkeypatch.setattr(embeddings.shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(
        UserError, match=r"the vectors take 0\.0 GiB and the disk has 0\.0 GiB left; ask for fewer --lay"
    ):
        embedded(SENTENCES, range(3))
    assert not (tmp_path / "vectors").exists()
    embedded(SENTENCES, range(2))


def test_too_little_memory_is_told(write):
    meminfo = write("MemTotal:  9 kB\nMemAvailable:       3 kB\n")
    check_memory(3072, meminfo)
    with pytest.raises(UserError, match=r"searched at once take 0\.0 GiB of memory, and 0\.0 GiB are available"):
        check_memory(3073, meminfo)
    check_memory(2**60, f"{meminfo}/nowhere")
    check_memory(2**60, write("MemTotal: 9 kB\n", "other"))


SCRIPT = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from accelerate import PartialState
from xstilts import embeddings
from xstilts.checkpoint import load_encoder, load_tokenizer
from xstilts.errors import UserError
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
    """Each reads its own share of the texts; an error in one is that of both."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    launcher = [sys.executable, *"-m torch.distributed.run --nproc_per_node 2".split(), script]
    subprocess.run([*launcher, encoder, tmp_path / "two", tmp_path / "found", "2"], check=True, timeout=240)
    alone = np.stack([*embedded(SENTENCES, range(3)).values()])
    for process in range(2):
        np.testing.assert_allclose(np.load(tmp_path / f"found-{process}.npy"), alone, atol=1e-6)
    assert not [*(tmp_path / "two").glob("*/.*")]
