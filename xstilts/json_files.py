"""JSON files that are there whole or not at all."""

import json
import os
from pathlib import Path

from xstilts.errors import UserError


def write_json(path, content):
    """Write a JSON file so that it is there whole or not at all."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    with open(partial, "w", encoding="utf-8") as file:
        json.dump(content, file, indent=1, ensure_ascii=False, default=str)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)


def read_json(path):
    """Content of a JSON file, None where there is no file. Raises UserError for one that is not JSON."""
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except FileNotFoundError:
        return None
    except json.JSONDecodeError as error:
        raise UserError(f"{path} is not valid JSON ({error}); delete it or its directory") from error
