"""The Beijing subway by 15 minutes: chapter 12's forecasts beside the published errors."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

import torch

from tools.benchmarks.chapters import define
from utils import datasets
from utils.notebooks import find_chapters, read_notebook
from utils.runtime import CourseError, seed_everything

MINUTES, EPOCHS = 15, 4


def run(seed: int, device: torch.device, quick: bool = False) -> dict[str, Any] | None:
    """Fit and test everything that chapter 12 compares, timed part by part.

    Returns:
        ``cpu`` and ``wall`` seconds from the counts to the forecasts, the ``steps`` of the network,
        the CPU seconds of each part in ``parts``, and ``wmape`` in percent on the test days by
        method; None when the optional data are not there.
    """
    if not datasets.beijing_available(MINUTES):
        return None
    seed_everything(seed)
    parts: dict[str, float] = {}
    steps = 0

    def timed(part: str, function: Callable) -> Callable:
        def call(*arguments: Any, **options: Any) -> Any:
            began = time.process_time()
            try:
                return function(*arguments, **options)
            finally:
                parts[part] = parts.get(part, 0.0) + time.process_time() - began

        return call

    plain = define("12", ["profile", "ridge", "fit"], device=device)

    def fit(model: Any, loss_of: Callable, *rest: Any, **options: Any) -> Any:
        def counted(batch: Any) -> Any:
            nonlocal steps
            steps += 1
            return loss_of(batch)

        return plain.fit(model, counted, *rest, **options)

    watched = {
        "profile": timed("profile", plain.profile),
        "ridge": timed("pooled ridge", plain.ridge),
        "fit": timed("shared LSTM", fit),
    }
    chapter = define("12", ["score"], device=device, **watched)
    metro = datasets.load_beijing_metro(MINUTES)
    cpu, wall = time.process_time(), time.perf_counter()
    errors = chapter.score(metro, 1 if quick else EPOCHS)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return {
        "seed": seed,
        "cpu": cpu,
        "wall": wall,
        "steps": steps,
        "parts": parts,
        "wmape": errors,
    }


def published() -> dict[str, float]:
    """Return the published WMAPE in percent by method, from the table in chapter 12.

    Raises:
        CourseError: the table is not there any more.
    """
    for cell in read_notebook(find_chapters(["12"])[0]).cells:
        if cell.cell_type != "markdown":
            continue
        row = re.search(r"^\| WMAPE in % \|(.+)\|$", cell.source, re.MULTILINE)
        head = re.search(r"^\| \|(.*ResLSTM.*)\|$", cell.source, re.MULTILINE)
        if row and head:
            names, numbers = ([part.strip() for part in m[1].split("|")] for m in (head, row))
            return {name: float(n) for name, n in zip(names, numbers, strict=True)}
    raise CourseError("Chapter 12 has no table of published errors any more.")
