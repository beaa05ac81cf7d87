"""Examinations of the exercises of chapter 04, building blocks."""

import math

import torch
from torch import nn
from torch.nn import functional as F

from utils.checks.engine import Wrong, call, compare, exercise


@exercise(
    "04.1",
    "Which tensors does each layer learn, and of which shape? Most have a bias; an embedding is a table.",
    "A convolution has one kernel of kernel_size numbers for each pair of input and output channel.",
    "Running averages are not trained. For the shapes use the two formulas of the chapter; / s is rounded down.",
)
def count_before_you_build(count_a, count_b, count_c, count_d, shape_e, shape_f):
    def size(layer):
        return sum(p.numel() for p in layer.parameters())

    counts = {
        "count_a": (
            count_a,
            nn.Linear(20, 64),
            {
                "a: the bias is missing, one number per output.": 20 * 64,
                "a: there is one bias per output, not per input.": 20 * 64 + 20,
            },
        ),
        "count_b": (
            count_b,
            nn.Conv1d(20, 32, kernel_size=7),
            {
                "b: the bias is missing, one number per output channel.": 32 * 20 * 7,
                "b: every pair of an input and an output channel has a kernel of 7 numbers.": (
                    32 * 20 + 32
                ),
                "b: each output channel looks at all 20 input channels.": 32 * 7 + 32,
                "b: this convolution has one axis, so that a kernel has 7 numbers, not 49.": (
                    32 * 20 * 49 + 32
                ),
                "b: there is one bias per output channel, not per input channel.": (
                    32 * 20 * 7 + 20
                ),
            },
        ),
        "count_c": (
            count_c,
            nn.BatchNorm1d(32),
            {
                "c: the running averages are kept, but not trained.": 4 * 32,
                "c: there are two numbers per channel, a scale and a shift.": 32,
                "c: nothing is trained but the scale and the shift of each channel.": 0,
            },
        ),
        "count_d": (
            count_d,
            nn.Embedding(7, 2),
            {
                "d: an embedding is a table alone, it has no bias.": 7 * 2 + 2,
                "d: a table of 7 rows has 2 numbers in each: count them all.": 2,
            },
        ),
    }
    for name, (given, layer, mistakes) in counts.items():
        compare(given, size(layer), mistakes, name=name)
    e = nn.Conv1d(20, 32, 7, stride=2, padding=4)(torch.zeros(8, 20, 28))
    f = nn.ConvTranspose1d(32, 20, 4, stride=2, padding=1)(e)
    shapes = {
        "shape_e": (
            shape_e,
            e,
            {
                "e: the stride is missing: the kernel jumps two places each time.": (8, 32, 30),
                "e: the padding is missing, 4 places at either end.": (8, 32, 11),
                "e: padding adds its places at both ends.": (8, 32, 13),
                "e: the first place of the kernel counts too: + 1 at the end of the formula.": (
                    8,
                    32,
                    14,
                ),
                "e: a kernel that sticks out at the end is not placed: round down.": (8, 32, 16),
                "e: the channels are axis 1, and time comes last.": (8, 15, 32),
                "e: the convolution replaces the 20 channels by 32.": (8, 20, 15),
            },
        ),
        "shape_f": (
            shape_f,
            f,
            {
                "f: the + 1 at the end of the formula is missing.": (8, 20, 29),
                "f: the padding is missing: it takes places away here, at both ends.": (8, 20, 32),
                "f: padding takes places away here, and does not add them.": (8, 20, 34),
                "f: this layer does not undo e, which has another kernel and has rounded: use the formula.": (
                    8,
                    20,
                    28,
                ),
                "f: the transposed convolution leads from 32 channels to 20.": (8, 32, 30),
                "f: that is a convolution; a transposed one makes the series longer.": (8, 20, 7),
            },
        ),
    }
    for name, (given, right, mistakes) in shapes.items():
        if not isinstance(given, tuple | list):
            raise Wrong(f"{name} must be a shape: write a tuple such as (2, 3, 4).")
        compare(given, right.shape, mistakes, name=name)


@exercise(
    "04.2",
    "What does the memory of `before` hold once the step has been taken?",
    "numpy(), detach() and state_dict() share the memory of the parameter; clone() does not.",
    "Clone every parameter of named_parameters(), call step(), then take the largest absolute difference.",
)
def what_a_step_changes(moved):
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    changes = {name: torch.randn_like(p) for name, p in model.named_parameters()}
    changes["2.bias"] = torch.tensor([0.25, -0.75])
    calls = []

    def step():
        calls.append(1)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.add_(changes[name])

    result = call(moved, model, step, changes=True)
    if not calls:
        raise Wrong("step was never called: the weights only change when step() is run.")
    if len(calls) > 1:
        raise Wrong(f"step was called {len(calls)} times: once is asked for.")
    detached = {
        name: value.detach() if isinstance(value, torch.Tensor) else value
        for name, value in (result.items() if isinstance(result, dict) else ())
    }
    compare(
        detached or result,
        {name: c.abs().max().item() for name, c in changes.items()},
        {
            "all changes are 0: what you kept is the parameters' own memory; clone it before the step.": (
                dict.fromkeys(changes, 0.0)
            ),
            "these are the largest changes upwards: take the absolute value first.": {
                name: c.max().item() for name, c in changes.items()
            },
            "these are the mean changes: the largest one of each parameter is asked for.": {
                name: c.abs().mean().item() for name, c in changes.items()
            },
            "these are sums over a parameter: the largest single change is asked for.": {
                name: c.abs().sum().item() for name, c in changes.items()
            },
            "these are all the differences: one number per parameter is asked for.": changes,
            "these are all the differences (without sign): take the largest of each parameter.": {
                name: c.abs() for name, c in changes.items()
            },
        },
        name="the dictionary of changes",
        atol=1e-5,
    )


@exercise(
    "04.3",
    "Write log(cosh(d)) as log(eᵈ + e⁻ᵈ) - log(2). Which function computes log(eᵃ + eᵇ) safely?",
    "torch.logaddexp(a, b), with a = d and b = -d.",
    "Another way: |d| + softplus(-2|d|) - log(2). Take the mean at the end.",
)
def log_cosh(loss):
    prediction, target = 2 * torch.randn(3, 5), torch.randn(3, 5)
    d = (prediction - target).double()
    each = d.cosh().log()
    large = torch.tensor([-1000.0, 1000.0, 3.0, -200.0])
    small = call(loss, prediction, target)
    compare(
        small.detach() if isinstance(small, torch.Tensor) else small,
        each.mean().float(),
        {
            "the mean over all errors is asked for, not the sum.": each.sum().float(),
            "one number is asked for, the mean: these are all the single losses.": each.float(),
            "log(2) is missing: an error of 0 must cost 0.": (each + math.log(2)).mean().float(),
            "log(2) is added, and should be subtracted: cosh has a division by 2.": (
                (each + 2 * math.log(2)).mean().float()
            ),
            "the mean comes last: first the logarithm of each cosh.": d.cosh().mean().log().float(),
            "this is cosh of the mean error: errors of both signs cancel out.": (
                d.mean().cosh().log().float()
            ),
            "this is the squared error.": d.square().mean().float(),
            "this is half the squared error, to which log-cosh is close for small errors only.": (
                d.square().mean().float() / 2
            ),
            "this is the absolute error, to which log-cosh is close for large errors only.": (
                d.abs().mean().float()
            ),
        },
        name="the loss",
    )
    zeros = torch.zeros(4)
    far = call(loss, large, zeros)
    if isinstance(far, torch.Tensor) and not far.isfinite().all():
        raise Wrong(
            f"for errors of ±1000 the loss is {far.detach().max().item():g}: the exponentials overflow; "
            "find a form without them."
        )
    rest = large.abs() - math.log(2)
    rest[2] = math.log(math.cosh(3))
    compare(
        far.detach() if isinstance(far, torch.Tensor) else far,
        rest.mean(),
        {
            "for large errors log(2) is missing: log-cosh is |d| - log(2) there.": (
                (rest + torch.tensor([1, 1, 0, 1]) * math.log(2)).mean()
            ),
        },
        name="the loss with errors of ±1000",
    )
    leaf = torch.cat([large, torch.zeros(1)]).requires_grad_()
    value = call(loss, leaf, torch.zeros(5))
    if not (isinstance(value, torch.Tensor) and value.requires_grad):
        raise Wrong("the loss has no gradient: compute it with torch functions, without item().")
    (slope,) = torch.autograd.grad(value, leaf)
    if slope.isnan().any():
        raise Wrong(
            "the value is right, but the gradient is nan: torch.where (or max) hides an overflow "
            "that the way back still meets; use a form that overflows nowhere."
        )
    compare(
        slope,
        torch.tanh(leaf.detach()) / 5,
        {
            "large errors have no gradient any more: do not clamp them.": (
                torch.where(leaf.detach().abs() > 50, 0, torch.tanh(leaf.detach()) / 5)
            ),
        },
        name="the gradient",
    )


def _module(made, kind):
    """The learner's module, or a diagnosis."""
    if not isinstance(made, nn.Module):
        raise Wrong(f"{kind} must be a class that inherits from nn.Module.")
    return made


def _parameters(model, shapes):
    """The parameters of a module by shape; a diagnosis when they are not those expected."""
    found = {tuple(p.shape): p.detach() for p in model.parameters()}
    if not found:
        raise Wrong(
            "the module has no parameters: create the layers in __init__ as self.name = …, not in "
            "forward and not in a plain list."
        )
    given = sorted(tuple(p.shape) for p in model.parameters())
    if given != sorted(shapes):
        raise Wrong(
            f"the parameters should have the shapes {sorted(shapes)}, and yours have {given}."
        )
    return [found[shape] for shape in shapes]


@exercise(
    "04.4",
    "Three layers with weights are made in __init__: nn.Embedding(7, 2) and two nn.Linear.",
    "torch.cat([x, vectors], dim=1) appends the vectors; the first linear layer has stations + 2 inputs.",
    "forward: embed the weekday, append, first linear layer, relu, second linear layer.",
)
def day_net(day_net):
    model = _module(call(day_net, 5, 8), "DayNet")
    x, weekday = torch.randn(6, 5), torch.tensor([0, 3, 6, 6, 1, 0])
    given = call(model, x, weekday)
    shapes = [(7, 2), (8, 7), (8,), (5, 8), (5,)]
    if sorted(tuple(p.shape) for p in model.parameters()) == sorted(
        [*shapes[:1], (8, 5), *shapes[2:]]
    ):
        raise Wrong(
            "the first linear layer does not see the weekday: it needs stations + 2 inputs."
        )
    table, w1, b1, w2, b2 = _parameters(model, shapes)
    vectors = table[weekday]

    def forward(parts, activation=torch.relu, last=lambda z: z):
        return last(activation(torch.cat(parts, 1) @ w1.T + b1) @ w2.T + b2)

    compare(
        given.detach() if isinstance(given, torch.Tensor) else given,
        forward([x, vectors]),
        {
            "the activation is missing: without ReLU the two linear layers are no more than one.": (
                forward([x, vectors], lambda z: z)
            ),
            "the vectors of the weekday stand before the entries: append them behind.": forward(
                [vectors, x]
            ),
            "no activation after the last layer: a scaled forecast can be negative.": forward(
                [x, vectors], last=torch.relu
            ),
            "the hidden units shall have ReLU, not tanh.": forward([x, vectors], torch.tanh),
            "the hidden units shall have ReLU, not a sigmoid.": forward(
                [x, vectors], torch.sigmoid
            ),
            "ReLU belongs behind the first linear layer, not before it.": forward(
                [x.relu(), vectors.relu()], lambda z: z
            ),
            "all rows get the weekday of the first: embed the whole vector of weekdays.": forward(
                [x, vectors[:1].expand(6, 2)]
            ),
        },
        name="the forecast",
        atol=1e-5,
    )


@exercise(
    "04.5",
    "With weights of 0 the output is the bias alone. Which logits have the shares as their softmax?",
    "softmax(log p) is p, when the p add up to 1. labels.bincount() counts the classes.",
    "Under torch.no_grad(): head.weight.zero_() and head.bias.copy_(shares.log()).",
)
def start_at_shares(start):
    labels = torch.tensor([2] * 9 + [0] * 5 + [3] * 2 + [1])
    labels = labels[torch.randperm(17)]
    shares = torch.tensor([5, 1, 9, 2]) / 17
    head, x = nn.Linear(6, 4), torch.randn(3, 6)
    result = call(start, head, labels, changes=True)
    if not isinstance(result, nn.Linear):
        raise Wrong("return the layer itself: return head.")
    if result is not head:
        raise Wrong("change the layer that was given, and return it: yours is another one.")
    if not all(p.requires_grad for p in head.parameters()) or len(list(head.parameters())) != 2:
        raise Wrong(
            "weight and bias must stay trainable parameters: do not take their gradient away."
        )
    logits = call(head, x).detach()
    bias = logits[0]
    if not torch.allclose(logits, bias.expand(3, 4), atol=1e-5, equal_nan=True):
        raise Wrong("the output still depends on the input: set the weights to 0.")
    odds = (shares / (1 - shares)).log()
    compare(
        bias.softmax(0),
        shares,
        {
            "the bias holds the shares themselves: the softmax is applied to logits, so take their logarithm.": (
                shares.softmax(0)
            ),
            "the bias holds the numbers of examples: the softmax is applied to logits, so take their logarithm.": (
                (17 * shares).softmax(0)
            ),
            "all classes are equally likely: the bias still has to be set.": torch.full((4,), 0.25),
            "these are the log-odds, which belong to a sigmoid: for a softmax take log p.": (
                odds.softmax(0)
            ),
            "the logarithm has the wrong sign: a rare class must get a small logit.": (
                (-shares.log()).softmax(0)
            ),
            "the logarithm has the base 2 or 10: the softmax undoes the natural one.": (
                shares.log10().softmax(0)
            ),
            "the softmax undoes the natural logarithm, not that to the base 2.": (
                shares.log2().softmax(0)
            ),
            "the bias holds the softmax of the shares: take the logarithm of the shares.": (
                shares.softmax(0).softmax(0)
            ),
        },
        name="the softmax of the output",
    )


@exercise(
    "04.6",
    "Which padding lets the output of day 0 see day 0 and zeros only? Not the same on both sides.",
    "Put dilation * (kernel - 1) zeros before the first day: F.pad(x, (left, right)) pads the last axis.",
    "nn.Conv1d wants (batch, channels, time): permute(0, 2, 1) before it, and again after it.",
)
def causal_conv(causal_conv):
    layer = _module(call(causal_conv, 3, 4, 3, 2), "CausalConv")
    x = torch.randn(2, 9, 3)
    given = call(layer, x)
    weight, bias = _parameters(layer, [(4, 3, 3), (4,)])
    steps = torch.cat([torch.zeros(2, 4, 3), x, torch.zeros(2, 4, 3)], dim=1)

    def from_day(first, days=9):
        """For each day t the kernel on the days first, first + 2 and first + 4, counted from t."""
        starts = [4 + first + 2 * k for k in range(3)]
        parts = [steps[:, s : s + days] @ weight[:, :, k].T for k, s in enumerate(starts)]
        return sum(parts) + bias

    right = from_day(-4)
    dense = sum(steps[:, 2 + k : 11 + k] @ weight[:, :, k].T for k in range(3)) + bias
    mixed = F.conv1d(F.pad(x.reshape(2, 3, 9), (4, 0)), weight, bias, dilation=2)
    flipped = sum(steps[:, 4 - 2 * k : 13 - 2 * k] @ weight[:, :, k].T for k in range(3)) + bias
    compare(
        given.detach() if isinstance(given, torch.Tensor) else given,
        right,
        {
            "each output sees later days: the zeros belong before the first day, none behind the last.": (
                from_day(-2)
            ),
            "each output sees only later days: put the zeros before the first day.": from_day(0),
            "the dilation is not used.": dense,
            "the axes are mixed up: reshape cuts the rows of numbers anew, permute exchanges axes.": (
                mixed.permute(0, 2, 1)
            ),
            "reshape does not exchange axes, here on the way back: use permute.": (
                right.permute(0, 2, 1).reshape(2, 9, 4)
            ),
            "time must be axis 1 again: permute the output back.": right.permute(0, 2, 1),
            "there are too many days: cut off the last ones, which look beyond the end.": (
                from_day(-4, days=13)
            ),
            "the first days have no output: put dilation * (kernel - 1) zeros before them.": (
                right[:, 4:]
            ),
            "the first days have no output: with a dilation, kernel - 1 zeros are too few.": (
                right[:, 2:]
            ),
            "the kernel is turned round: its last position weighs day t.": flipped,
        },
        name="the output of 9 days with kernel=3, dilation=2",
        atol=1e-5,
    )
    made = call(causal_conv, 2, 2, 1, 3)
    compare(
        list(call(_module(made, "CausalConv"), torch.zeros(1, 5, 2)).shape),
        [1, 5, 2],
        name="the shape with kernel=1",
    )
