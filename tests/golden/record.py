"""What the scripts of a checkout give, written down, and two checkouts compared: the tool by which the rebuild loses nothing.

    python tests/golden/record.py --checkout . --output FOLDER [--only data,messages]     # record one checkout
    python tests/golden/record.py --compare ../before . [--only ...]                      # both alternately, and a table
    python tests/golden/record.py --check                                                 # this one against what is kept here

Command lines and files only: nothing of ours is imported, so that every module may move. The cases are in cases.yaml, README.md
says how to read them. A case runs in a folder of its own, in which the inputs lie under the same names whatever the checkout.
"""

import argparse
import csv
import fnmatch
import hashlib
import itertools
import json
import lzma
import os
import queue
import random
import re
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import yaml

HERE = Path(__file__).resolve().parent
SHARED = HERE.parents[2] / "shared"
CASES = yaml.safe_load((HERE / "cases.yaml").read_text("utf-8"))

# ---- the adapter: what a step of the rebuild renamed, {new: old}, at most 40 lines a step ----------------------------

NAMES = {}  # keys of run.json, options
WORDS = {}  # regular expression -> text, in messages and tables

# ---- what is kept -----------------------------------------------------------------------------------------------------

MACHINE = (
    "trainings",
    "evaluations",
    "retrieval",
    "report",
)  # depend on the machine: compared only alternately, never kept
SHOWN = 8  # differences of a case
VOLATILE = "versions git_commit hardware wall_time_s directory command files identity checksum".split()
OF_DATA = "data untaught missing_languages unscored_languages chance label_entropy_bits remarks warnings in_no_average".split()
OF_TEXTS = "examples subwords_per_word subwords_per_character unknown_share too_long_share seen_in_training seen_in_dev".split()


def of_run(group, run):
    """What of a run.json a group keeps."""
    if group == "runs":
        kept = {name: run.get(name) for name in ("lineage_text", "seed", "factors", "arguments")}
        return {**kept, "keys": shape(run)}
    if group != "data":
        return {name: value for name, value in run.items() if name not in VOLATILE}
    texts = {code: {name: own[name] for name in OF_TEXTS if name in own} for code, own in run.get("scores", {}).items()}
    return {name: run[name] for name in OF_DATA if name in run} | {"texts": texts}


def shape(value):
    """The keys of JSON, nested, with types in the place of values; of lists their first element's."""
    if isinstance(value, dict):
        return {name: shape(each) for name, each in value.items()}
    return [shape(value[0])] if isinstance(value, list) and value else type(value).__name__


def recorded(group, folder, codes, tidy):
    """What a case left in its folder."""
    found, exact = {"exit codes": codes}, group == "trainings"
    if any(codes) or group == "messages":
        lines = [*lines_of(folder / ".out"), *lines_of(folder / ".err")]
        found["message"] = tidy(lines[-1]) if any(codes) and lines else ""
    if group == "options":
        found["options"] = options_of((folder / ".out").read_text("utf-8"), tidy.trainer)
    if group in ("options", "messages"):
        return found
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()):
        name, parts = path.relative_to(folder).as_posix(), path.relative_to(folder).parts
        if parts[0].startswith("."):
            continue
        if path.name == "run.json" and group != "report":
            found[f"run in {path.parent.relative_to(folder)}"] = tidy(of_run(group, renamed(read_json(path))), exact)
        elif path.name == "scores.json":
            found[name] = tidy(read_json(path))
        elif parts[0] == "report" and path.suffix in (".csv", ".md"):
            found[name] = {str(number): tidy(line) for number, line in enumerate(lines_of(path), start=1)}
        elif group in ("world", "scores") or (
            group in MACHINE and re.search(r"(^|/)(predictions|heads)/|safetensors$", name)
        ):
            found[name] = digest(path.read_bytes())
    if (folder / ".features").exists():
        for kind, rows in read_json(folder / ".features").items():
            some = {"first": rows[0][:300], "last": rows[-1][:300]} if rows else {}
            found[f"features in {kind}"] = {"rows": len(rows), "digest": digest("\n".join(rows).encode()), **some}
    return found


def options_of(page, trainer):
    """{option: default} of a help page, without those of the Trainer."""
    parts = re.split(r"^  (?:-\w, )?(--[a-z]\w*)", page, flags=re.MULTILINE)[1:]
    found = {}
    for option, text in zip(parts[::2], parts[1::2], strict=True):
        default = re.search(r"\(default: ([^)]*)\)", " ".join(text.split("\n\n")[0].split()))
        if option.removeprefix("--") not in trainer:
            found[NAMES.get(option, option)] = default[1] if default else None
    return found


def renamed(value):
    """JSON with the names of before; records of rows by what they are of."""
    if isinstance(value, dict):
        return {NAMES.get(name, name): renamed(each) for name, each in value.items()}
    if (
        isinstance(value, list)
        and value
        and isinstance(value[0], dict)
        and {"task", "split", "language"} <= value[0].keys()
    ):
        return {f"{each['task']} {each['split']} {each['language']}": renamed(each) for each in value}
    return [renamed(each) for each in value] if isinstance(value, list) else value


class Tidy:
    """Values without what differs from place to place; floats in six digits unless they are `exact`."""

    def __init__(self, places, trainer):
        self.places, self.trainer = places, trainer  # [(path, what stands for it)], names of the Trainer's options

    def __call__(self, value, exact=False):
        if isinstance(value, dict):
            return {name: self(each, exact) for name, each in value.items()}
        if isinstance(value, list):
            return [self(each, exact) for each in value]
        if isinstance(value, float) and not exact:
            return float(f"{value:.6g}")
        return self.text(value) if isinstance(value, str) else value

    def text(self, text):
        for path, name in self.places:
            text = text.replace(f"{path}/", name and f"{name}/").replace(str(path), name or ".")
        text = re.sub(re.escape(tempfile.gettempdir()) + r"/\w+", "TMP", text)
        text = re.sub(r"-?\d+\.\d{6,}(e-?\d+)?", lambda number: f"{float(number[0]):.6g}", text)
        for new, old in WORDS.items():
            text = re.sub(new, old, text)
        return text


def digest(content):
    return hashlib.sha256(content).hexdigest()[:16]


def lines_of(path):
    return [line for line in path.read_text("utf-8", "replace").split("\n") if line.strip()] if path.exists() else []


def read_json(path):
    return json.loads(path.read_text("utf-8"))


# ---- running cases ----------------------------------------------------------------------------------------------------


class Server:
    """A process of capture.py, which runs scripts one at a time."""

    def __init__(self, home):
        own = {
            "OMP_NUM_THREADS": "1",
            "HF_HUB_OFFLINE": "1",
            "TOKENIZERS_PARALLELISM": "false",
            "CUDA_VISIBLE_DEVICES": "",
        }
        own |= {"HF_HOME": str(home), "MPLBACKEND": "Agg", "PYTHONHASHSEED": "0", "PYTHONWARNINGS": "ignore"}
        command = [sys.executable, str(HERE / "capture.py")]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self.process = subprocess.Popen(command, env={**os.environ, **own}, text=True, **pipes)
        self.trainer = None

    def run(self, lines, folder, features=False, kill_at=None):
        """The exit code of a command line, of several the first one's: a distributed run."""
        if self.trainer is None:
            self.trainer = json.loads(self.process.stdout.readline())
        request = {"lines": lines, "cwd": str(folder), "kill_at": kill_at, "environment": {}}
        request |= {"features": str(folder / ".features")} if features else {}
        if len(lines) > 1:
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                request["environment"] = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
            request["environment"] |= {"WORLD_SIZE": str(len(lines)), "LOCAL_WORLD_SIZE": str(len(lines))}
        print(json.dumps(request), file=self.process.stdin, flush=True)
        return int(self.process.stdout.readline())

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def expanded(text, ends=r"\{\}"):
    """`text` with every choice of its first {a|b}, wherever it stands, then of the next."""
    opening, closing = re.findall(r"\\.", ends)
    if choice := re.search(rf"{opening}([^{ends}]*\|[^{ends}]*){closing}", text):
        return [each for part in choice[1].split("|") for each in expanded(text.replace(choice[0], part), ends)]
    return [text]


def cases_of(group):
    """The cases of a group: one a line, going on in lines that are indented."""
    lines = re.sub(r"\n +", " ", re.sub(r"^#.*\n", "", CASES["groups"][group], flags=re.MULTILINE)).split("\n")
    return [case for line in lines if line.strip() for case in expanded(line)]


def spelt_out(line):
    """The words of a command line."""
    while re.search(r"\$\w", line):
        line = re.sub(r"\$(\w+)", lambda name: CASES["words"][name[1]], line)
    return shlex.split(line)


def run_case(server, group, case, checkout, inputs, folder):
    """Run the lines of a case, and return what is recorded of it."""
    folder.mkdir(parents=True)
    for each in inputs.iterdir():
        (folder / each.name).symlink_to(each)
    (folder / "checkout").symlink_to(checkout)
    codes = run_lines(server, group, case, checkout, folder)
    places = [(folder, ""), (inputs, ""), (checkout, "checkout"), (SHARED, "shared"), (folder.parents[1], "WORK")]
    return recorded(group, folder, codes, Tidy(places, server.trainer))


def run_lines(server, group, case, checkout, folder):
    """Exit codes of the lines of a case."""
    codes = []
    for line in [each for part in case.split(";;") for each in expanded(part, r"\[\]")]:
        first, *words = spelt_out(line)
        kill_at, ranks = None, 1
        while "=" in first:
            kill_at, ranks = (first[5:], 1) if first.startswith("kill=") else (None, int(first[6:]))
            first, *words = words
        if first == "put":
            put(folder, *words)
            continue
        command = [str(checkout / f"{first}.py"), *words]
        codes.append(server.run([command] * ranks, folder, group == "data", kill_at))
    return codes


def put(folder, name, text):
    """Write `text` to a file below a linked folder, which becomes one of the case's own; @file: its content, -: it is deleted."""
    path, top = folder / name, folder / Path(name).parts[0]
    if top.is_symlink():
        there = top.resolve()
        top.unlink()
        for each in there.rglob("*"):
            (top / each.relative_to(there)).parent.mkdir(parents=True, exist_ok=True)
            if each.is_file():
                (top / each.relative_to(there)).symlink_to(each.resolve())
    content = (
        (folder / text[1:]).read_bytes()
        if text[:1] == "@"
        else text.encode().decode("unicode_escape").encode("latin-1")
    )
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    if text != "-":
        path.write_bytes(content)


# ---- inputs, made once by the first checkout ----------------------------------------------------------------------------


def make_inputs(server, checkout, folder):
    """The world, the real slices, a tiny encoder, the demo's, checkpoints without their run.json, prediction files."""
    folder.mkdir(parents=True)
    (folder / "shared").symlink_to(SHARED)
    (folder / "demo.yaml").write_bytes((checkout / "demo" / "config.yaml").read_bytes())
    shutil.copytree(checkout / "demo" / "encoder", folder / "encoder")
    jobs = [[checkout / "demo" / "make_world.py", "--output_dir", "world", "--scale", "0.3"]]
    jobs += [[HERE / "record.py", "--inputs", "."]]
    for job in [[*map(str, job)] for job in jobs] + [spelt_out(line) for line in CASES["checkpoints"]]:
        script = job[0] if job[0].endswith(".py") else str(checkout / f"{job[0]}.py")
        if server.run([[script, *job[1:]]], folder):
            sys.exit(f"{shlex.join(job)} failed: {lines_of(folder / '.err')[-1]}")
    make_predictions(folder)
    for path in (
        *folder.rglob("run.json"),
        *folder.rglob("started.json"),
    ):  # somebody else's models: read by any version
        path.unlink()
    for path in folder.glob(".*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def save_tiny_encoder(folder):
    """XLM-R in small: two layers of 16, and a vocabulary of single characters."""
    import torch
    from transformers import XLMRobertaConfig, XLMRobertaForMaskedLM, XLMRobertaTokenizer

    ranges = (
        (33, 127),
        (0xC0, 0x250),
        (0x384, 0x460),
        (0x5D0, 0x64B),
        (0x905, 0x94E),
        (0xE01, 0xE4F),
        (0x3041, 0x30FF),
    )
    characters = [chr(code) for first, last in ranges for code in range(first, last)] + [
        *"的一是不了人我在有他這个上们来到时"
    ]
    pieces = [(text, -3.0) for each in characters for text in (each, f"▁{each}")]
    pieces += [(f"{start}{word}", -4.0) for word in "the an in er on st qu ing".split() for start in ("", "▁")]
    vocabulary = [*((name, 0.0) for name in ("<s>", "<pad>", "</s>", "<unk>")), ("▁", -2.0), *pieces, ("<mask>", 0.0)]
    tokenizer = XLMRobertaTokenizer(vocab=vocabulary, model_max_length=512)
    torch.manual_seed(0)
    sizes = {
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "type_vocab_size": 1,
    }
    config = XLMRobertaConfig(**sizes, vocab_size=len(tokenizer), max_position_embeddings=514, pad_token_id=1)
    XLMRobertaForMaskedLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    tokenizer.add_tokens(["<a>", "<b>", "<c>"])  # a vocabulary that the encoder does not have
    XLMRobertaForMaskedLM(config).save_pretrained(folder.parent / "tiny-added")
    tokenizer.save_pretrained(folder.parent / "tiny-added")


def rows(path, delimiter="\t"):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.reader(file, delimiter=delimiter))


def lay_out(data, folder):
    """The real slices under the names of official files; what has no training file takes a part of another."""
    for name in "hellaswag commonsenseqa squad squad_v2 copa ccg ud xquad tydiqa tatoeba xcopa lareqa".split():
        (folder / name).symlink_to(data / name)

    def write(name, text):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, "utf-8", newline="")

    def tsv(name, table, delimiter="\t"):
        write(name, "")
        with open(folder / name, "w", encoding="utf-8", newline="") as file:
            csv.writer(file, delimiter=delimiter, lineterminator="\r\n").writerows(table)

    def pairs(name, table):
        keys = ("sentence1", "sentence2", "gold_label")
        lines = [dict(zip(keys, row, strict=True)) | {"pairID": str(number)} for number, row in enumerate(table)]
        write(name, "".join(json.dumps(line) + "\n" for line in lines))

    english = rows(data / "xnli" / "dev-en.tsv")
    matched = [line.split("\t") for line in (data / "mnli" / "mnli_matched.tsv").read_text("utf-8").splitlines()]
    pairs("mnli/multinli_1.0_train.jsonl", [(*texts, label) for label, *texts in matched] + english[600:])
    pairs("mnli/multinli_1.0_dev_matched.jsonl", english[400:500])
    tsv("xnli/dev-en.tsv", english[500:600])
    for task, count in (("xnli", 400), ("pawsx", 450)):
        for path in (data / task).glob("dev-*.tsv"):
            tsv(f"{task}/{path.name.replace('dev', 'test')}", rows(path)[:count])
    paraphrases = rows(data / "pawsx" / "dev-en.tsv")
    tsv("pawsx/train-en.tsv", paraphrases[700:])
    tsv("pawsx/dev-en.tsv", paraphrases[450:700])
    for name in ("train", "dev"):
        lines = (data / "snli" / "original" / f"{name}.tsv").read_text("utf-8").splitlines()[1:]
        pairs(f"snli/snli_1.0_{name}.jsonl", [line.split("\t") for line in lines] + [("a", "b", "-")])
    header, *questions = rows(data / "cosmosqa" / "valid.csv", ",")
    tsv("cosmosqa/train.csv", [header, *questions[:1400]], ",")
    tsv("cosmosqa/valid.csv", [header, *questions[1400:]], ",")
    for name, source in (("trn", "tst"), ("dev", "dev")):
        write(
            f"socialiqa/socialIQa_v1.4_{name}.jsonl",
            (data / "socialiqa" / f"socialIQa_v1.4_{source}.jsonl").read_text("utf-8"),
        )
    for path in (data / "uner").glob("*/*.iob2"):
        blocks, name = path.read_text("utf-8").strip().split("\n\n"), f"uner/{path.parent.name}/{path.name}"
        parts = {"train": blocks[:1600], "dev": blocks[1600:]} if "-dev" in name else {"test": blocks}
        for split, own in parts.items():
            write(re.sub("-(dev|test).iob2", f"-{split}.iob2", name), "".join(f"{block}\n\n" for block in own))
    for path in (data / "mlqa" / "MLQA_V1" / "dev").glob("*.json"):
        articles = read_json(path)["data"]
        last = len(articles) - ("en-question-en" in path.name)
        for split, own in (("test", articles[:last]), ("dev", articles[last:])):
            if own:
                write(
                    f"mlqa/MLQA_V1/{split}/{path.name.replace('dev', split)}", json.dumps({"version": 1.0, "data": own})
                )


def make_predictions(folder):
    """`labels` of the world for what was evaluated; `mock-1` to `mock-3`: the mock submission with a third of it exchanged."""
    for path in (folder / "evaluated").glob("*/predictions/*/*"):
        target, code = folder / "labels" / path.parent.name / path.name, path.stem.removeprefix("test-")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(path.parent, folder / "predictions" / path.parent.name, dirs_exist_ok=True)
        if path.suffix == ".tsv" and (source := folder / "world" / path.parent.name / f"test-{code}.tsv").exists():
            target.write_text("".join(f"{row[-1]}\n" for row in rows(source)), "utf-8")
        elif (source := folder / "world" / "xquad" / f"xquad.{code}.json").exists():
            shutil.copy(source, target)
    for seed in (1, 2, 3):
        rng, mock = random.Random(seed), SHARED / "data" / "xtreme_mock" / "predictions"
        for path in sorted(path for path in mock.rglob("*") if path.is_file()):
            target = folder / f"mock-{seed}" / path.relative_to(mock)
            target.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix == ".json":
                content = read_json(path)
                for name in content if isinstance(content, dict) else ():
                    content[name] = rng.choice([*content.values()]) if rng.random() < 1 / 3 else content[name]
                target.write_text(json.dumps(content), "utf-8")
                continue
            lines = path.read_text("utf-8").split("\n")
            words = [line for line in lines if line.strip()]
            target.write_text(
                "\n".join(rng.choice(words) if line.strip() and rng.random() < 1 / 3 else line for line in lines),
                "utf-8",
            )


# ---- comparing ----------------------------------------------------------------------------------------------------------


def flat(value, name=""):
    """{path of keys: value} of nested JSON."""
    if isinstance(value, dict) and value:
        return {
            key: each for own, of in value.items() for key, each in flat(of, f"{name} / {own}" if name else own).items()
        }
    return {name: value}


def different(before, now):
    """[(what, value before, value now)] of two recordings of a case."""
    before, now, absent = flat(before), flat(now), "(not there)"
    found = ((key, before.get(key, absent), now.get(key, absent)) for key in {**before, **now})
    return [each for each in found if json.dumps(each[1]) != json.dumps(each[2])]


def compared(pairs, named):
    """Print the table of {group: {case: (before, now)}}; returns how many differences `named`, {pattern: why}, does not name."""
    lines, unnamed, used = [], 0, set()
    print("| group | cases | equal | different |\n| --- | ---: | ---: | ---: |")
    for group, cases in pairs.items():
        wrong = {case: found for case, sides in cases.items() if (found := different(*sides))}
        print(f"| {group} | {len(cases)} | {len(cases) - len(wrong)} | {len(wrong)} |")
        for case, found in wrong.items():
            own, before = [], unnamed
            for what, *values in found:
                line = f"{group}: {case}: {what}"
                why = [pattern for pattern in named if fnmatch.fnmatchcase(line, pattern)]
                used |= {*why}
                unnamed += not why
                shown = " -> ".join(first_difference(*map(str, values)))
                text = f"- {line}: {shown}" + (f" ({named[why[0]]})" if why else "")
                own.insert(len(own) if why else unnamed - before - 1, text)  # what is not named comes first
            lines += own if len(own) <= SHOWN else [*own[:SHOWN], f"- {group}: {case}: and {len(own) - SHOWN:,} more"]
    print("\n" + "\n".join(lines or ["No differences."]))
    for pattern in named.keys() - used:
        print(f"- nothing is named by '{pattern}' in differences.yaml")
    return unnamed


def first_difference(before, now, width=100):
    """Two texts from a little before where they differ."""
    same = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(before, now, strict=False)))
    start = max(0, same - 20)
    return [("..." if start else "") + text[start : start + width] for text in (before, now)]


def save(recordings, folder):
    """{group: {case: recording}} as compressed JSON, a file for each group."""
    folder.mkdir(parents=True, exist_ok=True)
    for group, cases in recordings.items():
        text = json.dumps(cases, ensure_ascii=False, indent=0, sort_keys=True)
        (folder / f"{group}.json.xz").write_bytes(lzma.compress(text.encode(), preset=9))


def report_of(server, folder, checkout, work):
    """Tables of a report: those that lie in `folder`, or made of the runs below it."""
    if not (folder / "report.md").exists():
        facts = folder.parent / "world" / "languages.csv"
        own = ["--language_facts", str(facts)] if facts.exists() else []
        work.mkdir(parents=True)
        code = server.run(
            [[str(checkout / "run_report.py"), str(folder), "--output_dir", str(work / "report"), *own]], work
        )
        return recorded("report", work, [code], Tidy([(folder, "runs"), (checkout, "checkout")], server.trainer))
    tidy, kept = Tidy([(checkout, "checkout")], ()), sorted((*folder.rglob("*.csv"), *folder.rglob("*.md")))
    return {
        str(path.relative_to(folder)): {str(n): tidy(line) for n, line in enumerate(lines_of(path), 1)} for path in kept
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkout", type=Path, metavar="DIR", help="record this one")
    parser.add_argument("--compare", type=Path, nargs=2, metavar=("BEFORE", "NOW"), help="record two, and compare them")
    parser.add_argument("--check", action="store_true", help="compare this checkout with what is kept beside this file")
    parser.add_argument(
        "--output", type=Path, metavar="FOLDER", help="where recordings are written, of two in before/ and now/"
    )
    parser.add_argument("--only", help="groups, with commas")
    parser.add_argument("--cases", nargs="+", default=["*"], help="patterns of which a case has to match one")
    parser.add_argument(
        "--every", type=int, default=1, metavar="N", help="only every N-th case of a group: a quick look"
    )
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument(
        "--reports", type=Path, nargs="+", default=[], help="folders with finished runs, or reports: their tables"
    )
    parser.add_argument(
        "--work", type=Path, help="keep inputs and what the cases leave here; inputs that are there are used again"
    )
    parser.add_argument("--inputs", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.inputs:
        save_tiny_encoder(args.inputs.resolve() / "tiny")
        (args.inputs / "real").mkdir()
        return lay_out(SHARED / "data", args.inputs / "real")
    sides = [path.resolve() for path in args.compare or [args.checkout or HERE.parents[1]]]
    groups = args.only.split(",") if args.only else [*CASES["groups"]]
    groups = [group for group in groups if not (args.check and group in MACHINE)]
    todo = [(group, case) for group in groups for case in cases_of(group)[:: args.every]]
    todo = [(group, case) for group, case in todo if any(fnmatch.fnmatchcase(case, each) for each in args.cases)]
    with tempfile.TemporaryDirectory(prefix="golden-") as temporary:
        found = record(sides, todo, args, Path(args.work or temporary).resolve())
    for number, recordings in enumerate(found):
        if args.output:
            save(recordings, args.output / ("before", "now")[number] if args.compare else args.output)
    if args.check:
        kept = [path for path in HERE.glob("*.json.xz") if path.name.removesuffix(".json.xz") in found[0]]
        before = {path.name.removesuffix(".json.xz"): json.loads(lzma.decompress(path.read_bytes())) for path in kept}
        found = [before, found[0]]
    if len(found) < 2:
        return None
    pairs = {
        group: {case: (found[0].get(group, {}).get(case), now) for case, now in own.items()}
        for group, own in found[1].items()
    }
    named = HERE / "differences.yaml"
    named = (yaml.safe_load(named.read_text("utf-8")) or {}) if named.exists() else {}
    return 1 if compared(pairs, named) else 0


def record(sides, todo, args, work):
    """[{group: {case: recording}} of each side]; a case runs on all sides before the next begins."""
    servers, found = queue.SimpleQueue(), [{} for _ in sides]
    started = [Server(work / "home") for _ in range(args.jobs)]
    inputs = work / "inputs"
    if not inputs.exists():
        partial = work / "inputs.partial"
        shutil.rmtree(partial, ignore_errors=True)
        make_inputs(started[0], sides[0], partial)
        partial.rename(inputs)
    for server in started:
        servers.put(server)

    def job(number, group, case):
        server, began, own = servers.get(), time.monotonic(), []
        for side, checkout in enumerate(sides):
            folder = work / f"{'before now'.split()[side]}" / f"{group}-{number}"
            shutil.rmtree(folder, ignore_errors=True)
            try:
                if group == "reports":
                    own.append(report_of(server, Path(case).resolve(), checkout, folder))
                else:
                    own.append(run_case(server, group, case, checkout, inputs, folder))
            except Exception as error:  # the others go on
                own.append({"failed": f"{type(error).__name__}: {error}"})
            if not args.work:
                shutil.rmtree(folder, ignore_errors=True)
        servers.put(server)
        print(
            f"{number}/{len(todo)} {time.monotonic() - began:5.1f} s  {group}: {case[:120]}",
            file=sys.stderr,
            flush=True,
        )
        return own

    todo = [*todo, *(("reports", str(folder)) for folder in args.reports)]
    with ThreadPoolExecutor(args.jobs) as pool:
        jobs = [pool.submit(job, number, *each) for number, each in enumerate(todo, start=1)]
        for (group, case), each in zip(todo, jobs, strict=True):
            for side, recording in enumerate(each.result()):
                found[side].setdefault(group, {})[case] = recording
    for server in started:
        server.close()
    return found


if __name__ == "__main__":
    sys.exit(main())
