"""The training loop of the course, as chapters 6 and 8 build it up.

Losses are means over a batch; :func:`fit` and :func:`evaluate` weight them by the size of the batch, so
that a smaller last batch counts for what it holds. Whatever yields ``(inputs, targets)`` serves as
data: a ``DataLoader``, a list of pairs, or :class:`TensorBatches`.
"""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from utils.runtime import CourseError, progress

Metric = Callable[[Tensor, Tensor], float]
Batches = Iterable[tuple[Tensor, Tensor]]


class TensorBatches:
    """Batches cut from tensors that lie in memory, far faster than item by item.

    Args:
        inputs: shape (examples, ...).
        targets: shape (examples, ...).
        batch_size: examples per batch; the last batch may be smaller.
        shuffle: whether each pass has a new order (for training only).

    Raises:
        ValueError: the lengths differ, there are no examples, or the batch size is below one.
    """

    def __init__(
        self, inputs: Tensor, targets: Tensor, batch_size: int, shuffle: bool = False
    ) -> None:
        if len(inputs) != len(targets) or len(inputs) == 0:
            raise ValueError(f"{len(inputs)} inputs do not go with {len(targets)} targets")
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, not {batch_size}")
        self.inputs, self.targets = inputs, targets
        self.batch_size, self.shuffle = batch_size, shuffle

    def __len__(self) -> int:
        return math.ceil(len(self.inputs) / self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        n = len(self.inputs)
        # drawn on the CPU, so that equal seeds give equal orders on every device
        order = torch.randperm(n) if self.shuffle else torch.arange(n)
        for rows in order.to(self.inputs.device).split(self.batch_size):
            yield self.inputs[rows], self.targets[rows.to(self.targets.device)]


@dataclass
class History:
    """What :func:`fit` recorded: one entry per epoch in each list.

    Attributes:
        train_loss: mean loss over the examples of the epoch, measured while the weights moved.
        validation: what :func:`evaluate` found after the epoch, by name (``"loss"`` and the metrics).
        best_epoch: epoch (from 1) with the lowest validation loss; its weights are the ones kept
            when early stopping was asked for.
        steps: gradient steps in all.
    """

    train_loss: list[float] = field(default_factory=list)
    validation: dict[str, list[float]] = field(default_factory=dict)
    best_epoch: int | None = None
    steps: int = 0


@torch.no_grad()
def evaluate(
    model: nn.Module, data: Batches, loss_fn: nn.Module | Callable, **metrics: Metric
) -> dict[str, float]:
    """Measure a model without changing it.

    The model is put into evaluation mode (dropout off, batch norm by its running statistics) and
    back into the mode it was in.

    Args:
        model: the model; batches are moved to the device of its parameters.
        data: yields (inputs, targets).
        loss_fn: a loss that averages over the batch.
        metrics: functions of all outputs and all targets, by name.

    Returns:
        ``{"loss": …}`` and one number for each metric.

    Raises:
        ValueError: ``data`` is empty.
    """
    was_training = model.training
    model.eval()
    device = _device_of(model)
    total, outputs, targets = 0.0, [], []
    try:
        for x, y in data:
            x, y = x.to(device), y.to(device)  # noqa: PLW2901
            output = model(x)
            total += loss_fn(output, y).item() * len(x)
            outputs.append(output)
            targets.append(y)
    finally:
        model.train(was_training)
    if not outputs:
        raise ValueError("there is nothing to evaluate: the data are empty")
    every_output, every_target = torch.cat(outputs), torch.cat(targets)
    found = {name: metric(every_output, every_target) for name, metric in metrics.items()}
    return {"loss": total / len(every_target), **found}


def fit(
    model: nn.Module,
    train: Batches,
    loss_fn: nn.Module | Callable,
    optimizer: torch.optim.Optimizer,
    epochs: int,
    *,
    validation: Batches | None = None,
    schedule: torch.optim.lr_scheduler.LRScheduler | None = None,
    patience: int | None = None,
    clip_norm: float | None = None,
    checkpoint: Path | None = None,
    description: str = "training",
    **metrics: Metric,
) -> History:
    """Train a model.

    Args:
        model: the model; batches are moved to the device of its parameters.
        train: yields (inputs, targets), the same number of batches in each epoch.
        loss_fn: a loss that averages over the batch.
        optimizer: made from the model's parameters.
        epochs: passes over ``train``.
        validation: data to measure after each epoch; never to train on.
        schedule: learning-rate schedule, advanced after every *step*.
        patience: stop when the validation loss has not fallen for so many epochs, and go back to the
            weights of the best epoch.
        clip_norm: largest norm of the whole gradient.
        checkpoint: file to save to after every epoch and to go on from when it exists.
        description: words beside the progress bar.
        metrics: functions of all validation outputs and targets, by name.

    Returns:
        The record of all epochs, those before a checkpoint included.

    Raises:
        CourseError: the loss is no number any more, or the checkpoint does not fit.
        ValueError: ``patience`` without ``validation``, or ``train`` is empty.
    """
    if patience is not None and validation is None:
        raise ValueError("early stopping needs validation data: give validation=")
    state = _State(model, optimizer, schedule)
    if checkpoint is not None and checkpoint.exists():
        state.load(checkpoint)
    history, device = state.history, _device_of(model)
    for epoch in progress(range(len(history.train_loss) + 1, epochs + 1), description):
        if patience is not None and state.epochs_without_gain() >= patience:
            break
        model.train()
        total, count = 0.0, 0
        for x, y in train:
            x, y = x.to(device), y.to(device)  # noqa: PLW2901
            loss = loss_fn(model(x), y)
            if not torch.isfinite(loss):
                raise CourseError(
                    f"The loss is {loss.item()} in epoch {epoch}, step {history.steps + 1}: lower "
                    "the learning rate, clip the gradient (clip_norm=1), or look for bad inputs."
                )
            optimizer.zero_grad()
            loss.backward()
            if clip_norm is not None:
                nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
            optimizer.step()
            if schedule is not None:
                schedule.step()
            history.steps += 1
            total, count = total + loss.item() * len(x), count + len(x)
        if not count:
            raise ValueError("there is nothing to train on: the data are empty")
        history.train_loss.append(total / count)
        if validation is not None:
            state.record(evaluate(model, validation, loss_fn, **metrics), keep=patience is not None)
        if checkpoint is not None:
            state.save(checkpoint)
    state.restore_best()
    return history


def _device_of(model: nn.Module) -> torch.device:
    """Where the model's parameters are; the CPU when it has none."""
    return next((p.device for p in model.parameters()), torch.device("cpu"))


class _State:
    """All that a training run consists of: it can be saved, and taken up again."""

    def __init__(self, model: nn.Module, optimizer: Any, schedule: Any) -> None:
        self.parts = {"model": model, "optimizer": optimizer}
        if schedule is not None:
            self.parts["schedule"] = schedule
        self.history = History()
        self.best: dict[str, Tensor] | None = None

    def record(self, found: dict[str, float], keep: bool) -> None:
        """Note what the validation found, and keep the weights when they are the best so far."""
        validation, epoch = self.history.validation, len(self.history.train_loss)
        for name, value in found.items():
            validation.setdefault(name, []).append(value)
        losses = validation["loss"]
        if losses[-1] == min(losses) and losses.index(losses[-1]) == len(losses) - 1:
            self.history.best_epoch = epoch
            if keep:
                self.best = copy.deepcopy(self.parts["model"].state_dict())

    def epochs_without_gain(self) -> int:
        return len(self.history.train_loss) - (self.history.best_epoch or 0)

    def restore_best(self) -> None:
        if self.best is not None:
            self.parts["model"].load_state_dict(self.best)

    def save(self, path: Path) -> None:
        """Write everything, whole or not at all."""
        content = {name: part.state_dict() for name, part in self.parts.items()}
        content |= {"history": vars(self.history), "best": self.best, "rng": torch.get_rng_state()}
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            torch.save(content, temporary)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise

    def load(self, path: Path) -> None:
        """Take up the run that was saved.

        Raises:
            CourseError: the file is damaged, or belongs to another model or optimiser.
        """
        try:
            device = _device_of(self.parts["model"])
            content = torch.load(path, map_location=device, weights_only=True)
            for name, part in self.parts.items():
                part.load_state_dict(content[name])
            self.history = History(**content["history"])
            self.best = content["best"]
            torch.set_rng_state(content["rng"].cpu())
        except Exception as error:
            raise CourseError(
                f"The checkpoint {path.name} cannot be taken up ({type(error).__name__}): it is "
                "damaged or belongs to another model; remove it to start afresh."
            ) from None
