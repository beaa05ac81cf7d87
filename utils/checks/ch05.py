"""Examinations of the exercises of chapter 05, linear models."""

import math

import numpy as np
import torch

from utils.checks.engine import Wrong, call, compare, exercise


@exercise(
    "05.1",
    "Subtract the means first: dx = x - x.mean(), dy = y - y.mean(). What are covariance and variance made of?",
    "The slope is (dx * dy).sum() / (dx * dx).sum(): the number of examples cancels out.",
    "The line passes through the means: mean of y = slope · mean of x + intercept.",
)
def line(line):
    x, y = torch.rand(9) * 3 + 1, torch.randn(9)
    y = y - 2 * x
    slope, intercept = np.polyfit(x.double().numpy(), y.double().numpy(), 1).tolist()
    mx, my = x.mean().item(), y.mean().item()
    through_zero = ((x * y).sum() / (x * x).sum()).item()
    correlation = float(np.corrcoef(x.numpy(), y.numpy())[0, 1])

    def pair(slope, intercept):
        return torch.tensor(slope), torch.tensor(intercept)

    def with_slope(slope):
        return pair(slope, my - slope * mx)

    compare(
        call(line, x, y),
        pair(slope, intercept),
        {
            "first the slope, then the intercept.": pair(intercept, slope),
            "the intercept is the mean of y: subtract the slope times the mean of x.": pair(
                slope, my
            ),
            "this line goes through zero: subtract the means before you multiply.": with_slope(
                through_zero
            ),
            "this line goes through zero: the means are to be subtracted.": pair(through_zero, 0.0),
            "this is the correlation: divide by the variance of x, not by both standard deviations.": (
                with_slope(correlation)
            ),
            "you divide by the variance of y: that is the line of x on y.": with_slope(
                correlation**2 / slope
            ),
            "one of your sums is divided by n and the other by n - 1 (torch.var does that): use one of them.": (
                with_slope(slope * 8 / 9)
            ),
            "one of your sums is divided by n - 1 and the other by n: use one of them for both.": (
                with_slope(slope * 9 / 8)
            ),
        },
        name="(slope, intercept)",
    )


@exercise(
    "05.2",
    "Along an eigenvector of H a step multiplies the distance by 1 - rate · eigenvalue. Which one is slowest?",
    "After k steps (1 - rate · smallest eigenvalue)ᵏ of it is left; take logarithms to find k.",
    "k = log(share) / log(1 - rate · smallest), rounded up with math.ceil.",
)
def steps_needed(steps_needed):
    x = torch.rand(11, dtype=torch.double) + 0.5
    X = torch.stack([x, x.square(), torch.ones_like(x)], dim=1)
    rate, share = 0.1, 0.9
    array = X.numpy()
    values, vectors = np.linalg.eigh(array.T @ array)
    weight, steps = vectors[:, 0].copy(), 0
    while np.linalg.norm(weight) > share:  # the descent itself, with targets of zero
        weight -= rate * 2 / 11 * array.T @ (array @ weight)
        steps += 1

    def walk(curvature):
        left, count = 1.0, 0
        while left > share and count < 100_000:
            left *= abs(1 - rate * curvature)
            count += 1
        return count

    slow, middle, fast = values.tolist()
    compare(
        call(steps_needed, X, rate, share),
        steps,
        {
            "this is the number for the fastest direction: take the smallest eigenvalue.": walk(
                2 / 11 * fast
            ),
            "this is the number for the direction in the middle: take the smallest eigenvalue.": walk(
                2 / 11 * middle
            ),
            "the 2 of H = 2XᵀX/n is missing, so you take twice too many steps.": walk(slow / 11),
            "H = 2XᵀX/n: you have not divided by n, the number of rows.": walk(2 * slow),
            "you have divided XᵀX by the number of columns; n is the number of rows.": walk(
                2 / 3 * slow
            ),
            "these are singular values of X: square them to get the eigenvalues of XᵀX.": walk(
                2 / 11 * math.sqrt(slow)
            ),
            "one step too few: round up, for after your number of steps more than the share is left.": (
                steps - 1
            ),
            "one step too many: when is at most the share left for the first time?": steps + 1,
            "this is the number of steps to 1 - share: share is what is left of the distance.": (
                math.ceil(math.log(1 - share) / math.log(1 - rate * 2 / 11 * slow))
            ),
        },
        name="the number of steps",
        rtol=1e-9,
    )


def _waves(day, columns, period):
    """Columns by their sign: 0 the constant, 1 the trend, else ("sin" or "cos", k)."""
    turns = day / period
    made = {0: np.ones_like(turns), 1: turns}
    return np.stack(
        [made[c] if c in made else getattr(np, c[0])(2 * np.pi * c[1] * turns) for c in columns],
        axis=1,
    )


@exercise(
    "05.3",
    "Build a matrix with one row per day and one column per weight; use the same function for day and new_day.",
    "The columns: ones, day / period, the sines and the cosines of 2π · k · day / period for each k.",
    "With angle = 2 * math.pi * day[:, None] / period * torch.arange(1, harmonics + 1) the sines are angle.sin(). "
    "Then torch.linalg.lstsq(...).solution.",
)
def wave_forecast(wave_forecast):
    day = torch.arange(37, dtype=torch.double) + 3
    new_day = torch.arange(41, 60, dtype=torch.double)
    y = 4 + torch.randn(37, dtype=torch.double) + day / 20
    period, both = 11.5, [("sin", 1), ("cos", 1), ("sin", 2), ("cos", 2)]

    def forecast(columns, period=period, at=new_day):
        weights = np.linalg.lstsq(_waves(day.numpy(), columns, period), y.numpy(), rcond=None)[0]
        return torch.tensor(_waves(at.numpy(), columns, period) @ weights)

    compare(
        call(wave_forecast, day, y, new_day, 2, period),
        forecast([0, 1, *both]),
        {
            "the constant c is missing: add a column of ones.": forecast([1, *both]),
            "the trend t · day/period is missing.": forecast([0, *both]),
            "there are only sines: each wave needs its cosine, too, or it cannot be shifted.": forecast(
                [0, 1, *both[::2]]
            ),
            "there are only cosines: each wave needs its sine, too.": forecast([0, 1, *both[1::2]]),
            "there is only the first wave: take k = 1, 2, …, harmonics.": forecast(
                [0, 1, *both[:2]]
            ),
            "k ends at harmonics + 1: one wave too many.": forecast(
                [0, 1, *both, ("sin", 3), ("cos", 3)]
            ),
            "k starts at 0 and ends before harmonics: torch.arange(1, harmonics + 1).": forecast(
                [0, 1, *both[:2], ("cos", 0)]
            ),
            "the angle is 2π · k · day / period, and the 2π is missing.": forecast(
                [0, 1, *both], 2 * math.pi * period
            ),
            "the angle is 2π · k · day / period, and you have π.": forecast(
                [0, 1, *both], 2 * period
            ),
            "you use 365.25 days whatever the period is.": forecast([0, 1, *both], 365.25),
            "these are the fitted values of `day`: forecast the days of `new_day`.": forecast(
                [0, 1, *both], at=day
            ),
        },
        name="the forecast",
    )


@exercise(
    "05.4",
    "Split first. Which rows may say what the mean is?",
    "mean and std come from rows[:n_train], and scale both parts.",
    "For constant columns put a 1 in place of the standard deviation: torch.where(std == 0, 1, std).",
)
def split_and_scale(split_and_scale):
    rows = torch.randn(13, 4) * torch.tensor([1.0, 5.0, 1.0, 0.3]) + torch.tensor(
        [0.0, 2.0, 7.0, 1.0]
    )
    rows[:9, 2] = 3.0
    array = rows.double().numpy()

    def scaled(of_mean=slice(9), of_std=slice(9), ddof=1, test=None, constant=1.0, shift=True):
        def scale(part, of_mean, of_std):
            std = array[of_std].std(axis=0, ddof=ddof)
            std = np.where(std < 1e-9, constant, std)
            mean = array[of_mean].mean(axis=0) if shift else 0
            with np.errstate(all="ignore"):
                return torch.tensor((part - mean) / std).float()

        first, second = array[:9], array[9:]
        return scale(first, of_mean, of_std), scale(second, test or of_mean, test or of_std)

    everything, last = slice(None), slice(9, None)
    compare(
        call(split_and_scale, rows, 9),
        scaled(),
        {
            "the test rows have a say in mean and std: compute both from the training rows only.": (
                scaled(everything, everything)
            ),
            "the mean comes from the training rows, but the standard deviation from all.": scaled(
                slice(9), everything
            ),
            "the test rows are scaled by their own mean and std; a single loan could not be scaled at all.": (
                scaled(test=last)
            ),
            "the third column is constant in the training rows, and you divide by zero there.": scaled(
                constant=0.0
            ),
            "adding a small number to a std of zero blows up the third column: put a 1 in its place.": (
                scaled(constant=1e-8)
            ),
            "use torch's std (with n - 1); yours divides by n.": scaled(ddof=0),
            "the mean is not subtracted.": scaled(shift=False),
            "first the training rows, then the test rows.": scaled()[::-1],
        },
        name="the pair (train, test)",
    )


@exercise(
    "05.5",
    "Turn p into odds, multiply, and turn the result back into a probability.",
    "The factor is real/(1 - real) divided by sample/(1 - sample); from odds o, p = o/(1 + o).",
    "At p = 1 the odds are infinite. p·a/(p·a + (1 - p)·b) with a = real/sample and b = (1 - real)/(1 - sample) "
    "needs no odds; or add the logarithm of the factor to the logit.",
)
def correct_prior(correct_prior):
    p = torch.tensor([[0.02, 0.3, 0.5], [0.7, 0.15, 0.9]])
    bad, good = 0.05 / 0.3, 0.95 / 0.7  # what a loan of the sample stands for
    right = p * bad / (p * bad + (1 - p) * good)
    compare(
        call(correct_prior, p, 0.3, 0.05),
        right,
        {
            "you multiply the probability by real share / sample share: it is the odds that change.": (
                p * bad
            ),
            "you multiply the probability by the factor of the odds: take odds first.": p
            * bad
            / good,
            "these are the odds: turn them back into probabilities, o / (1 + o).": right
            / (1 - right),
            "these are logits: the sigmoid makes probabilities of them.": right.logit(),
            "you correct in the wrong direction: bad loans are rarer in real lending than in the sample.": (
                p * good / (p * good + (1 - p) * bad)
            ),
            "the factor is real share / sample share, but the odds of both are meant: share / (1 - share).": (
                p * bad / (p * bad + (1 - p))
            ),
            "the odds of the sample are missing in the factor.": (
                p * 0.05 / (p * 0.05 + (1 - p) * 0.95)
            ),
        },
        name="the corrected probability",
    )
    sure = call(correct_prior, torch.tensor([0.0, 1.0]), 0.3, 0.05)
    if isinstance(sure, torch.Tensor) and sure.isnan().any():
        raise Wrong(
            "at p = 1 your result is nan: infinite odds divided by infinite odds. Find a form without them."
        )
    compare(sure, torch.tensor([0.0, 1.0]), name="what becomes of p = 0 and p = 1")


@exercise(
    "05.6",
    "The simple way: for each i delete row i, fit to the rest, and forecast row i.",
    "The fitted values are H y with the matrix H = X (XᵀX)⁻¹ Xᵀ. Its diagonal says how much example i pulls its own "
    "fitted value towards itself.",
    "The error without example i is its residual divided by 1 - H[i, i].",
)
def leave_one_out(leave_one_out):
    n = 9
    x = torch.randn(n, dtype=torch.double)
    X = torch.stack([torch.ones_like(x), x, x.square()], dim=1)
    y = torch.randn(n, dtype=torch.double) + 2 * x
    left_out = []
    for i in range(n):
        seen = np.arange(n) != i
        beta = np.linalg.lstsq(X.numpy()[seen], y.numpy()[seen], rcond=None)[0]
        left_out.append(y[i].item() - float(X.numpy()[i] @ beta))
    errors = torch.tensor(left_out, dtype=torch.double)
    residual = y - X @ torch.linalg.lstsq(X, y).solution
    keep = residual / errors  # 1 - leverage
    compare(
        call(leave_one_out, X, y),
        errors,
        {
            "these are the residuals of the fit to all examples: each has seen itself.": residual,
            "these are the forecasts: the errors y - forecast are asked for.": y - errors,
            "these are forecasts minus y: the error is y minus the forecast.": -errors,
            "the error is larger than the residual: divide by 1 - h, and do not multiply.": residual
            * keep,
            "divide by 1 - h, not by its root: that gives standardised residuals.": residual
            / keep.sqrt(),
            "you divide by 1 - d/n, the mean of 1 - h: each example has its own leverage.": residual
            / keep.mean(),
            "you divide by the leverage h: it is 1 - h that belongs there.": residual / (1 - keep),
            "these are squared errors: the errors themselves are asked for.": errors.square(),
        },
        name="the errors",
    )
