"""run.json: what a run was, of what, with which result. It is written last, so a directory without one is not done.

`started.json` holds the same identity from the start on: it tells an interrupted run, which may go on, from another one.
"""

import atexit
import json
import os
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch

from xstilts.base import UserError, is_secret, masked, on_main_process, print_main, read_json, write_json
from xstilts.claims import Claim, claim, described
from xstilts.degenerate import advice, reasons, tasks_at_chance
from xstilts.examples import languages_apart, remarks_of
from xstilts.hub import push, settle
from xstilts.identity import defaults_of, differences, identity_of, plain
from xstilts.lineage import check_files, lineage_text
from xstilts.model_card import for_sharing, write_card
from xstilts.provenance import provenance
from xstilts.runs import command_of
from xstilts.sealed import contents, flush, share
from xstilts.shapes import check_shape
from xstilts.step_checkpoints import PREFIX, remove_all

PACKAGES = "torch transformers datasets evaluate accelerate peft seqeval sentencepiece tokenizers numpy".split()

RUNNING = "_running.json"  # the claim of a run that is at work; what begins with _ is not pushed to the hub
# By --overwrite_output_dir: the job of a study (studies/job.py) writes the log there and holds the lock.
KEPT = (RUNNING, "lock", "log.txt")

# What a run writes for others to read; sizes and digests of these files stand in its run.json. The model card, README.md, is not
# among them: people add to it, and no phase reads it.
WRITTEN = (
    "config.json *.safetensors *.safetensors.index.json tokenizer* special_tokens_map.json *.model vocab.* merges.txt heads/* "
    "*.npz predictions/**/* examples/**/*"
).split()


@dataclass(kw_only=True)
class Run:
    """One execution of a phase in `output_dir`, from its start to its run.json.

    phase, task, lineage    what it is, and the records of the phases before it
    args, training_args     the resolved arguments, ours and the Trainer's
    data                    the records of all examples it reads
    parts                   of a run of several tasks: what each has of its own, lengths and inputs a step
    others                  {option: fingerprint} of the checkpoints that are read beside --model_name_or_path
    argv                    the command line without the script's name, None for that of the process
    started_at              time.time() at the start of the script
    """

    phase: str
    task: str
    lineage: list
    args: object
    training_args: object
    data: list
    parts: dict = field(default_factory=dict)
    others: dict = field(default_factory=dict)
    argv: list | None = None
    started_at: float
    claim: Claim | None = field(default=None, init=False)

    def __post_init__(self):
        # Fixed here: the Trainer changes its arguments while it works.
        self.output_dir = Path(self.training_args.output_dir)
        settle(self.training_args, self.phase)
        precision = self.training_args.mixed_precision  # of `accelerate config` too, which sets no argument
        self.arguments = plain(
            masked_values({**vars(self.args), **self.training_args.to_dict(), "mixed_precision": precision})
        )
        self.identity = identity_of(self)

    def open(self):
        """True when the run may start or go on; False, with a message, when it is finished.

        From then on the directory is this run's alone (`claims`). A run that goes on gets the number of threads it began with,
        since sums depend on it. Raises UserError when output_dir belongs to another run, with what differs, or is held by one
        that is at work. `--overwrite_output_dir` deletes what lies there, if it is a run. A dry run has no use for it.
        """
        if self.args.dry_run:
            self.scratch = tempfile.TemporaryDirectory()  # the Trainer makes its folder as soon as it is made itself
            self.training_args.output_dir, self.training_args.push_to_hub = self.scratch.name, False
            return True
        started = on_main_process(self._take)
        if started is None:
            print_main(f"{self.output_dir} is finished with the same arguments and data; nothing to do")
        elif self.training_args.device.type == "cpu":
            torch.set_num_threads(started["threads"])
        return started is not None

    def state(self):
        """In words, what output_dir holds, without a claim on it."""
        self._check_place()
        if self.args.overwrite_output_dir:
            return "what is there would be deleted"
        try:
            if self._record("run.json", {"identity": dict}) is not None:
                return "finished: the same command would do nothing"
            started = self._record("started.json", {"identity": dict, "threads": int})
        except UserError as error:  # another run, which a look at this one leaves alone
            return f"without --dry_run this would be refused: {error}"
        return "not started yet" if started is None else "was begun, and would go on"

    def _take(self):
        """Claim the directory for this run; returns what it holds of started.json, or None where the run is finished."""
        self._check_place()
        if not self.args.overwrite_output_dir and self._is_finished():
            return None
        found = claim(self.output_dir / RUNNING)
        if not isinstance(found, Claim):
            raise UserError(
                f"{self.output_dir} is held by {described(found)}; wait for it, or stop it and give the same command again"
            )
        self.claim = found
        atexit.register(self.claim.release)
        try:
            if self.args.overwrite_output_dir:
                _remove_run(self.output_dir)
            if not self._is_finished():
                return self._started()
        except UserError:
            self.claim.release()
            raise
        self.claim.release()
        return None

    def _is_finished(self):
        """Whether run.json is there, of the same run; what a run that was stopped at its very end has left is cleared away."""
        finished = self._record("run.json", {"identity": dict})
        if finished is not None:
            check_files(self.output_dir, finished)
            remove_all(self.output_dir)
            if (self.output_dir / RUNNING).exists() and isinstance(left := claim(self.output_dir / RUNNING), Claim):
                left.release()
        return finished is not None

    def _started(self):
        """What started.json says of the same run; it is written where it is not there."""
        started = self._record("started.json", {"identity": dict, "threads": int})
        if started is None:
            started = {"identity": self.identity, "threads": torch.get_num_threads()}
            write_json(self.output_dir / "started.json", started)
        elif self.phase in ("intermediate", "target") and not any(self.output_dir.glob(f"{PREFIX}*")):
            print_main(f"{self.output_dir} was begun and has no checkpoint yet: training starts from the beginning")
        return started

    def _check_place(self):
        model, here = Path(self.args.model_name_or_path).resolve(), self.output_dir.resolve()
        if model.exists() and model.is_relative_to(here):
            raise UserError(
                f"--output_dir {self.output_dir} holds the model that the run starts from; give another one"
            )

    def _record(self, name, shape):
        """Content of a file of the same run, None where there is none. Raises UserError for one of another run."""
        record = read_json(self.output_dir / name)
        if record is None:
            return None
        check_shape(record, shape, self.output_dir / name)
        defaults = defaults_of(type(self.args), type(self.training_args))
        if found := differences(record["identity"], self.identity, defaults):
            again = "its checkpoint was trained again since; " if [*map(_head, found)] == ["lineage"] else ""
            raise UserError(
                f"{self.output_dir} holds another run; {again}it differs in {'; '.join(found)}. Give another --output_dir, or "
                "start again with --overwrite_output_dir"
            )
        return record

    def folder(self, *names):
        """A folder below the run's own, which is made."""
        folder = self.output_dir.joinpath(*names)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def close(self, results, record=None):
        """Write run.json, the last file of a run, and delete its optimizer states, which have no reader any more.

        `results` are the phase's own entries (scores and what belongs to them); `record` is what the phase adds to the lineage.
        """
        lineage = [*self.lineage, record] if record else self.lineage
        argv = sys.argv[1:] if self.argv is None else self.argv
        content = {
            "format": 1,
            "phase": self.phase,
            "task": self.task,
            "lineage_text": lineage_text(lineage),
            "lineage": lineage,
            "seed": self.training_args.seed,
            **results,
            "remarks": [*remarks_of(self.data), *results.get("remarks", ())],
            "data": self.data,
            "parts": self.parts,
            "arguments": self.arguments,
            "command": command_of(argv, self.training_args.seed, str(self.output_dir)),
            "directory": os.getcwd(),
            "wall_time_s": round(time.time() - self.started_at, 1),
            **provenance(self.training_args.device),
            "files": contents(self.output_dir, WRITTEN),
            "identity": self.identity,
        }
        content |= {"degenerate": reasons(content), "tasks_at_chance": tasks_at_chance(content)}
        for remark in content["remarks"]:
            print_main(f"note: {remark}")
        found = [f"degenerate: {reason}; {advice(reason)}" for reason in content["degenerate"]]
        found = found or [f"{task} at chance, not all of its tasks" for task in content["tasks_at_chance"]]
        for warning in [*results.get("warnings", ()), *found]:
            print_main(f"warning: {warning}")
        share(self.output_dir, content["files"])
        flush(self.output_dir, content["files"])
        self.claim.check()
        if record:
            write_card(self.output_dir, content)
        write_json(self.output_dir / "run.json", content)
        remove_all(self.output_dir)
        self.claim.release()
        print_main(f"{lineage_text(lineage)}: {_summary(content)}, {self.output_dir / 'run.json'}")
        if self.training_args.push_to_hub:
            push(self.output_dir, for_sharing(content), self.training_args, lineage_text(lineage))


def _head(difference):
    """What a line of `differences` is about."""
    return difference.partition(":")[0]


def save_examples(path, task, rows, predictions, confidence):
    """Write a JSON line per example: its columns, `gold`, `prediction`, and `confidence` in that."""
    with open(path, "w", encoding="utf-8") as file:
        for row, prediction, share in zip(rows, predictions, confidence, strict=True):
            line = {**row, "gold": task.type.gold(row), "prediction": prediction, "confidence": share}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")


def _summary(run):
    """The headline of a run, for its last line on the screen."""
    metric = run["metric"]
    if "averages" in run:
        count = len(run["scores"].keys() - {*run.get("in_no_average", ())})
        apart = languages_apart(run.get("data", ()))
        of_all = f"{count} of {count + len(apart)}" if apart else f"{count}"
        mean = f"{metric} {run['averages']['all']:.1f}, mean of {of_all} languages" if count else ""
        return mean or f"{metric} of {' '.join(run['scores'])}, which count in no average"
    trained = sum(record["rows"] for record in run["data"] if record["split"] == "train" and record["task"] != "mlm")
    rows = f"; {trained:,} training rows" if trained else ""
    return f"{metric} {run['dev_scores'][metric]:.1f} on the selection set{rows}"


def _remove_run(output_dir):
    if all(path.name in KEPT or path.name.startswith(".") for path in output_dir.iterdir()):
        return
    if not any((output_dir / name).exists() for name in ("run.json", "started.json")):
        raise UserError(f"--overwrite_output_dir: {output_dir} holds no run of this project and is not deleted")
    deeper = [path for path in output_dir.rglob("started.json") if path.parent != output_dir]
    if deeper:
        raise UserError(
            f"--overwrite_output_dir: {output_dir} holds other runs ({deeper[0].parent}) and is not deleted"
        )
    for path in output_dir.iterdir():
        if path.name in KEPT:
            continue
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def masked_values(content, name=""):
    """JSON-like content with `***` in place of secrets, by their name in it and by what they look like."""
    if isinstance(content, dict):
        return {key: masked_values(value, str(key)) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [masked_values(value, name) for value in content]
    if content and is_secret(name):
        return "***"
    return masked(content) if isinstance(content, str) else content
