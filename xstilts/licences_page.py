"""DIR/LICENCES.md: whose data and models lie in a folder, under which licences, and how they are cited."""

import os
from pathlib import Path

from xstilts.base import UserError
from xstilts.citations import dataset_facts
from xstilts.hub_rows import Piece, kept_record

UNKNOWN = "unknown: ask the publisher"


def write_licences(data_dir, contents):
    """Write the page for the rows and models that are there by the `contents` of a folder (see data_folder.py)."""
    rows, models = contents["rows"], contents["models"]
    tasks = dict.fromkeys(state["task"] for state in rows if "rows" in state)
    lines = [
        "# Licences and citations",
        "",
        "What prepare_data.py found or fetched for this folder. The licences are those of the publishers' pages when they were",
        "looked up; what holds is what the publishers say.",
        "",
        *_table(tasks, rows, data_dir),
        *_models([each for each in models if "revision" in each]),
        *_citations([*filter(None, (each["benchmark"] for each in contents["asked"])), *tasks]),
    ]
    path = Path(data_dir, "LICENCES.md")
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text("\n".join(lines) + "\n", encoding="utf-8")
    os.replace(partial, path)


def _table(tasks, rows, data_dir):
    if not tasks:
        return []
    lines = ["| task | data | licence | from |", "| --- | --- | --- | --- |"]
    for task in tasks:
        facts = dataset_facts(task) or {"title": task, "licence": UNKNOWN, "url": ""}
        title = f"[{_cell(facts['title'])}]({facts['url']})" if facts["url"] else _cell(facts["title"])
        own = [state for state in rows if state["task"] == task and "rows" in state]
        places = dict.fromkeys(_place(state, data_dir) for state in own)
        lines.append(f"| `{task}` | {title} | {_cell(facts['licence'])} | {', '.join(places)} |")
    return lines


def _place(state, data_dir):
    """The dataset on the hub and its commit, or the folder of an official file."""
    if state["piece"] is None:
        return f"`{state['files'][0].split(os.sep)[0]}/`"
    piece = Piece(*state["piece"])
    try:
        record = kept_record(piece, data_dir) if piece.is_kept(data_dir) else None
    except UserError:  # rows of another call's tasks that were damaged since; the page does not depend on them
        record = None
    if record is None:
        return piece.id
    return f"{record['id']} at {(record['revision'] or 'an unknown commit')[:12]}"


def _models(models):
    if not models:
        return []
    lines = ["", "| model | licence | commit |", "| --- | --- | --- |"]
    for each in models:
        address = f"https://huggingface.co/{each['id']}"
        lines.append(f"| [{each['id']}]({address}) | {_cell(each['licence'] or UNKNOWN)} | {each['revision'][:12]} |")
    return lines


def _citations(names):
    """Each entry once, that of the paper whose method this is first."""
    entries = dict.fromkeys(facts["citation"].strip() for facts in map(dataset_facts, ["paper", *names]) if facts)
    return ["", "## Citations", "", "```bibtex", "\n\n".join(entries), "```"]


def _cell(text):
    return " ".join(str(text).split()).replace("|", r"\|")
