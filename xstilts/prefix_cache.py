"""`--cache_frozen_prefix DIR`: the output of frozen layers, computed once per model input and read from disk ever after.

With the embeddings and the lowest layers frozen and without dropout, what these make of an input never changes. It is kept in
DIR/<key>/states.f32 (float32, `width` numbers per token, no padding) beside a prefix.json that says what it is. The key is a hash
of all that the numbers depend on: the weights and the configuration of this prefix, the precision, the tokenizer, and the inputs;
so epochs, seeds, heads and runs share what they have in common.

In training and selection, rows bring their states along and the model is entered above the frozen layers. Checkpoints, the
optimizer and random numbers are what they are without a cache; states agree with live ones up to rounding, since batches differ
in their padding.
"""

import hashlib
import json
import os
import shutil
import uuid
from functools import cached_property, partial
from itertools import chain, pairwise
from pathlib import Path

import numpy as np
import torch
import transformers

from xstilts.claims import alone
from xstilts.errors import UserError, say
from xstilts.evaluation import batches_by_length
from xstilts.frozen_prefix import OPTION, FrozenPrefix, check_enterable, frozen_layers, short_hash
from xstilts.json_files import read_json, write_json
from xstilts.mixing import has_text
from xstilts.progress import watched
from xstilts.sealed import contents, damage, flush, remove_left, writing

ABOUT, STATES = "prefix.json", "states.f32"
MEANING = "output of frozen layers: float32, `width` numbers per token, no padding, inputs in the order of the features"


# ---- what a script asks for -----------------------------------------------------------------------------------------


def check_prefix_cache(model, args, training_args):
    """Raise UserError where `--cache_frozen_prefix` is given and there is nothing to keep, or nothing that stays the same."""
    if args.cache_frozen_prefix is None:
        return
    given = [name for name in ("torch_compile", "bf16_full_eval", "fp16_full_eval") if getattr(training_args, name)]
    given += ["frozen_dropout"] * args.frozen_dropout
    if given:
        raise UserError(f"{OPTION} and --{given[0]} exclude each other; leave one of them out")
    if hasattr(args, "mlm_text_files") and has_text(args):
        raise UserError(f"{OPTION} and masked language modelling exclude each other: masks are drawn anew each time")
    frozen_layers(model)


def cache_prefix(trainer, directory):
    """Let a StiltsTrainer that is about to train read the output of its model's frozen prefix from `directory` (None: change
    nothing); what is not there yet is computed now, for training and selection, by one process while others wait.

    Raises UserError for an encoder that cannot be entered above its frozen layers, for files that are not what they should be,
    and where they would not fit on the disk.
    """
    if directory is None:
        return
    model, sets = trainer.model, feature_sets(trainer)
    prefix = FrozenPrefix(model, frozen_layers(model))
    with trainer.accelerator.autocast():
        task, owner, name = sets[0]
        check_enterable(prefix, inputs_of(trainer, task, [owner[name][0]]))
    names = trainer.processing_class.model_input_names
    record = {**prefix.record(), **_surroundings(trainer)}
    cached = [CachedRows(owner[name], names, record, directory) for _, owner, name in sets]
    for (task, owner, name), rows in zip(sets, cached, strict=True):
        is_there = "is there" if rows.folder.exists() else f"is computed once ({rows.bytes / 1e9:,.3f} GB)"
        say(
            f"{rows.folder}: output of the lowest {prefix.count} layers for {len(rows):,} rows of {task.name} {is_there}"
        )
        rows.ensure(partial(computed, trainer, prefix, task, rows), cached)
        owner[name] = rows
    trainer.collate = trainer.data_collator.collate = partial(collate, trainer.collate)


def _surroundings(trainer):
    """What states depend on beside the model and the inputs, as JSON types."""
    tokenizer, precision = trainer.processing_class, [trainer.args.mixed_precision, trainer.args.tf32]
    words = [sorted(tokenizer.get_vocab().items()), tokenizer.special_tokens_map, tokenizer.model_input_names]
    versions = {"transformers": transformers.__version__}
    return {"about": MEANING, "precision": precision, "tokenizer": short_hash(words), **versions}


def feature_sets(trainer):
    """(task, dictionary or list, where in it) of the training and selection features of a trainer."""
    if not hasattr(trainer, "parts"):
        places = ((vars(trainer.train_dataset), "features"), (vars(trainer), "eval_dataset"))
        return [(trainer.task, owner, name) for owner, name in places if owner[name] is not None]
    parts = trainer.parts.values()
    train = [(part.task, trainer.train_dataset.features, number) for number, part in enumerate(parts)]
    return train + [(part.task, vars(part), "dev_features") for part in parts]


# ---- the files ------------------------------------------------------------------------------------------------------


class CachedRows(torch.utils.data.Dataset):
    """Features whose rows have `states`, a (tokens, width) array for each of their inputs; a column by its name, as before.

    names     the columns that the encoder reads
    prefix    what it is: the frozen layers and what surrounds them, as JSON types
    """

    def __init__(self, features, names, prefix, directory):
        self.features, self.lengths, digest = features, [], hashlib.sha256()
        for batch in features.select_columns([*names]).iter(1000):
            digest.update(json.dumps(batch, sort_keys=True).encode())
            self.lengths += [[*map(len, ids)] if isinstance(ids[0], list) else [len(ids)] for ids in batch["input_ids"]]
        self.ends = np.cumsum([0, *map(sum, self.lengths)])  # of the rows, in tokens
        self.shape = (int(self.ends[-1]), prefix["width"])
        self.record = {**prefix, "features": digest.hexdigest()[:16], "rows": len(features), "tokens": self.shape[0]}
        self.bytes, self.folder = 4 * self.shape[0] * self.shape[1], Path(directory) / short_hash(self.record)

    def __len__(self):
        return len(self.features)

    def __getitem__(self, index):
        if isinstance(index, str):
            return self.features[index]
        bounds = self.ends[index] + np.cumsum([0, *self.lengths[index]])
        return {**self.features[index], "states": [self.memory[start:end] for start, end in pairwise(bounds)]}

    def with_format(self, *names):
        """The features with their columns in another format, for those who read columns."""
        return self.features.with_format(*names)

    @cached_property
    def memory(self):
        """(tokens, width) of all rows, mapped into memory."""
        return np.memmap(self.folder / STATES, np.float32, "r", shape=self.shape)

    def __getstate__(self):
        """Processes that load data map the file themselves."""
        return {name: value for name, value in vars(self).items() if name != "memory"}

    def ensure(self, batches, needed):
        """Compute what is not there yet; `batches()` yields (row numbers, their states), `needed` are all that this run keeps.

        A folder gets its name when it is whole; one that is damaged is named, and made anew. Of several processes one does it.
        """
        with alone(f"{self.folder}.claim", lambda: not self._damage()) as is_mine:
            if is_mine:
                self._fill(batches, sum(each.bytes for each in needed if not each.folder.exists()))
        about = read_json(self.folder / ABOUT)
        if {name: value for name, value in about.items() if name != "files"} != self.record:
            raise UserError(f"{self.folder / ABOUT} does not say what {OPTION} needs there; delete {self.folder}")

    def _damage(self):
        """In words, why the folder has to be made; "" if it is there and whole."""
        if not self.folder.exists():
            return "it is not there"
        try:
            about = read_json(self.folder / ABOUT)
        except UserError as error:
            return str(error)
        return damage(self.folder, about["files"]) if about else f"{ABOUT} is missing"

    def _fill(self, batches, needed):
        unfinished, directory = self.folder.with_suffix(f".{uuid.uuid4().hex}.partial"), self.folder.parent
        directory.mkdir(parents=True, exist_ok=True)
        remove_left(directory, "*.partial")
        if self.folder.exists():
            say(f"{self.folder} is damaged ({self._damage()}); it is made anew")
            shutil.rmtree(self.folder)
        if needed > (free := shutil.disk_usage(directory).free):
            raise UserError(
                f"{OPTION} {directory}: {needed / 1e9:,.3f} GB are needed and {free / 1e9:,.3f} GB are free"
            )
        try:
            with writing(f"{OPTION} {self.folder}"):
                unfinished.mkdir()
                self._write(unfinished, batches)
                os.replace(unfinished, self.folder)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)

    def _write(self, folder, batches):
        with open(folder / STATES, "wb") as file:
            for row, states in chain.from_iterable(batches()):
                file.seek(4 * int(self.ends[row]) * self.shape[1])
                file.write(states)
        flush(folder, [STATES])
        write_json(folder / ABOUT, {**self.record, "files": contents(folder)})


# ---- rows and batches -----------------------------------------------------------------------------------------------


def collate(plain, rows):
    """Feature rows -> a batch; with the `states` of rows that have them, (..., tokens, width), padded as the token ids are."""
    batch = plain(rows)
    if "states" not in rows[0]:
        return batch
    each = [*chain.from_iterable(row["states"] for row in rows)]
    shape = (*batch["input_ids"].shape, each[0].shape[-1])
    padded = np.zeros((len(each), *shape[-2:]), np.float32)
    for place, states in enumerate(each):
        padded[place, : len(states)] = states
    return {**batch, "states": torch.from_numpy(padded).view(shape)}


def inputs_of(trainer, task, rows):
    """Feature rows -> (inputs, tokens) tensors that the encoder reads."""
    batch, names = task.type.collate(rows, trainer.processing_class), trainer.processing_class.model_input_names
    return {name: batch[name].flatten(0, -2).to(trainer.args.device) for name in names}


def computed(trainer, prefix, task, cached):
    """Lists of (row number, the bytes of its states), in the batches of evaluation: rows of similar length, the longest first."""
    batches = batches_by_length([*map(max, cached.lengths)], trainer.args.eval_batch_size)
    with torch.inference_mode(), trainer.accelerator.autocast():
        for rows in watched(batches, "frozen layers"):
            inputs = inputs_of(trainer, task, [cached.features[row] for row in rows])
            padded = iter(prefix.states_of(inputs).cpu().numpy())
            cut = ([next(padded)[:length].tobytes() for length in cached.lengths[row]] for row in rows)
            yield [(row, b"".join(parts)) for row, parts in zip(rows, cut, strict=True)]
