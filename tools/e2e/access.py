"""The accessibility checker axe: contrast, alternative texts, names of links, order of headings …"""

from __future__ import annotations

from typing import TYPE_CHECKING

from utils.runtime import CourseError

if TYPE_CHECKING:
    from playwright.sync_api import Page

GRAVE = ("serious", "critical")
ALWAYS = ("heading-order", "page-has-heading-one")
"""Rules that axe calls moderate and that we keep nevertheless."""


FORMULAS = ["mjx-container"]
"""Thousands of strokes, which have no text of their own."""


def problems_of(
    page: Page, within: str | None = None, rules: list[str] | None = None
) -> tuple[list[str], int]:
    """Return what axe finds on a page, and how many of its rules the page keeps.

    Args:
        page: a loaded page.
        within: CSS selector of the parts to look at; the whole page when left out.
        rules: the names of axe's rules to apply; all of them when left out.

    Raises:
        CourseError: the package with axe is missing.
    """
    try:
        from axe_playwright_python.sync_playwright import Axe
    except ImportError:
        raise CourseError(
            "The accessibility checker is missing: run "
            ".venv/bin/python -m pip install -r requirements-site.txt."
        ) from None
    only = {"runOnly": {"type": "rule", "values": rules}} if rules else {}
    context = {"include": [within or "html"], "exclude": FORMULAS}
    found = Axe().run(page, context, {"resultTypes": ["violations"], **only}).response
    problems = [
        f"{violation['id']} ({violation['impact']}): {_reason(node)} at {_place(node)}"
        for violation in found["violations"]
        for node in violation["nodes"]
        if violation["impact"] in GRAVE or violation["id"] in ALWAYS
    ]
    return problems, len(found["passes"])


def _reason(node: dict) -> str:
    """The first of axe's explanations; of a contrast it names the numbers."""
    checks = [*node["any"], *node["all"], *node["none"]]
    return str(checks[0]["message"]).split(". ")[0][:200] if checks else "no explanation"


def _place(node: dict) -> str:
    return " ".join(map(str, node["target"]))[:160]
