"""Phase 3a, target task: fine-tune a checkpoint on a target task's English training set.

    accelerate launch run_target.py --task xnli --model_name_or_path runs/intermediate/hellaswag/seed42
    accelerate launch run_target.py --task xnli          # the baseline without intermediate training

Phang et al. 2020 (arXiv 2005.13013), section 2: whatever the encoder went through before, it is fine-tuned on the English
training set of one XTREME task, under a fresh head. Defaults, the authors' released recipe, are in configs/target.yaml.

Reads   an encoder (--model_name_or_path: a directory written by run_intermediate.py, or any hub id), and the English training
        and selection rows of the task (MNLI for xnli, SQuAD for xquad) from the hub or from --data_dir.
Writes  --output_dir (runs/target/<intermediate task or none>/<task>/seed<N>): a Hugging Face checkpoint with its head for
        run_zeroshot_eval.py, training_rows.npz (hashes of all rows it was trained on, by which test rows that it has seen are
        counted), and run.json. Interrupted runs go on, finished ones are left alone.
"""

import time
from dataclasses import dataclass

from transformers import TrainingArguments, set_seed
from transformers.hf_argparser import HfArg

from tasks import load_task
from xstilts.arguments import check_training_arguments, parse
from xstilts.callbacks import early_stopping
from xstilts.checkpoint import check_lengths, load_tokenizer, save_checkpoint
from xstilts.complexity import chance_scores, label_entropy
from xstilts.dry_run import plan_training
from xstilts.dual_encoder import check_dual_encoder
from xstilts.errors import run_script
from xstilts.examples import featurize, untaught, with_labels
from xstilts.gpu_memory import default_tokens
from xstilts.languages import load_training
from xstilts.layerwise import check_layerwise, gradual_unfreezing, select_trained
from xstilts.lineage import default_output_dir, departures, lineage_of, task_of_benchmark, training_factors
from xstilts.loading import trust
from xstilts.micro_batches import check_micro_batches, set_batch_size
from xstilts.precision import set_precision
from xstilts.prefix_cache import cache_prefix, check_prefix_cache
from xstilts.results import Run
from xstilts.resuming import fit
from xstilts.seen_rows import save_training_rows
from xstilts.selection import average_last, check_selection, chosen_in, load_dev, training_task
from xstilts.sharding import check_sharding
from xstilts.similarity import encoder_changes
from xstilts.training import StiltsTrainer, select_by
from xstilts.transfer import check_transfer, load_for_target, starting_encoder, transfer_record
from xstilts.unfreezing import stages_after


@dataclass
class TargetArguments:
    """Ours; the Trainer's arguments come on top."""

    task: str = HfArg(help="The target task: a file of tasks/, without .py.")
    model_name_or_path: str = HfArg(
        default="FacebookAI/xlm-roberta-large",
        help="The encoder to start from: a hub id, or the directory of any checkpoint.",
    )
    transfer_layers: str | None = HfArg(
        default=None, help="Take these layers of it only, as 0-11 or embeddings,0-11, the rest from its base model."
    )
    base_model_name_or_path: str | None = HfArg(
        default=None, help="Where that base model is; default: what the checkpoint's own run began from."
    )
    benchmark: str | None = HfArg(
        default=None,
        help="xtreme or xtreme-r: whose release and words of the data; the same in both (all but udpos).",
    )
    train_language: str = HfArg(default="en", help="The source language, of training and selection rows.")
    selection: str = HfArg(
        default="english_dev", help="Which checkpoint is kept: english_dev, last, average_last_k, benchmark or oracle."
    )
    average_last_k: int = HfArg(default=3, help="--selection average_last_k: how many checkpoints.")
    keep_head: bool = HfArg(
        default=False,
        help="Keep the checkpoint's head instead of a fresh one (same task type and labels; recorded in the lineage).",
    )
    data_dir: str | None = HfArg(
        default=None,
        help="Folder with official data files, or one of prepare_data.py; without it rows come from the hub.",
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
    config: str | None = HfArg(default=None, help="Another file of default arguments than configs/target.yaml.")
    recipe: str | None = HfArg(default=None, help="A set of arguments below `recipes:` in that file.")


def main(argv=None):
    """Run the phase; `argv` is the command line without the program's name."""
    # 1. Arguments: the config's defaults, then the command line.
    started_at = time.time()
    args, training_args = parse((TargetArguments, TrainingArguments), "target", argv)
    check_training_arguments(training_args)
    trust(args.model_name_or_path, args.trust_remote_code)
    check_selection(args, training_args)
    task = task_of_benchmark(load_task(args.task), args.benchmark)
    lineage = lineage_of(args.model_name_or_path)
    check_layerwise(args, training_args)
    check_transfer(args, lineage)
    set_batch_size(args, training_args, argv, task)
    check_dual_encoder(task, training_args.per_device_train_batch_size, args)
    check_sharding(args, training_args)
    check_micro_batches(args, training_args, [task], default=default_tokens(args, training_args, [task], argv))
    tokenizer = load_tokenizer(args.model_name_or_path)
    factors = training_factors(args, variants=task.variants)
    training_args.output_dir = training_args.output_dir or default_output_dir(
        "target", lineage, task.name, training_args.seed, factors
    )

    # 2. Data: raw rows -> examples, English. Only the source language is seen before evaluation, for selection too.
    rows = training_task(task, args.selection)
    train = load_training(rows, args.train_language, args.data_dir, args.max_train_samples)
    dev = load_dev(task, args)
    task = with_labels(task, train)
    chance = chance_scores(task, train, dev)
    select_by(task.metric.headline, training_args, lambda: [*chance, "loss"])

    # 3. Model: the encoder, carried over under a fresh head.
    set_seed(training_args.seed)
    model = load_for_target(args, task)
    check_lengths(model, tokenizer, task, args)
    model, trained = select_trained(model, args)
    set_precision(training_args, args.precision, model.config.model_type)
    check_prefix_cache(model, args, training_args)

    # 4. Is this run new, interrupted, finished, or another one?
    run = Run(
        phase="target", task=task.name, lineage=lineage, args=args, training_args=training_args,
        data=[*train.records, *dev.records], others=transfer_record(args), argv=argv, started_at=started_at,
    )  # fmt: skip
    if not run.open():
        return

    # 5. Train; the best checkpoint on the selection set stays in the model.
    train_features, dev_features = (featurize(task, examples, tokenizer, vars(args)) for examples in (train, dev))
    not_taught = {task.name: untaught(task, train, train_features)}
    trainer = StiltsTrainer(
        task, model, training_args, tokenizer, train_features, (dev, dev_features),
        callbacks=[*early_stopping(args.early_stopping_patience), *gradual_unfreezing(model, args)],
        layerwise_lr_decay=args.layerwise_lr_decay, max_tokens_per_batch=args.max_tokens_per_batch,
    )  # fmt: skip
    if args.dry_run:
        return plan_training(run, trainer, {"train": train_features, "validation": dev_features}, argv)
    cache_prefix(trainer, args.cache_frozen_prefix)
    fit(trainer, run.claim, args.average_last_k if args.selection == "average_last_k" else 1)
    if args.selection == "average_last_k":
        average_last(trainer, args.average_last_k)
    scores = trainer.dev_scores()

    # 6. Save what the next phase needs, then what the report needs.
    model = trainer.whole_model()
    if trainer.is_world_process_zero():
        record = {
            "phase": "target", "task": task.name, "trained_on": task.trained_on, "languages": train.languages,
            "selected_in": chosen_in(dev, args.selection), "seed": training_args.seed,
            "head": "kept" if args.keep_head else "fresh", "selection": args.selection,
            "benchmark": args.benchmark if args.benchmark in task.variants else None, "frozen": trained["frozen"],
            "factors": factors, **transfer_record(args),
        }  # fmt: skip
        record["fingerprint"] = save_checkpoint(model, tokenizer, run.output_dir)
        save_training_rows(
            run.output_dir, args.model_name_or_path, record["fingerprint"], [(task, train)], [(task, dev)]
        )
        results = {"metric": task.metric.headline, "dev_scores": scores, **trainer.training_record()}
        warnings = departures(task, lineage) + stages_after(args.unfreeze_schedule, results["selected_step"])
        results |= {"warnings": warnings, "chance": chance[task.metric.headline], "untaught": not_taught, **trained}
        results["label_entropy_bits"] = label_entropy(train.rows)
        results["weight_change"] = encoder_changes(starting_encoder(args), run.output_dir)
        run.close(results, record)


if __name__ == "__main__":
    run_script(main)
