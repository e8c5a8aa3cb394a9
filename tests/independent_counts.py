"""How many rows a file has, counted without any reader of ours; what is counted must come out of a reader as a row or `Dropped`.

The counts know the forms only: a line, a record, a sentence, a question.
"""

import json


def lines_of(content):
    """The lines of a file that are not blank, without a byte-order mark."""
    lines = content.decode("utf-8-sig").split("\n")
    return [line.removesuffix("\r") for line in lines if line.strip()]


def count_lines(content):
    """Lines that are not blank."""
    return len(lines_of(content))


def count_below_header(content):
    """Lines that are not empty, without the first line."""
    return sum(line.removesuffix("\r") != "" for line in content.decode("utf-8-sig").split("\n")[1:])


def count_records(content):
    """Records of a CSV file without its header, by hand: a line break in a quoted field ends none."""
    text, records, quoted, start, empty = content.decode("utf-8-sig").replace("\r\n", "\n"), 0, False, True, True
    for character in f"{text}\n".replace("\r", "\n"):
        if character == "\n" and not quoted:
            records, start, empty = records + (not empty), True, True
            continue
        if character == '"' and (quoted or start):
            quoted = not quoted  # a doubled quote is two changes
        start, empty = character == "," and not quoted, False
    return max(0, records - 1)


def count_questions(content):
    """Questions of SQuAD's JSON."""
    articles = json.loads(content.decode("utf-8-sig"))["data"]
    return sum(len(paragraph["qas"]) for article in articles for paragraph in article["paragraphs"])


def count_sentences(content):
    """(blocks of lines with a word, words) of a CoNLL-U file."""
    blocks, words = [False], 0
    for line in content.decode("utf-8-sig").split("\n"):
        number = line.split("\t")[0]
        blocks += [False] if not line.strip() else []
        if number.isascii() and number.isdigit():
            blocks[-1], words = True, words + 1
    return sum(blocks), words


def found_sentences(rows, dropped):
    """The same of rows; words of sentences that are left out as a whole are not known."""
    words = sum(len(row["tokens"]) for row in rows) + dropped.get("words without a form", 0)
    whole = {reason: count for reason, count in dropped.items() if reason.startswith("sentences")}
    return len(rows) + sum(whole.values()), None if whole else words


def count_entities(content):
    """(blocks of lines with a word, words) of a file of named entities."""
    blocks, words = [False], 0
    for line in content.decode("utf-8-sig").split("\n"):
        fields = line.split("\t")
        blocks += [False] if not line.strip() else []
        comment, span = len(fields) == 1 and line.startswith("#"), len(fields) > 2 and not fields[0].isdigit()
        if line.strip() and not comment and not span:
            blocks[-1], words = True, words + 1
    return sum(blocks), words


def count_mentions(content):
    """Mentions of all articles of Mewsli-X."""
    return sum(len(json.loads(line)["mentions"]) for line in lines_of(content))
