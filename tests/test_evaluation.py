"""The evaluation pass: rows of all languages together, each word and question predicted once, in order, whatever the batches."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from conftest import ROOT, tiny_tokenizer
from datasets import Dataset, concatenate_datasets
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_types import STRANGE
from transformers import TrainingArguments

import run_zeroshot_eval
from tasks import load_task
from xstilts import metrics, qa, scoring
from xstilts.base import UserError
from xstilts.examples import Examples, featurize
from xstilts.intervals import bootstrap, ratios
from xstilts.metrics import gaps_to_source, score
from xstilts.training import StiltsTrainer

UDPOS = load_task("udpos")


class FirstPieces(torch.nn.Module):
    """A tagger without weights to speak of: the tag of a token is its id modulo the number of tags."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))

    def forward(self, input_ids, attention_mask):
        tags = len(UDPOS.labels)
        return {"logits": self.weight * torch.nn.functional.one_hot(input_ids % tags, tags).float()}


def tagged(documents, tokenizer, folder, batch_size=3):
    """{language: predicted tags} of documents given as {language: lists of words}, by one pass."""
    args = TrainingArguments(
        str(folder), use_cpu=True, report_to=[], per_device_eval_batch_size=batch_size, disable_tqdm=True
    )
    trainer = StiltsTrainer(UDPOS, FirstPieces(), args, tokenizer)
    sets = {language: examples_of(words, language) for language, words in documents.items()}
    features = {code: featurize(UDPOS, each, tokenizer, {"max_seq_length": 32}) for code, each in sets.items()}
    outputs = trainer.outputs(features)
    return {code: trainer.decode(each, features[code], outputs[code]) for code, each in sets.items()}


def evaluated(documents, tokenizer, folder):
    """What a process finds by `evaluate` on the English documents, and what reaches it of an error in decoding."""
    args = TrainingArguments(str(folder), use_cpu=True, report_to=[], per_device_eval_batch_size=3, disable_tqdm=True)
    dev, decoded, seen = examples_of(documents["en"], "en"), [], []
    features = featurize(UDPOS, dev, tokenizer, {"max_seq_length": 32})
    trainer = StiltsTrainer(UDPOS, FirstPieces(), args, tokenizer, features, (dev, features))
    decode = trainer.decode
    trainer.decode = lambda *given: decoded.append(1) or decode(*given)
    found = {name: value for name, value in trainer.dev_scores().items() if name != "model_preparation_time"}
    outputs = trainer.predict(features).predictions
    predicted = None if outputs is None else decode(dev, features, outputs)

    def fails(*given):
        raise ValueError("decoding failed")

    trainer.decode = fails
    try:
        trainer.evaluate()
    except (ValueError, UserError) as error:
        seen.append(str(error))
    return {"metrics": found, "predicted": predicted, "decoded": len(decoded), "error": seen[0]}


def tensors_stay(tensor, protocol):
    """In the place of pickle's method: a tensor is loaded where it was, on another process's GPU."""
    raise AssertionError("a tensor was sent to another process")


def examples_of(documents, language):
    rows = [{"tokens": words, "tags": [["X", "NOUN"][i % 2] for i in range(len(words))]} for words in documents]
    return Examples(Dataset.from_list(rows), ({"split": "test", "language": language, "rows": len(rows)},))


def expected(documents, tokenizer):
    """The same without model, batches and windows: a word without pieces is the unknown token."""
    found = []
    for words in documents:
        ids = [tokenizer(f" {w}" if i else w, add_special_tokens=False)["input_ids"] for i, w in enumerate(words)]
        found.append([UDPOS.labels[(pieces or [tokenizer.unk_token_id])[0] % len(UDPOS.labels)] for pieces in ids])
    return found


WORD = st.one_of(
    st.sampled_from([*STRANGE, "", "\u00a0", "\u200b", "👩‍👩‍👧", "שלום", "العربية", "the" * 200, "\ufe0f"]),
    st.text(max_size=8),
)
DOCUMENTS = st.lists(st.lists(WORD, min_size=1, max_size=60), min_size=1, max_size=5)


@given(st.fixed_dictionaries({"en": DOCUMENTS, "he": DOCUMENTS}), st.integers(1, 4))
@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
def test_every_word_gets_exactly_one_prediction_in_order(tokenizer, tmp_path, documents, batch_size):
    found = tagged(documents, tokenizer, tmp_path, batch_size)
    assert found == {language: expected(each, tokenizer) for language, each in documents.items()}


def test_two_processes_predict_the_same(tokenizer, tmp_path):
    """Words of every strange kind and a sentence of 600 pieces; the number of batches is odd."""
    rng = np.random.default_rng(0)
    words = [*STRANGE, "the", "man", "", "\u00a0", "שלום", "👩‍👩‍👧"]
    documents = {
        language: [[words[i] for i in rng.integers(len(words), size=size)] for size in (1, 3, 40, 7, 600, 2, 25)]
        for language in ("en", "he", "sw")
    }
    (tmp_path / "documents.json").write_text(json.dumps(documents))
    line = ["-m", "torch.distributed.run", "--nproc_per_node", "2", __file__, str(tmp_path)]
    subprocess.run([sys.executable, *line], check=True, timeout=240, cwd=ROOT / "tests", env=None)
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    alone = evaluated(documents, tokenizer, tmp_path / "alone")
    assert first["predicted"] == expected(documents["en"], tokenizer)
    assert (first["decoded"], second["decoded"], second["predicted"]) == (1, 0, None), "the first process alone decodes"
    for found in (first, second):
        assert found["metrics"] == pytest.approx(alone["metrics"])
    assert first["error"] == "decoding failed"
    assert second["error"] == "decoding failed", "the second process does not wait for what the first cannot give"


@pytest.mark.parametrize("chunk", [1, 2, 1000])
def test_spans_are_the_same_in_every_chunk(chunk, tokenizer, monkeypatch):
    monkeypatch.setattr(qa, "CHUNK", chunk)
    rng, contexts = np.random.default_rng(0), [" ".join(["the", "man", "on"] * n) for n in (1, 9, 20, 3)]
    rows = [
        {"id": str(i), "question": "on", "context": c, "answers": {"text": ["the"], "answer_start": [0]}}
        for i, c in enumerate(contexts)
    ]
    batch = {name: [row[name] for row in rows] for name in rows[0]}
    features = Dataset.from_dict(qa.features(batch, [*range(4)], tokenizer, [], 24, 8))
    features = concatenate_datasets([features.select([len(features) - 1]), features]).select(
        range(1, len(features) + 1)
    )
    outputs = [rng.normal(size=(2, len(ids))).astype(np.float32) for ids in features["input_ids"]]
    found = qa.best_answers(outputs, features, Dataset.from_list(rows))
    alone = []
    for number in range(4):
        own = [i for i, example in enumerate(features["example"]) if example == number]
        part = features.select(own).map(lambda row: {"example": 0})
        alone += qa.best_answers([outputs[i] for i in own], part, Dataset.from_list([rows[number]]))
    assert found == alone
    assert all(0 <= probability <= 1 for *_, probability in found)


# ---- intervals and gaps ---------------------------------------------------------------------------------------------


def test_an_interval_covers_as_often_as_it_says():
    """Of 300 test sets of 200 rows at a true accuracy of 70, about 95 percent of the intervals hold it."""
    rng, held = np.random.default_rng(0), 0
    for _ in range(300):
        right = rng.random(200) < 0.7
        low, high = bootstrap(np.c_[100 * right, np.ones(200)])
        held += low <= 70 <= high
    assert 0.90 < held / 300 < 0.99


def test_an_interval_is_about_the_score_and_always_the_same():
    gold = [["NOUN", "VERB", "X"], ["X", "X"], ["ADJ", "NOUN"]] * 20
    predicted = [["NOUN", "NOUN", "X"], ["X", "X"], ["ADJ", "VERB"]] * 20
    pairs = list(zip(predicted, gold, strict=True))
    for metric in (metrics.PartOfSpeech, metrics.Entities):
        rows = (
            pairs
            if metric is metrics.PartOfSpeech
            else [([f"B-{t[:3]}" for t in a], [f"B-{t[:3]}" for t in b]) for a, b in pairs]
        )
        sums = np.sum([metric.ratio(p, r, "en") for p, r in rows], axis=0)
        found = score(metric, *(list(side) for side in zip(*rows, strict=True)))
        assert sums[0] / sums[1] == pytest.approx(found["f1"])
        added = ratios(metric, *(list(side) for side in zip(*rows, strict=True)))
        assert added.sum(0) == pytest.approx(sums)
        low, high = bootstrap(added)
        assert low < found["f1"] < high
        assert [low, high] == bootstrap(added)
    answers, references = ["the man", "on", "it"] * 9, [["man"], ["in", "on it"], ["it"]] * 9
    for metric in (metrics.SquadAnswers, metrics.MlqaAnswers):
        sums = np.sum([metric.ratio(p, r, "en") for p, r in zip(answers, references, strict=True)], axis=0)
        assert sums[0] / sums[1] == pytest.approx(score(metric, answers, references, "en")["f1_em_mean"])
    assert bootstrap([(0, 0)] * 5) is None, "nothing that counts"
    assert bootstrap([(100, 1)]) is None, "one example says nothing of others"
    assert bootstrap([(100, 1)] * 2) == [100, 100]
    assert ratios(metrics.MaskedPieces, [], []) is None


@pytest.mark.parametrize(
    ("task", "gold", "predicted", "interval", "remark"),
    [
        ("panx", [["O", "O"], ["O"]], [["O", "O"], ["O"]], None, scoring.NO_ENTITIES),
        ("panx", [["O", "O"], ["O"]], [["B-PER", "O"], ["O"]], None, scoring.NO_ENTITIES),
        ("panx", [["O", "B-PER"], ["O", "B-LOC"]], [["O", "B-PER"], ["O", "B-LOC"]], [100, 100], None),
        ("panx", [["O", "B-PER"]], [["O", "B-PER"]], None, None),
        ("udpos", [["X", "X"]], [["X", "X"]], None, None),
        ("xnli", ["neutral"], ["neutral"], None, None),
    ],
)
def test_what_a_score_cannot_say_is_said(task, gold, predicted, interval, remark, capsys):
    """Gold tags without an entity; and there is no interval from one example, or from nothing that counts."""
    task = load_task(task)
    column = "label" if task.name == "xnli" else "tags"
    rows = Dataset.from_list([{column: each} for each in gold])
    examples = Examples(rows, ({"task": task.name, "language": "sw", "rows": len(gold)},))
    scores, _ = run_zeroshot_eval.scored(task, "sw", examples, predicted)
    assert scores[task.metric.headline] == (0 if remark else 100)
    assert (scores["interval"], scores.get("remark")) == (interval, remark)
    assert (" to " in capsys.readouterr().out) == bool(interval)
    said = run_zeroshot_eval.summary(task, {"sw": scores}, [{"base_model": "b"}])["remarks"]
    assert said == ([f"panx: {remark} (sw)"] if remark else [])


def test_languages_apart_count_in_no_average_and_no_gap():
    scores = {"en": {"f1": 90.0}, "de": {"f1": 80.0}, "el": {"f1": 10.0}}
    lineage = [{"base_model": "b"}, {"phase": "target", "task": "udpos", "languages": ["en"]}]
    found = run_zeroshot_eval.summary(UDPOS, scores, lineage, {"el"})
    assert found["averages"] == {"all": 85.0, "zero_shot": 80.0, "gap": 10.0, "xtreme": None, "xtreme-r": None}
    assert (found["gaps"], found["zero_shot_languages"], found["in_no_average"]) == ({"de": 10.0}, ["de"], ["el"])


def test_gaps_are_to_the_source_language():
    scores = {"en": {"f1": 80.0}, "de": {"f1": 70.0}, "sw": {"f1": 85.0}}
    assert gaps_to_source(scores, "f1", "en") == {"de": 10, "sw": -5}
    assert gaps_to_source(scores, "f1", "fr") == gaps_to_source(scores, "f1", None) == {}


if __name__ == "__main__":
    import os
    from pathlib import Path

    torch.set_num_threads(1)
    place = Path(sys.argv[1])
    torch.Tensor.__reduce_ex__ = tensors_stay
    found = evaluated(json.loads((place / "documents.json").read_text()), tiny_tokenizer(), place / "run")
    (place / f"{os.environ['RANK']}.json").write_text(json.dumps(found))
    torch.distributed.barrier()
