"""Which languages a phase reads: training and selection rows in the languages asked for, test rows in all of a benchmark's."""

import contextlib
from functools import partial

from datasets import Dataset

from xstilts.base import UserError, print_main
from xstilts.examples import Examples, check_samples, joined, load_examples, record_of
from xstilts.official_files import patterns
from xstilts.raw_rows import MissingData
from xstilts.sources import languages_in, load_raw
from xstilts.task import published_rows
from xstilts.templates import ENGLISH


def check_available(tasks, data_dir):
    """Raise UserError for a task whose rows are nowhere on the hub, before hours go into the others'."""
    for task in tasks:
        if data_dir is None and task.source and task.source.hub is None:
            others = (
                "" if len(tasks) == 1 else f", or leave it out (--task all-{task.name} is all of the nine without it)"
            )
            place = patterns(task.source, "train", ENGLISH)[0]
            raise UserError(f"{task.name} is not on the hub: give --data_dir DIR with DIR/{place}{others}")


def load_training(task, languages=ENGLISH, data_dir=None, max_samples=None):
    """Training examples of a task in all of `languages` (comma-separated codes, or `all`), language after language; of each the
    first `max_samples`.

    English rows are those of `train_on` where a task has one; rows in other languages are its own (XNLI's machine translations)
    or translated files of `train_on`. Raises UserError for a language without training rows, with those that have some, and for
    a task that has none and names none.
    """
    if not teachers(task, ENGLISH):
        raise UserError(
            f"{task.name} can only be evaluated: tasks/{task.name}.py declares no train split, and no `train_on`, the task "
            "whose training rows it learns from"
        )
    found = []
    for language in asked_languages(task, languages, data_dir):
        try:
            found.append(_of_first(teachers(task, language), "train", language, data_dir, max_samples))
        except MissingData as error:
            if languages == ENGLISH:
                raise
            if languages != "all":
                known = ", ".join(training_languages(task, data_dir))
                sources = [part.source for part in teachers(task, language)[-1].parts or teachers(task, language)[-1:]]
                places = [f"DIR/{place}" for source in sources for place in patterns(source, "train", language)[:1]]
                others = f". Others go to {' and '.join(places)} below --data_dir DIR" if places else ""
                raise UserError(
                    f"--languages: {task.name} has no training rows in '{language}'; it has {known}{others}"
                ) from error
            print_main(f"{task.name}: no training rows in '{language}' ({error})")
    if not found:
        raise UserError(
            f"--languages all: {task.name} has no training rows in any language; check --data_dir {data_dir}"
        )
    return joined(found)


def load_selection(task, languages=ENGLISH, data_dir=None, max_samples=None):
    """Selection examples in `languages`, those of the training rows; one without any is named, and where none has any they are
    English. Raises UserError for a task that has none."""
    if not any(_selectors(task, language) for language in {*task.languages, ENGLISH}):
        raise UserError(
            f"{task.name} has no rows to select a checkpoint on: declare a validation split in tasks/{task.name}.py, or "
            "`held_out_by`, a column by whose values a part of the training rows is held out"
        )
    found, missing = [], []
    for language in asked_languages(task, languages, data_dir):
        try:
            found.append(_of_first(_selectors(task, language), "validation", language, data_dir, max_samples))
        except MissingData:
            if languages == ENGLISH:
                raise
            missing.append(language)
    if missing:
        instead = "" if found else "; the checkpoint is selected in English"
        print_main(f"{task.name}: no selection rows in {', '.join(missing)}{instead}")
    if not found:
        return load_selection(task, ENGLISH, data_dir, max_samples)
    return joined(found)


def _selectors(task, language):
    """The tasks whose selection rows in a language are a task's, the first that has some."""
    own = [task] if _has_selection(task) else []
    if language in task.languages and own:
        return own
    others = [each for each in teachers(task, language) if each is not task and _has_selection(each)]
    return own + others  # XCOPA's English is COPA


def _has_selection(task):
    return "validation" in task.splits or task.held_out_by is not None


def teachers(task, language):
    """The tasks whose training rows in a language `task` may learn from, the first that has some."""
    own = [task] if "train" in task.splits else []
    other = [task.train_on] if task.train_on else []
    return other or own if language == ENGLISH else own + other


def _of_first(tasks, split, language, data_dir, max_samples):
    """Examples of the first of some tasks that has any. Raises MissingData where none has."""
    if not tasks:
        raise MissingData(f"no task declares {split} rows in '{language}'")
    *others, last = tasks
    for task in others:
        with contextlib.suppress(MissingData):
            return load_examples(task, split, language, data_dir, max_samples)
    return load_examples(last, split, language, data_dir, max_samples)


def asked_languages(task, languages, data_dir):
    """`--languages` as a list of codes. Raises UserError for one that is named twice."""
    codes = training_languages(task, data_dir) if languages == "all" else languages.split(",")
    if twice := [code for code in codes if codes.count(code) > 1]:
        raise UserError(f"--languages names '{twice[0]}' twice")
    return codes


def training_languages(task, data_dir):
    """Languages that a task has training rows in, English first: those of the hub's dataset, or of the files in `data_dir`."""
    among = [*teachers(task, ENGLISH), *teachers(task, "other")]
    found = {code for each in among for code in (_codes_in(each, "train", data_dir) if data_dir else each.languages)}
    return sorted(found, key=lambda code: (code != ENGLISH, code))


def _codes_in(task, split, data_dir):
    """Languages that `data_dir` has files of a split in, of all parts where a task has several."""
    sources = [part.source for part in getattr(task, "parts", ())] or [task.source]
    return set.intersection(*(set(languages_in(source, split, data_dir)) for source in sources))


def _first(raw, max_samples):
    return raw if max_samples is None else raw.select(range(min(max_samples, len(raw))))


def load_languages(task, split, languages=None, data_dir=None, max_samples=None, others=True):
    """Examples of every language: ({language: Examples}, {language without data: reason}).

    `languages` (comma-separated) must all be there; without it every language of the benchmark is tried, and what else lies in
    `data_dir` if `others`. Raises UserError for a code that neither knows, and if no language has data.
    """
    load = partial(load_examples, task, split, data_dir=data_dir, max_samples=max_samples)
    return each_language(task, split, languages, data_dir, load, others)


def load_sentences(task, split, languages=None, data_dir=None, max_samples=None):
    """The same for a retrieval task, whose rows are aligned sentences and have no labels."""

    check_samples(split, max_samples)

    def load(language):
        raw = load_raw(task.source, split, language, data_dir)
        where = ", ".join(raw.files)
        rows = [{side: text.strip() for side, text in row.items()} for row in _first(raw.rows, max_samples)]
        if empty := [number for number, row in enumerate(rows, start=1) if not all(row.values())]:
            raise UserError(f"{task.name} '{language}': a sentence of row {empty[0]} is empty ({where})")
        if not rows:
            raise UserError(f"{task.name}: no sentences in '{language}' ({where})")
        record = record_of(
            task.name, rows, split, language, published_rows(task, split, language), raw.files, hub=raw.hub
        )
        return Examples(Dataset.from_list(rows), (record,))

    return each_language(task, split, languages, data_dir, load)


def each_language(task, split, languages, data_dir, load, others=True):
    """({language: what `load(language=...)` gives}, {language without data: reason}); the rest is as in `load_languages`."""
    if split not in task.splits:
        raise UserError(f"{task.name} has no {split} split; give --split {' or '.join(task.splits)}")
    found = sorted(_codes_in(task, split, data_dir)) if data_dir and others else ()
    named = getattr(task, "on_request", ())
    tried = dict.fromkeys([*task.languages, *(language for language in found if language not in named)])
    known, asked = dict.fromkeys([*tried, *named]), languages.split(",") if languages else []
    for language in asked:
        if language not in known:
            there = [code for code in known if code in found]  # of published ones, those in the folder
            raise UserError(f"--languages: {task.name} has no '{language}'; it has {', '.join(there or known)}")
    found, missing = {}, {}
    for language in asked or tried:
        try:
            found[language] = load(language=language)
        except MissingData as error:
            if asked:
                raise
            missing[language] = str(error)
    if not found:
        raise UserError(next(iter(missing.values())))
    if missing:
        print_main(f"{task.name}: left out for want of data, e.g. {next(iter(missing.values()))}: {' '.join(missing)}")
    return found, missing
