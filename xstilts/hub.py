"""Checkpoints on the Hugging Face hub: a finished one goes there with run.json, and one from there keeps its lineage."""

import os
import shlex
from functools import cache
from pathlib import Path

from huggingface_hub import (
    HfApi,
    get_hf_file_metadata,
    hf_hub_download,
    hf_hub_url,
    snapshot_download,
    try_to_load_from_cache,
)
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError

from xstilts.base import UserError, first_line, print_main, write_json
from xstilts.loading import check_place
from xstilts.tracking import name_of

SHARED = ".shared_run.json"  # run.json as it goes to the hub, where it has its own name
# Of a finished run's directory: claims, logs and what killed processes left; what only an unfinished one needs; what is local.
LEFT = ("_*", ".*", "checkpoint-*", "started.json", "training_args.bin", "log.txt", "lock", "run.json")
# What pushes during the training have put there.
OUTDATED = ("last-checkpoint/*", "started.json", "training_args.bin", "adapter_*", "log.txt", "lock")


def settle(training_args, phase):
    """Fill in what a run is called where it is reported, and on the hub. Raises UserError where there is nothing to push."""
    name = name_of(training_args.output_dir)
    training_args.run_name = training_args.run_name or name
    if training_args.push_to_hub:
        if phase not in ("intermediate", "target"):
            raise UserError("--push_to_hub is for checkpoints: run_intermediate.py and run_target.py make some")
        training_args.hub_model_id = training_args.hub_model_id or name


def push(folder, shared, training_args, message):
    """Upload the checkpoint of a finished run and its card to `--hub_model_id`, and last `shared` as its run.json. Raises
    UserError, with the command that does it later, for whatever the hub or the way to it does."""
    repo = training_args.hub_model_id
    write_json(Path(folder, SHARED), shared)
    try:
        api = HfApi()
        repo = api.create_repo(repo, private=training_args.hub_private_repo, exist_ok=True).repo_id
        api.upload_folder(
            repo_id=repo, folder_path=folder, commit_message=message, revision=training_args.hub_revision,
            ignore_patterns=[*LEFT], delete_patterns=[*OUTDATED],
        )  # fmt: skip
        api.upload_file(
            path_or_fileobj=Path(folder, SHARED), path_in_repo="run.json", repo_id=repo, commit_message=message,
            revision=training_args.hub_revision,
        )  # fmt: skip
    except Exception as error:  # of the network, the hub, a name that it refuses: many libraries', and the run is whole
        raise UserError(
            f"{folder} is finished, and --push_to_hub failed ({first_line(error)}); to push it later: "
            f"{push_command(folder, repo, training_args.hub_private_repo, training_args.hub_revision)}"
        ) from error
    print_main(f"{folder} is on the hub: {repo}")


def push_command(folder, repo, private=False, revision=None):
    """What one types to push a finished run."""
    more = [*(["--private"] if private else []), *(["--revision", revision] if revision else [])]
    excluded = [word for pattern in LEFT for word in ("--exclude", pattern)]
    whole = ["hf", "upload", repo, str(folder), ".", *more, *excluded]
    record = ["hf", "upload", repo, str(Path(folder, SHARED)), "run.json", *more]
    return f"{shlex.join(whole)} && {shlex.join(record)}"


def no_repo(training_args, error):
    """The UserError for a repository that cannot be made before the training."""
    return UserError(
        f"--push_to_hub: no repository {training_args.hub_model_id} can be made on the hub ({first_line(error)}); log in with "
        "`hf auth login` or $HF_TOKEN, or leave the option out and push the finished run with `hf upload`"
    )


@cache
def local_copy(path):
    """Where a checkpoint lies: `path` itself, or for an id of the hub whose repository holds a run.json the directory with its
    files, which are fetched: a checkpoint that was shared is read as one that was made here, lineage, heads and hashes of
    training rows included. Without a run.json it stays an id, somebody else's model.

    Raises UserError for what is neither there nor can be on the hub, and where a hub that has to be asked cannot be reached: at
    once, while the library would ask six times.
    """
    if path is None or os.path.exists(path):
        return path
    check_place(path)
    if not isinstance(try_to_load_from_cache(path, "config.json"), str):
        _check_hub(path)
    known = try_to_load_from_cache(path, "run.json")
    if known is not None and not isinstance(known, str):  # the hub said before that there is none
        return path
    try:
        hf_hub_download(path, "run.json")
    except LocalEntryNotFoundError:  # offline, and never asked before
        print_main(
            f"{path}: the hub cannot be asked whether it has a run.json; it is read as a model without known phases"
        )
        return path
    except (EntryNotFoundError, HfHubHTTPError, OSError, ValueError):
        return path  # without such a file; or no model, which is said when it is read
    try:
        folder = snapshot_download(path, ignore_patterns=[*OUTDATED])
    except Exception as error:  # of the network, of the hub: many libraries'
        raise UserError(
            f"--model_name_or_path {path} has a run.json, and the rest of it cannot be had ({first_line(error)})"
        ) from error
    print_main(f"{path}: its run.json says how it was trained; it lies in {folder}")
    return folder


def _check_hub(path):
    """Raise UserError where the hub does not answer."""
    try:
        get_hf_file_metadata(hf_hub_url(path, "config.json"))
    except HfHubHTTPError:
        return  # an answer; a model that is not there, or not for you, is named when it is read
    except Exception as error:  # of the network: many libraries'
        raise UserError(
            f"no model at --model_name_or_path {path}: there is no such directory, and the hub cannot be reached "
            f"({first_line(error)}); without internet give a directory, as prepare_data.py --models {path} fills it"
        ) from error
