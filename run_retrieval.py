"""Phase 3c, sentence retrieval: an encoder's sentence vectors, and search with them.

    accelerate launch run_retrieval.py --task tatoeba --model_name_or_path runs/intermediate/hellaswag/seed42
    python run_retrieval.py --task tatoeba --layers all --languages de,sw --data_dir DATA
    python run_retrieval.py --task bucc2018 --data_dir DATA
    python run_retrieval.py --task lareqa --model_name_or_path runs/target/none/lareqa/seed42

Three kinds of retrieval, each in a module: among translations (xstilts/aligned.py: tatoeba), mining of translations in two large
corpora (xstilts/mining.py: bucc2018), ranking of candidates (xstilts/ranking.py: lareqa, mewslix, for which
run_target.py trains encoders). The authors' protocol for the first two (nyu-mll/jiant, tasks/lib/tatoeba.py): the mean over all
attended tokens of hidden_states[14] of 24, the same relative depth in other encoders.

Reads   an encoder (--model_name_or_path: a directory written by run_intermediate.py or run_target.py, or any hub id).
Writes  --output_dir (runs/retrieval/<tasks behind the encoder or none>/<task>/seed<N>): predictions/<task>/test-<language>.*, as
        the benchmark's scorer reads them, and run.json with the scores per language, those of every layer (`by_layer`), layer,
        pooling, the number of test sentences or queries that the encoder was trained on (`seen_in_training`, and of candidates
        that all languages share `seen_candidates`) and, with --compare_with, `cka`: {language: [layer 0, 1, ...]}.
"""

import time
from dataclasses import dataclass

from transformers import TrainingArguments
from transformers.hf_argparser import HfArg

from tasks import load_task
from xstilts.arguments import check_training_arguments, parse
from xstilts.checkpoint import check_length, load_tokenizer
from xstilts.coverage import coverage
from xstilts.dry_run import plan_retrieval
from xstilts.errors import is_main_process, run_script, say
from xstilts.layers import layers_of
from xstilts.lineage import default_output_dir, lineage_of, zero_shot_languages
from xstilts.loading import trust
from xstilts.metrics import averages
from xstilts.precision import set_precision, trained_precision
from xstilts.results import Run
from xstilts.retrieval import (
    Embedder,
    check_retrieval,
    check_rooms,
    choose_states,
    curves,
    embeddings_folder,
    in_precision,
    one_prefix,
    retrieval_factors,
    type_of,
    untrained_for,
)
from xstilts.seen_rows import load_seen, seen_in_collection, warn_of_seen
from xstilts.sharding import check_sharding
from xstilts.similarity import cka_by_layer, load_compared, sides_compared
from xstilts.task import RetrievalTask, Task
from xstilts.transfer import check_transfer, load_for_retrieval, transfer_record


@dataclass
class RetrievalArguments:
    """Ours; of the Trainer's arguments the batch size, the device and the precision of evaluation matter here."""

    task: str = HfArg(help="The retrieval task: a file of tasks/, without .py.")
    model_name_or_path: str = HfArg(
        default="FacebookAI/xlm-roberta-large", help="The encoder: a hub id, or the directory of any checkpoint."
    )
    data_dir: str | None = HfArg(
        default=None,
        help="Folder with official data files, or one of prepare_data.py; without it rows come from the hub.",
    )
    transfer_layers: str | None = HfArg(
        default=None, help="Take these layers of it only, as 0-11 or embeddings,0-11, the rest from its base model."
    )
    base_model_name_or_path: str | None = HfArg(
        default=None, help="Where that base model is; default: what the checkpoint's own run began from."
    )
    languages: str | None = HfArg(
        default=None,
        help="Comma-separated language codes; default: all of the benchmark's, and what else lies in --data_dir.",
    )
    layers: str | None = HfArg(
        default=None,
        help="Indices into hidden_states, 0 = embeddings: 14, 10-16 or all; default: the one of the task's protocol.",
    )
    pooling: str | None = HfArg(
        default=None, help="mean, mean_no_special, cls, max or pooler; default: that of the task's protocol."
    )
    query_prefix: str = HfArg(default="", help="Put before what is searched with (English, questions); E5: 'query: '.")
    document_prefix: str = HfArg(
        default="", help="Put before what is searched; E5: 'query: ' for sentences, 'passage: ' for candidates."
    )
    neighborhood: int = HfArg(default=4, help="Neighbours that the ratio margin looks at.")
    threshold: float | None = HfArg(default=None, help="Mining: take pairs from this score on, not from dev's best.")
    compare_with: str | None = HfArg(
        default=None,
        help="Another encoder of as many layers: how similar its vectors are (CKA), by layer and language.",
    )
    max_seq_length: int = HfArg(default=256, help="Longest sentence or candidate in tokens.")
    max_query_length: int | None = HfArg(default=None, help="Longest query in tokens; default: --max_seq_length.")
    precision: str = HfArg(
        default="auto", help="fp32, bf16, fp16, or auto: as trained, else bf16 or fp16 where the GPU has it."
    )
    max_eval_samples: int | None = HfArg(default=None, help="Use the first N pairs or queries of each language only.")
    trust_remote_code: bool = HfArg(
        default=False, help="Run the code that comes with --model_name_or_path, if it has any; read it first."
    )
    dry_run: bool = HfArg(default=False, help="Show arguments, data sizes and what is trained, and stop.")
    overwrite_output_dir: bool = HfArg(default=False, help="Delete the run in --output_dir and start again.")
    config: str | None = HfArg(default=None, help="Another file of default arguments than configs/retrieval.yaml.")


def main(argv=None):
    """Run the phase; `argv` is the command line without the program's name."""
    # 1. Arguments. The seed is that of the encoder's own run: nothing is drawn here.
    started_at = time.time()
    args, training_args = parse((RetrievalArguments, TrainingArguments), "retrieval", argv)
    check_training_arguments(training_args)
    check_sharding(args, training_args, trains=False)
    trust(args.model_name_or_path, args.trust_remote_code)
    task = load_task(args.task, (Task, RetrievalTask))
    kind = type_of(task)
    check_retrieval(args, training_args, kind)
    for warning in (prefixes := one_prefix(args, kind)):  # now, too: the run may take an hour
        say(f"warning: {warning}")
    lineage = lineage_of(args.model_name_or_path)
    check_transfer(args, lineage)
    tokenizer = load_tokenizer(args.model_name_or_path)

    # 2. Data: collections of what is embedded and searched at once, a pair of languages or all languages together.
    collections, missing = kind.load(task, args)

    # 3. Encoder, and the layers whose states are pooled.
    encoder, stored = load_for_retrieval(args)
    set_precision(training_args, args.precision, encoder.config.model_type, trained_precision(args.model_name_or_path))
    encoder = in_precision(encoder, training_args)
    layers, headline = choose_states(encoder, stored, kind, args)
    check_length(encoder, tokenizer, args.max_seq_length)
    check_length(encoder, tokenizer, args.max_query_length, "--max_query_length")
    base = load_compared(args, encoder, collections) if args.compare_with else None
    transferred = transfer_record(args)
    embed = Embedder(encoder, tokenizer, args, training_args)

    # 4. Is this run new, finished, or another one?
    factors = retrieval_factors(args, kind, headline, len(layers_of(encoder)))
    training_args.output_dir = training_args.output_dir or default_output_dir(
        "retrieval", lineage, task.name, training_args.seed, factors
    )
    check_rooms(collections, layers, embed, training_args.output_dir)
    run = Run(
        phase="retrieval", task=task.name, lineage=lineage, args=args, training_args=training_args,
        data=[record for collection in collections for record in collection.records],
        others=transferred | ({"compare_with": base.about["fingerprint"]} if base else {}), argv=argv, started_at=started_at,
    )  # fmt: skip
    if args.dry_run:
        return plan_retrieval(run, encoder, collections, layers, argv)
    if not run.open():
        return

    # 5. Collection by collection: texts -> vectors of every layer, in one pass -> search -> scores.
    device, every = training_args.device, range(len(layers_of(encoder)) + 1)
    if base:
        embed_other = Embedder(in_precision(base.encoder, training_args), base.tokenizer, args, training_args)
    scores, by_layer, cka, seen = {}, {}, {}, load_seen(args.model_name_or_path, lineage)
    for collection in collections:
        compared = sides_compared(collection, collections) if base else ()
        with embeddings_folder(run.output_dir) as folder:
            vectors = {
                name: embed(name, side, every if name in compared else layers, folder)
                for name, side in collection.sides.items()
            }
            found = {}
            for layer in layers:
                of_layer = {name: of[layer] for name, of in vectors.items()}
                found[layer] = kind.search(task, collection, of_layer, args, device)
            for name in compared:
                theirs = embed_other(name, collection.sides[name], every, folder)
                cka[name] = cka_by_layer(vectors[name], theirs)
                values = " ".join(f"{value:.2f}" for value in cka[name])
                say(f"{task.name} {name}: CKA with {base.about['model']} from layer 0 up {values}")
        counts, in_pool = seen_in_collection(collection, seen) if is_main_process() else ({}, None)
        for language in collection.languages:
            scores[language], predictions = found[headline][language]
            by_layer[language] = curves({layer: each[language][0] for layer, each in found.items()})
            scores[language] |= described(collection.sides.get(language), embed)
            scores[language]["seen_in_training"] = counts.get(language)
            say(f"{task.name} {language}: {task.metric.headline} {scores[language][task.metric.headline]:.1f}")
            if is_main_process():
                kind.write(run.folder("predictions", task.name), language, predictions, collection)

    # 6. run.json: what the report reads.
    if is_main_process():
        name, zero_shot = task.metric.headline, zero_shot_languages(scores, lineage)
        results = {"split": "test", "metric": name, "layer": headline, "pooling": args.pooling, "scores": scores}
        results |= {"layers": layers, "by_layer": by_layer} if len(layers) > 1 else {}
        results |= {"zero_shot_languages": zero_shot, "averages": averages(scores, name, zero_shot)}
        results |= {"compared_with": base.about, "cka": cka} if base else {}
        results |= {"factors": factors, "warnings": untrained_for(task, lineage) + prefixes, **transferred}
        results |= {"missing_languages": missing, "seen_candidates": in_pool}
        warn_of_seen(task.name, scores)
        run.close(results)


def described(side, embed):
    """Number of texts of a language's own side, and how well vocabulary and length fit; nothing where there is no such side."""
    if side is None:
        return {}
    covered = coverage([(text,) for text in side.texts], embed.tokenizer, embed.settings(side)["max_length"])
    return {"examples": len(side.texts), **covered}


if __name__ == "__main__":
    run_script(main)
