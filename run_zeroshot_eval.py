"""Phase 3b, zero-shot evaluation: one fine-tuned checkpoint, every language of its target task.

    accelerate launch run_zeroshot_eval.py --task xnli --model_name_or_path runs/target/hellaswag/xnli/seed42
    python run_zeroshot_eval.py --task udpos --model_name_or_path runs/target/none/udpos/seed42 --languages de,sw --data_dir DATA

    python run_zeroshot_eval.py --task xnli --model_name_or_path runs/target/none/xnli/seed42 --benchmark xtreme-r --save_examples

The model has seen labelled data in English only (run_target.py --train_language: in another source language only); no target
language is trained on or selected on.

Reads   a checkpoint with its head (--model_name_or_path, written by run_target.py), and the test rows of every language.
Writes  --output_dir (runs/eval/<intermediate task or none>/<task>/seed<N>): predictions/<task>/test-<language>.tsv (or .json) in
        the layout that XTREME's scorer reads; run.json with the scores per language, their 95 percent bootstrap intervals, how
        far they lie below the source language's, the number of rows that the checkpoint was trained on (`seen_in_training`), and
        the languages without data; ratios.npz, what each example adds to the
        numerator and the denominator of its language's score, for paired tests; with --save_examples also
        examples/<task>/test-<language>.jsonl, every input with gold label, prediction and the model's confidence in it.
"""

import time
from dataclasses import dataclass

import numpy as np
from transformers import TrainingArguments
from transformers.hf_argparser import HfArg

from tasks import load_task
from xstilts.base import UserError, on_main_process, print_main, run_script
from xstilts.checkpoint import check_length, check_trained_for, load_model, load_tokenizer
from xstilts.coverage import coverage, inputs_of
from xstilts.degenerate import is_constant, of_evaluation
from xstilts.dry_run import plan_evaluation
from xstilts.examples import featurize, languages_apart, remarks_of
from xstilts.heads import labels_at
from xstilts.intervals import bootstrap, ratios
from xstilts.languages import load_languages
from xstilts.lineage import (
    default_output_dir,
    departures,
    lineage_of,
    parts_read,
    source_language,
    task_of_benchmark,
    zero_shot_languages,
)
from xstilts.loading import trust
from xstilts.metrics import averages, gaps_to_source, score
from xstilts.options import BenchmarkOptions, DataOptions, LanguageOptions, RunOptions, TaskOptions, WindowOptions
from xstilts.placeholders import Placeholders, check_labels, is_stripped_set
from xstilts.precision import set_precision, trained_precision
from xstilts.results import Run, save_examples
from xstilts.runs import parse_args
from xstilts.seen_rows import count_seen, load_seen, warn_of_seen
from xstilts.sharding import check_sharding
from xstilts.templates import pair_of
from xstilts.training import StiltsTrainer
from xstilts.xtreme import benchmark_averages


@dataclass(kw_only=True)
class EvalArguments(TaskOptions, DataOptions, WindowOptions, BenchmarkOptions, LanguageOptions, RunOptions):
    """The options of this script; of the Trainer's the batch size, the precision and the device matter here."""

    model_name_or_path: str = HfArg(help="A checkpoint of run_target.py, head included.")
    split: str = HfArg(default="test", help="test or validation.")
    save_examples: bool = HfArg(
        default=False, help="Keep input, gold label, prediction and confidence of every example."
    )


def main(argv=None):
    """Run the phase; `argv` is the command line without the program's name."""
    # 1. Arguments. The seed is that of the checkpoint: evaluation draws nothing at random.
    started_at = time.time()
    args, training_args = parse_args((EvalArguments, TrainingArguments), "eval", argv, check=task_of)
    check_sharding(args, training_args, trains=False)
    trust(args.model_name_or_path, args.trust_remote_code)
    lineage = lineage_of(args.model_name_or_path)
    task = labels_at(args.model_name_or_path, task_of(args, lineage))
    tokenizer = load_tokenizer(args.model_name_or_path)
    check_trained_for(task, lineage, args.model_name_or_path)
    factors = [args.benchmark] if args.benchmark else []
    training_args.output_dir = training_args.output_dir or default_output_dir(
        "eval", lineage, task.name, training_args.seed, factors, parts_read(args)
    )

    # 2. Data: every language that has any.
    tests, missing = load_languages(
        task, args.split, args.languages, args.data_dir, args.max_eval_samples, others=args.benchmark is None
    )

    # 3. Model: the checkpoint with the head it was trained with.
    model = load_model(args.model_name_or_path, task, keep_head=True)
    if lineage[-1].get("phase") != "target":
        print_main(f"{args.model_name_or_path} did not go through run_target.py; its own head is evaluated as it is")
    check_length(model, tokenizer, args.max_seq_length)
    set_precision(training_args, args.precision, model.config.model_type, trained_precision(args.model_name_or_path))

    # 4. Is this run new, finished, or another one?
    run = Run(
        phase="eval", task=task.name, lineage=lineage, args=args, training_args=training_args,
        data=[record for examples in tests.values() for record in examples.records], argv=argv, started_at=started_at,
    )  # fmt: skip
    if not run.open():
        return

    # 5. Rows of all languages -> what is kept of the logits, in one pass, sorted by length and put back in order.
    trainer = StiltsTrainer(task, model, training_args, tokenizer)
    features = {language: featurize(task, examples, tokenizer, vars(args)) for language, examples in tests.items()}
    if args.dry_run:
        return plan_evaluation(run, trainer, features, argv)
    outputs = trainer.outputs(features)

    # 6. Predictions -> files and scores -> run.json, by the process that has the outputs.
    on_main_process(
        lambda: finish(run, trainer, tests, features, outputs, {"factors": factors, "missing_languages": missing})
    )


def task_of(args, lineage=()):
    """The task as the benchmark has it. Raises UserError for one that is none."""
    return task_of_benchmark(load_task(args.task), args.benchmark, lineage)


def finish(run, trainer, tests, features, outputs, results):
    """Decode, write and score language by language, and write what the report reads; `results` are further entries of run.json.

    tests, features, outputs    {language: its Examples, their features, what is kept of the logits}
    """
    args, task, tokenizer = run.args, trainer.task, trainer.processing_class
    scores, unscored, added, seen = {}, {}, {}, load_seen(args.model_name_or_path, run.lineage)
    for language, examples in tests.items():
        predictions = trainer.decode(examples, features[language], outputs[language])
        name = f"{args.split}-{language}"
        task.type.write(run.folder("predictions", task.name) / name, predictions, examples.rows)
        if args.save_examples:
            confidence = task.type.confidence(outputs[language], features[language], examples.rows)
            path = run.folder("examples", task.name) / f"{name}.jsonl"
            save_examples(path, task, examples.rows, predictions, confidence)
        try:
            if task.labels and is_stripped_set(task.name, args.split, language):
                check_labels([task.type.gold(example) for example in examples.rows])
            scores[language], added[language] = scored(task, language, examples, predictions)
        except Placeholders as error:
            unscored[language] = str(error)
            print_main(f"{task.name} {language}: not scored, {error}")
            continue
        are_words = "tokens" in task.type.columns
        scores[language] |= coverage(inputs_of(task, examples), tokenizer, args.max_seq_length, are_words)
        scores[language] |= count_seen(task, examples, seen)
    if not scores:
        raise UserError(f"{task.name}: no language can be scored; {next(iter(unscored.values()))}")

    warn_of_seen(task.name, scores)
    known = {language: each.astype(np.float32) for language, each in added.items() if each is not None}
    np.savez_compressed(run.output_dir / "ratios.npz", **known)
    results |= {"split": args.split, "benchmark": args.benchmark, "scores": scores, "unscored_languages": unscored}
    results |= summary(task, scores, run.lineage, languages_apart(run.data))
    results["warnings"] = departures(task, run.lineage, args.benchmark)
    run.close({**results, "degenerate": of_evaluation(scores)})


def scored(task, language, examples, predictions):
    """Scores of one language with the interval of the first of them, which is also said; and what each example adds to that.
    Raises Placeholders for a question without an answer."""
    gold, headline = [task.type.gold(example) for example in examples.rows], task.metric.headline
    answers = pair_of(language)[0]  # the language of the context, where questions are in another one
    scores = score(task.metric, predictions, gold, answers)
    added, remark = ratios(task.metric, predictions, gold, answers), task.metric.remark(gold)
    sure = None if added is None or remark else bootstrap(added)
    print_main(
        f"{task.name} {language}: {headline} {scores[headline]:.1f}"
        + (" ({:.1f} to {:.1f})".format(*sure) if sure else "")
    )
    others = {"constant_predictions": is_constant(predictions, gold)} if task.labels else {}
    others |= {"remark": remark} if remark else {}
    return {**scores, "interval": sure, "examples": len(examples), **others}, added


def summary(task, scores, lineage, apart=()):
    """What follows from the scores of all languages. Pairs of languages (MLQA) count in no average, nor do languages set `apart`,
    whose rows are not the benchmark's."""
    single = {language: own for language, own in scores.items() if language not in (*task.on_request, *apart)}
    headline, source, zero_shot = task.metric.headline, source_language(lineage), zero_shot_languages(single, lineage)
    gaps = gaps_to_source(single, headline, source)
    return {
        "metric": headline,
        "averages": averages(single, headline, zero_shot, gaps) | benchmark_averages(task.name, single),
        "source_language": source,
        "gaps": gaps,
        "zero_shot_languages": zero_shot,
        "in_no_average": sorted(scores.keys() - single.keys()),
        "remarks": remarks_of(
            {"task": task.name, "language": code, "remarks": [own["remark"]]}
            for code, own in scores.items()
            if "remark" in own
        ),
    }


if __name__ == "__main__":
    run_script(main)
