"""A report's pages: the same strings in Markdown, HTML, LaTeX and CSV, and one HTML file that stands alone."""

import csv
import re
from html.parser import HTMLParser

import matplotlib
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from matplotlib.figure import Figure as Plot

from xstilts.base import UserError
from xstilts.marks import first_sentence, html, latex, markdown, plain
from xstilts.page import (
    MISSING,
    SMALL,
    Figure,
    Section,
    Table,
    latex_table,
    markdown_table,
    numeric_columns,
    widths,
    write_report,
)

SCORES = Table(
    name="scores",
    caption="Scores of `xlm-roberta-large`, **best** in bold & 100 % real.",
    header=["task", "xnli", "udpos_en", "what"],
    lines=[["none", "50.1", "", "no training"], ["squad_v2", "**53.1*** (+3.0†)", "-1.5", "a|b <i>"]],
    csv_header=["task", "xnli"],
    csv_rows=[["none", 50.1234567], ["squad_v2", None]],
    notes=("* over fewer languages.",),
)


def draw(path, label):
    """An SVG with clip paths, markers and a style of its own, as matplotlib writes it."""
    with matplotlib.rc_context({"svg.hashsalt": "xstilts"}):
        figure = Plot(figsize=(2, 2))
        figure.subplots().plot([0, 1], [1, 0], marker="o", label=label)
        figure.savefig(path, metadata={"Date": None})


@pytest.fixture
def report(tmp_path):
    """write(name, sections) -> folder of a report with two plots that matplotlib gave the same ids."""

    def write(name, sections=None, **options):
        folder = tmp_path / name
        folder.mkdir()
        for plot in ("one", "two"):
            draw(folder / f"{plot}.svg", "a")
        write_report(folder, "A <title> & more", sections or SECTIONS, **options)
        return folder

    return write


SECTIONS = [
    Section("Overview", ["Some *words* on `code`.", SCORES]),
    Section("Plots", [Figure("one", "First plot. With more to say.", "scores.csv"), Figure("two", "Second")]),
    Section("Overview", ["-1.5 is less.", "1. is no list"], level=3),
]


class Page(HTMLParser):
    """What a page holds: tags with their attributes, ids, text, and tags that were not closed."""

    VOID = ("meta", "br", "link", "img")

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.text = [], [], []
        self.feed(text)
        self.ids = [own["id"] for _, own in self.tags if "id" in own]

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


# ---- strings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("string", "as_markdown", "as_html", "as_latex", "as_text"),
    [
        ("**53.1***", "**53.1**\\*", "<strong>53.1</strong>*", r"\textbf{53.1}*", "53.1*"),
        ("`a_b`", "`a_b`", "<code>a_b</code>", r"\texttt{a\_b}", "a_b"),
        ("**`x` y**", "**`x` y**", "<strong><code>x</code> y</strong>", r"\textbf{\texttt{x} y}", "x y"),
        ("<b> & 5%", "&lt;b> &amp; 5%", "&lt;b&gt; &amp; 5%", r"\textless{}b\textgreater{} \& 5\%", "<b> & 5%"),
        ("-1.5 (-.2)", "-1.5 (-.2)", "−1.5 (−.2)", "$-$1.5 ($-$.2)", "-1.5 (-.2)"),
        ("X-STILTs 0-11 p-3", "X-STILTs 0-11 p-3", "X-STILTs 0-11 p-3", "X-STILTs 0-11 p-3", "X-STILTs 0-11 p-3"),
        ("anli_plus _x_", "anli_plus \\_x\\_", "anli_plus _x_", r"anli\_plus \_x\_", "anli_plus _x_"),
        ("# no\\heading", "\\# no\\\\heading", "# no\\heading", r"\# no\textbackslash{}heading", "# no\\heading"),
        ("- no\n+ list", "\\- no\n\\+ list", "- no\n+ list", "- no\n+ list", "- no\n+ list"),
        ("~^{}$", "\\~^{}\\$", "~^{}$", r"\textasciitilde{}\textasciicircum{}\{\}\$", "~^{}$"),
        ("Русский 中文 †", "Русский 中文 †", "Русский 中文 †", "Русский 中文 †", "Русский 中文 †"),
        ("[a](b)", "\\[a](b)", "[a](b)", "[a](b)", "[a](b)"),
    ],
)
def test_a_string_comes_out_right_in_every_form(string, as_markdown, as_html, as_latex, as_text):
    assert (markdown(string), str(html(string)), latex(string), plain(string)) == (
        as_markdown,
        as_html,
        as_latex,
        as_text,
    )


@given(st.text())
@example("**<script>alert(1)</script>**")
@example('`"><img src=x>`')
def test_html_never_holds_what_a_string_says(string):
    page = Page(str(html(string)))
    assert {tag for tag, _ in page.tags} <= {"code", "strong"}
    assert not page.open


@given(st.text())
@example("{**}**{")
@example("`{`")
def test_latex_has_balanced_braces_and_no_raw_signs(string):
    text = latex(string)
    depth = 0
    for brace in re.findall(r"(?<!\\)(?:\\\\)*([{}])", text):
        depth += 1 if brace == "{" else -1
        assert depth >= 0
    assert depth == 0
    assert not re.search(r"(?<!\\)[&%#_~^]", text)


# ---- tables ---------------------------------------------------------------------------------------------------------


def test_a_table_as_markdown():
    assert markdown_table(SCORES).split("\n") == [
        "| task | xnli | udpos_en | what |",
        "| --- | ---: | ---: | --- |",
        "| none | 50.1 | – | no training |",
        "| squad_v2 | **53.1**\\* (+3.0†) | -1.5 | a\\|b &lt;i> |",
    ]


@pytest.mark.parametrize(
    ("cell", "numeric"),
    [("76.6 / 60.8", True), ("[-0.1, 0.2]", True), ("<0.001", True), ("**1.0*** (+2.0†)", True), ("4.1e-05", True),
     ("12 %", True), ("layer 14", False), ("–", False), ("en", False)],
)  # fmt: skip
def test_columns_of_numbers_are_set_to_the_right(cell, numeric):
    lines = [["1", cell], ["2", None]]
    assert numeric_columns(Table("t", "", ["a", "b"], lines)) == [False, numeric]


def test_a_table_as_latex():
    assert latex_table(SCORES, "us").split("\n") == [
        "% Written by us. Needs \\usepackage{booktabs}.",
        r"\begin{table}",
        r"\centering",
        r"\caption{Scores of \texttt{xlm-roberta-large}, \textbf{best} in bold \& 100 \% real.}",
        r"\label{tab:scores}",
        r"\begin{tabular}{lrrl}",
        r"\toprule",
        r"task & xnli & udpos\_en & what \\",
        r"\midrule",
        r"none & 50.1 & – & no training \\",
        r"squad\_v2 & \textbf{53.1}* (+3.0†) & $-$1.5 & a\textbar{}b \textless{}i\textgreater{} \\",
        r"\bottomrule",
        r"\end{tabular}",
        r"\par\smallskip",
        r"\raggedright\footnotesize",
        r"* over fewer languages.\par",
        r"\end{table}",
        "",
    ]


@given(st.lists(st.integers(1, 60), min_size=1, max_size=30))
def test_wide_tables_are_split_and_lose_no_column(lengths):
    header = [f"{number:02}{'x' * length}" for number, length in enumerate(lengths)]
    table = Table("t", "Caption", header, [header], notes=("A note.",))
    text = latex_table(table)
    rows = re.findall(r"\\toprule\n(.*) \\\\", text)
    columns = [row.split(" & ") for row in rows]
    assert [name for own in columns for name in own[1:]] == header[1:]
    assert {own[0] for own in columns} == {header[0]}
    for own in columns:
        places = [header.index(name) for name in own]
        assert len(own) <= 2 or sum(widths(table)[place] for place in places) <= SMALL
    assert text.count("A note.") == 1
    assert len(set(re.findall(r"\\label.*", text))) == len(rows)
    assert (r"\small" in text.replace(r"\smallskip", "")) == (sum(widths(table)) > 80)


def test_long_texts_are_broken():
    assert r"\begin{tabular}{lp{0.4\linewidth}}" in latex_table(Table("t", "", ["a", "b"], [["c", "word " * 20]]))


# ---- the whole report -----------------------------------------------------------------------------------------------


def test_every_form_is_written(report):
    folder = report("one", written_by="run_report.py", date="2020-05-26")
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert files == {"one.svg", "two.svg", "report.md", "report.html", "scores.csv", "latex/scores.tex"}
    with open(folder / "scores.csv", encoding="utf-8", newline="") as file:
        assert list(csv.reader(file)) == [["task", "xnli"], ["none", "50.1234567"], ["squad_v2", ""]]
    text = (folder / "report.md").read_text("utf-8")
    assert text.startswith("# A &lt;title> &amp; more\n\n## Overview\n\nSome \\*words\\* on `code`.\n\nScores of ")
    assert "![First plot.](one.svg)\n\nFirst plot. With more to say. ([data](scores.csv))\n" in text
    assert "\n### Overview\n\n-1.5 is less.\n\n1\\. is no list\n" in text
    assert "([CSV](scores.csv), [LaTeX](latex/scores.tex))" in text
    assert f"Written by run_report.py on 2020-05-26. {MISSING} stands in a cell without a value." in text


def test_what_is_shown_is_the_csv_where_there_is_nothing_else(report):
    table = Table("plain", "", ["a", "`b`"], [["**1**", None], ["2*", ""]])
    with open(report("one", [Section("S", [table])]) / "plain.csv", encoding="utf-8", newline="") as file:
        assert list(csv.reader(file)) == [["a", "b"], ["1", ""], ["2*", ""]]


def test_the_same_input_makes_the_same_bytes(report):
    one, two = report("one"), report("two")
    for path in filter(lambda path: path.is_file(), one.rglob("*")):
        assert path.read_bytes() == (two / path.relative_to(one)).read_bytes(), path.name


def test_the_page_stands_alone(report):
    text = (report("one") / "report.html").read_text("utf-8")
    page = Page(text)
    assert not page.open
    assert not {"script", "link", "img", "iframe"} & {tag for tag, _ in page.tags}
    addresses = [own[name] for _, own in page.tags for name in ("href", "src", "xlink:href") if name in own]
    assert {address for address in addresses if not address.startswith("#")} == {
        "scores.csv", "latex/scores.tex", "one.svg", "two.svg",
    }  # fmt: skip
    assert not re.findall(r"url\((?!#)|@import", text)


def test_ids_are_of_one_element_each_and_all_are_there(report):
    page = Page((report("one") / "report.html").read_text("utf-8"))
    assert len(page.ids) == len(set(page.ids))
    values = [value or "" for _, own in page.tags for name, value in own.items() if name != "id"]
    named = [own[name] for _, own in page.tags for name in ("href", "xlink:href") if own.get(name, "").startswith("#")]
    wanted = [name[1:] for name in named] + [name for value in values for name in re.findall(r"url\(#([^)]+)\)", value)]
    wanted += [name for _, own in page.tags for name in own.get("aria-labelledby", "").split()]
    assert set(wanted) <= set(page.ids)
    assert {"overview", "overview-2", "plots", "figure-one-title", "figure-two-title", "table-scores"} <= set(wanted)
    assert any("-p" in name and name.startswith("figure-two-") for name in wanted), "clip paths are prefixed"


def test_a_plot_styles_itself_only(report):
    text = (report("one") / "report.html").read_text("utf-8")
    assert sorted(re.findall(r"([^\n>}]*)\*\s?\{\s?stroke", text)) == ["#figure-one ", "#figure-two "]


def test_the_page_can_be_listened_to(report):
    page = Page((report("one") / "report.html").read_text("utf-8"))
    assert ("html", {"lang": "en"}) in page.tags
    headers = [own["scope"] for tag, own in page.tags if tag == "th"]
    assert headers == ["col"] * 4 + ["row"] * 2
    tables = [own["aria-labelledby"] for tag, own in page.tags if tag == "table"]
    assert tables == ["table-scores"]
    plots = [own for tag, own in page.tags if tag == "svg"]
    assert [own["role"] for own in plots] == ["img", "img"]
    assert {"First plot.", "Second"} <= set(page.text)
    assert [own["href"] for tag, own in page.tags if tag == "a" and own["href"].startswith("#")] == [
        "#content", "#overview", "#plots", "#overview-2",
    ]  # fmt: skip


def test_a_caption_makes_no_link(report):
    folder = report("one", [Section("S", [Figure("one", "See ](javascript:a) and [this](//evil). More.")])])
    text = (folder / "report.md").read_text("utf-8")
    assert "![See \\](javascript:a) and \\[this\\](//evil).](one.svg)\n" in text


def test_missing_values_look_the_same_everywhere(report):
    folder = report("one")
    assert f'<span class="missing">{MISSING}</span>' in (folder / "report.html").read_text("utf-8")
    assert f"| {MISSING} |" in (folder / "report.md").read_text("utf-8")
    assert f"& {MISSING} &" in (folder / "latex" / "scores.tex").read_text("utf-8")


@pytest.mark.parametrize(("columns", "landscape"), [(3, False), (20, True)])
def test_wide_tables_are_printed_on_turned_paper(columns, landscape, report):
    table = Table("t", "", [f"column {i}" for i in range(columns)], [["1.0"] * columns])
    text = (report("one", [Section("S", [table])]) / "report.html").read_text("utf-8")
    assert ("size: A4 landscape;" in text) == landscape


def test_the_first_sentence_is_what_is_read_out():
    assert first_sentence("How far `it` moved: by 0.5. More.") == "How far it moved"
    assert first_sentence("Of 0.5 and more") == "Of 0.5 and more"


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        ([SCORES, SCORES], "two tables are called 'scores'"),
        ([Figure("one", "a"), Figure("one", "b")], "two figures are called 'one'"),
        ([Figure("none", "a")], r"none.svg is missing; the figure 'none' has to be drawn first"),
        ([Figure("broken", "a")], r"broken.svg is not valid SVG \("),
        ([Table("t", "", ["a", "b"], [["1"]])], r"table 't' has 2 columns, but the line \['1'\]"),
    ],
)
def test_what_cannot_be_shown_is_refused(blocks, message, tmp_path):
    draw(tmp_path / "one.svg", "a")
    (tmp_path / "broken.svg").write_text("<svg")
    with pytest.raises(UserError, match=message):
        write_report(tmp_path, "T", [Section("S", blocks)])
    assert not (tmp_path / "report.md").exists()
