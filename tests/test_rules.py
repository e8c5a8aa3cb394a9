"""Rules of the house: who may import whom, what an import may do, docstrings, ruff, and documented commands that parse."""

import argparse
import ast
import functools
import importlib
import itertools
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

from xstilts.base import UserError

SCRIPTS = sorted(path.stem for path in ROOT.glob("*.py"))
LIBRARY = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in (ROOT / "xstilts").glob("**/*.py")
    if path.parent.name != "xstilts" or path.stem != "__init__"
)
TASKS = sorted(f"tasks.{path.stem}" for path in (ROOT / "tasks").glob("[!_]*.py"))
DEMO = sorted(f"demo.{path.stem}" for path in (ROOT / "demo").glob("[!_]*.py"))
BENCHMARKS = sorted(f"benchmarks.{path.stem}" for path in (ROOT / "benchmarks").glob("[!_]*.py"))
STUDIES = sorted(f"studies.{path.stem}" for path in (ROOT / "studies").glob("[!_]*.py"))
OURS = {*STUDIES, *SCRIPTS, *LIBRARY, *TASKS, *DEMO, *BENCHMARKS, "tasks"}


def source_of(module):
    """The file of one of our modules."""
    path = ROOT / module.replace(".", "/")
    file = path.with_suffix(".py")
    return file if file.exists() else path / "__init__.py"


@functools.cache
def imports_of(module):
    """Our own modules that a module imports, wherever in its text."""
    found = set()
    for node in ast.walk(ast.parse(source_of(module).read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import"
            submodules = {f"{node.module}.{alias.name}" for alias in node.names} & OURS
            found |= submodules or {node.module}
    return found & OURS


# ---- imports --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("modules", "allowed"),
    [
        (SCRIPTS, {*STUDIES, *LIBRARY, *TASKS, "tasks"}),
        (STUDIES, {*STUDIES, *SCRIPTS, *LIBRARY, "tasks"}),
        (LIBRARY, {*LIBRARY}),
        (TASKS, {*LIBRARY, *TASKS}),
        (DEMO, {*DEMO, *LIBRARY}),
        (BENCHMARKS, {*BENCHMARKS, *SCRIPTS, *LIBRARY, "tasks"}),
    ],
    ids=["scripts", "studies", "xstilts", "tasks", "demo", "benchmarks"],
)
def test_who_imports_whom(modules, allowed):
    assert {module: imports_of(module) - allowed for module in modules if imports_of(module) - allowed} == {}


def test_rooms_use_only_rooms_below_them():
    """The contract is in pyproject.toml."""
    linter = shutil.which("lint-imports", path=str(Path(sys.executable).parent)) or shutil.which("lint-imports")
    assert linter, "import-linter is not installed: pip install --requirement tests/requirements.txt"
    done = subprocess.run([linter, "--no-cache"], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stdout


def test_scripts_and_tasks_import_front_doors():
    """Of a room that is there, its __init__ alone; of modules that are still outside of rooms anything."""
    for module in [*SCRIPTS, *STUDIES, *TASKS]:
        past = {name for name in imports_of(module) if name.startswith("xstilts.") and name.count(".") > 1}
        assert past == set(), f"{module} imports past a front door"


def test_a_task_loads_no_room_above_it():
    code = "import sys, tasks.hellaswag; print(*{name.split('.')[1] for name in sys.modules if name.startswith('xstilts.')})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert not {"training", "retrieval", "runs", "reporting"} & {*done.stdout.split()}


def test_imports_have_no_cycle():
    def visit(module, above):
        assert module not in above, f"a cycle: {' > '.join([*above, module])}"
        for imported in imports_of(module):
            visit(imported, (*above, module))

    for module in OURS:
        visit(module, ())


IMPORTS = """
import random, sys
import accelerate, datasets, evaluate, numpy, peft, seqeval.metrics, torch, transformers, yaml
seen, folder = [], {folder!r}
def watch(event, args):
    if event.startswith("socket."):
        seen.append((event, args))
    if event == "open" and isinstance(args[0], str):
        writes = isinstance(args[1], str) and set(args[1]) & set("wax+")
        ours = args[0].startswith(folder) and ".venv" not in args[0] and not args[0].endswith((".py", ".pyc"))
        if (writes and args[0] != "/dev/null") or ours:
            seen.append((event, args))
def states():
    return random.getstate(), [str(part) for part in numpy.random.get_state()], torch.get_rng_state().tolist()
before = states()
sys.dont_write_bytecode = True
sys.path.insert(0, folder)
sys.addaudithook(watch)
for module in {modules!r}:
    __import__(module)
assert states() == before, "an import draws random numbers or sets a seed"
assert not seen, seen
"""


def test_imports_touch_no_network_no_file_and_no_seed():
    code = IMPORTS.format(folder=str(ROOT), modules=sorted(OURS - {*DEMO}))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# ---- style ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("module", [*sorted(OURS), *(f"tests.{path.stem}" for path in (ROOT / "tests").glob("*.py"))])
def test_every_module_says_what_it_is(module):
    docstring = ast.get_docstring(ast.parse(source_of(module).read_text("utf-8")))
    assert docstring
    assert len(docstring.split("\n")[0]) > 20


@pytest.mark.parametrize("command", ["check", "format --check"])
def test_ruff(command):
    ruff = shutil.which("ruff", path=str(Path(sys.executable).parent)) or shutil.which("ruff")
    if ruff is None:
        pytest.skip("ruff is not installed")
    done = subprocess.run([ruff, *command.split(), str(ROOT)], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stdout


# ---- commands in the documentation ----------------------------------------------------------------------------------

PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *(ROOT / part / "README.md" for part in ("demo", "studies")),
]
BLOCK = re.compile(r"^```bash\n(.*?)^```", flags=re.MULTILINE | re.DOTALL)
CALL = re.compile(r"(?:^|\s)(?:\./)?((?:run_|score_|prepare_|demo/make_)\w+)\.py(?=\s|$)(.*)")


def commands(text):
    """(script, its arguments) of every command in the ```bash blocks of a page that calls a script of ours."""
    for block in BLOCK.findall(text):
        for line in filled(block.replace("\\\n", " ")).split("\n"):
            call = CALL.search(line.split("#")[0])
            if call:
                yield call[1].replace("/", "."), arguments(call[2])


def arguments(text):
    """The words of a shell line up to an operator outside of quotes."""
    words = shlex.shlex(text, posix=True, punctuation_chars=";&|>")
    words.whitespace_split = True
    return [*itertools.takewhile(lambda word: word[:1] not in {*";&|>"}, words)]


def filled(block):
    """A block whose loop variables have their first value, and other variables their name."""
    values = {name: words.split()[0] for name, words in re.findall(r"for (\w+) in ([^;\n]+)", block)}
    return re.sub(r"\$\{?(\w+)\}?", lambda variable: values.get(variable[1], variable[1]), block)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_studies_that_pages_name_are_there(page):
    for name in re.findall(r"configs/studies/[\w-]+\.yaml", page.read_text("utf-8")):
        assert (ROOT / name).exists(), name


class Parsed(Exception):
    """The command line was accepted; nothing behind it is run."""


def parse_command(script, arguments, monkeypatch):
    """Give a command line to a script's own parser, and stop there. Raises what the parser raises."""
    module = importlib.import_module(script)

    def stopping(parse):
        @functools.wraps(parse)
        def parse_and_stop(*args, **options):
            parse(
                *args, **options | ({"check": None} if "check" in options else {})
            )  # tasks that a page adds are not there
            raise Parsed

        return parse_and_stop

    if hasattr(module, "parse_args"):
        monkeypatch.setattr(module, "parse_args", stopping(module.parse_args))
        monkeypatch.setattr("xstilts.hub.local_copy", lambda path: path)  # runs that a page speaks of are not there
        if script.startswith("run_") and script != "run_report":
            arguments = [*arguments, "--use_cpu"]  # what asks for a GPU parses without one
    else:
        monkeypatch.setattr(argparse.ArgumentParser, "parse_args", stopping(argparse.ArgumentParser.parse_args))
    with pytest.raises(Parsed):
        module.main(arguments)


DOCUMENTED = [
    pytest.param(*command, id=f"{page.relative_to(ROOT)}-{command[0]}-{number}")
    for page in PAGES
    if page.exists()
    for number, command in enumerate(commands(page.read_text("utf-8")))
]


@pytest.mark.parametrize(("script", "arguments"), DOCUMENTED)
def test_documented_commands_parse(script, arguments, monkeypatch):
    parse_command(script, arguments, monkeypatch)


EXAMPLE = """
```bash
# python run_target.py --task of_a_comment
for task in xnli udpos; do
    CUDA_VISIBLE_DEVICES=0 accelerate launch --multi_gpu run_target.py --task $task \\
        --model_name_or_path "my encoder" --bf16 --seed 3 > log.txt  # a word
done
python run_report.py runs other/runs --output_dir report && cat report/report.md
cat run_target.py.md; ls runs
```
```python
run_target.py --task none
```
"""


def test_commands_are_found_in_a_page():
    assert list(commands(EXAMPLE)) == [
        ("run_target", ["--task", "xnli", "--model_name_or_path", "my encoder", "--bf16", "--seed", "3"]),
        ("run_report", ["runs", "other/runs", "--output_dir", "report"]),
    ]


@pytest.mark.parametrize(
    ("script", "arguments", "error"),
    [
        ("run_target", "--task xnli --bf16 --seed 3", None),
        ("run_target", "--task xnli --sed 3", UserError),
        ("run_zeroshot_eval", "--task xnli", UserError),
        ("run_retrieval", "--task tatoeba --neighborhood few", UserError),
        ("run_report", "runs --output_dir report", None),
        ("run_report", "--output_dri report", UserError),
        ("demo.make_world", "--output_dri world", SystemExit),
    ],
)
def test_a_broken_command_is_noticed(script, arguments, error, monkeypatch):
    if error is None:
        return parse_command(script, arguments.split(), monkeypatch)
    with pytest.raises(error):
        parse_command(script, arguments.split(), monkeypatch)
    return None
