"""Whatever happens to a run, the same command given again ends as if nothing had happened, bit for bit; until then there is no
result. Processes are killed, told to stop, and refused room on the disk, at random but seeded moments, and files are damaged.

    python -m pytest tests/test_faults.py                  # a handful
    python -m pytest tests/test_faults.py --runs 200       # as many kills, and other faults beside them
"""

import functools
import os
import random
import re
import shutil
import signal
import subprocess
import threading
import time

import datasets
import pyarrow
import pytest
from faults import Fault, Server, finished

import run_intermediate
from xstilts import arrow_files, embeddings
from xstilts.base import UserError, read_json
from xstilts.lineage import lineage_of
from xstilts.report import collect
from xstilts.results import WRITTEN
from xstilts.sealed import contents
from xstilts.step_checkpoints import last_checkpoint

COMMON = "--use_cpu --seed 3 --max_eval_samples 12 --max_seq_length 80 --save_total_limit 2"
TRAIN = f"""{COMMON} --max_train_samples 40 --per_device_train_batch_size 4 --gradient_accumulation_steps 2 --max_steps 12
    --save_strategy steps --save_steps 4 --eval_strategy steps --eval_steps 4 --logging_steps 3 --learning_rate 1e-3"""
LAST = "--load_best_model_at_end false"
MIXED = (
    "--task squad+hellaswag+udpos --mixing uniform --doc_stride 8 --mlm_ratio 0.3 --mlm_text_files {world}/text/qna.txt"
)
SCENARIOS = {
    "one task": ("run_intermediate", f"--task mnli {TRAIN} {LAST}"),
    "several tasks": ("run_intermediate", f"{MIXED} {TRAIN} {LAST}"),
    "the best": ("run_intermediate", f"--task mnli {TRAIN} --learning_rate 3e-2"),
    "lora": ("run_intermediate", f"--task hellaswag --peft lora {TRAIN} {LAST}"),
    "by length": (
        "run_intermediate",
        f"--task mnli --train_sampling_strategy group_by_length --max_tokens_per_batch 96 {TRAIN} {LAST}",
    ),
    "unfreezing": ("run_target", f"--task xnli --unfreeze_schedule 0:1;3:embeddings;7:none {TRAIN} {LAST}"),
    "epochs": (
        "run_target",
        f"--task xnli {TRAIN} --max_steps -1 --num_train_epochs 3 --save_strategy epoch --eval_strategy epoch",
    ),
    "evaluation": ("run_zeroshot_eval", f"--task xnli --languages en,qna,qfd --save_examples {COMMON}"),
    "one target": ("run_target", f"--task xnli {TRAIN}"),
    "retrieval": ("run_retrieval", f"--task tatoeba --languages qna,qfd --layers all {COMMON}"),
}
KILLS = ("kill", "kill", "kill", "SIGKILL", "SIGKILL", "SIGTERM", "SIGUSR1")
FULL = ("full", "full", "limit")
LEFT = ("checkpoint*", "_*", ".*")


class Bench:
    """A folder in which scenarios are run; `world` and `encoders` are read only."""

    def __init__(self, folder, world, encoder):
        self.folder, self.world, self.encoder, self.known = folder, world, encoder, {}
        self.server = Server(folder)

    def line(self, name, place):
        """(script, arguments) of a scenario in a folder of its own."""
        script, options = SCENARIOS[name]
        start = self.reference("one target")[0] / "run" if script == "run_zeroshot_eval" else self.encoder
        options = options.format(world=self.world, folder=place).split()
        return script, [
            *options,
            "--model_name_or_path",
            start,
            "--data_dir",
            self.world,
            "--output_dir",
            place / "run",
        ]

    def run(self, name, place, fault=None, ranks=1):
        """(exit code, what was printed)."""
        return self.server.run(
            *self.line(name, place), fault, cache=place.relative_to(self.folder) / "cache", ranks=ranks
        )

    def reference(self, name, ranks=1):
        """(folder of an uninterrupted run, number of its file operations, its seconds), made once."""
        key = name if ranks == 1 else f"{name} by {ranks}"
        if key not in self.known:
            place = self.folder / key.replace(" ", "-")
            code, printed = self.run(name, place, Fault("count"), ranks)
            assert code == 0, printed
            count = int(re.search(r"operations: (\d+)", printed)[1])
            self.known[key] = place, count, read_json(place / "run" / "run.json")["wall_time_s"]
        return self.known[key]


@pytest.fixture(scope="module")
def bench(tmp_path_factory, world, encoder):
    """Where everything here is run."""
    return Bench(tmp_path_factory.mktemp("faults"), world, encoder)


def check_same(place, reference):
    """The results in two folders are the same, and nothing else is left of a run."""
    ours, theirs = (folder / "run" for folder in (place, reference))
    assert contents(ours, WRITTEN) == contents(theirs, WRITTEN)
    ours_json, theirs_json = (comparable(read_json(folder / "run.json")) for folder in (ours, theirs))
    for name in theirs_json:
        assert ours_json[name] == theirs_json[name], name
    assert [path for pattern in LEFT for path in ours.glob(pattern)] == []


def comparable(run):
    """What of a run.json must be the same."""
    return {
        name: value for name, value in run.items() if name not in ("wall_time_s", "arguments", "command", "directory")
    }


def drawn(rng, name, kinds, count, seconds):
    """A fault at random."""
    kind = rng.choice(kinds)
    if kind in ("kill", "full"):
        return Fault(kind, rng.randint(1, count))
    return Fault(kind, rng.randint(100, 60_000) if kind == "limit" else rng.uniform(0.05, seconds))


def interrupted(bench, name, number, kinds, ranks=1):
    """Interrupt a scenario up to three times, then let it end; checks what every moment promises. Returns what happened."""
    rng = random.Random(f"{name} {number} {kinds}")
    reference, count, seconds = bench.reference(name, ranks)
    place = bench.folder / f"{name.replace(' ', '-')}-{kinds[0]}-{ranks}-{number}"
    faults = [drawn(rng, name, kinds, count, seconds) for _ in range(rng.choice((1, 1, 2, 3)))]
    happened = []
    for fault in faults:
        code, printed = bench.run(name, place, fault, ranks)
        happened.append((fault, code))
        if code == 0:
            break
        check_end(fault, code, printed)
        assert not (place / "run" / "run.json").exists() or code != 2
    code, printed = bench.run(name, place, ranks=ranks)
    assert code == 0, (happened, printed)
    check_same(place, reference)
    shutil.rmtree(place)
    return happened


def check_end(fault, code, printed):
    """A process that could not go on says so in one line; one that was told to stop asks to be started again."""
    expected = {"kill": -9, "SIGKILL": -9, "full": 2, "limit": 2}.get(fault.kind, 75)
    assert code == expected, (fault, code, printed)
    if code == 2:
        line = printed.strip().split("\n")[-1]
        assert re.search(
            r"run_\w+\.py: .*(No space left|File too large|cannot be written|GB are free|GiB left)", line
        ), printed
        assert "Traceback" not in printed


@pytest.fixture
def runs(request):
    """What --runs asks for."""
    return request.config.getoption("runs")


def tell(name, happened):
    """One line on what was tried, for the run on demand."""
    each = ", ".join(f"{fault.kind} {fault.at:.4g}: {code}" for chain in happened for fault, code in chain)
    print(f"{name}: {len(happened)} runs, {sum(map(len, happened))} faults ({each})")


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_killed_run_ends_as_if_nothing_had_happened(bench, name, runs):
    if not runs and name in ("the best", "by length", "one target"):
        pytest.skip("with --runs; tests/test_resume.py and the next ones have these at known moments")
    tell(name, [interrupted(bench, name, number, KILLS) for number in range(max(1, -(-runs // len(SCENARIOS))))])


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_full_disk_is_one_clear_line_and_the_next_run_succeeds(bench, name, runs):
    if not runs and name not in ("one task", "evaluation", "retrieval"):
        pytest.skip("with --runs")
    tell(name, [interrupted(bench, name, number, FULL) for number in range(max(1, -(-runs // len(SCENARIOS) // 2)))])


@pytest.fixture
def disk(bench):
    """disk(size) makes the folder `disk` a disk of that many bytes, emptied; without one, of as many as it takes."""
    place = bench.folder / "disk"
    place.mkdir()
    tool = shutil.which("mount")
    if (
        tool is None
        or subprocess.run([tool, "-t", "tmpfs", "-o", "size=64k", "tmpfs", place], capture_output=True).returncode
    ):
        pytest.skip("disks can be mounted by root only")

    def disk(size=2**27):
        subprocess.run([tool, "-o", f"remount,size={size}", place], check=True)
        return place

    yield disk
    subprocess.run(["umount", "--lazy", place], check=True)
    place.rmdir()


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_disk_that_is_really_full_is_one_clear_line(bench, disk, name, runs):
    """... and no signal: writing to a page of a file that the disk has no room for would be one."""
    if not runs and name != "retrieval":
        pytest.skip("with --runs")
    rng, refused = random.Random(name), 0
    for _ in range(max(2, runs // 20)):
        place = disk(rng.randrange(12, 800) * 1024)
        code, printed = bench.run(name, place)
        if code:
            check_end(Fault("full"), code, printed)
            refused += 1
        code, printed = bench.run(name, disk())
        assert code == 0, printed
        check_same(place, bench.reference(name)[0])
        for path in place.iterdir():
            shutil.rmtree(path)
    print(f"{name} on a full disk: {refused} refused")


def test_vectors_take_their_room_before_they_are_written(disk, monkeypatch):
    """Also where another program takes it after it was asked for."""
    monkeypatch.setattr(embeddings, "check_room", lambda *arguments: None)
    with pytest.raises(OSError, match="No space left"):
        embeddings._new_file(disk(2**16), 400_000)


@pytest.mark.parametrize(
    ("name", "ranks", "step"),
    [("one task", 1, 5), ("epochs", 1, 6), ("one task", 2, 5), ("several tasks", 2, 5)],
)
def test_a_run_that_is_told_to_stop_writes_a_checkpoint_and_goes_on(bench, name, ranks, step):
    """In the step after one of its checkpoints, at which an uninterrupted run has none; of two processes one is told."""
    place = bench.folder / f"told-{name}-{ranks}".replace(" ", "-")
    code, printed = bench.run(name, place, Fault("told", step - 1), ranks)
    assert code == 75, printed
    assert f": stopped, checkpoint-{step} is written; give the same command again to go on" in printed
    code, printed = bench.run(name, place, ranks=ranks)
    assert code == 0, printed
    assert f"going on from {place / 'run' / f'checkpoint-{step}'}" in printed
    check_same(place, bench.reference(name, ranks)[0])


@pytest.mark.parametrize("name", ["one task", "several tasks"])
@pytest.mark.parametrize("kind", ["SIGKILL", "SIGTERM"])
def test_two_processes_end_as_if_nothing_had_happened(bench, name, kind, runs):
    if not runs and (name, kind) != ("one task", "SIGKILL"):
        pytest.skip("with --runs")
    tell(f"{name} by two", [interrupted(bench, name, number, (kind,), ranks=2) for number in range(max(1, runs // 20))])


def test_what_one_process_cannot_write_stops_all_in_one_line(bench):
    place = bench.folder / "second"
    code, printed = bench.run("one task", place, Fault("limit", 2000, rank=1), ranks=2)
    check_end(Fault("limit"), code, printed)
    assert "checkpoint-4 cannot be written" in printed
    code, printed = bench.run("one task", place, ranks=2)
    assert code == 0, printed
    check_same(place, bench.reference("one task", 2)[0])


# ---- damaged files --------------------------------------------------------------------------------------------------


def damaged(content, rng):
    """Bytes that are cut short, or have one flipped bit."""
    if rng.random() < 0.5 or not content:
        return content[: rng.randrange(max(1, len(content)))]
    place = rng.randrange(len(content))
    return content[:place] + bytes([content[place] ^ 1 << rng.randrange(8)]) + content[place + 1 :]


@pytest.fixture(scope="module")
def stopped(bench):
    """Folder of a run that was killed behind its third checkpoint, whose rotation was done: two are there."""
    place = bench.folder / "stopped"
    assert bench.run("one task", place, Fault("rotated"))[0] == -9
    assert sorted(path.name for path in (place / "run").glob("checkpoint-*")) == ["checkpoint-12", "checkpoint-8"]
    return place


FILES = (
    "config.json contents.json model.safetensors optimizer.pt progress_0.json rng_state.pth scheduler.pt trainer_state.json"
).split()


@pytest.mark.parametrize("name", FILES)
def test_every_damaged_file_of_a_checkpoint_is_noticed(stopped, tmp_path, capsys, name):
    """... and the checkpoint before it is used."""
    rng, path = random.Random(name), tmp_path / "checkpoint-12" / name
    for _ in range(6):
        shutil.rmtree(tmp_path)
        shutil.copytree(stopped / "run", tmp_path)
        assert last_checkpoint(str(tmp_path)) == str(path.parent)
        path.write_bytes(damaged(path.read_bytes(), rng))
        assert last_checkpoint(str(tmp_path)) == str(tmp_path / "checkpoint-8")
        said = capsys.readouterr().out
        assert f"checkpoint-12 is damaged ({name}" in said
        assert (tmp_path / "_set-aside-checkpoint-12").exists()


def test_a_checkpoint_whose_best_one_is_damaged_is_not_gone_on_from(stopped, tmp_path):
    """The best weights lie there, and are read at the end."""
    shutil.copytree(stopped / "run", tmp_path, dirs_exist_ok=True)
    best = read_json(tmp_path / "checkpoint-12" / "contents.json")["needs"] or ["checkpoint-12"]
    (tmp_path / best[0] / "model.safetensors").write_bytes(b"")
    expected = {"checkpoint-8": None, "checkpoint-12": str(tmp_path / "checkpoint-8")}[best[0]]
    assert last_checkpoint(str(tmp_path)) == expected


def test_a_run_goes_on_from_the_checkpoint_before_a_damaged_one(bench, stopped):
    place = bench.folder / "damaged"
    shutil.copytree(stopped, place)
    path = place / "run" / "checkpoint-12" / "optimizer.pt"
    path.write_bytes(path.read_bytes()[:-1])
    code, printed = bench.run("one task", place)
    assert code == 0, printed
    assert "checkpoint-12 is damaged (optimizer.pt has" in printed
    check_same(place, bench.reference("one task")[0])


def test_every_damaged_file_of_a_finished_run_is_noticed(bench, tmp_path):
    """Before a next phase reads it: no result comes of other weights than the lineage says."""
    finished, rng = bench.reference("one task")[0] / "run", random.Random(1)
    names = [*contents(finished, WRITTEN), "run.json"]
    assert {"model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json"} <= {*names}
    for name in names:
        shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
        lineage_of(tmp_path)
        (tmp_path / name).write_bytes(damaged((tmp_path / name).read_bytes(), rng))
        with pytest.raises(UserError, match=re.escape(name)):
            lineage_of(tmp_path)


@pytest.mark.parametrize("name", ["run.json", "started.json"])
@pytest.mark.parametrize("content", ["{}", "[]", "null", "[1]", '{"identity": 1}', '{"identity": {}}'])
def test_a_record_that_says_nothing_is_neither_a_finished_run_nor_the_same(
    stopped, encoder, world, tmp_path, name, content
):
    shutil.copytree(stopped / "run", tmp_path / "run")
    (tmp_path / "run" / name).write_text(content)
    line = [*SCENARIOS["one task"][1].split(), "--model_name_or_path", encoder, "--data_dir", world]
    with pytest.raises(UserError, match=rf"{name}|holds another run"):
        run_intermediate.main([*line, "--output_dir", str(tmp_path / "run")])
    assert (tmp_path / "run" / "checkpoint-12").exists()


def test_only_a_whole_run_json_is_counted(bench, tmp_path):
    """A directory without one is not a result, whatever else lies in it; a damaged one is no result either."""
    shutil.copytree(bench.reference("evaluation")[0] / "run", tmp_path / "one")
    shutil.copytree(tmp_path / "one", tmp_path / "two", ignore=lambda folder, names: ["run.json"])
    assert [*collect([tmp_path])] == [tmp_path / "one" / "run.json"]
    path = tmp_path / "one" / "run.json"
    path.write_text(path.read_text("utf-8").replace('"accuracy": ', '"accuracy": 1'), encoding="utf-8")
    with pytest.raises(UserError, match="was changed after it was written"):
        collect([tmp_path])


def test_damaged_data_never_give_a_result_under_the_old_name(bench, stopped, runs):
    """The interrupted run meets other rows: it ends as before where these are rows it does not read, else it says so."""
    reference, codes = bench.reference("one task")[0], []
    for number in range(max(2, runs // 10)):
        rng, place = random.Random(number), bench.folder / f"data-{number}"
        shutil.copytree(stopped, place)
        world = place / "world"
        shutil.copytree(
            bench.world,
            world,
            ignore=lambda folder, names: [
                name for name in names if folder == bench.world and name not in ("mnli", "xnli")
            ],
        )
        path = world / "mnli" / rng.choice(["multinli_1.0_train.jsonl", "multinli_1.0_dev_matched.jsonl"])
        content = path.read_bytes()
        head = rng.choice([2_000, len(content)])  # the rows that are read, or all
        path.write_bytes(damaged(content[:head], rng) + content[head:])
        script, line = bench.line("one task", place)
        line[line.index("--data_dir") + 1] = world
        code, printed = bench.server.run(script, line, cache=f"data-{number}/cache")
        codes.append(code)
        if code == 0:
            check_same(place, reference)
        else:
            assert code == 2, printed
            assert re.search(
                r"holds another run; it differs in data|multinli_1\.0_\w+\.jsonl", printed.strip().split("\n")[-1]
            ), printed
        shutil.rmtree(place)
    print(f"damaged data: {codes.count(0)} of {len(codes)} runs ended as before, {codes.count(2)} were refused")


# ---- at the same time -----------------------------------------------------------------------------------------------


def test_two_runs_in_one_folder_are_one_too_many(bench):
    place = bench.folder / "both"
    first = bench.server.start(*bench.line("one task", place), cache="both/cache")
    while not (place / "run" / "_running.json").exists():
        assert first[0].is_alive()
    code, printed = bench.run("one task", place)
    assert code == 2
    assert re.search(
        rf"{place / 'run'} is held by process {first[0].pid} on \S+, at work since .*; wait for it", printed
    )
    assert finished(first)[0] == 0
    check_same(place, bench.reference("one task")[0])


def numbers(log, path):
    """Three rows, slowly; who makes them says so."""
    with open(log, "a") as file:
        file.write(f"{os.getpid()}\n")
    time.sleep(0.5)
    return arrow_files.write(path, lambda: iter([pyarrow.table({"number": [1, 2, 3]})]))


def prepare(cache, log, die):
    """What each of forty jobs does."""
    datasets.config.HF_DATASETS_CACHE = cache
    if die and not os.path.exists(log):
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGKILL)).start()
    assert arrow_files.kept("numbers", functools.partial(numbers, log))[:]["number"] == [1, 2, 3]


@pytest.mark.parametrize("die", [False, True], ids=["one does it", "one does it after another has died over it"])
def test_forty_jobs_prepare_the_same_data_once(bench, tmp_path, die):
    processes = [
        bench.server.context.Process(target=prepare, args=(str(tmp_path), str(tmp_path / "log"), die and number == 0))
        for number in range(40)
    ]
    for number, process in enumerate(processes):
        process.start()
        while die and number == 0 and not (tmp_path / "log").exists():
            time.sleep(0.01)
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [-9 * die, *[0] * 39]
    assert len((tmp_path / "log").read_text().splitlines()) == 1 + die
    assert [path.name for path in (tmp_path / "xstilts").iterdir() if not path.name.endswith(".part")] == [
        "numbers.arrow"
    ]
