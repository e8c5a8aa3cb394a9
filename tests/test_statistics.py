"""Intervals cover what they say, p values are uniform where there is nothing, and what is not enough for a number gives none."""

import math
import warnings
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from xstilts.base import UserError
from xstilts.correlations import _below, partial_spearman, pearson, smallest_significant, spearman, spearman_rho
from xstilts.language_facts import read_facts
from xstilts.regressions import line, slope
from xstilts.statistics import (
    Summary,
    _gain_and_error,
    _terms,
    gain,
    holm,
    paired_bootstrap,
    spread,
    summary,
    t_interval,
)

TRUE = 4.0  # points of simulated gain
SCORES = st.floats(0, 100).map(lambda score: round(score, 3))


@pytest.fixture(autouse=True)
def no_warnings():
    """None of these functions warns: what is wrong is in the result."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


# ---- gains ------------------------------------------------------------------------------------------------------------


def simulated(rng, seeds, deviation, examples=50, languages=1):
    """(ours, theirs, gain on these test sets): figures of systems TRUE points apart over all seeds and examples. Languages
    have translations of one test set; examples are hard or easy and gain more or less; seeds differ by a deviation in points."""
    hard, more = rng.uniform(0.3, 0.65, examples), TRUE / 100 + rng.uniform(-0.1, 0.1, examples)
    seed = rng.normal(0, deviation / 100, (seeds, 1))
    ours, theirs = hard + more + seed, np.tile(hard, (seeds, 1))
    draw = [{f"l{i}": figures(rng, chances) for i in range(languages)} for chances in (ours, theirs)]
    return *draw, 100 * more.mean()


def figures(rng, chances):
    """What examples add to an accuracy, of their chances to be right."""
    right = 100.0 * (rng.random(chances.shape) < chances)
    return np.stack([right, np.ones_like(right)], axis=-1)


def scores(system):
    """{seed: mean over languages}."""
    return dict(enumerate(np.mean([figures[..., 0].mean(1) for figures in system.values()], axis=0)))


def held(simulations, interval_and_truth):
    """Percent of intervals that hold the truth."""
    found = [interval_and_truth() for _ in range(simulations)]
    return 100 * np.mean([low <= truth <= high for low, high, truth in found])


@pytest.mark.parametrize("deviation", [1, 6])
@pytest.mark.parametrize("seeds", [3, 5])
def test_gains_of_few_seeds_cover_the_gain_on_the_test_set(seeds, deviation):
    rng = np.random.default_rng(seeds)

    def once():
        ours, theirs, truth = simulated(rng, seeds, deviation, examples=1000)
        found = gain(scores(ours), scores(theirs), (ours, theirs))
        assert found.method == "t over seeds"
        return found.low, found.high, truth

    assert 92 <= held(500, once) <= 98


@pytest.mark.parametrize("deviation", [1, 6])
def test_gains_of_ten_seeds_cover_the_gain_on_all_test_sets(deviation):
    rng = np.random.default_rng(10)

    def once():
        ours, theirs, _ = simulated(rng, 10, deviation)
        found = gain(scores(ours), scores(theirs), (ours, theirs))
        assert found.method == "bootstrap over examples and seeds"
        return found.low, found.high, TRUE

    assert 92 <= held(500, once) <= 98


@pytest.mark.parametrize("languages", [1, 3])
@pytest.mark.parametrize("seed", [0.5, 20])
def test_the_bootstrap_covers_where_one_source_outweighs_all_others(seed, languages):
    """Only seeds vary, where percentiles would cover 90 percent, or each seed errs on its own examples, where they would 100;
    with translations, whose examples gain together, drawing each language apart would cover 75."""
    rng = np.random.default_rng(1)

    def once():
        common = rng.normal(size=(1, 50)) * (15 if languages > 1 else 0)
        values = [TRUE + common + rng.normal(size=(10, 1)) * 2 / seed + rng.normal(size=(10, 50)) * seed for _ in "abc"]
        ours = {f"l{i}": np.stack([values[i], np.ones((10, 50))], -1) for i in range(languages)}
        theirs = {language: np.stack([np.zeros((10, 50)), np.ones((10, 50))], -1) for language in ours}
        return *paired_bootstrap(ours, theirs, resamples=300)[0], TRUE

    assert 92 <= held(400, once) <= 98


@given(st.dictionaries(st.integers(0, 30), SCORES, min_size=1, max_size=12))
def test_a_system_gains_nothing_over_itself(own):
    found = gain(own, own)
    assert (found.mean, found.low, found.seeds) == (0, None, len(own))
    assert found.p == (1 if len(own) > 1 else None)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 12), st.integers(1, 3))
def test_predictions_gain_nothing_over_themselves(seed, seeds, languages):
    ours, _, _ = simulated(np.random.default_rng(seed), seeds, 1, 10, languages)
    assert paired_bootstrap(ours, ours, resamples=50) == (None, 1)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 12))
def test_the_other_way_round_a_gain_is_a_loss(seed, seeds):
    ours, theirs, _ = simulated(np.random.default_rng(seed), seeds, 3, 20)
    found, turned = (paired_bootstrap(*pair, resamples=99) for pair in ((ours, theirs), (theirs, ours)))
    assert found[1] == turned[1]
    if found[0]:
        assert found[0] == pytest.approx([-edge for edge in turned[0][::-1]])


def test_a_single_seed_has_no_deviation():
    assert summary([70.0]) == Summary(70, None, 1)
    assert summary([70.0, 72.0, 77.0]) == Summary(73, pytest.approx(math.sqrt((9 + 1 + 16) / 2)), 3)


def test_seeds_are_paired_by_number():
    found = gain({1: 70.0, 2: 60.0, 3: 50.0, 9: 0.0}, {3: 49.0, 1: 67.0, 2: 58.0, 8: 100.0})
    assert (found.mean, found.seeds, found.method) == (2, 3, "t over seeds")
    reach = stats.t.ppf(0.975, 2) / math.sqrt(3)  # gains 3, 2, 1
    assert (found.low, found.high) == pytest.approx((2 - reach, 2 + reach))
    assert found.p == pytest.approx(2 * stats.t.sf(2 * math.sqrt(3), 2))


def test_gains_without_an_interval_say_why():
    one = gain({1: 70.0, 2: 60.0}, {1: 68.0})
    assert (one.mean, one.low, one.p, one.seeds, one.method) == (2, None, None, 1, "one seed")
    assert gain({1: 70.0}, {2: 68.0}).method == "no seed in common"
    assert gain({1: 70.0}, {2: 68.0}).mean is None
    same = gain({1: 70.1, 2: 70.3}, {1: 70.0, 2: 70.2})
    assert (same.mean, same.low, same.p) == (pytest.approx(0.1), None, None)
    assert same.method == "t over seeds: the gains do not vary enough for an interval"
    assert t_interval([0.0, 0.0]) == (None, 1)


def test_ten_seeds_without_figures_get_t():
    found = gain({seed: 70 + seed % 3 for seed in range(10)}, dict.fromkeys(range(10), 70))
    assert found.method == "t over seeds (no figures per example)"
    assert found.low > 0


def test_figures_that_are_not_those_of_the_scores_are_refused():
    ours, theirs, _ = simulated(np.random.default_rng(0), 10, 1)
    own = scores(ours), scores(theirs)
    assert gain(*own, (ours, theirs)).mean == pytest.approx(np.mean(ours["l0"][..., 0] - theirs["l0"][..., 0]))
    with pytest.raises(UserError, match="not those that were scored"):
        gain(own[0], {seed: score - 1 for seed, score in own[1].items()}, (ours, theirs))
    with pytest.raises(UserError, match="of 10 seeds and scores of 11"):
        gain(*({**each, 10: 70.0} for each in own), (ours, theirs))
    with pytest.raises(UserError, match="the same languages, seeds and examples"):
        paired_bootstrap(ours, {"l1": theirs["l0"]})
    with pytest.raises(UserError, match="the same seeds in every language"):
        paired_bootstrap(*({**each, "l1": each["l0"][:9]} for each in (ours, theirs)))


def literal_gain_and_error(ours, theirs):
    """The gain of two systems and its standard error for crossed factors, language by language."""
    gains, by_example, by_cell = 0, 0, 0
    for language in ours:
        parts = 0
        for sign, values in ((1, ours[language]), (-1, theirs[language])):
            tops, bottoms = np.moveaxis(values, 2, 0)
            ratios = tops.sum(1, keepdims=True) / bottoms.sum(1, keepdims=True)
            gains = gains + sign * ratios[:, 0] / len(ours)
            parts = parts + sign * (tops - ratios * bottoms) / bottoms.mean(1, keepdims=True) / len(ours)
        seeds, examples = parts.shape
        cells = ((parts - parts.mean(0)) ** 2).sum() / ((seeds - 1) * (examples - 1))
        by_example += parts.mean(0).var(ddof=1) / examples
        by_cell += cells / (seeds * examples)
    by_seed = gains.var(ddof=1) / seeds
    return gains.mean(), math.sqrt(max(by_seed + by_example - by_cell, by_seed, by_example))


@pytest.mark.parametrize("seed", range(4))
def test_the_error_of_a_resample_is_that_of_its_rows(seed):
    """Weights stand for rows that are there several times; the score is a ratio of sums."""
    rng = np.random.default_rng(seed)
    sizes, seeds = {"de": 40, "sw": 30}, rng.multinomial(6, [1 / 6] * 6)
    times = {size: rng.multinomial(size, [1 / size] * size) for size in sizes.values()}
    ours, theirs = (
        {
            language: rng.integers(1, 9, (6, size, 2)) + 9 * rng.random((6, 1, 2)) + 9 * rng.random((1, size, 2))
            for language, size in sizes.items()
        }
        for _ in "ab"
    )
    found = _gain_and_error(_terms(ours, theirs), seeds[None], {size: drawn[None] for size, drawn in times.items()})
    again = (
        {
            language: np.repeat(np.repeat(values, seeds, 0), times[values.shape[1]], 1)
            for language, values in own.items()
        }
        for own in (ours, theirs)
    )
    assert [each[0] for each in found] == pytest.approx(literal_gain_and_error(*again))


def test_the_bootstrap_reads_ratios_of_sums():
    """F1 adds up over examples, and does not average: an example that weighs 99 times as much decides."""
    ours, theirs = (np.tile([[[200.0 * right, 2.0], [0.0, 198.0]]], (4, 5, 1)) for right in (1, 0))
    ours[:, ::2] *= 1.5  # of numerator and denominator
    noise = np.random.default_rng(0).random((4, 10)) < 0.1
    ours[..., 0] += 2 * noise
    (low, high), _ = paired_bootstrap({"en": ours}, {"en": theirs}, resamples=500)
    assert low < (ours[..., 0].sum(1) / ours[..., 1].sum(1)).mean() < high < 5


def test_no_p_is_0():
    rng = np.random.default_rng(0)
    ours, theirs = ({"en": figures(rng, np.full((10, 50), chance))} for chance in (0.9, 0.1))
    assert paired_bootstrap(ours, theirs, resamples=99)[1] == pytest.approx(1 / 100)


def test_one_example_that_differs_proves_nothing():
    theirs = np.stack([np.zeros((10, 100)), np.ones((10, 100))], -1)
    ours = theirs.copy()
    ours[:, 0, 0] = 100
    interval, p = paired_bootstrap({"en": ours}, {"en": theirs}, resamples=200)
    assert interval is None
    assert p > 0.25


def test_the_bootstrap_has_a_bounded_memory(monkeypatch):
    """Resamples are drawn in as many steps as fit, with the same distribution."""
    ours, theirs, _ = simulated(np.random.default_rng(0), 10, 3, 50)
    (low, high), _ = paired_bootstrap(ours, theirs)
    monkeypatch.setattr("xstilts.statistics.CHUNK", 500)
    assert paired_bootstrap(ours, theirs)[0] == pytest.approx((low, high), abs=0.15 * (high - low))


# ---- several comparisons, spread --------------------------------------------------------------------------------------


@given(st.lists(st.none() | st.just(math.nan) | st.floats(0, 1), max_size=12))
def test_holm(p_values):
    """As Holm has it: the largest of the products up to a p; it is never below that, and keeps the order and what is missing."""
    known = [p for p in p_values if p is not None and p == p]
    adjusted = holm(p_values)
    for raw, found in zip(p_values, adjusted, strict=True):
        if raw is None or raw != raw:
            assert found is raw
        else:
            products = [p * sum(other >= p for other in known) for p in known if p <= raw]
            assert found == pytest.approx(min(1, max(products)))
            assert found >= raw
    pairs = sorted((p, q) for p, q in zip(p_values, adjusted, strict=True) if p is not None and p == p)
    assert all(q <= later + 1e-12 for (_, q), (_, later) in pairwise(pairs))


def measurements(rng, draws, seeds, languages, deviations):
    """Scores of every language in every seed of every draw; standard deviations over languages, draws and seeds."""
    over = [rng.normal(0, d, size) for d, size in zip(deviations, (languages, draws, (draws, seeds)), strict=True)]
    rows = [
        (70 + over[0][language] + over[1][draw] + over[2][draw, seed], f"l{language}", draw, seed)
        for language in range(languages)
        for draw in range(draws)
        for seed in range(seeds)
    ]
    return pd.DataFrame(rows, columns=["score", "language", "draw", "seed"])


def test_spread_tells_languages_draws_and_seeds_apart():
    found = spread(measurements(np.random.default_rng(0), 60, 6, 60, (5, 2, 1)))
    assert (found.languages, found.draws, found.seeds) == pytest.approx((5, 2, 1), rel=0.2)


def test_spread_of_seeds_alone_leaves_draws_without():
    found = [spread(measurements(np.random.default_rng(seed), 8, 3, 2, (1, 0, 3))).draws for seed in range(60)]
    assert np.mean(np.square(found)) < 1  # the seeds' variance in the draws' means is 3
    assert 0 in found


def test_spread_of_little():
    table = measurements(np.random.default_rng(0), 1, 1, 3, (5, 1, 1))
    found = spread(table)
    assert (found.draws, found.seeds) == (None, None)
    assert found.worst_language == table.loc[table["score"].idxmin(), "language"]
    assert found.worst_score == table["score"].min()
    several = measurements(np.random.default_rng(0), 3, 2, 3, (5, 1, 1))
    for damaged in (several.iloc[1:], pd.concat([several, several[:1]]), several.replace({"seed": {0: None}})):
        with pytest.raises(UserError, match="one score of every language"):
            spread(damaged)


# ---- rank correlations ------------------------------------------------------------------------------------------------


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=2, max_size=30))
def test_spearman_is_that_of_scipy(points):
    x, y = zip(*points, strict=True)
    found = spearman(x, y, resamples=20)
    if len(set(x)) == 1 or len(set(y)) == 1:
        assert (found.rho, found.low, found.p) == (None, None, None)
        assert "are the same" in found.note
    else:
        assert found.rho == pytest.approx(stats.spearmanr(x, y).statistic)
        assert (found.low is None) == (len(points) < 4)
        assert found.n == len(points)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), min_size=1, max_size=20))
def test_ranks_by_weights_are_those_of_the_points_drawn(points):
    values, times = map(np.array, zip(*points, strict=True))
    ranks = times @ _below(values).T + 0.5
    assert list(np.repeat(ranks, times)) == pytest.approx(list(stats.rankdata(np.repeat(values, times))))


def test_intervals_of_spearman_are_of_resamples():
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 6, (2, 12))
    found = spearman(x, y, resamples=4000)
    drawn = (rng.integers(0, 12, 12) for _ in range(4000))
    literal = [np.corrcoef(stats.rankdata(x[own]), stats.rankdata(y[own]))[0, 1] for own in drawn]
    assert (found.low, found.high) == pytest.approx(tuple(np.percentile(literal, [2.5, 97.5])), abs=0.04)


@pytest.mark.parametrize("n", [8, 20])
def test_intervals_of_spearman_cover(n):
    rng, truth = np.random.default_rng(n), 6 / math.pi * math.asin(0.6 / 2)  # of normal numbers that correlate at 0.6

    def once():
        x, noise = rng.normal(size=(2, n))
        found = spearman(x, 0.6 * x + 0.8 * noise, resamples=300)
        return found.low, found.high, truth

    assert 92 <= held(300, once) <= 98


def test_p_values_of_correlations_are_uniform_where_there_is_none():
    rng = np.random.default_rng(0)
    p_values = np.array([spearman(*rng.normal(size=(2, 10)), resamples=99).p for _ in range(400)])
    assert 0.02 <= np.mean(p_values <= 0.05) <= 0.085
    assert 0.42 <= np.mean(p_values <= 0.5) <= 0.58


def test_correlations_that_are_there_are_found():
    rng = np.random.default_rng(0)
    x = rng.normal(size=20)
    found = spearman(x, x + 0.7 * rng.normal(size=20), resamples=999)
    assert found.low > 0
    assert found.p <= 0.002


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(5, 25))
def test_partial_spearman_is_of_what_a_fit_on_the_control_leaves_of_the_ranks(seed, n):
    x, y, control = np.random.default_rng(seed).permuted(np.tile(np.arange(n) // 2, (3, 1)), axis=1)
    ranks = [stats.rankdata(values) for values in (x, y, control)]
    left = [own - np.polyval(np.polyfit(ranks[2], own, 1), ranks[2]) for own in ranks[:2]]
    if min(own.var() for own in left) < 1e-6:
        assert partial_spearman(x, y, control) is None
    else:
        assert partial_spearman(x, y, control) == pytest.approx(np.corrcoef(*left)[0, 1], abs=1e-6)


def test_a_control_takes_away_what_it_explains():
    rng = np.random.default_rng(0)
    size = rng.normal(size=200)
    x, y = 3 * size + rng.normal(size=(2, 200))
    assert spearman_rho(x, y) > 0.8
    assert abs(partial_spearman(x, y, size)) < 0.2
    assert partial_spearman(x, y, np.exp(size)) == partial_spearman(x, y, size), "ranks: as good as the logarithm"


def test_the_smallest_correlation_that_is_significant():
    assert [round(smallest_significant(n), 2) for n in (6, 14)] == [0.81, 0.53]
    assert smallest_significant(2) is None
    x = np.random.default_rng(0).normal(size=(2, 14))
    r, p = pearson(*x)
    assert (p < 0.05) == (abs(r) > smallest_significant(14))


def test_correlations_that_cannot_be_computed_say_why():
    assert "fewer than two" in spearman([], []).note
    assert spearman([1, 2, 3], [5, 5, 5]).note == "all values of y are the same"
    three = spearman([1, 2, 3], [1, 3, 2])
    assert three.rho == pytest.approx(0.5)
    assert three.low is None
    assert "fewer than 4" in three.note
    assert pearson([1, 2], [1, 2]) == pearson([1, 2, 3], [5, 5, 5]) == (None, None)
    assert partial_spearman([1, 2, 3], [1, 3, 2], [1, 2, 3]) is None
    assert partial_spearman([1, 2, 3, 4], [1, 3, 2, 4], [1, 2, 3, math.nan]) is None
    assert partial_spearman([1, 2, 3, 4], [1, 3, 2, 4], [1, 2, 3, 4]) is None
    with pytest.raises(UserError, match="lists of 2 and 3 values"):
        spearman([1, 2], [1, 2, 3])
    with pytest.raises(UserError, match="not a finite number"):
        spearman([1, 2, math.nan], [1, 2, 3])


# ---- models -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("deviation", [0, 1, 2])
@pytest.mark.parametrize("codes", ["ar bg de el es fr hi ru sw th tr ur vi zh", "de es fr ja ko zh"])
def test_gains_that_do_not_depend_on_distance_are_found_to_in_one_of_twenty_tests(codes, deviation):
    """Languages gain by themselves, with this deviation in points, in all targets alike: a model of several targets with an
    intercept for each language takes that for evidence on distance."""
    rng, far = np.random.default_rng(deviation), read_facts()["syntactic"][codes.split()].tolist()
    draws = 2 + rng.normal(0, deviation, (400, len(far))) + rng.normal(0, 1, (400, len(far)))
    assert 2 <= 100 * np.mean([line(far, gains).p < 0.05 for gains in draws]) <= 8.5


def test_a_slope_on_distance_is_that_of_linregress():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 9))
    expected, found = stats.linregress(x, y), line(x, y)
    assert (found.value, found.p) == pytest.approx((expected.slope, expected.pvalue))
    assert found.high - found.value == pytest.approx(stats.t.ppf(0.975, 7) * expected.stderr)
    assert line([1, 2], [1.0, 2.0]) is None
    assert line([3, 3, 3], [1.0, 2.0, 4.0]) is None
    exact = line([1, 2, 3], [2.0, 4.0, 6.0])
    assert (exact.value, exact.low, exact.p) == (pytest.approx(2), None, None)


def growth(rng, draws, per_task=0.5):
    """(numbers, scores, draws) of tasks added one after another in each draw, whose slopes differ."""
    numbers, draw = np.tile([1, 2, 4, 9], draws), np.repeat(np.arange(draws), 4)
    slopes, level = per_task + 0.3 * rng.normal(size=draws), rng.normal(size=draws)
    return numbers, 50 + slopes[draw] * numbers + level[draw] + 0.5 * rng.normal(size=4 * draws), draw


@pytest.mark.parametrize("draws", [3, 10])
def test_intervals_of_slopes_cover_with_few_draws(draws):
    rng = np.random.default_rng(draws)

    def once():
        found = slope(*growth(rng, draws), resamples=200).per_task
        return found.low, found.high, 0.5

    assert 92 <= held(400, once) <= 98


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), SCORES), min_size=1, max_size=20))
def test_slopes_are_those_of_least_squares(points):
    x, y = map(np.array, zip(*points, strict=True))
    found, some = slope(x, y, resamples=20), x > 0
    for own, at, values in ((found.per_task, x, y), (found.per_doubling, np.log2(x[some]), y[some])):
        if len(set(at)) < 2:
            assert own is None
        else:
            assert own.value == pytest.approx(stats.linregress(at, values).slope, abs=1e-6)


def test_intervals_of_slopes_are_of_draws():
    """Where all draws have the same numbers, the slope is the mean of theirs, and the interval Student's."""
    numbers, values, draws = growth(np.random.default_rng(0), 3)
    own = [stats.linregress(numbers[draws == draw], values[draws == draw]).slope for draw in range(3)]
    (low, high), p = t_interval(own)
    found = slope(numbers, values, draws, resamples=20000).per_task
    assert (found.value, found.high - found.low) == pytest.approx((np.mean(own), high - low), rel=0.03)
    assert found.p == pytest.approx(p, rel=0.1)


def test_slopes_of_little():
    two = slope([1, 2], [50.0, 52.0]).per_task
    assert (two.value, two.low, two.p) == (pytest.approx(2), None, None)
    one = slope([1, 2, 3], [50.0, 52.0, 54.0], groups=["a"] * 3)
    assert (one.per_task.value, one.per_task.low, one.groups) == (pytest.approx(2), None, 1)
    assert slope([1, 2, 4, 8], [1.0, 2.0, 3.0, 4.0]).per_doubling.value == pytest.approx(1)
    assert slope([2, 2], [50.0, 60.0]).per_task is None
    with pytest.raises(UserError, match="lists of 1 and 2"):
        slope([1], [1.0, 2.0])
