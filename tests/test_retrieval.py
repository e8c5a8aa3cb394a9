"""Sentence vectors: the layer that is asked for and no higher one, the mean over real tokens, and the search."""

import random
import re

import pytest
import torch
from conftest import CHARACTERS, SHARED
from transformers import (
    AutoModel,
    BertConfig,
    DebertaV2Config,
    DistilBertConfig,
    ElectraConfig,
    EuroBertConfig,
    ModernBertConfig,
    RemBertConfig,
    XLMRobertaConfig,
    XLMRobertaXLConfig,
)

from xstilts.checkpoint import load_encoder
from xstilts.errors import UserError
from xstilts.layers import layers_of
from xstilts.retrieval import choose_layer, default_layer, embed, hidden_states, nearest, sorted_english, write

DEPTH = 3
SIZES = {
    "vocab_size": 40,
    "hidden_size": 16,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "num_hidden_layers": DEPTH,
}
CONFIGS = {
    "xlm-roberta": XLMRobertaConfig(**SIZES),
    "bert": BertConfig(**SIZES),
    "modernbert": ModernBertConfig(**SIZES, pad_token_id=0, global_attn_every_n_layers=2, local_attention=4),
    "deberta-v2": DebertaV2Config(
        **SIZES, relative_attention=True, pos_att_type=["c2p", "p2c"], conv_kernel_size=3, conv_act="gelu",
        norm_rel_ebd="layer_norm", position_biased_input=False,
    ),
    "eurobert": EuroBertConfig(**SIZES, num_key_value_heads=2, pad_token_id=0, bos_token_id=1, eos_token_id=2),
    "xlm-roberta-xl": XLMRobertaXLConfig(**SIZES),
    "distilbert": DistilBertConfig(vocab_size=40, dim=16, n_heads=2, hidden_dim=24, n_layers=DEPTH),
    "electra": ElectraConfig(**SIZES, embedding_size=8),
    "rembert": RemBertConfig(**SIZES, input_embedding_size=8),
}  # fmt: skip


@pytest.fixture(scope="module", params=CONFIGS)
def model(request):
    """A small random encoder of each family."""
    torch.manual_seed(0)
    return AutoModel.from_config(CONFIGS[request.param]).eval()


INPUTS = {
    "input_ids": torch.tensor([[5, 6, 7, 8, 9, 10], [11, 12, 13, 1, 1, 1]]),
    "attention_mask": torch.tensor([[1] * 6, [1] * 3 + [0] * 3]),
}


@pytest.mark.parametrize("layers", [[0], [1], [2], [DEPTH], [1, 0], [2, 0], [0, DEPTH, 1], range(DEPTH + 1)])
def test_hidden_states_are_those_of_the_model_and_no_higher_layer_is_run(model, layers):
    with torch.inference_mode():
        own = model(**INPUTS, output_hidden_states=True).hidden_states
        assert len(own) == DEPTH + 1
        assert not any(torch.allclose(own[layer], own[layer - 1]) for layer in layers)
        ran = []
        hooks = [
            module.register_forward_hook(lambda *_, number=number: ran.append(number))
            for number, module in enumerate(layers_of(model))
        ]
        found = hidden_states(model, layers, INPUTS)
        for hook in hooks:
            hook.remove()
        assert ran == list(range(max(layers)))
        assert list(found) == list(layers)
        assert all(torch.equal(found[layer], own[layer]) for layer in layers)
        assert torch.equal(model(**INPUTS).last_hidden_state, own[-1]), "the model is left as it was"


@pytest.mark.parametrize("layer", [-1, DEPTH + 1])
def test_a_layer_that_is_not_there_is_an_error(model, layer):
    with pytest.raises(UserError, match=rf"--layer {layer}: this encoder has hidden_states\[0\] to \[3\]"):
        choose_layer(model, layer)


@pytest.mark.parametrize(("depth", "layer"), [(24, 14), (12, 7), (6, 4), (4, 2), (2, 1), (1, 1), (22, 13)])
def test_default_layer(depth, layer):
    config = XLMRobertaConfig(**{**SIZES, "num_hidden_layers": depth})
    with torch.device("meta"):
        assert default_layer(AutoModel.from_config(config)) == layer


# ---- vectors --------------------------------------------------------------------------------------------------------

random_text = random.Random(3)
SENTENCES = ["the man is on the inner stone", "", "a", "the " * 40] + [
    "".join(random_text.choices(CHARACTERS[:52] + "   ", k=random_text.randint(1, 60))) for _ in range(12)
]


@pytest.fixture(scope="module")
def vectors_of(encoder, tokenizer):
    """vectors_of(sentences) of one layer, with the tiny encoder and tokenizer."""
    model = load_encoder(encoder)

    def vectors_of(sentences, layer=1, max_seq_length=64, batch_size=5):
        return embed(sentences, model, tokenizer, [layer], max_seq_length, batch_size)[layer]

    return vectors_of


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_vectors_do_not_depend_on_the_batch(layer, vectors_of):
    together = vectors_of(SENTENCES, layer)
    alone = torch.cat([vectors_of([sentence], layer) for sentence in SENTENCES])
    assert together.shape == (len(SENTENCES), 16)
    assert together.dtype == torch.float32
    assert together.device.type == "cpu"
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)
    torch.testing.assert_close(together.flip(0), vectors_of(SENTENCES[::-1], layer, batch_size=3), atol=1e-5, rtol=0)


def test_layers_together_are_each_layer_alone(vectors_of, encoder, tokenizer):
    together = embed(SENTENCES, load_encoder(encoder), tokenizer, range(3), 64, 5)
    assert list(together) == [0, 1, 2]
    assert all(torch.equal(vectors, vectors_of(SENTENCES, layer)) for layer, vectors in together.items())


def test_a_vector_is_the_mean_over_all_tokens(vectors_of, encoder, tokenizer):
    inputs = tokenizer([SENTENCES[0]], return_tensors="pt")
    with torch.inference_mode():
        states = load_encoder(encoder)(**inputs, output_hidden_states=True).hidden_states[1]
    torch.testing.assert_close(vectors_of(SENTENCES[:4])[0], states[0].mean(0), atol=1e-5, rtol=0)


def test_a_long_sentence_is_cut(vectors_of):
    ends = vectors_of(["the " * 40 + "on", "the " * 40 + "in"], max_seq_length=16)
    assert torch.equal(ends[0], ends[1])


# ---- search ---------------------------------------------------------------------------------------------------------


def test_planted_translations_are_found():
    generator = torch.Generator().manual_seed(0)
    english = torch.randn(200, 16, generator=generator)
    order = torch.randperm(200, generator=generator)
    lengths = torch.rand(200, 1, generator=generator) * 100 + 0.01
    foreign = (english + 0.05 * torch.randn(200, 16, generator=generator))[order] * lengths
    found = nearest(queries=english, index=foreign)
    assert order[found].tolist() == list(range(200))
    assert nearest(queries=english[order[:3]], index=foreign) == [0, 1, 2]


def test_the_first_of_equals_is_taken():
    index = torch.tensor([[0.0, 1.0], [3.0, 0.0], [1.0, 0.0], [3.0, 0.0]])
    assert nearest(queries=torch.tensor([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]]), index=index) == [1, 0, 0]


def test_the_english_side_is_sorted():
    sentences = ["b", " a\n", "Z", "a", "é", "c"]
    order = sorted_english(sentences)
    assert [sentences[i] for i in order] == ["Z", " a\n", "a", "b", "c", "é"]
    assert sorted(order) == list(range(len(sentences)))


def test_positions_are_written_as_the_benchmark_reads_them(tmp_path):
    english = ["dog", "cat", "bird"]
    path = tmp_path / "tatoeba" / "test-sw.tsv"
    write(path, [10 * position for position in sorted_english(english)])
    assert path.read_bytes() == b"20\n10\n0\n"
    mock = SHARED / "xtreme_mock" / "predictions" / "tatoeba" / path.name
    if not mock.exists():
        pytest.skip(f"{mock} is not there (XTREME's mock submission)")
    assert all(re.fullmatch(r"(\d+\n)+", each.read_text()) for each in (path, mock))
