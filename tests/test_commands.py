"""Commands from run.json: what is kept of a command line, and that the same commands give the same bits again."""

import shutil

import pytest

import prepare_data
import run_report
import score_predictions
from run_intermediate import ARGUMENTS
from run_retrieval import RetrievalArguments
from studies.study import read_study
from xstilts.base import UserError, read_json
from xstilts.results import WRITTEN
from xstilts.runs import command_of, parse_args
from xstilts.sealed import contents

TRAIN = """--max_train_samples 24 --max_eval_samples 12 --num_train_epochs 1 --per_device_train_batch_size 4 --max_seq_length 80
    --use_cpu"""

USE = "--languages qna --use_cpu"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("--task xnli", "--task xnli --seed 3 --output_dir runs/x"),
        ("--task xnli --seed 3 --output_dir=runs/x", "--task xnli --seed 3 --output_dir=runs/x"),
        ("--overwrite_output_dir --task xnli --seed=3", "--task xnli --seed=3 --output_dir runs/x"),
        ("--task xnli --seed 3 --overwrite_output_dir true", "--task xnli --seed 3 --output_dir runs/x"),
        ("--overwrite_output_dir=true --seed 3", "--seed 3 --output_dir runs/x"),
        ("--hub_token hf_abc --seed 3", "--hub_token *** --seed 3 --output_dir runs/x"),
    ],
)
def test_a_command_is_complete_and_deletes_and_betrays_nothing(given, kept):
    assert command_of(given.split(), 3, "runs/x") == kept.split()


def test_the_commands_of_run_json_give_the_same_bits_again(server, encoder, world):
    """An intermediate run of several tasks, a target run that takes over its seed, an evaluation and a retrieval; without the
    caches of the first time."""
    runs, common = server.folder / "commands", ["--data_dir", world]
    first, second = runs / "first", runs / "second"
    mixed = f"--task hellaswag+mnli --model_name_or_path {encoder} --output_dir {first} --seed 11 --mlm_ratio 0.5"
    lines = [
        ("run_intermediate", f"{mixed} --mlm_text_files {world}/text/qna.txt {TRAIN}"),
        ("run_target", f"--task udpos --model_name_or_path {first} --output_dir {second} {TRAIN}"),
        ("run_zeroshot_eval", f"--task udpos --model_name_or_path {second} --output_dir {runs}/eval {USE}"),
        ("run_retrieval", f"--task tatoeba --model_name_or_path {first} --output_dir {runs}/tatoeba {USE}"),
    ]
    for script, line in lines:
        code, printed = server.run(script, [*line.split(), *common], cache="commands-first")
        assert code == 0, printed
    before = all_of(runs)
    commands = [read_json(runs / name / "run.json")["command"] for name in ("first", "second", "eval", "tatoeba")]
    shutil.rmtree(runs)
    for (script, _), command in zip(lines, commands, strict=True):
        code, printed = server.run(script, command, cache="commands-again")
        assert code == 0, printed
    assert commands[1][commands[1].index("--seed") + 1] == "11"
    assert all_of(runs) == before


def all_of(runs):
    """Everything below a folder that must not depend on when it was made."""
    found = {}
    for path in sorted(runs.rglob("run.json")):
        name = path.parent.name
        found[name] = contents(path.parent, WRITTEN), {**read_json(path), "wall_time_s": None}
        assert found[name][0]
    return found


def test_the_home_folder_is_meant_wherever_a_path_may_stand(tmp_path, monkeypatch):
    """A shell writes `~` out in `--option ~/x` alone; configs, `--option=~/x` and words in quotes arrive as they are."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine.yaml").write_text("defaults: {data_dir: ~/data, mlm_text_files: [~/a, /b], run_name: a~b}")
    (tmp_path / "model").mkdir()
    line = "--task mnli --config=~/mine.yaml --output_dir=~/out --model_name_or_path ~/model".split()
    args, training_args = parse_args(ARGUMENTS, "intermediate", line)
    assert (args.data_dir, args.mlm_text_files) == (f"{tmp_path}/data", [f"{tmp_path}/a", "/b"])
    assert (training_args.output_dir, args.model_name_or_path) == (f"{tmp_path}/out", f"{tmp_path}/model")
    assert training_args.run_name == "a~b"
    line = ["--task", "tatoeba", "--query_prefix", "~", "--document-prefix=~/", "--data_dir=~"]
    args, _ = parse_args((RetrievalArguments, ARGUMENTS[1]), "retrieval", line)
    assert (args.query_prefix, args.document_prefix, args.data_dir) == ("~", "~/", str(tmp_path))


def test_scripts_without_a_config_know_the_home_folder_too(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (args,) = parse_args(run_report.ReportArguments, argv=["--output_dir=~/report", "--mixed_data", "~/runs"])
    assert (args.runs, args.output_dir) == ([tmp_path / "runs"], tmp_path / "report")
    for main, line in (
        (score_predictions.main, ["--predictions=~/none", "--labels", "~"]),
        (prepare_data.main, ["--output_dir=~/none", "--check"]),
    ):
        with pytest.raises(UserError, match=f"{tmp_path}/none"):
            main(line)
    study = "{model_name_or_path: ~/m, data_dir: ~/d, runs_dir: ~/r, report_dir: ~/p, seeds: [1], intermediate: [none]}"
    (tmp_path / "study.yaml").write_text(study)
    study = read_study(tmp_path / "study.yaml")
    found = [study.model_name_or_path, study.data_dir, study.runs_dir, study.report_dir]
    assert found == [f"{tmp_path}/{name}" for name in "mdrp"]


IMPOSSIBLE = """seed=4294967296 seed=-1 data_seed=4294967296 num_train_epochs=0 num_train_epochs=-1 num_train_epochs=nan
    num_train_epochs=inf max_steps=0 max_steps=-2 learning_rate=-1e-5 learning_rate=nan weight_decay=nan max_grad_norm=nan
    warmup_steps=nan warmup_steps=1.5 warmup_steps=-1 adam_beta1=1 adam_epsilon=-1 per_device_train_batch_size=0
    per_device_eval_batch_size=0 gradient_accumulation_steps=0 early_stopping_patience=0 max_tokens_per_batch=0 lora_r=0
    mlm_ratio=nan doc_stride=-1 logging_steps=-1 eval_steps=nan dataloader_num_workers=-1 label_smoothing_factor=0.1""".split()


@pytest.mark.parametrize("option", IMPOSSIBLE)
def test_a_value_that_cannot_be_is_one_clear_line(option):
    name = option.split("=")[0]
    with pytest.raises(UserError, match=rf"--{name} \S+ (must be|is not offered)|{name} = -1.0, Expected") as error:
        parse_args(ARGUMENTS, "intermediate", ["--task=mnli", "--use_cpu", f"--{option}"])
    assert "\n" not in str(error.value)


def test_the_last_values_that_can_be():
    line = "--task mnli --use_cpu --seed 4294967295 --num_train_epochs 0.5 --learning_rate 0 --warmup_steps 20 --max_steps 1"
    _, training_args = parse_args(ARGUMENTS, "intermediate", line.split())
    assert (training_args.seed, training_args.warmup_steps) == (4294967295, 20)
