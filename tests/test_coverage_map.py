"""``docs/coverage.md`` leads from every topic and every mistake of the notes to its section.

A row reads ``| N0-02 | topic | [01 · Creating tensors](../notebooks/01_tensors.ipynb#Creating-tensors) |``
with one or more links.
"""

import re
from collections import Counter
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

import pytest
from nbformat import v4

from utils.checker import NOTES_BOX
from utils.notebooks import (
    anchor_of,
    headings_of,
    read_notebook,
    unfenced,
    write_notebook,
)
from utils.runtime import CourseError

ROOT = Path(__file__).resolve().parents[1]
COVERAGE = ROOT / "docs" / "coverage.md"
NOTES = {"N0": 83, "N1": 71, "N2": 29, "N3": 41, "N4": 29}
TOPICS = [f"{note}-{i:02}" for note, rows in NOTES.items() for i in range(1, rows + 1)]
ERRATA = [f"E-{i:02}" for i in range(1, 92)]


class Row(NamedTuple):
    """One line of the two tables."""

    id: str
    topic: str
    where: str


def rows_of(markdown):
    """The rows that map an id; head and rule of the tables are left out."""
    rows = []
    for line in markdown.splitlines():
        cells = [c.strip() for c in re.split(r"(?<!\\)\|", line.strip().strip("|"))]
        if line.startswith("|") and re.match(r"[NE]\d?-", cells[0]):
            rows.append(Row(*[*cells, "", ""][:3]))
    return rows


class Section(NamedTuple):
    """What stands between a heading and the next one of its level or above."""

    anchor: str
    mistakes: set[str]
    """The ids of its boxes."""


def sections_of(nb):
    """The sections of a notebook; an upper one includes those below it."""
    page = unfenced("\n".join(c.source for c in nb.cells if c.cell_type == "markdown"))
    headings = headings_of(nb)
    texts = re.split(r"^#{1,6} +.+$", page, flags=re.MULTILINE)[1:]
    assert len(texts) == len(headings)
    for i, heading in enumerate(headings):
        ends = [j for j, later in enumerate(headings) if j > i and later.level <= heading.level]
        text = "\n".join(texts[i : ends[0] if ends else None])
        yield Section(anchor_of(heading.text), boxes_in(text))


def boxes_in(text):
    """The ids in the boxes of a text."""
    return {i for ids in NOTES_BOX.findall(text) for i in ids.split(", ")}


LINK = re.compile(r"\[([^\]]+)\]\(\.\./notebooks/(\w+)\.ipynb#([^)\s]+)\)")


def problems_of(rows, folder, ids):
    """What is wrong with a map: one sentence each."""
    count = Counter(row.id for row in rows)
    for i in sorted({*ids, *count}):
        if i not in ids:
            yield f"{i} is no id of the notes."
        elif count[i] != 1:
            yield f"{i} has {count[i]} rows instead of one."
    chapters = {path.stem: read_notebook(path) for path in folder.glob("[0-9][0-9]_*.ipynb")}
    boxes = {name: {s.anchor: s.mistakes for s in sections_of(nb)} for name, nb in chapters.items()}
    for row in rows:
        if not row.topic:
            yield f"{row.id} has no topic."
        yield from _problems_of_row(row, boxes)
    yield from _unmapped_boxes(rows, boxes)


def _problems_of_row(row, boxes):
    links = LINK.findall(row.where)
    if not links or re.sub(LINK, "", row.where).replace(", ", "").strip():
        yield f"{row.id} has no links, or more than links: {row.where!r}."
    for label, name, quoted in links:
        anchor = unquote(quoted)
        if name not in boxes:
            yield f"{row.id} links to the chapter {name}, which does not exist."
        elif anchor not in boxes[name]:
            yield f"{row.id} links to {name}#{anchor}, which does not exist."
        elif row.id.startswith("E") and row.id not in boxes[name][anchor]:
            yield f"{row.id} links to {name}#{anchor}, where no box names it."
        if anchor_of(label) != f"{name[:2]}-·-{anchor}":
            yield f"{row.id} calls {name}#{anchor} {label!r}."


def _unmapped_boxes(rows, boxes):
    linked = {(row.id, name) for row in rows for _, name, _ in LINK.findall(row.where)}
    for name, sections in boxes.items():
        for mistake in sorted(set().union(*sections.values())):
            if (mistake, name) not in linked:
                yield f"{name} has a box on {mistake}, but the row of {mistake} does not link there."


def test_the_map_is_complete_and_leads_to_the_sections():
    assert len(TOPICS) == 253
    assert COVERAGE.exists(), "docs/coverage.md is missing"
    rows = rows_of(COVERAGE.read_text(encoding="utf-8"))
    problems = list(problems_of(rows, ROOT / "notebooks", [*TOPICS, *ERRATA]))
    assert not problems, "\n".join(problems)


# --- the test above can fail ----------------------------------------------------------------------

GOOD = r"""# Coverage

| id | topic | where |
|---|---|---|
| N0-01 | Shape of `a \| b` | [01 · Creating tensors](../notebooks/01_tensors.ipynb#Creating-tensors), [01 · Sums](../notebooks/01_tensors.ipynb#Sums) |
| N0-02 | Later | [01 · Products](../notebooks/01_tensors.ipynb#Products) |

| id | mistake | where |
|---|---|---|
| E-03 | Cross | [01 · Sums](../notebooks/01_tensors.ipynb#Sums) |
| E-04 | Outer | [01 · Products](../notebooks/01_tensors.ipynb#Products) |
"""
TEXT = """## Creating tensors

## Sums

### Products

```
## Not a heading
```

> **From the notes · E-03, E-04.** The notes say.

## Summary
"""


@pytest.fixture
def small_course(tmp_path):
    nb = v4.new_notebook(cells=[v4.new_markdown_cell("# 01 · Tensors"), v4.new_markdown_cell(TEXT)])
    write_notebook(nb, tmp_path / "01_tensors.ipynb")
    return tmp_path


def small_problems(markdown, folder):
    return list(problems_of(rows_of(markdown), folder, ["N0-01", "N0-02", "E-03", "E-04"]))


def test_a_good_map_is_accepted(small_course):
    assert small_problems(GOOD, small_course) == []
    assert rows_of(GOOD)[0].topic == r"Shape of `a \| b`"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("| N0-02 |", "| N0-03 |", "N0-02 has 0 rows|N0-03 is no id"),
        ("| N0-02 |", "| N0-2 |", "N0-02 has 0 rows|N0-2 is no id"),
        ("| N0-02 |", "| N0-01 |", "N0-01 has 2 rows|N0-02 has 0 rows"),
        ("| Later |", "| |", "N0-02 has no topic"),
        (
            "Later | [01 · Products](../notebooks/01_tensors.ipynb#Products)",
            "Later | planned",
            "N0-02 has no links",
        ),
        (
            "Later | [01 · Products](../notebooks/01_tensors.ipynb#Products)",
            "Later | ",
            "N0-02 has no links",
        ),
        (", [01", " and [01", "more than links"),
        ("../notebooks/01", "notebooks/01", "more than links|does not link there"),
        ("01_tensors.ipynb#C", "03_data.ipynb#C", "chapter 03_data, which does not exist|calls"),
        ("#Creating-tensors", "#Creating", "01_tensors#Creating, which does not exist|calls"),
        ("#Creating-tensors", "#Not-a-heading", "#Not-a-heading, which does not exist|calls"),
        ("[01 · Creating", "[01 · Making", "calls 01_tensors#Creating-tensors '01 · Making"),
        ("[01 · Creating", "[02 · Creating", "calls 01_tensors#Creating-tensors '02 · Crea"),
        (
            "Outer | [01 · Products](../notebooks/01_tensors.ipynb#Products)",
            "Outer | [01 · Summary](../notebooks/01_tensors.ipynb#Summary)",
            "E-04 links to 01_tensors#Summary, where no box names it",
        ),
        (
            "| E-04 |",
            "| E-05 |",
            "E-04 has 0 rows|E-05 is no id|E-05 links|but the row of E-04 does not link there",
        ),
    ],
)
def test_a_bad_map_is_rejected_for_its_defect_alone(old, new, expected, small_course):
    assert old in GOOD
    problems = small_problems(GOOD.replace(old, new, 1), small_course)
    assert problems
    assert [p for p in problems if not re.search(expected, p)] == []


def test_an_unmapped_box_and_an_empty_map_are_noticed(small_course):
    assert any("has a box on E-04" in p for p in small_problems("", small_course))
    assert len(small_problems("", small_course)) == 6


def test_a_broken_chapter_is_named(small_course):
    (small_course / "02_autograd.ipynb").write_text("{")
    with pytest.raises(CourseError, match="02_autograd"):
        small_problems(GOOD, small_course)
