"""Typical wrong answers to the exercises of chapter 06: (code, part of the diagnosis)."""

PAIRS = "zip(sizes, sizes[1:], strict=False)"
PARTS = "def batch_gradient(model, loss_fn, parts):\n"
GRADS = "    return [p.grad.clone() for p in model.parameters()]"
STOP = "def early_stopping(losses, patience):\n    best, low, bad = 0, float('inf'), 0\n"
BLOCKS = (
    "def weekday_features(x, weekday):\n    block = torch.cat([x, torch.ones_like(x[:, :1])], dim=1)\n"
    "    here = F.one_hot(weekday, 7).to(x.dtype)\n"
)
BACK = (
    "def mlp_gradients(x, y, W1, b1, W2, b2):\n    z = x @ W1 + b1\n    h = torch.relu(z)\n"
    "    back = 2 * (h @ W2 + b2 - y) / len(x)\n    back_z = (back @ W2.T) * (z > 0)\n"
)

WRONG = {
    "06.1": [
        (
            f"def count_parameters(sizes): return sum(a * b for a, b in {PAIRS})",
            "the biases are missing",
        ),
        (
            f"def count_parameters(sizes): return sum(a * b + 1 for a, b in {PAIRS})",
            "one bias per layer",
        ),
        (
            f"def count_parameters(sizes): return sum(a * b for a, b in {PAIRS}) + sum(sizes)",
            "the inputs have no biases",
        ),
        (
            f"def count_parameters(sizes): return sum(a * (b + 1) for a, b in {PAIRS})",
            "the biases belong to the outputs",
        ),
        (
            f"def count_parameters(sizes): return sum((a + 1) * b for a, b in {PAIRS}) - sizes[-1]",
            "the output layer are missing",
        ),
        ("def count_parameters(sizes): return sum(sizes)", "the number of units"),
    ],
    "06.2": [
        (
            "def yardsticks(weight, noise):\n    s = weight.square().sum().item()\n    return noise, s + noise, s / (s + noise)",
            "the MSE is a square",
        ),
        (
            "def yardsticks(weight, noise):\n    s = weight.square().sum().item()\n    return noise**2, s, 1 - noise**2 / s",
            "pays for the noise, too: add it",
        ),
        (
            "def yardsticks(weight, noise):\n    s = weight.square().sum().item()\n    return noise**2, s + noise**2, 1.0",
            "an R² below 1",
        ),
        (
            "def yardsticks(weight, noise):\n    s = weight.sum().item() ** 2\n    return noise**2, s + noise**2, s / (s + noise**2)",
            "square the weights first",
        ),
        (
            "def yardsticks(weight, noise):\n    s = weight.square().mean().item()\n    return noise**2, s + noise**2, s / (s + noise**2)",
            "not their mean",
        ),
        (
            "def yardsticks(weight, noise):\n    s = weight.square().sum().item()\n    return noise**2, s + noise**2, noise**2 / (s + noise**2)",
            "the share that is noise",
        ),
    ],
    "06.3": [
        (
            PARTS
            + "    model.zero_grad()\n    for x, y in parts:\n        loss_fn(model(x), y).backward()\n"
            "    return [p.grad / len(x) for p in model.parameters()]",
            "as the notes do",
        ),
        (
            PARTS
            + "    model.zero_grad()\n    for x, y in parts:\n        loss_fn(model(x), y).backward()\n"
            + GRADS,
            "weight each by its share",
        ),
        (
            PARTS
            + "    model.zero_grad()\n    for x, y in parts:\n        (loss_fn(model(x), y) / len(parts)).backward()\n"
            + GRADS,
            "as if they were of one length",
        ),
        (
            PARTS
            + "    n = sum(len(x) for x, _ in parts)\n    model.zero_grad()\n    for x, y in parts:\n"
            "        (loss_fn(model(x), y) * len(x) / n).backward()\n"
            "    return [p.grad / n for p in model.parameters()]",
            "12 times too small",
        ),
        (
            PARTS + "    n = sum(len(x) for x, _ in parts)\n    for x, y in parts:\n"
            "        (loss_fn(model(x), y) * len(x) / n).backward()\n" + GRADS,
            "of an earlier step are still in it: clear",
        ),
        (
            PARTS
            + "    n = sum(len(x) for x, _ in parts)\n    for x, y in parts:\n        model.zero_grad()\n"
            "        (loss_fn(model(x), y) * len(x) / n).backward()\n" + GRADS,
            "times its share: clear the gradients once",
        ),
        (
            PARTS
            + "    model.zero_grad()\n    x, y = (torch.cat(t) for t in zip(*parts, strict=True))\n"
            "    loss_fn(model(x), y).backward()\n" + GRADS,
            "more than one part at a time",
        ),
    ],
    "06.4": [
        (
            STOP
            + "    for epoch, loss in enumerate(losses):\n        if loss < low:\n            best, low = epoch, loss\n"
            "        elif epoch - best == patience:\n            return best, epoch\n    return best, len(losses)",
            "yours count from 0",
        ),
        (
            STOP
            + "    for epoch, loss in enumerate(losses, 1):\n        if loss <= low:\n            best, low = epoch, loss\n"
            "        elif epoch - best == patience:\n            return best, epoch\n    return best, len(losses)",
            "only equals the lowest loss",
        ),
        (
            STOP
            + "    for epoch, loss in enumerate(losses, 1):\n        if loss < low:\n            best, low = epoch, loss\n"
            "        elif epoch - best > patience:\n            return best, epoch\n    return best, len(losses)",
            "one epoch too late",
        ),
        (
            STOP
            + "    for epoch, loss in enumerate(losses, 1):\n        if loss < low:\n            best, low = epoch, loss\n"
            "        else:\n            bad += 1\n        if bad == patience:\n            return best, epoch\n    return best, len(losses)",
            "must be in a row",
        ),
        (
            STOP + "    last = float('inf')\n    for epoch, loss in enumerate(losses, 1):\n"
            "        bad = 0 if loss < last else bad + 1\n        last = loss\n        if loss < low:\n            best, low = epoch, loss\n"
            "        if bad == patience:\n            return best, epoch\n    return best, len(losses)",
            "you compare with the epoch before",
        ),
        (
            STOP
            + "    for epoch, loss in enumerate(losses, 1):\n        if loss < low:\n            best, low = epoch, loss\n"
            "        elif epoch - best == patience:\n            break\n    return losses.index(min(losses)) + 1, epoch",
            "in the whole list",
        ),
    ],
    "06.5": [
        (
            "def weekday_features(x, weekday):\n    here = F.one_hot(weekday, 7).to(x.dtype)\n"
            "    return (here[:, :, None] * x[:, None, :]).flatten(1)",
            "needs its own bias",
        ),
        (
            BLOCKS + "    return (block[:, :, None] * here[:, None, :]).flatten(1)",
            "the columns are in another order",
        ),
        (BLOCKS + "    return torch.cat([x, here], dim=1)", "they share their weights"),
        (
            BLOCKS.replace("weekday, 7", "weekday")
            + "    return (here[:, :, None] * block[:, None, :]).flatten(1)",
            "there are six blocks",
        ),
        (BLOCKS + "    return block.repeat(1, 7)", "every block is filled"),
        (
            BLOCKS.replace("[x, torch.ones_like(x[:, :1])]", "[torch.ones_like(x[:, :1]), x]")
            + "    return (here[:, :, None] * block[:, None, :]).flatten(1)",
            "not before it",
        ),
    ],
    "06.6": [
        (
            BACK.replace(" * (z > 0)", "")
            + "    return x.T @ back_z, back_z.sum(0), h.T @ back, back.sum(0)",
            "nothing flows back to W1 and b1",
        ),
        (
            BACK.replace(" / len(x)", "")
            + "    return x.T @ back_z, back_z.sum(0), h.T @ back, back.sum(0)",
            "batch times too large",
        ),
        (
            BACK + "    return x.T @ back_z, back_z.mean(0), h.T @ back, back.mean(0)",
            "are means over the batch",
        ),
        (
            BACK + "    return x.T @ back_z, back_z.sum(0), z.T @ back, back.sum(0)",
            "needs h, not z",
        ),
        (
            BACK + "    return back_z.T @ x, back_z.sum(0), h.T @ back, back.sum(0)",
            "by W1 is transposed",
        ),
        (
            BACK + "    return x.T @ back_z, back_z.sum()[None], h.T @ back, back.sum(0)",
            "share one bias",
        ),
    ],
}
