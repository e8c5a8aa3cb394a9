"""What the parts of the benchmark measure on where nothing else is given: the generated world, and a vocabulary of its texts."""

import contextlib
import io
import subprocess
import sys
import tempfile
from argparse import Namespace
from pathlib import Path

from tasks import load_task
from xstilts.base import UserError
from xstilts.coverage import inputs_of
from xstilts.languages import load_languages, load_training

ROOT = Path(__file__).resolve().parents[1]
TRAINED, TESTED = ("xnli", "udpos", "hellaswag", "squad"), ("xnli", "udpos", "xquad")  # whose texts make a vocabulary


@contextlib.contextmanager
def prepared(args):
    """The options with `data_dir` and `tokenizer` filled in, absolute: the generated world, and a vocabulary of the texts of the
    tasks, are made in a folder that is thrown away."""
    with tempfile.TemporaryDirectory() as folder:
        data_dir = args.data_dir or make_world(Path(folder) / "world")
        tokenizer = args.tokenizer or make_tokenizer(Path(folder) / "tokenizer", data_dir)
        paths = {"data_dir": str(Path(data_dir).resolve()), "tokenizer": str(Path(tokenizer).resolve())}
        yield Namespace(**{**vars(args), **paths})


def make_world(folder):
    """Generate the demo's world in `folder`."""
    run_quietly(ROOT / "demo" / "make_world.py", "--output_dir", folder)
    return folder


def make_tokenizer(folder, data_dir):
    """Train a vocabulary of 60,000 pieces at most on the texts of tasks, into `folder`."""
    with contextlib.redirect_stdout(io.StringIO()):  # which languages the files lack is no news here
        inputs = [inputs_of(task, load_training(task, "en", data_dir)) for task in map(load_task, TRAINED)]
        for task in map(load_task, TESTED):
            inputs += [inputs_of(task, each) for each in load_languages(task, "test", None, data_dir)[0].values()]
    texts = folder.with_name("texts.txt")
    texts.write_text("\n".join(" ".join(" ".join(each).split()) for part in inputs for each in part), encoding="utf-8")
    sizes = "--vocab_size 60000 --max_steps 1 --num_hidden_layers 1 --hidden_size 8 --num_attention_heads 1".split()
    run_quietly(ROOT / "demo" / "make_encoder.py", "--text_files", texts, *sizes, "--output_dir", folder)
    return folder


def run_quietly(*command):
    """Run a script of ours. Raises UserError with what it said where it fails."""
    done = subprocess.run([sys.executable, *map(str, command)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"{Path(command[0]).name} failed: {(done.stderr or done.stdout).strip()[-500:]}")
