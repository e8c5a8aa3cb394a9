"""The options of both fine-tuning scripts that work layer by layer: what goes with what, and what of a model is trained."""

from dataclasses import fields

from xstilts.adapters import add_lora, add_shared_lora, asked_modules, lora_selection
from xstilts.checkpoint import depth_of
from xstilts.errors import UserError, say
from xstilts.freezing import check_frozen, freeze, render, table
from xstilts.heads import MultitaskModel
from xstilts.layers import NOTHING, layers_of, parse_layers
from xstilts.unfreezing import GradualUnfreezing, always_frozen, parse_schedule, spell

LORA = ("lora_r", "lora_alpha", "lora_dropout", "lora_layers", "lora_target_modules")
OPTIONS = ("freeze_layers", "unfreeze_schedule", "layerwise_lr_decay", "peft", *LORA)


def check_layerwise(args, training_args):
    """Raise UserError for options that do not go together, and for layers that the encoder lacks; what names layers or modules
    gets one spelling, so that `embeddings,0-5` and `6` are one run."""
    _check_effect(args)
    _check_values(args)
    if args.freeze_layers.strip() != "none" or args.unfreeze_schedule is not None:
        _check_training(args, training_args)
    _spell(args, depth_of(args.model_name_or_path))


def _check_effect(args):
    """Options that change nothing, beside others or without them."""
    if getattr(args, "eval_only", False) and (given := _given(args, OPTIONS)):
        raise UserError(f"--{given[0]} has no effect with --eval_only, which trains nothing; leave it out")
    if args.freeze_layers.strip() != "none" and args.unfreeze_schedule is not None:
        raise UserError("--freeze_layers and --unfreeze_schedule exclude each other; put all of it into the schedule")
    if args.peft is None and (given := _given(args, LORA)):
        raise UserError(f"--{given[0]} has an effect with --peft lora only")


def _given(args, names):
    """Those options whose value is not the default."""
    defaults = {option.name: option.default for option in fields(args)}
    return [name for name in names if getattr(args, name) != defaults[name]]


def _check_values(args):
    if args.peft not in (None, "lora"):
        raise UserError(f"--peft {args.peft} is not offered; it can be lora")
    for name in ("lora_r", "lora_alpha"):  # peft takes an alpha of 0, with which adapters change nothing
        if getattr(args, name) < 1:
            raise UserError(f"--{name} {getattr(args, name)} must be 1 or more")
    if not 0 <= args.lora_dropout < 1:
        raise UserError(f"--lora_dropout {args.lora_dropout} must be 0 or more and below 1")
    if not 0 < args.layerwise_lr_decay <= 1:
        raise UserError(f"--layerwise_lr_decay {args.layerwise_lr_decay} must be above 0 and at most 1 (1: no decay)")


def _check_training(args, training_args):
    """What frozen layers ask of the Trainer."""
    if any(options.get("use_reentrant") for options in _checkpointing(training_args)):
        raise UserError("frozen layers need gradient checkpointing without use_reentrant: nothing would be trained")
    if args.unfreeze_schedule is not None:
        if training_args.ddp_find_unused_parameters is False:
            raise UserError("--unfreeze_schedule needs --ddp_find_unused_parameters true, or none of it")
        # Otherwise processes wait for gradients of all that was trainable when they met.
        training_args.ddp_find_unused_parameters = True


def _checkpointing(training_args):
    """The dictionaries of options for gradient checkpointing, whatever the library calls them."""
    return [value for name, value in vars(training_args).items() if name.endswith("checkpointing_kwargs") and value]


def _spell(args, count):
    """Each selection in the spelling that `str` gives it."""
    args.freeze_layers = str(parse_layers(args.freeze_layers, count))
    if args.unfreeze_schedule is not None:
        args.unfreeze_schedule = spell(parse_schedule(args.unfreeze_schedule, count))
    if args.lora_layers is not None:
        args.lora_layers = str(lora_selection(args, count, _frozen(args, count)))
    args.lora_target_modules = asked_modules(args)


def _frozen(args, count):
    """What is never trained, a Selection."""
    if args.unfreeze_schedule:
        return always_frozen(parse_schedule(args.unfreeze_schedule, count))
    return parse_layers(args.freeze_layers, count)


def select_trained(model, args):
    """Freeze what is never trained and add adapters, as `args` say, and show it; returns (the model, what run.json says)."""
    selection = _frozen(args, len(layers_of(model)))
    if selection != NOTHING:
        freeze(model, selection)
        check_frozen(model, selection)
    if args.peft:
        several = isinstance(model, MultitaskModel)
        model = (add_shared_lora if several else add_lora)(model, args, selection)
    if selection == NOTHING and not args.peft:
        return model, {"frozen": args.unfreeze_schedule or "none"}
    rows = table(model)
    say(render(rows))
    parameters = {part: [size, trained] for part, size, trained in rows}
    return model, {"frozen": args.unfreeze_schedule or args.freeze_layers, "parameters": parameters}


def gradual_unfreezing(model, args):
    """The callback for `--unfreeze_schedule`, none without it."""
    if not args.unfreeze_schedule:
        return []
    return [GradualUnfreezing(model, parse_schedule(args.unfreeze_schedule, len(layers_of(model))))]
