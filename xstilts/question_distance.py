"""Question 4: whether linguistic distance from English predicts what zero-shot transfer loses, without and with training."""

import pandas as pd

from xstilts.answer import ENGLISH, Answer
from xstilts.correlations import partial_spearman, spearman
from xstilts.errors import UserError
from xstilts.language_facts import DISTANCES
from xstilts.point_plots import plot_distance
from xstilts.regressions import interaction_model
from xstilts.score_table import NONE
from xstilts.statistics import holm
from xstilts.wording import correlation_text, estimate_text, listed

ON_RHO = (
    "Of each classification task, Spearman's rho over languages: positive where farther languages lose more. In brackets its "
    "95 percent interval, over other languages, and p before correction for the number of tests."
)


def distance(table, facts, options):
    """Loss of zero-shot transfer on classification by distance from English, without and with intermediate training."""
    own = table[(table["group"] == "classification") & (table["source"] == ENGLISH) & table["loss"].notna()]
    own, lost = own[own["language"] != ENGLISH], sorted(set(own["language"]) - {*facts.index, ENGLISH})
    own = own[own["language"].isin(facts.index)]
    known = [name for name in DISTANCES if facts.loc[facts.index.isin(own["language"]), name].nunique() > 1]
    if own.empty or not known:
        return None
    main = options.get("distance") or known[0]
    if main not in known:
        raise UserError(
            f"--distance {main} is not known of {listed(sorted(set(own['language'])))}; known are {listed(known)}"
        )
    correlations, points = _correlations(own, facts, known), _points_of(own, facts, known)
    models = {row: _model(own, facts, main, row) for row in own["row"].unique() if row != NONE}
    sentences = [ON_RHO, *(_distance_sentence(column, main, correlations) for column in own["column"].unique())]
    sentences += [_model_sentence(main, row, *model) for row, model in models.items()]
    if lost:
        sentences.append(f"Left out, because the file of language facts lacks them: {listed(lost)}.")
    if without := sorted(set(own.loc[own["loss_from"] == "dev", "column"])):
        verb = "has" if len(without) == 1 else "have"
        sentences.append(f"{listed(without)} {verb} no English test set: losses are against the English selection set.")
    return Answer(
        sentences=sentences,
        plots=_plots(points, correlations, main),
        tables=_tables(points, correlations, main, models),
    )


def _plots(points, correlations, main):
    """A figure for each intermediate training, or one of none."""
    rows, plots = [name for name in points["row"].unique() if name != NONE] or [NONE], {}
    for row in rows:
        panels, notes = _distance_panels(points, correlations, main, row)
        if not panels:
            continue  # nothing is known of the distance of its languages
        after = f" and after {row}" if row != NONE else ""
        caption = (
            f"What zero-shot transfer loses by {main} distance from English, without intermediate training{after}: a point is "
            "the mean over seeds in one language, lines are least squares"
        )
        drawn = {"panels": panels, "labels": (NONE, row if row != NONE else ""), "notes": notes}
        plots["distance" if len(rows) == 1 else f"distance-{row}"] = plot_distance, drawn, caption, "distance"
    return plots


def _tables(points, correlations, main, models):
    own = {"column": "target", "row": "intermediate"}
    caption = (
        "Spearman's correlation of loss and distance over languages: intervals by bootstrap over languages, p by permutation "
        "and, as p holm, corrected over this table; partial: beside the controls"
    )
    tables = {"distance-correlations": (caption, correlations.rename(columns=own))}
    if parts := [part for row, (model, _) in models.items() if model for part in _coefficients(main, row, model)]:
        caption = (
            "Model of the score, mean over seeds, on distance x intermediate training, with an intercept for each target: points "
            "per unit of distance without the training, points of the training at distance 0, and points per unit that it adds"
        )
        tables["distance-models"] = caption, pd.DataFrame(parts)
    return {**tables, "distance": ("Losses and distances, means over seeds", points.rename(columns=own))}


def _points_of(own, facts, known):
    """A row per column, row and language: mean loss over seeds, beside the language's facts."""
    keys = ["column", "row", "language"]
    means = own.groupby(keys, as_index=False, sort=False)[["loss", "subwords_per_word"]].mean()
    return means.join(facts[[*known, "cc100_gib", "script"]], on="language")


def _correlations(own, facts, known):
    rows = []
    for (column, row), points in _points_of(own, facts, known).groupby(["column", "row"], sort=False):
        for name in known:
            some = points[points[name].notna()]
            found = spearman(some[name].tolist(), some["loss"].tolist())
            controls = _controls(some)
            partial = partial_spearman(some[name].tolist(), some["loss"].tolist(), controls) if controls else None
            rows.append(
                {"target": column, "row": row, "distance": name, "languages": found.n, "rho": found.rho, "low": found.low,
                 "high": found.high, "p": found.p, "p_holm": None, "controls": ", ".join(controls),
                 "partial_rho": partial and partial.rho, "partial_p": partial and partial.p,
                 "note": found.note or (partial.note if partial else "")}
            )  # fmt: skip
    table = pd.DataFrame(rows)
    table["p_holm"] = pd.Series(holm(table["p"].tolist()), dtype=float)
    return table


def _controls(points):
    """What might stand behind a correlation with distance, where it is known of all languages and varies."""
    known = {name: points[name] for name in ("cc100_gib", "script", "subwords_per_word")}
    return {name: each.tolist() for name, each in known.items() if each.notna().all() and each.nunique() > 1}


def _distance_panels(points, correlations, main, row):
    panels, notes = {}, {}
    known = points[points[main].notna()]
    for column, own in known[known["column"].isin(known.loc[known["row"] == row, "column"])].groupby(
        "column", sort=False
    ):
        found = correlations[(correlations["target"] == column) & (correlations["distance"] == main)].set_index("row")
        for time, name in (("before", NONE), ("after", row))[: 1 + (row != NONE)]:
            losses = own[own["row"] == name]
            panels.setdefault(column, {})[time] = [
                *losses[["language", main, "loss"]].itertuples(index=False, name=None)
            ]
        rhos = [
            f"{name}: rho = {found.loc[name, 'rho']:.2f}"
            for name in dict.fromkeys((NONE, row))
            if name in found.index and pd.notna(found.loc[name, "rho"])
        ]
        notes[column] = "\n".join(rhos)
    return panels, notes


def _distance_sentence(column, main, correlations):
    own = correlations[(correlations["target"] == column) & (correlations["distance"] == main)]
    parts = [
        f"{correlation_text(each)} {'without intermediate training' if each.row == NONE else f'after {each.row}'}"
        for each in own.itertuples()
    ]
    return f"**{column}**: rho of loss and {main} distance is {'; '.join(parts)}."


def _model(own, facts, main, row):
    """(interaction model, number of targets) of the means over seeds, in the languages of each target that were scored both
    without and with the training; (None, 0) where none was. Means, because seeds are no further evidence on languages."""
    both = own[own["row"].isin([NONE, row])].join(facts[[main]], on="language").dropna(subset=[main])
    both = both.groupby(["column", "language", "row", main], as_index=False, sort=False)["score"].mean()
    both = both[both.groupby(["column", "language"])["row"].transform("size") == 2]
    if both.empty:
        return None, 0
    both = both.assign(treated=(both["row"] == row).astype(int), distance=both[main], task=both["column"])
    return interaction_model(both), both["column"].nunique()


def _coefficients(main, row, model):
    parts = {main: model.distance, row: model.treated, f"{main} x {row}": model.interaction}
    for name, each in parts.items():
        known = {key: getattr(each, key) for key in ("value", "low", "high", "p")} if each else {}
        yield {"intermediate": row, "coefficient": name, **dict.fromkeys(("value", "low", "high", "p")), **known,
               "scores": model.rows, "languages": model.languages, "model": model.model, "note": model.note}  # fmt: skip


def _model_sentence(main, row, model, targets):
    if model is None:
        return f"Whether {row} changes what distance costs: no target was scored without it."
    found = model.interaction
    if found is None:
        return f"Whether {row} changes what distance costs: no model ({model.note})."
    if found.low <= 0 <= found.high:
        verdict = f"no evidence that {row} changes what distance costs"
    else:
        verdict = f"after {row} distance costs {'less' if found.value > 0 else 'more'}"
    return (
        f"Over {targets} {'target' if targets == 1 else 'targets'}, a unit of {main} distance goes with "
        f"{estimate_text(model.distance)} without {row}; {row} adds "
        f"{estimate_text(found)} to that ({model.model}): {verdict}."
    )
