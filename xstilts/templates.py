"""Languages in names: templates of official files and of the hub's configurations, filled in and read back."""

import re

from xstilts.names import check_name

ENGLISH = "en"  # the language of rows whose files name none
FIELDS = ("language", "name", "context", "question")  # what templates may hold in braces


def pair_of(language):
    """The languages of context and question: ("de", "en") of `de-en`, ("de", "de") of `de`."""
    context, _, question = language.partition("-")
    return context, question or context


def names_language(template):
    """Whether a template has a language in it."""
    return any(f"{{{part}}}" in template for part in FIELDS)


def filled(template, language, names):
    """A template with a language put in; `names` are the publisher's names of languages, by code."""
    check_name(language, "a language that was asked for, or found in the data")
    context, question = pair_of(language)
    return template.format(language=language, name=names.get(language, language), context=context, question=question)


def of_any_language(template):
    """The glob pattern of a template with any languages put in."""
    return template.format(**dict.fromkeys(FIELDS, "*"))


def languages_of(template, found, names):
    """The codes of the languages in those of the names `found` that a template fits: published ones by their code, others as they
    are spelt, `zh`, `quy_Latn` or `pt_BR`. Where `_` follows in the template, only a script (`_Latn`) is a part of a code: the
    treebank `de_gsd` is in `de`."""
    spelling = re.escape(template).replace(r"\*", "[^/]*").replace(r"\[", "[").replace(r"\]", "]").replace(r"\-", "-")
    for part in FIELDS:
        code = r"[^/_]+(?:_[A-Z][a-z]{3})?" if f"{{{part}}}_" in template else "[^/]+"
        spelling = spelling.replace(rf"\{{{part}\}}", f"(?P<{part}>{code})", 1)
        spelling = spelling.replace(rf"\{{{part}\}}", f"(?P={part})")
    codes = {name: code for code, name in names.items()}
    for each in found:
        if match := re.fullmatch(spelling, each):
            parts = dict.fromkeys(match.groups())
            yield "-".join(codes.get(part, part) for part in parts)
