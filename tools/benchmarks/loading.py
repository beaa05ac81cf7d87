"""Seconds an epoch to bring the 5,000 bundled digits in batches of 64, in several ways."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, TensorDataset

from tools.benchmarks.chapters import define
from utils import datasets
from utils.runtime import seed_everything
from utils.training import TensorBatches

BATCH, EPOCHS = 64, 3

WAYS = {
    "pictures": "item by item, a Dataset with PIL transforms (N2-21, N4-08)",
    "items": "item by item, `TensorDataset` (N2-03)",
    "workers": "item by item, `TensorDataset`, 2 workers started anew each epoch",
    "lasting": "item by item, `TensorDataset`, 2 lasting workers, their start not counted",
    "sampler": "`DataLoader` that asks for a whole batch (`BatchSampler`)",
    "slices": "`TensorBatches`: rows cut from the tensors (the course)",
}


def run(seed: int, quick: bool = False) -> dict[str, Any]:
    """Time every way, in an order that changes with the seed.

    Returns:
        ``images``, their number, and ``seconds``: wall seconds of one epoch by way, the median of
        three after one that warms up.
    """
    seed_everything(seed)
    mnist = datasets.load_mnist()
    images = np.concatenate([mnist.train_images, mnist.test_images])
    labels = np.concatenate([mnist.train_labels, mnist.test_labels])
    chapter = define("03", ["DigitImages", "compose"])
    pictures = chapter.DigitImages(images, labels, chapter.compose)
    pixels = (torch.tensor(images)[:, None] / 255 - 0.5) / 0.5  # (images, 1, 28, 28)
    memory = TensorDataset(pixels, torch.tensor(labels))
    options = {"batch_size": BATCH, "shuffle": True}
    sampler = BatchSampler(RandomSampler(memory), BATCH, drop_last=False)
    ways: dict[str, Callable[[], Iterable]] = {
        "pictures": lambda: DataLoader(pictures, **options),
        "items": lambda: DataLoader(memory, **options),
        "workers": lambda: DataLoader(memory, num_workers=2, **options),
        "lasting": lambda: DataLoader(memory, num_workers=2, persistent_workers=True, **options),
        "sampler": lambda: DataLoader(memory, sampler=sampler, batch_size=None),
        "slices": lambda: TensorBatches(*memory.tensors, BATCH, shuffle=True),
    }
    order = list(ways)
    order = order[seed % len(order) :] + order[: seed % len(order)]
    return {
        "seed": seed,
        "images": len(images),
        "seconds": {way: _seconds(ways[way], len(images), 1 if quick else EPOCHS) for way in order},
    }


def _seconds(make: Callable[[], Iterable], images: int, epochs: int) -> float:
    loader, found = make(), []
    for _ in range(1 + epochs):
        began = time.perf_counter()
        count = sum(len(x) for x, _ in loader)
        found.append(time.perf_counter() - began)
        if count != images:
            raise RuntimeError(f"{count} of {images} images arrived")
    return statistics.median(found[1:])
