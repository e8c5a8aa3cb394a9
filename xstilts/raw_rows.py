"""Raw rows, wherever they come from, and the languages that they say they are in."""

from collections.abc import Mapping
from typing import NamedTuple

from datasets import Dataset

from xstilts.base import UserError


class Raw(NamedTuple):
    """Raw rows: a Dataset with `source.features`, and what is known of them.

    files     where they came from
    dropped   {reason: how many were left out}
    hub       of rows of the hub what was asked for and which commit answered: {"id", "config", "split", "revision"}
    remarks   what a table of scores on them has to say
    counts    whether scores on them count in averages
    """

    rows: Dataset
    files: list[str]
    dropped: Mapping[str, int] = {}
    hub: Mapping[str, str | None] | None = None
    remarks: tuple[str, ...] = ()
    counts: bool = True


class MissingData(UserError):
    """There are no rows for this language or split; the message says where they were looked for."""


def in_language(rows, source, language, where, named=False):
    """(index, row) of the rows in a language, among rows in several; where `named`, those that do not say theirs count."""
    wanted = source.names.get(language, language)
    for index, row in enumerate(rows):
        spoken = source.language_of(row)
        if spoken is None and not named:
            raise UserError(f"{where}: row {index + 1} does not say its language")
        if spoken in (wanted, None):
            yield index, row
