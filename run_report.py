"""A first report: every run.json below a folder -> tables in Markdown and CSV, and plots of how far each layer moved.

    python run_report.py runs --output_dir report

Reads   run.json files, nothing else; a directory without one is not counted. Tables are made of those of run_zeroshot_eval.py and
        run_retrieval.py, plots of those that trained, and of retrievals with --compare_with or with several --layers.
Writes  report.md; overview.csv: intermediate tasks (and none) by targets, the score averaged over languages and seeds, and its
        gain over no intermediate training, paired by seed and language; <base>-<target>.csv: every language;
        layers-weights.svg, layers-cka.svg, layers-retrieval.svg and layers-retrieval.csv, where runs have something to show.
"""

import argparse
import csv
from pathlib import Path
from statistics import mean

from tasks import INTERMEDIATE, RETRIEVAL, TARGET
from xstilts.errors import UserError, run_script
from xstilts.report import collect, in_order, remarks, scored, scores_by_layer, vectors_moved, weights_moved

ROWS = ("none", *INTERMEDIATE)
CONFOUNDS = ("examples", "subwords_per_word", "subwords_per_character", "unknown_share", "too_long_share")
ON_WEIGHTS = (
    "How far a training moved the weights of each part: the norm of their change over their norm before it, the mean over seeds "
    "with a band from the smallest to the largest. Not how much the encoder computes differently: that depends on the direction, "
    "and on the layers below."
)
ON_VECTORS = (
    "How alike the vectors of sentences are to those of the encoder that is compared with, layer by layer and language by "
    "language: linear CKA, 1 where they agree up to rotation and scale, about 0 where they are unrelated, the mean over seeds. "
    "Vectors that have moved need not have become worse, nor languages that moved as far closer to each other."
)

ON_RETRIEVAL = (
    "What retrieval finds with the vectors of each layer, language by language: the mean over seeds. Beside the score, "
    "layers-retrieval.csv has the rank of the right one (mrr, rank_median, rank_90), hubness (how unevenly vectors are found), "
    "and anisotropy (the mean cosine of two vectors). A layer that is chosen here was chosen on test data."
)


def main(argv=None):
    """Write the report; `argv` is the command line without the program's name."""
    # 1. Arguments.
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, help="folders with runs, searched to any depth")
    parser.add_argument("--output_dir", type=Path, default=Path("report"))
    args = parser.parse_args(argv)

    # 2. Runs: {(base model, intermediate task, target, seed): run.json}.
    found = collect(args.runs)
    runs = scored(found)
    if not runs:
        raise UserError(f"no run.json of an evaluation or a retrieval below {', '.join(map(str, args.runs))}")

    # 3. Tables: one overview per base model, one table of languages per target.
    args.output_dir.mkdir(parents=True, exist_ok=True)
    title, overviews, details = ["# Zero-shot cross-lingual transfer", counted(runs), *remarks(runs.values())], [], []
    overview_rows = [["base_model", "intermediate", "target", "seeds", "languages", "score", "gain", "paired_seeds"]]
    for base in sorted({key[0] for key in runs}):
        own = {key[1:]: run for key, run in runs.items() if key[0] == base}
        text, rows = overview(own)
        overviews += [f"## {base}", text]
        overview_rows += [[base, *row] for row in rows]
        for target in targets_of(own):
            text, rows = languages_table(own, target)
            details += [f"### {base}: {target}", text, *answers_tables(own, target)]
            write_csv(args.output_dir / f"{base}-{file_name(target)}.csv", rows)

    # 4. Plots of how far each layer moved, where runs say so.
    layers = by_layer(weights_moved(found), vectors_moved(found), scores_by_layer(found), args.output_dir)

    # 5. Files, and the overview on the screen.
    write_csv(args.output_dir / "overview.csv", overview_rows)
    report = args.output_dir / "report.md"
    report.write_text("\n\n".join([*title, *overviews, "## Languages", *details, *layers]) + "\n", encoding="utf-8")
    print("\n\n".join([*title, *overviews, str(report)]))


def counted(runs):
    """One sentence on what the report rests on."""
    seeds = {key[3] for key, run in runs.items() if len(run["lineage"]) > 1}  # an untrained encoder has none
    note = "One seed: differences between rows are not yet evidence." if len(seeds) == 1 else ""
    return (
        f"{len(runs)} runs, seeds {', '.join(map(str, sorted(seeds)))}. Scores are 0 to 100, averaged over languages as the "
        "benchmark does (English included) and over seeds; the gain, in brackets, is over no intermediate training, paired by "
        "seed and language. An empty cell is a run that is not there; * marks an average over fewer languages than others of "
        f"its column have. {note}"
    ).strip()


def overview(runs):
    """(Markdown table, CSV rows): intermediate tasks by targets."""
    targets, lines, rows = targets_of(runs), [], []
    for intermediate in intermediates_of(runs):
        line = [intermediate]
        for target in targets:
            cell = {key[2]: run for key, run in runs.items() if key[:2] == (intermediate, target)}
            if not cell:
                line.append("")
                continue
            score, gains = (
                mean(run["averages"]["all"] for run in cell.values()),
                paired_gains(runs, intermediate, target),
            )
            gain = mean(gains) if gains else None
            languages = {language for run in cell.values() for language in run["scores"]}
            mark = "" if languages == languages_of(runs, target) else "*"
            line.append(
                f"{score:.1f}{mark}" + (f" ({gain:+.1f})" if gain is not None and intermediate != "none" else "")
            )
            rows.append([intermediate, target, len(cell), len(languages), score, gain, len(gains)])
        lines.append(line)
    return markdown(["intermediate task", *targets], lines), rows


def paired_gains(runs, intermediate, target):
    """For every seed that has both, the mean over common languages of the score minus that of no intermediate training."""
    gains = []
    for (i, t, seed), run in runs.items():
        baseline = baseline_of(runs, target, seed)
        if (i, t) == (intermediate, target) and baseline:
            ours, theirs = headline(run), headline(baseline)
            if common := ours.keys() & theirs.keys():
                gains.append(mean(ours[language] - theirs[language] for language in common))
    return gains


def languages_of(runs, target):
    """All languages that any run of a target has."""
    return {language for key, run in runs.items() if key[1] == target for language in run["scores"]}


def baseline_of(runs, target, seed):
    """The run without intermediate training to pair a seed with: of the same seed, or an untrained encoder's, which has none."""
    untrained = (run for (i, t, _), run in runs.items() if (i, t) == ("none", target) and len(run["lineage"]) == 1)
    return runs.get(("none", target, seed)) or next(untrained, None)


def languages_table(runs, target):
    """(Markdown table, CSV rows) of one target: a row per language, a column per intermediate task, and the confounds."""
    own = {key: run for key, run in runs.items() if key[1] == target}
    intermediates = intermediates_of(own)
    some = next(iter(own.values()))
    languages = sorted(languages_of(own, target), key=lambda code: (code != "en", code))
    confounds = [name for name in CONFOUNDS if any(name in scores for scores in some["scores"].values())]
    lines = []
    for language in languages:
        scores = [mean_score(own, intermediate, language) for intermediate in intermediates]
        lines.append([language, *scores, *(some["scores"].get(language, {}).get(name) for name in confounds)])
    for name in ("all", "zero_shot"):
        averages = [mean_average(own, intermediate, name) for intermediate in intermediates]
        lines.append([f"mean ({name.replace('_', '-')})", *averages, *([None] * len(confounds))])
    header = ["language", *intermediates, *confounds]
    text = f"Score: {some['metric']}.\n\n" + markdown(header, [list(map(shown, line, header)) for line in lines])
    if some["missing_languages"]:
        text += "\n\nWithout data: " + ", ".join(sorted(some["missing_languages"])) + "."
    return text, [header, *lines]


def answers_tables(runs, target):
    """Markdown, a table per intermediate task: map of the questions in each language for the answers in each (`ranking.search`),
    and how often the nearest answer, right or wrong, is in the question's own. Nothing for tasks that do not have these."""
    text = []
    for intermediate in intermediates_of(runs):
        own = [run["scores"] for key, run in runs.items() if key[:2] == (intermediate, target)]
        languages = sorted({language for scores in own for language in scores}, key=lambda code: (code != "en", code))
        if not own or not all("by_answer_language" in scores for scores in own[0].values()):
            continue
        lines = []
        for asked in languages:
            seeds = [scores[asked] for scores in own if asked in scores]
            cells = [mean(each["by_answer_language"].get(language, 0) for each in seeds) for language in languages]
            lines.append([asked, *map(shown, cells), shown(mean(each["same_language_at_1"] for each in seeds))])
        title = f"{intermediate}: map by language of question (rows) and of answer (columns)"
        text.append(f"{title}\n\n{markdown(['', *languages, 'own language first'], lines)}")
    return text


def by_layer(weights, vectors, searched, folder):
    """Markdown on how far each layer moved and what it finds, with plots in `folder`; matplotlib is needed for these only."""
    text = ["## Layers"] if weights or vectors or searched else []
    if text:
        from xstilts.layer_plots import plot_cka, plot_curves, plot_weight_changes
    if weights:
        panels = {
            f"{training}\n{base}": own[training]
            for base, own in sorted(weights.items())
            for training in in_order(own, ["intermediate", *TARGET])
        }
        rows = in_order({row for own in panels.values() for row in own}, ROWS)
        plot_weight_changes(panels, rows, folder / "layers-weights.svg")
        text += [f"![Relative change of weights](layers-weights.svg)\n\n{ON_WEIGHTS}"]
    if vectors:
        panels = {f"{row}\n{where}": own[row] for where, own in sorted(vectors.items()) for row in in_order(own, ROWS)}
        plot_cka(panels, folder / "layers-cka.svg")
        text += [f"![CKA of sentence vectors](layers-cka.svg)\n\n{ON_VECTORS}"]
    if searched:
        order = {row: place for place, row in enumerate(in_order({row for _, row, _ in searched}, ROWS))}
        searched = dict(sorted(searched.items(), key=lambda item: (item[0][2], item[0][0], order[item[0][1]])))
        panels = {
            f"{row}\n{task}: {next(iter(own.values()))[0]['metric']}, {base}": {
                language: [dict(zip(run["layer"], run[run["metric"]], strict=True)) for run in seeds]
                for language, seeds in own.items()
            }
            for (base, row, task), own in searched.items()
        }
        plot_curves(panels, "score", folder / "layers-retrieval.svg")
        write_csv(folder / "layers-retrieval.csv", layer_rows(searched))
        text += [f"![Retrieval by layer](layers-retrieval.svg)\n\n{ON_RETRIEVAL}"]
    return text


def layer_rows(searched):
    """CSV rows of `report.scores_by_layer`: one a run, language and layer; a column for every score that any of them has."""
    runs = [
        (*place, language, run) for place, own in searched.items() for language, seeds in own.items() for run in seeds
    ]
    names = list(dict.fromkeys(name for *_, run in runs for name in run if name not in ("seed", "layer", "metric")))
    rows = [["base_model", "intermediate", "task", "language", "seed", "layer", *names]]
    for base, row, task, language, run in runs:
        for place, layer in enumerate(run["layer"]):
            rows.append(
                [base, row, task, language, run["seed"], layer, *(run[n][place] if n in run else None for n in names)]
            )
    return rows


def headline(run):
    """{language: headline score}."""
    return {language: scores[run["metric"]] for language, scores in run["scores"].items()}


def mean_score(runs, intermediate, language):
    """Mean over seeds of one language's score, None where no run has it."""
    values = [headline(run).get(language) for key, run in runs.items() if key[0] == intermediate]
    return mean(value for value in values if value is not None) if any(v is not None for v in values) else None


def mean_average(runs, intermediate, name):
    """Mean over seeds of an average over languages."""
    values = [run["averages"][name] for key, run in runs.items() if key[0] == intermediate]
    return mean(values) if values and None not in values else None


def targets_of(runs):
    """Targets that occur, in the order of the paper's tables."""
    return in_order({key[1] for key in runs}, [*TARGET, *RETRIEVAL])


def intermediates_of(runs):
    """Intermediate tasks that occur: none, then in the order of the paper's tables."""
    return in_order({key[0] for key in runs}, ROWS)


def markdown(header, lines):
    """A Markdown table."""
    rows = [header, ["---", *["---:"] * (len(header) - 1)], *lines]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows)


def shown(value, name=""):
    """A cell: scores with one decimal, shares and rates with three digits, nothing where there is nothing."""
    if value is None:
        return ""
    return (
        f"{value:.3g}"
        if name in CONFOUNDS and isinstance(value, float)
        else f"{value:.1f}"
        if isinstance(value, float)
        else value
    )


def write_csv(path, rows):
    """Rows as CSV, numbers unrounded."""
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)


def file_name(target):
    """A target's label without what file names should not hold."""
    return "".join(character if character.isalnum() else "-" for character in target).strip("-")


if __name__ == "__main__":
    run_script(main)
