"""The report: every run.json below some folders -> one page with tables, plots, tests and answers to the research questions.

    python run_report.py runs --output_dir report
    python run_report.py runs other/groups/runs --questions distance,complexity
    python run_report.py runs --model_cards                           # scores of all languages into the checkpoints' cards
    python run_report.py --study configs/studies/layers.yaml          # the runs of one study, what is missing named

Reads   run.json files (and ratios.npz beside them, where ten seeds allow tests over examples), nothing else; a directory
        without one is not counted. Tables are made of those of evaluations and retrievals; what only trainings know (steps,
        complexity, chance) is taken from theirs where they are there too.
Writes  report.html, one self-contained page; report.md; latex/; a CSV file for every table, with unrounded numbers; SVG files;
        scores.csv, from which all of them can be computed: a row per run and language.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from transformers import TrainingArguments
from transformers.hf_argparser import HfArg

from studies.grid import jobs_of, labels_in_order
from studies.study import read_study
from tasks import INTERMEDIATE, RETRIEVAL, TARGET
from xstilts.amounts import amounts, lineage_table
from xstilts.base import UserError, print_main, run_script
from xstilts.identity import defaults_of
from xstilts.language_facts import DISTANCES, FACTS, OWN_DISTANCE, URIEL, read_distances, read_facts
from xstilts.language_tables import answers_tables, languages_table
from xstilts.layer_report import layer_blocks
from xstilts.model_card import write_cards
from xstilts.options import one_of
from xstilts.page import Figure, Section, write_report
from xstilts.paper_table import beside_paper
from xstilts.published_results import published_for
from xstilts.question_complexity import complexity
from xstilts.question_distance import distance
from xstilts.question_languages import languages
from xstilts.question_layers import layers
from xstilts.question_number import number_of_tasks
from xstilts.report import (
    collect,
    column_of,
    data_remarks,
    in_order,
    rank,
    read_runs,
    remarks,
    row_of,
    scored,
    whole,
)
from xstilts.report_guards import degenerate_table, partly_learned, seen_blocks
from xstilts.report_tables import benchmark_table, chosen_table, frame_table, overview_blocks, slug
from xstilts.runs import parse_args
from xstilts.score_table import check_data, mixed_columns, score_table, without_degenerate
from xstilts.wording import listed
from xstilts.xtreme import XTREME

ROWS = ("none", *INTERMEDIATE)
COLUMNS = (*TARGET, *RETRIEVAL)
SCORES = "scores"  # the table that all others can be computed from
QUESTIONS = {
    "layers": ("Question 1: layer-wise transfer", layers),
    "languages": ("Question 2: multilingual intermediate training", languages),
    "number_of_tasks": ("Question 3: number of intermediate tasks", number_of_tasks),
    "distance": ("Question 4: linguistic distance", distance),
    "complexity": ("Question 5: task complexity", complexity),
}
METHODS = (
    "Scores are 0 to 100, averaged over languages as the benchmark does (English included), then over seeds. Means in one "
    "column are over the languages that all of its runs have; where there is none, each says over how many, and has no "
    "gain. A gain is the difference to no intermediate training for the same target, seed and languages. Its interval is "
    "Student's t over seed-paired gains: it speaks of other seeds, not of other test sets. In the table of intermediate "
    "tasks by targets it is, from ten seeds on, a bootstrap over examples and seeds, where the examples' figures lie beside "
    "the runs. One seed gives a gain no interval."
)
WITHOUT = (
    "The same without the runs that the list of degenerate runs names, those of a few constant languages excepted. A training "
    "that often fails shows here what it gives when it works; how often it does is in that list."
)


@dataclass(kw_only=True)
class ReportArguments:
    """The options of this script; words before or behind them are folders with runs."""

    positional: ClassVar = "runs"
    runs: list[Path] = HfArg(
        default_factory=list, help="Folders with runs, searched to any depth; --runs may be left out."
    )
    study: str | None = HfArg(default=None, help="A file of configs/studies: its runs, beside those in `runs`.")
    output_dir: Path | None = HfArg(default=None, help="Default: the study's report_dir, or report.")
    questions: str | None = HfArg(
        default=None, help=f"Of {', '.join(QUESTIONS)}; default: the study's, or all that can be answered."
    )
    language_facts: Path | None = HfArg(default=None, help="Default: the study's, or configs/languages.csv.")
    distance: str | None = HfArg(
        default=None, help=f"Which distance the plots show, of {', '.join(DISTANCES)}; default: the one that is tested."
    )
    distance_file: Path | None = HfArg(
        default=None, help="Test your own distance from English: CSV, columns language and distance."
    )
    model_cards: bool = HfArg(default=False, help="Write scores into checkpoints' README.md, and stop.")
    mixed_data: bool = HfArg(default=False, help="Scores of different test sets in one column, marked.")


def main(argv=None):
    """Write the report; `argv` is the command line without the program's name."""
    # 1. Arguments, and those of the study.
    (args,) = parse_args(ReportArguments, argv=argv)
    one_of(args, "distance", DISTANCES)
    if not args.runs and not args.study:
        raise UserError("give folders with runs, or --study")
    study = read_study(args.study) if args.study else None
    planned = jobs_of(study) if study else {}
    if args.model_cards:
        return write_cards(whole(read_runs([*args.runs, *map(Path, planned)])))
    output_dir = args.output_dir or Path(study.report_dir if study else "report")
    questions = chosen_questions(args, study)
    facts, source = language_facts(args, study)
    low_resource = study.low_resource if study else {}
    asked = bool(args.questions or (study and study.questions))
    options = {"distance": args.distance, "distance_source": source, "low_resource": low_resource, "asked": asked}

    # 2. Runs: {(base model, intermediate task, target, seed): run.json}, and a table of their scores.
    if lost := [folder for folder in args.runs if not folder.exists()]:
        raise UserError(f"there is no folder {lost[0]}")
    found = collect([*args.runs, *map(Path, planned)], defaults_of(TrainingArguments))
    places = scored(found)
    if not places:
        where = ", ".join([*map(str, args.runs), *([study.runs_dir] if study else [])])
        raise UserError(f"no run.json of an evaluation or a retrieval below {where}")
    paths = {id(run): path for path, run in found.items()}
    labels = {path.parent: row_of(run) for path, run in found.items()}
    rows = (*(labels_in_order(study, labels) if study else ()), *ROWS)
    ordered = sorted(places.items(), key=lambda item: place_in_order(*item[0], rows))
    table = score_table({paths[id(run)]: run for _, run in ordered}, found)
    if not args.mixed_data:
        check_data(table)

    # 3. Sections, base model by base model.
    output_dir.mkdir(parents=True, exist_ok=True)
    sections = [Section("What this rests on", basis(places, table, found, planned))]
    for base in sorted(set(table["base"])):
        own = {key[1:]: run for key, run in places.items() if key[0] == base}
        name = "" if table["base"].nunique() == 1 else f"{slug(base)}-"  # of files
        own_table = table[table["base"] == base]
        sections += of_base(base, name, own, own_table, facts, questions, {**options, "rows": rows}, output_dir)
    if "layers" in questions and (moved := layer_blocks(found, rows, TARGET, output_dir)):
        sections.append(Section("Layers", moved))
    if is_benchmark(table) and (published := published_blocks(places, table, rows)):
        sections.append(Section("Published results", published))

    # 4. Files.
    table.to_csv(output_dir / f"{SCORES}.csv", index=False)
    title = "Zero-shot cross-lingual transfer" + (f": {Path(args.study).stem}" if study else "")
    write_report(output_dir, title, sections)
    print_main(f"{len(places)} evaluations and retrievals, {output_dir / 'report.html'}")


def language_facts(args, study):
    """(what is known of languages, where the tested distance is from as a sentence, "" where the facts are a user's own)."""
    path = args.language_facts or Path(study.language_facts if study else FACTS)
    facts = read_facts(path)
    if args.distance_file:
        facts[OWN_DISTANCE] = facts.index.map(read_distances(args.distance_file, facts))
        return facts, f"The tested distance from English is that of {args.distance_file.name}."
    return facts, URIEL if path.resolve() == FACTS else ""


def chosen_questions(args, study):
    """Names of the questions to answer. Raises UserError for one that nobody asks."""
    asked = args.questions.split(",") if args.questions else list(study.questions if study else ()) or list(QUESTIONS)
    if unknown := [name for name in asked if name not in QUESTIONS]:
        raise UserError(f"question '{unknown[0]}' is not one of {', '.join(QUESTIONS)}")
    return asked


def place_in_order(base, row, column, seed, rows):
    """A key that sorts runs as tables have them."""
    return base, rank(row, rows), rank(column, COLUMNS), seed


def is_benchmark(table):
    """Whether the languages are the benchmarks' own, not only English and a generated world's."""
    return not set(table["language"]).isdisjoint({code for task in XTREME.values() for code in task.languages} - {"en"})


def basis(places, table, found, planned):
    """What a reader has to know before the first table."""
    seeds = sorted({key[3] for key, run in places.items() if len(run["lineage"]) > 1})  # an untrained encoder has none
    one = (
        " One seed: differences between rows are not yet evidence, and gains have no intervals."
        if len(seeds) == 1
        else ""
    )
    blocks = [f"{len(places)} evaluations and retrievals, seeds {', '.join(map(str, seeds)) or 'none'}.{one}"]
    blocks += [*amounts(table), METHODS]
    blocks += remarks(places.values())
    if mixed := mixed_columns(table):
        blocks.append(f"**Scores of different test sets** stand in the columns {listed(mixed)}: they do not compare.")
    there = {path.resolve() for path in found}
    if missing := [path for path in planned if Path(path, "run.json").resolve() not in there]:
        named = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
        blocks.append(f"**{len(missing)} of {len(planned)} runs of the study are missing**: {named}.")
    blocks += [*seen_blocks(table), *partly_learned(found)]
    if flagged := degenerate_table(table):
        blocks.append(flagged)
    return blocks


def of_base(base, name, runs, table, facts, questions, options, folder):
    """Sections of one base model: overview, without degenerate runs, questions, languages. `name` begins its files."""
    rows, columns = options["rows"], in_order({column for _, column, _ in runs}, COLUMNS)
    trained, table = lineage_table(table, f"{name}lineage", rows), table[table["counts"]]
    languages = Section("Languages", [each for column in columns for each in details(runs, column, name, rows)], 3)
    if not len(table):
        return [Section(base, [trained, "No language counts in an average."]), languages]
    sections = [Section(base, [trained, *overview(table, runs, name, "", rows, folder)])]
    sound, kinds = without_degenerate(table), [("", tests_of(table))]
    if len(sound) not in (0, len(table)):
        kinds.append(("-sound", tests_of(sound)))
        degenerate = set(table.loc[table["flag"] != "", ["row", "column", "seed"]].itertuples(index=False, name=None))
        left = {key: run for key, run in runs.items() if key not in degenerate}
        sections.append(
            Section("Without degenerate runs", [WITHOUT, *overview(sound, left, name, "-sound", rows, folder)], 3)
        )
    for question in questions:
        answers = [(kind, QUESTIONS[question][1](own, facts, options)) for kind, own in kinds]
        if options["asked"] and not any(answer for _, answer in answers):
            sections.append(Section(QUESTIONS[question][0], ["These runs do not answer it."], 3))
        if len(answers) > 1 and same(answers[0][1], answers[1][1]):
            answers.pop()
        for kind, answer in answers:
            sections += answered(question, answer, f"{name}{question}{kind}", folder, bool(kind), runs.values())
    return [*sections, languages]


def published_blocks(places, table, rows):
    """The paper's table beside the runs of each base model, and what else is published on their targets."""
    blocks, bases = [], sorted(set(table["base"]))
    for base in bases:
        own = {key[1:]: run for key, run in places.items() if key[0] == base}
        if beside := beside_paper(own, "paper" if len(bases) == 1 else f"{slug(base)}-paper", rows):
            blocks += [*([base] if len(bases) > 1 else []), remarked(beside, own.values())]
    published = published_for(in_order(set(table["target"]), COLUMNS))
    return [*blocks, *([remarked(published, places.values())] if published else [])]


def remarked(table, runs):
    """A table with what is to be said of the rows behind those of its columns that are ours."""
    noted = [f"Ours: {remark}" for remark in data_remarks(runs) if remark.partition(":")[0] in table.header]
    return replace(table, notes=(*table.notes, *noted))


def overview(table, runs, name, kind, rows, folder):
    """Intermediate tasks by targets, what selection would have chosen, the benchmarks' averages."""
    noted = data_remarks(runs.values())
    blocks = overview_blocks(tests_of(table), f"{name}overview{kind}", (rows, COLUMNS), folder, noted)
    blocks += filter(None, [chosen_table(table, f"{name}chosen{kind}", COLUMNS, noted)])
    blocks += [benchmark_table(runs.values(), f"{name}benchmarks{kind}", rows)] if is_benchmark(table) else []
    return [*filter(None, blocks)]


def tests_of(table):
    """The rows of test sets; where there are none, all."""
    tests = table[table["split"] == "test"]
    return tests if len(tests) else table


def same(answer, other):
    """Whether two answers to a question say the same: degenerate runs played no part in it."""
    if answer is None or other is None:
        return answer is other
    tables = [{stem: frame for stem, (_, frame) in each.tables.items()} for each in (answer, other)]
    equal = tables[0].keys() == tables[1].keys() and all(own.equals(tables[1][stem]) for stem, own in tables[0].items())
    return equal and answer.sentences == other.sentences


def answered(question, answer, name, folder, sound, runs):
    """The section of one question, if the runs could answer it; its tables say what `runs` of their columns say of the rows."""
    if answer is None:
        return []
    names = {stem: file_name(name, question, stem) for stem in (*answer.plots, *answer.tables)}
    blocks = list(answer.sentences)
    for stem, (plot, drawn, caption, data) in answer.plots.items():
        plot(**drawn, path=folder / f"{names[stem]}.svg")
        blocks.append(Figure(names[stem], caption, f"{names[data]}.csv"))
    for stem, (caption, frame) in answer.tables.items():
        targets = next((set(frame[each]) for each in ("column", "target") if each in frame), set(map(column_of, runs)))
        noted = data_remarks(run for run in runs if column_of(run) in targets)
        blocks.append(frame_table(names[stem], caption, frame, noted))
    return [Section(QUESTIONS[question][0] + (", without degenerate runs" if sound else ""), blocks, 3)]


def file_name(name, question, stem):
    """Of a question's table or plot, without the question's own name twice."""
    rest = slug(stem.removeprefix(question))
    return f"{name}-{rest}" if rest else name


def details(runs, column, name, rows):
    """Tables of one target, language by language."""
    own = {(row, seed): run for (row, other, seed), run in runs.items() if other == column}
    stem = f"{name}{slug(column)}"
    stem = f"{stem}-languages" if stem == SCORES else stem
    return [languages_table(own, stem, column, rows), *answers_tables(own, stem, rows)]


if __name__ == "__main__":
    run_script(main)
