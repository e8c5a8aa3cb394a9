"""The dual encoder and its tasks, LAReQA and Mewsli-X: inputs, loss, negatives, ranking, files, and training from end to end."""

import json
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import ROOT, save_tiny_encoder
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from test_types import featurized, pieces
from transformers import AutoModel, BartConfig, EuroBertConfig, LlamaConfig, XLMRobertaConfig

import run_intermediate
import run_target
import run_zeroshot_eval
from tasks import lareqa, load_task, mewslix
from xstilts import dual_encoder, metrics
from xstilts.base import UserError, read_json
from xstilts.checkpoint import check_head, check_lengths, has_task_head, load_model, load_tokenizer, save_checkpoint
from xstilts.embeddings import token_rows
from xstilts.examples import load_examples
from xstilts.metrics import score
from xstilts.order import TrainingRows
from xstilts.readers import Dropped
from xstilts.scoring import CUTOFF
from xstilts.sentences import sentence_spans
from xstilts.sources import load_raw
from xstilts.training import summed_loss

TYPE = dual_encoder.TYPE
EXAMPLES = [
    {"id": "1", "query": "on the", "document": "in an on in an on er st"},
    {"id": "2", "query": "er", "document": "the st in the st the on the an"},
    {"id": "3", "query": "on in st", "document": "in an on in an on er st"},
    {"id": "4", "query": "an", "document": "in an on st in an on"},
]


def features_of(examples, tokenizer, most=64, most_query=32):
    return featurized(TYPE, examples, tokenizer, max_seq_length=most, max_query_length=most_query)


# ---- inputs ---------------------------------------------------------------------------------------------------------


def test_a_row_is_a_query_and_a_document(tokenizer):
    row = features_of(EXAMPLES, tokenizer)[1]
    query, document = (pieces(tokenizer, ids) for ids in row["input_ids"])
    assert query == ["<s>", "▁er", "</s>"]
    assert document == ["<s>", *"▁the ▁st ▁in ▁the ▁st ▁the ▁on ▁the ▁an".split(), "</s>"]
    assert TYPE.texts(EXAMPLES[1]) == [("er",), ("the st in the st the on the an",)]


def test_both_sides_are_cut_to_their_own_length(tokenizer):
    long = [{"id": "1", "query": "the " * 50, "document": "on " * 50 + "er"}]
    row = features_of(long, tokenizer, 24, 9)[0]
    query, document = (pieces(tokenizer, ids) for ids in row["input_ids"])
    assert query == ["<s>", *["▁the"] * 7, "</s>"]
    assert document == ["<s>", *["▁on"] * 22, "</s>"]


def test_a_batch_pads_its_sides_by_themselves(tokenizer):
    features = features_of(EXAMPLES[:2], tokenizer)
    batch = TYPE.collate(list(features), tokenizer)
    assert batch["query_input_ids"].shape == (2, 4)
    assert batch["document_input_ids"].shape == (2, 11)
    assert batch["query_attention_mask"].sum(1).tolist() == [4, 3]
    assert batch["labels"].tolist() == [0, 1]
    assert batch["allowed"].all()


def test_the_same_documents_and_fillers_are_no_negatives(tokenizer):
    features = features_of(EXAMPLES, tokenizer)
    rows = TrainingRows(features)
    batch = TYPE.collate([rows[0], rows[1], rows[2], rows[3], rows[4]], tokenizer)
    assert batch["labels"].tolist() == [0, 1, 2, 3, -100]
    assert batch["allowed"].int().tolist() == [
        [1, 1, 0, 1, 0],
        [1, 1, 1, 1, 0],
        [0, 1, 1, 1, 0],
        [1, 1, 1, 1, 0],
        [0, 1, 0, 1, 1],
    ]


# ---- loss -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def spread(tmp_path_factory):
    """Directory of a tiny encoder whose vectors differ from each other: scores are not almost equal."""
    return save_tiny_encoder(tmp_path_factory.mktemp("spread"), initializer_range=0.3)


@pytest.fixture
def model(spread):
    """A tiny dual encoder, without dropout."""
    return load_model(spread, lareqa.TASK, report=str).eval()


def literal_loss(model, examples, tokenizer):
    """Negative log probabilities of each query's document, by hand: (examples,)."""

    def vector(*texts):
        states = model.base_model(**tokenizer(*texts, return_tensors="pt")).last_hidden_state
        return states[0, 0] / states[0, 0].norm()

    queries = [vector(each["query"]) for each in examples]
    documents = [vector(each["document"]) for each in examples]
    losses = []
    for row, query in enumerate(queries):
        others = [each["document"] for each in examples]
        scores = [
            100 * query @ document
            for place, document in enumerate(documents)
            if place == row or others[place] != others[row]
        ]
        own = 100 * query @ documents[row]
        losses.append(torch.logsumexp(torch.stack(scores), 0) - own)
    return torch.stack(losses)


def test_the_loss_is_the_literal_one(model, tokenizer):
    batch = TYPE.collate(list(features_of(EXAMPLES, tokenizer)), tokenizer)
    labels = batch.pop("labels")
    expected = literal_loss(model, EXAMPLES, tokenizer)
    assert expected.min() > 0.05, "otherwise there is nothing to see"
    total = summed_loss(TYPE.logits(TYPE.forward(model, batch), batch), labels)
    torch.testing.assert_close(total, expected.sum(), rtol=1e-4, atol=1e-4)
    model.zero_grad()
    total.backward()
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    expected.sum().backward()
    assert found.keys() == {name for name, _ in model.named_parameters()}, "there is no parameter beside the encoder's"
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad, rtol=1e-3, atol=1e-4, msg=name)


def test_fillers_change_neither_loss_nor_gradient(model, tokenizer):
    features, totals, gradients = features_of(EXAMPLES[1:], tokenizer), [], []
    for count in (3, 5):
        batch = TYPE.collate([TrainingRows(features)[row] for row in range(count)], tokenizer)
        labels = batch.pop("labels")
        model.zero_grad()
        total = summed_loss(TYPE.logits(TYPE.forward(model, batch), batch), labels)
        total.backward()
        totals.append(total.item())
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    assert totals[0] == pytest.approx(totals[1], rel=1e-5)
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-4)
    batch = TYPE.collate(
        [TrainingRows(features)[row] for row in (3, 4)], tokenizer
    )  # fillers only, as on a late process
    labels = batch.pop("labels")
    model.zero_grad()
    total = summed_loss(TYPE.logits(TYPE.forward(model, batch), batch), labels)
    total.backward()
    assert total == 0
    assert all((parameter.grad == 0).all() for parameter in model.parameters())


def test_scores_are_float32_under_autocast():
    torch.manual_seed(0)
    outputs = {side: torch.nn.functional.normalize(torch.randn(3, 64), dim=-1) for side in dual_encoder.SIDES}
    batch = {"allowed": torch.ones(3, 3, dtype=torch.bool)}
    expected = TYPE.logits(outputs, batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(TYPE.logits(outputs, batch), expected)
    torch.testing.assert_close(expected, 100 * outputs["query"] @ outputs["document"].T)


# ---- predictions ----------------------------------------------------------------------------------------------------


def plain_ranking(queries, documents, texts):
    """[(ids of the best documents, probability of the first)] by sorting everything; equal scores by first occurrence."""
    distinct = {text: row for row, text in reversed([*enumerate(texts)])}
    order, found = sorted(distinct.values()), []
    for query in queries:
        scores = [float(np.float32(query @ documents[row])) for row in order]
        best = sorted(range(len(order)), key=lambda place: -scores[place])
        share = 1 / sum(np.exp(100 * (each - max(scores))) for each in scores)
        found.append(([dual_encoder.document_id(texts[order[place]]) for place in best[:CUTOFF]], share))
    return found


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**6), st.integers(1, 60), st.integers(1, 40))
def test_ranking_equals_a_plain_one(seed, rows, distinct):
    """Vectors of small whole numbers, so that there are ties and sums are exact; the first of equal documents speaks for all."""
    random = np.random.default_rng(seed)
    table = random.integers(-1, 2, (distinct, 5)).astype(np.float32)
    owners = random.integers(0, distinct, rows)
    texts = [f"d{owner}" for owner in owners]
    examples = Dataset.from_dict({
        "id": [*map(str, range(rows))], "query": ["q"] * rows, "document": texts,
    })  # fmt: skip
    vectors = np.stack([random.integers(-1, 2, (rows, 5)).astype(np.float32), table[owners]], axis=1)
    order = random.permutation(rows)
    features = Dataset.from_dict({"example": order.tolist()})
    kept = [vectors[row] for row in order]
    expected = plain_ranking(vectors[:, 0], vectors[:, 1], texts)
    assert TYPE.decode(kept, features, examples, ()) == [ids for ids, _ in expected]
    shares = TYPE.confidence(kept, features, examples)
    assert shares == pytest.approx([share for _, share in expected], rel=1e-4)


def test_a_document_is_its_text():
    first, second, third, fourth = (TYPE.gold(example) for example in EXAMPLES)
    assert first == third
    assert len({*first, *second, *fourth}) == 3
    ids = [first[0], second[0], fourth[0]]
    assert score(metrics.Ranking, [ids, ids, ids, ids], [first, second, third, fourth])["map@20"] == pytest.approx(
        100 * (1 + 1 / 2 + 1 + 1 / 3) / 4
    )


def test_who_knows_nothing_ranks_by_frequency_in_training():
    train, dev = Dataset.from_list([EXAMPLES[3], EXAMPLES[1], EXAMPLES[1]]), Dataset.from_list(EXAMPLES)
    expected = [TYPE.gold(EXAMPLES[row])[0] for row in (1, 3, 0)]
    assert TYPE.constant(train, dev) == [expected] * 4


def test_rankings_are_written_by_query(tmp_path):
    TYPE.write(tmp_path / "dev-en", [["a"], ["b", "a"]], Dataset.from_list(EXAMPLES[:2]))
    assert json.loads((tmp_path / "dev-en.json").read_text("utf-8")) == {"1": ["a"], "2": ["b", "a"]}


# ---- sentences ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "It rained.|Nobody came!|Why?|They slept.",
        "Dr. A. Brenner and J. K. Moor met Mr. Hill vs. the rest.|The others left.",
        "It cost 3.5 million.|In 1990 it was No. 5 of 7.|2 more followed.",
        'He said: "Go."|"Why?" she asked.|(They left.)|[Nobody knew.]',
        "They lived in the U.S. Army's camp.|It was cold at 5 p.m.|The U.S. Senate met.|He lived in the U.S.|They did not.",
        "She wrote “It ends.”|Then it did.[12]|Others, e.g. Brenner (i.e. Moor), c. 1900, agreed.[citation needed]|So it is.",
        "The title is I Am... Sasha Fierce.|It ended...|The rest is known.|Bands, e.g. The Who, came.",
        "The answer was no.|Nobody asked.|Acme Inc. sold it.|Acme Inc.|The buyer paid.",
        "First line\nSecond line.\n\n  Third line",
        "what is all in lower case. stays one. 5.",
        "no mark at the end",
        "É assim.|Ärger kam.",
    ],
)
def test_sentences(text):
    expected = [sentence.strip() for line in text.split("\n") for sentence in line.split("|") if sentence.strip()]
    if text.startswith("what"):
        expected = ["what is all in lower case. stays one.", "5."]
    whole = text.replace("|", " ")
    assert [whole[start:end] for start, end in sentence_spans(whole)] == expected


@settings(deadline=None, max_examples=200)
@given(st.text(st.sampled_from("aBé1. !?…\n\t\"'”)]([“„—·,\u2028"), max_size=60))
def test_sentences_cover_a_text(text):
    end = 0
    for start, stop in sentence_spans(text):
        assert start < stop
        assert not text[end:start].strip()
        assert text[start:stop] == text[start:stop].strip()
        assert "\n" not in text[start:stop]
        end = stop
    assert not text[end:].strip()


def test_sentences_of_real_paragraphs_are_those_of_the_benchmark(shared):
    raw = load_raw(lareqa.PARAGRAPHS, "test", "en", str(shared))
    assert len(raw.rows) == 20
    for row in raw.rows:
        assert [[*span] for span in sentence_spans(row["context"])] == row["sentence_breaks"]


# ---- LAReQA ---------------------------------------------------------------------------------------------------------

TEXT = "It is old. It stands. It is old."
PARAGRAPH = {
    "context": TEXT,
    "sentence_breaks": [[0, 10], [11, 21], [22, 32]],
    "sentences": ["It is old.", "It stands.", "It is old."],
    "qas": [
        {"id": "a", "question": " How is it?", "answers": [{"text": "old", "answer_start": 28}]},
        {"id": "b", "question": "What does it?", "answers": [{"text": "stands", "answer_start": 14}]},
        {"id": "c", "question": "What?", "answers": [{"text": " It", "answer_start": 10}]},
    ],
}


def write_xquad_r(folder, **changes):
    path = folder / "lareqa" / "xquad-r" / "en.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    second = {"context": "No.", "sentence_breaks": [[0, 3]], "qas": []}
    articles = [{"paragraphs": [{**PARAGRAPH, **changes}]}, {"paragraphs": [second]}]
    path.write_text(json.dumps({"data": articles}), encoding="utf-8")
    return str(folder)


def test_questions_and_sentences_of_xquad_r(tmp_path):
    rows, files, dropped, *_ = load_raw(lareqa.PARAGRAPHS, "test", "en", write_xquad_r(tmp_path))
    ranking = lareqa.TASK.retrieval
    queries = [query for row in rows for query in ranking.to_queries(row)]
    candidates = [candidate for row in rows for candidate in ranking.to_candidates(row)]
    assert files == ["lareqa/xquad-r/en.json"]
    assert dropped == {"questions whose answer begins in no sentence": 1}
    assert queries == [
        {"id": "a", "text": "How is it?", "key": "a"},
        {"id": "b", "text": "What does it?", "key": "b"},
    ]
    assert [(each["id"], each["text"], each["keys"]) for each in candidates] == [
        ("1_0", f"It is old.{TEXT}", ["a"]),
        ("1_1", f"It stands.{TEXT}", ["b"]),
        ("1_2", f"It is old.{TEXT}", ["a"]),
        ("2_0", "No.No.", []),
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sentence_breaks": [[0, 33]]}, r"paragraph 1: the sentence break \[0, 33\] is not within its 32 characters"),
        ({"sentence_breaks": [[0, 5, 9]]}, r"paragraph 1: the sentence break \[0, 5, 9\] is not within"),
        (
            {"qas": [{"id": "a", "question": None, "answers": [{"text": "It", "answer_start": 0}]}]},
            "question' is null, not text",
        ),
        ({"sentences": ["It is old!"]}, "paragraph 1: 'sentences' are not those at 'sentence_breaks'"),
        ({"qas": [{"id": "a"}]}, "not SQuAD JSON .*has no 'question'"),
        ({"qas": [{"id": "a", "question": "", "answers": []}]}, "paragraph 1: question a has no answer"),
        ({"sentence_breaks": 3}, "not SQuAD JSON"),
    ],
)
def test_files_that_are_not_xquad_r(changes, message, tmp_path):
    with pytest.raises(UserError, match=f"en.json.*{message}"):
        load_raw(lareqa.PARAGRAPHS, "test", "en", write_xquad_r(tmp_path, **changes))


def test_answers_of_xquad_r_are_found_whatever_their_offsets_count(tmp_path):
    """By offsets as they stand, the first two would be in later sentences. What is nowhere has no sentence."""
    context = "😀😀😀😀😀😀 is old. It stands. It is new."
    spans = [(0, 14), (15, 25), (26, 36)]
    place = context.index("old")
    units = [len(context[:place].encode()), len(context[:place].encode("utf-16-le")) // 2, place, 0]
    qas = [
        {"id": str(n), "question": "?", "answers": [{"text": "old", "answer_start": start}]}
        for n, start in enumerate(units)
    ]
    changes = {"context": context, "sentence_breaks": spans, "sentences": [context[start:end] for start, end in spans]}
    raw = load_raw(lareqa.PARAGRAPHS, "test", "en", write_xquad_r(tmp_path, qas=qas, **changes))
    first = lareqa.TASK.retrieval.to_candidates(raw.rows[0])[0]
    assert first["keys"] == ["0", "1", "2"]
    assert raw.dropped == {
        "questions with offsets in bytes, not in characters": 1,
        "questions with offsets in UTF-16 units, not in characters": 1,
        "questions whose answer is not at its offset": 1,
    }
    with pytest.raises(UserError, match="2 of 5 questions whose answer is not at its offset"):
        load_raw(lareqa.PARAGRAPHS, "test", "en", write_xquad_r(tmp_path, qas=[*qas, qas[-1]], **changes))


def test_xquad_itself_has_no_sentences(official):
    path = f"{official}/xquad/xquad.de.json"
    with pytest.raises(
        UserError, match=r"no 'sentence_breaks'; the files of github.com/google-research-datasets/lareqa"
    ):
        list(lareqa.PARAGRAPHS.read(path, lareqa.PARAGRAPHS.features))


def test_real_questions_have_one_right_sentence_in_each_language(shared):
    keys, counts, ranking = {}, {}, lareqa.TASK.retrieval
    for language in lareqa.TASK.languages:
        raw = load_raw(ranking.candidates, "test", language, str(shared))
        candidates = [candidate for row in raw.rows for candidate in ranking.to_candidates(row)]
        queries = [query for row in raw.rows for query in ranking.to_queries(row)]
        counts[language] = len(candidates), len(queries), sum(raw.dropped.values())
        for key in (key for candidate in candidates for key in candidate["keys"]):
            keys.setdefault(key, []).append(language)
        assert len({candidate["id"] for candidate in candidates}) == len(candidates)
    assert all(sorted(languages) == sorted(lareqa.TASK.languages) for languages in keys.values())
    assert len(keys) == 135
    sentences = dict(
        zip("en ar de el es hi ru th tr vi zh".split(), [83, 83, 97, 84, 86, 83, 83, 70, 82, 83, 81], strict=True)
    )
    assert counts == {language: (count, 135, 0) for language, count in sentences.items()}


def test_training_and_evaluation_read_what_google_s_do(tokenizer):
    """One text: the sentence, then its paragraph, nothing between them, no line breaks; cut at the right."""
    paragraph = "It is old.\nIt stands.\n\n" + "on " * 300
    spans = [[0, 10], [11, 21]]
    read = ["It is old.", "It stands."]
    read = [sentence + "It is old.It stands." + "on " * 300 for sentence in read]
    question = {"id": "a", "question": "?", "answer_start": 14}
    row = {"number": 1, "context": paragraph, "sentence_breaks": spans, "questions": [question]}
    candidates = lareqa.TASK.retrieval.to_candidates(row)
    assert [each["text"] for each in candidates] == read
    row = {"id": "a", "context": paragraph, "question": "?", "answers": {"text": ["stands"], "answer_start": [14]}}
    example = lareqa.to_example(row)
    assert example == {"id": "a", "query": "?", "document": read[1]}
    settings = {"prefix": "", "max_length": 256}
    (embedded,) = token_rows([candidates[1]["text"]], tokenizer, settings)
    trained = features_of([example], tokenizer, 256, 96)[0]["input_ids"][1]
    assert embedded["input_ids"] == trained
    assert trained == [0, *tokenizer(read[1], add_special_tokens=False)["input_ids"][:254], 2]


def test_an_answer_in_another_place_makes_no_example():
    row = {"id": "1", "context": "It is old. It stands.", "question": "?", "answers": {"text": ["stands"]}}
    place = {"text": ["stands"], "answer_start": [14]}
    assert lareqa.to_example({**row, "answers": place})["document"] == "It stands.It is old. It stands."
    assert lareqa.to_example({**row, "answers": {**place, "answer_start": [3]}}) == Dropped(
        "questions whose answer is not at its offset"
    )
    in_bytes = {**row, "context": "ÉÉÉÉ is. It stands.", "answers": {"text": ["is"], "answer_start": [9]}}
    assert lareqa.to_example(in_bytes)["document"] == "ÉÉÉÉ is.ÉÉÉÉ is. It stands."


# ---- Mewsli-X -------------------------------------------------------------------------------------------------------

NEWS = "Strike in Lindow\n\nIn {old} Lindow it rains. It stops in  Ulm."
SPANS = [{"start": 0, "end": 16}, {"start": 18, "end": 43}, {"start": 44, "end": 61}]


def mention(id, entity, text, start, end=None):
    span = {"start": start, "end": end or start + len(text), "text": text}
    return {"example_id": id, "entity_id": entity, "mention_span": span}


def article(*mentions, language="de", **changes):
    context = {"document_id": "1", "document_title": "", "document_url": "", "language": language, "text": NEWS}
    return {"context": {**context, "sentence_spans": SPANS, **changes}, "mentions": [*mentions]}


def entity(id, description="One. Two.", spans=((0, 4), (5, 9))):
    spans = [{"start": start, "end": end} for start, end in spans]
    return {"entity_id": id, "description": description, "sentence_spans": spans, "description_language": "de"}


def write_lines(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def test_mentions_in_news(tmp_path):
    rows = [
        article(
            mention("m1", "Q1", "Lindow", 10), mention("m2", "Q1", "Lindow", 27), mention("m4", "Q3", "rains. It", 37)
        ),
        article(mention("m3", "Q2", "Ulm", 57), language="tr"),
    ]
    write_lines(tmp_path / "mewslix" / "wikinews_mentions-test.jsonl", rows)
    source = mewslix.TASK.retrieval.queries
    found, files, dropped, *_ = load_raw(source, "test", "de", str(tmp_path))
    queries = [query for row in found for query in mewslix.TASK.retrieval.to_queries(row)]
    assert queries == [
        {"id": "m1", "text": "Lindow: Strike in { Lindow }", "key": "Q1"},
        {"id": "m2", "text": "Lindow: In (old) { Lindow } it rains.", "key": "Q1"},
    ]
    assert files == ["mewslix/wikinews_mentions-test.jsonl"]
    assert dropped == {"mentions that lie in no single sentence": 1}
    (row,) = load_raw(source, "test", "tr", str(tmp_path)).rows
    assert mewslix.TASK.retrieval.to_queries(row)[0]["text"] == "Ulm: It stops in { Ulm } ."
    with pytest.raises(UserError, match="no rows in 'uk'"):
        load_raw(source, "test", "uk", str(tmp_path))


def test_candidates_are_one_pool(tmp_path):
    path = tmp_path / "mewslix" / "candidate_set_entities.jsonl"
    write_lines(path, [entity("Q1", "Ulm  is\nold.\u2028It is. Not this.", ((0, 12), (13, 19))), entity("Q2")])
    found = [
        candidate
        for row in load_raw(mewslix.ENTITIES, "test", "en", str(tmp_path)).rows
        for candidate in mewslix.TASK.retrieval.to_candidates(row)
    ]
    assert found == [
        {"id": "Q1", "text": "Ulm is old. It is.", "keys": ["Q1"]},
        {"id": "Q2", "text": "One. Two.", "keys": ["Q2"]},
    ]


@pytest.mark.parametrize(
    ("read", "line", "message"),
    [
        (
            mewslix.MENTIONS.read,
            article(mention("m", "Q1", "Lindow", 10), text=""),
            "the article has no text; .* no_text files .* get-mewsli-x.sh",
        ),
        (mewslix.MENTIONS.read, article(mention("m", "Q1", "Ulm", 10)), "'Ulm' is not at 10 to 13 .* damaged"),
        (mewslix.MENTIONS.read, {"context": article()["context"]}, "not in the form of Mewsli-X .no 'mentions'"),
        (mewslix.TASK.source.read, article(), "not in the form of Mewsli-X .no 'contextual_mention'"),
        (mewslix.ENTITIES.read, entity("Q1", spans=()), "entity Q1 has no description"),
        (mewslix.ENTITIES.read, entity("Q1", spans=((-2, 5),)), "the sentence from -2 to 5 is not within the text"),
        (mewslix.ENTITIES.read, ["Q1"], "not in the form of Mewsli-X"),
        (mewslix.ENTITIES.read, b"{", "not valid JSON"),
        (mewslix.ENTITIES.read, b'{"entity_id": "\xff"}', r"not UTF-8 \(byte 16\)"),
    ],
)
def test_files_that_are_not_mewsli_x(read, line, message, write):
    content = line if isinstance(line, bytes) else json.dumps(line).encode()
    path = write(b"\n" + content + b"\n", "lines.jsonl")
    with pytest.raises(UserError, match=f"lines.jsonl, line 2: {message}"):
        list(read(path, None))


def test_a_crossing_mention_is_left_out_of_training_too(write):
    context = article(mention("m", "Q1", "rains. It", 37))
    pair = {"contextual_mention": {"context": context["context"], "mention": context["mentions"][0]}}
    path = write(json.dumps({**pair, "entity": entity("Q1")}))
    assert list(mewslix.TASK.source.read(path, None)) == [Dropped("mentions that lie in no single sentence")]


# ---- models and scripts ---------------------------------------------------------------------------------------------


def test_the_model_is_an_encoder_and_nothing_else(encoder, tmp_path, capsys):
    model, base = load_model(encoder, lareqa.TASK), AutoModel.from_pretrained(encoder)
    assert "fresh: nothing" in capsys.readouterr().out
    assert type(model).__name__ == "XLMRobertaForDualEncoding"
    assert not has_task_head(encoder)
    save_checkpoint(model, load_tokenizer(encoder), str(tmp_path))
    saved = AutoModel.from_pretrained(tmp_path).state_dict()
    for name, tensor in base.state_dict().items():
        assert name.startswith("pooler.") or torch.equal(saved[name], tensor)
    assert not any("pooler" in name for name in load_file(tmp_path / "model.safetensors"))
    assert has_task_head(str(tmp_path))
    check_head(str(tmp_path), mewslix.TASK)
    with pytest.raises(UserError, match="has the head of XLMRobertaForDualEncoding, but squad needs"):
        check_head(str(tmp_path), load_task("squad"))
    again = load_model(str(tmp_path), mewslix.TASK, keep_head=True).state_dict()
    assert all(torch.equal(again[name], tensor) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize(
    ("config", "name"),
    [
        (EuroBertConfig, "EuroBertForDualEncoding"),
        (XLMRobertaConfig, "XLMRobertaForDualEncoding"),
        (LlamaConfig, None),
        (BartConfig, None),
    ],
)
def test_families_that_encode_text(config, name):
    mapping = dual_encoder.AutoModelForDualEncoding._model_mapping
    assert getattr(mapping.get(config), "__name__", None) == name
    assert (config in mapping) == (name is not None)


def arguments(folder, encoder, data, line):
    return f"""--model_name_or_path {encoder} --data_dir {data} --output_dir {folder} --use_cpu --seed 5
        --disable_tqdm true --per_device_train_batch_size 4 --gradient_accumulation_steps 2
        --max_seq_length 96 --max_query_length 48 {line}""".split()


def test_lareqa_learns_and_hands_over(world, tmp_path, capsys):
    """From the demo's encoder, on its world; the checkpoint goes through AutoModel into another phase."""
    base = ROOT / "demo" / "encoder"
    size = "--max_train_samples 160 --max_eval_samples 60 --per_device_train_batch_size 8 --learning_rate 2e-4"
    line = f"--task lareqa --num_train_epochs 1 {size} --eval_strategy steps --eval_steps 5 --save_strategy steps --save_steps 5"
    run_target.main(arguments(tmp_path / "run", base, world, line))
    found = read_json(tmp_path / "run" / "run.json")
    curve = [each["map@20"] for each in found["dev_curve"]]
    assert found["metric"] == "map@20"
    assert found["dev_scores"]["map@20"] == pytest.approx(max(curve))
    assert max(curve) > 40
    chance = 100 * sum(1 / rank for rank in range(1, 21)) / 60
    assert max(curve) > 3 * chance
    assert found["loss_curve"][-1][1] < np.log(8)
    assert found["weight_change"]["0"] > 0
    AutoModel.from_pretrained(tmp_path / "run")
    with pytest.raises(UserError, match=r"--task lareqa is evaluated by run_retrieval\.py"):
        run_zeroshot_eval.main(f"--task lareqa --model_name_or_path {tmp_path / 'run'} --use_cpu".split())
    line = "--task mnli --max_train_samples 8 --max_eval_samples 8 --num_train_epochs 1 --per_device_train_batch_size 4"
    run_intermediate.main(arguments(tmp_path / "next", tmp_path / "run", world, line))
    assert read_json(tmp_path / "next" / "run.json")["lineage_text"] == "encoder > lareqa > mnli"


MIXED = "--task mnli+lareqa+mewslix --mixing uniform --max_steps 6 --max_train_samples 24 --max_eval_samples 8"


@pytest.mark.parametrize("options", ["", "--peft lora", "--freeze_layers 1 --gradient_checkpointing true"])
def test_it_trains_beside_other_tasks(options, world, spread, tmp_path):
    line = f"{MIXED} --per_device_train_batch_size 4 {options}"
    run_intermediate.main(arguments(tmp_path / "run", spread, world, line))
    found = read_json(tmp_path / "run" / "run.json")
    scores = {task: found["dev_scores"][task] for task in ("lareqa", "mewslix")}
    assert all(0 < each["map@20"] <= 100 for each in scores.values())
    assert not load_file(tmp_path / "run" / "heads" / "lareqa.safetensors")
    line = "--task lareqa+mewslix --eval_only --max_eval_samples 8"
    run_intermediate.main(arguments(tmp_path / "again", tmp_path / "run", world, line))
    again = read_json(tmp_path / "again" / "run.json")["dev_scores"]
    assert {task: again[task] for task in scores} == {task: pytest.approx(each) for task, each in scores.items()}


def test_adapters_are_merged_into_the_encoder(world, encoder, tmp_path):
    line = "--task mewslix --peft lora --max_steps 2 --max_train_samples 16 --max_eval_samples 8 --learning_rate 0.1"
    run_target.main(arguments(tmp_path, encoder, world, line))
    before, after = (AutoModel.from_pretrained(path).state_dict() for path in (encoder, tmp_path))
    changed = {name for name in before if not torch.equal(before[name], after[name]) and "pooler" not in name}
    assert changed
    assert all(name.endswith("weight") and "LayerNorm" not in name and "embeddings" not in name for name in changed)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--per_device_train_batch_size 1", "other documents of a micro-batch, which has 1"),
        ("--max_query_length 513", "--max_query_length 513 is more than the 512 positions of this encoder"),
        ("--max_query_length 7", "--max_query_length 7 leaves no room for text"),
        ("--freeze_layers all", "leaves nothing to train"),
    ],
)
@pytest.mark.parametrize("main", [run_target.main, run_intermediate.main], ids=["target", "intermediate"])
def test_options_that_do_not_go_with_it(main, line, message, world, encoder, tmp_path):
    line = f"--task lareqa --max_train_samples 4 --max_eval_samples 4 {line}"
    with pytest.raises(UserError, match=message):
        main(arguments(tmp_path / "run", encoder, world, line))


def test_other_types_have_no_length_of_queries(model, tokenizer):
    args = SimpleNamespace(max_seq_length=64, max_query_length=10_000)
    check_lengths(model, tokenizer, load_task("mnli"), args)
    with pytest.raises(UserError, match="--max_query_length 10000"):
        check_lengths(model, tokenizer, lareqa.TASK, args)


def test_without_data_mewsli_x_says_where_it_goes():
    with pytest.raises(
        UserError, match=r"not on the hub; give --data_dir DIR with DIR/mewslix/wikipedia_pairs-train\.jsonl"
    ):
        load_examples(mewslix.TASK, "train")


def test_two_processes_are_two_micro_batches(world, tmp_path):
    """Losses, rankings and weights of an epoch with a short last step; and of a mixture, with heads that a step does not use."""
    options = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "initializer_range": 0.3}
    encoder = save_tiny_encoder(tmp_path / "encoder", **options)
    common = """--max_train_samples 19 --max_eval_samples 8 --num_train_epochs 1 --optim sgd --learning_rate 0.1 --warmup_steps 0
        --logging_steps 1 --save_strategy no --load_best_model_at_end false --mixing uniform --per_device_train_batch_size 4"""
    tasks, files, output = ("lareqa", "lareqa+mnli"), [], tmp_path / "two.pt"
    for task in tasks:
        line = f"--task {task} {common}"
        run_intermediate.main(arguments(tmp_path / f"{task}-1", encoder, world, line))
        files.append(tmp_path / f"{task}.json")
        line += " --gradient_accumulation_steps 1"
        files[-1].write_text(json.dumps(arguments(tmp_path / f"{task}-2", encoder, world, line)))
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2"]
    subprocess.run([*launcher, ROOT / "tests" / "capture.py", output, *files], check=True, timeout=120)
    assert (tmp_path / "two.pt.1").exists(), "the second process took part"
    for task in tasks:
        one, two = (read_json(tmp_path / f"{task}-{processes}" / "run.json") for processes in (1, 2))
        assert len(one["loss_curve"]) >= 3
        assert one["weight_change"]["0"] > 5e-3
        assert [loss for _, loss in two["loss_curve"]] == pytest.approx(
            [loss for _, loss in one["loss_curve"]], abs=1e-3
        )
        one, two = (load_file(tmp_path / f"{task}-{processes}" / "model.safetensors") for processes in (1, 2))
        for name, weight in one.items():
            torch.testing.assert_close(two[name], weight, rtol=1e-4, atol=1e-5, msg=name)
