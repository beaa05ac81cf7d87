"""A chapter as a page, and its exercises as another one, with hints and solutions folded away."""

from __future__ import annotations

import ast
import copy
import html
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tools.site.links import Links, page_of, relative
from utils.exercises import SOLUTION, SOLUTION_ONLY, starter_code
from utils.notebooks import find_chapters, read_notebook, repository_root, tags_of
from utils.report import readme_table
from utils.runtime import CourseError
from utils.scoreboard import RESULTS_MIME

if TYPE_CHECKING:
    from nbformat import NotebookNode


@dataclass(frozen=True)
class Chapter:
    """What the site says about a chapter beside its text."""

    path: Path
    nb: NotebookNode
    title: str
    """Without the number."""
    minutes: int
    """To read it."""
    seconds: int
    """To run it."""
    result: str
    """The headline result in words."""

    @property
    def number(self) -> str:
        return self.path.stem[:2]

    @property
    def origin(self) -> str:
        """Path relative to the repository."""
        return f"notebooks/{self.path.name}"

    @property
    def hook(self) -> str:
        """The first sentences, without markup."""
        paragraph = self.nb.cells[0].source.split("\n\n")[1].replace("\n", " ")
        plain = re.sub(r"[*_`]|\[([^\]]+)\]\([^)]*\)", r"\1", paragraph)
        hook = ""
        for sentence in re.split(r"(?<=[.?!]) ", plain):
            hook = f"{hook} {sentence}".strip()
            if len(hook) > 90:
                break
        return hook

    @property
    def needs(self) -> list[str]:
        """Numbers of the chapters that this one builds on."""
        (said,) = re.findall(
            r"\*\*You need\*\*:(.+?)(?:;|\n\n|\*\*|$)", self.nb.cells[0].source, re.DOTALL
        )
        said = re.sub(r"\]\([^)]*\)", "]", said)
        numbers = set(re.findall(r"\b\d\d\b", said))
        for first, last in re.findall(r"\b(\d\d) to (\d\d)\b", said):
            numbers |= {f"{n:02}" for n in range(int(first), int(last) + 1)}
        return sorted(numbers)


def read_chapters() -> list[Chapter]:
    """Read all chapters.

    Raises:
        CourseError: a chapter is not finished.
    """
    paths = find_chapters()
    rows = re.findall(
        r"^\| \[\d\d · (.+?)\]\(.+?\) \| (\d+) min \| (\d+) s \| (.*) \|$",
        readme_table(paths),
        re.MULTILINE,
    )
    return [
        Chapter(path, read_notebook(path), title, int(minutes), int(seconds), result)
        for path, (title, minutes, seconds, result) in zip(paths, rows, strict=True)
    ]


# --- the chapter ----------------------------------------------------------------------------------


def chapter_notebook(chapter: Chapter, links: Links) -> NotebookNode:
    """Return the notebook from which the chapter's page is made."""
    nb = copy.deepcopy(chapter.nb)
    page = page_of(chapter.origin)
    for cell in nb.cells:
        if cell.cell_type == "markdown":
            cell.source = with_identifiers(links.mapped(cell.source, chapter.origin, page))
        else:
            cell.outputs = [_shown(output) for output in cell.outputs]
    exercises = relative(page_of(f"notebooks/exercises/{chapter.path.name}"), page)
    facts = (
        f"{chapter.minutes} minutes to read · runs in {chapter.seconds} s · "
        f"[exercises and solutions]({exercises}) · "
        f"[download the notebook](path:{links.file(chapter.origin, page)})"
    )
    title, rest = nb.cells[0].source.split("\n", 1)
    nb.cells[0].source = f"{title}\n\n{box('facts', facts)}\n{rest}"
    return nb


def with_identifiers(markdown: str) -> str:
    """Return a text in which the identifiers of papers, such as ``arXiv:1412.6980``, are links."""
    markdown = re.sub(
        r"(?<![\[/\w])arXiv:(\d{4}\.\d{4,5}|[a-z-]+/\d{7})",
        r"[arXiv:\1](https://arxiv.org/abs/\1)",
        markdown,
    )
    return re.sub(
        r"(?<![\[/\w])doi:(10\.\d{4,}/[^\s,;]*[^\s,;.])", r"[doi:\1](https://doi.org/\1)", markdown
    )


def box(name: str, markdown: str) -> str:
    """Return a text in a container of its own, which the style sheet knows by its name."""
    return f"```{{container}} {name}\n{markdown}\n```\n"


def _shown(output: NotebookNode) -> NotebookNode:
    """An output without what is meant for programs, and tables without a style of their own."""
    if "data" in output:
        output.data.pop(RESULTS_MIME, None)
        if table := output.data.get("text/html"):
            table = re.sub(r"<style scoped>.*?</style>\s*", "", table, flags=re.DOTALL)
            output.data["text/html"] = table.replace(' border="1"', "")
    return output


# --- the exercises --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Exercise:
    """One exercise: its cells in the notebook of solutions, the heading first."""

    number: str
    title: str
    kind: str
    cells: list[NotebookNode]


_HEADING = re.compile(r"## (\d\d\.\d+) · (.+) \((.+)\)")


def exercises_of(solutions: NotebookNode) -> list[Exercise]:
    """Return the exercises of a notebook of solutions."""
    found: list[Exercise] = []
    for cell in solutions.cells:
        if cell.cell_type == "markdown" and (match := _HEADING.match(cell.source)):
            found.append(Exercise(match[1], match[2], match[3], []))
        if found:
            found[-1].cells.append(cell)
    return found


def read_hints(number: str) -> dict[str, list[str]]:
    """Return the hints of a chapter's exercises by their number.

    They are read from the source of the checks, whose import would load torch.

    Args:
        number: of the chapter, two digits.
    """
    path = repository_root() / "utils" / "checks" / f"ch{number}.py"
    hints = {}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "exercise":
            exercise, *texts = (ast.literal_eval(argument) for argument in node.args)
            hints[exercise] = texts
    return hints


def exercises_notebook(chapter: Chapter, links: Links) -> NotebookNode:
    """Return the notebook from which the page of a chapter's exercises is made.

    Each exercise stands there as learners get it, followed by its hints and its solution, folded.

    Raises:
        CourseError: an exercise has no solution or no hints.
    """
    from nbformat.v4 import new_markdown_cell, new_notebook

    origin = f"notebooks/solutions/{chapter.path.name}"
    handed_out = f"notebooks/exercises/{chapter.path.name}"
    page = page_of(origin)
    solutions = read_notebook(repository_root() / origin)
    for cell in solutions.cells:
        if cell.cell_type == "markdown":
            cell.source = links.mapped(cell.source, origin, page)
        else:
            cell.outputs = [_shown(output) for output in cell.outputs]
    hints = read_hints(chapter.number)
    facts = (
        f"[the chapter]({relative(page_of(chapter.origin), page)}) · "
        f"[download the exercises](path:{links.file(handed_out, page)})"
    )
    opening = (
        f"# {chapter.number} · {chapter.title}: exercises\n\n{box('facts', facts)}\n"
        f"Work in `exercises/{chapter.path.name}` in JupyterLab (`make lab`): there the checks "
        "answer at once, and `hint` helps a little more each time. Solutions are for afterwards."
    )
    cells = [new_markdown_cell(opening)]
    first = solutions.cells.index(exercises_of(solutions)[0].cells[0])
    cells += [copy.deepcopy(c) for c in solutions.cells[:first] if c.cell_type == "code"]
    for exercise in exercises_of(solutions):
        if not hints.get(exercise.number):
            raise CourseError(f"Exercise {exercise.number} has no hints in utils/checks.")
        cells += _exercise_cells(exercise, hints[exercise.number])
    return new_notebook(cells=_with_fresh_ids(cells), metadata=solutions.metadata)


def _exercise_cells(exercise: Exercise, hints: list[str]) -> list[NotebookNode]:
    from nbformat.v4 import new_markdown_cell

    asked, answered = [], []
    for cell in map(copy.deepcopy, exercise.cells):
        if SOLUTION_ONLY in tags_of(cell):
            answered.append(cell)
        elif SOLUTION in tags_of(cell):
            stub = copy.deepcopy(cell)
            stub.source, stub.outputs = starter_code(cell.source), []
            asked.append(stub)
            cell.source = re.sub(r"\n? *# (BEGIN|END) SOLUTION|  # SOLUTION", "", cell.source)
            answered.append(cell)
        else:
            if cell.cell_type == "code" and cell.source.startswith("check("):
                cell.outputs = []  # "solved" would be a lie below the stub
            asked.append(cell)
    if not any(cell.cell_type == "code" for cell in answered):
        raise CourseError(f"Exercise {exercise.number} has no solution.")
    folded = [
        f"<details><summary>Hint {n} of {len(hints)}</summary>\n<p>{html.escape(hint)}</p>\n</details>"
        for n, hint in enumerate(hints, 1)
    ]
    begin = f'<details class="solution"><summary>Solution of {exercise.number}</summary>'
    return [
        *asked,
        new_markdown_cell("\n".join(folded)),
        new_markdown_cell(begin),
        *answered,
        new_markdown_cell("</details>"),
    ]


def _with_fresh_ids(cells: Iterable[NotebookNode]) -> list[NotebookNode]:
    cells = list(cells)
    for number, cell in enumerate(cells):
        cell.id = f"cell-{number}"
    return cells
