"""What a folder of prepared data holds and what it lacks: the state of everything that was asked for, as a table and on disk.

DIR/_hub/contents.json has the requests that were made of the folder (`asked`), and the state of each set of rows and each model
as the last call saw it (`rows`, `models`). `prepare_data.py --check` makes the requests again, without the network.
"""

import os
from itertools import groupby
from pathlib import Path

from xstilts.base import UserError, read_json, write_json
from xstilts.fetched_models import fetched_model, folder_of
from xstilts.fetching import megabytes
from xstilts.hub_errors import REASONS
from xstilts.hub_rows import HUB, holds_several, kept_record, piece_of
from xstilts.official_files import files_there, patterns
from xstilts.raw_rows import MissingData
from xstilts.shapes import Maybe, check_shape
from xstilts.sources import load_raw

CONTENTS = "contents.json"
MOST = 4  # paths of a line
REQUEST = {"tasks": [str], "benchmark": Maybe(str), "languages": [str], "train_languages": [str], "models": [str]}
SHAPE = {"asked": [REQUEST], "rows": [dict], "models": [dict]}


def contents_path(data_dir):
    """Where the contents of a folder are written."""
    return Path(data_dir, HUB, CONTENTS)


def read_contents(data_dir):
    """Content of contents.json, None where there is none."""
    found = read_json(contents_path(data_dir))
    if found is not None:
        check_shape(found, SHAPE, contents_path(data_dir))
    return found


def write_contents(data_dir, request, rows=(), models=()):
    """Write contents.json: what it said before, this request, and the states of its rows and models."""
    before = read_contents(data_dir) or {"asked": [], "rows": [], "models": []}
    states = {_key(each): each for each in (*before["rows"], *rows)}
    named = {each["id"]: each for each in (*before["models"], *models)}
    asked = [each for each in before["asked"] if each != request] + [request]
    write_json(contents_path(data_dir), {"asked": asked, "rows": [*states.values()], "models": [*named.values()]})


def _key(state):
    return tuple(state.get(name) for name in ("task", "benchmark", "split", "language"))


def problems_before(wanted, data_dir):
    """{Piece: (kind, reason)} of what could not be had when it was asked for last, as `fetch_all` gives it."""
    states = {_key(state): state for state in (read_contents(data_dir) or {"rows": ()})["rows"]}
    found = {}
    for each in wanted:
        state = states.get((each.task, each.benchmark, each.split, each.language), {})
        if state.get("kind") not in (None, "absent", "damaged"):
            found[piece_of(each.source, each.stored, each.language)] = (state["kind"], state["reason"])
    return found


# ---- states ---------------------------------------------------------------------------------------------------------


def states_of(wanted, data_dir, plan, problems):
    """The states of `Wanted`, a dictionary each: task, benchmark, split, language, needed, published, and either

    rows, bytes, files, piece (None for official files)    of what is there
    kind, reason, place                                    of what is not: see hub_errors.REASONS; where an official file goes
    """
    return [_state(each, data_dir, plan, problems) for each in wanted]


def _state(wanted, data_dir, plan, problems):
    names = ("task", "benchmark", "split", "language", "needed", "published")
    state = {name: getattr(wanted, name) for name in names}
    files = files_there(wanted.source, wanted.stored, wanted.language, data_dir)
    piece = None if files else piece_of(wanted.source, wanted.stored, wanted.language)
    place = next(iter(patterns(wanted.source, wanted.stored, wanted.language)), None)
    if not files and (piece is None or plan.states[piece] != "whole"):
        kind, reason = _why(piece, plan, problems)
        return {**state, "kind": kind, "reason": reason, "place": place}
    try:
        rows = _rows(wanted, piece, data_dir)
    except UserError as error:
        kind = "unknown" if isinstance(error, MissingData) else "error"
        return {**state, "kind": kind, "reason": str(error), "place": place}
    size = kept_record(piece, data_dir)["bytes"] if piece else sum(map(os.path.getsize, files))
    names = [str(piece)] if piece else [os.path.relpath(path, data_dir) for path in files]
    return {**state, "rows": rows, "bytes": size, "files": names, "piece": piece and list(piece)}


def _why(piece, plan, problems):
    if piece is None:
        return "by hand", REASONS["by hand"]
    state = plan.states[piece]
    if state != "absent":
        return "damaged", state
    return problems.get(piece, ("absent", "it was not fetched"))


def _rows(wanted, piece, data_dir):
    """How many rows are there; those of a whole piece that nothing else has to be counted in stand in its record."""
    if piece and wanted.count is len and not holds_several(wanted.source):
        return kept_record(piece, data_dir)["rows"]
    return wanted.count(load_raw(wanted.source, wanted.stored, wanted.language, data_dir).rows)


def is_missing(state):
    """Whether something that was asked for is not there. What nobody has published is not missing: rows to train or select on in
    another language than English that the hub's dataset does not have."""
    return "rows" not in state and (state["needed"] or state["kind"] not in ("unknown", "by hand"))


# ---- the table ------------------------------------------------------------------------------------------------------


def table(states, models, advice, folder):
    """Lines for the screen: what is there, by task and split; what is not, and why; models.

    advice   (task, kind, split) -> (why it is not on the hub or None, address, what to do there)
    folder   where files that are got by hand go
    """
    had = [state for state in states if "rows" in state]
    lacks = [state for state in states if is_missing(state)]
    lines = _there(had, models) if had or any("bytes" in record for record in models) else []
    lines += _odd_sizes(had)
    lines += _unpublished(state for state in states if "rows" not in state and not is_missing(state))
    return [*lines, *_lacking(lacks, advice, folder), *_models_lacking(models, folder)]


def _there(had, models):
    """The table of rows and models that are there."""
    lines = ["", f"{'task':<22} {'split':<11} {'languages':>9} {'rows':>11} {'MB':>9}  from"]
    lines += [_had_line([*group]) for _, group in groupby(had, lambda each: (_label(each), each["split"]))]
    lines += [
        f"{record['id']:<55} {megabytes(record['bytes']):>9}  the hub (model)" for record in models if "bytes" in record
    ]
    sizes = {state["files"][0]: state["bytes"] for state in had}
    total = sum(sizes.values()) + sum(record.get("bytes", 0) for record in models)
    return [*lines, f"{'in all':<55} {megabytes(total):>9}"]


def _models_lacking(models, folder):
    """A line for every model that is not there."""
    lacking = [record for record in models if "reason" in record]
    return [f"model {each['id']}: {each['reason']}; goes to {folder_of(each['id'], folder)}" for each in lacking]


def _group(state):
    return _label(state), state["split"], why if (why := state["kind"]) != "damaged" else state["reason"]


def _label(state):
    return f"{state['task']} ({state['benchmark']})" if state["benchmark"] else state["task"]


def _had_line(group):
    places = {"the hub" if state["piece"] else "official files" for state in group}
    size = sum({state["files"][0]: state["bytes"] for state in group}.values())
    rows, first = sum(state["rows"] for state in group), group[0]
    found = " and ".join(sorted(places))
    return f"{_label(first):<22} {first['split']:<11} {len(group):>9} {rows:>11,} {megabytes(size):>9}  {found}"


def _odd_sizes(states):
    """Of sets of rows that are not as many as are published, a line a split."""
    odd = [state for state in states if state["published"] not in (None, state["rows"])]
    for (label, split), found in groupby(odd, lambda each: (_label(each), each["split"])):
        counts = ", ".join(f"'{each['language']}' {each['rows']:,} of {each['published']:,}" for each in found)
        yield f"note: {label} {split} has other numbers of rows than are published: {counts}"


def _unpublished(states):
    """Of rows that are read if there are some, and there are none, a line a split."""
    for (label, split), found in groupby(states, lambda each: (_label(each), each["split"])):
        yield f"note: {label} {split} is not there in {' '.join(each['language'] for each in found)}; nothing needs it"


def _lacking(states, advice, folder):
    """What is not there, by task, split and reason; where it can be had, and where it goes."""
    lines = ["", "not there:"] if states else []
    states = sorted(states, key=_group)
    for (label, split, _), found in groupby(states, _group):
        group = [*found]
        why, address, how = advice(group[0]["task"], group[0]["kind"], split)
        languages = " ".join(state["language"] for state in group)
        lines.append(f"  {label} {split} [{languages}]: {why or group[0]['reason']}")
        if places := [f"{folder}/{place}" for place in dict.fromkeys(state["place"] for state in group) if place]:
            more = ", and so on" if len(places) > MOST else ""
            where = f"{', '.join(places[:MOST])}{more}"
            lines.append(f"    by hand: {address}{f'; {how}' if how else ''}; goes to {where}")
    return lines


# ---- models ---------------------------------------------------------------------------------------------------------


def model_record(name, data_dir, state, problem=None):
    """The state of a model: id, and either revision, licence and bytes, or reason."""
    if state != "whole":
        reason = state if state != "absent" else problem or "it was not fetched"
        return {"id": name, "reason": reason}
    about = fetched_model(folder_of(name, data_dir))
    size = sum(size for size, _ in about["files"].values())
    return {"id": name, "revision": about["revision"], "licence": about["licence"], "bytes": size}
