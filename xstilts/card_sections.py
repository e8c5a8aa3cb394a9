"""The text of a model card, section by section, from run.json files: Markdown in which no name means more than itself."""

import shlex
from pathlib import PurePath

import transformers

from xstilts.card_scores import score_blocks, table, without_folders
from xstilts.citations import dataset_facts
from xstilts.marks import markdown
from xstilts.wording import listed
from xstilts.xtreme import BENCHMARKS

SCRIPTS = {
    "intermediate": "run_intermediate.py", "target": "run_target.py", "dev": "run_intermediate.py",
    "eval": "run_zeroshot_eval.py", "retrieval": "run_retrieval.py",
}  # fmt: skip
HEADS = {  # how the name of a model's class ends: what the hub calls its task, and the Auto class that reads it
    "ForSequenceClassification": ("text-classification", "AutoModelForSequenceClassification"),
    "ForTokenClassification": ("token-classification", "AutoModelForTokenClassification"),
    "ForQuestionAnswering": ("question-answering", "AutoModelForQuestionAnswering"),
    "ForMultipleChoice": ("multiple-choice", "AutoModelForMultipleChoice"),
    "ForMaskedLM": ("fill-mask", "AutoModelForMaskedLM"),
    "": ("feature-extraction", "AutoModel"),
}
SETTINGS = (
    "learning_rate num_train_epochs max_steps total_train_batch_size warmup_steps weight_decay max_seq_length mixed_precision"
).split()
USE = (
    "It is meant for research on cross-lingual transfer: to start another training from, or to measure what training in "
    "{languages} gives in other languages. It has learnt what its training data hold, errors and prejudices too; it was tested "
    "on nothing but the sets above, and of a language that has no score here nothing is known."
)


def body_of(run, evaluations, architecture, licence):
    """The card below its front matter.

    run, evaluations   run.json of the checkpoint, and of what was made of it later
    architecture       name of the model's class
    licence            what the front matter says, None where it says nothing
    """
    sections = [
        ("", _opening(run)),
        ("Lineage", [_lineage(run)]),
        ("Training data", _data(run, licence)),
        ("Scores", score_blocks(run, evaluations)),
        ("What to know", _warnings(run)),
        ("Training", _training(run)),
        ("How to load it", _loading(run, architecture)),
        ("Use and limits", [USE.format(languages=_languages_of(run))]),
        ("Citation", _citations(run)),
    ]
    blocks = [f"# {markdown(run['lineage_text'])}"]
    for title, parts in sections:
        blocks += [f"## {title}" if title else "", *parts] if parts else []
    return "\n\n".join(filter(None, blocks))


def facts_behind(run):
    """{task: its `dataset_facts` or None} of all tasks in a lineage and of the rows that the run read."""
    names = [name for record in run["lineage"][1:] for name in (*record.get("tasks", ()), record.get("task"))]
    names += [record.get("task") for record in run.get("data", ())]
    single = [name for name in dict.fromkeys(names) if isinstance(name, str) and name.isidentifier()]
    return {name: dataset_facts(name) for name in single if name not in ("mlm", "all")}


def head_of(architecture):
    """Which of HEADS a class has, by its name; "" for a bare encoder."""
    return next((end for end in HEADS if end and architecture.endswith(end)), "")


# ---- what it is -----------------------------------------------------------------------------------------------------


def _opening(run):
    kind = "an intermediate task" if run["phase"] == "intermediate" else "a target task"
    several = "several intermediate tasks" if len(run["lineage"][-1].get("tasks", ())) > 1 else kind
    text = (
        f"A multilingual encoder, fine-tuned on {several} for zero-shot cross-lingual transfer, as in Phang et al. 2020, "
        "[English Intermediate-Task Training Improves Zero-Shot Cross-Lingual Transfer "
        "Too](https://aclanthology.org/2020.aacl-main.56)."
    )
    return [text]


def _lineage(run):
    first, *records = run["lineage"]
    rows = [["base model", first["base_model"], "", "", "", "", first.get("fingerprint") or ""]]
    for record in records:
        selected = " ".join(record.get("selected_in", ())) or ("none" if "selected_in" in record else "unknown")
        rows.append([
            record.get("phase") or "", " + ".join(record.get("tasks", ())) or record["task"],
            " ".join(record.get("languages", ())) or "unknown", selected,
            "; ".join([f"{record.get('head', 'unknown')} head", *record.get("factors", ())]), record.get("seed", ""),
            record.get("fingerprint") or "",
        ])  # fmt: skip
    header = ["phase", "task", "trained in", "selected in", "besides", "seed", "fingerprint"]
    notes = [
        "`has_head`: somebody else fine-tuned the base model; what it was trained on is not known, and no language is zero-shot."
    ]
    return "\n\n".join([table(header, rows), *(map(markdown, notes) if first.get("has_head") else ())])


def _languages_of(run):
    found = sorted({code for record in run["lineage"] for code in record.get("languages", ())})
    return markdown(listed(found)) if found else "the languages above"


def _data(run, licence):
    """Rows that this run read, by task and split, and whose they are."""
    facts, groups = facts_behind(run), {}
    for record in run.get("data", ()):
        groups.setdefault((record.get("task") or "", record.get("split") or ""), []).append(record)
    rows = [[name, split, *_amounts(records)] for (name, split), records in groups.items()]
    blocks = [table(["task", "rows of", "languages", "rows", "published"], rows)] if rows else []
    counts = [(record.get("rows"), record.get("published_rows")) for record in run.get("data", ())]
    if any(published not in (None, count) for count, published in counts):
        blocks.append("Numbers differ from the published ones: other rows than the whole of the sets that are named.")
    known = {name: each for name, each in facts.items() if each}
    blocks += ["\n".join(f"- {markdown(name)}: {_whose(each)}" for name, each in known.items())]
    if len(run["lineage"]) > 2:
        blocks.append("The rows of the phases before are counted in the cards of their own checkpoints.")
    if own := [name for name, each in facts.items() if not each]:
        blocks.append(f"Of {markdown(listed(own))} it is not known here whose rows they are, and under which licence.")
    about = f"`{licence}` above is the licence of the base model. " if licence else ""
    blocks.append(
        f"{about}The data have licences of their own; whether weights may be shared that were trained on them, and how, is for "
        "whoever shares them to judge."
    )
    return blocks


def _amounts(records):
    languages = sorted({record["language"] for record in records})
    shown = " ".join(languages) if len(languages) <= 20 else f"{len(languages)} languages"
    published = [record.get("published_rows") for record in records]
    whole = f"{sum(published):,}" if None not in published else "unknown"
    return shown, f"{sum(record.get('rows') or 0 for record in records):,}", whole


def _whose(facts):
    return f"[{markdown(facts['title'])}]({facts['url']}), {markdown(facts['licence'])}"


# ---- how it was made, and how to use it -----------------------------------------------------------------------------


def _warnings(run):
    found = [f"degenerate: {reason}" for reason in run.get("degenerate", ())]
    found = found or [f"{task} at chance" for task in run.get("tasks_at_chance", ())]
    lines = [f"- {markdown(without_folders(each))}" for each in [*run.get("warnings", ()), *found]]
    return ["\n".join(lines)] if lines else []


def _training(run):
    told = {**(run.get("arguments") or {}), **((run.get("identity") or {}).get("arguments") or {})}
    rows = [[name, told[name]] for name in SETTINGS if told.get(name) not in (None, -1)]
    counts = [pair for pair in (run.get("parameters") or {}).values() if isinstance(pair, list) and len(pair) == 2]
    trained = f"{sum(own for _, own in counts):,} of {sum(whole for whole, _ in counts):,} parameters were trained. "
    known = run.get("versions") or {}
    versions = ", ".join(f"{name} {known[name]}" for name in ("torch", "transformers") if name in known)
    made = f"Made with {versions}; commit {run.get('git_commit')} of the scripts." if versions else ""
    blocks = [markdown(f"{trained if counts else ''}{made}"), table(["argument", "value"], rows) if rows else ""]
    if "command" in run and run["phase"] in SCRIPTS:
        blocks += [
            "The command has what was given beside the defaults (`configs/`), of paths from the root their last name; all "
            "arguments are in `run.json`.",
            f"```bash\n{_command(run)}\n```",
        ]
    return blocks


def _command(run):
    words = [without_place(str(word)) for word in run["command"]]
    return shlex.join(["python", SCRIPTS[run["phase"]], *words])


def without_place(word):
    """A word of a command line; of a path that begins at the root or at home the last name is left."""
    option, given, value = word.partition("=") if word.startswith("--") else ("", "", word)
    is_place = value.startswith(("/", "~")) or ":\\" in value
    return f"{option}{given}{PurePath(value.replace(chr(92), '/')).name if is_place else value}"


def _loading(run, architecture):
    name = HEADS[head_of(architecture)][1] if hasattr(transformers, architecture or "-") else "AutoModel"
    code = [
        f"from transformers import {name}, AutoTokenizer", "",
        'path = "."  # this directory, or its name on the hub', f"model = {name}.from_pretrained(path)",
        "tokenizer = AutoTokenizer.from_pretrained(path)",
    ]  # fmt: skip
    blocks = ["```python\n" + "\n".join(code) + "\n```"]
    if len(run["lineage"][-1].get("tasks", ())) > 1:
        blocks.append(
            "This is the encoder; the heads of its tasks lie in `heads/`, for `run_intermediate.py --eval_only`."
        )
    return [
        *blocks,
        "The scripts take the same as `--model_name_or_path`, and know its lineage by the `run.json` beside it.",
    ]


def _citations(run):
    facts = facts_behind(run)
    benchmarks = [name for name, tasks in BENCHMARKS.items() if run["task"] in tasks]
    entries = [dataset_facts(name) for name in ("paper", *benchmarks)] + [each for each in facts.values() if each]
    text = "".join(dict.fromkeys(each["citation"] for each in entries))
    return [f"```bibtex\n{text.strip()}\n```"]
