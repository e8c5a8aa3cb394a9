"""The model card of a checkpoint, its README.md: what its run.json says, for readers and for the hub.

It is written before run.json and is not among the files that a later phase checks: people edit it. A script writes it again, with
the scores of later evaluations, as long as it is as a script wrote it (a digest of it is its last line).
"""

import hashlib
import os
import re
from pathlib import Path

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from xstilts.base import UserError, print_main, read_json
from xstilts.card_scores import without_folders
from xstilts.card_sections import HEADS, body_of, facts_behind, head_of, without_place
from xstilts.examples import languages_apart
from xstilts.fetched_models import fetched_model
from xstilts.loading import HUB_ID
from xstilts.run_files import read_run

CARD = "README.md"
TRAININGS = ("intermediate", "target")
MARK = re.compile(r"<!-- x-stilts ([0-9a-f]{16}): .* -->\n")
LANGUAGE = re.compile("[a-z]{2,3}")  # ISO 639, which the hub asks for
METRICS = ("accuracy", "f1")  # that the hub knows by these names
LICENCES = {  # of base models, by their cards on the hub
    "FacebookAI/xlm-roberta-base": "mit", "FacebookAI/xlm-roberta-large": "mit", "facebook/xlm-roberta-xl": "mit",
    "facebook/xlm-roberta-xxl": "mit", "google-bert/bert-base-multilingual-cased": "apache-2.0",
    "microsoft/mdeberta-v3-base": "mit", "google/rembert": "apache-2.0", "jhu-clsp/mmBERT-base": "mit",
    "jhu-clsp/mmBERT-small": "mit",
}  # fmt: skip


def write_card(folder, run, evaluations=()):
    """Write the card of the checkpoint in `folder`.

    run           content of its run.json
    evaluations   those of the evaluations and retrievals that were made of it
    """
    data = ModelCardData(**front_matter(folder, run, evaluations))
    body = body_of(run, evaluations, _architecture(folder), data.license)
    text = str(ModelCard(f"---\n{data.to_yaml()}\n---\n\n{body}\n"))
    text += f"<!-- x-stilts {_digest(text)}: a script wrote this card, and leaves it alone once it is changed -->\n"
    partial = Path(folder, f".{CARD}.partial")
    try:
        partial.write_text(text, "utf-8", newline="\n")
        os.replace(partial, Path(folder, CARD))
    finally:
        partial.unlink(missing_ok=True)


def write_cards(runs):
    """Write the cards of all checkpoints among `runs` ({path of a run.json: content}) with the scores of all evaluations and
    retrievals among them. A card that somebody changed stays as it is, which is said."""
    made, later = 0, {}
    for run in runs.values():
        if run["phase"] not in TRAININGS:
            later.setdefault(run["lineage"][-1].get("fingerprint"), []).append(run)
    for path, run in runs.items():
        folder = Path(path).parent
        if run["phase"] not in TRAININGS or not (folder / "config.json").is_file():
            continue
        if is_changed(folder / CARD):
            print_main(f"{folder / CARD} was changed by hand and stays as it is; delete it to have it anew")
            continue
        found = [each for each in later.get(run["lineage"][-1].get("fingerprint"), []) if each["phase"] != "dev"]
        write_card(folder, run, found)
        made += 1
    print_main(f"{made} model cards")


def for_sharing(value):
    """A run.json as others may have it: without the working directory, and of every path from the root or from home its last name
    alone, in the command, the arguments and all other text, as in the card."""
    if isinstance(value, dict):
        return {name: "" if name == "directory" else for_sharing(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [for_sharing(each) for each in value]
    return without_folders(without_place(value)) if isinstance(value, str) else value


def is_changed(path):
    """Whether a card is there that no script wrote as it is."""
    if not Path(path).is_file():
        return False
    text = Path(path).read_text("utf-8", errors="replace")
    end = text.rfind("\n", 0, -1) + 1
    mark = MARK.fullmatch(text[end:])
    return mark is None or mark[1] != _digest(text[:end])


def _digest(text):
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _architecture(folder):
    """Name of the class of the model in a folder; "" where its configuration does not say."""
    names = (read_json(Path(folder, "config.json")) or {}).get("architectures")
    return names[0] if isinstance(names, list) and names and isinstance(names[0], str) else ""


# ---- what the hub reads ---------------------------------------------------------------------------------------------


def front_matter(folder, run, evaluations):
    """The card's YAML block, as arguments of ModelCardData. What is not known is not there."""
    base, pipeline = base_on_hub(folder, run), HEADS[head_of(_architecture(folder))][0]
    languages = {code for record in run["lineage"] for code in record.get("languages", ()) if LANGUAGE.fullmatch(code)}
    found = {
        "language": sorted(languages),
        "license": LICENCES.get(base),
        "base_model": base,
        "datasets": _datasets(run),
        "library_name": "transformers",
        "pipeline_tag": pipeline,
        "tags": ["x-stilts", "cross-lingual-transfer", f"{run['phase']}-task"],
        "model_name": run["lineage_text"],
        "eval_results": _results(run, evaluations, pipeline),
    }
    if not found["eval_results"]:
        del found["eval_results"], found["model_name"]
    return {name: value for name, value in found.items() if value}


def base_on_hub(folder, run):
    """The hub's id of the base model behind a checkpoint, by the arguments of the runs behind it; None where that leads to a
    folder or nowhere. Nothing is read but run.json files."""
    seen = set()
    while run is not None:
        path = (run.get("arguments") or {}).get("model_name_or_path")
        if not isinstance(path, str) or path in seen:
            return None
        seen.add(path)
        if len(run["lineage"]) == 2:
            fetched = fetched_model(path) or {}
            return fetched.get("id", path if HUB_ID.fullmatch(path) and not os.path.exists(path) else None)
        try:
            run = read_run(os.path.join(path, "run.json"))
        except (UserError, OSError):
            return None
    return None


def _datasets(run):
    """Ids of the hub's datasets that rows of this run came from."""
    return sorted({record["hub"]["id"] for record in run.get("data", ()) if record.get("hub")})


def _results(run, evaluations, pipeline):
    """What the hub shows beside the card: scores on the selection set, and of every language."""
    facts = facts_behind(run)
    found = []
    for split, scores, of in [("selection", {"": run.get("dev_scores") or {}}, run), *_by_language(evaluations)]:
        metric, task = of.get("metric"), of["task"]
        if metric not in METRICS:
            continue
        title = (facts.get(task) or {}).get("title", task)
        kind = "sentence-similarity" if of["phase"] == "retrieval" else pipeline
        for language, own in scores.items():
            if isinstance(own.get(metric), float | int):
                result = EvalResult(
                    task_type=kind, dataset_type=task, dataset_name=f"{title} {language}".strip(),
                    dataset_config=language or None, dataset_split=split, metric_type=metric,
                    metric_value=round(own[metric], 2),
                )  # fmt: skip
                found.append(result)
    return found


def _by_language(evaluations):
    """(split, scores, run) of each, without the languages whose rows are not the benchmark's."""
    for run in filter(lambda run: run.get("scores"), evaluations):
        apart = languages_apart(run.get("data", ()))
        yield run.get("split", "test"), {code: own for code, own in run["scores"].items() if code not in apart}, run
