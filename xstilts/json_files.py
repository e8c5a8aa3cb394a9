"""JSON files that are there whole or not at all, and whose content is what was written: a checksum says so."""

import contextlib
import hashlib
import json
import os
from pathlib import Path

from xstilts.errors import UserError

CHECKSUM = "checksum"


def write_json(path, content):
    """Write a dictionary to a JSON file so that it is there whole or not at all, with a checksum of itself.

    Half of a surrogate pair, which UTF-8 cannot hold (names of files may have one), is written as an escape.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    plain = json.loads(json.dumps(content, default=str))
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
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not valid JSON ({error}); delete it or its directory") from error
    given = content.pop(CHECKSUM, None) if isinstance(content, dict) else None
    if given is not None and given != checksum(content):
        raise UserError(
            f"{path} was changed after it was written: its checksum is another one; delete it or its directory, and run again"
        )
    return content


def checksum(content):
    """16 hexadecimal digits of what JSON holds, whatever its layout and the order of keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
