"""Question 4: whether linguistic distance from English predicts the transfer gap, and whether intermediate training changes that.

Every target by itself: targets have different languages, and what training gives a language it gives it in all of them, which a
pooled model takes for evidence on distance (at a true 0, one with an intercept for each language rejected in 4, 8 and 13 percent
of 400 simulations where languages' gains had a deviation of 0, 1 and 2 points). A language counts once, whatever the number of
seeds. Only the syntactic distance is tested, or that of --distance_file; the others are exploratory and have no p.
"""

import pandas as pd

from xstilts.answer import ENGLISH, Answer
from xstilts.base import UserError
from xstilts.correlations import partial_spearman, pearson, smallest_significant, spearman_rho
from xstilts.language_facts import DISTANCES, OWN_DISTANCE
from xstilts.point_plots import plot_distance
from xstilts.regressions import Estimate, line
from xstilts.score_table import NONE
from xstilts.statistics import holm
from xstilts.wording import estimate_text, listed, p_text, plain, signed

TESTED = "syntactic"
CONTROLS = {"cc100_gib": "partial_cc100", "subwords_per_word": "partial_fertility"}
LEVEL = 0.05  # of significance, after Holm's correction
METHOD = (
    "Each classification target by itself, over its languages other than English. A language's transfer gap is English's score "
    "minus its own: positive correlations mean that farther languages have larger gaps. p is two-sided, of Pearson's r and of "
    "the slope; corrected is by Holm over targets and trainings. Languages of one family are not independent, which no p value "
    "here takes into account: compare the number of families."
)


def distance(table, facts, options):
    """The transfer gap on classification by distance from English, without and after intermediate training.

    options     `distance`: which one the plots show; `distance_source`: a sentence on where the tested one is from; `asked`:
                whether to say, too, why there is no answer
    Where `facts` have a column OWN_DISTANCE, that one is tested.
    """
    own = table[(table["group"] == "classification") & (table["source"] == ENGLISH) & table["loss"].notna()]
    own = own[own["language"] != ENGLISH]
    lost = sorted(set(own["language"]) - {*facts.index})
    own = own[own["language"].isin(facts.index)]
    there = facts[facts.index.isin(own["language"])]
    known = [name for name in (OWN_DISTANCE, *DISTANCES) if name in there and there[name].nunique() > 1]
    if own.empty or not known:
        return None
    tested = OWN_DISTANCE if OWN_DISTANCE in facts else TESTED
    shown = options.get("distance") or (tested if tested in known else known[0])
    if shown not in known:
        raise UserError(
            f"--distance {shown} is not known of {listed(sorted(set(own['language'])))}; known are {listed(known)}"
        )
    points = _points_of(own, facts, known)
    correlations, changes, others = _correlations(points, tested), _changes(points, tested), _exploratory(points, known)
    if not options.get("asked", True) and not _has(others, "pearson"):
        return None
    return Answer(
        sentences=[
            *_sentences(tested, correlations, changes, points),
            *_remarks(own, lost, options.get("distance_source")),
        ],
        plots=_plots(points, others, shown),
        tables=_tables(points, tested, correlations, changes, others[others["distance"] != tested]),
    )


def _points_of(own, facts, known):
    """A row per column, row and language: mean over seeds of the gap, of the seed-paired gain and of subwords per word, beside
    the language's facts. A language without relatives is a family of its own."""
    keys = ["column", "row", "language"]
    own = own.assign(gain=own["gain"].where(own["row"] != NONE), sound=own["flag"] == "")
    means = own.groupby(keys, as_index=False, sort=False)[["loss", "gain", "subwords_per_word", "sound"]].mean()
    points = means.join(facts[[*known, "cc100_gib", "family"]], on="language")
    alone = points["family"].isin(["", "isolate"])
    return points.assign(family=points["family"].where(~alone, points["language"]))


def _by_run(points, name):
    """((target, row), points with a known distance `name`) of each target and training."""
    known = points[points[name].notna()] if name in points else points[:0]
    return known.groupby(["column", "row"], sort=False)


# ---- what is tested ---------------------------------------------------------------------------------------------------


def _correlations(points, tested):
    """A DataFrame with a row per target and training: the gap and the tested distance over languages."""
    rows = [_correlation(*place, own, tested) for place, own in _by_run(points, tested)]
    return _with_holm(rows)


def _correlation(column, row, own, tested):
    far, gap = own[tested].tolist(), own["loss"].tolist()
    r, p = pearson(far, gap)
    partial, divided = {}, own[own["subwords_per_word"].notna()]
    for (control, name), known in zip(CONTROLS.items(), (own, divided), strict=True):
        partial[name] = partial_spearman(known[tested].tolist(), known["loss"].tolist(), known[control].tolist())
    return {
        "target": column, "intermediate": row, "languages": len(own), "families": own["family"].nunique(),
        "smallest_significant_r": smallest_significant(len(own)), "pearson": r, "p": p, "p_holm": None,
        "spearman": spearman_rho(far, gap), **partial, "languages_with_fertility": len(divided),
    }  # fmt: skip


def _changes(points, tested):
    """A DataFrame with a row per target and training: how the gain over no intermediate training changes with distance."""
    rows = [_change(*place, own, tested) for place, own in _by_run(points[points["gain"].notna()], tested)]
    return _with_holm(rows)


def _change(column, row, own, tested):
    found = line(own[tested].tolist(), own["gain"].tolist())
    without = {family: _slope(own[own["family"] != family], tested) for family in own["family"].unique()}
    slopes = [slope for slope in without.values() if slope is not None]
    complete = slopes and len(slopes) == len(without)
    value, low, high, p = (found.value, found.low, found.high, found.p) if found else (None,) * 4
    return {
        "target": column, "intermediate": row, "languages": len(own), "families": own["family"].nunique(), "slope": value,
        "low": low, "high": high, "p": p, "p_holm": None,
        "lowest_without_a_family": min(slopes) if complete else None,
        "highest_without_a_family": max(slopes) if complete else None, "sound": own["sound"].max() > 0,
    }  # fmt: skip


def _slope(points, tested):
    found = line(points[tested].tolist(), points["gain"].tolist())
    return found and found.value


def _with_holm(rows):
    """Rows as a DataFrame, p corrected over all of them."""
    table = pd.DataFrame(rows)
    if len(table):
        table["p_holm"] = pd.Series(holm(table["p"].tolist()), dtype=float)
    return table


def _exploratory(points, known):
    """A DataFrame with a row per target, training and distance, without tests."""
    return pd.DataFrame(
        {"target": column, "intermediate": row, "distance": name, "languages": len(own),
         "pearson": pearson(own[name].tolist(), own["loss"].tolist())[0],
         "spearman": spearman_rho(own[name].tolist(), own["loss"].tolist()),
         "slope_of_gain": _slope(own[own["gain"].notna()], name)}
        for name in known for (column, row), own in _by_run(points, name)
    )  # fmt: skip


# ---- in words, tables and plots ---------------------------------------------------------------------------------------


def _sentences(tested, correlations, changes, points):
    if not len(correlations):
        return [f"The {tested} distance of these languages is not known, so that nothing is tested."]
    found = [METHOD]
    found += [_correlation_sentence(tested, *each) for each in correlations.groupby("target", sort=False)]
    found += [_change_sentence(tested, each) for each in changes.itertuples()]
    compared = {(each.target, each.intermediate) for each in changes.itertuples()}
    for column, row in points[["column", "row"]].drop_duplicates().itertuples(index=False, name=None):
        if row != NONE and (column, row) not in compared:
            found.append(f"**{column}** was not scored without {row}, so that a change is not known.")
    return found


def _correlation_sentence(tested, column, own):
    sizes = own.drop_duplicates(["languages", "families"])
    reach = "; ".join(
        f"{each.languages} languages of {each.families} {'family' if each.families == 1 else 'families'}"
        + ("" if pd.isna(each.smallest_significant_r) else f", |r| significant from {each.smallest_significant_r:.2f}")
        for each in sizes.itertuples()
    )
    parts = [
        f"{_r_text(each)} {'without intermediate training' if each.intermediate == NONE else f'after {each.intermediate}'}"
        for each in own.itertuples()
    ]
    return f"**{column}** ({reach}): gap and {tested} distance correlate with {'; '.join(parts)}."


def _r_text(each):
    if pd.isna(each.pearson):
        return "an unknown r (too few languages, or no differences)"
    return f"r = {plain(each.pearson, 2)} ({p_text(each.p)}, corrected {_bare(each.p_holm)}; rho = {plain(each.spearman, 2)})"


def _bare(p):
    return p_text(p).removeprefix("p = ").removeprefix("p ")


def _change_sentence(tested, each):
    where = f"**{each.target}** after {each.intermediate}"
    if pd.isna(each.slope):
        return f"{where}: {each.languages} languages do not allow a slope of the gain on distance."
    found = Estimate(each.slope, *(None if pd.isna(end) else end for end in (each.low, each.high)))
    return (
        f"{where}: the gain changes by {estimate_text(found)} per unit of {tested} distance ({p_text(each.p)}, corrected "
        f"{_bare(each.p_holm)}){_without_families(each)}: {_verdict(each)}."
    )


def _without_families(each):
    ends = each.lowest_without_a_family, each.highest_without_a_family
    if pd.isna(ends[0]):
        return " (too few languages to leave out a family)"
    return f", {signed(ends[0])} to {signed(ends[1])} leaving out one family at a time"


def _verdict(each):
    if not each.sound:
        return "all runs behind it are degenerate (see their list), so that nothing follows from it"
    if pd.isna(each.p_holm) or each.p_holm >= LEVEL:
        return f"no evidence that {each.intermediate} changes what distance costs"
    turns = pd.notna(each.lowest_without_a_family) and each.lowest_without_a_family * each.highest_without_a_family <= 0
    cost = "less" if each.slope > 0 else "more"
    return f"after {each.intermediate} distance costs {cost}" + ("; the sign depends on one family" if turns else "")


def _remarks(own, lost, source):
    found = [source] if source else []
    if lost:
        found.append(f"Left out, because the file of language facts lacks them: {listed(lost)}.")
    if without := sorted(set(own.loc[own["loss_from"] == "dev", "column"])):
        verb = "has" if len(without) == 1 else "have"
        found.append(f"{listed(without)} {verb} no English test set: gaps are to the score on the English dev set.")
    return found


def _tables(points, tested, correlations, changes, others):
    found = {}
    if _has(correlations, "pearson"):
        found["distance-correlations"] = (
            f"Transfer gap and {tested} distance over languages: Pearson's r with p, Spearman's rho, and partial rho with one "
            "control at a time: the language's size in CC-100 (of ranks, so that its logarithm is the same) and fertility, the "
            "subwords per word, over the languages that are written with spaces between words",
            correlations,
        )
    if _has(changes, "slope"):
        found["distance-changes"] = (
            f"Gain over no intermediate training, mean over seeds, on {tested} distance: slope in points per unit by least "
            "squares over languages, and its range when one family at a time is left out",
            changes.drop(columns="sound"),
        )
    if _has(others, "pearson"):
        found["distance-others"] = "Other distances: exploratory, not tested", others
    own = {"column": "target", "row": "intermediate", "loss": "transfer_gap"}
    return {
        **found,
        "distance": (
            "Transfer gaps, gains and distances, means over seeds",
            points.drop(columns="sound").rename(columns=own),
        ),
    }


def _has(table, column):
    """Whether anything is known of a column."""
    return len(table) > 0 and table[column].notna().any()


def _plots(points, others, shown):
    """A figure for each intermediate training, or one of none."""
    rows, plots = [name for name in points["row"].unique() if name != NONE] or [NONE], {}
    for row in rows:
        panels, notes = _panels(points, others, shown, row)
        if not panels:
            continue  # nothing is known of the distance of its languages
        after = f" and after {row}" if row != NONE else ""
        caption = (
            f"Transfer gap by {shown} distance from English, without intermediate training{after}: a point is the mean over "
            "seeds in one language, lines are least squares"
        )
        drawn = {"panels": panels, "labels": (NONE, row if row != NONE else ""), "notes": notes}
        plots["distance" if len(rows) == 1 else f"distance-{row}"] = plot_distance, drawn, caption, "distance"
    return plots


def _panels(points, others, shown, row):
    panels, notes = {}, {}
    known = points[points[shown].notna()]
    for column, own in known[known["column"].isin(known.loc[known["row"] == row, "column"])].groupby(
        "column", sort=False
    ):
        found = others[(others["target"] == column) & (others["distance"] == shown)].set_index("intermediate")[
            "pearson"
        ]
        for time, name in (("before", NONE), ("after", row))[: 1 + (row != NONE)]:
            gaps = own[own["row"] == name]
            panels.setdefault(column, {})[time] = [
                *gaps[["language", shown, "loss"]].itertuples(index=False, name=None)
            ]
        names = [name for name in dict.fromkeys((NONE, row)) if pd.notna(found.get(name))]
        notes[column] = "\n".join(f"{name}: r = {plain(found[name], 2)}" for name in names)
    return panels, notes
