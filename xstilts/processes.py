"""Several processes of one run: what the first one finds holds for all."""

import os

from accelerate.utils import broadcast_object_list, gather_object

from xstilts.errors import UserError, is_main_process


def by_main(function):
    """What `function()` gives in the first process, in all of them, after it was done there. A UserError, or what the operating
    system refuses there, is raised in all of them too."""
    if int(os.environ.get("WORLD_SIZE", 1)) == 1:
        return function()
    found = [None]
    if is_main_process():
        try:
            found = [(function(), None)]
        except (UserError, OSError) as error:
            found = [(None, str(error))]
    value, error = broadcast_object_list(found)[0]
    if error is not None:
        raise UserError(error)
    return value


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
