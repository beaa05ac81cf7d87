"""The pages that are not chapters: documents of the repository, and pages made from data."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tools.site.chapters import Chapter, exercises_of
from tools.site.links import page_of, relative
from utils.notebooks import read_notebook, repository_root, results_of
from utils.runtime import CourseError

DOCUMENTS = {
    "data.md": "data/README.md",
    "contributing.md": "CONTRIBUTING.md",
    "coverage.md": "docs/coverage.md",
    "glossary.md": "docs/glossary.md",
    "symptoms.md": "docs/symptoms.md",
    "teaching.md": "docs/teaching.md",
}
"""Pages that are a document of the repository."""

BENCHMARKS = "docs/benchmarks.md"
_NO_BENCHMARKS = "# Benchmarks\n\nNone have been measured yet: `make bench` does.\n"


def document_pages() -> dict[str, tuple[str, str]]:
    """Return text and origin of the pages that are a document, or come from a generator for one.

    Raises:
        CourseError: a document is missing.
    """
    from tools import bibliography, cheatsheet

    root, found = repository_root(), {}
    for page, origin in DOCUMENTS.items():
        if not (root / origin).is_file():
            raise CourseError(f"{origin} is missing, and the website needs it.")
        found[page] = (root / origin).read_text(encoding="utf-8"), origin
    found["cheatsheet.md"] = cheatsheet.page(), "docs/cheatsheet.md"
    found["bibliography.md"] = bibliography.page(), "docs/bibliography.md"
    measured = root / BENCHMARKS
    text = measured.read_text(encoding="utf-8") if measured.exists() else _NO_BENCHMARKS
    found["benchmarks.md"] = text, BENCHMARKS
    return found


# --- exercises ------------------------------------------------------------------------------------


def exercises_page(chapters: Sequence[Chapter]) -> str:
    """Return the source of the page that lists all exercises."""
    page = "exercises/index.md"
    lines = [
        "# Exercises",
        "",
        "Each chapter has its own. In JupyterLab (`make lab`) the check below an exercise answers at "
        "once and names the typical error; here you can read them, with hints and solutions folded away.",
        "",
        "| chapter | exercises | |",
        "|---|---:|---|",
    ]
    for chapter in chapters:
        exercises = exercises_of(
            read_notebook(repository_root() / f"notebooks/solutions/{chapter.path.name}")
        )
        target = relative(page_of(f"notebooks/exercises/{chapter.path.name}"), page)
        titles = " · ".join(exercise.title for exercise in exercises)
        lines.append(
            f"| [{chapter.number} · {chapter.title}]({target}) | {len(exercises)} | {titles} |"
        )
    lines += ["", "```{toctree}", ":hidden:", "", *(c.path.stem for c in chapters), "```", ""]
    return "\n".join(lines)


# --- results --------------------------------------------------------------------------------------


def results_page(chapters: Sequence[Chapter], bands: Path, last_run: Path) -> str:
    """Return the source of the page of results: every metric beside its range, bar and baseline.

    Args:
        chapters: all chapters; the values are those they were committed with.
        bands: ranges over seeds and threads (``docs/bands.json``); they are left out without it.
        last_run: results of the last ``make run`` here; they are left out without it.

    Raises:
        CourseError: one of the two files is damaged.
    """
    measured = _read(bands).get("chapters", {})
    run = _read(last_run)
    here = {chapter["name"]: chapter for chapter in run.get("chapters", [])}
    lines = [
        "# Results",
        "",
        "Every number that a chapter records, beside the bar that any run must keep and a trivial "
        "baseline. The value is that of the committed notebook. We promise ranges, not digits: with "
        "another processor or thread count the last digit of a sum differs, and training amplifies that.",
        "",
    ]
    if measured:
        lines += [_how_measured(measured), ""]
    if run:
        lines += [
            f"*Last run* is that of {run['date'][:10]}, device {run['device']}, seed {run['seed']}.",
            "",
        ]
    for chapter in chapters:
        name = chapter.path.stem
        ranges = measured.get(name, {}).get("metrics", {})
        lines += [
            f"## {chapter.number} · {chapter.title}",
            "",
            f"[Section *Results* of chapter {chapter.number}]({page_of(chapter.origin)}#results)",
            "",
            *_table(chapter, ranges, here.get(name) if run else None),
            "",
        ]
    return "\n".join(lines)


def _read(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError:
        raise CourseError(f"{path.name} is damaged: remove it, or make it again.") from None


def _how_measured(measured: dict[str, Any]) -> str:
    runs = {(len(m["seeds"]), len(m["threads"])) for m in measured.values()}
    how = " or ".join(
        f"{seeds} seeds and {threads} numbers of threads" for seeds, threads in sorted(runs)
    )
    dates = sorted(m["date"] for m in measured.values())
    torch = ", ".join(sorted({m["versions"]["torch"] for m in measured.values()}))
    return f"The *range* covers runs with {how} (torch {torch}, measured up to {dates[-1]})."


def _table(
    chapter: Chapter, ranges: dict[str, dict[str, float]], last: dict[str, Any] | None
) -> list[str]:
    names = ["result", "value", "range", "bar", "baseline", "last run"]
    columns = [n for n in names if (n != "range" or ranges) and (n != "last run" or last)]
    lines = [f"| {' | '.join(columns)} |", "|---" + "|---:" * (len(columns) - 1) + "|"]
    for result in (results_of(chapter.nb) or {"results": []})["results"]:
        cells = _row(result, ranges.get(result["metric"]), last)
        lines.append(f"| {' | '.join(cells[name] for name in columns)} |")
    return lines


def _row(
    result: dict[str, Any], band: dict[str, float] | None, last: dict[str, Any] | None
) -> dict[str, str]:
    def shown(number: float | None) -> str:
        return "–" if number is None else f"{number:.{result['digits']}g}"

    low, high = (shown(band[end]) for end in ("low", "high")) if band else ("–", "–")
    sign = {"<=": "≤", ">=": "≥", "==": "="}.get(result["op"])
    baseline = result["baseline_name"]
    metrics = (last or {}).get("metrics") or {}
    return {
        "result": result["label"].replace("|", r"\|"),
        "value": shown(result["value"]),
        "range": low if low == high else f"{low} to {high}",
        "bar": f"{sign} {shown(result['bound'])}" if sign else "–",
        "baseline": f"{shown(result['baseline'])} ({baseline})" if baseline else "–",
        "last run": shown(metrics.get(result["metric"])),
    }
