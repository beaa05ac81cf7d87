"""Which exercises are solved: ``python -m utils.progress``.

The record lies in ``.progress.json`` at the top of the repository (or in the file that
``COURSE_PROGRESS`` names); git ignores it, and nobody else gets it.
"""

from __future__ import annotations

import contextlib
import html
import json
import os
import re
import sys
from pathlib import Path

from utils.notebooks import headings_of, read_notebook, repository_root
from utils.runtime import CourseError, write_atomically

EXERCISES_DIR = Path("notebooks", "exercises")
STATUSES = ("solved", "wrong")

_HEADING = re.compile(r"(\d\d\.\d+) · (.+)")


def state_file() -> Path:
    """Return the file that holds the record."""
    named = os.environ.get("COURSE_PROGRESS")
    return Path(named) if named else repository_root() / ".progress.json"


def load() -> dict[str, str]:
    """Return the status of each exercise that was tried: ``"solved"`` or ``"wrong"``.

    A file that cannot be read as such a record is put aside as ``….broken``, and the record is empty.
    """
    path = state_file()
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(record, dict) or not set(record.values()) <= set(STATUSES):
            raise ValueError("no record of exercises")
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, OSError):
        with contextlib.suppress(OSError):  # the folder may be read-only
            path.replace(path.with_name(path.name + ".broken"))
        return {}
    return record


def record(number: str, status: str) -> None:
    """Note what a check found; what was solved once stays solved.

    A folder that cannot be written costs the record, never the answer of the check.
    """
    from filelock import FileLock, Timeout

    path = state_file()
    if not path.parent.is_dir():
        return
    # two notebooks at once: each would write what the other has not seen
    with (
        contextlib.suppress(OSError, Timeout),
        FileLock(path.with_name(path.name + ".lock"), timeout=5),
    ):
        known = load()
        if known.get(number) not in ("solved", status):
            write_atomically(json.dumps(known | {number: status}, indent=1, sort_keys=True), path)


def exercises_of(path: Path) -> dict[str, str]:
    """Return the exercises of a notebook: titles by number, in the order of the page."""
    found = (_HEADING.fullmatch(h.text) for h in headings_of(read_notebook(path)) if h.level == 2)
    return {match[1]: match[2] for match in found if match}


class Table:
    """The exercises of some chapters with their status; a notebook shows it as a table."""

    def __init__(self, chapters: dict[str, dict[str, str]], record: dict[str, str]) -> None:
        self.chapters, self.record = chapters, record

    def _mark(self, number: str) -> str:
        return {"solved": "✅", "wrong": "❌"}.get(self.record.get(number, ""), "⬜")

    def _rows(self) -> list[tuple[str, str, str]]:
        rows = []
        for chapter, exercises in self.chapters.items():
            solved = sum(self.record.get(number) == "solved" for number in exercises)
            marks = " ".join(f"{n.partition('.')[2]}{self._mark(n)}" for n in exercises)
            rows.append((chapter, f"{solved} of {len(exercises)}", marks))
        return rows

    def __repr__(self) -> str:
        rows = self._rows()
        width = max((len(chapter) for chapter, _, _ in rows), default=0)
        lines = [f"{chapter:<{width}}  {count:>7}  {marks}" for chapter, count, marks in rows]
        total = sum(map(len, self.chapters.values()))
        solved = sum(self.record.get(n) == "solved" for e in self.chapters.values() for n in e)
        return "\n".join([*lines, f"{solved} of {total} exercises solved"])

    def _repr_html_(self) -> str:
        rows = (
            f"<tr><td style='text-align:left'>{html.escape(chapter)}</td><td>{count}</td>"
            f"<td style='text-align:left'>{marks}</td></tr>"
            for chapter, count, marks in self._rows()
        )
        head = "<tr><th>chapter</th><th>solved</th><th>exercises</th></tr>"
        return f"<table><thead>{head}</thead><tbody>{''.join(rows)}</tbody></table>"


def progress_table(chapter: str | None = None, folder: Path | None = None) -> Table:
    """Return the table of one chapter's exercises, or of all.

    Args:
        chapter: two digits, such as ``"02"``.
        folder: where the exercise notebooks are, if not in this repository.

    Raises:
        CourseError: there are no such exercises.
    """
    folder = folder or repository_root() / EXERCISES_DIR
    paths = sorted(folder.glob(f"{chapter or '[0-9][0-9]'}_*.ipynb"))
    if not paths:
        raise CourseError(
            f"There are no exercises of {chapter or 'any chapter'}: run make exercises."
        )
    return Table({path.stem: exercises_of(path) for path in paths}, load())


def main() -> int:
    """Print the table of all chapters."""
    try:
        print(progress_table())
    except CourseError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
