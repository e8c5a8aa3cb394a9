"""The pages of a report: a list of sections -> report.md, report.html, and of every table a CSV file and a LaTeX table.

All forms are made of the same strings. These may hold `code` in backticks and **bold**; all other characters, as the stars behind
numbers, are text, and come out as they are written in every form. In CSV files ' stands before a text that a spreadsheet would
run as a formula.
"""

import csv
import re
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from xstilts.base import UserError
from xstilts.inline_svg import inline_svg
from xstilts.marks import first_sentence, html, latex, markdown, plain

MISSING = "–"  # what a cell without a value shows; nothing in CSV, which programs read
FOOT = f"{MISSING} stands in a cell without a value. CSV files have unrounded numbers, and nothing in such cells."

NUMBER = re.compile(r"(?=.*\d)[\d\s.,:;/+−–±×%*†‡()\[\]<>=≤≥-]+(e[+-]?\d+)?")

# Widths are counted in characters. A text width of 16 cm holds about 80, and 95 in \small; an upright A4 page 135 that are hardly
# legible, so that a report with wider tables is printed in landscape.
NORMAL, SMALL, PAPER = 80, 95, 135
CELL = 40  # what a cell takes at most; longer texts are broken


@dataclass(frozen=True)
class Table:
    """A table of a report.

    name        of its files: <name>.csv and latex/<name>.tex
    caption     what it shows, a sentence or two
    header      strings; the first column names the lines
    lines       lists of strings as they are shown; None or "" where there is no value
    csv_header  of the CSV file, which has the same as is shown where these two are None
    csv_rows    lists of unrounded values
    notes       sentences below it
    """

    name: str
    caption: str
    header: list
    lines: list
    csv_header: list | None = None
    csv_rows: list | None = None
    notes: tuple = ()


@dataclass(frozen=True)
class Figure:
    """A plot that lies in the report's folder as <name>.svg; `data` is the name of the CSV file that it is drawn from."""

    name: str
    caption: str
    data: str | None = None


@dataclass(frozen=True)
class Section:
    """A heading of level 2 to 4 and what is below it: paragraphs (strings), Tables and Figures."""

    title: str
    blocks: list
    level: int = 2


def write_report(folder, title, sections, written_by="run_report.py", date=None):
    """Write report.md, report.html, <table>.csv and latex/<table>.tex to `folder`, where the SVG files of the figures lie.

    The same input makes the same bytes: `date` is a string, or None. Raises UserError for two tables or two figures of one name,
    a table whose lines are not as long as its header, and a figure without a file that can be read.
    """
    folder = Path(folder)
    blocks = [block for section in sections for block in section.blocks]
    tables = [block for block in blocks if isinstance(block, Table)]
    _check(tables, [block for block in blocks if isinstance(block, Figure)])
    foot = f"Written by {written_by}{f' on {date}' if date else ''}. {FOOT}"
    page = html_page(folder, title, sections, foot)
    (folder / "latex").mkdir(parents=True, exist_ok=True)
    for table in tables:
        _write_csv(folder / f"{table.name}.csv", *csv_content(table))
        _write(folder / "latex" / f"{table.name}.tex", latex_table(table, written_by))
    _write(folder / "report.md", markdown_page(title, sections, foot))
    _write(folder / "report.html", page)


def _check(tables, figures):
    """Raise UserError for what would overwrite a file, or come out crooked."""
    for kind, names in (("tables", [t.name for t in tables]), ("figures", [f.name for f in figures])):
        if twice := [name for name in names if names.count(name) > 1]:
            raise UserError(f"report: two {kind} are called '{twice[0]}'")
    for table in tables:
        for line in table.lines:
            if len(line) != len(table.header):
                raise UserError(f"report: table '{table.name}' has {len(table.header)} columns, but the line {line}")


def _write(path, text):
    path.write_text(text, encoding="utf-8", newline="\n")


def _write_csv(path, header, rows):
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def csv_content(table):
    """(header, rows) of a table's CSV file."""
    header = table.header if table.csv_header is None else table.csv_header
    shown = [[plain(cell) for cell in line] for line in table.lines]
    return [plain(name) for name in header], shown if table.csv_rows is None else table.csv_rows


# ---- tables -------------------------------------------------------------------------------------------------------------


def cells_of(table):
    """Lines of a table with the sign for missing values."""
    return [[cell if cell not in (None, "") else MISSING for cell in line] for line in table.lines]


def numeric_columns(table):
    """One bool a column: whether it holds numbers only, so that it is set to the right. The first one names the lines."""
    columns = [[plain(cell) for cell in column if cell not in (None, "")] for column in zip(*table.lines, strict=True)]
    numeric = [bool(column) and all(map(NUMBER.fullmatch, column)) for column in columns]
    return [False, *numeric[1:]] if table.lines else [False] * len(table.header)


def widths(table):
    """Characters that each column takes."""
    rows = [table.header, *table.lines]
    return [min(CELL, max(len(plain(cell)) for cell in column)) + 2 for column in zip(*rows, strict=True)]


def markdown_table(table):
    """A table alone, as Markdown."""
    rules = ["---:" if numeric else "---" for numeric in numeric_columns(table)]
    rows = [list(map(markdown, table.header)), rules, *(list(map(markdown, line)) for line in cells_of(table))]
    return "\n".join(f"| {' | '.join(_in_a_cell(cell) for cell in row)} |" for row in rows)


def _in_a_cell(text):
    return " ".join(text.replace("|", "\\|").split("\n"))


def latex_table(table, written_by="run_report.py"):
    r"""A table float with booktabs rules. One wider than 80 characters is set in \small, one wider than 95 is also split: some
    of its columns in each of several floats, the first column in all of them; the notes stand in the last."""
    parts = _parts(widths(table))
    floats = [_float(table, columns, part, len(parts)) for part, columns in enumerate(parts, start=1)]
    return f"% Written by {written_by}. Needs \\usepackage{{booktabs}}.\n" + "\n\n".join(floats) + "\n"


def _parts(sizes):
    """Lists of columns that fit beside each other, the first one in all: as few lists as possible, of nearly one width."""
    fewest = len(_filled(sizes, SMALL))
    return next(parts for limit in range(1, SMALL + 1) if len(parts := _filled(sizes, limit)) == fewest)


def _filled(sizes, limit):
    parts = [[0]]
    for column in range(1, len(sizes)):
        if len(parts[-1]) > 1 and sum(sizes[each] for each in [*parts[-1], column]) > limit:
            parts.append([0])
        parts[-1].append(column)
    return parts


def _float(table, columns, part, parts):
    """A table environment with some of the columns."""
    count, suffix = (f" ({part} of {parts})", f"-{part}") if parts > 1 else ("", "")
    notes = [f"{latex(note)}\\par" for note in table.notes] if part == parts else []
    return "\n".join(
        [
            r"\begin{table}", r"\centering", *([r"\small"] if sum(widths(table)) > NORMAL else []),
            f"\\caption{{{latex(table.caption)}{count}}}", f"\\label{{tab:{table.name}{suffix}}}",
            _tabular(table, columns), *([r"\par\smallskip", r"\raggedright\footnotesize"] if notes else []), *notes,
            r"\end{table}",
        ]
    )  # fmt: skip


def _tabular(table, columns):
    numeric, sizes = numeric_columns(table), widths(table)
    kinds = ["r" if numeric[c] else "p{0.4\\linewidth}" if sizes[c] > CELL else "l" for c in columns]
    header, *lines = (
        " & ".join(latex(row[column]) for column in columns) + r" \\" for row in [table.header, *cells_of(table)]
    )
    return "\n".join(
        [
            f"\\begin{{tabular}}{{{''.join(kinds)}}}",
            r"\toprule",
            header,
            r"\midrule",
            *lines,
            r"\bottomrule",
            r"\end{tabular}",
        ]
    )


# ---- pages --------------------------------------------------------------------------------------------------------------


def markdown_page(title, sections, foot):
    """The report as Markdown; plots and files are linked."""
    blocks = [f"# {markdown(title)}"]
    for section in sections:
        blocks += [f"{'#' * section.level} {markdown(section.title)}", *map(_markdown_block, section.blocks)]
    return "\n\n".join([*blocks, "---", markdown(foot)]) + "\n"


def _markdown_block(block):
    if isinstance(block, Figure):
        data = f" ([data]({block.data}))" if block.data else ""
        alternative = markdown(first_sentence(block.caption)).replace("]", "\\]")
        return f"![{alternative}]({block.name}.svg)\n\n{markdown(block.caption)}{data}"
    if isinstance(block, Table):
        files = f"([CSV]({block.name}.csv), [LaTeX](latex/{block.name}.tex))"
        notes = map(markdown, block.notes)
        return "\n\n".join([f"{markdown(block.caption)} {files}", markdown_table(block), *notes])
    return markdown(block)


def html_page(folder, title, sections, foot):
    """The report as one HTML file: style and plots are in it, and nothing is fetched."""
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined)
    template = environment.from_string(Path(__file__).with_suffix(".html").read_text(encoding="utf-8"))
    landscape = any(sum(widths(b)) > PAPER for s in sections for b in s.blocks if isinstance(b, Table))
    seen, entries = set(), []
    for section in sections:
        blocks = [_html_block(Path(folder), block, landscape) for block in section.blocks]
        entries.append((section, _anchor(section.title, seen), blocks))
    return template.render(title=title, sections=entries, foot=foot, landscape=landscape, html=html, plain=plain) + "\n"


def _anchor(title, seen):
    """A name for a heading that no other has."""
    name = re.sub(r"\W+", "-", plain(title).lower()).strip("-") or "section"
    numbered = [name, *(f"{name}-{number}" for number in range(2, len(seen) + 2))]
    anchor = next(each for each in numbered if each not in seen)
    seen.add(anchor)
    return anchor


def _html_block(folder, block, landscape):
    """What the template has to know of a block."""
    if isinstance(block, Figure):
        return {
            "kind": "figure",
            "figure": block,
            "svg": inline_svg(folder / f"{block.name}.svg", block.name, first_sentence(block.caption)),
        }
    if isinstance(block, Table):
        size = min(
            9, (740 if landscape else 500) / (0.56 * sum(widths(block)))
        )  # points: of A4 without margins, of a character
        own = {"lines": cells_of(block), "numeric": numeric_columns(block), "print_size": f"{size:.1f}"}
        return {"kind": "table", "table": block, "missing": MISSING, **own}
    return {"kind": "text", "text": block}
