"""Phase 3b, zero-shot evaluation: one fine-tuned checkpoint, every language of its target task.

    accelerate launch run_zeroshot_eval.py --task xnli --model_name_or_path runs/target/hellaswag/xnli/seed42
    python run_zeroshot_eval.py --task udpos --model_name_or_path runs/target/none/udpos/seed42 --languages de,sw --data_dir DATA

The model has seen labelled data in English only; no target language is trained on or selected on.

Reads   a checkpoint with its head (--model_name_or_path, written by run_target.py), and the test rows of every language.
Writes  --output_dir (runs/eval/<intermediate task or none>/<task>/seed<N>): predictions/<task>/test-<language>.tsv (or .json) in
        the layout that XTREME's scorer reads, and run.json with the scores per language and the languages without data.
"""

import time
from dataclasses import dataclass

from transformers import TrainingArguments
from transformers.hf_argparser import HfArg

from tasks import load_task
from xstilts.arguments import check_training_arguments, parse
from xstilts.checkpoint import check_length, check_trained_for, load_model, load_tokenizer
from xstilts.coverage import coverage, inputs_of
from xstilts.errors import run_script, say
from xstilts.examples import featurize
from xstilts.heads import labels_at
from xstilts.languages import load_languages
from xstilts.lineage import default_output_dir, lineage_of, zero_shot_languages
from xstilts.metrics import averages, score
from xstilts.results import Run
from xstilts.training import StiltsTrainer


@dataclass
class EvalArguments:
    """Ours; of the Trainer's arguments the batch size, the precision and the device matter here."""

    task: str = HfArg(help="A file of tasks/, without .py.")
    model_name_or_path: str = HfArg(help="The fine-tuned checkpoint, head included.")
    data_dir: str | None = HfArg(
        default=None, help="Folder with the official data files; without it rows come from the hub."
    )
    languages: str | None = HfArg(
        default=None, help="Comma-separated codes; default: all of the benchmark's, and what else lies in --data_dir."
    )
    split: str = HfArg(default="test", help="test or validation.")
    max_seq_length: int = HfArg(default=256, help="Longest input in tokens.")
    doc_stride: int = HfArg(
        default=128, help="Question answering: tokens that neighbouring windows of a context share."
    )
    max_eval_samples: int | None = HfArg(default=None, help="Use the first N examples of each language only.")
    overwrite_output_dir: bool = HfArg(default=False, help="Delete the run in --output_dir and start again.")
    config: str | None = HfArg(default=None, help="Another table of default arguments than configs/eval.yaml.")


def main(argv=None):
    """Run the phase; `argv` is the command line without the program's name."""
    # 1. Arguments. The seed is that of the checkpoint: evaluation draws nothing at random.
    started_at = time.time()
    args, training_args = parse((EvalArguments, TrainingArguments), "eval", argv)
    check_training_arguments(training_args)
    task = labels_at(args.model_name_or_path, load_task(args.task))
    lineage = lineage_of(args.model_name_or_path)
    tokenizer = load_tokenizer(args.model_name_or_path)
    check_trained_for(task, lineage, args.model_name_or_path)
    if lineage[-1].get("phase") != "target":
        say(f"{args.model_name_or_path} did not go through run_target.py; its own head is evaluated as it is")
    training_args.output_dir = training_args.output_dir or default_output_dir(
        "eval", lineage, task.name, training_args.seed
    )

    # 2. Data: every language that has any.
    tests, missing = load_languages(task, args.split, args.languages, args.data_dir, args.max_eval_samples)

    # 3. Model: the checkpoint with the head it was trained with.
    model = load_model(args.model_name_or_path, task, keep_head=True)
    check_length(model, tokenizer, args.max_seq_length)

    # 4. Is this run new, finished, or another one?
    run = Run(
        phase="eval", task=task.name, lineage=lineage, args=args, training_args=training_args,
        data=[record for examples in tests.values() for record in examples.records], started_at=started_at,
    )  # fmt: skip
    if not run.open():
        return

    # 5. Language by language: logits -> predictions -> scores.
    trainer = StiltsTrainer(task, model, training_args, tokenizer)
    scores = {}
    for language, examples in tests.items():
        predictions = trainer.predictions(examples, featurize(task, examples, tokenizer, vars(args)))
        gold = [task.type.gold(example) for example in examples.rows]
        scores[language] = {
            **score(task.metric, predictions, gold),
            "examples": len(examples),
            **coverage(inputs_of(task, examples), tokenizer, args.max_seq_length),
        }
        say(f"{task.name} {language}: {task.metric.headline} {scores[language][task.metric.headline]:.1f}")
        if trainer.is_world_process_zero():
            folder = run.output_dir / "predictions" / task.name
            folder.mkdir(parents=True, exist_ok=True)
            task.type.write(folder / f"{args.split}-{language}", predictions, examples.rows)

    # 6. run.json: what the report reads.
    if trainer.is_world_process_zero():
        headline, zero_shot = task.metric.headline, zero_shot_languages(scores, lineage)
        results = {"split": args.split, "metric": headline, "scores": scores, "zero_shot_languages": zero_shot}
        run.close({**results, "averages": averages(scores, headline, zero_shot), "missing_languages": missing})


if __name__ == "__main__":
    run_script(main)
