"""Groups of options: what is wrong by itself is one line with the option's name, before anything is read."""

import math

import pytest

from xstilts import options
from xstilts.base import UserError

TEXT = {"mlm_text_files": ["text.txt"]}


@pytest.mark.parametrize(
    ("group", "values", "message"),
    [
        ("MixtureOptions", {"mixing": "equal"}, "--mixing equal is not one of examples-proportional, temperature"),
        ("MixtureOptions", {"language_mixing": "some"}, "--language_mixing some is not one of proportional, equal"),
        ("MixtureOptions", {"mlm_head": "old", **TEXT}, "--mlm_head old is not one of pretrained, fresh"),
        ("MixtureOptions", {"mixing_limit": 0}, "--mixing_limit 0 must be 1 or more"),
        (
            "MixtureOptions",
            {"mixing": "temperature", "mixing_temperature": 0.0},
            "--mixing_temperature 0.0 must be above 0",
        ),
        (
            "MixtureOptions",
            {"mixing_temperature": 2.0},
            "--mixing_temperature has an effect with --mixing temperature only",
        ),
        ("MixtureOptions", {"mlm_ratio": -0.5, **TEXT}, "--mlm_ratio -0.5 must be 0 or more"),
        ("MixtureOptions", {"mlm_ratio": math.inf, **TEXT}, "--mlm_ratio inf must be 0 or more and finite"),
        ("MixtureOptions", {"mlm_ratio": 2.0}, "--mlm_ratio has an effect with --mlm_text_files or"),
        ("MixtureOptions", {"task_subset_seed": 1}, "--task_subset_seed has an effect with --task_subset_size only"),
        ("LoraOptions", {"lora_r": 8}, "--lora_r has an effect with --peft lora only"),
        ("LoraOptions", {"peft": "lora", "lora_alpha": 0}, "--lora_alpha 0 must be 1 or more"),
        ("LoraOptions", {"peft": "lora", "lora_dropout": 1.0}, "--lora_dropout 1.0 must be 0 or more and below 1"),
        ("LayerOptions", {"layerwise_lr_decay": 1.5}, "--layerwise_lr_decay 1.5 must be above 0 and at most 1"),
        ("LayerOptions", {"freeze_layers": "2", "unfreeze_schedule": "0:2"}, "exclude each other"),
        ("TransferOptions", {"base_model_name_or_path": "x"}, "has an effect with --transfer_layers only"),
        (
            "SelectionOptions",
            {"selection": "best"},
            "--selection best is not one of english_dev, last, benchmark, oracle",
        ),
        ("RetrievalOptions", {"neighborhood": 0}, "--neighborhood 0 must be 1 or more"),
        ("RetrievalOptions", {"threshold": math.nan}, "--threshold nan is not a number to compare scores with"),
    ],
)
def test_what_cannot_be_is_named(group, values, message):
    kind = getattr(options, group)
    kind().check()
    with pytest.raises(UserError, match=message):
        kind(**values).check()
