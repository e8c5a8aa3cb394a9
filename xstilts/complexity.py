"""How complex a task is: what its rows hold, and how hard they are to learn."""

import math
from collections import Counter
from itertools import chain

import pyarrow as pa
import torch

from xstilts.metrics import score_by_language


def complexity(task, train, features, dev, code=None):
    """What run.json says of a task's complexity; None where it is not defined or was not measured.

    rows, inputs, tokens             training examples, model inputs (windows of long ones), and tokens of the inputs, specials
                                     included, padding not
    label_entropy_bits               of the training labels or tags; question answering has none
    metric, chance, dev_rows         the headline score; its value on the selection set of who knows the most frequent training
                                     label only; rows of that set
    prequential_bits_per_example     see `CodeLength`; `code` is (bits, inputs), and where fewer inputs than `inputs` were seen it
    prequential_inputs               is an estimate from those
    """
    bits, seen = code or (None, 0)
    per_example = len(features) / len(train)
    return {
        "rows": len(train),
        "inputs": len(features),
        "tokens": count_tokens(features),
        "label_entropy_bits": label_entropy(train.rows),
        "metric": task.metric.headline,
        "chance": chance_scores(task, train, dev)[task.metric.headline],
        "dev_rows": len(dev),
        "prequential_bits_per_example": bits / seen * per_example if seen else None,
        "prequential_inputs": seen,
    }


def chance_scores(task, train, dev):
    """Scores on the selection set of who knows the most frequent training label only."""
    guesses = task.type.constant(train.rows, dev.rows)
    gold = [task.type.gold(example) for example in dev.rows]
    return score_by_language(task.metric, guesses, gold, dev.records)


def count_tokens(features):
    """Number of token ids in features, whose ids are lists or, for multiple choice, lists of lists."""
    ids = features.with_format("arrow")["input_ids"]
    total = 0
    for chunk in getattr(ids, "chunks", None) or [ids]:
        while pa.types.is_list(chunk.type):
            chunk = chunk.flatten()
        total += len(chunk)
    return total


def label_entropy(rows):
    """Entropy in bits of the distribution of labels, or of tags over words; None for examples that have neither."""
    if "label" in rows.column_names:
        counts = Counter(rows["label"])
    elif "tags" in rows.column_names:
        counts = Counter(chain.from_iterable(rows["tags"]))
    else:
        return None
    total = counts.total()
    return -sum(count / total * math.log2(count / total) for count in counts.values())


class CodeLength:
    """Prequential code length: what it costs to send the training labels to somebody who learns along, i.e. the loss of each
    batch before its update, over the first time each row is seen (Blier and Ollivier 2018, arXiv 1802.07044; Voita and Titov
    2020, arXiv 2003.12298). Totals live in the log history, which checkpoints keep; here is what came since.
    """

    def __init__(self):
        self.recent = {}

    def add(self, task, nats, labels, first):
        """Count a batch that is seen for the `first` time: its summed loss in nats, and its inputs with a label (fillers have
        none). Another one adds nothing but an entry: all processes must have the same tasks to add up."""
        inputs = labels.reshape(len(labels), -1).ne(-100).any(1).sum()
        pair = torch.stack([nats.detach().float(), inputs.float()]) * first
        self.recent[task] = self.recent.get(task, 0) + pair

    def flushed(self, history, accelerator):
        """Log entries with the totals of the tasks that have something new, over all processes."""
        entries, before = {}, self.read(history)
        for task, pair in sorted(self.recent.items()):
            bits, inputs = before.get(task, (0.0, 0))
            nats, more = accelerator.reduce(pair, reduction="sum").tolist()
            if more:
                entries |= {f"code_bits/{task}": bits + nats / math.log(2), f"code_inputs/{task}": inputs + int(more)}
        self.recent = {}
        return entries

    def read(self, history):
        """{task: (bits, inputs)} as last logged."""
        logged = {key: value for entry in history for key, value in entry.items() if key.startswith("code_")}
        tasks = [key.removeprefix("code_bits/") for key in logged if key.startswith("code_bits/")]
        return {task: (logged[f"code_bits/{task}"], logged[f"code_inputs/{task}"]) for task in tasks}
