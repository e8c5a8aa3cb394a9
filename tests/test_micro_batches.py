"""How a step's rows are dealt into micro-batches: nothing lost, nothing too long, the fewest padded tokens."""

from itertools import combinations, pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import TrainingArguments

import run_intermediate
from run_intermediate import IntermediateArguments
from run_target import TargetArguments
from tasks import load_task
from xstilts import gpu_memory
from xstilts.base import UserError
from xstilts.evaluation import batches_by_length
from xstilts.micro_batches import PASS, check_micro_batches, cut, input_lengths, padded_tokens, set_batch_size
from xstilts.order import GROUP, EpochSampler, epoch_order
from xstilts.runs import parse_args

ARGUMENTS = {"intermediate": IntermediateArguments, "target": TargetArguments}


def rows_of(lengths):
    return [{"input_ids": [0] * length} for length in lengths]


def cost(batches, lengths, limit):
    return sum(len(batch) * max(lengths[place] for place in batch) + PASS * limit for batch in batches)


@settings(deadline=None)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=40), st.integers(1, 200))
def test_micro_batches_hold_every_row_once_within_the_limit(lengths, limit):
    batches = cut(rows_of(lengths), limit)
    assert sorted(place for batch in batches for place in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) * max(lengths[place] for place in batch) <= limit or len(batch) == 1
    ordered = [lengths[place] for batch in batches for place in batch]
    assert ordered == sorted(lengths, reverse=True), "the longest first, so that too little memory shows at once"


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=9), st.integers(5, 120))
def test_no_other_cuts_cost_less(lengths, limit):
    """Against every way to cut the sorted rows."""
    ordered = sorted(lengths, reverse=True)
    ways = []
    for count in range(len(ordered)):
        for inner in combinations(range(1, len(ordered)), count):
            parts = [ordered[a:b] for a, b in pairwise((0, *inner, len(ordered)))]
            if all(len(part) * part[0] <= limit or len(part) == 1 for part in parts):
                ways.append(sum(len(part) * part[0] + PASS * limit for part in parts))
    assert cost(cut(rows_of(lengths), limit), lengths, limit) == pytest.approx(min(ways))


def test_the_default_of_a_mixture_is_for_its_longest_task(encoder, monkeypatch):
    """SQuAD's inputs are longer than those of the run, which are MNLI's."""

    def fitted(config, memory, length, *others):
        raise UserError(f"for {length} tokens")

    device = TrainingArguments.device.fget
    monkeypatch.setattr(TrainingArguments, "device", property(lambda self: device(self) and torch.device("cuda:0")))
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(total_memory=2**34))
    monkeypatch.setattr(gpu_memory, "fitted", fitted)
    for task, length in (("mnli", 256), ("mnli+squad", 384)):
        with pytest.raises(UserError, match=f"for {length} tokens"):
            run_intermediate.main(["--task", task, "--model_name_or_path", encoder, "--use_cpu"])


def test_each_choice_takes_as_much_as_the_longest():
    row = {"input_ids": [[1], [1, 2, 3], [1, 2]]}
    assert padded_tokens(row) == 9
    assert cut([row, row], 17) == [[0], [1]]
    assert cut([row, row], 18) == [[0, 1]]


@pytest.mark.parametrize(
    ("ids", "lengths"),
    [([[1, 2], [1], [1, 2, 3]], [2, 1, 3]), ([[[1], [1, 2, 3]], [[1, 2], [1]], [[1], [1]]], [3, 2, 1])],
)
def test_lengths_of_features_are_those_of_their_longest_inputs(ids, lengths):
    features = Dataset.from_dict({"input_ids": ids})
    assert input_lengths(features).tolist() == lengths
    assert input_lengths(features.select([2, 0])).tolist() == [lengths[2], lengths[0]]  # rows picked by an index
    assert input_lengths(features.select(range(1, 3))).tolist() == lengths[1:]  # a slice of the table


def test_batches_of_evaluation_keep_within_both_limits():
    lengths = [3, 9, 9, 1, 5, 9, 2]
    assert batches_by_length(lengths, 3) == [[1, 2, 5], [4, 0, 6], [3]]
    assert batches_by_length(lengths, 3, limit=18) == [[1, 2], [5, 4], [0, 6, 3]]
    assert batches_by_length(lengths, 3, limit=1) == [[1], [2], [5], [4], [0], [6], [3]]


# ---- order ----------------------------------------------------------------------------------------------------------


LENGTHS = np.array([(37 * row) % 50 + 1 for row in range(1003)])


def sampler(**options):
    return EpochSampler([(0, 1003, 1003)], **{"seed": 4, "micro": 4, "lengths": LENGTHS, **options})


def steps(order, size):
    return [order[start : start + size] for start in range(0, len(order), size)]


@pytest.mark.parametrize(("accumulation", "processes"), [(1, 1), (4, 1), (1, 2), (2, 2)])
def test_steps_have_the_rows_they_were_drawn(accumulation, processes):
    """Dealing by length changes micro-batches alone: what is learned in a step is what a plain random order gives it."""
    size, order = 4 * accumulation * processes, epoch_order([(0, 1003, 1003)], 4, 0)
    found = list(sampler(accumulation=accumulation, processes=processes))
    for drawn, dealt in zip(steps(order, size), steps(found, size), strict=True):
        assert sorted(row for row in dealt if row < 1003) == sorted(drawn)
    assert sorted(found) == list(range(len(found))), "every filler once too"


@pytest.mark.parametrize("processes", [1, 2])
def test_micro_batches_of_a_step_go_from_long_to_short_in_all_processes(processes):
    found = list(sampler(accumulation=4, processes=processes))
    lengths = [[LENGTHS[row] for row in micro] for micro in steps(found[: 16 * processes], 4)]
    slots = [lengths[start : start + processes] for start in range(0, len(lengths), processes)]
    for longer, shorter in pairwise(slots):
        assert min(map(min, longer)) >= max(map(max, shorter))
    for slot in slots:
        assert max(map(sum, slot)) - min(map(sum, slot)) <= max(map(max, slot)) - min(map(min, slot))


def test_rows_without_lengths_stay_as_drawn():
    found = list(sampler(lengths=None, accumulation=4, processes=2))
    assert found[:1003] == epoch_order([(0, 1003, 1003)], 4, 0)


def test_grouping_by_length_fills_steps_with_rows_of_like_length():
    size = 8
    plain, grouped = (list(sampler(micro=size, by_length=strategy)) for strategy in (False, True))
    assert sorted(grouped) == sorted(plain)
    spread, before = ([np.ptp(LENGTHS[step]) for step in steps(order, size)[:-1]] for order in (grouped, plain))
    assert np.mean(spread) < 3 < 30 < np.mean(before)
    assert set(grouped[-size:]) == set(plain[-size:]), "the short last step has the rows that were drawn last"
    means = [LENGTHS[step].mean() for step in steps(grouped, size)[: GROUP - 1]]
    assert abs(np.corrcoef(means, range(len(means)))[0, 1]) < 0.5, "steps are not sorted themselves"
    again = sampler(micro=size, by_length=True)
    assert list(again) == grouped
    again.set_epoch(1)
    assert list(again) != grouped


# ---- options --------------------------------------------------------------------------------------------------------


def checked(task="mnli", limit=512, several=False, **options):
    defaults = {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 4}
    training_args = SimpleNamespace(**{**defaults, "train_sampling_strategy": "random", **options})
    check_micro_batches(SimpleNamespace(max_tokens_per_batch=limit), training_args, [load_task(task)], several)
    return training_args.per_device_train_batch_size, training_args.gradient_accumulation_steps


def test_a_step_becomes_one_batch_of_the_trainers():
    assert checked() == (32, 1)
    assert checked(limit=None) == (8, 4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "lareqa"}, "--max_tokens_per_batch is not offered for lareqa"),
        ({"task": "lareqa", "limit": None, "train_sampling_strategy": "group_by_length"}, "not offered for lareqa"),
        ({"limit": None, "several": True, "train_sampling_strategy": "group_by_length"}, "is for one task"),
    ],
)
def test_what_excludes_each_other_is_named(options, message):
    with pytest.raises(UserError, match=message):
        checked(**options)


def divided(task, processes, line="", config="target"):
    """(examples of a step, per device, accumulation steps) by the configs and a command line on so many processes."""
    words = ["--task", task, "--use_cpu", *line.split()]
    args, parsed = parse_args((ARGUMENTS[config], TrainingArguments), config, words)
    training_args = SimpleNamespace(**{**vars(parsed), "world_size": processes})
    set_batch_size(args, training_args, words, load_task(task))
    size, steps = training_args.per_device_train_batch_size, training_args.gradient_accumulation_steps
    return args.total_train_batch_size, size, steps


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        (("xnli", 1), (32, 8, 4)),
        (("xnli", 4), (32, 8, 1)),
        (("xnli", 8), (32, 4, 1)),
        (("xquad", 8), (16, 2, 1)),
        (("lareqa", 1), (16, 4, 4)),
        (("lareqa", 4), (16, 4, 1)),
        (("mewslix", 2), (32, 8, 2)),
        (("cosmosqa", 1, "", "intermediate"), (32, 4, 8)),
        (("cosmosqa", 16, "", "intermediate"), (32, 2, 1)),
        (("squad", 2, "", "intermediate"), (16, 8, 1)),
        (("xnli", 2, "--total_train_batch_size 12"), (12, 6, 1)),
        (("xnli", 1, "--per_device_train_batch_size 16"), (32, 16, 2)),
        (("xnli", 4, "--gradient-accumulation-steps=1"), (32, 8, 1)),
        (("xnli", 2, "--per_device_train_batch_size 3 --gradient_accumulation_steps 5"), (30, 3, 5)),
        (("lareqa", 8, "--per_device_train_batch_size 2"), (16, 2, 1)),
    ],
)
def test_a_step_has_as_many_examples_on_any_number_of_processes(case, expected):
    assert divided(*case) == expected


@pytest.mark.parametrize(
    ("case", "message"),
    [
        (("xnli", 3), "xnli: .* step of 32 examples .* into 3 processes; give --total_train_batch_size 30 or 33"),
        (("xnli", 64), "64 processes; give --total_train_batch_size 64,"),
        (("xnli", 1, "--per_device_train_batch_size 12"), "1 process x 12 per device; .* 24 or 36"),
        (("lareqa", 8), "8 processes x 4 per device; give --total_train_batch_size 32,"),
        (("lareqa", 2, "--gradient_accumulation_steps 1"), "x 4 per device x 1 accumulation step; .* 8,"),
        (
            ("xnli", 2, "--total_train_batch_size 9 --per_device_train_batch_size 4 --gradient_accumulation_steps 1"),
            "of 9 examples .* 2 processes x 4 per device x 1 accumulation step; give --total_train_batch_size 8,",
        ),
    ],
)
def test_what_does_not_divide_is_named(case, message):
    with pytest.raises(UserError, match=message):
        divided(*case)
