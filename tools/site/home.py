"""The landing page: what the course is, the map of its chapters, and a card for each."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence

from tools.site.chapters import Chapter
from tools.site.links import Links, page_of
from utils.notebooks import repository_root
from utils.runtime import CourseError

HOME = "index.md"

# Drawn like the plan of a metro: (x, y) of each station, its name, and on which side the name stands.
_STATIONS = {
    "01": (45, 150, "Tensors", "above"),
    "02": (130, 150, "Autograd", "below"),
    "03": (215, 150, "Data", "above"),
    "04": (300, 150, "Building blocks", "below"),
    "05": (385, 150, "Linear models", "above"),
    "06": (470, 150, "Regression", "below"),
    "07": (555, 150, "Classification", "above"),
    "08": (640, 150, "Training well", "below"),
    "09": (745, 60, "CNN", "above"),
    "10": (880, 60, "Transfer learning", "above"),
    "11": (745, 150, "RNN", "above"),
    "12": (840, 150, "LSTM", "below"),
    "13": (840, 240, "Attention", "below"),
    "14": (935, 150, "Graphs", "above"),
}
_LINES = {
    "foundations": ["M45,150 H640"],
    "pictures": ["M640,150 C690,150 690,60 745,60 H880"],
    "sequences": ["M640,150 H935", "M745,150 C790,150 790,240 840,240"],
}


def home_page(readme: str, chapters: Sequence[Chapter], links: Links) -> str:
    """Return the source of the landing page.

    Args:
        readme: the text of README.md, whose beginning introduces the course.
        chapters: all chapters.
        links: of the site.

    Raises:
        CourseError: README.md does not begin as it should.
    """
    introduction = re.match(r"(# .+?\n.+?)\n```\n(.+?)```\n", readme, re.DOTALL)
    if not introduction:
        raise CourseError("README.md begins with a title, an introduction and a block of commands.")
    text, commands = introduction.groups()
    return "\n".join(
        [
            links.mapped(text, "README.md", HOME),
            "## The map",
            "",
            "```{raw} html",
            chapter_map(chapters),
            "```",
            "",
            "## The chapters",
            "",
            "```{raw} html",
            chapter_cards(chapters),
            "```",
            "",
            "## Start here",
            "",
            f"```text\n{commands}```",
            "",
            links.mapped(
                "[Install, run, get help](README.md) · [exercises and solutions](notebooks/exercises) · "
                "[which symptom has which cause](docs/symptoms.md) · [for teachers](docs/teaching.md)",
                "README.md",
                HOME,
            ),
            "",
            *_contents(chapters, links.pages),
        ]
    )


def _contents(chapters: Sequence[Chapter], pages: set[str]) -> list[str]:
    """The tables of contents that make the side bar and the order of the pages."""
    parts = {
        "": ["start.md"],
        "Chapters": [page_of(c.origin) for c in chapters],
        "Practice": ["exercises/index.md"],
        "Look up": ["cheatsheet.md", "glossary.md", "symptoms.md", "bibliography.md"],
        "Results": ["results.md", "benchmarks.md"],
        "About": ["coverage.md", "data.md", "teaching.md", "contributing.md"],
    }
    lines = []
    for caption, sources in parts.items():
        lines += ["```{toctree}", ":hidden:", *([f":caption: {caption}"] if caption else []), ""]
        lines += [source for source in sources if source in pages]
        lines += ["```", ""]
    return lines


def chapter_map(chapters: Sequence[Chapter]) -> str:
    """Return the map of the chapters as SVG, every station a link.

    Raises:
        CourseError: the map does not show the chapters that there are.
    """
    if sorted(_STATIONS) != [c.number for c in chapters]:
        raise CourseError(
            "The map in tools/site/home.py does not show the chapters that there are."
        )
    lines = [
        f'<path class="line {name}" d="{path}"/>'
        for name, paths in _LINES.items()
        for path in paths
    ]
    lines.append('<path class="line change" d="M745,60 C810,100 880,90 935,150"/>')
    stations = []
    for chapter in chapters:
        x, y, name, side = _STATIONS[chapter.number]
        label_y = y - 24 if side == "above" else y + 34
        stations.append(
            f'<a href="{_url(chapter)}" aria-label="{_escaped(chapter)}">'
            f'<circle cx="{x}" cy="{y}" r="14"/>'
            f'<text x="{x}" y="{y + 4}" class="number">{chapter.number}</text>'
            f'<text x="{x}" y="{label_y}">{html.escape(name)}</text></a>'
        )
    return (
        '<div class="map" role="group" aria-label="Map of the chapters: foundations from 01 to 08, then '
        'pictures (09, 10), sequences (11, 12, 13) and, from both, graphs (14)">'
        '<svg viewBox="0 0 980 280" xmlns="http://www.w3.org/2000/svg">'
        f"{''.join(lines)}{''.join(stations)}</svg></div>"
    )


def chapter_cards(chapters: Sequence[Chapter]) -> str:
    """Return a card for each chapter: what it is about, its result, its time, what it needs."""
    cards = []
    for chapter in chapters:
        needs = f"needs {', '.join(chapter.needs)}" if chapter.needs else "needs no other chapter"
        cards.append(
            '<div class="card">'
            f'<h3><a href="{_url(chapter)}">{_escaped(chapter)}</a></h3>'
            f"<p>{html.escape(chapter.hook)}</p>"
            f'<p class="result">{html.escape(_with_signs(chapter.result))}</p>'
            f'<p class="facts">{chapter.minutes} min to read · runs in {chapter.seconds} s · {needs}</p>'
            "</div>"
        )
    return f'<div class="cards">{"".join(cards)}</div>'


def _with_signs(text: str) -> str:
    return text.replace("<=", "≤").replace(">=", "≥").replace("==", "=")


def _url(chapter: Chapter) -> str:
    return page_of(chapter.origin).removesuffix(".ipynb") + ".html"


def _escaped(chapter: Chapter) -> str:
    return html.escape(f"{chapter.number} · {chapter.title}")


def start_page(readme: str) -> str:
    """Return what README.md says after its table of chapters, as a page of its own."""
    _, heading, rest = readme.partition("\n## Install\n")
    if not heading:
        raise CourseError("README.md has no section 'Install'.")
    return f"# Install, run, get help\n{heading}{rest}"


def readme_text() -> str:
    """Return the text of README.md."""
    return (repository_root() / "README.md").read_text(encoding="utf-8")
