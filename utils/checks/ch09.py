"""Examinations of the exercises of chapter 09, convolutional networks."""

import torch
from torch import nn
from torch.nn import functional as F

from utils.checks.engine import Wrong, call, compare, exercise, same


def _kernel_of(operation):
    """The weights with which the nine pixels of a window enter a linear operation."""
    window = torch.zeros(3, 3, requires_grad=True)
    return torch.autograd.grad(operation(window), window)[0]


@exercise(
    "09.1",
    "The kernel is laid on the window as it is: the middle weight meets the pixel itself, the weight left of it the left neighbour.",
    "right has a single 1. slope has two weights that are not zero, with different signs.",
    "sharp is 2 · (a 1 in the middle) minus 1/9 everywhere.",
)
def kernels_to_order(right, slope, sharp):
    compare(
        right,
        _kernel_of(lambda p: p[1, 0]),
        {
            "right moves the picture to the left: PyTorch does not turn the kernel around, so take the "
            "neighbour on the left.": _kernel_of(lambda p: p[1, 2]),
            "right moves the picture down: rows come first, columns second.": _kernel_of(
                lambda p: p[0, 1]
            ),
            "right moves the picture up: rows come first, columns second.": _kernel_of(
                lambda p: p[2, 1]
            ),
            "right moves nothing: the 1 stands in the middle.": _kernel_of(lambda p: p[1, 1]),
        },
        name="right",
    )
    compare(
        slope,
        _kernel_of(lambda p: (p[2, 1] - p[0, 1]) / 2),
        {
            "slope goes upwards: the pixel below counts positive, the one above negative.": _kernel_of(
                lambda p: (p[0, 1] - p[2, 1]) / 2
            ),
            "slope goes from left to right: pixels above and below stand in the same column.": _kernel_of(
                lambda p: (p[1, 2] - p[1, 0]) / 2
            ),
            "slope is twice too large: the two pixels are two rows apart, so halve it.": _kernel_of(
                lambda p: p[2, 1] - p[0, 1]
            ),
            "slope adds up all three columns: only the pixels straight above and below are asked for.": (
                _kernel_of(lambda p: (p[2] - p[0]).sum() / 2)
            ),
        },
        name="slope",
    )
    compare(
        sharp,
        _kernel_of(lambda p: 2 * p[1, 1] - p.mean()),
        {
            "sharp is only the difference from the mean: the pixel itself must be added.": _kernel_of(
                lambda p: p[1, 1] - p.mean()
            ),
            "sharp is the mean, and that blurs.": _kernel_of(lambda p: p.mean()),
            "sharp adds the mean: the difference is the pixel minus the mean.": _kernel_of(
                lambda p: p.mean()
            ),
            "sharp takes the mean of the eight neighbours: the pixel itself is among the nine.": _kernel_of(
                lambda p: 2 * p[1, 1] - (p.sum() - p[1, 1]) / 8
            ),
            "sharp subtracts the sum of the nine pixels: a mean is a ninth of it.": _kernel_of(
                lambda p: 2 * p[1, 1] - p.sum()
            ),
        },
        name="sharp",
    )


def _lenet_shapes(flat, channels, classes):
    shapes = {"conv1": (6, channels, 5, 5), "conv2": (16, 6, 5, 5)}
    return shapes | {"fc1": (120, flat), "fc2": (84, 120), "fc3": (classes, 84)}


def _lenet_layers(net, flat, channels, height, width, classes):
    """Hold the sizes of the layers to what they should be, in words."""
    rows, columns = flat
    size = f"pictures of {height}×{width} pixels"
    weights = {name: tuple(p.shape) for name, p in net.named_parameters()}
    for layer, shape in _lenet_shapes(16 * rows * columns, channels, classes).items():
        found = weights.get(f"{layer}.weight")
        if found is None:
            raise Wrong(f"there is no layer self.{layer}: keep the names of the notes.")
        if layer == "fc1" and len(found) == 2 and found != shape:
            inputs = {
                400: "fc1 takes 400 numbers, as if every picture had 32×32 pixels",
                16
                * (height // 4)
                * (width // 4): "fc1 forgets that each convolution takes away 4 rows and columns",
                16 * rows * rows: "fc1 knows the height alone: pictures need not be square",
                16 * columns * columns: "fc1 knows the width alone: pictures need not be square",
                rows * columns: "fc1 forgets the 16 channels",
                16
                * -(-(height - 12) // 4)
                * -(-(width - 12) // 4): "fc1 rounds up: pooling leaves the odd row and column out",
            }.get(found[1], f"fc1 takes {found[1]} numbers")
            raise Wrong(
                f"{inputs}: {size} leave 16×{rows}×{columns} = {16 * rows * columns} after the second pooling."
            )
        if layer == "conv1" and found == (6, 1, 5, 5) != shape:
            raise Wrong(
                f"conv1 reads one channel, and the pictures have {channels}: use `channels`."
            )
        if layer == "fc3" and found == (10, 84) != shape:
            raise Wrong(f"fc3 gives ten logits for {classes} classes: use `classes`.")
        compare(found, shape, name=f"the shape of the weight of {layer}")


@exercise(
    "09.2",
    "Follow one side of the picture: a 5×5 kernel takes 4 pixels away, pooling by 2 halves and rounds down.",
    "fc1 needs 16 · rows · columns inputs; compute rows from height, and columns from width.",
    "rows = ((height - 4) // 2 - 4) // 2; in forward, flatten(1) does what num_flat_features is for.",
)
def lenet_for_any_picture(LeNet5):
    for channels, height, width, classes in ((1, 32, 32, 10), (3, 29, 46, 7)):
        net = call(LeNet5, channels, height, width, classes)
        if not isinstance(net, nn.Module):
            raise Wrong("LeNet5 must be a module: class LeNet5(nn.Module).")
        with torch.no_grad():
            empty = F.max_pool2d(torch.zeros(1, 16, height - 4, width - 4), 2)
            flat = tuple(F.max_pool2d(empty[:, :, 4:, 4:], 2).shape[2:])
        if list(net.parameters()):
            _lenet_layers(net, flat, channels, height, width, classes)
        x = torch.randn(5, channels, height, width)
        result = call(net, x)
        if not list(net.parameters()):
            raise Wrong("the network has no parameters: make the layers in __init__.")
        part = dict(net.named_modules())

        def run(act=F.relu, pool=F.max_pool2d, last=_head, part=part, x=x):
            maps = pool(act(part["conv1"](x)), 2)
            maps = pool(act(part["conv2"](maps)), 2)
            return last(part, maps.flatten(1), act)

        with torch.no_grad():
            expected = run()
            mistakes = {
                "these are probabilities: the softmax belongs to the loss, return the logits.": expected.softmax(
                    1
                ),
                "these are logarithms of probabilities: return the logits, as cross_entropy wants them.": (
                    expected.log_softmax(1)
                ),
                "the ReLUs between the fully connected layers are missing: three linear layers in a row "
                "are one.": run(last=lambda part, h, _: part["fc3"](part["fc2"](part["fc1"](h)))),
                "the pooling takes the mean, and the notes' network the maximum.": run(
                    pool=F.avg_pool2d
                ),
                "there is a ReLU on the logits: no logit could be negative.": expected.relu(),
                "the ReLUs after the convolutions are missing.": _without_relu(part, x),
            }
        if isinstance(result, torch.Tensor) and not result.requires_grad:
            raise Wrong("the logits carry no gradient: the network could not learn.")
        compare(result, expected, mistakes, name="the logits")


def _head(part, flat, act):
    return part["fc3"](act(part["fc2"](act(part["fc1"](flat)))))


def _without_relu(part, x):
    maps = F.max_pool2d(part["conv2"](F.max_pool2d(part["conv1"](x), 2)), 2)
    return _head(part, maps.flatten(1), F.relu)


_DEPTHS = {  # days, kernel, growth: layers
    (8, 2, 2): 3,
    (9, 2, 2): 4,
    (365, 3, 2): 8,
    (31, 7, 1): 5,
    (32, 7, 1): 6,
    (125, 5, 5): 3,
    (126, 5, 5): 4,
    (40, 4, 3): 3,
    (41, 4, 3): 4,
    (1, 3, 2): 0,
}


def _depths(field):
    """For each case the first number of layers whose field, by some rule, is large enough."""
    cases = [
        (lambda n, k=k, g=g: field(k, [g**i for i in range(n)], g), days) for days, k, g in _DEPTHS
    ]
    return [next(n for n in range(500) if grown(n) >= days) for grown, days in cases]


@exercise(
    "09.3",
    "What does one more layer add to the days that an output sees? Try it on paper: kernel 2, growth 2.",
    "A layer of dilation d adds (kernel - 1) · d days to what is seen already, and at the start one day is seen.",
    "A while loop: as long as too few days are seen, add a layer and multiply the dilation by growth.",
)
def how_deep(layers_needed):
    expected = list(_DEPTHS.values())
    given = [call(layers_needed, *case) for case in _DEPTHS]
    for case, number in zip(_DEPTHS, given, strict=True):
        if isinstance(number, float) and not number.is_integer():
            raise Wrong(
                f"layers are whole numbers, and layers_needed{case} gives {number:.4g}: round up, with care."
            )
    by_logarithm = list(expected)
    by_logarithm[5] = 4
    mistakes = {
        "a layer of dilation d adds (kernel - 1) · d days, not kernel · d: one of its days was seen "
        "before.": _depths(lambda k, ds, g: 1 + sum(k * d for d in ds)),
        "without any layer one day is seen: begin to count from 1, not from 0.": _depths(
            lambda k, ds, g: sum((k - 1) * d for d in ds) if ds else 1
        ),
        "the dilation does not grow: every layer counts like the first.": _depths(
            lambda k, ds, g: 1 + (k - 1) * len(ds)
        ),
        "the first layer has dilation 1, and growth comes with the second.": _depths(
            lambda k, ds, g: 1 + sum((k - 1) * d * g for d in ds)
        ),
        "`days` days are enough, more are not needed: at least, not more than.": _depths(
            lambda k, ds, g: sum((k - 1) * d for d in ds)
        ),
        "the fields of two layers do not multiply: each layer adds to what is seen.": _depths(
            lambda k, ds, g: k ** len(ds)
        ),
        "the dilation is growth to the power of the layer's number; here it grows by adding.": _depths(
            lambda k, ds, g: 1 + sum((k - 1) * (1 + (g - 1) * i) for i in range(len(ds)))
        ),
        "one layer too many: you count the one that would come next.": [n + 1 for n in expected],
        "one layer too few: count also the one that makes it enough.": [n - 1 for n in expected],
        "125 days need three layers of kernel 5: a logarithm comes out a little above 3, so count "
        "with whole numbers.": by_logarithm,
    }
    for diagnosis, value in mistakes.items():
        if same(given, value):
            raise Wrong(diagnosis)
    for case, number, wanted in zip(_DEPTHS, given, expected, strict=True):
        if isinstance(number, int) and number != wanted:
            raise Wrong(f"layers_needed{case} should be {wanted}, and it is {number}.")
        compare(number, wanted, name=f"layers_needed{case}")


@exercise(
    "09.4",
    "Which of the three sums depends on the place? The sum of the piece's squares does not.",
    "The sum of a² over each window is a convolution of picture² with a kernel of ones; that of ab one of picture with piece.",
    "F.conv2d wants four axes: picture[None, None]. argmin gives a number in the flat map, divmod(number, columns of the map) its place.",
)
def where_it_is(locate):
    for height, width, h, w, row, column in ((23, 31, 5, 4, 12, 7), (30, 19, 3, 6, 2, 11)):
        picture = torch.rand(height, width)
        piece = picture[row : row + h, column : column + w].clone()
        picture[15 : 15 + 2 * h, 11 : 11 + 2 * w] += 2  # not on the piece
        piece += 0.01 * torch.randn(h, w)
        products = F.conv2d(picture[None, None], piece[None, None])[0, 0]
        turned = F.conv2d(picture[None, None], piece.flip(0, 1)[None, None])[0, 0]
        windows = picture.unfold(0, h, 1).unfold(1, w, 1)
        gaps = (windows - piece).square().sum(dim=(2, 3))
        flat, columns = int(row * gaps.shape[1] + column), gaps.shape[1]

        def place(number, columns=columns):
            return divmod(int(number), columns)

        compare(
            call(locate, picture, piece),
            (row, column),
            {
                "this is where the products are largest, and that is a bright place: take a² into account "
                "as well.": place(products.argmax()),
                "this is where the products are smallest, a dark place: take a² into account as well.": place(
                    products.argmin()
                ),
                "this is the largest product of a kernel turned around: F.conv2d needs no turning, and a² "
                "counts as well.": place(turned.argmax()),
                "this is the place with the largest difference: look for the smallest.": place(
                    gaps.argmax()
                ),
                "this is (column, row): the row comes first.": (column, row),
                "this is the middle of the piece (or padding has moved the map): the upper left corner is "
                "asked for.": (row + h // 2, column + w // 2),
                "the number in the flat map is divided by the width of the picture: the map has fewer "
                "columns.": place(flat, width),
                "this is the number in the flat map: turn it into a row and a column.": flat,
                "the product counts twice: (a - b)² is a² - 2ab + b².": place(
                    (windows.square() - windows * piece).sum(dim=(2, 3)).argmin()
                ),
            },
            name="the place",
        )


@exercise(
    "09.5",
    "The head averages, then it weighs. What changes if it weighs first, at each place, and averages afterwards?",
    "At each place: weight @ (the channels there) + bias. The mean over the places leaves a constant as it is.",
    'torch.einsum("kc,bcij->bkij", weight, maps) + bias[:, None, None], or F.conv2d with kernels of 1×1.',
)
def maps_of_the_classes(class_maps):
    maps, weight, bias = torch.randn(2, 5, 4, 6), torch.randn(3, 5), torch.randn(3)
    right = F.linear(maps.movedim(1, -1), weight, bias).movedim(-1, 1)  # (2, 3, 4, 6)
    per_class = bias[:, None, None]
    level = right.mean(dim=(2, 3), keepdim=True)
    compare(
        call(class_maps, maps, weight, bias),
        right,
        {
            "the bias is missing: the mean of a map is not yet the logit.": right - per_class,
            "the bias is divided by the number of places; under a mean a constant stays as it is.": right
            - per_class * 23 / 24,
            "these maps add up to the logit; their mean shall be the logit, so do not divide by the places.": (
                right / 24
            ),
            "the weights are divided by the number of places; the mean does that already.": (
                right - per_class
            )
            / 24
            + per_class,
            "negative values are cut off: places that speak against the class must count, too.": right.relu(),
            "you average first, so that all places have the same value: weigh first.": level.expand_as(
                right
            ),
            "these are the logits: average over the places is what must not be done here.": level[
                :, :, 0, 0
            ],
            "the axes are in another order: (batch, classes, rows, columns) is asked for.": right.movedim(
                1, -1
            ),
        },
        name="class maps",
        atol=1e-5,
    )


@exercise(
    "09.6",
    "Which pixels has the weight (i, j) met? Write the derivative by it as a sum over batch, rows and columns.",
    "It is the sum of x[b, c, i + stride·r, j + stride·q] · slope[b, o, r, q]: slope slides over x, its numbers `stride` pixels apart.",
    "Let batch and channels change places in both: F.conv2d(x.transpose(0, 1), slope.transpose(0, 1), dilation=stride), then turn back and cut.",
)
def gradient_of_the_kernel(kernel_gradient):
    for height, width, stride in ((9, 11, 1), (10, 12, 2)):  # with stride 2 a row is left over
        x, weight = torch.randn(4, 2, height, width), torch.randn(3, 2, 3, 3, requires_grad=True)
        out = F.conv2d(x, weight, stride=stride)
        slope = torch.randn_like(out)
        (right,) = torch.autograd.grad(out, weight, slope)
        swapped = x.transpose(0, 1), slope.transpose(0, 1)
        whole = F.conv2d(*swapped, dilation=stride).transpose(0, 1)
        crowded = F.conv2d(*swapped).transpose(0, 1)
        mistakes = {
            "this is the mean over the batch: slope knows of that already, so add up.": right / 4,
            "inputs and outputs are exchanged: turn the first two axes back.": right.transpose(
                0, 1
            ),
            "the kernel comes out turned around: F.conv2d does not turn it, so need not you.": right.flip(
                2, 3
            ),
            "this is the sum over the channels of x: each input channel has a kernel of its own.": right.sum(
                1, keepdim=True
            ).expand_as(right),
            "this is the mean over all places: add up.": right / out[0, 0].numel(),
            "this is the mean over batch and places: add up.": right / out[:, 0].numel(),
            "this is the first picture of the batch alone: add up over the batch.": _first_only(
                x, weight, slope, stride
            ),
        }
        if stride > 1:
            mistakes |= {
                "the stride is not respected: two outputs that are neighbours have met windows `stride` "
                "pixels apart.": crowded[:, :, :3, :3],
                "the stride is not respected, and the map is not cut: the slopes must lie `stride` pixels "
                "apart.": crowded,
                "the last row and column belong to pixels that no window has reached in full: cut to "
                "side×side.": whole,
                "the stride takes every second place of the gradient; the slopes must lie apart instead.": (
                    F.conv2d(*swapped, stride=stride).transpose(0, 1)[:, :, :3, :3]
                ),
            }
        compare(
            call(kernel_gradient, x, slope, 3, stride),
            right,
            mistakes,
            name=f"the gradient with stride {stride}",
            atol=1e-4,
        )


def _first_only(x, weight, slope, stride):
    """The gradient from the first picture."""
    out = F.conv2d(x[:1], weight, stride=stride)
    return torch.autograd.grad(out, weight, slope[:1])[0]
