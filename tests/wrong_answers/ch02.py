"""Typical wrong answers to the exercises of chapter 02: (code, part of the diagnosis)."""

WRONG = {
    "02.1": [
        (
            "def slope(f, x, h=1e-4): return (f(x + h) - f(x - h)) / h",
            "the run from x - h to x + h is 2h",
        ),
        ("def slope(f, x, h=1e-4): return f(x + h) - f(x - h)", "do not divide by the run"),
        ("def slope(f, x, h=1e-4): return (f(x - h) - f(x + h)) / (2 * h)", "goes backwards"),
        ("def slope(f, x, h=1e-4): return (f(x + h) - f(x)) / h", "values are wrong"),
        (
            "def slope(f, x, h=1e-4): return (f(x + h) - f(x)) / h if h > 1e-3"
            " else (f(x + h) - f(x - h)) / (2 * h)",
            "one-sided difference",
        ),
    ],
    "02.2": [
        (
            "def line_gradient(w, b, x, y):\n    e = w * x + b - y\n    return (e * x).mean(), e.mean()",
            "the 2 of the square is missing",
        ),
        (
            "def line_gradient(w, b, x, y):\n    e = w * x + b - y\n    return 2 * (e * x).sum(), 2 * e.sum()",
            "divide the sum over the examples by their number",
        ),
        (
            "def line_gradient(w, b, x, y):\n    e = w * x + b - y\n"
            "    return 2 * (e * x).mean() / len(x), 2 * e.mean() / len(x)",
            "7 times too small: mean() has divided",
        ),
        (
            "def line_gradient(w, b, x, y):\n    e = y - w * x - b\n    return 2 * (e * x).mean(), 2 * e.mean()",
            "the sign is wrong",
        ),
        (
            "def line_gradient(w, b, x, y):\n    e = w * x + b - y\n"
            "    return 2 * e.mean() * x.mean(), 2 * e.mean()",
            "multiplied by x before the mean",
        ),
        (
            "def line_gradient(w, b, x, y):\n    e = w * x + b - y\n    return 2 * e.mean(), 2 * (e * x).mean()",
            "first the derivative by w",
        ),
    ],
    "02.3": [
        (
            "def adam_step(w, g, m, v, t, lr=0.001, b1=0.9, b2=0.999, eps=1e-8):\n"
            "    m, v, t = 0 * m, 0 * v, 1\n"
            "    m = b1 * m + (1 - b1) * g\n    v = b2 * v + (1 - b2) * g**2\n"
            "    return w - lr * (m / (1 - b1**t)) / ((v / (1 - b2**t)).sqrt() + eps), m, v",
            "step 2 is again step one",
        ),
        (
            "def adam_step(w, g, m, v, t, lr=0.001): return w - lr * g, m, v",
            "a plain gradient step",
        ),
        (
            "def adam_step(w, g, m, v, t, lr=0.001, b1=0.9, b2=0.999, eps=1e-8):\n"
            "    m = b1 * m + (1 - b1) * g\n    v = b2 * v + (1 - b2) * g**2\n"
            "    return w - lr * m / (v.sqrt() + eps), m, v",
            "without dividing by 1 - beta**t",
        ),
        (
            "def adam_step(w, g, m, v, t, lr=0.001, b1=0.9, b2=0.999, eps=1e-8):\n"
            "    m = b1 * m + (1 - b1) * g\n    v = b2 * v + (1 - b2) * g**2\n"
            "    return w + lr * (m / (1 - b1**t)) / ((v / (1 - b2**t)).sqrt() + eps), m, v",
            "goes up the slope",
        ),
        (
            "def adam_step(w, g, m, v, t, lr=0.001): return w - lr * g.sign()",
            "three tensors are asked for",
        ),
    ],
    "02.4": [
        (
            "def descend(f, start, lr, steps):\n    w = start.clone().requires_grad_()\n"
            "    for _ in range(steps):\n        f(w).backward()\n"
            "        with torch.no_grad():\n            w -= lr * w.grad\n    return w.detach()",
            "the gradients pile up",
        ),
        (
            "def descend(f, start, lr, steps):\n    w = start.clone().requires_grad_()\n"
            "    for _ in range(steps):\n        f(w).backward()\n"
            "        with torch.no_grad():\n            w += lr * w.grad\n        w.grad = None\n    return w.detach()",
            "you climb",
        ),
        (
            "def descend(f, start, lr, steps):\n    w = start.clone().requires_grad_()\n"
            "    for _ in range(steps):\n        f(w).backward()\n        w.grad = None\n    return w.detach()",
            "still the start",
        ),
        (
            "def descend(f, start, lr, steps):\n    w = start.clone().requires_grad_()\n"
            "    for _ in range(steps):\n        f(w).backward()\n        w -= lr * w.grad\n    return w",
            "your code raises RuntimeError: a leaf Variable",
        ),
        (
            "def descend(f, start, lr, steps):\n    w = start.clone().requires_grad_()\n"
            "    f(w).backward()\n    return (w - lr * w.grad).detach()",
            "repeat all of it",
        ),
        (
            "def descend(f, start, lr, steps):\n    w = start\n"
            "    for _ in range(steps):\n        w = w.clone().requires_grad_()\n        f(w).backward()\n"
            "        with torch.no_grad():\n            start -= lr * w.grad\n            w = start\n    return w",
            "changes the inputs",
        ),
    ],
    "02.5": [
        (
            "def fit_factor(x, y):\n    a = torch.tensor(1.0, requires_grad=True)\n"
            "    for _ in range(300):\n        ((a * x - y) ** 2).mean().backward()\n"
            "        with torch.no_grad():\n            a -= 0.1 * a.grad\n        a.grad = None\n    return a.detach()",
            "the descent has exploded",
        ),
        ("def fit_factor(x, y): return (y / x).mean()", "the mean of the quotients"),
        ("def fit_factor(x, y): return y.sum() / x.sum()", "the quotient of the sums"),
        ("def fit_factor(x, y): return (x * y).sum() / y.square().sum()", "the inverse"),
        ("def fit_factor(x, y): return torch.tensor(1.0)", "still where it started"),
    ],
    "02.6": [
        (
            "def layer_gradient(W, x, y):\n    p = torch.sigmoid(W @ x)\n"
            "    return torch.outer(2 / len(y) * (p - y), x)",
            "slope of the sigmoid, p(1 - p), is missing",
        ),
        (
            "def layer_gradient(W, x, y):\n    p = torch.sigmoid(W @ x)\n"
            "    return torch.outer(2 * (p - y) * p * (1 - p), x)",
            "divide by their number",
        ),
        (
            "def layer_gradient(W, x, y):\n    p = torch.sigmoid(W @ x)\n"
            "    return torch.outer((p - y) * p * (1 - p), x) / len(y)",
            "the 2 of the square",
        ),
        (
            "def layer_gradient(W, x, y):\n    p = torch.sigmoid(W @ x)\n"
            "    return torch.outer(x, 2 / len(y) * (p - y) * p * (1 - p))",
            "outer(dloss/dz, x), not the other way round",
        ),
        (
            "def layer_gradient(W, x, y):\n    z = W @ x\n    p = torch.sigmoid(z)\n"
            "    return torch.outer(2 / len(y) * (p - y) * z * (1 - z), x)",
            "with p and not z in it",
        ),
    ],
}
