"""Which test rows an encoder has been trained on, or was selected by: hashes of these rows, kept beside every checkpoint.

`training_rows.npz` in a checkpoint's directory holds, under the fingerprint of every training in its lineage, sorted 64-bit
hashes of the rows that this training was given (`--max_train_samples` of them, of all tasks, lines of text for masked language
modelling too; not those of a task that got no step), so that the directory alone tells all. A row is matched as the model reads
it, whole and without its label: a sentence (of tagging its words with spaces between them), a pair, a question with its context,
a context with each of its choices. The same context with another question is another row. Beside them, under
`<fingerprint>-texts`, stand the single texts of inputs of several: sentences of retrieval, which come alone, are looked for among
these too; and under `<fingerprint>-dev` the rows of the dev set that chose the checkpoint.

Texts are equal after Unicode NFKC, case folding, and with white space collapsed: copies between data sets differ in these. Of 64
bits, ten million training rows and a million test rows collide by chance once in two million such comparisons.
"""

import contextlib
import functools
import os
import unicodedata
from array import array

import numpy as np
import xxhash

from xstilts.arrow_files import rows_of
from xstilts.base import check_pointer, print_main
from xstilts.lineage import TRAINING_ROWS
from xstilts.ranking import CANDIDATES
from xstilts.sealed import arrays_of

TEXTS, DEV = "-texts", "-dev"
BETWEEN = "\x1f"  # the texts of an input; white space to Python, so that no normalised text has it
SURROGATES = "surrogatepass"  # halves of a pair, which broken files have


# ---- texts -> hashes ------------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=4096)  # contexts and premises come again, close together
def normalized(text):
    """A text in Unicode NFKC, its case folded, white space collapsed. NFKC twice: folding takes characters apart."""
    if text.isascii():
        return " ".join(text.lower().split())
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(unicodedata.normalize("NFKC", folded).split())


def hash_of_text(text):
    """64 bits of a normalised text, an int."""
    return xxhash.xxh3_64_intdigest(text.encode("utf-8", SURROGATES))


def inputs_of(task, example):
    """The inputs of an example as tuples of texts; the words of a tagged sentence are one text."""
    inputs = task.type.texts(example)
    return [(" ".join(words),) for words in inputs] if "tokens" in task.type.columns else inputs


def hash_of_input(texts):
    """64 bits of an input, which is one text or several."""
    return hash_of_text(BETWEEN.join(map(normalized, texts)))


def training_hashes(task, rows):
    """(hashes of the inputs of training rows, hashes of the single texts of those that have several), uint64 arrays. Rows are
    read in batches; what grows is 8 bytes an input or text."""
    whole, single = array("Q"), array("Q")
    for example in rows_of(rows):
        for texts in inputs_of(task, example):
            whole.append(hash_of_input(texts))
            if len(texts) > 1:
                single.extend(hash_of_text(normalized(text)) for text in texts)
    return tuple(np.array(side, np.uint64) for side in (whole, single))


# ---- the file beside a checkpoint -----------------------------------------------------------------------------------


def save_training_rows(output_dir, start, fingerprint, parts, dev, mixture=None):
    """Write the hashes of a training's rows and of its dev set beside its checkpoint, with those of the trainings behind it.

    output_dir    of the run
    start         --model_name_or_path, whose own file is carried over
    fingerprint   of the checkpoint, as its record in the lineage has it
    parts         (task, training Examples) of every task
    dev           (task, Examples of the dev set) of every task
    mixture       what run.json says of several tasks: {task: {"steps": ...}}
    """
    seen = [each for each in parts if (mixture or {}).get(each[0].name, {}).get("steps", 1)]
    whole, single = zip(*(training_hashes(task, train.rows) for task, train in seen), strict=True)
    own = {fingerprint: _union(whole), f"{fingerprint}{TEXTS}": _union(single)}
    own[f"{fingerprint}{DEV}"] = _union([training_hashes(task, each.rows)[0] for task, each in dev])
    path = os.path.join(output_dir, TRAINING_ROWS)
    try:
        with open(f"{path}.partial", "wb") as file:
            np.savez(file, **{**_stored(start), **own})
        os.replace(f"{path}.partial", path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.remove(f"{path}.partial")


def _union(arrays):
    """Their values, each once, sorted."""
    return np.unique(np.concatenate([np.zeros(0, np.uint64), *arrays]))


def _stored(path):
    """{name: hashes} of a checkpoint; {} where it has none, or none that can be read, which is said."""
    file = os.path.join(path, TRAINING_ROWS)
    if not os.path.isfile(file):
        return {}
    check_pointer(file)
    try:
        return arrays_of(file)
    except ValueError as error:
        print_main(f"{file} cannot be read ({error}); which rows its model was trained on is not known")
        return {}


def load_seen(path, lineage):
    """{name: sorted hashes} of all rows behind a checkpoint, {} for an encoder that was trained on no task; None where that is
    not known: somebody else's fine-tuned model, or a training whose file is not there."""
    if any(record.get("has_head") for record in lineage):
        return None
    stored = _stored(path)
    names = [f"{record.get('fingerprint')}{kind}" for record in lineage[1:] for kind in ("", TEXTS, DEV)]
    return None if any(name not in stored for name in names) else {name: stored[name] for name in names}


# ---- test rows ------------------------------------------------------------------------------------------------------


def count_seen(task, examples, seen):
    """{"seen_in_training", "seen_in_dev"}: how many test rows of a task have all their inputs among the training rows, or the dev
    rows, of `seen` (of `load_seen`); None for None."""
    if seen is None:
        return {"seen_in_training": None, "seen_in_dev": None}
    inputs = [[hash_of_input(texts) for texts in inputs_of(task, example)] for example in rows_of(examples.rows)]
    hashes, begins = [each for row in inputs for each in row], np.cumsum([0, *map(len, inputs[:-1])])
    dev = [known for name, known in seen.items() if name.endswith(DEV)]
    training = [known for name, known in seen.items() if not name.endswith((TEXTS, DEV))]
    return {
        f"seen_in_{name}": int(np.logical_and.reduceat(_among(hashes, known), begins).sum())
        for name, known in (("training", training), ("dev", dev))
    }


def count_seen_texts(side, seen):
    """How many texts of a retrieval's Side are training rows, or texts of one; None for None."""
    if seen is None:
        return None
    training = [known for name, known in seen.items() if not name.endswith(DEV)]
    return int(_among([hash_of_input((text,)) for text in side.texts], training).sum())


def _among(hashes, arrays):
    """Which hashes are in any of some sorted arrays, (hashes,) bools."""
    hashes, found = np.array(hashes, np.uint64), np.zeros(len(hashes), bool)
    for known in (known for known in arrays if len(known)):
        found |= known[np.searchsorted(known, hashes).clip(max=len(known) - 1)] == hashes
    return found


def seen_in_collection(collection, seen):
    """({language: number of its test texts that were trained on}, the same of candidates that all languages share, or None). Of
    pairs of languages the texts of both sides count; those of BUCC's dev corpora do not."""
    tests = {name: side for name, side in collection.sides.items() if not name.startswith("dev ")}
    counts = {name: count_seen_texts(side, seen) for name, side in tests.items()}
    if CANDIDATES in counts:
        return {language: counts[language] for language in collection.languages}, counts[CANDIDATES]
    (language,) = collection.languages
    return {language: None if seen is None else sum(counts.values())}, None


def warn_of_seen(task, scores):
    """Say how many test rows were trained on, and how many the checkpoint was selected by, of {language: {"seen_in_training",
    "seen_in_dev" where there is one, ...}}, where there are any."""
    for name, rows in (
        ("training", "training rows behind the checkpoint"),
        ("dev", "dev sets that chose the checkpoint"),
    ):
        counts = {language: own.get(f"seen_in_{name}") for language, own in scores.items()}
        if found := [f"{language} {count:,}" for language, count in counts.items() if count]:
            print_main(f"warning: {task}: test rows that occur in the {rows}: {', '.join(found)}")
