"""What three more targets ask about: do two sentences say the same (PAWS-X), what is named in a sentence (PAN-X), and a
question that was not written for its paragraph (TyDiQA)."""

from dataclasses import dataclass, replace

from demo.items import Paragraph, draw_facts
from demo.lexicon import TOPICS
from demo.questions import ROLES, reword
from demo.world import Phrase, Sentence, chance, draw_event, drop_some

LINKERS = ("and", "but", "while")  # the order of the clauses around them means nothing
NAMES = tuple(name for topic in TOPICS for name in topic.names)
TOWNS = tuple(topic.town for topic in TOPICS)
# After a name these are the name of an organisation or of a place; the other places of the lexicon are never named.
ORGANISATIONS = tuple(
    "restaurant bakery theatre club studio library school college hospital clinic pharmacy garage".split()
)
REGIONS = tuple("field harbour lagoon bay garden park forest station street".split())


@dataclass(frozen=True)
class Paraphrase:
    """Two sentences of the same words; `same` if they say the same."""

    first: Sentence
    second: Sentence
    same: bool

    @property
    def sentences(self):
        return [self.first, self.second]


def draw_paraphrase(rng, same):
    """Two short clauses, and the same two in the other order; if they do not say the `same`, their subjects or now and then their
    objects are exchanged as well.

    So the words of a pair tell nothing, only who did what to which thing. More modifiers, or pairs in the same order, make it too
    hard for an encoder as small as the demo's.
    """
    clauses = [drop_some(rng, clause, keep=0.2) for clause in draw_facts(rng, rng.choice(TOPICS), 2)]
    first, second = (replace(clause, auxiliary=None) for clause in clauses)
    linker, role = rng.choice(LINKERS), "subject" if chance(rng, 0.9) else "object"
    sentence = Sentence(first, linker, second)
    if not same:
        first, second = (replace(one, **{role: getattr(two, role)}) for one, two in ((first, second), (second, first)))
    other = Sentence(move_time(rng, second), linker, move_time(rng, first))
    return Paraphrase(*rng.sample((sentence, other), 2), same)


def move_time(rng, clause):
    return replace(clause, time_moved=True) if clause.time and chance(rng, 0.5) else clause


def draw_named(rng):
    """An event whose people and places are mostly named: people with one name or two, organisations, towns, places."""
    event = draw_event(rng, rng.choice(TOPICS), 0.8, 0.3, 0.2, 0.1)
    return Sentence(replace(event, subject=name_subject(rng, event.subject), place=name_place(rng, event.place)))


def name_subject(rng, subject):
    """Half of the people with a name get another one before it, half of the others are an organisation instead."""
    if not chance(rng, 0.5):
        return subject
    if subject.upos == "PROPN":
        return replace(subject, adjective=rng.choice([name for name in NAMES if name != subject.noun]))
    return named(rng, rng.choice(ORGANISATIONS))


def name_place(rng, place):
    """Most places get the name of a person or town before them, where they are places that have names."""
    if place is None or place.noun not in (*ORGANISATIONS, *REGIONS) or chance(rng, 0.3):
        return place
    return replace(named(rng, place.noun), adposition=place.adposition)


def named(rng, noun):
    """`Vienna club`: the name stands where the language puts adjectives."""
    return Phrase(noun, adjective=rng.choice(rng.choice((NAMES, TOWNS))))


def entity_type(phrase):
    """PER, ORG, LOC or None: what the phrase of a clause names."""
    if phrase is None:
        return None
    if phrase.noun in NAMES:
        return "PER"
    if phrase.noun in TOWNS:
        return "LOC"
    if phrase.adjective not in (*NAMES, *TOWNS):
        return None
    return "ORG" if phrase.noun in ORGANISATIONS else "LOC"


def draw_sought(rng):
    """Four facts and one question by someone who has not read them: with other articles, fewer modifiers, and where it asks
    for place or time sometimes only the kind of the thing."""
    topic, index = rng.choice(TOPICS), rng.randrange(4)
    clauses = draw_facts(rng, topic, 4)
    role = rng.choice([role for role in ROLES if getattr(clauses[index], role)])
    question = reword(rng, clauses[index], role)
    if role in ("place", "time") and chance(rng, 0.4):
        kind = replace(question.clause.object, noun=topic.kind, adjective=None)
        question = replace(question, clause=replace(question.clause, object=kind))
    return Paragraph(tuple(map(Sentence, clauses)), ((question, index),))
