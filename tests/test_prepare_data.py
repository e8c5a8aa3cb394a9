"""prepare_data.py: a folder for machines without internet. The hub is a stand-in; in runs on the folder no socket opens."""

import errno
import os
import random
import re
import shutil
import socket
import threading
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import save_tiny_encoder
from datasets import Dataset, Features, Value
from datasets.arrow_writer import ArrowWriter
from datasets.exceptions import DatasetNotFoundError
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled
from huggingface_hub.hf_api import DatasetInfo, ModelInfo
from hypothesis import given, settings
from hypothesis import strategies as st
from test_multitask import run

import prepare_data
import run_retrieval
import run_target
import run_zeroshot_eval
from tasks import load_task, load_tasks
from xstilts import fetching, hub_errors, hub_rows
from xstilts.base import UserError, read_json, write_json
from xstilts.by_hand import advice
from xstilts.checkpoint import model_fingerprint
from xstilts.fetched_models import model_files
from xstilts.hub_rows import Piece
from xstilts.languages import load_training
from xstilts.lineage import default_output_dir, lineage_of
from xstilts.mining import load as load_mining
from xstilts.raw_rows import MissingData
from xstilts.sources import languages_in, load_raw, load_rows
from xstilts.task import of_benchmark
from xstilts.wanted_rows import wanted_rows

SHA, MODEL_SHA = "1" * 40, "2" * 40
WORDS = "ada ben boat lamp kettle sits stands runs red blue".split()


def xnli_rows(task, count, seed):
    """Made-up pairs with the columns of a task of that kind."""
    rng = random.Random(seed)
    rows = [{"premise": text(rng), "hypothesis": text(rng), "label": index % 3} for index in range(count)]
    features = load_task(task).source.features
    rows = [row | {"idx": index} if "idx" in features else row for index, row in enumerate(rows)]
    return Dataset.from_list([{**row, "extra": "x"} for row in rows]).cast(
        Features({**features, "extra": features["premise"]})
    )


def text(rng):
    return " ".join(rng.choices(WORDS, k=5))


class Hub:
    """Some datasets and models. `asked` lists what was downloaded; `errors` {piece or id: what is raised}; `calls` counts."""

    def __init__(self, cache):
        self.cache = cache
        self.rows, self.asked, self.errors, self.models, self.commit = {}, [], {}, {}, SHA
        self.rows["nyu-mll/glue", "mnli", "train"] = xnli_rows("mnli", 48, 0)
        self.rows["nyu-mll/glue", "mnli", "validation_matched"] = xnli_rows("mnli", 12, 1)
        for seed, language in enumerate(("en", "de", "sw")):
            for split, count in (("train", 20), ("validation", 12), ("test", 12)):
                self.rows["facebook/xnli", language, split] = xnli_rows("xnli", count, 10 * seed + count)

    def load_dataset(self, name, config=None, split=None, revision=None):
        """As datasets.load_dataset."""
        self.asked.append((name, config, split))
        error = self.errors.get((name, config, split), self.errors.get(name))
        if error:
            raise error
        if (name, config, split) not in self.rows:
            raise ValueError(f"BuilderConfig '{config}' not found. Available: ...")
        folder = Path(self.cache, name.replace("/", "___"), config or "default", "0.0.0", self.commit)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{name.split('/')[1]}-{split}.arrow"
        return Dataset.from_file(str(path)) if path.exists() else self.written(self.rows[name, config, split], path)

    @staticmethod
    def written(rows, path):
        """The rows as they lie in the cache of `datasets`, by the name that it gives the file."""
        with ArrowWriter(features=rows.features, path=str(path)) as writer:
            for row in rows:
                writer.write(row)
            writer.finalize()
        return Dataset.from_file(str(path))

    def dataset_info(self, name, revision=None):
        """As HfApi.dataset_info."""
        splits = [{"name": split, "num_bytes": 1_000_000} for split in ("train", "validation", "test")]
        tables = [{"config_name": language, "splits": splits} for language in ("en", "de", "sw")]
        return DatasetInfo(id=name, sha=SHA, cardData={"dataset_info": tables})

    def model_info(self, name, files_metadata=False):
        """As HfApi.model_info."""
        if name not in self.models:
            raise self.errors[name]
        folder = Path(self.models[name])
        files = [{"rfilename": path.name, "size": path.stat().st_size} for path in folder.iterdir()]
        files += [{"rfilename": name, "size": 1} for name in ("onnx/model.onnx", "tf_model.h5", "pytorch_model.bin")]
        return ModelInfo(id=name, sha=MODEL_SHA, siblings=files, cardData={"license": "mit"})

    def snapshot_download(self, name, revision, local_dir, allow_patterns):
        """As huggingface_hub.snapshot_download into a folder: what is there already is taken for the right file."""
        self.asked.append((name, revision))
        Path(local_dir, ".cache").mkdir(parents=True, exist_ok=True)
        for file in allow_patterns:
            if not Path(local_dir, file).exists():
                shutil.copy(Path(self.models[name], file), local_dir)


@pytest.fixture
def hub(monkeypatch, tmp_path_factory):
    found = Hub(tmp_path_factory.mktemp("cache"))
    monkeypatch.setattr(hub_rows, "load_dataset", found.load_dataset)
    monkeypatch.setattr(fetching, "HfApi", lambda: found)
    monkeypatch.setattr(prepare_data, "HfApi", lambda: found)
    monkeypatch.setattr(prepare_data, "snapshot_download", found.snapshot_download)
    monkeypatch.setattr(hub_errors.time, "sleep", lambda seconds: None)
    fetching.facts_of.cache_clear()
    return found


@pytest.fixture
def no_network(monkeypatch):
    """no_network() from then on no socket opens."""

    def refuse(*args, **options):
        raise AssertionError("a socket was opened")

    def block():
        monkeypatch.setattr(socket.socket, "connect", refuse)
        monkeypatch.setattr(socket, "getaddrinfo", refuse)
        monkeypatch.setattr(hub_rows, "load_dataset", refuse)

    return block


def prepare(folder, line):
    """The exit code."""
    return prepare_data.main(["--output_dir", str(folder), *line.split()])


XNLI = "--tasks xnli --benchmark xtreme-r --languages de,sw"


# ---- the folder in the place of the hub -----------------------------------------------------------------------------


def test_runs_on_the_folder_are_those_on_the_hub(hub, encoder, tmp_path, no_network, capsys):
    """Same scores, same fingerprints, same identity: a run that was begun with the hub goes on with the folder."""
    assert prepare(tmp_path / "data", XNLI) == 0

    def both(folder, data, line):
        common = f"--task xnli --use_cpu --seed 3 --max_seq_length 64 {data} {line}"
        options = f"{common} --model_name_or_path {encoder} --output_dir {folder / 'run'} --num_train_epochs 1"
        run_target.main(options.split())
        options = f"{common} --model_name_or_path {folder / 'run'} --output_dir {folder / 'eval'} --languages en,de,sw"
        run_zeroshot_eval.main(options.replace("--seed 3", "").split())
        return read_json(folder / "run" / "run.json"), read_json(folder / "eval" / "run.json")

    there = both(tmp_path / "hub", "", "")
    assert [record["hub"]["revision"] for record in there[0]["data"]] == [SHA, SHA]
    no_network()
    here = both(tmp_path / "folder", f"--data_dir {tmp_path / 'data'}", "")
    for direct, kept in zip(there, here, strict=True):
        assert kept["identity"]["data"] == direct["identity"]["data"]
        assert kept["lineage"][-1]["fingerprint"] == direct["lineage"][-1]["fingerprint"]
        assert kept.get("scores") == direct.get("scores")
        assert all("hub" not in record for record in kept["identity"]["data"])
    options = f"--task xnli --use_cpu --seed 3 --max_seq_length 64 --num_train_epochs 1 --model_name_or_path {encoder}"
    run_target.main([*options.split(), "--output_dir", str(tmp_path / "hub/run"), "--data_dir", str(tmp_path / "data")])
    assert "hub/run is finished with the same arguments and data; nothing to do" in capsys.readouterr().out
    assert here[0]["data"][0]["hub"] == {
        "id": "nyu-mll/glue", "config": "mnli", "split": "train", "revision": SHA,
    }  # fmt: skip
    assert here[0]["data"][0]["files"] == ["nyu-mll/glue/mnli (train)"]
    assert {record["language"] for record in here[1]["data"]} == {"en", "de", "sw"}


def test_languages_that_lie_in_the_folder(hub, tmp_path):
    prepare(tmp_path, XNLI)
    source = load_task("xnli").source
    assert languages_in(source, "train", str(tmp_path)) == ["de", "sw"]
    assert languages_in(source, "test", str(tmp_path)) == ["de", "en", "sw"]
    assert languages_in(load_task("mnli").source, "train", str(tmp_path)) == ["en"]
    with pytest.raises(
        MissingData, match=r"no file .*xnli/test-th.tsv .*nor the hub's rows in .*_hub/facebook/xnli/th"
    ):
        load_rows(source, "test", "th", str(tmp_path))


def test_rows_of_all_languages_in_one_configuration(hub, tmp_path):
    source = load_task("tydiqa").source
    row = {"title": "", "context": "In Ulm.", "question": "?", "answers": {"text": ["Ulm"], "answer_start": [3]}}
    rows = [{"id": f"{name}-{number}-0", **row} for number, name in enumerate(("english", "finnish", "english"))]
    for split in ("train", "validation"):
        hub.rows[source.hub, "secondary_task", split] = Dataset.from_list(rows, features=source.features)
    assert prepare(tmp_path, "--tasks tydiqa --languages fi") == 0
    assert [asked[2] for asked in hub.asked] == ["train", "validation"]
    assert load_rows(source, "test", "fi", str(tmp_path))[0]["id"] == ["finnish-1-0"]
    assert "en" in languages_in(source, "test", str(tmp_path))


@pytest.mark.parametrize("tags", [["X", "ADJ"], [16, 0], [16, -1]], ids=["text", "numbers", "no label"])
def test_labels_as_text_or_numbers_are_read_from_a_folder_too(tags, hub, tmp_path):
    task = of_benchmark(load_task("udpos"), "xtreme-r")
    for split in ("train", "validation", "test"):
        hub.rows[task.source.hub, "en", split] = Dataset.from_dict({"tokens": [["a", "b"]], "pos_tags": [tags]})
    if -1 in tags:
        assert prepare(tmp_path, "--tasks udpos --benchmark xtreme-r --languages en") == 1
        return
    assert prepare(tmp_path, "--tasks udpos --benchmark xtreme-r --languages en") == 0
    raw = load_raw(task.source, "test", "en", str(tmp_path))
    assert raw.rows.features == task.source.features
    assert raw.rows["pos_tags"] == [[16, 0]]
    assert any("plain numbers" in remark for remark in raw.remarks) == (16 in tags)


def test_mining_reads_the_hub_s_corpora_and_names_the_missing_dev_set(hub, tmp_path, no_network, capsys):
    task = load_task("bucc2018", object)
    row = {
        "sentence1": ["Die Katze.", "Ein Satz.", "Alt."],
        "sentence2": ["Old.", "The cat.", "A lamp."],
        "gold": [[1, 2]],
    }
    hub.rows["mteb/BUCC", "de-en", "test"] = Dataset.from_list([row], features=task.source.features)
    assert prepare(tmp_path, "--tasks bucc2018 --languages de") == 1
    shown = capsys.readouterr().out
    assert "bucc2018 dev [de]: the hub's mteb/BUCC has no dev set" in shown
    assert "bucc2018 test has other numbers of rows than are published: 'de' 1 of 9,580" in shown
    no_network()
    options = SimpleNamespace(
        data_dir=str(tmp_path), languages="de", threshold=1.0, neighborhood=4, max_eval_samples=None
    )
    (collection,), _ = load_mining(task, options)
    assert collection.records[0]["hub"]["id"] == "mteb/BUCC"
    options.threshold = None
    with pytest.raises(
        UserError, match=r"no file .*\(dev rows in 'de'\), and mteb/BUCC on the hub has none.*--threshold"
    ):
        load_mining(task, options)


def test_retrieval_on_the_folder(hub, encoder, tmp_path, no_network):
    source = load_task("tatoeba", object).source
    rows = [{"source_sentence": f"{word} eins", "target_sentence": f"{word} one"} for word in WORDS]
    hub.rows["google/xtreme", "tatoeba.deu", "validation"] = Dataset.from_list(rows, features=source.features)
    assert prepare(tmp_path / "data", "--tasks tatoeba --languages de") == 0
    no_network()
    line = (
        f"--task tatoeba --model_name_or_path {encoder} --data_dir {tmp_path / 'data'} --output_dir {tmp_path / 'run'}"
    )
    run_retrieval.main([*line.split(), "--languages", "de", "--use_cpu"])
    (record,) = read_json(tmp_path / "run" / "run.json")["data"]
    assert record["hub"] == {"id": "google/xtreme", "config": "tatoeba.deu", "split": "validation", "revision": SHA}


# ---- official files -------------------------------------------------------------------------------------------------


def test_an_official_file_goes_before_the_hub_s_rows(hub, tmp_path, capsys):
    path = tmp_path / "xnli" / "test-de.tsv"
    path.parent.mkdir()
    path.write_text("A.\tB.\tneutral\n", encoding="utf-8")
    assert prepare(tmp_path, XNLI) == 0
    assert ("facebook/xnli", "de", "test") not in hub.asked
    assert load_rows(load_task("xnli").source, "test", "de", str(tmp_path))[1] == ["xnli/test-de.tsv"]
    assert "official files and the hub" in capsys.readouterr().out
    path.unlink()
    assert prepare(tmp_path, XNLI) == 0
    path.write_text("A.\tB.\tneutral\n", encoding="utf-8")  # beside rows that were fetched
    rows, files = load_rows(load_task("xnli").source, "test", "de", str(tmp_path))
    assert (len(rows), files) == (1, ["xnli/test-de.tsv"])


def test_what_was_put_by_hand_counts_from_then_on(hub, tmp_path, capsys):
    assert prepare(tmp_path, "--tasks ccg") == 1
    shown = capsys.readouterr().out
    assert "ccg train [en]: CCGbank is licensed by the LDC" in shown
    assert "note: ccg test is not there in en; nothing needs it" in shown  # of an intermediate task
    assert "https://catalog.ldc.upenn.edu/LDC2005T13" in shown
    assert f"goes to {tmp_path}/ccg/*/data/AUTO/0[0-9]/*.auto" in shown
    for name in ("train", "dev", "test"):
        path = tmp_path / "ccg" / "mine" / f"x-{name}.auto"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("ID=1\n(<T S 0 1> (<L NP X X She NP>) (<L S\\NP X X sings S\\NP>) )\n", encoding="utf-8")
    assert prepare(tmp_path, "--check") == 0
    assert "official files" in capsys.readouterr().out


# ---- interrupted, damaged, two at once ------------------------------------------------------------------------------


def test_an_interrupted_call_goes_on(hub, tmp_path, capsys):
    hub.errors["facebook/xnli", "de", "test"] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        prepare(tmp_path, XNLI)
    assert not list(tmp_path.rglob("*.partial"))
    assert prepare(tmp_path, "--check") == 1  # what was asked for is known from the start
    assert "it was not fetched" in capsys.readouterr().out
    before, hub.asked, hub.errors = [*hub.asked], [], {}
    assert prepare(tmp_path, XNLI) == 0
    assert hub.asked[0] == ("facebook/xnli", "de", "test")
    assert not {*before[:-1]} & {*hub.asked}
    hub.asked.clear()
    assert prepare(tmp_path, XNLI) == 0
    assert prepare(tmp_path, "--check") == 0
    assert hub.asked == []


def test_a_kill_between_rows_and_record_leaves_nothing_that_is_read(hub, tmp_path):
    prepare(tmp_path, XNLI)
    path = Piece("facebook/xnli", "de", "test", None).path(tmp_path)
    path.with_suffix(".json").unlink()
    with pytest.raises(MissingData):
        load_rows(load_task("xnli").source, "test", "de", str(tmp_path))
    hub.asked.clear()
    assert prepare(tmp_path, XNLI) == 0
    assert hub.asked == [("facebook/xnli", "de", "test")]


def test_a_damaged_file_is_named_and_fetched_again(hub, tmp_path, capsys):
    prepare(tmp_path, XNLI)
    path = Piece("facebook/xnli", "de", "test", None).path(tmp_path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    hub.asked.clear()
    capsys.readouterr()
    assert prepare(tmp_path, "--check") == 1
    assert "_hub/facebook/xnli/de/test.parquet is not what was written" in capsys.readouterr().out
    with pytest.raises(
        UserError, match=r"_hub/facebook/xnli/de: test.parquet is not what was written; run prepare_data"
    ):
        load_rows(load_task("xnli").source, "test", "de", str(tmp_path))
    assert hub.asked == []
    assert prepare(tmp_path, XNLI) == 0
    assert hub.asked == [("facebook/xnli", "de", "test")]
    assert prepare(tmp_path, "--check") == 0


def test_a_changed_record_is_noticed(hub, tmp_path):
    prepare(tmp_path, XNLI)
    path = Piece("facebook/xnli", "de", "test", None).path(tmp_path).with_suffix(".json")
    path.write_text(path.read_text("utf-8").replace(SHA, "3" * 40), encoding="utf-8")
    assert prepare(tmp_path, "--check") == 1
    assert prepare(tmp_path, XNLI) == 0


def test_damage_to_other_rows_than_those_asked_for_is_no_reason_to_stop(hub, tmp_path):
    prepare(tmp_path, XNLI)
    record = Piece("facebook/xnli", "de", "test", None).path(tmp_path).with_suffix(".json")
    record.write_text("{", encoding="utf-8")
    assert prepare(tmp_path, "--tasks mnli") == 0
    assert "facebook/xnli" in (tmp_path / "LICENCES.md").read_text("utf-8")


def test_another_revision_is_not_taken_for_the_declared_one(hub, tmp_path):
    prepare(tmp_path, XNLI)
    path = Piece("facebook/xnli", "de", "test", None).path(tmp_path).with_suffix(".json")
    write_json(path, {**read_json(path), "asked_revision": "old"})
    with pytest.raises(UserError, match="was fetched at revision old, the task's file asks for None"):
        load_rows(load_task("xnli").source, "test", "de", str(tmp_path))
    hub.asked.clear()
    assert prepare(tmp_path, XNLI) == 0
    assert hub.asked == [("facebook/xnli", "de", "test")]


def test_two_at_once(hub, tmp_path, monkeypatch):
    """The second one says so and leaves the first alone; here it is one from inside the first."""
    messages, fetch = [], hub.load_dataset

    def second():
        try:
            prepare(tmp_path, XNLI)
        except UserError as error:
            messages.append(str(error))

    def meanwhile(*place, **options):
        if threading.current_thread() is threading.main_thread():
            other = threading.Thread(target=second)
            other.start()
            other.join()
        return fetch(*place, **options)

    monkeypatch.setattr(hub_rows, "load_dataset", meanwhile)
    assert prepare(tmp_path, "--tasks mnli") == 0
    assert len(messages) == 2
    assert all("is being filled by process" in message for message in messages)
    assert not list(tmp_path.rglob("*running*"))


# ---- what could not be had ------------------------------------------------------------------------------------------


def answered(code, kind=HfHubHTTPError):
    """The library's own exception for an answer of the server."""
    response = SimpleNamespace(status_code=code, headers={}, request=None)
    return kind(f"{code} of the server", response=response)


@pytest.mark.parametrize(
    ("error", "said", "tries"),
    [
        (answered(403, GatedRepoError), "access is given on request", 1),
        (FileNotFoundError("Dataset 'x' is a gated dataset on the Hub."), "access is given on request", 1),
        (
            RuntimeError("Dataset scripts are no longer supported, but found xnli.py"),
            "its publisher has a loading script only",
            1,
        ),
        (answered(503), "the hub could not be reached (503 of the server)", 4),
        (answered(429), "the hub could not be reached", 4),
        (ConnectionError("no route\nto host"), "the hub could not be reached (no route)", 4),
        (DatasetNotFoundError("doesn't exist"), "it is not on the hub (any more)", 1),
        (LocalEntryNotFoundError("check your connection"), "the hub could not be reached (check your connection)", 4),
        (ValueError("Couldn't find cache for facebook/xnli for config 'de'"), "the hub could not be reached", 4),
        (OfflineModeIsEnabled("offline"), "HF_HUB_OFFLINE is set, so the hub is not asked", 1),
        (TypeError("odd"), "TypeError: odd", 1),
    ],
    ids=lambda value: str(value)[:20],
)
def test_each_failure_has_its_reason_and_the_rest_goes_on(error, said, tries, hub, tmp_path, capsys):
    hub.errors["facebook/xnli", "de", "test"] = error
    assert prepare(tmp_path, XNLI) == 1
    shown = capsys.readouterr().out
    assert f"xnli test [de]: {said}" in shown
    assert "by hand: https://github.com/facebookresearch/XNLI; " in shown
    assert f"goes to {tmp_path}/xnli/XNLI-1.0/xnli.test.tsv" in shown
    assert hub.asked.count(("facebook/xnli", "de", "test")) == tries
    assert Piece("facebook/xnli", "sw", "test", None).is_kept(tmp_path)
    hub.asked.clear()
    assert prepare(tmp_path, "--check") == 1
    assert f"xnli test [de]: {said}" in capsys.readouterr().out
    assert hub.asked == []


def test_a_hub_out_of_reach_is_not_waited_for_again_and_again(hub, tmp_path):
    hub.errors = dict.fromkeys(("facebook/xnli", "nyu-mll/glue"), ConnectionError("no route"))
    assert prepare(tmp_path, XNLI) == 1
    assert [hub.asked.count(asked) for asked in dict.fromkeys(hub.asked)] == [4, *[1] * (len({*hub.asked}) - 1)]


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        OSError("Not enough disk space. Needed: 3 GB (download: 1 GB, generated: 2 GB)"),
    ],
    ids=str,
)
def test_a_full_disk_ends_it_and_the_next_call_goes_on(error, hub, tmp_path):
    hub.errors["facebook/xnli", "de", "test"] = error
    with pytest.raises(UserError, match=r"facebook/xnli/de \(test\): the disk is full; make room"):
        prepare(tmp_path, XNLI)
    hub.errors.clear()
    hub.asked.clear()
    assert prepare(tmp_path, XNLI) == 0
    assert hub.asked == [("facebook/xnli", "de", "test"), ("facebook/xnli", "sw", "test")]


def test_what_nobody_publishes_is_not_missing(hub, tmp_path, capsys):
    """Rows to train on in another language, which the benchmark has no use for."""
    del hub.rows["facebook/xnli", "sw", "train"], hub.rows["facebook/xnli", "sw", "validation"]
    assert prepare(tmp_path, XNLI) == 0
    shown = capsys.readouterr().out
    assert "facebook/xnli/sw (train): could not be had: the hub's dataset has no such configuration or split" in shown
    assert "note: xnli train is not there in sw; nothing needs it" in shown
    assert prepare(tmp_path, "--check") == 0
    del hub.rows["facebook/xnli", "sw", "test"]
    shutil.rmtree(tmp_path / "_hub" / "facebook")
    assert prepare(tmp_path, XNLI) == 1
    assert "xnli test [sw]: the hub's dataset has no such configuration or split" in capsys.readouterr().out


def test_an_old_version_out_of_a_cache_is_not_taken(hub, tmp_path, capsys):
    """`datasets` takes any cached version where the hub does not answer."""
    hub.commit = "9" * 40
    assert prepare(tmp_path, XNLI) == 1
    assert f"the cache gave commit {'9' * 40} in the place of {SHA}" in capsys.readouterr().out
    assert not list(tmp_path.rglob("*.parquet"))


def test_columns_and_hidden_labels_are_noticed_before_they_are_kept(hub, tmp_path, capsys):
    features = load_task("xnli").source.features
    hidden = [{"premise": "a", "hypothesis": "b", "label": -1}] * 3
    hub.rows["facebook/xnli", "de", "test"] = Dataset.from_list(hidden, features=features)
    hub.rows["facebook/xnli", "sw", "test"] = Dataset.from_dict({"premise": ["a"], "hypothesis": ["b"]})
    assert prepare(tmp_path, XNLI) == 1
    shown = capsys.readouterr().out
    assert "its labels are hidden, all 3 rows have the same placeholder" in shown
    assert "facebook/xnli/sw (test) lacks the columns label" in shown
    assert not Piece("facebook/xnli", "de", "test", None).is_kept(tmp_path)


def test_wrong_sizes_are_told_and_kept(hub, tmp_path, capsys):
    assert prepare(tmp_path, XNLI) == 0
    shown = capsys.readouterr().out
    told = "note: xnli test has other numbers of rows than are published: 'en' 12 of 5,010, 'de' 12 of 5,010, 'sw' 12 of 5,010"
    assert told in shown
    assert "note: mnli train has other numbers of rows than are published: 'en' 48 of 392,702" in shown


def test_the_table_and_its_state_on_disk(hub, tmp_path, capsys):
    prepare(tmp_path, XNLI)
    shown = capsys.readouterr().out
    line = next(line for line in shown.splitlines() if line.startswith("xnli "))
    assert line.split()[:4] == ["xnli", "train", "2", "40"]
    assert re.search(r"\[1/10\] nyu-mll/glue/mnli \(train\): 48 rows, 0\.0 MB; \d+ s gone, about \d+ s left", shown)
    contents = read_json(tmp_path / "_hub" / "contents.json")
    asked = {"tasks": ["xnli"], "benchmark": "xtreme-r", "languages": ["de", "sw"], "train_languages": [], "models": []}
    assert contents["asked"] == [asked]
    (state,) = [s for s in contents["rows"] if (s["task"], s["split"], s["language"]) == ("xnli", "test", "de")]
    assert (state["rows"], state["piece"]) == (12, ["facebook/xnli", "de", "test", None])
    record = read_json(tmp_path / "_hub" / "facebook" / "xnli" / "de" / "test.json")
    assert record["columns"] == ["premise", "hypothesis", "label", "extra"]
    assert (record["rows"], record["revision"], len(record["fingerprint"])) == (12, SHA, 16)
    shutil.rmtree(tmp_path / "_hub" / "facebook")
    assert prepare(tmp_path, "--tasks mnli") == 0
    assert len(read_json(tmp_path / "_hub" / "contents.json")["asked"]) == 2
    assert prepare(tmp_path, "--check") == 1


def on_the_hub_only(monkeypatch):
    """A task of one's own without official files."""
    own = load_task("mnli")
    own = replace(own, name="own", source=replace(own.source, hub="me/own", config=None, files={}), sizes={})
    monkeypatch.setattr(prepare_data, "load_task", lambda name, kind=None: own)
    return own


def test_a_task_of_ones_own_that_is_on_the_hub_only(hub, tmp_path, monkeypatch, capsys):
    """Copied from another, with no file declared."""
    own = on_the_hub_only(monkeypatch)
    hub.rows["me/own", None, "train"] = xnli_rows("mnli", 9, 3)
    assert prepare(tmp_path, "--tasks own") == 1
    assert "own validation [en]: the hub's dataset has no such configuration or split" in capsys.readouterr().out
    assert len(load_rows(own.source, "train", "en", str(tmp_path))[0]) == 9
    with pytest.raises(MissingData, match=r"no file is declared \(validation rows in 'en'\), nor the hub's rows in"):
        load_rows(own.source, "validation", "en", str(tmp_path))
    assert languages_in(own.source, "train", str(tmp_path)) == ["en"]


@pytest.mark.parametrize("has_folder", [False, True])
def test_another_language_of_a_task_that_is_on_the_hub_only(has_folder, hub, tmp_path, monkeypatch):
    """No place can be named for translated rows, so none is."""
    own = on_the_hub_only(monkeypatch)
    data_dir = str(tmp_path) if has_folder else None
    with pytest.raises(UserError, match=r"own has no training rows in 'de'; it has [a-z]*$"):
        load_training(own, "de", data_dir)


def test_columns_that_nobody_reads_may_hold_anything(hub, tmp_path, monkeypatch):
    own, rows = on_the_hub_only(monkeypatch), xnli_rows("mnli", 9, 3)
    rows = rows.add_column("when", [datetime(2020, 1, 1)] * 9).add_column("what", [b"x"] * 9)
    hub.rows["me/own", None, "train"] = hub.rows["me/own", None, "validation_matched"] = rows
    assert prepare(tmp_path, "--tasks own") == 0
    kept, there = (load_raw(own.source, "train", "en", place).rows for place in (str(tmp_path), None))
    assert list(kept) == list(there)


def test_labels_as_large_strings_are_text(hub, tmp_path, monkeypatch):
    """As other libraries than `datasets` write parquet."""
    own, large = on_the_hub_only(monkeypatch), Value("large_string")
    rows = [{"premise": "a", "hypothesis": "b", "label": label, "idx": 0} for label in ("neutral", "entailment")]
    found = Dataset.from_list(rows, features=Features({**own.source.features, "premise": large, "label": large}))
    hub.rows["me/own", None, "train"] = hub.rows["me/own", None, "validation_matched"] = found
    assert prepare(tmp_path, "--tasks own") == 0
    kept, there = (load_raw(own.source, "train", "en", place).rows for place in (str(tmp_path), None))
    assert kept["label"] == there["label"] == [1, 0]
    assert kept.features == there.features


# ---- what tasks need ------------------------------------------------------------------------------------------------


def needs(names, benchmark=None, languages=(), train_languages=()):
    tasks = prepare_data.tasks_asked(names, benchmark)
    wanted = wanted_rows(tasks, benchmark, languages, train_languages)
    return {(each.task, each.benchmark, each.split, each.language) for each in wanted}


def test_what_tasks_need():
    assert {(task, split) for task, _, split, _ in needs(["anli_plus"])} == {
        (task, split)
        for task, splits in (
            ("mnli", "train validation"),
            ("snli", "train validation test"),
            ("anli", "train validation test"),
        )
        for split in splits.split()
    }
    xcopa = needs(["xcopa"], "xtreme-r")
    assert {("siqa", None, "train", "en"), ("copa", None, "train", "en"), ("xcopa", None, "test", "qu")} <= xcopa
    assert ("xnli", None, "train", "en") not in needs(["xnli"])
    assert ("xnli", None, "train", "de") in needs(["xnli"])
    zero_shot = needs(["xnli"], train_languages=["en"])
    assert needs(["xnli"]) - zero_shot == {("xnli", None, "train", code) for code in load_task("xnli").languages[1:]}
    both = needs(["udpos"])
    assert {("udpos", None, "test", "de"), ("udpos", "xtreme-r", "test", "wo")} <= both
    assert ("udpos", None, "test", "wo") not in both
    assert {benchmark for _, benchmark, _, _ in needs(["udpos"], "xtreme-r")} == {"xtreme-r"}
    assert ("mlqa", None, "test", "de-en") in needs(["mlqa"], None, ["de-en"])
    assert ("mlqa", None, "test", "de-en") not in needs(["mlqa"])
    assert {language for task, _, split, language in needs(["xnli"], None, ["de"]) if task == "xnli"} == {"de", "en"}
    assert {language for _, _, split, language in needs(["lareqa"]) if split == "train"} == {"en"}
    mewslix = needs(["mewslix"])
    assert {
        ("mewslix", None, "candidates", "en"),
        ("mewslix", None, "test", "uk"),
        ("mewslix", None, "train", "en"),
    } <= mewslix
    assert ("lareqa", None, "candidates", "ar") in needs(["lareqa"], None, ["de"])
    assert {task for task, *_ in needs([], "xtreme-r")} >= {
        "siqa",
        "copa",
        "mnli",
        "squad",
        "mewslix",
        "tatoeba",
        "udpos",
    }


def test_groups_of_tasks():
    names = prepare_data.tasks_asked(["all-ccg", "tatoeba", "mnli+copa"], None)
    assert [task.name for task in names] == [*(task.name for task in load_tasks("all-ccg")), "tatoeba", "copa"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "nothing is asked for"),
        ("--check", "was not filled by prepare_data.py"),
        ("--tasks xnil", "xnil is not one of"),
        ("--tasks tatoeba --train_languages en,xx", "none of the tasks has 'xx'"),
        ("--tasks xnli --languages xx", "none of the tasks has 'xx'; they have ar, bg"),
        ("--tasks pawsx --benchmark xtreme --models a/b/c", "is no id of a model"),
    ],
)
def test_what_the_user_got_wrong(line, message, hub, tmp_path):
    with pytest.raises(UserError, match=message):
        prepare(tmp_path / "data", line)
    assert not (tmp_path / "data").exists()


def test_every_task_without_rows_on_the_hub_has_its_instructions():
    for task in prepare_data.tasks_asked(["all", "lareqa", "mewslix"], None):
        if any(each.source.hub is None for each in wanted_rows([task])):
            why, address, how = advice(task.name, "by hand")
            assert why
            assert address.startswith("https://")
            assert how


def test_instructions_are_those_of_the_split(hub, tmp_path, capsys):
    """LAReQA's training rows are SQuAD's, and XNLI's translated ones are another archive."""
    hub.errors = dict.fromkeys(("facebook/xnli", "rajpurkar/squad"), DatasetNotFoundError("gone"))
    assert prepare(tmp_path, "--tasks lareqa xnli --languages de") == 1
    shown = capsys.readouterr().out
    assert re.search(r"lareqa train \[en\]: it is not .*\n.*SQuAD-explorer.*goes to .*/squad/train-v1.1.json", shown)
    assert re.search(r"lareqa test \[en de\]: the hub's .*\n.*xquad-r of the repository; goes to .*/lareqa/", shown)
    assert re.search(r"xnli train \[de\]: .*\n.*XNLI-MT-1.0.zip.*goes to .*/xnli/XNLI-MT-1.0/", shown)


# ---- models ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def published(hub, tmp_path):
    """A model on the stand-in of the hub."""
    folder = tmp_path / "published"
    save_tiny_encoder(folder)
    (folder / "README.md").write_text("hello", encoding="utf-8")
    hub.models["Some/tiny-encoder"] = folder
    return folder


def test_models_lie_beside_the_data(hub, published, tmp_path, capsys, no_network):
    assert prepare(tmp_path / "data", "--models Some/tiny-encoder") == 0
    path = tmp_path / "data" / "_models" / "Some" / "tiny-encoder"
    names = {each.name for each in path.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "fetched.json"} <= names
    assert not names & {"pytorch_model.bin", "tf_model.h5", "README.md", ".cache"}
    assert model_fingerprint(path) == MODEL_SHA  # as that of the id would be
    (record,) = lineage_of(str(path))
    assert record["base_model"] == "tiny-encoder"
    assert default_output_dir("target", [record], "xnli", 1) == default_output_dir(
        "target", [{"base_model": "Some/tiny-encoder".split("/")[1]}], "xnli", 1
    )
    prepare(tmp_path / "data", "--tasks mnli")
    no_network()
    done = run(run_target.main, tmp_path / "run", tmp_path / "data", path, "--task mnli")
    assert done["lineage"][0]["fingerprint"] == MODEL_SHA
    hub.asked.clear()
    assert prepare(tmp_path / "data", "--models Some/tiny-encoder") == 0
    assert hub.asked == []
    assert "there already" in capsys.readouterr().out


def test_a_file_of_a_model_that_is_too_short_is_not_kept(hub, published, tmp_path, monkeypatch):
    """The hub's library does not look at a file again that it has noted down as whole."""
    path, whole = tmp_path / "data" / "_models" / "Some" / "tiny-encoder", hub.snapshot_download

    def too_short(*place, **options):
        whole(*place, **options)
        (path / "model.safetensors").write_bytes(b"short")

    monkeypatch.setattr(prepare_data, "snapshot_download", too_short)
    assert prepare(tmp_path / "data", "--models Some/tiny-encoder") == 1
    monkeypatch.setattr(prepare_data, "snapshot_download", whole)
    assert prepare(tmp_path / "data", "--models Some/tiny-encoder") == 0


def test_a_damaged_model_is_named_and_fetched_again(hub, published, tmp_path, capsys):
    prepare(tmp_path / "data", "--models Some/tiny-encoder")
    path = tmp_path / "data" / "_models" / "Some" / "tiny-encoder"
    (path / "config.json").write_text("{}", encoding="utf-8")
    assert prepare(tmp_path / "data", "--check") == 1
    assert "_models/Some/tiny-encoder/config.json has 2 of" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"is not what was fetched from the hub .*config\.json has 2 of"):
        model_fingerprint(path)
    assert prepare(tmp_path / "data", "--models Some/tiny-encoder") == 0
    assert (path / "config.json").read_bytes() == (published / "config.json").read_bytes()


def test_an_interrupted_model_goes_on_where_it_was(hub, published, tmp_path, monkeypatch, capsys):
    """What the hub's library has of a large file stays; it returns without an error where a folder is not empty."""
    path, whole = tmp_path / "data" / "_models" / "Some" / "tiny-encoder", hub.snapshot_download

    def broken_off(name, revision, local_dir, allow_patterns):
        left = Path(local_dir, ".cache", "huggingface", "download", "x.incomplete")
        left.parent.mkdir(parents=True)
        left.write_bytes(b"half")

    monkeypatch.setattr(prepare_data, "snapshot_download", broken_off)
    assert prepare(tmp_path / "data", "--models Some/tiny-encoder") == 1
    assert "did not arrive whole" in capsys.readouterr().out
    assert list(path.rglob("*.incomplete"))
    monkeypatch.setattr(prepare_data, "snapshot_download", whole)
    assert prepare(tmp_path / "data", "--models Some/tiny-encoder") == 0
    assert not (path / ".cache").exists()


def test_a_model_that_cannot_be_had(hub, tmp_path, capsys):
    hub.errors["Meta/closed"] = answered(403, GatedRepoError)
    assert prepare(tmp_path / "data", "--models Meta/closed") == 1
    assert "model Meta/closed: access is given on request" in capsys.readouterr().out
    capsys.readouterr()
    assert prepare(tmp_path / "data", "--check") == 1
    assert "model Meta/closed: access is given on request" in capsys.readouterr().out


def test_models_do_not_wait_for_a_hub_out_of_reach_again_and_again(hub, tmp_path, capsys):
    hub.errors = dict.fromkeys(("some/one", "some/other"), ConnectionError("no route"))
    assert prepare(tmp_path, "--models some/one some/other") == 1
    assert capsys.readouterr().out.count("no route; again in") == 3


def test_the_files_of_a_model_that_are_read():
    names = "config.json generation_config.json model-00001-of-00002.safetensors model-00002-of-00002.safetensors"
    names += (
        " model.safetensors.index.json pytorch_model.bin sentencepiece.bpe.model tokenizer.json tokenizer_config.json"
    )
    names += " vocab.txt flax_model.msgpack"
    names += (
        " onnx/model.onnx openvino/openvino_model.xml rust_model.ot modeling_own.py model.fp16.safetensors README.md"
    )
    assert set(names.split()) - set(model_files(names.split())) == {
        "generation_config.json", "flax_model.msgpack", "pytorch_model.bin", "onnx/model.onnx", "openvino/openvino_model.xml",
        "rust_model.ot", "model.fp16.safetensors", "README.md",
    }  # fmt: skip
    assert model_files(["config.json", "pytorch_model.bin", "tf_model.h5"]) == ["config.json", "pytorch_model.bin"]
    with pytest.raises(UserError, match=r"neither model\.safetensors nor pytorch_model"):
        model_files(["config.json", "tf_model.h5"])


# ---- licences, disk, rows -------------------------------------------------------------------------------------------


def test_the_licences_page(hub, published, tmp_path):
    prepare(tmp_path / "data", f"{XNLI} --models Some/tiny-encoder")
    page = (tmp_path / "data" / "LICENCES.md").read_text("utf-8")
    assert "| `xnli` | [" in page
    assert f"facebook/xnli at {SHA[:12]}" in page
    assert "williams-etal-2018" in page or "williams2018" in page.lower()
    assert f"| [Some/tiny-encoder](https://huggingface.co/Some/tiny-encoder) | mit | {MODEL_SHA[:12]} |" in page
    assert page.count("phang-etal-2020-english") == 1


@pytest.mark.parametrize("tables", ["text", [None], {"splits": {"train": {"num_bytes": 1}}}], ids=str)
def test_a_card_that_nobody_can_read_has_no_sizes(tables, hub, tmp_path, monkeypatch, capsys):
    """Rows do not depend on what somebody wrote by hand."""
    info = DatasetInfo(id="nyu-mll/glue", sha=SHA, cardData={"dataset_info": tables})
    monkeypatch.setattr(hub, "dataset_info", lambda name, revision=None: info)
    assert prepare(tmp_path, "--tasks mnli") == 0
    assert "2 of 2 pieces are to be fetched, 0 are there\n" in capsys.readouterr().out


@pytest.mark.parametrize(("one", "needed"), [(True, "24.0"), (False, "8.0")])
def test_a_small_disk_is_said_beforehand(one, needed, hub, tmp_path, monkeypatch, capsys):
    """The folder and the library's cache may lie on one disk."""
    monkeypatch.setattr(prepare_data, "room_at", lambda place: 1_000)
    monkeypatch.setattr(prepare_data, "disk_of", lambda place: one or place)
    prepare(tmp_path, XNLI)
    shown = capsys.readouterr().out
    assert "10 of 10 pieces are to be fetched, 0 are there: 8.0 MB, and 2 of a size that the hub does not say" in shown
    assert f"warning: {tmp_path} has 0.0 MB left, about {needed} MB are needed on that disk" in shown


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.sampled_from(
    [
        "",
        " ",
        "\0",
        "\r\n",
        "\u2028",
        "\ufeffa",
        "\u00a0",
        "e\u0301",
        "\u200b\ufe0f",
        "👩‍👩‍👧",
        "\ud7ff\uffff",
        "nan",
        "None",
    ]
)


@settings(max_examples=30)
@given(st.lists(st.tuples(TEXTS, st.lists(TEXTS, max_size=3), st.integers(-1, 2)), min_size=1, max_size=8))
def test_every_row_survives(tmp_path_factory, found):
    """Whatever the texts are: the same rows in the same order, and the same fingerprint."""
    source = load_task("commonsenseqa").source
    choices = [{"label": [*map(str, range(len(texts)))], "text": texts} for _, texts, _ in found]
    rows = [
        {"id": text, "question": text[::-1], "question_concept": "", "choices": each, "answerKey": str(label)}
        for (text, _, label), each in zip(found, choices, strict=True)
    ]
    data, piece = tmp_path_factory.mktemp("data"), Piece(source.hub, source.config, "train", None)
    given_rows = Dataset.from_list(rows, features=source.features)
    record = fetching.keep(piece, given_rows, SHA, data)
    kept = load_raw(source, "train", "en", str(data)).rows
    assert list(kept) == list(given_rows) == rows
    assert kept.features == given_rows.features
    assert record["fingerprint"] == fetching.fingerprint(kept)
    shutil.rmtree(data)


def test_no_token_is_written(hub, tmp_path, monkeypatch):
    monkeypatch.setitem(os.environ, "HF_TOKEN", "hf_" + "a" * 30)
    hub.errors["facebook/xnli", "de", "test"] = OSError(f"401 for Bearer hf_{'a' * 30}")
    prepare(tmp_path, XNLI)
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and b"hf_aaaa" in path.read_bytes()]
