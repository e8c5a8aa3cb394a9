"""What decides the result of a run, and in words where two runs differ."""

import json
import re
from dataclasses import MISSING, fields

from xstilts.lineage import lineage_text
from xstilts.precision import asked_for

# Arguments that say where and how a run is carried out, not what comes out of it. The three batch sizes are there as one product,
# which --max_tokens_per_batch leaves as it is, the precision as `mixed_precision`.
NOT_IDENTITY = re.compile(
    r"(output_dir|data_dir|config|compare_with|base_model_name_or_path|mlm_text_files|task|task_subset_.*|debug|dry_run|overwrite_output_dir|model_name_or_path|per_device_.*|total_train_batch_size|gradient_accumulation_steps"
    r"|logging_.*|log_.*|report_to|run_name|project|trackio.*|hub_.*|push_to_hub|disable_tqdm|dataloader_.*|do_.*|use_cpu"
    r"|save_total_limit|save_only_model|save_on_each_node|resume_from_checkpoint|restore_callback_states_from_checkpoint"
    r"|eval_accumulation_steps|prediction_loss_only|label_names|remove_unused_columns|skip_memory_metrics|ddp_.*|_n_gpu"
    r"|accelerator_config|precision|bf16|fp16|max_tokens_per_batch|torch_empty_cache_steps|local_rank|enable_jit_checkpoint|eval_use_gather_object)"
)

ARGUMENTS = "arguments."
EVALUATION_IDENTITY = ("seed", "mixed_precision", "bf16_full_eval", "fp16_full_eval")


def identity_of(run):
    """Everything that decides the result of a `Run`, plain JSON types."""
    if run.phase in ("intermediate", "target"):
        options = {name: value for name, value in run.arguments.items() if not NOT_IDENTITY.fullmatch(name)}
        steps = run.training_args.gradient_accumulation_steps * run.training_args.world_size
        options["total_train_batch_size"] = run.training_args.train_batch_size * steps
    else:
        decisive = {*vars(run.args), *EVALUATION_IDENTITY}
        options = {name: run.arguments[name] for name in decisive if not NOT_IDENTITY.fullmatch(name)}
        if run.phase == "retrieval":
            options["mixed_precision"] = asked_for(run.args.precision, run.training_args)
    parts = {
        "phase": run.phase,
        "task": run.task,
        "lineage": run.lineage,
        "arguments": options,
        "data": [{name: value for name, value in each.items() if name not in ("hub", "remarks")} for each in run.data],
        "parts": run.parts,
        "others": run.others,
    }
    return plain(parts)


def plain(value):
    """A value as JSON brings it back."""
    return json.loads(json.dumps(value, default=str, sort_keys=True))


def defaults_of(*dataclasses):
    """{name: its default as JSON has it} of the fields of dataclasses; None where it is required."""
    found = {}
    for each in [field for own in dataclasses for field in fields(own)]:
        default = each.default if each.default_factory is MISSING else each.default_factory()
        found[each.name] = plain(None if default is MISSING else default)
    return found


def is_default(name, value, defaults):
    """Whether an argument has its default, so that a run is the same as one that was not told of it: by a version without it,
    before or after. An option that `defaults` do not have is of another version, and is at its default where it is off."""
    default = defaults.get(name)
    return value == default or not (value or default)


def differences(there, here, defaults, prefix=""):
    """Where two identities differ, as `name: old -> new`. Both hold all arguments of their version, so that a default that
    changed in between is a difference; one that a version does not know counts as its default (`defaults_of`)."""
    found = []
    for name in sorted(there.keys() | here.keys()):
        old, new = there.get(name), here.get(name)
        if prefix == ARGUMENTS and name not in there.keys() & here.keys():
            known = old if name in there else new
            if is_default(name, known, defaults):
                continue
        if isinstance(old, dict) and isinstance(new, dict):
            found += differences(old, new, defaults, f"{prefix}{name}.")
        elif name == "data":
            found += [f"data: {text}" for text in _data_differences(old, new)]
        elif name == "lineage" and old and new and old != new:
            found.append(f"lineage: {_behind(old)} -> {_behind(new)}")
        elif old != new:
            found.append(f"{prefix}{name}: {_short(old)} -> {_short(new)}")
    return found


def _behind(lineage):
    return f"{lineage_text(lineage)} ({lineage[-1]['fingerprint']})"


def _data_differences(old, new):
    """Which sets of rows differ, by task, split, language and number of rows."""
    columns, others = ("task", "split", "language", "rows", "fingerprint"), old != new
    old, new = ([tuple(record[column] for column in columns) for record in records or ()] for records in (old, new))
    for kind, records in (("was", set(old) - set(new)), ("is now", set(new) - set(old))):
        for task, split, language, rows, mark in sorted(records):
            yield f"{kind} {rows} {split} rows of {task} in '{language}' ({mark})"
    if old != new and set(old) == set(new):
        yield "in another order"
    if old == new and others:
        yield "what was left out of them or set right"


def _short(value):
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:77]}..."
