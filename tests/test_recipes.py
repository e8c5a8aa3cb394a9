"""Recipes of configs/: what `--recipe paper` sets for every task, where its values are from, and how sections apply."""

import re
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
from conftest import ROOT

import run_intermediate
import run_target
from xstilts.base import UserError
from xstilts.mixing import other_ratio
from xstilts.runs import parse_args

OURS = {"intermediate": run_intermediate.IntermediateArguments, "target": run_target.TargetArguments}
SEVERAL = "anli_plus+qqp+hellaswag+ccg+cosmosqa+commonsenseqa"
SCHEDULE = {
    "warmup_steps": 0.1, "weight_decay": 0.01, "adam_epsilon": 1e-8, "max_grad_norm": 1.0, "lr_scheduler_type": "linear",
    "eval_strategy": "steps", "eval_steps": 1000, "save_steps": 1000, "early_stopping_patience": 30, "max_eval_samples": 500,
}  # fmt: skip
K = 2**17
# Task: examples a step, epochs (v1, appendix A), training examples (v1, Table 1), maximum length.
INTERMEDIATE = {
    "anli_plus": (24, 2, 1_104_934, 256), "ccg": (24, 15, 38_015, 256), "commonsenseqa": (4, 10, 9_741, 256),
    "cosmosqa": (4, 15, 25_588, 256), "hellaswag": (24, 7, 39_905, 256), "qqp": (24, 3, 363_846, 256),
    "squad": (8, 3, 87_599, 384), "mnli": (24, 2, 392_702, 256), "squad_v2": (8, 3, 130_319, 384),
}  # fmt: skip
TARGET = {
    "xnli": (4, 2, 128), "pawsx": (32, 5, 128), "xquad": (16, 2, 384), "mlqa": (16, 2, 384), "tydiqa": (16, 2, 384),
    "udpos": (32, 10, 128), "panx": (32, 10, 128),
}  # fmt: skip


@pytest.fixture
def arguments(encoder):
    """arguments(phase, options, sections) -> the arguments of a command line on the tiny encoder, ours and the Trainer's."""

    def parsed(phase, options, sections=()):
        given = [*options.split(), "--model_name_or_path", encoder, "--use_cpu"]
        ours, trainer = parse_args((OURS[phase], run_target.TrainingArguments), phase, given, list(sections))
        found = vars(trainer) | vars(ours)
        return found | {"step": ours.total_train_batch_size}

    return parsed


def check(found, **expected):
    assert {name: found[name] for name in expected} == expected


@pytest.mark.parametrize("task", INTERMEDIATE)
def test_the_papers_recipe_of_an_intermediate_task(task, arguments):
    step, epochs, size, length = INTERMEDIATE[task]
    own = {**SCHEDULE, "step": step, "num_train_epochs": epochs, "max_seq_length": length, "doc_stride": 128}
    check(arguments("intermediate", f"--task {task} --recipe paper"), **own, learning_rate=1e-5, mlm_ratio=1.0)
    beside = arguments("intermediate", f"--task {task} --recipe paper --mlm_text_files a b")
    check(beside, **own, learning_rate=5e-6)
    assert beside["mlm_ratio"] == pytest.approx(K / min(size, K), abs=5e-4)
    check(arguments("intermediate", f"--task {task} --recipe paper --learning_rate 1"), learning_rate=1.0)


def test_the_papers_recipe_of_several_tasks(arguments):
    options = f"--task {SEVERAL} --recipe paper"
    several = {
        **SCHEDULE,
        "num_train_epochs": 3,
        "mixing": "steps-proportional",
        "mixing_limit": K,
        "max_seq_length": 256,
    }
    check(arguments("intermediate", options), **several, learning_rate=1e-5)
    beside = arguments("intermediate", f"{options} --mlm_dataset_name wiki")
    check(beside, **several, learning_rate=5e-6)
    sizes = [min(INTERMEDIATE[task][2], K) for task in SEVERAL.split("+")]
    assert beside["mlm_ratio"] == pytest.approx(K / sum(sizes), abs=5e-4)
    for task in SEVERAL.split("+"):  # as run_intermediate.load_part reads them
        assert arguments("intermediate", options, ["multitask", task])["step"] == INTERMEDIATE[task][0]
    assert arguments("intermediate", options, ["multitask", "mlm"])["step"] == 8


@pytest.mark.parametrize(
    ("tasks", "more", "ratio"),
    [
        (SEVERAL, "", None),
        ("mnli+squad", "", "0.599"),
        ("+".join(INTERMEDIATE), "", "0.181"),
        ("mnli+squad", "--mlm_ratio 1", None),
    ],
)
def test_mixtures_of_other_tasks_than_the_papers_are_told_their_ratio(tasks, more, ratio, arguments):
    """K / the sum of min(n, K): with K, text is one more task in the same sampling."""
    options = f"--task {tasks} --recipe paper --mlm_text_files a {more}"
    args = SimpleNamespace(**arguments("intermediate", options), has_text=True)
    found = other_ratio(args, options.split(), [INTERMEDIATE[task][2] for task in tasks.split("+")])
    assert [line.split()[-1] for line in found] == ([ratio] if ratio else [])


@pytest.mark.parametrize("task", TARGET)
def test_the_papers_recipe_of_a_target(task, arguments):
    step, epochs, length = TARGET[task]
    own = {"learning_rate": 3e-6, "step": step, "num_train_epochs": epochs, "max_seq_length": length, "doc_stride": 128}
    check(arguments("target", f"--task {task} --recipe paper"), **SCHEDULE, **own, selection="english_dev")


def test_a_recipe_of_other_tasks_is_refused_before_anything_is_mixed(arguments):
    for phase, task in (("target", "xcopa"), ("target", "lareqa"), ("intermediate", "copa")):
        with pytest.raises(
            UserError, match=rf"--recipe paper says nothing about {task}; it is for \w+.*give {task} a section"
        ):
            arguments(phase, f"--task {task} --recipe paper")
    check(arguments("target", "--task xcopa --recipe jiant"), keep_head=True, eval_steps=1000, learning_rate=3e-5)


MARKS = ("v1", "XTREME 2020-05", "nlprunners", "jiant", "here")


@pytest.mark.parametrize("config", ["intermediate", "target", "eval"])
def test_every_value_of_the_papers_recipe_says_where_it_is_from(config):
    text = (ROOT / "configs" / f"{config}.yaml").read_text("utf-8")
    lines = text[re.search(r"^  paper:$", text, flags=re.MULTILINE).end() :].splitlines()
    unmarked = [
        line for line in lines if re.match(r"      \w+: ", line) and not re.search(rf" # ({'|'.join(MARKS)})\b", line)
    ]
    assert unmarked == []


@dataclass
class Other:
    """Options of a script of somebody's."""

    task: str = "mnli"
    recipe: str | None = None
    config: str | None = None
    mlm_text_files: list[str] | None = None
    rate: int = 0
    first: int = 0


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ("", (1, 0)),
        ("--mlm_text_files a", (2, 1)),
        ("--recipe mine", (3, 0)),
        ("--recipe mine --mlm_text_files a", (4, 1)),
        ("--recipe text", (2, 7)),  # the config asks for text itself
    ],
)
def test_sections_apply_in_their_order_and_with_text_beside(options, found, write):
    config = write(
        "{defaults: {rate: 1}, defaults+mlm: {rate: 2}, mnli+mlm: {first: 1}, "
        "recipes: {mine: {mnli: {rate: 3}, mnli+mlm: {rate: 4}}, text: {defaults: {mlm_text_files: [a], first: 7}}}}"
    )
    (args,) = parse_args((Other,), "other", ["--task", "mnli", "--config", config, *options.split()])
    assert (args.rate, args.first) == found
