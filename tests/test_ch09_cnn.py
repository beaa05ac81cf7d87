"""Chapter 9's convolution, pooling, receptive field and maps of importance are what they claim."""

import random

import pytest
import torch
from taught import taught_namespace
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close

from utils import metrics, training

SEEDS = range(25)


@pytest.fixture(scope="module")
def taught():
    return taught_namespace("09_cnn")


def both(ours, theirs, *tensors):
    """Values and gradients of two functions of the same tensors, and their output."""
    results = []
    for function in (ours, theirs):
        given = [t.clone().requires_grad_() for t in tensors]
        out = function(*given)
        torch.manual_seed(0)
        push = torch.randn(out.shape, dtype=out.dtype)
        results.append([out, *torch.autograd.grad((out * push).sum(), given)])
    tolerance = 1e-9 if tensors[0].dtype == torch.float64 else 1e-4
    assert_close(*results, atol=tolerance, rtol=tolerance)
    return results[0][0]


@pytest.mark.parametrize("seed", SEEDS)
def test_convolution(taught, seed):
    rng = random.Random(seed)
    torch.manual_seed(seed)
    dtype = rng.choice([torch.float32, torch.float64])
    kernel = rng.randint(1, 5), rng.randint(1, 5)
    o = {"stride": rng.randint(1, 3), "padding": rng.randint(0, 3), "dilation": rng.randint(1, 3)}
    sides = [o["dilation"] * (k - 1) + 1 + rng.randint(0, 9) for k in kernel]
    x = torch.randn(rng.randint(1, 3), inputs := rng.randint(1, 4), *sides, dtype=dtype)
    weight = torch.randn(outputs := rng.randint(1, 5), inputs, *kernel, dtype=dtype)
    tensors = [x, weight] + ([torch.randn(outputs, dtype=dtype)] if seed % 2 else [])
    out = both(lambda *t: taught["conv2d"](*t, **o), lambda *t: F.conv2d(*t, **o), *tensors)
    sizes = [taught["output_size"](n, k, **o) for n, k in zip(sides, kernel, strict=True)]
    assert [*out.shape] == [len(x), outputs, *sizes]


@pytest.mark.parametrize("seed", SEEDS)
def test_pooling(taught, seed):
    rng = random.Random(seed)
    torch.manual_seed(seed)
    dtype = rng.choice([torch.float32, torch.float64])
    kernel, stride = rng.randint(2, 4), rng.choice([None, 1, 2, 3])
    padding, dilation = rng.randint(0, kernel // 2), rng.randint(1, 3)
    sides = [dilation * (kernel - 1) + 1 + rng.randint(0, 9) for _ in range(2)]
    x = torch.randn(rng.randint(1, 3), rng.randint(1, 4), *sides, dtype=dtype) - 3
    o = {"stride": stride, "padding": padding}
    step = {"stride": stride or kernel, "padding": padding}
    size = taught["output_size"]
    out = both(
        lambda x: taught["max_pool2d"](x, kernel, dilation=dilation, **o),
        lambda x: F.max_pool2d(x, kernel, dilation=dilation, **o),
        x,
    )
    assert [*out.shape[2:]] == [size(n, kernel, dilation=dilation, **step) for n in sides]
    out = both(
        lambda x: taught["avg_pool2d"](x, kernel, **o), lambda x: F.avg_pool2d(x, kernel, **o), x
    )
    assert [*out.shape[2:]] == [size(n, kernel, **step) for n in sides]


@pytest.mark.parametrize("shape", [(5, 7, 3, 3), (6, 4, 1, 4), (8, 8, 5, 2)])
def test_sliding(taught, shape):
    picture, kernel = torch.randn(shape[:2]).double(), torch.randn(shape[2:]).double()

    def library(p, k):
        return F.conv2d(p[None, None], k[None, None])[0, 0]

    both(taught["slide"], library, picture, kernel)


@pytest.mark.parametrize("seed", range(15))
def test_receptive_field_by_gradients(taught, seed):
    rng = random.Random(seed)
    layers, net = [], nn.Sequential()
    for _ in range(rng.randint(1, 4)):
        kernel, stride, dilation = rng.randint(1, 4), rng.randint(1, 2), rng.randint(1, 3)
        padding = rng.randint(0, kernel // 2)
        if rng.random() < 0.4:
            dilation = 1
            net.append(nn.AvgPool2d(kernel, stride, padding))
        else:
            net.append(nn.Conv2d(1, 1, kernel, stride, padding, dilation))
            nn.init.uniform_(net[-1].weight, 0.5, 1.0)
        layers.append((kernel, stride, padding, dilation))
    size, jump, start = taught["receptive_field"](layers)
    row, column = ((extra - start) // jump + 1 for extra in (2, 7))  # clear of the border
    side = start + max(row, column) * jump + 2 * size + 20
    x = torch.rand(2, 1, side, side)
    seen = taught["seen_by"](net.double(), x.double(), row, column)
    for axis, place in ((1, row), (0, column)):
        hit = seen.any(dim=axis).nonzero()
        first = start + place * jump
        assert (hit.min().item(), hit.max().item()) == (first, first + size - 1)


def test_lenet_has_61706_parameters(taught):
    net = taught["lenet"]()
    counts = {n: sum(p.numel() for p in layer.parameters()) for n, layer in net.named_children()}
    expected = {"C1": 156, "C3": 2416, "C5": 48120, "F6": 10164, "output": 850}
    assert {n: c for n, c in counts.items() if c} == expected
    assert sum(p.numel() for p in net.parameters()) == 61_706
    assert net(torch.rand(3, 1, 28, 28)).shape == (3, 10)
    older = taught["lenet"](nn.Tanh, nn.AvgPool2d, nn.BatchNorm2d, 0.3)
    kinds = [type(layer) for layer in older]
    assert kinds.count(nn.Tanh) == 4 and kinds.count(nn.AvgPool2d) == 2
    assert kinds.count(nn.BatchNorm2d) == 2 and older.dropout.p == 0.3


@pytest.mark.parametrize("size", [1, 7, 50])
def test_the_loop_is_that_of_utils(taught, size):
    x, y = torch.randn(50, 6), torch.randint(3, (50,))
    nets, losses = [], []
    for ours in (True, False):
        torch.manual_seed(5)
        net = nn.Sequential(nn.Linear(6, 8), nn.Dropout(0.2), nn.Linear(8, 3), nn.LogSoftmax(1))
        optimizer = torch.optim.Adam(net.parameters(), 0.01)
        batches = training.TensorBatches(x, y, size, shuffle=True)
        if ours:
            losses.append([taught["train"](net, batches, optimizer) for _ in range(2)])
        else:
            losses.append(training.fit(net, batches, F.nll_loss, optimizer, 2).train_loss)
        nets.append(net)
    assert_close(*losses)
    assert_close(*[net.state_dict() for net in nets])
    batches = training.TensorBatches(x, y, 11)
    found = training.evaluate(nets[1], batches, F.nll_loss, accuracy=metrics.accuracy)
    assert_close([*taught["test"](nets[0], batches)], [found["loss"], found["accuracy"]])


def test_grad_cam_adds_up_to_the_logit_when_the_head_averages(taught):
    """The theorem behind the map: with an averaging head its sum is the logit, less the bias."""
    torch.manual_seed(1)
    body = nn.Sequential(nn.Conv2d(2, 5, 3), nn.ReLU()).double()
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 4)).double()
    nn.init.uniform_(head[2].weight, 0.1, 1.0)  # positive, so that nothing is cut off
    x, label = torch.rand(6, 2, 9, 9).double(), torch.tensor([0, 1, 2, 3, 0, 1])
    cam = taught["grad_cam"](body, head, x, label)
    assert cam.shape == (6, 7, 7) and (cam > 0).any()
    logit = head(body(x))[torch.arange(6), label] - head[2].bias[label]
    assert_close(cam.sum((1, 2)), logit)
    nn.init.uniform_(head[2].weight, -1.0, -0.1)
    assert (taught["grad_cam"](body, head, x, label) == 0).all()


def test_occlusion_points_at_the_one_square_that_matters(taught):
    class Corner(nn.Module):  # looks at the pixels 12 to 15 only
        def forward(self, x):
            ink = x[:, :, 12:16, 12:16].sum((1, 2, 3))
            return torch.stack([ink, torch.zeros_like(ink)], 1)

    x, label = torch.rand(3, 1, 28, 28) + 0.1, torch.zeros(3, dtype=torch.int64)
    falls = taught["occlusion"](Corner(), x, label, side=4, step=4)
    assert falls.shape == (3, 7, 7)
    assert (falls.flatten(1).argmax(1) == 3 * 7 + 3).all()
    assert_close(falls[:, 3, 3], Corner()(x).softmax(1)[:, 0] - 0.5)
    assert (falls.flatten(1) != 0).sum() == 3
    covered = taught["occlusion"](Corner(), x, label + 1, side=4, step=4, fill=1.0)
    rise = Corner()(torch.ones(1, 1, 28, 28)).softmax(1)[0, 1] - Corner()(x).softmax(1)[:, 1]
    assert_close(covered[:, 3, 3], -rise)
