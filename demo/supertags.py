r"""Sentences for CCG supertagging: what other tasks say too, and shapes that only occur here.

These are fronted modifiers, relative clauses (with type raising of NP to S/(S\NP)), passives, yes/no questions and the
like; every one brings categories of its own. `derivations.py` has the trees of clauses that they are made of.
"""

from dataclasses import replace

from demo.derivations import (
    PREDICATE,
    Leaf,
    Node,
    adjunct,
    clause,
    finish,
    from_meaning,
    modified,
    noun_phrase,
    predicate,
    verb,
    yes_no,
)  # fmt: skip
from demo.lexicon import TOPICS
from demo.world import chance, draw_event, draw_place, draw_sentence, draw_state, draw_thing, draw_time


def draw_derivation(rng, rare=False):
    """A derivation of any shape; the passive question, which no other sentence has, only where `rare` is asked for."""
    if rare:
        return finish(passive_question(rng), "?")
    if chance(rng, 0.45):
        return from_meaning(draw_sentence(rng))
    tree = rng.choice(SHAPES)(rng)
    return finish(tree, "?" if tree.category == "S[q]" else ".")


def said(rng, **changes):
    """An event that denies nothing, for shapes whose point is another."""
    return replace(draw_event(rng, None, 0.3, 0.3, 0.2, 0.0), **changes)


def fronted_adjunct(rng):
    what = said(rng, time=None)
    first = draw_time(rng) if chance(rng, 0.6) else draw_place(rng, what.topic)
    return Node("S[dcl]", (adjunct(first, "S/S"), clause(replace(what, place=None))), 1)


def fronted_clause(rng):
    topic = rng.choice(TOPICS)
    reason, what = (draw_event(rng, topic, 0.3, 0.2, 0.1, 0.1) for _ in range(2))
    first = Node("S/S", (Leaf("(S/S)/S[dcl]", "IN", rng.choice(("because", "when", "while"))), clause(reason)))
    return Node("S[dcl]", (Node("S/S", (first, Leaf(",", ",", ","))), clause(what)), 1)


def fronted_manner(rng):
    """Anna slowly tasted the soup."""
    what = said(rng, auxiliary=None)
    manner = Leaf(r"(S\NP)/(S\NP)", "RB", what.manner or "quickly")
    verbs = Node(PREDICATE, (manner, predicate(replace(what, manner=None))), 1)
    return Node("S[dcl]", (noun_phrase(what.subject), verbs), 1)


def without_object(rng):
    return clause(said(rng, object=None))


def who_relative(rng):
    """the cook who baked the bread tasted the soup"""
    topic = rng.choice(TOPICS)
    inner, what = (draw_event(rng, topic, 0.2, 0.2, 0.1, 0.0) for _ in range(2))
    relative = Node(r"NP\NP", (Leaf(r"(NP\NP)/(S[dcl]\NP)", "WP", "who"), predicate(inner)))
    return clause(what, Node("NP", (noun_phrase(what.subject), relative)))


def that_relative(rng):
    """the bread that Anna baked was hot: Anna is raised and composed with her verb"""
    inner = said(rng, auxiliary=None, manner=None, place=None, time=None)
    state = replace(draw_state(rng, inner.topic), subject=replace(inner.object, adjective=None))
    raised = Node(r"S/(S\NP)", (noun_phrase(inner.subject),))
    lacking = Node("S[dcl]/NP", (raised, verb(inner, "dcl", r"(S[dcl]\NP)/NP")), 1)
    relative = Node(r"NP\NP", (Leaf(r"(NP\NP)/(S[dcl]/NP)", "WDT", "that"), lacking))
    return clause(state, Node("NP", (noun_phrase(state.subject), relative)))


def placed_thing(rng):
    """the soup in the kitchen was hot"""
    state = replace(draw_state(rng), place=None)
    place = adjunct(draw_place(rng, state.topic), r"NP\NP")
    return clause(state, Node("NP", (noun_phrase(state.subject), place)))


def located(rng):
    """the soup was in the kitchen"""
    topic = rng.choice(TOPICS)
    thing, place = draw_thing(rng, topic, rng.choice(topic.things)), draw_place(rng, topic)
    was = Leaf(r"(S[dcl]\NP)/PP", "VBD", "were" if thing.plural else "was")
    where = Node("PP", (Leaf("PP/NP", "IN", place.adposition), noun_phrase(place)))
    return Node("S[dcl]", (noun_phrase(thing), Node(PREDICATE, (was, where))), 1)


def passive_predicate(what):
    """tasted by Anna in the kitchen"""
    actor = adjunct(replace(what.subject, adposition="by"))
    return modified(Node(r"S[pss]\NP", (verb(what, "pss", r"S[pss]\NP"), actor)), what)


def passive(rng):
    what = said(rng)
    was = Leaf(r"(S[dcl]\NP)/(S[pss]\NP)", "VBD", "were" if what.object.plural else "was")
    return Node("S[dcl]", (noun_phrase(what.object), Node(PREDICATE, (was, passive_predicate(what)))), 1)


def passive_question(rng):
    what, category = said(rng), r"S[q]/(S[pss]\NP)"
    was = Leaf(f"({category})/NP", "VBD", "were" if what.object.plural else "was")
    return Node("S[q]", (Node(category, (was, noun_phrase(what.object))), passive_predicate(what)))


def yes_no_question(rng):
    if chance(rng, 0.6):
        return yes_no(said(rng))
    state, category = draw_state(rng, negated=0.0), r"S[q]/(S[adj]\NP)"
    was = Leaf(f"({category})/NP", "VBD", "were" if state.subject.plural else "was")
    quality = modified(Leaf(r"S[adj]\NP", "JJ", state.quality), state)
    return Node("S[q]", (Node(category, (was, noun_phrase(state.subject))), quality))


SHAPES = (
    fronted_adjunct, fronted_clause, fronted_manner, without_object, who_relative, that_relative, placed_thing, located,
    passive, yes_no_question,
)  # fmt: skip
