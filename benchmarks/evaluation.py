"""What one evaluation pass over all languages, sorted by length, saves against the pass of the stock example scripts.

Languages of XNLI, UD-POS and XQuAD that there are official files of, the same rows, weights and batch size, four ways:

ours        `StiltsTrainer.outputs`: all languages together, the longest rows first, padded to the longest of a batch
padded      the stock way: `transformers.Trainer.predict` language by language in the order of the files, padded to the maximum
dynamic     the same, padded to the longest of a batch
bare        a loop of forward passes over the batches of `ours`, made beforehand: nothing is fetched, padded, kept or decoded

The bound is what the numbers of tokens, padding included, promise. Decoding is timed apart from the passes; tokenisation is in
none of them. Weights are random, since what a pass costs does not depend on what was learned, and in bfloat16 on a GPU.
"""

import contextlib
import io
import tempfile
from functools import partial
from itertools import islice

import numpy as np
import torch
from datasets import concatenate_datasets, disable_progress_bars
from transformers import (
    DataCollatorForTokenClassification,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
    set_seed,
)

from benchmarks.measuring import (
    KINDS,
    encoder_config,
    forward_operations,
    gemm_peak,
    in_turns,
    medians,
    peak_mb_of,
    ratio,
    steadier,
    table,
    used,
)
from tasks import load_task
from xstilts import qa, tagging
from xstilts.checkpoint import load_tokenizer
from xstilts.evaluation import batches_by_length
from xstilts.examples import featurize
from xstilts.languages import load_languages
from xstilts.micro_batches import input_lengths
from xstilts.training import StiltsTrainer

TITLE = "Zero-shot evaluation of all languages against the stock Trainer"
LENGTHS = {"xnli": 128, "udpos": 128, "xquad": 384}  # XTREME's
LANGUAGES = {"xnli": 4, "udpos": 4, "xquad": 2}  # the first ones, unless --long or on a GPU
STRIDE, BATCH = 128, 32  # without --long also the rows of each language
WAYS = ("ours", "padded", "dynamic", "bare")
WEIGHED = "xquad"  # whose passes' memory is measured: the longest rows
HEADER = (
    "task | pass | tokens | seconds | processor seconds | floor | ours is faster | by processor time | bound | reached"
)


# ---- what is compared -----------------------------------------------------------------------------------------------


def measure(args):
    """All figures."""
    disable_progress_bars()
    dtype = torch.bfloat16 if args.cuda else torch.float32
    peak, rounds = gemm_peak("cuda" if args.cuda else "cpu", dtype), 5 if args.long else 2
    tasks = {name: measure_task(load_task(name), args, dtype, peak, rounds) for name in LENGTHS}
    return {
        "settings": {"encoder": args.encoder, "dtype": str(dtype).removeprefix("torch."), "rounds": rounds},
        "kind": steadier(args.cuda),
        "gemm_peak": peak,
        "memory_mb": {way: peak_mb_of(weigh, args, dtype, way) for way in WAYS[:3]},
        "tasks": tasks,
    }


def loaded(task, args, tokenizer, languages, rows):
    """({language: examples}, {language: features}) of the first languages, and of each the first rows; None: all."""
    with contextlib.redirect_stdout(io.StringIO()):  # which languages there are no files of is no news here
        every = load_languages(task, "test", None, args.data_dir, rows)[0]
    examples = dict(islice(every.items(), languages))
    lengths = {"max_seq_length": LENGTHS[task.name], "doc_stride": STRIDE}
    return examples, {language: featurize(task, each, tokenizer, lengths) for language, each in examples.items()}


def fresh_model(task, args, tokenizer, dtype):
    """An encoder of XLM-R's shape with random weights under the task's head."""
    set_seed(0)
    config = encoder_config(args.encoder, len(tokenizer), num_labels=len(task.labels) or 2)
    return task.type.auto_model.from_config(config, dtype=dtype).to("cuda" if args.cuda else "cpu")


def passes(task, model, tokenizer, features, cuda):
    """{way: a function of features by language}, in the order of WAYS."""
    options = {"per_device_eval_batch_size": BATCH, "use_cpu": not cuda, "report_to": "none", "disable_tqdm": True}
    arguments = partial(TrainingArguments, tempfile.gettempdir(), **options)  # nothing is written
    ours, rows = StiltsTrainer(task, model, arguments(), tokenizer), concatenate_datasets([*features.values()])
    ready = [ours._prepare_inputs(ours.collate([rows[i] for i in batch])) for batch in sorted_batches(features)]
    ready = [{name: each[name] for name in tokenizer.model_input_names} for each in ready]
    padded, dynamic = (stock(task, model, tokenizer, arguments(), padding) for padding in ("max_length", True))
    unlabelled = task.type is qa.TYPE  # as the example script predicts answers
    theirs = [partial(one_by_one, trainer, unlabelled) for trainer in (padded, dynamic)]
    return dict(zip(WAYS, (ours.outputs, *theirs, lambda _: forward(model, ready)), strict=True))


def stock(task, model, tokenizer, arguments, padding):
    """The Trainer with the collator of the example scripts, and how it is to pad."""
    collator = DataCollatorForTokenClassification if task.type is tagging.TYPE else DataCollatorWithPadding
    maximum = LENGTHS[task.name] if padding == "max_length" else None
    collate = collator(tokenizer, padding=padding, max_length=maximum)
    return Trainer(model=model, args=arguments, data_collator=collate, processing_class=tokenizer)


def one_by_one(trainer, unlabelled, features):
    """Predict language by language."""
    for rows in features.values():
        trainer.predict(rows.remove_columns("labels") if unlabelled else rows)


def forward(model, batches):
    """Nothing but the model."""
    model.eval()
    with torch.inference_mode():
        for batch in batches:
            model(**batch)


def sorted_batches(features):
    """Row numbers of all languages together, as `ours` has them in batches."""
    return batches_by_length([length for rows in features.values() for length in input_lengths(rows)], BATCH)


def padded_lengths(features, maximum):
    """{way: the length, padding included, of every input in some order}."""
    by_language = [input_lengths(rows) for rows in features.values()]
    together = np.concatenate(by_language)
    chunks = [each[i : i + BATCH] for each in by_language for i in range(0, len(each), BATCH)]
    best = np.concatenate([[together[batch].max()] * len(batch) for batch in sorted_batches(features)])
    dynamic = np.concatenate([[chunk.max()] * len(chunk) for chunk in chunks])
    return {"ours": best, "padded": np.full(len(together), maximum), "dynamic": dynamic, "bare": best}


# ---- measuring ------------------------------------------------------------------------------------------------------


def measure_task(task, args, dtype, peak, rounds):
    """The figures of a task."""
    few = (None, None) if args.long or args.cuda else (LANGUAGES[task.name], BATCH)
    tokenizer = load_tokenizer(args.tokenizer)
    examples, features = loaded(task, args, tokenizer, *few)
    model, outputs = fresh_model(task, args, tokenizer, dtype), {}
    every = passes(task, model, tokenizer, features, args.cuda)
    for run in every.values():
        run({language: features[language].select(range(4)) for language in [*features][:2]})
    ways = {way: partial(run, features) for way, run in every.items()}
    ways["ours"] = lambda: outputs.update(every["ours"](features))
    spent = in_turns(ways, rounds)
    lengths = padded_lengths(features, LENGTHS[task.name])
    return {
        "pieces": len(tokenizer),
        "languages": len(features),
        "examples": sum(map(len, examples.values())),
        "inputs": len(lengths["ours"]),
        "tokens": {way: int(each.sum()) for way, each in lengths.items()},
        "floor_seconds": {way: forward_operations(model.config, each) / peak for way, each in lengths.items()},
        "seconds": medians(spent),
        "decoding": decoding(task, examples, features, outputs),
        "ours_is_faster": {way: ratio(spent, way, "ours") for way in WAYS[1:]},
    }


def decoding(task, examples, features, outputs):
    """Seconds and processor seconds of decoding all languages."""
    before = used()
    for language, rows in features.items():
        task.type.decode(outputs[language], rows, examples[language].rows, task.labels)
    return dict(zip(KINDS, (used() - before).tolist(), strict=True))


def weigh(args, dtype, way):
    """One pass over the first rows of two languages, for its memory."""
    disable_progress_bars()
    task, tokenizer = load_task(WEIGHED), load_tokenizer(args.tokenizer)
    _, features = loaded(task, args, tokenizer, 2, BATCH)
    model = fresh_model(task, args, tokenizer, dtype)
    passes(task, model, tokenizer, features, args.cuda)[way](features)


# ---- report ---------------------------------------------------------------------------------------------------------


def reached(figures, task, way):
    """Share of its bound that a ratio reaches."""
    own = figures["tasks"][task]
    bound = own["tokens"][way] / own["tokens"]["ours"]
    return own["ours_is_faster"][way][figures["kind"]]["median"] / bound


def decoding_share(figures, task):
    """Of decoding in decoding and our pass."""
    own, kind = figures["tasks"][task], figures["kind"]
    return own["decoding"][kind] / (own["decoding"][kind] + own["seconds"]["ours"][kind])


def targets(figures):
    """Most of what the numbers of tokens promise, close to the bare model, with decoding that costs little."""
    tasks = [*figures["tasks"]]
    wanted = [(f"{task}: share of the bound, padded / dynamic", 0.9, [task], ("padded", "dynamic")) for task in tasks]
    wanted.append((f"{' / '.join(tasks)}: share of the speed of the model alone", 0.85, tasks, ("bare",)))
    for what, least, some, ways in wanted:
        found = [reached(figures, task, way) for task in some for way in ways]
        measured = " / ".join(f"{each:.0%}" for each in found)
        yield f"evaluation of {what}", f"at least {least:.0%}", measured, min(found) >= least
    shares = [decoding_share(figures, task) for task in tasks]
    measured = " / ".join(f"{each:.1%}" for each in shares)
    yield f"decoding of {' / '.join(tasks)}: share of decoding and pass", "below 5%", measured, max(shares) < 0.05


def render(figures):
    """The figures as Markdown."""
    chosen = figures["settings"]
    sizes = [
        f"{name} {own['languages']} languages, {own['examples']:,} examples, {own['inputs']:,} inputs of at most "
        f"{LENGTHS[name]} tokens"
        for name, own in figures["tasks"].items()
    ]
    memory = ", ".join(f"{way} {found:,.0f} MB" for way, found in figures["memory_mb"].items())
    return "\n\n".join([
        f"Encoder {chosen['encoder']}, {chosen['dtype']}, {figures['tasks'][WEIGHED]['pieces']:,} pieces; {BATCH} inputs a "
        f"batch; {'; '.join(sizes)}. Medians of {chosen['rounds']} rounds. The floor is what the layers' operations take at the "
        f"speed of the fastest multiplication, {figures['gemm_peak'] / 1e9:,.0f} GFLOP/s.",
        table(HEADER.split(" | "), [row(figures, task, way) for task in figures["tasks"] for way in WAYS]),
        f"Memory of a pass over 2 languages of {WEIGHED}, at the peak and with the weights: {memory}.",
    ])  # fmt: skip


def row(figures, task, way):
    """A way to evaluate a task."""
    own = figures["tasks"][task]
    seconds = (f"{own['seconds'][way][kind]:.1f}" for kind in KINDS)
    cells = [task, way, f"{own['tokens'][way]:,}", *seconds, f"{own['floor_seconds'][way]:.2f}"]
    if way == "ours":
        return [*cells, "", "", "", ""]
    faster = (f"{own['ours_is_faster'][way][kind]['median']:.2f}" for kind in KINDS)
    return [*cells, *faster, f"{own['tokens'][way] / own['tokens']['ours']:.2f}", f"{reached(figures, task, way):.0%}"]
