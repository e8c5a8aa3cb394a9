"""What the tests stand on: a tiny encoder, the real slices laid out as the publishers do, and no network.

The real slices lie in ../shared/data; tests that read them are skipped where they are not there.
"""

import csv
import json
import os
import string
import subprocess
import sys
from pathlib import Path

os.environ.update(HF_HUB_OFFLINE="1", OMP_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false")
ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared" / "data"
sys.path.insert(0, str(ROOT))

import pytest
import torch
from transformers import XLMRobertaConfig, XLMRobertaForMaskedLM, XLMRobertaTokenizer
from transformers.utils import logging as transformers_logging

torch.set_num_threads(1)
transformers_logging.disable_progress_bar()

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
    """The generated world, whole."""
    folder = tmp_path_factory.mktemp("world")
    subprocess.run([sys.executable, ROOT / "demo" / "make_world.py", "--output_dir", folder], check=True)
    return str(folder)


def lay_out(shared, folder):
    """Lay out the real slices in official files: MNLI as JSON lines; XNLI with test files, whose pairs the training and selection
    rows do not contain (the other languages' pairs are translations of the first 400 English ones)."""
    for each in shared.iterdir():
        if each.is_dir() and each.name not in ("mnli", "xnli"):
            (folder / each.name).symlink_to(each)
    english = read_tsv(shared / "xnli" / "dev-en.tsv")
    matched = [line.split("\t") for line in (shared / "mnli" / "mnli_matched.tsv").read_text("utf-8").splitlines()]
    train = [(premise, hypothesis, label) for label, premise, hypothesis in matched] + english[600:]
    write_multinli(folder / "mnli" / "multinli_1.0_train.jsonl", train)
    write_multinli(folder / "mnli" / "multinli_1.0_dev_matched.jsonl", english[400:500])
    write_tsv(folder / "xnli" / "dev-en.tsv", english[500:600])
    for path in (shared / "xnli").glob("dev-*.tsv"):
        write_tsv(folder / "xnli" / path.name.replace("dev", "test"), read_tsv(path)[:400])
    return str(folder)


def read_tsv(path):
    """Rows of one of XTREME's TSV files."""
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.reader(file, delimiter="\t"))


def write_tsv(path, rows):
    """Write rows the way XTREME's files have them, CR LF included."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter="\t", lineterminator="\r\n").writerows(rows)


def write_multinli(path, rows):
    """Write pairs with the keys of MultiNLI 1.0 that matter here."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = (
        {"gold_label": label, "sentence1": a, "sentence2": b, "pairID": str(i)} for i, (a, b, label) in enumerate(rows)
    )
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


if __name__ == "__main__":  # python tests/conftest.py FOLDER
    target = Path(sys.argv[1])
    target.mkdir(parents=True)
    print(lay_out(SHARED, target))
