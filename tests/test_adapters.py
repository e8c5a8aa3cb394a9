"""LoRA: adapters where they were asked for, heads trained in full, and merged checkpoints that give the same logits."""

from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file
from test_heads import ARGS, batches, outputs, tasks_and_text
from test_layers import CONFIGS, HEADS, LAYERS, build
from test_multitask import intermediate, run
from transformers import AutoModel

import run_target
from tasks import load_task
from xstilts.adapters import adapted, add_lora, add_shared_lora
from xstilts.base import UserError
from xstilts.checkpoint import load_model, load_tokenizer, save_checkpoint
from xstilts.heads import load_mixture, load_trained, save_mixture
from xstilts.layers import NOTHING, parse_layers

OPTIONS = {"lora_r": 2, "lora_alpha": 4, "lora_dropout": 0.0, "lora_layers": None, "lora_target_modules": None}
LORA = SimpleNamespace(**OPTIONS)
TASKS = ("mnli", "hellaswag", "udpos", "squad")


def options(**others):
    return SimpleNamespace(**{**OPTIONS, **others})


def names(model, part):
    """Which adapters of a model train, as the names of their linear layers."""
    found = {name.split(".lora_")[0] for name, p in model.named_parameters() if p.requires_grad and ".lora_" in name}
    return {name for name in found if part in name}


@pytest.mark.parametrize("head", [head for head in HEADS if head != "mlm"])
@pytest.mark.parametrize("family", CONFIGS)
def test_every_family_gets_adapters_and_trains_its_head(family, head):
    """A6: peft knows no targets for ModernBERT, EuroBERT, RemBERT or XLM-R XL, and leaves multiple choice's head at random."""
    model = build(family, head)
    heads = {name for name, _ in model.named_parameters() if not name.startswith(f"{model.base_model_prefix}.")}
    model = add_lora(model, LORA, NOTHING)
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    for name in heads:
        first, rest = name.split(".", 1)
        assert f"base_model.model.{first}.modules_to_save.default.{rest}" in trained
    for layer in range(LAYERS):
        assert names(model, f".{layer}."), f"no adapter in layer {layer}"
    rest = {name for name in trained if ".lora_" not in name and ".modules_to_save." not in name}
    assert not rest


@pytest.mark.parametrize("name", TASKS)
def test_merged_checkpoints_give_the_same_logits(encoder, tmp_path, name):
    """Within 1e-5 of the adapted model's, for every task type; the next phase needs no peft."""
    task, tokenizer = load_task(name), load_tokenizer(encoder)
    model = add_lora(load_model(encoder, task), LORA, NOTHING)
    trained = {part for part, parameter in model.named_parameters() if parameter.requires_grad}
    heads = ("classifier", "qa_outputs", "pooler")
    fresh = {n for n, _ in model.named_parameters() if any(h in n for h in heads) and "original" not in n}
    assert fresh <= trained
    assert all("lora_" in part for part in trained - fresh)
    with torch.no_grad():
        for part, parameter in model.named_parameters():
            if "lora_" in part:
                parameter.normal_(std=0.1)
    shape = (1, len(task.labels), 5) if name == "hellaswag" else (1, 5)
    inputs = {"input_ids": torch.arange(10, 10 + 5).expand(shape), "attention_mask": torch.ones(shape)}
    before = task.type.logits(model.eval()(**inputs), inputs)
    plain = task.type.logits(load_model(encoder, task).eval()(**inputs), inputs)
    assert not torch.allclose(plain, before, atol=1e-3)
    save_checkpoint(model, tokenizer, tmp_path)
    merged = load_model(str(tmp_path), task, keep_head=True).eval()
    torch.testing.assert_close(task.type.logits(merged(**inputs), inputs), before, rtol=1e-5, atol=1e-5)
    assert "lora" not in "".join(AutoModel.from_pretrained(tmp_path).state_dict())


def test_adapters_of_several_tasks_are_merged(encoder, world, tokenizer, tmp_path):
    model = add_shared_lora(load_mixture(encoder, tasks_and_text(), ARGS), LORA, NOTHING).eval()
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert all("lora_" in name or "pooler" in name for name in trained if name.startswith("encoder"))
    assert {name.split(".")[1] for name in trained if name.startswith("heads")} == {*TASKS, "mlm"}
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter += 0.1
    found = batches(world, tokenizer, tmp_path)
    before = outputs(model, found)
    save_mixture(model, tasks_and_text(), load_tokenizer(encoder), str(tmp_path / "saved"))
    assert not any("lora" in name for name in load_file(tmp_path / "saved" / "model.safetensors"))
    merged = load_trained(str(tmp_path / "saved"), load_task("mnli")).eval()
    inputs = {name: part for name, part in found["mnli"].items() if name != "labels"}
    torch.testing.assert_close(merged(**inputs).logits, before["mnli"], rtol=1e-4, atol=1e-5)


# ---- which layers and modules ---------------------------------------------------------------------------------------


def layers_named(found):
    """Indices in the names of XLM-R's modules."""
    return {int(name.split(".")[2]) for name in found if name.startswith("encoder.layer.")}


def test_layers_and_modules_can_be_chosen():
    model = build("xlm-roberta")
    every = adapted(model, LORA, NOTHING)
    assert layers_named(every) == {0, 1, 2, 3}
    assert len(every) == LAYERS * 6
    some = adapted(model, options(lora_layers="2-3", lora_target_modules=["query,attention.output.dense"]), NOTHING)
    assert some == [f"encoder.layer.{i}.attention.{n}" for i in (2, 3) for n in ("self.query", "output.dense")]
    trained = names(add_lora(model, options(lora_layers="2-3", lora_target_modules=["query"]), NOTHING), "query")
    assert {name.split("layer.")[1] for name in trained} == {f"{i}.attention.self.query" for i in (2, 3)}


def test_frozen_layers_get_no_adapters():
    frozen = parse_layers("2", LAYERS)
    assert layers_named(adapted(build("xlm-roberta"), LORA, frozen)) == {2, 3}
    assert any("embedding_hidden_mapping_in" in name for name in adapted(build("rembert"), LORA, NOTHING))
    assert not any("embedding_hidden_mapping_in" in name for name in adapted(build("rembert"), LORA, frozen))


@pytest.mark.parametrize(
    ("given", "frozen", "said"),
    [
        ({"lora_layers": "1-3"}, "2", "--lora_layers 1-3 and what is always frozen, 2, overlap"),
        ({"lora_layers": "3-9"}, "none", "--lora_layers 3-9: '3-9' is beyond the encoder"),
        ({"lora_layers": "embeddings"}, "none", "the layers to adapt, embeddings, have no linear layer"),
        ({}, "all", "the layers to adapt, none, have no linear layer"),
        (
            {"lora_target_modules": ["q_proj"]},
            "none",
            r"q_proj is not a linear module of the layers to adapt \(4\); they have dense, key, query, value",
        ),
    ],
)
def test_what_cannot_be_adapted_is_said(given, frozen, said):
    with pytest.raises(UserError, match=said):
        adapted(build("xlm-roberta"), options(**given), parse_layers(frozen, LAYERS))


def test_a_pooler_is_trained_in_full():
    model = add_lora(build("bert"), LORA, parse_layers("2", LAYERS))
    assert any("pooler" in name and "lora" not in name for name, p in model.named_parameters() if p.requires_grad)


# ---- in the scripts -------------------------------------------------------------------------------------------------


def test_adapters_beside_frozen_layers(world, encoder, tmp_path):
    line = "--task hellaswag --peft lora --freeze_layers 1 --lora_target_modules query value --learning_rate 1e-2"
    done = intermediate(tmp_path, world, encoder, line)
    before, after = load_file(f"{encoder}/model.safetensors"), load_file(tmp_path / "model.safetensors")
    moved = {name for name, tensor in before.items() if name in after and not tensor.equal(after[name])}
    assert {name for name in moved if "lm_head" not in name} == {
        f"roberta.encoder.layer.1.attention.self.{name}.weight" for name in ("query", "value")
    }
    assert done["parameters"]["layers 0-0"][1] == 0 < done["parameters"]["layers 1-1"][1]
    assert done["lineage"][-1]["factors"] == ["lora-query-value", "freeze-1"]


@pytest.mark.parametrize("task", ["mnli", "mnli+squad"])
def test_chosen_layers_are_recorded(task, world, encoder, tmp_path):
    done = intermediate(tmp_path, world, encoder, f"--task {task} --peft lora --lora_layers=-1--1")
    assert done["lineage"][-1]["factors"] == ["lora-1-1"]
    assert done["parameters"]["layers 0-0"][1] == 0 < done["parameters"]["layers 1-1"][1]


def test_one_spelling_of_module_names(world, encoder, tmp_path, capsys):
    line = "--task mnli --peft lora --max_steps 1 --lora_target_modules"
    done = intermediate(tmp_path, world, encoder, f"{line} value query value")
    assert done["arguments"]["lora_target_modules"] == ["query", "value"]
    intermediate(tmp_path, world, encoder, f"{line} query,value")
    assert "nothing to do" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--peft prefix", "--peft prefix is not one of lora"),
        ("--lora_layers 1-1", "--lora_layers has an effect with --peft lora only"),
        ("--lora_r 8", "--lora_r has an effect with --peft lora only"),
        ("--lora_dropout 0", "--lora_dropout has an effect with --peft lora only"),
        ("--peft lora --lora_r 0", "--lora_r 0 must be 1 or more"),
        ("--peft lora --lora_alpha 0", "--lora_alpha 0 must be 1 or more"),
        ("--peft lora --lora_dropout 1.5", "--lora_dropout 1.5 must be 0 or more and below 1"),
        ("--peft lora --lora_dropout -0.1", "--lora_dropout -0.1 must be 0 or more and below 1"),
        ("--peft lora --lora_layers=", "--lora_layers : '' is none of"),
        ("--peft lora --lora_layers 0-1 --freeze_layers 1", "overlap"),
        ("--peft lora --lora_target_modules q_proj", "they have dense, key, query, value"),
        ("--peft lora --freeze_layers all", "have no linear layer"),
    ],
)
def test_options_that_do_not_go_together(line, message, world, encoder, tmp_path):
    with pytest.raises(UserError, match=message):
        run(run_target.main, tmp_path / "run", world, encoder, f"--task udpos {line}")
    assert not (tmp_path / "run").exists()
