"""The demo's world: same bytes for the same seed, official formats, aligned translations, held-out sentences, encoder."""

import collections
import csv
import hashlib
import itertools
import json
import os
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

from demo import make_encoder, make_world
from demo.derivations import Derivation, Leaf, Node
from demo.intermediate import RECIPES, TREEBANKS, draw_items, said, treebank_recipe
from demo.languages import NAMES, inflect, make_languages
from demo.lexicon import DAYS, TOPICS
from demo.make_world import scaled
from demo.world import draw_sentence
from xstilts.base import UserError

ROOT = Path(__file__).resolve().parents[1]
SCALE = 0.04
LANGUAGES = ["en", *NAMES]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    out = tmp_path_factory.mktemp("world")
    make_world.main(["--output_dir", str(out), "--scale", str(SCALE)])
    return out


def files_of(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def lines_of(path):
    return path.read_text(encoding="utf-8").splitlines()


def questions_of(path):
    """(context, question, answer text, answer start) of every question of a SQuAD file."""
    for article in json.loads(path.read_text(encoding="utf-8"))["data"]:
        for paragraph in article["paragraphs"]:
            for qa in paragraph["qas"]:
                yield paragraph["context"], qa["question"], qa["answers"][0]["text"], qa["answers"][0]["answer_start"]


def sentences_of(text):
    """The sentences of a text of the world, whose marks end sentences and nothing else."""
    return [part.strip() for part in text.replace("?", "?|").replace(".", ".|").split("|") if part.strip()]


def treebank_sentences(path):
    """(rows of the words, all rows, text) of every sentence of a CoNLL-U file."""
    for block in path.read_text(encoding="utf-8").removesuffix("\n\n").split("\n\n"):
        lines = block.split("\n")
        rows = [line.split("\t") for line in lines if not line.startswith("#")]
        yield [row for row in rows if row[0].isdigit()], rows, lines[1].removeprefix("# text = ")


def test_same_seed_same_bytes_in_another_process(world, tmp_path):
    command = [sys.executable, str(ROOT / "demo/make_world.py"), "--output_dir", str(tmp_path), "--scale", str(SCALE)]
    subprocess.run(command, check=True, env=os.environ | {"PYTHONHASHSEED": "7"}, capture_output=True)
    assert files_of(tmp_path) == files_of(world)


def test_other_seed_is_another_world(world, tmp_path):
    make_world.main(["--output_dir", str(tmp_path), "--scale", str(SCALE), "--seed", "1"])
    other, same = files_of(tmp_path), files_of(world)
    assert other.keys() == same.keys()
    assert all(other[name] != same[name] for name in same if name != "languages.csv")


def test_xnli_is_balanced_and_the_same_pairs_in_every_language(world):
    for split, code in itertools.product(("dev", "test"), LANGUAGES):
        raw = (world / f"xnli/{split}-{code}.tsv").read_bytes().decode()
        rows = [line.split("\t") for line in raw.removesuffix("\r\n").split("\r\n")]
        assert {len(row) for row in rows} == {3}
        labels = [row[2] for row in rows]
        assert len(set(collections.Counter(labels).values())) == 1
        english = (world / f"xnli/{split}-en.tsv").read_bytes().decode().removesuffix("\r\n").split("\r\n")
        assert labels == [line.split("\t")[2] for line in english]


def test_mnli_and_hellaswag_have_the_official_keys(world):
    rows = [json.loads(line) for line in lines_of(world / "mnli/multinli_1.0_dev_matched.jsonl")]
    keys = "annotator_labels genre gold_label pairID promptID sentence1 sentence1_binary_parse sentence1_parse"
    assert set(rows[0]) == {*keys.split(), "sentence2", "sentence2_binary_parse", "sentence2_parse"}
    assert [row["gold_label"] for row in rows].count("-") == 2
    train = [json.loads(line) for line in lines_of(world / "mnli/multinli_1.0_train.jsonl")]
    counts = collections.Counter(row["gold_label"] for row in train)
    assert set(counts) == {"entailment", "neutral", "contradiction"}
    assert max(counts.values()) - min(counts.values()) <= 1
    for row in map(json.loads, lines_of(world / "hellaswag/hellaswag_train.jsonl")):
        assert row["ctx"] == f"{row['ctx_a']} {row['ctx_b']}"
        assert len(set(row["endings"])) == 4
        assert row["label"] in range(4)
        assert {"ind", "activity_label", "split", "split_type", "source_id"} <= row.keys()


@pytest.mark.parametrize("code", LANGUAGES)
def test_answers_stand_where_answer_start_says(world, code):
    translated = list(questions_of(world / f"xquad/xquad.{code}.json"))
    assert len(translated) == len(list(questions_of(world / "xquad/xquad.en.json"))) >= 12
    for context, question, text, start in translated:
        assert text
        assert context[start : start + len(text)] == text
        assert question.endswith("?")


def test_question_names_one_fact(world):
    """No other fact of the paragraph has the words that a question about the subject or the object names."""
    for context, question, text, _ in questions_of(world / "squad/train-v1.1.json"):
        assert text not in question
        assert len(sentences_of(context)) == 3


@pytest.mark.parametrize("code", LANGUAGES)
def test_treebanks_are_conllu_with_translated_sentences(world, code):
    path = next(world.glob(f"ud/UD_*/{code}_world-ud-test.conllu"))
    english = next(world.glob("ud/UD_*/en_world-ud-test.conllu"))
    for (words, rows, text), (english_words, _, _) in zip(
        treebank_sentences(path), treebank_sentences(english), strict=True
    ):
        assert {len(row) for row in rows} == {10}
        assert [int(row[0]) for row in words] == list(range(1, len(words) + 1))
        assert [row[6] for row in words].count("0") == 1
        assert text.replace(" ", "") == "".join(row[1] for row in words)
        assert all(int(row[6]) <= len(words) for row in words)
        own = collections.Counter(row[3] for row in words)
        expected = collections.Counter(row[3] for row in english_words)
        del own["AUX"], expected["AUX"]  # English questions need one more
        assert own == expected


def test_treebank_has_ranges_and_empty_nodes(world):
    path = world / "ud/UD_English-World/en_world-ud-train.conllu"
    ids = [row[0] for _, rows, _ in treebank_sentences(path) for row in rows]
    assert any("-" in word for word in ids)
    assert any("." in word for word in ids)


def test_translations_line_up(world):
    """Names and digits, the anchors, are the same on both sides of every translation."""
    names = {name for topic in TOPICS for name in (*topic.names, topic.town)}
    for code in NAMES:
        for path, end in ((f"tatoeba/tatoeba.{code}-eng", "eng"), (f"parallel/en-{code}", "en")):
            own, english = lines_of(world / f"{path}.{code}"), lines_of(world / f"{path}.{end}")
            assert len(own) == len(english) == len(lines_of(world / f"{path}.{end}")) >= 12
            for one, other in zip(own, english, strict=True):
                anchors = [
                    sorted(w for w in line.strip(".?").replace("?", "").split() if w in names or w.isdigit())
                    for line in (one, other)
                ]
                assert anchors[0] == anchors[1]
        assert len(set(lines_of(world / f"tatoeba/tatoeba.{code}-eng.eng"))) == len(
            lines_of(world / f"tatoeba/tatoeba.{code}-eng.eng")
        )


def held_out_sentences(world):
    """The English sentences of every test and dev set."""
    texts = [
        row["sentence1"] + row["sentence2"]
        for row in map(json.loads, lines_of(world / "mnli/multinli_1.0_dev_matched.jsonl"))
    ]
    texts += [json.loads(line)["ctx_a"] for line in lines_of(world / "hellaswag/hellaswag_val.jsonl")]
    for split in ("dev", "test"):
        texts += [" ".join(line.split("\t")[:2]) for line in lines_of(world / f"xnli/{split}-en.tsv")]
        texts += [text for *_, text in treebank_sentences(world / f"ud/UD_English-World/en_world-ud-{split}.conllu")]
    for path in ("squad/dev-v1.1.json", "xquad/xquad.en.json"):
        texts += [context for context, *_ in questions_of(world / path)]
    texts += [text for recipe in RECIPES for text in texts_of(world / recipe.files[1])]
    for code in NAMES:
        texts += lines_of(world / f"tatoeba/tatoeba.{code}-eng.eng")
    return {sentence for text in texts for sentence in sentences_of(text)}


def texts_of(path):
    """The English texts of a file of an intermediate task; of its answers only those that are whole sentences."""
    if path.suffix == ".auto":
        for line in lines_of(path)[1::2]:
            yield " ".join(leaf.word for leaf in read_auto(line).leaves).replace(" .", ".").replace(" ?", "?")
        return
    for row in rows_of(path):
        texts = row | row.get("question", {}) if isinstance(row.get("question"), dict) else row
        names = "sentence1 sentence2 context hypothesis question question1 question2 stem premise choice1 choice2"
        yield from (texts[name] for name in names.split() if str(texts.get(name)).endswith((".", "?")))
        if str(row.get("question")).startswith("why"):
            yield from (f"{row[name]}." for name in row if name.startswith("answer"))


def rows_of(path):
    """The rows of an intermediate task's file, by the name of its columns."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".tsv":
        return list(csv.DictReader(text.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE))
    if path.suffix == ".csv":
        return list(csv.DictReader(text.splitlines()))
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in text.splitlines()]
    paragraphs = [paragraph for article in json.loads(text)["data"] for paragraph in article["paragraphs"]]
    return [qa | {"context": paragraph["context"]} for paragraph in paragraphs for qa in paragraph["qas"]]


def test_held_out_sentences_occur_nowhere_else(world):
    seen = [sentence for line in lines_of(world / "text/en.txt") for sentence in sentences_of(line)]
    seen += [line for code in NAMES for line in lines_of(world / f"parallel/en-{code}.en")]
    for row in map(json.loads, lines_of(world / "mnli/multinli_1.0_train.jsonl")):
        seen += [row["sentence1"], row["sentence2"]]
    for context, *_ in questions_of(world / "squad/train-v1.1.json"):
        seen += sentences_of(context)
    seen += [text for *_, text in treebank_sentences(world / "ud/UD_English-World/en_world-ud-train.conllu")]
    for recipe in RECIPES:
        seen += [sentence for text in texts_of(world / recipe.files[0]) for sentence in sentences_of(text)]
    assert not held_out_sentences(world) & set(seen)


@pytest.mark.parametrize("code", TREEBANKS)
def test_treebanks_of_other_languages_hold_out_their_dev_sentences(world, code):
    texts = {
        split: {text for *_, text in treebank_sentences(next(world.glob(f"ud/*/{code}_world-ud-{split}.conllu")))}
        for split in ("train", "dev", "test")
    }
    seen = {sentence for line in lines_of(world / f"text/{code}.txt") for sentence in sentences_of(line)}
    seen |= set(lines_of(world / f"parallel/en-{code}.{code}")) | texts["train"]
    assert not (texts["dev"] | texts["test"]) & seen
    assert not texts["dev"] & texts["test"]
    assert {split: len(found) for split, found in texts.items() if split != "train"} == {"dev": 12, "test": 12}
    assert len(texts["train"]) <= scaled(600, SCALE)


def test_treebank_does_not_translate_the_english_one():
    language = make_languages(0)["qfa"]
    english = frozenset(said(draw_sentence(random.Random(seed)))[0] for seed in range(3))
    for seed in range(3):
        recipe = treebank_recipe(language, english)
        items = draw_items(random.Random(seed), recipe, "train", 1, set(), recipe.apart)
        assert not english & set(said(items[0]))


def test_declared_distances_are_what_the_dictionaries_say(world):
    with (world / "languages.csv").open(encoding="utf-8", newline="") as file:
        rows = {row["code"]: row for row in csv.DictReader(file)}
    assert list(rows) == LANGUAGES
    for code, language in make_languages(0).items():
        same = sum(word == own for word, own in language.words.items())
        assert float(rows[code]["vocabulary_shared"]) == pytest.approx(same / len(language.words), abs=1e-4)
        assert len(set(language.words.values())) == len(language.words)
        assert 0 <= float(rows[code]["distance"]) <= 1
        assert int(rows[code]["pretraining_pairs"]) == (
            len(lines_of(world / f"parallel/en-{code}.en")) if code != "en" else 0
        )
    assert float(rows["qna"]["distance"]) < float(rows["qma"]["distance"]) < float(rows["qfa"]["distance"])


def encoder_arguments(world, out, *more):
    texts = [str(world / f"text/{code}.txt") for code in ("en", "qna")]
    small = "--vocab_size 300 --hidden_size 16 --num_hidden_layers 2 --num_attention_heads 2 --max_steps 2"
    return ["--text_files", *texts, "--output_dir", str(out), *small.split(), *more]


def test_encoder_is_a_checkpoint_that_loads(world, tmp_path):
    from transformers import AutoModelForMaskedLM, AutoTokenizer

    pair = [str(world / f"parallel/en-qna.{end}") for end in ("en", "qna")]
    make_encoder.main(encoder_arguments(world, tmp_path, "--parallel", *pair))
    model, loading = AutoModelForMaskedLM.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(loading.values())
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    assert tokenizer.convert_ids_to_tokens([0, 1, 2, 3]) == ["<s>", "<pad>", "</s>", "<unk>"]
    assert tokenizer.mask_token_id == len(tokenizer) - 1 == model.config.vocab_size - 1
    assert tokenizer.model_max_length == model.config.max_position_embeddings - 2
    assert tokenizer("Ａnna　ｗashed").input_ids == tokenizer("Anna washed").input_ids
    encoded = tokenizer("Anna washed", return_offsets_mapping=True)
    assert encoded.offset_mapping[1][0] == 0
    assert encoded.offset_mapping[-2][1] == len("Anna washed")


def test_second_sentence_of_a_pair_starts_its_positions_again(world, tmp_path):
    lines = make_encoder.read_lines(world / "text/en.txt")
    tokenizer = make_encoder.train_tokenizer(lines, 300, 510)
    text = make_encoder.PretrainingText(tokenizer, lines[:3], [("Anna washed", "Boris")], 32)
    pair = text[1]
    cut = pair["input_ids"].index(tokenizer.eos_token_id) + 1
    assert pair["position_ids"][:cut] == list(range(2, 2 + cut))
    assert pair["position_ids"][cut:] == list(range(2, 2 + len(pair["input_ids"]) - cut))
    assert len(list(text)) == len(text) == 2 * len(text.single)


def test_bad_text_is_a_clear_error(world, tmp_path):
    empty, short = tmp_path / "empty.txt", tmp_path / "short.txt"
    empty.write_text("\n \n")
    short.write_text("one line\n")
    with pytest.raises(UserError, match=r"empty\.txt has no text"):
        make_encoder.main(["--text_files", str(empty), "--output_dir", str(tmp_path / "out")])
    with pytest.raises(UserError, match=r"missing\.txt"):
        make_encoder.main(["--text_files", str(tmp_path / "missing.txt"), "--output_dir", str(tmp_path / "out")])
    lines = len(lines_of(world / "parallel/en-qna.en"))
    arguments = encoder_arguments(world, tmp_path / "out", "--parallel", str(world / "parallel/en-qna.en"), str(short))
    with pytest.raises(UserError, match=rf"has {lines} lines but .*short.txt has 1;"):
        make_encoder.main(arguments)
    with pytest.raises(UserError, match="two by two"):
        make_encoder.main(encoder_arguments(world, tmp_path / "out", "--parallel", str(short)))


def test_text_of_the_encoder_has_not_changed(world):
    """demo/encoder was trained on the text of seed 0; nothing that is added to the world may draw from its streams."""
    digest = hashlib.sha256()
    for name, content in files_of(world).items():
        if name.startswith(("text/", "parallel/")):
            digest.update(content)
    assert digest.hexdigest() == "0a00ea9fd558db8f4d2be600aac7e085210e294ba53e5597118e8c0e5ad1ed32"


COLUMNS = {
    "qqp": "id qid1 qid2 question1 question2 is_duplicate",
    "cosmosqa": "id context question answer0 answer1 answer2 answer3 label",
    "commonsenseqa": "answerKey id question",
    "socialiqa": "context question answerA answerB answerC correct",
    "copa": "premise choice1 choice2 question label idx",
    "snli": "annotator_labels captionID gold_label pairID sentence1 sentence1_binary_parse sentence1_parse sentence2 "
    "sentence2_binary_parse sentence2_parse",
    "anli": "uid context hypothesis label model_label emturk genre reason tag",
}
VALUES = {
    "qqp": ("is_duplicate", "0 1"),
    "cosmosqa": ("label", "0 1 2 3"),
    "socialiqa": ("correct", "A B C"),
    "copa": ("label", "0 1"),
    "snli": ("gold_label", "entailment neutral contradiction -"),
    "anli": ("label", "e n c"),
}


@pytest.mark.parametrize("recipe", [recipe for recipe in RECIPES if recipe.files[0].split("/")[0] in COLUMNS])
def test_files_have_the_official_columns(world, recipe):
    task = recipe.files[0].split("/")[0]
    for file, size in zip(recipe.files, recipe.sizes, strict=True):
        rows = rows_of(world / file)
        assert len(rows) == scaled(size, SCALE)
        assert all(set(row) == set(COLUMNS[task].split()) for row in rows)
        assert all(value != "" for row in rows for key, value in row.items() if key not in ("reason", "tag"))
        if task in VALUES:
            column, values = VALUES[task]
            assert {str(row[column]) for row in rows} <= set(values.split())
        if task == "snli":
            assert [row["gold_label"] for row in rows].count("-") == -(-(len(rows) - 5) // 100)


def test_choices_of_commonsenseqa_are_five_words_of_five_topics(world):
    for kind in ("places", "people", "verbs"):
        words = [word for topic in TOPICS for word in getattr(topic, kind)]
        assert len(words) == len(set(words))
    for row in rows_of(world / "commonsenseqa/train_rand_split.jsonl"):
        assert set(row["question"]) == {"question_concept", "choices", "stem"}
        assert [choice["label"] for choice in row["question"]["choices"]] == list("ABCDE")
        texts = {choice["label"]: choice["text"] for choice in row["question"]["choices"]}
        topic = next(topic for topic in TOPICS if row["question"]["question_concept"] in topic.things)
        kinds = (topic.places, topic.people, topic.verbs, tuple(itertools.chain(*topic.qualities)))
        words = next(kind for kind in kinds if texts[row["answerKey"]] in kind)
        assert [label for label, text in texts.items() if text in words] == [row["answerKey"]]


def draw(name, count=600):
    recipe = next(recipe for recipe in RECIPES if recipe.files[0].startswith(name))
    return draw_items(random.Random(f"test {name}"), recipe, "train", count, set(), set())


def words_in(sentence):
    return len(said(sentence)[0].split())


@pytest.mark.parametrize(
    ("name", "answers"),
    [("cosmosqa", 4), ("commonsenseqa", 5), ("socialiqa", 3), ("copa", 2)],
)
def test_neither_place_nor_length_gives_the_answer_away(name, answers):
    items = draw(name)
    counts = collections.Counter(item.label for item in items)
    assert max(counts.values()) < len(items) / answers + 50
    for extreme in (min, max):
        hits = 0
        for item in items:
            options = getattr(item, "answers", None) or getattr(item, "choices", None) or item.words
            lengths = [len(str(option)) if isinstance(option, str) else answer_length(option) for option in options]
            best = [i for i, length in enumerate(lengths) if length == extreme(lengths)]
            hits += (item.label in best) / len(best)
            assert len(set(options)) == answers
        assert hits / len(items) < 1 / answers + 0.08


def answer_length(answer):
    from demo.intermediate_writers import answer_text

    return len(answer_text(answer).split())


@pytest.mark.parametrize(("name", "classes"), [("qqp", 2), ("snli", 3), ("anli/R1", 3), ("anli/R3", 3)])
def test_labels_are_balanced_and_not_in_the_lengths(name, classes):
    by_length, labels = collections.defaultdict(collections.Counter), collections.Counter()
    for item in draw(name):
        label = getattr(item, "label", None) or item.duplicate
        labels[label] += 1
        by_length[words_in(item.sentences[0]) - words_in(item.sentences[-1])][label] += 1
    assert len(labels) == classes
    assert len(set(labels.values())) == 1
    guessed = sum(max(counts.values()) for counts in by_length.values()) / labels.total()
    assert guessed < 1 / classes + (0.08 if name == "qqp" else 0.2)


def test_duplicate_questions_ask_for_the_same():
    """Duplicates share who, what was done and to what, and the role; the others differ in one of these or a quality."""
    for pair in draw("qqp"):
        keys = []
        for question in pair.sentences:
            clause, role = question.clause, question.role
            named = {name: getattr(clause, name).noun for name in ("subject", "object") if name != role}
            keys.append((role, clause.verb, tuple(named.items())))
        qualities = {question.clause.object.adjective for question in pair.sentences} - {None}
        assert (keys[0] == keys[1] and len(qualities) < 2) == pair.duplicate
        assert said(pair)[0] != said(pair)[1]


FORMS = {
    form: word
    for topic in TOPICS
    for word, forms in [
        *((noun, (noun, inflect(noun, "", "s"))) for noun in (*topic.things, *topic.people, *topic.names)),
        *((verb, (verb, inflect(verb, "", "ed"))) for verb in topic.verbs),
    ]
    for form in forms
}
TIMES = rf"\b({'|'.join(DAYS)}|yesterday|today|\d{{4}})\b"
STATES = {"where": rf"\b(near|in the|in ({'|'.join(topic.town for topic in TOPICS)}))\b", "when": TIMES}


def answering_facts(context, question):
    """The facts that name all people, things and deeds of a question and say what it asks for."""
    kind, named = question.split()[0], {FORMS[word] for word in re.findall(r"\w+", question) if word in FORMS}
    facts = [fact for fact in sentences_of(context) if named <= {FORMS.get(word) for word in re.findall(r"\w+", fact)}]
    return [fact for fact in facts if re.search(STATES.get(kind, ""), fact)]


@pytest.mark.parametrize("split", ["train", "dev"])
def test_unanswerable_questions_have_no_answer_in_their_paragraph(world, split):
    rows = rows_of(world / f"squad_v2/{split}-v2.0.json")
    assert json.loads((world / f"squad_v2/{split}-v2.0.json").read_text())["version"] == "v2.0"
    impossible = [row for row in rows if row["is_impossible"]]
    assert 0.15 < len(impossible) / len(rows) < 0.55
    for row in rows:
        found = row["plausible_answers"] if row["is_impossible"] else row["answers"]
        assert (row["answers"] == []) == row["is_impossible"] == ("plausible_answers" in row)
        assert row["context"][found[0]["answer_start"] :].startswith(found[0]["text"])
        assert len(answering_facts(row["context"], row["question"])) == (0 if row["is_impossible"] else 1)


def test_question_word_does_not_tell_whether_there_is_an_answer():
    counts = collections.defaultdict(list)
    for paragraph in draw("squad_v2"):
        for asked in paragraph.asked:
            counts[asked.question.role].append(asked.answered)
    assert len(counts) == 4
    assert all(0.5 < sum(answered) / len(answered) < 0.8 for answered in counts.values())


def read_auto(line):
    """The tree of a line of an AUTO file."""
    stack = [[]]
    for leaf, node, close in re.findall(r"\(<L ([^>]*)>\)|\(<T ([^>]*)>|( \))", line):
        if leaf:
            category, pos, _, word, again = leaf.split(" ")
            assert category == again
            stack[-1].append(Leaf(category, pos, word))
        elif node:
            stack.append([node])
        elif close:
            (category, head, count), *children = stack[-1][0].split(" "), *stack.pop()[1:]
            assert int(head) < int(count) == len(children)
            stack[-1].append(Node(category, tuple(children), int(head)))
    (tree,) = stack[0]
    return tree


def parse(category):
    """ "S[dcl]\\NP" -> ("\\", result, argument); an atom is itself."""
    depth = 0
    for i in range(len(category) - 1, -1, -1):
        depth += {")": 1, "(": -1}.get(category[i], 0)
        if depth == 0 and category[i] in "/\\":
            return category[i], parse(category[:i]), parse(category[i + 1 :])
    return parse(category[1:-1]) if category.startswith("(") else category


def unify(wanted, given):
    """The feature that S stands for in `wanted` if it matches `given`, "" if there is none; None without a match."""
    if isinstance(wanted, tuple) and isinstance(given, tuple) and wanted[0] == given[0]:
        found = [unify(*pair) for pair in zip(wanted[1:], given[1:], strict=True)]
        return None if None in found else max(found)
    if wanted == "S" and isinstance(given, str) and given.startswith("S"):
        return given[1:]
    return "" if wanted == given else None


def featured(category, feature):
    if isinstance(category, tuple):
        return (category[0], *(featured(part, feature) for part in category[1:]))
    return "S" + feature if category == "S" else category


def results(left, right):
    """What two categories combine to: application and composition in both directions, backward crossed composition."""
    for function, other, slash in ((left, right, "/"), (right, left, "\\")):
        if isinstance(function, tuple) and function[0] == slash:
            if unify(function[2], other) is not None:
                yield featured(function[1], unify(function[2], other))
            crossed = slash == "\\" and isinstance(other, tuple) and other[0] == "/"
            if isinstance(other, tuple) and (other[0] == slash or crossed) and unify(function[2], other[1]) is not None:
                yield other[0], featured(function[1], unify(function[2], other[1])), other[2]


def combines(node):
    """Whether the category of a node follows from its children's, all the way down."""
    if isinstance(node, Leaf):
        return True
    own, *below = (one.category for one in (node, *node.children))
    if len(below) == 1:
        fine = (below[0], own) in (("N", "NP"), ("NP", r"S/(S\NP)"))
    elif below[0] == "conj" or below[1].endswith("[conj]"):
        fine = own == below[1] + "[conj]" if below[0] == "conj" else own + "[conj]" == below[1] and own == below[0]
    elif below[1] in (".", ","):
        fine = own == below[0]
    else:
        fine = parse(own) in results(*map(parse, below))
    return fine and all(map(combines, node.children))


def test_derivations_combine(world):
    for split in ("train", "dev"):
        lines = lines_of(world / f"ccg/World/en_world-{split}.auto")
        assert lines[::2] == [f"ID=world-{split}.{i} PARSER=GOLD NUMPARSE=1" for i in range(1, len(lines) // 2 + 1)]
        for line in lines[1::2]:
            tree = read_auto(line)
            assert combines(tree), line
            assert tree.category in ("S[dcl]", "S[wq]", "S[q]")
    swapped = r"(<T S[dcl] 1 2> (<L S[dcl]\NP VBD VBD tasted S[dcl]\NP>) (<L NP NNP NNP Anna NP>) )"
    assert not combines(read_auto(swapped))
    wrong = r"(<T S[q] 1 2> (<L NP NNP NNP Anna NP>) (<L S[dcl]\NP VBD VBD tasted S[dcl]\NP>) )"
    assert not combines(read_auto(wrong))


def test_derivations_have_many_categories_and_dev_one_more():
    train, recipe = draw("ccg"), next(recipe for recipe in RECIPES if recipe.files[0].startswith("ccg"))
    dev = draw_items(random.Random(0), recipe, "dev", 5, set(), set())
    tags = {leaf.category for item in train for leaf in item.tree.leaves}
    assert len(tags) >= 25
    assert {leaf.category for item in dev for leaf in item.tree.leaves} - tags == {r"(S[q]/(S[pss]\NP))/NP"}
    assert all(combines(item.tree) and isinstance(item, Derivation) for item in train)


@pytest.mark.parametrize("code", NAMES)
def test_translated_training_sets_are_the_english_rows(world, code):
    names = {name for topic in TOPICS for name in (*topic.names, topic.town)}
    for file, count, same, said_in in (
        ("mnli/{}multinli_1.0_train.jsonl", 2000, ("gold_label", "pairID", "promptID"), ("sentence1", "sentence2")),
        ("hellaswag/{}hellaswag_train.jsonl", 1500, ("ind", "label", "source_id", "split"), ("ctx_a",)),
    ):
        own, english = rows_of(world / file.format(f"translated/{code}/")), rows_of(world / file.format(""))
        assert len(own) == scaled(count, SCALE)
        for row, original in zip(own, english, strict=False):
            assert row.keys() == original.keys()
            assert all(row[key] == original[key] for key in same)
            assert "then" not in row.get("ctx_b", "")
            for key in said_in:
                anchors = [sorted(names & set(re.findall(r"\w+", text[key]))) for text in (row, original)]
                assert anchors[0] == anchors[1]
        assert sum(row[said_in[0]] != original[said_in[0]] for row, original in zip(own, english, strict=False)) > 10
