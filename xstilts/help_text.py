"""What `--help` shows: the script's own options first, then those of the Trainer that matter to it, then the Trainer's others.

The defaults shown are those that a run would have: the config's, for the task that stands beside `--help`.
"""

import argparse
import inspect
import sys

WIDTH = 120

# Beside what a config sets: of the Trainer's arguments those that people ask for.
ASKED_FOR = {
    "training": """
        output_dir seed data_seed use_cpu
        num_train_epochs max_steps per_device_train_batch_size gradient_accumulation_steps train_sampling_strategy
        learning_rate lr_scheduler_type warmup_steps weight_decay max_grad_norm
        per_device_eval_batch_size eval_strategy eval_steps eval_on_start metric_for_best_model load_best_model_at_end
        save_strategy save_steps save_total_limit logging_steps
        gradient_checkpointing torch_compile
        report_to run_name push_to_hub hub_model_id hub_private_repo
    """.split(),
    "evaluation": "output_dir per_device_eval_batch_size seed bf16_full_eval fp16_full_eval use_cpu".split(),
}

# The Trainer's own words where another default or a deprecation makes them wrong.
WORDS = {
    "output_dir": "Where the run is written; default: made of the tasks behind it and the seed, see Writes.",
    "gradient_checkpointing": "Compute activations again on the way back instead of keeping them: less memory, more time.",
    "metric_for_best_model": "What chooses the checkpoint: headline (the task's own score), another score, or loss.",
    "report_to": "none, or any of tensorboard, wandb, trackio, with commas.",
}


def help_page(parser, own, defaults, refused):
    """The page as text.

    own       the dataclass of the script's own options, in the module whose docstring begins the page
    defaults  {option: default} of the config
    refused   the Trainer's options that are not offered
    """
    ours = inspect.signature(own).parameters
    asked = ASKED_FOR["training" if "max_train_samples" in ours else "evaluation"]
    actions = {}
    for action in parser._actions:  # where a switch is on by default, a --no_... comes behind it
        if action.dest not in (*refused, "help"):
            actions.setdefault(action.dest, action)
    groups = {
        f"options of {parser.prog}": list(ours),
        "of the Trainer, those that matter most here": [name for name in asked if name in actions],
        "of the Trainer, all others (Hugging Face's TrainingArguments)": [
            n for n in actions if n not in (*ours, *asked)
        ],
    }
    page = argparse.RawDescriptionHelpFormatter(parser.prog, max_help_position=36, width=WIDTH)
    page.add_text(f"usage: {parser.prog} --task TASK [options]")
    page.add_text(inspect.getdoc(sys.modules[own.__module__]))
    for title, names in groups.items():
        page.start_section(title)
        page.add_arguments([_shown(actions[name], defaults.get(name)) for name in names])
        page.end_section()
    return page.format_help()


def _shown(action, default):
    """An option as the page has it: spelt with underscores, its kind of value short, its default last."""
    text, kind = WORDS.get(action.dest, action.help or "").strip(), action.type
    metavar = "VALUE" if action.choices and len(action.choices) > 6 else None
    metavar = metavar or {int: "N", float: "X", str: "TEXT"}.get(kind)
    is_switch = action.nargs == "?"
    value = default if default is not None else action.default
    known = "" if value in (None, "", argparse.SUPPRESS) or (is_switch and value is False) else f" (default: {value})"
    return argparse.Action(
        [action.option_strings[0]], action.dest, nargs=0 if is_switch else action.nargs, choices=action.choices,
        help=text + " Required." * action.required + known.replace("%", "%%"), metavar=metavar,
    )  # fmt: skip
