"""Chapter 10's blocks are torchvision's, weight for weight, and its count of multiply-adds is torch's."""

import copy

import pytest
import torch
from taught import taught_namespace
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode
from torchvision import models
from torchvision.models.googlenet import Inception
from torchvision.models.inception import InceptionA
from torchvision.models.resnet import BasicBlock

NETWORKS = {
    models.alexnet: {},
    models.vgg16: {},
    models.googlenet: {"init_weights": False},
    models.inception_v3: {"init_weights": False},
    models.resnet18: {},
    models.mobilenet_v2: {},  # grouped convolutions
}


@pytest.fixture(scope="module")
def taught():
    return taught_namespace("10_modern_cnn_transfer")


def random_norms(block):
    """Batch norms that do something in both modes."""
    for m in block.modules():
        if isinstance(m, nn.BatchNorm2d):
            for t in (m.weight, m.running_var):
                nn.init.uniform_(t, 0.5, 2)
            for t in (m.bias, m.running_mean):
                nn.init.normal_(t)
    return block


def copied(ours, theirs):
    """Our block with their weights, entry by entry, in order."""
    own, other = ours.state_dict(), theirs.state_dict()
    assert [v.shape for v in own.values()] == [v.shape for v in other.values()]
    ours.load_state_dict(dict(zip(own, copy.deepcopy(list(other.values())), strict=True)))
    return ours.to(next(theirs.parameters()).dtype)


def assert_same(ours, theirs, *size, dtype=torch.float64):
    """Equal outputs in both modes, equal gradients, equal running statistics."""
    theirs = random_norms(theirs).to(dtype)
    ours = copied(ours, theirs)
    for training in (False, True):
        x, y = (torch.randn(2, *size, dtype=dtype) for _ in range(2))
        y.copy_(x)
        outs = [m.train(training)(t.requires_grad_()) for m, t in ((ours, x), (theirs, y))]
        assert_close(*outs)
        weight = torch.randn_like(outs[0])
        grads = [
            torch.autograd.grad((out * weight).sum(), [t, *m.parameters()])
            for out, m, t in zip(outs, (ours, theirs), (x, y), strict=True)
        ]
        assert_close(*grads)
    assert_close(list(ours.state_dict().values()), list(theirs.state_dict().values()))


@pytest.mark.parametrize("build", NETWORKS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("side, batch", [(224, 1), (299, 2)])
def test_the_count_is_that_of_torch(taught, build, side, batch):
    with torch.device("meta"):
        model = build(weights=None, **NETWORKS[build]).eval()
        x = torch.empty(batch, 3, side, side)
    parameters, macs, values = taught["measure"](model, x)
    with FlopCounterMode(display=False) as counter:
        model(x)
    assert 2 * macs == counter.get_total_flops()
    assert parameters == sum(p.numel() for p in model.parameters())
    assert values > 0 and not any(m._forward_hooks for m in model.modules())


def test_activations_leave_out_what_is_done_in_place(taught):
    layers = nn.Conv2d(1, 2, 3), nn.ReLU(inplace=True), nn.ReLU(), nn.Flatten(), nn.Linear(18, 5)
    assert taught["measure"](nn.Sequential(*layers), torch.zeros(1, 1, 5, 5)) == (
        (9 * 2 + 2) + (18 * 5 + 5),
        18 * 9 + 18 * 5,
        18 + 18 + 18 + 5,
    )


@pytest.mark.parametrize("size", [63, 70, 97])
def test_alexnet_block(taught, size):
    assert_same(taught["alexnet_block"](), models.AlexNet().features[:3].eval(), 3, size, size)


@pytest.mark.parametrize("where, count, i, o", [((0, 5), 2, 3, 64), ((10, 17), 3, 128, 256)])
@pytest.mark.parametrize("side", [8, 13])
def test_vgg_block(taught, where, count, i, o, side):
    with torch.device("meta"):
        block = copy.deepcopy(models.vgg16(weights=None).features[slice(*where)])
    block = block.to_empty(device="cpu")
    for p in block.parameters():
        nn.init.normal_(p, std=0.05)
    assert_same(taught["vgg_block"](count, i, o), block, i, side, side)


@pytest.mark.parametrize("side", [7, 12])
def test_inception_blocks(taught, side):
    first = Inception(192, 64, 96, 128, 16, 32, 32)
    assert_same(taught["googlenet_3a"](), first, 192, side, side)
    assert_same(taught["inception_5b"](), InceptionA(192, 32), 192, side, side)


@pytest.mark.parametrize("i, o, stride", [(8, 8, 1), (8, 16, 2), (6, 10, 1), (5, 5, 2)])
@pytest.mark.parametrize("side, dtype", [(7, torch.float64), (10, torch.float32)])
def test_residual_block(taught, i, o, stride, side, dtype):
    shortcut = None
    if stride != 1 or i != o:
        shortcut = nn.Sequential(nn.Conv2d(i, o, 1, stride, bias=False), nn.BatchNorm2d(o))
    theirs = BasicBlock(i, o, stride, shortcut)
    assert_same(taught["Block"](i, o, stride), theirs, i, side, side, dtype=dtype)


def test_the_plain_block_lacks_nothing_but_the_shortcut(taught):
    plain, x = taught["Block"](4, 4, residual=False), torch.randn(2, 4, 6, 6)
    residual = copied(taught["Block"](4, 4), plain)
    assert_close(plain(x), F.relu(plain.layers(x)))
    assert_close(residual(x), F.relu(plain.layers(x) + x))


@pytest.mark.parametrize("batch_size", [4, 100])
def test_training_steps(taught, batch_size):
    """As many steps as asked for, each group at its own rate, and nothing outside the groups."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 2))
    x = torch.randn(20, 3)
    y, before = (x[:, 0] > 0).long(), copy.deepcopy(net.state_dict())
    reference = copy.deepcopy(net)
    rates = [(2, 1e-3), (4, 1e-2)]
    torch.manual_seed(1)
    groups = [{"params": list(net[i].parameters()), "lr": lr} for i, lr in rates]
    trained = taught["train"](net, groups, x, y, 30, batch_size)
    torch.manual_seed(1)
    optimizer = torch.optim.AdamW(
        [{"params": list(reference[i].parameters()), "lr": lr} for i, lr in rates]
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, [1e-3, 1e-2], total_steps=30)
    for _ in range(30):
        rows = torch.randperm(20)[:batch_size]
        optimizer.zero_grad()
        F.cross_entropy(reference(x[rows]), y[rows]).backward()
        optimizer.step()
        schedule.step()
    assert trained is net and not net.training
    assert_close(net.state_dict(), reference.state_dict(), atol=1e-5, rtol=1e-4)
    assert_close(net.state_dict()["0.weight"], before["0.weight"])
    assert not torch.equal(net.state_dict()["4.weight"], before["4.weight"])
