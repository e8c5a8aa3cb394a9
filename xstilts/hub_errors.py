"""What went wrong between here and the hub: the kind of it, in words for a table, and whether it may pass."""

import errno
import time

from xstilts.base import UserError, first_line, masked, print_main
from xstilts.hub_rows import is_unknown

LONGEST = 120  # characters of what a library says
WAITS = (2, 8, 30)  # seconds before it is tried again
FULL = (errno.ENOSPC, errno.EDQUOT)  # the disk, or a user's share of it
BUSY = (429, 500, 502, 503, 504)  # what a server answers with that may have time later
TRANSPORT = {"TransportError", "ConnectionError", "TimeoutError", "OfflineModeIsEnabled"}  # of any library's classes

REASONS = {
    "by hand": "it is not on the hub",
    "unknown": "the hub's dataset has no such configuration or split",
    "gated": "access is given on request: ask for it on its page, then log in (hf auth login) or set HF_TOKEN",
    "gone": "it is not on the hub (any more), or not for you",
    "script": "its publisher has a loading script only, which `datasets` no longer runs",
    "offline": "HF_HUB_OFFLINE is set, so the hub is not asked",
    "network": "the hub could not be reached",
}


def kind_of(error):
    """One of the keys of REASONS, or "error" for anything else."""
    errors = [*_chain(error)]
    names = {each.__name__ for one in errors for each in type(one).__mro__}
    text = " ".join(map(str, errors))
    codes = {getattr(getattr(one, "response", None), "status_code", None) for one in errors}
    if "GatedRepoError" in names or "gated dataset" in text:
        return "gated"
    if "Dataset scripts are no longer supported" in text:
        return "script"
    if "OfflineModeIsEnabled" in names:
        return "offline"
    if is_unknown(error):
        return "unknown"
    if (
        not codes.isdisjoint(BUSY) or "Couldn't find cache for" in text
    ):  # where `datasets` looks if the hub does not answer
        return "network"
    if names & {"RepositoryNotFoundError", "RevisionNotFoundError", "DatasetNotFoundError"}:
        return "gone"
    if "LocalEntryNotFoundError" in names:  # the cache lacks a file, and the hub does not answer
        return "network"
    if "EntryNotFoundError" in names:
        return "gone"
    return "network" if names & TRANSPORT else "error"


def reason_of(error):
    """(kind, what is said of it in one line, without secrets: it is written down, too)."""
    kind = kind_of(error)
    if isinstance(error, UserError):
        return kind, str(error)
    said = first_line(error) or type(error).__name__
    said = said if len(said) <= LONGEST else f"{said[:LONGEST]}..."  # some list all configurations of a dataset
    if kind == "offline":
        return kind, REASONS[kind]
    return kind, masked(f"{REASONS[kind]} ({said})" if kind in REASONS else f"{type(error).__name__}: {said}")


def patiently(call, what, waits=WAITS):
    """`call()`; while the hub is busy or cannot be reached it is tried again after some seconds. Raises what `call` raises last,
    and UserError where the disk is full."""
    for wait in (*waits, None):
        try:
            return call()
        except Exception as error:
            if _is_full(error):
                raise UserError(
                    f"{what}: the disk is full; make room (HF_HOME says where the hub's own cache lies), and give the same "
                    "command again: it goes on"
                ) from error
            if wait is None or kind_of(error) != "network":
                raise
            print_main(f"{what}: {first_line(error)}; again in {wait} s")
            time.sleep(wait)


def _is_full(error):
    """Whether there is no room for what is fetched; `datasets` looks beforehand, and says so without a number."""
    errors = _chain(error)
    return any(getattr(one, "errno", None) in FULL or "Not enough disk space" in str(one) for one in errors)


def _chain(error):
    """An error and those it came from."""
    seen = []
    while error is not None and error not in seen:
        seen.append(error)
        error = error.__cause__ or error.__context__
    return seen
