"""Make one run in this process and print its record as one line of JSON.

``python -m tools.benchmarks regression course --seed 1`` runs one recipe; ``beijing`` and
``loading`` have no recipes.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from tools.benchmarks import RACES, race
from tools.benchmarks.watch import Watch
from utils.runtime import CourseError, choose_device

QUICK_STEPS = 60
"""Gradient steps of a run that only tries things out."""


def warm_up(device: torch.device) -> None:
    """Use once what torch sets up at its first use, so that no recipe pays for it."""
    picture, series = torch.zeros(2, 1, 8, 8, device=device), torch.zeros(2, 3, 4, device=device)
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(72, 1)).to(device)
    rnn = nn.LSTM(4, 4).to(device)
    for kind in (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW):
        optimizer = kind([*net.parameters(), *rnn.parameters()], lr=1e-3)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, 2)
        (net(picture).sum() + rnn(series)[0].sum()).backward()
        optimizer.step()
        schedule.step()


def run_recipe(name: str, recipe: str, seed: int, device: torch.device, quick: bool) -> dict:
    """Train by one recipe of a race.

    Returns:
        The record of :meth:`Watch.record`.

    Raises:
        CourseError: the race has no such recipe.
    """
    the_race = race(name)
    if recipe not in the_race.recipes:
        known = ", ".join(the_race.recipes)
        raise CourseError(f"{name} has no recipe {recipe!r}: choose among {known}.")
    most_steps = QUICK_STEPS if quick else math.inf
    watch = Watch(seed, device, list(the_race.targets), the_race.at_most, most_steps)
    return watch.record(the_race.recipes[recipe].run(watch))


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the run that the command line asks for and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.benchmarks", description=__doc__)
    parser.add_argument("name", choices=[*RACES, "beijing", "loading"])
    parser.add_argument("recipe", nargs="?", default="")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--quick", action="store_true", help="a few steps, to try things out")
    options = parser.parse_args(arguments)
    try:
        device = choose_device(options.device)
        warm_up(device)
        record: Any
        if options.name == "beijing":
            from tools.benchmarks import beijing

            record = beijing.run(options.seed, device, options.quick)
        elif options.name == "loading":
            from tools.benchmarks import loading

            record = loading.run(options.seed, options.quick)
        else:
            record = run_recipe(options.name, options.recipe, options.seed, device, options.quick)
    except CourseError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(json.dumps(record))
    return 0


if __name__ == "__main__":
    sys.exit(main())
