"""What a run.json must hold for those who read it, whoever wrote it: its shape, which is checked in this one place."""

from pathlib import Path

from xstilts.base import UserError, read_json
from xstilts.shapes import Each, IfThere, Maybe, misfit

NUMBERS = Each([Maybe(float)])
RECORD = {
    "base_model": Maybe(str), "fingerprint": Maybe(str), "has_head": Maybe(bool), "phase": Maybe(str), "task": Maybe(str),
    "tasks": IfThere([str]), "factors": IfThere([str]), "languages": IfThere([str]), "selection": Maybe(str),
    "benchmark": Maybe(str),
}  # fmt: skip
ROWS = {"task": Maybe(str), "split": Maybe(str), "language": str, "fingerprint": Maybe(str), "rows": Maybe(int)}
SHAPE = {
    "format": Maybe(int), "phase": Maybe(str), "task": Maybe(str), "seed": int, "lineage": [RECORD], "factors": IfThere([str]),
    "warnings": IfThere([str]), "remarks": IfThere([str]), "split": IfThere(str),
    "arguments": Maybe({"model_name_or_path": Maybe(str)}), "identity": IfThere({"arguments": IfThere(dict)}),
    "scores": IfThere(Each(dict)), "metric": Maybe(str), "averages": IfThere(Each(object)), "dev_scores": IfThere(dict),
    "layer": IfThere(int), "layers": IfThere([int]), "by_layer": IfThere(Each(NUMBERS)), "cka": IfThere(NUMBERS),
    "compared_with": IfThere({"model": str, "fingerprint": Maybe(str)}), "weight_change": IfThere(Each(object)),
    "command": IfThere([str]), "versions": IfThere(Each(str)), "hardware": IfThere({"device": str}),
    "files": IfThere(Each([object])), "data": IfThere([ROWS]), "steps": Maybe(float), "source_language": Maybe(str),
    "zero_shot_languages": IfThere([str]), "in_no_average": IfThere([str]),
}  # fmt: skip


def read_run(path):
    """Content of a run.json, None where there is none. Raises UserError for one that was changed or that has another shape."""
    run = read_json(path)
    if run is not None:
        check_run(path, run)
    return run


def check_run(path, run):
    """Raise UserError for a run.json with another type of value, or without a seed, a base model or a trained task."""
    wrong = misfit(run, SHAPE) or _in_lineage(run["lineage"]) or _in_scores(run) or _in_files(run)
    if wrong:
        raise UserError(f"{path} is not the run.json of a run ({wrong}); delete it or its directory, or leave it out")


NEEDS = {"by_layer": "layers", "cka": "compared_with", "scores": "metric"}


def _in_scores(run):
    """What the scores of a run lack, in words."""
    lost = [f"'{name}' without '{other}'" for name, other in NEEDS.items() if name in run and other not in run]
    if lost:
        return lost[0]
    metric = run.get("metric")
    for language, scores in (run.get("scores") or {}).items() if metric is not None else ():
        if wrong := misfit(scores, {metric: float}, f"scores.{language}"):
            return wrong
    return ""


def _in_files(run):
    """What is wrong with the list of files that a run wrote: [bytes, digest] of each, below its directory."""
    for name, each in run.get("files", {}).items():
        if [type(part) for part in each] != [int, str] or Path(name).is_absolute() or ".." in Path(name).parts:
            return f"'files' has {name!r:.40}, which is no file of the run with its size and digest"
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
