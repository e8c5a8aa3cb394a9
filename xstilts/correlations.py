"""Correlations over languages: what scores go with, by itself and beside one other thing.

What cannot be computed is None, with the reason in a field: a report has many small samples, and says of each what it can.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from xstilts.base import UserError
from xstilts.statistics import LEVEL, SEED

RESAMPLES = 2000
MINIMAL = 4  # languages for an interval
ROUNDING = 1e-9  # what float64 leaves of 0


@dataclass(frozen=True)
class Correlation:
    """A rank correlation, its 95 percent interval, two-sided permutation p value, number of points, and why there is no
    correlation or no interval."""

    rho: float | None
    low: float | None
    high: float | None
    p: float | None
    n: int
    note: str = ""


def spearman(x, y, resamples=RESAMPLES, seed=SEED):
    """Spearman's `Correlation` of two lists of numbers.

    The interval is of bootstrap percentiles, which covered 91 to 99 percent of 400 simulated samples of 8 to 30 languages, for
    correlations up to 0.95; the bias-corrected and accelerated kind (BCa) covered no better, and with 5 languages none does.
    Resamples in which x or y does not vary have no correlation and do not count.
    p is (count + 1) / (permutations + 1), the count being of permutations at least as far from 0.
    Raises UserError for lists of different lengths and values that are no numbers.
    """
    x, y = numbers_of(x, y)
    count = len(x)
    if note := _constant(x=x, y=y):
        return Correlation(None, None, None, None, count, note)
    ranks = stats.rankdata(x), stats.rankdata(y)
    rho, rng = float(_pearson(*ranks)), np.random.default_rng(seed)
    permuted = rng.permuted(np.tile(ranks[0], (resamples, 1)), axis=1)
    p = _share_as_far(_pearson(permuted, ranks[1]), rho)
    if count < MINIMAL:
        return Correlation(rho, None, None, p, count, f"no interval: fewer than {MINIMAL} to draw from")
    weights = rng.multinomial(count, np.full(count, 1 / count), size=resamples)
    low, high = _percentiles(_pearson(weights @ _below(x).T, weights @ _below(y).T, weights))
    return Correlation(rho, low, high, p, count)


def pearson(x, y):
    """(Pearson's r, its two-sided p) of two lists of numbers; (None, None) of fewer than three points, or where one list does not
    vary."""
    x, y = numbers_of(x, y)
    if len(x) < 3 or _constant(x=x, y=y):
        return None, None
    found = stats.pearsonr(x, y)
    return float(found.statistic), float(found.pvalue)


def spearman_rho(x, y):
    """Spearman's rho alone, None where `pearson` has no r."""
    x, y = numbers_of(x, y)
    return pearson(stats.rankdata(x), stats.rankdata(y))[0]


def partial_spearman(x, y, control):
    """Spearman's rho of x and y with one control held: the first-order partial correlation of their ranks.

    One, because n languages have n - 3 degrees of freedom beside it: XNLI's 14 are too few for several. None where the control is
    not known of a point, where there are fewer than four, or where the control leaves nothing of x or y.
    """
    x, y = numbers_of(x, y)
    control = np.asarray(control, np.float64)
    if len(x) < 4 or np.isnan(control).any():
        return None
    pairs = ((x, y), (x, control), (y, control))
    found = [spearman_rho(*pair) for pair in pairs]
    if None in found:
        return None
    of_both, of_x, of_y = found
    left = (1 - of_x**2) * (1 - of_y**2)
    return (of_both - of_x * of_y) / math.sqrt(left) if left > ROUNDING else None


def smallest_significant(n, level=0.05):
    """The smallest |r| of n points whose two-sided p is below `level`: 0.81 of 6, 0.53 of 14; None of fewer than three."""
    if n < 3:
        return None
    t = stats.t.ppf(1 - level / 2, n - 2)
    return float(t / math.sqrt(n - 2 + t**2))


def numbers_of(*lists):
    """The lists as float64 arrays."""
    arrays = [np.asarray(values, np.float64) for values in lists]
    if len({len(values) for values in arrays}) > 1:
        raise UserError(f"lists of {' and '.join(str(len(a)) for a in arrays)} values do not belong together")
    if not all(np.isfinite(values).all() for values in arrays):
        raise UserError("a value is not a finite number; leave its point out by name")
    return arrays


def _constant(**arrays):
    """Why there is no correlation, "" where there is one."""
    if len(next(iter(arrays.values()))) < 2:
        return "fewer than two points"
    same = [name for name, values in arrays.items() if np.ptp(values) == 0]
    return f"all values of {' and '.join(same)} are the same" if same else ""


def _below(values):
    """(n, n) matrix whose product with weights is the ranks, less 1/2, in a sample that has each point so often; ties share."""
    return (values[:, None] > values) + (values[:, None] == values) / 2


def _pearson(a, b, weights=1.0):
    """Correlations over the last axis; NaN where a side does not vary."""
    weights = np.broadcast_to(weights, np.broadcast_shapes(a.shape, b.shape))
    a, b = (side - (weights * side).sum(-1, keepdims=True) / weights.sum(-1, keepdims=True) for side in (a, b))
    above, below = (weights * a * b).sum(-1), np.sqrt((weights * a * a).sum(-1) * (weights * b * b).sum(-1))
    return np.divide(above, below, out=np.full(np.shape(above), np.nan), where=below > ROUNDING)


def _share_as_far(found, value):
    """p value of a correlation among those of permutations."""
    return float((np.count_nonzero(np.abs(found) >= abs(value) - ROUNDING) + 1) / (len(found) + 1))


def _percentiles(values):
    return tuple(map(float, np.percentile(values[np.isfinite(values)], [50 * (1 - LEVEL), 50 * (1 + LEVEL)])))
