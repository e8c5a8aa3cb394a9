"""Title, licence, page and citation of the datasets behind the tasks: configs/datasets.yaml."""

from functools import cache

from xstilts.base import CONFIGS, UserError, read_yaml
from xstilts.shapes import Each, check_shape

PATH = CONFIGS / "datasets.yaml"
FACTS = {"title": str, "licence": str, "url": str, "citation": str}


def dataset_facts(name):
    """{"title", "licence", "url", "citation" (BibTeX, one entry or more)} of a task, or of `paper`, `xtreme`, `xtreme-r`; None
    for a task that has no entry, as a user's own. Raises UserError, one line, where the file is missing or has another shape."""
    facts = _all_facts(PATH).get(name)
    return dict(facts) if facts else None


@cache
def _all_facts(path):
    return read_entries(path, FACTS)


def read_entries(path, shape):
    """A file of configs/ that has an entry of one shape for every name. Raises UserError where it is missing or has another."""
    try:
        found = read_yaml(path)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); it comes with the project") from error
    check_shape(found, Each(shape), path)
    return found
