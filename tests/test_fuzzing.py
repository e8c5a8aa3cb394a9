"""Damaged files of every form: the answer is right or names the file and the place, and no row is lost without a word.

`pytest tests/test_fuzzing.py --inputs 10000` reads that many, other ones each time; the ordinary run always the same hundreds.
"""

import contextlib
import re
import signal
from collections import Counter

import pytest
from damage import TALLY, damaged
from hypothesis import HealthCheck, given, settings
from small_files import FORMS, answer_of

from xstilts.errors import UserError

ORDINARY = 10  # inputs of a part
SECONDS = 20  # after which a reader is stuck
PLACE = r"line \d+|byte \d+|row \d+|paragraph \d+"


@pytest.fixture
def fuzz(request):
    """fuzz(strategy, attempt, names, place): give `attempt` each of the damaged inputs; a UserError has to name one of `names`, and
    a place by the pattern `place`."""
    number = request.config.getoption("inputs")
    parts = sum("fuzz" in item.fixturenames for item in request.session.items)

    def fuzz(strategy, attempt, names, place=""):
        count = TALLY.setdefault(request.node.name, Counter())

        @settings(
            max_examples=max(1, number // parts) if number else ORDINARY,
            derandomize=not number,
            database=None,
            deadline=None,
            suppress_health_check=[*HealthCheck],
        )
        @given(strategy)
        def each(content):
            count["inputs"] += 1
            with _time_limit():
                count[_outcome(attempt, content, names, place)] += 1

        each()

    return fuzz


def _outcome(attempt, content, names, place):
    """What becomes of an input. Anything but an answer and a UserError of one line with the file and the place fails."""
    try:
        attempt(content)
    except UserError as error:
        message = str(error)
    else:
        return "parsed"
    assert any(str(name) in message for name in names), f"names no file: {message}"
    assert re.search(place, message), f"names no place: {message}"
    assert "\n" not in message
    assert len(message.encode()) < 2_000
    return "refused"


@contextlib.contextmanager
def _time_limit():
    def stuck(number, frame):
        raise AssertionError(f"no answer after {SECONDS} seconds")

    before = signal.signal(signal.SIGALRM, stuck)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def lay_out(form, folder):
    """Write the files of a form; gives their paths."""
    for name, content in form.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return [folder / name for name in form.files]


# ---- readers --------------------------------------------------------------------------------------------------------


def holds_for(form, path, content):
    """Whether the reader's answer has as many rows as the file by an independent count."""
    (rows, dropped), expected = answer_of(form, path), form.count(content)
    found = form.found(rows, dropped)
    if isinstance(expected, tuple) and isinstance(found, tuple) and None in found:
        found, expected = found[:1], expected[:1]
    assert found == expected, f"{found} instead of {expected} rows"


@pytest.mark.parametrize("form", FORMS, ids=[form.name for form in FORMS])
def test_the_files_are_valid(form, tmp_path):
    path, *_ = lay_out(form, tmp_path)
    holds_for(form, path, form.files[str(path.relative_to(tmp_path))])
    assert answer_of(form, path)[0]


@pytest.mark.parametrize("form", FORMS, ids=[form.name for form in FORMS])
def test_a_damaged_file_is_read_whole_or_refused(form, fuzz, tmp_path):
    paths, (first, whole) = lay_out(form, tmp_path), next(iter(form.files.items()))

    def attempt(content):
        (tmp_path / first).write_bytes(content)
        holds_for(form, tmp_path / first, content)

    whole_file = form.values == "json" or first.endswith(".bz2") or len(form.files) > 1 or form.task is None
    fuzz(damaged(whole, values=form.values), attempt, paths, place="" if whole_file else PLACE)
