"""The options of both fine-tuning scripts that work layer by layer: what goes with what, and what of a model is trained."""

from xstilts.adapters import add_lora, add_shared_lora, lora_selection
from xstilts.checkpoint import depth_of
from xstilts.errors import UserError, say
from xstilts.freezing import check_frozen, freeze, render, table
from xstilts.heads import MultitaskModel
from xstilts.layers import NOTHING, layers_of, parse_layers
from xstilts.unfreezing import GradualUnfreezing, always_frozen, parse_schedule, spell


def check_layerwise(args, training_args):
    """Raise UserError for options that do not go together, and for layers that the encoder lacks; what names layers gets one
    spelling, so that `embeddings,0-5` and `6` are one run."""
    freezing = args.freeze_layers.strip() != "none"
    if freezing and args.unfreeze_schedule:
        raise UserError("--freeze_layers and --unfreeze_schedule exclude each other; put all of it into the schedule")
    if args.frozen_dropout and not (freezing or args.unfreeze_schedule):
        raise UserError("--frozen_dropout has an effect with --freeze_layers or --unfreeze_schedule only")
    if args.peft not in (None, "lora"):
        raise UserError(f"--peft {args.peft} is not offered; it can be lora")
    if not args.peft and (args.lora_layers or args.lora_target_modules):
        raise UserError("--lora_layers and --lora_target_modules have an effect with --peft lora only")
    if not 0 < args.layerwise_lr_decay <= 1:
        raise UserError(f"--layerwise_lr_decay {args.layerwise_lr_decay} must be above 0 and at most 1 (1: no decay)")
    if (freezing or args.unfreeze_schedule) and any(o.get("use_reentrant") for o in _checkpointing(training_args)):
        raise UserError("frozen layers need gradient checkpointing without use_reentrant: nothing would be trained")
    if args.unfreeze_schedule and training_args.ddp_find_unused_parameters is None:
        # Otherwise processes wait for gradients of all that was trainable when they met.
        training_args.ddp_find_unused_parameters = True
    _spell(args, depth_of(args.model_name_or_path))


def _spell(args, count):
    """Each selection in the spelling that `str` gives it."""
    args.freeze_layers = str(parse_layers(args.freeze_layers, count))
    if args.unfreeze_schedule:
        args.unfreeze_schedule = spell(parse_schedule(args.unfreeze_schedule, count))
    if args.lora_layers:
        args.lora_layers = str(lora_selection(args, count, _frozen(args, count)))


def _frozen(args, count):
    """What is never trained, a Selection."""
    if args.unfreeze_schedule:
        return always_frozen(parse_schedule(args.unfreeze_schedule, count))
    return parse_layers(args.freeze_layers, count)


def _checkpointing(training_args):
    """The dictionaries of options for gradient checkpointing, whatever the library calls them."""
    return [value for name, value in vars(training_args).items() if name.endswith("checkpointing_kwargs") and value]


def select_trained(model, args):
    """Freeze what is never trained and add adapters, as `args` say, and show it; returns (the model, what run.json says)."""
    selection = _frozen(args, len(layers_of(model)))
    if selection != NOTHING:
        freeze(model, selection, args.frozen_dropout)
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
    return [
        GradualUnfreezing(model, parse_schedule(args.unfreeze_schedule, len(layers_of(model))), args.frozen_dropout)
    ]
