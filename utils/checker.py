"""Say what is wrong with a chapter: ``python -m utils.checker [PATH ...]``.

Each problem is one sentence. Exit status: 0 when all is well, 1 when something is wrong with a
notebook, 2 for a wrong order.
"""

from __future__ import annotations

import argparse
import ast
import math
import re
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from utils import notebooks
from utils.notebooks import (
    METADATA,
    anchor_of,
    code_cells,
    find_chapters,
    has_alt,
    headings_of,
    notebook_text,
    parameters_of,
    payloads_of,
    prose_of,
    read_notebook,
    results_of,
    tags_of,
)
from utils.runtime import CourseError

if TYPE_CHECKING:
    from nbformat import NotebookNode

COMMITTED_PARAMETERS = {"DEVICE": "auto", "SEED": 42, "PROFILE": "quick"}
"""What the parameters cells of the committed chapters say."""

TAGS = {"parameters", "nbval-ignore-output", "teaches"}
IGNORED = "nbval-ignore-output"


@dataclass(frozen=True)
class _Page:
    """A notebook under examination."""

    nb: NotebookNode
    name: str
    folder: Path

    @property
    def code(self) -> list[tuple[int, NotebookNode]]:
        return code_cells(self.nb)

    @property
    def markdown(self) -> list[tuple[int, str]]:
        return [(n, c.source) for n, c in enumerate(self.nb.cells, 1) if c.cell_type == "markdown"]

    def calls(self, name: str) -> list[tuple[int, ast.Call]]:
        """The calls of a function or method, with the numbers of their cells."""
        return [
            (number, node)
            for number, cell in self.code
            for node in ast.walk(_tree(cell))
            if isinstance(node, ast.Call) and _called(node) == name
        ]


def check_notebook(notebook: Path | NotebookNode, name: str | None = None) -> list[str]:
    """Return what is wrong with a chapter, one sentence each; cells are counted from 1.

    Args:
        notebook: the chapter, or the path of its file.
        name: the chapter's name, where the path does not tell.
    """
    folder = notebooks.repository_root() / notebooks.CHAPTERS_DIR
    if isinstance(notebook, Path):
        folder, name = notebook.resolve().parent, name or notebook.stem
        try:
            notebook = read_notebook(notebook)
        except CourseError as error:
            return [str(error)]
    page = _Page(notebook, name or (results_of(notebook) or {}).get("chapter", ""), folder)
    return [problem for check in _CHECKS for problem in check(page)]


def _check_format(page: _Page) -> Iterator[str]:
    """Format, metadata and tags."""
    if page.nb.nbformat_minor < 5:
        yield f"The notebook format is 4.{page.nb.nbformat_minor}, and cell ids need 4.5."
    if page.nb.metadata.get("kernelspec", {}).get("name") != "python3":
        yield "The kernel is not python3."
    elif page.nb.metadata != METADATA:
        yield "The notebook's metadata hold more than the kernel and the language: refresh it."
    seen: set[str] = set()
    for number, cell in enumerate(page.nb.cells, 1):
        if not cell.get("id"):
            yield f"Cell {number} has no id."
        elif cell.id in seen:
            yield f"Cell {number} has the id of another cell: {cell.id}."
        seen.add(cell.get("id", ""))
        if cell.cell_type not in ("markdown", "code"):
            yield f"Cell {number} is neither text nor code but {cell.cell_type}."
        if debris := set(cell.metadata) - {"tags"}:
            yield f"Cell {number} has leftover metadata: {', '.join(sorted(debris))}."
        for tag in tags_of(cell):
            if tag == "raises-exception":
                yield f"Cell {number} is tagged raises-exception: show errors with try and except."
            elif tag not in TAGS:
                yield f"Cell {number} has the unknown tag {tag!r}."


def _check_execution(page: _Page) -> Iterator[str]:
    """Every code cell was executed once, in the order of the page, in one fresh kernel."""
    in_order = True
    for expected, (number, cell) in enumerate(page.code, 1):
        count = cell.get("execution_count")
        if not cell.source.strip():
            yield f"Cell {number} is an empty code cell."
        elif count is None:
            yield f"Cell {number} was not executed."
            in_order = False
        elif in_order and count != expected:
            yield f"Cell {number} was executed out of order: it has number {count}, not {expected}."
            in_order = False


_PATH = re.compile(r"(?<![\w.~/-])/(?:home|root|work|tmp|Users|var/folders)/[^\s'\"<]*")
_LEAKS = {
    "an absolute path": _PATH,
    "a path of Windows": re.compile(r"\b[A-Z]:\\{1,2}(?:Users|Temp|Windows)\b"),
    "the address of a package index": re.compile(r"\bpypi\b|pythonhosted|npmjs"),
}
_DEBRIS = {
    "a stored warning": re.compile(r"^\S.*:\d+: \w*Warning: .*", re.MULTILINE),
    "a traceback": re.compile(r"Traceback \(most recent call last\)"),
    "the debris of a progress bar": re.compile(r"\r(?!\n)|\d%\|"),
}
_ADDRESS = re.compile(r"\b0x[0-9a-fA-F]{7,}")


def _check_outputs(page: _Page) -> Iterator[str]:
    """What the outputs must not hold."""
    for number, cell in page.code:
        for output in cell.outputs:
            if output.output_type == "error":
                yield f"Cell {number} stores an error: {output.get('ename')}."
                continue
            if output.get("name") == "stderr":
                first = (output.text.strip().splitlines() or [""])[0]
                yield f"Cell {number} writes to stderr: {first[:80]!r}."
            if "application/vnd.jupyter.widget-view+json" in output.get("data", {}):
                yield f"Cell {number} stores the debris of a progress bar: a widget."
            patterns = _DEBRIS if IGNORED in tags_of(cell) else {**_DEBRIS, "an address": _ADDRESS}
            text = "\n".join(_texts(output))
            for what, pattern in {**_LEAKS, **patterns}.items():
                if match := pattern.search(text):
                    yield f"The output of cell {number} shows {what}: {match.group()[:80]!r}."


def _texts(output: NotebookNode) -> Iterator[str]:
    yield output.get("text", "")
    for mime, content in output.get("data", {}).items():
        if mime.startswith("text/") and isinstance(content, str):
            yield content


def _check_sources(page: _Page) -> Iterator[str]:
    """What neither text nor code may name."""
    for number, cell in enumerate(page.nb.cells, 1):
        for what, pattern in _LEAKS.items():
            if match := pattern.search(cell.source):
                yield f"Cell {number} names {what}: {match.group()[:80]!r}."


_OPENING = {
    "'You will learn'": re.compile(r"\bYou will learn\b"),
    "'You need'": re.compile(r"\bYou need\b"),
    "'Runs in about N seconds on two CPU cores'": re.compile(
        r"\bRuns in\W+about \d+ seconds on two CPU cores"
    ),
}
_CLOSING = ["Results", "Summary", "Exercises", "References"]


def _check_sections(page: _Page) -> Iterator[str]:
    """Title, opening and closing sections."""
    first = page.nb.cells[0].source if page.nb.cells else ""
    if not re.match(rf"# {page.name[:2]} · \S", first):
        yield f"Cell 1 does not start with the title '# {page.name[:2]} · …'."
    opening = "\n".join(text for number, text in page.markdown if number <= 3)
    for what, pattern in _OPENING.items():
        if not pattern.search(opening):
            yield f"The opening does not say {what}."
    headings = [h.text for h in headings_of(page.nb) if h.level == 2]
    for section in _CLOSING:
        if section not in headings:
            yield f"The section '## {section}' is missing."
    closing = [h for h in headings if h in _CLOSING]
    if set(closing) == set(_CLOSING) and headings[-len(_CLOSING) :] != _CLOSING:
        yield f"The chapter does not end with the sections {', '.join(_CLOSING)}."


def _check_headings(page: _Page) -> Iterator[str]:
    """One title, and headings that can be linked to."""
    headings = headings_of(page.nb)
    if (titles := sum(h.level == 1 for h in headings)) > 1:
        yield f"There are {titles} titles (headings with one #) instead of one."
    seen: set[str] = set()
    for heading in headings:
        if heading.text in seen:
            yield f"Cell {heading.cell} repeats the heading {heading.text!r}."
        if re.match(r"\d+[.)]", heading.text):
            yield f"Cell {heading.cell} numbers the heading {heading.text!r}: leave the number out."
        seen.add(heading.text)


def _check_parameters(page: _Page) -> Iterator[str]:
    """The cell that runners set."""
    tagged = [number for number, cell in page.code if "parameters" in tags_of(cell)]
    if len(tagged) != 1 or tagged[0] != page.code[0][0]:
        yield "The first code cell, and no other, must be tagged parameters."
        return
    try:
        values = parameters_of(page.nb)
    except CourseError as error:
        yield str(error)
        return
    if "SEED" not in values:
        yield "The parameters cell has no SEED."
    rest = "\n".join(cell.source for _, cell in page.code[1:])
    for name, value in values.items():
        expected = COMMITTED_PARAMETERS.get(name, value)
        if value != expected:
            yield f"The committed {name} is {value!r} instead of {expected!r}."
        if not re.search(rf"\b{name}\b", rest):
            yield f"The parameter {name} is never used."


def _check_results(page: _Page) -> Iterator[str]:
    """The scoreboard is the chapter's own, was shown, and kept its bars."""
    boards = page.calls("Scoreboard")
    if len(boards) != 1:
        yield f"The chapter makes {len(boards)} scoreboards instead of one."
    for number, call in boards:
        name = call.args[0].value if call.args and isinstance(call.args[0], ast.Constant) else None
        if name != page.name:
            yield f"Cell {number} makes the scoreboard of {name!r} instead of {page.name!r}."
    finishes = {number for number, _ in page.calls("finish")}
    if len(finishes) != 1:
        yield "One cell must call board.finish(), and only one."
    for number in finishes:
        if IGNORED not in tags_of(page.nb.cells[number - 1]):
            yield f"Cell {number} shows the results and is not tagged {IGNORED}."
    payloads = payloads_of(page.nb)
    if len(payloads) != 1:
        yield f"The outputs hold {len(payloads)} sets of results instead of one."
    for number, payload in payloads:
        yield from _check_payload(page, number, payload)


def _check_payload(page: _Page, number: int, payload: dict[str, Any]) -> Iterator[str]:
    if payload.get("chapter") != page.name:
        yield f"Cell {number} stores the results of chapter {payload.get('chapter')!r}."
    if payload.get("seed") != COMMITTED_PARAMETERS["SEED"]:
        yield f"Cell {number} stores results with the seed {payload.get('seed')} instead of 42."
    results = payload["results"]
    if missed := [r.get("metric") for r in results if not r.get("passed")]:
        yield f"Cell {number} stores missed bars: {', '.join(map(str, missed))}."
    if sum(bool(r.get("headline")) for r in results) != 1:
        yield f"Cell {number} does not store exactly one headline result."
    shown = "\n".join(t for o in page.nb.cells[number - 1].outputs for t in _texts(o))
    if "Verified on " not in shown:
        yield f"Cell {number} does not show the line 'Verified on …'."


def _check_size(page: _Page) -> Iterator[str]:
    """A chapter can be read in one sitting, and its cells at one glance."""
    if len(page.nb.cells) > 60:
        yield f"There are {len(page.nb.cells)} cells, more than 60."
    lines = {n: sum(bool(s.strip()) for s in cell.source.splitlines()) for n, cell in page.code}
    for number, count in lines.items():
        if count > 25:
            yield f"Cell {number} has {count} lines of code, more than 25."
    if lines:
        median, p90 = statistics.median(lines.values()), _percentile(list(lines.values()), 0.9)
        if median > 6:
            yield f"Half of the code cells have {median:g} lines or more; the median may be 6 at most."
        if p90 > 15:
            yield f"A tenth of the code cells have {p90} lines or more; 15 are the limit."
    words = sum(len(re.findall(r"\b\w[\w'’-]*", _without_links(t))) for _, t in page.markdown)
    if not 1000 <= words <= 2600:
        yield f"The chapter has {words} words of text, not 1,000 to 2,600."
    size = len(notebook_text(page.nb).encode()) / 1000
    if size > 400:
        yield f"The file has {size:.0f} kB, more than 400."


def _percentile(values: list[int], share: float) -> int:
    return sorted(values)[math.ceil(share * len(values)) - 1]


def _without_links(markdown: str) -> str:
    return re.sub(r"\]\([^)]*\)|https?://\S+", "", prose_of(markdown))


def _check_figures(page: _Page) -> Iterator[str]:
    """Pictures are described in words."""
    for number, call in page.calls("show"):
        if ast.unparse(call.func) in ("plt.show", "matplotlib.pyplot.show", "pyplot.show"):
            yield f"Cell {number} calls plt.show(): use utils.plots.show, which needs a description."
    for number, cell in page.code:
        for output in cell.outputs:
            for mime in output.get("data", {}):
                if mime == "image/svg+xml":
                    yield f"Cell {number} shows an SVG picture, which differs from run to run."
                elif mime.startswith("image/") and not _described(output, mime):
                    yield f"Cell {number} shows a picture without a description (alt text)."
    for number, text in page.markdown:
        for alt, target in re.findall(r"!\[([^\]]*)\]\(([^)\s]+)\)", prose_of(text)):
            if not alt.strip():
                yield f"Cell {number} shows the picture {target} without a description (alt text)."


def _described(output: NotebookNode, mime: str) -> bool:
    metadata = output.get("metadata", {}).get(mime, {})
    return has_alt(metadata) and bool(metadata["alt"].strip())


def _check_assertions(page: _Page) -> Iterator[str]:
    """Figures that no test compares are held by an assertion nearby, and assertions can fail."""
    cells = page.code
    finishes = {number for number, _ in page.calls("finish")}
    for position, (number, cell) in enumerate(cells):
        for node in ast.walk(_tree(cell)):
            if isinstance(node, ast.Assert) and isinstance(node.test, ast.Constant | ast.Tuple):
                yield f"Cell {number} holds an assertion that cannot fail: {ast.unparse(node)!r}."
        if IGNORED not in tags_of(cell) or number in finishes or _asserts(cell):
            continue
        following = [c for _, c in cells[position + 1 : position + 3]]
        before_the_next = [
            c
            for i, c in enumerate(following)
            if not any(IGNORED in tags_of(earlier) for earlier in following[: i + 1])
        ]
        if not any(map(_asserts, before_the_next)):
            yield f"Cell {number} is tagged {IGNORED}, and no assertion follows in the next two."


def _asserts(cell: NotebookNode) -> bool:
    return any(
        isinstance(node, ast.Assert)
        or (isinstance(node, ast.Call) and _called(node).startswith("assert_"))
        for node in ast.walk(_tree(cell))
    )


def _called(call: ast.Call) -> str:
    """The last part of the called name: ``finish`` for ``board.finish()``."""
    if isinstance(call.func, ast.Attribute):
        return call.func.attr
    return call.func.id if isinstance(call.func, ast.Name) else ""


def _tree(cell: NotebookNode) -> ast.Module:
    """The code of a cell without IPython's own commands; empty when it is not Python."""
    try:
        return ast.parse(re.sub(r"^\s*[%!].*$", "", cell.source, flags=re.MULTILINE))
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # a null byte, too many brackets
        return ast.Module(body=[], type_ignores=[])


NOTES_BOX = re.compile(r"^> \*\*From the notes · (E-\d\d(?:, E-\d\d)*)\.\*\*", re.MULTILINE)
"""Start of a box that shows and corrects mistakes of the notes; the group holds their ids."""


def _check_boxes(page: _Page) -> Iterator[str]:
    """Boxes can be found by their ids."""
    for number, text in page.markdown:
        starts = len(re.findall(r"^\W*From the notes\b", text, re.MULTILINE))
        if starts > len(NOTES_BOX.findall(text)):
            yield f"Cell {number} does not start its box like '> **From the notes · E-03.** …'."


def _check_links(page: _Page) -> Iterator[str]:
    """Links within the repository lead somewhere."""
    for number, text in page.markdown:
        for target in re.findall(r"\]\(([^)\s]+)\)", prose_of(text)):
            if not re.match(r"[a-z][a-z0-9+.-]*:", target) and not _leads_somewhere(page, target):
                yield f"Cell {number} has a link that leads nowhere: {target}."


def _leads_somewhere(page: _Page, target: str) -> bool:
    file, _, anchor = unquote(target).partition("#")
    path = page.folder / file
    if file and not path.exists():
        return False
    if not anchor or (file and path.suffix != ".ipynb"):
        return True
    try:
        nb = read_notebook(path) if file else page.nb
    except CourseError:
        return False
    return anchor in {anchor_of(h.text) for h in headings_of(nb)}


_CHECKS: tuple[Callable[[_Page], Iterator[str]], ...] = (
    _check_format,
    _check_execution,
    _check_outputs,
    _check_sources,
    _check_sections,
    _check_headings,
    _check_parameters,
    _check_results,
    _check_size,
    _check_figures,
    _check_assertions,
    _check_boxes,
    _check_links,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Check the notebooks that the command line names and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m utils.checker", description="Say what is wrong with chapters."
    )
    parser.add_argument("paths", nargs="*", type=Path, metavar="PATH", help="default: all chapters")
    options = parser.parse_args(arguments)
    try:
        paths = options.paths or find_chapters()
        found = {path: check_notebook(path) for path in paths}
    except CourseError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for path, problems in found.items():
        for problem in problems:
            print(problem if problem.startswith(path.name) else f"{path.name}: {problem}")
    right = sum(not problems for problems in found.values())
    print(f"{right} of {len(found)} notebooks are in order.")
    return 0 if right == len(found) else 1


if __name__ == "__main__":
    sys.exit(main())
