"""The teachers' tour of the chapters: ``python -m tools.tour`` renews it in ``docs/teaching.md``.

For each chapter: minutes to read, seconds to run and the slowest cells, where to stop, questions for
the board, a misconception to look for, exercises for homework. What a person has to write stands in
``docs/tour.toml``; the seconds come from the last ``make run`` and are kept in ``docs/tour.json``, so
that the page can be made without one. The introduction, above the first mark in ``docs/teaching.md``,
is written by hand.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools.cheatsheet import link
from utils.notebooks import (
    find_chapters,
    headings_of,
    read_notebook,
    repository_root,
    tags_of,
)
from utils.report import READING_SPEED, SECONDS_PER_CELL
from utils.runtime import CourseError, write_atomically

if TYPE_CHECKING:
    from nbformat import NotebookNode

DOCS = repository_root() / "docs"
PAGE, LESSONS, SECONDS = DOCS / "teaching.md", DOCS / "tour.toml", DOCS / "tour.json"
BEGIN, END = "<!-- tour: begin -->", "<!-- tour: end -->"
SLOW = 1.0
"""Seconds from which on a cell is listed."""
LESSON_KEYS = {"stops", "questions", "misconception", "homework"}


def minutes(nb: NotebookNode, cells: int | None = None) -> int:
    """Return the time to read a notebook, in minutes, as the README's table counts it.

    Args:
        nb: the notebook.
        cells: only its first so many cells.
    """
    part = nb.cells[:cells]
    words = sum(len(c.source.split()) for c in part if c.cell_type == "markdown")
    code = sum(c.cell_type == "code" for c in part)
    return round((words / READING_SPEED + code * SECONDS_PER_CELL / 60) / 5) * 5


def seconds_of(build: Path) -> dict[str, Any]:
    """Return how long the chapters and their slow cells took in a run.

    Cells are numbered from 1, as in the committed notebook: the cell that the run puts in for its
    parameters does not count.

    Args:
        build: the folder of the run, with ``results.json`` and ``notebooks/``.

    Returns:
        ``{"chapters": {name: {"seconds": ..., "cells": {number: seconds}}}}`` with facts about the
        machine; only chapters that passed.

    Raises:
        CourseError: there are no results of a run.
    """
    try:
        results = json.loads((build / "results.json").read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        raise CourseError(f"{build} holds no results of a run: `make run` makes them.") from None
    chapters = {}
    for chapter in results["chapters"]:
        path = build / "notebooks" / f"{chapter['name']}.ipynb"
        if chapter["status"] != "passed" or not path.exists():
            continue
        cells = [c for c in read_notebook(path).cells if "injected-parameters" not in tags_of(c)]
        taken = [c.metadata.get("papermill", {}).get("duration") or 0.0 for c in cells]
        chapters[chapter["name"]] = {
            "seconds": round(chapter["seconds"]),
            "cells": {str(n): round(t, 1) for n, t in enumerate(taken, 1) if t >= SLOW},
        }
    machine = {"architecture": results["machine"]["architecture"]}
    machine |= {"cores": results["machine"]["cores"], "jobs": results["parameters"]["jobs"]}
    return {"date": results["date"][:10], "machine": machine, "chapters": chapters}


def merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Return the newer seconds, and the older ones of the chapters that were not run."""
    return {**new, "chapters": {**old.get("chapters", {}), **new["chapters"]}}


def lessons_of(path: Path = LESSONS) -> dict[str, dict[str, Any]]:
    """Return what ``docs/tour.toml`` says of each chapter, by its number.

    Raises:
        CourseError: the file is not TOML, or a chapter lacks something.
    """
    try:
        lessons = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise CourseError(f"{path.name} is not TOML: {error}.") from None
    for number, lesson in lessons.items():
        if set(lesson) != LESSON_KEYS or len(lesson["stops"]) != 2 or len(lesson["questions"]) != 3:
            raise CourseError(
                f"{path.name}, chapter {number}: give two stops, three questions, a misconception "
                "and homework."
            )
    return lessons


def tour(lessons: dict[str, dict[str, Any]], seconds: dict[str, Any]) -> str:
    """Return the generated part of the page.

    Args:
        lessons: as from :func:`lessons_of`.
        seconds: as from :func:`seconds_of`.

    Raises:
        CourseError: a chapter is missing, or a section or an exercise does not exist.
    """
    machine = seconds["machine"]
    parts = [
        f"Seconds are those of {seconds['date']} on {machine['cores']} cores "
        f"({machine['architecture']}), {machine['jobs']} chapters at a time."
    ]
    for path in find_chapters():
        try:
            lesson, taken = lessons[path.stem[:2]], seconds["chapters"][path.stem]
        except KeyError:
            raise CourseError(
                f"There is no lesson or no time for {path.stem}: see docs/tour.toml and `make run`."
            ) from None
        parts.append(_lesson(path, lesson, taken))
    return "\n\n".join(parts)


def _lesson(path: Path, lesson: dict[str, Any], taken: dict[str, Any]) -> str:
    nb = read_notebook(path)
    title = headings_of(nb)[0].text
    parts = [
        f"## {title}",
        f"[Open the chapter](../notebooks/{path.name}) · read {minutes(nb)} minutes · "
        f"runs {taken['seconds']} seconds",
        "**Stop here**: " + "; or ".join(_stop(path, nb, s) for s in lesson["stops"]) + ".",
        f"**Look for the misconception**: {lesson['misconception']}",
        "**Questions for the board**",
    ]
    for question, answer in lesson["questions"]:
        parts.append(f"<details><summary>{_as_html(question)}</summary>\n\n{answer}\n\n</details>")
    parts.append(f"**Homework**: {_homework(path, lesson['homework'])}.")
    if taken["cells"]:
        parts.append(_slow_cells(path, nb, taken["cells"]))
    return "\n\n".join(parts)


def _as_html(text: str) -> str:
    """Markdown is not read inside a summary: turn the little that questions use into HTML."""
    text = text.replace("&", "&amp;").replace("<", "&lt;")
    text = re.sub(r"`([^`]+)`", r"<code>\1</code>", text)
    return re.sub(r"\*([^*]+)\*", r"<em>\1</em>", text)


def _stop(path: Path, nb: NotebookNode, section: str) -> str:
    """A link to the last section before the pause, with the minutes up to its end."""
    headings = headings_of(nb)
    here = [i for i, h in enumerate(headings) if h.text == section]
    if not here:
        raise CourseError(f"{path.stem} has no section {section!r} to stop after.")
    after = [h.cell for h in headings[here[0] + 1 :] if h.cell > headings[here[0]].cell]
    # the cell that holds the next heading begins with the last words of this section
    end = after[0] if after else len(nb.cells)
    return f"after {link(path.stem, section)} ({minutes(nb, end)} min)"


def _homework(path: Path, ids: Sequence[str]) -> str:
    folder = path.parent / "exercises"
    titles = {h.text[:4]: h.text for h in headings_of(read_notebook(folder / path.name))}
    if missing := [i for i in ids if i not in titles]:
        raise CourseError(f"{path.stem} has no exercise {', '.join(missing)}.")
    names = [re.sub(r" \(.*\)$", "", titles[i]) for i in ids]
    return f"[{'; '.join(names)}](../notebooks/exercises/{path.name})"


def _slow_cells(path: Path, nb: NotebookNode, cells: dict[str, float]) -> str:
    headings = headings_of(nb)
    total = sum(cells.values())
    rows = ["| cell | section | seconds | begins with |", "|---|---|---|---|"]
    for number, seconds in sorted(cells.items(), key=lambda item: -item[1]):
        if int(number) > len(nb.cells) or nb.cells[int(number) - 1].cell_type != "code":
            raise CourseError(f"The seconds of {path.stem} are out of date: `make run` it again.")
        section = [h.text for h in headings if h.cell < int(number)][-1]
        line = nb.cells[int(number) - 1].source.splitlines()[0][:60].replace("|", r"\|")
        rows.append(f"| {number} | {section} | {seconds:.1f} | `{line}` |")
    count = f"{len(cells)} cell{'s' if len(cells) > 1 else ''}"
    summary = f"{count} of one second or more, {total:.1f} s together"
    table = "\n".join(rows)
    return f"<details><summary>{summary}</summary>\n\n{table}\n\n</details>"


def with_tour(text: str, generated: str) -> str:
    """Return a page with the generated part between its two marks.

    Raises:
        CourseError: the page has no marks.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise CourseError(f"{PAGE.name} has no lines {BEGIN} and {END}.")
    return f"{before}{BEGIN}\n\n{generated}\n\n{END}{after}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Renew the page as the command line asks and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.tour", description=__doc__)
    parser.add_argument("--build", type=Path, help="folder of a run (build/, where there is one)")
    options = parser.parse_args(arguments)
    build = options.build or repository_root() / "build"
    try:
        seconds = json.loads(SECONDS.read_text(encoding="utf-8")) if SECONDS.exists() else {}
        if options.build or (build / "results.json").exists():
            seconds = merged(seconds, seconds_of(build))
            write_atomically(json.dumps(seconds, indent=1) + "\n", SECONDS)
        if not seconds:
            raise CourseError("There are no times yet: `make run`, then try again.")
        text = with_tour(PAGE.read_text(encoding="utf-8"), tour(lessons_of(), seconds))
        write_atomically(text, PAGE)
    except CourseError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
