"""Answers where their context has them: offsets in characters, whatever a file counts, and ids that name one question each."""

from xstilts.errors import UserError

MOST_MISPLACED = 0.01  # of all questions; above, the file is damaged or of another text
MISPLACED, IN_BYTES = (
    "questions whose answer is not at its offset",
    "questions with offsets in bytes, not in characters",
)
RENUMBERED = "repeated ids in training, renumbered"


def in_place(example):
    """(the example with offsets in characters, None or what was wrong with them: IN_BYTES or MISPLACED)."""
    context, answers = example["context"], example["answers"]
    found = [_start(context, *answer) for answer in zip(answers["text"], answers["answer_start"], strict=True)]
    if found == list(answers["answer_start"]):
        return example, None
    if None in found:
        return example, MISPLACED
    return {**example, "answers": {**answers, "answer_start": found}}, IN_BYTES


def _start(context, text, start):
    """Where an answer begins, in characters, if `start` says so in characters or bytes."""
    if start < 0:  # which Python would count from the end
        return None
    if context.startswith(text, start):
        return start
    before = context.encode()[:start]
    return len(before.decode(errors="ignore")) if context.encode().startswith(text.encode(), start) else None


def check_misplaced(counts, questions, where):
    """Raise UserError if more than one question, and more than MOST_MISPLACED of them, have an answer that is not there."""
    if counts[MISPLACED] > max(1, MOST_MISPLACED * questions):
        raise UserError(
            f"{where}: {counts[MISPLACED]} of {questions} {MISPLACED} in the context; the file is damaged, or its texts changed"
        )
