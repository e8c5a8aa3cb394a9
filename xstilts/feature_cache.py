"""Features are made once for the same examples, tokenizer and lengths, whatever phase, seed or run asks for them.

They lie in an Arrow file (`xstilts/arrow_files.py`) named after a digest of everything they depend on, the code that makes them
included: nothing has to be cleared when a file, a task or the code changes.
"""

import ast
import contextlib
import gc
import hashlib
import json
import os
import sys
import time
from functools import cache
from importlib.metadata import version

import pyarrow
from datasets.fingerprint import Hasher

from xstilts.arrow_files import BATCH, kept, write
from xstilts.base import UserError, print_main
from xstilts.progress import Progress

STARTED = time.time()
ONE_BYTE = ("attention_mask", "token_type_ids")
LIBRARIES = ("datasets", "tokenizers", "transformers")


def kept_features(rows, content, name, function, options):
    """`function(batch, indices, **options)` of all rows, in a file whose name begins with `name`.

    content   what names the rows and their order
    options   `tokenizer`, and others that JSON can hold
    """
    digest = digest_of(content, function, options)

    def compute(path):
        found = write(path, lambda: _tables(rows, name, function, options))
        if not len(found):
            raise UserError(f"{name}: the tokenizer knows no piece of its {len(rows):,} examples")
        return found

    if changed := changed_code(module_of(function)):
        print_main(f"{changed} was changed while it ran: features are not kept")
        return compute(None)
    return kept(f"{name}-{digest}", compute)


def _tables(rows, name, function, options):
    """Arrow tables of the features of BATCH rows each."""
    with Progress(len(rows), f"tokenizing {name}", "examples") as progress:
        for start, batch in zip(range(0, len(rows), BATCH), rows.iter(BATCH), strict=True):
            indices = [*range(start, min(start + BATCH, len(rows)))]
            with collector_paused():
                columns = pyarrow.table(dict(function(batch, indices, **options)))
            fields = [field.with_type(_narrow(field.name, field.type)) for field in columns.schema]
            if len(columns):
                yield columns.cast(pyarrow.schema(fields))
            progress.update(len(indices))


@contextlib.contextmanager
def collector_paused():
    """Without Python's search for cycles, which would go through the many lists of a batch again and again: up to half of the
    time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _narrow(name, kind):
    """Token ids, offsets and the like need four bytes a number, masks one; numbers that stand alone may have eight."""
    if not pyarrow.types.is_list(kind):
        return kind
    inner = _narrow(name, kind.value_type)
    small = pyarrow.int8() if name in ONE_BYTE else pyarrow.int32()
    return pyarrow.list_(small if pyarrow.types.is_int64(inner) else inner)


def digest_of(content, function, options):
    """16 hexadecimal digits of all that features depend on."""
    plain = {key: value for key, value in options.items() if key != "tokenizer"}
    code = [text for _, _, text in code_of(module_of(function))]
    versions = [version(library) for library in LIBRARIES]
    parts = [content, tokenizer_digest(options["tokenizer"]), Hasher.hash(function), plain, code, versions, BATCH]
    return _digest(parts)[:16]


def tokenizer_digest(tokenizer):
    """A digest of what a tokenizer makes of a text, the same wherever it was loaded from and whatever it was called with."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return Hasher.hash(tokenizer)
    backend.no_truncation()  # of its last call; the next one sets both anew
    backend.no_padding()
    names = ("model_input_names", "truncation_side", "split_special_tokens", "special_tokens_map")
    return _digest([type(tokenizer).__name__, [getattr(tokenizer, name) for name in names], backend.to_str()])


def _digest(parts):
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def module_of(function):
    """Name of the module that a function, or what a partial function calls, is written in."""
    return getattr(function, "func", function).__module__


def changed_code(module):
    """The file of a module, or of one that it imports, that was changed after the process began, if there is one: what runs may
    be the older text, and its results would be taken for those of the newer one."""
    return next((path for path, modified, _ in code_of(module) if modified > STARTED), None)


@cache
def code_of(module):
    """(path, time of modification, text) of the files of a module and of what it imports, directly or not, from its own package
    and this one."""
    packages, found, todo = {module.split(".")[0], __name__.split(".")[0]}, {}, [module]
    while todo:
        name = todo.pop()
        path = getattr(sys.modules.get(name), "__file__", None)
        if name not in found and name.split(".")[0] in packages and path:
            with open(path, encoding="utf-8") as file:
                found[name] = (path, os.path.getmtime(path), file.read())
            todo += imported(found[name][-1])
    return [found[name] for name in sorted(found)]


def imported(text):
    """Names in the imports of a source text, of modules and of what is in them."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{each.name}" for each in node.names)
