"""Follow one training run: count its steps, stop its clock while its quality is measured."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from utils import training
from utils.runtime import CourseError


class EnoughError(Exception):
    """Raised inside a training loop to leave it: the target is reached, or the steps are used up."""


class Watch:
    """The clock and the record of one run of one recipe.

    A recipe calls :meth:`follow` once, when its data are ready: from then on the clock runs. After
    every gradient step comes a :meth:`tick`; most recipes get theirs from :meth:`batches` or
    :meth:`fit`.

    Args:
        seed: for data and training.
        device: where to train.
        targets: the qualities to reach; the run ends when it has reached all.
        at_most: True for an error, False for a share of right answers.
        most_steps: end every run after so many steps, to try things out.
    """

    def __init__(
        self,
        seed: int,
        device: torch.device,
        targets: Sequence[float],
        at_most: bool,
        most_steps: float = math.inf,
    ) -> None:
        self.seed, self.device = seed, device
        self.targets, self.at_most, self.most_steps = targets, at_most, most_steps
        self.steps = 0
        self.curve: list[tuple[int, float, float, float]] = []
        """(steps, CPU seconds, wall seconds, quality) at each look."""
        self.model: Any = None
        self._quality: Callable[[Any], float] | None = None
        self._every, self._limit = 1, math.inf
        self._began = self._now()

    def follow(self, quality: Callable[[Any], float], every: int, limit: float = math.inf) -> None:
        """Start the clock.

        Args:
            quality: measures ``self.model`` on the validation data.
            every: steps between two looks.
            limit: the length of the recipe in steps, where its own loop does not end it.
        """
        self._quality, self._every = quality, every
        self._limit = min(limit, self.most_steps)
        self._began = self._now()

    def tick(self) -> None:
        """Note that a gradient step is done; look at the quality when it is time.

        Raises:
            EnoughError: the training may end here.
        """
        self.steps += 1
        over = self.steps >= self._limit
        if self.steps % self._every == 0 or over:
            cpu, wall = (now - then for now, then in zip(self._now(), self._began, strict=True))
            with self._paused():
                quality = float(self._quality(self.model))
            self.curve.append((self.steps, cpu, wall, quality))
            if over or all(self.reaches(quality, target) for target in self.targets):
                raise EnoughError

    def reaches(self, quality: float, target: float) -> bool:
        """Tell whether a quality is as good as the target; nan never is."""
        return quality <= target if self.at_most else quality >= target

    def batches(self, data: Iterable[Any]) -> Watched:
        """Return the same batches with a tick after each step."""
        return Watched(data, self)

    def fit(self, model: Any, train: Iterable[Any], *rest: Any, **options: Any) -> training.History:
        """Stand in for ``utils.training.fit``: the same training, watched."""
        self.model = model
        try:
            return training.fit(model, self.batches(train), *rest, **options)
        except EnoughError:
            return training.History(steps=self.steps)

    @contextmanager
    def _paused(self) -> Iterator[None]:
        stopped = self._now()
        try:
            yield
        finally:
            pause = (now - then for now, then in zip(self._now(), stopped, strict=True))
            self._began = tuple(b + p for b, p in zip(self._began, pause, strict=True))

    def _now(self) -> tuple[float, float]:
        """CPU seconds of all threads, wall seconds; whatever the device was given is done."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.process_time(), time.perf_counter()

    def record(self, test: float) -> dict[str, Any]:
        """Return what the run came to, ready for JSON.

        Args:
            test: the quality on the test data, measured once, at the end.

        Raises:
            CourseError: there was no look, or none found a number.
        """
        points = [point for point in self.curve if not math.isnan(point[3])]
        if not points:
            raise CourseError(
                "No look found a quality: the recipe is too short, or its loss is nan."
            )
        best = (min if self.at_most else max)(points, key=lambda point: point[3])
        last = self.curve[-1]
        return {
            "seed": self.seed,
            "steps": last[0],
            "cpu": last[1],
            "wall": last[2],
            "best": best[3],
            "best_steps": best[0],
            "test": test,
            "curve": self.curve,
        }


class Watched:
    """Batches that tell a watch when the step with each of them is over."""

    def __init__(self, data: Iterable[Any], watch: Watch) -> None:
        self.data, self.watch = data, watch

    def __len__(self) -> int:
        return len(self.data)

    def __iter__(self) -> Iterator[Any]:
        for batch in self.data:
            yield batch
            self.watch.tick()
