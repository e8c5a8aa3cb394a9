"""What one evaluation pass over all languages, sorted by length, saves against the pass of the stock example scripts.

    OMP_NUM_THREADS=1 python benchmarks/evaluation.py --data_dir DIR --tokenizer DIR [--encoder 2x256] [--rounds 3] [--cuda]

All languages of XNLI, UD-POS and XQuAD that `--data_dir` has official files of, the same rows, weights and batch size, four ways:

ours        `StiltsTrainer.outputs`: all languages together, the longest rows first, padded to the longest of a batch
padded      the stock way: `transformers.Trainer.predict` language by language in the order of the files, padded to the maximum
dynamic     the same, padded to the longest of a batch
bare        a loop of forward passes over the batches of `ours`, made beforehand: nothing is fetched, padded, kept or decoded

They take turns, round after round, after a warm-up. Processor time leaves out what other programs take. The bound is what the
numbers of tokens, padding included, promise. Decoding is timed apart from the passes; tokenisation is in none of them.

Writes a Markdown report and the same figures as JSON beside it. The encoder has XLM-R's shape and random weights, since what a
pass costs does not depend on what was learned; padding depends on the vocabulary, which is trained if it is not there yet.
"""

import argparse
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from functools import partial
from importlib.metadata import version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
from datasets import concatenate_datasets, disable_progress_bars
from transformers import (
    DataCollatorForTokenClassification,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
    XLMRobertaConfig,
    set_seed,
)

from tasks import load_task
from xstilts import qa, tagging
from xstilts.checkpoint import load_tokenizer
from xstilts.coverage import inputs_of
from xstilts.errors import UserError, run_script, say
from xstilts.evaluation import batches_by_length, input_lengths
from xstilts.examples import featurize
from xstilts.json_files import write_json
from xstilts.languages import load_languages
from xstilts.training import StiltsTrainer

ROOT = Path(__file__).resolve().parents[1]
LENGTHS = {"xnli": 128, "udpos": 128, "xquad": 384}  # XTREME's
STRIDE, BATCH = 128, 32
VARIANTS = ("ours", "padded", "dynamic", "bare")
PACKAGES = "torch transformers datasets accelerate numpy".split()
COLUMNS = ("task", "pass", "tokens", "seconds", "processor seconds", "ours is faster", "by processor time", "bound")


# ---- what is compared -----------------------------------------------------------------------------------------------


def make_tokenizer(folder, text_files, tasks, data_dir):
    """Train a vocabulary of 60,000 pieces at most on `text_files`, or else on the texts of the tasks, into `folder`."""
    with tempfile.TemporaryDirectory() as scratch:
        if not text_files:
            text_files = [Path(scratch) / "texts.txt"]
            found = [inputs_of(task, each) for task in tasks for each in languages_of(task, data_dir).values()]
            lines = (" ".join(" ".join(texts).split()) for inputs in found for texts in inputs)
            text_files[0].write_text("\n".join(lines), encoding="utf-8")
        script = [sys.executable, ROOT / "demo" / "make_encoder.py", "--text_files", *text_files]
        script += "--vocab_size 60000 --max_steps 1 --num_hidden_layers 1 --hidden_size 8".split()
        subprocess.run([*script, "--num_attention_heads", "1", "--output_dir", folder], check=True)


def languages_of(task, data_dir, max_samples=None):
    """{language: its test examples}."""
    return load_languages(task, "test", None, data_dir, max_samples)[0]


def passes(task, model, tokenizer, features, arguments):
    """{variant: a function of features by language}, in the order of VARIANTS."""
    ours, rows = StiltsTrainer(task, model, arguments(), tokenizer), concatenate_datasets([*features.values()])
    ready = [ours._prepare_inputs(ours.collate([rows[i] for i in batch])) for batch in sorted_batches(features)]
    ready = [{name: each[name] for name in tokenizer.model_input_names} for each in ready]
    padded, dynamic = (stock(task, model, tokenizer, arguments(), padding) for padding in ("max_length", True))
    unlabelled = task.type is qa.TYPE  # as the example script predicts answers
    theirs = [partial(one_by_one, trainer, unlabelled) for trainer in (padded, dynamic)]
    found = (ours.outputs, *theirs, lambda _: forward(model, ready))
    return dict(zip(VARIANTS, found, strict=True))


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


def tokens(features, maximum):
    """Tokens with their padding that each variant computes, and without it."""
    by_language = [input_lengths(rows) for rows in features.values()]
    together = np.concatenate(by_language)
    chunks = [each[i : i + BATCH] for each in by_language for i in range(0, len(each), BATCH)]
    best = sum(len(batch) * int(together[batch].max()) for batch in sorted_batches(features))
    dynamic = sum(len(chunk) * max(chunk) for chunk in chunks)
    return {"ours": best, "padded": maximum * len(together), "dynamic": dynamic, "bare": best}, int(together.sum())


# ---- measuring ------------------------------------------------------------------------------------------------------


def used():
    """Seconds and processor seconds so far, after a GPU has done what it was told."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return np.array([time.perf_counter(), time.process_time()])


def timed(run, *arguments):
    """(seconds and processor seconds, what `run` returns)."""
    before = used()
    found = run(*arguments)
    return used() - before, found


def measure(task, args, tokenizer, folder):
    """All figures of a task."""
    examples = languages_of(task, args.data_dir, args.max_eval_samples)
    lengths = {"max_seq_length": LENGTHS[task.name], "doc_stride": STRIDE}
    features = {language: featurize(task, each, tokenizer, lengths) for language, each in examples.items()}
    model = fresh_model(task, args, tokenizer)
    options = {"per_device_eval_batch_size": BATCH, "use_cpu": not args.cuda, "report_to": "none", "disable_tqdm": True}
    every = passes(task, model, tokenizer, features, partial(TrainingArguments, folder, **options))
    for run in every.values():
        run({language: features[language].select(range(BATCH)) for language in [*features][:2]})
    seconds = {variant: [] for variant in (*VARIANTS, "decoding")}
    for number in range(args.rounds):
        for variant, run in every.items():
            spent, outputs = timed(run, features)
            seconds[variant].append(spent)
            if variant == "ours":
                seconds["decoding"].append(timed(decode, task, examples, features, outputs)[0])
        say(f"{task.name}: {number + 1} of {args.rounds} rounds")
    counts, own = tokens(features, LENGTHS[task.name])
    found = {"languages": len(features), "examples": sum(map(len, examples.values())), "maximum": LENGTHS[task.name]}
    found |= {"inputs": sum(map(len, features.values())), "tokens_without_padding": own, "tokens": counts}
    return found | figures({name: np.array(each) for name, each in seconds.items()}, counts)


def fresh_model(task, args, tokenizer):
    """An encoder of XLM-R's shape with random weights under the task's head."""
    layers, width = args.encoder
    sizes = {"num_hidden_layers": layers, "hidden_size": width, "intermediate_size": 4 * width}
    sizes |= {"num_attention_heads": width // 64, "max_position_embeddings": 514, "type_vocab_size": 1}
    set_seed(0)
    config = XLMRobertaConfig(**sizes, vocab_size=len(tokenizer), num_labels=len(task.labels) or 2)
    model = task.type.auto_model.from_config(config, dtype=torch.bfloat16 if args.bf16 else torch.float32)
    return model.to("cuda" if args.cuda else "cpu")


def decode(task, examples, features, outputs):
    """Predictions of all languages."""
    for language, rows in features.items():
        task.type.decode(outputs[language], rows, examples[language].rows, task.labels)


def figures(seconds, counts):
    """Medians over rounds of (rounds, 2) seconds and processor seconds, of each variant and of each over `ours` of its round."""
    found = {"seconds": {}, "ours_is_faster": {}, "bound": {}}
    for name, each in seconds.items():
        found["seconds"][name] = dict(zip(("time", "processor_time"), np.median(each, axis=0).tolist(), strict=True))
    for name in VARIANTS[1:]:
        ratios = np.median(seconds[name] / seconds["ours"], axis=0).tolist()
        found["ours_is_faster"][name] = dict(zip(("time", "processor_time"), ratios, strict=True))
        found["bound"][name] = counts[name] / counts["ours"]
    shares = seconds["decoding"] / (seconds["decoding"] + seconds["ours"])
    return found | {"decoding_share": dict(zip(("time", "processor_time"), np.median(shares, 0).tolist(), strict=True))}


def machine(cuda):
    """What it ran on."""
    cpu = Path("/proc/cpuinfo")
    names = re.findall(r"^model name\s*: (.*)$", cpu.read_text(), re.MULTILINE) if cpu.exists() else []
    found = {"processor": names[0] if names else platform.processor(), "cores": os.cpu_count()}
    found |= {"threads": torch.get_num_threads(), "gpu": torch.cuda.get_device_name() if cuda else None}
    return found | {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}


# ---- the report -----------------------------------------------------------------------------------------------------


def render(results):
    """The figures as Markdown."""
    where, found, kind = results["machine"], results["tasks"], "time" if results["machine"]["gpu"] else "processor_time"
    layers, width = results["encoder"]
    sizes = [
        f"{name} {each['languages']} languages, {each['examples']:,} examples, {each['inputs']:,} inputs of at most "
        f"{each['maximum']} tokens, {each['tokens_without_padding']:,} tokens"
        for name, each in found.items()
    ]
    shares = ", ".join(f"{name} {each['decoding_share'][kind]:.2%}" for name, each in found.items())
    versions = ", ".join(f"{name} {where[name]}" for name in ("python", *PACKAGES))
    lines = [
        "# What one pass over all languages, sorted by length, saves",
        f"{where['gpu'] or where['processor']}, {where['cores']} cores, {where['threads']} threads; {versions}.",
        f"{layers} layers of {width}, {results['precision']}, {results['pieces']:,} pieces; {BATCH} inputs a batch; "
        f"{'; '.join(sizes)}. Medians of {results['rounds']} rounds. What is compared: [README.md](README.md).",
        table(found, kind), f"Decoding, as a share of decoding and our pass: {shares}.",
    ]  # fmt: skip
    return "\n\n".join(lines) + "\n"


def table(found, kind):
    """A row for each variant of each task; how much of the bound is reached, by one `kind` of ratio."""
    lines = [f"| {' | '.join((*COLUMNS, 'reached'))} |", f"|{'---|' * (len(COLUMNS) + 1)}"]
    for task, own in found.items():
        for name in VARIANTS:
            seconds = own["seconds"][name]
            cells = [task, name, f"{own['tokens'][name]:,}", *(f"{each:.1f}" for each in seconds.values())]
            if name != "ours":
                ratio, bound = own["ours_is_faster"][name], own["bound"][name]
                cells += [*(f"{each:.2f}" for each in ratio.values()), f"{bound:.2f}", f"{ratio[kind] / bound:.0%}"]
            lines.append(f"| {' | '.join(cells)} |" + " |" * (len(COLUMNS) + 1 - len(cells)))
    return "\n".join(lines)


def encoder_size(text):
    """4x256 -> (4, 256), layers and width. Raises ValueError for something else, and for a width without whole heads of 64."""
    layers, width = map(int, text.split("x"))
    if width % 64 or layers < 1:
        raise ValueError(text)
    return layers, width


def main(argv=None):
    """Measure, print and write; `argv` is the command line without the program's name."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results-evaluation.md", help="the report")
    parser.add_argument("--data_dir", required=True, help="folder with the official files")
    parser.add_argument("--tokenizer", type=Path, required=True, help="a checkpoint's; made there if it is not there")
    parser.add_argument("--text_files", nargs="+", help="what it is made from; without them the texts of the tasks")
    parser.add_argument("--encoder", type=encoder_size, help="layers x width; 2x256, on a GPU 12x768")
    parser.add_argument("--max_eval_samples", type=int, help="the first N examples of each language only")
    parser.add_argument("--rounds", type=int, default=3, help="how often every pass is repeated")
    parser.add_argument("--cuda", action="store_true", help="on the GPU, of which CUDA_VISIBLE_DEVICES leaves one")
    parser.add_argument("--bf16", action="store_true", help="weights in bfloat16")
    args = parser.parse_args(argv)
    if args.cuda and not torch.cuda.is_available():
        raise UserError("--cuda: torch finds no GPU here; leave it out")
    args.encoder = args.encoder or ((12, 768) if args.cuda else (2, 256))
    disable_progress_bars()
    tasks = [load_task(name) for name in LENGTHS]
    if not args.tokenizer.is_dir():
        make_tokenizer(args.tokenizer, args.text_files, tasks, args.data_dir)
    tokenizer = load_tokenizer(args.tokenizer)
    results = {"machine": machine(args.cuda), "encoder": args.encoder, "precision": "bf16" if args.bf16 else "fp32"}
    results |= {"pieces": len(tokenizer), "batch": BATCH, "stride": STRIDE, "rounds": args.rounds}
    with tempfile.TemporaryDirectory() as folder:
        results["tasks"] = {task.name: measure(task, args, tokenizer, folder) for task in tasks}
    write_json(args.output.with_suffix(".json"), results)
    args.output.write_text(render(results), encoding="utf-8")
    print(render(results))


if __name__ == "__main__":
    run_script(main)
