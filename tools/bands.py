"""Measure how far the chapters' results spread: ``python -m tools.bands`` (``make bands``).

Every chapter runs with several seeds and several numbers of threads; what each recorded metric
reaches goes to ``docs/bands.json``. The scoreboard shows these ranges beside the reader's own result,
and a test holds every bar to them. Chapters that use optional data run both without and, where these
data are there (``make data-full``), with them. Runs that are finished already, with this code and these versions,
are kept in ``build/bands/`` and not repeated, so an interrupted measurement goes on where it stopped.
"""

from __future__ import annotations

import argparse
import ast
import datetime
import hashlib
import itertools
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from utils import datasets
from utils.notebooks import code_cells, find_chapters, read_notebook, repository_root
from utils.runtime import CourseError, write_atomically

BANDS = repository_root() / "docs" / "bands.json"
SEEDS = (42, 1, 2, 3, 4)
THREADS = (1, 2)
BUNDLED, OPTIONAL = "bundled", "optional"
KEPT = ("name", "status", "error", "seconds", "metrics", "bars")
NUMERICAL = ("runtime", "metrics", "datasets", "timeseries", "graphs", "training")
"""The modules of `utils` that the results depend on."""


def uses_optional_data(chapter: Path) -> bool:
    """Tell whether a chapter asks if optional data are there."""
    source = "\n".join(cell.source for _, cell in code_cells(read_notebook(chapter)))
    return bool(re.search(r"(beijing|cora)_available\(", source))


def optional_data_available() -> bool:
    """Tell whether all optional data are there."""
    return datasets.beijing_available() and datasets.cora_available()


def fingerprint(chapter: Path) -> str:
    """Return a hash of all code that a chapter's results depend on.

    Comments on lines of their own, docstrings, blank lines and the borders of cells do not count.

    Args:
        chapter: the notebook.
    """
    sources = ["\n".join(cell.source for _, cell in code_cells(read_notebook(chapter)))]
    for module in NUMERICAL:
        sources.append((repository_root() / "utils" / f"{module}.py").read_text(encoding="utf-8"))
    lines = [line for source in sources for line in _lines_of_code(source)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def _lines_of_code(source: str) -> list[str]:
    # the lines themselves, because what `ast` writes differs between versions of Python
    texts: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            texts.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return [
        line.rstrip()
        for number, line in enumerate(source.splitlines(), 1)
        if number not in texts and line.strip() and not line.lstrip().startswith("#")
    ]


def band(runs: Sequence[dict[str, Any]], metric: str) -> dict[str, float]:
    """Return mean, spread and range of a metric, and what the number of threads alone changes.

    Args:
        runs: records with ``seed``, ``threads``, ``data`` and ``metrics``.
        metric: a name that every record knows.

    Returns:
        ``mean``; ``spread``, the sample standard deviation; ``low`` and ``high``; and
        ``threads_change``, the largest difference between two runs with the same seed and data.
    """
    values = np.array([run["metrics"][metric] for run in runs])
    by_seed: dict[tuple[int, str], list[float]] = {}
    for run in runs:
        by_seed.setdefault((run["seed"], run["data"]), []).append(run["metrics"][metric])
    numbers = {
        "mean": values.mean(),
        "spread": values.std(ddof=1) if values.min() < values.max() else 0.0,
        "low": values.min(),
        "high": values.max(),
        "threads_change": max(max(same) - min(same) for same in by_seed.values()),
    }
    return {name: float(f"{number:.8g}") for name, number in numbers.items()}


def too_close(chapter: dict[str, Any]) -> list[str]:
    """Return the bars of a chapter that its runs miss or keep only just.

    A bar must lie outside the range of all runs by at least one standard deviation; with ten runs that
    is about two and a half from their mean. A metric that never varies may stand on its bar.

    Args:
        chapter: an entry of ``docs/bands.json``.
    """
    sentences = []
    for metric, (op, bound) in chapter["bars"].items():
        band = chapter["metrics"].get(metric)
        if band is None:
            sentences.append(f"{metric} has a bar, but it was never measured")
            continue
        room = {"<=": bound - band["high"], ">=": band["low"] - bound}.get(op, 0.0)
        if op == "==" and not band["low"] == band["high"] == bound:
            sentences.append(f"{metric}: {band['low']} to {band['high']}, bar == {bound}")
        elif room < band["spread"]:
            sentences.append(
                f"{metric}: {band['low']:.6g} to {band['high']:.6g}, spread {band['spread']:.2g}, "
                f"bar {op} {bound:.6g}"
            )
    return sentences


def measure(
    chapters: Sequence[Path], seeds: Sequence[int], threads: Sequence[int], jobs: int, build: Path
) -> dict[str, list[dict[str, Any]]]:
    """Run every chapter with every seed and every number of threads, without and with optional data.

    Args:
        chapters: the notebooks.
        seeds: seeds to run with.
        threads: numbers of threads to run with.
        jobs: chapters at a time.
        build: folder for finished runs.

    Returns:
        The records of each chapter by its name; a run that ended without results is left out.
    """
    found: dict[str, list[dict[str, Any]]] = {c.stem: [] for c in chapters}
    prints = {c.stem: fingerprint(c) for c in chapters}
    wanted = {BUNDLED: list(chapters)}
    if optional_data_available():
        wanted[OPTIONAL] = [c for c in chapters if uses_optional_data(c)]
    for data, seed, count in itertools.product(wanted, seeds, threads):
        store = build / f"{data}-seed{seed}-threads{count}"
        missing = [c for c in wanted[data] if _stored(store, c.stem, prints) is None]
        if missing:
            _run(missing, data, seed, count, jobs, store, prints)
        for chapter in wanted[data]:
            if record := _stored(store, chapter.stem, prints):
                found[chapter.stem].append(record)
    return found


def _stored(store: Path, name: str, prints: dict[str, str]) -> dict[str, Any] | None:
    try:
        record = json.loads((store / f"{name}.json").read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        return None
    same = record["fingerprint"] == prints[name] and record["versions"] == _versions()
    return record if same else None


def _run(
    chapters: Sequence[Path],
    data: str,
    seed: int,
    threads: int,
    jobs: int,
    store: Path,
    prints: dict[str, str],
) -> None:
    """Run chapters with one seed and one number of threads, and keep what they recorded."""
    print(f"{data} data, seed {seed}, {threads} thread{'s' if threads > 1 else ''}", flush=True)
    build = store / "build"
    command = [
        *(sys.executable, "-m", "utils.run", "--device", "cpu", "--seed", str(seed)),
        *("--chapters", " ".join(c.stem for c in chapters), "--build", str(build)),
        *("--jobs", str(jobs), "--threads", str(threads), "--timeout", "3600"),
    ]
    environment = dict(os.environ)
    if data == BUNDLED:
        environment.pop("COURSE_DATA_MIRROR", None)
        environment["COURSE_DATA_CACHE"] = str(store / "no-cache")
    root = repository_root()
    status = subprocess.run(command, cwd=root, env=environment, check=False).returncode
    if status not in (0, 1):
        raise CourseError("The measurement has stopped; start it again and it goes on from here.")
    results = json.loads((build / "results.json").read_text(encoding="utf-8"))
    for chapter in results["chapters"]:
        if chapter["metrics"]:
            record = {key: chapter[key] for key in KEPT}
            record |= {"data": data, "seed": seed, "threads": threads, "versions": _versions()}
            record["fingerprint"] = prints[chapter["name"]]
            path = store / f"{chapter['name']}.json"
            write_atomically(json.dumps(record, indent=1) + "\n", path)


def summarise(
    found: dict[str, list[dict[str, Any]]],
    prints: dict[str, str],
    old: dict[str, Any],
    seeds: Sequence[int],
    threads: Sequence[int],
) -> dict[str, Any]:
    """Return the content of ``docs/bands.json``.

    Args:
        found: the records of each measured chapter.
        prints: fingerprint of each measured chapter.
        old: what the file holds; chapters that were not measured stay in it.
        seeds: the seeds.
        threads: the numbers of threads.

    Raises:
        CourseError: a run is missing, or did not record what the others with the same data did.
    """
    chapters = dict(old.get("chapters", {}))
    for name, runs in found.items():
        data = list(dict.fromkeys(run["data"] for run in runs))
        needed = len(seeds) * len(threads)
        for kind in data or [BUNDLED]:
            same = [run for run in runs if run["data"] == kind]
            if len(same) < needed:
                raise CourseError(
                    f"{name} has only {len(same)} of {needed} runs with results on {kind} data: "
                    "see build/bands/."
                )
            for run in same:
                if odd := set(run["metrics"]) ^ set(same[0]["metrics"]):
                    raise CourseError(f"{name} did not record {', '.join(sorted(odd))} each time.")
        having = {m: [r for r in runs if m in r["metrics"]] for r in runs for m in r["metrics"]}
        chapters[name] = {
            "date": f"{datetime.date.today():%Y-%m-%d}",
            "code": prints[name],
            "versions": _versions(),
            "machine": {"architecture": platform.machine(), "cores": os.cpu_count()},
            "seeds": list(seeds),
            "threads": list(threads),
            "data": data,
            "failed": [f"seed {r['seed']}: {r['error']}" for r in runs if r["status"] != "passed"],
            "seconds": {
                "low": min(r["seconds"] for r in runs),
                "high": max(r["seconds"] for r in runs),
            },
            "metrics": {m: band(those, m) for m, those in having.items()},
            "bars": {b["metric"]: [b["op"], b["bound"]] for r in runs for b in r["bars"]},
        }
    known = {c.stem for c in find_chapters()}
    return {
        "profile": "quick",
        "device": "cpu",
        "chapters": {name: chapters[name] for name in sorted(chapters) if name in known},
    }


def _versions() -> dict[str, str]:
    packages = ("torch", "numpy", "scikit-learn")
    plain = {p: metadata.version(p).split("+")[0] for p in packages}
    return {"python": platform.python_version(), **plain}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what the command line asks for and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.bands", description=__doc__)
    parser.add_argument("--chapters", default="", help='such as "01 12"; all when left out')
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--threads", type=int, nargs="+", default=THREADS)
    parser.add_argument("--jobs", type=int, default=2, help="chapters at a time")
    parser.add_argument("--build", type=Path, default=repository_root() / "build" / "bands")
    options = parser.parse_args(arguments)
    try:
        chapters = find_chapters([options.chapters])
        found = measure(chapters, options.seeds, options.threads, options.jobs, options.build)
        old = json.loads(BANDS.read_text(encoding="utf-8")) if BANDS.exists() else {}
        prints = {c.stem: fingerprint(c) for c in chapters}
        content = summarise(found, prints, old, options.seeds, options.threads)
        write_atomically(json.dumps(content, indent=1) + "\n", BANDS)
    except CourseError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Interrupted; finished runs are kept.", file=sys.stderr)
        return 130
    for chapter in chapters:
        if (
            uses_optional_data(chapter)
            and OPTIONAL not in content["chapters"][chapter.stem]["data"]
        ):
            print(f"{chapter.stem} was measured without its optional data: run `make data-full`.")
    failed = [f"{n}, {f}" for n, c in content["chapters"].items() for f in c["failed"]]
    for line in failed:
        print(f"error: {line}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
