"""Strings with marks, `code` and **bold**, as Markdown, HTML, LaTeX and plain text; all other characters are text in each."""

import re

from markupsafe import Markup, escape

MARKS = re.compile(r"`([^`]+)`|\*\*(.+?)\*\*")
MINUS = re.compile(r"(?<![\w.)-])[-−](?=\.?\d)")


def _rendered(string, text, code, bold):
    """A string with its marks replaced: `text`, `code` and `bold` are functions of what stands in each."""
    parts, end = [], 0
    for mark in MARKS.finditer(string):
        inner = code(mark[1]) if mark[1] else bold(_rendered(mark[2], text, code, bold))
        parts += [text(string[end : mark.start()]), inner]
        end = mark.end()
    return "".join([*parts, text(string[end:])])


def plain(string):
    """A string without its marks; "" for None."""
    return _rendered(string or "", str, str, str)


def markdown(string):
    """A string as Markdown, in which no character means what it was not written for."""
    return _rendered(string, _markdown_text, "`{}`".format, "**{}**".format)


def _markdown_text(text):
    text = re.sub(r"([\\*$~\[`])|(?<![^\W_])(_)|(_)(?![^\W_])", r"\\\g<0>", text)
    text = text.replace("&", "&amp;").replace("<", "&lt;")
    # What would begin a heading, a quotation or a list.
    return re.sub(r"^(\s*)([#>]|[+-](?=[\s-]|$))|^(\s*\d+)([.)])(?=\s|$)", r"\1\3\\\2\4", text, flags=re.MULTILINE)


def html(string):
    """A string as HTML, escaped, with minus signs where numbers are negative."""
    marked = _rendered(
        string,
        lambda text: escape(MINUS.sub("−", text)),
        lambda text: f"<code>{escape(text)}</code>",
        "<strong>{}</strong>".format,
    )
    return Markup(marked)  # noqa: S704 (every part of it was escaped)


LATEX = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
}  # fmt: skip


def latex(string):
    """A string as LaTeX, in which other alphabets stay as they are."""
    return _rendered(string, _latex_text, lambda text: f"\\texttt{{{_latex_escaped(text)}}}", r"\textbf{{{}}}".format)


def _latex_text(text):
    return "$-$".join(map(_latex_escaped, MINUS.split(text)))


def _latex_escaped(text):
    return "".join(LATEX.get(character, character) for character in text)


def first_sentence(text):
    """The first sentence of a text, without marks: what is read out instead of a plot."""
    return re.split(r"(?<=[.!?:])\s", plain(text))[0].removesuffix(":")
