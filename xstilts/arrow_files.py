"""Arrow files in the cache folder of `datasets`: written once, whole or not at all, and read memory-mapped.

Of many processes that want the same one makes it and the others wait (`claims`); no content depends on that. Each writes to a
file of its own, and the first that is done gives it the name that all look for; those that come later read that one, because
replacing a file that others have mapped kills them on network file systems. A file ends with a digest of itself. What lies in the
folder may be deleted at any time; `.part` files are of processes that are at work or were killed, and go after a day.
"""

import contextlib
import os
import uuid
from functools import cache, partial
from itertools import chain, islice

import datasets
import pyarrow
import xxhash
from datasets import Dataset

from xstilts.base import first_line, print_main
from xstilts.claims import alone
from xstilts.sealed import remove_left

BATCH = 1_000  # rows that are in memory at a time
CHUNK = 2**20  # bytes that are read at a time
SEAL = 16  # bytes of a digest
END = b"\xff\xff\xff\xff\x00\x00\x00\x00"  # of a stream of Arrow batches; without it some may be missing


def folder():
    """Where the files lie; the environment variable HF_DATASETS_CACHE moves it."""
    return os.path.join(datasets.config.HF_DATASETS_CACHE, "xstilts")


def kept(name, compute):
    """The rows that `compute(path)` writes to an Arrow file, in this run or in an earlier one that gave them the same name.

    Where no file can be written they are those of `compute(None)`, in memory. Errors of `compute` come through.
    """
    path = os.path.join(folder(), f"{name}.arrow")

    def attempt():
        while (found := whole(path)) is None:
            with alone(f"{path}.claim", partial(os.path.exists, path)) as is_mine:
                if is_mine:
                    _make(name, path, compute)
        return found

    return _or_in_memory(attempt, compute)


def passing(name, compute):
    """The same for this process alone: the file loses its name once it is mapped, so that nothing is left of it at the end."""

    def attempt():
        with own_file(name) as own:
            return compute(own)

    return _or_in_memory(attempt, compute)


def _make(name, path, compute):
    with own_file(name) as own:
        compute(own)
        seal(own)
        if whole(own) is None:
            raise OSError(f"{path} was not written as it should be")
        publish(own, path)


@contextlib.contextmanager
def own_file(name):
    """A path in the folder that no other process writes to; what is there is removed afterwards."""
    os.makedirs(folder(), exist_ok=True)
    remove_left(folder(), "*.part")
    path = os.path.join(folder(), f"{name}.{uuid.uuid4().hex}.part")
    try:
        yield path
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.remove(path)


def _or_in_memory(attempt, compute):
    try:
        return attempt()
    except OSError as error:
        if error.filename and not os.path.abspath(error.filename).startswith(os.path.abspath(folder())):
            raise  # of what `compute` reads, a data file say
        _say_once(f"{folder()} keeps no file ({error.strerror or error}); HF_DATASETS_CACHE names another folder")
        return compute(None)


_say_once = cache(print_main)


def whole(path):
    """The rows of an Arrow file, memory-mapped; None where there is none, or a damaged one, which is removed."""
    if not os.path.exists(path):
        return None
    try:
        if reason := _damage(path):
            raise ValueError(reason)
        return Dataset.from_file(path)
    except FileNotFoundError:  # somebody else removed it
        return None
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        print_main(f"{path} cannot be read ({first_line(error)}); it is made anew")
    with contextlib.suppress(FileNotFoundError):
        os.remove(path)
    return None


def seal(path):
    """Put a digest of an Arrow file behind its end, where its readers do not look."""
    with open(path, "rb") as file:
        digest = _digest_of(file, os.path.getsize(path))
    with open(path, "ab") as file:
        file.write(digest)


def _damage(path):
    """In words, what is wrong with a sealed file; "" if nothing is."""
    size = os.path.getsize(path) - SEAL
    with open(path, "rb") as file:
        file.seek(max(0, size - len(END)))
        if file.read(len(END)) != END:
            return "it breaks off"
        digest = file.read()
        file.seek(0)
        return "" if _digest_of(file, size) == digest else "it is not what was written"


def _digest_of(file, size):
    digest = xxhash.xxh3_128()
    while size > 0 and (chunk := file.read(min(size, CHUNK))):
        digest.update(chunk)
        size -= len(chunk)
    return digest.digest()


def publish(own, path):
    """Give a finished file the name that others look for, unless one of them was first."""
    try:
        os.link(own, path)
    except FileExistsError:
        pass
    except OSError:  # no links on this file system
        os.replace(own, path)


def write(path, tables, schema=None):
    """Write the Arrow tables that `tables()` yields to a file, or to memory without a path; returns their rows, a Dataset.

    One table is in memory at a time. Without `schema` it is that of the first; where that does not tell the type of a column
    (empty lists only, say), all are written again when a later one does.
    """
    with pyarrow.OSFile(path, "wb") if path else pyarrow.BufferOutputStream() as stream:
        wider = _write(stream, tables(), schema)
    if wider is not None:
        return write(path, tables, wider)
    return Dataset.from_file(path) if path else Dataset.from_buffer(stream.getvalue())


def _write(stream, tables, schema):
    """Write tables of one schema; returns the schema that all so far would have fitted, if one does not."""
    tables = iter(tables)
    first = next(tables, None)
    if schema is None:
        schema = pyarrow.schema([]) if first is None else first.schema
    with pyarrow.ipc.new_stream(stream, schema) as writer:
        for table in chain([first] if first else [], tables):
            wider = pyarrow.unify_schemas([schema, table.schema], promote_options="permissive")
            if wider != schema:
                return wider
            writer.write_table(table.cast(schema))
    return None


def batches_of(rows):
    """Lists of BATCH rows of any origin, the last one shorter."""
    rows = iter(rows)
    while batch := [*islice(rows, BATCH)]:
        yield batch


def rows_of(rows):
    """The rows of a Dataset as dictionaries; they are converted in batches, several times faster than one at a time."""
    for batch in rows.iter(BATCH):
        for values in zip(*batch.values(), strict=True):
            yield dict(zip(batch, values, strict=True))
