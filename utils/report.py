"""What a run leaves behind for people: the closing table, ``build/report.html``, README's table.

The README's table of chapters is made from the committed notebooks (:mod:`utils.refresh` renews it),
so that the front page never promises what the chapters do not show.
"""

from __future__ import annotations

import base64
import os
import re
from pathlib import Path
from typing import Any

from utils import notebooks
from utils.notebooks import find_chapters, read_notebook, results_of
from utils.runtime import CourseError, write_atomically

READING_SPEED = 150
"""Words of a technical text that are read in a minute."""
SECONDS_PER_CELL = 30
"""To look at a code cell and its output."""
BEGIN, END = "<!-- chapters: begin -->", "<!-- chapters: end -->"


def headline_text(chapter: dict[str, Any]) -> str:
    """The headline result of a chapter beside its bar and its baseline, or what went wrong."""
    if chapter["error"]:
        return chapter["error"]
    result = chapter["headline"]
    if not result:
        return ""
    number = f".{result['digits']}g"
    beside = []
    if result["op"]:
        beside.append(f"bar {result['op']} {result['bound']:{number}}")
    if result["baseline_name"]:
        beside.append(f"{result['baseline_name']} {result['baseline']:{number}}")
    text = f"{result['label']}: {result['value']:{number}}"
    return f"{text} ({'; '.join(beside)})" if beside else text


def closing_table(results: dict[str, Any]) -> str:
    """The table that ends a run on the terminal."""
    rows = [("chapter", "status", "seconds", "start-up", "headline result")]
    rows += [
        (
            c["name"],
            c["status"],
            f"{c['seconds']:.1f}",
            f"{c['startup_seconds']:.1f}",
            headline_text(c),
        )
        for c in results["chapters"]
    ]
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    lines = [
        f"{row[0]:<{widths[0]}}  {row[1]:<{widths[1]}}  {row[2]:>{widths[2]}}  {row[3]:>{widths[3]}}  {row[4]}"
        for row in rows
    ]
    lines.insert(1, "-" * min(100, max(map(len, lines))))
    return "\n".join(lines)


def report_page(results: dict[str, Any]) -> str:
    """The page ``report.html``: one file, nothing fetched, light and dark."""
    from jinja2 import Environment

    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["headline"] = headline_text
    longest = max((c["seconds"] for c in results["chapters"]), default=0) or 1
    return environment.from_string(_PAGE).render(**results, longest=longest)


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Course run of {{ date[:10] }}</title>
<style>
:root { color-scheme: light dark; --line: #8884; --bar: #0072b2; --good: #00734f; --bad: #b34700; }
@media (prefers-color-scheme: dark) { :root { --bar: #56b4e9; --good: #2fc99a; --bad: #ff9d5c; } }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 64rem; margin: 2rem auto; padding: 0 1rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; margin: 1rem 0; }
th, td { text-align: left; padding: .35rem .6rem; border-bottom: 1px solid var(--line); vertical-align: top; }
td.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.passed, .kept { color: var(--good); } .failed, .skipped, .missed { color: var(--bad); font-weight: 600; }
.timing { display: inline-block; height: .7rem; background: var(--bar); }
code { font-size: .9em; }
</style>
</head>
<body>
<h1>Course run</h1>
<p>{{ date }} · {{ chapters | selectattr("status", "equalto", "passed") | list | length }} of
{{ chapters | length }} chapters passed in {{ "%.0f" | format(seconds) }} s ·
{% for name, version in versions.items() %}{{ name }} {{ version }}{{ ", " if not loop.last }}{% endfor %} ·
{{ machine.system }}, {{ machine.cores }} cores · revision {{ git or "unknown" }}</p>
<h2>Results</h2>
<div class="scroll"><table>
<thead><tr><th>chapter</th><th>status</th><th>headline result</th><th>seconds</th><th>device</th></tr></thead>
<tbody>
{% for c in chapters %}
<tr>
<td>{% if c.page %}<a href="{{ c.page }}">{{ c.name }}</a>{% else %}{{ c.name }}{% endif %}</td>
<td class="{{ c.status }}">{{ c.status }}</td>
<td>{{ c | headline }}</td>
<td class="number">{{ "%.1f" | format(c.seconds) }}</td>
<td>{{ c.device or "" }}</td>
</tr>
{% endfor %}
</tbody>
</table></div>
<h2>Bars</h2>
<div class="scroll"><table>
<thead><tr><th>chapter</th><th>metric</th><th>value</th><th>bar</th><th></th></tr></thead>
<tbody>
{% for c in chapters %}{% for b in c.bars %}
<tr><td>{{ c.name }}</td><td><code>{{ b.metric }}</code></td>
<td class="number">{{ "%.6g" | format(b.value) }}</td>
<td class="number">{{ b.op }} {{ "%.6g" | format(b.bound) }}</td>
<td class="{{ 'kept' if b.passed else 'missed' }}">{{ "kept" if b.passed else "missed" }}</td></tr>
{% endfor %}{% endfor %}
</tbody>
</table></div>
<h2>Where the time goes</h2>
<div class="scroll"><table>
<thead><tr><th>chapter</th><th>seconds</th><th>start-up</th><th>slowest cells</th></tr></thead>
<tbody>
{% for c in chapters %}
<tr><td>{{ c.name }}<br><span class="timing" style="width: {{ "%.1f" | format(8 * c.seconds / longest) }}rem"></span></td>
<td class="number">{{ "%.1f" | format(c.seconds) }}</td>
<td class="number">{{ "%.1f" | format(c.startup_seconds) }}</td>
<td>{% for s in c.slowest_cells %}{{ "%.1f" | format(s.seconds) }} s · cell {{ s.cell }} · <code>{{ s.source }}</code><br>{% endfor %}</td></tr>
{% endfor %}
</tbody>
</table></div>
</body>
</html>
"""


# --- the README's table ---------------------------------------------------------------------------


def readme_table(chapters: list[Path]) -> str:
    """The table of chapters in Markdown, made from the committed notebooks.

    Raises:
        CourseError: a chapter has not been executed, or does not say how long it runs.
    """
    lines = [
        "| chapter | reading | runs in | headline result |",
        "|---|---|---|---|",
    ]
    for path in chapters:
        nb = read_notebook(path)
        payload = results_of(nb)
        title = re.match(r"# (.+)", nb.cells[0].source)
        seconds = re.search(r"\*\*Runs in\*\* about (\d+) seconds", nb.cells[0].source)
        if payload is None or not title or not seconds:
            raise CourseError(f"{path.name} is not finished: run `make refresh`.")
        words = sum(len(c.source.split()) for c in nb.cells if c.cell_type == "markdown")
        cells = sum(c.cell_type == "code" for c in nb.cells)
        minutes = round((words / READING_SPEED + cells * SECONDS_PER_CELL / 60) / 5) * 5
        headline = next(r for r in payload["results"] if r["headline"])
        lines.append(
            f"| [{title[1]}](notebooks/{path.name}) | {minutes} min | {seconds[1]} s "
            f"| {headline_text({'error': None, 'headline': headline})} |"
        )
    return "\n".join(lines)


def with_table(readme: str, table: str) -> str:
    """The text of the README with the table in its place.

    Raises:
        CourseError: the README has no place for it.
    """
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise CourseError(f"README.md has no lines {BEGIN} and {END} to put the table between.")
    return f"{before}{BEGIN}\n\n{table}\n\n{END}{after}"


def picture_of(nb: Any, word: str) -> bytes:
    """The first picture of a notebook whose description holds a word, as PNG.

    Raises:
        CourseError: there is none.
    """
    for cell in nb.cells:
        for output in cell.get("outputs", []):
            alt = output.get("metadata", {}).get("image/png", {}).get("alt", "")
            if re.search(rf"\b{word}\b", alt, re.IGNORECASE):
                return base64.b64decode(output["data"]["image/png"])
    raise CourseError(f"No picture's description holds the word {word!r}.")


def renew_readme() -> None:
    """Renew the table of chapters and the picture in README.md, where there is one.

    Raises:
        CourseError: a chapter is not finished, or README.md has no place for the table.
    """
    root = notebooks.repository_root()
    readme, picture = root / "README.md", root / "docs" / "images" / "forecast.png"
    if readme.exists():
        text = readme.read_text(encoding="utf-8")
        write_atomically(with_table(text, readme_table(find_chapters())), readme)
        (chapter,) = find_chapters(["12"])
        picture.parent.mkdir(parents=True, exist_ok=True)
        temporary = picture.with_suffix(f".{os.getpid()}.tmp")
        try:
            temporary.write_bytes(picture_of(read_notebook(chapter), "forecast"))
            temporary.replace(picture)
        finally:
            temporary.unlink(missing_ok=True)
