"""Scores as the benchmarks compute them, 0 to 100, of labels, tags, mined pairs and rankings: plain functions on plain lists.

Predictions and references are in the order of the examples. `xstilts/answers.py` has those of question answering,
`xstilts/metrics.py` the same as the metrics that tasks name.
"""

import warnings
from itertools import chain

from seqeval.metrics.sequence_labeling import get_entities, precision_recall_fscore_support

CUTOFF = 20  # XTREME-R's mAP@20
NO_ENTITIES = "no entities in the gold: F1 is 0 whatever is predicted"


def accuracy(predictions, references):
    """Share of predictions that equal their reference."""
    return {"accuracy": share_right(predictions, references)}


def share_right(predictions, references):
    """Share of predictions that equal their reference, 0 to 100."""
    return 100 * sum(p == r for p, r in zip(predictions, references, strict=True)) / len(references)


def tag_accuracy(predictions, references):
    """Share of words whose tag is right, of sentences as lists of tags. Raises ValueError for a sentence with more or fewer tags
    than words."""
    pairs = [pair for p, r in zip(predictions, references, strict=True) for pair in zip(p, r, strict=True)]
    return {"accuracy": 100 * sum(p == r for p, r in pairs) / len(pairs)}


def part_of_speech(predictions, references):
    """XTREME's F1 of raw tags, as published and as the newer seqeval has it, and accuracy. Raises as `tag_accuracy`.

    f1, precision, recall   of runs of equal tags. The published numbers come from seqeval 0.0.12, which takes such a run for one
                            span, except that tags beginning with B, E or S are spans of one word. Written as `N-NOUN`, tags
                            keep their whole names in seqeval 1.x and give the same.
    f1_seqeval_raw          what seqeval 1.2.2 makes of raw tags, and XTREME's scorer prints where that is installed: a tag's
                            first letter is cut off, so that CCONJ and SCONJ become one, and a last X is not seen.
    accuracy                over words.
    """
    accuracy = tag_accuracy(predictions, references)
    published = spans(as_spans(predictions), as_spans(references))
    return {**published, "f1_seqeval_raw": spans(predictions, references)["f1"], **accuracy}


def as_spans(sentences):
    """Raw tags as seqeval 1.x wants them, of lists of tags."""
    return [[f"{tag[0]}-{tag}" for tag in sentence] for sentence in sentences]


def entities(predictions, references):
    """F1, precision and recall of entities in IOB tags, as seqeval's default mode and conlleval find them: an I- that follows
    nothing of its type begins an entity, too."""
    return spans(predictions, references)


def entities_remark(references):
    """What to say of gold tags without an entity, "" of others: seqeval's F1 is 0 then, even where all tags are right."""
    return "" if any(tag != "O" for tag in chain.from_iterable(references)) else NO_ENTITIES


def spans(predictions, references):
    """seqeval's micro-averaged F1, precision and recall; 0 where there are no spans."""
    with warnings.catch_warnings():  # seqeval warns of every tag that is not IOB
        warnings.simplefilter("ignore")
        precision, recall, f1, _ = precision_recall_fscore_support(references, predictions, average="micro")
    return {name: 100 * float(value) for name, value in (("f1", f1), ("precision", precision), ("recall", recall))}


def span_ratio(prediction, reference):
    """(200 x spans found, spans predicted and right ones together) of a sentence: their sums' ratio is F1, 0 to 100."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found, right = (set(get_entities([*tags])) for tags in (prediction, reference))
    return 200 * len(found & right), len(found) + len(right)


def mined_pairs(predictions, references):
    """F1, precision and recall of two collections of pairs of ids, each counted once (BUCC); 0 where they share none."""
    found, gold = set(predictions), set(references)
    right = len(found & gold)
    precision, recall = (right / len(found), right / len(gold)) if right else (0.0, 0.0)
    f1 = 2 * precision * recall / (precision + recall) if right else 0.0
    return {"f1": 100 * f1, "precision": 100 * precision, "recall": 100 * recall}


def ranking(predictions, references):
    """mAP@20 of rankings, lists of ids with the best first, against lists of right ids (LAReQA has 11, Mewsli-X one, for which it
    is the mean reciprocal rank). Queries without a ranking have an empty list, and score 0."""
    found = [average_precision(p, set(r)) for p, r in zip(predictions, references, strict=True)]
    return {"map@20": 100 * sum(found) / len(found)}


def average_precision(ranked, right):
    """Sum of the precisions at the ranks of right ids, over the number of right ids or 20, whichever is less; 0 to 1.

    An id that is ranked twice counts where it is first, as in the benchmark's scorer.
    """
    hits, total = set(), 0.0
    for rank, id in enumerate(ranked[:CUTOFF], start=1):
        if id in right and id not in hits:
            hits.add(id)
            total += len(hits) / rank
    return total / min(len(right), CUTOFF)
