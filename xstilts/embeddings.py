"""Texts -> vectors of any layers of an encoder: in memory, or in a file where they do not fit or several processes share them."""

import os
import shutil
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import torch
from accelerate import PartialState

from xstilts.base import UserError, on_all_processes, on_main_process
from xstilts.classification import padded
from xstilts.evaluation import batches_by_length
from xstilts.pooling import pooled_states
from xstilts.progress import Progress

CHUNK = 2**15  # texts that a process tokenises and sorts by length at a time
TOKENS = {"cpu": 2**10, "cuda": 2**14}  # of a batch at most, padding included: what keeps a CPU, a GPU busy
HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}  # precisions of autocast; others are those of the weights


def vectors_of(name, side, encoder, tokenizer, layers, settings, folder):
    """{layer: (texts, width) float32 array, in the order of the texts} of one Side of a task.

    Every text goes through the encoder once for all `layers`, with others of its length, in batches of at most "batch_size" texts
    and `TOKENS`. Several processes share the texts and each gets all vectors, from one file.

    settings    {"pooling", "max_length", "prefix", "precision", "batch_size"}; "precision" bf16 and fp16 are autocast's
    folder      for that file, and for vectors too large for the memory; made where it is needed, and removed by the caller
    Raises UserError for too little room on the disk, and for a text without any token to pool over.
    """
    files = _arrays(layers, (len(side.texts), encoder.config.hidden_size), folder)
    on_all_processes(partial(_fill, files, side.texts, encoder, tokenizer, settings, name))
    return files


def _arrays(layers, shape, folder):
    """{layer: array of a shape}, to be filled by all processes together."""
    state, size = PartialState(), 4 * len(layers) * shape[0] * shape[1]
    if state.num_processes == 1 and fits_memory(size):
        return {layer: np.empty(shape, np.float32) for layer in layers}
    if os.environ.get("LOCAL_WORLD_SIZE", str(state.num_processes)) != str(state.num_processes):
        raise UserError("processes on several machines cannot write into one file of vectors; use one machine")
    path = on_main_process(partial(_new_file, folder, size))
    return dict(zip(layers, np.memmap(path, np.float32, "r+", shape=(len(layers), *shape)), strict=True))


def _new_file(folder, size):
    """Path of a new file of `size` bytes. Its room on the disk is taken at once: writing to a page of a sparse file that has none
    would kill the process."""
    check_room(folder, size)
    os.makedirs(folder, exist_ok=True)
    descriptor, path = tempfile.mkstemp(dir=folder)
    with open(descriptor, "wb") as file:
        file.truncate(size)
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
    return path


def fits_memory(size):
    """Whether `size` bytes are at most half of the memory that is available: searching takes some, too."""
    return 2 * size <= psutil.virtual_memory().available


def check_room(folder, size):
    """Raise UserError if a folder's disk has no room for `size` bytes."""
    existing = next(parent for parent in (Path(folder).absolute(), *Path(folder).absolute().parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    if size > free:
        raise UserError(
            f"{folder}: the vectors take {size / 2**30:,.1f} GiB and the disk has {free / 2**30:,.1f} GiB left; ask for fewer "
            "--layers or --languages, or give --output_dir on another disk"
        )


def check_memory(size):
    """Raise UserError if fewer than `size` bytes of memory are available."""
    free = psutil.virtual_memory().available
    if size > free:
        raise UserError(
            f"the vectors that are searched at once take {size / 2**30:,.1f} GiB of memory, and {free / 2**30:,.1f} GiB are "
            "available; a smaller encoder or a machine with more memory is needed"
        )


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
