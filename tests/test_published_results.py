"""Published numbers: what the file must not hold, and how its numbers stand in a report."""

import csv
import re

import pytest
from conftest import ROOT

from xstilts.base import UserError
from xstilts.page import latex_table, markdown_table
from xstilts.published_results import COLUMNS, PAPER, PATH, published_for, read_published
from xstilts.xtreme import BENCHMARKS

ROW = {
    "system": "XLM-R Large",
    "base_model": "xlm-roberta-large",
    "intermediate": "none",
    "benchmark": "xtreme",
    "task": "xnli",
    "metric": "accuracy",
    "languages": "15",
    "kind": "score",
    "value": "79.2",
    "split": "test",
    "protocol": "other seeds",
    "source": "A paper, Table 1",
}


@pytest.fixture
def written(tmp_path):
    """write(*changes) -> a file with a line per change of ROW."""

    def write(*changes):
        path = tmp_path / "published.csv"
        with open(path, "w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows({**ROW, **change} for change in changes)
        return path

    return write


def test_the_file_holds_what_its_sources_say():
    """Spot checks against RemBERT's Table 16, and means of the values by language that docs/evaluation.md has."""
    scores = {
        (row["system"], row["source"].split()[0], row["benchmark"], row["task"], row["metric"]): row["value"]
        for row in read_published()
    }
    assert scores["XLM-R Large", "Chung", "xtreme", "xnli", "accuracy"] == 79.2
    assert scores["X-STILTs", "Chung", "xtreme", "tydiqa", "f1"] == 76.0
    assert scores["X-STILTs", "Chung", "xtreme", "tydiqa", "exact_match"] == 59.5
    assert scores["X-STILTs", "Chung", "xtreme", "panx", "f1"] == 64.0
    text = (ROOT / "docs" / "evaluation.md").read_text("utf-8").split("**Compare with the published values.**")[1]
    values = [float(value) for value in re.findall(r"\b[a-z]{2} (\d+\.\d)", text.split("Yours should be")[0])]
    for task, metric, each in (("bucc2018", "f1", values[:4]), ("tatoeba", "accuracy", values[4:])):
        assert len(each) == {"bucc2018": 4, "tatoeba": 36}[task]
        printed = scores["XLM-R Large", "jiant-dev", "xtreme", task, metric]
        assert printed == pytest.approx(sum(each) / len(each), abs=0.05)


def test_averages_that_the_sources_print_follow_from_the_lines():
    """Table 16 prints the mean over its seven tasks, question answering as (F1 + EM) / 2: a slip of the pen would show. Its 74.9
    of FILTER does not follow from its own row, which the file says."""
    for system, printed in (("XLM-R Large", 70.1), ("X-STILTs", 72.7), ("FILTER", 74.4), ("RemBERT", 74.4)):
        tasks = {}
        for row in read_published():
            if row["system"] == system and row["source"].startswith("Chung"):
                tasks.setdefault(row["task"], []).append(row["value"])
        means = [sum(values) / len(values) for values in tasks.values()]
        assert len(means) == 7
        assert sum(means) / 7 == pytest.approx(printed, abs=0.06)


SEVERAL = "anli_plus+qqp+hellaswag+ccg+cosmosqa+commonsenseqa"
PRINTED = {  # the paper's own averages: intermediate, without and with masked language modelling
    "anli_plus": (7.7, 7.3), "qqp": (5.3, 7.1), "squad": (8.3, 4.1), "hellaswag": (7.9, 1.7), "ccg": (3.7, 0.9),
    "cosmosqa": (4.7, 6.6), "commonsenseqa": (4.9, 4.5), SEVERAL: (6.4, 6.8),
}  # fmt: skip
PRINTED = {"none": 67.2} | {f"{name}{end}": average for name, both in PRINTED.items()
                            for end, average in zip(("", " with MLM"), both, strict=True)}  # fmt: skip


def test_the_papers_averages_follow_from_its_cells():
    """Table 2 of the first version: 17 rows, nine targets, QA as (F1 + EM) / 2. Of QQP with MLM it prints 5.1, and
    its cells give the 7.1 above. Its XTREME scores print 68.1, 66.1 and 74.2."""
    means = {}
    for row in read_published():
        if row["source"].startswith("Phang et al. 2020, first version"):
            place = row["source"].rpartition(", ")[2], row["protocol"].split("; ")[-1], row["intermediate"], row["kind"]
            means.setdefault(place, {}).setdefault(row["task"], []).append(row["value"])
    found = {place: sum(sum(own) / len(own) for own in tasks.values()) / 9 for place, tasks in means.items()}
    assert all(len(tasks) == 9 and sum(map(len, tasks.values())) == 12 for tasks in means.values())
    table = {place[2]: average for place, average in found.items() if place[0] == "Table 2"}
    assert table == {name: pytest.approx(average, abs=0.0561) for name, average in PRINTED.items()}
    assert {name: kind for (source, _, name, kind) in found if source == "Table 2"} == {
        name: "score" if name == "none" else "gain" for name in PRINTED
    }
    scores = {place[1]: average for place, average in found.items() if place[0] == "XTREME scores"}
    assert sorted(scores.values()) == [pytest.approx(average, abs=0.06) for average in (66.1, 68.1, 74.2)]


def test_what_is_known_of_quoted_rows_is_said():
    said = {(row["source"].split()[0], row["system"]): row["protocol"] for row in read_published()}
    assert "best task for each target" in said["google-research/multilingual-t5,", "X-STILTs"]
    for system in ("mBERT", "XLM-R Base"):
        assert "after tuning on SQuAD" in said["Zhang", system]
        assert "leaves out Hindi and includes Romanian" in said["Zhang", system]


def test_languages_are_the_benchmarks_but_where_it_is_said():
    others = {
        (row["source"].split()[0], row["task"])
        for row in read_published()
        if row["languages"] != len(BENCHMARKS[row["benchmark"]][row["task"]].languages)
    }
    assert others == {("Zhang", "panx"), ("Zhang", "xquad"), ("Zhang", "tatoeba"), ("Phang", "udpos")}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ([{"source": " "}], r":2: `source` is empty; a number without it has no place"),
        ([{"task": "snli"}], r":2: task 'snli' is not one of pawsx, xnli"),
        ([{"benchmark": "glue"}], r":2: benchmark 'glue' is not one of xtreme, xtreme-r"),
        ([{"metric": "f1"}], r":2: metric 'f1' is not one of accuracy"),
        ([{"split": "train"}], r":2: split 'train' is not one of dev, test"),
        ([{"value": "100.1"}], r":2: value 100.1 is not between 0 and 100"),
        ([{"value": "-0.1"}], r":2: value -0.1 is not between 0 and 100"),
        ([{"kind": "gain", "value": "-100.1"}], r":2: value -100.1 is not between -100 and 100"),
        ([{"kind": "mean"}], r":2: kind 'mean' is not one of score, gain"),
        ([{"value": "nan"}], r":2: value nan is not between 0 and 100"),
        ([{"value": "79,2"}], r":2: value '79,2' is not a number"),
        ([{"languages": "all"}], r":2: languages 'all' is not a number"),
        ([{"task": "pawsx"}, {}, {}], r":4: accuracy of XLM-R Large on xnli stands there twice"),
    ],
)
def test_a_wrong_line_is_named(changes, message, written):
    with pytest.raises(UserError, match=message):
        read_published(written(*changes))


def test_a_file_of_another_kind_is_refused(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        read_published(tmp_path / "none.csv")
    path = tmp_path / "published.csv"
    path.write_text("system,score\na,1\n")
    with pytest.raises(UserError, match="the columns must be system,base_model"):
        read_published(path)
    lines = PATH.read_text("utf-8").split("\n")[:2]
    path.write_text("\n".join([lines[0], lines[1] + ",more"]))
    with pytest.raises(UserError, match=r":2: expected 12 columns; cells with a comma stand in quotes"):
        read_published(path)


def test_numbers_stand_as_published_with_their_differences(written):
    qa = {"task": "xquad", "languages": "11"}
    path = written(
        {},
        {**qa, "metric": "exact_match", "value": "60.8"},
        {**qa, "metric": "f1", "value": "76.64"},
        {"system": "other", "task": "panx", "metric": "f1", "languages": "39", "value": "60"},
        {"system": "other", "source": "Elsewhere", **qa, "metric": "f1", "value": "77"},
        {"system": "other", "intermediate": "qqp", "kind": "gain", "value": "-1.4"},
    )
    table = published_for(["xquad", "xnli", "panx", "lareqa"], path)
    assert table.header == ["system", "base model", "intermediate", "benchmark", "xquad", "xnli", "panx", "note"]
    assert [line[4:] for line in table.lines] == [
        ["76.6 / 60.8", "79.2", "", "1"],
        ["", "", "60.0*", "2"],
        ["77.0 / –", "", "", "3"],
        ["", "−1.4", "", "4"],
    ]
    assert table.notes == (
        "Two numbers are F1 / exact match.",
        "1: other seeds. Source: A paper, Table 1.",
        "2: other seeds. * Not the benchmark's languages: panx 39 instead of 40. Source: A paper, Table 1.",
        "3: other seeds. Source: Elsewhere.",
        "4: other seeds. Source: A paper, Table 1.",
    )
    assert table.csv_header == list(COLUMNS)
    assert 76.64 in [row[COLUMNS.index("value")] for row in table.csv_rows]
    assert published_for(["lareqa"], path) is None


def test_all_of_it_can_be_shown():
    table = published_for([task for tasks in BENCHMARKS.values() for task in tasks])
    assert len(markdown_table(table).split("\n")) == 2 + len(table.lines)
    assert latex_table(table).count(r"\begin{table}") > 1
    assert len(table.csv_rows) == sum(row["source"] != PAPER for row in read_published())
