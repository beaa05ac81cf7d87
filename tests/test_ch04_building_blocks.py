"""What chapter 4 writes by hand equals PyTorch, in value and gradient, over many shapes and dtypes."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from taught import taught_namespace
from torch import nn
from torch.testing import assert_close

DTYPES = (torch.float32, torch.float64)
SEEDS = range(6)


@pytest.fixture(scope="module")
def taught():
    return taught_namespace("04_building_blocks")


def sizes(seed, count, low=1, high=9):
    rng = np.random.default_rng(seed)
    return [int(n) for n in rng.integers(low, high, count)]


def both(function, reference, *inputs):
    """Assert that two functions agree in value and in the gradient of every floating input."""
    results = []
    for f in (function, reference):
        given = [x.clone().requires_grad_() if x.is_floating_point() else x for x in inputs]
        value = f(*given)
        weights = torch.linspace(0.5, 1.5, max(value.numel(), 1), dtype=value.dtype)
        (value.flatten() * weights[: value.numel()]).sum().backward()
        results.append((value.detach(), [x.grad for x in given if x.is_floating_point()]))
    assert_close(results[0], results[1])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("seed", SEEDS)
def test_linear(taught, seed, dtype):
    batch, inputs, outputs = sizes(seed, 3)
    torch.manual_seed(seed)
    x, weight, bias = (
        torch.randn(s, dtype=dtype) for s in ((batch, inputs), (outputs, inputs), (outputs,))
    )
    both(taught["linear"], F.linear, x, weight, bias)
    by_numpy = taught["linear"](x.numpy(), weight.numpy(), bias.numpy())
    assert_close(torch.from_numpy(by_numpy), F.linear(x, weight, bias))


@pytest.mark.parametrize("seed", range(30))
def test_output_sizes(taught, seed):
    kernel, stride, dilation = sizes(seed, 3, 1, 5)
    n = dilation * (kernel - 1) + 1 + seed % 7
    padding = min(sizes(seed, 1, 0, 3)[0], kernel // 2)
    options = {"stride": stride, "padding": padding, "dilation": dilation}
    x = torch.zeros(1, 1, n)
    assert F.conv1d(x, torch.zeros(1, 1, kernel), **options).shape[-1] == taught["conv_size"](
        n, kernel, **options
    )
    size = taught["conv_transpose_size"](n, kernel, **options)
    if size > 0:
        assert F.conv_transpose1d(x, torch.zeros(1, 1, kernel), **options).shape[-1] == size


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (5,), (4, 3)])
def test_batch_norm_in_both_modes(taught, shape, dtype, training):
    torch.manual_seed(len(shape))
    kind = (nn.BatchNorm1d, nn.BatchNorm1d, nn.BatchNorm2d)[len(shape)]
    norm = kind(3, dtype=dtype)
    with torch.no_grad():
        norm.weight.normal_()
        norm.bias.normal_()
    mean, var = norm.running_mean.clone(), norm.running_var.clone()
    for _ in range(3):  # so that the running averages matter
        x = torch.randn(7, 3, *shape, dtype=dtype) * 4 + 2
        _, mean, var = taught["batch_norm"](x, norm.weight, norm.bias, mean, var, training=True)
        norm(x)
    assert_close((mean, var), (norm.running_mean, norm.running_var))
    norm.train(training)

    def by_hand(x, weight, bias):
        return taught["batch_norm"](x, weight, bias, mean, var, training)[0]

    def by_torch(x, weight, bias):
        averages = norm.running_mean.clone(), norm.running_var.clone()
        return F.batch_norm(x, *averages, weight, bias, training)

    both(by_hand, by_torch, x, norm.weight.detach(), norm.bias.detach())


ACTIVATIONS = {
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": F.relu,
    "leaky_relu": F.leaky_relu,
    "gelu": F.gelu,
    "softmax": lambda x: F.softmax(x, dim=-1),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scale", [1, 30, 1000])
def test_activations(taught, name, dtype, scale):
    for seed in SEEDS:
        torch.manual_seed(seed)
        x = torch.randn(*sizes(seed, 1 + seed % 3), dtype=dtype) * scale
        both(taught[name], ACTIVATIONS[name], x)


def test_relu_at_zero_and_on_integers(taught):
    both(taught["relu"], F.relu, torch.tensor([-1.0, 0.0, 1.0]))  # torch.max has slope 0.5 at 0
    whole = torch.tensor([-2, 0, 2])
    assert_close(taught["relu"](whole), F.relu(whole))


def test_softmax_over_any_axis(taught):
    x = torch.randn(3, 4, 5) * 1000
    for dim in (0, 1, 2, -1):
        assert_close(taught["softmax"](x, dim), x.softmax(dim))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scale", [1, 1000])
@pytest.mark.parametrize("seed", SEEDS)
def test_losses(taught, seed, scale, dtype):
    torch.manual_seed(seed)
    batch, classes = sizes(seed, 2, 2, 9)
    logits = torch.randn(batch, classes, dtype=dtype) * scale
    target = torch.randint(classes, (batch,))
    both(lambda x: taught["cross_entropy"](x, target), lambda x: F.cross_entropy(x, target), logits)
    yes = torch.randint(2, (batch, classes)).to(dtype)
    both(
        lambda x: taught["bce_with_logits"](x, yes),
        lambda x: F.binary_cross_entropy_with_logits(x, yes),
        logits,
    )
    both(taught["mse"], F.mse_loss, logits, torch.randn_like(logits))


def test_the_naive_softmax_would_be_caught():
    def naive(x):
        return x.exp() / x.exp().sum(-1, keepdim=True)

    with pytest.raises(AssertionError):
        both(naive, ACTIVATIONS["softmax"], torch.randn(2, 5) * 1000)


class Net(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.layer = nn.Linear(3, width)


def test_a_saved_model_comes_back(taught, tmp_path):
    path, model = tmp_path / "net.pt", Net(5)
    taught["save_model"](model, path, width=5)
    loaded = taught["load_model"](Net, path)
    assert not loaded.training
    assert_close(loaded.state_dict(), model.state_dict())


@pytest.mark.parametrize("kept", [0, 1, 100, 1000, -1])
def test_a_file_cut_short_is_refused(taught, tmp_path, kept):
    path = tmp_path / "net.pt"
    taught["save_model"](Net(5), path, width=5)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ValueError, match=r"net\.pt holds no whole Net"):
        taught["load_model"](Net, path)


def test_foreign_code_is_not_run(taught, tmp_path, capfd):
    class Foreign:
        def __reduce__(self):
            return print, ("foreign code ran",)

    path = tmp_path / "net.pt"
    torch.save(Foreign(), path)
    with pytest.raises(ValueError, match="holds no whole Net"):
        taught["load_model"](Net, path)
    assert "ran" not in capfd.readouterr().out
