"""How sure a score is: 95 percent bootstrap intervals over the examples of a test set (percentiles, Efron & Tibshirani 1993)."""

import numpy as np

RESAMPLES = 1000
SEED = 0  # of the draws: an interval is a function of the predictions


def ratios(metric, predictions, references, language=None):
    """(examples, 2) float64 array: what each example adds to the numerator, 0 to 100, and to the denominator of the headline
    score of a metric class; None for a metric that does not say."""
    if metric.ratio is None:
        return None
    return np.array([metric.ratio(p, r, language) for p, r in zip(predictions, references, strict=True)], np.float64)


def bootstrap(ratios):
    """[low, high], the 2.5th and the 97.5th percentile of a score over examples drawn again with replacement, 0 to 100; None of a
    single example, and where no example adds to the denominator: how such a score varies cannot be known.

    ratios    as the function of that name gives them
    Examples that add the same are drawn together, which is the same distribution: of right and wrong there are two kinds only.
    """
    ratios = np.asarray(ratios, np.float64)
    if len(ratios) < 2 or not ratios[:, 1].any():
        return None
    kinds, sizes = np.unique(ratios, axis=0, return_counts=True)
    drawn = np.random.default_rng(SEED).multinomial(sizes.sum(), sizes / sizes.sum(), size=RESAMPLES)
    above, below = (drawn @ kinds).T
    scores = np.divide(above, below, out=np.zeros_like(above), where=below > 0)
    return [round(float(edge), 4) for edge in np.percentile(scores, [2.5, 97.5])]
