"""Phase 2, intermediate-task training: fine-tune a multilingual encoder on one English intermediate task, or on several at once.

    accelerate launch run_intermediate.py --task hellaswag
    accelerate launch run_intermediate.py --task all --mixing_limit 100000
    python run_intermediate.py --task mnli --languages de,sw --model_name_or_path FacebookAI/xlm-roberta-base --data_dir DATA

Phang et al. 2020 (arXiv 2005.13013), section 2: the public encoder goes through an intermediate task before it meets the target
tasks. Variants: several tasks (one encoder, a head per task, one task per optimizer step), training rows in other languages, and
masked language modelling on text beside the task. Defaults are in configs/intermediate.yaml, with a section per task.

Reads   a multilingual masked language model (--model_name_or_path, hub id or directory), and each task's training and selection
        rows from the hub, or from the official files below --data_dir.
Writes  --output_dir (runs/intermediate/<task>/seed<N>): a Hugging Face checkpoint for run_target.py and run_retrieval.py (of
        several tasks the encoder, with their heads in heads/), training_rows.npz (hashes of all rows it was trained on, by which
        test rows that it has seen are counted), and run.json. An interrupted run goes on when the same command is given again; a
        finished one is left alone.
"""

import time
from dataclasses import dataclass

from transformers import TrainingArguments, set_seed
from transformers.hf_argparser import HfArg

from tasks import draw_subset, load_tasks
from xstilts.base import UserError, is_main_process, print_main, run_script
from xstilts.checkpoint import check_lengths, family_of, load_tokenizer, stored_encoder
from xstilts.dry_run import plan_training
from xstilts.dual_encoder import check_dual_encoder
from xstilts.examples import featurize, untaught, with_labels
from xstilts.gpu_memory import default_tokens
from xstilts.heads import check_trained, labels_at, load_trained
from xstilts.languages import check_available, load_selection, load_training
from xstilts.layerwise import check_layerwise, select_trained
from xstilts.lineage import default_output_dir, lineage_of, parts_read, training_factors
from xstilts.loading import trust
from xstilts.micro_batches import check_micro_batches, set_batch_size
from xstilts.mixing import other_ratio, set_steps, step_inputs
from xstilts.mlm import load_text, text_task
from xstilts.multitask import (
    Part,
    describe,
    headline_of,
    load_parts,
    save_parts,
    score_names,
    trainer_for,
    with_average,
)
from xstilts.options import (
    DataOptions,
    LayerOptions,
    LoraOptions,
    MixtureOptions,
    RunOptions,
    TaskOptions,
    TrainOptions,
    WindowOptions,
)
from xstilts.precision import set_precision, trained_precision
from xstilts.results import Run
from xstilts.resuming import fit
from xstilts.runs import SEVERAL, TEXT, parse_args
from xstilts.seen_rows import save_training_rows
from xstilts.sharding import check_sharding
from xstilts.similarity import encoder_changes
from xstilts.training import StiltsTrainer, select_by
from xstilts.unfreezing import stages_after


@dataclass(kw_only=True)
class IntermediateArguments(
    TaskOptions, MixtureOptions, DataOptions, WindowOptions, TrainOptions, LayerOptions, LoraOptions, RunOptions
):
    """The options of this script; the Trainer's come on top."""

    task: str = HfArg(
        help="The intermediate task: a file of tasks/, without .py; several as mnli+squad, all (the paper's nine) or all-ccg."
    )
    languages: str = HfArg(
        default="en", help="Comma-separated language codes of the training rows, or all that a task has any in."
    )


ARGUMENTS = (IntermediateArguments, TrainingArguments)


def main(argv=None):
    """Run the phase; `argv` is the command line without the program's name."""
    # 1. Arguments: the config's defaults, then the command line.
    started_at = time.time()
    args, training_args = parse_args(ARGUMENTS, "intermediate", argv, check=lambda args: load_tasks(args.task))
    trust(args.model_name_or_path, args.trust_remote_code)
    tasks = draw_subset(load_tasks(args.task), args.task_subset_size, args.task_subset_seed)
    if len(tasks) == 1 and tasks[0].name != args.task:  # one that was drawn trains as if it had been asked for
        args, training_args = parse_args(ARGUMENTS, "intermediate", argv, [tasks[0].name])
    name = "+".join(task.name for task in tasks) if args.task_subset_size else args.task
    several = len(tasks) > 1 or args.has_text
    set_steps(args, training_args, len(tasks), args.has_text)
    check_sharding(args, training_args, several)
    if not args.eval_only:
        set_batch_size(args, training_args, argv, *tasks)
    longest = max(own_arguments(section, several, argv)[0].max_seq_length for section in sections_of(tasks, args))
    check_micro_batches(args, training_args, tasks, several, default_tokens(args, training_args, tasks, argv, longest))
    lineage = lineage_of(args.model_name_or_path)
    check_layerwise(args, training_args)
    tokenizer = load_tokenizer(args.model_name_or_path)
    factors, extent = ([], parts_read(args)) if args.eval_only else (training_factors(args, several), [])
    training_args.output_dir = training_args.output_dir or default_output_dir(
        "dev" if args.eval_only else "intermediate", lineage, name, training_args.seed, factors, extent
    )
    if args.eval_only:
        if args.dry_run:
            raise UserError("--dry_run is for trainings; with --eval_only leave it out")
        return evaluate_again(tasks, lineage, tokenizer, args, training_args, argv)

    # 2. Data: raw rows -> examples, of each task as its own section of the config says.
    check_available(tasks, args.data_dir)
    parts = [load_part(task, argv, training_args, several) for task in tasks]
    if args.has_text:
        parts.append(load_text_part(argv, training_args))
    for warning in (off_ratio := other_ratio(args, argv, [len(part.train) for part in parts[: len(tasks)]])):
        print_main(f"warning: {warning}")
    select_by(headline_of(parts), training_args, lambda: score_names(parts))

    # 3. Model: the pretrained encoder, carried over under a fresh head, or one for each task.
    set_seed(training_args.seed)
    model = load_parts(parts, tokenizer, args)
    model, trained = select_trained(model, args)
    set_precision(training_args, args.precision, model.config.model_type)

    # 4. Is this run new, interrupted, finished, or another one?
    records = [record for part in parts for record in (*part.train.records, *part.dev.records)]
    run = Run(
        phase="intermediate", task=name, lineage=lineage, args=args, training_args=training_args,
        data=records, parts={part.task.name: part.settings for part in parts}, argv=argv, started_at=started_at,
    )  # fmt: skip
    if not run.open():
        return

    # 5. Train; the best checkpoint on the selection set stays in the model.
    for part in parts:
        part.train_features = featurize(part.task, part.train, tokenizer, vars(part.args))
        part.dev_features = featurize(part.task, part.dev, tokenizer, vars(part.args))
    not_taught = {part.task.name: untaught(part.task, part.train, part.train_features) for part in parts}
    trainer = trainer_for(parts, model, args, training_args, tokenizer)
    if args.dry_run:
        sets = {f"{part.task.name} train": part.train_features for part in parts}
        sets |= {f"{part.task.name} validation": part.dev_features for part in parts}
        return plan_training(run, trainer, sets, argv)
    fit(trainer, run.claim)
    scores = trainer.dev_scores()

    # 6. Save what the next phase needs, then what the report needs.
    model = trainer.whole_model()
    if trainer.is_world_process_zero():
        record = {"phase": "intermediate", "task": name, "tasks": [task.name for task in tasks]}
        record |= {"trained_on": name if several else tasks[0].trained_on}
        record |= {"languages": sorted({language for part in parts for language in part.labelled_languages})}
        record |= {"selected_in": sorted({language for part in parts for language in part.selection_languages})}
        record |= {"seed": training_args.seed, "head": "fresh", "frozen": trained["frozen"], "factors": factors}
        record["fingerprint"] = save_parts(model, parts, tokenizer, run.output_dir)
        results = {"metric": headline_of(parts), "dev_scores": scores, **trainer.training_record()}
        moved = encoder_changes(stored_encoder(args.model_name_or_path), run.output_dir)
        warnings = off_ratio + stages_after(args.unfreeze_schedule, results["selected_step"])
        results |= {"weight_change": moved, "warnings": warnings, "untaught": not_taught, **trained}
        taught, chosen_by = ([(part.task, getattr(part, name)) for part in parts] for name in ("train", "dev"))
        save_training_rows(
            run.output_dir, args.model_name_or_path, record["fingerprint"], taught, chosen_by, results.get("mixture")
        )
        run.close(results | describe(parts, trainer, args), record)


def own_arguments(section, several, argv):
    """The arguments of one task of a run: its own section of the config says lengths, batch sizes and numbers of samples."""
    return parse_args(ARGUMENTS, "intermediate", argv, [SEVERAL, section] if several else [section])


def sections_of(tasks, args):
    """Names of the sections of the config that a run reads, one a task, and that of text."""
    return [*(task.name for task in tasks), *([TEXT] if args.has_text else [])]


def load_part(task, argv, training_args, several):
    """A task with its rows and its own arguments."""
    args, own = own_arguments(task.name, several, argv)
    train = load_training(task, args.languages, args.data_dir, args.max_train_samples)
    dev = load_selection(task, ",".join(train.languages), args.data_dir, args.max_eval_samples)
    set_batch_size(args, own, argv, task)
    inputs = step_inputs(own, training_args.gradient_accumulation_steps)
    micro = inputs // (training_args.gradient_accumulation_steps * training_args.world_size)
    check_dual_encoder(task, micro, own.per_device_train_batch_size)
    return Part(task=with_labels(task, train), args=args, step_inputs=inputs, train=train, dev=dev)


def load_text_part(argv, training_args):
    """Masked language modelling as one more task, with the `mlm` section of the config."""
    args, own = own_arguments(TEXT, True, argv)
    source = (args.mlm_text_files, args.mlm_dataset_name, args.mlm_dataset_config_name)
    train, dev = load_text(*source, args.max_eval_samples)
    if not args.eval_only:
        set_batch_size(args, own, argv)
    inputs = step_inputs(own, training_args.gradient_accumulation_steps)
    return Part(task=text_task(args.mlm_probability), args=args, step_inputs=inputs, train=train, dev=dev)


def evaluate_again(tasks, lineage, tokenizer, args, training_args, argv):
    """--eval_only: score a run of this script on the selection sets, with the heads it kept; nothing is trained."""
    started_at, path, parts = time.time(), args.model_name_or_path, []
    several = len(tasks) > 1 or args.has_text
    for task in (labels_at(path, task) for task in tasks):
        own, _ = own_arguments(task.name, several, argv)
        check_trained(path, task)
        dev = load_selection(task, own.languages, own.data_dir, own.max_eval_samples)
        parts.append(Part(task=task, args=own, dev=dev))
    if args.has_text:
        parts.append(load_text_part(argv, training_args))
        check_trained(path, parts[-1].task)
    set_precision(training_args, args.precision, family_of(path), trained_precision(path))
    run = Run(
        phase="dev", task=args.task, lineage=lineage, args=args, training_args=training_args,
        data=[record for part in parts for record in part.dev.records],
        parts={part.task.name: part.settings for part in parts}, argv=argv, started_at=started_at,
    )  # fmt: skip
    if not run.open():
        return
    scores = {}
    for part in parts:
        model = load_trained(path, part.task)
        check_lengths(model, tokenizer, part.task, part.args)
        trainer = StiltsTrainer(part.task, model, training_args, tokenizer)
        features = featurize(part.task, part.dev, tokenizer, vars(part.args))
        scores[part.task.name] = trainer.scored(part.dev, features)
        headline = part.task.metric.headline
        print_main(
            f"{part.task.name}: {headline} {scores[part.task.name][headline]:.1f}, inputs up to {part.args.max_seq_length} tokens"
        )
    if is_main_process():
        run.close({"metric": headline_of(parts), "dev_scores": with_average(parts, scores)})


if __name__ == "__main__":
    run_script(main)
