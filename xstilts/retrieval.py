"""What a run of run_retrieval.py embeds and how: its layers, pooling, lengths and prefixes, and the scores of every layer."""

import contextlib
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import PartialState

from xstilts import ranking
from xstilts.base import UserError, is_main_process, print_main
from xstilts.embeddings import check_memory, check_room, fits_memory, vectors_of
from xstilts.layers import layers_of
from xstilts.lineage import transfer_factors
from xstilts.pooling import check_pooling, parse_states
from xstilts.task import Task

TEMPORARY = ".embeddings"  # the folder in --output_dir for vectors that are not in memory
OPTIONS = {"neighborhood": 4, "threshold": None, "compare_with": None}


def type_of(task):
    """The RetrievalType of a RetrievalTask, or of a Task that is searched for its answers. Raises UserError for others."""
    if isinstance(task, Task) and task.retrieval is None:
        raise UserError(f"--task {task.name} is a Task; it runs with run_intermediate.py or run_target.py")
    return ranking.TYPE if isinstance(task, Task) else task.type


def check_retrieval(args, training_args, kind):
    """Raise UserError for options that cannot be, or that this kind of retrieval has no use for; fill in the defaults that depend
    on others."""
    args.pooling = args.pooling or kind.pooling
    args.max_query_length = args.max_seq_length if args.max_query_length is None else args.max_query_length
    for name, default in OPTIONS.items():
        if name not in kind.options and getattr(args, name) != default:
            raise UserError(f"--{name} has no effect with --task {args.task}, which is {kind.name}")
    if training_args.bf16 or training_args.fp16:
        raise UserError(
            "--bf16 and --fp16 are for training; here --precision says in which numbers the encoder computes"
        )


def choose_states(encoder, stored, kind, args):
    """(the layers to embed with, the one whose scores are the run's).

    The run's scores are those of the layer that the protocol names, if it is among `--layers`, otherwise of the highest: the best
    one is not known before the test data have been looked at. `stored`: see `pooling.check_pooling`.
    """
    depth = len(layers_of(encoder))
    layers = parse_states(args.layers, depth, kind.layer(depth))
    check_pooling(args.pooling, layers, encoder, stored)
    headline = kind.layer(depth) if kind.layer(depth) in layers else layers[-1]
    others = "" if len(layers) == 1 else f", and of {len(layers) - 1} other layers, which run.json has beside it"
    print_main(f"vectors: {args.pooling} of hidden_states[{headline}] of an encoder of {depth} layers{others}")
    if args.layers is None and headline < depth:
        print_main(
            f"note: layer {headline} is the paper's choice, for encoders that were not trained for retrieval; those that "
            f"were (E5, LaBSE) are read at the last one: --layers {depth}, E5 with its prefixes (docs/encoders.md)"
        )
    return layers, headline


def retrieval_factors(args, kind, headline, depth):
    """What makes a retrieval run another one than the default, in words for its directory and for reports."""
    prefixes = "-".join(dict.fromkeys(re.findall(r"\w+", f"{args.query_prefix} {args.document_prefix}")))
    compared = os.path.basename(os.path.normpath(args.compare_with or ""))
    found = {
        f"layer{headline}": headline != kind.layer(depth),
        f"{args.pooling}-pooling".replace("_", "-"): args.pooling != kind.pooling,
        f"prefix-{prefixes}": args.query_prefix or args.document_prefix,
        f"neighborhood{args.neighborhood}": args.neighborhood != OPTIONS["neighborhood"],
        f"threshold{args.threshold}": args.threshold is not None,
        f"compared-with-{compared}": args.compare_with,
    }
    return transfer_factors(args) + [factor for factor, holds in found.items() if holds]


def untrained_for(task, lineage):
    """Lines for run.json and the report on an encoder that is searched with without the training that the benchmark gives it."""
    if isinstance(task, Task) and not any(record.get("task") == task.name for record in lineage):
        return [f"{task.name} with an encoder that was not trained for it (run_target.py --task {task.name})"]
    return []


def one_prefix(args, kind):
    """Lines for run.json and the report on a prefix that only one side of translations gets, which both are sentences."""
    names = ("query_prefix", "document_prefix")
    given = [name for name in names if getattr(args, name)]
    if kind is ranking.TYPE or len(given) != 1:
        return []
    (other,), side = {*names} - {*given}, "English" if given == ["query_prefix"] else "foreign"
    return [f"--{given[0]} is put before the {side} sentences alone; for both sides give --{other} too"]


@dataclass(frozen=True)
class Embedder:
    """`embeddings.vectors_of` with what the arguments say."""

    encoder: object
    tokenizer: object
    args: object
    training_args: object

    def settings(self, side):
        """Everything that the vectors of a Side depend on, but its texts."""
        args, mixed, query = self.args, self.training_args.mixed_precision, side.role == "query"
        return {
            "pooling": args.pooling,
            "max_length": args.max_query_length if query else args.max_seq_length,
            "prefix": args.query_prefix if query else args.document_prefix,
            "precision": str(next(self.encoder.parameters()).dtype) if mixed == "no" else mixed,
        }

    def __call__(self, name, side, layers, folder):
        """{layer: vectors} of a Side; those that are not in memory lie in `folder`."""
        settings = {**self.settings(side), "batch_size": self.training_args.eval_batch_size}
        return vectors_of(name, side, self.encoder, self.tokenizer, layers, settings, folder)

    def size(self, side, layers):
        """Bytes of the vectors of a Side."""
        return len(side.texts) * len(layers) * self.encoder.config.hidden_size * 4


def in_precision(encoder, training_args):
    """The encoder on its device, its weights in the precision that `--bf16_full_eval` or `--fp16_full_eval` asks for."""
    half = torch.bfloat16 if training_args.bf16_full_eval else torch.float16 if training_args.fp16_full_eval else None
    return encoder.to(training_args.device, half)


@contextlib.contextmanager
def embeddings_folder(output_dir):
    """Where vectors lie that are not in memory: a folder that is gone afterwards, and was not there before."""
    folder = Path(output_dir) / TEMPORARY
    _remove(folder)
    try:
        yield folder
    finally:
        _remove(folder)


def _remove(folder):
    """All processes wait for each other before and after."""
    PartialState().wait_for_everyone()
    if is_main_process():
        shutil.rmtree(folder, ignore_errors=True)
    PartialState().wait_for_everyone()


def check_rooms(collections, layers, embed, output_dir):
    """Raise UserError if neither memory nor disk can hold the vectors of the largest collection, or the memory not those that are
    searched at once: a collection's, of one layer."""
    largest, at_once = (
        max(sum(embed.size(side, of) for side in each.sides.values()) for each in collections) for of in (layers, [0])
    )
    if PartialState().num_processes > 1 or not fits_memory(
        2 * largest
    ):  # the collection before is still there when the next one is embedded
        check_room(output_dir, largest)
    check_memory(at_once)


def curves(by_layer):
    """{layer: scores} of one language -> {score: [its value at every layer]}, of scores that are numbers or None."""
    return {
        name: [scores[name] for scores in by_layer.values()]
        for name, value in next(iter(by_layer.values())).items()
        if isinstance(value, int | float | None)
    }
