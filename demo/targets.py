"""Data for every target task of XTREME and XTREME-R beside XNLI, UD, XQuAD and Tatoeba: PAWS-X, XCOPA, PAN-X, MLQA, TyDiQA.

All of this is drawn after the rest of the world, each set from a random stream of its own: nothing here changes another
file. Dev and test sets come first and contain no sentence that was `seen` in a training set or in pretraining text, training
sets none that was held out.
"""

import random
from collections.abc import Callable
from typing import NamedTuple

from demo.choices import draw_alternatives
from demo.intermediate import TREEBANKS, draw_items, said
from demo.items import draw_paragraph
from demo.target_items import draw_named, draw_paraphrase, draw_sought
from demo.target_writers import write_mlqa, write_panx, write_pawsx, write_tydiqa, write_xcopa

SOURCES = TREEBANKS  # languages beside English that have training rows here
PAWSX_TRANSLATED = 1500  # how many of the English training pairs of PAWS-X exist in these
CROSS = (("en", "qna"), ("en", "qma"), ("en", "qfa"), ("qna", "en"), ("qma", "en"), ("qfa", "en"), ("qna", "qfa"))


class Target(NamedTuple):
    """One set of items, and what is written of it; `name` is that of its random stream.

    `draw(rng, i, split)` gives out labels by `i`, as in `intermediate.Recipe`; `write(out, items)` writes all of its files.
    """

    name: str
    split: str
    size: int
    draw: Callable
    write: Callable


def pawsx(split, size, languages, translated=None):
    """Pairs that are the same in all `languages`; the first `translated` of them where that is not all."""

    def write(out, pairs):
        for code, language in languages.items():
            count = len(pairs) if code == "en" else translated
            write_pawsx(out / f"pawsx/{split}-{code}.tsv", pairs[:count], language)

    return Target(f"pawsx/{split}", split, size, lambda rng, i, _: draw_paraphrase(rng, i % 2 == 0), write)


def xcopa(split, size, languages):
    """The same alternatives in all `languages`, English among them, which the published XCOPA leaves to COPA."""

    def write(out, items):
        for code, language in languages.items():
            write_xcopa(out / f"xcopa/{code}/{split}.{code}.jsonl", items, language)

    return Target(f"xcopa/{split}", split, size, lambda rng, *_: draw_alternatives(rng), write)


def mlqa(split, size, languages):
    """The same paragraphs and questions in all languages, and in the pairs of languages of `CROSS`."""

    def write(out, paragraphs):
        for context, question in (*((code, code) for code in languages), *CROSS):
            path = out / f"mlqa/MLQA_V1/{split}/{split}-context-{context}-question-{question}.json"
            write_mlqa(path, paragraphs, languages[context], languages[question])

    return Target(f"mlqa/{split}", split, size, lambda rng, *_: draw_paragraph(rng, facts=4, questions=2), write)


def panx(split, size, language):
    """Sentences of one language; no translations, as in Wikipedias."""
    file = f"panx/{split}-{language.code}.tsv"

    def write(out, sentences):
        write_panx(out / file, sentences, language)

    return Target(file, split, size, lambda rng, *_: draw_named(rng), write)


def tydiqa(split, size, language):
    """Paragraphs of one language with a question each; no translations."""
    file = f"tydiqa/tydiqa-goldp-v1.1-{split}/tydiqa.goldp.{language.code}.{split}.json"

    def write(out, paragraphs):
        write_tydiqa(out / file, paragraphs, language, split)

    return Target(file, split, size, lambda rng, *_: draw_sought(rng), write)


def held_out_sets(languages):
    """The dev and test sets; what is asked in all languages at once comes first."""
    sets = [
        pawsx("dev", 300, languages), pawsx("test", 300, languages), xcopa("val", 100, languages),
        xcopa("test", 300, languages), mlqa("dev", 50, languages), mlqa("test", 150, languages),
    ]  # fmt: skip
    for language in languages.values():
        sets += [panx("dev", 100, language), panx("test", 200, language), tydiqa("dev", 150, language)]
    return sets


def training_sets(languages, size):
    """English training sets, and smaller ones of the languages that are sources too."""
    sources = {code: languages[code] for code in ("en", *SOURCES)}
    sets = [pawsx("train", 6000, sources, size(PAWSX_TRANSLATED))]
    for code, language in sources.items():
        sets += [panx("train", 3000 if code == "en" else 600, language)]
        sets += [tydiqa("train", 3000 if code == "en" else 1000, language)]
    return sets


def write_targets(out, seed, languages, size, seen, held_out):
    """Everything in this file, below `out`; `size(count)` scales a count; `held_out` and `seen` grow."""
    for target in (*held_out_sets(languages), *training_sets(languages, size)):
        rng, others = random.Random(f"{seed} {target.name}"), set() if target.split == "train" else seen
        items = draw_items(rng, target, target.split, size(target.size), held_out, others)
        seen.update(sentence for item in items for sentence in said(item))
        target.write(out, items)
