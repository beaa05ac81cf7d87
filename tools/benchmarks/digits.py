"""MNIST with nothing but tensors, 784-256-10: the notes' step against that of chapter 07."""

from __future__ import annotations

import math
from contextlib import suppress

from tools.benchmarks.chapters import define
from tools.benchmarks.recipes import Race, Recipe
from tools.benchmarks.watch import EnoughError, Watch
from utils.runtime import seed_everything
from utils.training import TensorBatches

NAMES = (
    *("recipe", "train_by_hand", "evaluate_by_hand", "cross_entropy"),
    *("part", "chosen_by", "test_images", "test_labels"),
)
STEPS = 37_500
"""Gradient steps of the notes: 20 epochs of 60,000 images in batches of 32."""


def _train(watch: Watch, every: int, limit: float, *options) -> float:
    seed_everything(watch.seed)
    plain = define("07", NAMES, device=watch.device, PROFILE="quick")
    valid = TensorBatches(*plain.chosen_by, 500)
    test = TensorBatches(plain.test_images, plain.test_labels, 1000)

    def accuracy(net, data=valid) -> float:
        return plain.evaluate_by_hand(net, data, plain.cross_entropy)[1]

    def train_by_hand(net, params, batches, loss_fn, lr, steps) -> None:
        watch.model = net
        watch.follow(accuracy, every, limit)
        with suppress(EnoughError):
            plain.train_by_hand(net, params, watch.batches(batches), loss_fn, lr, math.inf)

    given = vars(plain) | {"train_by_hand": train_by_hand}
    del given["recipe"]
    define("07", ["recipe"], **given).recipe(plain.part, *options)
    return accuracy(watch.model, test)


def classic(watch: Watch) -> float:
    return _train(watch, 250, STEPS, 0.01 / 32, True)


def mended(watch: Watch) -> float:
    return _train(watch, 50, STEPS, 0.01)


def course(watch: Watch) -> float:
    return _train(watch, 20, 1000, 0.3)


RACE = Race(
    title="MNIST from scratch",
    measure="validation accuracy",
    form=".1%",
    at_most=False,
    targets={0.80: "", 0.90: "the bar of chapter 07"},
    recipes={
        "classic": Recipe(
            classic,
            "784-256-10 by hand, batches of 32, SGD 0.01 divided by the batch size once more, the first bias "
            "left out, 37,500 steps as in 20 epochs of the complete set (N2-21 to N2-28; E-07, E-08).",
        ),
        "mended": Recipe(mended, "the same with E-07 and E-08 corrected."),
        "course": Recipe(
            course,
            "the same network, plain SGD at 0.3, 1,000 steps (chapter 07, *Slips in a recipe*).",
        ),
    },
)
