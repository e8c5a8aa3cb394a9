"""Exact neighbours against a literal search with stable sorting; ties are tested on whole numbers, whose products are exact."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from xstilts import search
from xstilts.base import UserError
from xstilts.search import mean_cosine, normalized, occurrences, ranks, skewness, top_k, top_k_both


def literal(queries, index, k):
    """(products, positions), every product of a query sorted."""
    products = np.asarray(queries, np.float64) @ np.asarray(index, np.float64).T
    order = np.argsort(-products, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(products, order, 1), order


def literal_ranks(queries, index):
    """Where each query's own vector is in the whole sorted list."""
    order = literal(queries, index, len(index))[1]
    return [list(row).index(own) + 1 for own, row in enumerate(order)]


def random_vectors(n, width=64, seed=0):
    """Vectors of length 1 about a common direction, as sentence embeddings are."""
    rng = np.random.default_rng(seed)
    return normalized(rng.normal(size=(n, width)).astype(np.float32) + 0.5)


def assert_same(found, expected):
    """Equal to the last bit, in the promised types."""
    for table, other, dtype in zip(found, expected, (torch.float32, torch.int64), strict=True):
        assert (table.dtype, tuple(table.shape)) == (dtype, other.shape)
        np.testing.assert_array_equal(table.numpy(), other)


@st.composite
def whole_numbers(draw):
    """Two sets of vectors of small whole numbers, the fewer the more ties, a k, and a side that mostly divides nothing."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n, m, width = draw(st.integers(1, 90)), draw(st.integers(1, 90)), draw(st.integers(1, 6))
    most = draw(st.sampled_from([0, 1, 2, 50]))
    x, y = (rng.integers(-most, most + 1, size=(size, width)).astype(np.float32) for size in (n, m))
    return (
        x,
        y,
        draw(st.sampled_from([1, 2, 4, 7, 30, 100])),
        draw(st.sampled_from([5, 7, 16, 33, 50, 2048])),
    )


# ---- neighbours -----------------------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(whole_numbers())
def test_neighbours_are_those_of_sorting_everything(drawn):
    x, y, k, side = drawn
    there, back = top_k_both(x, y, k, side=side)
    assert_same(there, literal(x, y, k))
    assert_same(back, literal(y, x, k))
    assert_same(top_k(x, y, k, side=side), literal(x, y, k))


@settings(max_examples=100, deadline=None)
@given(whole_numbers())
def test_ranks_are_those_of_sorting_everything(drawn):
    x, y, _, side = drawn
    x = x[: len(y)]
    found = ranks(x, y, side=side)
    assert found.dtype == torch.int64
    assert found.tolist() == literal_ranks(x, y)


@pytest.mark.parametrize("width", [2, 400])
def test_more_equals_than_are_asked_for_come_in_order(width):
    """A column of equal vectors wider than a block and its groups, with better ones behind them."""
    index = np.ones((300, width), np.float32)
    index[[170, 290]] = 2
    scores, positions = top_k(index[:5], index, 6, side=64)
    assert positions.tolist() == [[170, 290, 0, 1, 2, 3]] * 5
    assert scores[0].tolist() == [2 * width] * 2 + [width] * 4


@pytest.mark.parametrize("order", [1, -1], ids=["rising", "falling"])
def test_indices_sorted_by_similarity(order):
    """Where every block is better than all before it, each is searched as the first one is."""
    index = np.arange(500, dtype=np.float32)[::order, None].copy()
    queries = np.ones((40, 1), np.float32)
    there, back = top_k_both(queries, index, 4, side=48)
    assert_same(there, literal(queries, index, 4))
    assert_same(back, literal(index, queries, 4))


def test_nothing_is_found_in_nothing():
    some, none = np.ones((3, 2), np.float32), np.ones((0, 2), np.float32)
    for x, y in ((some, none), (none, some), (none, none)):
        for (scores, positions), n in zip(top_k_both(x, y, 4), (len(x), len(y)), strict=True):
            assert len(scores) == len(positions) == n
            assert not scores.numel()


def test_vectors_on_disk(tmp_path):
    """Memory maps, one that may be written to and one that may not, give what arrays and tensors do."""
    x, y = random_vectors(70, seed=1), random_vectors(90, seed=2)
    maps = []
    for name, vectors, mode in (("x", x, "r"), ("y", y, "r+")):
        np.save(tmp_path / f"{name}.npy", vectors.numpy())
        maps.append(np.load(tmp_path / f"{name}.npy", mmap_mode=mode))
    for found, expected in zip(top_k_both(*maps, 4, side=32), top_k_both(x, y, 4, side=32), strict=True):
        assert_same(found, [table.numpy() for table in expected])
    assert ranks(*maps, side=32).tolist() == ranks(x, y, side=32).tolist()
    assert normalized(maps[0]).tolist() == normalized(x).tolist()
    assert mean_cosine(maps[0]) == mean_cosine(x)


def test_the_side_of_blocks_changes_nothing_but_rounding():
    x, y = random_vectors(700, seed=1), random_vectors(600, seed=2)
    expected = top_k_both(x, y, 4)
    for side in (64, 100, 257):
        for found, same in zip(top_k_both(x, y, 4, side=side), expected, strict=True):
            assert torch.equal(found[1], same[1])
            torch.testing.assert_close(found[0], same[0], rtol=0, atol=1e-6)


def test_a_rank_of_1_is_the_nearest_neighbour():
    """Of nearly equal vectors too, for which rounding decides."""
    index = random_vectors(300, seed=1)
    queries = normalized(index + 1e-7 * random_vectors(300, seed=2))
    queries[150:] = queries[:150]
    for side in (None, 70):
        nearest = top_k(queries, index, 1, side=side)[1][:, 0]
        assert torch.equal(ranks(queries, index, side=side) == 1, nearest == torch.arange(300))


def test_neighbours_are_those_of_faiss():
    faiss = pytest.importorskip("faiss", reason="faiss-cpu is not installed: pip install faiss-cpu")
    x, y = random_vectors(800, seed=1), random_vectors(900, seed=2)
    for (scores, positions), queries, index in zip(top_k_both(x, y, 4, side=256), (x, y), (y, x), strict=True):
        flat = faiss.IndexFlatIP(index.shape[1])
        flat.add(index.numpy())
        expected, nearest = flat.search(queries.numpy(), 4)
        np.testing.assert_array_equal(positions.numpy(), nearest)
        np.testing.assert_allclose(scores.numpy(), expected, rtol=0, atol=1e-6)


# ---- memory and precision -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("device", ["cpu", "cuda", "cuda:1"])
def test_a_block_of_products_fits_what_is_set_aside_for_it(device):
    side = search.block_side(device)
    assert 4 * side**2 <= search.BYTES[torch.device(device).type] < 4 * (side + 1) ** 2
    assert search.BYTES[torch.device(device).type] <= 2**28


def test_nothing_larger_than_blocks_and_tables_is_made(tmp_path, monkeypatch):
    """No copy of all vectors, no row of all products: what is read and computed at a time has the side of a block."""
    seen = {"rows": [], "products": []}
    read, multiply = search._rows, search.multiply

    def watched_read(*args):
        seen["rows"].append(len(rows := read(*args)))
        return rows

    def watched_multiply(a, b):
        seen["products"].append((len(a), len(b)))
        return multiply(a, b)

    monkeypatch.setattr(search, "_rows", watched_read)
    monkeypatch.setattr(search, "multiply", watched_multiply)
    x = random_vectors(130, width=8)
    top_k_both(x, x, 4, side=50)
    ranks(x, x, side=50)
    assert max(seen["rows"][1:]) == 50  # the first were normalised
    assert sum(a * b for a, b in seen["products"]) == 2 * 130**2  # each product once in both
    assert set(seen["products"]) == {(50, 50), (50, 30), (30, 50), (30, 30)}


@pytest.mark.parametrize("find", [top_k_both, lambda x, y, k, side: ranks(x, y, side=side)])
def test_a_gpu_gets_each_block_of_the_index_once(monkeypatch, find):
    """Where it has room for them; elsewhere, as on a CPU, nothing but a block is held."""
    read, moved = search._rows, []
    monkeypatch.setattr(search, "_rows", lambda *a, **b: moved.append(len(rows := read(*a, **b))) or rows)
    x, y = random_vectors(130, width=8, seed=1), random_vectors(170, width=8, seed=2)
    moved.clear()
    expected, once = find(x, y, 4, side=50), sum(moved)
    monkeypatch.setattr(search, "_holds", lambda vectors, device: True, raising=False)
    moved.clear()
    found = find(x, y, 4, side=50)
    assert sum(moved) == 130 + 170 < once
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_an_index_stays_where_half_of_the_memory_holds_it(monkeypatch):
    vectors = np.zeros((100, 8), np.float32)
    for free, fits in ((6400, True), (6399, False)):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device, free=free: (free, 10**9))
        assert search._holds(vectors, torch.device("cuda:1")) == fits
    assert not search._holds(vectors, torch.device("cpu"))


NEW_FLAGS = hasattr(torch.backends.cuda.matmul, "fp32_precision")


@pytest.mark.skipif(not NEW_FLAGS, reason="torch before 2.9 has one flag for all")
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_products_are_in_full_precision_whatever_is_set_elsewhere(device):
    """For everything, as the Trainer does it, or for products; and afterwards it is as it was."""
    places = (torch.backends, torch.backends.cuda.matmul, torch.backends.mkldnn.matmul)
    before = [place.fp32_precision for place in places]
    try:
        for place in places:
            place.fp32_precision = "tf32"
        with search.full_precision(device):
            assert [place.fp32_precision for place in places[1:]] == ["ieee", "ieee"]
        assert [place.fp32_precision for place in places] == ["tf32"] * 3
    finally:
        for place, value in zip(places, before, strict=True):
            place.fp32_precision = value


def test_products_under_autocast_are_those_without():
    x, y = random_vectors(50, seed=1), random_vectors(60, seed=2)
    with torch.autocast("cpu", torch.bfloat16):
        found = top_k_both(x, y, 4)
    for tables, expected in zip(found, top_k_both(x, y, 4), strict=True):
        assert_same(tables, [table.numpy() for table in expected])


def test_without_onednn_the_same_is_found(monkeypatch):
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    x, y = (np.random.default_rng(seed).integers(-3, 4, size=(90, 8)).astype(np.float32) for seed in (1, 2))
    assert_same(top_k(x, y, 4, side=40), literal(x, y, 4))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU here")
def test_a_gpu_finds_what_the_processor_finds():
    rng = np.random.default_rng(0)
    x, y = (
        rng.integers(-300, 301, size=(n, 8)).astype(np.float32) for n in (300, 400)
    )  # too fine for TF32 and float16
    with torch.autocast("cuda", torch.float16):
        both = top_k_both(x, y, 4, "cuda", side=128)
    for found, expected in zip(both, top_k_both(x, y, 4), strict=True):
        assert_same(found, [table.numpy() for table in expected])
    assert ranks(x, y, "cuda", side=128).tolist() == ranks(x, y).tolist()


# ---- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_vector_that_is_no_number_is_named(value):
    x, y = np.ones((120, 3), np.float32), np.ones((100, 3), np.float32)
    x[77, 1] = value
    with pytest.raises(UserError, match=r"^English: the vector of row 78 holds NaN or infinity$"):
        normalized(x, "English")
    for find in (lambda a, b: top_k(a, b, 2, side=50), lambda a, b: ranks(a, b, side=50)):
        with pytest.raises(UserError, match=r"^the second vectors: the vector of row 78 holds NaN or infinity$"):
            find(y, x)
    with pytest.raises(UserError, match=r"^the first vectors: the vector of row 78 holds"):
        top_k_both(x, y, 2, side=50)


def test_a_zero_vector_is_named(monkeypatch):
    monkeypatch.setattr(search, "ROWS", 50)
    x = np.ones((120, 3), np.float32)
    x[77] = 0
    with pytest.raises(UserError, match=r"^Swahili: the vector of row 78 is zero and has no cosine$"):
        normalized(x, "Swahili")


@pytest.mark.filterwarnings("ignore:overflow")
def test_what_cannot_be_searched_is_one_clear_line():
    x, y = np.ones((3, 2), np.float32), np.ones((2, 4), np.float32)
    with pytest.raises(UserError, match="vectors of width 2 cannot be compared with vectors of width 4"):
        top_k(x, y, 1)
    with pytest.raises(UserError, match="0 nearest neighbours cannot be searched for"):
        top_k_both(x, x, 0)
    with pytest.raises(UserError, match="products of the vectors are too large for float32"):
        top_k(1e20 * x, 1e20 * x, 1)
    with pytest.raises(UserError, match="3 queries have no vector of their own each among 2"):
        ranks(x, x[:2])
    with pytest.raises(UserError, match="2 vectors or more, and there are 1"):
        mean_cosine(x[:1])


def test_large_numbers_are_numbers():
    """Their sum is too large for one, their length is not."""
    x = np.full((4, 3), 3e38, np.float32)
    torch.testing.assert_close(normalized(x), torch.full((4, 3), 1 / math.sqrt(3)))


# ---- what neighbours say of a space ---------------------------------------------------------------------------------


def test_normalized_vectors_have_length_1_and_leave_their_source_alone(monkeypatch):
    monkeypatch.setattr(search, "ROWS", 7)
    x = np.random.default_rng(0).normal(size=(30, 5)).astype(np.float32) * 1e-30
    before = x.copy()
    found = normalized(x)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.numpy(), x / np.linalg.norm(x.astype(np.float64), axis=1)[:, None], rtol=1e-6)
    np.testing.assert_array_equal(x, before)


@settings(max_examples=50, deadline=None)
@given(st.integers(2, 60), st.integers(2, 20), st.integers(0, 2**32 - 1))
def test_mean_cosine_is_that_of_all_pairs(n, width, seed):
    vectors = random_vectors(n, width, seed)
    cosines = vectors.double() @ vectors.double().T
    expected = cosines[~torch.eye(n, dtype=bool)].mean().item()
    assert mean_cosine(vectors) == pytest.approx(expected, abs=1e-12)


@settings(max_examples=50, deadline=None)
@given(whole_numbers())
def test_occurrences_and_their_skewness_are_those_of_counting(drawn):
    x, y, k, _ = drawn
    positions = top_k(x, y, k)[1]
    counts = occurrences(positions, len(y))
    assert counts.tolist() == [int((positions == j).sum()) for j in range(len(y))]
    expected = stats.skew(counts.numpy().astype(np.float64)) if len(set(counts.tolist())) > 1 else 0.0
    assert skewness(counts) == pytest.approx(expected, abs=1e-9)


def test_a_hub_is_seen():
    """One vector that is near all, among vectors that are near nothing."""
    index = np.eye(20, dtype=np.float32)
    index[0] = 1
    counts = occurrences(top_k(np.eye(20, dtype=np.float32)[1:], index, 1)[1], 20)
    assert counts.tolist() == [19] + [0] * 19
    assert skewness(counts) > 4
    assert skewness(torch.full((20,), 5)) == 0
