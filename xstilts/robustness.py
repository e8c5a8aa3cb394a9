"""How evenly a space of sentence vectors serves search, beside whether the right one is found first."""

import numpy as np

from xstilts.search import mean_cosine, occurrences, skewness

NEIGHBOURS = 10  # of which occurrences are counted, as usual since Radovanovic et al. (2010, JMLR 11)


def rank_summary(ranks):
    """Of the rank of the right vector of every query, from 1: mean reciprocal rank (0 to 100), median, 90th percentile."""
    ranks = np.asarray(ranks)
    return {
        "mrr": float(100 * (1 / ranks).mean()),
        "rank_median": float(np.median(ranks)),
        "rank_90": float(np.quantile(ranks, 0.9)),
    }


def hubness(neighbours, size):
    """Skewness of how often each of `size` vectors is among the nearest of some query; 0 is even, large are a few hubs.

    neighbours    (queries, k) positions; the first 10 columns count (Radovanovic et al. 2010), all if there are fewer
    """
    return float(skewness(occurrences(neighbours[:, :NEIGHBOURS], size)))


def anisotropy(vectors):
    """Mean cosine of two different vectors (Ethayarajh 2019): 0 for directions spread evenly, towards 1 in a narrow cone. None of
    a single vector."""
    return float(mean_cosine(vectors)) if len(vectors) > 1 else None
