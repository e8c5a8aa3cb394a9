"""A fork server for record.py: it imports libraries once, none of ours, and runs scripts in children that cost no import.

A request is a line of JSON on stdin, {"lines": [[script, argument, ...], ...], "cwd", "environment", "features", "kill_at"}; the
answer is one on stdout, the exit code. Several `lines` are processes of one distributed run. Of every encoder call the inputs
without padding, with the labels that the loss then gets, are written to `features`.
"""

import atexit
import contextlib
import importlib
import json
import os
import runpy
import signal
import sys
import time
import traceback
from pathlib import Path

LIBRARIES = """
    numpy pandas scipy.stats sklearn.metrics matplotlib.pyplot yaml jinja2 datasets evaluate seqeval.metrics accelerate peft
    transformers.trainer transformers.hf_argparser transformers.modelcard transformers.models.auto.modeling_auto
    transformers.models.auto.tokenization_auto transformers.models.xlm_roberta.modeling_xlm_roberta
    transformers.models.xlm_roberta.tokenization_xlm_roberta filelock pydantic seaborn adjustText
""".split()
LIMIT = 600  # seconds, then a case is killed


def watch(kept):
    """Keep [in training, rows without padding, labels of the loss or None] of every call of a model that gets token ids."""
    import torch
    from transformers import PreTrainedModel

    inside, since, plain_call, plain_loss = [], [], torch.nn.Module.__call__, torch.nn.functional.cross_entropy

    def call(self, *args, **inputs):
        ids, mask = inputs.get("input_ids", args[0] if args else None), inputs.get("attention_mask")
        if inside or not isinstance(ids, torch.Tensor) or ids.is_floating_point():
            return plain_call(self, *args, **inputs)  # an encoder within a model
        rows, has_mask = ids.flatten(0, -2).tolist(), mask is not None and mask.shape == ids.shape
        masks = mask.flatten(0, -2).tolist() if has_mask else [[1] * len(row) for row in rows]
        batch = [[id for id, is_token in zip(*row, strict=True) if is_token] for row in zip(rows, masks, strict=True)]
        entry = [self.training, batch, None]
        kept.append(entry)
        since.append(entry)
        inside.append(self)
        try:
            return plain_call(self, *args, **inputs)
        finally:
            inside.pop()

    def loss(logits, target, *args, **options):
        if since:
            if len(since) == 2:  # queries, then documents
                since[0][1] += kept.pop()[1]
            since[0][2] = target.flatten().tolist()
            since.clear()
        return plain_loss(logits, target, *args, **options)

    PreTrainedModel.__call__, torch.nn.functional.cross_entropy = call, loss


def pairs(kept):
    """{"train" or "eval": sorted [inputs of one label, its labels]} of what was kept; in evaluation each once."""
    found = {"train": [], "eval": []}
    for is_training, rows, labels in kept:
        labels = [None] * len(rows) if labels is None else labels
        each = max(1, len(rows) // len(labels))
        groups = [rows[start : start + each] for start in range(0, len(rows), each)]
        per = max(1, len(labels) // len(groups))
        if len(groups) * per != len(labels) or (each == 2 and labels == [*range(len(labels))] and len(labels) > 2):
            groups, per = [sorted(rows)], len(labels)  # in-batch negatives: what is compared with each other
        for number, group in enumerate(groups):
            own = [label for label in labels[number * per : (number + 1) * per] if label != -100]
            found["train" if is_training else "eval"].append([group, own])
    texts = {name: sorted(json.dumps(pair) for pair in own) for name, own in found.items()}
    return {"train": texts["train"], "eval": sorted(set(texts["eval"]))}


def child(script, arguments, request, rank):
    """The process of a script; never returns."""
    os.chdir(request["cwd"])
    for number, name in ((1, ".out"), (2, ".err")):
        os.dup2(os.open(name if rank == 0 else os.devnull, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    os.environ.update(request["environment"], HF_DATASETS_CACHE=f"{request['cwd']}/.cache")
    if len(request["lines"]) > 1:
        os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank)}
    import datasets

    datasets.config.HF_DATASETS_CACHE = os.environ["HF_DATASETS_CACHE"]
    sys.argv, sys.path[0], kept, code = [script, *arguments], os.path.dirname(script), [], 0
    try:
        if request.get("features"):
            watch(kept)
        runpy.run_path(script, run_name="__main__")
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        code = 1
    with contextlib.suppress(Exception):
        if kept and rank == 0:
            Path(request["features"]).write_text(json.dumps(pairs(kept)), "utf-8")
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def serve(request):
    """The exit code of the first process, negative for a signal; `kill_at` is a path that it is killed at, once it is there."""
    started, running = time.monotonic(), {}
    for rank, (script, *arguments) in enumerate(request["lines"]):
        pid = os.fork()
        if pid == 0:
            child(script, arguments, request, rank)
        running[pid] = rank
    codes = {}
    while running:
        for pid in [*running]:
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                codes[running.pop(pid)] = os.waitstatus_to_exitcode(status)
        late = time.monotonic() - started > LIMIT or any(codes.values())
        if late or (request.get("kill_at") and os.path.exists(os.path.join(request["cwd"], request["kill_at"]))):
            for pid in running:
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.002)
    return codes[0]


if __name__ == "__main__":
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for library in LIBRARIES:
        with contextlib.suppress(ImportError):
            importlib.import_module(library)
    torch, transformers = importlib.import_module("torch"), importlib.import_module("transformers")
    torch.set_num_threads(1)
    print(json.dumps([*transformers.TrainingArguments.__dataclass_fields__]), file=answers, flush=True)
    for line in sys.stdin:
        print(serve(json.loads(line)), file=answers, flush=True)
