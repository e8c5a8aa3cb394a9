"""Items with a few answers of which one is right: reading (CosmosQA, SocialIQA), knowing (CommonsenseQA), causes (COPA).

Wrong answers are drawn as the right ones are, mostly from the same paragraph, and the right one's place is uniform.
Their questions are in English only.
"""

from dataclasses import dataclass, replace

from demo.items import differ, draw_facts
from demo.lexicon import MANNERS, TOPICS
from demo.world import Answer, Clause, Phrase, Question, Sentence, chance, draw_event, draw_place, draw_state, draw_time

ASKS = ("cause", "effect")


@dataclass(frozen=True)
class Reading:
    """Sentences, a question about them, and answers of which the one at `label` is right."""

    context: tuple[Sentence, ...]
    question: Question
    answers: tuple[Sentence | Answer, ...]
    label: int

    @property
    def sentences(self):
        whole = [answer for answer in self.answers if isinstance(answer, Sentence) and answer.first.subject]
        return [*self.context, self.question, *whole]


@dataclass(frozen=True)
class Knowledge:
    """A question that the lexicon answers: `words` of five topics, of which the one at `label` goes with the question's."""

    stem: Question | Sentence
    concept: str
    words: tuple[str, ...]
    label: int

    @property
    def sentences(self):
        return [self.stem]


@dataclass(frozen=True)
class Alternatives:
    """A premise and two sentences, of which the one at `label` is its more plausible cause or effect."""

    premise: Sentence
    choices: tuple[Sentence, ...]
    asks: str
    label: int

    @property
    def sentences(self):
        return [self.premise, *self.choices]


def mixed(rng, right, wrong):
    """(answers, label): the right answer at a uniformly drawn place among the wrong ones."""
    label = rng.randrange(len(wrong) + 1)
    return (*wrong[:label], right, *wrong[label:]), label


def draw_comprehension(rng):
    """A paragraph, a question who, what, where, when or why, and four answers, those of the other facts among them."""
    topic = rng.choice(TOPICS)
    clauses = draw_facts(rng, topic, 3)
    index = rng.randrange(3)
    if chance(rng, 0.25):
        return draw_why(rng, topic, clauses, index, answers=4)
    role = rng.choice([role for role in ("subject", "object", "place", "time") if getattr(clauses[index], role)])
    answers = [Answer(clause, role) for clause in clauses if getattr(clause, role)]
    right = answers.pop(answers.index(Answer(clauses[index], role)))
    answers = distinct(rng, right, answers, role)
    question = Question(shorten(rng, clauses[index], keep=role), role)
    return Reading(tuple(map(Sentence, clauses)), question, *mixed(rng, right, answers))


def shorten(rng, clause, keep):
    """The clause without some of its modifiers, but with the role `keep`."""
    dropped = {role: None for role in ("place", "time", "manner") if role != keep and chance(rng, 0.5)}
    return replace(clause, **dropped)


def distinct(rng, right, answers, role, count=3):
    """`count` wrong answers, filled up with others of the topic; no two of them name the same."""
    topic, wrong, names = right.clause.topic, [], {getattr(right.clause, role).noun}
    while len(wrong) < count:
        answer = answers.pop() if answers else Answer(fill(rng, topic, role), role)
        noun = getattr(answer.clause, role).noun
        if noun not in names:
            names.add(noun)
            wrong.append(answer)
    rng.shuffle(wrong)
    return wrong


def fill(rng, topic, role):
    """Any event of the topic that has the role."""
    missing = {"place": lambda: draw_place(rng, topic), "time": lambda: draw_time(rng)}
    event = draw_event(rng, topic, 0.0, 0.0, 0.0, 0.0)
    return replace(event, **{role: missing[role]()}) if role in missing else event


def draw_why(rng, topic, clauses, index, answers):
    """Every fact has its reason; the answers are the reasons, and as many others of the topic as are needed."""
    reasons = []
    while len(reasons) < answers:
        reason = draw_event(rng, topic, 0.4, 0.3, 0.3, 0.0)
        if reason not in [*reasons, *clauses]:
            reasons.append(reason)
    context = tuple(Sentence(clause, "because", reason) for clause, reason in zip(clauses, reasons, strict=False))
    right = Sentence(reasons.pop(index))
    rng.shuffle(reasons)
    question = Question(shorten(rng, clauses[index], keep=None), "reason")
    return Reading(context, question, *mixed(rng, right, [Sentence(reason) for reason in reasons]))


def draw_social(rng):
    """Two people, and how or why one of them did it; or one, and what fits as the next deed."""
    return rng.choice((draw_how, draw_reason, draw_next))(rng)


def draw_how(rng):
    """Two people do things in different ways; the third answer is a way that was not mentioned."""
    clauses, manners = draw_facts(rng, rng.choice(TOPICS), 2), rng.sample(MANNERS, 3)
    context = tuple(Sentence(replace(clause, manner=manner)) for clause, manner in zip(clauses, manners, strict=False))
    ways = [Answer(Clause(None, manner=Phrase(manner, "ADV")), "manner") for manner in manners]
    index = rng.randrange(2)
    right = ways.pop(index)
    rng.shuffle(ways)
    question = Question(shorten(rng, context[index].first, keep="manner"), "manner")
    return Reading(context, question, *mixed(rng, right, ways))


def draw_reason(rng):
    topic = rng.choice(TOPICS)
    return draw_why(rng, topic, draw_facts(rng, topic, 2), rng.randrange(2), answers=3)


def draw_next(rng):
    """One deed and three others without a subject, of which one is of the same topic."""
    topics = rng.sample(TOPICS, 3)
    event = draw_event(rng, topics[0], 0.6, 0.4, 0.3, 0.0)
    deeds = [Sentence(replace(draw_event(rng, topic, 0.4, 0.0, 0.3, 0.0), subject=None)) for topic in topics]
    question = Question(Clause(event.subject, "do", manner="next"), "object")
    return Reading((Sentence(event),), question, *mixed(rng, deeds[0], deeds[1:]))


def draw_knowledge(rng):
    """A question for the place, person, deed or quality that goes with a thing; each of the five words is of another topic."""
    topics = rng.sample(TOPICS, 5)
    event = draw_event(rng, topics[0], 0.4, 0.4, 0.2, 0.0)
    asks = rng.choice((where_stem, who_stem, deed_stem, quality_stem))
    stem, concept, words = asks(rng, event)
    right, *wrong = [rng.choice(words(topic)) for topic in topics]
    return Knowledge(stem, concept, *mixed(rng, right, wrong))


def where_stem(rng, event):
    return Question(event, "place"), event.object.noun, lambda topic: topic.places


def who_stem(rng, event):
    return Question(event, "subject"), event.object.noun, lambda topic: topic.people


def deed_stem(rng, event):
    """what did Anna do with the soup?"""
    instrument = replace(event.object, adposition="with")
    return Question(replace(event, verb="do", place=instrument), "object"), event.object.noun, lambda topic: topic.verbs


def quality_stem(rng, event):
    """the soup in the kitchen was what?"""
    state = draw_state(rng, event.topic, negated=0.0)
    stem = Sentence(replace(state, quality="what"))
    return stem, state.subject.noun, lambda topic: [quality for pair in topic.qualities for quality in pair]


def draw_alternatives(rng):
    """A premise and two events with other people and things, one of the same topic and one of another."""
    topic, other = rng.sample(TOPICS, 2)
    events = [draw_event(rng, one, 0.5, 0.4, 0.3, 0.0) for one in (topic, topic, other)]
    if not differ(events[0], events[1]):
        return draw_alternatives(rng)
    premise, right, wrong = map(Sentence, events)
    choices, label = mixed(rng, right, [wrong])
    return Alternatives(premise, choices, rng.choice(ASKS), label)
