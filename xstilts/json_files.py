"""JSON files that are there whole or not at all, and whose content is what was written: a checksum says so."""

import contextlib
import hashlib
import json
import os
from pathlib import Path

from xstilts.errors import UserError
from xstilts.text_files import check_pointer

CHECKSUM = "checksum"
CHECKED = "checked"  # at the other end of the file: says that a checksum belongs to it, wherever that went


def write_json(path, content):
    """Write a dictionary to a JSON file so that it is there whole or not at all, with a checksum of itself.

    Half of a surrogate pair, which UTF-8 cannot hold (names of files may have one), is written as an escape.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    plain = {CHECKED: True, **json.loads(json.dumps(content, default=str))}
    try:
        with open(partial, "w", encoding="utf-8", errors="backslashreplace") as file:
            json.dump({**plain, CHECKSUM: checksum(plain)}, file, indent=1, ensure_ascii=False)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.remove(partial)


def read_json(path):
    """Content of a JSON file without its checksum, None where there is no file.

    Raises UserError for one that is not JSON, and for one that was changed after it was written; one without a checksum is
    somebody else's and read as it is.
    """
    try:
        with open(path, encoding="utf-8") as file:
            content = json.load(file)
        if content is None:  # which stands for a file that is not there
            raise ValueError("it holds null")
        return _unchanged(content) if isinstance(content, dict) else content
    except FileNotFoundError:
        return None
    except _Changed as error:
        raise UserError(
            f"{path} was changed after it was written: its checksum is another one; delete it or its directory, and run again"
        ) from error
    except (ValueError, RecursionError) as error:
        check_pointer(path)
        reason = str(error).split(";")[0]
        raise UserError(f"{path} is not valid JSON ({reason}); delete it or its directory") from error


class _Changed(Exception):
    """The checksum of a file is not that of its content."""


def _unchanged(content):
    """Content without what guards it. Raises _Changed where that says so."""
    guarded = CHECKED in content or CHECKSUM in content
    given = content.pop(CHECKSUM, None)
    if guarded and given != checksum(content):
        raise _Changed
    content.pop(CHECKED, None)
    return content


def checksum(content):
    """16 hexadecimal digits of what JSON holds, whatever its layout and the order of keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
