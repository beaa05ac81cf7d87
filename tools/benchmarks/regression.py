"""500 features, one number: the network of the notes against that of chapter 06."""

from __future__ import annotations

from contextlib import suppress
from types import SimpleNamespace

import torch
from torch.nn import functional as F

from tools.benchmarks.chapters import define
from tools.benchmarks.recipes import Race, Recipe
from tools.benchmarks.watch import EnoughError, Watch
from utils import training
from utils.runtime import seed_everything

NAMES = ("x", "y", "draw_parameters", "by_hand", "HandSGD", "fit", "one_cycle")
STEPS = 14_000
"""Gradient steps of the notes: 100 epochs of 7,000 examples in batches of 50."""


def _chapter(watch: Watch) -> SimpleNamespace:
    """The chapter's functions and its data, new for each seed."""
    seed_everything(watch.seed)
    watched = SimpleNamespace(TensorBatches=training.TensorBatches, fit=watch.fit)
    nothing = {"loss": float("nan")}  # the watch evaluates, and not in the recipe's time
    return define("06", NAMES, device=watch.device, training=watched, evaluate=lambda *_: nothing)


def _mse(model, x, y) -> float:
    with torch.no_grad():
        return F.mse_loss(model(x), y).item()


def _by_hand(watch: Watch, divide_by: int) -> float:
    chapter = _chapter(watch)
    x, y = chapter.x, chapter.y
    parameters = chapter.draw_parameters(500, 256, shared_bias=True, device=watch.device)
    watch.model = chapter.by_hand(parameters)
    batches = watch.batches(training.TensorBatches(x[:6000], y[:6000], 50, shuffle=True))
    watch.follow(lambda model: _mse(model, x[6000:7000], y[6000:7000]), every=100, limit=STEPS)
    step = chapter.HandSGD(parameters, 0.01, divide_by)
    with suppress(EnoughError):
        chapter.fit(watch.model, batches, F.mse_loss, step, STEPS, None)
    return _mse(watch.model, x[7000:], y[7000:])


def classic(watch: Watch) -> float:
    return _by_hand(watch, divide_by=50)


def mended(watch: Watch) -> float:
    return _by_hand(watch, divide_by=1)


def course(watch: Watch) -> float:
    chapter = _chapter(watch)
    x, y = chapter.x, chapter.y
    watch.follow(lambda model: _mse(model, x[6000:7000], y[6000:7000]), every=20)
    chapter.one_cycle(x[:6000], y[:6000], weight_decay=3, epochs=30)
    return _mse(watch.model, x[7000:], y[7000:])


RACE = Race(
    title="500-d regression",
    measure="validation MSE",
    form=".2g",
    at_most=True,
    targets={2e-4: "the bar of chapter 06"},
    recipes={
        "classic": Recipe(
            classic,
            "500-256-1 by hand with one shared bias, batches of 50, SGD 0.01 whose step is divided by the "
            "batch size once more, 14,000 steps (N2-02 to N2-11; E-08, E-20).",
        ),
        "mended": Recipe(mended, "the same without the second division (E-08)."),
        "course": Recipe(
            course,
            "the same sizes, AdamW with weight decay 3, one cycle up to 0.005, batches of 100, 30 epochs "
            "(chapter 06, *Weight decay and one cycle*).",
        ),
    },
)
