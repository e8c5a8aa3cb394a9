"""Intermediate training from end to end: every task on real rows, several at once, other languages, masked language modelling."""

import math
import shutil
from pathlib import Path

import pytest
import torch
from conftest import save_tiny_encoder
from safetensors.torch import load_file
from transformers import AutoModel

import run_intermediate
import run_target
import run_zeroshot_eval
from tasks import load_task, task_names
from xstilts.base import UserError, read_json
from xstilts.examples import load_examples
from xstilts.lineage import default_output_dir, lineage_of, zero_shot_languages
from xstilts.task import RetrievalTask, Task

SMALL = """--use_cpu --max_train_samples 16 --max_eval_samples 8 --num_train_epochs 1 --per_device_train_batch_size 4
    --gradient_accumulation_steps 2 --max_seq_length 256 --doc_stride 16 --seed 3 --disable_tqdm true"""
TEXT_TASKS = [name for name in task_names() if not isinstance(load_task(name, (Task, RetrievalTask)), RetrievalTask)]


def run(main, folder, data, encoder, line):
    """Run a phase on a few rows; returns its run.json."""
    arguments = f"--model_name_or_path {encoder} --data_dir {data} --output_dir {folder} {SMALL} {line}"
    main(arguments.split())
    return read_json(folder / "run.json")


def intermediate(folder, data, encoder, line):
    return run(run_intermediate.main, folder, data, encoder, line)


# ---- every task -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TEXT_TASKS)
def test_every_task_trains_evaluates_and_hands_over(name, official, encoder, tmp_path):
    """On real rows where there are any; a new file of tasks/ is tested on arrival, here when it has rows in the folder."""
    task = load_task(name)
    try:
        done = intermediate(tmp_path / "run", official, encoder, f"--task {name}")
    except UserError as error:
        if "no file" in str(error):
            pytest.skip(str(error))
        raise
    assert done["steps"] == math.ceil(done["complexity"][name]["inputs"] / 8)
    assert done["dev_scores"][done["metric"]] == pytest.approx(done["dev_scores"][task.metric.headline])
    assert 0 <= done["dev_scores"][task.metric.headline] <= 100
    assert math.isfinite(done["loss_curve"][-1][1])
    train = [record for record in done["data"] if record["split"] == "train"]
    assert sum(record["rows"] for record in train) == done["complexity"][name]["rows"] <= 16
    assert done["lineage"][-1] | {"fingerprint": ""} == {
        "phase": "intermediate", "task": name, "trained_on": task.trained_on, "tasks": [name], "languages": ["en"],
        "selected_in": ["en"], "seed": 3, "head": "fresh", "frozen": "none", "factors": [], "fingerprint": "",
    }  # fmt: skip
    target = run(
        run_target.main, tmp_path / "target", official, tmp_path / "run", f"--task {name} --max_train_samples 4"
    )
    assert target["lineage_text"] == f"{done['lineage_text']} > {name}"


def test_complexity_says_what_the_rows_hold(official, encoder, tmp_path):
    done = intermediate(
        tmp_path, official, encoder, "--task ccg --max_train_samples 60 --max_eval_samples 60 --max_seq_length 510"
    )
    found = done["complexity"]["ccg"]
    rows, labels = found["rows"], read_json(tmp_path / "config.json")["id2label"]
    assert rows == 60
    assert found["tokens"] > 60 * 10
    assert 3 < found["label_entropy_bits"] < math.log2(len(labels))
    assert 5 < found["chance"] < 40
    # an untrained model pays about log2(labels) bits a word
    assert found["prequential_inputs"] == 60
    words = sum(map(len, load_examples(load_task("ccg"), "train", "en", official, 60).rows["tokens"]))
    assert found["prequential_bits_per_example"] == pytest.approx(words / 60 * math.log2(len(labels)), rel=0.15)
    assert sum(done["unseen_labels"]["ccg"].values()) > 0
    assert not {*done["unseen_labels"]["ccg"]} & {*labels.values()}


def test_code_length_is_the_loss_before_each_update(world, tmp_path):
    """Without updates it is the loss of the untrained model, over the rows of the first epoch only."""
    encoder = save_tiny_encoder(tmp_path / "encoder", hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    line = "--task mnli --learning_rate 0 --num_train_epochs 3 --max_train_samples 19 --logging_steps 1"
    done = intermediate(tmp_path / "run", world, encoder, line)
    steps = [loss for _, loss in done["loss_curve"][:3]]
    bits = (steps[0] * 8 + steps[1] * 8 + steps[2] * 3) / 19 / math.log(2)
    assert done["complexity"]["mnli"]["prequential_inputs"] == 19
    assert done["complexity"]["mnli"]["prequential_bits_per_example"] == pytest.approx(bits, rel=1e-3)


def test_supertags_of_a_checkpoint_are_its_own(official, encoder, tmp_path):
    """A task without labels of its own: training decides which there are, evaluation takes those of the checkpoint."""
    run(run_target.main, tmp_path / "target", official, encoder, "--task ccg")
    again = intermediate(tmp_path / "dev", official, tmp_path / "target", "--task ccg --eval_only")
    trained = read_json(tmp_path / "target" / "run.json")["dev_scores"]
    assert again["dev_scores"]["accuracy"] == trained["accuracy"]


# ---- several tasks --------------------------------------------------------------------------------------------------

SEVERAL = "mnli+squad_v2+hellaswag+ccg"


@pytest.fixture(scope="module")
def text(tmp_path_factory, world):
    """A few lines in three languages."""
    path = tmp_path_factory.mktemp("text") / "text.txt"
    files = [Path(world, "text", f"{code}.txt").read_text("utf-8").splitlines()[:60] for code in ("en", "qna", "qfc")]
    path.write_text("".join(f"{line}\n" for lines in files for line in lines), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def several(tmp_path_factory, world, encoder, text):
    """Folder of a run of four types of tasks and masked language modelling."""
    folder = tmp_path_factory.mktemp("several")
    line = f"--task {SEVERAL} --mlm_text_files {text} --mlm_ratio 0.5 --num_train_epochs 2"
    intermediate(folder, world, encoder, line)
    return folder


def test_a_run_of_several_tasks_keeps_encoder_and_heads(several):
    done = read_json(several / "run.json")
    assert sorted(path.stem for path in (several / "heads").iterdir()) == sorted([*SEVERAL.split("+"), "mlm"])
    _, info = AutoModel.from_pretrained(several, output_loading_info=True)
    assert not info["missing_keys"]
    assert lineage_of(str(several))[-1]["tasks"] == SEVERAL.split("+")
    assert done["lineage"][-1]["factors"] == ["mlm0.5"]
    assert done["metric"] == "average"
    scores = done["dev_scores"]
    headlines = [scores[task][load_task(task).metric.headline] for task in SEVERAL.split("+")]
    assert scores["average"] == pytest.approx(sum(headlines) / 4)
    assert scores["mlm"].keys() == {"loss", "accuracy"}
    assert "threshold" in scores["squad_v2"]
    assert sum(part["steps"] for part in done["mixture"].values()) == done["steps"]
    assert {*done["complexity"]} == {*SEVERAL.split("+")}
    for name, found in done[
        "complexity"
    ].items():  # the code counts every row once, however often a task goes through them
        assert 0 < found["prequential_inputs"] <= min(found["inputs"], 8 * done["mixture"][name]["steps"]), name
    assert done["mixture"]["hellaswag"]["epochs"] > 1
    assert done["complexity"]["hellaswag"]["prequential_inputs"] == 16
    assert not list(several.glob("checkpoint-*"))


def test_every_task_can_be_evaluated_again(several, world, text, tmp_path):
    """--eval_only, with the heads beside the encoder: the scores are those of the run."""
    scores = read_json(several / "run.json")["dev_scores"]
    line = f"--task {SEVERAL} --eval_only --mlm_text_files {text}"
    again = intermediate(tmp_path, world, several, line)
    assert (again["phase"], again["metric"]) == ("dev", "average")
    assert again["dev_scores"].keys() == scores.keys()
    for task, found in again["dev_scores"].items():
        assert found == pytest.approx(scores[task])
    with pytest.raises(UserError, match=r"parts\.ccg\.max_seq_length: 256 -> 64"):
        intermediate(tmp_path, world, several, f"{line} --max_seq_length 64 --doc_stride 8")
    with pytest.raises(UserError, match="--max_seq_length 9999 is more than"):
        intermediate(tmp_path / "long", world, several, "--task mnli --eval_only --max_seq_length 9999")
    with pytest.raises(UserError, match="no head for qqp, only for ccg, hellaswag, mlm, mnli, squad_v2"):
        run(run_intermediate.main, tmp_path / "other", world, several, "--task qqp --eval_only")


def test_a_target_task_starts_from_the_encoder(several, world, tmp_path):
    done = run(run_target.main, tmp_path / "target", world, several, "--task xnli")
    assert done["lineage_text"] == f"{read_json(several / 'run.json')['lineage_text']} > xnli"
    line = f"--task xnli --model_name_or_path {tmp_path / 'target'} --data_dir {world} --output_dir {tmp_path / 'eval'} --use_cpu"
    run_zeroshot_eval.main([*line.split(), "--languages", "en,qna", "--max_eval_samples", "8"])
    assert read_json(tmp_path / "eval" / "run.json")["zero_shot_languages"] == ["qna"]


def test_a_run_can_be_mixed_further(several, world, text, tmp_path):
    """The LM head is found beside the encoder of a run of several tasks."""
    done = intermediate(tmp_path, world, several, f"--task mnli --mlm_text_files {text} --mlm_ratio 0 --max_steps 1")
    assert done["mixture"]["mlm"]["steps"] == 0
    before = read_json(several / "run.json")["dev_scores"]["mlm"]["loss"]
    assert done["dev_scores"]["mlm"]["loss"] == pytest.approx(before, rel=0.05)


def test_steps_are_constant_or_proportional_to_the_tasks(world, encoder, text, tmp_path):
    for name, (line, steps) in {
        "constant": ("--task mnli+copa --max_steps 3", 3),
        "proportional": ("--task mnli+copa --max_steps_per_task 3", 6),
        "subset": ("--task mnli+copa+qqp --task_subset_size 2 --task_subset_seed 4 --max_steps_per_task 2", 4),
        "text": (f"--task mnli+copa --max_steps_per_task 2 --mlm_text_files {text} --mlm_ratio 0.5", 6),
    }.items():
        done = intermediate(tmp_path / name, world, encoder, line)
        assert done["steps"] == steps
        if name == "subset":
            assert done["task"] == "+".join(done["lineage"][-1]["tasks"])
            assert len(done["lineage"][-1]["tasks"]) == 2


def test_one_task_that_was_drawn_trains_as_if_asked_for(world, encoder, tmp_path):
    """The N = 1 of a study: same section of the config, same directory, same identity."""
    config = tmp_path / "config.yaml"
    config.write_text(
        "defaults:\n  max_steps: 3\ncopa:\n  max_steps: 2\nmnli:\n  max_steps: 2\nmultitask:\n  max_steps: 4\n"
    )
    drawn = intermediate(tmp_path / "run", world, encoder, f"--task mnli+copa --task_subset_size 1 --config {config}")
    assert drawn["steps"] == 2
    assert drawn["task"] in ("mnli", "copa")
    again = intermediate(tmp_path / "run", world, encoder, f"--task {drawn['task']} --config {config}")
    assert again["wall_time_s"] == drawn["wall_time_s"], "the finished run is left alone"


def test_sections_of_the_config_apply_to_their_tasks(world, encoder, tmp_path):
    """Lengths and examples a step are each task's own; the command line wins over all."""
    config = tmp_path / "config.yaml"
    config.write_text(
        "defaults:\n  max_seq_length: 64\nmultitask:\n  max_steps: 4\n  max_seq_length: 128\n"
        "mnli:\n  per_device_train_batch_size: 3\ncopa:\n  per_device_train_batch_size: 1\n  max_train_samples: 9\n"
    )
    line = f"--task mnli+copa --config {config} --model_name_or_path {encoder} --data_dir {world} --use_cpu --max_eval_samples 4"
    run_intermediate.main([*line.split(), "--output_dir", str(tmp_path / "run"), "--gradient_accumulation_steps", "1"])
    mixture = read_json(tmp_path / "run" / "run.json")["mixture"]
    assert (mixture["mnli"]["step_inputs"], mixture["copa"]["step_inputs"]) == (3, 1)
    assert mixture["copa"]["inputs"] == 9
    assert sum(part["steps"] for part in mixture.values()) == 4
    config.write_text(config.read_text().replace("copa:\n", "copa:\n  max_seq_length: 64\n"))
    with pytest.raises(UserError, match=r"differs in parts\.copa\.max_seq_length: 128 -> 64"):
        run_intermediate.main(
            [*line.split(), "--output_dir", str(tmp_path / "run"), "--gradient_accumulation_steps", "1"]
        )


# ---- languages ------------------------------------------------------------------------------------------------------


def test_training_rows_in_other_languages(world, encoder, tmp_path):
    done = intermediate(tmp_path, world, encoder, "--task mnli --languages en,qna,qfa --max_train_samples 9")
    train = [(record["language"], record["rows"]) for record in done["data"] if record["split"] == "train"]
    assert train == [("en", 9), ("qna", 9), ("qfa", 9)]
    record = done["lineage"][-1]
    assert record["languages"] == ["en", "qfa", "qna"]
    assert record["factors"] == ["en-qna-qfa"]
    assert zero_shot_languages(["en", "qna", "qnb", "qfa"], done["lineage"]) == ["qnb"]
    assert default_output_dir("target", done["lineage"], "xnli", 3).endswith("mnli--en-qna-qfa/xnli/seed3")
    assert {record["language"] for record in done["data"] if record["split"] == "validation"} == {"en"}


def test_all_languages_are_those_with_rows(world, encoder, tmp_path):
    done = intermediate(
        tmp_path, world, encoder, "--task udpos --languages all --language_mixing equal --max_train_samples 4"
    )
    assert done["lineage"][-1]["languages"] == ["en", "qfa", "qfb", "qma", "qmb", "qna", "qnb"]
    dev = [record["language"] for record in done["data"] if record["split"] == "validation"]
    assert dev == ["en", "qfa", "qfb", "qma", "qmb", "qna", "qnb"]


def test_a_union_needs_all_of_its_parts_in_a_language(world, encoder, tmp_path):
    with pytest.raises(UserError, match="anli_plus has no training rows in 'qna'; it has en"):
        intermediate(tmp_path, world, encoder, "--task anli_plus --languages qna")


def test_a_checkpoint_of_translated_rows_is_evaluated_as_it_is(world, encoder, tmp_path):
    """Translate-train: an intermediate XNLI run is an XNLI model; what it was trained in is not zero-shot."""
    intermediate(tmp_path / "run", world, encoder, "--task xnli --languages all --max_train_samples 4")
    line = f"--task xnli --model_name_or_path {tmp_path / 'run'} --data_dir {world} --output_dir {tmp_path / 'eval'} --use_cpu"
    run_zeroshot_eval.main([*line.split(), "--max_eval_samples", "4"])
    done = read_json(tmp_path / "eval" / "run.json")
    assert len(done["scores"]) == 13
    assert done["zero_shot_languages"] == []


# ---- masked language modelling --------------------------------------------------------------------------------------


def test_masked_language_modelling_trains_the_encoders_own_head(world, encoder, text, tmp_path):
    """With a step of it per task step its loss falls; the head that is saved is the pretrained one, trained on."""
    line = f"--task mnli --mlm_text_files {text} --learning_rate 3e-3 --max_steps 60 --logging_steps 5"
    done = intermediate(tmp_path / "beside", world, encoder, line)
    watched = intermediate(tmp_path / "watched", world, encoder, f"{line} --mlm_ratio 0")
    assert (
        done["dev_scores"]["mlm"]["loss"] < watched["dev_scores"]["mlm"]["loss"] - 0.02
    )  # 0.03 at least with four seeds
    before = load_file(f"{encoder}/model.safetensors")["lm_head.bias"]
    torch.testing.assert_close(load_file(tmp_path / "watched" / "heads" / "mlm.safetensors")["lm_head.bias"], before)
    after = load_file(tmp_path / "beside" / "heads" / "mlm.safetensors")["lm_head.bias"]
    assert 0 < (after - before).abs().max() < 0.2
    assert "mlm" not in done["complexity"]
    assert done["lineage"][-1]["languages"] == ["en"], "text has no labels: its languages stay zero-shot"


# ---- bad input ------------------------------------------------------------------------------------------------------

BAD = [
    ("--task mnli+mnli", "mnli.*twice"),
    ("--task mnli+nothing", "nothing"),
    ("--task all-mnlli", "mnlli"),
    ("--task mnli+copa --mixing_limit 0", "--mixing_limit 0 must be 1 or more"),
    ("--task mnli+copa --mixing temperature --mixing_temperature 0", r"--mixing_temperature 0.0 must be above 0"),
    ("--task mnli+copa --mixing equal", "--mixing equal is not one of"),
    ("--task mnli --languages qna,qna", "--languages names 'qna' twice"),
    ("--task mnli --languages de", "mnli has no training rows in 'de'; it has en, qfa, qfb"),
    ("--task mnli --language_mixing some", "--language_mixing some is not"),
    ("--task mnli --mlm_text_files {empty}", "has no text"),
    ("--task mnli --mlm_text_files {text} --mlm_ratio -1", "--mlm_ratio"),
    ("--task mnli --mlm_text_files {text} --mlm_head old", "--mlm_head old is not"),
    ("--task mnli+copa --task_subset_size 3", "--task_subset_size 3 is not between 1 and 2"),
    ("--task mnli --max_steps 3 --max_steps_per_task 3", "--max_steps and --max_steps_per_task"),
    ("--task mnli --max_steps_per_task -3", "--max_steps_per_task -3 must be 1 or more"),
    ("--task mnli+copa --mixing temperature --mixing_temperature nan", "--mixing_temperature nan must be above 0"),
    ("--task mnli+copa --mixing_temperature 5", "has an effect with --mixing temperature only"),
    ("--task mnli --mlm_text_files {text} --mlm_ratio inf", "--mlm_ratio inf must be 0 or more and finite"),
    ("--task mnli --mlm_text_files {text} --mlm_dataset_name a/b", "are both given"),
    ("--task mnli --max_train_samples 0", "--max_train_samples 0 must be 1 or more"),
    ("--task anli_plus --max_eval_samples -5", "--max_eval_samples -5 must be 1 or more"),
    ("--task mnli --metric_for_best_model acc", "--metric_for_best_model acc is not one of headline, accuracy, loss"),
    ("--task mnli+copa --metric_for_best_model accuracy", "not one of headline, average, mnli_accuracy, copa_accuracy"),
    ("--task mnli --mlm_ratio 0.5", "--mlm_ratio has an effect with --mlm_text_files or --mlm_dataset_name only"),
    ("--task mnli+copa --task_subset_seed 3", "--task_subset_seed has an effect with --task_subset_size only"),
    ("--task mnli --seed -1", "--seed -1 must be from 0 to 4294967295"),
    ("--task mnli --eval_only", "has the head of"),
]


@pytest.mark.parametrize(("line", "message"), BAD, ids=[line for line, _ in BAD])
def test_bad_input_is_one_clear_line(line, message, world, encoder, text, tmp_path):
    (tmp_path / "empty.txt").touch()
    line = line.format(empty=tmp_path / "empty.txt", text=text)
    with pytest.raises(UserError, match=message) as error:
        intermediate(tmp_path / "run", world, encoder, line)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


def test_an_encoder_without_an_lm_head_is_named(world, encoder, text, tmp_path):
    AutoModel.from_pretrained(encoder).save_pretrained(tmp_path / "bare")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(f"{encoder}/{name}", tmp_path / "bare")
    with pytest.raises(UserError, match=r"has no LM head .*--mlm_head fresh"):
        intermediate(tmp_path / "run", world, tmp_path / "bare", f"--task mnli --mlm_text_files {text}")
    line = f"--task mnli --mlm_text_files {text} --mlm_head fresh --max_steps 1"
    assert intermediate(tmp_path / "run", world, tmp_path / "bare", line)["steps"] == 1
