"""Fetching the hub's rows into a folder: one piece after another, each there whole or not at all, and what could not be had."""

import contextlib
import os
import time
from dataclasses import dataclass, field
from functools import cache

from datasets import ClassLabel
from huggingface_hub import HfApi

from xstilts.arrow_files import rows_of
from xstilts.base import UserError, print_main, write_json
from xstilts.examples import fingerprint
from xstilts.hub_errors import WAITS, kind_of, patiently, reason_of
from xstilts.hub_rows import commit_of, damage_of, declared_columns, fetch, kept_record, piece_of, record_path
from xstilts.official_files import files_there
from xstilts.progress import duration
from xstilts.sealed import file_digest, flush, writing


@dataclass
class Plan:
    """What is to be fetched.

    pieces   {Piece: the Sources that read it}; each is fetched once, however many tasks read it
    states   {Piece: "whole", "absent", or in words what is wrong with it}
    sizes    {Piece: bytes of its rows} of what is to be fetched, where the hub says
    """

    pieces: dict = field(default_factory=dict)
    states: dict = field(default_factory=dict)
    sizes: dict = field(default_factory=dict)

    @property
    def absent(self):
        """Pieces that are not there as they should be."""
        return [piece for piece in self.pieces if self.states[piece] != "whole"]


def plan_of(wanted, data_dir):
    """A Plan of the rows of which no official file lies in `data_dir`."""
    plan = Plan()
    for each in wanted:
        piece = piece_of(each.source, each.stored, each.language)
        if piece and not files_there(each.source, each.stored, each.language, data_dir):
            sources = plan.pieces.setdefault(piece, [])
            if each.source not in sources:
                sources.append(each.source)
    plan.states = {piece: state_of(piece, data_dir) for piece in plan.pieces}
    return plan


def state_of(piece, data_dir):
    """ "whole", "absent", or in words what is wrong with a piece that is there."""
    if not piece.is_kept(data_dir):
        return "absent"
    try:
        if kept_record(piece, data_dir)["asked_revision"] != piece.revision:
            return "it was fetched at another revision"
        reason = damage_of(piece, data_dir)
        return f"{os.path.relpath(piece.path(data_dir).parent, data_dir)}/{reason}" if reason else "whole"
    except UserError as error:
        return str(error)


def fetch_all(plan, data_dir):
    """Fetch what is not there; returns {Piece: (kind, reason)} of those that could not be had. A line for each."""
    problems, began, waits, fetched = {}, time.monotonic(), WAITS, 0
    for number, (piece, sources) in enumerate(plan.pieces.items(), start=1):
        place, state = f"[{number}/{len(plan.pieces)}] {piece}", plan.states[piece]
        if state == "whole":
            print_main(f"{place}: there already")
            continue
        if state != "absent":
            print_main(f"{place}: {state}; it is fetched again")
        try:
            rows, revision = patiently(lambda: _checked(piece, sources), str(piece), waits)  # noqa: B023, called here
        except UserError as error:
            if "disk is full" in str(error):
                raise
            problems[piece] = ("error", str(error))
        except Exception as error:  # whatever libraries make of a hub: the rest goes on
            problems[piece] = reason_of(error)
            waits = () if problems[piece][0] in ("network", "offline") else WAITS
        else:
            record, waits, fetched = keep(piece, rows, revision, data_dir), WAITS, fetched + 1
            plan.states[piece], gone = "whole", time.monotonic() - began
            left = gone / fetched * (len(plan.absent))
            about = f"{record['rows']:,} rows, {megabytes(record['bytes'])} MB"
            print_main(f"{place}: {about}; {duration(gone)} gone, about {duration(left)} left")
            continue
        print_main(f"{place}: could not be had: {problems[piece][1]}")
    return problems


def _checked(piece, sources):
    """(rows, the commit they are of). Raises UserError for rows that no task can read, and for others than the hub has: where
    `datasets` does not reach the hub, it takes the last version that its cache happens to have, of whatever revision."""
    asked = facts_of(piece.id, piece.revision)["sha"]
    rows = fetch(piece)
    if (commit := commit_of(rows) or asked) != asked:
        facts_of.cache_clear()  # it may have changed since
        if commit != facts_of(piece.id, piece.revision)["sha"]:
            raise UserError(
                f"{piece}: the cache gave commit {commit} in the place of {asked}; give the same command again"
            )
    for source in sources:
        _check_labels(declared_columns(rows, source, piece), piece)
    return rows, commit


def _check_labels(rows, piece):
    """Raise UserError where all labels are the placeholders that publishers put in the place of hidden ones."""
    for column, feature in rows.features.items():
        hidden = {-1, None} if isinstance(feature, ClassLabel) else {"", None} if column == "label" else None
        if hidden and len(rows) and hidden.issuperset(rows.unique(column)):
            raise UserError(f"{piece}: its labels are hidden, all {len(rows):,} rows have the same placeholder")


def keep(piece, rows, revision, data_dir):
    """Write the rows of a piece and their record, which is returned."""
    path = piece.path(data_dir)
    partial = path.with_name(f".{path.name}.partial")
    record_path(path).unlink(missing_ok=True)  # no record belongs to what is replaced now
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            rows.to_parquet(partial, batch_size=10_000)  # of which one at a time is in memory
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)
        flush(path.parent, [path.name])
        record = {
            "id": piece.id, "config": piece.config, "split": piece.split, "asked_revision": piece.revision,
            "revision": revision, "rows": len(rows), "columns": rows.column_names,
            "fingerprint": fingerprint(rows_of(rows)), "bytes": path.stat().st_size, "digest": file_digest(path),
        }  # fmt: skip
        write_json(record_path(path), record)
    return record


# ---- what the hub says of a dataset ---------------------------------------------------------------------------------


@cache
def facts_of(name, revision):
    """{"sha": commit, "bytes": {(configuration, split): bytes of the rows}} of a dataset on the hub."""
    info = HfApi().dataset_info(name, revision=revision)
    tables = (info.card_data.to_dict() if info.card_data else {}).get("dataset_info") or []
    sizes = {}
    # People write cards by hand, and sizes are for the estimate alone.
    with contextlib.suppress(AttributeError, TypeError):
        for table in [tables] if isinstance(tables, dict) else tables:
            for split in table.get("splits") or ():
                sizes[table.get("config_name", "default"), split.get("name")] = split.get("num_bytes") or 0
    return {"sha": info.sha, "bytes": sizes}


def estimate(plan):
    """Fill in `plan.sizes`, as far as the hub says."""
    for name, revision in dict.fromkeys((piece.id, piece.revision) for piece in plan.absent):
        absent = [piece for piece in plan.absent if (piece.id, piece.revision) == (name, revision)]
        try:
            sizes = patiently(lambda: facts_of(name, revision), name, ())["bytes"]  # noqa: B023, called here
        except Exception as error:
            if kind_of(error) in ("network", "offline"):
                return
            continue
        for piece in absent:
            parts = [sizes.get((piece.config or "default", part)) for part in piece.split.split("+")]
            if None not in parts:
                plan.sizes[piece] = sum(parts)


def megabytes(count):
    """Bytes as the tables show them."""
    return f"{count / 1e6:,.1f}"
