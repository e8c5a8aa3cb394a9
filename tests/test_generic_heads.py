"""Question answering and multiple choice on families without such a class: made on demand, saved plainly, read back anywhere."""

import subprocess
import sys

import pytest
import torch
from conftest import ROOT, tiny_tokenizer
from safetensors.torch import load_file
from test_multitask import intermediate, run
from transformers import (
    AutoModel,
    AutoModelForMultipleChoice,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    BartConfig,
    EuroBertConfig,
    GteConfig,
    JinaEmbeddingsV3Config,
    LlamaConfig,
    ModernVBertConfig,
    NomicBertConfig,
    PerceiverConfig,
    T5Config,
    XLMRobertaConfig,
    XLMRobertaForQuestionAnswering,
    set_seed,
)

import run_target
import run_zeroshot_eval
from tasks import load_task
from xstilts.base import UserError, read_json
from xstilts.checkpoint import check_head, has_task_head, load_model, load_tokenizer, save_checkpoint
from xstilts.generic_heads import ensure_class
from xstilts.heads import load_trained

SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
SIZES |= {"vocab_size": len(tiny_tokenizer()), "max_position_embeddings": 256, "pad_token_id": 1}
FAMILIES = {
    "EuroBert": EuroBertConfig(**SIZES, bos_token_id=0, eos_token_id=2, mask_token_id=SIZES["vocab_size"] - 1),
    "Gte": GteConfig(**SIZES),
    "NomicBert": NomicBertConfig(**SIZES),
    "JinaEmbeddingsV3": JinaEmbeddingsV3Config(**SIZES),  # lacks multiple choice only, and has a pooler
}
HEADS = {"squad": "ForQuestionAnswering", "hellaswag": "ForMultipleChoice"}
TOKENS = torch.tensor([[0, 9, 7, 8, 6, 2], [0, 12, 2, 1, 1, 1]])


def save_base(family, folder):
    """A randomly initialised encoder without a head, and the tiny tokenizer."""
    torch.manual_seed(0)
    AutoModel.from_config(FAMILIES[family]).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """Directory of a tiny EuroBERT."""
    return save_base("EuroBert", tmp_path_factory.mktemp("eurobert"))


@pytest.fixture(scope="module")
def trained(base, world, tmp_path_factory):
    """{target task: directory of EuroBERT fine-tuned on it}."""
    folders = {name: tmp_path_factory.mktemp(name) for name in ("xquad", "copa")}
    for name, folder in folders.items():
        run(run_target.main, folder, world, base, f"--task {name} --learning_rate 1e-2")
    return folders


def fresh(name, base, seed=3):
    """A model for a task as a run with this seed starts from."""
    set_seed(seed)
    return load_model(base, load_task(name), report=str).eval()


def inputs_for(name, choices=4):
    """Two rows, the second padded; for multiple choice each twice as often as there are choices to read."""
    tokens = TOKENS if name in ("squad", "xquad") else torch.stack([TOKENS + i for i in range(choices)], dim=1)
    return {
        "input_ids": tokens,
        "attention_mask": (TOKENS != 1).long().view(2, *[1] * (tokens.dim() - 2), 6).expand_as(tokens),
    }


def logits(model, inputs):
    """All outputs, as one tensor."""
    with torch.no_grad():
        return torch.stack([*model(**inputs).values()])


# ---- saved and read back --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_checkpoint_comes_back(family, name, tmp_path):
    task, other = load_task(name), load_task(next(head for head in HEADS if head != name))
    path, saved = save_base(family, tmp_path / "base"), str(tmp_path / "saved")
    model = fresh(name, path)
    assert type(model).__name__ == family + HEADS[name]
    assert not has_task_head(path)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    save_checkpoint(model, load_tokenizer(path), saved)
    again = load_model(saved, task, keep_head=True).eval()
    torch.testing.assert_close(dict(again.named_parameters()), dict(model.named_parameters()), rtol=0, atol=0)
    torch.testing.assert_close(logits(again, inputs_for(name)), logits(model, inputs_for(name)), rtol=0, atol=1e-7)
    flat = {part: tensor.flatten(0, -2) for part, tensor in inputs_for(name).items()}
    plain = AutoModel.from_pretrained(saved).eval()
    assert torch.equal(plain(**flat)[0], model.base_model(**flat)[0])
    assert read_json(f"{saved}/config.json")["architectures"] == [family + HEADS[name]]
    assert has_task_head(saved)
    with pytest.raises(
        UserError, match=f"head of {family}{HEADS[name]}, but {other.name} needs {family}{HEADS[other.name]}"
    ):
        check_head(saved, other)


READER = """
import sys, torch
from transformers import AutoModel, AutoModelForMultipleChoice, AutoModelForQuestionAnswering, EuroBertConfig
inputs = torch.load(sys.argv[1])
flat = {name: {part: rows.flatten(0, -2) for part, rows in inputs[name].items()} for name in inputs}
hidden = {name: AutoModel.from_pretrained(f"{sys.argv[2]}/{name}").eval()(**flat[name])[0].detach() for name in inputs}
from tasks import load_task
from xstilts.checkpoint import load_model
assert EuroBertConfig not in AutoModelForQuestionAnswering._model_mapping, "registered by an import"
assert EuroBertConfig not in AutoModelForMultipleChoice._model_mapping, "registered by an import"
models = {name: load_model(f"{sys.argv[2]}/{name}", load_task(name), keep_head=True).eval() for name in inputs}
with torch.no_grad():
    logits = {name: torch.stack([*models[name](**inputs[name]).values()]) for name in inputs}
torch.save([hidden, logits], sys.argv[3])
"""


def test_another_process_reads_the_same(base, tmp_path):
    """Nothing is registered there; the encoder needs nothing of ours."""
    inputs, models = {name: inputs_for(name) for name in HEADS}, {name: fresh(name, base) for name in HEADS}
    for name, model in models.items():
        save_checkpoint(model, load_tokenizer(base), tmp_path / name)
    torch.save(inputs, tmp_path / "inputs.pt")
    command = [sys.executable, "-c", READER, tmp_path / "inputs.pt", tmp_path, tmp_path / "found.pt"]
    subprocess.run(command, check=True, cwd=ROOT)
    hidden, found = torch.load(tmp_path / "found.pt")
    for name, model in models.items():
        flat = {part: rows.flatten(0, -2) for part, rows in inputs[name].items()}
        assert torch.equal(hidden[name], model.base_model(**flat)[0])
        torch.testing.assert_close(found[name], logits(model, inputs[name]), rtol=0, atol=1e-7)


@pytest.mark.parametrize("name", HEADS)
def test_half_precision_is_read_as_float32(name, base, tmp_path):
    save_checkpoint(fresh(name, base).to(torch.bfloat16), load_tokenizer(base), tmp_path)
    assert {tensor.dtype for tensor in load_file(tmp_path / "model.safetensors").values()} == {torch.bfloat16}
    for keep_head in (False, True):
        model = load_model(str(tmp_path), load_task(name), keep_head, report=str)
        assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


# ---- what it computes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_a_choice_is_scored_by_the_mean_of_its_attended_tokens(family, tmp_path):
    model = fresh("hellaswag", save_base(family, tmp_path))
    found, inputs = logits(model, inputs_for("hellaswag"))[0], inputs_for("hellaswag")
    assert found.shape == (2, 4)
    assert not any("pooler" in part for part, _ in model.named_parameters())  # nothing would train it
    for row, length in enumerate((6, 3)):
        for choice in range(4):
            alone = inputs["input_ids"][row, choice, :length][None]
            pooled = model.base_model(input_ids=alone).last_hidden_state.mean(1)
            assert found[row, choice].item() == pytest.approx(model.classifier(pooled).item(), abs=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_positions_of_answers_are_scored_token_by_token(family, tmp_path):
    model, inputs = fresh("squad", save_base(family, tmp_path)), inputs_for("squad")
    start, end = logits(model, inputs)
    hidden = model.base_model(**inputs).last_hidden_state
    assert model.qa_outputs.out_features == 2
    torch.testing.assert_close(torch.stack([start, end], -1), model.qa_outputs(hidden).detach())


@pytest.mark.parametrize("name", HEADS)
def test_what_else_encoders_take_is_passed_on(name, base):
    model, inputs = fresh(name, base), inputs_for(name)
    expected, tokens = logits(model, inputs), inputs.pop("input_ids")
    embedded = {"inputs_embeds": model.get_input_embeddings()(tokens), **inputs}
    torch.testing.assert_close(logits(model, embedded), expected)
    inputs["input_ids"] = tokens
    positions = torch.arange(6).expand_as(tokens)
    for same in (positions, positions.reshape(-1, 6)[:1]):
        torch.testing.assert_close(logits(model, {**inputs, "position_ids": same}), expected)
    assert not torch.allclose(logits(model, {**inputs, "position_ids": positions * 3}), expected)
    outputs = model(**inputs, output_hidden_states=True)
    assert [tuple(states.shape) for states in outputs.hidden_states] == [(tokens[..., 0].numel(), 6, 16)] * 3
    torch.testing.assert_close(torch.stack(model(**inputs, return_dict=False)).detach(), expected)
    full = {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}
    torch.testing.assert_close(logits(model, {"input_ids": tokens}), logits(model, full))


def test_dropout_is_the_family_s_own(tmp_path):
    rates = {}
    for family, config in FAMILIES.items():
        rates[family] = fresh("hellaswag", save_base(family, tmp_path / family)).classifier[2].p
        assert rates[family] == getattr(config, "hidden_dropout_prob", 0.0)
    assert rates["EuroBert"] == 0.0 < rates["Gte"]
    config = GteConfig(**SIZES, classifier_dropout=0.0)
    assert ensure_class(AutoModelForMultipleChoice, config)(config).classifier[2].p == 0.0


# ---- through the phases ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["xquad", "copa"])
def test_a_target_task_trains_encoder_and_head(name, trained, base):
    start, end = fresh(name, base), load_model(str(trained[name]), load_task(name), keep_head=True)
    moved = {part for part, p in start.named_parameters() if not torch.equal(p, dict(end.named_parameters())[part])}
    assert moved >= {part for part, _ in start.named_parameters() if not part.endswith("bias")}
    assert read_json(trained[name] / "run.json")["lineage"][-1]["task"] == name


def test_every_language_is_answered(trained, world, tmp_path):
    line = f"--task xquad --model_name_or_path {trained['xquad']} --output_dir {tmp_path} --data_dir {world} --use_cpu"
    run_zeroshot_eval.main(
        [*line.split(), *"--max_eval_samples 6 --max_seq_length 128 --doc_stride 16 --languages en,qna".split()]
    )
    scores = read_json(tmp_path / "run.json")["scores"]
    assert list(scores) == ["en", "qna"]
    assert all(0 <= each["f1"] <= 100 for each in scores.values())
    assert len(read_json(tmp_path / "predictions" / "xquad" / "test-qna.json")) == 6


@pytest.mark.parametrize("name", HEADS)
def test_accumulation_does_not_change_a_step(name, base, world, tmp_path):
    """A1: the head's loss is that of the whole step."""
    line = f"--task {name} --optim sgd --learning_rate 0.1 --warmup_steps 0 --logging_steps 1 --max_seq_length 64"
    curves, weights = [], []
    for batch, accumulation in ((8, 1), (2, 4)):
        layout = f"--per_device_train_batch_size {batch} --gradient_accumulation_steps {accumulation}"
        done = intermediate(tmp_path / f"{batch}", world, base, f"{line} {layout} --load_best_model_at_end false")
        curves.append([loss for _, loss in done["loss_curve"]])
        weights.append(load_file(tmp_path / f"{batch}" / "model.safetensors"))
    assert len(curves[0]) >= 2
    assert curves[0] == pytest.approx(curves[1], rel=1e-4)
    torch.testing.assert_close(*weights, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["xquad", "copa"])
def test_lora_trains_the_head_and_merges(name, base, world, tmp_path):
    """A6: peft leaves what it doesn't know frozen at random, and doesn't save it."""
    run(run_target.main, tmp_path, world, base, f"--task {name} --learning_rate 1e-2 --peft lora")
    start, end = fresh(name, base).state_dict(), load_file(tmp_path / "model.safetensors")
    assert start.keys() == end.keys()
    moved = {part for part in start if not torch.equal(start[part], end[part])}
    head = {part for part in start if not part.startswith("model.") and not part.endswith("bias")}
    linear = {part for part in start if part.endswith("proj.weight")}
    assert moved >= head | linear
    assert not {part for part in moved if "norm" in part or "embed" in part}
    load_model(str(tmp_path), load_task(name), keep_head=True)


def test_several_tasks_share_a_eurobert(base, world, tmp_path):
    names = ("mnli", "squad", "hellaswag")
    intermediate(
        tmp_path, world, base, f"--task {'+'.join(names)} --learning_rate 1e-2 --mixing uniform --max_steps 12"
    )
    encoder = AutoModel.from_pretrained(tmp_path)
    assert not torch.equal(
        encoder.layers[0].mlp.up_proj.weight, AutoModel.from_pretrained(base).layers[0].mlp.up_proj.weight
    )
    for name in names:
        model, start = load_trained(str(tmp_path), load_task(name)), fresh(name, base)
        assert torch.equal(model.base_model.layers[0].mlp.up_proj.weight, encoder.layers[0].mlp.up_proj.weight)
        head = {part: p for part, p in model.named_parameters() if not part.startswith("model.")}
        stored = load_file(tmp_path / "heads" / f"{name}.safetensors")
        torch.testing.assert_close(head, {part: stored[part] for part in head}, rtol=0, atol=0)
        widths = {part: p.std().item() for part, p in start.named_parameters() if part in head and p.dim() > 1}
        assert all(head[part].std().item() == pytest.approx(width, rel=1) for part, width in widths.items())


# ---- who gets one ---------------------------------------------------------------------------------------------------


def test_the_library_s_own_class_goes_first():
    config = XLMRobertaConfig(**SIZES)
    assert ensure_class(AutoModelForQuestionAnswering, config) is XLMRobertaForQuestionAnswering
    own = AutoModelForSequenceClassification._model_mapping[EuroBertConfig]
    assert ensure_class(AutoModelForSequenceClassification, FAMILIES["EuroBert"]) is own


def test_a_class_is_made_once():
    made = ensure_class(AutoModelForQuestionAnswering, FAMILIES["EuroBert"])
    assert ensure_class(AutoModelForQuestionAnswering, EuroBertConfig()) is made
    assert made.config_class is EuroBertConfig


REFUSED = {
    "llama (a decoder)": (LlamaConfig(**SIZES), "hellaswag"),
    "t5 (an encoder and a decoder)": (T5Config(), "hellaswag"),
    "bart (too, with masks)": (BartConfig(), "hellaswag"),
    "perceiver (no state per token)": (PerceiverConfig(), "squad"),
    "modernvbert (images too)": (ModernVBertConfig(), "squad"),
}


@pytest.mark.parametrize("family", REFUSED)
def test_what_is_no_encoder_of_text_is_refused(family, tmp_path):
    config, name = REFUSED[family]
    config.save_pretrained(tmp_path)
    head = f"AutoModel{HEADS[name]} for the encoder '{config.model_type}'"
    with pytest.raises(UserError, match=f"transformers has no {head}") as error:
        load_model(str(tmp_path), load_task(name))
    assert "\n" not in str(error.value)
    with pytest.raises(UserError, match=f"{load_task(name).name} needs"):
        check_head(str(tmp_path), load_task(name))
