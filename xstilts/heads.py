"""One encoder under several heads: the model of a multi-task run, how it is made of a checkpoint, saved and taken apart again."""

import json
import os
from dataclasses import replace

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from xstilts import mlm
from xstilts.base import UserError, check_pointer, print_main
from xstilts.checkpoint import (
    check_head,
    load_mlm,
    load_model,
    model_fingerprint,
    stored_labels,
    task_config,
    write_model,
)
from xstilts.loading import from_config
from xstilts.sealed import writing

HEADS = "heads"  # the folder of the heads in a checkpoint


class MultitaskModel(torch.nn.Module):
    """`models` ({task: transformers model of its type}) around one encoder, which is the first one's.

    Parameters are called encoder.* and heads.<task>.*; what several tasks share has one name.
    """

    def __init__(self, models, types):
        super().__init__()
        self._models, self._types, self.adapters = models, types, None
        self.encoder = next(iter(models.values())).base_model
        for model in models.values():
            setattr(model, model.base_model_prefix, self.encoder)
            model.tie_weights()
        self.heads = torch.nn.ModuleDict({name: head_of(model) for name, model in models.items()})

    @property
    def base_model(self):
        """The encoder, as transformers models call it."""
        return self.encoder

    @property
    def config(self):
        """The encoder's configuration."""
        return self.encoder.config

    def forward(self, task, **inputs):
        """Outputs of one task's model."""
        model, own = self._models[task], self._types[task].forward
        return own(model, inputs) if own else model(**inputs)

    def train(self, mode=True):
        """Also of the models, whose parts are modules of this one but who are none themselves."""
        for model in self._models.values():
            model.training = mode
        return super().train(mode)

    def get_input_embeddings(self):
        """The encoder's, for the Trainer's noise on embeddings."""
        return self.encoder.get_input_embeddings()

    def gradient_checkpointing_enable(self, **options):
        """Let the encoder compute its activations again instead of keeping them."""
        self.encoder.gradient_checkpointing_enable(**options)

    def state_dict(self, *args, **options):
        """Tensors by name, each once: an LM head shares its decoder with the embeddings."""
        once = {name for name, _ in [*self.named_parameters(), *self.named_buffers()]}
        return {name: tensor for name, tensor in super().state_dict(*args, **options).items() if name in once}

    def load_state_dict(self, state_dict, strict=True, assign=False):
        """The counterpart of `state_dict`."""
        result = super().load_state_dict(state_dict, False, assign)
        result.missing_keys[:] = [name for name in self.state_dict() if name not in state_dict]
        if strict and (result.missing_keys or result.unexpected_keys):
            raise RuntimeError(f"not the tensors of this model: {result}")
        return result


def head_of(model):
    """Everything of a model but its encoder."""
    parts = {name: part for name, part in model.named_children() if name != model.base_model_prefix}
    return torch.nn.ModuleDict(parts)


def load_mixture(path, tasks, args):
    """A MultitaskModel of the encoder at `path` and fresh heads; masked language modelling keeps the checkpoint's own head unless
    `args.mlm_head` is fresh.

    Raises UserError where there is no LM head to keep.
    """
    models = {}
    # The largest encoder is shared: one task may want a pooler, others none.
    for task in sorted(tasks, key=lambda task: _encoder_size(path, task), reverse=True):
        if not models:
            models[task.name] = load_model(path, task)
        elif task.name == mlm.NAME and args.mlm_head != "fresh":
            models[task.name] = _with_lm_head(path, task)
        else:
            models[task.name] = _with_fresh_head(path, task)
    print_main(
        f"fresh heads: {', '.join(task.name for task in tasks if task.name != mlm.NAME or args.mlm_head == 'fresh')}"
    )
    return MultitaskModel(models, {task.name: task.type for task in tasks})


def _encoder_size(path, task):
    if task.name == mlm.NAME:
        return 0
    return sum(weights.numel() for weights in _empty(path, task).base_model.parameters())


def _empty(path, task):
    """A task's model without memory for its weights."""
    with torch.device("meta"):
        return from_config(task.type.auto_model, task_config(path, task), path, dtype=torch.float32)


def _with_fresh_head(path, task):
    """A task's model with an initialised head and an encoder of shapes only, which is replaced."""
    model = _empty(path, task)
    for part in head_of(model).values():
        part.to_empty(device="cpu").apply(model._init_weights)
    model._init_weights(model)  # some families initialise a head from above
    return model


def _with_lm_head(path, task):
    if os.path.exists(head_file(path, task)):
        model = _with_fresh_head(path, task)
        load_head(path, task, head_of(model))
        return model
    model, missing = load_mlm(path)
    if missing:
        raise UserError(
            f"{path} has no LM head (it lacks {missing[0]}): give a pretrained encoder, or `--mlm_head fresh` to train a new one"
        )
    return model


# ---- saving and loading ---------------------------------------------------------------------------------------------


def save_mixture(model, tasks, tokenizer, output_dir):
    """Write the encoder (adapters merged) and its tokenizer as a plain Hugging Face model, and the heads beside it; returns the
    fingerprint of the encoder."""
    encoder = model.adapters[0].merge_and_unload() if model.adapters else model.encoder
    write_model(encoder, tokenizer, output_dir)
    os.makedirs(os.path.join(output_dir, HEADS), exist_ok=True)
    shared = {id(weights) for weights in encoder.parameters()}
    for task in tasks:
        tensors = {
            name: weights.detach().cpu().contiguous()
            for name, weights in model.heads[task.name].named_parameters()
            if id(weights) not in shared
        }
        # One entry of metadata: several come in another order each time, and the file would not be the same twice.
        with writing(head_file(output_dir, task)):
            save_file(tensors, head_file(output_dir, task), {"labels": json.dumps(task.labels)})
    return model_fingerprint(output_dir)


def load_trained(path, task):
    """A task's model as it was trained: with the checkpoint's own head, or the one beside the encoder of several tasks."""
    if not os.path.isdir(os.path.join(path, HEADS)):
        return load_model(path, task, keep_head=True)
    model = load_model(path, task, report=str)
    load_head(path, task, head_of(model))
    return model


def check_trained(path, task):
    """Raise UserError unless a checkpoint has a head for the task, with its labels."""
    if not os.path.isdir(os.path.join(path, HEADS)):
        return check_head(path, task)
    file = head_file(path, task)
    if not os.path.exists(file):
        there = sorted(name.removesuffix(".safetensors") for name in os.listdir(os.path.dirname(file)))
        raise UserError(f"{path} has no head for {task.name}, only for {', '.join(there)}")
    if task.labels and (labels := _labels_of(file)) != task.labels:
        raise UserError(
            f"{file} predicts {', '.join(labels)}, but {task.name} has {', '.join(task.labels)} in this order"
        )


def load_head(path, task, head):
    """Fill the head of a task from a checkpoint of several tasks. Raises UserError as `check_trained` does."""
    check_trained(path, task)
    with safe_open(head_file(path, task), "pt") as stored, torch.no_grad():
        weights = dict(head.named_parameters())
        for name in stored.keys():  # noqa: SIM118 it is no dictionary
            weights[name].copy_(stored.get_tensor(name))


def labels_at(path, task):
    """The task with the labels that a checkpoint predicts, for one that declares none (`open_labels`)."""
    if not task.open_labels:
        return task
    file = head_file(path, task)
    return replace(task, labels=_labels_of(file) if os.path.exists(file) else stored_labels(path))


def head_file(path, task):
    """Where the head of a task lies in a checkpoint of several tasks. Raises UserError for a Git LFS pointer."""
    file = os.path.join(path, HEADS, f"{task.name}.safetensors")
    if os.path.exists(file):
        check_pointer(file)
    return file


def _labels_of(file):
    with safe_open(file, "pt") as stored:
        return tuple(json.loads(stored.metadata()["labels"]))
