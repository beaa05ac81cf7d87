"""Find, read, write and normalise the chapters, and ask them what they say.

:mod:`utils.checker` holds them to their form, :mod:`utils.refresh` executes them.
"""

from __future__ import annotations

import ast
import copy
import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from utils.runtime import CourseError, write_atomically
from utils.scoreboard import RESULTS_MIME

if TYPE_CHECKING:
    from nbformat import NotebookNode

CHAPTERS_DIR = "notebooks"
"""Folder of the chapters below :func:`repository_root`."""

METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
"""All that a normalised notebook says about itself."""

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
    except (ValueError, RecursionError):  # numbers of thousands of digits, brackets in brackets
        raise CourseError(f"{path.name} holds what Python cannot read as JSON.") from None
    try:
        if flaw := _flaw_of(content):
            raise CourseError(f"{path.name} is JSON, but not a notebook in format 4: {flaw}.")
        return v4.to_notebook(content)
    except RecursionError:
        raise CourseError(f"{path.name} is nested too deeply for a notebook.") from None


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
    for number, cell in code_cells(nb):
        if "parameters" not in tags_of(cell):
            continue
        try:
            for statement in ast.parse(cell.source).body:
                if not isinstance(statement, ast.Assign):
                    raise ValueError
                for target in statement.targets:
                    values[ast.unparse(target)] = ast.literal_eval(statement.value)
        except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
            raise CourseError(
                f"Cell {number} holds the parameters and may only say NAME = value."
            ) from None
    return values


def results_of(nb: NotebookNode) -> dict[str, Any] | None:
    """Return what the scoreboard handed over when the notebook ran, or None."""
    found = [payload for _, payload in payloads_of(nb)]
    return found[-1] if found else None


def payloads_of(nb: NotebookNode) -> list[tuple[int, dict[str, Any]]]:
    return [
        (number, json.loads(json.dumps(output["data"][RESULTS_MIME])))
        for number, cell in code_cells(nb)
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


def code_cells(nb: NotebookNode) -> list[tuple[int, NotebookNode]]:
    return [(n, cell) for n, cell in enumerate(nb.cells, 1) if cell.cell_type == "code"]


def tags_of(cell: NotebookNode) -> list[str]:
    tags = cell.metadata.get("tags", [])
    return tags if isinstance(tags, list) else []


def unfenced(markdown: str) -> str:
    """Return markdown without its blocks of code."""
    return re.sub(r"^```.*?^```[^\S\n]*$", "", markdown, flags=re.MULTILINE | re.DOTALL)


def prose_of(markdown: str) -> str:
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
        tags = list(dict.fromkeys(tags_of(cell)))
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
            kept = {m: {"alt": v["alt"]} for m, v in output.metadata.items() if has_alt(v)}
            output.metadata = type(output)(kept)
        if output.output_type == "execute_result":
            output.execution_count = cell.get("execution_count")
        last = outputs[-1] if outputs else {}
        if output.output_type == "stream" and last.get("name") == output.name:
            last["text"] += output.text
        else:
            outputs.append(output)
    return outputs


def has_alt(metadata: Any) -> bool:
    return isinstance(metadata, dict) and isinstance(metadata.get("alt"), str)
