"""One short writer for each file of BUCC 2018, LAReQA and Mewsli-X: items and a language in, an official file out."""

import hashlib
import json

from demo.languages import join, phrase_tokens, say, sentence_tokens
from demo.writers import role_spans, squad_articles, write_lines


def write_bucc(folder, split, bitext, language, english):
    """BUCC 2018 as XTREME names it: sentences of two languages as `id TAB sentence`, and the pairs of ids that are gold."""
    stem = f"{language.code}-en.{split}"
    for own, sentences in ((language, bitext.foreign), (english, bitext.english)):
        lines = [f"{bucc_id(own, i)}\t{say(sentence, own)}" for i, sentence in enumerate(sentences)]
        write_lines(folder / f"{stem}.{own.code}", lines)
    gold = [f"{bucc_id(language, i)}\t{bucc_id(english, j)}" for i, j in bitext.gold]
    write_lines(folder / f"{stem}.gold", gold)


def bucc_id(language, index):
    return f"{language.code}-{index + 1:09d}"


def write_lareqa(path, paragraphs, language):
    """XQuAD-R JSON: XQuAD's articles with the sentences of every paragraph and where they are; keys sorted, in ASCII."""
    articles, facts = squad_articles(paragraphs, language), iter(paragraphs)
    for article in articles:
        for row in article["paragraphs"]:
            row["sentence_breaks"] = text_and_spans(next(facts).facts, language)[1]
            row["sentences"] = [row["context"][start:end] for start, end in row["sentence_breaks"]]
    write_lines(path, [json.dumps({"data": articles, "version": "1.1"}, sort_keys=True)])


def text_and_spans(sentences, language, offset=0):
    """The text of a paragraph and the [start, end] of its sentences, counted from `offset` on."""
    texts, spans = [say(sentence, language) for sentence in sentences], []
    for text in texts:
        spans.append([offset, offset + len(text)])
        offset += len(text) + 1
    return " ".join(texts), spans


def write_candidates(path, entities, languages):
    """Mewsli-X's candidates, each described in its one of the `languages`."""
    rows = (entity_row(entity, language) for entity, language in zip(entities, languages, strict=True))
    write_rows(path, rows)


def write_pairs(path, accounts, pages, language):
    """Mewsli-X's training pairs: a text on the page of one entity that mentions another, and the other's description."""
    rows = []
    for i, (account, page) in enumerate(zip(accounts, pages, strict=True)):
        text, spans = text_and_spans(account.sentences, language)
        place = {"document_title": title_of(page, language), "document_url": url_of(page, language)}
        place |= {"document_id": qid(page), "language": language.code, "text": text, "sentence_spans": ends(spans)}
        context = place | {"section_title": page.facts[0].topic.label}
        mention = mention_row(account, text, spans, language, f"{path.name} {i}")
        rows.append({
            "contextual_mention": {"context": context, "mention": mention},
            "entity": entity_row(account.entity, language),
        })  # fmt: skip
    write_rows(path, rows)


def write_news(path, articles):
    """Mewsli-X's mentions in news, (article, language) each: the text begins with the headline, paragraphs follow."""
    write_rows(path, (news_row(*article, i, path.name) for i, article in enumerate(articles, start=1)))


def news_row(article, language, number, file):
    headline = join(sentence_tokens(article.headline, language)[:-1])
    text, spans, mentions = headline, [[0, len(headline)]], []
    for i, account in enumerate(article.accounts):
        text += "\n\n"
        paragraph, own = text_and_spans(account.sentences, language, len(text))
        text, spans = text + paragraph, spans + own
        mentions.append(mention_row(account, text, own, language, f"{file} {number} {i}"))
    name, url = f"{language.code}-{number}", f"https://{language.code}.wikinews.example/wiki?curid={number}"
    digest = hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
    for mention, account in zip(mentions, article.accounts, strict=True):
        source = {"curid": str(number), "revid": str(number), "text_md5": digest}
        mention["metadata"] = source | {"mention_url": url_of(account.entity, language)}
    context = {"document_title": headline, "document_url": url, "document_id": name, "language": language.code}
    return {"context": context | {"text": text, "sentence_spans": ends(spans)}, "mentions": mentions}


def mention_row(account, text, spans, language, name):
    """Where `text` names the entity of an account, whose sentences have the `spans`; its id is made of `name`."""
    tokens = sentence_tokens(account.sentences[account.index], language)
    start, end = role_spans(tokens, spans[account.index][0])[account.entity.role]
    return {
        "example_id": hashlib.md5(name.encode(), usedforsecurity=False).hexdigest(),
        "mention_span": {"start": start, "end": end, "text": text[start:end]}, "entity_id": qid(account.entity),
    }  # fmt: skip


def entity_row(entity, language):
    description, spans = text_and_spans(entity.sentences, language)
    row = {"entity_id": qid(entity), "title": title_of(entity, language), "description": description}
    row |= {"sentence_spans": ends(spans), "description_language": language.code}
    return row | {"description_url": url_of(entity, language)}


def qid(entity):
    return f"Q{entity.number}"


def title_of(entity, language):
    return join(phrase_tokens(entity.name, language, entity.role))


def url_of(entity, language):
    return f"https://{language.code}.wikipedia.example/wiki/{title_of(entity, language).replace(' ', '_')}"


def ends(spans):
    return [{"start": start, "end": end} for start, end in spans]


def write_rows(path, rows):
    """JSON lines in UTF-8, letters as they are."""
    write_lines(path, [json.dumps(row, ensure_ascii=False) for row in rows])
