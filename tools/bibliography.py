"""The bibliography: every work that a chapter cites, once, with the chapters that cite it.

The references at the end of the chapters are the source. They are written in two or three ways;
:func:`page` brings them into one. Two references are one work when they share a DOI, an arXiv number,
or title and year.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from tools.cheatsheet import link
from utils.notebooks import find_chapters, read_notebook

DOI = re.compile(r"doi:(10\.\d{4,9}/[^\s,;]*[^\s,;.])")
ARXIV = re.compile(r"arXiv:(\d{4}\.\d{4,5})(?!\d)")
_INVERTED = re.compile(r"([A-Z][\w'’-]+), ((?:[A-Z]\. ?)+)(?:,? and |, |$)")
_FORMS = (
    re.compile(r"(?P<authors>.+?) \((?P<year>\d{4})\): \*(?P<title>.+?)\*[.,]?(?P<rest>.*)"),
    re.compile(r"(?P<authors>.+?) \((?P<year>\d{4})\)\. (?P<title>.+?)\.(?P<rest> .*)"),
    re.compile(r"(?P<authors>.+?), \*(?P<title>.+?)\*,(?P<rest>.*?)(?P<year>(?:19|20)\d\d)?,?"),
)
"""``A. Author (2015): *Title*. Rest``, ``... (2015). Title. Rest`` and ``..., *Title*, Rest, 2015``."""


@dataclass
class Reference:
    """One reference of one chapter."""

    chapter: str
    text: str
    """As it stands in the chapter, on one line."""
    authors: str = ""
    year: str = ""
    title: str = ""
    rest: str = ""
    """Where it appeared, without DOI and arXiv number."""
    doi: str | None = None
    arxiv: str | None = None


@dataclass
class Work:
    """What one or several references name."""

    references: list[Reference] = field(default_factory=list)

    @property
    def best(self) -> Reference:
        """The reference that says most about where the work appeared."""
        return max(self.references, key=lambda r: (bool(r.title), len(r.rest)))

    def one_of(self, name: str) -> str | None:
        """The DOI or arXiv number, from whichever reference has it."""
        return next((v for r in self.references if (v := getattr(r, name))), None)


def references(chapters: list[Path] | None = None) -> list[Reference]:
    """Return the references of the chapters in their order.

    Args:
        chapters: the notebooks; all of the course when left out.
    """
    found = []
    for path in chapters or find_chapters():
        text = "\n".join(c.source for c in read_notebook(path).cells if c.cell_type == "markdown")
        section = text.partition("\n## References\n")[2].partition("\n## ")[0]
        for item in re.split(r"^- ", section, flags=re.MULTILINE)[1:]:
            found.append(parse(path.stem, " ".join(item.split())))
    return found


def parse(chapter: str, text: str) -> Reference:
    """Take a reference apart as far as its form is known; otherwise only its text is kept.

    Args:
        chapter: name of the chapter.
        text: the reference on one line, without the dash.
    """
    doi, arxiv = DOI.search(text), ARXIV.search(text)
    numbers = {"doi": doi and doi[1], "arxiv": arxiv and arxiv[1]}
    plain = ARXIV.sub("", re.sub(r"(Data: )?" + DOI.pattern, "", text))
    plain = re.sub(r"[\s,]*[.,\s]*$", "", plain)
    for form in _FORMS:
        if match := form.fullmatch(plain + ("." if form is _FORMS[1] else "")):
            break
        if match := form.fullmatch(plain + ". "):
            break
    else:
        return Reference(chapter, text, **numbers)
    parts = match.groupdict()
    rest = re.sub(
        r",? ?\(?\b(chapters?|sections?) [\d.]+(?:(?:, | and )[\d.]+)*\)?", "", parts["rest"]
    )
    rest = re.sub(r"\s+", " ", rest).strip(" .,")
    return Reference(
        chapter,
        text,
        _in_order(parts["authors"]),
        parts["year"] or "",
        parts["title"],
        rest,
        **numbers,
    )


def _in_order(authors: str) -> str:
    """First names first: ``Ba, J. and Kingma, D. P.`` becomes ``J. Ba, D. P. Kingma``."""
    people = _INVERTED.findall(authors)
    if people and _INVERTED.match(authors):
        return ", ".join(f"{first.strip()} {last}" for last, first in people)
    return authors


def _keys(reference: Reference) -> set[str]:
    keys = {k for k in (reference.doi, reference.arxiv) if k}
    title = re.sub(r"\W+", " ", reference.title).casefold().strip()
    keys.add(f"{title} {reference.year}" if title else reference.text)
    return keys


def works(found: list[Reference] | None = None) -> list[Work]:
    """Return the works, sorted by first author and year.

    Args:
        found: the references; those of all chapters when left out.
    """
    groups: list[tuple[set[str], Work]] = []
    for reference in references() if found is None else found:
        keys, work = _keys(reference), Work()
        for group in [g for g in groups if g[0] & keys]:
            groups.remove(group)
            keys |= group[0]
            work.references += group[1].references
        work.references.append(reference)
        groups.append((keys, work))
    return sorted((work for _, work in groups), key=_order)


def _order(work: Work) -> tuple[str, str, str]:
    best = work.best
    first = re.split(r",| et al\.| \(", best.authors or best.text)[0]
    # a person has initials before the name, an institution has none
    surname = first.split()[-1] if re.match(r"[A-Z]\.", first) else first
    return surname.casefold(), best.year, best.title


def differences() -> list[str]:
    """Return the works that two chapters cite with another title or year, one sentence each."""
    found = []
    for work in works():
        titles = {r.title.casefold() for r in work.references}
        years = {r.year for r in work.references}
        if len(titles) > 1 or len(years) > 1:
            who = "; ".join(f"{r.chapter[:2]}: {r.text}" for r in work.references)
            found.append(f"One work, several references: {who}")
    return found


def page() -> str:
    """Return the bibliography as Markdown, with links as from a file in ``docs/``."""
    found = works()
    lines = [
        "# Bibliography",
        "",
        f"The {len(found)} works that the chapters cite, sorted by author, with the chapters that cite"
        " them. The page is made from the references of the chapters.",
        "",
    ]
    return "\n".join(lines + [f"- {entry(work)}" for work in found]) + "\n"


def entry(work: Work) -> str:
    """Return one work as a line of Markdown."""
    best = work.best
    if best.title:
        year = f" ({best.year})" if best.year else ""
        text = f"{best.authors}{year}: *{best.title}*" + ("" if best.title.endswith("?") else ".")
        text += f" {best.rest}." if best.rest else ""
    else:
        text = ARXIV.sub("", DOI.sub("", best.text)).rstrip(" .,") + "."
    if doi := work.one_of("doi"):
        text += f" [doi:{doi}](https://doi.org/{doi})."
    if arxiv := work.one_of("arxiv"):
        text += f" [arXiv:{arxiv}](https://arxiv.org/abs/{arxiv})."
    chapters = dict.fromkeys(r.chapter for r in work.references)
    links = [link(c, "References").replace(" · References]", "]") for c in sorted(chapters)]
    return f"{text} Cited in {', '.join(links)}."
