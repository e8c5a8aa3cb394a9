"""How far an encoder moved: linear CKA against the textbook, changes of weights against changes that were made by hand."""

import copy
import shutil

import numpy as np
import pytest
import torch
from conftest import save_tiny_encoder, tiny_tokenizer
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ortho_group
from test_layers import CONFIGS, LAYERS, beside, build
from transformers import (
    AutoModel,
    AutoModelForSequenceClassification,
    XLMRobertaConfig,
    XLMRobertaModel,
    XLMRobertaTokenizer,
)

import run_retrieval
from xstilts import retrieval, similarity
from xstilts.base import UserError, read_json
from xstilts.checkpoint import stored_encoder
from xstilts.embeddings import vectors_of
from xstilts.layers import layers_of
from xstilts.similarity import encoder_changes, linear_cka, weight_changes

# ---- CKA ------------------------------------------------------------------------------------------------------------


def textbook(x, y):
    """CKA of Gram matrices, each HSIC estimated as equation 5 of Song et al. (2012) is printed."""

    def hsic(k, m):
        n, one = len(k), np.ones(len(k))
        middle = (one @ k @ one) * (one @ m @ one) / ((n - 1) * (n - 2))
        return (np.trace(k @ m) + middle - 2 / (n - 2) * (one @ k @ m @ one)) / (n * (n - 3))

    x, y = (
        vectors - vectors.mean(0) for vectors in (x, y)
    )  # changes nothing but rounding: large means drown small variances
    k, m = ((vectors @ vectors.T) * (1 - np.eye(len(vectors))) for vectors in (x, y))
    return hsic(k, m) / np.sqrt(hsic(k, k) * hsic(m, m))


def plug_in(x, y):
    """CKA as it is mostly computed, on centred vectors."""
    x, y = (vectors - vectors.mean(0) for vectors in (x, y))
    return np.linalg.norm(x.T @ y) ** 2 / np.linalg.norm(x.T @ x) / np.linalg.norm(y.T @ y)


@st.composite
def pairs(draw):
    """Two related sets of vectors of unequal width, off the origin, with a few dimensions that are much larger than others."""
    n, width, other = draw(st.integers(6, 40)), draw(st.integers(2, 50)), draw(st.integers(2, 50))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    x = rng.normal(size=(n, width)) * rng.exponential(size=width) + rng.normal(size=width)
    return x, x @ rng.normal(size=(width, other)) + draw(st.sampled_from([0.1, 3.0])) * rng.normal(size=(n, other))


@settings(max_examples=60, deadline=None)
@given(pairs())
def test_cka_is_that_of_the_textbook(pair):
    assert linear_cka(*pair) == pytest.approx(textbook(*pair), abs=1e-8)


@settings(max_examples=40, deadline=None)
@given(pairs(), st.integers(0, 2**32 - 1), st.floats(1e-3, 1e3), st.floats(-10, 10))
def test_cka_does_not_see_rotation_scale_and_place(pair, seed, scale, shift):
    x, y = pair
    turned = scale * x @ ortho_group.rvs(x.shape[1], random_state=seed) + shift
    assert linear_cka(turned, y) == pytest.approx(linear_cka(x, y), abs=1e-6)
    assert linear_cka(x, turned) == pytest.approx(1, abs=1e-6)


@settings(max_examples=40, deadline=None)
@given(pairs())
def test_cka_is_symmetric_and_1_for_the_same(pair):
    x, y = pair
    assert linear_cka(x, y) == pytest.approx(linear_cka(y, x), abs=1e-12)
    assert linear_cka(y, y) == pytest.approx(1, abs=1e-12)
    assert linear_cka(x, y) < 1 + 1e-12


def test_unrelated_vectors_are_unrelated_however_few():
    rng = np.random.default_rng(0)
    for n in (40, 200):
        x, y = rng.normal(size=(n, 768)), rng.normal(size=(n, 512))
        assert abs(linear_cka(x, y)) < 0.05
        assert plug_in(x, y) > 0.7


def test_few_sentences_estimate_what_many_do():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(2000, 100))
    y = x @ rng.normal(size=(100, 100)) / 10 + rng.normal(size=(2000, 100))
    few = [linear_cka(x[i : i + 50], y[i : i + 50]) for i in range(0, 2000, 50)]
    assert np.mean(few) == pytest.approx(linear_cka(x, y), abs=0.01)
    assert plug_in(x[:50], y[:50]) > linear_cka(x, y) + 0.2


@pytest.mark.parametrize(
    ("x", "y", "said"),
    [
        (np.eye(3), np.eye(3), "needs 4 sentences or more, and there are 3"),
        (np.eye(5), np.eye(4), "5 sentences cannot be compared with vectors of 4"),
        (np.full((5, 3), 0.1), np.eye(5), "does not exist"),
    ],
)
def test_what_cannot_be_compared(x, y, said):
    with pytest.raises(UserError, match=said):
        linear_cka(x, y)


# ---- weights --------------------------------------------------------------------------------------------------------


def scaled(model, factors):
    """A copy of a model with the parameters of each part scaled; parts are told by hand, not by our own search."""
    below, top = beside(model)
    after = copy.deepcopy(model)
    parts = {"embeddings": below, "top": top}
    modules = {part: [after.base_model.get_submodule(name) for name in names] for part, names in parts.items()}
    modules |= {str(i): [layer] for i, layer in enumerate(layers_of(after))}
    with torch.no_grad():
        for part, owned in modules.items():
            for parameter in {p for module in owned for p in module.parameters()}:
                parameter.mul_(factors[part])
    return after


@pytest.mark.parametrize("family", CONFIGS)
def test_every_part_moves_by_as_much_as_it_was_moved(family):
    before = build(family)
    asked = {"embeddings": 0.5, **{str(i): i / 8 for i in range(LAYERS)}, "top": 2.0}  # layer 0 stays
    after = scaled(before, {part: 1 - change for part, change in asked.items()})
    found = weight_changes(before, after)
    if not beside(before)[1]:
        del asked["top"]
    assert list(found) == list(asked)
    assert found == pytest.approx(asked, abs=1e-7)
    assert found["0"] == 0
    assert weight_changes(before.base_model, after) == found, "heads do not count"


def test_a_change_is_the_norm_over_all_numbers_of_a_part(monkeypatch):
    before, after = build("xlm-roberta", seed=0), build("xlm-roberta", seed=1)
    found = weight_changes(before, after)
    numbers = [torch.cat([p.flatten() for p in layers_of(m)[2].parameters()]).double() for m in (before, after)]
    assert found["2"] == pytest.approx(
        (torch.linalg.norm(numbers[1] - numbers[0]) / torch.linalg.norm(numbers[0])).item()
    )
    monkeypatch.setattr(similarity, "CHUNK", 7)
    assert weight_changes(before, after) == pytest.approx(found, rel=1e-12)


def test_a_small_change_of_many_numbers_is_seen():
    """A sum of squares in float32 would stand still at 2^24."""
    before = build("bert").base_model
    after = copy.deepcopy(before)
    with torch.no_grad():
        for model, value in ((before, 4096.0), (after, 4096.0 + 2**-9)):
            for parameter in layers_of(model)[0].parameters():
                parameter.fill_(value)
    assert weight_changes(before, after)["0"] == pytest.approx(2**-21, rel=1e-12)


def test_what_does_not_count_is_left_out():
    before, after = build("bert", seed=0), build("bert", seed=1)
    everything = {name for name, _ in before.base_model.named_parameters()}
    dense = "encoder.layer.1.output.dense.weight"
    without = weight_changes(before, after, everything - {dense, "pooler.dense.weight", "pooler.dense.bias"})
    all_of_them = weight_changes(before, after)
    assert [*without, "top"] == list(all_of_them)
    assert {part for part in without if without[part] != all_of_them[part]} == {"1"}


def test_encoders_of_different_shapes_are_refused():
    other = AutoModel.from_config(XLMRobertaConfig(**{**CONFIGS["xlm-roberta"].to_dict(), "vocab_size": 70}))
    with pytest.raises(UserError, match=r"word_embeddings.weight is \(64, 16\) before and \(70, 16\) after"):
        weight_changes(build("xlm-roberta"), other)
    with pytest.raises(UserError, match=r"pooler.* is absent before"):
        weight_changes(
            XLMRobertaModel(CONFIGS["xlm-roberta"], add_pooling_layer=False), XLMRobertaModel(CONFIGS["xlm-roberta"])
        )


def test_a_pooler_that_pretraining_never_had_does_not_count(tmp_path):
    pretrained = save_tiny_encoder(tmp_path / "pretrained")  # with an LM head, without a pooler
    encoder = AutoModel.from_pretrained(pretrained)  # the pooler is drawn here
    encoder.save_pretrained(tmp_path / "pooled")
    AutoModelForSequenceClassification.from_pretrained(pretrained).save_pretrained(tmp_path / "classifier")
    for after in ("pooled", "classifier"):
        assert encoder_changes(stored_encoder(pretrained), str(tmp_path / after)) == {"embeddings": 0, "0": 0, "1": 0}
    with torch.no_grad():
        encoder.pooler.dense.weight.mul_(3)
    encoder.save_pretrained(tmp_path / "further")
    further = encoder_changes(stored_encoder(str(tmp_path / "pooled")), str(tmp_path / "further"))
    assert further == pytest.approx({"embeddings": 0, "0": 0, "1": 0, "top": 2})


# ---- run_retrieval.py --compare_with --------------------------------------------------------------------------------

ENGLISH = (
    "the man|a dog runs|three birds|on the inner stone|it rains|she sings loud|no one came|far away|we eat|go".split(
        "|"
    )
)
FOREIGN = {"de": ("deu", 10), "sw": ("swh", 7)}


@pytest.fixture(scope="module")
def sentences(tmp_path_factory):
    """Official Tatoeba files of two languages, the second with fewer sentences."""
    folder = tmp_path_factory.mktemp("data") / "tatoeba"
    folder.mkdir()
    for code, (iso, size) in FOREIGN.items():
        (folder / f"tatoeba.{iso}-eng.eng").write_text("".join(f"{text}\n" for text in ENGLISH[-size:]))
        text = "".join(f"{text[::-1]} {code}\n" for text in ENGLISH[-size:])
        (folder / f"tatoeba.{iso}-eng.{iso}").write_text(text)
    return str(folder.parent)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """Directory of another encoder of as many layers."""
    return save_tiny_encoder(tmp_path_factory.mktemp("base"), seed=1, hidden_size=24)


def retrieve(encoder, sentences, output_dir, *options):
    """Run the script; returns its run.json."""
    line = ["--task", "tatoeba", "--model_name_or_path", encoder, "--data_dir", sentences, "--languages", "de,sw"]
    run_retrieval.main([*line, "--output_dir", str(output_dir), "--use_cpu", *options])
    return read_json(output_dir / "run.json")


def states(path, texts):
    """Sentence vectors of every layer, one sentence at a time and straight from the library."""
    model, tokenizer = AutoModel.from_pretrained(path).eval(), tiny_tokenizer()
    with torch.inference_mode():
        hidden = [model(**tokenizer([t], return_tensors="pt"), output_hidden_states=True).hidden_states for t in texts]
    return [torch.stack([sentence[layer][0].mean(0) for sentence in hidden]) for layer in range(3)]


def test_layers_are_compared_language_by_language(encoder, base, sentences, tmp_path, monkeypatch, capsys):
    calls = []

    def counted(name, side, model, tokenizer, layers, *others):
        calls.append((model.config.hidden_size, len(side.texts), list(layers)))
        return vectors_of(name, side, model, tokenizer, layers, *others)

    monkeypatch.setattr(retrieval, "vectors_of", counted)
    plain = retrieve(encoder, sentences, tmp_path / "plain")
    assert calls == [(16, 10, [1]), (16, 10, [1]), (16, 7, [1]), (16, 7, [1])]
    assert not {"cka", "compared_with"} & plain.keys()
    calls.clear()
    run = retrieve(encoder, sentences, tmp_path / "compared", "--compare_with", base)
    every = [0, 1, 2]
    german = [(16, 10, every), (16, 10, every), (24, 10, every), (24, 10, every)]
    assert calls == [*german, (16, 7, [1]), (16, 7, every), (24, 7, every)], "nothing is computed twice, or for nothing"
    assert run["scores"] == plain["scores"]
    assert list(run["cka"]) == ["en", "de", "sw"]
    texts = {code: [f"{text[::-1]} {code}" for text in ENGLISH[-size:]] for code, (_, size) in FOREIGN.items()}
    for language, own in {"en": ENGLISH, **texts}.items():
        both = zip(states(encoder, own), states(base, own), strict=True)
        assert run["cka"][language] == pytest.approx([linear_cka(*layer) for layer in both], abs=1e-4)
    assert run["compared_with"]["model"] == base.split("/")[-1]
    assert run["identity"]["others"] == {"compare_with": run["compared_with"]["fingerprint"]}
    said = " ".join(f"{value:.2f}" for value in run["cka"]["sw"])
    assert f"sw: CKA with {run['compared_with']['model']} from layer 0 up {said}\n" in capsys.readouterr().out


def test_an_encoder_is_compared_through_its_own_tokenizer(encoder, sentences, tmp_path):
    """The same encoder with another numbering of its pieces is the same."""
    tokenizer = tiny_tokenizer()
    vocabulary = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().get)
    scores = dict(read_json(f"{encoder}/tokenizer.json")["model"]["vocab"])
    order = [*range(5), *reversed(range(5, len(vocabulary)))]
    renamed = XLMRobertaTokenizer(vocab=[(vocabulary[i], scores[vocabulary[i]]) for i in order])
    model = AutoModel.from_pretrained(encoder)
    with torch.no_grad():
        model.embeddings.word_embeddings.weight.copy_(model.embeddings.word_embeddings.weight[order])
    model.save_pretrained(tmp_path / "base")
    renamed.save_pretrained(tmp_path / "base")
    run = retrieve(encoder, sentences, tmp_path / "run", "--compare_with", str(tmp_path / "base"))
    for values in run["cka"].values():
        assert values == pytest.approx([1, 1, 1], abs=1e-5)


def test_a_comparison_is_another_run_wherever_the_other_encoder_lies(encoder, base, sentences, tmp_path, capsys):
    retrieve(encoder, sentences, tmp_path / "run")
    with pytest.raises(UserError, match=r"differs in others\.compare_with: null ->"):
        retrieve(encoder, sentences, tmp_path / "run", "--compare_with", base)
    again = ["--compare_with", base, "--overwrite_output_dir"]
    assert "cka" in retrieve(encoder, sentences, tmp_path / "run", *again)
    shutil.copytree(base, tmp_path / "moved")
    retrieve(encoder, sentences, tmp_path / "run", "--compare_with", str(tmp_path / "moved"))
    assert "nothing to do" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"differs in others\.compare_with"):
        retrieve(encoder, sentences, tmp_path / "run")
    with pytest.raises(UserError, match=r"differs in others\.compare_with"):
        retrieve(encoder, sentences, tmp_path / "run", "--compare_with", encoder)


def test_a_pooler_is_not_compared(encoder, base, sentences, tmp_path):
    pooled = shutil.copytree(encoder, tmp_path / "pooled")
    AutoModel.from_pretrained(encoder).save_pretrained(pooled)  # with a pooler
    options = ["--pooling", "pooler", "--layers", "2"]
    assert retrieve(str(pooled), sentences, tmp_path / "run", *options)["pooling"] == "pooler"
    with pytest.raises(UserError, match="--compare_with compares all layers, and --pooling pooler has the last one"):
        retrieve(str(pooled), sentences, tmp_path / "other", *options, "--compare_with", base)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--compare_with {deeper}", r"--compare_with .*deeper has 3 layers and the encoder 2"),
        ("--compare_with {base} --max_eval_samples 3", "needs 4 sentences or more; 'de' has 3"),
        ("--compare_with {base}/no/where", r"--compare_with .*no/where: no such directory"),
        ("--compare_with {short} --max_seq_length 100", "--max_seq_length 100 is more than the 48"),
    ],
)
def test_what_cannot_be_compared_is_one_clear_line(encoder, base, sentences, tmp_path, options, said):
    save_tiny_encoder(tmp_path / "deeper", num_hidden_layers=3)
    save_tiny_encoder(tmp_path / "short", max_position_embeddings=50)
    paths = {"base": base, "deeper": tmp_path / "deeper", "short": tmp_path / "short"}
    with pytest.raises(UserError, match=said) as error:
        retrieve(encoder, sentences, tmp_path / "run", *options.format(**paths).split())
    assert "\n" not in str(error.value)
    assert "--model_name_or_path" not in str(error.value)
    assert not (tmp_path / "run").exists()
