"""What chapter 02 writes by hand agrees with torch, for more shapes and seeds than the chapter shows."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from nbformat import v4
from taught import taught_namespace
from torch.testing import assert_close

DTYPES = (torch.float32, torch.float64)
OPTIMISERS = {
    "SGD": ("HandSGD", torch.optim.SGD, {"lr": 0.1}),
    "momentum": ("HandSGD", torch.optim.SGD, {"lr": 0.02, "momentum": 0.9}),
    "Adam": ("HandAdam", torch.optim.Adam, {"lr": 1e-3}),
    "Adam with other settings": (
        "HandAdam",
        torch.optim.Adam,
        {"lr": 0.03, "betas": (0.8, 0.95), "eps": 1e-3},  # the default eps hides where it stands
    ),
}


@pytest.fixture(scope="module")
def taught():
    return taught_namespace("02_autograd")


@pytest.fixture(params=range(5))
def rng(request):
    """Three sizes are drawn from it, then the numbers."""
    return np.random.default_rng(request.param)


# --- the optimisers -------------------------------------------------------------------------------


def trained(optimizer_class, options, dtype, seed, steps=25):
    """The weights of a small network after each step, (step, weights); noise keeps moments moving."""
    generator = torch.Generator().manual_seed(seed)
    sizes = torch.randint(1, 6, (3,), generator=generator).tolist()

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=dtype)

    params = [draw(sizes[0], sizes[1]), draw(sizes[1]), draw(sizes[1], sizes[2]), draw(())]
    for p in params:
        p.requires_grad_()
    optimizer = optimizer_class(params, **options)
    path = []
    for _ in range(steps):
        x, y = draw(7, sizes[0]), draw(7, sizes[2])
        prediction = torch.tanh(x @ params[0] + params[1]) @ params[2] + params[3]
        for p in params:
            p.grad = None
        F.mse_loss(prediction, y).backward()
        optimizer.step()
        path.append(torch.cat([p.detach().flatten() for p in params]).clone())
    return torch.stack(path)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", OPTIMISERS)
def test_optimiser_follows_torch_step_by_step(taught, name, seed, dtype):
    ours, theirs, options = OPTIMISERS[name]
    path = trained(taught[ours], options, dtype, seed)
    assert path.isfinite().all() and not path[0].equal(path[-1])
    assert_close(path, trained(theirs, options, dtype, seed))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("seed", range(5))
def test_the_adam_of_the_notes_fails_this_comparison(taught, seed, dtype):
    options = {"lr": 1e-3}
    path, expected = (
        trained(kind, options, dtype, seed) for kind in (taught["NotesAdam"], torch.optim.Adam)
    )
    assert_close(path[0], expected[0])  # one step does not tell them apart
    with pytest.raises(AssertionError, match="not close"):
        assert_close(path, expected)
    assert (path[-1] - expected[-1]).abs().max() > 1e-3  # a whole step, and not rounding


@pytest.mark.parametrize(
    "wrong", ["nothing", "no momentum", "no correction", "eps inside", "one mean"]
)
def test_the_comparison_notices_usual_mistakes(taught, wrong):
    class Wrong(taught["HandAdam"]):
        @torch.no_grad()
        def step(self):
            self.t += 1
            beta1, beta2 = (0.0 if wrong == "no momentum" else self.betas[0]), self.betas[1]
            for p, m, v in zip(self.params, self.m, self.v, strict=True):
                m.mul_(beta1).add_((1 - beta1) * p.grad)
                v.mul_(beta2).add_((1 - beta2) * (m if wrong == "one mean" else p.grad) ** 2)
                t = 10**6 if wrong == "no correction" else self.t
                m_hat, v_hat = m / (1 - beta1**t), v / (1 - beta2**t)
                root = v_hat.sqrt() + self.eps
                if wrong == "eps inside":
                    root = (v_hat + self.eps).sqrt()
                p.sub_(self.lr * m_hat / root)

    _, theirs, options = OPTIMISERS["Adam with other settings"]
    path = trained(Wrong, options, torch.float64, 0)
    if wrong == "nothing":
        assert_close(path, trained(theirs, options, torch.float64, 0))
        return
    with pytest.raises(AssertionError, match="not close"):
        assert_close(path, trained(theirs, options, torch.float64, 0))


# --- gradients by the chain rule ------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sigmoid_layer_gradient_is_autograds(taught, rng, dtype):
    batch, inputs, outputs = rng.integers(1, 9, size=3)
    W = rng.normal(size=(outputs, inputs)).astype(dtype)
    x = rng.normal(size=(batch, inputs)).astype(dtype)
    y = rng.uniform(size=(batch, outputs)).astype(dtype)
    loss, gradient = taught["sigmoid_layer_gradient"](W, x, y)
    w = torch.tensor(W, requires_grad=True)
    expected = F.mse_loss(torch.sigmoid(torch.tensor(x) @ w.T), torch.tensor(y))
    expected.backward()
    assert_close(torch.tensor(loss), expected.detach())
    assert_close(torch.tensor(gradient), w.grad)


def autograd_of_the_parabola(w, x, y):
    w = torch.tensor(w, requires_grad=True)
    x, y = torch.tensor(x), torch.tensor(y)
    loss = F.mse_loss(w[0] * x**2 + w[1] * x + w[2], y)
    loss.backward()
    return loss.detach(), w.grad


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_parabola_gradient_is_autograds(taught, rng, dtype):
    w = rng.normal(size=3).astype(dtype)
    x, y = rng.normal(size=(2, int(rng.integers(1, 200)))).astype(dtype)
    loss, gradient = taught["parabola_gradient"](w, x, y)
    expected_loss, expected_gradient = autograd_of_the_parabola(w, x, y)
    assert_close(torch.tensor(loss), expected_loss, check_dtype=False)
    assert_close(torch.tensor(gradient), expected_gradient, check_dtype=False)


@pytest.mark.parametrize("size", [1, 5, 20])
def test_one_pass_is_an_epoch_of_torch_sgd(taught, rng, size):
    x, y = rng.normal(size=(2, 20))
    start = rng.normal(size=3)
    batches = rng.permutation(20).reshape(-1, size)
    running, after = taught["one_pass"](start, x, y, batches, 0.05)
    w = torch.tensor(start, requires_grad=True)
    optimizer = torch.optim.SGD([w], lr=0.05)
    losses = []
    for batch in batches:
        xb, yb = torch.tensor(x[batch]), torch.tensor(y[batch])
        loss = F.mse_loss(w[0] * xb**2 + w[1] * xb + w[2], yb)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert_close(torch.tensor(after), w.detach())
    assert running == pytest.approx(np.mean(losses))


@pytest.mark.parametrize("order", ["in order", "shuffled"])
def test_shuffled_passes_fit_the_parabola_and_ordered_ones_do_not(taught, rng, order):
    x = np.arange(100) / 100
    y = 2 * x**2 + 3 * x + 4
    w = np.array([1.0, -1.0, -1.0])
    for _ in range(148):
        samples = rng.permutation(100) if order == "shuffled" else np.arange(100)
        _, w = taught["one_pass"](w, x, y, samples.reshape(-1, 1), 0.1)
    loss, _ = taught["parabola_gradient"](w, x, y)
    assert loss < 2e-9 if order == "shuffled" else 4.9e-5 < loss < 5e-5


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_descend_is_torch_sgd(taught, rng, dtype):
    size = int(rng.integers(1, 6))
    root = torch.tensor(rng.normal(size=(size, size)), dtype=dtype)
    curvature = root @ root.T  # of a bowl, so that the descent stays finite
    start = torch.tensor(rng.normal(size=size), dtype=dtype)
    path = taught["descend"](lambda w: curvature @ w, start, 0.02, 30)
    w = start.clone().requires_grad_()
    optimizer = torch.optim.SGD([w], lr=0.02)
    expected = [start]
    for _ in range(30):
        optimizer.zero_grad()
        (w @ curvature @ w / 2).backward()
        optimizer.step()
        expected.append(w.detach().clone())
    assert path.shape == (31, size)
    assert_close(path, torch.stack(expected))


# --- taking the taught code from a chapter --------------------------------------------------------


def chapter_with(folder, *cells):
    """A notebook of code cells, each given as (source, tags)."""
    nb = v4.new_notebook(
        cells=[v4.new_code_cell(source, metadata={"tags": list(tags)}) for source, tags in cells]
    )
    (folder / "99_test.ipynb").write_text(v4.writes(nb), encoding="utf-8")
    return taught_namespace("99_test", folder)


def test_taught_cells_see_each_other_and_nothing_else(tmp_path):
    found = chapter_with(
        tmp_path,
        ("secret = 1", ()),
        ("def f(x):\n    return np.square(x)", ("teaches",)),
        ("class A:\n    def g(self, x):\n        return f(x) + math.floor(1.5)", ("teaches",)),
    )
    assert found["A"]().g(3) == 10
    assert "secret" not in found


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        (("def f():\n    pass\n\n\nx = f()", ("teaches",)), "cell 1 .* line 5"),
        (("import os", ("teaches",)), "line 1"),
        (("def f():\n    pass", ()), "no cell tagged"),
    ],
)
def test_taught_cells_only_define(tmp_path, cell, message):
    with pytest.raises(ValueError, match=message):
        chapter_with(tmp_path, cell)


def test_a_missing_chapter_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        taught_namespace("98_missing", tmp_path)


def test_everything_taught_is_tested_here(taught):
    given = {"__builtins__", "torch", "np", "nn", "F", "math"}
    assert set(taught) - given == {
        "descend",
        "sigmoid_layer_gradient",
        "HandSGD",
        "HandAdam",
        "NotesAdam",
        "parabola_gradient",
        "one_pass",
    }
