"""Figures of merit, each one number for one array of predictions against one of truths."""

from __future__ import annotations

import torch
from torch import Tensor


def _pair(prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Both as double tensors on the CPU; equal shapes, so that nothing broadcasts by accident."""
    prediction, target = torch.as_tensor(prediction), torch.as_tensor(target)
    if prediction.shape != target.shape:
        raise ValueError(
            f"shapes differ: prediction {tuple(prediction.shape)}, target {tuple(target.shape)}"
        )
    if target.numel() == 0:
        raise ValueError("there is nothing to compare: both are empty")
    return prediction.detach().cpu().double(), target.detach().cpu().double()


def accuracy(prediction: Tensor, target: Tensor) -> float:
    """Fraction of right classes.

    Args:
        prediction: class ids, shape (N,), or scores or logits, shape (N, classes).
        target: true class ids, shape (N,).

    Raises:
        ValueError: the shapes do not fit, or there is nothing to compare.
    """
    prediction = torch.as_tensor(prediction)
    if prediction.ndim == 2 and torch.as_tensor(target).ndim == 1:
        prediction = prediction.argmax(dim=1)
    prediction, target = _pair(prediction, target)
    return (prediction == target).double().mean().item()


def mae(prediction: Tensor, target: Tensor) -> float:
    """Mean absolute error, in the unit of the target; any equal shapes.

    Raises:
        ValueError: the shapes differ, or there is nothing to compare.
    """
    prediction, target = _pair(prediction, target)
    return (prediction - target).abs().mean().item()


def rmse(prediction: Tensor, target: Tensor) -> float:
    """Root of the mean squared error, in the unit of the target; any equal shapes.

    Raises:
        ValueError: the shapes differ, or there is nothing to compare.
    """
    prediction, target = _pair(prediction, target)
    return (prediction - target).square().mean().sqrt().item()


def wmape(prediction: Tensor, target: Tensor) -> float:
    """Weighted mean absolute percentage error: sum of |error| over sum of |target|, a fraction.

    The figure of merit of passenger-flow forecasting: unlike MAPE it is defined when a station
    counts nobody, and busy stations weigh as much as their passengers.

    Raises:
        ValueError: the shapes differ, there is nothing to compare, or the target is all zero.
    """
    prediction, target = _pair(prediction, target)
    weight = target.abs().sum()
    if weight == 0:
        raise ValueError("WMAPE is undefined: the target is zero everywhere")
    return ((prediction - target).abs().sum() / weight).item()
