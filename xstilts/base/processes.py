"""Several processes of one run: what the first one finds, or fails at, holds for all."""

import os
import sys

from xstilts.base.messages import UserError, is_main_process


def on_main_process(function):
    """The value of `function()`, which only the first process calls, in all of them.

    Its error is raised in all of them, in the others as a UserError, so that none waits for a process that has left.
    """
    if _alone():
        return function()
    from accelerate.utils import broadcast_object_list

    found, raised = [None], None
    if is_main_process():
        try:
            found = [(function(), None)]
        except Exception as error:
            found, raised = [(None, str(error))], error
    value, error = broadcast_object_list(found)[0]
    if raised is not None:
        raise raised
    if error is not None:
        raise UserError(error)
    return value


def on_all_processes(function):
    """Call `function()` in every process. An error in one is raised in all of them, as soon as all are done."""
    if _alone():
        function()
        return
    from accelerate.utils import gather_object

    error = None
    try:
        function()
    except (UserError, OSError) as found:
        error = str(found)
    if found := [each for each in gather_object([error]) if each is not None]:
        raise UserError(found[0])


def gather_on_main(items):
    """The dictionaries of all processes merged in the first one, None in the others."""
    from torch import distributed

    found = [None] * int(os.environ["WORLD_SIZE"]) if is_main_process() else None
    distributed.gather_object(items, found)
    return found and {name: value for each in found for name, value in each.items()}


def leave_together():
    """Wait for the other processes and close the connections. A process that exits while others still work may take the whole
    run with it."""
    distributed = sys.modules.get("torch.distributed")
    if distributed and distributed.is_available() and distributed.is_initialized():
        distributed.barrier()
        distributed.destroy_process_group()


def _alone():
    return int(os.environ.get("WORLD_SIZE", 1)) == 1
