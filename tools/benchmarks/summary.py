"""From single runs to medians and ratios."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

BASE = "course"
"""The recipe that the others are compared with."""

CLOCKS = {"cpu": "cpu", "cuda": "wall"}
"""Which seconds count on which device: a GPU's work does not show in CPU seconds."""

BEST_OF_NOTES = "the notes' best"


def rounded(content: Any, digits: int = 6) -> Any:
    """Return the same content with every float cut to some significant digits."""
    if isinstance(content, dict):
        return {key: rounded(value, digits) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [rounded(value, digits) for value in content]
    return float(f"{content:.{digits}g}") if isinstance(content, float) else content


def collect(
    runs: dict[str, list[dict[str, Any]]], targets: dict[float, str], at_most: bool
) -> dict[str, Any]:
    """Note when each run reached each quality, and drop the curves.

    Where a run of the notes' recipe misses a target, the median of the best qualities of its runs
    becomes a target too.

    Args:
        runs: the records of each recipe, with their curves.
        targets: the qualities and their reasons.
        at_most: True for an error, False for a share of right answers.

    Returns:
        ``targets``, a list of ``quality`` and ``why``, the easiest first, and ``runs``: each run has in ``reached``
        for each target ``steps``, ``cpu`` and ``wall``, or None.
    """

    def first(curve: Sequence[Sequence[float]], target: float) -> dict[str, float] | None:
        for steps, cpu, wall, quality in curve:
            if quality <= target if at_most else quality >= target:
                return {"steps": steps, "cpu": cpu, "wall": wall}
        return None

    wanted = [{"quality": quality, "why": why} for quality, why in targets.items()]
    missed = any(first(run["curve"], q) is None for run in runs["classic"] for q in targets)
    if missed:
        best = statistics.median(run["best"] for run in runs["classic"])
        wanted.append({"quality": best, "why": BEST_OF_NOTES})
    wanted.sort(key=lambda target: target["quality"], reverse=at_most)  # the easiest first
    collected = {
        name: [
            {key: value for key, value in run.items() if key != "curve"}
            | {"reached": [first(run["curve"], t["quality"]) for t in wanted]}
            for run in records
        ]
        for name, records in runs.items()
    }
    return rounded({"targets": wanted, "runs": collected})


def summarise(collected: dict[str, Any], clock: str) -> dict[str, Any]:
    """Return medians, ranges and ratios.

    Args:
        collected: what :func:`collect` returns.
        clock: ``"cpu"`` or ``"wall"``: the seconds to compare.

    Returns:
        ``rows``, one for each target: what each recipe needs to reach it (None when fewer than half
        of its runs do), and how many times the course's seconds that is; and ``ends``: what each
        recipe comes to.
    """
    rows = []
    for i, target in enumerate(collected["targets"]):
        costs = {
            name: _cost([run["reached"][i] for run in runs], clock)
            for name, runs in collected["runs"].items()
        }
        base = costs.get(BASE)
        ratios = {
            name: cost["seconds"] / base["seconds"] if cost and base else None
            for name, cost in costs.items()
            if name != BASE
        }
        rows.append({**target, "costs": costs, "ratios": ratios})
    ends = {name: _end(runs, clock) for name, runs in collected["runs"].items()}
    return rounded({"rows": rows, "ends": ends})


def _cost(reached: list[dict[str, float] | None], clock: str) -> dict[str, float] | None:
    there = [r for r in reached if r is not None]
    missing = [float("inf")] * (len(reached) - len(there))
    middle = statistics.median([r[clock] for r in there] + missing)
    if middle == float("inf"):
        return None
    return {
        "runs": len(reached),
        "arrived": len(there),
        "seconds": middle,
        "low": min(r[clock] for r in there),
        "high": max(r[clock] for r in there),
        "steps": statistics.median([r["steps"] for r in there] + missing),
    }


def _end(runs: list[dict[str, Any]], clock: str) -> dict[str, float]:
    tests = [run["test"] for run in runs]
    return {
        "steps": statistics.median(run["steps"] for run in runs),
        "seconds": statistics.median(run[clock] for run in runs),
        "best": statistics.median(run["best"] for run in runs),
        "best_steps": statistics.median(run["best_steps"] for run in runs),
        "test": statistics.median(tests),
        "test_low": min(tests),
        "test_high": max(tests),
    }


def summarise_loading(runs: list[dict[str, Any]], base: str = "slices") -> dict[str, Any]:
    """Return for each way the median ``seconds`` an epoch, ``low``, ``high``, ``images_per_second``
    and ``ratio``, the seconds over those of ``base``."""
    found = {}
    for way in sorted(runs[0]["seconds"], key=lambda w: -_middle(runs, w)):
        seconds, every = _middle(runs, way), [run["seconds"][way] for run in runs]
        found[way] = {
            "seconds": seconds,
            "low": min(every),
            "high": max(every),
            "images_per_second": runs[0]["images"] / seconds,
            "ratio": seconds / _middle(runs, base),
        }
    return rounded(found)


def _middle(runs: list[dict[str, Any]], way: str) -> float:
    return statistics.median(run["seconds"][way] for run in runs)


def summarise_startup(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return for each chapter the median seconds of both ways and the ``difference``, and the
    ``median``, ``low`` and ``high`` of the differences."""
    chapters: dict[str, dict[str, float]] = {}
    for name in sorted({run["chapter"] for run in runs}):
        same = [run for run in runs if run["chapter"] == name]
        row = {
            key: statistics.median(run[key] for run in same)
            for key in ("kernel", "script", "kernel_whole", "script_whole")
            if key in same[0]
        }
        row["difference"] = row["kernel"] - row["script"]
        if "kernel_whole" in row:
            row["difference_whole"] = row["kernel_whole"] - row["script_whole"]
        chapters[name] = row
    differences = [row["difference"] for row in chapters.values()]
    return rounded(
        {
            "chapters": chapters,
            "median": statistics.median(differences),
            "low": min(differences),
            "high": max(differences),
        }
    )


def summarise_beijing(runs: list[dict[str, Any]], published: dict[str, float]) -> dict[str, Any]:
    """Return the medians of our errors and costs beside the published errors.

    Args:
        runs: the records of the runs.
        published: WMAPE in percent by method.

    Returns:
        ``ours``: by method ``wmape``, its range, and ``cpu`` of its own part where it has one;
        ``published``; ``cpu`` seconds and ``steps`` of everything.
    """
    ours = {}
    for name in runs[0]["wmape"]:
        errors = [run["wmape"][name] for run in runs]
        ours[name] = {
            "wmape": statistics.median(errors),
            "low": min(errors),
            "high": max(errors),
        }
        if name in runs[0]["parts"]:
            ours[name]["cpu"] = statistics.median(run["parts"][name] for run in runs)
    return rounded(
        {
            "ours": ours,
            "published": published,
            "cpu": statistics.median(run["cpu"] for run in runs),
            "wall": statistics.median(run["wall"] for run in runs),
            "steps": statistics.median(run["steps"] for run in runs),
        }
    )
