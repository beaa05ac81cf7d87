"""Examinations of the exercises of chapter 08, training well."""

import math

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from utils.checks.engine import NotAttempted, Wrong, call, compare, exercise


@exercise(
    "08.1",
    "Write down what the memory v ← μv + 1 holds after one, two and three steps.",
    "After t steps it is 1 + μ + … + μ^(t-1): a geometric series.",
    "A geometric series of t terms is (1 - μ^t) / (1 - μ); the step is lr times that.",
)
def constant_push(step_size):
    lr, mu = 0.1, 0.8
    w, places = torch.zeros(1, dtype=torch.double), [0.0]
    optimizer = torch.optim.SGD([w], lr=lr, momentum=mu)
    w.grad = torch.ones_like(w)
    for _ in range(40):
        optimizer.step()
        places.append(-w.item())
    t = torch.tensor([1, 2, 3, 11, 40])
    right = torch.tensor(np.diff(places)[t - 1]).float()
    compare(
        call(step_size, t, lr, mu),
        right,
        {
            "this is a step without momentum: the memory adds up the pushes.": torch.full((5,), lr),
            "this is the size that the steps reach in the end; the first ones are smaller.": torch.full(
                (5,), lr / (1 - mu)
            ),
            "PyTorch adds up and takes no average: the new gradient is not multiplied by 1 - mu.": (
                1 - mu
            )
            * right,
            "this is only the oldest push in the memory: the others must be added.": lr
            * mu ** (t - 1.0),
            "you are one step late: the first step is as long as without momentum, lr.": (
                right - lr * mu ** (t - 1.0)
            ),
            "you are one step early: at step 1 the memory holds a single push.": right
            + lr * mu ** t.float(),
            "this is how far the weight has come; the size of one step is asked for.": torch.tensor(
                places
            )[t],
        },
        name="the size of the steps",
        rtol=1e-3,
    )


@exercise(
    "08.2",
    "Two cases: t below warmup, and the rest. Check each at its first and its last step.",
    "(1 + cos(πu)) / 2 falls from 1 to 0 while u goes from 0 to 1.",
    "In the second part u is (t - warmup) / (total - warmup).",
)
def warm_up_and_cosine(rate):
    total, warmup, top = 25, 5, 0.3
    steps = [0, 1, 4, 5, 6, 13, 15, 24]

    def rates(rise, fall):
        return [top * (rise(t) if t < warmup else fall(t)) for t in steps]

    def rising(t):
        return (t + 1) / warmup

    def falling(t):
        return math.cos(math.pi / 2 * (t - warmup) / (total - warmup)) ** 2

    given = [call(rate, t, total, warmup, top) for t in steps]
    compare(
        given,
        rates(rising, falling),
        {
            "step 0 has the rate 0 and is lost: count the steps of the rise from 1.": rates(
                lambda t: t / warmup, falling
            ),
            "the rate jumps after the rise: the cosine begins at step warmup, not at step 0.": rates(
                rising, lambda t: math.cos(math.pi / 2 * t / total) ** 2
            ),
            "the fall has total - warmup steps; with total it ends far above 0.": rates(
                rising, lambda t: math.cos(math.pi / 2 * (t - warmup) / total) ** 2
            ),
            "a bare cosine falls to -1, and a negative rate climbs: lift it by 1 and halve it.": rates(
                rising, lambda t: 2 * falling(t) - 1
            ),
            "the fall begins at 2 * top: 1 + cos goes from 2 to 0, so halve it.": rates(
                rising, lambda t: 2 * falling(t)
            ),
            "that is a whole wave, and the rate rises again: half a wave ends at π, not at 2π.": rates(
                rising, lambda t: (2 * falling(t) - 1) ** 2
            ),
            "that is a quarter of a wave: it falls from the start, while half a wave begins and ends "
            "flat.": rates(rising, lambda t: falling(t) ** 0.5),
            "the rise is missing: the first steps are too large.": rates(
                lambda t: math.cos(math.pi / 2 * t / total) ** 2,
                lambda t: math.cos(math.pi / 2 * t / total) ** 2,
            ),
        },
        name="rates",
    )


class _Watched(nn.Module):
    """y = 2x, or 3x in training mode; notes how it is used."""

    def __init__(self, training):
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(2.0))
        self.trained = self.recorded = False
        self.train(training)

    def forward(self, x):
        self.trained |= self.training
        self.recorded |= torch.is_grad_enabled()
        return x * (self.factor + self.training)


@exercise(
    "08.3",
    "mse_loss gives the mean over a batch. What must a batch of two count, beside a batch of four?",
    "Add up the squared errors (mean times len(x)) and the examples; divide, and take the root at the end.",
    "Note net.training before net.eval(), and give it to net.train(…) at the end.",
)
def error_of_all(test_rmse):
    x = torch.randn(10, 1)
    y = 2 * x + torch.tensor([0.1, -0.3, 0.2, 0.1, 0.5, -0.4, 0.3, 0.2, 3.0, -2.0])[:, None]
    cut = [slice(0, 4), slice(4, 8), slice(8, 10)]
    for came_training in (True, False):
        net = _Watched(came_training)
        result = call(test_rmse, net, [(x[rows], y[rows]) for rows in cut])
        result = result.detach() if isinstance(result, torch.Tensor) else result
        if net.trained:
            raise Wrong(
                "the network is in training mode while you test: dropout would be on, so net.eval() first."
            )
        squares = (2 * x - y).double().square()
        means = torch.stack([squares[rows].mean() for rows in cut])
        compare(
            result,
            squares.mean().sqrt().item(),
            {
                "this is the mean over the batches, in which the smaller last batch counts too much: "
                "weight each by its size.": means.mean().sqrt().item(),
                "the root comes last: this is a mean of the roots of the batches.": (
                    means.sqrt() * torch.tensor([0.4, 0.4, 0.2])
                )
                .sum()
                .item(),
                "the root comes last, and the batches must be weighted by their size: this is the mean of "
                "their roots.": means.sqrt().mean().item(),
                "this is the last batch alone: each batch overwrites the one before.": means[-1]
                .sqrt()
                .item(),
                "this is the mean squared error: take the root.": squares.mean().item(),
                "mse_loss is a mean already: multiply it by len(x) before you divide the sum by all "
                "examples.": (means.sum() / 10).sqrt().item(),
                "the squared errors are added up: divide by the number of examples.": squares.sum()
                .sqrt()
                .item(),
            },
            name="the error",
        )
        if net.recorded:
            raise Wrong(
                "gradients are recorded, which eval() does not prevent: use with torch.no_grad()."
            )
        if net.training != came_training:
            raise Wrong(
                "the network came in training mode and is left in evaluation mode: set it back."
                if came_training
                else "the network came in evaluation mode and is left in training mode: set it back to "
                "what it was, not to train()."
            )


class _Small(nn.Module):
    """A layer in a small memory: notes what goes through it, and how much at a time."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 4)
        self.largest = self.waiting = self.most_waiting = 0

    def forward(self, x):
        scores = self.layer(x)
        self.largest = max(self.largest, len(x))
        if scores.requires_grad:
            self.waiting += 1
            self.most_waiting = max(self.most_waiting, self.waiting)
            scores.register_hook(self._backward)
        return scores

    def _backward(self, gradient):
        self.waiting -= 1


@exercise(
    "08.4",
    "backward() adds to .grad. So what must be true of the losses of the pieces, that their sum is the mean?",
    "Divide the sum of a piece's losses by the number of all examples, not by that of the piece.",
    'zero_grad() once, then for each piece: (cross_entropy(…, reduction="sum") / count).backward().',
)
def gradient_in_pieces(accumulate):
    net, x, y = _Small(), torch.randn(11, 3), torch.randint(0, 4, (11,))
    weights = list(net.parameters())

    def gradient(scale_of, rows_of=(slice(0, 4), slice(4, 8), slice(8, 11))):
        parts = [
            torch.autograd.grad(
                scale_of(rows) * F.cross_entropy(net.layer(x[rows]), y[rows]), weights
            )
            for rows in rows_of
        ]
        return [sum(part) for part in zip(*parts, strict=True)]

    right = gradient(lambda _: 1, [slice(0, 11)])
    old = [torch.randn_like(w) for w in weights]
    with torch.no_grad():
        every = F.cross_entropy(net.layer(x), y, reduction="none")
    pieces = [(x[:4], y[:4]), (x[4:8], y[4:8]), (x[8:], y[8:])]
    for w, o in zip(weights, old, strict=True):
        w.grad = o.clone()
    loss = call(accumulate, net, pieces)
    if net.largest > 4:
        raise Wrong("all the pieces go through the network at once: only one fits into the memory.")
    found = [w.grad for w in weights]
    if any(g is None for g in found):
        raise Wrong(
            "a parameter has no gradient in .grad: backward() must put it there, in the loop."
        )
    if all(torch.equal(g, o) for g, o in zip(found, old, strict=True)):
        raise Wrong(".grad is what it was before: call backward() on the loss of each piece.")
    if net.most_waiting > 1:
        raise Wrong(
            "a piece goes forward while another still waits for backward(), and its graph fills the "
            "memory: call backward() in the loop."
        )
    compare(
        found,
        right,
        {
            "the gradients of the means are added up: divide by the number of all examples.": gradient(
                lambda _: 1
            ),
            "this is the mean over the pieces, in which the examples of the smaller one count too much: "
            "weight by size.": gradient(lambda _: 1 / 3),
            "the gradient is 11 times too large: the mean over all examples is asked for.": [
                11 * g for g in right
            ],
            "the gradient is 11 times too small: mean and division, both, is once too often.": [
                g / 11 for g in right
            ],
            "this is the last piece alone: clear the gradients once, before the loop.": gradient(
                lambda _: 3 / 11, [slice(8, 11)]
            ),
            "this is the last piece alone, and its mean: clear the gradients once, before the loop, and "
            "weight by size.": gradient(lambda _: 1, [slice(8, 11)]),
            "what lay in .grad before is still in it: clear it first.": [
                g + o for g, o in zip(right, old, strict=True)
            ],
        },
        name="gradients",
    )
    compare(
        loss,
        every.mean().item(),
        {
            "the gradients are right, but the loss is the mean over the pieces: weight by size.": (
                every[:4].mean() + every[4:8].mean() + every[8:].mean()
            ).item()
            / 3,
            "the gradients are right, but the loss is that of the last piece alone: add up.": every[
                8:
            ].sum()
            / 11,
            "the gradients are right, but the loss is a sum: divide by the number of all examples.": every.sum().item(),
        },
        name="the mean loss",
    )


@exercise(
    "08.5",
    "Keep two things while you go through the epochs: the best loss, and the epoch it came from.",
    "The number of epochs without gain is the present epoch minus the best one.",
    "Compare each loss with the best so far, not with the one before; `<` and not `<=`.",
)
def stopping(early_stopping):
    compare(
        call(early_stopping, [3.0, 2.0, 1.5], 5),
        (3, 3),
        {"count the epochs from 1: the first loss belongs to epoch 1.": (2, 2)},
        name="(last epoch, epoch kept), of losses that always fall",
    )
    compare(
        call(early_stopping, [1.0, 0.8, 0.9, 0.85, 0.7, 0.75, 0.9, 0.95, 0.8, 0.6], 3),
        (8, 5),
        {
            "the weights of the best epoch are kept, not those of the last.": (8, 8),
            "the epoch kept must not come from after the stop: those losses are never seen.": (
                8,
                10,
            ),
            "training never stops: count the epochs since the best one.": (10, 10),
            "the count starts afresh whenever a new best loss comes; yours goes on.": (6, 5),
            "you stop one epoch late: epochs 6, 7 and 8 are three without gain.": (9, 5),
            "you stop one epoch early: epochs 3 and 4 are only two without gain.": (4, 2),
            "count the epochs from 1: the first loss belongs to epoch 1.": (7, 4),
            "first the epoch after which training stops, then the one kept.": (5, 8),
        },
        name="(last epoch, epoch kept), with patience 3",
    )
    against_last = "compare with the best loss so far, not with that of the epoch before."
    compare(
        call(early_stopping, [1.0, 0.6, 0.9, 0.8, 0.85, 0.7, 0.65], 3),
        (5, 2),
        {against_last: (7, 7), against_last[:-1] + ": the best is at epoch 2.": (7, 2)},
        name="(last epoch, epoch kept), when the losses zigzag",
    )
    compare(
        call(early_stopping, [1.0, 0.5, 0.5, 0.5, 0.4], 2),
        (4, 2),
        {
            "an equal loss is no gain: only a loss below the best one is.": (5, 5),
            "of equal losses the first one is kept.": (4, 4),
        },
        name="(last epoch, epoch kept), with equal losses",
    )


def _ridge_by_least_squares(x, y, penalty):
    """The same minimum from an ordinary least-squares problem with extra rows."""
    extra = math.sqrt(penalty * len(x)) * np.eye(x.shape[1])
    rows = np.concatenate([x, extra]), np.concatenate([y, np.zeros(x.shape[1])])
    return np.linalg.lstsq(*rows, rcond=None)[0]


@exercise(
    "08.6",
    "Two loops: over the penalties, and over the blocks torch.arange(len(x)).tensor_split(folds).",
    "A mask that is False on the block gives the other rows: x[mask], y[mask].",
    "Add up the squared errors of all blocks, and divide by len(x) once.",
)
def blocks_left_out(cross_validate):
    rows, folds, penalties = 23, 4, [0.02, 0.3, 2.0]
    x = torch.randn(rows, 5, dtype=torch.double)
    y = x @ torch.tensor([1.0, -0.5, 0.0, 0.3, 0.0], dtype=torch.double)
    y = y + 0.5 * torch.randn(rows, dtype=torch.double) + torch.linspace(-1, 1, rows) ** 3
    a, b = x.numpy(), y.numpy()

    def squares(cuts, train_on):
        """Squared errors (penalties, rows in the order of the blocks), block by block."""
        found = []
        for block in cuts:
            others = np.setdiff1d(np.arange(rows), block)
            chosen = {"others": others, "block": block, "all": np.arange(rows)}
            chosen["past"] = others[others < block.min()]
            fitted = chosen[train_on]
            tested = others if train_on == "block" else block
            weights = [_ridge_by_least_squares(a[fitted], b[fitted], p) for p in penalties]
            found.append(np.stack([(a[tested] @ w - b[tested]) ** 2 for w in weights]))
        return found

    def mean(found):
        return torch.tensor(np.concatenate(found, 1).mean(1))

    cuts = np.array_split(np.arange(rows), folds)  # 6, 6, 6 and 5 rows
    found = squares(cuts, "others")
    right = mean(found)
    short = [np.arange(k * 5, k * 5 + 5) for k in range(folds)]
    compare(
        call(cross_validate, x, y, penalties, folds),
        right,
        {
            "each block is forecast with weights that were fitted on it too: leave it out.": mean(
                squares(cuts, "all")
            ),
            "you fit on the block and test on the others: it is the other way round.": mean(
                squares(cuts, "block")
            ),
            "this is the mean over the blocks, and they differ in size: take it over all rows.": (
                torch.tensor(np.stack([f.mean(1) for f in found]).mean(0))
            ),
            "the last block alone is returned: add up the blocks.": torch.tensor(found[-1].mean(1)),
            "the squared errors are added up: divide by the number of rows.": rows * right,
            "this is the root: the mean squared error is asked for.": right.sqrt(),
            "some rows are in no block: len(x) // folds leaves a rest, so use tensor_split.": mean(
                squares(short, "others")
            ),
            "the rows go to the blocks in turn: the blocks are to be consecutive rows.": mean(
                squares([np.arange(k, rows, folds) for k in range(folds)], "others")
            ),
        },
        name="the error for each penalty",
    )


class _Rule:
    """Lion in NumPy, with one mistake."""

    def __init__(self, lr, betas=(0.9, 0.99), decay=0.0, mistake=""):
        self.lr, self.betas, self.decay, self.mistake = lr, betas, decay, mistake
        self.m = None

    def __call__(self, w, g):
        first, second = self.betas
        m = np.zeros_like(w) if self.m is None else self.m
        if self.mistake == "coupled":
            g = g + self.decay * w
        if self.mistake == "betas swapped":
            first, second = second, first
        mixed = first * m + (1 - first) * g
        self.m = mixed if self.mistake == "one beta" else second * m + (1 - second) * g
        if self.mistake == "order":
            mixed = first * self.m + (1 - first) * g
        if self.mistake == "sign of g":
            mixed = g
        if self.mistake == "sign of m":
            mixed = self.m
        step = mixed if self.mistake == "no sign" else np.sign(mixed)
        decay = 0.0 if self.mistake in ("coupled", "no decay") else self.decay
        if self.mistake == "decay without lr":
            return (w - self.lr * step) - decay * w
        return w + self.lr * (step if self.mistake == "climbs" else -step) - self.lr * decay * w


_GRADIENTS = [
    [-2.7, 15.7, -49.2],
    [0.9, -0.3, 1.1],
    [10.8, 1.5, 3.9],
    [0.2, -9.1, -0.6],
    [-0.3, 21.4, 3.3],
    [2.0, -26.7, 0.2],
]


@exercise(
    "08.7",
    "self.state[w] is an empty dictionary at first: m = self.state[w].setdefault('m', torch.zeros_like(w)).",
    "Mix with the first beta, take the sign and step; only then replace the stored m, with the second beta.",
    "w -= … works in place; w = w - … makes a new tensor and leaves the weight where it was.",
)
def lion(Lion):
    lr, decay, start = 0.1, 0.5, [1.0, -2.0, 0.3]

    def made(parameters, **options):
        optimizer = call(Lion, parameters, changes=True, **options)  # torch fills in the groups
        if not isinstance(optimizer, torch.optim.Optimizer):
            raise Wrong("Lion must stay a class that is derived from torch.optim.Optimizer.")
        return optimizer

    def path(mistake="", steps=6, **options):
        rule, w = _Rule(lr, mistake=mistake, **options), np.array(start)
        for g in _GRADIENTS[:steps]:
            w = rule(w, np.array(g))
        return torch.tensor(w)

    def run(optimizer, w, gradients=_GRADIENTS):
        for g in gradients:
            w.grad = torch.tensor(g, dtype=w.dtype)
            call(optimizer.step)
        return w.detach()

    def weight():
        return torch.tensor(start, dtype=torch.double, requires_grad=True)

    w = weight()
    plain = made([w], lr=lr)
    result = run(plain, w)
    if torch.equal(result, torch.tensor(start, dtype=torch.double)):
        if not plain.state:
            raise NotAttempted
        raise Wrong("the weights do not move: change them in place, with w -= … .")
    compare(
        result,
        path(),
        {
            "the sign is missing: every weight moves by lr.": path("no sign"),
            "the steps go up the slope: subtract them.": path("climbs"),
            "the memory changes with the second beta, the step with the first; you use the first for both.": path(
                "one beta"
            ),
            "the two betas are swapped: the first is for the step, the second for the memory.": path(
                "betas swapped"
            ),
            "the memory is renewed too early: the step uses the old m.": path("order"),
            "this is the sign of the gradient alone: mix it with the memory, and keep that from step to step.": path(
                "sign of g"
            ),
            "this is the sign of the new memory: the step mixes the old m with the gradient.": path(
                "sign of m"
            ),
        },
        name=f"w after {len(_GRADIENTS)} steps without decay",
    )
    w = weight()
    compare(
        run(made([w], lr=lr, weight_decay=decay), w),
        path(decay=decay),
        {
            "the weight decay is missing.": path(),
            "the decay is in the gradient, where the sign swallows it: take it from the weight directly.": path(
                "coupled", decay=decay
            ),
            "the decay must be multiplied by lr too.": path("decay without lr", decay=decay),
        },
        name="w after the steps with decay",
    )
    w, idle, quick = weight(), weight(), weight()
    grouped = made([{"params": [w, idle]}, {"params": [quick], "lr": 1.0}], lr=lr)
    w.grad = quick.grad = torch.tensor(_GRADIENTS[0], dtype=torch.double)
    call(grouped.step)
    compare(
        (idle.detach(), quick.detach()),
        (
            torch.tensor(start).double(),
            torch.tensor(start).double() - torch.tensor([-1.0, 1.0, -1.0]),
        ),
        {
            "each group has its own rate: take lr from group, not from self.defaults.": (
                torch.tensor(start).double(),
                path(steps=1),
            )
        },
        name="(a weight without gradient, a weight in a group with lr 1)",
    )
    w = weight()
    before = made([w], lr=lr)
    run(before, w, _GRADIENTS[:3])
    after = made([w], lr=lr)
    after.load_state_dict(before.state_dict())
    compare(
        run(after, w, _GRADIENTS[3:]),
        path(),
        {
            "after a checkpoint the memory is gone: keep m in self.state[w], which state_dict() saves.": (
                _interrupted(lr, start)
            )
        },
        name="w when the run is taken up from state_dict()",
    )


def _interrupted(lr, start):
    """Lion that loses its memory after step 3."""
    rule, w = _Rule(lr), np.array(start)
    for t, g in enumerate(_GRADIENTS):
        if t == 3:
            rule = _Rule(lr)
        w = rule(w, np.array(g))
    return torch.tensor(w)
