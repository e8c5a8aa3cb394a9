"""English data for every intermediate task beside MNLI, SQuAD and HellaSwag, and training data in other languages.

All of this is drawn after the rest of the world, from random streams of its own: nothing here changes another file, and a
new task here changes no other one's items. Dev items contain no sentence that was `seen` anywhere before (in a training
set or in pretraining text), training items none that was held out; both are sets of English sentences.
"""

import random
from collections.abc import Callable
from typing import NamedTuple

from demo.choices import draw_alternatives, draw_comprehension, draw_knowledge, draw_social
from demo.intermediate_writers import (
    write_anli,
    write_ccg,
    write_commonsenseqa,
    write_copa,
    write_cosmosqa,
    write_qqp,
    write_siqa,
    write_snli,
    write_squad_v2,
)
from demo.items import LABELS, draw_pair, draw_passage, whole_sentences
from demo.languages import ENGLISH, say
from demo.questions import draw_open_paragraph, draw_question_pair
from demo.supertags import draw_derivation
from demo.world import draw_sentence
from demo.writers import treebank, write_conllu, write_hellaswag, write_mnli

TREEBANKS = ("qna", "qnb", "qma", "qmb", "qfa", "qfb")  # languages that have a treebank to train on
TRANSLATED = {"nli": 2000, "hellaswag": 1500}  # how many of the English training items exist in every language


class Recipe(NamedTuple):
    """One task: its training and dev file, how many items each has, how item `i` of a split is drawn, and the writer.

    `draw(rng, i, split)` gives out labels by `i`, so that they are balanced; the items are shuffled afterwards. Training
    items have no sentence of `apart`.
    """

    files: tuple[str, str]
    sizes: tuple[int, int]
    draw: Callable
    write: Callable
    apart: frozenset[str] = frozenset()


def label_of(i):
    return LABELS[i % 3]


def anli(number, sizes):
    """Round `number` of ANLI: premises of two sentences, then of two or three, then of three."""
    lengths = {1: (2,), 2: (2, 3), 3: (3,)}[number]
    files = (f"anli/R{number}/train.jsonl", f"anli/R{number}/dev.jsonl")
    return Recipe(files, sizes, lambda rng, i, _: draw_passage(rng, label_of(i), rng.choice(lengths)), write_anli)


RECIPES = (
    Recipe(
        ("qqp/train.tsv", "qqp/dev.tsv"), (3000, 300),
        lambda rng, i, _: draw_question_pair(rng, i % 2 == 0), write_qqp,
    ),
    Recipe(  # of up to three questions each
        ("squad_v2/train-v2.0.json", "squad_v2/dev-v2.0.json"), (1050, 100),
        lambda rng, i, _: draw_open_paragraph(rng), write_squad_v2,
    ),
    Recipe(
        ("ccg/World/en_world-train.auto", "ccg/World/en_world-dev.auto"), (2000, 250),
        lambda rng, i, split: draw_derivation(rng, rare=split == "dev" and i % 50 == 0), write_ccg,
    ),
    Recipe(
        ("cosmosqa/train.csv", "cosmosqa/valid.csv"), (3000, 300),
        lambda rng, i, _: draw_comprehension(rng), write_cosmosqa,
    ),
    Recipe(
        ("commonsenseqa/train_rand_split.jsonl", "commonsenseqa/dev_rand_split.jsonl"), (2000, 250),
        lambda rng, i, _: draw_knowledge(rng), write_commonsenseqa,
    ),
    Recipe(
        ("socialiqa/socialIQa_v1.4_trn.jsonl", "socialiqa/socialIQa_v1.4_dev.jsonl"), (3000, 300),
        lambda rng, i, _: draw_social(rng), write_siqa,
    ),
    Recipe(("copa/train.jsonl", "copa/val.jsonl"), (400, 100), lambda rng, i, _: draw_alternatives(rng), write_copa),
    Recipe(
        ("snli/snli_1.0_train.jsonl", "snli/snli_1.0_dev.jsonl"), (3000, 300),
        lambda rng, i, _: draw_pair(rng, label_of(i)), write_snli,
    ),
    anli(1, (600, 60)), anli(2, (1000, 100)), anli(3, (1400, 140)),
)  # fmt: skip


def said(item):
    """The English sentences of an item or a sentence; not its short answers."""
    return [part if isinstance(part, str) else say(part, ENGLISH) for part in whole_sentences(item)]


def unlike(draw, *taken):
    """(an item, its sentences), drawn again until none of its sentences is in one of the sets `taken`."""
    while True:
        item = draw()
        sentences = said(item)
        if all(known.isdisjoint(sentences) for known in taken):
            return item, sentences


def treebank_recipe(language, english):
    """A treebank of a language whose sentences are not translations of the English ones, the set `english`."""
    files = (treebank(language, "train"), treebank(language, "dev"))
    return Recipe(
        files, (600, 100), lambda rng, *_: draw_sentence(rng),
        lambda path, sentences, split: write_conllu(path, sentences, language, split), english,
    )  # fmt: skip


def write_recipes(out, seed, recipes, size, held_out, seen):
    """Draw and write all dev sets, then all training sets; `size(count)` scales a count, both sets of sentences grow."""
    for split, index in (("dev", 1), ("train", 0)):
        for recipe in recipes:
            rng, count = random.Random(f"{seed} {recipe.files[index]}"), size(recipe.sizes[index])
            items = draw_items(rng, recipe, split, count, held_out, seen if split == "dev" else recipe.apart)
            seen.update(sentence for item in items for sentence in said(item))
            recipe.write(out / recipe.files[index], items, split)


def draw_items(rng, recipe, split, count, held_out, others):
    """`count` items clear of both sets of sentences; the sentences of dev and test items are held out from then on."""
    items = []
    for i in range(count):
        item, sentences = unlike(lambda i=i: recipe.draw(rng, i, split), held_out, others)
        if split != "train":
            held_out.update(sentences)
        items.append(item)
    rng.shuffle(items)
    return items


def write_intermediate(out, seed, languages, size, train, seen, held_out):
    """Everything in this file, below `out`; `train` has the English training items that exist in other languages."""
    english = frozenset(sentence for item in train["ud"] for sentence in said(item))
    recipes = [*RECIPES, *(treebank_recipe(languages[code], english) for code in TREEBANKS)]
    write_recipes(out, seed, recipes, size, held_out, seen)
    for code, language in languages.items():
        if code != "en":
            write_translations(out, train, language, size)


def write_translations(out, train, language, size):
    """The first training items of MNLI and HellaSwag, row by row the same as the English ones."""
    pairs, stories = train["nli"][: size(TRANSLATED["nli"])], train["hellaswag"][: size(TRANSLATED["hellaswag"])]
    write_mnli(out / f"mnli/translated/{language.code}/multinli_1.0_train.jsonl", pairs, language, "train")
    write_hellaswag(out / f"hellaswag/translated/{language.code}/hellaswag_train.jsonl", stories, language, "train")
