"""The grammar of the world: what can be said, as small structures that have no language yet.

A `Clause` is one event or state (who did what to which thing, where, when, how). A `Sentence` joins one or two clauses, a
`Question` asks for one role of a clause and an `Answer` is that role alone. `languages.py` turns them into words.
Everything is drawn from a `random.Random` that the caller passes in: the same state gives the same structures.
"""

from dataclasses import dataclass, field, replace

from demo.lexicon import DAYS, LINKERS, MANNERS, NUMBERS, QUESTION_WORDS, TOPICS, Topic


@dataclass(frozen=True)
class Phrase:
    """A noun with what stands around it; a name, a pronoun and a year are nouns alone."""

    noun: str
    upos: str = "NOUN"
    determiner: str | None = None
    number: str | None = None
    adjective: str | None = None
    adposition: str | None = None

    @property
    def plural(self):
        return self.number is not None or self.determiner == "some"


@dataclass(frozen=True)
class Clause:
    """`subject verb object`, or `subject was quality` where `verb` is None; the other roles may be missing. A time that is
    `time_moved` stands first where the language says it late, and late where it says it first."""

    subject: Phrase | None
    verb: str | None = None
    object: Phrase | None = None
    quality: str | None = None
    place: Phrase | None = None
    time: Phrase | None = None
    manner: str | None = None
    auxiliary: str | None = None
    negated: bool = False
    time_moved: bool = False
    topic: Topic | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Sentence:
    """One clause, or two joined by `linker`."""

    first: Clause
    linker: str | None = None
    second: Clause | None = None


@dataclass(frozen=True)
class Question:
    """Asks for the phrase that fills `role` in `clause`."""

    clause: Clause
    role: str


@dataclass(frozen=True)
class Answer:
    """The phrase that fills `role` in `clause`, said alone."""

    clause: Clause
    role: str


def chance(rng, probability):
    return rng.random() < probability


def preferred(rng, items, start, width=2, probability=0.85):
    """One of the `width` items from `start` on (round the end), mostly; else any item."""
    if chance(rng, probability):
        return items[(start + rng.randrange(width)) % len(items)]
    return rng.choice(items)


def pronoun_for(subject):
    """The pronoun that takes up a name or person; the names in -a are women's."""
    return Phrase("she" if subject.noun.endswith("a") else "he", "PRON")


def quality_of(rng, topic, thing):
    """A quality that goes with `thing`, mostly from the thing's own pair of antonyms."""
    return rng.choice(preferred(rng, topic.qualities, topic.things.index(thing) % 3, 1))


def antonym(topic, quality):
    """The other member of the pair that holds `quality`."""
    pair = next(pair for pair in topic.qualities if quality in pair)
    return pair[1 - pair.index(quality)]


def draw_subject(rng, topic):
    """A name (half of the time) or a person of the topic, and the index that its preferences follow."""
    index = rng.randrange(5 if chance(rng, 0.5) else 4)
    if chance(rng, 0.55):
        return Phrase(topic.names[index], "PROPN"), index
    index %= 4
    return Phrase(topic.people[index], determiner=rng.choice(("the", "the", "the", "a", "this", "every"))), index


def draw_thing(rng, topic, thing, adjective=0.6):
    """The noun phrase of a thing, with a quality in the share `adjective` of the cases."""
    quality = quality_of(rng, topic, thing) if chance(rng, adjective) else None
    if chance(rng, 0.2):
        return Phrase(thing, number=rng.choice(NUMBERS), adjective=quality)
    return Phrase(thing, determiner=rng.choice(("the", "the", "the", "a", "some", "this")), adjective=quality)


def draw_place(rng, topic):
    """A place of the topic, or (a quarter) its town."""
    if chance(rng, 0.25):
        return Phrase(topic.town, "PROPN", adposition="in")
    return Phrase(rng.choice(topic.places), determiner="the", adposition=rng.choice(("in", "in", "near")))


def draw_time(rng):
    """A day, a year, or an adverb."""
    kind = rng.random()
    if kind < 0.55:
        return Phrase(rng.choice(DAYS), "PROPN", adposition="on")
    if kind < 0.8:
        return Phrase(str(rng.randrange(1950, 2025)), "NUM", adposition="in")
    return Phrase(rng.choice(("yesterday", "today")), "ADV")


def draw_event(rng, topic=None, place=0.5, time=0.4, manner=0.3, negated=0.12):
    """A clause about something done; the numbers are the shares of clauses that say where, when, how, or deny."""
    topic = topic or rng.choice(TOPICS)
    subject, index = draw_subject(rng, topic)
    verb = preferred(rng, topic.verbs, index)
    thing = preferred(rng, topic.things, topic.verbs.index(verb))
    return Clause(
        subject, verb, draw_thing(rng, topic, thing), topic=topic,
        place=draw_place(rng, topic) if chance(rng, place) else None,
        time=draw_time(rng) if chance(rng, time) else None,
        manner=preferred(rng, MANNERS, topic.verbs.index(verb)) if chance(rng, manner) else None,
        auxiliary=rng.choice(("will", "can")) if chance(rng, 0.15) else None, negated=chance(rng, negated),
    )  # fmt: skip


def draw_state(rng, topic=None, negated=0.15):
    """A clause that says what a thing is like."""
    topic = topic or rng.choice(TOPICS)
    thing = rng.choice(topic.things)
    subject = draw_thing(rng, topic, thing, adjective=0)
    quality = quality_of(rng, topic, thing)
    place = draw_place(rng, topic) if chance(rng, 0.3) else None
    return Clause(subject, quality=quality, place=place, negated=chance(rng, negated), topic=topic)


def draw_question(rng, clause):
    """A question that `clause` answers: one role is asked for, the roles beside it may be left out."""
    roles = [role for role in QUESTION_WORDS if getattr(clause, role) and getattr(clause, role).upos != "PRON"]
    return Question(drop_some(rng, clause, keep=0.4), rng.choice(roles))


def drop_some(rng, clause, keep=0.5):
    """The clause with each of its modifiers kept with probability `keep`; what is left follows from the whole."""
    changes = {role: None for role in ("place", "time", "manner") if getattr(clause, role) and not chance(rng, keep)}
    if clause.object and clause.object.adjective and not chance(rng, keep):
        changes["object"] = replace(clause.object, adjective=None)
    return replace(clause, **changes)


def draw_sentence(rng, topic=None):
    """A sentence of any shape: an event, two joined clauses, a state or a question."""
    topic = topic or rng.choice(TOPICS)
    shape = rng.random()
    if shape < 0.55:
        return Sentence(draw_event(rng, topic))
    if shape < 0.78:
        second = draw_event(rng, topic, 0.2, 0.1, 0.1) if chance(rng, 0.6) else draw_state(rng, topic)
        linker = rng.choice(tuple(LINKERS))
        first = draw_event(rng, topic, 0.3, 0.3, 0.1)
        if second.verb and chance(rng, 0.6):
            second = replace(second, subject=None if linker == "and" else pronoun_for(first.subject))
        return Sentence(first, linker, second)
    if shape < 0.88:
        return Sentence(draw_state(rng, topic))
    return answerable(rng, draw_event(rng, topic))


def answerable(rng, clause):
    """A question whose asked role is filled in the clause that the question keeps."""
    question = draw_question(rng, clause)
    return replace(question, clause=replace(question.clause, **{question.role: getattr(clause, question.role)}))


def draw_document(rng):
    """A few sentences about one topic that take up each other: facts, restatements, remarks, questions with answers."""
    topic = rng.choice(TOPICS)
    facts = [draw_event(rng, topic) for _ in range(rng.choice((1, 1, 2, 2, 3, 4)))]
    sentences = [Sentence(fact) for fact in facts]
    for _ in range(rng.choice((0, 1, 1, 2))):
        sentences += draw_follow_up(rng, topic, rng.choice(facts))
    return sentences


def draw_follow_up(rng, topic, fact):
    """One or two sentences that repeat part of `fact` or ask about it."""
    kind = rng.random()
    if kind < 0.4:
        question = answerable(rng, replace(fact, negated=False))
        return [question, Answer(fact, question.role)] if not fact.negated else [question]
    if kind < 0.7:
        return [Sentence(drop_some(rng, fact))]
    if kind < 0.85 and fact.object.adjective and fact.object.determiner:
        opposite = chance(rng, 0.4)
        quality = antonym(topic, fact.object.adjective) if opposite else fact.object.adjective
        return [Sentence(Clause(replace(fact.object, adjective=None), quality=quality, negated=opposite, topic=topic))]
    following = replace(draw_event(rng, topic), subject=pronoun_for(fact.subject))
    return [Sentence(following) if chance(rng, 0.5) else draw_sentence(rng, topic)]
