"""Questions about questions: do two of them ask the same (QQP), and does a paragraph answer this one (SQuAD v2)?"""

from dataclasses import dataclass, replace

from demo.items import draw_facts, unanswered
from demo.lexicon import TOPICS
from demo.world import (
    Question,
    Sentence,
    answerable,
    antonym,
    chance,
    draw_event,
    draw_subject,
    draw_thing,
    drop_some,
)

ROLES = ("subject", "object", "place", "time")


@dataclass(frozen=True)
class QuestionPair:
    """Two questions; they are duplicates if whoever knows the answer to one knows the other's."""

    first: Question
    second: Question
    duplicate: bool

    @property
    def sentences(self):
        return [self.first, self.second]


@dataclass(frozen=True)
class Asked:
    """A question to a paragraph and where its answer is: `role` of fact `index`; if not `answered`, it only looks so."""

    question: Question
    index: int
    answered: bool = True


@dataclass(frozen=True)
class OpenParagraph:
    """Facts about one topic and questions of which about a third cannot be answered from them."""

    facts: tuple[Sentence, ...]
    asked: tuple[Asked, ...]

    @property
    def sentences(self):
        return [*self.facts, *(asked.question for asked in self.asked)]


def draw_question_pair(rng, duplicate):
    """Two wordings of one question; for pairs that are no duplicates the second then asks for something else.

    The wordings differ in both kinds, so neither the lengths nor a difference as such gives the label away.
    """
    clause = draw_event(rng, None, 0.8, 0.6, 0.5, 0.0)
    role = rng.choice([role for role in ROLES if getattr(clause, role)])
    first, second = reword(rng, clause, role), reword(rng, clause, role)
    if unanswered(first) == unanswered(second):
        return draw_question_pair(rng, duplicate)
    return QuestionPair(first, second if duplicate else ask_otherwise(rng, second, first), duplicate)


def reword(rng, clause, role):
    """The question for `role` of the clause with some of its modifiers, and another article now and then."""
    shorter = drop_some(rng, clause)
    for name in ("subject", "object"):
        phrase = getattr(shorter, name)
        if phrase.determiner in ("the", "a", "this") and chance(rng, 0.4):
            shorter = replace(shorter, **{name: replace(phrase, determiner=rng.choice(("the", "a", "this")))})
    return Question(replace(shorter, **{role: getattr(clause, role)}), role)


def ask_otherwise(rng, question, first):
    """Another question of about the same words: for another role, or about another person, deed or thing, or a thing
    of the opposite quality where `first` names the quality."""
    asked, topic = question.clause, question.clause.topic
    clauses = [replace(asked, verb=other_than(rng, asked.verb, topic.verbs))]
    if question.role != "subject":
        clauses.append(replace(asked, subject=other_subject(rng, asked)))
    if question.role != "object":
        things = [replace(asked.object, noun=other_than(rng, asked.object.noun, topic.things))]
        if asked.object.adjective and first.clause.object.adjective:
            things.append(replace(asked.object, adjective=antonym(topic, asked.object.adjective)))
        clauses += [replace(asked, object=thing) for thing in things]
    role = rng.choice([role for role in ROLES if role != question.role and getattr(asked, role)])
    return rng.choice([Question(asked, role), *(replace(question, clause=clause) for clause in clauses)])


def other_than(rng, word, words):
    return rng.choice([other for other in words if other != word])


def other_subject(rng, clause):
    """Another name for a name and another person for a person."""
    nouns = clause.topic.names if clause.subject.upos == "PROPN" else clause.topic.people
    return replace(clause.subject, noun=other_than(rng, clause.subject.noun, nouns))


def draw_open_paragraph(rng, facts=3, questions=3):
    """A paragraph and questions, each of which is unanswerable with a chance of one in three."""
    topic = rng.choice(TOPICS)
    clauses = draw_facts(rng, topic, facts)
    asked = {}
    for _ in range(questions):
        index = rng.randrange(facts)
        question = answerable(rng, clauses[index])
        one = draw_unanswered(rng, clauses, index, question) if chance(rng, 1 / 3) else Asked(question, index)
        asked.setdefault(unanswered(one.question), one)
    return OpenParagraph(tuple(map(Sentence, clauses)), tuple(asked.values()))


def draw_unanswered(rng, clauses, index, question):
    """A question for the same role that no clause answers: where one says no place or time, or about other people or
    things than the paragraph brings together. The phrase that answered `question` stays as a plausible answer."""
    while True:
        silent = [clause for clause in clauses if getattr(clause, question.role) is None]
        if silent and chance(rng, 0.6):
            clause = drop_some(rng, rng.choice(silent), keep=0.4)
            candidate = replace(question, clause=replace(clause, **{question.role: question_filler(question)}))
        else:
            candidate = replace(question, clause=mix_up(rng, clauses, question))
        if not any(answers(clause, candidate) for clause in clauses):
            return Asked(candidate, index, answered=False)


def question_filler(question):
    return getattr(question.clause, question.role)


def mix_up(rng, clauses, question):
    """The question's clause with another subject, or if that is asked for another object: from the paragraph or not."""
    topic, role = question.clause.topic, "object" if question.role == "subject" else "subject"
    if chance(rng, 0.5):
        return replace(question.clause, **{role: getattr(rng.choice(clauses), role)})
    if role == "subject":
        return replace(question.clause, subject=draw_subject(rng, topic)[0])
    return replace(question.clause, object=draw_thing(rng, topic, rng.choice(topic.things)))


def answers(clause, question):
    """Whether the clause is about what the question names (who, did what, to what) and says what it asks for."""
    asked = question.clause
    if getattr(clause, question.role) is None or clause.verb != asked.verb:
        return False
    named = [role for role in ("subject", "object") if role != question.role]
    return all(getattr(clause, role).noun == getattr(asked, role).noun for role in named)
