"""Exact nearest neighbours by inner product, and what they say of a space: how much it has hubs, and how little it is filled.

Vectors are (n, width) float32 arrays: tensors, numpy arrays or memory maps, which are read block by block; a GPU with room for
the index gets each of its blocks once. Products are computed on `device` in float32, never in TF32 or bfloat16, and in square
blocks, `side` vectors with `side` vectors. Functions with the same `side` compute the same blocks, so that they agree to the last
bit on which of two is nearer; another `side` may round otherwise.
"""

import contextlib
import functools
import math

import numpy as np
import torch
from torch.nn.functional import linear, pad

from xstilts.base import UserError
from xstilts.progress import watched

BYTES = {"cpu": 2**24, "cuda": 2**28}  # of a block of products: what a cache holds, what keeps a GPU at work
GROUP = 16  # products of which only the largest is looked at, unless it is among the best
EMPTY = -torch.inf, -1  # product and position where nothing is found yet
FIRST, SECOND = "the first vectors", "the second vectors"  # in messages
ROWS = 8192  # rows that are normalised at a time


def normalized(vectors, name="vectors"):
    """Copy of (n, width) vectors at length 1, a float32 tensor on the CPU.

    Raises UserError, which calls them `name`, for a vector with NaN or infinity, and for one that is zero: its cosine with others
    is not defined, and whatever stood for it would be counted as a neighbour.
    """
    found = torch.empty(tuple(vectors.shape), dtype=torch.float32)
    for start in range(0, len(vectors), ROWS):
        rows = _rows(vectors, start, ROWS, "cpu", name)
        lengths = torch.linalg.vector_norm(rows, dim=1, keepdim=True, dtype=torch.float64)
        if not lengths.all():
            raise UserError(f"{name}: the vector of row {start + _first(lengths == 0)} is zero and has no cosine")
        found[start : start + ROWS] = rows / lengths
    return found


# ---- neighbours -----------------------------------------------------------------------------------------------------


def top_k(queries, index, k, device="cpu", side=None):
    """The nearest of `index` for each of `queries`, best first, equals by position: (n, k) float32 products and (n, k) int64
    positions in `index`, on the CPU. A `k` above the size of the index gives all of it.

    Raises UserError for a k below 1, for vectors of unequal width, and for NaN and infinity in them.
    """
    return _search(queries, index, (k, 0), device, side)[0]


def top_k_both(x, y, k, device="cpu", side=None):
    """`top_k` of x in y and of y in x, from one pass over the products, which takes half of the time of two."""
    return _search(x, y, (k, k), device, side)


def ranks(queries, index, device="cpu", side=None):
    """Rank of index[i] among the products of queries[i] with all of `index`, 1 for the nearest, equals by position: (n,) int64 on
    the CPU. It is 1 just where `top_k` has i first.

    Raises UserError where `index` is shorter than `queries`, and what `top_k` does.
    """
    if len(index) < len(queries):
        raise UserError(f"{len(queries):,} queries have no vector of their own each among {len(index):,}")
    side = side or block_side(device)
    found, blocks = torch.ones(len(queries), dtype=torch.int64), _reader(index, side, device)
    for start in watched(range(0, len(queries), side), "ranking", "blocks"):
        others = [start, *(other for other in range(0, len(index), side) if other != start)]
        for other, block in _products(_rows(queries, start, side, device, FIRST), blocks, others):
            if other == start:
                own = block.diagonal()[:, None].clone()
                before = (block > own) | (block == own).tril(-1)
            else:
                before = block >= own if other < start else block > own
            found[start : start + side] += before.sum(1, dtype=torch.int32).cpu()
    return found


def block_side(device):
    """Rows and columns of a block of products."""
    return math.isqrt(BYTES.get(torch.device(device).type, BYTES["cuda"]) // 4)


def _search(x, y, k, device, side):
    """Tables of the k[0] nearest ys of every x, and of the k[1] nearest xs of every y."""
    if k[0] < 1:
        raise UserError(f"{k[0]} nearest neighbours cannot be searched for; give 1 or more")
    side = side or block_side(device)
    found = _tables(len(x), min(k[0], len(y)), "cpu"), _tables(len(y), min(k[1], len(x)), device)
    blocks = _reader(y, side, device)
    for start in watched(range(0, len(x), side), "nearest neighbours", "blocks"):
        rows = [table[start : start + side].to(device) for table in found[0]]
        a = _rows(x, start, side, device, FIRST)
        for other, block in _products(a, blocks, range(0, len(y), side)):
            _take(rows, block, other)
            if k[1]:
                _take([table[other : other + side] for table in found[1]], block, start, columns=True)
        for table, own in zip(found[0], rows, strict=True):
            table[start : start + side] = own
    if not all(products.isfinite().all() for products, _ in found):
        raise UserError("products of the vectors are too large for float32; `normalized` gives them length 1")
    return found[0], tuple(table.cpu() for table in found[1])


def _tables(n, k, device):
    """(n, k) products and positions of nothing yet."""
    return tuple(torch.full((n, k), empty, device=device) for empty in EMPTY)


def _take(tables, block, first, columns=False):
    """Bring tables of the best so far, (rows, k) products and positions, up to date in place with a block of products of these
    rows, or of `columns`, with vectors whose positions begin at `first`, above all in the tables."""
    rows, places, products = _candidates(tables[0], *_groups(block, columns))
    if len(rows):
        order = (rows * max(block.shape) + places).argsort()
        _merge(tables, rows[order], products[order], first + places[order])


def _candidates(scores, grouped, best):
    """(rows, columns, products) of a block in `_groups` that may be among the k best of their row, in any order.

    These are above the k-th best so far and, where that would be many, no less than the k-th best of the block's groups, each of
    which has a product as large as that: among them are the k best, with all their equals.
    """
    k, worst, floor = scores.shape[1], scores[:, -1:], torch.full_like(scores[:, -1:], -torch.inf)
    hits = best > worst
    if hits.count_nonzero() > len(scores) * k:  # so there are more groups than k
        floor = best.topk(k, dim=1).values[:, -1:]
        hits &= best >= floor
    rows, groups = hits.nonzero(as_tuple=True)
    members = grouped[rows, :, groups]
    kept, member = ((members > worst[rows]) & (members >= floor[rows])).nonzero(as_tuple=True)
    return rows[kept], member * best.shape[1] + groups[kept], members[kept, member]


def _groups(block, columns):
    """A block, or its transpose, as (rows, GROUP, groups), filled up with -inf, and the largest of each group, (rows, groups).

    What is next to each other is in different groups, so that whole stretches of memory are compared at a time.
    """
    dim = 0 if columns else 1
    if rest := -block.shape[dim] % GROUP:
        block = pad(block, (0, 0, 0, rest) if columns else (0, rest), value=-torch.inf)
    grouped = block.unflatten(dim, (GROUP, -1))
    best = grouped.amax(dim)
    return (grouped.permute(2, 0, 1), best.T) if columns else (grouped, best)


def _merge(tables, rows, *found):
    """Merge products `found` and their positions, sorted by `rows`, which they belong to, and position, into tables in place."""
    rows, counts = rows.unique_consecutive(return_counts=True)
    k, most = tables[0].shape[1], int(counts.max())
    lines = torch.arange(len(rows), device=rows.device).repeat_interleave(counts)
    places = torch.arange(len(lines), device=rows.device) - (counts.cumsum(0) - counts)[lines]
    scores, positions = (
        torch.cat([t[rows], t.new_full((len(rows), most), f)], 1) for t, f in zip(tables, EMPTY, strict=True)
    )
    for wide, new in zip((scores, positions), found, strict=True):
        wide[lines, k + places] = new
    order = scores.sort(dim=1, descending=True, stable=True).indices[:, :k]
    for table, wide in zip(tables, (scores, positions), strict=True):
        table[rows] = wide.gather(1, order)


# ---- products -------------------------------------------------------------------------------------------------------


def _products(a, blocks, others):
    """(first row, products of a with the block from there) for each of `others`; `blocks` is a `_reader`. Raises UserError for
    unequal width."""
    width = a.shape[1]
    if a.device.type == "cpu" and torch.backends.mkldnn.is_available():
        a = a.to_mkldnn()  # on AMD oneDNN is twice as fast as MKL, which torch multiplies by otherwise
    for other in others:
        if (b := blocks(other)).shape[1] != width:
            raise UserError(f"vectors of width {width} cannot be compared with vectors of width {b.shape[1]}")
        yield other, multiply(a, b)


def _reader(vectors, side, device):
    """First row -> the block of `side` vectors from there, on a device. Where `_holds` says so they stay there, and each is moved
    and looked at for NaN once in a search, not for every block of queries."""

    def read(start):
        return _rows(vectors, start, side, device, SECOND)

    return functools.cache(read) if _holds(vectors, torch.device(device)) else read


def _holds(vectors, device):
    """Whether all vectors may stay on a device: a GPU whose free memory is twice as large as they are."""
    return device.type == "cuda" and 8 * math.prod(vectors.shape) <= torch.cuda.mem_get_info(device)[0]


def _rows(vectors, start, count, device, name):
    """Rows from `start` as float32 on a device. Raises UserError for NaN and infinity."""
    rows = vectors[start : start + count]
    if not torch.is_tensor(rows):
        rows = torch.from_numpy(np.require(rows, np.float32, "CW"))  # a map that cannot be written to is copied
    rows = rows.detach().to(device, torch.float32)
    if not rows.sum().isfinite() and not rows.isfinite().all():  # the sum is quick, and may be too large for a number
        raise UserError(f"{name}: the vector of row {start + _first(~rows.isfinite().all(1))} holds NaN or infinity")
    return rows


def _first(rows):
    """Number of the first row that is true, from 1."""
    return rows.int().argmax().item() + 1


def multiply(a, b):
    """a @ b.T, dense, for an `a` that may be in oneDNN's layout."""
    with full_precision(b.device.type):
        return linear(a, b).to_dense() if a.is_mkldnn else a @ b.T


@contextlib.contextmanager
def full_precision(device):
    """Products of float32 tensors in float32, whatever --tf32, --bf16 and the like made of them elsewhere."""
    name, exact, places = "fp32_precision", "ieee", [torch.backends.cuda.matmul]
    if hasattr(places[0], name):
        places.append(torch.backends.mkldnn.matmul)
    else:  # torch before 2.9
        name, exact = "allow_tf32", False
    before = [getattr(place, name) for place in places]
    try:
        for place in places:
            setattr(place, name, exact)
        with torch.autocast(device, enabled=False):
            yield
    finally:
        for place, value in zip(places, before, strict=True):
            setattr(place, name, value)


# ---- what neighbours say of a space ---------------------------------------------------------------------------------


def occurrences(positions, n):
    """k-occurrence: how often each of `n` vectors is among the neighbours found, (n,) int64, from (queries, k) positions."""
    return torch.bincount(positions.flatten(), minlength=n)


def skewness(counts):
    """Skewness of a population, E[(x - mean)^3] / sd^3, a float; 0 where all are equal.

    Of k-occurrences it measures hubness (Radovanović et al. 2010, JMLR 11): far above 0, few vectors are neighbours of many.
    """
    counts = torch.as_tensor(counts, dtype=torch.float64)
    apart = counts - counts.mean()
    variance = apart.square().mean()
    return (apart.pow(3).mean() / variance**1.5).item() if variance > 0 else 0.0


def mean_cosine(vectors):
    """Mean cosine of all pairs of different rows of `normalized` vectors, a float: the anisotropy of Ethayarajh (2019), there of
    sampled pairs. Exact, as (|sum|^2 - sum of |v|^2) / (n (n - 1)) in float64.

    Raises UserError for fewer than 2 vectors.
    """
    n, total, own = len(vectors), 0.0, 0.0
    if n < 2:
        raise UserError(f"the mean cosine of pairs needs 2 vectors or more, and there are {n}")
    for start in range(0, n, ROWS):
        rows = _rows(vectors, start, ROWS, "cpu", "vectors").double()
        total, own = total + rows.sum(0), own + rows.square().sum().item()
    return ((total @ total).item() - own) / (n * (n - 1))
