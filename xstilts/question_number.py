"""Question 3: how scores change with the number of intermediate tasks, and how they spread over draws, seeds and languages."""

import pandas as pd

from xstilts.answer import Answer, baselines, in_common, pooled, run_means, scored, whole
from xstilts.regressions import slope
from xstilts.statistics import spread
from xstilts.study_plots import plot_number
from xstilts.wording import estimate_text


def number_of_tasks(table, facts, options):
    """Scores by the number of intermediate tasks, and how they spread over draws of tasks, seeds and languages."""
    own = whole(table[table["number"] > 0])
    own = own[own.groupby(["column", "budget"])["number"].transform("nunique") > 2]
    if own.empty:
        return None
    own = own.assign(budget=own["budget"].replace("", "by epochs"))
    own, apart = in_common(own, "column", "budget")
    answer, panels, none, rows = Answer(), {}, {}, []
    if own.empty:
        return Answer(sentences=apart)
    for (column, budget), runs in own.groupby(["column", "budget"], sort=False):
        by_number = run_means(runs, "number", "tasks")
        panels.setdefault(column, {})[_budget(budget)] = by_number.groupby("number")["score"].apply(list).to_dict()
        none[column] = baselines(table, column, runs["language"].unique())
        spreads = {number: spread(_spread_table(each)) for number, each in runs.groupby("number")}
        for number, each in by_number.groupby("number"):
            varied = spreads[number]
            rows.append(
                {"target": column, "budget": _budget(budget), "tasks": number, "draws": each["tasks"].nunique(), **scored(each),
                 "over_languages": varied.languages, "over_draws": varied.draws, "over_seeds": varied.seeds,
                 "worst_language": varied.worst_language, "worst_score": varied.worst_score}
            )  # fmt: skip
        answer.sentences.append(_number_sentence(column, _budget(budget), by_number, spreads))
    answer.sentences += apart + pooled(own, "column", "budget", "number", "tasks")
    caption = "Score by number of intermediate tasks: mean, and a band of one standard deviation over draws of tasks and seeds"
    answer.plots["number_of_tasks"] = plot_number, {"panels": panels, "none": none}, caption, "number_of_tasks"
    answer.tables["number_of_tasks"] = "Scores by number of tasks, and their standard deviations", pd.DataFrame(rows)
    return answer


def _budget(budget):
    return f"{budget} in all" if budget.endswith("steps") else budget


def _spread_table(runs):
    """Scores as `statistics.spread` reads them; a draw is what was drawn."""
    means = runs.groupby(["language", "tasks", "seed"], as_index=False)["score"].mean()
    return means.rename(columns={"tasks": "draw"})


def _number_sentence(column, budget, runs, spreads):
    found = slope(runs["number"].tolist(), runs["score"].tolist(), runs["tasks"].tolist())
    means = runs.groupby("number")["score"].mean()
    first, last = means.index[0], means.index[-1]
    drawn = next((number for number in means.index if spreads[number].draws is not None), first)
    some = spreads[drawn]
    return (
        f"**{column}**, {budget}: a doubling of the number of tasks changes the score by {estimate_text(found.per_doubling)}; "
        f"it is {means[first]:.1f} with {first} and {means[last]:.1f} with {last}. Standard deviations with {drawn}: "
        f"{_points(some.draws)} over draws, {_points(some.seeds)} over seeds, {_points(some.languages)} over languages; "
        f"the worst language with {last} tasks is {spreads[last].worst_language}, {spreads[last].worst_score:.1f}."
    )


def _points(deviation):
    return "unknown" if deviation is None else f"{deviation:.1f}"
