"""What chapter 04 writes by hand agrees with torch, for more shapes and dtypes than the chapter shows."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from taught import taught_namespace
from torch import nn
from torch.testing import assert_close

DTYPES = (torch.float32, torch.float64)


@pytest.fixture(scope="module")
def taught():
    return taught_namespace("04_building_blocks")


@pytest.fixture(params=range(4))
def seed(request):
    torch.manual_seed(request.param)
    return request.param


def assert_same(ours, theirs, *inputs, **options):
    """Equal values, and equal gradients of a random weighting of the values."""
    found = []
    weights = None
    for f in (ours, theirs):
        leaves = [x.detach().clone().requires_grad_(x.is_floating_point()) for x in inputs]
        y = f(*leaves, **options)
        weights = torch.randn_like(y) if weights is None else weights
        found.append((y, torch.autograd.grad(y, [x for x in leaves if x.requires_grad], weights)))
    assert_close(found[0], found[1])


def sizes(count, high=7):
    return torch.randint(1, high, (count,)).tolist()


# --- layers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("leading", [0, 1, 2])
def test_linear(taught, seed, dtype, leading):
    inputs, outputs, *batch = sizes(2 + leading)
    x, weight, bias = (
        torch.randn(shape, dtype=dtype) for shape in ((*batch, inputs), (outputs, inputs), outputs)
    )
    assert_same(taught["linear"], F.linear, x, weight, bias)
    by_numpy = taught["linear"](x.numpy(), weight.numpy(), bias.numpy())
    assert isinstance(by_numpy, np.ndarray)
    assert_close(torch.from_numpy(by_numpy), F.linear(x, weight, bias))


def test_conv_sizes(taught, seed):
    checked = 0
    for _ in range(60):
        kernel, stride, dilation = sizes(3, 5)
        n, padding = torch.randint(1, 30, ()).item(), torch.randint(0, 4, ()).item()
        options = {"stride": stride, "padding": padding, "dilation": dilation}
        x, w = torch.zeros(1, 1, n), torch.zeros(1, 1, kernel)
        if n + 2 * padding >= dilation * (kernel - 1) + 1:
            assert taught["conv_size"](n, kernel, **options) == F.conv1d(x, w, **options).shape[2]
            checked += 1
        if (bigger := taught["conv_transpose_size"](n, kernel, **options)) > 0:
            assert bigger == F.conv_transpose1d(x, w, **options).shape[2]
            checked += 1
    assert checked > 60
    pooled = F.max_pool1d(torch.zeros(1, 1, 17), 3, stride=2, padding=1)
    assert taught["conv_size"](17, 3, stride=2, padding=1) == pooled.shape[2]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("extra", [0, 1, 2])
def test_batch_norm(taught, seed, dtype, extra):
    channels, *extras = sizes(1 + extra)
    options = {"momentum": 0.3, "eps": 1e-3} if seed % 2 else {}
    norm = (nn.BatchNorm1d, nn.BatchNorm1d, nn.BatchNorm2d)[extra](channels, dtype=dtype, **options)
    with torch.no_grad():
        norm.weight.normal_()
        norm.bias.normal_()
    mean, var = norm.running_mean.clone(), norm.running_var.clone()
    for training in (True, True, True, False):  # the running averages move, then are used
        batch = torch.randint(2, 9, ()).item()
        x = 5 + 3 * torch.randn(batch, channels, *extras, dtype=dtype)
        arguments = (mean, var, training)
        ours = lambda x, w, b, a=arguments: taught["batch_norm"](x, w, b, *a, **options)[0]  # noqa: E731
        leaf = x.clone().requires_grad_()
        _, mean, var = taught["batch_norm"](leaf, norm.weight, norm.bias, *arguments, **options)
        frozen = (norm.running_mean.clone(), norm.running_var.clone())
        theirs = lambda x, w, b, f=frozen, t=training: F.batch_norm(x, *f, w, b, t, **options)  # noqa: E731
        assert_same(ours, theirs, x, norm.weight, norm.bias)
        norm.train(training)(x)
        assert_close((mean, var), (norm.running_mean, norm.running_var))
        assert not mean.requires_grad


# --- activations ----------------------------------------------------------------------------------

ACTIVATIONS = {
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": torch.relu,
    "leaky_relu": F.leaky_relu,
    "gelu": F.gelu,
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(taught, seed, dtype, name):
    for scale in (0.01, 1, 30, 1000):
        x = scale * torch.randn(sizes(2), dtype=dtype)
        assert_same(taught[name], ACTIVATIONS[name], x)
    edges = torch.tensor([-1000, -100, 0, 100, 1000], dtype=dtype)
    assert_same(taught[name], ACTIVATIONS[name], edges)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("dim", [0, 1, -1])
def test_softmax(taught, seed, dtype, dim):
    for scale in (1, 1000):
        x = scale * torch.randn(sizes(3), dtype=dtype)
        assert_same(taught["softmax"], torch.softmax, x, dim=dim)
        assert_close(taught["softmax"](x, dim).sum(dim), torch.ones_like(x.sum(dim)))
    huge = torch.tensor([[1000, 1001], [-1000, 1000]], dtype=dtype)
    assert_same(taught["softmax"], torch.softmax, huge, dim=1)


def test_the_notes_examples(taught):
    """Printed with four digits; tanh of -0.2590 there is the tanh of a longer number."""
    printed = {
        "sigmoid": ([1.1902, 1.2787, -0.6267, 0.3341], [0.7668, 0.7822, 0.3483, 0.5828]),
        "tanh": ([-0.1574, -0.2590, 0.7387, -0.1653], [-0.1561, -0.2533, 0.6284, -0.1638]),
        "relu": ([0.0439, -0.7945, -1.0825, 0.9218], [0.0439, 0, 0, 0.9218]),
    }
    for name, (given, expected) in printed.items():
        assert_close(taught[name](torch.tensor(given)), torch.tensor(expected), atol=1.1e-4, rtol=0)


def test_relu_of_integers_stays_integer(taught):
    assert_close(taught["relu"](torch.tensor([2, -2])), torch.tensor([2, 0]))


# --- losses ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_mse(taught, seed, dtype):
    shape = sizes(2)
    assert_same(taught["mse"], F.mse_loss, *torch.randn(2, *shape, dtype=dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scale", [1, 30, 1000])
def test_cross_entropy(taught, seed, dtype, scale):
    batch, classes = sizes(2, 12)
    logits = scale * torch.randn(batch, classes, dtype=dtype)
    assert_same(taught["cross_entropy"], F.cross_entropy, logits, torch.randint(classes, (batch,)))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scale", [1, 30, 1000])
def test_bce_with_logits(taught, seed, dtype, scale):
    logits = scale * torch.randn(sizes(2), dtype=dtype)
    target = torch.randint(2, logits.shape).to(dtype)
    theirs = F.binary_cross_entropy_with_logits
    ours = taught["bce_with_logits"]
    assert_same(lambda x: ours(x, target), lambda x: theirs(x, target), logits)
    soft = torch.rand(logits.shape, dtype=dtype)
    assert_same(lambda x: ours(x, soft), lambda x: theirs(x, soft), logits)


# --- files ----------------------------------------------------------------------------------------


class Net(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.layer = nn.Linear(inputs, outputs)

    def forward(self, x):
        return self.layer(x)


class Foreign:
    ran = False

    def __reduce__(self):
        return _run, ()


def _run():
    Foreign.ran = True


@pytest.fixture
def saved(taught, tmp_path):
    path = tmp_path / "net.pt"
    net = Net(3, 2)
    taught["save_model"](net, path, inputs=3, outputs=2)
    return net, path


def test_a_saved_model_comes_back(taught, saved):
    net, path = saved
    again = taught["load_model"](Net, path)
    assert not again.training
    x = torch.randn(5, 3)
    assert_close(again(x), net(x), rtol=0, atol=0)


def test_a_truncated_file_is_refused(taught, saved):
    _, path = saved
    whole = path.read_bytes()
    for length in [0, 1, 10, *range(50, len(whole), 97), len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="net.pt holds no whole Net"):
            taught["load_model"](Net, path)


@pytest.mark.parametrize(
    "content",
    [
        {"weights": {}},
        {"arguments": {"inputs": 3, "outputs": 2}},
        {"arguments": {"inputs": 3}, "weights": {}},
        {"arguments": {"inputs": 3, "outputs": 2}, "weights": {}},
        {"arguments": {"inputs": 3, "outputs": 2}, "weights": Net(4, 2).state_dict()},
        [1, 2],
        "text",
        Foreign(),
    ],
)
def test_a_foreign_file_is_refused_and_not_run(taught, tmp_path, content):
    path = tmp_path / "foreign.pt"
    torch.save(content, path)
    with pytest.raises(ValueError, match="foreign.pt holds no whole Net"):
        taught["load_model"](Net, path)
    assert not Foreign.ran


def test_the_foreign_file_would_run(tmp_path):
    """The test above is not green because its file is harmless."""
    torch.save(Foreign(), tmp_path / "foreign.pt")
    try:
        torch.load(tmp_path / "foreign.pt", weights_only=False)
        assert Foreign.ran
    finally:
        Foreign.ran = False


def test_noise_and_missing_files(taught, tmp_path):
    path = tmp_path / "noise.pt"
    path.write_bytes(np.random.default_rng(0).bytes(2000))
    with pytest.raises(ValueError, match="noise.pt"):
        taught["load_model"](Net, path)
    with pytest.raises(FileNotFoundError):
        taught["load_model"](Net, tmp_path / "missing.pt")
