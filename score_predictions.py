"""Score a folder of prediction files as XTREME's or XTREME-R's own scorer does, with the benchmark's averages.

    python score_predictions.py --predictions submission --labels labels --output_file scores.json
    python score_predictions.py --predictions runs/eval/hellaswag/*/seed42/predictions --labels labels --benchmark xtreme-r

No model, no GPU, no network; whoever made the predictions. What is missing or damaged is named and the rest is scored, and an
average under the benchmark's name is given only over everything that it stands for.

Reads   --predictions: one folder or several, <task>/test-<language>.tsv (labels, tags, pairs), .json (answers, rankings), .jsonl
        (XCOPA); --labels: the gold labels in the same layout, for question answering SQuAD's JSON.
Writes  --output_file: scores per task, language and metric, the averages (avg_..., groups, all_task; null where something is
        missing), means over what is there (mean_of_available), and what was noticed (notes).
"""

import argparse
from pathlib import Path
from statistics import fmean

from xstilts.commands import words_given
from xstilts.errors import UserError, run_script
from xstilts.json_files import write_json
from xstilts.submission import file_of, score_files
from xstilts.xtreme import BENCHMARKS, averages, tasks_of

LACKING = "* a mean over what is there: something is missing, so this is not the benchmark's score"


def main(argv=None):
    """Score the folder; `argv` is the command line without the program's name."""
    # 1. Arguments.
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--predictions", nargs="+", type=Path, required=True, metavar="DIR")
    parser.add_argument("--labels", type=Path, required=True, metavar="DIR")
    parser.add_argument("--benchmark", choices=BENCHMARKS, default="xtreme")
    parser.add_argument("--output_file", type=Path, default=Path("scores.json"))
    args = parser.parse_args(words_given(argv))
    for folder in (*args.predictions, args.labels):
        if not folder.is_dir():
            raise UserError(f"there is no folder {folder}")

    # 2. Task by task, language by language: files -> scores, and notes on what is wrong with them.
    scores, notes = {}, []
    for task, declared in tasks_of(args.benchmark).items():
        folder, labels = folder_of(task, args.predictions), folder_of(task, [args.labels])
        if folder is None or labels is None:
            notes.append(f"{task}: there are no {'predictions' if folder is None else 'labels'}")
            continue
        scores[task], found = score_task(task, declared.languages, folder, labels)
        notes += found
    notes += unknown_folders(args.predictions, args.benchmark)

    # 3. The benchmark's averages.
    results = averages(args.benchmark, scores)
    for task, each in results["tasks"].items():
        each["scores"] = scores.get(task, {})

    # 4. On the screen, and into the file.
    for note in notes:
        print(f"note: {note}")
    if not any(scores.values()):
        raise UserError(f"nothing could be scored; {notes[0]}")
    print(table(args.benchmark, results))
    write_json(args.output_file, {"benchmark": args.benchmark, **results, "notes": notes})
    print(args.output_file)


def folder_of(task, folders):
    """The folder of a task below one of `folders`, or None. Raises UserError where two have one."""
    found = [folder / task for folder in folders if (folder / task).is_dir()]
    if len(found) > 1:
        raise UserError(f"{found[0]} and {found[1]} both have {task}; give folders that have it once")
    return found[0] if found else None


def score_task(task, languages, folder, labels):
    """({language: {metric: score}}, notes); a language that cannot be scored is in the notes only."""
    files = {code: [file_of(task, code, each) for each in (folder, labels)] for code in languages}
    absent = {
        each: [code for code, paths in files.items() if paths[side] is None]
        for side, each in enumerate((folder, labels))
    }
    scores, notes = {}, [f"{task}: {each} has no file for {' '.join(codes)}" for each, codes in absent.items() if codes]
    for language, paths in files.items():
        if all(paths):
            try:
                scores[language], found = score_files(task, language, *paths)
            except (UserError, OSError) as error:
                found = [f"not scored: {error}"]
            notes += [f"{task} {language}: {note}" for note in found]
    known = {path for path, _ in files.values()}
    if unknown := sorted(path.name for path in folder.glob("[!.]*") if path not in known):
        notes.append(f"{task}: not read: {', '.join(unknown)} in {folder}")
    return scores, notes


def unknown_folders(folders, benchmark):
    """A note on folders that are no task of the benchmark."""
    paths = (path for folder in folders for path in folder.glob("[!.]*") if path.is_dir())
    unknown = [str(path) for path in sorted(paths) if path.name not in tasks_of(benchmark)]
    return [f"{', '.join(unknown)}: not a task of {benchmark}"] if unknown else []


def table(benchmark, results):
    """Of every task its score, its other averages and its languages; the groups and the overall score."""
    lines = [benchmark]
    for task, each in results["tasks"].items():
        declared, means = tasks_of(benchmark)[task], dict(each["mean_of_available"])
        score = shown(each["avg_metric"], means.pop("metric", None))
        line = f"{task:<16}{score}  {len(each['scores'])}/{len(declared.languages)} languages"
        lines.append(", ".join([line, *(f"{name} {value:.1f}" for name, value in means.items())]))
        by_language = {code: fmean(own[name] for name in declared.metrics) for code, own in each["scores"].items()}
        cells = [f"{code} {value:5.1f}" for code, value in by_language.items()]
        lines += [" " * 18 + "  ".join(cells[start : start + 10]) for start in range(0, len(cells), 10)]
    lines += [f"{group:<16}{shown(mean)}" for group, mean in results["groups"].items()]
    lines.append(f"{'all tasks':<16}{shown(results['all_task'], results['mean_of_available'])}")
    return "\n".join(line.rstrip() for line in lines + [LACKING] * bool(results["missing_tasks"]))


def shown(score, instead=None):
    """A score in 8 columns: the benchmark's, or a mean over what is there with a mark, or a dash."""
    if score is None:
        return f"{instead:7.1f}*" if instead is not None else f"{'-':>7} "
    return f"{score:7.1f} "


if __name__ == "__main__":
    run_script(main)
