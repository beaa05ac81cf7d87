"""What chapter 3 teaches is what `utils.timeseries` holds, over many shapes."""

import pytest
import torch
from taught import taught_namespace
from torch.testing import assert_close

from utils import timeseries


@pytest.fixture(scope="module")
def taught():
    return taught_namespace("03_data")


@pytest.mark.parametrize("seed", range(6))
def test_windows(taught, seed):
    torch.manual_seed(seed)
    length, input_len, output_len = (int(torch.randint(1, n, ())) for n in (30, 8, 5))
    series = torch.randn(length + 13, *[3, 2][: seed % 3], dtype=torch.float64)
    ours = taught["sliding_windows"](series, input_len, output_len)
    assert_close(ours, timeseries.sliding_windows(series, input_len, output_len))
    assert len(ours[0]) == len(series) - input_len - output_len + 1


@pytest.mark.parametrize("n, rate", [(10, 0.8), (9990, 0.8), (7, 0.5), (1000, 0.123)])
def test_split(taught, n, rate):
    assert taught["chronological_split"](n, rate) == timeseries.chronological_split(n, rate)


@pytest.mark.parametrize("dim", [0, (0, 1)])
def test_standardizer(taught, dim):
    x = torch.randn(40, 3, 2) * 5 + 2
    x[..., 0] = 7  # a constant feature
    ours, theirs = (s.fit(x, dim) for s in (taught["Standardizer"], timeseries.Standardizer))
    assert_close(ours.transform(x), theirs.transform(x))
    assert_close(ours.inverse(x), theirs.inverse(x))


@pytest.mark.parametrize("period", [1, 7, 12])
@pytest.mark.parametrize("horizon", [1, 7, 8])
def test_seasonal_naive(taught, period, horizon):
    series = torch.randn(60, 3)
    ours = taught["seasonal_naive"](series, period, horizon)
    assert_close(ours, timeseries.seasonal_naive(series, period, horizon), equal_nan=True)
