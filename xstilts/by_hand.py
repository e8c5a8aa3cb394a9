"""Where to get by hand what the hub does not have: configs/by_hand.yaml, and the pages of configs/datasets.yaml."""

from xstilts.arguments import CONFIGS
from xstilts.citations import dataset_facts
from xstilts.errors import UserError
from xstilts.shapes import Each, IfThere, check_shape
from xstilts.yaml_files import read_yaml

PATH = CONFIGS / "by_hand.yaml"
ENTRY = {"why": IfThere(str), "url": str, "how": IfThere(str)}
NOT_THERE = ("by hand", "unknown")  # kinds of hub_errors.REASONS that an entry's `why` explains


def advice(task, kind, split=None):
    """(why a task's rows are not on the hub, None where `kind` says it; the page where they are; what to do there, or None)."""
    entries = _entries()
    entry = entries.get(f"{task} {split}", entries.get(task, {}))
    facts = dataset_facts(task) or {"url": "the publisher's page"}
    why = entry.get("why") if kind in NOT_THERE else None
    return why, entry.get("url", facts["url"]), entry.get("how")


def _entries():
    try:
        found = read_yaml(PATH)
    except OSError as error:
        raise UserError(f"{PATH} cannot be read ({error.strerror}); it comes with the project") from error
    check_shape(found, Each(ENTRY), PATH)
    return found
