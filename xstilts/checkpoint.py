"""What passes from phase to phase: the encoder is carried over, the head is fresh.

A checkpoint directory is a plain Hugging Face model. Loading one the obvious way keeps an old head wherever its shapes agree
(NLI -> NLI, SQuAD -> SQuAD) and half of it where they don't, so the model is built from its configuration and only the encoder's
weights are copied in.
"""

import hashlib
import os

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoConfig, AutoModel, AutoTokenizer
from transformers.utils import logging as transformers_logging

from xstilts.errors import UserError, say


def load_tokenizer(path):
    """The tokenizer of a checkpoint. Raises UserError where there is none."""
    return _loaded(AutoTokenizer, path)


def load_model(path, task, keep_head=False):
    """A model for a task: the encoder of `path`, float32, under a fresh head (or its own, with `keep_head`).

    Float32 whatever the checkpoint's dtype: transformers 5 would otherwise train a bfloat16 checkpoint in pure bfloat16.
    Raises UserError where there is no model, or where a kept head is for another type or other labels.
    """
    if keep_head:
        check_head(path, task)
        return _loaded(task.type.auto_model, path, dtype=torch.float32)
    names = {"id2label": dict(enumerate(task.labels)), "label2id": {label: i for i, label in enumerate(task.labels)}}
    config = _loaded(AutoConfig, path, **(names if task.labels else {"num_labels": 2}))
    model = task.type.auto_model.from_config(config, dtype=torch.float32)
    carry_over(path, model)
    return model


def load_encoder(path):
    """The bare encoder of a checkpoint, float32, in evaluation mode."""
    return _loaded(AutoModel, path, dtype=torch.float32).eval()


def carry_over(path, model):
    """Copy the encoder of a checkpoint into `model`, whose head stays fresh; say what was carried over and what is fresh.

    A pooler counts as encoder where the checkpoint has one, as in jiant; XLM-R's pretraining never trained one, and then it is
    fresh. Raises UserError if any other part of the encoder is missing.
    """
    encoder, info = _loaded(AutoModel, path, dtype=torch.float32, output_loading_info=True)
    weights = {name: tensor for name, tensor in encoder.state_dict().items() if name not in info["missing_keys"]}
    missing = model.base_model.load_state_dict(weights, strict=False).missing_keys
    lost = [name for name in missing if not name.startswith("pooler.")]
    if lost:
        raise UserError(f"{path} lacks {len(lost)} tensors of the encoder of {type(model).__name__}, e.g. {lost[0]}")
    carried = {id(parameter) for name, parameter in model.base_model.named_parameters() if name not in missing}
    fresh = [name for name, parameter in model.named_parameters() if id(parameter) not in carried]
    say(f"{path}: {len(carried)} tensors of the encoder carried over; fresh: {', '.join(fresh)}")


def check_head(path, task):
    """Raise UserError unless the checkpoint's head is of the task's type and has its labels in its order."""
    config = _loaded(AutoConfig, path)
    architecture = (config.architectures or ["none"])[0]
    expected = task.type.auto_model._model_mapping[type(config)].__name__
    if architecture != expected:
        raise UserError(
            f"{path} has the head of {architecture}, but {task.name} needs {expected}; "
            f"run_target.py --task {task.name} comes first"
        )
    labels = tuple(config.id2label[i] for i in range(len(config.id2label)))
    if task.labels and labels != task.labels and task.type.name != "multiple_choice":
        raise UserError(
            f"{path} predicts the labels {', '.join(labels)}, but {task.name} has {', '.join(task.labels)} in this order"
        )


def check_trained_for(task, lineage, path):
    """Raise UserError if the last phase behind a checkpoint trained it for something else than `task`.

    A checkpoint without a record of its training (somebody else's) passes; `check_head` looks at its labels.
    """
    last = lineage[-1]
    if "task" in last and last["trained_on"] != task.trained_on:
        raise UserError(f"{path} was fine-tuned on {last['task']}; run run_target.py --task {task.name} on it first")


def add_lora(model, task, args):
    """The model with LoRA adapters on every linear layer of its encoder (`args.lora_r`, `lora_alpha`, `lora_dropout`); its head,
    and a pooler, are trained in full.

    Multiple choice on XLM-R reads a pooler that pretraining never trained: frozen at random it would train nothing.
    Raises UserError for another `args.peft` than lora.
    """
    if args.peft != "lora":
        raise UserError(f"--peft {args.peft} is not offered; it can be lora")
    parts = {name.split(".")[0] for name, _ in model.named_parameters() if not name.startswith(model.base_model_prefix)}
    if task.type.name == "multiple_choice" and getattr(model.base_model, "pooler", None) is not None:
        parts.add("pooler")
    linear = {
        name.split(".")[-1]
        for name, module in model.base_model.named_modules()
        if isinstance(module, torch.nn.Linear) and not name.startswith("pooler")
    }
    encoder_only = rf"{model.base_model_prefix}\.(?!pooler).*\.({'|'.join(sorted(linear))})"
    config = LoraConfig(
        r=args.lora_r,
        lora_alpha=args.lora_alpha,
        lora_dropout=args.lora_dropout,
        target_modules=encoder_only,
        modules_to_save=sorted(parts),
    )
    return get_peft_model(model, config)


def save_checkpoint(model, tokenizer, output_dir):
    """Write a plain Hugging Face model (adapters merged) and its tokenizer; returns the fingerprint of the weights."""
    if hasattr(model, "merge_and_unload"):
        model = model.merge_and_unload()
    model.save_pretrained(output_dir)
    tokenizer.save_pretrained(output_dir)
    return weights_fingerprint(output_dir)


def weights_fingerprint(directory):
    """16 hexadecimal digits of model.safetensors (or the index of its shards), None where there is neither."""
    for name in ("model.safetensors", "model.safetensors.index.json"):
        path = os.path.join(directory, name)
        if os.path.isfile(path):
            with open(path, "rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()[:16]
    return None


def base_fingerprint(path):
    """What identifies a base model: the fingerprint of its weights, or of one from the hub the commit."""
    return weights_fingerprint(path) or getattr(_loaded(AutoConfig, path), "_commit_hash", None)


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


def check_length(model, tokenizer, max_seq_length):
    """Raise UserError if inputs may become longer than the encoder has positions."""
    limit = longest_input(model, tokenizer)
    if max_seq_length > limit:
        raise UserError(
            f"--max_seq_length {max_seq_length} is more than the {limit} positions of this encoder; give {limit} or less"
        )


def _loaded(auto_class, path, **options):
    """`auto_class.from_pretrained` with the library's load report silenced (a fresh head is meant to be missing)."""
    if os.path.exists(path) and not os.path.isfile(os.path.join(path, "config.json")):
        raise UserError(
            f"--model_name_or_path {path} holds no model (no config.json); is the run that should fill it finished?"
        )
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    try:
        return auto_class.from_pretrained(path, **options)
    except (OSError, ConnectionError) as error:
        reason = str(error).strip().split("\n")[0]
        raise UserError(
            f"no model at --model_name_or_path {path}: neither a directory with a checkpoint nor a model that the hub can "
            f"deliver ({reason})"
        ) from error
    finally:
        transformers_logging.set_verbosity(verbosity)
