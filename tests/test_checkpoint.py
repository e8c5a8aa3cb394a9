"""The encoder is carried over, the head is fresh; adapters train the head and merge into a plain checkpoint."""

import shutil

import pytest
import torch
from conftest import save_tiny_encoder
from safetensors.torch import load_file
from transformers import AutoModel, AutoModelForMaskedLM, LlamaConfig

import run_intermediate
import run_retrieval
import run_target
import run_zeroshot_eval
from tasks import load_task
from xstilts.base import UserError
from xstilts.checkpoint import (
    check_head,
    check_length,
    load_model,
    load_tokenizer,
    longest_input,
    model_fingerprint,
    save_checkpoint,
)

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


@pytest.mark.parametrize("made", [False, True])
def test_a_directory_without_a_model_is_named(tmp_path, made):
    path = tmp_path / "nothing"
    if made:
        path.mkdir()
    with pytest.raises(UserError, match=str(path)):
        load_model(str(path), load_task("mnli"))


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"ab" * 32 + b"\nsize 1112204208\n"


@pytest.mark.parametrize(
    "name", ["model.safetensors", "tokenizer.json", "config.json", "vocab.txt", "model-00001-of-00002.safetensors"]
)
def test_a_git_lfs_pointer_among_the_files_of_a_model_is_named(name, encoder, tmp_path):
    """Before a library opens it, whose error would be of a header or of JSON, or would be none; what is not read may be one."""
    folder = shutil.copytree(encoder, tmp_path / "model")
    (folder / "pytorch_model.bin").write_bytes(POINTER)
    (folder / "sentencepiece.bpe.model").write_bytes(POINTER)
    load_model(str(folder), load_task("mnli"))
    (folder / name).write_bytes(POINTER)
    for load in (load_tokenizer, lambda path: load_model(path, load_task("mnli"))):
        with pytest.raises(
            UserError, match=rf"{folder}/{name} is a Git LFS pointer, not the file itself; run `git lfs pull`"
        ):
            load(str(folder))


def test_weights_of_another_form_that_are_a_git_lfs_pointer_are_named(encoder, tmp_path):
    folder = shutil.copytree(encoder, tmp_path / "model")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    (folder / "pytorch_model.bin").write_bytes(POINTER)
    with pytest.raises(UserError, match=r"pytorch_model\.bin is a Git LFS pointer"):
        load_model(str(folder), load_task("mnli"))


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
    config = LlamaConfig(vocab_size=310, pad_token_id=1, **sizes)
    AutoModel.from_config(config).save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"AutoModelForMultipleChoice for the encoder 'llama'"):
        load_model(str(tmp_path), load_task("hellaswag"))


@pytest.mark.parametrize(
    ("main", "line"),
    [
        (run_intermediate.main, "--task mnli"),
        (run_intermediate.main, "--task mnli+squad --dry_run"),
        (run_target.main, "--task xnli --dry_run"),
        (run_zeroshot_eval.main, "--task xnli"),
        (run_retrieval.main, "--task tatoeba --dry_run"),
    ],
)
def test_tokens_without_embeddings_are_one_line(main, line, encoder, tmp_path):
    """Before any data are read; more embeddings than tokens are fine."""
    tokenizer, path = load_tokenizer(encoder), shutil.copytree(encoder, tmp_path / "model")
    rows = len(tokenizer)
    assert tokenizer.add_tokens(["newone", "newtwo", "newthree"]) == 3
    tokenizer.save_pretrained(path)
    with pytest.raises(UserError, match=f"token id .* is {rows + 2}, and the encoder has {rows} embeddings") as error:
        main([*line.split(), "--use_cpu", "--model_name_or_path", str(path), "--data_dir", str(tmp_path / "none")])
    assert "\n" not in str(error.value)
    model = AutoModelForMaskedLM.from_pretrained(path)
    model.resize_token_embeddings(rows + 64)
    model.save_pretrained(path)
    assert len(load_tokenizer(str(path))) == rows + 3
