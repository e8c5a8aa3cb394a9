"""Pooled hidden states: the layers that are asked for and no higher one, in one pass, over the right tokens."""

import pytest
import torch
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

from xstilts.base import UserError
from xstilts.layers import layers_of
from xstilts.pooling import POOL, POOLINGS, check_pooling, default_layer, hidden_states, parse_states, pooled_states

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


@pytest.mark.parametrize(("depth", "layer"), [(24, 14), (12, 7), (6, 4), (4, 2), (2, 1), (1, 1), (22, 13)])
def test_default_layer(depth, layer):
    assert default_layer(depth) == layer


@pytest.mark.parametrize(
    ("text", "layers"),
    [(None, [14]), ("14", [14]), ("0", [0]), ("10-12", [10, 11, 12]), ("24,3,3-4", [3, 4, 24]), ("all", [*range(25)])],
)
def test_states_are_indices(text, layers):
    assert parse_states(text, 24, 14) == layers


@pytest.mark.parametrize("text", ["-1", "top", "3-", "5-3", "", "1,,2", "1-2-3", "²", "1 2"])
def test_what_is_no_list_of_states_is_an_error(text):
    with pytest.raises(UserError, match=r"is not an index \(14\), a range \(10-16\) or `all`"):
        parse_states(text, 24, 14)


@pytest.mark.parametrize("text", ["25", "3-25"])
def test_a_state_that_is_not_there_is_an_error(text):
    with pytest.raises(UserError, match=rf"--layers {text}: this encoder has hidden_states\[0\] to \[24\], not \[25\]"):
        parse_states(text, 24, 14)


@pytest.mark.parametrize("pooling", POOLINGS[:-1])
def test_pooling_is_what_it_says(model, pooling):
    """Padding counts in none; `counted` leaves out the first and the last token, as specials are."""
    counted = INPUTS["attention_mask"].clone()
    if pooling == "mean_no_special":
        counted[0, [0, 5]] = counted[1, [0, 2]] = 0
    with torch.inference_mode():
        states = model(**INPUTS, output_hidden_states=True).hidden_states[1]
        found = pooled_states(model, [1, 2], pooling, INPUTS, counted)
    own = {
        "mean": [states[0].mean(0), states[1, :3].mean(0)],
        "mean_no_special": [states[0, 1:5].mean(0), states[1, 1]],
        "cls": [states[0, 0], states[1, 0]],
        "max": [states[0].amax(0), states[1, :3].amax(0)],
    }[pooling]
    assert list(found) == [1, 2]
    assert found[1].dtype == torch.float32
    torch.testing.assert_close(found[1], torch.stack(own), atol=1e-6, rtol=0)


@pytest.mark.parametrize("pooling", POOL)
def test_half_precision_is_pooled_in_float32(pooling):
    states = torch.randn(2, 50, 4, generator=torch.Generator().manual_seed(0)).to(torch.bfloat16)
    counted = torch.ones(2, 50, dtype=torch.long)
    found = POOL[pooling](states, counted)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, POOL[pooling](states.float(), counted), atol=1e-6, rtol=0)


def test_the_pooler_is_the_encoders_own():
    torch.manual_seed(0)
    model = AutoModel.from_config(CONFIGS["bert"]).eval()
    with torch.inference_mode():
        own = model(**INPUTS).pooler_output
        assert torch.equal(pooled_states(model, [DEPTH], "pooler", INPUTS, INPUTS["attention_mask"])[DEPTH], own)
    check_pooling("pooler", [DEPTH], model, {*model.state_dict()})


@pytest.mark.parametrize(
    ("pooling", "layers", "family", "message"),
    [
        ("average", [1], "bert", "--pooling average is not one of mean, mean_no_special, cls, max, pooler"),
        ("pooler", [1], "bert", "reads the last layer only; give --layers 3"),
        ("pooler", [3], "modernbert", "the checkpoint has no pooler that was trained"),
    ],
)
def test_a_pooling_that_cannot_be_is_an_error(pooling, layers, family, message):
    model = AutoModel.from_config(CONFIGS[family])
    with pytest.raises(UserError, match=message):
        check_pooling(pooling, layers, model, {*model.state_dict()})


def test_a_pooler_that_is_drawn_at_random_is_none():
    model = AutoModel.from_config(CONFIGS["bert"])
    stored = {name for name in model.state_dict() if name != "pooler.dense.bias"}
    with pytest.raises(UserError, match="the checkpoint has no pooler that was trained"):
        check_pooling("pooler", [DEPTH], model, stored)


def test_states_of_another_length_are_not_pooled():
    with pytest.raises(UserError, match="pads its inputs itself"):
        POOL["mean"](torch.ones(1, 5, 2), torch.ones(1, 3))
