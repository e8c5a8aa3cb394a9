"""What a report is made of: run.json files, and the labels under which runs stand together.

A run has a *row*, what its encoder went through before the target, and a *column*, the target and how it was trained. Layers of a
checkpoint that a target run or a retrieval took over (`transfer-...`) belong to the row: they say which encoder it was.
"""

import json
import re

from xstilts.base import UserError, print_main, read_json
from xstilts.identity import is_default
from xstilts.lineage import trained_for
from xstilts.run_files import check_run

TRANSFER, COMPARED = "transfer-", "compared-with-"
LAYOUT = 1  # `format` of run.json
SCORED = ("task", "scores", "metric", "averages")
NEEDED = {"intermediate": ("task",), "target": ("task",), "eval": SCORED, "retrieval": (*SCORED, "layer")}
UNTRAINED = -1  # instead of a seed: what no training came before has none
ROUNDING = 1e-4  # of CKA, from batches of another size
LEAKY = {"benchmark": "rows that are reported", "oracle": "the target languages' own dev sets"}


def collect(folders, defaults=None):
    """{path: content} of every run.json below `folders`, each once, as a report may show it, with the `defaults` of training
    options; of an evaluation and a part of it the `whole`. Raises UserError as `read_runs`."""
    return set_apart(whole(read_runs(folders)), defaults)


# Options that say how much of the test rows an evaluation reads, and what it keeps of them.
HOW_MUCH = ("languages", "max_eval_samples", "layers", "save_examples")


def whole(runs):
    """`runs`, {path: content}, without evaluations and retrievals that are a part of another one, which is said: of the same
    encoder with the same settings, in some of its languages, rows or layers."""
    found, alike = dict(runs), {}
    for path, run in runs.items():
        if run["phase"] in ("eval", "retrieval") and "identity" in run:
            alike.setdefault(_without_extent(run), []).append(path)
    for paths in alike.values():
        for path in paths:
            if more := [other for other in paths if _is_part(runs[path], runs[other])]:
                print_main(f"note: {path} is left out: {more[0]} has its languages and rows, and more")
                del found[path]
    return found


def _without_extent(run):
    """What an evaluation is of and how it was made, as text."""
    identity = {name: value for name, value in run["identity"].items() if name != "data"}
    arguments = {name: value for name, value in identity.get("arguments", {}).items() if name not in HOW_MUCH}
    return json.dumps([{**identity, "arguments": arguments}, run.get("layer")], sort_keys=True)


def _is_part(run, other):
    """Whether another run has all that a run has, and more."""
    own, others = _extent(run), _extent(other)
    return own != others and all(name in others and count <= others[name] for name, count in own.items())


def _extent(run):
    """{set of rows or layer: how many rows of it were read}."""
    of_set = [tuple(each.get(name) for name in ("task", "split", "language")) for each in run.get("data", ())]
    rows = [each.get("rows") or 0 for each in run.get("data", ())]
    return dict(zip(of_set, rows, strict=True)) | dict.fromkeys(run.get("layers", ()), 1)


def read_runs(folders):
    """{path: content} of every run.json below `folders`, each once, as it is. Raises UserError for one that was changed or has
    another layout."""
    paths = {}
    for path in sorted({path for folder in folders for path in folder.rglob("run.json")}):
        paths.setdefault(path.resolve(), path)
    return {path: _of_this_layout(path, read_json(path)) for path in paths.values()}


def _of_this_layout(path, run):
    missing = _missing_in(run)
    if not missing:
        check_run(path, run)
        missing = _missing_in_lineage(run["lineage"])
    if missing:
        number = f"{run['format']!a:.40}" if isinstance(run, dict) and "format" in run else "none"
        raise UserError(
            f"{path} has another layout (format {number}, {missing}) than this version reads ({LAYOUT}); evaluate its "
            "checkpoint again, or leave its folder out"
        )
    return run


def _missing_in(run):
    """What a run.json lacks, in words; "" for one that can be read."""
    if not isinstance(run, dict) or run.get("format", LAYOUT) != LAYOUT:
        return "an older or newer one"
    needed = NEEDED.get(str(run.get("phase")), ())
    lost = [name for name in ("phase", "lineage", "seed", *needed) if run.get(name) is None]
    return f"no `{lost[0]}`" if lost else ""


def _missing_in_lineage(lineage):
    """The same of its lineage."""
    first, *records = lineage
    for record, names in [(first, ("base_model", "fingerprint")), *((each, ("task", "factors")) for each in records)]:
        if lost := [name for name in names if name not in record]:
            return f"no `{lost[0]}` in its lineage"
    return ""


# Options of the Trainer that change no result, and those that change none where no evaluation chooses the checkpoint.
IDLE = ("save_strategy", "save_steps")
IDLE_WITHOUT_CHOICE = ("eval_strategy", "eval_steps", "eval_delay", "eval_on_start")


def set_apart(runs, defaults=None):
    """Runs with the settings in their factors in which trainings of one name differ, as `learning_rate 3e-05`: {path: content}.

    Two trainings have one name if base model, phase, task and factors agree, and something is evaluated behind both. What they
    were told is known of those that are among `runs`; it is added to their record in every lineage, but for what changes no
    result: when checkpoints are saved, and when a training is evaluated whose last step is taken. Of an option that only some of
    the versions had, the others have the default (`identity.is_default`).
    """
    known, added = {}, {}
    used = {
        training_key(record)
        for run in runs.values()
        if run["phase"] in ("eval", "retrieval")
        for record in run["lineage"][1:]
        if record.get("fingerprint")
    }
    for run in runs.values():
        if run["phase"] in ("intermediate", "target") and training_key(record := run["lineage"][-1]) in used:
            name = (base_of(run), run["phase"], run["task"], *record.get("factors", ()))
            told = run.get("identity", {}).get("arguments", {})
            idle = IDLE if told.get("load_best_model_at_end") else (*IDLE, *IDLE_WITHOUT_CHOICE)
            own = {option: value for option, value in told.items() if option not in idle}
            known.setdefault(name, {})[training_key(record)] = own
    for trainings in known.values():
        options = {option for own in trainings.values() for option in own} - {"seed", "data_seed"}
        varied = sorted(o for o in options if _varies(o, trainings.values(), defaults or {}))
        for training, own in trainings.items():
            told = [option for option in varied if own.get(option) is not None]
            derived = {"max_steps"} if own.get("max_steps_per_task") else set()
            added[training] = [f"{option} {own[option]}" for option in told if option not in derived]
    return {
        path: {**run, "lineage": [_with_factors(each, added) for each in run["lineage"]]} for path, run in runs.items()
    }


def training_key(record):
    """What identifies a training in lineages. Weights alone do not: XNLI is trained as MNLI is, and may end at the same."""
    return record.get("phase"), record.get("task"), record.get("fingerprint")


def _varies(option, trainings, defaults):
    """Whether trainings, by their arguments, differ in an option."""
    known = [own[option] for own in trainings if option in own]
    others = (
        [] if len(known) == len(trainings) else [value for value in known if not is_default(option, value, defaults)]
    )
    return len({json.dumps(value, sort_keys=True) for value in known}) > 1 or bool(others)


def _with_factors(record, added):
    more = added.get(training_key(record))
    return {**record, "factors": [*record.get("factors", ()), *more]} if more else record


def unique(runs, place_of):
    """{place_of(run): run}. Raises UserError where two of `runs`, {path: content}, have the same place."""
    found, paths = {}, {}
    for path, run in runs.items():
        place = place_of(run)
        if place in found:
            raise UserError(_both(path, paths[place], place))
        found[place], paths[place] = run, path
    return found


def _both(path, other, place):
    named = " > ".join(str(part) for part in place if part != UNTRAINED)
    return f"{path} and {other} are both {named}; give folders that hold one of them"


def seed_of(run):
    """The seed behind a run; UNTRAINED for that of an encoder as it was published, which is the same with each."""
    return run["seed"] if len(run["lineage"]) > 1 else UNTRAINED


def scored(runs):
    """Evaluations and retrievals: {(base model, row, column, seed): content}. Raises UserError as `unique`.

    Of retrievals that found the same, and only compare their encoder with different ones, one counts.
    """
    found = {}
    for path, run in runs.items():
        if run.get("phase") in ("eval", "retrieval"):
            found.setdefault(_found(run) if run["phase"] == "retrieval" else path, path)
    own = {path: runs[path] for path in found.values()}
    return unique(own, lambda run: (base_of(run), row_of(run), column_of(run), seed_of(run)))


def _found(run):
    """What a retrieval found with which encoder and layer, as text."""
    return json.dumps([run["lineage"], seed_of(run), row_of(run), column_of(run), run["scores"]], sort_keys=True)


def weights_moved(runs):
    """Training runs that say how far their weights moved: {base model: {training: {row: [{part: change}, one a seed]}}}.

    Raises UserError as `unique`.
    """
    runs, moved = {path: run for path, run in runs.items() if run.get("weight_change")}, {}
    places = unique(runs, lambda run: (base_of(run), trained_in(run), row_of(run), run["seed"]))
    for (base, training, row, _), run in places.items():
        moved.setdefault(base, {}).setdefault(training, {}).setdefault(row, []).append(run["weight_change"])
    return moved


def vectors_moved(runs):
    """Retrievals that compared encoders: {comparison: {row: {language: [[CKA by layer], one a seed]}}}.

    Of runs that search with different layers any will do: their comparison is the same. Raises UserError where it is not.
    """
    compared, moved = {}, {}
    for path, run in runs.items():
        if run.get("cka"):
            place = compared_in(run), row_of(run), seed_of(run)
            first, cka = compared.setdefault(place, (path, run["cka"]))
            if not _alike(run["cka"], cka):
                raise UserError(_both(path, first, place))
    for (comparison, row, _), (_, cka) in compared.items():
        for language, values in cka.items():
            moved.setdefault(comparison, {}).setdefault(row, {}).setdefault(language, []).append(values)
    return moved


def scores_by_layer(runs):
    """Retrievals that searched with several layers: {(base model, row, task): {language: [{"seed": its seed, "layer": its layers,
    "metric": the name of the run's score, and by name every score at each of them}]}}. Of several of one seed, that with the most
    layers counts."""
    places, found = {}, {}
    for run in sorted((run for run in runs.values() if "by_layer" in run), key=lambda run: len(run["layers"])):
        places[base_of(run), row_of(run), searched_in(run), seed_of(run)] = run
    for (*place, seed), run in sorted(places.items(), key=lambda item: item[0]):
        for language, curves in run["by_layer"].items():
            named = {
                "seed": None if seed == UNTRAINED else seed,
                "layer": run["layers"],
                "metric": run["metric"],
                **curves,
            }
            found.setdefault(tuple(place), {}).setdefault(language, []).append(named)
    return found


def remarks(runs):
    """What a reader has to know of some of the runs, a line each: other protocols, and checkpoints chosen on what is reported."""
    found = {f"{row_of(run)}: {warning}." for run in runs for warning in run.get("warnings", ())}
    for run in runs:
        for record in run["lineage"]:
            if (selection := record.get("selection")) in LEAKY:
                behind = column_of(run) if record is target_record(run) else f"{row_of(run)}, {column_of(run)}"
                found.add(f"{behind}: the checkpoint was chosen on {LEAKY[selection]}, so this is no zero-shot result.")
    return sorted(found)


def data_remarks(runs):
    """What the runs say of the rows that they scored, a line each: how they differ from the benchmark's."""
    return list(dict.fromkeys(f"{remark}." for run in runs for remark in run.get("remarks", ())))


def _alike(cka, other):
    """Whether two comparisons are of the same languages and sentences, up to rounding."""
    same = cka.keys() == other.keys()
    return same and all(abs(a - b) < ROUNDING for name in cka for a, b in zip(cka[name], other[name], strict=True))


# ---- labels ---------------------------------------------------------------------------------------------------------


def base_of(run):
    """The base model, by name and fingerprint: two encoders of one name are two encoders."""
    return _named(run["lineage"][0]["base_model"], run["lineage"][0]["fingerprint"])


def _named(model, fingerprint):
    return f"{model} ({fingerprint[:6]})" if fingerprint else model


def row_of(run):
    """The tasks between the base model and the target, `none` if there are none, and what of them was transferred."""
    records, target = run["lineage"][1:], target_record(run)
    labels = [(each["task"], each["factors"]) for each in (records[:-1] if target else records)] or [("none", [])]
    task, factors = labels.pop()
    taken = [*(target or {}).get("factors", ()), *(run.get("factors", ()) if run["phase"] != "target" else ())]
    transferred = dict.fromkeys(each for each in taken if each.startswith(TRANSFER))
    row = " > ".join(_label(*label) for label in [*labels, (task, [*factors, *transferred])])
    return row if target or run["phase"] != "eval" else f"{row} (no target training)"


def column_of(run):
    """The target task, with what else a score depends on: the layer of an embedding, how the target was trained, a split that is
    not the test set."""
    target, split = target_record(run), run.get("split", "test")
    factors = [factor for factor in target["factors"] if not factor.startswith(TRANSFER)] if target else []
    if run["phase"] == "retrieval":
        return searched_in(run, f"layer {run['layer']}")
    evaluated = [factor for factor in run.get("factors", ()) if run["phase"] == "eval" and factor not in factors]
    return _label(run["task"], factors + evaluated + [split] * (split != "test"))


def searched_in(run, *first):
    """A retrieval task, with what its score depends on: how the encoder was trained for it, and how it was used."""
    factors = [*(target_record(run) or {}).get("factors", ()), *run.get("factors", ())]
    own = [
        factor for factor in factors if not factor.startswith((TRANSFER, COMPARED)) and factor != f"layer{run['layer']}"
    ]
    return _label(run["task"], [*first, *own])


def trained_in(run):
    """Which training a run is, and for a target which."""
    return "intermediate training" if run["phase"] == "intermediate" else f"{column_of(run)} target training"


def compared_in(run):
    """On which sentences a retrieval compared encoders, and with which other one its own."""
    other, base = _named(run["compared_with"]["model"], run["compared_with"].get("fingerprint")), base_of(run)
    return f"{run['task']}, {'' if other == base else f'{base} '}compared with {other}"


def in_order(names, order):
    """Names sorted by their position in `order`, or that of their first word, unknown ones last, and numbers in them by size."""
    return sorted(names, key=lambda name: rank(name, order))


def rank(name, order):
    """The key that `in_order` sorts by."""
    first, parts = name.split()[0], re.split(r"(\d+)", name)  # every other part is a number
    numbered = [int(part) if place % 2 else part for place, part in enumerate(parts)]
    known = next((each for each in (name, first) if each in order), None)
    return len(order) if known is None else order.index(known), numbered


def _label(task, factors):
    """A task, with what sets its run apart."""
    return task + (f" ({', '.join(factors)})" if factors else "")


def target_record(run):
    """The record of the target training behind an evaluation, or that a target run is; None if there is none."""
    return run["lineage"][-1] if run["phase"] == "target" else trained_for(run["phase"], run["task"], run["lineage"])
