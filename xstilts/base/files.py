"""JSON and YAML files. One that is not what it should be is named in one line."""

import contextlib
import hashlib
import json
import os
from pathlib import Path

import yaml

from xstilts.base.messages import UserError

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
LFS_POINTER = b"version https://git-lfs.github.com/spec/"
CHECKSUM = "checksum"
CHECKED = "checked"  # the first key: the file has a checksum, even where its end was cut off


def check_pointer(path):
    """Raise UserError for a Git LFS pointer in place of a file, which its reader would call damaged."""
    with open(path, "rb") as file:
        if file.read(len(LFS_POINTER)) == LFS_POINTER:
            raise UserError(f"{path} is a Git LFS pointer, not the file itself; run `git lfs pull` in that folder")


def write_json(path, content):
    """Write a dictionary to a JSON file that is there whole or not at all, with a checksum of its content.

    Half of a surrogate pair (in names of files) is written as an escape.
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
    """The content of a JSON file without its checksum; None where there is no file.

    Raises UserError for a file that is not JSON, or was changed after `write_json` wrote it. A file without a checksum is
    somebody else's and is read as it is.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        if content is None:  # the same as no file
            raise ValueError("it is null")
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError) as error:
        check_pointer(path)
        raise UserError(f"{path} is not valid JSON ({str(error).split(';')[0]}); delete it or its directory") from error
    if not isinstance(content, dict):
        return content
    guarded, given = CHECKED in content or CHECKSUM in content, content.pop(CHECKSUM, None)
    if guarded and given != checksum(content):
        raise UserError(
            f"{path} was changed after it was written (wrong checksum); delete it or its directory, and run again"
        )
    content.pop(CHECKED, None)
    return content


def checksum(content):
    """16 hexadecimal digits of what JSON holds, whatever its layout and the order of keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


class _Loader(yaml.SafeLoader):
    """Dates stay text, and a key that is not text, or that a mapping has twice, is an error."""

    yaml_implicit_resolvers = {  # noqa: RUF012 (as in the class above)
        first: [(tag, pattern) for tag, pattern in found if tag != "tag:yaml.org,2002:timestamp"]
        for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node, deep=False):
        seen = set()
        for key, _ in node.value:
            wrong = "is there twice" if key.value in seen else "is not text; quote it"
            if key.value in seen or not key.tag.endswith((":str", ":merge")):
                raise yaml.constructor.ConstructorError(None, None, f"the key {key.value} {wrong}", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def read_yaml(path):
    """The content of a YAML file. Raises UserError, one line with the file, for what is not YAML, and OSError for a file that
    cannot be read."""
    check_pointer(path)
    try:
        return yaml.load(Path(path).read_bytes(), _Loader)  # noqa: S506 (a SafeLoader)
    except (yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        reason = " ".join(str(error).replace("<byte string>", "it").split())
        raise UserError(f"{path} is not valid YAML ({reason[:300]})") from error
