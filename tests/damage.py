"""What may happen to a file, as hypothesis strategies: valid bytes in, damaged bytes out."""

import json
import re

from hypothesis import strategies as st

NASTY = [  # what text should not hold, or what readers stumble over
    b"\xff", b"\x80", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xff\xfe", b"\xef\xbb\xbf", b"\r", b"\r\n", b"\n\n",
    b"\0", b"\x0b", b"\x0c", b"\x1c", "\x85".encode(), "\u2028".encode(), "\u200f".encode(), "\u202e".encode(), "\u0661".encode(),
    b"\\ud800", b"\\udc00x", b"\\u0000", b"\t", b'"', b'""', b"\\", b"#", b"_", b"-", b"(", b")", b"[", b"{", b"}", b"]", b",",
    b":",
    b"*a", b"&a ", b"- ", b"  ", b"? ", b"!!timestamp ", b"2024-13-45", b"0b_", b"9" * 5_000, b"1e999", b"NaN", b"-1",
    b"[" * 100_000, b'{"a":' * 100_000, b"(<T S 0 2> " * 10_000, b"x" * 200_000, b"x\t" * 50_000, b"- " * 2_000,
]  # fmt: skip
WRONG = [  # JSON in the place of a value
    "null", "true", "0", "1", "-1", "1.5", "NaN", "Infinity", "1e999", "9" * 5_000, "9" * 30, "2147483648", '""', '"x"',
    '"\\ud800"',
    '"\\udc00 x"', '"\\u0000"', '"\\u200f\\u202ex"', '"a\\nb\\r\\u2028c\\td"', "[]", "[null]", "[[[]]]", '["x"]', "[1]", "{}",
    '{"a": 1}', "[" * 900 + "]" * 900, "[" * 100_000, '{"a": 1, "a": 2}', '"' + "x" * 150_000 + '"',
]  # fmt: skip
WRONG_YAML = [
    "null", "true", "1", "-1", ".nan", "1.5", "9" * 5_000, "2024-01-01", "2024-13-45", "[]", "[a, a]", "[[a], {b: c}]", "{}",
    "{a: [1, 2]}", "{1: 2}", "{[a]: b}", "{a: 1, a: 2}", "&x [*x]", "*nothing", "!!timestamp x", "!!int ''", "!!binary x",
    "!!set {a}",
    "!!python/object:os.system x", '"\\uD800"', '"\\0"', "'", "|", "0b_", "no", "../..", "mnli",
    "all", "&a [x, x, x, x, x, x, x, x, x, &b [*c]]",
]  # fmt: skip
HOLE = "a hole for another value"


@st.composite
def damaged(draw, content, times=3, values=None):
    """`content` with one to `times` kinds of damage; `values` is the form whose values may change: json, json lines, yaml."""
    kinds = [*BYTES, *([VALUES[values]] * len(BYTES) if values else [])]
    for _ in range(draw(st.integers(1, times))):
        content = draw(st.sampled_from(kinds))(draw, content)
    return content


@st.composite
def with_another_value(draw, content, values="json"):
    """`content` with another value in the place of one of its own."""
    return VALUES[values](draw, content)


def _place(draw, content):
    return draw(st.integers(0, len(content)))


def _span(draw, content):
    """Begin and end of a part, often a short one."""
    begin = _place(draw, content)
    return begin, min(len(content), begin + draw(st.sampled_from([1, 2, 5, 20, 100, 1_000])))


def truncate(draw, content):
    """It ends anywhere."""
    return content[: _place(draw, content)]


def cut(draw, content):
    """A part is lost."""
    begin, end = _span(draw, content)
    return content[:begin] + content[end:]


def repeat(draw, content):
    """A part is there twice."""
    begin, end = _span(draw, content)
    return content[:end] + content[begin:end] + content[end:]


def swap(draw, content):
    """Two parts change places."""
    a, b, c = sorted(_place(draw, content) for _ in range(3))
    return content[:a] + content[b:c] + content[a:b] + content[c:]


def flip(draw, content):
    """A bit is another one."""
    if not content:
        return content
    place, changed = draw(st.integers(0, len(content) - 1)), bytearray(content)
    changed[place] ^= 1 << draw(st.integers(0, 7))
    return bytes(changed)


def insert(draw, content):
    """Something nasty stands in it."""
    place = _place(draw, content)
    return content[:place] + draw(st.sampled_from(NASTY)) + content[place:]


def overwrite(draw, content):
    """Something nasty stands in the place of a part."""
    begin, end = _span(draw, content)
    return content[:begin] + draw(st.sampled_from(NASTY)) + content[end:]


def change_lines(draw, content):
    """A line is lost, there twice, in another place, or something else."""
    lines = content.split(b"\n")
    place, other = (draw(st.integers(0, len(lines) - 1)) for _ in range(2))
    change = draw(st.sampled_from(["lose", "repeat", "move", "replace", "blank", "CR LF", "CR"]))
    if change in ("CR LF", "CR"):
        return {"CR LF": b"\r\n", "CR": b"\r"}[change].join(lines)
    line = lines.pop(place)
    if change == "repeat":
        lines[other:other] = [line, line]
    elif change == "move":
        lines.insert(other, line)
    elif change != "lose":
        lines.insert(place, draw(st.sampled_from(NASTY)) if change == "replace" else b"")
    return b"\n".join(lines)


def begin_with(draw, content):
    """A mark of another encoding, or the same in UTF-16."""
    text = content.decode(errors="ignore").encode("utf-16") if draw(st.booleans()) else b"\xef\xbb\xbf" + content
    return draw(st.sampled_from([text, b"\xfe\xff" + content]))


def nothing(draw, content):
    """Nothing is left, or only what is blank."""
    return draw(st.sampled_from([b"", b"\n", b"\r\n\r\n", b" ", b"\n \n\t\n", b"\xef\xbb\xbf", b"\0" * 100]))


def change_value(draw, content):
    """A JSON value is another one, a key is lost, or there twice; as `content` where it is no JSON."""
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return content
    paths = [*_paths(found)]
    path = paths[draw(st.integers(0, len(paths) - 1))]
    if not path:
        return draw(st.sampled_from(WRONG)).encode()
    parent = found
    for step in path[:-1]:
        parent = parent[step]
    if draw(st.integers(0, 7)) == 0:
        del parent[path[-1]]
        return _bytes(found)
    own, parent[path[-1]] = json.dumps(parent[path[-1]]), HOLE
    text = draw(st.sampled_from(WRONG))
    if isinstance(parent, dict) and draw(st.integers(0, 7)) == 0:
        text = f"{own}, {json.dumps(path[-1])}: {text}"
    return _bytes(found).replace(json.dumps(HOLE).encode(), text.encode())


def _bytes(found):
    return json.dumps(found).encode()


def _paths(value, path=()):
    """Where the values of a value are, the deepest ones with the most names."""
    yield path
    if isinstance(value, dict | list):
        for step, each in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _paths(each, (*path, step))


def change_value_in_a_line(draw, content):
    """The same in one of the lines."""
    lines = content.split(b"\n")
    place = draw(st.integers(0, len(lines) - 1))
    lines[place] = change_value(draw, lines[place])
    return b"\n".join(lines)


def change_yaml(draw, content):
    """What stands behind a colon or a dash, or a key, is something else."""
    found = [*re.finditer(rb"(?<=[:\-,\[{] )[^,\[\]{}\n#]+", content)]
    if not found:
        return content
    match = found[draw(st.integers(0, len(found) - 1))]
    return content[: match.start()] + draw(st.sampled_from(WRONG_YAML)).encode() + content[match.end() :]


BYTES = [
    truncate,
    cut,
    repeat,
    swap,
    flip,
    flip,
    insert,
    insert,
    overwrite,
    change_lines,
    change_lines,
    begin_with,
    nothing,
]
VALUES = {"json": change_value, "json lines": change_value_in_a_line, "yaml": change_yaml}
