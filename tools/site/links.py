"""Where a file of the repository stands on the site, and the links that follow from it."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from utils.runtime import CourseError

_CHAPTER = re.compile(r"notebooks/(?:(exercises|solutions)/)?(\d\d_\w+)\.ipynb")
_PAGES = {
    "README.md": "start.md",
    "CONTRIBUTING.md": "contributing.md",
    "data": "data.md",
    "data/README.md": "data.md",
    "notebooks": "index.md",
    "notebooks/exercises": "exercises/index.md",
    "notebooks/solutions": "exercises/index.md",
}

FILES = "files"
"""Folder of the staged sources for files that a page offers as they are."""

# Code and formulas come first, so that what looks like a link inside of them is passed over.
_LINK = re.compile(
    r"(?P<verbatim>^(?P<fence>`{3,}|~{3,}).*?^(?P=fence)[^\S\n]*$|(?P<ticks>`+).+?(?P=ticks)|\$[^$]+\$)"
    r"|(?P<picture>!\[[^\]]*)?\]\((?P<target>[^)\s]+)",
    re.MULTILINE | re.DOTALL,
)


def page_of(path: str) -> str | None:
    """Return the source of the page that shows a file of the repository; None when no page does.

    Args:
        path: relative to the repository, such as ``"notebooks/03_data.ipynb"``.
    """
    if match := _CHAPTER.fullmatch(path):
        return f"{'exercises' if match[1] else 'chapters'}/{match[2]}.ipynb"
    if match := re.fullmatch(r"docs/(\w+\.md)", path):
        return match[1]
    return _PAGES.get(path)


def anchor_on_page(anchor: str) -> str:
    """Return the anchor of a heading on the site for the one that Jupyter or GitHub gives it.

    All three come from the heading's text: Jupyter keeps capitals and punctuation, GitHub and the site
    do not.
    """
    return re.sub(r"[^\w-]", "", unquote(anchor).lower())


@dataclass
class Links:
    """Turns links between files of the repository into links between pages.

    Args:
        root: the repository.
        pages: sources of the pages that the site has; a link to another one is an error.
    """

    root: Path
    pages: set[str]
    files: set[str] = field(default_factory=set)
    """Files that are no pages but are linked to, relative to the repository."""

    def mapped(self, markdown: str, origin: str, page: str) -> str:
        """Return a text of the repository with its links as they must read on the site.

        Args:
            markdown: the text.
            origin: the file it comes from, relative to the repository.
            page: source of the page it goes to, relative to the staged sources.

        Raises:
            CourseError: a link leads nowhere.
        """

        def replace(match: re.Match[str]) -> str:
            if match["verbatim"]:
                return match[0]
            target = self._target(match["target"], origin, page, is_picture=bool(match["picture"]))
            return f"{match['picture'] or ''}]({target}"

        return _LINK.sub(replace, markdown)

    def _target(self, target: str, origin: str, page: str, *, is_picture: bool) -> str:
        if re.match(r"[a-z]+:", target):
            return target
        path, _, anchor = target.partition("#")
        anchor = f"#{anchor_on_page(anchor)}" if anchor else ""
        if not path:
            return anchor
        found = posixpath.normpath(posixpath.join(posixpath.dirname(origin), unquote(path)))
        if shown_on := page_of(found):
            if shown_on in self.pages:
                return relative(shown_on, page) + anchor
        elif (self.root / found).is_file() and not found.startswith(".."):
            return ("" if is_picture else "path:") + self.file(found, page)
        raise CourseError(f"{origin} links to {target}, which does not exist on the site.")

    def file(self, path: str, page: str) -> str:
        """Return where a page finds a file of the repository, and have that file staged."""
        self.files.add(path)
        return relative(f"{FILES}/{path}", page)


def relative(target: str, page: str) -> str:
    """Return the way from a page to a file, both relative to the site or to its sources."""
    return posixpath.relpath(target, PurePosixPath(page).parent.as_posix())
