"""The options of both fine-tuning scripts that work layer by layer: what goes with what, and what of a model is trained."""

from xstilts.adapters import add_lora, add_shared_lora, asked_modules, lora_selection
from xstilts.base import print_main
from xstilts.checkpoint import depth_of
from xstilts.freezing import check_frozen, freeze, render, table
from xstilts.heads import MultitaskModel
from xstilts.layers import NOTHING, layers_of, parse_layers
from xstilts.unfreezing import GradualUnfreezing, always_frozen, parse_schedule, spell


def check_layerwise(args, training_args):
    """Raise UserError for layers that the encoder lacks; what names layers or modules gets one spelling, so that `embeddings,0-5`
    and `6` are one run."""
    if args.unfreeze_schedule is not None:
        # Otherwise processes wait for gradients of all that was trainable when they met.
        training_args.ddp_find_unused_parameters = True
    _spell(args, depth_of(args.model_name_or_path))


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
    print_main(render(rows))
    parameters = {part: [size, trained] for part, size, trained in rows}
    return model, {"frozen": args.unfreeze_schedule or args.freeze_layers, "parameters": parameters}


def gradual_unfreezing(model, args):
    """The callback for `--unfreeze_schedule`, none without it."""
    if not args.unfreeze_schedule:
        return []
    return [GradualUnfreezing(model, parse_schedule(args.unfreeze_schedule, len(layers_of(model))))]
