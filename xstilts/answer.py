"""What the answers to the research questions have in common: the form of an answer, and means and gains of runs.

An answer is a function of the rows of one base model on test sets (score_table.py), what is known about languages, and options;
None where the runs cannot answer. Sentences say what the figures say, with their intervals; none is written for a result that was
hoped for.
"""

from dataclasses import dataclass, field

from xstilts.score_table import NONE
from xstilts.statistics import gain, summary
from xstilts.wording import listed

ALL, ENGLISH = "all", "en"


@dataclass(kw_only=True)
class Answer:
    """What the section of one question is made of.

    sentences  paragraphs, the answer first
    plots      {name: (function that draws it, its arguments but the path, caption, name of the table it is drawn from)}
    tables     {name: (caption, DataFrame)}, numbers unrounded
    """

    sentences: list = field(default_factory=list)
    plots: dict = field(default_factory=dict)
    tables: dict = field(default_factory=dict)


def in_common(table, *columns):
    """(the rows in languages that all runs of a place scored, a sentence on each place where some lack one); places differ in
    `columns`. What differs between runs is not to be a difference between their languages."""
    places, several = table.groupby([*columns]), table.groupby([*columns, "language"])
    everywhere = several["path"].transform("nunique") == places["path"].transform("nunique")
    shared, sentences = table[everywhere], []
    for place, own in table[~everywhere].groupby([*columns], sort=False):
        name, lost = ", ".join(filter(None, place)), sorted(set(own["language"]))
        has_others = (shared[[*columns]] == place).all(axis=1).any()
        compared = f" is compared in the languages that all runs have, without {listed(lost)}."
        none = ": its runs have no language in common, and are not compared."
        sentences.append(f"**{name}**{compared if has_others else none}")
    return shared, sentences


def run_means(table, *columns):
    """Means over languages: a row per run, with `columns` and score; baseline and `compared`, the score, where there is one."""
    own = table.assign(compared=table["score"].where(table["baseline"].notna()))
    means = ["score", "compared", "baseline", "seed", "loss"]
    return own.groupby([*columns, "path"], as_index=False, sort=False)[means].mean()


def gain_of(runs, examples=None):
    """The seed-paired `Gain` of `run_means` over their baseline; `examples` as `statistics.gain` reads them."""
    paired = runs[runs["baseline"].notna()].fillna({"seed": 0}).groupby("seed")[["compared", "baseline"]].mean()
    return gain(paired["compared"].to_dict(), paired["baseline"].to_dict(), examples)


def scored(runs):
    """The columns that all tables have: score and gain of `run_means` with their spread."""
    found, own = gain_of(runs), summary(runs["score"].tolist())
    return {
        "score": own.mean, "deviation": own.deviation, "runs": own.n, "seeds": runs["seed"].nunique(),
        "gain": found.mean, "low": found.low, "high": found.high, "p": found.p,
    }  # fmt: skip


def whole(table):
    """The rows of encoders that were trained as a whole and taken over as a whole, or not trained."""
    return table[(table["frozen"] == NONE) & table["transferred"].isin([ALL, NONE])]


def pooled(runs, *columns):
    """A sentence on rows of the overview that one place holds several of, in a list; an empty one where each has its own."""
    rows = runs.groupby([*columns])["row"].unique()
    together = dict.fromkeys(listed(own) for own in rows if len(own) > 1)
    return [f"**Averaged**, though trained with different settings: {'; '.join(together)}."] if together else []


def baselines(table, column, languages):
    """Scores of a column in `languages` without intermediate training, one a run that has them all."""
    own = table[(table["column"] == column) & (table["row"] == NONE) & table["language"].isin(languages)]
    own = own[own.groupby("path")["language"].transform("nunique") == len(set(languages))]
    return own.groupby("path")["score"].mean().tolist()
