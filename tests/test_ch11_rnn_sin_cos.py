"""Chapter 11's recurrent steps, its way back through time, its clipping and its gates."""

import math

import pytest
import torch
from taught import taught_namespace
from torch import nn
from torch.testing import assert_close

STEPS = {nn.RNN: "rnn_step", nn.GRU: "gru_step", nn.LSTM: "lstm_step"}


@pytest.fixture(scope="module")
def taught():
    return taught_namespace("11_rnn_sin_cos")


def sizes(seed):
    """Random (time, batch, features, hidden); the first two draws are the smallest there are."""
    if seed < 2:
        return (1, 1, 1, 1) if seed == 0 else (2, 1, 3, 1)
    torch.manual_seed(seed)
    return tuple(torch.randint(1, 13, (4,)).tolist())


def states(kind, number, batch, hidden, dtype):
    """Random start: h, and c for an LSTM, each (number, batch, hidden)."""
    parts = 2 if kind is nn.LSTM else 1
    return [
        torch.randn(number, batch, hidden, dtype=dtype, requires_grad=True) for _ in range(parts)
    ]


def call(layer, x, start):
    """Output and last states of a torch layer; the states as a list, whatever the kind."""
    output, end = layer(x, tuple(start) if len(start) == 2 else start[0])
    return output, list(end) if len(start) == 2 else [end]


def pull(values, inputs):
    """Gradients of a scalar that all values enter with different weights."""
    total = sum(((k + 1) * v.sin()).sum() for k, v in enumerate(values))
    return torch.autograd.grad(total, inputs)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("kind", STEPS)
def test_a_layer_equals_torch(taught, kind, seed, batch_first, dtype):
    time, batch, features, hidden = sizes(seed)
    layer = kind(features, hidden, batch_first=batch_first).to(dtype)
    shape = (batch, time, features) if batch_first else (time, batch, features)
    x = torch.randn(shape, dtype=dtype, requires_grad=True)
    start, weights = states(kind, 1, batch, hidden, dtype), list(layer.parameters())
    step = taught[STEPS[kind]]
    ours, last = taught["unroll"](step, x, tuple(s[0] for s in start), weights, batch_first)
    theirs, end = call(layer, x, start)
    tolerance = {"atol": 1e-10, "rtol": 1e-8} if dtype == torch.float64 else {}
    assert_close([ours, *last], [theirs, *(e[0] for e in end)], **tolerance)
    inputs = [x, *weights, *start]
    loose = tolerance or {"atol": 1e-4, "rtol": 1e-4}
    assert_close(pull([ours, *last], inputs), pull([theirs, *end], inputs), **loose)


@pytest.mark.parametrize("seed", range(2, 6))
@pytest.mark.parametrize("kind", STEPS)
def test_layers_and_directions_are_unrollings(taught, kind, seed):
    time, batch, features, hidden = sizes(seed)
    step, unroll = taught[STEPS[kind]], taught["unroll"]
    x = torch.randn(time, batch, features, dtype=torch.float64)
    start = states(kind, 2, batch, hidden, torch.float64)
    deep = kind(features, hidden, num_layers=2).double()
    weights = list(deep.parameters())
    below, first = unroll(step, x, tuple(s[0] for s in start), weights[:4])
    above, second = unroll(step, below, tuple(s[1] for s in start), weights[4:])
    output, end = call(deep, x, start)
    assert_close([above, *map(torch.stack, zip(first, second, strict=True))], [output, *end])
    both = kind(features, hidden, bidirectional=True).double()
    weights = list(both.parameters())
    forwards, _ = unroll(step, x, tuple(s[0] for s in start), weights[:4])
    backwards, _ = unroll(step, x.flip(0), tuple(s[1] for s in start), weights[4:])
    assert_close(torch.cat([forwards, backwards.flip(0)], -1), call(both, x, start)[0])


@pytest.mark.parametrize("seed", range(6))
def test_the_written_class_is_an_rnn(taught, seed):
    time, batch, features, hidden = sizes(seed)
    ours = taught["HandRNN"](features, hidden).double()
    theirs = nn.RNN(features, hidden).double()
    w_ih, w_hh, b_ih, b_hh = theirs.parameters()
    pairs = [(ours.W_xh.weight, w_ih), (ours.W_xh.bias, b_ih)]
    pairs += [(ours.W_hh.weight, w_hh), (ours.W_hh.bias, b_hh)]
    assert len(list(ours.parameters())) == len(pairs)
    with torch.no_grad():
        for own, other in pairs:
            own.copy_(other)
    x = torch.randn(time, batch, features, dtype=torch.float64)
    h = torch.randn(1, batch, hidden, dtype=torch.float64)
    (output, last), (wanted, end) = ours(x, h[0]), theirs(x, h)
    assert_close([output, last], [wanted, end[0]])
    own, other = zip(*pairs, strict=True)
    assert_close(pull([output, last], own), pull([wanted, end], other))


@pytest.mark.parametrize("every", [None, 1, 2, 5, 100])
@pytest.mark.parametrize("seed", range(5))
def test_back_propagation_through_time(taught, seed, every):
    time, batch, features, hidden = sizes(seed)
    layer = nn.RNN(features, hidden).double()
    x = torch.randn(time, batch, features, dtype=torch.float64)
    start = torch.randn(1, batch, hidden, dtype=torch.float64)
    slopes = torch.randn(time, batch, hidden, dtype=torch.float64)
    h = start
    for segment, slope in zip(x.split(every or time), slopes.split(every or time), strict=True):
        output, h = layer(segment, h.detach())
        (slope * output).sum().backward()
    wanted = [p.grad for p in layer.parameters()]
    weights = [p.detach() for p in layer.parameters()]
    grad_ih, grad_hh, grad_b = taught["bptt"](x, start[0], *weights, slopes, every)
    assert_close([grad_ih, grad_hh, grad_b, grad_b], wanted)


@pytest.mark.parametrize("limit", [0.1, 1.0, 30.0])
@pytest.mark.parametrize("seed", range(4))
def test_clipping(taught, seed, limit):
    torch.manual_seed(seed)
    scale = 10.0 ** (seed - 1)
    parameters = [nn.Parameter(torch.zeros(size)) for size in ((3, 4), (5,), ())]
    for p in parameters:
        p.grad = scale * torch.randn_like(p)
    ours = taught["clip"]([p.grad.clone() for p in parameters], limit)
    before = nn.utils.clip_grad_norm_(parameters, limit)
    assert_close(ours, [p.grad for p in parameters])
    norm = nn.utils.get_total_norm(ours)
    assert norm.item() == pytest.approx(min(before.item(), limit), rel=1e-4)


@pytest.mark.parametrize("longest", [4, 40, 1000])
@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM])
def test_open_gates_keep_as_long_as_they_should(taught, kind, longest):
    torch.manual_seed(longest)
    layer, n = kind(3, 200), 200
    old = [p.detach().clone() for p in layer.parameters()]
    assert taught["open_gates"](layer, longest) is layer
    keep = layer.bias_ih_l0[n : 2 * n].detach()
    memory = 1 + keep.exp()  # a state that decays by sigmoid(b) a step lasts 1 + exp(b) steps
    assert 2 <= memory.min() < 2.1 + 0.05 * longest
    assert 0.9 * longest < memory.max() <= longest + 1e-3 * longest
    untouched = layer.bias_ih_l0[2 * n :], old[2][2 * n :]
    assert_close(*untouched)
    assert_close([p for p in layer.parameters()][3], old[3])
    if kind is nn.LSTM:
        assert_close(layer.bias_ih_l0[:n], -keep)
    else:
        assert_close(layer.bias_ih_l0[:n], old[2][:n])
    # without weights and other biases, one step of the layer multiplies its memory by the gate
    with torch.no_grad():
        for p in layer.parameters():
            if p is not layer.bias_ih_l0:
                p.zero_()
        layer.bias_ih_l0[2 * n :] = 0
        state = torch.ones(1, 1, n)
        start = (torch.zeros(1, 1, n), state) if kind is nn.LSTM else state
        end = layer(torch.zeros(1, 1, 3), start)[1]
    kept = (end[1] if kind is nn.LSTM else end).flatten()
    assert_close(kept, 1 / (1 + torch.exp(-keep)))
    assert math.isclose((1 / (1 - kept)).max().item(), memory.max().item(), rel_tol=1e-2)
