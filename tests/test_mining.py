"""Mining of translations (BUCC): files in every layout, margins, ways of retrieval and the threshold, against literal loops."""

import bz2
import functools
import io
import re
import tarfile
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import SHARED
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st

from tasks import bucc2018, bucc2018_pairs, load_task
from xstilts import aligned, hub_rows, mining
from xstilts.base import UserError
from xstilts.bucc_files import corpora
from xstilts.mining import best_threshold, load, margin_scores, mined, of_lines, search, unified, write
from xstilts.sources import load_rows
from xstilts.submission import FORMATS, score_files
from xstilts.task import Collection, RetrievalTask, of_benchmark

TASK = bucc2018.TASK
SUFFIXES = ("de", "en", "gold")

# Two pairs of a few sentences are translations; of dev one English sentence is there twice.
DEV = {
    "de": "de-000000007\tDer Hund schläft.\nde-000000011\tEs regnet.\nde-000000012\t Drei\tWorte \nde-000000013\tJa.\n",
    "en": "en-000000003\tIt rains.\nen-000000005\tNo.\nen-000000020\tThe dog sleeps.\nen-000000021\tIt rains. \n"
    "en-000000022\tWhy?\n",
    "gold": "de-000000007\ten-000000020\nde-000000011\ten-000000021\n",
}
TEST = {
    "de": "de-000000001\tDie Katze.\nde-000000002\tEin Satz.\nde-000000003\tAlt.\n",
    "en": "en-000000001\tOld.\nen-000000002\tThe cat.\nen-000000003\tA lamp.\n",
    "gold": "de-000000001\ten-000000002\nde-000000003\ten-000000001\n",
}
LAYOUTS = {
    "xtreme": ("bucc2018/de-en.dev.{}", "bucc2018/de-en.test.{}"),
    "unpacked": ("bucc2018/de-en/de-en.sample.{}", "bucc2018/de-en/de-en.training.{}"),
}


def options(data_dir=None, **changed):
    """The options of run_retrieval.py that mining reads."""
    default = {
        "languages": None,
        "max_eval_samples": None,
        "threshold": None,
    }
    return SimpleNamespace(**{"task": "bucc2018", "data_dir": data_dir, "neighborhood": 4, **default, **changed})


def lay_out(folder, layout="xtreme", dev=DEV, test=TEST):
    """Write both splits in one of the layouts, and return the data folder."""
    for split, content, template in zip(
        ("sample", "training"), (dev, test), LAYOUTS.get(layout, (None,) * 2), strict=True
    ):
        if layout == "archives":
            pack(folder / f"bucc2018/bucc2018-de-en.{split}-gold.tar.bz2", split, content)
        for suffix in SUFFIXES if template else ():
            path = folder / template.format(suffix)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content[suffix].encode())
    return str(folder)


def pack(path, split, content):
    """An archive as the shared task's, with folders and a member that nobody asked for."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:bz2") as archive:
        for folder in ("bucc2018", "bucc2018/de-en"):
            member = tarfile.TarInfo(folder)
            member.type = tarfile.DIRTYPE
            archive.addfile(member)
        for suffix in ("README", *(suffix for suffix in reversed(SUFFIXES) if suffix in content)):
            member, data = tarfile.TarInfo(f"bucc2018/de-en/de-en.{split}.{suffix}"), content.get(suffix, "x").encode()
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


# ---- files ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", [*LAYOUTS, "archives"])
def test_every_layout_gives_the_same_collection(layout, tmp_path, capsys):
    (collection,), missing = load(TASK, options(lay_out(tmp_path, layout)))
    assert collection.languages == ("de",)
    assert {name: [*side.texts] for name, side in collection.sides.items()} == {
        "dev de": ["Der Hund schläft.", "Es regnet.", "Drei\tWorte", "Ja."],
        "dev en": ["It rains.", "No.", "The dog sleeps.", "Why?"],
        "test de": ["Die Katze.", "Ein Satz.", "Alt."],
        "test en": ["Old.", "The cat.", "A lamp."],
    }
    assert {name.split()[1]: side.role for name, side in collection.sides.items()} == {"de": "document", "en": "query"}
    dev, test = collection.gold["dev"], collection.gold["test"]
    assert dev.ids[0] == ["de-000000007", "de-000000011", "de-000000012", "de-000000013"]
    assert dev.lines == ([[0], [1], [2], [3]], [[0, 3], [1], [2], [4]])
    assert (dev.gold, test.gold) == ({(0, 2), (1, 3)}, {(0, 1), (2, 0)})
    assert [(r["split"], r["rows"], r["published_rows"], r["sentences"]) for r in collection.records] == [
        ("dev", 2, 1038, {"de": 4, "en": 5}),
        ("test", 2, 9580, {"de": 3, "en": 3}),
    ]
    assert [record["fingerprint"] for record in collection.records] == ["db434b8a561bd421", "06e6778a3e92e0ab"]
    assert all(file.startswith("bucc2018/") for record in collection.records for file in record["files"])
    assert sorted(missing) == ["fr", "ru", "zh"]
    said = capsys.readouterr().out
    assert "bucc2018 dev 'de' has 2 gold pairs here; 1,038 are published" in said
    assert "bucc2018 test 'de': --neighborhood 4, but one side has 3 sentences; all of them count" in said


def test_other_languages_in_the_folder_are_mined_too(tmp_path):
    lay_out(tmp_path)
    for path in [*tmp_path.glob("bucc2018/*")]:
        suffix = path.suffix.replace(".de", ".qa")
        path.with_name(path.stem.replace("de-en", "qa-en") + suffix).write_bytes(path.read_bytes())
    collections, _ = load(TASK, options(str(tmp_path)))
    assert [each.languages for each in collections] == [("de",), ("qa",)]


def test_lines_end_as_in_other_files(write):
    """A byte-order mark, CR LF and no line feed at the end; U+2028 does not end a line."""
    write("\ufeffde-1\ta\u2028b\r\nde-2\tc", "x/de-en.dev.de")
    write("en-1\ta", "x/de-en.dev.en")
    path = write("de-2\ten-1\r\n", "x/de-en.dev.gold").replace(".gold", ".de")
    assert corpora(path) == ((["de-1", "de-2"], ["en-1"]), (["a\u2028b", "c"], ["a"]), [(1, 0)])


WRONG = [
    ("de", "de-1\tJa.\nNein.\n", r"de-en\.dev\.de, line 2: no id and tab at its beginning: 'Nein\.'"),
    ("de", "\tJa.\n", r"de-en\.dev\.de, line 1: no id and tab at its beginning: '\\tJa\.'"),
    ("de", "de-1\tJa.\n\nde-2\tJa.\n", r"de-en\.dev\.de, line 2: no id and tab"),
    ("de", "de-1\tJa.\nde-2\t \n", r"de-en\.dev\.de, line 2: the sentence is empty"),
    ("en", "en-1\tYes.\nen-1\tNo.\n", r"de-en\.dev\.en, line 2: the id 'en-1' is there twice"),
    ("en", "", r"de-en\.dev\.en is empty"),
    ("en", b"en-1\tYes.\nen-2\tN\xff.\n", r"de-en\.dev\.en, line 2: not UTF-8"),
    ("gold", "", r"de-en\.dev\.gold is empty"),
    ("gold", "de-000000007\ten-9\n", r"de-en\.dev\.gold, line 1: 'en-9' is the id of no sentence in .*de-en\.dev\.en"),
    ("gold", "en-000000020\tde-000000007\n", r"line 1: 'en-000000020' is the id of no sentence in .*de-en\.dev\.de"),
    ("gold", 2 * "de-000000007\ten-000000020\n", r"line 2: the pair 'de-000000007 en-000000020' is there twice"),
    ("gold", "de-000000007 en-000000020\n", r"de-en\.dev\.gold, line 1: no id and tab"),
]


@pytest.mark.parametrize(("suffix", "content", "message"), WRONG)
def test_what_is_wrong_in_a_file_is_named(suffix, content, message, tmp_path):
    folder = lay_out(tmp_path)
    path = tmp_path / f"bucc2018/de-en.dev.{suffix}"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=message):
        load(TASK, options(folder))


def test_what_is_wrong_in_an_archive_is_named(tmp_path):
    folder = lay_out(tmp_path, "archives", dev={**DEV, "de": "de-1\tJa.\nNein.\n"})
    with pytest.raises(UserError, match=r"bucc2018-de-en\.sample-gold\.tar\.bz2, de-en\.sample\.de, line 2: no id and"):
        load(TASK, options(folder))
    path = tmp_path / "bucc2018/bucc2018-de-en.sample-gold.tar.bz2"
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"<html>", bz2.compress(b"no archive")):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match=r"sample-gold\.tar\.bz2 cannot be read as a \.tar\.bz2 archive"):
            load(TASK, options(folder))
    pack(path, "sample", {suffix: DEV[suffix] for suffix in ("de", "en")})
    with pytest.raises(UserError, match=r"sample-gold\.tar\.bz2 has no member de-en\.sample\.gold"):
        load(TASK, options(folder))


@pytest.mark.parametrize(
    ("lacking", "message"),
    [
        ("test.gold", r"has no companion .*de-en\.test\.gold; XTREME's download removes test\.gold: it is the de-en\.training"),
        ("dev.gold", r"has no companion .*de-en\.dev\.gold$"),
        ("test.en", r"has no companion .*de-en\.test\.en$"),
        ("test.de", r"no file .*de-en\.test\.de \(test rows in 'de'\)"),
        ("dev.de", r"no file .*de-en\.dev\.de \(dev rows in 'de'\)"),
    ],
)  # fmt: skip
def test_a_file_that_lacks_is_named(lacking, message, tmp_path):
    folder = lay_out(tmp_path)
    (tmp_path / f"bucc2018/de-en.{lacking}").unlink()
    with pytest.raises(UserError, match=message):
        load(TASK, options(folder))
    if lacking.startswith("dev"):
        (collection,), _ = load(TASK, options(folder, threshold=1.0))
        assert [*collection.sides] == ["test de", "test en"]


def test_without_any_file_all_layouts_are_named(tmp_path):
    files = r"bucc2018/de-en\.dev\.de or .*/de-en/de-en\.sample\.de or .*/bucc2018-de-en\.sample-gold\.tar\.bz2"
    with pytest.raises(UserError, match=rf"no file .*{files} \(dev rows in 'de'\)"):
        load(TASK, options(str(tmp_path)))


def test_a_language_without_its_gold_is_left_out_of_several(tmp_path):
    folder = lay_out(tmp_path)
    for path in {*tmp_path.glob("bucc2018/*")} - {*tmp_path.glob("bucc2018/*test.gold")}:
        suffix = path.suffix.replace(".de", ".fr")
        path.with_name(path.stem.replace("de-en", "fr-en") + suffix).write_bytes(path.read_bytes())
    collections, missing = load(TASK, options(folder))
    assert [each.languages for each in collections] == [("de",)]
    assert "has no companion" in missing["fr"]
    assert "fr-en.test.gold" in missing["fr"]
    with pytest.raises(UserError, match=r"has no companion .*fr-en\.test\.gold"):
        load(TASK, options(folder, languages="de,fr"))


def test_corpora_of_gold_pairs_only_are_refused(tmp_path):
    test = {"de": "de-1\ta\nde-2\tb\n", "en": "en-1\tc\nen-2\td\n", "gold": "de-1\ten-2\nde-2\ten-1\n"}
    with pytest.raises(
        UserError, match=r"test in 'de' \(bucc2018/de-en\.test\.de\): every sentence is in a gold pair.*bucc2018_pairs"
    ):
        load(TASK, options(lay_out(tmp_path, test=test)))
    one_distractor = {**test, "en": test["en"] + "en-3\te\n"}
    assert load(TASK, options(lay_out(tmp_path, test=one_distractor)))[0]


def test_the_published_files_have_this_form():
    """Labels and predictions of XTREME's mock submission."""
    for kind in ("labels", "predictions"):
        for language in TASK.languages:
            path = SHARED / "xtreme_mock" / kind / "bucc2018" / f"test-{language}.tsv"
            if not path.exists():
                pytest.skip(f"{path} is not there (XTREME's mock submission)")
            assert re.fullmatch(rf"({language}-\d{{9}}\ten-\d{{9}}\n)+", path.read_text())


def test_large_files_are_read_in_seconds(tmp_path):
    """The time is printed, not tested."""
    sides = {
        code: "".join(f"{code}-{n:09}\t{code} sentence number {n % 99_000}\n" for n in range(100_000))
        for code in ("de", "en")
    }
    gold = "".join(f"de-{n:09}\ten-{n + 1:09}\n" for n in range(0, 3000, 3))
    folder, start = lay_out(tmp_path, test={**sides, "gold": gold}), time.perf_counter()
    (collection,), _ = load(TASK, options(folder, threshold=1.0))
    print(f"{time.perf_counter() - start:.2f} s for 2 x 100,000 lines")
    assert len(collection.sides["test de"].texts) == 99_000
    assert len(collection.gold["test"].gold) == 1000


# ---- the hub, gold pairs as plain retrieval -------------------------------------------------------------------------

ROW = {
    "sentence1": ["Die Katze.", "Ein Satz. ", "Alt."],
    "sentence2": ["Old.", "The cat.", "A lamp."],
    "gold": [[1, 2], [3, 1]],
}


@pytest.fixture
def hub(monkeypatch):
    """hub(rows) -> what was asked for: the hub has just these."""

    def serve(rows, features=TASK.source.features):
        asked = []
        found = Dataset.from_list(rows, features=features)
        monkeypatch.setattr(
            hub_rows, "load_dataset", lambda *place, **more: asked.append((*place, more["split"])) or found
        )
        return asked

    return serve


def test_the_hub_has_the_test_corpora(hub, tmp_path):
    asked = hub([ROW])
    (collection,), missing = load(TASK, options(threshold=1.05, languages="de"))
    assert asked == [("mteb/BUCC", "de-en", "test")]
    assert missing == {}
    (of_files,), _ = load(TASK, options(lay_out(tmp_path), threshold=1.05))
    assert collection.sides == of_files.sides
    assert collection.gold == of_files.gold
    assert collection.records[0]["fingerprint"] == of_files.records[0]["fingerprint"]
    with pytest.raises(UserError, match=r"mteb/BUCC on the hub has no dev set .* --threshold X.* --data_dir DIR"):
        load(TASK, options())


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([ROW, ROW], r"mteb/BUCC/de-en \(test\): 2 rows; a language's corpora are expected in one"),
        ([{**ROW, "gold": [[0, 1]]}], r"the gold pair \[0, 1\] has no sentences; positions count from 1"),
        ([{**ROW, "gold": [[1, 4]]}], r"the gold pair \[1, 4\] has no sentences"),
        ([{**ROW, "gold": [[1]]}], r"the gold pair \[1\] has no sentences"),
        ([{**ROW, "gold": [[1, 2], [1, 2]]}], "a gold pair is there twice"),
        ([{**ROW, "gold": []}], "there are no gold pairs, so nothing can be measured"),
        ([{**ROW, "sentence2": ["Old.", " ", "No."]}], r"\(test\): sentence 2 in 'en' is empty"),
    ],
)
def test_what_is_wrong_on_the_hub_is_named(rows, message, hub):
    hub(rows)
    with pytest.raises(UserError, match=message):
        load(TASK, options(threshold=1.0, languages="de"))


def test_rows_of_files_have_the_columns_of_the_hub(tmp_path):
    rows, files = load_rows(TASK.source, "test", "de", lay_out(tmp_path))
    assert files == ["bucc2018/de-en.test.de"]
    assert list(rows) == [
        {column: [text.strip() for text in texts] if "sentence" in column else texts for column, texts in ROW.items()}
    ]


def test_declarations():
    assert load_task("bucc2018", RetrievalTask).type is mining.TYPE
    assert load_task("bucc2018_pairs", RetrievalTask).type is aligned.TYPE
    assert of_benchmark(TASK, "xtreme").languages == ("de", "fr", "ru", "zh")
    assert TASK.languages == bucc2018_pairs.TASK.languages
    assert sum(size for split, size in TASK.sizes.items() if split.startswith("test")) == 35_000  # as mteb counts
    assert mining.TYPE.layer(24) == 14


@pytest.mark.parametrize("layout", [*LAYOUTS, "archives"])
def test_the_gold_pairs_alone_are_aligned_sentences(layout, tmp_path):
    (collection,), _ = aligned.load(bucc2018_pairs.TASK, options(lay_out(tmp_path, layout)))
    assert [*collection.sides["en"].texts] == ["The cat.", "Old."]
    assert [*collection.sides["de"].texts] == ["Die Katze.", "Alt."]


def test_the_hub_has_the_gold_pairs(hub):
    rows = [{"source_sentence": "Die Katze.", "target_sentence": "The cat."}]
    asked = hub(rows, bucc2018_pairs.TASK.source.features)
    (collection,), _ = aligned.load(bucc2018_pairs.TASK, options(languages="de"))
    assert asked == [("google/xtreme", "bucc18.de", "test")]
    assert [*collection.sides["de"].texts] == ["Die Katze."]


# ---- options --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"max_eval_samples": 5}, "--max_eval_samples: the first sentences of bucc2018's two corpora have hardly"),
        ({"languages": "de,es"}, "--languages: bucc2018 has no 'es'; it has de"),
    ],
)
def test_options_that_cannot_be(changed, message, tmp_path):
    with pytest.raises(UserError, match=message):
        load(TASK, options(lay_out(tmp_path), **changed))


# ---- scores and pairs, by hand --------------------------------------------------------------------------------------


def test_margins_by_hand():
    """Of two xs with their two nearest among three ys."""
    cosines, positions = [[0.9, 0.5], [0.6, 0.4]], [[2, 0], [0, 1]]
    means = [0.3, 0.2, 0.5]
    expected = [[0.9 / ((0.7 + 0.5) / 2), 0.5 / ((0.7 + 0.3) / 2)], [0.6 / ((0.5 + 0.3) / 2), 0.4 / ((0.5 + 0.2) / 2)]]
    assert margin_scores(np.float32(cosines), np.array(positions), means) == pytest.approx(np.array(expected), abs=1e-6)


def test_a_ratio_with_what_is_not_above_zero_is_the_worst():
    found = margin_scores([[0.1, -0.1]], np.array([[0, 1]]), [0.2, -0.1])
    assert found.tolist() == [[pytest.approx(1.0), -np.inf]]
    assert mining.best(found, np.array([[0, 1]]))[0] == 0


# x0-y0 is both ways the best; x1 takes y0, which x0 has; y1 takes x0; x2 and y2 take each other, and y3 takes x2
FORWARD = np.array([[0.9, 0.8], [0.7, 0.5], [0.6, 0.3]]), np.array([[0, 1], [0, 1], [2, 3]])
BACKWARD = np.array([[0.9, 0.7], [0.8, 0.5], [0.6, 0.2], [0.3, 0.1]]), np.array([[0, 1], [0, 1], [2, 0], [2, 0]])


def of_pairs(found):
    """[(source, target)]."""
    return [*zip(found[0].tolist(), found[1].tolist(), strict=True)]


def test_pairs_by_hand():
    found = mined(FORWARD, BACKWARD)
    assert of_pairs(found) == [(2, 2), (0, 0)], "the best score first"
    assert found[2][1] == pytest.approx(0.9 / ((0.85 + 0.8) / 2))


def test_pairs_that_only_one_direction_finds_count_too():
    """x1's best is y0, whose best is x0, whose best is y1: nothing but (x0, y1) is agreed on, then x1 gets y0."""
    forward = np.array([[0.95, 0.9], [0.5, 0.3]]), np.array([[1, 0], [0, 1]])
    backward = np.array([[0.9, 0.5], [0.95, 0.3]]), np.array([[0, 1], [0, 1]])
    assert of_pairs(mined(forward, backward)) == [(0, 1), (1, 0)]


def test_of_equal_scores_the_lower_position_goes_first():
    everything = np.full((3, 3), 0.5), np.array([[2, 1, 0]] * 3)
    assert of_pairs(mined(everything, everything)) == [(0, 0)]
    sources, targets, scores = (np.array(each) for each in ([2, 1, 1, 0], [0, 0, 1, 2], [0.5, 0.5, 0.5, 0.5]))
    assert of_pairs(mining.used_once(sources, targets, scores)) == [(0, 2), (1, 0)]


def test_repeated_sentences():
    unique, lines = unified(["a", "b", "a", "c"])
    assert (unique, lines) == (["a", "b", "c"], [[0, 2], [1], [3]])
    found = np.array([0, 1, 2]), np.array([1, 0, 2]), np.array([1.2, 1.1, 1.0])
    pairs, scores = of_lines(*found, (lines, [[0], [1, 2], [3]]))
    assert pairs == [(0, 1), (0, 2), (2, 1), (2, 2), (1, 0), (3, 3)]
    assert scores.tolist() == [1.2] * 4 + [1.1, 1.0]


# ---- threshold ------------------------------------------------------------------------------------------------------


def f1_at(threshold, scores, right, gold):
    """F1 of taking all that score as much or more, by the definition."""
    taken = [is_right for score, is_right in zip(scores, right, strict=True) if score >= threshold]
    found = sum(taken)
    return 2 * (found / len(taken)) * (found / gold) / (found / len(taken) + found / gold) if found else 0.0


@pytest.mark.parametrize(
    ("scores", "right", "gold", "expected"),
    [
        ([1.4, 1.3, 1.1, 1.0], [1, 1, 0, 0], 2, (1.3 + 1.1) / 2),
        ([1.0, 1.4, 1.1, 1.3], [0, 1, 0, 1], 2, (1.3 + 1.1) / 2),  # in any order
        ([1.4, 1.3, 1.1], [1, 1, 1], 3, 1.1),  # behind the last pair, where the benchmark's code has no next one
        ([1.4], [1], 5, 1.4),
        ([1.4, 1.3, 1.3, 1.1], [1, 1, 0, 0], 2, (1.3 + 1.1) / 2),  # not between equal scores, though F1 would be 1 there
        ([1.4, 1.3, 1.3, 1.3, 1.1], [1, 1, 0, 0, 0], 2, (1.4 + 1.3) / 2),  # 2/3 above the equal ones, 2/3 below: the highest
        ([1.4, 1.3, 1.1], [0, 0, 0], 3, 0.0),  # nothing is right
        ([], [], 3, 0.0),
        ([np.nextafter(1.0, 2), 1.0], [1, 0], 1, np.nextafter(1.0, 2)),  # no number between them; half-way rounds down to 1
    ],
)  # fmt: skip
def test_thresholds_by_hand(scores, right, gold, expected):
    assert best_threshold(np.array(scores), np.array(right, bool), gold) == expected


@given(st.lists(st.tuples(st.integers(0, 8), st.booleans()), max_size=25), st.integers(0, 4))
def test_the_threshold_is_the_best_of_all_cuts(pairs, unfound):
    scores, right = np.array([1 + score / 10 for score, _ in pairs]), np.array([each for _, each in pairs], bool)
    gold = int(right.sum()) + unfound
    threshold = best_threshold(scores, right, max(1, gold))
    cuts = [f1_at(score, scores, right, max(1, gold)) for score in sorted({*scores.tolist()}, reverse=True)]
    assert f1_at(threshold, scores, right, max(1, gold)) == pytest.approx(max(cuts, default=0))
    if right.any():
        taken = (scores >= threshold).sum()
        first = next(number for number, f1 in enumerate(cuts) if f1 > max(cuts) - 1e-12)
        assert taken == (scores >= sorted({*scores.tolist()}, reverse=True)[first]).sum()


# ---- a planted corpus, against literal loops ------------------------------------------------------------------------


def planted(seed, size, pairs, width=32):
    """(vectors of unique sentences, Split) of two sides, among whose lines some are repeated, some are translations of each other
    at all distances, and some near to everything."""
    rng = np.random.default_rng(seed)
    foreign, english = (rng.normal(size=(size, width)) + 0.3 for _ in range(2))
    chosen, others = (rng.permutation(size)[:pairs] for _ in range(2))
    english[others] = foreign[chosen] + rng.uniform(0.1, 0.9, size=(pairs, 1)) * rng.normal(size=(pairs, width))
    for side in (foreign, english):
        side[rng.permutation(size)[: size // 200]] = 0.6 + 0.4 * rng.normal(size=(size // 200, width))
    lines = tuple(repeated(rng, size, size // 40) for _ in range(2))
    gold = {(lines[0][i][-1], lines[1][j][0]) for i, j in zip(chosen.tolist(), others.tolist(), strict=True)}
    ids = tuple([f"{code}-{n + 1:09}" for n in range(size + size // 40)] for code in ("de", "en"))
    return [np.float32(foreign) * rng.uniform(1, 9, size=(size, 1)).astype("f"), np.float32(english)], mining.Split(
        ids, lines, gold
    )


def repeated(rng, size, more):
    """The lines of every unique sentence, where `more` lines repeat one."""
    of = np.concatenate([np.arange(size), rng.integers(size, size=more)])
    lines = [[] for _ in range(size)]
    for line, sentence in enumerate(rng.permutation(of).tolist()):
        lines[sentence].append(line)
    return lines


@pytest.fixture(scope="module")
def corpus():
    """(Collection, vectors) of a small dev and a large test set."""
    sizes = {"dev": (1, 3000, 120), "test": (2, 20_000, 500)}
    vectors, gold = {}, {}
    for split, (seed, size, pairs) in sizes.items():
        (foreign, english), gold[split] = planted(seed, size, pairs)
        vectors |= {f"{split} de": torch.from_numpy(foreign), f"{split} en": torch.from_numpy(english)}
    return Collection({}, ("de",), gold, ()), vectors


def literal_neighbours(x, y, k):
    """Cosines and positions of the k nearest ys of every x: k times the largest product that is left."""
    cosines, positions = np.zeros((len(x), k)), np.zeros((len(x), k), int)
    for start in range(0, len(x), 500):
        products = x[start : start + 500] @ y.T
        rows = np.arange(len(products))
        for rank in range(k):
            nearest = products.argmax(1)
            cosines[start + rows, rank], positions[start + rows, rank] = products[rows, nearest], nearest
            products[rows, nearest] = -np.inf
    return cosines.tolist(), positions.tolist()


def literal_mining(x, y, k=4):
    """[(score, x, y)] of the ratio margin and max retrieval, loop by loop."""
    x, y = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in (x, y))
    x_cosines, x_nearest = literal_neighbours(x, y, k)
    y_cosines, y_nearest = literal_neighbours(y, x, k)
    x_means, y_means = ([sum(row) / k for row in rows] for rows in (x_cosines, y_cosines))
    candidates = []
    for i in range(len(x)):
        scored = [(c / ((x_means[i] + y_means[j]) / 2), i, j) for c, j in zip(x_cosines[i], x_nearest[i], strict=True)]
        candidates.append(max(scored))
    for j in range(len(y)):
        scored = [(c / ((y_means[j] + x_means[i]) / 2), i, j) for c, i in zip(y_cosines[j], y_nearest[j], strict=True)]
        candidates.append(max(scored))
    used_x, used_y, found = set(), set(), []
    for score, i, j in sorted(candidates, key=lambda each: -each[0]):
        if i not in used_x and j not in used_y:
            used_x.add(i)
            used_y.add(j)
            found.append((score, i, j))
    return found


def literal_pairs(split, found):
    """{(foreign id, English id): score}."""
    scored = {}
    for score, i, j in found:
        lines = split.lines[0][i], split.lines[1][j]
        for one in lines[0]:
            for other in lines[1]:
                scored[split.ids[0][one], split.ids[1][other]] = score
    return scored


def literal_threshold(scored, gold):
    """The benchmark's loop, but between different scores only."""
    items = sorted(scored.items(), key=lambda item: -item[1])
    best_f1 = threshold = right = 0
    for number, (pair, score) in enumerate(items, start=1):
        right += pair in gold
        following = items[number][1] if number < len(items) else None
        if right and score != following:
            precision, recall = right / number, right / len(gold)
            f1 = 2 * precision * recall / (precision + recall)
            if f1 > best_f1 + 1e-12:
                best_f1, threshold = f1, score if following is None else (score + following) / 2
    return threshold, 100 * best_f1


def gold_ids(split):
    """Gold pairs by their ids."""
    return {(split.ids[0][i], split.ids[1][j]) for i, j in split.gold}


@pytest.fixture(scope="module")
def literal(corpus):
    """literal(split) -> {pair of ids: score}; the neighbours of a split are looked for once."""
    collection, vectors = corpus

    @functools.cache
    def literal(split):
        return literal_pairs(
            collection.gold[split], literal_mining(*(vectors[f"{split} {code}"].numpy() for code in ("de", "en")))
        )

    return literal


def test_a_planted_corpus_is_mined_as_by_literal_loops(corpus, literal, monkeypatch):
    collection, vectors = corpus
    mined_splits = []
    monkeypatch.setattr(mining, "of_lines", lambda *found: mined_splits.append(of_lines(*found)) or mined_splits[-1])
    scores, predictions = search(TASK, collection, vectors, options(), "cpu")["de"]
    for split, (found, margins) in zip(("dev", "test"), mined_splits, strict=True):
        ids, scored = collection.gold[split].ids, literal(split)
        by_ids = {(ids[0][i], ids[1][j]): margin for (i, j), margin in zip(found, margins.tolist(), strict=True)}
        assert len(by_ids.keys() ^ scored.keys()) <= 4, "two scores may be equal but for rounding"
        both = by_ids.keys() & scored.keys()
        assert len(both) > 1000
        assert {pair: by_ids[pair] for pair in both} == pytest.approx({pair: scored[pair] for pair in both}, abs=1e-6)
    threshold, dev_f1 = literal_threshold(literal("dev"), gold_ids(collection.gold["dev"]))
    assert scores["threshold"] == pytest.approx(threshold, abs=1e-6)
    assert scores["dev_f1"] == pytest.approx(dev_f1)
    expected = {pair for pair, score in scored.items() if score >= threshold}
    assert {tuple(pair.split("\t")) for pair in predictions} == expected
    assert predictions == sorted(predictions)
    gold = gold_ids(collection.gold["test"])
    right = len(expected & gold)
    assert scores["precision"] == pytest.approx(100 * right / len(expected))
    assert scores["recall"] == pytest.approx(100 * right / len(gold))
    assert scores["f1"] == pytest.approx(200 * right / (len(expected) + len(gold)))
    assert scores["pairs"] == len(expected)
    assert 30 < scores["f1"] < 95, "some are found, some are not"


@pytest.fixture
def small(corpus):
    """The corpus with dev for test as well."""
    collection, vectors = corpus
    gold = {"dev": collection.gold["dev"], "test": collection.gold["dev"]}
    sides = {f"{split} {code}": vectors[f"dev {code}"] for split in ("dev", "test") for code in ("de", "en")}
    return Collection({}, ("de",), gold, ()), sides


def test_on_dev_itself_the_scores_are_dev_s(small):
    collection, vectors = small
    scores, _ = search(TASK, collection, vectors, options(), "cpu")["de"]
    for name in ("f1", "precision", "recall"):
        assert scores[f"dev_{name}"] == pytest.approx(scores[name])


def test_the_gold_of_test_moves_nothing_but_its_scores(small):
    """The threshold, dev's scores and the pairs taken are the same whatever the gold pairs of test are."""
    collection, vectors = small
    scores, predictions = search(TASK, collection, vectors, options(), "cpu")["de"]
    other = collection.gold["test"]._replace(gold={(0, 0)})
    moved, others = search(
        TASK, Collection({}, ("de",), collection.gold | {"test": other}, ()), vectors, options(), "cpu"
    )["de"]
    assert others == predictions
    kept = ("threshold", "pairs", "dev_f1", "dev_precision", "dev_recall")
    assert {name: scores[name] for name in kept} == {name: moved[name] for name in kept}
    assert moved["f1"] < scores["f1"]


def test_a_threshold_that_is_given_needs_no_dev(small):
    collection, vectors = small
    scores, predictions = search(TASK, collection, vectors, options(), "cpu")["de"]
    alone = Collection({}, ("de",), {"test": collection.gold["test"]}, ())
    of_test = {name: each for name, each in vectors.items() if name.startswith("test")}
    again, same = search(TASK, alone, of_test, options(threshold=scores["threshold"]), "cpu")["de"]
    assert same == predictions
    assert again == {name: value for name, value in scores.items() if not name.startswith("dev_")}
    _, margins, _ = mining._mined("test", "de", alone, of_test, options(), "cpu")
    one, pair = search(TASK, alone, of_test, options(threshold=margins.max()), "cpu")["de"]
    assert one["pairs"] == len(pair) == (margins == margins.max()).sum(), (
        "a pair that scores just the threshold is taken"
    )
    none, empty = search(TASK, alone, of_test, options(threshold=9.0), "cpu")["de"]
    assert (none["f1"], none["pairs"], empty) == (0, 0, [])


def test_where_nothing_on_dev_is_right_all_pairs_are_taken(small, capsys):
    collection, vectors = small
    gold = collection.gold | {"dev": collection.gold["dev"]._replace(gold={(-1, -1)})}
    scores, predictions = search(TASK, Collection({}, ("de",), gold, ()), vectors, options(), "cpu")["de"]
    assert (scores["threshold"], scores["dev_f1"]) == (0, 0)
    assert scores["pairs"] == len(predictions) > 2000
    assert (
        "bucc2018 de: no pair mined on dev is right, so no threshold is better than another; it is 0"
        in capsys.readouterr().out
    )


def test_predictions_score_the_same_as_a_file(small, tmp_path):
    collection, vectors = small
    scores, predictions = search(TASK, collection, vectors, options(), "cpu")["de"]
    write(tmp_path, "de", predictions, collection)
    labels = tmp_path / "labels.tsv"
    labels.write_text("".join(f"{one}\t{other}\n" for one, other in sorted(gold_ids(collection.gold["test"]))))
    found, notes = score_files(FORMATS["bucc2018"], "de", tmp_path / "test-de.tsv", labels)
    assert found == {name: scores[name] for name in ("f1", "precision", "recall")}
    assert notes == []
    assert FORMATS["bucc2018"].suffixes == (".tsv",)


def test_fewer_sentences_than_neighbours(tmp_path):
    (collection,), _ = load(TASK, options(lay_out(tmp_path)))
    rng = np.random.default_rng(0)
    vectors = {
        name: torch.from_numpy(rng.uniform(1, 2, (len(side.texts), 8))).float()
        for name, side in collection.sides.items()
    }
    scores, predictions = search(TASK, collection, vectors, options(), "cpu")["de"]
    assert len(predictions) == scores["pairs"]
