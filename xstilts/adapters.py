"""LoRA adapters (Hu et al. 2021, through peft): which linear layers get them, and what beside them is trained in full."""

from peft import LoraConfig, get_peft_model
from torch.nn import Linear

from xstilts.base import UserError
from xstilts.layers import Selection, encoder_of, layers_of, modules_of, parse_layers


def add_lora(model, args, frozen):
    """The model with adapters on linear layers of its encoder (`args.lora_*`); its head is trained in full, and a pooler that is
    not `frozen`.

    Multiple choice on XLM-R reads a pooler that pretraining never trained: frozen at random it would let nothing through.
    Raises UserError where nothing would be adapted, or frozen layers would.
    """
    prefix = f"{model.base_model_prefix}."
    heads = {name.split(".")[0] for name, _ in model.named_parameters() if not name.startswith(prefix)}
    return get_peft_model(model, _config(model, args, frozen, prefix, heads))


def add_shared_lora(model, args, frozen):
    """The same for a MultitaskModel, whose heads stay as they are; the encoder's adapters are at `model.adapters`."""
    # A tuple hides it from the modules: its parameters are those of the encoder already.
    model.adapters = (get_peft_model(model.encoder, _config(model, args, frozen)),)
    return model


def _config(model, args, frozen, prefix="", heads=frozenset()):
    """Adapters of the encoder whose modules are called `prefix`...; modules called as in `heads` are trained in full, and a
    pooler that is not frozen."""
    poolers = set() if frozen.top or getattr(encoder_of(model), "pooler", None) is None else {"pooler"}
    return LoraConfig(
        r=args.lora_r,
        lora_alpha=args.lora_alpha,
        lora_dropout=args.lora_dropout,
        target_modules=[prefix + name for name in adapted(model, args, frozen)],
        modules_to_save=sorted(heads | poolers),
    )


def adapted(model, args, frozen):
    """Names, within the encoder, of the linear layers that get adapters: those of `args.lora_layers`, by default all beside the
    `frozen` ones, poolers left out; of these `args.lora_target_modules`, by the end of their names, by default all."""
    selection = lora_selection(args, len(layers_of(model)), frozen)
    inside = {module for part in modules_of(model, selection) for module in part.modules()}
    modules = encoder_of(model).named_modules()
    linear = [name for name, module in modules if module in inside and isinstance(module, Linear)]
    if not linear:
        raise UserError(f"--peft lora: the layers to adapt, {selection}, have no linear layer")
    targets = asked_modules(args) or ()
    known = sorted({name.split(".")[-1] for name in linear})
    for target in targets:
        if not any(_is_called(name, target) for name in linear):
            raise UserError(
                f"--lora_target_modules {target} is not a linear module of the layers to adapt ({selection}); they have "
                f"{', '.join(known)}"
            )
    return [name for name in linear if not targets or any(_is_called(name, target) for target in targets)]


def asked_modules(args):
    """`args.lora_target_modules`, `query value` or `query,value`, as a sorted list of names; None without."""
    return sorted({name for item in args.lora_target_modules or () for name in item.split(",")}) or None


def lora_selection(args, count, frozen):
    """The parts of an encoder of `count` layers that get adapters, a Selection without its top."""
    free = Selection(not frozen.embeddings, frozenset(range(count)) - frozen.layers)
    asked = parse_layers(args.lora_layers, count, "--lora_layers") if args.lora_layers is not None else free
    if (asked.embeddings and frozen.embeddings) or asked.layers & frozen.layers:
        raise UserError(
            f"--lora_layers {asked} and what is always frozen, {frozen}, overlap: adapters would train there"
        )
    return Selection(asked.embeddings, asked.layers)


def _is_called(name, target):
    return f".{name}".endswith(f".{target}")
