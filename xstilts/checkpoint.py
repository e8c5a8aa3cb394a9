"""What passes from phase to phase: the encoder is carried over, the head is fresh.

A checkpoint directory is a plain Hugging Face model. Loading one the obvious way keeps an old head wherever its shapes agree
(NLI -> NLI, SQuAD -> SQuAD) and half of it where they don't, so the model is built from its configuration and only the encoder's
weights are copied in.
"""

import glob
import hashlib
import os
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModel, AutoModelForMaskedLM, AutoModelForMultipleChoice, AutoTokenizer

from xstilts.base import UserError, print_main
from xstilts.fetched_models import fetched_commit
from xstilts.loading import from_config, head_name, loaded, trust_copy
from xstilts.sealed import writing

MINIMAL_LENGTH = 8  # the special tokens of a pair, and a piece or two of each text
TOKENIZER_FILES = ("tokenizer.json", "*.model", "vocab.*")
ADAPTERS = ("adapter_config.json", "adapter_model.safetensors")  # peft's


def load_tokenizer(path):
    """The tokenizer of a checkpoint. Raises UserError where there is none (transformers would make up an empty one), and for one
    that makes tokens which the encoder has no embeddings of."""
    if os.path.isdir(path) and not any(glob.glob(os.path.join(glob.escape(path), name)) for name in TOKENIZER_FILES):
        raise UserError(f"--model_name_or_path {path} holds no tokenizer ({', '.join(TOKENIZER_FILES)})")
    # Checkpoints of others may bring the side that their last inputs were cut on (`save_tokenizer`).
    tokenizer = loaded(AutoTokenizer, path, truncation_side="right")
    if not os.path.isdir(path) or os.path.exists(os.path.join(path, "config.json")):
        _check_vocabulary(path, tokenizer, getattr(loaded(AutoConfig, path), "vocab_size", None))
    return tokenizer


def _check_vocabulary(path, tokenizer, rows):
    """`rows`: how many embeddings the encoder has; more than tokens are fine. None for an encoder that has none of tokens."""
    last = max(tokenizer.get_vocab().values(), default=-1)
    if rows is not None and last >= rows:
        raise UserError(
            f"--model_name_or_path {path}: the largest token id of its tokenizer is {last}, and the encoder has {rows} "
            f"embeddings (ids 0 to {rows - 1}); call model.resize_token_embeddings({last + 1}) after add_tokens, and save both"
        )


def save_tokenizer(tokenizer, output_dir):
    """Write a tokenizer without the truncation and padding of its last call: it would begin with them when it is loaded, and cut
    the inputs of every later phase on the side where those of multiple choice are cut."""
    if backend := getattr(tokenizer, "backend_tokenizer", None):
        backend.no_truncation()
        backend.no_padding()
    tokenizer.save_pretrained(output_dir)


def load_model(path, task, keep_head=False, report=print_main):
    """A model for a task: the encoder of `path`, float32, under a fresh head (or its own, with `keep_head`).

    `report` gets a line on what was carried over. Float32 whatever the checkpoint's dtype: transformers 5 would otherwise train a
    bfloat16 checkpoint in pure bfloat16.
    Raises UserError where there is no model, or where a kept head is for another type or other labels.
    """
    if keep_head:
        check_head(path, task)
        return loaded(task.type.auto_model, path, config=task_config(path, task), dtype=torch.float32)
    model = from_config(task.type.auto_model, task_config(path, task), path, dtype=torch.float32)
    report(carry_over(path, model))
    return model


def task_config(path, task):
    """The configuration of a checkpoint's encoder under a head for `task`."""
    names = {"id2label": dict(enumerate(task.labels)), "label2id": {label: i for i, label in enumerate(task.labels)}}
    config = loaded(AutoConfig, path, **(names if task.labels else {"num_labels": 2}))
    if head_name(task.type.auto_model, config, path) is None:
        raise UserError(
            f"{path}: transformers has no {task.type.auto_model.__name__} for the encoder '{config.model_type}'"
        )
    return config


def load_mlm(path):
    """A masked language model with its LM head: (model, the names of what its checkpoint lacks of the head)."""
    model, info = loaded(AutoModelForMaskedLM, path, dtype=torch.float32, output_loading_info=True)
    return model, [name for name in info["missing_keys"] if not name.startswith(f"{model.base_model_prefix}.")]


def load_encoder(path):
    """The bare encoder of a checkpoint, float32, in evaluation mode."""
    return stored_encoder(path)[0]


def stored_encoder(path):
    """(the bare encoder of a checkpoint, float32, in evaluation mode; the names of its tensors that the checkpoint has).

    What it lacks is drawn at random, as the pooler of an encoder whose pretraining had none.
    """
    encoder, info = loaded(AutoModel, path, dtype=torch.float32, output_loading_info=True)
    return encoder.eval(), {name for name in encoder.state_dict() if name not in info["missing_keys"]}


def family_of(path):
    """The kind of encoder at a path, as transformers calls it: `xlm-roberta`."""
    return loaded(AutoConfig, path).model_type


def depth_of(path):
    """Number of layers of a checkpoint's encoder."""
    return loaded(AutoConfig, path).num_hidden_layers


def carry_over(path, model):
    """Copy the encoder of a checkpoint into `model`, whose head stays fresh; returns what was carried over and what is fresh.

    A pooler counts as encoder where the checkpoint has one, as in jiant; XLM-R's pretraining never trained one, and then it is
    fresh. Raises UserError if any other part of the encoder is missing.
    """
    encoder, stored = stored_encoder(path)
    weights = {name: tensor for name, tensor in encoder.state_dict().items() if name in stored}
    missing = model.base_model.load_state_dict(weights, strict=False).missing_keys
    lost = [name for name in missing if not name.startswith("pooler.")]
    if lost:
        raise UserError(f"{path} lacks {len(lost)} tensors of the encoder of {type(model).__name__}, e.g. {lost[0]}")
    carried = {id(parameter) for name, parameter in model.base_model.named_parameters() if name not in missing}
    fresh = [name for name, parameter in model.named_parameters() if id(parameter) not in carried]
    return f"{path}: {len(carried)} tensors of the encoder carried over; fresh: {', '.join(fresh) or 'nothing'}"


def check_head(path, task, advice=None):
    """Raise UserError, with `advice`, unless the checkpoint's head is of the task's type and has its labels in its order. A head
    for multiple choice has one output, for any number of choices."""
    config = loaded(AutoConfig, path)
    architecture = (config.architectures or ["none"])[0]
    expected = head_name(task.type.auto_model, config, path) or task.type.name
    if architecture != expected:
        raise UserError(
            f"{path} has the head of {architecture}, but {task.name} needs {expected}; "
            f"{advice or f'run_target.py --task {task.name} comes first'}"
        )
    labels = stored_labels(path)
    if task.labels and task.type.auto_model is not AutoModelForMultipleChoice and labels != task.labels:
        raise UserError(
            f"{path} predicts the labels {', '.join(labels)}, but {task.name} has {', '.join(task.labels)} in this order"
        )


def stored_labels(path):
    """The labels that a checkpoint's head predicts, in the order of its outputs."""
    names = loaded(AutoConfig, path).id2label
    return tuple(names[i] for i in range(len(names)))


def has_task_head(path):
    """Whether a model was fine-tuned for some task, by the name of its architecture."""
    architecture = (loaded(AutoConfig, path).architectures or [""])[0]
    return architecture.endswith(
        ("SequenceClassification", "TokenClassification", "MultipleChoice", "QuestionAnswering", "DualEncoding")
    )


def check_trained_for(task, lineage, path):
    """Raise UserError if the last phase behind a checkpoint trained it for something else than `task`, and for a task that
    another script evaluates.

    A checkpoint without a record of its training (somebody else's) passes; `check_head` looks at its labels.
    """
    last = lineage[-1]
    if task.retrieval:
        raise UserError(f"--task {task.name} is evaluated by run_retrieval.py, among candidates in all languages")
    if "task" in last and last["trained_on"] != task.trained_on:
        first = last["phase"] == "target" and f"give a checkpoint that run_target.py --task {task.name} wrote"
        raise UserError(
            f"{path} was fine-tuned on {last['task']}; {first or f'run run_target.py --task {task.name} on it first'}"
        )


def save_checkpoint(model, tokenizer, output_dir):
    """Write a plain Hugging Face model (adapters merged) and its tokenizer; returns the fingerprint of the weights."""
    if hasattr(model, "merge_and_unload"):
        model = model.merge_and_unload()
        # Pushes during the training leave them there, and beside them the merged model would not be read.
        for name in ADAPTERS:
            Path(output_dir, name).unlink(missing_ok=True)
    write_model(model, tokenizer, output_dir)
    return model_fingerprint(output_dir)


def write_model(model, tokenizer, output_dir):
    """Write a model and its tokenizer. Raises UserError where they cannot be written."""
    with writing(output_dir):
        model.save_pretrained(output_dir)
        trust_copy(model, output_dir)
        save_tokenizer(tokenizer, output_dir)


def model_fingerprint(path):
    """What identifies a model: 16 hexadecimal digits of its weights, configuration and tokenizer, or of one on the hub, and of a
    copy of it by prepare_data.py, the commit."""
    if not os.path.isdir(path):
        return getattr(loaded(AutoConfig, path), "_commit_hash", None)
    if commit := fetched_commit(path):
        return commit
    patterns = ("*.safetensors", "*.bin", "config.json", *TOKENIZER_FILES)
    files = sorted({file for name in patterns for file in glob.glob(os.path.join(glob.escape(path), name))})
    digest = hashlib.sha256()
    for name in files:
        with open(name, "rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]


def longest_input(model, tokenizer):
    """How many tokens the encoder has positions for.

    RoBERTa-like encoders count positions from `padding_idx` + 1, so XLM-R's 514 hold 512 tokens.
    """
    table = getattr(getattr(model.base_model, "embeddings", None), "position_embeddings", None)
    if table is not None:
        positions = table.num_embeddings - (0 if table.padding_idx is None else table.padding_idx + 1)
    else:
        positions = getattr(model.config, "max_position_embeddings", tokenizer.model_max_length)
    return min(positions, tokenizer.model_max_length)


def check_lengths(model, tokenizer, task, args):
    """`check_length` of every length of `args` that cuts inputs of the task."""
    for name in ("max_seq_length", "max_query_length"):
        if name == "max_seq_length" or name in task.type.lengths:
            check_length(model, tokenizer, getattr(args, name), f"--{name}")


def check_length(model, tokenizer, length, option="--max_seq_length"):
    """Raise UserError if inputs may become longer than the encoder has positions, or have no room for text."""
    limit = longest_input(model, tokenizer)
    if length < MINIMAL_LENGTH:
        raise UserError(f"{option} {length} leaves no room for text; give {MINIMAL_LENGTH} or more")
    if length > limit:
        raise UserError(f"{option} {length} is more than the {limit} positions of this encoder; give {limit} or less")
