"""Reading models, whoever made them: weights and settings are read, a program that lies beside them is not run.

Weights are safetensors, or a pickle of which transformers takes nothing but tensors (`weights_only`). A program of a model's own
(`auto_map` in its configuration) runs for the one path that `--model_name_or_path` names, if `--trust_remote_code` is given.
"""

import contextlib
import os
import re
from pathlib import Path

from huggingface_hub import try_to_load_from_cache
from huggingface_hub.errors import HFValidationError
from transformers import AutoConfig, AutoTokenizer
from transformers.utils import logging as transformers_logging

from xstilts.base import UserError, check_pointer, first_line, print_main
from xstilts.generic_heads import ensure_class

HUB_ID = re.compile(r"\w[\w.-]*/[\w.-]+", flags=re.ASCII)
TRUSTED = (
    set()
)  # paths whose own programs are run; filled by `trust`, and by `trust_copy` with what this process wrote of them
ONLY_SAFETENSORS = set()  # paths that nobody but a run.json named


def check_place(path):
    """Raise UserError for a model that is neither there nor can be on the hub, without asking it: what is not OWNER/NAME, and
    what begins with a directory that is there, is a path with a typo in it."""
    if os.path.exists(path) or (HUB_ID.fullmatch(path) and not os.path.isdir(path.split("/")[0])):
        return
    with contextlib.suppress(HFValidationError):
        if isinstance(try_to_load_from_cache(path, "config.json"), str):
            return
    if "/" in path:
        raise UserError(f"--model_name_or_path {path}: no such directory; is the run that should write it finished?")
    raise UserError(
        f"--model_name_or_path {path}: no such directory; a model on the hub is OWNER/NAME, as FacebookAI/xlm-roberta-large"
    )


def trust(path, given):
    """At the start of a script: run the program that comes with the model at `path`, if that is `given`; of no other model."""
    TRUSTED.clear()
    ONLY_SAFETENSORS.clear()
    if given:
        TRUSTED.add(os.fspath(path))
        print_main(
            f"warning: --trust_remote_code: the program that comes with {path} is run, with all that you may do here"
        )


def trust_copy(model, path):
    """What was written at `path` may be read again where the model's program runs in this process already."""
    if type(model).__module__.startswith("transformers_modules."):
        TRUSTED.add(os.fspath(path))


def distrust(path):
    """Read weights at `path` from safetensors only."""
    ONLY_SAFETENSORS.add(os.fspath(path))


def is_trusted(path):
    """Whether the program that comes with a model is run."""
    return os.fspath(path) in TRUSTED


def loaded(auto_class, path, **options):
    """`auto_class.from_pretrained` with the library's load report silenced (a fresh head is meant to be missing).

    Raises UserError where there is no model, or none that can be read without running something.
    """
    _check_folder(path)
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    if os.fspath(path) in ONLY_SAFETENSORS and auto_class not in (AutoConfig, AutoTokenizer):
        options["use_safetensors"] = True
    try:
        # Without a word on it, transformers asks on the terminal.
        return auto_class.from_pretrained(path, trust_remote_code=is_trusted(path), **options)
    except Exception as error:  # whatever files of others make of a library: one line, and with --debug the traceback
        raise UserError(_reason(os.fspath(path), error)) from error
    finally:
        transformers_logging.set_verbosity(verbosity)


def from_config(auto_model, config, path, **options):
    """A model with fresh weights; `config` was read at `path`, and so would be the program that comes with it."""
    return auto_model.from_config(config, trust_remote_code=is_trusted(path), **options)


def head_name(auto_model, config, path):
    """Name of the class that an Auto class has for a configuration that was read at `path`, None where it has none: the model's
    own, if its program is run, otherwise that of transformers or of generic_heads.py."""
    own = (getattr(config, "auto_map", None) or {}) if is_trusted(path) else {}
    if auto_model.__name__ in own:
        return own[auto_model.__name__].rsplit(".", 1)[-1]
    return getattr(ensure_class(auto_model, config), "__name__", None)


def _check_folder(path):
    """Raise UserError for a directory without a model of its own, and for one that is not there."""
    check_place(os.fspath(path))
    if os.path.exists(path) and not os.path.isfile(os.path.join(path, "config.json")):
        raise UserError(
            f"--model_name_or_path {path} holds no model (no config.json); is the run that should fill it finished?"
        )
    if os.path.exists(os.path.join(path, "adapter_config.json")):
        raise UserError(
            f"--model_name_or_path {path} holds adapters (adapter_config.json), which are not read; merge them into their model "
            "first (merge_and_unload of peft)"
        )
    if os.path.isdir(path):
        _check_pointers(Path(path))


def _check_pointers(folder):
    """Raise UserError for a Git LFS pointer among the files that a model is read from. Others may be pointers: a clone need not
    hold the weights in every form."""
    files = [*folder.glob("*.json"), *folder.glob("*.txt")]
    files += [*folder.glob("*.safetensors")] or folder.glob("pytorch_model*.bin")
    files += [] if (folder / "tokenizer.json").exists() else folder.glob("*.model")
    for file in files:
        check_pointer(file)


def _reason(path, error):
    """Why a model cannot be read, and what to do, in one line."""
    text = str(error).strip() or type(error).__name__
    if "trust_remote_code" in text:
        return (
            f"--model_name_or_path {path} needs a program that comes with it, which is not run: read it, and where you trust it "
            "give --trust_remote_code, which is for the model that a run starts from"
        )
    if "weights only load failed" in text.lower():
        return (
            f"--model_name_or_path {path}: its weights are a pickle of more than tensors, which is not loaded, since that could "
            "run anything; ask for safetensors"
        )
    if path in ONLY_SAFETENSORS and "safetensors" in text:
        return (
            f"{path}, which only a run.json names, has no weights in safetensors, and a pickle is not read on its word; where "
            "you trust it, give --base_model_name_or_path"
        )
    return (
        f"no model at --model_name_or_path {path}: neither a directory with a whole checkpoint nor a model that the hub "
        f"can deliver ({first_line(text)}); without internet give a directory, as prepare_data.py --models {path} fills it"
    )
