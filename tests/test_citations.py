"""Whose work it is: configs/datasets.yaml for every task, in BibTeX that parses; the project's own licence and citation."""

import re

import pytest
from conftest import ROOT

from xstilts import citations
from xstilts.base import UserError, read_yaml
from xstilts.citations import FACTS, PATH, dataset_facts
from xstilts.runs import task_files

OTHERS = {"paper", "xtreme", "xtreme-r"}
ALL = read_yaml(PATH)


def test_every_task_of_the_project_has_its_facts_and_nothing_else_does():
    assert task_files() - ALL.keys() == set(), "a task that joins the project says whose rows it is made of"
    assert ALL.keys() - task_files() == OTHERS
    assert all(entry.keys() == FACTS.keys() for entry in ALL.values())


@pytest.mark.parametrize("name", sorted(ALL))
def test_facts_are_whole(name):
    facts = dataset_facts(name)
    assert facts["url"].startswith("https://")
    assert facts["title"].strip()
    assert facts["licence"].strip()
    assert facts["licence"].startswith("unknown") == (facts["licence"] == "unknown: ask the publisher")
    entries = [entry for entry in re.split(r"^(?=@)", facts["citation"], flags=re.MULTILINE) if entry]
    assert entries
    for entry in entries:
        assert re.match(r"@(inproceedings|article|misc)\{[a-zA-Z0-9-]+,\n", entry), entry
        assert entry.count("{") == entry.count("}"), entry
        assert entry.endswith("}\n"), entry
        fields = dict(re.findall(r"^  (\w+) = \{(.*?)\},?$", entry, flags=re.MULTILINE | re.DOTALL))
        assert {"title", "author", "year"} <= fields.keys(), entry
        assert re.fullmatch(r"(19|20)\d\d", fields["year"]), entry
        assert all("," in author for author in fields["author"].split(" and ")), entry


def test_one_key_stands_for_one_work():
    works = {}
    for entry in ALL.values():
        for key, text in re.findall(r"^@\w+\{(.+?),\n(.*?)^\}", entry["citation"], flags=re.MULTILINE | re.DOTALL):
            assert works.setdefault(key, text) == text, key
    assert len(works) > 25


def test_the_readme_cites_the_paper_with_the_same_key():
    key = re.search(r"@inproceedings\{(.+?),", dataset_facts("paper")["citation"])[1]
    assert f"{{{key}," in (ROOT / "README.md").read_text("utf-8")


def test_a_task_of_ones_own_has_no_entry():
    assert dataset_facts("my_own_task") is None


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("mnli: 3\n", "'mnli' is 3, not an object"),
        ("mnli: {title: MultiNLI, licence: MIT, url: https://x}\n", "'mnli' has no 'citation'"),
        ("mnli: {title: 3, licence: MIT, url: https://x, citation: x}\n", "'mnli.title' is 3, not text"),
        ("", "the content is null, not an object"),
        ("mnli: [\n", "is not valid YAML"),
        (None, "cannot be read (No such file or directory)"),
    ],
)
def test_a_file_of_another_shape_is_one_line(tmp_path, monkeypatch, text, wrong):
    monkeypatch.setattr(citations, "PATH", tmp_path / "datasets.yaml")
    if text is not None:
        citations.PATH.write_text(text, "utf-8")
    with pytest.raises(UserError) as error:
        dataset_facts("mnli")
    assert wrong in str(error.value)
    assert str(citations.PATH) in str(error.value)
    assert "\n" not in str(error.value)


# ---- the project itself ---------------------------------------------------------------------------------------------


def test_the_project_has_a_licence_and_says_how_it_is_cited():
    licence = (ROOT / "LICENSE").read_text("utf-8")
    assert "Apache License" in licence.split("\n")[0]
    assert "END OF TERMS AND CONDITIONS" in licence
    cff = read_yaml(ROOT / "CITATION.cff")
    assert {"cff-version", "message", "title", "authors", "license", "references"} <= cff.keys()
    assert (cff["cff-version"], cff["license"]) == ("1.2.0", "Apache-2.0")
    assert all("name" in author for author in cff["authors"]), "an entity"
    for work, name in zip(cff["references"], ("paper", "xtreme", "xtreme-r"), strict=True):
        entry = " ".join(dataset_facts(name)["citation"].split())
        assert {"type", "title", "authors", "year"} <= work.keys()
        assert work["title"].lower() in re.sub("[{}]", "", entry).lower()
        names = [f"{author['family-names']}, {author['given-names']}" for author in work["authors"]]
        assert " and ".join(names) in entry
        assert f"year = {{{work['year']}}}" in entry
