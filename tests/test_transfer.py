"""Transfer of some layers: exactly these come from the checkpoint, all else is as if training had started from the base model."""

import shutil
from types import SimpleNamespace

import pytest
import torch
from conftest import save_tiny_encoder
from safetensors.torch import load_file, save_file
from test_freezing import encoder_of
from test_layers import CONFIGS, LAYERS, declared
from test_multitask import intermediate, run
from transformers import AutoModel

import run_retrieval
import run_target
from xstilts.base import UserError, read_json, write_json
from xstilts.layers import parse_layers
from xstilts.transfer import bring_layers, load_for_retrieval


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """An encoder of four layers."""
    return save_tiny_encoder(tmp_path_factory.mktemp("base") / "tiny", num_hidden_layers=4)


@pytest.fixture(scope="module")
def trained(base, world, tmp_path_factory):
    """What intermediate training made of it: multiple choice, so that it also has a pooler."""
    folder = tmp_path_factory.mktemp("trained")
    intermediate(folder, world, base, "--task hellaswag --learning_rate 1e-2")
    return folder


def target(folder, world, start, line):
    """Target training that changes nothing of the encoder."""
    return run(run_target.main, folder, world, start, f"--task hellaswag --learning_rate 0 {line}")


@pytest.mark.parametrize("text", ["0-1", "embeddings,2-3", "2", "-1--1", "all", "none"])
def test_exactly_these_layers_are_transferred(text, base, trained, world, tmp_path):
    done = target(tmp_path, world, trained, f"--transfer_layers={text}")
    theirs, ours, found = (encoder_of(folder) for folder in (base, trained, tmp_path))
    selection = parse_layers(text, 4)
    for name, tensor in found.items():
        layer = int(name.split(".")[2]) if "layer." in name else None
        chosen = selection.embeddings if layer is None else layer in selection.layers
        assert torch.equal(tensor, (ours if chosen else theirs)[name]), name
        assert not torch.equal(ours[name], theirs[name]) or "token_type" in name or not name.endswith("weight"), name
    assert {*done["weight_change"].values()} == {0.0}  # measured from where training started
    record = done["lineage"][-1]
    assert record["transferred"] == str(selection)
    assert record["base_fingerprint"] == done["lineage"][0]["fingerprint"]
    assert record["factors"] == [f"transfer-{selection}".replace(",", "+")]
    assert [each.get("task") for each in done["lineage"]] == [None, "hellaswag", "hellaswag"]


@pytest.mark.parametrize(("text", "plain"), [("none", "base"), ("all", "trained")])
def test_nothing_and_everything_are_plain_runs(text, plain, base, trained, world, tmp_path):
    """Bit for bit, the pooler that only the trained checkpoint has included."""
    line = "--task hellaswag --learning_rate 1e-3"
    run(run_target.main, tmp_path / "some", world, trained, f"{line} --transfer_layers {text}")
    run(run_target.main, tmp_path / "plain", world, {"base": base, "trained": trained}[plain], line)
    files = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("some", "plain")]
    assert files[0] == files[1]


@pytest.mark.parametrize("family", CONFIGS)
def test_every_family_can_be_transferred(family, tmp_path):
    for seed, name in enumerate(("base", "trained")):
        torch.manual_seed(seed)
        AutoModel.from_config(CONFIGS[family]).save_pretrained(tmp_path / name)
    args = SimpleNamespace(
        model_name_or_path=str(tmp_path / "trained"),
        base_model_name_or_path=str(tmp_path / "base"),
        transfer_layers="embeddings,2-3",
    )
    found, theirs, ours = (
        load_for_retrieval(args)[0],
        *(AutoModel.from_pretrained(tmp_path / n) for n in ("base", "trained")),
    )
    chosen = {id(p) for module in declared(found, parse_layers("embeddings,2-3", LAYERS)) for p in module.parameters()}
    assert chosen
    for name, parameter in found.named_parameters():
        source = ours if id(parameter) in chosen else theirs
        assert torch.equal(parameter, source.get_parameter(name)), name
    assert not found.training


def test_retrieval_transfers_too(base, trained, world, tmp_path):
    def accuracy(folder, start, line):
        line = f"""--task tatoeba --model_name_or_path {start} --data_dir {world} --languages qna --layers 2 --use_cpu
            --max_eval_samples 40 --output_dir {tmp_path / folder} {line}"""
        run_retrieval.main(line.split())
        return read_json(tmp_path / folder / "run.json")

    some = accuracy("some", trained, "--transfer_layers 2")
    whole, other = accuracy("whole", trained, ""), accuracy("base", base, "")
    assert some["scores"] == whole["scores"]  # no layer above is used
    assert accuracy("none", trained, "--transfer_layers none")["scores"] == other["scores"]
    assert (some["transferred"], some["factors"]) == ("2", ["transfer-2"])


# ---- the base model -------------------------------------------------------------------------------------------------


def test_the_base_model_is_found_through_the_lineage(base, trained, world, tmp_path):
    """Not behind two trainings, and not where it has moved or changed since."""
    done = target(tmp_path / "found", world, trained, "--transfer_layers 0-1")
    assert done["lineage"][-1]["base_fingerprint"] == done["lineage"][0]["fingerprint"]
    second = tmp_path / "second"
    intermediate(second, world, trained, "--task mnli")
    with pytest.raises(
        UserError, match=rf"second began from {trained}, where tiny is not, or no longer the same; say where"
    ):
        target(tmp_path / "none", world, second, "--transfer_layers 0-1")
    record = read_json(trained / "run.json")
    moved = tmp_path / "moved"
    shutil.copytree(trained, moved)
    record["arguments"]["model_name_or_path"] = str(tmp_path / "deep" / "gone" / "tiny")
    write_json(moved / "run.json", record)
    with pytest.raises(UserError, match=r"began from .*gone/tiny, where tiny is not, .*--base_model_name_or_path"):
        target(tmp_path / "gone", world, moved, "--transfer_layers 0-1")
    changed = tmp_path / "deep" / "gone" / "tiny"
    shutil.copytree(base, changed)
    weights = load_file(changed / "model.safetensors")
    save_file({name: tensor + 1 for name, tensor in weights.items()}, changed / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match=r"began from .*gone/tiny, where tiny is not, or no longer the same"):
        target(tmp_path / "gone", world, moved, "--transfer_layers 0-1")
    given = target(tmp_path / "given", world, moved, f"--transfer_layers 0-1 --base_model_name_or_path {base}")
    assert given["lineage"][-1]["base_fingerprint"] == done["lineage"][-1]["base_fingerprint"]
    with pytest.raises(UserError, match="base_fingerprint"):  # another base model is another run
        target(tmp_path / "given", world, moved, f"--transfer_layers 0-1 --base_model_name_or_path {changed}")


def test_a_base_model_that_lies_elsewhere_is_said(world, tmp_path, monkeypatch):
    """Recorded as it was given, relative to another folder."""
    save_tiny_encoder(tmp_path / "tiny")
    monkeypatch.chdir(tmp_path)
    intermediate(tmp_path / "trained", world, "tiny", "--task mnli")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="trained began from tiny, where tiny is not, or no longer the same; say where"):
        target(tmp_path / "run", world, tmp_path / "trained", "--transfer_layers 0-1")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            "--transfer_layers 0-1 --base_model_name_or_path a/b/c",
            "--base_model_name_or_path a/b/c: no such directory",
        ),
        ("--base_model_name_or_path somewhere", "has an effect with --transfer_layers only"),
        ("--transfer_layers 0-1 --keep_head", "exclude each other"),
        ("--transfer_layers 5", "--transfer_layers 5 is more layers than the encoder has, which are 4"),
        ("--transfer_layers 3-1", "empty range"),
    ],
)
def test_what_cannot_be_transferred_is_said(line, said, trained, world, tmp_path):
    with pytest.raises(UserError, match=said):
        target(tmp_path / "run", world, trained, line)
    assert not (tmp_path / "run").exists()


def test_a_base_of_another_shape_is_refused(trained, world, tmp_path):
    for name, sizes in (("wide", {"hidden_size": 32}), ("deep", {"num_hidden_layers": 5})):
        other = save_tiny_encoder(tmp_path / name, **{"num_hidden_layers": 4, **sizes})
        with pytest.raises(UserError, match=rf"4 layers of 16.*{name}.*not of one architecture and size"):
            target(tmp_path / "run", world, trained, f"--transfer_layers 0-1 --base_model_name_or_path {other}")


def test_a_checkpoint_without_a_record_needs_its_base(base, world, tmp_path):
    with pytest.raises(UserError, match="has no record of what it was trained from; say where"):
        target(tmp_path / "run", world, base, "--transfer_layers 0-1")
    args = SimpleNamespace(model_name_or_path=base, base_model_name_or_path=base, transfer_layers="0-1")
    assert bring_layers(args, AutoModel.from_pretrained(base)) is not None
