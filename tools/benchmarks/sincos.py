"""sin predicts cos: the demo of the notes against the recipe of chapter 11."""

from __future__ import annotations

import math
from contextlib import suppress

import torch

from tools.benchmarks.chapters import define
from tools.benchmarks.recipes import Race, Recipe
from tools.benchmarks.watch import EnoughError, Watch
from utils.runtime import seed_everything

NAMES = ("train", "segments", "squared_errors", "phases")


def _closed(count: int, phase: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Segments as in the notes, both ends included: (count, sequences, 10, 1) for each phase."""
    steps = torch.linspace(0, math.pi, 10, dtype=torch.float64)
    t = phase.view(1, -1, 1) + math.pi * torch.arange(count).view(-1, 1, 1) + steps
    return tuple(series[..., None].float() for series in (t.sin(), t.cos()))


def _train(watch: Watch, cut, phases_of, **options) -> float:
    seed_everything(watch.seed)

    class Follower(define("11", ["Follower"]).Follower):
        def __init__(self, *arguments) -> None:
            super().__init__(*arguments)
            watch.model = self

    chapter = define("11", NAMES, device=watch.device, Follower=Follower)
    cut = cut or chapter.segments
    count = options.pop("count")

    def on_device(data):
        return tuple(part.to(watch.device) for part in data)

    data = on_device(cut(count, phases_of()))
    # both grids of phases are even; neither holds the other's
    valid, test = (on_device(cut(20, chapter.phases + shift)) for shift in (0, math.pi / 64))

    def mse(net, data=valid) -> float:
        return chapter.squared_errors(net, data)[2:].mean().item()

    watch.follow(mse, every=20)
    with suppress(EnoughError):
        chapter.train(watch.seed, (watch.batches(data[0]), data[1]), **options)
    return mse(watch.model, test)


def classic(watch: Watch) -> float:
    return _train(watch, _closed, lambda: torch.zeros(1), count=300, lr=0.02, cycle=False)


def course(watch: Watch) -> float:
    return _train(
        watch, None, lambda: 2 * math.pi * torch.rand(16, dtype=torch.float64), count=1000
    )


RACE = Race(
    title="sin → cos",
    measure="MSE on unseen phases",
    form=".2g",
    at_most=True,
    targets={0.05: "the floor without a carried state", 1e-4: "the bar of chapter 11"},
    recipes={
        "classic": Recipe(
            classic,
            "RNN with 64 units, Adam 0.02, one segment a step, 300 steps, both ends of a segment fed (N1-54 to "
            "N1-56; E-60); judged on its own grid.",
        ),
        "course": Recipe(
            course,
            "the same network, 16 random phases side by side, Adam with one cycle up to 0.01, 1,000 steps "
            "(chapter 11, *Why the state must be carried*).",
        ),
    },
)
