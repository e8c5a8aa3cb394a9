"""One short writer per English intermediate task beside MNLI, SQuAD and HellaSwag: items in, an official file out.

Every writer takes the path, the items and the split (`train` or `dev`).
"""

import csv
import io
import json

from demo.derivations import auto
from demo.languages import ENGLISH, say
from demo.writers import context_and_spans, parsed, write_json_lines, write_lines

UNDECIDED = ["entailment", "entailment", "neutral", "neutral", "contradiction"]


def write_qqp(path, pairs, split):
    """GLUE's QQP: tab separated, with a header, nothing quoted."""
    lines = ["\t".join(("id", "qid1", "qid2", "question1", "question2", "is_duplicate"))]
    for i, pair in enumerate(pairs):
        questions = (say(question, ENGLISH) for question in pair.sentences)
        lines.append("\t".join((str(i), str(2 * i + 1), str(2 * i + 2), *questions, str(int(pair.duplicate)))))
    write_lines(path, lines)


def write_squad_v2(path, paragraphs, split, per_article=10):
    """SQuAD v2.0 JSON: unanswerable questions have no answers, but plausible ones."""
    articles = []
    for start in range(0, len(paragraphs), per_article):
        chunk = paragraphs[start : start + per_article]
        written = [open_paragraph(paragraph, f"o{start + i:05d}") for i, paragraph in enumerate(chunk)]
        articles.append({"title": f"World {start // per_article}", "paragraphs": written})
    write_lines(path, [json.dumps({"version": "v2.0", "data": articles})])


def open_paragraph(paragraph, name):
    context, spans = context_and_spans(paragraph.facts, ENGLISH)
    questions = []
    for i, asked in enumerate(paragraph.asked):
        start, end = spans[asked.index][asked.question.role]
        found = [{"text": context[start:end], "answer_start": start}]
        row = {} if asked.answered else {"plausible_answers": found}
        row |= {
            "question": say(asked.question, ENGLISH),
            "id": f"{name}q{i}",
            "answers": found if asked.answered else [],
        }
        questions.append(row | {"is_impossible": not asked.answered})
    return {"qas": questions, "context": context}


def write_ccg(path, derivations, split):
    """CCGbank AUTO: a line with the sentence's name, a line with its derivation."""
    lines = []
    for i, derivation in enumerate(derivations, start=1):
        lines += [f"ID=world-{split}.{i} PARSER=GOLD NUMPARSE=1", auto(derivation.tree)]
    write_lines(path, lines)


def answer_text(answer):
    """A phrase or a sentence without its mark."""
    return say(answer, ENGLISH).removesuffix(".")


def write_cosmosqa(path, readings, split):
    """CosmosQA CSV with a header; quoted where needed."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    writer.writerow(["id", "context", "question", "answer0", "answer1", "answer2", "answer3", "label"])
    for i, reading in enumerate(readings):
        answers = [answer_text(answer) for answer in reading.answers]
        context = say(list(reading.context), ENGLISH)
        writer.writerow([f"{split}##{i}", context, say(reading.question, ENGLISH), *answers, reading.label])
    write_lines(path, file.getvalue().splitlines())


def write_commonsenseqa(path, items, split):
    """CommonsenseQA JSON lines: five choices, A to E."""
    rows = []
    for i, item in enumerate(items):
        choices = [{"label": label, "text": word} for label, word in zip("ABCDE", item.words, strict=True)]
        stem = say(item.stem, ENGLISH)[:-1] + "?"
        question = {"question_concept": item.concept, "choices": choices, "stem": stem}
        rows.append({"answerKey": "ABCDE"[item.label], "id": f"world-{split}-{i}", "question": question})
    write_json_lines(path, rows)


def write_siqa(path, readings, split):
    """SocialIQA v1.4 JSON lines: answers A to C."""
    rows = []
    for reading in readings:
        row = {"context": say(list(reading.context), ENGLISH), "question": say(reading.question, ENGLISH)}
        row |= {f"answer{'ABC'[i]}": answer_text(answer) for i, answer in enumerate(reading.answers)}
        rows.append(row | {"correct": "ABC"[reading.label]})
    write_json_lines(path, rows)


def write_copa(path, items, split):
    """SuperGLUE's COPA JSON lines."""
    rows = []
    for i, item in enumerate(items):
        premise, first, second = (say(sentence, ENGLISH) for sentence in item.sentences)
        row = {"premise": premise, "choice1": first, "choice2": second}
        rows.append(row | {"question": item.asks, "label": item.label, "idx": i})
    write_json_lines(path, rows)


def write_snli(path, pairs, split):
    """SNLI 1.0 JSON lines; a row in a hundred, in training too, has no gold label ("-"), as where annotators disagree."""
    rows = []
    for i, pair in enumerate(pairs):
        undecided = i % 100 == 5
        annotators = UNDECIDED if undecided else [pair.label] * (1 if split == "train" else 5)
        row = {"annotator_labels": annotators, "captionID": f"{i}.jpg#0"}
        row |= {"gold_label": "-" if undecided else pair.label, "pairID": f"{i}.jpg#0r1{pair.label[0]}"}
        rows.append(row | parsed(pair, ENGLISH))
    write_json_lines(path, rows)


def write_anli(path, passages, split):
    """ANLI v1.0 JSON lines with labels e, n, c; the model that writers try to fool is said to be wrong every time."""
    rows = []
    for i, passage in enumerate(passages):
        row = {"uid": f"world-{split}-{i}", "context": say(list(passage.premise), ENGLISH)}
        row |= {"hypothesis": say(passage.hypothesis, ENGLISH), "label": passage.label[0]}
        wrong = "n" if passage.label[0] != "n" else "e"
        rows.append(row | {"model_label": wrong, "emturk": False, "genre": "world", "reason": "", "tag": ""})
    write_json_lines(path, rows)
