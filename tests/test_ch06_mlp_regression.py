"""What chapter 6 teaches is what PyTorch and `utils.training` do, over many shapes."""

import pytest
import torch
import torch.nn.functional as F
from taught import taught_namespace
from torch import nn
from torch.testing import assert_close

from utils import training


@pytest.fixture(scope="module")
def taught():
    return taught_namespace("06_mlp_regression")


@pytest.fixture(params=range(4))
def problem(request):
    """Inputs, targets, and a batch size that does not divide their number."""
    torch.manual_seed(request.param)
    n, features = 17 + 10 * request.param, 1 + 2 * request.param
    return torch.randn(n, features), torch.randn(n, 1), 5


def make_model(features, seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(features, 6), nn.ReLU(), nn.Linear(6, 1))


@pytest.mark.parametrize("shuffle", [False, True])
def test_batches(taught, problem, shuffle):
    x, y, size = problem
    passes = []
    for kind in (taught["TensorBatches"], training.TensorBatches):
        torch.manual_seed(1)
        batches = kind(x, y, size, shuffle=shuffle)
        passes.append([*batches, *batches])
        assert len(batches) * 2 == len(passes[-1])
    assert_close(passes[0], passes[1])
    assert passes[0][0][0].equal(x[:size]) != shuffle


def test_evaluate(taught, problem):
    x, y, size = problem
    model, metric = make_model(x.shape[1]), taught["r_squared"]
    ours, theirs = (
        evaluate(model, training.TensorBatches(x, y, size), F.mse_loss, r2=metric)
        for evaluate in (taught["evaluate"], training.evaluate)
    )
    assert_close(ours, theirs)
    assert ours["loss"] == pytest.approx(F.mse_loss(model(x), y).item(), rel=1e-5)


def test_r_squared_has_a_scale(taught):
    y = torch.randn(200, 1)
    r_squared = taught["r_squared"]
    assert r_squared(y, y) == 1
    assert r_squared(y.mean().expand_as(y), y) == pytest.approx(0, abs=1e-5)
    assert r_squared(-y, y) < -1


@pytest.mark.parametrize("optimiser", ["ours", "torch"])
def test_fit(taught, problem, optimiser):
    x, y, size = problem
    kind = taught["HandSGD"] if optimiser == "ours" else torch.optim.SGD
    models = [make_model(x.shape[1]) for _ in range(2)]
    data = training.TensorBatches(x, y, size, shuffle=True)
    held_out = training.TensorBatches(x.flip(0), y, size)
    torch.manual_seed(2)
    steps = kind(models[0].parameters(), lr=0.05)
    ours = taught["fit"](models[0], data, F.mse_loss, steps, 3, held_out)
    torch.manual_seed(2)
    steps = torch.optim.SGD(models[1].parameters(), lr=0.05)
    theirs = training.fit(models[1], data, F.mse_loss, steps, 3, validation=held_out)
    assert_close(ours["train"], theirs.train_loss)
    assert_close(ours["validation"], theirs.validation["loss"])
    assert_close(models[0].state_dict(), models[1].state_dict())


def test_dividing_again_is_a_smaller_rate(taught, problem):
    x, y, size = problem
    ends = []
    for options in ({"lr": 0.5, "divide_by": 50}, {"lr": 0.01}, {"lr": 0.5}):
        model = make_model(x.shape[1])
        steps = taught["HandSGD"](model.parameters(), **options)
        data = training.TensorBatches(x, y, size)
        taught["fit"](model, data, F.mse_loss, steps, 2, data)
        ends.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    assert_close(ends[0], ends[1])
    assert not torch.allclose(ends[0], ends[2], atol=1e-3)


@pytest.mark.parametrize("shared_bias", [False, True])
def test_network_by_hand(taught, problem, shared_bias):
    x, _, _ = problem
    W1, b1, W2, b2 = parameters = taught["draw_parameters"](x.shape[1], 6, shared_bias)
    assert b1.shape == (1 if shared_bias else 6,)
    assert all(p.is_leaf and p.requires_grad for p in parameters)
    model = make_model(x.shape[1])
    values = (W1.T, b1.expand(6), W2.T, b2)
    model.load_state_dict(dict(zip(model.state_dict(), values, strict=True)))
    assert_close(taught["by_hand"](parameters)(x), model(x))


def test_relu(taught):
    x = torch.randn(50, requires_grad=True)
    assert_close(taught["relu"](x), F.relu(x))
    (slope,) = torch.autograd.grad(taught["relu"](x).sum(), x)
    assert_close(slope, (x > 0).float())


@pytest.mark.parametrize("penalty", [0, 3.5])
@pytest.mark.parametrize("outputs", [1, 4])
def test_least_squares(taught, penalty, outputs):
    x, y = torch.randn(60, 5), torch.randn(60, outputs)
    ours = taught["least_squares"](x, y, penalty)
    z = x - x.mean(0)  # the penalty as five more examples of zero; the bias is spared
    rows = torch.cat([z, penalty**0.5 * torch.eye(5)])
    goal = torch.cat([y - y.mean(0), torch.zeros(5, outputs)])
    weight = torch.linalg.lstsq(rows, goal).solution
    new = torch.randn(7, 5)
    assert_close(ours(new), (new - x.mean(0)) @ weight + y.mean(0), atol=1e-4, rtol=1e-4)


def test_everything_taught_is_tested_here(taught):
    given = {"__builtins__", "torch", "np", "nn", "F", "math"}
    assert set(taught) - given == {
        "least_squares",
        "draw_parameters",
        "relu",
        "mlp",
        "by_hand",
        "TensorBatches",
        "HandSGD",
        "evaluate",
        "r_squared",
        "fit",
    }
