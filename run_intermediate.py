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
from xstilts.arguments import SEVERAL, TEXT, check_training_arguments, parse
from xstilts.checkpoint import check_lengths, family_of, load_tokenizer, stored_encoder
from xstilts.dry_run import plan_training
from xstilts.dual_encoder import check_dual_encoder
from xstilts.errors import UserError, is_main_process, run_script, say
from xstilts.examples import featurize, untaught, with_labels
from xstilts.gpu_memory import default_tokens
from xstilts.heads import check_trained, labels_at, load_trained
from xstilts.languages import check_available, load_selection, load_training
from xstilts.layerwise import check_layerwise, select_trained
from xstilts.lineage import default_output_dir, lineage_of, training_factors
from xstilts.loading import trust
from xstilts.micro_batches import check_micro_batches, set_batch_size
from xstilts.mixing import check_mixing, has_text, set_steps, step_inputs
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
from xstilts.precision import set_precision, trained_precision
from xstilts.prefix_cache import cache_prefix, check_prefix_cache
from xstilts.results import Run
from xstilts.resuming import fit
from xstilts.seen_rows import save_training_rows
from xstilts.sharding import check_sharding
from xstilts.similarity import encoder_changes
from xstilts.training import StiltsTrainer, select_by
from xstilts.unfreezing import stages_after


@dataclass
class IntermediateArguments:
    """Ours; the Trainer's arguments come on top."""

    task: str = HfArg(
        help="The intermediate task: a file of tasks/, without .py; several as mnli+squad, all (the paper's nine) or all-ccg."
    )
    model_name_or_path: str = HfArg(
        default="FacebookAI/xlm-roberta-large",
        help="The encoder to start from: a hub id, or the directory of any checkpoint.",
    )
    data_dir: str | None = HfArg(
        default=None,
        help="Folder with official data files, or one of prepare_data.py; without it rows come from the hub.",
    )
    languages: str = HfArg(
        default="en", help="Comma-separated language codes of the training rows, or all that a task has any in."
    )
    language_mixing: str = HfArg(
        default="proportional", help="Languages: proportional to their rows, or equal numbers of rows."
    )
    task_subset_size: int | None = HfArg(default=None, help="Train on N of the tasks only, drawn at random.")
    task_subset_seed: int = HfArg(default=0, help="Which N: seed of the draw.")
    mixing: str = HfArg(
        default="examples-proportional",
        help="Several tasks: examples-proportional, temperature or uniform (T5), or steps-proportional (jiant).",
    )
    mixing_limit: int | None = HfArg(default=None, help="Several tasks: K, a task counts for K examples at most.")
    mixing_temperature: float = HfArg(default=1.0, help="Several tasks: T, rates to the power of 1/T.")
    max_steps_per_task: int | None = HfArg(
        default=None, help="--max_steps is N times the number of tasks; who gets how many is up to the mixing."
    )
    share_heads: bool = HfArg(default=False, help="Several tasks: those of one type with the same labels share a head.")
    mlm_text_files: list[str] | None = HfArg(
        default=None, help="Masked language modelling beside the task: text files, a sentence or document a line."
    )
    mlm_dataset_name: str | None = HfArg(default=None, help="The same on a dataset of the hub with a column `text`.")
    mlm_dataset_config_name: str | None = HfArg(default=None, help="Its configuration.")
    mlm_probability: float = HfArg(
        default=0.15, help="Masked language modelling: share of the sub-words that are masked."
    )
    mlm_ratio: float = HfArg(default=1.0, help="Steps of it per step of a task; 0 watches its loss only.")
    mlm_head: str = HfArg(default="pretrained", help="pretrained: the checkpoint's own LM head; fresh: a new one.")
    eval_only: bool = HfArg(
        default=False, help="Evaluate the run at --model_name_or_path again, with the heads it kept."
    )
    max_seq_length: int = HfArg(default=256, help="Longest input in tokens.")
    doc_stride: int = HfArg(
        default=128, help="Question answering: tokens that neighbouring windows of a context share."
    )
    max_query_length: int = HfArg(
        default=96, help="Dual encoders: longest query in tokens; documents: --max_seq_length."
    )
    max_train_samples: int | None = HfArg(
        default=None, help="Use the first N training examples only, of every task and language."
    )
    max_eval_samples: int | None = HfArg(default=None, help="Use the first N examples of the selection set (dev) only.")
    total_train_batch_size: int | None = HfArg(
        default=None,
        help="Examples of an optimizer step, of all processes together; default: the product of the Trainer's two and processes.",
    )
    max_tokens_per_batch: int | None = HfArg(
        default=None,
        help="Cut the examples of a step into micro-batches of at most N tokens, padding included: less memory, same step; "
        "default: none on a CPU, 16,384 on a GPU, or what fits.",
    )
    precision: str = HfArg(
        default="auto", help="auto (bf16 where the GPU has it, fp16 on older ones, fp32 on a CPU), fp32, bf16 or fp16."
    )
    early_stopping_patience: int | None = HfArg(default=None, help="Stop after N evaluations without a better one.")
    freeze_layers: str = HfArg(
        default="none",
        help="Not trained: N (embeddings and the lowest N layers), a list as embeddings,0-5, all or none.",
    )
    frozen_dropout: bool = HfArg(default=False, help="Frozen layers drop out as in training.")
    unfreeze_schedule: str | None = HfArg(
        default=None, help="What is frozen from a step on, as '0:embeddings,0-9; 500:6; 1000:none'."
    )
    layerwise_lr_decay: float = HfArg(
        default=1.0, help="Learning rate of a layer over that of the layer above; the head has the full one."
    )
    cache_frozen_prefix: str | None = HfArg(
        default=None, help="Folder in which the output of frozen embeddings and lowest layers is kept, computed once."
    )
    peft: str | None = HfArg(default=None, help="lora: train adapters on the encoder and merge them at the end.")
    lora_r: int = HfArg(default=16, help="LoRA: rank.")
    lora_alpha: int = HfArg(default=32, help="LoRA: alpha; updates are scaled by alpha / rank.")
    lora_dropout: float = HfArg(default=0.05, help="LoRA: dropout before an adapter.")
    lora_layers: str | None = HfArg(default=None, help="LoRA: layers with adapters, as 6-11; default: all not frozen.")
    lora_target_modules: list[str] | None = HfArg(
        default=None, help="LoRA: names of the linear modules with adapters, as query value; default: all."
    )
    trust_remote_code: bool = HfArg(
        default=False, help="Run the code that comes with --model_name_or_path, if it has any; read it first."
    )
    dry_run: bool = HfArg(default=False, help="Show arguments, data sizes and what is trained, and stop.")
    overwrite_output_dir: bool = HfArg(default=False, help="Delete the run in --output_dir and start again.")
    config: str | None = HfArg(default=None, help="Another file of default arguments than configs/intermediate.yaml.")
    recipe: str | None = HfArg(default=None, help="A set of arguments below `recipes:` in that file.")


ARGUMENTS = (IntermediateArguments, TrainingArguments)


def main(argv=None):
    """Run the phase; `argv` is the command line without the program's name."""
    # 1. Arguments: the config's defaults, then the command line.
    started_at = time.time()
    args, training_args = parse(ARGUMENTS, "intermediate", argv)
    check_training_arguments(training_args)
    trust(args.model_name_or_path, args.trust_remote_code)
    check_mixing(args, training_args)
    tasks = draw_subset(load_tasks(args.task), args.task_subset_size, args.task_subset_seed)
    if len(tasks) == 1 and tasks[0].name != args.task:  # one that was drawn trains as if it had been asked for
        args, training_args = parse(ARGUMENTS, "intermediate", argv, [tasks[0].name])
    name = "+".join(task.name for task in tasks) if args.task_subset_size else args.task
    several = len(tasks) > 1 or has_text(args)
    set_steps(args, training_args, len(tasks), has_text(args))
    check_sharding(args, training_args, several)
    if not args.eval_only:
        set_batch_size(args, training_args, argv, *tasks)
    check_micro_batches(args, training_args, tasks, several, default_tokens(args, training_args, tasks, argv))
    lineage = lineage_of(args.model_name_or_path)
    check_layerwise(args, training_args)
    tokenizer = load_tokenizer(args.model_name_or_path)
    factors = [] if args.eval_only else training_factors(args, several)
    training_args.output_dir = training_args.output_dir or default_output_dir(
        "dev" if args.eval_only else "intermediate", lineage, name, training_args.seed, factors
    )
    if args.eval_only:
        if args.dry_run:
            raise UserError("--dry_run is for trainings; with --eval_only leave it out")
        return evaluate_again(tasks, lineage, tokenizer, args, training_args, argv)

    # 2. Data: raw rows -> examples, of each task as its own section of the config says.
    check_available(tasks, args.data_dir)
    parts = [load_part(task, argv, training_args, several) for task in tasks]
    if has_text(args):
        parts.append(load_text_part(argv, training_args))
    select_by(headline_of(parts), training_args, lambda: score_names(parts))

    # 3. Model: the pretrained encoder, carried over under a fresh head, or one for each task.
    set_seed(training_args.seed)
    model = load_parts(parts, tokenizer, args)
    model, trained = select_trained(model, args)
    set_precision(training_args, args.precision, model.config.model_type)
    check_prefix_cache(model, args, training_args)

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
    cache_prefix(trainer, args.cache_frozen_prefix)
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
        warnings = stages_after(args.unfreeze_schedule, results["selected_step"])
        results |= {"weight_change": moved, "warnings": warnings, "untaught": not_taught, **trained}
        taught, chosen_by = ([(part.task, getattr(part, name)) for part in parts] for name in ("train", "dev"))
        save_training_rows(
            run.output_dir, args.model_name_or_path, record["fingerprint"], taught, chosen_by, results.get("mixture")
        )
        run.close(results | describe(parts, trainer, args), record)


def load_part(task, argv, training_args, several):
    """A task with its rows; lengths, batch sizes and numbers of samples are those of its own section of the config."""
    args, own = parse(ARGUMENTS, "intermediate", argv, [SEVERAL, task.name] if several else [task.name])
    train = load_training(task, args.languages, args.data_dir, args.max_train_samples)
    dev = load_selection(task, ",".join(train.languages), args.data_dir, args.max_eval_samples)
    set_batch_size(args, own, argv, task)
    inputs = step_inputs(own, training_args.gradient_accumulation_steps)
    micro = inputs // (training_args.gradient_accumulation_steps * training_args.world_size)
    check_dual_encoder(task, micro, args, own.per_device_train_batch_size)
    return Part(task=with_labels(task, train), args=args, step_inputs=inputs, train=train, dev=dev)


def load_text_part(argv, training_args):
    """Masked language modelling as one more task, with the `mlm` section of the config."""
    args, own = parse(ARGUMENTS, "intermediate", argv, [SEVERAL, TEXT])
    source = (args.mlm_text_files, args.mlm_dataset_name, args.mlm_dataset_config_name)
    train, dev = load_text(*source, args.max_eval_samples)
    if not args.eval_only:
        set_batch_size(args, own, argv)
    inputs = step_inputs(own, training_args.gradient_accumulation_steps)
    return Part(task=text_task(args.mlm_probability), args=args, step_inputs=inputs, train=train, dev=dev)


def evaluate_again(tasks, lineage, tokenizer, args, training_args, argv):
    """--eval_only: score a run of this script on the selection sets, with the heads it kept; nothing is trained."""
    started_at, path, parts = time.time(), args.model_name_or_path, []
    several = len(tasks) > 1 or has_text(args)
    for task in (labels_at(path, task) for task in tasks):
        own, _ = parse(ARGUMENTS, "intermediate", argv, [SEVERAL, task.name] if several else [task.name])
        check_trained(path, task)
        dev = load_selection(task, own.languages, own.data_dir, own.max_eval_samples)
        parts.append(Part(task=task, args=own, dev=dev))
    if has_text(args):
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
        say(
            f"{part.task.name}: {headline} {scores[part.task.name][headline]:.1f}, inputs up to {part.args.max_seq_length} tokens"
        )
    if is_main_process():
        run.close({"metric": headline_of(parts), "dev_scores": with_average(parts, scores)})


if __name__ == "__main__":
    run_script(main)
