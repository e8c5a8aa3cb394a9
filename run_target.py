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

from tasks import load_task
from xstilts.base import run_script
from xstilts.callbacks import early_stopping
from xstilts.checkpoint import check_lengths, load_tokenizer, save_checkpoint
from xstilts.complexity import chance_scores, label_entropy
from xstilts.dry_run import plan_training
from xstilts.dual_encoder import check_dual_encoder
from xstilts.examples import featurize, untaught, with_labels
from xstilts.gpu_memory import default_tokens
from xstilts.languages import load_training
from xstilts.layerwise import check_layerwise, gradual_unfreezing, select_trained
from xstilts.lineage import default_output_dir, departures, lineage_of, task_of_benchmark, training_factors
from xstilts.loading import trust
from xstilts.micro_batches import check_micro_batches, set_batch_size
from xstilts.options import (
    BenchmarkOptions,
    DataOptions,
    LayerOptions,
    LoraOptions,
    RunOptions,
    SelectionOptions,
    TaskOptions,
    TrainOptions,
    TransferOptions,
    WindowOptions,
)
from xstilts.precision import set_precision
from xstilts.results import Run
from xstilts.resuming import fit
from xstilts.runs import parse_args
from xstilts.seen_rows import save_training_rows
from xstilts.selection import apply_selection, chosen_in, load_dev, training_task
from xstilts.sharding import check_sharding
from xstilts.similarity import encoder_changes
from xstilts.training import StiltsTrainer, select_by
from xstilts.transfer import check_transfer, load_for_target, starting_encoder, transfer_record
from xstilts.unfreezing import stages_after


@dataclass(kw_only=True)
class TargetArguments(
    TaskOptions, TransferOptions, BenchmarkOptions, DataOptions, WindowOptions, SelectionOptions, TrainOptions, LayerOptions,
    LoraOptions, RunOptions,
):  # fmt: skip
    """The options of this script; the Trainer's come on top."""


def main(argv=None):
    """Run the phase; `argv` is the command line without the program's name."""
    # 1. Arguments: the config's defaults, then the command line.
    started_at = time.time()
    args, training_args = parse_args((TargetArguments, TrainingArguments), "target", argv, check=task_of)
    trust(args.model_name_or_path, args.trust_remote_code)
    apply_selection(args, training_args)
    task = task_of(args)
    lineage = lineage_of(args.model_name_or_path)
    check_layerwise(args, training_args)
    check_transfer(args, lineage)
    set_batch_size(args, training_args, argv, task)
    check_dual_encoder(task, training_args.per_device_train_batch_size)
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
    fit(trainer, run.claim)
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


def task_of(args):
    """The task with the benchmark's words and release of its data. Raises UserError for one that is none."""
    return task_of_benchmark(load_task(args.task), args.benchmark)


if __name__ == "__main__":
    run_script(main)
