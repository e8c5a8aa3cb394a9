"""The phases behind a checkpoint, as run.json records them, and what follows from them."""

import hashlib
import os

from xstilts.base import UserError
from xstilts.checkpoint import has_task_head, model_fingerprint
from xstilts.language_codes import language_of
from xstilts.names import check_lineage, check_name
from xstilts.run_files import read_run
from xstilts.sealed import damage
from xstilts.task import of_benchmark

TRAINING_ROWS = "training_rows.npz"  # of a checkpoint: see `seen_rows.py`
THEN = "-then-"  # between the tasks of a chain in a directory's name; `all-ccg` is one task
SPELT_OUT = 40  # characters of a list of languages in a directory's name; of a longer one its length and a digest


def lineage_of(path):
    """Records of the phases behind a checkpoint, oldest first: `{"base_model": ...}`, then one per training phase.

    Raises UserError for a run that is not finished, and for one whose files are not what it wrote.
    """
    record = read_run(os.path.join(path, "run.json"))
    if record:
        check_files(path, record)
        check_lineage(record["lineage"], os.path.join(path, "run.json"))
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


def check_files(path, record):
    """Raise UserError where files of a finished run are not those that it wrote, by its run.json (older ones do not say). A copy
    may lack what is not needed to read the model: heads of several tasks, the hashes of training rows, predictions."""
    optional = [name for name in record.get("files", {}) if "/" in name or name == TRAINING_ROWS]
    absent = {name for name in optional if not os.path.exists(os.path.join(path, name))}
    if reason := damage(path, {name: each for name, each in record.get("files", {}).items() if name not in absent}):
        raise UserError(
            f"{path} is damaged or was changed after its run ended ({reason}); copy it again, or run it again with "
            "--overwrite_output_dir; or, if it was changed on purpose, copy the model alone, without run.json and started.json: "
            "it is somebody else's model then"
        )


def departures(task, lineage, benchmark=None):
    """Where a run leaves the benchmark's protocol without saying so in its lineage's name: lines for run.json and the report.
    `benchmark` is the one that an evaluation is asked for."""
    last, found = lineage[-1], []
    if last.get("phase") == "target" and benchmark in task.variants and last.get("benchmark") != benchmark:
        found.append(f"{task.name} was trained without --benchmark {benchmark}, which reads its words differently")
    seen = {name for record in lineage for name in (record.get("task"), *record.get("tasks", ()))}
    if task.after and task.after not in seen:
        found.append(f"{task.name} without {task.after} before it, on which the benchmark trains first")
    return found


def source_language(lineage):
    """The language that the target task was learnt in; None where there were several or nobody recorded it."""
    languages = lineage[-1].get("languages", ()) if lineage[-1].get("phase") == "target" else ()
    return languages[0] if len(languages) == 1 else None


def task_of_benchmark(task, benchmark, lineage=()):
    """The task as a benchmark has it; as it is declared, in the languages of both, without one.

    Some data were released anew between the benchmarks (`Task.variants`; UD 2.5 and 2.7), to train on too; a release has files of
    its own. Raises UserError where the checkpoint behind `lineage` learnt from another one than is asked for.
    """
    last = lineage[-1] if lineage else {}
    if last.get("phase") != "target" or last["task"] != task.name:
        return of_benchmark(task, benchmark) if benchmark else task
    learnt = last.get("benchmark")
    before = of_benchmark(task, learnt) if learnt else task
    if not benchmark:
        return before
    asked = of_benchmark(task, benchmark)
    if task.source and asked.source.files != before.source.files:
        raise UserError(
            f"the checkpoint learnt {task.name} from {learnt or 'xtreme'}'s release of its data, which is another "
            f"than --benchmark {benchmark} has; train one with run_target.py --benchmark {benchmark}"
        )
    return asked


def zero_shot_languages(languages, lineage):
    """Those of `languages` without labelled data anywhere behind a checkpoint, none if nobody recorded all of its training.

    Labelled rows that chose a checkpoint count as those that trained it (an oracle's dev sets; English ones where the training
    languages have none). Text for masked language modelling has no labels and does not: pretraining has seen text in all of them.
    A language is seen under any of its codes (`language_codes`).
    """
    if any(record.get("has_head") for record in lineage):
        return []
    rows = ("languages", "selected_in")
    seen = {language_of(code) for record in lineage for kind in rows for code in record.get(kind, ())}
    return [code for code in languages if language_of(code) not in seen]


def lineage_text(lineage):
    """What people see: `xlm-roberta-large > hellaswag > xnli`."""
    return " > ".join(record.get("base_model") or record["task"] for record in lineage)


def trained_for(phase, task, lineage):
    """The record of the target training that an evaluation of a task belongs to; None where there is none. A retrieval may be of
    an encoder that was trained for another task: that one is a part of what came before."""
    last = lineage[-1]
    belongs = phase == "eval" or (phase == "retrieval" and last.get("task") == task)
    return last if belongs and last.get("phase") == "target" else None


def default_output_dir(phase, lineage, task, seed, factors=(), parts=()):
    """runs/<phase>/<slug>/seed<N>; the slug is made of the tasks behind the run and of the factors that are not default: the base
    model, adapters, a kept head, a layer. An evaluation of a part of the rows is seed<N>-<parts> (`parts_read`). Raises UserError
    for what can be no name of a directory."""
    evaluated = trained_for(phase, task, lineage)
    before = THEN.join(
        _with_factors(record["task"], record.get("factors", ())) for record in lineage[1:] if record is not evaluated
    )
    own = _with_factors(task, dict.fromkeys([*(evaluated.get("factors", ()) if evaluated else ()), *factors]))
    names = [THEN.join(filter(None, (before, own)))] if phase == "intermediate" else [before or "none", own]
    if (base := lineage[0]["base_model"]) != "xlm-roberta-large":
        names[0] = f"{base}--{names[0]}"
    where = "a default for --output_dir cannot be made, give one"
    names.append("-".join([f"seed{seed}", *parts]))
    return os.path.join("runs", phase, *(check_name(name, where) for name in names))


def parts_read(args):
    """What an evaluation reads, where an option says so, in words for its directory: `languages-de+sw`, `validation`, `first100`,
    `layers-all`. None of it is a factor: a report has the run in the column of the whole."""
    options, given = vars(args), {}
    for name in ("languages", "split", "max_eval_samples", "layers"):
        value = options.get(name)
        given[name] = value if value != getattr(type(args), name, None) else None  # a dataclass has its defaults
    languages, layers = given["languages"], given["layers"]
    if languages and len(languages) > SPELT_OUT:
        digest = hashlib.sha256(languages.encode()).hexdigest()[:6]
        languages = f"{languages.count(',') + 1}-{digest}"
    found = {
        f"languages-{_in_a_name(languages)}": languages,
        given["split"]: given["split"],
        f"first{given['max_eval_samples']}": given["max_eval_samples"],
        f"layers-{_in_a_name(layers)}": layers and not layers.lstrip("-").isdigit(),  # a single one is a factor
    }
    return [part for part, holds in found.items() if holds]


def training_factors(args, several=False, variants=()):
    """What makes a training run (of `several` tasks) another one than the default, in words for its directory and for reports;
    `variants` are the benchmarks that the task's data differ in."""
    options = vars(args)
    languages, mixing = (
        options.get("train_language") or options.get("languages", "en"),
        several and options.get("mixing"),
    )
    selection = options.get("selection", "english_dev")
    frozen, rate = options.get("freeze_layers", "none"), options.get("layerwise_lr_decay", 1)
    schedule = options.get("unfreeze_schedule") or ""
    found = {
        lora_factor(args) if args.peft else "": args.peft,
        "kept-head": options.get("keep_head"),
        f"freeze-{_in_a_name(frozen)}": frozen != "none",
        f"unfreeze-{_in_a_name(schedule)}": schedule,
        f"lr-decay-{rate:g}": rate != 1,
        options.get("benchmark"): options.get("benchmark") in variants,
        f"selection-{selection}": selection != "english_dev",
        "all-languages" if languages == "all" else languages.replace(",", "-"): languages != "en",
        "equal-languages": options.get("language_mixing") == "equal" and languages != "en",
        "uniform": mixing == "uniform",
        "steps-proportional": mixing == "steps-proportional",
        f"T{options.get('mixing_temperature') or 1:g}": mixing == "temperature",
        f"K{options.get('mixing_limit')}": several and options.get("mixing_limit"),
        f"mlm{options.get('mlm_ratio', 1):g}": options.get("mlm_text_files") or options.get("mlm_dataset_name"),
    }
    return transfer_factors(args) + [factor for factor, holds in found.items() if holds]


def lora_factor(args):
    """`lora`, with what of it is not the default: layers, modules, rank, alpha, dropout."""
    others = (("r", args.lora_r, 16), ("alpha", args.lora_alpha, 32), ("dropout", args.lora_dropout, 0.05))
    own = [f"{name}{value:g}" for name, value, default in others if value != default]
    layers = [_in_a_name(args.lora_layers)] if args.lora_layers else []
    return "-".join([args.peft, *layers, *(args.lora_target_modules or ()), *own])


def transfer_factors(args):
    """The layers that were transferred, if not all were."""
    layers = vars(args).get("transfer_layers")
    return [] if layers is None else [f"transfer-{_in_a_name(layers)}"]


def _in_a_name(layers):
    """Layers or a schedule of them, without what directories should not be called."""
    return (layers or "none").replace(",", "+").replace(":", "=").replace(";", "_")


def _with_factors(task, factors):
    return "--".join([task, *factors])
