"""Layer-wise learning-rate decay: every weight takes the step that its layer is due."""

import pytest
import torch
from test_freezing import encoder_of
from test_layers import CONFIGS, HEADS, LAYERS, build, declared
from test_multitask import intermediate, run
from test_unfreezing import part_of

import run_target
from xstilts.layer_rates import rate_factors, split_by_rate
from xstilts.layers import parse_layers


def expected_factors(model, decay):
    """By hand: the head and the top 1, then a power more from layer to layer."""
    factors = {id(parameter): 1.0 for parameter in model.parameters()}
    parts = {"embeddings": LAYERS + 1, **{f"{i}-{i}": LAYERS - i for i in range(LAYERS)}}
    for text, power in parts.items():
        for module in declared(model, parse_layers(text, LAYERS)):
            factors |= {id(parameter): decay**power for parameter in module.parameters()}
    return factors


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("family", CONFIGS)
def test_every_parameter_has_the_rate_of_its_layer(family, head):
    model = build(family, head)
    factors = rate_factors(model, 0.5)
    assert factors == expected_factors(model, 0.5)
    optimizer = torch.optim.AdamW([{"params": [*model.parameters()], "weight_decay": 0.1}], lr=0.4)
    split_by_rate(optimizer, factors)
    assert optimizer.param_groups[0]["lr"] == 0.4  # what the Trainer logs
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    assert rates == {key: 0.4 * factor for key, factor in factors.items()}
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len([*model.parameters()])
    assert {group["weight_decay"] for group in optimizer.param_groups} == {0.1}


def steps_of(folder, encoder):
    """{part: size of its largest change} between an encoder and a checkpoint."""
    before, after, sizes = encoder_of(encoder), encoder_of(folder), {}
    for name, tensor in before.items():
        part = part_of(f".{name}")
        sizes[part] = max((after[name] - tensor).abs().max().item(), sizes.get(part, 0.0))
    return sizes


@pytest.mark.parametrize("script", ["intermediate", "mixture", "target"])
def test_lower_layers_take_smaller_steps(script, world, encoder, tmp_path):
    """The first step of Adam is as long as its learning rate, in every weight."""
    line = "--layerwise_lr_decay 0.1 --learning_rate 1e-3 --max_steps 1 --warmup_steps 0 --weight_decay 0 --optim adamw_torch"
    if script == "target":
        done = run(run_target.main, tmp_path, world, encoder, f"--task udpos {line}")
    else:
        done = intermediate(
            tmp_path, world, encoder, f"--task {'mnli' if script == 'intermediate' else 'mnli+squad'} {line}"
        )
    assert steps_of(tmp_path, encoder) == pytest.approx({1: 1e-4, 0: 1e-5, "embeddings": 1e-6}, rel=0.02)
    assert done["lineage"][-1]["factors"] == ["lr-decay-0.1"]
