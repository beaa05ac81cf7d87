"""Examinations of the exercises of chapter 06, MLP regression."""

from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from utils.checks.engine import Wrong, call, compare, exercise


@exercise(
    "06.1",
    "How many weights lie between 500 inputs and 256 units? And how many biases do the units have?",
    "A layer has inputs · units weights and units biases. Add this up over the pairs of neighbours in sizes.",
    "pairwise(sizes) gives the pairs of neighbours; sum((inputs + 1) * units for …).",
)
def count_parameters(count):
    for sizes in ([7, 5, 3, 2], [500, 256, 1], [4, 9]):
        layers = [nn.Linear(a, b, device="meta") for a, b in pairwise(sizes)]
        weights = sum(layer.weight.numel() for layer in layers)
        biases = sum(layer.bias.numel() for layer in layers)
        compare(
            call(count, list(sizes)),
            weights + biases,
            {
                "these are the weights: the biases are missing.": weights,
                "you count one bias per layer, as in the notes: each unit has its own.": weights
                + len(layers),
                "the inputs have no biases: only units of hidden and output layers have.": weights
                + sum(sizes),
                "the biases of the output layer are missing.": weights + biases - sizes[-1],
                "you add a bias for each unit of the layer before: the biases belong to the outputs of a layer.": (
                    weights + sum(sizes[:-1])
                ),
                "this is the number of units: count the connections between them.": sum(sizes),
                "only the first layer is counted.": (sizes[0] + 1) * sizes[1],
            },
            name=f"the number of parameters of {sizes}",
            rtol=1e-9,
        )


@exercise(
    "06.2",
    "What is left of the error when the function is known? And what is the error of the mean, in one word?",
    "The floor is the variance of the noise. The mean pays the variance of y: that of the signal and that of the noise.",
    "Variances of independent terms add up: the signal x @ weight has the variance (weight ** 2).sum(). "
    "R² = 1 - MSE / variance.",
)
def yardsticks(yardsticks):
    # 3, 1, -2, 4 and noise 2: the squares add up to 30, the weights to 6
    weight, noise = torch.tensor([3.0, 1.0, -2.0, 4.0]), 2.0
    compare(
        call(yardsticks, weight, noise),
        (4.0, 34.0, 30 / 34),
        {
            "the MSE is a square: the floor is the variance of the noise, not its standard deviation.": (
                2.0,
                32.0,
                30 / 32,
            ),
            "the floor is the variance of the noise, not its standard deviation.": (
                2.0,
                34.0,
                30 / 34,
            ),
            "whoever answers the mean pays for the noise, too: add it to the variance of the signal.": (
                4.0,
                30.0,
                1 - 4 / 30,
            ),
            "the mean pays for the noise, too; R² compares with that.": (4.0, 30.0, 30 / 34),
            "even the true function has an R² below 1, because of the noise.": (4.0, 34.0, 1.0),
            "R² is 1 - floor / MSE of the mean: you have the share that is noise.": (
                4.0,
                34.0,
                4 / 34,
            ),
            "square the weights first and add them then: the variances add up.": (
                4.0,
                40.0,
                36 / 40,
            ),
            "the variances of the features' contributions add up: take the sum of the squares, not their mean.": (
                4.0,
                11.5,
                7.5 / 11.5,
            ),
            "the constant 0.028 has no variance: it does not appear in any of the three.": (
                4.0,
                34.0 + 0.028**2,
                1 - 4 / (34 + 0.028**2),
            ),
        },
        name="(floor, mean, R²)",
        rtol=1e-6,
    )
    compare(
        call(yardsticks, torch.tensor([0.0, 0.5]), 1.0),
        (1.0, 1.25, 0.2),
        name="(floor, mean, R²) of a weak signal",
    )


class _Counting(nn.Module):
    """A small network that notes the largest batch it has met."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
        self.largest = 0

    def forward(self, x: Tensor) -> Tensor:
        self.largest = max(self.largest, len(x))
        return self.layers(x)


@exercise(
    "06.3",
    "Clear the gradients once, before the first part. How much does each part count for?",
    "The mean over all is the sum of the parts' means, each times its share of the examples.",
    "(len(x) / number of all examples * loss_fn(model(x), y)).backward() for each part; then no more division.",
)
def batch_gradient(batch_gradient):
    model, sizes = _Counting(), (5, 5, 2)
    x, y = torch.randn(12, 3), torch.randn(12, 1)
    y[10:] += 4  # the small part has a gradient of its own
    parts = list(zip(x.split(sizes), y.split(sizes), strict=True))

    def gradients(x, y):
        return torch.autograd.grad(F.mse_loss(model(x), y), tuple(model.parameters()))

    single = [gradients(*part) for part in parts]
    right = list(gradients(x, y))

    def mixed(*factors):
        return [
            sum(f * g for f, g in zip(factors, gs, strict=True)) for gs in zip(*single, strict=True)
        ]

    stale = [torch.randn_like(p) for p in model.parameters()]
    for p, old in zip(model.parameters(), stale, strict=True):
        p.grad = old.clone()
    model.largest = 0
    found = call(batch_gradient, model, nn.MSELoss(), parts)
    if isinstance(found, tuple):
        found = list(found)
    if isinstance(found, list) and any(g is None for g in found):
        raise Wrong(
            "a gradient is None: nothing has been differentiated yet, or it was cleared after backward()."
        )

    def with_stale(values):
        return [g + old for g, old in zip(values, stale, strict=True)]

    compare(
        found,
        right,
        {
            "the gradients add up over the parts: weight each by its share of the examples.": mixed(
                1, 1, 1
            ),
            "the gradients of an earlier step are still in it: clear them first.": with_stale(
                right
            ),
            "the gradients of an earlier step are still in it, and the parts are not weighted.": with_stale(
                mixed(1, 1, 1)
            ),
            "you average over the parts as if they were of one length: the small part counts for too much.": (
                mixed(1 / 3, 1 / 3, 1 / 3)
            ),
            "this is the last part alone: clear the gradients once, not before each part.": mixed(
                0, 0, 1
            ),
            "this is the last part alone, times its share: clear the gradients once, not before each part.": (
                mixed(0, 0, 1 / 6)
            ),
            "the gradient is 12 times too small: the loss is already a mean, so do not divide by the examples again.": (
                mixed(5 / 144, 5 / 144, 2 / 144)
            ),
            "each part is divided by its length, but the loss is a mean already.": mixed(
                0.2, 0.2, 0.5
            ),
            "you divide by the length of the last part, as the notes do.": mixed(0.5, 0.5, 0.5),
            "the sum over all parts is divided by the number of examples, but each part's loss is a mean already.": (
                mixed(1 / 12, 1 / 12, 1 / 12)
            ),
            "this is the gradient of the sum of the losses: divide by the number of all examples.": mixed(
                5, 5, 2
            ),
        },
        name="the list of gradients",
    )
    if model.largest > max(sizes):
        raise Wrong(
            "the gradients are right, but the model was given more than one part at a time."
        )


@exercise(
    "06.4",
    "You need the lowest loss so far and the epoch in which it came.",
    "Stop when the present epoch minus the best epoch has reached patience.",
    "for epoch, loss in enumerate(losses, 1): a loss below the lowest makes this epoch the best; otherwise look how "
    "long ago the best was.",
)
def early_stopping(early_stopping):
    losses = [5.0, 4.0, 4.5, 4.2, 3.9, 4.0, 3.9, 4.1, 4.3, 4.2, 3.0, 3.1]
    compare(
        call(early_stopping, list(losses), 3),
        (5, 8),
        {
            "epochs count from 1, and yours count from 0.": (4, 7),
            "the best epoch counts from 0: epochs count from 1.": (4, 8),
            "the number of epochs run is one too small: epochs count from 1.": (5, 7),
            "you stop one epoch too late: the third epoch without a new lowest loss is the last.": (
                5,
                9,
            ),
            "an epoch that only equals the lowest loss is no gain: it must go below.": (7, 10),
            "you compare with the epoch before; it is the lowest loss so far that counts.": (
                11,
                12,
            ),
            "the epochs without gain must be in a row: a new lowest loss sets the count back to zero.": (
                5,
                6,
            ),
            "the weights of the last epoch are not the best ones: return the epoch with the lowest loss.": (
                8,
                8,
            ),
            "the best epoch is looked for in the whole list: after the stop nothing is known.": (
                11,
                8,
            ),
            "first the best epoch, then the number of epochs run.": (8, 5),
            "the epoch is asked for, not its loss.": (3.9, 8),
        },
        name="(best epoch, epochs run)",
    )
    compare(
        call(early_stopping, [3.0, 2.0, 1.0, 1.5], 2),
        (3, 4),
        {
            "when the patience lasts to the end of the list, the best epoch is still the one with the lowest loss.": (
                4,
                4,
            )
        },
        name="(best epoch, epochs run) without a stop",
    )
    compare(
        call(early_stopping, [3.0, 2.0, 2.5, 1.0], 1), (2, 3), name="the pair with a patience of 1"
    )


@exercise(
    "06.5",
    "Make the block first: x with a column of ones behind it, (n, d + 1). Where does it go in each row?",
    "F.one_hot(weekday, 7) has a 1 at the row's weekday: multiply (n, 7, 1) by (n, 1, d + 1).",
    "flatten(1) lays the seven blocks of the product (n, 7, d + 1) side by side.",
)
def weekday_features(features):
    n, d = 9, 3
    x, weekday = torch.randn(n, d), torch.tensor([5, 0, 1, 2, 3, 4, 5, 0, 2])  # no 6 among them
    block = np.concatenate([x.numpy(), np.ones((n, 1), dtype=np.float32)], axis=1)
    cube = np.zeros((n, 7, d + 1), dtype=np.float32)
    for i, day in enumerate(weekday.tolist()):
        cube[i, day] = block[i]
    here = cube[:, :, d]

    def flat(array):
        return torch.tensor(array).reshape(n, -1)

    compare(
        call(features, x, weekday),
        flat(cube),
        {
            "the 1 behind the row of x is missing: each weekday needs its own bias.": flat(
                cube[:, :, :d]
            ),
            "the 1 stands behind the row of x, not before it.": flat(np.roll(cube, 1, axis=2)),
            "the columns are in another order: a weekday's d + 1 columns stand side by side.": flat(
                cube.transpose(0, 2, 1)
            ),
            "every block is filled: only that of the row's weekday may be.": flat(
                np.repeat(block[:, None], 7, axis=1)
            ),
            "the weekdays get biases of their own here, but they share their weights.": torch.cat(
                [x, torch.tensor(here)], dim=1
            ),
            "the ones fill all seven blocks: they, too, belong to the row's weekday only.": flat(
                np.concatenate([cube[:, :, :d], np.ones((n, 7, 1), dtype=np.float32)], axis=2)
            ),
            "there are six blocks, since 6 does not occur here: tell one_hot that there are seven classes.": flat(
                cube[:, :6]
            ),
            "the ones are outside the blocks, at the end: each block has its 1 behind its d columns.": (
                torch.cat([flat(cube[:, :, :d]), torch.tensor(here)], dim=1)
            ),
        },
        name="the matrix of features",
    )


@exercise(
    "06.6",
    "Go forward and keep z = x @ W1 + b1 and h = relu(z). Then start with the gradient by the output.",
    "By the output: back = 2 (output - y) / batch, shape (batch, 1). W2 gets h.T @ back, b2 the sum of back over the batch.",
    "By z: (back @ W2.T) where z > 0, otherwise 0. From there W1 and b1 work like W2 and b2, with x in place of h.",
)
def mlp_gradients(mlp_gradients):
    batch, inputs, hidden = 6, 4, 5
    x, y = torch.randn(batch, inputs), torch.randn(batch, 1)
    parameters = [torch.randn(*shape) for shape in ((inputs, hidden), (hidden,), (hidden, 1), (1,))]

    def slopes(activation):
        W1, b1, W2, b2 = tracked = [p.clone().requires_grad_() for p in parameters]
        z = x @ W1 + b1
        output = activation(z) @ W2 + b2
        gradients = torch.autograd.grad(F.mse_loss(output, y), [*tracked, output])
        return [g.detach() for g in gradients[:4]], z.detach(), gradients[4]

    right, z, by_output = slopes(torch.relu)
    no_mask, _, _ = slopes(lambda z: torch.relu(z).detach() + z - z.detach())
    found = call(mlp_gradients, x, y, *parameters)
    if not isinstance(found, tuple | list) or len(found) != 4:
        raise Wrong("four tensors are asked for: the gradients by W1, b1, W2 and b2.")
    found = list(found)
    compare(
        found,
        right,
        {
            "relu's slope is missing: where z < 0 nothing flows back to W1 and b1.": no_mask[:2]
            + right[2:],
            "all gradients are batch times too large: the loss is a mean over the batch.": [
                batch * g for g in right
            ],
            "all gradients are half of what they should be: the 2 of the square is missing.": [
                g / 2 for g in right
            ],
            "all signs are wrong: the error is output minus target.": [-g for g in right],
            "the gradients of the biases are means over the batch: the 1 / batch is in the loss already, so take sums.": [
                g / batch if g.ndim == 1 else g for g in right
            ],
            "W2 was multiplied by h = relu(z) on the way forward: its gradient needs h, not z.": [
                *right[:2],
                torch.einsum("ij,ik->jk", z, by_output),
                right[3],
            ],
            "the gradient by W1 is transposed: it has the shape (inputs, hidden).": [
                right[0].T,
                *right[1:],
            ],
            "the hidden units share one bias in your gradient: sum over the batch only, not over the units.": [
                right[0],
                right[1].sum(0, keepdim=True),
                *right[2:],
            ],
            "the order is W1, b1, W2, b2.": [right[2], right[3], right[0], right[1]],
        },
        name="the list of gradients (W1, b1, W2, b2)",
    )
