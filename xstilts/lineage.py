"""The phases behind a checkpoint, as run.json records them, and what follows from them."""

import os

from xstilts.checkpoint import has_task_head, model_fingerprint
from xstilts.errors import UserError
from xstilts.json_files import read_json


def lineage_of(path):
    """Records of the phases behind a checkpoint, oldest first: `{"base_model": ...}`, then one per training phase."""
    record = read_json(os.path.join(path, "run.json"))
    if record:
        return record["lineage"]
    for folder in (path, os.path.dirname(os.path.abspath(path))):
        if os.path.exists(os.path.join(folder, "started.json")):
            state = (
                "finished; give that directory" if os.path.exists(os.path.join(folder, "run.json")) else "not finished"
            )
            raise UserError(
                f"{path} belongs to the run in {folder}, which is {state}; only a finished run is handed on"
            )
    base = {"base_model": os.path.basename(os.path.normpath(path)), "fingerprint": model_fingerprint(path)}
    return [{**base, "has_head": True} if has_task_head(path) else base]


def zero_shot_languages(languages, lineage):
    """Those of `languages` without labelled data anywhere behind a checkpoint; none if nobody recorded its training."""
    if lineage[-1].get("has_head"):
        return []
    seen = {language for record in lineage for language in record.get("languages", ())}
    return [language for language in languages if language not in seen]


def lineage_text(lineage):
    """What people see: `xlm-roberta-large > hellaswag > xnli`."""
    return " > ".join(record.get("base_model") or record["task"] for record in lineage)


def default_output_dir(phase, lineage, task, seed, factors=()):
    """runs/<phase>/<slug>/seed<N>; the slug is made of the tasks behind the run and of the factors that are not default: the base
    model, adapters, a kept head, a layer."""
    evaluated = lineage[-1] if phase == "eval" and lineage[-1].get("phase") == "target" else None
    before = "-".join(
        _with_factors(record["task"], _factors_of(record)) for record in lineage[1:] if record is not evaluated
    )
    own = _with_factors(task, [*(_factors_of(evaluated) if evaluated else ()), *factors])
    slug = "-".join(filter(None, (before, own))) if phase == "intermediate" else f"{before or 'none'}/{own}"
    base = lineage[0]["base_model"]
    return os.path.join("runs", phase, slug if base == "xlm-roberta-large" else f"{base}--{slug}", f"seed{seed}")


def training_factors(args):
    """What makes a training run another one than the default, for its directory's name."""
    return _factors(args.peft, getattr(args, "keep_head", False))


def _factors_of(record):
    return _factors(record.get("peft"), record.get("head") == "kept")


def _factors(peft, kept_head):
    return [*([peft] if peft else []), *(["kept-head"] if kept_head else [])]


def _with_factors(task, factors):
    return "--".join([task, *factors])
