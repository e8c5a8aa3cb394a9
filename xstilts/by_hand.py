"""Where to get by hand what the hub does not have: configs/by_hand.yaml, and the pages of configs/datasets.yaml."""

from xstilts.base import CONFIGS
from xstilts.citations import dataset_facts, read_entries
from xstilts.shapes import IfThere

PATH = CONFIGS / "by_hand.yaml"
ENTRY = {"why": IfThere(str), "url": str, "how": IfThere(str)}
NOT_THERE = ("by hand", "unknown")  # kinds of hub_errors.REASONS that an entry's `why` explains


def advice(task, kind, split=None):
    """(why a task's rows are not on the hub, None where `kind` says it; the page where they are; what to do there, or None)."""
    entries = read_entries(PATH, ENTRY)
    entry = entries.get(f"{task} {split}", entries.get(task, {}))
    facts = dataset_facts(task) or {"url": "the publisher's page"}
    why = entry.get("why") if kind in NOT_THERE else None
    return why, entry.get("url", facts["url"]), entry.get("how")
