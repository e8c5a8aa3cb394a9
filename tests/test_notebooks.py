"""The notebooks, executed cell by cell as their users do, on the generated world and its encoder: no GPU, no network.

Only the values in the form at the top are others: what stands to the right of `NAME = ` before a `# @param`.
"""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import nbclient
import nbformat
import pandas as pd
import pytest
from conftest import ROOT
from test_rules import arguments, parse_command

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PARAMETER = re.compile(r"^(\w+) = (.+?)  # @param ", flags=re.MULTILINE)
SMALL = {"MODEL": "demo/encoder", "LANGUAGES": "qna,qmb,qfc", "TARGET_ROWS": 300, "TEST_ROWS": 60, "LEARNING_RATE": 5e-4}


def read(path):
    """A notebook as it lies in the repository."""
    return nbformat.read(path, as_version=4)


def code_of(notebook):
    """The code cells."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def parameters(notebook):
    """{name: value} of the forms."""
    return {name: ast.literal_eval(text) for cell in code_of(notebook) for name, text in PARAMETER.findall(cell.source)}


def with_values(notebook, values):
    """The notebook with other values in its forms, as its user gives them."""
    assert values.keys() <= parameters(notebook).keys()
    for cell in code_of(notebook):
        cell.source = PARAMETER.sub(
            lambda found: found[0].replace(found[2], repr(values.get(found[1], ast.literal_eval(found[2]))), 1),
            cell.source,
        )
    return notebook


def execute(path, values, folder, **environment):
    """The notebook after all its cells ran in `folder`, with what they printed and showed. Raises for a cell that failed."""
    notebook = with_values(read(path), values)
    client = nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(folder)}})
    client.execute(env={**os.environ, **environment})
    return notebook


def printed(notebook):
    """What the cells printed."""
    outputs = [output for cell in code_of(notebook) for output in cell.outputs]
    return "".join(output.text for output in outputs if output.output_type == "stream")


def shown(notebook):
    """Types of what the cells displayed: {"image/png", ...}."""
    outputs = [output for cell in code_of(notebook) for output in cell.outputs]
    return {kind for output in outputs if "data" in output for kind in output.data}


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of what belongs to the repository."""
    folder = tmp_path_factory.mktemp("copy") / "repository"
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    for name in filter(lambda name: (ROOT / name).is_file(), names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes((ROOT / name).read_bytes())
    return folder


@pytest.fixture(autouse=True)
def surroundings(monkeypatch, tmp_path_factory):
    """`python` and `pip` of this environment; no network; nothing of the user's own is read or written."""
    for name in ("JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "IPYTHONDIR"):
        monkeypatch.setenv(name, str(tmp_path_factory.mktemp("jupyter")))
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nobody answers there
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("COLAB_RELEASE_TAG", raising=False)


def files_of_runs(folder):
    """{file: when it was written} of what runs have made."""
    return {path: path.stat().st_mtime_ns for path in Path(folder).rglob("*") if path.is_file() and "report" not in path.parts}


def test_quickstart(copy, world, tmp_path):
    runs = tmp_path / "runs"
    values = {**SMALL, "INTERMEDIATE_ROWS": 600, "OPTIONS": f"--data_dir {world}", "OUTPUT": str(runs)}
    notebook = execute(copy / "notebooks" / "quickstart.ipynb", values, copy / "notebooks")
    table = pd.read_csv(runs / "report" / "udpos.csv", index_col="language")
    assert {"en", "qna", "qmb", "qfc"} < set(table.index)
    assert table.loc["en", "none"] > 50
    assert {"image/png", "image/svg+xml", "text/html"} <= shown(notebook)
    assert "encoder > mnli > udpos" in printed(notebook)

    before = files_of_runs(runs)
    again = execute(copy / "notebooks" / "quickstart.ipynb", values, copy / "notebooks")
    assert printed(again).count("nothing to do") == 7
    assert files_of_runs(runs) == before
