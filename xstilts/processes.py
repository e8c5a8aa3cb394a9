"""Several processes of one run: what the first one finds holds for all."""

import os

import torch
from accelerate.utils import broadcast_object_list, gather_object

from xstilts.errors import UserError, is_main_process


def by_main(function):
    """What `function()` gives in the first process, in all of them, after it was done there. An error there is raised in all of
    them, in the others as a UserError."""
    if int(os.environ.get("WORLD_SIZE", 1)) == 1:
        return function()
    found, raised = [None], None
    if is_main_process():
        try:
            found = [(function(), None)]
        except Exception as error:  # whatever it is, the others must not wait for the first process
            found, raised = [(None, str(error))], error
    value, error = broadcast_object_list(found)[0]
    if raised is not None:
        raise raised
    if error is not None:
        raise UserError(error)
    return value


def gather_by_main(items):
    """The dictionaries of all processes as one in the first process, None in the others."""
    found = [None] * int(os.environ["WORLD_SIZE"]) if is_main_process() else None
    torch.distributed.gather_object(items, found)
    return found and {name: value for each in found for name, value in each.items()}


def together(function):
    """Do `function()` in every process. What fails in one is raised in all of them when all are done, so that none waits for
    another that has left."""
    if int(os.environ.get("WORLD_SIZE", 1)) == 1:
        function()
        return
    error = None
    try:
        function()
    except (UserError, OSError) as found:
        error = str(found)
    if found := [each for each in gather_object([error]) if each is not None]:
        raise UserError(found[0])
