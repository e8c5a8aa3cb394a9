"""Checkpoints of a training: which are kept, which are read, and what is set aside."""

import errno
import os
import stat

import pytest

from xstilts.base import write_json
from xstilts.sealed import contents, flush
from xstilts.step_checkpoints import checkpoints, damage_of, last_checkpoint, planned, remove_all, rotate


@pytest.fixture
def write_step(tmp_path):
    """write_step(step, needs, interruption) writes a whole checkpoint of one file and returns its path."""

    def write_step(step, needs=(), interruption=False):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        (folder / "weights").write_text(str(step))
        about = {"files": contents(folder), "needs": [f"checkpoint-{each}" for each in needs]}
        write_json(folder / "contents.json", {**about, "interruption": interruption})
        return str(folder)

    return write_step


def steps(folders):
    return [int(folder.rsplit("-", 1)[1]) for folder in folders]


@pytest.mark.parametrize(
    ("limit", "best", "kept"),
    [
        (None, 4, [4, 8, 12, 100]),
        (1, None, [100]),
        (1, 4, [4, 100]),
        (1, 100, [100]),
        (2, None, [12, 100]),
        (2, 4, [4, 100]),
        (2, 100, [12, 100]),
        (3, 8, [8, 12, 100]),
        (9, 4, [4, 8, 12, 100]),
    ],
)
def test_the_latest_and_the_best_are_kept(write_step, tmp_path, limit, best, kept):
    for step in (4, 8, 12, 100):
        write_step(step)
    rotate(f"{tmp_path}//", best and f"checkpoint-{best}", limit)
    assert steps(checkpoints(str(tmp_path))) == kept


def test_what_an_interruption_made_does_not_count_and_goes_with_the_next(write_step, tmp_path):
    for step, interruption in ((4, False), (7, True), (8, False), (9, True)):
        write_step(step, interruption=interruption)
    assert steps(planned(str(tmp_path))) == [4, 8]
    rotate(str(tmp_path), None, 2)
    assert steps(checkpoints(str(tmp_path))) == [4, 8, 9]
    write_step(12)
    rotate(str(tmp_path), None, 3)
    assert steps(checkpoints(str(tmp_path))) == [4, 8, 12]


def test_one_without_its_list_was_not_finished(write_step, tmp_path, capsys):
    write_step(9)
    (tmp_path / "checkpoint-10").mkdir()
    (tmp_path / "checkpoint-10" / "weights").write_text("10")
    (tmp_path / "_checkpoint.partial" / "checkpoint-11").mkdir(parents=True)
    assert last_checkpoint(str(tmp_path)) == str(tmp_path / "checkpoint-9")
    assert "checkpoint-10 is damaged (contents.json is missing or damaged): set aside as" in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["_set-aside-checkpoint-10", "checkpoint-9"]


def test_one_whose_best_weights_are_gone_is_not_gone_on_from(write_step, tmp_path, capsys):
    write_step(4)
    best = write_step(8, needs=[])
    write_step(12, needs=[8])
    assert last_checkpoint(str(tmp_path)) == str(tmp_path / "checkpoint-12")
    (tmp_path / "checkpoint-8" / "weights").write_text("9")
    assert damage_of(best) == "weights is not what was written"
    assert last_checkpoint(str(tmp_path)) == str(tmp_path / "checkpoint-4")
    said = capsys.readouterr().out
    assert "checkpoint-12 is damaged (it needs checkpoint-8: weights is not what was written): set aside" in said
    assert "checkpoint-8 is damaged (weights is not what was written): set aside" in said


def test_one_that_cannot_be_judged_is_left_alone_while_others_go(write_step, tmp_path):
    for step in (1, 2, 3):
        write_step(step)
    (tmp_path / "checkpoint-1" / "contents.json").unlink()
    (tmp_path / "checkpoint-2" / "contents.json").write_text("{")
    assert steps(planned(str(tmp_path))) == [3]
    rotate(str(tmp_path), None, 1)
    assert steps(checkpoints(str(tmp_path))) == [1, 2, 3]


def test_nothing_is_left_of_a_finished_run(write_step, tmp_path):
    for step in (1, 2):
        write_step(step)
    (tmp_path / "checkpoint-2" / "weights").unlink()
    last_checkpoint(str(tmp_path))
    (tmp_path / "_checkpoint.partial").mkdir()
    (tmp_path / "run.json").touch()
    remove_all(str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


def test_where_there_is_none_training_begins(tmp_path):
    assert last_checkpoint(str(tmp_path / "nowhere")) is None


@pytest.mark.parametrize(("code", "kind"), [(errno.EINVAL, "folder"), (errno.EIO, "folder"), (errno.EINVAL, "file")])
def test_only_what_cannot_be_flushed_at_all_is_passed_over(code, kind, tmp_path, monkeypatch):
    """Mounted cloud folders may have files only that can be flushed."""
    (tmp_path / "weights").write_text("1")

    def fsync(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode) == (kind == "folder"):
            raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fsync)
    if (code, kind) == (errno.EINVAL, "folder"):
        return flush(tmp_path, ["weights"])
    with pytest.raises(OSError, match=os.strerror(code)):
        flush(tmp_path, ["weights"])
    return None
