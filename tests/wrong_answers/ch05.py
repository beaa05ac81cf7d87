"""Typical wrong answers to the exercises of chapter 05: (code, part of the diagnosis)."""

LINE = "def line(x, y):\n    dx, dy = x - x.mean(), y - y.mean()\n"
STEPS = "def steps_needed(X, rate, share):\n"
WAVES = (
    "def wave_forecast(day, y, new_day, harmonics, period=365.25):\n"
    "    def features(day):\n        turns = day[:, None] / period\n"
    "        angle = {angle}\n        return torch.cat([{columns}], dim=1)\n"
    "    return features({at}) @ torch.linalg.lstsq(features(day), y).solution"
)
ANGLE = "2 * math.pi * turns * torch.arange(1, harmonics + 1)"
COLUMNS = "torch.ones_like(turns), turns, angle.sin(), angle.cos()"


def waves(angle=ANGLE, columns=COLUMNS, at="new_day"):
    return WAVES.format(angle=angle, columns=columns, at=at)


SPLIT = "def split_and_scale(rows, n):\n    train, test = rows[:n], rows[n:]\n"
SAFE = "    s = torch.where(s == 0, 1, s)\n"
PRIOR = "def correct_prior(p, sample_share, real_share):\n"
HAT = "def leave_one_out(X, y):\n    H = X @ torch.linalg.inv(X.T @ X) @ X.T\n    e = y - H @ y\n"

WRONG = {
    "05.1": [
        (
            LINE + "    a = (dx * dy).sum() / (dx * dx).sum()\n    return a, y.mean()",
            "the intercept is the mean of y",
        ),
        (
            LINE + "    a = (x * y).sum() / (x * x).sum()\n    return a, y.mean() - a * x.mean()",
            "through zero: subtract the means before",
        ),
        (
            LINE + "    a = (dx * dy).mean() / (x.std() * y.std()) * 9 / 8\n"
            "    return a, y.mean() - a * x.mean()",
            "this is the correlation",
        ),
        (
            LINE
            + "    a = (dx * dy).sum() / (dy * dy).sum()\n    return a, y.mean() - a * x.mean()",
            "the line of x on y",
        ),
        (
            LINE + "    a = (dx * dy).mean() / x.var()\n    return a, y.mean() - a * x.mean()",
            "torch.var does that",
        ),
        (
            LINE
            + "    a = (dx * dy).sum() / (dx * dx).sum()\n    return y.mean() - a * x.mean(), a",
            "first the slope",
        ),
    ],
    "05.2": [
        (
            STEPS + "    e = torch.linalg.eigvalsh(2 * X.T @ X / len(X))[-1].item()\n"
            "    return math.ceil(math.log(share) / math.log(abs(1 - rate * e)))",
            "the fastest direction",
        ),
        (
            STEPS + "    e = torch.linalg.eigvalsh(X.T @ X / len(X))[0].item()\n"
            "    return math.ceil(math.log(share) / math.log(1 - rate * e))",
            "twice too many",
        ),
        (
            STEPS + "    e = torch.linalg.eigvalsh(2 * X.T @ X)[0].item()\n"
            "    return math.ceil(math.log(share) / math.log(1 - rate * e))",
            "not divided by n",
        ),
        (
            STEPS + "    e = torch.linalg.eigvalsh(2 * X.T @ X / len(X))[0].item()\n"
            "    return int(math.log(share) / math.log(1 - rate * e))",
            "one step too few",
        ),
        (
            STEPS + "    e = torch.linalg.eigvalsh(2 * X.T @ X / len(X))[0].item()\n"
            "    return math.log(share) / math.log(1 - rate * e)",
            "must be a whole number",
        ),
        (
            STEPS + "    e = 2 / len(X) * torch.linalg.svdvals(X)[-1].item()\n"
            "    return math.ceil(math.log(share) / math.log(1 - rate * e))",
            "square them",
        ),
    ],
    "05.3": [
        (waves(columns="turns, angle.sin(), angle.cos()"), "the constant c is missing"),
        (waves(columns="torch.ones_like(turns), angle.sin(), angle.cos()"), "the trend"),
        (waves(columns="torch.ones_like(turns), turns, angle.sin()"), "only sines"),
        (waves(angle=ANGLE.replace("torch.arange(1, harmonics + 1)", "1")), "only the first wave"),
        (waves(angle=ANGLE.replace("2 * math.pi * ", "")), "the 2π is missing"),
        (waves(at="day"), "the fitted values of `day`"),
    ],
    "05.4": [
        (
            "def split_and_scale(rows, n):\n    rows = (rows - rows.mean(0)) / rows.std(0)\n    return rows[:n], rows[n:]",
            "the test rows have a say",
        ),
        (
            SPLIT
            + "    f = lambda t: (t - t.mean(0)) / torch.where(t.std(0) == 0, 1, t.std(0))\n    return f(train), f(test)",
            "by their own mean and std",
        ),
        (
            SPLIT
            + "    m, s = train.mean(0), train.std(0)\n    return (train - m) / s, (test - m) / s",
            "you divide by zero there",
        ),
        (
            SPLIT
            + "    m, s = train.mean(0), train.std(0) + 1e-8\n    return (train - m) / s, (test - m) / s",
            "blows up the third column",
        ),
        (
            SPLIT
            + "    m, s = train.mean(0), train.std(0, correction=0)\n"
            + SAFE
            + "    return (train - m) / s, (test - m) / s",
            "yours divides by n",
        ),
        (
            SPLIT + "    s = train.std(0)\n" + SAFE + "    return train / s, test / s",
            "the mean is not subtracted",
        ),
    ],
    "05.5": [
        (PRIOR + "    return p * real_share / sample_share", "it is the odds that change"),
        (
            PRIOR + "    f = real_share / (1 - real_share) / (sample_share / (1 - sample_share))\n"
            "    return p / (1 - p) * f",
            "these are the odds",
        ),
        (
            PRIOR + "    f = real_share / (1 - real_share) / (sample_share / (1 - sample_share))\n"
            "    o = p / (1 - p) / f\n    return o / (1 + o)",
            "the wrong direction",
        ),
        (
            PRIOR + "    o = p / (1 - p) * real_share / sample_share\n    return o / (1 + o)",
            "the odds of both are meant",
        ),
        (
            PRIOR + "    o = p / (1 - p) * real_share / (1 - real_share)\n    return o / (1 + o)",
            "the odds of the sample are missing",
        ),
        (
            PRIOR + "    f = real_share / (1 - real_share) / (sample_share / (1 - sample_share))\n"
            "    o = p / (1 - p) * f\n    return o / (1 + o)",
            "infinite odds divided by infinite odds",
        ),
    ],
    "05.6": [
        (HAT + "    return e", "each has seen itself"),
        (HAT + "    return e * (1 - H.diagonal())", "do not multiply"),
        (HAT + "    return e / (1 - H.diagonal()).sqrt()", "not by its root"),
        (HAT + "    return e / (1 - X.shape[1] / len(X))", "its own leverage"),
        (HAT + "    return y - e / (1 - H.diagonal())", "these are the forecasts"),
        (HAT + "    return e / H.diagonal()", "it is 1 - h that belongs there"),
    ],
}
