"""Measure time to quality: ``python -m tools.bench`` (``make bench``).

The recipes of the study notes and the course's train to the same quality, in turn, each run in a process
of its own; beside that, what loading data and starting a chapter cost. Everything goes to
``docs/benchmarks.json``, and the page ``docs/benchmarks.md`` is made from it. The file is written after
every benchmark, so an interrupted measurement keeps what it has; ``--only`` goes on from there.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from tools.benchmarks import NAMES, RACES
from utils.notebooks import find_chapters, repository_root
from utils.runtime import DEVICES, CourseError, write_atomically

DOCS = repository_root() / "docs"
QUICK = repository_root() / "build" / "benchmarks"

Start = Callable[..., Any]
"""Starts one run, given its name, recipe, seed and device, and returns its record."""


def run_apart(threads: int, quick: bool) -> Start:
    """Return a function that makes one run in a process of its own.

    Args:
        threads: threads of the process.
        quick: whether it only tries things out.
    """

    def start(name: str, recipe: str, seed: int, device: str) -> Any:
        command = [sys.executable, "-m", "tools.benchmarks", name, *([recipe] if recipe else [])]
        command += ["--seed", str(seed), "--device", device, *(["--quick"] if quick else [])]
        done = subprocess.run(
            command,
            cwd=repository_root(),
            env=os.environ | {"OMP_NUM_THREADS": str(threads), "COURSE_HEADLESS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["it left no message"])[-1]
            what = " ".join(part for part in (name, recipe, f"with seed {seed}") if part)
            raise CourseError(f"The run {what} has failed: {last.removeprefix('error: ')}")
        return json.loads(done.stdout.splitlines()[-1])

    return start


def measure_race(name: str, seeds: Sequence[int], devices: Sequence[str], start: Start) -> dict:
    """Run every recipe with every seed, the recipes in turn.

    Returns:
        By device, the runs and their summary.
    """
    from tools.benchmarks import race
    from tools.benchmarks.summary import CLOCKS, collect, summarise

    the_race, found = race(name), {}
    for device in devices:
        runs: dict[str, list[dict[str, Any]]] = {recipe: [] for recipe in the_race.recipes}
        for seed in seeds:
            for recipe, records in runs.items():
                records.append(start(name, recipe, seed, device))
                _tell(name, recipe, device, records[-1])
        collected = collect(runs, the_race.targets, the_race.at_most)
        found[device] = collected | {"summary": summarise(collected, CLOCKS[device])}
    return {"devices": found}


def measure_beijing(seeds: Sequence[int], devices: Sequence[str], start: Start) -> dict:
    """Run chapter 12's comparison; ``devices`` is empty when the optional data are missing."""
    from tools.benchmarks.beijing import published
    from tools.benchmarks.summary import rounded, summarise_beijing

    found = {}
    for device in devices:
        runs = []
        for seed in seeds:
            if (record := start("beijing", "", seed, device)) is None:
                print("beijing: the optional data are not here", flush=True)
                return {"devices": {}}
            runs.append(rounded(record))
            _tell("beijing", "", device, record)
        found[device] = {"runs": runs, "summary": summarise_beijing(runs, published())}
    return {"devices": found}


def measure_loading(seeds: Sequence[int], start: Start) -> dict:
    """Time an epoch by each way of loading."""
    from tools.benchmarks.summary import rounded, summarise_loading

    runs = []
    for seed in seeds:
        runs.append(rounded(start("loading", "", seed, "cpu")))
        print(f"loading, seed {seed}", flush=True)
    return {"runs": runs, "summary": summarise_loading(runs)}


def measure_startup(chapters: Sequence[Path], repeats: int, threads: int) -> dict:
    """Time the start of every chapter, the chapters in turn."""
    from tools.benchmarks import startup
    from tools.benchmarks.summary import rounded, summarise_startup

    runs = []
    for chapter in list(chapters) * repeats:
        record = rounded(startup.run(chapter, threads), 4)
        runs.append(record)
        print(
            f"startup {chapter.stem}: kernel {record['kernel']:.1f} s, "
            f"script {record['script']:.1f} s",
            flush=True,
        )
    return {"runs": runs, "summary": summarise_startup(runs)}


def _tell(name: str, recipe: str, device: str, record: dict[str, Any]) -> None:
    what = " ".join(part for part in (name, recipe) if part)
    print(
        f"{what}, seed {record['seed']}, {device}: {record['steps']} steps, "
        f"{record['cpu']:.1f} CPU s",
        flush=True,
    )


def conditions(threads: int, repeats: int, devices: Sequence[str], quick: bool) -> dict[str, Any]:
    """Return under which conditions a benchmark starts: machine class, versions, load."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None  # not on Windows
    gpu = None
    if "cuda" in devices:
        import torch

        gpu = torch.cuda.get_device_name()
    return {
        "date": f"{datetime.date.today():%Y-%m-%d}",
        "architecture": platform.machine(),
        "cores": os.cpu_count(),
        "gpu": gpu,
        "python": platform.python_version(),
        "torch": metadata.version("torch").split("+")[0],
        "threads": threads,
        "repeats": repeats,
        "load": None if load is None else round(load, 1),
        "quick": quick,
    }


def chosen_devices(name: str) -> list[str]:
    """Return the devices to measure on, the CPU first.

    Args:
        name: ``"cpu"``; ``"auto"``, which adds CUDA where there is one; or ``"cuda"``, which insists.

    Raises:
        CourseError: there is no such device, or no benchmark for it.
    """
    if name == "cpu":
        return ["cpu"]
    from utils.runtime import choose_device

    kind = choose_device(name).type
    if kind == "mps" and name == "mps":
        raise CourseError("The benchmarks know no MPS: choose --device auto, cpu or cuda.")
    return ["cpu", "cuda"] if kind == "cuda" else ["cpu"]


def chosen_names(words: Sequence[str]) -> list[str]:
    """Return the benchmarks to run in their order, all when none is named.

    Raises:
        CourseError: there is no such benchmark.
    """
    wanted = [name for word in words for name in word.replace(",", " ").split()]
    for name in wanted:
        if name not in NAMES:
            raise CourseError(f"There is no benchmark {name!r}: choose among {', '.join(NAMES)}.")
    return [name for name in NAMES if name in wanted or not wanted]


def read_results(path: Path) -> dict[str, Any]:
    """Return what is stored, or an empty frame.

    Raises:
        CourseError: the file is damaged.
    """
    if not path.exists():
        return {"benchmarks": {}}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        content = None
    if not isinstance(content, dict) or not isinstance(content.get("benchmarks"), dict):
        raise CourseError(f"{path.name} is damaged: remove it and run all benchmarks again.")
    return content


def write_results(content: dict[str, Any], folder: Path) -> None:
    """Write ``benchmarks.json`` and the page made from it."""
    from tools.benchmarks.page import render

    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(json.dumps(content, indent=1) + "\n", folder / "benchmarks.json")
    write_atomically(render(content), folder / "benchmarks.md")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what the command line asks for and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench", description=__doc__)
    parser.add_argument("--only", nargs="*", default=[], help=", ".join(NAMES))
    parser.add_argument("--repeats", type=int, default=3, help="runs of each recipe")
    parser.add_argument("--threads", type=int, default=1, help="threads of each run")
    parser.add_argument("--device", choices=DEVICES, default="auto")
    parser.add_argument("--quick", action="store_true", help="a few steps each, to build/")
    parser.add_argument("--output", type=Path, help="folder; docs/ when left out")
    options = parser.parse_args(arguments)
    try:
        if options.repeats < 1 or options.threads < 1:
            raise CourseError("--repeats and --threads must be at least 1.")
        names, devices = chosen_names(options.only), chosen_devices(options.device)
        folder = options.output or (QUICK if options.quick else DOCS)
        content = read_results(folder / "benchmarks.json")
        seeds = range(1, options.repeats + 1)
        start = run_apart(options.threads, options.quick)
        for name in names:
            facts = conditions(options.threads, options.repeats, devices, options.quick)
            if name in RACES:
                found = measure_race(name, seeds, devices, start)
            elif name == "beijing":
                found = measure_beijing(seeds, devices, start)
            elif name == "loading":
                found = measure_loading(seeds, start)
            else:
                found = measure_startup(find_chapters(), options.repeats, options.threads)
            content["benchmarks"][name] = {"conditions": facts, **found}
            in_order = {n: content["benchmarks"][n] for n in NAMES if n in content["benchmarks"]}
            write_results({"benchmarks": in_order}, folder)
    except CourseError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Interrupted; the benchmarks that were finished are kept.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
