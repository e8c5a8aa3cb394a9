"""JSON files that are whole or not there, and say when they were changed."""

import contextlib
import json

import pytest

from xstilts.base import UserError, read_json, write_json

CONTENT = {"score": 71.5, "names": {"sw": "Kiswahili", 3: None}, "file": "half a pair: \udc80", "nan": float("nan")}


@pytest.fixture
def path(tmp_path):
    """A file that was just written."""
    write_json(tmp_path / "run.json", CONTENT)
    return tmp_path / "run.json"


def test_what_is_written_is_read(path):
    found = read_json(path)
    assert found.pop("nan") != found.get("nan")
    assert found == {"score": 71.5, "names": {"sw": "Kiswahili", "3": None}, "file": "half a pair: \udc80"}
    assert [*path.parent.iterdir()] == [path]


def test_a_git_lfs_pointer_is_named(path):
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 9\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"run\.json is a Git LFS pointer, not the file itself; run `git lfs pull`"):
        read_json(path)


def test_a_changed_value_is_noticed(path):
    path.write_text(path.read_text("utf-8").replace("71.5", "91.5"), encoding="utf-8")
    with pytest.raises(UserError, match=r"run\.json was changed after it was written"):
        read_json(path)


def test_every_flipped_bit_is_noticed_or_changes_nothing(path):
    """Blanks between values may change: what is read is the same then."""
    whole, wanted = path.read_bytes(), json.dumps(read_json(path))
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        with contextlib.suppress(UserError):
            assert json.dumps(read_json(path)) == wanted


@pytest.mark.parametrize("lost", ["checksum", "checked"])
def test_a_file_that_lost_its_checksum_is_no_one_elses(path, lost):
    content = json.loads(path.read_text("utf-8"))
    del content[lost]
    path.write_text(json.dumps({**content, "score": 91.5}), encoding="utf-8")
    with pytest.raises(UserError, match=r"run\.json was changed after it was written"):
        read_json(path)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[" * 100_000, b'{"a": 1}x', b"null"])
def test_what_is_no_json_is_one_line(path, content):
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"run\.json is not valid JSON"):
        read_json(path)


def test_what_has_no_checksum_is_read_as_it_is(path):
    path.write_text('{"by": "hand"}')
    assert read_json(path) == {"by": "hand"}
    assert read_json(path.with_name("none")) is None


def test_a_failed_write_leaves_the_old_file_and_nothing_else(path, monkeypatch):
    def no_room(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", no_room)
    before = path.read_bytes()
    with pytest.raises(OSError, match="No space"):
        write_json(path, {"score": 1})
    assert path.read_bytes() == before
    assert [*path.parent.iterdir()] == [path]
