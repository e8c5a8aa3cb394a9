r"""Derivations in Combinatory Categorial Grammar of what `world.py` can say, as in CCGbank (Hockenmaier and Steedman 2007).

A tree is built from a clause, bottom up, so every category follows from the structure. The rules are forward and backward
application, forward composition, backward crossed composition (negation; modifiers of a verb whose object was fronted),
coordination, N to NP, and a mark that adds nothing. English only; heads of modified phrases are what is modified.
"""

from dataclasses import dataclass, replace

from demo.languages import ENGLISH, Token, join, make_token, phrase_tokens
from demo.world import Question

PREDICATE, MODIFIER = r"S[dcl]\NP", r"(S\NP)\(S\NP)"
AUXILIARY = r"(S[dcl]\NP)/(S[b]\NP)"
PENN_TAGS = {"NOUN": "NN", "PROPN": "NNP", "PRON": "PRP", "NUM": "CD", "ADJ": "JJ", "DET": "DT"}
VERB_TAGS = {"dcl": "VBD", "b": "VB", "pss": "VBN"}


@dataclass(frozen=True)
class Leaf:
    category: str
    pos: str
    word: str

    @property
    def leaves(self):
        return [self]


@dataclass(frozen=True)
class Node:
    """`head` is the index of the head among one or two `children`."""

    category: str
    children: tuple["Leaf | Node", ...]
    head: int = 0

    @property
    def leaves(self):
        return [leaf for child in self.children for leaf in child.leaves]


@dataclass(frozen=True)
class Derivation:
    """A whole sentence with its mark."""

    tree: Node

    @property
    def text(self):
        return join([Token(leaf.word, "", "", "", glued=leaf.pos in ".,") for leaf in self.tree.leaves])

    @property
    def sentences(self):
        return [self.text]


def finish(tree, mark):
    return Derivation(Node(tree.category, (tree, Leaf(".", ".", mark))))


def from_meaning(meaning):
    """The derivation of a Sentence or a Question; questions are asked without "not"."""
    if isinstance(meaning, Question):
        return finish(wh_question(replace(meaning, clause=replace(meaning.clause, negated=False))), "?")
    tree = clause(meaning.first)
    if not meaning.second:
        return finish(tree, ".")
    if meaning.linker not in ("and", "but"):
        return finish(subordinate(meaning.first, meaning.linker, meaning.second), ".")
    if meaning.second.subject:
        return finish(conjoin(tree, meaning.linker, clause(meaning.second)), ".")
    subject, verbs = tree.children
    return finish(Node("S[dcl]", (subject, conjoin(verbs, meaning.linker, predicate(meaning.second))), 1), ".")


def conjoin(left, linker, right):
    linked = Node(f"{right.category}[conj]", (Leaf("conj", "CC", linker), right), 1)
    return Node(left.category, (left, linked))


def subordinate(first, linker, second):
    """because, when and while modify the predicate of the main clause."""
    reason = Node(MODIFIER, (Leaf(f"({MODIFIER})/S[dcl]", "IN", linker), clause(second)))
    return Node("S[dcl]", (noun_phrase(first.subject), Node(PREDICATE, (predicate(first), reason))), 1)


def noun_phrase(phrase):
    """The tree of a phrase without its adposition: modifiers are N/N, determiners NP/N; a bare N becomes an NP."""
    tokens = phrase_tokens(replace(phrase, adposition=None), ENGLISH, "")
    noun = tokens.pop()
    tag = PENN_TAGS[noun.upos] + ("S" if phrase.upos == "NOUN" and phrase.plural else "")
    tree = Leaf("N" if noun.upos == "NOUN" else "NP", tag, noun.form)
    for token in reversed([token for token in tokens if token.upos != "DET"]):
        tree = Node("N", (Leaf("N/N", PENN_TAGS[token.upos], token.form), tree), 1)
    if tokens and tokens[0].upos == "DET":
        return Node("NP", (Leaf("NP/N", "DT", tokens[0].form), tree))
    return Node("NP", (tree,)) if tree.category == "N" else tree


def adjunct(phrase, category=MODIFIER):
    """An adverb, or a phrase with its adposition, that modifies what `category` says."""
    if phrase.adposition is None:
        return Leaf(category, "RB", phrase.noun)
    return Node(category, (Leaf(f"({category})/NP", "IN", phrase.adposition), noun_phrase(phrase)))


def modified(tree, what):
    """The predicate (or the verb still without its object) with the manner, place and time of a clause after it."""
    modifiers = [Leaf(MODIFIER, "RB", what.manner)] if what.manner else []
    modifiers += [adjunct(phrase) for phrase in (what.place, what.time) if phrase]
    for modifier in modifiers:
        tree = Node(tree.category, (tree, modifier))
    return tree


def verb(what, form, category):
    slot = None if form == "b" else "past"
    return Leaf(category, VERB_TAGS[form], make_token(ENGLISH, what.verb, "VERB", "root", slot).form)


def verb_phrase(what, form):
    """S[form]\\NP: the verb with its object, if it has one, and modifiers."""
    category = rf"S[{form}]\NP"
    if what.object is None:
        return modified(verb(what, form, category), what)
    return modified(Node(category, (verb(what, form, f"({category})/NP"), noun_phrase(what.object))), what)


def predicate(what):
    """S[dcl]\\NP, with auxiliary and "not" where the clause has them."""
    plural = what.subject is not None and what.subject.plural
    if what.verb is None:
        auxiliary = Leaf(r"(S[dcl]\NP)/(S[adj]\NP)", "VBD", "were" if plural else "was")
        return modified(Node(PREDICATE, (denied(auxiliary, what), Leaf(r"S[adj]\NP", "JJ", what.quality))), what)
    if not (what.auxiliary or what.negated):
        return verb_phrase(what, "dcl")
    return Node(PREDICATE, (denied(auxiliary_of(what, AUXILIARY), what), verb_phrase(what, "b")))


def auxiliary_of(what, category):
    return Leaf(category, "MD" if what.auxiliary else "VBD", what.auxiliary or "did")


def denied(auxiliary, what):
    return Node(auxiliary.category, (auxiliary, Leaf(MODIFIER, "RB", "not"))) if what.negated else auxiliary


def clause(what, subject=None):
    """The tree of a clause, about the tree `subject` if one is given."""
    return Node("S[dcl]", (subject or noun_phrase(what.subject), predicate(what)), 1)


def wh_question(question):
    """who takes a predicate, what a question that lacks an object, where and when a whole yes/no question."""
    what, role = replace(question.clause, **{question.role: None}), question.role
    if role == "subject":
        return Node("S[wq]", (Leaf(r"S[wq]/(S[dcl]\NP)", "WP", "who"), predicate(what)))
    if role == "object":
        asked = Node("S[q]/NP", (inverted(what), modified(verb(what, "b", r"(S[b]\NP)/NP"), what)))
        return Node("S[wq]", (Leaf("S[wq]/(S[q]/NP)", "WP", "what"), asked))
    return Node("S[wq]", (Leaf("S[wq]/S[q]", "WRB", {"place": "where", "time": "when"}[role]), yes_no(what)))


def inverted(what):
    category = r"S[q]/(S[b]\NP)"
    return Node(category, (auxiliary_of(what, f"({category})/NP"), noun_phrase(what.subject)))


def yes_no(what):
    return Node("S[q]", (inverted(what), verb_phrase(what, "b")))


def auto(tree):
    """A tree in one line, as CCGbank's AUTO files have it."""
    if isinstance(tree, Leaf):
        return f"(<L {tree.category} {tree.pos} {tree.pos} {tree.word} {tree.category}>)"
    children = " ".join(map(auto, tree.children))
    return f"(<T {tree.category} {tree.head} {len(tree.children)}> {children} )"
