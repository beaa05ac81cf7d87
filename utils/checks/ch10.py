"""Examinations of the exercises of chapter 10, modern CNNs and transfer learning."""

import copy

import torch
from torch import nn
from torch.nn import functional as F

from utils.checks.engine import Wrong, call, compare, exercise, same


def _detached(value):
    return value.detach() if isinstance(value, torch.Tensor) else value


@exercise(
    "10.1",
    "(a) Which channels arrive at the end of each branch? (b) At how many places does each convolution work?",
    "Pooling keeps the channels. A weight is used once at each place of the *output* of its convolution.",
    "(b) The picture has 56×56 places after the first convolution, and 28×28 after the second and third.",
)
def two_blocks_on_paper(shape_a, weights_b, macs_b):
    block = torch.cat([torch.empty(4, n, 35, 35) for n in (40, 56, 20, 96)], 1)
    if not isinstance(shape_a, tuple | list):
        raise Wrong("shape_a must be a shape: write a tuple such as (2, 3, 4).")
    compare(
        shape_a,
        block.shape,
        {
            "a: the narrow 1×1 layers to 24 and 12 channels stay inside their branches: do not count them.": (
                (4, 248, 35, 35)
            ),
            "a: the pooling branch is missing; it passes on all the channels it gets.": (
                (4, 116, 35, 35)
            ),
            "a: only branches are joined; the input comes along through the pooling, once.": (
                (4, 308, 35, 35)
            ),
            "a: pooling keeps all 96 channels, it does not make them one.": (4, 117, 35, 35),
            "a: the outputs are joined, not added: their channels lie one after the other.": (
                (4, 96, 35, 35)
            ),
            "a: the channels are axis 1.": (4, 35, 35, 212),
            "a: the batch is missing, its four pictures come first.": (212, 35, 35),
        },
        name="shape_a",
    )
    x = torch.zeros(1, 256, 56, 56)
    layers = [
        nn.Conv2d(256, 128, 1, bias=False),
        nn.Conv2d(128, 128, 3, stride=2, padding=1, bias=False),
        nn.Conv2d(128, 512, 1, bias=False),
    ]
    weights, places = [layer.weight.numel() for layer in layers], []
    for layer in layers:
        x = layer(x)
        places.append(x[0, 0].numel())
    compare(
        weights_b,
        sum(weights),
        {
            "b: a kernel of the second convolution has 3×3 numbers for each pair of channels.": sum(
                w // k for w, k in zip(weights, (1, 9, 1), strict=True)
            ),
            "b: each output channel has a kernel for every input channel: multiply the two.": (
                128 + 9 * 128 + 512
            ),
            "b: these convolutions have no bias, the batch norms after them have one.": sum(weights)
            + 768,
            "b: the last convolution is missing, which leads back to 512 channels.": sum(
                weights[:2]
            ),
        },
        name="weights_b",
    )
    compare(
        macs_b,
        sum(p * w for p, w in zip(places, weights, strict=True)),
        {
            "b: the stride is missing: after the second convolution 28×28 places are left.": places[
                0
            ]
            * sum(weights),
            "b: the stride belongs to the second convolution: the first one works at 56×56 places.": places[
                2
            ]
            * sum(weights),
            "b: a convolution works at the places of its output: the second one has 28×28 of them.": places[
                0
            ]
            * sum(weights[:2])
            + places[2] * weights[2],
            "b: each weight is used at every place of the output: multiply.": sum(weights),
            "b: these are the values that come out; each costs as many multiply-adds as its kernel has weights.": (
                places[0] * 128 + places[1] * 128 + places[2] * 512
            ),
            "b: a multiplication and its addition count as one multiply-add.": 2
            * sum(p * w for p, w in zip(places, weights, strict=True)),
        },
        name="macs_b",
    )


@exercise(
    "10.2",
    "How many pixels does one 3×3 convolution without padding take away from each side's length?",
    "Two: the side becomes side - 3 + 1. A kernel of k takes k - 1 away, so (k - 1) / 2 convolutions are needed.",
    "In the loop append a ReLU first and then a new convolution; so none follows the last.",
)
def seven_in_threes(in_threes):
    for channels_in, channels_out, kernel in ((2, 3, 7), (4, 4, 5), (3, 2, 11), (2, 3, 3)):
        stack = call(in_threes, channels_in, channels_out, kernel)
        if not isinstance(stack, nn.Module):
            raise Wrong("a stack of layers is asked for: return nn.Sequential(…).")
        wanted, where = (kernel - 1) // 2, f"kernel {kernel}:"
        result, convolutions, inputs, outputs = _run(
            stack, torch.randn(2, channels_in, kernel + 24, kernel + 21)
        )
        if any(c.kernel_size != (3, 3) for c in convolutions):
            raise Wrong(f"{where} all convolutions must be 3×3.")
        if any(c.padding not in ((0, 0), "valid") or c.stride != (1, 1) for c in convolutions):
            raise Wrong(
                f"{where} the convolutions need stride 1 and no padding, like the one they replace."
            )
        if len(convolutions) != wanted:
            raise Wrong(f"{where} {_about_the_number(kernel, len(convolutions), wanted)}")
        if len(set(convolutions)) != len(convolutions):
            raise Wrong(
                f"{where} the same convolution runs several times, with the same weights: make a new one each time."
            )
        channels = [(c.in_channels, c.out_channels) for c in convolutions]
        if channels != [(channels_in, channels_out)] + (wanted - 1) * [(channels_out,) * 2]:
            raise Wrong(
                f"{where} the first convolution leads from {channels_in} to {channels_out} channels, and the others "
                f"keep {channels_out}; yours are {channels}."
            )
        for before, after in zip(outputs[:-1], inputs[1:], strict=True):
            compare(
                after,
                before.relu(),
                {
                    f"{where} without a ReLU in between, the convolutions together are one linear convolution.": before
                },
                name=f"{where} what comes from the ReLU",
            )
        compare(
            result,
            outputs[-1],
            {
                f"{where} no ReLU after the last convolution: nothing negative could come out.": outputs[
                    -1
                ].relu()
            },
            name=f"{where} the output",
        )


def _run(stack, x):
    """The result, and the convolutions in the order in which they run, with inputs and outputs."""
    convolutions, inputs, outputs = [], [], []

    def note(layer, given, output):
        convolutions.append(layer)
        inputs.append(given[0].clone())
        outputs.append(output.clone())  # a ReLU may work in place

    layers = [m for m in stack.modules() if isinstance(m, nn.Conv2d)]
    hooks = [m.register_forward_hook(note) for m in layers]
    with torch.no_grad():
        result = call(stack, x)
    for hook in hooks:
        hook.remove()
    return result, convolutions, inputs, outputs


def _about_the_number(kernel, found, wanted):
    if found == kernel // 3:
        return (
            f"{found} is kernel // 3, as if a 3×3 convolution took 3 pixels away; it takes 2 away, "
            "side - 3 + 1."
        )
    if found == wanted + 1:
        return f"one convolution too many ({found}): the first one sees 3 pixels, and each further one adds 2."
    if found == kernel - 2:
        return f"{found} convolutions are too many: each further one adds 2 pixels, not 1."
    return (
        f"{found} convolutions of 3×3 do not see {kernel}×{kernel} pixels, and leave another size."
    )


@exercise(
    "10.3",
    "Write (conv(x) - mean) / √(var + eps) · γ + β as a number times conv(x), plus another number.",
    "scale = γ / √(var + eps) multiplies the kernels of its output channel, which is the first axis of the weight.",
    "The new bias is β + (old bias - mean) · scale. copy.deepcopy(conv) keeps stride and padding.",
)
def batch_norm_that_disappears(fold):
    cases = (nn.Conv2d(3, 5, 3, stride=2, padding=1), nn.Conv2d(4, 6, (1, 3), bias=False))
    for conv in cases:
        norm = nn.BatchNorm2d(conv.out_channels, eps=0.2).eval()
        with torch.no_grad():
            for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
                tensor.copy_(0.3 + 1.5 * torch.rand(conv.out_channels))
        x = torch.randn(2, conv.in_channels, 7, 8)
        with torch.no_grad():
            between = conv(x)
            right = norm(between)
        folded = call(fold, conv, norm)
        if not isinstance(folded, nn.Conv2d):
            raise Wrong("a single nn.Conv2d is asked for, with new weights and a new bias.")
        if folded is conv:
            raise Wrong("return a new convolution, and leave the given one as it is.")
        if (folded.stride, folded.padding) != (conv.stride, conv.padding):
            raise Wrong("stride and padding of the new convolution must be those of the given one.")
        if folded.bias is None:
            raise Wrong("the new convolution needs a bias: what the batch norm adds must go there.")
        compare(
            _detached(call(folded, x)),
            right,
            _folding_mistakes(between, conv, norm),
            name="what the folded convolution computes",
            atol=1e-5,
        )


def _folding_mistakes(y, conv, norm):
    def wide(v):
        return v.detach()[:, None, None]

    var, eps = wide(norm.running_var), norm.eps
    mean, gamma, beta = wide(norm.running_mean), wide(norm.weight), wide(norm.bias)
    own = 0 if conv.bias is None else wide(conv.bias)
    sigma = (var + eps).sqrt()
    scale = gamma / sigma
    right = (y - mean) * scale + beta
    return {
        "the convolution's own bias is lost: it goes through the batch norm, too.": right
        - own * scale,
        "the convolution's own bias must be multiplied by the scale, too.": right
        - own * scale
        + own,
        "eps is missing under the root.": (y - mean) / var.sqrt() * gamma + beta,
        "eps stands under the root: √(var + eps), not √var + eps.": (y - mean)
        / (var.sqrt() + eps)
        * gamma
        + beta,
        "divide by the standard deviation, √(var + eps), not by the variance.": (y - mean)
        / (var + eps)
        * gamma
        + beta,
        "the running mean is not subtracted: it belongs into the new bias.": y * scale + beta,
        "the running mean must be multiplied by the scale before it is subtracted.": y * scale
        - mean
        + beta,
        "the running mean has the wrong sign: it is subtracted.": (y + mean) * scale + beta,
        "norm.weight is missing from the scale.": (y - mean) / sigma + beta,
        "norm.bias is missing.": right - beta,
        "the kernels are not scaled, only the bias is new.": y - own + (own - mean) * scale + beta,
        "this is still the given convolution, without the batch norm.": y,
    }


@exercise(
    "10.4",
    "Build layers and shortcut as two nn.Sequential; an empty nn.Sequential() returns its input.",
    "The shapes agree only if stride is 1 and channels_in is 4 * width.",
    "nn.init.zeros_(self.layers[-1].weight), and at the end F.relu(self.layers(x) + self.shortcut(x)).",
)
def block_of_resnet50(Bottleneck):
    block = call(Bottleneck, 12, 5, 2)
    if not isinstance(block, nn.Module):
        raise Wrong("Bottleneck must be a module: class Bottleneck(nn.Module).")
    x = torch.randn(2, 12, 9, 7)
    block.eval()
    call(block, x)
    shapes = [(5, 12, 1, 1), (5, 5, 3, 3), (20, 5, 1, 1), (20, 12, 1, 1)]
    _examine_the_layers(block, shapes)
    weights = {shape: 0.5 * torch.randn(shape) for shape in shapes}
    norms = {n: [0.5 + torch.rand(n) for _ in range(4)] for n in (5, 20)}
    with torch.no_grad():
        for layer in block.modules():
            if isinstance(layer, nn.Conv2d):
                layer.weight.copy_(weights[tuple(layer.weight.shape)])
            if isinstance(layer, nn.BatchNorm2d):
                parts = layer.running_mean, layer.running_var, layer.weight, layer.bias
                for part, value in zip(parts, norms[layer.num_features], strict=True):
                    part.copy_(value)

    def variant(**changes):
        return _bottleneck(list(weights.values()), norms, x, **changes)

    compare(
        _detached(call(block, x)),
        variant(),
        {
            "the shortcut is not added.": variant(shortcut=False),
            "the stride belongs to the 3×3 convolution: a 1×1 with stride 2 never sees three quarters of the pixels.": (
                variant(strides=(2, 1, 1))
            ),
            "the stride belongs to the 3×3 convolution, not to the last 1×1.": variant(
                strides=(1, 1, 2)
            ),
            "the last ReLU is missing, after the addition.": variant(last=False),
            "no ReLU before the addition: the layers must be able to subtract something from the shortcut.": (
                variant(relus=(True, True, True))
            ),
            "no ReLU before the addition, and one after it: yours stand the other way round.": variant(
                relus=(True, True, True), last=False
            ),
            "the ReLU after the first batch norm is missing.": variant(relus=(False, True, False)),
            "the ReLU after the second batch norm is missing.": variant(relus=(True, False, False)),
            "the ReLUs between the convolutions are missing.": variant(relus=(False, False, False)),
        },
        name="the result of Bottleneck(12, 5, 2)",
        atol=1e-5,
    )
    for channels_in, stride, places in ((12, 1, (9, 7)), (20, 2, (5, 4))):
        block = call(Bottleneck, channels_in, 5, stride)
        try:
            result = call(block.eval(), torch.randn(2, channels_in, 9, 7))
        except Wrong as wrong:
            raise Wrong(f"Bottleneck({channels_in}, 5, {stride}) does not run: {wrong}") from None
        compare(
            tuple(getattr(result, "shape", ())),
            (2, 20, *places),
            name=f"the shape that Bottleneck({channels_in}, 5, {stride}) gives",
        )
    idle = call(Bottleneck, 20, 5)
    idle.eval()
    x = torch.rand(2, 20, 6, 5)
    result = _detached(call(idle, x))
    _examine_the_layers(idle, [(5, 20, 1, 1), (5, 5, 3, 3), (20, 5, 1, 1)])
    zero = [m for m in idle.modules() if isinstance(m, nn.BatchNorm2d) and not m.weight.any()]
    if not zero:
        raise Wrong(
            "a new block does something already: start the last batch norm of the layers with weight zero."
        )
    if len(zero) > 1 or zero[0].num_features != 20:
        raise Wrong(
            "only the last batch norm of the layers starts with weight zero; with zeros further in front nothing "
            "is there to learn from."
        )
    compare(
        result,
        x,
        {"the new block doubles x: the shortcut is added twice.": 2 * x},
        name="the result of a new Bottleneck(20, 5) for positive x",
    )


def _examine_the_layers(block, shapes):
    convolutions = [m for m in block.modules() if isinstance(m, nn.Conv2d)]
    if any(c.bias is not None for c in convolutions):
        raise Wrong(
            "the convolutions need no bias: the batch norm after them takes the mean away, and has its own."
        )
    found = [tuple(c.weight.shape) for c in convolutions]
    if len(shapes) == 3 and sorted(found) == sorted([*shapes, (20, 20, 1, 1)]):
        raise Wrong(
            "where the shapes agree, the shortcut is x itself: no convolution with stride 1 and 4 * width channels in."
        )
    if sorted(found) != sorted(shapes):
        raise Wrong(
            f"the weights of the convolutions have the shapes {found}, and {shapes} are asked for."
        )
    norms = sorted(m.num_features for m in block.modules() if isinstance(m, nn.BatchNorm2d))
    wanted = sorted(shape[0] for shape in shapes)
    if norms != wanted:
        raise Wrong(
            f"each convolution is followed by a batch norm of its own, also in the shortcut: the norms have {norms} "
            f"channels, and {wanted} are asked for."
        )


def _bottleneck(
    weights, norms, x, strides=(1, 2, 1), relus=(True, True, False), last=True, shortcut=True
):
    """What the block gives in evaluation, or a block with a mistake."""
    beside = F.batch_norm(F.conv2d(x, weights[3], stride=2), *norms[20])
    for weight, stride, relu in zip(weights, strides, relus, strict=False):
        x = F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)
        x = F.batch_norm(x, *norms[len(weight)])
        x = x.relu() if relu else x
    x = x + beside if shortcut else x
    return x.relu() if last else x


@exercise(
    "10.5",
    "net.train() calls train() on every part. Which method can your module override?",
    "requires_grad_(False) stops the body's gradients only; torch.no_grad() would also stop those on their way to x.",
    "def train(self, mode=True): super().train(mode), then self.body.eval(), then return self.",
)
def frozen_means_frozen(Frozen):
    for last in (nn.BatchNorm1d(4), nn.Dropout(0.5)):
        body = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), last, nn.Linear(4, 2))
        with torch.no_grad():
            for buffer in last.buffers():
                buffer.copy_(torch.full_like(buffer, 3.0))
        _examine_frozen(Frozen, body)


def _examine_frozen(Frozen, body):
    right, x = copy.deepcopy(body).eval(), torch.randn(7, 3)
    frozen = call(Frozen, body)
    if not isinstance(frozen, nn.Module):
        raise Wrong("Frozen must be a module: class Frozen(nn.Module).")
    expected = right(x).detach()
    kind = type(body[2])
    work = "batch norm uses the batch's own mean" if kind is nn.BatchNorm1d else "dropout drops"

    def examine(when):
        result = _detached(call(frozen, x))
        switched_on = [m for m in (*frozen.modules(), *body.modules()) if isinstance(m, kind)]
        if any(m.training for m in switched_on) and not same(result, expected):
            raise Wrong(f"{when} {work}: that part of the body is in training mode.")
        compare(result, expected, name=f"{when} the result")

    examine("right after Frozen(body)")
    nn.Sequential(frozen, nn.Linear(2, 2)).train()
    examine("after train() on the network around it")
    if call(frozen.train) is not frozen:
        raise Wrong(
            "train() must return the module itself, so that net.train().to(device) goes on."
        )
    state, wanted = list(frozen.state_dict().values()), list(right.state_dict().values())
    if len(state) != len(wanted):
        raise Wrong(
            "the module does not know its body: keep it as an attribute, self.body = body, so that to(device) and "
            "state_dict() reach it."
        )
    compare(state, wanted, name="the parameters and running averages in state_dict()")
    if any(p.requires_grad for p in frozen.parameters()):
        raise Wrong(
            "the body's parameters still ask for gradients: an optimiser would change them."
        )
    x.requires_grad_()
    result, slope = call(frozen, x), None
    if isinstance(result, torch.Tensor) and result.requires_grad:
        slope = torch.autograd.grad(result.sum(), x, allow_unused=True)[0]
    if slope is None:
        raise Wrong(
            "no gradient gets through to x: under torch.no_grad(), or detached, the layers in front cannot learn."
        )
    compare(
        slope,
        torch.autograd.grad(right(x).sum(), x)[0],
        name="the gradient with respect to x",
    )


@exercise(
    "10.6",
    "Three steps: what strays from the class means in the source, the means of the shots, the distances.",
    "strays = source - means[which], where y.unique(return_inverse=True) gives `which`; S = strays.T @ strays / n.",
    "gaps = queries[:, None] - means; (gaps @ torch.linalg.inv(S) * gaps).sum(-1), then argmin over the classes.",
)
def measure_from_elsewhere(few_shot):
    sizes, new = (40, 12, 25), torch.tensor([7, 5, 9, 5, 7, 9, 9, 5, 7, 7, 9])
    mixing = torch.randn(4, 4, dtype=torch.double) * torch.tensor([3.0, 1.0, 0.5, 0.2])[:, None]
    labels = torch.cat([torch.full((n,), c) for n, c in zip(sizes, (0, 3, 1), strict=True)])
    labels = labels[torch.randperm(len(labels))]
    apart = 4 * torch.randn(4, 4, dtype=torch.double)
    spread = 1 + labels[:, None] * torch.tensor([0.0, 0.5, 1.0, 2.0])
    source = torch.randn(len(labels), 4, dtype=torch.double) * spread @ mixing + apart[labels]
    centres = 0.7 * torch.randn(10, 4, dtype=torch.double)
    shots = centres[new] + 0.3 * torch.randn(len(new), 4, dtype=torch.double) @ mixing
    queries = centres[torch.randint(3, (400,)) * 2 + 5] + torch.randn(400, 4, dtype=torch.double)

    shares = torch.tensor([(labels == c).double().mean() for c in (0, 1, 3)])
    within = torch.stack([torch.cov(source[labels == c].T, correction=0) for c in (0, 1, 3)])
    S = torch.einsum("c,cij->ij", shares, within)
    means = torch.stack([shots[new == c].mean(0) for c in (5, 7, 9)])
    shrink, eye, names = 0.4, torch.eye(4, dtype=torch.double), torch.tensor([5, 7, 9])

    def distances(table, to=means):
        gaps = queries[:, None] - to
        return torch.einsum("qci,ij,qcj->qc", gaps, table, gaps)

    def regular(table, amount=None):
        amount = shrink * table.trace() / 4 if amount is None else amount
        return torch.linalg.inv(table + amount * eye)

    two = distances(regular(S)).sort(1).values
    queries = queries[two[:, 1] > 1.01 * two[:, 0]]  # no close decisions
    right = distances(regular(S))
    total = torch.cov(source.T, correction=0)
    compare(
        call(few_shot, source.float(), labels, shots.float(), new, queries.float(), shrink),
        names[right.argmin(1)],
        {
            "these are positions in the list of classes: give the labels as they are called in shot_labels.": (
                right.argmin(1)
            ),
            "this is the plain distance, and nothing of the source is used.": names[
                distances(eye).argmin(1)
            ],
            "you take the mean of the whole source; subtract from each example the mean of its own class.": names[
                distances(regular(total)).argmin(1)
            ],
            "the products of source examples are taken without subtracting the class means.": names[
                distances(regular(source.T @ source / len(source))).argmin(1)
            ],
            "this measures with S; its inverse is needed: a stray in a direction where all stray counts little.": names[
                distances(torch.linalg.inv(regular(S))).argmin(1)
            ],
            "nothing is added to the diagonal of S: shrink is not used.": names[
                distances(regular(S, 0)).argmin(1)
            ],
            "add shrink times the mean of the diagonal of S, not shrink itself.": names[
                distances(regular(S, shrink)).argmin(1)
            ],
            "each class counts the same in your S; it is a mean over all examples.": names[
                distances(regular(within.mean(0))).argmin(1)
            ],
            "only the diagonal of S is used: the features do not stray independently.": names[
                distances(regular(S.diagonal().diag())).argmin(1)
            ],
            "this is the label of the nearest single shot: take the mean of each class first.": new[
                distances(regular(S), shots).argmin(1)
            ],
            "these are the farthest classes: the smallest distance wins.": names[right.argmax(1)],
            "the labels belong to other means: sort both in the same way (unique() sorts).": torch.tensor(
                [7, 5, 9]
            )[right.argmin(1)],
        },
        name="the labels of the queries",
    )
