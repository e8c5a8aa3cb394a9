"""What the pages say is there: links and headings, options, modules; and the tasks that docs/adding_a_task.md adds are run."""

import argparse
import dataclasses
import importlib
import itertools
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import test_tasks
from conftest import ROOT, save_tiny_encoder
from test_rules import LIBRARY, PAGES, commands
from transformers import HfArgumentParser, TrainingArguments

import tasks
from tasks import load_task
from xstilts.lineage import default_output_dir, parts_read, training_factors
from xstilts.runs import parse_args
from xstilts.task import RetrievalTask, Task

README, ADDING = ROOT / "README.md", ROOT / "docs" / "adding_a_task.md"
ALL_PAGES = [*PAGES, *(ROOT / part / "README.md" for part in ("tests", "benchmarks"))]
FENCED = re.compile(r"^```.*?^```", flags=re.MULTILINE | re.DOTALL)
by_page = pytest.mark.parametrize("page", ALL_PAGES, ids=lambda page: str(page.relative_to(ROOT)))


# ---- links ----------------------------------------------------------------------------------------------------------


def prose(page):
    """The text of a page without its blocks of code."""
    return FENCED.sub("", page.read_text("utf-8"))


def links(page):
    """(path, heading) of every relative link of a page; the path is "" within it, the heading where none is named."""
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if not re.match(r"[a-z]+:", target):
            path, _, heading = target.partition("#")
            yield path, heading


def anchors(page):
    """What GitHub calls the headings of a page in links."""
    headings = re.findall(r"^#+ +(.*?) *$", prose(page), flags=re.MULTILINE)
    return [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]


@by_page
def test_links_lead_somewhere(page):
    wrong = []
    for path, heading in links(page):
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (heading and heading not in anchors(target)):
            wrong.append(f"{path}#{heading}".removesuffix("#"))
    assert wrong == [], f"{page.name} links to what is not there"


def test_the_readme_is_short_and_leads_to_every_page():
    assert len(README.read_text("utf-8").splitlines()) <= 250
    linked = {(README.parent / path).resolve() for path, _ in links(README)}
    named = prose(README) + "".join(FENCED.findall(README.read_text("utf-8")))
    for page in (ROOT / "docs").glob("*.md"):
        assert page.resolve() in linked or page.name in named, page.name


def test_every_module_is_in_the_list():
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    listed = re.findall(r"^\| `(\w+(?:\.py|/))` \|", text[text.index("## Modules") :], flags=re.MULTILINE)
    modules = {module.removeprefix("xstilts.") for module in LIBRARY}
    rooms = {module.split(".")[0] for module in modules if "." in module}
    assert sorted(listed) == sorted(
        [*(f"{room}/" for room in rooms), *(f"{each}.py" for each in modules if each.split(".")[0] not in rooms)]
    )


def test_a_broken_link_is_noticed(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "# A page: *it*\n```\n# no heading\n[no](link)\n```\n[a](#a-page-it) [b](other.md#x) [c](https://x.org/y)\n"
    )
    assert list(links(page)) == [("", "a-page-it"), ("other.md", "x")]
    assert anchors(page) == ["a-page-it"]
    with pytest.raises(AssertionError, match=r"page\.md links to what is not there"):
        test_links_lead_somewhere(page)


# ---- directories ----------------------------------------------------------------------------------------------------

NAMED = re.findall(
    r"^\| `run_(\w+)\.py (.*?)` \| `(runs/.*?)` \|$",
    (ROOT / "docs" / "training.md").read_text("utf-8"),
    flags=re.MULTILINE,
)


@pytest.mark.parametrize(("script", "options", "directory"), NAMED, ids=lambda value: value)
def test_default_directories_are_called_as_the_page_says(script, options, directory):
    module = importlib.import_module(f"run_{script}")
    (ours,) = (
        part for part in vars(module).values() if dataclasses.is_dataclass(part) and part.__module__ == f"run_{script}"
    )
    phase = {"zeroshot_eval": "eval"}.get(script, script)
    line = ["--model_name_or_path", "FacebookAI/xlm-roberta-large", *options.split(), "--use_cpu"]
    args, training_args = parse_args((ours, TrainingArguments), phase, line, fetch=False)
    lineage = [{"base_model": Path(args.model_name_or_path).name}]
    lineage += [{"phase": "target", "task": args.task}] if phase == "eval" else []
    trains = phase in ("intermediate", "target")
    factors = training_factors(args, several="+" in args.task) if trains else []
    parts = [] if trains else parts_read(args)
    assert default_output_dir(phase, lineage, args.task, training_args.seed, factors, parts) == directory


def test_the_page_has_names_of_every_script():
    assert {script for script, *_ in NAMED} == {"intermediate", "target", "zeroshot_eval", "retrieval"}


# ---- options --------------------------------------------------------------------------------------------------------

PARSED = [
    *(path.stem for path in ROOT.glob("*.py")),
    "studies.plan",
    "benchmarks.run",
    "demo.make_world",
    "demo.make_encoder",
]
OTHERS = {  # of programs that are not ours
    "--nproc_per_node": "torchrun",
    "--config_file": "accelerate",
    "--num_processes": "accelerate",
    "--multi_gpu": "accelerate",
    "--workflow-profile": "snakemake",
    "--signal": "sbatch",
    "--kill-on-bad-exit": "srun",
    "--runs": "tests/conftest.py",
    "--inputs": "tests/conftest.py",
}


class Stopped(Exception):
    """The parser was there; nothing behind it is run."""


def options_of(script, monkeypatch):
    """The options of a script: those of its dataclasses and the Trainer's, or those of its own parser."""
    module = importlib.import_module(script)
    ours = [part for part in vars(module).values() if dataclasses.is_dataclass(part) and part.__module__ == script]
    if ours:
        trainers = [TrainingArguments] if hasattr(module, "set_precision") else []
        return set(HfArgumentParser([*ours, *trainers])._option_string_actions)
    found = set()

    def stop(parser, *arguments):
        found.update(parser._option_string_actions)
        raise Stopped

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", stop)
    with pytest.raises(Stopped):
        module.main([])
    return found


GONE = re.compile(r"^## [^\n]*what went\n.*?(?=^## )", flags=re.MULTILINE | re.DOTALL)


def named_options(page):
    """Options in a page's `code`, without what the list of changes says of options that are gone."""
    spans = re.findall(r"`[^`\n]+`", GONE.sub("", prose(page)))
    return {option for span in spans for option in re.findall(r"(?<![\w-])--[a-z][\w-]*", span)}


@by_page
def test_options_exist(page, monkeypatch):
    known = set().union(OTHERS, *(options_of(script, monkeypatch) for script in PARSED))
    assert named_options(page) - known == set()


def test_an_option_is_found_in_code(tmp_path):
    page = tmp_path / "page.md"
    gone = "## Unreleased: what went\n`--old`\n## Unreleased: put right\n"
    page.write_text(f"{gone}`--seed 3`, `--lora_layers=-4--1`, `git log --all`, --not_code\n```\nx --in_a_block\n```\n")
    assert named_options(page) == {"--seed", "--lora_layers", "--all"}


# ---- tasks ----------------------------------------------------------------------------------------------------------

PYTHON = re.compile(r"^```python\n(.*?)^```", flags=re.MULTILINE | re.DOTALL)
FILES = re.compile(r"`((?:DIR|tests/fixtures)/[^`]+)`:\n\n```\w+\n(.*?)^```", flags=re.MULTILINE | re.DOTALL)
CODE = {
    re.search(r'name="(\w+)"', code)[1]: code
    for page in (README, ADDING)
    for code in PYTHON.findall(page.read_text("utf-8"))
}


def sections():
    """(name of the task, text) of every section of the page with a command."""
    for text in re.split(r"^## ", ADDING.read_text("utf-8"), flags=re.MULTILINE):
        found = list(commands(text))
        if found:
            yield pytest.param(found[0][1][found[0][1].index("--task") + 1], text)


def expanded(name):
    """Names with every choice of their braces: a-{b,c} -> a-b and a-c."""
    parts = [part.split(",") for part in re.split(r"[{}]", name)]
    return ["".join(choice) for choice in itertools.product(*parts)]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder to work in: the tasks of the pages are tasks there, and a tiny encoder is called as the default one."""
    (tmp_path / "new").mkdir()
    for name, code in CODE.items():
        (tmp_path / "new" / f"{name}.py").write_text(code, encoding="utf-8")
        monkeypatch.delitem(sys.modules, f"tasks.{name}", raising=False)
    monkeypatch.setattr(tasks, "__file__", str(tmp_path / "new" / "__init__.py"))
    monkeypatch.setattr(tasks, "__path__", [str(tmp_path / "new"), *tasks.__path__])
    importlib.invalidate_caches()
    save_tiny_encoder(tmp_path / "FacebookAI" / "xlm-roberta-large")
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for name in CODE:
        sys.modules.pop(f"tasks.{name}", None)
        vars(tasks).pop(name, None)


@pytest.mark.parametrize(("name", "text"), sections())
def test_a_documented_task_runs_as_the_page_says(name, text, place, world):
    for names, content in FILES.findall(text):
        for path in map(Path, expanded(names)):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
    Path("DIR/squad").symlink_to(Path(world) / "squad")
    for script, arguments in commands(text):
        samples = ["--max_train_samples", "4", "--max_eval_samples", "4"] if script == "run_target" else []
        importlib.import_module(script).main([*arguments, *samples, "--use_cpu"])
    runs = [json.loads(path.read_text("utf-8")) for path in Path("runs").rglob("run.json")]
    assert {run["task"] for run in runs} == {name}
    assert len(runs) == len(list(commands(text)))
    if name == "sentiment":
        evaluated = next(run for run in runs if run["phase"] == "eval")
        assert sorted(evaluated["scores"]) == ["de", "en"]
        assert sorted(evaluated["missing_languages"]) == ["sw"]


def test_every_documented_task_is_run():
    assert {section.values[0] for section in sections()} == set(CODE)


@pytest.mark.parametrize("name", CODE)
def test_a_documented_task_passes_the_tests_on_arrival(name, place):
    task = load_task(name, (Task, RetrievalTask))
    test_tasks.test_a_declaration_is_complete(task)
    if isinstance(task, Task) and "train" in task.splits:
        test_tasks.test_a_task_can_be_trained_and_selected(task)


def test_the_documented_fixture_is_one(place, tmp_path):
    text = ADDING.read_text("utf-8")
    (content,) = [content for names, content in FILES.findall(text) if names.startswith("tests/fixtures/")]
    lines, task = [json.loads(line) for line in content.splitlines()], load_task("sentiment")
    test_tasks.test_rows_of_the_hub_become_the_expected_examples(task, lines)
    test_tasks.test_the_official_file_gives_the_same_rows_as_the_hub(task, lines, tmp_path / "files")
    test_tasks.test_examples_have_the_columns_and_labels_that_are_declared(task, lines)
    test_tasks.test_a_perfect_prediction_scores_100(task, lines)


@pytest.mark.parametrize(("code", "ends"), [(0, 0), (2, 2), (75, 75)])
def test_a_job_ends_as_its_processes_do_and_is_put_back_after_75(tmp_path, code, ends):
    text = (ROOT / "docs" / "clusters.md").read_text("utf-8")
    job = re.search(r"```bash\n(#!/bin/bash\n#SBATCH.*?)```", text, flags=re.DOTALL)[1]
    for name, line in (("srun", f"exit {code}"), ("scontrol", 'echo "$@"')):
        (tmp_path / name).write_text(f"#!/bin/sh\n{line}\n", "utf-8")
        (tmp_path / name).chmod(0o755)
    known = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_JOB_NODELIST": "a", "SLURM_JOB_ID": "7"}
    done = subprocess.run(["bash", "-c", job], env=known, capture_output=True, text=True)
    assert done.returncode == ends
    assert done.stdout == ("requeue 7\n" if code == 75 else "")
