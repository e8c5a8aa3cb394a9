"""The encoder is carried over, the head is fresh; adapters train the head and merge into a plain checkpoint."""

import shutil
from types import SimpleNamespace

import pytest
import torch
from conftest import save_tiny_encoder
from safetensors.torch import load_file
from transformers import AutoModel, EuroBertConfig

from tasks import load_task
from xstilts.checkpoint import (
    add_lora,
    check_head,
    check_length,
    load_model,
    load_tokenizer,
    longest_input,
    lora_config,
    model_fingerprint,
    save_checkpoint,
)
from xstilts.errors import UserError

TASKS = ("mnli", "hellaswag", "udpos", "squad")


@pytest.fixture(scope="module")
def checkpoints(encoder, tmp_path_factory):
    """{task: directory of a model for it, all of whose weights were moved away from their initial values}."""
    folders = {}
    for name in TASKS:
        folders[name] = str(tmp_path_factory.mktemp(name))
        model = load_model(encoder, load_task(name))
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.5)
        save_checkpoint(model, load_tokenizer(encoder), folders[name])
    return folders


@pytest.mark.parametrize("before", TASKS)
@pytest.mark.parametrize("after", [*TASKS, "xnli", "xquad"])
def test_the_encoder_is_carried_over_and_the_head_is_fresh(checkpoints, before, after):
    """A7: from_pretrained keeps a head of equal shape (mnli -> xnli, squad -> xquad), or half of one."""
    torch.manual_seed(1)
    model = load_model(checkpoints[before], load_task(after))
    old = load_file(f"{checkpoints[before]}/model.safetensors")
    for name, weight in model.state_dict().items():
        carried = name.startswith("roberta.") and (".pooler." not in name or name in old)
        assert (name in old and torch.equal(weight, old[name])) == carried, name


def test_a_kept_head_is_the_checkpoint_s_own(checkpoints):
    model = load_model(checkpoints["mnli"], load_task("xnli"), keep_head=True)
    old = load_file(f"{checkpoints['mnli']}/model.safetensors")
    assert all(torch.equal(weight, old[name]) for name, weight in model.state_dict().items())


@pytest.mark.parametrize(("before", "after", "reason"), [("mnli", "udpos", "needs"), ("udpos", "xnli", "needs")])
def test_a_head_of_another_type_is_not_kept(checkpoints, before, after, reason):
    with pytest.raises(UserError, match=reason):
        check_head(checkpoints[before], load_task(after))


def test_a_head_with_its_labels_in_another_order_is_not_kept(checkpoints, tmp_path):
    model = load_model(checkpoints["mnli"], load_task("mnli"), keep_head=True)
    names = ("contradiction", "entailment", "neutral")
    model.config.id2label, model.config.label2id = dict(enumerate(names)), {n: i for i, n in enumerate(names)}
    model.save_pretrained(tmp_path)
    with pytest.raises(UserError, match="in this order"):
        load_model(str(tmp_path), load_task("xnli"), keep_head=True)


def test_the_same_seed_gives_the_same_head(encoder):
    heads = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        heads.append(load_model(encoder, load_task("mnli")).classifier.dense.weight)
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])


def test_lengths_beyond_the_positions_are_refused(tmp_path):
    path = save_tiny_encoder(tmp_path, max_position_embeddings=66)
    model, tokenizer = load_model(path, load_task("mnli")), load_tokenizer(path)
    assert longest_input(model, tokenizer) == 64
    check_length(model, tokenizer, 64)
    model(input_ids=torch.full((1, 64), 10))  # the last position is really there
    with pytest.raises(UserError, match="64 positions"):
        check_length(model, tokenizer, 65)


@pytest.mark.parametrize("name", TASKS)
def test_lora_trains_the_head_and_merges(encoder, tmp_path, name):
    """A6: peft leaves the head of multiple choice frozen at random."""
    task, tokenizer = load_task(name), load_tokenizer(encoder)
    options = SimpleNamespace(peft="lora", lora_r=4, lora_alpha=8, lora_dropout=0.0)
    model = add_lora(load_model(encoder, task), options)
    trained = {part for part, parameter in model.named_parameters() if parameter.requires_grad}
    heads = ("classifier", "qa_outputs", "pooler")
    fresh = {n for n, _ in model.named_parameters() if any(h in n for h in heads) and "original" not in n}
    assert fresh <= trained
    assert all("lora_" in part for part in trained - fresh)
    assert any("lora_" in part for part in trained)
    with torch.no_grad():
        for part, parameter in model.named_parameters():
            if "lora_" in part:
                parameter.normal_(std=0.1)
    shape = (1, len(task.labels), 5) if name == "hellaswag" else (1, 5)
    inputs = {"input_ids": torch.arange(10, 10 + 5).expand(shape), "attention_mask": torch.ones(shape)}
    adapted = task.type.logits(model.eval()(**inputs), inputs)
    save_checkpoint(model, tokenizer, tmp_path)
    merged = load_model(str(tmp_path), task, keep_head=True).eval()
    torch.testing.assert_close(task.type.logits(merged(**inputs), inputs), adapted, rtol=1e-5, atol=1e-5)
    AutoModel.from_pretrained(tmp_path)  # the next phase needs no peft


def test_other_adapters_are_refused(encoder):
    with pytest.raises(UserError, match="can be lora"):
        lora_config(None, SimpleNamespace(peft="prefix"))


@pytest.mark.parametrize("made", [False, True])
def test_a_directory_without_a_model_is_named(tmp_path, made):
    path = tmp_path / "nothing"
    if made:
        path.mkdir()
    with pytest.raises(UserError, match=str(path)):
        load_model(str(path), load_task("mnli"))


def test_the_fingerprint_is_that_of_all_that_makes_a_model(checkpoints, encoder, tmp_path):
    assert model_fingerprint(checkpoints["mnli"]) != model_fingerprint(checkpoints["squad"])
    for change in ("config.json", "tokenizer.json", "model.safetensors"):
        copy = tmp_path / change.split(".")[0]
        shutil.copytree(encoder, copy)
        assert model_fingerprint(str(copy)) == model_fingerprint(encoder)
        (copy / change).write_bytes((copy / change).read_bytes() + b" ")
        assert model_fingerprint(str(copy)) != model_fingerprint(encoder), change


def test_an_encoder_without_a_head_of_a_type_is_named(tmp_path):
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = EuroBertConfig(vocab_size=310, pad_token_id=1, **sizes)
    AutoModel.from_config(config).save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"AutoModelForQuestionAnswering for the encoder 'eurobert'"):
        load_model(str(tmp_path), load_task("squad"))
