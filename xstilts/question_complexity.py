"""Question 5: whether the complexity of the intermediate task changes the gap between the source language and the others."""

import pandas as pd

from xstilts.answer import Answer, in_common, pooled, whole
from xstilts.correlations import spearman
from xstilts.point_plots import plot_complexity
from xstilts.score_table import NONE
from xstilts.statistics import t_interval
from xstilts.wording import correlation_text, plain


def complexity(table, facts, options):
    """The gap between the source language and the others by the complexity of the one intermediate task."""
    own = table[(table["phase"] == "eval") & table["loss"].notna() & (table["language"] != table["source"])]
    single = whole(own[(own["number"] == 1) & own["bits"].notna()])
    single = single[single.groupby("column")["tasks"].transform("nunique") > 2]
    if single.empty:
        return None
    single, apart = in_common(single, "column", "source")
    if single.empty:
        return Answer(sentences=apart)
    answer, panels, none, rows = Answer(), {}, {}, []
    for (column, source), runs in single.groupby(["column", "source"], sort=False):
        title = f"{column}, from {source}"
        codes = set(runs["language"])
        base = own[(own["column"] == column) & (own["row"] == NONE) & own["language"].isin(codes)]
        base = base[base.groupby("path")["language"].transform("nunique") == len(codes)]
        if len(base):
            none[title] = base["loss"].mean()
        for tasks, each in runs.groupby("tasks", sort=False):
            gaps = each.groupby("path")["loss"].mean()
            interval = t_interval(gaps.tolist())[0] or (None, None)
            panels.setdefault(title, []).append((tasks, each["bits"].mean(), gaps.mean(), *interval))
            rows.append({"target": column, "source": source, "task": tasks, "bits": each["bits"].mean(), "gap": gaps.mean(),
                         "low": interval[0], "high": interval[1], "seeds": len(gaps),
                         "gap_without": none.get(title)})  # fmt: skip
        answer.sentences.append(_complexity_sentence(column, source, panels[title], none.get(title)))
    answer.sentences += apart + pooled(single, "column", "source", "tasks")
    name = "prequential bits per example"
    caption = (
        "Gap between the source language and the mean of the others, by the complexity of the intermediate task: means over "
        "seeds, with 95 percent intervals (Student's t over seeds), and a least-squares line through the means."
    )
    answer.plots["complexity"] = plot_complexity, {"panels": panels, "name": name, "none": none}, caption, "complexity"
    answer.tables["complexity"] = "Complexity of the intermediate task and gap, means over seeds", pd.DataFrame(rows)
    return answer


def _complexity_sentence(column, source, tasks, without):
    found = spearman([bits for _, bits, *_ in tasks], [gap for _, _, gap, *_ in tasks])
    gaps = {name: gap for name, _, gap, *_ in tasks}
    least, most = min(gaps, key=gaps.get), max(gaps, key=gaps.get)
    beside = f"; without intermediate training it is {plain(without)}" if without is not None else ""
    return (
        f"**{column}** learnt from {source}: over {len(tasks)} intermediate tasks, Spearman's rho of gap and complexity is "
        f"{correlation_text(found)}. The gap is smallest after {least} ({plain(gaps[least])} points) and largest after {most} "
        f"({plain(gaps[most])}){beside}."
    )
