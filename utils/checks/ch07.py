"""Examinations of the exercises of chapter 07, MLP classification."""

from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import Normal
from torch.nn import functional as F

from utils.checks.engine import Wrong, call, compare, exercise


@exercise(
    "07.1",
    "Count how often each class occurs. Which class should a single answer name?",
    "An example of class k costs minus the logarithm of the share of k, and the share of k is the share of such examples.",
    "Cross-entropy: minus the sum of share · ln(share) over the classes that occur; accuracy: the largest share.",
)
def constant_answer(constant_answer):
    counts = np.array([4, 0, 2, 10])
    labels = torch.tensor(np.repeat(np.arange(4), counts))[torch.randperm(16)]
    logs = np.log(np.array([16 / 4, 16 / 2, 16 / 10]))
    loss = float(np.array([4, 2, 10]) @ logs) / 16
    best, nan = 10 / 16, float("nan")
    compare(
        call(constant_answer, labels),
        (best, loss),
        {
            "a class that does not occur makes 0 · ln 0, which is nan: leave such classes out.": (
                best,
                nan,
            ),
            "ln of the number of classes is the loss for equal shares; these classes are not equal.": (
                best,
                float(np.log(4)),
            ),
            "ln of the number of classes that occur is the loss for equal shares; these are not equal.": (
                best,
                float(np.log(3)),
            ),
            "this guesses all classes alike: the shares are known, so use them.": (
                0.25,
                float(np.log(4)),
            ),
            "these are bits: natural logarithms are asked for.": (best, loss / float(np.log(2))),
            "the cross-entropy is positive: a minus is missing.": (best, -loss),
            "weight each class's -ln(share) by its share: you take their plain mean.": (
                best,
                float(logs.mean()),
            ),
            "each example costs -ln of the share of its own class; you charge the largest share to all.": (
                best,
                float(logs[2]),
            ),
            "this is the accuracy of drawing the answer at random; the constant answer always names the largest class.": (
                float((counts**2).sum()) / 256,
                loss,
            ),
            "first the accuracy, then the cross-entropy.": (loss, best),
        },
        name="(accuracy, cross-entropy)",
    )


@exercise(
    "07.2",
    "For target 0 the loss is ln(1 + exp(z)), for target 1 it is ln(1 + exp(-z)), that is, the first minus z.",
    "exp overflows for large positive arguments only: ln(1 + exp(z)) = max(z, 0) + ln(1 + exp(-|z|)).",
    "Together: max(z, 0) - z·y + log1p(exp(-|z|)), and the mean of it.",
)
def bce(bce):
    z = torch.randn(7, 1) * 2
    y = torch.tensor([1.0, 0, 0, 1, 1, 0, 1])[:, None]
    library = F.binary_cross_entropy_with_logits
    compare(
        call(bce, z, y),
        library(z, y),
        {
            "this is the sum: the mean over all elements is asked for.": library(
                z, y, reduction="sum"
            ),
            "one loss per element: take the mean.": library(z, y, reduction="none"),
            "targets 0 and 1 are the wrong way round.": library(z, 1 - y),
            "the sign is wrong: a cross-entropy is positive.": -library(z, y),
            "the term for target 0 is missing.": -(y * F.logsigmoid(z)).mean(),
            "the term for target 1 is missing.": -((1 - y) * F.logsigmoid(-z)).mean(),
            "a sigmoid comes first here and then another one: z are logits already.": library(
                torch.sigmoid(z), y
            ),
        },
        name="the loss",
    )
    z = torch.tensor([-200.0, 200, 150, -120, 3, -1]).requires_grad_()
    y = torch.tensor([1.0, 0, 1, 0, 1, 1])
    loss, expected = call(bce, z, y), library(z, y)
    if not isinstance(loss, Tensor) or not loss.requires_grad:
        raise Wrong(
            "no gradient can be taken of your loss: keep it a tensor, without item() or detach()."
        )
    if loss.ndim == 0 and not loss.isfinite():
        raise Wrong(
            "for logits like -200 your loss is nan or inf: exp overflows, or the sigmoid is exactly 0 or 1 and "
            "its logarithm is taken."
        )
    if loss.ndim == 0 and loss < 0.97 * expected:
        raise Wrong(
            "the worst mistakes are cut off, by a clamp or a small number in the logarithm: for target 1 a logit of "
            "-200 costs 200."
        )
    compare(loss.detach(), expected.detach(), name="the loss for large logits")
    [gradient] = torch.autograd.grad(loss, z, allow_unused=True)
    if gradient is None:
        raise Wrong(
            "your loss does not depend on z for autograd: compute with z itself, not with a copy."
        )
    if gradient.isnan().any():
        raise Wrong(
            "the loss is right, but its gradient is nan: torch.where differentiates the branch that is not taken, "
            "too, and that overflows."
        )
    compare(gradient, torch.autograd.grad(expected, z)[0], name="the gradient for large logits")


@exercise(
    "07.3",
    "CrossEntropyLoss wants the plain output of the last nn.Linear.",
    "A plain Python list hides its layers from parameters(): use nn.ModuleList or nn.Sequential.",
    "In forward: x = images.flatten(1), then each layer, with F.relu behind all but the last.",
)
def classifier(Classifier):
    sizes, images = [12, 7, 5, 3], torch.randn(6, 1, 4, 3)
    model = call(Classifier, list(sizes))
    found = call(model, images)
    if not isinstance(model, nn.Module):
        raise Wrong("the class must be a subclass of nn.Module.")
    parameters = {tuple(p.shape): p.detach() for p in model.parameters()}
    shapes = [(b, a) for a, b in pairwise(sizes)] + [(b,) for b in sizes[1:]]
    if not parameters:
        raise Wrong(
            "parameters() finds nothing to train: a plain list hides its layers, so use nn.ModuleList or "
            "nn.Sequential."
        )
    if sorted(parameters) != sorted(shapes) or len(list(model.parameters())) != len(shapes):
        raise Wrong(
            f"for sizes {sizes} the parameters have the shapes {sorted(parameters)}; expected are a weight and a "
            f"bias for each layer: {sorted(shapes)}."
        )

    def network(images, between=torch.relu, before=lambda x: x):
        x = before(images.flatten(1))
        for a, b in pairwise(sizes):
            x = F.linear(x, parameters[b, a], parameters[b,])
            x = between(x) if b != sizes[-1] else x
        return x

    logits = network(images)
    compare(
        found.detach() if isinstance(found, Tensor) else found,
        logits,
        {
            "these are probabilities: CrossEntropyLoss holds a softmax, so end with the last linear layer.": (
                logits.softmax(dim=1)
            ),
            "this softmax runs over the batch; and CrossEntropyLoss needs none.": logits.softmax(
                dim=0
            ),
            "these are log-probabilities: they belong to NLLLoss, CrossEntropyLoss takes logits.": (
                logits.log_softmax(dim=1)
            ),
            "a sigmoid squeezes the logits before the softmax of the loss: leave it out.": logits.sigmoid(),
            "there is a ReLU behind the last layer, too: logits must be able to be negative.": logits.relu(),
            "without ReLU between them, the layers are together one linear layer.": network(
                images, lambda x: x
            ),
            "ReLU stands behind the hidden layers, not before the first one: it cuts off negative pixels.": (
                network(images, before=torch.relu)
            ),
            "these are the classes: the loss needs the logits.": logits.argmax(dim=1),
        },
        name="the output",
    )
    single = call(model, images[:1])
    compare(
        single.detach() if isinstance(single, Tensor) else single,
        logits[:1],
        {
            "a batch of one image has lost its batch axis: squeeze() removes every axis of length one.": logits[
                0
            ]
        },
        name="the output for a single image",
    )


@exercise(
    "07.4",
    "The loop of chapter 06: forward, loss, gradients to zero, backward, step. The data fit into one batch.",
    "Some 30 hidden units with ReLU, F.binary_cross_entropy_with_logits, Adam with a rate of 0.01 to 0.05.",
    "nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 1)) and a few hundred steps are enough.",
)
def learn_zone(learn_zone):
    def addresses(n):
        x = 2 * torch.rand(n, 2) - 1
        return x, (x.norm(dim=1, keepdim=True) < 0.8).float()

    (x, y), (new_x, new_y) = addresses(400), addresses(3000)
    model = call(learn_zone, x, y)
    if isinstance(model, nn.Module):
        model.eval()
    found = call(model, new_x)
    if not isinstance(found, Tensor) or found.is_complex() or found.device != new_x.device:
        raise Wrong("your network must return a tensor of logits, on the device of the addresses.")
    if found.shape != (3000, 1):
        raise Wrong(
            f"for 3,000 addresses your network returns the shape {tuple(found.shape)}, and one logit for each, "
            "(3000, 1), is asked for."
        )
    output = found.detach().float()
    if not output.isfinite().all():
        raise Wrong("the network returns nan or inf: the learning rate is too large.")
    if output.min() >= 0 and output.max() <= 1:
        raise Wrong(
            "these are probabilities or classes: the network must return logits, negative ones for outside."
        )
    right = ((output > 0) == (new_y > 0.5)).double().mean().item()
    if right >= 0.94:
        return
    if output.max() - output.min() < 1e-4:
        raise Wrong(
            "your network gives the same answer everywhere: its ReLU units may all be dead, so take more of them."
        )
    start, end = new_x[:1500], new_x[1500:]
    middle = call(model, (start + end) / 2).detach().float()
    if torch.allclose(middle, (output[:1500] + output[1500:]) / 2, atol=1e-4, rtol=1e-3):
        raise Wrong(
            f"{right:.0%} of new addresses are right: your network is linear, so its border is straight. It needs a "
            "hidden layer with ReLU behind it."
        )
    if right < 0.2:
        raise Wrong(
            f"{right:.0%} of new addresses are right: it has learnt the opposite, a positive logit means inside."
        )
    if right < 0.7:
        raise Wrong(
            f"{right:.0%} of new addresses are right, hardly more than by guessing: are the steps taken, and are "
            "there enough of them, at a rate that is not too small?"
        )
    raise Wrong(
        f"{right:.0%} of new addresses are right, and 94 % are asked for: more steps, a larger rate or more units."
    )


@exercise(
    "07.5",
    "Make the confusion matrix first: one row per true class, one column per answer.",
    "Mistakes in either direction: add the transpose. The diagonal does not count.",
    "(table + table.T).triu(diagonal=1) holds each pair once; its argmax is a place in the flattened table.",
)
def most_confused(most_confused):
    cases = [(0, 0, 8), (1, 1, 7), (2, 2, 9), (3, 3, 2), (4, 4, 3)]
    cases += [(0, 4, 3), (4, 0, 4), (2, 1, 6), (1, 3, 4), (3, 1, 1), (3, 0, 5), (4, 3, 2)]
    labels = torch.tensor([true for true, _, times in cases for _ in range(times)])
    guess = torch.tensor([said for _, said, times in cases for _ in range(times)])
    order = torch.randperm(len(labels))
    labels, guess = labels[order], guess[order]
    logits = torch.randn(len(labels), 5)
    logits[torch.arange(len(labels)), guess] = logits.amax(dim=1) + 1
    one_way = "this counts one direction only: add both, a taken for b and b taken for a."
    compare(
        call(most_confused, logits, labels),
        (0, 4, 7),
        {
            one_way: (1, 2, 6),
            "this counts one direction only; and the smaller class is to come first.": (2, 1, 6),
            "the diagonal holds the right answers: it must not count.": (2, 2, 9),
            "the diagonal holds the right answers, and counts twice when the transpose is added.": (
                2,
                2,
                18,
            ),
            "put the smaller class first.": (4, 0, 7),
            "the pair is right, but the count holds one direction only.": (0, 4, 4),
            "the pair is right, but the count holds only the first class taken for the second.": (
                0,
                4,
                3,
            ),
            "the pair is right, but each mistake is counted twice.": (0, 4, 14),
            "the least confused pair is not asked for: take the largest count.": (3, 4, 2),
        },
        name="(a, b, count)",
        rtol=1e-9,
    )


@exercise(
    "07.6",
    "By Bayes, the odds of class 1 are share · density 1 divided by (1 - share) · density 0. Take logarithms.",
    "In the difference of the log densities, -(x - d)²/2 + (x + d)²/2, the squares cancel: 2·d·x remains for each coordinate.",
    "The logit is 2·d times the sum of x over the dimensions, plus ln(share / (1 - share)).",
)
def posterior(posterior):
    n, d, share = 7, 0.1, 0.85
    y = torch.tensor([1.0, 1, 0, 1, 0, 1, 0])[:, None]
    x = torch.randn(n, 200) + d * (2 * y - 1)

    def densities(spread=1.0):
        wide = x.double()
        return [Normal(mean, spread).log_prob(wide).sum(dim=1) for mean in (d, -d)]

    def mixed(share, first=1.0, second=0.0):
        one, zero = densities()
        logit = first * (one - zero) + second + np.log(share / (1 - share))
        return torch.sigmoid(logit).float()

    one, zero = densities()
    compare(
        call(posterior, x, d, share),
        mixed(share),
        {
            "200 densities multiplied are zero in float32, and 0/0 is nan: add logarithms instead.": (
                torch.full((n,), float("nan"))
            ),
            "the share of the classes plays no part in it yet: add ln(share / (1 - share)).": mixed(
                0.5
            ),
            "the classes' shares are the wrong way round.": mixed(1 - share),
            "these are the probabilities of class 0.": 1 - mixed(share),
            "the slope is half of what it should be: (x + d)² - (x - d)² = 4·d·x, half of which counts.": mixed(
                share, 0.5
            ),
            "the slope is twice too large: a log density holds minus half the square of the distance.": mixed(
                share, 2.0
            ),
            "these are logits: the sigmoid makes probabilities of them.": (
                mixed(share).double().logit().float()
            ),
            "the prior belongs into it as ln(share / (1 - share)), not as ln(share).": mixed(
                0.5, second=np.log(share)
            ),
            "add over the dimensions: the logit needs the sum of x, not its mean.": mixed(
                share, 1 / 200
            ),
            "this is only a decision: the probability is asked for.": (mixed(share) > 0.5).float(),
            "these are probabilities times the prior: divide by the sum over both classes.": (
                share * torch.sigmoid(one - zero)
            ).float(),
        },
        name="the probability of class 1",
        atol=1e-5,
    )
