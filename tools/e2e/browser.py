"""Chromium without a window, and a watch on what its pages load and complain about."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from utils.runtime import CourseError

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page, Request, Response, Route

NAMES = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PHONE, DESKTOP = (390, 844), (1280, 900)
"""Width and height of the window in CSS pixels."""

PATIENCE = float(os.environ.get("COURSE_PATIENCE", "1"))
"""Every time limit is multiplied by this: a busy machine or a small board needs more."""

WITHIN_THE_PAGE = ("data:", "blob:", "about:")


def find_chromium() -> str:
    """Return the path of Chromium or Chrome.

    Raises:
        CourseError: there is none, or ``COURSE_CHROMIUM`` names no program.
    """
    named = os.environ.get("COURSE_CHROMIUM")
    found = next(filter(None, map(shutil.which, [named] if named else NAMES)), None)
    if found is None:
        looked = f"COURSE_CHROMIUM = {named!r} is no program" if named else "Chromium is missing"
        raise CourseError(
            f"{looked}: install it (Debian: apt-get install chromium) "
            "or name its path in COURSE_CHROMIUM."
        )
    return found


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """Run Chromium without a window.

    Raises:
        CourseError: Playwright or Chromium is missing.
    """
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise CourseError(
            "Playwright is missing: run .venv/bin/python -m pip install -r requirements-site.txt."
        ) from None
    path = find_chromium()
    # Chromium's sandbox refuses to work for root, as whom containers run
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    arguments = [*ARGUMENTS, *(["--no-sandbox"] if root else [])]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=arguments, timeout=180_000 * PATIENCE
        )
        try:
            yield browser
        finally:
            browser.close()


class Watch:
    """Notes what goes wrong on a page, and stops every request that leaves its own origin.

    Args:
        page: a page that has not loaded anything yet.
        origins: beginnings of the addresses it may load, such as ``"http://127.0.0.1:8000/"``.
    """

    def __init__(self, page: Page, origins: Sequence[str]) -> None:
        sockets = [origin.replace("http", "ws", 1) for origin in origins]
        self.own = (*origins, *sockets, *WITHIN_THE_PAGE)
        self.requests = 0
        self.problems: list[str] = []
        foreign = re.compile(f"^(?!{'|'.join(map(re.escape, self.own))})")
        page.route(foreign, self._stop)
        page.on("request", self._count)
        page.on("websocket", lambda socket: self._expect_own(socket.url))
        page.on("requestfailed", self._failed)
        page.on("response", self._answered)
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.problems.append(f"script error: {error}"))

    def _stop(self, route: Route) -> None:
        self._expect_own(route.request.url)
        route.abort()

    def _expect_own(self, address: str) -> None:
        if not address.startswith(self.own):
            self.problems.append(f"external request: {address}")

    def _count(self, _: Request) -> None:
        self.requests += 1

    def _failed(self, request: Request) -> None:
        # a page that is left stops what it still loads
        if request.url.startswith(self.own) and request.failure != "net::ERR_ABORTED":
            self.problems.append(f"failed request: {request.url} ({request.failure})")

    def _answered(self, response: Response) -> None:
        if response.status >= 400:
            self.problems.append(f"failed request: {response.url} (status {response.status})")

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.problems.append(f"console: {message.text[:200]}")

    def take(self) -> list[str]:
        """Return what went wrong since the last call, each problem once."""
        found, self.problems = self.problems, []
        return list(dict.fromkeys(found))


def open_page(
    browser: Browser,
    origins: Sequence[str],
    size: tuple[int, int] = DESKTOP,
    **context: Any,
) -> tuple[Page, Watch]:
    """Return a fresh page (no cookies, nothing stored) and the watch on it.

    Args:
        browser: where it opens.
        origins: beginnings of the addresses that it may load.
        size: width and height in CSS pixels.
        context: further settings of the context, such as ``color_scheme="dark"``.
    """
    width, height = size
    page = browser.new_context(viewport={"width": width, "height": height}, **context).new_page()
    return page, Watch(page, origins)
