"""What leaves the machine and comes back: finished checkpoints on the hub, their lineage, and logs. The hub is a stub."""

import json
import os
import shlex
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from huggingface_hub.errors import LocalEntryNotFoundError, RemoteEntryNotFoundError
from huggingface_hub.utils import filter_repo_objects, validate_repo_id
from transformers import TrainingArguments

import run_intermediate
import run_retrieval
import run_zeroshot_eval
from xstilts import hub
from xstilts.base import UserError, read_json, write_json
from xstilts.checkpoint import load_encoder
from xstilts.hub import LEFT, OUTDATED, local_copy, push_command
from xstilts.identity import NOT_IDENTITY
from xstilts.report import read_runs
from xstilts.runs import parse_args
from xstilts.runs.command_line import as_one_word
from xstilts.tracking import LOGS, name_of

TRAIN = "--task hellaswag --max_train_samples 16 --max_eval_samples 8 --num_train_epochs 1 --max_seq_length 64 --use_cpu".split()


@pytest.fixture(autouse=True)
def fresh():
    """Nothing is remembered of the hub."""
    local_copy.cache_clear()


@pytest.fixture
def api(monkeypatch):
    """The hub: `calls` it got, with the files that would be there then; `error` is what it answers with."""

    class Api:
        calls, error = [], None

        def create_repo(self, repo, **options):
            """The repository with a namespace."""
            self.calls.append(("create", repo, options.get("private")))
            if self.error and self.error[0] == "create":
                raise self.error[1]
            return SimpleNamespace(repo_id=f"me/{repo}")

        def upload_folder(self, *, repo_id, folder_path, ignore_patterns, **options):
            """Files as huggingface_hub would choose them."""
            if self.error and self.error[0] == "upload":
                raise self.error[1]
            paths = [
                path.relative_to(folder_path).as_posix() for path in Path(folder_path).rglob("*") if path.is_file()
            ]
            self.calls.append(
                ("upload", repo_id, sorted(filter_repo_objects(paths, ignore_patterns=ignore_patterns)), options)
            )
            return SimpleNamespace(done=lambda: True)

        def upload_file(self, *, repo_id, path_or_fileobj, path_in_repo, **options):
            """One file, whose content is kept."""
            self.calls.append(("file", repo_id, path_in_repo, read_json(path_or_fileobj)))

    Api.calls = []
    monkeypatch.setattr(hub, "HfApi", Api)
    monkeypatch.setattr("transformers.trainer.hf_api", Api)
    return Api


def train(encoder, few_rows, output_dir, *more):
    """One short training."""
    places = ["--model_name_or_path", encoder, "--data_dir", few_rows, "--output_dir", str(output_dir)]
    run_intermediate.main([*TRAIN, *places, *more])


PUSH = ("--push_to_hub", "--hub_strategy", "end", "--hub_private_repo", "true")


def test_a_finished_checkpoint_goes_to_the_hub(encoder, few_rows, tmp_path, api, capsys):
    place = tmp_path / "runs" / "intermediate" / "hellaswag" / "seed42"
    train(encoder, few_rows, place, *PUSH)
    first, second, (_, repo, files, options), (*_, name, shared) = api.calls
    assert first == second == ("create", "intermediate-hellaswag-seed42", True)
    assert repo == "me/intermediate-hellaswag-seed42"
    assert (name, shared["phase"]) == ("run.json", "intermediate")
    expected = {"README.md", "config.json", "model.safetensors", "tokenizer.json", "training_rows.npz"}
    assert expected <= set(files)
    assert not [
        name for name in files if name.startswith(("_", ".", "checkpoint-")) or name in ("started.json", "optimizer.pt")
    ]
    assert options["delete_patterns"] == [*OUTDATED]
    assert f"{place} is on the hub: {repo}" in capsys.readouterr().out


def test_pushes_during_the_training_end_with_the_finished_checkpoint(encoder, few_rows, tmp_path, api):
    train(encoder, few_rows, tmp_path / "run", "--push_to_hub", "--num_train_epochs", "2")
    *during, (_, repo, last, options) = [call for call in api.calls if call[0] == "upload"]
    assert len(during) == 2
    for _, there, files, _ in during:
        assert there == repo
        assert "model.safetensors" in files
        assert "run.json" not in files
        assert not [name for name in files if "optimizer" in name or name.startswith(("_", "checkpoint-"))]
    assert "README.md" in last
    assert api.calls[-1][2] == "run.json", "last, as here"
    assert "training_args.bin" in options["delete_patterns"]


def test_pushes_during_a_training_of_adapters_leave_the_merged_model_alone(encoder, few_rows, tmp_path, api):
    train(encoder, few_rows, tmp_path / "run", "--push_to_hub", "--peft", "lora")
    during, last = [call for call in api.calls if call[0] == "upload"]
    assert "adapter_config.json" in during[2]
    assert not [name for name in last[2] if name.startswith("adapter_")]
    assert "adapter_*" in last[3]["delete_patterns"]
    assert load_encoder(tmp_path / "run").config.num_hidden_layers == 2


def test_optimizer_states_claims_and_logs_stay_here():
    paths = [
        "_running.json",
        "_logs/events",
        "checkpoint-3/optimizer.pt",
        ".run.json.partial",
        "training_args.bin",
        "log.txt",
        "lock",
        "heads/a",
    ]
    assert list(filter_repo_objects(paths, ignore_patterns=[*LEFT])) == ["heads/a"]


def test_a_shared_run_json_says_nothing_of_the_machine_it_is_from(encoder, few_rows, tmp_path, api):
    place = tmp_path / "of somebody" / "run"
    train(encoder, few_rows, place, *PUSH)
    shared, here = api.calls[-1][3], read_json(place / "run.json")
    text = json.dumps(shared)
    for local in (str(tmp_path), str(few_rows), str(Path(encoder).parent), os.getcwd(), str(Path.home())):
        assert local not in text
        assert local in json.dumps(here) or local == str(Path.home())
    same = {name for name in here if shared[name] == here[name]}
    assert {"lineage", "seed", "dev_scores", "files", "identity", "versions", "data"} <= same
    assert shared["arguments"]["data_dir"] == Path(few_rows).name
    assert shared["arguments"]["num_train_epochs"] == here["arguments"]["num_train_epochs"]
    (tmp_path / "theirs").mkdir()
    write_json(tmp_path / "theirs" / "run.json", shared)
    assert read_runs([tmp_path / "theirs"]), "a report reads it"


def test_a_push_that_fails_loses_no_run(encoder, few_rows, tmp_path, api, capsys):
    api.error = ("upload", error := ConnectionError("no way\nto the hub"))
    with pytest.raises(UserError) as told:
        train(encoder, few_rows, tmp_path / "run", *PUSH, "--hub_model_id", "mine")
    assert read_json(tmp_path / "run" / "run.json")["phase"] == "intermediate"
    assert not list((tmp_path / "run").glob("_*"))
    assert "\n" not in str(told.value)
    reason, command = str(told.value).split("to push it later: ")
    assert f"{tmp_path / 'run'} is finished, and --push_to_hub failed ({str(error).splitlines()[0]})" in reason
    assert shlex.split(command)[:5] == ["hf", "upload", "me/mine", str(tmp_path / "run"), "."]
    train(encoder, few_rows, tmp_path / "run", *PUSH, "--hub_model_id", "mine")
    assert "nothing to do" in capsys.readouterr().out


@pytest.mark.parametrize("error", [ValueError("401"), RuntimeError("full"), KeyError("x"), Exception("no")])
def test_whatever_the_way_to_the_hub_raises_is_one_line(tmp_path, api, error):
    api.error = ("create", error)
    told = SimpleNamespace(hub_model_id="a/b", hub_private_repo=None, hub_revision=None)
    with pytest.raises(UserError, match="to push it later: hf upload a/b "):
        hub.push(tmp_path, {}, told, "x")


def test_the_command_pushes_the_same_files():
    words, record = map(shlex.split, push_command("runs/my run", "me/it", True).split(" && "))
    assert record == ["hf", "upload", "me/it", "runs/my run/.shared_run.json", "run.json", "--private"]
    assert words[:6] == ["hf", "upload", "me/it", "runs/my run", ".", "--private"]
    assert shlex.split(push_command("run", "me/it", revision="v2"))[5:7] == ["--revision", "v2"]
    assert words[6:] == [word for pattern in LEFT for word in ("--exclude", pattern)]


def test_no_repository_is_said_before_the_training(encoder, few_rows, tmp_path, api):
    api.error = ("create", OSError("no token"))
    with pytest.raises(
        UserError, match=r"no repository run can be made on the hub \(no token\); log in with `hf auth login`"
    ):
        train(encoder, few_rows, tmp_path / "run", *PUSH)
    assert not (tmp_path / "run" / "model.safetensors").exists()


def test_evaluations_are_not_pushed(encoder, few_rows, tmp_path, api):
    line = (
        f"--task tatoeba --model_name_or_path {encoder} --data_dir {few_rows} --output_dir {tmp_path / 'x'} --use_cpu"
    )
    with pytest.raises(UserError, match="--push_to_hub is for checkpoints"):
        run_retrieval.main([*line.split(), "--languages", "de", "--max_eval_samples", "5", "--push_to_hub"])
    assert api.calls == []


# ---- a checkpoint that comes from the hub ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shared(encoder, few_rows, tmp_path_factory):
    """What lies on the hub as me/model, all but what is not pushed."""
    place = tmp_path_factory.mktemp("shared") / "me--model"
    train(encoder, few_rows, place, "--seed", "7")
    (place / "started.json").unlink()
    return place


@pytest.fixture
def repository(monkeypatch, shared, tmp_path):
    """The hub has me/model; its copy here."""
    place = Path(shutil.copytree(shared, tmp_path / "cache" / "snapshot"))
    asked = []

    def download(repo, name):
        asked.append((repo, name))
        if repo != "me/model":
            raise RemoteEntryNotFoundError("404", response=SimpleNamespace(headers={}, request=None, status_code=404))
        return str(place / name)

    monkeypatch.setattr(hub, "hf_hub_download", download)
    monkeypatch.setattr(hub, "get_hf_file_metadata", lambda url: None)
    monkeypatch.setattr(hub, "snapshot_download", lambda repo, **options: str(place))
    return SimpleNamespace(place=place, asked=asked)


def test_a_shared_checkpoint_keeps_its_lineage(repository, few_rows, tmp_path, capsys):
    line = f"--task tatoeba --model_name_or_path me/model --data_dir {few_rows} --output_dir {tmp_path / 'found'} --use_cpu"
    run_retrieval.main([*line.split(), "--languages", "de", "--max_eval_samples", "8"])
    run = read_json(tmp_path / "found" / "run.json")
    assert [record.get("task") for record in run["lineage"]] == [None, "hellaswag"]
    assert run["seed"] == 7, "one seed serves the whole chain"
    assert run["lineage_text"].endswith("> hellaswag")
    assert run["scores"]["de"]["seen_in_training"] is not None, "the hashes of its training rows came along"
    assert run["command"][run["command"].index("--model_name_or_path") + 1] == "me/model"
    assert f"me/model: its run.json says how it was trained; it lies in {repository.place}" in capsys.readouterr().out
    assert repository.asked == [("me/model", "run.json")], "asked once"


@pytest.mark.parametrize(
    "given", ["--model-name-or-path me/model", "--config {config}", "--model_name_or_path me/model"]
)
def test_a_shared_checkpoint_is_found_however_it_is_named_and_with_the_token(repository, tmp_path, monkeypatch, given):
    (tmp_path / "own.yaml").write_text("defaults: {model_name_or_path: me/model}\n", "utf-8")
    monkeypatch.setenv("HF_TOKEN", "")
    download, tokens = hub.hf_hub_download, []
    monkeypatch.setattr(hub, "hf_hub_download", lambda *of: tokens.append(os.environ["HF_TOKEN"]) or download(*of))
    line = f"--task tatoeba {given.format(config=tmp_path / 'own.yaml')} --hub_token secret --use_cpu"
    args, training_args = parse_args((run_retrieval.RetrievalArguments, TrainingArguments), "retrieval", line.split())
    assert args.model_name_or_path == str(repository.place)
    assert training_args.seed == 7
    assert tokens == ["secret"]


def test_a_shared_checkpoint_that_was_changed_starts_nothing(repository, few_rows, tmp_path):
    (repository.place / "config.json").write_text((repository.place / "config.json").read_text() + "\n")
    line = f"--task tatoeba --model_name_or_path me/model --data_dir {few_rows} --output_dir {tmp_path / 'found'} --use_cpu"
    with pytest.raises(UserError, match=r"config\.json has"):
        run_retrieval.main(line.split())


def test_a_shared_run_json_names_no_other_folder(repository, tmp_path):
    content = read_json(repository.place / "run.json")
    content["lineage"][0]["base_model"] = "../../evil"
    write_json(repository.place / "run.json", content)
    with pytest.raises(UserError, match="it leads to another folder"):
        run_zeroshot_eval.main(
            ["--task", "xnli", "--model_name_or_path", "me/model", "--output_dir", str(tmp_path / "x")]
        )


def test_models_without_run_json_stay_what_they_are(repository, tmp_path, monkeypatch, capsys):
    assert local_copy("FacebookAI/xlm-roberta-base") == "FacebookAI/xlm-roberta-base"
    assert local_copy(str(tmp_path)) == str(tmp_path)
    assert local_copy(None) is None
    assert repository.asked == [("FacebookAI/xlm-roberta-base", "run.json")]
    assert capsys.readouterr().out == ""
    monkeypatch.setattr(hub, "try_to_load_from_cache", lambda repo, name: object())
    assert local_copy("a/known") == "a/known"
    assert len(repository.asked) == 1, "the hub has said that there is none"


@pytest.mark.parametrize(
    "path", ["xlm-roberta-large", "runs/a/b", "/gone/x", "a b/c", "./x", "../x", "{there}/x", "a/b/"]
)
def test_a_path_with_a_typo_is_named_without_asking_the_hub(path, tmp_path, monkeypatch):
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(hub, "get_hf_file_metadata", lambda url: pytest.fail("the hub was asked"))
    with pytest.raises(UserError, match="no such directory"):
        local_copy(path.format(there="there"))


def test_a_hub_out_of_reach_is_asked_once(monkeypatch):
    asked = []

    def unreachable(url):
        asked.append(url)
        raise OSError("[Errno -2] Name or service not known\nand more")

    monkeypatch.setattr(hub, "get_hf_file_metadata", unreachable)
    monkeypatch.setattr(hub, "hf_hub_download", lambda *of: pytest.fail("asked again"))
    with pytest.raises(
        UserError, match=r"no such directory, and the hub cannot be reached \(\[Errno -2\] Name or service not"
    ):
        local_copy("FacebookAI/xlm-roberta-bas")
    assert len(asked) == 1


def test_offline_it_is_said_that_nobody_knows(monkeypatch, capsys):
    def offline(repo, name):
        raise LocalEntryNotFoundError("offline")

    monkeypatch.setattr(hub, "try_to_load_from_cache", lambda repo, name: "/cache" if name == "config.json" else None)
    monkeypatch.setattr(hub, "hf_hub_download", offline)
    assert local_copy("me/model") == "me/model"
    assert local_copy("me/model") == "me/model"
    assert capsys.readouterr().out.count("the hub cannot be asked whether it has a run.json") == 1


def test_half_of_a_shared_checkpoint_is_none(repository, monkeypatch):
    def broken(repo, **options):
        raise LocalEntryNotFoundError("half\nof it")

    monkeypatch.setattr(hub, "snapshot_download", broken)
    with pytest.raises(UserError, match=r"me/model has a run\.json, and the rest of it cannot be had \(half\)$"):
        local_copy("me/model")


# ---- logs -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("--report_to wandb tensorboard --seed 1", "--report_to wandb,tensorboard --seed 1"),
        ("--seed 1 --report-to wandb,tensorboard trackio", "--seed 1 --report-to wandb,tensorboard,trackio"),
        ("--report_to=wandb,tensorboard --x", "--report_to=wandb,tensorboard --x"),
        ("--report_to --x y z", "--report_to --x y z"),
        ("--languages a b", "--languages a b"),
    ],
)
def test_several_names_are_one_word(given, read):
    assert as_one_word(given.split()) == read.split()


@pytest.mark.parametrize(
    ("output_dir", "name"),
    [
        ("runs/target/hellaswag--freeze-6/xnli/seed1", "target-hellaswag-freeze-6-xnli-seed1"),
        ("/a/runs/x/runs/intermediate/mnli+squad/seed1/", "intermediate-mnli-squad-seed1"),
        ("mine", "mine"),
        ("/a/ä..b--c-.d/", "b-c-d"),
        ("/a/é", "x-stilts"),
    ],
)
def test_a_run_is_called_after_its_directory(output_dir, name):
    assert name_of(output_dir) == name
    validate_repo_id(f"me/{name}")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("nobody", r"--report_to nobody is not one of none, all, .*tensorboard, trackio, wandb"),
        ("tensorboard,nobody", "--report_to nobody is not one of"),
        ("comet_ml", "--report_to comet_ml needs a package that is not installed: pip install comet-ml"),
    ],
)
def test_unknown_trackers_are_one_line_before_data_are_read(names, message, encoder, tmp_path, monkeypatch):
    monkeypatch.setattr("transformers.integrations.get_available_reporting_integrations", lambda: ["tensorboard"])
    with pytest.raises(UserError, match=message):
        train(encoder, str(tmp_path / "nowhere"), tmp_path / "run", "--report_to", *names.split())


TRACKIO = """
from types import SimpleNamespace
seen = []
config = {}
class Config(dict):
    def update(self, values, allow_val_change=False): super().update(values)
config = Config()
context_vars = SimpleNamespace(current_space_id=SimpleNamespace(get=lambda: None))
def init(**options): seen.append(options)
def log(values): seen.append(values)
def finish(): seen.append("finish")
"""
WANDB = """
from types import SimpleNamespace
seen, run = [], None
class Config(dict):
    def update(self, values, allow_val_change=False): super().update(values)
config = Config()
def init(**options):
    global run
    seen.append(options)
    run = SimpleNamespace(_label=lambda **options: None, id="1", name="n", summary={})
def log(values, **options): seen.append(values)
"""


def test_trackers_get_the_scores_and_the_name_of_the_run(encoder, few_rows, tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(tmp_path / "stubs")
    (tmp_path / "stubs" / "wandb" / "sdk" / "lib").mkdir(parents=True)
    (tmp_path / "stubs" / "trackio.py").write_text(TRACKIO)
    (tmp_path / "stubs" / "wandb" / "__init__.py").write_text(WANDB)
    for folder in ("sdk", "sdk/lib"):
        (tmp_path / "stubs" / "wandb" / folder / "__init__.py").write_text("")
    (tmp_path / "stubs" / "wandb" / "sdk" / "lib" / "config_util.py").write_text("class ConfigError(Exception): pass\n")
    try:
        place = tmp_path / "runs" / "intermediate" / "hellaswag" / "seed1"
        train(encoder, few_rows, place, "--report_to", "wandb", "trackio")
        for name in ("wandb", "trackio"):
            first, *logs = sys.modules[name].seen
            assert first["name"] == "intermediate-hellaswag-seed1"
            assert any("eval/accuracy" in values for values in logs)
    finally:
        for name in [name for name in sys.modules if name.split(".")[0] in ("wandb", "trackio")]:
            del sys.modules[name]
    out = capsys.readouterr().out
    assert "--report_to wandb keeps its files outside of --output_dir: in ./wandb, or $WANDB_DIR" in out
    assert "--report_to trackio keeps its files outside" in out


def test_tensorboard_writes_below_the_run_and_is_not_pushed(encoder, few_rows, tmp_path, monkeypatch, api):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TENSORBOARD_LOGGING_DIR", raising=False)
    train(encoder, few_rows, tmp_path / "run", "--report_to", "tensorboard", *PUSH)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    events = EventAccumulator(str(tmp_path / "run" / LOGS))
    events.Reload()
    assert {"eval/accuracy", "eval/loss", "train/train_loss"} <= set(events.Tags()["scalars"])
    assert not [name for name in api.calls[-1][2] if name.startswith(LOGS)]
    train(encoder, few_rows, tmp_path / "run")  # who it is reported to does not make it another run
    train(encoder, few_rows, tmp_path / "run", "--overwrite_output_dir")
    assert not (tmp_path / "run" / LOGS).exists()


def test_what_is_shared_is_no_part_of_what_a_run_is():
    for (
        name
    ) in "report_to run_name project trackio_space_id push_to_hub hub_model_id hub_private_repo hub_strategy".split():
        assert NOT_IDENTITY.fullmatch(name), name
