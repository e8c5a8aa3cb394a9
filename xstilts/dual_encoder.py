"""Dual encoder: example = `id`, `query`, `document`.

One encoder reads queries and documents, each by itself, and a query's own document has to be nearer to it than the others of its
batch are. A vector is the first token of the last layer at length 1, a score SCALE times a dot product. Three choices that move
the numbers: Google's code (xtreme, third_party/bert.py) sends that token through the pooler, which most encoders lack or never
trained; it trains the scale, which hardly moves at its learning rate; and its scripts ask for lower case with XLM-R.

A query's negatives are the other documents of its micro-batch, `--per_device_train_batch_size` less one. Neither gradient
accumulation nor further processes add any, so unlike other types' the loss depends on how a step is dealt out. Documents that
are the same to the encoder are not each other's negatives (in Google's code they are), nor are those that fill up a last batch.
"""

import functools
import json
from collections import Counter
from collections.abc import Mapping

import numpy as np
import torch
from transformers import AutoModel, AutoModelForMaskedLM, AutoModelForTokenClassification
from transformers.models.auto.auto_factory import _BaseAutoModelClass

from xstilts import classification
from xstilts.base import UserError
from xstilts.examples import hash_of
from xstilts.generic_heads import bare_encoder
from xstilts.scoring import CUTOFF
from xstilts.search import top_k
from xstilts.task import TaskType

NAME = "dual_encoder"
SCALE = 100.0  # where Google's learnt one begins, and stays
SIDES = ("query", "document")
ARCHITECTURE = "ForDualEncoding"
BLOCK = 1024  # queries that are compared with all documents at a time


def check_dual_encoder(task, inputs, meant=None):
    """Raise UserError for a task with a dual encoder whose micro-batches of `inputs` leave it without negatives, or with others
    than the `meant` ones of its own section of the config."""
    if task.type.name != NAME:
        return
    if inputs < 2:
        raise UserError(
            f"{task.name} learns from the other documents of a micro-batch, which has {inputs}: "
            "--per_device_train_batch_size must be 2 or more"
        )
    if meant not in (None, inputs):
        raise UserError(
            f"{task.name} would have {inputs - 1} negatives in this mixture instead of {meant - 1}: "
            "--gradient_accumulation_steps is that of the whole run; give it and --per_device_train_batch_size"
        )


# ---- the model ------------------------------------------------------------------------------------------------------


class TwoSided:
    """Vectors of two inputs from one encoder: nothing above it is trained, so that every parameter is the encoder's."""

    main_input_name = "document_input_ids"

    def __init__(self, config):
        super().__init__(config)
        setattr(self, self.base_model_prefix, bare_encoder(config))
        self.post_init()

    def forward(self, **inputs):
        """{`query_<input>`, `document_<input>`: (batch, tokens)} -> {"query", "document": (batch, width) float32 vectors}.

        Both sides in one call: two calls of a model that is copied to several processes would overwrite what the way back
        through the first one needs.
        """
        return {side: self._vectors(_of_side(inputs, side)) for side in SIDES}

    def _vectors(self, inputs):
        states = self.base_model(**inputs, return_dict=True).last_hidden_state
        return torch.nn.functional.normalize(states[:, 0].float(), dim=-1)


def _of_side(inputs, side):
    return {name.removeprefix(f"{side}_"): part for name, part in inputs.items() if name.startswith(f"{side}_")}


@functools.cache
def class_of(config):
    """The class of dual encoders for a class of configurations, named as its siblings are (`XLMRobertaForDualEncoding`); None
    for what is no encoder of text: it has to have masks to fill and tokens to label."""
    if any(config not in auto._model_mapping for auto in (AutoModelForMaskedLM, AutoModelForTokenClassification)):
        return None
    encoder = AutoModel._model_mapping[config]
    if isinstance(encoder, tuple):
        return None
    name = encoder.__name__.removesuffix("Model") + ARCHITECTURE
    return type(name, (TwoSided, encoder.__base__), {"__module__": __name__})


class _Classes(Mapping):
    """{class of configurations: class of dual encoders}, made when they are asked for."""

    def __getitem__(self, config):
        if (found := class_of(config)) is None:
            raise KeyError(config)
        return found

    def __iter__(self):
        return (config for config in AutoModel._model_mapping if class_of(config))

    def __len__(self):
        return sum(1 for _ in self)


class AutoModelForDualEncoding(_BaseAutoModelClass):
    """The Auto class of dual encoders. What it saves, AutoModel reads too."""

    _model_mapping = _Classes()


# ---- features -------------------------------------------------------------------------------------------------------


def features(batch, indices, tokenizer, labels, max_seq_length, max_query_length):
    """One row per example with a list of two inputs: <s> query </s> and <s> document </s>. What is too long loses its end.

    Labels are their positions in a batch, which `collate` knows; until then 0.
    """
    queries = tokenizer(batch["query"], truncation=True, max_length=max_query_length)
    documents = tokenizer(batch["document"], truncation=True, max_length=max_seq_length)
    both = {name: [[*pair] for pair in zip(queries[name], documents[name], strict=True)] for name in queries}
    return {**both, "labels": [0] * len(indices), "example": indices}


def collate(rows, tokenizer, multiple=1):
    """`query_<input>` and `document_<input>`, each (batch, tokens), padded by themselves; `labels`, (batch,) places of the right
    documents, -100 for rows that fill up; `allowed`, (batch, batch): which documents stand against a query."""
    batch = {}
    for number, side in enumerate(SIDES):
        inputs = [{name: row[name][number] for name in tokenizer.model_input_names} for row in rows]
        batch |= {f"{side}_{name}": part for name, part in classification.padded(inputs, tokenizer, multiple).items()}
    places = torch.arange(len(rows))
    learnt = torch.tensor([row["labels"] != -100 for row in rows])
    documents = [tuple(row["input_ids"][1]) for row in rows]
    first = torch.tensor([documents.index(document) for document in documents])
    others = (first[:, None] != first) & learnt
    return {**batch, "labels": places.where(learnt, -100), "allowed": others | torch.eye(len(rows), dtype=torch.bool)}


def forward(model, batch):
    """The vectors of both sides; the model has no use for `allowed`."""
    return model(**{name: part for name, part in batch.items() if name != "allowed"})


def logits(outputs, batch):
    """(batch, batch) scores of every document for every query, -inf for those that do not stand against it; in float32, as
    bfloat16 would round them by up to a quarter."""
    query, document = (outputs[side].float() for side in SIDES)
    with torch.autocast(query.device.type, enabled=False):
        return (SCALE * query @ document.T).masked_fill(~batch["allowed"], -torch.inf)


def keep(outputs, labels, batch):
    """(2, width) vectors of every row, float32: of its query and of its document."""
    return [*torch.stack([outputs[side].float() for side in SIDES], dim=1).cpu().numpy()]


# ---- predictions ----------------------------------------------------------------------------------------------------


def decode(outputs, features, examples, labels):
    """What `keep` kept -> for every example's query the ids of the CUTOFF best among all distinct documents of the examples, best
    first; of equally good ones the one that comes first."""
    ids, queries, documents = _distinct(outputs, features, examples)
    return [[ids[place] for place in row] for row in top_k(queries, documents, CUTOFF)[1].tolist()]


def confidence(outputs, features, examples):
    """The probability of every query's best document among all distinct ones of the examples."""
    _, queries, documents = _distinct(outputs, features, examples)
    blocks = (SCALE * (block @ documents.T) for block in queries.split(BLOCK))
    return [share for block in blocks for share in block.softmax(-1).amax(-1).tolist()]


def _distinct(outputs, features, examples):
    """(ids of the distinct documents in the order of their first occurrence, vectors of every example's query, vectors of these
    documents)."""
    ids = document_ids(examples)
    first = {id: row for row, id in reversed([*enumerate(ids)])}
    rows = np.empty((len(examples), *outputs[0].shape), np.float32)
    rows[features["example"][:]] = outputs
    vectors = torch.from_numpy(rows)
    order = sorted(first.values())
    return [ids[row] for row in order], vectors[:, 0], vectors[order, 1]


def document_ids(examples):
    """The `document_id` of every example."""
    return [document_id(document) for document in examples["document"]]


def document_id(document):
    """What a document is called: 16 hexadecimal digits of its text."""
    return hash_of(document)[:16]


def gold(example):
    """The only right document: its own."""
    return [document_id(example["document"])]


def texts(example):
    """The query, and the document."""
    return [(example["query"],), (example["document"],)]


def constant(train, examples):
    """For every query the same documents of the examples, those that most training examples have first."""
    counts, ids = Counter(document_ids(train)), dict.fromkeys(document_ids(examples))
    return [sorted(ids, key=lambda id: -counts[id])[:CUTOFF]] * len(examples)


def write(path, predictions, examples):
    """JSON, example id -> ids of the best documents."""
    content = dict(zip(examples["id"], predictions, strict=True))
    path.with_suffix(".json").write_text(json.dumps(content, indent=1), encoding="utf-8")


TYPE = TaskType(
    name=NAME,
    columns=("id", "query", "document"),
    auto_model=AutoModelForDualEncoding,
    lengths=("max_query_length",),
    features=features,
    collate=collate,
    forward=forward,
    logits=logits,
    keep=keep,
    decode=decode,
    confidence=confidence,
    gold=gold,
    texts=texts,
    constant=constant,
    write=write,
    in_batch_negatives=True,
)
