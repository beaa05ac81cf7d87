"""What every benchmark of recipes consists of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tools.benchmarks.watch import Watch


@dataclass(frozen=True)
class Recipe:
    """One way to train.

    Attributes:
        run: trains under a watch and returns the quality on the test data.
        text: what it does, in one line, with its source.
    """

    run: Callable[[Watch], float]
    text: str


@dataclass(frozen=True)
class Race:
    """Several recipes for one task, and what they have to reach on its validation data.

    Attributes:
        title: the task.
        measure: the quality and what it is measured on.
        form: how to print it, a format specification.
        at_most: True for an error, False for a share of right answers.
        targets: the qualities, easiest first, each with its reason.
        recipes: by name; ``"classic"`` is the notes', ``"course"`` the chapter's, and ``"mended"``,
            if there is one, the notes' without the mistake that keeps it from learning.
    """

    title: str
    measure: str
    form: str
    at_most: bool
    targets: dict[float, str]
    recipes: dict[str, Recipe]
