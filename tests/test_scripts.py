"""The scripts, chained through directories on the generated world, as a user chains them."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pandas
import pytest
from conftest import ROOT, save_tiny_encoder
from datasets import Dataset

import run_intermediate
import run_report
import run_retrieval
import run_target
import run_zeroshot_eval
from tasks import load_task
from xstilts.base import UserError
from xstilts.lineage import default_output_dir, parts_read
from xstilts.runs import parse_args
from xstilts.runs.command_line import _check_trainer

SMALL = "--max_train_samples 24 --max_eval_samples 12 --num_train_epochs 1 --max_seq_length 96 --doc_stride 16".split()
SMALL += ["--use_cpu", "--seed", "5"]
LANGUAGES = ("en", "qna", "qfd")


@pytest.fixture(scope="module")
def chain(encoder, world, tmp_path_factory):
    """Folder with every phase's run: no intermediate task and HellaSwag, three targets, retrieval, report."""
    runs = tmp_path_factory.mktemp("runs")
    data = ["--data_dir", world, *SMALL]
    intermediate = str(runs / "hellaswag")
    run_intermediate.main(["--task", "hellaswag", "--model_name_or_path", encoder, "--output_dir", intermediate, *data])
    for parent, path in (("none", encoder), ("hellaswag", intermediate)):
        for task in ("xnli", "udpos", "xquad"):
            target = str(runs / parent / task)
            run_target.main(["--task", task, "--model_name_or_path", path, "--output_dir", target, *data])
            run_zeroshot_eval.main(eval_arguments(world, task, target, runs / parent / f"{task}-eval"))
        run_retrieval.main(retrieval_arguments(world, path, runs / parent / "tatoeba"))
    run_report.main([str(runs), "--output_dir", str(runs / "report")])
    return runs


def eval_arguments(world, task, checkpoint, output_dir):
    """A command line of run_zeroshot_eval.py in three languages."""
    options = f"--task {task} --model_name_or_path {checkpoint} --output_dir {output_dir} --data_dir {world} --use_cpu"
    return [
        *options.split(),
        "--max_eval_samples",
        "12",
        *"--max_seq_length 96 --doc_stride 16".split(),
        "--languages",
        ",".join(LANGUAGES),
    ]


def retrieval_arguments(world, encoder, output_dir):
    """A command line of run_retrieval.py in two languages."""
    options = f"--task tatoeba --model_name_or_path {encoder} --output_dir {output_dir} --data_dir {world} --use_cpu"
    return [*options.split(), *"--max_eval_samples 20 --languages qna,qfd".split()]


def read_run(folder):
    """Content of a run.json."""
    return json.loads((folder / "run.json").read_text("utf-8"))


def test_the_lineage_grows_from_phase_to_phase(chain):
    run = read_run(chain / "hellaswag" / "xquad-eval")
    assert [record.get("task") for record in run["lineage"]] == [None, "hellaswag", "xquad"]
    assert run["lineage"][2]["trained_on"] == "squad"
    assert run["lineage"][2]["fingerprint"] != run["lineage"][1]["fingerprint"]
    assert run["lineage_text"].endswith("> hellaswag > xquad")


def test_run_json_holds_what_was_promised(chain):
    run = read_run(chain / "hellaswag" / "xnli")
    promised = (
        "phase task lineage seed data arguments wall_time_s versions git_commit hardware dev_scores steps loss_curve"
    )
    assert set(promised.split()) <= run.keys()
    assert run["seed"] == 5
    train, dev = run["data"]
    assert (train["rows"], train["published_rows"], train["files"]) == (24, 392_702, ["mnli/multinli_1.0_train.jsonl"])
    assert dev["files"] == ["xnli/dev-en.tsv"]
    assert len(train["fingerprint"]) == 16


@pytest.mark.parametrize("task", ["xnli", "udpos", "xquad"])
def test_every_language_has_scores_confounds_and_predictions(chain, task):
    run = read_run(chain / "hellaswag" / f"{task}-eval")
    assert list(run["scores"]) == list(LANGUAGES)
    assert run["zero_shot_languages"] == ["qna", "qfd"]
    metric = load_task(task).metric.headline
    for scores in run["scores"].values():
        assert 0 <= scores[metric] <= 100
        assert scores["examples"] == 12
        assert scores["subwords_per_word"] > 1
        assert {"unknown_share", "too_long_share"} <= scores.keys()
    mean = sum(scores[metric] for scores in run["scores"].values()) / 3
    assert run["averages"]["all"] == pytest.approx(mean)
    suffix = "json" if task == "xquad" else "tsv"
    files = sorted(path.name for path in (chain / "hellaswag" / f"{task}-eval" / "predictions" / task).iterdir())
    assert files == sorted(f"test-{language}.{suffix}" for language in LANGUAGES)


def test_prediction_files_give_the_scores_again(chain, world):
    folder = chain / "none" / "xnli-eval"
    gold = [
        line.split("\t")[2].strip() for line in Path(world, "xnli", "test-qna.tsv").read_text("utf-8").splitlines()[:12]
    ]
    found = (folder / "predictions" / "xnli" / "test-qna.tsv").read_text("utf-8").splitlines()
    accuracy = 100 * sum(a == b for a, b in zip(gold, found, strict=True)) / 12
    assert read_run(folder)["scores"]["qna"]["accuracy"] == pytest.approx(accuracy)


def test_the_report_has_every_cell_and_the_gain(chain):
    with open(chain / "report" / "overview.csv", encoding="utf-8") as file:
        rows = {(row["intermediate"], row["target"]): row for row in csv.DictReader(file)}
    targets = {"xnli", "udpos", "xquad", "tatoeba (layer 1)"}
    assert rows.keys() == {(i, t) for i in ("none", "hellaswag") for t in targets}
    for target in targets:
        gain = float(rows["hellaswag", target]["score"]) - float(rows["none", target]["score"])
        assert float(rows["hellaswag", target]["gain"]) == pytest.approx(gain)
    text = (chain / "report" / "report.md").read_text("utf-8")
    assert "One seed" in text
    assert "| qfd |" in text


def test_a_finished_run_is_left_alone(chain, world, capsys):
    folder = chain / "none" / "xnli-eval"
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    run_zeroshot_eval.main(eval_arguments(world, "xnli", chain / "none" / "xnli", folder))
    assert "nothing to do" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()} == before


def test_an_output_dir_of_another_run_is_refused_with_what_differs(chain, encoder, world):
    before = (chain / "hellaswag" / "run.json").read_bytes()
    common = ["--model_name_or_path", encoder, "--output_dir", str(chain / "hellaswag"), "--data_dir", world, *SMALL]
    with pytest.raises(UserError, match=r"arguments.learning_rate: 1e-05 -> 0.1"):
        run_intermediate.main(["--task", "hellaswag", "--learning_rate", "0.1", *common])
    with pytest.raises(UserError, match=r"task: \"hellaswag\" -> \"mnli\""):
        run_intermediate.main(["--task", "mnli", *common])
    assert (chain / "hellaswag" / "run.json").read_bytes() == before


def test_overwrite_deletes_a_run_but_nothing_else(encoder, world, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    common = ["--model_name_or_path", encoder, "--data_dir", world, *SMALL, "--overwrite_output_dir"]
    with pytest.raises(UserError, match="holds no run"):
        run_intermediate.main(["--task", "mnli", "--output_dir", str(tmp_path), *common])
    assert (tmp_path / "thesis.tex").exists()


def test_overwriting_leaves_the_job_its_log_and_lock(encoder, world, tmp_path):
    """studies/job.py writes the one and holds the other, in the run's own directory; here before the first run too."""
    small = ["--model_name_or_path", encoder, "--data_dir", world, *SMALL, "--output_dir", str(tmp_path)]
    with open(tmp_path / "lock", "w") as lock, open(tmp_path / "log.txt", "a") as log:
        for line in ("first", "second"):
            print(line, file=log, flush=True)
            run_intermediate.main(["--task", "mnli", *small, "--overwrite_output_dir"])
        assert (tmp_path / "log.txt").read_text() == "first\nsecond\n"
        assert os.path.samestat(os.fstat(lock.fileno()), (tmp_path / "lock").stat())


@pytest.mark.parametrize(
    "line", ["--help", "--lerning_rate 1", "--learning_rate high", "--recipe no", "--eval_strategy never"]
)
def test_a_wrong_command_line_fetches_no_checkpoint(line, monkeypatch):
    monkeypatch.setattr("xstilts.hub.local_copy", lambda path: pytest.fail(f"{path} was fetched"))
    with pytest.raises((UserError, SystemExit)):
        run_target.main(["--task", "xnli", "--model_name_or_path", "me/model", *line.split()])


@pytest.mark.parametrize(
    ("main", "line", "message"),
    [
        (run_intermediate.main, "--task mnli+nonsense", "'nonsense' is not one of"),
        (run_target.main, "--task nonsense", "--task nonsense is not one of"),
        (run_target.main, "--task tatoeba", "it runs with run_retrieval.py"),
        (run_target.main, "--task xnli --benchmark glue", "glue"),
        (run_zeroshot_eval.main, "--task nonsense", "--task nonsense is not one of"),
        (run_zeroshot_eval.main, "--task copa --benchmark xtreme", "xtreme has no task 'copa'"),
        (run_retrieval.main, "--task nonsense", "--task nonsense is not one of"),
        (run_retrieval.main, "--task xnli", "it runs with run_intermediate.py or run_target.py"),
    ],
)
def test_a_wrong_task_fetches_no_checkpoint(main, line, message, monkeypatch):
    monkeypatch.setattr("xstilts.hub.local_copy", lambda path: pytest.fail(f"{path} was fetched"))
    with pytest.raises(UserError, match=message):
        main([*line.split(), "--model_name_or_path", "me/model"])


TARGET, EVAL, RETRIEVAL = run_target.main, run_zeroshot_eval.main, run_retrieval.main
BAD = [
    (TARGET, "--task nonsense", "hellaswag, lareqa, mewslix"),
    (TARGET, "--task tatoeba", "run_retrieval.py"),
    (RETRIEVAL, "--task xnli --model_name_or_path {encoder}", "run_target.py"),
    (TARGET, "--task xnli --lerning_rate 1", "did you mean --learning_rate"),
    (TARGET, "--task xnli --learning_rate high", "invalid float value: 'high'"),
    (TARGET, "--task xnli --recipe secret", "--recipe secret is not one of jiant"),
    (TARGET, "--task xnli --config nowhere.yaml", "nowhere.yaml cannot be read"),
    (
        TARGET,
        "--task xnli --train_sampling_strategy batch_rebalance --model_name_or_path {encoder}",
        "batch_rebalance is not offered",
    ),
    (TARGET, "--task xnli --dataloader_drop_last true --model_name_or_path {encoder}", "drop_last True is not offered"),
    (TARGET, "--task xnli --resume_from_checkpoint x --model_name_or_path {encoder}", "same command resumes the run"),
    (TARGET, "--task xnli --model_name_or_path {nowords} --data_dir {world}", "holds no tokenizer"),
    (
        TARGET,
        "--task xnli --model_name_or_path {torn} --data_dir {world} --use_cpu {small}",
        "neither a directory with a whole",
    ),
    (
        TARGET,
        "--task mnli --model_name_or_path {encoder} --data_dir {world} --max_seq_length 4 --use_cpu {small}",
        "no room",
    ),
    (TARGET, "--task mnli --model_name_or_path {encoder} --config {misspelt}", "section 'default' is not"),
    (
        TARGET,
        "--task mnli --model_name_or_path {encoder} --config {unknown}",
        "unknown key 'lerning_rate'; did you mean --learning_rate",
    ),
    (TARGET, "--task xnli --model_name_or_path {empty} --data_dir {world}", "holds no model"),
    (
        TARGET,
        "--task xnli --model_name_or_path FacebookAI/none --data_dir {world}",
        "there is no such directory, and the hub cannot be reached",
    ),
    (TARGET, "--task xnli --model_name_or_path {empty}/no/where --data_dir {world}", "no such directory"),
    (TARGET, "--task xnli --model_name_or_path {encoder} --data_dir {empty}/nowhere", "is not a folder"),
    (TARGET, "--task xnli --model_name_or_path {encoder}", "--data_dir DIR with the official file"),
    (TARGET, "--task xnli --model_name_or_path {encoder} --data_dir {empty}", "mnli/multinli_1.0_train.jsonl"),
    (TARGET, "--task mnli --model_name_or_path {encoder} --data_dir {emptied}", "is empty"),
    (
        TARGET,
        "--task mnli --model_name_or_path {encoder} --data_dir {world} --max_seq_length 600 --use_cpu {small}",
        "512 pos",
    ),
    (
        TARGET,
        "--task mnli --model_name_or_path {encoder} --data_dir {world} --peft prefix --use_cpu {small}",
        "--peft prefix is not one of lora",
    ),
    (EVAL, "--task xnli --model_name_or_path {xnli} --data_dir {world} --languages en,xx", "no 'xx'; it has en, qfa"),
    (EVAL, "--task xnli --model_name_or_path {xnli} --data_dir {world} --languages sw", "test-sw.tsv"),
    (EVAL, "--task xnli --model_name_or_path {xnli} --data_dir {empty}", "xnli/test-en.tsv"),
    (
        EVAL,
        "--task xnli --model_name_or_path {xnli} --data_dir {world} --split dev",
        "no dev split; give --split train or validation or test",
    ),
    (EVAL, "--task xquad --model_name_or_path {xnli} --data_dir {world}", "was fine-tuned on xnli"),
    (EVAL, "--task xnli --model_name_or_path {encoder} --data_dir {world} --use_cpu", "needs XLMRobertaForSequence"),
    (
        RETRIEVAL,
        "--task tatoeba --model_name_or_path {encoder} --data_dir {world} --layers 3 --use_cpu",
        r"\[0\] to \[2\]",
    ),
]


@pytest.mark.parametrize(("main", "line", "message"), BAD, ids=[line for _, line, _ in BAD])
def test_bad_input_is_one_clear_line(chain, encoder, world, tmp_path, main, line, message):
    emptied = tmp_path / "emptied" / "mnli"
    emptied.mkdir(parents=True)
    for name in ("train", "dev_matched"):
        (emptied / f"multinli_1.0_{name}.jsonl").touch()
    (tmp_path / "empty").mkdir()
    for name in ("nowords", "torn"):
        shutil.copytree(encoder, tmp_path / name)
    for path in (tmp_path / "nowords").glob("tokenizer*"):
        path.unlink()
    weights = tmp_path / "torn" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    (tmp_path / "misspelt").write_text("default:\n  seed: 1\n")
    (tmp_path / "unknown").write_text("mnli:\n  lerning_rate: 1\n")
    names = {"encoder": encoder, "world": world, "empty": tmp_path / "empty", "emptied": tmp_path / "emptied"}
    names |= {name: tmp_path / name for name in ("nowords", "torn", "misspelt", "unknown")}
    names |= {"small": "--max_train_samples 4 --max_eval_samples 2", "xnli": chain / "none" / "xnli"}
    output_dir = tmp_path / "run"
    with pytest.raises(UserError, match=message) as error:
        main([*line.format(**names).split(), "--output_dir", str(output_dir)])
    assert "\n" not in str(error.value)
    assert not output_dir.exists()  # so that the mended command may use it


def test_an_unfinished_run_is_not_read_by_the_next_phase(chain, tmp_path):
    shutil.copytree(chain / "hellaswag", tmp_path / "copy", ignore=lambda folder, names: ["run.json"])
    with pytest.raises(UserError, match="not finished"):
        run_target.main(["--task", "xnli", "--model_name_or_path", str(tmp_path / "copy")])


def test_a_checkpoint_inside_a_run_is_not_a_base_model(chain, tmp_path):
    shutil.copytree(chain / "hellaswag", tmp_path / "run")
    shutil.copytree(
        chain / "hellaswag",
        tmp_path / "run" / "checkpoint-1",
        ignore=lambda folder, names: ["run.json", "started.json"],
    )
    with pytest.raises(UserError, match="finished; give that directory"):
        run_target.main(["--task", "xnli", "--model_name_or_path", str(tmp_path / "run" / "checkpoint-1")])


def test_a_run_is_not_written_over_the_model_it_starts_from(encoder, world, tmp_path):
    shutil.copytree(encoder, tmp_path / "encoder")
    common = ["--model_name_or_path", str(tmp_path / "encoder"), "--data_dir", world, *SMALL]
    for folder in (tmp_path, tmp_path / "encoder"):
        with pytest.raises(UserError, match="holds the model that the run starts from"):
            run_intermediate.main(["--task", "mnli", "--output_dir", str(folder), *common])


def test_one_seed_serves_a_chain(chain):
    """Without --seed a phase takes that of the checkpoint it starts from."""
    assert read_run(chain / "hellaswag" / "tatoeba")["seed"] == 5  # given to the intermediate run only


def test_the_precision_of_the_launcher_is_part_of_a_run(chain, encoder, world, monkeypatch):
    """`accelerate config` sets it in the environment, not among the arguments."""
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    common = ["--model_name_or_path", encoder, "--output_dir", str(chain / "hellaswag"), "--data_dir", world, *SMALL]
    with pytest.raises(UserError, match='mixed_precision: "no" -> "bf16"'):
        run_intermediate.main(["--task", "hellaswag", *common])


def test_the_shell_sees_one_line_and_exit_code_2():
    command = [sys.executable, ROOT / "run_target.py", "--task", "nonsense"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.strip().startswith("run_target.py: --task nonsense is not one of")
    assert "\n" not in done.stderr.strip()
    debug = subprocess.run([*command, "--debug"], capture_output=True, text=True)
    assert debug.returncode == 1
    assert "Traceback" in debug.stderr


def test_processes_that_do_not_know_of_each_other_are_refused(monkeypatch):
    """What `accelerate launch --multi_gpu` starts on a machine without GPUs: two models trained into one folder."""
    arguments = (run_target.TargetArguments, run_target.TrainingArguments)
    _, training_args = parse_args(arguments, "target", ["--task", "xnli", "--use_cpu"])
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match="2 processes were launched but each trains for itself"):
        _check_trainer(training_args)


@pytest.mark.parametrize("script", ["run_zeroshot_eval", "run_retrieval"])
def test_two_processes_predict_as_one_does(chain, encoder, world, tmp_path, script):
    """Every row once and in order, also where the rows do not divide by the processes."""
    if script == "run_retrieval":
        alone, arguments = chain / "none" / "tatoeba", retrieval_arguments(world, encoder, tmp_path)
    else:
        alone = chain / "none" / "udpos-eval"
        arguments = eval_arguments(world, "udpos", chain / "none" / "udpos", tmp_path)
    launcher = [sys.executable, *"-m torch.distributed.run --nproc_per_node 2".split(), str(ROOT / f"{script}.py")]
    command = [*launcher, *arguments, "--per_device_eval_batch_size", "5"]
    subprocess.run(command, check=True, timeout=300, capture_output=True)
    files = sorted((alone / "predictions").rglob("*.tsv"))
    assert files
    for file in files:
        assert (tmp_path / file.relative_to(alone)).read_bytes() == file.read_bytes(), file.name
    ours, theirs = (read_run(folder)["scores"] for folder in (tmp_path, alone))
    for language, scores in theirs.items():
        assert ours[language].keys() == scores.keys()
        for name, value in scores.items():
            assert ours[language][name] == pytest.approx(value, abs=1e-4), (language, name)
    assert read_run(tmp_path)["hardware"]["processes"] == 2


@pytest.mark.parametrize(
    ("phase", "records", "expected"),
    [
        ("intermediate", [], "runs/intermediate/hellaswag/seed1"),
        ("target", [], "runs/target/none/hellaswag/seed1"),
        ("target", [("intermediate", "mnli")], "runs/target/mnli/hellaswag/seed1"),
        ("eval", [("target", "hellaswag")], "runs/eval/none/hellaswag/seed1"),
        ("eval", [("intermediate", "mnli"), ("target", "hellaswag")], "runs/eval/mnli/hellaswag/seed1"),
        (
            "retrieval",
            [("intermediate", "mnli"), ("target", "squad")],
            "runs/retrieval/mnli-then-squad/hellaswag/seed1",
        ),
        ("retrieval", [("target", "hellaswag")], "runs/retrieval/none/hellaswag/seed1"),
    ],
)
def test_default_output_dirs(phase, records, expected):
    lineage = [{"base_model": "xlm-roberta-large"}, *({"phase": p, "task": t} for p, t in records)]
    assert default_output_dir(phase, lineage, "hellaswag", 1) == expected
    lineage[0]["base_model"] = "xlm-roberta-base"
    other = default_output_dir(phase, lineage, "hellaswag", 1)
    assert other != expected
    assert "xlm-roberta-base--" in other


@pytest.mark.parametrize(
    ("dataclass", "options", "name"),
    [
        (run_zeroshot_eval.EvalArguments, {}, "seed1"),
        (run_zeroshot_eval.EvalArguments, {"languages": "de,sw"}, "seed1-languages-de+sw"),
        (
            run_zeroshot_eval.EvalArguments,
            {"split": "validation", "max_eval_samples": 9, "languages": "en-de"},
            "seed1-languages-en-de-validation-first9",
        ),
        (run_retrieval.RetrievalArguments, {"languages": "de", "layers": "all"}, "seed1-languages-de-layers-all"),
        (run_retrieval.RetrievalArguments, {"layers": "3"}, "seed1"),
        (run_intermediate.IntermediateArguments, {"languages": "de"}, "seed1-languages-de"),
    ],
)
def test_an_evaluation_of_a_part_has_a_directory_of_its_own(dataclass, options, name):
    args = dataclass(task="xnli", **({"model_name_or_path": "x"} | options))
    found = default_output_dir("eval", [{"base_model": "xlm-roberta-large"}], "xnli", 1, (), parts_read(args))
    assert found == f"runs/eval/none/xnli/{name}"


def test_a_long_list_of_languages_is_short_in_a_name():
    codes = [f"{a}{b}" for a in "abcde" for b in "abcdefgh"]
    args = [SimpleNamespace(languages=",".join(each)) for each in (codes, [*codes[:-1], "zz"], codes[:9])]
    (first,), (other,), (few,) = map(parts_read, args)
    assert first.startswith("languages-40-")
    assert len(first) < 24
    assert first != other, "as many of others"
    assert few == "languages-" + "+".join(codes[:9])


def test_a_whole_evaluation_may_follow_one_of_some_languages(chain, world, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    checkpoint = str(chain / "none" / "udpos")
    line = f"--task udpos --model_name_or_path {checkpoint} --data_dir {world} --use_cpu --max_seq_length 96"
    run_zeroshot_eval.main([*line.split(), "--languages", "qna"])
    run_zeroshot_eval.main(line.split())
    found = sorted(path.parent.name for path in tmp_path.glob("runs/eval/*/udpos/*/run.json"))
    assert found == ["seed5", "seed5-languages-qna"]
    run_report.main(["runs", "--output_dir", "report"])
    assert len({*pandas.read_csv("report/scores.csv")["path"]}) == 1


def test_the_card_s_command_needs_nothing_else(world, tmp_path):
    """`accelerate launch run_intermediate.py --task hellaswag`, the hub stubbed: the model in its cache, the rows in parquet."""
    snapshot = tmp_path / "hf" / "hub" / "models--FacebookAI--xlm-roberta-large" / "snapshots" / "0"
    save_tiny_encoder(snapshot)
    reference = snapshot.parent.parent / "refs" / "main"
    reference.parent.mkdir()
    reference.write_text("0")
    source = load_task("hellaswag").source
    for split, rows in (("train", 40), ("validation", 8)):
        path = tmp_path / "hub" / source.hub / "default" / f"{split}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        raw = list(source.read(Path(world, source.files[split]), source.features))[:rows]
        Dataset.from_list(raw, features=source.features).to_parquet(path)
    environment = {
        **os.environ, "HF_HOME": str(tmp_path / "hf"), "HUB_STUB": str(tmp_path / "hub"), "CUDA_VISIBLE_DEVICES": "",
        "PYTHONPATH": str(ROOT / "tests" / "hub_stub"),
    }  # fmt: skip
    command = f"{Path(sys.executable).parent / 'accelerate'} launch {ROOT / 'run_intermediate.py'} --task hellaswag"
    subprocess.run(command.split(), check=True, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL, timeout=300)
    run = read_run(tmp_path / "runs" / "intermediate" / "hellaswag" / "seed42")
    assert run["lineage_text"] == "xlm-roberta-large > hellaswag"
    assert run["data"][0]["files"] == ["Rowan/hellaswag (train)"]


@pytest.mark.parametrize(("main", "task"), [(run_intermediate.main, "squad"), (run_target.main, "xquad")])
def test_training_questions_that_teach_no_answer_are_counted(main, task, encoder, tmp_path, capsys):
    context = "on the er " * 30
    questions = [
        {"id": text, "question": "an", "answers": [{"text": text, "answer_start": 0}]} for text in ("on", context)
    ]
    articles = [{"title": t, "paragraphs": [{"context": context, "qas": questions}]} for t in ("a", "b", "c")]
    (tmp_path / "squad").mkdir()
    (tmp_path / "squad" / "train-v1.1.json").write_text(json.dumps({"data": articles}), encoding="utf-8")
    options = f"--task {task} --model_name_or_path {encoder} --data_dir {tmp_path} --output_dir {tmp_path / 'run'}"
    main([*options.split(), *"--use_cpu --max_steps 1 --max_seq_length 32 --doc_stride 8".split()])
    assert read_run(tmp_path / "run")["untaught"] == {task: {"questions whose answer is whole in no window": 2}}
    said = f"warning: {task} is trained as if these had no answer: 2 questions whose answer is whole in no window"
    assert said in capsys.readouterr().out
