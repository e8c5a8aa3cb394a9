"""Mixing of tasks and languages: declared proportions, the same sequence everywhere, every row in its turn."""

from itertools import chain

import numpy as np
import pytest
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from xstilts.examples import Examples
from xstilts.mixing import Mixture, StepBatches
from xstilts.order import RowStream, epoch_order, groups_of

SIZES = (392_702, 87_599, 39_905)  # MNLI, SQuAD v1.1, HellaSwag


def mixture(sizes=SIZES, **options):
    """A mixture of tasks called a, b, c, ... with 32 inputs a step."""
    names = tuple("abcdefghij"[: len(sizes)])
    return Mixture(**{"names": names, "sizes": sizes, "step_inputs": (32,) * len(sizes), "seed": 1, **options})


# ---- rates ----------------------------------------------------------------------------------------------------------


def test_rates_are_those_of_t5():
    """Raffel et al. 2020, section 3.5.2: r_m = min(e_m, K) / sum; to the power of 1/T, renormalised; equal."""
    np.testing.assert_allclose(mixture().rates, np.array(SIZES) / sum(SIZES))
    np.testing.assert_allclose(mixture(limit=50_000).rates, np.array([50_000, 50_000, 39_905]) / 139_905)
    tempered = np.array([392_702, 87_599, 39_905]) ** (1 / 2)
    np.testing.assert_allclose(mixture(mixing="temperature", temperature=2.0).rates, tempered / tempered.sum())
    capped = np.array([50_000, 50_000, 39_905]) ** (1 / 2)
    found = mixture(mixing="temperature", temperature=2.0, limit=50_000).rates
    np.testing.assert_allclose(found, capped / capped.sum())
    np.testing.assert_allclose(mixture(mixing="uniform").rates, [1 / 3] * 3)


@given(st.lists(st.integers(1, 10**6), min_size=2, max_size=9), st.floats(1.0, 100.0))
def test_temperature_lies_between_proportional_and_uniform(sizes, temperature):
    tempered = mixture(tuple(sizes), mixing="temperature", temperature=temperature).rates
    proportional, uniform = mixture(tuple(sizes)).rates, 1 / len(sizes)
    assert tempered.sum() == pytest.approx(1)
    largest = int(np.argmax(sizes))
    assert uniform - 1e-9 <= tempered[largest] <= proportional[largest] + 1e-9


def test_a_task_of_larger_steps_gets_fewer_of_them():
    """Proportions are those of examples: with 16 a step instead of 32, twice as many steps."""
    found = mixture((1000, 1000), step_inputs=(32, 16))
    np.testing.assert_allclose(found.probabilities, [1 / 3, 2 / 3])
    assert found.steps_per_epoch == 94  # 1000 / 32 + 1000 / 16 = 93.75


def test_the_task_of_a_step_can_be_drawn_instead_of_the_examples():
    """As the authors' code does: whatever the steps hold, they are in proportion to min(n, K); epochs stay those of examples."""
    found = mixture((1000, 200, 1000), step_inputs=(24, 4, 24), mixing="steps-proportional", limit=600)
    np.testing.assert_allclose(found.probabilities, np.array([600, 200, 600]) / 1400)
    assert found.steps_per_epoch == 100  # 25 + 50 + 25
    beside = mixture((600, 200, 9), step_inputs=(24, 4, 8), mixing="steps-proportional", mlm_ratio=0.25)
    np.testing.assert_allclose(beside.probabilities, [0.6, 0.2, 0.2])


def test_steps_per_epoch_count_the_limit_and_the_text():
    assert mixture((1000, 100), limit=320).steps_per_epoch == 14  # 10 + 3.125
    assert mixture((960, 320, 10**6), mlm_ratio=0.5).steps_per_epoch == 60  # (30 + 10) * 1.5, whatever the text
    np.testing.assert_allclose(mixture((960, 320, 10**6), mlm_ratio=0.5).probabilities, [0.5, 1 / 6, 1 / 3])
    np.testing.assert_allclose(mixture((960, 320, 10**6), mlm_ratio=0.0).probabilities, [0.75, 0.25, 0])


DECLARED = [
    {},
    {"limit": 40_000},
    {"mixing": "temperature", "temperature": 4.0},
    {"mixing": "uniform"},
    {"step_inputs": (32, 16, 8)},
    {"step_inputs": (32, 16, 8), "mixing": "steps-proportional"},
    {"mlm_ratio": 1.0},
    {"mlm_ratio": 0.25, "mixing": "uniform"},
]


@pytest.mark.parametrize("options", DECLARED, ids=map(str, DECLARED))
def test_twenty_thousand_draws_have_the_declared_proportions(options):
    for seed in range(5):
        mixed = mixture(seed=seed, **options)
        counts = np.bincount(mixed.sequence(20_000), minlength=3)
        assert chisquare(counts, mixed.probabilities * 20_000).pvalue > 0.001, (seed, counts)


def test_a_wrong_proportion_is_noticed():
    """The test above can fail: draws of one mixture are none of another."""
    counts = np.bincount(mixture().sequence(20_000), minlength=3)
    assert chisquare(counts, mixture(step_inputs=(32, 32, 16)).probabilities * 20_000).pvalue < 1e-6


def test_without_a_ratio_no_step_is_of_the_text():
    assert 2 not in mixture(mlm_ratio=0.0).sequence(20_000)


# ---- the sequence of tasks and rows ---------------------------------------------------------------------------------


@given(st.integers(0, 10**6), st.integers(1, 300), st.integers(0, 300))
def test_the_sequence_depends_on_seed_and_step_alone(seed, steps, more):
    mixed = mixture(seed=seed)
    np.testing.assert_array_equal(mixed.sequence(steps + more)[:steps], mixed.sequence(steps))


def test_seeds_differ():
    assert not np.array_equal(mixture(seed=1).sequence(100), mixture(seed=2).sequence(100))


def batches_of(mixed, accumulation, rank=0, processes=1, epoch=0, by_length=True):
    """The micro-batches of one process in one epoch; row i of each task has (7 * i) % 10 tokens."""
    streams = [RowStream([(0, size, size)], mixed.seed) for size in mixed.sizes]
    lengths = [[7 * row % 10 for row in range(size)] if by_length else None for size in mixed.sizes]
    sampler = StepBatches(mixed, streams, lengths, accumulation, rank, processes)
    sampler.set_epoch(epoch)
    found = list(sampler)
    assert len(found) == len(sampler)
    return found


def steps_of(batches, accumulation):
    """Micro-batches put together to optimizer steps."""
    return [[*chain(*batches[i : i + accumulation])] for i in range(0, len(batches), accumulation)]


SMALL = {"sizes": (70, 30, 11), "step_inputs": (8, 4, 6), "seed": 3}


@pytest.mark.parametrize(("accumulation", "processes"), [(1, 1), (2, 1), (1, 2), (2, 2), (1, 3)])
def test_a_step_is_the_same_however_it_is_dealt_out(accumulation, processes):
    mixed = mixture(**SMALL)
    whole = steps_of(batches_of(mixed, 1), 1)
    ranks = [steps_of(batches_of(mixed, accumulation, rank, processes), accumulation) for rank in range(processes)]
    for step, *shares in zip(whole, *ranks, strict=True):
        assert len({task for task, _, _ in step}) == 1, "one task per step"
        assert len(step) == mixed.step_inputs[step[0][0]]
        assert sorted(chain(*shares)) == sorted(step)
        assert all(shares), "a process without rows would let the others wait"


@pytest.mark.parametrize("processes", [1, 2])
def test_the_rows_of_a_step_are_dealt_out_by_length(processes):
    mixed = mixture(**SMALL)
    ranks = [batches_of(mixed, 2, rank, processes) for rank in range(processes)]
    for step in zip(*(steps_of([[b] for b in batches], 2) for batches in ranks), strict=True):
        first, second = (
            [(time, -(7 * row % 10)) for micro in (share[place] for share in step) for _, row, time in micro]
            for place in (0, 1)
        )
        assert max(first) <= min(second), "the longest rows of the earlier epoch first"
    drawn = batches_of(mixed, 2, by_length=False)
    rows = RowStream([(0, 70, 70)], mixed.seed).take(0, 8)
    first = next(place for place, batch in enumerate(drawn) if batch[0][0] == 0)
    assert [[(row, time) for _, row, time in batch] for batch in drawn[first : first + 2]] == [rows[::2], rows[1::2]]


def test_every_row_of_a_task_comes_in_its_turn():
    """Over several epochs of the mixture: a task starts again only when it has been through."""
    mixed = mixture(**SMALL)
    rows = [row for epoch in range(6) for batch in batches_of(mixed, 1, epoch=epoch) for row in batch]
    for task, size in enumerate(mixed.sizes):
        seen = [(row, time) for number, row, time in rows if number == task]
        for time in range(len(seen) // size):
            assert sorted(seen[time * size : (time + 1) * size]) == [(row, time) for row in range(size)]


def test_an_epoch_continues_where_the_last_one_stopped():
    """As after an interruption: epoch 1 alone is what it is after epoch 0."""
    mixed = mixture(**SMALL)
    both = mixed.sequence(2 * mixed.steps_per_epoch)[mixed.steps_per_epoch :]
    assert [batch[0][0] for batch in batches_of(mixed, 1, epoch=1)] == both.tolist()


def test_realised_proportions_are_recorded():
    record = mixture(**SMALL).record(1000)
    assert sum(part["steps"] for part in record.values()) == 1000
    for name, inputs in zip("abc", (8, 4, 6), strict=True):
        assert record[name]["epochs"] == pytest.approx(record[name]["steps"] * inputs / record[name]["inputs"])
        assert record[name]["share_of_steps"] == pytest.approx(record[name]["declared_share_of_steps"], abs=0.05)


# ---- languages ------------------------------------------------------------------------------------------------------


def examples_in(**rows):
    """Examples with so many rows per language, in a record of each."""
    records = tuple({"language": language, "rows": count} for language, count in rows.items())
    return Examples(Dataset.from_dict({"text_a": ["x"] * sum(rows.values())}), records)


def test_languages_are_mixed_in_proportion_or_equally():
    examples = examples_in(en=60, de=30, sw=10)
    features = Dataset.from_dict({"example": list(range(100))})
    assert groups_of(features, examples) == [(0, 100, 100)]
    assert groups_of(features, examples, "equal") == [(0, 60, 34), (60, 30, 33), (90, 10, 33)]


def test_windows_belong_to_the_language_of_their_example():
    features = Dataset.from_dict({"example": [0, 0, 1, 2, 2, 2]})
    assert groups_of(features, examples_in(en=2, de=1), "equal") == [(0, 3, 3), (3, 3, 3)]


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, 12), st.integers(1, 15)), min_size=1, max_size=4), st.integers(0, 99))
def test_every_group_goes_through_its_rows(sizes, seed):
    """Whatever quota a language has of an epoch, none of its rows comes twice before all have come once."""
    starts = np.cumsum([0, *(size for size, _ in sizes)])
    groups = [(int(start), size, quota) for start, (size, quota) in zip(starts, sizes, strict=False)]
    drawn = [row for epoch in range(5) for row in epoch_order(groups, seed, epoch)]
    assert len(drawn) == 5 * sum(quota for _, _, quota in groups)
    for first, size, quota in groups:
        counts = np.bincount([row - first for row in drawn if first <= row < first + size], minlength=size)
        assert counts.sum() == 5 * quota
        assert counts.max() - counts.min() <= 1
