"""Bitext mining: find the pairs of translations in two corpora most of whose sentences have none (BUCC).

A pair's score is the ratio margin (Artetxe and Schwenk 2019, arXiv 1811.01136): its cosine over the mean cosine of both sentences
with their nearest neighbours on the other side. Pairs that score at least a threshold are taken, the one with the best F1 on dev;
test has other corpora and other gold pairs, and nothing of it is looked at before. So do LASER, XTREME
(third_party/utils_retrieve.py) and the authors (nyu-mll/jiant, tasks/lib/bucc2018.py), from whom this differs where

- scores are equal: the lower position, the foreign one first, goes before; their argsort is not stable
- the best cut is among equal scores, where theirs takes more pairs than it was chosen for: here it is between different ones
- the best cut is behind the last pair, where theirs stops with an IndexError: here the last score is the threshold
- two sentences are far even from their neighbours, a mean cosine of 0 or less: the margin is -inf, no quotient of negatives
- there is no number half-way between the two scores of the best cut: here the higher one is the threshold
"""

import os
from functools import partial
from typing import NamedTuple

import numpy as np

from xstilts import scoring
from xstilts.base import UserError, print_main
from xstilts.bucc_files import corpora, corpora_of_row
from xstilts.examples import record_of
from xstilts.languages import each_language
from xstilts.metrics import score
from xstilts.official_files import expected_files, files_there
from xstilts.pooling import default_layer
from xstilts.raw_rows import MissingData
from xstilts.robustness import anisotropy, hubness
from xstilts.search import normalized, top_k_both
from xstilts.sources import load_raw
from xstilts.task import Collection, RetrievalType, Side
from xstilts.templates import ENGLISH


class Split(NamedTuple):
    """What the vectors of one split's unique sentences are of. Tuples hold foreign, then English.

    ids     two lists of the ids of all lines
    lines   two lists, for every unique sentence the positions of the lines that have it
    gold    set of pairs of positions of lines
    """

    ids: tuple[list[str], list[str]]
    lines: tuple[list[list[int]], list[list[int]]]
    gold: set[tuple[int, int]]


# ---- rows -----------------------------------------------------------------------------------------------------------


def load(task, args):
    """([a Collection per language], {language without data: reason}).

    Its sides are `dev de`, `dev en`, `test de` and `test en`, unique sentences each; with `--threshold` there is no dev. Its gold
    is {split: Split}. Raises UserError for options that mining does not know or cannot use, and corpora that it cannot measure.
    """
    check_options(task, args)
    splits = ("dev", "test") if args.threshold is None else ("test",)
    if args.data_dir is None and "dev" in splits:
        raise UserError(
            f"{task.name}: {task.source.hub} on the hub has no dev set to choose the threshold on; give --threshold X, that of a "
            "run on the official files, or --data_dir DIR with these"
        )
    found, missing = each_language(
        task, "test", args.languages, args.data_dir, partial(_collection, task, splits, args)
    )
    return [*found.values()], missing


def check_options(task, args):
    """Raise UserError for values that mining cannot use."""
    if args.max_eval_samples is not None:
        raise UserError(
            f"--max_eval_samples: the first sentences of {task.name}'s two corpora have hardly a translation among them; for a "
            "quick look take --languages zh, the smallest, or --task bucc2018_pairs"
        )


def _collection(task, splits, args, language):
    sides, gold, records = {}, {}, []
    for split in splits:
        found, files, hub = _corpora(task.source, split, language, args.data_dir)
        _check_corpora(task, split, language, found, files)
        unique, lines = zip(*map(unified, found.sentences), strict=True)
        sides |= {f"{split} {language}": Side(unique[0]), f"{split} {ENGLISH}": Side(unique[1], "query")}
        gold[split] = Split(found.ids, lines, {*found.gold})
        records.append(_record(task, split, language, found, files, hub))
        _say_fewer(f"{task.name} {split} '{language}'", gold[split], args)
    return Collection(sides, (language,), gold, tuple(records))


def _corpora(source, split, language, data_dir):
    """(Corpora, the files that they came from, where on the hub they are from if they are)."""
    if data_dir is not None and (paths := files_there(source, split, language, data_dir)):
        (path,) = paths
        return corpora(path), [os.path.relpath(path, data_dir)], None
    if data_dir is not None and split == "dev":
        places = " or ".join(expected_files(source, split, language, data_dir))
        raise MissingData(
            f"no file {places} (dev rows in '{language}'), and {source.hub} on the hub has none either; put it there, or give "
            "--threshold X, that of a run on the official files"
        )
    raw = load_raw(source, split, language, data_dir)
    if len(raw.rows) != 1:
        raise UserError(f"{raw.files[0]}: {len(raw.rows)} rows; a language's corpora are expected in one")
    return corpora_of_row(raw.rows[0], language, raw.files[0]), raw.files, raw.hub


def _check_corpora(task, split, language, found, files):
    where = f"{task.name}, {split} in '{language}' ({', '.join(files)})"
    paired = [{*positions} for positions in zip(*found.gold, strict=True)]
    if not paired:
        raise UserError(f"{where}: there are no gold pairs, so nothing can be measured")
    if all(len(some) == len(ids) for some, ids in zip(paired, found.ids, strict=True)):
        raise UserError(
            f"{where}: every sentence is in a gold pair. Without sentences that have no translation F1 is plain retrieval, which "
            "other tools call BUCC; --task bucc2018_pairs measures that, as accuracy. Mining needs the full corpora"
        )


def _record(task, split, language, found, files, hub):
    """What run.json says of a language's corpora; its rows are the gold pairs."""
    published = task.sizes.get(f"{split}-{language}")
    if published not in (None, len(found.gold)):
        print_main(
            f"note: {task.name} {split} '{language}' has {len(found.gold):,} gold pairs here; {published:,} are published"
        )
    content = [*found.ids, *found.sentences, found.gold]
    record = record_of(task.name, content, split, language, published, files, hub=hub)
    sizes = {code: len(ids) for code, ids in zip((language, ENGLISH), found.ids, strict=True)}
    return {**record, "rows": len(found.gold), "sentences": sizes}


def _say_fewer(where, split, args):
    """Say where a side has fewer sentences than `--neighborhood`."""
    fewest = min(map(len, split.lines))
    if args.neighborhood > fewest:
        print_main(
            f"{where}: --neighborhood {args.neighborhood}, but one side has {fewest} sentences; all of them count"
        )


def unified(sentences):
    """(unique sentences in the order of their first occurrence, for each the positions it is at)."""
    positions = {}
    for position, sentence in enumerate(sentences):
        positions.setdefault(sentence, []).append(position)
    return [*positions], [*positions.values()]


# ---- search ---------------------------------------------------------------------------------------------------------


def search(task, collection, vectors, args, device):
    """{language: (scores, test pairs as `de-000000001 TAB en-000000002`, in the order of the ids)}.

    f1, precision, recall                of test, 0 to 100, at the threshold
    threshold, pairs                     which one that was; how many pairs were taken
    dev_f1, dev_precision, dev_recall    of dev at the same threshold: its best. The authors' 71.5 is this. Not with --threshold
    hubness, anisotropy                  of test's English sentences as neighbours of the foreign ones (`xstilts/robustness.py`)
    """
    (language,) = collection.languages
    threshold, scores = args.threshold, {}
    if threshold is None:
        found, margins, _ = _mined("dev", language, collection, vectors, args, device)
        gold = collection.gold["dev"].gold
        right = np.array([pair in gold for pair in found], dtype=bool)
        threshold = best_threshold(margins, right, len(gold))
        if not right.any():
            print_main(
                f"{task.name} {language}: no pair mined on dev is right, so no threshold is better than another; it is 0"
            )
        dev = scoring.mined_pairs([found[i] for i in np.flatnonzero(margins >= threshold)], gold)
        scores = {f"dev_{name}": value for name, value in dev.items()}
    found, margins, space = _mined("test", language, collection, vectors, args, device)
    test = collection.gold["test"]
    predictions = sorted(_line(test.ids, found[i]) for i in np.flatnonzero(margins >= threshold))
    of_test = score(task.metric, [predictions], [[_line(test.ids, pair) for pair in sorted(test.gold)]])
    scores = {**of_test, "threshold": threshold, "pairs": len(predictions), **scores, **space}
    return {language: (scores, predictions)}


def _line(ids, pair):
    return "\t".join(side[position] for side, position in zip(ids, pair, strict=True))


def _mined(split, language, collection, vectors, args, device):
    """(pairs of positions of lines, (pairs,) scores, hubness and anisotropy) of one split."""
    names = (f"{split} {language}", f"{split} {ENGLISH}")
    foreign, english = (normalized(vectors[name], name) for name in names)
    nearest = top_k_both(foreign, english, args.neighborhood, device)
    space = {"hubness": hubness(nearest[0][1], len(english)), "anisotropy": anisotropy(english)}
    return *of_lines(*mined(*nearest), collection.gold[split].lines), space


def mined(forward, backward):
    """(sources, targets, scores), an array each, of the pairs of both directions, every source with the best-scored of its k
    targets and every target with that of its sources: the best-scored ones, each source and each target used once.

    forward, backward   (cosines, positions) of the k nearest targets of every source, of the k nearest sources of every target
    """
    (x, x_cosines), (y, y_cosines) = (
        (np.asarray(positions), np.asarray(c, np.float64)) for c, positions in (forward, backward)
    )
    fwd, fwd_scores = best(margin_scores(x_cosines, x, y_cosines.mean(1)), x)
    bwd, bwd_scores = best(margin_scores(y_cosines, y, x_cosines.mean(1)), y)
    ahead, back = (np.arange(len(x)), fwd, fwd_scores), (bwd, np.arange(len(y)), bwd_scores)
    return used_once(*map(np.concatenate, zip(ahead, back, strict=True)))


def margin_scores(cosines, positions, means):
    """Ratio margins of every x with its nearest ys, (n, k) float64: cosine / ((mean cosine of x + mean cosine of y) / 2).

    cosines, positions    of the k nearest ys of every x, (n, k) each; k is less than asked for where there are fewer ys
    means                 mean cosine of every y with its own nearest xs, (m,)
    Where the two means are not above 0 together a ratio says nothing (it would grow as the cosine falls): the margin is -inf.
    """
    cosines = np.asarray(cosines, np.float64)
    average = (cosines.mean(1, keepdims=True) + np.asarray(means, np.float64)[positions]) / 2
    return np.divide(cosines, average, out=np.full(cosines.shape, -np.inf), where=average > 0)


def best(scores, positions):
    """(position of the best-scored neighbour of each row, its score); the lowest position of equals."""
    top = scores.max(1)
    return np.where(scores == top[:, None], positions, np.iinfo(np.int64).max).min(1), top


def used_once(sources, targets, scores):
    """The pairs, the best score first, whose source and target are in no pair before them."""
    order = np.lexsort((targets, sources, -scores))
    seen, kept = (set(), set()), []
    for index, source, target in zip(order.tolist(), sources[order].tolist(), targets[order].tolist(), strict=True):
        if source not in seen[0] and target not in seen[1]:
            seen[0].add(source)
            seen[1].add(target)
            kept.append(index)
    return sources[kept], targets[kept], scores[kept]


def of_lines(sources, targets, scores, lines):
    """Pairs of unique sentences -> (pairs of lines, their scores): every line of the one with every line of the other, with the
    pair's score, as in jiant. XTREME leaves out sentences that several lines have."""
    found, margins = [], []
    for source, target, margin in zip(sources.tolist(), targets.tolist(), scores.tolist(), strict=True):
        pairs = [(i, j) for i in lines[0][source] for j in lines[1][target]]
        found += pairs
        margins += [margin] * len(pairs)
    return found, np.array(margins)


def best_threshold(scores, right, gold):
    """The threshold at which taking all pairs that score as much or more has the best F1, of several the highest one.

    It is half-way between the last score that is taken and the next one; the last score of all where every pair is. Without any
    right pair it is 0, as in the benchmark's code: all cuts are equal then, and this one hides nothing.

    scores (pairs,) float64; right (pairs,) bool; gold, the number of gold pairs.
    """
    if not np.any(right):
        return 0.0
    order = np.argsort(-scores, kind="stable")
    scores, taken = scores[order], np.arange(1, len(scores) + 1)
    cuts = np.flatnonzero(np.append(scores[1:] < scores[:-1], True))
    last = cuts[np.argmax(2 * np.cumsum(right[order])[cuts] / (taken[cuts] + gold))]
    if last + 1 == len(scores):
        return float(scores[last])
    middle = float((scores[last] + scores[last + 1]) / 2)
    return middle if middle > scores[last + 1] else float(scores[last])


def write(folder, language, predictions, collection):
    """XTREME's file: a pair of ids a line, foreign and English, with a tab between them."""
    (folder / f"test-{language}.tsv").write_text("".join(f"{pair}\n" for pair in predictions), encoding="utf-8")


TYPE = RetrievalType(
    name="mining",
    pooling="mean",
    layer=default_layer,
    options=("neighborhood", "threshold"),
    load=load,
    search=search,
    write=write,
)
