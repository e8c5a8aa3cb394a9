"""Files of others are read and nothing in them is run: no pickle, no program, no path out of a folder, no secret in a file."""

import csv
import json
import os
import pickle
import re
import shutil
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT, write_multinli
from safetensors.torch import load_file

import run_report
import run_target
import run_zeroshot_eval
from tasks import load_task
from xstilts import loading
from xstilts.base import UserError, read_json, run_script, write_json
from xstilts.checkpoint import load_encoder, load_tokenizer
from xstilts.languages import load_languages
from xstilts.lineage import default_output_dir, lineage_of
from xstilts.names import check_name
from xstilts.overview import _ratios
from xstilts.results import masked_values
from xstilts.runs.command_line import without_secrets
from xstilts.sealed import contents
from xstilts.sources import load_raw
from xstilts.step_checkpoints import last_checkpoint
from xstilts.training import StiltsTrainer
from xstilts.transfer import base_model_of

LABELS = ("entailment", "neutral", "contradiction")
TINY = "--task mnli --max_steps 2 --per_device_train_batch_size 4 --use_cpu --seed 1 --report_to none".split()


class Touch:
    """An object whose pickle makes a file when it is loaded."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


@pytest.fixture
def marker(tmp_path):
    """A file that is only there if something ran what it must not."""
    path = tmp_path / "somebody was here"
    yield path
    assert not path.exists()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder with MNLI's two files, a few rows each."""
    folder = tmp_path_factory.mktemp("data")
    rows = [(f"a man {i}", f"no man {i}", LABELS[i % 3]) for i in range(12)]
    for name in ("train", "dev_matched"):
        write_multinli(folder / "mnli" / f"multinli_1.0_{name}.jsonl", rows)
    return folder


@pytest.fixture
def model(encoder, tmp_path):
    """A copy of the tiny encoder, to plant things in."""
    return Path(shutil.copytree(encoder, tmp_path / "model"))


@pytest.fixture
def silent(monkeypatch):
    """Nobody is asked anything on the terminal."""
    asked = []
    monkeypatch.setattr("builtins.input", lambda question="": asked.append(question) or "n")
    yield
    assert asked == []


def train(model, data, folder, *more):
    """run_target.py for two steps."""
    places = ["--model_name_or_path", str(model), "--data_dir", str(data), "--output_dir", str(folder)]
    run_target.main([*TINY, *places, *more])


def one_line(error):
    """The message of an error, which is one line."""
    assert "\n" not in str(error.value)
    return str(error.value)


def plant(folder, marker, *names):
    """Pickles that make the marker when they are loaded, in both of torch's formats."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        content = {"weights": torch.zeros(2), "more": Touch(marker)}
        if number % 2:
            (folder / name).write_bytes(pickle.dumps(content, protocol=2))
        else:
            torch.save(content, folder / name)


# ---- pickles --------------------------------------------------------------------------------------------------------


def test_the_trap_is_one(tmp_path):
    """Who loads what is planted here, runs it."""
    plant(tmp_path / "trap", tmp_path / "marker", "a.bin")
    torch.load(tmp_path / "trap" / "a.bin", weights_only=False)
    assert (tmp_path / "marker").exists()


@pytest.mark.parametrize("name", [("pytorch_model.bin",), ("other.bin", "pytorch_model.bin")], ids=["zip", "plain"])
def test_weights_that_are_a_program_are_not_loaded(model, data, marker, tmp_path, name):
    (model / "model.safetensors").unlink()
    plant(model, marker, *name)
    with pytest.raises(UserError, match="a pickle of more than tensors, which is not loaded") as error:
        train(model, data, tmp_path / "run")
    assert str(model) in one_line(error)
    assert not (tmp_path / "run").exists()


def test_weights_in_a_pickle_of_tensors_alone_are_read(model):
    weights = load_file(model / "model.safetensors")
    (model / "model.safetensors").unlink()
    torch.save(weights, model / "pytorch_model.bin")
    loaded = load_encoder(str(model)).embeddings.word_embeddings.weight
    assert torch.equal(loaded, weights["roberta.embeddings.word_embeddings.weight"])


STATES = ("optimizer.pt", "scheduler.pt", "rng_state.pth", "scaler.pt", "training_args.bin")
OTHERS = ("adapter_model.bin", "pytorch_model.bin", "vocab.pkl", "tokenizer.pkl", "special_tokens.pt", "state.npy")


def test_what_lies_beside_a_model_and_its_data_is_not_loaded(model, data, marker, tmp_path):
    """Also not as the state of a run: that is looked for in --output_dir alone."""
    plant(model, marker, *STATES, *OTHERS)
    (model / "trainer_state.json").write_text('{"global_step": 1}')
    plant(model / "checkpoint-1", marker, *STATES, *OTHERS)
    (model / "checkpoint-1" / "trainer_state.json").write_text('{"global_step": 1}')
    own = Path(shutil.copytree(data, tmp_path / "data"))
    for folder in (own, own / "mnli"):
        plant(folder, marker, "cache.pkl", "state.json", "dataset_info.json", "mnli.npy")
    train(model, own, tmp_path / "run")
    assert read_json(tmp_path / "run" / "run.json")["steps"] == 2


def test_data_that_are_a_pickle_are_one_line(model, data, marker, tmp_path):
    own = Path(shutil.copytree(data, tmp_path / "data"))
    plant(own / "mnli", marker, "other", "multinli_1.0_train.jsonl")
    with pytest.raises(UserError, match=r"multinli_1.0_train.jsonl") as error:
        train(model, own, tmp_path / "run")
    one_line(error)


def test_adapters_are_refused(model, data, marker, tmp_path):
    """transformers would load them into the model, and follow the name of another one."""
    plant(model, marker, "adapter_model.bin")
    (model / "adapter_config.json").write_text('{"peft_type": "LORA", "base_model_name_or_path": "evil/model"}')
    with pytest.raises(UserError, match="holds adapters") as error:
        train(model, data, tmp_path / "run")
    one_line(error)


def test_arrays_of_objects_are_not_loaded(marker, tmp_path):
    objects = np.array([Touch(marker)], dtype=object)
    np.savez(tmp_path / "ratios.npz", en=objects)
    with pytest.raises(UserError, match=r"ratios.npz holds no arrays of numbers"):
        _ratios(tmp_path / "ratios.npz")
    plant(tmp_path, marker, "zip", "plain.npz")
    with pytest.raises(UserError, match=r"plain.npz holds no arrays of numbers"):
        _ratios(tmp_path / "plain.npz")


@pytest.fixture
def interrupted(model, data, tmp_path, monkeypatch):
    """Folder of a run that was interrupted after its first checkpoint."""

    def save_and_stop(self, *arguments, **options):
        save(self, *arguments, **options)
        raise KeyboardInterrupt

    save = StiltsTrainer._save_checkpoint
    monkeypatch.setattr(StiltsTrainer, "_save_checkpoint", save_and_stop)
    with pytest.raises(KeyboardInterrupt):
        train(model, data, tmp_path / "run", *STEPWISE)
    monkeypatch.setattr(StiltsTrainer, "_save_checkpoint", save)
    assert last_checkpoint(str(tmp_path / "run")).endswith("checkpoint-1")
    return tmp_path / "run"


STEPWISE = "--save_strategy steps --save_steps 1 --eval_strategy steps --eval_steps 1".split()


def test_states_of_a_run_that_are_a_program_are_not_loaded(interrupted, model, data, marker):
    plant(interrupted / "checkpoint-1", marker, *STATES)
    sealed(interrupted / "checkpoint-1")
    with pytest.raises(UserError, match="holds something else than states of the Trainer") as error:
        train(model, data, interrupted, *STEPWISE)
    assert "checkpoint-1" in one_line(error)
    assert not (interrupted / "run.json").exists()


def test_the_best_checkpoint_is_one_of_the_run_s_own(interrupted, model, data, tmp_path):
    """Whatever the state of the Trainer says of it."""
    state = interrupted / "checkpoint-1" / "trainer_state.json"
    content = json.loads(state.read_text())
    state.write_text(json.dumps({**content, "best_model_checkpoint": str(model)}))
    sealed(state.parent)
    for folder in (interrupted, tmp_path / "whole"):
        train(model, data, folder, *STEPWISE)
    weights = [(folder / "model.safetensors").read_bytes() for folder in (interrupted, tmp_path / "whole")]
    assert weights[0] == weights[1]


def sealed(folder):
    """A checkpoint whose list of files is made to fit them, as somebody may who plants something."""
    about = read_json(folder / "contents.json")
    (folder / "contents.json").unlink()
    write_json(folder / "contents.json", {**about, "files": contents(folder)})


# ---- programs that come with a model --------------------------------------------------------------------------------

PROGRAM = """
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from itertools import product
from pathlib import Path
from transformers import XLMRobertaConfig, XLMRobertaForSequenceClassification, XLMRobertaModel
Path({marker!r}).touch()
class OddConfig(XLMRobertaConfig):
    model_type = "odd"
class OddModel(XLMRobertaModel):
    config_class = OddConfig
class OddForSequenceClassification(XLMRobertaForSequenceClassification):
    config_class = OddConfig
"""
CLASSES = {"AutoConfig": "OddConfig", "AutoModel": "OddModel"}
CLASSES |= {"AutoModelForSequenceClassification": "OddForSequenceClassification"}


@pytest.fixture
def odd(model, tmp_path, monkeypatch):
    """(folder of a model that comes with a program, the file that the program makes)."""
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.syspath_prepend(str(tmp_path / "modules"))
    config = json.loads((model / "config.json").read_text())
    named = {auto: f"modeling_odd.{name}" for auto, name in CLASSES.items()}
    (model / "config.json").write_text(json.dumps({**config, "model_type": "odd", "auto_map": named}))
    (model / "modeling_odd.py").write_text(PROGRAM.format(marker=str(tmp_path / "ran")))
    return model, tmp_path / "ran"


def test_a_model_s_own_program_is_not_run(odd, data, tmp_path, silent):
    folder, ran = odd
    with pytest.raises(UserError, match="needs a program that comes with it, which is not run") as error:
        train(folder, data, tmp_path / "run")
    assert str(folder) in one_line(error)
    with pytest.raises(UserError, match="which is not run"):
        load_encoder(str(folder))
    assert not ran.exists()
    assert not (tmp_path / "modules").exists()


def test_it_is_run_where_the_user_says_so_and_only_there(odd, data, tmp_path, silent, capsys):
    """Through training and evaluation, each of which has to be told; never for what a model is compared with."""
    folder, ran = odd
    train(folder, data, tmp_path / "run", "--trust_remote_code")
    assert ran.exists()
    assert capsys.readouterr().out.startswith(
        f"warning: --trust_remote_code: the program that comes with {folder} is run"
    )
    assert read_json(tmp_path / "run" / "run.json")["arguments"]["trust_remote_code"] is True
    line = ["--task", "mnli", "--model_name_or_path", str(tmp_path / "run"), "--data_dir", str(data), "--use_cpu"]
    line += ["--output_dir", str(tmp_path / "eval"), "--split", "validation"]
    with pytest.raises(UserError, match="which is not run"):
        run_zeroshot_eval.main(line)
    run_zeroshot_eval.main([*line, "--trust_remote_code"])
    assert "accuracy" in read_json(tmp_path / "eval" / "run.json")["scores"]["en"]
    loading.trust("another", True)
    with pytest.raises(UserError, match="which is not run"):
        load_encoder(str(tmp_path / "run"))


def test_of_a_family_that_is_known_the_program_is_left_alone(model, marker, silent):
    """Its configuration and tokenizer name one too; transformers has its own, which is taken."""
    config = json.loads((model / "config.json").read_text())
    named = {auto: f"modeling_odd.{name}" for auto, name in CLASSES.items()}
    (model / "config.json").write_text(json.dumps({**config, "auto_map": named}))
    settings = json.loads((model / "tokenizer_config.json").read_text())
    settings["auto_map"] = {"AutoTokenizer": ["modeling_odd.OddTokenizer", "modeling_odd.OddTokenizer"]}
    (model / "tokenizer_config.json").write_text(json.dumps(settings))
    (model / "modeling_odd.py").write_text(PROGRAM.format(marker=str(marker)))
    assert type(load_encoder(str(model))).__module__.startswith("transformers.models.")
    assert type(load_tokenizer(str(model))).__module__.startswith("transformers.")


@pytest.mark.parametrize("name", ["attn_implementation", "_attn_implementation"])
def test_kernels_from_the_hub_are_not_fetched(model, name, silent):
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, name: "evil/kernel"}))
    try:
        assert load_encoder(str(model)).config._attn_implementation in ("sdpa", "eager")
    except UserError as error:
        assert "\n" not in str(error)  # noqa: PT017 (either is right)


def test_a_base_model_that_only_a_run_json_names_is_read_from_safetensors(model, data, tmp_path, capsys):
    train(model, data, tmp_path / "run")
    lineage = lineage_of(str(tmp_path / "run"))
    loading.trust("", False)
    assert base_model_of(str(tmp_path / "run"), lineage) == str(model)
    assert f"the base model is {model}, as the run.json of {tmp_path / 'run'} says" in capsys.readouterr().out
    weights = load_file(model / "model.safetensors")
    (model / "model.safetensors").unlink()
    torch.save(weights, model / "pytorch_model.bin")
    with pytest.raises(UserError, match=r"which only a run.json names, has no weights in safetensors") as error:
        load_encoder(str(model))
    one_line(error)


@pytest.mark.parametrize("arguments", [None, {}, {"model_name_or_path": None}, {"model_name_or_path": 5}])
def test_a_run_json_that_leads_nowhere_is_one_line(arguments, tmp_path):
    lineage = [{"base_model": "base", "fingerprint": "0"}]
    write_json(tmp_path / "run.json", {"seed": 1, "lineage": lineage, "arguments": arguments})
    with pytest.raises(
        UserError,
        match=r"has no record of what it was trained from; say where|'arguments.model_name_or_path' is 5, not text",
    ):
        base_model_of(str(tmp_path), lineage)


# ---- names that become paths ----------------------------------------------------------------------------------------

BAD_NAMES = [
    "../../x",
    "/etc/cron.d/x",
    "a/b",
    "a\\b",
    "a\0b",
    "a\nb",
    "..",
    " ",
    "",
    "x" * 5000,
    "\u202egnp.exe",
    7,
    ["x"],
]


@pytest.mark.parametrize("name", BAD_NAMES, ids=lambda name: repr(name)[:20])
@pytest.mark.parametrize("key", ["task", "base_model", "benchmark", "factors", "tasks"])
def test_a_stranger_s_run_json_names_no_directory(name, key, tmp_path):
    record = {key: [name] if key in ("factors", "tasks") else name}
    write_json(
        tmp_path / "run.json",
        {"seed": 1, "lineage": [{"base_model": "base", "fingerprint": "0"}, {"task": "mnli", **record}]},
    )
    with pytest.raises(
        UserError, match=r"cannot be the name of a file|is not the run\.json of a run \('?lineage"
    ) as error:
        lineage_of(str(tmp_path))
    assert one_line(error).startswith(f"{tmp_path}/run.json")
    assert len(str(error.value)) < 300 + len(str(tmp_path))


def test_names_that_people_give_are_fine():
    for name in (
        "xlm-roberta-large",
        "mnli+squad",
        "my model (2)",
        "модель",
        "$(touch x)",
        "T2",
        ".hidden",
        "it's",
        "-x",
    ):
        assert check_name(name, "here") == name


def test_options_make_no_path_either():
    with pytest.raises(
        UserError, match=r"a default for --output_dir cannot be made, give one: .* leads to another folder"
    ):
        default_output_dir("target", [{"base_model": "base"}], "xnli", 1, ["../../x"])
    with pytest.raises(UserError, match="more than 200"):
        default_output_dir("target", [{"base_model": "base"}], "xnli", 1, ["x" * 99, "y" * 99])


def test_a_language_is_no_path(tmp_path):
    """Neither of a file's name nor of what somebody asks for."""
    for name in ("de", "a\\b", "x" * 220):
        (tmp_path / "xnli").mkdir(exist_ok=True)
        (tmp_path / "xnli" / f"test-{name}.tsv").write_text("a\tb\tneutral\n")
        if name != "de":
            with pytest.raises(UserError, match="cannot be the name of a file"):
                load_languages(load_task("xnli"), "test", data_dir=str(tmp_path))
            (tmp_path / "xnli" / f"test-{name}.tsv").unlink()
    assert list(load_languages(load_task("xnli"), "test", data_dir=str(tmp_path))[0]) == ["de"]
    with pytest.raises(UserError, match=r"a language that .* cannot be the name of a file: it leads to another folder"):
        load_raw(load_task("tydiqa").source, "test", "../../x", str(ROOT))


# ---- secrets --------------------------------------------------------------------------------------------------------

TOKEN = "hf_" + "Secret0123" * 3


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("run_target.py --hub_token abc --seed 1", "run_target.py --hub_token *** --seed 1"),
        ("--hub_token=abc --hub_token a b --bf16 c", "--hub_token=*** --hub_token *** *** --bf16 c"),
        ("HF_TOKEN=abc WANDB_API_KEY=x y --api-key z", "HF_TOKEN=*** WANDB_API_KEY=*** y --api-key ***"),
        ("--max_tokens_per_batch 512 --average_tokens_across_devices true", None),
        (f"--model_name_or_path x/{TOKEN}/y", "--model_name_or_path x/***/y"),
        ("https://me:pw@host/x http://tok@h:80 ssh://git@host/x", "https://***@host/x http://***@h:80 ssh://***@host/x"),
        ("https://host/x?token=abc&b=1#c", "https://host/x?token=***&b=1#c"),
        ("hf_my_long_folder_of_checkpoints/sk-pl-uk-ru-de-fr-it data/key=1/x a@b.c https://host/a@b", None),
        ("sk-" + "a1" * 20 + " ghp_" + "a" * 36 + " glpat-" + "x" * 20, "*** *** ***"),
        ("--hub_token", None),
    ],
)  # fmt: skip
def test_a_command_line_without_its_secrets(line, expected):
    assert " ".join(without_secrets(line.split())) == (expected or line)


def test_arguments_without_their_secrets():
    given = {
        "hub_token": "abc",
        "n": [TOKEN, 1],
        "fsdp": {"api_key": "x", "max_tokens": 5},
        "push_token": None,
        3: ("a", 2.5),
    }
    assert masked_values(given) == {
        "hub_token": "***", "n": ["***", 1], "fsdp": {"api_key": "***", "max_tokens": 5}, "push_token": None, 3: ["a", 2.5]
    }  # fmt: skip


def test_a_token_is_written_nowhere(model, data, tmp_path, monkeypatch, capfd):
    """Not into run.json, not into a checkpoint (the Trainer pickles its arguments there), not on the screen."""
    monkeypatch.setattr("xstilts.results.remove_all", str)  # checkpoints stay
    for name in ("HF_TOKEN", "WANDB_API_KEY"):
        monkeypatch.setenv(name, f"{TOKEN}{name}")
    train(model, data, tmp_path / "run", "--hub_token", TOKEN, *STEPWISE)
    assert os.environ["HF_TOKEN"] == TOKEN
    files = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert {"run.json", "started.json", "training_args.bin", "trainer_state.json"} <= {path.name for path in files}
    assert not [path for path in files if TOKEN.encode() in path.read_bytes()]
    assert TOKEN not in "".join(capfd.readouterr())


@pytest.mark.parametrize(
    "line",
    [
        "--seed {}", "--hub_tokn={}", "--task {}", "--learning_rate {}", "--no_such_option {}", "--config {}", "--recipe {}",
        "--model_name_or_path https://me:{}@huggingface.co/x/y", "--model_name_or_path x/{}", "--hub_token {} --seed x",
    ],
)  # fmt: skip
def test_no_message_repeats_a_token(line, capsys):
    words = line.format(TOKEN).split()
    words = words if "--task" in words else ["--task", "xnli", *words]
    with pytest.raises(UserError) as error:
        run_target.main(words)
    assert TOKEN not in one_line(error) + capsys.readouterr().out


@pytest.mark.parametrize("debug", [[], ["--debug"]])
def test_nor_does_a_traceback(debug, capsys, monkeypatch):
    def main():
        try:
            raise ValueError(f"a library says {TOKEN}")
        except ValueError as error:
            raise UserError("we do not") from error

    monkeypatch.setattr("sys.argv", ["run_target.py", "--seed", "1", *debug])
    with pytest.raises(SystemExit) as left:
        run_script(main)
    told = capsys.readouterr().err
    assert (left.value.code, "Traceback" in told, TOKEN in told) == (1 if debug else 2, bool(debug), False)


def test_the_shell_lines_of_studies_quote_everything():
    lines = re.findall(r'"(python .*)"', (ROOT / "studies" / "Snakefile").read_text("utf-8"))
    assert len(lines) == 5
    assert all(field.endswith(":q") for line in lines for field in re.findall(r"\{(.*?)\}", line))


# ---- what a report makes of names -----------------------------------------------------------------------------------

HARMLESS = ("teacher", "target", "base", "lang", "tongue", "metric", "factor", "remark.")
EVIL = (
    "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "javascript:alert(1)", "]]>{{7*7}}{% include 'x' %}",
    "| f | # e", "a_b*c*", "$\\frac{$ \\input{/etc/passwd} ^^M%",
    "![x](javascript:a) ](//evil/p.png) &#60;b>",
)  # fmt: skip


def made_up(names):
    """run.json of two targets without and with intermediate training, in three seeds, which `names` stand in."""
    teacher, target, base, language, other, metric, factor, warning = names
    runs, model = {}, {"base_model": base, "fingerprint": "0123456789abcdef"}
    for seed, taught in product((1, 2, 3), (False, True)):
        record = {
            "phase": "intermediate",
            "task": teacher,
            "seed": seed,
            "factors": [factor],
            "languages": ["en", other],
        }
        before = [{**record, "fingerprint": f"taught{seed}"}] if taught else []
        records = [{"phase": "target", "task": target, "seed": seed, "factors": [], "languages": ["en"]}]
        records[0]["fingerprint"] = f"trained{taught}{seed}"
        scores = {code: 60.0 - 5 * place + seed * (1 + taught) for place, code in enumerate(("en", language, other))}
        runs[f"{taught}{seed}"] = {
            "format": 1, "phase": "eval", "task": target, "lineage": [model, *before, *records], "seed": seed, "split": "test",
            "metric": metric, "source_language": "en", "missing_languages": {}, "warnings": [warning], "factors": [factor],
            "scores": {code: {metric: value, "examples": 100} for code, value in scores.items()},
            "averages": {"all": 50.0, "zero_shot": 48.0}, "zero_shot_languages": [language, other],
            "data": [{"language": code, "split": "test", "fingerprint": code} for code in scores],
        }  # fmt: skip
    return runs


def reported(names, folder):
    """The folder of a report on such runs."""
    for path, run in made_up(names).items():
        write_json(folder / "runs" / path / "run.json", run)
    run_report.main([str(folder / "runs"), "--output_dir", str(folder / "report")])
    return folder / "report"


class Elements(HTMLParser):
    """What a page is made of: tags with the names of their attributes, and the values of these."""

    def __init__(self, text):
        super().__init__()
        self.found, self.values, self.text = set(), [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.add((tag, tuple(name for name, _ in attributes)))
        self.values += attributes

    def handle_comment(self, data):
        raise AssertionError(f"a comment: {data}")

    def unknown_decl(self, data):
        raise AssertionError(f"a declaration: {data}")

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture(scope="module")
def harmless(tmp_path_factory):
    """The elements of a report on names that mean no harm."""
    folder = reported(HARMLESS, tmp_path_factory.mktemp("harmless"))
    return Elements((folder / "report.html").read_text("utf-8"))


@pytest.mark.parametrize("shift", [0, 3, 6])
def test_a_report_holds_names_as_text(shift, harmless, tmp_path):
    folder = reported(EVIL[shift:] + EVIL[:shift], tmp_path)
    page = Elements((folder / "report.html").read_text("utf-8"))
    assert page.found == harmless.found
    names = {str(path.relative_to(folder)) for path in folder.rglob("*")}
    for name, value in page.values:
        assert not name.startswith("on")
        if name in ("href", "src", "xlink:href"):
            assert value[:1] == "#" or value.startswith("data:image/png;base64,") or value in names
    assert any("<script>alert(1)</script>" in text for text in page.text)
    assert any("{{7*7}}" in text for text in page.text)
    check_markdown((folder / "report.md").read_text("utf-8"))
    for path in folder.rglob("*.tex"):
        text = path.read_text("utf-8").replace("$-$", "-").replace(" & ", " ")
        assert not re.search(r"\\(input|frac)|\^|(?<!\\)([$&#]|%(?! Written))", text)
    for path in folder.glob("*.svg"):
        elements = [*ElementTree.parse(path).iter()]
        assert {element.tag.split("}")[1] for element in elements}.isdisjoint({"script", "a", "foreignObject"})
        assert not [name for element in elements for name in element.attrib if name.startswith("on")]


@pytest.mark.parametrize("shift", range(2))
def test_a_report_stays_in_its_folder(shift, tmp_path):
    names = ["../../x", "/etc/x", "x" * 5000, "..", "scores", "a/b", "a\\b", "x.."]
    folder = reported(names[3 * shift :] + names[: 3 * shift], tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"runs", "report"}
    assert (folder / "report.html").exists()
    with open(folder / "scores.csv", encoding="utf-8", newline="") as file:
        assert {"score", "gain", "path"} <= set(next(csv.reader(file)))


def check_markdown(text):
    """No element, link, heading or table of a page comes from names."""
    assert not re.search(r"<(?=[a-z/!])", text, flags=re.IGNORECASE)
    links = re.findall(r"(?<!\\)\[(?:[^\]\\]|\\.)*\]\(([^)]*)\)", text)
    assert all(re.fullmatch(r"[\w-]+\.(svg|csv)|latex/[\w-]+\.tex", link) for link in links), links
