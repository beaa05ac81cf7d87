"""What ``make bench`` measures: one module a benchmark, and what they share.

``chapters``   run the definitions of a chapter without the rest of it
``watch``      the clock and the record of one training run
``recipes``    what a comparison of recipes consists of
``regression``, ``digits``, ``lenet``, ``sincos``, ``chicago``
               the recipe of the notes and the course's, to the same quality
``beijing``    chapter 12 on the Beijing subway, beside the published errors
``loading``    seconds an epoch of several ways to load pictures
``startup``    a chapter's start-up in a kernel and as a plain script
``summary``    medians and ratios of the runs
``page``       ``docs/benchmarks.md`` from ``docs/benchmarks.json``

``python -m tools.benchmarks NAME RECIPE`` makes one run in its process; :mod:`tools.bench` starts these.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tools.benchmarks.recipes import Race

RACES = ("regression", "digits", "lenet", "sincos", "chicago")
"""Benchmarks that hold a ``RACE`` of recipes."""

NAMES = (*RACES, "beijing", "loading", "startup")
"""All benchmarks, in the order of the page."""


def race(name: str) -> Race:
    """Return the recipes of one of :data:`RACES`."""
    return importlib.import_module(f"tools.benchmarks.{name}").RACE
