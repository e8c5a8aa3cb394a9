"""Each task type, from examples to predictions: features -> collate -> (planted logits) -> decode -> the benchmark's file."""

import json
from itertools import pairwise

import numpy as np
import pytest
import torch
from conftest import CHARACTERS, tiny_tokenizer
from datasets import Dataset
from families import gemma, llama_3
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, normalizers

from tasks import squad
from xstilts import classification, dual_encoder, multiple_choice, qa, tagging
from xstilts.answer_tokens import token_span
from xstilts.base import UserError
from xstilts.coverage import coverage

PADDING = -100  # what the Trainer fills shorter batches of logits with


def featurized(task_type, examples, tokenizer, labels=(), **lengths):
    """Features of examples, as a Dataset, all in one batch."""
    batch = {column: [example[column] for example in examples] for column in task_type.columns}
    columns = task_type.features(batch, list(range(len(examples))), tokenizer, list(labels), **lengths)
    return Dataset.from_dict(columns)


def decoded(task_type, logits, features, examples, labels=()):
    """Predictions for examples given as a list, from (rows, ...) logits padded behind the end of each row."""
    logits = torch.tensor(np.array(logits), dtype=torch.float32)
    lengths = [len(row) for row in features["input_ids" if "input_ids" in features.column_names else "offsets"]]
    outputs, tokens = {"logits": logits}, logits.shape[1]
    if task_type.keep is qa.keep:
        outputs, tokens = {"start_logits": logits[:, 0], "end_logits": logits[:, 1]}, logits.shape[2]
    mask = torch.arange(tokens) < torch.tensor(lengths)[:, None]
    rows = task_type.keep(outputs, None, {"attention_mask": mask})
    return task_type.decode(rows, features, Dataset.from_list(examples), labels)


def pieces(tokenizer, ids):
    """The pieces of token ids, as text."""
    return tokenizer.convert_ids_to_tokens(ids)


def check_batch(batch, tokenizer, shape, labels):
    """Every tensor of a batch is int64 and of the expected shape."""
    assert set(batch) == {*tokenizer.model_input_names, "labels"}
    assert {tensor.dtype for tensor in batch.values()} == {torch.int64}
    assert {batch[name].shape for name in tokenizer.model_input_names} == {shape}
    assert batch["labels"].shape == labels


# ---- classification -------------------------------------------------------------------------------------------------

NLI = ("entailment", "neutral", "contradiction")
PAIRS = [
    {"text_a": "the man", "text_b": "in an on", "label": "neutral"},
    {"text_a": "on", "text_b": "er", "label": "contradiction"},
]


def test_classification_pairs(tokenizer):
    features = featurized(classification.TYPE, PAIRS, tokenizer, NLI, max_seq_length=32)
    first, second = (pieces(tokenizer, ids) for ids in features["input_ids"])
    assert second == ["<s>", "▁on", "</s>", "</s>", "▁er", "</s>"]
    assert features["labels"] == [1, 2]
    batch = classification.TYPE.collate(list(features), tokenizer)
    check_batch(batch, tokenizer, (2, len(first)), (2,))
    assert batch["attention_mask"].sum(1).tolist() == [len(first), len(second)]
    assert (batch["input_ids"][1, len(second) :] == tokenizer.pad_token_id).all()


def test_classification_of_single_texts(tokenizer):
    examples = [{**PAIRS[1], "text_b": ""}]
    features = featurized(classification.TYPE, examples, tokenizer, NLI, max_seq_length=32)
    assert pieces(tokenizer, features["input_ids"][0]) == ["<s>", "▁on", "</s>"]
    assert [classification.TYPE.texts(example) for example in (*PAIRS[1:], *examples)] == [[("on", "er")], [("on",)]]


def test_features_of_a_row_do_not_depend_on_its_neighbours(tokenizer):
    """Of every type whose second text may be empty, which may go in another order within the tokenizer."""
    single, pair = {**PAIRS[0], "text_b": ""}, PAIRS[1]
    story = {"context": "", "choices": ["on er", "a"], "label": "0"}
    rows = [
        (classification.TYPE, [pair, single, {**pair, "text_a": ""}, single, pair], NLI, {}),
        (multiple_choice.TYPE, [story, {**story, "context": "the man", "choices": ["", "a"]}, story], ("0", "1"), {}),
        (qa.TYPE, [question("", "", 0), question("the man", "man")], (), {"doc_stride": 8}),
        (dual_encoder.TYPE, [{"id": "1", "query": q, "document": d} for q, d in (("", "on"), ("on er", ""))], (),
         {"max_query_length": 8}),
    ]  # fmt: skip
    for kind, examples, labels, lengths in rows:
        together = featurized(kind, examples, tokenizer, labels, max_seq_length=32, **lengths)
        for number, example in enumerate(examples):
            (alone,) = featurized(kind, [example], tokenizer, labels, max_seq_length=32, **lengths)
            assert together[number] == {**alone, "example": number}


def test_classification_cuts_the_longer_text(tokenizer):
    examples = [{"text_a": "the " * 50, "text_b": "on in er", "label": "neutral"}]
    features = featurized(classification.TYPE, examples, tokenizer, NLI, max_seq_length=12)
    expected = ["<s>", *["▁the"] * 5, "</s>", "</s>", "▁on", "▁in", "▁er", "</s>"]
    assert pieces(tokenizer, features["input_ids"][0]) == expected


def test_classification_decodes_the_highest_logit():
    logits = np.array([[0.1, 0.3, 0.2], [5, -1, 5], [-3, -2, -1]])
    predictions = classification.TYPE.decode(logits, None, None, NLI)
    assert predictions == ["neutral", "entailment", "contradiction"]
    assert [classification.TYPE.gold(example) for example in PAIRS] == ["neutral", "contradiction"]


def test_classification_file(tmp_path):
    classification.TYPE.write(tmp_path / "test-zh.x", ["neutral", "entailment"], None)
    assert (tmp_path / "test-zh.tsv").read_bytes() == b"neutral\nentailment\n"


# ---- multiple choice ------------------------------------------------------------------------------------------------

FOUR = ("0", "1", "2", "3")
STORIES = [
    {"context": "the " * 30 + "man in", "choices": ["on", "er the", "an", "in in in"], "label": "3"},
    {"context": "", "choices": ["on er", "a", "b", "c"], "label": "0"},
]


def test_multiple_choice_batches_ragged_inputs(tokenizer):
    features = featurized(multiple_choice.TYPE, STORIES, tokenizer, FOUR, max_seq_length=64)
    assert features["labels"] == [3, 0]
    assert pieces(tokenizer, features["input_ids"][1][0]) == ["<s>", "</s>", "</s>", "▁on", "▁er", "</s>"]
    longest = max(len(ids) for row in features["input_ids"] for ids in row)
    batch = multiple_choice.TYPE.collate(list(features), tokenizer)
    check_batch(batch, tokenizer, (2, 4, longest), (2,))
    assert multiple_choice.TYPE.texts(STORIES[1])[1] == ("", "a")
    for row, example in enumerate(features["input_ids"]):
        for choice, ids in enumerate(example):
            assert batch["input_ids"][row, choice, : len(ids)].tolist() == ids
            assert batch["attention_mask"][row, choice].sum() == len(ids)


def test_multiple_choice_keeps_the_end_of_the_context_and_the_whole_choice(tokenizer):
    features = featurized(multiple_choice.TYPE, STORIES, tokenizer, FOUR, max_seq_length=14)
    expected = ["<s>", *["▁the"] * 4, *pieces(tokenizer, tokenizer("man in", add_special_tokens=False)["input_ids"])]
    assert pieces(tokenizer, features["input_ids"][0][3]) == [*expected, "</s>", "</s>", *["▁in"] * 3, "</s>"]
    assert tokenizer.truncation_side == "right"


def test_rows_of_a_batch_do_not_depend_on_each_other(tokenizer):
    together = featurized(multiple_choice.TYPE, STORIES, tokenizer, FOUR, max_seq_length=20)
    alone = [featurized(multiple_choice.TYPE, [story], tokenizer, FOUR, max_seq_length=20)[0] for story in STORIES]
    assert [row["input_ids"] for row in together] == [row["input_ids"] for row in alone]


@pytest.mark.parametrize(
    ("choice", "max_seq_length", "fits"),
    [("in in in", 8, True), ("in in in", 7, False), ("1 + 1 !", 8, False), ("the the the an an an", 11, True)],
)
def test_a_choice_that_does_not_fit_is_an_error(choice, max_seq_length, fits, tokenizer):
    story = {"context": "the man", "choices": [choice, "語" * 9], "label": "0"}
    if fits:
        features = featurized(multiple_choice.TYPE, [story], tokenizer, FOUR[:2], max_seq_length=max_seq_length)
        assert len(features["input_ids"][0][0]) <= max_seq_length
        return
    with pytest.raises(UserError, match=rf"--max_seq_length {max_seq_length} has no room for a choice of \d+ pieces"):
        featurized(multiple_choice.TYPE, [story], tokenizer, FOUR[:2], max_seq_length=max_seq_length)
    assert tokenizer.truncation_side == "right"


def test_a_wrong_number_of_choices_is_an_error(tokenizer):
    story = {"context": "a", "choices": ["b", "c", "d"], "label": "0"}
    with pytest.raises(UserError, match="3 choices instead of 4"):
        featurized(multiple_choice.TYPE, [story], tokenizer, FOUR, max_seq_length=16)


# ---- tagging --------------------------------------------------------------------------------------------------------

TAGS = ("NOUN", "VERB", "X")


def sentence(*words):
    """A sentence whose tags go round."""
    return {"tokens": list(words), "tags": [TAGS[i % 3] for i in range(len(words))]}


def planted(features, tokens, tags):
    """Logits that say tag `tags[example][word]` at every labelled position, nonsense elsewhere, padded as the Trainer does."""
    logits = np.full((len(features), tokens, len(TAGS)), float(PADDING))
    for row, feature in zip(logits, features, strict=True):
        row[: len(feature["labels"])] = np.random.default_rng(0).normal(size=(len(feature["labels"]), len(TAGS)))
        labelled = [position for position, label in enumerate(feature["labels"]) if label != -100]
        for position, word in zip(labelled, feature["words"], strict=True):
            row[position, TAGS.index(tags[feature["example"]][word])] = 9
    return logits


def test_the_first_piece_carries_the_tag(tokenizer):
    features = featurized(tagging.TYPE, [sentence("the", "man", ".")], tokenizer, TAGS, max_seq_length=32)
    (row,) = features
    assert pieces(tokenizer, row["input_ids"]) == ["<s>", "▁the", "▁m", "an", "▁.", "</s>"]
    assert row["labels"] == [-100, 0, 1, -100, 2, -100]
    assert row["words"] == [0, 1, 2]


def test_tagging_batches(tokenizer):
    examples = [sentence("the", "man"), sentence("on")]
    features = featurized(tagging.TYPE, examples, tokenizer, TAGS, max_seq_length=32)
    batch = tagging.TYPE.collate(list(features), tokenizer)
    check_batch(batch, tokenizer, (2, 5), (2, 5))
    assert batch["labels"].tolist() == [[-100, 0, 1, -100, -100], [-100, 0, -100, -100, -100]]
    assert batch["attention_mask"].tolist() == [[1] * 5, [1, 1, 1, 0, 0]]


STRANGE = ["", " ", "\u00a0", "\u200b", "\ufeff", "\u3000", "ﷺ", "the" * 200, "m" * 600, "the", "a b", "-", "語"]


@pytest.mark.parametrize(
    "words",
    [[word] for word in STRANGE] + [STRANGE, ["the"] * 600, ["man", ""] * 300, [""]],
    ids=lambda words: ascii(words[0][:6]) + f"x{len(words)}",
)
@pytest.mark.parametrize("max_seq_length", [8, 128])
def test_every_word_gets_one_prediction_in_order(words, max_seq_length, tokenizer):
    check_words([sentence("an"), sentence(*words), sentence("on", "er")], max_seq_length, tokenizer)


WORDS = st.lists(st.one_of(st.sampled_from(STRANGE), st.text(CHARACTERS, max_size=9)), min_size=1, max_size=30)


@given(st.lists(WORDS, min_size=1, max_size=4), st.integers(3, 40))
@settings(max_examples=60, deadline=None)
def test_no_word_loses_its_tag(tokenizer, words, max_seq_length):
    check_words([sentence(*each) for each in words], max_seq_length, tokenizer)


def check_words(examples, max_seq_length, tokenizer):
    """Windows fit, hold every piece that fits in a window, and give each word the tag that was planted for it."""
    features = featurized(tagging.TYPE, examples, tokenizer, TAGS, max_seq_length=max_seq_length)
    lengths = [len(ids) for ids in features["input_ids"]]
    assert max(lengths) <= max_seq_length
    gold = [tagging.TYPE.gold(example) for example in examples]
    logits = planted(features, max(lengths) + 3, gold)
    assert decoded(tagging.TYPE, logits, features, examples, TAGS) == gold
    order = [(row["example"], word) for row in features for word in row["words"]]
    assert order == [(i, word) for i, example in enumerate(examples) for word in range(len(example["tokens"]))]


def test_windows_hold_all_pieces_in_order(tokenizer):
    words = ["the", "man", "", "on"] * 40
    features = featurized(tagging.TYPE, [sentence(*words)], tokenizer, TAGS, max_seq_length=16)
    inside = [id for ids in features["input_ids"] for id in ids[1:-1]]
    assert inside == [id for ids in tagging.word_pieces([words], tokenizer)[0] for id in ids]
    assert {(ids[0], ids[-1]) for ids in features["input_ids"]} == {(0, 2)}


@given(st.lists(st.text(CHARACTERS, min_size=1, max_size=6), min_size=1, max_size=8))
@settings(max_examples=60, deadline=None)
def test_words_have_the_pieces_of_running_text(tokenizer, words):
    running = tokenizer(" ".join(words), add_special_tokens=False)["input_ids"]
    assert [id for ids in tagging.word_pieces([words], tokenizer)[0] for id in ids] == running


@pytest.mark.parametrize("name", ["dropped", "spaces in pieces"])
def test_fertility_is_that_of_the_tokens_the_model_reads(name):
    tokenizer, room = TOKENIZERS[name], 9
    examples = [sentence(*words) for words in (["the", "on er", "\u200b"], ["er", "st"], ["on", "the", "st"] * 3)]
    features = featurized(tagging.TYPE, examples, tokenizer, TAGS, max_seq_length=64)
    words, read = sum(len(example["tokens"]) for example in examples), [len(ids) - 2 for ids in features["input_ids"]]
    inputs = [each for example in examples for each in tagging.TYPE.texts(example)]
    found = coverage(inputs, tokenizer, room, True)
    assert found["subwords_per_word"] == round(sum(read) / words, 4)
    assert found["too_long_share"] == round(sum(length + 2 > room for length in read) / 3, 6)
    unknown = sum(ids.count(tokenizer.unk_token_id) for ids in features["input_ids"])
    assert found["unknown_share"] == round(unknown / sum(read), 6)
    assert coverage([("er", "st")], tokenizer, read[1] + 2, True)["too_long_share"] == 0, "two words are no pair"


@pytest.mark.parametrize(
    "text", ["これは日本語の文です。", "我们 说中文", "ภาษาไทย เขียน", "ភាសាខ្មែរ", "ພາສາລາວ", "မြန်မာစာ"]
)
def test_fertility_of_languages_without_spaces_is_per_character(text, tokenizer):
    """White space divides such text into clauses; where a treebank gives the words, and in Korean, they are words."""
    found = coverage([(text,), (text, "the")], tokenizer, 32)
    assert found["subwords_per_word"] is None
    assert found["subwords_per_character"] > 0
    assert coverage([(text,)], tokenizer, 32, True)["subwords_per_word"] >= 1
    assert coverage([("한국어는 띄어 씁니다 漢字",)], tokenizer, 32)["subwords_per_word"] >= 1


def test_words_without_pieces_become_unknown(tokenizer):
    unknown = [tokenizer.unk_token_id]
    assert tagging.word_pieces([["", "on", "\u00a0"]], tokenizer)[0] == [
        unknown,
        tokenizer("on")["input_ids"][1:-1],
        unknown,
    ]
    assert tagging.word_pieces([[], []], tokenizer) == [[], []]


def test_special_tokens(tokenizer):
    assert tagging.special_tokens(tokenizer) == ([tokenizer.bos_token_id], [tokenizer.eos_token_id])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows[:-1], "a word has no prediction"),
        (lambda rows: [rows[0], *rows], "word 0 of sentence 0 is predicted twice"),
    ],
    ids=["lost", "twice"],
)
def test_a_lost_or_doubled_window_is_noticed(change, message, tokenizer):
    examples = [sentence(*["the"] * 20)]
    features = featurized(tagging.TYPE, examples, tokenizer, TAGS, max_seq_length=8)
    rows = Dataset.from_list(change(list(features)))
    with pytest.raises(ValueError, match=message):
        decoded(tagging.TYPE, np.zeros((len(rows), 8, 3)), rows, examples, TAGS)


def test_tagging_file(tmp_path):
    tagging.TYPE.write(tmp_path / "test-de.x", [["NOUN", "VERB"], ["X"]], None)
    assert (tmp_path / "test-de.tsv").read_bytes() == b"NOUN\nVERB\n\nX\n\n"


# ---- question answering ---------------------------------------------------------------------------------------------


def question(context, answer="", start=None, text="who", id="q"):
    """An example with one reference answer; `start` defaults to where the answer first stands."""
    start = context.index(answer) if start is None else start
    return {"id": id, "question": text, "context": context, "answers": {"text": [answer], "answer_start": [start]}}


def qa_features(examples, tokenizer, max_seq_length=24, doc_stride=8):
    """Features of questions; windows of 24 pieces that share 8."""
    lengths = {"max_seq_length": max_seq_length, "doc_stride": doc_stride}
    return featurized(qa.TYPE, examples, tokenizer, **lengths)


def planted_spans(features, tokens, low=-5.0):
    """(rows, 2, tokens) start and end logits with their peak at the labels; [0, 0] plants nothing that can be chosen."""
    logits = np.full((len(features), 2, tokens), low, dtype=np.float32)
    for row, labels in enumerate(features["labels"]):
        for side in (0, 1):
            logits[row, side, labels[side]] = 5
    return logits


def test_windows_of_a_long_context(tokenizer):
    context = " ".join(["the", "an", "in", "on"] * 15)
    features = qa_features([question("on the"), question(context, "an", 4)], tokenizer)
    first, *windows = features
    assert pieces(tokenizer, first["input_ids"])[-5:] == ["</s>", "</s>", "▁on", "▁the", "</s>"]
    assert [row["example"] for row in features] == [0] + [1] * len(windows)
    assert max(len(row["input_ids"]) for row in features) == 24
    spans = [[tuple(span) for span in row["offsets"] if span[0] != -1] for row in windows]
    assert {span for window in spans for span in window} == {(m, m + len(w)) for m, w in word_starts(context)}
    assert all(len(set(a) & set(b)) == 8 for a, b in pairwise(spans))
    assert [row["labels"] == [0, 0] for row in windows] == [False] + [True] * (len(windows) - 1)


def word_starts(text):
    """(position, word) of words divided by single spaces."""
    position = 0
    for word in text.split(" "):
        yield position, word
        position += len(word) + 1


def test_offsets_outside_the_context_are_marked(tokenizer):
    (row,) = qa_features([question("on the", "the", text="the on")], tokenizer)
    assert [tuple(span) for span in row["offsets"]] == [(-1, -1)] * 5 + [(0, 2), (3, 6), (-1, -1)]
    assert row["labels"] == [6, 6]


CONTEXT = st.lists(st.text(CHARACTERS, min_size=1, max_size=5), min_size=1, max_size=40).map(" ".join)


@given(CONTEXT, st.data())
@settings(max_examples=80, deadline=None)
def test_answers_map_to_tokens_and_back(tokenizer, context, data):
    words = list(word_starts(context))
    first = data.draw(st.integers(0, len(words) - 1))
    last = data.draw(st.integers(first, min(first + 2, len(words) - 1)))
    start, end = words[first][0], words[last][0] + len(words[last][1])
    examples = [question(context, context[start:end], start), question("on", "on")]
    features = qa_features(examples, tokenizer, 40, 16)
    own = [row for row in features if row["example"] == 0]
    assert any(row["labels"] != [0, 0] for row in own), "the answer is shorter than what two windows share"
    for row in own:
        if row["labels"] != [0, 0]:
            a, b = row["labels"]
            assert (row["offsets"][a][0], row["offsets"][b][1]) == (start, end)
    logits = planted_spans(features, max(map(len, features["input_ids"])))
    logits[[row["labels"] == [0, 0] for row in features]] = -5
    assert decoded(qa.TYPE, logits, features, examples) == [context[start:end], "on"]


@pytest.mark.parametrize(
    ("answers", "span"),
    [
        ({"text": ["the"], "answer_start": [3]}, (1, 1)),
        ({"text": ["  the "], "answer_start": [1]}, (1, 1)),
        ({"text": ["the", "on"], "answer_start": [3, 0]}, (1, 1)),
        ({"text": ["t"], "answer_start": [3]}, (1, 1)),
        ({"text": ["n t"], "answer_start": [1]}, (0, 1)),
        ({"text": ["the and more"], "answer_start": [3]}, (1, 1)),
        ({"text": ["elsewhere"], "answer_start": [90]}, None),
        ({"text": [" "], "answer_start": [2]}, None),
        ({"text": [""], "answer_start": [4]}, None),
        ({"text": [], "answer_start": []}, None),
    ],
)
def test_token_span(answers, span):
    assert token_span(answers, [(0, 2), (3, 6)]) == span


def normalizing(normalizer):
    """The tiny tokenizer with another normalizer."""
    tokenizer = tiny_tokenizer()
    tokenizer.backend_tokenizer.normalizer = normalizer
    return tokenizer


# XLM-R's normalizer composes, and drops some format characters or makes spaces of them; older ones drop accents.
FORMATS = Regex("[\u00ad\u200b-\u200f]")
TOKENIZERS = {
    "dropped": normalizing(normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(FORMATS, "")])),
    "spaced": normalizing(normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(FORMATS, " ")])),
    "without accents": normalizing(normalizers.BertNormalizer()),
    "bytes": llama_3(),
    "spaces in pieces": gemma(),
}
MARKED = [
    ("The singer is Jose\u0301 from Bogota\u0301 in", "Jose\u0301"),
    ("The singer is Jose\u0301", "Jose\u0301"),
    ("a Jose\u0323\u0301, b", "Jose\u0323\u0301"),
    ("born in Marl\u200b a town", "Marl\u200b"),
    ("born in (Marl\u200b) a", "Marl\u200b"),
    ("هو سالم\u200f من", "سالم\u200f"),
    ("هو سالم\u200e، من", "سالم\u200e"),
    ("he said nil\u200d here", "nil\u200d"),
    ("हिन्दी में है", "हिन्दी"),
    ("in \u1112\u1161\u11ab\u1100\u116e\u11a8 on", "\u1112\u1161\u11ab\u1100\u116e\u11a8"),  # decomposed Korean
    # A mark between two words belongs to neither.
    ("نام کتاب\u200cها بود", "کتاب"),
    ("กาน\u200bนะ", "กาน"),
    ("see \u200fسالم من", "سالم"),
]


@pytest.mark.parametrize("name", TOKENIZERS)
def test_an_answer_keeps_the_marks_of_its_last_character(name):
    examples = [question(*each) for each in MARKED]
    features = qa_features(examples, TOKENIZERS[name], 90, 16)
    logits = planted_spans(features, max(map(len, features["input_ids"])))
    assert decoded(qa.TYPE, logits, features, examples) == [answer for _, answer in MARKED]
    assert [0, 0] not in features["labels"]


def test_training_answers_with_marks_have_a_target(shared):
    source = squad.TASK.source
    rows = source.read(f"{shared.parent}/cases/18-answer-edges/train.json", source.features)
    examples = [squad.to_example(row) for row in rows]
    long = "the an in on " * 20 + examples[0]["context"]
    examples.append(question(long, "Jose\u0301"))
    features = qa_features(examples, TOKENIZERS["dropped"], 60, 16)
    assert [0, 0] in features["labels"], "a window without the answer"
    logits = planted_spans(features, max(map(len, features["input_ids"])))
    logits[[row["labels"] == [0, 0] for row in features]] = -5
    found = decoded(qa.TYPE, logits, features, examples)
    assert found == [example["answers"]["text"][0] for example in examples]
    assert len(found) == 7


def test_answers_without_a_target_are_counted_by_reason():
    tokenizer, context = TOKENIZERS["dropped"], "the an in on " * 9 + "st\u200bst"
    answers = [("st", None), ("\u200b", None), (context, None), ("", 4), (" ", 3)]
    examples = [question(context, *answer) for answer in answers]
    examples.append({**examples[0], "answers": {"text": [], "answer_start": []}})  # has none: nothing is wrong
    features = qa_features(examples, tokenizer)
    assert max(features["example"]) == 5 < len(features) - 1
    assert qa.TYPE.untaught(features, Dataset.from_list(examples)) == {
        "questions whose answer has no token": 1,
        "questions whose answer is whole in no window": 1,
        "questions whose answer is empty": 2,
    }


def reference_decode(starts, ends, offsets, context):
    """The same, slowly: all pairs of the 20 best starts and ends, the highest sum, ties to the lowest positions."""
    best, answer = -np.inf, ""
    inside = [i for i, (a, _) in enumerate(offsets) if a != -1]
    top = [sorted(inside, key=lambda i: (-side[i], i))[:20] for side in (starts, ends)]
    for first in sorted(top[0]):
        for last in sorted(top[1]):
            if first <= last < first + 30 and starts[first] + ends[last] > best:
                best, answer = starts[first] + ends[last], context[offsets[first][0] : offsets[last][1]].strip()
    return best, answer


@given(st.integers(0, 2**32 - 1), st.integers(1, 120), st.sampled_from([1, 2, 9]), st.sampled_from([0, 0.5, 2]))
@settings(max_examples=120, deadline=None)
def test_decoding_equals_a_plain_search(tokenizer, seed, words, levels, slope):
    """`levels` small makes ties; with `slope` the best starts stand behind the best ends, so that few pairs are left."""
    context = " ".join(["the", "on", "in"] * 40)[: 4 * words]
    examples = [question("on the", "on"), question(context, "the")]
    features = qa_features(examples, tokenizer, 64, 16)
    tokens = max(map(len, features["input_ids"])) + 4
    random = np.random.default_rng(seed)
    logits = random.integers(-levels, levels, (2, len(features), tokens)).astype(np.float32)
    logits += slope * np.arange(tokens, dtype=np.float32) * np.array([1, -1])[:, None, None]
    for row, ids in enumerate(features["input_ids"]):
        logits[:, row, len(ids) :] = random.choice([PADDING, 99])
    expected = []
    for number, example in enumerate(examples):
        rows = [i for i in range(len(features)) if features[i]["example"] == number]
        found = [reference_decode(*logits[:, i], features[i]["offsets"], example["context"]) for i in rows]
        expected.append(max(found, key=lambda pair: pair[0])[1])
    assert decoded(qa.TYPE, logits.swapaxes(0, 1), features, examples) == expected


@pytest.mark.parametrize(
    ("starts", "ends", "answer"),
    [
        (np.tile([0, 1], 30), np.tile([0, 1], 30), "w1"),  # ties go to the lowest positions
        (np.arange(39), -np.arange(39), "w19"),  # of the 20 best starts and the 20 best ends one pair is left
        (np.arange(40), -np.arange(40), ""),  # and here none
    ],
    ids=["ties", "one pair", "no pair"],
)
def test_the_twenty_best_starts_and_ends(starts, ends, answer):
    words = [f"w{i}" for i in range(len(starts))]
    offsets = [[a, a + len(word)] for a, word in word_starts(" ".join(words))]
    features = Dataset.from_dict({"offsets": [offsets], "example": [0]})
    assert decoded(qa.TYPE, [[starts, ends]], features, [question(" ".join(words), "w0")]) == [answer]


def test_an_answer_never_leaves_the_context_and_is_at_most_30_tokens(tokenizer):
    context = " ".join(["the"] * 40)
    features = qa_features([question(context, "the")], tokenizer, 64, 16)
    logits = np.full((1, 2, 70), 99.0)
    inside = np.array(features[0]["offsets"])[:, 0] >= 0
    logits[0, :, : len(inside)][:, inside] = np.arange(inside.sum())
    assert decoded(qa.TYPE, logits, features, [question(context, "the")]) == ["the"]
    logits[0, 0, : len(inside)][inside] *= -9
    (answer,) = decoded(qa.TYPE, logits, features, [question(context, "the")])
    assert answer == " ".join(["the"] * 30)


def test_an_empty_context_has_an_empty_answer(tokenizer):
    examples = [question("", "", 0), question(" \u00a0 ", "", 0)]
    features = qa_features(examples, tokenizer)
    assert features["labels"] == [[0, 0], [0, 0]]
    assert decoded(qa.TYPE, np.ones((2, 2, 24)), features, examples) == ["", ""]


def test_blanks_around_an_answer_are_cut(tokenizer):
    examples = [question("on  the   an", " the  ", 3)]
    features = qa_features(examples, tokenizer)
    assert decoded(qa.TYPE, planted_spans(features, 24), features, examples) == ["the"]


def test_a_long_question_keeps_its_first_64_pieces(tokenizer):
    long = " ".join(["the", "on"] * 50)
    assert qa.shortened_questions([f"  {long}", "who ", ""], tokenizer) == [" ".join(["the", "on"] * 32), "who ", ""]
    features = qa_features([question("an in", "in", text=long)], tokenizer, 80, 8)
    assert [len(ids) for ids in features["input_ids"]] == [64 + 4 + 2]
    assert features["labels"] == [[68, 68]]


def test_an_empty_question(tokenizer):
    features = qa_features([question("an in", "in", text="  ")], tokenizer)
    assert pieces(tokenizer, features["input_ids"][0]) == ["<s>", "</s>", "</s>", "▁an", "▁in", "</s>"]
    assert features["labels"] == [[4, 4]]


@pytest.mark.parametrize("doc_stride", [17, 24, 300])
def test_a_stride_beyond_the_window_is_an_error(doc_stride, tokenizer):
    context = "the " * 60
    assert len(qa_features([question(context, "the", text="on on on")], tokenizer, 24, 16))
    with pytest.raises(UserError, match=f"leaves 17 tokens .* a question of 3 pieces; --doc_stride {doc_stride}"):
        qa_features([question(context, "the", text="on on on")], tokenizer, 24, doc_stride)


def test_qa_batches_and_the_scores_that_the_loss_reads(tokenizer):
    features = qa_features([question("on the an", "an"), question("on")], tokenizer)
    batch = qa.TYPE.collate(list(features), tokenizer)
    longest = len(features[0]["input_ids"])
    check_batch(batch, tokenizer, (2, longest), (2, 2))
    outputs = {"start_logits": torch.zeros(2, longest), "end_logits": torch.ones(2, longest)}
    scores = qa.TYPE.logits(outputs, batch)
    assert scores.shape == (2, 2, longest)
    assert torch.isinf(scores).tolist() == [
        [[mask == 0 for mask in row]] * 2 for row in batch["attention_mask"].tolist()
    ]
    assert scores[0, :, 0].tolist() == [0, 1]


def test_qa_file(tmp_path):
    examples = Dataset.from_list([question("a", "a", id="x-1"), question("b", "b", id="x-2")])
    qa.TYPE.write(tmp_path / "test-th.x", ['"a"', "บี"], examples)
    content = (tmp_path / "test-th.json").read_bytes()
    assert content == '{\n "x-1": "\\"a\\"",\n "x-2": "บี"\n}'.encode()
    assert json.loads(content) == {"x-1": '"a"', "x-2": "บี"}
    assert qa.TYPE.gold(examples[0]) == ["a"]
    assert qa.TYPE.texts(examples[0]) == [("who", "a")]


# ---- questions without an answer ------------------------------------------------------------------------------------


def test_null_odds_by_hand(tokenizer):
    """Two windows: "the" scores 3 + 4 in the first, "in" 5 + 3 in the second; having no answer scores 9 and 2."""
    examples = [question("the an in", "the"), question("on", "on", id="r")]
    offsets = [[[-1, -1], [-1, -1], [0, 3], [4, 6], [-1, -1]], [[-1, -1], [-1, -1], [4, 6], [7, 9], [-1, -1]]]
    features = Dataset.from_dict({"offsets": [*offsets, [[-1, -1], [0, 2], [-1, -1]]], "example": [0, 0, 1]})
    starts = np.array([[4, 99, 3, 0, 0], [1, 99, 0, 5, 99], [0.5, 1, 9, PADDING, PADDING]])
    ends = np.array([[5, 99, 4, 0, 0], [1, 99, 0, 3, 99], [-2, 1, 9, PADDING, PADDING]])
    expected = [{"text": "in", "null_odds": 2 - 8}, {"text": "on", "null_odds": -1.5 - 2}]
    logits = np.stack([starts, ends], axis=1)
    assert decoded(qa.TYPE_WITH_NULL, logits, features, examples) == expected
    assert decoded(qa.TYPE, logits, features, examples) == ["in", "on"]


@given(st.integers(0, 2**32 - 1), st.integers(1, 60))
@settings(max_examples=40, deadline=None)
def test_null_odds_equal_a_plain_search(tokenizer, seed, words):
    examples = [question("on the", "on"), question(" ".join(["the", "on", "in"] * 20)[: 4 * words], "the")]
    features = qa_features(examples, tokenizer, 32, 16)
    tokens = max(map(len, features["input_ids"])) + 3
    logits = np.random.default_rng(seed).integers(-4, 4, (len(features), 2, tokens)).astype(np.float32)
    for row, ids in enumerate(features["input_ids"]):
        logits[row, :, len(ids) :] = PADDING
    found = decoded(qa.TYPE_WITH_NULL, logits, features, examples)
    assert [each["text"] for each in found] == decoded(qa.TYPE, logits, features, examples)
    for number, example in enumerate(examples):
        rows = [i for i in range(len(features)) if features[i]["example"] == number]
        best = max(reference_decode(*logits[i], features[i]["offsets"], example["context"])[0] for i in rows)
        assert found[number]["null_odds"] == min(logits[i, 0, 0] + logits[i, 1, 0] for i in rows) - best


def test_a_question_that_no_span_can_answer_has_the_highest_finite_odds(tokenizer):
    examples = [question("", "", 0)]
    features = qa_features(examples, tokenizer)
    (prediction,) = decoded(qa.TYPE_WITH_NULL, np.ones((1, 2, 24)), features, examples)
    assert prediction == {"text": "", "null_odds": qa.HIGHEST_ODDS}
    assert json.loads(json.dumps(prediction, allow_nan=False)) == prediction


def test_the_two_files_of_run_squad(tmp_path):
    examples = Dataset.from_list([question("a", "a", id="x-1"), question("b", "b", id="x-2")])
    predictions = [{"text": "ä", "null_odds": -1.5}, {"text": "b", "null_odds": 2.0}]
    qa.TYPE_WITH_NULL.write(tmp_path / "validation-en", predictions, examples)
    files = {path.name: json.loads(path.read_text("utf-8")) for path in tmp_path.iterdir()}
    assert files == {
        "validation-en.json": {"x-1": "ä", "x-2": "b"},
        "validation-en-null_odds.json": {"x-1": -1.5, "x-2": 2.0},
    }


def test_constant_answers():
    train, examples = Dataset.from_list([question("b", "b")] * 2), Dataset.from_list([question("a", "a")] * 3)
    assert qa.TYPE.constant(train, examples) == [""] * 3
    assert qa.TYPE_WITH_NULL.constant(train, examples) == [{"text": "", "null_odds": 0.0}] * 3


def test_a_question_without_an_answer_is_learnt_as_the_first_token(tokenizer):
    example = {"id": "q", "question": "who", "context": "the " * 30, "answers": {"text": [], "answer_start": []}}
    features = qa_features([example], tokenizer)
    assert len(features) > 1
    assert features["labels"] == [[0, 0]] * len(features)
    assert qa.TYPE_WITH_NULL.gold(example) == []
