"""Typical wrong answers to the exercises of chapter 08: (code, part of the diagnosis)."""

_RMSE = """
def test_rmse(net, batches):
    was_training = net.training
    net.eval()
    total = count = 0
    with torch.no_grad():
        for x, y in batches:
            total += F.mse_loss(net(x), y).item() * len(x)
            count += len(x)
    net.train(was_training)
    return (total / count) ** 0.5
"""

_ACCUMULATE = """
def accumulate(net, pieces):
    net.zero_grad()
    count, total = sum(len(y) for _, y in pieces), 0.0
    for x, y in pieces:
        loss = F.cross_entropy(net(x), y) * len(y) / count
        loss.backward()
        total += loss.item()
    return total
"""

_STOP = """
def early_stopping(losses, patience):
    best, kept, waited = math.inf, 0, 0
    for epoch, loss in enumerate(losses, 1):
        if loss < best:
            best, kept, waited = loss, epoch, 0
        else:
            waited += 1
        if waited == patience:
            break
    return epoch, kept
"""

_FOLDS = """
def cross_validate(x, y, penalties, folds):
    errors = []
    for penalty in penalties:
        misses = []
        for block in torch.arange(len(x)).tensor_split(folds):
            others = torch.tensor([i for i in range(len(x)) if i not in block])
            misses.append((x[block] @ ridge(x[others], y[others], penalty) - y[block]) ** 2)
        errors.append(torch.cat(misses).mean())
    return torch.stack(errors)
"""

_LION = """
class Lion(torch.optim.Optimizer):
    def __init__(self, parameters, lr=1e-4, betas=(0.9, 0.99), weight_decay=0.0):
        super().__init__(parameters, {"lr": lr, "betas": betas, "weight_decay": weight_decay})
        self.memory = {}

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for w in group["params"]:
                if w.grad is None:
                    continue
                g, (b1, b2), lr, decay = w.grad, group["betas"], group["lr"], group["weight_decay"]
                m = self.state[w].get("m", torch.zeros_like(w))
                u = torch.sign(b1 * m + (1 - b1) * g)
                w -= lr * (u + decay * w)
                self.state[w]["m"] = b2 * m + (1 - b2) * g
"""


def _but(source, *changes):
    """A right answer with a mistake in it."""
    for old, new in changes:
        assert old in source, old
        source = source.replace(old, new)
    return source


WRONG = {
    "08.1": [
        ("def step_size(t, lr, mu): return lr * torch.ones(t.shape)", "without momentum"),
        (
            "def step_size(t, lr, mu): return lr / (1 - mu) * torch.ones(t.shape)",
            "reach in the end",
        ),
        ("def step_size(t, lr, mu): return lr * (1 - mu**t)", "takes no average"),
        ("def step_size(t, lr, mu): return lr * mu ** (t - 1)", "only the oldest push"),
        ("def step_size(t, lr, mu): return lr * (1 - mu ** (t - 1)) / (1 - mu)", "one step late"),
        ("def step_size(t, lr, mu): return lr * (1 - mu ** (t + 1)) / (1 - mu)", "one step early"),
        (
            "def step_size(t, lr, mu):\n    w, v, places = 0.0, 0.0, [0.0]\n    for _ in range(t.max()):\n"
            "        v = mu * v + 1\n        w += lr * v\n        places.append(w)\n"
            "    return torch.tensor(places)[t]",
            "how far the weight has come",
        ),
    ],
    "08.2": [
        (
            "def rate(t, total, warmup, top):\n    if t < warmup: return top * t / warmup\n"
            "    return top * (1 + math.cos(math.pi * (t - warmup) / (total - warmup))) / 2",
            "step 0 has the rate 0",
        ),
        (
            "def rate(t, total, warmup, top):\n    if t < warmup: return top * (t + 1) / warmup\n"
            "    return top * (1 + math.cos(math.pi * t / total)) / 2",
            "the rate jumps after the rise",
        ),
        (
            "def rate(t, total, warmup, top):\n    if t < warmup: return top * (t + 1) / warmup\n"
            "    return top * (1 + math.cos(math.pi * (t - warmup) / total)) / 2",
            "ends far above 0",
        ),
        (
            "def rate(t, total, warmup, top):\n    if t < warmup: return top * (t + 1) / warmup\n"
            "    return top * math.cos(math.pi * (t - warmup) / (total - warmup))",
            "a negative rate climbs",
        ),
        (
            "def rate(t, total, warmup, top):\n    if t < warmup: return top * (t + 1) / warmup\n"
            "    return top * (1 + math.cos(math.pi * (t - warmup) / (total - warmup)))",
            "begins at 2 * top",
        ),
        (
            "def rate(t, total, warmup, top):\n    if t < warmup: return top * (t + 1) / warmup\n"
            "    return top * (1 + math.cos(2 * math.pi * (t - warmup) / (total - warmup))) / 2",
            "a whole wave",
        ),
        (
            "def rate(t, total, warmup, top):\n    if t < warmup: return top * (t + 1) / warmup\n"
            "    return top * math.cos(math.pi / 2 * (t - warmup) / (total - warmup))",
            "a quarter of a wave",
        ),
        (
            "def rate(t, total, warmup, top): return top * (1 + math.cos(math.pi * t / total)) / 2",
            "the rise is missing",
        ),
        (
            "def rate(t, total, warmup, top):\n    if t <= warmup: return top * (t + 1) / warmup\n"
            "    return top * (1 + math.cos(math.pi * (t - warmup) / (total - warmup))) / 2",
            "rates[3] is 1.2 times",
        ),
    ],
    "08.3": [
        (
            "def test_rmse(net, batches):\n    total_loss = 0\n    net.eval()\n    for x, y in batches:\n"
            "        total_loss += F.mse_loss(net(x), y)\n    return (total_loss / len(batches)).sqrt()",
            "the smaller last batch counts too much",
        ),
        (
            _but(
                _RMSE,
                ("mse_loss(net(x), y).item()", "mse_loss(net(x), y).sqrt().item()"),
                (" ** 0.5", ""),
            ),
            "the root comes last: this is a mean of the roots",
        ),
        (
            _but(
                _RMSE,
                ("mse_loss(net(x), y).item() * len(x)", "mse_loss(net(x), y).sqrt().item()"),
                ("count += len(x)", "count += 1"),
                (" ** 0.5", ""),
            ),
            "this is the mean of their roots",
        ),
        (
            _but(_RMSE, ("total += F", "total = F"), ("count += len", "count = len")),
            "the last batch alone",
        ),
        (_but(_RMSE, (" ** 0.5", "")), "this is the mean squared error"),
        (_but(_RMSE, (".item() * len(x)", ".item()")), "multiply it by len(x)"),
        (_but(_RMSE, ("total / count", "total")), "are added up: divide"),
        (_but(_RMSE, ("    net.eval()\n", "")), "in training mode while you test"),
        (
            _but(_RMSE, ("torch.no_grad()", "torch.enable_grad()")),
            "gradients are recorded",
        ),
        (_but(_RMSE, ("    net.train(was_training)\n", "")), "left in evaluation mode"),
        (_but(_RMSE, ("net.train(was_training)", "net.train()")), "left in training mode"),
    ],
    "08.4": [
        (_but(_ACCUMULATE, (" * len(y) / count", "")), "the gradients of the means are added up"),
        (
            _but(_ACCUMULATE, (" * len(y) / count", " / len(pieces)")),
            "the mean over the pieces, in which the examples",
        ),
        (_but(_ACCUMULATE, (" / count", "")), "11 times too large"),
        (_but(_ACCUMULATE, (" / count", " / count**2")), "11 times too small"),
        (
            _but(
                _ACCUMULATE,
                ("for x, y in pieces:\n", "for x, y in pieces:\n        net.zero_grad()\n"),
            ),
            "the last piece alone: clear",
        ),
        (
            _but(
                _ACCUMULATE,
                ("for x, y in pieces:\n", "for x, y in pieces:\n        net.zero_grad()\n"),
                (" * len(y) / count", ""),
            ),
            "the last piece alone, and its mean",
        ),
        (_but(_ACCUMULATE, ("    net.zero_grad()\n", "")), "what lay in .grad before"),
        (
            _but(_ACCUMULATE, ("    net.zero_grad()\n", ""), ("        loss.backward()\n", "")),
            "is what it was before",
        ),
        (
            "def accumulate(net, pieces):\n    net.zero_grad()\n"
            "    x, y = (torch.cat(parts) for parts in zip(*pieces))\n    loss = F.cross_entropy(net(x), y)\n"
            "    loss.backward()\n    return loss.item()",
            "all the pieces go through the network at once",
        ),
        (
            "def accumulate(net, pieces):\n    net.zero_grad()\n    count = sum(len(y) for _, y in pieces)\n"
            '    loss = sum(F.cross_entropy(net(x), y, reduction="sum") for x, y in pieces) / count\n'
            "    loss.backward()\n    return loss.item()",
            "still waits for backward()",
        ),
        (
            _but(
                _ACCUMULATE,
                ("total += loss.item()", "total += loss.item() * count / len(y) / len(pieces)"),
            ),
            "the loss is the mean over the pieces",
        ),
        (
            _but(_ACCUMULATE, ("total += loss", "total = loss")),
            "the loss is that of the last piece",
        ),
        (_but(_ACCUMULATE, ("return total", "return total * count")), "the loss is a sum"),
        (
            _but(
                _ACCUMULATE,
                (
                    "    return total",
                    "    torch.optim.SGD(net.parameters(), 0.1).step()\n    return total",
                ),
            ),
            "changes the inputs",
        ),
        (_but(_ACCUMULATE, ("        loss.backward()\n", "")), "has no gradient in .grad"),
    ],
    "08.5": [
        (_but(_STOP, ("return epoch, kept", "return epoch, epoch")), "not those of the last"),
        (
            _but(
                _STOP,
                (
                    "return epoch, kept",
                    "return epoch, 1 + min(range(len(losses)), key=losses.__getitem__)",
                ),
            ),
            "must not come from after the stop",
        ),
        (_but(_STOP, ("            break", "            pass")), "training never stops"),
        (_but(_STOP, ("loss, epoch, 0", "loss, epoch, waited")), "yours goes on"),
        (_but(_STOP, ("waited == patience", "waited > patience")), "one epoch late"),
        (_but(_STOP, ("waited == patience", "waited == patience - 1")), "one epoch early"),
        (_but(_STOP, ("enumerate(losses, 1)", "enumerate(losses)")), "count the epochs from 1"),
        (_but(_STOP, ("return epoch, kept", "return kept, epoch")), "first the epoch after which"),
        (
            "def early_stopping(losses, patience):\n    waited, before = 0, math.inf\n"
            "    for epoch, loss in enumerate(losses, 1):\n"
            "        waited, before = (0 if loss < before else waited + 1), loss\n"
            "        if waited == patience: break\n    seen = losses[:epoch]\n"
            "    return epoch, 1 + seen.index(min(seen))",
            "not with that of the epoch before: the best is at epoch 2",
        ),
        (_but(_STOP, ("loss < best", "loss <= best")), "an equal loss is no gain"),
        (
            _but(
                _STOP,
                (
                    "return epoch, kept",
                    "return epoch, max(i for i, l in enumerate(losses, 1) if l == best)",
                ),
            ),
            "of equal losses the first",
        ),
    ],
    "08.6": [
        (_but(_FOLDS, ("x[others], y[others]", "x, y")), "leave it out"),
        (
            _but(
                _FOLDS,
                (
                    "(x[block] @ ridge(x[others], y[others], penalty) - y[block])",
                    "(x[others] @ ridge(x[block], y[block], penalty) - y[others])",
                ),
            ),
            "the other way round",
        ),
        (
            _but(_FOLDS, ("- y[block]) ** 2)", "- y[block]).square().mean()[None])")),
            "the mean over the blocks",
        ),
        (_but(_FOLDS, ("torch.cat(misses)", "misses[-1]")), "the last block alone"),
        (_but(_FOLDS, ("torch.cat(misses).mean()", "torch.cat(misses).sum()")), "are added up"),
        (_but(_FOLDS, (".mean())", ".mean().sqrt())")), "this is the root"),
        (
            _but(
                _FOLDS,
                (
                    "torch.arange(len(x)).tensor_split(folds)",
                    "torch.arange(len(x) // folds * folds).split(len(x) // folds)",
                ),
            ),
            "some rows are in no block",
        ),
        (
            _but(
                _FOLDS,
                (
                    "torch.arange(len(x)).tensor_split(folds)",
                    "[torch.arange(k, len(x), folds) for k in range(folds)]",
                ),
            ),
            "go to the blocks in turn",
        ),
        (
            _but(
                _FOLDS,
                (
                    "return torch.stack(errors)",
                    "return penalties[int(torch.stack(errors).argmin())]",
                ),
            ),
            "is a float, and a tensor",
        ),
    ],
    "08.7": [
        (
            _but(_LION, ("torch.sign(b1 * m + (1 - b1) * g)", "b1 * m + (1 - b1) * g")),
            "the sign is missing",
        ),
        (
            _but(_LION, ("w -= lr * (u + decay * w)", "w += lr * (u + decay * w)")),
            "go up the slope",
        ),
        (
            _but(_LION, ("b2 * m + (1 - b2) * g", "b1 * m + (1 - b1) * g")),
            "you use the first for both",
        ),
        (_but(_LION, ("(b1, b2)", "(b2, b1)")), "the two betas are swapped"),
        (
            _but(
                _LION,
                (
                    "                u = ",
                    "                m = b2 * m + (1 - b2) * g\n                u = ",
                ),
                ('["m"] = b2 * m + (1 - b2) * g', '["m"] = m'),
            ),
            "renewed too early",
        ),
        (
            _but(_LION, ("torch.sign(b1 * m + (1 - b1) * g)", "torch.sign(g)")),
            "the sign of the gradient alone",
        ),
        (
            _but(_LION, ("torch.sign(b1 * m + (1 - b1) * g)", "torch.sign(b2 * m + (1 - b2) * g)")),
            "the sign of the new memory",
        ),
        (_but(_LION, ("(u + decay * w)", "u")), "the weight decay is missing"),
        (
            _but(
                _LION,
                ("(u + decay * w)", "u"),
                ("m = self", "g = g + decay * w\n                m = self"),
            ),
            "where the sign swallows it",
        ),
        (_but(_LION, ("lr * (u + decay * w)", "lr * u + decay * w")), "multiplied by lr too"),
        (_but(_LION, ('group["lr"]', 'self.defaults["lr"]')), "each group has its own rate"),
        (
            _but(
                _LION,
                ("self.state[w].get(", "self.memory.get(w, {}).get("),
                ('self.state[w]["m"] = ', 'self.memory[w] = {"m": '),
                ("(1 - b2) * g", "(1 - b2) * g}"),
            ),
            "after a checkpoint the memory is gone",
        ),
        (
            _but(_LION, ("w -= lr * (u + decay * w)", "w = w - lr * (u + decay * w)")),
            "change them in place",
        ),
        (
            _but(_LION, ("if w.grad is None", "if False")),
            "your code raises TypeError",
        ),
        (
            "def Lion(parameters, lr=1e-4, betas=(0.9, 0.99), weight_decay=0.0): return list(parameters)",
            "must stay a class",
        ),
    ],
}
