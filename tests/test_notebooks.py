"""The notebooks, executed cell by cell as their users do, on the generated world and its encoder: no GPU, no network.

Only the values of the forms are others: what stands between `NAME = ` and `# @param`, as when a user fills in a form.
"""

import ast
import json
import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbclient
import nbformat
import pandas as pd
import pytest
from conftest import ROOT
from nbclient.exceptions import CellExecutionError
from test_rules import CALL, arguments, parse_command

NAMES = ("quickstart", "new_task")
PARAMETER = re.compile(r"^(\w+) = (.+?)  # @param ", flags=re.MULTILINE)
LANGUAGES = ("qna", "qmb", "qfc")
SMALL = {
    "MODEL": "demo/encoder", "LANGUAGES": ",".join(LANGUAGES), "TARGET_ROWS": 300, "TEST_ROWS": 60,
    "LEARNING_RATE": 5e-4,
}  # fmt: skip
ROWS = {"quickstart": ("none", "mnli"), "new_task": ("none", "topics")}  # of the tables that they end with
MORE = {"quickstart": {"INTERMEDIATE_ROWS": 600, "SAVE": "steps", "SAVE_STEPS": 5}, "new_task": {}}


def read(name):
    """A notebook as it lies in the repository."""
    return nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)


def code_of(notebook):
    """The code cells."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def parameters(notebook):
    """{name: value} of the forms."""
    return {name: ast.literal_eval(text) for cell in code_of(notebook) for name, text in PARAMETER.findall(cell.source)}


def with_values(notebook, values):
    """The notebook with other values in its forms."""
    assert values.keys() <= parameters(notebook).keys()

    def filled(found):
        return found[0].replace(found[2], repr(values[found[1]]), 1) if found[1] in values else found[0]

    for cell in code_of(notebook):
        cell.source = PARAMETER.sub(filled, cell.source)
    return notebook


def calls(notebook):
    """(script, its arguments) of every command of ours in a notebook, with the values of its forms."""
    values = {**parameters(notebook), "DATA": "data"}
    values["OUTPUT"] = values["OUTPUT"] or "runs"
    for cell in code_of(notebook):
        for line in re.findall(r"^ *!(.*)", cell.source.replace("\\\n", " "), flags=re.MULTILINE):
            if call := CALL.search(line):
                yield call[1], arguments(call[2].format_map(values))


def execute(notebook, folder, **environment):
    """Run all cells in `folder`; what they print and show is in the notebook then. Raises for a cell that fails."""
    client = nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(folder)}})
    client.execute(env={**os.environ, **environment})
    return notebook


def printed(notebook):
    """What the cells printed, streams in their order."""
    outputs = [output for cell in code_of(notebook) for output in cell.outputs]
    return "".join(output.text for output in outputs if output.output_type == "stream")


def shown(notebook, kind):
    """What the cells displayed of a kind: "image/png", ..."""
    outputs = [output for cell in code_of(notebook) for output in cell.outputs if "data" in output]
    return [output.data[kind] for output in outputs if kind in output.data]


def copied(folder):
    """A copy of what belongs to the repository."""
    check_clone()
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    for name in filter(lambda name: (ROOT / name).is_file(), names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes((ROOT / name).read_bytes())
    return folder


def check_clone():
    """Skip where git does not know what belongs to the repository."""
    if not (ROOT / ".git").exists():
        pytest.skip(f"{ROOT} is no clone of the repository")


def files_of_runs(folder):
    """{file: when it was written} of what runs have made."""
    files = (path for path in Path(folder).rglob("*") if path.is_file() and path.relative_to(folder).parts[0] != "data")
    return {path: path.stat().st_mtime_ns for path in files if "report" not in path.relative_to(folder).parts}


def interrupt(notebook, folder):
    """Begin the first run of a notebook, and kill it at its first checkpoint, as a session that ends."""
    script, options = next(calls(notebook))
    output_dir = Path(options[options.index("--output_dir") + 1])
    process = subprocess.Popen([sys.executable, f"{script}.py", *options], cwd=folder, stderr=subprocess.DEVNULL)
    while not [*output_dir.glob("checkpoint-*")]:
        assert process.poll() is None
        time.sleep(0.05)
    process.kill()
    process.wait()


@pytest.fixture(scope="module", autouse=True)
def surroundings(tmp_path_factory):
    """`python` and `pip` of this environment; no network; nothing of the user's own is read or written."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "IPYTHONDIR"):
            patch.setenv(name, str(tmp_path_factory.mktemp("jupyter")))
        patch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
        for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
            patch.setenv(name, "http://127.0.0.1:9")  # nobody answers there
        patch.setenv("PIP_NO_INDEX", "1")
        patch.delenv("COLAB_RELEASE_TAG", raising=False)
        yield


@pytest.fixture(scope="module")
def executed(world, tmp_path_factory):
    """{name: (runs, notebook, files of the runs then, notebook executed again, files then)}; both notebooks at the same time."""

    def twice(name):
        folder = tmp_path_factory.mktemp(name)
        values = {**SMALL, **MORE[name], "OPTIONS": f"--data_dir {world}", "OUTPUT": str(folder / "runs")}
        found, place = [], copied(folder / "repository") / "notebooks"
        if name == "quickstart":
            interrupt(with_values(read(name), values), place.parent)
        for _ in range(2):
            notebook = execute(with_values(read(name), values), place)
            found += [notebook, files_of_runs(folder / "runs")]
        return folder / "runs", *found

    with ThreadPoolExecutor(2) as pool:
        return dict(zip(NAMES, pool.map(twice, NAMES), strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_ends_with_table_and_plots(executed, name):
    runs, notebook, *_ = executed[name]
    table = pd.read_csv(runs / "report" / "udpos.csv", index_col="language")
    assert {"en", *LANGUAGES} < set(table.index)
    assert set(ROWS[name]) < set(table.columns)
    assert table.loc["en", "none"] > 40
    assert (runs / "report" / "report.html").exists()
    page = "".join(shown(notebook, "text/html"))
    assert all(f"<th>{row}</th>" in page for row in ("en", *LANGUAGES, "mean (zero-shot)"))
    assert len(shown(notebook, "image/png")) == len(shown(notebook, "image/svg+xml")) == 1


@pytest.mark.parametrize("name", NAMES)
def test_every_cell_says_something(executed, name):
    _, notebook, *_ = executed[name]
    assert [cell.source for cell in code_of(notebook) if not cell.outputs] == []


@pytest.mark.parametrize("name", NAMES)
def test_the_same_cells_again_leave_finished_runs_alone(executed, name):
    _, _, before, again, after = executed[name]
    assert after == before
    runs = [script for script, options in calls(read(name)) if script != "run_report" and "--dry_run" not in options]
    assert printed(again).count("is finished with the same arguments and data; nothing to do") == len(runs)


def test_an_interrupted_training_goes_on(executed):
    runs, notebook, *_ = executed["quickstart"]
    assert f"going on from {runs / 'intermediate' / 'mnli' / 'seed42' / 'checkpoint-'}" in printed(notebook)


def test_the_new_task_was_tested_and_learned(executed):
    runs, notebook, *_ = executed["new_task"]
    assert re.search(r"\d+ passed", printed(notebook))
    run = json.loads((runs / "intermediate" / "topics" / "seed42" / "run.json").read_text("utf-8"))
    assert run["dev_scores"]["accuracy"] > 90
    assert run["degenerate"] == []


# ---- a command that fails, and Colab --------------------------------------------------------------------------------


def part(name, title, *more):
    """A notebook of the cell with this title, and further cells."""
    notebook = read(name)
    first = next(cell for cell in code_of(notebook) if cell.source.startswith(f"# @title {title}"))
    return nbformat.v4.new_notebook(cells=[first, *map(nbformat.v4.new_code_cell, more)], metadata=notebook.metadata)


@pytest.mark.parametrize("name", NAMES)
def test_a_command_that_fails_stops_the_notebook(name):
    notebook = part(name, "The scripts", "!python -c 'raise SystemExit(2)'\nstop_if_failed(_exit_code)", "print('on')")
    with pytest.raises(CellExecutionError, match="exit code 2: the lines above say why"):
        execute(notebook, ROOT / "notebooks")
    assert not notebook.cells[-1].outputs


@pytest.mark.parametrize("name", NAMES)
def test_no_command_fails_unseen(name):
    for cell in code_of(read(name)):
        for command, below in re.findall(r"^ *!((?:.*\\\n)*.*)\n?(.*)", cell.source, flags=re.MULTILINE):
            assert below.strip() == "stop_if_failed(_exit_code)" or "||" in command or below[:1] == "!", command


COLAB = """
def mount(place):
    print(f"mounted at {place}")
"""


def test_in_colab_it_clones_and_keeps_runs_on_drive(tmp_path, write):
    check_clone()
    write("", "site/google/__init__.py")
    write("", "site/google/colab/__init__.py")
    site = Path(write(COLAB, "site/google/colab/drive.py")).parents[2]
    notebook = part("quickstart", "The scripts", *(cell.source for cell in code_of(read("quickstart"))[2:3]))
    with_values(notebook, {"REPOSITORY": f"file://{ROOT}"})
    execute(notebook, tmp_path, PYTHONPATH=str(site), COLAB_RELEASE_TAG="release")
    assert f"The scripts are in {tmp_path / 'xstilts'}" in printed(notebook)
    assert "mounted at /content/drive\n/content/drive/MyDrive/xstilts/quickstart: 0 finished runs" in printed(notebook)


# ---- what lies in the repository ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_is_stripped(name):
    notebook = read(name)
    nbformat.validate(notebook)
    assert [cell for cell in code_of(notebook) if cell.outputs or cell.execution_count is not None] == []
    assert [cell for cell in notebook.cells if cell.metadata] == []
    assert set(notebook.metadata) == {"accelerator", "colab", "kernelspec", "language_info"}


CALLS = [pytest.param(*call, id=f"{name}-{call[0]}-{i}") for name in NAMES for i, call in enumerate(calls(read(name)))]


@pytest.mark.parametrize(("script", "arguments"), CALLS)
def test_the_commands_parse(script, arguments, monkeypatch):
    parse_command(script, arguments, monkeypatch)


def test_both_notebooks_share_what_they_say_twice():
    """Each is opened alone, so that set-up and Drive stand in both."""
    first, second = (code_of(read(name))[1:3] for name in NAMES)
    assert first[0].source == second[0].source
    assert first[1].source == second[1].source.replace("new_task", "quickstart")
