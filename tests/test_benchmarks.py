"""The frame of the benchmark: tables, ratios, names of machines, memory of a function, what a report says of parts that fail."""

import json
import sys
import types
from argparse import Namespace

import numpy as np
import pytest
from conftest import ROOT

from benchmarks import run
from benchmarks.measuring import encoder_config, forward_operations, in_turns, peak_mb_of, ratio, table
from xstilts.base import UserError, read_json

WHERE = {
    "processor": "AMD EPYC",
    "cores": 2,
    "threads": 1,
    "memory_gb": 25,
    "gpu": None,
    "versions": {"torch": "2", "faiss": None},
}
LIMITS = {**WHERE, "gemm_peak": {"float32": 2.28e11}, "copy_bandwidth": 3.7e10}
MEASURED = {
    "measured": "2026-01-01 10:00",
    "seconds": 61.2,
    "settings": {"cuda": False, "long": True, "encoder": "6x384"},
}


@pytest.fixture
def part(monkeypatch):
    """A part of the benchmark that has two figures and as many targets."""
    module = types.ModuleType("benchmarks.mining")
    module.TITLE = "Finding things"
    module.measure = lambda args: {"ratio": 1.5, "lengths": (1, 2)}
    module.render = lambda figures: f"It took {figures['ratio']} times as long.\n"
    module.targets = lambda figures: [
        ("as fast", "1.0", f"{figures['ratio']}", False),
        ("a peer", "2.0", "not there", None),
    ]
    monkeypatch.setitem(sys.modules, "benchmarks.mining", module)
    return module


# ---- figures --------------------------------------------------------------------------------------------------------


def test_a_ratio_is_the_median_of_the_ratios_of_each_round():
    figures = {
        "slow": np.array([[2.0, 4.0], [9.0, 4.0], [4.0, 4.0]]),
        "fast": np.array([[1.0, 1.0], [1.0, 2.0], [4.0, 4.0]]),
    }
    found = ratio(figures, "slow", "fast")
    assert found["time"] == {"median": 2.0, "min": 1.0, "max": 9.0}
    assert found["processor_time"] == {"median": 2.0, "min": 1.0, "max": 4.0}


def test_ways_take_turns(capsys):
    called = []
    spent = in_turns({way: lambda way=way: called.append(way) for way in "abc"}, 3)
    assert "".join(called) == "abc" + "bca" + "cab"
    assert {way: each.shape for way, each in spent.items()} == dict.fromkeys("abc", (3, 2))


def test_operations_are_those_of_the_matrices():
    config = encoder_config("2x128", 1_000)
    assert (config.num_hidden_layers, config.num_attention_heads, config.intermediate_size) == (2, 2, 512)
    weights = 2 * (4 * 128 * 128 + 2 * 128 * 512)
    products = 2 * 2 * 128 * (3 * 3 + 5 * 5)  # of queries and keys, and of what comes of them and values, per layer
    assert forward_operations(config, [3, 5]) == 2 * weights * 8 + 2 * products


@pytest.mark.parametrize("text", ["6", "0x64", "6x100", "6x0", "large"])
def test_a_shape_has_layers_and_whole_heads(text):
    with pytest.raises(UserError, match="layers x width"):
        run.parsed(["--encoder", text])


KEPT = []


def hold(megabytes):
    """Take memory and keep it."""
    KEPT.append(np.ones(megabytes * 125_000))


def test_memory_is_that_of_the_function_alone():
    assert 95 < peak_mb_of(hold, 100, imports=["json"]) < 140


def test_every_file_with_a_title_is_a_part():
    files = (path for path in (ROOT / "benchmarks").glob("*.py") if "\nTITLE = " in path.read_text("utf-8"))
    assert sorted(path.stem for path in files) == sorted(run.PARTS)


# ---- the report -----------------------------------------------------------------------------------------------------


def test_a_table_is_markdown():
    assert table(["a", "b"], [["x", 1], ["y", 2.5]]) == "| a | b |\n| --- | --- |\n| x | 1 |\n| y | 2.5 |"


@pytest.mark.parametrize(
    ("processor", "gpu", "name"),
    [
        ("AMD EPYC", None, "epyc-2-cores"),
        ("AMD EPYC 9654 96-Core Processor", None, "epyc-9654-2-cores"),
        ("Intel(R) Xeon(R) Platinum 8480+ CPU @ 2.00GHz", None, "xeon-platinum-8480-2-cores"),
        ("AMD EPYC", "NVIDIA H200", "h200"),
        ("", None, "unknown-2-cores"),
    ],
)
def test_machines_have_names(processor, gpu, name):
    assert run.slug({**WHERE, "processor": processor, "gpu": gpu}) == name


def test_the_report_has_the_machine_the_targets_and_a_section_for_each_part(part):
    figures = part.measure(None)
    text = run.report({"machine": LIMITS, "parts": {"mining": {**MEASURED, "error": None, "figures": figures}}})
    assert "AMD EPYC, 2 cores, 1 threads, 25 GB; torch 2, faiss not installed." in text
    assert "228 GFLOP/s in float32" in text
    assert "| as fast | 1.0 | 1.5 | **no** |\n| a peer | 2.0 | not there | not measured |" in text
    assert text.endswith(
        "## Finding things\n\n`mining.py --long`, 61 s on 2026-01-01 10:00.\n\nIt took 1.5 times as long.\n"
    )


def test_a_part_that_fails_is_named_with_its_error(part):
    parts = {"mining": {**MEASURED, "error": "UserError: no vectors"}, "training": {**MEASURED, "error": "it died"}}
    text = run.report({"machine": LIMITS, "parts": parts})
    assert "| mining |  | failed | **no** |" in text
    assert text.index("## training\n\nFailed: it died") < text.index("## mining\n\nFailed: UserError: no vectors")


def test_a_part_reads_its_figures_as_json_has_them(part, monkeypatch, tmp_path):
    read = []
    monkeypatch.setattr(part, "render", lambda figures: read.append(figures) or "")
    assert run.write_part("mining", None, tmp_path / "part.json") == 0
    found = read_json(tmp_path / "part.json")
    assert found == {"error": None, "figures": {"ratio": 1.5, "lengths": [1, 2]}}
    assert read == [found["figures"]]


def missing(args):
    """Raise what a part may raise."""
    raise UserError("there are no vectors")


@pytest.mark.parametrize(
    ("function", "error"), [("measure", "UserError: there are no vectors"), ("render", "KeyError: 'nothing'")]
)
def test_what_a_part_raises_is_written(part, function, error, monkeypatch, tmp_path, capsys):
    raising = {"measure": missing, "render": lambda figures: figures["nothing"]}
    monkeypatch.setattr(part, function, raising[function])
    assert run.write_part("mining", None, tmp_path / "part.json") == 1
    assert json.loads((tmp_path / "part.json").read_text())["error"] == error


def test_every_part_runs_in_a_process_of_its_own_and_the_others_go_on(part, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(run, "HERE", tmp_path)
    monkeypatch.setattr(run, "prepared", run.contextlib.nullcontext)
    measured = {"machine": {"figures": LIMITS}, "mining": {"figures": part.measure(None)}}
    monkeypatch.setattr(
        run, "run_part", lambda name, args: {**MEASURED, "error": None, **measured.get(name, {"error": "it died"})}
    )
    with pytest.raises(SystemExit) as done:
        run.main(["--only", "mining", "training"])
    assert done.value.code == 1
    with pytest.raises(SystemExit):
        run.main(["--only"])
    written = json.loads((tmp_path / "results-epyc-2-cores.json").read_text())
    assert [*written["parts"]] == ["training", "mining"]
    assert (tmp_path / "results-epyc-2-cores.md").read_text() == run.report(written)
    measured["machine"]["figures"] = {**LIMITS, "cores": 4}
    with pytest.raises(UserError, match="measured with other cores"):
        run.main(["--only", "mining", "--machine", "epyc-2-cores"])


def test_a_process_that_dies_is_an_error(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(run.subprocess, "run", lambda *args, **options: Namespace(returncode=-9))
    args = Namespace(cuda=False, long=False, encoder="6x384", data_dir=None, tokenizer=None)
    assert run.run_part("mining", args)["error"] == "its process ended with code -9, without a word"
