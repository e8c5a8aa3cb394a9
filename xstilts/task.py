"""What a declaration may say: `Task` for what is fine-tuned, `RetrievalTask` for what is only embedded and searched.

A declaration is data: frozen, its values are functions and objects one can click on. A variant of a task is
`dataclasses.replace(TASK, ...)`. The files of `tasks/` hold one declaration each, called `TASK`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from xstilts.readers import Dropped
from xstilts.sources import Source
from xstilts.templates import ENGLISH
from xstilts.xtreme import languages_of


@dataclass(frozen=True, kw_only=True)
class TaskType:
    """One kind of task, as the functions that must be right once: see `xstilts/classification.py` for the plainest.

    columns      the columns of an example of this type
    auto_model   the transformers Auto class that puts this type's head on an encoder
    lengths      names of the script arguments `features` needs beside `max_seq_length`
    features     (batch of examples, indices, tokenizer, labels, **lengths) -> columns of token ids, one row per
                 model input; `example` is the index of the example a row belongs to, `labels` is what the loss reads
    forward      (model, batch) -> model outputs; for types whose model is not simply called with the batch
    collate      (list of feature rows, tokenizer, multiple=1) -> int64 tensors, padded to a `multiple` of tokens; `labels` is
                 -100 where nothing is learned
    logits       (model outputs, batch) -> (..., classes) logits; `labels`, of the shape before classes, index the last axis
    keep         (model outputs, labels, batch) -> what is kept of every row of the batch until all are decoded, arrays without
                 padding
    decode       (kept of every row, features, examples, labels) -> one prediction per example, in the order of the examples
    confidence   (kept of every row, features, examples) -> the model's probability of each prediction, 0 to 1 (of a word each)
    gold         example -> the reference that the metric compares a prediction with
    texts        example -> the model's inputs before tokenisation: a list of tuples of strings
    constant     (training examples, examples) -> predictions that know nothing but the most frequent training label
    write        (path without suffix, predictions, examples) -> writes the file the benchmark's scorer reads
    untaught     (features, examples) -> {why: number} of examples that do not teach what `gold` says; for types that have such
    in_batch_negatives  whether the loss of a row depends on which others share its micro-batch, so that these stay as drawn
    """

    name: str
    columns: tuple[str, ...]
    auto_model: type
    lengths: tuple[str, ...] = ()
    features: Callable
    collate: Callable
    forward: Callable | None = None
    logits: Callable
    keep: Callable
    decode: Callable
    confidence: Callable
    gold: Callable
    texts: Callable
    constant: Callable
    write: Callable
    untaught: Callable | None = None
    in_batch_negatives: bool = False


@dataclass(frozen=True)
class Side:
    """Texts that are embedded together, one vector each.

    texts   strings
    role    `query` or `document`: which of --query_prefix and --document_prefix is put before them, and how long they may be
    """

    texts: Sequence
    role: str = "document"


@dataclass(frozen=True)
class Collection:
    """What is embedded and searched at once: a pair of languages, or the queries of all languages and their common candidates.

    sides       {name: Side}
    languages   those it gives scores of
    gold        what is right, as the type's `search` reads it
    records     what run.json says of the rows (`examples.record_of`)
    """

    sides: Mapping[str, Side]
    languages: tuple[str, ...]
    gold: object
    records: tuple[dict, ...]


@dataclass(frozen=True, kw_only=True)
class RetrievalType:
    """One kind of sentence retrieval: see `xstilts/aligned.py` for the plainest.

    pooling   default of --pooling
    layer     depth of an encoder -> the index into hidden_states that is read by default
    options   names of the script's arguments that `load` and `search` read beside those of all types
    load      (task, arguments) -> (list of Collections, {language without data: reason})
    search    (task, collection, {side: (texts, width) float32 vectors of one layer}, arguments, device)
              -> {language: (scores, predictions)}
    write     (folder, language, predictions, collection) -> writes the file that the benchmark's scorer reads
    """

    name: str
    pooling: str
    layer: Callable[[int], int]
    options: tuple[str, ...] = ()
    load: Callable
    search: Callable
    write: Callable


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """How the queries and candidates of a task are made of raw rows, all of the split `test`.

    queries         rows that hold queries, of one language each
    to_queries      raw row -> list of {"id", "text", "key"}; ids are unique in a language
    candidates      rows that hold candidates. Those of a source whose files are of one language each are pooled over all
                    languages, and the language is put before their ids (`de_3_0`)
    to_candidates   raw row -> list of {"id", "text", "keys"}; a candidate is right for the queries whose `key` is among its
                    `keys`
    """

    queries: Source
    to_queries: Callable[[dict], list[dict]]
    candidates: Source
    to_candidates: Callable[[dict], list[dict]]


@dataclass(frozen=True, kw_only=True)
class Task:
    """An intermediate or a target task.

    name         as on the command line, and the name of its file in `tasks/`
    type         its `TaskType`
    source       where its rows come from: the hub, or the publisher's files
    parts        instead of `source` and `to_example`: the tasks whose rows together are this one's (ANLI+)
    to_example   pure function: a raw row (the hub's columns) -> an example (the type's columns), or `Dropped` with the reason for
                 a row that the dataset's users leave out (SNLI's pairs without a label); such rows are counted
    labels       every label, in the order of the model's outputs; strings; empty for question answering
    open_labels  the labels are those that occur in the training rows (supertags); `labels` stays empty in the declaration
    metric       an `evaluate.Metric` class of `xstilts/metrics.py`; its `headline` names the score that selects
    languages    the languages of XTREME and XTREME-R it is evaluated in, English first where it is among them
    on_request   further ones, evaluated where --languages names them: pairs of languages (MLQA's de-en)
    train_on     the task whose training rows a target task learns from, where that is another one
    after        name of a task that the benchmark's protocol trains on before this one, with the same head (XCOPA: Social IQa)
    held_out_by  a column of the raw rows: the selection set is not the `validation` split but a part of the training rows, by
                 whole groups of this column (see `xstilts/examples.py`), of which it takes `held_out_share`
    sizes        published number of rows, checked: by split where all languages agree, else by `split-language`
    variants     benchmark -> the fields that differ from these in it (see `of_benchmark`)
    retrieval    a `Ranking` for a task whose answers are searched for among candidates, by run_retrieval.py
    """

    name: str
    type: TaskType
    source: Source | None = None
    parts: "tuple[Task, ...]" = ()
    to_example: Callable[[dict], dict | Dropped] | None = None
    labels: tuple[str, ...] = ()
    open_labels: bool = False
    metric: type
    languages: tuple[str, ...] = ("en",)
    on_request: tuple[str, ...] = ()
    train_on: "Task | None" = None
    after: str | None = None
    held_out_by: str | None = None
    held_out_share: float = 1 / 20
    sizes: Mapping[str, int] = field(default_factory=dict)
    variants: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    retrieval: Ranking | None = None

    @property
    def splits(self):
        """Names of the splits it has rows of."""
        return tuple(self.source.splits if self.source else self.parts[0].splits)

    @property
    def trained_on(self):
        """Name of the task whose training rows this one learns from."""
        return (self.train_on or self).name


@dataclass(frozen=True, kw_only=True)
class RetrievalTask:
    """A task without training and without a head.

    type         its `RetrievalType`
    source       rows as the type wants them: of `aligned` the columns `source_sentence` (the foreign language) and
                 `target_sentence` (English)
    languages    the foreign languages; the other side is English
    """

    name: str
    type: RetrievalType
    source: Source
    languages: tuple[str, ...]
    metric: type
    sizes: Mapping[str, int] = field(default_factory=dict)

    @property
    def splits(self):
        """Names of the splits it has rows of."""
        return tuple(self.source.splits)


def published_rows(task, split, language):
    """The published number of rows of a split in a language, None where nobody published any."""
    return task.sizes.get(f"{split}-{language}", task.sizes.get(split) if language in task.languages else None)


def of_benchmark(task, benchmark):
    """A Task or RetrievalTask as `xtreme` or `xtreme-r` has it: in that benchmark's languages, English first where it is among
    them, and with what the declaration's `variants` say of it (another release of the data, say).

    Raises UserError for another benchmark, and for a task that it lacks.
    """
    languages = sorted(languages_of(benchmark, task.name), key=lambda language: language != ENGLISH)
    return replace(task, languages=tuple(languages), **getattr(task, "variants", {}).get(benchmark, {}))
