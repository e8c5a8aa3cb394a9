"""The report's tables of one target, language by language: scores with their intervals, and what might explain them."""

from statistics import mean

from xstilts.overview import counted_scores
from xstilts.page import Table
from xstilts.report import data_remarks, in_order
from xstilts.report_tables import shown, slug
from xstilts.wording import plain

CONFOUNDS = ("examples", "subwords_per_word", "subwords_per_character", "unknown_share", "too_long_share")
INTERVALS = "In brackets the 95 percent interval over the examples of the test set, where there is one seed"


def languages_table(runs, name, column, order):
    """One target: a row per language, a column per intermediate task, and what might stand behind differences.

    runs    {(row, seed): run.json} of one base model and target
    """
    rows = in_order({row for row, _ in runs}, order)
    some = next(iter(runs.values()))
    found = {code: own for run in runs.values() for code, own in run["scores"].items()}
    languages = sorted(found, key=lambda code: (code != "en", code))
    confounds = [each for each in CONFOUNDS if any(each in own for own in found.values())]
    lines, values, averaged = [], [], _averaged(runs.values())
    for code in languages:
        cells, beside = [_cell(runs, row, code) for row in rows], [found[code].get(each) for each in confounds]
        digits = [1, *[3] * (len(beside) - 1)]
        lines.append([code, *map(_text, cells), *map(shown, beside, digits)])
        values.append([code, *(score for score, _ in cells), *beside, *(edge for _, own in cells for edge in own)])
    for average, (codes, most) in averaged.items():
        of_all = f", {len(codes)} of {len(most)}" if len(codes) < len(most) else ""
        own = [f"mean ({average}{of_all})", *(_mean_over(runs, row, codes) for row in rows), *([None] * len(confounds))]
        lines.append([own[0], *map(shown, own[1:])])
        values.append([*own, *([None] * 2 * len(rows))])
    header = ["language", *rows, *confounds]
    csv_header = [*header, *(f"{row} {edge}" for row in rows for edge in ("low", "high"))]
    caption = f"{column}: {some['metric']}, mean over seeds"
    caption += f". {INTERVALS}" if any(own[-1] is not None for own in values) else ""
    notes = (*_left_out(some, languages, averaged["all"][0]), *_without_words(found), *data_remarks(runs.values()))
    return Table(name, caption, [each.replace("_", " ") for each in header], lines, csv_header, values, notes)


def _cell(runs, row, language):
    """(mean score, its interval): the latter is (None, None) where there are several seeds, or none."""
    own = [run["scores"][language] | {"score": run["scores"][language][run["metric"]]} for (other, _), run in runs.items()
           if other == row and language in run["scores"]]  # fmt: skip
    interval = own[0].get("interval") if len(own) == 1 else None
    return mean(each["score"] for each in own) if own else None, interval or (None, None)


def _text(cell):
    score, (low, high) = cell
    return shown(score) + ("" if low is None else f" ({plain(low)}–{plain(high)})")


def _averaged(runs):
    """{average: (languages of all runs that count in it, those of any)}; zero-shot: no run was trained or selected in them."""
    zero_shot = [{*run.get("zero_shot_languages", run["scores"])} for run in runs]
    counted = set.intersection(*({*counted_scores(run)} for run in runs))
    shared, some = counted.intersection(*zero_shot), set().union(*zero_shot)
    return {"all": (counted, set().union(*(run["scores"] for run in runs))), "zero-shot": (shared, some)}


def _mean_over(runs, row, codes):
    values = [run["scores"][code][run["metric"]] for (own, _), run in runs.items() if own == row for code in codes]
    return mean(values) if values else None


def _without_words(scores):
    """A sentence where languages have no number of sub-words per word, in a list."""
    lost = any("subwords_per_word" in own and own["subwords_per_word"] is None for own in scores.values())
    return ["Of languages that are written without spaces between words compare the subwords per character."] * lost


def _left_out(run, languages, counted):
    """Sentences on languages without data, and on those in no mean."""
    missing, apart = run.get("missing_languages"), [code for code in languages if code in run.get("in_no_average", ())]
    if missing:
        yield f"Without data: {', '.join(sorted(missing))}."
    if apart:
        yield f"In no average: {', '.join(apart)}."
    if lost := [code for code in languages if code not in apart and code not in counted]:
        yield f"In no mean, because not all runs have them: {', '.join(lost)}."


def answers_tables(runs, name, order):
    """A table per intermediate task: map of the questions in each language for the answers in each (`ranking.search`), and how
    often the nearest answer, right or wrong, is in the question's own. None for tasks that do not have these."""
    tables = []
    for row in in_order({row for row, _ in runs}, order):
        own = [run["scores"] for (other, _), run in runs.items() if other == row]
        languages = sorted({language for scores in own for language in scores}, key=lambda code: (code != "en", code))
        if not all("by_answer_language" in scores for scores in own[0].values()):
            continue
        lines = []
        for asked in languages:
            seeds = [scores[asked] for scores in own if asked in scores]
            values = [mean(each["by_answer_language"].get(language, 0) for each in seeds) for language in languages]
            lines.append([asked, *values, mean(each["same_language_at_1"] for each in seeds)])
        caption = f"{row}: map by language of question (rows) and of answer (columns)"
        header = ["", *languages, "own language first"]
        tables.append(
            Table(
                f"{name}-{slug(row)}-answers",
                caption,
                header,
                [[a, *map(shown, rest)] for a, *rest in lines],
                header,
                lines,
            )
        )
    return tables
