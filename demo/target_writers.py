"""One short writer per target task beside XNLI, UD, XQuAD and Tatoeba: items and a language in, an official file out."""

import hashlib
import json

from demo.languages import phrase_tokens, say, sentence_tokens
from demo.target_items import entity_type
from demo.writers import context_and_spans, write_json_lines, write_lines


def write_pawsx(path, pairs, language):
    """XTREME's form of PAWS-X: sentence1, sentence2, 1 for a paraphrase or 0; no header."""
    sides = ((say(pair.first, language), say(pair.second, language), str(int(pair.same))) for pair in pairs)
    write_lines(path, ["\t".join(row) for row in sides])


def write_xcopa(path, items, language):
    """XCOPA JSON lines: what is asked for is named in English; `changed` marks what translators had to adapt, here nothing."""
    rows = []
    for i, item in enumerate(items):
        premise, first, second = (say(sentence, language) for sentence in item.sentences)
        row = {"premise": premise, "choice1": first, "choice2": second, "question": item.asks}
        rows.append(row | {"label": item.label, "idx": i, "changed": False})
    write_json_lines(path, rows)


def write_panx(path, sentences, language):
    """XTREME's form of PAN-X: a token and its IOB2 tag a line, a blank line after every sentence."""
    lines = []
    for sentence in sentences:
        lines += [f"{form}\t{tag}" for form, tag in tagged(sentence, language)] + [""]
    write_lines(path, lines)


def tagged(sentence, language):
    """(form, tag) of the tokens of a one-clause sentence; an adposition is no part of a name."""
    types = {role: entity_type(getattr(sentence.first, role)) for role in ("subject", "place")}
    inside = None
    for token in sentence_tokens(sentence, language):
        kind = types.get(token.role) if token.upos != "ADP" else None
        yield token.form, f"{'I' if inside == token.role else 'B'}-{kind}" if kind else "O"
        inside = token.role if kind else None


def write_mlqa(path, paragraphs, context_language, question_language):
    """MLQA JSON: the ids of a split are the same in every pair of languages, answers are in the context's language."""
    split, articles = path.parent.name, []
    for i, paragraph in enumerate(paragraphs):
        context, spans = context_and_spans(paragraph.facts, context_language)
        qas = []
        for j, (question, index) in enumerate(paragraph.questions):
            answer = answer_of(context, spans[index][question.role])
            name = hashlib.sha1(f"{split} {i} {j}".encode(), usedforsecurity=False).hexdigest()
            qas.append({"question": say(question, question_language), "answers": [answer], "id": name})
        articles.append({"title": f"World {i}", "paragraphs": [{"context": context, "qas": qas}]})
    write_lines(path, [json.dumps({"version": 1.0, "data": articles}, ensure_ascii=False)])


def answer_of(context, span):
    return {"text": context[span[0] : span[1]], "answer_start": span[0]}


def write_tydiqa(path, paragraphs, language, split):
    """TyDiQA-GoldP v1.1 JSON: an entry without a title per question; dev questions have three answers, one of them shorter."""
    entries = []
    for i, paragraph in enumerate(paragraphs):
        question, index = paragraph.questions[0]
        context, spans = context_and_spans(paragraph.facts, language)
        whole = spans[index][question.role]
        found = [whole]
        if split == "dev":
            found += [whole, noun_span(paragraph.facts[index].first, question.role, language, whole)]
        qa = {"answers": [answer_of(context, span) for span in found], "question": say(question, language)}
        entries.append({"paragraphs": [{"context": context, "qas": [qa | {"id": question_name(language, split, i)}]}]})
    file = {"data": entries, "version": "TyDiQA-GoldP-1.1-for-SQuAD-1.1"}
    write_lines(path, [json.dumps(file, ensure_ascii=False)])


def noun_span(clause, role, language, span):
    """The part of a phrase's characters `span` that is its noun."""
    tokens = [token for token in phrase_tokens(getattr(clause, role), language, role) if token.upos != "ADP"]
    noun = next(i for i, token in enumerate(tokens) if token.head is None)
    start = span[0] + sum(len(token.form) + 1 for token in tokens[:noun])
    return start, start + len(tokens[noun].form)


def question_name(language, split, index):
    """`english--6841235782236573455-3`: the language, the number of the document (64 bits with a sign) and of a passage."""
    document = int.from_bytes(
        hashlib.sha1(f"{language.code} {split} {index}".encode(), usedforsecurity=False).digest()[:8], signed=True
    )
    return f"{language.name.lower()}-{document}-{index % 9}"
