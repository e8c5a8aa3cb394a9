"""Damaged files of every form: the answer is right or names the file and the place, and no row is lost without a word.

`pytest tests/test_fuzzing.py --inputs 10000` reads that many, other ones each time; the ordinary run always the same hundreds.
"""

import contextlib
import re
import signal
from collections import Counter

import pytest
from damage import damaged
from hypothesis import HealthCheck, given, settings
from small_files import FORMS, answer_of

from xstilts.errors import UserError

ORDINARY = 10  # inputs of a part
SECONDS = 20  # after which a reader is stuck
PLACE = r"line \d+|byte \d+|row \d+|paragraph \d+"


@pytest.fixture(scope="session")
def tally(request):
    """{part: Counter of its inputs, by what became of them}, which is said at the end of a run with --inputs."""
    counts = {}
    yield counts
    if request.config.getoption("inputs"):
        write = request.config.pluginmanager.getplugin("terminalreporter").write_line
        write("")
        for part, found in [*counts.items(), ("all", sum(counts.values(), Counter()))]:
            write(f"{part:<40}" + "".join(f"{name} {found[name]:>6,}  " for name in ("inputs", "parsed", "refused")))


@pytest.fixture
def fuzz(request, tally):
    """fuzz(strategy, attempt): `attempt` each of the damaged inputs, which gives a list of paths that a UserError may name."""
    number = request.config.getoption("inputs")
    parts = sum("fuzz" in item.fixturenames for item in request.session.items)

    def fuzz(strategy, attempt, names, place=""):
        count = tally.setdefault(request.node.name, Counter())

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
        assert any(str(name) in str(error) for name in names), f"names no file: {error}"
        assert re.search(place, str(error)), f"names no place: {error}"
        assert "\n" not in str(error)
        assert len(str(error)) < 2_000
        str(error).encode()
        return "refused"
    return "parsed"


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
