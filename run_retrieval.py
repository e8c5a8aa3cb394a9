"""Phase 3c, sentence retrieval: an encoder without further training, its sentence vectors, and search.

    accelerate launch run_retrieval.py --task tatoeba --model_name_or_path runs/intermediate/hellaswag/seed42
    python run_retrieval.py --task tatoeba --layer 14 --languages de,sw --data_dir DATA
    python run_retrieval.py --task tatoeba --model_name_or_path RUN --compare_with FacebookAI/xlm-roberta-large

The authors' protocol (nyu-mll/jiant, tasks/lib/tatoeba.py): the mean over all attended tokens of hidden_states[14] of 24 (same
relative depth in other encoders), cosine; every English sentence looks for its translation among all foreign ones. With
--compare_with every layer's sentence vectors are compared with those of another encoder (linear CKA): how far has each moved?

Reads   an encoder (--model_name_or_path: a directory written by run_intermediate.py or run_target.py, or any hub id).
Writes  --output_dir (runs/retrieval/<tasks behind the encoder or none>/<task>/seed<N>): predictions/<task>/test-<language>.tsv,
        one index of a foreign sentence per line in the order of the sorted English sentences, as XTREME's scorer reads them, and
        run.json with the accuracy per language, the layer and the pooling, and, compared, `cka`: {language: [layer 0, 1, ...]}.
"""

import os
import time
from dataclasses import dataclass

from transformers import TrainingArguments
from transformers.hf_argparser import HfArg

from tasks import load_task
from xstilts.arguments import check_training_arguments, parse
from xstilts.checkpoint import check_length, load_tokenizer
from xstilts.coverage import coverage
from xstilts.errors import is_main_process, run_script, say
from xstilts.languages import load_sentences
from xstilts.layers import layers_of
from xstilts.lineage import default_output_dir, lineage_of, transfer_factors, zero_shot_languages
from xstilts.metrics import averages, score
from xstilts.results import Run
from xstilts.retrieval import choose_layer, embed, nearest, sorted_english, write
from xstilts.similarity import cka_by_layer, load_compared
from xstilts.task import RetrievalTask
from xstilts.transfer import check_transfer, load_for_retrieval, transfer_record


@dataclass
class RetrievalArguments:
    """Ours; of the Trainer's arguments the batch size and the device matter here."""

    task: str = HfArg(help="A file of tasks/, without .py.")
    model_name_or_path: str = HfArg(default="FacebookAI/xlm-roberta-large", help="The encoder: hub id or directory.")
    data_dir: str | None = HfArg(
        default=None, help="Folder with the official data files; without it rows come from the hub."
    )
    transfer_layers: str | None = HfArg(
        default=None, help="Take these layers of it only, as 0-11 or embeddings,0-11, the rest from its base model."
    )
    base_model_name_or_path: str | None = HfArg(
        default=None, help="Where that base model is; default: where the run behind the checkpoint found it."
    )
    languages: str | None = HfArg(
        default=None, help="Comma-separated codes; default: all of the benchmark's, and what else lies in --data_dir."
    )
    layer: int | None = HfArg(
        default=None, help="Index into hidden_states, 0 = embeddings; default round(14/24 of the depth)."
    )
    compare_with: str | None = HfArg(
        default=None, help="Another encoder of as many layers, hub id or directory: CKA with it by layer and language."
    )
    max_seq_length: int = HfArg(default=256, help="Longest sentence in tokens.")
    max_eval_samples: int | None = HfArg(default=None, help="Use the first N pairs of each language only.")
    overwrite_output_dir: bool = HfArg(default=False, help="Delete the run in --output_dir and start again.")
    config: str | None = HfArg(default=None, help="Another table of default arguments than configs/retrieval.yaml.")


def main(argv=None):
    """Run the phase; `argv` is the command line without the program's name."""
    # 1. Arguments. The seed is that of the encoder's own run: nothing is drawn here.
    started_at = time.time()
    args, training_args = parse((RetrievalArguments, TrainingArguments), "retrieval", argv)
    check_training_arguments(training_args)
    task = load_task(args.task, RetrievalTask)
    lineage = lineage_of(args.model_name_or_path)
    check_transfer(args, lineage)
    tokenizer = load_tokenizer(args.model_name_or_path)
    factors = transfer_factors(args) + ([] if args.layer is None else [f"layer{args.layer}"])
    factors += [f"compared-with-{os.path.basename(os.path.normpath(args.compare_with))}"] if args.compare_with else []
    training_args.output_dir = training_args.output_dir or default_output_dir(
        "retrieval", lineage, task.name, training_args.seed, factors
    )

    # 2. Data: aligned sentences of every language that has any.
    pairs, missing = load_sentences(task, "test", args.languages, args.data_dir, args.max_eval_samples)

    # 3. Encoder, and the layer whose states are averaged.
    encoder = load_for_retrieval(args).to(training_args.device)
    check_length(encoder, tokenizer, args.max_seq_length)
    layer = choose_layer(encoder, args.layer)
    if args.compare_with:
        base, base_tokenizer, compared_with = load_compared(args.compare_with, encoder, pairs, args.max_seq_length)
        base.to(training_args.device)

    # 4. Is this run new, finished, or another one?
    others = transfer_record(args) | ({"compare_with": compared_with["fingerprint"]} if args.compare_with else {})
    run = Run(
        phase="retrieval", task=task.name, lineage=lineage, args=args, training_args=training_args,
        data=[record for examples in pairs.values() for record in examples.records], others=others, started_at=started_at,
    )  # fmt: skip
    if not run.open():
        return

    # 5. Language by language: sentences -> vectors -> nearest foreign sentence of every English one.
    scores, cka, every = {}, {}, range(len(layers_of(encoder)) + 1)
    most = max(pairs, key=lambda language: len(pairs[language]))  # whose English sides stand for English in comparisons
    sizes = (args.max_seq_length, training_args.eval_batch_size)
    for language, examples in pairs.items():
        sides = {"en": list(examples.rows["target_sentence"]), language: list(examples.rows["source_sentence"])}
        compared = [] if not args.compare_with else list(sides) if language == most else [language]
        vectors = {
            side: embed(sentences, encoder, tokenizer, every if side in compared else [layer], *sizes)
            for side, sentences in sides.items()
        }
        found = nearest(queries=vectors["en"][layer], index=vectors[language][layer])
        gold = list(map(str, range(len(examples))))
        texts = [(sentence,) for sentence in sides[language]]
        scores[language] = {
            **score(task.metric, list(map(str, found)), gold),
            "examples": len(found),
            **coverage(texts, tokenizer, args.max_seq_length),
        }
        say(f"{task.name} {language}: accuracy {scores[language]['accuracy']:.1f}")
        for side in compared:
            cka[side] = cka_by_layer(vectors[side], embed(sides[side], base, base_tokenizer, every, *sizes))
            layers = " ".join(f"{value:.2f}" for value in cka[side])
            say(f"{task.name} {side}: CKA with {compared_with['model']} from layer 0 up {layers}")
        if is_main_process():
            order = sorted_english(sides["en"])
            write(run.output_dir / "predictions" / task.name / f"test-{language}.tsv", [found[i] for i in order])

    # 6. run.json: what the report reads.
    if is_main_process():
        headline, zero_shot = task.metric.headline, zero_shot_languages(scores, lineage)
        results = {"split": "test", "metric": headline, "layer": layer, "pooling": "mean", "scores": scores}
        results |= {"zero_shot_languages": zero_shot, "averages": averages(scores, headline, zero_shot)}
        results |= {"compared_with": compared_with, "cka": cka} if args.compare_with else {}
        results |= {"factors": factors, **transfer_record(args)}
        run.close({**results, "missing_languages": missing})


if __name__ == "__main__":
    run_script(main)
