"""Compute the distances of configs/languages.csv from URIEL's features, and write them into it.

    pip download --no-deps lang2vec==1.1.2 && unzip lang2vec-1.1.2-py3-none-any.whl
    python studies/make_languages.py --features lang2vec/data

Needed only when languages are added: nothing else reads lang2vec's files, and the package itself is not imported (it does not run
with today's setuptools, and its version on PyPI has no distances). Other columns stay as they are; their sources stand in
xstilts/language_facts.py.

Source: URIEL (Littell et al. 2017, EACL) in the feature files of lang2vec 1.1.2. The definitions follow those of the distances
that URIEL publishes (Lin et al. 2019, arXiv 1905.12688, describe them), and those of the first three are cosine distances as in
Lauscher et al. 2020. The numbers are not lang2vec's precomputed ones: English-French is 0.19 here and 0.4569 there. Toossi et al.
2024 (arXiv 2405.11125) show how URIEL's own calculation, of missing values above all, is ambiguous.

    syntactic     cosine distance of URIEL's kNN features, lang2vec 1.1.2, CC BY-SA 4.0: the 103 syntax features (S_), missing
                  ones predicted from near languages (k nearest neighbours) by URIEL's authors
    phonological  the same of 28 features (P_)
    inventory     the same of 158 sounds and classes of sounds (INV_)
    geographic    great-circle distance as a share of half the circumference, 1 for the antipode. The files have each language's
                  distances to 299 places in these units, but no coordinates: those are solved for by least squares. The cosine
                  of two vectors of distances hardly tells languages apart (English-German 0.002, English-Japanese 0.14).
    genetic       cosine distance of the memberships in Glottolog's nodes; 1 where a language is in none (Basque), as where it
                  is in none of English's

Which row: of a language with two codes (cmn and its macrolanguage zho) the first three distances use the one with more observed
features, and the individual language's if both have as many: zho, ara, est, msa, que, aze, but pes, swh. The last two use the
individual language's, or the macrolanguage's where that row is empty (est: ekk is in no node). Numbers have four decimals.
"""

import argparse
import csv
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from xstilts.base import UserError, run_script, words_given
from xstilts.language_facts import DISTANCES, FACTS, read_facts

ENGLISH = "eng"
PREFIXES = {"syntactic": "S_", "phonological": "P_", "inventory": "INV_"}
FILES = {
    "predicted": "feature_predictions.npz",
    "observed": "features.npz",
    "places": "geocoord_features.npz",
    "families": "family_features.npz",
}


def main(argv=None):
    """Rewrite the distances; `argv` is the command line without the program's name."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--features", type=Path, required=True, help="the folder of lang2vec's .npz files")
    parser.add_argument("--languages", type=Path, default=FACTS, help="the file to rewrite")
    args = parser.parse_args(words_given(argv))

    names = codes_of(args.languages)
    found = distances(args.features, names)
    write(args.languages, found)
    print(f"{args.languages}: {len(DISTANCES)} distances of {len(found)} languages from English")


def codes_of(path):
    """{code: its three-letter codes, the individual language's first} of a file of languages."""
    facts = read_facts(path)
    return {code: [name for name in facts.loc[code, ["iso639_3", "macro"]] if name] for code in facts.index}


def distances(folder, names):
    """{code: {distance: 0 to 1}} of {code: three-letter codes}. Raises UserError for a file or a language that is not there."""
    wanted = {ENGLISH, *(name for each in names.values() for name in each)}
    tables = {table: read_table(folder / file, wanted) for table, file in FILES.items()}
    found = {}
    for code, each in names.items():
        for table, (_, rows) in tables.items():
            if ENGLISH not in rows or not {*each} & {*rows}:
                raise UserError(f"{folder / FILES[table]} has no {ENGLISH}, or no {' or '.join(each)} ({code})")
        found[code] = typological(tables, each) | {
            "geographic": geographic(*tables["places"], each),
            "genetic": genetic(tables["families"][1], each),
        }
    return found


def read_table(path, wanted):
    """(features, {language: (features, sources) array of float64}) of one of lang2vec's files, of the `wanted` languages."""
    if not path.is_file():
        raise UserError(f"{path} is not there; --features is the folder data/ of the lang2vec package")
    with np.load(path) as file:
        features, languages, data = file["feats"].tolist(), file["langs"].tolist(), file["data"]
    return features, {name: data[i].astype(np.float64) for i, name in enumerate(languages) if name in wanted}


def typological(tables, names):
    """The three distances of features, of the name that most is known about."""
    features, predicted = tables["predicted"]
    name = best_observed(*tables["observed"], [name for name in names if name in predicted])
    found = {}
    for distance, prefix in PREFIXES.items():
        own = [feature.startswith(prefix) for feature in features]
        found[distance] = cosine_distance(predicted[name][own, 0], predicted[ENGLISH][own, 0])
    return found


def best_observed(features, observed, names):
    """The name with the most features that any source has seen (absent ones are -1), the first of several."""
    own = [feature.startswith(tuple(PREFIXES.values())) for feature in features]
    return max(names, key=lambda name: (observed[name][own] >= 0).any(axis=1).sum() if name in observed else 0)


def geographic(landmarks, places, names):
    """Share of half the circumference between a language and English; landmarks are called GC_<latitude>_<longitude>."""
    latitude, longitude = np.radians([[float(part) for part in mark.split("_")[1:]] for mark in landmarks]).T
    points = np.stack([np.cos(latitude) * np.cos(longitude), np.cos(latitude) * np.sin(longitude), np.sin(latitude)], 1)
    name = first_known(places, names)
    ours, theirs = (place_of(points, places[each][:, 0]) for each in (name, ENGLISH))
    return float(np.arccos(np.clip(ours @ theirs, -1, 1)) / np.pi)


def place_of(points, shares):
    """(3,) unit vector of the place that lies at `shares` of half the circumference from the (landmarks, 3) points: the cosine of
    each angle is the product of two unit vectors, so the place solves linear equations."""
    place, *_ = np.linalg.lstsq(points, np.cos(np.pi * shares), rcond=None)
    return place / np.linalg.norm(place)


def genetic(families, names):
    """1 minus the cosine of memberships; 1 for a language that is in no family."""
    return cosine_distance(families[first_known(families, names)][:, 0], families[ENGLISH][:, 0])


def first_known(table, names):
    """The first name whose row is there and not all zero; the first that is there if all are."""
    there = [name for name in names if name in table]
    return next((name for name in there if table[name].any()), there[0])


def cosine_distance(a, b):
    """1 minus the cosine of two vectors without negative entries, 0 to 1; 1 where one is all zero."""
    norms = np.linalg.norm(a) * np.linalg.norm(b)
    return float(np.clip(1 - a @ b / norms, 0, 1)) if norms else 1.0


def write(path, found):
    """Put distances into the file of languages, and leave its other cells as they are."""
    with open(path, encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        columns, rows = reader.fieldnames, list(reader)
    for row in rows:
        row.update({name: f"{value:.4f}" for name, value in found[row["code"]].items()})
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    run_script(main)
