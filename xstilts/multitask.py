"""Several tasks in one run: a Trainer whose optimizer steps are of one task each."""

from dataclasses import dataclass

import torch
from datasets import Dataset
from torch.utils.data import DataLoader

from xstilts import mlm
from xstilts.base import print_main
from xstilts.callbacks import early_stopping
from xstilts.checkpoint import check_lengths, load_model, save_checkpoint
from xstilts.complexity import chance_scores, complexity
from xstilts.examples import Examples, unseen_labels
from xstilts.heads import load_mixture, save_mixture
from xstilts.layerwise import gradual_unfreezing
from xstilts.loaders import Collator, MixedCollator, loader_options, read_columns
from xstilts.micro_batches import dealing_lengths
from xstilts.mixing import MixedRows, Mixture, StepBatches
from xstilts.order import RowStream, groups_of
from xstilts.task import Task
from xstilts.training import StiltsTrainer, data_seed


@dataclass(kw_only=True)
class Part:
    """One task of a run.

    args           the script's arguments with the task's own section of the config: lengths, numbers of samples
    step_inputs    model inputs of an optimizer step, over all accumulation steps and processes
    """

    task: Task
    args: object
    dev: Examples
    train: Examples | None = None
    step_inputs: int | None = None
    train_features: Dataset | None = None
    dev_features: Dataset | None = None

    @property
    def settings(self):
        """What of the task's own section of the config decides the result."""
        lengths = {name: getattr(self.args, name) for name in ("max_seq_length", *self.task.type.lengths)}
        return {**lengths, "step_inputs": self.step_inputs}

    @property
    def labelled_languages(self):
        """Languages that the encoder sees labelled rows of; text for masked language modelling has no labels."""
        return [] if self.task.name == mlm.NAME else self.train.languages

    @property
    def selection_languages(self):
        """Languages of the labelled rows that choose the checkpoint: English ones where the training languages have none."""
        return [] if self.task.name == mlm.NAME else self.dev.languages


def load_parts(parts, tokenizer, args):
    """The encoder at `args.model_name_or_path` under fresh heads: a plain model of one task, a MultitaskModel of several. Raises
    UserError if inputs may be longer than the encoder allows."""
    path, several = args.model_name_or_path, len(parts) > 1
    model = load_mixture(path, [part.task for part in parts], args) if several else load_model(path, parts[0].task)
    for part in parts:
        check_lengths(model, tokenizer, part.task, part.args)
    return model


def save_parts(model, parts, tokenizer, output_dir):
    """Write what `load_parts` made; returns the fingerprint of what the next phase reads."""
    if len(parts) == 1:
        return save_checkpoint(model, tokenizer, output_dir)
    return save_mixture(model, [part.task for part in parts], tokenizer, output_dir)


class DevRows(torch.utils.data.Dataset):
    """Features of a selection set that say whose they are."""

    def __init__(self, task, features):
        self.task, self.features = task.name, features

    def __len__(self):
        return len(self.features)

    def __getitem__(self, index):
        """A row that says whose it is."""
        return {**self.features[index], "task": self.task}

    def with_format(self, *names):
        """The features with their columns in another format."""
        return self.features.with_format(*names)


class MixedLoader(DataLoader):
    """A DataLoader that tells its batch sampler the epoch; accelerate's way of dealing batches to processes is not used."""

    def set_epoch(self, epoch):
        """Called by the Trainer at the start of every epoch."""
        self.batch_sampler.set_epoch(epoch)


class MultitaskTrainer(StiltsTrainer):
    """A StiltsTrainer for several `parts`, mixed as `mixture` says."""

    idle_heads = True

    def __init__(
        self,
        parts,
        mixture,
        model,
        args,
        tokenizer,
        callbacks=(),
        language_mixing="proportional",
        layerwise_lr_decay=1.0,
        max_tokens_per_batch=None,
    ):
        self.parts = {part.task.name: part for part in parts}
        self.mixture, self.language_mixing = mixture, language_mixing
        first, features = parts[0], [part.train_features for part in parts]
        dev = (first.dev, first.dev_features)
        super().__init__(
            first.task, model, args, tokenizer, features, dev, callbacks,
            layerwise_lr_decay=layerwise_lr_decay, max_tokens_per_batch=max_tokens_per_batch,
        )  # fmt: skip
        self.compute_metrics = None  # `evaluate` goes through the tasks

    def training_rows(self, features, tokenizer):
        """The rows of all tasks."""
        return MixedRows(self.mixture.names, [read_columns(each, tokenizer) for each in features], self.mixture.seed)

    def collator(self, tokenizer):
        """Feature rows of one task -> a batch that names it."""
        parts = self.parts.items()
        return MixedCollator({name: Collator(part.task.type.collate, tokenizer, self.multiple) for name, part in parts})

    def get_train_dataloader(self):
        """Micro-batches of one task each; the same task for all of an optimizer step."""
        seed, args = self.mixture.seed, self.args
        mixed = [groups_of(part.train_features, part.train, self.language_mixing) for part in self.parts.values()]
        streams = [RowStream(groups, seed) for groups in mixed]
        features = zip(self.parts.values(), self.train_dataset.features, strict=True)
        lengths = [dealing_lengths(part.task, rows) for part, rows in features]
        batches = StepBatches(
            self.mixture, streams, lengths, args.gradient_accumulation_steps, args.process_index, args.world_size
        )
        return MixedLoader(
            self.train_dataset,
            batch_sampler=batches,
            collate_fn=self.data_collator,
            **loader_options(args),
        )

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """As for a single task, that of the batch."""
        self.task, self.first = self.parts[inputs["task"]].task, inputs.pop("first")
        return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)

    def forward(self, model, inputs):
        """The model knows the forward passes of its tasks."""
        return model(**{name: part for name, part in inputs.items() if name != "first"})

    def is_first_epoch(self, inputs):
        """By the rows themselves: tasks go through their rows at different speeds."""
        return self.first

    def evaluate(self, eval_dataset=None, ignore_keys=None, metric_key_prefix="eval"):
        """Scores of every task as eval_<task>_<score>, and their average as eval_average."""
        self.found = {}
        for name, part in self.parts.items():
            self.task = part.task
            rows = DevRows(part.task, read_columns(part.dev_features, self.processing_class))
            self.found[name] = self.scored(part.dev, part.dev_features, rows)
        average = with_average([*self.parts.values()], self.found)["average"]
        scores = {f"eval_{name}_{key}": value for name, found in self.found.items() for key, value in found.items()}
        scores["eval_average"] = average
        self.log(dict(scores))
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, scores)
        return scores

    def dev_scores(self):
        """Scores of the model as it is on the selection sets, by task, and their average."""
        self.evaluate()
        return with_average([*self.parts.values()], self.found)

    def training_record(self):
        """As for a single task, and the proportions of the tasks; says what every task got and where it stands."""
        mixed = self.mixture.record(self.state.global_step)
        for name, part in mixed.items():
            headline, shares = (
                self.parts[name].task.metric.headline,
                (part["share_of_steps"], part["declared_share_of_steps"]),
            )
            steps = "{} steps ({:.1%}, declared {:.1%})".format(part["steps"], *shares)
            print_main(f"{name}: {headline} {self.found[name][headline]:.1f}; {steps}, {part['epochs']:.2f} epochs")
            if not part["steps"] and name != mlm.NAME:
                print_main(
                    f"{name} got no step: its head is untrained, and its score counts in the average; train longer"
                )
        return {**super().training_record(), "mixture": mixed}


def headline_of(parts):
    """Name of the score that selects the checkpoint of a run."""
    return "average" if len(parts) > 1 else parts[0].task.metric.headline


def with_average(parts, scores):
    """Scores of one task as they are; {task: scores} of several with the `average` of their headline scores, text not counted."""
    if len(parts) == 1:
        return scores[parts[0].task.name]
    headlines = [scores[part.task.name][part.task.metric.headline] for part in parts if part.task.name != mlm.NAME]
    return {"average": sum(headlines) / len(headlines), **scores}


def score_names(parts):
    """Names that `--metric_for_best_model` may have."""
    names = {part.task.name: [*chance_scores(part.task, part.train, part.dev)] for part in parts}
    if len(parts) == 1:
        return [*names[parts[0].task.name], "loss"]
    return ["average", *(f"{task}_{score}" for task, scores in names.items() for score in scores)]


def trainer_for(parts, model, args, training_args, tokenizer):
    """The Trainer of one task, or of several."""
    callbacks = [*early_stopping(args.early_stopping_patience), *gradual_unfreezing(model, args)]
    if len(parts) > 1:
        mixture = mixture_of(parts, args, training_args)
        return MultitaskTrainer(
            parts, mixture, model, training_args, tokenizer, callbacks, args.language_mixing, args.layerwise_lr_decay,
            args.max_tokens_per_batch,
        )  # fmt: skip
    part = parts[0]
    groups = groups_of(part.train_features, part.train, args.language_mixing)
    dev = (part.dev, part.dev_features)
    return StiltsTrainer(
        part.task, model, training_args, tokenizer, part.train_features, dev, callbacks, groups, args.layerwise_lr_decay,
        args.max_tokens_per_batch,
    )  # fmt: skip


def mixture_of(parts, args, training_args):
    """How the parts are mixed; masked language modelling, if there is any, comes last."""
    return Mixture(
        names=tuple(part.task.name for part in parts),
        sizes=tuple(len(part.train_features) for part in parts),
        step_inputs=tuple(part.step_inputs for part in parts),
        mixing=args.mixing,
        limit=args.mixing_limit,
        temperature=args.mixing_temperature,
        mlm_ratio=args.mlm_ratio if parts[-1].task.name == mlm.NAME else None,
        seed=data_seed(training_args),
    )


def describe(parts, trainer, args):
    """For run.json: what the tasks' complexity is, and which tags of a selection set training did not have."""
    tasks, codes, measured = [part for part in parts if part.task.name != mlm.NAME], trainer.code_lengths(), {}
    for part in tasks:
        # Of languages in equal shares, rows come again before all were seen.
        repeated = args.language_mixing == "equal" and len(part.train.languages) > 1
        code = None if repeated else codes.get(part.task.name)
        measured[part.task.name] = complexity(part.task, part.train, part.train_features, part.dev, code)
    unseen = {part.task.name: unseen_labels(part.task, part.dev) for part in tasks if part.task.open_labels}
    return {"complexity": measured, "unseen_labels": unseen}
