"""How sure a gain is: intervals and p values of seed-paired gains, of several comparisons at once, and what scores vary with.

Scores are 0 to 100. `xstilts/correlations.py` and `xstilts/regressions.py` have what scores go with.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from xstilts.base import UserError

RESAMPLES = 1000
SEED = 0  # of the draws: an interval is a function of the figures
LEVEL = 0.95
BOOTSTRAP_FROM = 10  # seeds; with fewer, their own bootstrap says little of how seeds vary
CHUNK = 2**22  # numbers that a step of the bootstrap holds at a time
ROUNDING = 1e-9  # what float64 leaves of differences that are 0, in points
TOLERANCE = 0.01  # points by which a gain may differ between rounded scores and figures per example


@dataclass(frozen=True)
class Summary:
    """Scores of several seeds; one has no deviation (n - 1 in its denominator)."""

    mean: float
    deviation: float | None
    n: int


@dataclass(frozen=True)
class Gain:
    """A mean seed-paired gain in points, its 95 percent interval, its two-sided p value against 0, how many seeds are paired, and
    the method, with the reason where it gives no interval. What there is not is None."""

    mean: float | None
    low: float | None
    high: float | None
    p: float | None
    seeds: int
    method: str


@dataclass(frozen=True)
class Spread:
    """Standard deviations in points, None where there is one language, draw or seed only; the language with the lowest mean."""

    languages: float | None
    draws: float | None
    seeds: float | None
    worst_language: str
    worst_score: float


def summary(scores):
    """`Summary` of the scores of one or more seeds."""
    return Summary(float(np.mean(scores)), float(np.std(scores, ddof=1)) if len(scores) > 1 else None, len(scores))


def gain(ours_by_seed, theirs_by_seed, examples=None):
    """`Gain` of {seed: score} over {seed: score}; a seed that only one of them has does not count.

    examples    (ours, theirs) as `paired_bootstrap` reads them, of the seeds that both have, in one order
    Below 10 seeds the t interval, which speaks of other seeds on the same test sets; from 10 on, where `examples` are given, the
    bootstrap, which speaks of other test sets, too. Raises UserError where the examples are of another number of seeds than
    the scores, or give another gain.
    """
    gains = [ours_by_seed[seed] - theirs_by_seed[seed] for seed in ours_by_seed if seed in theirs_by_seed]
    mean, seeds = (float(np.mean(gains)) if gains else None), len(gains)
    if seeds < 2:
        return Gain(mean, None, None, None, seeds, "one seed" if gains else "no seed in common")
    if seeds >= BOOTSTRAP_FROM and examples is not None:
        _check_examples(examples, mean, seeds)
        method, (interval, p) = "bootstrap over examples and seeds", paired_bootstrap(*examples)
    else:
        method, (interval, p) = "t over seeds", t_interval(gains)
        method += " (no figures per example)" if seeds >= BOOTSTRAP_FROM else ""
    if interval is None:
        method += ": the gains do not vary enough for an interval"
    return Gain(mean, *(interval or (None, None)), p, seeds, method)


def _check_examples(examples, mean, seeds):
    terms = _terms(*examples)
    count = next(iter(terms.values()))[1].shape[1]
    if count != seeds:
        raise UserError(
            f"figures per example are of {count} seeds and scores of {seeds}; give those of the paired seeds"
        )
    found = _gain_and_error(terms, *_all_once(terms, count))[0][0]
    if abs(found - mean) > TOLERANCE:
        raise UserError(
            f"figures per example give a gain of {found:.2f} and the scores one of {mean:.2f}: the predictions are not "
            "those that were scored; score them again"
        )


def t_interval(gains, level=LEVEL):
    """((low, high) or None, p or None): Student's t interval of the mean of seed-paired gains, and its two-sided p against 0.

    There is neither with fewer than two gains, nor where all are the same: such gains do not say how they would vary, and a
    width of 0 would claim a certainty that no number of seeds gives. A mean of 0 without variation has p 1 all the same, since it
    is what no gain predicts, however wide.
    """
    if len(gains) < 2:
        return None, None
    if np.ptp(gains) <= ROUNDING:
        return None, _p_without_variation(np.mean(gains))
    tested = stats.ttest_1samp(gains, 0)
    low, high = tested.confidence_interval(level)
    return (float(low), float(high)), float(tested.pvalue)


def _p_without_variation(mean):
    return 1.0 if abs(mean) <= ROUNDING else None


def paired_bootstrap(ours, theirs, resamples=RESAMPLES, seed=SEED, level=LEVEL):
    """((low, high) or None, p or None): the interval of a gain, the mean over languages, and its two-sided p against 0, from
    drawing examples and seeds again.

    ours, theirs    {language: (seeds, examples, 2) array}: what each example adds to the numerator and the denominator of a score
                    (as `xstilts/intervals.py` reads them); the same examples in one order everywhere, seeds paired
    Seeds are drawn once for all languages and both systems. Examples are drawn once for all languages that have the same
    number of them: right for translations of one test set, whose examples are hard or easy together, and as right as drawing them
    apart where they are unrelated. Examples and seeds are drawn independently, as Owen (2007) does with two crossed factors.

    The interval is the symmetric bootstrap-t (Hall 1988): gain +- q x error, with q the quantile of |gain* - gain| / error* over
    the resamples, and the error that of two crossed factors (see `_gain_and_error`). Percentiles of gain* fail in both
    directions: with 10 seeds they are too narrow where the seeds vary (by a factor of sqrt(9/10), and without allowance for a
    variance that is estimated from ten numbers), and too wide where each seed errs on its own examples, which drawing both ways
    counts three times (Owen 2007). Of 500 simulated gains of 10 seeds, percentiles covered 90 percent in the first case and
    100 in the second, these intervals 93 to 97 in all.
    There is neither with one seed or one example, nor where nothing varies (p as in `t_interval`), and no interval
    where too few examples differ, where p is large. Memory does not grow with the number of resamples; 1,000 of 10 seeds, 15
    languages and 5,000 examples take 3 seconds.
    Raises UserError where the languages, seeds or examples of both differ.
    """
    terms = _terms(ours, theirs)
    seeds = next(iter(terms.values()))[1].shape[1]
    if seeds < 2 or min(terms) < 2:
        return None, None
    point, error = (float(value[0]) for value in _gain_and_error(terms, *_all_once(terms, seeds)))
    if error <= ROUNDING:
        return None, _p_without_variation(point)
    rng, deviations, step = np.random.default_rng(seed), [], max(1, CHUNK // max(terms))
    for begin in range(0, resamples, step):
        drawn, errors = _gain_and_error(terms, *_draws(rng, terms, seeds, min(step, resamples - begin)))
        moved = np.abs(drawn - point)
        without = np.where(moved <= ROUNDING, 0, np.inf)  # as if of an error that is as small as can be
        deviations.append(np.divide(moved, errors, out=without, where=errors > ROUNDING))
    deviations = np.sort(np.concatenate(deviations))
    p = (1 + np.count_nonzero(deviations >= abs(point) / error)) / (resamples + 1)
    quantile = deviations[min(math.ceil(level * (resamples + 1)), resamples) - 1]
    interval = (point - quantile * error, point + quantile * error)
    return (tuple(map(float, interval)) if np.isfinite(quantile) else None), float(p)


def _terms(ours, theirs):
    """{number of examples: (weights, numerators, denominators)}, arrays of shape (terms, seeds, examples): the gain of a seed is
    the weighted sum of the terms' scores, one term for each language of each system."""
    shapes = {language: np.shape(values) for language, values in ours.items()}
    if not shapes or shapes != {language: np.shape(values) for language, values in theirs.items()}:
        raise UserError("both systems need figures of the same languages, seeds and examples")
    if len({shape[0] for shape in shapes.values()}) > 1:
        raise UserError("figures per example need the same seeds in every language")
    terms = {}
    for sign, system in ((1, ours), (-1, theirs)):
        for language, values in system.items():
            weights, arrays = terms.setdefault(shapes[language][1], ([], []))
            weights.append(sign / len(ours))
            arrays.append(np.moveaxis(np.asarray(values, np.float64), 2, 0))
    return {size: (np.array(weights), *np.stack(arrays, 1)) for size, (weights, arrays) in terms.items()}


def _all_once(terms, seeds):
    """The weights of the sample itself."""
    return np.ones((1, seeds)), {size: np.ones((1, size)) for size in terms}


def _draws(rng, terms, seeds, count):
    """(count, seeds) and {size: (count, size)} numbers of times that a seed and an example are drawn."""

    def times(size):
        places = rng.integers(size, size=(count, size)) + size * np.arange(count)[:, None]
        return np.bincount(places.ravel(), minlength=count * size).reshape(count, size).astype(np.float64)

    return times(seeds), {size: times(size) for size in terms}


def _gain_and_error(terms, seeds, examples):
    """(gain, its standard error), an array each, of resamples with these weights of seeds and examples.

    The error's square is that of two crossed factors, V(seeds) + V(examples) - V(single figures), since both of the former
    contain the latter (Cameron, Gelbach and Miller 2011); each V is the variance of the mean of the gains' linear parts (a
    score is a ratio of sums). Where the difference is below one of the two, which is chance, the larger counts.
    """
    count = seeds.shape[1]
    gains, by_example, by_cell = 0, 0, 0
    for size, (signs, above, below) in terms.items():
        weights = examples[size]
        # (resamples, terms, seeds)
        tops, bottoms = (np.tensordot(weights, part, ([1], [2])) for part in (above, below))
        scores = np.divide(tops, bottoms, out=np.zeros_like(tops), where=bottoms > 0)
        factors = np.divide(signs[:, None] * size, bottoms, out=np.zeros_like(tops), where=bottoms > 0)
        gains = gains + np.tensordot(scores, signs, ([1], [0]))
        mean, squares = 0, 0
        for seed in range(count):
            linear = factors[:, :, seed] @ above[:, seed] - (factors * scores)[:, :, seed] @ below[:, seed]
            mean = mean + seeds[:, [seed]] / count * linear
            squares = squares + seeds[:, seed] * np.einsum("re,re,re->r", weights, linear, linear)
        shared = np.einsum("re,re,re->r", weights, mean, mean)
        by_example = by_example + shared / (size * (size - 1))
        by_cell = by_cell + (squares - count * shared) / (count * (count - 1) * size * (size - 1))
    gain = (seeds * gains).sum(1) / count
    by_seed = (seeds * (gains - gain[:, None]) ** 2).sum(1) / (count * (count - 1))
    return gain, np.sqrt(np.maximum(by_seed + by_example - by_cell, np.maximum(by_seed, by_example)))


def holm(p_values):
    """p values adjusted for their number by Holm (1979), in the given order; None and NaN stay and do not count."""
    places = [place for place, p in enumerate(p_values) if p is not None and not math.isnan(p)]
    places.sort(key=lambda place: p_values[place])
    adjusted, largest = list(p_values), 0.0
    for smaller, place in enumerate(places):
        largest = max(largest, min(1.0, (len(places) - smaller) * p_values[place]))
        adjusted[place] = largest
    return adjusted


def spread(table):
    """`Spread` of a DataFrame with the columns score, language, draw and seed, a row for each: the seeds of different draws are
    different ones, whatever their number. Raises UserError where a language has not one score in each draw and seed.

    languages   of the languages' means over everything else
    seeds       of the means over languages within a draw: the root of the mean variance over draws
    draws       of the draws' means without what seeds add to it, i.e. the seeds' variance over their number; 0 where that is
                the larger (the method of moments for nested factors)
    """
    runs = table.pivot_table(index=["draw", "seed"], columns="language", values="score", aggfunc=["mean", "size"])
    if not (runs["size"] == 1).all(axis=None) or runs["mean"].isna().any(axis=None) or runs["size"].size < len(table):
        raise UserError("the spread needs one score of every language for each draw and seed")
    means = runs["mean"].mean()
    draws = runs["mean"].mean(axis=1).groupby(level="draw")
    within = draws.var().mean()  # NaN of draws with one seed does not count
    between = draws.mean().var() - (np.nan_to_num(within) / draws.size()).mean()
    variances = (means.var(), max(between, 0) if len(draws) > 1 else math.nan, within)
    deviations = (None if math.isnan(value) else math.sqrt(value) for value in variances)
    return Spread(*deviations, means.idxmin(), float(means.min()))
