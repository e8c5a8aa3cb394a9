"""Checkpoints of a training that goes on: whole or not at all, and checked before anything is read from them.

One is written under another name, its files with their digests are listed in it, all of it is on the disk, and then it gets its
name. What is damaged later (a copy that broke off, a flipped bit) is named, set aside, and made anew from the checkpoint before.
"""

import glob
import os
import shutil

from xstilts.base import UserError, on_all_processes, on_main_process, print_main, read_json, write_json
from xstilts.sealed import contents, damage, flush, writing
from xstilts.shapes import misfit

PREFIX = "checkpoint-"
PARTIAL, ASIDE = "_checkpoint.partial", "_set-aside-"  # what begins with _ is not pushed to the hub
LIST, STATE = "contents.json", "trainer_state.json"


def step_of(folder):
    """Optimizer steps that a checkpoint has seen."""
    return int(folder.rsplit("-", 1)[1])


def checkpoints(output_dir):
    """Directories of checkpoints, by step."""
    found = glob.glob(os.path.join(glob.escape(output_dir), f"{PREFIX}*"))
    return sorted((folder for folder in found if folder.rsplit("-", 1)[1].isdigit()), key=step_of)


def planned(output_dir):
    """The same without those that an interruption made, at a step at which an uninterrupted run has none, and damaged ones."""
    return [folder for folder in checkpoints(output_dir) if _about(folder).get("interruption") is False]


def _about(folder):
    """What a checkpoint says of itself; nothing where that is missing or damaged."""
    try:
        about = read_json(os.path.join(folder, LIST))
    except UserError:
        return {}
    return {} if misfit(about, {"files": dict, "needs": [str], "interruption": bool}) else about


# ---- writing --------------------------------------------------------------------------------------------------------


def write_step(trainer, save, claim=None, interruption=False):
    """Have the Trainer `save()` a checkpoint, below `partial_folder`, and give it its name when it is whole; returns where it is.

    Of several processes the first one does, when all have written their part. Raises UserError, in all of them, where one could
    not write its part, or where somebody took over the `claim` on the folder; what was written is removed then.
    """
    args, state = trainer.args, trainer.state
    name, best = f"{PREFIX}{state.global_step}", state.best_global_step and f"{PREFIX}{state.best_global_step}"

    def begin():
        _check(claim)
        _remove(partial_folder(args.output_dir))

    def write():
        with writing(os.path.join(args.output_dir, name)):
            save()

    def publish():
        _check(claim)
        needs = [best] if best and best != name and args.load_best_model_at_end else []
        with writing(os.path.join(args.output_dir, name)):
            _seal(os.path.join(partial_folder(args.output_dir), name), state, needs, interruption)
            _publish(args.output_dir, name)
        rotate(args.output_dir, best if args.load_best_model_at_end else None, args.save_total_limit)

    try:
        on_main_process(begin)
        on_all_processes(write)
        # The Trainer looked for the best one beside the unfinished one.
        state.best_model_checkpoint = os.path.join(args.output_dir, best) if best else None
        on_main_process(publish)
    finally:
        if trainer.is_world_process_zero():
            _remove(partial_folder(args.output_dir))
    return os.path.join(args.output_dir, name)


def _check(claim):
    if claim:
        claim.check()


def _remove(folder):
    shutil.rmtree(folder, ignore_errors=True)


def partial_folder(output_dir):
    """Where a checkpoint grows."""
    return os.path.join(output_dir, PARTIAL)


def _seal(folder, state, needs, interruption):
    """List a whole checkpoint's files in it, and the names of others that the end of the run `needs`: the best one, so far."""
    state.save_to_json(os.path.join(folder, STATE))
    files = contents(folder)
    flush(folder, files)
    write_json(os.path.join(folder, LIST), {"files": files, "needs": needs, "interruption": interruption})


def _publish(output_dir, name):
    place = os.path.join(output_dir, name)
    _remove(place)  # of a run that went back behind it
    os.replace(os.path.join(partial_folder(output_dir), name), place)
    flush(output_dir, [])


def rotate(output_dir, best, limit):
    """Delete the oldest checkpoints, as the Trainer does: `limit` are left, the latest and the one called `best`, if any, among
    them. Of those that an interruption made, only the latest is kept; they do not count."""
    regular = {os.path.basename(folder): folder for folder in planned(output_dir)}
    others = [name for name in regular if name != best]
    room = limit - (best in regular) if limit else len(others)
    kept = {best, *[*regular][-1:], *(others[-room:] if room > 0 else ())}
    for folder in checkpoints(output_dir)[:-1]:
        if os.path.basename(folder) not in kept and _about(folder):
            _remove(folder)


# ---- reading --------------------------------------------------------------------------------------------------------


def last_checkpoint(output_dir):
    """The latest checkpoint from which a run can go on, or None.

    One that is damaged is named and set aside, and so is one that needs another that is damaged or gone (its best weights lie
    there).
    """
    _remove(partial_folder(output_dir))
    while found := checkpoints(output_dir):
        if not (reason := damage_of(found[-1]) or _lacks(found[-1])):
            return found[-1]
        _set_aside(found[-1], reason)
    return None


def damage_of(folder):
    """In words, what is wrong with a checkpoint; "" if nothing is."""
    if not (about := _about(folder)):
        return f"{LIST} is missing or damaged"
    return damage(folder, about["files"])


def _lacks(folder):
    """In words, what is wrong with the other checkpoints that the end of the run reads."""
    for name in _about(folder)["needs"]:
        if reason := damage_of(os.path.join(os.path.dirname(folder), name)):
            return f"it needs {name}: {reason}"
    return ""


def _set_aside(folder, reason):
    place = os.path.join(os.path.dirname(folder), f"{ASIDE}{os.path.basename(folder)}")
    _remove(place)
    os.replace(folder, place)
    print_main(f"{folder} is damaged ({reason}): set aside as {place}")


def remove_all(output_dir):
    """Delete all checkpoints, of a run that is finished."""
    for pattern in (f"{PREFIX}*", f"{ASIDE}{PREFIX}*", PARTIAL):
        for folder in glob.glob(os.path.join(glob.escape(output_dir), pattern)):
            _remove(folder)
