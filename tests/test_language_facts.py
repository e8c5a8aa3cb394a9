"""The table of languages, how it is read and checked, and the distances that are computed from URIEL's features."""

import importlib.util
import math
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from demo.languages import make_languages
from demo.writers import treebank
from studies import make_languages as recomputed
from tasks import tatoeba, udpos
from xstilts.base import UserError
from xstilts.language_facts import (
    AMOUNTS,
    COLUMNS,
    DISTANCES,
    FACTS,
    low_resource,
    read_distances,
    read_facts,
    three_letter,
    two_letter,
)
from xstilts.xtreme import BENCHMARKS

HEADER = ",".join(COLUMNS)
ROW = "de,deu,,German,Indo-European,Latin,0.1,0.2,,0.05,1,66.6,10297,166849"


@pytest.fixture(scope="module")
def facts():
    return read_facts()


# ---- the table in configs -------------------------------------------------------------------------------------------


def test_every_language_of_both_benchmarks_has_a_row(facts):
    languages = {code for tasks in BENCHMARKS.values() for task in tasks.values() for code in task.languages}
    assert {*facts.index} == languages | {"en"}
    assert list(facts.index) == sorted(facts.index)
    assert tuple(facts.reset_index().columns) == COLUMNS


def test_english_is_at_no_distance_from_itself_and_every_distance_is_known(facts):
    assert (facts.loc["en", list(DISTANCES)] == 0).all()
    others = facts.drop("en")[list(DISTANCES)]
    assert ((others > 0) & (others <= 1)).all().all()


def test_distances_are_plausible(facts):
    for code, syntactic in {"de": 0.097, "nl": 0.076, "fr": 0.188, "zh": 0.289, "sw": 0.526}.items():
        assert facts.loc[code, "syntactic"] == pytest.approx(syntactic, abs=0.001)
    germanic, romance = (
        facts.loc[["de", "nl", "af"], "genetic"],
        facts.loc[["fr", "es", "it", "pt", "ro", "ht"], "genetic"],
    )
    assert germanic.max() < romance.min()
    family = facts["family"] == "Indo-European"
    assert (facts.loc[family, "genetic"] < 1).all()
    assert (facts.loc[~family, "genetic"] == 1).all(), "no node of English's, isolates included"
    half = 20_015  # km
    for code, kilometres in {"fr": 600, "de": 1050, "ja": 9350, "sw": 7700}.items():
        assert facts.loc[code, "geographic"] * half == pytest.approx(kilometres, rel=0.05)


def test_treebank_sizes_are_those_that_the_task_checks(facts):
    sizes = {code: udpos.TASK.sizes[f"train-{code}"] for code in ("en", "el", "de", "zh", "fr", "ru")}
    assert facts.loc[[*sizes], "udpos_train"].to_dict() == sizes
    known = {*facts.index[facts["udpos_train"].notna()]}
    assert known == {*udpos.NAMES} - {"lt", "pl", "ro", "uk"}
    assert {*facts.index[facts["udpos_train"] == 0]} == {"th", "tl", "yo"}


def test_xlmr_has_read_nothing_in_four_languages(facts):
    assert {*facts.index[facts["cc100_gib"] == 0]} == {"ht", "qu", "wo", "yo"}
    assert (facts["cc100_gib"] == 0).equals(facts["cc100_tokens_m"] == 0)
    assert facts["cc100_gib"].idxmax() == "en"


def test_names_are_those_of_the_task(facts):
    assert facts["name"][list(udpos.NAMES)].to_dict() == udpos.NAMES


# ---- three-letter codes ---------------------------------------------------------------------------------------------


def test_three_letter_codes_of_languages_and_macrolanguages(facts):
    codes = two_letter(facts)
    assert codes["cmn"] == codes["zho"] == "zh"
    assert codes["swh"] == codes["swa"] == "sw"
    assert codes["eng"] == "en"
    assert "" not in codes
    assert all(re.fullmatch("[a-z]{3}", three) for three in codes)
    assert all(codes[three] == code for code, three in three_letter(facts).items())


def test_tatoeba_names_its_languages_by_the_same_codes(facts):
    assert {code: two_letter(facts)[three] for code, three in tatoeba.NAMES.items()} == {
        code: code for code in tatoeba.NAMES
    }
    other = {code for code, three in tatoeba.NAMES.items() if three_letter(facts)[code] != three}
    assert other == {"ar", "az", "et"}, "whose files have the macrolanguage's code"


# ---- what is wrong in a file ----------------------------------------------------------------------------------------


def test_empty_cells_and_further_columns(write):
    path = write(f"{HEADER},distance,text\n{ROW},0.5,much\nxx,xxx,,Xish,invented,Latin,,,,,,,,,,little\n")
    facts = read_facts(path)
    assert facts.loc["de", "genetic"] == 1
    assert math.isnan(facts.loc["de", "inventory"])
    assert facts.loc["xx", [*DISTANCES, *AMOUNTS]].isna().all()
    assert facts.loc["de", "distance"] == 0.5
    assert math.isnan(facts.loc["xx", "distance"])
    assert facts["text"].tolist() == ["much", "little"]
    assert facts.loc["xx", "macro"] == ""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no languages"),
        (f"{HEADER}\n", "no languages"),
        (HEADER.replace("syntactic,", "") + "\nx", r"line 1: no column syntactic"),
        (f"{HEADER},name\n{ROW},German", r"line 1: column 'name' stands there twice"),
        (f"{HEADER}\n{ROW},1", r"line 2: 15 cells instead of 14"),
        (f"{HEADER}\n\n{ROW}\n{ROW.replace('deu', 'ger')}", r"line 4: code 'de' is that of line 3 \(de\) already"),
        (f"{HEADER}\n{ROW}\n{ROW.replace('de,', 'nl,')}", r"line 3: iso639_3 'deu' is that of line 2 \(de\) already"),
        (f"{HEADER}\n{ROW}\n{ROW.replace('de,deu,', 'nl,nld,deu')}", r"line 3: macro 'deu' is that of line 2"),
        (f"{HEADER}\n{ROW.replace('German', '')}", r"line 2: column name is empty"),
        (f"{HEADER}\n{ROW.replace('0.1,', '1.1,')}", r"line 2, column syntactic: '1.1' is not a distance from 0 to 1"),
        (f"{HEADER}\n{ROW.replace('0.05', '-0.05')}", r"line 2, column geographic: '-0.05' is not a distance"),
        (f"{HEADER}\n{ROW.replace('0.2', 'near')}", r"line 2, column phonological: 'near' is not a distance"),
        (f"{HEADER}\n{ROW.replace('0.2', 'nan')}", r"column phonological: 'nan' is not a distance.*leave it empty"),
        (f"{HEADER}\n{ROW.replace('66.6', '66 GB')}", r"line 2, column cc100_gib: '66 GB' is not an amount, 0 or more"),
        (f"{HEADER}\n{ROW.replace('66.6', 'inf')}", r"column cc100_gib: 'inf' is not an amount"),
        (
            f"{HEADER}\n{ROW.replace('166849', '1.5')}",
            r"line 2, column udpos_train: '1.5' is not a number of sentences",
        ),
    ],
)
def test_what_is_wrong_is_named(text, message, write):
    path = write(text, "languages.csv")
    with pytest.raises(UserError, match=f"^{re.escape(path)}.*{message}"):
        read_facts(path)


def test_a_file_in_another_encoding(write):
    with pytest.raises(UserError, match="not UTF-8"):
        read_facts(write(f"{HEADER}\n{ROW}".replace("German", "Français").encode("latin-1")))


# ---- low-resource languages -----------------------------------------------------------------------------------------


def test_low_resource_by_both_numbers(facts):
    low, unknown = low_resource(facts)
    assert low == {"af", "eu", "kk", "mr", "te", "tl", "ur", "wo", "yo"}
    assert unknown & {*udpos.NAMES} == set(), "every language of the task is decided"
    assert {"sw", "jv", "qu"} <= unknown
    assert not {"et", "vi", "ta", "pl"} & (low | unknown)


def test_one_number_decides_alone(facts):
    low, unknown = low_resource(facts, cc100_gib=2, udpos_train=None)
    assert low == {"af", "gu", "ht", "jv", "pa", "qu", "sw", "wo", "yo"}
    assert unknown == set()
    low, unknown = low_resource(facts, cc100_gib=None, udpos_train=1)
    assert low == {"th", "tl", "yo"}
    assert unknown == {*facts.index[facts["udpos_train"].isna()]}
    with pytest.raises(UserError, match="by which number"):
        low_resource(facts, cc100_gib=None, udpos_train=None)


AMOUNT = st.none() | st.integers(0, 20)


@given(st.lists(st.tuples(AMOUNT, AMOUNT), min_size=1, max_size=8), AMOUNT, st.integers(0, 20))
def test_every_language_is_low_high_or_unknown(scratch, rows, gib, train):
    amounts = [["" if amount is None else str(amount) for amount in row] for row in rows]
    lines = [f"{i},{i},,name,f,s,,,,,,{a},,{b}" for i, (a, b) in enumerate(amounts)]
    scratch.write_text("\n".join([HEADER, *lines]))
    low, unknown = low_resource(read_facts(scratch), gib, train)
    limits = [(0, gib), (1, train)] if gib is not None else [(1, train)]
    for i, row in enumerate(rows):
        below = [None if row[column] is None else row[column] < limit for column, limit in limits]
        assert (str(i) in low) == all(below)
        assert (str(i) in unknown) == (None in below and False not in below)


# ---- the generated world --------------------------------------------------------------------------------------------


def test_the_world_has_a_table_of_the_same_columns(world):
    facts = read_facts(Path(world) / "languages.csv")
    assert tuple(facts.reset_index().columns[: len(COLUMNS)]) == COLUMNS
    assert {"distance", "vocabulary_shared", "word_order", "suffixes", "text"} <= {*facts.columns}
    languages = make_languages(0)
    assert list(facts.index) == list(languages) == facts["iso639_3"].tolist()
    assert (facts["syntactic"] == facts["word_order"]).all()
    assert facts["genetic"].to_numpy() == pytest.approx(1 - facts["vocabulary_shared"], abs=1e-4)
    assert facts[["phonological", "inventory", "geographic", "cc100_tokens_m"]].isna().all().all()
    for code, language in languages.items():
        size = (Path(world) / f"text/{code}.txt").stat().st_size / 2**30
        assert facts.loc[code, "cc100_gib"] == pytest.approx(size, rel=0.01)
        train = Path(world) / treebank(language, "train")
        written = train.read_text(encoding="utf-8").strip().split("\n\n") if train.exists() else []
        assert facts.loc[code, "udpos_train"] == len(written)
    assert {*facts.index[facts["udpos_train"] > 0]} == {"en", "qna", "qnb", "qma", "qmb", "qfa", "qfb"}
    low, _ = low_resource(facts, cc100_gib=facts.loc["en", "cc100_gib"] / 2, udpos_train=None)
    assert low == {*facts.index[facts["text"] == "little"]}


# ---- distances from URIEL's features --------------------------------------------------------------------------------


def lang2vec_files():
    """The folder of lang2vec's feature files: LANG2VEC_DATA, or where the package is installed; never imported."""
    found = importlib.util.find_spec("lang2vec")
    places = [os.environ.get("LANG2VEC_DATA"), *(found.submodule_search_locations if found else [])]
    folders = [Path(place) / part for place in places if place for part in ("", "data")]
    return next((folder for folder in folders if (folder / "family_features.npz").is_file()), None)


def test_the_table_is_what_lang2vec_gives(tmp_path):
    folder = lang2vec_files()
    if folder is None:
        pytest.skip("lang2vec 1.1.2 is neither installed nor in LANG2VEC_DATA (folder of its .npz files)")
    path = tmp_path / "languages.csv"
    facts = read_facts()
    emptied = facts.reset_index().assign(**dict.fromkeys(DISTANCES, "0.5"))
    for column in AMOUNTS:
        emptied[column] = emptied[column].map("{:g}".format, na_action="ignore")
    emptied.to_csv(path, index=False)
    recomputed.main(["--features", str(folder), "--languages", str(path)])
    assert read_facts(path).equals(facts)
    shutil.copy(FACTS, path)
    recomputed.main(["--features", str(folder), "--languages", str(path)])
    assert path.read_bytes() == FACTS.read_bytes()
    nodes, families = recomputed.read_table(folder / "family_features.npz", {*two_letter(facts)})
    for code, names in recomputed.codes_of(FACTS).items():
        row = families[recomputed.first_known(families, names)][:, 0]
        own = {node.removeprefix("F_") for node, member in zip(nodes, row, strict=True) if member}
        assert facts.loc[code, "family"] in (own or {"isolate"})


MARKS = {"GC_0_0": (0, 0), "GC_0_90": (0, 90), "GC_90_0": (90, 0), "GC_-30_-120": (-30, -120), "GC_45_170": (45, 170)}
PLACES = {"eng": (50, 0), "aaa": (50, 180), "bbb": (-50, 180), "mac": (-40, 0), "iso": (50, 0)}
SYNTAX = {"eng": [1, 0, 1, 0], "aaa": [1, 0, 0, 0], "bbb": [0, 1, 0, 1], "mac": [1, 0, 1, 0], "iso": [1, 1, 1, 1]}
SOUNDS = {"eng": [1, 1, 0], "aaa": [1, 1, 0], "bbb": [1, 0, 0], "mac": [0, 1, 1], "iso": [0.5, 0.5, 0]}
SEEN = {"eng": 4, "aaa": 1, "bbb": 2, "mac": 3, "iso": 2}  # features that the second of two sources has
FAMILY = {"eng": [1, 1, 0], "aaa": [1, 0, 1], "bbb": [0, 0, 1], "mac": [1, 1, 0], "iso": [0, 0, 0]}


def unit(place):
    latitude, longitude = np.radians(place)
    return np.array([np.cos(latitude) * np.cos(longitude), np.cos(latitude) * np.sin(longitude), np.sin(latitude)])


def share(place, other):
    return np.arccos(np.clip(unit(place) @ unit(other), -1, 1)) / np.pi


def save(path, features, rows):
    """A file in lang2vec's form, its languages in an order of its own."""
    names = sorted(rows, key=lambda name: (len(path.name) * sum(map(ord, name))) % 7)
    data = np.array([rows[name] for name in names], np.float32)
    data = data if data.ndim == 3 else data[..., None]
    sources = [str(i) for i in range(data.shape[2])]
    np.savez(path, feats=np.array(features), langs=np.array(names), sources=np.array(sources), data=data)


@pytest.fixture
def features(tmp_path):
    """A folder of made-up feature files."""
    names = [*(f"S_{i}" for i in range(4)), *(f"P_{i}" for i in range(3)), *(f"INV_{i}" for i in range(4))]
    predicted = {name: [*SYNTAX[name], *SOUNDS[name], *SYNTAX[name][::-1]] for name in SYNTAX}
    observed = {name: [[-1, 1 if i < count else -1] for i in range(len(names))] for name, count in SEEN.items()}
    save(tmp_path / "feature_predictions.npz", names, predicted)
    save(tmp_path / "features.npz", names, observed)
    places = {name: [share(place, mark) for mark in MARKS.values()] for name, place in PLACES.items()}
    save(tmp_path / "geocoord_features.npz", list(MARKS), places)
    save(tmp_path / "family_features.npz", ["F_a", "F_b", "F_c"], FAMILY)
    return tmp_path


def test_distances_of_made_up_features(features):
    names = {"en": ["eng"], "a": ["aaa"], "b": ["bbb"], "i": ["iso"], "am": ["aaa", "mac"], "im": ["iso", "bbb"]}
    found = recomputed.distances(features, names)
    assert found["en"] == pytest.approx(dict.fromkeys(DISTANCES, 0), abs=1e-6)
    assert {code: list(each) for code, each in found.items()} == {code: list(DISTANCES) for code in names}
    one, half = 1 - 1 / math.sqrt(2), 1 - 1 / 2
    assert found["a"] == pytest.approx(
        {"syntactic": one, "phonological": 0, "inventory": one, "geographic": 80 / 180, "genetic": half}, abs=1e-6
    )
    assert found["b"] == pytest.approx(
        {"syntactic": 1, "phonological": one, "inventory": 1, "geographic": 1, "genetic": 1}, abs=1e-6
    )
    assert found["i"] == pytest.approx(
        {"syntactic": one, "phonological": 0, "inventory": one, "geographic": 0, "genetic": 1}, abs=1e-6
    )


def test_of_two_codes_the_better_known_counts(features):
    found = recomputed.distances(features, {"am": ["aaa", "mac"], "im": ["iso", "bbb"], "ei": ["iso", "mac"]})
    assert found["am"]["syntactic"] == pytest.approx(0), "three features of mac were observed, one of aaa"
    assert found["am"]["phonological"] == pytest.approx(0.5)
    assert found["am"]["geographic"] == pytest.approx(80 / 180), "the individual language's place"
    assert found["am"]["genetic"] == pytest.approx(0.5), "and family"
    assert found["im"]["syntactic"] == pytest.approx(1 - 1 / math.sqrt(2)), "two each: the individual language"
    assert found["ei"]["genetic"] == pytest.approx(0), "the macrolanguage's family, where the other row is empty"


def test_what_is_missing_in_the_features_is_named(features, write):
    with pytest.raises(UserError, match=r"has no eng, or no xxx or yyy \(x\)"):
        recomputed.distances(features, {"x": ["xxx", "yyy"]})
    (features / "features.npz").unlink()
    with pytest.raises(UserError, match=r"features\.npz is not there; --features"):
        recomputed.distances(features, {"a": ["aaa"]})


def test_other_cells_are_left_as_they_are(features, write):
    path = write(f'{HEADER},note\na,aaa,mac,"A, a",f,Latin,,,,,,66.60,,007,é\nen,eng,,English,f,Latin,0,0,0,0,0,,,5,\n')
    recomputed.main(["--features", str(features), "--languages", path])
    assert Path(path).read_text(encoding="utf-8") == (
        f'{HEADER},note\na,aaa,mac,"A, a",f,Latin,0.0000,0.5000,0.0000,0.4444,0.5000,66.60,,007,é\n'
        "en,eng,,English,f,Latin,0.0000,0.0000,0.0000,0.0000,0.0000,,,5,\n"
    )


# ---- a distance of one's own ----------------------------------------------------------------------------------------


def test_a_distance_of_ones_own_is_read_by_any_code(tmp_path, facts):
    path = tmp_path / "mine.csv"
    path.write_text("note,language,distance\nx,de,12.5\nx,cmn,7000\nx,swh,\nx,xxx,3\n")
    found = read_distances(path, facts)
    assert {code: number for code, number in found.items() if code != "sw"} == {"de": 12.5, "zh": 7000}
    assert math.isnan(found["sw"])


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("lang,distance\nde,1\n", "line 1: no column language; it needs `language` and `distance`"),
        ("language,distance\nde,far\n", "line 2: distance 'far' is not a number from 0 on"),
        ("language,distance\nde,-1\n", "line 2: distance '-1' is not a number"),
        ("language,distance\nzh,1\ncmn,1\n", "line 3: 'cmn' is the language of line 2 already"),
        ("language,distance\nde\n", "line 2: 1 cells instead of 2"),
        ("language,distance\nxxx,1\n", "none of its languages is in the language facts"),
        (None, "cannot be read"),
    ],
)
def test_a_distance_file_that_is_none_says_where(tmp_path, facts, text, error):
    path = tmp_path / "mine.csv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=re.escape(error)):
        read_distances(path, facts)
