"""What chapter 07 writes by hand agrees with torch and with utils, for many shapes."""

import inspect

import nbformat
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from taught import NOTEBOOKS, taught_namespace
from torch import nn
from torch.testing import assert_close

from utils import metrics
from utils.training import TensorBatches, evaluate, fit

DTYPES = (torch.float32, torch.float64)


@pytest.fixture(scope="module")
def taught():
    return taught_namespace("07_mlp_classification")


@pytest.fixture(params=range(5))
def rng(request):
    torch.manual_seed(request.param)
    return np.random.default_rng(request.param)


def examples(rng, outputs, dtype):
    """Images (n, height, width) with class ids, or with a column of 0 and 1 for one output."""
    n, height, width = (int(size) for size in rng.integers([20, 1, 1], [60, 6, 6]))
    x = torch.tensor(rng.normal(size=(n, height, width)), dtype=dtype)
    if outputs == 1:
        return x, torch.tensor(rng.integers(0, 2, size=(n, 1)), dtype=dtype)
    return x, torch.tensor(rng.integers(0, outputs, size=n))


def twins(taught, x, hidden, outputs, std=0.3):
    """The same network as four tensors and as a module."""
    params = taught["new_params"](x[0].numel(), hidden, outputs, std)
    params = [(p + 0.1 * torch.randn(p.shape)).to(x.dtype).requires_grad_() for p in params]
    layers = nn.Linear(x[0].numel(), hidden), nn.ReLU(), nn.Linear(hidden, outputs)
    module = nn.Sequential(nn.Flatten(), *layers).to(x.dtype)
    with torch.no_grad():
        for theirs, ours in zip(module.parameters(), params, strict=True):
            theirs.copy_(ours.T if ours.ndim == 2 else ours)
    return params, module


def assert_same_weights(params, module):
    for ours, theirs in zip(params, module.parameters(), strict=True):
        assert_close(ours, theirs.T if ours.ndim == 2 else theirs)


def loss_for(outputs):
    return nn.BCEWithLogitsLoss() if outputs == 1 else nn.CrossEntropyLoss()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("scale", [0.01, 1, 300])
def test_cross_entropy_is_torchs(taught, rng, dtype, scale):
    n, classes = (int(size) for size in rng.integers(1, 30, size=2))
    logits = torch.tensor(scale * rng.normal(size=(n, classes)), dtype=dtype, requires_grad=True)
    target = torch.tensor(rng.integers(0, classes, size=n))
    ours, theirs = taught["cross_entropy"](logits, target), F.cross_entropy(logits, target)
    assert_close(ours, theirs)
    slopes = [torch.autograd.grad(loss, logits)[0] for loss in (ours, theirs)]
    assert_close(*slopes)


def test_new_params_have_the_stated_spread_and_zero_biases(taught):
    torch.manual_seed(0)
    W1, b1, W2, b2 = taught["new_params"](300, 200, 100, std=0.05)
    assert [tuple(p.shape) for p in (W1, b1, W2, b2)] == [(300, 200), (200,), (200, 100), (100,)]
    assert b1.eq(0).all() and b2.eq(0).all()
    for weight in (W1, W2):
        assert abs(weight.std().item() - 0.05) < 0.002 and abs(weight.mean().item()) < 0.002


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("outputs", [1, 2, 10])
def test_mlp_is_the_module(taught, rng, outputs, dtype):
    x, _ = examples(rng, outputs, dtype)
    params, module = twins(taught, x, int(rng.integers(1, 20)), outputs)
    assert_close(taught["mlp"](x, params), module(x))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_sgd_step_is_torchs_and_clears_the_gradient(taught, rng, dtype):
    x, y = examples(rng, 10, dtype)
    params, module = twins(taught, x, 7, 10)
    sgd = torch.optim.SGD(module.parameters(), lr=0.3)
    for _ in range(20):
        taught["cross_entropy"](taught["mlp"](x, params), y).backward()
        taught["sgd_step"](params, 0.3)
        assert all(p.grad is None and p.requires_grad for p in params)
        sgd.zero_grad()
        F.cross_entropy(module(x), y).backward()
        sgd.step()
        assert_same_weights(params, module)


def test_sgd_step_moves_what_it_is_given(taught):
    given, other = (torch.ones(2, requires_grad=True) for _ in range(2))
    given.grad, other.grad = torch.ones(2), torch.ones(2)
    taught["sgd_step"]([given], 0.1)
    assert_close(given.detach(), torch.full((2,), 0.9))
    assert other.equal(torch.ones(2)) and other.grad is not None


@pytest.mark.parametrize("outputs", [1, 5])
def test_training_by_hand_is_fit(taught, rng, outputs):
    x, y = examples(rng, outputs, torch.float64)
    params, module = twins(taught, x, 9, outputs)
    batches, loss_fn = TensorBatches(x, y, 8), loss_for(outputs)  # the last batch is smaller
    before = [p.detach().clone() for p in params]
    taught["train_by_hand"](
        lambda x: taught["mlp"](x, params), params, batches, loss_fn, 0.2, 3 * len(batches)
    )
    fit(module, batches, loss_fn, torch.optim.SGD(module.parameters(), lr=0.2), epochs=3)
    assert_same_weights(params, module)
    assert not any(p.equal(old) for p, old in zip(params, before, strict=True))


@pytest.mark.parametrize("steps", [1, 4, 5, 13])
def test_training_by_hand_takes_exactly_so_many_steps(taught, steps):
    w = torch.zeros(1, 1, requires_grad=True)
    batches = TensorBatches(torch.ones(10, 1), torch.ones(10, 1), 2)  # five a pass
    taught["train_by_hand"](
        lambda x: x @ w, [w], batches, lambda z, _: -z.mean(), lr=1.0, steps=steps
    )
    assert w.item() == steps


@pytest.mark.parametrize("batch_size", [1, 7, 1000])
@pytest.mark.parametrize("outputs", [1, 2, 10])
def test_evaluation_by_hand_is_utils(taught, rng, outputs, batch_size):
    x, y = examples(rng, outputs, torch.float64)
    _, module = twins(taught, x, 6, outputs)
    batches, loss_fn = TensorBatches(x, y, batch_size), loss_for(outputs)

    def share(logits, y):
        return (
            metrics.accuracy(logits > 0, y > 0.5) if outputs == 1 else metrics.accuracy(logits, y)
        )

    expected = evaluate(module, batches, loss_fn, accuracy=share)
    ours = taught["evaluate_by_hand"](module, batches, loss_fn)
    assert ours == pytest.approx((expected["loss"], expected["accuracy"]))


def test_evaluation_records_no_graph(taught):
    seen = []

    def net(x):
        seen.append(torch.is_grad_enabled())
        return x

    batches = TensorBatches(torch.eye(4), torch.arange(4), 3)
    assert taught["evaluate_by_hand"](net, batches, nn.CrossEntropyLoss())[1] == 1
    assert seen == [False, False]


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        ("cross_entropy", ".mean()", ".sum()"),
        ("cross_entropy", "logits - torch", "logits.softmax(1) - torch"),  # a second softmax
        ("mlp", "torch.relu", "torch.tanh"),
        ("sgd_step", "lr * p.grad", "lr * p.grad / 32"),  # a second division
    ],
)
def test_the_comparisons_notice_the_mistakes_of_the_chapter(taught, name, right, wrong):
    nb = nbformat.read(NOTEBOOKS / "07_mlp_classification.ipynb", as_version=4)
    [source] = [c.source for c in nb.cells if f"def {name}(" in c.source]
    assert source.count(right) == 1
    changed = dict(taught)
    exec(source.replace(right, wrong), changed)
    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    tests = {
        "cross_entropy": lambda: test_cross_entropy_is_torchs(changed, rng, torch.float64, 1),
        "mlp": lambda: test_mlp_is_the_module(changed, rng, 10, torch.float64),
        "sgd_step": lambda: test_sgd_step_is_torchs_and_clears_the_gradient(
            changed, rng, torch.float64
        ),
    }
    with pytest.raises(AssertionError, match="not close"):
        tests[name]()


def test_everything_taught_is_tested_here(taught):
    names = {name for name, thing in taught.items() if inspect.isfunction(thing)}
    assert names == {
        "new_params",
        "mlp",
        "sgd_step",
        "train_by_hand",
        "evaluate_by_hand",
        "cross_entropy",
    }
