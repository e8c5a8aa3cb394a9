"""Retrieval among translations: every English sentence looks for its own among the foreign ones (Tatoeba)."""

import numpy as np

from xstilts.languages import load_sentences
from xstilts.metrics import score
from xstilts.mining import best, margin_scores
from xstilts.pooling import default_layer
from xstilts.robustness import NEIGHBOURS, anisotropy, hubness, rank_summary
from xstilts.scoring import share_right
from xstilts.search import normalized, ranks, top_k_both
from xstilts.task import Collection, RetrievalType, Side
from xstilts.templates import ENGLISH


def load(task, args):
    """A Collection per language: `en`, the queries, and the language's own code; the i-th sentences are translations."""
    pairs, missing = load_sentences(task, "test", args.languages, args.data_dir, args.max_eval_samples)
    return [_collection(language, examples) for language, examples in pairs.items()], missing


def _collection(language, examples):
    english, foreign = (list(examples.rows[column]) for column in ("target_sentence", "source_sentence"))
    sides = {ENGLISH: Side(english, "query"), language: Side(foreign)}
    return Collection(sides, (language,), gold=None, records=examples.records)


def search(task, collection, vectors, args, device):
    """{language: (scores, for every English sentence the position of the foreign one that is nearest)}.

    accuracy                  English queries, foreign index, cosine: the benchmark's and the authors' figure
    accuracy_to_english       the other direction
    accuracy_margin           both again with the ratio margin over `--neighborhood` neighbours in the place of the cosine
    accuracy_to_english_margin
    mrr, rank_median, rank_90, hubness, anisotropy   see `xstilts/robustness.py`; `_english` where that side is the index
    """
    (language,) = collection.languages
    english, foreign = (normalized(vectors[side], side) for side in (ENGLISH, language))
    forward, backward = top_k_both(english, foreign, max(NEIGHBOURS, args.neighborhood), device)
    found = forward[1][:, 0].tolist()
    gold = [*map(str, range(len(found)))]
    scores = {
        **score(task.metric, [*map(str, found)], gold),
        "accuracy_to_english": right(backward[1][:, 0]),
        "accuracy_margin": right(nearest_by_margin(forward, backward, args.neighborhood)),
        "accuracy_to_english_margin": right(nearest_by_margin(backward, forward, args.neighborhood)),
        **rank_summary(ranks(english, foreign, device)),
        "hubness": hubness(forward[1], len(foreign)),
        "hubness_english": hubness(backward[1], len(english)),
        "anisotropy": anisotropy(foreign),
        "anisotropy_english": anisotropy(english),
    }
    return {language: (scores, found)}


def right(found):
    """Share of queries whose own translation was found, 0 to 100."""
    return share_right(np.asarray(found).tolist(), [*range(len(found))])


def nearest_by_margin(forward, backward, k):
    """Position of the best of the k nearest vectors by ratio margin, for each query (Artetxe and Schwenk 2019)."""
    (cosines, positions), theirs = (np.asarray(part)[:, :k] for part in forward), np.asarray(backward[0])[:, :k]
    return best(margin_scores(cosines, positions, theirs.mean(1)), positions)[0]


def sorted_english(sentences):
    """Order of the English side in the benchmark's files: alphabetical, so that positions give no translation away."""
    return sorted(range(len(sentences)), key=lambda position: sentences[position].strip())


def write(folder, language, predictions, collection):
    """XTREME's file: for every English sentence, in their sorted order, the position of the foreign one, a line each."""
    order = sorted_english(collection.sides[ENGLISH].texts)
    lines = "".join(f"{predictions[position]}\n" for position in order)
    (folder / f"test-{language}.tsv").write_text(lines, encoding="utf-8")


TYPE = RetrievalType(
    name="aligned",
    pooling="mean",
    layer=default_layer,
    options=("neighborhood", "compare_with"),
    load=load,
    search=search,
    write=write,
)
