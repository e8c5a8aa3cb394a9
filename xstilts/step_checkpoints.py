"""Checkpoints of a training that goes on: whole or not at all, and checked before anything is read from them.

One is written under another name, its files with their digests are listed in it, all of it is on the disk, and then it gets its
name. What is damaged later (a copy that broke off, a flipped bit) is named, set aside, and made anew from the checkpoint before.
"""

import glob
import os
import shutil

from xstilts.errors import UserError, say
from xstilts.json_files import read_json, write_json
from xstilts.sealed import contents, damage, flush, writing

PREFIX, PARTIAL, ASIDE = (
    "checkpoint-",
    "_checkpoint.partial",
    "_set-aside-",
)  # what begins with _ is not pushed to the hub
LIST, STATE = "contents.json", "trainer_state.json"


def step_of(folder):
    """Optimizer steps that a checkpoint has seen."""
    return int(folder.rsplit("-", 1)[1])


def checkpoints(output_dir):
    """Directories of checkpoints, by step."""
    found = glob.glob(os.path.join(glob.escape(output_dir), f"{PREFIX}*"))
    return sorted((folder for folder in found if folder.rsplit("-", 1)[1].isdigit()), key=step_of)


def planned(output_dir):
    """The same without those that an interruption made: these are of a step at which an uninterrupted run has none."""
    return [folder for folder in checkpoints(output_dir) if not _about(folder)["interruption"]]


def _about(folder):
    return read_json(os.path.join(folder, LIST)) or {}


# ---- writing --------------------------------------------------------------------------------------------------------


def write_step(trainer, save, interruption=False):
    """Have the Trainer `save()` a checkpoint, below `partial_folder`, and give it its name when it is whole.

    Of several processes the first one does, when all have written their part. Raises UserError where it cannot be written; what
    was written of it is removed then.
    """
    args, state = trainer.args, trainer.state
    name, best = f"{PREFIX}{state.global_step}", state.best_global_step and f"{PREFIX}{state.best_global_step}"
    state.best_model_checkpoint = os.path.join(args.output_dir, best) if best else None
    main = trainer.is_world_process_zero()
    if main:
        shutil.rmtree(partial_folder(args.output_dir), ignore_errors=True)
    trainer.accelerator.wait_for_everyone()
    with writing(os.path.join(args.output_dir, name)):
        try:
            save()
            trainer.accelerator.wait_for_everyone()
            if main:
                needs = _needs(args, best, trainer.averaged)
                _seal(os.path.join(partial_folder(args.output_dir), name), state, needs, interruption)
                _publish(args.output_dir, name)
        finally:
            if main:
                shutil.rmtree(partial_folder(args.output_dir), ignore_errors=True)
    if main:
        rotate(args.output_dir, args.load_best_model_at_end and state.best_model_checkpoint, args.save_total_limit)
    trainer.accelerator.wait_for_everyone()


def partial_folder(output_dir):
    """Where a checkpoint grows."""
    return os.path.join(output_dir, PARTIAL)


def _needs(args, best, averaged):
    """Names of the other checkpoints that the end of the run reads, as far as they are known."""
    before = [os.path.basename(folder) for folder in planned(args.output_dir)][1 - averaged :] if averaged > 1 else []
    return [*before, best] if best and args.load_best_model_at_end else before


def _seal(folder, state, needs, interruption):
    own = os.path.basename(folder)
    state.save_to_json(os.path.join(folder, STATE))  # the Trainer looked for the best one beside the unfinished one
    files = contents(folder)
    flush(folder, files)
    needs = [name for name in needs if name != own]
    write_json(os.path.join(folder, LIST), {"files": files, "needs": needs, "interruption": interruption})


def _publish(output_dir, name):
    place = os.path.join(output_dir, name)
    shutil.rmtree(place, ignore_errors=True)  # of a run that went back behind it
    os.replace(os.path.join(partial_folder(output_dir), name), place)
    flush(output_dir, [])


def rotate(output_dir, best, limit):
    """Delete the oldest checkpoints, as the Trainer does: `limit` are left, the latest and the `best` one, if any, among them. Of
    those that an interruption made, only the latest is kept; they do not count."""
    regular = planned(output_dir)
    others = [folder for folder in regular if folder != best]
    room = limit - (best in regular) if limit else len(others)
    kept = {best, *regular[-1:], *(others[-room:] if room > 0 else ())}
    for folder in checkpoints(output_dir)[:-1]:
        if folder not in kept:
            shutil.rmtree(folder, ignore_errors=True)


# ---- reading --------------------------------------------------------------------------------------------------------


def last_checkpoint(output_dir):
    """The latest checkpoint from which a run can go on, or None.

    What is damaged is named and set aside, and so is a later one that needs it (its best weights lie there).
    """
    shutil.rmtree(partial_folder(output_dir), ignore_errors=True)
    for folder in checkpoints(output_dir):
        if reason := damage_of(folder):
            _set_aside(folder, f"is damaged ({reason})")
    while found := checkpoints(output_dir):
        there = [*map(os.path.basename, found)]
        lost = [name for name in _about(found[-1])["needs"] if name not in there]
        if not lost:
            return found[-1]
        _set_aside(found[-1], f"needs {lost[0]}, which is not there any more")
    return None


def damage_of(folder):
    """In words, what is wrong with a checkpoint; "" if nothing is."""
    try:
        about = _about(folder)
    except UserError:
        about = None
    return damage(folder, about["files"]) if about else f"{LIST} is missing or damaged"


def _set_aside(folder, why):
    place = os.path.join(os.path.dirname(folder), f"{ASIDE}{os.path.basename(folder)}")
    shutil.rmtree(place, ignore_errors=True)
    os.replace(folder, place)
    say(f"{folder} {why}: set aside as {place}")


def remove_all(output_dir):
    """Delete all checkpoints, of a run that is finished."""
    for pattern in (f"{PREFIX}*", f"{ASIDE}{PREFIX}*", PARTIAL):
        for folder in glob.glob(os.path.join(glob.escape(output_dir), pattern)):
            shutil.rmtree(folder, ignore_errors=True)
