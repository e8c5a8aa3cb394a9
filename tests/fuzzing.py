"""How damaged inputs are given to what reads them, and how it is counted what becomes of them; conftest.py makes it known.

`pytest tests/test_fuzzing.py tests/test_fuzzing_runs.py --inputs 10000` reads that many, other ones each time; the ordinary run
reads the same hundreds always.
"""

import contextlib
import re
import signal
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings

from xstilts.base import UserError

ORDINARY = 6  # inputs of a part that does not say how many
SECONDS = 20  # after which a reader is stuck
TALLY = {}  # part: a Counter of its inputs, and of what became of them


def pytest_terminal_summary(terminalreporter, config):
    """What became of them, part by part, with --inputs."""
    if config.getoption("inputs"):
        for part, found in [*TALLY.items(), ("all", sum(TALLY.values(), Counter()))]:
            counts = "  ".join(f"{found[name]:>6,} {name}" for name in ("inputs", "parsed", "refused"))
            terminalreporter.write_line(f"{part:<75}{counts}")


@pytest.fixture
def fuzz(request):
    """fuzz(strategy, attempt, names, place, ordinary): give `attempt` each of the damaged inputs, `ordinary` of them without
    --inputs; a UserError has to name one of `names`, and a place by the pattern `place`."""
    number = request.config.getoption("inputs")
    parts = sum("fuzz" in item.fixturenames for item in request.session.items)
    count = TALLY.setdefault(request.node.name, Counter())

    def fuzz(strategy, attempt, names, place="", ordinary=ORDINARY):
        @settings(
            max_examples=max(1, number // parts) if number else ordinary,
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
    assert len(message.encode(errors="backslashreplace")) < 2_000  # as it is shown on stderr
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
