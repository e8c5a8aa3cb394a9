"""Exact nearest neighbours by inner product, and what they say of a space: how much it has hubs, and how little it is filled.

Vectors are (n, width) float32 arrays: tensors, numpy arrays or memory maps, which are read block by block. Products are those of
`device` in float32, never TF32, in square blocks of `side` vectors with `side` vectors, computed into one buffer. Functions with
the same `side` compute the same blocks, so that they agree to the last bit on which of two neighbours is nearer; another `side`
may round otherwise.
"""

import contextlib
import math
from functools import partial

import numpy as np
import torch

from xstilts.errors import UserError

BYTES = {"cpu": 2**24, "cuda": 2**28}  # of a block of products: what a cache holds, what keeps a GPU at work
GROUP = 16  # products of which only the largest is looked at, unless it is among the best
EMPTY = -torch.inf, -1  # product and position where nothing is found yet
EXACT = 0.0, None  # by how much products may be off, and what computes some of them again
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
    return _search(queries, index, k, device, side, both=False)[0]


def top_k_both(x, y, k, device="cpu", side=None, bf16=False):
    """`top_k` of x in y and of y in x, from one pass over the products, which takes half of the time of two.

    With `bf16` products are computed in bfloat16, and again in float32 where these may be among the k largest, by the largest
    error that rounding to bfloat16 can make. What is found is the same, but that neighbours whose float32 products differ by
    rounding, up to 1e-6 for vectors of length 1, may change places. This is quicker where bfloat16 is: on GPUs, and on processors
    with AVX512-BF16 or AMX; and slower where all vectors are so near each other that rounding hides their differences.
    """
    return _search(x, y, k, device, side, both=True, bf16=bf16)


def ranks(queries, index, device="cpu", side=None):
    """Rank of index[i] among the products of queries[i] with all of `index`, 1 for the nearest, equals by position: (n,) int64 on
    the CPU. It is 1 just where `top_k` has i first.

    Raises UserError where `index` is shorter than `queries`, and what `top_k` does.
    """
    if len(index) < len(queries):
        raise UserError(f"{len(queries):,} queries have no vector of their own each among {len(index):,}")
    side = side or block_side(device)
    found = torch.ones(len(queries), dtype=torch.int64)
    for start in range(0, len(queries), side):
        others = [other for other in range(0, len(index), side) if other != start]
        for other, block, *_ in _products(queries, index, start, [start, *others], device, side):
            if other == start:
                own = block.diagonal()[:, None].clone()
                before = (block > own) | (block == own).tril(-1)
            else:
                before = block >= own if other < start else block > own
            found[start : start + side] += before.sum(1, dtype=torch.int32).cpu()
    return found


def block_side(device):
    """Rows and columns of a block of products."""
    return math.isqrt(BYTES[torch.device(device).type] // 4)


def _search(x, y, k, device, side, both, bf16=False):
    """Tables of x in y and of y in x, the latter without its neighbours unless `both`."""
    if k < 1:
        raise UserError(f"{k} nearest neighbours cannot be searched for; give 1 or more")
    side = side or block_side(device)
    found = _tables(len(x), min(k, len(y)), "cpu"), _tables(len(y), min(k, len(x)) if both else 0, device)
    for start in range(0, len(x), side):
        rows = [table[start : start + side].to(device) for table in found[0]]
        for other, block, *precision in _products(x, y, start, range(0, len(y), side), device, side, bf16):
            _take(rows, block, other, False, precision[0])
            if both:
                _take([table[other : other + side] for table in found[1]], block, start, True, precision[1])
        for table, own in zip(found[0], rows, strict=True):
            table[start : start + side] = own
    if not all(products.isfinite().all() for products, _ in found):
        raise UserError(
            "products of the vectors are too large for float32; `normalized` makes all vectors as long as 1"
        )
    return found[0], tuple(table.cpu() for table in found[1])


def _tables(n, k, device):
    """(n, k) products and positions of nothing yet."""
    return tuple(torch.full((n, k), empty, device=device) for empty in EMPTY)


def _take(tables, block, first, columns, precision):
    """Bring tables of the best so far, (rows, k) products and positions, up to date in place with a block of products of these
    rows, or of `columns`, with vectors whose positions begin at `first`, above all in the tables."""
    slack, exact = precision
    scores, _ = tables
    rows, places, products = _candidates(scores, *_groups(block, columns), slack)
    if exact:
        products = exact(rows, places)
        (kept,) = (products > scores[rows, -1]).nonzero(as_tuple=True)
        rows, places, products = rows[kept], places[kept], products[kept]
    if len(rows):
        order = (rows * max(block.shape) + places).argsort()
        _merge(tables, rows[order], products[order], first + places[order])


def _candidates(scores, grouped, best, slack):
    """(rows, columns, products) of a block in `_groups` that may be among the k best of their row, in any order.

    These are above the k-th best so far and, where that would be many, no less than the k-th best of the block's groups, each of
    which has a product as large as that: among them are the k best, with all their equals. Products that may be off by `slack`,
    (rows, 1), may be lower by it than the former, and by twice as much than the latter, which may be off itself.
    """
    k, worst, floor = scores.shape[1], scores[:, -1:] - slack, torch.full_like(scores[:, -1:], -torch.inf)
    hits = best > worst
    if hits.count_nonzero() > len(scores) * k:  # so there are more groups than k
        floor = best.topk(k, dim=1).values[:, -1:] - 2 * slack
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
        block = torch.nn.functional.pad(block, (0, 0, 0, rest) if columns else (0, rest), value=-torch.inf)
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


def _products(x, y, start, others, device, side, bf16=False):
    """(first row of y, products of the rows of x from `start` with the rows of y from there, precision of the former, precision
    of the latter) for each of `others`. A block lasts until the next one is asked for."""
    if x.shape[1] != y.shape[1]:
        raise UserError(f"vectors of width {x.shape[1]} cannot be compared with vectors of width {y.shape[1]}")
    a = _rows(x, start, side, device, "the first vectors")
    buffer, middle = a.new_empty(len(a) * min(side, len(y))), a.mean(0)
    rounded = _rounded(a, middle) if bf16 else None
    for other in others:
        b = _rows(y, other, side, device, "the second vectors")
        block = buffer[: len(a) * len(b)].view(len(a), len(b))
        if bf16:
            rows, columns = _multiply_rounded(rounded, _rounded(b, middle), middle, block)
            yield other, block, (rows, partial(_pairs, a, b)), (columns, partial(_pairs, b, a))
        else:
            _multiply(a, b, block)
            yield other, block, EXACT, EXACT


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


def _multiply(a, b, out):
    """a @ b.T into `out`."""
    if out.device.type == "cpu":
        np.matmul(a.numpy(), b.numpy().T, out=out.numpy())  # on AMD 1.2 times as fast as torch's, on two cores
    else:
        with full_precision():
            torch.mm(a, b.T, out=out)


def _rounded(vectors, middle):
    """(vectors - middle in bfloat16, their lengths and what rounding took of them as lengths, (n, 1) each, vectors . middle)."""
    apart = vectors - middle
    rounded = apart.bfloat16()
    return rounded, *(each.norm(dim=1, keepdim=True) for each in (apart, apart - rounded)), vectors @ middle


def _multiply_rounded(a, b, middle, out):
    """Products of vectors, `_rounded` both, into `out`; returns by how much they may be off, for rows (a, 1), for columns (b, 1).

    With m for the middle a.b = (a - m).(b - m) + a.m + b.m - m.m. Only the first term is rounded to bfloat16, and it is small
    where all vectors have a direction in common. Rounding its factors by r and s puts it off by |a - m| |s| + |r| (|b - m| + |s|)
    at most (Cauchy and Schwarz), and rounding itself by 2^-8 |a - m| |b - m|, of which a tenth more is for its sum in float32.
    """
    (near, *row, rows_along), (far, *column, columns_along) = a, b
    with full_precision():
        torch.add(near @ far.T, columns_along - middle @ middle, out=out)
    out += rows_along[:, None]
    slack, length = [], middle.norm()
    for (size, off), (other, other_off) in ((row, column), (column, row)):
        most, most_off = other.max(), other_off.max()
        float32 = 2**-20 * (size + length) * (most + length)
        slack.append(size * most_off + off * (most + most_off) + 1.1 * 2**-8 * size * most + float32)
    return slack


def _pairs(a, b, rows, columns):
    """Products in float32 of some rows of a with as many of b."""
    if len(rows) * 32 > len(a) * len(b):  # all of them take less time then
        _multiply(a, b, every := a.new_empty(len(a), len(b)))
        return every[rows, columns]
    size = max(1, BYTES[a.device.type] // 64 // a.shape[1])
    return torch.cat([_dot(a, b, *each) for each in zip(rows.split(size), columns.split(size), strict=True)])


def _dot(a, b, rows, columns):
    if a.device.type == "cpu":
        return torch.from_numpy(np.einsum("ij,ij->i", a.numpy()[rows.numpy()], b.numpy()[columns.numpy()]))
    return (a[rows] * b[columns]).sum(1)


@contextlib.contextmanager
def full_precision():
    """Products on a GPU in the type of their factors, sums in float32, whatever --tf32 and --bf16 made of them elsewhere."""
    flags = torch.backends.cuda.matmul
    exact = {"fp32_precision": "ieee"} if hasattr(flags, "fp32_precision") else {"allow_tf32": False}
    exact["allow_bf16_reduced_precision_reduction"] = False
    before = {name: getattr(flags, name) for name in exact}
    try:
        for name, value in exact.items():
            setattr(flags, name, value)
        with torch.autocast("cuda", enabled=False):
            yield
    finally:
        for name, value in before.items():
            setattr(flags, name, value)


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
