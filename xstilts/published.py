"""The authors' own values for an untuned XLM-R Large, and the check against them: `run_retrieval.py --check published`.

Source: jiant-dev, pull request 128 (31 July 2020): dev scores at length 256, mean pooling of hidden_states[14]. The thread calls
them identical to an earlier replication, so they are very likely the baseline of the paper. Their means are 31.0 and 71.5.
"""

import torch

from xstilts.errors import UserError, say

VALUES = {
    "tatoeba": (
        "accuracy",
        "af 30.5 ar 20.4 bg 39.0 bn 13.3 de 63.9 el 18.9 es 48.0 et 25.8 eu 19.9 fa 42.0 fi 41.5 fr 48.1 he 28.0 hi 38.3 hu 42.5 "
        "id 47.0 it 42.3 ja 41.8 jv 10.2 ka 11.8 kk 17.4 ko 35.5 ml 19.4 mr 15.2 nl 52.6 pt 47.2 ru 42.1 sw 7.9 ta 9.1 te 19.7 "
        "th 27.4 tl 10.3 tr 37.8 ur 22.5 vi 38.3 zh 41.2",
    ),
    "bucc2018": ("dev_f1", "de 77.7 fr 62.7 ru 79.2 zh 66.5"),
}
SHAPE = {"model_type": "xlm-roberta", "num_hidden_layers": 24, "hidden_size": 1024, "vocab_size": 250002}
PROTOCOL = {
    "pooling": "mean", "query_prefix": "", "document_prefix": "", "max_eval_samples": None, "retrieval": "max",
    "duplicates": "share", "neighborhood": 4, "threshold": None, "max_seq_length": 256, "max_query_length": 256,
}  # fmt: skip
LAYER = 14
TOLERANCE = 0.5  # points; or one and a half sentences, where a language has few


def values_of(task):
    """(name of the score, {language: the authors' value})."""
    name, text = VALUES[task]
    words = text.split()
    return name, dict(zip(words[::2], map(float, words[1::2]), strict=True))


def check_published(args, task, encoder, lineage, layer):
    """Raise UserError where `--check published` cannot be answered: another task, encoder, layer or protocol."""
    if args.check is None:
        return
    if args.check != "published":
        raise UserError(f"--check {args.check}: there is `published` only")
    if task.name not in VALUES:
        raise UserError(
            f"--check published: the authors' values are those of {' and '.join(VALUES)}, not of {task.name}"
        )
    other = {name: getattr(encoder.config, name, None) for name in SHAPE}
    if len(lineage) > 1 or lineage[0].get("has_head") or other != SHAPE:
        raise UserError(f"--check published is about an untuned xlm-roberta-large, not {args.model_name_or_path}")
    wrong = [f"--{name} {vars(args)[name]}" for name, value in PROTOCOL.items() if vars(args)[name] != value]
    wrong += [f"layer {layer}"] if layer != LAYER else []
    wrong += [] if encoder.dtype == torch.float32 else [f"an encoder in {encoder.dtype}"]
    if wrong:
        raise UserError(f"--check published: the authors' values are not those with {', '.join(wrong)}")


def check_against(args, task, scores):
    """With `--check published`, say PASS or FAIL of every language. Raises UserError if one is off, or none is there."""
    if args.check is None:
        return
    name, published = values_of(task.name)
    failed = []
    for language, expected in published.items():
        if language not in scores:
            say(f"{language}: not there; {expected:.1f} is published")
            continue
        found = scores[language][name]
        allowed = max(TOLERANCE, 150 / scores[language]["examples"]) if "examples" in scores[language] else TOLERANCE
        is_right = abs(found - expected) <= allowed
        failed += [] if is_right else [language]
        verdict = "PASS" if is_right else "FAIL"
        say(f"{language}: {verdict}, {name} {found:.1f}, published {expected:.1f}, may differ by {allowed:.1f}")
    if failed or not scores.keys() & published.keys():
        raise UserError(
            f"--check published: {', '.join(failed) or 'every language'} {'FAIL' if failed else 'is missing'}; compare "
            "tokenizer, weights and data with the sources in xstilts/published.py before you trust other results"
        )
