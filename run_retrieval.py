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
from functools import partial

from transformers import TrainingArguments

from tasks import load_task
from xstilts.base import is_main_process, on_main_process, print_main, run_script
from xstilts.checkpoint import check_length, load_tokenizer
from xstilts.coverage import coverage
from xstilts.dry_run import plan_retrieval
from xstilts.layers import layers_of
from xstilts.lineage import default_output_dir, lineage_of, parts_read, zero_shot_languages
from xstilts.loading import trust
from xstilts.metrics import averages
from xstilts.options import (
    DataOptions,
    LanguageOptions,
    RetrievalOptions,
    RunOptions,
    TaskOptions,
    TransferOptions,
)
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
from xstilts.runs import parse_args
from xstilts.seen_rows import load_seen, seen_in_collection, warn_of_seen
from xstilts.sharding import check_sharding
from xstilts.similarity import cka_by_layer, load_compared, sides_compared
from xstilts.task import RetrievalTask, Task
from xstilts.transfer import check_transfer, load_for_retrieval, transfer_record


@dataclass(kw_only=True)
class RetrievalArguments(TaskOptions, TransferOptions, DataOptions, LanguageOptions, RetrievalOptions, RunOptions):
    """The options of this script; of the Trainer's the batch size, the device and the precision of evaluation matter here."""


def main(argv=None):
    """Run the phase; `argv` is the command line without the program's name."""
    # 1. Arguments. The seed is that of the encoder's own run: nothing is drawn here.
    started_at = time.time()
    args, training_args = parse_args((RetrievalArguments, TrainingArguments), "retrieval", argv, check=task_of)
    check_sharding(args, training_args, trains=False)
    trust(args.model_name_or_path, args.trust_remote_code)
    task, kind = task_of(args)
    check_retrieval(args, training_args, kind)
    for warning in (prefixes := one_prefix(args, kind)):  # now, too: the run may take an hour
        print_main(f"warning: {warning}")
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
        "retrieval", lineage, task.name, training_args.seed, factors, parts_read(args)
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
    every = range(len(layers_of(encoder)) + 1)
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
            search = partial(search_layers, kind, task, collection, vectors, layers, args, training_args.device)
            found = on_main_process(search)  # exact search keeps one device busy; the others would repeat it
            for name in compared:
                theirs = embed_other(name, collection.sides[name], every, folder)
                cka[name] = cka_by_layer(vectors[name], theirs)
                values = " ".join(f"{value:.2f}" for value in cka[name])
                print_main(f"{task.name} {name}: CKA with {base.about['model']} from layer 0 up {values}")
        counts, in_pool = seen_in_collection(collection, seen) if is_main_process() else ({}, None)
        for language in collection.languages:
            scores[language], predictions = found[headline][language]
            by_layer[language] = curves({layer: each[language][0] for layer, each in found.items()})
            scores[language] |= described(collection.sides.get(language), embed)
            scores[language]["seen_in_training"] = counts.get(language)
            score = scores[language][task.metric.headline]
            print_main(f"{task.name} {language}: {task.metric.headline} {score:.1f} at layer {headline}")
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


def search_layers(kind, task, collection, vectors, layers, args, device):
    """{layer: {language: (scores, predictions)}} of a collection, searched with {side: {layer: vectors}}."""
    return {
        layer: kind.search(task, collection, {name: of[layer] for name, of in vectors.items()}, args, device)
        for layer in layers
    }


def task_of(args):
    """(the task, its RetrievalType). Raises UserError for one that is none."""
    task = load_task(args.task, (Task, RetrievalTask))
    return task, type_of(task)


def described(side, embed):
    """Number of texts of a language's own side, and how well vocabulary and length fit; nothing where there is no such side."""
    if side is None:
        return {}
    covered = coverage([(text,) for text in side.texts], embed.tokenizer, embed.settings(side)["max_length"])
    return {"examples": len(side.texts), **covered}


if __name__ == "__main__":
    run_script(main)
