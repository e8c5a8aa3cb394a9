"""Retrieval from one pool of candidates: LAReQA, whose answers are in all languages, and Mewsli-X, whose entities are.

Queries and candidates are embedded with the last layer's first token, as they are trained (`xstilts/dual_encoder.py`), and
compared by dot product. A query has one or several right candidates.
"""

import json
from collections import Counter
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
import torch

from xstilts.base import UserError, print_main
from xstilts.examples import check_samples, record_of
from xstilts.languages import each_language
from xstilts.metrics import score
from xstilts.official_files import holds_languages
from xstilts.pooling import last_layer
from xstilts.raw_rows import MissingData
from xstilts.robustness import anisotropy, hubness, rank_summary
from xstilts.scoring import CUTOFF
from xstilts.search import multiply, normalized, top_k
from xstilts.sources import languages_in, load_raw
from xstilts.task import Collection, RetrievalType, Side, published_rows
from xstilts.templates import ENGLISH

CANDIDATES = "candidates"
BLOCK = 2**26  # products that are held at a time: 256 MB
COMPARED = {"cpu": 2**20}  # products that are compared at a time, where it is not all of them: what a cache holds


@dataclass(frozen=True)
class Gold:
    """ids         of all candidates
    languages   of all candidates; None where they have no language of their own files
    queries     {language: ids of its queries}
    right       {language: for each query the ascending positions of its right candidates}
    """

    ids: list[str]
    languages: list[str] | None
    queries: dict[str, list[str]]
    right: dict[str, list[list[int]]]


def load(task, args):
    """One Collection: the queries of every language, and all candidates. `--languages` and `--max_eval_samples` choose among the
    queries; the pool is always whole."""
    check_samples("test", args.max_eval_samples)
    queries, missing = each_language(
        replace(task, source=task.retrieval.queries), "test", args.languages, args.data_dir, _loader(task, args)
    )
    pool, records = load_candidates(task, args.data_dir)
    right = {language: _right(task, *query, pool) for language, query in queries.items()}
    gold = Gold(
        ids=[each["id"] for each in pool],
        languages=[each["language"] for each in pool] if pool[0]["language"] else None,
        queries={language: [query["id"] for query in rows] for language, (rows, _) in queries.items()},
        right=right,
    )
    sides = {CANDIDATES: Side([each["text"] for each in pool])}
    sides |= {language: Side([query["text"] for query in rows], "query") for language, (rows, _) in queries.items()}
    records += [record for _, record in queries.values()]
    return [Collection(sides, tuple(queries), gold, tuple(records))], missing


def _loader(task, args):
    """language -> (queries, record)"""

    def queries_in(language):
        raw = load_raw(task.retrieval.queries, "test", language, args.data_dir)
        found = [query for row in raw.rows for query in task.retrieval.to_queries(row)]
        if not found:
            raise UserError(f"{task.name}: no queries in '{language}' ({', '.join(raw.files)})")
        _check_ids(found, f"{task.name} '{language}': query", raw.files)
        published = published_rows(task, "test", language)
        found = found[: args.max_eval_samples]
        return found, record_of(task.name, found, "test", language, published, raw.files, raw.dropped, raw.hub)

    return queries_in


def load_candidates(task, data_dir):
    """(candidates, with their language where their files have one; their records). Raises UserError for an id that occurs
    twice."""
    source, pool, records = task.retrieval.candidates, [], []
    for language in _pooled(task, source, data_dir):
        try:
            raw = load_raw(source, "test", language or ENGLISH, data_dir)
        except MissingData as error:
            if language is None:
                raise
            print_main(f"{task.name}: no candidates in '{language}', so scores are not the benchmark's ({error})")
            continue
        found = [each for row in raw.rows for each in task.retrieval.to_candidates(row)]
        if language:
            found = [{**each, "id": f"{language}_{each['id']}"} for each in found]
        about = record_of(task.name, found, CANDIDATES, language or "all", None, raw.files, raw.dropped, raw.hub)
        records.append(about)
        pool += [{**each, "language": language} for each in found]
    _check_ids(pool, f"{task.name}: candidate", records[0]["files"])
    return pool, records


def _check_ids(rows, what, files):
    """Raise UserError for an id that occurs twice."""
    counts = Counter(row["id"] for row in rows)
    if twice := [id for id, count in counts.items() if count > 1]:
        raise UserError(f"{what} '{twice[0]}' occurs twice ({', '.join(files)})")


def _pooled(task, source, data_dir):
    """Languages whose candidates are put together: the benchmark's, and what else lies in `data_dir`; [None] where one file holds
    the candidates of all."""
    if not holds_languages(source, "test"):
        return [None]
    others = set(languages_in(source, "test", data_dir) if data_dir else ()) - {*task.languages}
    if others:
        print_main(f"{task.name}: candidates in {', '.join(sorted(others))} too, so scores are not the benchmark's")
    return [*task.languages, *sorted(others)]


def _right(task, queries, record, pool):
    """Positions of the right candidates of each query. Raises UserError for a query without any."""
    places = {}
    for position, each in enumerate(pool):
        for key in each["keys"]:
            places.setdefault(key, []).append(position)
    if lost := [query for query in queries if query["key"] not in places]:
        raise UserError(
            f"{task.name} '{record['language']}': {len(lost)} queries have no right candidate, the first is {lost[0]['id']} "
            f"({lost[0]['key']}); the candidates are not those of these queries ({', '.join(record['files'])})"
        )
    return [places[query["key"]] for query in queries]


def search(task, collection, vectors, args, device):
    """{language: (scores, {query id: ids of the 20 nearest candidates})}.

    map@20              the benchmark's figure
    map                 over the whole ranking, as LAReQA's own paper has it (Roy et al. 2020)
    by_answer_language  {language: map}: only answers in that language are right, other right ones are taken out of the ranking
    same_language_at_1  share of queries whose nearest candidate, right or wrong, is in their own language: even in a space where
                        languages play no role, it is that language's share of the pool
    mrr, rank_median, rank_90 of the first right one; hubness of the candidates, and their anisotropy
    """
    gold, pool = collection.gold, normalized(vectors[CANDIDATES], CANDIDATES)
    cone, pool, found = anisotropy(pool), pool.to(device), {}
    for language in collection.languages:
        queries = normalized(vectors[language], language)
        _, nearest = top_k(queries, pool, CUTOFF, device)
        right = gold.right[language]
        owners, places = pairs_of(right)
        lists = [[gold.ids[position] for position in row] for row in nearest.tolist()]
        ranks = ranks_of_right(queries, pool, owners, places, device)
        scores = {
            **score(task.metric, lists, [[gold.ids[position] for position in each] for each in right]),
            "map": mean_average_precision(owners, ranks),
            **rank_summary(np.minimum.reduceat(ranks, np.flatnonzero(np.diff(owners, prepend=-1)))),
            "hubness": hubness(nearest, len(pool)),
            "anisotropy": cone,
        }
        if gold.languages:
            scores |= by_language(language, nearest[:, 0], owners, places, ranks, gold.languages)
        found[language] = scores, dict(zip(gold.queries[language], lists, strict=True))
    return found


def pairs_of(right):
    """(pairs,) numbers of queries, ascending, and (pairs,) positions of their right candidates, of a list for each query."""
    owners = np.repeat(np.arange(len(right)), [*map(len, right)])
    return owners, np.fromiter(chain.from_iterable(right), np.int64, len(owners))


def ranks_of_right(queries, pool, owners, places, device="cpu"):
    """Rank, from 1, of every right candidate among all candidates of its query, (pairs,) int64; equal ones stand in the order of
    their positions. `owners` and `places`: see `pairs_of`.

    Products are held for so many queries at a time as `BLOCK` allows, and compared for so many pairs as `COMPARED` does.
    """
    pool, rows = torch.as_tensor(pool).to(device), max(1, BLOCK // len(pool))
    few = max(1, COMPARED.get(torch.device(device).type, BLOCK) // len(pool))
    order = torch.arange(len(pool), device=device)
    asked, right = (torch.as_tensor(each).to(device) for each in (owners, places))
    ranks = torch.empty_like(right)
    for start in range(0, len(queries), rows):
        products = multiply(torch.as_tensor(queries[start : start + rows]).to(device), pool)
        first, end = np.searchsorted(owners, (start, start + rows)).tolist()
        for begin in range(first, end, few):
            part = slice(begin, min(begin + few, end))
            ranks[part] = _ranks(products[asked[part] - start], right[part, None], order)
    return ranks.cpu().numpy()


def _ranks(products, places, order):
    """Ranks of one product of every row, (rows,); its place in the row is that of `places`, (rows, 1)."""
    own = products.gather(1, places)
    above, from_own_on = _count(products > own), _count(products >= own)
    if (tied := (from_own_on - above > 1).nonzero()[:, 0]).numel():
        above[tied] += _count((products[tied] == own[tied]) & (order < places[tied]))
    return 1 + above


def _count(found):
    """How much of every row is true; of integers torch's sum is several times as fast as of truth values."""
    return found.view(torch.int8).sum(1, dtype=torch.int32)


def mean_average_precision(owners, ranks):
    """Mean over queries of the precision at each right candidate, 0 to 100; (pairs,) numbers of the queries, ranks from 1."""
    counts = np.bincount(owners)
    sums = np.bincount(owners, _nth(owners, ranks) / ranks)
    return float(100 * np.mean(sums[counts > 0] / counts[counts > 0]))


def _nth(groups, ranks):
    """Which one of its group each is by rank, from 1."""
    order, found = np.lexsort((ranks, groups)), np.empty(len(ranks), np.int64)
    first = np.flatnonzero(np.diff(groups[order], prepend=-1))
    found[order] = 1 + np.arange(len(order)) - np.repeat(first, np.diff(first, append=len(order)))
    return found


def by_language(language, nearest, owners, places, ranks, languages):
    """`by_answer_language` and `same_language_at_1` of the queries of one language (see `search`).

    nearest                 (queries,) position of the nearest candidate of each query
    owners, places, ranks   of the right candidates, (pairs,) each (see `pairs_of`)
    languages               of all candidates
    """
    names, codes = np.unique(languages, return_inverse=True)
    answers, tables = codes[places], {}
    others = _nth(owners, ranks) - _nth(owners * len(names) + answers, ranks)  # right ones of other languages above
    for code in np.unique(answers):
        own = answers == code
        tables[str(names[code])] = mean_average_precision(owners[own], (ranks - others)[own])
    return {
        "by_answer_language": tables,
        "same_language_at_1": float(100 * np.mean(names[codes[nearest]] == language)),
    }


def write(folder, language, predictions, collection):
    """XTREME-R's file for Mewsli-X, and the same for LAReQA: {query id: candidate ids, the best first}."""
    (folder / f"test-{language}.json").write_text(json.dumps(predictions, ensure_ascii=False), encoding="utf-8")


TYPE = RetrievalType(name="ranking", pooling="cls", layer=last_layer, load=load, search=search, write=write)
