"""A chapter's results: recorded, held to their bars, shown, and handed to whoever runs the chapter."""

from __future__ import annotations

import datetime
import html
import json
import math
import operator
import os
import platform
import sys
import time
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from utils.runtime import CourseError

if TYPE_CHECKING:
    import torch

RESULTS_MIME = "application/vnd.pytorch-course.results+json"
"""Type under which :meth:`Scoreboard.finish` hands the results to the runner."""

BANDS = Path(__file__).resolve().parents[1] / "docs" / "bands.json"
"""What the metrics reach over several seeds and numbers of threads (``make bands`` measures it)."""

_OPERATORS = {"<=": operator.le, ">=": operator.ge, "==": operator.eq}


@dataclass(frozen=True)
class Result:
    """One recorded number beside its bar and its baseline."""

    metric: str
    value: float
    label: str
    op: str | None
    bound: float | None
    baseline: float | None
    baseline_name: str | None
    headline: bool
    digits: int

    @property
    def passed(self) -> bool:
        """Whether the value keeps its bar (a result without a bar always does)."""
        return self.op is None or bool(_OPERATORS[self.op](self.value, self.bound))


class Scoreboard:
    """Collects the results of one chapter.

    Example:
        >>> board = Scoreboard("03_data", device="cpu", seed=42)
        >>> board.record("windows", 7997, label="training windows", bar=("==", 7997), headline=True)
        >>> board.results[0].passed
        True

    Args:
        chapter: name of the notebook without its suffix, such as ``"12_lstm_metro"``.
        device: the device that the chapter computes on.
        seed: the seed that the chapter was run with.
    """

    def __init__(self, chapter: str, device: torch.device | str, seed: int) -> None:
        self.chapter = chapter
        self.device = str(device)
        self.seed = seed
        self.results: list[Result] = []
        self._started = time.perf_counter()

    def record(
        self,
        metric: str,
        value: float,
        *,
        label: str,
        bar: tuple[str, float] | None = None,
        baseline: float | None = None,
        baseline_name: str | None = None,
        headline: bool = False,
        digits: int = 4,
    ) -> None:
        """Record one number.

        Args:
            metric: its name in ``build/results.json``; the baseline is stored as ``<metric>_baseline``.
            value: the number.
            label: its name in words, with the unit.
            bar: what it must keep, such as ``("<=", 0.042)``; operators are <=, >= and ==.
            baseline: what a trivial method reaches.
            baseline_name: what that method is.
            headline: whether this is the chapter's result for the table of all chapters.
            digits: significant digits shown.

        Raises:
            ValueError: the name was used before, a number is not finite, the operator is unknown,
                a baseline has no name, or there would be two headlines.
        """
        value = float(value)
        op, bound = (bar[0], float(bar[1])) if bar else (None, None)
        numbers = [x for x in (value, bound, baseline) if x is not None]
        if any(r.metric == metric for r in self.results):
            raise ValueError(f"the metric {metric!r} is recorded twice")
        if not all(math.isfinite(x) for x in numbers):
            raise ValueError(f"the metric {metric!r} holds a number that is not finite: {numbers}")
        if op is not None and op not in _OPERATORS:
            raise ValueError(f"unknown operator {op!r}: use one of {', '.join(_OPERATORS)}")
        if (baseline is None) != (baseline_name is None):
            raise ValueError("a baseline needs both a value and a name")
        if headline and any(r.headline for r in self.results):
            raise ValueError("a chapter has one headline result")
        self.results.append(
            Result(
                metric,
                value,
                label,
                op,
                bound,
                None if baseline is None else float(baseline),
                baseline_name,
                bool(headline),
                digits,
            )
        )

    def finish(self) -> None:
        """Show the results, hand them to the runner and hold them to their bars.

        Raises:
            AssertionError: a bar is missed.
            ValueError: nothing was recorded, or there is no headline.
            CourseError: the notebook runs in another environment than the one that started it.
        """
        if sum(r.headline for r in self.results) != 1:
            raise ValueError("record at least one result, and mark exactly one as headline=True")
        expected = os.environ.get("COURSE_PREFIX")
        if expected is not None and os.path.realpath(expected) != os.path.realpath(sys.prefix):
            raise CourseError(
                "The kernel belongs to another Python environment than the runner: remove the "
                "foreign 'python3' kernel (jupyter kernelspec list shows it)."
            )
        _display(self._payload(), self._html(), self._text())
        missed = [r for r in self.results if not r.passed]
        if missed:
            raise AssertionError(
                "; ".join(f"{r.metric} = {r.value:.6g}, bar {r.op} {r.bound:.6g}" for r in missed)
            )

    def _payload(self) -> dict[str, Any]:
        metrics: dict[str, float] = {}
        for r in self.results:
            metrics[r.metric] = r.value
            if r.baseline is not None:
                metrics[f"{r.metric}_baseline"] = r.baseline
        return {
            "chapter": self.chapter,
            "device": self.device,
            "seed": self.seed,
            "metrics": metrics,
            "results": [{**asdict(r), "passed": r.passed} for r in self.results],
        }

    def _rows(self) -> list[tuple[str, ...]]:
        ranges = usual_ranges(self.chapter)
        rows = []
        for r in self.results:
            number = f".{r.digits}g"
            low, high = (f"{end:{number}}" for end in ranges.get(r.metric, (math.nan, math.nan)))
            rows.append(
                (
                    r.label,
                    f"{r.value:{number}}",
                    ("–" if low == "nan" else low if low == high else f"{low} to {high}"),
                    f"{r.op} {r.bound:{number}}" if r.op else "–",
                    ("kept" if r.passed else "MISSED") if r.op else "–",
                    f"{r.baseline:{number}} ({r.baseline_name})" if r.baseline_name else "–",
                )
            )
        return rows

    def _verified(self) -> str:
        seconds = time.perf_counter() - self._started
        return (
            f"Verified on {datetime.date.today():%Y-%m-%d} with torch {metadata.version('torch').split('+')[0]}, "
            f"Python {platform.python_version()}, on {self.device} in {seconds:.0f} s (seed {self.seed})."
        )

    def _html(self) -> str:
        names = ("result", "yours", "usual range", "bar", "", "baseline")
        head, *body = [
            "<tr>" + "".join(_cell(tag, i, text) for i, text in enumerate(row)) + "</tr>"
            for tag, row in (("th", names), *(("td", row) for row in self._rows()))
        ]
        return (
            f"<table><thead>{head}</thead><tbody>{''.join(body)}</tbody></table>"
            f"<p>{html.escape(self._verified())}</p>"
        )

    def _text(self) -> str:
        return "\n".join(["  ".join(row) for row in self._rows()] + [self._verified()])


def _cell(tag: str, column: int, text: str) -> str:
    # JupyterLab sets numbers and words to the right; the first column holds words
    style = ' style="text-align: left"' if column == 0 else ""
    return f"<{tag}{style}>{html.escape(text)}</{tag}>"


def usual_ranges(chapter: str) -> dict[str, tuple[float, float]]:
    """Return the range of each metric of a chapter over several seeds and numbers of threads.

    Args:
        chapter: name of the notebook without its suffix.

    Returns:
        Lowest and highest value by the name of the metric; nothing where none were measured, as for
        ``PROFILE = "full"``.
    """
    if _notebook_variables().get("PROFILE") == "full" or not BANDS.exists():
        return {}
    bands = json.loads(BANDS.read_text(encoding="utf-8"))["chapters"]
    metrics = bands.get(chapter, {}).get("metrics", {})
    return {name: (band["low"], band["high"]) for name, band in metrics.items()}


def _notebook_variables() -> dict[str, Any]:
    try:
        return get_ipython().user_ns  # type: ignore[name-defined]
    except NameError:
        return {}


def _display(payload: dict[str, Any], page: str, text: str) -> None:
    """Show the table; outside of a notebook, print it."""
    try:
        get_ipython  # type: ignore[name-defined] # noqa: B018
    except NameError:
        print(text)
        return
    from IPython.display import display

    display({"text/html": page, "text/plain": text, RESULTS_MIME: payload}, raw=True)
