"""Files of configs/: default arguments of a script, in sections.

defaults:            all tasks
<task>:              one task, after the defaults
multitask: mlm:      several tasks at once, and masked language modelling beside them
<section>+mlm:       after a section, where there is masked language modelling beside the task
recipes:             <name>: the same sections again, for --recipe <name>, after those above
"""

import json

from xstilts.base import CONFIGS, UserError, read_yaml

SEVERAL, TEXT = "multitask", "mlm"
BESIDE = f"+{TEXT}"
TEXT_SOURCES = ("mlm_text_files", "mlm_dataset_name")  # options that ask for masked language modelling


def task_files():
    """Names of the files in tasks/, which are the sections of a config."""
    return {file.stem for file in (CONFIGS.parent / "tasks").glob("[!_]*.py")}


def config_options(path, chosen, recipe=None, text=False):
    """The lines of a config file that apply to the `chosen` sections and the recipe, {option: value}; `text` for masked language
    modelling beside the task, which the file itself can ask for too.

    Raises UserError for an unknown section or recipe, and for a recipe that has sections of tasks but none of a chosen task: it
    would be half a recipe.
    """
    tables = read_config(path)
    recipes = tables.pop("recipes", None) or {}
    if recipe is not None and recipe not in recipes:
        raise UserError(f"--recipe {recipe} is not one of {', '.join(recipes) or 'none'} ({path})")
    tasks = task_files()
    for own in (tables, *recipes.values()):
        if unknown := [name for name in own if name.removesuffix(BESIDE) not in {"defaults", SEVERAL, TEXT, *tasks}]:
            raise UserError(
                f"{path}: section '{min(unknown)}' is not `defaults`, `recipes`, `{SEVERAL}`, `{TEXT}` or a file of tasks/"
            )
    layers = [tables, recipes.get(recipe, {})]
    covered = [name for name in layers[1] if name in tasks]
    if covered and (lost := [name for name in chosen if name in tasks and name not in covered]):
        raise UserError(
            f"--recipe {recipe} says nothing about {lost[0]}; it is for {', '.join(covered)}. Leave it out, or give {lost[0]} a "
            f"section below recipes.{recipe} ({path})"
        )
    options = _of_sections(layers, ("defaults", *chosen))
    if text or any(options.get(option) for option in TEXT_SOURCES):
        options = _of_sections(layers, [f"{name}{end}" for name in ("defaults", *chosen) for end in ("", BESIDE)])
    return {name: value for name, value in options.items() if value is not None}


def _of_sections(layers, names):
    """{option: value} of some sections, of the file first, then of the recipe; the later one wins."""
    return {name: value for tables in layers for each in names for name, value in (tables.get(each) or {}).items()}


def read_config(path):
    """A config file as a dictionary of dictionaries. Raises UserError where it is not one."""
    try:
        tables = read_yaml(path) or {}
    except OSError as error:
        raise UserError(f"--config {path} cannot be read ({error.strerror})") from error
    sections = dict(tables) if isinstance(tables, dict) else {"the file": tables}
    recipes = sections.pop("recipes", None) or {}
    if isinstance(recipes, dict):
        sections |= {f"recipes.{name}": own for name, own in recipes.items()}
        sections |= {
            f"recipes.{name}.{section}": lines
            for name, own in recipes.items() if isinstance(own, dict) for section, lines in own.items()
        }  # fmt: skip
    else:
        sections["recipes"] = recipes
    if wrong := [name for name, own in sections.items() if not isinstance(own, dict)]:
        raise UserError(f"{path}: '{wrong[0]}' is not a section of `option: value` lines")
    return tables


def words_of(options):
    """Options of a config as words of a command line."""
    return [text for name, value in options.items() for text in (f"--{name}", *_texts(value))]


def _texts(value):
    """A YAML value as it is written on a command line."""
    values = value if isinstance(value, list) else [value]
    return [json.dumps(each) if isinstance(each, dict) else str(each) for each in values]
