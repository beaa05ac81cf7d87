"""Windows, splits, scaling and the seasonal baseline against slow and obvious versions."""

import pytest
import torch
from torch.testing import assert_close

from utils.timeseries import Standardizer, chronological_split, seasonal_naive, sliding_windows


@pytest.mark.parametrize("shape", [(20,), (20, 3), (20, 3, 2)])
@pytest.mark.parametrize("input_len, output_len", [(3, 1), (1, 1), (7, 5), (19, 1)])
def test_windows_against_a_loop(shape, input_len, output_len):
    series = torch.randn(shape)
    inputs, targets = sliding_windows(series, input_len, output_len)
    count = 20 - input_len - output_len + 1
    assert inputs.shape == (count, input_len, *shape[1:])
    assert targets.shape == (count, output_len, *shape[1:])
    for i in range(count):
        assert_close(inputs[i], series[i : i + input_len])
        assert_close(targets[i], series[i + input_len : i + input_len + output_len])


def test_windows_copy_nothing():
    series = torch.zeros(10)
    inputs, _ = sliding_windows(series, 3, 1)
    series[1] = 5
    assert inputs[0, 1] == inputs[1, 0] == 5


@pytest.mark.parametrize("n, lens", [(3, (3, 1)), (10, (0, 1)), (10, (1, 0))])
def test_impossible_windows_are_refused(n, lens):
    with pytest.raises(ValueError, match="window|at least 1"):
        sliding_windows(torch.zeros(n), *lens)


def test_the_split_keeps_the_order_and_loses_nothing():
    train, test = chronological_split(10, 0.8)
    items = list(range(10))
    assert items[train] == [0, 1, 2, 3, 4, 5, 6, 7]
    assert items[test] == [8, 9]


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.2, 1.2, 0.01])
def test_an_empty_part_is_refused(rate):
    with pytest.raises(ValueError, match="empty"):
        chronological_split(10, rate)


@pytest.mark.parametrize("dim", [0, (0, 1)])
def test_standardizing_and_back(dim):
    x = torch.randn(50, 4, 3) * 7 + 3
    scaler = Standardizer.fit(x, dim)
    z = scaler.transform(x)
    assert_close(z.mean(dim), torch.zeros_like(z.mean(dim)), atol=1e-5, rtol=0)
    assert_close(z.std(dim, correction=0), torch.ones_like(z.mean(dim)), atol=1e-5, rtol=0)
    assert_close(scaler.inverse(z), x, atol=1e-5, rtol=1e-5)


def test_a_constant_feature_does_not_divide_by_zero():
    x = torch.tensor([[1.0, 5.0], [3.0, 5.0]])
    z = Standardizer.fit(x).transform(x)
    assert_close(z, torch.tensor([[-1.0, 0.0], [1.0, 0.0]]))


@pytest.mark.parametrize("horizon, lag", [(1, 7), (7, 7), (8, 14), (14, 14)])
def test_the_seasonal_baseline_knows_only_the_past(horizon, lag):
    series = torch.arange(30.0)
    forecast = seasonal_naive(series, period=7, horizon=horizon)
    assert forecast[:lag].isnan().all()
    assert_close(forecast[lag:], series[:-lag])


def test_the_seasonal_baseline_is_perfect_on_a_season():
    series = torch.tensor([3.0, 1.0, 4.0]).repeat(6)
    assert_close(seasonal_naive(series, 3, 1)[3:], series[3:])


@pytest.mark.parametrize("period, horizon", [(0, 1), (7, 0), (-7, 1)])
def test_an_impossible_season_is_refused(period, horizon):
    with pytest.raises(ValueError, match="at least 1"):
        seasonal_naive(torch.zeros(10), period, horizon)
