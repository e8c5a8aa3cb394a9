"""Data for the retrieval tasks beside Tatoeba: BUCC 2018, LAReQA and Mewsli-X.

All of this is drawn after everything else, each set from a random stream of its own: nothing here changes another file.
Sentences of dev and test sets are none that was `seen` in a training set or in pretraining text; Mewsli-X's training texts
have none that was held out. LAReQA has XQuAD's questions and paragraphs.
"""

import itertools
import random
from typing import NamedTuple

from demo.entities import draw_account, draw_article, draw_entity, shuffled_names
from demo.intermediate import unlike
from demo.retrieval_writers import write_bucc, write_candidates, write_lareqa, write_news, write_pairs
from demo.world import Sentence, draw_sentence

BUCC = {"dev": (400, 20), "test": (1500, 25)}  # sentences on each side, and on how many of them comes a pair
NEWS = {"dev": (80, 20), "test": (150, 40)}  # entities, and mentions in each language
WIKIPEDIA = {"dev": (60, 2), "train": (1500, 2)}  # entities, and texts in which each is mentioned
OTHERS = 110  # candidates that are never mentioned


class Bitext(NamedTuple):
    """Sentences in the order of their files, and gold pairs of indices into both."""

    foreign: list[Sentence]
    english: list[Sentence]
    gold: list[tuple[int, int]]


def write_retrieval(out, seed, languages, size, paragraphs, seen, held_out):
    """Everything in this file, below `out`; `size(count)` scales a count, `paragraphs` are XQuAD's; both sets grow."""
    for code, language in languages.items():
        write_lareqa(out / f"lareqa/xquad-r/{code}.json", paragraphs, language)
        for split, (count, rarity) in BUCC.items() if code != "en" else ():
            rng = random.Random(f"{seed} bucc2018/{code}-en.{split}")
            bitext = draw_bitext(rng, size(count), rarity, held_out, seen)
            write_bucc(out / "bucc2018", split, bitext, language, languages["en"])
    write_mewslix(out / "mewslix", seed, languages, size, seen, held_out)


def draw_bitext(rng, count, rarity, held_out, seen):
    """`count` sentences on both sides. One in `rarity` has its translation on the other side (three at least), and one in 150
    (two at least) is a copy of another one, of one in a pair every second time. The gold pairs then name either of the two."""
    pairs, copies = max(3, count // rarity), max(2, count // 150)
    alone = count - pairs - copies
    sentences = draw_apart(lambda _: draw_sentence(rng), range(pairs + 2 * alone), held_out, seen)
    orders = [shuffled_with_copies(rng, pairs, alone, copies) for _ in range(2)]
    sides = (sentences[: pairs + alone], sentences[:pairs] + sentences[pairs + alone :])
    foreign, english = ([side[i] for i in order] for side, order in zip(sides, orders, strict=True))
    gold = [tuple(rng.choice(places(order, pair)) for order in orders) for pair in range(pairs)]
    return Bitext(foreign, english, sorted(gold))


def shuffled_with_copies(rng, pairs, alone, copies):
    """Indices of the sentences of a side, the first `pairs` of which are in pairs, in the order of its file."""
    twice = [*rng.sample(range(pairs), copies // 2), *rng.sample(range(pairs, pairs + alone), copies - copies // 2)]
    return rng.sample([*range(pairs + alone), *twice], pairs + alone + copies)


def places(order, index):
    return [place for place, own in enumerate(order) if own == index]


def draw_apart(draw, inputs, held_out, seen, training=False):
    """`draw(each)` for each of the inputs: items whose sentences are in neither set, nor in each other, and are held out from
    then on. Those of a training set need only not be held out; they are `seen` from then on."""
    items = []
    for each in inputs:
        taken = (held_out,) if training else (held_out, seen)
        item, sentences = unlike(lambda each=each: draw(each), *taken)
        (seen if training else held_out).update(sentences)
        items.append(item)
    return items


def write_mewslix(folder, seed, languages, size, seen, held_out):
    """All five files. Every candidate is described in a language of its own, one in four in English."""

    def stream(name):
        return random.Random(f"{seed} mewslix/{name}")

    entities = draw_entities(stream("entities"), size, seen, held_out)
    for split in NEWS:
        articles = draw_news(stream(f"news {split}"), entities[split], languages, size(NEWS[split][1]), held_out, seen)
        write_news(folder / f"wikinews_mentions-{split}.jsonl", articles)
    rng = stream("candidates")
    candidates = [entity for group in ("others", "dev", "test", "pages dev") for entity in entities[group]]
    rng.shuffle(candidates)
    spoken = [languages["en"] if rng.random() < 1 / 4 else rng.choice([*languages.values()]) for _ in candidates]
    write_candidates(folder / "candidate_set_entities.jsonl", candidates, spoken)
    for split in WIKIPEDIA:
        pairs = draw_pairs(stream(f"pairs {split}"), entities[f"pages {split}"], split, held_out, seen)
        write_pairs(folder / f"wikipedia_pairs-{split}.jsonl", *pairs, languages["en"])


def draw_entities(rng, size, seen, held_out):
    """{group: entities}, each in one group only; names come again when there are more entities than names, 2,016."""
    counts = {"others": OTHERS} | {split: count for split, (count, _) in NEWS.items()}
    counts |= {f"pages {split}": count for split, (count, _) in WIKIPEDIA.items()}
    counts = {group: size(count) for group, count in counts.items()}
    numbers, names = rng.sample(range(1, 1_000_000), sum(counts.values())), itertools.cycle(shuffled_names(rng))
    identities, groups = zip(numbers, names, strict=False), {}
    for group, count in counts.items():
        inputs = itertools.islice(identities, count)
        training = group == "pages train"
        groups[group] = draw_apart(lambda known: draw_entity(rng, *known), inputs, held_out, seen, training)
    return groups


def draw_news(rng, entities, languages, count, held_out, seen):
    """(article, language) in mixed order, with `count` of the entities in each language, one or two to an article."""
    named = []
    for language in languages.values():
        mentioned = rng.sample(entities, count)
        while mentioned:
            named.append(([mentioned.pop() for _ in range(min(len(mentioned), rng.choice((1, 2))))], language))
    rng.shuffle(named)
    articles = draw_apart(lambda each: draw_article(rng, each[0]), named, held_out, seen)
    return [(article, language) for article, (_, language) in zip(articles, named, strict=True)]


def draw_pairs(rng, entities, split, held_out, seen):
    """Texts that mention each entity a few times, and the entity on whose page each text stands."""
    mentioned = rng.sample(entities * WIKIPEDIA[split][1], len(entities) * WIKIPEDIA[split][1])
    accounts = draw_apart(lambda entity: draw_account(rng, entity), mentioned, held_out, seen, split == "train")
    return accounts, [rng.choice([page for page in entities if page is not entity]) for entity in mentioned]
