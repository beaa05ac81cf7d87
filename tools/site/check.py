"""Hold a built site to its promises: ``python -m tools.site.check [FOLDER]``.

Links and anchors lead somewhere, nothing is loaded from elsewhere, every picture has a description,
every page one heading and a title, the search knows the course's words, and no page tells a path of
the machine that built it. Exit status: 0 when all is well, 1 when something is wrong, 2 when there is
no site.
"""

from __future__ import annotations

import argparse
import json
import posixpath
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from utils.notebooks import repository_root
from utils.runtime import CourseError

SITE = repository_root() / "build" / "site"
SEARCHED = ("gcn", "lstm")
"""Words that the search must find."""

_LOADS = {
    "audio": ("src",),
    "embed": ("src",),
    "iframe": ("src",),
    "image": ("href", "xlink:href"),
    "img": ("src", "srcset"),
    "input": ("src",),
    "object": ("data",),
    "script": ("src",),
    "source": ("src", "srcset"),
    "track": ("src",),
    "use": ("href", "xlink:href"),
    "video": ("src", "poster"),
}
_MERE_LINKS = {"author", "canonical", "help", "index", "license", "next", "prev", "search", "top"}
"""Relations of ``<link>`` for which a browser loads nothing."""

_PATH = re.compile(r"(?<![\w.~/-])/(?:home|root|work|tmp|Users|var/folders)/[^\s'\"<]*")


@dataclass
class _Page:
    """What the checks want to know of a page."""

    text: str
    ids: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    loaded: list[str] = field(default_factory=list)
    pictures_without_alt: list[str] = field(default_factory=list)
    headings: int = 0
    title: str = ""


class _Reader(HTMLParser):
    """Reads a page into a :class:`_Page`."""

    def __init__(self, page: _Page) -> None:
        super().__init__()
        self.page = page
        self._inside: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        page, values = self.page, {name: value or "" for name, value in attrs}
        if tag in {"title", "style", "head", "svg"}:
            self._inside.append(tag)
        if "id" in values:
            page.ids.add(values["id"])
        if tag == "a":
            page.ids.add(values.get("name", values.get("id", "")))
        page.headings += tag == "h1"
        if tag in {"a", "area"} and "href" in values:
            page.links.append(values["href"])
        if tag == "form" and "action" in values:
            page.links.append(values["action"])
        if tag == "img" and not _describes(values.get("alt", "")):
            page.pictures_without_alt.append(values.get("src", ""))
        self._note_loads(tag, values)

    handle_startendtag = handle_starttag

    def _note_loads(self, tag: str, values: dict[str, str]) -> None:
        for name in _LOADS.get(tag, ()):
            if name in values:
                parts = values[name].split(",") if name == "srcset" else [values[name]]
                self.page.loaded += [part.split()[0] for part in parts if part.strip()]
        if tag == "link":
            is_link = set(values.get("rel", "").lower().split()) <= _MERE_LINKS
            (self.page.links if is_link else self.page.loaded).append(values.get("href", ""))
        self.page.loaded += _in_css(values.get("style", ""))

    def handle_endtag(self, tag: str) -> None:
        if tag in self._inside:
            while self._inside.pop() != tag:
                pass

    def handle_data(self, data: str) -> None:
        if "title" in self._inside and "svg" not in self._inside:
            self.page.title += data
        if "style" in self._inside:
            self.page.loaded += _in_css(data)


def check_site(site: Path) -> list[str]:
    """Return what is wrong with a site, one sentence each.

    Args:
        site: its folder.

    Raises:
        CourseError: there is no site.
    """
    paths = sorted(site.rglob("*.html"))
    if not (site / "index.html").is_file():
        raise CourseError(f"There is no website in {site}: make one with python -m tools.site.")
    pages = {path.relative_to(site).as_posix(): _read(path) for path in paths}
    problems = [
        f"{name}: {problem}"
        for name, page in pages.items()
        for problem in (*_check_page(page), *_check_targets(name, page, pages, site))
    ]
    for path in sorted(site.rglob("*.css")):
        for target in _in_css(path.read_text(encoding="utf-8")):
            if _is_elsewhere(target):
                problems.append(f"{path.relative_to(site)}: it loads {target} from elsewhere.")
    return problems + list(_check_search(site))


def _read(path: Path) -> _Page:
    page = _Page(path.read_text(encoding="utf-8"))
    reader = _Reader(page)
    reader.feed(page.text)
    reader.close()
    return page


def _check_page(page: _Page) -> Iterator[str]:
    if page.headings != 1:
        yield f"it has {page.headings} main headings (h1) instead of one."
    if not page.title.strip():
        yield "it has no title."
    for picture in page.pictures_without_alt:
        yield f"the picture {picture} has no description (alt)."
    machine = {str(repository_root()), str(Path.home()), sys.prefix} - {"/", "/usr", "/usr/local"}
    told = {path for path in machine if path in page.text} | set(_PATH.findall(page.text))
    for path in sorted(told):
        yield f"it tells the path {path} of this machine."


def _check_targets(name: str, page: _Page, pages: dict[str, _Page], site: Path) -> Iterator[str]:
    for target in dict.fromkeys(page.loaded):
        if _is_elsewhere(target):
            yield f"it loads {target} from elsewhere."
    for target in dict.fromkeys(page.links + page.loaded):
        parts = urlsplit(target)
        if parts.scheme or parts.netloc:
            continue
        path = posixpath.normpath(posixpath.join(posixpath.dirname(name), unquote(parts.path)))
        path = path if parts.path else name
        if path.startswith("..") or not (site / path).is_file():
            yield f"the link {target} leads nowhere."
        elif path in pages and parts.fragment and unquote(parts.fragment) not in pages[path].ids:
            yield f"the link {target} leads to a page, but not to a place on it."


def _check_search(site: Path) -> Iterator[str]:
    try:
        text = (site / "searchindex.js").read_text(encoding="utf-8")
        index = json.loads(text.removeprefix("Search.setIndex(").removesuffix(")"))
        known = {*index["terms"], *index["titleterms"]}
    except (OSError, json.JSONDecodeError, KeyError):
        yield "The search has no index."
        return
    for word in SEARCHED:
        if word not in known:
            yield f"The search does not find {word!r}."


def _describes(alt: str) -> bool:
    """Whether a description says anything; where there is none, Sphinx writes the file's name."""
    return bool(alt.strip()) and not re.fullmatch(r"\S+\.(png|jpe?g|gif|svg|webp)", alt.strip())


def _in_css(text: str) -> list[str]:
    found = re.findall(r"url\(\s*['\"]?([^'\")]+)|@import\s+['\"]([^'\"]+)", text)
    return [a or b for a, b in found if not (a or b).startswith(("#", "data:"))]


def _is_elsewhere(target: str) -> bool:
    return target.startswith("//") or urlsplit(target).scheme in {"http", "https", "ftp"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Check the site that the command line names and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.site.check", description=__doc__)
    parser.add_argument("site", type=Path, nargs="?", default=SITE)
    options = parser.parse_args(arguments)
    try:
        problems = check_site(options.site)
    except CourseError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
