"""What the tests stand on: a tiny encoder, the real slices laid out as the publishers do, and no network.

The real slices lie in ../shared/data; tests that read them are skipped where they are not there.
"""

import csv
import json
import os
import random
import string
import subprocess
import sys
import tempfile
from pathlib import Path

CACHE = tempfile.TemporaryDirectory(prefix="features-")  # not the user's own
os.environ.update(HF_HUB_OFFLINE="1", OMP_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false", HF_DATASETS_CACHE=CACHE.name)
ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared" / "data"
sys.path.insert(0, str(ROOT))

import pytest
import torch
from fuzzing import fuzz, pytest_terminal_summary  # noqa: F401, what pytest looks for here
from transformers import XLMRobertaConfig, XLMRobertaForMaskedLM, XLMRobertaTokenizer
from transformers.utils import logging as transformers_logging

torch.set_num_threads(1)
transformers_logging.disable_progress_bar()


def pytest_addoption(parser):
    """How much of what is drawn at random is tried: a handful without these, the same ones each time."""
    parser.addoption("--runs", type=int, default=0, metavar="N", help="kill N runs, and make as many meet other faults")
    parser.addoption("--inputs", type=int, metavar="N", help="read N damaged files, of other seeds each time")


CHARACTERS = (
    string.ascii_letters
    + string.digits
    + string.punctuation
    + "äöüßéèñçабвгдежзиклмнопрстуяهوالمنतकसरन的一是不了ですにをกานะ"
)


def tiny_tokenizer():
    """XLM-R's kind of vocabulary with a piece for each of some characters, alone and after a space."""
    specials = [(piece, 0.0) for piece in ("<s>", "<pad>", "</s>", "<unk>")]
    pieces = [("▁", -2.0)] + [(text, -3.0) for c in dict.fromkeys(CHARACTERS) for text in (c, f"▁{c}")]
    frequent = [(f"{start}{word}", -4.0) for word in ("the", "an", "in", "er", "on", "st") for start in ("", "▁")]
    return XLMRobertaTokenizer(vocab=[*specials, *pieces, *frequent, ("<mask>", 0.0)], model_max_length=512)


def save_tiny_encoder(folder, seed=0, **options):
    """A randomly initialised XLM-R of two layers with its LM head and tokenizer, saved to `folder`."""
    tokenizer = tiny_tokenizer()
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    sizes |= {"vocab_size": len(tokenizer), "max_position_embeddings": 514, "type_vocab_size": 1, "pad_token_id": 1}
    torch.manual_seed(seed)
    config = XLMRobertaConfig(**{**sizes, **options})
    XLMRobertaForMaskedLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="session")
def tokenizer():
    """The tiny tokenizer."""
    return tiny_tokenizer()


@pytest.fixture(scope="session")
def encoder(tmp_path_factory):
    """Directory of the tiny encoder."""
    return save_tiny_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="session")
def shared():
    """The folder of real slices."""
    if not SHARED.is_dir():
        pytest.skip(f"{SHARED} is not there (real data slices)")
    return SHARED


@pytest.fixture(scope="session")
def official(shared, tmp_path_factory):
    """The real slices as the publishers lay them out: see `lay_out`."""
    return lay_out(shared, tmp_path_factory.mktemp("official"))


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    """The generated world, a third of it."""
    folder = tmp_path_factory.mktemp("world")
    command = [sys.executable, ROOT / "demo" / "make_world.py", "--output_dir", folder, "--scale", "0.3"]
    subprocess.run(command, check=True)
    return str(folder)


@pytest.fixture(scope="session")
def few_rows(tmp_path_factory):
    """A folder with a few made-up rows of HellaSwag, MultiNLI, XNLI and Tatoeba, where a test needs some run and no scores."""
    folder, labels = tmp_path_factory.mktemp("rows"), ("entailment", "neutral", "contradiction")
    pairs = [(f"a {thing} in the {place}", f"the {thing}", labels[i % 3])
             for i, (thing, place) in enumerate((thing, place) for thing in THINGS for place in PLACES)]  # fmt: skip
    for name in ("train", "dev_matched"):
        write_multinli(folder / "mnli" / f"multinli_1.0_{name}.jsonl", pairs)
    for name in ("dev-en", "test-en", "test-de"):
        write_tsv(folder / "xnli" / f"{name}.tsv", pairs)
    for name in ("train", "val"):
        rows = [{"ctx_a": a, "ctx_b": "it", "endings": ["is", "was", "has", b], "label": i % 4, "split_type": "indomain"}
                for i, (a, b, _) in enumerate(pairs)]  # fmt: skip
        write_json_lines(folder / "hellaswag" / f"hellaswag_{name}.jsonl", rows)
    for side, texts in (("deu", [b for _, b, _ in pairs]), ("eng", [a for a, _, _ in pairs])):
        (folder / "tatoeba").mkdir(exist_ok=True)
        (folder / "tatoeba" / f"tatoeba.deu-eng.{side}").write_text("".join(f"{text}\n" for text in texts), "utf-8")
    return str(folder)


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """Starts scripts in processes of their own, see tests/faults.py."""
    from faults import Server

    return Server(tmp_path_factory.mktemp("server"))


@pytest.fixture
def write(tmp_path):
    """write(text or bytes, name) -> the path of a file with just that."""

    def write(content, name="file"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    return write


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    """A file for property tests, written again and again."""
    return tmp_path_factory.mktemp("scratch") / "file"


def lay_out(shared, folder):
    """Lay out the real slices in official files: MNLI as JSON lines; XNLI with test files, whose pairs the training and selection
    rows do not contain (the other languages' pairs are translations of the first 400 English ones). What has no training file is
    trained on a part of another; ANLI and QQP, of which there are no real rows, are made up."""
    for each in shared.iterdir():
        if each.is_dir() and each.name not in (
            "mnli",
            "xnli",
            "snli",
            "cosmosqa",
            "socialiqa",
            "pawsx",
            "uner",
            "mlqa",
        ):
            (folder / each.name).symlink_to(each)
    english = read_tsv(shared / "xnli" / "dev-en.tsv")
    matched = [line.split("\t") for line in (shared / "mnli" / "mnli_matched.tsv").read_text("utf-8").splitlines()]
    train = [(premise, hypothesis, label) for label, premise, hypothesis in matched] + english[600:]
    write_multinli(folder / "mnli" / "multinli_1.0_train.jsonl", train)
    write_multinli(folder / "mnli" / "multinli_1.0_dev_matched.jsonl", english[400:500])
    write_tsv(folder / "xnli" / "dev-en.tsv", english[500:600])
    for path in (shared / "xnli").glob("dev-*.tsv"):
        write_tsv(folder / "xnli" / path.name.replace("dev", "test"), read_tsv(path)[:400])
    lay_out_snli(shared / "snli", folder / "snli")
    lay_out_choices(shared, folder)
    lay_out_targets(shared, folder)
    make_anli(folder / "anli", random.Random(0))
    make_qqp(folder / "qqp", random.Random(0))
    return str(folder)


def lay_out_snli(shared, folder):
    """The sampled pairs, and in training four without a gold label."""
    for name in ("train", "dev"):
        lines = (shared / "original" / f"{name}.tsv").read_text("utf-8").splitlines()[1:]
        pairs = [tuple(line.split("\t")) for line in lines]
        pairs += [(a, b, "-") for a, b, _ in pairs[:4]] if name == "train" else []
        write_multinli(folder / f"snli_1.0_{name}.jsonl", pairs)
    (folder / "snli_1.0_test.jsonl").symlink_to(shared / "snli_1.0_test.jsonl")


def lay_out_choices(shared, folder):
    """Cosmos QA is trained on most of its validation rows, Social IQa on its test rows."""
    with open(shared / "cosmosqa" / "valid.csv", encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    for name, part in (("train", rows[:1400]), ("valid", rows[1400:])):
        write_tsv(folder / "cosmosqa" / f"{name}.csv", [header, *part], delimiter=",")
    (folder / "socialiqa").mkdir()
    for name, source in (("trn", "tst"), ("dev", "dev")):
        target = shared / "socialiqa" / f"socialIQa_v1.4_{source}.jsonl"
        (folder / "socialiqa" / f"socialIQa_v1.4_{name}.jsonl").symlink_to(target)


def lay_out_targets(shared, folder):
    """PAWS-X is trained on English rows whose translations are not tested on; Universal NER, in the place of PAN-X, on most of
    its English validation rows; MLQA is tested on its validation rows, and the last English article of them selects."""
    pawsx = {path.stem: read_tsv(path) for path in (shared / "pawsx").glob("dev-*.tsv")}
    write_tsv(folder / "pawsx" / "train-en.tsv", pawsx["dev-en"][700:])
    write_tsv(folder / "pawsx" / "dev-en.tsv", pawsx["dev-en"][450:700])
    for name, rows in pawsx.items():
        write_tsv(folder / "pawsx" / f"{name.replace('dev', 'test')}.tsv", rows[:450])
    for path in (shared / "uner").glob("*/*-test.iob2"):
        link(folder / "uner" / path.parent.name / path.name, path)
    (english,) = (shared / "uner").glob("*/en_ewt-ud-dev.iob2")
    sentences = english.read_text("utf-8").strip().split("\n\n")
    for name, part in (("train", sentences[:1600]), ("dev", sentences[1600:])):
        target = folder / "uner" / english.parent.name / f"en_ewt-ud-{name}.iob2"
        target.parent.mkdir(exist_ok=True)
        target.write_text("".join(f"{sentence}\n\n" for sentence in part), encoding="utf-8")
    lay_out_mlqa(shared / "mlqa" / "MLQA_V1" / "dev", folder / "mlqa" / "MLQA_V1")


def lay_out_mlqa(shared, folder):
    for path in shared.glob("*.json"):
        articles = json.loads(path.read_text("utf-8"))["data"]
        last = 1 if path.stem.endswith("context-en-question-en") else 0
        parts = {"test": articles[: len(articles) - last], "dev": articles[len(articles) - last :]}
        for split, part in parts.items():
            if part:
                target = folder / split / path.name.replace("dev", split)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(json.dumps({"version": 1.0, "data": part}), encoding="utf-8")


def link(path, target):
    """A link to a file, in folders that are made for it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)


PLACES = "harbour market tower garden school bridge".split()
THINGS = "boat lamp kettle violin ladder bicycle".split()


def make_anli(folder, rng):
    """Made-up pairs in ANLI's files, 20 a round and split, every label in each."""
    hypotheses = {"e": "There is a {} at the {}.", "n": "The {} at the {} is new.", "c": "There is no {} at the {}."}
    for part in (f"R{number}/{name}" for number in (1, 2, 3) for name in ("train", "dev", "test")):
        rows = []
        for i in range(20):
            thing, place, label = rng.choice(THINGS), rng.choice(PLACES), "enc"[i % 3]
            context, hypothesis = f"A {thing} stands at the {place}, no. {i}.", hypotheses[label].format(thing, place)
            row = {"uid": f"{part}-{i}", "context": context, "hypothesis": hypothesis, "label": label}
            rows.append({**row, "model_label": "n", "emturk": False, "genre": "made up", "reason": "as said"})
        write_json_lines(folder / f"{part}.jsonl", rows)


def make_qqp(folder, rng):
    """Made-up questions in GLUE's QQP files, without any quoting; the last training line is broken off."""
    header = "id qid1 qid2 question1 question2 is_duplicate".split()
    for name, count, broken in (("train", 60, ["60", "120", "121", "Where is the"]), ("dev", 40, None)):
        rows = []
        for i in range(count):
            (thing, other), place = rng.sample(THINGS, 2), rng.choice(PLACES)
            question = f'Is the {thing if i % 2 else other} "still" at the {place}?'
            rows.append(
                [str(i), str(2 * i), str(2 * i + 1), f"Is there a {thing} at the {place}?", question, str(i % 2)]
            )
        lines = [header, *rows, *([broken] if broken else [])]
        folder.mkdir(exist_ok=True)
        (folder / f"{name}.tsv").write_text("".join("\t".join(line) + "\n" for line in lines), encoding="utf-8")


def read_tsv(path):
    """Rows of one of XTREME's TSV files."""
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.reader(file, delimiter="\t"))


def write_tsv(path, rows, delimiter="\t"):
    """Write rows the way XTREME's files have them, CR LF included."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter=delimiter, lineterminator="\r\n").writerows(rows)


def write_multinli(path, rows):
    """Write pairs with the keys of MultiNLI 1.0 and SNLI 1.0 that matter here."""
    columns = ("sentence1", "sentence2", "gold_label")
    write_json_lines(path, [{**dict(zip(columns, row, strict=True)), "pairID": str(i)} for i, row in enumerate(rows)])


def write_json_lines(path, rows):
    """Write one JSON object a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


if __name__ == "__main__":  # python tests/conftest.py FOLDER
    target = Path(sys.argv[1])
    target.mkdir(parents=True)
    print(lay_out(SHARED, target))


@pytest.fixture
def saved_figures(monkeypatch):
    """The figures that are saved, after layout."""
    from matplotlib.figure import Figure

    figures, save = [], Figure.savefig

    def keep(figure, path, **options):
        save(figure, path, **options)
        figures.append(figure)

    monkeypatch.setattr(Figure, "savefig", keep)
    return figures
