"""Extractive question answering: example = `id`, `question`, `context`, `answers` ({"text": [...], "answer_start": [...]}).

A long context is read in overlapping windows; in a window without the answer the target is the first token. Answers are cut
out of the context by character offsets, so that languages without spaces need no special case (`xstilts/answer_tokens.py`).
"""

import json
from dataclasses import replace
from itertools import groupby

import numpy as np
import torch
from transformers import AutoModelForQuestionAnswering

from xstilts import classification
from xstilts.answer_tokens import token_span, token_texts, untaught, without_blanks
from xstilts.base import UserError
from xstilts.task import TaskType

N_BEST = 20  # starts and ends looked at per window, as in the reference scorers' run_squad
MAX_ANSWER_LENGTH = 30  # tokens; XTREME's --max_answer_length
MAX_QUERY_LENGTH = 64  # pieces of a question that are kept; XTREME's --max_query_length
CHUNK = 256  # windows decoded together
HIGHEST_ODDS = float(np.finfo(np.float32).max)  # of having no answer, where no span is allowed: JSON has no infinity


def features(batch, indices, tokenizer, labels, max_seq_length, doc_stride):
    """One row per window: token ids, `labels` [start, end] as token positions, `offsets` (the characters of each token's text;
    [-1, -1] outside the context), `example`."""
    questions = shortened_questions(batch["question"], tokenizer)
    _check_stride(questions, tokenizer, max_seq_length, doc_stride)
    rows = tokenizer(
        questions,
        batch["context"],
        truncation="only_second",
        max_length=max_seq_length,
        stride=doc_stride,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )
    owners, spans = rows.pop("overflow_to_sample_mapping"), rows.pop("offset_mapping")
    found = {"offsets": [], "labels": [], "example": [indices[owner] for owner in owners]}
    for owner, group in groupby(range(len(owners)), owners.__getitem__):
        windows, tokens = _joined([(spans[row], rows.sequence_ids(row)) for row in group], doc_stride)
        tokens = without_blanks(batch["context"][owner], tokens)
        answer, texts = token_span(batch["answers"][owner], tokens), token_texts(batch["context"][owner], tokens)
        for length, begin, first, end in windows:
            outside = [(-1, -1)] * (length - begin - (end - first))
            found["offsets"].append([(-1, -1)] * begin + texts[first:end] + outside)
            is_whole = answer is not None and first <= answer[0] and answer[1] < end
            found["labels"].append([begin + place - first for place in answer] if is_whole else [0, 0])
    return {**rows, **found}


def _joined(windows, doc_stride):
    """(offsets, number of the text of every token) of each window of one context -> ((tokens of the window, where its context
    begins, the first and the end of its tokens among those of the whole context) of each, offsets of the whole context)."""
    places, tokens = [], []
    for spans, parts in windows:
        begin, count = (parts.index(1), parts.count(1)) if 1 in parts else (0, 0)
        first = max(0, len(tokens) - doc_stride)  # neighbours share `doc_stride` tokens
        tokens[first:] = spans[begin : begin + count]
        places.append((len(spans), begin, first, first + count))
    return places, tokens


def shortened_questions(questions, tokenizer):
    """Questions without leading white space, cut to their first MAX_QUERY_LENGTH pieces."""
    questions = [question.lstrip() for question in questions]
    spans = tokenizer(questions, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    return [
        question[: pieces[MAX_QUERY_LENGTH - 1][1]] if len(pieces) > MAX_QUERY_LENGTH else question
        for question, pieces in zip(questions, spans, strict=True)
    ]


def _check_stride(questions, tokenizer, max_seq_length, doc_stride):
    longest = max(len(pieces) for pieces in tokenizer(questions, add_special_tokens=False)["input_ids"])
    room = max_seq_length - longest - tokenizer.num_special_tokens_to_add(pair=True)
    if doc_stride >= room:
        raise UserError(
            f"--max_seq_length {max_seq_length} leaves {max(room, 0)} tokens of a window for the context beside a question of "
            f"{longest} pieces; --doc_stride {doc_stride} must be below that"
        )


def collate(rows, tokenizer, multiple=1):
    """(batch, tokens) token ids; (batch, 2) start and end positions."""
    return {**classification.padded(rows, tokenizer, multiple), "labels": torch.tensor([row["labels"] for row in rows])}


def logits(outputs, batch):
    """(batch, 2, tokens) start and end logits; -inf at padding, so that the loss does not depend on what else is in a batch."""
    both = torch.stack([outputs["start_logits"], outputs["end_logits"]], dim=1).float()
    return both.masked_fill(batch["attention_mask"][:, None] == 0, -torch.inf)


def keep(outputs, labels, batch):
    """(2, tokens) start and end logits of every row, float32."""
    lengths = batch["attention_mask"].sum(-1).tolist()
    return [row[:, :length].copy() for row, length in zip(logits(outputs, batch).cpu().numpy(), lengths, strict=True)]


def decode(outputs, features, examples, labels):
    """What `keep` kept -> the answer text of every example, from its best-scoring window."""
    return [text for text, *_ in best_answers(outputs, features, examples)]


def confidence(outputs, features, examples):
    """The probability of every predicted span among those of its window, starts and ends independent of each other."""
    return [probability for *_, probability in best_answers(outputs, features, examples)]


def decode_with_null(outputs, features, examples, labels):
    """The same -> {"text", "null_odds"} of every example: its best answer, and by how much the score of having none exceeds that
    answer's.

    A window's null score is that of its first token; an example's is the *lowest* of its windows, so that one window with an
    answer is enough (run_squad of BERT; `postprocess_qa_predictions` in transformers' utils_qa.py).
    """
    nulls = [np.inf] * len(examples)
    for (starts, ends), example in zip(outputs, features["example"], strict=True):
        nulls[example] = min(nulls[example], starts[0] + ends[0])
    answers = zip(nulls, best_answers(outputs, features, examples), strict=True)
    return [{"text": text, "null_odds": float(min(null - score, HIGHEST_ODDS))} for null, (text, score, _) in answers]


def best_answers(outputs, features, examples):
    """(text, score, probability in its window) of the best span of every example over all of its windows; ("", -inf, 0) where
    none is allowed. Of equal scores that of the earlier window."""
    found, contexts, owners = [("", -np.inf, 0.0)] * len(examples), list(examples["context"]), features["example"]
    for begin in range(0, len(outputs), CHUNK):
        rows = outputs[begin : begin + CHUNK]
        offsets = offsets_of(features, begin, [row.shape[1] for row in rows])
        starts, ends = (
            padded([np.where(o[:, 0] >= 0, row[i], -np.inf) for row, o in zip(rows, offsets, strict=True)])
            for i in (0, 1)
        )
        for row, score, first, last in zip(range(len(rows)), *best_spans(starts, ends), strict=True):
            example = owners[begin + row]
            if score > found[example][1]:
                text = contexts[example][offsets[row][first, 0] : offsets[row][last, 1]].strip()
                mass = sum(np.logaddexp.reduce(side) for side in rows[row])
                found[example] = (text, score, float(np.exp(score - mass)))
    return found


def offsets_of(features, begin, lengths):
    """(tokens, 2) character offsets of the rows from `begin` on, of which `lengths` are the numbers of tokens."""
    column = features.with_format("arrow")[begin : begin + len(lengths)]["offsets"]
    flat = column.combine_chunks().flatten().flatten().to_numpy().reshape(-1, 2)
    return np.split(flat, np.cumsum(lengths)[:-1])


def padded(rows):
    """Arrays of different length -> (rows, longest), float32 with -inf behind the end."""
    table = np.full((len(rows), max(map(len, rows))), -np.inf, np.float32)
    for line, row in zip(table, rows, strict=True):
        line[: len(row)] = row
    return table


def best_spans(starts, ends):
    """(scores, first tokens, last tokens), each (rows,), of the best spans of at most MAX_ANSWER_LENGTH tokens among the N_BEST
    starts and ends of each row of (rows, tokens) logits, -inf where not allowed. Ties go to the lower positions."""
    firsts = np.sort(np.argsort(-starts, axis=1, kind="stable")[:, :N_BEST])
    lasts = np.sort(np.argsort(-ends, axis=1, kind="stable")[:, :N_BEST])
    length = lasts[:, None, :] - firsts[:, :, None]
    scores = np.take_along_axis(starts, firsts, 1)[:, :, None] + np.take_along_axis(ends, lasts, 1)[:, None, :]
    scores = np.where((length >= 0) & (length < MAX_ANSWER_LENGTH), scores, -np.inf).reshape(len(starts), -1)
    best, rows = scores.argmax(1), np.arange(len(starts))
    row, column = np.divmod(best, lasts.shape[1])
    return scores[rows, best], firsts[rows, row], lasts[rows, column]


def gold(example):
    """The texts of the reference answers; none for a question that the context does not answer."""
    return example["answers"]["text"]


def texts(example):
    """One input: question and context."""
    return [(example["question"], example["context"])]


def constant(train, examples):
    """The empty answer for every example: no text is the answer to most training questions."""
    return [""] * len(examples)


def constant_with_null(train, examples):
    """No answer for every example, all equally likely: one threshold makes all of them null or none."""
    return [{"text": "", "null_odds": 0.0} for _ in range(len(examples))]


def write(path, predictions, examples):
    """XTREME's file: JSON, question id -> answer."""
    _write_json(path.with_suffix(".json"), examples, predictions)


def write_with_null(path, predictions, examples):
    """The two files of run_squad: <path>.json, question id -> best answer, and <path>-null_odds.json, question id -> odds.

    `evaluate-v2.0.py DEV <path>.json --na-prob-file <path>-null_odds.json --na-prob-thresh THRESHOLD` scores them.
    """
    write(path, [prediction["text"] for prediction in predictions], examples)
    odds = [prediction["null_odds"] for prediction in predictions]
    _write_json(path.with_name(f"{path.stem}-null_odds.json"), examples, odds)


def _write_json(path, examples, values):
    content = dict(zip(examples["id"], values, strict=True))
    path.write_text(json.dumps(content, ensure_ascii=False, indent=1), encoding="utf-8")


TYPE = TaskType(
    name="question_answering",
    columns=("id", "question", "context", "answers"),
    auto_model=AutoModelForQuestionAnswering,
    lengths=("doc_stride",),
    features=features,
    collate=collate,
    logits=logits,
    keep=keep,
    decode=decode,
    confidence=confidence,
    gold=gold,
    texts=texts,
    constant=constant,
    write=write,
    untaught=untaught,
)

# For questions that may have no answer (SQuAD v2.0): the metric finds the odds above which none is predicted.
TYPE_WITH_NULL = replace(
    TYPE,
    name="question_answering_with_null",
    decode=decode_with_null,
    constant=constant_with_null,
    write=write_with_null,
)
