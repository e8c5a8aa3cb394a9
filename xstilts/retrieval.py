"""What a run of run_retrieval.py embeds and how: its layers, pooling, lengths and prefixes, and the scores of every layer."""

import contextlib
import shutil

import torch
from accelerate import PartialState

from xstilts import ranking
from xstilts.checkpoint import model_fingerprint
from xstilts.embeddings import check_memory, check_room, vectors_of
from xstilts.errors import UserError, is_main_process, say
from xstilts.layers import layers_of
from xstilts.pooling import check_pooling, parse_states
from xstilts.task import Task

TEMPORARY = ".embeddings"  # the folder in --output_dir for vectors that nobody asked to keep


def type_of(task):
    """The RetrievalType of a RetrievalTask, or of a Task that is searched for its answers. Raises UserError for others."""
    if isinstance(task, Task) and task.retrieval is None:
        raise UserError(f"--task {task.name} is a Task; it runs with run_intermediate.py or run_target.py")
    return ranking.TYPE if isinstance(task, Task) else task.type


def choose_states(encoder, kind, args):
    """(the layers to embed with, the one whose scores are the run's); fills in `args.pooling` and `args.max_query_length`.

    The run's scores are those of the layer that the protocol names, if it is among `--layers`, otherwise of the highest: the best
    one is not known before the test data have been looked at.
    """
    depth = len(layers_of(encoder))
    if args.neighborhood < 1:
        raise UserError(f"--neighborhood {args.neighborhood} must be 1 or more")
    args.pooling = args.pooling or kind.pooling
    args.max_query_length = args.max_query_length or args.max_seq_length
    layers = parse_states(args.layers, depth, kind.layer(depth))
    check_pooling(args.pooling, layers, encoder)
    headline = kind.layer(depth) if kind.layer(depth) in layers else layers[-1]
    states = f"hidden_states[{headline}]" + ("" if len(layers) == 1 else f" and {len(layers) - 1} others")
    say(f"{args.pooling} of {states}, in an encoder of {depth} layers")
    return layers, headline


def retrieval_factors(args, kind, headline, depth):
    """What makes a retrieval run another one than the default, in words for its directory and for reports."""
    found = {
        f"layer{headline}": headline != kind.layer(depth),
        (args.pooling or "").replace("_", "-"): args.pooling != kind.pooling,
        "prefixed": args.query_prefix or args.document_prefix,
    }
    return [factor for factor, holds in found.items() if holds]


def embedder(encoder, tokenizer, args, training_args, fingerprints):
    """(name, Side, layers, folder) -> `embeddings.vectors_of` with what the arguments say.

    fingerprints    identify the weights of the encoder; None among them is a model that cannot be told from others
    """
    if args.embeddings_dir and None in fingerprints.values():
        raise UserError("--embeddings_dir: the model has no commit on the hub to know its vectors by; give a directory")
    lengths = {"query": args.max_query_length, "document": args.max_seq_length}
    prefixes = {"query": args.query_prefix, "document": args.document_prefix}

    def embed(name, side, layers, folder):
        settings = {
            "checkpoint": fingerprints,
            "pooling": args.pooling,
            "max_length": lengths[side.role],
            "prefix": prefixes[side.role],
            "precision": str(next(encoder.parameters()).dtype),
            "batch_size": training_args.eval_batch_size,
        }
        return vectors_of(name, side, encoder, tokenizer, layers, settings, folder)

    return embed


def fingerprints_of(args, transferred):
    """What identifies the encoder of a run: the checkpoint, and of one of transferred layers where the rest comes from."""
    return {"model": model_fingerprint(args.model_name_or_path), **transferred}


def in_precision(encoder, training_args):
    """The encoder on its device, in the precision that `--bf16_full_eval` or `--fp16_full_eval` asks for."""
    half = torch.bfloat16 if training_args.bf16_full_eval else torch.float16 if training_args.fp16_full_eval else None
    return encoder.to(training_args.device, half)


@contextlib.contextmanager
def embeddings_folder(args, run):
    """Where vectors go: `--embeddings_dir`, or a folder that is gone afterwards."""
    if args.embeddings_dir:
        yield args.embeddings_dir
        return
    folder = run.output_dir / TEMPORARY
    try:
        yield folder
        PartialState().wait_for_everyone()
    finally:
        if is_main_process():
            shutil.rmtree(folder, ignore_errors=True)


def check_rooms(collections, layers, encoder, args, run):
    """Raise UserError if the disk cannot hold the vectors, of all collections where they are kept, otherwise of the largest, or
    the memory not those that are searched at once: a collection's, of one layer, at length 1."""
    texts = [sum(len(side.texts) for side in each.sides.values()) for each in collections]
    size = encoder.config.hidden_size * 4
    check_room(args.embeddings_dir or run.output_dir, (sum if args.embeddings_dir else max)(texts) * len(layers) * size)
    check_memory(max(texts) * size)


def curves(by_layer):
    """[{layer: scores}] of one language -> {score: [its value at every layer]}, of scores that are numbers."""
    first = next(iter(by_layer.values()))
    return {
        name: [scores[name] for scores in by_layer.values()]
        for name, value in first.items()
        if isinstance(value, (int, float))
    }
