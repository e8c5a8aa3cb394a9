"""Batches: what loader processes get is small and can be pickled, and what is computed does not depend on where it is."""

import pickle
from types import SimpleNamespace

import pytest
import torch
from datasets import Dataset
from transformers import DebertaV2Config, DistilBertConfig, TrainingArguments, XLMRobertaConfig

from tasks import load_task
from xstilts import evaluation, gpu_memory
from xstilts.base import UserError
from xstilts.checkpoint import load_model
from xstilts.evaluation import batches_of
from xstilts.gpu_memory import LEAST, TOKENS, default_tokens, fitted
from xstilts.heads import load_mixture
from xstilts.loaders import Collator
from xstilts.micro_batches import cut
from xstilts.mixing import Mixture
from xstilts.mlm import text_task
from xstilts.multitask import MultitaskTrainer, Part
from xstilts.training import StiltsTrainer, multiple_for, summed_loss

LENGTHS = (5, 9, 12, 17)
INPUTS = ("input_ids", "attention_mask")


def features(name):
    """Feature rows of each type, of four lengths."""
    many = {"hellaswag": 3}.get(name)
    inputs = [{"input_ids": [7] * n, "attention_mask": [1] * n} for n in LENGTHS]
    columns = {key: [[row[key]] * many if many else row[key] for row in inputs] for key in INPUTS}
    labels = {"squad": [[1, 2]] * 4, "udpos": [[1] * n for n in LENGTHS]}.get(name, [0, 1, 2, 0])
    extra = {"squad": {"offsets": [[[-1, -1]] * n for n in LENGTHS]}}.get(name, {})
    labels = {} if name == "mlm" else {"labels": labels}
    return Dataset.from_dict({**columns, **labels, "example": [*range(4)], **extra})


def task_of(name):
    return text_task(0.3) if name == "mlm" else load_task(name)


def arguments(folder, **options):
    return TrainingArguments(str(folder), use_cpu=True, report_to=[], disable_tqdm=True, **options)


def single(name, encoder, tokenizer, folder, **options):
    """The Trainer of a task."""
    task, rows = task_of(name), features(name)
    args = arguments(folder, **options)
    return StiltsTrainer(task, load_model(encoder, task), args, tokenizer, rows, (None, rows), max_tokens_per_batch=64)


def mixed(encoder, tokenizer, folder, **options):
    """That of several."""
    names = ("mnli", "squad", "mlm")
    parts = [
        Part(
            task=task_of(n), args=None, dev=None, train=None, train_features=features(n), dev_features=features(n),
            step_inputs=2,
        )
        for n in names
    ]  # fmt: skip
    model = load_mixture(encoder, [part.task for part in parts], SimpleNamespace(mlm_head="fresh"))
    mixture = Mixture(names=names, sizes=(4, 4, 4), step_inputs=(2, 2, 2), mlm_ratio=1.0, seed=0)
    return MultitaskTrainer(parts, mixture, model, arguments(folder, **options), tokenizer)


@pytest.fixture
def trainers(encoder, tokenizer, tmp_path):
    return [single("squad", encoder, tokenizer, tmp_path), mixed(encoder, tokenizer, tmp_path)]


def test_loader_processes_get_no_trainer_and_no_offsets(trainers, monkeypatch):
    """Those that Python 3.14 starts get all of it by pickle."""
    loaders = [trainer.get_train_dataloader() for trainer in trainers]

    class Stop(Exception):
        pass

    def stop(rows, **options):
        loaders.append(SimpleNamespace(dataset=rows, collate_fn=options["collate_fn"], worker_init_fn=None))
        raise Stop

    monkeypatch.setattr(evaluation, "DataLoader", stop)
    for trainer in trainers:
        with pytest.raises(Stop):
            trainer.evaluate()
    for loader in loaders:
        travels = pickle.dumps((loader.dataset, loader.collate_fn, loader.worker_init_fn))
        assert b"Trainer" not in travels
        assert len(travels) < 200_000
        rows, collate, _ = pickle.loads(travels)
        row = rows[(1, 0, 0)] if hasattr(rows, "seed") else rows[0]
        assert "input_ids" in row
        assert "offsets" not in row
        assert collate([row])["labels"] is not None


def loss_and_kept(task, model, batch):
    batch = dict(batch)
    labels = batch.pop("labels")
    outputs = task.type.forward(model, batch) if task.type.forward else model(**batch)
    return summed_loss(task.type.logits(outputs, batch), labels), task.type.keep(outputs, labels, batch)


@pytest.mark.parametrize("name", ["mnli", "hellaswag", "udpos", "squad", "mlm"])
def test_padding_to_a_multiple_changes_nothing(name, encoder, tokenizer):
    task, rows = task_of(name), list(features(name))
    model = load_model(encoder, task).eval()
    plain, padded = (Collator(task.type.collate, tokenizer, multiple)(rows) for multiple in (1, 8))
    assert plain["input_ids"].shape[-1] == 17
    assert padded["input_ids"].shape[-1] == 24
    with torch.inference_mode():
        (loss, kept), (other, again) = (loss_and_kept(task, model, batch) for batch in (plain, padded))
    torch.testing.assert_close(other, loss)
    for one, two in zip(kept, again, strict=True):
        torch.testing.assert_close(torch.as_tensor(one[0]), torch.as_tensor(two[0]), atol=1e-5, rtol=1e-5)


def test_micro_batches_count_what_is_padded_to_a_multiple():
    rows = [{"input_ids": [0] * 9}] * 4
    assert [len(part) for part in cut(rows, 36)] == [4]
    assert [len(part) for part in cut(rows, 36, 8)] == [2, 2]


# ---- on a GPU -------------------------------------------------------------------------------------------------------


GPU, CPU = (SimpleNamespace(type=kind) for kind in ("cuda", "cpu"))


def test_lengths_are_padded_on_a_gpu_where_the_encoder_has_the_positions(encoder, tokenizer):
    model = load_model(encoder, load_task("mnli"))
    assert multiple_for(GPU, model, tokenizer) == 8
    assert multiple_for(CPU, model, tokenizer) == 1
    model.base_model.embeddings.position_embeddings = torch.nn.Embedding(102, 16, padding_idx=1)
    assert multiple_for(GPU, model, tokenizer) == 1


@pytest.mark.parametrize(
    ("device", "compared", "limit", "sizes"),
    [
        (CPU, False, None, [2, 2, 2, 2]),
        (GPU, False, None, [2, 6]),  # 2 x 20 tokens, the longest ones
        (GPU, False, 20, [1, 1, 5, 1]),
        (GPU, True, None, [2, 2, 2, 2]),  # a row's loss depends on the others
    ],
)
def test_batches_of_evaluation_are_filled_up_on_a_gpu(device, compared, limit, sizes):
    rows = Dataset.from_dict({"input_ids": [[0] * n for n in (20, 20, 4, 4, 4, 4, 4, 4)]})
    task = SimpleNamespace(type=SimpleNamespace(in_batch_negatives=compared))
    args = SimpleNamespace(device=device, eval_batch_size=2)
    trainer = SimpleNamespace(args=args, task=task, multiple=1, max_tokens_per_batch=limit)
    assert [len(batch) for batch in batches_of(trainer, rows)] == sizes


LARGE = XLMRobertaConfig(
    vocab_size=250_002, hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096
)
BASE = XLMRobertaConfig(vocab_size=250_002)
DEBERTA = DebertaV2Config(vocab_size=251_000, hidden_size=768, num_hidden_layers=12, intermediate_size=3072)
T4, L4, A100, H200 = (gigabytes * 2**30 for gigabytes in (14.7, 22, 39.4, 140))


def test_as_many_tokens_as_fit():
    assert fitted(LARGE, H200, 256) == TOKENS
    assert fitted(LARGE, A100, 256) == TOKENS
    assert LEAST < fitted(LARGE, T4, 256) < fitted(LARGE, L4, 256) < fitted(BASE, T4, 256)
    assert fitted(LARGE, T4, 256, processes=2) < fitted(LARGE, T4, 256)
    assert fitted(LARGE, L4, 256, masked=0.15) < fitted(LARGE, L4, 256)
    assert fitted(DEBERTA, L4, 384) < fitted(DEBERTA, L4, 128), "it keeps what every token pays to every other"
    assert fitted(LARGE, 2**30, 256) == LEAST
    assert fitted(DistilBertConfig(), H200, 256) == TOKENS, "it calls the width of its inner layers otherwise"


def default(device=GPU, task="mnli", argv=(), encoder=None, **options):
    args = SimpleNamespace(model_name_or_path=encoder, max_seq_length=64)
    training_args = SimpleNamespace(device=device, world_size=1, fsdp=None, **options)
    return default_tokens(args, training_args, [load_task(task)], [*argv])


def test_the_default_is_for_gpus_and_what_is_given_wins(encoder, monkeypatch):
    memory = SimpleNamespace(total_memory=A100)
    monkeypatch.setattr(gpu_memory.torch.cuda, "get_device_properties", lambda device: memory)
    assert default(encoder=encoder) == TOKENS
    assert default(CPU) is None
    assert default(task="lareqa") is None
    assert default(argv=["--per_device_train_batch_size", "4"]) is None
    assert default(argv=["--per-device-train-batch-size=4"]) is None
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    assert default() is None


def test_too_little_memory_says_what_to_do(trainers, monkeypatch):
    def fails(*args, **kwargs):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nmore")

    monkeypatch.setattr(trainers[0], "compute_loss", fails)
    with pytest.raises(UserError, match=r"allocate 2 GiB\.\).*--max_tokens_per_batch 32"):
        trainers[0].train()


def test_unused_parameters_are_looked_for_with_several_heads_only(encoder, tokenizer, tmp_path):
    """By DDP, in every step."""
    assert single("mnli", encoder, tokenizer, tmp_path).args.ddp_find_unused_parameters is False
    assert mixed(encoder, tokenizer, tmp_path).args.ddp_find_unused_parameters is True
    given = single("mnli", encoder, tokenizer, tmp_path, ddp_find_unused_parameters=True)
    assert given.accelerator.ddp_handler.find_unused_parameters is True


def test_copies_to_a_gpu_do_not_wait(trainers, monkeypatch):
    """Pinned memory, and copies that are not waited for."""
    copies, to = [], torch.Tensor.to
    monkeypatch.setattr(TrainingArguments, "device", property(lambda self: torch.device("cuda:0")))

    def watched(tensor, device, non_blocking=False):
        copies.append((device, non_blocking))
        return to(tensor, "meta")

    monkeypatch.setattr(torch.Tensor, "to", watched)
    trainers[0]._prepare_input({"parts": [torch.ones(2)]})
    assert copies[0] == (torch.device("cuda:0"), True)
