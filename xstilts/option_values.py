"""Which values an option may have where any other would end in a library's traceback, or in a run that does nothing.

Options of one module alone (of LoRA, of mixtures, lengths) are checked there.
"""

from math import inf

from xstilts.errors import UserError

SEEDS = 2**32  # numpy's limit

CHECKS = (
    (lambda value: 0 <= value < SEEDS, f"from 0 to {SEEDS - 1}", ("seed", "data_seed")),
    (
        lambda value: value == -1 or value >= 1,
        "1 or more (-1: --num_train_epochs says when training ends)",
        ("max_steps",),
    ),
    (
        lambda value: 0 <= value < 1 or value == value // 1 < inf,
        "0 or above: a share of all steps below 1, otherwise a whole number of steps",
        ("warmup_steps",),
    ),
    (
        lambda value: 0 < value < inf,
        "a number above 0",
        ("num_train_epochs", "logging_steps", "eval_steps", "save_steps", "ddp_timeout"),
    ),
    (
        lambda value: 0 <= value < inf,
        "a number from 0 on",
        ("learning_rate", "weight_decay", "adam_epsilon", "max_grad_norm", "doc_stride", "dataloader_num_workers"),
    ),
    (lambda value: 0 <= value < 1, "0 or above and below 1", ("adam_beta1", "adam_beta2")),
    (
        lambda value: value >= 1,
        "1 or more",
        (
            "total_train_batch_size",
            "per_device_train_batch_size",
            "per_device_eval_batch_size",
            "gradient_accumulation_steps",
            "early_stopping_patience",
        ),
    ),
)


def check_values(args):
    """Raise UserError for the first of a script's options, or of the Trainer's, whose value cannot be; None is no value."""
    given = vars(args)
    for holds, words, names in CHECKS:
        for name in names:
            if given.get(name) is not None and not holds(given[name]):
                raise UserError(f"--{name} {given[name]} must be {words}")
