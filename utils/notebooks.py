"""Find, read, check, normalise and refresh the chapters.

``python -m utils.notebooks check`` reads the committed notebooks and says, a sentence each, what is
wrong with them. ``python -m utils.notebooks refresh`` executes them from a fresh kernel and stores
what comes out, so that the pages show what the code does. Exit status: 0 when all is well, 1 when
something is wrong with a notebook, 2 for a wrong order.
"""

from __future__ import annotations

import argparse
import ast
import copy
import hashlib
import json
import math
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote

from utils.runtime import CourseError, write_atomically
from utils.scoreboard import RESULTS_MIME

if TYPE_CHECKING:
    from nbformat import NotebookNode

CHAPTERS_DIR = "notebooks"
"""Folder of the chapters below :func:`repository_root`."""

COMMITTED_PARAMETERS = {"DEVICE": "auto", "SEED": 42, "PROFILE": "quick"}
"""What the parameters cells of the committed chapters say."""

TAGS = {"parameters", "nbval-ignore-output", "teaches"}
IGNORED = "nbval-ignore-output"
CELL_TIMEOUT = 300
METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}

# --- finding, reading and writing -----------------------------------------------------------------


def repository_root() -> Path:
    """Return the folder that holds ``utils/`` and ``notebooks/``."""
    return Path(__file__).resolve().parents[1]


def find_chapters(selection: Sequence[str] | None = None, folder: Path | None = None) -> list[Path]:
    """Return the chapters in their order.

    Args:
        selection: numbers or names, each string holding one or several (``"1"``, ``"01 12"``,
            ``"01_tensors,03_data"``); all chapters when it is left out or empty.
        folder: where to look; the repository's ``notebooks/`` when left out.

    Raises:
        CourseError: a chapter does not exist, or there is none at all.
    """
    folder = folder or repository_root() / CHAPTERS_DIR
    chapters = sorted(folder.glob("[0-9][0-9]_*.ipynb"))
    if not chapters:
        raise CourseError(f"There are no chapters in {folder}: is this the course's repository?")
    wanted = [word for words in selection or () for word in re.split(r"[\s,]+", words) if word]
    chosen = set()
    for word in wanted:
        name = Path(word).name.removesuffix(".ipynb")
        found = [c for c in chapters if name == c.stem or name.zfill(2) == c.stem[:2]]
        if not found:
            raise CourseError(
                f"There is no chapter {word!r}: choose among {', '.join(c.stem for c in chapters)}."
            )
        chosen.update(found)
    return [c for c in chapters if c in chosen] if wanted else chapters


def read_notebook(path: Path) -> NotebookNode:
    """Read a notebook just as it is stored; nothing is repaired on the way.

    Raises:
        CourseError: there is no such file, or it is not a notebook.
    """
    from nbformat import v4

    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CourseError(f"{path.name} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise CourseError(f"{path.name} is not a text file in UTF-8.") from None
    except json.JSONDecodeError as error:
        raise CourseError(
            f"{path.name} is not JSON (line {error.lineno} of the file: {error.msg})."
        ) from None
    if flaw := _flaw_of(content):
        raise CourseError(f"{path.name} is JSON, but not a notebook in format 4: {flaw}.")
    return v4.to_notebook(content)


def _flaw_of(content: Any) -> str | None:
    """Where the stored form breaks the format; ids that are missing are left to the checks."""
    from nbformat.validator import iter_validate

    if not isinstance(content, dict) or content.get("nbformat") != 4:
        return "it does not say 'nbformat: 4'"
    if not isinstance(content.get("nbformat_minor"), int):
        return "'nbformat_minor' is not a number"
    complete = {**content, "nbformat_minor": 5}
    if isinstance(content.get("cells"), list):
        complete["cells"] = [
            {"id": "missing", **cell} if isinstance(cell, dict) else cell
            for cell in content["cells"]
        ]
    try:
        errors = list(iter_validate(complete, version=4, version_minor=5))
    except TypeError:  # nbformat trips over it
        return "the type of a cell is not a word"
    return errors[0].message.splitlines()[0][:100].rstrip(".") if errors else None


def notebook_text(nb: NotebookNode) -> str:
    """Return a notebook as it is stored: keys in order, one line a line, a newline at the end."""
    from nbformat import v4

    return v4.writes(nb).rstrip("\n") + "\n"


def write_notebook(nb: NotebookNode, path: Path) -> None:
    """Write a notebook whole or not at all.

    Raises:
        OSError: the folder cannot be written; the old file is then untouched.
    """
    write_atomically(notebook_text(nb), path)


# --- what a notebook says -------------------------------------------------------------------------


class Heading(NamedTuple):
    """One heading and where it stands."""

    level: int
    text: str
    cell: int
    """Number of the cell, from 1."""


def headings_of(nb: NotebookNode) -> list[Heading]:
    """Return the headings in the order of the page, without their markup."""
    found = []
    for number, cell in enumerate(nb.cells, 1):
        if cell.cell_type != "markdown":
            continue
        for marks, text in re.findall(
            r"^(#{1,6}) +(.+?)[ #]*$", unfenced(cell.source), re.MULTILINE
        ):
            found.append(Heading(len(marks), re.sub(r"[`*]", "", text), number))
    return found


def anchor_of(heading: str) -> str:
    """Return the anchor that Jupyter gives a heading."""
    return heading.strip().replace(" ", "-")


def parameters_of(nb: NotebookNode) -> dict[str, object]:
    """Return what the cell tagged ``parameters`` assigns; nothing when there is no such cell.

    Raises:
        CourseError: the cell does more than to give names literal values.
    """
    values: dict[str, object] = {}
    for number, cell in _code_cells(nb):
        if "parameters" not in _tags(cell):
            continue
        try:
            for statement in ast.parse(cell.source).body:
                if not isinstance(statement, ast.Assign):
                    raise ValueError
                for target in statement.targets:
                    values[ast.unparse(target)] = ast.literal_eval(statement.value)
        except (SyntaxError, ValueError):
            raise CourseError(
                f"Cell {number} holds the parameters and may only say NAME = value."
            ) from None
    return values


def results_of(nb: NotebookNode) -> dict[str, Any] | None:
    """Return what the scoreboard handed over when the notebook ran, or None."""
    found = [payload for _, payload in _payloads(nb)]
    return found[-1] if found else None


def _payloads(nb: NotebookNode) -> list[tuple[int, dict[str, Any]]]:
    return [
        (number, json.loads(json.dumps(output["data"][RESULTS_MIME])))
        for number, cell in _code_cells(nb)
        for output in cell.outputs
        if _is_payload(output.get("data", {}).get(RESULTS_MIME))
    ]


def _is_payload(content: Any) -> bool:
    return (
        isinstance(content, dict)
        and isinstance(content.get("metrics"), dict)
        and all(isinstance(value, int | float) for value in content["metrics"].values())
        and isinstance(content.get("results"), list)
        and all(isinstance(result, dict) for result in content["results"])
    )


def _code_cells(nb: NotebookNode) -> list[tuple[int, NotebookNode]]:
    return [(n, cell) for n, cell in enumerate(nb.cells, 1) if cell.cell_type == "code"]


def _tags(cell: NotebookNode) -> list[str]:
    tags = cell.metadata.get("tags", [])
    return tags if isinstance(tags, list) else []


def unfenced(markdown: str) -> str:
    """Return markdown without its blocks of code."""
    return re.sub(r"^```.*?^```[^\S\n]*$", "", markdown, flags=re.MULTILINE | re.DOTALL)


def _prose(markdown: str) -> str:
    """Markdown without code and formulas."""
    text = re.sub(r"\$\$.+?\$\$", "", unfenced(markdown), flags=re.DOTALL)
    return re.sub(r"(`+).+?\1|\$[^$\n]+\$", "", text)


# --- normalising ----------------------------------------------------------------------------------


def normalise(nb: NotebookNode) -> NotebookNode:
    """Return a copy without anything that differs from run to run for no reason.

    Kept are sources, tags, outputs and descriptions of pictures. Metadata are cut to the kernel and
    the language, pieces of one stream are joined, and cell ids are made valid and unique.
    """
    from nbformat import from_dict

    nb = copy.deepcopy(nb)
    nb.nbformat, nb.nbformat_minor = 4, 5
    nb.metadata = from_dict(METADATA)
    taken: set[str] = set()
    for number, cell in enumerate(nb.cells):
        tags = list(dict.fromkeys(_tags(cell)))
        cell.metadata = from_dict({"tags": tags} if tags else {})
        cell.source = cell.source.strip("\n")
        cell.id = _fresh_id(cell, number, taken)
        taken.add(cell.id)
        if cell.cell_type == "code":
            cell.outputs = _normalised_outputs(cell)
    return nb


_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")


def _fresh_id(cell: NotebookNode, number: int, taken: set[str]) -> str:
    """The cell's own id when it will do, or one made from its place and its text."""
    name = cell.get("id")
    while not isinstance(name, str) or not _ID.fullmatch(name) or name in taken:
        number += 1
        name = hashlib.sha256(f"{number} {cell.source}".encode()).hexdigest()[:8]
    return name


def _normalised_outputs(cell: NotebookNode) -> list[NotebookNode]:
    outputs: list[NotebookNode] = []
    for output in cell.outputs:
        output.pop("transient", None)
        if "metadata" in output:
            kept = {m: {"alt": v["alt"]} for m, v in output.metadata.items() if _has_alt(v)}
            output.metadata = type(output)(kept)
        if output.output_type == "execute_result":
            output.execution_count = cell.get("execution_count")
        last = outputs[-1] if outputs else {}
        if output.output_type == "stream" and last.get("name") == output.name:
            last["text"] += output.text
        else:
            outputs.append(output)
    return outputs


def _has_alt(metadata: Any) -> bool:
    return isinstance(metadata, dict) and isinstance(metadata.get("alt"), str)


# --- checking -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Page:
    """A notebook under examination."""

    nb: NotebookNode
    name: str
    folder: Path

    @property
    def code(self) -> list[tuple[int, NotebookNode]]:
        return _code_cells(self.nb)

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
    folder = repository_root() / CHAPTERS_DIR
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
        for tag in _tags(cell):
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
                yield f"Cell {number} writes to stderr: {output.text.strip().splitlines()[0][:80]!r}."
            if "application/vnd.jupyter.widget-view+json" in output.get("data", {}):
                yield f"Cell {number} stores the debris of a progress bar: a widget."
            patterns = _DEBRIS if IGNORED in _tags(cell) else {**_DEBRIS, "an address": _ADDRESS}
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
    tagged = [number for number, cell in page.code if "parameters" in _tags(cell)]
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
        if IGNORED not in _tags(page.nb.cells[number - 1]):
            yield f"Cell {number} shows the results and is not tagged {IGNORED}."
    payloads = _payloads(page.nb)
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
    return re.sub(r"\]\([^)]*\)|https?://\S+", "", _prose(markdown))


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
        for alt, target in re.findall(r"!\[([^\]]*)\]\(([^)\s]+)\)", _prose(text)):
            if not alt.strip():
                yield f"Cell {number} shows the picture {target} without a description (alt text)."


def _described(output: NotebookNode, mime: str) -> bool:
    metadata = output.get("metadata", {}).get(mime, {})
    return _has_alt(metadata) and bool(metadata["alt"].strip())


def _check_assertions(page: _Page) -> Iterator[str]:
    """Figures that no test compares are held by an assertion nearby, and assertions can fail."""
    cells = page.code
    finishes = {number for number, _ in page.calls("finish")}
    for position, (number, cell) in enumerate(cells):
        for node in ast.walk(_tree(cell)):
            if isinstance(node, ast.Assert) and isinstance(node.test, ast.Constant | ast.Tuple):
                yield f"Cell {number} holds an assertion that cannot fail: {ast.unparse(node)!r}."
        if IGNORED not in _tags(cell) or number in finishes or _asserts(cell):
            continue
        following = [c for _, c in cells[position + 1 : position + 3]]
        before_the_next = [
            c
            for i, c in enumerate(following)
            if not any(IGNORED in _tags(earlier) for earlier in following[: i + 1])
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
    except SyntaxError:
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
        for target in re.findall(r"\]\(([^)\s]+)\)", _prose(text)):
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

# --- refreshing -----------------------------------------------------------------------------------


class ChapterFailed(CourseError):
    """A chapter could not be executed to its end."""

    def __init__(self, sentence: str, cell: int, details: str = "") -> None:
        super().__init__(sentence)
        self.cell = cell
        self.details = details


def execute(nb: NotebookNode, folder: Path, timeout: int = CELL_TIMEOUT) -> dict[int, float]:
    """Execute a notebook in place, in a fresh kernel of this very environment.

    Args:
        nb: the notebook; its old outputs are dropped.
        folder: working folder of the kernel.
        timeout: seconds that one cell may take.

    Returns:
        The seconds of each code cell by its number, from 1.

    Raises:
        ChapterFailed: a cell raises, takes too long, or the kernel dies or does not start.
    """
    started: dict[int, float] = {}
    seconds: dict[int, float] = {}

    def starts(cell: NotebookNode, cell_index: int, **_: Any) -> None:
        started[cell_index + 1] = time.perf_counter()

    def ends(cell: NotebookNode, cell_index: int, **_: Any) -> None:
        seconds[cell_index + 1] = time.perf_counter() - started[cell_index + 1]

    for _, cell in _code_cells(nb):
        cell.outputs, cell.execution_count = [], None
    client = _client(nb, folder, timeout, on_cell_start=starts, on_cell_executed=ends)
    try:
        # what the kernel's own machinery prints when it is ended is of no use to anybody
        client.execute(env=_kernel_environment(), stderr=subprocess.DEVNULL)
    except Exception as error:
        if hasattr(client, "_async_cleanup_kernel_future"):  # set when a signal ended the kernel
            raise KeyboardInterrupt from None
        raise _failure(error, max(started, default=0), timeout) from None
    return seconds


def _failure(error: Exception, number: int, timeout: int) -> Exception:
    """Say in one sentence why the execution ended in a cell (0: before the first)."""
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    if isinstance(error, CellExecutionError):
        line = (str(error.evalue).strip().splitlines() or [""])[0]
        return ChapterFailed(f"Cell {number} raises {error.ename}: {line}", number, error.traceback)
    if isinstance(error, CellTimeoutError):
        return ChapterFailed(f"Cell {number} ran longer than {timeout} s.", number)
    if isinstance(error, DeadKernelError) and number:
        sentence = f"The kernel died in cell {number}; most often the memory was too small."
        return ChapterFailed(sentence, number)
    if isinstance(error, RuntimeError) and not number:
        return ChapterFailed(f"The kernel did not start: {str(error).splitlines()[0]}", 0)
    return error


def _client(nb: NotebookNode, folder: Path, timeout: int, **hooks: Any) -> Any:
    """A client whose kernel is this environment's, whatever kernels are installed elsewhere."""
    from jupyter_client.kernelspec import KernelSpecManager
    from nbclient import NotebookClient

    client = NotebookClient(
        nb,
        kernel_name="python3",
        timeout=timeout,
        startup_timeout=120,
        record_timing=False,
        store_widget_state=False,
        resources={"metadata": {"path": str(folder)}},
        **hooks,
    )
    manager = client.create_kernel_manager()
    # without folders to look in, the manager makes the kernel of sys.executable
    manager.kernel_spec_manager = KernelSpecManager(kernel_dirs=[])
    return client


def _kernel_environment() -> dict[str, str]:
    """Nobody watches, the scoreboard can tell a foreign kernel, and one thread counts alike."""
    return {
        "OMP_NUM_THREADS": "1",
        **os.environ,
        "COURSE_HEADLESS": "1",
        "COURSE_PREFIX": sys.prefix,
    }


def refresh(
    paths: Sequence[Path], timeout: int = CELL_TIMEOUT, say: Callable[[str], object] = print
) -> list[str]:
    """Execute chapters and store what comes out; a chapter that fails stays as it is.

    Args:
        paths: the notebooks.
        timeout: seconds that one cell may take.
        say: called with a line for each refreshed chapter: its seconds and its changed metrics.

    Returns:
        What went wrong, one sentence a chapter.
    """
    failures = []
    for path in paths:
        started = time.perf_counter()
        try:
            old = read_notebook(path)
            new = copy.deepcopy(old)
            execute(new, path.resolve().parent, timeout)
            write_notebook(normalise(new), path)
        except (CourseError, OSError) as error:
            text = (
                f"it cannot be written: {error.strerror}" if isinstance(error, OSError) else error
            )
            failures.append(f"{path.stem} is left as it was: {text}")
        else:
            say(f"{path.stem}: {time.perf_counter() - started:.0f} s; {_changes(old, new)}")
    return failures


def _changes(old: NotebookNode, new: NotebookNode) -> str:
    """The metrics that changed visibly."""
    before, after = [(results_of(nb) or {}).get("metrics", {}) for nb in (old, new)]
    texts = [
        f"{name} {_four_digits(before.get(name))} → {_four_digits(after.get(name))}"
        for name in {**before, **after}
        if _four_digits(before.get(name)) != _four_digits(after.get(name))
    ]
    return ", ".join(texts) or "results as before"


def _four_digits(value: float | None) -> str:
    return "none" if value is None else f"{value:.4g}"


# --- the command line -----------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line asks for and return the exit status."""
    options = _parse(arguments)
    try:
        if options.command == "check":
            return _check_command(options.paths or find_chapters())
        return _refresh_command(find_chapters(options.chapters), options.timeout)
    except CourseError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        print(
            f"error: The package {error.name} is missing: install the requirements.",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:
        print("Interrupted; no notebook is half written.", file=sys.stderr)
        return 130


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m utils.notebooks", description="Check or refresh the chapters."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    check = commands.add_parser("check", help="say what is wrong with notebooks")
    check.add_argument("paths", nargs="*", type=Path, metavar="PATH", help="default: all chapters")
    again = commands.add_parser("refresh", help="execute chapters and store their outputs")
    again.add_argument(
        "--chapters", nargs="+", help='numbers or names, such as "01 12"; default: all'
    )
    again.add_argument(
        "--timeout", type=_seconds, default=CELL_TIMEOUT, help="seconds that a cell may take"
    )
    return parser.parse_args(arguments)


def _seconds(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds")
    return int(text)


def _check_command(paths: Sequence[Path]) -> int:
    wrong = 0
    for path in paths:
        problems = check_notebook(path)
        wrong += bool(problems)
        for problem in problems:
            print(problem if problem.startswith(path.name) else f"{path.name}: {problem}")
    print(f"{len(paths) - wrong} of {len(paths)} notebooks are in order.")
    return 1 if wrong else 0


def _refresh_command(paths: Sequence[Path], timeout: int) -> int:
    failures = refresh(paths, timeout, say=lambda line: print(line, flush=True))
    for failure in failures:
        print(f"error: {failure}", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
