"""Every family of docs/encoders.md goes the whole way, and its vocabulary sees words as in running text."""

import re
from functools import cache
from itertools import product

import pytest
import torch
from conftest import CHARACTERS, ROOT
from families import FAMILIES, TOKENIZERS
from hypothesis import given, settings
from hypothesis import strategies as st
from test_multitask import run
from test_types import decoded, featurized, planted_spans, question
from transformers import AutoModelForMaskedLM

import run_intermediate
import run_target
from tasks import load_task
from xstilts import multiple_choice, qa, tagging
from xstilts.checkpoint import load_encoder, load_model, load_tokenizer
from xstilts.layers import layers_of
from xstilts.pooling import pooled_states
from xstilts.training import summed_loss

tokenizer_of = cache(lambda name: TOKENIZERS[name]())


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_goes_the_whole_way(family, world, tmp_path):
    """An intermediate task of each type, two steps or more, under one encoder; what it leaves goes on to a target task, and to
    vectors of all its layers."""
    name, config = FAMILIES[family]
    tokenizer, base = tokenizer_of(name), tmp_path / "base"
    torch.manual_seed(0)
    AutoModelForMaskedLM.from_config(config(tokenizer)).save_pretrained(base)
    tokenizer.save_pretrained(base)
    line = (
        "--task mnli+hellaswag+udpos+squad --mixing uniform --max_steps 12 --max_train_samples 8 --max_eval_samples 4"
    )
    first = run(run_intermediate.main, tmp_path / "first", world, base, f"{line} --max_seq_length 128 --doc_stride 16")
    assert all(part["steps"] >= 2 for part in first["mixture"].values()), first["mixture"]

    line = "--task xnli --max_steps 2 --max_train_samples 8 --max_eval_samples 4 --max_seq_length 64"
    second = run(run_target.main, tmp_path / "second", world, tmp_path / "first", line)
    assert second["lineage_text"].endswith("> mnli+hellaswag+udpos+squad > xnli")

    encoder, again = load_encoder(str(tmp_path / "second")), load_tokenizer(str(tmp_path / "second"))
    depth = len(layers_of(encoder))
    inputs = again(["the man in an", "on"], padding=True, return_tensors="pt")
    alone = again(["on"], return_tensors="pt")
    found, expected = (
        pooled_states(encoder, range(depth + 1), "mean", dict(each), each["attention_mask"].bool())
        for each in (inputs, alone)
    )
    assert len(found) == depth + 1 == 4
    for layer in range(depth + 1):
        assert found[layer].shape == (2, 16)
        torch.testing.assert_close(found[layer][1], expected[layer][0], rtol=1e-4, atol=1e-5)


def filled(ids, value):
    """A value in the place of each id."""
    return [filled(each, value) for each in ids] if isinstance(ids, list) else value


@pytest.mark.parametrize("family", FAMILIES)
def test_every_parameter_is_trained_in_every_step(family, tmp_path):
    """With one task DDP does not look for parameters that are not, and would stop at them."""
    name, config = FAMILIES[family]
    tokenizer = tokenizer_of(name)
    torch.manual_seed(0)
    AutoModelForMaskedLM.from_config(config(tokenizer)).save_pretrained(tmp_path)
    for task in (load_task(name) for name in ("mnli", "hellaswag", "udpos", "squad", "lareqa")):
        model = load_model(str(tmp_path), task, report=str).train()
        ids = [[5, 6, 7, 8], [5, 6, 7]]
        inputs = [ids, ids] if task.name in ("hellaswag", "lareqa") else ids
        labels = {"udpos": [[1] * 4, [1] * 3], "squad": [[1, 2], [0, 1]]}.get(task.name, [0, 1])
        rows = [{"input_ids": each, "labels": label} for each, label in zip(inputs, labels, strict=True)]
        for row, key in product(rows, {*tokenizer.model_input_names} - {"input_ids"}):
            row[key] = filled(row["input_ids"], int(key == "attention_mask"))
        batch = task.type.collate(rows, tokenizer)
        targets = batch.pop("labels")
        outputs = task.type.forward(model, batch) if task.type.forward else model(**batch)
        summed_loss(task.type.logits(outputs, batch), targets).backward()
        assert [key for key, parameter in model.named_parameters() if parameter.grad is None] == [], task.name


# ---- words, answers and choices in every kind of vocabulary --------------------------------------------------------------

SCRIPTS = [
    CHARACTERS,
    "αβγδεζ",
    "กขคงจฉ",
    "한국어글",
    "ქართულ",
    "አማርኛ",
    "🙂👍é",
    "0123456789",
    "'`´’\"-.,;:!?()«»",
    "ˈː\u0301\u0308",
]
WORD = st.one_of(
    st.text(CHARACTERS, min_size=1, max_size=6), *(st.text(each, min_size=1, max_size=5) for each in SCRIPTS)
)
SENTENCE = st.lists(st.one_of(WORD, st.sampled_from(["don't", "'s", "1,234.5", "U.S.", "..."])), min_size=1, max_size=8)


@pytest.mark.parametrize("name", TOKENIZERS)
@given(words=SENTENCE)
@settings(max_examples=60, deadline=None)
def test_words_have_the_pieces_of_running_text(name, words):
    """Also where the space belongs to the piece: words alone would all look like the first of a sentence."""
    tokenizer = tokenizer_of(name)
    (found,) = tagging.word_pieces([words], tokenizer)
    running = tokenizer(" ".join(words), add_special_tokens=False)["input_ids"]
    assert [piece for pieces in found for piece in pieces] == running
    assert all(found)


@pytest.mark.parametrize("name", TOKENIZERS)
def test_words_without_pieces_become_one_that_is_known(name):
    """Also where the vocabulary has no unknown token, as one of bytes."""
    tokenizer = tokenizer_of(name)
    (found,) = tagging.word_pieces([["", "on", ""]], tokenizer)
    assert all(isinstance(piece, int) for pieces in found for piece in pieces)
    assert all(found)


@pytest.mark.parametrize("name", TOKENIZERS)
@given(words=st.lists(st.text(CHARACTERS, min_size=1, max_size=5), min_size=3, max_size=12), data=st.data())
@settings(max_examples=40, deadline=None)
def test_answers_map_to_tokens_and_back(name, words, data):
    first = data.draw(st.integers(0, len(words) - 1))
    last = data.draw(st.integers(first, min(first + 2, len(words) - 1)))
    context, answer = " ".join(words), " ".join(words[first : last + 1])
    start = len(" ".join([*words[:first], ""]))
    examples = [question(context, answer, start)]
    features = featurized(qa.TYPE, examples, tokenizer_of(name), max_seq_length=256, doc_stride=32)
    assert features["labels"][0] != [0, 0]
    logits = planted_spans(features, max(map(len, features["input_ids"])))
    assert decoded(qa.TYPE, logits, features, examples) == [answer]


@pytest.mark.parametrize("name", TOKENIZERS)
def test_choices_stay_whole_behind_the_end_of_their_context(name):
    tokenizer = tokenizer_of(name)
    choices = ["on the man", "in an"]
    example = {"context": "the an in on er st " * 30, "choices": choices, "label": "0"}
    (row,) = featurized(multiple_choice.TYPE, [example], tokenizer, ("0", "1"), max_seq_length=48)
    assert [len(ids) for ids in row["input_ids"]] == [48, 48]
    for ids, choice in zip(row["input_ids"], choices, strict=True):
        own = tokenizer(choice, add_special_tokens=False)["input_ids"]
        context = tokenizer(example["context"].strip(), add_special_tokens=False)["input_ids"]
        assert any(ids[place : place + len(own)] == own for place in range(30, 48))
        assert any(ids[place : place + 5] == context[-5:] for place in range(48 - len(own)))


def test_the_table_names_every_family():
    """docs/encoders.md, and nothing that is not tried."""
    rows = re.findall(r"^\| .*?`([a-z0-9-]+)` \|", (ROOT / "docs" / "encoders.md").read_text("utf-8"), re.MULTILINE)
    assert {*rows} == FAMILIES.keys()
