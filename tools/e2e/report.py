"""What was checked in the browser, and what failed.

A journey is a series of steps. A step that fails is noted, together with a screenshot, and the next one
goes on, so that one run tells everything that is wrong.
"""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from utils.runtime import write_atomically

NAMED = 12
"""So many problems of one step are listed in full; the rest are counted."""


class Step:
    """One step of a journey with the problems found in it.

    Args:
        name: what must hold, in words.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.problems: list[str] = []
        self.seen: dict[str, object] = {}
        self.seconds = 0.0

    def expect(self, holds: bool, otherwise: str) -> None:
        """Note the problem ``otherwise`` unless ``holds``."""
        if not holds:
            self.problems.append(otherwise)

    def note(self, **seen: object) -> None:
        """Keep numbers of what was seen, so that the report shows that a check looked at something."""
        self.seen.update(seen)


class Report:
    """All steps of a run; ``report.json`` and the screenshots go to one folder.

    Args:
        folder: where they go; it is made when missing.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.steps: list[Step] = []
        folder.mkdir(parents=True, exist_ok=True)

    @contextlib.contextmanager
    def step(self, name: str, picture: Callable[[Path], object] | None = None) -> Iterator[Step]:
        """Carry out one step; an exception in it is a problem, not the end.

        Args:
            name: what must hold, in words.
            picture: takes a screenshot when the step fails.
        """
        step = Step(name)
        self.steps.append(step)
        started = time.monotonic()
        try:
            yield step
        except Exception as error:
            lines = str(error).strip().splitlines() or ["no message"]
            step.problems.append(f"{type(error).__name__}: {' '.join(lines[:2])}")
        finally:
            step.seconds = round(time.monotonic() - started, 1)
        if step.problems and picture is not None:
            with contextlib.suppress(Exception):  # the page may be gone: then there is no picture
                picture(self.path(f"failed {name}"))
        print(f"{'failed' if step.problems else 'ok':6}  {step.seconds:5.1f} s  {name}", flush=True)
        for problem in listed(step.problems):
            print(f"        - {problem}", flush=True)

    def path(self, name: str) -> Path:
        """Return where the screenshot with this name goes."""
        return self.folder / f"{re.sub(r'[^a-z0-9]+', '-', name.lower()).strip('-')[:80]}.png"

    @property
    def problems(self) -> list[str]:
        """Every problem, with the step that found it."""
        return [f"{step.name}: {problem}" for step in self.steps for problem in step.problems]

    def save(self) -> None:
        """Write ``report.json``.

        Raises:
            OSError: the folder cannot be written.
        """
        content = {
            "passed": bool(self.steps) and not self.problems,
            "steps": [
                {"name": s.name, "seconds": s.seconds, "seen": s.seen, "problems": s.problems}
                for s in self.steps
            ],
            "screenshots": sorted(path.name for path in self.folder.glob("*.png")),
        }
        text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
        write_atomically(text, self.folder / "report.json")


def listed(problems: Sequence[str]) -> list[str]:
    """Return the problems, each once, a long list cut after the first ones."""
    once = list(dict.fromkeys(problems))
    more = len(once) - NAMED
    return [*once[:NAMED], f"and {more} more: see report.json"] if more > 0 else once
