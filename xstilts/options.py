"""Every option of the scripts, declared once, in groups that scripts combine; the Trainer's own options come on top.

    @dataclass(kw_only=True)
    class TargetArguments(TaskOptions, ModelOptions, DataOptions, TrainOptions, RunOptions):
        max_query_length: int = 96      # a script may declare another default

The `check` of a group raises UserError for values that are wrong whatever the data and the model are; `runs.parse_args` calls
all of them before anything is read. Defaults that are recipes (learning rate, epochs, lengths) are in configs/.
"""

import math
from dataclasses import dataclass, fields

from transformers.hf_argparser import HfArg

from xstilts.base import UserError


def given(args, *names):
    """Those of some options whose value is not the default."""
    defaults = {option.name: option.default for option in fields(args)}
    return [name for name in names if getattr(args, name) != defaults[name]]


def one_of(args, name, known):
    """Raise UserError for an option whose value is not one of the known ones."""
    if getattr(args, name) not in (None, *known):
        raise UserError(f"--{name} {getattr(args, name)} is not one of {', '.join(known)}")


def at_least(args, name, low):
    """Raise UserError for a number below `low`, or one that is not finite; None is no value."""
    value = getattr(args, name)
    if value is not None and not (low <= value and math.isfinite(value)):
        raise UserError(f"--{name} {value} must be {low} or more" + ("" if math.isfinite(value) else " and finite"))


@dataclass(kw_only=True)
class TaskOptions:
    """What is done, and with which encoder."""

    task: str = HfArg(help="The task: a file of tasks/, without .py.")
    model_name_or_path: str = HfArg(
        default="FacebookAI/xlm-roberta-large",
        help="The encoder to start from: a hub id, or the directory of any checkpoint.",
    )
    trust_remote_code: bool = HfArg(
        default=False, help="Run the code that comes with --model_name_or_path, if it has any; read it first."
    )


@dataclass(kw_only=True)
class TransferOptions:
    """Which layers of the checkpoint are taken over."""

    transfer_layers: str | None = HfArg(
        default=None, help="Take these layers only, as 0-11 or embeddings,0-11, and the rest from the base model."
    )
    base_model_name_or_path: str | None = HfArg(
        default=None, help="Where that base model is; default: where the run behind the checkpoint found it."
    )

    def check(self, training_args=None):
        """Raise UserError for one without the other."""
        if self.base_model_name_or_path and self.transfer_layers is None:
            raise UserError("--base_model_name_or_path has an effect with --transfer_layers only")
        if self.transfer_layers is not None and getattr(self, "keep_head", False):
            raise UserError(
                "--transfer_layers and --keep_head exclude each other: the head belongs to the whole encoder"
            )


@dataclass(kw_only=True)
class DataOptions:
    """What is read."""

    data_dir: str | None = HfArg(
        default=None,
        help="Folder with official data files, or one of prepare_data.py; without it rows come from the hub.",
    )
    max_seq_length: int = HfArg(default=256, help="Longest input in tokens.")
    max_eval_samples: int | None = HfArg(
        default=None, help="Use the first N examples only, of the dev set or of each evaluated language."
    )


@dataclass(kw_only=True)
class WindowOptions:
    """How question answering cuts a context."""

    doc_stride: int = HfArg(
        default=128, help="Question answering: tokens that neighbouring windows of a context share."
    )

    def check(self, training_args=None):
        """Raise UserError for what cannot be."""
        at_least(self, "doc_stride", 0)


@dataclass(kw_only=True)
class BenchmarkOptions:
    """Whose data."""

    benchmark: str | None = HfArg(
        default=None, help="xtreme or xtreme-r: its languages, release and words of the data."
    )


@dataclass(kw_only=True)
class LanguageOptions:
    """In which languages."""

    languages: str | None = HfArg(
        default=None, help="Comma-separated language codes; default: the benchmark's, and what else is in --data_dir."
    )


@dataclass(kw_only=True)
class RunOptions:
    """What every run has."""

    precision: str = HfArg(
        default="auto",
        help="auto (as trained; else bf16 where the GPU has it, fp16 on older ones, fp32 on a CPU), fp32, bf16 or fp16.",
    )
    dry_run: bool = HfArg(default=False, help="Show arguments, data, model and what the run would take, and stop.")
    overwrite_output_dir: bool = HfArg(default=False, help="Delete the run in --output_dir and start again.")
    config: str | None = HfArg(default=None, help="Another file of default arguments than that of configs/.")
    recipe: str | None = HfArg(default=None, help="A set of arguments below `recipes:` in that file.")


@dataclass(kw_only=True)
class TrainOptions:
    """How the two fine-tuning scripts train."""

    max_train_samples: int | None = HfArg(
        default=None, help="Use the first N training examples only, of every task and language."
    )
    max_query_length: int = HfArg(
        default=96, help="Dual encoders: longest query in tokens; documents: --max_seq_length."
    )
    total_train_batch_size: int | None = HfArg(
        default=None,
        help="Examples of an optimizer step, of all processes together; default: the product of the Trainer's two and processes.",
    )
    max_tokens_per_batch: int | None = HfArg(
        default=None,
        help="Cut the examples of a step into micro-batches of at most N tokens, padding included: less memory, same step; "
        "default: none on a CPU, 16,384 on a GPU, or what fits.",
    )
    early_stopping_patience: int | None = HfArg(default=None, help="Stop after N evaluations without a better one.")

    def check(self, training_args=None):
        """Raise UserError for numbers that cannot be."""
        for name in ("total_train_batch_size", "max_tokens_per_batch", "early_stopping_patience"):
            at_least(self, name, 1)


@dataclass(kw_only=True)
class LayerOptions:
    """Which layers are trained, and how fast."""

    freeze_layers: str = HfArg(
        default="none",
        help="Not trained: N (embeddings and the lowest N layers), a list as embeddings,0-5, all or none.",
    )
    unfreeze_schedule: str | None = HfArg(
        default=None, help="What is frozen from a step on, as '0:embeddings,0-9; 500:6; 1000:none'."
    )
    layerwise_lr_decay: float = HfArg(
        default=1.0, help="Learning rate of a layer over that of the layer above; the head has the full one."
    )

    def check(self, training_args=None):
        """Raise UserError for what does not go together."""
        if not 0 < self.layerwise_lr_decay <= 1:
            raise UserError(
                f"--layerwise_lr_decay {self.layerwise_lr_decay} must be above 0 and at most 1 (1: no decay)"
            )
        frozen = self.freeze_layers.strip() != "none"
        if frozen and self.unfreeze_schedule is not None:
            raise UserError(
                "--freeze_layers and --unfreeze_schedule exclude each other; put all of it into the schedule"
            )
        if training_args is None or not (frozen or self.unfreeze_schedule is not None):
            return
        options = (value for name, value in vars(training_args).items() if name.endswith("checkpointing_kwargs"))
        if any((each or {}).get("use_reentrant") for each in options):
            raise UserError("frozen layers need gradient checkpointing without use_reentrant: nothing would be trained")
        if self.unfreeze_schedule is not None and training_args.ddp_find_unused_parameters is False:
            raise UserError("--unfreeze_schedule needs --ddp_find_unused_parameters true, or none of it")


@dataclass(kw_only=True)
class LoraOptions:
    """Low-rank adapters in place of full fine-tuning."""

    peft: str | None = HfArg(default=None, help="lora: train adapters on the encoder and merge them at the end.")
    lora_r: int = HfArg(default=16, help="LoRA: rank.")
    lora_alpha: int = HfArg(default=32, help="LoRA: alpha; updates are scaled by alpha / rank.")
    lora_dropout: float = HfArg(default=0.05, help="LoRA: dropout before an adapter.")
    lora_layers: str | None = HfArg(default=None, help="LoRA: layers with adapters, as 6-11; default: all not frozen.")
    lora_target_modules: list[str] | None = HfArg(
        default=None, help="LoRA: names of the linear modules with adapters, as query value; default: all."
    )

    def check(self, training_args=None):
        """Raise UserError for numbers that cannot be, and for LoRA's options without it."""
        one_of(self, "peft", ("lora",))
        at_least(self, "lora_r", 1)
        at_least(self, "lora_alpha", 1)  # peft takes an alpha of 0, with which adapters change nothing
        if not 0 <= self.lora_dropout < 1:
            raise UserError(f"--lora_dropout {self.lora_dropout} must be 0 or more and below 1")
        own = given(self, "lora_r", "lora_alpha", "lora_dropout", "lora_layers", "lora_target_modules")
        if own and self.peft is None:
            raise UserError(f"--{own[0]} has an effect with --peft lora only")


@dataclass(kw_only=True)
class SelectionOptions:
    """How a target task is trained, and which checkpoint is kept."""

    train_language: str = HfArg(default="en", help="The source language, of training and dev rows.")
    selection: str = HfArg(
        default="english_dev", help="Which checkpoint is kept: english_dev, last, benchmark or oracle."
    )
    keep_head: bool = HfArg(
        default=False,
        help="Keep the checkpoint's head instead of a fresh one (same task type and labels; recorded in the lineage).",
    )

    def check(self, training_args=None):
        """Raise UserError for an unknown selection, and for early stopping without one."""
        one_of(self, "selection", ("english_dev", "last", "benchmark", "oracle"))
        if self.selection == "last" and getattr(self, "early_stopping_patience", None):
            raise UserError("--selection last and --early_stopping_patience exclude each other")


@dataclass(kw_only=True)
class MixtureOptions:
    """How several intermediate tasks, languages of their rows and masked language modelling are mixed."""

    language_mixing: str = HfArg(
        default="proportional", help="Languages: proportional to their rows, or equal numbers of rows."
    )
    task_subset_size: int | None = HfArg(default=None, help="Train on N of the tasks only, drawn at random.")
    task_subset_seed: int = HfArg(default=0, help="Which N: seed of the draw.")
    mixing: str = HfArg(
        default="examples-proportional",
        help="Several tasks: examples-proportional, temperature or uniform (T5), or steps-proportional (jiant).",
    )
    mixing_limit: int | None = HfArg(default=None, help="Several tasks: K, a task counts for K examples at most.")
    mixing_temperature: float = HfArg(default=1.0, help="Several tasks: T, rates to the power of 1/T.")
    max_steps_per_task: int | None = HfArg(
        default=None, help="--max_steps is N times the number of tasks; who gets how many is up to the mixing."
    )
    mlm_text_files: list[str] | None = HfArg(
        default=None, help="Masked language modelling beside the task: text files, a sentence or document a line."
    )
    mlm_dataset_name: str | None = HfArg(default=None, help="The same on a dataset of the hub with a column `text`.")
    mlm_dataset_config_name: str | None = HfArg(default=None, help="Its configuration.")
    mlm_probability: float = HfArg(
        default=0.15, help="Masked language modelling: share of the subwords that are masked."
    )
    mlm_ratio: float = HfArg(default=1.0, help="Steps of it per step of a task; 0 watches its loss only.")
    mlm_head: str = HfArg(default="pretrained", help="pretrained: the checkpoint's own LM head; fresh: a new one.")
    eval_only: bool = HfArg(
        default=False, help="Evaluate the run at --model_name_or_path again, with the heads it kept."
    )

    def check(self, training_args=None):
        """Raise UserError for values that do not say how to mix, and for those without what they mix."""
        one_of(self, "mixing", ("examples-proportional", "temperature", "uniform", "steps-proportional"))
        one_of(self, "language_mixing", ("proportional", "equal"))
        one_of(self, "mlm_head", ("pretrained", "fresh"))
        at_least(self, "max_steps_per_task", 1)
        at_least(self, "mixing_limit", 1)
        at_least(self, "mlm_ratio", 0)
        if not 0 < self.mixing_temperature < math.inf:
            raise UserError(
                f"--mixing_temperature {self.mixing_temperature} must be above 0 (1 is examples-proportional)"
            )
        trained = ("freeze_layers", "unfreeze_schedule", "layerwise_lr_decay", "peft")
        if self.eval_only and (own := given(self, *trained)):
            raise UserError(f"--{own[0]} has no effect with --eval_only, which trains nothing; leave it out")
        if not self.has_text and (own := given(self, "mlm_ratio", "mlm_probability", "mlm_head")):
            raise UserError(f"--{own[0]} has an effect with --mlm_text_files or --mlm_dataset_name only")
        if self.task_subset_seed and self.task_subset_size is None:
            raise UserError("--task_subset_seed has an effect with --task_subset_size only")
        if self.mixing != "temperature" and self.mixing_temperature != 1:
            raise UserError("--mixing_temperature has an effect with --mixing temperature only")
        if self.max_steps_per_task and training_args and training_args.max_steps > 0:
            raise UserError("--max_steps and --max_steps_per_task are both given; one of them says when training ends")

    @property
    def has_text(self):
        """Whether there is masked language modelling beside the task."""
        return bool(self.mlm_text_files or self.mlm_dataset_name)


@dataclass(kw_only=True)
class RetrievalOptions:
    """What is embedded, and how it is searched."""

    layers: str | None = HfArg(
        default=None,
        help="Indices into hidden_states, 0 = embeddings: 14, 10-16 or all; default: the one of the task's protocol.",
    )
    pooling: str | None = HfArg(
        default=None, help="mean, mean_no_special, cls, max or pooler; default: that of the task's protocol."
    )
    query_prefix: str = HfArg(default="", help="Put before what is searched with (English, questions); E5: 'query: '.")
    document_prefix: str = HfArg(
        default="", help="Put before what is searched; E5: 'query: ' for sentences, 'passage: ' for candidates."
    )
    neighborhood: int = HfArg(default=4, help="Neighbours that the ratio margin looks at.")
    threshold: float | None = HfArg(default=None, help="Mining: take pairs from this score on, not from dev's best.")
    compare_with: str | None = HfArg(
        default=None,
        help="Another encoder of as many layers: how similar its vectors are (CKA), by layer and language.",
    )
    max_query_length: int | None = HfArg(default=None, help="Longest query in tokens; default: --max_seq_length.")

    def check(self, training_args=None):
        """Raise UserError for numbers that cannot be."""
        at_least(self, "neighborhood", 1)
        if self.threshold is not None and not math.isfinite(self.threshold):
            raise UserError(f"--threshold {self.threshold} is not a number to compare scores with")
