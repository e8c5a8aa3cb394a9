"""A run killed in the middle and started again ends with the weights of an uninterrupted one, bit for bit."""

import os
import re
from dataclasses import dataclass

import pytest
from faults import STEPS, training
from transformers import TrainingArguments

from xstilts.base import UserError, read_json, write_json
from xstilts.identity import NOT_IDENTITY, defaults_of, is_default, plain
from xstilts.results import Run
from xstilts.step_checkpoints import checkpoints

MIXTURE = "--task squad+hellaswag+udpos --mixing uniform --doc_stride 8 --mlm_ratio 0.3 --mlm_text_files".split()


@pytest.fixture(scope="module")
def train(server, encoder, world):
    """See `faults.training`."""
    return training(server, encoder, world)


@pytest.fixture(scope="module")
def uninterrupted(train, tmp_path_factory):
    """Folder of a run that nothing happened to."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    train(folder)
    return folder


@pytest.mark.parametrize("step", [4, 12, STEPS])
def test_a_killed_run_ends_as_if_nothing_had_happened(train, uninterrupted, tmp_path, step):
    """Step 4 lies within the first epoch, step 12 in the second; after the last one there is nothing left to train (A4)."""
    train(tmp_path, kill_after=step)
    reached = checkpoints(str(tmp_path))[-1]
    printed = train(tmp_path)
    assert ("nothing left to train" if step == STEPS else f"going on from {reached}") in printed
    assert (tmp_path / "model.safetensors").read_bytes() == (uninterrupted / "model.safetensors").read_bytes()
    assert "has no checkpoint yet" not in printed
    ours, theirs = read_json(tmp_path / "run.json"), read_json(uninterrupted / "run.json")
    for name in ("dev_scores", "steps", "selected_step", "loss_curve"):
        assert ours[name] == theirs[name], name


def test_a_run_without_a_checkpoint_says_that_it_begins_again(train, uninterrupted, tmp_path):
    tmp_path.mkdir(exist_ok=True)
    (tmp_path / "started.json").write_bytes((uninterrupted / "started.json").read_bytes())
    assert f"{tmp_path} was begun and has no checkpoint yet: training starts from the beginning" in train(tmp_path)


def test_a_killed_run_of_several_tasks_ends_as_if_nothing_had_happened(train, world, tmp_path):
    """The sequence of tasks, the rows of each and their masks go on in the middle of an epoch; so does the code length."""
    text = [*MIXTURE, f"{world}/text/qna.txt", f"{world}/text/qfc.txt"]
    train(tmp_path / "whole", text)
    train(tmp_path / "killed", text, kill_after=8)
    train(tmp_path / "killed", text)
    files = [*(tmp_path / "whole" / "heads").iterdir(), tmp_path / "whole" / "model.safetensors"]
    assert len(files) == 5
    for path in files:
        assert path.read_bytes() == (tmp_path / "killed" / path.relative_to(tmp_path / "whole")).read_bytes(), path.name
    ours, theirs = read_json(tmp_path / "killed" / "run.json"), read_json(tmp_path / "whole" / "run.json")
    for name in ("dev_scores", "steps", "selected_step", "loss_curve", "mixture", "complexity"):
        assert ours[name] == theirs[name], name


def check_goes_on(train, step, folder, extra):
    """A run that is killed after a step and started again in folder/killed ends with the weights of folder/whole."""
    train(folder / "whole", extra)
    if not (folder / "killed").exists():
        train(folder / "killed", extra, kill_after=step)
    train(folder / "killed", extra)
    files = [(folder / name / "model.safetensors").read_bytes() for name in ("whole", "killed")]
    assert files[0] == files[1]


def test_rows_sorted_by_length_go_on_in_their_order(train, tmp_path):
    """In the middle of the second epoch, with micro-batches of as many rows as their lengths allow."""
    extra = "--train_sampling_strategy group_by_length --max_tokens_per_batch 96".split()
    check_goes_on(train, 12, tmp_path, extra)


def test_a_run_may_go_on_in_smaller_micro_batches(train, tmp_path):
    """As after one that ran out of memory: steps and their rows are the same."""
    train(tmp_path, kill_after=4)
    assert "going on from" in train(tmp_path, ["--max_tokens_per_batch", "64"])
    found = read_json(tmp_path / "run.json")
    assert found["steps"] == STEPS
    assert found["arguments"]["per_device_train_batch_size"] == 8


def test_a_run_goes_on_where_its_folder_was_moved_to(train, uninterrupted, tmp_path):
    """Its best weights are looked for there too."""
    train(tmp_path / "here", kill_after=20)
    os.rename(tmp_path / "here", tmp_path / "there")
    assert "going on from" in train(tmp_path / "there")
    files = [folder / "model.safetensors" for folder in (tmp_path / "there", uninterrupted)]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_early_stopping_counts_on_where_it_stood(train, tmp_path):
    """A learning rate of 0 never gets better: the run stops after the second evaluation without improvement, at step 12."""
    extra = "--learning_rate 0 --early_stopping_patience 2 --save_total_limit 9".split()
    train(tmp_path, extra, kill_after=8)
    train(tmp_path, extra)
    assert read_json(tmp_path / "run.json")["steps"] == 12


@pytest.mark.parametrize("extra", [[], ["--max_tokens_per_batch", "64"]], ids=["the same", "in other micro-batches"])
def test_a_finished_run_changes_nothing(train, uninterrupted, extra):
    before = {path: path.read_bytes() for path in uninterrupted.rglob("*") if path.is_file()}
    assert "nothing to do" in train(uninterrupted, extra)
    assert {path: path.read_bytes() for path in uninterrupted.rglob("*") if path.is_file()} == before
    assert not any(name.startswith("checkpoint-") for name in os.listdir(uninterrupted))


def test_a_run_that_keeps_its_last_step_keeps_it_after_a_kill(train, tmp_path):
    """Killed after its last checkpoint, where an earlier one was better: `--load_best_model_at_end false` wants the last."""
    extra = "--load_best_model_at_end false --learning_rate 1e-2".split()
    train(tmp_path / "killed", extra, kill_after=STEPS)
    state = read_json(tmp_path / "killed" / f"checkpoint-{STEPS}" / "trainer_state.json")
    assert state["best_global_step"] < STEPS
    check_goes_on(train, STEPS, tmp_path, extra)


# ---- runs of other versions -----------------------------------------------------------------------------------------


@dataclass
class Ours:
    rank: int = 3
    overwrite_output_dir: bool = False


@dataclass
class Trainers:
    rate: float = 1e-5
    fresh: bool = True


def taken_up(tmp_path, there, here):
    """Whether a run of the arguments `here` takes the directory for its own that one of `there` has finished in."""
    write_json(tmp_path / "run.json", {"identity": {"phase": "target", "arguments": there}})
    run = Run.__new__(Run)
    run.output_dir, run.args, run.training_args = tmp_path, Ours(), Trainers()
    run.identity = {"phase": "target", "arguments": here}
    return run._record("run.json", {"identity": dict}) is not None


def test_a_run_of_a_version_with_fewer_or_more_options_is_the_same(tmp_path):
    assert taken_up(tmp_path, {"rate": 2e-5}, {"rate": 2e-5, "fresh": True, "rank": 3})
    assert taken_up(tmp_path, {"rate": 2e-5, "gone": None, "off": False}, {"rate": 2e-5, "fresh": True})
    for there, here, message in (
        ({"rate": 2e-5}, {"rate": 2e-5, "fresh": False}, "arguments.fresh: null -> false"),
        ({"rate": 2e-5, "rank": 4}, {"rate": 2e-5}, "arguments.rank: 4 -> null"),
        ({"rate": 2e-5, "gone": "linear"}, {"rate": 2e-5}, 'arguments.gone: "linear" -> null'),
        ({"rate": 5e-5}, {"rate": 1e-5}, "arguments.rate: 5e-05 -> 1e-05"),  # the default of then, that of now
    ):
        with pytest.raises(UserError, match=re.escape(message)):
            taken_up(tmp_path, there, here)


def test_all_that_a_trainer_is_told_has_a_known_default():
    """So that a field that a later version adds is one that old runs had at its default."""
    known = defaults_of(TrainingArguments)
    odd = {
        name
        for name, value in plain(TrainingArguments(output_dir="x", use_cpu=True).to_dict()).items()
        if name not in known or not is_default(name, value, known)
    }
    assert {name for name in odd if not NOT_IDENTITY.fullmatch(name)} == set()
