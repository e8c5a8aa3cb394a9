"""Answers where their context has them: offsets in characters, whatever a file counts, and ids that name one question each."""

from xstilts.base import UserError

MOST_MISPLACED = 0.01  # of all questions; above, the file is damaged or of another text
MISPLACED = "questions whose answer is not at its offset"
UNITS = {  # what offsets may count instead of characters: (encoding, bytes of a unit)
    "questions with offsets in bytes, not in characters": ("utf-8", 1),
    "questions with offsets in UTF-16 units, not in characters": ("utf-16-le", 2),
}
RENUMBERED = "repeated ids in training, renumbered"


def in_place(example):
    """(the example with offsets in characters, None or what was wrong with them: MISPLACED or a key of UNITS). All answers of a
    question are counted in one unit."""
    context, answers = example["context"], example["answers"]
    pairs = [*zip(answers["text"], answers["answer_start"], strict=True)]
    if any(start < 0 for _, start in pairs):  # which Python would count from the end
        return example, MISPLACED
    if all(context.startswith(text, start) for text, start in pairs):
        return example, None
    for wrong, unit in UNITS.items():
        found = [_start(context, text, start, *unit) for text, start in pairs]
        if None not in found:
            return {**example, "answers": {**answers, "answer_start": found}}, wrong
    return example, MISPLACED


def _start(context, text, start, encoding, width):
    """Where an answer begins, in characters, if it is at `start` units of an encoding; None if it is not."""
    encoded = context.encode(encoding)
    if not encoded.startswith(text.encode(encoding), start * width):
        return None
    return len(encoded[: start * width].decode(encoding, errors="ignore"))


def check_misplaced(counts, questions, where):
    """Raise UserError if more than one question, and more than MOST_MISPLACED of them, have an answer that is not there."""
    if counts[MISPLACED] > max(1, MOST_MISPLACED * questions):
        raise UserError(
            f"{where}: {counts[MISPLACED]} of {questions} {MISPLACED} in the context; the file is damaged, or its texts changed"
        )
