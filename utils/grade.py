"""Grade submissions: ``python -m utils.grade FOLDER`` writes ``FOLDER/grades.csv``.

FOLDER holds one folder per student, each with exercise notebooks under their own names. Every notebook
runs in a fresh kernel on a copy, under a time limit; then the checks of the course examine what it has
defined. Checks that a student changed or removed do not count. A kernel is no prison: a notebook can do
what its user can do, so grade submissions of strangers in an account or container of its own.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import csv
import io
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from utils.notebooks import code_cells, read_notebook, repository_root
from utils.progress import EXERCISES_DIR
from utils.refresh import kernel_client, kernel_environment
from utils.runtime import CourseError, write_atomically

if TYPE_CHECKING:
    from nbformat import NotebookNode

_MARKER = "course-outcome:"


@dataclass(frozen=True)
class Grade:
    """One row of the table.

    Attributes:
        student: name of the folder.
        exercise: number, such as ``"02.3"``.
        status: ``"solved"``, ``"wrong"``, ``"open"`` (not attempted), ``"missing"`` (no notebook, or the
            name is not defined), ``"crashed"`` (the kernel died), ``"timeout"`` or ``"unreadable"``.
        diagnosis: one sentence.
    """

    student: str
    exercise: str
    status: str
    diagnosis: str


def check_calls(nb: NotebookNode) -> dict[str, str]:
    """Return the calls of ``check`` in a notebook by the number of the exercise."""
    calls = {}
    for _, cell in code_cells(nb):
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "check":
                calls[ast.literal_eval(node.args[0])] = ast.unparse(node)
    return calls


def grade_notebook(
    path: Path, calls: dict[str, str], limit: float = 300
) -> dict[str, tuple[str, str]]:
    """Run one submission in a fresh kernel and examine it.

    Args:
        path: the student's notebook; it is not changed.
        calls: what :func:`check_calls` found in the course's own notebook.
        limit: seconds for everything.

    Returns:
        Status and diagnosis by the number of the exercise.
    """
    try:
        nb = read_notebook(path)
    except CourseError as error:
        return dict.fromkeys(calls, ("unreadable", str(error)))
    found: dict[str, tuple[str, str]] = {}
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "submission"
        shutil.copytree(path.parent, copy, symlinks=True)
        try:
            _run(nb, copy, calls, limit, found)
        except _TimedOut:
            rest = ("timeout", f"The notebook ran longer than {limit:g} s.")
        except Exception as error:  # whatever one submission does, the others are graded
            rest = ("crashed", f"The kernel ended early ({type(error).__name__}).")
        else:
            rest = ("crashed", "The check gave no answer.")
    return {number: found.get(number, rest) for number in calls}


class _TimedOut(Exception):
    pass


def _run(
    nb: NotebookNode,
    folder: Path,
    calls: dict[str, str],
    limit: float,
    found: dict[str, tuple[str, str]],
) -> None:
    from nbclient.exceptions import CellTimeoutError
    from nbformat.v4 import new_code_cell

    deadline = time.monotonic() + limit
    examinations = [new_code_cell(_examination(number, call)) for number, call in calls.items()]
    submitted = [cell for _, cell in code_cells(nb)]
    nb.cells = submitted + examinations
    client = kernel_client(nb, folder, int(limit), allow_errors=True)
    with client.setup_kernel(env=kernel_environment(), stderr=subprocess.DEVNULL):
        for index, cell in enumerate(nb.cells):
            client.timeout = max(1, int(deadline - time.monotonic()))
            if time.monotonic() > deadline:
                raise _TimedOut
            try:
                client.execute_cell(cell, index)
            except CellTimeoutError:
                raise _TimedOut from None
            if index >= len(submitted):
                found.update(_outcomes(cell))


def _examination(number: str, call: str) -> str:
    """Code that prints one outcome; it imports what it needs afresh, whatever was redefined."""
    argument_names = sorted(
        {node.id for node in ast.walk(ast.parse(call)) if isinstance(node, ast.Name)} - {"check"}
    )
    return f"""
import json as _json
from utils.checks.engine import check as _check
_missing = [n for n in {argument_names!r} if n not in globals()]
if _missing:
    _found = ["missing", f"{{_missing[0]}} is not defined."]
else:
    _outcome = {call.replace("check(", "_check(", 1)}
    _found = [_outcome.status, _outcome.message]
print("{_MARKER}", _json.dumps([{number!r}, *_found]))
"""


def _outcomes(cell: NotebookNode) -> Iterator[tuple[str, tuple[str, str]]]:
    for output in cell.outputs:
        for line in output.get("text", "").splitlines():
            if line.startswith(_MARKER):
                number, status, message = json.loads(line.removeprefix(_MARKER))
                yield number, (status, message)


def grade(folder: Path, limit: float = 300, say: Callable[[str], object] = print) -> list[Grade]:
    """Grade a folder of submissions, one student after the other.

    Args:
        folder: holds one folder per student.
        limit: seconds for one notebook.
        say: called with a line for each student.

    Raises:
        CourseError: the folder does not exist or holds no folders.
    """
    students = sorted(p for p in folder.glob("*") if p.is_dir() and not p.name.startswith("."))
    if not students:
        raise CourseError(f"{folder} holds no folders of students: name the folder that does.")
    given = sorted((repository_root() / EXERCISES_DIR).glob("[0-9][0-9]_*.ipynb"))
    handed_in = {p.name for student in students for p in student.rglob("[0-9][0-9]_*.ipynb")}
    grades = []
    for student in students:
        mine = []
        for path in given:
            if path.name not in handed_in:
                continue  # this chapter was not set
            calls = check_calls(read_notebook(path))
            submissions = sorted(student.rglob(path.name))
            if submissions:
                results = grade_notebook(submissions[0], calls, limit)
            else:
                results = dict.fromkeys(calls, ("missing", f"{path.name} was not handed in."))
            mine += [Grade(student.name, number, *result) for number, result in results.items()]
        grades += mine
        say(f"{student.name}: {sum(g.status == 'solved' for g in mine)} of {len(mine)} solved")
    return grades


def csv_text(grades: list[Grade]) -> str:
    """The table as text, with a header."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["student", "exercise", "status", "diagnosis"])
    writer.writerows([g.student, g.exercise, g.status, g.diagnosis] for g in grades)
    return file.getvalue()


def main(arguments: list[str] | None = None) -> int:
    """Grade and write the table; exit status 0, or 2 for misuse."""
    parser = argparse.ArgumentParser(
        prog="python -m utils.grade", description="Grade submitted exercise notebooks."
    )
    parser.add_argument("folder", type=Path, help="holds one folder per student")
    parser.add_argument("--output", type=Path, help="default: FOLDER/grades.csv")
    parser.add_argument("--limit", type=float, default=300, help="seconds for one notebook")
    options = parser.parse_args(arguments)
    output = options.output or options.folder / "grades.csv"
    try:
        grades = grade(options.folder, options.limit, say=lambda line: print(line, flush=True))
        write_atomically(csv_text(grades), output)
    except CourseError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {output} cannot be written: {error.strerror or error}.", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("error: interrupted; no table was written.", file=sys.stderr)
        return 130
    with contextlib.suppress(ValueError):
        output = output.relative_to(Path.cwd())
    print(f"{len(grades)} rows in {output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
