"""Studies: a YAML file becomes runs, each once; Snakemake carries them out, is killed, and goes on; the plan adds up."""

import contextlib
import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pandas
import psutil
import pytest
import yaml
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st

from demo.languages import NAMES as INVENTED
from studies import plan
from studies.grid import jobs_of, rows_of
from studies.job import free_gpu, gpus, outdated
from studies.study import Study, read_study
from tasks import INTERMEDIATE
from xstilts.base import UserError

STUDIES = sorted((ROOT / "configs" / "studies").glob("*.yaml"))
PLACES = {"model_name_or_path": "base", "runs_dir": "runs", "report_dir": "report"}


def grid(intermediate=("none",), seeds=(1,), **more):
    """A Study as if read from `study.yaml`."""
    return Study(path="study.yaml", **{**PLACES, **more}, seeds=list(seeds), intermediate=list(intermediate))


def paths(study):
    """{directory without runs/: Job}."""
    return {path.removeprefix("runs/"): job for path, job in jobs_of(study).items()}


def check_order(jobs, base="base"):
    """Every run stands behind the one that it starts from, in a directory of its own that its command names."""
    seen = set()
    for path, job in jobs.items():
        assert job.path == path == job.options["output_dir"]
        assert job.after is None or job.after in seen
        assert job.options["model_name_or_path"] == (job.after or base)
        seen.add(path)


# ---- from a file to runs --------------------------------------------------------------------------------------------


def test_the_grid_of_one_row_and_one_target():
    jobs = paths(grid(["none", {"task": "mnli"}], [3], target=[{"task": "xnli"}], data_dir="data"))
    assert {path: job.after for path, job in jobs.items()} == {
        "target/none/xnli/seed3": None,
        "eval/none/xnli/seed3": "runs/target/none/xnli/seed3",
        "intermediate/mnli/seed3": None,
        "target/mnli/xnli/seed3": "runs/intermediate/mnli/seed3",
        "eval/mnli/xnli/seed3": "runs/target/mnli/xnli/seed3",
    }
    command = "python run_target.py --data_dir data --task xnli --model_name_or_path runs/intermediate/mnli/seed3"
    assert jobs["target/mnli/xnli/seed3"].command == [
        *command.split(), "--output_dir", "runs/target/mnli/xnli/seed3", "--seed", "3"
    ]  # fmt: skip


def test_a_list_is_a_factor_and_null_is_the_default():
    rows = rows_of(grid([{"task": ["mnli", "qqp"], "freeze_layers": [None, 6, "0-5"]}], target=[{"task": "xnli"}]))
    freezes = ("", "--freeze_layers-6", "--freeze_layers-0-5")
    assert list(rows) == [f"{task}{freeze}" for task in ("mnli", "qqp") for freeze in freezes]
    assert rows["mnli"] == {"task": "mnli"}  # what it would be without the factor
    jobs = paths(grid(target=[{"task": "xnli"}, {"task": "xnli", "transfer_layers": [None, 1]}], seeds=[1, 2]))
    assert len(jobs) == 2 * 4  # null shares the run of the plain block


def test_the_same_run_in_two_studies_has_one_directory():
    one = jobs_of(grid([{"task": ["mnli", "qqp"]}], target=[{"task": ["xnli", "udpos"]}]))
    other = jobs_of(grid([{"task": "mnli", "freeze_layers": [None, 1]}], [1, 2], target=[{"task": "udpos"}]))
    common = one.keys() & other.keys()
    assert sorted(common) == [
        "runs/eval/mnli/udpos/seed1",
        "runs/intermediate/mnli/seed1",
        "runs/target/mnli/udpos/seed1",
    ]
    assert all(one[path] == other[path] for path in common)


def test_a_list_of_lists_is_one_option_with_several_values():
    (job, *_) = jobs_of(grid(target=[{"task": "xnli", "label_names": [["a", "b"]]}])).values()
    assert "--label_names a b --" in " ".join(job.command)
    assert job.path == "runs/target/none/xnli--label_names-a+b/seed1"


def test_a_name_takes_the_place_of_the_options():
    rows = [{"task": "mnli+squad", "max_steps": 9, "name": "short"}]
    jobs = paths(grid(rows, target=[{"task": "xnli", "name": "mine", "after": "short", "max_steps": 2}]))
    assert list(jobs) == ["intermediate/short/seed1", "target/short/mine/seed1", "eval/short/mine/seed1"]
    assert not any("--name" in job.command or "--after" in job.command for job in jobs.values())


def test_after_puts_a_block_behind_its_rows_only():
    rows = ["none", {"task": "mnli"}, {"task": "qqp"}]
    jobs = paths(grid(rows, target=[{"task": "xnli"}, {"task": "udpos", "after": ["mnli", "none"]}],
                      retrieval=[{"task": "tatoeba", "after": "qqp"}]))  # fmt: skip
    assert {path.split("/")[1] for path in jobs if "udpos" in path} == {"none", "mnli"}
    assert [path for path in jobs if "tatoeba" in path] == ["retrieval/qqp/tatoeba/seed1"]


def test_xcopa_goes_through_siqa_by_its_own_declaration():
    jobs = paths(grid([{"task": "mnli"}], target=[{"task": "xcopa", "max_train_samples": 5}]))
    siqa = jobs["target/mnli/siqa--max_train_samples-5/seed1"]
    assert (siqa.task, siqa.after) == ("siqa", "runs/intermediate/mnli/seed1")
    assert jobs["target/mnli/xcopa--max_train_samples-5/seed1"].after == siqa.path
    assert not any(job.phase == "eval" and job.task == "siqa" for job in jobs.values())


@pytest.mark.parametrize(("through", "task"), [("none", None), ("qqp", "qqp"), (None, "siqa")])
def test_through_says_otherwise(through, task):
    jobs = paths(grid(target=[{"task": "xcopa", "through": through}]))
    after = jobs["target/none/xcopa/seed1"].after
    assert after == (task and f"runs/target/none/{task}/seed1")


def test_mlqa_and_xquad_share_one_training():
    jobs = paths(grid(target=[{"task": ["xquad", "mlqa"]}, {"task": "mlqa", "num_train_epochs": 1}]))
    assert [path for path in jobs if path.startswith("target")] == [
        "target/none/xquad/seed1", "target/none/xquad--num_train_epochs-1/seed1"
    ]  # fmt: skip
    mlqa = jobs["eval/none/mlqa/seed1"]
    assert (mlqa.task, mlqa.after) == ("mlqa", "runs/target/none/xquad/seed1")


@pytest.mark.parametrize("task", ["lareqa", "mewslix"])
def test_retrieval_with_training_goes_from_target_to_search(task):
    jobs = paths(grid([{"task": "mnli"}], target=[{"task": task, "max_train_samples": 5}]))
    search = jobs[f"retrieval/mnli/{task}--max_train_samples-5/seed1"]
    assert (search.task, search.after) == (task, f"runs/target/mnli/{task}--max_train_samples-5/seed1")
    assert "max_train_samples" not in search.options  # run_retrieval.py trains nothing
    assert not any(job.phase == "eval" for job in jobs.values())


def test_retrieval_without_training_is_run_once_for_all_seeds():
    jobs = paths(
        grid(["none", {"task": "mnli"}], [1, 2], retrieval=[{"task": ["tatoeba", "bucc2018"], "layers": "all"}])
    )
    assert [path for path in jobs if path.startswith("retrieval/none")] == [
        f"retrieval/none/{task}--layers-all/untrained" for task in ("tatoeba", "bucc2018")
    ]
    assert len([path for path in jobs if path.startswith("retrieval/mnli")]) == 4
    assert "seed" not in jobs["retrieval/none/tatoeba--layers-all/untrained"].options


def test_splits_that_a_task_lacks_are_left_out():
    jobs = paths(
        grid(target=[{"task": ["xnli", "xquad"]}], evaluation=[{"split": ["test", "validation"], "languages": "de"}])
    )
    assert [path for path in jobs if path.startswith("eval")] == [
        "eval/none/xnli--languages-de/seed1",
        "eval/none/xnli--split-validation--languages-de/seed1",
        "eval/none/xquad--languages-de/seed1",  # XQuAD is a test set
    ]


def test_arguments_reach_all_runs_or_those_of_a_phase_and_a_block_wins():
    arguments = {"use_cpu": True, "target": {"bf16": True, "max_steps": 4}}
    jobs = paths(grid([{"task": "mnli"}], target=[{"task": "xnli", "max_steps": 9}], arguments=arguments))
    assert all(job.options["use_cpu"] for job in jobs.values())
    given = {path: (job.options.get("bf16"), job.options.get("max_steps")) for path, job in jobs.items()}
    assert given["intermediate/mnli/seed1"] == (None, None)
    assert given["target/mnli/xnli--max_steps-9/seed1"] == (True, 9)


FREEZES = st.lists(st.sampled_from([None, 1, "0-5", "all"]), min_size=1, unique=True)
ROWS = st.fixed_dictionaries(
    {"task": st.lists(st.sampled_from(["mnli", "qqp", "mnli+squad", "all"]), min_size=1, unique=True)},
    optional={"freeze_layers": FREEZES, "learning_rate": st.sampled_from([None, 1e-5])},
)
TARGETS = st.dictionaries(st.sampled_from("xnli udpos xcopa xquad mlqa lareqa".split()), FREEZES, min_size=1)


@settings(max_examples=40, deadline=None)
@given(
    ROWS,
    TARGETS,
    st.sampled_from(["none", "siqa", None]),
    st.lists(st.integers(0, 9), min_size=1, max_size=3, unique=True),
)
def test_every_grid_can_be_run_in_its_order_and_has_every_run_once(row, targets, through, seeds):
    target = [{"task": task, "freeze_layers": freezes, "through": through} for task, freezes in targets.items()]
    study = grid(["none", row], seeds, target=target, retrieval=[{"task": "tatoeba"}])
    jobs = jobs_of(study)
    check_order(jobs)
    places = ("output_dir", "model_name_or_path")
    runs = {
        (job.phase, job.after, str({k: v for k, v in job.options.items() if k not in places})) for job in jobs.values()
    }
    assert len(runs) == len(jobs)
    rows = len(row["task"]) * len(row.get("freeze_layers", [1]))
    cells = sum(map(len, targets.values()))
    counts = Counter(job.phase for job in jobs.values())
    assert counts["intermediate"] == rows * len(seeds)
    searches = len(targets.get("lareqa", ()))
    assert counts["eval"] == (rows + 1) * (cells - searches) * len(seeds)
    assert counts["retrieval"] == (rows + 1) * searches * len(seeds) + rows * len(seeds) + 1


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_our_studies_are_consistent(path, monkeypatch):
    monkeypatch.chdir(ROOT)
    study = read_study(path)
    jobs = jobs_of(study)
    check_order(jobs, study.model_name_or_path)
    counts = Counter(job.phase for job in jobs.values())
    assert counts["intermediate"] == (len(rows_of(study)) - 1) * len(study.seeds)
    assert counts["eval"] + counts["retrieval"] >= len(rows_of(study)) * len(study.seeds)
    if study.language_facts.startswith("demo/world"):  # written when the world is made
        monkeypatch.setattr(plan, "read_facts", lambda path: pandas.DataFrame(index=["en", *INVENTED]))
    plan.check_languages(study, jobs)


# ---- what is no study -----------------------------------------------------------------------------------------------


def study_file(folder, **changes):
    """A study's file: a small one with changes; None takes a key away."""
    content = {
        **PLACES,
        "seeds": [1, 2],
        "intermediate": ["none", {"task": "mnli"}],
        "target": [{"task": "xnli"}],
        **changes,
    }
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump({key: value for key, value in content.items() if value is not None}))
    return path


DRAWS = {"task": "all", "task_subset_size": 1, "task_subset_seed": [3, 4]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"baseline": False}, "`baseline: false`, but `none` is among the intermediate tasks; take one of them away"),
        ({"baseline": "no thanks"}, "'baseline' is text, not true or false"),
        ({"sseeds": [1]}, "unknown key 'sseeds'; a study has arguments, "),
        ({"runs_dir": None}, "`runs_dir` is missing or empty"),
        ({"seeds": []}, "`seeds` is missing or empty"),
        ({"seeds": 3}, "`seeds` must be a list: `[...]`, or lines that begin with `- `"),
        ({"target": "xnli"}, "`target` must be a list"),
        ({"arguments": ["use_cpu"]}, "`arguments` must be lines of `key: value`"),
        ({"seeds": [1, 2, 1]}, "seeds must be different whole numbers from 0 to 4294967295, not [1, 2, 1]"),
        ({"seeds": [1, "two"]}, "seeds must be different whole numbers from 0 to 4294967295, not [1, 'two']"),
        ({"seeds": [2**32]}, "seeds must be different whole numbers from 0 to 4294967295, not [4294967296]"),
        ({"seeds": [True]}, "seeds must be different whole numbers"),
        ({"seeds": [-1]}, "seeds must be different whole numbers"),
        ({"intermediate": ["mnli"]}, "intermediate: 'mnli' is no set of options with a `task:`"),
        ({"target": ["xnli"]}, "target: 'xnli' is no set of options with a `task:`"),
        ({"target": [{"max_steps": 3, "after": "mnli"}]}, "target: '{'after': 'mnli', 'max_steps': 3}' is no set of options"),
        ({"intermediate": [{"task": "mnly"}]}, "intermediate: task mnly: 'mnly' is not one of anli"),
        ({"target": [{"task": "xnly"}]}, "target: task xnly is not one of anli"),
        ({"target": [{"task": "xnli", "after": "none"}, {"task": "xnly", "after": []}]}, "target: task xnly is not one of"),
        ({"target": [{"task": "xcopa", "through": "sqia"}]}, "target: task sqia is not one of"),
        ({"retrieval": [{"task": "tatoba"}]}, "retrieval: task tatoba is not one of"),
        ({"retrieval": [{"task": "xnli"}]}, "retrieval: task xnli is no retrieval; it belongs to the targets"),
        ({"target": [{"task": "tatoeba"}]}, "target: task tatoeba is a RetrievalTask; it runs with run_retrieval.py"),
        ({"target": []}, "a grid of no runs; give targets or retrieval tasks that the rows lead to"),
        ({"target": [{"task": "xnli", "freeze_layers": []}]}, "`freeze_layers` is an empty list, which makes a grid of no"),
        ({"intermediate": [{"task": "mnli"}, {"task": ["qqp", "mnli"]}]}, "intermediate: 'mnli' stands there twice"),
        ({"intermediate": [{"task": "mnli", "max_steps": [1, 2], "name": "a"}]}, "intermediate: 'a' stands there twice"),
        ({"target": [{"task": "xnli", "name": "a"}, {"task": "udpos", "name": "a"}]},
         "two different runs would share runs/target/none/a/seed1; give one of them a `name:`"),
        ({"target": [{"task": "xnli", "after": ["none", "qqp"]}]}, "after: 'qqp' is not one of the rows none, mnli"),
        ({"intermediate": [DRAWS]}, "draws 3 and 4 of 1 task are both squad_v2; give other seeds"),
        ({"intermediate": [{**DRAWS, "task": "mnli+qqp+squad", "task_subset_size": 3}]},
         "draws 3 and 4 of 3 tasks are both mnli+qqp+squad; give other seeds"),
        ({"intermediate": [{**DRAWS, "task_subset_size": 10}]}, "task_subset_size 10 is not between 1 and 9"),
        ({"target": [{"task": "xnli", "seed": 3}]}, "target: `seed` is the study's to give, not a block's; take it away"),
        ({"intermediate": [{"task": "mnli", "output_dir": "here"}]}, "intermediate: `output_dir` is the study's to give"),
        ({"arguments": {"seed": 3}}, "arguments: `seed` is the study's to give; take it away"),
        ({"evaluation": [{"task": "xnli"}]}, "evaluation: `task` means nothing here; take it away"),
        ({"evaluation": [{"split": ["test", "tset"]}]}, "evaluation: no target has a split 'tset'; they have test, train"),
        ({"retrieval": [{"task": "tatoeba", "through": "mnli"}]}, "retrieval: `through` means nothing here"),
        ({"sets": [{"task": "qqp"}]}, "`sets` must be lines of `key: value`"),
        ({"sets": {"one": "qqp"}}, "'sets.one' is text, not a list"),
        ({"sets": {"one": ["qqp"]}}, "intermediate: 'qqp' is no set of options with a `task:`"),
    ],
)  # fmt: skip
def test_what_is_no_study_is_one_line(changes, message, tmp_path):
    path = study_file(tmp_path, **changes)
    with pytest.raises(UserError) as error:
        jobs_of(read_study(path))
    text = str(error.value)
    assert text.startswith(f"{path}: ")
    assert message in text
    assert "\n" not in text


@pytest.mark.parametrize(
    ("content", "message"),
    [("seeds: [1", "is not valid YAML"), ("- 1", "expected lines of `key: value`"), ("", "expected lines of `key: value`"),
     (b"a: \xff", "is not valid YAML")],
)  # fmt: skip
def test_what_is_no_yaml_is_one_line(content, message, write):
    with pytest.raises(UserError, match=re.escape(message)) as error:
        read_study(write(content))
    assert "\n" not in str(error.value)


def test_a_study_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match=r"none\.yaml cannot be read \(No such file"):
        read_study(tmp_path / "none.yaml")


def test_none_is_added_to_a_study_unless_it_says_otherwise(tmp_path, capsys):
    rows = [{"task": ["mnli", "squad"]}]
    assert [*rows_of(read_study(study_file(tmp_path, intermediate=rows)))] == ["none", "mnli", "squad"]
    assert "study.yaml: the row `none` is added" in capsys.readouterr().out
    for changes in ({"intermediate": rows, "baseline": False}, {"intermediate": [*rows, {"task": "none"}]}):
        found = rows_of(read_study(study_file(tmp_path, **changes)))
        assert [*found] == ["mnli", "squad", *(["none"] if "baseline" not in changes else [])]
        assert not capsys.readouterr().out


def test_a_set_of_rows_can_be_run_alone(tmp_path):
    """`<file>:<set>` is the study with these rows; the file with those of all sets, what they have in common once."""
    both, more = [{"task": "qqp"}, {"task": "squad"}], [{"task": "squad"}, {"task": "ccg", "max_steps": 3}]
    path = study_file(tmp_path, sets={"one": both, "two": more})
    assert list(rows_of(read_study(path))) == ["none", "mnli", "qqp", "squad", "ccg--max_steps-3"]
    two = read_study(f"{path}:two")
    assert list(rows_of(two)) == ["none", "mnli", "squad", "ccg--max_steps-3"]
    assert (two.path, two.report_dir, two.runs_dir) == (f"{path}:two", "report/two", "runs")
    assert jobs_of(two).items() <= jobs_of(read_study(path)).items()
    with pytest.raises(UserError, match=r"study\.yaml:three: there is no set 'three' in it; it has one, two"):
        read_study(f"{path}:three")


def test_the_papers_two_sets(monkeypatch):
    monkeypatch.chdir(ROOT)
    first, second = (rows_of(read_study(f"configs/studies/paper.yaml:{name}")) for name in ("v1", "v2"))
    assert len(first) == 17, "as the rows of Table 2"
    assert sorted(row for row in second if row in INTERMEDIATE) == sorted(INTERMEDIATE)


def test_draws_of_different_rows_may_be_the_same():
    rows = [DRAWS | {"task_subset_seed": 3, "max_steps": steps} for steps in (10, 20)]
    assert len(rows_of(grid([*rows, DRAWS | {"task_subset_size": 2, "max_steps": 10}]))) == 4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"intermediate": [{"task": "mnli", "freeze_layer": [1, 2]}]},
         "intermediate mnli: unknown option --freeze_layer; did you mean --freeze_layers?"),
        ({"target": [{"task": "xnli", "max_steps": "many"}]}, "target xnli: argument --max_steps/--max-steps: invalid int"),
        ({"evaluation": [{"language": "de"}]}, "eval xnli: unknown option --language; did you mean --languages?"),
        ({"retrieval": [{"task": "tatoeba", "pool": "cls"}]}, "retrieval tatoeba: unknown option --pool"),
        ({"arguments": {"use_cpus": True}}, "unknown option --use_cpus; did you mean --use_cpu?"),
        ({"config": "none.yaml"}, "--config none.yaml cannot be read"),
    ],
)  # fmt: skip
def test_options_are_checked_before_anything_runs(changes, message, tmp_path):
    study = read_study(study_file(tmp_path, **changes))
    with pytest.raises(UserError) as error:
        plan.check_options(study, jobs_of(study))
    assert str(error.value).startswith(f"{study.path}: ")
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("changes", "option", "code", "task"),
    [
        ({"intermediate": [{"task": "panx", "languages": ["en", "en,dee"]}]}, "languages", "dee", "panx"),
        ({"target": [{"task": "udpos", "train_language": [None, "qqq"]}]}, "train_language", "qqq", "udpos"),
        ({"evaluation": [{"languages": "de,xyz"}]}, "languages", "xyz", "xnli"),
        ({"retrieval": [{"task": "tatoeba", "languages": "xyz"}]}, "languages", "xyz", "tatoeba"),
    ],
)
def test_languages_are_checked_before_anything_runs(changes, option, code, task, tmp_path):
    study = read_study(study_file(tmp_path, language_facts=str(ROOT / "configs" / "languages.csv"), **changes))
    with pytest.raises(UserError, match=f"study.yaml: {option}: '{code}' is no language of {task}, nor is it in"):
        plan.check_languages(study, jobs_of(study))


# ---- one job --------------------------------------------------------------------------------------------------------

SLOW = "import pathlib, sys, time\nprint('started', flush=True)\nwhile pathlib.Path(sys.argv[1]).exists(): time.sleep(0.02)"
DEVICE = "import os\nprint(os.environ.get('CUDA_VISIBLE_DEVICES'), flush=True)\n"


def job(directory, *command, path=None, **environment):
    """A job of a study as a process of its own."""
    others = {key: value for key, value in os.environ.items() if key != "CUDA_VISIBLE_DEVICES"}
    folders = os.pathsep.join(map(str, [*([path] if path else []), os.environ["PATH"]]))
    return subprocess.Popen(
        [sys.executable, ROOT / "studies" / "job.py", directory, "--", sys.executable, *command],
        env={**others, "PATH": folders, **environment}, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def wait_for(condition, seconds=60):
    """Wait until `condition()` holds; returns its value."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)
    return value


def text(path):
    """What is in a file, nothing where there is none."""
    return path.read_text() if path.exists() else ""


@pytest.fixture
def hold(tmp_path):
    """A file: what waits for it goes on when it is deleted, at the latest with the test."""
    path = tmp_path / "hold"
    path.touch()
    yield path
    path.unlink(missing_ok=True)


@pytest.mark.parametrize("killed", [False, True], ids=["first one alive", "first one killed"])
def test_jobs_of_one_directory_follow_each_other(killed, hold, tmp_path):
    """Also when the first was killed: its command lives on, and holds the lock by the file that it inherited."""
    log = tmp_path / "run" / "log.txt"
    first = job(tmp_path / "run", "-c", SLOW, hold)
    wait_for(lambda: "started" in text(log))
    (command,) = psutil.Process(first.pid).children()
    if killed:
        first.kill()
        first.wait()
        assert command.is_running()
    second = job(tmp_path / "run", "-c", "print('second')")
    wait_for(lambda: any(file.path.endswith("run/lock") for file in psutil.Process(second.pid).open_files()))
    time.sleep(0.3)
    assert second.poll() is None
    assert "second" not in text(log)
    hold.unlink()
    assert second.wait(60) == 0
    assert text(log) == "started\nsecond\n"
    assert first.wait(60) == (-signal.SIGKILL if killed else 0)


def test_jobs_of_two_directories_do_not_wait(hold, tmp_path):
    job(tmp_path / "one", "-c", SLOW, hold)
    wait_for(lambda: "started" in text(tmp_path / "one" / "log.txt"))
    assert job(tmp_path / "two", "-c", "").wait(60) == 0


def test_a_failing_command_says_how_it_ended(tmp_path):
    code = "print(*range(40), sep='\\n', flush=True)\nimport sys; sys.exit('no such\\nthing')"
    done = job(tmp_path / "run", "-c", code)
    said = done.communicate(timeout=60)[1]
    assert done.returncode == 1
    assert said.splitlines()[-4:] == ["39", "no such", "thing", f"{tmp_path}/run/log.txt: exit code 1"]
    assert "20\n" not in said
    assert "0\n1\n2\n" in text(tmp_path / "run" / "log.txt")


def test_a_killed_command_says_so(tmp_path):
    done = job(tmp_path / "run", "-c", "import os; os.kill(os.getpid(), 9)")
    assert done.communicate(timeout=60)[1].endswith("log.txt: killed by signal 9; if nobody did it, memory ran out\n")
    assert done.returncode == 128 + 9


def checkpoint(folder, name, lineage):
    """A finished run's directory, or (`identity`) one that started from something."""
    (folder / name).mkdir(exist_ok=True)
    content = {"lineage": [*lineage, name], "identity": {"lineage": lineage}}
    (folder / name / "run.json").write_text(json.dumps(content))
    return folder / name


def test_a_run_is_outdated_when_the_checkpoint_behind_it_is_another(tmp_path):
    before = checkpoint(tmp_path, "before", ["base"])
    run = checkpoint(tmp_path, "run", ["base", "before"])
    assert not outdated(run, None)
    assert not outdated(run, before)
    assert not outdated(tmp_path / "new", before)
    assert not outdated(run, tmp_path / "new")
    checkpoint(tmp_path, "before", ["other base"])
    assert outdated(run, before)
    (run / "run.json").rename(run / "started.json")  # was interrupted
    assert outdated(run, before)


@pytest.mark.parametrize("changed", [False, True])
def test_an_outdated_run_is_overwritten(changed, tmp_path):
    before = checkpoint(tmp_path, "before", ["other" if changed else "base"])
    run = checkpoint(tmp_path, "run", ["base", "before"])
    command = [sys.executable, "-c", "import sys; print(sys.argv[1:])"]
    subprocess.run([sys.executable, ROOT / "studies/job.py", run, "--after", before, "--", *command], check=True)
    assert text(run / "log.txt") == ("['--overwrite_output_dir', 'true']\n" if changed else "[]\n")


def test_a_damaged_run_json_stops_a_job_in_one_line(tmp_path):
    """Neither is it overwritten without a word, nor taken for finished."""
    before, run = checkpoint(tmp_path, "before", ["base"]), checkpoint(tmp_path, "run", ["base", "before"])
    (run / "run.json").write_text((run / "run.json").read_text()[:-9])
    command = [sys.executable, ROOT / "studies/job.py", run, "--after", before, "--", sys.executable, "-c", "1/0"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert re.fullmatch(r"studies/job.py: .*run/run.json is not valid JSON .*\n", done.stderr)


def test_a_job_that_was_told_to_stop_asks_to_be_tried_again(tmp_path):
    done = job(tmp_path / "run", "-c", "import sys; sys.exit(75)")
    assert "told to stop; the next try goes on" in done.communicate(timeout=60)[1]
    assert done.returncode == 75


@pytest.fixture
def two_gpus(tmp_path):
    """A folder for PATH with an nvidia-smi that lists two."""
    program = tmp_path / "bin" / "nvidia-smi"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho 'GPU 0: a (UUID: x)'\necho 'GPU 1: a (UUID: y)'\n")
    program.chmod(0o755)
    return program.parent


def test_each_job_has_a_gpu_of_its_own_and_the_third_waits(two_gpus, hold, tmp_path):
    jobs = {}
    for name in ("one", "two"):
        jobs[name] = job(tmp_path / name, "-c", DEVICE + SLOW, hold, path=two_gpus, TMPDIR=str(tmp_path))
        wait_for(lambda name=name: "started" in text(tmp_path / name / "log.txt"))
    assert {text(tmp_path / name / "log.txt") for name in jobs} == {"0\nstarted\n", "1\nstarted\n"}
    jobs["one"].kill()  # its command still uses the GPU
    third = job(tmp_path / "three", "-c", DEVICE, path=two_gpus, TMPDIR=str(tmp_path))
    wait_for((tmp_path / "three" / "lock").exists)
    time.sleep(0.5)
    assert third.poll() is None
    assert not text(tmp_path / "three" / "log.txt")
    hold.unlink()
    assert third.wait(60) == 0
    assert text(tmp_path / "three" / "log.txt") in ("0\n", "1\n")


@pytest.mark.parametrize("given", ["3", ""])
def test_a_gpu_that_was_chosen_stays(given, two_gpus, tmp_path):
    job(tmp_path / "run", "-c", DEVICE, path=two_gpus, CUDA_VISIBLE_DEVICES=given).wait(60)
    assert text(tmp_path / "run" / "log.txt") == f"{given}\n"


def test_several_that_were_chosen_are_shared_out(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,GPU-8f")
    held = [free_gpu(gpus(), tmp_path) for _ in range(2)]
    assert [gpu.number for gpu in held] == ["2", "GPU-8f"]


@pytest.mark.parametrize(
    "program", [None, "echo 'GPU 0: a'", "echo 'no devices'; exit 9"], ids=["none", "one", "failing"]
)
def test_where_there_is_nothing_to_choose_nothing_is_set(program, tmp_path, monkeypatch):
    if program:
        (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\n{program}\n")
        (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/nowhere")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert not gpus()
    assert free_gpu(gpus()) is None


# ---- the whole graph ------------------------------------------------------------------------------------------------

TASKS = '''"""Tasks that import nothing, so that Snakemake starts in a second."""
from types import SimpleNamespace


def load_task(name, kind=None):
    return SimpleNamespace(name=name, type="", trained_on=name, after=None, retrieval=None, splits=("test",))


def load_tasks(text):
    return (load_task(text),)


def draw_subset(tasks, size, seed):
    return tasks
'''

SCRIPT = '''"""Stands in for the scripts: notes that it ran, and writes what job.py and the scripts look at."""
import json, sys, time
from pathlib import Path

def listed(name, path):
    return Path(name).exists() and str(path) in Path(name).read_text().split()

options = dict(zip(sys.argv[1::2], sys.argv[2::2]))
here, model = Path(options["--output_dir"]), Path(options["--model_name_or_path"], "run.json")
run, lineage = here / "run.json", json.loads(model.read_text())["lineage"] if model.exists() else ["base"]
if "--overwrite_output_dir" in options:
    run.unlink(missing_ok=True)
there = json.loads(run.read_text())["identity"]["lineage"] if run.exists() else lineage
if there != lineage:
    sys.exit(f"{here} holds another run")
with open("ran.log", "a") as log:
    log.write(f"{here}\\n" if not run.exists() else f"{here} was finished\\n")
if not run.exists():
    if listed("fail", here):
        sys.exit("cannot do this")
    time.sleep(0.05)
    while listed("hold", here):
        time.sleep(0.02)
    content = {"lineage": [*lineage, f"{here.parent} {time.time_ns()}"], "identity": {"lineage": lineage}}
    (here / "new.json").write_text(json.dumps(content))
    (here / "new.json").rename(run)
'''

REPORT = """import sys, yaml
from pathlib import Path

folder = Path(yaml.safe_load(Path(sys.argv[2]).read_text())["report_dir"])
folder.mkdir(exist_ok=True)
(folder / "report.html").write_text("a report")
"""


class Workplace:
    """A copy of studies/ with stand-ins for the scripts, the tasks and the plan."""

    def __init__(self, folder):
        self.folder = folder
        shutil.copytree(ROOT / "studies", folder / "studies", ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("intermediate", "target", "zeroshot_eval", "retrieval"):
            self.write(f"run_{name}.py", SCRIPT)
        self.write("run_report.py", REPORT)
        self.write("studies/plan.py", "")
        self.write("demo/environment.sh", "")
        self.write("tasks/__init__.py", TASKS)
        self.write("xstilts/task.py", "class Task: pass\nclass RetrievalTask: pass\n")
        for name in ("names", "shapes"):
            self.write(f"xstilts/{name}.py", (ROOT / "xstilts" / f"{name}.py").read_text())
        shutil.copytree(ROOT / "xstilts" / "base", folder / "xstilts" / "base")
        blocks = {"target": [{"task": ["xnli", "udpos"]}], "retrieval": [{"task": "tatoeba"}]}
        self.study = study_file(folder, **blocks)
        self.jobs = set(jobs_of(read_study(self.study)))
        self.started = []

    def write(self, name, content=""):
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
        return path

    def begin(self, *options):
        """The study's command, as a process that leads a group of its own."""
        environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
        self.started.append(
            subprocess.Popen(
                ["bash", "studies/run.sh", "study.yaml", "--cores", "4", *options], cwd=self.folder, env=environment,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
            )
        )  # fmt: skip
        return self.started[-1]

    def go(self, *options):
        """(exit code, output) of the study's command."""
        process = self.begin(*options)
        output = process.communicate(timeout=120)[0]
        return process.returncode, output

    def kill(self, process, jobs):
        """Kill a study, with or without its jobs, and wait until it has let go of the folder."""
        shell = psutil.Process(process.pid)
        for each in [shell, *shell.children(recursive=jobs)]:  # below the shell is Snakemake
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
        process.wait()
        wait_for(lambda: subprocess.run(["flock", "-n", self.folder / ".snakemake/study.lock", "true"]).returncode == 0)

    def ran(self):
        """{directory: how many times its script has worked, and not found it finished}."""
        return Counter(line for line in text(self.folder / "ran.log").splitlines() if " was finished" not in line)

    def change(self, run):
        """Put another checkpoint in the place of a run's."""
        path = self.folder / run / "run.json"
        content = json.loads(path.read_text())
        path.write_text(json.dumps({**content, "lineage": [*content["lineage"][:-1], "another"]}))

    def behind(self, run):
        """What starts from a run, directly or not."""
        found = {run}
        for path, job in jobs_of(read_study(self.study)).items():
            found |= {path} if job.after in found else set()
        return found - {run}


@pytest.fixture
def workplace(tmp_path):
    """A Workplace; what was started there ends with the test."""
    place = Workplace(tmp_path)
    yield place
    for process in place.started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


STRANGE = """my $(touch 1); `touch 2` 'q' "d" & | > 3 * ~ \\ #"""


def test_no_shell_reads_what_folders_are_called(workplace):
    """Not of runs, data, reports, nor of the study's own file."""
    folders = {name: f"{name} {STRANGE}" for name in ("runs_dir", "data_dir", "report_dir")}
    study = study_file(workplace.folder, intermediate=["none"], seeds=[1], **folders)
    study = study.rename(workplace.folder / f"{STRANGE}.yaml")
    before = {path.name for path in workplace.folder.iterdir()}
    command = ["bash", "studies/run.sh", study.name, "--cores", "1"]
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(command, cwd=workplace.folder, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (workplace.folder / folders["report_dir"] / "report.html").exists()
    made = {path.name for path in workplace.folder.iterdir()} - before
    assert made == {folders["runs_dir"], folders["report_dir"], ".snakemake", "ran.log"}
    assert workplace.ran() == Counter([*jobs_of(read_study(study))])


@pytest.mark.parametrize("folder", ["../runs", "runs/../../x", "runs/{run}", "a\nb", "a\0b", 5, ["runs"]])
@pytest.mark.parametrize("key", ["runs_dir", "report_dir"])
def test_folders_that_lead_elsewhere_are_refused(key, folder, tmp_path):
    with pytest.raises(
        UserError, match=rf"study.yaml: ({key}: |'{key}' is|.* is no text that a command line can hold)"
    ) as error:
        read_study(study_file(tmp_path, **{key: folder}))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "block",
    [{"name": "../../x"}, {"name": "/etc/x"}, {"name": "a/b"}, {"name": "x\0"}, {"name": "x" * 5000}, {"../../x": 1}],
    ids=lambda block: str(block)[:20],
)
@pytest.mark.parametrize("part", ["intermediate", "target"])
def test_names_of_a_study_stay_in_its_folder(part, block):
    blocks = {"intermediate": ["none"], "target": [{"task": "xnli"}], part: [{"task": "mnli", **block}]}
    with pytest.raises(UserError, match=rf"study.yaml: {part}: .* cannot be the name of a file") as error:
        jobs_of(grid(**blocks))
    assert len(str(error.value)) < 300


def test_a_study_goes_on_after_it_was_killed_and_after_failures(workplace):
    """Killed without its jobs; a failing job; what was redone, and its redoing failed; nothing is run twice without a reason."""
    held, failing = "runs/target/none/xnli/seed1", "runs/target/mnli/udpos/seed1"
    hold, fail = workplace.write("hold", held), workplace.write("fail", failing)
    killed = workplace.begin()
    wait_for(lambda: held in workplace.ran() and len(workplace.ran()) > 8)
    workplace.kill(killed, jobs=False)

    # The same command goes on; a job that survived is waited for, and one that fails stops nothing but what is behind it.
    again = workplace.begin()
    wait_for(
        lambda: again.poll() or len(workplace.ran()) == len(workplace.jobs) - 2
    )  # all but the evaluations of the two
    time.sleep(0.3)
    assert again.poll() is None, again.communicate()[0]
    hold.unlink()
    output = again.communicate(timeout=60)[0]
    assert again.returncode == 1
    assert "cannot do this" in output
    assert f"{failing}/log.txt: exit code 1" in output
    assert "some runs are missing" in output
    assert not (workplace.folder / "report").exists()
    before = workplace.ran()
    assert before.keys() == workplace.jobs - {failing.replace("target", "eval", 1)}
    assert {run for run, times in before.items() if times > 1} <= {failing}

    # Mended; an intermediate run is another now, and of what is behind it one fails. The Snakefile was touched.
    first, lost = "runs/intermediate/mnli/seed2", "runs/target/mnli/xnli/seed2"
    workplace.change(first)
    fail.write_text(lost)
    for name in ("Snakefile", "grid.py", "job.py"):
        (workplace.folder / "studies" / name).touch()
    assert workplace.go()[0] == 1
    missing = {failing, failing.replace("target", "eval", 1)}
    redone = workplace.behind(first) - workplace.behind(lost)
    assert workplace.ran() - before == Counter(missing | redone)

    # What failed while it was done again is not finished, though Snakemake would bring its old run.json back.
    before = workplace.ran()
    fail.unlink()
    assert workplace.go()[0] == 0
    assert workplace.ran() - before == Counter({lost, *workplace.behind(lost)})
    assert (workplace.folder / "report" / "report.html").exists()
    snakefile = workplace.folder / "studies" / "Snakefile"
    snakefile.write_text(snakefile.read_text().replace("python studies/job.py", "python -u studies/job.py"))
    code, output = workplace.go()
    assert code == 0
    assert "Nothing to be done" in output
    assert sum((workplace.ran() - before).values()) == 2


def test_a_study_goes_on_after_it_was_killed_with_its_jobs(workplace):
    held = "runs/intermediate/mnli/seed2"
    hold = workplace.write("hold", held)
    killed = workplace.begin()
    wait_for(lambda: held in workplace.ran() and len(workplace.ran()) > 8)
    workplace.kill(killed, jobs=True)
    finished = {run for run in workplace.jobs if (workplace.folder / run / "run.json").exists()}
    assert len(finished) > 3
    hold.unlink()
    code, output = workplace.go()
    assert code == 0, output
    ran = workplace.ran()
    assert workplace.jobs == ran.keys()
    assert all(ran[run] == 1 for run in finished)
    assert all(ran[run] <= 2 for run in workplace.jobs)
    assert ran[held] == 2


def test_two_studies_in_one_folder(workplace):
    """The second says so at once; when the first is killed but Snakemake is not, it still holds the folder."""
    held = "runs/intermediate/mnli/seed2"
    hold = workplace.write("hold", held)
    first = workplace.begin()
    wait_for(lambda: held in workplace.ran())
    code, output = workplace.go()
    assert (code, output) == (2, "another study is running in this folder; wait for it, or look with -n\n")
    assert workplace.go("-n")[0] == 0
    first.kill()
    first.wait()
    assert workplace.go()[0] == 2
    hold.unlink()
    wait_for((workplace.folder / "report" / "report.html").exists)


# ---- the plan -------------------------------------------------------------------------------------------------------


def kind(phase, task, examples=1000, seconds=10, gib=2, model="base"):
    """A row of seconds.csv."""
    values = [model, "A100", phase, task, examples, seconds, gib, "measured, 1 runs"]
    return dict(zip(plan.COLUMNS, map(str, values), strict=True))


def test_the_table_of_seconds_is_well_formed():
    table = plan.read_table(plan.SECONDS)
    assert table
    assert all(list(row) == plan.COLUMNS and all(row.values()) for row in table)
    keys = Counter((row["model"], row["device"], row["phase"], row["task"]) for row in table)
    assert max(keys.values()) == 1
    for row in table:
        assert row["phase"] in ("intermediate", "target", "eval", "retrieval")
        assert all(float(row[name]) > 0 for name in ("examples", "seconds_per_thousand", "gib"))


@pytest.mark.parametrize(
    ("options", "examples"),
    [
        ({}, 1000),
        ({"max_steps": 10}, 10 * 32),
        ({"max_train_samples": 100}, 200),  # two epochs
        ({"max_train_samples": 100, "num_train_epochs": 3, "languages": "en,de"}, 600),
        ({"max_train_samples": 10**6}, 1000),  # there are no more
    ],
)
def test_cost_of_a_training(options, examples):
    (job,) = (
        job for job in jobs_of(grid([{"task": "mnli", **options}], target=[{"task": "xnli"}])).values() if not job.after
    )
    known = {("intermediate", "mnli"): kind("intermediate", "mnli")}
    assert plan.cost(job, known) == pytest.approx((examples / 100, 2))
    assert plan.cost(job, {}) is None


@pytest.mark.parametrize(
    ("options", "examples"),
    [
        ({}, 4000),
        ({"max_steps": 10}, 320),
        ({"max_steps_per_task": 10}, 2 * 320),
        ({"task_subset_size": 1, "task_subset_seed": 1}, 2000),
        ({"task_subset_size": 1, "task_subset_seed": 1, "max_steps_per_task": 10}, 320),
    ],
)
def test_cost_of_a_mixture(options, examples):
    row = {"task": "mnli+squad", **options}
    (job,) = (job for job in jobs_of(grid([row], target=[{"task": "xnli"}])).values() if not job.after)
    known = {
        ("intermediate", "mnli"): kind("intermediate", "mnli", 1000, 10),
        ("intermediate", "squad"): kind("", "", 3000, 30),
    }
    assert plan.cost(job, known) == pytest.approx((examples * 20 / 1000, 2))


@pytest.mark.parametrize(("options", "examples"), [({}, 2000), ({"max_steps_per_task": 10}, 2 * 320)])
def test_what_is_not_known_of_a_mixture_costs_what_the_rest_does(options, examples):
    row = {"task": "mnli+squad", **options}
    (job,) = (job for job in jobs_of(grid([row], target=[{"task": "xnli"}])).values() if not job.after)
    known = {("intermediate", "mnli"): kind("intermediate", "mnli")}
    assert plan.cost(job, known) == pytest.approx((examples / 100, 2))


def test_the_plan_counts_what_is_left_and_names_what_it_cannot_count(tmp_path):
    study = grid([{"task": "mnli"}], [1, 2], target=[{"task": ["xnli", "udpos"]}], runs_dir=str(tmp_path))
    jobs = jobs_of(study)
    first = next(iter(jobs))
    (tmp_path / "intermediate/mnli/seed1").mkdir(parents=True)
    (tmp_path / "intermediate/mnli/seed1/run.json").touch()
    assert first == f"{tmp_path}/intermediate/mnli/seed1"
    table = [
        kind("intermediate", "mnli", 360_000),
        kind("target", "xnli", 720_000),
        kind("eval", "xnli", 1, 1, 1, "other"),
    ]
    lines = plan.plan(study, jobs, table).splitlines()
    assert lines == [
        "study.yaml: 10 runs (2 intermediate, 4 target, 4 eval), 9 left",
        "about 5.0 hours on one A100 and 6.0 GiB of disk (measured rates)",  # one hour, and two of two
        "not in seconds.csv, so not counted: eval udpos, eval xnli, target udpos (see --measure)",
    ]


def measured_run(folder, seconds, steps=50, phase="target"):
    """A finished run as the scripts write it, as far as --measure reads it."""
    folder.mkdir(parents=True)
    content = {
        "phase": phase, "task": "xnli", "lineage": [{"base_model": "small"}], "hardware": {"device": "H100"}, "steps": steps,
        "wall_time_s": seconds, "data": [{"rows": 300}, {"rows": 200}],
        "identity": {"arguments": {"total_train_batch_size": 20}},
    }  # fmt: skip
    (folder / "run.json").write_text(json.dumps(content))
    (folder / "model.safetensors").write_bytes(bytes(2**20))


def test_measured_runs_give_medians_and_other_models_stay(tmp_path, monkeypatch):
    for seed, seconds in enumerate((4, 10, 6)):
        measured_run(tmp_path / "runs" / f"seed{seed}", seconds)
    measured_run(tmp_path / "runs" / "eval", 5, phase="eval")
    monkeypatch.setattr(plan, "SECONDS", tmp_path / "seconds.csv")
    others = [kind("target", "xnli"), kind("target", "xnli", model="small")]
    before = [*others, {**kind("target", "udpos", model="small"), "device": "H100"}]
    plan.write_table([], plan.SECONDS)  # a table without rows
    with open(plan.SECONDS, "a") as file:
        csv.DictWriter(file, plan.COLUMNS, lineterminator="\n").writerows(before)
    plan.main(["--measure", str(tmp_path / "runs")])
    table = plan.read_table(plan.SECONDS)
    assert table[:2] == others  # of another model, and of another device
    eval_row, target_row = ({name: row[name] for name in plan.COLUMNS[1:]} for row in table[2:])
    assert target_row == {
        "device": "H100", "phase": "target", "task": "xnli", "examples": "1000", "seconds_per_thousand": "6",
        "gib": target_row["gib"], "source": "measured, 3 runs",
    }  # fmt: skip
    assert float(target_row["gib"]) == pytest.approx(1 / 1024, rel=0.01)
    assert (eval_row["examples"], eval_row["seconds_per_thousand"]) == ("500", "10")


def test_a_grid_of_hundreds_of_runs_has_as_many(tmp_path):
    rows = {"task": ["mnli", "qqp", "squad"], "freeze_layers": [None, *range(1, 10)]}
    study = grid(["none", rows], range(5), target=[{"task": ["xnli", "udpos"]}], retrieval=[{"task": "tatoeba"}])
    assert len(jobs_of(study)) == 30 * 5 * (1 + 2 * 2 + 1) + 5 * 2 * 2 + 1
