"""Parts of an encoder: the grammar that names them, and that what is frozen is really out of training, in every family."""

import copy
import pickle

import pytest
import torch
from conftest import save_tiny_encoder
from hypothesis import given
from hypothesis import strategies as st
from test_heads import ARGS
from transformers import (
    AlbertConfig,
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForMultipleChoice,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
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

from tasks import load_task
from xstilts.base import UserError
from xstilts.freezing import check_frozen, freeze, render, table
from xstilts.generic_heads import ensure_class
from xstilts.heads import load_mixture
from xstilts.layers import Selection, layers_of, parse_layers, parts_of

LAYERS = 4
SIZES = {"vocab_size": 64, "hidden_size": 16, "num_hidden_layers": LAYERS, "num_attention_heads": 2}
SIZES |= {
    "intermediate_size": 32,
    "max_position_embeddings": 40,
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 2,
}
HALF = {"hidden_dropout_prob": 0.5, "attention_probs_dropout_prob": 0.5}
MODERN = {"embedding_dropout": 0.5, "attention_dropout": 0.5, "mlp_dropout": 0.5, "sep_token_id": 2, "cls_token_id": 0}
RELATIVE = {
    "relative_attention": True,
    "pos_att_type": ["p2c", "c2p"],
    "position_buckets": 8,
    "position_biased_input": False,
}
RELATIVE |= {"norm_rel_ebd": "layer_norm", "share_att_key": True, "conv_kernel_size": 3, "embedding_size": 8}
DISTIL = {
    "vocab_size": 64,
    "dim": 16,
    "n_layers": LAYERS,
    "n_heads": 2,
    "hidden_dim": 32,
    "max_position_embeddings": 40,
}
CONFIGS = {
    "xlm-roberta": XLMRobertaConfig(**SIZES, **HALF),
    "bert": BertConfig(**SIZES, **HALF),
    "modernbert": ModernBertConfig(**SIZES, **MODERN),
    "deberta-v2": DebertaV2Config(**SIZES, **HALF, **RELATIVE),
    "eurobert": EuroBertConfig(**SIZES, attention_dropout=0.5, num_key_value_heads=2, mask_token_id=3),
    "xlm-roberta-xl": XLMRobertaXLConfig(**SIZES, **HALF),
    "rembert": RemBertConfig(**SIZES, **HALF, input_embedding_size=8, output_embedding_size=12),
    "distilbert": DistilBertConfig(**DISTIL, dropout=0.5, attention_dropout=0.5),
    "electra": ElectraConfig(**SIZES, **HALF, embedding_size=8),
}
HEADS = {
    "classification": AutoModelForSequenceClassification,
    "tagging": AutoModelForTokenClassification,
    "choice": AutoModelForMultipleChoice,
    "qa": AutoModelForQuestionAnswering,
    "mlm": AutoModelForMaskedLM,
}
BESIDE = {  # embeddings and top by family, where that is more than `embeddings` and a pooler
    "modernbert": ({"embeddings"}, {"final_norm"}),
    "deberta-v2": ({"embeddings", "encoder.rel_embeddings", "encoder.LayerNorm", "encoder.conv"}, set()),
    "eurobert": ({"embed_tokens"}, {"norm"}),
    "xlm-roberta-xl": ({"embeddings"}, {"encoder.LayerNorm"}),
    "rembert": ({"embeddings", "encoder.embedding_hidden_mapping_in"}, set()),
    "electra": ({"embeddings", "embeddings_project"}, set()),
}
TOKENS = torch.tensor([[5, 9, 7, 8, 6, 2], [5, 12, 2, 1, 1, 1]])
MASK = (TOKENS != 1).long()
LOWEST = parse_layers("2", LAYERS)


def beside(model):
    """Names of the modules below and above the layers of its encoder."""
    below, top = BESIDE.get(model.config.model_type, ({"embeddings"}, set()))
    return below, top | {name for name, _ in model.base_model.named_children() if name == "pooler"}


def declared(model, selection):
    """The modules that a selection means, put together by hand."""
    below, top = beside(model)
    names = (below if selection.embeddings else set()) | (top if selection.top else set())
    layers = [layers_of(model)[i] for i in selection.layers]
    return layers + [model.base_model.get_submodule(name) for name in names]


def build(family, head="classification", seed=0):
    """A tiny model with random weights, every dropout at a half."""
    ensure_class(HEADS[head], CONFIGS[family])
    torch.manual_seed(seed)
    return HEADS[head].from_config(CONFIGS[family])


def encode(model):
    """Its hidden states on two rows of unequal length."""
    return model.base_model(input_ids=TOKENS, attention_mask=MASK, output_hidden_states=True).hidden_states


def loss_of(model):
    """Any loss that all outputs take part in."""
    shape = (1, *TOKENS.shape) if "Multiple" in type(model).__name__ else TOKENS.shape
    outputs = model(input_ids=TOKENS.view(shape), attention_mask=MASK.view(shape))
    tensors = [part for part in outputs.values() if isinstance(part, torch.Tensor)]
    return sum((part.float() ** 2).mean() + part.float().flatten()[0] for part in tensors)


def train(model, steps=3):
    """The tensors of a model after some steps with weight decay, which would move what has no gradient of its own."""
    optimizer = torch.optim.AdamW((p for p in model.parameters() if p.requires_grad), lr=0.01, weight_decay=0.1)
    torch.manual_seed(1)
    for _ in range(steps):
        model.train()
        optimizer.zero_grad()
        loss_of(model).backward()
        optimizer.step()
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


# ---- the grammar ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "embeddings", "layers"),
    [
        ("0", True, []),
        ("3", True, [0, 1, 2]),
        ("12", True, range(12)),
        ("none", False, []),
        ("embeddings", True, []),
        ("7-7", False, [7]),
        ("embeddings,0-5", True, range(6)),
        (" 0 - 1 , 4-5,embeddings ", True, [0, 1, 4, 5]),
        ("-2--1", False, [10, 11]),
        ("0--3", False, range(10)),
        ("-12-0", False, [0]),
        ("8-9,0-1", False, [0, 1, 8, 9]),
    ],
)
def test_what_the_grammar_says(text, embeddings, layers):
    assert parse_layers(text, 12) == Selection(embeddings, frozenset(layers))


def test_all_is_more_than_every_layer():
    everything = parse_layers("all", 12)
    assert everything == Selection(True, frozenset(range(12)), top=True)
    assert everything != parse_layers("12", 12)


@given(st.integers(1, 40), st.data())
def test_what_is_written_is_read_back(count, data):
    layers = data.draw(st.frozensets(st.integers(0, count - 1)))
    for selection in (Selection(data.draw(st.booleans()), layers), parse_layers("all", count), Selection()):
        assert parse_layers(str(selection), count) == selection


@given(st.integers(1, 40), st.data())
def test_a_layer_from_the_top_is_the_same_layer(count, data):
    first = data.draw(st.integers(0, count - 1))
    last = data.draw(st.integers(first, count - 1))
    same = {parse_layers(f"{a}-{b}", count) for a in (first, first - count) for b in (last, last - count)}
    assert same == {Selection(False, frozenset(range(first, last + 1)))}


@given(st.text(alphabet="0123456789-, alnoemb", max_size=12))
def test_any_text_is_read_or_refused(text):
    try:
        assert parse_layers(str(parse_layers(text, 12)), 12) == parse_layers(text, 12)
    except UserError as error:
        message = str(error)
    else:
        message = "--freeze_layers"
    assert message.startswith("--freeze_layers")
    assert "\n" not in message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("13", "more layers than the encoder has, which are 12"),
        ("0-12", "'0-12' is beyond the encoder, which has 12 layers, 0 to 11"),
        ("-13--1", "has 12 layers"),
        ("5-3", "'5-3' is an empty range"),
        ("-1--2", "empty range, layer 11 lies above layer 10"),
        ("0-5,5-7", "'5-7' overlaps"),
        ("0-5,-12-1", "overlaps"),
        ("embeddings,embeddings", "overlaps"),
        ("embeddings,7", "written 7-7"),
        ("-2", "written -2--2"),
        ("none,0-1", "'none' stands alone"),
        ("embeddings,all", "'all' stands alone"),
        ("pooler", "'pooler' is none of embeddings, a-b"),
        ("0-1,,2-3", "'' is none of"),
        ("", "'' is none of"),
        ("0-1-2", "is none of"),
        ("1 2", "is none of"),
        ("0..5", "is none of"),
    ],
)
def test_what_the_grammar_refuses(text, said):
    with pytest.raises(UserError) as error:
        parse_layers(text, 12, "--transfer_layers")
    assert said in str(error.value)
    assert str(error.value).startswith("--transfer_layers")


# ---- finding the parts ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", CONFIGS)
def test_every_module_is_in_the_part_that_uses_it(family):
    model = build(family).train()
    layers_of(model)[1].eval().requires_grad_(False)
    before = [(module.training, [p.requires_grad for p in module.parameters()]) for module in model.modules()]
    state = torch.get_rng_state()
    parts, names = parts_of(model), {module: name for name, module in model.base_model.named_modules()}
    assert torch.equal(torch.get_rng_state(), state)
    assert [(module.training, [p.requires_grad for p in module.parameters()]) for module in model.modules()] == before
    found = [{names[m] for m in parts[name] if list(m.parameters())} for name in ("embeddings", "top")]
    assert found == [*beside(model)]
    assert list(parts) == ["embeddings", *range(LAYERS), "top"]


def test_an_encoder_without_a_list_of_layers_is_refused():
    sizes = {
        "vocab_size": 64,
        "embedding_size": 8,
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_attention_heads": 2,
    }
    with pytest.raises(UserError, match="AlbertModel has 0 lists of 4 layers"):
        layers_of(AutoModel.from_config(AlbertConfig(**sizes, num_hidden_layers=4)))


# ---- frozen is frozen -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["2", "embeddings,1-2", "0-0,-1--1", "all"])
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("family", CONFIGS)
def test_exactly_the_declared_parameters_stay(family, head, text):
    selection, after = parse_layers(text, LAYERS), []
    for _ in range(2):
        model = build(family, head)
        freeze(model, selection)
        check_frozen(model, selection)
        before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
        after.append(train(model))
    frozen = {id(p) for part in declared(model, selection) for p in part.parameters()}
    for name, parameter in model.named_parameters():
        stays = id(parameter) in frozen
        assert torch.equal(before[name], after[0][name]) == stays, name
        assert parameter.grad is None if stays else parameter.requires_grad, name
        assert torch.equal(after[0][name], after[1][name]), name


@pytest.mark.parametrize("family", CONFIGS)
def test_frozen_parts_do_not_drop_out(family):
    model = build(family)
    freeze(model, LOWEST)
    for mode in (model.eval, model.train):
        mode()
        assert not any(module.training for part in declared(model, LOWEST) for module in part.modules())
    assert all(module.training for module in layers_of(model)[2].modules())
    first, second = encode(model), encode(model)
    assert all(torch.equal(first[i], second[i]) for i in range(3))
    assert not torch.equal(first[-1], second[-1])


@pytest.mark.parametrize("count", range(LAYERS + 1))
@pytest.mark.parametrize("family", CONFIGS)
def test_freezing_n_ends_at_hidden_states_n(family, count):
    model = build(family)
    freeze(model, parse_layers(str(count), LAYERS))
    model.train()
    before = encode(model)
    with torch.no_grad():
        for parameter in filter(lambda p: p.requires_grad, model.parameters()):
            parameter.add_(torch.randn_like(parameter))
    after, below = encode(model), [*range(min(count, LAYERS - 1) + 1)]
    assert all(torch.equal(before[i], after[i]) and not after[i].requires_grad for i in below)
    if count < LAYERS:
        assert after[count + 1].requires_grad
        assert not torch.equal(before[count + 1], after[count + 1])
    elif not beside(model)[1] - {"pooler"}:  # no final norm
        assert torch.equal(before[-1], after[-1])


@pytest.mark.parametrize("family", CONFIGS)
def test_checkpointing_keeps_nothing_of_frozen_layers(family):
    selection, model = LOWEST, build(family)
    freeze(model, selection)
    without = train(model)
    model = build(family)
    freeze(model, selection)
    model.activation_checkpointing_enable()
    model.train()
    assert not encode(model)[2].requires_grad
    for name, tensor in train(model).items():
        torch.testing.assert_close(tensor, without[name], msg=name)


def test_only_what_is_frozen_is_checked():
    model = build("bert")
    freeze(model, LOWEST)
    layers_of(model)[3].output.dense.bias.requires_grad_(False)
    with pytest.raises(RuntimeError, match=r"1 tensors .* freezing 2 .*layer\.3\.output\.dense\.bias"):
        check_frozen(model, LOWEST)
    with pytest.raises(RuntimeError, match="embeddings"):
        check_frozen(build("bert"), LOWEST)


def test_something_is_left_to_train():
    bare = AutoModel.from_config(CONFIGS["bert"])
    with pytest.raises(UserError, match="freezing all leaves nothing to train: BertModel has no head"):
        freeze(bare, parse_layers("all", LAYERS))
    assert all(parameter.requires_grad for parameter in bare.parameters())
    freeze(build("bert"), parse_layers("all", LAYERS))


def test_a_tied_decoder_is_frozen_with_the_embeddings():
    model = AutoModelForMaskedLM.from_config(CONFIGS["bert"])
    freeze(model, parse_layers("embeddings", LAYERS))
    decoder = model.get_output_embeddings()
    assert decoder.weight is model.get_input_embeddings().weight
    assert not decoder.weight.requires_grad
    assert decoder.bias.requires_grad


def test_copies_and_saved_models_work(tmp_path):
    model = build("bert")
    freeze(model, LOWEST)
    names = list(model.state_dict())
    assert names == list(build("bert").state_dict())
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        twin.train()
        assert not any(module.training for module in layers_of(twin)[1].modules())
        assert all(module.training for module in layers_of(twin)[2].modules())
        assert layers_of(twin)[1].train() is layers_of(twin)[1]
        check_frozen(twin, LOWEST)
    model.save_pretrained(tmp_path)
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert all(torch.equal(tensor, loaded.state_dict()[name]) for name, tensor in model.state_dict().items())
    assert all(parameter.requires_grad for parameter in loaded.parameters())


def test_several_tasks_share_what_is_frozen(tmp_path):
    model = load_mixture(save_tiny_encoder(tmp_path, num_hidden_layers=3), [*map(load_task, ("mnli", "squad"))], ARGS)
    selection = parse_layers("2", 3)
    freeze(model, selection)
    check_frozen(model, selection)
    model.train()
    frozen = [model.encoder.embeddings, *layers_of(model)[:2]]
    assert not any(module.training for part in frozen for module in part.modules())
    assert layers_of(model)[2].training
    model.gradient_checkpointing_enable()
    inputs = {"input_ids": TOKENS, "attention_mask": MASK}
    for task in ("mnli", "squad"):
        next(iter(model(task=task, **inputs).values())).sum().backward()
    grads = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert grads
    assert all(name.startswith(("encoder.encoder.layer.2.", "encoder.pooler.", "heads.")) for name in grads)


# ---- what is shown --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", CONFIGS)
def test_the_table_counts_every_parameter_once(family):
    model = build(family)
    freeze(model, parse_layers("embeddings,1-2", LAYERS))
    rows = table(model)
    assert [row[0] for row in rows if row[0] != "top"] == [
        "embeddings",
        "layers 0-0",
        "layers 1-2",
        "layers 3-3",
        "head",
    ]
    assert sum(row[1] for row in rows) == sum(p.numel() for p in model.parameters())
    assert sum(row[2] for row in rows) == sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert {row[0] for row in rows if not row[2]} == {"embeddings", "layers 1-2"}


def test_the_table_as_text():
    assert render([("embeddings", 192_000, 0), ("layers 0-11", 9_000_000, 9_000_000)]).split("\n") == [
        "part         parameters    trained",
        "embeddings      192,000          0",
        "layers 0-11   9,000,000  9,000,000",
        "all           9,192,000  9,000,000",
    ]
