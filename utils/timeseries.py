"""From a series to a learning problem: windows, splits in time, scaling, the seasonal baseline.

Chapter 3 derives each of these functions.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


def sliding_windows(series: Tensor, input_len: int, output_len: int) -> tuple[Tensor, Tensor]:
    """Cut a series into overlapping pairs of a past and the future that follows it.

    Args:
        series: shape (time, ...), time first; any number of feature dimensions.
        input_len: time steps of the past.
        output_len: time steps of the future.

    Returns:
        Inputs, shape (windows, input_len, ...), and targets, shape (windows, output_len, ...), with
        windows = time - input_len - output_len + 1. Both are views: no number is copied.

    Raises:
        ValueError: a length is below one, or the series is shorter than one window.
    """
    length = input_len + output_len
    if input_len < 1 or output_len < 1:
        raise ValueError(f"both lengths must be at least 1, not {input_len} and {output_len}")
    if len(series) < length:
        raise ValueError(f"a series of {len(series)} steps holds no window of {length}")
    windows = series.unfold(0, length, 1).movedim(-1, 1)  # (windows, length, ...)
    return windows[:, :input_len], windows[:, input_len:]


def chronological_split(n: int, train_rate: float) -> tuple[slice, slice]:
    """Slices of the first ``train_rate`` of ``n`` items and of the rest, in the order of time.

    Raises:
        ValueError: the rate leaves one of the two parts empty.
    """
    cut = int(n * train_rate)
    if not 0 < cut < n:
        raise ValueError(f"train_rate {train_rate} leaves one part of {n} items empty")
    return slice(0, cut), slice(cut, n)


@dataclass(frozen=True)
class Standardizer:
    """Shift and scale to mean 0 and standard deviation 1; fit it on the training part alone.

    Attributes:
        mean: mean over the fitted dimension, which is kept with size one.
        std: standard deviation (divided by n) likewise; 1 where a feature is constant.
    """

    mean: Tensor
    std: Tensor

    @classmethod
    def fit(cls, x: Tensor, dim: int | tuple[int, ...] = 0) -> Standardizer:
        """Take mean and standard deviation of ``x`` over ``dim``."""
        std = x.std(dim, correction=0, keepdim=True)
        return cls(x.mean(dim, keepdim=True), torch.where(std > 0, std, torch.ones_like(std)))

    def transform(self, x: Tensor) -> Tensor:
        """Data units to standard units; any shape that broadcasts with the fitted one."""
        return (x - self.mean) / self.std

    def inverse(self, z: Tensor) -> Tensor:
        """Standard units back to data units."""
        return z * self.std + self.mean


def seasonal_naive(series: Tensor, period: int, horizon: int) -> Tensor:
    """Forecast each value as the last one known from the same phase of the season.

    The baseline that every forecast has to beat (Hyndman & Athanasopoulos, *Forecasting: Principles
    and Practice*, section 5.2).

    Args:
        series: shape (time, ...).
        period: length of the season in steps (7 for days with a weekly pattern).
        horizon: how many steps ahead the forecast is made.

    Returns:
        Shape of ``series``; entry t is the value at t - k with k the smallest multiple of
        ``period`` that is at least ``horizon``; nan where that lies before the start.

    Raises:
        ValueError: period or horizon is below one.
    """
    if period < 1 or horizon < 1:
        raise ValueError(f"period and horizon must be at least 1, not {period} and {horizon}")
    lag = -(-horizon // period) * period  # round up to whole seasons
    forecast = torch.full_like(series, float("nan"))
    forecast[lag:] = series[:-lag]
    return forecast
