"""Chapter 8's optimisers are torch.optim's, and its training loop is that of utils.training."""

import copy

import pytest
import torch
from sklearn.linear_model import Lasso, Ridge
from taught import taught_namespace
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close

from utils import metrics, training

OPTIM = torch.optim
RULES = {
    "sgd": (OPTIM.SGD, [{}]),
    "momentum": (OPTIM.SGD, [{"momentum": 0.9}, {"momentum": 0.5, "nesterov": True}]),
    "adagrad": (OPTIM.Adagrad, [{}, {"lr_decay": 0.02}, {"eps": 1e-3}]),
    "rmsprop": (OPTIM.RMSprop, [{}, {"alpha": 0.9}, {"eps": 1e-4}]),
    "adam": (OPTIM.Adam, [{}, {"betas": (0.8, 0.95)}, {"eps": 1e-4}]),
    "adamw": (OPTIM.AdamW, [{}, {"betas": (0.5, 0.9)}]),
}


@pytest.fixture(scope="module")
def taught():
    return taught_namespace("08_training_well")


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize(
    "seed, dtype", [(0, torch.float64), (1, torch.float32), (2, torch.float64)]
)
@pytest.mark.parametrize(
    "name, options", [(name, o) for name, (_, choices) in RULES.items() for o in choices]
)
def test_an_optimiser_follows_torch_for_100_steps(taught, name, options, seed, dtype, weight_decay):
    torch.manual_seed(seed)
    lr = 10 ** -(1 + 2 * torch.rand(()).item())
    sizes = [(), (5,), (3, 4), (2, 3, 2)][seed:]
    start = [torch.randn(size, dtype=dtype) for size in sizes]
    ours, theirs = ([p.clone().requires_grad_() for p in start] for _ in range(2))
    rule = taught[{"momentum": "sgd", "adamw": "adam"}.get(name, name)]
    mine = taught["Optimiser"](
        rule, ours, lr, weight_decay=weight_decay, decoupled=name == "adamw", **options
    )
    reference = RULES[name][0](theirs, lr=lr, weight_decay=weight_decay, **options)
    for _ in range(100):
        for p, q in zip(ours, theirs, strict=True):
            noise = 0.1 * torch.randn_like(p)
            p.grad, q.grad = (torch.sin(3 * w.detach()) + w.detach() + noise for w in (p, q))
        mine.step()
        reference.step()
    tolerance = 1e-10 if dtype == torch.float64 else 1e-3
    assert_close(ours, theirs, atol=tolerance, rtol=tolerance)
    assert all((p - s).abs().max() > 1e-3 for p, s in zip(ours, start, strict=True))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_the_loop_is_that_of_utils(taught, seed, batch_size):
    torch.manual_seed(seed)
    n, features, classes = 30 + 7 * seed, 3 + seed, 2 + seed
    x, y = torch.randn(n, features), torch.randint(classes, (n,))
    norm = nn.BatchNorm1d(8) if batch_size == 7 else nn.Identity()
    if batch_size == 7 and n % 7 == 1:
        x, y = x[1:], y[1:]  # batch norm refuses a batch of one
    net = nn.Sequential(
        nn.Linear(features, 8), norm, nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, classes)
    )
    runs = []
    for function, more in ((taught["fit"], {}), (training.fit, {"accuracy": metrics.accuracy})):
        model = copy.deepcopy(net)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        torch.manual_seed(seed)
        batches = training.TensorBatches(x, y, batch_size, shuffle=True)
        chosen = training.TensorBatches(x, y, 11)
        history = function(model, batches, F.cross_entropy, optimizer, 3, validation=chosen, **more)
        runs.append((model, history))
    (ours, rows), (theirs, history) = runs
    assert_close(ours.state_dict(), theirs.state_dict())
    assert_close([r["train_loss"] for r in rows], history.train_loss)
    for name in ("loss", "accuracy"):
        assert_close([r[name] for r in rows], history.validation[name])
    found = training.evaluate(theirs, chosen, F.cross_entropy, accuracy=metrics.accuracy)
    assert_close(taught["evaluate"](ours, chosen, F.cross_entropy), found)
    assert not any(m.training for m in ours.modules())


@pytest.mark.parametrize("p", [0.1, 0.5, 0.8])
def test_dropout(taught, p):
    x = torch.rand(200, 300) + 0.5
    torch.manual_seed(3)
    ours = taught["dropout"](x, p)
    torch.manual_seed(3)
    assert_close(ours, nn.Dropout(p)(x))
    assert ours.mean().item() == pytest.approx(x.mean().item(), rel=0.05)
    assert (ours == 0).float().mean().item() == pytest.approx(p, abs=0.02)
    assert taught["dropout"](x, p, training=False) is x


@pytest.mark.parametrize("penalty", [0.01, 0.1, 0.5])
def test_penalties_against_scikit_learn(taught, penalty):
    torch.manual_seed(4)
    x = torch.randn(60, 12, dtype=torch.float64)
    y = 2 * x[:, 0] - x[:, 1] + 0.1 * torch.randn(60, dtype=torch.float64)
    ridge = Ridge(alpha=60 * penalty, fit_intercept=False).fit(x, y)
    assert_close(taught["ridge"](x, y, penalty), torch.tensor(ridge.coef_))
    lasso = Lasso(alpha=penalty, fit_intercept=False, tol=1e-10).fit(x, y)
    ours = taught["lasso"](x, y, penalty)
    assert_close(ours, torch.tensor(lasso.coef_), atol=1e-6, rtol=0)
    assert torch.equal(ours == 0, torch.tensor(lasso.coef_ == 0)) and (ours == 0).any()
