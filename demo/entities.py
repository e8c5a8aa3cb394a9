"""People and places with a name of two words, what is known of them, and texts that mention them, for Mewsli-X."""

from dataclasses import dataclass, replace

from demo.lexicon import TOPICS
from demo.target_items import NAMES, ORGANISATIONS, REGIONS, TOWNS
from demo.world import Answer, Clause, Phrase, Sentence, chance, draw_event, draw_time, drop_some, pronoun_for

ADPOSITIONS = ("in", "near")


@dataclass(frozen=True)
class Entity:
    """`number` is that of its Wikidata item; `facts` are clauses that have the name as their `role`."""

    number: int
    name: Phrase
    facts: tuple[Clause, ...]

    @property
    def role(self):
        """People act, in other places than those with a name."""
        return "subject" if self.name.upos == "PROPN" else "place"

    @property
    def sentences(self):
        """The description: a person is a pronoun from the second sentence on."""
        later = [unnamed(self, fact) if self.role == "subject" else fact for fact in self.facts[1:]]
        return [Sentence(fact) for fact in (self.facts[0], *later)]


@dataclass(frozen=True)
class Account:
    """Sentences of which the one at `index` names the entity."""

    entity: Entity
    sentences: tuple[Sentence, ...]
    index: int


@dataclass(frozen=True)
class Article:
    """A headline and a paragraph for each entity that is mentioned."""

    headline: Answer
    accounts: tuple[Account, ...]

    @property
    def sentences(self):
        return [sentence for account in self.accounts for sentence in account.sentences]


def shuffled_names(rng):
    """The names of people (`Anna Boris`) and of organisations and places (`Vienna club`) in turn, as many of both."""
    people = [Phrase(last, "PROPN", adjective=first) for first in NAMES for last in NAMES if first != last]
    places = [Phrase(noun, adjective=first) for first in (*NAMES, *TOWNS) for noun in (*ORGANISATIONS, *REGIONS)]
    count = min(len(people), len(places))
    both = zip(rng.sample(people, count), rng.sample(places, count), strict=True)
    return [name for pair in both for name in pair]


def draw_entity(rng, number, name, facts=3):
    """An entity of the topic that its last name or its kind of place belongs to, and events with as many things."""
    topic = next(topic for topic in TOPICS if name.noun in (*topic.names, *topic.places))
    entity, found = Entity(number, name, ()), {}
    while len(found) < facts:
        event = replace(draw_event(rng, topic, 0.7, 0.3, 0.3, 0.0), auxiliary=None)
        found.setdefault(event.object.noun, named(entity, event, name, rng.choice(ADPOSITIONS)))
    return replace(entity, facts=tuple(found.values()))


def named(entity, clause, name, adposition):
    """The clause with `name`, the entity's or a shorter one, in its role."""
    phrase = name if entity.role == "subject" else replace(name, adposition=adposition)
    return replace(clause, **{entity.role: phrase})


def unnamed(entity, clause):
    """The clause with a pronoun for the person, or without the place."""
    return replace(clause, **{entity.role: pronoun_for(entity.name) if entity.role == "subject" else None})


def draw_account(rng, entity):
    """Up to two other events of the topic, one that names the entity, and mostly a fact about it that does not.

    What names it is half of the time a fact of the description too, with fewer modifiers and at another time; else it is new and
    only the name tells who or what is meant. A third of the people lose their first name, and then it is always a fact.
    """
    told, other = rng.sample(entity.facts, 2)
    short = entity.role == "subject" and chance(rng, 1 / 3)
    if not short and chance(rng, 0.5):
        told = draw_event(rng, told.topic, 0.7, 0.3, 0.3, 0.0)
    name = replace(entity.name, adjective=None) if short else entity.name
    mention = named(entity, retell(rng, told), name, rng.choice(ADPOSITIONS))
    before = [Sentence(draw_event(rng, told.topic)) for _ in range(rng.randrange(3))]
    after = [Sentence(unnamed(entity, retell(rng, other)))] if chance(rng, 0.7) else []
    return Account(entity, (*before, Sentence(mention), *after), len(before))


def retell(rng, fact):
    return replace(drop_some(rng, fact), time=draw_time(rng) if chance(rng, 0.4) else None)


def draw_article(rng, entities):
    """The headline is the thing that the first paragraph begins with."""
    accounts = tuple(draw_account(rng, entity) for entity in entities)
    return Article(Answer(accounts[0].sentences[0].first, "object"), accounts)
