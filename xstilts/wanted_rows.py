"""Which rows the phases of some tasks read: every split in every language, the tasks they learn from, queries and candidates."""

from collections.abc import Callable
from dataclasses import dataclass

from xstilts.arrow_files import rows_of
from xstilts.hub_rows import piece_of
from xstilts.official_files import holds_languages
from xstilts.sources import Source
from xstilts.task import RetrievalTask, of_benchmark, published_rows
from xstilts.templates import ENGLISH
from xstilts.xtreme import BENCHMARKS

CANDIDATES = "candidates"


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Rows of one split in one language.

    task       name of the task that reads them
    benchmark  the benchmark whose release of the data they are, for a task that has several releases
    split      as the task calls it, or `candidates`
    stored     the split of the source that they are in
    needed     whether a result depends on them; training and selection rows in other languages than English, and test rows of
               tasks that are in English only, are read if somebody asks for them and there are some
    published  how many there are by the task's declaration, None where it does not say
    count      rows -> how many that are: rows, questions or gold pairs
    """

    task: str
    benchmark: str | None = None
    split: str
    stored: str
    language: str
    source: Source
    needed: bool = True
    published: int | None = None
    count: Callable = len

    @property
    def key(self):
        """What tells it from others."""
        return (self.task, self.benchmark or "", self.split, self.language)


def wanted_rows(tasks, benchmark=None, languages=(), train_languages=()):
    """`Wanted` of some tasks, each once: in the languages of a benchmark, without one of both.

    `languages` narrows the test languages and those of further training rows to these and English; candidates stay whole.
    `train_languages` narrows the further training rows alone.
    """
    found = {}
    for task in tasks:
        for each in _releases(task, benchmark):
            label = benchmark_of(task, each)
            for wanted in _of_task(each, languages, label):
                if wanted.split == "train" and train_languages and wanted.language not in (*train_languages, ENGLISH):
                    continue
                found.setdefault(wanted.key, wanted)
    return [*found.values()]


def languages_of_tasks(tasks, benchmark=None):
    """All languages that some tasks may be asked for, pairs of languages included."""
    releases = [each for task in tasks for each in _releases(task, benchmark)]
    return {code for each in releases for code in (*each.languages, *getattr(each, "on_request", ()))}


def _releases(task, benchmark):
    """The task as the benchmark has it, or as both have it; as it is declared where they do not have it."""
    names = [name for name in ([benchmark] if benchmark else BENCHMARKS) if task.name in BENCHMARKS[name]]
    return [of_benchmark(task, name) for name in names] or [task]


def benchmark_of(task, release):
    """The benchmark whose release of the data this is, None where all have the same one."""
    sources = {name: fields.get("source", task.source) for name, fields in getattr(task, "variants", {}).items()}
    changed = [name for name, source in sources.items() if source.files != task.source.files]
    return next((name for name in changed if sources[name] == release.source), None)


def _of_task(task, languages, label=None):
    if isinstance(task, RetrievalTask):
        count = _gold_pairs if "gold" in task.source.features else len
        for split in task.splits:
            for language in _narrowed(task, languages):
                yield _wanted(task, split, language, task.source, label, count=count)
        return
    for part in task.parts:
        yield from _of_task(part, languages, label)
    if task.train_on:
        yield from _of_task(task.train_on, languages)
    if task.source:
        yield from _labelled(task, languages, label)
    if task.retrieval:
        yield from _ranked(task, languages, label)


def _labelled(task, languages, label):
    for split in task.splits:
        for language in _narrowed(task, languages):
            if split == "train" and language == ENGLISH and task.train_on:
                continue  # English ones are always those of `train_on`
            needed = len(task.languages) > 1 if split == "test" else language == ENGLISH
            has_a_place = holds_languages(task.source, split) or piece_of(task.source, split, language)
            if needed or language == ENGLISH or has_a_place:
                yield _wanted(task, split, language, task.source, label, needed=needed)


def _ranked(task, languages, label):
    ranking = task.retrieval
    for language in _narrowed(task, languages):
        count = _number_of(ranking.to_queries)
        yield _wanted(task, "test", language, ranking.queries, label, count=count)
    if ranking.candidates == ranking.queries and not languages:
        return
    for language in task.languages if holds_languages(ranking.candidates, "test") else [ENGLISH]:
        count = _number_of(ranking.to_candidates)
        yield _wanted(task, "test", language, ranking.candidates, label, CANDIDATES, count=count)


def _narrowed(task, languages):
    """A task's languages that were asked for and English, all of them where none were; English first."""
    own = [*task.languages, *(code for code in getattr(task, "on_request", ()) if code in languages)]
    found = [code for code in own if not languages or code in languages or code == ENGLISH]
    return sorted(found, key=lambda code: code != ENGLISH)


def _wanted(task, split, language, source, label, shown=None, needed=True, count=len):
    published = None if shown else published_rows(task, split, language)
    return Wanted(
        task=task.name, benchmark=label, split=shown or split, stored=split, language=language, source=source,
        needed=needed, published=published, count=count,
    )  # fmt: skip


def _gold_pairs(rows):
    return sum(len(row["gold"]) for row in rows_of(rows))


def _number_of(convert):
    """rows -> how many queries or candidates they make."""

    def count(rows):
        return sum(len(convert(row)) for row in rows_of(rows))

    return count
