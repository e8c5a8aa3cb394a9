"""Ways to fine-tune, the stock Trainer as the published example scripts set it up and ours, and the rows that they go through.

run_glue, run_ner, run_swag and run_qa of transformers' examples give the Trainer tokenised rows with their own names for labels,
padded to the maximum at tokenisation and stacked by `default_data_collator`, or padded to the longest of a batch by a collator of
the library. Their rows are made of our features here, and the order of rows is ours, so that all ways compute the same.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from datasets import load_from_disk
from transformers import (
    DataCollatorForMultipleChoice,
    DataCollatorForTokenClassification,
    DataCollatorWithPadding,
    PrinterCallback,
    Trainer,
    TrainingArguments,
    default_data_collator,
    set_seed,
)

from benchmarks.measuring import encoder_config
from tasks import load_task
from xstilts import multiple_choice, qa, tagging
from xstilts.base import UserError
from xstilts.checkpoint import load_tokenizer
from xstilts.micro_batches import cut, input_lengths, inputs_of
from xstilts.order import EpochSampler, epoch_order
from xstilts.training import StiltsTrainer, data_seed


@dataclass(frozen=True, kw_only=True)
class Work:
    """What all ways of fine-tuning do alike.

    task        its name
    rows        folder of features (datasets.Dataset.save_to_disk), tokenised to at most `maximum` tokens
    tokenizer   folder of a checkpoint
    encoder     layers x width; its weights are random, from one seed
    batch       rows of an optimizer step, of which ours and `stock, small batches` take `micro` at a time
    epochs      how often all rows are gone through
    """

    task: str
    rows: str
    tokenizer: str
    folder: str
    encoder: str
    maximum: int
    batch: int
    micro: int
    epochs: int
    cuda: bool = False

    def model(self, task, tokenizer):
        """The encoder under a fresh head."""
        set_seed(0)
        config = encoder_config(self.encoder, len(tokenizer), num_labels=len(task.labels) or 2)
        return task.type.auto_model.from_config(config)

    def arguments(self, micro, **others):
        """What the Trainer is told, with micro-batches of `micro` rows. All ways have transformers' own optimizer."""
        return TrainingArguments(
            self.folder, per_device_train_batch_size=micro, gradient_accumulation_steps=self.batch // micro,
            num_train_epochs=self.epochs, learning_rate=2e-5, max_grad_norm=1.0, bf16=self.cuda,
            use_cpu=not self.cuda, dataloader_pin_memory=self.cuda, logging_steps=50, save_strategy="no",
            report_to="none", disable_tqdm=True, **others,
        )  # fmt: skip


# ---- stock ----------------------------------------------------------------------------------------------------------


class InOurOrder(Trainer):
    """The stock Trainer, which draws as random an order from another generator."""

    def _get_train_sampler(self, train_dataset=None):
        rows = len(self.train_dataset)
        return EpochSampler([(0, rows, rows)], data_seed(self.args), self._train_batch_size)


def stock(work, padded=False, small=False):
    """The Trainer of an example script: `padded` to the maximum or dynamically, in batches of a whole step or `small` ones."""
    task, tokenizer = load_task(work.task), load_tokenizer(work.tokenizer)
    names = {"task": task, "tokenizer": tokenizer, "maximum": work.maximum if padded else 0}
    features = load_from_disk(work.rows)
    return InOurOrder(
        model=work.model(task, tokenizer),
        args=work.arguments(work.micro if small else work.batch),
        data_collator=default_data_collator if padded else stock_collator(task, tokenizer),
        train_dataset=features.map(stock_row, remove_columns=features.column_names, fn_kwargs=names),
        processing_class=tokenizer,
    )


def stock_collator(task, tokenizer):
    """What an example script pads with where it pads to the longest of a batch."""
    own = {tagging.TYPE: DataCollatorForTokenClassification, multiple_choice.TYPE: DataCollatorForMultipleChoice}
    return own.get(task.type, DataCollatorWithPadding)(tokenizer)


def stock_row(row, task, tokenizer, maximum):
    """Our feature row as an example script has it: {"input_ids", "attention_mask"} and labels, filled up to `maximum` tokens."""
    fill = {"input_ids": tokenizer.pad_token_id}
    inputs = {name: filled(row[name], fill.get(name, 0), maximum) for name in tokenizer.model_input_names}
    if task.type is qa.TYPE:
        return {**inputs, **dict(zip(("start_positions", "end_positions"), row["labels"], strict=True))}
    if task.type is tagging.TYPE:
        return {**inputs, "labels": filled(row["labels"], -100, maximum)}
    return {**inputs, "label": row["labels"]}


def filled(values, fill, maximum):
    """A list, or each of several, with `fill` behind its end up to `maximum`."""
    if values and isinstance(values[0], list):
        return [filled(each, fill, maximum) for each in values]
    return values + [fill] * (maximum - len(values))


# ---- ours -----------------------------------------------------------------------------------------------------------


def ours(work, limit=None, strategy="random"):
    """Our Trainer, with `limit` for --max_tokens_per_batch and --train_sampling_strategy `strategy`."""
    task, tokenizer = load_task(work.task), load_tokenizer(work.tokenizer)
    arguments = work.arguments(work.micro if limit is None else work.batch, train_sampling_strategy=strategy)
    model, rows = work.model(task, tokenizer), load_from_disk(work.rows)
    return StiltsTrainer(task, model, arguments, tokenizer, rows, max_tokens_per_batch=limit)


@dataclass(frozen=True, kw_only=True)
class Way:
    """A way to fine-tune: `make`, `stock` or `ours`, and its `options`, which say how rows are padded and dealt out."""

    make: Callable
    options: dict

    def trainer(self, work):
        """Its Trainer, which says nothing."""
        trainer = self.make(work, **self.options)
        trainer.remove_callback(PrinterCallback)
        return trainer


PADDED, DYNAMIC, SMALL = "stock, padded to the maximum", "stock, dynamic", "stock, dynamic, small batches"
OURS, GROUPED, BARE = "ours", "ours, group_by_length", "bare loop"
LIMIT = 512  # --max_tokens_per_batch
LIMITED = f"ours, {LIMIT} tokens"
LIMITS = {LIMITED: LIMIT, "ours, 1024 tokens": 1024}
WAYS = {
    PADDED: Way(make=stock, options={"padded": True}),
    DYNAMIC: Way(make=stock, options={}),
    SMALL: Way(make=stock, options={"small": True}),
    OURS: Way(make=ours, options={}),
    **{name: Way(make=ours, options={"limit": limit}) for name, limit in LIMITS.items()},
    GROUPED: Way(make=ours, options={"strategy": "group_by_length"}),
    BARE: Way(make=ours, options={}),
}


# ---- rows -----------------------------------------------------------------------------------------------------------


def typical_rows(features, batch, count):
    """`count` features, a multiple of `batch`, that are like all of them: the successive batches of an epoch in random order
    whose mean length and mean longest row are nearest to those of all. Raises UserError where there are not as many."""
    if len(features) < count:
        raise UserError(f"--data_dir has {len(features)} training rows where the benchmark needs {count}")
    order = np.array(epoch_order([(0, len(features), len(features))], 42, 0)[: len(features) // batch * batch])
    lengths = input_lengths(features)[order].reshape(-1, batch)
    sums = np.stack([lengths.mean(axis=1), lengths.max(axis=1)])
    runs = np.apply_along_axis(np.convolve, 1, sums, np.ones(count // batch) / (count // batch), "valid")
    start = np.abs(np.log(runs / sums.mean(axis=1, keepdims=True))).sum(axis=0).argmin() * batch
    return features.select(order[start : start + count])


def own_lengths(features):
    """Tokens of every model input, without padding: of each choice, of query and document."""
    return np.array([len(ids) for row in features["input_ids"] for ids in (row if isinstance(row[0], list) else [row])])


def epoch_tokens(work, features, way):
    """Tokens with padding of a whole epoch, from lengths alone."""
    lengths, inputs, options = input_lengths(features), inputs_of(features[0]), WAYS[way].options
    if options.get("padded"):
        return work.maximum * inputs * len(lengths)
    is_ours, limit = way not in (DYNAMIC, SMALL), options.get("limit")
    micro = work.batch if way == DYNAMIC or limit else work.micro
    sampler = EpochSampler(
        [(0, len(lengths), len(lengths))], 42, micro, work.batch // micro, lengths=lengths if is_ours else None,
        by_length="strategy" in options,
    )  # fmt: skip
    drawn = lengths[[row for row in sampler if row < len(lengths)]]
    batches = [drawn[start : start + micro] for start in range(0, len(drawn), micro)]
    if limit:
        batches = [each[places] for each in batches for places in cut(as_rows(each, inputs), limit)]
    return int(sum(len(each) * each.max() * inputs for each in batches))


def as_rows(lengths, inputs):
    """Rows with as many tokens, for `cut`."""
    return [{"input_ids": [[0] * length] * inputs if inputs > 1 else [0] * length} for length in lengths]
