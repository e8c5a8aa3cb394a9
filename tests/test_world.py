"""The demo's world: same bytes for the same seed, official formats, aligned translations, held-out sentences, encoder."""

import collections
import csv
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from demo import make_encoder, make_world
from demo.languages import NAMES, make_languages
from demo.lexicon import TOPICS
from xstilts.errors import UserError

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
    for code in NAMES:
        texts += lines_of(world / f"tatoeba/tatoeba.{code}-eng.eng")
    return {sentence for text in texts for sentence in sentences_of(text)}


def test_held_out_sentences_occur_nowhere_else(world):
    seen = [sentence for line in lines_of(world / "text/en.txt") for sentence in sentences_of(line)]
    seen += [line for code in NAMES for line in lines_of(world / f"parallel/en-{code}.en")]
    for row in map(json.loads, lines_of(world / "mnli/multinli_1.0_train.jsonl")):
        seen += [row["sentence1"], row["sentence2"]]
    for context, *_ in questions_of(world / "squad/train-v1.1.json"):
        seen += sentences_of(context)
    seen += [text for *_, text in treebank_sentences(world / "ud/UD_English-World/en_world-ud-train.conllu")]
    assert not held_out_sentences(world) & set(seen)


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
