"""--cache_frozen_prefix: what is read from disk is what the frozen layers would have computed, and a run with it is the same run.

Tolerance: 1e-5, float32 in batches of other paddings; bit for bit where batches are the same.
"""

import copy
import re
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import ROOT, save_tiny_encoder, tiny_tokenizer
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from test_layers import CONFIGS, LAYERS, MASK, TOKENS, build
from test_multitask import SMALL, intermediate, run

import run_target
from tasks import load_task
from xstilts import prefix_cache
from xstilts.errors import UserError
from xstilts.freezing import freeze
from xstilts.frozen_prefix import FrozenPrefix, check_enterable, frozen_layers
from xstilts.json_files import read_json
from xstilts.layers import layers_of, parse_layers
from xstilts.prefix_cache import CachedRows, check_prefix_cache, collate, computed, inputs_of
from xstilts.training import StiltsTrainer

INPUTS = {"input_ids": TOKENS, "attention_mask": MASK}
TOKENIZER = tiny_tokenizer()
PREFIX = {"layers": 2, "width": 16}


def frozen(family, count, head="classification", **options):
    """(a tiny model with dropout and its lowest layers frozen, its FrozenPrefix)."""
    model = build(family, head)
    freeze(model, parse_layers(str(count), LAYERS), **options)
    return model, FrozenPrefix(model, count)


# ---- the model ------------------------------------------------------------------------------------------------------


def step(model, inputs, **states):
    """(hidden states, any output, gradients) of a forward and a backward pass in training mode."""
    torch.manual_seed(3)
    model.zero_grad()
    outputs = model.train()(**inputs, **states, output_hidden_states=True)
    logits = next(value for value in outputs.values() if isinstance(value, torch.Tensor))
    logits.float().sum().backward()
    return outputs.hidden_states, logits, {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("count", [1, 2, LAYERS])
@pytest.mark.parametrize("head", ["classification", "choice"])
@pytest.mark.parametrize("family", CONFIGS)
def test_entered_above_its_frozen_layers_a_model_is_the_same_bit_for_bit(family, head, count):
    """Hidden states from there on, logits, gradients, the drawn dropout; and the layers below do not work."""
    model, prefix = frozen(family, count, head)
    names, worked = list(build(family, head).state_dict()), []
    assert frozen_layers(model) == count
    check_enterable(prefix, INPUTS)
    shape = (1, *TOKENS.shape) if head == "choice" else TOKENS.shape
    inputs = {name: tensor.view(shape) for name, tensor in INPUTS.items()}
    states = prefix.states_of(INPUTS).view(*shape, -1)
    next(layers_of(model)[0].children()).register_forward_hook(lambda *call: worked.append(1))
    (hidden, logits, gradients), entered = step(model, inputs), step(model, inputs, states=states)
    assert worked == [1]
    assert all(torch.equal(*pair) for pair in zip(hidden[count:], entered[0][count:], strict=True))
    assert torch.equal(logits, entered[1])
    assert gradients.keys() == entered[2].keys()
    assert all(torch.equal(gradients[name], entered[2][name]) for name in gradients)
    assert torch.equal(step(model, inputs)[1], logits)  # without states the layers work again
    assert list(model.state_dict()) == names


def test_a_copy_has_a_prefix_of_its_own():
    model, prefix = frozen("bert", 2)
    states = prefix.states_of(INPUTS)
    twin = copy.deepcopy(model)
    with torch.no_grad():
        layers_of(twin)[3].output.dense.weight.zero_()
    assert not torch.equal(step(twin, INPUTS, states=states)[1], step(model, INPUTS, states=states)[1])


def test_an_encoder_whose_layers_look_further_down_is_refused():
    model = build("bert")
    freeze(model, parse_layers("2", LAYERS))
    layers, seen = layers_of(model), []
    layers[0].register_forward_hook(lambda module, args, output: seen.append(output))
    layers[3].register_forward_hook(lambda module, args, output: output + seen[-1])
    with pytest.raises(UserError, match="layers of BertModel read more than the output of the layer below"):
        check_enterable(FrozenPrefix(model, 2), INPUTS)


@pytest.mark.parametrize(
    ("selection", "dropout", "expected"),
    [
        ("embeddings,0-1,3-3", False, 2),
        ("all", False, LAYERS),
        ("0-1", False, None),
        ("0", False, None),
        ("2", True, None),
    ],
)
def test_which_layers_stay_frozen(selection, dropout, expected):
    model = build("electra")
    freeze(model, parse_layers(selection, LAYERS), dropout)
    if expected:
        assert frozen_layers(model) == expected
    else:
        with pytest.raises(UserError, match="needs embeddings and lowest layers that stay frozen"):
            frozen_layers(model)
    assert model.training


# ---- the files ------------------------------------------------------------------------------------------------------


def fake_trainer(batch=4):
    """What computing states needs of a trainer."""
    arguments = SimpleNamespace(eval_batch_size=batch, device=torch.device("cpu"))
    return SimpleNamespace(
        args=arguments, processing_class=TOKENIZER, accelerator=SimpleNamespace(autocast=nullcontext)
    )


def features_of(lengths, seed=0):
    """Rows with inputs of these lengths: one, or a list for multiple choice."""
    rng = np.random.default_rng(seed)
    ids = [[rng.integers(4, 60, length).tolist() for length in row] for row in lengths]
    masks = [[[1] * length for length in row] for row in lengths]
    if all(len(row) == 1 for row in lengths):
        ids, masks = ([row[0] for row in rows] for rows in (ids, masks))
    return Dataset.from_dict({"input_ids": ids, "attention_mask": masks, "labels": [0] * len(lengths)})


def cached_rows(directory, features, record=PREFIX):
    return CachedRows(features, TOKENIZER.model_input_names, record, directory)


@settings(max_examples=20, deadline=None)
@given(choices=st.integers(1, 3), batch=st.integers(1, 5), data=st.data())
def test_what_is_kept_is_the_live_output_of_every_input(tmp_path_factory, choices, batch, data):
    """In batches of any size and padding, read back by row, and padded as the token ids of a batch of other rows."""
    row = st.lists(st.integers(1, 30), min_size=choices, max_size=choices)
    features = features_of(data.draw(st.lists(row, min_size=1, max_size=9)))
    task, (_, prefix) = load_task("mnli" if choices == 1 else "hellaswag"), frozen("xlm-roberta", 2)
    rows, trainer = cached_rows(tmp_path_factory.mktemp("cache"), features), fake_trainer(batch)
    rows.ensure(lambda: computed(trainer, prefix, task, rows), [rows])
    some = data.draw(st.lists(st.integers(0, len(features) - 1), min_size=1, max_size=4))
    made = collate(lambda rows: task.type.collate(rows, TOKENIZER), [rows[number] for number in some])
    live = prefix.states_of(inputs_of(trainer, task, [features[number] for number in some])).view(made["states"].shape)
    torch.testing.assert_close(made["states"], live * made["attention_mask"][..., None], rtol=1e-5, atol=1e-5)
    assert rows.bytes == sum(made.stat().st_size for made in rows.folder.glob("states.*"))


def write_ones(rows, wait=0.0):
    """Something to compute, of the right size; slow where two should meet."""

    def batches():
        for row, lengths in enumerate(rows.lengths):
            time.sleep(wait)
            yield [(row, np.ones((sum(lengths), rows.shape[1]), np.float32).tobytes())]

    return batches


@pytest.fixture
def rows(tmp_path):
    """Rows of a cache that is filled."""
    rows = cached_rows(tmp_path / "cache", features_of([[3], [5], [2]]))
    rows.ensure(write_ones(rows), [rows])
    return rows


def test_files_that_are_not_what_they_should_be_are_named_and_made_anew(rows, capsys):
    about, states = rows.folder / "prefix.json", rows.folder / "states.f32"
    content, flipped = states.read_bytes(), bytearray(states.read_bytes())
    flipped[-2] ^= 1
    damages = (
        about.unlink, lambda: about.write_text("{"), states.unlink, lambda: states.write_bytes(content[:-4]),
        lambda: states.write_bytes(flipped),
    )  # fmt: skip
    for damage in damages:
        damage()
        capsys.readouterr()
        rows.ensure(write_ones(rows), [rows])
        assert re.search(rf"{rows.folder} is damaged \(.*\); it is made anew", capsys.readouterr().out)
        assert states.read_bytes() == content


def test_a_folder_of_other_states_is_refused(rows):
    shutil.copytree(rows.folder, (other := cached_rows(rows.folder.parent, features_of([[3], [4], [3]]))).folder)
    with pytest.raises(UserError, match="does not say what --cache_frozen_prefix needs"):
        other.ensure(None, [other])


def test_an_interrupted_fill_is_done_again(tmp_path):
    rows = cached_rows(tmp_path / "cache", features_of([[3], [5], [2]]))

    def broken():
        yield next(write_ones(rows)())
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rows.ensure(broken, [rows])
    assert not rows.folder.exists()
    rows.ensure(write_ones(rows), [rows])
    assert sorted(path.suffix for path in rows.folder.parent.iterdir()) == [""]
    assert np.array_equal(rows.memory, np.ones((10, 16)))


def test_of_two_that_come_at_once_one_computes(tmp_path):
    both, computing = [cached_rows(tmp_path, features_of([[9]] * 20)) for _ in range(2)], []

    def run_one(rows):
        rows.ensure(lambda: (computing.append(1), write_ones(rows, 0.01)())[1], [rows])

    threads = [threading.Thread(target=run_one, args=(rows,)) for rows in both]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert computing == [1]
    assert all(np.array_equal(rows.memory, np.ones((180, 16))) for rows in both)


def test_nothing_is_written_where_it_would_not_fit(tmp_path, monkeypatch):
    """Of all that the run keeps: 0.6 of 1 GB would be there for the first set, and 1.2 are needed."""
    features = [features_of([[3], [5], [2]], seed) for seed in (0, 1)]
    both = [cached_rows(tmp_path, each, {"layers": 2, "width": 15_000_000}) for each in features]
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=10**9))
    with pytest.raises(UserError, match=r"1\.200 GB are needed and 1\.000 GB are free") as error:
        both[0].ensure(None, both)
    assert str(tmp_path) in str(error.value)
    assert not [*tmp_path.iterdir()]


def test_processes_that_load_data_map_the_file_themselves(rows):
    assert rows[1]["states"][0].shape == (5, 16)
    assert "memory" not in copy.copy(rows).__dict__
    assert len(rows["input_ids"][1]) == 5


def key_of(model, features, tokenizer=TOKENIZER, precision="no"):
    """The folder that a model's states of some features have."""
    arguments = SimpleNamespace(mixed_precision=precision, tf32=None)
    around = prefix_cache._surroundings(SimpleNamespace(processing_class=tokenizer, args=arguments))
    record = {**FrozenPrefix(model, 2).record(), **around}
    return CachedRows(features, tokenizer.model_input_names, record, "cache").folder


def changed_config(model, **options):
    """A copy of its configuration with other values."""
    config = copy.deepcopy(model.config)
    for name, value in options.items():
        setattr(config, name, value)
    return config


def test_the_key_holds_all_that_states_depend_on_and_nothing_else():
    features, other = features_of([[3], [5]]), features_of([[3], [5]], seed=1)
    expected, changed = key_of(build("electra"), features), []
    for part in ("embeddings.LayerNorm", "embeddings_project", "encoder.layer.1.output.dense"):
        model = build("electra")
        model.base_model.get_submodule(part).bias.data[0] += 1e-3
        changed.append(key_of(model, features))
    longer, larger = build("electra"), copy.deepcopy(TOKENIZER)
    longer.base_model.config = changed_config(longer, layer_norm_eps=1e-4)
    larger.add_tokens(["zzz"])
    changed += [key_of(longer, features), key_of(build("electra"), other), key_of(build("electra"), features, larger)]
    changed += [key_of(build("electra"), features, precision="bf16"), key_of(build("electra"), features.select([0]))]
    assert len({expected, *changed}) == 9
    same = build("electra", "tagging", seed=0)
    same.base_model.load_state_dict(build("electra").base_model.state_dict())
    same.base_model.encoder.layer[2].output.dense.bias.data[0] += 1
    same.base_model.config = changed_config(same, id2label={0: "a", 1: "b", 2: "c"})
    assert key_of(same, features.map(lambda row: {"labels": 1})) == expected


# ---- runs -----------------------------------------------------------------------------------------------------------

# SGD: Adam makes steps of full size of a gradient that is rounding alone, as that of the bias of a span's start.
LINE = "--freeze_layers 1 --optim sgd --learning_rate 0.1 --logging_steps 1"


def done(folder, encoder, world, line, cache=None, phase=intermediate):
    """(loss curve, dev scores, {name: tensor}) of a run."""
    found = phase(folder, world, encoder, f"{line} --cache_frozen_prefix {cache}" if cache else line)
    weights = {path.name: load_file(path) for path in folder.rglob("*.safetensors")}
    return [loss for _, loss in found["loss_curve"]], found["dev_scores"], weights


def target(folder, data, encoder, line):
    return run(run_target.main, folder, data, encoder, line)


def check_same(plain, cached):
    """Two results agree to rounding; logged losses have four digits."""
    assert len(plain[0]) > 1
    assert cached[0] == pytest.approx(plain[0], abs=1.01e-4)
    assert cached[1] == plain[1]
    for file, weights in plain[2].items():
        for name, tensor in weights.items():
            torch.testing.assert_close(cached[2][file][name], tensor, rtol=1e-5, atol=1e-5, msg=name)


@pytest.fixture
def calls(monkeypatch):
    """Counts the forward passes of frozen layers that have a cache, by whether they worked."""
    calls, forward = Counter(), FrozenPrefix._forward

    def counted(self, *args, **inputs):
        calls["live" if self.states is None else "read"] += 1
        return forward(self, *args, **inputs)

    monkeypatch.setattr(FrozenPrefix, "_forward", counted)
    return calls


@pytest.mark.parametrize(
    ("phase", "line"),
    [
        (intermediate, "--task mnli --peft lora"),
        (intermediate, "--task hellaswag --gradient_checkpointing"),
        (intermediate, "--task mnli+squad"),
        (target, "--task udpos --freeze_layers all"),
        (target, "--task xquad"),
    ],
)
def test_a_run_with_a_cache_is_the_same_run(phase, line, world, encoder, tmp_path, calls):
    """With dropout, accumulation and two epochs; frozen layers work for the cache and nothing else."""
    line = f"{LINE} --num_train_epochs 2 {line}"
    plain = done(tmp_path / "plain", encoder, world, line, phase=phase)
    assert not calls
    check_same(plain, done(tmp_path / "cached", encoder, world, line, tmp_path / "cache", phase))
    layers = 2 if "all" in line else 1
    batches = (16 + 8) * (2 if "+" in line else 1) // 8  # of evaluation, for windows one more
    assert calls["live"] <= layers * (batches + 1 + 5)  # parts are told apart and the prefix tried out
    assert calls["read"] >= layers * 11  # eight micro-batches and three evaluations
    assert len([*(tmp_path / "cache").rglob("*.f32")]) == (4 if "+" in line else 2)


def test_another_seed_reads_what_is_there(world, encoder, tmp_path, calls, capsys):
    kept = []
    for seed in (4, 5):
        calls.clear()
        done(tmp_path / str(seed), encoder, world, f"{LINE} --task mnli --seed {seed}", tmp_path / "cache")
        kept.append({path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.f32")})
    assert kept[0] == kept[1]
    assert calls["live"] <= 5
    told = capsys.readouterr().out
    assert told.count("is computed once (0.000 GB)") == told.count(" rows of mnli is there") == 2


def test_what_a_schedule_never_thaws_is_kept(world, tmp_path, calls):
    encoder = save_tiny_encoder(tmp_path / "encoder", num_hidden_layers=3)
    line = f"{LINE} --task mnli --max_steps 4 --freeze_layers none --unfreeze_schedule".split()
    line = " ".join([*line, "0:2;2:1"])
    plain = done(tmp_path / "plain", encoder, world, line)
    check_same(plain, done(tmp_path / "cached", encoder, world, line, tmp_path / "cache"))
    assert {read_json(path)["layers"] for path in (tmp_path / "cache").rglob("*.json")} == {1}
    with pytest.raises(UserError, match="lowest layers that stay frozen"):
        done(tmp_path / "thawed", encoder, world, line.replace("2:1", "2:none"), tmp_path / "cache")
    assert not (tmp_path / "thawed").exists()


def test_a_run_that_is_interrupted_goes_on(world, encoder, tmp_path, monkeypatch):
    line = f"""{LINE} --task mnli --optim adamw_torch --max_steps 8 --save_strategy steps --save_steps 2
        --eval_strategy steps --eval_steps 2"""
    whole = done(tmp_path / "whole", encoder, world, line, tmp_path / "cache")
    compute_loss, seen = StiltsTrainer.compute_loss, []

    def interrupted(self, model, *args, **options):
        seen.append(model.training)
        if sum(seen) == 11:  # in the sixth step, of two micro-batches
            raise KeyboardInterrupt
        return compute_loss(self, model, *args, **options)

    monkeypatch.setattr(StiltsTrainer, "compute_loss", interrupted)
    with pytest.raises(KeyboardInterrupt):
        done(tmp_path / "broken", encoder, world, line, tmp_path / "cache")
    assert (tmp_path / "broken" / "checkpoint-4").exists()
    again = done(tmp_path / "broken", encoder, world, line, tmp_path / "cache")
    assert again[:2] == whole[:2]
    assert [path.read_bytes() for path in (tmp_path / "whole").glob("*.safetensors")] == [
        path.read_bytes() for path in (tmp_path / "broken").glob("*.safetensors")
    ]


def test_two_processes_share_what_one_of_them_computes(world, tmp_path):
    encoder = save_tiny_encoder(tmp_path / "encoder", hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    line = f"{LINE} --task hellaswag --max_train_samples 19"
    plain = done(tmp_path / "plain", encoder, world, line)
    options = f"""--model_name_or_path {encoder} --data_dir {world} --output_dir {tmp_path / "two"} {SMALL} {line}
        --per_device_train_batch_size 2 --cache_frozen_prefix {tmp_path / "cache"}"""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", ROOT / "run_intermediate.py"]
    subprocess.run([*launcher, *options.split()], check=True, timeout=100)
    found = read_json(tmp_path / "two" / "run.json")
    weights = {path.name: load_file(path) for path in (tmp_path / "two").glob("*.safetensors")}
    check_same(plain, ([loss for _, loss in found["loss_curve"]], found["dev_scores"], weights))
    assert len([*(tmp_path / "cache").glob("*/states.f32")]) == 2
    assert not [*(tmp_path / "cache").glob("*.partial")]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--freeze_layers none", "needs embeddings and lowest layers that stay frozen"),
        ("--freeze_layers none --peft lora", "needs embeddings and lowest layers that stay frozen"),
        ("--freeze_layers 0-0", "needs embeddings and lowest layers"),
        ("--frozen_dropout", "--frozen_dropout exclude each other"),
        ("--mlm_text_files {world}/text/en.txt", "masked language modelling exclude each other"),
        ("--bf16_full_eval", "--bf16_full_eval exclude each other"),
    ],
)
def test_what_cannot_be_kept_is_said(options, said, world, encoder, tmp_path):
    line = f"{LINE} --task mnli {options.format(world=world)}"
    with pytest.raises(UserError, match=said) as error:
        done(tmp_path / "run", encoder, world, line, tmp_path / "cache")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()
    assert not (tmp_path / "cache").exists()


def test_without_the_option_nothing_is_checked():
    check_prefix_cache(None, SimpleNamespace(cache_frozen_prefix=None), None)
    prefix_cache.cache_prefix(None, None)
