"""Write the demo's multilingual world: every task of the demo in its official file format, in English and 12 languages.

    python demo/make_world.py --output_dir world [--seed 0] [--scale 1.0]

Takes about 30 seconds and writes the same bytes for the same seed and scale. Dev and test sentences are drawn first and
never occur again, neither in a training set nor in the pretraining text; what `intermediate.py`, then `targets.py` and then
`retrieval.py` add is drawn last and keeps clear of all that. `languages.py` says what the languages are, `languages.csv` in
the output declares their distances.
"""

import argparse
import itertools
import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from demo.intermediate import said, write_intermediate
from demo.items import LABELS, draw_pair, draw_paragraph, draw_story, fresh, hold_out
from demo.languages import ENGLISH, make_languages, say
from demo.retrieval import write_retrieval
from demo.targets import write_targets
from demo.world import draw_document, draw_sentence
from demo.writers import (
    treebank,
    write_conllu,
    write_hellaswag,
    write_languages,
    write_lines,
    write_mnli,
    write_parallel,
    write_squad,
    write_tatoeba,
    write_xnli,
)  # fmt: skip
from xstilts.base import UserError, run_script, words_given

DOCUMENTS = {"en": 8000, "much": 6000, "little": 1500}  # lines of pretraining text; `PAIRS` beside it for translations
PAIRS = {"en": 0, "much": 6000, "little": 1500}
TRAIN = {"nli": 8001, "hellaswag": 6000, "squad": 2800, "ud": 6000}  # squad counts paragraphs of up to 3 questions
HELD_OUT = {"nli": 399, "hellaswag": 400, "squad": 120, "ud": 300, "tatoeba": 300}


def write_world(output_dir, seed=0, scale=1.0):
    """Write the whole world below `output_dir`; `scale` multiplies every count (at least 12 of each are made)."""
    out, languages, held_out = Path(output_dir), make_languages(seed), set()
    rng = random.Random(f"{seed} held-out items")
    dev, test = draw_dev(rng, held_out, scale), draw_test(rng, held_out, scale, languages)
    train = draw_train(random.Random(f"{seed} training items"), held_out, scale)
    write_train(out, train, languages["en"])
    write_dev(out, dev, languages["en"])
    counts, seen = {}, {sentence for items in train.values() for sentence in english_of(items)}
    for code, language in languages.items():
        write_tests(out, test, language, languages["en"])
        text = draw_text(random.Random(f"{seed} text {code}"), held_out, language, scale)
        counts[code] = write_text(out, *text, language, languages["en"])
        seen.update(english_of([*itertools.chain(*text[0]), *text[1]]))
    held_out = {say(sentence, languages["en"]) for sentence in held_out}
    write_intermediate(out, seed, languages, lambda count: scaled(count, scale), train, seen, held_out)
    write_targets(out, seed, languages, lambda count: scaled(count, scale), seen, held_out)
    write_retrieval(out, seed, languages, lambda count: scaled(count, scale), test["xquad"], seen, held_out)
    for code, language in languages.items():
        counts[code] |= amounts(out, language)
    write_languages(out / "languages.csv", languages, counts)


def english_of(items):
    """The English sentences of items, also the questions asked of paragraphs."""
    for item in items:
        yield from said(item)
        yield from (say(question, ENGLISH) for question, _ in getattr(item, "questions", ()))


def scaled(count, scale):
    return max(12, int(count * scale))


def draw_dev(rng, held_out, scale):
    """The items of the dev sets that exist in English only; they join `held_out`."""
    return {
        "nli": labelled_pairs(rng, held_out, scaled(HELD_OUT["nli"], scale)),
        "hellaswag": hold_out(rng, draw_story, held_out, scaled(HELD_OUT["hellaswag"], scale)),
        "squad": hold_out(rng, draw_paragraph, held_out, scaled(HELD_OUT["squad"], scale)),
        "ud": hold_out(rng, draw_sentence, held_out, scaled(HELD_OUT["ud"], scale)),
    }


def draw_test(rng, held_out, scale, languages):
    """The items of the sets that exist in every language; they join `held_out`. Tatoeba's differ by language."""
    return {
        "xnli_dev": labelled_pairs(rng, held_out, scaled(HELD_OUT["nli"], scale)),
        "xnli_test": labelled_pairs(rng, held_out, scaled(HELD_OUT["nli"], scale)),
        "xquad": hold_out(rng, draw_paragraph, held_out, scaled(HELD_OUT["squad"], scale)),
        "ud": hold_out(rng, draw_sentence, held_out, scaled(HELD_OUT["ud"], scale)),
        "tatoeba": {
            code: hold_out(rng, draw_sentence, held_out, scaled(HELD_OUT["tatoeba"], scale)) for code in languages
        },
    }


def draw_train(rng, held_out, scale):
    """The items of the English training sets, none with a held-out sentence."""
    items = {
        "hellaswag": [fresh(rng, draw_story, held_out) for _ in range(scaled(TRAIN["hellaswag"], scale))],
        "squad": [fresh(rng, draw_paragraph, held_out) for _ in range(scaled(TRAIN["squad"], scale))],
        "ud": [fresh(rng, draw_sentence, held_out) for _ in range(scaled(TRAIN["ud"], scale))],
    }
    labels = [LABELS[i % 3] for i in range(scaled(TRAIN["nli"], scale))]
    rng.shuffle(labels)
    items["nli"] = [fresh(rng, lambda r, label=label: draw_pair(r, label), held_out) for label in labels]
    return items


def labelled_pairs(rng, held_out, count):
    """`count` held-out pairs, the three labels in equal shares and in mixed order."""
    pairs = []
    for label in LABELS:
        pairs += hold_out(rng, lambda r, label=label: draw_pair(r, label), held_out, count // 3)
    rng.shuffle(pairs)
    return pairs


def write_train(out, train, english):
    write_mnli(out / "mnli/multinli_1.0_train.jsonl", train["nli"], english, "train")
    write_hellaswag(out / "hellaswag/hellaswag_train.jsonl", train["hellaswag"], english, "train")
    write_squad(out / "squad/train-v1.1.json", train["squad"], english)
    write_conllu(out / treebank(english, "train"), train["ud"], english, "train")


def write_dev(out, dev, english):
    write_mnli(out / "mnli/multinli_1.0_dev_matched.jsonl", dev["nli"], english, "dev")
    write_hellaswag(out / "hellaswag/hellaswag_val.jsonl", dev["hellaswag"], english, "val")
    write_squad(out / "squad/dev-v1.1.json", dev["squad"], english)
    write_conllu(out / treebank(english, "dev"), dev["ud"], english, "dev")


def write_tests(out, test, language, english):
    """The sets that exist in every language: the same items, said in `language`."""
    write_xnli(out / f"xnli/dev-{language.code}.tsv", test["xnli_dev"], language)
    write_xnli(out / f"xnli/test-{language.code}.tsv", test["xnli_test"], language)
    write_squad(out / f"xquad/xquad.{language.code}.json", test["xquad"], language)
    write_conllu(out / treebank(language, "test"), test["ud"], language, "test")
    if language is not english:
        write_tatoeba(out / "tatoeba", test["tatoeba"][language.code], language, english)


def draw_text(rng, held_out, language, scale):
    """The pretraining text of one language: short documents, and sentences to translate (none for English)."""
    amount = "en" if language.code == "en" else language.amount
    documents = [fresh(rng, draw_document, held_out) for _ in range(scaled(DOCUMENTS[amount], scale))]
    pairs = scaled(PAIRS[amount], scale) if PAIRS[amount] else 0
    return documents, [fresh(rng, draw_sentence, held_out) for _ in range(pairs)]


def write_text(out, documents, sentences, language, english):
    """Pretraining text (a document per line) and translation pairs; returns how many sentences and pairs they hold."""
    write_lines(out / f"text/{language.code}.txt", [say(document, language) for document in documents])
    if sentences:
        write_parallel(out / "parallel", sentences, language, english)
    return {"pretraining_sentences": sum(map(len, documents)), "pretraining_pairs": len(sentences)}


def amounts(out, language):
    """What configs/languages.csv says of real languages: GiB of `text/` as written, in UTF-8 (translation pairs, which CC-100 has
    none of, do not count), and training sentences of the treebank, 0 without one."""
    train = out / treebank(language, "train")
    sentences = train.read_text(encoding="utf-8").count("# sent_id = ") if train.exists() else 0
    size = (out / f"text/{language.code}.txt").stat().st_size
    return {"cc100_gib": f"{size / 2**30:.3g}", "udpos_train": sentences}


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output_dir", required=True, help="folder to write")
    parser.add_argument("--seed", type=int, default=0, help="another seed is another world with other dictionaries")
    parser.add_argument("--scale", type=float, default=1.0, help="multiplies the size of every file")
    args = parser.parse_args(words_given(argv))
    out = Path(args.output_dir)
    if out.exists() and not out.is_dir():
        raise UserError(f"--output_dir {out} is a file; name a folder")
    if args.scale <= 0:
        raise UserError(f"--scale {args.scale} must be above 0")
    write_world(out, args.seed, args.scale)
    print(f"wrote the world of seed {args.seed} to {out}")


if __name__ == "__main__":
    run_script(main)
