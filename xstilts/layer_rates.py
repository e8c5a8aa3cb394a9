"""Layer-wise learning-rate decay: lower layers take smaller steps."""

from itertools import groupby

from xstilts.layers import layers_of, parts_of


def rate_factors(model, decay):
    """{id of a parameter: its learning rate over that of the head}: 1 for the head and the encoder's top, `decay` to the power of
    L - i for layer i of L, and of L + 1 for the embeddings.

    As in BEiT (Bao et al. 2022) and timm; ELECTRA's code has one power more for everything below the head.
    """
    depth = len(layers_of(model))
    powers = {"embeddings": depth + 1, **{i: depth - i for i in range(depth)}, "top": 0}
    inside = {
        id(parameter): decay ** powers[part]
        for part, modules in parts_of(model).items()
        for module in modules
        for parameter in module.parameters()
    }
    return {id(parameter): inside.get(id(parameter), 1.0) for parameter in model.parameters()}


def split_by_rate(optimizer, factors):
    """Split the groups of a new optimizer by `factors`, {id of a parameter: factor of its learning rate}.

    The largest comes first: the Trainer logs the rate of the first group.
    """
    groups = []
    for group in optimizer.param_groups:
        ordered = sorted(group["params"], key=lambda parameter: -factors[id(parameter)])
        for factor, own in groupby(ordered, key=lambda parameter: factors[id(parameter)]):
            groups.append({**group, "params": [*own], "lr": group["lr"] * factor})
    optimizer.param_groups = groups
