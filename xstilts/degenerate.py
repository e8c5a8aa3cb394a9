"""Degenerate runs: trainings that learned nothing or broke, and evaluations that give a whole language one label.

Pure functions of the content of a run.json, for the run that is being closed and for the report, which reads older ones too.
"""

import math
from collections import Counter
from itertools import chain, pairwise

CLEAR = 2.0  # standard errors of a selection set above chance
MARGIN = 1.0  # points above chance, for scores whose chance is 0
END = 0.2  # of the steps of a training: its end, for the loss
FLAT = 0.005  # share of the loss of who knows how frequent labels are
FLAT_UNLABELLED = 0.05  # share of the first logged loss, where no such loss is known
KNOWS = 10.0  # points above chance from which on a model knows something, whatever its loss does
FEWEST = 10  # predictions: one label for fewer may be luck


def reasons(run):
    """Why a run is degenerate, in words, the task first; [] where it is not, or nobody knows. A run that says so itself is taken
    at its word, of an older one it is found out.

    at chance         the dev score is within CLEAR standard errors of chance, or MARGIN points
    diverged          the loss ended higher than it began, or is not finite
    loss flat         see `is_flat`
    dev ... not finite  a score or the loss on the selection set is nan or infinite, in the end or on the way
    A run of several tasks is at chance where all of them are; where some are, the encoder has learned from the others
    (`tasks_at_chance` names them).
    """
    if "degenerate" in run:
        return run["degenerate"]
    if run.get("phase") not in ("intermediate", "target"):
        return []
    name, known = run.get("task"), _measured(run)
    found = [f"{name} diverged"] if is_diverged(run) else [f"{name} loss flat"] if is_flat(run, known) else []
    low = tasks_at_chance(run)
    chance = [f"{task} at chance" for task in low] if len(low) == len(known) else []
    return [*chance, *found, *(f"{task} dev {score} not finite" for task, score in _not_finite(run))]


def advice(reason):
    """What to try, for one of `reasons` of a training or an evaluation."""
    if reason.startswith("constant predictions"):
        return "reports mark it; what the training of this checkpoint printed says what may help"
    if reason.endswith(("at chance", "flat")):
        return "reports mark it; more rows or steps, or another --learning_rate or --seed may help"
    return "reports mark it; a lower --learning_rate or a longer warm-up may help"


def tasks_at_chance(run):
    """Names of the tasks of a training that ended at chance on their selection sets, where the run says what chance is."""
    if run.get("phase") not in ("intermediate", "target"):
        return []
    return [task for task, own in _measured(run).items() if None not in own and _at_chance(*own)]


def is_diverged(run):
    """Whether the mean loss of the last steps is above that of the first logged entry, or any is not finite."""
    curve = run.get("loss_curve", ())
    return any(not math.isfinite(loss) for _, loss in curve) or (len(curve) > 2 and _end_of(curve) > curve[0][1])


def is_flat(run, known):
    """Whether the loss ended where it stands for who has learned nothing; `known` is {task: (score, chance, rows)}.

    Of one task with labels that is the entropy of the training labels: what is paid for knowing how frequent they are. A loss
    within FLAT of it is flat; half a percent below three equally frequent labels is what a calibrated model pays that is right 5
    points more often than chance. So a kept head that begins low is not flat, and a fresh one that only falls from the log of the
    number of labels to their entropy is. Answers, documents and mixtures of tasks have no such loss: there the first logged entry
    stands for it, with FLAT_UNLABELLED, since it falls a little where only the usual places of answers are learned.
    In no case a run is flat of which a task stands KNOWS points above chance: it has learned within the first entry, or before.
    (Below that it need not know anything: answers drawn at random have an F1 of 5 to 7 on SQuAD, and their chance is 0.)
    """
    curve, scored = run.get("loss_curve", ()), [own for own in known.values() if None not in own]
    if len(curve) < 3 or not scored or any(score >= chance + KNOWS for score, chance, _ in scored):
        return False
    bits = _entropy(run)
    level = curve[0][1] * (1 - FLAT_UNLABELLED) if bits is None else bits * math.log(2) * (1 - FLAT)
    return _end_of(curve) >= level


def _entropy(run):
    """Of the training labels in bits; None without labels, for several tasks, text among them, and in older run.json files."""
    measured = [*run.get("complexity", {}).values()]
    if "mixture" in run or len(measured) > 1:
        return None
    return run.get("label_entropy_bits", measured[0].get("label_entropy_bits") if measured else None)


def _end_of(curve):
    """Mean loss of the last steps of a training; an entry is the mean since the one before it, the last often of few steps."""
    counted = [
        (step - before, loss) for (before, _), (step, loss) in pairwise(curve) if step > (1 - END) * curve[-1][0]
    ]
    return sum(steps * loss for steps, loss in counted) / sum(steps for steps, _ in counted)


def _measured(run):
    """{task: (score on the selection set, chance, number of selection rows)}; None where a run does not say."""
    measured, scores = run.get("complexity", {}), run.get("dev_scores", {})
    if len(measured) > 1:
        return {
            task: (scores.get(task, {}).get(own.get("metric")), own.get("chance"), own.get("dev_rows"))
            for task, own in measured.items()
        }
    own = next(iter(measured.values()), {})
    rows = [each["rows"] for each in run.get("data", ()) if each["split"] == "validation" and each.get("task") != "mlm"]
    chance = run.get("chance", own.get("chance"))
    return {run.get("task"): (scores.get(run.get("metric")), chance, own.get("dev_rows", sum(rows)))}


def _at_chance(score, chance, rows):
    share = min(1, max(0, chance / 100))
    error = 100 * math.sqrt(share * (1 - share) / rows) if rows else 0
    return score <= chance + max(MARGIN, CLEAR * error)


def _not_finite(run):
    """(task, score) of what is nan or infinite on the selection set; in `dev_curve` tasks stand before their scores."""
    nested = {task: own for task, own in run.get("dev_scores", {}).items() if isinstance(own, dict)}
    last = [(f"{task}_{name}", value) for task, own in nested.items() for name, value in own.items()]
    last += [(name, value) for name, value in run.get("dev_scores", {}).items() if name not in nested]
    curve = chain.from_iterable(entry.items() for entry in run.get("dev_curve", ()))
    names = [name for name, value in [*last, *curve] if isinstance(value, float) and not math.isfinite(value)]
    for name in dict.fromkeys(names):
        task = next((task for task in nested if name.startswith(f"{task}_")), None)
        yield (task, name.removeprefix(f"{task}_")) if task else (run.get("task"), name)


# ---- evaluations ----------------------------------------------------------------------------------------------------


def is_constant(predictions, gold):
    """Whether all predictions of a language, labels or lists of tags, are one and the same label although its gold labels are
    not. False for fewer than FEWEST."""
    found, right = (Counter(chain.from_iterable(map(_labels, side))) for side in (predictions, gold))
    return found.total() >= FEWEST and len(found) == 1 < len(right)


def _labels(prediction):
    return (prediction,) if isinstance(prediction, str) else prediction


def constant_languages(scores):
    """Languages of {language: scores} whose predictions are constant."""
    return [language for language, own in scores.items() if own.get("constant_predictions")]


def of_evaluation(scores):
    """The same as a list of reasons, for run.json."""
    found = constant_languages(scores)
    return [f"constant predictions in {', '.join(found)}"] if found else []


def has_failed(run):
    """Whether an evaluation says nothing about transfer: predictions are constant in the source language, or in all. In others
    they may be what transfer comes to there, and a mean without them would be too high."""
    found = constant_languages(run["scores"])
    return bool(found) and (run.get("source_language") in found or len(found) == len(run["scores"]))
