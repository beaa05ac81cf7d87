"""Examinations of the exercises of chapter 02, autograd and gradient descent."""

import torch

from utils.checks.engine import Wrong, call, compare, exercise


@exercise(
    "02.1",
    "The slope is a rise divided by a run; go a little to both sides of x.",
    "From x - h to x + h the run is 2h.",
)
def central_difference(slope):
    x, h = torch.tensor([-2.0, 0.5, 3.0], dtype=torch.double), 1e-4
    f = torch.sin
    compare(
        call(slope, f, x, h),
        torch.cos(x),
        {
            "the run from x - h to x + h is 2h, not h: your slope is twice too large.": 2
            * torch.cos(x),
            "you take the difference, but do not divide by the run.": f(x + h) - f(x - h),
            "f(x - h) - f(x + h) goes backwards: the slope has the wrong sign.": -torch.cos(x),
        },
        name="the slope of sin",
        rtol=1e-6,
    )
    one_sided = (f(x + 0.1) - f(x)) / 0.1
    compare(
        call(slope, f, x, 0.1),
        (f(x + 0.1) - f(x - 0.1)) / 0.2,
        {
            "this is the one-sided difference: go to both sides of x, which is far more exact.": one_sided
        },
        name="the slope with h = 0.1",
    )


@exercise(
    "02.2",
    "Write down the derivative of (w·x + b - y)² with respect to w for one example first.",
    "It is 2(w·x + b - y)·x. The loss is the mean over the examples, and so is the gradient.",
    "For b, the factor x is replaced by 1.",
)
def line_gradient(gradient):
    x, y = torch.randn(7), torch.randn(7)
    w, b = torch.tensor(0.7), torch.tensor(-0.2)
    error = w * x + b - y
    right = 2 * (error * x).mean(), 2 * error.mean()
    compare(
        call(gradient, w, b, x, y),
        right,
        {
            "the 2 of the square is missing: the gradient is twice too small.": tuple(
                g / 2 for g in right
            ),
            "the loss is a mean, so divide the sum over the examples by their number.": tuple(
                7 * g for g in right
            ),
            "the gradient is 7 times too small: mean() has divided by the number of examples already.": tuple(
                g / 7 for g in right
            ),
            "the sign is wrong: the error is prediction minus target.": tuple(-g for g in right),
            "the first number must be multiplied by x before the mean is taken.": (
                2 * error.mean() * x.mean(),
                right[1],
            ),
            "first the derivative by w, then the one by b.": right[::-1],
        },
        name="the gradient (by w, by b)",
    )


@exercise(
    "02.3",
    "Which of Adam's quantities must change from one step to the next? Which must you hand on?",
    "m and v are handed on as they are; only the corrected copies are divided by 1 - beta**t.",
    "step = lr * m_hat / (v_hat.sqrt() + eps), with m_hat = m / (1 - b1**t).",
)
def adam_step(step):
    lr, b1, b2, eps = 0.1, 0.9, 0.999, 1e-8
    start = torch.tensor([1.0, -2.0], dtype=torch.double)
    slopes = [torch.tensor(g, dtype=torch.double) for g in ([3.0, -1.0], [-2.0, 0.5], [0.1, 4.0])]
    w, optimizer = start.clone().requires_grad_(), None
    optimizer = torch.optim.Adam([w], lr=lr, betas=(b1, b2), eps=eps)
    mine, m, v = start.clone(), torch.zeros_like(start), torch.zeros_like(start)
    first = start - lr * slopes[0].sign()
    for t, g in enumerate(slopes, 1):
        w.grad = g.clone()
        optimizer.step()
        given = call(step, mine, g, m, v, t, lr)
        if not isinstance(given, tuple | list) or len(given) != 3:
            raise Wrong("three tensors are asked for: the new w, m and v.")
        mine, m, v = given
        expected = w.detach()
        plain = start - lr * slopes[0]
        uncorrected = start - lr * 0.1 * slopes[0] / ((0.001 * slopes[0] ** 2).sqrt() + eps)
        upwards = start + (start - first)
        compare(
            mine,
            expected,
            {
                "this is a plain gradient step: divide by the root of v.": plain,
                "m and v start at zero; without dividing by 1 - beta**t the first step is wrong.": uncorrected,
                "the step goes up the slope: subtract it.": upwards,
                f"step {t} is again step one: use t in the correction, and the m and v you were given.": (
                    _stuck_adam(start, slopes[:t], lr)
                ),
            },
            name=f"w after step {t}",
        )


def _stuck_adam(w, slopes, lr):
    """Adam that treats each step as the first."""
    for g in slopes:
        w = w - lr * g / (g.abs() + 1e-8)
    return w


@exercise(
    "02.4",
    "What does backward() do with the gradient that is already in w.grad?",
    "Set w.grad to None (or zero) before or after each step.",
    "The step itself must not be recorded: with torch.no_grad(): w -= lr * w.grad",
)
def descend(descend):
    def f(w):
        return ((w - 3) ** 2).sum()

    def path(rule):
        w = torch.tensor([0.0, 5.0])
        g_sum = torch.zeros(2)
        for _ in range(4):
            g = 2 * (w - 3)
            g_sum = g_sum + g
            w = w + rule(g, g_sum)
        return w

    start = torch.tensor([0.0, 5.0])
    result = call(descend, f, start, 0.1, 4)
    result = result.detach() if isinstance(result, torch.Tensor) else result
    compare(
        result,
        path(lambda g, _: -0.1 * g),
        {
            "the gradients pile up: clear w.grad before each backward().": path(
                lambda _, s: -0.1 * s
            ),
            "you climb: subtract the gradient.": path(lambda g, _: 0.1 * g),
            "the steps do not reach the w that you return: it is still the start.": start,
            "one step too few or only one: repeat all of it `steps` times.": start
            - 0.2 * (start - 3),
        },
        name="w after 4 steps",
    )
    compare(start, torch.tensor([0.0, 5.0]), name="the start that was handed over")


@exercise(
    "02.5",
    "The forecast is a·x; what is the derivative of its mean squared error by a?",
    "Let autograd do it: a = torch.tensor(1.0, requires_grad=True), then 300 steps.",
    "If the loss explodes, the entries are too large for your learning rate: divide both by 1,000 first.",
)
def weekly_factor(fit_factor):
    this_week = torch.tensor([2.0, 3.0, 4.0, 1.0]) * 1000
    next_week = torch.tensor([2.2, 2.9, 4.5, 0.8]) * 1000
    least_squares = (this_week * next_week).sum() / this_week.square().sum()
    result = call(fit_factor, this_week, next_week)
    compare(
        result.detach() if isinstance(result, torch.Tensor) else result,
        least_squares,
        {
            "the factor is no number: the descent has exploded, so scale the entries.": (
                torch.tensor(float("nan"))
            ),
            "the factor is still where it started: are the steps taken?": torch.tensor(1.0),
            "this is the mean of the quotients; the least squared error is asked for.": (
                next_week / this_week
            ).mean(),
            "this is the quotient of the sums; the least squared error is asked for.": next_week.sum()
            / this_week.sum(),
            "this is the inverse: forecast next week from this week.": (this_week * next_week).sum()
            / next_week.square().sum(),
        },
        name="the factor",
        rtol=2e-4,
    )


@exercise(
    "02.6",
    "Name the intermediate results: z = W @ x, p = sigmoid(z), loss = mean((p - y)²). Go backwards.",
    "dloss/dp = 2(p - y)/n, dp/dz = p(1 - p), dz/dW[i, j] = x[j].",
    "An outer product puts the two vectors together: torch.outer(dloss/dz, x).",
)
def sigmoid_layer(gradient):
    W, x, y = torch.randn(3, 4), torch.randn(4), torch.rand(3)
    p = torch.sigmoid(W @ x)
    back = 2 / 3 * (p - y) * p * (1 - p)
    right = torch.outer(back, x)
    compare(
        call(gradient, W, x, y),
        right,
        {
            "the slope of the sigmoid, p(1 - p), is missing.": torch.outer(2 / 3 * (p - y), x),
            "the loss is a mean over the outputs: divide by their number.": 3 * right,
            "the 2 of the square is missing.": right / 2,
            "the gradient must have the shape of W: outer(dloss/dz, x), not the other way round.": right.T,
            "the slope of the sigmoid is p(1 - p), with p and not z in it.": torch.outer(
                2 / 3 * (p - y) * (W @ x) * (1 - W @ x), x
            ),
        },
        name="the gradient",
    )
