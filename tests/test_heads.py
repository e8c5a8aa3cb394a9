"""One encoder under several heads: what is shared is one thing, what is saved comes back, whatever the family of the encoder."""

import json
from types import SimpleNamespace

import pytest
import torch
from conftest import tiny_tokenizer
from safetensors.torch import load_file
from transformers import (
    AutoModel,
    BertConfig,
    BertForMaskedLM,
    DistilBertConfig,
    DistilBertForMaskedLM,
    ElectraConfig,
    ElectraForMaskedLM,
    ModernBertConfig,
    ModernBertForMaskedLM,
)

from tasks import load_task
from xstilts.base import UserError
from xstilts.checkpoint import load_model, load_tokenizer
from xstilts.examples import featurize, load_examples
from xstilts.heads import head_of, labels_at, load_head, load_mixture, load_trained, save_mixture
from xstilts.mlm import load_text, text_task

ARGS = SimpleNamespace(mlm_head="pretrained")
NAMES = ("mnli", "hellaswag", "udpos", "squad")
SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}


def tasks_and_text():
    """A task of every type, and masked language modelling."""
    return [*map(load_task, NAMES), text_task(0.3)]


@pytest.fixture
def model(encoder):
    """All of them on the tiny encoder."""
    torch.manual_seed(0)
    return load_mixture(encoder, tasks_and_text(), ARGS).eval()


def batches(world, tokenizer, folder):
    """{task: a batch of four rows, with its labels}."""
    found = {}
    for task in map(load_task, NAMES):
        examples = load_examples(task, "train", "en", world, 4)
        rows = featurize(task, examples, tokenizer, {"max_seq_length": 64, "doc_stride": 16})
        found[task.name] = task.type.collate(list(rows)[:4], tokenizer)
    text = folder / "text.txt"
    text.write_text("".join(f"the {word} in the inner station {word}\n" for word in "abcdefghijklmnopqrstuvwxyz"))
    task, (train, _) = text_task(0.3), load_text([text], None, None)
    found["mlm"] = task.type.collate(list(featurize(task, train, tokenizer, {"max_seq_length": 64}))[:4], tokenizer)
    return found


def outputs(model, found):
    """{task: its first output} without labels, as the Trainer calls the model."""
    inputs = {task: {name: part for name, part in batch.items() if name != "labels"} for task, batch in found.items()}
    with torch.no_grad():
        return {task: next(iter(model(task=task, **batch).values())) for task, batch in inputs.items()}


def test_there_is_one_encoder(model, encoder):
    pretrained = AutoModel.from_pretrained(encoder).state_dict()
    for name, weights in model.encoder.state_dict().items():
        if not name.startswith("pooler"):
            torch.testing.assert_close(weights, pretrained[name], rtol=0, atol=0)
    assert all(part.base_model is model.encoder for part in model._models.values())
    names = [name for name, _ in model.named_parameters()]
    assert {name.split(".")[0] for name in names} == {"encoder", "heads"}
    assert {name.split(".")[1] for name in names if name.startswith("heads")} == {*NAMES, "mlm"}


def test_the_lm_head_is_the_encoders_own_and_tied(model, encoder):
    """Its decoder is the embeddings: training one trains the other, and it is saved once."""
    pretrained = load_file(f"{encoder}/model.safetensors")
    head = model.heads["mlm"]["lm_head"]
    torch.testing.assert_close(head.dense.weight, pretrained["lm_head.dense.weight"], rtol=0, atol=0)
    assert head.decoder.weight is model.encoder.embeddings.word_embeddings.weight
    assert not any("decoder.weight" in name for name in model.state_dict())


def test_a_batch_reaches_one_head_only(model, world, tokenizer, tmp_path):
    found = batches(world, tokenizer, tmp_path)
    for task, batch in found.items():
        model.zero_grad()
        inputs = {name: part for name, part in batch.items() if name != "labels"}
        sum(part.square().sum() for part in model(task=task, **inputs).values()).backward()
        reached = {name.split(".")[1] for name, p in model.named_parameters() if p.grad is not None and "heads" in name}
        assert reached == {task}
        assert model.encoder.embeddings.word_embeddings.weight.grad is not None


def test_state_dicts_come_back(model, encoder, world, tokenizer, tmp_path):
    found = batches(world, tokenizer, tmp_path)
    torch.manual_seed(9)
    other = load_mixture(encoder, tasks_and_text(), ARGS).eval()
    before = outputs(model, found)
    assert any(not torch.equal(before[task], after) for task, after in outputs(other, found).items())
    other.load_state_dict(model.state_dict())
    for task, after in outputs(other, found).items():
        torch.testing.assert_close(before[task], after, rtol=0, atol=0)
    assert other.heads["mlm"]["lm_head"].decoder.weight is other.encoder.embeddings.word_embeddings.weight
    with pytest.raises(RuntimeError, match=r"encoder\."):
        other.load_state_dict({name: t for name, t in model.state_dict().items() if "layer.0" not in name})


def test_what_is_saved_is_a_plain_encoder_and_its_heads(model, encoder, world, tokenizer, tmp_path):
    found = batches(world, tokenizer, tmp_path)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.01
    before, saved = outputs(model, found), tmp_path / "saved"
    save_mixture(model, tasks_and_text(), load_tokenizer(encoder), str(saved))

    plain, info = AutoModel.from_pretrained(saved, output_loading_info=True)
    assert not info["missing_keys"]
    torch.testing.assert_close(plain.state_dict(), model.encoder.state_dict(), rtol=0, atol=0)
    for task in map(load_task, NAMES):
        alone = load_trained(str(saved), task).eval()
        inputs = {name: part for name, part in found[task.name].items() if name != "labels"}
        torch.testing.assert_close(next(iter(alone(**inputs).values())), before[task.name], rtol=1e-6, atol=1e-6)
    together = load_mixture(str(saved), tasks_and_text(), ARGS).eval()  # the LM head is found beside the encoder
    torch.testing.assert_close(outputs(together, found)["mlm"], before["mlm"], rtol=1e-6, atol=1e-6)


def test_tasks_with_the_same_labels_have_heads_of_their_own(encoder):
    model = load_mixture(encoder, [load_task("mnli"), load_task("xnli")], ARGS)
    own, other = (model.heads[name]["classifier"].dense.weight for name in ("mnli", "xnli"))
    assert not torch.equal(own, other)


def test_a_head_that_is_not_there_or_of_other_labels(model, encoder, tmp_path):
    save_mixture(model, [load_task("mnli"), load_task("udpos")], load_tokenizer(encoder), str(tmp_path))
    with pytest.raises(UserError, match="no head for squad, only for mnli, udpos"):
        load_trained(str(tmp_path), load_task("squad"))
    (tmp_path / "heads" / "mnli.safetensors").rename(tmp_path / "heads" / "udpos.safetensors")
    with pytest.raises(UserError, match=r"udpos.safetensors predicts entailment, .*, but udpos has ADJ"):
        load_trained(str(tmp_path), load_task("udpos"))


def test_an_encoder_without_an_lm_head(model, encoder, tmp_path):
    save_mixture(model, [load_task("mnli")], load_tokenizer(encoder), str(tmp_path))
    with pytest.raises(UserError, match=r"has no LM head .*--mlm_head fresh"):
        load_mixture(str(tmp_path), tasks_and_text(), ARGS)
    fresh = load_mixture(str(tmp_path), tasks_and_text(), SimpleNamespace(mlm_head="fresh"))
    assert fresh.heads["mlm"]["lm_head"].decoder.weight is fresh.encoder.embeddings.word_embeddings.weight
    assert all(torch.isfinite(parameter).all() for parameter in fresh.parameters())


def test_a_fresh_lm_head_is_fresh(encoder):
    fresh = load_mixture(encoder, tasks_and_text(), SimpleNamespace(mlm_head="fresh"))
    old = load_file(f"{encoder}/model.safetensors")["lm_head.dense.weight"]
    assert not torch.equal(fresh.heads["mlm"]["lm_head"].dense.weight, old)
    assert fresh.heads["mlm"]["lm_head"].dense.weight.std().item() == pytest.approx(0.02, rel=0.3)


def test_heads_are_initialised_as_for_a_single_task(encoder):
    """Fresh heads are of the size that transformers makes them."""
    for task in map(load_task, NAMES):
        torch.manual_seed(1)
        single = head_of(load_model(encoder, task))
        mixed = load_mixture(
            encoder, [load_task("hellaswag"), *(t for t in [task] if t.name != "hellaswag")], ARGS
        ).heads[task.name]
        for (name, ours), theirs in zip(mixed.named_parameters(), single.parameters(), strict=True):
            assert ours.shape == theirs.shape, name
            assert ours.abs().mean().item() == pytest.approx(theirs.abs().mean().item(), rel=0.6), name


def test_labels_are_found_in_a_checkpoint(model, encoder, tmp_path):
    """Of a task whose labels come from its training rows."""
    task = SimpleNamespace(name="udpos", open_labels=False)
    assert labels_at(str(tmp_path), task) is task
    save_mixture(model, [load_task("udpos")], load_tokenizer(encoder), str(tmp_path))
    ccg = load_task("ccg")
    (tmp_path / "heads" / "udpos.safetensors").rename(tmp_path / "heads" / "ccg.safetensors")
    assert labels_at(str(tmp_path), ccg).labels == load_task("udpos").labels
    load_model(encoder, load_task("udpos")).save_pretrained(tmp_path / "alone")
    assert labels_at(str(tmp_path / "alone"), ccg).labels == load_task("udpos").labels


FAMILIES = {
    "bert": (BertConfig, BertForMaskedLM, SIZES),
    "electra": (ElectraConfig, ElectraForMaskedLM, {**SIZES, "embedding_size": 16}),
    "modernbert": (ModernBertConfig, ModernBertForMaskedLM, {**SIZES, "pad_token_id": 1, "reference_compile": False}),
    "distilbert": (DistilBertConfig, DistilBertForMaskedLM, {"dim": 16, "hidden_dim": 32, "n_layers": 2, "n_heads": 2}),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_other_families_of_encoders(family, world, tokenizer, tmp_path):
    """Poolers, names of heads and ties differ; the mixture goes by structure."""
    config, architecture, sizes = FAMILIES[family]
    torch.manual_seed(0)
    architecture(config(vocab_size=len(tokenizer), **sizes)).save_pretrained(tmp_path / "base")
    tiny_tokenizer().save_pretrained(tmp_path / "base")
    model = load_mixture(str(tmp_path / "base"), tasks_and_text(), ARGS).eval()
    found = batches(world, tokenizer, tmp_path)
    before = outputs(model, found)
    assert all(torch.isfinite(part).all() for part in before.values())
    decoder = model._models["mlm"].get_output_embeddings()
    assert decoder.weight is model.encoder.get_input_embeddings().weight
    save_mixture(model, tasks_and_text(), tokenizer, str(tmp_path / "saved"))
    again = load_mixture(str(tmp_path / "saved"), tasks_and_text(), ARGS).eval()
    for task in tasks_and_text():
        load_head(str(tmp_path / "saved"), task, again.heads[task.name])
    for task, after in outputs(again, found).items():
        torch.testing.assert_close(after, before[task], rtol=1e-5, atol=1e-6)
    assert json.loads((tmp_path / "saved" / "config.json").read_text())["model_type"] == family
