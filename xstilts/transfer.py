"""Transfer of some layers only: these come from a checkpoint, the rest of the encoder from its base model."""

import os

import torch

from xstilts.base import UserError, print_main
from xstilts.checkpoint import check_head, depth_of, load_model, model_fingerprint, stored_encoder
from xstilts.layers import encoder_of, layers_of, modules_of, parse_layers
from xstilts.loading import distrust
from xstilts.run_files import read_run

OPTION = "--transfer_layers"


def check_transfer(args, lineage):
    """Raise UserError for layers that the encoder lacks; spell `args.transfer_layers`
    one way, and fill in `args.base_model_name_or_path` where it is not given."""
    if args.transfer_layers is None:
        return
    path = args.model_name_or_path
    args.transfer_layers = str(parse_layers(args.transfer_layers, depth_of(path), OPTION))
    if args.base_model_name_or_path:
        _check_base(args.base_model_name_or_path)
    args.base_model_name_or_path = args.base_model_name_or_path or base_model_of(path, lineage)


def _check_base(path):
    """Raise UserError, with the option that names it, where there is no base model."""
    try:
        depth_of(path)
    except UserError as error:
        raise UserError(str(error).replace("--model_name_or_path", "--base_model_name_or_path")) from error


def base_model_of(path, lineage):
    """Where the base model of a checkpoint lies: where its own run began, by its run.json. Its weights are read from safetensors
    only, since nobody gave that place. Raises UserError where the lineage's base model is not there."""
    advice = "say where its base model is with --base_model_name_or_path"
    run = read_run(os.path.join(path, "run.json")) or {}
    base = (run.get("arguments") or {}).get("model_name_or_path")
    if base is None:
        raise UserError(f"{OPTION}: {path} has no record of what it was trained from; {advice}")
    distrust(base)
    try:
        is_base = model_fingerprint(base) == lineage[0]["fingerprint"]
    except UserError:
        is_base = False
    if not is_base:
        name = lineage[0]["base_model"]
        raise UserError(f"{OPTION}: {path} began from {base}, where {name} is not, or no longer the same; {advice}")
    print_main(f"{OPTION}: the base model is {base}, as the run.json of {path} says")
    return base


def load_for_target(args, task):
    """The model that `load_model` gives; with `args.transfer_layers`, of the base model and these layers of the checkpoint."""
    if args.keep_head:
        check_head(args.model_name_or_path, task, "--keep_head false gives it a fresh one")
    if args.transfer_layers is None:
        return load_model(args.model_name_or_path, task, args.keep_head)
    return bring_layers(args, load_model(args.base_model_name_or_path, task))


def load_for_retrieval(args):
    """The encoder at `args.model_name_or_path`, or, with `args.transfer_layers`, the base model with these layers of it; and the
    names of its tensors that were pretrained."""
    return starting_encoder(args, print_main)


def starting_encoder(args, report=str):
    """The same, and the names of its tensors that were pretrained."""
    if args.transfer_layers is None:
        return stored_encoder(args.model_name_or_path)
    encoder, stored = stored_encoder(args.base_model_name_or_path)
    return bring_layers(args, encoder, report), stored


def bring_layers(args, model, report=print_main):
    """Put `args.transfer_layers` of the encoder at `args.model_name_or_path` into a model, and return it.

    Parts that the checkpoint never had (the pooler of an encoder whose pretraining had none) stay as they are.
    Raises UserError unless checkpoint and model are of one architecture and size.
    """
    path, target = args.model_name_or_path, dict(encoder_of(model).named_parameters())
    encoder, stored = stored_encoder(path)
    _check_alike(args, encoder, encoder_of(model))
    selection = parse_layers(args.transfer_layers, depth_of(path), OPTION)
    chosen = {id(parameter) for module in modules_of(encoder, selection) for parameter in module.parameters()}
    source = {name: p for name, p in encoder.named_parameters() if id(p) in chosen and name in stored & target.keys()}
    with torch.no_grad():
        for name, parameter in source.items():
            target[name].copy_(parameter)
    report(f"{path}: {len(source)} tensors of layers {selection} transferred; the rest: {args.base_model_name_or_path}")
    return model


def _check_alike(args, theirs, ours):
    shapes = [
        {name: tuple(p.shape) for name, p in encoder.named_parameters() if not name.startswith("pooler.")}
        for encoder in (theirs, ours)
    ]
    if shapes[0] != shapes[1]:
        one, other = (
            f"{path} ({encoder.config.model_type}, {len(layers_of(encoder))} layers of {encoder.config.hidden_size}, "
            f"vocabulary {encoder.config.vocab_size})"
            for path, encoder in ((args.model_name_or_path, theirs), (args.base_model_name_or_path, ours))
        )
        raise UserError(f"{OPTION}: {one} and its base model {other} are not of one architecture and size")


def transfer_record(args):
    """What run.json and the lineage say of it."""
    if args.transfer_layers is None:
        return {}
    return {"transferred": args.transfer_layers, "base_fingerprint": model_fingerprint(args.base_model_name_or_path)}
