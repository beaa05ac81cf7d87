"""The website as a reader uses it: on a desktop and a phone, light and dark, served and as files."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from tools.e2e import access
from tools.e2e.browser import DESKTOP, PATIENCE, PHONE, Watch, chromium, open_page
from tools.e2e.report import Report, Step
from tools.e2e.servers import static
from utils.runtime import CourseError

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

SHOWN = (
    "index.html",
    "chapters/02_autograd.html",
    "chapters/12_lstm_metro.html",
    "exercises/02_autograd.html",
    "cheatsheet.html",
    "results.html",
)
"""Pages that are looked at closely; between them they have every kind of content."""

WITH_FORMULAS, CHAPTERS, SEARCHED = "chapters/02_autograd.html", "chapters/", "GCN"
LONG = ("chapters/", "cheatsheet")
"""Pages of thousands of elements, for which axe needs many seconds: on each screen in one scheme only."""

SIZES = {"phone": PHONE, "desktop": DESKTOP}
SCHEMES = ("light", "dark")
ONCE = (("phone", "dark"), ("desktop", "light"))
LIMIT = 30_000 * PATIENCE
"""Milliseconds for what should take a moment."""


@dataclass
class Seen:
    """What a page held when it was loaded.

    Attributes:
        problems: requests that failed or left the site, errors on the console.
        links: the absolute addresses that it links to.
        ids: the places on it that a link may name.
        too_wide: pixels by which it is wider than the window, with the elements that stick out.
    """

    problems: list[str]
    links: list[str] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)
    too_wide: str = ""


def check_site(site: Path, report: Report) -> None:
    """Go through the built website.

    Args:
        site: its folder.
        report: takes what was found.

    Raises:
        CourseError: there is no website, or Chromium or Playwright is missing.
    """
    if not (site / "index.html").is_file():
        raise CourseError(f"There is no website in {site}: run make site first.")
    with static(site) as url, chromium() as browser:
        journey = _Journey(site.resolve(), url, browser, report)
        journey.every_page()
        journey.navigation()
        journey.search(url, "served")
        journey.search(site.resolve().as_uri() + "/", "as files, without a server")
        journey.dark_mode()
        journey.formulas()
        for size in SIZES:
            for scheme in SCHEMES:
                journey.look(SHOWN, size, scheme)


class _Journey:
    def __init__(self, site: Path, url: str, browser: Browser, report: Report) -> None:
        self.site, self.url, self.browser, self.report = site, url, browser, report

    # --- every page ---------------------------------------------------------------------------------

    def every_page(self) -> None:
        """Load each page once, as on a phone."""
        seen: dict[str, Seen] = {}
        names = [path.relative_to(self.site).as_posix() for path in self.site.rglob("*.html")]
        with self.page("site: every page loads by itself", PHONE) as (page, watch, step):
            for name in sorted(names):
                seen[name] = look_at(page, watch, self.url + name)
                step.problems += [f"{name}: {problem}" for problem in seen[name].problems]
            step.note(pages=len(seen), requests=watch.requests)
            step.expect(watch.requests > len(seen), "hardly a request was seen")
        with self.report.step("site: every link leads somewhere") as step:
            step.problems += broken_links(seen, self.url, self.site)
            links = sum(len(page.links) for page in seen.values())
            step.note(links=links)
            step.expect(links > 10 * len(seen), f"only {links} links were found")
        with self.report.step("site: no page is wider than a phone") as step:
            step.problems += [
                f"{name}: {page.too_wide}" for name, page in seen.items() if page.too_wide
            ]

    # --- finding one's way --------------------------------------------------------------------------

    def navigation(self) -> None:
        """From the landing page to a chapter, on and back; on a phone by the menu."""
        with self.page("site: landing page, chapter, next, previous") as (page, watch, step):
            page.goto(self.url)
            article(page).locator("a[href*='chapters/01_']").first.click()
            page.wait_for_url("**/chapters/01_*")
            page.locator("a.next-page").click()
            page.wait_for_url("**/chapters/02_*")
            step.note(second=page.title())
            page.locator("a.prev-page").click()
            page.wait_for_url("**/chapters/01_*")
            step.problems += watch.take()
        with self.page("site: the menu of a phone leads to a chapter", PHONE) as (
            page,
            watch,
            step,
        ):
            page.goto(self.url)
            chapter = page.locator(".sidebar-drawer a[href*='chapters/14_']").first
            step.expect(not in_window(chapter), "the menu is open from the start")
            page.locator("label.nav-overlay-icon").first.click()
            page.wait_for_timeout(500)  # it slides in
            step.expect(in_window(chapter), "the menu does not open")
            page.screenshot(path=self.report.path("site phone menu"))
            chapter.click()
            page.wait_for_url("**/chapters/14_*")
            step.problems += watch.take()

    def search(self, url: str, how: str) -> None:
        """Search from the landing page and follow the first result.

        Args:
            url: where the site is, with a slash at the end.
            how: how it is reached, in words.
        """
        name = f"site: the search finds {SEARCHED}, {how}"
        with self.page(name, origin=url) as (page, watch, step):
            page.goto(f"{url}index.html")
            field = page.locator("input[name='q']").first
            field.fill(SEARCHED)
            field.press("Enter")
            found = page.locator("#search-results li a")
            found.first.wait_for()
            page.wait_for_timeout(500)  # the excerpts come
            step.note(results=found.count(), first=found.first.text_content())
            page.screenshot(path=self.report.path(f"site search {how}"))
            found.first.click()
            page.wait_for_url(lambda address: "search.html" not in address)
            text = article(page).text_content() or ""
            step.expect(SEARCHED in text, f"{page.url} does not hold {SEARCHED}")
            step.problems += watch.take()

    def dark_mode(self) -> None:
        """Choose the dark theme with the button; it holds on the next page."""
        with self.page("site: dark mode by the button, and it holds") as (page, watch, step):
            page.goto(self.url)
            step.expect(ground(page) > 0.8, "the site is not light when the system is")
            button = page.locator("button.theme-toggle:visible").first
            for _ in range(3):  # automatic, light, dark
                button.click()
                if page.locator("body[data-theme='dark']").count():
                    break
            step.expect(ground(page) < 0.2, "the button does not lead to a dark page")
            page.goto(self.url + SHOWN[1])
            step.expect(ground(page) < 0.2, "the next page is light again")
            step.problems += watch.take()

    def formulas(self) -> None:
        """Formulas are drawn, by the copy of MathJax on the site."""
        with self.page("site: formulas are drawn") as (page, watch, step):
            page.goto(self.url + WITH_FORMULAS)
            settle(page)
            drawn = page.locator("mjx-container svg").count()
            step.note(formulas=drawn)
            step.expect(drawn > 3, f"{drawn} formulas on {WITH_FORMULAS}")
            failed = page.locator("mjx-merror, [data-mjx-error]").all_text_contents()
            step.expect(not failed, f"not understood: {failed}")
            formula = page.locator("div.math mjx-container, mjx-container").first
            formula.scroll_into_view_if_needed()
            page.screenshot(path=self.report.path("site formulas"))
            step.problems += watch.take()

    # --- looks --------------------------------------------------------------------------------------

    def look(self, names: Sequence[str], size: str, scheme: str) -> None:
        """Hold pages to the accessibility checker and keep a screenshot of each.

        Args:
            names: the pages.
            size: ``"phone"`` or ``"desktop"``.
            scheme: ``"light"`` or ``"dark"``, what the reader's system prefers.
        """
        title = f"site: accessible, {size}, {scheme}"
        with self.page(title, SIZES[size], color_scheme=scheme) as (page, _, step):
            for name in names:
                page.goto(self.url + name)
                settle(page)
                step.expect((ground(page) < 0.2) == (scheme == "dark"), f"{name}: not {scheme}")
                if not name.startswith(LONG) or (size, scheme) in ONCE:
                    self.accessible(page, name, step)
                base = f"site {scheme} {size} {name.removesuffix('.html')}"
                page.screenshot(path=self.report.path(base))
                # what a page is about lies further down: figures, tables, folded solutions
                inside = article(page).locator("img, .cell_output table, details, table").first
                if inside.count():
                    inside.scroll_into_view_if_needed()
                    page.screenshot(path=self.report.path(f"{base} inside"))

    def accessible(self, page: Page, name: str, step: Step) -> None:
        """Hold one page to the accessibility checker."""
        # the rows of a long table are alike, and the time grows with the square of their number
        page.evaluate("document.querySelectorAll('tr:nth-child(n+40)').forEach(r => r.remove())")
        problems, kept = access.problems_of(page)
        step.problems += [f"{name}: {problem}" for problem in problems]
        step.note(**{name: kept})
        step.expect(kept > 10, f"{name}: only {kept} of axe's rules have to do with it")

    @contextlib.contextmanager
    def page(
        self,
        name: str,
        size: tuple[int, int] = DESKTOP,
        origin: str | None = None,
        **context: Any,
    ) -> Iterator[tuple[Page, Watch, Step]]:
        """A fresh window for one step."""
        page, watch = open_page(self.browser, [origin or self.url], size, **context)
        page.set_default_timeout(LIMIT)
        try:
            with self.report.step(name, lambda path: page.screenshot(path=path)) as step:
                yield page, watch, step
        finally:
            page.context.close()


def look_at(page: Page, watch: Watch, address: str) -> Seen:
    """Load a page and return what it held.

    Args:
        page: the window.
        watch: the watch on it.
        address: what to load.
    """
    page.goto(address)
    settle(page)
    links, ids, too_wide = page.evaluate(_CONTENT)
    return Seen(watch.take(), links, set(ids), too_wide)


_CONTENT = """() => {
    const ids = [...document.querySelectorAll("[id], a[name]")].map(e => e.id || e.name);
    const links = [...document.querySelectorAll("a[href], area[href]")].map(a =>
        new URL(a.getAttribute("href"), document.baseURI).href);
    const width = document.documentElement.clientWidth;
    const more = document.documentElement.scrollWidth - width;
    const scrolls = e => e && (getComputedStyle(e).overflowX !== "visible" || scrolls(e.parentElement));
    const out = [...document.body.querySelectorAll("*")].filter(e =>
        e.getBoundingClientRect().right > width + 1 && !scrolls(e.parentElement));
    const name = e => e.tagName.toLowerCase() + [...e.classList].map(c => "." + c).join("");
    const culprits = out.slice(0, 3).map(name).join(", ");
    return [links, ids, more > 0 ? `${more} pixels too wide: ${culprits}` : ""];
}"""


def broken_links(seen: dict[str, Seen], url: str, site: Path) -> list[str]:
    """Return the links within the site that lead to no page, no file or no place on a page.

    Args:
        seen: what each page held, by its path within the site.
        url: address of the site, with a slash at the end.
        site: its folder.
    """
    problems = []
    for name, page in seen.items():
        for link in dict.fromkeys(page.links):
            if not link.startswith(url):
                continue
            parts = urlsplit(link.removeprefix(url))
            target = unquote(parts.path) or "index.html"
            target += "index.html" if target.endswith("/") else ""
            place = unquote(parts.fragment)
            if target not in seen and not (site / target).is_file():
                problems.append(f"{name} links to {target}, which is missing")
            elif target in seen and place and place not in seen[target].ids:
                problems.append(f"{name} links to {target}#{place}, and there is no such place")
    return problems


def article(page: Page) -> Locator:
    """The content of a page, without menus."""
    return page.locator("article[role='main'], [role='main'], main").first


def settle(page: Page) -> None:
    """Wait until the formulas are drawn; their boxes change the width of a page."""
    page.evaluate("() => window.MathJax?.startup?.promise?.then(() => true)")


def in_window(place: Locator) -> bool:
    """Whether an element lies within the width of the window."""
    box = place.bounding_box()
    return box is not None and 0 <= box["x"] < PHONE[0]


def ground(page: Page) -> float:
    """How light the ground of a page is, from 0 to 1."""
    return float(
        page.evaluate("""() => {
            const [red, green, blue] = getComputedStyle(document.body).backgroundColor
                .match(/[\\d.]+/g).map(Number);
            return (red + green + blue) / 765;
        }""")
    )
