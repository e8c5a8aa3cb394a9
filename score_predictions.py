"""Score a folder of prediction files as XTREME's or XTREME-R's own scorer does, with the benchmark's averages.

    python score_predictions.py --predictions submission --labels labels --output_file scores.json
    python score_predictions.py --predictions runs/eval/hellaswag/*/seed42/predictions --labels labels --benchmark xtreme-r

No model, no GPU, no network; whoever made the predictions. What is missing or damaged is named and the rest is scored; the exit
code is 2 where a file is damaged. An average under the benchmark's name is given only over everything that it stands for. Further
languages of its tasks, and further tasks (a file of tasks/), are scored too, outside of its averages.

Reads   --predictions: one folder or several, <task>/test-<language>.tsv (labels, tags, pairs), .json (answers, rankings), .jsonl
        (XCOPA); --labels: the gold labels in the same layout, for question answering SQuAD's JSON.
Writes  --output_file: scores per task, language and metric, the averages (avg_..., groups, all_task; null where something is
        missing), means over what is there (mean_of_available), tasks that the benchmark lacks (other_tasks), and what was noticed
        (notes).
"""

from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from transformers.hf_argparser import HfArg

from xstilts.base import UserError, run_script, write_json
from xstilts.options import one_of
from xstilts.placeholders import Placeholders, is_stripped_set
from xstilts.runs import parse_args
from xstilts.submission import FORMATS, file_of, format_by_type, languages_there, score_files
from xstilts.xtreme import BENCHMARKS, averages, tasks_of

LACKING = "* a mean over what is there: something is missing, so this is not the benchmark's score"


@dataclass(kw_only=True)
class ScoreArguments:
    """The options of this script."""

    predictions: list[Path] = HfArg(help="Folders of prediction files.")
    labels: Path = HfArg(help="Folder of the gold labels, in the same layout.")
    benchmark: str = HfArg(default="xtreme", help="xtreme or xtreme-r.")
    output_file: Path = HfArg(default=Path("scores.json"), help="Where the scores are written.")

    def check(self, training_args=None):
        """Raise UserError for another benchmark."""
        one_of(self, "benchmark", BENCHMARKS)


def main(argv=None):
    """Score the folder; `argv` is the command line without the program's name."""
    # 1. Arguments.
    (args,) = parse_args(ScoreArguments, argv=argv)
    for folder in (*args.predictions, args.labels):
        if not folder.is_dir():
            raise UserError(f"there is no folder {folder}")

    # 2. Task by task, language by language: files -> scores, and notes on what is missing or wrong with them.
    scores, notes, damaged = {}, [], []
    declared = tasks_of(args.benchmark)
    for task in (*declared, *other_tasks(args.predictions, declared)):
        folder, labels = folder_of(task, args.predictions), folder_of(task, [args.labels])
        if folder is None or labels is None:
            notes.append(f"{task}: there are no {'predictions' if folder is None else 'labels'}")
        elif form := format_of(task, notes):
            languages = declared[task].languages if task in declared else ()
            scores[task], found, wrong = score_task(task, form, languages, folder, labels)
            notes, damaged = [*notes, *found], [*damaged, *wrong]

    # 3. The benchmark's averages.
    results = averages(args.benchmark, scores)
    for task, each in results["tasks"].items():
        each["scores"] = scores.get(task, {})
    results["other_tasks"] = {task: each for task, each in scores.items() if task not in declared}

    # 4. On the screen, and into the file.
    for note in (*notes, *damaged):
        print(f"note: {note}")
    if not any(scores.values()):
        reasons = [*damaged, *(note for note in notes if ": not scored" in note), *notes]
        raise UserError(f"nothing could be scored; {reasons[0]}")
    print(table(args.benchmark, results))
    write_json(args.output_file, {"benchmark": args.benchmark, **results, "notes": [*notes, *damaged]})
    print(args.output_file)
    if damaged:
        more = f" (and {len(damaged) - 1} more, see the notes)" if len(damaged) > 1 else ""
        raise UserError(f"{damaged[0]}{more}")


def folder_of(task, folders):
    """The folder of a task below one of `folders`, or None. Raises UserError where two have one."""
    found = [folder / task for folder in folders if (folder / task).is_dir()]
    if len(found) > 1:
        raise UserError(f"{found[0]} and {found[1]} both have {task}; give folders that have it once")
    return found[0] if found else None


def other_tasks(folders, declared):
    """Names of the folders of predictions that are no task of the benchmark, sorted."""
    return sorted({path.name for folder in folders for path in folder.glob("[!.]*") if path.is_dir()} - {*declared})


def format_of(task, notes):
    """How the files of a task are read and scored: the benchmarks' tasks are known, others are files of tasks/. None for a task
    that is neither, with a note."""
    if task in FORMATS:
        return FORMATS[task]
    from tasks import load_task, task_names  # with the libraries that declare a task, which the benchmarks' do without
    from xstilts.metrics import score
    from xstilts.task import RetrievalTask, Task

    if task not in task_names():
        notes.append(f"{task}: not scored, as there is no tasks/{task}.py")
        return None
    try:
        return format_by_type(load_task(task, (Task, RetrievalTask)), score)
    except UserError as error:
        notes.append(f"{task}: not scored: {error}")
        return None


def score_task(task, form, languages, folder, labels):
    """({language: {metric: score}} of the benchmark's `languages` and further ones, notes, notes on damaged files)."""
    further = [code for code in languages_there(form, folder) if code not in languages]
    files = {code: [file_of(form, code, each) for each in (folder, labels)] for code in (*languages, *further)}
    absent = {
        each: [code for code, paths in files.items() if paths[side] is None]
        for side, each in enumerate((folder, labels))
    }
    notes = [f"{task}: {each} has no file for {' '.join(codes)}" for each, codes in absent.items() if codes]
    scores, damaged = {}, []
    for language, paths in files.items():
        if not all(paths):
            continue
        try:
            scores[language], found = score_files(form, language, *paths, is_stripped_set(task, "test", language))
            notes += [f"{task} {language}: {note}" for note in found]
        except (UserError, OSError) as error:
            (notes if isinstance(error, Placeholders) else damaged).append(f"{task} {language}: not scored: {error}")
    known = {path for path, _ in files.values()}
    if unknown := sorted(path.name for path in folder.glob("[!.]*") if path not in known):
        notes.append(f"{task}: not read: {', '.join(unknown)} in {folder}")
    return scores, notes, damaged


def table(benchmark, results):
    """Of every task its score, its other averages and its languages; the groups and the overall score; then what the benchmark
    lacks."""
    lines, outside = [benchmark], []
    for task, each in results["tasks"].items():
        declared, means = tasks_of(benchmark)[task], dict(each["mean_of_available"])
        score = shown(each["avg_metric"], means.pop("metric", None))
        values = {code: fmean(own[name] for name in declared.metrics) for code, own in each["scores"].items()}
        own = {code: values.pop(code) for code in declared.languages if code in values}
        line = f"{task:<16}{score}  {len(own)}/{len(declared.languages)} languages"
        lines.append(", ".join([line, *(f"{name} {value:.1f}" for name, value in means.items())]))
        lines += in_rows(f"{code} {value:5.1f}" for code, value in own.items())
        outside += [f"{task} {code} {value:.1f}" for code, value in values.items()]
    lines += [f"{group:<16}{shown(mean)}" for group, mean in results["groups"].items()]
    lines.append(f"{'all tasks':<16}{shown(results['all_task'], results['mean_of_available'])}")
    lines += [LACKING] * bool(results["missing_tasks"])
    for task, each in results["other_tasks"].items():
        outside += [f"{task} {code} {name} {value:.1f}" for code, own in each.items() for name, value in own.items()]
    lines += [f"outside of {benchmark}:", *(f"{'':16}{line}" for line in outside)] if outside else []
    return "\n".join(line.rstrip() for line in lines)


def in_rows(cells):
    """Lines of ten cells."""
    cells = [*cells]
    return [" " * 18 + "  ".join(cells[start : start + 10]) for start in range(0, len(cells), 10)]


def shown(score, instead=None):
    """A score in 8 columns: the benchmark's, or a mean over what is there with a mark, or a dash."""
    if score is None:
        return f"{instead:7.1f}*" if instead is not None else f"{'-':>7} "
    return f"{score:7.1f} "


if __name__ == "__main__":
    run_script(main)
