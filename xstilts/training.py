"""The Hugging Face Trainer of both fine-tuning phases, with what it gets wrong for encoders put right.

- The loss of an optimizer step is the summed loss over the labelled tokens (tagging), span ends (QA) or examples (others) of
  the *whole* step, over all accumulation steps and processes. The stock Trainer takes the heads of encoders for normalised when
  they are not and multiplies the loss by accumulation steps and processes (huggingface/transformers#47688).
- Training order depends on (seed, epoch) alone, so that an interrupted run goes on exactly; every row is seen once per epoch,
  and the rows that even out the last batch over processes weigh nothing.
- The rows of a step are dealt into micro-batches by length, into `--max_tokens_per_batch` where that is given or on a GPU: less
  padding, less memory, and the same step (`micro_batches`).
- Predictions come in the order of the rows, whatever the training strategy.
- A loss that is not finite stops the run.
"""

from contextlib import nullcontext
from functools import partial
from itertools import accumulate, pairwise

import torch
from datasets import concatenate_datasets
from torch.utils.data import SequentialSampler
from transformers import Trainer
from transformers.trainer import DEFAULT_PROGRESS_CALLBACK
from transformers.trainer_callback import PrinterCallback
from transformers.trainer_utils import EvalLoopOutput, EvalPrediction

from xstilts.base import UserError, first_line, on_main_process
from xstilts.callbacks import StopOnNonFiniteLoss, StopWhenTold, TellEpoch, WarnOfFewSteps
from xstilts.checkpoint import longest_input
from xstilts.complexity import CodeLength
from xstilts.evaluation import kept_outputs
from xstilts.hub import no_repo
from xstilts.layer_rates import rate_factors, split_by_rate
from xstilts.loaders import Collator, StepCollator, loader_options, read_columns
from xstilts.metrics import score_by_language
from xstilts.micro_batches import dealing_lengths
from xstilts.order import EpochSampler, TrainingRows
from xstilts.progress import TellProgress
from xstilts.resuming import best_of, load_progress, save_progress
from xstilts.sharding import precision_of_passes, sharding_of, skeleton, whole
from xstilts.step_checkpoints import partial_folder, write_step
from xstilts.tracking import keep_logs_inside


class StiltsTrainer(Trainer):
    """A Trainer for one task; `dev` is the pair (examples, features) that selects the checkpoint, None without training.

    groups                how rows of several languages are mixed (`order.groups_of`); without it every row is seen once per epoch
    layerwise_lr_decay    the learning rate of a layer over that of the layer above (`layer_rates`)
    max_tokens_per_batch  tokens of a micro-batch, padding included; a batch of the Trainer's is a whole step then
    """

    idle_heads = False  # whether some steps leave parameters out

    def __init__(
        self,
        task,
        model,
        args,
        tokenizer,
        train_features=None,
        dev=None,
        callbacks=(),
        groups=None,
        layerwise_lr_decay=1.0,
        max_tokens_per_batch=None,
    ):
        args.label_names = ["labels"]
        args.remove_unused_columns = False  # the collators pick what the model gets
        args.dataloader_pin_memory &= args.device.type != "cpu"  # torch would warn of it again and again
        args.accelerator_config.non_blocking = args.dataloader_pin_memory and args.device.type == "cuda"
        if args.ddp_find_unused_parameters is None:
            args.ddp_find_unused_parameters = self.idle_heads  # looking for them takes time in every step
        args.logging_nan_inf_filter = False  # it shows a loss of nan as 0.0
        if dev is None:
            args.eval_strategy = "no"  # this one only predicts
        self.task, self.groups, self.code = task, groups, CodeLength()
        self.claim, self.interrupting, self.sampler = None, False, None
        self.layerwise_lr_decay, self.max_tokens_per_batch = layerwise_lr_decay, max_tokens_per_batch
        self.multiple = multiple_for(args.device, model, tokenizer)
        self.collate = self.collator(tokenizer)
        self.skeleton = skeleton(model) if sharding_of(args) else None
        super().__init__(
            model=model,
            args=args,
            processing_class=tokenizer,
            data_collator=StepCollator(self.collate, max_tokens_per_batch, self.multiple),
            train_dataset=self.training_rows(train_features, tokenizer) if train_features is not None else None,
            eval_dataset=dev[1] if dev else None,
            compute_metrics=(lambda output: self.score(*dev, output.predictions)) if dev else None,
            compute_loss_func=self.compute_loss,  # tells the Trainer to count the step's labels and not to rescale
            callbacks=[
                TellProgress(),
                StopOnNonFiniteLoss(),
                WarnOfFewSteps(),
                *callbacks,
                TellEpoch(self),
                StopWhenTold(self),
            ],
        )
        # TellProgress is in their place.
        self.remove_callback(PrinterCallback if args.disable_tqdm else DEFAULT_PROGRESS_CALLBACK)
        keep_logs_inside(self)
        self.precision = precision_of_passes(self.accelerator) if self.is_fsdp_enabled else nullcontext

    def init_hf_repo(self, token=None, private=None):
        """The Trainer's. Raises UserError, before anything is trained, where the hub makes no repository."""
        try:
            super().init_hf_repo(token, private)
        except Exception as error:  # of the network or the hub: many libraries'
            raise no_repo(self.args, error) from error

    def training_rows(self, features, tokenizer):
        """What the training order draws from."""
        return TrainingRows(read_columns(features, tokenizer))

    def collator(self, tokenizer):
        """Feature rows -> a batch."""
        return Collator(self.task.type.collate, tokenizer, self.multiple)

    def get_train_dataloader(self):
        """The Trainer's, whose processes leave signals to this one."""
        loader = super().get_train_dataloader()
        loader.base_dataloader.worker_init_fn = loader_options(self.args).get("worker_init_fn")
        return loader

    def _prepare_input(self, data):
        """The Trainer's, without waiting for what is copied to a GPU."""
        if isinstance(data, torch.Tensor):
            data = data.to(self.args.device, non_blocking=self.args.device.type == "cuda")
        return super()._prepare_input(data)

    def training_step(self, model, inputs, num_items_in_batch=None):
        """The Trainer's, for every micro-batch of the step; processes add up their gradients with the last one. Raises UserError
        where one is too large for the memory of the GPU."""
        try:
            return self._micro_steps(model, inputs, num_items_in_batch)
        except torch.OutOfMemoryError as error:
            smaller = f"--max_tokens_per_batch {max(1, (self.max_tokens_per_batch or 4096) // 2)}"
            if self.skeleton is not None or self.task.type.in_batch_negatives:  # which do not have that option
                smaller = "a smaller --per_device_train_batch_size"
            raise UserError(
                f"the GPU has too little memory ({first_line(error)}); give the same command again with {smaller}, which cuts "
                "steps into smaller micro-batches"
            ) from error

    def _micro_steps(self, model, inputs, num_items_in_batch):
        step = super().training_step
        *parts, last = inputs.pop("parts", [inputs])
        if not parts:
            return step(model, last, num_items_in_batch)
        with self.accelerator.no_sync(model):
            losses = [step(model, part, num_items_in_batch) for part in parts]
        return sum(losses, step(model, last, num_items_in_batch))

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """Summed cross-entropy of a batch over the number of labels of the whole step. DDP averages gradients over processes,
        hence the factor."""
        labels = inputs.pop("labels")
        outputs = self.forward(model, inputs)
        total = summed_loss(self.task.type.logits(outputs, inputs), labels)
        if model.training:
            self.code.add(self.task.name, total, labels, self.is_first_epoch(inputs))
        loss = total * self.accelerator.num_processes / num_items_in_batch
        return (loss, outputs) if return_outputs else loss

    def forward(self, model, inputs):
        """Model outputs for a batch without its labels."""
        own = self.task.type.forward
        with self.precision():
            return own(model, inputs) if own else model(**inputs)

    def create_optimizer(self, model=None):
        """The Trainer's, with learning rates by layer where they differ."""
        is_new = self.optimizer is None
        optimizer = super().create_optimizer(model)
        if is_new and self.layerwise_lr_decay != 1:
            split_by_rate(optimizer, rate_factors(self.model, self.layerwise_lr_decay))
        return optimizer

    def is_first_epoch(self, inputs):
        """Whether the rows of a training batch are seen for the first time."""
        return self.state.epoch < 1

    def log(self, logs, start_time=None):
        """The Trainer's, with the code length so far: it is in every checkpoint, since a log precedes every save."""
        super().log({**logs, **self.code.flushed(self.state.log_history, self.accelerator)}, start_time)

    def _save_checkpoint(self, model, trial):
        place = write_step(self, partial(super()._save_checkpoint, model, trial), self.claim, self.interrupting)
        if self.args.push_to_hub:
            super()._push_from_checkpoint(place)

    def _push_from_checkpoint(self, checkpoint_folder):
        """Not before it is whole: `_save_checkpoint` does it."""

    def _get_output_dir(self, trial):
        return partial_folder(self.args.output_dir)  # asked for by `_save_checkpoint` alone

    def _save_rng_state(self, output_dir):
        super()._save_rng_state(output_dir)
        save_progress(self, output_dir)

    def _load_rng_state(self, checkpoint):
        super()._load_rng_state(checkpoint)
        load_progress(self, checkpoint)

    def _determine_best_metric(self, metrics, trial):
        """The Trainer's; the best step is saved, also where it is not one of `--save_steps`."""
        is_best = super()._determine_best_metric(metrics, trial)
        if is_best and self.args.load_best_model_at_end:
            self.control.should_save, self.interrupting = True, False
        return is_best

    def _load_best_model(self):
        self.state.best_model_checkpoint = best_of(self)
        super()._load_best_model()

    def _get_train_sampler(self, train_dataset=None):
        rows = len(self.train_dataset)
        groups, args = self.groups or [(0, rows, rows)], self.args
        lengths = dealing_lengths(self.task, self.train_dataset.features)
        self.sampler = EpochSampler(
            groups, data_seed(args), self._train_batch_size, args.gradient_accumulation_steps, args.world_size, lengths,
            by_length=args.train_sampling_strategy == "group_by_length",
        )  # fmt: skip
        return self.sampler

    def _get_eval_sampler(self, eval_dataset):
        return SequentialSampler(eval_dataset)  # rows are sorted where they are evaluated, whatever training does

    def batch_outputs(self, model, batch):
        """(what is kept of every row until all are decoded, the summed loss, the number of labels in it) of a batch."""
        inputs = self._prepare_inputs(batch)
        labels = inputs.pop("labels")
        outputs, own = self.forward(model, inputs), self.task.type
        kept, loss = own.keep(outputs, labels, inputs), summed_loss(own.logits(outputs, inputs), labels)
        return kept, loss, (labels != -100).sum()

    def evaluation_loop(self, dataloader, description, *args, metric_key_prefix="eval", **kwargs):
        """The Trainer's, behind `evaluate` and `predict`, as one pass over rows sorted by length (`evaluation.kept_outputs`). All
        processes predict and get the metrics; the first one alone gets the predictions, decodes and scores them."""
        model = self._wrap_model(self.model, training=False)
        if not self.accelerator._models and model is self.model:  # precision and device as in training
            model = self.accelerator.prepare_model(model, evaluation_mode=True)
        half = torch.bfloat16 if self.args.bf16_full_eval else torch.float16 if self.args.fp16_full_eval else None
        is_half, trains = half is not None and not self.is_in_train, self.train_dataset is not None
        if is_half and not trains:
            model = model.to(half)
        model.eval()
        rows = dataloader.dataset
        # Weights that are saved afterwards stay float32, whole or in pieces: their passes alone are in half precision.
        with torch.autocast(self.args.device.type, half, enabled=is_half and trains):
            outputs, loss = kept_outputs(self, model, rows)
        metrics = {"loss": loss}
        if self.compute_metrics and description == "Evaluation":
            metrics |= on_main_process(
                lambda: self.compute_metrics(EvalPrediction(predictions=outputs, label_ids=None))
            )
        metrics = {f"{metric_key_prefix}_{name}": value for name, value in metrics.items()}
        return EvalLoopOutput(predictions=outputs, label_ids=None, metrics=metrics, num_samples=len(rows))

    def decode(self, examples, features, outputs):
        """Predictions, one per example."""
        return self.task.type.decode(outputs, features, examples.rows, self.task.labels)

    def score(self, examples, features, outputs):
        """The task's scores, 0 to 100."""
        gold = [self.task.type.gold(example) for example in examples.rows]
        return score_by_language(self.task.metric, self.decode(examples, features, outputs), gold, examples.records)

    def scored(self, examples, features, rows=None):
        """The same from a pass over all features, or over `rows` made of them, in every process."""
        outputs = self.predict(features if rows is None else rows).predictions
        return on_main_process(lambda: self.score(examples, features, outputs))

    def load_weights(self, checkpoint):
        """Fill the model from a checkpoint, without training it; a sharded one is taken into its pieces first."""
        if self.skeleton is None:
            return self._load_from_checkpoint(checkpoint)
        return self._prepare_for_training(self.state.max_steps, None, checkpoint)

    def whole_model(self):
        """The model with all its weights. All processes ask for it; of a sharded one (`sharding`) the first process gets it."""
        return whole(self, self.model_wrapped, self.skeleton) if self.skeleton is not None else self.model

    def dev_scores(self):
        """Scores of the model as it is on the selection set, without the timings that `evaluate` adds."""
        return _scores(self.evaluate())

    def training_record(self):
        """What run.json says of the training: steps, the step that was selected, the logged losses and the scores on the way."""
        history, steps = self.state.log_history, self.state.global_step
        losses = [[entry["step"], round(entry["loss"], 4)] for entry in history if "loss" in entry]
        scores = [
            {"step": entry["step"], **_scores(entry)} for entry in history if any("eval_" in key for key in entry)
        ]
        selected = self.state.best_global_step if self.args.load_best_model_at_end else steps
        curve = [*{each["step"]: each for each in scores}.values()]  # the last step is scored twice
        return {"steps": steps, "selected_step": selected, "loss_curve": losses, "dev_curve": curve}

    def code_lengths(self):
        """{task: (bits, model inputs)} of the training inputs seen for the first time, before the update they led to."""
        return self.code.read(self.state.log_history)

    def outputs(self, features):
        """{language: features} -> {language: what `decode` takes}, from one pass over all rows; None but in the first process."""
        found, ends = self.predict(concatenate_datasets([*features.values()])).predictions, [0]
        if found is None:
            return None
        ends += accumulate(map(len, features.values()))
        return {language: found[a:b] for language, (a, b) in zip(features, pairwise(ends), strict=True)}


def multiple_for(device, model, tokenizer):
    """What lengths are padded to a multiple of: 8 on a GPU, for its tensor cores (NVIDIA's guide to mixed precision), unless the
    encoder lacks the positions."""
    return 8 if device.type == "cuda" and longest_input(model, tokenizer) % 8 == 0 else 1


def summed_loss(logits, labels):
    """Cross-entropy in nats, summed over the labels that are not -100."""
    return torch.nn.functional.cross_entropy(logits.flatten(0, -2).float(), labels.flatten(), reduction="sum")


def _scores(logged):
    """The scores in a log of the Trainer's, without its timings."""
    scores = {name.removeprefix("eval_"): value for name, value in logged.items() if name.startswith("eval_")}
    return {name: value for name, value in scores.items() if not name.endswith(("runtime", "_second", "_time"))}


def data_seed(training_args):
    """What the order of the rows is drawn from, `--data_seed` or `--seed`."""
    return training_args.seed if training_args.data_seed is None else training_args.data_seed


def select_by(headline, training_args, score_names):
    """Put the task's own score for `--metric_for_best_model headline`, the configs' default. Raises UserError for a score that is
    not among those that `score_names()` gives, which is asked for another one only."""
    asked = training_args.metric_for_best_model
    if asked not in (None, "headline") and asked.removeprefix("eval_") not in (names := score_names()):
        raise UserError(f"--metric_for_best_model {asked} is not one of headline, {', '.join(names)}")
    if training_args.metric_for_best_model == "headline":
        training_args.metric_for_best_model = headline
        training_args.greater_is_better = True
