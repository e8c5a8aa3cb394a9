"""Models that prepare_data.py put beside the data: DIR/_models/<org>/<name>, whose files and commit stand in fetched.json there.

Only what is read is fetched: configuration, tokenizer, and the weights as safetensors, or as pytorch_model.bin where there are
no others. No weights of other frameworks, no settings of generation, no folders of other libraries.
"""

import os
import re
import shutil
from pathlib import Path

from xstilts.base import UserError, print_main, read_json, write_json
from xstilts.names import check_name
from xstilts.sealed import contents, damage
from xstilts.shapes import Each, Maybe, check_shape

MODELS = "_models"
ABOUT = "fetched.json"
SHAPE = {"id": str, "revision": str, "licence": Maybe(str), "files": Each([object])}
SAFETENSORS = r"model(-\d+-of-\d+)?\.safetensors|model\.safetensors\.index\.json"
PICKLED = r"pytorch_model(-\d+-of-\d+)?\.bin|pytorch_model\.bin\.index\.json"
OTHERS = (
    r"config\.json|tokenizer.*\.json|special_tokens_map\.json|added_tokens\.json|vocab\.(json|txt)|merges\.txt|.*\.model"
    r"|chat_template\..*|(configuration|modeling|tokenization)_\w+\.py"
)


def model_files(names):
    """Those of a repository's files that are read. Raises UserError where there are no weights among them."""
    weights = [name for name in names if re.fullmatch(SAFETENSORS, name)]
    weights = weights or [name for name in names if re.fullmatch(PICKLED, name)]
    if not weights:
        raise UserError("it has neither model.safetensors nor pytorch_model.bin")
    return sorted({*weights, *(name for name in names if re.fullmatch(OTHERS, name))})


def folder_of(name, data_dir):
    """Where a model of the hub is kept. Raises UserError for what is no id of one."""
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name):
        raise UserError(f"--models {name} is no id of a model on the hub, as FacebookAI/xlm-roberta-large is")
    return Path(data_dir, MODELS, *(check_name(part, "--models") for part in name.split("/")))


def fetched_model(path):
    """What fetched.json in a folder says of its model, None where there is no such file."""
    record = read_json(Path(path, ABOUT))
    if record is not None:
        check_shape(record, SHAPE, Path(path, ABOUT))
    return record


def fetched_commit(path):
    """The hub's commit that a folder is a copy of, None where it is none. Raises UserError where its files were changed since."""
    record = fetched_model(path)
    if record is None:
        return None
    if reason := damage(path, record["files"]):
        raise UserError(
            f"{path} is not what was fetched from the hub ({reason}): run prepare_data.py again; or, if it was changed on "
            f"purpose, delete {ABOUT} in it"
        )
    return record["revision"]


def model_state(name, data_dir):
    """ "whole", "absent", or in words what is wrong with a model that is there."""
    try:
        record = fetched_model(folder_of(name, data_dir))
        reason = damage(folder_of(name, data_dir), record["files"]) if record else ""
        return "absent" if record is None else f"{MODELS}/{name}/{reason}" if reason else "whole"
    except UserError as error:
        return str(error)


def fetch_model(name, data_dir, about, download):
    """Fetch a model; returns what stands in its fetched.json.

    about     name -> what HfApi().model_info(name, files_metadata=True) gives
    download  huggingface_hub.snapshot_download
    """
    folder, info = folder_of(name, data_dir), about(name)
    files = {each.rfilename: each.size for each in info.siblings}
    chosen = model_files(files)
    _remove_damaged(folder)
    download(name, revision=info.sha, local_dir=folder, allow_patterns=chosen)
    for each in chosen:
        size = os.path.getsize(folder / each) if (folder / each).is_file() else None
        if size is None or files[each] not in (None, size):
            (folder / each).unlink(missing_ok=True)  # the library would take it for whole
            raise UserError(
                f"{folder / each} did not arrive whole ({size} of {files[each]} bytes); give the same command again"
            )
    shutil.rmtree(folder / ".cache", ignore_errors=True)  # what told the library where an interruption was
    record = {"id": name, "revision": info.sha, "licence": _licence(info), "files": contents(folder, chosen)}
    write_json(folder / ABOUT, record)
    return record


def _remove_damaged(folder):
    """Remove files that are not what was fetched: the hub's library takes any that is there for the right one."""
    try:
        record = fetched_model(folder)
    except UserError:
        record = {"files": contents(folder)}  # nobody knows which ones are right
        record["files"] = {name: [-1, ""] for name in record["files"]}
    for name, each in (record or {"files": {}})["files"].items():
        if damage(folder, {name: each}):
            Path(folder, name).unlink(missing_ok=True)
            print_main(f"{Path(folder, name)} is not what was fetched; it is fetched again")
    Path(folder, ABOUT).unlink(missing_ok=True)


def _licence(info):
    card = info.card_data.to_dict() if info.card_data else {}
    found = card.get("license_name") if card.get("license") in (None, "other") else card["license"]
    found = found or card.get("license")
    return ", ".join(found) if isinstance(found, list) else found
