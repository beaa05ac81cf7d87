"""Make the exercise notebooks from the solutions: ``python -m utils.exercises``.

The solutions are the source. A cell tagged ``solution`` holds, between the lines ``# BEGIN SOLUTION``
and ``# END SOLUTION``, what learners shall write; the exercise has ``...`` there (``return ...`` where
the solution ends with a return). A line ``name = …  # SOLUTION`` becomes ``name = ...``. Cells tagged
``solution-only`` are left out. ``--execute`` first runs the solutions and stores their outputs;
``--assignments FOLDER`` writes a copy of the exercises to hand out.
"""

from __future__ import annotations

import argparse
import copy
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from utils.notebooks import (
    normalise,
    notebook_text,
    read_notebook,
    repository_root,
    tags_of,
    write_notebook,
)
from utils.progress import EXERCISES_DIR
from utils.refresh import refresh
from utils.runtime import CourseError, write_atomically

if TYPE_CHECKING:
    from nbformat import NotebookNode

SOLUTIONS_DIR = Path("notebooks", "solutions")
SOLUTION, SOLUTION_ONLY = "solution", "solution-only"

_BEGIN = re.compile(r"( *)# BEGIN SOLUTION")
_END = re.compile(r" *# END SOLUTION")
_LINE = re.compile(r"( *[\w, ]+) = .*# SOLUTION")


def starter_code(source: str) -> str:
    """Return a solution's code with ``...`` in place of what learners shall write.

    Raises:
        CourseError: the marks do not match, or there are none.
    """
    lines: list[str] = []
    region: list[str] | None = None
    indent, marks = "", 0
    for line in source.splitlines():
        if match := _BEGIN.fullmatch(line):
            if region is not None:
                raise CourseError(
                    "A BEGIN SOLUTION stands inside another: write END SOLUTION first."
                )
            region, indent, marks = [], match[1], marks + 1
        elif _END.fullmatch(line):
            if region is None:
                raise CourseError("An END SOLUTION has no BEGIN SOLUTION before it.")
            returns = any(re.match(rf"{indent}return\b", text) for text in region)
            lines.append(f"{indent}{'return ' if returns else ''}...  # your code")
            region = None
        elif region is not None:
            region.append(line)
        elif match := _LINE.fullmatch(line):
            lines.append(
                f"{match[1]} = {', '.join(['...'] * (match[1].count(',') + 1))}  # your answer"
            )
            marks += 1
        else:
            lines.append(line)
    if region is not None:
        raise CourseError("A BEGIN SOLUTION has no END SOLUTION after it.")
    if not marks:
        raise CourseError("A cell tagged 'solution' marks nothing: write BEGIN and END SOLUTION.")
    return "\n".join(lines)


def exercise_notebook(solutions: NotebookNode, name: str) -> NotebookNode:
    """Return the exercises that belong to a notebook of solutions; the argument stays as it is.

    Args:
        solutions: its first cell is a title ``# NN · …: solutions``.
        name: the chapter's name, such as ``"02_autograd"``.

    Raises:
        CourseError: the title or the marks are not as they should be.
    """
    from nbformat.v4 import new_code_cell

    nb = copy.deepcopy(solutions)
    first = nb.cells[0].source if nb.cells else ""
    title = re.match(r"# (\d\d · .+): solutions\n", first + "\n")
    if not title:
        raise CourseError(
            f"{name}: the first cell is no title such as '# 02 · Autograd: solutions'."
        )
    nb.cells[0].source = _opening(title[1], name)
    nb.cells = [cell for cell in nb.cells if SOLUTION_ONLY not in tags_of(cell)]
    for number, cell in enumerate(nb.cells, 1):
        if cell.cell_type != "code":
            continue
        cell.outputs, cell.execution_count = [], None
        if SOLUTION in tags_of(cell):
            try:
                cell.source = starter_code(cell.source)
            except CourseError as error:
                raise CourseError(f"{name}, cell {number}: {error}") from None
        elif "SOLUTION" in cell.source:
            raise CourseError(f"{name}, cell {number} has marks, but not the tag 'solution'.")
        cell.metadata.pop("tags", None)
    last = new_code_cell(
        f'from utils.progress import progress_table\n\nprogress_table("{name[:2]}")', id="progress"
    )
    nb.cells.append(last)
    return normalise(nb)


def _opening(title: str, name: str) -> str:
    return (
        f"# {title}: exercises\n\n"
        "Replace each `...` by your code and run the cells from top to bottom. The check below an exercise answers at "
        f'once, also offline; `hint("{name[:2]}.1")` gives a hint, and another one each time you run it. Your '
        "progress stands at the end.\n\n"
        f"The chapter is [here](../{name}.ipynb), the [solutions](../solutions/{name}.ipynb) are for "
        "afterwards."
    )


def make_exercises(solutions: list[Path], folder: Path) -> tuple[list[Path], list[str]]:
    """Write the exercises of some solutions into a folder.

    Args:
        solutions: notebooks; one that is not as it should be does not stop the others.
        folder: where the exercises go, under the same names.

    Returns:
        The files that changed, and what went wrong, one sentence a notebook.

    Raises:
        OSError: the folder cannot be written; no file is half written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    changed, failures = [], []
    for path in solutions:
        target = folder / path.name
        try:
            nb = exercise_notebook(read_notebook(path), path.stem)
        except CourseError as error:
            failures.append(str(error))
            continue
        text = notebook_text(nb).encode()
        if not target.exists() or target.read_bytes() != text:
            write_notebook(nb, target)
            changed.append(target)
    return changed, failures


def find_solutions() -> list[Path]:
    """Return the notebooks of solutions in their order."""
    return sorted((repository_root() / SOLUTIONS_DIR).glob("[0-9][0-9]_*.ipynb"))


def main(arguments: list[str] | None = None) -> int:
    """Make the exercises; exit status 0 when all is well, 1 when a solution failed, 2 for misuse."""
    parser = argparse.ArgumentParser(
        prog="python -m utils.exercises", description="Make the exercises from the solutions."
    )
    parser.add_argument("--execute", action="store_true", help="run the solutions first")
    parser.add_argument("--chapters", nargs="+", default=[], help='numbers, such as "01 12"')
    parser.add_argument("--assignments", type=Path, help="write a copy to hand out to this folder")
    options = parser.parse_args(arguments)
    wanted = {number.zfill(2) for words in options.chapters for number in words.split()}
    solutions = [p for p in find_solutions() if not wanted or p.stem[:2] in wanted]
    try:
        if not solutions:
            raise CourseError("There are no solutions to make exercises from.")
        if options.assignments:
            return _hand_out(solutions, options.assignments)
        failures = (
            refresh(solutions, say=lambda line: print(line, flush=True)) if options.execute else []
        )
        changed, flaws = make_exercises(solutions, repository_root() / EXERCISES_DIR)
    except CourseError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: the exercises cannot be written: {error.strerror}.", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Interrupted; no notebook is half written.", file=sys.stderr)
        return 130
    # what cannot be read was already said when it was to be executed
    failures += [flaw for flaw in flaws if not any(flaw in known for known in failures)]
    for failure in failures:
        print(f"error: {failure}", file=sys.stderr)
    print(f"{len(solutions)} exercise notebooks, {len(changed)} of them new or changed")
    return 1 if failures else 0


def _hand_out(solutions: list[Path], folder: Path) -> int:
    """Write the exercises to a folder for students, with a note how to hand them in."""
    target = folder / "exercises"
    _, failures = make_exercises(solutions, target)
    write_atomically(
        "# Assignments\n\nWork on the notebooks in `exercises/` within an installation of the course. Hand in the "
        "notebooks under their names, in a folder with your name.\n\n"
        "Teachers: put these folders side by side, then run `python -m utils.grade FOLDER`.\n",
        folder / "README.md",
    )
    for failure in failures:
        print(f"error: {failure}", file=sys.stderr)
    print(f"{len(solutions) - len(failures)} assignments in {folder}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
