"""Damaged configs, studies, run.json files, tables and submissions: read as they were meant, or refused with the file's name."""

import argparse
import json

import pytest
from conftest import ROOT
from damage import damaged, with_another_value
from small_files import questions

from studies.grid import jobs_of
from studies.study import read_study
from xstilts.base import UserError, read_yaml, write_json
from xstilts.language_facts import read_facts
from xstilts.lineage import lineage_of, lineage_text
from xstilts.precision import trained_precision
from xstilts.published_results import read_published
from xstilts.report import collect, remarks, scored, scores_by_layer, vectors_moved, weights_moved
from xstilts.run_files import read_run
from xstilts.runs.config_files import config_options, read_config, words_of
from xstilts.score_table import score_table
from xstilts.submission import FORMATS, score_files

# ---- configs and studies --------------------------------------------------------------------------------------------

FACTS = {ROOT / "configs" / name for name in ("datasets.yaml", "by_hand.yaml")}  # these hold no arguments
CONFIGS = sorted({*(ROOT / "configs").glob("*.yaml")} - FACTS)
STUDIES = sorted((ROOT / "configs" / "studies").glob("*.yaml"))


def options_of(path):
    """A parser that knows all options of a config."""
    parser = argparse.ArgumentParser()
    tables = read_config(path)
    recipes = tables.pop("recipes", {})
    sections = [table for each in (tables, *recipes.values()) for table in each.values()]
    for name in {name for table in sections for name in table}:
        parser.add_argument(f"--{name}")
    return parser, next(iter(recipes), None)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_a_damaged_config_is_command_line_arguments_or_refused(config, fuzz, tmp_path):
    recipe, path = "jiant" if config.stem == "intermediate" else None, tmp_path / "config.yaml"
    chosen = [task for task in ("xquad", "squad", "copa") if task in read_config(config)]

    def attempt(content):
        path.write_bytes(content)
        line = words_of(config_options(path, chosen, recipe))
        "\0".join(line).encode()
        assert sum(map(len, line)) < 1_000_000

    attempt(config.read_bytes())
    fuzz(damaged(config.read_bytes(), values="yaml"), attempt, [path])


@pytest.mark.parametrize("study", STUDIES, ids=lambda path: path.stem)
def test_a_damaged_study_is_a_grid_or_refused(study, fuzz, tmp_path):
    path = tmp_path / "study.yaml"

    def attempt(content):
        path.write_bytes(content)
        "\0".join(word for job in jobs_of(read_study(path)).values() for word in job.command).encode()

    attempt(study.read_bytes())
    fuzz(damaged(study.read_bytes(), values="yaml"), attempt, [path])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 2024-13-45x\nb: {a: 1, a: 2}", "the key a is there twice"),
        ("[" * 100_000, "is not valid YAML"),
        ("no: 1", "the key no is not text; quote it"),
        ("a: !!timestamp x", "is not valid YAML"),
        ("a: " + "9" * 5_000, "is not valid YAML"),
    ],
)  # fmt: skip
def test_what_yaml_can_hold_and_a_config_cannot(text, message, write):
    with pytest.raises(UserError, match=f"config.yaml.*{message}"):
        read_yaml(write(text, "config.yaml"))


def test_a_date_stays_as_it_is_written(write):
    assert read_yaml(write("a: 2024-01-01\nb: &b {c: 1}\nd: *b")) == {"a": "2024-01-01", "b": {"c": 1}, "d": {"c": 1}}


# ---- run.json -------------------------------------------------------------------------------------------------------

MODEL = {"base_model": "encoder", "fingerprint": "0123456789"}
TRAINED = {"phase": "target", "task": "xnli", "factors": [], "languages": ["en"], "seed": 1, "fingerprint": "abcd"}
RUN = {
    "format": 1, "phase": "eval", "task": "xnli", "seed": 1,
    "lineage": [MODEL, {**TRAINED, "phase": "intermediate", "task": "mnli"}, TRAINED], "factors": ["layer7"],
    "metric": "accuracy", "scores": {code: {"accuracy": 50.5, "f1": 1} for code in ("en", "de")},
    "averages": {"all": 50.5, "zero_shot": 50.5}, "zero_shot_languages": ["de"], "split": "test", "warnings": ["a\u2028 warning"],
    "data": [{"task": "xnli", "split": "test", "language": "de", "rows": 5, "fingerprint": "ab"}], "steps": 7,
    "arguments": {"mixed_precision": "no"}, "identity": {"arguments": {"learning_rate": 1e-5}},
    "weight_change": {"embeddings": 0.5},
}  # fmt: skip
SEARCHED = {
    **RUN, "phase": "retrieval", "task": "tatoeba", "layer": 2, "layers": [1, 2], "by_layer": {"de": {"accuracy": [1.0, None]}},
    "cka": {"de": [0.1, 0.9]}, "compared_with": {"model": "encoder", "fingerprint": "0123456789"},
}  # fmt: skip
RUNS = {"eval": RUN, "retrieval": SEARCHED, "target": {**RUN, "phase": "target"}}


def all_that_is_read(folder):
    """What reports and later phases make of a run.json."""
    runs = collect([folder])
    found = {str(folder): run for run in scored(runs).values()}
    for read in (weights_moved, vectors_moved, scores_by_layer):
        read(runs)
    remarks(found.values())
    score_table(found, runs)
    lineage = lineage_of(str(folder))
    return runs, found, lineage_text(lineage), trained_precision(folder)


@pytest.mark.parametrize("phase", RUNS)
def test_a_run_json_of_ours_that_was_changed_is_noticed(phase, fuzz, tmp_path):
    """Whatever happens to it at one place: the content is the same, or nothing."""
    path = tmp_path / "run.json"
    write_json(path, RUNS[phase])
    all_that_is_read(tmp_path)

    def attempt(content):
        path.write_bytes(content)
        assert json.dumps(read_run(path), sort_keys=True) == json.dumps(RUNS[phase], sort_keys=True)

    fuzz(damaged(path.read_bytes(), times=1, values="json"), attempt, [path])


@pytest.mark.parametrize("phase", RUNS)
def test_a_run_json_of_others_is_one_or_refused(phase, fuzz, tmp_path):
    path, whole = tmp_path / "run.json", json.dumps(RUNS[phase]).encode()

    def attempt(content):
        path.write_bytes(content)
        all_that_is_read(tmp_path)

    attempt(whole)
    fuzz(with_another_value(whole), attempt, [path])


# ---- tables ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("read", "name"), [(read_facts, "languages"), (read_published, "published_results")])
def test_a_damaged_table_is_read_or_refused(read, name, fuzz, tmp_path):
    path, whole = tmp_path / "table.csv", (ROOT / "configs" / f"{name}.csv").read_bytes()

    def attempt(content):
        path.write_bytes(content)
        read(path)

    attempt(whole)
    fuzz(damaged(whole), attempt, [path])


# ---- submissions ----------------------------------------------------------------------------------------------------

LABELS = {
    "xnli": b"neutral\nentailment\nneutral\n",
    "pawsx": b"0\n1\r\n1\n",
    "xcopa": b'{"label": 0}\n{"label": 1}\n',
    "tatoeba": b"0\n2\n1\n",
    "udpos": b"DET\nNOUN\n\nVERB\n",
    "panx": b"B-PER\nI-PER\n\n\nO\n",
    "bucc2018": b"de-1\ten-2\nde-3\ten-1\n",
    "mewslix": b'{"m1": ["Q1", "Q2"], "m2": ["Q3"]}',
    "lareqa": b'{"a": ["3_1", "x"], "b": ["2_0"]}',
} | dict.fromkeys(("xquad", "tydiqa", "mlqa"), questions("1", "2"))
UNPAIRED = (
    "predictions for ",
    "tags for ",
    "question ",
    "query ",
)  # messages that score_predictions.py puts task and language to
ANSWERS = b'{"1": "Ulm", "2": "\\u0423\xd0\xbb\xd1\x8c\xd0\xbc\xd0\xb5"}'


def _size(read):
    """How many labels, tags or pairs were read."""
    return sum(len(each[1]) if isinstance(each[1:2], tuple) and isinstance(each[-1], list) else 1 for each in read)


@pytest.mark.parametrize("side", ["predictions", "labels"])
@pytest.mark.parametrize("task", FORMATS)
def test_a_damaged_submission_is_scored_or_refused(task, side, fuzz, tmp_path):
    """Every line counts; a UserError names one of the two files, or how they do not pair."""
    labels, predictions = LABELS[task], ANSWERS if task in ("xquad", "tydiqa", "mlqa") else LABELS[task]
    paths = [tmp_path / f"{name}{FORMATS[task].suffixes[0]}" for name in ("predictions", "labels")]
    for path, content in zip(paths, (predictions, labels), strict=True):
        path.write_bytes(content)
    path = paths[side == "labels"]
    whole, form = path.read_bytes(), {".json": "json", ".jsonl": "json lines"}.get(path.suffix)

    def attempt(content):
        path.write_bytes(content)
        scores, _ = score_files(FORMATS[task], "de", *paths)
        if path.suffix == ".tsv":
            assert _size(FORMATS[task].read(path)) == sum(
                1 for line in content.decode("utf-8-sig").split("\n") if line.strip()
            )
        assert all(0 <= value <= 100 for value in scores.values())

    attempt(whole)
    fuzz(damaged(whole, values=form), attempt, [*paths, *UNPAIRED])
