"""Where English sentences begin and end, by rule: for what is trained on sentences of texts that come without breaks (LAReQA).

A mark of an end, with the quotes, brackets and notes that close behind it, ends a sentence where the next word begins like one:
with a capital, a digit, a quote or a bracket. Line breaks end one always. The period of an initial or an abbreviation ends one
only before a word that most often begins a sentence (`the U.S. They left.`), that of an abbreviation such as `e.g.` never.
"""

import re

END = re.compile(r"""(?:[.!?]+|…)(?:["'”’»)\]}]|\[[\w ]{1,20}\])*(?=\s+["'“‘«(\[{¿¡]*[A-Z0-9À-ÖØ-Þ])""")
NEVER = frozenset("vs cf viz approx ca e.g i.e".split())
ABBREVIATIONS = frozenset(
    "mr mrs ms dr prof st ste gen col capt lt sgt maj cmdr adm gov sen rep pres rev fr hon messrs mt ft fort fl "
    "inc ltd co corp bros jr sr etc al dept univ ave blvd rd sq est esp incl max min fig figs ch sec "
    "op opp ed eds trans vol vols pp nos jan feb mar apr jun jul aug sep sept oct nov dec".split()
)
NUMBERED = frozenset("no art".split())  # abbreviations before a number, words elsewhere
STARTERS = frozenset(
    "the a an this that these those it its he she they his her their we our you i there here in on at by for from with "
    "as after before during since while when where although though because if however but and or so yet both many most "
    "some several each all one two another other later today".split()
)


def sentence_spans(text):
    """[start, end) of every sentence of an English text, in characters, without white space around it. What lies between them is
    white space, and nothing of the text is in two of them."""
    spans, start = [], 0
    for end in [*_ends(text), len(text)]:
        piece = text[start:end]
        if piece.strip():
            spans.append((start + len(piece) - len(piece.lstrip()), start + len(piece.rstrip())))
        start = end
    return spans


def _ends(text):
    """Where a sentence ends, ascending."""
    marks = {mark.end() for mark in END.finditer(text) if _ends_one(text, mark)}
    return sorted(marks | {line.start() for line in re.finditer(r"\n", text)})


def _ends_one(text, mark):
    """Whether a mark ends a sentence. All but lone periods do, and these by the words beside them."""
    if mark[0] not in (".", "...", "…"):
        return True
    word = re.search(r"[^\s(\[\"'“‘—–/-]*$", text[: mark.start()])[0].lower()
    following, dot = re.match(r"\W*(\w*)(\.?)", text[mark.end() :].lower()).groups()
    is_initial = len(word) == 1 and word.isalpha()
    is_dotted = bool(re.fullmatch(r"(?:[a-z]{1,2}\.)+[a-z]", word))  # U.S, Ph.D, p.m
    is_short = is_initial or is_dotted or word in ABBREVIATIONS or (word in NUMBERED and following.isdigit())
    is_short |= mark[0] != "."  # I Am... Sasha Fierce
    begins_one = following in STARTERS and not dot  # not so in J. A. Smith
    return word not in NEVER and (begins_one or not is_short)
