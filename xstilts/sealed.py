"""Whether files are what was written: their sizes and digests, kept apart from them.

A digest is xxh3, 128 bits: it notices damage, not forgery, at the speed at which a disk reads.
"""

import contextlib
import errno
import hashlib
import os
import shutil
import time
from pathlib import Path

import numpy as np
import xxhash
from safetensors import SafetensorError

from xstilts.base import UserError

DAY = 86_400  # seconds
NO_FLUSH = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP)  # a file system's answers to what it does not have
TORCH_WRITES = ("inline_container", "PytorchStreamWriter", "iostream error")  # what torch says of a disk that is full


def contents(folder, patterns=("**/*",)):
    """{relative path: [bytes, digest]} of the files below a folder that match one of some glob patterns."""
    folder = Path(folder)
    files = sorted({path for pattern in patterns for path in folder.glob(pattern) if path.is_file()})
    return {path.relative_to(folder).as_posix(): [path.stat().st_size, file_digest(path)] for path in files}


def damage(folder, files):
    """In words, where a folder is not what `contents` said of it, "" where it is. More files than these may be there."""
    for name, (size, digest) in files.items():
        path = Path(folder, name)
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != size:
            return f"{name} has {path.stat().st_size:,} of {size:,} bytes"
        if file_digest(path) != digest:
            return f"{name} is not what was written"
    return ""


def file_digest(path):
    """32 hexadecimal digits of a file's content."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, xxhash.xxh3_128).hexdigest()


def arrays_of(path):
    """{name: array} of an .npz file. Raises ValueError, in one line, for whatever else it holds: objects are not loaded, and a
    damaged archive fails in a dozen ways."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except Exception as error:
        raise ValueError(" ".join(f"{type(error).__name__}: {error}"[:200].split())) from error


def flush(folder, names):
    """Have the system write files of a folder, and the folder itself, to the disk: they outlive a machine that fails. Of folders
    that the file system cannot write by themselves (mounted cloud folders, say) the files are what can be done."""
    for path in {Path(folder), *(Path(folder, name) for name in names), *(Path(folder, name).parent for name in names)}:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        except OSError as error:
            if not (path.is_dir() and error.errno in NO_FLUSH):
                raise
        finally:
            os.close(descriptor)


def share(folder, names):
    """Give weights the permissions that this user's new files have: safetensors writes them for their owner alone, and nobody
    else of a group could go on from a checkpoint."""
    mask = os.umask(0)
    os.umask(mask)
    for name in names:
        if name.endswith(".safetensors"):
            os.chmod(Path(folder, name), 0o666 & ~mask)


def remove_left(folder, pattern):
    """Remove files and folders that killed processes have left: those that nobody has written to for a day."""
    for path in Path(folder).glob(pattern):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > DAY:
                shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink()


@contextlib.contextmanager
def writing(place):
    """While files are written to a place: what goes wrong there becomes a UserError that names it, whichever library met it."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        raise _unwritten(place, error) from error
    except RuntimeError as error:
        if not any(sign in str(error) for sign in TORCH_WRITES):
            raise
        raise _unwritten(place, "the disk may be full") from error
    except Exception as error:
        if type(error) is not Exception:  # what tokenizers raises
            raise
        raise _unwritten(place, error) from error


def _unwritten(place, reason):
    reason = getattr(reason, "strerror", None) or reason
    return UserError(f"{place} cannot be written ({reason}); make room, and give the same command again: it goes on")
