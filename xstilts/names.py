"""Names of files and folders that come from data or from somebody's run.json: they stay in the folder that they are meant for."""

from xstilts.base import UserError

LONGEST = 200  # bytes; file systems take 255, and something may be put before and behind


def check_name(name, where):
    """Return `name` if it can be the name of one file or folder. Raises UserError, which begins with `where`, for anything else:
    no text, a path, a name with signs that none has, one that is too long for a file system."""
    if reason := _wrong_with(name):
        raise UserError(f"{where}: {_shown(name)} cannot be the name of a file: {reason}")
    return name


def _wrong_with(name):
    """Why a name cannot be one, in words; "" if it can."""
    if not isinstance(name, str) or not name.strip():
        return "it is no text"
    if "/" in name or "\\" in name or name.strip() in (".", ".."):
        return "it leads to another folder"
    if not name.isprintable():
        return "it has signs that cannot be printed"
    size = len(name.encode(errors="replace"))
    return f"it takes {size:,} bytes, more than {LONGEST}" if size > LONGEST else ""


def _shown(name):
    text = repr(name)
    return text if len(text) <= 60 else f"{text[:57]}...'"


def check_lineage(lineage, path):
    """Raise UserError where a lineage, as the run.json at `path` tells it, has a name that leads out of a folder: directories
    are called by base model, tasks and factors."""
    for record in lineage:
        own = [record.get(key) for key in ("base_model", "task", "benchmark")]
        for name in [*own, *(record.get("factors") or ()), *(record.get("tasks") or ())]:
            if name is not None:
                check_name(name, path)
