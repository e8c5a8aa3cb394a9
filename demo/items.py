"""What the tasks ask about, as structures without a language: pairs for inference, paragraphs with questions, stories.

Each `draw_*` function takes a `random.Random`; `fresh` redraws what contains a held-out sentence, which is how test
sentences stay out of every training set and of the pretraining text.
"""

from dataclasses import dataclass, replace

from demo.lexicon import LINKERS, MANNERS, TOPICS
from demo.world import (
    Answer,
    Question,
    Sentence,
    answerable,
    antonym,
    chance,
    draw_event,
    draw_place,
    draw_state,
    draw_time,
    drop_some,
    preferred,
    pronoun_for,
    quality_of,
)

LABELS = ("entailment", "neutral", "contradiction")


@dataclass(frozen=True)
class Pair:
    """A premise, a hypothesis, and what the first says about the second."""

    premise: Sentence
    hypothesis: Sentence
    label: str

    @property
    def sentences(self):
        return [self.premise, self.hypothesis]


@dataclass(frozen=True)
class Passage:
    """A premise of several sentences, a hypothesis about one of them, and what the first says about the second."""

    premise: tuple[Sentence, ...]
    hypothesis: Sentence
    label: str

    @property
    def sentences(self):
        return [*self.premise, self.hypothesis]


@dataclass(frozen=True)
class Paragraph:
    """Facts about one topic and questions, each with the index of the fact that answers it.

    Only the facts are sentences to hold out: the same short question may be asked of another paragraph.
    """

    facts: tuple[Sentence, ...]
    questions: tuple[tuple[Question, int], ...]

    @property
    def sentences(self):
        return self.facts


@dataclass(frozen=True)
class Story:
    """A beginning and four endings of which only the one at `label` is about the same topic."""

    beginning: Sentence
    pronoun: str
    endings: tuple[Sentence, ...]
    label: int

    @property
    def sentences(self):
        return [self.beginning]


def fresh(rng, draw, held_out):
    """An item none of whose sentences is in the set `held_out`."""
    while True:
        item = draw(rng)
        if not any(sentence in held_out for sentence in parts(item)):
            return item


def hold_out(rng, draw, held_out, count):
    """`count` fresh items; their sentences are added to `held_out`, so all of them are distinct."""
    items = []
    for _ in range(count):
        items.append(fresh(rng, draw, held_out))
        held_out.update(parts(items[-1]))
    return items


def parts(item):
    """What may be held out of an item: its sentences, and its questions without what they ask for; not short answers."""
    return [unanswered(sentence) for sentence in whole_sentences(item)]


def whole_sentences(item):
    """The sentences and questions of an item, of a list of them or of one alone; not short answers."""
    sentences = item if isinstance(item, list) else getattr(item, "sentences", [item])
    return [sentence for sentence in sentences if not isinstance(sentence, Answer)]


def unanswered(sentence):
    """A question with the asked role left open, so that questions with the same words are equal; others unchanged."""
    if not isinstance(sentence, Question):
        return sentence
    return replace(sentence, clause=replace(sentence.clause, **{sentence.role: None}))


def draw_pair(rng, label=None):
    """A premise and a hypothesis; hypotheses of all labels are made by the same dropping of modifiers first."""
    label = label or rng.choice(LABELS)
    topic = rng.choice(TOPICS)
    clause = draw_state(rng, topic, 0.3) if chance(rng, 0.15) else draw_event(rng, topic, 0.6, 0.6, 0.45, 0.25)
    premise = Sentence(clause)
    if chance(rng, 0.6 if clause.negated or clause.verb is None else 0.2):
        premise = Sentence(clause, rng.choice(tuple(LINKERS)), draw_event(rng, topic, 0.1, 0.1, 0.1))
    change = {"entailment": less, "neutral": add_news, "contradiction": contradict}[label]
    changed = change(rng, topic, clause)
    if changed is None or Sentence(changed) == premise:
        return draw_pair(rng, label)
    return Pair(premise, Sentence(changed), label)


def less(rng, topic, clause, keep=0.6):
    """What follows from the clause: fewer modifiers, sometimes the thing called by its kind; a denial is kept whole."""
    if clause.negated:
        return clause
    clause = drop_some(rng, clause, keep)
    if clause.object and chance(rng, 0.2):
        return replace(clause, object=replace(clause.object, noun=topic.kind))
    return clause


def add_news(rng, topic, clause):
    """The clause with one modifier that it did not have; None where nothing can be added (to a denial it would follow)."""
    if clause.negated:
        return None
    missing = [role for role in ("place", "time", "manner") if getattr(clause, role) is None]
    thing = clause.object
    if thing and not thing.adjective:
        missing += ["adjective"] * 2
    if clause.verb is None:
        missing = [role for role in missing if role == "place"]
    if not missing:
        return None
    role, shorter = rng.choice(missing), less(rng, topic, clause, keep=0.4)
    if role == "adjective":
        return replace(shorter, object=replace(shorter.object, adjective=quality_of(rng, topic, thing.noun)))
    news = {
        "place": lambda: draw_place(rng, topic),
        "time": lambda: draw_time(rng),
        "manner": lambda: manner_of(rng, clause),
    }
    return replace(shorter, **{role: news[role]()})


def manner_of(rng, clause):
    return preferred(rng, MANNERS, clause.topic.verbs.index(clause.verb))


def contradict(rng, topic, clause):
    """The clause with a quality turned into its antonym, or denied where it was said and said where denied."""
    shorter = less(rng, topic, clause)
    quality = clause.quality or (clause.object and clause.object.adjective)
    if not quality or clause.negated or chance(rng, 0.15):
        return replace(shorter, negated=not clause.negated)
    if clause.verb is None:
        return replace(shorter, quality=antonym(topic, quality))
    return replace(shorter, object=replace(shorter.object, adjective=antonym(topic, quality)))


def draw_passage(rng, label, sentences):
    """Facts of one topic and a hypothesis about one of them; some neutral ones say of one person what another did."""
    topic = rng.choice(TOPICS)
    clauses = draw_facts(rng, topic, sentences, manner=0.3, negated=0.25)
    clause, other = rng.sample(clauses, 2)
    if label == "neutral" and clause.verb != other.verb and chance(rng, 0.5):
        changed = replace(less(rng, topic, clause), subject=other.subject)
    else:
        changed = {"entailment": less, "neutral": add_news, "contradiction": contradict}[label](rng, topic, clause)
    if changed is None:
        return draw_passage(rng, label, sentences)
    return Passage(tuple(map(Sentence, clauses)), Sentence(changed), label)


def draw_facts(rng, topic, count, manner=0.1, negated=0.0):
    """Clauses that differ in who acts and on what, so that a question that names either has one answer."""
    clauses = []
    while len(clauses) < count:
        clause = draw_event(rng, topic, 0.7, 0.5, manner, negated)
        if all(differ(clause, other) for other in clauses):
            clauses.append(clause)
    return clauses


def draw_paragraph(rng, facts=3, questions=3):
    """Facts about one topic, and questions that they answer."""
    topic = rng.choice(TOPICS)
    clauses = draw_facts(rng, topic, facts)
    asked = []
    for _ in range(questions):
        index = rng.randrange(facts)
        asked.append((answerable(rng, clauses[index]), index))
    return Paragraph(tuple(map(Sentence, clauses)), tuple(dict(asked).items()))


def differ(clause, other):
    return clause.subject.noun != other.subject.noun and clause.object.noun != other.object.noun


def draw_story(rng):
    """A beginning of the form "X did Y. then she ..." and four endings, three of them from other topics."""
    topics = rng.sample(TOPICS, 4)
    beginning = draw_event(rng, topics[0], 0.5, 0.3, 0.2, 0.0)
    endings = [Sentence(replace(draw_event(rng, topic, 0.4, 0.0, 0.3, 0.0), subject=None)) for topic in topics]
    label = rng.randrange(4)
    endings[0], endings[label] = endings[label], endings[0]
    return Story(Sentence(beginning), pronoun_for(beginning.subject).noun, tuple(endings), label)
