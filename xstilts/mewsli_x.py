"""Mewsli-X's files: mentions in their sentence and descriptions of entities -> rows; and what an encoder reads of both."""

from xstilts.base import UserError, quoted
from xstilts.readers import Dropped
from xstilts.shapes import Id, Maybe, misfit
from xstilts.text_files import numbered_lines, parse_json

ACROSS = "mentions that lie in no single sentence"


SPANS = [{"start": int, "end": int}]
CONTEXT = {"text": Maybe(str), "language": str, "sentence_spans": SPANS}
MENTION = {"example_id": Id(), "entity_id": Id(), "mention_span": {"start": int, "end": int, "text": str}}
ENTITY = {"entity_id": Id(), "description": str, "sentence_spans": SPANS}


def pairs(path, features):
    """wikipedia_pairs-*.jsonl -> one row per mention, with the description of its entity."""
    shape = {"contextual_mention": {"context": CONTEXT, "mention": MENTION}, "entity": ENTITY}
    for where, line in _lines(path, shape):
        row = _mention(line["contextual_mention"]["context"], line["contextual_mention"]["mention"], where)
        yield row if isinstance(row, Dropped) else {**row, "description": _description(line["entity"], where)}


def mentions(path, features):
    """wikinews_mentions-*.jsonl, an article a line -> one row per mention."""
    for where, line in _lines(path, {"context": CONTEXT, "mentions": [MENTION]}):
        yield from [_mention(line["context"], mention, where) for mention in line["mentions"]]


def entities(path, features):
    """candidate_set_entities.jsonl -> `entity_id` and `description`; a row at a time, as there are a million."""
    for where, line in _lines(path, ENTITY):
        yield {"entity_id": str(line["entity_id"]), "description": _description(line, where)}


def _lines(path, shape):
    """("path, line n", the object in that line)."""
    for number, line in numbered_lines(path):
        where = f"{path}, line {number}"
        if line.strip():
            content = parse_json(line, path, number)
            if wrong := misfit(content, shape):
                raise UserError(f"{where}: not in the form of Mewsli-X ({wrong})")
            yield where, content


def _mention(context, mention, where):
    """{"example_id", "entity_id", "language", "before", "mention", "after"}: the sentence around a mention, in three parts."""
    text, span = context.get("text"), mention["mention_span"]
    if not text:
        raise UserError(
            f"{where}: the article has no text; the released no_text files get theirs by get-mewsli-x.sh of google-research "
            "(dense_representations_for_entity_retrieval/mel)"
        )
    start, end = span["start"], span["end"]
    if not 0 <= start < end <= len(text) or text[start:end] != span["text"]:
        raise UserError(f"{where}: {quoted(span['text'])} is not at {start} to {end} of the text; the file is damaged")
    around = [
        each for each in _spans(context["sentence_spans"], text, where) if each["start"] <= start and end <= each["end"]
    ]
    if not around:
        return Dropped(ACROSS)
    return {
        "example_id": str(mention["example_id"]),
        "entity_id": str(mention["entity_id"]),
        "language": context["language"],
        "before": text[around[0]["start"] : start],
        "mention": span["text"],
        "after": text[end : around[0]["end"]],
    }


def _spans(spans, text, where):
    """The spans of sentences, which have to be within their text."""
    for span in spans:
        if not 0 <= span["start"] < span["end"] <= len(text):
            raise UserError(
                f"{where}: the sentence from {span['start']} to {span['end']} is not within the text; the file is damaged"
            )
    return spans


def _description(entity, where):
    """The sentences of an entity's description with a space between them."""
    text = entity["description"]
    sentences = [text[span["start"] : span["end"]] for span in _spans(entity["sentence_spans"], text, where)]
    if not any(sentence.strip() for sentence in sentences):
        raise UserError(f"{where}: entity {entity['entity_id']!s:.40} has no description")
    return one_line(" ".join(sentences))


def one_line(text):
    """A text with single spaces for all white space."""
    return " ".join(text.split())


def query_of(row):
    """`Helsinki: In { Helsinki } , rain.`: the mention, so that no cut loses it, and its sentence with the mention in braces,
    for which other braces become parentheses."""
    before, after = (row[side].translate(str.maketrans("{}", "()")) for side in ("before", "after"))
    return one_line(f"{row['mention']}: {before} {{ {row['mention']} }} {after}")


def to_queries(row):
    """{"example_id": "c79", "entity_id": "Q1757", "language": "en", "before": "In ", "mention": "Helsinki", "after": ", rain."}
    -> [{"id": "c79", "text": "Helsinki: In { Helsinki } , rain.", "key": "Q1757"}]"""
    return [{"id": row["example_id"], "text": query_of(row), "key": row["entity_id"]}]


def to_candidates(row):
    """{"entity_id": "Q1757", "description": "Helsinki is a city."}
    -> [{"id": "Q1757", "text": "Helsinki is a city.", "keys": ["Q1757"]}]"""
    return [{"id": row["entity_id"], "text": row["description"], "keys": [row["entity_id"]]}]
