"""LeNet-5 on MNIST: the notes' class and training against the recipe that chapter 09 chooses."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from tools.benchmarks.chapters import define
from tools.benchmarks.recipes import Race, Recipe
from tools.benchmarks.watch import Watch
from utils.metrics import accuracy
from utils.runtime import seed_everything
from utils.training import TensorBatches, evaluate

NAMES = (
    *("learn", "normed", "jitter", "LeNet5", "empty"),
    *("part", "validation", "digits_test"),
)


def _chapter(watch: Watch):
    seed_everything(watch.seed)
    given = {"device": watch.device, "PROFILE": "quick", "SEED": watch.seed, "F": F}
    return define("09", NAMES, fit=watch.fit, **given)


def _accuracy(net, data) -> float:
    return evaluate(net, TensorBatches(*data, 1000), F.cross_entropy, a=accuracy)["a"]


def classic(watch: Watch) -> float:
    chapter = _chapter(watch)
    net = nn.Sequential(nn.ConstantPad2d(2, chapter.empty), chapter.LeNet5()).to(watch.device)
    batches = TensorBatches(*chapter.part, 512, shuffle=True)
    watch.follow(lambda model: _accuracy(model, chapter.validation), every=7)
    optimizer = torch.optim.Adam(net.parameters(), 0.001)
    watch.fit(net, batches, F.cross_entropy, optimizer, 20)
    return _accuracy(net, chapter.digits_test)


def course(watch: Watch) -> float:
    chapter = _chapter(watch)
    watch.follow(lambda model: _accuracy(model, chapter.validation), every=25)
    net = chapter.learn(
        chapter.normed, chapter.part, 12, rate=0.01, change=chapter.jitter, smooth=0.1
    )
    return _accuracy(net, chapter.digits_test)


RACE = Race(
    title="LeNet-5 on MNIST",
    measure="validation accuracy",
    form=".1%",
    at_most=False,
    targets={0.95: "", 0.975: ""},
    recipes={
        "classic": Recipe(
            classic,
            "their LeNet-5 on pictures padded to 32 pixels (N1-21; E-28), trained as they train on MNIST: "
            "batches of 512, Adam 0.001, 20 epochs, here of the bundled images (N1-49 to N1-53).",
        ),
        "course": Recipe(
            course,
            "LeNet-5 with batch norm, pictures moved by up to two pixels, label smoothing, batches of 64, Adam "
            "with one cycle up to 0.01, 12 epochs (chapter 09, *An MLP with as many weights*).",
        ),
    },
)
