"""The command ``python -m tools.e2e [site] [lab]``."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from tools.e2e.report import Report
from utils.notebooks import repository_root
from utils.runtime import CourseError

PARTS = ("site", "lab")


def main(arguments: Sequence[str] | None = None) -> int:
    """Check what the command line asks for and return the exit status."""
    build = repository_root() / "build"
    parser = argparse.ArgumentParser(
        prog="python -m tools.e2e",
        description="Go through the website and JupyterLab in a real browser.",
    )
    parser.add_argument("parts", nargs="*", metavar="site|lab", help="one of them; both by default")
    parser.add_argument("--site", type=Path, default=build / "site", help="the built website")
    parser.add_argument("--out", type=Path, default=build / "e2e", help="for report and pictures")
    options = parser.parse_args(arguments)
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"unknown part {', '.join(sorted(unknown))}: choose site or lab")
    try:
        return _check(options.parts or PARTS, options.site, options.out)
    except CourseError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130


def _check(parts: Sequence[str], site: Path, out: Path) -> int:
    report = Report(out)
    try:
        if "site" in parts:
            from tools.e2e.site import check_site

            check_site(site, report)
        if "lab" in parts:
            from tools.e2e.lab import check_lab

            check_lab(report)
    finally:
        report.save()
    failed = [step for step in report.steps if step.problems]
    seconds = sum(step.seconds for step in report.steps)
    print(f"{len(report.steps)} steps in {seconds:.0f} s, {len(failed)} failed; see {out}/")
    return 1 if failed or not report.steps else 0


if __name__ == "__main__":
    # ending by a signal closes what was started, as Ctrl-C does
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main())
