"""Texts -> vectors of any layers of an encoder, in memory-mapped files that another run can use again.

Below a folder there is one directory per side of a task, named by a key of everything its vectors depend on: checkpoint, texts,
pooling, length, prefix, precision. It holds `layer-<index>.npy`, (texts, width) float32, and `about.json`, which is written last.
"""

import contextlib
import hashlib
import json
import os
import shutil
import time
import uuid
from functools import partial
from pathlib import Path

import numpy as np
import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list

from xstilts.claims import LOOK, claim
from xstilts.classification import padded
from xstilts.errors import UserError, is_main_process, say
from xstilts.evaluation import batches_by_length
from xstilts.examples import fingerprint
from xstilts.json_files import read_json, write_json
from xstilts.pooling import pooled_states
from xstilts.processes import by_main, together
from xstilts.progress import Progress
from xstilts.sealed import file_digest, flush, remove_left

CHUNK = 2**15  # texts that a process tokenises and sorts by length at a time
TOKENS = {"cpu": 2**10, "cuda": 2**14}  # of a batch at most, padding included: what keeps a CPU, a GPU busy
HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}  # precisions of autocast; others are those of the weights
ABOUT = "about.json"


def vectors_of(name, side, encoder, tokenizer, layers, settings, folder):
    """{layer: (texts, width) float32 numpy.memmap, in the order of the texts} of one Side of a task.

    Every text goes through the encoder once for all `layers` that the folder does not hold yet, with others of its length, in
    batches of at most "batch_size" texts and `TOKENS`. Several processes share the texts and each gets all vectors; the folder
    must be one that all of them see.

    settings    {"checkpoint", "pooling", "max_length", "prefix", "precision", "batch_size"}; `checkpoint` identifies the weights,
                "precision" bf16 and fp16 are autocast's
    Raises UserError for a folder of other vectors or damaged ones, for too little room on the disk, and for a text without any
    token to pool over.
    """
    what, place = _place(name, side, settings, folder)
    shape = (len(side.texts), encoder.config.hidden_size)
    with contextlib.ExitStack() as claims:
        begin = partial(_begin, claims, place, what, layers, 4 * shape[0] * shape[1])
        while (missing := by_main(begin)) is None:
            time.sleep(LOOK)  # here, not in `begin`: processes that wait for the first one give up after a while
        if missing:
            with _new_files(place, missing, shape) as files:
                together(partial(_fill, files, side.texts, encoder, tokenizer, settings, name))
            if is_main_process():
                _describe(place, {**what, "rows": shape[0]}, missing)
            PartialState().wait_for_everyone()
    if found := [layer for layer in layers if layer not in missing]:
        say(f"{name}: vectors of {_listed(found)} are those in {place}")
    return {layer: _mapped(_file(place, layer), shape) for layer in layers}


def _begin(claims, place, what, layers, size):
    """Layers, of `size` bytes each, that are still to be computed, by this process alone until `claims` is closed; None while
    another one is at work there."""
    listed = _layers_there(place, what)
    if listed.issuperset(layers) and not _damaged(place, layers):
        return []
    check_room(place, size * len({*layers} - listed))
    try:
        mine = claim(place.with_name(f"{place.name}.claim"))
    except OSError:  # no claim can be made there; nothing depends on it
        mine = None
    if isinstance(mine, dict):
        return None
    if mine:
        claims.callback(mine.release)
    there = [layer for layer in layers if layer in _layers_there(place, what)]
    damaged = _damaged(place, there)
    for layer in damaged:
        say(f"{_file(place, layer)} is damaged; it is made anew")
    return [layer for layer in layers if layer not in there or layer in damaged]


def _damaged(place, layers):
    """Those of some layers whose files are not what was written."""
    digests = _digests(_about(place))
    return [layer for layer in layers if file_digest(_file(place, layer)) != digests[layer]]


def _describe(place, about, new):
    """Say in about.json what is there now, and what its files hold."""
    digests = {**_digests(_about(place)), **{layer: file_digest(_file(place, layer)) for layer in new}}
    flush(place, [_file(place, layer).name for layer in new])
    write_json(place / ABOUT, {**about, "layers": sorted(digests), "digests": digests})


def _about(place):
    """What a directory says of its vectors; None where it says nothing, or nothing that can be read, and all is made anew."""
    try:
        return read_json(place / ABOUT)
    except UserError as error:
        say(f"{error}; here it is made anew")
        return None


def _digests(about):
    """{layer: digest of its file} that an about.json names."""
    return {int(layer): digest for layer, digest in (about or {}).get("digests", {}).items()}


def _file(place, layer):
    return place / f"layer-{layer}.npy"


def layers_there(name, side, settings, folder):
    """Layers whose vectors a folder says it holds. Raises UserError as `vectors_of` does."""
    what, place = _place(name, side, settings, folder)
    return _layers_there(place, what)


def _place(name, side, settings, folder):
    """(what the vectors depend on, their directory)."""
    what = {key: value for key, value in settings.items() if key != "batch_size"} | {"texts": fingerprint(side.texts)}
    return what, Path(folder) / f"{name.replace(' ', '-')}-{_key(what)}"


def _key(what):
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:16]


def _listed(layers):
    return f"layer {layers[0]}" if len(layers) == 1 else f"{len(layers)} layers"


def _layers_there(place, what):
    """Layers that a directory says it holds and has files of. Raises UserError if it says that they are of something else."""
    if place.parent.exists() and not place.parent.is_dir():
        raise UserError(f"--embeddings_dir {place.parent} is not a folder")
    about = _about(place)
    if about and (other := [key for key, value in what.items() if about.get(key) != value]):
        raise UserError(
            f"{place} holds vectors of another {other[0]} ({about.get(other[0])}, not {what[other[0]]}); delete it"
        )
    return {layer for layer in _digests(about) if _file(place, layer).exists()}


def check_room(folder, size):
    """Raise UserError if a folder's disk has no room for `size` bytes."""
    existing = next(parent for parent in (Path(folder).absolute(), *Path(folder).absolute().parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    if size > free:
        raise UserError(
            f"{folder}: the vectors take {size / 2**30:,.1f} GiB and the disk has {free / 2**30:,.1f} GiB left; ask for fewer "
            "--layers or --languages, or give --embeddings_dir on another disk"
        )


def check_memory(size, meminfo="/proc/meminfo"):
    """Raise UserError if fewer than `size` bytes of memory are available, where the system says how many are."""
    if not os.path.exists(meminfo):
        return
    with open(meminfo, encoding="ascii") as file:
        free = next((int(line.split()[1]) * 2**10 for line in file if line.startswith("MemAvailable")), size)
    if size > free:
        raise UserError(
            f"the vectors that are searched at once take {size / 2**30:,.1f} GiB of memory, and {free / 2**30:,.1f} GiB are "
            "available; a smaller encoder or a machine with more memory is needed"
        )


@contextlib.contextmanager
def _new_files(place, layers, shape):
    """{layer: memory-mapped array}, under names of their own until all is written; the first process makes them."""
    state = PartialState()
    if os.environ.get("LOCAL_WORLD_SIZE", str(state.num_processes)) != str(state.num_processes):
        raise UserError("processes on several machines cannot write into one file of vectors; use one machine")
    name = uuid.uuid4().hex
    name = broadcast_object_list([name])[0] if state.num_processes > 1 else name
    parts = {layer: place / f".layer-{layer}.{name}.partial" for layer in layers}
    try:
        if state.is_main_process:
            place.mkdir(parents=True, exist_ok=True)
            remove_left(place, ".layer-*.partial")
            for path in parts.values():
                np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
                _reserve(path)
        state.wait_for_everyone()
        files = {layer: np.load(path, mmap_mode="r+") for layer, path in parts.items()}
        yield files
        for file in files.values():
            file.flush()
        state.wait_for_everyone()
        if state.is_main_process:
            for layer, path in parts.items():
                os.replace(path, _file(place, layer))
    finally:
        if state.is_main_process:
            for path in parts.values():
                path.unlink(missing_ok=True)


def _reserve(path):
    """Take the room on the disk that a sparse file will need: writing to a mapped page that has none would kill the process."""
    with open(path, "r+b") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, os.path.getsize(path))


def _fill(files, texts, encoder, tokenizer, settings, name):
    """Write the vectors of this process's share of the texts: every n-th one, so that the shares are about as long."""
    state, device = PartialState(), next(encoder.parameters()).device
    own, half = range(state.process_index, len(texts), state.num_processes), HALF.get(settings["precision"])
    limit = TOKENS.get(device.type, TOKENS["cuda"])
    with (
        Progress(len(texts), f"embedding {name}", "texts") as progress,
        torch.inference_mode(),
        torch.autocast(device.type, half, enabled=half is not None),
    ):
        for start in range(0, len(own), CHUNK):
            numbers = own[start : start + CHUNK]
            rows = token_rows([texts[number] for number in numbers], tokenizer, settings)
            _check_rows(rows, numbers, texts, settings["pooling"])
            lengths = [len(row["input_ids"]) for row in rows]
            for batch in batches_by_length(lengths, settings["batch_size"], limit):
                vectors = _vectors([rows[index] for index in batch], [*files], encoder, tokenizer, settings["pooling"])
                for file, found in zip(files.values(), vectors, strict=True):
                    file[[numbers[index] for index in batch]] = found
                progress.update(len(batch) * state.num_processes)


def _vectors(rows, layers, encoder, tokenizer, pooling):
    """(layers, batch, width) float32 array. All layers leave a GPU at once: each copy waits until it has done all before."""
    inputs, device = padded(rows, tokenizer), next(encoder.parameters()).device
    inputs = {key: value.to(device, non_blocking=True) for key, value in inputs.items()}
    counted = inputs["attention_mask"]
    if pooling == "mean_no_special":
        counted = counted - _specials(rows, counted.shape).to(device, non_blocking=True)
    pooled = pooled_states(encoder, layers, pooling, inputs, counted)
    return torch.stack([*pooled.values()]).cpu().numpy()


def _specials(rows, shape):
    """(batch, tokens) 1 for every special token, padding not among them."""
    table = np.zeros(shape, np.int64)
    for line, row in zip(table, rows, strict=True):
        line[: len(row["special_tokens_mask"])] = row["special_tokens_mask"]
    return torch.from_numpy(table)


def token_rows(texts, tokenizer, settings):
    """What the encoder reads of each text, and which tokens are specials. Texts that are too long lose their end, as in training
    (`dual_encoder.features`)."""
    prefixed = [settings["prefix"] + text for text in texts]
    options = {"truncation": True, "max_length": settings["max_length"], "return_special_tokens_mask": True}
    encoded = tokenizer(prefixed, **options)
    return [dict(zip(encoded, values, strict=True)) for values in zip(*encoded.values(), strict=True)]


def _check_rows(rows, numbers, texts, pooling):
    """Raise UserError for a text without any token to pool over; `numbers` are the places of the rows among the texts."""
    for number, row in zip(numbers, rows, strict=True):
        if pooling == "mean_no_special" and all(row["special_tokens_mask"]):
            raise UserError(
                f"text {number + 1} has no token to pool over: {texts[number]!r}; --pooling mean counts specials too"
            )


def _mapped(path, shape):
    try:
        vectors = np.load(path, mmap_mode="c")  # copy on write: torch wants arrays that it may write to
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}); delete {path.parent}") from error
    if vectors.shape != shape or vectors.dtype != np.float32:
        raise UserError(f"{path} holds {vectors.dtype} {vectors.shape} instead of {shape}; delete {path.parent}")
    return vectors
