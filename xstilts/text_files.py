"""Text of files, and the JSON in it: what is not UTF-8, not JSON or not unambiguous is named with its file, line and byte; so is
a Git LFS pointer, which is in the place of a file."""

import json
import re
from collections import Counter

from xstilts.base import UserError, check_pointer, quoted

MARK = "\ufeff"  # at the beginning of a file it is no text
SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def numbered_lines(path):
    """(line number from 1, line without its end) of a UTF-8 text file, read line by line; a byte-order mark is dropped.

    Only \\n and \\r\\n end a line: str.splitlines would also cut at U+2028 and friends, which occur inside sentences.
    """
    check_pointer(path)
    number, begin = 0, 0
    with open(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            text = decoded(line, path, number, begin)
            begin += len(line)
            text = text.removeprefix(MARK) if number == 1 else text
            yield number, text.removesuffix("\n").removesuffix("\r")
    if number == 0:
        yield 1, ""


def empty_lines(path):
    """How many lines of a text file are blank, without those at its end, which no row was lost from."""
    count = at_end = 0
    for _, line in numbered_lines(path):
        blank = not line.strip()
        count, at_end = (count, at_end + 1) if blank else (count + at_end, 0)
    return count


def text_of(path):
    """The whole text of a UTF-8 file, without a byte-order mark. Raises UserError with the line of what is not UTF-8."""
    check_pointer(path)
    with open(path, "rb") as file:
        content = file.read()
    return decoded(content, path).removeprefix(MARK)


def decoded(content, where, line=1, begin=0):
    """Text of bytes that begin in a line, at a byte of `where`. Raises UserError for what is not UTF-8."""
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        line += content.count(b"\n", 0, error.start)
        raise UserError(f"{where}, line {line}: not UTF-8 (byte {begin + error.start})") from error


def parse_json(text, where, line=None):
    """What JSON says; `line` is where the text begins, for a text that is a part of its file.

    Raises UserError for what is not valid, nested too deeply or ambiguous (a key that an object has twice), for a number that
    Python does not read, and for half of a surrogate pair (\\ud800), which no UTF-8 file, table or tokenizer can hold.
    """
    at = where if line is None else f"{where}, line {line}"
    try:
        content = DECODER.decode(text)
        if SURROGATE.search(text):
            json.dumps(content, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        raise UserError(f"{where}, line {(line or 1) + error.lineno - 1}: not valid JSON ({error.msg})") from error
    except UnicodeEncodeError as error:
        raise UserError(f"{at}: not valid JSON (half of a surrogate pair, {error.object[error.start]!r})") from error
    except RecursionError as error:
        raise UserError(f"{at}: not valid JSON (nested too deeply)") from error
    except ValueError as error:
        raise UserError(f"{at}: not valid JSON ({str(error).split(';')[0]})") from error
    return content


def _object(pairs):
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"the key {quoted(twice)} stands there twice")
    return found


DECODER = json.JSONDecoder(object_pairs_hook=_object)  # made once: for a line of a file it takes as long as reading it
