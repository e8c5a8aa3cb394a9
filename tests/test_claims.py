"""Claims: one holder at a time; those of dead processes are void, and those of other machines when they stand still."""

import json
import multiprocessing
import os
import subprocess
import sys
import threading
import time

import pytest

from xstilts import claims
from xstilts.base import UserError
from xstilts.claims import Claim, alone, claim, described


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """Seconds become hundredths."""
    for name, seconds in (("BEAT", 0.05), ("PATIENCE", 0.4), ("LOOK", 0.01)):
        monkeypatch.setattr(claims, name, seconds)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "running.json"


def elsewhere(path, **changes):
    """A claim of a process of another machine, or what `changes` say."""
    holder = {**claims._new_holder(), "place": "elsewhere", "host": "node7", **changes}
    path.write_text(json.dumps(holder))
    return holder


def in_a_thread(function):
    """What a function returns in another thread."""
    found = []
    thread = threading.Thread(target=lambda: found.append(function()))
    thread.start()
    thread.join()
    return found[0]


def test_a_claim_is_made_once_and_given_back(path):
    mine = claim(path)
    assert isinstance(mine, Claim)
    other = in_a_thread(lambda: claim(path))
    assert other["process"] == os.getpid()
    assert f"process {os.getpid()} on" in described(other)
    mine.release()
    assert [*path.parent.iterdir()] == []
    again = claim(path)
    again.check()
    again.release()


def test_a_dead_process_holds_nothing(path):
    code = "import sys; sys.path.insert(0, '.'); from xstilts.claims import claim; claim(sys.argv[1]); import os; os._exit(9)"
    subprocess.run([sys.executable, "-c", code, path], cwd=os.path.dirname(os.path.dirname(__file__)))
    assert path.exists()
    began = time.monotonic()
    mine = claim(path)
    assert isinstance(mine, Claim)
    assert time.monotonic() - began < claims.PATIENCE
    mine.release()


def test_a_number_that_was_given_to_another_process_holds_nothing(path):
    elsewhere(path, place=claims._place(), process=os.getppid(), began=1.0)
    assert isinstance(claim(path), Claim)


def test_what_failed_in_this_thread_holds_nothing(path):
    claim(path)
    assert isinstance(claim(path), Claim)


def test_another_machine_is_believed_while_its_count_goes_on(path, capsys):
    holder, stop = elsewhere(path), threading.Event()

    def beat():
        while not stop.wait(0.02):
            holder["count"] += 1
            claims._write(path, holder)

    thread = threading.Thread(target=beat)
    thread.start()
    assert claim(path)["host"] == "node7"
    stop.set()
    thread.join()
    mine = claim(path)
    assert isinstance(mine, Claim)
    assert "process" in (said := capsys.readouterr().out)
    assert "on node7, at work since" in said
    assert "its claim is void" in said


@pytest.mark.parametrize("content", ["", "{", "[]", '{"process": 1}'])
def test_what_is_illegible_is_void_after_a_while(path, content):
    path.write_text(content)
    assert isinstance(claim(path), Claim)


def test_a_holder_notices_that_it_was_taken_for_dead(path):
    mine = claim(path)
    elsewhere(path)
    with pytest.raises(UserError, match=r"was taken over by process \d+ on node7"):
        mine.check()
    mine.release()
    assert path.exists()


def test_the_count_goes_on_while_the_holder_works(path):
    mine = claim(path)
    time.sleep(0.3)
    assert json.loads(path.read_text())["count"] >= 2
    mine.release()


def test_without_links_a_claim_is_made_all_the_same(path, monkeypatch):
    def no_links(*paths):
        raise OSError("not permitted")

    monkeypatch.setattr(os, "link", no_links)
    mine = claim(path)
    assert in_a_thread(lambda: claim(path))["token"] == mine.holder["token"]
    mine.release()


def race(path, results):
    """What each of many processes does: hold the claim, alone."""
    with alone(path, lambda: False) as is_mine:
        assert is_mine
        with open(results, "a") as file:
            file.write("in\n")
            file.flush()
            time.sleep(0.001)
            file.write("out\n")


def test_many_processes_take_turns(path, tmp_path):
    """Of a claim that a dead process has left, too."""
    elsewhere(path, place=claims._place(), process=2**22 + 1)
    processes = [
        multiprocessing.get_context("fork").Process(target=race, args=(path, tmp_path / "results")) for _ in range(12)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert (tmp_path / "results").read_text() == "in\nout\n" * 12


def test_who_waits_sees_what_was_made(path, tmp_path):
    done = tmp_path / "done"

    def make():
        mine = claim(path)
        time.sleep(0.1)
        done.touch()
        mine.release()

    thread = threading.Thread(target=make)
    thread.start()
    while not path.exists():
        time.sleep(0.001)
    with alone(path, done.exists) as is_mine:
        assert not is_mine
    thread.join()


def test_where_no_claim_can_be_made_everybody_works(tmp_path):
    (tmp_path / "file").touch()
    with alone(tmp_path / "file" / "claim", lambda: False) as is_mine:
        assert is_mine
