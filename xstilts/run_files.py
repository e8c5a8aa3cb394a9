"""What a run.json must hold for those who read it, whoever wrote it: its shape, which is checked in this one place."""

from xstilts.errors import UserError
from xstilts.json_files import read_json
from xstilts.shapes import Each, Maybe, misfit

NUMBERS = Each([Maybe(float)])
RECORD = {
    "base_model": Maybe(str), "fingerprint": Maybe(str), "has_head": Maybe(bool), "phase": Maybe(str), "task": Maybe(str),
    "tasks": Maybe([str]), "factors": Maybe([str]), "languages": Maybe([str]), "selection": Maybe(str), "benchmark": Maybe(str),
}  # fmt: skip
ROWS = {name: Maybe(str) for name in ("task", "split", "language", "fingerprint")} | {"rows": Maybe(int)}
SHAPE = {
    "format": Maybe(int), "phase": Maybe(str), "task": Maybe(str), "seed": int, "lineage": [RECORD], "factors": Maybe([str]),
    "warnings": Maybe([str]), "split": Maybe(str), "arguments": Maybe(dict), "identity": Maybe({"arguments": Maybe(dict)}),
    "scores": Maybe(Each(dict)), "metric": Maybe(str), "averages": Maybe(Each(object)), "dev_scores": Maybe(dict),
    "layer": Maybe(int), "layers": Maybe([int]), "by_layer": Maybe(Each(NUMBERS)), "cka": Maybe(NUMBERS),
    "compared_with": Maybe({"model": str, "fingerprint": Maybe(str)}), "weight_change": Maybe(Each(object)),
    "zero_shot_languages": Maybe([str]), "source_language": Maybe(str), "steps": Maybe(float), "data": Maybe([ROWS]),
}  # fmt: skip


def read_run(path):
    """Content of a run.json, None where there is none. Raises UserError for one that was changed or that has another shape."""
    run = read_json(path)
    if run is not None:
        check_run(path, run)
    return run


def check_run(path, run):
    """Raise UserError for a run.json with another type of value, or without a seed, a base model or a trained task."""
    wrong = misfit(run, SHAPE) or _in_lineage(run["lineage"]) or _in_scores(run)
    if wrong:
        raise UserError(f"{path} is not the run.json of a run ({wrong}); delete it or its directory, or leave it out")


def _in_scores(run):
    """What the scores of a run lack, in words."""
    metric = run.get("metric")
    for language, scores in (run.get("scores") or {}).items() if metric else ():
        if wrong := misfit(scores, {metric: float}, f"scores.{language}"):
            return wrong
    return ""


def _in_lineage(lineage):
    """What the records of a lineage lack, in words."""
    if not lineage:
        return "the lineage is empty"
    first, *records = lineage
    needed = [("lineage[0]", first, ("base_model",))]
    needed += [(f"lineage[{place}]", each, ("task",)) for place, each in enumerate(records, start=1)]
    lost = [f"{where} has no '{name}'" for where, each, names in needed for name in names if not each.get(name)]
    return lost[0] if lost else ""
