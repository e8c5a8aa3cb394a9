"""The model card of a checkpoint: what readers and the hub need of run.json, and nothing of the machine."""

import json
import re
import shutil
from pathlib import Path

import pytest
from conftest import ROOT
from huggingface_hub import ModelCard

import run_intermediate
import run_report
import run_target
import run_zeroshot_eval
from xstilts.base import UserError, read_json, write_json
from xstilts.card_scores import score_blocks, without_folders
from xstilts.card_sections import body_of
from xstilts.citations import dataset_facts
from xstilts.lineage import lineage_of
from xstilts.model_card import CARD, base_on_hub, front_matter, is_changed, write_card, write_cards
from xstilts.results import _summary
from xstilts.xtreme import XTREME

SMALL = (
    "--max_train_samples 24 --max_eval_samples 12 --num_train_epochs 1 --max_seq_length 96 --use_cpu --seed 5".split()
)
TOKEN = "hf_" + "a1B2" * 8


@pytest.fixture(scope="module")
def chain(encoder, few_rows, tmp_path_factory):
    """Folder with the runs of three phases; where the first one ends, somebody's README.md lies already."""
    runs = tmp_path_factory.mktemp("cards") / "runs"
    data = ["--data_dir", few_rows, "--hub_token", TOKEN, *SMALL]
    (runs / "hellaswag").mkdir(parents=True)
    (runs / "hellaswag" / CARD).write_text("---\ntags: [generated_from_trainer]\n---\nstale")
    intermediate, target = str(runs / "hellaswag"), str(runs / "xnli")
    run_intermediate.main(["--task", "hellaswag", "--model_name_or_path", encoder, "--output_dir", intermediate, *data])
    line = [
        "--task",
        "xnli",
        "--model_name_or_path",
        intermediate,
        "--output_dir",
        target,
        "--freeze_layers",
        "1",
        *data,
    ]
    run_target.main(line)
    places = f"--model_name_or_path {target} --output_dir {runs / 'eval'} --data_dir {few_rows}"
    options = "--task xnli --languages en,de --max_eval_samples 12 --max_seq_length 96 --use_cpu"
    run_zeroshot_eval.main(f"{options} {places}".split())
    return runs


@pytest.fixture
def copy(chain, tmp_path):
    """The runs, to be changed."""
    return Path(shutil.copytree(chain, tmp_path / "runs"))


def table_of(text, title):
    """Cells of the first table behind a heading."""
    lines = text.split(f"{title}\n", 1)[1].split("\n\n")
    rows = next(block for block in lines if block.lstrip().startswith("|")).strip().split("\n")
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows]


def test_the_hub_reads_the_front_matter(chain):
    card = ModelCard.load(chain / "xnli" / CARD)
    assert card.data.language == ["en"]
    assert card.data.pipeline_tag == "text-classification"
    assert card.data.library_name == "transformers"
    assert {"x-stilts", "cross-lingual-transfer", "target-task"} <= set(card.data.tags)
    assert card.data.license is None, "that of a base model nobody knows"
    assert card.data.base_model is None
    dev, run = card.data.eval_results[0], read_json(chain / "xnli" / "run.json")
    assert (dev.metric_type, dev.metric_value) == ("accuracy", round(run["dev_scores"]["accuracy"], 2))
    assert dev.dataset_split == "selection"


def test_a_reader_finds_lineage_data_scores_and_what_to_know(chain):
    text, run = (chain / "xnli" / CARD).read_text("utf-8"), read_json(chain / "xnli" / "run.json")
    assert f"# {run['lineage_text']}\n" in text
    phases = table_of(text, "## Lineage")
    assert [row[:2] for row in phases[2:]] == [
        ["base model", run["lineage"][0]["base_model"]],
        ["intermediate", "hellaswag"],
        ["target", "xnli"],
    ]
    assert phases[4][4] == "fresh head; freeze-1"
    assert phases[4][6] == run["lineage"][-1]["fingerprint"]
    assert table_of(text, "## Training data")[2:] == [
        ["mnli", "train", "en", "24", "392,702"], ["xnli", "validation", "en", "12", "2,490"],
    ]  # fmt: skip
    for task in ("hellaswag", "mnli", "xnli"):
        facts = dataset_facts(task)
        assert f"[{facts['title']}]({facts['url']}), {facts['licence']}" in text
        assert facts["citation"].strip() in text
    assert dataset_facts("paper")["citation"].strip() in text
    assert dataset_facts("xtreme-r")["citation"].strip() in text
    assert "the best checkpoint on the selection set" in text
    assert f"step {run['selected_step']} of {run['steps']}, seed 5" in text
    assert run["degenerate"]
    assert all(f"degenerate: {reason}" in text for reason in run["degenerate"])
    assert "AutoModelForSequenceClassification.from_pretrained" in text
    assert "python run_target.py --task xnli --model_name_or_path hellaswag --output_dir xnli" in text


def test_the_card_has_no_folder_of_the_machine_and_no_token(chain, few_rows):
    for name in ("hellaswag", "xnli"):
        text = (chain / name / CARD).read_text("utf-8")
        assert TOKEN not in text
        assert "--hub_token '***'" in text
        assert not [place for place in (str(chain), few_rows, str(ROOT), str(Path.home())) if place in text]


def test_ours_replaces_what_lay_there(chain):
    text = (chain / "hellaswag" / CARD).read_text("utf-8")
    assert "stale" not in text
    assert "generated_from_trainer" not in text
    assert not is_changed(chain / "hellaswag" / CARD)


def test_missing_scores_say_what_adds_them(chain):
    assert "`run_zeroshot_eval.py --task xnli --model_name_or_path CHECKPOINT` makes them" in (
        chain / "xnli" / CARD
    ).read_text("utf-8")
    assert "`run_report.py RUNS --model_cards`" in (chain / "hellaswag" / CARD).read_text("utf-8")


def test_a_changed_card_is_no_damage(copy):
    (copy / "xnli" / CARD).write_text("mine")
    assert CARD not in read_json(copy / "xnli" / "run.json")["files"]
    assert lineage_of(str(copy / "xnli"))[-1]["task"] == "xnli"


def test_run_json_comes_after_the_card(encoder, few_rows, tmp_path, monkeypatch):
    def write(path, content):
        assert Path(path).name != "run.json" or (tmp_path / "run" / CARD).exists()
        if Path(path).name == "run.json":
            raise OSError("full")
        write_json(path, content)

    monkeypatch.setattr("xstilts.results.write_json", write)
    line = ["--task", "hellaswag", "--model_name_or_path", encoder, "--output_dir", str(tmp_path / "run")]
    with pytest.raises(OSError, match="full"):
        run_intermediate.main([*line, "--data_dir", few_rows, *SMALL])
    assert not (tmp_path / "run" / "run.json").exists()


# ---- scores of later phases -----------------------------------------------------------------------------------------


def test_the_report_writes_the_scores_of_all_languages(copy, capsys):
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file() and path.name != CARD}
    run_report.main([str(copy), "--model_cards"])
    assert "2 model cards" in capsys.readouterr().out
    text, run = (copy / "xnli" / CARD).read_text("utf-8"), read_json(copy / "eval" / "run.json")
    rows = {row[0]: row[1:] for row in table_of(text, "### xnli, test rows, accuracy")[2:]}
    assert list(rows) == ["en", "de"]
    for language, own in run["scores"].items():
        low, high = own["interval"]
        assert rows[language][:2] == [f"{own['accuracy']:.1f}", f"{low:.1f} to {high:.1f}"]
        assert rows[language][2] == "12 of 5,010"
    assert (rows["en"][3], rows["de"][3]) == ("no", "yes")
    assert "Missing, not evaluated: ar bg el es fr hi ru sw th tr ur vi zh." in text
    assert "xtreme's average: missing, as 13 of its languages are" in text
    assert "are missing.**" not in text
    found = {result.dataset_config: result for result in ModelCard.load(copy / "xnli" / CARD).data.eval_results}
    assert found["de"].dataset_split == "test"
    assert "**Scores in other languages are missing.**" in (copy / "hellaswag" / CARD).read_text("utf-8")
    assert before == {path: path.read_bytes() for path in before}
    assert not is_changed(copy / "xnli" / CARD)


@pytest.mark.parametrize(
    "change", [lambda text: text + "\nMy note.\n", lambda text: text.replace("# enc", "# My enc", 1)]
)
def test_what_somebody_wrote_is_left(copy, capsys, change):
    path = copy / "xnli" / CARD
    path.write_text(change(path.read_text("utf-8")), "utf-8")
    mine = path.read_bytes()
    run_report.main([str(copy), "--model_cards"])
    assert path.read_bytes() == mine
    assert f"{path} was changed by hand and stays as it is" in capsys.readouterr().out
    path.unlink()
    run_report.main([str(copy), "--model_cards"])
    assert "### xnli, test rows" in path.read_text("utf-8")


def test_a_card_that_is_no_text_is_somebody_s(tmp_path):
    assert not is_changed(tmp_path / CARD)
    for content in (b"", b"\xff\xfe\n", b"<!-- x-stilts -->", b"<!-- x-stilts 0123456789abcdef: x -->\n"):
        (tmp_path / CARD).write_bytes(content)
        assert is_changed(tmp_path / CARD)


def evaluation(**changes):
    """What a card reads of the evaluation of XNLI in all its languages, on all rows."""
    languages = XTREME["xnli"].languages
    scores = {code: {"accuracy": 70.0 + place, "examples": 5010} for place, code in enumerate(languages)}
    data = [
        {"task": "xnli", "split": "test", "language": code, "rows": 5010, "published_rows": 5010} for code in languages
    ]
    lineage = [{"base_model": "b"}, {"phase": "target", "task": "xnli", "languages": ["en"]}]
    own = {"phase": "eval", "task": "xnli", "split": "test", "metric": "accuracy", "scores": scores, "data": data}
    known = {
        "zero_shot_languages": [code for code in languages if code != "en"],
        "averages": {"all": 77.0, "zero_shot": 77.2},
    }
    return {**own, **known, "lineage": lineage, **changes}


def blocks_of(run):
    """The blocks of a card for one evaluation."""
    trained = {"phase": "target", "task": "xnli", "lineage": run["lineage"], "metric": "accuracy"}
    return "\n".join(score_blocks(trained, [run]))


def test_averages_of_benchmarks_are_over_complete_sets():
    assert "xtreme's average: 77.0; xtreme-r's average: 77.0." in blocks_of(evaluation())
    fewer = evaluation()
    del fewer["scores"]["sw"]
    assert "xtreme's average: missing, as 1 of its languages are" in blocks_of(fewer)
    assert "Missing, not evaluated: sw." in blocks_of(fewer)
    limited = evaluation()
    limited["scores"]["sw"]["examples"] = 12
    assert "xtreme's average: missing, as not all of the published rows were read" in blocks_of(limited)
    assert "missing, these are no test rows" in blocks_of(evaluation(split="validation"))


def test_a_language_without_a_score_has_the_reason_and_an_unknown_past_no_zero_shot():
    run = evaluation(missing_languages={"qu": "no rows in /home/me/data/xnli/test-qu.tsv"})
    assert "Missing, without rows or labels there: qu." in blocks_of(run)
    assert "home" not in blocks_of(run)
    run["lineage"][0]["has_head"], run["zero_shot_languages"] = True, []
    assert "| unknown | unknown |" in blocks_of(run)
    assert "| yes |" not in blocks_of(run)


def test_pairs_of_languages_count_in_no_mean_and_are_no_zero_shot_languages():
    run = evaluation(in_no_average=["en-de"])
    run["scores"]["en-de"] = {"accuracy": 1.0, "examples": 5}
    assert "Mean of these 15 languages: 77.0;" in blocks_of(run)
    assert "| en-de | 1.0 | – | 5 | – | unknown |" in blocks_of(run)
    averages = {"averages": {"all": 77.0}, "metric": "accuracy", "in_no_average": ["en-de"]}
    assert _summary({**averages, "scores": run["scores"]}) == "accuracy 77.0, mean of 15 languages"
    greek = {"language": "el", "in_no_average": True}
    one = {**averages, "in_no_average": ["el", "en-de"], "data": [greek], "scores": run["scores"]}
    assert _summary(one) == "accuracy 77.0, mean of 14 of 15 languages"
    only = {**averages, "averages": {"all": None}, "scores": {"en-de": {}}}
    assert _summary(only) == "accuracy of en-de, which count in no average"


def test_of_mining_the_pairs_of_the_test_set_are_counted(tmp_path):
    languages = XTREME["bucc2018"].languages
    sizes = [("dev", 10), ("test", 100)]
    data = [{"task": "bucc2018", "split": split, "language": code, "rows": rows, "published_rows": rows}
            for code in languages for split, rows in sizes]  # fmt: skip
    scores = {code: {"f1": 50.0} for code in languages}
    run = evaluation(phase="retrieval", task="bucc2018", metric="f1", data=data, scores=scores)
    assert "| de | 50.0 | – | 100 |" in blocks_of(run)
    assert "xtreme's average: 50.0." in blocks_of(run)
    del data[1]
    assert "| de | 50.0 | – | unknown |" in blocks_of(run)
    write_json(tmp_path / "config.json", {"architectures": ["XLMRobertaForSequenceClassification"]})
    shown = front_matter(tmp_path, {**run, "phase": "target", "lineage_text": "x"}, [run])["eval_results"]
    assert {result.task_type for result in shown if result.dataset_config} == {"sentence-similarity"}


def test_rows_that_are_not_the_benchmarks_are_said_and_not_published(tmp_path):
    languages, remark = XTREME["udpos"].languages, "udpos: UD words, not XTREME's (de el)"
    scores = {code: {"f1": 50.0} for code in languages}
    data = [{"task": "udpos", "split": "test", "language": "el", "in_no_average": True}]
    run = evaluation(task="udpos", metric="f1", data=data, scores=scores, in_no_average=["el"], remarks=[remark])
    assert f"**{remark}**" in blocks_of(run)
    assert "| el | 50.0 |" in blocks_of(run)
    assert "Mean of these 32 languages" in blocks_of(run)
    assert "xtreme's average: missing, as 1 of its languages are" in blocks_of(run)
    write_json(tmp_path / "config.json", {"architectures": ["XLMRobertaForTokenClassification"]})
    shown = front_matter(tmp_path, {**run, "phase": "target", "lineage_text": "x"}, [run])["eval_results"]
    assert {result.dataset_config for result in shown} - {None} == {*languages} - {"el"}


def test_chance_is_called_what_it_is_for_every_type_of_task():
    trained = {**evaluation(), "phase": "target", "dev_scores": {"accuracy": 50.0}, "chance": 33.3}
    assert " The same answer for every example gives 33.3." in score_blocks(trained, [])[0]


def test_what_was_selected_on_reported_rows_is_marked():
    run = evaluation()
    run["lineage"][-1]["selection"] = "oracle"
    trained = {"phase": "target", "task": "xnli", "lineage": run["lineage"], "metric": "accuracy"}
    text = "\n".join(score_blocks({**trained, "dev_scores": {"accuracy": 50.0}}, []))
    assert "no zero-shot result" in text
    assert "**the best checkpoint on the target languages' own dev sets**" in text


# ---- names and places from somebody's files -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["<script>alert(1)</script>", "a | b", "[x](javascript:y)", "--- evil: true", "# heading"]
)
def test_names_mean_nothing_but_themselves(tmp_path, name):
    lineage = [
        {"base_model": name},
        {"phase": "target", "task": name, "languages": [name], "factors": [name], "head": name},
    ]
    data = [{"task": name, "split": name, "language": name, "rows": 3, "files": [name]}]
    run = {
        "phase": "target",
        "task": name,
        "lineage": lineage,
        "lineage_text": f"{name} > {name}",
        "seed": 1,
        "data": data,
    }
    run |= {"metric": "accuracy", "dev_scores": {"accuracy": 1.0}, "warnings": [name], "degenerate": [name]}
    run |= {"command": ["--task", name], "versions": {"torch": name}, "arguments": {"learning_rate": name}}
    write_json(tmp_path / "config.json", {"architectures": [name]})
    write_card(tmp_path, run, [evaluation(task=name, degenerate=[name], missing_languages={name: name})])
    text = (tmp_path / CARD).read_text("utf-8")
    assert not is_changed(tmp_path / CARD)
    card = ModelCard(text)
    assert set(card.data.to_dict()) == {"library_name", "pipeline_tag", "tags", "model-index"}
    outside = re.sub(r"^```.*?^```", "", card.text, flags=re.DOTALL | re.MULTILINE)
    assert "<script" not in outside
    assert "](javascript" not in outside.replace("\\[", "[").replace("[x\\]", "") or "\\[x" in outside
    assert [line for line in card.text.split("\n") if line.startswith("# ")] == [card.text.split("\n")[1]]
    assert sum(line.startswith("```") for line in text.split("\n")) == 6
    widths = {len(re.findall(r"(?<!\\)\|", line)) for line in table_lines(outside, "## Lineage")}
    assert widths == {8}


def table_lines(text, title):
    """The lines of the first table behind a heading."""
    return [line for line in text.split(f"{title}\n", 1)[1].split("##")[0].split("\n") if line.startswith("|")]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("no rows in /home/me/data/x.tsv (and /y)", "no rows in x.tsv (and y)"),
        ("see https://x.org/a/b and and/or, 1/2", "see https://x.org/a/b and and/or, 1/2"),
        ("~/runs/me: gone", "me: gone"),
        ("runs/target/xnli", "runs/target/xnli"),
    ],
)
def test_folders_of_a_machine_have_their_last_name(text, shown):
    assert without_folders(text) == shown


# ---- what the hub links to ------------------------------------------------------------------------------------------


def training(path, records=1, **changes):
    """A run.json of a training that started from `path`."""
    lineage = [{"base_model": "xlm-roberta-large"}, *({"phase": "target", "task": "mine"} for _ in range(records))]
    return {"phase": "target", "task": "mine", "lineage": lineage, "lineage_text": "x", "seed": 1, **changes} | {
        "arguments": {"model_name_or_path": str(path)}
    }


def test_the_base_model_is_followed_to_the_hub(tmp_path):
    base = "FacebookAI/xlm-roberta-large"
    write_json(tmp_path / "first" / "run.json", training(base))
    assert base_on_hub(tmp_path, training(base)) == base
    fetched = {"id": base, "revision": "0" * 40, "licence": "mit", "files": {}}
    write_json(tmp_path / "_models" / base / "fetched.json", fetched)
    assert base_on_hub(tmp_path, training(tmp_path / "_models" / base)) == base
    assert base_on_hub(tmp_path, training(tmp_path / "first", 2)) == base
    assert base_on_hub(tmp_path, training(tmp_path / "gone", 2)) is None
    assert base_on_hub(tmp_path, training(base, 2)) is None, (
        "a shared checkpoint that nobody can look at is no base model"
    )
    (tmp_path / "first" / "run.json").write_text("{")
    assert base_on_hub(tmp_path, training(tmp_path / "first", 2)) is None
    write_json(tmp_path / "round" / "run.json", training(tmp_path / "round", 2))
    assert base_on_hub(tmp_path, training(tmp_path / "round", 2)) is None


def test_licence_base_and_datasets_are_those_of_the_hub(tmp_path):
    write_json(tmp_path / "config.json", {"architectures": ["XLMRobertaForTokenClassification"]})
    data = [{"task": "mine", "split": "train", "language": "en", "rows": 2, "files": ["mine/train.tsv"]}]
    hub = {"config": None, "split": "train", "revision": "0" * 40}
    data += [data[0] | {"hub": {**hub, "id": name}} for name in ("nyu-mll/glue", "allenai/x")]
    run = training("FacebookAI/xlm-roberta-base", data=data)
    found = front_matter(tmp_path, run, [])
    assert found["datasets"] == ["allenai/x", "nyu-mll/glue"]
    assert (found["base_model"], found["license"]) == ("FacebookAI/xlm-roberta-base", "mit")
    assert found["pipeline_tag"] == "token-classification"
    assert "license" not in front_matter(tmp_path, training("me/encoder"), [])
    body = body_of(run, [], "XLMRobertaForTokenClassification", "mit")
    assert "`mit` above is the licence of the base model" in body
    assert "Of mine it is not known here whose rows they are" in body


def test_a_bare_encoder_and_a_class_of_ours_are_read_by_automodel():
    for architecture in ("XLMRobertaModel", "EuroBertForMultipleChoice", ""):
        assert "AutoModel.from_pretrained" in body_of(training("a/b"), [], architecture, None)


def test_a_run_json_of_another_shape_is_one_line(tmp_path):
    (tmp_path / "run.json").write_text(json.dumps({"phase": "target", "lineage": 3, "seed": 1}))
    with pytest.raises(UserError, match=r"run\.json"):
        run_report.main([str(tmp_path), "--model_cards"])


def test_only_checkpoints_have_cards(tmp_path, capsys):
    write_cards({tmp_path / "run.json": training("a/b")})
    assert "0 model cards" in capsys.readouterr().out
    assert not (tmp_path / CARD).exists()
