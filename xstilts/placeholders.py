"""Gold labels that stand for labels nobody published: they are noticed, and nothing is scored against them.

XTREME's download leaves the labels of its test sets out, and "accuracy 0.33" or "F1 0.0" on what stands in their place has been
reported as a bug over and over (google-research/xtreme issues 24, 27, 29).
"""

from itertools import chain

from xstilts.base import UserError
from xstilts.xtreme import BENCHMARKS

FEWEST = 100  # below, a slice may well have one class; no test set of the benchmarks whose labels are counted here is smaller
ADVICE = "XTREME's own download leaves test labels out, take the dataset's official file"


class Placeholders(UserError):
    """The gold labels are placeholders. There is no score; whoever has other languages or tasks to score can go on with those."""


def is_stripped_set(task, split, language):
    """Whether these rows are among those that the benchmarks' download strips of their labels: the test sets of its own tasks in
    its own languages. Any other rows may be of one class."""
    return split == "test" and any(language in tasks[task].languages for tasks in BENCHMARKS.values() if task in tasks)


def check_labels(gold):
    """Raise Placeholders if all of at least 100 gold labels (of rows, or of words in lists) are the same one."""
    labels = [*chain.from_iterable([each] if isinstance(each, str) else each for each in gold)]
    if len(labels) >= FEWEST and len({*labels}) == 1:
        raise Placeholders(f"all {len(labels)} gold labels are '{labels[0]}': they are placeholders; {ADVICE}")


def check_answers(references):
    """Raise Placeholders for a question without a reference answer that is more than white space."""
    for number, answers in enumerate(references, start=1):
        if not any(answer.strip() for answer in answers):
            raise Placeholders(f"question {number} has no reference answer, so nothing can be scored; {ADVICE}")
